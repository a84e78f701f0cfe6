package dns

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

// asParser lets scripts play datagrams: each segment is one.
type asParser struct {
	proto.Datagrams
	closed int
	// cut is how many bytes of each datagram are captured, 0 for all.
	cut int
}

func (p *asParser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	size := len(b)
	if p.cut > 0 {
		b = b[:min(p.cut, size)]
	}
	p.Datagram(d, b, size, at)
	return proto.Verdict{}
}

func (p *asParser) Gap(proto.Direction, int64, clock.Mark) {}

func (p *asParser) Close(_ proto.Direction, at clock.Mark, why proto.CloseReason) {
	if p.closed++; p.closed == 2 {
		p.Datagrams.Close(at, why)
	}
}

// carry makes a parser of datagrams of a protocol.
func carry(p *proto.Protocol, group bool, cut int) prototest.New {
	return func(c *proto.Context) proto.Parser {
		c.Group = group
		return &asParser{Datagrams: p.NewDatagrams(c), cut: cut}
	}
}

const closes = "<close fin\n>close fin\n"

func TestDatagrams(t *testing.T) {
	browse := wire{questions: []string{"_ipp._tcp.local PTR", "_http._tcp.local PTR"}}.bytes()
	announce := wire{flags: flagQR | flagAA, sections: [3][]rr{{{owner: "_ipp._tcp.local", typ: 12, class: 1<<15 | classIN, ttl: 120, data: name("printer.local")}, a("printer.local", "192.0.2.9")}}}.bytes()
	for _, c := range []struct {
		name, script string
		make         prototest.New
		want         string
	}{
		{"a question, its retry, and its answer", step(">", ask(1, "a.b A")) + step(">", ask(1, "A.b A")) + step("<", answer(1, 0, "a.b A", a("@", "192.0.2.1"))) + closes, carry(&DNS, false, 0), `
			>1 request A a.b > >1 request again A A.b > <1 response A a.b`},
		{"an id that is used again for something else", step(">", ask(1, "a.b A")) + step(">", ask(1, "c.d A")) + step("<", answer(1, 0, "c.d A")) + step("<", answer(1, 0, "a.b A")) + closes, carry(&DNS, false, 0), `
			>1 request A a.b > >2 request A c.d > <2 response A c.d > <1 response A a.b`},
		{"an answer to something else, and one that comes twice", step(">", ask(1, "a.b A")) + step("<", answer(1, 0, "x.b A")) + step("<", answer(1, 0, "a.b A")) + step("<", answer(1, 0, "a.b A")) + closes, carry(&DNS, false, 0), `
			>1 request A a.b > <2 response one-way A x.b [unexpected-answer] > <1 response A a.b > <3 response one-way A a.b [unexpected-answer]`},
		{"answers that come twice, in another order", step(">", ask(1, "a.b A")) + step(">", ask(2, "a.b A")) + step("<", answer(1, 0, "a.b A")) + step("<", answer(2, 0, "a.b A")) +
			step("<", answer(1, 0, "a.b A")) + step("<", answer(3, 0, "a.b A")) + closes, carry(&DNS, false, 0), `
			>1 request A a.b > >2 request A a.b > <1 response A a.b > <2 response A a.b > <3 response one-way A a.b [unexpected-answer] > <4 response A a.b`},
		{"what comes from the asker's side answers nothing", step(">", ask(1, "a.b A")) + step(">", answer(1, 0, "a.b A")) + step("<", answer(1, 0, "a.b A")) + closes, carry(&DNS, false, 0), `
			>1 request A a.b > >2 response A a.b > <1 response A a.b`},
		{"captured in part", step(">", ask(1, "a.b A")) + step("<", answer(1, 0, "a.b A", a("@", "192.0.2.1"), a("@", "192.0.2.2"))) + closes, carry(&DNS, false, 40), `
			>1 request A a.b > <1 response A a.b missing 13`},
		{"captured without the question", step(">", ask(1, "a.b A")) + closes, carry(&DNS, false, 14), "lost"},
		{"no message at all", step(">", "hello") + step(">", ask(1, "a.b A")) + closes, carry(&DNS, false, 0), ">1 request A a.b"},
		{"a zone needs a connection", step(">", ask(1, "a.b AXFR")) + step("<", answer(1, 0, "a.b AXFR", soa("a.b", 1))) + closes, carry(&DNS, false, 0), `
			>1 request AXFR a.b > <1 response AXFR a.b`},
		{"mDNS in a group", step(">", browse) + step(">", announce) + step(">", browse) + closes, carry(&MDNS, true, 0), `
			>1 request one-way PTR _ipp._tcp.local > >2 response one-way PTR _ipp._tcp.local > >3 request one-way PTR _ipp._tcp.local`},
		{"mDNS asked directly", step(">", ask(9, "printer.local A")) + step("<", answer(9, 0, "printer.local A", a("@", "192.0.2.9"))) + closes, carry(&MDNS, false, 0), `
			>1 request A printer.local > <1 response A printer.local`},
		{"LLMNR in a group", step(">", ask(9, "host A")) + step(">", ask(9, "host A")) + closes, carry(&LLMNR, true, 0), `
			>1 request one-way A host > >2 request one-way A host`},
		{"an answer of LLMNR", step("<", answer(9, 0, "host A", a("@", "192.0.2.9"))) + closes, carry(&LLMNR, false, 0), `
			<1 response one-way A host`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := prototest.Play(c.make, prototest.Case{Script: c.script})
			if err != nil {
				t.Error(err)
			}
			if got, want := brief(r.Text()), strings.Join(strings.Fields(c.want), " "); got != want {
				t.Errorf("got  %s\nwant %s\n%s", got, want, r.Text())
			}
		})
	}
}

// brief returns the heads of a record with their anomalies, and what is missing.
func brief(text string) string {
	var list []string
	for line := range strings.Lines(text) {
		head, rest, _ := strings.Cut(strings.TrimSpace(line), " at ")
		anomaly := ""
		if i := strings.Index(rest, " ["); i > 0 {
			anomaly = rest[i:]
		}
		_, missing, _ := strings.Cut(head, " missing ")
		switch {
		case strings.Contains(head, "request "), strings.Contains(head, "response "):
			list = append(list, strings.Replace(head, "response 0", "response", 1)+anomaly)
		case missing != "":
			list[len(list)-1] += " missing " + missing
		case strings.HasSuffix(head, "lost"):
			list = append(list, "lost")
		}
	}
	return strings.Join(list, " > ")
}

// TestMulticastFacts: the class's highest bit is another thing in mDNS, the flags are others in LLMNR, and the answers are facts.
func TestMulticastFacts(t *testing.T) {
	b := wire{flags: flagQR | flagAA | flagRD, sections: [3][]rr{{{owner: "p.local", typ: typeA, class: 1<<15 | classIN, ttl: 120, data: "\xc0\x00\x02\x09"}}}}.bytes()
	for _, c := range []struct {
		p       *proto.Protocol
		has     []string
		without string
	}{
		{&DNS, []string{"flag = AA", "flag = RD", "CLASS32769"}, "resolved_ip"},
		{&MDNS, []string{"flag = AA", "resolved_ip = 192.0.2.9", `120\tIN\tA`}, "CLASS"},
		{&LLMNR, []string{"flag = C", "flag = T"}, "flag = RD"},
	} {
		r, err := prototest.Play(carry(c.p, true, 0), prototest.Case{Script: step(">", b) + closes})
		if err != nil {
			t.Error(err)
		}
		for _, text := range c.has {
			if !strings.Contains(r.Text(), text) {
				t.Errorf("%s: %q isn't in\n%s", c.p.Name, text, r.Text())
			}
		}
		if strings.Contains(r.Text(), c.without) {
			t.Errorf("%s: %q is in\n%s", c.p.Name, c.without, r.Text())
		}
	}
}

// discard takes messages and wants nothing of them.
type discard struct{ heads, retries, lost int }

func (s *discard) Head(m *proto.Message) proto.Answers {
	s.heads++
	if m.Again {
		s.retries++
	}
	return proto.AnswersUnknown
}

func (s *discard) Body(*proto.Message, []byte)      {}
func (s *discard) WantsBody(*proto.Message) int     { return 0 }
func (s *discard) End(*proto.Message)               {}
func (s *discard) Lost(proto.Direction, clock.Mark) { s.lost++ }
func (s *discard) Abort(*proto.Abort)               {}
func (s *discard) Session(*proto.TLS)               {}
func (s *discard) Proxied(*proto.Proxied)           {}

// flow begins a flow of DNS.
func flow(s proto.Sink, held *int) proto.Datagrams {
	return DNS.NewDatagrams(&proto.Context{Sink: s, Limits: prototest.DefaultLimits(), Held: held})
}

var typical = [2][]byte{
	[]byte(ask(1, "www.example.com A", opt(1232, 0, ""))),
	[]byte(answer(1, 0, "www.example.com A", rr{owner: "@", typ: 5, ttl: 60, data: name("web.example.com")}, a("web.example.com", "192.0.2.1"), a("web.example.com", "192.0.2.2"))),
}

// TestAllocations: a question and its answer take no memory of their own, nor does a flow that follows another.
func TestAllocations(t *testing.T) {
	held := 0
	s := &discard{}
	c := &proto.Context{Sink: s, Limits: prototest.DefaultLimits(), Held: &held}
	c.SpareDatagrams = DNS.NewDatagrams(c)
	n := testing.AllocsPerRun(100, func() {
		f := DNS.NewDatagrams(c)
		for d, b := range typical {
			f.Datagram(proto.Direction(d), b, len(b), clock.Mark{})
		}
		f.Close(clock.Mark{}, proto.TimedOut)
	})
	if n != 0 || held != 0 || s.heads == 0 {
		t.Errorf("%v allocations, %d bytes held", n, held)
	}
}

// TestShared: flows of a shard have one scratch, and each has its own questions, and reads them its way.
func TestShared(t *testing.T) {
	held := 0
	var shared any
	s := &streams{}
	var flows [3]proto.Datagrams
	for i, p := range []*proto.Protocol{&DNS, &DNS, &MDNS} {
		flows[i] = p.NewDatagrams(&proto.Context{Sink: s, Limits: prototest.DefaultLimits(), Held: &held, Shared: &shared})
	}
	if a, b := flows[0].(*Flow), flows[1].(*Flow); a.scratch != b.scratch || a.scratch != shared {
		t.Error("the flows have a scratch each")
	}
	send := func(flow int, d proto.Direction, m string) { flows[flow].Datagram(d, []byte(m), len(m), clock.Mark{}) }
	send(0, proto.Originator, ask(1, "a.b A"))
	send(1, proto.Originator, ask(1, "c.d A"))
	send(1, proto.Originator, ask(2, "e.f A"))
	send(2, proto.Originator, u16(3)+u16(0)+"\x00\x01\x00\x00\x00\x00\x00\x00"+name("g.local")+"\x00\x01\x80\x01")
	send(0, proto.Responder, answer(1, 0, "a.b A"))
	send(1, proto.Responder, answer(2, 0, "e.f A"))
	send(1, proto.Responder, answer(1, 0, "c.d A"))
	for _, f := range flows {
		f.Close(clock.Mark{}, proto.TimedOut)
	}
	if want := "1 a.b IN, 1 c.d IN, 2 e.f IN, 1 g.local IN, 1 a.b IN, 2 e.f IN, 1 c.d IN"; strings.Join(s.list, ", ") != want || held != 0 {
		t.Errorf("%s, and %d bytes are held; want %s", strings.Join(s.list, ", "), held, want)
	}
}

// streams notes the streams of messages, and what they are about.
type streams struct {
	discard
	list []string
}

func (s *streams) Head(m *proto.Message) proto.Answers {
	s.list = append(s.list, fmt.Sprintf("%d %s %s", m.Stream, m.Bytes(m.Target), m.FactText("class")))
	return proto.AnswersUnknown
}

func BenchmarkExchange(b *testing.B) {
	held := 0
	c := &proto.Context{Sink: &discard{}, Limits: prototest.DefaultLimits(), Held: &held}
	c.SpareDatagrams = DNS.NewDatagrams(c)
	b.ReportAllocs()
	for b.Loop() {
		f := DNS.NewDatagrams(c)
		for d, m := range typical {
			f.Datagram(proto.Direction(d), m, len(m), clock.Mark{})
		}
		f.Close(clock.Mark{}, proto.TimedOut)
	}
}

// TestOutstanding: what is kept of open questions is limited and counted, and the oldest is forgotten first.
func TestOutstanding(t *testing.T) {
	held := 0
	s := &discard{}
	f := flow(s, &held)
	limit := prototest.DefaultLimits().MaxStreams
	send := func(d proto.Direction, m string) { f.Datagram(d, []byte(m), len(m), clock.Mark{Time: 1}) }
	for id := range 3 * limit {
		send(proto.Originator, ask(uint16(id), "www.example A"))
	}
	if held != limit*questionSize {
		t.Errorf("%d bytes are held for %d questions", held, limit)
	}
	f.Close(clock.Mark{}, proto.TimedOut)
	if held != 0 {
		t.Errorf("%d bytes are held at the end", held)
	}
}

// TestRetryLater: what is asked again long after is another question.
func TestRetryLater(t *testing.T) {
	held := 0
	s := &discard{}
	f := flow(s, &held)
	for _, at := range []int64{1, retryFor, 3 * retryFor} {
		m := ask(7, "www.example A")
		f.Datagram(proto.Originator, []byte(m), len(m), clock.Mark{Time: at})
	}
	if s.heads != 3 || s.retries != 1 {
		t.Errorf("%d of %d questions are retries, want 1 of 3", s.retries, s.heads)
	}
}

// TestUnknownGap: nobody knows where the next message begins.
func TestUnknownGap(t *testing.T) {
	held := 0
	s := &discard{}
	p := newParser(&proto.Context{Sink: s, Limits: prototest.DefaultLimits(), Held: &held})
	m := []byte(framed(ask(1, "www.example A")))
	p.Data(proto.Originator, m[:20], clock.Mark{})
	p.Gap(proto.Originator, proto.Unknown, clock.Mark{})
	p.Data(proto.Originator, m[20:], clock.Mark{})
	p.Data(proto.Originator, m, clock.Mark{})
	if s.heads != 1 || s.lost != 1 || held != questionSize {
		t.Errorf("%d messages, %d losses, %d bytes held", s.heads, s.lost, held)
	}
}

// TestHostile: names of pointers, and messages that promise much, cost little. A byte is looked at so often at most.
func TestHostile(t *testing.T) {
	loop := "\xc0\x0c"
	chain := strings.Repeat("\x01a", 100)
	for i := range 2000 {
		chain += string(binary.BigEndian.AppendUint16(nil, 0xc000|uint16(headerSize+2*i)))
	}
	var many []rr
	for range 5000 {
		many = append(many, rr{owner: "@", typ: 16, data: ""})
	}
	for name, b := range map[string]string{
		"a pointer to itself":      u16(1) + u16(flagQR) + "\x00\x01\x00\x01\x00\x00\x00\x00" + loop + "\x00\x01\x00\x01" + loop + "\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00",
		"pointers to pointers":     u16(1) + u16(flagQR) + "\x00\x01\x00\x00\x00\x00\x00\x00" + chain,
		"counts that are absurd":   u16(1) + u16(flagQR) + "\xff\xff\xff\xff\xff\xff\xff\xff" + strings.Repeat("\x00\x00\x01\x00\x01", 13000),
		"thousands of records":     answer(1, 0, "a.b TXT", many...),
		"a string of 64 KB":        answer(1, 0, "a.b TXT", rr{owner: "@", typ: 16, data: strings.Repeat("\xff"+strings.Repeat("\x00", 255), 250)}),
		"nothing behind the flags": u16(1) + u16(flagQR),
	} {
		held := 0
		c := prototest.Case{Script: step(">", b) + closes, MaxBody: 1 << 16}
		r, err := prototest.Play(carry(&DNS, false, 0), c)
		if err != nil || held != 0 {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(r.Text()); n > 1<<20 {
			t.Errorf("%s: the record has %d bytes", name, n)
		}
	}
}

// FuzzDatagrams plays datagrams that the fuzzer makes: the first byte of each says which way it goes, and how much of it was
// captured.
func FuzzDatagrams(f *testing.F) {
	f.Add([]byte{0}, typical[0], []byte{1}, typical[1])
	f.Fuzz(func(t *testing.T, how1, first, how2, second []byte) {
		for _, p := range []*proto.Protocol{&DNS, &MDNS, &LLMNR} {
			script := ""
			cut := 0
			for i, b := range [][]byte{first, second, first} {
				how := [][]byte{how1, how2, how1}[i]
				dir := ">"
				if len(how) > 0 && how[0]&1 != 0 {
					dir = "<"
				}
				if len(how) > 1 {
					cut = int(how[1])
				}
				if len(b) > 0 {
					script += step(dir, string(b))
					probes(b)
				}
			}
			if _, err := prototest.Play(carry(p, false, cut), prototest.Case{Script: script + closes}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func probes(b []byte) {
	for _, media := range []string{mediaMessage, mediaJSON} {
		Describe(overHTTP("/?dns="+string(b), ""), b, overHTTP("", media), b, prototest.DefaultLimits())
	}
	Probe(b)
	Resume(b)
	for _, port := range []uint16{53, 5353, 5355, 1053} {
		DNS.ProbeDatagram(b, port, 40000)
		MDNS.ProbeDatagram(b, port, 40000)
		LLMNR.ProbeDatagram(b, port, 40000)
	}
}
