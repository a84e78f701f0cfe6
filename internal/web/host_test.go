package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// machine is a HostSource of a machine that was measured in the last half hour, and was busy at 11:50.
type machine struct {
	asked *HostQuery
	// name is that of the process, php-fpm when it is empty.
	name string
	// from and pruned are those of the answer.
	from   int64
	pruned bool
}

func (m machine) Host(_ context.Context, q HostQuery) (*HostAnswer, error) {
	if m.asked != nil {
		*m.asked = q
	}
	a := &HostAnswer{On: true, Samples: 1800, Processors: 4, MemoryTotal: 8 << 30, Interfaces: []string{"eth0"}, From: m.from, Pruned: m.pruned}
	curve := func(of func(at time.Time) float64) []float64 {
		all := make([]float64, q.Buckets)
		for i := range all {
			at := time.Unix(0, q.Start+int64(i)*q.Interval)
			if all[i] = of(at); at.Before(noon.Add(-30 * time.Minute)) {
				all[i] = math.NaN()
			}
		}
		return all
	}
	busy := func(quiet, loud float64) []float64 {
		return curve(func(at time.Time) float64 {
			if d := at.Sub(noon.Add(-10 * time.Minute)); d >= 0 && d < 5*time.Minute {
				return loud
			}
			return quiet
		})
	}
	a.Curves = []HostCurve{
		{Name: "cpu.busy", Unit: "part", Label: "CPU busy", Mean: busy(0.08123456, 0.93), Highest: busy(0.12, 1)},
		{Name: "memory.available", Unit: "bytes", Label: "Memory available", Mean: busy(4<<30, 3<<30), Lowest: busy(4<<30, 1<<30)},
	}
	a.Processes = []HostProcess{{PID: 4711, Start: noon.Add(-time.Hour).UnixNano(), Name: cmp.Or(m.name, "php-fpm"), CPU: busy(0.2, 3.6), CPUHighest: busy(0.3, 4), RSS: busy(100e6, 900e6)}}
	return a, nil
}

// The buckets are those of a histogram of the same time, whatever the question says.
func TestHostBuckets(t *testing.T) {
	var q HostQuery
	s := serve(t, func(o *Options) { o.Host = machine{asked: &q} })
	for _, query := range []string{
		"", "?last=1h", "?last=1h&buckets=1000", "?from=-15m&interval=1s", "?from=2026-11-21T11:00:01Z&to=2026-11-21T11:00:02Z&buckets=100", "?to=-10m&interval=7s",
	} {
		h, c := ask(t, s, "/api/host"+query), ask(t, s, "/api/histogram"+query)
		for _, name := range []string{"start", "interval", "buckets"} {
			if h[name] != c[name] {
				t.Errorf("%s: %s is %v, and %v in the histogram", query, name, h[name], c[name])
			}
		}
		if fmt.Sprint(q.Interval, q.Buckets) != fmt.Sprintf("%.0f %.0f", h["interval"], h["buckets"]) || stampText(q.Start) != h["start"] {
			t.Errorf("%s: asked for %+v", query, q)
		}
		if n := len(dig(h, "series", 0, "values").([]any)); float64(n) != h["buckets"] {
			t.Errorf("%s: %d values", query, n)
		}
	}
}

func stampText(ns int64) string {
	b, _ := stamp(ns).MarshalJSON()
	return string(b[1 : len(b)-1])
}

func TestHostCurves(t *testing.T) {
	s := serve(t, func(o *Options) { o.Host = machine{name: "php<\u202e>"} })
	v := ask(t, s, "/api/host?last=40m&interval=10m")
	// 11:20, 11:30, 11:40, 11:50
	for _, c := range []struct {
		path []any
		want any
	}{
		{[]any{"on"}, true}, {[]any{"processors"}, 4.0}, {[]any{"memory_total"}, float64(8 << 30)}, {[]any{"interfaces", 0}, "eth0"},
		{[]any{"series", 0, "values"}, []any{nil, 0.0812, 0.0812, 0.93}}, {[]any{"series", 0, "max", 3}, 1.0}, {[]any{"series", 0, "min"}, nil},
		{[]any{"series", 1, "min", 3}, float64(1 << 30)}, {[]any{"series", 1, "max"}, nil},
		{[]any{"processes", 0, "pid"}, 4711.0}, {[]any{"processes", 0, "cpu"}, []any{nil, 0.2, 0.2, 3.6}}, {[]any{"processes", 0, "name"}, "php<\u202e>"},
	} {
		if got := dig(v, c.path...); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v is %v, want %v", c.path, got, c.want)
		}
	}
	if raw := do(s, request("/api/host?last=40m&interval=10m")).Body.String(); !strings.Contains(raw, `php\u003c\u202e\u003e`) {
		t.Errorf("a name isn't escaped: %s", raw)
	}
	if v["looked_from"] != nil || v["processes_pruned"] != false {
		t.Errorf("looked from %v, %v pruned", v["looked_from"], v["processes_pruned"])
	}
	from := noon.Add(-30 * time.Minute).UnixNano()
	s = serve(t, func(o *Options) { o.Host = machine{from: from, pruned: true} })
	if v := ask(t, s, "/api/host?last=1h"); v["looked_from"] != stampText(from) || v["processes_pruned"] != true {
		t.Errorf("looked from %v, %v pruned", v["looked_from"], v["processes_pruned"])
	}
	refused(t, s, request("/api/host?where=status==200"), 400, "bad-parameter", "no such parameter")
}

// Where nothing was ever measured there are no curves; a store that fails says so.
func TestHostWithout(t *testing.T) {
	s := serve(t, func(o *Options) { o.Host = nil })
	v := ask(t, s, "/api/host?last=1h")
	if v["on"] != false || len(v["series"].([]any)) != 0 || len(v["processes"].([]any)) != 0 || v["buckets"] == 0.0 {
		t.Errorf("%v", v)
	}
	s = serve(t, func(o *Options) { o.Host = brokenMachine{} })
	refused(t, s, request("/api/host"), 500, "failed", "no disk")
}

type brokenMachine struct{}

func (brokenMachine) Host(context.Context, HostQuery) (*HostAnswer, error) {
	return nil, errors.New("no disk")
}
