package sockcalls

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// The families of addresses (linux/socket.h).
const (
	familyUnix  = 1
	familyInet  = 2
	familyInet6 = 10
)

// address is a socket address as programs give it to the kernel (struct sockaddr).
type address struct {
	family uint16
	ip     netip.AddrPort
	path   string
}

// parseAddress reads a socket address.
func parseAddress(b []byte) (a address, ok bool) {
	if len(b) < 2 {
		return a, false
	}
	a.family = binary.NativeEndian.Uint16(b)
	switch {
	case a.family == familyInet && len(b) >= 8:
		a.ip = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:]))
	case a.family == familyInet6 && len(b) >= 24:
		a.ip = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), binary.BigEndian.Uint16(b[2:]))
	case a.family == familyUnix && len(b) > 2 && b[2] == 0: // an abstract name
		a.path = "@" + string(b[3:])
	case a.family == familyUnix:
		path, _, _ := bytes.Cut(b[2:], []byte{0})
		a.path = string(path)
	}
	return a, true
}

func addrUnmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
