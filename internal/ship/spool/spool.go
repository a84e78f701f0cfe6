package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"github.com/culprit-http/culprit/internal/ship"
	"github.com/culprit-http/culprit/internal/store/disk"
)

const (
	// DefaultMaxBytes is how much a spool has on disk, unless the options say otherwise.
	DefaultMaxBytes = 1 << 30
	// MinBytes is the least that a spool may be allowed.
	MinBytes = 4 << 20
	// MaxSegmentBytes is how large a segment is, unless the options say otherwise or the spool is small.
	MaxSegmentBytes = 64 << 20
	// MaxFrame is the largest frame, in bytes. In a spool of less than four times as much, it is a quarter of that.
	MaxFrame = 16 << 20
	// maxUnsynced is how many bytes may wait for a sync: as many are kept in memory. An Append that would go beyond
	// syncs first.
	maxUnsynced = 16 << 20
	// maxPlain is how many bytes of frames are kept as they were given until they are durable, so that a receiver that keeps
	// up costs no decompression: that is a third of the whole.
	maxPlain = 4 << 20
	// maxSegments is how many segments there are at most: each start of the program begins one.
	maxSegments = 4096
)

var (
	// ErrFull says that there is no room on the disk, within a longer error.
	ErrFull = ship.NoRoom("no room for the spool")
	// ErrClosed is returned after Close, and by Append after CloseAppend.
	ErrClosed = errors.New("the spool is closed")
	// ErrSize says that a frame is too large, or that it is empty or has no events.
	ErrSize = errors.New("the frame doesn't fit the spool")
	// errAbandoned says that a file was given up while it was being synced.
	errAbandoned = errors.New("it had to be given up after a failed write")
)

// Options say how a spool is kept.
type Options struct {
	// MaxBytes is how much it may have on disk, beside the cursor; 0 is DefaultMaxBytes. To make room, the oldest
	// segment is dropped.
	MaxBytes int64
	// SegmentBytes is how large a segment gets; 0 is a 32nd of MaxBytes, at most MaxSegmentBytes. More than a quarter of
	// MaxBytes is a quarter.
	SegmentBytes int64
	// Content says what the frames hold, in at most 255 bytes, such as the name of an encoding: a spool that holds
	// something else isn't opened.
	Content string
	// FS is where it is kept. nil is the operating system's; then the folder is locked for this process.
	FS disk.FS
}

// limits are what follows from the options.
type limits struct {
	bytes, segment       int64
	frame                int
	unsynced             int64
	segments             int
	withoutSyncer        bool // for tests: nothing is synced but by Sync
	withoutEarlyReleases bool // for tests: what is done before it was synced is synced all the same
}

func (o *Options) limits() (limits, error) {
	l := limits{bytes: o.MaxBytes, segment: o.SegmentBytes, segments: maxSegments}
	if l.bytes == 0 {
		l.bytes = DefaultMaxBytes
	}
	if l.bytes < MinBytes {
		return l, fmt.Errorf("a spool of %d bytes is too small: give it at least %d", l.bytes, MinBytes)
	}
	if l.segment <= 0 {
		// Not so small that the number of segments is what limits the spool.
		l.segment = max(min(l.bytes/32, MaxSegmentBytes), l.bytes/(maxSegments/4))
	}
	if len(o.Content) > maxContent {
		return l, fmt.Errorf("the name of the spool's content has %d bytes, and may have %d", len(o.Content), maxContent)
	}
	l.derive()
	return l, nil
}

// derive sees to it that a frame, and all that must be written again, fit beside the newest segments.
func (l *limits) derive() {
	quarter := l.bytes / 4
	l.segment = min(l.segment, quarter)
	l.frame = int(min(MaxFrame, quarter-maxHead-frameHead))
	l.unsynced = min(maxUnsynced, quarter-maxHead)
}

// segment is a file of the spool.
type segment struct {
	seq, marker uint64
	// span is what counts of it. An end before that of its last frame: what follows was written again elsewhere.
	span
	// size is the length of the file. What stands before readable, and was written by others or synced, may be read.
	size, readable int64
	start          int64 // of the first frame
}

// written is a segment that is being written, or waits for its last sync.
type written struct {
	*segment
	f     disk.File
	named bool // its name is durable
}

// claim is what a chunk has taken: its Token.
type claim struct{ spans []span }

// The kinds of problems, the most important first.
const (
	writing = iota
	syncing
	reading
	removing
	problems
)

// Spool is a ship.Queue on disk.
type Spool struct {
	fs      disk.FS
	dir     string
	content string
	lock    *disk.DirLock
	limits  limits
	buf     []byte // of Append

	kick    chan struct{} // something is to be synced
	quit    chan struct{}
	stopped chan struct{}
	// turn is of Sync and Close: one at a time. It is locked before mu.
	turn sync.Mutex
	// reader is had by one Next at a time.
	reader chan *reader

	mu sync.Mutex
	// segments are in order, the newest last. cur is the one that is written, and full the one before, if it waits for
	// its last sync; or nil. generation counts how often these were given up.
	segments   []*segment
	cur, full  *written
	generation int
	seq        uint64
	// end is the number of the next event, and pos that of the next to be taken.
	end, pos uint64
	// At Open the numbers ended at opened, and the events on disk at found, which is less if some were lost.
	opened, found uint64
	// unsynced are the frames that aren't known durable, in order, of unsyncedBytes. They aren't read from disk.
	unsynced      []stored
	unsyncedBytes int64
	plainBytes    int // of those of them that are kept as they were given too
	done          progress
	moved         bool // since the cursor was written
	claims        map[*claim]struct{}
	// resync are segments of an earlier process that may not be durable.
	resync []*segment
	wake   chan struct{} // is closed when there may be something for Next; nil: nobody waits
	// ended: nothing is appended any more; closing: Close was called; closed: it has ended all.
	ended, closing, closed bool

	stats ship.QueueStats
	wrong [problems]error
}

var _ ship.Queue = (*Spool)(nil)

// Append implements ship.Queue. After an error the frame isn't in the spool, and counts nowhere. errors.Is(err, ErrFull): the
// disk is full, and it may work later.
func (s *Spool) Append(frame []byte, events int) error {
	if len(frame) == 0 || len(frame) > s.limits.frame || events < 1 || int64(events) > 1<<31 {
		return fmt.Errorf("spooling %d events in %d bytes: %w: it takes up to %d bytes", events, len(frame), ErrSize, s.limits.frame)
	}
	b := appendFrame(s.buf[:0], frame, events)
	if s.buf = b; cap(b) > 2*disk.WindowSize && len(b) < disk.WindowSize {
		s.buf = nil // it was large once
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.ready(int64(len(b)))
	if err == nil {
		err = s.append(b, span{s.end, s.end + uint64(events)}, frame)
	}
	if errors.Is(err, ErrClosed) {
		return err
	}
	s.wrong[writing] = err
	return err
}

// ready sees to it that there is a segment with room for a stored frame. It is called with mu, which it may release
// meanwhile.
func (s *Spool) ready(need int64) error {
	for {
		switch {
		case s.ended || s.closed:
			return ErrClosed
		case s.unsyncedBytes > 0 && s.unsyncedBytes+need > s.limits.unsynced,
			s.full != nil && s.cur != nil && s.tooSmall(need):
			s.mu.Unlock()
			err := s.Sync()
			s.mu.Lock()
			if err != nil && !errors.Is(err, ErrClosed) {
				return err
			}
		case s.cur != nil && s.tooSmall(need):
			s.full, s.cur = s.cur, nil
		default:
			more := need
			if s.cur == nil {
				more += maxHead + s.unsyncedBytes
			}
			if again, err := s.makeRoom(more); again {
				continue
			} else if err != nil {
				return err
			}
			if s.cur != nil {
				return nil
			}
			return s.begin(need)
		}
	}
}

// tooSmall reports whether a stored frame is one too much for the current segment.
func (s *Spool) tooSmall(need int64) bool {
	return s.cur.size > s.cur.start && s.cur.size+need > s.limits.segment
}

// bytes returns how much all segments have.
func (s *Spool) bytes() (n int64) {
	for _, g := range s.segments {
		n += g.size
	}
	return n
}

// makeRoom drops the oldest segments until there is room for that much. again: mu was released, or what is written has
// changed.
func (s *Spool) makeRoom(more int64) (again bool, err error) {
	for s.bytes()+more > s.limits.bytes || len(s.segments) >= s.limits.segments && s.cur == nil {
		switch g := s.oldest(); {
		case g != nil:
			if err := s.drop(g); err != nil {
				return false, err
			}
		case s.full != nil:
			s.mu.Unlock()
			err := s.Sync()
			s.mu.Lock()
			return err == nil, err
		case s.cur != nil && s.cur.size > s.cur.start:
			s.full, s.cur = s.cur, nil
			return true, nil
		default:
			return false, fmt.Errorf("spooling %d bytes: %w", more, ErrSize)
		}
	}
	return false, nil
}

// oldest returns the oldest segment that may be dropped: one that isn't needed for writing.
func (s *Spool) oldest() *segment {
	if len(s.segments) == 0 {
		return nil
	}
	if g := s.segments[0]; !s.inUse(g) {
		return g
	}
	return nil
}

func (s *Spool) inUse(g *segment) bool {
	return s.cur != nil && s.cur.segment == g || s.full != nil && s.full.segment == g
}

// drop forgets a segment. What of it is being delivered isn't lost yet.
func (s *Spool) drop(g *segment) error {
	left := s.done
	left.above = append([]span(nil), left.above...)
	for c := range s.claims {
		for _, taken := range c.spans {
			left.add(taken)
		}
	}
	for _, lost := range left.open(nil, g.span) {
		s.stats.Dropped += lost.size()
		s.done.add(lost)
	}
	s.change()
	return s.remove(g)
}

// remove deletes a segment nothing of which is needed.
func (s *Spool) remove(g *segment) error {
	err := s.fs.Remove(s.path(g))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.wrong[removing] = fmt.Errorf("deleting an old segment of the spool: %w", err)
		return s.wrong[removing]
	}
	s.wrong[removing] = nil
	s.forget(g)
	return nil
}

// forget takes a segment off the list.
func (s *Spool) forget(g *segment) {
	for i, other := range s.segments {
		if other == g {
			s.segments = append(s.segments[:i], s.segments[i+1:]...)
			return
		}
	}
}

func (s *Spool) path(g *segment) string { return filepath.Join(s.dir, fileName(g.seq)) }

// append writes a stored frame to the current segment.
func (s *Spool) append(b []byte, numbers span, frame []byte) error {
	number(b, numbers.from)
	mark(b, s.cur.marker)
	if err := write(s.cur.f, b); err != nil {
		if s.cur.f.Truncate(s.cur.size) != nil {
			s.abandon()
		}
		return failed("writing", err)
	}
	s.cur.size += int64(len(b))
	s.cur.to, s.end = numbers.to, numbers.to
	kept := stored{span: numbers, raw: len(frame), size: len(b), b: append([]byte(nil), b...)}
	if s.plainBytes+len(frame) <= maxPlain {
		kept.plain = append([]byte(nil), frame...)
		s.plainBytes += len(frame)
	}
	s.unsynced = append(s.unsynced, kept)
	s.unsyncedBytes += int64(len(b))
	s.notify()
	s.dirty()
	return nil
}

func write(f disk.File, b []byte) error {
	n, err := f.Write(b)
	if err == nil && n < len(b) {
		return io.ErrShortWrite
	}
	return err
}

// failed makes an error one that the caller understands.
func failed(what string, err error) error {
	if disk.IsFull(err) {
		return fmt.Errorf("%s the spool: %w (%w): free some space; it goes on by itself then", what, ErrFull, err)
	}
	return fmt.Errorf("%s the spool: %w", what, err)
}

// notify wakes those who wait in Next.
func (s *Spool) notify() {
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

// dirty has the syncer sync soon.
func (s *Spool) dirty() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// change notes that the cursor must be written.
func (s *Spool) change() {
	s.moved = true
	s.dirty()
}

// Done implements ship.Queue.
func (s *Spool) Done(c *ship.Chunk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken, ok := c.Token.(*claim)
	if !ok {
		return
	}
	if _, ok := s.claims[taken]; !ok {
		return
	}
	delete(s.claims, taken)
	for _, n := range taken.spans {
		s.done.add(n)
	}
	s.change()
}

// CloseAppend implements ship.Queue.
func (s *Spool) CloseAppend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.notify()
}

// Stats implements ship.Queue.
func (s *Spool) Stats() ship.QueueStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.stats
	q.Limit = s.limits.bytes
	if !s.closed {
		q.Waiting, q.Bytes = s.waiting(), s.bytes()
	}
	var texts []string
	for _, err := range s.wrong {
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	q.Problem = strings.Join(texts, "; ")
	return q
}

// waiting returns how many events aren't done.
func (s *Spool) waiting() int64 { return s.done.count(span{s.done.low, s.end}) }

// Close implements ship.Queue. What was taken and isn't done is dropped if its segment is gone, and else stays.
func (s *Spool) Close() error {
	s.mu.Lock()
	closing := s.closing
	s.closing, s.ended = true, true
	s.mu.Unlock()
	if closing {
		return ErrClosed
	}
	close(s.quit)
	<-s.stopped
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	err := s.sync()
	for _, w := range []*written{s.full, s.cur} {
		if w != nil {
			_ = w.f.Close()
		}
	}
	s.full, s.cur = nil, nil
	s.removeDone() // that which was being written too
	s.dropGone()
	s.stats.Waiting, s.stats.Bytes = s.waiting(), s.bytes()
	s.closed = true
	s.notify()
	s.unsynced = nil
	s.mu.Unlock()
	r := <-s.reader // and nobody reads from here on
	r.close()
	s.reader <- r
	if s.lock != nil {
		err = errors.Join(err, s.lock.Unlock())
	}
	return err
}

// dropGone counts what isn't done and is in no segment: chunks that were taken before it went.
func (s *Spool) dropGone() {
	left := s.done
	left.above = append([]span(nil), left.above...)
	for _, g := range s.segments {
		left.add(g.span)
	}
	for _, lost := range left.open(nil, span{s.done.low, s.end}) {
		s.stats.Dropped += lost.size()
		s.done.add(lost)
	}
}

// begin begins a segment with all frames that aren't known durable. need is how many bytes will follow. After an error
// there is none.
func (s *Spool) begin(need int64) error {
	h := head{version: version, seq: s.seq + 1, marker: newMarker(), first: s.end, content: s.content}
	if h.seq > maxSeq {
		return fmt.Errorf("the segments of the spool in %s have used up their numbers: delete the last, which no culprit wrote", s.dir)
	}
	again := s.unsynced
	if s.full != nil {
		again = nil // it has them
	}
	if len(again) > 0 {
		h.first = again[0].from
	}
	if h.before = h.first; h.first == s.opened {
		h.before = s.found
	}
	b := h.append(nil)
	size := int64(len(b))
	for _, f := range again {
		size += int64(f.size)
	}
	// Writing much in vain each time would be slow, just when the disk is full.
	if free, err := s.fs.Free(s.dir); err == nil && free < size+need {
		return fmt.Errorf("beginning a segment of the spool in %s: %w: %d bytes are free and %d needed: free some space; it goes on by itself then",
			s.dir, ErrFull, free, size+need)
	}
	g := &segment{seq: h.seq, marker: h.marker, span: span{h.first, s.end}, size: size, start: int64(len(b))}
	f, err := s.fs.Create(s.path(g))
	if errors.Is(err, fs.ErrExist) {
		s.seq = h.seq // and the next attempt takes the next number
	}
	if err != nil {
		return failed("beginning a segment of", err)
	}
	// From here on the number is used, even if the file goes: it could come back after a crash.
	s.seq = h.seq
	err = write(f, b)
	for _, u := range again {
		if err == nil {
			mark(u.b, g.marker)
			err = write(f, u.b)
		}
	}
	if err != nil {
		_ = f.Close()
		_ = s.fs.Remove(s.path(g))
		return failed("beginning a segment of", err)
	}
	s.cur = &written{segment: g, f: f}
	s.segments = append(s.segments, g)
	return nil
}

// abandon stops using the segments that are written. What isn't known durable goes to the next one; until that has it, they
// stay: the process may be killed before.
func (s *Spool) abandon() {
	n := s.end
	if len(s.unsynced) > 0 {
		n = s.unsynced[0].from
	}
	for _, w := range []*written{s.full, s.cur} {
		if w == nil {
			continue
		}
		_ = w.f.Close()
		w.to = max(min(w.to, n), w.from)
	}
	s.full, s.cur = nil, nil
	s.generation++
}

// wait waits until there may be something for Next. It is called with mu, which it releases.
func (s *Spool) wait(ctx context.Context) error {
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	wake := s.wake
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
