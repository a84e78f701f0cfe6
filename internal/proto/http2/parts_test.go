package http2

import (
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

// The messages of gRPC are counted on both sides, on streams that are used again too, and trailers within a body are shown
// like others.
func TestParts(t *testing.T) {
	x := newWire(t, nil)
	message := func(flags byte, n int) []byte {
		return append([]byte{flags, 0, 0, 0, byte(n)}, make([]byte, n)...)
	}
	for id := uint32(1); id <= 5; id += 2 {
		x.head(0, id, false, ":method", "POST", ":scheme", "http", ":path", "/s/m", "content-type", "application/grpc")
		x.client().WriteData(id, false, append(message(0, 10), message(1, 7)[:6]...))
		x.client().WriteData(id, true, message(1, 7)[6:])
		x.pass(0)
		x.head(1, id, false, ":status", "200", "content-type", "application/grpc-web+proto")
		trailers := "grpc-status: 5\r\ngrpc-message: none\r\n"
		x.server().WriteData(id, true, append(message(0, 20), append([]byte{0x80, 0, 0, 0, byte(len(trailers))}, trailers...)...))
		x.pass(1)
		if m := x.w.ends[lane{0, uint64(id)}]; m.Parts != (proto.Parts{Count: 2, Compressed: 1, Bytes: 17, Largest: 10}) || m.Anomalies != 0 {
			t.Errorf("request: %+v", m.Parts)
		}
		if m := x.end(uint64(id)); m.Parts != (proto.Parts{Count: 1, Bytes: 20, Largest: 20}) || m.Anomalies != 0 {
			t.Errorf("response: %+v", m.Parts)
		}
		if got := x.w.fields[lane{1, uint64(id)}]; !slices.Contains(got, "grpc-status: 5") || !slices.Contains(got, "grpc-message: none") {
			t.Errorf("the response has %q", got)
		}
	}
	// A body that ends within a message is malformed; one with a content coding isn't looked into.
	for _, coding := range []string{"", "gzip"} {
		id := uint32(7 + 2*len(coding))
		x.head(0, id, false, ":method", "POST", ":scheme", "http", ":path", "/s/m", "content-type", "application/grpc", "content-encoding", coding)
		x.client().WriteData(id, true, message(0, 10)[:8])
		x.pass(0)
		if m := x.w.ends[lane{0, uint64(id)}]; m.Anomalies.Has(proto.BadMessageFraming) != (coding == "") {
			t.Errorf("coding %q: anomalies %b", coding, m.Anomalies)
		}
	}
	x.p.Close(0, x.at, proto.Finished)
	x.p.Close(1, x.at, proto.Finished)
	if x.held != 0 {
		t.Errorf("%d bytes are held at the end", x.held)
	}
	// Many events in one body are counted as they come.
	x = newWire(t, nil)
	x.ask(1)
	x.head(1, 1, false, ":status", "200", "content-type", "text/event-stream")
	x.server().WriteData(1, false, []byte(strings.Repeat("data: x\n\n", 10)))
	x.pass(1)
	if n := x.p.streams[1].half[1].m.Parts.Count; n != 10 {
		t.Errorf("%d events so far", n)
	}
}
