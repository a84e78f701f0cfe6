package tcp

// What the fuzz targets hold:
//
//	FuzzReassembly: whatever the order, overlap and repetition of the segments of a stream, the parser gets
//	each byte that was sent once, in its place, and a gap for exactly the bytes that never were.
//
//	FuzzPackets: whatever the packets, offsets go on without a jump, each half-stream is closed once and
//	nothing follows, and the table's memory is back at zero in the end. Episodes are few, in the order of their ends, and hold up for
//	no longer than they last.

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/synth"
)

// sinkhole is a parser that puts what it is told in its place.
type sinkhole struct {
	t      *testing.T
	bytes  [2][]byte
	known  [2][]bool
	offset [2]int64
	closed [2]int
}

func (s *sinkhole) at(d proto.Direction, at clock.Mark) {
	if at.Offset != s.offset[d] {
		s.t.Fatalf("%v: offset %d after %d bytes", d, at.Offset, s.offset[d])
	}
	if s.closed[d] > 0 {
		s.t.Fatalf("%v: bytes after the end", d)
	}
}

func (s *sinkhole) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	s.at(d, at)
	s.offset[d] += int64(len(b))
	s.bytes[d] = append(s.bytes[d], b...)
	for range b {
		s.known[d] = append(s.known[d], true)
	}
	return proto.Verdict{}
}

func (s *sinkhole) Gap(d proto.Direction, n int64, at clock.Mark) {
	s.at(d, at)
	if n <= 0 {
		s.t.Fatalf("%v: a gap of %d bytes", d, n)
	}
	s.offset[d] += n
	n = min(n, 1<<20) // what a fuzzer claims to have sent needn't be allocated
	s.bytes[d] = append(s.bytes[d], make([]byte, n)...)
	s.known[d] = append(s.known[d], make([]bool, n)...)
}

func (s *sinkhole) Close(d proto.Direction, _ clock.Mark, _ proto.CloseReason) {
	if s.closed[d]++; s.closed[d] > 1 {
		s.t.Fatalf("%v: closed twice", d)
	}
}

func FuzzReassembly(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint16(1+seed*4000), uint16(1+seed*200), uint8(seed*5), uint8(seed*30), uint8(seed*20), uint8(seed*3))
	}
	f.Fuzz(func(t *testing.T, seed uint64, length, mss uint16, window, overlap, duplicate, hole uint8) {
		share := func(n uint8) float64 { return float64(n) / 256 }
		stream, segments := synth.Soup(seed, synth.SoupOptions{
			Length: int(length), MSS: int(mss % 1460), Window: int(window % 64),
			Overlap: share(overlap) / 2, Duplicate: share(duplicate) / 2, Hole: share(hole) / 4,
		})
		sent := make([]bool, len(stream))
		for _, s := range segments {
			for i := range s.Data {
				sent[s.Offset+i] = true
			}
		}
		limits := DefaultLimits
		limits.MaxSegments, limits.HoleAfter = 1<<20, time.Hour
		got := &sinkhole{t: t}
		table := New(func(*proto.Flow, *proto.Facts) proto.Parser { return got }, limits)
		base := uint32(0)
		if len(segments) > 0 {
			base = segments[0].Seq - uint32(segments[0].Offset)
		}
		p := packet.Packet{Proto: packet.ProtoTCP, SrcPort: 1, DstPort: 2, Flags: packet.SYN, Seq: base - 1}
		give := func() {
			p.Time += int64(time.Millisecond)
			p.Number++
			p.IPID++
			key, fromLo := p.Key()
			table.Packet(&p, &key, fromLo)
		}
		give()
		p.Flags = 0
		for _, s := range segments {
			p.Seq, p.Payload, p.PayloadLen = s.Seq, s.Data, len(s.Data)
			give()
		}
		table.Close(clock.Mark{Time: p.Time})
		if table.Memory() != 0 {
			t.Errorf("memory = %d in the end", table.Memory())
		}
		last := len(sent)
		for last > 0 && !sent[last-1] {
			last--
		}
		if len(got.bytes[0]) != last {
			t.Fatalf("%d bytes of stream, want %d", len(got.bytes[0]), last)
		}
		for i := range last {
			if got.known[0][i] != sent[i] || sent[i] && got.bytes[0][i] != stream[i] {
				t.Fatalf("byte %d: known %v value %#x; sent %v value %#x", i, got.known[0][i], got.bytes[0][i], sent[i], stream[i])
			}
		}
	})
}

// packetSize is how many bytes of input make one packet.
const packetSize = 12

func FuzzPackets(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{
		0, packet.SYN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		1, packet.SYN | packet.ACK, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1,
		0, packet.ACK, 0, 0, 0, 1, 0, 0, 0, 1, 9, 1,
		1, packet.RST, 0, 0, 0, 1, 0, 0, 0, 1, 0, 200,
		0, packet.ACK | packet.FIN, 0, 0, 0, 10, 0, 0, 0, 1, 9, 1,
	})
	f.Add([]byte{
		0, packet.SYN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		8, 3, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1,
		0, packet.SYN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200,
		1, packet.SYN | packet.ACK, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1,
	})
	f.Fuzz(func(t *testing.T, input []byte) {
		limits := DefaultLimits
		limits.MaxHeld, limits.MaxSegments, limits.MaxJump = 2000, 8, 1<<16
		var facts []*proto.Facts
		table := New(func(_ *proto.Flow, f *proto.Facts) proto.Parser {
			facts = append(facts, f)
			return &sinkhole{t: t}
		}, limits)
		payload := make([]byte, 512)
		for i := range payload {
			payload[i] = byte(i)
		}
		p := packet.Packet{Proto: packet.ProtoTCP}
		var ticks clock.Clock
		for ; len(input) >= packetSize; input = input[packetSize:] {
			b := input[:packetSize]
			p.SrcPort, p.DstPort = 1, 2
			if b[0]&1 != 0 {
				p.SrcPort, p.DstPort = 2, 1
			}
			p.Net = uint32(b[0] >> 1 & 1)
			p.Flags = b[1]
			p.Seq, p.Ack = binary.BigEndian.Uint32(b[2:]), binary.BigEndian.Uint32(b[6:])
			p.PayloadLen = int(b[10]) * 2
			p.Payload = payload[:max(p.PayloadLen-int(b[0]>>2&1), 0)]
			if p.PayloadLen == 0 {
				p.Payload = nil
			}
			p.Time += int64(b[11]) * int64(time.Millisecond)
			p.Number++
			p.Window, p.Options = uint16(b[0]>>4)*200, nil
			if b[0]&16 != 0 {
				// A selective acknowledgement.
				p.Options = []byte{1, 1, 5, 10, 0, 0, b[10] & 7, b[11], 0, 0, b[9] & 7, b[10]}
			}
			if ticks.Advance(p.Time) {
				table.Tick(ticks.Elapsed(), clock.Mark{Time: p.Time, Packet: p.Number})
			}
			key, fromLo := p.Key()
			if b[0]&8 != 0 {
				p.ICMP = packet.ICMPHeader{Type: b[1], Code: b[10]}
				table.ICMP(&p, &key, fromLo)
			} else {
				table.Packet(&p, &key, fromLo)
			}
			for _, f := range facts {
				holdEpisodes(t, f)
			}
			if m := table.Memory(); m < 0 || m > 2*(connSize+proto.MaxEpisodes*episodeSize+2*(limits.MaxHeld+1024)+64*segmentSize) {
				t.Fatalf("memory = %d", m)
			}
		}
		table.Close(clock.Mark{Time: p.Time})
		if table.Memory() != 0 || len(table.conns) != 0 || table.Counters.Open != 0 {
			t.Errorf("in the end: memory %d, %d keys, %d open", table.Memory(), len(table.conns), table.Counters.Open)
		}
	})
}

// holdEpisodes checks what holds of the episodes of any connection.
func holdEpisodes(t *testing.T, f *proto.Facts) {
	t.Helper()
	if len(f.Episodes) > proto.MaxEpisodes {
		t.Fatalf("%d episodes", len(f.Episodes))
	}
	for i := range f.Episodes {
		e := &f.Episodes[i]
		if e.From > e.To || e.Held < 0 || e.Held > e.To-e.From || e.Count == 0 || e.Bytes < 0 || e.Kind >= proto.NumHindrances {
			t.Fatalf("episode %+v", *e)
		}
		if i > 0 && f.Episodes[i-1].To > e.To {
			t.Fatalf("episode %d ends before the one before: %+v", i, f.Episodes)
		}
	}
}
