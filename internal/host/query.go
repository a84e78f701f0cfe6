package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"sync"
)

const (
	// maxFiles is how many files a question reads, the newest: 8 days, in some 2 s of a processor.
	maxFiles = 8 * 24
	// maxEntries is how many buckets of processes an answer holds while it is made, some 40 bytes each. Beyond that, those that
	// used least until then are left out.
	maxEntries = 1 << 20
	// sameStart is how far two starts of one process may be apart, in nanoseconds: the time at which the machine was started, which
	// they count from, moves a little when the clock is set.
	sameStart = 2e9
)

// Query asks for curves.
type Query struct {
	// Start is that of the first bucket, Interval the width of each, in nanoseconds; Buckets is how many there are.
	Start, Interval int64
	Buckets         int
}

// Answer are curves: a number for each bucket, NaN where nothing is known.
type Answer struct {
	// From is when what was looked at begins, in nanoseconds since 1970: what is older was too much. 0: all was.
	From int64
	// Samples are those that it is made of. Damaged are files that couldn't be read. Pruned: of very many processes, some that
	// used little may be missing.
	Samples, Damaged int
	Pruned           bool
	// Processors and MemoryTotal, in bytes, are as of the last sample; 0: not known.
	Processors  int
	MemoryTotal int64
	Curves      []Curve
	// Processes are those that used most of the processors, the busiest first, at most MaxProcesses.
	Processes []ProcessCurves
}

// Curve is one number over time. Curves of which nothing is known are left out.
type Curve struct {
	*Column
	// Mean and Peaks are of each bucket; Peaks the highest or lowest, as Column.Peak says.
	Mean, Peaks []float64
}

// ProcessCurves are what a process used over time.
type ProcessCurves struct {
	PID   int32
	Start int64
	Name  string
	// CPU is the mean of each bucket, over all of its samples, also those without the process; CPUPeaks the highest, in processors;
	// RSS the highest, in bytes.
	CPU, CPUPeaks, RSS []float64
}

// Query answers a question. With Options.Yield, that is done by a goroutine of its own, for which it waits.
func (s *Store) Query(ctx context.Context, q Query) (a *Answer, err error) {
	if s.o.Yield == nil {
		return s.query(ctx, q)
	}
	var work sync.WaitGroup
	work.Go(func() {
		s.o.Yield()
		a, err = s.query(ctx, q)
	})
	work.Wait()
	return a, err
}

func (s *Store) query(ctx context.Context, q Query) (*Answer, error) {
	d := newFold(q)
	s.mu.Lock()
	samples := s.samples[:len(s.samples):len(s.samples)]
	var files []stored
	for _, f := range s.files {
		if !s.isCurrent(f) && f.last >= q.Start && f.first-d.end <= int64(Every) {
			files = append(files, *f)
		}
	}
	s.mu.Unlock()

	if older := len(files) - maxFiles; older > 0 {
		files = files[older:]
		d.answer.From = files[0].first
	}
	for i := range files {
		f := &files[i]
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		switch err := s.fold(ctx, f, d); {
		case errors.Is(err, fs.ErrNotExist): // it was deleted meanwhile
		case errors.Is(err, errDamaged):
			d.answer.Damaged++
		case err != nil:
			return nil, fmt.Errorf("samples of the host: %w", err)
		}
	}
	d.samples(samples)
	return d.result(), nil
}

// fold adds a file to an answer.
func (s *Store) fold(ctx context.Context, f *stored, d *fold) error {
	if f.log {
		b, err := s.content(f.name(logPrefix))
		if err == nil {
			samples, _, _ := parseLog(b)
			d.samples(samples)
		}
		return err
	}
	err := s.withTable(f.name(machinePrefix), f.machine, maxSamples, d, func(t *table) error { return d.machine(ctx, t) })
	if e := s.withTable(f.name(processesPrefix), f.processes, maxProcessRows, d, d.processes); err == nil {
		err = e
	}
	return err
}

// withTable opens a table, if it is there.
func (s *Store) withTable(name string, size int64, rows int, d *fold, read func(t *table) error) error {
	if size == 0 {
		return nil
	}
	f, err := s.fs.Open(s.path(name))
	if err != nil {
		return err
	}
	defer f.Close()
	if size, err = f.Size(); err != nil {
		return err
	}
	if size > maxTable {
		return fmt.Errorf("%w: it has %d bytes", errDamaged, size)
	}
	t, err := openTable(f, size, rows, &d.room)
	if err != nil {
		return err
	}
	return read(t)
}

// fold makes an answer of samples.
type fold struct {
	q   Query
	end int64 // of the last bucket
	// narrow: a sample covers several buckets.
	narrow  bool
	answer  Answer
	latest  [columns]float64
	at      int64   // of latest
	counts  []int32 // of samples, by bucket
	columns [columns]buckets
	byPID   map[int32][]*process
	entries int
	room    room
}

// buckets sum up a column.
type buckets struct {
	sum   []float64
	n     []int32
	peaks []float64
}

// process sums up a process.
type process struct {
	Process
	used    float64
	buckets []processBucket // by index, where it was there
}

type processBucket struct {
	index          int32
	sum, peak, rss float64
}

func newFold(q Query) *fold {
	d := &fold{q: q, narrow: q.Interval < int64(Every), at: math.MinInt64, counts: make([]int32, q.Buckets), byPID: map[int32][]*process{}}
	d.end = math.MaxInt64
	if q.Interval <= (math.MaxInt64-q.Start)/int64(max(q.Buckets, 1)) {
		d.end = q.Start + q.Interval*int64(q.Buckets)
	}
	return d
}

// span returns the buckets that a sample of that time counts for, from the first to before the last: the one in which it ended,
// and all that it covers where buckets are narrower than samples.
func (d *fold) span(t int64) (from, to int) {
	if t < d.q.Start {
		return 0, 0
	}
	index := func(t int64) int64 { return max(t-d.q.Start, 0) / d.q.Interval }
	last := index(t)
	first := last
	if d.narrow {
		first = index(t - int64(Every) + 1)
	}
	n := int64(d.q.Buckets)
	return int(min(first, n)), int(min(last+1, n))
}

// samples adds samples.
func (d *fold) samples(all []Sample) {
	for i := range all {
		s := &all[i]
		from, to := d.span(s.Time)
		d.count(s.Time, from, to)
		for c := range s.Values {
			d.value(c, s.Time, from, to, s.Values[c])
		}
		for j := range s.Processes {
			d.process(from, to, &s.Processes[j])
		}
	}
}

// machine adds a table.
func (d *fold) machine(ctx context.Context, t *table) (err error) {
	if t.times, err = t.whole(timeField, t.times); err != nil {
		return err
	}
	for c := range Columns {
		if err := ctx.Err(); err != nil {
			return err
		}
		if t.numbers[c], err = t.floats(Columns[c].Field, t.numbers[c]); err != nil {
			return err
		}
	}
	for i, at := range t.times {
		from, to := d.span(at)
		d.count(at, from, to)
		for c := range t.numbers {
			d.value(c, at, from, to, t.numbers[c][i])
		}
	}
	return nil
}

func (d *fold) count(at int64, from, to int) {
	if from == to {
		return
	}
	d.answer.Samples++
	for b := from; b < to; b++ {
		d.counts[b]++
	}
	d.at = max(d.at, at)
}

// value adds a value of a column, after count.
func (d *fold) value(column int, at int64, from, to int, v float64) {
	if from == to || math.IsNaN(v) {
		return
	}
	if at == d.at {
		d.latest[column] = v
	}
	if Columns[column].Peak == Constant {
		return
	}
	c := &d.columns[column]
	if c.sum == nil {
		c.sum, c.n, c.peaks = make([]float64, d.q.Buckets), make([]int32, d.q.Buckets), make([]float64, d.q.Buckets)
	}
	for b := from; b < to; b++ {
		c.sum[b] += v
		if c.n[b] == 0 || v > c.peaks[b] == (Columns[column].Peak == Highest) {
			c.peaks[b] = v
		}
		c.n[b]++
	}
}

// processes adds a table.
func (d *fold) processes(t *table) (err error) {
	if t.times, err = t.whole(timeField, t.times); err != nil {
		return err
	}
	if t.pids, err = t.whole("process.pid", t.pids); err != nil {
		return err
	}
	if t.starts, err = t.whole("process.start", t.starts); err != nil {
		return err
	}
	if t.names, err = t.strings("process.name", t.names); err != nil {
		return err
	}
	cpus, memory := &t.numbers[0], &t.numbers[1]
	if *cpus, err = t.floats("system.process.cpu.total.pct", *cpus); err != nil {
		return err
	}
	if *memory, err = t.floats("system.process.memory.rss.bytes", *memory); err != nil {
		return err
	}
	for i := range t.times {
		from, to := d.span(t.times[i])
		d.process(from, to, &Process{PID: int32(t.pids[i]), Start: t.starts[i], Name: t.names[i], CPU: (*cpus)[i], RSS: int64((*memory)[i])})
	}
	return nil
}

// process adds what a process used.
func (d *fold) process(from, to int, p *Process) {
	if from == to || math.IsNaN(p.CPU) {
		return
	}
	x := d.find(p)
	x.used += p.CPU
	for i := from; i < to; i++ {
		at, found := len(x.buckets)-1, false
		if at >= 0 && x.buckets[at].index == int32(i) {
			found = true
		} else if at++; at > 0 && x.buckets[at-1].index > int32(i) {
			at, found = slices.BinarySearchFunc(x.buckets, int32(i), func(b processBucket, i int32) int { return cmp.Compare(b.index, i) })
		}
		if !found {
			x.buckets = slices.Insert(x.buckets, at, processBucket{index: int32(i)})
			d.entries++
		}
		b := &x.buckets[at]
		b.sum += p.CPU
		b.peak = max(b.peak, p.CPU)
		b.rss = max(b.rss, float64(p.RSS))
	}
	if d.entries > maxEntries {
		d.prune()
	}
}

func (d *fold) find(p *Process) *process {
	for _, x := range d.byPID[p.PID] {
		if diff := x.Start - p.Start; -sameStart < diff && diff < sameStart {
			x.Name = p.Name // it may have run another program
			return x
		}
	}
	x := &process{Process: *p}
	d.byPID[p.PID] = append(d.byPID[p.PID], x)
	return x
}

// busiest returns the processes that used most.
func (d *fold) busiest(most int) []*process {
	var all []*process
	for _, some := range d.byPID {
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b *process) int {
		return cmp.Or(cmp.Compare(b.used, a.used), cmp.Compare(a.PID, b.PID), cmp.Compare(a.Start, b.Start))
	})
	return all[:min(len(all), most)]
}

// prune leaves out the processes that used least.
func (d *fold) prune() {
	kept := d.busiest(4 * MaxProcesses)
	clear(d.byPID)
	d.entries = 0
	for _, x := range kept {
		d.byPID[x.PID] = append(d.byPID[x.PID], x)
		d.entries += len(x.buckets)
	}
	d.answer.Pruned = true
}

func (d *fold) result() *Answer {
	a := &d.answer
	a.Processors, a.MemoryTotal = int(d.latest[Processors]), int64(d.latest[MemoryTotal])
	for i := range d.columns {
		c := &d.columns[i]
		if c.sum == nil {
			continue
		}
		for b := range c.sum {
			if c.n[b] == 0 {
				c.sum[b], c.peaks[b] = math.NaN(), math.NaN()
				continue
			}
			c.sum[b] /= float64(c.n[b])
		}
		a.Curves = append(a.Curves, Curve{&Columns[i], c.sum, c.peaks})
	}
	for _, x := range d.busiest(MaxProcesses) {
		p := ProcessCurves{PID: x.PID, Start: x.Start, Name: x.Name}
		p.CPU, p.CPUPeaks, p.RSS = blank(d.q.Buckets), blank(d.q.Buckets), blank(d.q.Buckets)
		for _, b := range x.buckets {
			p.CPU[b.index], p.CPUPeaks[b.index], p.RSS[b.index] = b.sum/float64(max(d.counts[b.index], 1)), b.peak, b.rss
		}
		a.Processes = append(a.Processes, p)
	}
	return a
}

// blank returns numbers that aren't known.
func blank(n int) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = math.NaN()
	}
	return all
}
