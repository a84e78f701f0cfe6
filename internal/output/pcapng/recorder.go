// Package pcapng records packets as pcapng (draft-ietf-opsawg-pcapng): all of a capture, or those of the
// exchanges that were selected.
//
// # Theory of operation
//
// The reader's goroutine gives packets to Packet, the one that shows exchanges calls Exchange and Unmatched, and
// a goroutine of the recorder's own writes. Packets are copied once, into pages, and then move between lists:
//
//	          room                        written
//	Packet ---------->  out  ----------------------->  free
//	   |                 ^
//	   | Options.Matched | Exchange: they are of it
//	   +------------> a flow
//	                     | Unmatched, the end of the connection or its silence, or memory is short
//	                     +---------------------------->  free
//
// An exchange says which packets its first and last byte came in. A flow knows what else belongs to it: the
// handshake, early and late copies, and, until new data is sent, the acknowledgements and the end of the
// connection behind it. An ICMP error belongs to the flow of the packet that it quotes. What can't be read from its middle, TLS and HTTP/2, is kept and written from its beginning on.
//
// When there is no room for a packet, a capture from files waits for the writer, and a live one doesn't: of
// what is kept, the heaviest flow lets go of its oldest packet, and when nothing is kept, the packet is dropped.
package pcapng

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// RawWarning is what a user is to be told once when packets are recorded.
const RawWarning = "the recording holds packets as they were captured: secrets in it aren't redacted"

// KeysWarning is what a user is to be told instead when keys are recorded, too.
const KeysWarning = "the recording holds packets as they were captured, and those keys that are known of them: whoever has it can read what they decrypt"

// DefaultMemory is the memory for packets that wait, in bytes, when Options.Memory is 0.
const DefaultMemory = 64 << 20

// minMemory is the least memory for packets that wait.
const minMemory = 1 << 20

// What a flow takes in memory, and the share of the memory that flows may take, so that whoever opens many
// connections doesn't push the packets of others out.
const (
	flowCost  = 400
	flowShare = 8
)

// Options say what is recorded, and how.
type Options struct {
	// Application, Hardware and OS name the program and the machine in the file; empty: left out.
	Application, Hardware, OS string
	// CaptureFilter and Selection are what the user selected packets and exchanges by, for the file's comment.
	CaptureFilter, Selection string
	// Matched: only the packets of exchanges that are given to Exchange are recorded; otherwise all packets.
	Matched bool
	// Live: packets are dropped rather than waited for when the writer is too slow.
	Live bool
	// Pipe: somebody reads what is written while it is. The one file is then neither truncated nor rewound, and
	// when it can't be written any more, Exchange and Flush fail.
	Pipe bool
	// Memory bounds the packets that wait for their exchange or to be written, in bytes; 0: DefaultMemory.
	Memory int
	// RotateSize ends a file before it is larger, in bytes, and RotateEvery when its packets span that much
	// capture time; 0: never. The files are used in turn.
	RotateSize  int64
	RotateEvery time.Duration
	// Keys are written for the sessions of the packets that are recorded; nil: no keys are ever written.
	Keys Keys
	// Taps returns the taps of the source, whose names and counters go into the file. It is called from Packet
	// and Close; nil: nothing is known of taps.
	Taps func() []capture.Tap
}

// Counters count what became of packets and exchanges. After Close, Received is Written + LetGo + Evicted +
// Dropped + Failed.
type Counters struct {
	// Received packets were given to the recorder; Written ones are in the files, or were before a file was
	// used again.
	Received, Written uint64
	// LetGo packets belong to no exchange that was selected. Evicted ones were let go of for lack of memory,
	// before that was known.
	LetGo, Evicted uint64
	// Dropped packets came faster than they could be written; Failed ones after writing had failed.
	Dropped, Failed uint64
	// Exchanges were selected; Incomplete are those of them that lack packets which were evicted or dropped.
	Exchanges, Incomplete uint64
	// Uncommented exchanges have no comment: nothing of them was left to write, or there was no memory.
	Uncommented uint64
	// Secrets is how often the secrets of a session were written. Keyless are those that weren't for lack of memory.
	Secrets, Keyless uint64
	// Files were begun, counting those that were used again, of which Overwritten held packets.
	Files, Overwritten uint64
}

// Recorder records packets. It implements pipeline.Recorder and output.Output. Packet may be called from one
// goroutine while the other methods are called from another; Close comes after all else.
type Recorder struct {
	options Options
	done    chan struct{}

	mu sync.Mutex
	// work tells the writer that there is something to do; space tells others that there is room again.
	work, space sync.Cond
	pages       pages
	flows       flows
	fragments   []fragment
	out         list
	queued      int // pages of out
	writing     int // pages that the writer has taken
	flush       bool
	closed      bool
	err         error
	count       Counters

	taps     []capture.Tap
	tapsAt   int64
	ifaces   []iface
	recent   int // index of the interface of the last packet
	pending  selection
	secrets  secrets
	progress int64 // capture time up to which exchanges have come
}

// iface is an interface: a tap and a link type.
type iface struct {
	tap  uint32
	link capture.LinkType
	// seen counts the packets given to the recorder, lost those that it dropped; drops are losses that the next
	// packet is to tell of.
	seen, lost  uint64
	drops       uint32
	first, last int64 // times of packets
}

// maxIfaces is how many interfaces are told apart; there are fewer taps.
const maxIfaces = 4096

// selection are exchanges of one connection that overlap, and are to be written. They wait until the next call,
// since what follows may share their packets.
type selection struct {
	key               packet.Flow
	conn, first, last uint64
	exchanges         uint64
	inOrder           bool
	randoms           [][32]byte // of the sessions that carried them
	comments          []byte     // one after the other
	ends              []int      // where each comment ends
}

// New returns a recorder that writes to files in turn; there must be one at least. The caller closes them after
// Close. Without Options.Pipe each file is begun at once, so that all of them can be read whatever happens.
func New(files []File, o Options) *Recorder {
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	o.Memory = max(o.Memory, minMemory)
	r := &Recorder{options: o, done: make(chan struct{})}
	r.work.L, r.space.L = &r.mu, &r.mu
	r.pages.limit = o.Memory / pageCost
	if o.Matched {
		r.flows = newFlows(o.Memory / flowShare / flowCost)
		r.pages.limit -= r.pages.limit / flowShare
	}
	r.secrets = newSecrets(&r.options)
	go r.write(newWriter(files, &r.options))
	return r
}

// Packet implements pipeline.Recorder.
func (r *Recorder) Packet(rec *capture.Record, p *packet.Packet, key *packet.Flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.Received++
	at := r.see(rec)
	switch {
	case r.err != nil:
		r.count.Failed++
	case at < 0:
		r.count.Dropped++
	case !r.options.Matched:
		if page := r.keep(rec, at); page != 0 {
			if r.secrets.keys != nil {
				r.await()
				if p != nil {
					r.begin(p, page)
				}
			}
			r.send(page)
			return
		}
		r.drop(at)
	case p == nil && key == nil:
		r.holdFragment(rec, at)
	case p == nil:
		r.holdError(rec, key, at)
	default:
		r.hold(rec, p, key, at)
	}
}

// see notes a packet and its interface, and returns the index of that, -1 when there are too many.
func (r *Recorder) see(rec *capture.Record) int {
	at := r.recent
	if at >= len(r.ifaces) || r.ifaces[at].tap != rec.Tap || r.ifaces[at].link != rec.Link {
		at = slices.IndexFunc(r.ifaces, func(f iface) bool { return f.tap == rec.Tap && f.link == rec.Link })
		if at < 0 {
			if len(r.ifaces) == maxIfaces {
				return -1
			}
			at = len(r.ifaces)
			r.ifaces = append(r.ifaces, iface{tap: rec.Tap, link: rec.Link, first: rec.Time, last: rec.Time})
			r.readTaps()
		}
		r.recent = at
	}
	f := &r.ifaces[at]
	f.seen++
	f.first, f.last = min(f.first, rec.Time), max(f.last, rec.Time)
	if since := rec.Time - r.tapsAt; since >= tapsEvery || since <= -tapsEvery {
		r.tapsAt = rec.Time
		r.readTaps()
	}
	return at
}

// tapsEvery is how much capture time passes until the counters of the taps are looked at again.
const tapsEvery = int64(time.Second)

// readTaps copies the taps, and notes what was lost since the last time.
func (r *Recorder) readTaps() {
	if r.options.Taps == nil {
		return
	}
	taps := r.options.Taps()
	for i := range min(len(taps), len(r.taps)) {
		if n := taps[i].Dropped - r.taps[i].Dropped; r.options.Live && n > 0 {
			if k := slices.IndexFunc(r.ifaces, func(f iface) bool { return f.tap == uint32(i) }); k >= 0 {
				r.ifaces[k].drops += uint32(min(n, 1<<31))
			}
		}
	}
	r.taps = append(r.taps[:0], taps...)
}

// maxPacket is how much is recorded of a packet, in bytes: readers refuse blocks of more than 16 MiB.
const maxPacket = 15 << 20

// keep copies a packet, and returns 0 when there is no room.
func (r *Recorder) keep(rec *capture.Record, at int) uint32 {
	data := rec.Data[:min(len(rec.Data), maxPacket)]
	if !r.room(pagesOf(len(data))) {
		return 0
	}
	page := r.pages.store(data)
	h, f := r.pages.head(page), &r.ifaces[at]
	h.time, h.number, h.wire, h.iface = rec.Time, rec.Number, uint32(max(rec.WireLen, len(data))), uint16(at)
	h.drops, f.drops = f.drops, 0
	return page
}

// room makes room for n pages.
func (r *Recorder) room(n int) bool {
	for r.pages.available() < n {
		switch {
		case r.err != nil || n > r.pages.limit:
			return false
		case r.hurry():
		case !r.options.Live && r.queued+r.writing >= sendAt, !r.options.Live && !r.evictable() && r.queued+r.writing > 0:
			r.flush = true
			r.work.Signal()
			r.space.Wait()
		case !r.evictable():
			return false
		default:
			r.evict()
		}
	}
	return true
}

// evictable reports whether evict has something to let go of.
func (r *Recorder) evictable() bool { return r.flows.filled != 0 || len(r.fragments) > 0 }

// evict lets go of the oldest packet of the heaviest flow, its handshake last.
func (r *Recorder) evict() {
	i := r.flows.heaviest()
	if i == 0 {
		r.dropFragment(0, &r.count.Evicted)
		return
	}
	f := &r.flows.all[i]
	var before uint32
	page := f.packets.first
	for at := page; at != 0; at = r.pages.head(at).next {
		if r.pages.head(at).flags&isHandshake == 0 {
			page = at
			break
		}
		before = at
	}
	if page == f.packets.first {
		before = 0
	}
	r.count.Evicted++
	f.lost = max(f.lost, r.pages.head(page).number)
	r.take(i, before, page)
	r.pages.release(page)
}

// take takes a packet from its flow.
func (r *Recorder) take(i, before, page uint32) {
	f := &r.flows.all[i]
	r.pages.unlink(&f.packets, before, page)
	f.pages -= pagesOf(int(r.pages.head(page).size))
	r.flows.weigh(i)
}

// drop counts a packet for which there is no room.
func (r *Recorder) drop(at int) {
	if r.err != nil {
		r.count.Failed++
		return
	}
	r.count.Dropped++
	r.ifaces[at].lost++
	r.ifaces[at].drops++
}

// sendAt is how many pages the writer is woken for: a write takes as long as copying about as much.
const sendAt = 256

// send gives a packet or a comment to the writer.
func (r *Recorder) send(page uint32) {
	r.pages.push(&r.out, page)
	r.queued += pagesOf(int(r.pages.head(page).size))
	if r.queued >= sendAt {
		r.work.Signal()
	}
}

// hold keeps a packet with its flow, or sends it when it trails an exchange that matched.
func (r *Recorder) hold(rec *capture.Record, p *packet.Packet, key *packet.Flow, at int) {
	page := r.keep(rec, at) // first, since the table may change while it waits
	k := *key
	k.Net = 0
	i := r.flows.index[k]
	if i == 0 {
		if len(r.flows.index) == r.flows.limit {
			r.forget(r.flows.dispensable(), &r.count.Evicted)
		}
		i = r.flows.add(k, rec.Number)
	} else {
		r.flows.touch(i)
	}
	is, end, opened := r.flows.arrive(i, p, p.Src == k.Lo && p.SrcPort == k.LoPort)
	f := &r.flows.all[i]
	if page == 0 {
		r.miss(f, rec.Number, at)
		return
	}
	f.trailing = f.trailing && is&isFresh == 0 && !opened
	if is&isFresh != 0 && p.Proto == packet.ProtoTCP {
		r.flows.look(i, p.Payload, r.secrets.keys != nil)
	}
	r.place(rec, i, page, is, end)
}

// holdError keeps an ICMP error with the flow that it is about, as if that had sent it without data.
func (r *Recorder) holdError(rec *capture.Record, key *packet.Flow, at int) {
	k := *key
	k.Net = 0
	if r.flows.index[k] == 0 {
		r.count.LetGo++
		return
	}
	page := r.keep(rec, at)
	i := r.flows.index[k] // again, since the table may have changed while it waited
	switch {
	case page != 0 && i != 0:
		r.place(rec, i, page, 0, 0)
	case page != 0:
		r.count.LetGo++
		r.pages.release(page)
	case i != 0:
		r.miss(&r.flows.all[i], rec.Number, at)
	default:
		r.drop(at)
	}
}

// miss notes that there was no room for a packet of a flow.
func (r *Recorder) miss(f *flow, number uint64, at int) {
	if f.dropped == 0 {
		f.droppedFrom = number
	}
	f.dropped = number
	r.drop(at)
}

// place gives a packet to its flow, or to the writer, with the fragments of its datagram.
func (r *Recorder) place(rec *capture.Record, i, page uint32, is flags, end uint32) {
	f := &r.flows.all[i]
	send := f.trailing || f.wrote(is, end)
	give := func(page uint32) {
		h := r.pages.head(page)
		h.flags, h.end = is, end
		if send {
			r.send(page)
			return
		}
		r.pages.push(&f.packets, page)
		f.pages += pagesOf(int(h.size))
		r.flows.weigh(i)
	}
	r.claim(rec, give)
	give(page)
}

// forget lets go of a flow and its packets.
func (r *Recorder) forget(i uint32, count *uint64) {
	r.letGo(i, ^uint64(0), ^uint64(0), count)
	r.flows.delete(i)
}

// letGo lets go of the packets of a flow before number, but keeps the handshake from conn on.
func (r *Recorder) letGo(i uint32, number, conn uint64, count *uint64) {
	f := &r.flows.all[i]
	var before uint32
	for page := f.packets.first; page != 0; {
		h := r.pages.head(page)
		next := h.next
		switch {
		case h.number >= number:
			return
		case h.flags&isHandshake != 0 && h.number >= conn:
			before = page
		default:
			*count++
			r.take(i, before, page)
			r.pages.release(page)
		}
		page = next
	}
}

// Exchange implements output.Output: the packets of an exchange that was selected are written.
func (r *Recorder) Exchange(x *exchange.Exchange) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.secrets.keys != nil && x.TLS != nil && x.TLS.HasRandom
	if !r.options.Matched {
		if known {
			r.mention(x.TLS.Random)
		}
		return r.broken()
	}
	r.count.Exchanges++
	s, key := &r.pending, flowOf(x)
	if s.exchanges > 0 && (s.key != key || s.conn != x.Flow.First.Packet || x.FirstPacket > s.last || len(s.comments) > maxComments) {
		r.commit()
	}
	if s.exchanges == 0 {
		*s = selection{
			key: key, conn: x.Flow.First.Packet, first: x.FirstPacket, last: x.LastPacket, inOrder: true,
			comments: s.comments[:0], ends: s.ends[:0], randoms: s.randoms[:0],
		}
	}
	s.exchanges++
	if known && !slices.Contains(s.randoms, x.TLS.Random) {
		s.randoms = append(s.randoms, x.TLS.Random)
	}
	s.first, s.last = min(s.first, x.FirstPacket), max(s.last, x.LastPacket)
	s.comments = AppendComment(s.comments, x)
	s.ends = append(s.ends, len(s.comments))
	r.deliver(x, key)
	return r.broken()
}

// maxComments is the length of comments from which on exchanges aren't put together any more, in bytes.
const maxComments = 16 << 10

// Unmatched tells of an exchange that wasn't selected: packets that only it or those before it needed are let go
// of. x is borrowed until return.
func (r *Recorder) Unmatched(x *exchange.Exchange) {
	if !r.options.Matched {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commit()
	key := flowOf(x)
	inOrder := r.deliver(x, key)
	if i := r.flows.index[key]; i != 0 {
		if inOrder && !r.flows.all[i].stateful {
			r.letGo(i, x.FirstPacket, x.Flow.First.Packet, &r.count.LetGo)
		}
		f := &r.flows.all[i]
		f.last = max(f.last, x.LastPacket)
	}
	r.sweep()
}

// deliver notes an exchange, and reports whether all exchanges before it have come too.
func (r *Recorder) deliver(x *exchange.Exchange, key packet.Flow) bool {
	if step := x.Completed.Time - r.progress; step > 0 || step < -int64(clock.MaxJump) {
		r.progress = x.Completed.Time // back again, when one was far in the future
	}
	i := r.flows.index[key]
	if i == 0 {
		return false
	}
	inOrder := x.Period == nil && r.flows.all[i].delivered(x.Flow.First.Packet, x.Index) // records of flows are numbered apart
	r.flows.weigh(i)
	if r.pending.exchanges > 0 {
		r.pending.inOrder = r.pending.inOrder && inOrder
	}
	return inOrder
}

// sweep lets go of flows that are over, and whose exchanges have all come.
func (r *Recorder) sweep() {
	for o := closed; o < numOver; o++ {
		ring := &r.flows.over[o]
		for i := ring.first; i != 0 && r.flows.all[i].silentAt < r.progress-settled[o]; i = ring.first {
			if f := &r.flows.all[i]; o == answered && f.unsettled() {
				r.flows.rest(i, waiting, f.silentAt)
				continue
			}
			r.forget(i, &r.count.LetGo)
		}
	}
}

// flowOf returns the key under which the packets of an exchange are kept. Networks aren't told apart: a mirror
// port may tag one direction only.
func flowOf(x *exchange.Exchange) packet.Flow {
	f := x.Flow
	p := packet.Packet{
		Src: f.Addr[proto.Originator], Dst: f.Addr[proto.Responder],
		SrcPort: f.Port[proto.Originator], DstPort: f.Port[proto.Responder], Proto: f.Proto, Tap: x.Start.Tap,
	}
	key, _ := p.Key()
	return key
}

// commit gives the packets of the pending exchanges to the writer.
func (r *Recorder) commit() {
	s := &r.pending
	if s.exchanges == 0 {
		return
	}
	n := s.exchanges
	s.exchanges = 0
	if r.err != nil {
		return
	}
	// Comments first: the table may change while they wait for room.
	var comments list
	from := 0
	for _, end := range s.ends {
		r.addComment(&comments, s.comments[from:end])
		from = end
	}
	i := r.flows.index[s.key]
	if i == 0 {
		r.count.Incomplete += n
		r.discard(&comments, n)
		return
	}
	f := &r.flows.all[i]
	first := s.first
	if f.stateful {
		first = min(first, s.conn)
	}
	if first <= f.lost || first < f.since || f.dropped >= first && f.droppedFrom <= s.last {
		r.count.Incomplete += n
		r.addComment(&comments, []byte(incompleteComment))
		if i = r.flows.index[s.key]; i == 0 {
			r.discard(&comments, n)
			return
		}
		f = &r.flows.all[i]
	}
	low := first
	if !f.mixed && s.key.Proto == packet.ProtoTCP {
		// What lies between the exchange before and this one may be early segments of this one.
		low = min(low, max(f.last+1, s.conn))
	}
	r.choose(i, low, &comments)
	r.discard(&comments, n)
	f.last = max(f.last, s.last)
	if s.inOrder {
		r.letGo(i, s.first, s.conn, &r.count.LetGo)
	}
	r.sweep()
}

// choose sends the packets of the pending exchanges, from low on, to the writer. The comments go with the first
// packet of the exchanges themselves, the secrets of their sessions with the first of all.
func (r *Recorder) choose(i uint32, low uint64, comments *list) {
	f, s := &r.flows.all[i], &r.pending
	f.trailing = !f.mixed
	first := true
	var before uint32
	for page := f.packets.first; page != 0; {
		h := r.pages.head(page)
		next := h.next
		chosen := false
		switch {
		case h.number < low:
			// What other connections left over isn't of these exchanges, but a handshake is for all streams.
			chosen = h.flags&isHandshake != 0 && (h.number >= s.conn || f.mixed)
		case h.number <= s.last:
			chosen = true
			f.write(h.flags, h.end)
		case h.flags&hasPayload == 0:
			f.trailing = f.trailing && h.flags&isHandshake == 0
			chosen = f.trailing
		case h.flags&isFresh != 0:
			f.trailing = false
		default:
			// That of a hole in these exchanges may have come after their last byte.
			chosen = f.wrote(h.flags, h.end)
		}
		if !chosen {
			before, page = page, next
			continue
		}
		r.take(i, before, page)
		if first && r.secrets.keys != nil {
			for _, random := range slices.Concat(f.sessions, s.randoms) {
				r.attach(page, random)
			}
		}
		first = false
		if h.number >= s.first && comments.first != 0 {
			for c := comments.first; c != 0; {
				after := r.pages.head(c).next
				r.send(c)
				c = after
			}
			*comments = list{}
		}
		r.send(page)
		page = next
	}
}

// addComment keeps a comment in a list; when there is no room, it is left out.
func (r *Recorder) addComment(l *list, text []byte) {
	if !r.room(pagesOf(len(text))) {
		return
	}
	page := r.pages.store(text)
	r.pages.head(page).flags = isComment
	r.pages.push(l, page)
}

// discard frees comments that no packet took; n exchanges have none then.
func (r *Recorder) discard(l *list, n uint64) {
	if l.first != 0 {
		r.count.Uncommented += n
	}
	for page := l.first; page != 0; {
		next := r.pages.head(page).next
		r.pages.release(page)
		page = next
	}
	*l = list{}
}

// Headline implements output.Headline: of messages, comments show the target, the host and the status only.
func (r *Recorder) Headline() {}

// Flush implements output.Output: it has the writer write what it has, and doesn't wait for it.
func (r *Recorder) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commit()
	r.await()
	r.flush = true
	r.work.Signal()
	return r.broken()
}

// broken returns the error that ends a run: that nobody reads any more.
func (r *Recorder) broken() error {
	if r.options.Pipe {
		return r.err
	}
	return nil
}

// Close implements output.Output: it writes what remains, ends the file, and returns the error that ended the
// recording, if any.
func (r *Recorder) Close() error {
	r.mu.Lock()
	if !r.closed {
		r.commit()
		r.await()
		for _, a := range r.secrets.awaited { // with what there is
			r.attach(a.page, a.random)
		}
		r.secrets.awaited = nil
		r.readTaps()
		for i := r.flows.age.first; i != 0; i = r.flows.age.first {
			r.forget(i, &r.count.LetGo)
		}
		for len(r.fragments) > 0 {
			r.dropFragment(len(r.fragments)-1, &r.count.LetGo)
		}
		r.closed = true
		r.work.Signal()
	}
	r.mu.Unlock()
	<-r.done
	return r.Err()
}

// Err returns the error that ended the recording, nil while there is none. It may be called at any time.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Counters returns the counters. It may be called at any time.
func (r *Recorder) Counters() Counters {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// Lost says what the recording lacks, empty when that is nothing. It may be called at any time.
func (r *Recorder) Lost() string {
	c := r.Counters()
	var parts []string
	for _, part := range []struct {
		n    uint64
		text string
	}{
		{c.Dropped, "%d packets that came faster than they could be written"},
		{c.Failed, "%d packets that came when it couldn't be written any more"},
		{c.Incomplete, "packets of %d exchanges, let go of for lack of memory (--memory)"},
		{c.Keyless, "keys of %d connections, for lack of room"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf(part.text, part.n))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "the recording lacks " + strings.Join(parts, ", and ")
}

// takeAt is how many pages the writer takes at a time, so that there is room again soon.
const takeAt = 2048

// write is the writer's goroutine.
func (r *Recorder) write(w *writer) {
	defer close(r.done)
	w.begin()
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		r.report(w)
		for !r.closed && !r.flush && (r.queued < sendAt || r.held()) {
			r.work.Wait()
		}
		batch := r.batch(w)
		// Only what everything before was written of is flushed.
		flush := (r.flush || r.closed) && (r.queued == 0 || r.held())
		r.flush = r.flush && !flush
		w.know(r)
		slabs := r.pages.slabs
		r.mu.Unlock()
		for page := batch.first; page != 0; {
			next := headOf(slabs, page).next
			w.item(slabs, page)
			page = next
		}
		if flush {
			w.flush()
		}
		r.mu.Lock()
		for page := batch.first; page != 0; {
			next := r.pages.head(page).next
			r.pages.release(page)
			page = next
		}
		r.writing = 0
		r.space.Broadcast()
		if r.closed && r.queued == 0 {
			break
		}
	}
	w.know(r)
	w.late = r.secrets.take(0)
	w.finish()
	r.report(w)
}

// batch takes packets for the writer.
func (r *Recorder) batch(w *writer) (l list) {
	held := r.secrets.held()
	for r.out.first != 0 && r.out.first != held && r.writing < takeAt {
		page := r.out.first
		r.pages.unlink(&r.out, 0, page)
		if h := r.pages.head(page); h.flags&hasSecrets != 0 || len(r.secrets.late) > 0 && h.flags&isComment == 0 {
			w.secrets[page] = r.secrets.take(page)
		}
		n := pagesOf(int(r.pages.head(page).size))
		r.queued -= n
		r.writing += n
		r.pages.push(&l, page)
	}
	return l
}

// report takes over what the writer has done.
func (r *Recorder) report(w *writer) {
	if r.err == nil && w.err != nil {
		r.err = fmt.Errorf("recording stopped: %w (what was written before can be read; the analysis isn't affected)", w.err)
		r.space.Broadcast()
	}
	r.count.Written, r.count.Files, r.count.Overwritten, r.count.Secrets = w.written, w.begun, w.overwritten, w.disclosed
	r.count.Keyless += w.keyless
	w.keyless = 0
	r.count.Failed += w.failed
	w.failed = 0
}
