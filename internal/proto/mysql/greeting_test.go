package mysql

import (
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

// greetings is a sink that keeps when the server had greeted the client of each request.
type greetings struct {
	nowhere
	of map[string]int64
}

func (g *greetings) Head(m *proto.Message) proto.Answers {
	if m.Kind == proto.Request {
		g.of[string(m.Bytes(m.Method))] = m.Greeting
	}
	return g.nowhere.Head(m)
}

// Only the login waits for the greeting.
func TestGreeting(t *testing.T) {
	held, sink := 0, &greetings{of: map[string]int64{}}
	p := New(&proto.Context{Sink: sink, Limits: prototest.DefaultLimits(), Held: &held})
	for i, step := range append(enter(capsNew), ">"+query("SELECT 1")) {
		d := proto.Originator
		if step[0] == '<' {
			d = proto.Responder
		}
		p.Data(d, []byte(step[1:]), clock.Mark{Time: int64(1000 + i)})
	}
	if login, ok := sink.of["LOGIN"]; login != 1000 || !ok {
		t.Errorf("the login's greeting came at %d, want 1000", login)
	}
	if n, ok := sink.of["SELECT"]; n != 0 || !ok {
		t.Errorf("a statement has a greeting at %d", n)
	}
}
