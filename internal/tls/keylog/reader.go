package keylog

import (
	"bytes"
	"errors"
	"io"
)

// readSize is how much is read at a time, in bytes.
const readSize = 64 << 10

// Problem is what is wrong with a key log: how many lines are malformed, and which is the first, from 1.
type Problem struct{ Malformed, First uint64 }

// Read reads a whole key log, whose last line may lack its end. It returns what is wrong with lines beside the error of r.
func (s *Store) Read(r io.Reader) (Problem, error) {
	f := feed{store: s}
	buf := make([]byte, readSize)
	for {
		n, err := r.Read(buf)
		f.write(buf[:n])
		switch {
		case errors.Is(err, io.EOF):
			f.end()
			return f.problem, nil
		case err != nil:
			return f.problem, err
		}
	}
}

// feed cuts what is read of a file into lines.
type feed struct {
	store *Store
	rest  []byte // of a line whose end hasn't come
	// long: the line is too long, and its rest is passed over.
	long    bool
	line    uint64
	problem Problem
}

func (f *feed) write(b []byte) {
	for len(b) > 0 {
		part, after, whole := bytes.Cut(b, []byte{'\n'})
		b = after
		switch {
		case f.long:
		case len(f.rest)+len(part) > MaxLine:
			f.long = true
			f.rest = f.rest[:0]
		case !whole:
			f.rest = append(f.rest, part...)
		case len(f.rest) > 0:
			f.rest = append(f.rest, part...)
			f.one(f.rest)
			f.rest = f.rest[:0]
			continue
		default:
			f.one(part)
			continue
		}
		if whole {
			f.end()
		}
	}
}

// end ends the line that has begun, if one has.
func (f *feed) end() {
	switch {
	case f.long:
		f.store.malformed()
		f.count(malformed)
	case len(f.rest) > 0:
		f.one(f.rest)
	}
	f.forget()
}

// forget leaves a line that has begun aside.
func (f *feed) forget() { f.rest, f.long = f.rest[:0], false }

func (f *feed) one(text []byte) { f.count(f.store.add(text)) }

func (f *feed) count(v verdict) {
	f.line++
	if v == malformed {
		if f.problem.Malformed == 0 {
			f.problem.First = f.line
		}
		f.problem.Malformed++
	}
}
