package dns

import (
	"encoding/binary"
	"unsafe"

	"github.com/culprit-http/culprit/internal/proto"
)

// transfer is the answer to a question for a whole zone, or for what has changed in it, which has many messages (RFC 5936
// §2.2, RFC 1995 §4).
//
// # Theory of operation
//
// The first record is the zone's SOA, and so is the last. Between them are all records (AXFR), or, where the second record
// is a SOA as well (IXFR), differences: each has an older SOA, what was deleted, a newer SOA, and what was added.
//
//	start --SOA--> begun --other record--> all --SOA--> over
//	               begun --older SOA (IXFR)--> deleted --SOA--> added --SOA, the first--> over
//	                                              ^               |
//	                                              +--SOA, other---+
//	any --(records that are missing)--> unsure, which only the connection ends
//
// An answer to IXFR whose only record is the SOA, or that says so by an error, is one message.
type transfer struct {
	msg   proto.Message
	state transferState
	// serial is that of the first SOA.
	serial uint32
}

type transferState uint8

const (
	start transferState = iota
	begun
	all
	deleted
	added
	unsure
	over
)

// record takes the next record.
func (t *transfer) record(b []byte, r *record) {
	if r.typ != typeSOA {
		if t.state == begun {
			t.state = all
		}
		return
	}
	serial := t.serial
	if n := r.end - 20; n >= r.data { // five numbers are the end of a SOA
		serial = binary.BigEndian.Uint32(b[n:])
	}
	switch t.state {
	case start:
		t.state, t.serial = begun, serial
	case begun:
		if t.state = deleted; serial == t.serial {
			t.state = over // an empty zone
		}
	case all:
		t.state = over
	case deleted:
		t.state = added
	case added:
		if t.state = deleted; serial == t.serial {
			t.state = over
		}
	}
}

// records takes the records of a message, and reports whether it is the last one.
func (t *transfer) records(c *content) bool {
	at := c.first
	for range c.read {
		r, _ := readRecord(c.b, at)
		t.record(c.b, &r)
		at = r.end
	}
	if c.cut {
		t.state = unsure
	}
	return t.state == over
}

// isTransfer reports whether a question is for a zone.
func isTransfer(typ uint16) bool { return typ == typeAXFR || typ == typeIXFR }

// transfer begins the answer of many messages, if this is the first message of one. i is the question's place, where how says
// that there is one. It reports whether it took the message.
func (c *conversation) transfer(q *question, i int, how outcome, p *piece) bool {
	q.typ = c.typ
	if how == expected {
		q.typ = c.open[i].typ
	}
	if c.opcode() != opQuery || !isTransfer(q.typ) || c.rcode() != 0 || c.counts[answers] == 0 || p.how == proto.Cut {
		return false
	}
	if r, ok := readRecord(c.b, c.first); ok && r.typ != typeSOA {
		c.sink.Lost(p.by, p.first) // the first message wasn't captured
		return true
	}
	t := new(transfer)
	if t.records(&c.content) || q.typ == typeIXFR && t.state == begun {
		return false
	}
	if how != expected {
		if len(c.open) >= c.limits.MaxStreams {
			return false
		}
		q.stream, q.asked = c.msg.Stream, p.first.Time
		c.open = append(c.open, *q)
		*c.held += questionSize
		i = len(c.open) - 1
	}
	c.open[i].transfer = t
	c.describer.response(&c.msg)
	m := &t.msg
	m.CopyFrom(&c.msg)
	*c.held += transferSize
	c.sink.Head(m)
	m.Raw, m.Facts = nil, nil
	m.Method, m.Target = proto.Span{}, proto.Span{}
	c.rows(m, p)
	c.tally(t, p)
	return true
}

const transferSize = int(unsafe.Sizeof(transfer{}))

// continues takes a further message of a transfer. It reports whether it was the last.
func (c *conversation) continues(q *question, p *piece) bool {
	t := q.transfer
	if p.how == proto.Cut { // of a part of a message nothing but its size is told
		c.tally(t, p)
		c.ends(t, p.how, p.why)
		return true
	}
	c.msg.Reset() // what the message says of itself is known from the first
	t.msg.Anomalies |= c.odd()
	last := t.records(&c.content)
	if rcode := c.rcode(); rcode != 0 && !c.cut {
		m := &t.msg
		m.Raw = appendRcode(m.Raw, rcode)
		say(m, proto.FactError, 0)
		c.reason(m, rcode)
		last = true
	}
	c.rows(&t.msg, p)
	c.tally(t, p)
	if last {
		c.ends(t, proto.Whole, proto.Open)
	}
	return last
}

// tally counts the bytes of a message of a transfer.
func (c *conversation) tally(t *transfer, p *piece) {
	m := &t.msg
	m.Size += int64(p.size)
	m.MissingBytes += int64(p.missing)
	m.Last = p.last
}

// ends ends a transfer.
func (c *conversation) ends(t *transfer, how proto.End, why proto.CloseReason) {
	t.msg.End, t.msg.Close = how, why
	c.sink.End(&t.msg)
	*c.held -= transferSize
}

// abandon ends the transfers under way in a direction, which is over.
func (c *conversation) abandon(d proto.Direction, why proto.CloseReason) {
	for i := 0; i < len(c.open); {
		if q := &c.open[i]; q.transfer != nil && q.by != d {
			c.ends(q.transfer, proto.Cut, why)
			c.forget(i)
			continue
		}
		i++
	}
}
