package blame

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/packet"
)

// judgedAt returns an exchange on which a verdict is, of a client and a second.
func judgedAt(second int64, client string, route string, who exchange.Who, took int64) *exchange.Exchange {
	x := healthy()
	x.Flow.Addr[0] = packet.Addr(netip.MustParseAddr(client).As16())
	x.Start.Time = second * 1e9
	x.Enriched.Route = route
	x.Blame = exchange.Blame{Who: who, Confidence: 1}
	if who > exchange.Nobody {
		x.Blame.Situation, x.Blame.Time = exchange.SlowApplication, took*ms
	}
	x.Timing = exchange.UnknownTiming
	return x
}

func TestSummary(t *testing.T) {
	s := NewSummary(DefaultLimits)
	for _, x := range []*exchange.Exchange{
		judgedAt(100, "10.0.0.7", "/a", exchange.ByServer, 300),
		judgedAt(100, "10.0.0.8", "/a", exchange.ByServer, 500),
		judgedAt(103, "10.0.1.7", "/b", exchange.ByClient, 600),
		judgedAt(99, "2001:db8::1", "/b", exchange.Nobody, 0),
		{}, // not judged
	} {
		s.Add(x)
	}
	refused := judgedAt(103, "10.0.1.7", "/b", exchange.ByServer, 0)
	refused.Blame.Failed, refused.Blame.Situation, refused.Weight = true, exchange.ConnectionRefused, 10
	s.Add(refused)

	if s.Total.Exchanges != 14 || s.Total.Blamed != 13 || s.Total.Failed != 10 || s.Total.Time != 1400*ms || s.Total.Longest != 600*ms || s.Total.Most() != exchange.ByServer {
		t.Errorf("%+v", s.Total)
	}
	text := func(d Dimension) (got string) {
		for _, r := range s.Rows(d) {
			got += fmt.Sprintf("%s %d %d %d;", r.Key, r.Time/ms, r.Blamed, r.Failed)
		}
		return got
	}
	for d, want := range [Dimensions]string{
		PerWho:       "server 800 12 10;client 600 1 0;",
		PerSituation: "server slow-application 800 2 0;client slow-application 600 1 0;server connection-refused 0 10 10;",
		PerRoute:     "/a 800 2 0;/b 600 11 10;",
		PerServer:    "10.0.0.2:80 1400 13 10;",
		PerClient:    "10.0.0.0/24 800 2 0;10.0.1.0/24 600 11 10;2001:db8::/64 0 0 0;",
	} {
		if got := text(Dimension(d)); got != want {
			t.Errorf("%s: %s\nwant %s", DimensionNames[d], got, want)
		}
	}
	var over string
	for _, b := range s.Buckets() {
		over += fmt.Sprintf("%d+%d: %d;", b.From/1e9, b.Width/1e9, b.Time/ms)
	}
	if want := "99+1: 0;100+1: 800;101+1: 0;102+1: 0;103+1: 600;"; over != want {
		t.Errorf("over time: %s, want %s", over, want)
	}
	worst := s.Worst()
	if len(worst) != 4 || worst[0].Blame.Time != 600*ms || worst[1].Blame.Time != 500*ms || worst[0].What() != "GET /a 200" || worst[0].Client != "10.0.1.7:40000" {
		t.Errorf("%+v", worst)
	}
}

// TestSummaryBounds: whatever comes, as much is kept as the limits say, the sums are exact, and the most is found.
func TestSummaryBounds(t *testing.T) {
	s := NewSummary(Limits{Rows: 16, Worst: 3, Buckets: 8})
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 2000 {
		s.Add(judgedAt(r.Int64N(100_000), "10.0.0.7", fmt.Sprintf("/%d", i), exchange.ByServer, 1+r.Int64N(100)))
		s.Add(judgedAt(r.Int64N(100_000), "10.0.0.7", "/hot", exchange.ByServer, 200))
	}
	rows := s.Rows(PerRoute)
	if len(rows) > 17 || rows[0].Route != "/hot" || rows[0].Time != 2000*200*ms || !rows[len(rows)-1].Other || s.Folded[PerRoute] == 0 {
		t.Errorf("%d rows, %+v first, %d folded", len(rows), rows[0], s.Folded[PerRoute])
	}
	var sum, over Lost
	for _, row := range rows {
		sum.add(&row.Lost)
	}
	for _, b := range s.Buckets() {
		over.add(&b.Lost)
	}
	if sum != s.Total || over != s.Total || len(s.Buckets()) > 8 {
		t.Errorf("%+v and %+v, of %+v in %d buckets", sum, over, s.Total, len(s.Buckets()))
	}
	if worst := s.Worst(); len(worst) != 3 || worst[0].Blame.Time != 200*ms || worst[0].Start > worst[1].Start {
		t.Errorf("%+v", worst)
	}
}

// TestSummaryMerge: two halves merged are the whole.
func TestSummaryMerge(t *testing.T) {
	limits := Limits{Rows: 100, Worst: 5, Buckets: 10}
	whole, a, b := NewSummary(limits), NewSummary(limits), NewSummary(limits)
	r := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		x := judgedAt(r.Int64N(1+r.Int64N(1000)), fmt.Sprintf("10.0.%d.7", r.IntN(9)), fmt.Sprintf("/%d", r.IntN(50)), exchange.Who(1+r.IntN(5)), 1+r.Int64N(1000))
		whole.Add(x)
		if x.Start.Time < 5e9 { // its stretches are shorter
			a.Add(x)
		} else {
			b.Add(x)
		}
	}
	a.Merge(b)
	for d := range Dimensions {
		if !reflect.DeepEqual(a.Rows(d), whole.Rows(d)) {
			t.Errorf("by %s:\n%+v\n%+v", DimensionNames[d], a.Rows(d), whole.Rows(d))
		}
	}
	if !reflect.DeepEqual(a.Buckets(), whole.Buckets()) || a.Total != whole.Total {
		t.Errorf("%+v\n%+v", a.Buckets(), whole.Buckets())
	}
	if got, want := a.Worst(), whole.Worst(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\n%+v", got, want)
	}
}

// TestSummaryTexts: the worst keep their texts: the exchange is used again.
func TestSummaryTexts(t *testing.T) {
	s := NewSummary(DefaultLimits)
	x := healthy()
	times(x, 1010, 1010, 1418, 1420)
	measure.Time(x)
	new(Court).Judge(x)
	s.Add(x)
	x.Blame = exchange.Blame{}
	if c := s.Worst()[0]; len(c.Facts) != 1 || c.Why != "server: "+c.Facts[0] || c.Total != 420*ms {
		t.Errorf("%+v", c)
	}
}

// TestMergeCoarser: what comes in longer stretches makes all of them as long.
func TestMergeCoarser(t *testing.T) {
	fine, coarse := NewSummary(DefaultLimits), NewSummary(Limits{Rows: 10, Buckets: 2})
	fine.Add(judgedAt(1, "10.0.0.7", "/", exchange.ByServer, 5))
	for _, second := range []int64{0, 3, 7} {
		coarse.Add(judgedAt(second, "10.0.0.7", "/", exchange.ByServer, 100))
	}
	fine.Merge(coarse)
	got := fine.Buckets()
	if len(got) != 2 || got[0].Width != 4e9 || got[0].Time != 205*ms || got[1].Time != 100*ms {
		t.Errorf("%+v", got)
	}
}
