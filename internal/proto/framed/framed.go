// Package framed counts the messages that a body consists of, without keeping them: those of gRPC and gRPC-Web, and the
// events of an event stream.
//
// # Theory of operation
//
// gRPC and gRPC-Web put five bytes before each message: flags, and its length. The flags of gRPC-Web tell a last frame
// with the trailers from messages; in its text form everything is in base64, of which any number of pieces may end with
// padding of their own.
//
//	prefix --(5 bytes)--> message --(its length)--> prefix
//	   |                     |  \--(gap that ends within it or with it)--> itself, or prefix
//	   |                     +--(gap that goes further)--> over
//	   +--(gap, or flags that there aren't)--> over
//
// An event stream is made of lines; an event is what stands before an empty line, if there is data in it (WHATWG HTML
// §9.2.6). After a gap the next empty line begins an event again, whatever was lost.
package framed

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/proto"
)

// MaxTrailers is how many bytes of the trailers of a gRPC-Web body are kept, in whole lines.
const MaxTrailers = 8 << 10

// keepTrailers is the largest buffer of trailers that a Counter keeps from one body to the next, in bytes.
const keepTrailers = 512

// A form is a way of putting messages into a body.
type form uint8

const (
	none form = iota
	grpc
	grpcWeb
	grpcWebText
	eventStream
)

// forms are the media types of streams of messages. With suffixed, a +suffix may follow.
var forms = [...]struct {
	mediaType string
	suffixed  bool
	form      form
}{
	{"application/grpc", true, grpc},
	{"application/grpc-web", true, grpcWeb},
	{"application/grpc-web-text", true, grpcWebText},
	{"text/event-stream", false, eventStream},
}

// formOf returns the form that a value of Content-Type names.
func formOf(contentType []byte) form {
	t := contentType
	if i := bytes.IndexByte(t, ';'); i >= 0 {
		t = t[:i]
	}
	t = bytes.TrimSpace(t)
	for i := range forms {
		f := &forms[i]
		n := len(f.mediaType)
		if len(t) < n || len(t) > n && (!f.suffixed || t[n] != '+') {
			continue
		}
		// The last letter tells most types apart from these, before all are compared.
		if t[n-1]|0x20 == f.mediaType[n-1] && proto.EqualFold(t[:n], f.mediaType) {
			return f.form
		}
	}
	return none
}

// state is where a Counter is in the frames of gRPC.
type state uint8

const (
	atPrefix state = iota
	inMessage
	inTrailers
	over // nothing more can be counted
)

// The prefix of a message: its flags, and its length as a big-endian number.
const (
	prefixSize     = 5
	flagCompressed = 0x01
	flagTrailers   = 0x80
)

// Counter counts the messages of one body. The zero Counter counts nothing; Reset gives it a body.
//
// A message is counted when its end was seen, or when it is known to lie in a gap. One that never ends isn't counted.
type Counter struct {
	form  form
	state state
	bad   bool
	// compressed is that of the message at hand, remain how much of it is left, and size its length.
	compressed   bool
	remain, size int64
	parts        proto.Parts

	// prefix collects the prefix of a message, quantum four characters of base64.
	prefix             [prefixSize]byte
	quantum            [4]byte
	prefixed, quantums uint8
	// trailers are those of gRPC-Web; hasTrailers: their frame has ended; cutTrailers: there was more.
	trailers                 []byte
	hasTrailers, cutTrailers bool

	events events
}

// New returns a counter for a body of that media type, the value of Content-Type; nil when such bodies aren't streams of
// messages. A body with a content coding must be decoded first.
func New(contentType []byte) *Counter {
	f := formOf(contentType)
	if f == none {
		return nil
	}
	return &Counter{form: f}
}

// Reset makes the counter ready for another body, as New does, and keeps its memory. It reports whether such bodies are
// streams of messages; if not, the counter counts nothing.
func (c *Counter) Reset(contentType []byte) bool {
	if cap(c.trailers) > keepTrailers {
		c.trailers = nil
	}
	*c = Counter{form: formOf(contentType), trailers: c.trailers[:0]}
	return c.form != none
}

// Write takes bytes of the body, transfer-decoded.
func (c *Counter) Write(b []byte) {
	switch c.form {
	case grpc, grpcWeb:
		c.frames(b)
	case grpcWebText:
		c.text(b)
	case eventStream:
		c.events.write(b, &c.parts)
	}
}

// Gap says that n bytes of the body are missing, proto.Unknown when it can't be told how many. Counting goes on where it
// is sure what follows: within a message of known length, or at the end of an event.
func (c *Counter) Gap(n int64) {
	switch {
	case c.form == eventStream:
		c.events.gap()
	case n == 0 || c.state == over:
	case n > 0 && c.form != grpcWebText && c.state == inMessage && n <= c.remain:
		if c.remain -= n; c.remain == 0 {
			c.count()
		}
	default:
		c.state = over
	}
}

// Close says that the body is over. When it was whole and a message wasn't, it is malformed.
func (c *Counter) Close() {
	if c.form == eventStream || c.state == over {
		return
	}
	if c.state != atPrefix || c.prefixed > 0 || c.quantums > 0 {
		c.bad = true
	}
	c.state = over
}

// Parts returns what was counted so far. The size of an event is that of its data.
func (c *Counter) Parts() proto.Parts { return c.parts }

// Trailers returns the trailers of a gRPC-Web body, as lines; nil if there are none, or their end was not seen. It is valid until Reset.
func (c *Counter) Trailers() []byte {
	switch {
	case !c.hasTrailers, len(c.trailers) == 0:
		return nil
	case c.cutTrailers:
		return c.trailers[:bytes.LastIndexByte(c.trailers, '\n')+1]
	}
	return c.trailers
}

// Held returns how many bytes the counter keeps.
func (c *Counter) Held() int { return len(c.trailers) }

// Bad reports whether the body isn't framed as it must be. After Close it is also true for one that ends within a message,
// which means something only if all of the body was seen.
func (c *Counter) Bad() bool { return c.bad }

// frames takes bytes of gRPC frames.
func (c *Counter) frames(b []byte) {
	for len(b) > 0 {
		switch c.state {
		case atPrefix:
			n := copy(c.prefix[c.prefixed:], b)
			b = b[n:]
			if c.prefixed += uint8(n); c.prefixed == prefixSize {
				c.prefixed = 0
				c.begin(c.prefix[0], int64(binary.BigEndian.Uint32(c.prefix[1:])))
			}
		case inMessage:
			n := min(int64(len(b)), c.remain)
			b = b[n:]
			if c.remain -= n; c.remain == 0 {
				c.count()
			}
		case inTrailers:
			n := min(int64(len(b)), c.remain)
			keep := min(int(n), MaxTrailers-len(c.trailers))
			c.trailers = append(c.trailers, b[:keep]...)
			c.cutTrailers = c.cutTrailers || keep < int(n)
			b = b[n:]
			if c.remain -= n; c.remain == 0 {
				c.state, c.hasTrailers = atPrefix, true
			}
		case over:
			return
		}
	}
}

// begin begins a message, or the trailers.
func (c *Counter) begin(flags byte, size int64) {
	c.remain, c.size, c.compressed = size, size, flags&flagCompressed != 0
	switch {
	case c.hasTrailers, flags&^(flagCompressed|flagTrailers) != 0, flags&flagTrailers != 0 && (c.form == grpc || c.compressed):
		// Nothing comes after trailers, and nobody is known to compress them.
		c.bad, c.state = true, over
	case flags&flagTrailers != 0 && size == 0:
		c.hasTrailers = true
	case flags&flagTrailers != 0:
		c.state = inTrailers
	case size == 0:
		c.count()
	default:
		c.state = inMessage
	}
}

// count counts a message that has ended.
func (c *Counter) count() {
	c.state = atPrefix
	c.parts.Count++
	c.parts.Bytes += c.size
	c.parts.Largest = max(c.parts.Largest, c.size)
	if c.compressed {
		c.parts.Compressed++
	}
}

// text takes bytes of gRPC frames in base64.
func (c *Counter) text(b []byte) {
	var frame [3]byte
	for _, char := range b {
		if c.state == over {
			return
		}
		if char == '\r' || char == '\n' {
			continue
		}
		c.quantum[c.quantums] = char
		if c.quantums++; c.quantums < uint8(len(c.quantum)) {
			continue
		}
		c.quantums = 0
		n, err := base64.StdEncoding.Decode(frame[:], c.quantum[:])
		if err != nil {
			c.bad, c.state = true, over
			return
		}
		c.frames(frame[:n])
	}
}
