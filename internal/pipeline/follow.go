package pipeline

import (
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
)

// Follower is a Receiver that is also given half-streams.
type Follower interface {
	Receiver
	// Chunks delivers the chunks of an epoch, before its exchanges. Those of a connection are in the order in which the
	// transport released them, which is that of each half-stream's bytes. They are borrowed until return. Calls come from
	// the goroutine of the others. An error ends the run.
	Chunks(list []follow.Chunk) error
}

// follow has the connections of the worker's shards followed.
func (w *worker) follow(m follow.Mode, tap func(uint32) *exchange.Tap) {
	if m == follow.None {
		return
	}
	for _, s := range w.owned {
		s.follow = &follow.Writer{Mode: m, To: &w.chunks, Tap: tap, Held: &s.held}
	}
}

// chunks gives chunks to who follows, unless that has failed.
func (d *deliverer) chunks(list []follow.Chunk) {
	if d.err == nil && len(list) > 0 {
		d.err = d.follower.Chunks(list)
	}
}

// chunks joins the chunks of the workers, shows them, and gives their memory back.
func (m *merger) chunks(all []follow.Chunk, batches []*follow.Batch) []follow.Chunk {
	for _, b := range batches {
		if b != nil {
			all = append(all, b.Chunks...)
		}
	}
	follow.Sort(all)
	m.show.chunks(all)
	for i, b := range batches {
		if b == nil {
			continue
		}
		select {
		case m.workers[i].read <- b:
		default:
		}
	}
	clear(batches)
	clear(all)
	return all
}

// Chunks implements Follower. After an error, nothing more is delivered.
func (t *turns) Chunks(list []follow.Chunk) error {
	t.receiving.Lock()
	defer t.receiving.Unlock()
	if t.failed == nil {
		t.failed = t.to.(Follower).Chunks(list)
	}
	return t.failed
}
