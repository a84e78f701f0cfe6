package pcapng

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// FuzzRecorder: whatever packets and exchanges come in whatever order, every file can be read strictly, holds as many
// packets as are counted as written and not overwritten, each of them as it was given, and the totals reconcile.
func FuzzRecorder(f *testing.F) {
	f.Add([]byte{0}, []byte{})
	for _, mode := range []byte{0, 1, 2, 3, 5, 7, 11, 15} {
		var script []byte
		for i := range byte(60) {
			script = append(script, i, i*37, i%5*11, i*i)
		}
		f.Add([]byte{mode}, script)
		f.Add([]byte{mode, 1}, script)
		f.Add([]byte{mode | 0x20, 3}, script)
	}
	f.Fuzz(func(t *testing.T, mode, script []byte) {
		m := byte(0)
		if len(mode) > 0 {
			m = mode[0]
		}
		o := Options{Matched: m&1 != 0, Live: m&2 != 0, Memory: minMemory, Taps: func() []capture.Tap { return []capture.Tap{{Name: "a"}, {Dropped: 1 << 63}} }}
		if m&4 != 0 {
			o.RotateSize = 4 << 10
		}
		if m&8 != 0 {
			o.RotateEvery = 1
		}
		var keys *keylog.Store
		if len(mode) > 1 {
			keys = keylog.NewStore(keylog.Options{MaxSessions: 50})
			keys.SetMayGrow(mode[1]&2 != 0)
			o.Keys = keys
		}
		all, files := disks(1 + int(m>>4))
		r := New(files, o)
		var now int64
		number := uint64(0)
		given := map[int64][]byte{}
		for ; len(script) >= 4; script = script[4:] {
			a, b, c, d := script[0], script[1], script[2], script[3]
			port := uint16(c&3) + 1
			if a&1 == 0 {
				number++
				now += int64(b>>4)*1e8 - 1e8
				size := int(b) * int(d)
				if a&2 != 0 {
					size *= 8
				}
				rec := capture.Record{Time: now<<8 | int64(number&255), Number: number, Data: make([]byte, size), WireLen: size, Tap: uint32(c >> 6), Link: capture.LinkType(c >> 5 & 1)}
				for i := range rec.Data {
					rec.Data[i] = d + byte(i)
				}
				given[max(rec.Time, 0)] = rec.Data
				if a&4 != 0 {
					if a&8 == 0 {
						r.Packet(&rec, nil, nil)
						continue
					}
					about := packet.Packet{Tap: rec.Tap, SrcPort: port, DstPort: 80, Proto: []uint8{packet.ProtoTCP, packet.ProtoUDP}[b&1]}
					key, _ := about.Key()
					r.Packet(&rec, nil, &key)
					continue
				}
				p := packet.Packet{
					Time: rec.Time, Number: number, Tap: rec.Tap, SrcPort: port, DstPort: 80, Proto: packet.ProtoTCP,
					Flags: d, Seq: binary.LittleEndian.Uint32(script), PayloadLen: int(b),
				}
				switch a >> 3 & 7 {
				case 0:
					p.Proto = packet.ProtoUDP
				case 1:
					p.Proto = packet.ProtoSCTP
				case 2, 3, 4:
					p.SrcPort, p.DstPort = p.DstPort, p.SrcPort
				}
				if a&6 == 0 {
					p.Payload = hello(d)
				}
				key, _ := p.Key()
				r.Packet(&rec, &p, &key)
				continue
			}
			if keys != nil && a&16 != 0 {
				keys.Add(fmt.Appendf(nil, "CLIENT_RANDOM %x %096x\n", hello(b)[helloRandom:], c))
			}
			first := number - min(number, uint64(b))
			x := &exchange.Exchange{
				Flow: &proto.Flow{
					Port: [2]uint16{port, 80}, Proto: packet.ProtoTCP, First: clock.Mark{Packet: first - min(first, uint64(b>>5))},
				},
				Index: uint32(d >> 3), FirstPacket: first, LastPacket: first + uint64(d&31), Start: clock.Mark{Tap: uint32(c >> 6)},
				Completed: clock.Mark{Time: now<<8 - int64(d)*1e8},
			}
			if a&32 != 0 {
				x.TLS = &proto.TLS{Random: [32]byte(hello(d)[helloRandom:]), HasRandom: a&64 != 0}
			}
			if a&128 != 0 {
				x.Flow.Proto = packet.ProtoUDP
			}
			switch a >> 1 & 7 {
			case 0, 1, 2:
				if err := r.Exchange(x); err != nil {
					t.Fatal(err)
				}
			case 3:
				if err := r.Flush(); err != nil {
					t.Fatal(err)
				}
			default:
				r.Unmatched(x)
			}
		}
		if err := closeOf(t, r); err != nil {
			t.Fatal(err)
		}
		count, inFiles := r.Counters(), uint64(0)
		for _, file := range all {
			var ifaces uint32
			secrets := map[string]bool{}
			for _, b := range blocks(t, file.data) {
				switch b.kind {
				case blockInterface:
					ifaces++
				case blockSecrets:
					if lines := string(b.body); secrets[lines] || keys == nil {
						t.Fatalf("secrets that weren't wanted, or again: %q", lines)
					} else {
						secrets[lines] = true
					}
				case blockPacket:
					inFiles++
					le := binary.LittleEndian
					at := int64(le.Uint32(b.body[4:]))<<32 | int64(le.Uint32(b.body[8:]))
					size := le.Uint32(b.body[12:])
					if le.Uint32(b.body) >= ifaces {
						t.Fatalf("interface %d of %d", le.Uint32(b.body), ifaces)
					}
					if want := given[at]; at > 0 && !slices.Equal(b.body[20:20+size], want) {
						t.Fatalf("a packet at %d of %d bytes isn't the one of %d bytes that was given", at, size, len(want))
					}
				}
			}
		}
		if inFiles > count.Written || count.Overwritten == 0 && inFiles != count.Written {
			t.Fatalf("%d packets are in the files: %+v", inFiles, count)
		}
	})
}

// hello is the beginning of a ClientHello with a random of n.
func hello(n byte) []byte {
	return append([]byte{recordHandshake, 3, 1, 2, 0, typeClientHello, 0, 1, 0xfc, 3, 3}, bytes.Repeat([]byte{n}, randomSize)...)
}
