package packets

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/packet"
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
		frame := make([]byte, size)
		copy(frame[12:], "\x08\x00\x45\x00")
		frame[16], frame[17] = byte((size-14)>>8), byte(size-14)
		frame[23] = packet.ProtoTCP
		copy(frame[26:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
		frame[34], frame[35], frame[37], frame[46], frame[47] = byte((i+1)>>8), byte(i+1), 80, 5<<4, packet.ACK
		l.rec[i] = capture.Record{Time: 1e18, Data: frame, WireLen: size, Link: 1}
		l.p[i] = packet.Packet{
			Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), SrcPort: uint16(i + 1), DstPort: 80, Proto: packet.ProtoTCP,
			Flags: packet.ACK, PayloadLen: size - 54,
		}
		l.keys[i], _ = l.p[i].Key()
	}
	return l
}

func addr(s string) packet.Addr { return netip.MustParseAddr(s).As16() }

func (l *load) give(k *Keeper) int {
	i := int(l.n % uint64(len(l.rec)))
	l.n++
	rec, p := &l.rec[i], &l.p[i]
	rec.Time = 1e18 + int64(l.n)*1e6
	rec.Number, p.Time, p.Number = l.n, rec.Time, l.n
	k.Packet(rec, p, &l.keys[i])
	return i
}

// query asks for the packets of a connection of the load.
func (l *load) query(i int, first, last uint64) Query {
	p := &l.p[i]
	return Query{
		Tap: "eth0", Addr: [2]packet.Addr{p.Src, p.Dst}, Port: [2]uint16{p.SrcPort, p.DstPort}, Proto: p.Proto,
		Start: 1e18 + int64(first)*1e6, End: 1e18 + int64(last)*1e6, First: first, Last: last,
	}
}

func eth0() []capture.Tap { return []capture.Tap{{Name: "eth0"}} }

// size returns what the files of a folder take.
func size(t testing.TB, dir string) (n int64) {
	t.Helper()
	found, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if info, err := f.Info(); err == nil { // it may have gone
			n += info.Size()
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", f.Name(), info.Mode())
			}
		}
	}
	return n
}

// TestRing: the oldest packets go, and never is there more than the limit.
func TestRing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store", "packets")
	o := testOptions()
	o.Limit, o.FileSize = 4<<20, 1<<20
	r := openRing(t, dir, o)
	l, k := newLoad(10, 1000), r.Keeper(eth0, false)
	for range 40 {
		for range 500 {
			l.give(k)
		}
		r.sync()
		if n := size(t, dir); n > o.Limit {
			t.Fatalf("%d bytes, the limit is %d", n, o.Limit)
		}
	}
	r.files.indexing.Wait()
	c := r.Counters()
	if n := size(t, dir); c.Bytes != n || n < o.Limit/2 || c.Written != 20_000 || c.Deleted < 15_000 || c.Deleted > 18_000 {
		t.Errorf("%+v, %d bytes", c, n)
	}
	if want := 1e18 + int64(c.Deleted+1)*1e6; c.Oldest != want {
		t.Errorf("the oldest packet is of %d, want %d", c.Oldest, want)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	for _, write := range []func(io.Writer, Query) (Count, error){r.Write, (&Folder{Dir: dir}).Write} {
		var b bytes.Buffer
		if n, err := write(&b, l.query(0, 1, 21)); !errors.Is(err, ErrGone) || b.Len() > 0 {
			t.Errorf("%+v, %v: the first packets are still there", n, err)
		}
	}
	if n, err := r.Write(io.Discard, l.query(0, 19_901, 19_991)); err != nil || n.Packets < 10 || !n.First || !n.Last {
		t.Errorf("%+v, %v", n, err)
	}
	if n, err := r.Write(io.Discard, l.query(0, 1, 19_991)); err != nil || n.Packets != (c.Written-c.Deleted)/10 || n.First || !n.Last {
		t.Errorf("%+v, %v, want %d", n, err, (c.Written-c.Deleted)/10)
	}
	closeRing(t, r)
	// With a smaller limit, what is too much goes at once.
	o.Limit = 2 << 20
	openRing(t, dir, o)
	if n := size(t, dir); n > o.Limit || n == 0 {
		t.Errorf("%d bytes, the limit is %d", n, o.Limit)
	}
}

// TestLargeFiles: the newest file counts as well.
func TestLargeFiles(t *testing.T) {
	dir := t.TempDir()
	o := testOptions()
	o.Limit, o.FileSize = 4<<20, 3<<20
	r := openRing(t, dir, o)
	l, k := newLoad(10, 1000), r.Keeper(eth0, false)
	for range 40 {
		for range 200 {
			l.give(k)
		}
		r.sync()
		if n := size(t, dir); n > o.Limit {
			t.Fatalf("%d bytes, the limit is %d", n, o.Limit)
		}
	}
}

// TestReadersGoOn: who reads goes on reading although the ring has deleted the file meanwhile.
func TestReadersGoOn(t *testing.T) {
	dir := t.TempDir()
	o := testOptions()
	o.Limit, o.FileSize = 4<<20, 1<<20
	r := openRing(t, dir, o)
	l, k := newLoad(1, 1000), r.Keeper(eth0, false)
	for range 900 {
		l.give(k)
	}
	want := l.n
	r.sync()
	once := false
	n, err := (&Folder{Dir: dir}).Write(writerFunc(func(b []byte) (int, error) {
		for !once && r.Counters().Deleted < want {
			l.give(k)
		}
		once = true
		return len(b), nil
	}), l.query(0, 1, want))
	if err != nil || n.Packets < want || n.Damaged != 0 || !n.Last {
		t.Errorf("%+v, %v", n, err)
	}
	if _, err := os.Stat(path(dir, 1, dataName)); err == nil {
		t.Error("the file wasn't deleted")
	}
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestAcrossFiles: an exchange in the middle of a long connection gets its handshake and its end from other files,
// whether these have an index or not.
func TestAcrossFiles(t *testing.T) {
	dir := t.TempDir()
	o := testOptions()
	o.FileSize = 1
	r := openRing(t, dir, o)
	src := scenario(t, "small", 200<<10)
	k := r.Keeper(eth0, false)
	c := config()
	c.Recorder = k
	// A file for every ten packets or so.
	all := trace(t, &flushing{memory: source1(src), each: 10, ring: r}, k)
	closeRing(t, r)
	if n := r.Counters().Files; n < 50 {
		t.Fatalf("%d files", n)
	}
	write := (&Folder{Dir: dir}).Write
	if missing := again(t, write, all[:40], false); len(missing) > 0 {
		t.Errorf("%d are missing", len(missing))
	}
	syns := 0
	out := t.TempDir()
	for i := range all[:40] {
		name, _ := place(t, out, write, all[i].query)
		var flags byte
		for _, p := range packetsOf(t, openFile(t, name)) {
			flags |= p.Data[47]
		}
		if flags&packet.SYN != 0 && flags&packet.FIN != 0 {
			syns++
		}
	}
	if syns != 40 {
		t.Errorf("%d of 40 have a handshake and an end", syns)
	}
	seqs, err := list(dir, indexName)
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range seqs {
		if seq%2 == 0 {
			_ = os.Remove(path(dir, seq, indexName))
		}
	}
	if missing := again(t, write, all[:40], false); len(missing) > 0 {
		t.Errorf("without indexes, %d are missing", len(missing))
	}
}

// flushing is a source that flushes a ring.
type flushing struct {
	*memory
	each int
	ring *Ring
}

func (f *flushing) Next(r *capture.Record) error {
	if f.at%f.each == 0 {
		f.ring.sync()
	}
	return f.memory.Next(r)
}

// TestSlowDisk: a live capture isn't held up: packets are dropped and counted, and the next one tells of them. Files
// are.
func TestSlowDisk(t *testing.T) {
	o := testOptions()
	o.Memory = 1 // the least
	gate := make(chan struct{})
	dir := t.TempDir()
	r := onDisk(t, dir, o, func(f *os.File) appended { return &disk{File: f, gate: gate} })
	l, k := newLoad(3, 1000), r.Keeper(eth0, true)
	for range 5000 {
		l.give(k)
	}
	c := r.Counters()
	if c.Dropped < 3000 || c.Dropped > 4500 {
		t.Errorf("%+v", c)
	}
	if !strings.Contains(r.Lost(), "came faster") {
		t.Errorf("%q", r.Lost())
	}
	close(gate)
	r.sync()
	l.give(k)
	files := r.Keeper(eth0, false)
	for range 5000 {
		l.give(files)
	}
	closeRing(t, r)
	if after := r.Counters(); after.Dropped != c.Dropped || after.Written != 10_001-c.Dropped {
		t.Errorf("%+v, %+v", c, after)
	}
	b, err := os.ReadFile(path(dir, 1, dataName))
	if err != nil {
		t.Fatal(err)
	}
	told := uint64(0)
	_, _ = scan(bytes.NewReader(b), func(_ int64, block []byte) bool {
		if p, ok := parsePacket(block); ok {
			for code, value := range options(block[packetHeader+(len(p.data)+3)&^3 : len(block)-4]) {
				if code == 4 {
					told += uint64(value[0]) | uint64(value[1])<<8
				}
			}
		}
		return true
	})
	if told != c.Dropped {
		t.Errorf("the file tells of %d dropped packets, want %d", told, c.Dropped)
	}
}

// TestBurst: of a large transfer, the beginning is kept; the other connections and the other side aren't touched.
func TestBurst(t *testing.T) {
	o := testOptions()
	o.Burst = 50_000
	r := openRing(t, t.TempDir(), o)
	l, k := newLoad(1, 1054), r.Keeper(eth0, false)
	other, k1 := newLoad(3, 200), r.Keeper(func() []capture.Tap { return []capture.Tap{{Name: "eth1"}} }, false)
	for range 100 {
		l.give(k)
		other.give(k1)
	}
	if c := r.Counters(); c.Cut != 50 {
		t.Errorf("%+v", c)
	}
	answer := l.rec[0]
	p := l.p[0]
	p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	k.Packet(&answer, &p, &l.keys[0])
	l.p[0].Flags = packet.FIN
	for range 60 {
		l.give(k)
	}
	closeRing(t, r)
	if c := r.Counters(); c.Cut != 50 || !strings.Contains(r.Lost(), "50 packets of large transfers") {
		t.Errorf("%+v: %s", c, r.Lost())
	}
}

// TestIndexMemory: a file ends when its index would take too much memory.
func TestIndexMemory(t *testing.T) {
	o := testOptions()
	o.IndexMemory = 1000 * entrySize
	r := openRing(t, t.TempDir(), o)
	l, k := newLoad(1000, 60), r.Keeper(eth0, false)
	for range 20 {
		for range 1000 {
			l.give(k)
		}
		r.sync()
	}
	if c := r.Counters(); c.Files != 20 {
		t.Errorf("%+v", c)
	}
}

func TestDeleteBefore(t *testing.T) {
	dir := t.TempDir()
	o := testOptions()
	o.FileSize = 1
	r := openRing(t, dir, o)
	l, k := newLoad(1, 100), r.Keeper(eth0, false)
	for range 10 {
		for range 10 {
			l.give(k)
		}
		r.sync()
	}
	r.DeleteBefore(1e18 + 36*1e6)
	if c := r.Counters(); c.Files != 7 || c.Deleted != 30 || c.Oldest != 1e18+31*1e6 {
		t.Errorf("%+v", c)
	}
	r.options.FileSize = 1 << 20
	l.give(k)
	r.sync()
	r.DeleteBefore(1e18 + 36*1e6) // the newest file has nothing as old, and goes on
	if c := r.Counters(); c.Files != 8 || r.files.current == nil {
		t.Errorf("%+v", c)
	}
	r.DeleteBefore(1 << 62)
	if c := r.Counters(); c.Files != 0 || c.Deleted != 101 || c.Bytes != 0 || c.Oldest != 0 {
		t.Errorf("%+v", c)
	}
	closeRing(t, r)
	if n := size(t, dir); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// TestFlushes: packets are written soon although nothing else comes.
func TestFlushes(t *testing.T) {
	o := testOptions()
	o.FlushEvery = time.Millisecond
	r := openRing(t, t.TempDir(), o)
	newLoad(1, 100).give(r.Keeper(eth0, true))
	r.mu.Lock()
	for r.gone == 0 {
		r.space.Wait()
	}
	r.mu.Unlock()
	if c := r.Counters(); c.Written != 1 {
		t.Errorf("%+v", c)
	}
}

// TestReadWhileWritten: others read while the ring is written, here by several keepers, and find what was flushed.
func TestReadWhileWritten(t *testing.T) {
	dir := t.TempDir()
	o := testOptions()
	o.FileSize, o.Limit = 300<<10, 64<<20
	r := openRing(t, dir, o)
	var keepers, readers sync.WaitGroup
	done := make(chan struct{})
	first := newLoad(4, 500)
	k := r.Keeper(eth0, false)
	for range 100 {
		first.give(k)
	}
	r.sync()
	for range 2 {
		keepers.Go(func() {
			l, k := newLoad(50, 700), r.Keeper(func() []capture.Tap { return []capture.Tap{{Name: "eth1"}} }, false)
			for range 6000 {
				l.give(k)
			}
		})
	}
	for _, write := range []func(io.Writer, Query) (Count, error){r.Write, (&Folder{Dir: dir}).Write} {
		readers.Go(func() {
			for {
				if n, err := write(io.Discard, first.query(1, 2, 98)); err != nil || n.Packets != 25 || n.Damaged != 0 {
					t.Errorf("%+v, %v", n, err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	keepers.Wait()
	close(done)
	readers.Wait()
	closeRing(t, r)
}

// TestManyInterfaces: packets of too many interfaces are dropped, and others aren't mixed up.
func TestManyInterfaces(t *testing.T) {
	r := openRing(t, t.TempDir(), testOptions())
	l, k := newLoad(1, 100), r.Keeper(func() []capture.Tap { return nil }, true)
	for i := range maxIfaces + 10 {
		l.rec[0].Tap = uint32(i)
		l.give(k)
	}
	l.rec[0].Tap = 7
	l.give(k)
	closeRing(t, r)
	if c := r.Counters(); c.Dropped != 10 || c.Written != maxIfaces+1 {
		t.Errorf("%+v", c)
	}
}

// TestEnormousPackets: a packet larger than a buffer is kept, up to what a file may have.
func TestEnormousPackets(t *testing.T) {
	dir := t.TempDir()
	o := testOptions()
	o.FileSize = 64 << 20
	r := openRing(t, dir, o)
	l, k := newLoad(1, 100), r.Keeper(eth0, true)
	for _, n := range []int{100, 1 << 20, 16 << 20, 100} {
		l.rec[0].Data = make([]byte, n)
		l.rec[0].WireLen = n
		l.give(k)
		r.sync()
	}
	closeRing(t, r)
	if c := r.Counters(); c.Written != 4 {
		t.Errorf("%+v", c)
	}
	got := packetsOf(t, openFile(t, path(dir, 1, dataName)))
	if len(got) != 4 || len(got[2].Data) != 15<<20 || got[2].WireLen != 16<<20 {
		t.Errorf("%d packets", len(got))
	}
	if r.memory != 0 {
		t.Errorf("%d bytes of memory are in use", r.memory)
	}
}

// TestOthersReadIt: Wireshark's tools read the files of the ring and what is extracted, with the packets' numbers and a
// comment.
func TestOthersReadIt(t *testing.T) {
	for _, tool := range []string{"capinfos", "tshark"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " isn't installed")
		}
	}
	dir := t.TempDir()
	r := openRing(t, dir, testOptions())
	all := keep(t, r, source1(scenario(t, "demo", 0)))
	name, count := place(t, t.TempDir(), r.Write, all[3].query)
	closeRing(t, r)
	for _, name := range []string{name, path(dir, 1, dataName)} {
		out, err := exec.Command("capinfos", name).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Name = eth0") || strings.Contains(string(out), "cut short") {
			t.Errorf("%v: %s", err, out)
		}
	}
	out, err := exec.Command("tshark", "-r", name, "-T", "fields", "-e", "frame.packet_id", "-e", "frame.comment", "-e", "http.request.uri").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if uint64(len(lines)) != count.Packets || !strings.Contains(string(out), "culprit: exchange 4: ") || !strings.Contains(string(out), " of the capture") {
		t.Errorf("%d packets: %s", count.Packets, out)
	}
	t.Logf("%s", out)
}

// TestSortEntries: also hashes that agree in the bits that are sorted by come in order.
func TestSortEntries(t *testing.T) {
	var all []entry
	for i := range uint32(3000) {
		e := entry{hash: uint64(i*2654435761%7)<<60 | uint64(i*40503%11), at: i}
		all = append(all, e)
	}
	got := sortEntries(all)
	for i := range got[1:] {
		if a, b := got[i], got[i+1]; a.hash > b.hash || a.hash == b.hash && a.at >= b.at {
			t.Fatalf("%+v comes before %+v", a, b)
		}
	}
}
