package otlp

import (
	"bytes"
	"encoding/hex"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// Flags of a span: the low eight bits are those of traceparent (W3C Trace Context §3.2.2.5 and level 2), the others
// OpenTelemetry's.
const (
	flagSampled = 0x01
	// flagRandom: the last seven bytes of the trace id are random.
	flagRandom = 0x02
	// flagRemoteKnown: flagRemote says whether the parent is in another process.
	flagRemoteKnown = 0x100
	flagRemote      = 0x200
)

// maxTraceState bounds the tracestate that is passed on, in bytes (W3C Trace Context §3.3.1.5); a longer one is left out.
const maxTraceState = 512

// traceContext says which trace a span belongs to.
type traceContext struct {
	trace [16]byte
	// parent is the span that sent the request; valid iff hasParent.
	parent    [8]byte
	hasParent bool
	flags     uint32
	// state is the tracestate of the request; it belongs to the encoder.
	state []byte
}

// spanID returns the id of an exchange's span: the first eight of the ten bytes of hash in the event's id, which depend on
// nothing but the exchange. It is as good as a random one.
func spanID(event [exchange.IDSize]byte) (id [8]byte) {
	if copy(id[:], event[6:14]); id == [8]byte{} {
		id[7] = 1 // zero isn't an id
	}
	return id
}

// contextOf reads the trace context of a request: traceparent and tracestate (W3C Trace Context), or else B3, in one header or
// several. Where it carries none, the exchange belongs to the trace of what caused it, and else is one of its own, with the event's id for
// its id: 48 bits of time and 80 of a hash, of which the last 56 are random enough for samplers.
func (e *Encoder) contextOf(x *exchange.Exchange, event [exchange.IDSize]byte) (c traceContext) {
	var text []byte
	if x.HasRequest {
		text = exchange.TraceID(&x.Request)
	}
	if text == nil {
		c.trace = event
		c.flags = flagSampled | flagRandom | flagRemoteKnown
		if x.Hop.Method > exchange.Root {
			c.trace = x.Hop.Trace
			c.below(x)
		}
		if c.trace == [16]byte{} {
			c.trace[15] = 1
		}
		return c
	}
	hex.Decode(c.trace[16-len(text)/2:], text) // 64 bits are padded with zeros on the left; TraceID has checked the digits
	c.flags = flagRemoteKnown | flagRemote
	m := &x.Request
	var parent []byte
	if w3c := m.Field("traceparent"); isPart(text, w3c, 3) {
		parent = w3c[36:]
		var flags [1]byte
		if _, err := hex.Decode(flags[:], w3c[53:55]); w3c[52] == '-' && err == nil {
			c.flags |= uint32(flags[0])
		}
		c.state = e.traceState(m)
	} else if b3 := m.Field("b3"); isPart(text, b3, 0) {
		if len(b3) > len(text) {
			parent = b3[len(text)+1:]
		}
		rest := parent[min(16, len(parent)):]
		if len(rest) >= 2 && rest[0] == '-' && (rest[1] == '1' || rest[1] == 'd') {
			c.flags |= flagSampled
		}
	} else {
		parent = m.Field("x-b3-spanid")
		if string(m.Field("x-b3-sampled")) == "1" || string(m.Field("x-b3-flags")) == "1" {
			c.flags |= flagSampled
		}
	}
	if len(parent) >= 16 {
		_, err := hex.Decode(c.parent[:], parent[:16])
		c.hasParent = err == nil && c.parent != [8]byte{}
	}
	if x.Hop.Method == exchange.ByID { // they carry the same id, so that the span is in this trace
		c.below(x)
	}
	return c
}

// below makes the span of the exchange that caused this one the parent.
func (c *traceContext) below(x *exchange.Exchange) {
	c.parent, c.hasParent = spanID(x.Hop.Parent), true
	if c.flags |= flagRemote; isAsker(x) { // what asks is what was asked
		c.flags &^= flagRemote
	}
}

// isPart reports whether text is the part of a header's value that begins at an index.
func isPart(text, value []byte, at int) bool {
	return len(value) >= at+len(text) && &value[at] == &text[0]
}

// traceState returns the tracestate of a request, all its headers in one (W3C Trace Context §3.3.1.1). What a tracestate can't
// be is left out.
func (e *Encoder) traceState(m *proto.Message) []byte {
	b := e.state[:0]
	for i := range m.Fields {
		f := &m.Fields[i]
		if f.Flags&proto.Trailer != 0 || !proto.EqualFold(m.Bytes(f.Name), "tracestate") {
			continue
		}
		if value := bytes.TrimSpace(m.Bytes(f.Value)); len(value) > 0 {
			if len(b) > 0 {
				b = append(b, ',')
			}
			b = append(b, value...)
		}
		if len(b) > maxTraceState {
			return nil
		}
	}
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			return nil
		}
	}
	e.state = b
	return b
}

// sampleBits is how many bits of a trace id decide in OpenTelemetry's consistent probability sampling.
const sampleBits = 56

// maxMembers is how many members a tracestate may have (W3C Trace Context §3.3.1.1).
const maxMembers = 32

// sampled returns the tracestate of a span: that of the request, with OpenTelemetry's member saying how culprit chose the
// exchange, rather than how the application chose its spans. Those who count spans then count what they stand for. Package
// sample chooses by the same bits and the same threshold; it doesn't know the randomness that an application puts into
// tracestate (rv), with which a threshold would contradict.
func (e *Encoder) sampled(c *traceContext, weight uint32) []byte {
	dst := e.member[:0]
	own := weight > 0
	for member := range bytes.SplitSeq(c.state, []byte(",")) {
		if bytes.HasPrefix(bytes.TrimSpace(member), []byte("ot=")) && bytes.Contains(member, []byte("rv:")) {
			own = false
		}
	}
	if own {
		dst = append(dst, "ot=th:"...)
		dst = appendThreshold(dst, weight)
	}
	members := 1
	for member := range bytes.SplitSeq(c.state, []byte(",")) {
		member = bytes.TrimSpace(member)
		if len(member) == 0 || bytes.HasPrefix(member, []byte("ot=")) || members == maxMembers {
			continue
		}
		if len(dst) > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, member...)
		members++
	}
	e.member = dst
	return dst
}

// appendThreshold appends the rejection threshold of one in weight: hexadecimal digits of 56 bits, without zeros at the end.
func appendThreshold(dst []byte, weight uint32) []byte {
	const all = uint64(1) << sampleBits
	t := all - all/uint64(weight)
	if t == 0 {
		return append(dst, '0')
	}
	for ; t != 0; t = t << 4 & (all - 1) {
		dst = append(dst, "0123456789abcdef"[t>>(sampleBits-4)])
	}
	return dst
}
