package handshake

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/proto"
)

// Limits of what is kept of a certificate's alternative names.
const (
	// MaxNames is how many there may be, MaxNameLength how many bytes each may have, and MaxNamesBytes how many they may have
	// together. What exceeds a limit is left out.
	MaxNames      = 100
	MaxNameLength = 255
	MaxNamesBytes = 8 << 10
	// MaxSerial is how many bytes of a serial number are kept; RFC 5280 allows 20.
	MaxSerial = 64
)

// certificate is the ASN.1 of a certificate (RFC 5280 §4.1), as much of it as must be right for the rest to be
// found. crypto/x509 refuses what is out there all the same: negative serial numbers, malformed names and extensions,
// unusual curves. Those are often the very reason of a failed handshake, so their owners should be told of them.
type certificate struct {
	TBS       toBeSigned
	Algorithm algorithm
	Signature asn1.BitString
}

type toBeSigned struct {
	Version         int `asn1:"optional,explicit,default:0,tag:0"`
	Serial          asn1.RawValue
	Algorithm       asn1.RawValue
	Issuer          asn1.RawValue
	Validity        struct{ NotBefore, NotAfter asn1.RawValue }
	Subject         asn1.RawValue
	Key             asn1.RawValue
	IssuerUniqueID  asn1.BitString  `asn1:"optional,tag:1"`
	SubjectUniqueID asn1.BitString  `asn1:"optional,tag:2"`
	Extensions      []asn1.RawValue `asn1:"omitempty,optional,explicit,tag:3"`
}

type algorithm struct {
	ID         asn1.ObjectIdentifier
	Parameters asn1.RawValue `asn1:"optional"`
}

type publicKey struct {
	Algorithm algorithm
	Key       asn1.BitString
}

// Describe returns what is told of a certificate (DER), which is always something: of one that can't be parsed, the
// fingerprint. A text in it that can't be read is empty, a time 0. Times that don't fit are the first or the last that
// do (in the years 1677 and 2262).
func Describe(der []byte) *proto.Certificate {
	c := &proto.Certificate{SHA256: fmt.Sprintf("%X", sha256.Sum256(der))}
	var x certificate
	if _, err := asn1.Unmarshal(der, &x); err != nil {
		c.Malformed = true
		return c
	}
	c.Subject, c.CommonName = distinguishedName(x.TBS.Subject.FullBytes)
	c.Issuer, c.IssuerName = distinguishedName(x.TBS.Issuer.FullBytes)
	c.Serial = serialNumber(&x.TBS.Serial)
	c.NotBefore = nanoseconds(&x.TBS.Validity.NotBefore)
	c.NotAfter = nanoseconds(&x.TBS.Validity.NotAfter)
	c.Key = keyName(x.TBS.Key.FullBytes)
	c.Signature = signatureName(&x.Algorithm)
	for i := range x.TBS.Extensions {
		var e pkix.Extension
		if _, err := asn1.Unmarshal(x.TBS.Extensions[i].FullBytes, &e); err == nil && e.Id.Equal(subjectAltName) {
			c.Names = alternativeNames(e.Value)
			break
		}
	}
	return c
}

var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// serialNumber writes a serial number in hexadecimal, two digits a byte.
func serialNumber(v *asn1.RawValue) string {
	if v.Class != asn1.ClassUniversal || v.Tag != asn1.TagInteger || len(v.Bytes) == 0 {
		return ""
	}
	b, sign := v.Bytes, ""
	if b[0]&0x80 != 0 {
		sign = "-"
		b = negated(b)
	}
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return fmt.Sprintf("%s%X", sign, b[:min(len(b), MaxSerial)])
}

// negated returns the two's complement of b.
func negated(b []byte) []byte {
	n := make([]byte, len(b))
	carry := true
	for i := len(b) - 1; i >= 0; i-- {
		n[i] = ^b[i]
		if carry {
			n[i]++
			carry = n[i] == 0
		}
	}
	return n
}

// earliest is the first time that is told, the year 1823: differences to any time of a capture are numbers, too.
const earliest = math.MinInt64 / 2

// nanoseconds returns a time (UTCTime or GeneralizedTime) in nanoseconds since 1970.
func nanoseconds(v *asn1.RawValue) int64 {
	var t time.Time
	if _, err := asn1.Unmarshal(v.FullBytes, &t); err != nil {
		return 0
	}
	switch {
	case t.Before(time.Unix(0, earliest)):
		return earliest
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// Kinds of alternative names (RFC 5280 §4.2.1.6).
const (
	mailName    = 1
	dnsName     = 2
	uriName     = 6
	addressName = 7
)

// alternativeNames returns the names in the content of the extension, in their order, within the limits. It ends
// where the content breaks.
func alternativeNames(content []byte) (names []string) {
	var list asn1.RawValue
	if _, err := asn1.Unmarshal(content, &list); err != nil || list.Tag != asn1.TagSequence {
		return nil
	}
	total := 0
	for rest := list.Bytes; len(rest) > 0 && len(names) < MaxNames; {
		var v asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &v); err != nil {
			break
		}
		if v.Class != asn1.ClassContextSpecific {
			continue
		}
		var name string
		switch v.Tag {
		case mailName, dnsName, uriName:
			name = text(v.Bytes, MaxNameLength)
		case addressName:
			if addr, ok := netip.AddrFromSlice(v.Bytes); ok {
				name = addr.String()
			}
		}
		if total += len(name); total > MaxNamesBytes {
			break
		}
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// keyNames are the kinds of public keys that say everything by their algorithm.
var keyNames = map[string]string{
	"1.3.101.110": "X25519", "1.3.101.111": "X448", "1.3.101.112": "Ed25519", "1.3.101.113": "Ed448",
	"1.2.840.10040.4.1":       "DSA",
	"2.16.840.1.101.3.4.3.17": "ML-DSA-44", "2.16.840.1.101.3.4.3.18": "ML-DSA-65", "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
	"1.2.643.7.1.1.1.1": "GOST 256", "1.2.643.7.1.1.1.2": "GOST 512",
}

// curveNames are the curves of EC keys.
var curveNames = map[string]string{
	"1.3.132.0.33": "P-224", "1.2.840.10045.3.1.7": "P-256", "1.3.132.0.34": "P-384", "1.3.132.0.35": "P-521",
	"1.3.132.0.10": "secp256k1", "1.2.156.10197.1.301": "SM2",
	"1.3.36.3.3.2.8.1.1.7": "brainpoolP256r1", "1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1", "1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
}

const (
	rsaKey    = "1.2.840.113549.1.1.1"
	rsaPSSKey = "1.2.840.113549.1.1.10"
	ecKey     = "1.2.840.10045.2.1"
)

// keyName names the kind of a public key, and its size or curve.
func keyName(der []byte) string {
	var k publicKey
	if _, err := asn1.Unmarshal(der, &k); err != nil {
		return ""
	}
	id := k.Algorithm.ID.String()
	switch id {
	case rsaKey, rsaPSSKey:
		name := "RSA"
		if id == rsaPSSKey {
			name = "RSA-PSS"
		}
		if rsa, err := x509.ParsePKCS1PublicKey(k.Key.RightAlign()); err == nil {
			return fmt.Sprintf("%s %d", name, rsa.N.BitLen())
		}
		return name
	case ecKey:
		var curve asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(k.Algorithm.Parameters.FullBytes, &curve); err != nil {
			return "EC"
		}
		if name := curveNames[curve.String()]; name != "" {
			return "EC " + name
		}
		return "EC " + objectID(curve)
	}
	if name := keyNames[id]; name != "" {
		return name
	}
	return objectID(k.Algorithm.ID)
}

// signatureNames are the algorithms of signatures.
var signatureNames = map[string]string{
	"1.2.840.113549.1.1.2":    x509.MD2WithRSA.String(),
	"1.2.840.113549.1.1.4":    x509.MD5WithRSA.String(),
	"1.2.840.113549.1.1.5":    x509.SHA1WithRSA.String(),
	"1.3.14.3.2.29":           x509.SHA1WithRSA.String(),
	"1.2.840.113549.1.1.11":   x509.SHA256WithRSA.String(),
	"1.2.840.113549.1.1.12":   x509.SHA384WithRSA.String(),
	"1.2.840.113549.1.1.13":   x509.SHA512WithRSA.String(),
	"1.2.840.113549.1.1.14":   "SHA224-RSA",
	"1.2.840.10040.4.3":       x509.DSAWithSHA1.String(),
	"2.16.840.1.101.3.4.3.2":  x509.DSAWithSHA256.String(),
	"1.2.840.10045.4.1":       x509.ECDSAWithSHA1.String(),
	"1.2.840.10045.4.3.1":     "ECDSA-SHA224",
	"1.2.840.10045.4.3.2":     x509.ECDSAWithSHA256.String(),
	"1.2.840.10045.4.3.3":     x509.ECDSAWithSHA384.String(),
	"1.2.840.10045.4.3.4":     x509.ECDSAWithSHA512.String(),
	"1.3.101.112":             x509.PureEd25519.String(),
	"1.3.101.113":             "Ed448",
	"1.2.156.10197.1.501":     "SM2-SM3",
	"1.2.643.7.1.1.3.2":       "GOST-Streebog256",
	"1.2.643.7.1.1.3.3":       "GOST-Streebog512",
	"2.16.840.1.101.3.4.3.17": "ML-DSA-44",
	"2.16.840.1.101.3.4.3.18": "ML-DSA-65",
	"2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}

// pssNames are the names of RSA-PSS by its hash, which is a parameter of the algorithm (RFC 4055 §3.1).
var pssNames = map[string]string{
	"1.3.14.3.2.26":          "SHA1-RSAPSS",
	"2.16.840.1.101.3.4.2.1": x509.SHA256WithRSAPSS.String(),
	"2.16.840.1.101.3.4.2.2": x509.SHA384WithRSAPSS.String(),
	"2.16.840.1.101.3.4.2.3": x509.SHA512WithRSAPSS.String(),
}

// signatureName names the algorithm of a signature as package x509 does; its number in dots when it has no name.
func signatureName(a *algorithm) string {
	id := a.ID.String()
	if id == rsaPSSKey {
		var parameters struct {
			Hash algorithm `asn1:"explicit,tag:0,optional"`
		}
		if _, err := asn1.Unmarshal(a.Parameters.FullBytes, &parameters); err != nil {
			return "RSAPSS"
		}
		if parameters.Hash.ID == nil {
			return pssNames["1.3.14.3.2.26"] // the default
		}
		if name := pssNames[parameters.Hash.ID.String()]; name != "" {
			return name
		}
		return "RSAPSS"
	}
	if name := signatureNames[id]; name != "" {
		return name
	}
	return objectID(a.ID)
}

// objectID writes an object identifier in dots, MaxNameLength bytes at most.
func objectID(id asn1.ObjectIdentifier) string {
	s := id.String()
	if len(s) > MaxNameLength {
		s = strings.TrimRight(s[:MaxNameLength], ".") + "…"
	}
	return s
}
