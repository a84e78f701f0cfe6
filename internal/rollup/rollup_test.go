package rollup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

// day is the begin of a minute.
var day = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).UnixNano()

const second = int64(time.Second)

// made makes an exchange that starts at a time after day, takes a while, and has an id of its own.
func made(after, took int64, status int) *exchange.Exchange {
	x := outputtest.Exchange("GET /users/7 HTTP/1.1\nHost: shop.example\n\n", fmt.Sprintf("HTTP/1.1 %d X\n\nhello", status))
	x.Enriched.Route, x.Enriched.Service[x.Server()] = "/users/{id}", "shop"
	x.Tap.Name, x.Tap.Observer = "eth0", "host1"
	x.Start.Time = day + after
	x.Completed.Time = x.Start.Time + took
	x.Timing.Duration, x.Timing.Wait = took, took/2
	x.Flow.First.Time = x.Start.Time
	return x
}

// collect returns a Counter, and the rows that it has handed out, with their histograms copied.
func collect(o Options) (*Counter, *[]Row) {
	rows := &[]Row{}
	return New(o, func(r *Row) {
		row := *r
		row.Duration.Counts, row.Wait.Counts = slices.Clone(r.Duration.Counts), slices.Clone(r.Wait.Counts)
		*rows = append(*rows, row)
	}), rows
}

// A row counts what the exchanges of its minute and series were, and nothing of others.
func TestRow(t *testing.T) {
	c, rows := collect(Options{})
	c.Add(made(1*second, 5e6, 200))        // at a bound: within it
	c.Add(made(2*second, 5e6+1, 200))      // beyond it
	c.Add(made(45*second, 20*second, 200)) // beyond all
	stream := made(3*second, 7e6, 200)
	stream.Stream = true
	c.Add(stream)
	blind := made(4*second, 7e6, 200) // of the other direction nothing was captured
	blind.Timing.Duration, blind.Timing.Wait = -1, -1
	c.Add(blind)
	aborted := made(5*second, 7e6, 200)
	aborted.Grade = exchange.Aborted
	c.Add(aborted)
	c.Add(made(6*second, 8e6, 500))
	unanswered := made(7*second, 9e6, 200)
	unanswered.HasResponse = false
	c.Add(unanswered)
	c.Add(made(60*second, 1e6, 200)) // the next minute
	c.Flush()

	if len(*rows) != 4 {
		t.Fatalf("%d rows, want those of 2xx, 5xx, none, and the next minute: %+v", len(*rows), *rows)
	}
	byClass := map[uint8]Row{}
	for _, r := range (*rows)[:3] {
		byClass[r.Series.StatusClass] = r
		if r.Start != day || r.Interval != 60*second {
			t.Errorf("a row of the minute %d, %d long", r.Start-day, r.Interval)
		}
	}
	x := made(0, 0, 200)
	r := byClass[2]
	want := Series{Observer: "host1", Tap: "eth0", Service: "shop", Domain: "shop.example", Route: "/users/{id}", Method: "GET", StatusClass: 2, Protocol: "http"}
	if r.Series != want {
		t.Errorf("series %+v, want %+v", r.Series, want)
	}
	if r.Count != 6 || r.Errors != 1 || r.RequestBytes != 6*x.Request.Size || r.ResponseBytes != 6*x.Response.Size {
		t.Errorf("count %d, errors %d, bytes %d and %d", r.Count, r.Errors, r.RequestBytes, r.ResponseBytes)
	}
	if r.Duration.Count != 4 || r.Duration.Max != 20*second || r.Duration.Sum != float64(5e6+5e6+1+7e6+20*second) || r.Wait.Count != 4 || r.Wait.Max != 10*second {
		t.Errorf("durations %+v, waits %+v", r.Duration, r.Wait)
	}
	if want := [len(Bounds)]int64{1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3}; r.Within != want {
		t.Errorf("within %v, want %v", r.Within, want)
	}
	if r := byClass[5]; r.Count != 1 || r.Errors != 1 {
		t.Errorf("5xx: count %d, errors %d", r.Count, r.Errors)
	}
	if r := byClass[0]; r.Count != 1 || r.Errors != 0 || r.ResponseBytes != 0 || r.Duration.Count != 1 {
		t.Errorf("unanswered: %+v", r)
	}
	if r := (*rows)[3]; r.Start != day+60*second || r.Count != 1 {
		t.Errorf("the next minute: %+v", r)
	}
}

// What an exchange is told apart by makes another series.
func TestSeries(t *testing.T) {
	for what, change := range map[string]func(x *exchange.Exchange){
		"nothing":  func(*exchange.Exchange) {},
		"observer": func(x *exchange.Exchange) { x.Tap.Observer = "host2" },
		"tap":      func(x *exchange.Exchange) { x.Tap.Name = "eth1" },
		"service":  func(x *exchange.Exchange) { x.Enriched.Service[x.Server()] = "other" },
		"client":   func(x *exchange.Exchange) { x.Enriched.Service[x.Client] = "asks" },
		"route":    func(x *exchange.Exchange) { x.Enriched.Route = "/" },
		"protocol": func(x *exchange.Exchange) { x.Protocol = "sip" },
		"status":   func(x *exchange.Exchange) { x.Response.Status = 204 },
		"class":    func(x *exchange.Exchange) { x.Response.Status = 304 },
		"domain":   func(x *exchange.Exchange) { *x = *withHost("b") },
		"port":     func(x *exchange.Exchange) { *x = *withHost("shop.example:81") },
		// The ends of what is next to each other must not run together.
		"ends": func(x *exchange.Exchange) { x.Tap.Observer, x.Tap.Name = "host1e", "th0" },
	} {
		c, rows := collect(Options{})
		c.Add(made(0, 1, 200))
		x := made(0, 1, 200)
		change(x)
		c.Add(x)
		c.Flush()
		same := what == "nothing" || what == "client" || what == "status" || what == "port"
		if (len(*rows) == 1) != same {
			t.Errorf("%s: %d rows", what, len(*rows))
		}
	}
}

// Hosts that are longer than any name can be are one series where what is kept of them is the same.
func TestLongTexts(t *testing.T) {
	c, rows := collect(Options{})
	long := strings.Repeat("a", MaxDomain)
	for _, host := range []string{long, long + "b", long + "bc", long + "d"} {
		c.Add(withHost(host))
	}
	c.Flush()
	var domains []string
	for _, r := range *rows {
		domains = append(domains, fmt.Sprint(r.Series.Domain, r.Count))
	}
	slices.Sort(domains)
	if want := []string{long + "1", long + "…3"}; !slices.Equal(domains, want) {
		t.Errorf("%q, want %q", domains, want)
	}
}

func TestStatusClass(t *testing.T) {
	for status, want := range map[int]uint8{0: 0, 99: 0, 100: 1, 204: 2, 302: 3, 499: 4, 599: 5, 600: 0, 999: 0} {
		x := made(0, 1, status)
		if got := StatusClass(x); got != want {
			t.Errorf("%d has the class %d, want %d", status, got, want)
		}
		if x.HasResponse = false; StatusClass(x) != 0 {
			t.Errorf("%d without a response has a class", status)
		}
	}
}

func withHost(host string) *exchange.Exchange {
	x := outputtest.Exchange("GET /users/7 HTTP/1.1\nHost: "+host+"\n\n", "HTTP/1.1 200 OK\n\nhello")
	m := made(0, 1, 200)
	x.Enriched, x.Tap, x.Start, x.Completed = m.Enriched, m.Tap, m.Start, m.Completed
	return x
}

// Rows come out when capture time has passed the end of their minute and the grace; what is late is in rows of its own, once a
// minute.
func TestClock(t *testing.T) {
	c, rows := collect(Options{Grace: 10 * time.Second})
	at := func(after int64) int {
		c.Tick(day + after)
		return len(*rows)
	}
	c.Add(made(30*second, 1*second, 200))
	for after, want := range map[int64]int{59 * second: 0, 60 * second: 0, 70*second - 1: 0} {
		if n := at(after); n != want {
			t.Errorf("%d rows after %d s, want %d", n, after/second, want)
		}
	}
	if n := at(70 * second); n != 1 {
		t.Fatalf("%d rows after 70 s, want 1", n)
	}
	// An exchange that completes moves the clock, too; those that are late wait for each other.
	c.Add(made(50*second, 25*second, 200))
	c.Add(made(51*second, 40*second, 200))
	if n := at(130*second - 1); n != 1 {
		t.Errorf("%d rows: what is late came out at once", n)
	}
	c.Add(made(130*second, 0, 200))
	if len(*rows) != 2 {
		t.Fatalf("%d rows, want 2: the completion of an exchange moves the clock", len(*rows))
	}
	if r := (*rows)[1]; r.Start != day || r.Count != 2 || r.ID == (*rows)[0].ID {
		t.Errorf("the late row is of %d, counts %d, id %x", r.Start-day, r.Count, r.ID)
	}
	at(10 * second) // time doesn't go back
	c.Flush()
	if n := len(*rows); n != 3 || (*rows)[2].Count != 1 {
		t.Errorf("%d rows after the end", n)
	}
	c.Flush()
	if n := len(*rows); n != 3 {
		t.Errorf("a second flush made %d rows", n-3)
	}
	if s := c.Stats(); s != (Stats{Rows: 3}) {
		t.Errorf("stats %+v", s)
	}
}

// A minute that isn't over yet comes when it is, though nothing happens in between; and a time that goes back changes nothing.
func TestTicksAlone(t *testing.T) {
	c, rows := collect(Options{Grace: 10 * time.Second})
	c.Add(made(0, 1, 200))
	c.Add(made(61*second, 1, 200))
	c.Tick(day + 100*second)
	c.Tick(day + 129*second)
	if len(*rows) != 1 {
		t.Fatalf("%d rows after 129 s, want that of the first minute", len(*rows))
	}
	c.Tick(day + 130*second)
	if len(*rows) != 2 {
		t.Fatalf("%d rows after 130 s, want 2", len(*rows))
	}
	c.Tick(day)
	c.Add(made(5*second, 1, 200)) // late
	c.Tick(day + 189*second)
	if len(*rows) != 2 {
		t.Error("what was late came before the minute was over in which it came")
	}
	if c.Tick(day + 190*second); len(*rows) != 3 {
		t.Error("what was late didn't come")
	}
}

// Minutes begin with multiples of a minute, before 1970 too.
func TestFloor(t *testing.T) {
	for at, want := range map[int64]int64{0: 0, 1: 0, Interval - 1: 0, Interval: Interval, -1: -Interval, -Interval: -Interval, -Interval - 1: -2 * Interval} {
		if got := floor(at); got != want {
			t.Errorf("%d is in the minute %d, want %d", at, got, want)
		}
	}
}

// The end of a minute with many series holds nobody up: its rows come a few at a time.
func TestFewAtATime(t *testing.T) {
	c, rows := collect(Options{})
	const series = 5 * rowsPerTick
	for i := range series {
		x := made(0, 1, 200)
		x.Enriched.Route = fmt.Sprintf("/%d", i)
		c.Add(x)
	}
	for n := rowsPerTick; n <= 2*rowsPerTick; n += rowsPerTick {
		if c.Tick(day + 100*second); len(*rows) != n {
			t.Fatalf("%d rows, want %d", len(*rows), n)
		}
	}
	if c.Add(made(99*second, second, 200)); len(*rows) != 2*rowsPerTick+rowsPerAdd {
		t.Errorf("an exchange brought %d rows, want %d", len(*rows)-2*rowsPerTick, rowsPerAdd)
	}
	if c.Stats().Memory == 0 {
		t.Error("rows that are yet to come take no memory")
	}
	if c.Flush(); len(*rows) != series+1 || c.Stats().Memory != 0 {
		t.Errorf("%d rows at the end, want %d; %+v", len(*rows), series+1, c.Stats())
	}
}

// The id of a row tells its first exchange, and what it counts.
func TestID(t *testing.T) {
	id := func(all ...*exchange.Exchange) [exchange.IDSize]byte {
		c, rows := collect(Options{})
		for _, x := range all {
			c.Add(x)
		}
		c.Flush()
		return (*rows)[0].ID
	}
	first, empty := made(1*second, 1, 200), made(2*second, 1, 200)
	empty.Stream, empty.Request.Size, empty.Response.Size = true, 0, 0
	long := made(1*second, 2, 200)
	long.Timing.Wait = first.Timing.Wait
	moved := made(1*second, 1, 200)
	moved.Enriched.Route = "/"
	ids := map[[exchange.IDSize]byte]bool{id(first): true, id(first, empty): true, id(empty): true, id(long): true, id(moved): true}
	if len(ids) != 5 {
		t.Errorf("of 5 rows that differ, %d ids do", len(ids))
	}
	if id(first) != id(made(1*second, 1, 200)) {
		t.Error("the same row has another id")
	}
	if text := string(exchange.AppendID(nil, id(first))); !strings.HasPrefix(text, string(exchange.AppendID(nil, first.ID("host1"))[:6])) {
		t.Errorf("the id %s doesn't begin with the time", text)
	}
}

// Whatever comes, rows add up to what was counted, their ids differ, and the same input gives the same rows again.
func TestRowsAddUp(t *testing.T) {
	run := func(o Options, added *Row) ([]Row, Stats) {
		random := rand.New(rand.NewPCG(1, 2))
		c, rows := collect(o)
		for i := range 4000 {
			after := int64(i)*second/20 - random.Int64N(100)*random.Int64N(10)*second
			x := made(after, int64(math.Exp(random.Float64()*25)), 200+100*random.IntN(4))
			x.Enriched.Route = fmt.Sprintf("/%d", random.IntN(1+random.IntN(200)))
			x.Stream = random.IntN(20) == 0
			c.Add(x)
			added.Count++
			added.RequestBytes += x.Request.Size
			if x.Outcome() == "failure" {
				added.Errors++
			}
			if !x.Stream {
				added.Duration.Add(x.Timing.Duration)
				added.Wait.Add(x.Timing.Wait)
			}
		}
		c.Flush()
		return *rows, c.Stats()
	}
	for name, o := range map[string]Options{"plain": {}, "few series": {MaxSeries: 10}, "little memory": {MaxMemory: 64 << 10}} {
		t.Run(name, func(t *testing.T) {
			var added, sum Row
			rows, stats := run(o, &added)
			ids := map[[exchange.IDSize]byte]bool{}
			for i := range rows {
				r := &rows[i]
				ids[r.ID] = true
				sum.Count += r.Count
				sum.Errors += r.Errors
				sum.RequestBytes += r.RequestBytes
				sum.Duration.Merge(&r.Duration)
				sum.Wait.Merge(&r.Wait)
			}
			if sum.Count != added.Count || sum.Errors != added.Errors || sum.RequestBytes != added.RequestBytes ||
				!slices.Equal(sum.Duration.Counts, added.Duration.Counts) || !slices.Equal(sum.Wait.Counts, added.Wait.Counts) {
				t.Error("the rows don't add up to what was counted")
			}
			if len(ids) != len(rows) || stats.Rows != int64(len(rows)) || stats.Memory != 0 {
				t.Errorf("%d rows, %d ids, %+v", len(rows), len(ids), stats)
			}
			if (stats.Others > 0) != (o.MaxSeries > 0) || (stats.Early > 0) != (o.MaxMemory > 0) {
				t.Errorf("limits: %+v", stats)
			}
			again, _ := run(o, &Row{})
			if !slices.EqualFunc(rows, again, func(a, b Row) bool { return bytes.Equal(AppendJSON(nil, &a), AppendJSON(nil, &b)) }) {
				t.Error("the same exchanges gave other rows")
			}
		})
	}
}

// Names that a client makes up fill the minute's series, and what is beyond counts for its service and status class.
func TestOthers(t *testing.T) {
	c, rows := collect(Options{MaxSeries: 3})
	for i := range 100 {
		x := withHost(fmt.Sprintf("h%d.example", i))
		c.Add(x)
	}
	c.Add(made(0, 1, 500))
	known := withHost("h0.example") // which had room
	c.Add(known)
	c.Flush()
	var others []Row
	for _, r := range *rows {
		if r.Series.Other {
			others = append(others, r)
		}
	}
	if len(*rows) != 5 || len(others) != 2 || others[0].Count+others[1].Count != 98 {
		t.Fatalf("%d rows, of them %d of others: %+v", len(*rows), len(others), others)
	}
	want := Series{Observer: "host1", Tap: "eth0", Service: "shop", StatusClass: 2, Protocol: "http", Other: true}
	if !slices.ContainsFunc(others, func(r Row) bool { return r.Series == want && r.Count == 97 }) {
		t.Errorf("others %+v, want %+v", others, want)
	}
	if n := c.Stats().Others; n != 98 {
		t.Errorf("%d were counted as others, want 98", n)
	}
}

// Memory stays below its limit, whatever durations do to histograms.
func TestMemory(t *testing.T) {
	const limit = 1 << 20
	rows := 0
	c := New(Options{MaxMemory: limit}, func(*Row) { rows++ })
	most := int64(0)
	for i := range 3000 {
		for _, took := range []int64{1, math.MaxInt64 / 4} {
			x := made(int64(i%4)*60*second, took, 200)
			x.Completed.Time = x.Start.Time
			x.Enriched.Route = fmt.Sprintf("/%d", i%1000)
			c.Add(x)
		}
		held := c.Stats().Memory
		if held > limit {
			t.Fatalf("%d bytes are charged", held)
		}
		if i%50 > 0 {
			continue
		}
		actual := int64(0)
		for _, m := range c.minutes {
			for _, n := range m.series {
				actual += int64(cap(n.row.Duration.Counts)+cap(n.row.Wait.Counts)) * 8
			}
		}
		if actual > held {
			t.Fatalf("%d bytes are charged, histograms alone take %d", held, actual)
		}
		most = max(most, actual)
	}
	if most < limit/2 || rows == 0 {
		t.Errorf("at most %d bytes in use, %d rows: the limit wasn't reached", most, rows)
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"a\u2066b":                   `a\xe2\x81\xa6b`,
		"shop.example":               "shop.example",
		"bücher.example":             "bücher.example",
		"\xff":                       `\xff`,
		"a\x1b[2Jb":                  `a\x1b[2Jb`,
		"a\u202eb":                   `a\xe2\x80\xaeb`,
		"a\u009bb":                   `a\xc2\x9bb`,
		"12345678901234567":          "1234567890123456…",
		"123456789012345ü":           "123456789012345…",
		"\xff23456789012345\xc3\xbc": `\xff23456789012345` + "…",
	} {
		if got := Text([]byte(in), 16); got != want || !utf8.ValidString(got) {
			t.Errorf("Text(%q) is %q, want %q", in, got, want)
		}
	}
}

// paths returns the paths of the leaves of a document; a histogram is a leaf.
func paths(prefix string, v any, into map[string]any) {
	o, ok := v.(map[string]any)
	if _, histogram := o["values"]; !ok || histogram {
		into[prefix] = v
		return
	}
	for name, inner := range o {
		paths(strings.TrimPrefix(prefix+"."+name, "."), inner, into)
	}
}

func document(t *testing.T, r *Row) map[string]any {
	t.Helper()
	b := AppendJSON([]byte("before"), r)
	if bytes.ContainsAny(b, "\r\n\x1b") {
		t.Errorf("more than a line of plain text: %q", b)
	}
	d := json.NewDecoder(bytes.NewReader(b[len("before"):]))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		t.Fatalf("%v: %s", err, b)
	}
	into := map[string]any{}
	paths("", v, into)
	return into
}

// sample returns a row that has everything.
func sample() *Row {
	r := &Row{ID: [16]byte{0: 1, 15: 7}, Start: day, Interval: Interval, Count: 5, Errors: 1, RequestBytes: 100, ResponseBytes: 200,
		Series: Series{Observer: "host1", Tap: "eth0", Service: "shop", Domain: `"\<b>`, Route: "/{id}", Method: "GET", StatusClass: 2, Protocol: "http", Other: true}}
	for _, d := range []int64{0, 1, 5e6, 1e9, 1e9, 2e9} {
		r.time(&exchange.Timing{Duration: d, Wait: d})
	}
	return r
}

// The document has what the table says for its protocol, and nothing else.
func TestDocument(t *testing.T) {
	got := document(t, sample())
	for protocol, fields := range map[string][]string{
		"mysql": {"db.namespace", "db.operation.name", "db.query.summary"}, "dns": {"dns.question.type"},
	} {
		r := sample()
		r.Series.Protocol = protocol
		other := document(t, r)
		for _, name := range fields {
			if got[name] != nil {
				t.Errorf("%s is in the document of HTTP", name)
			}
			got[name] = other[name]
		}
		for _, name := range []string{"http.request.method", "url.domain", "culprit.route"} {
			if other[name] != nil {
				t.Errorf("%s is in the document of %s", name, protocol)
			}
		}
	}
	var names []string
	for i := range Fields {
		f := &Fields[i]
		names = append(names, f.Name)
		v, ok := got[f.Name]
		if !ok {
			t.Errorf("%s isn't in the document", f.Name)
			continue
		}
		if f.Type == "" || f.Meaning == "" {
			t.Errorf("%s is described only in part", f.Name)
		}
		is := ""
		switch v.(type) {
		case json.Number:
			is = "long"
		case string:
			is = "keyword"
		case bool:
			is = "boolean"
		case map[string]any:
			is = "histogram"
		}
		if is != f.Type && !(is == "keyword" && f.Type == "date_nanos") {
			t.Errorf("%s is %v, its type %s", f.Name, v, f.Type)
		}
		// What exchanges have too is the same there.
		if of := exchange.Lookup(f.Name); of != nil && (of.Type != f.Type || of.Name != f.Name) {
			t.Errorf("%s has the type %s, of exchanges %s", f.Name, f.Type, of.Type)
		}
	}
	if slices.Sort(names); !slices.Equal(names, slices.Sorted(maps.Keys(got))) {
		t.Errorf("the document has %q", slices.Sorted(maps.Keys(got)))
	}
	for name, want := range map[string]string{
		"@timestamp": "2026-11-22T00:00:00.000000000Z", "event.id": "01000000000000000000000007", "url.domain": `"\<b>`,
		"culprit.rollup.status_class": "2xx", "culprit.rollup.within.5ms": "3", "culprit.rollup.within.1s": "5", "culprit.rollup.within.10s": "6",
		"culprit.rollup.duration_sum": "4005000001", "culprit.rollup.duration_max": "2000000000", "culprit.rollup.timed": "6",
	} {
		if s := fmt.Sprint(got[name]); s != want {
			t.Errorf("%s is %s, want %s", name, s, want)
		}
	}

	bare := document(t, &Row{Start: day, Interval: Interval, Count: 1})
	for name := range bare {
		if strings.Contains(name, "within") || strings.Contains(name, "duration") || strings.Contains(name, "wait") || strings.Contains(name, "service") || strings.Contains(name, "status") {
			t.Errorf("%s is there without a value", name)
		}
	}
	if bare["culprit.rollup.timed"] != json.Number("0") {
		t.Errorf("timed is %v", bare["culprit.rollup.timed"])
	}
}

// The values of a histogram rise, stand for what was added, and count it.
func TestDistribution(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		r := &Row{Start: day, Count: 1}
		var all []int64
		for range 1 + random.IntN(300) {
			d := int64(math.Exp(random.Float64()*40)) - 1
			all = append(all, d)
			r.time(&exchange.Timing{Duration: d, Wait: -1})
		}
		slices.Sort(all)
		h := document(t, r)["culprit.rollup.duration"].(map[string]any)
		values, counts := h["values"].([]any), h["counts"].([]any)
		if len(values) != len(counts) {
			t.Fatalf("%d values, %d counts", len(values), len(counts))
		}
		last, at := int64(-1), 0
		for i := range values {
			v, err := values[i].(json.Number).Int64()
			if err != nil || v < last {
				t.Fatalf("%v behind %d: %v", values[i], last, err)
			}
			last = v
			if v < all[0] || v > all[len(all)-1] {
				t.Fatalf("%d isn't between the smallest and the largest, %d and %d", v, all[0], all[len(all)-1])
			}
			n, _ := counts[i].(json.Number).Int64()
			for range n {
				if d := float64(all[at]); math.Abs(float64(v)-d) > 0.011*d+0.5 {
					t.Fatalf("%d stands for %v", v, d)
				}
				at++
			}
		}
		if at != len(all) {
			t.Fatalf("%d of %d are counted", at, len(all))
		}
	}
	if document(t, sample())["culprit.rollup.wait"] == nil {
		t.Error("there are no waits")
	}
}

// The names of the bounds are those of the durations.
func TestBounds(t *testing.T) {
	for i, b := range Bounds {
		d, err := time.ParseDuration(boundNames[i])
		if err != nil || int64(d) != b {
			t.Errorf("%s is %d", boundNames[i], b)
		}
	}
	if !slices.IsSorted(Bounds[:]) {
		t.Error("the bounds fall")
	}
}

// Invariant: whatever the texts, the document is one line of JSON, and each text is in it as it is in the row.
func FuzzDocument(f *testing.F) {
	f.Add([]byte("shop.example"), []byte("GET"))
	f.Add([]byte("\xff\x00\"\\"), []byte("\u202e</script>"))
	f.Fuzz(func(t *testing.T, domain, method []byte) {
		r := sample()
		r.Series.Domain, r.Series.Method = Text(domain, MaxDomain), Text(method, MaxMethod)
		got := document(t, r)
		for name, want := range map[string]string{"url.domain": r.Series.Domain, "http.request.method": r.Series.Method} {
			if v, _ := got[name].(string); v != want {
				t.Errorf("%s is %q, want %q", name, v, want)
			}
		}
	})
}

// Of an exchange of a series that is known nothing is allocated.
func TestAddDoesNotAllocate(t *testing.T) {
	c := New(Options{}, func(*Row) {})
	x := made(0, 20e6, 200)
	c.Add(x)
	if n := testing.AllocsPerRun(100, func() { c.Add(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	c := New(Options{}, func(*Row) {})
	var all [64]*exchange.Exchange
	for i := range all {
		all[i] = made(0, int64(i+1)*700_000, 200)
		all[i].Enriched.Route = fmt.Sprintf("/users/{id}/%d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Add(all[i%len(all)])
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	r := sample()
	r.Duration = measure.Histogram{}
	for i := range int64(500) {
		r.Duration.Add(i * 100_000)
	}
	var dst []byte
	for b.Loop() {
		dst = AppendJSON(dst[:0], r)
	}
	b.ReportMetric(float64(len(dst)), "bytes")
}

// A session counts once, however many of its messages are shown, and without durations; a TLS session that wasn't read is a series of
// its own, without a status.
func TestKinds(t *testing.T) {
	c, rows := collect(Options{})
	for range 3 {
		c.Add(outputtest.SessionMessage(proto.Originator, "text", "hello"))
	}
	c.Add(outputtest.Session())
	c.Add(outputtest.TLSRecord())
	c.Flush()
	protocols := map[string]int64{}
	for i := range *rows {
		r := &(*rows)[i]
		protocols[r.Series.Protocol] += r.Count
		if r.Duration.Count+r.Wait.Count > 0 {
			t.Errorf("%s has %d durations", r.Series.Protocol, r.Duration.Count)
		}
		if r.Series.Protocol == "tls" && (r.Series.StatusClass != 0 || r.Series.Method != "" || r.Series.Route != "") {
			t.Errorf("series %+v", r.Series)
		}
	}
	if want := map[string]int64{"websocket": 1, "tls": 1}; !maps.Equal(protocols, want) {
		t.Errorf("counted %v, want %v", protocols, want)
	}
}
