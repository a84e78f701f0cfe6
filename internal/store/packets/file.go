package packets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/output/pcapng"
)

// The names of files: a number and what they are. An index is written under a name that ends in indexing, and then
// renamed.
const (
	dataName  = ".pcapng"
	indexName = ".index"
	indexing  = ".tmp"
)

// maxFiles is how many files a ring has at most: the oldest goes when there would be more.
const maxFiles = 4096

// maxSpan is how much time lies between the oldest and the newest packet of a file, so that with little traffic
// DeleteBefore has something to delete. A file of less than minSpanSize bytes isn't ended for that.
const (
	maxSpan     = int64(24 * time.Hour)
	minSpanSize = 1 << 20
)

// path returns the name of a file.
func path(dir string, seq uint64, name string) string {
	return filepath.Join(dir, fmt.Sprintf("%06d%s", seq, name))
}

// list returns the numbers of the files in a folder, in order.
func list(dir, name string) (all []uint64, err error) {
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		number, is := strings.CutSuffix(f.Name(), name)
		if seq, err := strconv.ParseUint(number, 10, 63); is && err == nil && path("", seq, name) == f.Name() {
			all = append(all, seq)
		}
	}
	slices.Sort(all)
	return all, nil
}

// file is one that is complete.
type file struct {
	seq uint64
	summary
	index int64 // the length of its index, 0 when it has none yet
}

// appended is a file that is written: an *os.File.
type appended interface {
	io.WriteSeeker
	io.Closer
	Truncate(size int64) error
}

// create makes a file that isn't there yet.
func create(name string) (appended, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
}

// newest is the file that is written.
type newest struct {
	contents
	file appended
	seq  uint64
	ids  map[uint16]uint32 // of interfaces of the ring in the file
}

// writer writes the files of a ring. write and close are called from one goroutine at a time; what others look at
// is guarded by mu.
type writer struct {
	dir     string
	options *Options
	create  func(name string) (appended, error)
	head    []byte // of a file
	buf     []byte // what goes before a buffer

	mu       sync.Mutex
	all      []file // complete ones, the oldest first
	bytes    int64  // of complete files and their indexes
	deleted  uint64 // packets
	current  *newest
	next     uint64
	spare    []entry // for the next file
	indexing sync.WaitGroup
}

// open takes a folder over.
func (w *writer) open(dir string, o *Options) error {
	w.dir, w.options, w.create, w.next = dir, o, create, 1
	w.head = pcapng.AppendSection(nil, pcapng.Section{
		Hardware: o.Hardware, OS: o.OS, Application: o.Application,
		Comment: "culprit: kept packets, a part of a ring of files",
	})
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of kept packets: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"+indexName+indexing))
	if err != nil {
		return fmt.Errorf("looking through the folder of kept packets: %w", err)
	}
	for _, name := range left {
		_ = os.Remove(name) // it is in nobody's way
	}
	seqs, err := list(dir, dataName)
	if err != nil {
		return fmt.Errorf("looking through the folder of kept packets: %w", err)
	}
	indexes, err := list(dir, indexName)
	if err != nil {
		return fmt.Errorf("looking through the folder of kept packets: %w", err)
	}
	for _, seq := range indexes {
		w.next = max(w.next, seq+1)
		if _, found := slices.BinarySearch(seqs, seq); !found {
			_ = os.Remove(path(dir, seq, indexName)) // its file is gone
		}
	}
	for _, seq := range seqs {
		w.next = max(w.next, seq+1)
		f, err := takeOver(dir, seq)
		if err != nil {
			return err
		}
		if f.packets > 0 {
			w.all = append(w.all, f)
			w.bytes += f.length + f.index
		}
	}
	w.makeRoom(0)
	return nil
}

// takeOver makes sure that a file is whole and has an index. One without packets is removed.
func takeOver(dir string, seq uint64) (f file, err error) {
	f.seq = seq
	name := path(dir, seq, dataName)
	info, err := os.Stat(name)
	if err != nil {
		return f, fmt.Errorf("opening kept packets: %w", err)
	}
	if s, size, err := readSummary(dir, seq); err == nil && s.length == info.Size() {
		f.summary, f.index = s, size
		return f, nil
	}
	data, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return f, fmt.Errorf("opening kept packets: %w", err)
	}
	defer data.Close()
	c, err := read(data) // after an error, what comes before it counts
	if err == nil && c.packets == 0 {
		remove(dir, seq)
		return f, nil
	}
	if err == nil && c.length < info.Size() {
		if err := data.Truncate(c.length); err != nil {
			return f, fmt.Errorf("cutting off the torn end of kept packets: %w", err)
		}
	}
	f.summary = c.summary
	f.index, _ = writeIndex(dir, seq, &c) // without one, the file is read when something is looked up in it
	return f, nil
}

// readSummary reads the header of an index, and returns the length of the whole.
func readSummary(dir string, seq uint64) (s summary, size int64, err error) {
	f, err := os.Open(path(dir, seq, indexName))
	if err != nil {
		return s, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return s, 0, err
	}
	var b [indexHeader]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return s, 0, err
	}
	s, err = decodeSummary(b[:])
	return s, info.Size(), err
}

// writeIndex writes the index of a file, and returns its length.
func writeIndex(dir string, seq uint64, c *contents) (int64, error) {
	b := encodeIndex(c.summary, c.ifaces, c.entries)
	name := path(dir, seq, indexName)
	err := os.WriteFile(name+indexing, b, 0o600)
	if err == nil {
		err = os.Rename(name+indexing, name)
	}
	if err != nil {
		_ = os.Remove(name + indexing)
		return 0, fmt.Errorf("writing the index of kept packets: %w", err)
	}
	return int64(len(b)), nil
}

// remove removes a file and its index, the file first: an index alone is known to be left over.
func remove(dir string, seq uint64) {
	_ = os.Remove(path(dir, seq, dataName))
	_ = os.Remove(path(dir, seq, indexName))
}

// makeRoom deletes the oldest files until n more bytes fit. mu is held, or nobody else is there yet.
func (w *writer) makeRoom(n int64) {
	if w.current != nil {
		n += w.current.length + w.current.indexLength()
	}
	for len(w.all) > 0 && (w.bytes+n > w.options.Limit || len(w.all) >= maxFiles) {
		w.delete(0)
	}
}

// indexLength is about what the index of the newest file will take, in bytes.
func (c *newest) indexLength() int64 { return int64(len(c.entries)) * indexEstimate }

// indexEstimate is what a packet takes in an index at most, in bytes, but for those of connections of one or two.
const indexEstimate = 12

// delete deletes a complete file. mu is held.
func (w *writer) delete(i int) {
	f := &w.all[i]
	remove(w.dir, f.seq)
	w.bytes -= f.length + f.index
	w.deleted += f.packets
	w.all = slices.Delete(w.all, i, i+1)
}

// write writes a buffer to the newest file, and begins that when there is none. What can't be written as a whole
// leaves nothing behind; the next buffer is tried again.
func (w *writer) write(b *buffer, ifaces []iface) error {
	if w.current == nil {
		if err := w.begin(); err != nil {
			return fmt.Errorf("packets can't be kept: %w; they are dropped until that is over", err)
		}
	}
	c := w.current
	w.buf = w.buf[:0]
	if c.length == 0 {
		w.buf = append(w.buf, w.head...)
	}
	known := len(c.ifaces)
	for i := range b.entries {
		e := &b.entries[i]
		id, ok := c.ids[e.iface]
		if !ok {
			w.describe(e.iface, ifaces)
			id = c.ids[e.iface]
		}
		binary.LittleEndian.PutUint32(b.data[int(e.at)*unit+8:], id)
	}
	size := int64(len(w.buf) + len(b.data))
	w.mu.Lock()
	w.makeRoom(size)
	w.mu.Unlock()
	from := c.length
	_, err := c.file.Write(w.buf)
	if err == nil {
		_, err = c.file.Write(b.data)
	}
	if err != nil {
		err = errors.Join(err, w.cut(from))
		w.mu.Lock()
		c.ifaces = c.ifaces[:known]
		w.mu.Unlock()
		for id, n := range c.ids {
			if int(n) >= known {
				delete(c.ids, id)
			}
		}
		return fmt.Errorf("packets can't be kept: %w; they are dropped until that is over", err)
	}
	w.mu.Lock()
	at := uint32((from + int64(len(w.buf))) / unit)
	for _, e := range b.entries {
		e.at += at
		c.note(e.time)
		c.entries = append(c.entries, e)
	}
	c.length += size
	full := c.length >= w.options.FileSize || len(c.entries)*entrySize >= w.options.IndexMemory ||
		c.to-c.from > maxSpan && c.length >= minSpanSize
	w.mu.Unlock()
	if full {
		w.end()
	}
	return nil
}

// describe appends the description of an interface of the ring to what goes before the buffer. Of interfaces with the
// same description, those before it come first, so that they can be told apart.
func (w *writer) describe(id uint16, ifaces []iface) {
	c, f := w.current, ifaces[id]
	for i := range ifaces[:id] {
		if _, ok := c.ids[uint16(i)]; !ok && ifaces[i].nth < f.nth && string(ifaces[i].block) == string(f.block) {
			w.describe(uint16(i), ifaces)
		}
	}
	f.at = uint32((c.length + int64(len(w.buf))) / unit)
	c.ids[id] = uint32(len(c.ifaces))
	w.mu.Lock()
	c.ifaces = append(c.ifaces, f)
	w.mu.Unlock()
	w.buf = append(w.buf, f.block...)
}

// cut cuts off what was written in part. A file that can't be cut ends where it was whole, and the next one begins.
func (w *writer) cut(length int64) error {
	c := w.current
	err := c.file.Truncate(length)
	if err == nil {
		_, err = c.file.Seek(length, io.SeekStart)
	}
	if err != nil {
		w.end()
	}
	return err
}

// begin begins a file.
func (w *writer) begin() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.makeRoom(0)
	var f appended
	for tries := 0; ; tries++ {
		var err error
		f, err = w.create(path(w.dir, w.next, dataName))
		if err == nil {
			break
		}
		switch {
		case tries == maxFiles:
			return err
		case errors.Is(err, fs.ErrExist):
			w.next++ // put there by somebody else
		case errors.Is(err, fs.ErrNotExist) && os.MkdirAll(w.dir, 0o700) == nil:
		default:
			return err
		}
	}
	w.current = &newest{contents: contents{entries: w.spare}, file: f, seq: w.next, ids: map[uint16]uint32{}}
	w.spare = nil
	w.next++
	return nil
}

// end ends the newest file. Its index is made while the next one is written; readers read the file as long.
func (w *writer) end() {
	w.indexing.Wait() // one at a time, so that memory is bounded
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.current
	w.current = nil
	_ = c.file.Close()
	if c.packets == 0 {
		remove(w.dir, c.seq)
		return
	}
	w.all = append(w.all, file{seq: c.seq, summary: c.summary})
	w.bytes += c.length
	w.indexing.Add(1)
	go func() {
		defer w.indexing.Done()
		w.index(c)
	}()
}

// index makes the index of a file that has just become complete.
func (w *writer) index(c *newest) {
	size, err := writeIndex(w.dir, c.seq, &c.contents)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spare = c.entries[:0]
	i := slices.IndexFunc(w.all, func(f file) bool { return f.seq == c.seq })
	switch {
	case i < 0:
		remove(w.dir, c.seq) // deleted meanwhile
	case err == nil:
		w.all[i].index = size
		w.bytes += size
	}
}

// close ends the newest file and waits for its index.
func (w *writer) close() {
	if w.current != nil {
		w.end()
	}
	w.indexing.Wait()
}

// deleteBefore deletes files that hold nothing younger than t. The newest file is ended when it holds something older,
// so that its time can come.
func (w *writer) deleteBefore(t int64) {
	if c := w.current; c != nil && c.packets > 0 && c.from < t {
		w.end()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.all) - 1; i >= 0; i-- {
		if w.all[i].to < t {
			w.delete(i)
		}
	}
}

// count adds what the files are to the counters.
func (w *writer) count(c *Counters) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.Deleted, c.Files, c.Bytes = w.deleted, len(w.all), w.bytes
	oldest := func(s *summary) {
		if s.packets > 0 && (c.Oldest == 0 || s.from < c.Oldest) {
			c.Oldest = s.from
		}
	}
	for i := range w.all {
		oldest(&w.all[i].summary)
	}
	if w.current != nil {
		c.Files++
		c.Bytes += w.current.length
		oldest(&w.current.summary)
	}
}
