package dns

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

const zone = "zone.example"

// cases are conversations over TCP.
var cases = []prototest.Case{
	{
		Name: "questions and answers, out of order",
		Script: step(">", framed(ask(1, "www.example A"), ask(2, "www.example AAAA", opt(1232, 1<<15, "\x00\x08\x00\x07\x00\x01\x18\x00\xc0\x00\x02")))) +
			step("<", framed(answer(2, 0, "www.example AAAA", rr{owner: "@", typ: 5, ttl: 60, data: name("web.example")}, a("web.example", "2001:db8::1")))) +
			step("<", framed(answer(1, 0, "WWW.example A", a("@", "192.0.2.1"), a("@", "192.0.2.2")))),
	},
	{
		Name: "errors",
		Script: step(">", framed(ask(1, "no.example A"), ask(2, "bad.example MX"), ask(3, "no.example TXT"))) +
			step("<", framed(answer(1, 3, "no.example A"))) +
			step("<", framed(wire{id: 2, flags: flagQR | 2, questions: []string{"bad.example MX"}, sections: [3][]rr{2: {opt(512, 0, "\x00\x0f\x00\x05\x00\x16all")}}}.bytes())) +
			step("<", framed(wire{id: 3, flags: flagQR, questions: []string{"no.example TXT"}, sections: [3][]rr{2: {opt(512, 1<<24, "")}}}.bytes())),
	},
	{
		Name:   "an error that doesn't repeat the question",
		Script: step(">", framed(ask(1, "www.example A"))) + step("<", framed(wire{id: 1, flags: flagQR | 1}.bytes())),
	},
	{
		Name:   "an answer without a question",
		Script: step("<", framed(answer(9, 0, "www.example A", a("@", "192.0.2.1")))),
	},
	{
		Name:   "the responder asks",
		Client: proto.Responder,
		Script: step("<", framed(ask(1, "www.example A"))) + step(">", framed(answer(1, 0, "www.example A", a("@", "192.0.2.1")))),
	},
	{
		Name: "what isn't a query",
		Script: step(">", framed(wire{id: 4, flags: opNotify<<11 | flagAA, questions: []string{"zone.example SOA"}}.bytes())) +
			step("<", framed(wire{id: 4, flags: flagQR | opNotify<<11 | flagAA, questions: []string{"zone.example SOA"}}.bytes())) +
			step(">", framed(wire{id: 5, flags: opUpdate << 11, questions: []string{"zone.example SOA"}, sections: [3][]rr{1: {a("new.zone.example", "192.0.2.7")}}}.bytes())) +
			step("<", framed(wire{id: 5, flags: flagQR | opUpdate<<11 | 5, questions: []string{"zone.example SOA"}, sections: [3][]rr{{a("old.zone.example", "192.0.2.6")}}}.bytes())) +
			step(">", framed(wire{id: 6, flags: opDSO << 11}.bytes()+"\x00\x01\x00\x08\x00\x00\x3a\x98\x00\x00\x3a\x98")) +
			step("<", framed(wire{id: 6, flags: flagQR | opDSO<<11}.bytes()+"\x00\x01\x00\x08\x00\x00\x3a\x98\x00\x00\x3a\x98")) +
			step("<", framed(wire{id: 0, flags: opDSO << 11}.bytes()+"\x00\x40\x00\x00")),
	},
	{
		Name: "malformed ones between others",
		Script: step(">", framed(ask(1, "www.example A"), u16(2)+u16(flagRD)+"\x00\x01\x00\x00\x00\x00\x00\x00\x3fwww", ask(3, "www.example A")+"more")) +
			step("<", framed(answer(1, 0, "www.example A", rr{owner: "@", typ: typeA, data: "\x01\x02\x03"}), u16(3)+u16(flagQR)+"\x00\x01\x00\x05\x00\x00\x00\x00"+name("www.example")+"\x00\x01\x00\x01"+a("@", "192.0.2.1").wire())),
	},
	{
		Name: "a length that none can have",
		Script: step(">", framed(ask(1, "www.example A"))+"\x00\x05hello"+framed(ask(2, "www.example A"))) +
			step("<", framed(answer(1, 0, "www.example A"))) + step(">", framed(ask(3, "www.example A"))),
	},
	{
		Name:    "picked up in the middle",
		Resumed: true,
		Script: step(">", "example\x00\x00\x01\x00\x01") + step(">", framed(ask(2, "www.example A"))) +
			step("<", "\x00\x04\xc0\x00\x02\x01") + step("<", framed(answer(2, 0, "www.example A", a("@", "192.0.2.1")))),
	},
	{
		Name: "missing bytes",
		Script: step(">", framed(ask(1, "www.example A"), ask(2, "www.example AAAA"))) +
			step("<", framed(answer(1, 0, "www.example A", a("@", "192.0.2.1")))[:40]) + "<gap 7\n" +
			step("<", framed(answer(2, 0, "www.example AAAA", a("@", "2001:db8::1")))) +
			step("<", framed(answer(3, 0, "www.example A", a("@", "192.0.2.1")))[:10]) + "<gap 100\n" +
			step("<", framed(answer(4, 0, "www.example A", a("@", "192.0.2.1")))),
	},
	{
		Name: "the connection ends within an answer",
		Script: step(">", framed(ask(1, "www.example A"))) +
			step("<", framed(answer(1, 0, "www.example A", a("@", "192.0.2.1"), a("@", "192.0.2.2")))[:60]) + "<close rst\n>close rst\n",
	},
	{
		Name: "more than is shown",
		Script: step(">", framed(ask(1, "www.example A"))) +
			step("<", framed(answer(1, 0, "www.example A", a("@", "192.0.2.1"), a("@", "192.0.2.2"), a("@", "192.0.2.3")))),
		Limits:  &proto.Limits{MaxFields: 2, MaxStreams: 10, MaxStatement: 1000},
		MaxBody: 40,
	},
	{
		Name: "data longer than is shown, and an answer that was truncated",
		Script: step(">", framed(ask(1, "www.example TXT"), ask(2, "www.example A"))) +
			step("<", framed(answer(1, 0, "www.example TXT", rr{owner: "@", typ: 16, data: "\x03abc"}, rr{owner: "@", typ: 16, data: "\xc8" + strings.Repeat("x", 200)}))) +
			step("<", framed(u16(2)+u16(flagQR|flagTC)+"\x00\x01\x00\x02\x00\x00\x00\x00"+name("www.example")+"\x00\x01\x00\x01"+a("@", "192.0.2.1").wire()+a("@", "192.0.2.2").wire()[:9])),
		Limits: &proto.Limits{MaxFields: 10, MaxStreams: 10, MaxStatement: 100},
	},
	{
		Name: "more questions than are followed",
		Script: step(">", framed(ask(1, "www.example A"), ask(2, "www.example AAAA"))) +
			step("<", framed(answer(2, 0, "www.example AAAA"))),
		Limits: &proto.Limits{MaxFields: 2, MaxStreams: 1, MaxStatement: 1000},
	},
	{
		Name: "a zone in three messages, and a question between them",
		Script: step(">", framed(ask(7, "zone.example AXFR"))) +
			step("<", framed(answer(7, 0, "zone.example AXFR", soa(zone, 5), a("a.zone.example", "192.0.2.1")))) +
			step(">", framed(ask(8, "www.example A"))) +
			step("<", framed(answer(8, 0, "www.example A", a("@", "192.0.2.9")))) +
			step("<", framed(wire{id: 7, flags: flagQR, sections: [3][]rr{{a("b.zone.example", "192.0.2.2")}}}.bytes())) +
			step("<", framed(wire{id: 7, flags: flagQR, sections: [3][]rr{{a("c.zone.example", "192.0.2.3"), soa(zone, 5)}}}.bytes())) +
			step(">", framed(ask(9, "zone.example SOA"))) + step("<", framed(answer(9, 0, "zone.example SOA", soa(zone, 5)))),
	},
	{
		Name:   "an empty zone",
		Script: step(">", framed(ask(7, "zone.example AXFR"))) + step("<", framed(answer(7, 0, "zone.example AXFR", soa(zone, 5), soa(zone, 5)))),
	},
	{
		Name: "what has changed in a zone",
		Script: step(">", framed(ask(7, "zone.example IXFR"))) +
			step("<", framed(answer(7, 0, "zone.example IXFR", soa(zone, 7), soa(zone, 5), a("a.zone.example", "192.0.2.1"), soa(zone, 6)))) +
			step("<", framed(answer(7, 0, "zone.example IXFR", a("a.zone.example", "192.0.2.3"), soa(zone, 6), soa(zone, 7)))) +
			step("<", framed(answer(7, 0, "zone.example IXFR", a("b.zone.example", "192.0.2.4"), soa(zone, 7)))) +
			step(">", framed(ask(8, "zone.example IXFR"))) + step("<", framed(answer(8, 0, "zone.example IXFR", soa(zone, 7)))),
	},
	{
		Name: "a zone that is refused, and one that nobody asked for",
		Script: step(">", framed(ask(7, "zone.example AXFR"))) + step("<", framed(answer(7, 5, "zone.example AXFR"))) +
			step("<", framed(answer(8, 0, "zone.example AXFR", soa(zone, 5), a("a.zone.example", "192.0.2.1")))) +
			step("<", framed(answer(8, 0, "zone.example AXFR", a("b.zone.example", "192.0.2.1"), soa(zone, 5)))),
	},
}

// apart are conversations that can't be in the suite: what comes first in them, and may be missing, changes what the rest is.
var apart = []prototest.Case{
	{
		Name: "a zone that ends with an error",
		Script: step(">", framed(ask(7, "zone.example AXFR"))) +
			step("<", framed(answer(7, 0, "zone.example AXFR", soa(zone, 5), a("a.zone.example", "192.0.2.1")))) +
			step("<", framed(answer(7, 2, "zone.example AXFR"))),
	},
	{
		Name: "the same question again, two answers, and one to something else",
		Script: step(">", framed(ask(7, "www.example A"))) + step(">", framed(ask(7, "www.example A"))) +
			step("<", framed(answer(7, 0, "www.example AAAA"))) +
			step("<", framed(answer(7, 0, "wWw.example A", a("@", "192.0.2.1")))) +
			step("<", framed(answer(7, 0, "www.example A", a("@", "192.0.2.1")))) +
			step(">", framed(ask(7, "www.example A"))) + step("<", framed(answer(7, 0, "www.example A"))),
	},
	{
		Name: "answers that don't say what they answer",
		Script: step(">", framed(ask(7, "a.example A"), ask(7, "b.example A"))) +
			step("<", framed(wire{id: 7, flags: flagQR | 1}.bytes())) + step("<", framed(answer(7, 0, "b.example A"))) +
			step("<", framed(wire{id: 7, flags: flagQR | 1}.bytes())),
	},
}

// expectations returns what testdata has of each conversation, by name.
func expectations(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/conversations.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for section := range strings.SplitSeq(string(b), "\n== ") {
		name, text, _ := strings.Cut(section, "\n")
		want[name] = text
	}
	return want
}

func TestConformance(t *testing.T) {
	want := expectations(t)
	list := slices.Clone(cases)
	for i := range list {
		if list[i].Want = want[list[i].Name]; list[i].Want == "" {
			t.Errorf("testdata doesn't have %q", list[i].Name)
		}
	}
	prototest.Run(t, newParser, list)
}

func TestApart(t *testing.T) {
	want := expectations(t)
	for _, c := range apart {
		t.Run(c.Name, func(t *testing.T) { play(t, newParser, c, want[c.Name]) })
	}
}

// play plays a conversation as it is.
func play(t *testing.T, make prototest.New, c prototest.Case, want string) {
	t.Helper()
	r, err := prototest.Play(make, c)
	if err != nil {
		t.Error(err)
	}
	tidy := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if got := r.Text(); tidy(got) != tidy(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzParser(f *testing.F) { prototest.Fuzz(f, newParser, cases) }
