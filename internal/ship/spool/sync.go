package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/culprit-http/culprit/internal/store/disk"
)

// syncDelay is how long what was written and done waits for a sync: less than the second in which it must be durable.
const syncDelay = 700 * time.Millisecond

// syncer syncs soon after something has changed, and again until that works.
func (s *Spool) syncer() {
	defer close(s.stopped)
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-s.kick:
		case <-s.quit:
			return
		}
		t.Reset(syncDelay)
		select {
		case <-t.C:
		case <-s.quit:
			return
		}
		if s.Sync() != nil {
			s.dirty()
		}
	}
}

// Sync makes durable what was appended and done before, and deletes segments that are done. After an error some of that
// isn't certain; the next Sync tries again.
func (s *Spool) Sync() error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return s.sync()
}

// sync is called with both locks; it releases mu meanwhile.
func (s *Spool) sync() error {
	err := errors.Join(s.syncData(), s.syncOld(), s.syncCursor())
	s.wrong[syncing] = err
	s.removeDone()
	return errors.Join(err, s.wrong[removing])
}

func (s *Spool) syncData() (failure error) {
	for range 2 {
		s.release()
		if len(s.unsynced) == 0 {
			if s.full != nil {
				_ = s.full.f.Close() // all that it lacked is done
				s.full = nil
			}
			return nil
		}
		if s.cur == nil && s.full == nil {
			if err := s.makeRoomAgain(); err != nil {
				return err
			}
			if err := s.begin(0); err != nil {
				return err
			}
		}
		files := []*written{s.full, s.cur}
		var sizes [2]int64
		for i, w := range files {
			if w != nil {
				sizes[i] = w.size
			}
		}
		n, generation := len(s.unsynced), s.generation
		s.mu.Unlock()
		err := s.syncFiles(files)
		s.mu.Lock()
		if generation != s.generation {
			failure = errAbandoned
			continue
		}
		if err != nil {
			s.abandon()
			failure = failed("syncing", err)
			continue
		}
		for i, w := range files {
			if w != nil {
				w.readable, w.named = sizes[i], true
			}
		}
		if files[0] != nil {
			_ = files[0].f.Close()
			s.full = nil
		}
		s.forgetUnsynced(n)
		return nil
	}
	return failure
}

// makeRoomAgain makes room for the frames that must be written again. They are few enough for that.
func (s *Spool) makeRoomAgain() error {
	for s.bytes()+maxHead+s.unsyncedBytes > s.limits.bytes {
		g := s.oldest()
		if g == nil {
			return fmt.Errorf("writing %d bytes to the spool again: %w", s.unsyncedBytes, ErrSize)
		}
		if err := s.drop(g); err != nil {
			return err
		}
	}
	return nil
}

// syncFiles is called without mu.
func (s *Spool) syncFiles(files []*written) error {
	named := true
	for _, w := range files {
		if w == nil {
			continue
		}
		if err := w.f.Sync(); err != nil {
			return err
		}
		named = named && w.named
	}
	if named {
		return nil
	}
	return s.fs.SyncDir(s.dir)
}

// release forgets the frames that were done before they were durable: with a receiver that keeps up nothing need be
// synced but the cursor.
func (s *Spool) release() {
	n := 0
	for n < len(s.unsynced) && s.done.count(s.unsynced[n].span) == 0 && !s.limits.withoutEarlyReleases {
		n++
	}
	s.forgetUnsynced(n)
}

// forgetUnsynced forgets the first n frames that weren't durable.
func (s *Spool) forgetUnsynced(n int) {
	for _, f := range s.unsynced[:n] {
		s.unsyncedBytes -= int64(f.size)
		s.plainBytes -= len(f.plain)
	}
	left := copy(s.unsynced, s.unsynced[n:])
	clear(s.unsynced[left:])
	s.unsynced = s.unsynced[:left]
}

// syncOld makes durable what an earlier process has written, without torn ends.
func (s *Spool) syncOld() error {
	for len(s.resync) > 0 {
		g := s.resync[0]
		s.mu.Unlock()
		err := s.fs.Truncate(s.path(g), g.readable)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // it was dropped
		}
		if err == nil {
			err = s.fs.SyncDir(s.dir)
		}
		s.mu.Lock()
		if err != nil {
			return failed("syncing", err)
		}
		g.size = g.readable
		s.resync = s.resync[1:]
	}
	return nil
}

func (s *Spool) syncCursor() error {
	if !s.moved {
		return nil
	}
	s.moved = false
	b := appendCursor(nil, &s.done)
	s.mu.Unlock()
	err := writeCursor(s.fs, s.dir, b)
	s.mu.Lock()
	if err != nil {
		s.moved = true
		if disk.IsFull(err) {
			return failed("writing the cursor of", err)
		}
		return fmt.Errorf("writing the spool's cursor: %w", err)
	}
	return nil
}

// removeDone deletes the segments that are done as a whole and not written any more. As long as the cursor doesn't say so,
// only the oldest go: after a crash, one that lacks between others would look lost.
func (s *Spool) removeDone() {
	s.wrong[removing] = nil
	for i := 0; i < len(s.segments); {
		g := s.segments[i]
		abandoned := g.from == g.to
		keep := s.inUse(g) || s.done.count(g.span) > 0 || !abandoned && i > 0 && s.moved ||
			abandoned && len(s.unsynced) > 0 && s.cur == nil && s.full == nil
		if keep || s.remove(g) != nil {
			i++
		}
	}
}

// newMarker returns a random number that isn't zero.
func newMarker() (m uint64) {
	for m == 0 {
		var b [8]byte
		rand.Read(b[:])
		m = binary.LittleEndian.Uint64(b[:])
	}
	return m
}
