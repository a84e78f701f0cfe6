package embedded

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/segment"
	"github.com/culprit-http/culprit/internal/store/vector"
)

const (
	// mergeAtLeast is how many small segments of a day, one behind the other, are worth merging.
	mergeAtLeast = 4
	// mergeBytes bounds the bytes on disk of what is merged at once, mergeMemory those in memory, where it all is.
	mergeBytes  = 32 << 20
	mergeMemory = 512 << 20
)

// merge merges small segments, if there are any worth it. Segments at most double in rank at each merge, so that each
// exchange is written again only a few times.
func (e *Engine) merge(ctx context.Context) error {
	e.flushing.Lock()
	defer e.flushing.Unlock()
	if err := e.segments.finishFailed(); err != nil {
		return err
	}
	all, release := e.segments.snapshot()
	defer release()
	old, err := within(mergeable(all), mergeMemory)
	if err != nil {
		return e.damage(err)
	}
	if len(old) == 0 {
		return nil
	}
	return e.rewrite(ctx, old, func(*record.Row) bool { return true })
}

// rewrite makes one segment of several of one day, of those rows that keep says; there must be some. The caller holds
// flushing.
func (e *Engine) rewrite(ctx context.Context, old []*file, keep func(r *record.Row) bool) error {
	b := vector.NewBuilder()
	var row record.Row
	for _, f := range old {
		c, err := f.Open()
		if err != nil {
			return e.damage(err)
		}
		rows, err := vector.Load(c)
		if err = errors.Join(err, ctx.Err()); err != nil {
			c.Release()
			return e.damage(err)
		}
		for r := range rows.Len() {
			row.Reset()
			if err := rows.Row(r, nil, &row); err != nil {
				return err
			}
			if keep(&row) {
				b.Append(&row)
			}
		}
		c.Release()
	}
	m := b.Chunk()
	times, err := m.Ints(record.Time)
	if err != nil {
		return err
	}
	var names []string
	for _, f := range old {
		names = append(names, f.path)
	}
	written, err := e.segments.writeOne(m, m.Order(), times, strings.Join(names, "\n")+"\n")
	if err != nil {
		return err
	}
	e.segments.replace(old, []*file{written})
	err = e.segments.finishMerge(written.path)
	e.segments.unfinished = e.segments.unfinished || err != nil
	return err
}

// mergeable returns segments that are to be merged: several of one day, one behind the other, all of about the same
// number of rows or fewer, that fit into one.
func mergeable(all []*file) []*file {
	for limit := int64(segment.MaxRows) / 512; limit < segment.MaxRows; limit *= 8 {
		var run []*file
		rows, bytes := int64(0), int64(0)
		for _, f := range all {
			fits := f.rows <= limit && !f.large && (len(run) == 0 || dayOf(run[0].first) == dayOf(f.first)) &&
				rows+f.rows <= segment.MaxRows && bytes+f.bytes <= mergeBytes
			if !fits {
				if len(run) >= mergeAtLeast {
					return run
				}
				run, rows, bytes = nil, 0, 0
				if f.rows > limit || f.large {
					continue
				}
			}
			run = append(run, f)
			rows, bytes = rows+f.rows, bytes+f.bytes
			if len(run) >= 2*mergeAtLeast {
				return run
			}
		}
		if len(run) >= mergeAtLeast {
			return run
		}
	}
	return nil
}

// within returns the first of some segments, those that fit into so many bytes of memory together; none if that is less than
// two, and then it notes which of them is too large to be merged. Few bytes on a disk may be many in memory.
func within(old []*file, memory int64) ([]*file, error) {
	all := make([]int, len(record.Columns))
	for i := range all {
		all[i] = i
	}
	sum, before := int64(0), int64(0)
	for i, f := range old {
		c, err := f.Open()
		if err != nil {
			return nil, err
		}
		cost := c.Cost(all)
		c.Release()
		switch sum += cost; {
		case sum <= memory:
			before = cost
			continue
		case i == 1 && before > cost:
			old[0].large = true
		case i < 2:
			f.large = true
		}
		if i < 2 {
			return nil, nil
		}
		return old[:i], nil
	}
	return old, nil
}

// finishMerge deletes the segments that one replaces, and then the list of them.
func (s *segments) finishMerge(path string) error {
	list := filepath.Join(s.dir, path+mergeSuffix)
	names, err := readFile(s.fs, list)
	if err != nil {
		return err
	}
	for name := range strings.Lines(string(names)) {
		name = strings.TrimSuffix(name, "\n")
		if _, _, _, _, _, ok := parseName(name); !ok || name == path {
			continue
		}
		if err := s.fs.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := s.fs.SyncDir(filepath.Dir(list)); err != nil {
		return err
	}
	return s.fs.Remove(list)
}

// finishFailed finishes the merges whose old segments couldn't be deleted. Before that nothing may replace or delete the
// segments that they made: the old ones would count again. The caller holds flushing.
func (s *segments) finishFailed() error {
	if !s.unfinished {
		return nil
	}
	if err := s.finishMerges(); err != nil {
		return err
	}
	s.unfinished = false
	return nil
}

// finishMerges finishes the merges that a crash left unfinished.
func (s *segments) finishMerges() error {
	var lists []string
	if err := s.each(func(path string) error {
		if path, ok := strings.CutSuffix(path, mergeSuffix); ok {
			lists = append(lists, path)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, path := range lists {
		_, err := s.fs.Stat(filepath.Join(s.dir, path))
		switch {
		case errors.Is(err, fs.ErrNotExist): // it was never made
			err = s.fs.Remove(filepath.Join(s.dir, path+mergeSuffix))
		case err == nil:
			err = s.finishMerge(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Delete implements store.Store. By age it deletes exactly; by size, the oldest segments.
func (e *Engine) Delete(ctx context.Context, r store.Retention) (store.Deleted, error) {
	if err := e.Flush(); err != nil {
		return store.Deleted{}, err
	}
	e.flushing.Lock()
	defer e.flushing.Unlock()
	d, err := e.forget(r)
	if err != nil || r.Before == 0 {
		return d, err
	}
	if err := e.segments.finishFailed(); err != nil {
		return d, err
	}
	all, release := e.segments.snapshot()
	defer release()
	for _, f := range all {
		if f.first >= r.Before {
			continue
		}
		before := f.rows
		if err := e.rewrite(ctx, []*file{f}, func(row *record.Row) bool {
			if row.Time() < r.Before {
				return false
			}
			before--
			return true
		}); err != nil {
			return d, err
		}
		d.Exchanges += before
	}
	return d, nil
}

// forget deletes segments as a whole, when all of their exchanges are to be; the tail is left alone. The caller holds
// flushing.
func (e *Engine) forget(r store.Retention) (d store.Deleted, err error) {
	if err := e.segments.finishFailed(); err != nil {
		return d, err
	}
	all, release := e.segments.snapshot()
	defer release()
	bytes := int64(0)
	for _, f := range all {
		bytes += f.bytes
	}
	var old []*file
	for _, f := range all { // the oldest first
		if r.Before != 0 && f.last < r.Before || r.MaxBytes > 0 && bytes > r.MaxBytes {
			old = append(old, f)
			bytes -= f.bytes
			d.Exchanges += f.rows
			d.Bytes += f.bytes
		}
	}
	if len(old) == 0 {
		return d, nil
	}
	return d, e.segments.remove(old)
}
