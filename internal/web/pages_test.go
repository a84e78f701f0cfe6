package web

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/correlate/pageload"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/embedded"
	"github.com/culprit-http/culprit/internal/store/record"
)

// pageVisit makes the exchanges of a visit, at a time before noon: a redirect, a page, and its parts, one of them a second later.
func pageVisit(before time.Duration, client, page string, headers ...string) (all []*exchange.Exchange) {
	at := noon.Add(-before).UnixNano()
	for i, e := range []struct {
		after, ms         int64
		request, response string
	}{
		{0, 10, "GET /go/" + page + " HTTP/1.1\nAccept: text/html", "302 Found\nLocation: /" + page},
		{20, 40, "GET /" + page + " HTTP/1.1\nAccept: text/html", "200 OK\nContent-Type: text/html; charset=utf-8"},
		{60, 30, "GET /style.css?" + page + " HTTP/1.1\nReferer: http://shop.example/" + page, "200 OK\nContent-Type: text/css"},
		{61, 139, "GET /photo.jpg?" + page + " HTTP/1.1\nReferer: http://shop.example/" + page, "404 Not Found\nContent-Type: image/jpeg"},
		{1200, 5, "GET /poll?" + page + " HTTP/1.1\nReferer: http://shop.example/" + page, "200 OK\nContent-Type: application/json"},
	} {
		x := outputtest.Exchange(e.request+"\nHost: shop.example\nUser-Agent: Firefox/<b>140\n"+strings.Join(headers, "")+"\n", "HTTP/1.1 "+e.response+"\n\nhello")
		x.Flow = outputtest.Flow(fmt.Sprintf("%s:%d", client, 40000+i), "10.0.0.2:8000")
		shift := at + e.after*1e6 - x.Start.Time
		x.Start.Time += shift
		x.Flow.First.Time += shift
		x.Timing.Wait = e.ms*1e6 - x.Timing.Send - x.Timing.Receive
		x.Timing.Duration = e.ms * 1e6
		x.Timing.Total = x.Timing.Duration + x.Timing.Connect
		x.Completed.Time = x.Start.Time + x.Timing.Duration
		x.Enriched.UserAgent = &exchange.UserAgent{Name: "Firefox"}
		all = append(all, x)
	}
	return all
}

// visited is a server of three visits: 3 minutes, 2 minutes and 1 minute before noon.
func visited(t *testing.T) *Server {
	all := slices.Concat(pageVisit(3*time.Minute, "10.0.0.7", "a"), pageVisit(2*time.Minute, "10.0.0.8", "b"), pageVisit(time.Minute, "10.0.0.7", "c"))
	return serve(t, func(o *Options) { o.Store = storeOf(t, all) })
}

// urls are the URLs of an answer's pages.
func urls(v map[string]any) (all []string) {
	for _, p := range v["pages"].([]any) {
		all = append(all, strings.TrimPrefix(dig(p, "url").(string), "http://shop.example/"))
	}
	return all
}

func TestPages(t *testing.T) {
	v := ask(t, visited(t), "/api/pages")
	if got := urls(v); !slices.Equal(got, []string{"c", "b", "a"}) {
		t.Fatalf("pages %v", got)
	}
	if v["looked_at"] != 15.0 || v["unassigned"] != 0.0 || v["truncated"] != false || v["more"] != false || dig(v, "cost", "stored") != 15.0 {
		t.Errorf("%v", v)
	}
	p := dig(v, "pages", 1)
	for name, want := range map[string]any{
		"client": "10.0.0.8", "user_agent": "Firefox/<b>140", "browser": "Firefox", "start": "2026-11-21T11:58:00.000000000Z",
		"load": 200e6, "ttfb": 59.9e6, "requests": 5.0, "errors": 1.0, "complete": true, "inferred": true, "confidence": 0.9,
		"prefetched": false, "left_out": 0.0, "forwarded_for": "",
	} {
		if got := dig(p, name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	var why []any
	var bytes float64
	for i := range 5 {
		why = append(why, dig(p, "resources", i, "why"))
		bytes += dig(p, "resources", i, "bytes").(float64)
	}
	if want := []any{"redirect", "document", "referer", "referer", "referer"}; !slices.Equal(why, want) || dig(p, "bytes") != bytes {
		t.Errorf("why %v, bytes %v", why, dig(p, "bytes"))
	}
	if dig(p, "id") != dig(p, "resources", 1, "id") {
		t.Errorf("id %v", dig(p, "id"))
	}
	for path, want := range map[string]any{
		"offset": 1200e6, "duration": 5e6, "target": "/poll?b", "host": "shop.example", "status": 200.0, "type": "application/json",
		"method": "GET", "in_load": false, "apart": "late", "confidence": 1.0, "start": "2026-11-21T11:58:01.200000000Z",
	} {
		if got := dig(p, "resources", 4, path); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
	if got := dig(p, "resources", 4, "timing", "wait"); got != 4.8e6 {
		t.Errorf("wait %v", got)
	}
}

// What a proxy asks for on behalf of a client is the client's page again, and shown only where that isn't.
func TestPagesBehindProxy(t *testing.T) {
	outer := pageVisit(2*time.Minute, "10.0.0.7", "a")
	const forwarded = "X-Forwarded-For: 10.0.0.7, 10.0.0.9\n"
	inner := pageVisit(2*time.Minute-time.Millisecond, "10.0.0.1", "a", forwarded)
	other := pageVisit(2*time.Minute-time.Millisecond, "10.0.0.2", "b", forwarded)
	s := serve(t, func(o *Options) { o.Store = storeOf(t, slices.Concat(outer, inner, other)) })
	for where, want := range map[string][]string{
		"":           {"http://shop.example/b 10.0.0.2", "http://shop.example/a 10.0.0.7"},
		"10.0.0.1":   {"http://shop.example/a 10.0.0.1"},
		"10.0.0.7":   {"http://shop.example/a 10.0.0.7"},
		"10.0.0.250": nil,
	} {
		target := "/api/pages"
		if where != "" {
			target += "?where=client==%22" + where + "%22"
		}
		v := ask(t, s, target)
		var got []string
		for _, p := range v["pages"].([]any) {
			got = append(got, dig(p, "url").(string)+" "+dig(p, "client").(string))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("client %q: got %v, want %v", where, got, want)
		}
		if further := v["further_in"]; where == "" && further != 1.0 || where != "" && further != 0.0 {
			t.Errorf("client %q: further in %v", where, further)
		}
	}
}

// However many loads look the same, those further in are the ones that begin while another of theirs is answered.
func TestOutermost(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var all []*pageload.Page
		for range r.IntN(30) {
			p := &pageload.Page{Host: "h", Target: "/", Client: packet.Addr{15: byte(r.IntN(2))}, Start: r.Int64N(20), TTFB: r.Int64N(5) - 1}
			p.ForwardedFor = []string{"", packet.Addr{}.String(), packet.Addr{15: 1}.String() + ", 10.0.0.9", "unknown"}[r.IntN(4)]
			all = append(all, p)
		}
		var want []*pageload.Page
		for _, p := range all {
			further := false
			for _, q := range all {
				first, _, _ := strings.Cut(p.ForwardedFor, ",")
				further = further || q != p && first == q.Client.String() && q.Start <= p.Start && p.Start <= q.Start+max(q.TTFB, 0)
			}
			if !further {
				want = append(want, p)
			}
		}
		if got := outermost(slices.Clone(all)); !slices.Equal(got, want) {
			t.Fatalf("%d of %d, want %d", len(got), len(all), len(want))
		}
	}
}

// An answer has no more exchanges than it may, and says that there are more pages.
func TestPagesAreFew(t *testing.T) {
	var all []*exchange.Exchange
	begin := func(i int, start string) *exchange.Exchange {
		x := outputtest.Exchange(start+"\nHost: shop.example\nUser-Agent: Firefox\n", "HTTP/1.1 200 OK\nContent-Type: text/html\n\nhello")
		x.Flow = outputtest.Flow("10.0.0.7:40000", "10.0.0.2:8000")
		shift := noon.Add(-time.Hour).UnixNano() + int64(i)*1e6 - x.Start.Time
		x.Start.Time += shift
		x.Flow.First.Time += shift
		x.Completed.Time += shift
		x.Timing.Send, x.Timing.Wait, x.Timing.Receive, x.Timing.Duration = 0, 1, 0, 1
		return x
	}
	for page := range MaxListed/pageload.MaxResources + 1 {
		all = append(all, begin(len(all), fmt.Sprintf("GET /%d HTTP/1.1\nSec-Fetch-Mode: navigate", page)))
		for range pageload.MaxResources - 1 {
			all = append(all, begin(len(all), fmt.Sprintf("GET /x HTTP/1.1\nReferer: http://shop.example/%d", page)))
		}
	}
	v := ask(t, serve(t, func(o *Options) { o.Store = storeOf(t, all) }), "/api/pages?limit=500")
	if got := len(urls(v)); got != MaxListed/pageload.MaxResources || v["more"] != true || v["looked_at"] != float64(len(all)) {
		t.Errorf("%d pages of %v exchanges, more %v", got, v["looked_at"], v["more"])
	}
}

// slowly is a store whose answers take time, by the clock that tick moves.
type slowly struct {
	store.Reader
	tick func(q *store.Scope)
}

func (s slowly) Aggregate(ctx context.Context, q *store.Aggregate) (*store.Table, error) {
	s.tick(&q.Scope)
	return s.Reader.Aggregate(ctx, q)
}

func (s slowly) Search(ctx context.Context, q *store.Search, found func(*exchange.Exchange) error) (*store.Page, error) {
	s.tick(&q.Scope)
	return s.Reader.Search(ctx, q, found)
}

// All questions of an answer have the time of one question.
func TestPagesInTime(t *testing.T) {
	now := noon
	var timeouts []time.Duration
	s := serve(t, func(o *Options) {
		o.Now = func() time.Time { return now }
		o.QueryTimeout = 5 * time.Second
		o.Store = slowly{storeOf(t, pageVisit(time.Minute, "10.0.0.7", "a")), func(q *store.Scope) {
			timeouts = append(timeouts, q.Timeout)
			now = now.Add(3 * time.Second)
		}}
	})
	refused(t, s, request("/api/pages?where=status==200"), 422, "limit", "5s")
	if want := []time.Duration{5 * time.Second, 2 * time.Second}; !slices.Equal(timeouts, want) {
		t.Errorf("questions had %v, want %v", timeouts, want)
	}
}

// A filter chooses pages by any exchange, and takes nothing from them; times choose them by their begin.
func TestPagesScope(t *testing.T) {
	s := visited(t)
	for target, want := range map[string]string{
		"where=path==%22/photo.jpg%22+and+client==%2210.0.0.7%22": "c a",
		"where=status==500":             "",
		"text=poll?b":                   "b",
		"confidence=0.9":                "c b a",
		"confidence=0.91":               "",
		"last=90s":                      "c",
		"from=2026-11-21T11:58:00.030Z": "c",
		"to=2026-11-21T11:58:00.030Z":   "b a",
		"to=2026-11-21T11:58:00Z":       "a",
		"limit=2":                       "c b",
		"limit=1&where=status==404&to=1795262341000": "c",
	} {
		v := ask(t, s, "/api/pages?"+target)
		if got := strings.Join(urls(v), " "); got != want {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
		for i := range v["pages"].([]any) {
			if n := dig(v, "pages", i, "requests"); n != 5.0 {
				t.Errorf("%s: %v requests", target, n)
			}
		}
		if want := strings.HasPrefix(target, "limit"); v["more"] != want {
			t.Errorf("%s: more %v", target, v["more"])
		}
	}
	refused(t, s, request("/api/pages?limit=501"), 400, "bad-parameter", "from 1 to 500")
	for _, bad := range []string{"2", "-1", "NaN", "x"} {
		refused(t, s, request("/api/pages?confidence="+bad), 400, "bad-parameter", "from 0 to 1")
	}
	refused(t, s, request("/api/pages?where=nope"), 400, "bad-filter", "nope")
}

// What belongs to pages at either end of the time is looked at beyond it.
func TestPagesAtTheEnds(t *testing.T) {
	s := visited(t)
	if v := ask(t, s, "/api/pages?from=2026-11-21T11:57:01Z"); v["unassigned"] != 0.0 || !slices.Equal(urls(v), []string{"c", "b"}) {
		t.Errorf("%v", v)
	}
	if v := ask(t, s, "/api/pages?where=path==%22/poll%22&to=2026-11-21T11:57:00.500Z"); !slices.Equal(urls(v), []string{"a"}) {
		t.Errorf("%v", v)
	}
}

// The engine gives only the fields that are asked for, and these are enough.
func TestPagesFields(t *testing.T) {
	all := pageVisit(time.Minute, "10.0.0.7", "a")
	e, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var b record.Batch
	for _, x := range all {
		b.Add(x)
	}
	if _, err := e.Append(&b); err != nil {
		t.Fatal(err)
	}
	got := ask(t, serve(t, func(o *Options) { o.Store = e }), "/api/pages")
	want := ask(t, serve(t, func(o *Options) { o.Store = storeOf(t, all) }), "/api/pages")
	delete(got, "cost")
	delete(want, "cost")
	if !reflect.DeepEqual(got, want) || len(urls(want)) != 1 {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

func TestOnePage(t *testing.T) {
	s := visited(t)
	id := dig(ask(t, s, "/api/pages"), "pages", 2, "id")
	for i := range 5 {
		member := dig(ask(t, s, "/api/pages"), "pages", 2, "resources", i, "id")
		v := ask(t, s, fmt.Sprint("/api/pages/", member))
		if dig(v, "page", "id") != id || dig(v, "page", "requests") != 5.0 || dig(v, "looked_at") != 10.0 {
			t.Errorf("member %d: %v", i, v)
		}
	}
	refused(t, s, request("/api/pages/00000000000000000000000000"), 404, "not-found", "no such exchange")
	refused(t, s, request("/api/pages/x"), 404, "not-found", "no id")
	none := serve(t)
	for _, x := range ask(t, none, "/api/exchanges?where=method==%22POST%22&limit=1")["exchanges"].([]any) {
		refused(t, none, request(fmt.Sprint("/api/pages/", dig(x, "event", "id"))), 404, "not-found", "belongs to no page")
	}
}

// Statements and lookups take no room from what pages are made of.
func TestPagesAmongStatements(t *testing.T) {
	all := append(pageVisit(3*time.Minute, "10.0.0.7", "a"), orders()...)
	v := ask(t, serve(t, func(o *Options) { o.Store = storeOf(t, all) }), "/api/pages?where=path==%22/photo.jpg%22")
	if got := urls(v); !slices.Equal(got, []string{"a"}) || v["looked_at"] != 8.0 {
		t.Errorf("%v of %v", got, v["looked_at"])
	}
	id := dig(v, "pages", 0, "resources", 1, "id")
	if v := ask(t, serve(t, func(o *Options) { o.Store = storeOf(t, all) }), fmt.Sprint("/api/pages/", id)); dig(v, "page", "requests") != 5.0 {
		t.Errorf("%v", v)
	}
}

// endless is a store that counts so many exchanges at noon, and gives one again and again.
type endless struct {
	store.Reader
	count        int64
	given, begun *int
	from         *int64
}

func (e endless) Status(context.Context) (*store.Status, error) {
	return &store.Status{Exchanges: e.count, First: noon.Add(-time.Hour).UnixNano(), Last: noon.UnixNano()}, nil
}

func (e endless) Aggregate(_ context.Context, q *store.Aggregate) (*store.Table, error) {
	at := noon.UnixNano()
	return &store.Table{Rows: []store.BucketRow{{Start: at - at%q.Interval, Totals: store.Totals{Count: e.count}}}}, nil
}

func (e endless) Search(_ context.Context, q *store.Search, found func(*exchange.Exchange) error) (*store.Page, error) {
	x := shop(1)[0]
	x.Start.Time = noon.UnixNano()
	if q.After == "" {
		*e.begun++
	}
	*e.from = q.From
	for range q.Limit {
		*e.given++
		if err := found(x); err != nil {
			return nil, err
		}
	}
	return &store.Page{Next: "more"}, nil
}

// However many exchanges there are, or come meanwhile, only so many are looked at.
func TestPagesLimit(t *testing.T) {
	for count, want := range map[int64]struct {
		truncated bool
		given     int
		from      int64
	}{
		1_000_000: {true, MaxSighted, noon.UnixNano()},
		10:        {false, MaxSighted + store.MaxLimit, noon.Add(-time.Hour).UnixNano()},
	} {
		given, begun, from := 0, 0, int64(0)
		s := serve(t, func(o *Options) { o.Store = endless{o.Store, count, &given, &begun, &from} })
		v := ask(t, s, "/api/pages?limit=3")
		if v["truncated"] != want.truncated || len(urls(v)) != 3 || v["looked_at"] != float64(want.given) {
			t.Errorf("%d: truncated %v, looked at %v, %d pages", count, v["truncated"], v["looked_at"], len(urls(v)))
		}
		if given != want.given || begun != 1 || from != want.from {
			t.Errorf("%d: %d exchanges were asked for in %d searches, from %d", count, given, begun, from)
		}
	}
}

type sighting struct {
	at int64
	id [exchange.IDSize]byte
}

// sightings are exchanges at times, in the order of time and id, every third with the status 404.
func sightings(t *testing.T, times []int64) (s *Server, all []sighting, failed map[sighting]bool) {
	var stored []*exchange.Exchange
	failed = map[sighting]bool{}
	for i, at := range times {
		status := "200 OK"
		if i%3 == 0 {
			status = "404 Not Found"
		}
		x := outputtest.Exchange("GET / HTTP/1.1\nHost: shop.example\n", "HTTP/1.1 "+status+"\n\nhello")
		x.Flow = outputtest.Flow(fmt.Sprintf("10.0.0.7:%d", 1024+i), "10.0.0.2:8000")
		x.Start.Time, x.Flow.First.Time = at, at
		stored = append(stored, x)
		all = append(all, sighting{at, x.ID(x.Tap.Observer)})
		failed[all[i]] = i%3 == 0
	}
	slices.SortFunc(all, func(a, b sighting) int {
		if c := cmp.Compare(a.at, b.at); c != 0 {
			return c
		}
		return slices.Compare(a.id[:], b.id[:])
	})
	return serve(t, func(o *Options) { o.Store = storeOf(t, stored) }), all, failed
}

// What is looked at are the newest exchanges, of those at the same time the first by id; with a filter, all that it
// selects of these.
func TestPagesOfTheNewest(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	where, err := filter.Parse("status==404")
	if err != nil {
		t.Fatal(err)
	}
	truncated := 0
	for round := range 200 {
		base, width := noon.UnixNano()*r.Int64N(2)+1, []int64{1, 3, 2000, 1e6, 1e12, 1e18}[r.IntN(6)]
		times := make([]int64, r.IntN(50))
		for i := range times {
			times[i] = base + r.Int64N(width)
			if i > 0 && r.IntN(2) == 0 {
				times[i] = times[r.IntN(i)]
			}
		}
		s, all, failed := sightings(t, times)
		w := window{before: 1 + r.IntN(len(all)+4), behind: 1 + r.IntN(10)}
		if r.IntN(2) == 0 {
			w.scope.From = base + r.Int64N(width)
		}
		if r.IntN(2) == 0 {
			w.split = max(base+r.Int64N(width), w.scope.From+1)
			w.scope.To = w.split + 1 + r.Int64N(width)
		}

		var want, behind []sighting
		for _, x := range all {
			switch {
			case x.at < w.scope.From:
			case w.split == 0 || x.at < w.split:
				want = append(want, x)
			case x.at < w.scope.To && len(behind) < w.behind:
				behind = append(behind, x)
			}
		}
		cut := len(want) > w.before
		if cut {
			truncated++
			slices.SortStableFunc(want, func(a, b sighting) int { return cmp.Compare(b.at, a.at) })
			want = want[:w.before]
			slices.SortStableFunc(want, func(a, b sighting) int { return cmp.Compare(a.at, b.at) })
		}
		want = append(want, behind...)

		g := s.newGrouping(t.Context())
		if err := g.begin(&w); err != nil {
			t.Fatal(err)
		}
		var got []sighting
		err := g.each(&w, &store.Search{Fields: fieldsNamed("event.id")}, func(x *exchange.Exchange) error {
			got = append(got, sighting{x.Start.Time, x.ID(x.Tap.Observer)})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) || g.truncated != cut {
			t.Fatalf("round %d: %d of %d within %d ns, up to %d: got %v, truncated %v, want %v", round, len(got), len(all), width, w.before, got, g.truncated, want)
		}
		chosen, err := g.choose(&w, &store.Scope{Where: where.Root()})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			if begun := x.at >= w.border.from-1; chosen[x.id] && (!failed[x] || !begun) || !chosen[x.id] && failed[x] && slices.Contains(want, x) {
				t.Fatalf("round %d: %v is chosen: %v", round, x, chosen[x.id])
			}
		}
	}
	if truncated < 50 {
		t.Errorf("only %d rounds had more than fits", truncated)
	}
}

// Times from one end to the other find an end, and take nothing from the newest that are possible.
func TestPagesOfHostileTimes(t *testing.T) {
	for _, times := range [][]int64{
		{math.MinInt64 + 1, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64}, {0, 0, 0}, {-5, -5, -5},
		{math.MinInt64 + 1, -3, -2, -1, 5, 1 << 62}, {math.MaxInt64}, {math.MinInt64 + 1, math.MinInt64 + 1, math.MaxInt64},
	} {
		for before := range len(times) {
			s, _, _ := sightings(t, times)
			w := window{before: before + 1}
			g := s.newGrouping(t.Context())
			if err := g.begin(&w); err != nil {
				t.Fatal(err)
			}
			n, least := 0, 0
			for _, at := range times {
				if at > 0 && at < math.MaxInt64 {
					least++
				}
			}
			err := g.each(&w, &store.Search{Fields: fieldsNamed("event.id")}, func(*exchange.Exchange) error {
				n++
				return nil
			})
			if least = min(least, before+1); err != nil || n > before+1 || n < least {
				t.Errorf("%v: %d were looked at, want from %d to %d, %v", times, n, least, before+1, err)
			}
		}
	}
}
