package handshake

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
)

// IsGREASE tells the values that clients make up so that servers don't get used to a fixed set (RFC 8701 §2).
func IsGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// JA3 returns the JA3 fingerprint: the MD5, in hexadecimal, of version, suites, extensions, groups and point formats
// as the client sent them, without GREASE (https://github.com/salesforce/ja3). It is empty for a hello of SSL 2.0.
//
// Browsers shuffle their extensions, so that JA3 differs from hello to hello; JA4 doesn't.
func (h *ClientHello) JA3() string {
	if h.SSL2 {
		return ""
	}
	b := strconv.AppendUint(nil, uint64(h.LegacyVersion), 10)
	b = appendDecimals(append(b, ','), h.Suites)
	b = appendDecimals(append(b, ','), h.Extensions)
	b = appendDecimals(append(b, ','), h.Groups)
	b = append(b, ',')
	for i, f := range h.PointFormats {
		if i > 0 {
			b = append(b, '-')
		}
		b = strconv.AppendUint(b, uint64(f), 10)
	}
	return md5Hex(b)
}

// JA3S returns the JA3S fingerprint of what the server chose: the MD5, in hexadecimal, of version, suite and
// extensions.
func (h *ServerHello) JA3S() string {
	b := strconv.AppendUint(nil, uint64(h.LegacyVersion), 10)
	b = strconv.AppendUint(append(b, ','), uint64(h.Suite), 10)
	b = appendDecimals(append(b, ','), h.Extensions)
	return md5Hex(b)
}

func md5Hex(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// appendDecimals appends the numbers that aren't GREASE, joined by hyphens.
func appendDecimals(b []byte, list []uint16) []byte {
	first := true
	for _, v := range list {
		if IsGREASE(v) {
			continue
		}
		if !first {
			b = append(b, '-')
		}
		first = false
		b = strconv.AppendUint(b, uint64(v), 10)
	}
	return b
}

// JA4 returns the JA4 fingerprint of a hello over TCP, such as t13d1516h2_8daaf6152771_e5627efa2ab1, as FoxIO specifies
// it (https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md). It is empty for a hello of SSL 2.0.
func (h *ClientHello) JA4() string {
	if h.SSL2 {
		return ""
	}
	suites := withoutGREASE(h.Suites)
	slices.Sort(suites)
	all := withoutGREASE(h.Extensions)
	named := slices.Contains(all, extServerName)
	count := len(all)
	rest := slices.DeleteFunc(all, func(id uint16) bool { return id == extServerName || id == extALPN })
	slices.Sort(rest)

	b := append(make([]byte, 0, 36), 't')
	b = append(b, h.ja4Version()...)
	if named {
		b = append(b, 'd')
	} else {
		b = append(b, 'i')
	}
	b = appendTwoDigits(b, len(suites))
	b = appendTwoDigits(b, count)
	b = h.appendProtocol(b)
	b = appendShortHash(append(b, '_'), appendHex(nil, suites))
	c := appendHex(nil, rest)
	if schemes := withoutGREASE(h.SignatureSchemes); len(c) > 0 && len(schemes) > 0 {
		c = appendHex(append(c, '_'), schemes)
	}
	return string(appendShortHash(append(b, '_'), c))
}

// ja4Versions are the names of versions in JA4.
var ja4Versions = map[uint16]string{0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}

// ja4Version names the highest number among the versions offered, whatever it is; drafts have no name.
func (h *ClientHello) ja4Version() string {
	v := h.LegacyVersion
	if h.Versions != nil {
		v = 0
		for _, offered := range h.Versions {
			if !IsGREASE(offered) {
				v = max(v, offered)
			}
		}
	}
	if name := ja4Versions[v]; name != "" {
		return name
	}
	return "00"
}

// appendProtocol appends the first and the last character of the first protocol of ALPN, or, if one of them isn't a
// letter or digit, the first and the last digit of their hexadecimal form.
func (h *ClientHello) appendProtocol(b []byte) []byte {
	if !h.hasProtocol {
		return append(b, "00"...)
	}
	first, last := h.protocol[0], h.protocol[1]
	if isAlphanumeric(first) && isAlphanumeric(last) {
		return append(b, first, last)
	}
	const digits = "0123456789abcdef"
	return append(b, digits[first>>4], digits[last&15])
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

func withoutGREASE(list []uint16) []uint16 {
	return slices.DeleteFunc(slices.Clone(list), IsGREASE)
}

// appendTwoDigits appends n, 99 at most, as two digits.
func appendTwoDigits(b []byte, n int) []byte {
	n = min(n, 99)
	return append(b, '0'+byte(n/10), '0'+byte(n%10))
}

// appendHex appends the numbers as four digits each, joined by commas.
func appendHex(b []byte, list []uint16) []byte {
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = hex.AppendEncode(b, []byte{byte(v >> 8), byte(v)})
	}
	return b
}

// appendShortHash appends the first 12 digits of the SHA-256 of s, or zeros if s is empty.
func appendShortHash(b, s []byte) []byte {
	if len(s) == 0 {
		return append(b, "000000000000"...)
	}
	sum := sha256.Sum256(s)
	return hex.AppendEncode(b, sum[:6])
}
