// Package follow gives half-streams to those who want to read them: the bytes of each direction of a connection in
// their order, with the holes among them, decrypted or as sent. The transport and detection don't know of it: a Tee
// stands between the two, and copies what passes.
//
// # Theory of operation
//
//	transport --> Tee --> detection --> parser
//	               |          `-- TLS --> Tee --> detection --> parser      (Plain)
//	               v                       |
//	             Writer <------------------'
//	               v
//	           Collector --Batch--> whoever follows
//
// As sent, the outer Tee copies all. To show what is plain, it has to know whether the connection speaks TLS: what
// comes before that is decided waits, at most MaxHeld bytes.
//
//	waiting --(another protocol, or none)--> shown --(handed over)--> waiting
//	waiting --(TLS)------------------------> left out: what is inside is shown by the Tee there
//	waiting --(more than MaxHeld)----------> shown, until something is decided
//	shown ----(TLS, from some byte on)-----> left out
package follow

import (
	"cmp"
	"slices"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// RawWarning says what those must know who show or keep half-streams.
const RawWarning = "half-streams are given as they were captured: secrets in them aren't redacted"

// Mode says which half-streams are wanted.
type Mode uint8

// The modes.
const (
	// None: nobody follows.
	None Mode = iota
	// Plain: what is inside TLS, where it could be decrypted, and the bytes as sent where there is no TLS.
	Plain
	// Sent: the bytes as sent.
	Sent
)

// Chunk is a stretch of a half-stream: bytes, a hole, or its end.
type Chunk struct {
	// Flow is the connection: the same pointer for all of its chunks, and for no other's. Tap is where it was seen, and
	// Dir who sent the chunk.
	Flow *proto.Flow
	Tap  *exchange.Tap
	Dir  proto.Direction
	// Inner: it was decrypted. ServerName is then the name that the client asked for, as far as is known.
	Inner      bool
	ServerName string
	// At marks the first byte; of an end, what ended it.
	At clock.Mark
	// Data are bytes. They are borrowed as long as the chunk is.
	Data []byte
	// Gap is how many bytes are missing, or proto.Unknown when that can't be told.
	Gap int64
	// Undecrypted says why the bytes of a gap are left out though they were captured; empty for others.
	Undecrypted string
	// Close is why the half-stream has ended, or proto.Open. Over: the connection has, so this is its last chunk.
	Close proto.CloseReason
	Over  bool
	// Facts are those of both half-streams, by their senders, when the connection was over; nil where it isn't, or they aren't known.
	Facts *[2]proto.HalfFacts
	// Step says what the chunk tells of Message, where it is of one rather than of the half-stream: then Data and Gap are of the message's
	// body, and Close and Over say nothing. Such chunks come only if they are wanted.
	Step    Step
	Message *Message

	// seq is the number of the packet, of all that the shard was given, with which the chunk was complete.
	seq uint64
}

// Collector gathers the chunks of a worker. It isn't safe for concurrent use.
type Collector struct {
	batch *Batch
	spare *Batch
}

// Batch is the chunks of an epoch, and the memory that their bytes lie in.
type Batch struct {
	Chunks []Chunk
	block  []byte
}

// The blocks that bytes are copied to: their sizes, and the largest one that is kept to be used again.
const (
	minBlock  = 16 << 10
	maxBlock  = 256 << 10
	maxChunks = 4096
)

// Hand returns the chunks that were gathered since the last call, in their order; nil if there are none. They are the
// caller's until Recycle.
func (c *Collector) Hand() *Batch {
	b := c.batch
	if b == nil || len(b.Chunks) == 0 {
		return nil
	}
	c.batch = nil
	Sort(b.Chunks)
	return b
}

// Recycle takes back a batch that nobody uses any more.
func (c *Collector) Recycle(b *Batch) {
	if cap(b.block) > maxBlock || cap(b.Chunks) > maxChunks {
		return
	}
	clear(b.Chunks)
	c.spare = &Batch{Chunks: b.Chunks[:0], block: b.block[:0]}
}

// add takes a chunk, and a copy of its bytes.
func (c *Collector) add(chunk Chunk) {
	if len(chunk.Data) > 0 {
		chunk.Data = c.keep(chunk.Data)
	}
	c.append(chunk)
}

// append takes a chunk whose bytes are the collector's already.
func (c *Collector) append(chunk Chunk) {
	b := c.current()
	b.Chunks = append(b.Chunks, chunk)
}

// keep returns a copy of bytes that lives as long as the batch.
func (c *Collector) keep(p []byte) []byte {
	b, n := c.current(), len(p)
	if n > cap(b.block)-len(b.block) {
		// What lies in the old block keeps it, until the batch is done with.
		b.block = make([]byte, 0, max(n, min(2*cap(b.block), maxBlock), minBlock))
	}
	at := len(b.block)
	b.block = append(b.block, p...)
	return b.block[at : at+n : at+n]
}

// current returns the batch that is being gathered.
func (c *Collector) current() *Batch {
	if c.batch == nil {
		if c.batch, c.spare = c.spare, nil; c.batch == nil {
			c.batch = &Batch{}
		}
	}
	return c.batch
}

// Sort puts chunks of several workers in the order in which one worker would have gathered them. No two shards have a
// packet in common, so the order is the same with any number of workers; that of a shard is kept.
func Sort(list []Chunk) {
	bySeq := func(a, b Chunk) int { return cmp.Compare(a.seq, b.seq) }
	if !slices.IsSortedFunc(list, bySeq) {
		slices.SortStableFunc(list, bySeq)
	}
}
