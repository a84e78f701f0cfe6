package hops_test

import (
	"math"
	"testing"

	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
)

// chain makes a request of a client, which lasts from 0 to 100 ms, what the proxy that gets it asks another, from 10 to 90 ms, in the order
// in which they end, and one that has to do with neither.
func chain() (child, parent, other *exchange.Exchange) {
	at := func(x *exchange.Exchange, from, to int64, packet uint64) *exchange.Exchange {
		base := x.Start.Time
		x.Start.Time, x.Start.Packet = base+from*1e6, packet
		x.Request.First, x.Request.Last = x.Start, x.Start
		x.Completed.Time, x.Completed.Packet = base+to*1e6, packet+1
		x.Response.First, x.Response.Last = x.Completed, x.Completed
		x.Conn.SYN, x.Conn.SYNACK, x.Conn.Ready = 0, 0, 0
		return x
	}
	const response = "HTTP/1.1 200 OK\n\n"
	child = at(outputtest.Exchange("GET /cart HTTP/1.1\nHost: shop.example\nX-Request-ID: r-1\n\n", response), 10, 90, 3)
	child.Flow = outputtest.Flow("10.0.0.2:40000", "10.0.0.3:8080")
	parent = at(outputtest.Exchange("GET /cart HTTP/1.1\nHost: shop.example\nX-Request-ID: r-1\n\n", response), 0, 100, 1)
	other = at(outputtest.Exchange("GET /x HTTP/1.1\nHost: shop.example\n\n", response), 20, 120, 7)
	other.Flow = outputtest.Flow("10.0.0.9:50000", "10.0.0.10:80")
	return child, parent, other
}

// TestInline: those that take part wait until they are linked, the others until those before them are shown.
func TestInline(t *testing.T) {
	child, parent, other := chain()
	i := hops.NewInline(hops.Options{Wait: 1e9})
	for _, x := range []*exchange.Exchange{child, parent, other} {
		i.Add(x)
	}
	if n := i.Decided(parent.Completed.Time); n != 0 {
		t.Errorf("%d were decided at once", n)
	}
	if n := i.Decided(parent.Completed.Time + 60e9); n != 3 {
		t.Fatalf("%d were decided in the end", n)
	}
	if parent.Hop.Method != exchange.Root || child.Hop.Method != exchange.ByID || child.Hop.Parent != parent.ID("") || child.Hop.Depth != 1 {
		t.Errorf("parent %+v, child %+v", parent.Hop, child.Hop)
	}
	if n := i.Decided(math.MaxInt64); n != 0 {
		t.Errorf("%d are decided twice", n)
	}
}

// TestInlineEnds: at the end of the capture all are decided.
func TestInlineEnds(t *testing.T) {
	child, parent, other := chain()
	i := hops.NewInline(hops.Options{})
	for _, x := range []*exchange.Exchange{child, parent, other} {
		i.Add(x)
	}
	if n := i.Decided(math.MaxInt64); n != 3 || child.Hop.Parent != parent.ID("") {
		t.Errorf("%d were decided, the child is %+v", n, child.Hop)
	}
}

// TestInlineAbandons: what is no longer there isn't touched, and the rest is decided.
func TestInlineAbandons(t *testing.T) {
	child, parent, other := chain()
	i := hops.NewInline(hops.Options{})
	for _, x := range []*exchange.Exchange{child, parent, other} {
		i.Add(x)
	}
	i.Abandon(1)
	if n := i.Decided(math.MaxInt64); n != 2 || child.Hop.Method != exchange.NotLinked || parent.Hop.Method != exchange.Root {
		t.Errorf("%d were decided; child %+v, parent %+v", n, child.Hop, parent.Hop)
	}
}
