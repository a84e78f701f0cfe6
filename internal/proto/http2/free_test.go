package http2

import (
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

// Streams that are over are kept for the next ones, up to a limit, and count as held until the connection ends.
func TestFreeStreams(t *testing.T) {
	const many = 3 * maxFree
	x := newWire(t, &proto.Limits{MaxHead: 8 << 10, MaxFields: 100, MaxStreams: many})
	before := x.held
	for round := range uint32(2) {
		for i := range uint32(many) {
			x.ask(2*(round*many+i) + 1)
		}
		for i := range uint32(many) {
			x.head(1, 2*(round*many+i)+1, true, ":status", "200")
		}
		x.pass(1)
		if len(x.p.streams) != 0 || len(x.p.free) != maxFree || x.held-before != maxFree*streamCost {
			t.Errorf("%d streams and %d free ones, %d bytes held, want %d", len(x.p.streams), len(x.p.free), x.held-before, maxFree*streamCost)
		}
	}
	finish(t, x.p, &x.held)
	if len(x.p.free) != keepStreams {
		t.Errorf("%d streams are kept for the next connection", len(x.p.free))
	}
	for _, st := range x.p.free[:maxFree][keepStreams:] {
		if st != nil {
			t.Fatal("a stream lives as long as the list that it was in")
		}
	}
}
