package packets

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
)

// small are the first packets of a scenario that are kept.
func small(t testing.TB, n int) (all []capture.Record) {
	for _, r := range scenario(t, "demo", 0) {
		if len(all) < n && (r.Data[14]>>4 == 4 && r.Data[23] == 6 || r.Data[14]>>4 == 6 && r.Data[20] == 6) {
			all = append(all, r)
		}
	}
	return all
}

// TestIndexMadeAgain: an index that is missing or damaged is made again, with the same bytes.
func TestIndexMadeAgain(t *testing.T) {
	for name, src := range map[string]capture.Source{
		"demo": source1(scenario(t, "demo", 0)), "lossy": source1(scenario(t, "lossy", 1<<20)), "flows": source1(scenario(t, "flows", 1<<20)),
		"fragments": source1(fragmented(t)), "networks": source1(inNetworks(scenario(t, "demo", 0))),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := openRing(t, dir, testOptions())
			keep(t, r, src)
			closeRing(t, r)
			before := r.Counters()
			want, err := os.ReadFile(path(dir, 1, indexName))
			if err != nil {
				t.Fatal(err)
			}
			for what, spoil := range map[string]func() error{
				"missing": func() error { return os.Remove(path(dir, 1, indexName)) },
				"damaged": func() error { return os.WriteFile(path(dir, 1, indexName), want[:7], 0o600) },
				"of a shorter file": func() error {
					return os.WriteFile(path(dir, 1, indexName), encodeIndex(summary{length: 8}, nil, nil), 0o600)
				},
			} {
				if err := spoil(); err != nil {
					t.Fatal(err)
				}
				r = openRing(t, dir, testOptions())
				after := r.Counters()
				if after.Bytes != before.Bytes || after.Files != before.Files || after.Oldest != before.Oldest || after.Files != 1 {
					t.Errorf("%s: %+v, want %+v", what, after, before)
				}
				closeRing(t, r)
				if got, err := os.ReadFile(path(dir, 1, indexName)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, want %d: %v", what, len(got), len(want), err)
				}
			}
			c := r.Counters()
			t.Logf("%d bytes of index for %d packets, %.2f each", len(want), before.Written, float64(len(want))/float64(before.Written))
			_ = c
		})
	}
}

// TestDamagedIndexIsNotBelieved: whatever byte of an index is wrong, a reader finds the same.
func TestDamagedIndexIsNotBelieved(t *testing.T) {
	dir := t.TempDir()
	r := openRing(t, dir, testOptions())
	all := keep(t, r, source1(small(t, 60)))
	closeRing(t, r)
	name := path(dir, 1, indexName)
	index, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	folder := Folder{Dir: dir}
	if _, err := folder.Write(&want, all[0].query); err != nil {
		t.Fatal(err)
	}
	for i := range index {
		spoilt := bytes.Clone(index)
		spoilt[i] ^= 0x41
		if err := os.WriteFile(name, spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if _, err := folder.Write(&got, all[0].query); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Fatalf("with byte %d changed: %d bytes, want %d: %v", i, got.Len(), want.Len(), err)
		}
	}
}

// TestTorn: wherever a crash has torn the last file, what comes before the torn block is there, and writing goes on.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	src := small(t, 8)
	r := openRing(t, dir, testOptions())
	keep(t, r, source1(src))
	closeRing(t, r)
	whole, err := os.ReadFile(path(dir, 1, dataName))
	if err != nil {
		t.Fatal(err)
	}
	var ends []int64 // of packets
	if _, err := scan(bytes.NewReader(whole), func(at int64, b []byte) bool {
		if _, ok := parsePacket(b); ok {
			ends = append(ends, at+int64(len(b)))
		}
		return true
	}); err != nil || len(ends) != len(src) {
		t.Fatalf("%d packets: %v", len(ends), err)
	}
	tails := []string{"", "\x06\x00\x00\x00\x40\x00\x00\x00 not all of it", string(make([]byte, 64)), strings.Repeat("\xff", 64)}
	dir = t.TempDir()
	for n := range whole {
		for _, tail := range tails[n%2*2:][:2] {
			dir := filepath.Join(dir, "packets")
			torn := append(bytes.Clone(whole[:n]), tail...)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path(dir, 7, dataName), torn, 0o600); err != nil {
				t.Fatal(err)
			}
			want := 0
			for want < len(ends) && bytes.HasPrefix(torn, whole[:ends[want]]) { // a tail may be what was torn off
				want++
			}
			r := openRing(t, dir, testOptions())
			keep(t, r, source1(src[:2]))
			closeRing(t, r)
			got, files := 0, 0
			for _, seq := range []uint64{7, 8} {
				if _, err := os.Stat(path(dir, seq, dataName)); err != nil {
					continue
				}
				files++
				src := openFile(t, path(dir, seq, dataName))
				got += len(packetsOf(t, src))
				if w := src.Warnings(); len(w) > 0 {
					t.Fatalf("torn at %d: %q", n, w)
				}
				src.Close()
			}
			if got != want+2 {
				t.Fatalf("torn at %d: %d packets, want %d and 2", n, got, want)
			}
			if want == 0 && files != 1 {
				t.Fatalf("torn at %d: a file without packets is left", n)
			}
			os.RemoveAll(dir)
		}
	}
}

// TestLeftOver: what a crash leaves beside the files is cleared away, and what isn't the ring's isn't touched.
func TestLeftOver(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"000003.index", "000004.index.tmp", "notes.txt", "1.pcapng"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := openRing(t, dir, testOptions())
	keep(t, r, source1(small(t, 10)))
	closeRing(t, r)
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range found {
		names = append(names, filepath.Base(name))
	}
	if got, want := len(names), 4; got != want || names[0] != "000004.index" || names[1] != "000004.pcapng" {
		t.Errorf("%q", names)
	}
}

// disk is a file on a disk that may be full, or slow.
type disk struct {
	*os.File
	left  *int64 // bytes, if not nil
	gate  chan struct{}
	stuck bool // it can't be cut
}

func (d *disk) Write(b []byte) (int, error) {
	if d.gate != nil {
		<-d.gate
	}
	n := len(b)
	if d.left != nil {
		n = int(min(int64(n), *d.left))
		*d.left -= int64(n)
	}
	if k, err := d.File.Write(b[:n]); err != nil {
		return k, err
	}
	if n < len(b) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (d *disk) Truncate(size int64) error {
	if d.stuck {
		return syscall.EIO
	}
	return d.File.Truncate(size)
}

// onDisk opens a ring whose files are made by wrap.
func onDisk(t testing.TB, dir string, o Options, wrap func(f *os.File) appended) *Ring {
	t.Helper()
	r := openRing(t, dir, o)
	r.files.create = func(name string) (appended, error) {
		f, err := create(name)
		if err != nil {
			return nil, err
		}
		return wrap(f.(*os.File)), nil
	}
	return r
}

// TestFullDisk: packets that find no room are dropped and counted with a message, and others are kept when there is
// room again. The files stay sound.
func TestFullDisk(t *testing.T) {
	src := small(t, 60)
	for _, stuck := range []bool{false, true} {
		for room := int64(0); room < 3000; room += 97 {
			dir := t.TempDir()
			left := room
			r := onDisk(t, dir, testOptions(), func(f *os.File) appended { return &disk{File: f, left: &left, stuck: stuck} })
			k := r.Keeper(source1(src).Taps, false)
			give := func(part []capture.Record) {
				trace(t, &memory{records: part, taps: source1(nil).taps}, k)
				r.sync()
			}
			give(src[:10])
			give(src[10:20])
			failed := r.Err()
			if c := r.Counters(); c.Written+c.Failed != 20 || c.Failed > 0 != (failed != nil || c.Written > 0 && c.Failed > 0) {
				t.Fatalf("room for %d bytes: %+v, %v", room, c, failed)
			}
			if failed != nil && !errors.Is(failed, syscall.ENOSPC) {
				t.Fatal(failed)
			}
			left = 1 << 30
			give(src[20:])
			if err := r.Err(); err != nil {
				t.Fatalf("room for %d bytes, and then more: %v", room, err)
			}
			c := r.Counters()
			if c.Written != uint64(len(src))-c.Failed {
				t.Fatalf("room for %d bytes, and then more: %+v", room, c)
			}
			if (c.Failed > 0) != (r.Lost() != "") {
				t.Fatalf("%+v: %q", c, r.Lost())
			}
			closeRing(t, r)
			got := 0
			seqs, err := list(dir, dataName)
			if err != nil {
				t.Fatal(err)
			}
			for _, seq := range seqs {
				f, err := os.Open(path(dir, seq, dataName))
				if err != nil {
					t.Fatal(err)
				}
				held, err := read(f)
				if err != nil {
					t.Fatal(err)
				}
				info, _ := f.Stat()
				if !stuck && held.length != info.Size() {
					t.Fatalf("room for %d bytes: %d of %d bytes are sound", room, held.length, info.Size())
				}
				f.Close()
				got += int(held.packets)
			}
			if uint64(got) != c.Written && (!stuck || uint64(got) < c.Written) { // what couldn't be cut off may be sound
				t.Fatalf("room for %d bytes: %d packets in the files, want %d", room, got, c.Written)
			}
			os.RemoveAll(dir)
		}
	}
}

// TestFolderTakenAway: when somebody deletes the folder, the next file is begun in a new one.
func TestFolderTakenAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "packets")
	o := testOptions()
	o.FileSize = 1 // each buffer has a file
	r := openRing(t, dir, o)
	src := small(t, 20)
	k := r.Keeper(source1(src).Taps, false)
	trace(t, source1(src[:10]), k)
	r.sync()
	r.files.indexing.Wait()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	trace(t, source1(src[10:]), k)
	closeRing(t, r)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Stat(path(dir, 2, dataName)); err != nil {
		t.Error(err)
	}
	var gone Query
	if _, err := r.Write(io.Discard, gone); !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
}
