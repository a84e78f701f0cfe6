// Package objects keeps what the messages of half-streams carry in files beside those of the half-streams: bodies of HTTP,
// transfer- and content-decoded, and on request the parts of multipart bodies, the messages of gRPC, and those of WebSocket.
//
// # Theory of operation
//
//	message begins --> in memory --(ends)--------------------------> decoded --> file
//	                      |                                              ^
//	                      `--(SpillAt, or too much waits)--> file        |
//	                                                          |  `--(ends, with a content coding)
//	                                                          `--(ends)--> renamed
//
// A body that is short, as most are, is decoded in memory, and its file is written at once. A longer one goes to its file as it comes; with a
// content coding it is spooled there as it was sent, and decoded to a second file when it has ended, so that no memory depends on what
// a sender makes of it. The name of what isn't complete ends with IncompleteSuffix.
package objects

import (
	"bytes"
	"cmp"
	"container/list"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/folder"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/body"
)

// IncompleteSuffix ends the name of a file in which something is missing, of which the end wasn't seen, or that couldn't be decoded to its
// end.
const IncompleteSuffix = ".incomplete"

// The limits.
const (
	// MaxFiles is how many files are made. Of further messages, nothing is kept.
	MaxFiles = 1_000_000
	// MaxOpen is how many files of bodies under way are open at a time.
	MaxOpen = 128
	// SpillAt is the size from which a body isn't kept in memory, in bytes; MaxWaiting is how much all bodies under way take of it.
	SpillAt    = 64 << 10
	MaxWaiting = 16 << 20
	// MaxDecoded is the largest file that decoding makes, in bytes.
	MaxDecoded = 1 << 30
	// MaxHole is the longest hole that a file has, in bytes. A longer one is left out of it.
	MaxHole = 16 << 20
	// MaxParts is how many files the parts of one body make, or the messages in it.
	MaxParts = 10_000
	// decodedInMemory is how much a body in memory may become there.
	decodedInMemory = 4 << 20
	// maxHoles is how many holes of a body are listed one by one.
	maxHoles = 100
	// maxSpare is how many buffers are kept for use again.
	maxSpare = 64
)

// Folder is where the files are.
type Folder interface {
	// Create makes a file under a temporary name, Reopen opens one again, Remove removes it, and Finish gives it its name.
	Create(name string) (folder.File, error)
	Reopen(name string) (folder.File, error)
	Remove(name string) error
	Finish(name string, modified time.Time) error
	// FinishAs gives it another one.
	FinishAs(name, final string, modified time.Time) error
}

// Options say what is kept, and who is told.
type Options struct {
	// Parts: each part of a multipart body has a file of its own, too. Messages: so has each message of a gRPC body. Sessions: each message of
	// a WebSocket has one.
	Parts, Messages, Sessions bool
	// MD5 and SHA256: Kept is told these digests of each file.
	MD5, SHA256 bool
	// Kept, if not nil, is told of each file when it is complete, Missing of what is missing in one, or wrong with it: bytes are missing, or
	// proto.Unknown, or 0 if none are, at an offset.
	Kept    func(o *Object) error
	Missing func(name string, offset, bytes int64, why string) error
}

// Object is a file that was made.
type Object struct {
	Name string
	// Flow and Dir tell the half-stream, Base is the name of its file, and Offset is where in it the body begins. Inner: it was decrypted.
	Flow   *proto.Flow
	Dir    proto.Direction
	Base   string
	Offset int64
	Inner  bool
	// Message is the one that carried it.
	Message *follow.Message
	// Size is the file's, in bytes. MD5 and SHA256 are its digests in hexadecimal, empty where they weren't asked for; holes count as zeros.
	Size        int64
	MD5, SHA256 string
	// Complete: nothing of it is missing. Decoded: a content coding was undone. Part: it is a part of another object.
	Complete, Decoded, Part bool
}

// Stats count what was kept.
type Stats struct {
	// Files were made, of Bytes. Incomplete of them lack something, and Undecoded are still coded as they were sent.
	Files, Bytes, Incomplete, Undecoded uint64
	// Holes are stretches that are missing, MissingBytes their bytes as far as their lengths are known.
	Holes, MissingBytes uint64
	// Refused are bodies that were left out since there were MaxFiles, Unlisted the parts or messages of bodies with more than MaxParts.
	Refused, Unlisted uint64
}

// Keeper keeps what messages carry. It isn't safe for concurrent use.
type Keeper struct {
	folder  Folder
	options Options
	flows   map[*proto.Flow]*flow
	// last is the flow that was looked up last.
	last    *proto.Flow
	current *flow
	// waiting are bodies in memory, open those whose files are open, each with the one used last first; held is what the former take.
	waiting, open *list.List
	held          int
	spare         [][]byte
	free          []*carried
	decoder       body.Decoder
	name          []byte
	stats         Stats
	// The limits, which tests make smaller.
	maxFiles, maxOpen, maxWaiting, maxParts, spillAt int
	maxDecoded                                       int64
}

// flow counts the messages of the half-streams of a connection, and has those under way.
type flow struct {
	bodies, said [2]uint64
	// latest is the message of each direction that was looked up last, others are all but these.
	latest [2]*carried
	others map[*follow.Message]*carried
}

// carried is what a message carries.
type carried struct {
	m      *follow.Message
	flow   *proto.Flow
	base   string
	nth    uint64
	inner  bool
	offset int64
	begun  bool
	// refused: nothing is kept of it. stopped: nothing more is, since what is coded can't be read behind a hole.
	refused, stopped bool
	holes            []hole
	moreHoles        int
	// lead is how much is missing before the first byte.
	lead int64

	// buf is what isn't written: all of it, as long as there is no file, and then in is its place among those that wait.
	buf []byte
	in  *list.Element
	out *output
}

// hole is a stretch of a body that is missing.
type hole struct{ offset, bytes int64 }

// output is a file that is being written.
type output struct {
	name string
	file folder.File
	// at is where the next byte belongs.
	at     int64
	digest *digests
	in     *list.Element
	of     *carried
}

// New returns a Keeper that makes files in a folder.
func New(f Folder, o Options) *Keeper {
	return &Keeper{
		folder: f, options: o, flows: map[*proto.Flow]*flow{}, waiting: list.New(), open: list.New(), maxFiles: MaxFiles, maxOpen: MaxOpen,
		maxWaiting: MaxWaiting, maxParts: MaxParts, spillAt: SpillAt, maxDecoded: MaxDecoded,
	}
}

// Stats returns what was kept so far.
func (k *Keeper) Stats() Stats { return k.stats }

// Chunk takes a chunk of a message, whose half-stream has the file of a base name, and the last chunk of a connection, with which it is
// forgotten. The chunk is borrowed until return.
func (k *Keeper) Chunk(c *follow.Chunk, base string) error {
	if c.Step == follow.NoMessage {
		if c.Over {
			return k.forget(c.Flow)
		}
		return nil
	}
	f := k.current
	if f == nil || c.Flow != k.last {
		if f = k.flows[c.Flow]; f == nil {
			f = &flow{}
			k.flows[c.Flow] = f
		}
		k.last, k.current = c.Flow, f
	}
	if c.Step == follow.Begin {
		k.begin(f, c, base)
		return nil
	}
	b := f.find(c.Message)
	switch {
	case b == nil:
		return nil
	case c.Step == follow.End:
		f.remove(b)
		err := k.end(b)
		k.recycle(b)
		return err
	case c.Gap != 0:
		return k.gap(b, c.Gap)
	}
	if !b.begun {
		b.begun, b.offset = true, c.At.Offset
	}
	return k.data(b, c.Data)
}

// begin notes that a message begins. All messages of HTTP are counted, those without a body, too, as tcpflow does it.
func (k *Keeper) begin(f *flow, c *follow.Chunk, base string) {
	m := c.Message
	count := &f.bodies[m.Dir]
	if m.Kind == proto.Event {
		if !k.options.Sessions || m.Method != kindText && m.Method != kindBinary {
			return
		}
		count = &f.said[m.Dir]
	}
	*count++
	var b *carried
	if n := len(k.free); n > 0 {
		b, k.free = k.free[n-1], k.free[:n-1]
	} else {
		b = new(carried)
	}
	*b = carried{m: m, flow: c.Flow, base: base, nth: *count, inner: c.Inner, holes: b.holes[:0]}
	if old := f.latest[m.Dir]; old != nil {
		if f.others == nil {
			f.others = map[*follow.Message]*carried{}
		}
		f.others[old.m] = old
	}
	f.latest[m.Dir] = b
}

// The kinds of messages of a session that carry data, by their methods.
const (
	kindText   = "text"
	kindBinary = "binary"
)

// find returns what a message under way carries, nil if that isn't kept.
func (f *flow) find(m *follow.Message) *carried {
	b := f.latest[m.Dir]
	if b != nil && b.m == m {
		return b
	}
	o := f.others[m]
	if o == nil {
		return nil
	}
	delete(f.others, m)
	if b != nil {
		f.others[b.m] = b
	}
	f.latest[m.Dir] = o
	return o
}

// remove forgets a message that find has returned.
func (f *flow) remove(b *carried) { f.latest[b.m.Dir] = nil }

// forget ends what is under way on a connection.
func (k *Keeper) forget(of *proto.Flow) error {
	f := k.flows[of]
	if f == nil {
		return nil
	}
	delete(k.flows, of)
	k.last, k.current = nil, nil
	var first error
	for _, b := range f.underWay() {
		if err := k.end(b); first == nil {
			first = err
		}
	}
	return first
}

// underWay are the messages of a connection that haven't ended, in the order in which they began.
func (f *flow) underWay() []*carried {
	var all []*carried
	for _, b := range f.latest {
		if b != nil {
			all = append(all, b)
		}
	}
	for _, b := range f.others {
		all = append(all, b)
	}
	inOrder(all)
	return all
}

// recycle keeps the memory of a message that is over.
func (k *Keeper) recycle(b *carried) {
	if len(k.free) < maxSpare {
		*b = carried{holes: b.holes[:0]}
		k.free = append(k.free, b)
	}
}

// data takes bytes of a body.
func (k *Keeper) data(b *carried, p []byte) error {
	if b.refused || b.stopped || len(p) == 0 {
		return nil
	}
	if b.out == nil && len(b.buf)+len(p) <= k.spillAt && b.lead == 0 {
		if b.in == nil {
			if k.refuse(b) {
				return nil
			}
			b.in = k.waiting.PushFront(b)
			b.buf = k.buffer()
			k.held += cap(b.buf)
		}
		before := cap(b.buf)
		b.buf = append(b.buf, p...)
		k.held += cap(b.buf) - before
		for k.held > k.maxWaiting && k.waiting.Len() > 0 {
			if err := k.spillOldest(); err != nil {
				return err
			}
		}
		return nil
	}
	if b.out == nil {
		if k.refuse(b) {
			return nil
		}
		first := b.buf
		if len(first) == 0 {
			first = p
		}
		if err := k.spill(b, first); err != nil {
			return err
		}
	}
	if err := k.need(b.out); err != nil {
		return err
	}
	if len(b.buf)+len(p) > k.spillAt {
		if err := k.write(b.out, &b.buf); err != nil {
			return err
		}
	}
	if len(p) >= k.spillAt {
		return k.put(b.out, p)
	}
	if b.buf == nil {
		b.buf = k.buffer()
	}
	b.buf = append(b.buf, p...)
	return nil
}

// refuse reports whether there are too many files for another one.
func (k *Keeper) refuse(b *carried) bool {
	if k.stats.Files+uint64(k.waiting.Len()) >= uint64(k.maxFiles) {
		b.refused = true
		k.stats.Refused++
	}
	return b.refused
}

// gap notes that bytes of a body are missing.
func (k *Keeper) gap(b *carried, n int64) error {
	if b.refused {
		return nil
	}
	k.stats.Holes++
	k.stats.MissingBytes += uint64(max(n, 0))
	if len(b.holes) < maxHoles {
		b.holes = append(b.holes, hole{b.size(), n})
	} else {
		b.moreHoles++
	}
	if b.coded() {
		b.stopped = true
		return nil
	}
	if n <= 0 || n > MaxHole {
		return nil
	}
	if !b.begun {
		b.lead += n
		return nil
	}
	if b.out == nil {
		if err := k.spill(b, b.buf); err != nil {
			return err
		}
	}
	if err := k.write(b.out, &b.buf); err != nil {
		return err
	}
	b.out.skip(n)
	return nil
}

// size returns how much of the body there is, with the holes that have room.
func (b *carried) size() int64 {
	if b.out == nil {
		return b.lead + int64(len(b.buf))
	}
	return b.out.at + int64(len(b.buf))
}

// coded reports whether the body has a content coding.
func (b *carried) coded() bool { return b.m.Coding != "" && !strings.EqualFold(b.m.Coding, "identity") }

// spillOldest begins the file of the body that has been in memory for the longest.
func (k *Keeper) spillOldest() error {
	b := k.waiting.Back().Value.(*carried)
	return k.spill(b, b.buf)
}

// spill begins the file of a body, with what there is of it. first are its first bytes.
func (k *Keeper) spill(b *carried, first []byte) error {
	if b.in != nil {
		k.waiting.Remove(b.in)
		k.held -= cap(b.buf)
		b.in = nil
	}
	e := b.extension(first)
	if b.coded() {
		e = b.extension(nil) + "." + codedExtension(b.m.Coding)
	}
	out, err := k.create(k.nameOf(b, e))
	if err != nil {
		return err
	}
	b.out, out.of = out, b
	out.skip(b.lead)
	if b.coded() {
		out.digest = nil // it isn't the file that is kept, most often
	}
	return k.write(out, &b.buf)
}

// extension returns that of what a message carries, which begins with p.
func (b *carried) extension(p []byte) string {
	switch {
	case b.m.Kind != proto.Event:
		return Extension(b.m.Type, p)
	case b.m.Method == kindText:
		return "txt"
	}
	return "bin"
}

// What stands between the name of a half-stream's file and the number of a body, or of a message of a WebSocket.
const (
	bodyMark = "-HTTPBODY-"
	saidMark = "-WSMSG-"
)

// nameOf returns the name of the file of what a message carries.
func (k *Keeper) nameOf(b *carried, extension string) string {
	s := append(k.name[:0], b.base...)
	if b.m.Kind == proto.Event {
		s = append(s, saidMark...)
	} else {
		s = append(s, bodyMark...)
	}
	s = append(number(s, b.nth), '.')
	s = append(s, extension...)
	k.name = s
	return string(s)
}

// wrap says which file an error is of.
func wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("files output: %s: %w", name, err)
}

// buffer returns an empty buffer.
func (k *Keeper) buffer() []byte {
	if n := len(k.spare); n > 0 {
		b := k.spare[n-1]
		k.spare = k.spare[:n-1]
		return b[:0]
	}
	return make([]byte, 0, 4<<10)
}

// release takes a buffer back.
func (k *Keeper) release(b *[]byte) {
	if *b != nil && len(k.spare) < maxSpare && cap(*b) <= 2*SpillAt {
		k.spare = append(k.spare, *b)
	}
	*b = nil
}

// create makes a file, and closes another one when there are too many.
func (k *Keeper) create(name string) (*output, error) {
	if err := k.room(); err != nil {
		return nil, err
	}
	f, err := k.folder.Create(name)
	if err != nil {
		return nil, wrap(name, err)
	}
	out := &output{name: name, file: f}
	out.digest = k.digests()
	out.in = k.open.PushFront(out)
	return out, nil
}

// room closes the file that wasn't used for the longest, if there is no room for another.
func (k *Keeper) room() error {
	if k.open.Len() < k.maxOpen {
		return nil
	}
	return k.shut(k.open.Back().Value.(*output))
}

// shut closes a file, to be opened again.
func (k *Keeper) shut(o *output) error {
	if o.file == nil {
		return nil
	}
	var err error
	if o.of != nil {
		err = k.write(o, &o.of.buf)
		k.release(&o.of.buf) // buffers are those of open files
	}
	if e := wrap(o.name, o.file.Close()); err == nil {
		err = e
	}
	k.open.Remove(o.in)
	o.file, o.in = nil, nil
	return err
}

// need has the file of an output open.
func (k *Keeper) need(o *output) error {
	if o.file != nil {
		k.open.MoveToFront(o.in)
		return nil
	}
	if err := k.room(); err != nil {
		return err
	}
	f, err := k.folder.Reopen(o.name)
	if err != nil {
		return wrap(o.name, err)
	}
	o.file, o.in = f, k.open.PushFront(o)
	return nil
}

// write writes what a buffer has, and empties it.
func (k *Keeper) write(o *output, buf *[]byte) error {
	if len(*buf) == 0 {
		return nil
	}
	err := k.put(o, *buf)
	*buf = (*buf)[:0]
	return err
}

// put writes bytes behind those that were written.
func (k *Keeper) put(o *output, p []byte) error {
	if err := k.need(o); err != nil {
		return err
	}
	n, err := o.file.WriteAt(p, o.at)
	o.at += int64(n)
	o.digest.Write(p[:n]) // it never fails
	return wrap(o.name, err)
}

// skip leaves room for n bytes.
func (o *output) skip(n int64) {
	o.at += n
	if o.digest == nil {
		return
	}
	var zeros [4 << 10]byte
	for n > 0 {
		k := min(n, int64(len(zeros)))
		o.digest.Write(zeros[:k])
		n -= k
	}
}

// Flush writes what waits for files that are there. Bodies in memory have no file before they end.
func (k *Keeper) Flush() error {
	for e := k.open.Front(); e != nil; e = e.Next() {
		if o := e.Value.(*output); o.of != nil {
			if err := k.write(o, &o.of.buf); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close ends what is under way. All files are closed, whatever fails.
func (k *Keeper) Close() error {
	var all []*carried
	for _, f := range k.flows {
		all = append(all, f.underWay()...)
	}
	clear(k.flows)
	k.last, k.current = nil, nil
	inOrder(all)
	var first error
	for _, b := range all {
		if err := k.end(b); first == nil {
			first = err
		}
	}
	for e := k.open.Front(); e != nil; e = k.open.Front() {
		if err := k.shut(e.Value.(*output)); first == nil {
			first = err
		}
	}
	return first
}

// result is what became of a body.
type result struct {
	name string
	size int64
	// complete: nothing of it is missing; decoded: a coding was undone; undecoded: it is still coded.
	complete, decoded, undecoded bool
	// notes say what is missing, or wrong.
	notes  []note
	digest *digests
}

// note says what is missing in a file, or wrong with it.
type note struct {
	offset, bytes int64
	why           string
}

// end finishes what a message carries.
func (k *Keeper) end(b *carried) (err error) {
	if b.in != nil {
		k.waiting.Remove(b.in)
		k.held -= cap(b.buf)
		b.in = nil
	}
	defer k.release(&b.buf)
	if b.refused || !b.begun && len(b.holes) == 0 {
		return nil
	}
	r := result{complete: b.m.Ended == proto.Whole && len(b.holes) == 0}
	for _, h := range b.holes {
		r.notes = append(r.notes, note{h.offset, h.bytes, missing(b, h)})
	}
	if b.moreHoles > 0 {
		r.notes = append(r.notes, note{b.size(), proto.Unknown, fmt.Sprintf("%d more holes", b.moreHoles)})
	}
	switch {
	case !b.begun:
		// Nothing but a hole: there is no file.
		return k.tell(k.nameOf(b, b.extension(nil))+IncompleteSuffix, r.notes)
	case b.out != nil && b.coded():
		err = k.decodeSpooled(b, &r)
	case b.out != nil:
		err = k.finishFile(b, &r)
	default:
		err = k.finishMemory(b, &r)
	}
	if err != nil || r.name == "" {
		return err
	}
	switch b.m.Ended {
	case proto.Cut, proto.Unfinished:
		r.notes = append(r.notes, note{r.size, proto.Unknown, "the connection or the stream ended first"})
	case proto.Broken:
		r.notes = append(r.notes, note{r.size, proto.Unknown, "its end can't be told"})
	}
	return k.done(b, &r, false)
}

// missing says why a hole is one.
func missing(b *carried, h hole) string {
	why := "not captured, or not readable"
	switch {
	case b.coded():
		why += "; of what is coded nothing can be read behind it (the offset is in the coded bytes)"
	case h.bytes > MaxHole:
		why += "; no room is left for it"
	}
	return why
}

// done tells of a file. part: it is a part of another.
func (k *Keeper) done(b *carried, r *result, part bool) error {
	k.stats.Files++
	k.stats.Bytes += uint64(r.size)
	if !r.complete {
		k.stats.Incomplete++
	}
	if r.undecoded {
		k.stats.Undecoded++
	}
	if err := k.tell(r.name, r.notes); err != nil || k.options.Kept == nil {
		return err
	}
	return k.options.Kept(&Object{
		Name: r.name, Flow: b.flow, Dir: b.m.Dir, Base: b.base, Offset: b.offset, Inner: b.inner, Message: b.m, Size: r.size, MD5: r.digest.hex(md5Of), SHA256: r.digest.hex(sha256Of),
		Complete: r.complete, Decoded: r.decoded, Part: part,
	})
}

// tell says what is missing in a file.
func (k *Keeper) tell(name string, notes []note) error {
	if k.options.Missing == nil {
		return nil
	}
	for _, n := range notes {
		if err := k.options.Missing(name, n.offset, n.bytes, n.why); err != nil {
			return err
		}
	}
	return nil
}

// finishFile finishes a body without a coding whose file was written as it came.
func (k *Keeper) finishFile(b *carried, r *result) error {
	o := b.out
	if err := k.write(o, &b.buf); err != nil {
		return err
	}
	if err := k.extract(b, r, o.name, func() (io.Reader, error) { return o.reader(), k.need(o) }); err != nil {
		return err
	}
	return k.seal(o, r)
}

// reader reads what was written of a file. The file has to be open.
func (o *output) reader() io.Reader { return io.NewSectionReader(lazy{o}, 0, o.at) }

// lazy is the file of an output, once it is open.
type lazy struct{ of *output }

// ReadAt implements io.ReaderAt.
func (l lazy) ReadAt(p []byte, at int64) (int, error) { return l.of.file.ReadAt(p, at) }

// seal closes a file and gives it its name.
func (k *Keeper) seal(o *output, r *result) error {
	o.of = nil
	if err := k.shut(o); err != nil {
		return err
	}
	r.name, r.size, r.digest = o.name, o.at, o.digest
	if r.complete {
		return wrap(o.name, k.folder.Finish(o.name, time.Time{}))
	}
	r.name += IncompleteSuffix
	return wrap(o.name, k.folder.FinishAs(o.name, r.name, time.Time{}))
}

// finishMemory finishes a body that is in memory.
func (k *Keeper) finishMemory(b *carried, r *result) error {
	p := b.buf
	if !b.coded() {
		return k.store(b, r, p, "")
	}
	out, d := k.decoder.Decode([]byte(b.m.Coding), p, decodedInMemory)
	switch {
	case d.Limited && d.Undecoded == "":
		return k.decode(b, r, func() (io.Reader, error) { return bytes.NewReader(p), nil }, func() error { return k.store(b, r, p, codedExtension(b.m.Coding)) })
	case d.Undecoded != "" || len(out) == 0 && !d.Complete:
		r.undecoded = true
		r.notes = append(r.notes, note{0, 0, undecoded(b, &d)})
		return k.store(b, r, p, codedExtension(b.m.Coding))
	}
	r.decoded = true
	k.judge(r, &d, int64(len(out)))
	if len(out) == 0 && r.complete {
		return nil // as good as no body
	}
	return k.store(b, r, out, "")
}

// undecoded says why a body is kept as it was sent.
func undecoded(b *carried, d *body.Result) string {
	switch {
	case d.Limited:
		return "kept as it was sent: too many content codings, or too much memory is needed"
	case d.Bad:
		return "kept as it was sent: it isn't what its content coding says"
	}
	return fmt.Sprintf("kept as it was sent: content coding %.40q", b.m.Coding)
}

// judge takes over how decoding went.
func (k *Keeper) judge(r *result, d *body.Result, size int64) {
	switch {
	case d.Limited:
		r.notes = append(r.notes, note{size, proto.Unknown, fmt.Sprintf("decoding was ended at the limit of %d bytes", k.maxDecoded)})
	case d.Bad && !d.Complete:
		r.notes = append(r.notes, note{size, proto.Unknown, "what follows isn't what its content coding says"})
	case d.Bad:
		r.notes = append(r.notes, note{size, 0, "the checksum of its content coding is wrong"})
	case !d.Complete && r.complete:
		r.notes = append(r.notes, note{size, proto.Unknown, "what is coded ends too early"})
	case d.Trailing:
		r.notes = append(r.notes, note{size, proto.Unknown, "bytes behind what is coded are left out"})
	}
	r.complete = r.complete && d.Complete && !d.Limited && !d.Bad && !d.Trailing
}

// store writes a file at once. coding is the extension of what is still coded.
func (k *Keeper) store(b *carried, r *result, p []byte, coding string) error {
	e := b.extension(p)
	if coding != "" {
		e = b.extension(nil) + "." + coding
	}
	name := k.nameOf(b, e)
	if coding == "" {
		if err := k.extract(b, r, name, func() (io.Reader, error) { return bytes.NewReader(p), nil }); err != nil {
			return err
		}
	}
	if !r.complete {
		name += IncompleteSuffix
	}
	r.name, r.size = name, int64(len(p))
	var err error
	r.digest, err = k.save(name, p)
	return err
}

// save writes a whole file.
func (k *Keeper) save(name string, p []byte) (*digests, error) {
	f, err := k.folder.Create(name)
	if err != nil {
		return nil, wrap(name, err)
	}
	_, err = f.WriteAt(p, 0)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = k.folder.Finish(name, time.Time{})
	}
	if err != nil {
		return nil, wrap(name, err)
	}
	d := k.digests()
	d.Write(p) // it never fails
	return d, nil
}

// decodeSpooled decodes a body that is in its file as it was sent, to another one.
func (k *Keeper) decodeSpooled(b *carried, r *result) error {
	o := b.out
	if err := k.write(o, &b.buf); err != nil {
		return err
	}
	o.of = nil
	open := func() (io.Reader, error) { return o.reader(), k.need(o) }
	return k.decode(b, r, open, func() error {
		if o.digest = k.digests(); o.digest != nil {
			src, err := open()
			if err != nil {
				return err
			}
			if _, err := io.Copy(o.digest, src); err != nil {
				return wrap(o.name, err)
			}
		}
		return k.seal(o, r)
	})
}

// decode decodes a body to a file of its own. asSent keeps it as it was sent instead, where that can't be done.
func (k *Keeper) decode(b *carried, r *result, open func() (io.Reader, error), asSent func() error) error {
	src, err := open()
	if err != nil {
		return err
	}
	w := &decoded{keeper: k, of: b}
	d, err := body.Stream(w, []byte(b.m.Coding), src, k.maxDecoded)
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		return err
	}
	if w.out == nil && d.Complete {
		return k.drop(b.out) // as good as no body
	}
	if d.Undecoded != "" || w.out == nil {
		r.undecoded = true
		r.notes = append(r.notes, note{0, 0, undecoded(b, &d)})
		if err := k.drop(w.out); err != nil {
			return err
		}
		return asSent()
	}
	r.decoded = true
	k.judge(r, &d, w.out.at)
	if err := k.extract(b, r, w.out.name, func() (io.Reader, error) { return w.out.reader(), k.need(w.out) }); err != nil {
		return err
	}
	if err := k.seal(w.out, r); err != nil {
		return err
	}
	return k.drop(b.out)
}

// drop removes a file that isn't wanted; there may be none.
func (k *Keeper) drop(o *output) error {
	if o == nil {
		return nil
	}
	o.of = nil
	if err := k.shut(o); err != nil {
		return err
	}
	return wrap(o.name, k.folder.Remove(o.name))
}

// decoded writes what is decoded to a file, which there is from the first bytes on: they may tell its extension.
type decoded struct {
	keeper *Keeper
	of     *carried
	out    *output
	first  []byte
}

// Write implements io.Writer.
func (d *decoded) Write(p []byte) (int, error) {
	if d.out == nil && len(d.first)+len(p) < sniffed {
		d.first = append(d.first, p...)
		return len(p), nil
	}
	if err := d.flush(); err != nil {
		return 0, err
	}
	if d.out == nil {
		if err := d.create(p); err != nil {
			return 0, err
		}
	}
	return len(p), d.keeper.put(d.out, p)
}

func (d *decoded) create(p []byte) (err error) {
	d.out, err = d.keeper.create(d.keeper.nameOf(d.of, d.of.extension(p)))
	return err
}

// flush writes what waits for more to tell the extension.
func (d *decoded) flush() error {
	if len(d.first) == 0 {
		return nil
	}
	if d.out == nil {
		if err := d.create(d.first); err != nil {
			return err
		}
	}
	return d.keeper.write(d.out, &d.first)
}

// inOrder sorts messages by their half-streams, and by the order in which they began.
func inOrder(all []*carried) {
	slices.SortFunc(all, func(a, b *carried) int {
		return cmp.Or(strings.Compare(a.base, b.base), cmp.Compare(a.m.Kind, b.m.Kind), cmp.Compare(a.nth, b.nth))
	})
}
