package web

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/embedded"
	"github.com/culprit-http/culprit/internal/store/record"
)

// place gives an exchange its ends and its time: so long before noon, in microseconds. n makes its connection its own.
func place(x *exchange.Exchange, n int, from, to string, before time.Duration, took int64) *exchange.Exchange {
	transport := x.Flow.Proto
	x.Flow = outputtest.Flow(fmt.Sprintf("%s:%d", from, 20000+n), to)
	x.Flow.Proto = transport
	shift := noon.Add(-before).UnixNano() - x.Start.Time
	for _, m := range []*int64{&x.Start.Time, &x.Request.First.Time, &x.Request.Last.Time, &x.Response.First.Time, &x.Response.Last.Time, &x.Flow.First.Time} {
		*m += shift
	}
	if x.Response.Parts.First != 0 {
		x.Response.Parts.First += shift
	}
	x.Timing.Wait = took*1e3 - x.Timing.Send - x.Timing.Receive
	x.Timing.Duration = took * 1e3
	x.Timing.Total = x.Timing.Duration + x.Timing.Connect
	x.Completed.Time = x.Start.Time + x.Timing.Duration
	x.FirstPacket, x.LastPacket = uint64(n*10+1), uint64(n*10+9)
	return x
}

// noSuchName is a question for a name that there isn't.
func noSuchName(name string) *exchange.Exchange {
	x := outputtest.Lookup("A", name)
	m := &x.Response
	m.Facts = nil
	m.Say("rcode", []byte("NXDOMAIN"))
	m.Count("answers", 0)
	return x
}

const byOrder = "SELECT * FROM items WHERE order_id = ?"

// orders makes what a shop asks to answer three requests: a name, the orders, and then the items of each, one after the other.
func orders() (all []*exchange.Exchange) {
	add := func(x *exchange.Exchange, from, to string, before time.Duration, took int64) {
		all = append(all, place(x, len(all), from, to, before, took))
	}
	in := func(x *exchange.Exchange, database string) *exchange.Exchange {
		x.Request.Say("database", []byte(database))
		return x
	}
	for i, n := range []int{12, 8, 3} { // the last has too few items
		begin := time.Duration(10-i) * time.Minute
		x := outputtest.Exchange(fmt.Sprintf("GET /orders/%d HTTP/1.1\nHost: shop.example\n\n", i), "HTTP/1.1 200 OK\n\n[]")
		x.Enriched.Route = "/orders/{id}"
		add(x, "10.0.0.7", "10.0.0.2:8000", begin, 500_000)
		add(outputtest.Lookup("A", "db.shop.example", "10.0.0.9"), "10.0.0.2", "10.0.0.53:53", begin-time.Millisecond, 1_000)
		add(in(outputtest.Query("mysql", "SELECT", "SELECT id FROM orders WHERE user_id = ?"), "shop"), "10.0.0.2", "10.0.0.9:3306", begin-3*time.Millisecond, 2_000)
		for k := range n {
			add(in(outputtest.Query("mysql", "SELECT", byOrder), "shop"), "10.0.0.2", "10.0.0.9:3306", begin-time.Duration(10+k*30)*time.Millisecond, int64(20_000+k))
		}
	}
	add(in(outputtest.Failed(outputtest.Query("postgresql", "SELECT", byOrder), "42P01", "no such table"), "shop"), "10.0.0.3", "10.0.0.8:5432", 4*time.Minute, 700)
	add(outputtest.Query("redis", "GET", "GET <cart>:?"), "10.0.0.3", "10.0.0.8:6379", 4*time.Minute, 200)
	add(outputtest.Lookup("AAAA", "db.shop.example"), "10.0.0.3", "10.0.0.53:53", 4*time.Minute, 900)
	add(noSuchName("nowhere.example"), "10.0.0.3", "10.0.0.53:53", 4*time.Minute, 40_000)
	waits := outputtest.Query("redis", "BLPOP", "BLPOP jobs ?")
	waits.Stream = true
	add(waits, "10.0.0.3", "10.0.0.8:6379", 4*time.Minute, 30_000_000)
	return all
}

// orderedShop is a server of those.
func orderedShop(t *testing.T, more ...*exchange.Exchange) *Server {
	return serve(t, func(o *Options) { o.Store = storeOf(t, append(orders(), more...)) })
}

// embeddedOf returns the embedded store of exchanges.
func embeddedOf(t *testing.T, all []*exchange.Exchange) store.Store {
	t.Helper()
	s, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var b record.Batch
	for _, x := range all {
		b.Add(x)
	}
	if _, err := s.Append(&b); err != nil {
		t.Fatal(err)
	}
	return s
}

// rowsOf are the rows of an answer, of each the key and some members.
func rowsOf(v map[string]any, members ...string) (all []string) {
	for _, r := range v["rows"].([]any) {
		line := []string{fmt.Sprint(dig(r, "key"))}
		for _, m := range members {
			line = append(line, fmt.Sprint(dig(r, m)))
		}
		all = append(all, strings.Join(line, " | "))
	}
	return all
}

func TestStatements(t *testing.T) {
	s := orderedShop(t)
	for _, c := range []struct {
		query, show string
		want        []string
	}{
		{"", "system database operation count total_time", []string{
			byOrder + " | mysql | shop | SELECT | 23 | 4.60097e+08",
			"SELECT id FROM orders WHERE user_id = ? | mysql | shop | SELECT | 3 | 6e+06",
			byOrder + " | postgresql | shop | SELECT | 1 | 700000",
			"GET <cart>:? | redis | <nil> | GET | 1 | 200000",
		}},
		{"?sort=errors&limit=1", "system errors error_rate", []string{byOrder + " | postgresql | 1 | 1"}},
		{"?by=table&sort=rows", "system operation count rows rows_mean rows_max bytes", []string{
			"users | mysql | <nil> | 26 | 78 | 3 | 3 | 5460",
			"users | postgresql | <nil> | 1 | 3 | 3 | 3 | 210",
			"users | redis | <nil> | 1 | 3 | 3 | 3 | 210",
		}},
		{"?by=db.operation.name&where=db!=\"mysql\"&sort=max", "system max", []string{"SELECT | postgresql | 700000", "GET | redis | 200000"}},
		{"?by=qname", "type protocol count errors rows", []string{
			"nowhere.example | A | dns | 1 | 1 | 0", "db.shop.example | A | dns | 3 | 0 | 3", "db.shop.example | AAAA | dns | 1 | 0 | 0",
		}},
		{"?sort=count&from=-6m", "system count", []string{"GET <cart>:? | redis | 1", byOrder + " | postgresql | 1"}},
	} {
		v := ask(t, s, "/api/statements"+strings.NewReplacer(`"`, "%22", "!=", "!%3D").Replace(c.query))
		if got := rowsOf(v, strings.Fields(c.show)...); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.query, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// The rest of an answer: what isn't in the rows, and what leads to the exchanges.
func TestStatementDetails(t *testing.T) {
	all := orders()
	for what, kept := range map[string]store.Store{"naive": storeOf(t, all), "embedded": embeddedOf(t, all)} {
		s := serve(t, func(o *Options) { o.Store = kept })
		v := ask(t, s, "/api/statements?limit=1")
		for path, want := range map[string]any{"other groups": 3.0, "other count": 5.0, "total count": 28.0, "total share": 1.0, "total errors": 1.0} {
			a, b, _ := strings.Cut(path, " ")
			if got := dig(v, a, b); got != want {
				t.Errorf("%s: %s is %v, want %v", what, path, got, want)
			}
		}
		if v["waiting"] != 1.0 {
			t.Errorf("%s: waiting %v", what, v["waiting"])
		}
		row := dig(v, "rows", 0)
		share := dig(row, "share").(float64)
		if total := dig(v, "total", "total_time").(float64); share < 0.98 || share > 1 || share != dig(row, "total_time").(float64)/total {
			t.Errorf("%s: share %v", what, share)
		}
		if rest := dig(v, "other", "share").(float64); share+rest < 0.9999 || share+rest > 1.0001 {
			t.Errorf("%s: shares %v and %v", what, share, rest)
		}
		if p99 := dig(row, "p99").(float64); p99 < 19.8e6 || p99 > 20.3e6 {
			t.Errorf("%s: p99 %v", what, p99)
		}
		if dig(row, "first") != "2026-11-21T11:50:00.010000000Z" || dig(row, "last") != "2026-11-21T11:52:00.070000000Z" {
			t.Errorf("%s: from %v to %v", what, dig(row, "first"), dig(row, "last"))
		}
		x := ask(t, s, "/api/exchanges/"+dig(row, "slowest").(string))
		if dig(x, "event", "duration") != dig(row, "max") || dig(x, "db", "query", "summary") != byOrder {
			t.Errorf("%s: the slowest is %v", what, x["event"])
		}
		list := ask(t, s, "/api/exchanges?limit=100&where="+escaped(dig(row, "where").(string)))
		if n := len(list["exchanges"].([]any)); n != 23 {
			t.Errorf("%s: %s chooses %d", what, dig(row, "where"), n)
		}
	}
}

// A filter, for a URL.
func escaped(where string) string {
	return strings.NewReplacer("%", "%25", "&", "%26", "+", "%2B", "=", "%3D", `"`, "%22", " ", "%20", ">", "%3E", "<", "%3C", ";", "%3B", "?", "%3F").Replace(where)
}

// Rows are in the order of the percentile that is asked for, not of another.
func TestStatementsByPercentile(t *testing.T) {
	var all []*exchange.Exchange
	for i := range 30 {
		statement, took := "SELECT 1", int64(1000)
		switch {
		case i < 2:
			took = 9_000_000
		case i > 20:
			statement, took = "SELECT 2", 2000
		}
		all = append(all, place(outputtest.Query("mysql", "SELECT", statement), i, "10.0.0.3", "10.0.0.9:3306", time.Hour-time.Duration(i)*time.Second, took))
	}
	s := serve(t, func(o *Options) { o.Store = storeOf(t, all) })
	for sort, want := range map[string]string{"p50": "SELECT 2", "p99": "SELECT 1"} {
		if got := dig(ask(t, s, "/api/statements?sort="+sort), "rows", 0, "key"); got != want {
			t.Errorf("by %s the first is %v, want %s", sort, got, want)
		}
	}
}

func TestStatementsRefuse(t *testing.T) {
	s := orderedShop(t)
	for query, want := range map[string]string{
		"by=status": "there is no list by http.response.status_code; there are those by db.query.summary, db.collection.name, db.operation.name, dns.question.name",
		"by=nope":   "there is no field", "sort=first": "there is no column", "limit=501": "isn't a whole number from 1 to 500",
	} {
		w := do(s, request("/api/statements?"+query))
		if w.Code != 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
}

// Where there is no time for the details, the rows come without.
func TestStatementsWithoutTime(t *testing.T) {
	now, searches := noon, 0
	s := serve(t, func(o *Options) {
		o.Now = func() time.Time { return now }
		o.Store = searched{storeOf(t, orders()), func() {
			if searches++; searches == 2 {
				now = now.Add(time.Hour)
			}
		}}
	})
	rows := ask(t, s, "/api/statements")["rows"].([]any)
	if len(rows) != 4 || dig(rows[0], "slowest") == nil || dig(rows[1], "first") == nil || dig(rows[1], "last") != nil || dig(rows[1], "count") != 3.0 {
		t.Errorf("%v", rows)
	}
}

// What isn't among the first of all is looked for alone.
func TestStatementDetailsOfRareOnes(t *testing.T) {
	var all []*exchange.Exchange
	for i := range 2*atOnce + 10 {
		all = append(all, place(outputtest.Query("mysql", "SELECT", "SELECT 1"), i, "10.0.0.3", "10.0.0.9:3306", time.Hour-time.Duration(i)*time.Millisecond, int64(5000+i)))
	}
	rare := place(outputtest.Query("mysql", "SELECT", "SELECT ?"), 9000, "10.0.0.3", "10.0.0.9:3306", time.Hour-(atOnce+5)*time.Millisecond, 10)
	// This one can't be asked for: the filter would be too long.
	long := "SELECT '" + strings.Repeat("\xff", 1010)
	all = append(all, rare, place(outputtest.Query("mysql", "SELECT", long), 9001, "10.0.0.3", "10.0.0.9:3306", time.Hour-(atOnce+6)*time.Millisecond, 9))
	s := serve(t, func(o *Options) { o.Store = storeOf(t, all) })
	rows := ask(t, s, "/api/statements")["rows"].([]any)
	row := rows[1]
	if dig(row, "key") != "SELECT ?" || dig(row, "first") != "2026-11-21T11:00:02.005000000Z" || dig(row, "last") != dig(row, "first") {
		t.Errorf("%v", row)
	}
	x := ask(t, s, "/api/exchanges/"+dig(row, "slowest").(string))
	if dig(x, "event", "duration") != 10_000.0 {
		t.Errorf("the slowest is %v", x["event"])
	}
	if row := rows[2]; dig(row, "key") != "SELECT '"+strings.Repeat(`\xff`, 1010) || dig(row, "where") != "" || dig(row, "max") != 9000.0 || dig(row, "first") != nil || dig(row, "slowest") != nil {
		t.Errorf("%v", row)
	}
}

// searched is a store that tells of each search.
type searched struct {
	store.Reader
	search func()
}

func (s searched) Search(ctx context.Context, q *store.Search, found func(x *exchange.Exchange) error) (*store.Page, error) {
	s.search()
	return s.Reader.Search(ctx, q, found)
}
