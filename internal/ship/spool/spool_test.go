package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culprit-http/culprit/internal/ship"
	"github.com/culprit-http/culprit/internal/store/disk"
	"github.com/culprit-http/culprit/internal/store/faultfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quiet are limits with which nothing happens in the background.
func quiet(change func(l *limits)) limits {
	l, err := (&Options{}).limits()
	if err != nil {
		panic(err)
	}
	l.withoutSyncer = true
	if change != nil {
		change(&l)
		l.derive()
	}
	return l
}

func onFaultFS(t testing.TB, f *faultfs.FS, l limits) *Spool {
	t.Helper()
	s, err := open(folder, Options{FS: f, Content: "test"}, l)
	must(t, err)
	return s
}

func appendAll(t testing.TB, q ship.Queue, from, to uint64) {
	t.Helper()
	for id := from; id <= to; id++ {
		must(t, q.Append(payload(id), eventsOf(id)))
	}
}

// numbers returns the numbers of a chunk's frames.
func numbers(t testing.TB, c *ship.Chunk) (ids []uint64) {
	t.Helper()
	for _, b := range c.Frames {
		id, err := idOf(b)
		must(t, err)
		ids = append(ids, id)
	}
	return ids
}

// rest delivers all that is there.
func rest(t testing.TB, q ship.Queue) (ids []uint64) {
	t.Helper()
	for {
		c, err := q.Next(stopped(), 10_000)
		if errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) {
			return ids
		}
		must(t, err)
		ids = append(ids, numbers(t, c)...)
		q.Done(c)
	}
}

func total(from, to uint64) (n int64) {
	for id := from; id <= to; id++ {
		n += int64(eventsOf(id))
	}
	return n
}

// Both queues wait, wake, end, and heed their context.
func TestWaiting(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) ship.Queue{
		"memory": func(*testing.T) ship.Queue { return ship.Memory(0) },
		"spool": func(t *testing.T) ship.Queue {
			return onFaultFS(t, faultfs.New(rand.New(rand.NewPCG(1, 1))), quiet(nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := open(t)
				type answer struct {
					c   *ship.Chunk
					err error
				}
				var got []answer
				answers := make(chan answer)
				next := func(ctx context.Context) {
					go func() {
						c, err := q.Next(ctx, 10_000)
						answers <- answer{c, err}
					}()
				}
				// settle collects the answers that have come.
				settle := func() {
					for {
						synctest.Wait()
						select {
						case a := <-answers:
							got = append(got, a)
						default:
							return
						}
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				next(ctx)
				if settle(); len(got) > 0 {
					t.Fatal("an empty queue answers", got)
				}
				cancel()
				if settle(); len(got) != 1 || !errors.Is(got[0].err, context.Canceled) {
					t.Fatal("cancelled:", got)
				}
				next(t.Context())
				settle()
				appendAll(t, q, 1, 1)
				if settle(); len(got) != 2 || got[1].err != nil || got[1].c.Events != eventsOf(1) {
					t.Fatal("appended:", got)
				}
				next(t.Context())
				next(t.Context())
				settle()
				q.CloseAppend()
				if settle(); len(got) != 4 || got[2].err != io.EOF || got[3].err != io.EOF {
					t.Fatal("ended:", got)
				}
				if err := q.Append(payload(2), 1); !errors.Is(err, ErrClosed) && !errors.Is(err, ship.ErrQueueClosed) {
					t.Error("appending to the end:", err)
				}
				if n := q.Stats().Waiting; n != int64(eventsOf(1)) {
					t.Error(n, "waiting, with a chunk that isn't done")
				}
				q.Done(got[1].c)
				q.Done(got[1].c)
				q.Done(&ship.Chunk{})
				if n := q.Stats().Waiting; n != 0 {
					t.Error(n, "waiting")
				}
				must(t, q.Close())
				if _, err := q.Next(t.Context(), 1); !errors.Is(err, ErrClosed) && !errors.Is(err, ship.ErrQueueClosed) {
					t.Error("after Close:", err)
				}
				if q.Close() == nil {
					t.Error("it can be closed twice")
				}
			})
		})
	}
}

// Close wakes who waits.
func TestCloseWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := onFaultFS(t, faultfs.New(rand.New(rand.NewPCG(1, 1))), quiet(nil))
		var err error
		go func() { _, err = s.Next(t.Context(), 1) }()
		synctest.Wait()
		must(t, s.Close())
		synctest.Wait()
		if err == nil {
			t.Error("nothing came, without an error")
		}
	})
}

// What was appended and done is durable within a second, without anybody asking for it.
func TestSyncer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
		l := quiet(nil)
		l.withoutSyncer = false
		s := onFaultFS(t, f, l)
		appendAll(t, s, 1, 10)
		sleep(t)
		if n := unsynced(s); n > 0 {
			t.Errorf("%d frames aren't synced after a second", n)
		}
		c, err := s.Next(stopped(), 1)
		must(t, err)
		s.Done(c)
		sleep(t)
		ops := f.Ops()
		sleep(t)
		if f.Ops() != ops {
			t.Error("it is busy, with nothing to do")
		}
		f.Crash()
		_ = s.Close()
		s = onFaultFS(t, f, l)
		if ids := rest(t, s); len(ids) != 9 || ids[0] != 2 {
			t.Error("after the crash:", ids)
		}
		must(t, s.Close())
	})
}

// A sync that fails is tried again, without anybody asking for it, and until then told.
func TestSyncerTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
		l := quiet(nil)
		l.withoutSyncer = false
		s := onFaultFS(t, f, l)
		f.Inject(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind == faultfs.Sync {
				return &faultfs.Fault{Err: errors.New("no sync")}
			}
			return nil
		})
		appendAll(t, s, 1, 10)
		sleep(t)
		if p := s.Stats().Problem; !strings.Contains(p, "no sync") || unsynced(s) != 10 {
			t.Errorf("problem %q, %d frames wait", p, unsynced(s))
		}
		f.Inject(nil)
		sleep(t)
		if p := s.Stats().Problem; p != "" || unsynced(s) > 0 {
			t.Errorf("problem %q, %d frames wait", p, unsynced(s))
		}
		f.Crash()
		_ = s.Close()
		s = onFaultFS(t, f, l)
		if ids := rest(t, s); len(ids) != 10 {
			t.Error("after the crash:", ids)
		}
		must(t, s.Close())
	})
}

// A segment that is done stays until the cursor says so, unless it is the oldest: else it would look lost.
func TestDoneBeforeCursor(t *testing.T) {
	f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
	l := quiet(func(l *limits) { l.segment = 2000 })
	s := onFaultFS(t, f, l)
	const last = 60
	appendAll(t, s, 1, last)
	must(t, s.Sync())
	if n := len(s.segments); n < 4 {
		t.Fatal(n, "segments")
	}
	for first := true; ; first = false {
		c, err := s.Next(stopped(), 1)
		if err != nil {
			break
		}
		if !first {
			s.Done(c)
		}
	}
	f.Inject(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == faultfs.Create {
			return &faultfs.Fault{Err: errors.New("no cursor")}
		}
		return nil
	})
	if err := s.Sync(); err == nil {
		t.Error("the cursor was written")
	}
	f.Inject(nil)
	s = onFaultFS(t, f, l) // the one before was killed
	if n := len(rest(t, s)); n != last || s.Stats().Damaged != 0 {
		t.Errorf("%d frames of %d, %+v", n, last, s.Stats())
	}
	must(t, s.Close())
}

// What is dropped while it is being read isn't delivered.
func TestDropWhileReading(t *testing.T) {
	s := onFaultFS(t, faultfs.New(rand.New(rand.NewPCG(1, 1))), quiet(nil))
	appendAll(t, s, 1, 2)
	s.done.add(span{0, 1})
	taken := taking{claim: &claim{}, room: 1000}
	s.add(&taken, &stored{span: span{0, 1}, raw: 10})
	s.add(&taken, &stored{span: span{1, 3}, raw: 10})
	if len(taken.frames) != 1 || len(taken.claim.spans) != 1 || taken.room != 990 {
		t.Errorf("%+v", taken)
	}
	must(t, s.Close())
}

// A chunk whose segment is dropped meanwhile counts as what becomes of it: nothing counts twice.
func TestDropWhileDelivering(t *testing.T) {
	l := quiet(func(l *limits) { l.bytes, l.segment = 40_000, 2000 })
	s := onFaultFS(t, faultfs.New(rand.New(rand.NewPCG(1, 1))), l)
	appendAll(t, s, 1, 3)
	first, err := s.Next(stopped(), 1)
	must(t, err)
	second, err := s.Next(stopped(), 1)
	must(t, err)
	const last = 500
	appendAll(t, s, 4, last)
	if s.segments[0].from < 20 {
		t.Fatal("nothing was dropped")
	}
	q := s.Stats()
	if waiting := q.Waiting; q.Dropped+waiting != total(1, last) {
		t.Errorf("%d dropped and %d waiting of %d", q.Dropped, waiting, total(1, last))
	}
	s.Done(first)
	if after := s.Stats(); after.Dropped != q.Dropped || after.Waiting != q.Waiting-int64(first.Events) {
		t.Errorf("before Done %+v, after it %+v", q, after)
	}
	left := int64(0)
	for _, id := range rest(t, s) {
		left += int64(eventsOf(id))
	}
	if q := s.Stats(); q.Dropped+left+int64(first.Events+second.Events) != total(1, last) {
		t.Errorf("%+v, and %d delivered", q, left)
	}
	// The second wasn't delivered, and is nowhere.
	before := s.Stats().Dropped
	must(t, s.Close())
	if q := s.Stats(); q.Dropped != before+int64(second.Events) || q.Waiting != 0 {
		t.Errorf("closed: %+v", q)
	}
}

// Any damage costs what it hits, and that is counted.
func TestDamage(t *testing.T) {
	const last = 300
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 5))
		f := faultfs.New(r)
		l := quiet(func(l *limits) { l.segment = 3000 })
		s := onFaultFS(t, f, l)
		appendAll(t, s, 1, last)
		must(t, s.Close())
		// The newest segment is spared: what is missing at its end isn't known.
		n := len(s.segments) - 1
		hit := s.segments[r.IntN(n)]
		b := f.ReadFile(s.path(hit))
		from := r.IntN(len(b))
		size := 1 + r.IntN(500)
		if r.IntN(8) == 0 { // the head of the oldest
			hit = s.segments[0]
			b, from = f.ReadFile(s.path(hit)), r.IntN(int(hit.start))
		}
		for i := from; i < min(len(b), from+size); i++ {
			b[i] ^= byte(1 + r.IntN(255))
		}
		if r.IntN(4) == 0 {
			b = b[:from]
		}
		f.WriteFile(s.path(hit), b)
		s = onFaultFS(t, f, l)
		got := int64(0)
		ids := rest(t, s)
		for i, id := range ids {
			got += int64(eventsOf(id))
			if i > 0 && id <= ids[i-1] {
				t.Fatalf("seed %d: frame %d after %d", seed, id, ids[i-1])
			}
		}
		q := s.Stats()
		head := from < int(hit.start)
		if whole := q.Recovered; got+q.Damaged != whole || !head && whole != total(1, last) || q.Damaged == 0 && q.DamagedBytes == 0 || q.Waiting != 0 {
			t.Errorf("seed %d: %d delivered of %d, %+v", seed, got, total(1, last), q)
		}
		if lost := total(1, last) - got; lost > 200 {
			t.Errorf("seed %d: %d events are lost", seed, lost)
		}
		must(t, s.Close())
	}
}

// Sectors that can't be read are passed over.
func TestUnreadable(t *testing.T) {
	f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
	l := quiet(nil)
	s := onFaultFS(t, f, l)
	appendAll(t, s, 1, 400)
	must(t, s.Close())
	f.Inject(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == faultfs.Read && op.Off < 20_000 && 20_000 < op.Off+int64(op.Len) {
			return &faultfs.Fault{Err: errors.New("bad sector")}
		}
		return nil
	})
	s = onFaultFS(t, f, l)
	ids := rest(t, s)
	q := s.Stats()
	if n := 400 - len(ids); n < 1 || n > 60 || q.Damaged < 1 {
		t.Errorf("%d frames of 400, %+v", len(ids), q)
	}
	must(t, s.Close())
}

// A full disk stops it, with a word, and it goes on when there is room.
func TestFull(t *testing.T) {
	f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
	s := onFaultFS(t, f, quiet(nil))
	appendAll(t, s, 1, 10)
	f.SetCapacity(f.Used() + 10)
	if err := s.Append(payload(11), 1); !errors.Is(err, ErrFull) {
		t.Error("appending to a full disk:", err)
	}
	if p := s.Stats().Problem; !strings.Contains(p, "free some space") {
		t.Errorf("problem %q", p)
	}
	f.SetCapacity(0)
	appendAll(t, s, 12, 12)
	if p := s.Stats().Problem; p != "" {
		t.Errorf("problem %q", p)
	}
	if ids := rest(t, s); len(ids) != 11 || ids[10] != 12 {
		t.Error(ids)
	}
	must(t, s.Close())
}

// Several deliver at once what one appends, on a real disk.
func TestConcurrency(t *testing.T) {
	s, err := Open(t.TempDir(), Options{MaxBytes: MinBytes})
	must(t, err)
	const last = 5000
	var mu sync.Mutex
	seen := map[uint64]int{}
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for {
				c, err := s.Next(t.Context(), 4000)
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, id := range numbers(t, c) {
					seen[id]++
				}
				mu.Unlock()
				s.Done(c)
			}
		})
	}
	workers.Go(func() {
		for range 50 {
			if err := s.Sync(); err != nil {
				t.Error(err)
			}
			s.Stats()
		}
	})
	appendAll(t, s, 1, last)
	s.CloseAppend()
	workers.Wait()
	q := s.Stats()
	must(t, s.Close())
	delivered := int64(0)
	for id, n := range seen {
		if delivered += int64(eventsOf(id)); n != 1 {
			t.Fatalf("frame %d was delivered %d times", id, n)
		}
	}
	if delivered+q.Dropped != total(1, last) || q.Waiting+q.Damaged != 0 {
		t.Errorf("%d delivered of %d, %+v", delivered, total(1, last), q)
	}
}

// A folder is one process's, and nobody else may look into it.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, err := Open(dir, Options{})
	must(t, err)
	appendAll(t, s, 1, 3)
	c, err := s.Next(t.Context(), 1)
	must(t, err)
	s.Done(c)
	must(t, s.Sync())
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the spool %s is being used by culprit (pid %d)", dir, os.Getpid())) {
		t.Error("opening it twice:", err)
	}
	names := 0
	must(t, filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if names++; err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Error(info.Mode(), name)
		}
		return err
	}))
	if names < 4 {
		t.Error(names, "files")
	}
	must(t, s.Close())
	s, err = Open(dir, Options{})
	must(t, err)
	if ids := rest(t, s); len(ids) != 2 {
		t.Error(ids)
	}
	must(t, s.Close())
}

// What a spool is not opened with.
func TestRefusals(t *testing.T) {
	f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
	l := quiet(nil)
	s := onFaultFS(t, f, l)
	appendAll(t, s, 1, 3)
	must(t, s.Close())
	if _, err := open(folder, Options{FS: f, Content: "other"}, l); err == nil || !strings.Contains(err.Error(), `holds "test", and "other" is to be delivered`) {
		t.Error("other content:", err)
	}
	var versions *VersionError
	name := s.path(s.segments[0])
	h, n, err := parseHead(f.ReadFile(name))
	must(t, err)
	h.version++
	f.WriteFile(name, append(h.append(nil), f.ReadFile(name)[n:]...))
	if _, err := open(folder, Options{FS: f, Content: "test"}, l); !errors.As(err, &versions) || versions.Version != version+1 {
		t.Error("a segment of another version:", err)
	}
	must(t, f.Remove(name))
	b := appendCursor(nil, &progress{low: 1})
	b[8]++
	binary.LittleEndian.PutUint32(b[len(b)-4:], 0)
	b = append(b[:len(b)-4], rechecked(b[:len(b)-4])...)
	must(t, disk.MkdirAll(f, folder))
	f.WriteFile(filepath.Join(folder, cursorName), b)
	if _, err := open(folder, Options{FS: f, Content: "test"}, l); !errors.As(err, &versions) || versions.Version != version+1 {
		t.Error("a cursor of another version:", err)
	}
	for _, o := range []Options{{MaxBytes: 1}, {Content: strings.Repeat("x", 256)}} {
		if _, err := Open(t.TempDir(), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	for _, size := range []int{0, MaxFrame + 1} {
		s := onFaultFS(t, faultfs.New(rand.New(rand.NewPCG(1, 1))), l)
		if err := s.Append(make([]byte, size), 1); !errors.Is(err, ErrSize) {
			t.Errorf("a frame of %d bytes: %v", size, err)
		}
		if err := s.Append([]byte("x"), 0); !errors.Is(err, ErrSize) {
			t.Error("a frame without events:", err)
		}
		must(t, s.Close())
	}
}

// The content may change when nothing is left.
func TestOtherContent(t *testing.T) {
	f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
	s := onFaultFS(t, f, quiet(nil))
	appendAll(t, s, 1, 3)
	if n := len(rest(t, s)); n != 3 {
		t.Fatal(n)
	}
	must(t, s.Sync()) // and not Close: the segment is still there
	s, err := open(folder, Options{FS: f, Content: "other"}, quiet(nil))
	must(t, err)
	if q := s.Stats(); q.Recovered != 0 || q.Bytes != 0 {
		t.Errorf("%+v", q)
	}
	must(t, s.Close())
}

// What is done leaves nothing behind: neither memory, nor, once closed, a segment.
func TestNothingStays(t *testing.T) {
	f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
	s := onFaultFS(t, f, quiet(nil))
	appendAll(t, s, 1, 20)
	must(t, s.Sync())
	appendAll(t, s, 21, 40)
	if n := len(rest(t, s)); n != 40 {
		t.Fatal(n)
	}
	if n := len(s.claims); n != 0 {
		t.Error(n, "claims stay")
	}
	must(t, s.Sync())
	if len(s.unsynced) > 0 || s.unsyncedBytes != 0 || s.plainBytes != 0 {
		t.Errorf("%d frames, %d and %d bytes stay in memory", len(s.unsynced), s.unsyncedBytes, s.plainBytes)
	}
	must(t, s.Close())
	if q := s.Stats(); q.Bytes != 0 || f.Used() > maxCursor {
		t.Errorf("%d bytes on disk, %+v", f.Used(), q)
	}
}

// The largest frame is taken and comes back, also one that doesn't get smaller.
func TestLargest(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	must(t, err)
	b := make([]byte, MaxFrame)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	for range 3 { // from memory, and from disk
		must(t, s.Append(b, 1))
	}
	for range 3 {
		c, err := s.Next(t.Context(), 1)
		must(t, err)
		if len(c.Frames) != 1 || !bytes.Equal(c.Frames[0], b) {
			t.Error("it has changed")
		}
		s.Done(c)
	}
	must(t, s.Close())
}

// unsynced returns how many frames aren't known durable.
func unsynced(s *Spool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.unsynced)
}

// sleep lets a second of the bubble's time pass.
func sleep(t *testing.T) {
	t.Helper()
	<-time.After(time.Second)
	synctest.Wait()
}

// rechecked returns the checksum of a file.
func rechecked(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, crc32.Checksum(b, castagnoli()))
}

// Numbers that the cursor knows aren't used again when their events are lost, and those between, which nobody has, aren't taken for
// damaged.
func TestNumbersLeftOut(t *testing.T) {
	tested := 0
	for seed := range uint64(50) {
		f := faultfs.New(rand.New(rand.NewPCG(seed, 6)))
		l := quiet(nil)
		s := onFaultFS(t, f, l)
		appendAll(t, s, 1, 1)
		must(t, s.Sync())
		appendAll(t, s, 2, 3)
		for range 3 { // the last of them is done
			c, err := s.Next(stopped(), 1)
			must(t, err)
			if numbers(t, c)[0] == 3 {
				s.Done(c)
			}
		}
		f.Inject(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind == faultfs.Sync && strings.HasSuffix(op.Name, suffix) {
				return &faultfs.Fault{Err: errors.New("no sync")}
			}
			return nil
		})
		if s.Sync() == nil {
			t.Fatal("it was synced")
		}
		f.Crash()
		f.Inject(nil)
		s = onFaultFS(t, f, l)
		if s.found == s.end || s.found < uint64(eventsOf(1)) {
			continue // the disk has them all the same
		}
		tested++
		left := s.Stats().Recovered
		appendAll(t, s, 4, 4)
		s = onFaultFS(t, f, l) // the one before was killed, before the cursor was written
		if q := s.Stats(); q.Recovered != left+int64(eventsOf(4)) {
			t.Errorf("seed %d: first %d recovered, then %+v", seed, left, q)
		}
		if ids := rest(t, s); ids[len(ids)-1] != 4 {
			t.Errorf("seed %d: %v", seed, ids)
		}
		if q := s.Stats(); q.Damaged != 0 || q.Waiting != 0 {
			t.Errorf("seed %d: %+v", seed, q)
		}
		must(t, s.Close())
	}
	if tested < 5 {
		t.Error("only", tested, "crashes lost events")
	}
}

// What was dropped isn't lost once more when the process is killed before the cursor says so.
func TestDropBeforeCursor(t *testing.T) {
	f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
	l := quiet(func(l *limits) { l.bytes, l.segment = 40_000, 2000 })
	s := onFaultFS(t, f, l)
	const last = 500
	appendAll(t, s, 1, last)
	q := s.Stats()
	s = onFaultFS(t, f, l)
	if n := s.Stats().Recovered; q.Dropped == 0 || q.Dropped+n != total(1, last) {
		t.Errorf("%d dropped and %d recovered of %d", q.Dropped, n, total(1, last))
	}
	rest(t, s)
	if q := s.Stats(); q.Damaged != 0 || q.Waiting != 0 {
		t.Errorf("%+v", q)
	}
	must(t, s.Close())
}

// A torn end costs the frame that is torn, and is counted in bytes.
func TestTornEnd(t *testing.T) {
	f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
	s := onFaultFS(t, f, quiet(nil))
	appendAll(t, s, 1, 3)
	must(t, s.Sync())
	name := s.path(s.segments[0])
	b := f.ReadFile(name)
	f.WriteFile(name, b[:len(b)-5])
	s = onFaultFS(t, f, quiet(nil))
	if q := s.Stats(); q.Recovered != total(1, 2) || q.DamagedBytes < 20 || q.DamagedBytes > 500 {
		t.Errorf("%+v", q)
	}
	appendAll(t, s, 4, 4)
	must(t, s.Sync())
	if n := int64(len(f.ReadFile(name))); n >= int64(len(b)-5) {
		t.Error("the torn end is still there:", n)
	}
	if ids := rest(t, s); len(ids) != 3 || ids[2] != 4 {
		t.Error(ids)
	}
	must(t, s.Close())
}

// A segment that was written again counts for nothing, wherever it begins.
func TestWrittenAgain(t *testing.T) {
	f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
	must(t, disk.MkdirAll(f, folder))
	file := func(seq, first, before uint64, ids ...uint64) {
		h := head{version: version, seq: seq, marker: seq, first: first, before: before, content: "test"}
		b := h.append(nil)
		for _, id := range ids {
			frame := appendFrame(nil, payload(id), eventsOf(id))
			number(frame, first)
			mark(frame, seq)
			first += uint64(eventsOf(id))
			b = append(b, frame...)
		}
		f.WriteFile(filepath.Join(folder, fileName(seq)), b)
	}
	// Numbers: 1 and 2 have 2 and 3 events, 3 and 4 have 4 and 5. The second segment was given up, and the third has all from
	// frame 2 on, which the first has in part.
	file(1, 0, 0, 1, 2)
	file(2, 5, 5, 3)
	file(3, 2, 2, 2, 3, 4)
	s := onFaultFS(t, f, quiet(nil))
	if q := s.Stats(); q.Recovered != total(1, 4) {
		t.Errorf("%+v", q)
	}
	if ids := rest(t, s); len(ids) != 4 || s.Stats().Damaged != 0 {
		t.Errorf("%v, %+v", ids, s.Stats())
	}
	must(t, s.Close())
	// The oldest may be the one that was given up.
	must(t, f.Remove(filepath.Join(folder, cursorName)))
	file(1, 5, 5, 3)
	file(2, 2, 2, 2, 3, 4)
	s = onFaultFS(t, f, quiet(nil))
	if ids := rest(t, s); len(ids) != 3 || s.Stats().Damaged != 0 {
		t.Errorf("%v, %+v", ids, s.Stats())
	}
	must(t, s.Close())
}

// What looks like frames and isn't is summed up in vain, but not for long.
func TestLookalikes(t *testing.T) {
	f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
	var b []byte
	for range 20_000 {
		h := make([]byte, frameHead)
		mark(h, 77)
		binary.LittleEndian.PutUint32(h[16:], 1)
		binary.LittleEndian.PutUint32(h[20:], 200_000)
		binary.LittleEndian.PutUint32(h[24:], 200_000)
		b = append(b, h...)
	}
	f.WriteFile("/f", b)
	r, err := f.Open("/f")
	must(t, err)
	w := window{disk.Window{File: r, Size: int64(len(b))}}
	budget := w.budget()
	if _, _, ok := w.next(0, 77, &budget); ok || budget < -200_000 || budget > 0 {
		t.Errorf("%v, %d bytes too many", ok, -budget)
	}
}

// A marker is found wherever it stands, also where one read ends and the next begins.
func TestFind(t *testing.T) {
	const marker = 0x1122334455667788
	f := faultfs.New(rand.New(rand.NewPCG(1, 1)))
	for _, at := range []int64{0, 1, disk.WindowSize - 9, disk.WindowSize - 8, disk.WindowSize - 7, disk.WindowSize - 1, disk.WindowSize, 2*disk.WindowSize - 10, 2*disk.WindowSize - 3} {
		b := make([]byte, 2*disk.WindowSize+100)
		mark(b[at:], marker)
		f.WriteFile("/f", b)
		r, err := f.Open("/f")
		must(t, err)
		for _, from := range []int64{0, 5, at} {
			w := window{disk.Window{File: r, Size: int64(len(b))}}
			want := at
			if from > at {
				want = w.Size
			}
			if got := w.Find(from, marker); got != want {
				t.Errorf("from %d: %d, want %d", from, got, want)
			}
		}
	}
}
