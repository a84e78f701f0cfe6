// Package demux makes files of the streams of a firehose recording: one for each direction of each conversation, as the utility of
// Apache httpd's mod_firehose does, but with gaps kept and told, and nothing written over. A file whose name doesn't end with .part is
// whole, byte for byte.
package demux

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"github.com/culprit-http/culprit/internal/firehose"
	"github.com/culprit-http/culprit/internal/output/folder"
)

// Folder makes the files.
type Folder interface {
	// Create makes a file of a name, under the name that PartSuffix of package folder ends, and Reopen opens it again, once it was closed. It is an
	// error that wraps fs.ErrExist if there is one from earlier, and that isn't to be replaced.
	Create(name string) (folder.File, error)
	Reopen(name string) (folder.File, error)
	// Finish gives a file its name, and Leave leaves it without: it isn't whole. modified is when they were changed last. Remove removes one
	// that has no name yet, and Doubt takes the name from one.
	Finish(name string, modified time.Time) error
	Leave(name string, modified time.Time) error
	Remove(name string) error
	Doubt(name string) error
}

// Options says what is wanted.
type Options struct {
	// Folder gets the files; nil for none.
	Folder Folder
	// UUIDs are those of the conversations that are wanted, none: all. Prefixes are what one of their directions has to begin with; none: anything.
	UUIDs    []firehose.UUID
	Prefixes []string
	// Limits bounds what is kept of streams.
	Limits firehose.Limits
	// Undecided is how many bytes are kept until it is known whether they are wanted, 0 for MaxUndecided; more are written, and removed if they aren't.
	Undecided int
	// Over is told each wanted stream that is over, with the name of its file, empty if there is none. A stream may go on after that, and is told again.
	Over func(s *firehose.Stream, file string) error
}

const (
	// maxOpen is how many files are open at once.
	maxOpen = 128
	// maxBuffer is how many bytes are kept of a stream before they are written.
	maxBuffer = 64 << 10
	// maxSpare is how many written buffers are kept for other streams.
	maxSpare = 64
	// MaxUndecided is the default of Options.Undecided.
	MaxUndecided = 32 << 20
	// MaxConversations is how many conversations are remembered if there are prefixes: whether they are wanted.
	MaxConversations = 65536
	// gapsName is the name of the list of gaps.
	gapsName = "gaps.tsv"
	// maxGapsNames is how many lists of gaps there may be in a folder.
	maxGapsNames = 1000
	// lastModified is the latest time that a file is given, in microseconds since 1970: of the year 2200. File systems don't take any.
	lastModified = 7_258_118_400_000_000
	// maxRows is how many gaps of a stream are kept until it is known whether it is wanted.
	maxRows = 1000
)

// Totals counts what was done. The streams that were over are Complete, Incomplete or Unwanted.
type Totals struct {
	// Fragments and Bytes were wanted by their UUID, of the data of all streams.
	Fragments uint64
	Bytes     int64
	// Streams began. Of those that were wanted, Complete are whole; of Incomplete ones something is missing or wrong. Unwanted ones have another
	// prefix; of Undecidable of them the start is missing.
	Streams, Complete, Incomplete, Unwanted, Undecidable uint64
	// Gaps is how many there are in the list of gaps.
	Gaps uint64
	// Forgotten is how many conversations were given up before it was known whether they are wanted.
	Forgotten uint64
}

// Demux makes files of the streams of one recording. It isn't safe for concurrent use.
type Demux struct {
	o         Options
	sequencer *firehose.Sequencer
	totals    Totals
	uuids     map[firehose.UUID]bool
	seen      map[firehose.UUID]bool

	// conversations are the last ones, and order is the order of their begins.
	conversations map[firehose.UUID]*conversation
	order         []*conversation
	undecided     int
	longest       int

	// open are the outputs whose file is open, in the order in which they were opened, and dirty those with bytes to write. spare are buffers
	// that were written: they aren't kept with each of many streams.
	open, dirty []*out
	spare       [][]byte
	gaps        gapList
	// failed is what ended the work.
	failed error
}

// conversation is what has one UUID, while prefixes are looked for.
type conversation struct {
	uuid     firehose.UUID
	outs     []*out
	decision decision
	// live is how many of its streams are open, and had which directions there were: the other one may come later, from another file.
	live int
	had  [2]bool
}

// decision says whether a conversation is wanted.
type decision byte

const (
	undecided decision = iota
	wanted
	unwanted
)

// out is where a stream goes.
type out struct {
	stream *firehose.Stream
	name   string
	file   folder.File
	made   bool
	// buf are bytes to be written, and size is how many there were.
	buf   []byte
	size  int64
	dirty bool
	rows  []row
	conv  *conversation
	// start is what the stream begins with, until it is known whether a prefix fits, and settled: none does.
	start   []byte
	settled bool
	// over: there is nothing more.
	over bool
	// named: the file has its name.
	named bool
}

// New returns a Demux.
func New(o Options) *Demux {
	if o.Undecided <= 0 {
		o.Undecided = MaxUndecided
	}
	d := &Demux{o: o, conversations: map[firehose.UUID]*conversation{}}
	d.sequencer = firehose.NewSequencer(o.Limits, d.event)
	if len(o.UUIDs) > 0 {
		d.uuids, d.seen = map[firehose.UUID]bool{}, map[firehose.UUID]bool{}
		for _, u := range o.UUIDs {
			d.uuids[u] = true
		}
	}
	for _, p := range o.Prefixes {
		d.longest = max(d.longest, len(p))
	}
	return d
}

// Totals returns what was done until now, and Sequencer what became of the fragments.
func (d *Demux) Totals() Totals { return d.totals }

// Sequencer returns what became of the fragments.
func (d *Demux) Sequencer() firehose.SequencerTotals { return d.sequencer.Totals() }

// Unseen returns the UUIDs that were wanted, and of which there was no fragment.
func (d *Demux) Unseen() (list []firehose.UUID) {
	for _, u := range d.o.UUIDs {
		if !d.seen[u] && !slices.Contains(list, u) {
			list = append(list, u)
		}
	}
	return list
}

// GapsFile returns the name of the list of gaps, empty if there is none.
func (d *Demux) GapsFile() string { return d.gaps.name }

// Fragment takes the next fragment of the recording. It is borrowed until return.
func (d *Demux) Fragment(f *firehose.Fragment) error {
	if d.uuids != nil {
		if !d.uuids[f.UUID] {
			return nil
		}
		d.seen[f.UUID] = true
	}
	if !f.End {
		d.totals.Fragments++
		d.totals.Bytes += int64(len(f.Data))
	}
	if d.failed == nil {
		d.failed = d.sequencer.Fragment(f)
	}
	return d.failed
}

// Flush writes what waits to be written.
func (d *Demux) Flush() error {
	for _, o := range d.dirty {
		o.dirty = false
		if d.failed == nil {
			d.failed = d.write(o)
		}
	}
	d.dirty = d.dirty[:0]
	if d.failed == nil {
		d.failed = d.gaps.flush()
	}
	return d.failed
}

// Close ends all streams and files. After an error, which isn't returned again, the files are left as they are, without their names.
func (d *Demux) Close() error {
	if d.failed != nil {
		for _, o := range d.open {
			_ = o.file.Close()
		}
		d.open = nil
		return nil
	}
	err := d.sequencer.Close()
	for _, c := range d.order {
		if err == nil && c.decision == undecided {
			err = d.decide(c, unwanted)
		}
	}
	if d.failed = err; err == nil {
		err = d.Flush()
	}
	if err == nil {
		err = d.gaps.close(d.o.Folder)
	}
	if d.failed = err; err != nil {
		_ = d.Close()
	}
	return err
}

// event takes what happens with a stream.
func (d *Demux) event(e *firehose.Event) error {
	o, _ := e.Stream.Mark.(*out)
	switch e.Kind {
	case firehose.Begin:
		return d.begin(e.Stream)
	case firehose.Resumed:
		return d.resume(o)
	case firehose.Data:
		return d.data(o, e.Data)
	case firehose.Missing:
		return d.missing(o, row{offset: o.size, missing: e.Missing, unit: "fragments"})
	case firehose.Lost:
		return d.missing(o, row{offset: o.size, missing: e.Missing, unit: "bytes"})
	case firehose.End, firehose.Closed:
		return d.over(o)
	case firehose.Doubt:
		return d.doubt(o)
	}
	return nil
}

// suffixes are what the names of files end with.
var suffixes = map[firehose.Dir]string{firehose.Request: ".request", firehose.Response: ".response"}

// begin takes a new stream.
func (d *Demux) begin(s *firehose.Stream) error {
	d.totals.Streams++
	o := &out{stream: s}
	name, _ := s.UUID.AppendText(nil)
	if s.Nth > 0 {
		name = strconv.AppendInt(append(name, '.'), int64(s.Nth+1), 10)
	}
	o.name = string(name) + suffixes[s.Dir]
	s.Mark = o
	if len(d.o.Prefixes) == 0 {
		return nil
	}
	c := d.conversations[s.UUID]
	if c != nil && c.live == 0 && c.had[dirIndex(s.Dir)] { // the UUID is used again
		if c.decision == undecided {
			if err := d.decide(c, unwanted); err != nil {
				return err
			}
		}
		c = nil
	}
	if c == nil {
		c = &conversation{uuid: s.UUID}
		d.conversations[s.UUID] = c
		d.order = append(d.order, c)
	}
	o.conv = c
	c.live++
	c.had[dirIndex(s.Dir)] = true
	if c.decision == undecided {
		c.outs = append(c.outs, o)
	}
	return d.forget()
}

// resume takes a stream that was over, and goes on.
func (d *Demux) resume(o *out) error {
	o.over = false
	if o.conv != nil {
		o.conv.live++
	}
	if o.unwanted() {
		d.totals.Unwanted--
	} else if o.conv == nil || o.conv.decision == wanted {
		d.totals.Incomplete--
	}
	return nil
}

// unwanted: nothing of it is kept.
func (o *out) unwanted() bool { return o.conv != nil && o.conv.decision == unwanted }

// waits: it isn't known whether it is wanted.
func (o *out) waits() bool { return o.conv != nil && o.conv.decision == undecided }

// data takes bytes of a stream.
func (d *Demux) data(o *out, b []byte) error {
	o.size += int64(len(b))
	if o.unwanted() {
		return nil
	}
	if d.o.Folder != nil {
		if n := len(d.spare); o.buf == nil && n > 0 && !o.waits() {
			o.buf, d.spare = d.spare[n-1], d.spare[:n-1]
		}
		o.buf = append(o.buf, b...)
	}
	if o.waits() {
		if d.o.Folder != nil {
			d.undecided += len(b)
		}
		if !o.settled {
			o.start = append(o.start, b[:min(len(b), d.longest-len(o.start))]...)
			if err := d.match(o); err != nil {
				return err
			}
		}
	}
	if d.o.Folder == nil || o.unwanted() {
		return nil
	}
	switch {
	case len(o.buf) >= maxBuffer:
		return d.write(o)
	case o.waits() && d.undecided <= d.o.Undecided:
		return nil
	case o.waits():
		return d.spill()
	case !o.dirty:
		o.dirty = true
		d.dirty = append(d.dirty, o)
	}
	return nil
}

// match decides whether a conversation is wanted, if the start of a stream tells.
func (d *Demux) match(o *out) error {
	o.settled = true
	for _, p := range d.o.Prefixes {
		n := min(len(p), len(o.start))
		switch {
		case string(o.start[:n]) != p[:n]:
		case n == len(p):
			return d.decide(o.conv, wanted)
		default:
			o.settled = false
		}
	}
	return d.settle(o.conv)
}

// settle gives a conversation up, if no prefix fits either direction.
func (d *Demux) settle(c *conversation) error {
	if c.decision != undecided {
		return nil
	}
	var settled [2]bool
	for _, o := range c.outs {
		if !o.settled {
			return nil
		}
		settled[dirIndex(o.stream.Dir)] = true
	}
	if settled[0] && settled[1] {
		return d.decide(c, unwanted)
	}
	return nil
}

func dirIndex(d firehose.Dir) int {
	if d == firehose.Response {
		return 1
	}
	return 0
}

// decide decides about a conversation.
func (d *Demux) decide(c *conversation, is decision) error {
	c.decision = is
	outs := c.outs
	c.outs = nil
	for _, o := range outs {
		d.undecided -= len(o.buf)
		o.start = nil
		if is == unwanted {
			if o.stream.State&firehose.NoStart != 0 {
				d.totals.Undecidable++
			}
			if err := d.drop(o); err != nil {
				return err
			}
			continue
		}
		rows := o.rows
		o.rows = nil
		for _, r := range rows {
			if err := d.missing(o, r); err != nil {
				return err
			}
		}
		if o.over {
			if err := d.finish(o); err != nil {
				return err
			}
			continue
		}
		if len(o.buf) > 0 && !o.dirty {
			o.dirty = true
			d.dirty = append(d.dirty, o)
		}
	}
	return nil
}

// drop drops what there is of a stream that isn't wanted.
func (d *Demux) drop(o *out) error {
	o.buf, o.rows = nil, nil
	if o.over {
		d.totals.Unwanted++
	}
	if err := d.shut(o); err != nil || !o.made {
		return err
	}
	o.made = false
	return d.o.Folder.Remove(o.name)
}

// forget gives conversations up when there are too many.
func (d *Demux) forget() error {
	for len(d.order) > 0 && (len(d.conversations) > MaxConversations || d.conversations[d.order[0].uuid] != d.order[0]) {
		c := d.order[0]
		d.order = d.order[1:]
		if d.conversations[c.uuid] != c {
			continue
		}
		if c.decision == undecided {
			d.totals.Forgotten++
			if err := d.decide(c, unwanted); err != nil {
				return err
			}
		}
		delete(d.conversations, c.uuid)
	}
	if len(d.order) > 2*MaxConversations {
		d.order = slices.DeleteFunc(d.order, func(c *conversation) bool { return d.conversations[c.uuid] != c })
	}
	return nil
}

// spill writes what waits for a decision.
func (d *Demux) spill() error {
	for _, c := range d.order {
		for _, o := range c.outs {
			if err := d.write(o); err != nil {
				return err
			}
		}
	}
	return nil
}

// missing takes a gap.
func (d *Demux) missing(o *out, r row) error {
	if r.offset == 0 && r.unit == "fragments" || o.size < int64(d.longest) {
		o.settled = true // what it begins with isn't known
	}
	switch {
	case o.unwanted():
		return nil
	case o.waits():
		if len(o.rows) < maxRows {
			o.rows = append(o.rows, r)
		}
		return d.settle(o.conv)
	}
	d.totals.Gaps++
	if d.o.Folder == nil {
		return nil
	}
	r.file = o.name + folder.PartSuffix
	return d.gaps.add(d.o.Folder, &r)
}

// over takes the end of a stream.
func (d *Demux) over(o *out) error {
	o.over = true
	o.settled = true
	c := o.conv
	if c != nil {
		c.live--
	}
	switch {
	case o.unwanted():
		d.totals.Unwanted++
	case o.waits():
		return d.settle(c)
	default:
		return d.finish(o)
	}
	return nil
}

// finish ends the file of a stream that is over and wanted.
func (d *Demux) finish(o *out) error {
	s := o.stream
	whole := s.State == firehose.Complete
	if whole {
		d.totals.Complete++
	} else {
		d.totals.Incomplete++
	}
	file := ""
	if d.o.Folder != nil {
		if err := d.write(o); err != nil {
			return err
		}
		if whole && !o.made { // there is a stream, of nothing
			if err := d.openFile(o); err != nil {
				return err
			}
		}
		if err := d.shut(o); err != nil {
			return err
		}
		var err error
		switch at := modified(s); {
		case !o.made:
		case whole:
			file, o.named = o.name, true
			err = d.o.Folder.Finish(o.name, at)
		default:
			file = o.name + folder.PartSuffix
			err = d.o.Folder.Leave(o.name, at)
		}
		if err != nil {
			return err
		}
	}
	o.buf = nil
	if d.o.Over == nil {
		return nil
	}
	return d.o.Over(s, file)
}

// modified returns when a stream was changed last: with its own last bytes.
func modified(s *firehose.Stream) time.Time {
	at := s.Last
	if at == 0 {
		at = s.End
	}
	if at <= 0 || at > lastModified {
		return time.Time{}
	}
	return time.UnixMicro(at)
}

// doubt takes a stream that turns out to be corrupt.
func (d *Demux) doubt(o *out) error {
	if o.unwanted() || o.waits() {
		return nil
	}
	file := ""
	if o.made {
		file = o.name + folder.PartSuffix
	}
	if o.named {
		o.named = false
		d.totals.Complete--
		d.totals.Incomplete++
		if err := d.o.Folder.Doubt(o.name); err != nil {
			return err
		}
	} else if d.o.Folder == nil && o.stream.State == firehose.Corrupt {
		d.totals.Complete--
		d.totals.Incomplete++
	}
	if d.o.Over == nil {
		return nil
	}
	return d.o.Over(o.stream, file)
}

// write writes what there is of a stream.
func (d *Demux) write(o *out) error {
	if len(o.buf) == 0 {
		return nil
	}
	if o.file == nil {
		if err := d.openFile(o); err != nil {
			return err
		}
	}
	if o.waits() {
		d.undecided -= len(o.buf)
	}
	_, err := o.file.Write(o.buf)
	if cap(o.buf) <= 2*maxBuffer && len(d.spare) < maxSpare {
		d.spare = append(d.spare, o.buf[:0])
	}
	o.buf = nil
	return err
}

// openFile opens the file of a stream, at its end.
func (d *Demux) openFile(o *out) (err error) {
	if len(d.open) >= maxOpen {
		if err := d.shut(d.open[0]); err != nil {
			return err
		}
	}
	if o.made {
		o.file, err = d.o.Folder.Reopen(o.name)
		if err == nil {
			_, err = o.file.Seek(0, 2)
		}
	} else {
		o.file, err = d.o.Folder.Create(o.name)
	}
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: name another folder with -d, or write over what is there with --force", err)
		}
		return err
	}
	o.made = true
	d.open = append(d.open, o)
	return nil
}

// shut closes the file of a stream, if it is open.
func (d *Demux) shut(o *out) error {
	if o.file == nil {
		return nil
	}
	file := o.file
	o.file = nil
	i := slices.Index(d.open, o)
	d.open = slices.Delete(d.open, i, i+1)
	return file.Close()
}
