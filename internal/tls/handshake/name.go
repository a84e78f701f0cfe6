package handshake

import (
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of distinguished names.
const (
	// MaxAttributes is how many attributes of a distinguished name are kept; the name then ends with an ellipsis.
	MaxAttributes = 32
	// MaxAttributeValue is how many bytes of an attribute's value are kept.
	MaxAttributeValue = 255
)

// attribute is one attribute of a distinguished name. value points into the certificate.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// attributeSET is a relative distinguished name; encoding/asn1 takes a SET for what is so named.
type attributeSET []attribute

// attributeNames are the short names of attribute types (RFC 2253 §2.3, RFC 4519), and those of others that
// certificates have.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.9": "STREET", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.15": "businessCategory",
	"2.5.4.17": "postalCode", "2.5.4.42": "GN", "2.5.4.46": "dnQualifier", "2.5.4.97": "organizationIdentifier",
	"0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC",
	"1.2.840.113549.1.9.1":     "emailAddress",
	"1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL", "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST", "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
}

// distinguishedName returns the text form of a name (RFC 2253), the last part first, and the name's common name, or
// else its organisation or unit. Both are empty when the name is, or isn't one.
func distinguishedName(der []byte) (text, common string) {
	var parts []attributeSET
	if _, err := asn1.Unmarshal(der, &parts); err != nil {
		return "", ""
	}
	var b strings.Builder
	var short [len(shortest)]string
	n := 0
	for i := len(parts) - 1; i >= 0; i-- {
		for j := range parts[i] {
			a := &parts[i][j]
			if n == MaxAttributes {
				b.WriteString(",…")
				return b.String(), firstOf(short[:])
			}
			switch {
			case n > 0 && j > 0:
				b.WriteByte('+')
			case n > 0:
				b.WriteByte(',')
			}
			n++
			name := objectID(a.Type)
			if known := attributeNames[name]; known != "" {
				name = known
			}
			value, ok := attributeText(&a.Value)
			b.WriteString(name)
			b.WriteByte('=')
			if ok {
				writeEscaped(&b, value)
			} else {
				b.WriteByte('#')
				b.WriteString(hex.EncodeToString(a.Value.FullBytes[:min(len(a.Value.FullBytes), MaxAttributeValue)]))
			}
			for k, want := range shortest {
				if name == want && short[k] == "" {
					short[k] = value
				}
			}
		}
	}
	return b.String(), firstOf(short[:])
}

// shortest are the attributes by which people know a name, the best first.
var shortest = [...]string{"CN", "O", "OU"}

func firstOf(texts []string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// attributeText returns a value that is a text, MaxAttributeValue bytes at most. Senders mix the types up, so that
// anything is accepted in any of them.
func attributeText(v *asn1.RawValue) (string, bool) {
	const universalString, teletexString = 28, 20
	if v.Class != asn1.ClassUniversal || v.IsCompound {
		return "", false
	}
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagNumericString, asn1.TagGeneralString, 26: // VisibleString
		return text(v.Bytes, MaxAttributeValue), true
	case teletexString:
		// The standard's set has escapes that nobody uses: what there is is Latin 1, or else UTF-8.
		if utf8.Valid(v.Bytes) {
			return text(v.Bytes, MaxAttributeValue), true
		}
		runes := make([]rune, 0, min(len(v.Bytes), MaxAttributeValue))
		for _, c := range v.Bytes[:cap(runes)] {
			runes = append(runes, rune(c))
		}
		return text([]byte(string(runes)), MaxAttributeValue), true
	case asn1.TagBMPString:
		units := make([]uint16, min(len(v.Bytes)/2, MaxAttributeValue))
		for i := range units {
			units[i] = binary.BigEndian.Uint16(v.Bytes[2*i:])
		}
		return text([]byte(string(utf16.Decode(units))), MaxAttributeValue), true
	case universalString:
		runes := make([]rune, min(len(v.Bytes)/4, MaxAttributeValue))
		for i := range runes {
			runes[i] = rune(binary.BigEndian.Uint32(v.Bytes[4*i:]))
		}
		return text([]byte(string(runes)), MaxAttributeValue), true
	}
	return "", false
}

// writeEscaped writes a value with what has a meaning in names escaped (RFC 2253 §2.4).
func writeEscaped(b *strings.Builder, value string) {
	for i, c := range value {
		switch {
		case strings.ContainsRune(`,+"\<>;`, c),
			i == 0 && (c == ' ' || c == '#'),
			i == len(value)-1 && c == ' ':
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
}
