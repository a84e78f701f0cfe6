// Invariant: whatever the datagrams and errors, the table doesn't panic and keeps to its limits; each flow has a contiguous count of
// bytes, is closed once, and gets nothing after; every flow that was opened is closed in the end.

package udp

import (
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
)

// sink checks what it is told of a flow.
type sink struct {
	t      *testing.T
	bytes  [2]int64
	closed bool
	open   *int
}

func (s *sink) Datagram(d proto.Direction, b []byte, size int, at clock.Mark) {
	if s.closed || at.Offset != s.bytes[d] || len(b) > size {
		s.t.Fatalf("%d bytes of %d at %d after %d, closed %v", len(b), size, at.Offset, s.bytes[d], s.closed)
	}
	s.bytes[d] += int64(size)
}

func (s *sink) Close(clock.Mark, proto.CloseReason) {
	if s.closed {
		s.t.Fatal("closed twice")
	}
	s.closed = true
	*s.open--
}

// packetSize is how many bytes of input make one packet.
const packetSize = 6

func FuzzPackets(f *testing.F) {
	f.Add([]byte{0, 1, 53, 5, 1, 1, 1, 1, 53, 5, 1, 1, 4, 1, 53, 3, 3, 1, 0, 2, 53, 5, 1, 200})
	f.Add([]byte{1, 1, 53, 5, 1, 1, 8, 1, 53, 5, 2, 1, 0, 9, 53, 5, 2, 1, 0, 8, 53, 5, 2, 1, 0, 7, 53, 5, 2, 1})
	f.Fuzz(func(t *testing.T, input []byte) {
		limits := Limits{MaxFlows: 4, Timeout: time.Second, Answered: 300 * time.Millisecond, MaxAnswered: 2}
		open := 0
		table := New(func(*proto.Flow, *proto.Facts, *packet.Packet) proto.Datagrams {
			open++
			return &sink{t: t, open: &open}
		}, limits)
		payload := make([]byte, 256)
		var p packet.Packet
		var ticks clock.Clock
		for ; len(input) >= packetSize; input = input[packetSize:] {
			b := input[:packetSize]
			p.Time += int64(b[5]) * int64(10*time.Millisecond)
			p.Number++
			p.Src, p.Dst, p.SrcPort, p.DstPort = packet.Addr{}, packet.Addr{15: 1}, uint16(b[1]), uint16(b[2])
			if b[0]&1 != 0 {
				p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
			}
			p.Proto, p.Net, p.IPID = packet.ProtoUDP, uint32(b[0]>>1&1), uint16(b[4])
			p.PayloadLen = int(b[3])
			p.Payload = payload[:max(p.PayloadLen-int(b[0]>>3&1), 0)]
			if ticks.Advance(p.Time) {
				table.Tick(ticks.Elapsed(), clock.Mark{Time: p.Time})
			}
			key, fromLo := p.Key()
			if b[0]&4 != 0 {
				p.ICMP = packet.ICMPHeader{Type: b[3], Code: b[4]}
				if v := table.ICMP(&p, &key, fromLo); v != tcp.Analysed && v != tcp.Unrelated {
					t.Fatal(v)
				}
			} else if v := table.Packet(&p, &key, fromLo); v != tcp.Analysed && v != tcp.Duplicate {
				t.Fatal(v)
			}
			if n := int(table.Counters.Open); n > limits.MaxFlows || n != open || table.Memory() != n*flowSize {
				t.Fatalf("%d flows, %d open, memory %d", n, open, table.Memory())
			}
		}
		table.Close(clock.Mark{Time: p.Time})
		if table.Memory() != 0 || table.flows.count+len(table.aliases) != 0 || open != 0 || table.waiting != (list{}) || table.answered != (list{}) {
			t.Errorf("in the end: memory %d, %d keys, %d open", table.Memory(), table.flows.count+len(table.aliases), open)
		}
	})
}
