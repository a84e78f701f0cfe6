package packets

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
)

// FuzzIndex: whatever an index is, looking something up in it ends, takes memory in proportion to it, and gives places
// within the file that it is about.
func FuzzIndex(f *testing.F) {
	all := []entry{{hash: 1, time: 5, at: 7}, {hash: 9, time: 6, at: 90, control: true}, {hash: 9, time: 3, at: 200}}
	f.Add(encodeIndex(summary{length: 4000, packets: 3, from: 3, to: 6}, []iface{{at: 12}}, all), uint64(9), true)
	f.Add(encodeIndex(summary{}, nil, nil), uint64(0), false)
	f.Fuzz(func(t *testing.T, b []byte, hash uint64, seal bool) {
		if seal && len(b) >= indexHeader+indexTrailer { // so that checksums don't protect the rest
			b = bytes.Clone(b)
			copy(b, indexMagic)
			sum := checksum(b[:indexHeader-4])
			b[indexHeader-4], b[indexHeader-3], b[indexHeader-2], b[indexHeader-1] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
			n := len(b) - indexTrailer
			sum = checksum(b[:n])
			b[n], b[n+1], b[n+2], b[n+3] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		}
		chunks, ifaces, err := findChunks(b, hash)
		if len(ifaces)*indexIface > len(b) {
			t.Fatalf("%d interfaces in %d bytes", len(ifaces), len(b))
		}
		s, _ := decodeSummary(b)
		n := 0
		for _, c := range chunks {
			n += len(c.refs)
			for _, r := range c.refs {
				if int64(r.at)*unit > s.length {
					t.Fatalf("a packet at %d of %d", int64(r.at)*unit, s.length)
				}
			}
			if err == nil && (c.from > c.to || c.from < s.from || c.to > s.to) {
				t.Fatalf("a chunk from %d to %d in a file from %d to %d", c.from, c.to, s.from, s.to)
			}
		}
		if n > len(b) {
			t.Fatalf("%d packets in %d bytes", n, len(b))
		}
	})
}

// FuzzEntries: what an index was made of is found in it.
func FuzzEntries(f *testing.F) {
	f.Add([]byte("abcabdabe..."))
	f.Fuzz(func(t *testing.T, b []byte) {
		var all []entry
		s := summary{}
		at := uint32(0)
		for ; len(b) >= 3; b = b[3:] {
			at += uint32(b[0]) * 7
			e := entry{hash: uint64(b[1] % 16), time: int64(b[2]), at: at, control: b[0]%2 == 0}
			s.note(e.time)
			all = append(all, e)
		}
		s.length = int64(at)*unit + 100
		index := encodeIndex(s, nil, slices.Clone(all))
		for hash := range uint64(17) {
			got, _, err := findChunks(index, hash)
			want := collect(all, hash)
			if err != nil || len(got) != len(want) {
				t.Fatalf("%d chunks, want %d: %v", len(got), len(want), err)
			}
			for i := range got {
				if got[i].from != want[i].from || got[i].to != want[i].to || !slices.Equal(got[i].refs, want[i].refs) {
					t.Fatalf("%+v, want %+v", got[i], want[i])
				}
			}
		}
	})
}

// FuzzFile: whatever a file of the ring holds, reading it ends, keeps to what is sound, and opening the ring and looking
// something up don't fail for it.
func FuzzFile(f *testing.F) {
	dir := f.TempDir()
	r := openRing(f, dir, testOptions())
	all := keep(f, r, source1(small(f, 12)))
	r.Close()
	whole, err := os.ReadFile(path(dir, 1, dataName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-5])
	q := all[0].query
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := read(bytes.NewReader(b))
		if err != nil || c.length > int64(len(b)) || len(c.entries) > len(b)/32 {
			t.Fatalf("%d of %d bytes are sound: %v", c.length, len(b), err)
		}
		if again, _ := read(bytes.NewReader(b[:c.length])); again.length != c.length || !slices.Equal(again.entries, c.entries) {
			t.Fatal("what is sound isn't, read again")
		}
		dir := t.TempDir()
		if err := os.WriteFile(path(dir, 1, dataName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		var before, after bytes.Buffer
		n, err := (&Folder{Dir: dir, Application: "culprit test"}).Write(&before, q)
		if err != nil && !errors.Is(err, ErrGone) {
			t.Fatal(err)
		}
		r := openRing(t, dir, testOptions())
		if m, e := r.Write(&after, q); m != n || !errors.Is(e, err) || !bytes.Equal(before.Bytes(), after.Bytes()) {
			t.Fatalf("%+v, %v; with an index %+v, %v", n, err, m, e)
		}
		q := q
		q.Connection = true
		_, _ = r.Write(io.Discard, q)
		r.Close()
	})
}
