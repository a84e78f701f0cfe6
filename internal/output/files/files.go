// Package files keeps half-streams in files, one each, named as tcpflow names them. What is missing of one is a hole in
// its file, and has a line in the file "missing.tsv".
//
//	chunk --> connection --> half --buffer--> File    (at most MaxOpen are open: the one unused the longest is closed)
//	                           `----hole----> missing.tsv
package files

import (
	"bufio"
	"container/list"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/proto"
)

// Folder is where the files are. Names have no slashes in them.
type Folder interface {
	// Create makes a file. Reopen opens one again that Create has made.
	Create(name string) (File, error)
	Reopen(name string) (File, error)
}

// File is an open file.
type File interface {
	io.WriterAt
	io.Closer
}

// The limits.
const (
	// MaxOpen is how many files are open at a time.
	MaxOpen = 128
	// MaxFiles is how many files are made. Of further half-streams, nothing is kept.
	MaxFiles = 1_000_000
	// MaxHole is the longest hole that a file has, in bytes. A longer one is left out of it.
	MaxHole = 16 << 20
	// bufferSize is how much of a file waits to be written.
	bufferSize = 16 << 10
)

// MissingName is the name of the list of what is missing.
const MissingName = "missing.tsv"

// Output keeps half-streams. It implements output.Output, and keeps nothing of exchanges.
type Output struct {
	folder      Folder
	connections map[*proto.Flow]*connection
	// names are how many connections there were for a name.
	names map[string]uint32
	// open are the halves whose files are open, the one used last first.
	open  *list.List
	spare [][]byte
	// The limits, which tests make smaller.
	maxOpen, maxFiles int

	missing *bufio.Writer
	list    File
	stats   Stats
}

// Stats count what was kept.
type Stats struct {
	follow.Stats
	// Files were made. Affected are those with holes, Refused the half-streams that were left out since there were
	// MaxFiles.
	Files, Affected, Refused uint64
}

// connection is an open connection.
type connection struct {
	count uint32
	half  [2]half
}

// half is a half-stream, and its file.
type half struct {
	name string
	// at is where the file's next byte belongs; written is how much of it was written.
	at, written int64
	// made: there is a file. refused: there will be none. holed: the file has holes. touched: something came of it.
	made, refused, holed, touched bool
	// Of an open file:
	file File
	buf  []byte
	in   *list.Element
}

// New returns an Output that makes files in a folder.
func New(folder Folder) *Output {
	return &Output{
		folder: folder, connections: map[*proto.Flow]*connection{}, names: map[string]uint32{}, open: list.New(), maxOpen: MaxOpen, maxFiles: MaxFiles,
	}
}

// Exchange implements output.Output.
func (o *Output) Exchange(*exchange.Exchange) error { return nil }

// Headline implements output.Headline: nothing of an exchange needs redaction.
func (o *Output) Headline() {}

// Stats returns what was kept so far.
func (o *Output) Stats() Stats { return o.stats }

// Flush implements output.Output.
func (o *Output) Flush() error {
	for e := o.open.Front(); e != nil; e = e.Next() {
		if err := o.write(e.Value.(*half)); err != nil {
			return err
		}
	}
	if o.missing != nil {
		return o.wrap(MissingName, o.missing.Flush())
	}
	return nil
}

// Close implements output.Output. All files are closed, whatever fails.
func (o *Output) Close() (err error) {
	for e := o.open.Front(); e != nil; e = o.open.Front() {
		if e := o.shut(e.Value.(*half)); err == nil {
			err = e
		}
	}
	if o.list == nil {
		return err
	}
	e := o.missing.Flush()
	if c := o.list.Close(); e == nil {
		e = c
	}
	o.list, o.missing = nil, nil
	if err == nil {
		err = o.wrap(MissingName, e)
	}
	return err
}

func (o *Output) wrap(name string, err error) error {
	if err != nil {
		return fmt.Errorf("files output: %s: %w", name, err)
	}
	return nil
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
		if c.Close != proto.Open {
			return nil // nothing came of it
		}
		conn = o.connection(c.Flow)
	}
	h := &conn.half[c.Dir]
	if h.name == "" {
		h.name = o.nameOf(c.Flow, c.Dir, conn.count)
	}
	if c.Close == proto.Open {
		o.stats.Add(c, !h.touched)
		if !h.touched && h.refused {
			o.stats.Refused++
		}
		h.touched = h.touched || c.Gap == 0
	}
	switch {
	case c.Close != proto.Open && c.Over:
		delete(o.connections, c.Flow)
		for d := range conn.half {
			if err := o.shut(&conn.half[d]); err != nil {
				return err
			}
		}
		return nil
	case c.Close != proto.Open:
		return o.shut(h)
	case c.Undecrypted != "":
		return o.miss(h, c.Gap, "not decrypted: "+c.Undecrypted)
	case c.Gap != 0:
		return o.hole(h, c.Gap)
	}
	return o.data(h, c.Data)
}

// connection begins a connection, and finds the number that tells it from others with the same addresses and ports.
func (o *Output) connection(f *proto.Flow) *connection {
	conn := &connection{}
	// As seen from either end, the ends are the same.
	a, b := o.nameOf(f, proto.Originator, 0), o.nameOf(f, proto.Responder, 0)
	key := min(a, b)
	n, there := o.names[key]
	if !there && len(o.names) >= o.maxFiles {
		conn.half[0].refused, conn.half[1].refused = true, true
	} else {
		conn.count = n
		o.names[key] = n + 1
	}
	o.connections[f] = conn
	return conn
}

// nameOf returns the name of the nth half-stream from one end of a flow to the other, in tcpflow's form: addresses with
// three digits for each byte, ports with five. What tcpflow doesn't know is added: the stream of an SCTP association.
func (o *Output) nameOf(f *proto.Flow, d proto.Direction, nth uint32) string {
	var b strings.Builder
	end := func(d proto.Direction) {
		if a := f.Addr[d].Netip(); a.Is4() {
			p := a.As4()
			fmt.Fprintf(&b, "%03d.%03d.%03d.%03d", p[0], p[1], p[2], p[3])
		} else {
			b.WriteString(a.String())
		}
		fmt.Fprintf(&b, ".%05d", f.Port[d])
	}
	end(d)
	b.WriteByte('-')
	end(d.Other())
	if f.Stream > 0 {
		b.WriteString("s" + strconv.Itoa(int(f.Stream)))
	}
	if nth > 0 {
		b.WriteString("c" + strconv.FormatUint(uint64(nth), 10))
	}
	return b.String()
}

// data writes bytes behind those that were written.
func (o *Output) data(h *half, b []byte) error {
	if err := o.need(h); err != nil || h.refused {
		return err
	}
	if len(h.buf)+len(b) > bufferSize {
		if err := o.write(h); err != nil {
			return err
		}
	}
	h.at += int64(len(b))
	if len(b) < bufferSize {
		h.buf = append(h.buf, b...)
		return nil
	}
	_, err := h.file.WriteAt(b, h.written)
	h.written += int64(len(b))
	return o.wrap(h.name, err)
}

// hole leaves room for n bytes that are missing, if that is known and not too much.
func (o *Output) hole(h *half, n int64) error {
	if err := o.need(h); err != nil || h.refused {
		return err
	}
	if err := o.write(h); err != nil {
		return err
	}
	if !h.holed {
		h.holed = true
		o.stats.Affected++
	}
	why := "not captured, or not readable"
	if n > MaxHole {
		why += "; no room is left for it"
	}
	if err := o.miss(h, n, why); err != nil {
		return err
	}
	if n > 0 && n <= MaxHole {
		h.at += n
		h.written += n
	}
	return nil
}

// miss notes that n bytes are missing.
func (o *Output) miss(h *half, n int64, why string) error {
	if o.list == nil {
		f, err := o.folder.Create(MissingName)
		if err != nil {
			return o.wrap(MissingName, err)
		}
		o.list, o.missing = f, bufio.NewWriter(io.NewOffsetWriter(f, 0))
		o.missing.WriteString("file\toffset\tbytes\twhy\n") // an error stays until Flush
	}
	length := "?"
	if n != proto.Unknown {
		length = strconv.FormatInt(n, 10)
	}
	_, err := fmt.Fprintf(o.missing, "%s\t%d\t%s\t%s\n", h.name, h.at, length, why)
	return o.wrap(MissingName, err)
}

// need opens the file of a half-stream, and closes another where there are too many.
func (o *Output) need(h *half) error {
	switch {
	case h.refused:
		return nil
	case h.file != nil:
		o.open.MoveToFront(h.in)
		return nil
	case !h.made && o.stats.Files >= uint64(o.maxFiles):
		h.refused = true
		o.stats.Refused++
		return nil
	}
	if o.open.Len() >= o.maxOpen {
		if err := o.shut(o.open.Back().Value.(*half)); err != nil {
			return err
		}
	}
	open := o.folder.Create
	if h.made {
		open = o.folder.Reopen
	}
	f, err := open(h.name)
	if err != nil {
		return o.wrap(h.name, err)
	}
	if !h.made {
		h.made = true
		o.stats.Files++
	}
	h.file, h.in = f, o.open.PushFront(h)
	if n := len(o.spare); n > 0 {
		h.buf, o.spare = o.spare[n-1], o.spare[:n-1]
	} else {
		h.buf = make([]byte, 0, bufferSize)
	}
	return nil
}

// write writes what waits.
func (o *Output) write(h *half) error {
	if len(h.buf) == 0 {
		return nil
	}
	n, err := h.file.WriteAt(h.buf, h.written)
	h.written += int64(n)
	h.buf = h.buf[:0]
	return o.wrap(h.name, err)
}

// shut closes the file of a half-stream, if it is open.
func (o *Output) shut(h *half) error {
	if h.file == nil {
		return nil
	}
	err := o.write(h)
	if e := o.wrap(h.name, h.file.Close()); err == nil {
		err = e
	}
	o.spare = append(o.spare, h.buf)
	o.open.Remove(h.in)
	h.file, h.buf, h.in = nil, nil, nil
	return err
}
