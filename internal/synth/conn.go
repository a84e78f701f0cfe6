package synth

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"time"
)

// Side is one of the sides of a connection. The package imports nothing of culprit's, so that the
// tests of every package can use it.
type Side uint8

// The sides of a connection: who opens it, and who answers.
const (
	Client Side = iota
	Server
)

// Conn is a TCP connection. Its sides run programs: Send, Recv, Wait, Call, Close and Reset append a
// step to the program of one side, which does them one after the other, once the connection stands.
type Conn struct {
	// Path is the way between the hosts. Set it before Run.
	Path Path
	// Next is called when the client has done all its steps, and may append more to both sides. nil
	// adds none.
	Next func(*Conn)

	sides [2]*host
}

// Dial opens a connection at a time of the simulation, or at once when that has passed.
func (s *Sim) Dial(at time.Duration, client, server netip.AddrPort, path Path) *Conn {
	c := &Conn{Path: path}
	for side, addr := range [2]netip.AddrPort{client, server} {
		c.sides[side] = &host{
			sim:    s,
			conn:   c,
			side:   Side(side),
			addr:   addr,
			isn:    s.rand.Uint32(),
			ipID:   uint16(s.rand.Uint32()),
			ticks:  s.rand.Uint32(),
			cwnd:   initialWindow,
			finAt:  math.MaxInt64,
			endsAt: math.MaxInt64,
			end:    1,
			backed: initialTimeout,
		}
	}
	c.sides[0].peer, c.sides[1].peer = c.sides[1], c.sides[0]
	s.At(at, c.sides[Client].open)
	return c
}

// Send writes parts as one write: the last segment of it is pushed. The parts are borrowed until
// they have been acknowledged.
func (c *Conn) Send(side Side, parts ...[]byte) {
	c.sides[side].then(step{kind: stepSend, parts: parts})
}

// Recv waits until n more bytes have come from the other side.
func (c *Conn) Recv(side Side, n int) {
	h := c.sides[side]
	h.expected += int64(n)
	h.then(step{kind: stepRecv, n: h.expected})
}

// RecvEnd waits until the other side has closed.
func (c *Conn) RecvEnd(side Side) { c.sides[side].then(step{kind: stepRecvEnd}) }

// Wait does nothing for a while.
func (c *Conn) Wait(side Side, t time.Duration) {
	c.sides[side].then(step{kind: stepWait, n: int64(t)})
}

// Call calls do.
func (c *Conn) Call(side Side, do func()) { c.sides[side].then(step{kind: stepCall, call: do}) }

// Close sends a FIN after what was sent so far. It is the last thing that a side sends.
func (c *Conn) Close(side Side) { c.sides[side].then(step{kind: stepClose}) }

// Reset sends a RST, and forgets what wasn't sent yet.
func (c *Conn) Reset(side Side) { c.sides[side].then(step{kind: stepReset}) }

// Lose loses one segment that a side sends: the nth that carries data, from 0, counting those sent
// again. When seen, it is lost after the tap has recorded it.
func (c *Conn) Lose(side Side, n int, seen bool) {
	h := c.sides[side]
	if h.fates == nil {
		h.fates = map[int]fate{}
	}
	h.fates[n] = lostBeforeTap
	if seen {
		h.fates[n] = lostAfterTap
	}
}

// Exchange appends a request and its response: the client sends the one and waits for the other,
// the server answers think after it has the whole request.
func (c *Conn) Exchange(request []byte, think time.Duration, response ...[]byte) {
	n := 0
	for _, part := range response {
		n += len(part)
	}
	c.Send(Client, request)
	c.Recv(Client, n)
	c.Recv(Server, len(request))
	c.Wait(Server, think)
	c.Send(Server, response...)
}

type stepKind uint8

const (
	stepSend stepKind = iota
	stepRecv
	stepRecvEnd
	stepWait
	stepCall
	stepClose
	stepReset
)

type step struct {
	kind  stepKind
	parts [][]byte
	n     int64
	call  func()
}

// What the simulated TCP does, as Linux would.
const (
	mss            = 1460 // over IPv4; the timestamps take a part of it
	stampsLen      = 12
	segmentSize    = mss - stampsLen
	ipv6Cost       = ipv6Len - ipv4Len
	initialWindow  = 10  // segments (RFC 6928)
	maxWindow      = 128 // segments
	windowScale    = 7
	window         = maxWindow * mss
	delayedAck     = int64(40 * time.Millisecond)
	initialTimeout = int64(time.Second) // RFC 6298 §2
	minTimeout     = int64(200 * time.Millisecond)
	maxResends     = 8 // in a row
	maxSack        = 3 // blocks beside the timestamps
)

// packet is one TCP packet on its way. Positions count from the SYN, which is at 0: data begins at 1.
type packet struct {
	frame  []byte
	flags  uint8
	pos    int64
	length int // of the data
	ack    int64
	stamp  uint32
	lost   bool // after the tap
}

// end returns the position after the packet.
func (p *packet) end() int64 {
	n := p.pos + int64(p.length)
	if p.flags&(flagSYN|flagFIN) != 0 {
		n++
	}
	return n
}

const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// piece is a stretch of the data that a host has to send.
type piece struct {
	pos  int64
	data []byte
	last bool // of its write
}

func (p *piece) end() int64 { return p.pos + int64(len(p.data)) }

// span is a stretch of data received out of order.
type span struct{ from, to int64 }

// host is one side of a connection: a program above a TCP.
//
//	sending:   una ......... next ......... end        finAt
//	           oldest not    first not      end of     position of the FIN,
//	           acknowledged  sent           the data   once closed
type host struct {
	sim  *Sim
	conn *Conn
	peer *host
	side Side
	addr netip.AddrPort

	isn, ticks uint32
	ipID       uint16
	lastTap    int64 // when the last packet passed the tap: packets keep their order
	segments   int   // with data, sent so far
	fates      map[int]fate

	established, gone bool

	pieces         []piece
	una, next, end int64
	finAt          int64
	cwnd           int // segments
	duplicates     int // acknowledgements in a row that acknowledge nothing new
	recover        int64
	resendAt       int64 // 0 is never
	resendPending  bool
	resends        int
	backed         int64 // the retransmission timeout, backed off

	received   int64 // position up to which everything came
	endsAt     int64 // position after the peer's FIN, once seen
	early      []span
	unacked    int // packets since the last acknowledgement
	ackAt      int64
	ackPending bool
	echo       uint32

	program  []step
	at       int // the step of the program
	wakeAt   int64
	expected int64 // bytes that the program has waited for so far
}

func (p *Path) roundTrip() int64 { return 2 * int64(p.Client+p.Server) }

func (h *host) delay() time.Duration {
	if h.side == Client {
		return h.conn.Path.Client
	}
	return h.conn.Path.Server
}

func (h *host) then(s step) {
	h.program = append(h.program, s)
}

// run does the steps of the program, up to one that waits.
func (h *host) run() {
	for h.established && !h.gone {
		if h.at == len(h.program) {
			h.program, h.at = h.program[:0], 0
			if h.side == Client && h.conn.Next != nil {
				h.conn.Next(h.conn)
			}
			if len(h.program) == 0 {
				return
			}
		}
		s := &h.program[h.at]
		switch s.kind {
		case stepSend:
			h.write(s.parts)
		case stepRecv:
			if h.received-1 < s.n {
				return
			}
		case stepRecvEnd:
			if h.received < h.endsAt {
				return
			}
		case stepWait:
			if h.wakeAt == 0 && s.n > 0 {
				h.wakeAt = h.sim.now + s.n
				h.sim.schedule(event{at: h.wakeAt, host: h, kind: wakeTimer})
			}
			if h.sim.now < h.wakeAt {
				return
			}
			h.wakeAt = 0
		case stepCall:
			s.call()
		case stepClose:
			h.finAt = h.end
			h.push()
		case stepReset:
			h.send(flagRST|flagACK, h.next, 0)
			h.gone = true
			return
		}
		h.at++
	}
}

func (h *host) write(parts [][]byte) {
	for i, part := range parts {
		h.pieces = append(h.pieces, piece{pos: h.end, data: part, last: i == len(parts)-1})
		h.end += int64(len(part))
	}
	h.push()
}

func (h *host) open() {
	h.next = 1
	h.resend(0)
	h.arm()
}

// push sends what the congestion window allows.
func (h *host) push() {
	for h.established && !h.gone && h.next < h.end && h.next-h.una < int64(h.cwnd)*segmentSize {
		h.next += h.resend(h.next)
	}
	if h.established && !h.gone && h.next == h.finAt {
		h.next += h.resend(h.next)
	}
	h.arm()
}

// resend sends the segment at a position, for the first time or again, and returns its length in
// sequence numbers.
func (h *host) resend(pos int64) int64 {
	switch {
	case pos == 0 && h.side == Client:
		h.send(flagSYN, 0, 0)
		return 1
	case pos == 0:
		h.send(flagSYN|flagACK, 0, 0)
		return 1
	case pos == h.finAt:
		h.send(flagFIN|flagACK, pos, 0)
		return 1
	}
	n, flags := 0, uint8(flagACK)
	for i := h.pieceAt(pos); n < h.segmentSize() && i < len(h.pieces); i++ {
		p := &h.pieces[i]
		n = min(h.segmentSize(), int(p.end()-pos))
		if p.last && pos+int64(n) == p.end() {
			flags |= flagPSH
			break
		}
	}
	h.send(flags, pos, n)
	return int64(n)
}

// pieceAt returns the index of the piece that holds a position.
func (h *host) pieceAt(pos int64) int {
	i, _ := slices.BinarySearchFunc(h.pieces, pos, func(p piece, pos int64) int {
		if p.end() <= pos {
			return -1
		}
		return 1
	})
	return i
}

func (h *host) segmentSize() int {
	if h.addr.Addr().Is4() {
		return segmentSize
	}
	return segmentSize - ipv6Cost
}

// send makes a packet with n bytes of data, and acknowledges with it.
func (h *host) send(flags uint8, pos int64, n int) {
	s := h.sim
	p := s.newPacket()
	p.flags, p.pos, p.length, p.ack = flags, pos, n, h.received
	p.stamp = h.ticks + uint32((s.now-s.start)/int64(time.Millisecond))
	h.appendFrame(p)
	h.unacked, h.ackAt = 0, 0
	s.transmit(h, p)
}

func (h *host) appendFrame(p *packet) {
	var optionBytes [40]byte
	options := h.appendOptions(optionBytes[:0], p)
	n := tcpLen + len(options) + p.length
	src, dst := h.addr, h.peer.addr
	h.ipID++
	b := appendHeaders(p.frame, h.sim.link, src.Addr(), dst.Addr(), protoTCP, h.ipID, n)
	at := len(b)
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint32(b, h.isn+uint32(p.pos))
	if p.flags&flagACK != 0 {
		b = binary.BigEndian.AppendUint32(b, h.peer.isn+uint32(p.ack))
	} else {
		b = append(b, 0, 0, 0, 0)
	}
	b = append(b, uint8((tcpLen+len(options))/4)<<4, p.flags)
	if p.flags&flagSYN != 0 {
		b = binary.BigEndian.AppendUint16(b, 64240)
	} else {
		b = binary.BigEndian.AppendUint16(b, window>>windowScale)
	}
	b = append(b, 0, 0, 0, 0)
	b = append(b, options...)
	pos := p.pos
	for i := h.pieceAt(pos); pos < p.pos+int64(p.length); i++ {
		q := &h.pieces[i]
		data := q.data[pos-q.pos:]
		data = data[:min(int64(len(data)), p.pos+int64(p.length)-pos)]
		b = append(b, data...)
		pos += int64(len(data))
	}
	putChecksum(b[at:], 16, src.Addr(), dst.Addr(), protoTCP)
	p.frame = b
}

// appendOptions appends TCP options: MSS, SACK permitted and window scale in a SYN, timestamps
// always (RFC 7323), and what came early (RFC 2018).
func (h *host) appendOptions(b []byte, p *packet) []byte {
	stamps := func() {
		b = append(b, 8, 10)
		b = binary.BigEndian.AppendUint32(b, p.stamp)
		b = binary.BigEndian.AppendUint32(b, h.echo)
	}
	if p.flags&flagSYN != 0 {
		b = append(b, 2, 4)
		b = binary.BigEndian.AppendUint16(b, uint16(h.segmentSize()+stampsLen))
		b = append(b, 4, 2)
		stamps()
		return append(b, 1, 3, 3, windowScale)
	}
	b = append(b, 1, 1)
	stamps()
	if n := min(len(h.early), maxSack); n > 0 {
		b = append(b, 1, 1, 5, uint8(2+8*n))
		for _, s := range h.early[:n] {
			b = binary.BigEndian.AppendUint32(b, h.peer.isn+uint32(s.from))
			b = binary.BigEndian.AppendUint32(b, h.peer.isn+uint32(s.to))
		}
	}
	return b
}

// arrive takes a packet from the peer.
func (h *host) arrive(p *packet) {
	switch {
	case p.flags&flagRST != 0:
		h.gone = true
		return
	case h.gone:
		if p.length > 0 {
			h.send(flagRST, p.ack, 0)
		}
		return
	}
	if p.flags&flagACK != 0 {
		h.acknowledged(p)
	}
	h.take(p)
	h.run()
	if !h.gone {
		h.push()
	}
}

// acknowledged follows the peer's acknowledgements: slow start, and fast recovery as NewReno does
// (RFC 6582).
func (h *host) acknowledged(p *packet) {
	switch {
	case p.ack > h.una:
		h.una = p.ack
		h.pieces = h.pieces[h.pieceAt(h.una):]
		h.duplicates, h.resends, h.backed = 0, 0, minTimeout+h.conn.Path.roundTrip()
		h.established = true
		h.resendAt = 0
		if h.una < h.recover {
			h.resend(h.una)
		} else {
			h.cwnd = min(h.cwnd+1, maxWindow)
		}
	case p.ack == h.una && p.length == 0 && p.flags&(flagSYN|flagFIN) == 0 && h.una < h.next:
		h.duplicates++
		if h.duplicates == 3 && h.una >= h.recover {
			h.recover = h.next
			h.cwnd = max(h.cwnd/2, 2)
			h.resend(h.una)
		}
	}
	h.arm()
}

// take takes the data of a packet, and decides when to acknowledge it.
func (h *host) take(p *packet) {
	from, to := p.pos, p.end()
	if from == to {
		return
	}
	if p.flags&flagFIN != 0 {
		h.endsAt = to
	}
	switch {
	case from > h.received:
		h.keepEarly(span{from, to})
		h.send(flagACK, h.next, 0)
		return
	case to <= h.received:
		h.send(flagACK, h.next, 0)
		return
	}
	h.echo = p.stamp
	h.received = to
	filled := len(h.early) > 0
	for len(h.early) > 0 && h.early[0].from <= h.received {
		h.received = max(h.received, h.early[0].to)
		h.early = h.early[1:]
	}
	h.unacked++
	if p.flags&flagSYN != 0 && h.side == Server {
		h.next = 1
		h.resend(0)
		h.arm()
		return
	}
	if filled || h.unacked >= 2 && p.length >= h.segmentSize() || p.flags&(flagSYN|flagFIN) != 0 {
		h.send(flagACK, h.next, 0)
		return
	}
	h.ackAt = h.sim.now + delayedAck
	if !h.ackPending {
		h.ackPending = true
		h.sim.schedule(event{at: h.ackAt, host: h, kind: ackTimer})
	}
}

// keepEarly adds a span to those that came early, in order and joined.
func (h *host) keepEarly(s span) {
	i, _ := slices.BinarySearchFunc(h.early, s, func(a, b span) int { return int(a.from - b.from) })
	h.early = slices.Insert(h.early, i, s)
	joined := h.early[:1]
	for _, s := range h.early[1:] {
		if last := &joined[len(joined)-1]; s.from <= last.to {
			last.to = max(last.to, s.to)
		} else {
			joined = append(joined, s)
		}
	}
	h.early = joined
}

// arm sets the retransmission timer when something is outstanding.
func (h *host) arm() {
	switch {
	case h.una == h.next:
		h.resendAt = 0
		return
	case h.resendAt != 0:
		return
	}
	h.resendAt = h.sim.now + h.backed
	if !h.resendPending {
		h.resendPending = true
		h.sim.schedule(event{at: h.resendAt, host: h, kind: resendTimer})
	}
}

// timer is called when a timer's time has come; the deadline may have moved since it was set.
func (h *host) timer(k eventKind) {
	now := h.sim.now
	switch {
	case h.gone:
	case k == wakeTimer:
		h.run()
	case k == ackTimer:
		h.ackPending = false
		switch {
		case h.ackAt == 0:
		case h.ackAt > now:
			h.ackPending = true
			h.sim.schedule(event{at: h.ackAt, host: h, kind: ackTimer})
		default:
			h.send(flagACK, h.next, 0)
		}
	case k == resendTimer:
		h.resendPending = false
		switch {
		case h.resendAt == 0:
		case h.resendAt > now:
			h.resendPending = true
			h.sim.schedule(event{at: h.resendAt, host: h, kind: resendTimer})
		case h.resends == maxResends:
			h.gone = true
		default:
			h.resends++
			h.backed *= 2
			h.cwnd, h.recover, h.duplicates = 2, h.next, 0
			h.resendAt = 0
			h.resend(h.una)
			h.arm()
		}
	}
}
