package exchange_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

func TestID(t *testing.T) {
	make := func() *exchange.Exchange {
		x := outputtest.Exchange("GET / HTTP/1.1\n\n", "HTTP/1.1 200 OK\n\n")
		x.Tap = &exchange.Tap{Name: "proxy", Label: "a.pcap"}
		return x
	}
	text := func(x *exchange.Exchange, observer string) string {
		return string(exchange.AppendID(nil, x.ID(observer)))
	}
	first := text(make(), "host")
	if len(first) != 26 {
		t.Errorf("%q has %d characters, want 26", first, len(first))
	}
	// What is observed, and by whom, makes the id.
	ids := map[string]string{first: "the first"}
	for what, change := range map[string]func(x *exchange.Exchange){
		"tap":       func(x *exchange.Exchange) { x.Tap = &exchange.Tap{Name: "app"} },
		"address":   func(x *exchange.Exchange) { x.Flow.Addr[0][15]++ },
		"port":      func(x *exchange.Exchange) { x.Flow.Port[1]++ },
		"transport": func(x *exchange.Exchange) { x.Flow.Proto = 132 },
		"stream":    func(x *exchange.Exchange) { x.Flow.Stream++ },
		"network":   func(x *exchange.Exchange) { x.Flow.Net++ },
		"flow":      func(x *exchange.Exchange) { x.Flow.First.Time++ },
		"offset":    func(x *exchange.Exchange) { x.Request.First.Offset++ },
		"stream id": func(x *exchange.Exchange) { x.Request.Stream++ },
		"response":  func(x *exchange.Exchange) { x.HasRequest = false },
		"start":     func(x *exchange.Exchange) { x.Start.Time += int64(time.Millisecond) },
	} {
		x := make()
		change(x)
		id := text(x, "host")
		if ids[id] != "" {
			t.Errorf("%s makes no difference to %s", what, ids[id])
		}
		ids[id] = what
	}
	if text(make(), "other") == first {
		t.Error("the observer makes no difference")
	}
	// How it was read doesn't.
	same := make()
	same.Tap = &exchange.Tap{Name: "proxy", Label: "b.pcap"}
	same.Number, same.Index, same.FirstPacket, same.LastPacket, same.Start.Packet = 3, 4, 5, 6, 7
	if got := text(same, "host"); got != first {
		t.Errorf("%s and %s for one exchange", got, first)
	}
	// They sort as time goes.
	var sorted []string
	for i := range 2000 {
		x := make()
		x.Start.Time = int64(i) * int64(17*time.Hour)
		sorted = append(sorted, text(x, "host"))
	}
	if !slices.IsSorted(sorted) {
		t.Error("the ids aren't ordered by time")
	}
	negative := make()
	negative.Start.Time = -5
	if got := text(negative, "host"); len(got) != 26 || got > sorted[1] {
		t.Errorf("a time before 1970 gives %s", got)
	}
}

// TestCommunityID compares with the baseline of the specification
// (https://github.com/corelight/community-id-spec/tree/master/baseline).
func TestCommunityID(t *testing.T) {
	for _, c := range []struct {
		proto    uint8
		src, dst string
		want     string
	}{
		{6, "128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{6, "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943", "[2607:f8b0:400c:c03::1a]:25", "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="},
		{17, "192.168.1.52:54585", "8.8.8.8:53", "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
		{132, "192.168.170.8:7", "192.168.170.56:7", "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="},
	} {
		for _, ends := range [][2]string{{c.src, c.dst}, {c.dst, c.src}} {
			f := &proto.Flow{Proto: c.proto}
			for d, s := range ends {
				end := netip.MustParseAddrPort(s)
				f.Addr[d], f.Port[d] = end.Addr().As16(), end.Port()
			}
			if got := f.CommunityID(); got != c.want {
				t.Errorf("%v: %s, want %s", ends, got, c.want)
			}
		}
	}
}

func TestURL(t *testing.T) {
	for _, c := range []struct{ method, target, host, want string }{
		{"GET", "/a?b=c", "shop.example", "|shop.example||/a|b=c|true"},
		{"GET", "/a", "shop.example:8080", "|shop.example|8080|/a||false"},
		{"GET", "/?", "[2001:db8::1]:80", "|2001:db8::1|80|/||true"},
		{"GET", "/", "[2001:db8::1]", "|2001:db8::1||/||false"},
		{"GET", "/", "2001:db8::1", "|2001:db8::1||/||false"},
		{"GET", "http://a.example/x?y", "b.example", "http|a.example||/x|y|true"},
		{"GET", "HTTPS://u:p@a.example:444", "b.example", "HTTPS|a.example|444|||false"},
		{"GET", "http://a.example?q", "", "http|a.example|||q|true"},
		{"GET", "/x://y", "a", "|a||/x://y||false"},
		{"GET", "://y", "a", "|a||://y||false"},
		{"OPTIONS", "*", "a", "|a||*||false"},
		{"CONNECT", "a.example:443", "a.example:443", "|a.example|443|||false"},
		{"connect", "[::1]:443", "", "|::1|443|||false"},
		{"GET", "", "", "|||||false"},
		{"GET", "/\xff\x00?\xfe", "\xff:x", "|\xff|x|/\xff\x00|\xfe|true"},
	} {
		x := outputtest.Exchange(c.method+" "+c.target+" HTTP/1.1\nHost: "+c.host+"\n\n", "")
		u := x.URL()
		got := string(u.Scheme) + "|" + string(u.Host) + "|" + string(u.Port) + "|" + string(u.Path) + "|" + string(u.Query)
		if u.HasQuery {
			got += "|true"
		} else {
			got += "|false"
		}
		if got != c.want {
			t.Errorf("%s %s, Host %q: %q, want %q", c.method, c.target, c.host, got, c.want)
		}
	}
	var none exchange.Exchange
	if u := none.URL(); u.Host != nil || u.Path != nil {
		t.Errorf("without a request: %+v", u)
	}
}

// FuzzURL: the parts of a URL are parts of the target or of Host; nothing is made up.
func FuzzURL(f *testing.F) {
	f.Add("GET", "http://u@a:1/b?c", "d:2")
	f.Add("CONNECT", "[::1]:443", "[")
	f.Fuzz(func(t *testing.T, method, target, host string) {
		x := &exchange.Exchange{HasRequest: true}
		m := &x.Request
		span := func(s string) proto.Span {
			m.Raw = append(m.Raw, s...)
			return proto.Span{Off: uint32(len(m.Raw) - len(s)), Len: uint32(len(s))}
		}
		m.Method, m.Target = span(method), span(target)
		m.Fields = []proto.Field{{Name: span("Host"), Value: span(host)}}
		u := x.URL()
		if n := len(u.Scheme) + len(u.Host) + len(u.Port) + len(u.Path) + len(u.Query); n > len(target)+len(host) {
			t.Errorf("%+v is longer than %q and %q", u, target, host)
		}
	})
}

func TestParseID(t *testing.T) {
	for _, id := range [][exchange.IDSize]byte{{}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, {0xff, 15: 0xff}} {
		text := string(exchange.AppendID(nil, id))
		for _, form := range []string{text, strings.ToLower(text)} {
			if got, ok := exchange.ParseID(form); !ok || got != id {
				t.Errorf("%s is read as %x, %v, and is %x", form, got, ok, id)
			}
		}
	}
	for _, bad := range []string{"", "0", "80000000000000000000000000", "0000000000000000000000000U", "00000000000000000000000000 "} {
		if _, ok := exchange.ParseID(bad); ok {
			t.Errorf("%q is taken for an id", bad)
		}
	}
}

func TestTraceID(t *testing.T) {
	const w3c, b3 = "0af7651916cd43dd8448eb211c80319c", "80f198ee56343ba864fe8b2a57d3eff7"
	for _, c := range []struct{ head, want string }{
		{"traceparent: 00-" + w3c + "-b7ad6b7169203331-01", w3c},
		{"Traceparent: 00-" + w3c + "-b7ad6b7169203331-01\nb3: " + b3 + "-e457b5a2e4d86bd1-1", w3c},
		{"traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01", ""},
		{"traceparent: 00-" + w3c, ""},
		{"b3: " + b3 + "-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90", b3},
		{"b3: e457b5a2e4d86bd1-e457b5a2e4d86bd1", "e457b5a2e4d86bd1"},
		{"b3: 0\nX-B3-TraceId: " + b3, b3},
		{"X-B3-TraceId: <script>alert(1)</script>", ""},
		{"Host: a", ""},
	} {
		x := outputtest.Exchange("GET / HTTP/1.1\n"+c.head+"\n\n", "")
		if got := string(exchange.TraceID(&x.Request)); got != c.want {
			t.Errorf("%s: %q, want %q", c.head, got, c.want)
		}
	}
}
