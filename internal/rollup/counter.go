package rollup

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Defaults of Options.
const (
	DefaultMaxSeries = 2000
	DefaultMaxMemory = 32 << 20
	DefaultGrace     = 10 * time.Second
)

// How many rows are handed out at once, so that the end of a minute holds nobody up: to encode thousands of them takes a tenth of
// a second.
const (
	rowsPerAdd  = 2
	rowsPerTick = 100
)

// What is charged to the memory of a Counter, beside the counters of histograms.
const (
	rowCharge    = 1 << 10 // the row, its place in the map and a key of ordinary length
	minuteCharge = 512
	bucketCharge = 8
)

// Options bound a Counter. Zero values mean the defaults.
type Options struct {
	// MaxSeries is how many series a minute may have. Exchanges of further ones count in one that stands for all others of
	// their service and status class.
	MaxSeries int
	// MaxMemory is how much memory rows may take that aren't over yet, in bytes. When they take more, those of the oldest minute
	// are handed out early; what else belongs to that minute is in later rows.
	MaxMemory int64
	// Grace is how long after the end of a minute its rows are handed out: most of what started in it has completed then.
	Grace time.Duration
}

// Counter makes rows of exchanges. It runs on capture time: the completions of exchanges move it on, and Tick when there
// are none. Calls come from one goroutine, but for those of Stats.
//
// What was counted is handed out to emit, within Add and Tick, some rows each time, and Flush: minute by minute, in the order of
// the series. A row is borrowed until emit returns. Where the input alone decides when Tick is called, it decides over the rows.
type Counter struct {
	o    Options
	emit func(*Row)

	// now is how far capture time has come; next is when the first of minutes is over.
	now, next int64
	minutes   map[int64]*minute
	// ready are the minutes whose rows are being handed out.
	ready []*minute
	// last is the minute of the exchange before, which mostly is that of the next, too.
	last   *minute
	memory int64
	key    []byte

	rows, others, early, held atomic.Int64
}

// minute are the rows of the exchanges that started in one minute.
type minute struct {
	start int64
	// due is when the rows are handed out: a while after the end of the minute, or, if that is over, of the minute in which
	// the first exchange was late.
	due    int64
	series map[string]*counted
	// keys are those of the rows that are yet to be handed out, in order, once it is over.
	keys []string
	// charged is what the minute takes of the memory.
	charged int64
}

// counted is a row that is being counted.
type counted struct {
	row Row
	// first is the id of the first exchange: no other row has it, so that it makes the row's id unique.
	first [exchange.IDSize]byte
}

// Stats are the counters of a Counter.
type Stats struct {
	// Rows were handed out.
	Rows int64
	// Others are the exchanges for whose series there was no room: they count in rows whose Series.Other is set.
	Others int64
	// Early are the minutes that were handed out early, for lack of memory.
	Early int64
	// Memory is what rows take that aren't over yet, in bytes.
	Memory int64
}

// New returns a Counter that hands its rows to emit.
func New(o Options, emit func(*Row)) *Counter {
	if o.MaxSeries <= 0 {
		o.MaxSeries = DefaultMaxSeries
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = DefaultMaxMemory
	}
	if o.Grace <= 0 {
		o.Grace = DefaultGrace
	}
	return &Counter{o: o, emit: emit, now: math.MinInt64, next: math.MaxInt64, minutes: map[int64]*minute{}}
}

// Stats returns the counters. It may be called from any goroutine.
func (c *Counter) Stats() Stats {
	return Stats{Rows: c.rows.Load(), Others: c.others.Load(), Early: c.early.Load(), Memory: c.held.Load()}
}

// Add counts an exchange, which is borrowed until return. The messages of a session aren't counted: the session is. Neither are
// flows, of which nothing is known but what was sent.
func (c *Counter) Add(x *exchange.Exchange) {
	c.advance(x.Completed.Time)
	c.handOut(rowsPerAdd)
	if x.Message != nil || x.Period != nil {
		return
	}
	m := c.minute(x.Start.Time)
	r := c.row(m, x)
	r.Count++
	if x.Outcome() == "failure" {
		r.Errors++
	}
	if x.HasRequest {
		r.RequestBytes += x.Request.Size
	}
	if x.HasResponse {
		r.ResponseBytes += x.Response.Size
	}
	if !x.Stream {
		before := cap(r.Duration.Counts) + cap(r.Wait.Counts)
		r.time(&x.Timing)
		if n := cap(r.Duration.Counts) + cap(r.Wait.Counts) - before; n > 0 {
			c.charge(m, int64(n)*bucketCharge)
		}
	}
	if c.memory > c.o.MaxMemory {
		c.relieve()
	}
}

// time counts the durations of an exchange, as far as they are known.
func (r *Row) time(t *exchange.Timing) {
	r.Wait.Add(t.Wait)
	d := t.Duration
	r.Duration.Add(d)
	for i := len(Bounds) - 1; i >= 0 && 0 <= d && d <= Bounds[i]; i-- {
		r.Within[i]++
	}
}

// Tick hands out rows of the minutes that are over at a time, in nanoseconds since 1970. Time doesn't go back: one before those
// that were seen is as good as the last of them.
func (c *Counter) Tick(now int64) {
	c.advance(now)
	c.handOut(rowsPerTick)
}

// Flush hands out all rows. Counting may go on behind it.
func (c *Counter) Flush() {
	c.close(func(*minute) bool { return true })
	c.handOut(math.MaxInt)
}

// advance moves capture time on.
func (c *Counter) advance(now int64) {
	if c.now = max(c.now, now); c.now >= c.next {
		c.close(func(m *minute) bool { return m.due <= c.now })
	}
}

// minute returns the minute in which a time lies.
func (c *Counter) minute(at int64) *minute {
	start := floor(at)
	if c.last != nil && c.last.start == start {
		return c.last
	}
	m := c.minutes[start]
	if m == nil {
		m = &minute{start: start, series: map[string]*counted{}}
		m.due = max(start, floor(c.now)) + Interval + int64(c.o.Grace)
		c.minutes[start] = m
		c.next = min(c.next, m.due)
		c.charge(m, minuteCharge)
	}
	c.last = m
	return m
}

// floor returns the begin of the minute of a time.
func floor(t int64) int64 {
	over := t % Interval
	if over < 0 {
		over += Interval
	}
	return t - over
}

// row returns the row that an exchange counts in.
func (c *Counter) row(m *minute, x *exchange.Exchange) *Row {
	s := partsOf(x)
	c.key = s.appendKey(c.key[:0])
	n := m.series[string(c.key)]
	if n == nil && len(m.series) >= c.o.MaxSeries {
		c.others.Add(1)
		s.domain, s.route, s.method, s.other = nil, "", nil, true
		c.key = s.appendKey(c.key[:0])
		n = m.series[string(c.key)]
	}
	if n == nil {
		n = &counted{row: Row{Start: m.start, Interval: Interval, Series: s.series()}, first: x.ID(x.Tap.Observer)}
		m.series[string(c.key)] = n
		c.charge(m, rowCharge+2*int64(len(c.key)))
	}
	return &n.row
}

// charge charges memory to a minute.
func (c *Counter) charge(m *minute, n int64) {
	m.charged += n
	c.memory += n
	c.held.Store(c.memory)
}

// relieve hands out what is over, and, if that isn't enough, the oldest minute that isn't.
func (c *Counter) relieve() {
	c.handOut(math.MaxInt)
	if c.memory <= c.o.MaxMemory {
		return
	}
	oldest := int64(math.MaxInt64)
	for start := range c.minutes {
		oldest = min(oldest, start)
	}
	c.early.Add(1)
	c.close(func(m *minute) bool { return m.start == oldest })
	c.handOut(math.MaxInt)
}

// close ends some minutes, the oldest first.
func (c *Counter) close(over func(*minute) bool) {
	known := len(c.ready)
	c.next, c.last = math.MaxInt64, nil
	for start, m := range c.minutes {
		if !over(m) {
			c.next = min(c.next, m.due)
			continue
		}
		delete(c.minutes, start)
		m.keys = slices.Sorted(maps.Keys(m.series))
		c.ready = append(c.ready, m)
	}
	slices.SortFunc(c.ready[known:], func(a, b *minute) int { return cmp.Compare(a.start, b.start) })
}

// handOut hands out rows that are ready, at most n.
func (c *Counter) handOut(n int) {
	for ; n > 0 && len(c.ready) > 0; n-- {
		m := c.ready[0]
		r := m.series[m.keys[0]]
		r.row.ID = r.id(m.keys[0])
		c.rows.Add(1)
		c.emit(&r.row)
		if m.keys = m.keys[1:]; len(m.keys) == 0 {
			c.ready = slices.Delete(c.ready, 0, 1)
			c.memory -= m.charged
			c.held.Store(c.memory)
		}
	}
}

// id makes the row's id: the time of its minute, and a hash of what it is of and what it holds. Rows of a minute and series
// differ in their first exchange; the same first exchange counted another way, by other options, makes another row.
func (n *counted) id(key string) (id [exchange.IDSize]byte) {
	r := &n.row
	b := append([]byte(key), n.first[:]...)
	for _, v := range []uint64{uint64(r.Start), uint64(r.Count), uint64(r.Errors), uint64(r.RequestBytes), uint64(r.ResponseBytes),
		r.Duration.Count, math.Float64bits(r.Duration.Sum), r.Wait.Count, math.Float64bits(r.Wait.Sum)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	sum := sha256.Sum256(b)
	binary.BigEndian.PutUint64(id[:8], uint64(max(r.Start, 0)/1e6)<<16)
	copy(id[6:], sum[:10])
	return id
}
