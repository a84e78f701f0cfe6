package web

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/correlate/pageload"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
)

const (
	// DefaultPages is how many pages are given, unless told, and MaxPages how many may be.
	DefaultPages, MaxPages = 50, 500
	// MaxSighted is how many exchanges pages are made of: the newest of the time that is asked about. MaxBehind is how
	// many more are looked at behind its end, for what belongs to its last pages.
	MaxSighted, MaxBehind = 50_000, 10_000
	// MaxListed is how many exchanges the pages of an answer have together, each some 3 KB at most: fewer pages are given
	// than the limit when they have more.
	MaxListed = 10_000

	// borderBuckets is in how many buckets of time exchanges are counted, to find where the newest begin.
	borderBuckets = 1_000
)

// pageFields are what pages are made of.
var pageFields = fieldsNamed("event.duration", "event.end", "event.outcome", "observer.hostname", "observer.ingress.interface.name",
	"culprit.packets.tap", "client.ip", "client.port", "server.ip", "server.port", "client.bytes", "server.bytes", "http.request.method",
	"http.request.mime_type", "http.request.headers", "http.response.status_code", "http.response.body.bytes",
	"http.response.mime_type", "http.response.headers", "url.original", "user_agent.original", "user_agent.name", "culprit.grade",
	"culprit.stream", "culprit.http.interim", "culprit.timing.connect", "culprit.timing.tls", "culprit.timing.idle", "culprit.timing.send",
	"culprit.timing.wait", "culprit.timing.receive")

// requests is the condition of the exchanges that page loads can be made of: statements and questions for names, of which there may
// be many more, take no room from them.
func requests() filter.Node {
	return &filter.Has{Operand: filter.Operand{Field: exchange.Lookup("http.request.method")}}
}

func fieldsNamed(names ...string) (all []*exchange.Field) {
	for _, name := range names {
		all = append(all, exchange.Lookup(name))
	}
	return all
}

// pages answers with the page loads that began in the time that is asked about, the newest first. A filter or text chooses
// pages by any of their exchanges: it doesn't take resources away from them.
func (s *Server) pages(c *call) error {
	scope, err := c.scope(s.options.QueryTimeout)
	if err != nil {
		return err
	}
	limit, err := c.number("limit", DefaultPages, 1, MaxPages)
	if err != nil {
		return err
	}
	least, err := c.fraction("confidence")
	if err != nil {
		return err
	}
	g := s.newGrouping(c.Context())
	margin := pageload.MaxIdle.Nanoseconds()
	w := window{scope: scope, before: MaxSighted, split: scope.To, behind: MaxBehind}
	w.scope.Where, w.scope.Text = requests(), ""
	if scope.From > 0 {
		w.scope.From = max(scope.From-margin, 1)
	}
	if scope.To > 0 {
		w.scope.To = scope.To + margin
	}
	if err := g.begin(&w); err != nil {
		return err
	}
	var chosen map[[exchange.IDSize]byte]bool
	if scope.Where != nil || scope.Text != "" {
		if chosen, err = g.choose(&w, &scope); err != nil {
			return err
		}
	}

	// All of them together hold no more than what was looked at.
	var all []*pageload.Page
	err = g.group(&w, func(p *pageload.Page) {
		if rounded(p.Confidence) < least || p.Start < scope.From || scope.To > 0 && p.Start >= scope.To {
			return
		}
		if chosen != nil && !slices.ContainsFunc(p.Resources, func(r pageload.Resource) bool { return chosen[r.ID] }) {
			return
		}
		all = append(all, p)
	})
	if err != nil {
		return err
	}
	found := len(all)
	all = outermost(all)
	answer := struct {
		Pages []pageView `json:"pages"`
		// More pages began in the time, before the last one given.
		More bool `json:"more"`
		// FurtherIn are the pages left out, since they are those of others, seen again behind a proxy.
		FurtherIn int `json:"further_in"`
		foundPages
	}{[]pageView{}, len(all) > limit, found - len(all), g.found()}
	room := MaxListed
	for _, p := range newest(all, limit) {
		if room -= len(p.Resources); room < 0 {
			answer.More = true
			break
		}
		answer.Pages = append(answer.Pages, viewOf(p))
	}
	return c.json(answer)
}

// fraction gives a number from 0 to 1, 0 when there is none.
func (c *call) fraction(name string) (float64, error) {
	s := c.values.Get(name)
	if s == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return 0, problems.parameter.about(name, "%s isn't a number from 0 to 1", clip(s))
	}
	return f, nil
}

// outermost leaves out pages that are others seen again behind a proxy: the same document, asked for on behalf of the
// other's client while the other was loading. It is told by X-Forwarded-For.
func outermost(all []*pageload.Page) []*pageload.Page {
	type load struct{ client, host, target string }
	byLoad := map[load][]reach{}
	for _, p := range slices.SortedFunc(slices.Values(all), func(a, b *pageload.Page) int { return cmp.Compare(a.Start, b.Start) }) {
		k := load{p.Client.String(), p.Host, p.Target}
		byLoad[k] = append(byLoad[k], extended(byLoad[k], p))
	}
	return slices.DeleteFunc(all, func(p *pageload.Page) bool {
		first, _, _ := strings.Cut(p.ForwardedFor, ",")
		same := byLoad[load{strings.TrimSpace(first), p.Host, p.Target}]
		// Strangers can make very many loads look the same, so that not each is looked at.
		n, _ := slices.BinarySearchFunc(same, p.Start, func(r reach, start int64) int {
			if r.start <= start {
				return -1
			}
			return 1
		})
		return first != "" && n > 0 && same[n-1].over(p)
	})
}

// reach is, of the loads of one document that began until start, the one whose answer began last, and another.
type reach struct {
	start         int64
	latest, other *pageload.Page
}

// extended is the reach with another load, which didn't begin earlier. What other is matters only where p is the latest: who
// isn't p, but began no later, began with p.
func extended(before []reach, p *pageload.Page) reach {
	r := reach{p.Start, p, nil}
	if len(before) > 0 {
		r.other = before[len(before)-1].latest
	}
	if r.other != nil && answered(r.other) > answered(p) {
		r.latest, r.other = r.other, r.latest
	}
	return r
}

// over reports whether p began during a load other than itself.
func (r *reach) over(p *pageload.Page) bool {
	outer := r.latest
	if outer == p {
		outer = r.other
	}
	return outer != nil && p.Start <= answered(outer)
}

// answered is when the answer to the document began, or else the page.
func answered(p *pageload.Page) int64 { return p.Start + max(p.TTFB, 0) }

// newest are the newest pages, the newest first.
func newest(all []*pageload.Page, most int) []*pageload.Page {
	slices.SortFunc(all, func(a, b *pageload.Page) int {
		if c := cmp.Compare(b.Start, a.Start); c != 0 {
			return c
		}
		x, y := a.Resources[a.Document].ID, b.Resources[b.Document].ID
		return slices.Compare(x[:], y[:])
	})
	return slices.Clip(all[:min(len(all), most)])
}

// onePage answers with the page that an exchange belongs to, its document or any other.
func (s *Server) onePage(c *call) error {
	id, err := c.id()
	if err != nil {
		return err
	}
	var at int64
	client := filter.Constant{Kind: exchange.IP}
	err = s.options.Store.Exchange(c.Context(), id, func(x *exchange.Exchange) error {
		at, client.Addr = x.Start.Time, x.Flow.Addr[x.Client]
		return nil
	})
	if err != nil {
		return err
	}
	w := window{
		scope: store.Scope{
			From: max(at-(pageload.MaxAge+pageload.MaxIdle).Nanoseconds(), 1), To: at + pageload.MaxAge.Nanoseconds() + 1,
			Where:   and(requests(), &filter.In{Operand: filter.Operand{Field: exchange.Lookup("client.ip")}, Values: []filter.Constant{client}}),
			Timeout: s.options.QueryTimeout,
		},
		before: MaxBehind, split: at, behind: MaxSighted,
	}
	var found *pageload.Page
	g := s.newGrouping(c.Context())
	if err := g.begin(&w); err != nil {
		return err
	}
	err = g.group(&w, func(p *pageload.Page) {
		if slices.ContainsFunc(p.Resources, func(r pageload.Resource) bool { return r.ID == id }) {
			found = p
		}
	})
	if err != nil {
		return err
	}
	if found == nil {
		return problems.notFound.of("exchange %s belongs to no page load that can be told", clip(c.PathValue("id")))
	}
	return c.json(struct {
		Page pageView `json:"page"`
		foundPages
	}{viewOf(found), g.found()})
}

// grouping makes pages of what it reads.
type grouping struct {
	reading
	groups *pageload.Grouper
}

func (s *Server) newGrouping(ctx context.Context) *grouping {
	return &grouping{reading: s.newReading(ctx, "page loads")}
}

// foundPages says of what pages were made.
type foundPages struct {
	// LookedAt exchanges were, of which Unassigned belong to no page.
	LookedAt   int `json:"looked_at"`
	Unassigned int `json:"unassigned"`
	// Truncated: there were more, older ones.
	Truncated bool `json:"truncated"`
	Cost      cost `json:"cost"`
}

func (g *grouping) found() foundPages {
	return foundPages{g.groups.Assigned + g.groups.Unassigned, g.groups.Unassigned, g.truncated, costOf(g.cost)}
}

// group makes pages of the exchanges of a window.
func (g *grouping) group(w *window, done func(*pageload.Page)) error {
	g.groups = pageload.New(done)
	q := store.Search{Fields: pageFields}
	q.Where = w.scope.Where
	err := g.each(w, &q, func(x *exchange.Exchange) error {
		g.groups.Add(x)
		return nil
	})
	g.groups.End()
	return err
}
