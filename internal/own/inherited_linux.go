package own

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/packet"
)

// maxDescriptors is how many descriptors are looked at where /proc doesn't list them: standard input, output and
// error.
const maxDescriptors = 3

// Open returns the connections that are open now: those that the process has inherited, such as a standard output
// that is a socket.
func Open() *Connections {
	c := &Connections{}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		for fd := range maxDescriptors {
			c.look(fd)
		}
		return c
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			c.look(fd)
		}
	}
	return c
}

// look adds the connection of a descriptor, if it is one.
func (c *Connections) look(fd int) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if kind == unix.IPPROTO_MPTCP { // what it sends are TCP packets
		kind = unix.IPPROTO_TCP
	}
	if err != nil || kind != unix.IPPROTO_TCP && kind != unix.IPPROTO_UDP {
		return
	}
	p := packet.Packet{Proto: uint8(kind)}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return
	}
	remote, err := unix.Getpeername(fd)
	if err != nil {
		return // it isn't connected
	}
	p.Src, p.SrcPort = ends(local)
	p.Dst, p.DstPort = ends(remote)
	c.add(&p)
}

func ends(a unix.Sockaddr) (addr packet.Addr, port uint16) {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		copy(addr[10:], []byte{0xff, 0xff})
		copy(addr[12:], a.Addr[:])
		port = uint16(a.Port)
	case *unix.SockaddrInet6:
		addr, port = a.Addr, uint16(a.Port)
	}
	return addr, port
}
