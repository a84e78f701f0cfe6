package pcapng

import (
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// load is a packet of each of several connections, over and over.
type load struct {
	rec  []capture.Record
	p    []packet.Packet
	keys []packet.Flow
	n    uint64
}

func newLoad(flows, size int) *load {
	l := &load{rec: make([]capture.Record, flows), p: make([]packet.Packet, flows), keys: make([]packet.Flow, flows)}
	for i := range l.rec {
		l.rec[i] = capture.Record{Data: make([]byte, size), WireLen: size, Link: 1}
		l.p[i] = packet.Packet{
			Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), SrcPort: uint16(i + 1), DstPort: 80, Proto: packet.ProtoTCP,
			Flags: packet.ACK, PayloadLen: size - 54,
		}
		l.keys[i], _ = l.p[i].Key()
	}
	return l
}

func (l *load) give(r *Recorder) int {
	i := int(l.n % uint64(len(l.rec)))
	l.n++
	rec, p := &l.rec[i], &l.p[i]
	rec.Time += 1000
	rec.Number, p.Time, p.Number = l.n, rec.Time, l.n
	p.Seq += uint32(p.PayloadLen)
	r.Packet(rec, p, &l.keys[i])
	return i
}

func BenchmarkPacket(b *testing.B) {
	for _, c := range []struct {
		name        string
		size, flows int
		o           Options
		each        uint64 // packets an exchange
	}{
		{"all/100", 100, 1, Options{}, 0},
		{"all/1514", 1514, 1, Options{}, 0},
		{"all/65000", 65000, 1, Options{}, 0},
		{"matched/evicting/100", 100, 1000, Options{Matched: true}, 0},
		{"matched/evicting/1514", 1514, 1000, Options{Matched: true}, 0},
		{"matched/unmatched/1514", 1514, 1000, Options{Matched: true}, 10},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := New([]File{sink{}}, c.o)
			l := newLoad(c.flows, c.size)
			x := &exchange.Exchange{Flow: &proto.Flow{Addr: [2]packet.Addr{l.p[0].Src, l.p[0].Dst}, Proto: packet.ProtoTCP}}
			step := func() {
				i := l.give(r)
				if round := (l.n - 1) / uint64(c.flows); c.each > 0 && round%c.each == c.each-1 {
					x.Flow.Port = [2]uint16{l.p[i].SrcPort, 80}
					x.Index, x.FirstPacket, x.LastPacket = uint32(round/c.each), l.n, l.n
					r.Unmatched(x)
				}
			}
			for range 150_000 { // until memory is full
				step()
			}
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				step()
			}
			b.StopTimer()
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
