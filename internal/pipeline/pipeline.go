// Package pipeline joins the stages: it reads packets, decodes them, gives each flow to its shard,
// and delivers finished exchanges in an order that doesn't depend on the number of workers.
//
// # Theory of operation
//
// The reader decodes packets and hashes their flows onto 64 shards. A worker owns some of the shards;
// with one worker everything happens in the reader's goroutine. Packets form epochs: one ends with every
// tick of the capture clock, and after epochPackets packets or a share of the memory budget in bytes. At the end of an epoch each worker hands over
// the exchanges that it finished in it; they are sorted by (completion time, tap, packet, stream), and
// shown. Since epochs are cut by the input alone, and each shard sees its packets and ticks in the same
// order, the result is the same with any number of workers.
package pipeline

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/culprit-http/culprit/internal/blame"
	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/body"
	"github.com/culprit-http/culprit/internal/statement"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/tls/keylog"
	"github.com/culprit-http/culprit/internal/udp"
)

// epochPackets is the number of packets after which exchanges are delivered, tick or not, and epochShare the
// share of the memory budget that their bytes may have: what is finished may take a hundred times as much as it
// came in, and with several workers some epochs are on their way.
const (
	epochPackets = 256
	epochShare   = 2048
)

// Filter decides which packets are looked at.
type Filter interface {
	Match(link capture.LinkType, data []byte, wireLen int) bool
}

// Config is what a run needs to know.
type Config struct {
	// Workers is the number of goroutines that own shards; 1 does everything in one.
	Workers int
	// Memory is the budget in bytes. Connections and exchanges may take half of it; the rest is for
	// what is on its way, and for the collector.
	Memory int
	// Filter is the capture filter, nil for none.
	Filter Filter
	// Hints are protocol names by port.
	Hints map[uint16]string
	// Follow says which half-streams are delivered, too: then the receiver is a Follower.
	Follow follow.Mode
	// Contents says which messages are told of among these.
	Contents follow.Contents
	// Live: the input is still being written; exchanges are shown as soon as the input pauses.
	Live bool

	Packet   packet.Limits
	TCP      tcp.Limits
	Parser   proto.Limits
	Exchange exchange.Limits
	TLS      tls.Limits
	UDP      udp.Limits

	// Flows says of which flows there are records, FlowPeriod how long one of a flow that lasts counts; 0: until its end.
	Flows      Flows
	FlowPeriod time.Duration

	// Keys are those of TLS sessions, nil for none. The run publishes what is added to them, and adds those that the source finds.
	// MoreKeys, if not nil, is called at each tick and at the end, in the goroutine that reads, and adds what has come to Keys.
	Keys     *keylog.Store
	MoreKeys func()
	// wanted is called when something waits for keys, from any goroutine.
	wanted func()

	// Own, if not nil, reports whether a packet belongs to a connection of culprit itself: it is ignored, and so is an
	// ICMP error about it.
	Own func(p *packet.Packet) bool
	// Recorder, if not nil, is given the packets that pass the capture filter.
	Recorder Recorder
	// Opened, if not nil, is told of connections when their first packet is looked at, from any goroutine.
	Opened func(f *proto.Flow)

	// Host, if not nil, is what the kernel knows where the capture is made.
	Host blame.Host
	// Linker, if not nil, decides on exchanges before they are delivered, which it delays.
	Linker Linker

	// Interrupted, if not nil, is called when the run is ended before its source is, before the exchanges that were
	// under way are delivered.
	Interrupted func()
	// Progress, if not nil, is called at the end of epochs with the packets and bytes so far.
	Progress func(received Count)
	// Watch, if not nil, is how the run is asked how it stands.
	Watch *Watch
}

// Recorder takes packets as they were captured.
type Recorder interface {
	// Packet takes a packet before it is analysed. r is borrowed until return. p and key are its decoded form
	// and its flow, nil when it holds no TCP, UDP or SCTP packet. Of an ICMP error p is nil, and key the flow that
	// it is about. Calls come from one goroutine, that of the reader, which isn't the one that delivers exchanges.
	Packet(r *capture.Record, p *packet.Packet, key *packet.Flow)
}

// Receiver takes what the pipeline delivers. Its calls come from one goroutine. Exchanges are borrowed
// until return.
type Receiver interface {
	// Exchanges delivers the exchanges of an epoch, in order; waiting are requests that have waited long
	// for their answers, each delivered once in that state. An error ends the run.
	Exchanges(done, waiting []*exchange.Exchange) error
	// Idle says that the input pauses.
	Idle() error
}

// Run reads src to its end, or until ctx is done, and delivers all exchanges. It returns the totals, and
// the error of the source or of the receiver, whichever came first. What was complete when an error came
// has been delivered.
func Run(ctx context.Context, src capture.Source, c Config, to Receiver) (Stats, error) {
	r := &run{
		config: c, src: src, show: deliverer{to: to, maxBody: c.Exchange.MaxBody, held: hold{linker: c.Linker}}, decoder: packet.NewDecoder(c.Packet),
		stats: newStats(),
	}
	r.live, r.clock.Live = src.(capture.Live)
	if c.Follow != follow.None {
		r.show.follower = to.(Follower)
	}
	if c.Keys != nil {
		r.secrets, _ = src.(capture.SecretSource)
	}
	r.start()
	r.watched = c.Watch.join()
	err := r.packets(ctx)
	if e := r.finish(); err == nil {
		err = e
	}
	r.total()
	r.watched.leave(&r.stats, r.first, r.clock.Now())
	return r.stats, err
}

// run is the state of the reader.
type run struct {
	config  Config
	src     capture.Source
	live    capture.Live         // src, if it is live
	secrets capture.SecretSource // src, if it may find keys that are wanted
	learned int                  // how many of its secrets are among the keys
	// generation is that of the keys which the workers know, and unlooked how many packets came since others were looked for.
	generation uint32
	unlooked   int
	// wanted: something waits for keys.
	wanted  atomic.Bool
	decoder *packet.Decoder
	clock   clock.Clock
	last    clock.Mark
	taps    taps
	inEpoch Count // packets of this epoch
	show    deliverer

	workers []*worker
	merger  *merger // nil with one worker
	watched *watched
	first   int64 // the time of the first packet

	filtered Count
	own      Count
	stats    Stats
}

func (r *run) start() {
	n := max(r.config.Workers, 1)
	r.config.wanted = func() { r.wanted.Store(true) }
	r.config.Exchange.Peeks = peeks
	for i := range n {
		w := &worker{tally: newTally(), maxBody: r.config.Exchange.MaxBody, limits: &r.config.Parser, statements: statement.New(), court: blame.Court{Host: r.config.Host}}
		for s := range w.shards {
			if s%n == i {
				w.shards[s] = newShard(&r.config, &w.tally, r.taps.get, &w.out)
				w.owned = append(w.owned, w.shards[s])
			}
		}
		w.follow(&r.config, r.taps.get)
		r.workers = append(r.workers, w)
	}
	keys := r.publish(false)
	for _, w := range r.workers {
		w.publish(keys)
	}
	if n > 1 {
		r.merger = startMerger(r.workers, &r.show)
	}
}

// interrupted ends the reading before the source ends.
func (r *run) interrupted() error {
	if r.config.Interrupted != nil {
		r.config.Interrupted()
	}
	return nil
}

// packets takes the packets one after the other.
func (r *run) packets(ctx context.Context) error {
	var rec capture.Record
	var p packet.Packet
	var key packet.Flow // one for all packets: what is handed to a recorder is on the heap
	single := r.merger == nil
	for {
		switch err := r.src.Next(&rec); {
		case err == nil:
		case errors.Is(err, capture.ErrIdle):
			if ctx.Err() != nil {
				return r.interrupted()
			}
			if err := r.idle(); err != nil {
				return err
			}
			continue
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
		if known := r.taps.known(); int(rec.Tap) >= known {
			if known == 0 {
				r.first = rec.Time
			}
			r.taps.learn(r.src.Taps())
		}
		if r.secrets != nil && r.learn() || r.look() {
			if err := r.epoch(false, false); err != nil {
				return err
			}
		}
		r.last = clock.Mark{Time: rec.Time, Packet: rec.Number, Tap: rec.Tap, Peer: -1}
		if tick := r.clock.Advance(rec.Time); tick || r.inEpoch.Packets >= epochPackets || r.inEpoch.Bytes >= uint64(r.config.Memory/epochShare) {
			if ctx.Err() != nil {
				return r.interrupted()
			}
			if err := r.epoch(tick, false); err != nil {
				return err
			}
		}
		r.inEpoch.add(1, uint64(len(rec.Data)))
		r.stats.Received.add(1, uint64(len(rec.Data)))
		if r.config.Filter != nil && !r.config.Filter.Match(rec.Link, rec.Data, rec.WireLen) {
			r.filtered.add(1, uint64(len(rec.Data)))
			continue
		}
		result := r.decoder.Decode(&p, &rec)
		if result != packet.Decoded && result != packet.ICMPError {
			if r.config.Recorder != nil {
				r.config.Recorder.Packet(&rec, nil, nil)
			}
			continue
		}
		if r.config.Own != nil && r.config.Own(&p) {
			if result == packet.Decoded { // or it is among the ICMP errors that are ignored
				r.own.add(1, uint64(len(rec.Data)))
			}
			continue
		}
		if result == packet.ICMPError {
			r.icmp(&p, &key, &rec)
			continue
		}
		var fromLo bool
		key, fromLo = p.Key()
		if r.config.Recorder != nil {
			r.config.Recorder.Packet(&rec, &p, &key)
		}
		s := key.Hash() % Shards
		if single {
			r.workers[0].shards[s].packet(&p, &key, fromLo, len(rec.Data), r.clock.Elapsed(), r.stats.Received.Packets)
			continue
		}
		w := r.workers[int(s)%len(r.workers)]
		w.send(&item{p, key, r.clock.Elapsed(), r.stats.Received.Packets, int32(len(rec.Data)), uint8(s), fromLo, false}, &rec)
	}
}

// icmp gives an ICMP error to the flow of the packet that it is about, whose key becomes key.
func (r *run) icmp(p *packet.Packet, key *packet.Flow, rec *capture.Record) {
	var fromLo bool
	*key, fromLo = p.Key()
	if r.config.Recorder != nil {
		r.config.Recorder.Packet(rec, nil, key)
	}
	s := key.Hash() % Shards
	if r.merger == nil {
		r.workers[0].shards[s].icmp(p, key, fromLo, len(rec.Data))
		return
	}
	r.workers[int(s)%len(r.workers)].send(&item{*p, *key, r.clock.Elapsed(), r.stats.Received.Packets, int32(len(rec.Data)), uint8(s), fromLo, true}, rec)
}

// idle says that the input pauses: what is finished is shown, and time goes on.
func (r *run) idle() error {
	now := r.clock.Now() + int64(clock.Tick)
	if r.live != nil {
		now = r.live.Now()
	}
	tick := r.stats.Received.Packets > 0 && r.clock.Advance(now)
	return r.epoch(tick, true)
}

// epoch ends an epoch; at its end the clock may tick, and the input may pause.
func (r *run) epoch(tick, idle bool) error {
	r.inEpoch = Count{}
	if tick {
		r.decoder.Tick(r.clock.Elapsed())
	}
	if r.config.Progress != nil {
		r.config.Progress(r.stats.Received)
	}
	mark := r.last
	mark.Time = r.clock.Now()
	asked := r.hear(mark)
	keys := r.publish(tick)
	if r.merger != nil {
		for _, w := range r.workers {
			w.control(control{kind: endEpoch, tick: tick, idle: idle, elapsed: r.clock.Elapsed(), at: mark, asked: asked, keys: keys})
		}
		return r.merger.err()
	}
	w := r.workers[0]
	w.publish(keys)
	if tick {
		w.tick(r.clock.Elapsed(), mark)
	}
	w.deliver(&r.show, mark.Time, idle, false)
	if asked != nil {
		r.show.answer(asked, []standing{w.standing(asked)})
	}
	return r.show.err
}

// finish ends all connections and delivers what they leave.
func (r *run) finish() error {
	r.decoder.Flush()
	mark := r.last
	mark.Time = r.clock.Now()
	keys := r.publish(true)
	if r.merger != nil {
		for _, w := range r.workers {
			w.control(control{kind: endCapture, at: mark, keys: keys})
			close(w.in)
		}
		return r.merger.wait()
	}
	w := r.workers[0]
	w.publish(keys)
	w.close(mark)
	w.deliver(&r.show, mark.Time, false, true)
	return r.show.err
}

// total sums up the counters.
func (r *run) total() {
	r.stats = r.read()
	for _, w := range r.workers {
		w.total(&r.stats)
	}
	r.stats.Unlinked = r.show.held.abandoned
}

// read returns what the reader has counted. What workers ignored is among the packets analysed.
func (r *run) read() Stats {
	s := newStats()
	s.Received = r.stats.Received
	counts := r.decoder.Counts()
	s.ignored(counts)
	s.Analysed = Count(counts[packet.Decoded])
	if r.filtered.Packets > 0 {
		s.ignore("filter", r.filtered.Packets, r.filtered.Bytes)
	}
	if r.own.Packets > 0 {
		s.ignore("own", r.own.Packets, r.own.Bytes)
		s.Analysed.subtract(r.own)
	}
	for _, t := range r.src.Taps() {
		s.Dropped += t.Dropped
		s.IfDropped += t.IfDropped
		s.Freezes += t.Freezes
	}
	s.ClockJumps = r.clock.Jumps
	s.Aggregated = r.decoder.Aggregated()
	return s
}

// total adds what the worker has counted, and takes what it ignored from the packets analysed.
func (w *worker) total(s *Stats) {
	s.BudgetEvicted += w.tally.evicted + w.tally.evictedFlows
	s.UDP.Evicted -= w.tally.evictedFlows
	s.TCP.Evicted -= w.tally.evicted // counted there too
	for v, c := range w.tally.verdicts {
		if tcp.Verdict(v) != tcp.Analysed && c.Packets > 0 {
			s.ignore(tcp.Verdict(v).String(), c.Packets, c.Bytes)
			s.Analysed.subtract(c)
		}
	}
	if c := w.tally.errors; c.Packets > 0 { // the decoder took them for ignored
		s.Analysed.add(c.Packets, c.Bytes)
		left := s.Ignored[packet.ICMPError.String()]
		if left.subtract(c); left.Packets > 0 {
			s.Ignored[packet.ICMPError.String()] = left
		} else {
			delete(s.Ignored, packet.ICMPError.String())
		}
	}
	for name, c := range w.tally.ignored {
		s.ignore(name, c.Packets, c.Bytes)
		s.Analysed.subtract(c)
	}
	for name, n := range w.tally.connections {
		s.Connections[name] += n
	}
	for name, n := range w.tally.carried {
		s.Carried[name] += n
	}
	for _, sh := range w.owned {
		s.addShard(sh)
	}
}

func (s *Stats) addShard(sh *shard) {
	t, e, k := sh.table.Counters, sh.engine.Counters, sh.tls.Counters
	s.TLS.Sessions += k.Sessions
	s.TLS.Decrypted += k.Decrypted
	s.TLS.Waited += k.Waited
	s.TLS.Late += k.Late
	s.TLS.Overflow += k.Overflow
	s.TLS.TimedOut += k.TimedOut
	s.TLS.LostRecords += k.LostRecords
	u := sh.udp.Counters
	s.UDP.Flows += u.Flows
	s.UDP.Evicted += u.Evicted
	s.UDP.TimedOut += u.TimedOut
	s.TCP.Connections += t.Connections
	s.TCP.Gaps += t.Gaps
	s.TCP.MissingBytes += t.MissingBytes
	s.TCP.HeldLimit += t.HeldLimit
	s.TCP.Evicted += t.Evicted
	s.TCP.TimedOut += t.TimedOut
	for g, n := range e.Exchanges {
		s.Exchanges[g] += n
	}
	s.SCTP.Gaps += sh.sctp.Counters.Gaps
	s.SCTP.Malformed += sh.sctp.Counters.Malformed
	s.SCTP.Evicted += sh.sctp.Counters.Evicted
	s.SCTP.Refused += sh.sctp.Counters.Refused
	s.SCTP.HeldLimit += sh.sctp.Counters.HeldLimit
	s.SCTP.Jumps += sh.sctp.Counters.Jumps
	s.SCTP.TimedOut += sh.sctp.Counters.TimedOut
	s.TimedOut += e.TimedOut
	s.Overflow += e.Overflow
	s.Interim += e.Interim
}

// worker owns some of the shards.
type worker struct {
	shards [Shards]*shard
	owned  []*shard
	out    exchange.Collector
	chunks follow.Collector
	tally  tally
	// maxBody is how much is kept of bodies.
	maxBody    int
	limits     *proto.Limits
	statements *statement.Analyzer
	court      blame.Court
	// keys is what the worker was told of them.
	keys tls.State

	// The rest is used with several workers only.
	in      chan *batch
	results chan result
	filling *batch
	spare   chan *batch
	used    chan []*exchange.Exchange
	read    chan *follow.Batch
}

func (w *worker) tick(elapsed int64, at clock.Mark) {
	for _, s := range w.owned {
		s.tick(elapsed, at)
	}
}

func (w *worker) close(at clock.Mark) {
	for _, s := range w.owned {
		s.close(at)
	}
}

// publish tells what is known of the keys from here on.
func (w *worker) publish(keys tls.State) {
	if keys == w.keys {
		return
	}
	w.keys = keys
	for _, s := range w.owned {
		s.tls.Publish(keys)
	}
}

// deliver shows what the only worker has finished; now is the time of the capture.
func (w *worker) deliver(to *deliverer, now int64, idle, ended bool) {
	if b := w.chunks.Hand(); b != nil {
		to.chunks(b.Chunks)
		w.chunks.Recycle(b)
	}
	done, waiting := w.out.Done, w.out.Waiting
	if !idle && len(done) == 0 && len(waiting) == 0 && len(to.held.queue) == 0 {
		return
	}
	w.prepare(done)
	ready := to.held.pass(done, now, ended)
	to.show(ready, waiting, idle)
	w.out.Recycle(ready)
	clear(done)
	w.out.Done, w.out.Waiting = done[:0], nil
}

// deliverer gives the exchanges of one epoch after the other to the receiver, until that has failed.
type deliverer struct {
	to       Receiver
	follower Follower // to, if chunks are wanted
	decoder  body.Decoder
	maxBody  int
	held     hold
	err      error
}

func (d *deliverer) show(done, waiting []*exchange.Exchange, idle bool) {
	switch {
	case d.maxBody == 0:
		d.exchanges(done, waiting)
	default:
		for i, x := range done {
			x.Decode(&d.decoder, d.maxBody)
			d.exchanges(done[i:i+1], nil)
			x.DropBodies()
		}
		d.exchanges(nil, waiting)
	}
	if idle && d.err == nil {
		d.err = d.to.Idle()
	}
}

func (d *deliverer) exchanges(done, waiting []*exchange.Exchange) {
	if d.err == nil && len(done)+len(waiting) > 0 {
		d.err = d.to.Exchanges(done, waiting)
	}
}

// order is the order of delivery.
func order(a, b *exchange.Exchange) int {
	switch {
	case a.Completed.Time != b.Completed.Time:
		return cmp.Compare(a.Completed.Time, b.Completed.Time)
	case a.Completed.Tap != b.Completed.Tap:
		return cmp.Compare(a.Completed.Tap, b.Completed.Tap)
	case a.Completed.Packet != b.Completed.Packet:
		return cmp.Compare(a.Completed.Packet, b.Completed.Packet)
	case a.Start.Time != b.Start.Time:
		return cmp.Compare(a.Start.Time, b.Start.Time)
	case a.Start.Packet != b.Start.Packet:
		return cmp.Compare(a.Start.Packet, b.Start.Packet)
	case a.Start.Offset != b.Start.Offset:
		return cmp.Compare(a.Start.Offset, b.Start.Offset)
	case a.Index != b.Index:
		return cmp.Compare(a.Index, b.Index)
	}
	// Records of flows begin and end alike where their periods do.
	return inOrder(a.Flow, b.Flow)
}

// inOrder is the order in which flows began.
func inOrder(a, b *proto.Flow) int {
	return cmp.Or(cmp.Compare(a.First.Time, b.First.Time), cmp.Compare(a.First.Packet, b.First.Packet), cmp.Compare(a.First.Tap, b.First.Tap),
		cmp.Compare(a.Stream, b.Stream))
}

// within reports whether b lies in block.
func within(block, b []byte) bool {
	if len(b) == 0 {
		return true
	}
	p, begin := uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(unsafe.SliceData(block)))
	return p >= begin && p < begin+uintptr(len(block))
}
