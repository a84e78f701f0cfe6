package enrich

import (
	"net/netip"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

// answer is a lookup: shop.example leads by an alias to 10.0.0.2, the server of the exchanges of outputtest.
func answer() *exchange.Exchange {
	x := outputtest.Lookup("A", "Shop.example")
	record(x, "CNAME", "60", "lb.example")
	record(x, "A", "60", "10.0.0.2")
	return x
}

func record(x *exchange.Exchange, typ, ttl, data string) {
	m := &x.Response
	m.Say("answer_name", []byte("lb.example"))
	m.Say("answer_type", []byte(typ))
	m.Say("answer_ttl", []byte(ttl))
	m.Say("answer_data", []byte(data))
}

// change gives a fact another text.
func change(m *proto.Message, name, text string) {
	for i := range m.Facts {
		if m.Facts[i].Name == name {
			m.Facts[i].Value = proto.Span{Off: uint32(len(m.Raw)), Len: uint32(len(text))}
			m.Raw = append(m.Raw, text...)
		}
	}
}

func TestLearnFrom(t *testing.T) {
	for what, c := range map[string]struct {
		change func(x *exchange.Exchange)
		want   string
	}{
		"an answer":              {func(*exchange.Exchange) {}, "shop.example"},
		"over HTTPS":             {func(x *exchange.Exchange) { x.Protocol, x.Family = "http2", exchange.HTTP }, "shop.example"},
		"of multicast DNS":       {func(x *exchange.Exchange) { x.Protocol = "mdns" }, ""},
		"nobody asked":           {func(x *exchange.Exchange) { x.HasRequest = false }, ""},
		"no answer":              {func(x *exchange.Exchange) { x.HasResponse = false }, ""},
		"no such name":           {func(x *exchange.Exchange) { change(&x.Response, "rcode", "NXDOMAIN") }, ""},
		"asked for a mailer":     {func(x *exchange.Exchange) { change(&x.Request, "type", "MX") }, ""},
		"of another class":       {func(x *exchange.Exchange) { change(&x.Request, "class", "CH") }, ""},
		"no name":                {func(x *exchange.Exchange) { change(&x.Request, "name", "a b") }, ""},
		"no address":             {func(x *exchange.Exchange) { change(&x.Response, "answer_data", "10.0.0") }, ""},
		"a text like one":        {func(x *exchange.Exchange) { change(&x.Response, "answer_type", "TXT") }, ""},
		"for another address":    {func(x *exchange.Exchange) { change(&x.Response, "answer_data", "10.0.0.3") }, ""},
		"requests have no facts": {func(x *exchange.Exchange) { *x = *outputtest.Exchange("GET / HTTP/1.1\n\n", "HTTP/1.1 200 OK\n\n") }, ""},
	} {
		e, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		lookup := answer()
		c.change(lookup)
		e.LearnFrom(lookup)
		x := outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 200 OK\n\n")
		e.Exchange(x)
		if got := x.Enriched.Domain[x.Server()]; got != c.want {
			t.Errorf("%s: the server is %q, want %q", what, got, c.want)
		}
		e.Close()
	}
}

// A name holds as long as its record says, and records beyond what is looked at teach nothing.
func TestLearnFromRecords(t *testing.T) {
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	lookup := outputtest.Lookup("A", "shop.example")
	record(lookup, "A", "7200", "10.0.0.2")
	for i := range 2 * maxAnswers {
		record(lookup, "A", "x", netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}).String())
	}
	e.LearnFrom(lookup)
	if got := e.Counters().Learned; got != maxAnswers {
		t.Errorf("learned %d addresses, want %d", got, maxAnswers)
	}
	for after, want := range map[time.Duration]string{time.Hour: "shop.example", 3 * time.Hour: ""} {
		x := outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 200 OK\n\n")
		x.Completed.Time = lookup.Completed.Time + int64(after)
		e.Exchange(x)
		if got := x.Enriched.Domain[x.Server()]; got != want {
			t.Errorf("%v later the server is %q, want %q", after, got, want)
		}
	}
}
