// Package parquet writes exchanges to Parquet files, in the schema of the store: whatever reads Parquet can read them.
//
// # Theory of operation
//
// A Parquet file can only be read when it is complete, since what it holds is told at its end. So it is written to a work file,
// which has no name, and copied to its place when it is complete. Until then, there is what was there before: a file of an earlier turn
// or run, or a table without rows. So all files of a pattern can be read at any time, but while one is copied; none is made or
// renamed, for which there may be no right any more.
//
//	Exchange --> columns in memory --full--> row group --> work file --complete--> file 1 | file 2 | ... | file n
//
// A row group is written by a goroutine of its own while the next one is filled: compressing it takes longer than a live
// capture can wait.
package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/segment"
	"github.com/culprit-http/culprit/internal/store/vector"
)

const (
	// DefaultGroupBytes is how much memory the exchanges of a row group take, at most. While one is written, the next is
	// filled.
	DefaultGroupBytes = 32 << 20
	// minGroupBytes is the least, where files are small.
	minGroupBytes = 64 << 10
	// firstRatio is how many bytes in memory become one in the file, until that was measured, and leastRatio and mostRatio bound
	// what is believed of it.
	firstRatio = 5
	leastRatio = 1
	mostRatio  = 50
)

// File is one of the files; an *os.File that was opened for reading and writing, and not truncated if what an earlier run wrote
// is to stay until it is the file's turn.
type File interface {
	io.Reader
	io.Writer
	io.Seeker
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
	Name() string
}

// Options say when a file ends.
type Options struct {
	// RotateSize ends a file when it has about so many bytes, 0: never.
	RotateSize int64
	// RotateEvery ends it when the starts of its exchanges would span that much, 0: never.
	RotateEvery time.Duration
	// GroupBytes is how much memory a row group takes; 0 is DefaultGroupBytes. A group has at most segment.MaxRows exchanges.
	GroupBytes int64
}

// Output writes Parquet. It implements output.Output.
type Output struct {
	o       Options
	files   []File
	work    File
	at      int // the file that is next
	batch   record.Batch
	decoder *record.Decoder
	rows    *vector.Builder
	// first is the start of the first exchange of the file, in nanoseconds since 1970; begun: there is one.
	first int64
	begun bool
	// busy has the result of the row group that is being written; nil: none is.
	busy chan result
	err  error
	// known is what is known of the groups before that one: files end by it, so that they don't depend on how long writing
	// takes. next is of that one, once it is written.
	known, next result
	// filled is how much memory the file's groups took.
	filled int64
	// What follows belongs to the goroutine while busy.
	w       *segment.Writer
	counted *counter
	// held exchanges are in the work file, and took that much memory. measured: a whole file was.
	held     int
	memory   int64
	measured bool
}

// result is what has become of a row group.
type result struct {
	err error
	// ratio is how many bytes in memory become one in a file.
	ratio float64
}

// counter counts what is written to a file.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// New returns an output that fills files in turn, beginning behind the newest that has exchanges. work is empty, and may have no
// name. Files without content become tables without rows. All files stay the caller's to close.
func New(files []File, work File, o Options) (*Output, error) {
	if o.GroupBytes <= 0 {
		o.GroupBytes = DefaultGroupBytes
	}
	o.GroupBytes = min(o.GroupBytes, vector.MaxBytes)
	decoder, err := record.NewDecoder(record.Header())
	if err != nil {
		return nil, err
	}
	p := &Output{o: o, files: files, work: work, decoder: decoder, rows: vector.NewBuilder(), known: result{ratio: firstRatio}}
	p.next = p.known
	return p, p.prepare()
}

// prepare makes all files readable, and finds out which is next.
func (p *Output) prepare() error {
	if len(p.files) == 0 {
		return errors.New("there is no file to write")
	}
	var empty bytes.Buffer
	if err := segment.NewWriter(&empty).Close(); err != nil {
		return err
	}
	var newest time.Time
	for i, f := range p.files {
		info, err := f.Stat()
		switch {
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is no file: Parquet can only be written to files", f.Name())
		case info.Size() == 0:
			if _, err := f.Write(empty.Bytes()); err != nil {
				return err
			}
		case info.Size() > int64(empty.Len()) && info.ModTime().After(newest):
			newest, p.at = info.ModTime(), (i+1)%len(p.files)
		}
	}
	return nil
}

// Exchange implements output.Output.
func (p *Output) Exchange(x *exchange.Exchange) error {
	if p.err != nil {
		return p.err
	}
	start := x.Start.Time
	if every := int64(p.o.RotateEvery); every > 0 && p.begun && start-p.first >= every {
		if err := p.group(true); err != nil {
			return err
		}
	}
	if !p.begun {
		p.first, p.begun = start, true
	}
	p.batch.Reset()
	p.batch.Add(x)
	if err := p.decoder.Each(p.batch.Bytes(), func(r *record.Row) error {
		p.rows.Append(r)
		return nil
	}); err != nil {
		return err
	}
	if p.rows.Len() >= segment.MaxRows || p.rows.Bytes() >= p.o.GroupBytes {
		return p.group(false)
	}
	if p.o.RotateSize > 0 && p.rows.Bytes() >= minGroupBytes && p.size() >= p.o.RotateSize {
		return p.group(true)
	}
	return nil
}

// size returns about how large the file would be with the rows that are in memory.
func (p *Output) size() int64 {
	return int64(float64(p.filled+p.rows.Bytes()) / p.known.ratio)
}

// join takes the result of the row group that is being written; wait: if need be, it waits for that.
func (p *Output) join(wait bool) error {
	if p.busy == nil {
		return p.err
	}
	if wait {
		p.next = <-p.busy
	} else {
		select {
		case p.next = <-p.busy:
		default:
			return nil
		}
	}
	p.busy, p.err = nil, p.next.err
	return p.err
}

// group has the rows in memory written; last: the file is complete with them.
func (p *Output) group(last bool) error {
	if err := p.join(true); err != nil {
		return err
	}
	p.known = p.next
	rows := p.rows
	p.rows = rows.Next()
	if p.filled += rows.Bytes(); last {
		p.begun, p.filled = false, 0
	}
	p.busy = make(chan result, 1)
	go func(done chan<- result, ratio float64) { done <- p.write(rows, last, ratio) }(p.busy, p.known.ratio)
	return nil
}

// write writes a row group.
func (p *Output) write(rows *vector.Builder, last bool, ratio float64) (r result) {
	r.ratio = ratio
	if n := rows.Len(); n > 0 {
		if p.w == nil {
			p.counted = &counter{w: p.work}
			p.w = segment.NewWriter(p.counted)
		}
		m := rows.Chunk()
		p.held += n
		p.memory += rows.Bytes()
		if r.err = p.w.Write(m, m.Order()); r.err != nil {
			r.err = p.failed(r.err)
			return r
		}
		if !p.measured {
			r.measure(p.memory, p.counted.n)
		}
	}
	if last && p.w != nil {
		var size int64
		size, r.err = p.complete()
		r.measure(p.memory, size) // with what stands at the end, which is much of a small file
		p.memory, p.measured = 0, true
	}
	return r
}

func (r *result) measure(memory, size int64) {
	if size > 0 {
		r.ratio = min(max(float64(memory)/float64(size), leastRatio), mostRatio)
	}
}

// complete copies the work file to its place, and returns its size.
func (p *Output) complete() (size int64, err error) {
	if err := p.w.Close(); err != nil {
		return 0, p.failed(err)
	}
	to := p.files[p.at]
	if _, err := p.work.Seek(0, io.SeekStart); err != nil {
		return 0, p.failed(err)
	}
	if err := restart(to); err != nil {
		return 0, p.failed(err)
	}
	if size, err = io.Copy(to, p.work); err != nil {
		_ = restart(to) // what has no end can't be read
		return 0, p.failed(err)
	}
	if err := restart(p.work); err != nil {
		return 0, p.failed(err)
	}
	p.at = (p.at + 1) % len(p.files)
	p.w, p.counted, p.held = nil, nil, 0
	return size, nil
}

// restart empties a file.
func restart(f File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// failed says what an error has cost.
func (p *Output) failed(err error) error {
	return fmt.Errorf("writing %s: %w: the %d exchanges that were to be in it are lost; it needs its room twice while it is written", p.files[p.at].Name(), err, p.held)
}

// Flush implements output.Output. A Parquet file that isn't complete can't be read, so it does nothing but tell errors.
func (p *Output) Flush() error { return p.join(false) }

// Close implements output.Output: it completes the file.
func (p *Output) Close() error {
	if p.err != nil {
		return p.err
	}
	if err := p.group(true); err != nil {
		return err
	}
	return p.join(true)
}
