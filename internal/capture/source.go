package capture

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// maxTaps is how many taps a source may have.
	maxTaps = 4096
	// maxSecrets is how many bytes of decryption secrets are kept.
	maxSecrets = 16 << 20
	// rotationSlack is how far the first packet of a file may lie before the last of the file that it
	// continues: processors write the packets of one queue a little out of order. The first packets of a
	// file without a name that turns out to be another tap may come as late as that.
	rotationSlack = 50 * time.Microsecond
	// peekSize is the block size for reading the first packet of a file.
	peekSize = 64 << 10
)

// Secret is key material that a capture file carries (pcapng decryption secrets block).
type Secret struct {
	// Type says what it is, such as 0x544c534b for a TLS key log.
	Type uint32
	Data []byte
}

// SecretSource is a Source that may find secrets in its input.
type SecretSource interface {
	Source
	// Secrets returns those found so far.
	Secrets() []Secret
}

// Measured is a Source that knows how far it has read its input.
type Measured interface {
	Source
	// Progress returns how many bytes of the inputs have been read, as they are stored, compressed or not, and how many
	// they had when they were opened, -1 when that isn't known. It may be called from any goroutine.
	Progress() (read, size int64)
}

// Noted is a Source that may have something to say of what it delivered that is neither an error nor a loss.
type Noted interface {
	Source
	// Notes returns what there is to say, after Next returned io.EOF.
	Notes() []string
}

// Open opens inputs for reading as one Source, which is a SecretSource, Measured, and Noted.
//
// Inputs of one name are one tap, merged by time. Files without a name and of one link type are one tap
// where each begins after the one before has ended: the parts of a rotated capture, taken in the order of
// their first packets. A file that begins while all others are still going on is another tap; when
// several have ended, it continues the one with the most similar path. This is decided when reading gets
// there, from the first packets, so nothing is read twice but the beginnings of files. Pipes and followed
// files without a name are taps of their own.
//
// Within a file each interface of a pcapng section is a tap of its own; one of the same name and
// link type in a later section or file of the tap is the same. The first interface of a named input has the
// input's name, others NAME/INTERFACE.
//
// What servers have recorded with mod_firehose is read like captures, as packets that are made of it (Tap.Recorded). All such inputs
// without a name are one tap, and so are those of one name: the directions of a conversation may be in several.
//
// Packets of different inputs come in order of time; those of one input stay in their order even when
// time goes back. Files and pipes are waited for; with Options.Follow, inputs that have nothing to give hold
// the others up for no longer than it takes to return ErrIdle.
//
// An input that fails doesn't stop the others: Next returns its error when they have nothing more, or,
// with Options.Follow, nothing at the moment.
func Open(inputs []Input, o Options) (Source, error) {
	if len(inputs) == 0 {
		return nil, errors.New("no input to read packets from")
	}
	size := max(minBlockSize, min(blockSize, windowMemory/len(inputs)&^(pageSize-1)))
	s := newSource(o, size)
	named := map[string]*group{}
	stdin := false
	for i, in := range inputs {
		p := &part{Input: in, order: i}
		if in.Tap != "" {
			if named[in.Tap] == nil {
				named[in.Tap] = &group{name: in.Tap}
			}
			p.group = named[in.Tap]
		}
		if in.Path == Stdin {
			if stdin {
				s.Close()
				return nil, errors.New("standard input can only be read once")
			}
			stdin = true
		}
		if err := s.add(p, len(inputs) > 1); err != nil {
			s.Close()
			return nil, err
		}
	}
	slices.SortStableFunc(s.parts, func(a, b *part) int { return cmp.Compare(a.due(), b.due()) })
	return s, nil
}

// source merges the records of several inputs.
//
// A file is first a part, known by the time of its first packet; when that is due it becomes a reader
// among heads. Inputs whose reads wait are readers from the start, among waiting until they have a packet.
//
//	parts  -- first packet due -->  heads  -- end -->  closed
//	waiting  <-- ErrIdle, packet -->  heads
type source struct {
	options Options
	pool    *blockPool
	taps    []Tap
	drops   []drops // by tap
	index   map[tapKey]uint32
	groups  []*group // of inputs without a name
	unnamed *group   // of firehose streams without a name
	// recordings are what the firehose streams of groups have in common.
	recordings map[*group]*recording
	warnings   []string
	notes      []string
	secrets    []Secret
	size       int // bytes of secrets
	// read counts the bytes read of inputs; length is how many they have, -1 when that isn't known.
	read   atomic.Int64
	length int64
	failed []error

	parts   []*part
	waiting []*reader
	heads   []*reader // a heap by time
	taken   bool      // heads[0].head was delivered
	// making have packets that they made of the last record; they are delivered before anything else.
	making []*recording
}

// part is an input that isn't opened yet.
type part struct {
	Input
	order int
	group *group // nil when that depends on the other parts
	first int64  // time of the first packet; the least value when there is none
	link  LinkType
}

// due is the time of the first packet that mustn't be delivered before the part is opened: that of its own,
// unless the part may continue another.
func (p *part) due() int64 {
	if p.group != nil {
		return p.first
	}
	return p.first + int64(rotationSlack) + 1
}

// group is a sequence of inputs whose interfaces are the same taps.
type group struct {
	name string // given by the user, or empty
	// For inputs without a name:
	link LinkType
	path string // of the last input
	busy bool   // the last input isn't at its end
	// packets counts the records delivered, of all interfaces.
	packets uint64
}

// tapKey says which interfaces are one tap.
type tapKey struct {
	group *group
	name  string
	link  LinkType
	nth   int
}

// drops are the counters of the interface statistics last seen.
type drops struct{ kernel, iface total }

// total is a counter that grows, unless the tool that counts starts anew.
type total uint64

// since returns by how much the counter grew, now that it is v.
func (t *total) since(v uint64) uint64 {
	before := uint64(*t)
	*t = total(v)
	if v >= before {
		return v - before
	}
	return v
}

func newSource(o Options, size int) *source {
	return &source{options: o, pool: newBlockPool(size), index: map[tapKey]uint32{}}
}

// add takes an input: as a part when it is a file whose first packet can be looked at, or else as a reader.
func (s *source) add(p *part, several bool) error {
	regular := false
	if p.Path != Stdin {
		info, err := os.Stat(p.Path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			return fmt.Errorf("%s is a directory: give the capture files in it", p.Path)
		}
		regular = info.Mode().IsRegular() && !s.options.Follow
		if regular && s.length >= 0 {
			s.length += info.Size()
		}
	}
	if !regular {
		s.length = -1
	}
	switch {
	case !regular:
		s.waiting = append(s.waiting, s.openWaiting(p))
		return nil
	case several:
		if err := s.peek(p); err != nil {
			return err
		}
		s.parts = append(s.parts, p)
		return nil
	}
	rd, err := s.openFile(p)
	if err != nil {
		return err
	}
	s.waiting = append(s.waiting, rd)
	if err := rd.start(); err != nil {
		return rd.fail(err)
	}
	return nil
}

// peek reads the time and the link type of a file's first packet.
func (s *source) peek(p *part) error {
	probe := newSource(s.options, peekSize)
	rd, err := probe.openFile(p)
	if err != nil {
		return err
	}
	defer rd.close()
	if err := rd.start(); err != nil {
		return rd.fail(err)
	}
	p.first = math.MinInt64
	switch f := rd.format.(type) {
	case *pcap:
		p.link = f.link
	case *firehoseStream:
		p.group = s.recorded(p.group).group // all are read together: a conversation may be in several
	}
	var r Record
	if rd.next(&r) == nil { // an error comes again when it is the file's turn
		p.first, p.link = r.Time, r.Link
	}
	return nil
}

// openFile opens a regular file to be read to its end.
func (s *source) openFile(p *part) (*reader, error) {
	f, err := os.Open(p.Path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	content, err := decompress(&counted{&wholeFile{f, info.Size()}, &s.read})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", p.label(), err)
	}
	rd := s.newReader(p, content)
	rd.closers = []io.Closer{content, f}
	return rd, nil
}

// openWaiting opens an input whose reads may wait: a pipe, a file that is followed.
func (s *source) openWaiting(p *part) *reader {
	pump := newPump(func(stop <-chan struct{}) (io.ReadCloser, error) {
		var f *os.File
		switch stdin, ok := s.options.Stdin.(*os.File); {
		case p.Path != Stdin:
			var err error
			if f, err = os.Open(p.Path); err != nil {
				return nil, err
			}
		case ok:
			f = stdin
		case s.options.Stdin == nil:
			f = os.Stdin
		default:
			return &counted{io.NopCloser(s.options.Stdin), &s.read}, nil
		}
		var in io.ReadCloser = f
		if info, err := f.Stat(); s.options.Follow && err == nil && info.Mode().IsRegular() {
			in = &tail{File: f, stop: stop}
		}
		if p.Path == Stdin {
			in = io.NopCloser(in)
		}
		return &counted{in, &s.read}, nil
	})
	rd := s.newReader(p, pump)
	rd.pump = pump
	rd.closers = []io.Closer{pump}
	return rd
}

func (s *source) newReader(p *part, in io.Reader) *reader {
	return &reader{src: s, name: p.label(), path: p.Path, order: p.order, group: cmp.Or(p.group, &group{}), w: newWindow(in, s.pool)}
}

// join returns the group that a file without a name continues, or a new one: among those of its link type
// whose last file has ended, the one with the most similar path.
func (s *source) join(p *part) *group {
	var best *group
	score := -1
	for _, g := range s.groups {
		if n := commonPrefix(g.path, p.Path); !g.busy && g.link == p.link && n >= score {
			best, score = g, n
		}
	}
	if best == nil {
		best = &group{link: p.link}
		s.groups = append(s.groups, best)
	}
	best.path, best.busy = p.Path, true
	return best
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func (s *source) Next(r *Record) error {
	for {
		for len(s.making) > 0 {
			if m := s.making[0]; m.give(r) {
				s.count(r, m.group)
				return nil
			}
			s.making = slices.Delete(s.making, 0, 1)
		}
		if err := s.next(r); err == errMade {
			continue
		} else if err != nil {
			return err
		}
		rd := s.heads[0]
		f, made := rd.format.(*firehoseStream)
		if !made {
			s.count(r, rd.group)
			return nil
		}
		f.of.take(&f.fragment)
		s.making = append(s.making, f.of)
	}
}

// errMade: packets were made meanwhile, and come first.
var errMade = errors.New("packets were made")

// next takes the next record of all inputs. It is that of heads[0].
func (s *source) next(r *Record) error {
	if len(s.heads) == 1 && s.taken && len(s.parts) == 0 && len(s.waiting) == 0 {
		// One input: no need to look at its next record before it is asked for.
		err := s.heads[0].next(r)
		if err == nil {
			return nil
		}
		if s.drop(err); len(s.making) > 0 {
			return errMade
		}
		return s.next(r)
	}
	if s.taken {
		s.advance()
	}
	ready := s.poll()
	for len(s.parts) > 0 && ready && (len(s.heads) == 0 || s.parts[0].due() <= s.heads[0].head.Time) {
		s.openPart()
	}
	switch {
	case len(s.making) > 0 && len(s.heads) == 0:
		return errMade
	case len(s.heads) == 0 || !ready:
		return s.nothing()
	}
	*r = s.heads[0].head
	s.taken = true
	return nil
}

// count counts a record of a group.
func (s *source) count(r *Record, g *group) {
	t := &s.taps[r.Tap]
	t.Received++
	t.Bytes += uint64(len(r.Data))
	g.packets++
	r.Number = g.packets
}

// advance looks at the next record of the reader whose record was delivered last.
func (s *source) advance() {
	rd := s.heads[0]
	if err := rd.next(&rd.head); err != nil {
		s.drop(err)
		return
	}
	s.taken = false
	s.sift(0)
}

// drop takes the first reader from heads, since it has no next record.
func (s *source) drop(err error) {
	rd, last := s.heads[0], len(s.heads)-1
	s.heads[0] = s.heads[last]
	s.heads[last] = nil
	s.heads = s.heads[:last]
	s.taken = false
	s.sift(0)
	s.settle(rd, err)
}

// settle puts a reader where it belongs, after its next returned err.
func (s *source) settle(rd *reader, err error) {
	switch err {
	case nil:
		rd.overdue = false
		s.push(rd)
		return
	case ErrIdle:
		s.waiting = append(s.waiting, rd)
		return
	case io.EOF:
	default:
		s.failed = append(s.failed, err)
	}
	if f, ok := rd.format.(*firehoseStream); ok {
		if f.leave(); len(f.of.queue) > 0 {
			s.making = append(s.making, f.of)
		}
	}
	rd.close()
	rd.group.busy = false
}

// poll asks the readers that had nothing, and reports whether the others may go on.
func (s *source) poll() bool {
	waiting := s.waiting
	s.waiting = s.waiting[:0]
	for _, rd := range waiting {
		if rd.pump != nil {
			rd.pump.patience = idleAfter / time.Duration(len(waiting))
			if rd.overdue && s.options.Follow && len(s.heads) > 0 {
				rd.pump.patience = 0
			}
		}
		err := rd.next(&rd.head)
		rd.overdue = err == ErrIdle
		s.settle(rd, err)
	}
	clear(waiting[len(s.waiting):])
	return len(s.waiting) == 0 || s.options.Follow
}

// openPart opens the file whose turn it is.
func (s *source) openPart() {
	p := s.parts[0]
	s.parts = s.parts[1:]
	if p.group == nil {
		p.group = s.join(p)
	}
	rd, err := s.openFile(p)
	if err != nil {
		s.failed = append(s.failed, err)
		p.group.busy = false
		return
	}
	s.settle(rd, rd.next(&rd.head))
}

// nothing says why there is no record.
func (s *source) nothing() error {
	if len(s.failed) > 0 && (len(s.waiting) == 0 || s.options.Follow) {
		err := errors.Join(s.failed...)
		s.failed = nil
		return err
	}
	if len(s.waiting) > 0 {
		return ErrIdle
	}
	return io.EOF
}

// before is the order of delivery: by time, then by tap, then by input.
func (a *reader) before(b *reader) bool {
	switch {
	case a.head.Time != b.head.Time:
		return a.head.Time < b.head.Time
	case a.head.Tap != b.head.Tap:
		return a.head.Tap < b.head.Tap
	}
	return a.order < b.order
}

// push adds a reader to the heap.
func (s *source) push(rd *reader) {
	s.heads = append(s.heads, rd)
	for i := len(s.heads) - 1; i > 0; {
		up := (i - 1) / 2
		if !s.heads[i].before(s.heads[up]) {
			return
		}
		s.heads[i], s.heads[up] = s.heads[up], s.heads[i]
		i = up
	}
}

// sift moves heads[i] down to its place in the heap.
func (s *source) sift(i int) {
	for {
		down := 2*i + 1
		if down >= len(s.heads) {
			return
		}
		if right := down + 1; right < len(s.heads) && s.heads[right].before(s.heads[down]) {
			down = right
		}
		if !s.heads[down].before(s.heads[i]) {
			return
		}
		s.heads[i], s.heads[down] = s.heads[down], s.heads[i]
		i = down
	}
}

// tap returns the index of the tap with that key, which is t if it is new.
func (s *source) tap(key tapKey, t Tap) (uint32, error) {
	if i, ok := s.index[key]; ok {
		return i, nil
	}
	if len(s.taps) == maxTaps {
		return 0, fmt.Errorf("more than %d interfaces in all: give fewer files", maxTaps)
	}
	i := uint32(len(s.taps))
	s.index[key] = i
	s.taps = append(s.taps, t)
	s.drops = append(s.drops, drops{})
	return i, nil
}

func (s *source) secret(file string, secret Secret) {
	if s.size+len(secret.Data) > maxSecrets {
		s.warn("%s: more than %d bytes of decryption secrets: the rest is ignored", file, maxSecrets)
		return
	}
	s.size += len(secret.Data)
	s.secrets = append(s.secrets, Secret{secret.Type, slices.Clone(secret.Data)})
}

func (s *source) warn(f string, args ...any) {
	if w := fmt.Sprintf(f, args...); !slices.Contains(s.warnings, w) {
		s.warnings = append(s.warnings, w)
	}
}

// note keeps something to say that is no loss.
func (s *source) note(f string, args ...any) { s.notes = append(s.notes, fmt.Sprintf(f, args...)) }

// Notes implements Noted.
func (s *source) Notes() []string { return s.notes }

func (s *source) Progress() (read, size int64) { return s.read.Load(), s.length }

// counted counts the bytes that are read.
type counted struct {
	io.ReadCloser
	to *atomic.Int64
}

// Read implements io.Reader.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.to.Add(int64(n))
	return n, err
}

func (s *source) Taps() []Tap        { return s.taps }
func (s *source) Warnings() []string { return s.warnings }
func (s *source) Secrets() []Secret  { return s.secrets }

func (s *source) Close() error {
	for _, rd := range slices.Concat(s.heads, s.waiting) {
		rd.close()
	}
	s.heads, s.waiting, s.parts, s.taken = nil, nil, nil, false
	return nil
}
