package pcapfilter

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/culprit-http/culprit/internal/capture"
)

func TestEmptyPassesEverything(t *testing.T) {
	m := mustParse(t, "  ").Matcher()
	if !m.Match(1, nil, 0) || !m.Match(9999, []byte{1}, 1) || m.Err() != nil {
		t.Errorf("an empty filter rejects packets, or fails: %v", m.Err())
	}
}

func TestMatcherOfSeveralLinkTypes(t *testing.T) {
	ether := samples(1, 50)
	m := mustParse(t, "tcp").Matcher()
	passed := 0
	for _, s := range ether {
		if m.Match(1, s.data, s.wire) {
			passed++
		}
		if m.Match(127, s.data, s.wire) {
			t.Fatal("a packet of a link type that isn't supported passes")
		}
		if m.Match(201, s.data, s.wire) {
			t.Fatal("a packet of a link type that isn't supported passes")
		}
	}
	if passed == 0 {
		t.Error("nothing passes between packets that can't be judged")
	}
	var link *LinkError
	if !errors.As(m.Err(), &link) || link.Link != 127 || m.Err().Error() != "the capture filter does not support link type 127" {
		t.Errorf("Err: %v, want that of the first link type", m.Err())
	}
}

// TestRawIPLinkTypes: the numbers that systems gave to raw IP mean the same.
func TestRawIPLinkTypes(t *testing.T) {
	for _, link := range []capture.LinkType{12, 14} {
		for _, s := range samples(101, 200) {
			for _, expr := range []string{"tcp port 80", "ip6", "not host 10.1.2.3"} {
				f := mustParse(t, expr)
				if f.Matcher().Match(link, s.data, s.wire) != f.Matcher().Match(101, s.data, s.wire) {
					t.Fatalf("link type %d: %q differs from 101 for %x", link, expr, s.data)
				}
			}
		}
	}
}

// TestLoopbackOfOtherByteOrder: the family of link type 0 is in the byte order of the machine that
// captured, which a record doesn't tell.
func TestLoopbackOfOtherByteOrder(t *testing.T) {
	m := mustParse(t, "ip").Matcher()
	for _, header := range []string{"\x02\x00\x00\x00", "\x00\x00\x00\x02"} {
		if !m.Match(0, []byte(header), 4) {
			t.Errorf("% x isn't taken for IP", header)
		}
	}
}

func TestRefusedByLinkType(t *testing.T) {
	for _, test := range []struct {
		link capture.LinkType
		expr string
		want string
	}{
		{105, "tcp", "the capture filter does not support link type 105"},
		{101, "vlan 5", `the capture filter can't test "vlan 5" on raw IP packets`},
		{0, "vlan", `can't test "vlan" on BSD loopback packets`},
		{276, "mpls 5", `can't test "mpls 5" on Linux cooked v2 packets`},
		{113, "ether host 00:11:22:33:44:55", `can't test "ether host 00:11:22:33:44:55"`},
		{0, "broadcast", `can't test "broadcast" on BSD loopback packets`},
		{0, "multicast", `can't test "multicast"`},
		{1, "inbound", `can't test "inbound": Ethernet packets don't say which way they went`},
		{101, "tcp and outbound", `raw IP packets don't say which way they went`},
		{113, "ifindex 3", `can't test "ifindex 3"`},
		{1, "mpls and arp", `other than ip and ip6 after "mpls"`},
		{1, "mpls and vlan", `can't test "vlan"`},
		{1, "len = " + strings.Repeat("(len + ", 15) + "len" + strings.Repeat(")", 15), "more than 16 intermediate values"},
		{1, "host 10.1.2.3" + strings.Repeat(" or 10.1.2.3", 500), "4096 are allowed"},
	} {
		_, err := mustParse(t, test.expr).Compile(test.link, Options{})
		var link *LinkError
		if !errors.As(err, &link) || link.Link != test.link || !strings.Contains(err.Error(), test.want) {
			t.Errorf("link %d: %.40q: %v, want %q", test.link, test.expr, err, test.want)
		}
	}
	if _, err := mustParse(t, "len = "+strings.Repeat("(len + ", 14)+"len"+strings.Repeat(")", 14)).Compile(1, Options{}); err != nil {
		t.Errorf("16 intermediate values: %v", err)
	}
}

func TestSnapLen(t *testing.T) {
	for _, expr := range []string{"", "tcp"} {
		for snap, want := range map[uint32]uint32{0: DefaultSnapLen, 96: 96} {
			program, err := mustParse(t, expr).Compile(1, Options{SnapLen: snap})
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, i := range program {
				found = found || i == bpf.RetConstant{Val: want}
			}
			if !found {
				t.Errorf("%q: no program returns %d: %v", expr, want, program)
			}
		}
	}
}

// TestLongJumps: a conditional jump reaches 255 instructions, and a filter of many hosts is longer.
func TestLongJumps(t *testing.T) {
	var expr strings.Builder
	expr.WriteString("ip and not (src 10.0.0.1")
	for i := 2; i < 250; i++ {
		expr.WriteString(" or src 10.0.0." + string(appendInt(i)))
	}
	expr.WriteString(")")
	code, err := compileRaw(101, expr.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := kernelCheck(code); err != nil {
		t.Error(err)
	}
	packet := make([]byte, 40)
	packet[0] = 0x45
	copy(packet[12:], "\x0a\x00\x00")
	for last := range 256 {
		packet[15] = byte(last)
		if got, want := run(code, packet, 40) != 0, last == 0 || last >= 250; got != want {
			t.Errorf("10.0.0.%d of %d instructions: passes %v, want %v", last, len(code), got, want)
		}
	}
}

// TestBothJumpsLong: the help that one branch needs to get far must not push the other out of reach.
func TestBothJumpsLong(t *testing.T) {
	for n := range 600 {
		var b builder
		reject := b.add(&block{})
		accept := b.add(&block{result: 1})
		// Fillers of two and of three instructions, so that the distance is also odd.
		filler := b.add(&block{condition: masked(0, 1, 2, uint32(n%2)-1), yes: accept, no: accept})
		for i := range n / 2 {
			filler = b.add(&block{condition: equal(uint32(i), 1, 2), yes: filler, no: filler})
		}
		is1 := b.add(&block{condition: equal(0, 1, 1), yes: accept, no: reject})
		isnt2 := b.add(&block{condition: equal(0, 1, 2), yes: reject, no: accept})
		// This one keeps all of them reachable.
		isnt2 = b.add(&block{condition: equal(1, 1, 9), yes: filler, no: isnt2})
		start := b.add(&block{condition: equal(1, 1, 0), yes: is1, no: isnt2})
		b.findKnown(start)
		code, err := bpf.Assemble(b.emit())
		if err != nil {
			t.Fatal(err)
		}
		if err := kernelCheck(code); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		for _, test := range []struct {
			packet string
			want   uint32
		}{{"\x01\x00", 1}, {"\x02\x00", 0}, {"\x01\x01", 1}, {"\x02\x01", 0}} {
			if got := run(code, []byte(test.packet), 2); got != test.want {
				t.Fatalf("%d: a jump goes astray: %d for % x, want %d", n, got, test.packet, test.want)
			}
		}
	}
}

func appendInt(n int) []byte { return (&constant{uint32(n)}).append(nil) }

func TestMatchAllocatesNothing(t *testing.T) {
	packets := samples(1, 64)
	m := mustParse(t, "host 10.1.2.3 and tcp port 80 and tcp[tcp[12] >> 2:4] != 0").Matcher()
	m.Match(1, packets[0].data, packets[0].wire)
	if n := testing.AllocsPerRun(10, func() {
		for _, s := range packets {
			m.Match(1, s.data, s.wire)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// TestDocumentedExamples: what the documentation shows compiles.
func TestDocumentedExamples(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/capture-filter.md")
	if err != nil {
		t.Fatal(err)
	}
	_, examples, _ := strings.Cut(string(doc), "```filter\n")
	examples, _, ok := strings.Cut(examples, "```")
	if !ok {
		t.Fatal("no examples found")
	}
	for line := range strings.Lines(examples) {
		expr, _, _ := strings.Cut(line, " #")
		if _, err := compileRaw(1, expr); err != nil {
			t.Errorf("%v", err)
		}
	}
}
