package body

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

const (
	// streamBuffer is how much is read and written at a time, in bytes.
	streamBuffer = 64 << 10
	// maxStreamed is the most bytes that a layer may make of what is within another one: a bomb within a bomb is as long as the outer one
	// says, and nothing of it is ever kept.
	maxStreamed = 16 << 30
)

// Stream undoes the content codings of a body that is too long to be kept in memory, as Decode does: it reads src to its end, and writes
// what that stands for to dst, max bytes at most. What it needs doesn't depend on the body's length. The error is that of src or of dst; what is
// wrong with the body is in the Result. With Undecoded, what was written is still so coded, or nothing is.
func Stream(dst io.Writer, codings []byte, src io.Reader, max int64) (Result, error) {
	layers, n, r := layersOf(codings)
	if r.Undecoded != "" && n == 0 {
		return r, nil
	}
	in := &source{r: src}
	var last *bufio.Reader = bufio.NewReaderSize(in, streamBuffer)
	limits := make([]*limited, 0, n)
	for _, c := range layers[:n] {
		opened, err := c.open(last)
		if err != nil {
			if in.err != nil {
				return r, in.err
			}
			return Result{Decoded: -1, Undecoded: c.name, Bad: !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF)}, nil
		}
		if closer, ok := opened.(interface{ Close() }); ok {
			defer closer.Close()
		}
		l := &limited{r: opened, left: maxStreamed}
		limits = append(limits, l)
		last = bufio.NewReaderSize(l, streamBuffer)
	}
	out := &sink{w: dst, left: max}
	written, err := last.WriteTo(out)
	written = min(written, max)
	r.Decoded = -1
	for _, l := range limits {
		r.Trailing = r.Trailing || l.trailing
		r.Limited = r.Limited || l.limited
	}
	switch {
	case out.err != nil:
		return r, out.err
	case in.err != nil:
		return r, in.err
	case out.limited || r.Limited:
		r.Limited = true
	case err == nil:
	case errors.Is(err, io.ErrUnexpectedEOF):
		r.Complete = false
	case errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded):
		r.Limited = true
	default:
		r.Bad, r.Complete = true, false
	}
	if written == 0 && (r.Bad || r.Limited && max > 0) && n > 0 {
		r.Undecoded = layers[0].name
	}
	r.Complete = r.Complete && !r.Limited && r.Undecoded == ""
	if r.Complete {
		r.Decoded = written
	}
	return r, nil
}

// source tells an error of what is read from those of who reads it.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// errLimit ends a copy when there was enough.
var errLimit = errors.New("body: more than is wanted")

// sink takes what there is room for.
type sink struct {
	w       io.Writer
	left    int64
	limited bool
	err     error
}

func (s *sink) Write(b []byte) (int, error) {
	n := len(b)
	if int64(n) > s.left {
		s.limited, n = true, int(s.left)
	}
	if n > 0 {
		if _, s.err = s.w.Write(b[:n]); s.err != nil {
			return 0, s.err
		}
		s.left -= int64(n)
	}
	if s.limited {
		return n, errLimit
	}
	return n, nil
}

// limited is what a layer makes, as far as that is bearable. What comes behind the coded data ends it.
type limited struct {
	r                 io.Reader
	left              int64
	limited, trailing bool
	idle              int
}

func (l *limited) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	if l.left -= int64(n); l.left < 0 {
		l.limited = true
		return 0, errLimit
	}
	if l.idle++; n > 0 || err != nil {
		l.idle = 0
	}
	switch {
	case l.idle > maxIdle:
		return n, errIdle
	case err != nil && (errors.Is(err, errTrailing) || err.Error() == errExcessive || errors.Is(err, zstd.ErrMagicMismatch) && l.left < maxStreamed):
		l.trailing = true
		return n, io.EOF
	}
	return n, err
}

// errTrailing says that bytes follow the coded data.
var errTrailing = errors.New("body: bytes follow the coded data")

// members reads the members of a gzip file, one after the other (RFC 1952 §2.2).
type members struct {
	src *bufio.Reader
	z   *gzip.Reader
}

func openGzip(src *bufio.Reader) (io.Reader, error) {
	z, err := gzip.NewReader(src)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return &members{src, z}, nil
}

func (m *members) Read(b []byte) (int, error) {
	n, err := m.z.Read(b)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	next, err := m.src.Peek(3)
	switch _, ok := gzipHeader(next); {
	case len(next) == 0 && errors.Is(err, io.EOF):
		return n, io.EOF
	case !ok || len(next) < 3:
		return n, errTrailing
	}
	if err := m.z.Reset(m.src); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
	m.z.Multistream(false)
	return n, nil
}

// ended says whether bytes follow when the coded data has ended.
type ended struct {
	src *bufio.Reader
	r   io.Reader
}

func (e *ended) Read(b []byte) (int, error) {
	n, err := e.r.Read(b)
	if errors.Is(err, io.EOF) {
		if next, _ := e.src.Peek(1); len(next) > 0 {
			return n, errTrailing
		}
	}
	return n, err
}

// openDeflate opens the zlib format, or what is within it alone, as senders have it.
func openDeflate(src *bufio.Reader) (io.Reader, error) {
	head, err := src.Peek(2)
	if err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	if v := binary.BigEndian.Uint16(head); head[0]&0x0f == 8 && head[0]>>4 <= 7 && v%31 == 0 {
		z, err := zlib.NewReader(src)
		if err != nil {
			return nil, err
		}
		return &ended{src, z}, nil
	}
	return &ended{src, flate.NewReader(src)}, nil
}

func openBrotli(src *bufio.Reader) (io.Reader, error) { return brotli.NewReader(src), nil }

// openZstd opens a decompressor that works without goroutines.
func openZstd(src *bufio.Reader) (io.Reader, error) {
	r := newZstd(MaxZstdWindow, false)
	if err := r.Reset(src); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Known reports whether a content coding can be undone, by its name.
func Known(coding []byte) bool {
	c := find(coding)
	return c != nil && c.undo != nil
}
