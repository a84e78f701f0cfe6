package cgi

import (
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/framed"
)

// Body counts the bytes of one body, and hands out those that are wanted. It may be used again.
type Body struct {
	// parts counts the messages within the body (event streams, gRPC-Web), valid iff counting; held of their bytes count as held.
	parts    *framed.Counter
	counting bool
	held     int
}

// Begin begins the body of m, whose head is known.
func (b *Body) Begin(m *proto.Message) {
	b.counting = false
	mediaType := m.Field("content-type")
	if m.Framing == proto.NoBody || len(mediaType) == 0 {
		return
	}
	if coding := m.Field("content-encoding"); len(coding) > 0 && !proto.EqualFold(coding, "identity") {
		return
	}
	if b.parts == nil {
		b.parts = framed.New(mediaType)
		b.counting = b.parts != nil
	} else {
		b.counting = b.parts.Reset(mediaType)
	}
}

// Add takes bytes of the body.
func (b *Body) Add(m *proto.Message, p []byte, sink proto.Sink, held *int) {
	m.BodyBytes += int64(len(p))
	if b.counting {
		b.parts.Write(p)
		b.recount(m, held)
	}
	if want := sink.WantsBody(m); want > 0 {
		sink.Body(m, p[:min(want, len(p))])
	}
}

// Miss notes n bytes of the body that weren't captured.
func (b *Body) Miss(m *proto.Message, n int64, held *int) {
	m.BodyBytes += n
	m.MissingBytes += n
	if b.counting {
		b.parts.Gap(n)
		b.recount(m, held)
	}
}

func (b *Body) recount(m *proto.Message, held *int) {
	m.Parts = b.parts.Parts()
	n := b.parts.Held()
	*held += n - b.held
	b.held = n
}

// End ends the body; whole: all of it came.
func (b *Body) End(m *proto.Message, whole bool, held *int) {
	if !b.counting {
		return
	}
	b.counting = false
	if whole {
		b.parts.Close()
	}
	if m.Parts = b.parts.Parts(); b.parts.Bad() {
		m.Anomalies.Set(proto.BadMessageFraming)
	}
	*held -= b.held
	b.held = 0
}
