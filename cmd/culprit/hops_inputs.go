package main

import (
	"bufio"
	"bytes"
	"container/heap"
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store/record"
)

// The limits of what is kept to link exchanges.
const (
	// perLinked is about what an exchange takes that is kept for linking, with its record, in bytes; linkedShare is one over the share of the
	// memory budget that they all may have.
	perLinked   = 4 << 10
	linkedShare = 2
	// maxSorted is how many records are kept so that they can be put in order.
	maxSorted = 8192
)

// treeing is a run that makes trees of the exchanges of captures, and of records that were written before, HTTP archives among them.
//
//	captures --> pipeline --+--> linker --> tree, apart
//	records  --> sorted  ---'         \--> rows, if they are wanted again
type treeing struct {
	capturing
	linker *hops.Linker
	// tree takes each tree; apart, if it isn't nil, the exchanges that are in none.
	tree  func(t *hops.Tree) error
	apart func(x *exchange.Exchange) error
	// keep: exchanges are kept until their tree is told, for again.
	keep    bool
	rows    map[[exchange.IDSize]byte][]byte
	batch   record.Batch
	decoder *record.Decoder
	maker   record.Maker

	taken  uint64
	failed error
	// last is the id of the last record, which comes again when files overlap; repeated counts those.
	last     [exchange.IDSize]byte
	repeated uint64
}

// byEnd is a heap of exchanges by when they ended.
type byEnd []*exchange.Exchange

func (h byEnd) Len() int { return len(h) }
func (h byEnd) Less(i, j int) bool {
	a, b := h[i].Completed.Time, h[j].Completed.Time
	return a < b || a == b && bytes.Compare(h[i].KnownID[:], h[j].KnownID[:]) < 0
}
func (h byEnd) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *byEnd) Push(v any)   { *h = append(*h, v.(*exchange.Exchange)) }
func (h *byEnd) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return x
}

// run does the work that c configures. Whether --where holds is left to the caller.
func (r *treeing) run(ctx context.Context, cmd *cobra.Command, c *config.Trace) (err error) {
	r.capturing.config, r.stderr = &c.Capture, cmd.ErrOrStderr()
	if err := r.parse(); err != nil {
		return err
	}
	if err := r.openEnricher(); err != nil {
		return err
	}
	if r.decoder, err = record.NewDecoder(record.Header()); err != nil {
		return err
	}
	r.rows = map[[exchange.IDSize]byte][]byte{}
	r.linker = hops.New(hopOptions(r.capturing.config), r.told)
	stdin := bufio.NewReader(cmd.InOrStdin())
	inputs := make([]capture.Input, len(c.Inputs))
	for i, arg := range c.Inputs {
		inputs[i] = capture.ParseInput(arg)
	}
	records, err := areRecords(inputs, stdin)
	if err != nil {
		return err
	}
	if records {
		err = r.readRecords(ctx, inputs, stdin)
	} else {
		err = r.readCaptures(ctx, stdin)
	}
	if err != nil {
		return err
	}
	r.linker.Flush()
	r.reportLinks()
	return r.failed
}

// readCaptures takes the exchanges of captures.
func (r *treeing) readCaptures(ctx context.Context, stdin io.Reader) error {
	inputs, err := r.open(ctx, stdin)
	if err != nil {
		return err
	}
	defer r.close()
	r.progress = newProgress(r.stderr, inputs, false)
	r.analysis(r.config.Memory / linkedShare)
	stats, err := r.capturing.run(ctx, r)
	r.progress.clear()
	if err != nil {
		return err
	}
	r.number = max(r.taken, 1) // that nothing was found is for the caller to say
	r.report(&stats, nil)
	return nil
}

// reportLinks says what was lost.
func (r *treeing) reportLinks() {
	n := &r.linker.Counts
	if n.Late > 0 {
		r.lose("%s too late to be linked for sure: records must be in about the order of time", plural(n.Late, "exchange"))
	}
	if n.Hurried > 0 {
		r.lose("%s linked before all that may belong to them was read, for lack of room; --memory gives more", plural(n.Hurried, "exchange"))
	}
	if n.Homeless > 0 {
		r.lose("%s linked by ids alone: there are more services than are told apart", plural(n.Homeless, "exchange"))
	}
}

// told passes a tree on, and lets go of its exchanges.
func (r *treeing) told(t *hops.Tree) {
	if r.failed == nil {
		r.failed = r.tree(t)
	}
	t.All(func(n *hops.Node) bool {
		for _, s := range n.Seen {
			delete(r.rows, s.ID)
		}
		return true
	})
}

// Exchanges implements pipeline.Receiver.
func (r *treeing) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		r.learn(x)
		s := r.linker.Take(x)
		r.finish(x) // once it was taken, since what is secret links, too
		s.Shows(x)
		if err := r.took(x, s); err != nil {
			return err
		}
	}
	return nil
}

// Idle implements pipeline.Receiver.
func (r *treeing) Idle() error { return nil }

// took keeps an exchange that was taken, or passes it on if it is in no tree.
func (r *treeing) took(x *exchange.Exchange, s *hops.Span) error {
	r.taken++
	switch {
	case r.failed != nil:
		return r.failed
	case s == nil && r.apart != nil:
		return r.apart(x)
	case s != nil && r.keep:
		r.batch.Reset()
		r.batch.Add(x)
		r.rows[s.ID] = bytes.Clone(r.batch.Bytes())
	}
	return nil
}

// again calls f with an exchange of a tree that is being told, if it was kept, with its place in the tree. It is valid until f returns.
func (r *treeing) again(n *hops.Node, s *hops.Span, f func(x *exchange.Exchange) error) error {
	row := r.rows[s.ID]
	if row == nil {
		return nil
	}
	return r.decoder.Each(row, func(row *record.Row) error {
		x := r.maker.Exchange(row)
		x.Hop = n.Hop
		if s == n.Span {
			x.Blame = n.Blame
		}
		return f(x)
	})
}

// take takes an exchange that was recorded before, once.
func (r *treeing) take(x *exchange.Exchange) error {
	if r.taken > 0 && *x.KnownID == r.last {
		r.repeated++
		return nil
	}
	r.last = *x.KnownID
	s := r.linker.Take(x)
	if x.Enriched.Route == "" && x.Family == exchange.HTTP { // it is from an archive, which knows no routes, and may have secrets
		r.finish(x)
		s.Shows(x)
	}
	return r.took(x, s)
}

// readRecords takes the exchanges of files of records. Each is in about the order of time: what is out of it is put in order among maxSorted.
func (r *treeing) readRecords(ctx context.Context, inputs []capture.Input, stdin *bufio.Reader) error {
	var sorted byEnd
	left, err := readRecords(inputs, stdin, 0, func(x *exchange.Exchange, _ inputKind) error {
		heap.Push(&sorted, x)
		if len(sorted) < maxSorted {
			return ctx.Err()
		}
		return r.take(heap.Pop(&sorted).(*exchange.Exchange))
	})
	for err == nil && len(sorted) > 0 {
		err = r.take(heap.Pop(&sorted).(*exchange.Exchange))
	}
	left.tell(&r.capturing)
	if r.repeated > 0 {
		r.say("left out: %s that had come before", plural(r.repeated, "record"))
	}
	return err
}
