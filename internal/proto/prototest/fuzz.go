package prototest

import (
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

// Fuzz plays conversations that the fuzzer makes from the seeds: any bytes in each direction, cut
// anywhere and interleaved in any way. The invariant: the parser keeps the contract, and emits the
// same messages whether the bytes come so cut, one by one, or in as few segments as their order
// allows.
//
// The input of the target is what each direction sends, and a plan, in which each byte is a step (see
// plan).
func Fuzz(f *testing.F, newParser New, seeds []Case) {
	f.Helper()
	for i := range seeds {
		steps, err := Parse(seeds[i].Script)
		if err != nil {
			f.Fatalf("%s: %v", seeds[i].Name, err)
		}
		f.Add(unplan(steps))
	}
	f.Fuzz(func(t *testing.T, originator, responder, how []byte) {
		steps := plan(originator, responder, how)
		if len(steps) > maxSteps {
			t.Skip("longer than is worth the time")
		}
		c := Case{Resumed: len(how) > 0 && how[len(how)-1] == resumed, Limits: &proto.Limits{MaxHead: 4 << 10, MaxFields: 20, MaxStreams: 8, MaxMessage: 1 << 10, MaxStatement: 256}, MaxBody: 1 << 10}
		s := suite{newParser: newParser, c: &c, steps: join(steps)}
		whole := s.play(s.steps)
		for _, cut := range [...][]Step{s.steps, steps, pieces(steps, 1)} {
			r := s.play(cut)
			if err := r.err(); err != nil {
				t.Fatalf("%v\n%s", err, whole.Text())
			}
			if err := same(whole.events, r.events); err != nil {
				t.Fatalf("%v\nwhole:\n%s\ncut:\n%s", err, whole.Text(), r.Text())
			}
		}
	})
}

// maxSteps is the longest conversation that is fuzzed.
const maxSteps = 1 << 10

// The bits of a plan's byte. The length of a step is its low bits and one more, in units of 64 bytes
// when planLong is set.
const (
	planResponder = 1 << 7
	planGap       = 1 << 6
	planLong      = 1 << 5
	planLength    = planLong - 1
	longUnit      = 64

	// resumed, as the last byte of a plan, has the parser begin in the middle.
	resumed = 0xff
)

// plan makes steps of what each direction sends. What the plan leaves over comes last, and then each
// direction ends.
func plan(originator, responder, how []byte) []Step {
	rest := [2][]byte{originator, responder}
	var steps []Step
	for _, b := range how {
		s := Step{}
		if b&planResponder != 0 {
			s.Dir = proto.Responder
		}
		n := int(b&planLength) + 1
		if b&planLong != 0 {
			n *= longUnit
		}
		if b&planGap != 0 {
			s.Gap = int64(n)
			steps = append(steps, s)
			continue
		}
		if n = min(n, len(rest[s.Dir])); n > 0 {
			s.Data, rest[s.Dir] = rest[s.Dir][:n], rest[s.Dir][n:]
			steps = append(steps, s)
		}
	}
	reasons := [...]proto.CloseReason{proto.Finished, proto.Reset, proto.CaptureEnded}
	for d := range rest {
		if len(rest[d]) > 0 {
			steps = append(steps, Step{Dir: proto.Direction(d), Data: rest[d]})
		}
	}
	for d := range rest {
		steps = append(steps, Step{Dir: proto.Direction(d), Close: reasons[len(how)%len(reasons)]})
	}
	return steps
}

// unplan is the inverse of plan, but for the ends, and for the lengths of gaps, which are rounded.
func unplan(steps []Step) (originator, responder, how []byte) {
	var sent [2][]byte
	for _, s := range steps {
		flags := byte(0)
		if s.Dir == proto.Responder {
			flags = planResponder
		}
		n := len(s.Data)
		if s.Gap > 0 {
			flags |= planGap
			n = int(min(s.Gap, longUnit*(planLength+1)))
		}
		sent[s.Dir] = append(sent[s.Dir], s.Data...)
		for n > 0 {
			k := min(n, planLength+1)
			b := flags | byte(k-1)
			if n >= longUnit {
				units := min(n/longUnit, planLength+1)
				k, b = units*longUnit, flags|planLong|byte(units-1)
			}
			how = append(how, b)
			n -= k
		}
	}
	return sent[0], sent[1], how
}
