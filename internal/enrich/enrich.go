// Package enrich adds to exchanges what isn't in their packets: what the User-Agent header tells, where
// addresses are and what they are called, which services are there, and which route a path belongs to.
// docs/enrichment.md says how.
package enrich

import (
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

const (
	// MaxAddresses is how many addresses are remembered with what is known of them, at least half of it: one takes about
	// 150 bytes.
	MaxAddresses = 65536
	// MaxRoutes is how many routes are remembered, at least half of it, so that equal ones share their memory: one takes
	// up to 1.1 KiB, usually 100 bytes.
	MaxRoutes = 16384
)

// Options say what an Enricher knows. The zero Options are valid: user agents and routes need nothing.
type Options struct {
	// GeoIP are the paths of MMDB files.
	GeoIP []string
	// Hosts are the names of addresses: each name with its addresses.
	Hosts map[string][]string
	// Services are the names of services, each with its addresses, networks and ports: 10.0.0.7, 10.0.0.0/24, either with
	// :8080 or :8000-8010 behind it, :9000, [2001:db8::]/64:443.
	Services map[string][]string
	// Routes are rules such as /api/users/{id} or /static/*; see measure.NewRoutes.
	Routes []string
	// Resolve: names are looked up, in the background, by Resolver, or the system's resolver when that is nil.
	Resolve  bool
	Resolver Resolver
}

// Counters count what an Enricher does.
type Counters struct {
	// UserAgents are those that were parsed, since they weren't remembered.
	UserAgents uint64
	// GeoIPErrors counts look-ups that failed, in files whose damage wasn't found when they were opened.
	GeoIPErrors uint64
	// Learned are the names that Learn took, LearnedSkipped those for which there was no room, and those that are no
	// names.
	Learned, LearnedSkipped uint64
	// Lookups are the reverse look-ups that were begun, LookupsFailed those that nobody answered, LookupsSkipped those
	// that were put off, since too many were waiting.
	Lookups, LookupsFailed, LookupsSkipped uint64
}

type counts struct {
	userAgents, geoIPErrors, learned, learnedSkipped, lookups, lookupsFailed, lookupsSkipped atomic.Uint64
}

// Enricher fills in exchange.Enriched. Exchange is called from one goroutine; Learn, Reload and Counters from any.
type Enricher struct {
	files    []string
	routes   *measure.Routes
	services *services
	hosts    map[packet.Addr]string
	geo      *geoIP
	// reloaded takes the place of geo with the next exchange.
	reloaded atomic.Pointer[geoIP]
	reverse  *reverse // nil: names aren't looked up
	counts   counts

	agents agents
	// known are the routes that were met.
	known     recent[string, string]
	addresses recent[packet.Addr, *address]
	names     recent[packet.Addr, *name]
	// byAddress: there is something to know of addresses.
	byAddress bool
	inbox     inbox
	// route and news are scratch memory.
	route []byte
	news  []news
}

// address is what is known of an address.
type address struct {
	place   *exchange.Place
	network *network // the smallest that services have around it
	host    string   // from the configuration
	name    *name
	asks    bool // it may be looked up
}

// New returns an Enricher. The caller closes it.
func New(o Options) (*Enricher, error) {
	routes, err := measure.NewRoutes(o.Routes)
	if err != nil {
		return nil, err
	}
	services, err := newServices(o.Services)
	if err != nil {
		return nil, err
	}
	hosts, err := newHosts(o.Hosts)
	if err != nil {
		return nil, err
	}
	geo, err := openGeoIP(o.GeoIP)
	if err != nil {
		return nil, err
	}
	e := &Enricher{
		files:     o.GeoIP,
		routes:    routes,
		services:  services,
		hosts:     hosts,
		geo:       geo,
		agents:    newAgents(),
		known:     newRecent[string, string](MaxRoutes / 2),
		addresses: newRecent[packet.Addr, *address](MaxAddresses / 2),
		names:     newRecent[packet.Addr, *name](MaxNames / 2),
		byAddress: len(o.GeoIP) > 0 || len(o.Services) > 0 || len(o.Hosts) > 0 || o.Resolve,
		route:     make([]byte, 0, measure.MaxRoute),
	}
	if o.Resolve {
		e.reverse = newReverse(o.Resolver, &e.inbox, &e.counts)
	}
	return e, nil
}

// Close ends the look-ups and gives the memory of the GeoIP files back. It is called after the last Exchange; what was
// filled in stays valid.
func (e *Enricher) Close() {
	if e.reverse != nil {
		e.reverse.close()
	}
	e.geo.close()
	if g := e.reloaded.Swap(nil); g != nil {
		g.close()
	}
}

// Counters returns what was done so far.
func (e *Enricher) Counters() Counters {
	c := &e.counts
	return Counters{
		UserAgents:     c.userAgents.Load(),
		GeoIPErrors:    c.geoIPErrors.Load(),
		Learned:        c.learned.Load(),
		LearnedSkipped: c.learnedSkipped.Load(),
		Lookups:        c.lookups.Load(),
		LookupsFailed:  c.lookupsFailed.Load(),
		LookupsSkipped: c.lookupsSkipped.Load(),
	}
}

// Reload reads the GeoIP files anew. From the next exchange on they hold; when one can't be read, the old ones go on, all of
// them.
func (e *Enricher) Reload() error {
	g, err := openGeoIP(e.files)
	if err != nil {
		return err
	}
	if unused := e.reloaded.Swap(g); unused != nil {
		unused.close()
	}
	return nil
}

// Learn takes note that a DNS answer, seen at a capture time in nanoseconds, gave the address for a name. It holds as long
// as the answer allows, but at least 10 minutes and at most a day. The last answer counts.
func (e *Enricher) Learn(addr netip.Addr, name string, at int64, ttl time.Duration) {
	name = hostName(name)
	holds := min(max(ttl, minName), maxName)
	if name == "" || !addr.IsValid() || !e.inbox.put(news{addr: packet.Addr(addr.As16()), name: name, until: at + int64(holds)}, MaxLearned) {
		e.counts.learnedSkipped.Add(1)
		return
	}
	e.counts.learned.Add(1)
}

// Exchange fills in x.Enriched. What it points to never changes, and may be kept.
func (e *Enricher) Exchange(x *exchange.Exchange) {
	if e.inbox.full.Load() {
		e.takeNews()
	}
	if e.reloaded.Load() != nil {
		e.takeReloaded()
	}
	r := &x.Enriched
	*r = exchange.Enriched{}
	if x.HasRequest && x.Family == exchange.HTTP {
		r.UserAgent = e.agents.agent(x.Request.Field("user-agent"), &e.counts)
		r.Route = e.routeOf(x)
	}
	if !e.byAddress {
		return
	}
	for d := range x.Flow.Addr {
		d := proto.Direction(d)
		addr := x.Flow.Addr[d]
		a, ok := e.addresses.get(addr)
		if !ok {
			a = e.address(addr)
		}
		r.Place[d] = a.place
		r.Domain[d] = e.domain(a, addr, x.Completed.Time)
		if d == x.Client {
			r.Service[d] = a.network.clientService()
		} else {
			r.Service[d] = e.services.server(a.network, x.Flow.Port[d])
		}
	}
}

// routeOf returns the route of a request, "" if its target has no path.
func (e *Enricher) routeOf(x *exchange.Exchange) string {
	m := &x.Request
	target := m.Bytes(m.Target)
	if len(target) == 0 || string(target) == "?" { // which stands for one that couldn't be known
		return ""
	}
	if proto.EqualFold(m.Bytes(m.Method), "connect") && m.Field(":protocol") == nil {
		return ""
	}
	path := target
	if target[0] != '/' {
		path = x.URL().Path
		if len(path) == 0 {
			path = target[:0]
		}
	}
	e.route = e.routes.Append(e.route[:0], path)
	if len(e.route) == 0 {
		return "/" // as in http://shop.example (RFC 9112 §3.2.1)
	}
	route, ok := text(&e.known, e.route)
	if !ok {
		route = string(e.route)
		e.known.put(route, route)
	}
	return route
}

// address finds out what there is to know of an address, and remembers it.
func (e *Enricher) address(addr packet.Addr) *address {
	ip := addr.Netip()
	a := &address{
		place:   e.geo.place(ip, &e.counts),
		network: e.services.network(ip),
		host:    e.hosts[addr],
		asks:    asksFor(ip),
	}
	a.name, _ = e.names.get(addr)
	e.addresses.put(addr, a)
	return a
}

// domain returns what an address is called, and asks for it if nobody knows.
func (e *Enricher) domain(a *address, addr packet.Addr, at int64) string {
	if a.host != "" {
		return a.host
	}
	n := a.name
	if n != nil && n.seen != "" && at <= n.seenUntil {
		return n.seen
	}
	if e.reverse == nil || !a.asks {
		return ""
	}
	if n == nil {
		n = e.name(addr, a)
	}
	if at > n.reverseUntil && !n.asking {
		n.asking = e.reverse.ask(question{addr, at})
	}
	return n.reverse // of old, until the new one is known
}

// name returns the name of an address, which may have to be made.
func (e *Enricher) name(addr packet.Addr, a *address) *name {
	n, ok := e.names.get(addr)
	if !ok {
		n = &name{reverseUntil: math.MinInt64}
		e.names.put(addr, n)
	}
	if a != nil {
		a.name = n
	}
	return n
}

func (e *Enricher) takeNews() {
	e.byAddress = true
	e.news = e.inbox.take(e.news)
	for _, w := range e.news {
		a, _ := e.addresses.get(w.addr)
		n := e.name(w.addr, a)
		if w.reverse {
			n.reverse, n.reverseUntil, n.asking = w.name, w.until, false
		} else {
			n.seen, n.seenUntil = w.name, w.until
		}
	}
	clear(e.news)
}

func (e *Enricher) takeReloaded() {
	if g := e.reloaded.Swap(nil); g != nil {
		e.geo.close()
		e.geo = g
		e.addresses.reset()
	}
}
