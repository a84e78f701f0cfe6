package host

import (
	"errors"
	"io"
	"math"
	"slices"
	"time"
)

const (
	// MaxFile is how much is read of a file in /proc, in bytes: that of a machine with a thousand processors has half of it.
	MaxFile = 256 << 10
	// minElapsed is the least time between two samples: over less, ticks are too coarse. After more than maxElapsed, the machine
	// or this program slept, and what happened meanwhile belongs to no second.
	minElapsed = Every / 2
	maxElapsed = 10 * Every
)

// Files are the files that a Sampler reads again and again, from their beginning. Those that the system hasn't got are nil.
type Files struct {
	Stat, Memory, Load, Network, PressureCPU, PressureMemory, PressureIO io.ReaderAt
	// Missing says what can't be measured for want of a file, for people.
	Missing []string

	closers []io.Closer
}

// Close closes the files.
func (f *Files) Close() error {
	var errs []error
	for _, c := range f.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Sampler measures the machine. Sample is called from one goroutine.
type Sampler struct {
	files      *Files
	interfaces []string
	owners     *Owners
	buf        []byte

	at   time.Time // of last; zero: there is none
	last counters
}

// counters are what the kernel counts up.
type counters struct {
	cpu        [cpuTimes]uint64
	processors int
	pressure   [columns]uint64 // by column, in microseconds
	pressed    [columns]bool   // those that are there
	network    map[string]traffic
}

// NewSampler returns a Sampler. The network is that of the interfaces, summed up; of all but the loopback when there are none,
// or "any" is among them. owners may be nil: then there are no processes.
func NewSampler(files *Files, interfaces []string, owners *Owners) *Sampler {
	if slices.Contains(interfaces, "any") {
		interfaces = nil
	}
	return &Sampler{files: files, interfaces: interfaces, owners: owners, buf: make([]byte, MaxFile)}
}

// Interfaces are those whose traffic is measured, nil for all but the loopback.
func (s *Sampler) Interfaces() []string { return s.interfaces }

// Sample measures what happened since it was called last. It returns false when that is nothing to tell: the first time, too
// soon, or after a long pause. now needs its monotonic part: the wall clock may jump.
func (s *Sampler) Sample(now time.Time) (Sample, bool) {
	elapsed := now.Sub(s.at)
	if !s.at.IsZero() && elapsed < minElapsed {
		return Sample{}, false
	}
	c, sample := s.read(now.UnixNano())
	before := s.last
	first := s.at.IsZero() || elapsed > maxElapsed
	s.at, s.last = now, c
	if s.owners != nil {
		sample.Processes = s.owners.sample()
	}
	if first {
		return Sample{}, false
	}
	c.compare(&before, &sample, elapsed.Seconds())
	return sample, true
}

// read reads all files.
func (s *Sampler) read(at int64) (c counters, sample Sample) {
	sample = unknown(at)
	v := &sample.Values
	set := func(column int, value uint64, ok bool) {
		if ok {
			v[column] = float64(value)
		}
	}
	c.cpu, c.processors, _ = parseStat(s.content(s.files.Stat))
	set(Processors, uint64(c.processors), c.processors > 0)
	total, available, swap, ok := parseMeminfo(s.content(s.files.Memory))
	set(MemoryTotal, total, ok[0])
	set(MemoryAvailable, available, ok[1])
	set(SwapUsed, swap, ok[2])
	if load, ok := parseLoad(s.content(s.files.Load)); ok {
		v[Load] = load
	}
	c.pressure[PressureCPU], _, c.pressed[PressureCPU], _ = parsePressure(s.content(s.files.PressureCPU))
	c.pressure[PressureMemory], c.pressure[PressureMemoryFull], c.pressed[PressureMemory], c.pressed[PressureMemoryFull] =
		parsePressure(s.content(s.files.PressureMemory))
	c.pressure[PressureIO], c.pressure[PressureIOFull], c.pressed[PressureIO], c.pressed[PressureIOFull] =
		parsePressure(s.content(s.files.PressureIO))
	c.network = parseNetwork(s.content(s.files.Network), s.wanted)
	return c, sample
}

func (s *Sampler) wanted(name string) bool {
	if s.interfaces == nil {
		return name != "lo"
	}
	return slices.Contains(s.interfaces, name)
}

// content reads a file, nothing when it isn't there or can't be read.
func (s *Sampler) content(f io.ReaderAt) []byte {
	if f == nil {
		return nil
	}
	n, err := f.ReadAt(s.buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	return s.buf[:n]
}

// compare fills in what follows from two readings, so many seconds apart.
func (c *counters) compare(before *counters, sample *Sample, elapsed float64) {
	v := &sample.Values
	var spent [cpuTimes]float64
	total := 0.0
	for i := range spent {
		spent[i] = float64(since(before.cpu[i], c.cpu[i]))
		total += spent[i]
	}
	if total > 0 {
		user, system := spent[timeUser]+spent[timeNice], spent[timeSystem]+spent[timeIRQ]+spent[timeSoftIRQ]
		v[CPUUser], v[CPUSystem], v[CPUIOWait], v[CPUSteal] = user/total, system/total, spent[timeIOWait]/total, spent[timeSteal]/total
		v[CPUBusy] = (user + system + spent[timeSteal]) / total
	}
	for i := range c.pressure {
		if c.pressed[i] && before.pressed[i] {
			v[i] = min(float64(since(before.pressure[i], c.pressure[i]))/1e6/elapsed, 1)
		}
	}
	for name, now := range c.network {
		was, ok := before.network[name]
		if !ok {
			continue
		}
		for _, n := range [...]struct {
			column      int
			before, now uint64
		}{
			{ReceivedBytes, was.inBytes, now.inBytes}, {SentBytes, was.outBytes, now.outBytes},
			{ReceivedPackets, was.inPackets, now.inPackets}, {SentPackets, was.outPackets, now.outPackets},
			{ReceivedDropped, was.inDropped, now.inDropped}, {SentDropped, was.outDropped, now.outDropped},
		} {
			if math.IsNaN(v[n.column]) {
				v[n.column] = 0
			}
			v[n.column] += float64(since(n.before, n.now)) / elapsed
		}
	}
	for i := range v {
		v[i] = rounded(v[i], Columns[i].Whole)
	}
}

// rounded leaves as many digits as mean something: files are smaller so.
func rounded(v float64, whole bool) float64 {
	if whole {
		return math.Round(v)
	}
	return math.Round(v*1e4) / 1e4
}
