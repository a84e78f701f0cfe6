package tcp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// wire plays packets into a table and writes down what the parsers are told.
type wire struct {
	t       *testing.T
	table   *Table
	now     int64
	number  uint64
	id      uint16
	log     strings.Builder
	data    [2]bytes.Buffer
	facts   *proto.Facts
	flow    *proto.Flow
	opened  int
	verdict Verdict
	// options, window and payloadLen are taken by the next packet.
	options    []byte
	window     uint16
	payloadLen int
	noID       bool
	net        uint32
}

func newWire(t *testing.T, limits Limits) *wire {
	w := &wire{t: t, window: 1000}
	w.table = New(func(f *proto.Flow, facts *proto.Facts) proto.Parser {
		w.opened++
		w.flow, w.facts = f, facts
		return (*recorder)(w)
	}, limits)
	return w
}

// recorder is the parser.
type recorder wire

func (r *recorder) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	if at.Offset != int64(r.data[d].Len()) {
		fmt.Fprintf(&r.log, "[offset %d, have %d]", at.Offset, r.data[d].Len())
	}
	r.data[d].Write(b)
	fmt.Fprintf(&r.log, "%s%s ", arrow(d), b)
	return proto.Verdict{}
}

func (r *recorder) Gap(d proto.Direction, n int64, at clock.Mark) {
	r.data[d].Write(make([]byte, n))
	fmt.Fprintf(&r.log, "%sgap%d ", arrow(d), n)
}

func (r *recorder) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	fmt.Fprintf(&r.log, "%s%s ", arrow(d), why)
}

func arrow(d proto.Direction) string { return []string{">", "<"}[d] }

// Sequence numbers of the two ends at the beginning: close to the wrap.
const clientISN, serverISN = 0xfffffff0, 0x7ffffff8

// send sends a packet. Sequence and acknowledgement numbers are relative to the first data byte of each side;
// ack -1 means no ACK flag.
func (w *wire) send(d proto.Direction, flags uint8, seq, ack int, payload string) {
	w.t.Helper()
	w.number++
	w.now += int64(time.Millisecond)
	client, server := packet.Addr{15: 1}, packet.Addr{15: 2}
	p := &packet.Packet{
		Time: w.now, Number: w.number, Proto: packet.ProtoTCP, Net: w.net, Src: client, Dst: server, SrcPort: 40000, DstPort: 80,
		Flags: flags, Window: w.window, Payload: []byte(payload), PayloadLen: max(len(payload), w.payloadLen), Options: w.options,
		Seq: clientISN + 1 + uint32(seq), Ack: serverISN + 1 + uint32(ack),
	}
	if d == proto.Responder {
		p.Src, p.Dst, p.SrcPort, p.DstPort = server, client, 80, 40000
		p.Seq, p.Ack = serverISN+1+uint32(seq), clientISN+1+uint32(ack)
	}
	if !w.noID {
		w.id++
		p.IPID = w.id
	}
	if ack >= 0 {
		p.Flags |= packet.ACK
	} else {
		p.Ack = 0
	}
	key, fromLo := p.Key()
	w.verdict = w.table.Packet(p, &key, fromLo)
	w.options, w.payloadLen = nil, 0
}

const o, r = proto.Originator, proto.Responder

func (w *wire) handshake() {
	w.send(o, packet.SYN, -1, -1, "")
	w.send(r, packet.SYN, -1, 0, "")
	w.send(o, 0, 0, 0, "")
}

// pass lets capture time go by, with its ticks.
func (w *wire) pass(d time.Duration) {
	for end := w.now + int64(d); w.now < end; {
		w.now += int64(clock.Tick)
		w.table.Tick(w.now, clock.Mark{Time: w.now, Packet: w.number, Peer: -1})
	}
}

func (w *wire) want(log string) {
	w.t.Helper()
	if got := strings.TrimSpace(w.log.String()); got != log {
		w.t.Errorf("parser was told\n  %s\nwant\n  %s", got, log)
	}
	w.log.Reset()
}

func TestDelivery(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(w *wire)
		want string
	}{
		{"a conversation", func(w *wire) {
			w.handshake()
			w.send(o, 0, 0, 0, "get")
			w.send(r, 0, 0, 3, "ok")
			w.send(o, packet.FIN, 3, 2, "")
			w.send(r, packet.FIN, 2, 4, "")
			w.send(o, 0, 4, 3, "")
		}, ">get <ok >fin <fin"},
		{"half-close", func(w *wire) {
			w.handshake()
			w.send(o, packet.FIN, 0, 0, "get")
			w.send(r, 0, 0, 4, "later")
			w.send(r, packet.FIN, 5, 4, "")
		}, ">get >fin <later <fin"},
		{"data in the SYN", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "fast")
			w.send(r, packet.SYN, -1, 4, "")
			w.send(o, 0, 4, 0, "er")
		}, ">fast >er"},
		{"simultaneous open", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "")
			w.send(r, packet.SYN, -1, -1, "")
			w.send(o, packet.SYN, -1, 0, "")
			w.send(r, packet.SYN, -1, 0, "")
			w.send(o, 0, 0, 0, "a")
			w.send(r, 0, 0, 1, "b")
		}, ">a <b"},
		{"across the sequence wrap", func(w *wire) {
			w.handshake()
			for i := range 8 {
				w.send(o, 0, i*4, 0, fmt.Sprintf("%04d", i))
			}
		}, ">0000 >0001 >0002 >0003 >0004 >0005 >0006 >0007"},
		{"out of order", func(w *wire) {
			w.handshake()
			w.send(o, 0, 4, 0, "bb")
			w.send(o, 0, 2, 0, "aa")
			w.send(o, 0, 0, 0, "__")
		}, ">__ >aa >bb"},
		{"overlap: the first copy wins", func(w *wire) {
			w.handshake()
			w.send(o, 0, 2, 0, "CDEF")
			w.send(o, 0, 0, 0, "abcdefgh")
		}, ">ab >CDEF >gh"},
		{"overlap among held segments", func(w *wire) {
			w.handshake()
			w.send(o, 0, 2, 0, "cd")
			w.send(o, 0, 6, 0, "gh")
			w.send(o, 0, 1, 0, "BCDEFGHI")
			w.send(o, 0, 0, 0, "a")
		}, ">a >B >cd >EF >gh >I"},
		{"retransmission with more", func(w *wire) {
			w.handshake()
			w.send(o, 0, 0, 0, "abc")
			w.send(o, 0, 0, 0, "abcdef")
		}, ">abc >def"},
		{"a response captured before its request", func(w *wire) {
			w.handshake()
			w.send(r, 0, 0, 3, "ok")
			w.send(o, 0, 0, 0, "get")
		}, ">get <ok"},
		{"one side only: nothing is waited for", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "")
			w.send(o, 0, 0, 0, "get1")
			w.send(o, 0, 4, 9, "get2")
		}, ">get1 >get2"},
		{"mid-stream", func(w *wire) {
			w.send(r, 0, 100, 50, "body")
			w.send(o, 0, 50, 104, "get")
		}, ">body <get"}, // who speaks first is the originator, as far as is known
		{"a hole that was acknowledged", func(w *wire) {
			w.handshake()
			w.send(o, 0, 0, 0, "a")
			w.send(o, 0, 5, 0, "b")
			w.send(r, 0, 0, 6, "")
			w.pass(time.Second)
		}, ">a >gap4 >b"},
		{"a hole that wasn't acknowledged is waited for", func(w *wire) {
			w.handshake()
			w.send(o, 0, 5, 0, "b")
			w.pass(time.Second)
			w.send(o, 0, 0, 0, "aaaaa")
		}, ">aaaaa >b"},
		{"a lost request: the response waits, then comes", func(w *wire) {
			w.handshake()
			w.send(r, 0, 0, 3, "ok")
			w.pass(time.Second)
		}, ">gap3 <ok"},
		{"a hole before the end", func(w *wire) {
			w.handshake()
			w.send(o, 0, 0, 0, "a")
			w.send(o, packet.FIN, 3, 0, "")
			w.send(r, 0, 0, 4, "")
			w.pass(time.Second)
		}, ">a >gap2 >fin"},
		{"the snap length cut a segment", func(w *wire) {
			w.handshake()
			w.payloadLen = 10
			w.send(o, 0, 0, 0, "head")
			w.send(o, 0, 10, 0, "next")
		}, ">head >gap6 >next"},
		{"reset", func(w *wire) {
			w.handshake()
			w.send(o, 0, 0, 0, "get")
			w.send(r, packet.RST, 0, 3, "")
			w.pass(time.Second)
		}, ">get <rst >rst"},
		{"a refused connection", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "")
			w.send(r, packet.RST, -1-serverISN, 0, "")
			w.pass(time.Second)
		}, "<rst >rst"},
		{"a forged reset: its sender goes on", func(w *wire) {
			w.handshake()
			w.send(o, packet.RST, 0, -1, "")
			w.send(o, 0, 0, 0, "get")
			w.pass(time.Second)
			w.send(r, 0, 0, 3, "ok")
		}, ">get <ok"},
		{"a reset far outside the window", func(w *wire) {
			w.handshake()
			w.send(o, packet.RST, 1<<30, -1, "")
			w.pass(time.Second)
			w.send(o, 0, 0, 0, "get")
		}, ">get"},
		{"what is in flight after a reset", func(w *wire) {
			w.handshake()
			w.send(r, packet.RST, 0, 0, "")
			w.pass(time.Second)
			w.send(o, 0, 0, 0, "late")
		}, "<rst >rst"},
		{"port reuse after the end", func(w *wire) {
			w.handshake()
			w.send(o, packet.FIN, 0, 0, "a")
			w.send(r, packet.FIN, 0, 2, "")
			w.data = [2]bytes.Buffer{}
			w.send(o, packet.SYN, 5000, -1, "")
			w.send(r, packet.SYN, 9000, 5001, "")
			w.send(o, 0, 5001, 9001, "b")
		}, ">a >fin <fin >b"},
		{"port reuse without an end", func(w *wire) {
			w.handshake()
			w.send(o, 0, 0, 0, "a")
			w.data = [2]bytes.Buffer{}
			w.send(o, packet.SYN, 1<<20, -1, "")
			w.send(r, packet.SYN, 9000, 1<<20+1, "")
			w.send(o, 0, 1<<20+1, 9001, "b")
		}, ">a >replaced <replaced >b"},
		{"a SYN that nobody answers doesn't end a connection", func(w *wire) {
			w.handshake()
			w.send(o, packet.SYN, 7777, -1, "")
			w.send(o, 0, 0, 0, "a")
		}, ">a"},
		{"silence", func(w *wire) {
			w.handshake()
			w.send(o, 0, 0, 0, "a")
			w.pass(16 * time.Minute)
		}, ">a >timeout <timeout"},
		{"keep-alives", func(w *wire) {
			w.handshake()
			w.send(o, 0, 0, 0, "a")
			w.send(r, 0, 0, 1, "")
			w.pass(time.Minute)
			w.send(o, 0, 0, 0, "\x00")
			w.send(o, 0, 0, 0, "")
			w.send(r, 0, 0, 1, "")
			w.send(o, 0, 1, 0, "b")
		}, ">a >b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t, DefaultLimits)
			c.play(w)
			w.want(c.want)
		})
	}
}

func TestFacts(t *testing.T) {
	w := newWire(t, DefaultLimits)
	w.options = []byte{2, 4, 5, 180, 1, 3, 3, 7, 4, 2}
	w.send(o, packet.SYN, -1, -1, "")
	w.options = []byte{2, 4, 5, 0, 3, 3, 2, 0}
	w.now += 9e6
	w.send(r, packet.SYN, -1, 0, "")
	w.now += 4e6
	w.send(o, 0, 0, 0, "")
	f := w.facts
	if got := f.Half[o]; got.MSS != 1460 || got.WindowScale != 7 || !got.SACKPermitted || got.Window != 1000<<7 {
		t.Errorf("client: MSS %d scale %d SACK %v window %d", got.MSS, got.WindowScale, got.SACKPermitted, got.Window)
	}
	if got := f.Half[r]; got.MSS != 1280 || got.WindowScale != 2 || got.SACKPermitted {
		t.Errorf("server: MSS %d scale %d SACK %v", got.MSS, got.WindowScale, got.SACKPermitted)
	}
	if f.SYNACK-f.SYN != 10e6 || f.Ready-f.SYNACK != 5e6 || f.Half[o].RTT != 10e6 || f.Half[r].RTT != 5e6 {
		t.Errorf("handshake %d %d %d, RTT %d %d", f.SYN, f.SYNACK, f.Ready, f.Half[o].RTT, f.Half[r].RTT)
	}

	w.send(o, 0, 0, 0, "aaaa") // acknowledged 20 ms later
	w.now += 19e6
	w.send(r, 0, 0, 4, "")
	if got := f.Half[o]; got.RTTSamples != 2 || got.MinRTT != 10e6 || got.RTT != 10e6+10e6/8 || got.Acked != 4 {
		t.Errorf("after 20 ms: %+v", got)
	}
	w.send(o, 0, 4, 0, "bbbb")
	w.send(r, 0, 0, 4, "") // twice the same ACK, but for the IP id, while bytes are outstanding
	w.send(r, 0, 0, 4, "")
	if got := f.Half[r].DupAcks; got != 2 {
		t.Errorf("duplicate ACKs = %d, want 2", got)
	}
	w.send(o, 0, 4, 0, "bbbb")
	if got := f.Half[o].Retransmits; got != 1 {
		t.Errorf("retransmissions = %d, want 1", got)
	}
	samples := f.Half[o].RTTSamples
	w.send(r, 0, 0, 8, "")
	if f.Half[o].RTTSamples != samples {
		t.Error("a retransmitted segment gave an RTT sample (Karn)")
	}
	w.window = 0
	w.send(r, 0, 0, 8, "")
	w.send(r, 0, 0, 8, "")
	w.window = 1000
	w.send(r, 0, 0, 8, "")
	w.window = 0
	w.send(r, 0, 0, 8, "")
	if got := f.Half[r].ZeroWindows; got != 2 {
		t.Errorf("zero windows = %d, want 2", got)
	}
	w.window = 1000
	w.send(o, 0, 12, 0, "dddd") // early, by less than a round trip
	w.send(o, 0, 8, 0, "cccc")
	if got := f.Half[o]; got.OutOfOrder != 1 || got.Retransmits != 1 {
		t.Errorf("out of order %d, retransmitted %d; want 1, 1", got.OutOfOrder, got.Retransmits)
	}
	w.send(o, 0, 20, 0, "ffff") // the one before is lost, and sent again after a second
	w.now += 1e9
	w.send(o, 0, 16, 0, "eeee")
	if got := f.Half[o]; got.OutOfOrder != 1 || got.Retransmits != 2 {
		t.Errorf("out of order %d, retransmitted %d; want 1, 2", got.OutOfOrder, got.Retransmits)
	}
	w.options = []byte{1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	w.send(r, 0, 0, 24, "")
	if got := f.Half[r].SACKs; got != 1 {
		t.Errorf("ACKs with SACK blocks = %d, want 1", got)
	}
	w.send(r, packet.FIN, 0, 24, "")
	if f.Why != proto.Finished || f.By != r || f.Closed.Packet != w.number {
		t.Errorf("closed %v by %v at packet %d", f.Why, f.By, f.Closed.Packet)
	}
	if got := w.data[o].String(); got != "aaaabbbbccccddddeeeeffff" {
		t.Errorf("data = %q", got)
	}
}

func TestCapturedTwice(t *testing.T) {
	w := newWire(t, DefaultLimits)
	twice := func(d proto.Direction, flags uint8, seq, ack int, payload string) {
		w.send(d, flags, seq, ack, payload)
		w.id--
		w.now -= 999e3
		w.send(d, flags, seq, ack, payload)
		if w.verdict != Duplicate {
			t.Errorf("packet %d: %v, want duplicate", w.number, w.verdict)
		}
	}
	twice(o, packet.SYN, -1, -1, "")
	twice(r, packet.SYN, -1, 0, "")
	twice(o, 0, 0, 0, "")
	twice(o, 0, 0, 0, "get")
	twice(r, 0, 0, 3, "")
	twice(r, 0, 0, 3, "ok")
	w.want(">get <ok")
	f := w.facts
	if f.Half[o].Packets != 3 || f.Half[o].Duplicates != 3 || f.Half[o].Retransmits != 0 || f.Half[r].DupAcks != 0 || f.SYNs != 1 {
		t.Errorf("client %+v, server %+v, SYNs %d", f.Half[o], f.Half[r], f.SYNs)
	}
}

func TestDifferingCopies(t *testing.T) {
	w := newWire(t, DefaultLimits)
	w.handshake()
	w.send(o, 0, 0, 0, "abcd")
	w.send(o, 0, 0, 0, "abXd") // delivered already
	w.send(o, 0, 8, 0, "ijkl")
	w.send(o, 0, 8, 0, "iJkl") // held
	w.send(o, 0, 4, 0, "efgh")
	w.want(">abcd >efgh >ijkl")
	if got := w.facts.Half[o].Overlaps; got != 2 {
		t.Errorf("differing overlaps = %d, want 2", got)
	}
}

func TestHeldLimit(t *testing.T) {
	limits := DefaultLimits
	limits.MaxSegments = 4
	w := newWire(t, limits)
	w.handshake()
	for i := range 6 {
		w.send(o, 0, 10+i, 0, string(rune('a'+i)))
	}
	w.want(">gap10 >a >b >c >d >e >f")
	if w.table.Counters.HeldLimit == 0 || w.table.Counters.MissingBytes != 10 {
		t.Errorf("counters %+v", w.table.Counters)
	}
}

// When too many responses wait for requests behind a hole, the hole is given up: the responses mustn't overtake
// the requests that they answer.
func TestHeldLimitKeepsTheOrder(t *testing.T) {
	limits := DefaultLimits
	limits.MaxSegments = 4
	w := newWire(t, limits)
	w.handshake()
	for i := range 3 {
		w.send(o, 0, 10+i, 2*i, string(rune('a'+i)))
		w.send(r, 0, 2*i, 11+i, string(rune('A'+i)))
		w.send(r, 0, 2*i+1, 11+i, string(rune('A'+i)))
	}
	w.want(">gap10 >a <A <A >b <B <B >c <C <C")
}

func TestMemoryIsGivenBack(t *testing.T) {
	w := newWire(t, DefaultLimits)
	w.handshake()
	w.send(o, 0, 100, 0, strings.Repeat("x", 1000))
	if w.table.Memory() < 1000 {
		t.Errorf("memory = %d with 1,000 bytes held", w.table.Memory())
	}
	w.table.Close(clock.Mark{Time: w.now})
	if w.table.Memory() != 0 || w.table.Counters.Open != 0 {
		t.Errorf("after the end: memory %d, open %d", w.table.Memory(), w.table.Counters.Open)
	}
	w.want(">gap100 >" + strings.Repeat("x", 1000) + " >capture-ended <capture-ended")
}

func TestEviction(t *testing.T) {
	limits := DefaultLimits
	limits.MaxConns = 3
	w := newWire(t, limits)
	for i := range 10 {
		p := &packet.Packet{Time: int64(i), Number: uint64(i), Proto: packet.ProtoTCP, SrcPort: uint16(1000 + i), DstPort: 80, Flags: packet.SYN}
		key, fromLo := p.Key()
		w.table.Packet(p, &key, fromLo)
	}
	if c := w.table.Counters; c.Open != 3 || c.Evicted != 7 || c.Connections != 10 {
		t.Errorf("counters %+v", c)
	}
}

func TestOneDirectionTagged(t *testing.T) {
	w := newWire(t, DefaultLimits)
	w.net = 42
	w.send(o, packet.SYN, -1, -1, "")
	w.net = 0
	w.send(r, packet.SYN, -1, 0, "")
	w.net = 42
	w.send(o, 0, 0, 0, "get")
	w.net = 0
	w.send(r, 0, 0, 3, "ok")
	w.want(">get <ok")
	if w.opened != 1 {
		t.Errorf("connections = %d, want 1", w.opened)
	}
	w.table.Close(clock.Mark{})
	if len(w.table.conns) != 0 {
		t.Errorf("%d keys left behind", len(w.table.conns))
	}
}

func TestSamePortsInTwoNetworks(t *testing.T) {
	w := newWire(t, DefaultLimits)
	for net := range uint32(2) {
		w.net = net
		w.data = [2]bytes.Buffer{}
		w.handshake()
		w.send(o, 0, 0, 0, "get")
	}
	if w.opened != 2 {
		t.Errorf("connections = %d, want 2", w.opened)
	}
}

func TestSequenceOrder(t *testing.T) {
	for _, c := range []struct {
		a, b uint32
		want bool
	}{{1, 2, true}, {2, 1, false}, {5, 5, false}, {0xffffffff, 0, true}, {0, 0xffffffff, false}, {0xfffffff0, 10, true}} {
		if got := before(c.a, c.b); got != c.want {
			t.Errorf("before(%#x, %#x) = %v", c.a, c.b, got)
		}
	}
}
