package firehose

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"strings"
)

// File is a regular file that is open for writing, empty, and nobody else's.
type File interface {
	io.Writer
	io.Seeker
	Truncate(size int64) error
	Name() string
}

// tail writes to the end of a file: whole, or not at all.
type tail struct {
	file File
	size int64
	// sum is the digest of all of it, nil if that isn't wanted.
	sum hash.Hash
}

func newTail(f File, digest bool) tail {
	t := tail{file: f}
	if digest {
		t.sum = sha256.New()
	}
	return t
}

// write appends b. If it can't, the file is as before: half of a fragment would spoil all that follow.
func (t *tail) write(b []byte) error {
	n, err := t.file.Write(b)
	if n == len(b) {
		t.size += int64(n)
		if t.sum != nil {
			t.sum.Write(b)
		}
		return nil
	}
	if err == nil {
		err = io.ErrShortWrite
	}
	if n > 0 {
		if e := t.cut(n); e != nil {
			return &spoilt{fmt.Errorf("%w; and the part that was written can't be taken back: %w", err, e)}
		}
	}
	return err
}

// spoilt is the error of a file that ends within a fragment, so that nothing may follow.
type spoilt struct{ err error }

func (s *spoilt) Error() string { return s.err.Error() }
func (s *spoilt) Unwrap() error { return s.err }

// cut takes the last n bytes back.
func (t *tail) cut(n int) error {
	end, err := t.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	end -= int64(n)
	if err := t.file.Truncate(end); err != nil {
		return err
	}
	_, err = t.file.Seek(end, io.SeekStart)
	return err
}

// restart empties the file.
func (t *tail) restart() error {
	if err := t.file.Truncate(0); err != nil {
		return err
	}
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	t.size = 0
	if t.sum != nil {
		t.sum.Reset()
	}
	return nil
}

// maxOwed is how many end marks wait for a disk to have room again.
const maxOwed = 4096

// volume is a file that fragments are written to. It implements sink.
type volume struct {
	out  *Output
	file tail
	// full: the last write failed, which the user was told. owed are the end marks that couldn't be written.
	full bool
	owed []entry
}

// reserve implements sink.
func (v *volume) reserve() bool { return true }

// put implements sink. Each fragment is one write.
func (v *volume) put(e entry) error {
	if err := v.flush(); err != nil {
		return err
	}
	if len(v.owed) == 0 {
		err := v.file.write(e.text)
		if err == nil {
			v.full = false
			return v.out.settle(&e, true)
		}
		if err = v.failed(err); err != nil {
			return err
		}
	}
	switch {
	case !e.end:
		return v.out.settle(&e, false)
	case len(v.owed) < maxOwed:
		e.text = append([]byte(nil), e.text...)
		v.owed = append(v.owed, e)
		return nil
	}
	v.out.stats.LostEnds++
	return v.out.settle(&e, false)
}

// failed says whether the run goes on though a fragment couldn't be written.
func (v *volume) failed(err error) error {
	var s *spoilt
	if !v.out.o.Live || errors.As(err, &s) {
		return err // the system names the file
	}
	if !v.full {
		v.full = true
		v.out.tell("%v: until that can be done, fragments are dropped, and counted", err)
	}
	return nil
}

// flush writes the end marks that are owed.
func (v *volume) flush() error {
	for len(v.owed) > 0 {
		if err := v.file.write(v.owed[0].text); err != nil {
			return v.failed(err)
		}
		v.full = false
		e := v.owed[0]
		v.owed = v.owed[1:]
		if err := v.out.settle(&e, true); err != nil {
			return err
		}
	}
	return nil
}

// close implements sink.
func (v *volume) close() error {
	err := v.flush()
	for i := range v.owed {
		v.out.stats.LostEnds++
		if e := v.out.settle(&v.owed[i], false); err == nil {
			err = e
		}
	}
	v.owed = nil
	return err
}

// manifestLine is the line of a file in a list that sha256sum -c reads.
func manifestLine(t *tail) string {
	name := filepath.Base(t.file.Name())
	escaped := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(name)
	line := hex.EncodeToString(t.sum.Sum(nil)) + "  " + escaped + "\n"
	if escaped != name {
		line = `\` + line
	}
	return line
}
