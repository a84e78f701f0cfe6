package files

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// wire makes packets.
type wire struct {
	to     *Packets
	number uint64
	at     int64
}

// send sends a packet, with a payload of n bytes.
func (w *wire) send(f *proto.Flow, d proto.Direction, flags uint8, seq uint32, n int) {
	w.number++
	w.at += int64(time.Millisecond)
	p := &packet.Packet{
		Time: w.at, Number: w.number, Src: f.Addr[d], Dst: f.Addr[d.Other()], SrcPort: f.Port[d], DstPort: f.Port[d.Other()], Proto: packet.ProtoTCP,
		Flags: flags, Seq: seq, PayloadLen: n,
	}
	key, _ := p.Key()
	w.to.Packet(&capture.Record{Time: w.at, Number: w.number, Data: fmt.Appendf(nil, "<packet %d>", w.number), WireLen: 60, Link: 1}, p, &key)
}

// connection sends a whole connection, whose first packet is numbered as it returns.
func (w *wire) connection(f *proto.Flow, seq uint32, n int) uint64 {
	first := w.number + 1
	w.send(f, 0, packet.SYN, seq, 0)
	w.send(f, 1, packet.SYN|packet.ACK, 9, 0)
	w.send(f, 0, packet.ACK, seq+1, n)
	w.send(f, 0, packet.ACK|packet.FIN, seq+1, 0)
	w.send(f, 1, packet.ACK|packet.FIN, 10, 0)
	w.send(f, 0, packet.ACK, seq+2, 0)
	return first
}

// began returns a flow as the transport makes it, with the packet that it began with.
func began(f *proto.Flow, number uint64) *proto.Flow {
	other := outputtest.Flow(f.End(0), f.End(1))
	other.First = clock.Mark{Packet: number}
	return other
}

// kept returns the numbers of the packets in each file.
func kept(t *testing.T, d *dir) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, text := range d.contents(t) {
		var numbers []string
		for _, part := range strings.Split(text, "<packet ")[1:] {
			number, _, _ := strings.Cut(part, ">")
			numbers = append(numbers, number)
		}
		if all[name] = strings.Join(numbers, " "); !bytes.HasPrefix([]byte(text), []byte{0x0a, 0x0d, 0x0d, 0x0a}) || !strings.Contains(text, "the test") {
			t.Errorf("%s is no pcapng file of ours: %.40q", name, text)
		}
	}
	return all
}

// TestPackets: each connection that carries something has its packets in a file by its name, whoever knows first of its end.
func TestPackets(t *testing.T) {
	for _, late := range []bool{false, true} {
		d, of := newDir(t, t.TempDir()), newDir(t, t.TempDir())
		p := NewPackets(d, 2, "the test")
		p.sheets.maxPending = 1
		o := of.output(t, Options{Packets: p})
		w := &wire{to: p}
		tell := func(f *proto.Flow) {
			if err := o.Chunks(append([]follow.Chunk{data(f, 0, "a")}, ends(f)...)); err != nil {
				t.Fatal(err)
			}
		}
		var later []*proto.Flow
		for i, c := range []struct {
			f   *proto.Flow
			seq uint32
			n   int
		}{{flow, 1000, 3}, {six, 1, 0}, {flow, 2000, 4}, {back, 5, 1}, {flow, 3000, 0}} {
			f := began(c.f, w.connection(c.f, c.seq, c.n))
			switch {
			case c.n == 0:
			case late, i == 0:
				later = append(later, f)
			default:
				tell(f)
			}
		}
		slices.SortFunc(later, func(a, b *proto.Flow) int { return int(a.First.Packet) - int(b.First.Packet) })
		for _, f := range later {
			tell(f)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{asks + ".pcapng": "1 2 3 4 5 6", asks + "c1.pcapng": "13 14 15 16 17 18", answers + "c2.pcapng": "19 20 21 22 23 24"}
		if !late { // the first is told of last
			want = map[string]string{asks + "c2.pcapng": "1 2 3 4 5 6", asks + ".pcapng": "13 14 15 16 17 18", answers + "c1.pcapng": "19 20 21 22 23 24"}
		}
		if got := kept(t, d); !maps.Equal(got, want) {
			t.Errorf("late %v: got  %q\nwant %q", late, got, want)
		}
		if st := p.Stats(); st.Files != 3 || st.Quiet != 2 || d.open != 0 {
			t.Errorf("%+v, %d files open", st, d.open)
		}
	}
}

// TestUnnamed: a connection that the Output never heard of has its packets in a file all the same.
func TestUnnamed(t *testing.T) {
	d := newDir(t, t.TempDir())
	p := NewPackets(d, 2, "the test")
	o := newDir(t, t.TempDir()).output(t, Options{Packets: p})
	(&wire{to: p}).connection(flow, 1, 1)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if got := kept(t, d); !maps.Equal(got, map[string]string{asks + ".pcapng": "1 2 3 4 5 6"}) {
		t.Errorf("got %q", got)
	}
}

// TestLateAndIdle: what comes late belongs to a connection for a while, and one that is silent for long ends.
func TestLateAndIdle(t *testing.T) {
	d := newDir(t, t.TempDir())
	p := NewPackets(d, 2, "the test")
	o := newDir(t, t.TempDir()).output(t, Options{Packets: p})
	w := &wire{to: p}
	w.connection(flow, 1, 1)
	w.at += int64(4 * time.Second)
	w.send(flow, 0, packet.ACK, 3, 0) // 7
	w.at += int64(6 * time.Second)
	w.send(flow, 0, packet.ACK, 3, 0)           // 8: nobody's
	w.send(six, 0, packet.ACK, 100, 1)          // 9
	w.send(six, 0, packet.SYN, 100, 0)          // 10: another connection
	w.send(six, 0, packet.SYN, 100, 0)          // 11: again
	w.send(six, 1, packet.SYN|packet.ACK, 5, 0) // 12
	w.send(six, 1, packet.ACK, 6, 2)            // 13
	w.send(six, 1, packet.RST, 8, 0)            // 14
	w.at += int64(time.Minute)                  // which is over
	w.send(six, 1, packet.ACK, 8, 2)            // 15: begins in the middle
	w.at += int64(16 * time.Minute)             // which is forgotten
	w.send(six, 0, packet.ACK, 100, 1)          // 16
	w.to.Packet(&capture.Record{}, nil, nil)    // of no flow
	for range maxQuiet + 10 {                   // what says nothing takes little
		w.send(back, 0, packet.SYN, 7, 0)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	got := kept(t, d)
	want := []string{"1 2 3 4 5 6 7", "10 11 12 13 14", "15", "16", "9"}
	if values := slices.Sorted(maps.Values(got)); !slices.Equal(values, want) {
		t.Errorf("got  %q\nwant %q", values, want)
	}
	if st := p.Stats(); st.Quiet != 1 || st.Files != 5 || st.Packets != 15+maxQuiet {
		t.Errorf("%+v", st)
	}
}

// TestSYNAgain: a SYN that comes twice, the second time late, begins nothing.
func TestSYNAgain(t *testing.T) {
	d := newDir(t, t.TempDir())
	p := NewPackets(d, 2, "the test")
	o := newDir(t, t.TempDir()).output(t, Options{Packets: p})
	w := &wire{to: p}
	w.connection(flow, 1, 1)
	w.send(flow, 0, packet.SYN, 1, 0)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if got := kept(t, d); !maps.Equal(got, map[string]string{asks + ".pcapng": "1 2 3 4 5 6 7"}) {
		t.Errorf("got %q", got)
	}
}

// TestManyConnections: beyond as many as may be, packets are counted and left out.
func TestManyConnections(t *testing.T) {
	d := newDir(t, t.TempDir())
	p := NewPackets(d, 2, "the test")
	p.maxTracks = 1
	o := newDir(t, t.TempDir()).output(t, Options{Packets: p})
	w := &wire{to: p}
	w.connection(flow, 1, 1)
	w.connection(six, 1, 1)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if got, st := kept(t, d), p.Stats(); len(got) != 1 || st.Refused != 3 { // the SYNs, and what has data
		t.Errorf("got %q, %+v", got, st)
	}
}

// TestPacketErrors: what the disk refuses is told at the end.
func TestPacketErrors(t *testing.T) {
	d := newDir(t, t.TempDir())
	d.fails = fmt.Errorf("the disk is full")
	p := NewPackets(d, 2, "the test")
	o := newDir(t, t.TempDir()).output(t, Options{Packets: p})
	(&wire{to: p}).connection(flow, 1, 1)
	if err := o.Close(); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("got %v", err)
	}
}
