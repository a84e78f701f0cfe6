package record

import (
	"net/netip"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// factSetters are the columns from which what parsers tell beyond HTTP is made again, and what is known of flows.
func factSetters() map[string]setter {
	rows := func(k *Maker, c *Cell) {
		k.x.Response.Framing, k.x.Response.Parts.Count = proto.Rendered, c.Int
	}
	m := map[string]setter{
		"db.response.returned_rows":   rows,
		"db.operation.name":           text(func(k *Maker) *string { return &k.x.Statement.Operation }),
		"db.collection.name":          text(func(k *Maker) *string { return &k.x.Statement.Collection }),
		"db.query.summary":            text(func(k *Maker) *string { return &k.x.Statement.Template }),
		"culprit.db.returned_bytes":   number64(func(x *exchange.Exchange) *int64 { return &x.Response.Parts.Bytes }),
		"culprit.db.largest_row":      number64(func(x *exchange.Exchange) *int64 { return &x.Response.Parts.Largest }),
		"culprit.db.result":           func(k *Maker, c *Cell) { k.x.ResponseBody.Bytes = append([]byte{}, c.Text...) },
		"culprit.retries":             func(k *Maker, c *Cell) { k.x.Retries = int(c.Int) },
		"flow.final":                  func(k *Maker, c *Cell) { k.flowPeriod().Final = c.Int != 0 },
		"culprit.flow.number":         func(k *Maker, c *Cell) { k.flowPeriod().Number = int(c.Int) },
		"culprit.flow.since":          func(k *Maker, c *Cell) { k.flowPeriod().Since = c.Int },
		"culprit.proxied.version":     func(k *Maker, c *Cell) { k.proxy().Version = int(c.Int) },
		"culprit.proxied.authority":   func(k *Maker, c *Cell) { k.proxy().Authority = string(c.Text) },
		"culprit.proxied.unique_id":   func(k *Maker, c *Cell) { k.proxy().UniqueID = string(c.Text) },
		"culprit.net.error.from":      func(k *Maker, c *Cell) { k.x.Conn.Error.From = address(c.Text).As16() },
		"culprit.net.error.about":     func(k *Maker, c *Cell) { k.x.Conn.Error.Of = side(c.Text) },
		"culprit.net.error.count":     func(k *Maker, c *Cell) { k.x.Conn.Errors = uint32(c.Int) },
		"culprit.proxied.client.ip":   func(k *Maker, c *Cell) { setAddress(&k.proxy().Client, c) },
		"culprit.proxied.server.ip":   func(k *Maker, c *Cell) { setAddress(&k.proxy().Server, c) },
		"culprit.proxied.tls_version": func(k *Maker, c *Cell) { k.proxy().TLSVersion = string(c.Text) },
		"culprit.proxied.client.port": func(k *Maker, c *Cell) { setPort(&k.proxy().Client, c) },
		"culprit.proxied.server.port": func(k *Maker, c *Cell) { setPort(&k.proxy().Server, c) },
		"culprit.net.error.name": func(k *Maker, c *Cell) {
			k.x.Conn.Error.V6, k.x.Conn.Error.Type, k.x.Conn.Error.Code = exchange.ICMPNamed(string(c.Text))
		},
	}
	for name, of := range exchange.Facts {
		if Index(name) >= 0 {
			m[name] = factSetter(Columns[Index(name)].Kind, of)
		}
	}
	return m
}

// factSetter adds a fact to its message, unless another column did.
func factSetter(kind exchange.ValueKind, of exchange.Fact) setter {
	return func(k *Maker, c *Cell) {
		m := &k.x.Request
		if of.Of == proto.Response {
			m = &k.x.Response
		}
		switch {
		case m.Fact(of.Name) != nil:
		case kind == exchange.List:
			for _, text := range c.List {
				m.Say(of.Name, text)
			}
		case kind == exchange.Text:
			m.Say(of.Name, c.Text)
		default:
			m.Count(of.Name, c.Int)
		}
	}
}

// flowPeriod and proxy return what the exchange has from then on.
func (k *Maker) flowPeriod() *exchange.Period {
	k.x.Period = &k.period
	return &k.period
}

func (k *Maker) proxy() *proto.Proxied {
	k.x.Proxied = &k.proxied
	return &k.proxied
}

func address(text []byte) netip.Addr {
	a, err := netip.ParseAddr(string(text))
	if err != nil {
		return packet.Addr{}.Netip()
	}
	return a
}

func setAddress(p *netip.AddrPort, c *Cell) { *p = netip.AddrPortFrom(address(c.Text), p.Port()) }

func setPort(p *netip.AddrPort, c *Cell) { *p = netip.AddrPortFrom(p.Addr(), uint16(c.Int)) }
