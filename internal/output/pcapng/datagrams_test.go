package pcapng

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/synth"
)

// lookup is a DNS message that asks for the address of a name of one letter, or answers that.
func lookup(id uint16, name byte, answer bool) []byte {
	flags, answers := uint16(0x0100), uint16(0)
	if answer {
		flags, answers = 0x8180, 1
	}
	var b []byte
	for _, v := range []uint16{id, flags, 1, answers, 0, 0} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	b = append(b, 1, name, 0, 0, 1, 0, 1)
	if answer {
		b = append(b, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x02"...)
	}
	return b
}

var resolver = netip.MustParseAddrPort("10.0.0.53:53")

// ask is where a port's lookups come from.
func ask(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), port)
}

// unreachable is the ICMP error that the receiver of a frame with an IPv4 packet sends because nobody listens on the port.
func unreachable(frame []byte) []byte {
	ip := frame[14:]
	icmp := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, ip[:28]...)
	b := slices.Concat(frame[6:12], frame[:6], frame[12:14], ip[:20], icmp)
	h := b[14:34]
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(icmp)))
	h[9], h[10], h[11] = 1, 0, 0
	copy(h[12:], ip[16:20])
	copy(h[16:], ip[12:16])
	binary.BigEndian.PutUint16(h[10:], ^checksum(h))
	return b
}

// lookups is a capture of what do plays.
func lookups(t testing.TB, do func(s *synth.Sim)) []capture.Record {
	t.Helper()
	var out bytes.Buffer
	s := synth.New(&out, synth.Options{Nano: true})
	do(s)
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	all := records(t, out.Bytes())
	for i := range all { // an empty frame stands for the error about the one before
		if len(all[i].Data) == 0 {
			all[i].Data = unreachable(all[i-1].Data)
			all[i].WireLen = len(all[i].Data)
		}
	}
	return all
}

func TestDatagrams(t *testing.T) {
	const ms = time.Millisecond
	src := lookups(t, func(s *synth.Sim) {
		s.Datagram(1*ms, ask(1000), resolver, lookup(1, 'a', false)) // 1: answered
		s.Datagram(2*ms, ask(2000), resolver, lookup(2, 'b', false)) // 2: two at a time
		s.Datagram(3*ms, ask(2000), resolver, lookup(3, 'c', false))
		s.Datagram(4*ms, resolver, ask(1000), lookup(1, 'a', true))
		s.Datagram(5*ms, resolver, ask(2000), lookup(3, 'c', true))
		s.Datagram(6*ms, resolver, ask(2000), lookup(2, 'b', true))
		s.Datagram(7*ms, ask(3000), resolver, lookup(4, 'd', false)) // 7: nobody listens
		s.Frame(8*ms, nil)
		s.Datagram(9*ms, ask(4000), resolver, lookup(5, 'e', false))    // 9: never answered, asked again
		s.Datagram(2009*ms, ask(4000), resolver, lookup(5, 'e', false)) // 10
		s.Datagram(3000*ms, ask(1000), resolver, lookup(6, 'f', false)) // 11: the ports of the first again
		s.Datagram(3001*ms, resolver, ask(1000), lookup(6, 'f', true))
		s.Datagram(3002*ms, ask(1000), netip.MustParseAddrPort("10.0.0.53:4444"), []byte("what is this?")) // 13
		for i := range 100 {                                                                               // others go on, so that what isn't answered is given up before the end
			at := time.Duration(5000+i*500) * ms
			s.Datagram(at, ask(5000), resolver, lookup(uint16(100+i), 'z', false))
			s.Datagram(at+ms, resolver, ask(5000), lookup(uint16(100+i), 'z', true))
		}
	})
	for _, c := range []struct {
		targets string
		want    []int
	}{
		{"a", []int{1, 4}},
		{"b", []int{2, 3, 5, 6}}, // what came on its flow meanwhile is there, too
		{"c", []int{3, 5}},
		{"d", []int{7, 8}},
		{"e", []int{9, 10}},
		{"f", []int{11, 12}},
		{"af", []int{1, 4, 11, 12}},
		{"bc", []int{2, 3, 5, 6}},
		{"abcdef", []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{"", nil},
	} {
		for _, workers := range []int{1, 2} {
			var d disk
			n := 0
			r := record(t, source(src), workers, []File{&d}, Options{Matched: true}, func(x *exchange.Exchange) bool {
				target := x.Request.Bytes(x.Request.Target)
				is := len(target) == 1 && bytes.Contains([]byte(c.targets), target)
				if is {
					n++
				}
				return is
			})
			got, _ := read(t, d.data)
			all := numbers(t, got, src)
			slices.Sort(all)
			if !slices.Equal(all, c.want) || n != len(c.targets) {
				t.Errorf("%q, %d workers: packets %v of %d exchanges, want %v", c.targets, workers, all, n, c.want)
			}
			if count := r.Counters(); r.Lost() != "" || count.Evicted != 0 || count.Uncommented != 0 {
				t.Errorf("%q: %q, %+v", c.targets, r.Lost(), count)
			}
		}
	}
}

// TestDatagramsInFragments: an answer that was cut up is there with all its fragments.
func TestDatagramsInFragments(t *testing.T) {
	var src []capture.Record
	long := append(lookup(1, 'a', true), make([]byte, 1000)...)
	for _, r := range lookups(t, func(s *synth.Sim) {
		s.Datagram(1e6, ask(1000), resolver, lookup(1, 'a', false))
		s.Datagram(2e6, resolver, ask(1000), long)
	}) {
		parts := [][]byte{r.Data}
		if len(r.Data) > 800 {
			parts = cutUp(r.Data, 4)
		}
		for i, b := range parts {
			r.Data, r.WireLen, r.Number = b, len(b), uint64(len(src)+1)
			r.Time += int64(i)
			src = append(src, r)
		}
	}
	var d disk
	r := record(t, source(src), 1, []File{&d}, Options{Matched: true}, func(*exchange.Exchange) bool { return true })
	if got, _ := read(t, d.data); len(got) != len(src) || len(src) < 4 || r.Lost() != "" {
		t.Errorf("%d of %d packets: %s", len(got), len(src), r.Lost())
	}
}

// datagram gives the recorder a datagram between a client's port and the server, and returns its number.
func (w *wire) datagram(port uint16, answer bool, at time.Duration) uint64 {
	w.number++
	p := packet.Packet{
		Time: int64(at), Number: w.number, Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), SrcPort: port, DstPort: 80, Proto: packet.ProtoUDP, PayloadLen: 100,
	}
	if answer {
		p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	}
	key, _ := p.Key()
	rec := capture.Record{Time: p.Time, Number: w.number, Data: make([]byte, 142), WireLen: 142, Link: 1}
	w.r.Packet(&rec, &p, &key)
	w.sent = append(w.sent, rec)
	return w.number
}

// lookup returns an exchange of datagrams that completed at a time.
func (w *wire) lookup(port uint16, conn, first, last uint64, index uint32, at time.Duration) *exchange.Exchange {
	x := w.exchange(port, conn, first, last, index)
	x.Flow.Proto = packet.ProtoUDP
	x.Completed.Time = int64(at)
	return x
}

// TestSilenceLetsGo: what is kept of a flow of UDP goes when it was silent for so long that all its exchanges have come, and
// not before.
func TestSilenceLetsGo(t *testing.T) {
	const (
		mutual = 4 * time.Second // that each side has sent as many
		oneWay = 32 * time.Second
	)
	for _, c := range []struct {
		name    string
		answers int
		// came are the indexes of exchanges that aren't selected.
		came []uint32
		want time.Duration
	}{
		{"nothing known, answered", 2, nil, mutual},
		{"nothing known, one answer missing", 1, nil, oneWay},
		{"no answer", 0, nil, oneWay},
		{"all have come", 2, []uint32{0, 1}, mutual},
		{"one is still missing", 2, []uint32{0}, oneWay},
		{"the first is still missing", 2, []uint32{1, 2}, oneWay},
	} {
		r := New([]File{&disk{}}, Options{Matched: true})
		w := &wire{r: r}
		last := time.Second
		for range 2 {
			w.datagram(1000, false, last)
		}
		for range c.answers {
			w.datagram(1000, true, last)
		}
		for _, i := range c.came {
			r.Unmatched(w.lookup(1000, 1, 1+uint64(i&1), 4, i, last))
		}
		silent := func(since time.Duration) bool {
			r.Unmatched(w.lookup(2000, 9, 9, 9, 0, since))
			return len(r.flows.index) == 0
		}
		if silent(last+c.want) || !silent(last+c.want+1) {
			t.Errorf("%s: it isn't let go of after %v", c.name, c.want)
		}
		if err := closeOf(t, r); err != nil || r.Counters().Evicted != 0 {
			t.Errorf("%v, %+v", err, r.Counters())
		}
	}
}

// TestSilenceIsThatOfTheLastDatagram: a flow that goes on is kept, those that don't aren't.
func TestSilenceIsThatOfTheLastDatagram(t *testing.T) {
	var d disk
	r := New([]File{&d}, Options{Matched: true})
	w := &wire{r: r}
	first := w.datagram(1000, false, 0)
	w.datagram(2000, false, 0)
	w.datagram(1000, false, 30*time.Second)
	r.Unmatched(w.lookup(3000, 9, 9, 9, 0, 40*time.Second))
	if n := len(r.flows.index); n != 1 {
		t.Errorf("%d flows are kept, want one", n)
	}
	if err := r.Exchange(w.lookup(1000, first, first, first, 0, 60*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, d.data); fmt.Sprint(numbers(t, got, w.sent)) != "[1]" || r.Lost() != "" {
		t.Errorf("packets %v; %s", numbers(t, got, w.sent), r.Lost())
	}
}

// TestAnsweredFlowsMakeRoom: any number of lookups doesn't push a connection out, and the memory is bounded.
func TestAnsweredFlowsMakeRoom(t *testing.T) {
	var d disk
	r := New([]File{&d}, Options{Matched: true, Memory: minMemory})
	w := &wire{r: r}
	first := w.packet(1000, packet.SYN, 0, 0)
	waits := w.datagram(2000, false, time.Second)
	for i := range 3 * r.flows.limit {
		at := time.Second + time.Duration(i)*time.Millisecond
		w.datagram(uint16(3000+i), false, at)
		w.datagram(uint16(3000+i), true, at)
		if n := len(r.flows.index); n > r.flows.limit || r.pages.used > r.pages.limit {
			t.Fatalf("%d flows, %d pages", n, r.pages.used)
		}
	}
	if c := r.Counters(); c.Evicted == 0 {
		t.Errorf("%+v", c)
	}
	for _, x := range []*exchange.Exchange{w.exchange(1000, first, first, first, 0), w.lookup(2000, waits, waits, waits, 0, time.Hour)} {
		if err := r.Exchange(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, d.data); len(got) != 2 || r.Lost() != "" {
		t.Errorf("%d packets; %s", len(got), r.Lost())
	}
}

// TestErrorsBelongToTheirFlow: an ICMP error is recorded with the exchange that it came in, or that it followed, of whatever transport;
// one about an unknown flow isn't kept.
func TestErrorsBelongToTheirFlow(t *testing.T) {
	var d disk
	r := New([]File{&d}, Options{Matched: true})
	w := &wire{r: r}
	fail := func(proto uint8, port uint16) uint64 {
		w.number++
		p := packet.Packet{Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), SrcPort: port, DstPort: 80, Proto: proto, Net: 7}
		key, _ := p.Key()
		rec := capture.Record{Time: int64(w.number) * 1e6, Number: w.number, Data: make([]byte, 70), WireLen: 70, Link: 1}
		r.Packet(&rec, nil, &key)
		w.sent = append(w.sent, rec)
		return w.number
	}
	tcp := w.packet(1000, packet.ACK, 1, 100)
	fail(packet.ProtoTCP, 1000) // within
	last := w.packet(1000, packet.ACK, 101, 100)
	fail(packet.ProtoTCP, 1000) // behind
	w.packet(1000, packet.ACK, 201, 100)
	fail(packet.ProtoTCP, 1000) // of the next
	udp := w.datagram(1000, false, time.Second)
	fail(packet.ProtoUDP, 1000)
	fail(packet.ProtoUDP, 2000) // of no flow
	if n := r.Counters().LetGo; n != 1 {
		t.Errorf("%d packets are let go of, want one", n)
	}
	for _, x := range []*exchange.Exchange{w.exchange(1000, tcp, tcp, last, 0), w.lookup(1000, udp, udp, udp, 0, time.Second)} {
		if err := r.Exchange(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	fail(packet.ProtoUDP, 1000) // another, when all is given to the writer
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, d.data); fmt.Sprint(numbers(t, got, w.sent)) != "[1 2 3 4 7 8 10]" {
		t.Errorf("packets %v", numbers(t, got, w.sent))
	}
}

// TestRecordsOfFlowsAreNumberedApart: a record of a period says nothing of which exchanges have come.
func TestRecordsOfFlowsAreNumberedApart(t *testing.T) {
	var d disk
	r := New([]File{&d}, Options{Matched: true})
	w := &wire{r: r}
	first := w.datagram(1000, false, time.Second)
	w.datagram(1000, false, 2*time.Second)
	record := w.lookup(1000, first, first+1, first+1, 0, 3*time.Second)
	record.Period = &exchange.Period{}
	r.Unmatched(record)
	if err := r.Exchange(w.lookup(1000, first, first, first, 0, 4*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, d.data); fmt.Sprint(numbers(t, got, w.sent)) != "[1]" {
		t.Errorf("packets %v", numbers(t, got, w.sent))
	}
}
