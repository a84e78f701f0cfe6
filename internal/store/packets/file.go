package packets

import (
	"bytes"
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

	"encoding/binary"

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

// newest is the file that is written.
type newest struct {
	file    *os.File
	seq     uint64
	summary summary
	entries []entry
	ifaces  []iface
	ids     map[uint16]uint32 // of interfaces of the ring in the file
}

// writer writes the files of a ring. write and close are called from one goroutine at a time; what others look at
// is guarded by mu.
type writer struct {
	dir     string
	options *Options
	head    []byte // of a file
	buf     []byte // what goes before a buffer

	mu       sync.Mutex
	all      []file // complete ones, the oldest first
	bytes    int64  // of complete files and their indexes
	deleted  uint64 // packets
	current  *newest
	next     uint64
	indexing sync.WaitGroup
}

// open takes a folder over.
func (w *writer) open(dir string, o *Options) error {
	w.dir, w.options, w.next = dir, o, 1
	w.head = pcapng.AppendSection(nil, pcapng.Section{
		Hardware: o.Hardware, OS: o.OS, Application: o.Application,
		Comment: "culprit: kept packets of TCP and SCTP, a part of a ring of files",
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
		f, err := recover_(dir, seq)
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

// recover_ makes sure that a file is whole and has an index. One without packets is removed.
func recover_(dir string, seq uint64) (f file, err error) {
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
	c, err := read(data)
	if err != nil {
		return f, fmt.Errorf("%s: %w (move it away if it can't be read)", name, err)
	}
	if c.packets == 0 {
		remove(dir, seq)
		return f, nil
	}
	if c.length < info.Size() {
		if err := data.Truncate(c.length); err != nil {
			return f, fmt.Errorf("cutting off the torn end of kept packets: %w", err)
		}
	}
	f.summary = c.summary
	f.index, _ = writeIndex(dir, seq, c.summary, c.entries) // without one it is found by reading the file
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
func writeIndex(dir string, seq uint64, s summary, all []entry) (int64, error) {
	b := encodeIndex(s, all)
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
		n += w.current.summary.length + w.current.indexLength()
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
	if c.summary.length == 0 {
		w.buf = append(w.buf, w.head...)
	}
	known := len(c.ifaces)
	for i := range b.entries {
		e := &b.entries[i]
		id, ok := c.ids[e.iface]
		if !ok {
			id = uint32(len(c.ifaces))
			c.ids[e.iface] = id
			w.mu.Lock()
			c.ifaces = append(c.ifaces, ifaces[e.iface])
			w.mu.Unlock()
			w.buf = append(w.buf, ifaces[e.iface].block...)
		}
		binary.LittleEndian.PutUint32(b.data[int(e.at)*unit+8:], id)
	}
	size := int64(len(w.buf) + len(b.data))
	w.mu.Lock()
	w.makeRoom(size)
	w.mu.Unlock()
	from := c.summary.length
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
		c.summary.note(e.time)
		c.entries = append(c.entries, e)
	}
	c.summary.length += size
	full := c.summary.length >= w.options.FileSize || len(c.entries)*entrySize >= w.options.IndexMemory ||
		c.summary.to-c.summary.from > maxSpan && c.summary.length >= minSpanSize
	w.mu.Unlock()
	if full {
		w.end()
	}
	return nil
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
	f, err := os.OpenFile(path(w.dir, w.next, dataName), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		w.next++ // it was put there by somebody else
	}
	if err != nil {
		return err
	}
	w.current = &newest{file: f, seq: w.next, ids: map[uint16]uint32{}}
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
	if c.summary.packets == 0 {
		remove(w.dir, c.seq)
		return
	}
	w.all = append(w.all, file{seq: c.seq, summary: c.summary})
	w.bytes += c.summary.length
	w.indexing.Add(1)
	go func() {
		defer w.indexing.Done()
		w.index(c)
	}()
}

// index makes the index of a file that has just become complete.
func (w *writer) index(c *newest) {
	size, err := writeIndex(w.dir, c.seq, c.summary, c.entries)
	w.mu.Lock()
	defer w.mu.Unlock()
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
func (w *writer) close() error {
	if w.current != nil {
		w.end()
	}
	w.indexing.Wait()
	return nil
}

// deleteBefore deletes complete files that hold nothing younger than t.
func (w *writer) deleteBefore(t int64) {
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
		c.Bytes += w.current.summary.length
		oldest(&w.current.summary)
	}
}

// source is a file to look packets up in.
type source struct {
	dir    string
	seq    uint64
	memory *newest // the newest one, when the ring is open in this process
	// snapshot of it
	entries []entry
	ifaces  []iface
	sum     summary
	known   bool // sum is
	scanned bool // entries and ifaces are from the file
	data    *os.File
}

// sources returns the files of a ring that is open, in order.
func (w *writer) sources() (all []*source) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.all {
		all = append(all, &source{dir: w.dir, seq: w.all[i].seq, sum: w.all[i].summary, known: true})
	}
	if c := w.current; c != nil && c.summary.packets > 0 {
		all = append(all, &source{
			dir: w.dir, seq: c.seq, memory: c, entries: c.entries[:len(c.entries):len(c.entries)], ifaces: slices.Clone(c.ifaces), sum: c.summary, known: true,
		})
	}
	return all
}

// folderSources returns the files of a folder, in order.
func folderSources(dir string) (all []*source, err error) {
	seqs, err := list(dir, dataName)
	for _, seq := range seqs {
		all = append(all, &source{dir: dir, seq: seq})
	}
	return all, err
}

// span returns what the file holds; ok: the file is there, and has packets.
func (s *source) span() (from, to int64, ok bool) {
	if !s.known {
		sum, _, err := readSummary(s.dir, s.seq)
		switch {
		case err == nil:
			s.sum = sum
		case s.scan() != nil:
			return 0, 0, false
		}
		s.known = true
	}
	return s.sum.from, s.sum.to, s.sum.packets > 0
}

// open opens the file. fs.ErrNotExist: it is gone.
func (s *source) open() (err error) {
	if s.data == nil {
		s.data, err = os.Open(path(s.dir, s.seq, dataName))
	}
	return err
}

// close closes the file.
func (s *source) close() {
	if s.data != nil {
		_ = s.data.Close()
		s.data = nil
	}
}

// scan reads the file itself.
func (s *source) scan() error {
	if s.scanned || s.memory != nil {
		return nil
	}
	if err := s.open(); err != nil {
		return err
	}
	c, err := read(io.NewSectionReader(s.data, 0, 1<<62))
	if err != nil {
		return err
	}
	s.entries, s.ifaces, s.sum, s.scanned, s.known = c.entries, c.ifaces, c.summary, true, true
	return nil
}

// lookUp returns the chunks of a connection.
func (s *source) lookUp(hash uint64) ([]chunk, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	if s.memory == nil && !s.scanned {
		b, err := os.ReadFile(path(s.dir, s.seq, indexName))
		if err == nil {
			var chunks []chunk
			if chunks, err = findChunks(b, hash); err == nil {
				return chunks, nil
			}
		}
		if err := s.scan(); err != nil {
			return nil, err
		}
	}
	return collect(s.entries, hash, nil), nil
}

// describe makes the interfaces of the file known. They stand before the first packets that need them, anywhere.
func (s *source) describe(upTo uint32) error {
	if s.memory != nil || s.scanned || int(upTo) < len(s.ifaces) {
		return nil
	}
	return s.scan()
}

var _ = bytes.Equal
