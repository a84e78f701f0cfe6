package packets

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/packet"
)

// TestChoose: which packets of a connection are taken for the exchange of packets 10 to 20. Each is written as its number,
// its side (> from the client), its flags and the sequence numbers of its payload.
func TestChoose(t *testing.T) {
	type p struct {
		number   uint64
		side     byte
		flags    string
		seq, end uint32
	}
	opening := []p{{1, '>', "S", 99, 99}, {2, '<', "SA", 499, 499}, {3, '>', "A", 100, 100}}
	for _, c := range []struct {
		name string
		all  []p
		want string // a letter each: x is taken
	}{
		{"alone", []p{{10, '>', "A", 100, 200}, {11, '<', "A", 500, 500}, {20, '<', "A", 500, 600}}, "xxx"},
		{"the opening, and not what lies between", append(opening, p{4, '>', "A", 100, 150}, p{5, '<', "A", 500, 550}, p{10, '>', "A", 150, 200}), "xxx..x"},
		{"an opening that was sent again", append([]p{opening[0], opening[0]}, opening[1], opening[2], p{10, '>', "A", 100, 200}), "xxxxx"},
		{"the opening of the right connection", append([]p{{1, '>', "S", 7, 7}, {2, '>', "R", 8, 8}}, append(opening, p{10, '>', "A", 100, 200})...), "..xxxx"},
		{"an acknowledgement with data is no opening", []p{opening[0], opening[1], {3, '>', "A", 100, 150}, {10, '>', "A", 150, 200}}, "xx.x"},
		{"an early segment", []p{{8, '>', "A", 150, 200}, {9, '<', "A", 500, 500}, {10, '>', "A", 100, 150}}, "x.x"},
		{"data sent again before it isn't early", []p{{8, '>', "A", 50, 100}, {10, '>', "A", 100, 150}}, ".x"},
		{"trailing acknowledgements", []p{{10, '>', "A", 100, 200}, {20, '<', "A", 500, 600}, {21, '>', "A", 200, 200}, {22, '>', "A", 200, 300}, {23, '<', "A", 600, 600}}, "xxx.."},
		{"data of a hole", []p{{10, '>', "A", 100, 200}, {20, '<', "A", 550, 600}, {21, '<', "A", 500, 550}, {22, '<', "A", 600, 700}}, "xxx."},
		{"the end, however late", []p{{10, '>', "A", 100, 200}, {22, '>', "A", 200, 300}, {23, '<', "A", 600, 600}, {30, '>', "FA", 300, 300}, {31, '<', "R", 600, 600}}, "x..xx"},
		{"an end with the data of another", []p{{10, '>', "A", 100, 200}, {22, '<', "FA", 600, 700}}, "x."},
		{"another connection", []p{{10, '>', "A", 100, 200}, {21, '>', "S", 900, 900}, {22, '<', "R", 0, 0}}, "x.."},
	} {
		q := Query{Proto: packet.ProtoTCP, Start: 10e6, End: 20e6, First: 10, Last: 20}
		var all []candidate
		for _, x := range c.all {
			f := byte(0)
			for _, letter := range x.flags {
				f |= map[rune]byte{'S': packet.SYN, 'A': packet.ACK, 'F': packet.FIN, 'R': packet.RST}[letter]
			}
			all = append(all, candidate{
				time: int64(x.number) * 1e6, number: x.number, seq: x.seq, end: x.end, flags: f, fromLo: x.side == '>', payload: x.end != x.seq,
				opens: f&(packet.SYN|packet.ACK) == packet.SYN, closes: f&(packet.FIN|packet.RST) != 0,
			})
		}
		var got strings.Builder
		for _, is := range q.choose(all).chosen {
			got.WriteByte(map[bool]byte{true: 'x', false: '.'}[is])
		}
		if got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, &got, c.want)
		}
	}
}

// TestIndexThatLies: packets of other connections aren't taken although the index says that they are of this one, and
// what is no packet is counted.
func TestIndexThatLies(t *testing.T) {
	dir := t.TempDir()
	r := openRing(t, dir, testOptions())
	l, k := newLoad(4, 200), r.Keeper(eth0, false)
	for range 40 {
		l.give(k)
	}
	closeRing(t, r)
	f, err := os.Open(path(dir, 1, dataName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := read(f)
	if err != nil {
		t.Fatal(err)
	}
	q := l.query(1, 2, 38)
	key := q.key()
	for i := range c.entries {
		c.entries[i].hash = hashOf(labelHash("eth0"), &key)
	}
	c.entries = append(c.entries, entry{hash: c.entries[0].hash, time: c.from, at: c.entries[39].at + 1})
	if _, err := writeIndex(dir, 1, &c); err != nil {
		t.Fatal(err)
	}
	if n, err := (&Folder{Dir: dir}).Write(io.Discard, q); err != nil || n.Packets != 10 || n.Damaged != 1 {
		t.Errorf("%+v, %v", n, err)
	}
	q.Tap = "eth1"
	for i := range c.entries {
		c.entries[i].hash = hashOf(labelHash("eth1"), &key)
	}
	if _, err := writeIndex(dir, 1, &c); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Folder{Dir: dir}).Write(io.Discard, q); !errors.Is(err, ErrGone) {
		t.Errorf("of another tap: %v", err)
	}
}

// TestTapsAcrossFiles: two interfaces that are described alike are told apart in each file, whichever of them has packets
// there.
func TestTapsAcrossFiles(t *testing.T) {
	taps := []capture.Tap{{File: "/x/a.pcap"}, {File: "/x/a.pcap"}}
	var src []capture.Record
	for _, p := range small(t, 100) {
		for tap := range uint32(2) {
			p.Tap, p.Number, p.Time = tap, uint64(len(src)+1), p.Time+int64(tap)*700
			src = append(src, p)
		}
	}
	var want []Count
	for _, size := range []int64{1 << 20, 1} {
		dir := t.TempDir()
		o := testOptions()
		o.FileSize = size
		r := openRing(t, dir, o)
		all := trace(t, &flushing{memory: &memory{records: src, taps: taps}, each: 1, ring: r}, r.Keeper(func() []capture.Tap { return taps }, false))
		closeRing(t, r)
		for i := range all {
			var b bytes.Buffer
			n, err := (&Folder{Dir: dir}).Write(&b, all[i].query)
			if err != nil {
				t.Fatal(err)
			}
			if size > 1 {
				want = append(want, n)
			} else if n != want[i] {
				t.Errorf("exchange %d: %+v, want %+v", i, n, want[i])
			}
		}
	}
	if len(want) < 10 {
		t.Errorf("%d exchanges", len(want))
	}
}
