package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/disk"
	"github.com/culprit-http/culprit/internal/store/query"
	"github.com/culprit-http/culprit/internal/store/segment"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// source gives what a question is about, and takes away what can't be read.
type source interface {
	snapshot() (parts []vector.Part, release func(), err error)
	// failed looks at the error of a question: true when it may be asked again.
	failed(err error) bool
	limits() query.Limits
}

// maxTries bounds how often a question is asked again, when segments are gone or damaged.
const maxTries = 20

// ask asks a question until it is answered of what can be read.
func ask(s source, question func(parts []vector.Part) error) error {
	for try := 1; ; try++ {
		parts, release, err := s.snapshot()
		if err == nil {
			err = question(parts)
			release()
		}
		if err == nil || try == maxTries || !s.failed(err) {
			return err
		}
	}
}

func search(ctx context.Context, s source, q *store.Search, found func(x *exchange.Exchange) error) (page *store.Page, err error) {
	shown, try := map[[exchange.IDSize]byte]int{}, 0 // in which try
	err = ask(s, func(parts []vector.Part) error {
		try++
		page, err = query.Search(ctx, parts, q, s.limits(), func(x *exchange.Exchange) error {
			id := x.ID("")
			if earlier := shown[id]; earlier > 0 && earlier < try {
				return nil
			}
			shown[id] = try
			return found(x)
		})
		return err
	})
	return page, err
}

func aggregate(ctx context.Context, s source, q *store.Aggregate) (t *store.Table, err error) {
	err = ask(s, func(parts []vector.Part) error {
		t, err = query.Aggregate(ctx, parts, q, s.limits())
		return err
	})
	return t, err
}

func byID(ctx context.Context, s source, id [exchange.IDSize]byte, found func(x *exchange.Exchange) error) error {
	return ask(s, func(parts []vector.Part) error {
		return query.ByID(ctx, parts, id, s.limits(), found)
	})
}

// Search implements store.Reader.
func (e *Engine) Search(ctx context.Context, q *store.Search, found func(x *exchange.Exchange) error) (*store.Page, error) {
	return search(ctx, e, q, found)
}

// Aggregate implements store.Reader.
func (e *Engine) Aggregate(ctx context.Context, q *store.Aggregate) (*store.Table, error) {
	return aggregate(ctx, e, q)
}

// Exchange implements store.Reader.
func (e *Engine) Exchange(ctx context.Context, id [exchange.IDSize]byte, found func(x *exchange.Exchange) error) error {
	return byID(ctx, e, id, found)
}

// Status implements store.Reader.
func (e *Engine) Status(context.Context) (*store.Status, error) {
	logged := logBytes(e.options.FS, e.dir)
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.status
	s.Problem = e.problem
	for _, t := range []*tail{e.tail, e.sealed} {
		if t != nil {
			s.Tail += int64(t.rows.Len())
		}
	}
	parts, release := e.parts()
	defer release()
	e.segments.count(&s)
	span(&s, parts)
	s.LogBytes = logged
	s.Bytes += s.LogBytes
	return &s, nil
}

// count adds what is in segments.
func (s *segments) count(status *store.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.all {
		status.Bytes += f.bytes
		status.Segments++
	}
}

// span sets how many exchanges there are, and from when to when.
func span(s *store.Status, parts []vector.Part) {
	for _, p := range parts {
		if p.Rows() == 0 {
			continue
		}
		first, last := p.Times()
		if s.Exchanges == 0 || first < s.First {
			s.First = first
		}
		if s.Exchanges == 0 || last > s.Last {
			s.Last = last
		}
		s.Exchanges += int64(p.Rows())
	}
}

// logBytes returns the size of the log's files.
func logBytes(f disk.FS, dir string) (bytes int64) {
	dir = filepath.Join(dir, logDir)
	entries, _ := f.ReadDir(dir)
	for _, entry := range entries {
		if info, err := f.Stat(filepath.Join(dir, entry.Name())); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// parts are what is stored now. The caller holds mu, so that no exchange moves from the tail to a segment meanwhile.
func (e *Engine) parts() (parts []vector.Part, release func()) {
	files, release := e.segments.snapshot()
	for _, f := range files {
		parts = append(parts, f)
	}
	if e.sealed != nil {
		parts = append(parts, e.sealed.chunk)
	}
	if e.tail.rows.Len() > 0 {
		parts = append(parts, e.tail.rows.Chunk())
	}
	return parts, release
}

func (e *Engine) snapshot() ([]vector.Part, func(), error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	parts, release := e.parts()
	return parts, release, nil
}

func (e *Engine) failed(err error) bool { return e.damage(err) == nil }

// damage sets a segment aside that an error says is damaged, and returns other errors.
func (e *Engine) damage(err error) error {
	var damaged *fileError
	if !errors.As(err, &damaged) || !errors.Is(err, segment.ErrDamaged) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	e.setAside(damaged.file, err)
	return nil
}

// setAside moves a segment that can't be read away, once.
func (e *Engine) setAside(f *file, err error) {
	e.segments.mu.Lock()
	again := f.gone
	f.gone = true
	e.segments.mu.Unlock()
	if again {
		return
	}
	e.segments.replace([]*file{f}, nil)
	e.mu.Lock()
	e.status.Damaged++
	e.mu.Unlock()
	to := filepath.Join(e.dir, damagedDir)
	moved := disk.MkdirAll(e.options.FS, to)
	if moved == nil {
		moved = e.options.FS.Rename(filepath.Join(e.segments.dir, f.path), filepath.Join(to, filepath.Base(filepath.Dir(f.path))+"-"+filepath.Base(f.path)))
	}
	text := fmt.Sprintf("%v: its %d exchanges are left out, and the file is set aside in %s", err, f.rows, to)
	if moved != nil {
		text = fmt.Sprintf("%v: its %d exchanges are left out; setting it aside: %v", err, f.rows, moved)
	}
	e.options.Warn(text)
}
