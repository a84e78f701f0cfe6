// Package files keeps half-streams in files, one each, named as tcpflow names them. What is missing of one is a hole in
// its file, and has a line in the file "missing.tsv". What the files are is told in "report.xml".
//
//	chunk --> connection --> half --> sheet --> NAME         (at most MaxOpen are open: the one unused the longest is closed)
//	   |                       |`-----------> NAME.findx   when which bytes came
//	   |                       |`--hole-----> missing.tsv
//	   |                       `--when over-> report.xml
//	   `--of a message--> Objects             what messages carry
package files

import (
	"bufio"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/folder"
	"github.com/culprit-http/culprit/internal/proto"
)

// The limits.
const (
	// MaxOpen is how many files are open at a time, unless Options say otherwise.
	MaxOpen = 128
	// MaxFiles is how many files are made for half-streams. Of further ones, nothing is kept.
	MaxFiles = 1_000_000
	// MaxHole is the longest hole that a file has, in bytes. A longer one is left out of it.
	MaxHole = 16 << 20
	// maxRuns is how many holes and objects of a half-stream are reported with it. Of further holes missing.tsv tells alone; further objects
	// are reported by themselves.
	maxRuns = 4096
)

// MissingName is the name of the list of what is missing. IndexSuffix ends the names of indexes.
const (
	MissingName = "missing.tsv"
	IndexSuffix = ".findx"
)

// Objects keeps what messages carry, in files of its own.
type Objects interface {
	// Chunk takes a chunk of a message, which is borrowed until return, and the last chunk of a connection, with which that is forgotten. base
	// is the name of the file of the half-stream.
	Chunk(c *follow.Chunk, base string) error
	Flush() error
	Close() error
}

// Options say which files are made, and how.
type Options struct {
	// Template names the files, nil: as DefaultTemplate says.
	Template *Template
	// Index: beside each file is an index of when its bytes came.
	Index bool
	// MD5 and SHA256: the report has these digests of each file.
	MD5, SHA256 bool
	// MaxBytes is how much is kept of a half-stream, in bytes; 0: all of it. MaxOpen is how many files are open at a time; 0: MaxOpen.
	MaxBytes int64
	MaxOpen  int
	// Live: files keep the times at which they were written. Otherwise they say that they were changed last when their half-streams began, as
	// tcpflow's do; a process that has given up its rights can't have them say so.
	Live bool
	// Report is what the report says of who made it; nil: there is none.
	Report *Creator
	// Packets keeps the packets of each connection; nil: nobody does. It is the Output's to close.
	Packets *Packets
}

// Output keeps half-streams. It implements output.Output, and keeps nothing of exchanges.
type Output struct {
	options     Options
	folder      Folder
	sheets      *sheets
	namer       *namer
	connections map[*proto.Flow]*connection
	// nth counts the connections of which there was something.
	nth uint64
	// Objects, if not nil, keeps what messages carry. It may call Kept and Missing during its calls.
	Objects Objects
	// The limits, which tests make smaller.
	maxFiles, maxRuns int

	missing *bufio.Writer
	list    folder.File
	report  *report
	zeros   []byte
	line    []byte
	stats   Stats
}

// Stats count what was kept.
type Stats struct {
	follow.Stats
	// Files were made for half-streams. Affected are those with holes, Refused the half-streams that were left out since there were
	// MaxFiles.
	Files, Affected, Refused uint64
	// Cut are the half-streams that were longer than Options.MaxBytes, CutBytes what was left out of them.
	Cut, CutBytes uint64
}

// connection is an open connection.
type connection struct {
	half [2]half
}

// half is a half-stream, and its file.
type half struct {
	sheet sheet
	index *sheet
	// at is how much of the half-stream there was, in bytes, as its file has it. last is when the last of it came.
	at   int64
	last int64
	// refused: there will be no file. holed: the file has holes. touched: something came of it. cut: there was more than is kept.
	refused, holed, touched, cut bool
	digests                      digests
	runs                         []run
}

// digests are those of a file, as far as they are wanted.
type digests struct{ md5, sha256 hash.Hash }

func (d *digests) add(b []byte) {
	if d.md5 != nil {
		d.md5.Write(b)
	}
	if d.sha256 != nil {
		d.sha256.Write(b)
	}
}

func sum(h hash.Hash) string {
	if h == nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (d *digests) md5sum() string    { return sum(d.md5) }
func (d *digests) sha256sum() string { return sum(d.sha256) }

// New returns an Output that makes files in a folder, none of them before there is something to write.
func New(f Folder, options Options) (*Output, error) {
	if options.MaxOpen <= 0 {
		options.MaxOpen = MaxOpen
	}
	if options.Template == nil {
		t, err := ParseTemplate(DefaultTemplate)
		if err != nil {
			return nil, err
		}
		options.Template = t
	}
	o := &Output{
		options: options, folder: f, sheets: newSheets(f, options.MaxOpen), namer: newNamer(options.Template, ReportName, MissingName),
		connections: map[*proto.Flow]*connection{}, maxFiles: MaxFiles, maxRuns: maxRuns,
	}
	if options.Index {
		o.namer.suffixes = append(o.namer.suffixes, IndexSuffix)
	}
	if options.Packets != nil {
		o.namer.suffixes = append(o.namer.suffixes, PacketsSuffix)
	}
	o.namer.suffixes = append(o.namer.suffixes, folder.PartSuffix)
	if options.Report != nil {
		o.report = &report{creator: options.Report}
	}
	return o, nil
}

// Exchange implements output.Output.
func (o *Output) Exchange(*exchange.Exchange) error { return nil }

// Headline implements output.Headline: nothing of an exchange needs redaction.
func (o *Output) Headline() {}

// Stats returns what was kept so far.
func (o *Output) Stats() Stats { return o.stats }

// Flush implements output.Output.
func (o *Output) Flush() error {
	err := o.sheets.flush()
	if o.missing != nil {
		err = errors.Join(err, wrap(MissingName, o.missing.Flush()))
	}
	if o.report != nil && o.report.w != nil {
		err = errors.Join(err, wrap(ReportName, o.report.w.Flush()))
	}
	if o.Objects != nil {
		err = errors.Join(err, o.Objects.Flush())
	}
	return err
}

// Close implements output.Output. All files are closed, whatever fails. What wasn't complete keeps its temporary name.
func (o *Output) Close() error {
	var errs []error
	if o.Objects != nil {
		errs = append(errs, o.Objects.Close())
	}
	if o.options.Packets != nil {
		errs = append(errs, o.options.Packets.close(o.namer))
	}
	errs = append(errs, o.sheets.flush(), o.sheets.close())
	if o.list != nil {
		errs = append(errs, o.conclude(MissingName, o.list, o.missing.Flush()))
		o.list, o.missing = nil, nil
	}
	if o.report != nil {
		err := o.report.begin(o.folder)
		if err == nil {
			err = o.conclude(ReportName, o.report.file, o.report.end())
		}
		errs = append(errs, err)
		o.report = nil
	}
	return errors.Join(errs...)
}

// conclude closes a file that was written to its end, unless err says otherwise, and then gives it its name.
func (o *Output) conclude(name string, f folder.File, err error) error {
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = o.folder.Finish(name, time.Time{})
	}
	return wrap(name, err)
}

// Chunks keeps chunks. They are borrowed until return.
func (o *Output) Chunks(all []follow.Chunk) error {
	for i := range all {
		if err := o.chunk(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

func (o *Output) chunk(c *follow.Chunk) error {
	conn := o.connections[c.Flow]
	if conn == nil {
		if c.Step == follow.NoMessage && c.Close != proto.Open {
			return nil // nothing came of it
		}
		var err error
		if conn, err = o.connection(c.Flow); err != nil {
			return err
		}
	}
	h := &conn.half[c.Dir]
	if c.Step != follow.NoMessage {
		return o.message(c, h)
	}
	if c.Close != proto.Open {
		if !c.Over {
			return nil
		}
		return o.over(c, conn)
	}
	o.stats.Add(c, !h.touched)
	if !h.touched && h.refused {
		o.stats.Refused++
	}
	h.touched = h.touched || c.Gap == 0
	h.last = c.At.Time
	switch {
	case c.Undecrypted != "":
		return o.miss(h.sheet.name, h.at, c.Gap, "not decrypted: "+c.Undecrypted)
	case c.Gap != 0:
		return o.hole(h, c.Gap)
	}
	return o.data(h, c)
}

// message gives a chunk of a message to who keeps what messages carry.
func (o *Output) message(c *follow.Chunk, h *half) error {
	if o.Objects == nil || h.refused {
		return nil
	}
	return o.Objects.Chunk(c, h.sheet.name)
}

// Kept reports a file that Objects has made.
func (o *Output) Kept(object Object) {
	if o.report == nil {
		return
	}
	if conn := o.connections[object.Flow]; conn != nil && len(conn.half[object.Dir].runs) < o.maxRuns {
		h := &conn.half[object.Dir]
		h.runs = append(h.runs, run{offset: object.From, object: &object})
		return
	}
	o.report.object("    ", &object)
	o.report.text("\n")
}

// Missing notes that n bytes are missing at an offset of a file, or proto.Unknown when their number isn't known.
func (o *Output) Missing(name string, offset, n int64, why string) error {
	return o.miss(name, offset, n, why)
}

// connection begins a connection, and gives its half-streams names.
func (o *Output) connection(f *proto.Flow) (*connection, error) {
	conn := &connection{}
	o.connections[f] = conn
	var names [2]string
	if o.stats.Files < uint64(o.maxFiles) {
		names = o.namer.pair(f, o.nth)
	}
	o.nth++
	for d := range conn.half {
		h := &conn.half[d]
		h.refused = names[d] == ""
		if h.sheet.name = names[d]; !o.options.Live {
			h.sheet.modified = time.Unix(0, f.First.Time)
		}
		if o.report != nil && o.options.MD5 {
			h.digests.md5 = md5.New()
		}
		if o.report != nil && o.options.SHA256 {
			h.digests.sha256 = sha256.New()
		}
	}
	if o.report != nil {
		if err := o.report.begin(o.folder); err != nil {
			return nil, err
		}
		o.report.open(2)
	}
	if o.options.Packets != nil {
		return conn, o.options.Packets.named(f, names[0])
	}
	return conn, nil
}

// over ends a connection: its files get their names.
func (o *Output) over(c *follow.Chunk, conn *connection) error {
	if o.Objects != nil {
		if err := o.Objects.Chunk(c, ""); err != nil {
			return err
		}
	}
	delete(o.connections, c.Flow)
	for d := range conn.half {
		h := &conn.half[d]
		if c.Facts != nil && c.Facts[d].Packets > 0 && !o.options.Live {
			h.sheet.modified = time.Unix(0, c.Facts[d].First)
		}
		if err := o.sheets.finish(&h.sheet); err != nil {
			return err
		}
		if h.index != nil {
			if err := o.sheets.finish(h.index); err != nil {
				return err
			}
		}
		if o.report != nil {
			o.report.flow(h, c, proto.Direction(d))
		}
	}
	return nil
}

// begin reports whether there is a file to write to, or may be one.
func (o *Output) begin(h *half) bool {
	if !h.refused && !h.started() {
		if o.stats.Files >= uint64(o.maxFiles) {
			h.refused = true
			o.stats.Refused++
			return false
		}
		o.stats.Files++
	}
	return !h.refused
}

// started: something was written.
func (h *half) started() bool { return h.sheet.made || h.sheet.waits != nil || h.sheet.written > 0 }

// data writes bytes behind those that were written.
func (o *Output) data(h *half, c *follow.Chunk) error {
	if !o.begin(h) {
		return nil
	}
	b, at := c.Data, h.at
	h.at += int64(len(b))
	if b = b[:o.keep(h, at, int64(len(b)))]; len(b) == 0 {
		return nil
	}
	h.digests.add(b)
	if o.options.Index {
		if err := o.note(h, at, len(b), c.At.Time); err != nil {
			return err
		}
	}
	return o.sheets.add(&h.sheet, b)
}

// keep returns how many of n bytes at an offset are kept, and counts the others.
func (o *Output) keep(h *half, at, n int64) int64 {
	if o.options.MaxBytes <= 0 || at+n <= o.options.MaxBytes {
		return n
	}
	kept := max(o.options.MaxBytes-at, 0)
	if !h.cut {
		h.cut = true
		o.stats.Cut++
	}
	o.stats.CutBytes += uint64(n - kept)
	return kept
}

// note adds a line to the index.
func (o *Output) note(h *half, at int64, n int, time int64) error {
	if h.index == nil {
		h.index = &sheet{name: h.sheet.name + IndexSuffix}
	}
	o.line = strconv.AppendInt(o.line[:0], at, 10)
	o.line = append(o.line, '|')
	o.line = strconv.AppendInt(o.line, time/1e9, 10)
	o.line = append(o.line, '.')
	o.line = appendDigits(o.line, uint64(time%1e9/1e3), 6)
	o.line = append(o.line, '|')
	o.line = strconv.AppendInt(o.line, int64(n), 10)
	o.line = append(o.line, '\n')
	return o.sheets.add(h.index, o.line)
}

// hole leaves room for n bytes that are missing, if that is known and not too much.
func (o *Output) hole(h *half, n int64) error {
	if !o.begin(h) {
		return nil
	}
	if !h.holed {
		h.holed = true
		o.stats.Affected++
	}
	why := "not captured, or not readable"
	if n > MaxHole {
		why += "; no room is left for it"
	}
	if err := o.miss(h.sheet.name, h.at, n, why); err != nil {
		return err
	}
	if n <= 0 || n > MaxHole {
		return o.sheets.need(&h.sheet) // there is a file, be it empty
	}
	at := h.at
	h.at += n
	if n = o.keep(h, at, n); n == 0 {
		return nil
	}
	if o.report != nil && len(h.runs) < o.maxRuns {
		h.runs = append(h.runs, run{offset: at, length: n})
	}
	o.blank(h, n)
	if err := o.sheets.skip(&h.sheet, n); err != nil {
		return err
	}
	return o.sheets.need(&h.sheet)
}

// blank adds n zeros to the digests.
func (o *Output) blank(h *half, n int64) {
	if h.digests == (digests{}) {
		return
	}
	if o.zeros == nil {
		o.zeros = make([]byte, 32<<10)
	}
	for ; n > 0; n -= int64(len(o.zeros)) {
		h.digests.add(o.zeros[:min(n, int64(len(o.zeros)))])
	}
}

// miss notes that n bytes are missing at an offset of a file.
func (o *Output) miss(name string, offset, n int64, why string) error {
	if o.list == nil {
		f, err := o.folder.Create(MissingName)
		if err != nil {
			return wrap(MissingName, err)
		}
		o.list, o.missing = f, bufio.NewWriter(io.NewOffsetWriter(f, 0))
		o.missing.WriteString("file\toffset\tbytes\twhy\n") // an error stays until Flush
	}
	length := "?"
	if n != proto.Unknown {
		length = strconv.FormatInt(n, 10)
	}
	_, err := fmt.Fprintf(o.missing, "%s\t%d\t%s\t%s\n", name, offset, length, why)
	return wrap(MissingName, err)
}
