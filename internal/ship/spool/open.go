package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/culprit-http/culprit/internal/store/disk"
)

// VersionError says that a file was written by a program with another format.
type VersionError struct {
	Path    string
	Version uint32
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has format %d, and this program knows format %d: let the program that wrote it deliver what is in it, or move the folder away",
		e.Path, e.Version, version)
}

// Open opens the spool in a folder, which is made if needed, with what an earlier process left in it. It is an error if
// another process has it, or if it holds something else than Options.Content.
func Open(dir string, o Options) (*Spool, error) {
	l, err := o.limits()
	if err != nil {
		return nil, err
	}
	return open(dir, o, l)
}

func open(dir string, o Options, l limits) (*Spool, error) {
	s := &Spool{fs: o.FS, dir: dir, content: o.Content, limits: l, claims: map[*claim]struct{}{},
		kick: make(chan struct{}, 1), quit: make(chan struct{}), stopped: make(chan struct{}), reader: make(chan *reader, 1)}
	s.reader <- &reader{}
	if s.fs == nil {
		s.fs = disk.OS()
	}
	if err := disk.MkdirAll(s.fs, dir); err != nil {
		return nil, fmt.Errorf("making the folder of the spool: %w", err)
	}
	if o.FS == nil {
		var err error
		if s.lock, err = lock(dir); err != nil {
			return nil, err
		}
	}
	if err := s.recover(); err != nil {
		if s.lock != nil {
			err = errors.Join(err, s.lock.Unlock())
		}
		return nil, err
	}
	if l.withoutSyncer {
		close(s.stopped)
	} else {
		go s.syncer()
	}
	return s, nil
}

// lock keeps other processes out.
func lock(dir string) (*disk.DirLock, error) {
	l, err := disk.Lock(dir)
	var locked *disk.LockedError
	switch {
	case errors.As(err, &locked):
		who := "another culprit"
		if locked.PID > 0 {
			who = "culprit (pid " + strconv.Itoa(locked.PID) + ")"
		}
		return nil, fmt.Errorf("the spool %s is being used by %s: stop it, or choose another folder", dir, who)
	case errors.Is(err, errors.ErrUnsupported):
		return nil, nil // the system has no such locks
	case err != nil:
		return nil, fmt.Errorf("locking the spool: %w", err)
	}
	return l, nil
}

// recover finds out what an earlier process has left.
func (s *Spool) recover() error {
	var err error
	if s.done, err = readCursor(s.fs, s.dir); err != nil {
		return err
	}
	heads, err := s.readHeads()
	if err != nil {
		return err
	}
	if err := s.measureNewest(); err != nil {
		return err
	}
	// Each segment ends where a later one says that what was before it ended.
	limit := s.found
	for _, g := range slices.Backward(s.segments) {
		g.to = max(g.from, min(g.to, limit))
		limit = min(limit, heads[g].before)
	}
	// What was in segments that are gone was done or dropped.
	s.end = s.found
	if len(s.segments) > 0 {
		s.done.add(span{0, s.segments[0].from})
		s.end = max(s.end, s.segments[len(s.segments)-1].from)
	}
	// Numbers that were left out, or are from here on, have no events.
	for i, g := range s.segments {
		if i > 0 {
			s.done.add(span{heads[g].before, g.from})
		}
	}
	if n := len(s.done.above); n > 0 {
		s.end = max(s.end, s.done.above[n-1].to)
	}
	s.end = max(s.end, s.done.low)
	if s.end > maxNumber/2 {
		return fmt.Errorf("the events of the spool in %s have used up their numbers: move the folder away, no culprit wrote that", s.dir)
	}
	s.opened = s.end
	s.done.add(span{s.found, s.end})
	for _, g := range s.segments {
		if content := heads[g].content; content != s.content && s.done.count(g.span) > 0 {
			return fmt.Errorf("%s holds %q, and %q is to be delivered: let the program deliver it as it was set up before, or choose another folder",
				s.path(g), content, s.content)
		}
	}
	s.pos = s.done.low
	s.stats.Recovered = s.waiting()
	// Segments that were deleted may be back, and the limit lower than it was.
	s.removeDone()
	for g := s.oldest(); g != nil && s.bytes() > s.limits.bytes; g = s.oldest() {
		if s.drop(g) != nil {
			break // Append tries again
		}
	}
	if len(s.segments) > 0 {
		s.resync = slices.Clone(s.segments[max(0, len(s.segments)-2):])
		s.change()
	}
	return nil
}

// readHeads lists the segments, and deletes those whose head can't be believed: without it nothing in a segment can be
// understood.
func (s *Spool) readHeads() (map[*segment]head, error) {
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("reading the folder of the spool: %w", err)
	}
	heads := map[*segment]head{}
	// Names have a fixed width: their order is that of the numbers.
	for _, e := range entries {
		seq, ok := parseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		s.seq = seq
		name := filepath.Join(s.dir, e.Name())
		h, g, err := s.readHead(name, seq)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, errHead):
			s.stats.DamagedBytes += g.size
			if err := s.fs.Remove(name); err != nil {
				s.wrong[removing] = fmt.Errorf("deleting a damaged segment of the spool: %w", err)
			}
			continue
		case err != nil:
			return nil, err
		}
		heads[g] = h
		s.segments = append(s.segments, g)
	}
	// Numbers rise from segment to segment; one that begins before an earlier one replaces it.
	kept := s.segments[:0]
	for _, g := range s.segments {
		for len(kept) > 0 && kept[len(kept)-1].from >= g.from {
			old := kept[len(kept)-1]
			kept = kept[:len(kept)-1]
			if err := s.fs.Remove(s.path(old)); err != nil {
				s.wrong[removing] = fmt.Errorf("deleting a segment of the spool that was written again: %w", err)
			}
		}
		kept = append(kept, g)
	}
	s.segments = kept
	return heads, nil
}

func (s *Spool) readHead(name string, seq uint64) (h head, g *segment, err error) {
	f, err := s.fs.Open(name)
	if err != nil {
		return h, nil, fmt.Errorf("opening a segment of the spool: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return h, nil, fmt.Errorf("opening a segment of the spool: %w", err)
	}
	g = &segment{seq: seq, size: size, readable: size}
	w := window{disk.Window{File: f, Size: min(size, maxHead)}}
	h, n, err := parseHead(w.Bytes(0, int(w.Size)))
	switch {
	case err != nil:
		return h, g, err
	case h.version != version:
		return h, g, &VersionError{Path: name, Version: h.version}
	case h.seq != seq:
		return h, g, errHead // it is that of another file
	}
	g.marker, g.span, g.start = h.marker, span{h.first, maxNumber}, int64(n)
	return h, g, nil
}

// measureNewest finds out where the newest segment with an event ends. What stands behind its last intact frame isn't read
// again.
func (s *Spool) measureNewest() error {
	if len(s.segments) == 0 {
		return nil
	}
	g := s.segments[len(s.segments)-1]
	f, err := s.fs.Open(s.path(g))
	if err != nil {
		return fmt.Errorf("opening a segment of the spool: %w", err)
	}
	defer f.Close()
	w := window{disk.Window{File: f, Size: g.size}}
	budget := w.budget()
	g.to, g.readable = g.from, g.start
	for pos := g.start; ; {
		frame, at, ok := w.next(pos, g.marker, &budget)
		if !ok {
			break
		}
		pos = at + int64(frame.size)
		g.to, g.readable = max(g.to, frame.to), pos
	}
	s.stats.DamagedBytes += g.size - g.readable
	s.found = g.to
	return nil
}
