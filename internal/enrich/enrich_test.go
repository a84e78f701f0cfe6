package enrich

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

const minute = int64(time.Minute)

func newEnricher(t testing.TB, o Options) *Enricher {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// between makes an exchange between two ends, complete some minutes after 1970.
func between(client, server string, minutes int64) *exchange.Exchange {
	x := outputtest.Exchange("GET /users/7?x=1 HTTP/1.1\nHost: shop.example\nUser-Agent: curl/8.5.0\n\n", "HTTP/1.1 200 OK\nContent-Length: 0\n\n")
	x.Flow = outputtest.Flow(client, server)
	x.Completed.Time = minutes * minute
	return x
}

func TestExchange(t *testing.T) {
	e := newEnricher(t, Options{
		GeoIP:    []string{nestedCity(t), nestedASN(t)},
		Hosts:    map[string][]string{"db1.example.": {"10.0.0.5", "2001:db8::5"}, "Client": {"192.0.2.7"}},
		Services: map[string][]string{"checkout": {"10.0.0.0/24:8080"}, "partner": {"192.0.2.0/24"}},
		Routes:   []string{"/api/{what}"},
	})
	x := between("192.0.2.7:51000", "10.0.0.5:8080", 0)
	e.Exchange(x)
	r := x.Enriched
	if r.Route != "/users/{id}" || r.UserAgent == nil || r.UserAgent.Name != "curl" {
		t.Errorf("%+v", r)
	}
	if p := r.Place[0]; p == nil || p.City != "Munich" || p.ASNumber != 64500 || r.Place[1] != nil {
		t.Errorf("places %+v %+v", r.Place[0], r.Place[1])
	}
	if r.Domain != [2]string{"client", "db1.example"} || r.Service != [2]string{"partner", "checkout"} {
		t.Errorf("%q %q", r.Domain, r.Service)
	}

	// Who is client is a conclusion, and may be the responder.
	x.Client = proto.Responder
	e.Exchange(x)
	if got := x.Enriched.Service; got != [2]string{"partner", "checkout"} {
		t.Errorf("turned round: %q", got)
	}
	x = between("10.0.0.5:8080", "192.0.2.7:80", 0)
	e.Exchange(x)
	if got := x.Enriched.Service; got != [2]string{"checkout", "partner"} {
		t.Errorf("a service as client: %q", got)
	}

	x = between("10.0.0.5:51000", "192.0.2.7:80", 0)
	x.Client = proto.Responder
	e.Exchange(x)
	if got := x.Enriched.Service; got != [2]string{"", "partner"} {
		t.Errorf("a server that opened the connection: %q", got)
	}

	// Without a request there is nothing to tell of it, and nothing is left of the exchange before.
	x.HasRequest = false
	e.Exchange(x)
	if x.Enriched.Route != "" || x.Enriched.UserAgent != nil {
		t.Errorf("%+v", x.Enriched)
	}
}

func TestRouteOfTargets(t *testing.T) {
	e := newEnricher(t, Options{Routes: []string{"/api/{what}"}})
	for _, c := range []struct{ line, want string }{
		{"GET /api/things HTTP/1.1", "/api/{what}"},
		{"GET http://shop.example/users/7?x HTTP/1.1", "/users/{id}"},
		{"GET http://shop.example HTTP/1.1", "/"},
		{"GET http://shop.example?x=1 HTTP/1.1", "/"},
		{"OPTIONS * HTTP/1.1", "*"},
		{"CONNECT shop.example:443 HTTP/1.1", ""},
		{"connect /users/7 HTTP/1.1", ""},
		{"GET /" + strings.Repeat("a/", 10000) + " HTTP/1.1", strings.Repeat("/a", 16) + "/*"},
	} {
		x := outputtest.Exchange(c.line+"\nHost: shop.example\n\n", "")
		e.Exchange(x)
		if got := x.Enriched.Route; got != c.want {
			t.Errorf("%.60s: got %q, want %q", c.line, got, c.want)
		}
		if x.Enriched.UserAgent != nil {
			t.Errorf("%.60s: %+v", c.line, x.Enriched.UserAgent)
		}
	}
}

func TestOptionErrors(t *testing.T) {
	for _, c := range []struct {
		o    Options
		says string
	}{
		{Options{Routes: []string{"x"}}, `route "x"`},
		{Options{Services: map[string][]string{"a": {"b"}}}, "services: a"},
		{Options{Hosts: map[string][]string{"a": {"10.0.0.0/8"}}}, "networks go to services"},
		{Options{Hosts: map[string][]string{"a": {"10.0.0.1"}, "b": {"10.0.0.1"}}}, "10.0.0.1 has the name a already"},
		{Options{Hosts: map[string][]string{"a b": {"10.0.0.1"}}}, `"a b" is no name`},
		{Options{Hosts: map[string][]string{strings.Repeat("a", 254): {"10.0.0.1"}}}, "is no name"},
	} {
		if _, err := New(c.o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want an error that says %q", err, c.says)
		}
	}
}

func domains(e *Enricher, minutes int64) [2]string {
	x := between("192.0.2.7:51000", "10.0.0.5:8080", minutes)
	e.Exchange(x)
	return x.Enriched.Domain
}

func TestLearn(t *testing.T) {
	e := newEnricher(t, Options{Hosts: map[string][]string{"fixed": {"192.0.2.7"}}})
	server := netip.MustParseAddr("10.0.0.5")
	e.Learn(netip.MustParseAddr("192.0.2.7"), "other", 0, time.Hour)
	e.Learn(server, "Shop.Example.", 0, time.Hour)
	for _, c := range []struct {
		minutes int64
		want    string
	}{{0, "shop.example"}, {60, "shop.example"}, {61, ""}} {
		if got := domains(e, c.minutes); got != [2]string{"fixed", c.want} {
			t.Errorf("after %d minutes: %q", c.minutes, got)
		}
	}
	e.Learn(netip.MustParseAddr("::ffff:10.0.0.5"), "cdn.example", 100*minute, time.Second)
	if got := domains(e, 110)[1]; got != "cdn.example" {
		t.Errorf("a short one doesn't hold 10 minutes: %q", got)
	}
	if got := domains(e, 111)[1]; got != "" {
		t.Errorf("it holds longer: %q", got)
	}
	e.Learn(server, "long.example", 0, 1000*time.Hour)
	if domains(e, 24*60)[1] != "long.example" || domains(e, 24*60+1)[1] != "" {
		t.Error("a long one doesn't hold a day")
	}
	before := e.Counters()
	for _, n := range []string{"", ".", "a b", "x\x1b[2J", "caf\xc3\xa9", strings.Repeat("a", 300)} {
		e.Learn(server, n, 0, time.Hour)
	}
	e.Learn(netip.Addr{}, "valid", 0, time.Hour)
	if got := e.Counters(); got.LearnedSkipped != before.LearnedSkipped+7 || got.Learned != before.Learned {
		t.Errorf("%+v", got)
	}

	// Neither what waits nor what is kept grows.
	for i := range MaxLearned + 10 {
		e.Learn(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), "many", 0, time.Hour)
	}
	if got := e.Counters(); got.Learned != before.Learned+MaxLearned || got.LearnedSkipped != before.LearnedSkipped+17 {
		t.Errorf("%+v", got)
	}
	x := between("192.0.2.7:51000", "10.0.0.5:8080", 0)
	for i := range 3 * MaxNames {
		e.Learn(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), "many", 0, time.Hour)
		e.Exchange(x)
	}
	if n := e.names.len(); n > MaxNames {
		t.Errorf("%d names", n)
	}
}

// resolver answers when it is told to.
type resolver struct {
	mu    sync.Mutex
	asked map[string]int
	hold  chan struct{} // nil: answers at once
	begun chan string   // nil: nobody is interested
	names map[string][]string
	err   error
}

func (r *resolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	r.mu.Lock()
	if r.asked == nil {
		r.asked = map[string]int{}
	}
	r.asked[addr]++
	names, err := r.names[addr], r.err
	r.mu.Unlock()
	if r.begun != nil {
		r.begun <- addr
	}
	if r.hold != nil {
		select {
		case <-r.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if names == nil && err == nil {
		err = &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	return names, err
}

func (r *resolver) count(addr string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[addr]
}

// settle waits until nothing is under way, and takes the answers over with an exchange at a time.
func settle(t *testing.T, e *Enricher) {
	t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		pending := false
		for _, m := range [...]map[packet.Addr]*name{e.names.young, e.names.old} {
			for _, n := range m {
				pending = pending || n.asking
			}
		}
		if !pending {
			return
		}
		if e.inbox.full.Load() {
			e.takeNews()
			continue
		}
		select {
		case <-deadline:
			t.Fatal("a look-up never ended")
		default:
		}
	}
}

func TestReverse(t *testing.T) {
	r := &resolver{names: map[string][]string{"10.0.0.5": {"bad name", "Db1.Example."}}}
	e := newEnricher(t, Options{Resolve: true, Resolver: r})
	if got := domains(e, 0); got != [2]string{} {
		t.Errorf("at once: %q", got)
	}
	settle(t, e)
	for _, minutes := range []int64{1, 10, 60} {
		if got := domains(e, minutes); got != [2]string{"", "db1.example"} {
			t.Errorf("after %d minutes: %q", minutes, got)
		}
		settle(t, e)
	}
	if n := r.count("10.0.0.5"); n != 1 {
		t.Errorf("asked %d times within the hour", n)
	}
	if n := r.count("192.0.2.7"); n != 2 {
		t.Errorf("asked %d times for what has no name, within the hour", n)
	}
	// The old name holds until there is a new one.
	r.mu.Lock()
	r.names = map[string][]string{"10.0.0.5": {"db2.example"}}
	r.mu.Unlock()
	if got := domains(e, 62)[1]; got != "db1.example" {
		t.Errorf("while it is asked for again: %q", got)
	}
	settle(t, e)
	if got := domains(e, 62)[1]; got != "db2.example" {
		t.Errorf("asked again: %q", got)
	}
	// A DNS answer says which of its names was meant.
	e.Learn(netip.MustParseAddr("10.0.0.5"), "shop.example", 62*minute, 0)
	if got := domains(e, 62)[1]; got != "shop.example" {
		t.Errorf("learned: %q", got)
	}
	x := between("127.0.0.1:5", "[fe80::1]:80", 0)
	e.Exchange(x)
	settle(t, e)
	if r.count("127.0.0.1")+r.count("fe80::1") != 0 {
		t.Error("asked for an address that says nothing")
	}
	if c := e.Counters(); c.LookupsFailed != 0 || c.Lookups == 0 {
		t.Errorf("%+v", c)
	}
}

func TestReverseFails(t *testing.T) {
	r := &resolver{err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}}
	e := newEnricher(t, Options{Resolve: true, Resolver: r})
	for _, minutes := range []int64{0, 1, 2} {
		domains(e, minutes)
		settle(t, e)
	}
	if n := r.count("10.0.0.5"); n != 2 {
		t.Errorf("asked %d times within two minutes", n)
	}
	if c := e.Counters(); c.LookupsFailed != c.Lookups || c.Lookups != 4 {
		t.Errorf("%+v", c)
	}
}

// A resolver that hangs holds up neither exchanges nor the end.
func TestReverseHangs(t *testing.T) {
	r := &resolver{hold: make(chan struct{}), begun: make(chan string, lookups)}
	e := newEnricher(t, Options{Resolve: true, Resolver: r})
	exchangeAt := func(i int) {
		x := between("127.0.0.1:5", fmt.Sprintf("10.1.%d.%d:80", i>>8, i&255), 0)
		e.Exchange(x)
	}
	for i := range lookups {
		exchangeAt(i)
	}
	for range lookups {
		<-r.begun
	}
	for i := range MaxLookups + 50 {
		exchangeAt(lookups + i)
	}
	exchangeAt(0) // asked for already
	if c := e.Counters(); c.LookupsSkipped != 50 || c.Lookups != lookups {
		t.Errorf("%+v", c)
	}
	e.Close()
}

func TestReload(t *testing.T) {
	path := nestedCity(t)
	e := newEnricher(t, Options{GeoIP: []string{path}})
	city := func() string {
		x := between("192.0.2.7:51000", "10.0.0.5:8080", 0)
		e.Exchange(x)
		if p := x.Enriched.Place[0]; p != nil {
			return p.City
		}
		return ""
	}
	if got := city(); got != "Munich" {
		t.Fatal(got)
	}
	// Overwritten in place, which would end a program that has mapped it.
	good, err := os.ReadFile(mmdb(t, 6, map[string]mmdbtype.Map{"192.0.2.0/24": {"city": named("Other")}}))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Reload(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("an empty file: %v", err)
	}
	if got := city(); got != "Munich" {
		t.Errorf("after a failure: %q", got)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // one that was never used goes
		if err := e.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	if got := city(); got != "Other" {
		t.Errorf("reloaded: %q", got)
	}
}

// What is known of addresses and routes doesn't grow, whatever comes.
func TestBounded(t *testing.T) {
	e := newEnricher(t, Options{GeoIP: []string{nestedCity(t)}, Services: map[string][]string{"x": {":80"}}})
	x := between("192.0.2.7:51000", "10.0.0.5:8080", 0)
	flow := *outputtest.Flow("192.0.2.7:51000", "10.0.0.5:8080")
	x.Flow = &flow
	for i := range 3 * MaxAddresses {
		flow.Addr[0][12], flow.Addr[0][13], flow.Addr[0][14], flow.Addr[0][15] = byte(i>>24)|1, byte(i>>16), byte(i>>8), byte(i)
		setTarget(x, fmt.Appendf(nil, "/x%dy", i%1000)...)
		x.Request.Raw[2] = 'a' + byte(i>>10)%26
		x.Request.Raw[1] = 'a' + byte(i>>15)%26
		e.Exchange(x)
	}
	if n := e.addresses.len(); n > MaxAddresses {
		t.Errorf("%d addresses", n)
	}
	if n := e.known.len(); n > MaxRoutes {
		t.Errorf("%d routes", n)
	}
}

func setTarget(x *exchange.Exchange, target ...byte) {
	x.Request.Raw = append(x.Request.Raw[:0], target...)
	x.Request.Target = proto.Span{Len: uint32(len(target))}
	x.Request.Method, x.Request.Fields = proto.Span{}, nil
}

func full(t testing.TB) *Enricher {
	return newEnricher(t, Options{
		GeoIP:    []string{nestedCity(t), nestedASN(t)},
		Hosts:    map[string][]string{"db1": {"10.0.0.5"}},
		Services: map[string][]string{"checkout": {"10.0.0.0/24:8080"}, "partner": {"192.0.2.0/24"}},
		Routes:   []string{"/api/{what}"},
		Resolve:  true,
		Resolver: &resolver{},
	})
}

func TestAllocatesNothing(t *testing.T) {
	e := full(t)
	x := between("192.0.2.7:51000", "10.0.0.5:8080", 0)
	e.Exchange(x)
	settle(t, e)
	if n := testing.AllocsPerRun(100, func() { e.Exchange(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, c := range []struct {
		name string
		e    *Enricher
	}{{"plain", newEnricher(b, Options{})}, {"full", full(b)}} {
		b.Run(c.name+"/hits", func(b *testing.B) {
			b.ReportAllocs()
			x := between("192.0.2.7:51000", "10.0.0.5:8080", 0)
			for b.Loop() {
				c.e.Exchange(x)
			}
		})
		b.Run(c.name+"/new-addresses", func(b *testing.B) {
			b.ReportAllocs()
			x := between("192.0.2.7:51000", "10.0.0.5:8080", 0)
			flow := *outputtest.Flow("192.0.2.7:51000", "10.0.0.5:8080")
			x.Flow = &flow
			for i := 0; b.Loop(); i++ {
				flow.Addr[0][13], flow.Addr[0][14], flow.Addr[0][15] = byte(i>>16), byte(i>>8), byte(i)
				c.e.Exchange(x)
			}
		})
	}
	b.Run("new-agents", func(b *testing.B) {
		b.ReportAllocs()
		a, n := newAgents(), new(counts)
		header := []byte("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 00000000")
		for i := 0; b.Loop(); i++ {
			copy(header[len(header)-8:], fmt.Sprintf("%08d", i%1e8))
			a.agent(header, n)
		}
	})
}

// Only requests of HTTP have routes.
func TestNoRouteOfOthers(t *testing.T) {
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, x := range []*exchange.Exchange{outputtest.Query("mysql", "SELECT", "SELECT 1"), outputtest.Lookup("A", "shop.example")} {
		e.Exchange(x)
		if x.Enriched.Route != "" || x.Enriched.UserAgent != nil {
			t.Errorf("%s has the route %q", x.Protocol, x.Enriched.Route)
		}
	}
}
