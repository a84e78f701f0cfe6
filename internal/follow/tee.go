package follow

import (
	"unsafe"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// MaxHeld is how many bytes of a connection wait to be shown until it is known what they are.
const MaxHeld = 32 << 10

// encrypted is the protocol whose bytes are of no use as sent.
const encrypted = "tls"

// Detection is what a Tee copies the bytes of: what finds out what a connection speaks.
type Detection interface {
	proto.Parser
	// Speaks returns the name of the protocol that a connection speaks, empty while that isn't decided, and the offset
	// of the first byte of a direction that no other protocol has taken before.
	Speaks(d proto.Direction) (name string, from int64)
}

// Writer gathers what the connections of one shard carry. It isn't safe for concurrent use.
type Writer struct {
	Mode Mode
	To   *Collector
	// Tap tells the tap of a mark's tap index.
	Tap func(index uint32) *exchange.Tap
	// Held counts the bytes that wait.
	Held *int
	// Seq is the number of the packet that the shard is working on, of all packets of the run.
	Seq uint64
	// Contents says which messages are told of, too.
	Contents Contents

	// now is what a Tee is being given, and kept the copy of it, once there is one: what is told of it shares that.
	now, kept []byte
	// nth counts the messages; text is where a message's texts are put together.
	nth  uint64
	text []byte
}

// Tee copies the bytes that detection is given. It implements proto.Parser for who gives them.
type Tee struct {
	writer *Writer
	flow   *proto.Flow
	inner  Detection
	// root is the Tee of the connection that this one is inside of, or itself.
	root *Tee
	// Facts are the transport's of the connection, which the root's end tells; nil: it tells none.
	Facts *proto.Facts
	// stopped: the one inside wants no more.
	stopped bool

	// plain: what comes is shown; otherwise it waits in held, or is left out, as name says. waiting are its bytes.
	plain   bool
	name    string
	held    []Chunk
	waiting int

	// The rest is the root's. begun: there was a chunk; opened: something was decrypted; left are the bytes that were
	// left out, and session is what is known of why.
	begun, opened bool
	left          [2]int64
	session       *proto.TLS
	// closed are the half-streams that have ended, last is the end of the second. lingers: there is more to come.
	closed  [2]bool
	last    Chunk
	lingers bool
}

// Open returns the Tee before the detection of a connection.
func (w *Writer) Open(f *proto.Flow, inner Detection) *Tee {
	t := &Tee{writer: w, flow: f, inner: inner}
	t.root = t
	return t
}

// Nested returns what stands before the detection of what a connection carries inside another.
func (t *Tee) Nested(inner Detection) proto.Parser {
	if t.writer.Mode == Sent {
		return inner
	}
	return &Tee{writer: t.writer, flow: t.flow, inner: inner, root: t.root}
}

// Session tells of the TLS session that carries what follows, as proto.Sink has it.
func (t *Tee) Session(s *proto.TLS) { t.session = s }

// Linger says that the connection isn't over when both of its half-streams have ended, since something is still to come
// of it; or that nothing is, any more. It is for the Tee of the connection.
func (t *Tee) Linger(waiting bool) {
	t.lingers = waiting
	if !waiting && t.closed[0] && t.closed[1] {
		t.end(t.last)
	}
}

// Data implements proto.Parser. It never says Stop: the bytes are wanted, whoever understands them.
func (t *Tee) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	w := t.writer
	now, kept := w.now, w.kept
	w.now, w.kept = b, nil
	if !t.stopped {
		t.stopped = t.inner.Data(d, b, at).Action == proto.Stop
	}
	t.take(Chunk{Dir: d, At: at, Data: b})
	w.now, w.kept = now, kept
	return proto.Verdict{Action: proto.Continue}
}

// Gap implements proto.Parser.
func (t *Tee) Gap(d proto.Direction, n int64, at clock.Mark) {
	if !t.stopped {
		t.inner.Gap(d, n, at)
	}
	t.take(Chunk{Dir: d, At: at, Gap: n})
}

// Close implements proto.Parser.
func (t *Tee) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	t.inner.Close(d, at, why)
	t.closed[d] = true
	over := t.closed[d.Other()]
	if t.settle(); over && t.name == "" {
		t.release() // nothing will be decided any more
	}
	end := Chunk{Dir: d, At: at, Close: why, Over: over}
	if over && t.begun && t.Facts != nil {
		facts := t.Facts.Half
		end.Facts = &facts
	}
	switch {
	case t != t.root:
	case over && t.lingers:
		t.last = end
	case over:
		t.end(end)
	case t.begun:
		t.show(end)
	}
}

// end says what couldn't be decrypted, and that the connection is over.
func (t *Tee) end(c Chunk) {
	if !t.begun {
		return
	}
	for d, n := range t.left {
		if n > 0 && !t.opened && (t.session == nil || !t.session.Decrypted) {
			t.show(Chunk{Dir: proto.Direction(d), At: c.At, Gap: n, Undecrypted: t.reason()})
		}
	}
	t.show(c)
}

// reason says why nothing could be decrypted.
func (t *Tee) reason() string {
	if t.session == nil || t.session.Reason == "" {
		return "encrypted"
	}
	return t.session.Reason
}

// take shows a chunk, has it wait, or leaves it out.
func (t *Tee) take(c Chunk) {
	if t.writer.Mode == Sent {
		t.show(c)
		return
	}
	name, from := t.inner.Speaks(c.Dir)
	if t.plain && name != t.name {
		// What comes before the change was plain.
		if before := min(max(from-c.At.Offset, 0), int64(len(c.Data))); before > 0 || c.Gap != 0 {
			head := c
			head.Data = c.Data[:before]
			t.show(head)
			if c.Data, c.Gap = c.Data[before:], 0; len(c.Data) == 0 {
				t.settle()
				return
			}
			c.At.Offset += before
		}
	}
	t.settle()
	switch {
	case t.plain:
		t.show(c)
	case t.name == encrypted:
		t.leave(&c)
	default:
		t.hold(c)
	}
}

// settle looks at what was decided, and does that with what waits.
func (t *Tee) settle() {
	if t.writer.Mode == Sent {
		return
	}
	name, _ := t.inner.Speaks(proto.Originator)
	if name == t.name && name == "" {
		return // still waiting, or shown since too much has waited
	}
	t.name, t.plain = name, name != "" && name != encrypted
	switch {
	case t.plain:
		t.release()
	case name == encrypted:
		for i := range t.held {
			t.leave(&t.held[i])
		}
		t.drop()
	}
}

const chunkSize = int(unsafe.Sizeof(Chunk{}))

// hold has a chunk wait. When too much waits, all is shown, as what follows is until something is decided.
func (t *Tee) hold(c Chunk) {
	size := len(c.Data) + chunkSize
	if t.waiting+size > MaxHeld {
		t.release()
		t.plain = true
		t.show(c)
		return
	}
	c.Data = append([]byte(nil), c.Data...)
	t.held = append(t.held, c)
	t.waiting += size
	*t.writer.Held += size
}

// release shows what waits.
func (t *Tee) release() {
	for _, c := range t.held {
		t.show(c)
	}
	t.drop()
}

// drop forgets what waits.
func (t *Tee) drop() {
	*t.writer.Held -= t.waiting
	t.held, t.waiting = nil, 0
}

// leave leaves out a chunk that is encrypted.
func (t *Tee) leave(c *Chunk) {
	t.root.left[c.Dir] += int64(len(c.Data)) + max(c.Gap, 0)
	t.root.begun = true
}

// show gives a chunk to who follows.
func (t *Tee) show(c Chunk) {
	w := t.writer
	c.Flow, c.Tap, c.Inner, c.seq = t.flow, w.Tap(c.At.Tap), t != t.root, w.Seq
	t.root.begun = true
	t.root.opened = t.root.opened || c.Inner
	if c.Inner && t.root.session != nil {
		c.ServerName = t.root.session.ServerName
	}
	w.add(c)
}

// add gives a chunk to who follows, with a copy of its bytes: that of all that a Tee is being given, where they are of it.
func (w *Writer) add(c Chunk) {
	if n := len(c.Data); n > 0 && w.Contents&(Bodies|Sessions) != 0 {
		// Slices of one array end together in it.
		if off := cap(w.now) - cap(c.Data); off >= 0 && off+n <= len(w.now) && &w.now[off] == &c.Data[0] {
			if w.kept == nil {
				w.kept = w.To.keep(w.now)
			}
			c.Data = w.kept[off : off+n : off+n]
			w.To.append(c)
			return
		}
	}
	w.To.add(c)
}
