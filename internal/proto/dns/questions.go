package dns

import (
	"slices"
	"time"
	"unsafe"

	"github.com/culprit-http/culprit/internal/proto"
)

// book keeps the open questions of one flow or connection, and a few that had their answers.
//
// # Theory of operation
//
// An id has 16 bits, is chosen by the client, and may be guessed: an answer belongs to the open question of its id, its
// name, its type and its class, that came the other way. The same question again, while it is open, is a retry of it.
//
//	asked --(the same again)--> asked
//	asked --(its answer)--> answered --(as many others were answered since as are remembered)--> forgotten
//	asked --(more are open than the limit)--> forgotten
//	answered --(another answer)--> unexpected: one that was late, or was sent twice, or is a forger's
//	asked --(an answer with its id, about something else)--> asked, and the answer is unexpected
type book struct {
	held *int
	// open are the questions without an answer, the oldest first, in few as long as there is space; answered are the last that
	// had theirs, in a ring.
	open     []question
	few      [2]question
	answered [remembered]settled
	turn     int
	// last is the number of the last stream.
	last uint64
}

const (
	// remembered is how many answered questions are known of a flow.
	remembered = 4
	// retryFor is for how long the same question with the same id is the same again, in nanoseconds: resolvers give up
	// sooner. Afterwards it is another one.
	retryFor = int64(30 * time.Second)
)

// question is one that was asked.
type question struct {
	// hash is that of its key; stream its number.
	hash, stream uint64
	// asked is when, in nanoseconds since 1970.
	asked int64
	// transfer is the answer under way, where it has many messages.
	transfer *transfer
	id, typ  uint16
	by       proto.Direction
}

// settled is what is known of one that had its answer, iff it is there.
type settled struct {
	hash  uint64
	id    uint16
	by    proto.Direction
	there bool
}

const questionSize = int(unsafe.Sizeof(question{}))

// begin makes the book ready for a flow.
func (k *book) begin(held *int) {
	k.held = held
	k.open = k.few[:0]
}

// next returns the number of another stream.
func (k *book) next() uint64 {
	k.last++
	return k.last
}

// ask notes a question, and gives it its stream. again: it is a retry. full: another was forgotten, since there are more
// than the limit.
func (k *book) ask(q *question, limit int) (again, full bool) {
	if i := k.same(q); i >= 0 {
		if old := &k.open[i]; old.transfer == nil && q.asked-old.asked < retryFor {
			q.stream, old.asked = old.stream, q.asked
			return true, false
		}
		if k.open[i].transfer == nil {
			k.forget(i)
		}
	}
	if len(k.open) >= max(limit, 1) {
		i := slices.IndexFunc(k.open, func(o question) bool { return o.transfer == nil })
		if i < 0 {
			q.stream = k.next()
			return false, true // all are under way; this one won't find its answer
		}
		k.forget(i)
		full = true
	}
	q.stream = k.next()
	k.open = append(k.open, *q)
	*k.held += questionSize
	return false, full
}

// same returns the index of the open question that is the same, -1 if there is none.
func (k *book) same(q *question) int {
	for i := range k.open {
		if o := &k.open[i]; o.id == q.id && o.hash == q.hash && o.by == q.by {
			return i
		}
	}
	return -1
}

// outcome says what an answer is to the questions.
type outcome uint8

const (
	// expected: it answers the question at the index.
	expected outcome = iota
	// unknown: no question of its id is known.
	unknown
	// unexpected: its id is that of another question, or the question had its answer.
	unexpected
	// ambiguous: it doesn't say what it answers, and there are several of its id.
	ambiguous
)

// find returns the question that an answer answers. q.hash is 0 when the answer doesn't repeat its question.
func (k *book) find(q *question) (int, outcome) {
	found, others := -1, 0
	for i := range k.open {
		o := &k.open[i]
		if o.id != q.id || o.by != q.by {
			continue
		}
		if o.hash == q.hash {
			return i, expected
		}
		if others++; found < 0 {
			found = i
		}
	}
	switch {
	case others == 1 && q.hash == 0:
		return found, expected
	case others > 0 && q.hash == 0:
		return -1, ambiguous
	case others > 0:
		return -1, unexpected
	}
	for i := range k.answered {
		if a := &k.answered[i]; a.there && a.id == q.id && a.by == q.by && (a.hash == q.hash || q.hash == 0) {
			return -1, unexpected
		}
	}
	return -1, unknown
}

// settle notes that an open question had its answer.
func (k *book) settle(i int) {
	q := &k.open[i]
	k.answered[k.turn%remembered] = settled{hash: q.hash, id: q.id, by: q.by, there: true}
	k.turn++
	k.forget(i)
}

// forget takes a question away.
func (k *book) forget(i int) {
	k.open = slices.Delete(k.open, i, i+1)
	*k.held -= questionSize
}

// reset forgets everything.
func (k *book) reset() {
	*k.held -= len(k.open) * questionSize
	*k = book{}
}
