// The suite is tested by parsers that are wrong in one way each: it must find every one of them, and
// nothing wrong with the parser that they are made of.

package prototest

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/template"
)

var conversation = Case{
	Name: "conversation",
	Script: `
		> \x01ASK alpha 5\nhello\x01ASK beta 0\n
		< \x01ANSWER 0 3\nyes\x01ANSWER 1 19\nZ\x02ANSWER 2 2\n345678
		> \x01ASK gamma 2\nhi
		>close fin
		< \x01ANSWER 2 0\n
		<close fin`,
}

// wrap is a parser, or a sink, between the template's parser and the suite. Functions that are nil
// hand the call on.
type wrap struct {
	proto.Parser
	proto.Sink
	data  func(w *wrap, d proto.Direction, b []byte, at clock.Mark) proto.Verdict
	gap   func(w *wrap, d proto.Direction, n int64, at clock.Mark)
	close func(w *wrap, d proto.Direction, at clock.Mark, why proto.CloseReason)
	head  func(w *wrap, m *proto.Message) proto.Answers
	wants func(w *wrap, m *proto.Message) int
	end   func(w *wrap, m *proto.Message)
	kept  []byte
}

func (w *wrap) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	if w.data != nil {
		return w.data(w, d, b, at)
	}
	return w.Parser.Data(d, b, at)
}

func (w *wrap) Gap(d proto.Direction, n int64, at clock.Mark) {
	if w.gap != nil {
		w.gap(w, d, n, at)
		return
	}
	w.Parser.Gap(d, n, at)
}

func (w *wrap) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	if w.close != nil {
		w.close(w, d, at, why)
		return
	}
	w.Parser.Close(d, at, why)
}

func (w *wrap) Head(m *proto.Message) proto.Answers {
	if w.head != nil {
		return w.head(w, m)
	}
	return w.Sink.Head(m)
}

func (w *wrap) WantsBody(m *proto.Message) int {
	if w.wants != nil {
		return w.wants(w, m)
	}
	return w.Sink.WantsBody(m)
}

func (w *wrap) End(m *proto.Message) {
	if w.end != nil {
		w.end(w, m)
		return
	}
	w.Sink.End(m)
}

// wrapped returns a constructor of template parsers within a wrap.
func wrapped(w wrap) New {
	return func(c *proto.Context) proto.Parser {
		w := w
		w.Sink = c.Sink
		inner := *c
		inner.Sink = &w
		w.Parser = template.New(&inner)
		return &w
	}
}

func TestFindsFaults(t *testing.T) {
	for _, f := range []struct {
		name string
		wrap wrap
		// want is a part of what the suite says.
		want string
	}{
		{"none", wrap{}, ""},
		{"keeps what it borrowed", wrap{data: func(w *wrap, d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
			// Only a copy would still be there at the next call.
			if w.kept != nil && w.kept[0] == garbage {
				at.Offset++
			}
			w.kept = b
			return w.Parser.Data(d, b, at)
		}}, "instead of"},
		{"writes to what it borrowed", wrap{data: func(w *wrap, d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
			v := w.Parser.Data(d, b, at)
			b[0] = 'x'
			return v
		}}, "wrote to the bytes"},
		{"panics on data", wrap{data: func(w *wrap, d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
			if len(b) == 3 {
				panic("three bytes")
			}
			return w.Parser.Data(d, b, at)
		}}, "panic: three bytes"},
		{"takes a call for a message", wrap{data: func(w *wrap, d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
			if len(b) == 1 {
				return proto.Verdict{}
			}
			return w.Parser.Data(d, b, at)
		}}, "byte by byte"},
		{"ignores gaps", wrap{gap: func(*wrap, proto.Direction, int64, clock.Mark) {}}, "missing at"},
		{"panics on a gap", wrap{gap: func(*wrap, proto.Direction, int64, clock.Mark) { panic("a gap") }}, "panic: a gap"},
		{"counts half of a gap", wrap{gap: func(w *wrap, d proto.Direction, n int64, at clock.Mark) {
			w.Parser.Gap(d, (n+1)/2, at)
		}}, "missing at"},
		{"forgets to end", wrap{close: func(*wrap, proto.Direction, clock.Mark, proto.CloseReason) {}}, "then the end"},
		{"ends for another reason", wrap{close: func(w *wrap, d proto.Direction, at clock.Mark, _ proto.CloseReason) {
			w.Parser.Close(d, at, proto.Reset)
		}}, "the end of the connection gave"},
		{"invents a message at the end", wrap{close: func(w *wrap, d proto.Direction, at clock.Mark, why proto.CloseReason) {
			w.Parser.Close(d, at, why)
			m := proto.Message{Dir: d, First: at, Last: at}
			w.Sink.Head(&m)
			m.End = proto.Whole
			w.Sink.End(&m)
		}}, "prefixes"},
		{"misnames a message after a gap", wrap{
			gap: func(w *wrap, d proto.Direction, n int64, at clock.Mark) {
				w.kept = []byte("gap")
				w.Parser.Gap(d, n, at)
			},
			head: func(w *wrap, m *proto.Message) proto.Answers {
				if w.kept != nil && m.Method.Len > 0 {
					m.Method.Len--
				}
				return w.Sink.Head(m)
			},
		}, "wasn't sent"},
		{"has a span outside its head", wrap{head: func(w *wrap, m *proto.Message) proto.Answers {
			m.Target.Len += 100
			return w.Sink.Head(m)
		}}, "outside Raw"},
		{"hands out what isn't wanted", wrap{wants: func(*wrap, *proto.Message) int { return 1 << 20 }}, "wanted were"},
		{"hands out too little", wrap{wants: func(*wrap, *proto.Message) int { return 1 }}, "wanted were"},
		{"ends twice", wrap{end: func(w *wrap, m *proto.Message) { w.Sink.End(m); w.Sink.End(m) }}, "End without Head"},
		{"never ends", wrap{end: func(*wrap, *proto.Message) {}}, "before the End"},
		{"ends unfinished", wrap{end: func(w *wrap, m *proto.Message) { m.End = proto.Unfinished; w.Sink.End(m) }}, "unfinished"},
		{"shows its head at the end", wrap{end: func(w *wrap, m *proto.Message) {
			m.Fields = append(m.Fields[:0], proto.Field{})
			w.Sink.End(m)
		}}, "still has its head"},
		{"keeps its head to the end", wrap{end: func(w *wrap, m *proto.Message) {
			m.Raw = []byte("head")
			w.Sink.End(m)
		}}, "still has its head"},
		{"miscounts", wrap{end: func(w *wrap, m *proto.Message) { m.BodyBytes++; w.Sink.End(m) }}, "handed out with"},
		{"takes more than there is", wrap{data: func(w *wrap, d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
			return proto.Verdict{Action: proto.Handover, Consumed: len(b) + 1}
		}}, "consumed"},
		{"gives other bytes to the next protocol", wrap{data: func(w *wrap, d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
			if d == proto.Originator {
				return w.Parser.Data(d, b, at)
			}
			return proto.Verdict{Action: proto.Handover, Early: []byte("hello")}
		}}, "Early of 5 bytes"},
		{"stops and leaves a message open", wrap{
			data: func(w *wrap, d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
				w.Parser.Data(d, b, at)
				return proto.Verdict{Action: proto.Stop}
			},
			close: func(*wrap, proto.Direction, clock.Mark, proto.CloseReason) {},
		}, "segments"},
	} {
		t.Run(f.name, func(t *testing.T) {
			err := check(wrapped(f.wrap), &conversation)
			switch {
			case f.want == "" && err != nil:
				t.Error(err)
			case f.want != "" && err == nil:
				t.Error("not found")
			case f.want != "" && !strings.Contains(err.Error(), f.want):
				t.Errorf("found, but as: %v", err)
			}
		})
	}
}

func TestHeldIsChecked(t *testing.T) {
	for want, change := range map[string]int{"still holds 3 bytes": 3, "3 bytes more than it held": -3} {
		err := check(func(c *proto.Context) proto.Parser {
			*c.Held += change
			return template.New(c)
		}, &conversation)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q was found as: %v", want, err)
		}
	}
}

func TestWantIsCompared(t *testing.T) {
	c := conversation
	c.Want = "> nothing of the kind"
	if err := check(template.New, &c); err == nil {
		t.Error("not found")
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"> a\\r\\n\\x01\\xff\"'\\\\", `{originator "a\r\n\x01\xff\"'\\" 0 open}`},
		{"\n\t# nothing\n  <  two spaces ", `{responder " two spaces " 0 open}`},
		{">repeat 3 ab", `{originator "ababab" 0 open}`},
		{"<gap 7", `{responder "" 7 open}`},
		{"<close capture-ended", `{responder "" 0 capture-ended}`},
		{"> é", `{originator "é" 0 open}`},
		{"a", "line 1"},
		{">", "no bytes"},
		{"> a\n>a b", "line 2"},
		{"> \\q", "bad escape"},
		{">gap 0", "1 to"},
		{">gap x", "invalid syntax"},
		{">repeat x y", "invalid syntax"},
		{">repeat 0 y", "no bytes"},
		{">close soon", "no such reason"},
		{">close open", "no such reason"},
	} {
		steps, err := Parse(c.script)
		got := ""
		if err != nil {
			got = err.Error()
		}
		for _, s := range steps {
			got += s.String()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%q: %s, want %s", c.script, got, c.want)
		}
	}
}

// Cutting and losing bytes keeps all others, and their order.
func TestCuts(t *testing.T) {
	steps, err := Parse("> abc\n<gap 2\n< defg\n> hi\n< j\n>close fin")
	if err != nil {
		t.Fatal(err)
	}
	text := func(steps []Step) (s string) {
		for i := range steps {
			s += string(steps[i].Data)
		}
		return s
	}
	all := text(steps)
	for i := range size(steps) {
		before, after := cut(steps, i)
		if text(before) != all[:i] || text(after) != all[i:] {
			t.Errorf("cut at %d: %q and %q", i, text(before), text(after))
		}
		for n := int64(1); n < 10; n++ {
			out, _, _, lost := lose(steps, i, n)
			if got := len(text(out)) + int(lost); got != len(all) || lost == 0 {
				t.Errorf("%d bytes lost at %d: %v", n, i, out)
			}
		}
	}
	out, dir, offset, lost := lose(steps, 4, 4)
	if got := text(out); got != "abcdhi" || dir != proto.Responder || offset != 3 || lost != 4 {
		t.Errorf("4 bytes lost at 4: %q, %v, offset %d, %d bytes", got, dir, offset, lost)
	}
	for n := range 4 {
		if got := text(pieces(steps, n+1)); got != all {
			t.Errorf("pieces of %d: %q", n+1, got)
		}
	}
}

// What a seed becomes is what it was.
func TestPlan(t *testing.T) {
	c := conversation
	c.Script += "\n<repeat 5000 x\n>gap 64"
	steps, err := Parse(strings.ReplaceAll(strings.ReplaceAll(c.Script, ">close fin", ""), "<close fin", ""))
	if err != nil {
		t.Fatal(err)
	}
	got := join(plan(unplan(steps)))
	want := join(steps)
	if len(got) != len(want)+2 {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i].String() != want[i].String() {
			t.Errorf("step %d: %v, want %v", i, got[i], want[i])
		}
	}
}
