package pageload

import (
	"cmp"
	"container/list"
	"hash/maphash"
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Grouper groups exchanges into pages. It isn't safe for concurrent use.
//
// Theory of operation. A document opens a page. It stays open, for what its client asks for next, until MaxIdle
// after its last exchange, or MaxAge. A request that isn't for a document goes to one open page of its client: the
// clues are tried from the surest to the weakest, and the first that any page fits decides. If several pages fit it,
// as with two tabs or two users behind one address, the likeliest one gets it, with less confidence; pages are never
// joined for that. What fits no page is unassigned.
//
// A request for a document that comes from a page that is still loading may be a click, a script that goes elsewhere,
// or a frame, where Sec-Fetch-Dest doesn't tell. It opens a page. If the first page still gets anything Leave after the
// answer to the second began, it was a frame, for a page that is left gets nothing more; then the second becomes a
// part of the first.
type Grouper struct {
	// Assigned counts the exchanges that belong to a page, Unassigned those that don't, among them those without
	// a request.
	Assigned, Unassigned int

	done    func(*Page)
	hash    hasher
	clients map[uint64]*client
	// order has the clients, that of the last exchange first.
	order *list.List
	// held is how many exchanges the open pages have.
	held int
}

// New returns a Grouper, which calls done with each page when nothing more can belong to it. What done is given is its
// own.
func New(done func(*Page)) *Grouper {
	return &Grouper{done: done, hash: hasher(maphash.MakeSeed()), clients: map[uint64]*client{}, order: list.New()}
}

// client is a browser, as far as address and user agent tell one from the other.
type client struct {
	number uint64
	// open are its open pages, in the order of their begin.
	open []*open
	at   *list.Element
}

// open is a page that further exchanges may belong to.
type open struct {
	Page
	// sure is how sure it is that the document is one; known is when the answer to it began, before which it
	// can't have asked for anything.
	sure  float64
	known int64
	// last is the end of what came last, busy that of what counts for the load so far.
	last, busy int64
	// urls are those that a Referer of its members may have: by their numbers, with the number of requests. origins
	// are those of the document and of frames.
	urls    map[uint64]int
	origins map[uint64]bool
	// connections are those of its members: when each was last used for it.
	connections map[uint64]int64
	// awaits are the targets of redirects, with the time until which they may be asked for.
	awaits map[uint64]int64
	// leads: the last of Resources redirects to the document, which wasn't seen so far; redirects is how many do.
	leads     bool
	redirects int
	// within is the page that this one may be a frame of.
	within *open
}

// Add takes an exchange. They come in the order of their start, and are borrowed until Add returns.
func (g *Grouper) Add(x *exchange.Exchange) {
	g.expire(x.Start.Time)
	for g.held >= MaxHeld {
		g.forget(g.order.Back().Value.(*client))
	}
	if x.Protocol == "tls" || x.Protocol == "websocket" { // its request is an exchange, too
		return
	}
	if !x.HasRequest {
		g.Unassigned++
		return
	}
	s := g.see(x)
	c := g.clients[s.client]
	if c != nil {
		c.expire(g, s.start)
		g.order.MoveToFront(c.at)
	}
	if !g.place(c, s) {
		g.Unassigned++
		return
	}
	g.Assigned++
}

// place finds the page of an exchange, or opens one; it reports whether there is any.
func (g *Grouper) place(c *client, s *sighting) bool {
	if s.kind != resource {
		if p := c.awaiting(s); p != nil {
			p.arrive(g, s)
			return true
		}
	}
	if s.kind == document {
		g.begin(c, s)
		return true
	}
	for i := range clues {
		clue := &clues[i]
		if s.kind == perhaps && clue.why > RefererOrigin {
			break
		}
		if p, sure := c.choose(s, clue); p != nil {
			p.add(g, s, clue.why, sure*clue.sure(s))
			c.adopt(g, p, s, clue.why)
			return true
		}
	}
	switch s.kind {
	case frame: // what embeds it was not seen
		s.sure = 0.5
		fallthrough
	case perhaps:
		g.begin(c, s)
		return true
	}
	return false
}

// clue is one way to tell that a request belongs to a page.
type clue struct {
	why   Why
	fits  func(p *open, s *sighting) bool
	fixed float64
}

// clues are all of them, the surest first.
var clues = [...]clue{
	{Redirect, func(p *open, s *sighting) bool { until, ok := p.awaits[s.url]; return ok && s.start <= until }, 1},
	// A Referer that is but an origin, to another one, may be any page's there.
	{Referer, func(p *open, s *sighting) bool {
		return s.hasReferer && !(s.bareReferer && s.foreign) && p.urls[s.referer] > 0
	}, 1},
	{RefererOrigin, func(p *open, s *sighting) bool { return s.hasOrigin && p.origins[s.refererOrigin] }, 0.8},
	{SecFetch, func(p *open, s *sighting) bool {
		switch string(s.site) {
		case "same-origin":
			return !s.hasOrigin && p.origins[s.origin]
		case "same-site", "cross-site":
			return !s.hasOrigin && p.loading(s.start)
		}
		return false
	}, 0.6},
	{Time, func(p *open, s *sighting) bool {
		return !s.modern && !s.hasOrigin && p.sure >= 0.7 && p.origins[s.origin] && p.loading(s.start)
	}, 0.4},
}

// sure is how much the clue says for a request, if only one page fits.
func (c *clue) sure(s *sighting) float64 {
	switch {
	case s.hasOrigin && s.foreign && string(s.site) == "same-origin": // they contradict each other
		return c.fixed * 0.7
	case c.why == RefererOrigin && !s.bareReferer: // a path that was never asked for, as scripts make up
		return 0.5
	}
	return c.fixed
}

// choose returns the likeliest of the pages that a clue fits, and how sure it is that it is this one of them.
func (c *client) choose(s *sighting, clue *clue) (best *open, sure float64) {
	if c == nil {
		return nil, 0
	}
	for _, p := range c.open {
		if p.known > s.start || p.known == 0 || p.leads && clue.why != Redirect || !clue.fits(p, s) {
			continue
		}
		if best == nil {
			best, sure = p, 1
			continue
		}
		likelier, level := p.likelier(best, s)
		if likelier {
			best = p
		}
		sure = min(sure, level)
	}
	return best, sure
}

// likelier reports whether s belongs to p rather than to q, which began before, and how sure the choice is.
func (p *open) likelier(q *open, s *sighting) (bool, float64) {
	// What is still loading asks for more; a page asks once for what it needs; and two users have two connections.
	if a, b := p.loading(s.start), q.loading(s.start); a != b {
		return a, 0.9
	}
	if a, b := p.urls[s.url], q.urls[s.url]; (a == 0) != (b == 0) {
		return a == 0, 0.7
	}
	if a, b := p.connections[s.connection], q.connections[s.connection]; a != b {
		return a > b, 0.7
	}
	return true, 0.5
}

// loading reports whether the load goes on at a time.
func (p *open) loading(at int64) bool { return at <= p.busy+Quiet.Nanoseconds() }

// awaiting returns the page whose last redirect leads to the document s.
func (c *client) awaiting(s *sighting) *open {
	if c == nil {
		return nil
	}
	for _, p := range slices.Backward(c.open) {
		if until, ok := p.awaits[s.url]; ok && p.leads && s.start <= until && s.start >= p.known && p.redirects < MaxRedirects {
			return p
		}
	}
	return nil
}

// begin opens a page with a document or the first redirect to one.
func (g *Grouper) begin(c *client, s *sighting) {
	if c == nil {
		if len(g.clients) >= MaxClients {
			g.forget(g.order.Back().Value.(*client))
		}
		c = &client{number: s.client}
		c.at = g.order.PushFront(c)
		g.clients[s.client] = c
	}
	if len(c.open) >= MaxOpen {
		g.close(c.open[0])
		c.open = slices.Delete(c.open, 0, 1)
	}
	m := &s.x.Request
	p := &open{
		Page: Page{
			Client: s.x.Flow.Addr[s.x.Client], ForwardedFor: kept(s.forwardedFor, MaxTarget),
			UserAgent: kept(m.Field("user-agent"), MaxText), Start: s.start, Load: -1, TTFB: -1,
			Prefetched: s.apart == Prefetch,
		},
		busy: s.start,
		urls: map[uint64]int{}, origins: map[uint64]bool{}, connections: map[uint64]int64{}, awaits: map[uint64]int64{},
	}
	if a := s.x.Enriched.UserAgent; a != nil {
		p.Browser = kept([]byte(a.Name), MaxTarget)
	}
	if !s.modern && s.hasReferer && !s.unframed && !s.redirects {
		p.within = c.embedder(s)
	}
	c.open = append(c.open, p)
	p.arrive(g, s)
	if p.within == nil {
		return
	}
	for i := range p.within.Resources {
		if p.within.proves(&p.within.Resources[i], p) {
			c.absorb(g, p)
			return
		}
	}
}

// embedder returns the page that a document may be a frame of.
func (c *client) embedder(s *sighting) *open {
	for i := range clues {
		if clue := &clues[i]; clue.why == Referer || clue.why == RefererOrigin {
			if p, _ := c.choose(s, clue); p != nil {
				return p
			}
		}
	}
	return nil
}

// arrive adds a document, or a redirect to one.
func (p *open) arrive(g *Grouper, s *sighting) {
	clear(p.awaits)
	p.Document = len(p.Resources)
	p.Host, p.Target = kept([]byte(s.at.authority), MaxHost), kept([]byte(s.at.target), MaxText)
	p.sure, p.known = s.sure, s.answer
	if p.known == 0 && s.x.Grade == exchange.OneSided {
		p.known = s.start
	}
	if s.apart == Prefetch { // ahead of the page, not within its load
		s.apart = Counts
	}
	why := Document
	if p.leads = s.redirects; p.leads {
		why = Redirect
		p.redirects++
	} else {
		p.origins[s.origin] = true
		if s.answer > 0 {
			p.TTFB = max(s.answer-p.Start, 0)
		}
	}
	p.add(g, s, why, 1)
}

// add adds an exchange to a page.
func (p *open) add(g *Grouper, s *sighting, why Why, confidence float64) {
	p.urls[s.url]++
	p.last = max(p.last, s.start, s.end)
	delete(p.awaits, s.url)
	if len(p.Resources) >= MaxResources {
		p.urls[s.url]--
		if p.urls[s.url] == 0 {
			delete(p.urls, s.url)
		}
		p.LeftOut++
		return
	}
	if s.kind == frame {
		p.origins[s.origin] = true
	}
	p.connections[s.connection] = s.start
	if s.redirects {
		p.awaits[s.location] = max(s.start, s.end) + MaxRedirect.Nanoseconds()
	}
	x := s.x
	m := &x.Request
	u := x.URL()
	target := m.Bytes(m.Target)
	if len(u.Scheme) > 0 {
		target = []byte(s.at.target)
	}
	r := Resource{
		ID: x.ID(x.Tap.Observer), Start: s.start, End: s.end, Timing: x.Timing,
		Method: kept(m.Bytes(m.Method), MaxTarget), Target: kept(target, MaxTarget), Host: kept([]byte(s.at.authority), MaxHost),
		Failed: x.Outcome() == "failure", Whole: x.Grade == exchange.Complete, Why: why, Confidence: confidence, Apart: s.apart,
	}
	if x.HasResponse {
		r.Status, r.Bytes, r.Type = x.Response.Status, x.Response.Size, kept(exchange.MediaType(&x.Response), MaxTarget)
	}
	p.count(&r)
	p.Resources = append(p.Resources, r)
	g.held++
}

// count finds out whether an exchange counts for the load. They come in the order of their start.
func (p *open) count(r *Resource) {
	if r.Apart == Late {
		r.Apart = Counts
	}
	r.InLoad = false
	switch {
	case r.Apart != Counts:
	case !p.loading(r.Start):
		r.Apart = Late
	default:
		r.InLoad = true
		if r.Whole {
			p.busy = max(p.busy, r.End)
		}
	}
}

// proves reports whether a member of p shows that p was still there when the answer to q had begun.
func (p *open) proves(r *Resource, q *open) bool {
	return r.Whole && r.Apart == Counts && q.known > 0 && r.End > q.known+Leave.Nanoseconds() && (r.Why == Referer || r.Why == RefererOrigin || r.Why == Document)
}

// adopt makes the pages that may be frames of p parts of it, if its newest member proves that they are.
func (c *client) adopt(g *Grouper, p *open, s *sighting, why Why) {
	if why != Referer && why != RefererOrigin {
		return
	}
	newest := &p.Resources[len(p.Resources)-1]
	for i := 0; i < len(c.open); i++ {
		if q := c.open[i]; q.within == p && newest.Start == s.start && p.proves(newest, q) {
			c.absorb(g, q)
			i = -1 // the pages before it may have changed
		}
	}
}

// guessed is the confidence of a frame that only time tells from a page of its own.
const guessed = 0.6

// absorb makes a page a part of the one that it is a frame of.
func (c *client) absorb(g *Grouper, q *open) {
	p := q.within
	for i := range q.Resources {
		r := &q.Resources[i]
		if i == q.Document {
			r.Why = Referer
		}
		r.Confidence = min(r.Confidence, guessed)
	}
	p.Resources = append(p.Resources, q.Resources...)
	slices.SortStableFunc(p.Resources[p.Document+1:], func(a, b Resource) int { return cmp.Compare(a.Start, b.Start) })
	p.LeftOut += q.LeftOut
	if n := len(p.Resources) - MaxResources; n > 0 {
		p.Resources = p.Resources[:MaxResources]
		p.LeftOut += n
		g.held -= n
	}
	for url, n := range q.urls {
		p.urls[url] += n
	}
	for origin := range q.origins {
		p.origins[origin] = true
	}
	for connection, at := range q.connections {
		p.connections[connection] = max(p.connections[connection], at)
	}
	for url, until := range q.awaits {
		p.awaits[url] = until
	}
	p.last = max(p.last, q.last)
	p.busy = p.Start
	for i := range p.Resources {
		p.count(&p.Resources[i])
	}
	for _, other := range c.open {
		if other.within == q {
			other.within = p
		}
	}
	c.open = slices.DeleteFunc(c.open, func(o *open) bool { return o == q })
}

// expired reports whether nothing that begins at a time can belong to the page.
func (p *open) expired(at int64) bool {
	return at > p.last+MaxIdle.Nanoseconds() || at > p.Start+MaxAge.Nanoseconds()
}

// expire closes the pages of a client to which nothing more can belong.
func (c *client) expire(g *Grouper, at int64) {
	c.open = slices.DeleteFunc(c.open, func(p *open) bool {
		if p.expired(at) {
			g.close(p)
			return true
		}
		return false
	})
}

// expire forgets clients that were silent too long. An answer may end long after the client asked for anything, so that
// MaxAge is what is waited for.
func (g *Grouper) expire(at int64) {
	for e := g.order.Back(); e != nil; e = g.order.Back() {
		c := e.Value.(*client)
		if c.expire(g, at); len(c.open) > 0 {
			return
		}
		g.forget(c)
	}
}

func (g *Grouper) forget(c *client) {
	for _, p := range c.open {
		g.close(p)
	}
	g.order.Remove(c.at)
	delete(g.clients, c.number)
}

// End closes all pages. Nothing is added afterwards.
func (g *Grouper) End() {
	for e := g.order.Back(); e != nil; e = g.order.Back() {
		g.forget(e.Value.(*client))
	}
}

// close hands out a page.
func (g *Grouper) close(p *open) {
	g.held -= len(p.Resources)
	sum := 0.0
	p.Complete = !p.leads && p.LeftOut == 0
	for i := range p.Resources {
		r := &p.Resources[i]
		sum += r.Confidence
		p.Complete = p.Complete && (r.Whole || !r.InLoad)
	}
	p.Confidence = p.sure * sum / float64(len(p.Resources))
	if d := &p.Resources[p.Document]; !p.leads && d.End > 0 {
		p.Load = max(p.busy, d.End) - p.Start
	}
	page := p.Page
	g.done(&page)
}
