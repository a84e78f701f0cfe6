package follow

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Step says what a chunk tells of a message.
type Step uint8

// The steps of a message. Of each there is one Begin, any number of Body, and one End, in this order; of several streams they are
// interleaved.
const (
	// NoMessage: the chunk is of the half-stream.
	NoMessage Step = iota
	// Begin: the head of the message is complete.
	Begin
	// Body: Chunk.Data are bytes of its body, or, with Chunk.Gap, some are missing there.
	Body
	// End: the message is over.
	End
)

// Message is a message of a half-stream, for those who keep what messages carry: HTTP's requests and responses, messages of
// WebSocket. It is the same pointer from Begin to End, and complete, but for Ended, from Begin on.
type Message struct {
	// Protocol speaks it, on a stream if it has streams; Kind is what it is, and Dir who sends it.
	Protocol string
	Stream   uint64
	Kind     proto.Kind
	Dir      proto.Direction
	// First marks its first byte in the half-stream. Chunks of messages come before those of the half-stream that hold the same bytes.
	First clock.Mark
	// Method is that of a request, or what kind of event it is, such as text; Target is its target, Authority the host that it is for.
	// Status is a response's.
	Method, Target, Authority string
	Status                    int
	// Type, Coding and Disposition are the values of Content-Type, Content-Encoding and Content-Disposition. Body bytes are
	// transfer-decoded, and still in that coding.
	Type, Coding, Disposition string
	// MessageCoding is the value of grpc-encoding: how the messages within a body of gRPC are compressed.
	MessageCoding string
	// Ended says how it ended, Last marks its last byte; both are valid in End.
	Ended proto.End
	Last  clock.Mark

	// What follows is the Sink's, as long as the message is under way. of is the parser's message; nth tells the order in which the
	// messages of a shard began. missing are the bytes of the body that were told of as missing; lost: so was a hole of unknown length.
	of      *proto.Message
	nth     uint64
	missing int64
	lost    bool
	held    int
}
