package hops

import (
	"math"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Inline links exchanges while they wait to be delivered: each gets its place and the verdict on its tree. It implements pipeline.Linker.
type Inline struct {
	linker *Linker
	// queue are the exchanges that wait, the oldest first, and known those of them that take part, by id.
	queue []*waiting
	known map[[exchange.IDSize]byte]*waiting
}

// waiting is an exchange that waits.
type waiting struct {
	x       *exchange.Exchange
	id      [exchange.IDSize]byte
	part    bool
	decided bool
}

// NewInline returns a linker for exchanges that wait; those that take part in a tree do for some seconds more than o.Wait.
func NewInline(o Options) *Inline {
	i := &Inline{known: map[[exchange.IDSize]byte]*waiting{}}
	i.linker = New(o, i.told)
	return i
}

// Counts returns what was done.
func (i *Inline) Counts() Counts { return i.linker.Counts }

// Add implements pipeline.Linker.
func (i *Inline) Add(x *exchange.Exchange) {
	w := &waiting{x: x}
	i.queue = append(i.queue, w)
	s := i.linker.Take(x)
	if s == nil {
		w.decided = true
		return
	}
	w.id, w.part = s.ID, true
	i.known[w.id] = w
}

// told takes a tree.
func (i *Inline) told(t *Tree) {
	t.All(func(n *Node) bool {
		i.decide(n.ID, n)
		for k := range n.Seen {
			i.decide(n.Seen[k].ID, n)
		}
		return true
	})
}

func (i *Inline) decide(id [exchange.IDSize]byte, n *Node) {
	w := i.known[id]
	if w == nil {
		return // it was delivered undecided
	}
	w.x.Hop, w.decided = n.Hop, true
	if n.Blame.Who != exchange.Unjudged {
		w.x.Blame = n.Blame
	}
	delete(i.known, id)
}

// Decided implements pipeline.Linker.
func (i *Inline) Decided(now int64) (n int) {
	if now == math.MaxInt64 {
		i.linker.Flush()
	} else {
		i.linker.Advance(now)
	}
	for n < len(i.queue) && i.queue[n].decided {
		n++
	}
	i.drop(n)
	return n
}

// Abandon implements pipeline.Linker.
func (i *Inline) Abandon(n int) {
	for _, w := range i.queue[:n] {
		if w.part && !w.decided {
			delete(i.known, w.id)
		}
	}
	i.drop(n)
}

func (i *Inline) drop(n int) {
	clear(i.queue[:n])
	i.queue = i.queue[n:]
}

// Advance says that the time of the capture is now, in nanoseconds since 1970, which decides what has waited for long enough.
func (l *Linker) Advance(now int64) {
	l.now = max(l.now, now)
	if l.now-l.looked > l.wait/8 {
		l.looked = l.now
		l.settle(l.now - l.wait)
	}
}
