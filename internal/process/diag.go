package process

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Found is what a look-up tells of one TCP or UDP socket.
type Found struct {
	// State is the socket's, 0 when there is none. The kernel answers for a connection that it doesn't have
	// (any more) with the socket that would take it: then it is Listen, or for UDP Unconnected.
	State State
	// Inode is the socket's number, 0 while it waits to be accepted and after it was closed.
	Inode uint64
	// UID is the user who made the socket, as the user namespace of the netlink socket numbers users. It says
	// nothing when Inode is 0.
	UID uint32
	// Cookie tells sockets apart for as long as the system runs.
	Cookie uint64
}

// Listener is a socket that accepts TCP connections, or a UDP socket that isn't connected.
type Listener struct {
	// Local is the address and port; an unspecified address takes connections to all.
	Local netip.AddrPort
	// Interface is the index of the one that it is bound to, 0 for none.
	Interface uint32
	// V6Only: an IPv6 socket that takes no IPv4 connections.
	V6Only bool
	Inode  uint64
	UID    uint32
}

// The wire format of netlink, sock_diag and the addresses of rtnetlink (linux/netlink.h, inet_diag.h, unix_diag.h,
// if_addr.h): numbers in the order of the machine, but for ports and addresses. Nothing here trusts a length.
const (
	nlmsgHeader = 16
	nlmsgError  = 2
	nlmsgDone   = 3

	sockDiagByFamily = 20
	rtmGetAddr       = 22

	familyUnix  = 1
	familyInet  = 2
	familyInet6 = 10

	inetRequestSize = 56 // struct inet_diag_req_v2
	inetMessageSize = 72 // struct inet_diag_msg
	inetV6Only      = 11 // INET_DIAG_SKV6ONLY

	unixRequestSize = 24 // struct unix_diag_req
	unixMessageSize = 16 // struct unix_diag_msg
	unixName        = 0  // UNIX_DIAG_NAME
	unixPeer        = 2  // UNIX_DIAG_PEER
	unixQueues      = 4  // UNIX_DIAG_RQLEN
	unixUser        = 7  // UNIX_DIAG_UID
	unixShow        = 1 | 4 | 0x10 | 0x40

	addrMessageSize = 8 // struct ifaddrmsg
	addrAddress     = 1 // IFA_ADDRESS
	addrLocal       = 2 // IFA_LOCAL

	// maxUnixName is the longest name of a unix socket, in bytes.
	maxUnixName = 108
)

var errTruncated = errors.New("a message of the kernel is cut off")

// message is one netlink message.
type message struct {
	kind    uint16
	seq     uint32
	payload []byte
}

// nextMessage takes the first message off b.
func nextMessage(b []byte) (m message, rest []byte, err error) {
	if len(b) < nlmsgHeader {
		return m, nil, errTruncated
	}
	n := binary.NativeEndian.Uint32(b)
	if n < nlmsgHeader || uint64(n) > uint64(len(b)) {
		return m, nil, errTruncated
	}
	m = message{kind: binary.NativeEndian.Uint16(b[4:]), seq: binary.NativeEndian.Uint32(b[8:]), payload: b[nlmsgHeader:n]}
	return m, b[min((uint64(n)+3)&^3, uint64(len(b))):], nil
}

// errno returns the error number of an error or the end of a dump, 0 for none.
func (m *message) errno() uint32 {
	if len(m.payload) < 4 {
		return 0
	}
	return uint32(-int32(binary.NativeEndian.Uint32(m.payload)))
}

// nextAttribute takes the first attribute off b; ok is false at the end, and where it makes no sense.
func nextAttribute(b []byte) (kind uint16, value, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, nil, false
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < 4 || n > len(b) {
		return 0, nil, nil, false
	}
	const flags = 3 << 14 // nested, byte order
	return binary.NativeEndian.Uint16(b[2:]) &^ flags, b[4:n], b[min((n+3)&^3, len(b)):], true
}

// inetRequest fills in a request for sockets of one address family. b has room for header and request.
func inetRequest(b []byte, family, protocol uint8, states uint32, sport, dport uint16, src, dst netip.Addr, iface uint32) {
	clear(b)
	r := b[nlmsgHeader:]
	r[0], r[1] = family, protocol
	binary.NativeEndian.PutUint32(r[4:], states)
	binary.BigEndian.PutUint16(r[8:], sport)
	binary.BigEndian.PutUint16(r[10:], dport)
	putAddr(r[12:28], src)
	putAddr(r[28:44], dst)
	binary.NativeEndian.PutUint32(r[44:], iface)
	const noCookie = 1<<64 - 1
	binary.NativeEndian.PutUint64(r[48:], noCookie)
}

func putAddr(b []byte, a netip.Addr) {
	switch {
	case a.Is4():
		v4 := a.As4()
		copy(b, v4[:])
	case a.IsValid():
		v6 := a.As16()
		copy(b, v6[:])
	}
}

// inetSocket is a TCP or UDP socket of a dump or look-up.
type inetSocket struct {
	state         State
	local, remote netip.AddrPort
	iface         uint32
	cookie        uint64
	recv, send    uint32
	uid, inode    uint32
	v6only        bool
}

// parseInet decodes an inet_diag_msg with its attributes.
func parseInet(b []byte) (s inetSocket, ok bool) {
	if len(b) < inetMessageSize {
		return s, false
	}
	addr := func(b []byte) netip.Addr {
		return netip.AddrFrom16([16]byte(b))
	}
	switch b[0] {
	case familyInet:
		addr = func(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }
	case familyInet6:
	default:
		return s, false
	}
	s.state = State(b[1])
	s.local = netip.AddrPortFrom(addr(b[8:24]), binary.BigEndian.Uint16(b[4:]))
	s.remote = netip.AddrPortFrom(addr(b[24:40]), binary.BigEndian.Uint16(b[6:]))
	s.iface = binary.NativeEndian.Uint32(b[40:])
	s.cookie = uint64(binary.NativeEndian.Uint32(b[44:])) | uint64(binary.NativeEndian.Uint32(b[48:]))<<32
	s.recv = binary.NativeEndian.Uint32(b[56:])
	s.send = binary.NativeEndian.Uint32(b[60:])
	s.uid = binary.NativeEndian.Uint32(b[64:])
	s.inode = binary.NativeEndian.Uint32(b[68:])
	for rest := b[inetMessageSize:]; ; {
		kind, value, next, more := nextAttribute(rest)
		if !more {
			return s, true
		}
		if kind == inetV6Only && len(value) > 0 {
			s.v6only = value[0] != 0
		}
		rest = next
	}
}

// unixSocket is a unix socket of a dump.
type unixSocket struct {
	kind        Kind
	state       State
	inode, peer uint32
	recv, send  uint32
	uid         uint32
	hasUID      bool // kernels before 5.3 don't tell
	path        string
}

// unixRequest fills in a request for all unix sockets.
func unixRequest(b []byte) {
	clear(b)
	r := b[nlmsgHeader:]
	r[0] = familyUnix
	binary.NativeEndian.PutUint32(r[4:], 1<<32-1)
	binary.NativeEndian.PutUint32(r[12:], unixShow)
	binary.NativeEndian.PutUint64(r[16:], 1<<64-1)
}

// parseUnix decodes a unix_diag_msg with its attributes.
func parseUnix(b []byte) (s unixSocket, ok bool) {
	if len(b) < unixMessageSize || b[0] != familyUnix {
		return s, false
	}
	const stream, datagram, seqPacket = 1, 2, 5
	switch b[1] {
	case stream:
		s.kind = UnixStream
	case datagram:
		s.kind = UnixDatagram
	case seqPacket:
		s.kind = UnixSeqPacket
	default:
		return s, false
	}
	s.state = State(b[2])
	s.inode = binary.NativeEndian.Uint32(b[4:])
	for rest := b[unixMessageSize:]; ; {
		kind, value, next, more := nextAttribute(rest)
		if !more {
			return s, true
		}
		rest = next
		switch {
		case kind == unixName:
			s.path = unixPath(value)
		case kind == unixPeer && len(value) >= 4:
			s.peer = binary.NativeEndian.Uint32(value)
		case kind == unixQueues && len(value) >= 8:
			s.recv, s.send = binary.NativeEndian.Uint32(value), binary.NativeEndian.Uint32(value[4:])
		case kind == unixUser && len(value) >= 4:
			s.uid, s.hasUID = binary.NativeEndian.Uint32(value), true
		}
	}
}

// unixPath makes a name of the bytes of sun_path: an abstract name begins with a zero byte, shown as "@"; a path ends
// at one.
func unixPath(b []byte) string {
	b = b[:min(len(b), maxUnixName)]
	if len(b) > 0 && b[0] == 0 {
		return "@" + string(b[1:])
	}
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// parseAddress decodes an address of an interface.
func parseAddress(b []byte) (a netip.Addr, iface uint32, ok bool) {
	if len(b) < addrMessageSize {
		return a, 0, false
	}
	iface = binary.NativeEndian.Uint32(b[4:])
	for rest := b[addrMessageSize:]; ; {
		kind, value, next, more := nextAttribute(rest)
		if !more {
			return a, iface, a.IsValid()
		}
		rest = next
		// On point-to-point links IFA_ADDRESS is the other side's, and IFA_LOCAL ours.
		if kind == addrLocal || kind == addrAddress && !a.IsValid() {
			if addr, ok := netip.AddrFromSlice(value); ok {
				a = addr
			}
		}
	}
}
