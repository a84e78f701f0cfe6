// Package template shows each exchange by a format that the user gives, with justniffer's keywords
// (docs/format.md).
package template

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/terminal"
)

// Common is justniffer's default format, the combined log format of Apache.
const Common = `%source.ip - - [%request.timestamp(%d/%b/%Y:%T %z)] "%request.line" %response.code %response.size "%request.header.referer()" "%request.header.user-agent()"`

// Missing stands for a value that there isn't, unless the format says otherwise.
const Missing = "-"

// A step appends a part of the line: fixed text, or the value of a keyword.
type step struct {
	text string
	get  getter
	// missing stands for the value where there is none.
	missing string
}

// Output writes exchanges by a format. It implements output.Output.
type Output struct {
	steps []step
	w     *bufio.Writer
	line  []byte
	value []byte
}

// New returns an Output that writes to w by a format, such as Common. An error names the position of
// what is wrong in the format.
func New(w io.Writer, format string) (*Output, error) {
	steps, err := parse(format)
	if err != nil {
		return nil, err
	}
	return &Output{steps: steps, w: bufio.NewWriterSize(w, 64<<10)}, nil
}

// Exchange writes one exchange and a newline. Values are escaped as terminal.AppendSafe does, so that
// one exchange is one line unless the format has line ends of its own.
func (o *Output) Exchange(x *exchange.Exchange) error {
	line := o.line[:0]
	for i := range o.steps {
		s := &o.steps[i]
		if s.get == nil {
			line = append(line, s.text...)
			continue
		}
		var ok bool
		if o.value, ok = s.get(o.value[:0], x); ok {
			line = terminal.AppendSafe(line, o.value)
		} else {
			line = append(line, s.missing...)
		}
	}
	o.line = append(line, '\n')
	_, err := o.w.Write(o.line)
	return wrap(err)
}

// Flush writes what is buffered.
func (o *Output) Flush() error { return wrap(o.w.Flush()) }

// Close writes what remains.
func (o *Output) Close() error { return o.Flush() }

func wrap(err error) error {
	if err != nil {
		return fmt.Errorf("format output: %w", err)
	}
	return nil
}

// parse compiles a format.
func parse(format string) ([]step, error) {
	var steps []step
	for pos := 0; pos < len(format); {
		percent := strings.IndexByte(format[pos:], '%')
		if percent < 0 {
			return append(steps, step{text: format[pos:]}), nil
		}
		if percent > 0 {
			steps = append(steps, step{text: format[pos : pos+percent]})
			pos += percent
		}
		s, n, err := parseKeyword(format[pos:])
		if err != nil {
			return nil, fmt.Errorf("format, column %d: %w", pos+1, err)
		}
		steps = append(steps, s)
		pos += n
	}
	return steps, nil
}

// parseKeyword compiles the keyword at the beginning of s, and returns how long it is.
func parseKeyword(s string) (st step, n int, err error) {
	name := keywordName(s[1:])
	n = 1 + len(name)
	for _, l := range literals {
		if l.name == name {
			return step{text: l.text}, n, nil
		}
	}
	k, arg := lookup(name)
	if k == nil {
		return st, 0, unknownKeyword(name)
	}
	if k.arg != "" {
		var given bool
		var length int
		if arg, length, given, err = parenthesised(s[n:]); err != nil {
			return st, 0, fmt.Errorf("%%%s: %w", name, err)
		}
		if !k.optional && arg == "" {
			return st, 0, fmt.Errorf("%%%s needs an argument: %%%s(%s)", name, name, k.arg)
		}
		if given {
			n += length
		}
	}
	missing, length, given, err := parenthesised(s[n:])
	if err != nil {
		return st, 0, fmt.Errorf("%%%s: %w", name, err)
	}
	if !given {
		missing = Missing
	}
	get, err := k.make(arg)
	if err != nil {
		return st, 0, fmt.Errorf("%%%s: %w", name, err)
	}
	return step{get: get, missing: missing}, n + length, nil
}

// lookup finds a keyword; arg is what its name gives as argument.
func lookup(name string) (k *keyword, arg string) {
	for i := range keywords {
		if keywords[i].name == name {
			return &keywords[i], ""
		}
	}
	for _, h := range headerPrefixes {
		if field, ok := strings.CutPrefix(name, h.name); ok && field != "" {
			return &keyword{name: name, make: h.make}, field
		}
	}
	return nil, ""
}

// keywordName returns the name at the beginning of s: letters, digits and underscores with dots
// between them, and hyphens too in the names of header fields. A dot or hyphen that ends it belongs to
// the text behind it.
func keywordName(s string) string {
	if s != "" && (s[0] == '%' || s[0] == '-') {
		return s[:1]
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_."
	name := s[:len(s)-len(strings.TrimLeft(s, letters))]
	for _, h := range headerPrefixes {
		if strings.HasPrefix(name, h.name) {
			name = s[:len(s)-len(strings.TrimLeft(s, letters+"-"))]
		}
	}
	return strings.TrimRight(name, ".-")
}

// parenthesised returns what is in the parentheses at the beginning of s, and their length with
// them; given is false when s doesn't begin with one. Parentheses within must be in pairs, or escaped
// by a backslash, which stays.
func parenthesised(s string) (inner string, n int, given bool, err error) {
	if s == "" || s[0] != '(' {
		return "", 0, false, nil
	}
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return s[1:i], i + 1, true, nil
			}
		}
	}
	return "", 0, false, fmt.Errorf("the parenthesis isn't closed")
}

func unknownKeyword(name string) error {
	if name == "" {
		return fmt.Errorf("no keyword follows the %%; write %%%% for a per cent sign")
	}
	best, distance := "", len(name)
	consider := func(candidate string) {
		if d := editDistance(name, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	for _, l := range literals {
		consider(l.name)
	}
	for i := range keywords {
		consider(keywords[i].name)
	}
	if distance > max(2, len(name)/3) {
		return fmt.Errorf("unknown keyword %%%s; docs/format.md lists them", name)
	}
	return fmt.Errorf("unknown keyword %%%s; did you mean %%%s?", name, best)
}

// editDistance is the Levenshtein distance of two names.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
