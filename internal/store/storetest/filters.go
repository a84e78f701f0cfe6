package storetest

import (
	"fmt"
	"net/netip"
	"regexp"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/packet"
)

// Filters makes n exchange filters of all nodes, operators and fields. What they compare with comes mostly from
// the exchanges, so that most of them select some. The same seed makes the same ones.
func Filters(seed uint64, n int, from []*exchange.Exchange) []filter.Node {
	g := filterGenerator{random{seed}, from}
	all := make([]filter.Node, n)
	for i := range all {
		made := g.node(3)
		f, err := filter.Parse(made.String())
		if err != nil {
			panic(fmt.Sprintf("a made-up filter isn't one: %s: %v", made, err))
		}
		all[i] = f.Root()
	}
	return all
}

type filterGenerator struct {
	random
	from []*exchange.Exchange
}

func (g *filterGenerator) node(depth int) filter.Node {
	if depth > 0 {
		switch g.n(6) {
		case 0:
			return &filter.And{Nodes: g.nodes(depth)}
		case 1:
			return &filter.Or{Nodes: g.nodes(depth)}
		case 2:
			return &filter.Not{Node: g.node(depth - 1)}
		}
	}
	return g.leaf()
}

func (g *filterGenerator) nodes(depth int) (nodes []filter.Node) {
	for range 2 + g.n(2) {
		nodes = append(nodes, g.node(depth-1))
	}
	return nodes
}

var headerNames = []string{"accept", "host", "cookie", "content-type", "x-request-id", "x-bytes", "x-folded", "x-checksum", "x-none", "server", ":scheme", "grpc-status"}

// leaf makes a condition.
func (g *filterGenerator) leaf() filter.Node {
	if g.in(6) {
		o := filter.Operand{Header: pick(&g.random, headerNames...), Side: filter.Side(g.n(3)), Lower: g.in(3)}
		return g.text(o, exchange.Text, g.headerValue(&o))
	}
	f := &exchange.Fields[g.n(len(exchange.Fields))]
	o := filter.Operand{Field: f}
	if g.in(8) {
		return &filter.Has{Operand: o}
	}
	var v exchange.Value
	for range 5 { // a field that few have is worth some attempts
		if v = valueOf(g.from[g.n(len(g.from))], f); v.Kind != exchange.Absent {
			break
		}
	}
	switch f.Kind {
	case exchange.Text, exchange.List:
		o.Lower = g.in(4)
		return g.text(o, f.Kind, string(textOf(&v, g.n(8))))
	case exchange.IP:
		return g.address(o, v.Addr)
	case exchange.Bool:
		return &filter.True{Operand: o}
	case exchange.Headers:
		return &filter.Has{Operand: o}
	}
	return g.number(o, f.Kind, &v)
}

// headerValue returns a value that the header has somewhere.
func (g *filterGenerator) headerValue(o *filter.Operand) string {
	for range 5 {
		x := g.from[g.n(len(g.from))]
		if b := x.Request.Field(o.Header); b != nil {
			return string(b)
		}
		if b := x.Response.Field(o.Header); b != nil {
			return string(b)
		}
	}
	return "text"
}

// textOf returns the text of a value, or element n of a list.
func textOf(v *exchange.Value, n int) []byte {
	switch {
	case v.Kind == exchange.List && len(v.List) > 0:
		return []byte(v.List[n%len(v.List)])
	case v.Text != "":
		return []byte(v.Text)
	}
	return v.Bytes
}

// maxConstant is the longest text that filters compare with.
const maxConstant = 60

func (g *filterGenerator) text(o filter.Operand, kind exchange.ValueKind, value string) filter.Node {
	if o.Lower && g.in(2) {
		value = lower(value)
	}
	part := value[:min(len(value), maxConstant)]
	op := filter.Op(g.n(int(filter.Matches) + 1))
	if kind == exchange.List { // there is no order among lists, and equality is contains
		op = pick(&g.random, filter.Contains, filter.StartsWith, filter.EndsWith, filter.Matches)
	}
	switch {
	case kind == exchange.List && op == filter.Contains:
	case op == filter.StartsWith:
		part = part[:g.n(len(part)+1)]
	case op == filter.EndsWith:
		part = value[len(value)-g.n(len(part)+1):]
	case op == filter.Contains || op == filter.Matches:
		from := g.n(len(value) + 1)
		part = value[from : from+g.n(min(len(value)-from, 12)+1)]
	case g.in(3) && kind != exchange.List:
		in := &filter.In{Operand: o}
		for _, text := range []string{part, "GET", "complete", "", "\xff"}[:1+g.n(5)] {
			in.Values = append(in.Values, filter.Constant{Kind: exchange.Text, Text: text})
		}
		return in
	case g.in(8):
		part += "x"
	}
	if op == filter.Matches {
		if part = regexp.QuoteMeta(part); !utf8.ValidString(part) {
			part = "[a-f]"
		}
		part = pick(&g.random, part, "^"+part, part+"$", part+".*e")
	}
	return &filter.Compare{Operand: o, Op: op, Value: filter.Constant{Kind: exchange.Text, Text: part}}
}

func (g *filterGenerator) number(o filter.Operand, kind exchange.ValueKind, v *exchange.Value) filter.Node {
	value := v.Int
	constant := func() filter.Constant {
		if kind == exchange.Float {
			return filter.Constant{Kind: kind, Float: v.Float + pick(&g.random, 0, 0.25, -0.25, 1, -v.Float)}
		}
		c := filter.Constant{Kind: kind, Int: value + pick(&g.random, 0, 1, -1, int64(g.n(1000)), -value)}
		if kind == exchange.Time && c.Int <= 0 {
			c.Int = Begin
		}
		if kind == exchange.Int && g.in(6) {
			c = filter.Constant{Kind: exchange.Float, Float: float64(value) + 0.5}
		}
		return c
	}
	if g.in(4) {
		in := &filter.In{Operand: o}
		for range 1 + g.n(4) {
			in.Values = append(in.Values, constant())
		}
		return in
	}
	return &filter.Compare{Operand: o, Op: filter.Op(g.n(int(filter.GreaterEqual) + 1)), Value: constant()}
}

func (g *filterGenerator) address(o filter.Operand, a packet.Addr) filter.Node {
	other := packet.Addr(netip.MustParseAddr(pick(&g.random, pick(&g.random, addresses, longOnes)...)).As16())
	if a == (packet.Addr{}) {
		a = other
	}
	c := func(a packet.Addr) filter.Constant { return filter.Constant{Kind: exchange.IP, Addr: a} }
	switch g.n(4) {
	case 0:
		ip := a.Netip()
		return &filter.Network{Operand: o, Prefix: netip.PrefixFrom(ip, g.n(ip.BitLen()+1)).Masked()}
	case 1:
		return &filter.In{Operand: o, Values: []filter.Constant{c(a), c(other)}}
	}
	return &filter.Compare{Operand: o, Op: filter.Op(g.n(2)), Value: c(a)}
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// valueOf returns the value that an exchange has in a field. It is valid as long as the exchange.
func valueOf(x *exchange.Exchange, f *exchange.Field) exchange.Value {
	var v exchange.Value
	f.Get(x, &v)
	v.Bytes = append([]byte(nil), v.Bytes...) // may be in v itself
	return v
}
