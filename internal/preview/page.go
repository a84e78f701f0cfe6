package preview

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// page collects lines, as far as the limits let it.
type page struct {
	Text
	limits Limits
	size   int
	// left counts the lines that found no room, and clipped those that were cut.
	left, clipped int
}

func newPage(o Limits) page {
	if o.Lines <= 0 || o.Lines > MaxLines {
		o.Lines = MaxLines
	}
	if o.LineBytes <= 0 || o.LineBytes > MaxLine {
		o.LineBytes = MaxLine
	}
	if o.Columns <= 0 {
		o.Columns = 80
	}
	return page{limits: o}
}

// full reports whether there is no room for more.
func (p *page) full() bool { return len(p.Lines) >= p.limits.Lines || p.size >= MaxText }

// line adds a line.
func (p *page) line(b []byte) {
	if p.full() {
		p.left++
		return
	}
	if limit := p.limits.LineBytes; len(b) > limit {
		for limit > 0 && !utf8.RuneStart(b[limit]) {
			limit--
		}
		b = b[:limit]
		p.clipped++
	}
	p.size += len(b)
	p.Lines = append(p.Lines, string(b))
}

// text adds text, line by line, each behind a prefix.
func (p *page) text(prefix string, b []byte) {
	b = bytes.TrimSuffix(b, []byte("\n"))
	for line := range bytes.SplitSeq(b, []byte("\n")) {
		if p.full() {
			p.left++ // and how many more is counted without looking at them
			continue
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		if prefix != "" {
			line = append([]byte(prefix), line...)
		}
		p.line(line)
	}
}

// note adds a remark.
func (p *page) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// done returns the finished text.
func (p *page) done() Text {
	if p.left > 0 {
		p.note("%s left out here", count(p.left, "line"))
	}
	if p.clipped > 0 {
		p.note("%s cut after %d bytes", count(p.clipped, "line"), p.limits.LineBytes)
	}
	return p.Text
}

// count gives a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
