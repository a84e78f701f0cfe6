package websocket

import (
	"bytes"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/http1"
)

// said is one message of a transcript.
type said struct {
	kind, reason string
	status       int
	body         []byte
	m            proto.Message
}

// transcript plays a connection that begins with an HTTP/1 handshake, and writes down the messages of the WebSocket.
type transcript struct {
	t *testing.T
	// of are the messages of each direction, in the order of their ends; open those that have no end yet, by lane.
	of     [2][]said
	open   [2][2]said
	lost   int
	prior  *proto.Message
	parser proto.Parser
	held   int
	limits proto.Limits
	offset [2]int64
}

func newTranscript(t *testing.T) *transcript {
	k := &transcript{t: t, limits: proto.Limits{MaxHead: 64 << 10, MaxFields: 100, MaxMessage: 1 << 20}}
	k.parser = http1.New(&proto.Context{Client: proto.Originator, Sink: k, Limits: &k.limits, Held: &k.held})
	return k
}

func (k *transcript) data(d proto.Direction, b []byte) {
	k.t.Helper()
	at := clock.Mark{Offset: k.offset[d]}
	k.offset[d] += int64(len(b))
	v := k.parser.Data(d, b, at)
	if v.Action != proto.Handover {
		return
	}
	if v.Hint != Protocol.Name {
		k.t.Fatalf("the handshake was followed by %q", v.Hint)
	}
	early := bytes.Clone(v.Early)
	k.parser = New(&proto.Context{Client: proto.Originator, Sink: k, Limits: &k.limits, Held: &k.held, Prior: k.prior})
	if len(early) > 0 {
		k.parser.Data(d.Other(), early, v.EarlyAt)
	}
	if rest := b[v.Consumed:]; len(rest) > 0 {
		at.Offset += int64(v.Consumed)
		k.parser.Data(d, rest, at)
	}
}

func (k *transcript) close() {
	k.t.Helper()
	for _, d := range [...]proto.Direction{proto.Originator, proto.Responder} {
		k.parser.Close(d, clock.Mark{Offset: k.offset[d]}, proto.Finished)
	}
	if k.held != 0 {
		k.t.Errorf("%d bytes are held at the end", k.held)
	}
}

func (k *transcript) Head(m *proto.Message) proto.Answers {
	if m.Kind == proto.Response {
		k.prior = new(proto.Message)
		k.prior.CopyFrom(m)
	}
	if m.Kind == proto.Event {
		k.open[m.Dir][m.Stream] = said{kind: string(m.Bytes(m.Method)), reason: string(m.Bytes(m.Reason)), status: m.Status}
	}
	return proto.AnswersOrdinary
}

func (k *transcript) Body(m *proto.Message, b []byte) {
	if m.Kind == proto.Event {
		s := &k.open[m.Dir][m.Stream]
		s.body = append(s.body, b...)
	}
}

func (k *transcript) WantsBody(*proto.Message) int { return 1 << 30 }

func (k *transcript) End(m *proto.Message) {
	if m.Kind == proto.Event {
		s := k.open[m.Dir][m.Stream]
		s.m = *m
		k.of[m.Dir] = append(k.of[m.Dir], s)
	}
}

func (k *transcript) Lost(proto.Direction, clock.Mark) { k.lost++ }
func (k *transcript) Abort(*proto.Abort)               {}
func (k *transcript) Session(*proto.TLS)               {}
func (k *transcript) Proxied(*proto.Proxied)           {}
