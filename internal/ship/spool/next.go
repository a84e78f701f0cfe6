package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/culprit-http/culprit/internal/ship"
	"github.com/culprit-http/culprit/internal/store/disk"
)

// Next implements ship.Queue. An error that is neither ctx's nor io.EOF nor ErrClosed is one of opening a segment, and may be
// gone the next time.
func (s *Spool) Next(ctx context.Context, maxBytes int) (*ship.Chunk, error) {
	for {
		taken, frames, err := s.take(ctx, maxBytes)
		if err != nil {
			return nil, err
		}
		c := &ship.Chunk{Token: taken}
		for i := range frames {
			b, err := frames[i].frame()
			if err != nil { // the checksum fits, so it was written like that
				s.damaged(taken, frames[i].span)
				continue
			}
			c.Frames = append(c.Frames, b)
			c.Events += int(frames[i].span.size())
		}
		if len(c.Frames) > 0 {
			return c, nil
		}
		s.Done(c)
	}
}

// damaged counts events that can't be had, and takes them off a claim.
func (s *Spool) damaged(from *claim, lost span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []span
	for _, n := range from.spans {
		p := progress{low: n.from}
		p.add(lost)
		left = p.open(left, n)
	}
	from.spans = left
	s.lose(lost)
}

// lose counts the events of a span that aren't done as damaged.
func (s *Spool) lose(lost span) {
	if n := s.done.count(lost); n > 0 {
		s.stats.Damaged += n
		s.done.add(lost)
		s.change()
	}
}

// take claims the next frames.
func (s *Spool) take(ctx context.Context, maxBytes int) (*claim, []stored, error) {
	r, err := s.takeReader(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() { s.reader <- r }()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := taking{claim: &claim{}, room: maxBytes}
	for !t.full {
		s.pos = s.done.next(s.pos)
		switch {
		case s.closed:
			return nil, nil, ErrClosed
		case s.pos >= s.end && len(t.frames) > 0:
			t.full = true
		case s.pos >= s.end && s.ended:
			return nil, nil, io.EOF
		case s.pos >= s.end:
			if err := s.wait(ctx); err != nil {
				return nil, nil, err
			}
		case len(s.unsynced) > 0 && s.pos >= s.unsynced[0].from:
			s.fromMemory(&t)
		default:
			err := s.fromDisk(&t, r)
			s.wrong[reading] = err
			if err != nil && len(t.frames) == 0 {
				return nil, nil, err
			}
			t.full = t.full || err != nil
		}
	}
	return t.claim, t.frames, nil
}

// takeReader waits for the reader to be free.
func (s *Spool) takeReader(ctx context.Context) (*reader, error) {
	select {
	case r := <-s.reader:
		return r, nil
	default:
	}
	select {
	case r := <-s.reader:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// taking is a chunk in the making.
type taking struct {
	claim  *claim
	frames []stored
	room   int
	full   bool
}

// add adds a frame, and claims those of its events that aren't done.
func (s *Spool) add(t *taking, f *stored) {
	before := len(t.claim.spans)
	t.claim.spans = s.done.open(t.claim.spans, f.span)
	if len(t.claim.spans) == before {
		return // dropped while it was being read
	}
	if before == 0 {
		s.claims[t.claim] = struct{}{}
	}
	t.frames = append(t.frames, *f)
	t.room -= f.raw
}

// fromMemory takes frames that aren't known durable.
func (s *Spool) fromMemory(t *taking) {
	i, _ := slices.BinarySearchFunc(s.unsynced, s.pos, func(f stored, n uint64) int {
		if f.to <= n {
			return -1
		}
		return 1
	})
	if i == len(s.unsynced) {
		s.pos = s.end
		return
	}
	f := &s.unsynced[i]
	if s.done.count(f.span) > 0 {
		if t.full = len(t.frames) > 0 && f.raw > t.room; t.full {
			return
		}
		s.add(t, f)
		s.plainBytes -= len(f.plain)
		f.plain = nil // it is the chunk's
	}
	s.pos = f.to
}

// fromDisk takes frames of the segment that has the next event. It releases mu meanwhile.
func (s *Spool) fromDisk(t *taking, r *reader) error {
	limit := s.end
	if len(s.unsynced) > 0 {
		limit = s.unsynced[0].from
	}
	var g *segment
	for _, other := range s.segments {
		if other.from <= s.pos && s.pos < other.to {
			g = other
			limit = min(limit, other.to)
			break
		}
		if other.from > s.pos {
			limit = min(limit, other.from)
		}
	}
	if g == nil {
		s.lose(span{s.pos, limit}) // no segment has it
		s.pos = limit
		return nil
	}
	want := progress{s.done.low, slices.Clone(s.done.above)}
	pos, readable := s.pos, g.readable
	s.mu.Unlock()
	var frames []stored
	reached, err := pos, r.open(s.fs, s.path(g), g, readable)
	if err == nil {
		n, room := len(t.frames), t.room
		frames, reached = r.read(pos, limit, &want, func(f *stored) bool {
			if n > 0 && f.raw > room {
				t.full = true
				return false
			}
			n, room = n+1, room-f.raw
			return true
		})
	} else if errors.Is(err, fs.ErrNotExist) {
		reached, err = limit, nil // somebody has deleted it, or it was dropped
	}
	s.mu.Lock()
	if err != nil {
		return fmt.Errorf("reading the spool: %w", err)
	}
	gap := progress{low: pos}
	for i := range frames {
		gap.add(frames[i].span)
		s.add(t, &frames[i])
	}
	for _, lost := range gap.open(nil, span{pos, reached}) {
		s.lose(lost)
	}
	s.pos = max(s.pos, reached)
	return nil
}

// reader reads segments from where it was before.
type reader struct {
	g      *segment
	w      window
	pos    int64
	budget int64
}

// open makes a segment the one that is read. readable is how much of it may be.
func (r *reader) open(f disk.FS, name string, g *segment, readable int64) error {
	if r.g != g {
		r.close()
		file, err := f.Open(name)
		if err != nil {
			return err
		}
		r.w.Reset(file, 0)
		*r = reader{g: g, w: r.w, pos: g.start}
	}
	if readable > r.w.Size {
		r.w.Size = readable
		r.budget = r.w.budget()
	}
	return nil
}

func (r *reader) close() {
	if r.g != nil {
		_ = r.w.File.Close()
		r.g = nil
	}
}

// read returns the intact frames with events from pos on and below limit, as long as accept takes them and not all of
// their events are done; and the number up to which nothing else will come.
func (r *reader) read(pos, limit uint64, done *progress, accept func(*stored) bool) (frames []stored, reached uint64) {
	for pos < limit {
		f, at, ok := r.w.next(r.pos, r.g.marker, &r.budget)
		if r.pos = at; !ok || f.from >= limit {
			return frames, limit
		}
		if f.to > pos && done.count(f.span) > 0 {
			if !accept(&f) {
				return frames, pos
			}
			f.b = slices.Clone(f.b)
			frames = append(frames, f)
		}
		r.pos += int64(f.size)
		pos = max(pos, f.to)
	}
	return frames, pos
}
