package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/query"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/segment"
	"github.com/culprit-http/culprit/internal/store/vector"
	"github.com/culprit-http/culprit/internal/store/wal"
)

// Reader reads a store that another process may write. It changes nothing. It implements store.Reader: each question is
// about what was stored when it came.
type Reader struct {
	dir      string
	options  Options
	mu       sync.Mutex
	segments *segments
	// damaged are the paths of segments that couldn't be read. It is guarded by segments.mu.
	damaged map[string]bool
}

// OpenReader opens the store in a folder for reading.
func OpenReader(dir string, o Options) (*Reader, error) {
	o = o.complete()
	if err := checkFormat(o.FS, dir, false); err != nil {
		return nil, err
	}
	r := &Reader{dir: dir, options: o, damaged: map[string]bool{}}
	r.segments = newSegments(o.FS, filepath.Join(dir, segmentsDir), r.setAside)
	if err := r.segments.listStable(); err != nil {
		return nil, fmt.Errorf("opening the store %s: %w", dir, err)
	}
	return r, nil
}

// Search, Aggregate and Exchange implement store.Reader.
func (r *Reader) Search(ctx context.Context, q *store.Search, found func(x *exchange.Exchange) error) (*store.Page, error) {
	return search(ctx, r, q, found)
}

func (r *Reader) Aggregate(ctx context.Context, q *store.Aggregate) (*store.Table, error) {
	return aggregate(ctx, r, q)
}

func (r *Reader) Exchange(ctx context.Context, id [exchange.IDSize]byte, found func(x *exchange.Exchange) error) error {
	return byID(ctx, r, id, found)
}

// Status implements store.Reader. Counters of the writer aren't known.
func (r *Reader) Status(context.Context) (*store.Status, error) {
	parts, release, err := r.snapshot()
	if err != nil {
		return nil, err
	}
	defer release()
	r.segments.mu.Lock()
	s := &store.Status{Damaged: len(r.damaged)}
	r.segments.mu.Unlock()
	r.segments.count(s)
	span(s, parts)
	for _, p := range parts {
		if m, ok := p.(*vector.Memory); ok {
			s.Tail += int64(m.Rows())
		}
	}
	s.LogBytes = logBytes(r.options.FS, r.dir)
	s.Bytes += s.LogBytes
	return s, nil
}

// Close implements store.Reader.
func (r *Reader) Close() error { return r.segments.close() }

func (r *Reader) limits() query.Limits { return r.options.limits() }

// snapshot reads the log first and lists the segments then: what moves from one to the other meanwhile is in both, and
// left out of the first.
func (r *Reader) snapshot() (parts []vector.Part, release func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var batches [][]byte
	var headers [][]byte
	if _, err := wal.Read(r.options.FS, filepath.Join(r.dir, logDir), 0, func(_ uint64, header, payload []byte) error {
		batches = append(batches, append([]byte(nil), payload...))
		headers = append(headers, append([]byte(nil), header...))
		return nil
	}); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if err := r.relist(); err != nil {
		return nil, nil, err
	}
	tail, err := r.tail(headers, batches)
	if err != nil {
		return nil, nil, err
	}
	files, release := r.segments.snapshot()
	for _, f := range files {
		parts = append(parts, f)
	}
	if tail.Rows() > 0 {
		parts = append(parts, tail)
	}
	return parts, release, nil
}

// relist lists the segments again, and keeps those open that are still there.
func (r *Reader) relist() error {
	before, release := r.segments.snapshot()
	defer release()
	if err := r.segments.listStable(); err != nil {
		return err
	}
	old := map[string]*file{}
	for _, f := range before {
		old[f.path] = f
	}
	r.segments.mu.Lock()
	defer r.segments.mu.Unlock()
	var all []*file
	for _, f := range r.segments.all {
		switch have := old[f.path]; {
		case r.damaged[f.path]:
		case have != nil:
			all = append(all, have)
			delete(old, f.path)
		default:
			all = append(all, f)
		}
	}
	for _, f := range old {
		f.gone = true
	}
	r.segments.set(all)
	return nil
}

// tail makes columns of what is in the log alone.
func (r *Reader) tail(headers, batches [][]byte) (*vector.Memory, error) {
	b, decoders := vector.NewBuilder(), decoders{}
	seen := map[string]bool{}
	last := r.segments.last()
	for i, batch := range batches {
		d, err := decoders.get(headers[i])
		if err != nil {
			return nil, err
		}
		ids := map[string]int64{}
		if err := d.Each(batch, func(row *record.Row) error {
			if row.Time() <= last {
				ids[string(row.ID())] = row.Time()
			}
			return nil
		}); err != nil {
			return nil, err
		}
		known, err := r.segments.known(ids)
		if err != nil {
			return nil, err
		}
		if err := d.Each(batch, func(row *record.Row) error {
			if id := string(row.ID()); !known[id] && !seen[id] {
				seen[id] = true
				b.Append(row)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return b.Chunk(), nil
}

// failed implements source: segments may be gone since they were listed, merged into others.
func (r *Reader) failed(err error) bool {
	var f *fileError
	if !errors.As(err, &f) {
		return false
	}
	if errors.Is(err, segment.ErrDamaged) {
		r.setAside(f.file, err)
		return true
	}
	return errors.Is(err, fs.ErrNotExist)
}

// setAside leaves a segment alone from now on.
func (r *Reader) setAside(f *file, err error) {
	r.segments.mu.Lock()
	again := f.gone
	f.gone = true
	if !again {
		r.damaged[f.path] = true
	}
	r.segments.mu.Unlock()
	if again {
		return
	}
	r.segments.replace([]*file{f}, nil)
	r.options.Warn(fmt.Sprintf("%v: its %d exchanges are left out", err, f.rows))
}
