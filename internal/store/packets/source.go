package packets

import (
	"io"
	"os"
)

// source is a file to look up the packets of a connection in.
type source struct {
	dir string
	seq uint64
	sum summary
	// known: sum is; found: so are the chunks of the connection and the interfaces.
	known, found bool
	chunks       []chunk
	ifaces       []iface
	data         *window
}

// sources returns the files of a ring that is open, in order.
func (w *writer) sources(hash uint64) (all []*source) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.all {
		all = append(all, &source{dir: w.dir, seq: w.all[i].seq, sum: w.all[i].summary, known: true})
	}
	if c := w.current; c != nil && c.packets > 0 {
		all = append(all, &source{
			dir: w.dir, seq: c.seq, sum: c.summary, known: true, found: true,
			chunks: collect(c.entries, hash), ifaces: append([]iface(nil), c.ifaces...),
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

// open opens the file. The error is fs.ErrNotExist when it has been deleted.
func (s *source) open() error {
	if s.data != nil {
		return nil
	}
	f, err := os.Open(path(s.dir, s.seq, dataName))
	if err != nil {
		return err
	}
	s.data = &window{file: f}
	return nil
}

// close closes the file.
func (s *source) close() {
	if s.data != nil {
		_ = s.data.file.Close()
		s.data = nil
	}
}

// span finds out the times of the packets in the file.
func (s *source) span(hash uint64) error {
	if s.known {
		return nil
	}
	sum, _, err := readSummary(s.dir, s.seq)
	if err != nil {
		return s.scan(hash)
	}
	s.sum, s.known = sum, true
	return nil
}

// scan reads the file itself.
func (s *source) scan(hash uint64) error {
	if err := s.open(); err != nil {
		return err
	}
	c, err := read(io.NewSectionReader(s.data.file, 0, 1<<62))
	if err != nil {
		return err
	}
	s.sum, s.chunks, s.ifaces, s.known, s.found = c.summary, collect(c.entries, hash), c.ifaces, true, true
	return nil
}

// find finds the chunks of a connection: in the index, or when that isn't there or can't be, in the file itself.
func (s *source) find(hash uint64) error {
	if err := s.open(); err != nil || s.found {
		return err
	}
	b, err := os.ReadFile(path(s.dir, s.seq, indexName))
	if err != nil {
		return s.scan(hash)
	}
	chunks, ifaces, err := findChunks(b, hash)
	if err != nil {
		return s.scan(hash)
	}
	s.ifaces = s.ifaces[:0]
	for _, at := range ifaces {
		f, ok := parseInterface(s.data.block(at))
		if !ok {
			return s.scan(hash)
		}
		s.ifaces, _ = addIface(s.ifaces, f)
	}
	s.chunks, s.found = chunks, true
	return nil
}

// packet returns a packet that begins at an offset, and its interface. It is borrowed until the next call.
func (s *source) packet(at uint32) (p stored, f *iface, ok bool) {
	if p, ok = parsePacket(s.data.block(at)); !ok || int(p.iface) >= len(s.ifaces) {
		return p, nil, false
	}
	return p, &s.ifaces[p.iface], true
}

// How much is read of a file at a time, in bytes: more each time that reading goes on where it was.
const (
	minWindow = 4 << 10
	maxWindow = 256 << 10
)

// window is a part of a file.
type window struct {
	file  *os.File
	from  int64
	bytes []byte
	ahead int
}

// block returns the block at an offset, nil when there is no whole one. It is borrowed until the next call.
func (w *window) block(at uint32) []byte {
	n := blockLength(w.get(int64(at)*unit, 8))
	if n == 0 {
		return nil
	}
	if b := w.get(int64(at)*unit, n); sound(b) {
		return b
	}
	return nil
}

// get returns n bytes at an offset, or nil when there are fewer.
func (w *window) get(at int64, n int) []byte {
	end := w.from + int64(len(w.bytes))
	if at < w.from || at+int64(n) > end {
		if at >= w.from && at <= end+maxWindow {
			w.ahead = min(2*w.ahead, maxWindow)
		} else {
			w.ahead = minWindow
		}
		size := max(n, w.ahead, minWindow)
		if cap(w.bytes) < size {
			w.bytes = make([]byte, size)
		}
		got, _ := w.file.ReadAt(w.bytes[:size], at) // what can't be read isn't there
		w.from, w.bytes = at, w.bytes[:got]
		if got < n {
			return nil
		}
	}
	at -= w.from
	return w.bytes[at : at+int64(n)]
}
