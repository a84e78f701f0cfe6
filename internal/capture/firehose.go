package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/capture/synthetic"
	"github.com/culprit-http/culprit/internal/firehose"
)

const (
	// lateHalf is how many microseconds the second direction of a conversation may begin after the first has ended: they may come from
	// different files.
	lateHalf = 5_000_000
	// maxHalves is how many conversations are kept for that.
	maxHalves = 4096
	// maxAhead is how many fragments of each of several inputs are read before their turn.
	maxAhead = 64
	// maxHole is the most fragments that are told of as one hole.
	maxHole = 1 << 20
	// microsecond is in nanoseconds.
	microsecond = 1000
	// maxMicroseconds is the last time that nanoseconds in 64 bits can express.
	maxMicroseconds = maxSeconds * 1_000_000
	// maxListedDamages is how many damaged places of an input are named.
	maxListedDamages = 3
	// priorKnowledge is how a client of HTTP/2 begins (RFC 9113 §3.4).
	priorKnowledge = "PRI * HTTP/2.0"
)

// recording is what the firehose streams of a source have in common that are one tap: what servers recorded, made into conversations, and
// these into packets. The two directions of a conversation may come from different inputs.
//
//	input --fragments--.
//	input --fragments--+-- by time --> Sequencer --events of streams--> conversations --packets--> queue
type recording struct {
	src       *source
	group     *group
	tap       uint32
	sequencer *firehose.Sequencer
	// conversations are those of which a direction is open, or may still begin; halves those of which one has ended, in that order, and the
	// other not begun.
	conversations map[firehose.UUID]*conversation
	halves        []*conversation
	addresses     addresses
	// queue are packets to give, the next of which is at; they lie in block, of which used bytes are, and in full ones.
	queue []made
	at    int
	block *Block
	used  int
	full  []*Block
	batch synthetic.Batch
	// readers counts the inputs that aren't at their end.
	readers int
	// latest is the time of the latest fragment, in microseconds since 1970.
	latest int64
	// states counts the streams that aren't complete by what is wrong, bad all of them.
	states map[firehose.State]uint64
	bad    uint64
}

// made is a packet that was made.
type made struct {
	time  int64
	data  []byte
	block *Block
}

// conversation is what the fragments with one UUID are about.
type conversation struct {
	conn synthetic.Conn
	uuid firehose.UUID
	// opened: it has addresses, and a handshake, unless joined: then its beginning is missing. swapped: who is asked is on the side of the requests.
	opened, joined, swapped bool
	// begun, ended and gone are the directions of which there was something, whose end has come, and of which nothing more is
	// awaited; 0 is that of the requests.
	begun, ended, gone [2]bool
	end                int64
}

// recorded returns what the firehose streams of a group have in common; of inputs without a name, all are one group.
func (s *source) recorded(g *group) *recording {
	if g == nil || g.name == "" {
		if s.unnamed == nil {
			s.unnamed = &group{}
		}
		g = s.unnamed
	}
	r := s.recordings[g]
	if r == nil {
		r = &recording{src: s, group: g, conversations: map[firehose.UUID]*conversation{}, states: map[firehose.State]uint64{}}
		// Servers write in order: behind a hole, nothing is worth to wait for that would come too late for the other direction.
		r.sequencer = firehose.NewSequencer(firehose.Limits{Window: 1}, r.event)
		if s.recordings == nil {
			s.recordings = map[*group]*recording{}
		}
		s.recordings[g] = r
	}
	return r
}

// firehoseStream reads the fragments of a stream of mod_firehose's, as records whose Data say nothing: see recording.
type firehoseStream struct {
	rd      *reader
	scanner firehose.Scanner
	of      *recording
	// fragment is the one that next has found.
	fragment firehose.Fragment
	// ahead are fragments that were read before their turn, by time, and copies.
	ahead []firehose.Fragment
	// last: there is no more to read; done: and no fragment in what was read.
	last, done bool

	damages []firehose.Damage
}

func newFirehose(rd *reader) (format, error) {
	of := rd.src.recorded(rd.group)
	// An input of the same name that was captured is another tap.
	key := tapKey{group: of.group, link: synthetic.LinkType, nth: -1}
	var err error
	if of.tap, err = rd.src.tap(key, Tap{Name: of.group.name, File: rd.name, Recorded: RecordedByServer}); err != nil {
		return nil, err
	}
	rd.group = of.group
	of.readers++
	of.addresses.from(rd.path)
	return &firehoseStream{rd: rd, of: of}, nil
}

// next implements format: it finds the next fragment.
//
// Several processes write into a stream, and not always in the order of the times that they took before. In a stream alone, that of a
// conversation is right all the same. Of several, its directions may be in different ones: then fragments are put in order as far as
// maxAhead reaches, but for those of one conversation.
func (f *firehoseStream) next(r *Record) error {
	for !f.done && len(f.ahead) < f.lookahead() {
		switch err := f.read(); {
		case err == nil:
			f.insert()
			continue
		case err != io.EOF && (err != ErrIdle || len(f.ahead) == 0):
			return err
		}
		break // what there is must do
	}
	switch {
	case len(f.ahead) > 0:
		f.fragment = f.ahead[0]
		f.ahead = slices.Delete(f.ahead, 0, 1)
	case f.done:
		return io.EOF
	default:
		if err := f.read(); err != nil {
			return err
		}
	}
	r.Time, r.Tap, r.Link = instant(f.fragment.Time), f.of.tap, synthetic.LinkType
	r.Data, r.Block, r.WireLen = nil, nil, 0
	return nil
}

// lookahead is how many fragments are read ahead.
func (f *firehoseStream) lookahead() int {
	if f.of.readers > 1 || f.of.awaited() {
		return maxAhead
	}
	return 0
}

// insert puts a copy of the fragment that was found among those that were read ahead.
func (f *firehoseStream) insert() {
	x := f.fragment
	x.Data = bytes.Clone(x.Data)
	i := len(f.ahead)
	for i > 0 && f.ahead[i-1].Time > x.Time && f.ahead[i-1].UUID != x.UUID {
		i--
	}
	f.ahead = slices.Insert(f.ahead, i, x)
}

// read finds the next fragment in the stream.
func (f *firehoseStream) read() error {
	w := f.rd.w
	for {
		n, found := f.scanner.Scan(w.buf[w.pos:], f.last, &f.fragment)
		for _, d := range f.scanner.Damages() {
			if len(f.damages) < maxListedDamages {
				f.damages = append(f.damages, d)
			}
		}
		w.pos += n
		switch {
		case found:
			return nil
		case f.last:
			f.done = true
			return io.EOF
		}
		_, err := w.fill(len(w.buf) - w.pos + 1)
		var cut *cutError
		switch {
		case err == nil:
		case err == io.EOF, errors.As(err, &cut):
			if f.last = true; w.err == io.ErrUnexpectedEOF {
				f.rd.src.warn("%s: its compressed data is cut off; everything before was read", f.rd.name)
			}
		default:
			return err
		}
	}
}

// leave takes leave of an input that gives no more.
func (f *firehoseStream) leave() {
	t := f.scanner.Totals()
	if t.Damages > 0 {
		var places []string
		for _, d := range f.damages {
			places = append(places, fmt.Sprintf("%v at offset %d", d.Kind, d.Offset))
		}
		if n := t.Damages - uint64(len(f.damages)); n > 0 {
			places = append(places, fmt.Sprintf("%d more", n))
		}
		f.rd.src.warn("%s: damaged in %s: %s; %s skipped", f.rd.name, plural(t.Damages, "place"), strings.Join(places, ", "), plural(uint64(t.Skipped), "byte"))
	}
	r := f.of
	if r.readers--; r.readers > 0 || r.awaited() {
		return
	}
	_ = r.sequencer.Close() // the error would be that of event, which has none
	r.settle(true)
	r.report(f.rd.name)
}

// awaited reports whether inputs of it will be opened later.
func (r *recording) awaited() bool {
	return slices.ContainsFunc(r.src.parts, func(p *part) bool { return p.group == r.group })
}

// give gives the next packet, if there is one.
func (r *recording) give(to *Record) bool {
	if r.at == len(r.queue) {
		r.reuse()
		return false
	}
	m := &r.queue[r.at]
	r.at++
	to.Time, to.Data, to.Block = m.time, m.data, m.block
	to.WireLen, to.Tap, to.Link = len(m.data), r.tap, synthetic.LinkType
	return true
}

// reuse lets go of the memory of the packets that were given.
func (r *recording) reuse() {
	clear(r.queue)
	r.queue, r.at = r.queue[:0], 0
	for _, b := range r.full {
		b.Release()
	}
	clear(r.full)
	r.full = r.full[:0]
	if r.block != nil && r.block.refs.Load() == 1 {
		r.used = 0
	}
}

// room makes room for the packets of n bytes of data.
func (r *recording) room(n int) {
	need := synthetic.Room(n)
	if r.block != nil && len(r.block.Bytes)-r.used >= need {
		return
	}
	if r.block != nil {
		r.full = append(r.full, r.block)
	}
	r.block, r.used = r.src.pool.get(need), 0
}

// take takes a fragment.
func (r *recording) take(f *firehose.Fragment) {
	if !f.Untrusted {
		r.latest = max(r.latest, f.Time)
	}
	_ = r.sequencer.Fragment(f)
	r.settle(false)
}

// settle ends conversations of which nothing more is awaited: of which one direction has ended, and the other won't begin.
func (r *recording) settle(all bool) {
	for len(r.halves) > 0 {
		c := r.halves[0]
		if !all && len(r.halves) <= maxHalves && r.latest-c.end <= lateHalf {
			return
		}
		r.halves[0] = nil
		r.halves = r.halves[1:]
		if c.ended[0] != c.ended[1] && !(c.begun[0] && c.begun[1]) {
			r.close(c)
		}
	}
}

// event takes what happens with a stream. It returns no errors.
func (r *recording) event(e *firehose.Event) error {
	d := 0
	if e.Stream.Dir == firehose.Response {
		d = 1
	}
	c, _ := e.Stream.Mark.(*conversation)
	switch e.Kind {
	case firehose.Begin:
		if c = r.conversations[e.Stream.UUID]; c == nil || c.begun[d] {
			c = &conversation{uuid: e.Stream.UUID}
			r.conversations[c.uuid] = c
		}
		c.begun[d] = true
		e.Stream.Mark = c
	case firehose.Data:
		r.open(c, e)
		r.packets(len(e.Data), func(b *synthetic.Batch) { c.conn.Data(b, c.side(d), instant(e.Time), e.Data) })
	case firehose.Missing:
		if e.Count == 0 && (!c.opened || c.joined) {
			r.join(c) // what is missing came before the recording
			break
		}
		r.open(c, e)
		r.packets(0, func(b *synthetic.Batch) {
			c.conn.Gap(b, c.side(d), instant(e.Time), uint32(min(e.Missing, maxHole)))
		})
	case firehose.Lost:
		r.packets(0, func(b *synthetic.Batch) { c.conn.Gap(b, c.side(d), instant(e.Time), 1) })
	case firehose.End:
		c.ended[d], c.gone[d] = true, true
		c.end = max(c.end, e.Time)
		switch other := 1 - d; {
		case c.ended[other]:
			r.close(c)
		case !c.begun[other]:
			r.halves = append(r.halves, c)
		}
		r.judge(e.Stream)
	case firehose.Closed:
		c.gone[d] = true
		if c.gone[1-d] || !c.begun[1-d] {
			r.forget(c)
		}
		r.judge(e.Stream)
	case firehose.Resumed:
		c.gone[d] = false
		if r.conversations[c.uuid] == nil {
			r.conversations[c.uuid] = c
		}
	}
	return nil
}

// side returns which side of a conversation sends a direction.
func (c *conversation) side(d int) synthetic.Side {
	if c.swapped {
		d = 1 - d
	}
	return synthetic.Side(d)
}

// open begins a conversation with its first fragment. The directives that record what httpd says to servers of its own record HTTP/2, too,
// where there is no such server, and then the wrong way round: what a client begins with tells.
func (r *recording) open(c *conversation, e *firehose.Event) {
	if c.opened {
		return
	}
	c.opened = true
	c.swapped = e.Stream.Dir == firehose.Response && bytes.HasPrefix(e.Data, []byte(priorKnowledge))
	client, server := r.addresses.of(c.uuid)
	r.packets(0, func(b *synthetic.Batch) { c.conn.Open(b, client, server, instant(e.Time)) })
}

// join begins a conversation whose beginning is missing.
func (r *recording) join(c *conversation) {
	if c.opened {
		return
	}
	c.opened, c.joined = true, true
	client, server := r.addresses.of(c.uuid)
	c.conn.Join(client, server)
}

// close ends a conversation. Who ended it isn't known: the marks of the ends come when the server forgets it.
func (r *recording) close(c *conversation) {
	if c.opened {
		r.packets(0, func(b *synthetic.Batch) {
			c.conn.End(b, synthetic.Server, instant(c.end))
			c.conn.End(b, synthetic.Client, instant(c.end))
		})
	}
	r.forget(c)
}

func (r *recording) forget(c *conversation) {
	if r.conversations[c.uuid] == c {
		delete(r.conversations, c.uuid)
	}
}

// packets has packets made of n bytes of data, and puts them into the queue.
func (r *recording) packets(n int, say func(b *synthetic.Batch)) {
	r.room(n)
	b := &r.batch
	b.Bytes, b.Packets = r.block.Bytes[:r.used], b.Packets[:0]
	say(b)
	for _, p := range b.Packets {
		r.queue = append(r.queue, made{p.Time, b.Bytes[p.From:p.To:p.To], r.block})
	}
	r.used = len(b.Bytes)
}

// instant returns a time in nanoseconds since 1970 of one in microseconds.
func instant(t int64) int64 { return max(0, min(t, maxMicroseconds)) * microsecond }

// judge counts a stream that is over.
func (r *recording) judge(s *firehose.Stream) {
	if s.State == firehose.Complete {
		return
	}
	r.bad++
	for bit := firehose.State(1); bit != 0; bit <<= 1 {
		if s.State&bit != 0 {
			r.states[bit]++
		}
	}
}

// wrong says what the states of streams mean for whoever reads them.
var wrong = []struct {
	state firehose.State
	text  string
}{
	{firehose.Gap, "with missing fragments"}, {firehose.NoStart, "without their beginning"}, {firehose.Cut, "with a fragment cut short"},
	{firehose.NoEnd, "without the mark of their end"}, {firehose.Corrupt, "that contradict themselves"}, {firehose.Untrusted, "behind damage, maybe forged"},
}

// report says what was wrong.
func (r *recording) report(name string) {
	t := r.sequencer.Totals()
	if r.bad > 0 {
		var parts []string
		for _, w := range wrong {
			if n := r.states[w.state]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n, w.text))
			}
		}
		missing := ""
		if t.Missing > 0 {
			missing = fmt.Sprintf(" (%s missing)", plural(t.Missing, "fragment"))
		}
		r.src.warn("%s: %s, %s%s", name, plural(t.Streams, "recorded stream"), strings.Join(parts, ", "), missing)
	}
	if n := t.Late + t.Stray; n > 0 {
		r.src.warn("%s: %s left out that came too late, or belong to no stream", name, plural(n, "fragment"))
	}
	if n := r.addresses.made; n > 0 {
		r.src.note("%s: a firehose stream names no addresses: those of %s are made up (clients 192.0.2.0/24, server %v)", name, plural(n, "conversation"), madeUpServer)
	}
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
