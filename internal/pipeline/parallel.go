package pipeline

import (
	"slices"
	"sync/atomic"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/tls"
)

// batchPackets is how many packets go to a worker at once, and queueBatches how many batches wait.
const (
	batchPackets = 128
	queueBatches = 8
)

// batch is what the reader sends to a worker: packets, and at their end perhaps a control.
type batch struct {
	items   []item
	blocks  []*capture.Block
	control control
}

// item is one packet for a worker.
type item struct {
	packet  packet.Packet
	key     packet.Flow
	elapsed int64
	nth     uint64
	length  int32
	shard   uint8
	fromLo  bool
	// icmp: it is what an ICMP error quotes.
	icmp bool
}

type controlKind uint8

const (
	none controlKind = iota
	endEpoch
	endCapture
)

type control struct {
	kind    controlKind
	tick    bool
	idle    bool
	elapsed int64
	at      clock.Mark
	asked   *asked // nil: nobody has
	// keys is what is known of them from here on.
	keys tls.State
}

// result is what a worker finished in one epoch. idle: the input pauses behind it. standing answers asked, if that
// isn't nil.
type result struct {
	done, waiting []*exchange.Exchange
	chunks        *follow.Batch
	now           int64
	idle, ended   bool
	asked         *asked
	standing      standing
}

// send queues a packet for the worker. The block that it lies in is held until it is done.
func (w *worker) send(it *item, r *capture.Record) {
	b := w.filling
	if b == nil {
		select {
		case b = <-w.spare:
		default:
			b = &batch{items: make([]item, 0, batchPackets)}
		}
		w.filling = b
	}
	b.items = append(b.items, *it)
	if p := &it.packet; !within(r.Data, p.Payload) || !within(r.Data, p.Options) {
		// It was put together from fragments, in memory that the decoder uses again.
		it := &b.items[len(b.items)-1].packet
		it.Payload = slices.Clone(p.Payload)
		it.Options = slices.Clone(p.Options)
	}
	if n := len(b.blocks); r.Block != nil && (n == 0 || b.blocks[n-1] != r.Block) {
		r.Block.Retain()
		b.blocks = append(b.blocks, r.Block)
	}
	if len(b.items) == batchPackets {
		w.flush()
	}
}

func (w *worker) flush() {
	if w.filling != nil {
		w.in <- w.filling
		w.filling = nil
	}
}

// control sends what comes after all packets sent so far.
func (w *worker) control(c control) {
	if w.filling == nil {
		w.filling = &batch{}
	}
	w.filling.control = c
	w.flush()
}

// work is the worker's goroutine.
func (w *worker) work() {
	defer close(w.results)
	for b := range w.in {
		for i := range b.items {
			it := &b.items[i]
			if it.icmp {
				w.shards[it.shard].icmp(&it.packet, &it.key, it.fromLo, int(it.length))
				continue
			}
			w.shards[it.shard].packet(&it.packet, &it.key, it.fromLo, int(it.length), it.elapsed, it.nth)
		}
		for _, block := range b.blocks {
			block.Release()
		}
		c := b.control
		clear(b.items)
		clear(b.blocks)
		*b = batch{items: b.items[:0], blocks: b.blocks[:0]}
		select {
		case w.spare <- b:
		default:
		}
		switch c.kind {
		case endEpoch:
			w.publish(c.keys)
			if c.tick {
				w.tick(c.elapsed, c.at)
			}
			w.hand(&c)
		case endCapture:
			w.publish(c.keys)
			w.close(c.at)
			w.hand(&c)
		}
	}
}

// hand gives the exchanges of the epoch to the merger, and takes back those that were shown.
func (w *worker) hand(c *control) {
	for more := true; more; {
		select {
		case list := <-w.used:
			w.out.Recycle(list)
		case b := <-w.read:
			w.chunks.Recycle(b)
		default:
			more = false
		}
	}
	w.prepare(w.out.Done)
	r := result{done: w.out.Done, waiting: w.out.Waiting, chunks: w.chunks.Hand(), now: c.at.Time, idle: c.idle, ended: c.kind == endCapture, asked: c.asked}
	if c.asked != nil {
		r.standing = w.standing(c.asked)
	}
	w.results <- r
	w.out.Done, w.out.Waiting = nil, nil
}

// merger joins the results of the workers, epoch by epoch, and shows them.
type merger struct {
	workers []*worker
	show    *deliverer
	done    chan struct{}
	failed  atomic.Pointer[error]
}

func startMerger(workers []*worker, show *deliverer) *merger {
	m := &merger{workers: workers, show: show, done: make(chan struct{})}
	for _, w := range workers {
		w.in = make(chan *batch, queueBatches)
		w.results = make(chan result, 1)
		w.spare = make(chan *batch, queueBatches+2)
		w.used = make(chan []*exchange.Exchange, 1)
		w.read = make(chan *follow.Batch, 1)
		go w.work()
	}
	go m.merge()
	return m
}

func (m *merger) merge() {
	defer close(m.done)
	var all, waiting []*exchange.Exchange
	parts := make([][]*exchange.Exchange, len(m.workers))
	standings := make([]standing, len(m.workers))
	var chunks []follow.Chunk
	batches := make([]*follow.Batch, len(m.workers))
	for {
		all, waiting = all[:0], waiting[:0]
		idle, ended, now := false, false, int64(0)
		var asked *asked
		for i, w := range m.workers {
			r, ok := <-w.results
			if !ok {
				return
			}
			parts[i] = r.done
			all = append(all, r.done...)
			waiting = append(waiting, r.waiting...)
			standings[i], batches[i] = r.standing, r.chunks
			now, idle, ended, asked = r.now, r.idle, r.ended, r.asked
		}
		if m.show.follower != nil {
			chunks = m.chunks(chunks[:0], batches)
		}
		slices.SortStableFunc(all, order)
		slices.SortStableFunc(waiting, order)
		ready := m.show.held.pass(all, now, ended)
		if m.show.show(ready, waiting, idle); m.show.err != nil {
			m.failed.Store(&m.show.err)
		}
		if asked != nil {
			m.show.answer(asked, standings)
			clear(standings)
		}
		if m.show.held.linker != nil {
			share(ready, parts)
		}
		for i, w := range m.workers {
			select {
			case w.used <- parts[i]:
			default:
			}
		}
		clear(all)
		clear(waiting)
		clear(parts)
	}
}

// share divides what was shown among the workers, who use it again.
func share(shown []*exchange.Exchange, parts [][]*exchange.Exchange) {
	for i := range parts {
		from, to := len(shown)*i/len(parts), len(shown)*(i+1)/len(parts)
		parts[i] = shown[from:to:to]
	}
}

// err returns the receiver's error.
func (m *merger) err() error {
	if p := m.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// wait waits for the last epoch.
func (m *merger) wait() error {
	<-m.done
	return m.err()
}
