package own

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"github.com/culprit-http/culprit/internal/packet"
)

// TestDialledConnectionsAreOwn: from the moment the system could send the first packet until long after the last, and no
// others.
func TestDialledConnectionsAreOwn(t *testing.T) {
	for _, network := range []struct{ name, address string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}} {
		l, err := net.Listen(network.name, network.address)
		if err != nil {
			t.Skipf("%s: %v", network.name, err)
		}
		defer l.Close()
		c := &Connections{}
		conn, err := c.Dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		there := packetOf(packet.ProtoTCP, conn.LocalAddr(), conn.RemoteAddr())
		back := packetOf(packet.ProtoTCP, conn.RemoteAddr(), conn.LocalAddr())
		other := *there
		other.SrcPort++
		for _, closed := range []bool{false, true} {
			if !c.Packet(there) || !c.Packet(back) || c.Packet(&other) {
				t.Errorf("%s, closed %v: own %v there, %v back, %v another", network.name, closed, c.Packet(there), c.Packet(back), c.Packet(&other))
			}
			conn.Close()
			conn.Close()
		}
		for range maxClosed {
			more, err := c.Dial(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			more.Close()
		}
		if c.Packet(there) {
			t.Errorf("%s: connections are remembered without end", network.name)
		}
		if n := len(c.dialled.known.Load().pairs); n > maxClosed {
			t.Errorf("%s: %d connections are remembered", network.name, n)
		}
	}
}

// TestDialFails: what couldn't be opened is no reason to remember.
func TestDialFails(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	c := &Connections{}
	if conn, err := c.Dial(t.Context(), "tcp", address); err == nil {
		conn.Close()
		t.Skip("somebody listens there by now")
	}
	if n := len(c.dialled.known.Load().pairs); n > 1 {
		t.Errorf("%d connections", n)
	}
}

// TestSameEndsAgain: a connection with the ends of one that was closed is watched as long as it lives.
func TestSameEndsAgain(t *testing.T) {
	d := &dialled{}
	one := dial{port: 1}
	d.begin(one)
	d.end(one)
	d.begin(one)
	for i := range maxClosed + 1 {
		other := dial{port: uint16(i + 2)}
		d.begin(other)
		d.end(other)
	}
	if _, there := d.known.Load().pairs[one]; !there {
		t.Error("it was forgotten")
	}
}

// TestTranslatedConnectionsAreOwn: while a connection is open, its port on an address of this host is enough, for the far end may
// have another address on the way.
func TestTranslatedConnectionsAreOwn(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := &Connections{}
	c.Addresses([]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")})
	conn, err := c.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	port := conn.LocalAddr().(*net.TCPAddr).AddrPort().Port()
	tcp := func(from, to netip.AddrPort) *packet.Packet {
		return packetOf(packet.ProtoTCP, net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to))
	}
	host, pod := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port), netip.MustParseAddrPort("198.51.100.7:9200")
	elsewhere := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.9"), port)
	if !c.Packet(tcp(host, pod)) || !c.Packet(tcp(pod, host)) {
		t.Error("not own, with another far end")
	}
	if c.Packet(tcp(elsewhere, pod)) || c.Packet(tcp(pod, elsewhere)) {
		t.Error("own, on another host")
	}
	conn.Close()
	if c.Packet(tcp(host, pod)) || c.Packet(tcp(pod, host)) {
		t.Error("own, though others may have the port by now")
	}
	if !c.Packet(packetOf(packet.ProtoTCP, conn.LocalAddr(), conn.RemoteAddr())) {
		t.Error("the last packets aren't own")
	}
	if n := len(c.dialled.known.Load().ports); n != 0 {
		t.Errorf("%d ports are open", n)
	}
}

// rawSocket is a socket that isn't connected; broken: its port can't be asked for.
type rawSocket struct {
	fd     int
	broken bool
}

func (s rawSocket) Control(f func(fd uintptr)) error {
	if !s.broken {
		f(uintptr(s.fd))
	} else {
		f(^uintptr(0))
	}
	return nil
}
func (rawSocket) Read(func(uintptr) bool) error  { return errors.ErrUnsupported }
func (rawSocket) Write(func(uintptr) bool) error { return errors.ErrUnsupported }

func newRawSocket(t *testing.T) rawSocket {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	return rawSocket{fd: fd}
}

// TestLateAttempts: an attempt that comes when another has won already isn't made, and leaves nothing behind. Several may come at
// once.
func TestLateAttempts(t *testing.T) {
	a := &attempts{dialled: &dialled{}}
	var both sync.WaitGroup
	for range 2 {
		s := newRawSocket(t)
		both.Go(func() {
			if err := a.begin("tcp4", "192.0.2.1:9", s); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if n := len(a.dialled.known.Load().ports); n != 2 {
		t.Errorf("%d ports", n)
	}
	a.end(nil)
	if err := a.begin("tcp4", "192.0.2.1:9", newRawSocket(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("a late attempt: %v", err)
	}
	if known := a.dialled.known.Load(); len(known.ports) != 0 || len(known.pairs) != 2 || len(a.dialled.closed) != 2 {
		t.Errorf("%+v, and %d are closed", known, len(a.dialled.closed))
	}
}

// TestPortOfTheSystem: where the port couldn't be asked for, the connection is known once it is made, by both of its ends.
func TestPortOfTheSystem(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &Connections{}
	a := &attempts{dialled: &c.dialled}
	if err := a.begin("tcp4", l.Addr().String(), rawSocket{broken: true}); err != nil {
		t.Error(err)
	}
	a.end(conn.(*net.TCPConn))
	if !c.Packet(packetOf(packet.ProtoTCP, conn.LocalAddr(), conn.RemoteAddr())) {
		t.Error("not own")
	}
	if n := len(c.dialled.known.Load().ports); n != 0 {
		t.Error("a port that others may have is known by itself")
	}
}
