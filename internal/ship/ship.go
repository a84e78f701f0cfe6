// Package ship delivers what outputs make of exchanges to receivers over the network, at least once where the receiver
// acknowledges: it queues, batches, retries, sets aside what a receiver refuses for good, and counts.
//
//	pipeline --Exchange--> Output --frame--> Queue (disk or memory) --batch--> Sender --> receiver
//	                       encodes           accepts, bounds, keeps            talks the receiver's protocol
//
// An event is encoded once, in the form in which the receiver gets it, before it is queued. A Sender only puts a batch of
// such bodies into an envelope, sends it, and says what the receiver made of it.
package ship

import (
	"context"
	"errors"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/rollup"
)

// Kind is a kind of event.
type Kind uint8

// The kinds.
const (
	// Exchange is a finished exchange.
	Exchange Kind = iota
	// Rollup is what all exchanges of one minute and series amount to (rollup.Row).
	Rollup
	numKinds
)

// Event is one thing to deliver. Key and Body are borrowed as said where one is handed over.
type Event struct {
	Kind Kind
	// ID is the event's id, which doesn't change when it is sent again: a receiver that knows it already has the event.
	ID [exchange.IDSize]byte
	// Time is when the exchange or the minute started, in nanoseconds since 1970. A receiver that keeps days apart files
	// the event by it.
	Time int64
	// Weight is how many exchanges the event stands for; 1 unless it was sampled.
	Weight uint32
	// Key is what belongs together: the community id of the connection, empty for rollups.
	Key []byte
	// Body is the event as the receiver gets it, in the encoding of its output: a JSON document without line end, or a
	// message of a protocol.
	Body []byte
}

// Encoder makes the bodies of events. It is called from one goroutine.
type Encoder interface {
	// Exchange appends the body for an exchange, which is borrowed.
	Exchange(dst []byte, x *exchange.Exchange) []byte
	// Rollup appends the body for a row, which is borrowed. An encoder that has no use for rollups appends nothing, and none is
	// sent.
	Rollup(dst []byte, r *rollup.Row) []byte
}

// Sender talks to one receiver, which may be a cluster. A shipper has one Sender for each of its workers, made by the same
// function; Send is called from one goroutine, Close once after it. Senders open connections when they need them and not
// before, so that a receiver that isn't there yet is no reason not to start.
type Sender interface {
	// Send delivers events, which are borrowed until return, and returns what became of them. It returns when the receiver
	// has acknowledged them or has failed to, or soon after ctx is done.
	//
	// An error means that nothing is known of events that Result doesn't name as Delivered or Rejected: they are sent
	// again, later. Of an error that is ErrTooLarge, halves are sent; of a *LaterError, at the time that it says.
	Send(ctx context.Context, events []Event) (Result, error)
	Close() error
}

// Result says what became of the events of a batch. Those that neither Retry nor Rejected names were delivered, unless
// Send returned an error: then only the first Delivered of them were.
type Result struct {
	// Delivered is how many events, from the first, the receiver has acknowledged before the error of Send. It is ignored
	// without one.
	Delivered int
	// Known is how many of the delivered events the receiver had already.
	Known int
	// Retry are the indices of events that the receiver couldn't take now, in order.
	Retry []int
	// Rejected are the events that the receiver will never take, in the order of their indices.
	Rejected []Rejection
}

// Rejection is an event that the receiver refused for good.
type Rejection struct {
	Index int
	// Reason is what the receiver says, for people.
	Reason string
}

// ErrTooLarge: the receiver takes no batch of that size.
var ErrTooLarge = errors.New("the batch is too large for the receiver")

// LaterError is an error of a receiver that says when to try again.
type LaterError struct {
	After time.Duration
	Err   error
}

// Error implements error.
func (e *LaterError) Error() string { return e.Err.Error() }

// Unwrap returns the receiver's error.
func (e *LaterError) Unwrap() error { return e.Err }

// ErrNoRoom: a queue has no room at the moment, and may have some later. NoRoom makes errors that are it.
var ErrNoRoom = errors.New("no room")

type noRoom string

// NoRoom returns an error with that text that is ErrNoRoom.
func NoRoom(text string) error { return noRoom(text) }

// Error implements error.
func (e noRoom) Error() string { return string(e) }

// Is makes it ErrNoRoom.
func (noRoom) Is(target error) bool { return target == ErrNoRoom }

// Queue keeps frames, each some events, until they are delivered. Package spool keeps them on disk. Append is called from
// one goroutine, the others from any.
type Queue interface {
	// Append adds a frame, which is borrowed until return, with the number of its events. What is appended survives the
	// process once a sync has happened, at most a second later. To make room, the oldest frames are dropped, and
	// counted.
	Append(frame []byte, events int) error
	// Next returns the oldest frames that weren't taken yet, as many as have at most maxBytes together, at least
	// one. It waits until there is one; io.EOF: none is left, and none will come, after CloseAppend.
	Next(ctx context.Context, maxBytes int) (*Chunk, error)
	// Done forgets the frames of a chunk. Chunks may be done in any order. After a crash, what wasn't done a second before
	// is delivered again.
	Done(c *Chunk)
	// CloseAppend ends what Append adds to.
	CloseAppend()
	// Stats returns what the queue holds and has lost.
	Stats() QueueStats
	// Close syncs and ends. Frames that aren't done stay, where they are kept on disk.
	Close() error
}

// Chunk is some frames that are to be delivered.
type Chunk struct {
	// Frames are the frames, in the order of Append; Events is how many events they have together.
	Frames [][]byte
	Events int
	// Token is the queue's own.
	Token any
}

// QueueStats says what a queue holds and has lost.
type QueueStats struct {
	// Waiting events are kept, in Bytes bytes of Limit.
	Waiting      int64
	Bytes, Limit int64
	// Recovered events were there when the queue was opened: an earlier run had accepted them.
	Recovered int64
	// Dropped events gave way to later ones; Damaged couldn't be read back. Both are counted exactly where their number is
	// known; damage that hides how many are missing counts in DamagedBytes.
	Dropped, Damaged, DamagedBytes int64
	// Problem says what is wrong at the moment, for people; empty: nothing.
	Problem string
}
