package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/embedded"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/segment"
	"github.com/culprit-http/culprit/internal/store/storetest"
)

// shop is a store with a few exchanges of an ordinary shop, some of them hostile.
func shop(t *testing.T) *storetest.Naive {
	t.Helper()
	s := storetest.NewNaive()
	var b record.Batch
	for i, e := range []struct {
		request, response, route string
		wait                     time.Duration
	}{
		{"GET /api/users/17 HTTP/1.1\nHost: shop.example\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "HTTP/1.1 200 OK\n\n" + strings.Repeat("x", 23_000), "/api/users/{id}", 12 * time.Millisecond},
		{"GET /api/users/18 HTTP/1.1\nHost: shop.example", "HTTP/1.1 404 Not Found\n\nno", "/api/users/{id}", 800 * time.Microsecond},
		{"POST /cart HTTP/1.1\nHost: shop.example\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-01", "HTTP/1.1 500 Internal Server Error\n\nfailed", "/cart", 3200 * time.Millisecond},
		{"GET /search?q==HYPERLINK(1) HTTP/1.1\nHost: =cmd\nUser-Agent: a, \"b\"", "HTTP/1.1 200 OK\n\nfound", "/search", 90 * time.Millisecond},
		{"GET /\x1b[31m/red HTTP/1.1\nHost: shop.example", "", "", 0},
		{"GET /api/users/19 HTTP/1.1\nHost: shop.example", "HTTP/1.1 200 OK\n\nuser", "/api/users/{id}", 14 * time.Millisecond},
	} {
		x := outputtest.Exchange(e.request, e.response)
		x.Start.Time += int64(i) * int64(20*time.Second)
		x.KnownID = &[exchange.IDSize]byte{1, 2, byte(i)}
		x.Enriched.Route = e.route
		x.Timing.Wait = int64(e.wait)
		x.Timing.Duration = x.Timing.Send + x.Timing.Wait + x.Timing.Receive
		if e.response == "" {
			x.Grade, x.Reason, x.Timing.Duration = exchange.Unanswered, "no answer", -1
		}
		b.Add(x)
	}
	if _, err := s.Append(&b); err != nil {
		t.Fatal(err)
	}
	return s
}

// ask runs a query as if on a terminal of that width, 0: on none. It returns what is written to both outputs.
func ask(t *testing.T, s store.Reader, width int, q config.Query) (string, error) {
	t.Helper()
	var out, notes bytes.Buffer
	q.Color = "never"
	if err := q.Validate(); err != nil {
		return "", err
	}
	a := &asking{
		config: &q, reader: s, dir: "STORE", stderr: &notes,
		target: target{w: &out, terminal: terminal.Terminal{Width: width}, location: time.FixedZone("CET", 3600)},
	}
	if err := a.prepare(time.Date(2024, 5, 6, 10, 43, 0, 0, time.UTC)); err != nil {
		return "", err
	}
	err := a.run(context.Background())
	return out.String() + notes.String(), err
}

// id is that of the i-th exchange of shop.
func id(i int) string {
	return string(exchange.AppendID(nil, [exchange.IDSize]byte{1, 2, byte(i)}))
}

func TestQueryAnswers(t *testing.T) {
	s := shop(t)
	figures := config.Query{GroupBy: []string{"route"}, Metrics: []string{"p50(duration)", "p99(duration)", "sum(size)", "max(size)", "rate", "error_rate", "distinct(client)", "mean(status)"}}
	for _, c := range []struct {
		name  string
		width int
		q     config.Query
	}{
		{"list", 110, config.Query{}},
		{"list-narrow", 64, config.Query{}},
		{"list-plain", 0, config.Query{}},
		{"list-limit", 110, config.Query{Limit: 2, Sort: "duration", Fields: []string{"id", "duration", "http.request.headers"}}},
		{"list.csv", 0, config.Query{Output: "csv"}},
		{"list-line", 0, config.Query{Output: "line", Ascending: true}},
		{"list.ndjson", 0, config.Query{Output: "ndjson", Where: "status == 404"}},
		{"id", 0, config.Query{ID: id(1)}},
		{"trace", 110, config.Query{Trace: "4bf92f3577b34da6a3ce929d0e0e4736", Where: "status >= 200 or method == 'PUT'"}},
		{"figures", 140, figures},
		{"figures-plain", 0, figures},
		{"figures-limit", 140, config.Query{GroupBy: figures.GroupBy, Metrics: figures.Metrics, Limit: 2, Sort: "p99(duration)"}},
		{"figures-interval", 110, config.Query{Interval: config.Age(time.Minute), Metrics: []string{"rate", "p99(duration)"}}},
		{"figures-both", 110, config.Query{Interval: config.Age(time.Minute), GroupBy: []string{"class(status)", "network(client)"}}},
		{"figures-one", 110, config.Query{Metrics: []string{"p99.9(duration)", "errors"}}},
		{"figures-magnitude", 110, config.Query{GroupBy: []string{"magnitude(duration)", "magnitude(size)"}}},
		{"figures.csv", 0, config.Query{GroupBy: []string{"vhost", "status"}, Metrics: []string{"p99(duration)", "rate"}, Output: "csv", Limit: 2}},
		{"figures.ndjson", 0, config.Query{GroupBy: []string{"route", "status"}, Interval: config.Age(time.Minute), Metrics: []string{"mean(duration)", "error_rate"}, Output: "ndjson"}},
		{"nothing", 110, config.Query{Where: "status == 418"}},
		{"nothing-figures", 110, config.Query{To: "2020-01-01", Metrics: []string{"rate"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.q.Limit == 0 {
				c.q.Limit = -1
			}
			got, err := ask(t, s, c.width, c.q)
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(got, "\n") {
				if w := terminal.Width([]byte(line)); c.width > 0 && w > c.width && !strings.HasPrefix(line, "culprit: ") {
					t.Errorf("line %d is %d columns wide: %s", i, w, line)
				}
			}
			if strings.ContainsRune(got, 0x1b) {
				t.Error("what was captured reaches the terminal")
			}
			outputtest.Golden(t, *update, filepath.Join("query", c.name+".golden"), []byte(got))
		})
	}
}

// The table has exchanges of all protocols in the same columns, and the tables of figures know statements.
func TestQueryOfOthers(t *testing.T) {
	s, err := embedded.Open(t.TempDir(), embedded.Options{}) // which gives no more fields than are asked for
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var b record.Batch
	for i, x := range []*exchange.Exchange{
		outputtest.Exchange("GET /orders HTTP/1.1\nHost: shop.example\n\n", "HTTP/1.1 200 OK\n\n[]"),
		outputtest.Lookup("AAAA", "db.shop.example", "2001:db8::9"),
		outputtest.Query("mysql", "SELECT", "SELECT *\n\tFROM users\n WHERE name = '\x1b[31m'"),
		outputtest.Failed(outputtest.Query("postgresql", "INSERT", "INSERT INTO users VALUES ($1)"), "23505", "duplicate key"),
		outputtest.Query("redis", "GET", "GET user:7"),
		outputtest.FlowRecord("ssh"),
	} {
		x.Start.Time += int64(i) * int64(time.Second)
		x.KnownID = &[exchange.IDSize]byte{1, 3, byte(i)}
		if x.Protocol == "postgresql" {
			x.Request.Say("database", []byte("shop"))
		}
		b.Add(x)
	}
	if _, err := s.Append(&b); err != nil {
		t.Fatal(err)
	}
	byTemplate := config.Query{GroupBy: []string{"template", "db"}, Metrics: []string{"sum(duration)", "p99(duration)", "errors", "sum(rows)"}, Sort: "sum(duration)", Where: "has(db)"}
	for _, c := range []struct {
		name  string
		width int
		q     config.Query
	}{
		{"others", 120, config.Query{Ascending: true}}, {"others-plain", 0, config.Query{Ascending: true}},
		{"others.csv", 0, config.Query{Ascending: true, Output: "csv", Fields: []string{"protocol", "verb", "table", "statement", "rows", "qname", "rcode"}}},
		{"others-figures", 140, byTemplate},
	} {
		c.q.Limit = -1
		got, err := ask(t, s, c.width, c.q)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsRune(got, 0x1b) {
			t.Errorf("%s: what was captured reaches the terminal", c.name)
		}
		outputtest.Golden(t, *update, filepath.Join("query", c.name+".golden"), []byte(got))
	}
}

// CSV and NDJSON can be read back.
func TestQueryIsWellFormed(t *testing.T) {
	all := make([]string, 0, len(exchange.Fields))
	for i := range exchange.Fields {
		all = append(all, exchange.Fields[i].Name)
	}
	s := storetest.NewNaive()
	made := storetest.Exchanges(1, 300)
	var b record.Batch
	for _, x := range made {
		b.Add(x)
	}
	if _, err := s.Append(&b); err != nil {
		t.Fatal(err)
	}
	text, err := ask(t, s, 0, config.Query{Output: "csv", Fields: all})
	if err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(records) != len(made)+1 {
		t.Errorf("%d records: %v", len(records), err)
	}
	for _, r := range records {
		for _, cell := range r {
			if cell != "" && strings.ContainsRune("=+@", rune(cell[0])) {
				t.Errorf("a spreadsheet would compute %q", cell)
			}
		}
	}
	for i := range all {
		text, err := ask(t, s, 0, config.Query{Output: "ndjson", GroupBy: all[i : i+1], Metrics: []string{"p50(duration)", "rate"}})
		if k := exchange.Fields[i].Kind; k == exchange.Headers || k == exchange.Float {
			if err == nil {
				t.Errorf("%s can be grouped by", all[i])
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", all[i], err)
		}
		for line := range strings.Lines(text) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s: not JSON: %s", all[i], line)
			}
		}
		text, err = ask(t, s, 0, config.Query{GroupBy: all[i : i+1], Interval: config.Age(time.Hour)})
		if err != nil {
			t.Fatalf("%s: %v", all[i], err)
		}
		for line := range strings.Lines(text) {
			if n := len(plainCell.FindAllString(line, -1)); n != 3 {
				t.Errorf("%s: %d cells: %q", all[i], n, line)
			}
		}
	}
}

// plainCell is a cell where tables aren't for people: statements stand in quotes.
var plainCell = regexp.MustCompile(`"[^"]*"|[^ \n]+`)

// More than a page is asked for page by page.
func TestQueryPages(t *testing.T) {
	s := pagesOf(10_500)
	for limit, want := range map[int]int{0: 10_500, 10_001: 10_001, 10_000: 10_000, 3: 3} {
		text, err := ask(t, s, 0, config.Query{Output: "csv", Fields: []string{"time"}, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(text, "Z\r\n")
		if more := strings.Contains(text, "there are more than these"); lines != want || more != (want < 10_500) {
			t.Errorf("--limit %d: %d lines, more: %v", limit, lines, more)
		}
	}
}

// pagesOf is a store that finds that many exchanges.
type pagesOf int

func (p pagesOf) Search(_ context.Context, q *store.Search, found func(*exchange.Exchange) error) (*store.Page, error) {
	from := 0
	_, _ = fmt.Sscan(q.After, &from)
	x := outputtest.Exchange("GET / HTTP/1.1\n", "")
	to := min(from+q.Limit, int(p))
	for range to - from {
		if err := found(x); err != nil {
			return nil, err
		}
	}
	if to == int(p) {
		return &store.Page{}, nil
	}
	return &store.Page{Next: fmt.Sprint(to)}, nil
}

func (pagesOf) Aggregate(context.Context, *store.Aggregate) (*store.Table, error) {
	return nil, fmt.Errorf("%w: it would have 20,000 time buckets", store.ErrLimit)
}

func (pagesOf) Exchange(context.Context, [exchange.IDSize]byte, func(*exchange.Exchange) error) error {
	return store.ErrNotFound
}
func (pagesOf) Status(context.Context) (*store.Status, error) { return &store.Status{Damaged: 2}, nil }
func (pagesOf) Close() error                                  { return nil }

func TestQueryParquet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.parquet")
	if _, err := ask(t, shop(t), 0, config.Query{Output: "parquet=" + path}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v", info.Mode())
	}
	s, err := segment.Open(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	if s.Rows() != 6 {
		t.Errorf("%d rows, want 6", s.Rows())
	}
}

func TestQueryRefuses(t *testing.T) {
	for _, c := range []struct {
		q    config.Query
		want string
	}{
		{config.Query{Where: "status >="}, "--where"}, {config.Query{Output: "xml"}, "no such output"}, {config.Query{Output: "csv="}, "name a file"},
		{config.Query{Output: "parquet"}, "name a file"}, {config.Query{Output: "har", GroupBy: []string{"status"}}, "is for exchanges"},
		{config.Query{Output: "har", Fields: []string{"status"}}, "--fields"}, {config.Query{Fields: []string{"nope"}}, "no field nope"},
		{config.Query{Sort: "nope"}, "no field nope"}, {config.Query{Sort: "http.request.headers"}, "no order"}, {config.Query{ID: "x"}, "26 letters"},
		{config.Query{GroupBy: []string{"nope"}}, "no field nope"}, {config.Query{GroupBy: []string{"class(method)"}}, "can't be said"},
		{config.Query{GroupBy: []string{"klass(status)"}}, "class(status)"}, {config.Query{GroupBy: []string{"class(status"}}, "class(status)"}, {config.Query{GroupBy: []string{"status", "status"}}, "twice"},
		{config.Query{Metrics: []string{"p50"}}, "of a field"}, {config.Query{Metrics: []string{"p101(duration)"}}, "no metric"}, {config.Query{Metrics: []string{"sum(method)"}}, "can't be said of"},
		{config.Query{Metrics: []string{"rate(duration)"}}, "write it alone"}, {config.Query{Metrics: []string{"p.(duration)"}}, "no metric"}, {config.Query{Metrics: []string{"sum()"}}, "of a field"},
		{config.Query{Metrics: []string{"rate"}, Sort: "p99(duration)"}, "one of the metrics"}, {config.Query{Limit: 20_000}, "-o csv"}, {config.Query{GroupBy: []string{"status"}, Limit: 20_000}, "groups at most"},
	} {
		if _, err := ask(t, shop(t), 0, c.q); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want something about %q", c.q, err, c.want)
		}
	}
	if _, err := ask(t, shop(t), 0, config.Query{ID: id(99)}); err == nil || !strings.Contains(err.Error(), "no exchange in STORE has the id") {
		t.Errorf("an unknown id: %v", err)
	}
	if _, err := ask(t, pagesOf(1), 0, config.Query{Interval: config.Age(time.Second)}); !errors.Is(err, store.ErrLimit) || !strings.Contains(err.Error(), "--interval") {
		t.Errorf("beyond a limit: %v", err)
	}
}

// The command itself: where the store is, what is wrong with it, and the exit status.
func TestQueryCommand(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", filepath.Join(dir, "data"))
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		args   []string
		open   storeOpener
		status int
		want   string
	}{
		{"answers", []string{"--store", dir, "-o", "csv", "--fields", "status", "--sort", "status"}, func(string) (store.Reader, error) { return shop(t), nil }, 0, "status\r\n500\r\n404\r\n200\r\n200\r\n200\r\n\r\n"},
		{"no folder", []string{"--store", filepath.Join(dir, "none")}, nil, exitFailed, "culprit serve -r FILE"},
		{"no folder", []string{"--store", file}, nil, exitFailed, "is no folder"},
		{"no store", []string{"--store", dir}, func(string) (store.Reader, error) { return nil, fmt.Errorf("FORMAT: %w", fs.ErrNotExist) }, exitFailed, "there is no store in"},
		{"fails", []string{"--store", dir}, func(string) (store.Reader, error) { return nil, errors.New("its format is newer") }, exitFailed, "its format is newer"},
		{"damaged", []string{"--store", dir}, func(string) (store.Reader, error) { return pagesOf(1), nil }, exitLossy, "2 segments"},
		{"usage", []string{"--where", "nonsense ="}, nil, exitUsage, "--where"},
		{"usage", []string{"status"}, nil, exitUsage, "no argument"},
		{"usage", []string{"--limit", "-1"}, nil, exitUsage, "--limit -1: must not be negative"},
	} {
		var out bytes.Buffer
		root := newRoot(strings.NewReader(""), &out, &out)
		if old, _, err := root.Find([]string{"query"}); err == nil && old != root {
			root.RemoveCommand(old)
		}
		root.AddCommand(newQuery(c.open))
		root.SetArgs(append([]string{"query"}, c.args...))
		err := root.Execute()
		status := 0
		var s *statusError
		if errors.As(err, &s) {
			status = s.status
			out.WriteString(s.Error())
		} else if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if status != c.status || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: status %d, want %d with %q:\n%s", c.name, status, c.status, c.want, out.String())
		}
	}
}

// What is wrong, and what can be done, is said once, and only where it helps.
func TestQueryNotes(t *testing.T) {
	for _, n := range []int{1, 5000} { // writing fails at the end, and before
		q := config.Query{Output: "csv", Limit: n, Color: "auto"}
		a := &asking{config: &q, reader: pagesOf(n), target: target{w: failing{}, location: time.UTC}}
		if err := a.prepare(time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := a.run(context.Background()); err == nil || strings.Count(err.Error(), "no space left") != 1 {
			t.Errorf("%d exchanges: got %q, want it once", n, err)
		}
	}
	for output, want := range map[string]bool{"table": true, "csv": false} {
		text, err := ask(t, shop(t), 0, config.Query{Output: output, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text, "--limit 0 shows all") || strings.Contains(text, "with -o csv") != want {
			t.Errorf("-o %s:\n%s", output, text)
		}
	}
	// It holds nothing that can be read, which isn't the same as nothing.
	if text, err := ask(t, pagesOf(0), 0, config.Query{}); err != nil || strings.Contains(text, "empty") {
		t.Errorf("%q, %v", text, err)
	}
}

// A store that is being written answers as the oracle does.
func TestQueryEmbedded(t *testing.T) {
	dir := t.TempDir()
	engine, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	oracle := storetest.NewNaive()
	for part := range slices.Chunk(storetest.Exchanges(1, 400), 50) {
		var b record.Batch
		for _, x := range part {
			b.Add(x)
		}
		if _, err := oracle.Append(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := engine.Append(&b); err != nil {
			t.Fatal(err)
		}
		if err := engine.Sync(); err != nil {
			t.Fatal(err)
		}
		r, err := openEmbedded(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []config.Query{
			{Output: "har"}, {Output: "console", Sort: "duration", Limit: 20}, {Output: "ndjson", Where: "status >= 400", Ascending: true},
			{Fields: []string{"id", "status", "http.request.headers", "route"}, Sort: "status", Limit: 100},
			{GroupBy: []string{"class(status)", "method"}, Interval: config.Age(time.Hour), Metrics: []string{"sum(size)", "errors", "distinct(path)"}},
			{Trace: "4bf92f3577b34da6a3ce929d0e0e4736", Output: "line"},
		} {
			got, err := ask(t, r, 120, q)
			if err != nil {
				t.Fatal(err)
			}
			want, err := ask(t, oracle, 120, q)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%+v:\ngot\n%.2000s\nwant\n%.2000s", q, got, want)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Percentiles come from the sketches that are asked for, and kinds that a store can't merge are refused.
func TestQueryQuantiles(t *testing.T) {
	for name, want := range map[string]measure.Kind{"": measure.DD, "dd": measure.DD, "tdigest": measure.TDigests, "qdigest": measure.QDigests} {
		if f, err := parseFigures(&config.Query{Metrics: []string{"p50(duration)"}, Quantiles: name}); err != nil || f.Sketches != want {
			t.Errorf("%q is read as %v, %v", name, f.Sketches, err)
		}
	}
	for name, want := range map[string]string{
		"frugal": "--quantiles frugal: a store's percentiles are put together from those of its segments, and frugal sketches can't be merged; culprit routes takes it",
		"hdr":    `--quantiles: there is no sketch "hdr"; there are dd, tdigest, qdigest, frugal`,
	} {
		if _, err := parseFigures(&config.Query{Metrics: []string{"p50(duration)"}, Quantiles: name}); err == nil || err.Error() != want {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := (&config.Query{Quantiles: "tdigest"}).Validate(); err == nil || !strings.HasPrefix(err.Error(), "--quantiles is for tables of figures") {
		t.Error(err)
	}
}

// Groups are ordered by the first quantile of a metric: the one to sort by gets a metric of its own.
func TestQuerySortsByAnyQuantile(t *testing.T) {
	for _, c := range []struct {
		sort    string
		metrics int
		first   float64
	}{{"", 2, 0}, {"p50(duration)", 2, 0.5}, {"p99(duration)", 3, 0.99}, {"p90(size)", 2, 0.9}} {
		f, err := parseFigures(&config.Query{Metrics: []string{"p50(duration)", "p99(duration)", "p90(size)"}, Sort: c.sort})
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Metrics) != c.metrics {
			t.Errorf("by %q: %d metrics, want %d", c.sort, len(f.Metrics), c.metrics)
		}
		if c.sort != "" && f.Metrics[f.Order].Quantiles[0] != c.first {
			t.Errorf("by %q: the order is that of %v", c.sort, f.Metrics[f.Order].Quantiles)
		}
		table := store.Totals{Values: [][]float64{{1, 2}, {3, 4}, {5, 6}}}
		seen := map[float64]bool{}
		for i := range f.metrics[1:] {
			seen[f.metrics[1+i].of(&table)] = true
		}
		if len(seen) != 3 {
			t.Errorf("by %q: two metrics have the same value: %v", c.sort, f.metrics)
		}
	}
}
