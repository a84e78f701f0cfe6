package packets

import (
	"fmt"
	"io"
	"os"
	"testing"
)

// nowhere is a file that forgets.
type nowhere struct{ *os.File }

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

// unwritten is a ring whose buffers nobody writes, to measure what a packet costs the one who brings it.
func unwritten() (*Ring, func()) {
	o := testOptions()
	o.Burst = 0
	o.fill()
	r := &Ring{options: o}
	r.work.L, r.space.L = &r.mu, &r.mu
	return r, func() {
		for _, b := range r.queue {
			r.release(b)
		}
		r.queue = r.queue[:0]
	}
}

func BenchmarkKeeper(b *testing.B) {
	for _, size := range []int{60, 500, 1514} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r, forget := unwritten()
			l, k := newLoad(5000, size), r.Keeper(eth0, true)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				l.give(k)
				forget()
			}
		})
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	r, forget := unwritten()
	l, k := newLoad(50, 500), r.Keeper(eth0, true)
	step := func() {
		for range 1000 {
			l.give(k)
			forget()
		}
	}
	step()
	if n := testing.AllocsPerRun(10, step); n > 0 {
		t.Errorf("%v allocations for 1000 packets", n)
	}
	if c := r.Counters(); c.Dropped > 0 || c.Cut > 0 {
		t.Errorf("%+v", c)
	}
}

func BenchmarkPacket(b *testing.B) {
	for _, disk := range []bool{false, true} {
		for _, size := range []int{60, 500, 1514} {
			b.Run(fmt.Sprintf("disk=%v/%d", disk, size), func(b *testing.B) {
				o := testOptions()
				o.Limit = 1 << 30
				dir := b.TempDir()
				r := openRing(b, dir, o)
				if !disk {
					r = onDisk(b, dir, o, func(f *os.File) appended { return nowhere{f} })
				}
				l, k := newLoad(5000, size), r.Keeper(eth0, false)
				for range 100_000 {
					l.give(k)
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					l.give(k)
				}
				r.sync()
				b.StopTimer()
				closeRing(b, r)
				if c := r.Counters(); disk {
					b.ReportMetric(float64(c.Bytes)/float64(c.Written-c.Deleted), "B/packet")
				}
			})
		}
	}
}

// BenchmarkIndex: making the index of a file of 320,000 packets, connections of 10 each.
func BenchmarkIndex(b *testing.B) {
	var all []entry
	s := summary{}
	for i := range 320_000 {
		flow := i/1000*100 + i%100
		e := entry{hash: mix(1, uint64(flow)), time: 1e18 + int64(i)*31_000, at: uint32(i * 137)}
		s.note(e.time)
		all = append(all, e)
	}
	s.length = 320_000 * 137 * 4
	n := 0
	for b.Loop() {
		n = len(encodeIndex(s, nil, append([]entry(nil), all...)))
	}
	b.ReportMetric(float64(n)/float64(len(all)), "B/packet")
}

// BenchmarkWrite: the packets of one exchange, out of 64 files of 16 MiB.
func BenchmarkWrite(b *testing.B) {
	o := testOptions()
	o.Limit = 1 << 30
	dir := b.TempDir()
	r := openRing(b, dir, o)
	l, k := newLoad(5000, 500), r.Keeper(eth0, false)
	for range 1_500_000 {
		l.give(k)
	}
	closeRing(b, r)
	b.Logf("%+v", r.Counters())
	f := Folder{Dir: dir}
	for b.Loop() {
		if n, err := f.Write(io.Discard, l.query(0, 1_400_001, 1_405_001)); err != nil || n.Packets < 2 {
			b.Fatalf("%+v, %v", n, err)
		}
	}
}
