package memcached

import (
	"unsafe"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// request is what must be known of a request to recognise its answer.
type request struct {
	stream uint64
	// first is the offset of the request, peer how many bytes of the responses its sender had received.
	first, peer int64
	// kind is what is asked for, keys how many, -1 when that isn't known; quiet: the ordinary outcome isn't answered.
	kind  kinds
	keys  int
	quiet bool
	// tag is what the response carries too: the opaque, with the opcode in the binary protocol. 0: nothing.
	tag uint64
	// over is how many requests beyond the limit these are, which get an answer that is passed over: kind has all their kinds. silent
	// has those of the quiet ones among them, which may get one, 0 when there are none; beyond: it is such an entry.
	over   int
	silent kinds
	beyond bool
}

// reply is what a response tells of the request that it answers.
type reply struct {
	// kinds are the requests that may be answered so.
	kinds kinds
	tag   uint64
	// quiet: only a quiet request is answered so.
	quiet bool
}

func (r *reply) fits(q *request) bool {
	if q.beyond {
		return r.breaksSilence(q) || q.over > 0 && r.kinds&q.kind != 0 && !r.quiet
	}
	return r.kinds&q.kind != 0 && (r.tag == q.tag || q.tag == 0)
}

// breaksSilence reports whether a quiet one of the requests beyond the limit may be answered so. Only the binary protocol tells.
func (r *reply) breaksSilence(q *request) bool {
	return r.kinds&q.silent != 0 && (r.quiet || r.kinds != binaryOp)
}

// queue holds the requests that wait for an answer, oldest first.
//
// # Theory of operation
//
// A server answers in order. The next response answers the first request in the queue, or one behind it when all before are
// quiet: those had the ordinary outcome, which isn't answered.
//
// After bytes were lost, or when a response doesn't fit, the queue is unsure: the request may be missing in it, and it may hold
// requests whose answer was missed. A client that waits for each answer has received all answers to earlier requests when it
// sends the next one. So a response that begins at or behind that point answers the latest such request. When several
// were sent at that point, or the client is known not to wait, only a tag tells.
//
// What is asked while as many requests wait as the limit allows isn't waited for one by one: one entry at the end counts how many
// answers are passed over.
type queue struct {
	list  []request
	first int
	// unsure: counting is worthless. pipelines: the client was seen to send a request before the answer to the one before.
	unsure, pipelines bool
}

func (w *queue) len() int           { return len(w.list) - w.first }
func (w *queue) waiting() []request { return w.list[w.first:] }
func (w *queue) at(i int) *request  { return &w.list[w.first+i] }
func (w *queue) expects(at int64) bool {
	return !w.pipelines && w.len() > 0 && w.at(w.len()-1).peer == at
}

// add puts a request at the end.
func (w *queue) add(q request) {
	switch {
	case w.first == len(w.list):
		w.list, w.first = w.list[:0], 0
	case w.first > len(w.list)/2 && len(w.list) == cap(w.list):
		n := copy(w.list, w.list[w.first:])
		w.list, w.first = w.list[:n], 0
	}
	if n := w.len(); n > 0 && w.at(n-1).peer == q.peer {
		w.pipelines = true
	}
	w.list = append(w.list, q)
}

// quiet returns how many requests at the beginning are quiet.
func (w *queue) quiet() int {
	n := 0
	for n < w.len() && w.at(n).passable() {
		n++
	}
	return n
}

// find returns the index of the request that a response answers, -1 when it can't be told. several: another may be meant.
func (w *queue) find(r *reply, at clock.Mark) (i int, several bool) {
	if w.unsure {
		return w.guess(r, at)
	}
	found := -1
	for i := range w.waiting() {
		q := w.at(i)
		if r.fits(q) {
			switch {
			case found < 0:
				found = i
			case q.beyond && r.tag != 0 && w.at(found).tag == r.tag:
			default:
				return found, true
			}
		}
		if !q.passable() || found >= 0 && !w.at(found).passable() {
			break
		}
	}
	return found, false
}

// guess is find for when messages may be missing.
func (w *queue) guess(r *reply, at clock.Mark) (i int, several bool) {
	found, peer := -1, int64(-1)
	for i := range w.waiting() {
		q := w.at(i)
		if q.beyond || q.peer > at.Offset || q.first >= at.Peer || !r.fits(q) {
			continue
		}
		switch {
		case q.tag != 0 && r.tag != 0:
			if found >= 0 {
				return -1, true
			}
			found = i
		case w.pipelines:
			several = true
		case q.peer > peer:
			found, peer, several = i, q.peer, false
		default:
			several = true
		}
	}
	if several {
		return -1, true
	}
	return found, false
}

// ask notes that a request waits for its answer.
func (p *Parser) ask(q request) {
	m := &p.halves[p.client].msg
	q.stream, q.first, q.peer = m.Stream, m.First.Offset, m.First.Peer
	if n := p.waiting.len(); n >= p.limits.MaxStreams && p.waiting.unsure {
		p.drop(1) // whose answer may have been missed
	} else if n >= p.limits.MaxStreams {
		m.OneWay = true
		m.Anomalies.Set(proto.StreamLimit)
		last := p.waiting.at(n - 1)
		if last.beyond {
			last.join(&q)
			return
		}
		over := request{first: q.first, peer: q.peer, beyond: true}
		over.join(&q)
		q = over
	}
	p.waiting.add(q)
	*p.held += requestSize
}

// join has the answer to a request passed over.
func (q *request) join(beyond *request) {
	if beyond.quiet {
		q.silent |= beyond.kind
		return
	}
	q.kind |= beyond.kind
	q.over++
}

// passable reports whether something behind a request may be answered before it: nothing, that it gets no answer.
func (q *request) passable() bool { return q.quiet || q.beyond && q.over == 0 }

const requestSize = int(unsafe.Sizeof(request{}))

// drop forgets the first n requests that wait.
func (p *Parser) drop(n int) {
	p.waiting.first += n
	*p.held -= n * requestSize
}

// number gives the request that begins its number.
func (p *Parser) number() uint64 {
	n := p.next
	p.next += p.step
	return n
}

// answered gives the response that begins the number of the request that it answers, and returns that request; without a stream
// when it isn't known.
func (p *Parser) answered(h *half, r reply) request {
	m := &h.msg
	i, several := p.waiting.find(&r, m.First)
	if several {
		m.Anomalies.Set(proto.AmbiguousPairing)
	}
	if i < 0 {
		p.waiting.unsure = true
		m.Stream = p.number()
		return request{}
	}
	q := *p.waiting.at(i)
	if p.waiting.unsure {
		p.waiting.unsure = false
	} else {
		kept := *m
		p.silence(h, i, m.First, proto.NoBody)
		kept.Raw, kept.Facts = m.Raw[:0], m.Facts[:0]
		*m = kept
		i = 0
	}
	if q.beyond {
		h.passed = true
		q.pass(&r, &p.waiting)
		*p.waiting.at(i) = q
		if q.over > 0 || q.silent != 0 {
			return request{}
		}
	}
	p.drop(i + 1)
	m.Stream = q.stream
	return q
}

// pass takes note that one of the requests is answered.
func (q *request) pass(r *reply, w *queue) {
	switch {
	case r.quiet, q.over == 0, r.kinds&q.kind == 0:
	case r.breaksSilence(q):
		w.unsure = true // it may be the answer to either
	default:
		q.over--
	}
}

// silence answers the first n requests, which are quiet: nothing was sent, and at a mark that became known. That is when something else
// was answered, whenever the client asked for that, so that the time says nothing of the server.
func (p *Parser) silence(h *half, n int, at clock.Mark, framing proto.Framing) {
	for range n {
		q := p.waiting.at(0)
		if q.beyond {
			p.drop(1)
			continue
		}
		m := p.begin(h, at, at, 0)
		m.Stream, m.Framing, m.Blocks = q.stream, framing, true
		if q.kind&retrieving != 0 {
			m.Count(factMisses, int64(q.keys))
		}
		p.drop(1)
		p.emit(h)
		p.end(h, proto.Whole)
	}
}
