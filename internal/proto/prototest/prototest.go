// Package prototest is the conformance suite of parsers: what every protocol must do with whatever
// arrives, in whatever pieces. A protocol gives scripts of real conversations; Run plays each in
// every way the wire may deliver it, and Fuzz goes on from there.
//
// The invariants:
//
//   - Whole: a conversation gives the same messages however its bytes are cut into segments, until
//     bytes are lost.
//   - Prefix: a parser that has seen the beginning of a conversation has emitted the beginning of its
//     messages. When the connection ends there, each open message ends as proto.Cut, with the reason.
//   - Gap: a parser that misses bytes emits no message that wasn't sent. A gap within a body of known
//     length changes nothing but the count of the missing bytes. (So the bodies of scripts mustn't
//     hold what looks like a message, where a protocol can't tell the two apart.)
//   - Borrow: what a parser was given is overwritten when its call returns. It never writes to it.
//   - Order: Head, Body, End, for each message; no message is left open at the end, and nothing held.
package prototest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

// New makes a parser, as proto.Protocol has it.
type New func(c *proto.Context) proto.Parser

// Case is one conversation.
type Case struct {
	Name string
	// Script is the conversation; see Parse.
	Script string
	// Client is the direction that sends requests.
	Client proto.Direction
	// Resumed: the parser begins in the middle of the half-streams.
	Resumed bool
	// Limits are the limits in force; nil: DefaultLimits.
	Limits *proto.Limits
	// MaxBody is how many bytes of each body the sink wants; 0: defaultMaxBody.
	MaxBody int
	// Want is the text of the whole conversation's record (Recorder.Text), but for the space around
	// its lines; empty: it isn't compared.
	Want string
}

const defaultMaxBody = 1 << 20

func (c *Case) maxBody() int {
	if c.MaxBody == 0 {
		return defaultMaxBody
	}
	return c.MaxBody
}

// DefaultLimits are the limits of cases that have none of their own.
func DefaultLimits() *proto.Limits {
	return &proto.Limits{MaxHead: 64 << 10, MaxFields: 200, MaxStreams: 100, MaxMessage: 1 << 20, MaxStatement: 16 << 10}
}

// Conversations longer than exhaustive bytes are cut at places that lie evenly apart, at as many of
// them as there are bytes in exhaustive.
const exhaustive = 1 << 10

// Run plays each case in every way.
func Run(t *testing.T, newParser New, cases []Case) {
	t.Helper()
	for i := range cases {
		c := &cases[i]
		t.Run(c.Name, func(t *testing.T) {
			if err := check(newParser, c); err != nil {
				t.Error(err)
			}
		})
	}
}

// check plays a case in every way. It returns the first fault.
func check(newParser New, c *Case) error {
	steps, err := Parse(c.Script)
	if err != nil {
		return err
	}
	s := suite{newParser: newParser, c: c, script: steps, steps: join(steps)}
	for _, part := range [...]struct {
		name  string
		check func() error
	}{
		{"wanted", s.wanted},
		{"segments", s.segments},
		{"bodies unwanted", s.unwanted},
		{"prefixes", s.prefixes},
		{"reasons", s.reasons},
		{"gaps", s.gaps},
	} {
		if err := part.check(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// Play plays a case as its script has it, and returns what the parser emitted.
func Play(newParser New, c Case) (*Recorder, error) {
	steps, err := Parse(c.Script)
	if err != nil {
		return nil, err
	}
	r := play(newParser, &c, steps, c.maxBody())
	return r, r.err()
}

func (c *Case) limits() *proto.Limits {
	if c.Limits == nil {
		return DefaultLimits()
	}
	return c.Limits
}

// suite checks one case. script is as it was written; steps has one segment for all neighbouring bytes of a direction, which is
// how others are compared.
type suite struct {
	newParser New
	c         *Case
	script    []Step
	steps     []Step
}

func (s *suite) play(steps []Step) *Recorder {
	return play(s.newParser, s.c, steps, s.c.maxBody())
}

// places returns the places where a conversation is cut.
func (s *suite) places() (out []int) {
	n := size(s.steps)
	for i := range min(n, exhaustive) {
		out = append(out, i*n/min(n, exhaustive))
	}
	return out
}

func (s *suite) wanted() error {
	r := s.play(s.script)
	if got, want := tidy(r.Text()), tidy(s.c.Want); want != "" && got != want {
		return fmt.Errorf("got\n%s\nwant\n%s", got, want)
	}
	return r.err()
}

// tidy takes away the space around lines, so that texts may be indented.
func tidy(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// segments compares the whole with the segments of the script, with single bytes, and with each cut
// in two.
func (s *suite) segments() error {
	whole := s.play(s.steps)
	if err := whole.err(); err != nil {
		return err
	}
	compare := func(how string, steps []Step) error {
		r := s.play(steps)
		if err := r.err(); err != nil {
			return fmt.Errorf("%s: %w", how, err)
		}
		if err := same(whole.events, r.events); err != nil {
			return fmt.Errorf("%s: %w", how, err)
		}
		return nil
	}
	if err := compare("as the script has it", s.script); err != nil {
		return err
	}
	if err := compare("byte by byte", pieces(s.steps, 1)); err != nil {
		return err
	}
	for _, i := range s.places() {
		before, after := cut(s.steps, i)
		if err := compare(fmt.Sprintf("cut at byte %d", i), append(before[:len(before):len(before)], after...)); err != nil {
			return err
		}
	}
	return nil
}

// unwanted plays the case to a sink that wants no bodies: all else is the same.
func (s *suite) unwanted() error {
	r := play(s.newParser, s.c, s.steps, 0)
	if err := r.err(); err != nil {
		return err
	}
	var want []event
	for _, e := range s.play(s.steps).events {
		if e.kind != body {
			want = append(want, e)
		}
	}
	return same(want, r.events)
}

// prefixes plays each beginning of the case.
func (s *suite) prefixes() error {
	whole := s.play(s.steps)
	for _, i := range s.places() {
		before, _ := cut(s.steps, i)
		r := s.play(before)
		if err := beginning(r.events, whole.events); err != nil {
			return fmt.Errorf("the first %d bytes: %w", i, err)
		}
		if err := s.closed(before, r, proto.CaptureEnded); err != nil {
			return fmt.Errorf("the first %d bytes, then the end: %w", i, err)
		}
	}
	return nil
}

// reasons ends the connection within each step, and in the middle of each, in every way.
func (s *suite) reasons() error {
	at := 0
	for _, step := range s.steps {
		for _, i := range [...]int{at, at + len(step.Data)/2, at + len(step.Data)} {
			before, _ := cut(s.steps, i)
			r := s.play(before)
			for why := proto.Finished; why <= proto.CaptureEnded; why++ {
				if err := s.closed(before, r, why); err != nil {
					return fmt.Errorf("the first %d bytes, then %s: %w", i, why, err)
				}
			}
		}
		at += len(step.Data)
	}
	return nil
}

// closed plays the steps that gave r, then ends what is open. What was emitted stays as it was, and
// what is added are the ends of the open messages, and the remains of unfinished heads.
func (s *suite) closed(steps []Step, r *Recorder, why proto.CloseReason) error {
	var open [2]bool
	for d := range open {
		open[d] = true
	}
	for _, step := range steps {
		if step.Close != proto.Open {
			open[step.Dir] = false
		}
	}
	steps = steps[:len(steps):len(steps)]
	for d, is := range open {
		if is {
			steps = append(steps, Step{Dir: proto.Direction(d), Close: why})
		}
	}
	ended := s.play(steps)
	if err := ended.err(); err != nil {
		return err
	}
	if len(ended.events) < len(r.events) {
		return fmt.Errorf("fewer events than before the end")
	}
	if err := same(r.events, ended.events[:len(r.events)]); err != nil {
		return err
	}
	for _, e := range ended.events[len(r.events):] {
		if e.kind == verdict || e.kind == end && !endsByClose(&e, why) {
			return fmt.Errorf("the end of the connection gave %q", e.text)
		}
	}
	return nil
}

// endsByClose reports whether a message may end so when the connection does.
func endsByClose(e *event, why proto.CloseReason) bool {
	if e.framing == proto.UntilClose && why == proto.Finished {
		return e.how == proto.Whole
	}
	return e.how == proto.Cut && e.why == why
}

// gaps loses bytes at each place.
func (s *suite) gaps() error {
	whole := s.play(s.steps)
	sent := make(map[[2]int64][]*event) // several where nothing was sent for some
	for i := range whole.events {
		if e := &whole.events[i]; e.kind == head {
			at := [2]int64{int64(e.lane.dir), e.first}
			sent[at] = append(sent[at], e)
		}
	}
	for _, i := range s.places() {
		for _, n := range [...]int64{1, 5, 40, 1000} {
			steps, dir, offset, size := lose(s.steps, i, n)
			if err := s.gap(whole, sent, steps, dir, offset, size); err != nil {
				return fmt.Errorf("%d bytes of the %s missing at %d: %w", size, dir, offset, err)
			}
			if size < n {
				break
			}
		}
	}
	return nil
}

func (s *suite) gap(whole *Recorder, sent map[[2]int64][]*event, steps []Step, dir proto.Direction, offset, size int64) error {
	var ends []Step
	for _, d := range [...]proto.Direction{proto.Originator, proto.Responder} {
		closed := false
		for _, step := range steps {
			closed = closed || step.Dir == d && step.Close != proto.Open
		}
		if !closed {
			ends = append(ends, Step{Dir: d, Close: proto.CaptureEnded})
		}
	}
	r := s.play(append(steps[:len(steps):len(steps)], ends...))
	if err := r.err(); err != nil || whole.lost {
		// What a parser finds again depends on where segments begin, and the gap makes one begin.
		return err
	}
	for i := range r.events {
		e := &r.events[i]
		if e.kind != head {
			continue
		}
		was := sent[[2]int64{int64(e.lane.dir), e.first}]
		if !slices.ContainsFunc(was, func(was *event) bool { return startsLike(was.start, e.start) }) {
			return fmt.Errorf("a message that wasn't sent: %s", e.text)
		}
	}
	if within := whole.bodyAround(dir, offset, size); within != nil {
		return sameButMissing(whole.events, s.play(steps).events, within, size)
	}
	return nil
}

// startsLike reports whether a start line is that of a message that was sent, but for what couldn't be known: "?" for a word, 0
// for a status.
func startsLike(sent, got string) bool {
	was, is := strings.Fields(sent), strings.Fields(got)
	if len(was) != len(is) {
		return false
	}
	for i := range was {
		if was[i] != is[i] && is[i] != "?" && (is[i] != "0" || i != 1) {
			return false
		}
	}
	return true
}

// bodyAround returns the End of the message in whose body, of known length, the bytes lie.
func (r *Recorder) bodyAround(dir proto.Direction, offset, size int64) *event {
	var h *event
	for i := range r.events {
		e := &r.events[i]
		switch {
		case e.lane.dir != dir || e.lane.stream != 0:
		case e.kind == head:
			h = e
		case e.kind == end && h != nil && h.framing == proto.ByLength && e.how == proto.Whole &&
			offset >= h.first+h.headSize && offset+size <= h.first+e.size:
			return e
		}
	}
	return nil
}
