package own

import (
	"net"
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
		if n := len(*c.dialled.set.Load()); n > maxClosed {
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
	if n := len(*c.dialled.set.Load()); n > 1 {
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
	if _, there := (*d.set.Load())[one]; !there {
		t.Error("it was forgotten")
	}
}
