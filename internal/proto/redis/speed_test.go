package redis

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

// counter is a sink that counts exchanges and wants no bodies.
type counter struct {
	prototest.Recorder
	requests, responses, oneWay int
}

func (c *counter) Head(m *proto.Message) proto.Answers {
	if m.Kind == proto.Request {
		c.requests++
		if m.OneWay {
			c.oneWay++
		}
	} else {
		c.responses++
	}
	return proto.AnswersUnknown
}
func (*counter) WantsBody(*proto.Message) int     { return 0 }
func (*counter) Body(*proto.Message, []byte)      {}
func (*counter) End(*proto.Message)               {}
func (*counter) Lost(proto.Direction, clock.Mark) {}

const pipelined = 16

var (
	asked    = []byte(strings.Repeat("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000012345\r\n$3\r\nxxx\r\n*2\r\n$3\r\nGET\r\n$16\r\nkey:000000012345\r\n", pipelined/2))
	answered = []byte(strings.Repeat("+OK\r\n$3\r\nxxx\r\n", pipelined/2))
)

// pipeline plays a pipeline to a parser.
func pipeline(p proto.Parser, at *clock.Mark) {
	p.Data(proto.Originator, asked, *at)
	p.Data(proto.Responder, answered, *at)
	at.Offset += int64(len(asked))
}

func newCounted() (proto.Parser, *counter) {
	c := new(counter)
	return New(&proto.Context{Sink: c, Limits: prototest.DefaultLimits(), Held: new(int)}), c
}

// TestAllocations: the common case allocates nothing.
func TestAllocations(t *testing.T) {
	p, c := newCounted()
	var at clock.Mark
	if n := testing.AllocsPerRun(100, func() { pipeline(p, &at) }); n > 0 {
		t.Errorf("%v allocations for %d exchanges", n, pipelined)
	}
	if c.requests != c.responses || c.requests != 101*pipelined {
		t.Errorf("%d requests, %d responses", c.requests, c.responses)
	}
}

func BenchmarkPipeline(b *testing.B) {
	p, _ := newCounted()
	var at clock.Mark
	b.SetBytes(int64(len(asked) + len(answered)))
	for b.Loop() {
		pipeline(p, &at)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*pipelined), "ns/exchange")
}
