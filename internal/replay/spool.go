package replay

import (
	"fmt"
	"io"
)

// Spool is where the recorded exchanges wait that don't fit in memory: a file.
type Spool interface {
	io.WriterAt
	io.ReaderAt
}

// memorySpool is how many bytes of recorded exchanges stay in memory before they go to the spool.
const memorySpool = 64 << 20

// spool keeps blocks: the first ones in memory, the rest in a Spool.
type spool struct {
	open   func() (Spool, error)
	memory []byte
	file   Spool
	size   int64
}

// add keeps a copy of b, and returns where it is.
func (s *spool) add(b []byte) (at int64, err error) {
	at = s.size
	if s.file == nil && s.size+int64(len(b)) <= memorySpool {
		s.memory = append(s.memory, b...)
		s.size += int64(len(b))
		return at, nil
	}
	if s.file == nil {
		if s.file, err = s.open(); err != nil {
			return 0, fmt.Errorf("a temporary file for the recording: %w", err)
		}
	}
	if _, err := s.file.WriteAt(b, at-int64(len(s.memory))); err != nil {
		return 0, fmt.Errorf("the temporary file of the recording: %w", err)
	}
	s.size += int64(len(b))
	return at, nil
}

// get returns n bytes at an offset that add returned. They are the caller's.
func (s *spool) get(at, n int64) ([]byte, error) {
	b := make([]byte, n)
	if at < int64(len(s.memory)) {
		copy(b, s.memory[at:])
		return b, nil
	}
	if _, err := s.file.ReadAt(b, at-int64(len(s.memory))); err != nil {
		return nil, fmt.Errorf("the temporary file of the recording: %w", err)
	}
	return b, nil
}
