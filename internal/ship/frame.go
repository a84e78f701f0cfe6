package ship

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/culprit-http/culprit/internal/exchange"
)

// A frame is a run of events:
//
//	frame = { event }
//	event = kind(1) id(16) time weight length key length body
//
// Time is a zigzag varint, weight and lengths are unsigned varints.

// errFrame is the error of a frame that isn't well-formed.
var errFrame = errors.New("a queued frame is damaged")

// appendEvent appends an event with that key, and with the body that add appends. It leaves frame as it was, and reports so,
// when add appends nothing.
func appendEvent(frame []byte, e *Event, key string, add func(dst []byte) []byte) (out []byte, added bool) {
	begin := len(frame)
	frame = append(frame, byte(e.Kind))
	frame = append(frame, e.ID[:]...)
	frame = binary.AppendVarint(frame, e.Time)
	frame = binary.AppendUvarint(frame, uint64(e.Weight))
	frame = binary.AppendUvarint(frame, uint64(len(key)))
	frame = append(frame, key...)
	// The body's length isn't known yet: room is left for the longest that is usual, and unused room closed.
	at := len(frame)
	frame = append(frame, make([]byte, lengthRoom)...)
	frame = add(frame)
	length := len(frame) - at - lengthRoom
	if length == 0 {
		return frame[:begin], false
	}
	putLength(frame[at:at+lengthRoom], length)
	return frame, true
}

// lengthRoom is how many bytes the length of a body takes: a varint that is longer than it need be.
const lengthRoom = 5

func putLength(b []byte, n int) {
	for i := range b {
		b[i] = byte(n>>(7*i))&0x7f | 0x80
	}
	b[len(b)-1] &= 0x7f
}

// appendEvents appends the events of a frame. Their keys and bodies are the frame's.
func appendEvents(events []Event, frame []byte) ([]Event, error) {
	for len(frame) > 0 {
		var e Event
		if len(frame) < 1+exchange.IDSize || frame[0] >= byte(numKinds) {
			return events, errFrame
		}
		e.Kind = Kind(frame[0])
		copy(e.ID[:], frame[1:])
		r := frameReader{frame[1+exchange.IDSize:], false}
		e.Time = r.varint()
		weight := r.uvarint()
		e.Key, e.Body = r.bytes(), r.bytes()
		if r.bad || weight > math.MaxUint32 || len(e.Body) == 0 {
			return events, errFrame
		}
		e.Weight = uint32(weight)
		events = append(events, e)
		frame = r.b
	}
	return events, nil
}

// frameReader reads the parts of a frame; bad: there weren't as many bytes as it was told.
type frameReader struct {
	b   []byte
	bad bool
}

func (r *frameReader) varint() int64 {
	n, size := binary.Varint(r.b)
	r.skip(size)
	return n
}

func (r *frameReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	r.skip(size)
	return n
}

func (r *frameReader) skip(size int) {
	if size <= 0 {
		r.b, r.bad = nil, true
		return
	}
	r.b = r.b[size:]
}

func (r *frameReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}
