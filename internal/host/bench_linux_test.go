package host

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/store/disk"
)

// day fills a store with a day of samples of a busy machine, with so many processes.
func day(b *testing.B, processes int) *Store {
	b.Helper()
	s := openAt(b, disk.OS(), b.TempDir(), Options{})
	dice := rand.New(rand.NewPCG(1, 2))
	part := func() float64 { return math.Round(dice.Float64()*1e4) / 1e4 }
	available := 8e9
	for n := range 86_400 {
		x := unknown(began.Add(time.Duration(n)*time.Second + time.Duration(dice.IntN(1e6))).UnixNano())
		for i := range x.Values {
			switch c := &Columns[i]; {
			case i == MemoryAvailable:
				available += math.Round(dice.Float64()*1e6-5e5) / 4096 * 4096
				x.Values[i] = available
			case i == MemoryTotal:
				x.Values[i] = 16e9
			case i == Processors:
				x.Values[i] = 8
			case c.Unit == BytesPerS:
				x.Values[i] = float64(dice.IntN(1e7))
			case c.Unit == PerSecond && i != ReceivedDropped && i != SentDropped:
				x.Values[i] = float64(dice.IntN(1e4))
			case i == CPUSteal, i == SwapUsed, i == ReceivedDropped, i == SentDropped, i == PressureMemory, i == PressureMemoryFull:
				x.Values[i] = 0
			default:
				x.Values[i] = part()
			}
		}
		for p := range processes {
			x.Processes = append(x.Processes, Process{int32(100 + p), 1e9, "nginx", math.Round(part()*100) / 100, int64(dice.IntN(1000)) * 4096})
		}
		if err := s.Append(&x); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// A question about a day in 1,000 buckets; cpu-ms/op is what it takes of the processors, bytes/sample what a sample takes in tables.
func BenchmarkQueryDay(b *testing.B) {
	for _, n := range []int{4, MaxProcesses} {
		b.Run(fmt.Sprintf("processes=%d", n), func(b *testing.B) {
			s := day(b, n)
			defer s.Close()
			before := used(b)
			for b.Loop() {
				if a := ask(b, s, Query{Start: began.UnixNano(), Interval: 86_400e9 / 1000, Buckets: 1000}); a.Samples < 86_000 {
					b.Fatal(a.Samples)
				}
			}
			b.ReportMetric(float64((used(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
			var machine, processes int64
			for _, f := range s.files {
				machine, processes = machine+f.machine, processes+f.processes
			}
			b.ReportMetric(float64(machine)/86_400, "machine-bytes/sample")
			b.ReportMetric(float64(processes)/86_400, "process-bytes/sample")
		})
	}
}

// used is what this process has used of the processors.
func used(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// One sample of this machine, with 16 processes, as far as the processor goes.
func BenchmarkSample(b *testing.B) {
	files, boot, err := Open("/proc", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer files.Close()
	at := time.Duration(0)
	seen := NewSeen(ReadProcess("/proc"), func() time.Duration { return at })
	o := NewOwners(boot, Ask(seen.Serve))
	read := ReadProcess("/proc")
	for pid := int32(1); len(o.followed) < MaxProcesses && pid < 1<<22; pid++ {
		if _, ok := read(pid); ok {
			own(o, seen, int(pid))
		}
	}
	if len(o.followed) < MaxProcesses {
		b.Skipf("it needs %d processes, and %d can be seen", MaxProcesses, len(o.followed))
	}
	s := openAt(b, disk.OS(), b.TempDir(), Options{})
	defer s.Close()
	sampler := NewSampler(files, nil, o)
	n := 0
	for b.Loop() {
		n++
		at += time.Second
		sampler.Sample(began.Add(time.Duration(n) * time.Second))
		x := busy(n)
		if err := s.Append(&x); err != nil {
			b.Fatal(err)
		}
	}
}
