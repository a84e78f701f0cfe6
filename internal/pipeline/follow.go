package pipeline

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/fastcgi"
	"github.com/culprit-http/culprit/internal/proto/http1"
	"github.com/culprit-http/culprit/internal/proto/http2"
	"github.com/culprit-http/culprit/internal/proto/uwsgi"
	"github.com/culprit-http/culprit/internal/proto/websocket"
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
func (w *worker) follow(c *Config, tap func(uint32) *exchange.Tap) {
	if c.Follow == follow.None {
		return
	}
	for _, s := range w.owned {
		s.follow = &follow.Writer{Mode: c.Follow, Contents: c.Contents, To: &w.chunks, Tap: tap, Held: &s.held}
	}
}

// carriers are the protocols whose messages carry what is worth a file, by what has to be wanted for it.
var carriers = map[string]follow.Contents{
	http1.Protocol.Name:     follow.Heads | follow.Bodies,
	http2.Protocol.Name:     follow.Heads | follow.Bodies,
	fastcgi.Protocol.Name:   follow.Heads | follow.Bodies,
	uwsgi.Protocol.Name:     follow.Heads | follow.Bodies,
	websocket.Protocol.Name: follow.Sessions,
}

// overhear returns what a parser is given for a sink: one that tells who follows of its messages, if that is wanted. What is inside
// TLS isn't told of when half-streams are wanted as they were sent.
func (l *lane) overhear(p *proto.Protocol, sink proto.Sink) proto.Sink {
	w := l.shard.follow
	if w == nil {
		return sink
	}
	wanted, inner := w.Contents&carriers[p.Name], len(l.own.sessions) > 0
	if wanted == 0 || inner && w.Mode == follow.Sent {
		return sink
	}
	l.heard = w.Sink(l.own.link.Flow(), p, sink, inner, wanted&(follow.Bodies|follow.Sessions) != 0)
	return l.heard
}

// unheard ends the messages that are still under way when nothing more comes of them.
func (l *lane) unheard(at clock.Mark) {
	if l.heard != nil {
		l.heard.Closed(at)
		l.heard = nil
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
