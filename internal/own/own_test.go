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
