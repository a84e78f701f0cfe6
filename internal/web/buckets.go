package web

import (
	"context"
	"math"
	"time"

	"github.com/culprit-http/culprit/internal/store"
)

// steps are the widths of buckets that people can read off an axis, in nanoseconds; beyond are whole days.
var steps = func() (all []int64) {
	for _, unit := range []time.Duration{time.Microsecond, time.Millisecond} {
		for _, n := range []time.Duration{1, 2, 5, 10, 20, 50, 100, 200, 500} {
			all = append(all, int64(n*unit))
		}
	}
	for _, d := range []time.Duration{
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	} {
		all = append(all, int64(d))
	}
	return all
}()

// width returns the smallest step that makes at most so many buckets of a length of time, or one more where buckets
// begin before it.
func width(length int64, buckets int) int64 {
	least := (length-1)/int64(buckets) + 1
	for _, s := range steps {
		if s >= least {
			return s
		}
	}
	day := steps[len(steps)-1]
	days := (least-1)/day + 1
	return min(days, math.MaxInt64/day) * day
}

// span is a row of buckets of time.
type span struct {
	// start is that of the first bucket, aligned to 1970; interval the width of each: in nanoseconds.
	start, interval int64
	count           int
}

// index returns the number of the bucket that begins then, -1 if there is none.
func (s *span) index(start int64) int {
	i := (start - s.start) / s.interval
	if start < s.start || i >= int64(s.count) {
		return -1
	}
	return int(i)
}

// span bounds the scope on both sides, by what is stored where the question doesn't, and divides it into buckets.
func (s *Server) span(ctx context.Context, p *params, q *store.Scope) (span, error) {
	var b span
	if q.From == 0 || q.To == 0 {
		status, err := s.options.Store.Status(ctx)
		if err != nil {
			return b, err
		}
		if status.Exchanges == 0 {
			status.First, status.Last = 1, 1
		}
		if q.From == 0 {
			q.From = max(status.First, 1)
		}
		switch {
		case q.To != 0:
		case p.values.Get("last") != "":
			q.To = p.now.UnixNano()
		default:
			q.To = status.Last + 1
		}
		q.To = max(q.To, q.From+1)
	}
	buckets, err := p.number("buckets", DefaultBuckets, 1, MaxBuckets)
	if err != nil {
		return b, err
	}
	if b.interval, err = p.interval(); err != nil {
		return b, err
	}
	if b.interval == 0 {
		b.interval = width(q.To-q.From, buckets)
	} else if p.values.Get("buckets") != "" {
		return b, problems.parameter.about("interval", "doesn't go with buckets; say one or the other")
	}
	b.start = q.From - q.From%b.interval
	n := (q.To-1-b.start)/b.interval + 1
	if n > MaxBuckets+1 {
		return b, problems.parameter.about("interval", "makes %d buckets, and %d are allowed; make it longer, or ask about less time", n, MaxBuckets)
	}
	b.count = int(n)
	return b, nil
}

// interval gives the width of time buckets in nanoseconds, 0 when there is none.
func (p *params) interval() (int64, error) {
	s := p.values.Get("interval")
	if s == "" {
		return 0, nil
	}
	d, ok := duration(s)
	if !ok {
		return 0, problems.parameter.about("interval", "%s isn't a length of time, such as 10s, 1m or 1d", clip(s))
	}
	return d, nil
}
