// Package statement says what is known of the text of a database's statement or command: its template, its
// operation, what it is about, and which parts of it are literals.
//
// Texts come from the wire. They may be cut, malformed or made to deceive, so that nothing here parses a grammar: a
// text is split into tokens, and what is a literal is told by the tokens alone, in linear time and bounded memory.
package statement

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// The limits of this package.
const (
	// MaxText is how many bytes of a text a template is made of. What follows counts as cut off.
	MaxText = 64 << 10
	// MaxTemplate is how long a template is at most, in bytes. A longer one ends, behind a token, with a mark that has a hash
	// of all of it, so that those that differ stay different.
	MaxTemplate = 1024
	// MaxTemplates is how many templates an Analyzer remembers. Further ones take the place of those that weren't met for
	// long; they are made again then, and are the same.
	MaxTemplates = 4096
	// MaxName is how long an operation or a collection is at most, in bytes; a longer one is left out.
	MaxName = 256
)

// language is a way to write statements.
type language struct {
	// number tells languages apart that share an Analyzer's memory.
	number byte
	// shape appends the template of a text, without a limit. cut: the text isn't whole.
	shape func(w *writer, method, text []byte, cut bool)
	// literals appends the literals of a text.
	literals func(w *writer, dst []Literal, method, text []byte) []Literal
	// describe returns the operation and the collection of a template.
	describe func(template []byte) (operation, collection string)
}

// languages are those of the protocols, by name.
var languages = map[string]*language{
	"mysql":      sqlLanguage(1, &mysql),
	"postgresql": sqlLanguage(2, &postgres),
	"redis":      redis.language(),
	"memcached":  memcached.language(),
	"mongodb":    {number: 5, shape: (*writer).documents, literals: documentLiterals, describe: describeShell},
}

// Analyzer makes templates. It isn't safe for concurrent use.
type Analyzer struct {
	w writer
	// key is the language's number and the template at hand.
	key []byte
	// known are the templates that were met since it was begun anew, earlier those from before: each holds half of
	// MaxTemplates.
	known, earlier map[string]exchange.Statement
}

// New returns an Analyzer.
func New() *Analyzer { return &Analyzer{known: map[string]exchange.Statement{}} }

// Of returns what is known of the statement of an exchange: of its request, or, where nobody asked, of what the server
// said. It is empty for protocols without statements.
func (a *Analyzer) Of(x *exchange.Exchange) exchange.Statement {
	m := &x.Request
	switch {
	case x.Family != exchange.Database:
		return exchange.Statement{}
	case !x.HasRequest:
		m = &x.Response
		if !m.OneWay {
			return exchange.Statement{}
		}
	}
	return a.OfText(x.Protocol, m.Bytes(m.Method), m.Bytes(m.Target), m.Anomalies&(1<<proto.StatementCut) != 0)
}

// OfText is Of for a command and its text. cut: the text isn't whole.
func (a *Analyzer) OfText(protocol string, method, text []byte, cut bool) exchange.Statement {
	l := languages[protocol]
	if l == nil {
		return exchange.Statement{}
	}
	text, mark := trimMark(text)
	if len(text) > MaxText {
		text, cut = text[:MaxText], true
	}
	if len(method) > MaxName {
		method = nil
	}
	method, text = valid(method), valid(text)
	a.w.reset(mark != nil)
	l.shape(&a.w, method, text, cut)
	a.key = append(a.key[:0], l.number)
	a.key = appendTemplate(a.key, &a.w, mark)
	if s, ok := a.known[string(a.key)]; ok {
		return s
	}
	s, ok := a.earlier[string(a.key)]
	if !ok {
		s.Template = string(a.key[1:])
		s.Operation, s.Collection = l.describe(a.w.out)
	}
	if len(a.known) >= MaxTemplates/2 {
		a.known, a.earlier = map[string]exchange.Statement{}, a.known
	}
	a.known[string(a.key)] = s
	return s
}

// valid returns b, or, when that isn't UTF-8, a copy with U+FFFD for what isn't.
func valid(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	return bytes.ToValidUTF8(b, []byte("\ufffd"))
}

// The parts of the mark that ends a template that was cut: the ellipsis, and 64 bits of a hash in hexadecimal.
const (
	markStart = "…["
	markEnd   = "]"
	hexDigits = "0123456789abcdef"
	markSize  = len(markStart) + 16 + len(markEnd)
)

// trimMark takes the mark off the end of a text that is a template.
func trimMark(text []byte) (rest, mark []byte) {
	start := len(text) - markSize
	if start < 0 || text[len(text)-1] != markEnd[0] || string(text[start:start+len(markStart)]) != markStart {
		return text, nil
	}
	for _, c := range text[start+len(markStart) : len(text)-len(markEnd)] {
		if strings.IndexByte(hexDigits, c) < 0 {
			return text, nil
		}
	}
	return text[:start], text[start:]
}

// appendTemplate appends what w has written, within MaxTemplate, and the mark of a text that was a template.
func appendTemplate(dst []byte, w *writer, mark []byte) []byte {
	out := w.out
	if len(out)+len(mark) <= MaxTemplate {
		return append(append(dst, out...), mark...)
	}
	// FNV-1a.
	hash := uint64(14695981039346656037)
	for _, c := range out {
		hash = (hash ^ uint64(c)) * 1099511628211
	}
	for _, c := range mark {
		hash = (hash ^ uint64(c)) * 1099511628211
	}
	dst = append(dst, out[:w.fit]...)
	dst = append(dst, markStart...)
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[hash>>shift&15])
	}
	return append(dst, markEnd...)
}

// writer is where templates are made.
type writer struct {
	out []byte
	// fit is how long out was behind the last token that leaves room for a mark.
	fit int
	// marked: the text is a template that was cut.
	marked bool
	sql    shaper
	// other is scratch memory.
	other []byte
}

func (w *writer) reset(marked bool) { w.out, w.fit, w.marked = w.out[:0], 0, marked }

// fits notes the end of a token.
func (w *writer) fits() {
	if len(w.out) <= MaxTemplate-markSize {
		w.fit = len(w.out)
	}
}

// truncate takes back what was written beyond n, the end of a token.
func (w *writer) truncate(n int) {
	w.out = w.out[:n]
	w.fit = min(w.fit, n)
}

// oneLine returns a name without line ends and other control characters.
func (w *writer) oneLine(b []byte) []byte {
	for i, c := range b {
		if c >= ' ' && c != 0x7f {
			continue
		}
		w.other = append(w.other[:0], b...)
		for j := i; j < len(b); j++ {
			if b[j] < ' ' || b[j] == 0x7f {
				w.other[j] = ' '
			}
		}
		return w.other
	}
	return b
}

// list finds the items of a list that are like the one before, which are left out: of IN (?, ?, ?) remains IN (?), and
// of VALUES (?, ?), (?, ?) the first row.
type list struct {
	// item is where the item at hand begins, behind the comma; the last one that was kept is out[kept:end], if any.
	item, kept, end int
	any             bool
}

// begin begins a list, or its next item, at the end of what is written.
func (l *list) begin(w *writer) { l.item = len(w.out) }

// ended ends an item.
func (l *list) ended(w *writer) {
	item := bytes.TrimLeft(w.out[l.item:], " ")
	if l.any && bytes.Equal(item, bytes.TrimLeft(w.out[l.kept:l.end], " ")) {
		w.truncate(l.end)
		l.item = l.kept
		return
	}
	l.kept, l.end, l.any = l.item, len(w.out), true
}

// Literal is a part of a text that is data rather than structure: it is what templates have a ? for.
type Literal struct {
	// From and To are its place, with its quotes and its sign. TextFrom and TextTo are what is within the quotes.
	From, To, TextFrom, TextTo int
	// Name is what the text calls it: the column that it is compared with or put into, the function that it is given to, the
	// field. It is a part of the text, nil when that isn't known.
	Name []byte
	// Secret: it is a credential, whatever its name.
	Secret bool
	// Comment: it is a comment.
	Comment bool
	// Parameter is the number of a placeholder, from 1, which stands for a literal; 0: it is one.
	Parameter int
}

// Literals appends the literals of a text, in order, and its placeholders. method is the command that the text is of,
// which the text may begin with. It takes all of the text, however long. It is empty for protocols without statements.
func (a *Analyzer) Literals(dst []Literal, protocol string, method, text []byte) []Literal {
	l := languages[protocol]
	if l == nil {
		return dst
	}
	return l.literals(&a.w, dst, method, text)
}
