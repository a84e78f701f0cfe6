package firehose

import (
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/proto"
)

// protocol is the one whose requests have streams of their own. Frames of HTTP/2 go on as those of a connection, as with the module.
const protocol = "http"

// requestState is where the messages of a connection are, if each request has a stream of its own.
//
// A message begins with the first byte behind the one before it, whatever that byte turns out to be; where messages end, their parser
// says before the bytes come. The nth response is the nth request's:
//
//	to the server  |  GET a  |  GET b  |
//	to the client            |  200 a  |  200 b  |
//	                                   `--------- stream 0 ends: it is over on both sides, and another request has begun
//
// Where bytes are missing that doesn't hold any more: a response is then taken for that of the last request before it, and that is said.
type requestState struct {
	// requests are the streams that are open, in order, and top is the highest number of one so far.
	requests []*stream
	top      uint64
	// at is the number of the message that each side is in; begun: there was something of it, and ended: it is over.
	at           [2]uint64
	begun, ended [2]bool
	// bounds are the places ahead behind which another message begins; heads where the last message began that is known.
	bounds [2][]bound
	heads  [2]bound
	// lost: bytes are missing, so the next message is found by its beginning. unsure: so responses aren't counted any more.
	lost   [2]bool
	unsure bool
	// tunnel: the connection was handed over to another protocol, and all that follows is of the request which asked for that.
	tunnel bool
}

// bound is an offset of a half-stream, within TLS or outside. The zero value is none.
type bound struct {
	offset int64
	inner  bool
	known  bool
}

// bound notes where a message begins or ends.
func (c *connection) bound(k *follow.Chunk) {
	m := k.Message
	if m.Protocol != protocol || c.tunnel || m.Kind != proto.Request && m.Kind != proto.Response {
		return
	}
	side := c.side(m.Dir)
	switch {
	case k.Step == follow.Begin:
		c.heads[side] = bound{m.First.Offset, k.Inner, true}
		if c.lost[side] && c.begun[side] && !c.ended[side] {
			c.addBound(side, c.heads[side])
		}
		c.lost[side] = false
	case k.Step != follow.End:
	case m.Ended == proto.Upgraded && side == response:
		c.hand()
	case m.Ended == proto.Whole:
		c.lost[side] = false
		c.addBound(side, bound{m.Last.Offset + 1, k.Inner, true})
	case m.Ended == proto.Broken:
		c.lost[side] = true
	}
}

// hand notes that a response hands the connection over: what follows belongs to it and to its request.
func (c *connection) hand() {
	n := c.at[response] + uint64(len(c.bounds[response]))
	if c.ended[response] {
		n++
	}
	c.tunnel = true
	if c.at[request] <= n {
		c.at[request], c.ended[request], c.bounds[request] = n, false, nil
	}
}

func (c *connection) addBound(side int, b bound) {
	all := c.bounds[side]
	if n := len(all); n > 0 && all[n-1].inner == b.inner && all[n-1].offset >= b.offset {
		return
	}
	c.bounds[side] = append(all, b)
}

// pass notes that a side has come to an offset.
func (c *connection) pass(side int, offset int64, inner bool) {
	for len(c.bounds[side]) > 0 {
		if b := c.bounds[side][0]; b.offset > offset && b.inner == inner {
			return
		}
		c.bounds[side] = c.bounds[side][1:]
		c.ended[side] = c.begun[side]
	}
}

// requestChunk records a chunk of a connection whose requests have streams of their own.
func (o *Output) requestChunk(c *connection, k *follow.Chunk) error {
	side, part := c.side(k.Dir), *k
	c.pass(side, part.At.Offset, part.Inner)
	if k.Gap != 0 {
		c.lost[side], c.unsure = true, true
		return o.part(c, side, k)
	}
	for rest := k.Data; len(rest) > 0; {
		n := len(rest)
		if b := c.bounds[side]; len(b) > 0 {
			n = int(min(int64(n), b[0].offset-part.At.Offset))
		}
		part.Data, rest = rest[:n], rest[n:]
		if err := o.part(c, side, &part); err != nil {
			return err
		}
		part.At = part.At.After(n)
		c.pass(side, part.At.Offset, part.Inner)
	}
	return o.retire(c, k.At.Time)
}

// part records a chunk that is of one message.
func (o *Output) part(c *connection, side int, k *follow.Chunk) error {
	if c.ended[side] {
		c.at[side]++
		c.begun[side], c.ended[side] = false, false
	}
	guessed, first := false, false
	if !c.begun[side] {
		first = c.at[side] == 0
		guessed = c.begin(side)
		c.begun[side] = true
	}
	s := c.find(c.at[side])
	if s == nil {
		if c.at[side] < c.top && len(c.requests) > 0 && c.at[side] < c.requests[0].nth { // it had to end
			c.at[side], c.unsure, guessed = c.top+1, true, true
		}
		var err error
		if s, err = o.open(c, requestID(c.uuid, c.at[side]), k); err != nil {
			return err
		}
		s.nth = c.at[side]
		c.top = max(c.top, s.nth)
		c.requests = append(c.requests, s)
	}
	s.seen[side] = true
	s.guessed = s.guessed || guessed
	if first && c.flow.Midstream {
		s.half[side].late = c.heads[side] != bound{k.At.Offset, k.Inner, true}
	}
	return o.take(s, side, k)
}

// find returns the open stream of a number, nil if there is none.
func (c *connection) find(n uint64) *stream {
	for i := len(c.requests) - 1; i >= 0; i-- {
		if s := c.requests[i]; s.nth == n {
			return s
		}
	}
	return nil
}

// begin finds out which message begins on a side, and reports whether that is a guess.
func (c *connection) begin(side int) (guessed bool) {
	switch {
	case c.tunnel:
		return false
	case side == request:
		// A response that came without a request has none.
		if s := c.find(c.at[response]); c.begun[response] && c.at[request] <= c.at[response] && s != nil && !s.seen[request] {
			c.at[request] = c.at[response] + 1
		}
		return false
	case !c.unsure:
		return false
	}
	c.at[response] = c.top
	if s := c.find(c.top); s == nil || s.seen[response] {
		c.at[response]++
	}
	return true
}

// retire ends the requests that are over while another one has begun. It is then that the module ends them.
func (o *Output) retire(c *connection, at int64) error {
	next := c.at
	for side := range next {
		if c.ended[side] {
			next[side]++
		}
	}
	for len(c.requests) > 1 {
		s := c.requests[0]
		why := "next request"
		switch {
		case s.nth < next[request] && s.nth < next[response]:
		case len(c.requests) > MaxRequests:
			o.stats.Overflow++
			why = "too many requests"
		default:
			return nil
		}
		c.requests = c.requests[1:]
		if err := o.end(s, at, why); err != nil {
			return err
		}
	}
	return nil
}
