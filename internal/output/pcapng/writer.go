package pcapng

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/culprit-http/culprit/internal/capture"
)

// File is what a recording is written to: an *os.File.
type File interface {
	io.Writer
	// Truncate and Seek are used to use a file again, and to cut off what was written in part.
	Truncate(size int64) error
	Seek(offset int64, whence int) (int64, error)
}

// Block types, and option codes by the block that they stand in.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockStatistics = 5
	blockPacket     = 6
	blockSecrets    = 10

	byteOrderMagic = 0x1a2b3c4d

	optionEnd     = 0
	optionComment = 1

	sectionHardware    = 2
	sectionOS          = 3
	sectionApplication = 4

	interfaceName        = 2
	interfaceDescription = 3
	interfaceResolution  = 9
	interfaceFilter      = 11

	packetDrops = 4
	packetID    = 5

	statisticsStart  = 2
	statisticsEnd    = 3
	statisticsRecv   = 4
	statisticsIfDrop = 5
	statisticsAccept = 6
	statisticsOSDrop = 7
)

// secretsTLS is the kind of decryption secrets that are a TLS key log: TLSK.
const secretsTLS = 0x544c534b

// nanoseconds is the value of interfaceResolution for timestamps in nanoseconds: 10^-9 s.
const nanoseconds = 9

// filterText is the first byte of interfaceFilter when a filter follows in libpcap's language.
const filterText = 0

// writeSize is how much is written at a time, in bytes.
const writeSize = 256 << 10

// statisticsSize is the length of a statistics block as it is written here.
const statisticsSize = 12 + 12 + 6*12 + 4

// packetSize is the length of a packet block without data and options.
const packetSize = 32

// maxBlockComments is how many bytes of comments a packet may have; further ones are left out.
const maxBlockComments = 64 << 10

// writer writes blocks to files. It belongs to the recorder's goroutine. The first error stays in err; then
// nothing is written any more.
type writer struct {
	options *Options
	files   []File
	used    []bool // the file has packets
	at      int    // index of the file

	// buf is what isn't written yet. offset is where in the file it begins, end the end of the last whole block,
	// and sound that of the last one that is written.
	buf                []byte
	offset, end, sound int64
	unsure             uint64 // packets in buf

	packets uint64 // of the file
	since   int64  // time of its first packet
	trailer int64  // what ends the file takes so much
	ifaces  []written
	taps    []capture.Tap
	next    uint32 // id of the next interface of the file
	block   []byte
	comment []byte // options, for the next packet
	// secrets are those of the batch, by packet, and late those that had none left to go before. known are the sessions whose
	// secrets the file has, with the size of these.
	secrets map[uint32][]session
	late    []session
	known   map[[32]byte]int

	written, failed, begun, overwritten, disclosed, keyless uint64
	err                                                     error
}

// written is an interface as the file has it.
type written struct {
	iface
	described bool
	id        uint32
	size      int64 // of its description
}

func newWriter(files []File, o *Options) *writer {
	return &writer{options: o, files: files, used: make([]bool, len(files)), buf: make([]byte, 0, writeSize), at: len(files), secrets: map[uint32][]session{}, known: map[[32]byte]int{}}
}

// begin begins all files, the first one last.
func (w *writer) begin() {
	for w.at > 0 {
		w.at--
		w.section(w.at > 0)
		w.flush()
	}
}

// section begins the current file. spare: it may never be used.
func (w *writer) section(spare bool) {
	if !w.options.Pipe && w.err == nil {
		if err := w.files[w.at].Truncate(0); err != nil {
			w.fail(err)
		} else if _, err := w.files[w.at].Seek(0, io.SeekStart); err != nil {
			w.fail(err)
		}
	}
	if w.used[w.at] {
		w.used[w.at] = false
		w.overwritten++
	}
	if !spare {
		w.begun++
	}
	w.offset, w.end, w.sound = 0, 0, 0
	w.packets, w.next = 0, 0
	clear(w.known)
	for i := range w.ifaces {
		w.ifaces[i].described = false
	}
	o := w.options
	w.block = AppendSection(w.block[:0], Section{Hardware: o.Hardware, OS: o.OS, Application: o.Application, Comment: w.about(spare)})
	w.put(w.block)
	w.whole()
	w.measure()
}

// about says what is in the file.
func (w *writer) about(spare bool) string {
	s := "culprit: all packets"
	switch {
	case w.options.Selection != "":
		s = "culprit: the packets of exchanges selected by " + w.options.Selection
	case w.options.Matched:
		s = "culprit: the packets of exchanges"
	}
	if w.options.CaptureFilter != "" {
		s += "; capture filter: " + w.options.CaptureFilter
	}
	if w.options.Keys != nil {
		s += "; with the keys of its TLS connections"
	}
	switch {
	case spare:
		s += fmt.Sprintf("; not used yet, one of %d files used in turn", len(w.files))
	case w.rotates():
		s += fmt.Sprintf("; part %d, in one of %d files used in turn", w.begun, len(w.files))
	}
	return s
}

func (w *writer) rotates() bool { return w.options.RotateSize > 0 || w.options.RotateEvery > 0 }

// know copies what is known of taps and interfaces. The recorder's lock is held.
func (w *writer) know(r *Recorder) {
	w.taps = append(w.taps[:0], r.taps...)
	for i := range r.ifaces {
		if i == len(w.ifaces) {
			w.ifaces = append(w.ifaces, written{})
		}
		w.ifaces[i].iface = r.ifaces[i]
	}
	w.measure()
}

// measure works out what ends the file takes.
func (w *writer) measure() {
	w.trailer = 0
	for i := range w.ifaces {
		f := &w.ifaces[i]
		if f.size == 0 {
			f.size = int64(len(w.interfaceBlock(i)))
		}
		w.trailer += statisticsSize
		if !f.described {
			w.trailer += f.size
		}
	}
}

// item writes a packet, or keeps a comment for the next one.
func (w *writer) item(slabs []*slab, page uint32) {
	h := headOf(slabs, page)
	if h.flags&isComment != 0 {
		if len(w.comment)+int(h.size)+8 <= maxBlockComments {
			w.comment = w.appendComment(w.comment, slabs, page)
		}
		return
	}
	if w.err != nil {
		w.failed++
		w.comment = w.comment[:0]
		delete(w.secrets, page)
		return
	}
	options := len(w.comment)
	if h.drops > 0 {
		options += 4 + 8
	}
	if options > 0 {
		options += 4
	}
	padding := int(-h.size & 3)
	total := packetSize + int(h.size) + padding + options
	secrets := w.secrets[page]
	if w.packets > 0 && w.due(h.time, int64(total+w.unknown(secrets))) {
		w.finish()
		w.at = (w.at + 1) % len(w.files)
		w.section(false)
	}
	if secrets != nil {
		w.disclose(secrets)
		delete(w.secrets, page)
	}
	f := w.describe(int(h.iface))
	if w.packets == 0 {
		w.since = h.time
	}
	w.packets++
	w.used[w.at] = true

	var b [packetSize - 4]byte
	le := binary.LittleEndian
	stamp := timestamp(h.time)
	le.PutUint32(b[0:], blockPacket)
	le.PutUint32(b[4:], uint32(total))
	le.PutUint32(b[8:], f.id)
	le.PutUint32(b[12:], uint32(stamp>>32))
	le.PutUint32(b[16:], uint32(stamp))
	le.PutUint32(b[20:], h.size)
	le.PutUint32(b[24:], h.wire)
	w.put(b[:])
	chunks(slabs, page, w.put)
	w.block = append(w.block[:0], 0, 0, 0)[:padding]
	if options > 0 {
		w.block = append(w.block, w.comment...)
		if h.drops > 0 {
			w.block = le.AppendUint16(w.block, packetDrops)
			w.block = le.AppendUint16(w.block, 8)
			w.block = le.AppendUint64(w.block, uint64(h.drops))
		}
		w.block = le.AppendUint32(w.block, optionEnd)
		w.comment = w.comment[:0]
	}
	w.block = le.AppendUint32(w.block, uint32(total))
	w.unsure++
	w.put(w.block)
	w.whole()
}

// appendComment appends a kept comment as an option.
func (w *writer) appendComment(dst []byte, slabs []*slab, page uint32) []byte {
	w.block = w.block[:0]
	chunks(slabs, page, func(b []byte) { w.block = append(w.block, b...) })
	return appendOption(dst, optionComment, w.block)
}

// unknown returns what secrets take that the file hasn't got, in bytes.
func (w *writer) unknown(all []session) (size int) {
	for _, s := range all {
		if w.known[s.random] < len(s.lines) {
			size += secretsSize(s.lines)
		}
	}
	return size
}

// disclose writes secrets that the file hasn't got.
func (w *writer) disclose(all []session) {
	for _, s := range all {
		if w.known[s.random] >= len(s.lines) {
			continue
		}
		if len(w.known) >= maxFileSessions {
			clear(w.known)
		}
		w.known[s.random] = len(s.lines)
		w.block = AppendSecrets(w.block[:0], s.lines)
		w.put(w.block)
		w.whole()
		w.disclosed++
	}
}

// due reports whether a packet belongs into the next file.
func (w *writer) due(at, size int64) bool {
	o := w.options
	return o.RotateSize > 0 && w.end+size+w.trailer > o.RotateSize ||
		o.RotateEvery > 0 && at-w.since >= int64(o.RotateEvery)
}

// describe returns an interface, whose description is in the file then.
func (w *writer) describe(i int) *written {
	f := &w.ifaces[i]
	if !f.described {
		f.described, f.id = true, w.next
		w.next++
		w.trailer -= f.size
		w.put(w.interfaceBlock(i))
		w.whole()
	}
	return f
}

// interfaceBlock returns the description of an interface.
func (w *writer) interfaceBlock(i int) []byte {
	f := &w.ifaces[i]
	var t capture.Tap
	if int(f.tap) < len(w.taps) {
		t = w.taps[f.tap]
	}
	w.block = AppendInterface(w.block[:0], &t, f.link)
	return w.block
}

// finish ends the current file: it describes the interfaces that it has no packets of, and tells what is known
// of all.
func (w *writer) finish() {
	if size := w.unknown(w.late); size > 0 && w.options.RotateSize > 0 && w.end+int64(size)+w.trailer > w.options.RotateSize {
		w.keyless += uint64(len(w.late))
		w.late = nil
	}
	w.disclose(w.late)
	w.late = nil
	counted := map[uint32]bool{}
	for i := range w.ifaces {
		f := w.describe(i)
		var t capture.Tap
		if int(f.tap) < len(w.taps) && !counted[f.tap] {
			t = w.taps[f.tap]
			counted[f.tap] = true // once, although it has two link types
		}
		b := openBlock(w.block[:0], blockStatistics)
		b = binary.LittleEndian.AppendUint32(b, f.id)
		b = appendTime(b, f.last)
		for _, option := range []struct {
			code uint16
			time int64
		}{{statisticsStart, f.first}, {statisticsEnd, f.last}} {
			b = binary.LittleEndian.AppendUint16(b, option.code)
			b = binary.LittleEndian.AppendUint16(b, 8)
			b = appendTime(b, option.time)
		}
		for _, option := range []struct {
			code  uint16
			value uint64
		}{
			{statisticsRecv, max(t.Received, f.seen) + t.Dropped}, {statisticsIfDrop, t.IfDropped},
			{statisticsAccept, f.seen}, {statisticsOSDrop, t.Dropped + f.lost},
		} {
			b = binary.LittleEndian.AppendUint16(b, option.code)
			b = binary.LittleEndian.AppendUint16(b, 8)
			b = binary.LittleEndian.AppendUint64(b, option.value)
		}
		w.block = closeBlock(b, 0)
		w.put(w.block)
		w.whole()
	}
	w.flush()
}

// put writes bytes to the buffer, and the buffer to the file when it is full.
func (w *writer) put(b []byte) {
	for len(b) > 0 && w.err == nil {
		if len(w.buf) == cap(w.buf) {
			w.flush()
		}
		n := min(len(b), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, b[:n]...)
		b = b[n:]
	}
}

// whole notes that a block has ended.
func (w *writer) whole() { w.end = w.offset + int64(len(w.buf)) }

// flush writes the buffer to the file.
func (w *writer) flush() {
	if w.err != nil {
		w.failed += w.unsure
		w.unsure = 0
		return
	}
	if len(w.buf) == 0 {
		return
	}
	n, err := w.files[w.at].Write(w.buf)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.fail(err)
		return
	}
	w.offset += int64(n)
	w.buf = w.buf[:0]
	w.sound = w.end
	w.written += w.unsure
	w.unsure = 0
}

// fail ends the recording. Of a file, what was written in part is cut off, so that it can be read.
func (w *writer) fail(err error) {
	w.err = err
	w.failed += w.unsure
	w.unsure = 0
	if !w.options.Pipe {
		_ = w.files[w.at].Truncate(w.sound) // the file is what it can be at least
	}
}

// headOf returns the head of a packet.
func headOf(slabs []*slab, page uint32) *head {
	return &slabs[(page-1)/slabPages].heads[(page-1)%slabPages]
}
