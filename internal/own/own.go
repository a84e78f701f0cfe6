// Package own knows the connections of culprit itself, so that it doesn't watch itself showing what it watches.
package own

import (
	"net/netip"

	"github.com/culprit-http/culprit/internal/packet"
)

// Connections are the connections of this process. A nil one has none.
type Connections struct {
	flows map[packet.Flow]struct{}
	// served are where it takes connections.
	served []end
	// dialled are those that it makes.
	dialled dialled
}

// end is one end of a connection.
type end struct {
	addr packet.Addr
	port uint16
	// local: any address of the loopback will do, too.
	local bool
}

// Serve adds the TCP connections that others make to an address of this process. Where it takes them at any address,
// addresses are those of this host beside the loopback's. Serve isn't called while packets are asked for.
func (c *Connections) Serve(at netip.AddrPort, addresses []netip.Addr) {
	if !at.Addr().IsUnspecified() {
		c.served = append(c.served, end{addr: at.Addr().As16(), port: at.Port()})
		return
	}
	c.served = append(c.served, end{addr: netip.IPv6Loopback().As16(), port: at.Port(), local: true})
	for _, a := range addresses {
		c.served = append(c.served, end{addr: a.As16(), port: at.Port()})
	}
}

// is reports whether an end of a packet is this one.
func (e *end) is(addr *packet.Addr, port uint16) bool {
	return port == e.port && (*addr == e.addr || e.local && addr.Netip().IsLoopback())
}

// Packet reports whether a packet belongs to one of the connections.
func (c *Connections) Packet(p *packet.Packet) bool {
	if c == nil {
		return false
	}
	for i := range c.served {
		if e := &c.served[i]; p.Proto == packet.ProtoTCP && (e.is(&p.Dst, p.DstPort) || e.is(&p.Src, p.SrcPort)) {
			return true
		}
	}
	if c.dialled.has(p) {
		return true
	}
	if len(c.flows) == 0 {
		return false
	}
	key, _ := p.Key()
	key.Tap, key.Net = 0, 0
	_, ok := c.flows[key]
	return ok
}

// Any reports whether there are any.
func (c *Connections) Any() bool { return c != nil && len(c.flows)+len(c.served) > 0 }

func (c *Connections) add(p *packet.Packet) {
	key, _ := p.Key()
	if c.flows == nil {
		c.flows = map[packet.Flow]struct{}{}
	}
	c.flows[key] = struct{}{}
}
