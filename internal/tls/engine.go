// Package tls reads TLS passively: it follows the handshake, says what it finds, and where it is given the keys, decrypts what
// the two sides say and hands it to detection as if it had come in plain text.
//
// # Theory of operation
//
// A connection is in one of four modes:
//
//	following --(a record needs keys that may still come)--> waiting --(they come)--> following
//	following --(no keys, and none will come)--> blind     waiting --(no room, or no time, left)--> blind
//	following --(what is inside wants no more bytes)--> sated
//
// While it follows, each direction is a machine of its own, which collects records:
//
//	border --(5 bytes)--> within a record --(all of it)--> handshake, alert, change of keys, or data --> border
//	any --(a gap that hides borders, bytes that are no record)--> searching --(a record that its key opens)--> border
//	within --(a gap within)--> the record is lost, its border isn't --> border
//
// Records are numbered, and the number is part of what protects them: after a gap the next ones are tried, since those in the
// hole have used some up. The plaintext in the hole follows from the number and size of the records that were lost.
//
// While it waits, everything that comes is kept as it came, in order, up to a limit, and is replayed when the keys are there.
// It may wait longer than the connection lasts: a short one is over before its keys are read from a file.
//
// Blind, it still tells the end of the handshake, by the types of records, and then wants nothing more.
package tls

import (
	"crypto/rsa"
	"slices"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// Keys are where the secrets of sessions come from. A keylog.Store is one.
type Keys interface {
	// Secrets returns what is known of a session at a generation, nil when nothing is.
	Secrets(random *[32]byte, generation uint32) *keylog.Secrets
	// Premaster returns the premaster secret that was sent encrypted, nil when it isn't known.
	Premaster(encrypted []byte, generation uint32) []byte
	RSAKeys() []*rsa.PrivateKey
}

// State is what is known of the keys from one packet on. It is the same for all engines, however late they are told.
type State struct {
	// Generation is that of the keys. MayGrow: others may come. None: there are none.
	Generation    uint32
	MayGrow, None bool
}

// Limits bound what is kept of connections whose keys haven't come.
type Limits struct {
	// MaxWaiting is how many bytes of a connection are kept, MaxWaitingAll of all connections of an engine, and WaitTime how
	// long they are, in nanoseconds of capture time.
	MaxWaiting, MaxWaitingAll int
	WaitTime                  int64
}

// DefaultLimits returns the limits that are in force unless others are given.
func DefaultLimits() Limits {
	return Limits{MaxWaiting: 512 << 10, MaxWaitingAll: 2 << 20, WaitTime: 30e9}
}

// Keeper is a proto.Sink that can outlive its connection. A Parser whose connection has ended while it waits for keys tells
// it so, at Close; and again when it has done all that was left to do.
type Keeper interface {
	proto.Sink
	Linger(waiting bool)
	// Facts returns what the transport has observed so far, borrowed. Rewind has what comes be of the time when it had
	// observed no more than f; nil: of now.
	Facts() *proto.Facts
	Rewind(f *proto.Facts)
}

// Counters count what an engine did.
type Counters struct {
	// Sessions counts those that were begun, Decrypted those of which something was read.
	Sessions, Decrypted uint64
	// Waited counts sessions that waited for keys, Late those whose keys came then, Overflow those given up for lack of room,
	// and TimedOut those whose time was up.
	Waited, Late, Overflow, TimedOut uint64
	// LostRecords counts records that couldn't be opened among others that could.
	LostRecords uint64
}

// Engine reads the TLS connections of one shard. It isn't safe for concurrent use.
type Engine struct {
	keys       Keys
	limits     Limits
	generation uint32
	mayGrow    bool
	none       bool
	elapsed    int64
	// wanted is called when bytes wait for keys; it may be nil.
	wanted func()
	// waiting are the parsers that wait for keys, the oldest first, and held is what they keep.
	waiting []*Parser
	held    int
	// spare are buffers for plaintext.
	spare [][]byte

	Counters Counters
}

// NewEngine returns an engine. keys may be nil: then nothing is decrypted. wanted, if not nil, is called whenever bytes wait for
// keys, in the goroutine of the engine.
func NewEngine(keys Keys, l Limits, wanted func()) *Engine {
	return &Engine{keys: keys, limits: l, wanted: wanted}
}

// Protocol describes TLS to detection.
func (e *Engine) Protocol() proto.Protocol {
	return proto.Protocol{
		Name: "tls", Probe: hello, Resume: record, Pairing: proto.Wrapper,
		New: func(c *proto.Context) proto.Parser { return newParser(e, c) },
	}
}

// Publish says that the keys have another generation. What waited for one of them goes on.
func (e *Engine) Publish(s State) {
	e.mayGrow, e.none = s.MayGrow, s.None
	if s.Generation == e.generation {
		return
	}
	e.generation = s.Generation
	for _, p := range e.take() {
		if p.findKeys() {
			e.Counters.Late++
			p.goOn()
		} else if p.mode == waiting {
			e.wait(p)
		}
	}
}

// Tick gives up those that have waited too long. elapsed is the clock's elapsed time.
func (e *Engine) Tick(elapsed int64) {
	e.elapsed = elapsed
	for len(e.waiting) > 0 && elapsed-e.waiting[0].since > e.limits.WaitTime {
		e.Counters.TimedOut++
		e.waiting[0].giveUp("its key didn't come in time")
	}
}

// Flush gives up all that wait: no more keys will come.
func (e *Engine) Flush() {
	for _, p := range e.take() {
		p.settle(p.noKey())
	}
}

// take takes all parsers that wait.
func (e *Engine) take() []*Parser {
	list := e.waiting
	e.waiting = nil
	return list
}

// wait has a parser wait.
func (e *Engine) wait(p *Parser) { e.waiting = append(e.waiting, p) }

// leave takes a parser from those that wait.
func (e *Engine) leave(p *Parser) {
	if i := slices.Index(e.waiting, p); i >= 0 {
		e.waiting = slices.Delete(e.waiting, i, i+1)
	}
}

// hold accounts for n bytes more that those who wait keep, and makes room.
func (e *Engine) hold(n int) {
	e.held += n
	if e.wanted != nil {
		e.wanted()
	}
	for e.held > e.limits.MaxWaitingAll && len(e.waiting) > 0 {
		e.Counters.Overflow++
		e.waiting[0].giveUp("its key didn't come while there was room to wait for it")
	}
}

// buffer returns an empty buffer with room for the plaintext of a record.
func (e *Engine) buffer() []byte {
	if n := len(e.spare); n > 0 {
		b := e.spare[n-1]
		e.spare = e.spare[:n-1]
		return b[:0]
	}
	return make([]byte, 0, maxFragment)
}

// maxSpare is how many buffers are kept: one within the other for TLS within TLS.
const maxSpare = 4

func (e *Engine) release(b []byte) {
	if len(e.spare) < maxSpare {
		e.spare = append(e.spare, b)
	}
}
