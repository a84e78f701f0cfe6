package own

import (
	"net"
	"net/netip"
	"testing"

	"github.com/culprit-http/culprit/internal/packet"
)

// packetOf returns a packet of a connection from a to b.
func packetOf(proto uint8, a, b net.Addr) *packet.Packet {
	from, to := netip.MustParseAddrPort(a.String()), netip.MustParseAddrPort(b.String())
	return &packet.Packet{
		Proto: proto, Tap: 3, Net: 7,
		Src: from.Addr().As16(), SrcPort: from.Port(), Dst: to.Addr().As16(), DstPort: to.Port(),
	}
}

func TestOpenConnectionsAreOwn(t *testing.T) {
	for _, network := range []struct{ name, address string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}} {
		l, err := net.Listen(network.name, network.address)
		if err != nil {
			t.Skipf("%s: %v", network.name, err)
		}
		defer l.Close()
		before := Open()
		c, err := net.Dial(network.name, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		after := Open()
		there := packetOf(packet.ProtoTCP, c.LocalAddr(), c.RemoteAddr())
		back := packetOf(packet.ProtoTCP, c.RemoteAddr(), c.LocalAddr())
		for _, p := range []*packet.Packet{there, back} {
			if before.Packet(p) {
				t.Errorf("%s: own before it was opened", network.name)
			}
			if !after.Packet(p) {
				t.Errorf("%s: not own", network.name)
			}
		}
		there.Proto = packet.ProtoUDP
		back.DstPort++
		if after.Packet(there) || after.Packet(back) {
			t.Errorf("%s: another flow is own", network.name)
		}
	}
	var none *Connections
	if none.Packet(&packet.Packet{}) || none.Any() {
		t.Error("nil has connections")
	}
}

func TestServedConnectionsAreOwn(t *testing.T) {
	tcp := func(from, to string) *packet.Packet {
		return packetOf(packet.ProtoTCP, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(to)))
	}
	host := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	for _, c := range []struct {
		at, from, to string
		own          bool
	}{
		{"127.0.0.1:9870", "127.0.0.1:1234", "127.0.0.1:9870", true},
		{"127.0.0.1:9870", "127.0.0.1:9870", "127.0.0.1:1234", true},
		{"127.0.0.1:9870", "127.0.0.1:1234", "127.0.0.1:9871", false},
		{"127.0.0.1:9870", "127.0.0.1:1234", "127.0.0.2:9870", false},
		{"0.0.0.0:9870", "127.0.0.1:1234", "127.0.0.2:9870", true},
		{"[::]:9870", "[::1]:1234", "[::1]:9870", true},
		{"[::]:9870", "198.51.100.7:1234", "192.0.2.1:9870", true},
		{"[::]:9870", "[2001:db8::1]:9870", "[2001:db8::9]:1234", true},
		{"[::]:9870", "192.0.2.1:1234", "198.51.100.7:9870", false}, // what somebody else serves there
	} {
		o := &Connections{}
		o.Serve(netip.MustParseAddrPort(c.at), host)
		if got := o.Packet(tcp(c.from, c.to)); got != c.own || !o.Any() {
			t.Errorf("at %s: %s to %s: own %v", c.at, c.from, c.to, got)
		}
	}
	o := &Connections{}
	o.Serve(netip.MustParseAddrPort("127.0.0.1:9870"), nil)
	p := tcp("127.0.0.1:1234", "127.0.0.1:9870")
	p.Proto = packet.ProtoUDP
	if o.Packet(p) {
		t.Error("datagrams are own")
	}
}
