package capture

import (
	"errors"
	"io"
	"os"
	"testing"
)

// BenchmarkNext reads the capture that CULPRIT_BENCH_PCAP names to its end.
func BenchmarkNext(b *testing.B) {
	path := os.Getenv("CULPRIT_BENCH_PCAP")
	if path == "" {
		b.Skip("CULPRIT_BENCH_PCAP names no capture file")
	}
	packets, bytes := 0, 0
	for b.Loop() {
		s, err := Open([]Input{{Path: path}}, Options{})
		if err != nil {
			b.Fatal(err)
		}
		var r Record
		for err = s.Next(&r); err == nil; err = s.Next(&r) {
			packets++
			bytes += len(r.Data)
		}
		if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
		s.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
	b.ReportMetric(float64(bytes)/1e6/b.Elapsed().Seconds(), "MB/s")
}
