package pcapng

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// wire makes packets of TCP connections, and the exchanges on them.
type wire struct {
	r      *Recorder
	number uint64
	sent   []capture.Record
}

// packet gives the recorder a packet of a connection, which its client's port names, and returns its number.
func (w *wire) packet(port uint16, flags uint8, seq uint32, n int) uint64 {
	w.number++
	rec := capture.Record{Time: int64(w.number) * 1e6, Number: w.number, Data: make([]byte, 54+n), WireLen: 54 + n, Link: 1}
	for i := range rec.Data {
		rec.Data[i] = byte(w.number + uint64(i))
	}
	p := packet.Packet{
		Time: rec.Time, Number: rec.Number, Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), SrcPort: port, DstPort: 80,
		Proto: packet.ProtoTCP, Flags: flags, Seq: seq, PayloadLen: n, Payload: rec.Data[54:],
		Net: uint32(w.number & 1), // a mirror port may tag one direction only
	}
	key, _ := p.Key()
	w.r.Packet(&rec, &p, &key)
	w.sent = append(w.sent, rec)
	return w.number
}

func addr(s string) packet.Addr { return netip.MustParseAddr(s).As16() }

// exchange returns an exchange of a connection that begins with packet conn.
func (w *wire) exchange(port uint16, conn, first, last uint64, index uint32) *exchange.Exchange {
	return &exchange.Exchange{
		Flow: &proto.Flow{
			Addr: [2]packet.Addr{addr("10.0.0.1"), addr("10.0.0.2")}, Port: [2]uint16{port, 80}, Proto: packet.ProtoTCP,
			First: clock.Mark{Packet: conn},
		},
		Index: index, Number: uint64(index) + 1, FirstPacket: first, LastPacket: last,
		Completed: clock.Mark{Time: int64(last) * 1e6, Packet: last},
	}
}

// closeOf ends a recording, and checks that all adds up.
func closeOf(t *testing.T, r *Recorder) error {
	t.Helper()
	err := r.Close()
	if again := r.Close(); again != err {
		t.Errorf("closing again gives %v, not %v", again, err)
	}
	reconcile(t, r)
	return err
}

// TestHeaviestFlowPays: when memory is short, a connection that has had no exchange and takes the most lets go of
// its oldest packets; the others keep theirs.
func TestHeaviestFlowPays(t *testing.T) {
	var d disk
	r := New([]File{&d}, Options{Matched: true, Memory: minMemory})
	w := &wire{r: r}
	first := w.packet(1000, packet.ACK, 0, 1000)
	w.packet(2000, packet.SYN, 0, 0)
	early := w.packet(2000, packet.ACK, 1, 1000)
	for i := range 2000 {
		w.packet(2000, packet.ACK, uint32(1001+1000*i), 1000)
	}
	last := w.packet(2000, packet.ACK, 2001001, 1000)
	if c := r.Counters(); c.Evicted == 0 || c.Dropped != 0 {
		t.Errorf("%+v", c)
	}
	if err := r.Exchange(w.exchange(1000, first, first, first, 0)); err != nil {
		t.Fatal(err)
	}
	if err := r.Exchange(w.exchange(2000, early-1, early, last, 0)); err != nil {
		t.Fatal(err)
	}
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	got, _ := read(t, d.data)
	n := numbers(t, got, w.sent)
	if n[0] != int(first) || n[1] != int(early)-1 || n[len(n)-1] != int(last) || !slices.IsSorted(n) || n[2] == int(early) {
		t.Errorf("packets %v", n[:3])
	}
	c := r.Counters()
	if c.Incomplete != 1 || c.Exchanges != 2 || !strings.Contains(r.Lost(), "packets of 1 exchanges, let go of for lack of memory") {
		t.Errorf("%+v: %s", c, r.Lost())
	}
	if text := fmt.Sprint(comments(t, d.data)); !strings.Contains(text, incompleteComment) {
		t.Error(text)
	}
}

// TestProvenFlowsMayBeLarger: a connection without exchanges lets go before one with some that is twice as large.
func TestProvenFlowsMayBeLarger(t *testing.T) {
	r := New([]File{&disk{}}, Options{Matched: true, Memory: minMemory})
	w := &wire{r: r}
	syn := w.packet(1000, packet.SYN, 0, 0)
	n := w.packet(1000, packet.ACK, 1, 100)
	r.Unmatched(w.exchange(1000, syn, n, n, 0))
	for i := range 300 {
		w.packet(1000, packet.ACK, uint32(1000*i), 1000)
		if i%2 == 0 {
			w.packet(2000, packet.ACK, uint32(1000*i), 1000)
		}
	}
	for range 1000 {
		w.packet(2000, packet.ACK, 0, 1000)
	}
	for key, i := range r.flows.index {
		if f := &r.flows.all[i]; key.LoPort == 1000 && f.lost != 0 {
			t.Errorf("packets up to %d are let go of", f.lost)
		}
	}
	if err := closeOf(t, r); err != nil || r.Counters().Evicted == 0 {
		t.Fatal(err, r.Counters())
	}
}

// TestManyFlows: more connections than the limit push the oldest ones out.
func TestManyFlows(t *testing.T) {
	var d disk
	r := New([]File{&d}, Options{Matched: true, Memory: minMemory})
	w := &wire{r: r}
	limit := r.flows.limit
	var first []uint64
	for i := range limit + 10 {
		first = append(first, w.packet(uint16(i+1), packet.SYN, 0, 0))
	}
	if n := len(r.flows.index); n != limit || limit < 100 {
		t.Errorf("%d flows, the limit is %d", n, limit)
	}
	for i, n := range first {
		if err := r.Exchange(w.exchange(uint16(i+1), n, n, n, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	if c := r.Counters(); c.Evicted != 10 || c.Incomplete != 10 || c.Written != uint64(limit) || c.Uncommented != 10 {
		t.Errorf("%+v", c)
	}
}

// TestUnmatchedLetsGo: what no later exchange can need goes at once.
func TestUnmatchedLetsGo(t *testing.T) {
	r := New([]File{&disk{}}, Options{Matched: true})
	w := &wire{r: r}
	syn := w.packet(1000, packet.SYN, 0, 0)
	var n [6]uint64
	for i := range n {
		n[i] = w.packet(1000, packet.ACK, uint32(1+100*i), 100)
	}
	kept := func() int { return r.pages.used }
	r.Unmatched(w.exchange(1000, syn, n[1], n[2], 0))
	if kept() != 6 {
		t.Errorf("%d packets are kept behind the first exchange, want 6", kept())
	}
	r.Unmatched(w.exchange(1000, syn, n[4], n[4], 2)) // before the second
	if kept() != 6 {
		t.Errorf("%d packets are kept while an exchange is missing, want 6", kept())
	}
	r.Unmatched(w.exchange(1000, syn, n[3], n[4], 1))
	r.Unmatched(w.exchange(1000, syn, n[5], n[5], 3))
	if kept() != 2 {
		t.Errorf("%d packets are kept behind the last exchange, want the handshake and its own", kept())
	}
	// Once the connection has closed, and later exchanges have come, all goes.
	w.packet(1000, packet.RST, 601, 0)
	late := w.exchange(2000, 1, 1, 1, 0)
	late.Completed.Time = 1e12
	r.Unmatched(late)
	if kept() != 0 || len(r.flows.index) != 0 {
		t.Errorf("%d packets are kept of a closed connection", kept())
	}
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
}

// settle waits until the writer has written all that it was given.
func settle(r *Recorder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush = true
	r.work.Signal()
	for r.queued+r.writing > 0 {
		r.space.Wait()
	}
}

// TestSlowWriter: a live capture isn't held up; what has no room is counted, and said of the next packet.
func TestSlowWriter(t *testing.T) {
	d := disk{gate: make(chan struct{}), writes: make(chan struct{}, 1<<16)}
	r := New([]File{&d}, Options{Live: true, Memory: minMemory})
	w := &wire{r: r}
	<-d.writes // the writer is stuck at the section header
	for i := range 2000 {
		w.packet(1000, packet.ACK, uint32(1000*i), 1000)
	}
	dropped := r.Counters().Dropped
	if dropped == 0 || dropped == 2000 {
		t.Fatalf("%d of 2000 packets are dropped", dropped)
	}
	close(d.gate) // from now on it writes
	settle(r)
	w.packet(1000, packet.ACK, 1e7, 1000)
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	all := blocks(t, d.data)
	var said, packets uint64
	for _, b := range all {
		if b.kind == blockPacket {
			packets++
			for _, v := range b.options[packetDrops] {
				said += binary.LittleEndian.Uint64([]byte(v))
			}
		}
	}
	c := r.Counters()
	if said != dropped || packets != c.Written || c.Dropped != dropped {
		t.Errorf("the file says %d dropped and has %d: %+v", said, packets, c)
	}
	last := all[len(all)-1]
	if v := binary.LittleEndian.Uint64([]byte(last.options[statisticsOSDrop][0])); last.kind != blockStatistics || v != dropped {
		t.Errorf("the statistics say %d dropped, want %d", v, dropped)
	}
	_, src := read(t, d.data)
	if got := src.Taps()[0].Dropped; got != dropped {
		t.Errorf("the reader says %d dropped, want %d", got, dropped)
	}
	if want := fmt.Sprintf("%d packets that came faster", dropped); !strings.Contains(r.Lost(), want) {
		t.Errorf("%q", r.Lost())
	}
}

// TestSlowWriterOfExchanges: the same for selected exchanges, which then lack packets.
func TestSlowWriterOfExchanges(t *testing.T) {
	d := disk{gate: make(chan struct{}), writes: make(chan struct{}, 1<<16)}
	r := New([]File{&d}, Options{Live: true, Matched: true, Memory: minMemory})
	w := &wire{r: r}
	<-d.writes
	for i := range 2000 {
		n := w.packet(1000, packet.ACK, uint32(1000*i), 1000)
		if err := r.Exchange(w.exchange(1000, 1, n, n, uint32(i))); err != nil {
			t.Fatal(err)
		}
	}
	close(d.gate)
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	got, _ := read(t, d.data)
	c := r.Counters()
	if lost := c.Evicted + c.Dropped; lost == 0 || c.Incomplete != lost || uint64(len(got)) != c.Written || c.Written < 100 {
		t.Errorf("%d packets: %+v", len(got), c)
	}
}

// TestSlowWriterHoldsUpFiles: a capture from files waits for the writer.
func TestSlowWriterHoldsUpFiles(t *testing.T) {
	d := disk{gate: make(chan struct{}), writes: make(chan struct{}, 1<<16)}
	r := New([]File{&d}, Options{Memory: minMemory})
	<-d.writes
	done := make(chan *wire)
	go func() {
		w := &wire{r: r}
		for i := range 5000 {
			w.packet(1000, packet.ACK, uint32(1000*i), 1000)
		}
		done <- w
	}()
	var w *wire
	for w == nil {
		select {
		case d.gate <- struct{}{}:
		case w = <-done:
		}
	}
	close(d.gate)
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	got, _ := read(t, d.data)
	same(t, got, w.sent)
}

// TestFullDisk: the recording ends, the analysis doesn't, and the file can be read.
func TestFullDisk(t *testing.T) {
	for _, o := range []Options{{}, {Live: true}, {Matched: true}, {Pipe: true}} {
		for _, full := range []int64{10, 500, 300e3, 1e6} {
			o.Memory = minMemory
			d := disk{full: full}
			r := New([]File{&d}, o)
			w := &wire{r: r}
			var broken error
			// Live, what the writer has no time for is dropped: it goes on until enough was written.
			for i := 0; i < 3000 || o.Live && r.Err() == nil && i < 300_000; i++ {
				if i >= 3000 {
					runtime.Gosched()
				}
				n := w.packet(1000, packet.ACK, uint32(1000*i), 1000)
				if err := r.Exchange(w.exchange(1000, 1, n, n, uint32(i))); err != nil {
					broken = err
				}
				if err := r.Flush(); err != nil {
					broken = err
				}
			}
			err := closeOf(t, r)
			if !errors.Is(err, errFull) || !strings.HasPrefix(err.Error(), "recording stopped: no space left") {
				t.Fatalf("%+v, full at %d: %v", o, full, err)
			}
			if broken != nil && !o.Pipe {
				t.Errorf("%+v: %v ends the run", o, broken)
			}
			if o.Pipe && full == 10 && !errors.Is(broken, errFull) {
				t.Errorf("%+v: a broken pipe doesn't end the run", o)
			}
			c := r.Counters()
			if c.Failed == 0 || !strings.Contains(r.Lost(), "couldn't be written any more") {
				t.Errorf("%+v: %+v, %q", o, c, r.Lost())
			}
			if o.Pipe || full < 500 {
				continue
			}
			got, _ := read(t, d.data)
			if uint64(len(got)) != c.Written {
				t.Errorf("%+v, full at %d: %d packets, %d are counted as written", o, full, len(got), c.Written)
			}
			if n := numbers(t, got, w.sent); !slices.IsSorted(n) || !o.Live && len(n) > 0 && n[len(n)-1] != len(n) {
				t.Errorf("%+v, full at %d: packets %v", o, full, n)
			}
		}
	}
}

// TestLittleToWrite: when memory is full although little waits to be written, a capture from files goes on.
func TestLittleToWrite(t *testing.T) {
	for _, o := range []Options{{}, {Matched: true}} {
		o.Memory = minMemory
		r := New([]File{&disk{}}, o)
		w := &wire{r: r}
		n := w.packet(1000, packet.ACK, 1, 100)
		if err := r.Exchange(w.exchange(1000, n, n, n, 0)); err != nil {
			t.Fatal(err)
		}
		r.Unmatched(w.exchange(3000, 1, 1, 1, 0)) // commits the other
		for i := range 3 {
			w.packet(2000, packet.ACK, uint32(i*700_000), 700_000)
		}
		if err := closeOf(t, r); err != nil {
			t.Fatal(err)
		}
		if c := r.Counters(); c.Dropped > 0 || c.Incomplete > 0 || c.Written == 0 {
			t.Errorf("%+v: %+v", o, c)
		}
	}
}

// TestEnormousPackets: a packet larger than the memory is dropped, one larger than what readers take is cut.
func TestEnormousPackets(t *testing.T) {
	var d disk
	r := New([]File{&d}, Options{})
	rec := capture.Record{Time: 1, Number: 1, Data: make([]byte, 17<<20), WireLen: 17 << 20, Link: 1}
	r.Packet(&rec, nil, nil)
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, d.data); len(got) != 1 || len(got[0].Data) != maxPacket || got[0].WireLen != 17<<20 {
		t.Errorf("%d packets", len(got))
	}
	small := New([]File{&disk{}}, Options{Memory: minMemory})
	small.Packet(&rec, nil, nil)
	if err := closeOf(t, small); err != nil || small.Counters().Dropped != 1 {
		t.Errorf("%v, %+v", err, small.Counters())
	}
}

// TestTrailing: once an exchange has been written, so is the end of its connection when it comes,
// and nothing of what is new.
func TestTrailing(t *testing.T) {
	var d disk
	r := New([]File{&d}, Options{Matched: true})
	w := &wire{r: r}
	syn := w.packet(1000, packet.SYN, 0, 0)
	n := w.packet(1000, packet.ACK, 1, 100)
	if err := r.Exchange(w.exchange(1000, syn, n, n, 0)); err != nil {
		t.Fatal(err)
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	w.packet(1000, packet.ACK, 101, 0)
	w.packet(1000, packet.ACK, 1, 100)   // again
	w.packet(1000, packet.ACK, 101, 100) // new
	w.packet(1000, packet.ACK, 1, 100)   // once more
	w.packet(1000, packet.ACK|packet.FIN, 201, 0)
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	got, _ := read(t, d.data)
	if n := numbers(t, got, w.sent); !slices.Equal(n, []int{1, 2, 3, 4, 6}) {
		t.Error(n)
	}
}

// TestPortUsedAgain: a connection that takes over the ports of another has its own handshake and exchanges.
func TestPortUsedAgain(t *testing.T) {
	var d disk
	r := New([]File{&d}, Options{Matched: true})
	w := &wire{r: r}
	for i := range 3 {
		syn := w.packet(1000, packet.SYN, uint32(i*1000), 0)
		n := w.packet(1000, packet.ACK, uint32(i*1000+1), 100)
		// Exchanges of others come, long after the connection that used the ports before has closed.
		other := w.exchange(2000, 1, 1, 1, 0)
		other.Completed.Time = int64(i) * 1e10
		r.Unmatched(other)
		w.packet(1000, packet.RST, uint32(i*1000+101), 0)
		x := w.exchange(1000, syn, n, n, 0)
		if i == 0 {
			r.Unmatched(x)
		} else if err := r.Exchange(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	got, _ := read(t, d.data)
	if n := numbers(t, got, w.sent); !slices.Equal(n, []int{4, 5, 6, 7, 8, 9}) {
		t.Error(n)
	}
}

func TestDroppedByTheKernel(t *testing.T) {
	taps := []capture.Tap{{Name: "eth0", SnapLen: 262144, Filter: "port 80", Observer: "web1"}}
	var d disk
	r := New([]File{&d}, Options{Live: true, Taps: func() []capture.Tap { return taps }})
	w := &wire{r: r}
	w.packet(1000, packet.ACK, 0, 10)
	taps[0].Received, taps[0].Dropped, taps[0].IfDropped = 2, 7, 3
	w.number = uint64(2 * time.Second / time.Millisecond)
	w.packet(1000, packet.ACK, 10, 10)
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range blocks(t, d.data) {
		if b.kind != blockSection {
			text := fmt.Sprint(b.kind)
			for code := range uint16(20) {
				for _, v := range b.options[code] {
					text += fmt.Sprintf(" %d:%q", code, v)
				}
			}
			got = append(got, text)
		}
	}
	want := []string{
		`1 2:"eth0" 3:"captured on web1" 9:"\t" 11:"\x00port 80"`,
		`6`,
		`6 4:"\a\x00\x00\x00\x00\x00\x00\x00"`,
		`5 2:"\x00\x00\x00\x00@B\x0f\x00" 3:"\x00\x00\x00\x00@\xd6Dw" 4:"\t\x00\x00\x00\x00\x00\x00\x00"` +
			` 5:"\x03\x00\x00\x00\x00\x00\x00\x00" 6:"\x02\x00\x00\x00\x00\x00\x00\x00" 7:"\a\x00\x00\x00\x00\x00\x00\x00"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	_, src := read(t, d.data)
	if tap := src.Taps()[0]; tap.Dropped != 7 || tap.IfDropped != 3 || tap.Name != "eth0" {
		t.Errorf("%+v", tap)
	}
}
