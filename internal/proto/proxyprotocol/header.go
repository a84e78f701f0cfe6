package proxyprotocol

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/proto"
)

const (
	// begin1 is how a header of version 1 begins, and max1 the length of the longest, with its line end (§2.1).
	begin1 = "PROXY "
	max1   = 107
	// begin2 is how a header of version 2 begins (§2.2), and fixed2 the length of what all of them have: that, the version
	// and the command, family and transport, and the length of the rest.
	begin2 = "\r\n\r\n\x00\r\nQUIT\n"
	fixed2 = len(begin2) + 4
	// max2 is the longest header of version 2 that is followed: the receivers in use have buffers of that size.
	max2 = 16 << 10
)

// size returns the length of the header that b begins with, 0 while that isn't known, -1 when b begins no header.
func size(b []byte) int {
	if len(b) > 0 && b[0] == begin1[0] {
		n := bytes.IndexByte(b[:min(len(b), max1)], '\n') + 1
		switch {
		case !strings.HasPrefix(begin1, string(b[:min(len(b), len(begin1))])), n == 0 && len(b) >= max1, n > 0 && b[n-2] != '\r':
			return -1
		}
		return n
	}
	switch {
	case !strings.HasPrefix(begin2, string(b[:min(len(b), len(begin2))])):
		return -1
	case len(b) > len(begin2) && (b[len(begin2)]>>4 != 2 || b[len(begin2)]&0x0f > byte(proxied)):
		return -1
	case len(b) < fixed2:
		return 0
	}
	n := fixed2 + int(binary.BigEndian.Uint16(b[fixed2-2:]))
	if n > max2 {
		return -1
	}
	return n
}

// parse reads a whole header. It returns nil for a malformed one.
func parse(b []byte) *proto.Proxied {
	if b[0] == begin1[0] {
		return parse1(strings.TrimSuffix(string(b), "\r\n"))
	}
	return parse2(b)
}

// parse1 reads a line of version 1 (§2.1).
func parse1(line string) *proto.Proxied {
	words := strings.Split(line, " ")
	if len(words) >= 2 && words[1] == "UNKNOWN" {
		return &proto.Proxied{Version: 1} // the rest is to be ignored
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return nil
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		addr, err := netip.ParseAddr(words[2+i])
		port, bad := strconv.ParseUint(words[4+i], 10, 16)
		if err != nil || bad != nil || addr.Is4() != (words[1] == "TCP4") || addr.Zone() != "" {
			return nil
		}
		ends[i] = netip.AddrPortFrom(addr.Unmap(), uint16(port))
	}
	return &proto.Proxied{Version: 1, Client: ends[0], Server: ends[1], Transport: "tcp"}
}

// command is what a header of version 2 is about: a connection of the proxy's own, or of a client.
type command byte

const (
	local command = iota
	proxied
)

// family is the kind of addresses of a header of version 2.
type family byte

const (
	unspecified family = iota
	inet
	inet6
	unix
	numFamilies
)

// addressSize is how many bytes two ends take.
var addressSize = [numFamilies]int{inet: 2 * (4 + 2), inet6: 2 * (16 + 2), unix: 2 * 108}

// transports are the names of the transports, by their number.
var transports = [...]string{"", "tcp", "udp"}

// parse2 reads a header of version 2 (§2.2).
func parse2(b []byte) *proto.Proxied {
	p := &proto.Proxied{Version: 2, Local: command(b[len(begin2)]&0x0f) == local}
	f, transport := family(b[len(begin2)+1]>>4), b[len(begin2)+1]&0x0f
	if f >= numFamilies || int(transport) >= len(transports) {
		return p // where the addresses end isn't known
	}
	rest := b[fixed2:]
	n := addressSize[f]
	if n > len(rest) {
		return nil
	}
	// What a proxy says of itself has no addresses of others: they are to be ignored.
	if !p.Local {
		p.Transport = transports[transport]
		switch ends := rest[:n]; f {
		case inet:
			p.Client = end(ends[:4], ends[8:10])
			p.Server = end(ends[4:8], ends[10:12])
		case inet6:
			p.Client = end(ends[:16], ends[32:34])
			p.Server = end(ends[16:32], ends[34:36])
		case unix:
			p.Transport = "unix"
		}
	}
	if !vectors(p, b, rest[n:]) {
		return nil
	}
	return p
}

func end(addr, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(addr)
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
}

// The types of vectors (§2.2.1 to §2.2.8), and of those within that of TLS.
const (
	typeALPN      = 0x01
	typeAuthority = 0x02
	typeCRC32C    = 0x03
	typeUniqueID  = 0x05
	typeSSL       = 0x20

	typeSSLVersion = 0x21
	typeSSLName    = 0x22
)

// vectors reads the vectors of type, length and value that header b ends with. It reports whether they are well-formed, and the
// checksum, if there is one, is right.
func vectors(p *proto.Proxied, header, b []byte) bool {
	for len(b) > 0 {
		kind, value, rest, ok := vector(b)
		if !ok {
			return false
		}
		switch kind {
		case typeALPN:
			p.ALPN = text(value)
		case typeAuthority:
			p.Authority = text(value)
		case typeUniqueID:
			p.UniqueID = text(value)
		case typeCRC32C:
			if len(value) != 4 || binary.BigEndian.Uint32(value) != checksum(header, len(header)-len(rest)-4) {
				return false
			}
		case typeSSL:
			if !tls(p, value) {
				return false
			}
		}
		b = rest
	}
	return true
}

// vector takes a vector off b.
func vector(b []byte) (kind byte, value, rest []byte, ok bool) {
	if len(b) < 3 {
		return 0, nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	if n > len(b)-3 {
		return 0, nil, nil, false
	}
	return b[0], b[3 : 3+n], b[3+n:], true
}

// tls reads what is said of the client's TLS (§2.2.6): flags, whether its certificate is valid, and vectors.
func tls(p *proto.Proxied, b []byte) bool {
	const flags, verified = 1, 4
	if len(b) < flags+verified {
		return false
	}
	for b = b[flags+verified:]; len(b) > 0; {
		kind, value, rest, ok := vector(b)
		if !ok {
			return false
		}
		switch kind {
		case typeSSLVersion:
			p.TLSVersion = text(value)
		case typeSSLName:
			p.CommonName = text(value)
		}
		b = rest
	}
	return true
}

// checksum is the CRC32c of a header, whose own four bytes of it, from at on, count as 0 (§2.2.3).
func checksum(header []byte, at int) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, header[:at])
	sum = crc32.Update(sum, table, make([]byte, 4))
	return crc32.Update(sum, table, header[at+4:])
}

// text returns a value as text: in hexadecimal digits when it isn't printable ASCII, as ids may be.
func text(b []byte) string {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return hex.EncodeToString(b)
		}
	}
	return string(b)
}
