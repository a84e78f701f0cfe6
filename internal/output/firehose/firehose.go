// Package firehose records connections as Apache httpd's mod_firehose does for the server that it runs in: each connection, or each
// request, is a stream of fragments in either direction, told apart by a UUID. internal/firehose has the format, docs/firehose.md
// what is recorded.
//
// # Theory of operation
//
//	chunk --> connection --stream(s)--> half --fragment--> volume   a file, with its list of connections
//	              ^                       |          `---> pipe     somebody who reads, waited for
//	              |                       |          `---> queue    somebody who reads, not waited for
//	messages, which say where             `--count: jumps where bytes are missing, or a fragment was dropped
//	requests begin and end
//
// What came in one packet is joined to fragments of at most MaxData bytes; no fragment has bytes of two packets, so times stay those of
// the packets. Nothing waits beyond a call of Chunks.
package firehose

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/firehose"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/proto"
)

// The limits.
const (
	// MaxRequests is how many requests of a connection are open at a time, where each has a stream of its own. The oldest ends when there
	// are more.
	MaxRequests = 1024
	// maxOthers is how many servers are named that were seen when none of them was a party.
	maxOthers = 8
)

// Options say what is recorded.
type Options struct {
	// Parties are the servers to stand for, each by its address and port; an address that isn't valid is any, and so is port 0. None: all
	// connections are recorded, each as its own server would.
	Parties []netip.AddrPort
	// Proxy: what is recorded are the connections that the parties make, to their backends; otherwise those that they accept.
	Proxy bool
	// Requests: a UUID for each request, rather than for each connection.
	Requests bool
	// Input and Output are what is recorded: what the party reads, and what it writes.
	Input, Output bool
	// Digests: the list of connections has SHA-256 digests of what was recorded, and Files have manifests.
	Digests bool
	// Live: a file that can't be written is tried again, since the disk may have room again; otherwise that ends the run.
	Live bool
	// RotateSize ends a file that has as many bytes, and RotateEvery one whose connections began over that much capture time; 0: never.
	RotateSize  int64
	RotateEvery time.Duration
	// Tell, if not nil, tells the user what has to be known at once, such as that nobody reads.
	Tell func(text string)
}

// Stats count what was recorded.
type Stats struct {
	// HalfStreams are those of which something was recorded, and Bytes what; Holes are stretches that were missing in the capture, and
	// MissingBytes their bytes.
	follow.Stats
	// Connections and Streams were recorded, in as many Fragments, end marks not among them.
	Connections, Streams, Fragments uint64
	// Dropped fragments weren't written, of DroppedBytes, in as many Affected streams: there was no room, or nobody read. LostEnds are end
	// marks that weren't, Untraced half-streams of which nothing at all was, and LostLines lines of the list.
	Dropped, DroppedBytes, Affected, LostEnds, Untraced, LostLines uint64
	// Midstream are connections whose beginning wasn't captured.
	Midstream uint64
	// Overflow are requests that ended since there were MaxRequests.
	Overflow uint64
	// Late counts the connections that began in a file which was due to end, because no other was free.
	Late uint64
	// Unselected are connections of no party, and Others the servers of some of them.
	Unselected uint64
	Others     []string
}

// sink is where fragments go.
type sink interface {
	// put takes a fragment: written, or to be. It calls settle on e.half, maybe later. An error ends the run.
	put(e entry) error
	// reserve makes room for the end mark of a half-stream, and reports whether there was some.
	reserve() bool
	flush() error
	close() error
}

// entry is a fragment on its way.
type entry struct {
	// text is the fragment as it is written; data are how many bytes of it are the conversation's.
	text []byte
	data int
	end  bool
	half *half
}

// place is where streams are recorded: a sink, and the list of what is in it.
type place struct {
	sink sink
	list *list
	// connections are those that are in it and open. done, if not nil, is called when there is none any more.
	connections int
	done        func() error
}

// Output records connections. It implements output.Output, and records nothing of exchanges.
type Output struct {
	o           Options
	connections map[*proto.Flow]*connection
	// places are where is recorded, in the order in which they are used; current is the one for new connections.
	places []*place
	rotate rotation
	// The fragment that is being filled: pending of half, all of packet. text is for the encoded form.
	half   *half
	packet packetID
	data   []byte
	time   int64
	text   []byte
	stats  Stats
	// newest is the time of the last chunk, in nanoseconds since 1970. failed: an error has ended the run.
	newest int64
	failed bool
	others map[string]bool
}

// packetID tells one packet from others.
type packetID struct {
	time   int64
	packet uint64
	inner  bool
}

// newOutput returns an Output without a place.
func newOutput(o Options) *Output {
	return &Output{o: o, connections: map[*proto.Flow]*connection{}, data: make([]byte, 0, firehose.MaxData), others: map[string]bool{}}
}

// Exchange implements output.Output.
func (o *Output) Exchange(*exchange.Exchange) error { return nil }

// Headline implements output.Headline: nothing of an exchange needs redaction.
func (o *Output) Headline() {}

// Stats returns what was recorded so far.
func (o *Output) Stats() Stats {
	s := o.stats
	for name := range o.others {
		s.Others = append(s.Others, name)
	}
	slices.Sort(s.Others)
	return s
}

// Flush implements output.Output.
func (o *Output) Flush() error {
	for _, p := range o.places {
		if err := p.sink.flush(); err != nil {
			return o.fail(err)
		}
	}
	return nil
}

// Close implements output.Output. Connections that are open end with what was captured of them.
func (o *Output) Close() error {
	var first error
	if !o.failed {
		var open []*connection
		for _, c := range o.connections {
			open = append(open, c)
		}
		slices.SortFunc(open, func(a, b *connection) int { return bytes.Compare(a.uuid[:], b.uuid[:]) })
		for _, c := range open {
			if first = o.over(c, o.newest, proto.CaptureEnded.String()); first != nil {
				break
			}
		}
	}
	for _, p := range o.places {
		if err := p.sink.close(); first == nil && !o.failed {
			first = err
		}
	}
	if err := o.rotate.close(o); first == nil && !o.failed {
		first = err
	}
	return o.wrap(first)
}

func (o *Output) wrap(err error) error {
	if err != nil && !strings.HasPrefix(err.Error(), "firehose output: ") {
		return fmt.Errorf("firehose output: %w", err)
	}
	return err
}

func (o *Output) fail(err error) error {
	o.failed = true
	return o.wrap(err)
}

// tell tells the user something.
func (o *Output) tell(format string, args ...any) {
	if o.o.Tell != nil {
		o.o.Tell(fmt.Sprintf(format, args...))
	}
}

// Chunks records chunks. They are borrowed until return.
func (o *Output) Chunks(all []follow.Chunk) error {
	for i := range all {
		if err := o.chunk(&all[i]); err != nil {
			return o.fail(err)
		}
	}
	if err := o.cut(); err != nil {
		return o.fail(err)
	}
	return nil
}

func (o *Output) chunk(c *follow.Chunk) error {
	o.newest = max(o.newest, c.At.Time)
	conn := o.connections[c.Flow]
	if conn == nil {
		if c.Step == follow.NoMessage && c.Close != proto.Open {
			return nil // nothing came of it
		}
		conn = &connection{flow: c.Flow}
		o.connections[c.Flow] = conn
	}
	if c.Step != follow.NoMessage {
		conn.message(c, o.o.Requests)
		return nil
	}
	if c.Close != proto.Open {
		if !c.Over {
			return nil // the other direction goes on, and end marks come with the end of the connection
		}
		return o.over(conn, c.At.Time, c.Close.String())
	}
	if !conn.decided {
		conn.decide(c)
		conn.choose(o)
	}
	if !conn.selected {
		return nil
	}
	if c.Undecrypted != "" {
		o.stats.Add(c, false)
		if conn.place == nil {
			return nil // nothing of it is in the recording
		}
	} else if c.Gap != 0 {
		o.stats.Add(c, false)
	}
	if o.o.Requests {
		return o.requestChunk(conn, c)
	}
	if conn.stream == nil {
		s, err := o.open(conn, conn.uuid, c)
		if err != nil {
			return err
		}
		conn.stream = s
	}
	return o.take(conn.stream, conn.side(c.Dir), c)
}

// take records a chunk in a stream.
func (o *Output) take(s *stream, side int, c *follow.Chunk) error {
	h := &s.half[side]
	if !h.wanted {
		return nil
	}
	if c.Gap != 0 {
		if err := o.cut(); err != nil {
			return err
		}
		h.miss(c.Gap)
		return nil
	}
	if h.count == 0 && h.late {
		h.count = 1 // what came before wasn't captured, and a reader must see that
	}
	packet := packetID{c.At.Time, c.At.Packet, c.Inner}
	if o.half != h || o.packet != packet {
		if err := o.cut(); err != nil {
			return err
		}
		o.half, o.packet, o.time = h, packet, c.At.Time
	}
	for b := c.Data; len(b) > 0; {
		n := min(len(b), firehose.MaxData-len(o.data))
		o.data = append(o.data, b[:n]...)
		b = b[n:]
		if len(o.data) == firehose.MaxData {
			if err := o.send(); err != nil {
				return err
			}
		}
	}
	return nil
}

// cut ends the fragment that is being filled.
func (o *Output) cut() error {
	err := o.send()
	o.half = nil
	return err
}

// send sends what there is of the fragment that is being filled.
func (o *Output) send() error {
	if len(o.data) == 0 {
		return nil
	}
	err := o.fragment(o.half, o.time, o.data)
	o.data = o.data[:0]
	return err
}

// fragment writes a fragment of a half-stream at a time in nanoseconds since 1970. Without data it is the end mark.
func (o *Output) fragment(h *half, at int64, data []byte) error {
	// Who reads expects that times don't go back, as those of a server don't.
	h.last = max(h.last, at/int64(time.Microsecond))
	f := firehose.Fragment{UUID: h.stream.uuid, Dir: h.dir(), Time: h.last, Count: h.count, Data: data, End: data == nil}
	p := h.stream.place
	if !h.reserved {
		h.reserved = p.sink.reserve()
	}
	e := entry{data: len(data), end: f.End, half: h}
	switch {
	case f.End:
		h.ending = true
		if !h.reserved { // nothing of it was ever written, so there is nothing to end
			o.stats.Untraced++
			return o.settle(&e, false)
		}
	default:
		h.count++
		if !h.reserved {
			return o.settle(&e, false)
		}
	}
	o.text = f.Append(o.text[:0])
	e.text = o.text
	if o.o.Digests {
		h.pending = data
	}
	err := p.sink.put(e)
	h.pending = nil
	return err
}

// settle notes what has become of a fragment.
func (o *Output) settle(e *entry, written bool) error {
	h := e.half
	switch {
	case e.end:
		h.over = true
		return o.finish(h.stream)
	case written:
		o.stats.Fragments++
		o.stats.Bytes += uint64(e.data)
		if h.written == 0 {
			o.stats.HalfStreams++
		}
		h.written++
		h.bytes += int64(e.data)
		if o.o.Digests {
			h.digest(h.pending)
		}
	default:
		o.stats.Dropped++
		o.stats.DroppedBytes += uint64(e.data)
		if h.dropped == 0 {
			o.stats.Affected++
		}
		h.dropped++
	}
	return nil
}

// open begins a stream of a connection.
func (o *Output) open(c *connection, id firehose.UUID, chunk *follow.Chunk) (*stream, error) {
	if c.place == nil {
		p, err := o.placeAt(chunk.At.Time)
		if err != nil {
			return nil, err
		}
		c.place = p
		p.connections++
		o.stats.Connections++
		if c.flow.Midstream {
			o.stats.Midstream++
		}
	}
	o.stats.Streams++
	s := &stream{uuid: id, connection: c, place: c.place, started: chunk.At.Time, number: c.streams}
	c.streams++
	c.inner = c.inner || chunk.Inner
	if chunk.ServerName != "" {
		c.name = chunk.ServerName
	}
	for side := range s.half {
		s.half[side] = half{stream: s, side: side, wanted: c.wanted(side, &o.o), late: c.flow.Midstream && !o.o.Requests}
	}
	return s, s.place.list.begin(s, &o.o)
}

// finish writes the last line of a stream into the list, once both of its directions are over.
func (o *Output) finish(s *stream) error {
	for i := range s.half {
		if h := &s.half[i]; h.ending && !h.over {
			return nil
		}
	}
	if s.listed {
		return nil
	}
	s.listed = true
	return s.place.list.end(s, &o.o)
}

// end ends a stream.
func (o *Output) end(s *stream, at int64, why string) error {
	if err := o.cut(); err != nil {
		return err
	}
	s.ended, s.why = at, why
	for i := range s.half {
		h := &s.half[i]
		if h.count == 0 {
			continue // a direction without bytes leaves no trace
		}
		h.ending = true
	}
	for i := range s.half {
		if h := &s.half[i]; h.ending {
			if err := o.fragment(h, at, nil); err != nil {
				return err
			}
		}
	}
	return o.finish(s)
}

// over ends a connection.
func (o *Output) over(c *connection, at int64, why string) error {
	delete(o.connections, c.flow)
	if err := o.cut(); err != nil {
		return err
	}
	if c.stream != nil {
		if err := o.end(c.stream, at, why); err != nil {
			return err
		}
	}
	for _, s := range c.requests {
		if err := o.end(s, at, why); err != nil {
			return err
		}
	}
	c.requests = nil
	p := c.place
	if p == nil {
		return nil
	}
	if p.connections--; p.connections == 0 && p.done != nil {
		return p.done()
	}
	return nil
}
