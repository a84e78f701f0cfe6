package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	"github.com/culprit-http/culprit/internal/store/disk"
)

// The cursor says which events are done. It is written anew under another name, and renamed. Numbers are
// little-endian.
//
//	offset  bytes
//	     0      8  "culpcur\n"
//	     8      4  version of the format
//	    12      4  N, number of spans, at most maxSpans
//	    16      8  all numbers below are done
//	    24   16 N  spans of further numbers that are done: the first, and the one behind the last
//	24+16N      4  CRC-32C of all before
const (
	cursorMagic = "culpcur\n"
	cursorName  = "cursor"
	cursorNew   = "cursor.new"
	cursorHead  = 24
	// maxSpans is how many spans are written; those above would be delivered again after a crash.
	maxSpans  = 1024
	maxCursor = cursorHead + 16*maxSpans + 4
)

func appendCursor(b []byte, p *progress) []byte {
	start := len(b)
	above := p.above[:min(len(p.above), maxSpans)]
	b = append(b, cursorMagic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(above)))
	b = binary.LittleEndian.AppendUint64(b, p.low)
	for _, s := range above {
		b = binary.LittleEndian.AppendUint64(b, s.from)
		b = binary.LittleEndian.AppendUint64(b, s.to)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli()))
}

// parseCursor returns what is done. ok is false for a cursor that can't be believed.
func parseCursor(b []byte) (p progress, written uint32, ok bool) {
	if len(b) < cursorHead+4 || string(b[:8]) != cursorMagic ||
		crc32.Checksum(b[:len(b)-4], castagnoli()) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return p, 0, false
	}
	if written = binary.LittleEndian.Uint32(b[8:]); written != version {
		return p, written, true
	}
	n := binary.LittleEndian.Uint32(b[12:])
	if p.low = binary.LittleEndian.Uint64(b[16:]); p.low > maxNumber || n > maxSpans || len(b) != cursorHead+16*int(n)+4 {
		return p, written, false
	}
	for i := range int(n) {
		at := b[cursorHead+16*i:]
		s := span{binary.LittleEndian.Uint64(at), binary.LittleEndian.Uint64(at[8:])}
		if s.to > maxNumber {
			return p, written, false
		}
		p.add(s)
	}
	return p, written, true
}

// readCursor returns what is done. Without a cursor, or with a damaged one, nothing is known to be: then what is there is
// delivered again.
func readCursor(f disk.FS, dir string) (progress, error) {
	name := filepath.Join(dir, cursorName)
	r, err := f.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return progress{}, nil
	}
	if err != nil {
		return progress{}, fmt.Errorf("reading the spool's cursor: %w", err)
	}
	defer r.Close()
	size, err := r.Size()
	if err != nil {
		return progress{}, fmt.Errorf("reading the spool's cursor: %w", err)
	}
	b := make([]byte, min(size, maxCursor))
	if n, _ := r.ReadAt(b, 0); n < len(b) {
		return progress{}, nil
	}
	p, written, ok := parseCursor(b)
	if ok && written != version {
		return progress{}, &VersionError{Path: name, Version: written}
	}
	if !ok {
		return progress{}, nil
	}
	return p, nil
}

// writeCursor writes the cursor durably.
func writeCursor(f disk.FS, dir string, b []byte) error {
	name := filepath.Join(dir, cursorNew)
	if err := f.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w, err := f.Create(name)
	if err != nil {
		return err
	}
	err = write(w, b)
	if err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	if err := f.Rename(name, filepath.Join(dir, cursorName)); err != nil {
		return err
	}
	return f.SyncDir(dir)
}
