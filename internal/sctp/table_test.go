package sctp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// log records what the parsers of all streams are told, as one text.
type log struct {
	text    strings.Builder
	flows   []*proto.Flow
	facts   *proto.Facts
	offsets map[string]int64
	stop    string
	bad     string
}

func (l *log) open(f *proto.Flow, facts *proto.Facts) proto.Parser {
	l.flows, l.facts = append(l.flows, f), facts
	if l.offsets == nil {
		l.offsets = map[string]int64{}
	}
	return &logParser{log: l, sid: f.Stream, flow: len(l.flows)}
}

type logParser struct {
	*log
	sid     uint16
	flow    int
	stopped bool
	closed  [2]bool
}

// check keeps to the contract of proto.Parser.
func (p *logParser) check(d proto.Direction, at clock.Mark, n int64) {
	key := fmt.Sprint(p.flow, d)
	if p.stopped && n > 0 || p.closed[d] || at.Offset != p.offsets[key] || n < 0 {
		p.bad = fmt.Sprintf("call after its end, or offset %d where %d was expected, or length %d", at.Offset, p.offsets[key], n)
	}
	p.offsets[key] += n
}

func (p *logParser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	p.check(d, at, int64(len(b)))
	fmt.Fprintf(&p.text, "%d%.1v:%s ", p.sid, d, b)
	if p.stop != "" && strings.Contains(string(b), p.stop) {
		p.stopped = true
		return proto.Verdict{Action: proto.Stop}
	}
	return proto.Verdict{}
}

func (p *logParser) Gap(d proto.Direction, n int64, at clock.Mark) {
	p.check(d, at, n)
	fmt.Fprintf(&p.text, "%d%.1v:gap%d ", p.sid, d, n)
}

func (p *logParser) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	p.check(d, at, 0)
	p.closed[d] = true
	fmt.Fprintf(&p.text, "%d%.1v:%v ", p.sid, d, why)
}

// client and server send packets to a table.
type end struct{ src, dst byte }

var client, server = end{1, 2}, end{2, 1}

func (e end) packet(number int, chunks ...[]byte) *packet.Packet {
	b := bytes.Join(chunks, nil)
	p := &packet.Packet{Proto: packet.ProtoSCTP, Time: int64(number), Number: uint64(number), Payload: b, PayloadLen: len(b)}
	p.Src[15], p.Dst[15] = e.src, e.dst
	p.SrcPort, p.DstPort = uint16(e.src), uint16(e.dst)
	return p
}

// raw is a chunk with its length and padding.
func raw(kind, flags byte, body []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{kind, flags}, uint16(4+len(body)))
	b = append(b, body...)
	return append(b, make([]byte, -len(b)&3)...)
}

func initial(kind byte, tag, tsn uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, tag)
	b = append(b, 0, 1, 0, 0, 0, 10, 0, 10)
	return raw(kind, 0, binary.BigEndian.AppendUint32(b, tsn))
}

// data is a DATA chunk; how has the letters of the flags B, E, and U.
func data(tsn uint32, sid, ssn uint16, how, text string) []byte {
	b := binary.BigEndian.AppendUint32(nil, tsn)
	b = binary.BigEndian.AppendUint16(b, sid)
	b = binary.BigEndian.AppendUint16(b, ssn)
	b = append(b, 0, 0, 0, 0)
	return raw(chunkData, flags(how), append(b, text...))
}

// idata is an I-DATA chunk.
func idata(tsn uint32, sid uint16, mid, fsn uint32, how, text string) []byte {
	b := binary.BigEndian.AppendUint32(nil, tsn)
	b = binary.BigEndian.AppendUint16(b, sid)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint32(b, mid)
	b = binary.BigEndian.AppendUint32(b, fsn)
	return raw(chunkIData, flags(how), append(b, text...))
}

func flags(how string) (f byte) {
	for i, letter := range "EBU" {
		if strings.ContainsRune(how, letter) {
			f |= 1 << i
		}
	}
	return f
}

func forward(tsn uint32) []byte {
	return raw(chunkForwardTSN, 0, binary.BigEndian.AppendUint32(nil, tsn))
}

// step is what one packet carries. The packet numbers count from 1.
type step struct {
	from   end
	chunks [][]byte
}

func one(from end, chunks ...[]byte) step { return step{from, chunks} }

func TestAssociations(t *testing.T) {
	hello := []step{one(client, initial(chunkInit, 7, 100)), one(server, initial(chunkInitAck, 8, 200)), one(client, raw(chunkCookieEcho, 0, nil))}
	for _, c := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"one message each way", append(hello, one(client, data(100, 0, 0, "BE", "ask")), one(server, data(200, 0, 0, "BE", "answer"))), "0o:ask 0r:answer "},
		{"bundled", append(hello, one(client, data(100, 0, 0, "BE", "a"), data(101, 1, 0, "BE", "b"), data(102, 0, 1, "BE", "c"))), "0o:a 1o:b 0o:c "},
		{"fragments", append(hello, one(client, data(100, 0, 0, "B", "a")), one(client, data(101, 0, 0, "", "b")), one(client, data(102, 0, 0, "E", "c"))), "0o:a 0o:b 0o:c "},
		{"reordered", append(hello, one(client, data(102, 0, 0, "E", "c")), one(client, data(101, 0, 0, "", "b")), one(client, data(100, 0, 0, "B", "a"))), "0o:a 0o:b 0o:c "},
		{"duplicates", append(hello, one(client, data(100, 0, 0, "BE", "a")), one(client, data(100, 0, 0, "BE", "a")),
			one(client, data(102, 0, 2, "BE", "c")), one(client, data(102, 0, 2, "BE", "c")), one(client, data(101, 0, 1, "BE", "b"))), "0o:a 0o:b 0o:c "},
		{"unordered", append(hello, one(client, data(100, 0, 0, "BE", "a"), data(101, 0, 99, "BEU", "u"), data(102, 0, 1, "BE", "b"))), "0o:a 0o:u 0o:b "},
		{"I-DATA interleaved", append(hello, one(client, idata(100, 0, 0, 0, "B", "a"), idata(101, 1, 0, 0, "B", "x"), idata(102, 0, 0, 1, "E", "b"), idata(103, 1, 0, 1, "E", "y"))), "0o:a 1o:x 0o:b 1o:y "},
		{"hole in a message", append(hello, one(client, data(100, 0, 0, "B", "aaaa")), one(client, data(103, 0, 0, "E", "b"))), "0o:aaaa 0o:gap8 0o:b "},
		{"hole in an I-DATA message", append(hello, one(client, idata(100, 0, 0, 0, "B", "aaaa")), one(client, idata(104, 0, 0, 3, "E", "b"))), "0o:aaaa 0o:gap8 0o:b "},
		{"hole between messages", append(hello, one(client, data(100, 0, 0, "BE", "aaaa")), one(client, data(102, 0, 2, "BE", "b"))), "0o:aaaa 0o:gap4 0o:b "},
		{"hole in another stream", append(hello, one(client, data(100, 0, 0, "BE", "aaaa")), one(client, data(102, 0, 1, "BE", "b"))), "0o:aaaa 0o:b "},
		{"first chunk missing", append(hello, one(client, data(101, 0, 1, "BE", "b"))), "0o:gap1 0o:b "},
		{"abandoned by the sender", append(hello, one(client, data(100, 0, 0, "B", "aaaa")), one(client, forward(102)), one(client, data(103, 0, 1, "BE", "b"))), "0o:aaaa 0o:gap8 0o:b "},
		{"wrap", []step{one(client, initial(chunkInit, 7, 0xFFFFFFFF)), one(client, data(0, 0, 1, "BE", "b")), one(client, data(0xFFFFFFFF, 0, 0, "BE", "a"))}, "0o:a 0o:b "},
		{"sequence numbers wrap", []step{one(client, data(5, 0, 0xFFFF, "BE", "a")), one(client, data(7, 0, 0, "BE", "b"))}, "0o:a 0o:b "},
		{"midstream", []step{one(server, data(5, 3, 9, "BE", "a")), one(client, data(6, 3, 9, "BE", "b"))}, "3o:a 3r:b "},
		{"capture begins with INIT ACK", []step{one(server, initial(chunkInitAck, 8, 200)), one(client, data(100, 0, 0, "BE", "a")), one(server, data(200, 0, 0, "BE", "b"))}, "0o:a 0r:b "},
		{"shutdown", append(hello, one(client, data(100, 0, 0, "BE", "a")), one(client, raw(7, 0, nil)), one(server, raw(8, 0, nil)), one(client, raw(chunkShutdownComplete, 0, nil)),
			one(client, data(100, 0, 0, "BE", "late"))), "0o:a 0o:fin 0r:fin "},
		{"abort behind a hole", append(hello, one(client, data(101, 0, 1, "BE", "b")), one(server, raw(chunkAbort, 0, nil))), "0o:gap1 0o:b 0o:rst 0r:rst "},
		{"replaced", append(hello, one(client, data(100, 0, 0, "BE", "a")), one(client, initial(chunkInit, 9, 500)), one(client, data(500, 0, 0, "BE", "b"))), "0o:a 0o:replaced 0r:replaced 0o:b "},
		{"ports used again", append(hello, one(client, data(100, 0, 0, "BE", "a")), one(server, raw(chunkShutdownComplete, 0, nil)),
			one(server, initial(chunkInit, 7, 100)), one(server, data(100, 0, 0, "BE", "b"))), "0o:a 0o:fin 0r:fin 0o:b "},
		{"INIT after the end", []step{one(server, initial(chunkInitAck, 8, 200)), one(client, data(100, 0, 0, "BE", "a")), one(client, raw(chunkAbort, 0, nil)),
			one(client, initial(chunkInit, 7, 500)), one(client, data(500, 0, 0, "BE", "b"))}, "0o:a 0o:rst 0r:rst 0o:b "},
		{"INIT after data", []step{one(client, data(5, 0, 9, "BE", "a")), one(client, initial(chunkInit, 7, 100)), one(client, data(100, 0, 0, "BE", "b"))}, "0o:a 0o:replaced 0r:replaced 0o:b "},
		{"INIT sent again", append(hello, one(client, initial(chunkInit, 7, 100)), one(client, data(100, 0, 0, "BE", "a"))), "0o:a "},
		{"sender far ahead", append(hello, one(client, data(100, 0, 0, "BE", "a")), one(client, data(102, 0, 2, "BE", "c")), one(client, data(100000, 0, 3, "BE", "b"))), "0o:a 0o:gap1 0o:c 0o:b "},
		{"stopped", append(hello, one(client, data(100, 0, 0, "BE", "STOP"), data(101, 0, 1, "BE", "a"), data(103, 1, 0, "BE", "b")), one(client, data(102, 0, 2, "BE", "c")), one(client, raw(chunkAbort, 0, nil))), "0o:STOP 1o:b 0o:rst 0r:rst 1o:rst 1r:rst "},
		{"heartbeat alone", []step{one(client, raw(4, 0, nil))}, ""},
		{"wrong length", append(hello, one(client, data(100, 0, 0, "BE", "a"), []byte{0, 3, 0, 3})), "0o:a "},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &log{stop: "STOP"}
			tab := New(l.open, DefaultLimits())
			for i, s := range c.steps {
				tab.Packet(s.from.packet(i+1, s.chunks...), int64(i))
			}
			tab.Tick(int64(DefaultLimits().HoleAfter) + 100)
			if got := l.text.String(); got != c.want || l.bad != "" {
				t.Errorf("got  %s\nwant %s\n%s", got, c.want, l.bad)
			}
			if tab.Held() != 0 {
				t.Errorf("%d bytes held", tab.Held())
			}
		})
	}
}

func TestFactsAndFlow(t *testing.T) {
	l := &log{}
	tab := New(l.open, DefaultLimits())
	for i, s := range []step{
		one(server, initial(chunkInit, 7, 100)), one(client, initial(chunkInitAck, 8, 200)), one(server, raw(chunkCookieEcho, 0, nil)),
		one(server, data(100, 5, 0, "BE", "abc")), one(server, data(100, 5, 0, "BE", "abc")), one(server, raw(chunkAbort, 0, nil)),
	} {
		tab.Packet(s.from.packet(i+1, s.chunks...), 0)
	}
	f, facts := l.flows[0], l.facts
	if f.Port != [2]uint16{2, 1} || f.Addr[0][15] != 2 || f.Stream != 5 || f.Midstream || f.First.Packet != 1 || f.Proto != packet.ProtoSCTP {
		t.Errorf("flow %+v", f)
	}
	if facts.SYN != 1 || facts.SYNACK != 2 || facts.Ready != 3 || facts.SYNs != 1 || facts.Why != proto.Reset || facts.By != proto.Originator || facts.Closed.Packet != 6 {
		t.Errorf("facts %+v", facts)
	}
	if h := facts.Half[proto.Originator]; h.Packets != 5 || h.Bytes != 6 || h.Retransmits != 1 || h.First != 1 || h.Last != 6 {
		t.Errorf("half %+v", h)
	}
}

func TestSnapLengthIsAGap(t *testing.T) {
	l := &log{}
	tab := New(l.open, DefaultLimits())
	p := client.packet(1, data(100, 0, 0, "BE", "abcdefgh"))
	p.Payload = p.Payload[:19]
	tab.Packet(p, 0)
	tab.Packet(client.packet(2, data(101, 0, 1, "BE", "next")), 0)
	if got, want := l.text.String(), "0o:abc 0o:gap5 0o:next "; got != want || tab.Counters.Malformed != 0 || l.bad != "" {
		t.Errorf("got %q, want %q; %+v %s", got, want, tab.Counters, l.bad)
	}
}

func TestLimits(t *testing.T) {
	limits := DefaultLimits()
	limits.MaxAssociations, limits.MaxStreams, limits.MaxHeld = 2, 2, 1000
	t.Run("associations", func(t *testing.T) {
		l := &log{}
		tab := New(l.open, limits)
		for i := range byte(5) {
			tab.Packet(end{10 + i, 1}.packet(1, data(1, 0, 0, "BE", "a")), 0)
		}
		if tab.Counters.Evicted != 3 || len(tab.byKey) != 2 || strings.Count(l.text.String(), "evicted") != 6 {
			t.Errorf("%+v, %d left, %s", tab.Counters, len(tab.byKey), l.text.String())
		}
	})
	t.Run("streams", func(t *testing.T) {
		l := &log{}
		tab := New(l.open, limits)
		for i := range 5 {
			tab.Packet(client.packet(1, data(uint32(i), uint16(i), 0, "BE", "a")), 0)
		}
		if tab.Counters.Refused != 3 || len(l.flows) != 2 {
			t.Errorf("%+v, %d streams", tab.Counters, len(l.flows))
		}
	})
	t.Run("held", func(t *testing.T) {
		l := &log{}
		tab := New(l.open, limits)
		tab.Packet(client.packet(1, data(1, 0, 0, "BE", "a")), 0)
		for i := range 20 {
			tab.Packet(client.packet(1, data(uint32(10+2*i), 0, uint16(i), "BE", strings.Repeat("b", 100))), 0)
			if tab.Held() > limits.MaxHeld {
				t.Fatalf("%d bytes held", tab.Held())
			}
		}
		if tab.Counters.HeldLimit == 0 || tab.Counters.Missing == 0 {
			t.Errorf("%+v", tab.Counters)
		}
	})
	t.Run("time", func(t *testing.T) {
		l := &log{}
		tab := New(l.open, limits)
		tab.Packet(client.packet(1, data(1, 0, 0, "BE", "a")), 0)
		tab.Packet(client.packet(2, data(3, 0, 1, "BE", "b")), 0)
		// Other traffic keeps the association alive, but not the hole open.
		tab.Packet(server.packet(3, raw(chunkSACK, 0, make([]byte, 12))), int64(limits.HoleAfter)-1)
		if got := l.text.String(); got != "0o:a " {
			t.Errorf("too early: %s", got)
		}
		tab.Packet(server.packet(4, raw(chunkSACK, 0, make([]byte, 12))), int64(limits.HoleAfter))
		if got := l.text.String(); got != "0o:a 0o:b " {
			t.Errorf("got %s", got)
		}
		tab.Tick(int64(limits.HoleAfter + limits.IdleTimeout - time.Nanosecond))
		if len(tab.byKey) != 1 {
			t.Error("forgotten too early")
		}
		tab.Tick(int64(limits.HoleAfter + limits.IdleTimeout))
		if len(tab.byKey) != 0 || tab.Counters.TimedOut != 1 || !strings.HasSuffix(l.text.String(), "0o:timeout 0r:timeout ") {
			t.Errorf("%d left, %+v, %s", len(tab.byKey), tab.Counters, l.text.String())
		}
	})
	t.Run("end", func(t *testing.T) {
		l := &log{}
		tab := New(l.open, limits)
		tab.Packet(client.packet(1, data(1, 1, 0, "BE", "a"), data(3, 0, 0, "BE", "b")), 0)
		tab.Close(clock.Mark{Time: 9})
		if got, want := l.text.String(), "1o:a 0o:b 0o:capture-ended 0r:capture-ended 1o:capture-ended 1r:capture-ended "; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// TestAnyOrder gives the chunks of a random message stream in random order, some twice.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var want strings.Builder
		var packets []*packet.Packet
		for i := range 100 {
			text := fmt.Sprintf("<%d>", i)
			fmt.Fprintf(&want, "0o:%s ", text)
			packets = append(packets, client.packet(i+2, data(uint32(0xFFFFFFF0+uint32(i)), 0, uint16(i), "BE", text)))
		}
		rng.Shuffle(len(packets), func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })
		l := &log{}
		tab := New(l.open, DefaultLimits())
		tab.Packet(client.packet(1, initial(chunkInit, 1, 0xFFFFFFF0)), 0)
		for _, p := range packets {
			for range 1 + rng.IntN(2) {
				tab.Packet(p, 0)
			}
		}
		if got := l.text.String(); got != want.String() || l.bad != "" {
			t.Fatalf("seed %d: %s %s", seed, got, l.bad)
		}
	}
}

// sink counts the bytes of each direction of the streams it opens.
type sink struct{ bytes []*[2]bytes.Buffer }

func (s *sink) open(*proto.Flow, *proto.Facts) proto.Parser {
	s.bytes = append(s.bytes, &[2]bytes.Buffer{})
	return &sinkParser{to: s.bytes[len(s.bytes)-1]}
}

type sinkParser struct {
	to   *[2]bytes.Buffer
	gaps int
}

func (p *sinkParser) Data(d proto.Direction, b []byte, _ clock.Mark) proto.Verdict {
	p.to[d].Write(b)
	return proto.Verdict{}
}
func (p *sinkParser) Gap(proto.Direction, int64, clock.Mark)               { p.gaps++ }
func (p *sinkParser) Close(proto.Direction, clock.Mark, proto.CloseReason) {}

// TestHTTPOverSCTP reads a capture of a browser that spoke HTTP over SCTP to a web server.
func TestHTTPOverSCTP(t *testing.T) {
	shared := os.Getenv("CULPRIT_SHARED")
	if shared == "" {
		t.Skip("CULPRIT_SHARED isn't set: the captures of others are missing")
	}
	file, err := os.ReadFile(filepath.Join(shared, "corpus", "files", "arkime", "sctp-www.pcap"))
	if err != nil {
		t.Fatal("CULPRIT_SHARED lacks a capture: ", err)
	}
	var s sink
	tab := New(s.open, DefaultLimits())
	d := packet.NewDecoder(packet.DefaultLimits())
	var p packet.Packet
	order := binary.ByteOrder(binary.LittleEndian)
	if file[0] == 0xa1 {
		order = binary.BigEndian
	}
	link := capture.LinkType(order.Uint32(file[20:]))
	for b, number := file[24:], uint64(1); len(b) > 16; number++ {
		n := order.Uint32(b[8:])
		r := capture.Record{Data: b[16 : 16+n], WireLen: int(order.Uint32(b[12:])), Number: number, Link: link}
		if d.Decode(&p, &r) == packet.Decoded && p.Proto == packet.ProtoSCTP {
			tab.Packet(&p, 0)
		}
		b = b[16+n:]
	}
	tab.Close(clock.Mark{})
	// The bodies' lengths are those that the responses announce.
	bodies := [][]int{{7486, 12800}, {19071}}
	found := 0
	for _, streams := range s.bytes {
		answer := streams[proto.Responder].String()
		if !strings.HasPrefix(streams[proto.Originator].String(), "GET ") || found == len(bodies) {
			continue
		}
		for _, n := range bodies[found] {
			head, rest, ok := strings.Cut(answer, "\r\n\r\n")
			if !ok || !strings.HasPrefix(head, "HTTP/1.") || !strings.Contains(head, fmt.Sprintf("Content-Length: %d\r\n", n)) || len(rest) < n {
				t.Fatalf("association %d: %d bytes behind the head %q, want %d", found, len(rest), head, n)
			}
			answer = rest[n:]
		}
		found++
	}
	if found != len(bodies) || tab.Counters.Gaps != 0 || tab.Counters.Malformed != 0 {
		t.Errorf("%d associations with HTTP, want %d; %+v", found, len(bodies), tab.Counters)
	}
}

func TestNoAllocationInOrder(t *testing.T) {
	var s sink
	tab := New(s.open, DefaultLimits())
	p := client.packet(1, data(0, 0, 0, "BE", ""))
	tsn := uint32(0)
	if n := testing.AllocsPerRun(100, func() {
		binary.BigEndian.PutUint32(p.Payload[4:], tsn)
		tsn++
		tab.Packet(p, 0)
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}
