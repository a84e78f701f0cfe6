package spool

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// documents returns a frame of about that many bytes with documents of 1.5 KB like those of exchanges, and how many.
func documents(r *rand.Rand, size int) (frame []byte, events int) {
	agents := []string{"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "curl/8.5.0", "Go-http-client/2.0",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36"}
	for len(frame) < size {
		d := fmt.Sprintf(`{"@timestamp":"2026-11-22T%02d:%02d:%02d.%09dZ","event":{"id":"%016x%016x","kind":"event","category":["network","web"],"duration":%d},`+
			`"network":{"community_id":"1:%016x=","protocol":"http","transport":"tcp","bytes":%d},"client":{"ip":"10.%d.%d.%d","port":%d},"server":{"ip":"10.0.0.%d","port":443},`+
			`"url":{"domain":"shop%d.example","path":"/api/v1/orders/%d","query":"page=%d"},"user_agent":{"original":"%s"},"http":{"request":{"method":"GET","headers":{"accept":["*/*"],"x-request-id":["%016x%016x"]}},"response":{"status_code":%d,"body":{"bytes":%d}}},`,
			r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1e9), r.Uint64(), r.Uint64(), r.IntN(1e9), r.Uint64(), r.IntN(1e6), r.IntN(4), r.IntN(256), r.IntN(256), r.IntN(60000), r.IntN(9),
			r.IntN(20), r.IntN(1e6), r.IntN(50), agents[r.IntN(len(agents))], r.Uint64(), r.Uint64(), 200+r.IntN(3), r.IntN(100000))
		frame = append(frame, d...)
		for i := range 10 {
			frame = fmt.Appendf(frame, `"culprit":{"timing":{"phase_%d":%d,"wait_of_the_server":%d,"transfer":%d}},`, i, r.IntN(1e8), r.IntN(1e8), r.IntN(1e8))
		}
		frame = append(frame, "\"end\":true}\n"...)
		events++
	}
	return frame, events
}

// processor returns the time that all processors have spent on this process.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSpool: what an event of 1.5 KB costs on its way through the spool, in frames of 256 KiB. With a receiver that
// is gone, events are only appended; one that lives takes them at once; a backlog is read from disk.
func BenchmarkSpool(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	var frames [][]byte
	var counts []int
	for range 16 {
		f, n := documents(r, 256<<10)
		frames, counts = append(frames, f), append(counts, n)
	}
	open := func(b *testing.B) *Spool {
		s, err := Open(b.TempDir(), Options{MaxBytes: 4 << 30})
		must(b, err)
		return s
	}
	report := func(b *testing.B, events int, from time.Duration) {
		b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
		b.ReportMetric(float64((processor()-from).Nanoseconds())/float64(events), "cpu-ns/event")
	}
	b.Run("gone", func(b *testing.B) {
		s := open(b)
		events, from := 0, processor()
		for i := 0; b.Loop(); i++ {
			must(b, s.Append(frames[i%16], counts[i%16]))
			events += counts[i%16]
		}
		report(b, events, from)
		b.ReportMetric(float64(s.Stats().Bytes)/float64(s.Stats().Waiting), "disk-B/event")
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MiB")
		must(b, s.Close())
	})
	b.Run("lives", func(b *testing.B) {
		s := open(b)
		events, from := 0, processor()
		for i := 0; b.Loop(); i++ {
			must(b, s.Append(frames[i%16], counts[i%16]))
			c, err := s.Next(context.Background(), 1<<20)
			must(b, err)
			s.Done(c)
			events += c.Events
		}
		report(b, events, from)
		must(b, s.Close())
	})
	b.Run("backlog", func(b *testing.B) {
		s := open(b)
		for i := range b.N {
			must(b, s.Append(frames[i%16], counts[i%16]))
		}
		must(b, s.Sync())
		s.CloseAppend()
		events, from := 0, processor()
		b.ResetTimer()
		for {
			c, err := s.Next(context.Background(), 1<<20)
			if err == io.EOF {
				break
			}
			must(b, err)
			if !bytes.HasPrefix(c.Frames[0], []byte(`{"@timestamp"`)) {
				b.Fatal("it isn't what was appended")
			}
			s.Done(c)
			events += c.Events
		}
		report(b, events, from)
		must(b, s.Close())
	})
}
