//go:build linux

package elastic_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/ship"
	"github.com/culprit-http/culprit/internal/store/storetest"
)

// processorTime is how long the program has kept processors busy.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The throughput of the encoding, the compression and the client, to a receiver that reads and forgets, per second of a
// processor: what else runs on the machine doesn't count, but the receiver's part does.
func BenchmarkSend(b *testing.B) {
	const batch = 1000
	var answer bytes.Buffer
	answer.WriteString(`{"errors":false,"items":[`)
	for i := range batch {
		if i > 0 {
			answer.WriteByte(',')
		}
		answer.WriteString(`{"create":{"status":201}}`)
	}
	answer.WriteString("]}")
	var wire atomic.Int64
	o := receiver(b, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		wire.Add(n)
		w.Header().Set("Content-Length", strconv.Itoa(answer.Len()))
		w.Write(answer.Bytes())
	})
	// Bodies are seldom kept; exchanges with some would make the documents larger than they are.
	var all []ship.Event
	size := 0
	for _, e := range events(storetest.Exchanges(1, 2*batch)) {
		if len(e.Body) < 3000 && len(all) < batch {
			all = append(all, e)
			size += len(e.Body)
		}
	}
	if len(all) < batch {
		b.Fatalf("only %d exchanges without bodies", len(all))
	}
	for _, plain := range []bool{false, true} {
		b.Run(map[bool]string{false: "gzip", true: "plain"}[plain], func(b *testing.B) {
			o.Cluster.NoCompression = plain
			s := newOutput(b, o).Sender()
			b.ReportAllocs()
			wire.Store(0)
			before := processorTime(b)
			for b.Loop() {
				if r, err := s.Send(context.Background(), all); err != nil || len(r.Retry) > 0 {
					b.Fatal(r, err)
				}
			}
			b.ReportMetric(float64(batch*b.N)/(processorTime(b)-before).Seconds(), "documents/core-s")
			b.ReportMetric(float64(size)/batch, "B/document")
			b.ReportMetric(float64(wire.Load())/float64(batch*b.N), "wire-B/document")
		})
	}
}
