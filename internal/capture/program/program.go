// Package program is a source of packets that are made of what programs do with their sockets: what they send and receive, as their system
// calls tell. Nobody needs to be allowed to capture for it, and nothing of the network is known but what the kernel tells of each connection.
//
//	ptrace --> sockcalls --Event--> Source --Next--> pipeline
//	                                (made into packets of TCP and UDP by synthetic)
package program

import (
	"io"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/capture/synthetic"
	"github.com/culprit-http/culprit/internal/sockcalls"
)

const (
	// batchSize is how many bytes of packets are handed over at a time, at most, but for a larger packet.
	batchSize = 256 << 10
	// maxQueued is how many batches wait to be read. A program that is ahead of them waits.
	maxQueued = 64
	// patience is how long Next waits for packets.
	patience = 100 * time.Millisecond
)

// Source is a capture.Live whose packets come from events. Event and End are called by one goroutine, the methods of capture.Source by another.
type Source struct {
	name   string
	queue  chan *batch
	out    *batch
	at     int
	tap    capture.Tap
	number uint64
	passed int64

	// The rest belongs to who calls Event.
	current *batch
	flushed time.Time
	pool    sync.Pool
}

// batch is packets that are handed over, in memory that records point into.
type batch struct {
	synthetic.Batch
	block *capture.Block
}

// connection is what is kept of a socket.
type connection struct {
	tcp    synthetic.Conn
	opened bool
}

// New returns a source. name is that of its tap.
func New(name string) *Source {
	s := &Source{name: name, queue: make(chan *batch, maxQueued), tap: capture.Tap{Name: name, Recorded: capture.RecordedByProgram}}
	s.current = s.batch()
	return s
}

// batch returns an empty batch.
func (s *Source) batch() *batch {
	b, ok := s.pool.Get().(*batch)
	if !ok {
		b = &batch{}
	}
	b.Reset()
	b.block = capture.NewBlock(nil, func(*capture.Block) { s.pool.Put(b) })
	b.block.Retain() // until it was read
	return b
}

// Event implements sockcalls.Sink.
func (s *Source) Event(e *sockcalls.Event) {
	switch {
	case e.Socket == nil:
	case e.Socket.Kind == sockcalls.TCP:
		s.stream(e)
	case e.Socket.Kind == sockcalls.UDP:
		s.datagram(e)
	}
	if now := e.Ended; len(s.current.Bytes) >= batchSize || len(s.current.Packets) > 0 && now.Sub(s.flushed) >= patience/2 {
		s.Flush(now)
	}
}

// stream makes packets of what happened to a TCP socket.
func (s *Source) stream(e *sockcalls.Event) {
	c, ok := e.Socket.Value.(*connection)
	if !ok {
		c = &connection{}
		e.Socket.Value = c
	}
	self, peer := synthetic.Client, synthetic.Server
	ends := [2]netip.AddrPort{e.Socket.Local, e.Socket.Peer}
	if e.Socket.Accepted {
		self, peer = peer, self
		ends[0], ends[1] = ends[1], ends[0]
	}
	if !c.opened {
		if !ends[0].IsValid() || !ends[1].IsValid() || e.What == sockcalls.Connecting || e.What == sockcalls.Failed {
			return
		}
		c.opened = true
		if e.Socket.Known {
			c.tcp.Join(ends[0], ends[1])
		} else {
			c.tcp.Open(&s.current.Batch, ends[0], ends[1], e.Ended.UnixNano())
		}
	}
	b := &s.current.Batch
	switch e.What {
	case sockcalls.Sent:
		s.bytes(c, self, e, e.Began)
	case sockcalls.Received:
		s.bytes(c, peer, e, e.Ended)
	case sockcalls.Ended:
		c.tcp.End(b, peer, e.Ended.UnixNano())
	case sockcalls.Shut:
		c.tcp.End(b, self, e.Began.UnixNano())
	case sockcalls.Closed:
		c.tcp.End(b, self, e.Began.UnixNano())
	case sockcalls.Failed:
		if e.Errno == int(syscall.ECONNRESET) || e.Errno == int(syscall.EPIPE) {
			c.tcp.Reset(b, peer, e.Ended.UnixNano())
		}
	}
}

// bytes makes packets of bytes that a side has sent.
func (s *Source) bytes(c *connection, from synthetic.Side, e *sockcalls.Event, at time.Time) {
	c.tcp.Data(&s.current.Batch, from, at.UnixNano(), e.Data)
	if missing := e.Length - len(e.Data); missing > 0 {
		c.tcp.Gap(&s.current.Batch, from, at.UnixNano(), uint32(missing))
	}
}

// datagram makes a packet of a datagram.
func (s *Source) datagram(e *sockcalls.Event) {
	self, peer := e.Socket.Local, e.Socket.Peer
	if e.Peer.IsValid() {
		peer = e.Peer
	}
	if !self.IsValid() || !peer.IsValid() || self.Addr().Is4() != peer.Addr().Is4() {
		return
	}
	switch e.What {
	case sockcalls.Sent:
		synthetic.Datagram(&s.current.Batch, self, peer, e.Began.UnixNano(), e.Data)
	case sockcalls.Received:
		synthetic.Datagram(&s.current.Batch, peer, self, e.Ended.UnixNano(), e.Data)
	}
}

// Flush hands over what there is.
func (s *Source) Flush(now time.Time) {
	s.flushed = now
	if len(s.current.Packets) == 0 {
		return
	}
	s.queue <- s.current
	s.current = s.batch()
}

// End says that nothing more will come.
func (s *Source) End() {
	s.Flush(time.Time{})
	close(s.queue)
}

// Next implements capture.Source.
func (s *Source) Next(r *capture.Record) error {
	for s.out == nil || s.at == len(s.out.Packets) {
		if s.out != nil {
			s.out.block.Release()
			s.out = nil
		}
		select {
		case b, open := <-s.queue:
			if !open {
				return io.EOF
			}
			s.out, s.at = b, 0
		case <-time.After(patience):
			return capture.ErrIdle
		}
	}
	p := s.out.Packets[s.at]
	s.at++
	s.number++
	data := s.out.Bytes[p.From:p.To:p.To]
	s.tap.Received++
	s.tap.Bytes += uint64(len(data))
	s.passed = max(s.passed, p.Time)
	*r = capture.Record{Time: p.Time, Number: s.number, Data: data, Block: s.out.block, WireLen: len(data), Link: synthetic.LinkType}
	return nil
}

// Now implements capture.Live.
func (s *Source) Now() int64 { return max(s.passed, time.Now().Add(-patience).UnixNano()) }

// Taps implements capture.Source.
func (s *Source) Taps() []capture.Tap { return []capture.Tap{s.tap} }

// Warnings implements capture.Source.
func (s *Source) Warnings() []string { return nil }

// Close implements capture.Source.
func (s *Source) Close() error { return nil }
