package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/culprit-http/culprit/bench/gauge"
	"github.com/culprit-http/culprit/bench/store/generate"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/embedded"
	"github.com/culprit-http/culprit/internal/store/record"
)

// question is one that is measured.
type question struct {
	name, what string
	aim        time.Duration
	ask        func(ctx context.Context, e *embedded.Engine, s *subject) (found int64, err error)
}

// subject is what questions are about: times, and one exchange.
type subject struct {
	first, last int64
	id          [exchange.IDSize]byte
}

// buckets is how many time buckets a histogram has.
const buckets = 200

// summary are the fields that a list of exchanges shows.
var summary = [...]string{
	"@timestamp", "http.request.method", "url.domain", "url.path", "http.response.status_code", "event.duration", "client.ip", "server.ip", "culprit.route",
}

func questions() []question {
	field := func(name string) *exchange.Field { return exchange.Lookup(name) }
	var shown []*exchange.Field
	for _, name := range summary {
		shown = append(shown, field(name))
	}
	failures, err := filter.Parse("status >= 500")
	if err != nil {
		panic(err)
	}
	count := func(n *int64) func(*exchange.Exchange) error {
		return func(*exchange.Exchange) error { *n++; return nil }
	}
	slowest := func(fields []*exchange.Field) func(context.Context, *embedded.Engine, *subject) (int64, error) {
		return func(ctx context.Context, e *embedded.Engine, _ *subject) (n int64, err error) {
			_, err = e.Search(ctx, &store.Search{Scope: store.Scope{Where: failures.Root()}, Fields: fields, Sort: field("event.duration"), Limit: 100}, count(&n))
			return n, err
		}
	}
	containing := func(text string) func(context.Context, *embedded.Engine, *subject) (int64, error) {
		return func(ctx context.Context, e *embedded.Engine, _ *subject) (n int64, err error) {
			_, err = e.Search(ctx, &store.Search{Scope: store.Scope{Text: text}, Fields: shown, Limit: 100}, count(&n))
			return n, err
		}
	}
	return []question{
		{"histogram", "histogram by status class, 200 buckets", 300 * time.Millisecond, histogram},
		{"percentiles", "p50, p90, p99 by route", time.Second, func(ctx context.Context, e *embedded.Engine, _ *subject) (int64, error) {
			t, err := e.Aggregate(ctx, &store.Aggregate{
				Groups:  []store.Group{{Field: field("culprit.route")}},
				Metrics: []store.Metric{{Kind: store.Percentiles, Field: field("event.duration"), Quantiles: []float64{0.5, 0.9, 0.99}}},
			})
			if err != nil {
				return 0, err
			}
			return int64(len(t.Groups)), nil
		}},
		{"slowest", "slowest 100 with status >= 500, summaries", 300 * time.Millisecond, slowest(shown)},
		{"slowest-whole", "slowest 100 with status >= 500, whole", 300 * time.Millisecond, slowest(nil)},
		{"substring", "newest 100 containing a common text", time.Second, containing("Checkout")},
		{"substring-nowhere", "newest 100 containing a text that is nowhere", time.Second, containing("xyzzyx")},
		{"distinct", "distinct clients by country", 500 * time.Millisecond, func(ctx context.Context, e *embedded.Engine, _ *subject) (int64, error) {
			t, err := e.Aggregate(ctx, &store.Aggregate{
				Groups:  []store.Group{{Field: field("client.geo.country_iso_code")}},
				Metrics: []store.Metric{{Kind: store.Distinct, Field: field("client.ip")}},
			})
			if err != nil {
				return 0, err
			}
			return int64(len(t.Groups)), nil
		}},
		{"by-id", "one by id", 20 * time.Millisecond, func(ctx context.Context, e *embedded.Engine, s *subject) (n int64, err error) {
			err = e.Exchange(ctx, s.id, count(&n))
			return n, err
		}},
	}
}

func histogram(ctx context.Context, e *embedded.Engine, s *subject) (int64, error) {
	t, err := e.Aggregate(ctx, &store.Aggregate{
		Scope: store.Scope{From: s.first, To: s.last + 1}, Interval: (s.last-s.first)/buckets + 1,
		Groups: []store.Group{{Field: exchange.Lookup("http.response.status_code"), By: store.ByClass}}, Order: -1,
	})
	if err != nil {
		return 0, err
	}
	return t.Total.Count, nil
}

// newSubject finds the times of the store, and an exchange in the middle.
func newSubject(ctx context.Context, e *embedded.Engine) (*subject, error) {
	status, err := e.Status(ctx)
	if err != nil {
		return nil, err
	}
	s := &subject{first: status.First, last: status.Last}
	q := &store.Search{Scope: store.Scope{From: s.first + (s.last-s.first)/2}, Fields: []*exchange.Field{exchange.Lookup("event.id")}, Ascending: true, Limit: 1}
	_, err = e.Search(ctx, q, func(x *exchange.Exchange) error {
		s.id = x.ID("")
		return nil
	})
	return s, err
}

// asked is what one question took.
type asked struct {
	Found     int64
	Wall, CPU float64 // seconds
	Memory    int64   // bytes that the process had more than before; 0: it isn't known
}

// one asks a question once.
func one(ctx context.Context, q *question, e *embedded.Engine, s *subject) (a asked, err error) {
	runtime.GC()
	t := gauge.NewTimer()
	a.Found, err = q.ask(ctx, e, s)
	a.Wall, a.CPU = t.Wall(), t.CPU()
	return a, err
}

// queries asks the questions on one core: warm, several times in a process of their own, and cold.
func queries(ctx context.Context, o *options) error {
	if o.question != "" {
		return answer(ctx, o)
	}
	rows := [][]string{{"", "CPU ms", "ms", "aim", "cold ms", "aim", "MB", "found", ""}}
	var first error
	for _, q := range questions() {
		warm, err := ask(ctx, "warm:"+q.name)
		if err != nil {
			return err
		}
		cold, err := ask(ctx, "cold:"+q.name)
		if err != nil {
			return err
		}
		remark := ""
		if warm.CPU > q.aim.Seconds() {
			remark = "missed"
		}
		if cold.Found != warm.Found {
			first = errors.Join(first, fmt.Errorf("%s: %d found, and %d the next time", q.name, warm.Found, cold.Found))
		}
		aim := float64(q.aim.Milliseconds())
		rows = append(rows, []string{
			q.what, fmt.Sprintf("%.1f", warm.CPU*1e3), fmt.Sprintf("%.1f", warm.Wall*1e3), fmt.Sprint(aim),
			fmt.Sprintf("%.1f", cold.Wall*1e3), fmt.Sprint(3 * aim), megabytes(warm.Memory), thousands(warm.Found), remark,
		})
	}
	gauge.PrintRows(os.Stdout, fmt.Sprintf("Questions on one core: medians of %d; cold: nothing in the page cache, a new process, once; memory: the most besides the open store's, aim 256", o.runs), rows, o.markdown)
	return first
}

// answer asks one question in this process, and prints what it took.
func answer(ctx context.Context, o *options) error {
	runtime.GOMAXPROCS(1)
	how, name, _ := strings.Cut(o.question, ":")
	all := questions()
	i := slices.IndexFunc(all, func(q question) bool { return q.name == name })
	if i < 0 {
		return fmt.Errorf("no question %q", name)
	}
	q := &all[i]
	e, err := o.open()
	if err != nil {
		return err
	}
	s, err := newSubject(ctx, e)
	if err != nil {
		return err
	}
	runs := o.runs
	if how == "cold" {
		runs = 1
		if err := e.Close(); err != nil {
			return err
		}
		if err := gauge.Forget(o.dir); err != nil {
			return err
		}
		if e, err = o.open(); err != nil {
			return err
		}
	} else if _, err := one(ctx, q, e, s); err != nil {
		return err
	}
	var answers []asked
	most := int64(0)
	err = o.profiled(how+"-"+name, func() error {
		for range runs {
			before := gauge.ResetPeak()
			a, err := one(ctx, q, e, s)
			if err != nil {
				return err
			}
			most = max(most, gauge.PeakMemory()-before)
			answers = append(answers, a)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := e.Close(); err != nil {
		return err
	}
	slices.SortFunc(answers, func(a, b asked) int { return cmp.Compare(a.Wall, b.Wall) })
	a := answers[len(answers)/2]
	slices.SortFunc(answers, func(a, b asked) int { return cmp.Compare(a.CPU, b.CPU) })
	a.CPU = answers[len(answers)/2].CPU
	if a.Memory = most; !gauge.PeakKnown {
		a.Memory = 0
	}
	return json.NewEncoder(os.Stdout).Encode(a)
}

// during asks for the histogram while exchanges are stored at a rate.
func during(ctx context.Context, o *options) error {
	e, err := o.open()
	if err != nil {
		return err
	}
	s, err := newSubject(ctx, e)
	if err != nil {
		return err
	}
	// What is stored meanwhile comes after what is there.
	g := generate.New(generate.Options{Seed: o.seed + 1, Start: s.last + 120e9, Rate: o.rate})
	ctx, stop := context.WithTimeout(ctx, o.during)
	defer stop()
	began := time.Now()
	ended := make(chan error, 1)
	stored := 0
	var late time.Duration // at the end
	go func() {
		var b record.Batch
		for ctx.Err() == nil {
			due := began.Add(time.Duration(float64(stored+o.batch) / o.rate * 1e9))
			b.Reset()
			for b.Len() < o.batch {
				b.Add(g.Next())
			}
			if _, err := e.Append(&b); err != nil {
				ended <- err
				return
			}
			stored += b.Len()
			if late = -time.Until(due); late < 0 {
				select {
				case <-time.After(-late):
				case <-ctx.Done():
				}
			}
		}
		ended <- nil
	}()
	var took []float64
	for ctx.Err() == nil {
		t := gauge.NewTimer()
		status, err := e.Status(ctx)
		if err != nil {
			return err
		}
		if _, err := histogram(context.WithoutCancel(ctx), e, &subject{first: status.First, last: status.Last}); err != nil {
			return err
		}
		took = append(took, t.Wall())
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	if err := <-ended; err != nil {
		return err
	}
	elapsed := time.Since(began).Seconds()
	if err := e.Close(); err != nil {
		return err
	}
	slices.Sort(took)
	printFigures(os.Stdout, fmt.Sprintf("Histograms while %s exchanges a second are stored, for %v on %d cores", thousands(int64(o.rate)), o.during, runtime.NumCPU()), []figure{
		{"median, ms", fmt.Sprintf("%.0f", took[len(took)/2]*1e3), "500", fmt.Sprintf("of %d", len(took))},
		{"longest, ms", fmt.Sprintf("%.0f", took[len(took)-1]*1e3), "500", ""},
		{"exchanges a second", thousands(int64(float64(stored) / elapsed)), thousands(int64(o.rate)), ""},
		{"late at the end, ms", fmt.Sprint(max(late, 0).Milliseconds()), "", ""},
	}, o.markdown)
	return nil
}
