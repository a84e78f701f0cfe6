package udp

import (
	"encoding/binary"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// nobody takes the datagrams.
type nobody struct{}

func (nobody) Datagram(proto.Direction, []byte, int, clock.Mark) {}
func (nobody) Close(clock.Mark, proto.CloseReason)               {}

// load plays questions and answers of 60 and 120 bytes to one server, 10,000 each second.
type load struct {
	table             *Table
	question, answer  packet.Packet
	now, tick, flowed int64
}

func newLoad() *load {
	l := &load{table: New(func(*proto.Flow, *proto.Facts, *packet.Packet) proto.Datagrams { return nobody{} }, DefaultLimits)}
	bytes := make([]byte, 180)
	l.question = packet.Packet{Proto: packet.ProtoUDP, Src: packet.Addr{15: 1}, Dst: packet.Addr{15: 2}, DstPort: 53, Payload: bytes[:60], PayloadLen: 60}
	l.answer = packet.Packet{Proto: packet.ProtoUDP, Src: packet.Addr{15: 2}, Dst: packet.Addr{15: 1}, SrcPort: 53, Payload: bytes[60:], PayloadLen: 120}
	return l
}

func (l *load) packet(p *packet.Packet) {
	l.now += 50e3
	if p.Time = l.now; l.now-l.tick >= int64(clock.Tick) {
		l.tick = l.now
		l.table.Tick(l.now, clock.Mark{Time: l.now})
	}
	p.Number++
	binary.BigEndian.PutUint64(p.Payload, p.Number)
	p.IPID++
	key, fromLo := p.Key()
	l.table.Packet(p, &key, fromLo)
}

// ask plays one question and its answer, from a port of 50,000 in turn.
func (l *load) ask() {
	l.flowed++
	port := uint16(10000 + l.flowed%50000)
	l.question.SrcPort, l.answer.DstPort = port, port
	l.packet(&l.question)
	l.packet(&l.answer)
}

// BenchmarkShortFlows has a flow of two datagrams per round.
func BenchmarkShortFlows(b *testing.B) {
	l := newLoad()
	for range 20000 {
		l.ask()
	}
	b.ReportAllocs()
	for b.Loop() {
		l.ask()
	}
	b.ReportMetric(float64(l.table.Counters.Open), "open")
}

// BenchmarkDatagrams has one datagram of one flow per round.
func BenchmarkDatagrams(b *testing.B) {
	l := newLoad()
	l.question.SrcPort = 10000
	b.ReportAllocs()
	for b.Loop() {
		l.packet(&l.question)
	}
}

// Flows come from blocks of 16, and everything else is used again.
func TestAllocations(t *testing.T) {
	l := newLoad()
	for range 50000 {
		l.ask()
	}
	if n := testing.AllocsPerRun(10000, l.ask); n > 0.2 {
		t.Errorf("%v allocations for a flow", n)
	}
	l.question.SrcPort = 10000
	if n := testing.AllocsPerRun(10000, func() { l.packet(&l.question) }); n > 0 {
		t.Errorf("%v allocations for a datagram", n)
	}
}
