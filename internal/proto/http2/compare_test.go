package http2

import (
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/http1"
)

// BenchmarkSequential reads the exchanges of BenchmarkConcurrent over HTTP/1, to compare with.
func BenchmarkSequential(b *testing.B) {
	request := []byte("GET /articles/5/comments HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n" +
		"Accept-Language: en-GB\r\nCookie: session=0123456789abcdef\r\n\r\n")
	response := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\nServer: example\r\nDate: Tue, 17 Nov 2026 10:00:00 GMT\r\n\r\nhello world\n")
	held := 0
	p := http1.New(&proto.Context{Sink: new(nowhere), Limits: limits(), Held: &held})
	var at clock.Mark
	n := 0
	for b.Loop() {
		for range 100 {
			at.Time++
			p.Data(0, request, at)
			p.Data(1, response, at)
		}
		n += 100
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "exchanges/s")
}
