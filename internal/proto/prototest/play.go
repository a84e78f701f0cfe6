package prototest

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// player drives one parser.
type player struct {
	parser proto.Parser
	rec    *Recorder
	// sent is what each direction delivered so far, with zeros for gaps; gaps says whether there are.
	sent [2][]byte
	gaps [2]bool
	// action is the last answer of the parser, closed how many directions have ended, held how many
	// bytes the parser says it holds.
	action proto.Action
	closed int
	held   int
	// at is the mark of the next step.
	at clock.Mark
}

// garbage overwrites what a parser was lent.
const garbage = 0xdb

// epoch is when the first segment of each conversation arrives, in nanoseconds since 1970.
const epoch = 1_000_000_000_000_000_000

// play runs a new parser over the steps, to a sink that wants so many bytes of each body.
func play(newParser New, c *Case, steps []Step, want int) *Recorder {
	p := player{rec: newRecorder(want, c.Resumed), at: clock.Mark{Time: epoch}}
	p.run(newParser, c, steps)
	return p.rec
}

func (p *player) run(newParser New, c *Case, steps []Step) {
	defer func() {
		if v := recover(); v != nil {
			p.rec.breach("panic: %v\n%s", v, debug.Stack())
		}
	}()
	p.parser = newParser(&proto.Context{Client: c.Client, Resumed: c.Resumed, Sink: p.rec, Limits: c.limits(), Held: &p.held})
	for i := range steps {
		s := &steps[i]
		if p.action == proto.Stop && s.Close == proto.Open {
			continue
		}
		p.step(s)
		if p.held < 0 {
			p.rec.breach("the parser let go of %d bytes more than it held", -p.held)
		}
		if p.action == proto.Handover {
			break
		}
	}
	if p.action == proto.Handover || p.closed == len(p.sent) {
		p.rec.finish()
		if p.held != 0 {
			p.rec.breach("the parser still holds %d bytes at the end", p.held)
		}
	}
}

// step makes one call.
func (p *player) step(s *Step) {
	p.at.Time += 1_000_000
	p.at.Packet++
	p.at.Offset = int64(len(p.sent[s.Dir]))
	p.at.Peer = int64(len(p.sent[s.Dir.Other()]))
	switch {
	case s.Close != proto.Open:
		p.closed++
		p.parser.Close(s.Dir, p.at, s.Close)
		return
	case s.Gap > 0:
		p.sent[s.Dir] = append(p.sent[s.Dir], make([]byte, s.Gap)...)
		p.gaps[s.Dir] = true
		p.parser.Gap(s.Dir, s.Gap, p.at)
		return
	}
	p.sent[s.Dir] = append(p.sent[s.Dir], s.Data...)
	lent := bytes.Clone(s.Data)
	v := p.parser.Data(s.Dir, lent, p.at)
	p.action = v.Action
	p.verdict(s, v)
	if !bytes.Equal(lent, s.Data) {
		p.rec.breach("the parser wrote to the bytes it was lent")
	}
	for i := range lent {
		lent[i] = garbage
	}
}

// verdict records what ends the calls: where what follows begins, in each direction.
func (p *player) verdict(s *Step, v proto.Verdict) {
	switch v.Action {
	case proto.Stop:
		p.rec.events = append(p.rec.events, event{kind: verdict, text: "stop"})
	case proto.Handover:
		if v.Consumed < 0 || v.Consumed > len(s.Data) {
			p.rec.breach("a Handover consumed %d of %d bytes", v.Consumed, len(s.Data))
		}
		var begins [2]int
		other := s.Dir.Other()
		begins[s.Dir] = len(p.sent[s.Dir]) - len(s.Data) + v.Consumed
		begins[other] = len(p.sent[other])
		if n := len(v.Early); n > 0 {
			// A parser may keep fewer than came; where they are says how many are missing behind them.
			begins[other] = int(v.EarlyAt.Offset)
			if from := v.EarlyAt.Offset; from < 0 || from+int64(n) > int64(len(p.sent[other])) ||
				!p.gaps[other] && !bytes.Equal(v.Early, p.sent[other][from:][:n]) {
				p.rec.breach("Early of %d bytes aren't what the %s sent at %d", n, other, from)
			}
		}
		p.rec.events = append(p.rec.events, event{kind: verdict, text: fmt.Sprintf("handover to %q at > %d < %d", v.Hint, begins[0], begins[1])})
	}
}

func (r *Recorder) err() error {
	if len(r.Breaches) == 0 {
		return nil
	}
	return errors.New(strings.Join(r.Breaches, "\n"))
}
