// Package own knows the connections of culprit itself, so that it doesn't watch itself showing what it watches.
package own

import "github.com/culprit-http/culprit/internal/packet"

// Connections are the connections of this process. A nil one has none.
type Connections struct {
	flows map[packet.Flow]struct{}
}

// Packet reports whether a packet belongs to one of the connections.
func (c *Connections) Packet(p *packet.Packet) bool {
	if c == nil || len(c.flows) == 0 {
		return false
	}
	key, _ := p.Key()
	key.Tap, key.Net = 0, 0
	_, ok := c.flows[key]
	return ok
}

// Any reports whether there are any.
func (c *Connections) Any() bool { return c != nil && len(c.flows) > 0 }

func (c *Connections) add(p *packet.Packet) {
	key, _ := p.Key()
	if c.flows == nil {
		c.flows = map[packet.Flow]struct{}{}
	}
	c.flows[key] = struct{}{}
}
