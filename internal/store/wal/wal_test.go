package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/culprit-http/culprit/internal/store/disk"
	"github.com/culprit-http/culprit/internal/store/faultfs"
)

func memory(seed uint64) *faultfs.FS { return faultfs.New(rand.New(rand.NewPCG(seed, 3))) }

func open(t testing.TB, f disk.FS, o Options) *Log {
	t.Helper()
	o.FS = f
	if o.Header == nil {
		o.Header = []byte("columns")
	}
	l, err := Open(folder, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content returns all records of a log.
func content(t testing.TB, l *Log) (all []string, r Report) {
	t.Helper()
	r, err := l.Replay(func(_ uint64, header, b []byte) error {
		if string(header) != "columns" {
			t.Errorf("header %q", header)
		}
		all = append(all, string(b))
		return nil
	})
	must(t, err)
	return all, r
}

func TestAppendAndReplay(t *testing.T) {
	f := memory(1)
	l := open(t, f, Options{})
	if all, r := content(t, l); len(all) > 0 || r.Files > 0 {
		t.Error(all, r)
	}
	var want []string
	for i, n := range []int{1, 7, 8, 100, disk.WindowSize, MaxRecord, 3, disk.WindowSize - overhead, 2*disk.WindowSize + 1, 1} {
		s := strings.Repeat(string(rune('a'+i)), n)
		must(t, l.Append([]byte(s)))
		want = append(want, s)
		if i%3 == 2 {
			sealed, err := l.Rotate()
			if must(t, err); sealed != uint64(i/3+1) {
				t.Errorf("sealed %d after record %d", sealed, i)
			}
		}
	}
	if st := l.Stats(); st.Records != 10 || st.Seq != 4 || st.Unsynced != 1+overhead {
		t.Errorf("%+v", st)
	}
	must(t, l.Close())
	l = open(t, f, Options{})
	got, r := content(t, l)
	if !slices.Equal(got, want) {
		t.Error("what was replayed isn't what was appended")
	}
	if r.Files != 4 || r.Records != 10 || r.Torn+r.Damaged != 0 || r.Missing+r.Duplicates != 0 || r.Unsynced != nil {
		t.Errorf("%+v", r)
	}
	// Only what was there at Open is replayed.
	must(t, l.Append([]byte("new")))
	if again, _ := content(t, l); !slices.Equal(again, want) {
		t.Error("a second replay differs")
	}
	must(t, l.Remove(3))
	must(t, l.Close())
	l = open(t, f, Options{})
	if got, _ := content(t, l); len(got) != 2 || got[1] != "new" {
		t.Errorf("after removing: %.40q", got)
	}
	// From: files that are done with don't count, nor are their numbers used again.
	must(t, l.Remove(100))
	if names, _ := f.ReadDir(folder); len(names) > 0 {
		t.Error(names)
	}
	must(t, l.Append([]byte("x")))
	if st := l.Stats(); st.Seq != 101 {
		t.Errorf("%+v", st)
	}
	must(t, l.Close())
	l = open(t, f, Options{From: 200})
	if got, _ := content(t, l); len(got) > 0 {
		t.Error(got)
	}
	must(t, l.Append([]byte("y")))
	if st := l.Stats(); st.Seq != 200 {
		t.Errorf("%+v", st)
	}
}

func TestMisuse(t *testing.T) {
	l := open(t, memory(1), Options{})
	for _, n := range []int{0, MaxRecord + 1} {
		if err := l.Append(make([]byte, n)); !errors.Is(err, ErrSize) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	must(t, l.Close())
	_, rotated := l.Rotate()
	for _, err := range []error{l.Append([]byte("x")), l.Sync(), rotated, l.Remove(1), l.Close()} {
		if !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	if _, err := Open(folder, Options{FS: memory(1), Header: make([]byte, MaxHeader+1)}); err == nil {
		t.Error("a header that is too large was taken")
	}
	// A function's error ends the replay.
	f := memory(1)
	l = open(t, f, Options{})
	must(t, l.Append([]byte("x")))
	must(t, l.Append([]byte("y")))
	must(t, l.Close())
	stop := errors.New("stop")
	r, err := open(t, f, Options{}).Replay(func(uint64, []byte, []byte) error { return stop })
	if !errors.Is(err, stop) || r.Records != 1 {
		t.Error(r, err)
	}
}

func TestNamesAreNumbers(t *testing.T) {
	for name, want := range map[string]uint64{
		fileName(7): 7, "0000000000000007.log": 7, "0000000000000000.log": 0, "7.log": 0, "0000000000000007.tmp": 0,
		"+000000000000007.log": 0, "000000000000000x.log": 0, fileName(maxSeq): maxSeq,
	} {
		if got, ok := parseName(name); got != want || ok != (want > 0) {
			t.Errorf("%s: %d %v", name, got, ok)
		}
	}
	f := memory(1)
	must(t, disk.MkdirAll(f, folder))
	f.WriteFile(filepath.Join(folder, fileName(maxSeq)), []byte("x"))
	l := open(t, f, Options{})
	if err := l.Append([]byte("x")); err == nil || !strings.Contains(err.Error(), "numbers") {
		t.Error(err)
	}
}

// A file of a version to come isn't guessed at, and says who wrote it. A damaged one isn't taken for that.
func TestAnotherVersion(t *testing.T) {
	f := memory(1)
	must(t, disk.MkdirAll(f, folder))
	h := head{version: 9, seq: 1, life: 1, marker: 1, writer: "culprit 7.1\x1b[2J"}
	f.WriteFile(filepath.Join(folder, fileName(1)), h.append(nil))
	_, err := Open(folder, Options{FS: f})
	var other *VersionError
	if !errors.As(err, &other) || other.Version != 9 || !strings.Contains(err.Error(), "culprit 7.1?[2J") {
		t.Error(err)
	}
	if _, err := Read(f, folder, 0, nil); !errors.As(err, &other) {
		t.Error(err)
	}
	if _, err := Open(folder, Options{FS: f, From: 2}); err != nil {
		t.Error("it doesn't count any more, but:", err)
	}
	b := h.append(nil)
	b[8] ^= 1
	f.WriteFile(filepath.Join(folder, fileName(1)), b)
	if _, r := content(t, open(t, f, Options{})); r.Torn != int64(len(b)) {
		t.Errorf("%+v", r)
	}
}

// The torn end of the last file is cut off, once, and nothing else.
func TestTornEnd(t *testing.T) {
	f := memory(1)
	l := open(t, f, Options{})
	must(t, l.Append([]byte("one")))
	must(t, l.Append([]byte("two")))
	must(t, l.Close())
	name := filepath.Join(folder, fileName(1))
	whole := f.ReadFile(name)
	for cut := 1; cut < overhead+3; cut++ {
		f.WriteFile(name, whole[:len(whole)-cut])
		if _, err := Read(f, folder, 0, func(uint64, []byte, []byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if n := len(f.ReadFile(name)); n != len(whole)-cut {
			t.Fatal("who only reads has cut it off")
		}
		all, r := content(t, open(t, f, Options{}))
		if want := int64(overhead + 3 - cut); len(all) != 1 || r.Torn != want || r.Damaged != 0 || len(r.Places) != 1 || !r.Places[0].Torn {
			t.Errorf("cut %d: %q %+v", cut, all, r)
		}
		if n := len(f.ReadFile(name)); n != len(whole)-overhead-3 {
			t.Errorf("cut %d: %d bytes are left", cut, n)
		}
		if _, r := content(t, open(t, f, Options{})); r.Torn != 0 {
			t.Errorf("cut %d: again %+v", cut, r)
		}
	}
	// Within the head there is nothing to tell.
	for cut := range len(whole) - 2*(overhead+3) {
		f.WriteFile(name, whole[:cut])
		if all, r := content(t, open(t, f, Options{})); len(all) > 0 || r.Torn != int64(cut) || r.Damaged != 0 {
			t.Errorf("%d bytes: %q %+v", cut, all, r)
		}
	}
}

// Bad bytes anywhere cost the records that they are in, and no other.
func TestDamage(t *testing.T) {
	runs := uint64(3000)
	if testing.Short() {
		runs = 300
	}
	for seed := range runs {
		r := rand.New(rand.NewPCG(seed, 4))
		f := memory(seed)
		l := open(t, f, Options{})
		type place struct {
			seq      uint64
			from, to int64
		}
		var places []place
		n := 1 + r.IntN(12)
		for id := range n {
			must(t, l.Append(payload(uint64(id))))
			st := l.Stats()
			places = append(places, place{st.Seq, st.FileBytes - int64(overhead+len(payload(uint64(id)))), st.FileBytes})
			if r.IntN(4) == 0 {
				_, err := l.Rotate()
				must(t, err)
			}
		}
		must(t, l.Close())
		hit := map[int]bool{}
		headHit := map[uint64]bool{}
		for range 1 + r.IntN(3) {
			seq := 1 + r.Uint64N(places[n-1].seq)
			name := filepath.Join(folder, fileName(seq))
			b := f.ReadFile(name)
			at, count := r.IntN(len(b)), 1+r.IntN(100)
			for i := at; i < min(len(b), at+count); i++ {
				was := b[i]
				switch r.IntN(2) {
				case 0:
					b[i] = 0
				case 1:
					b[i] ^= byte(1 << r.IntN(8))
				}
				if b[i] == was {
					continue
				}
				inRecord := false
				for id, p := range places {
					if p.seq == seq && p.from <= int64(i) && int64(i) < p.to {
						hit[id], inRecord = true, true
					}
				}
				headHit[seq] = headHit[seq] || !inRecord
			}
			f.WriteFile(name, b)
		}
		var want []int
		for id, p := range places {
			if !hit[id] && !headHit[p.seq] {
				want = append(want, id)
			}
		}
		var got []int
		rep, err := open(t, f, Options{}).Replay(func(_ uint64, _, b []byte) error {
			id := binary.LittleEndian.Uint64(b)
			if !bytes.Equal(b, payload(id)) {
				return fmt.Errorf("record %d was changed", id)
			}
			got = append(got, int(id))
			return nil
		})
		must(t, err)
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: got %v, want %v; %+v", seed, got, want, rep)
		}
		if len(got) < n && rep.Torn+rep.Damaged == 0 {
			t.Fatalf("seed %d: nothing reported: %+v", seed, rep)
		}
	}
}

// Sectors that can't be read are damage too, and are left alone.
func TestUnreadable(t *testing.T) {
	f := memory(1)
	l := open(t, f, Options{})
	for range 100 {
		must(t, l.Append(bytes.Repeat([]byte("x"), 1000)))
	}
	must(t, l.Close())
	size := len(f.ReadFile(filepath.Join(folder, fileName(1))))
	for _, bad := range []int64{10, 50_000, int64(size) - 10} {
		f.Inject(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind == faultfs.Read && op.Off <= bad && bad < op.Off+int64(op.Len) {
				return &faultfs.Fault{Err: syscall.EIO}
			}
			return nil
		})
		all, r := content(t, open(t, f, Options{}))
		if bad == 10 {
			if len(all) != 0 || r.Damaged != int64(size) {
				t.Errorf("%d records, %+v", len(all), r)
			}
		} else if len(all) < 93 || len(all) > 99 || r.Damaged == 0 || r.Torn != 0 || !errors.Is(r.Places[0].Err, syscall.EIO) {
			t.Errorf("bad %d: %d records, %+v", bad, len(all), r)
		}
		f.Inject(nil)
		if n := len(f.ReadFile(filepath.Join(folder, fileName(1)))); n != size {
			t.Errorf("bad %d: cut off at %d", bad, n)
		}
	}
}

// With no room Append fails, loses nothing, and goes on when there is some.
func TestFull(t *testing.T) {
	f := memory(1)
	l := open(t, f, Options{})
	var want []string
	refused := 0
	for i := range 200 {
		f.SetCapacity(int64(2000 + i/50*2000))
		s := fmt.Sprint("record ", i, strings.Repeat(".", i))
		if err := l.Append([]byte(s)); err == nil {
			want = append(want, s)
		} else if refused++; !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if i%10 == 0 {
			must(t, l.Sync())
		}
	}
	if st := l.Stats(); refused == 0 || st.Full != uint64(refused) || st.Seq != 1 || len(want) < 40 {
		t.Errorf("%d refused, %d taken, %+v", refused, len(want), st)
	}
	must(t, l.Sync())
	f.Crash()
	if all, r := content(t, open(t, f, Options{})); !slices.Equal(all, want) || r.Torn+r.Damaged > 0 {
		t.Errorf("%d of %d records, %+v", len(all), len(want), r)
	}
}

// When a disk is full for long, trying again costs no writes.
func TestFullIsCheap(t *testing.T) {
	f := memory(1)
	l := open(t, f, Options{})
	must(t, l.Append(make([]byte, 1000)))
	_, err := l.Rotate()
	must(t, err)
	f.SetCapacity(f.Used() + 100)
	before := f.Ops()
	for range 50 {
		if err := l.Append(make([]byte, 1000)); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	if n := f.Ops() - before; n > 0 {
		t.Errorf("%d operations", n)
	}
	f.SetCapacity(0)
	must(t, l.Append(make([]byte, 1000)))
}

// fails makes the n-th operation of a kind fail, and the next more-1.
func fails(f *faultfs.FS, kind faultfs.Kind, n, more int, err error) {
	f.Inject(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind != kind {
			return nil
		}
		if n--; n < 0 && n >= -more {
			return &faultfs.Fault{Err: err}
		}
		return nil
	})
}

// After a sync that failed, the kernel may have forgotten what it should have written: all is written again.
func TestFailedSync(t *testing.T) {
	for _, kind := range []faultfs.Kind{faultfs.Sync, faultfs.SyncDir} {
		for seed := range uint64(50) {
			f := memory(seed)
			l := open(t, f, Options{})
			must(t, l.Append([]byte("one")))
			if kind == faultfs.Sync {
				must(t, l.Sync())
			}
			must(t, l.Append([]byte("two")))
			fails(f, kind, 0, 1, syscall.EIO)
			must(t, l.Sync()) // heals itself
			if st := l.Stats(); st.SyncFailed != 1 || st.Seq != 2 || st.Rewritten == 0 || st.Unsynced != 0 {
				t.Fatalf("%+v", st)
			}
			fails(f, kind, 0, 100, syscall.ENOSPC)
			must(t, l.Append([]byte("three")))
			must(t, l.Append([]byte("four")))
			err := l.Sync()
			if kind == faultfs.Sync && !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			f.Inject(nil)
			must(t, l.Append([]byte("five"))) // with what waits
			must(t, l.Sync())
			f.Crash()
			if all, _ := content(t, open(t, f, Options{})); !slices.Equal(all, []string{"one", "two", "three", "four", "five"}) {
				t.Fatalf("%s, seed %d: %q", kind, seed, all)
			}
		}
	}
}

// A disk on which no sync succeeds isn't filled with copies.
func TestFailingDiskIsNotFilled(t *testing.T) {
	f := memory(1)
	l := open(t, f, Options{})
	must(t, l.Append(make([]byte, 1000)))
	fails(f, faultfs.Sync, 0, 1000, syscall.EIO)
	for range 20 {
		if err := l.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
	}
	if names, _ := f.ReadDir(folder); len(names) > 1 {
		t.Error(names)
	}
}

// What waits for Sync is bounded: Append syncs by itself.
func TestUnsyncedIsBounded(t *testing.T) {
	f := memory(1)
	l := open(t, f, Options{MaxUnsynced: 5000})
	for range 100 {
		must(t, l.Append(make([]byte, 900)))
		if st := l.Stats(); st.Unsynced > 5000 {
			t.Fatalf("%+v", st)
		}
	}
	must(t, l.Append(make([]byte, 9000))) // larger than the limit alone
	if st := l.Stats(); st.Forced != 20 {
		t.Errorf("%+v", st)
	}
	fails(f, faultfs.Sync, 0, 1000, syscall.EIO)
	if err := l.Append(make([]byte, 900)); !errors.Is(err, syscall.EIO) {
		t.Error("a record was taken that can't be kept in case of need:", err)
	}
}

// Records that lie where old files had theirs don't count, nor those within others.
func TestOldContent(t *testing.T) {
	f := memory(1)
	l := open(t, f, Options{})
	for i := range 10 {
		must(t, l.Append(fmt.Appendf(nil, "old %d", i)))
	}
	must(t, l.Close())
	old := f.ReadFile(filepath.Join(folder, fileName(1)))
	l = open(t, f, Options{})
	must(t, l.Remove(1))
	must(t, l.Append([]byte("new")))
	must(t, l.Append(old))
	must(t, l.Close())
	name := filepath.Join(folder, fileName(2))
	b := f.ReadFile(name)
	damaged := slices.Clone(b)
	damaged[len(b)-len(old)-10] ^= 1 // the second record's head
	f.WriteFile(name, append(damaged, old...))
	if all, r := content(t, open(t, f, Options{})); !slices.Equal(all, []string{"new"}) || r.Records != 1 {
		t.Errorf("%q %+v", all, r)
	}
	// A file in the place of another isn't one of the log.
	f.WriteFile(filepath.Join(folder, fileName(1)), b)
	if all, r := content(t, open(t, f, Options{})); len(all) != 1 || r.Damaged != int64(len(b)) {
		t.Errorf("%q %+v", all, r)
	}
}

// Append goes on while Sync waits for the disk, whatever fails.
func TestAppendDuringSync(t *testing.T) {
	for seed := range uint64(200) {
		f := memory(seed)
		l := open(t, f, Options{MaxUnsynced: 3000})
		r := rand.New(rand.NewPCG(seed, 5))
		var mu sync.Mutex
		f.Inject(func(op faultfs.Op) *faultfs.Fault {
			mu.Lock()
			defer mu.Unlock()
			if r.IntN(15) > 0 {
				return nil
			}
			switch op.Kind {
			case faultfs.Sync, faultfs.Truncate, faultfs.SyncDir:
				return &faultfs.Fault{Err: syscall.EIO}
			case faultfs.Write:
				return &faultfs.Fault{Err: syscall.EIO, Done: op.Len / 2}
			}
			return nil
		})
		var appended []uint64 // guarded by mu
		durable := 0
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				mu.Lock()
				n := len(appended)
				mu.Unlock()
				if l.Sync() == nil {
					durable = n
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		for id := range uint64(100) {
			if l.Append(payload(id)) == nil {
				mu.Lock()
				appended = append(appended, id)
				mu.Unlock()
			}
		}
		close(stop)
		<-done
		f.Crash()
		f.Inject(nil)
		i := 0
		_, err := open(t, f, Options{}).Replay(func(_ uint64, _, b []byte) error {
			id := binary.LittleEndian.Uint64(b)
			for i < len(appended) && appended[i] != id {
				if i < durable {
					return fmt.Errorf("record %d is lost", appended[i])
				}
				i++
			}
			if i == len(appended) || !bytes.Equal(b, payload(id)) {
				return fmt.Errorf("record %d wasn't appended so", id)
			}
			i++
			return nil
		})
		if err != nil || i < durable {
			t.Fatalf("seed %d: %v; %d of %d durable ones", seed, err, i, durable)
		}
	}
}

// hooked calls before and after each Sync of a file, before it returns.
type hooked struct {
	disk.FS
	before, after func()
}

type hookedFile struct {
	disk.File
	fs *hooked
}

func (h *hooked) Create(name string) (disk.File, error) {
	f, err := h.FS.Create(name)
	return hookedFile{f, h}, err
}

func (f hookedFile) Sync() error {
	f.fs.before()
	err := f.File.Sync()
	f.fs.after()
	return err
}

// A write that fails while the file is synced for the first time makes Append delete the file: then Sync mustn't believe
// that its records are durable.
func TestAbandonedDuringSync(t *testing.T) {
	for _, synced := range []bool{false, true} {
		f := memory(1)
		h := &hooked{f, func() {}, func() {}}
		l := open(t, h, Options{})
		must(t, l.Append([]byte("zero")))
		if synced {
			must(t, l.Sync())
		}
		must(t, l.Append([]byte("one")))
		h.after = func() {
			h.after = func() {}
			f.Inject(func(op faultfs.Op) *faultfs.Fault {
				if op.Kind == faultfs.Write || op.Kind == faultfs.Truncate {
					return &faultfs.Fault{Err: syscall.EIO}
				}
				return nil
			})
			if err := l.Append([]byte("refused")); !errors.Is(err, syscall.EIO) {
				t.Error(err)
			}
			f.Inject(nil)
		}
		must(t, l.Sync())
		f.Crash()
		if all, _ := content(t, open(t, f, Options{})); !slices.Equal(all, []string{"zero", "one"}) {
			t.Errorf("synced before %v: %q", synced, all)
		}
	}
}

// What is appended while a Sync fails isn't forgotten.
func TestAppendDuringFailingSync(t *testing.T) {
	f := memory(1)
	h := &hooked{f, func() {}, func() {}}
	l := open(t, h, Options{})
	must(t, l.Append([]byte("one")))
	h.before = func() {
		h.before = func() {}
		must(t, l.Append([]byte("two")))
		fails(f, faultfs.Sync, 0, 1, syscall.EIO)
	}
	must(t, l.Sync())
	f.Crash()
	if all, _ := content(t, open(t, f, Options{})); !slices.Equal(all, []string{"one", "two"}) {
		t.Errorf("%q", all)
	}
}

// A record that was refused doesn't appear, even if all of it came to the disk and couldn't be cut off; nor is the next
// taken for it.
func TestRefusedRecord(t *testing.T) {
	for _, waiting := range []bool{false, true} {
		f := memory(1)
		l := open(t, f, Options{})
		must(t, l.Append([]byte("one")))
		must(t, l.Sync())
		if waiting {
			must(t, l.Append([]byte("two")))
		}
		f.Inject(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind == faultfs.Write || op.Kind == faultfs.Truncate {
				return &faultfs.Fault{Err: syscall.EIO, Done: op.Len}
			}
			return nil
		})
		if err := l.Append([]byte("refused")); !errors.Is(err, syscall.EIO) {
			t.Error(err)
		}
		f.Inject(nil)
		want := []string{"one", "two", "three"}
		if !waiting {
			must(t, l.Append([]byte("two")))
		}
		must(t, l.Append([]byte("three")))
		must(t, l.Close())
		if all, r := content(t, open(t, f, Options{})); !slices.Equal(all, want) || r.Missing > 0 {
			t.Errorf("waiting %v: %q %+v", waiting, all, r)
		}
	}
}

// Copies count only if all of them are there: else their file was never synced, and the originals may be.
func TestHalfOfTheCopies(t *testing.T) {
	f := memory(1)
	must(t, disk.MkdirAll(f, folder))
	h := head{version: version, seq: 1, life: 1, marker: 1, first: 1, header: []byte("columns")}
	b := h.append(nil)
	for i := range uint64(3) {
		b = appendRecord(b, h.marker, i+1, []byte{'a' + byte(i)})
	}
	f.WriteFile(filepath.Join(folder, fileName(1)), b)
	h.seq, h.marker, h.first, h.copies = 2, 2, 2, 2
	b = appendRecord(h.append(nil), h.marker, 2, []byte("b"))
	whole := appendRecord(slices.Clone(b), h.marker, 3, []byte("c"))
	for n := len(b); n <= len(whole); n++ {
		f.WriteFile(filepath.Join(folder, fileName(2)), whole[:n])
		var from []uint64
		r, err := Read(f, folder, 0, func(seq uint64, _, b []byte) error {
			if b[0] != 'a'+byte(len(from)) {
				t.Errorf("record %d is %q", len(from), b)
			}
			from = append(from, seq)
			return nil
		})
		want := []uint64{1, 1, 1}
		if n == len(whole) {
			want = []uint64{1, 2, 2}
		}
		if err != nil || !slices.Equal(from, want) || n == len(whole) && r.Duplicates != 2 {
			t.Errorf("%d bytes: records of files %v, %+v, %v", n, from, r, err)
		}
	}
}

// Files that go while somebody reads are no error.
func TestReadWhileFilesGo(t *testing.T) {
	f := memory(1)
	l := open(t, f, Options{})
	for i := range 4 {
		must(t, l.Append([]byte{byte(i)}))
		_, err := l.Rotate()
		must(t, err)
	}
	n := 0
	r, err := Read(f, folder, 0, func(seq uint64, _, _ []byte) error {
		n++
		return l.Remove(2)
	})
	if err != nil || n != 3 || r.Gone != 1 {
		t.Error(n, r, err)
	}
	if _, err := Read(f, "/nowhere", 0, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	l, err := Open(t.TempDir(), Options{})
	must(t, err)
	defer l.Close()
	b := make([]byte, 4096)
	for range 2 {
		for range 60 {
			must(t, l.Append(b))
		}
		must(t, l.Sync())
	}
	if n := testing.AllocsPerRun(50, func() {
		if err := l.Append(b); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%.1f allocations", n)
	}
}

// Invariant: whatever files hold, a replay ends, takes no more memory than the largest record or the file, and a
// second one says the same.
func FuzzReplay(f *testing.F) {
	m := memory(1)
	l, err := Open(folder, Options{FS: m, Header: []byte("columns")})
	if err != nil {
		f.Fatal(err)
	}
	for id := range uint64(5) {
		if err := l.Append(payload(id)); err != nil {
			f.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	whole := m.ReadFile(filepath.Join(folder, fileName(1)))
	f.Add(whole, []byte{}, uint32(0), byte(0), false)
	f.Add(whole, whole[:100], uint32(200), byte(1), true)
	h := head{version: version, seq: 1, life: 1, marker: 0x0101010101010101, first: 1, copies: 3}
	f.Add(append(h.append(nil), bytes.Repeat([]byte{1}, 1000)...), whole, uint32(100), byte(7), false)
	f.Fuzz(func(t *testing.T, a, b []byte, at uint32, flip byte, fix bool) {
		if len(a) > 0 {
			a[int(at)%len(a)] ^= flip
		}
		if n, err := headSize(a); fix && err == nil && n <= len(a) { // so that what is behind the checksum is seen
			binary.LittleEndian.PutUint32(a[n-4:], crc32.Checksum(a[:n-4], castagnoli()))
		}
		m := memory(1)
		must(t, disk.MkdirAll(m, folder))
		m.WriteFile(filepath.Join(folder, fileName(1)), a)
		m.WriteFile(filepath.Join(folder, fileName(2)), b)
		hash := func() (n int64, sum uint32) {
			r, err := Read(m, folder, 0, func(_ uint64, _, b []byte) error {
				n += int64(len(b))
				sum = crc32.Update(sum, castagnoli(), b)
				return nil
			})
			var other *VersionError
			if err != nil && !errors.As(err, &other) {
				t.Fatal(err)
			}
			if n != r.Bytes || r.Bytes+r.Torn+r.Damaged > int64(len(a)+len(b)) || len(r.Places) > MaxDamage {
				t.Fatalf("%d bytes, %+v", n, r)
			}
			return n, sum
		}
		n1, s1 := hash()
		if l, err := Open(folder, Options{FS: m}); err == nil {
			if _, err := l.Replay(func(uint64, []byte, []byte) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if n2, s2 := hash(); n1 != n2 || s1 != s2 {
			t.Fatal("cutting off the torn end has changed the records")
		}
	})
}

// A file of nothing but the beginnings of large records isn't summed up for hours.
func TestHostileFileEnds(t *testing.T) {
	f := memory(1)
	must(t, disk.MkdirAll(f, folder))
	h := head{version: version, seq: 1, life: 1, marker: 1}
	b := h.append(nil)
	var rec []byte
	rec = binary.LittleEndian.AppendUint64(rec, 1)
	rec = binary.LittleEndian.AppendUint64(rec, 1)
	rec = binary.LittleEndian.AppendUint32(rec, 4<<20)
	rec = binary.LittleEndian.AppendUint32(rec, 0)
	b = append(b, bytes.Repeat(rec, 8<<20/len(rec))...)
	f.WriteFile(filepath.Join(folder, fileName(1)), b)
	reads := 0
	f.Inject(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == faultfs.Read {
			reads += op.Len
		}
		return nil
	})
	if all, r := content(t, open(t, f, Options{})); len(all) > 0 || r.Damaged == 0 || r.Torn != 0 {
		t.Errorf("%+v", r)
	}
	if reads > 10*len(b) {
		t.Errorf("%d bytes were read", reads)
	}
}
