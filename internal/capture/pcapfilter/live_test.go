package pcapfilter

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/culprit-http/culprit/internal/capture"
)

// A seen packet is one as a packet socket has it.
type seen struct {
	data  []byte
	known Ancillary
}

func (s *seen) pass(code []bpf.RawInstruction) bool {
	return runLive(code, s.data, uint32(len(s.data)), &s.known) != 0
}

// frames returns Ethernet frames that a kernel takes, always the same.
func frames(n int) (list [][]byte) {
	for _, s := range samples(1, n) {
		if len(s.data) < etherHeader || isTagged(s.data) && len(s.data) < etherHeader+4*tags(s.data)+2 {
			continue // it can't have been sent
		}
		list = append(list, s.data)
	}
	return list
}

func isTag(etherType uint16) bool { return etherType == etherVLAN || etherType == etherQinQ }

func isTagged(frame []byte) bool { return isTag(binary.BigEndian.Uint16(frame[12:])) }

// tags returns how many tags a frame has that kernels take for such: the one of 0x9100 isn't.
func tags(frame []byte) (n int) {
	for at := 12; at+2 <= len(frame) && isTag(binary.BigEndian.Uint16(frame[at:])); at += 4 {
		n++
	}
	return n
}

// sent is a frame that has its tags, as a socket of type SOCK_RAW sees it when it is sent.
func sent(frame []byte, ifindex uint32) seen {
	return seen{frame, Ancillary{Protocol: binary.BigEndian.Uint16(frame[12:]), PacketType: outgoing, HardwareType: 1, Interface: ifindex}}
}

// received is a frame that the kernel has taken the outermost tag out of.
func received(frame []byte, ifindex uint32, packetType byte) seen {
	s := sent(frame, ifindex)
	s.known.PacketType = packetType
	if isTagged(frame) {
		s.known.Stripped, s.known.TPID, s.known.TCI = true, s.known.Protocol, binary.BigEndian.Uint16(frame[14:])
		s.known.Protocol = binary.BigEndian.Uint16(frame[16:])
		s.data = append(append([]byte(nil), frame[:12]...), frame[16:]...)
	}
	return s
}

// cooked makes of a packet what a socket of type SOCK_DGRAM sees.
func cooked(s seen) seen {
	s.known.link = s.data
	if s.known.PacketType == outgoing {
		s.data = s.data[etherHeader+4*tags(s.data):]
	} else {
		s.data = s.data[etherHeader:]
	}
	return s
}

// record makes the record of Linux cooked v2 of a frame.
func record(frame []byte, known *Ancillary) []byte {
	b := append(append([]byte(nil), frame[12:14]...), 0, 0)
	b = be16(be32(b, known.Interface), known.HardwareType)
	b = append(append(b, known.PacketType, 6), frame[6:12]...)
	return append(append(b, 0, 0), frame[etherHeader:]...)
}

// sights returns both ways in which frames are seen.
func sights(n int) (frameList [][]byte, list []seen) {
	g := generator{rand.New(rand.NewPCG(3, 4))}
	for _, f := range frames(n) {
		ifindex := pick[uint32](g, 1, 2, 3, 3)
		frameList = append(frameList, f, f)
		list = append(list, sent(f, ifindex), received(f, ifindex, pick[byte](g, 0, 1, 2, 3)))
	}
	return frameList, list
}

// mixed reports whether a frame has a tag of 0x9100 within others. The kernel doesn't take it for one, and a sent
// packet's data begins before it.
func mixed(frame []byte) bool {
	at := 12 + 4*tags(frame)
	return at > 12 && at+2 <= len(frame) && binary.BigEndian.Uint16(frame[at:]) == etherQinQ9
}

// careless reports whether an expression loads bytes without a test of what they are: libpcap leaves it out for
// right operands, and what follows "pppoes or" goes by a header that needn't be there. So the bytes may be
// anything, and of those of a tag, a socket has nothing to give.
func careless(n node) bool {
	switch n := n.(type) {
	case *logical:
		return careless(n.a) || careless(n.b) || strings.Contains(string(n.a.append(nil)), "pppoes")
	case *negation:
		return careless(n.x)
	case *relation:
		return carelessValue(n.a, false) || carelessValue(n.b, false)
	}
	return false
}

func carelessValue(v value, right bool) bool {
	switch v := v.(type) {
	case *negative:
		return carelessValue(v.x, right)
	case *operation:
		return carelessValue(v.a, right) || carelessValue(v.b, true)
	case *load:
		return right && v.proto != link || carelessValue(v.index, right)
	}
	return false
}

// TestLiveEthernetIsFile: a packet that has its tags means the same in a file. What a file doesn't tell is left out.
func TestLiveEthernetIsFile(t *testing.T) {
	_, packets := sights(600)
	for _, expr := range append(lines(t, "expressions.txt"), randomExpressions(300)...) {
		file, err := compileRaw(1, expr)
		if err != nil {
			continue
		}
		live, err := compileWith(1, expr, Options{Live: true})
		if err != nil {
			t.Errorf("%q: %v", expr, err)
			continue
		}
		if err := kernelCheck(live); err != nil {
			t.Errorf("%q: %v", expr, err)
		}
		if !strings.Contains(expr, "vlan") && len(live) != len(file) {
			t.Errorf("%q: the live program has %d instructions, the other %d", expr, len(live), len(file))
		}
		for _, s := range packets {
			if !s.known.Stripped && s.pass(live) != s.pass(file) {
				t.Errorf("%q: live %v, in a file %v, for %x", expr, s.pass(live), s.pass(file), s.data)
				break
			}
		}
	}
}

// randomExpressions returns expressions of the grammar, always the same, of which some aren't valid.
func randomExpressions(n int) (list []string) {
	g := generator{rand.New(rand.NewPCG(5, 6))}
	for range n {
		list = append(list, g.expression(1, 3))
	}
	return list
}

// TestLiveCookedIsRecord: a packet of a cooked socket gets the verdict that its record would get, but that its
// length is counted without the header and the tags.
func TestLiveCookedIsRecord(t *testing.T) {
	all, packets := sights(900)
	compared, passed, refused := 0, 0, 0
	own := []string{
		"ether[0:2] = 0x800", "ether[0] = 0x86", "ether[1] = 0xdd", "ether[4:4] = 3", "ether[7] = 3", "ether[6:2] = 2", "ether[8:2] = 1",
		"ether[10] = 4", "ether[20:2] & 0xfff = 5", "ether[21] = 7", "ether[22:2] = 0x800", "ether[23] = 0", "ether[24] = 0x45",
		"ether[24:4] = 0x45000028", "not ether[0:2] = 0x8100", "ifindex 3 and vlan 5 and inbound", "vlan and ifindex 2", "outbound and vlan 5",
		"vlan and not ip", "not vlan", "vlan and vlan 7 and tcp", "tcp or (vlan and tcp)", "not ether[24] = 0x45", "ether proto 0x88a8",
		"ether proto 0x9100", "not ether proto 0x8100", "vlan and ether proto 0x8100", "ether[60] > 3",
	}
	for _, expr := range append(append(own, lines(t, "expressions.txt")...), randomExpressions(600)...) {
		f, err := Parse(expr)
		if err != nil {
			continue
		}
		file, err := compileRaw(276, expr)
		live, liveErr := compileWith(276, expr, Options{Live: true})
		switch {
		case err != nil && liveErr != nil:
			continue
		case err == nil && liveErr != nil:
			if text := liveErr.Error(); !strings.Contains(text, "of the link header there is") && !strings.Contains(text, "the offset must be a number") {
				t.Errorf("%q: %v", expr, liveErr)
			}
			refused++
			continue
		case err != nil:
			t.Errorf("%q: a live program, but of records %v", expr, err)
			continue
		}
		if err := kernelCheck(live); err != nil {
			t.Errorf("%q: %v", expr, err)
		}
		for i, s := range packets {
			s = cooked(s)
			if isTagged(all[i]) && (careless(f.root) || s.known.PacketType == outgoing && mixed(all[i])) {
				continue
			}
			want := run(file, record(all[i], &s.known), uint32(len(s.data))) != 0
			if got := s.pass(live); got != want {
				t.Errorf("%q: live %v, its record %v, for %x %+v", expr, got, want, all[i], s.known)
				break
			}
			compared++
			if want {
				passed++
			}
		}
	}
	if passed*10 < compared || refused == 0 {
		t.Errorf("%d of %d packets pass, %d expressions refused: too few to tell", passed, compared, refused)
	}
	t.Logf("%d verdicts compared, %d packets passed, %d expressions refused", compared, passed, refused)
}

// TestCookedFilesHaveTags: "vlan" means in records of Linux cooked what it means in those of Ethernet.
func TestCookedFilesHaveTags(t *testing.T) {
	for _, expr := range []string{"vlan", "vlan 5", "vlan and tcp", "vlan and vlan and ip", "not vlan", "vlan and pppoes and ip", "tcp or (vlan and tcp)"} {
		f := mustParse(t, expr)
		passed := 0
		for _, frame := range frames(600) {
			want := f.Matcher().Match(1, frame, len(frame))
			if want {
				passed++
			}
			v2 := record(frame, &Ancillary{})
			v1 := append(append(make([]byte, 14), frame[12:14]...), frame[etherHeader:]...)
			if f.Matcher().Match(276, v2, len(v2)) != want || f.Matcher().Match(113, v1, len(v1)) != want {
				t.Fatalf("%q: want %v for %x", expr, want, frame)
			}
		}
		if passed == 0 {
			t.Errorf("%q passes nothing", expr)
		}
	}
}

func TestLiveVerdicts(t *testing.T) {
	frame := func(tags ...uint32) []byte {
		b := append(make([]byte, 12), be32(nil, tags...)...)
		b = append(b, 0x08, 0x00)
		return append(b, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 1, 2, 3, 10, 1, 2, 4, 0, 80, 0, 81)
	}
	plain, tagged, two := frame(), frame(0x81000000|0x6005), frame(0x88a80005, 0x81000007)
	in := func(b []byte) seen { return received(b, 3, 0) }
	out := func(b []byte) seen { return sent(b, 3) }
	for _, test := range []struct {
		link capture.LinkType
		expr string
		s    seen
		want bool
	}{
		{1, "tcp port 80", in(plain), true},
		{1, "tcp port 80", in(tagged), true}, // the tag isn't there
		{1, "tcp port 80", out(tagged), false},
		{1, "tcp port 80 or (vlan and tcp port 80)", out(tagged), true},
		{1, "vlan", in(plain), false},
		{1, "vlan", in(tagged), true},
		{1, "vlan", out(tagged), true},
		{1, "not vlan", in(tagged), false},
		{1, "vlan 5 and tcp port 80", in(tagged), true}, // whatever the priority bits
		{1, "vlan 5 and tcp port 80", out(tagged), true},
		{1, "vlan 6", in(tagged), false},
		{1, "vlan 5 and tcp", in(two), false},
		{1, "vlan 5 and vlan 7 and tcp", in(two), true},
		{1, "vlan 5 and vlan 7 and tcp", out(two), true},
		{1, "vlan 7", in(two), false},
		{1, "ether proto 0x8100", in(tagged), false}, // neither is its type
		{1, "ether proto 0x8100", out(tagged), true},
		{1, "inbound", in(plain), true},
		{1, "outbound", in(plain), false},
		{1, "outbound", out(plain), true},
		{1, "ifindex 3", in(plain), true},
		{1, "ifindex 4", in(plain), false},
		{101, "tcp and outbound and ifindex 3", cooked(out(plain)), true},
		{101, "inbound", cooked(out(plain)), false},
		{276, "tcp port 80", cooked(in(plain)), true},
		{276, "tcp port 80", cooked(in(tagged)), false},
		{276, "tcp port 80", cooked(out(tagged)), false},
		{276, "vlan 5 and tcp port 80", cooked(in(tagged)), true},
		{276, "vlan 5 and tcp port 80", cooked(out(tagged)), true},
		{276, "vlan 5 and vlan 7 and tcp port 80", cooked(in(two)), true},
		{276, "vlan 5 and vlan 7 and tcp port 80", cooked(out(two)), true},
		{276, "ether proto 0x8100", cooked(in(tagged)), true},
		{276, "ether proto 0x88a8", cooked(out(two)), true},
		{276, "len = 24", cooked(in(tagged)), true},
		{276, "outbound and ifindex 3 and ether[8:2] = 1", cooked(out(plain)), true},
	} {
		m, err := mustParse(t, test.expr).LiveMatcher(test.link)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Match(test.s.data, len(test.s.data), &test.s.known); got != test.want {
			t.Errorf("link %d: %q: %v, want %v, for %+v", test.link, test.expr, got, test.want, test.s.known)
		}
	}
}

func TestRefusedLive(t *testing.T) {
	for _, test := range []struct {
		link capture.LinkType
		expr string
		want string
	}{
		{113, "tcp", "does not support link type 113"},
		{0, "tcp", "does not support link type 0"},
		{101, "vlan", `can't test "vlan" on raw IP packets`},
		{276, "mpls", `can't test "mpls" on live Linux cooked v2 packets`},
		{276, "broadcast", `can't test "broadcast"`},
		{276, "ether[12:4] = 5", "of the link header there is the protocol (ether[0:2])"},
		{276, "ether[11] = 6", "of the link header there is"},
		{276, "ether[2:4] = 6", "of the link header there is"},
		{276, "ether[18:4] = 6", "of the link header there is"},
		{276, "ether[20:4] = 6", "of the link header there is"},
		{276, "ether[len - 20] = 6", "the offset must be a number there"},
	} {
		_, err := compileWith(test.link, test.expr, Options{Live: true})
		var link *LinkError
		if !errors.As(err, &link) || link.Link != test.link || link.TooLong || !strings.Contains(err.Error(), test.want) {
			t.Errorf("link %d: %q: %v, want %q", test.link, test.expr, err, test.want)
		}
	}
}

// TestTooLongForTheKernel: a filter that the kernel doesn't take can be run by the process.
func TestTooLongForTheKernel(t *testing.T) {
	f := mustParse(t, "vlan and (host 10.1.2.3"+strings.Repeat(" or 10.1.2.4", 200)+")")
	if _, err := f.Compile(1, Options{}); err != nil {
		t.Fatal(err)
	}
	_, err := f.Compile(1, Options{Live: true})
	var link *LinkError
	if !errors.As(err, &link) || !link.TooLong {
		t.Fatalf("a live program of twice the length: %v", err)
	}
	m, err := f.LiveMatcher(1)
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, frame := range frames(600) {
		want := f.Matcher().Match(1, frame, len(frame))
		if s := sent(frame, 1); m.Match(s.data, len(s.data), &s.known) != want {
			t.Fatalf("want %v for %x", want, frame)
		}
		if want {
			passed++
		}
	}
	if passed == 0 {
		t.Error("nothing passes")
	}
	_, err = mustParse(t, "vlan and (host 10.1.2.3"+strings.Repeat(" or 10.1.2.4", 1000)+")").LiveMatcher(1)
	if !errors.As(err, &link) || !link.TooLong {
		t.Errorf("a program of more than %d instructions: %v", MaxInterpreted, err)
	}
}

func TestLiveMatchAllocatesNothing(t *testing.T) {
	_, packets := sights(64)
	for i := range packets {
		packets[i] = cooked(packets[i])
	}
	m, err := mustParse(t, "vlan 5 and tcp port 80 and inbound").LiveMatcher(276)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(10, func() {
		for i := range packets {
			m.Match(packets[i].data, len(packets[i].data), &packets[i].known)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
