package measure

// Limits of a window, in seconds.
const (
	// MaxWindow is the longest window.
	MaxWindow = 300
	// maxStep is how far time may go back before it counts as a clock that was set: the window then begins anew.
	maxStep = 3600
)

const second = 1e9

// Window tells rates and percentiles of the last seconds of capture time. It keeps a bucket for each second,
// and no more of them than it is long. It isn't safe for concurrent use.
type Window struct {
	// Late counts requests that ended before the window, and so are in no rate.
	Late uint64

	start   int64 // when the watching began, in nanoseconds
	newest  int64 // the latest second that anything ended in
	buckets []bucket
	sum     DDSketch
}

// bucket holds what ended in one second.
type bucket struct {
	second           int64
	requests, errors uint64
	durations        DDSketch
}

// Rates are what a window tells.
type Rates struct {
	// Requests and Errors are counts a second.
	Requests, Errors float64
	// P50 and P99 are percentiles of the durations in nanoseconds, -1 when no duration is known.
	P50, P99 int64
}

// NewWindow returns a window of some seconds, from 1 to MaxWindow. start is the capture time at which the
// watching begins, in nanoseconds since 1970: before it there was nothing to be counted.
func NewWindow(seconds int, start int64) *Window {
	w := &Window{start: start, buckets: make([]bucket, min(max(seconds, 1), MaxWindow))}
	w.restart(floor(start))
	return w
}

// restart forgets everything.
func (w *Window) restart(second int64) {
	w.newest = second
	for i := range w.buckets {
		b := &w.buckets[i]
		b.clear(second - 1 - int64(len(w.buckets)))
	}
}

func (b *bucket) clear(second int64) {
	b.second, b.requests, b.errors = second, 0, 0
	b.durations.Reset()
}

// Add counts a request that ended at a capture time, in nanoseconds since 1970. Its duration, in nanoseconds,
// is negative when it says nothing of the server's speed, as for event streams: it then counts as a request
// only. failed is what the caller calls an error. Requests may come in any order within the window.
func (w *Window) Add(at, duration int64, failed bool) {
	s := floor(at)
	switch {
	case s <= w.newest-maxStep:
		w.start = at
		w.restart(s)
	case s <= w.newest-int64(len(w.buckets)):
		w.Late++
		return
	}
	w.newest = max(w.newest, s)
	b := w.bucket(s)
	if b.second != s {
		b.clear(s)
	}
	b.requests++
	if failed {
		b.errors++
	}
	b.durations.Add(duration)
}

// bucket returns the bucket that a second has for its own while it is in the window.
func (w *Window) bucket(second int64) *bucket {
	n := int64(len(w.buckets))
	return &w.buckets[(second%n+n)%n]
}

// Rates returns what happened in the window that ends at a capture time, in nanoseconds since 1970: the second
// of that time so far, and the whole seconds before it. Where the watching began within the window, rates are
// for the time since then, and for a second at least.
func (w *Window) Rates(now int64) Rates {
	last := max(floor(now), w.newest)
	first := last - int64(len(w.buckets)) + 1
	var requests, errors uint64
	w.sum.Reset()
	for i := range w.buckets {
		if b := &w.buckets[i]; first <= b.second && b.second <= last {
			requests += b.requests
			errors += b.errors
			w.sum.join(&b.durations)
		}
	}
	begin, end := max(float64(w.start), float64(first)*second), max(float64(now), float64(last)*second)
	span := max((end-begin)/second, 1)
	r := Rates{Requests: float64(requests) / span, Errors: float64(errors) / span, P50: -1, P99: -1}
	if p50, ok := w.sum.Quantile(0.50); ok {
		r.P50 = p50
		r.P99, _ = w.sum.Quantile(0.99)
	}
	return r
}

// floor returns the second that a time in nanoseconds is in.
func floor(ns int64) int64 {
	s := ns / second
	if ns%second < 0 {
		s--
	}
	return s
}
