package measure

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

const t0 = 1_700_000_000 * int64(second)

func TestWindowRates(t *testing.T) {
	w := NewWindow(10, t0)
	if r := w.Rates(t0); r != (Rates{P50: -1, P99: -1}) {
		t.Errorf("nothing yet: %+v", r)
	}
	// 100 a second for 20 s, of which 5 fail.
	for i := range int64(2000) {
		w.Add(t0+i*second/100, 1e6+i%100*1e4, i%20 == 0)
	}
	for _, c := range []struct {
		at               float64
		requests, errors float64
	}{
		// The second of now isn't over: the window is shorter than 10 s by what is still to come.
		{20, 900 / 9.0, 45 / 9.0}, // in which nothing has ended yet
		{19.5, 1000 / 9.5, 50 / 9.5},
		{20.5, 900 / 9.5, 45 / 9.5},
		{28, 100 / 9.0, 5 / 9.0},
		{29, 0, 0},
		{1e6, 0, 0},
	} {
		r := w.Rates(t0 + int64(c.at*second))
		if math.Abs(r.Requests-c.requests) > 1e-6 || math.Abs(r.Errors-c.errors) > 1e-6 {
			t.Errorf("after %g s: %g requests/s, %g errors/s; want %g, %g", c.at, r.Requests, r.Errors, c.requests, c.errors)
		}
		if empty := c.requests == 0; empty && (r.P50 != -1 || r.P99 != -1) || !empty && (!near(r.P50, 1_490_000) || !near(r.P99, 1_980_000)) {
			t.Errorf("after %g s: p50 %d, p99 %d", c.at, r.P50, r.P99)
		}
	}
}

// At the beginning, rates are for the time that there was.
func TestWindowBegins(t *testing.T) {
	start := t0 + int64(0.9*second)
	w := NewWindow(10, start)
	for i := range int64(30) {
		w.Add(start+i*second/10, 1e6, false)
	}
	for after, want := range map[float64]float64{0: 30, 0.5: 30, 3: 10, 6: 5} {
		if r := w.Rates(start + int64(after*second)); math.Abs(r.Requests-want) > 1 && after >= 3 || after < 3 && r.Requests > 30 {
			t.Errorf("after %g s: %g requests/s, want about %g", after, r.Requests, want)
		}
	}
}

func TestWindowTimes(t *testing.T) {
	w := NewWindow(5, t0)
	w.Add(t0+20*second, 7e6, false)
	w.Add(t0+16*second, 7e6, false) // late, and still in it
	w.Add(t0+15*second, 7e6, false) // too late
	w.Add(t0+20*second, -1, true)   // its duration says nothing
	if r := w.Rates(t0 + 21*second - 1); math.Abs(r.Requests-3.0/5) > 1e-6 || math.Abs(r.Errors-1.0/5) > 1e-6 || !near(r.P50, 7e6) || w.Late != 1 {
		t.Errorf("%+v, %d late", r, w.Late)
	}
	if r := w.Rates(t0 - second); r.Requests != 3.0/4 {
		t.Errorf("asked for a time before the newest: %+v", r)
	}
	// A clock that was wrong by far, and is set right.
	w.Add(t0+1e6*second, 1, false)
	w.Add(t0+21*second, 9e6, false)
	if r := w.Rates(t0 + 21*second); r.Requests != 1 || !near(r.P99, 9e6) {
		t.Errorf("after the clock was set back: %+v", r)
	}
	for _, at := range []int64{math.MinInt64, -1, 0, 1, math.MaxInt64} {
		for _, seconds := range []int{-1, 0, 1, 7, MaxWindow, math.MaxInt} {
			w := NewWindow(seconds, at)
			w.Add(at, 1, true)
			if r := w.Rates(at); r.Requests != 1 || r.Errors != 1 || r.P50 < 0 {
				t.Errorf("at %d with %d seconds: %+v", at, seconds, r)
			}
			if len(w.buckets) > MaxWindow {
				t.Errorf("%d buckets", len(w.buckets))
			}
		}
	}
}

// Whatever comes in whatever order, a window says what a list of everything says.
func TestWindowEqualsList(t *testing.T) {
	type request struct {
		at, duration int64
		failed       bool
	}
	r := rand.New(rand.NewPCG(7, 8))
	for range 50 {
		n := 1 + r.IntN(12)
		w := NewWindow(n, t0)
		var all []request
		now, late := t0, uint64(0)
		for range 400 {
			now += r.Int64N(second / 4)
			x := request{now - r.Int64N(4*second), r.Int64N(1e9) - 1e6, r.IntN(3) == 0}
			newest := floor(t0)
			for _, y := range all {
				newest = max(newest, floor(y.at))
			}
			if floor(x.at) <= newest-int64(n) {
				late++
			} else {
				all = append(all, x)
			}
			w.Add(x.at, x.duration, x.failed)
		}
		end := now + r.Int64N(3*second)
		first := floor(end) - int64(n) + 1
		var want Rates
		var durations []int64
		for _, x := range all {
			if floor(x.at) < first {
				continue
			}
			want.Requests++
			if x.failed {
				want.Errors++
			}
			if x.duration >= 0 {
				durations = append(durations, x.duration)
			}
		}
		span := max(float64(end-max(first*second, t0))/second, 1)
		got := w.Rates(end)
		if math.Abs(got.Requests-want.Requests/span) > 1e-6 || math.Abs(got.Errors-want.Errors/span) > 1e-6 || w.Late != late {
			t.Fatalf("%d s: %+v, %d late; want %g, %g, %d", n, got, w.Late, want.Requests/span, want.Errors/span, late)
		}
		if len(durations) == 0 {
			continue
		}
		slices.Sort(durations)
		rank := min(max(int(0.5*float64(len(durations))+0.5), 1), len(durations))
		if !near(got.P50, durations[rank-1]) {
			t.Fatalf("%d s: p50 %d, want %d", n, got.P50, durations[rank-1])
		}
	}
}

func TestWindowDoesNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	w := NewWindow(3, t0)
	at := t0
	step := func() {
		for range 5000 {
			at += second / 1000
			w.Add(at, r.Int64N(1e7), false)
		}
		w.Rates(at)
	}
	for range 20 {
		step()
	}
	if n := testing.AllocsPerRun(10, step); n > 1 {
		t.Errorf("%v allocations for 5,000 requests", n)
	}
}

func BenchmarkWindowAdd(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	values := make([]int64, 4096)
	for i := range values {
		values[i] = shapes["latency"](r)
	}
	w := NewWindow(10, t0)
	at := t0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at += 20_000
		w.Add(at, values[i%len(values)], false)
	}
}

func BenchmarkWindowRates(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	w := NewWindow(10, t0)
	for i := range int64(100_000) {
		w.Add(t0+i*second/10_000, shapes["latency"](r), false)
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Rates(t0 + 10*second)
	}
}
