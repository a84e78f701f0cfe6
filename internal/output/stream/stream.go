// Package stream shows half-streams for a person to read, as they come: a line that says who sends, where that changes,
// and then what was sent. Text stays text, with escapes for what would steer a terminal; what isn't text is shown in
// hexadecimal. What the output says itself begins with a rule, "── ", and nothing from the wire does.
package stream

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/proto"
)

// Form is how bytes are shown.
type Form string

// The forms.
const (
	// Auto: text up to the first line that isn't, and in hexadecimal from there to the end of the segment.
	Auto Form = "auto"
	// Text: all as text, with escapes.
	Text Form = "text"
	// Hex: all in hexadecimal.
	Hex Form = "hex"
)

// Forms are the names of all forms, the default first.
func Forms() []string { return []string{string(Auto), string(Text), string(Hex)} }

// Options say how half-streams are shown.
type Options struct {
	Form     Form
	Terminal terminal.Terminal
	// Location is the zone of times on a terminal; elsewhere they are in UTC.
	Location *time.Location
}

// Output shows half-streams. It implements output.Output, and shows nothing of exchanges.
type Output struct {
	o   Options
	w   *bufio.Writer
	buf []byte

	connections map[*proto.Flow]*connection
	numbers     uint64
	// The source of what was shown last. There is none before the first.
	flow  *proto.Flow
	dir   proto.Direction
	inner bool
	// begun: the cursor isn't at the start of a line. carriage: a CR was held back that may be one of a line end.
	begun, carriage bool
	stats           follow.Stats
}

// connection is what is known of an open connection.
type connection struct {
	number uint64
	// at is how many bytes were shown of each half-stream, holes of a known length included.
	at [2]int64
}

// New returns an Output that writes to w.
func New(w io.Writer, o Options) *Output {
	return &Output{o: o, w: bufio.NewWriterSize(w, 64<<10), connections: map[*proto.Flow]*connection{}}
}

// Exchange implements output.Output.
func (o *Output) Exchange(*exchange.Exchange) error { return nil }

// Headline implements output.Headline: nothing of an exchange needs redaction.
func (o *Output) Headline() {}

// Flush implements output.Output.
func (o *Output) Flush() error { return wrap(o.w.Flush()) }

// Close implements output.Output.
func (o *Output) Close() error {
	o.buf = o.buf[:0]
	if !o.o.Form.likeTcpflow() { // which ends with the last byte
		o.buf = o.endLine(o.buf)
	}
	if err := o.write(); err != nil {
		return err
	}
	return o.Flush()
}

// Silent reports whether the form says nothing of what is missing.
func (o *Output) Silent() bool { return o.o.Form.Silent() }

// Stats returns what was shown so far.
func (o *Output) Stats() follow.Stats { return o.stats }

func (o *Output) write() error {
	_, err := o.w.Write(o.buf)
	return wrap(err)
}

func wrap(err error) error {
	if err != nil {
		return fmt.Errorf("stream output: %w", err)
	}
	return nil
}

// Chunks shows chunks. They are borrowed until return.
func (o *Output) Chunks(list []follow.Chunk) error {
	for i := range list {
		o.buf = o.buf[:0]
		o.chunk(&list[i])
		if err := o.write(); err != nil {
			return err
		}
	}
	return nil
}

// ends are what is said of the ends of half-streams, where that isn't the usual thing.
var ends = map[proto.CloseReason]string{
	proto.Reset: "reset", proto.Replaced: "replaced by a new connection", proto.TimedOut: "timed out",
	proto.Evicted: "forgotten for lack of memory",
}

func (o *Output) chunk(c *follow.Chunk) {
	if c.Step != follow.NoMessage {
		return
	}
	conn := o.connections[c.Flow]
	if conn == nil {
		if c.Close != proto.Open {
			return // nothing came of it
		}
		o.numbers++
		conn = &connection{number: o.numbers}
		o.connections[c.Flow] = conn
	}
	o.stats.Add(c, conn.at[c.Dir] == 0)
	switch {
	case c.Close != proto.Open:
		if text := ends[c.Close]; text != "" && c.Over && !o.o.Form.likeTcpflow() {
			o.source(c, conn)
			o.note(text)
		}
		if c.Over {
			delete(o.connections, c.Flow)
			if o.flow == c.Flow {
				o.flow = nil
			}
		}
	case c.Undecrypted != "":
		o.source(c, conn)
		o.note(fmt.Sprintf("%s not decrypted: %s", bytesOf(c.Gap), terminal.AppendSafe(nil, []byte(c.Undecrypted))))
	case c.Gap == proto.Unknown:
		o.source(c, conn)
		o.note("bytes missing; how many isn't known")
	case c.Gap > 0:
		o.source(c, conn)
		o.note(bytesOf(c.Gap) + " missing")
		conn.at[c.Dir] += c.Gap
	case o.o.Form.likeTcpflow():
		o.segment(c)
		conn.at[c.Dir] += int64(len(c.Data))
	default:
		o.source(c, conn)
		o.content(c, conn.at[c.Dir])
		conn.at[c.Dir] += int64(len(c.Data))
	}
}

func bytesOf(n int64) string {
	if n == 1 {
		return "1 byte"
	}
	return string(terminal.AppendCount(nil, n)) + " bytes"
}

// rule begins what the output says itself.
const rule = "── "

// source says who sends, if that has changed.
func (o *Output) source(c *follow.Chunk, conn *connection) {
	if o.o.Form.likeTcpflow() {
		return
	}
	if o.flow == c.Flow && o.dir == c.Dir && o.inner == c.Inner {
		return
	}
	o.flow, o.dir, o.inner = c.Flow, c.Dir, c.Inner
	at := time.Unix(0, c.At.Time).UTC()
	layout := "2006-01-02T15:04:05.000000Z"
	if o.o.Terminal.Width > 0 {
		layout = "15:04:05.000"
		if o.o.Location != nil {
			at = at.In(o.o.Location)
		}
	}
	text := fmt.Sprintf("%s%s → %s  %s  connection %s", rule, c.Flow.End(c.Dir), c.Flow.End(c.Dir.Other()), at.Format(layout),
		terminal.AppendCount(nil, int64(conn.number)))
	if c.Inner {
		text += ", decrypted"
	}
	if c.Tap != nil && c.Tap.Name != "" {
		text += ", tap " + string(terminal.AppendSafe(nil, []byte(c.Tap.Name)))
	}
	if fill := o.o.Terminal.Width - terminal.Width([]byte(text)) - 1; fill > 0 {
		text += " " + strings.Repeat("─", fill)
	}
	o.line(text, terminal.Dim)
}

// note says what is odd about the half-stream here.
func (o *Output) note(text string) {
	if !o.o.Form.Silent() {
		o.line(rule+"["+text+"]", terminal.Amber)
	}
}

// line writes a line of the output's own.
func (o *Output) line(text string, s terminal.Style) {
	o.buf = o.endLine(o.buf)
	o.buf = o.o.Terminal.Begin(o.buf, s)
	o.buf = append(o.buf, text...)
	o.buf = o.o.Terminal.End(o.buf, s)
	o.buf = append(o.buf, '\n')
}

// endLine ends a line that was begun, with what was held back of it.
func (o *Output) endLine(dst []byte) []byte {
	if o.carriage {
		dst = append(dst, `\x0d`...)
		o.carriage = false
	}
	if o.begun {
		dst = append(dst, '\n')
		o.begun = false
	}
	return dst
}

// styles tell the directions apart on a terminal.
var styles = [2]terminal.Style{proto.Originator: terminal.Violet, proto.Responder: terminal.Plain}

// content shows bytes, the first of which is at an offset of the half-stream.
func (o *Output) content(c *follow.Chunk, at int64) {
	n := len(c.Data)
	switch o.o.Form {
	case Auto:
		n = textLength(c.Data)
	case Hex:
		n = 0
	}
	o.text(c.Data[:n], styles[c.Dir])
	if n < len(c.Data) {
		o.buf = o.endLine(o.buf)
		o.dump(c.Data[n:], at+int64(n), styles[c.Dir])
	}
}

// text shows bytes as lines of text.
func (o *Output) text(b []byte, s terminal.Style) {
	for len(b) > 0 {
		if o.carriage && b[0] != '\n' {
			o.carriage = false
			o.piece([]byte{'\r'}, s)
		}
		line, rest, ended := bytes.Cut(b, []byte{'\n'})
		b = rest
		if ended {
			o.piece(bytes.TrimSuffix(line, []byte{'\r'}), s)
			o.buf = append(o.buf, '\n')
			o.begun, o.carriage = false, false
			continue
		}
		line, o.carriage = bytes.CutSuffix(line, []byte{'\r'})
		o.piece(line, s)
		o.begun = o.begun || o.carriage
	}
}

// piece shows a part of a line.
func (o *Output) piece(b []byte, s terminal.Style) {
	if len(b) == 0 {
		return
	}
	o.buf = o.o.Terminal.Begin(o.buf, s)
	if first := rule[:len("─")]; !o.begun && bytes.HasPrefix(b, []byte(first)) {
		// It would pass for a line of the output's own.
		for _, c := range b[:len(first)] {
			o.buf = fmt.Appendf(o.buf, `\x%02x`, c)
		}
		b = b[len(first):]
	}
	for i, part := range bytes.Split(b, []byte{'\t'}) { // which does no harm
		if i > 0 {
			o.buf = append(o.buf, '\t')
		}
		o.buf = terminal.AppendSafe(o.buf, part)
	}
	o.buf = o.o.Terminal.End(o.buf, s)
	o.begun = true
}

// rowBytes is how many bytes a row shows in hexadecimal.
const rowBytes = 16

const hexDigits = "0123456789abcdef"

// dump shows bytes in hexadecimal, as hexdump -C does: the offset, the bytes, and what of them is ASCII.
func (o *Output) dump(b []byte, at int64, s terminal.Style) {
	for ; len(b) > 0; at += rowBytes {
		row := b[:min(len(b), rowBytes)]
		b = b[len(row):]
		o.buf = o.o.Terminal.Begin(o.buf, s)
		o.buf = fmt.Appendf(o.buf, "%08x ", at)
		for i := range rowBytes {
			if i%8 == 0 {
				o.buf = append(o.buf, ' ')
			}
			if i < len(row) {
				o.buf = append(o.buf, hexDigits[row[i]>>4], hexDigits[row[i]&15], ' ')
			} else {
				o.buf = append(o.buf, "   "...)
			}
		}
		o.buf = append(o.buf, " |"...)
		for _, c := range row {
			if c < ' ' || c > '~' {
				c = '.'
			}
			o.buf = append(o.buf, c)
		}
		o.buf = append(o.buf, '|')
		o.buf = o.o.Terminal.End(o.buf, s)
		o.buf = append(o.buf, '\n')
	}
}

// textLength returns how much of b is text: whole lines, and what of a last one came. A character may be cut off at
// both ends.
func textLength(b []byte) int {
	start := 0 // of the line
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case c == '\n':
			start = i + 1
			i++
		case ' ' <= c && c <= '~', c == '\t', c == '\r', c == '\x1b':
			i++
		case c < utf8.RuneSelf:
			return start
		default:
			r, size := utf8.DecodeRune(b[i:])
			cut := !utf8.FullRune(b[i:]) || i < utf8.UTFMax-1 && !utf8.RuneStart(c)
			if r == utf8.RuneError && size == 1 && !cut || r < 0xa0 {
				return start
			}
			i += size
		}
	}
	return len(b)
}
