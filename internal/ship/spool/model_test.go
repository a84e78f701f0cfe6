package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"github.com/culprit-http/culprit/internal/ship"
	"github.com/culprit-http/culprit/internal/store/faultfs"
)

// eventsOf is how many events the frame with a number has.
func eventsOf(id uint64) int { return 1 + int(id%5) }

// payload is what the frame with a number has.
func payload(id uint64) []byte {
	r := rand.New(rand.NewPCG(id, 1))
	n := 8 + r.IntN(400)
	if r.IntN(8) == 0 {
		n = 8 + r.IntN(3000)
	}
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, n), id)
	if r.IntN(2) == 0 { // what doesn't get smaller
		for len(b) < n {
			b = append(b, byte(r.Uint32()))
		}
		return b
	}
	return append(b, bytes.Repeat([]byte{'x'}, n)...)
}

// idOf checks a frame, and returns its number.
func idOf(b []byte) (uint64, error) {
	if len(b) < 8 {
		return 0, fmt.Errorf("a frame of %d bytes", len(b))
	}
	id := binary.LittleEndian.Uint64(b)
	if !bytes.Equal(b, payload(id)) {
		return 0, fmt.Errorf("frame %d isn't what was given", id)
	}
	return id, nil
}

// fate is what the model knows of a frame that Append took.
type fate struct {
	// durable: a Sync has promised it. delivered: a chunk had it. done: Done was called; over: and synced.
	durable, delivered, done, over bool
	// once: Done was called in any life.
	once bool
	// doubtful: it wasn't durable when the power went, so it may be gone.
	doubtful bool
}

// model says what must be true of a queue.
type model struct {
	r    *rand.Rand
	q    ship.Queue
	next uint64
	all  map[uint64]*fate
	// out are chunks that aren't done, and last is the number of the last frame of this life's chunks.
	out  []*ship.Chunk
	last uint64
	// appended and done count this life's events.
	appended, done int64
	// lost are the events that earlier lives' counters say are lost.
	lost   int64
	counts map[string]int
}

func (m *model) append() error {
	m.next++
	id := m.next
	err := m.q.Append(payload(id), eventsOf(id))
	if err == nil {
		m.appended += int64(eventsOf(id))
	}
	// When the power goes during Append, the frame may be there.
	if err == nil || errors.Is(err, faultfs.ErrDown) {
		m.all[id] = &fate{}
	}
	return err
}

// stopped is a context that is done: Next then returns what is there.
func stopped() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// take calls Next, and checks what it returns. It returns whether there was a chunk.
func (m *model) take(most int) (bool, error) {
	c, err := m.q.Next(stopped(), most)
	if err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) {
			err = nil
		}
		return false, err
	}
	size, events := 0, 0
	for i, b := range c.Frames {
		id, err := idOf(b)
		if err != nil {
			return false, err
		}
		f := m.all[id]
		switch {
		case f == nil:
			return false, fmt.Errorf("frame %d was never taken", id)
		case id <= m.last:
			return false, fmt.Errorf("frame %d after %d", id, m.last)
		case f.over:
			return false, fmt.Errorf("frame %d is delivered again, though its end is durable", id)
		}
		if f.delivered {
			m.counts["again"]++
		}
		f.delivered = true
		m.last = id
		events += eventsOf(id)
		if size += len(b); i > 0 && size > most {
			return false, fmt.Errorf("a chunk of %d bytes and more, for at most %d", size, most)
		}
	}
	if len(c.Frames) == 0 || events != c.Events {
		return false, fmt.Errorf("a chunk of %d frames with %d events, which says %d", len(c.Frames), events, c.Events)
	}
	if len(c.Frames) > 1 {
		m.counts["joined"]++
	}
	m.out = append(m.out, c)
	return true, nil
}

// finish calls Done for one of the chunks.
func (m *model) finish() {
	if len(m.out) == 0 {
		return
	}
	i := m.r.IntN(len(m.out))
	c := m.out[i]
	m.out = append(m.out[:i], m.out[i+1:]...)
	m.q.Done(c)
	m.done += int64(c.Events)
	for _, b := range c.Frames {
		f := m.all[binary.LittleEndian.Uint64(b)]
		f.done, f.once = true, true
	}
}

// reconcile compares the counters.
func (m *model) reconcile() error {
	s := m.q.Stats()
	if in, out := m.appended+s.Recovered, m.done+s.Dropped+s.Damaged+s.Waiting; in != out || s.Bytes > s.Limit || s.Waiting < 0 {
		return fmt.Errorf("%d appended and %d recovered, but %d done, %d dropped, %d damaged, %d waiting; %d of %d bytes",
			m.appended, s.Recovered, m.done, s.Dropped, s.Damaged, s.Waiting, s.Bytes, s.Limit)
	}
	return nil
}

// drain delivers all that is left.
func (m *model) drain() error {
	for {
		more, err := m.take(1 + m.r.IntN(4000))
		if err != nil {
			return err
		}
		for m.r.IntN(3) > 0 && len(m.out) > 0 {
			m.finish()
		}
		if err := m.reconcile(); err != nil {
			return err
		}
		if !more {
			break
		}
	}
	for len(m.out) > 0 {
		m.finish()
	}
	if err := m.reconcile(); err != nil {
		return err
	}
	if n := m.q.Stats().Waiting; n != 0 {
		return fmt.Errorf("%d events wait, but aren't delivered", n)
	}
	return nil
}

// A queue in memory follows the same model, but that it ends with the process.
func TestMemoryModel(t *testing.T) {
	counts := map[string]int{}
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 3))
		m := &model{r: r, q: ship.Memory(int64(6000 + r.IntN(20_000))), all: map[uint64]*fate{}, counts: counts}
		for range r.IntN(200) {
			var err error
			switch n := r.IntN(10); {
			case n < 6:
				if err = m.append(); errors.Is(err, ship.ErrQueueFull) {
					counts["full"]++
					err = nil
				}
			case n < 8:
				_, err = m.take(1 + r.IntN(4000))
			default:
				m.finish()
			}
			if err == nil {
				err = m.reconcile()
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		m.q.CloseAppend()
		if err := m.drain(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		lost := int64(0)
		for id, f := range m.all {
			if !f.delivered {
				lost += int64(eventsOf(id))
			}
		}
		if s := m.q.Stats(); s.Dropped != lost || s.Bytes != 0 {
			t.Fatalf("seed %d: %d events weren't delivered, and %d count as dropped; %d bytes are left", seed, lost, s.Dropped, s.Bytes)
		}
		counts["lost"] += int(min(lost, 1))
	}
	for _, what := range []string{"joined", "lost", "full"} {
		if counts[what] < 20 {
			t.Errorf("%s only happened %d times", what, counts[what])
		}
	}
}

// world is a spool on a file system where anything may happen.
type world struct {
	model
	fs     *faultfs.FS
	s      *Spool
	limits limits
	// small: segments are dropped for lack of room.
	small, faulty bool
	// lied: a Sync has failed since the last power cut, so that the kernel may show what isn't on the disk.
	lied bool
	// began is the last frame before this life.
	began uint64
}

const folder = "/ship/spool"

func (w *world) faults() {
	w.fs.Inject(nil)
	if !w.faulty {
		return
	}
	rate := []int{5, 20, 100}[w.r.IntN(3)]
	w.fs.Inject(func(op faultfs.Op) *faultfs.Fault {
		if w.r.IntN(rate) > 0 {
			return nil
		}
		switch op.Kind {
		case faultfs.Write:
			return &faultfs.Fault{Err: []error{syscall.ENOSPC, syscall.EIO}[w.r.IntN(2)], Done: w.r.IntN(max(1, op.Len))}
		case faultfs.Sync:
			w.lied = true
			return &faultfs.Fault{Err: []error{syscall.ENOSPC, syscall.EIO, syscall.EDQUOT}[w.r.IntN(3)]}
		case faultfs.Truncate, faultfs.TruncateName, faultfs.Create, faultfs.Remove, faultfs.SyncDir, faultfs.Rename, faultfs.Open:
			return &faultfs.Fault{Err: syscall.EIO}
		}
		return nil
	})
}

// reopen opens the spool. lossless: nothing of what was appended may be gone.
func (w *world) reopen(lossless bool) error {
	w.fs.Inject(nil)
	s, err := open(folder, Options{FS: w.fs, Content: "test"}, w.limits)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	w.s, w.q, w.out, w.last, w.appended, w.done, w.began = s, s, nil, 0, 0, 0, w.next
	if err := w.reconcile(); err != nil {
		return fmt.Errorf("after opening: %w", err)
	}
	if lossless && !w.small {
		open := int64(0)
		for id, f := range w.all {
			if !f.once && !f.doubtful {
				open += int64(eventsOf(id))
			}
		}
		if n := s.Stats().Recovered; n < open {
			return fmt.Errorf("%d events were recovered of %d", n, open)
		}
	}
	w.faults()
	return nil
}

func (w *world) sync() error {
	if err := w.s.Sync(); err != nil {
		return err
	}
	for id, f := range w.all {
		f.over = f.over || f.done
		f.durable = f.durable || !f.doubtful && (id > w.began || !w.lied)
	}
	return nil
}

func (w *world) step() error {
	var err error
	n := w.r.IntN(22)
	if w.small && w.r.IntN(2) == 0 {
		n = 0 // or no segment is ever dropped
	}
	switch {
	case n < 10:
		err = w.append()
	case n < 14:
		_, err = w.take(1 + w.r.IntN(4000))
	case n < 17:
		w.finish()
	case n < 20:
		err = w.sync()
	case w.r.IntN(3) == 0:
		w.fs.SetCapacity(w.fs.Used() + int64(w.r.IntN(6000)))
	default:
		w.fs.SetCapacity(0)
	}
	if errors.Is(err, faultfs.ErrDown) {
		return err
	}
	if wrong := w.reconcile(); wrong != nil {
		return wrong
	}
	switch {
	case errors.Is(err, ErrSize) && len(payload(w.next)) > w.limits.frame:
		return nil
	case errors.Is(err, ErrFull):
		w.counts["full"]++
		return nil
	case errors.Is(err, syscall.EIO), errors.Is(err, errAbandoned), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.ENOSPC):
		w.counts["failed"]++
		return nil
	}
	return err
}

// live does some steps until something ends the process. It returns whether nothing may be lost.
func (w *world) live() (lossless bool, err error) {
	if w.r.IntN(4) > 0 {
		w.fs.CrashAfter(1 + w.r.IntN(60))
	}
	failed := w.counts["failed"] + w.counts["full"]
	for range w.r.IntN(120) {
		if err := w.step(); errors.Is(err, faultfs.ErrDown) {
			break
		} else if err != nil {
			return false, err
		}
	}
	w.fs.SetCapacity(0)
	w.fs.CrashAfter(0)
	w.fs.Inject(nil)
	s := w.s.Stats()
	w.counts["dropped"] += int(min(s.Dropped, 1))
	w.counts["damaged"] += int(min(s.Damaged, 1))
	w.counts["torn"] += int(min(s.DamagedBytes, 1))
	defer func() { w.lost += s.Dropped + s.Damaged }()
	// What is done and wasn't synced may come back.
	defer func() {
		for _, f := range w.all {
			f.done = f.over
		}
	}()
	_, err = w.fs.Stat("/")
	switch up := err == nil; {
	case up && w.r.IntN(4) == 0: // the process is killed, the system lives on
		lossless = failed == w.counts["failed"]+w.counts["full"]
		for _, f := range w.all {
			f.doubtful = f.doubtful || !f.durable && !lossless
		}
		return lossless, nil
	case up && w.r.IntN(4) == 0: // it ends in order
		if err := w.s.Close(); err != nil {
			return false, fmt.Errorf("closing: %w", err)
		}
		s = w.s.Stats()
		if err := w.reconcile(); err != nil {
			return false, fmt.Errorf("after closing: %w", err)
		}
		for id, f := range w.all {
			f.over = f.over || f.done
			f.durable = f.durable || !f.doubtful && (id > w.began || !w.lied)
		}
		return true, nil
	}
	w.fs.Crash()
	w.lied = false
	for _, f := range w.all {
		f.doubtful = !f.durable
	}
	return false, nil
}

func run(seed uint64, counts map[string]int) error {
	r := rand.New(rand.NewPCG(seed, 2))
	w := &world{fs: faultfs.New(r), small: r.IntN(2) == 0}
	w.r, w.all, w.counts = r, map[uint64]*fate{}, counts
	w.limits = limits{bytes: 1 << 30, segment: int64(1000 + r.IntN(10_000)), segments: 1000, withoutSyncer: true}
	if w.small {
		w.limits.bytes = int64(5000 + r.IntN(5000))
		w.limits.segments = 5 + r.IntN(20)
	}
	w.limits.derive()
	w.limits.unsynced = min(w.limits.unsynced, 4000)
	w.limits.withoutEarlyReleases = r.IntN(4) == 0
	lossless := true
	for range 1 + r.IntN(4) {
		w.faulty = r.IntN(2) == 0
		if err := w.reopen(lossless); err != nil {
			return err
		}
		var err error
		if lossless, err = w.live(); err != nil {
			return err
		}
	}
	w.faulty = false
	if err := w.reopen(lossless); err != nil {
		return err
	}
	if err := w.drain(); err != nil {
		return fmt.Errorf("draining: %w", err)
	}
	if err := w.s.Close(); err != nil {
		return err
	}
	s := w.s.Stats()
	w.lost += s.Dropped + s.Damaged
	missing := int64(0)
	for id, f := range w.all {
		if f.durable && !f.delivered {
			missing += int64(eventsOf(id))
		}
	}
	if missing > w.lost || missing > 0 && !w.small {
		return fmt.Errorf("%d events that were durable never came, and %d are said to be lost", missing, w.lost)
	}
	if s.Bytes != 0 {
		return fmt.Errorf("%d bytes are left, though all is done", s.Bytes)
	}
	return nil
}

// Whatever fails, and whenever the power goes: what was synced is delivered or counted as lost, in order; what ended durably
// doesn't come again; and the counters reconcile at any time.
func TestCrashes(t *testing.T) {
	runs := 10_000
	switch {
	case os.Getenv("CULPRIT_SOAK") != "":
		runs = 200_000
	case testing.Short():
		runs = 2_000
	}
	counts := map[string]int{}
	for seed := range runs {
		if err := run(uint64(seed), counts); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	t.Log(runs, "runs:", counts)
	for _, what := range []string{"again", "joined", "full", "failed", "dropped", "damaged", "torn"} {
		if counts[what] < runs/200 {
			t.Errorf("%s only happened %d times", what, counts[what])
		}
	}
}
