package redact

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The limits of rules.
const (
	// MaxNames is how many names each list of a Rules has at most, and MaxNameSize how long one is, in bytes.
	MaxNames    = 256
	MaxNameSize = 128
	// MaxPatterns is how many patterns there are at most, and MaxPatternSize how long one is, in bytes.
	MaxPatterns    = 32
	MaxPatternSize = 1024
)

// Rules are what the user knows of secrets beyond the tables of this package. The zero value has none.
//
// Names are those of headers, parameters, JSON members, XML elements, cookies and options of programs: case, -
// and _ don't count. One that begins with * stands for all that end so.
type Rules struct {
	// Names are the names of what is secret.
	Names []string
	// Keep are names of what isn't, whatever the tables say.
	Keep []string
	// KeepCookies are the names of cookies that aren't secret. Keep holds for them, too.
	KeepCookies []string
	// Patterns are regular expressions (RE2 syntax) for values of headers, targets, bodies and arguments of
	// processes. What their groups match is secret, or all that they match when they have none.
	Patterns []string
	// Literals: the literals of statements, their parameters and their results are shown, but for what is secret in them.
	Literals bool
}

// NewWithRules is New with the rules of the user. An error names the rule that is wrong.
func NewWithRules(key []byte, rules Rules) (*Redactor, error) {
	c, err := rules.compile()
	if err != nil {
		return nil, err
	}
	r := New(key)
	r.names, r.patterns, r.literals = newNames(&c.vocabulary), c.patterns, rules.Literals
	return r, nil
}

// Check returns the error that NewWithRules would return.
func (rules Rules) Check() error {
	_, err := rules.compile()
	return err
}

// compiled are rules ready for use.
type compiled struct {
	vocabulary vocabulary
	patterns   []*regexp.Regexp
}

func (rules Rules) compile() (*compiled, error) {
	var c compiled
	keep, err := parseNames("keep", rules.Keep, kept)
	if err != nil {
		return nil, err
	}
	secret, err := parseNames("names", rules.Names, named)
	if err != nil {
		return nil, err
	}
	cookies, err := parseNames("cookies.keep", rules.KeepCookies, kept)
	if err != nil {
		return nil, err
	}
	for i, s := range secret {
		same := func(k secretName) bool { return k.name == s.name && k.ending == s.ending }
		for _, list := range []struct {
			name  string
			names []secretName
		}{{"keep", keep}, {"cookies.keep", cookies}} {
			if slices.ContainsFunc(list.names, same) {
				return nil, fmt.Errorf("%q is in names, which are secret, and in %s, which aren't: leave it out of one of them", rules.Names[i], list.name)
			}
		}
	}
	c.vocabulary.names = append(keep, secret...)
	c.vocabulary.cookies = append(cookies, keep...)
	// A whole name counts before an ending: keep "csrf-token" of the names "*token", and the other way round.
	whole := func(a, b secretName) int {
		switch {
		case a.ending == b.ending:
			return 0
		case b.ending:
			return -1
		}
		return 1
	}
	slices.SortStableFunc(c.vocabulary.names, whole)
	if len(rules.Patterns) > MaxPatterns {
		return nil, fmt.Errorf("patterns: there are %d, and at most %d are allowed: join some with |", len(rules.Patterns), MaxPatterns)
	}
	for _, p := range rules.Patterns {
		re, err := parsePattern(p)
		if err != nil {
			return nil, err
		}
		c.patterns = append(c.patterns, re)
	}
	return &c, nil
}

// parseNames brings names into plain form. list is what the user calls them.
func parseNames(list string, names []string, from origin) ([]secretName, error) {
	if len(names) > MaxNames {
		return nil, fmt.Errorf("%s: there are %d names, and at most %d are allowed: *ending stands for all that end so", list, len(names), MaxNames)
	}
	var out []secretName
	for _, name := range names {
		s := secretName{origin: from}
		if from == named {
			s.min = 1
		}
		rest, ending := strings.CutPrefix(name, "*")
		s.ending = ending
		var b []byte
		for i := range len(rest) {
			c := rest[i]
			switch {
			case c == '*':
				return nil, fmt.Errorf("%s: %q: * may stand at the beginning only", list, name)
			case c < ' ' || c == 0x7f || strings.IndexByte("=;:,&?#/\"", c) >= 0:
				return nil, fmt.Errorf("%s: %q: a name has no %q in it", list, name, c)
			case (c == '.' || c == '[' || c == ']') && list != "cookies.keep":
				return nil, fmt.Errorf("%s: %q: of user.password and user[password] only the last part counts: write that", list, name)
			case isSeparator(c):
			case 'A' <= c && c <= 'Z':
				b = append(b, c|0x20)
			default:
				b = append(b, c)
			}
		}
		const minEnding = 4 // as many as endHash needs
		switch {
		case len(name) > MaxNameSize:
			return nil, fmt.Errorf("%s: %.40q...: a name has at most %d bytes", list, name, MaxNameSize)
		case len(b) == 0:
			return nil, fmt.Errorf("%s: %q isn't a name", list, name)
		case ending && len(b) < minEnding:
			return nil, fmt.Errorf("%s: %q: at least %d letters must follow the *", list, name, minEnding)
		}
		s.name = string(b)
		out = append(out, s)
	}
	return out, nil
}

func parsePattern(p string) (*regexp.Regexp, error) {
	if len(p) > MaxPatternSize {
		return nil, fmt.Errorf("patterns: %.40q... has %d bytes, and at most %d are allowed", p, len(p), MaxPatternSize)
	}
	re, err := regexp.Compile(p)
	if err != nil {
		return nil, fmt.Errorf("patterns: %q: %w", p, err)
	}
	if re.Match(nil) {
		return nil, fmt.Errorf("patterns: %q matches the empty text, and so everywhere: have it match at least one character", p)
	}
	return re, nil
}

// match adds to the secrets of a value what the patterns find in it, as it was sent.
func (r *Redactor) match(v []byte) {
	r.matches, r.marks = r.matches[:0], appendMarks(r.marks[:0], v)
	for _, p := range r.patterns {
		for _, at := range p.FindAllSubmatchIndex(v, MaxSecrets+1) {
			if len(at) > 2 {
				at = at[2:]
			}
			for ; len(at) > 0; at = at[2:] {
				r.addMatch(v, at[0], at[1])
			}
		}
	}
	if len(r.matches) > 0 {
		r.matches = append(r.matches, r.spans...)
		r.join(v)
	}
}

// join makes r.spans of r.matches, which may be in any order, and overlap.
func (r *Redactor) join(v []byte) {
	slices.SortFunc(r.matches, func(a, b span) int { return a.from - b.from })
	r.spans = r.spans[:0]
	for _, s := range r.matches {
		if n := len(r.spans); n > 0 && s.from < r.spans[n-1].to {
			r.spans[n-1] = union(r.spans[n-1], s)
			continue
		}
		r.addSpan(v, s)
	}
}

// addMatch adds v[from:to] to the matches, without the marks in it. When there are too many, all from there on
// is one.
func (r *Redactor) addMatch(v []byte, from, to int) {
	if from < 0 {
		return // a group that took no part
	}
	if len(r.matches) >= MaxPatterns*MaxSecrets {
		to = len(v)
	}
	i, _ := slices.BinarySearchFunc(r.marks, from, func(m span, from int) int { return cmp.Compare(m.to, from+1) })
	for ; i < len(r.marks) && r.marks[i].from < to; i++ {
		if m := r.marks[i]; from < m.from {
			r.matches = append(r.matches, span{from: from, to: m.from})
		}
		from = r.marks[i].to
	}
	if from < to {
		r.matches = append(r.matches, span{from: from, to: to})
	}
}

// appendMarks appends the places of the marks in v.
func appendMarks(dst []span, v []byte) []span {
	for i := 0; ; {
		n := bytes.Index(v[i:], []byte(markStart))
		if n < 0 {
			return dst
		}
		i += n
		length := markLen(v[i:])
		if length > 0 {
			dst = append(dst, span{from: i, to: i + length})
		}
		i += max(length, len(markStart))
	}
}

// union returns what covers two spans that overlap. It is a value of JSON if one of the two was it, and the
// other stands within.
func union(a, b span) span {
	s := span{from: a.from, to: max(a.to, b.to)}
	for _, one := range [2]span{a, b} {
		if one.from == s.from && one.to == s.to {
			s.quotes, s.quote, s.literal = max(s.quotes, one.quotes), max(s.quote, one.quote), s.literal || one.literal
		}
	}
	return s
}
