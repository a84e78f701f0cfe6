package packets

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/synth"
)

// question is a DNS message that asks for the address of a name of one letter; padding makes the answer to it longer.
func question(id uint16, name byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	return append(b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, name, 0, 0, 1, 0, 1)
}

func answer(id uint16, name byte, padding int) []byte {
	b := question(id, name)
	b[2], b[3], b[7] = 0x81, 0x80, 1
	b = append(b, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x02"...)
	return append(b, make([]byte, padding)...)
}

// unreachable is the ICMP error that the receiver of a frame with an IPv4 packet sends because nobody listens on the port.
func unreachable(frame []byte) []byte {
	ip := frame[14:]
	icmp := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, ip[:28]...)
	b := slices.Concat(frame[6:12], frame[:6], frame[12:14], ip[:20], icmp)
	h := b[14:34]
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(icmp)))
	h[9] = 1 // the checksum is wrong now, which nobody minds
	copy(h[12:], ip[16:20])
	copy(h[16:], ip[12:16])
	return b
}

// lookups is a capture of lookups: one that is answered, one with a large answer, in fragments, one where nobody listens,
// one without an answer that is asked again, from a port of which another came before, and those of the first one's port 10,
// 35 and 80 s later.
func lookups(t testing.TB) (all []capture.Record) {
	t.Helper()
	const ms = time.Millisecond
	server := netip.MustParseAddrPort("10.0.0.53:53")
	client := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), port) }
	var out bytes.Buffer
	s := synth.New(&out, synth.Options{Nano: true})
	s.Datagram(0, client(4000), server, question(9, 'h'))
	s.Datagram(1, server, client(4000), answer(9, 'h', 0))
	s.Datagram(1*ms, client(1000), server, question(1, 'a'))
	s.Datagram(2*ms, client(2000), server, question(2, 'b'))
	s.Datagram(3*ms, server, client(1000), answer(1, 'a', 0))
	s.Datagram(4*ms, server, client(2000), answer(2, 'b', 700))
	s.Datagram(5*ms, client(3000), server, question(3, 'c'))
	s.Frame(6*ms, nil) // the error about it
	s.Datagram(7*ms, client(4000), server, question(4, 'd'))
	s.Datagram(1007*ms, client(4000), server, question(4, 'd'))
	for i, at := range []time.Duration{10000 * ms, 35000 * ms, 80000 * ms} {
		s.Datagram(at, client(1000), server, question(uint16(5+i), 'e'+byte(i)))
		s.Datagram(at+ms, server, client(1000), answer(uint16(5+i), 'e'+byte(i), 0))
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	sent := records(t, out.Bytes())
	for i, r := range sent {
		frames := [][]byte{r.Data}
		switch {
		case len(r.Data) == 0:
			frames[0] = unreachable(sent[i-1].Data)
		case len(r.Data) > 434:
			frames = cutUp(r.Data)
		}
		for k, f := range frames {
			r.Data, r.WireLen, r.Number = f, len(f), uint64(len(all)+1)
			r.Time += int64(k)
			all = append(all, r)
		}
	}
	return all
}

// TestDatagrams: a lookup over UDP is found with its packets and the errors about them, and with its whole flow if that is wanted, which
// ends where it was silent for long.
func TestDatagrams(t *testing.T) {
	src := lookups(t)
	want := map[string][2]string{ // of the exchange, of its flow
		"a": {"[3 5]", "[3 5 12 13 14 15]"},
		"b": {"[4 6 7]", "[4 6 7]"},
		"c": {"[8 9]", "[8 9]"},
		"d": {"[10 11]", "[1 2 10 11]"},
		"e": {"[12 13]", "[12 13 14 15]"},
		"f": {"[14 15]", "[14 15]"},
		"g": {"[16 17]", "[16 17]"},
		"h": {"[1 2]", "[1 2 10 11]"},
	}
	for _, size := range []int64{0, 1} { // in one file; each packet in a file of its own
		dir := t.TempDir()
		o := testOptions()
		o.FileSize = size
		r := openRing(t, dir, o)
		m := source1(src)
		all := trace(t, &flushing{memory: m, each: 1, ring: r}, r.Keeper(m.Taps, false))
		if len(all) != len(want) {
			t.Fatalf("%d exchanges", len(all))
		}
		for i := range all {
			name := fmt.Sprintf("%c", "abcdefgh"[i])
			if k := slices.IndexFunc(all, func(s seen) bool { return bytes.Contains([]byte(s.query.Comment), []byte(": A "+name+" ")) }); k < 0 {
				t.Fatalf("no lookup of %s: %+v", name, all)
			} else {
				for whole, want := range want[name] {
					q := all[k].query
					q.Connection = whole == 1
					file, count := place(t, dir, r.Write, q)
					var got []int
					for _, p := range packetsOf(t, openFile(t, file)) {
						got = append(got, 1+slices.IndexFunc(src, func(r capture.Record) bool { return r.Time == p.Time && bytes.Equal(r.Data, p.Data) }))
					}
					if fmt.Sprint(got) != want || !count.First || !count.Last || count.Damaged > 0 {
						t.Errorf("files of %d: %s, whole %d: packets %v, want %s; %+v", size, name, whole, got, want, count)
					}
				}
			}
		}
		closeRing(t, r)
		if c := r.Counters(); c.Other != 0 || c.Written != uint64(len(src)) {
			t.Errorf("%+v", c)
		}
	}
}

// TestIndexOfDatagrams: an index that is made of the file again is the one that was written, with datagrams, fragments and errors.
func TestIndexOfDatagrams(t *testing.T) {
	dir := t.TempDir()
	r := openRing(t, dir, testOptions())
	keep(t, r, source1(lookups(t)))
	closeRing(t, r)
	was, err := os.ReadFile(path(dir, 1, indexName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path(dir, 1, indexName)); err != nil {
		t.Fatal(err)
	}
	closeRing(t, openRing(t, dir, testOptions()))
	if is, err := os.ReadFile(path(dir, 1, indexName)); err != nil || !bytes.Equal(is, was) {
		t.Errorf("%v, %d bytes: %x\nwas %d bytes: %x", err, len(is), is, len(was), was)
	}
}

// TestFlowsOfDatagrams: without knowing when it was first seen, a flow begins where the silence before it ends.
func TestFlowsOfDatagrams(t *testing.T) {
	const second = int64(time.Second)
	for _, c := range []struct {
		opened int64
		times  []int64 // in seconds; the exchange is at 100
		from   int
		to     int
	}{
		{0, []int64{100}, 0, 1},
		{0, []int64{10, 80, 100, 130}, 1, 4},
		{0, []int64{10, 40, 70, 100, 130, 161}, 0, 5},
		{0, []int64{100, 131}, 0, 1},
		{0, []int64{200}, 0, 1},
		{90 * second, []int64{70, 80, 90, 100, 110, 150}, 2, 5},
		{90 * second, []int64{70, 80}, 2, 2},
	} {
		q := Query{Proto: packet.ProtoUDP, Opened: c.opened, Start: 100 * second, End: 100 * second}
		var all []candidate
		for _, at := range c.times {
			all = append(all, candidate{time: at * second, payload: true})
		}
		if from, to := q.bounds(all, make([]bool, len(all))); from != c.from || to != c.to {
			t.Errorf("%+v: from %d to %d", c, from, to)
		}
	}
}

// TestBurstOfDatagrams: what one side sends in one go is bounded over UDP, too, whatever it sends.
func TestBurstOfDatagrams(t *testing.T) {
	o := testOptions()
	o.Burst = 1000
	r := openRing(t, t.TempDir(), o)
	k := r.Keeper(eth0, false)
	for i := range 256 {
		p := packet.Packet{Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), SrcPort: 1, DstPort: 2, Proto: packet.ProtoUDP, PayloadLen: 100, Payload: bytes.Repeat([]byte{byte(i)}, 100)}
		key, _ := p.Key()
		k.Packet(&capture.Record{Number: uint64(i + 1), Data: make([]byte, 142), WireLen: 142, Link: 1}, &p, &key)
	}
	if c := r.Counters(); c.Cut != 246 {
		t.Errorf("%+v", c)
	}
}
