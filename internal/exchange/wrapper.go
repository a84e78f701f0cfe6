package exchange

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Wrapper is the proto.Sink of a parser without messages of its own, which carries another protocol.
type Wrapper struct{ *Layer }

// Head implements proto.Sink.
func (Wrapper) Head(*proto.Message) proto.Answers { return proto.AnswersUnknown }

// Body implements proto.Sink.
func (Wrapper) Body(*proto.Message, []byte) {}

// WantsBody implements proto.Sink.
func (Wrapper) WantsBody(*proto.Message) int { return 0 }

// End implements proto.Sink.
func (Wrapper) End(*proto.Message) {}

// Lost implements proto.Sink.
func (Wrapper) Lost(proto.Direction, clock.Mark) {}

// Abort implements proto.Sink.
func (Wrapper) Abort(*proto.Abort) {}
