package replay

import (
	"fmt"
	"strconv"
	"strings"
)

// Path is a place in a JSON document, or several: $ and then .name, ['name'], [2], [*] or .* for each, and ..name for a name at any depth.
type Path struct {
	text  string
	steps []step
}

// step is a step down: name, or an index if name is empty and index isn't negative, or each. deep: at any depth.
type step struct {
	name  string
	index int
	each  bool
	deep  bool
}

// maxSteps bounds a path.
const maxSteps = 64

// ParsePath reads a path.
func ParsePath(text string) (Path, error) {
	p := Path{text: text}
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return p, fmt.Errorf("%q: a path begins with $, as in $.token or $.items[*].id", text)
	}
	for rest != "" {
		if len(p.steps) == maxSteps {
			return p, fmt.Errorf("%q has more than %d steps", text, maxSteps)
		}
		s := step{index: -1}
		switch {
		case strings.HasPrefix(rest, "['"):
			end := strings.Index(rest, "']")
			if end < 0 {
				return p, fmt.Errorf("%q: ['%s lacks its ']", text, rest[2:])
			}
			s.name, rest = rest[2:end], rest[end+2:]
		case rest[0] == '[':
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return p, fmt.Errorf("%q: %s lacks its ]", text, rest)
			}
			inner := rest[1:end]
			rest = rest[end+1:]
			if inner == "*" {
				s.each = true
				break
			}
			n, err := strconv.Atoi(inner)
			if err != nil || n < 0 {
				return p, fmt.Errorf("%q: [%s]: want a number from 0, * or 'name'", text, inner)
			}
			s.index = n
		case rest[0] == '.':
			rest = rest[1:]
			if strings.HasPrefix(rest, ".") {
				s.deep, rest = true, rest[1:]
			}
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			s.name, rest = rest[:end], rest[end:]
			if s.name == "*" {
				s.name, s.each = "", true
			}
		default:
			return p, fmt.Errorf("%q: want . or [ before %q", text, rest)
		}
		if s.name == "" && s.index < 0 && !s.each {
			return p, fmt.Errorf("%q has a step without a name", text)
		}
		p.steps = append(p.steps, s)
	}
	return p, nil
}

func (p Path) String() string { return p.text }

// place is a way into a document: names, and indexes of arrays.
type place struct {
	name  string
	index int // -1: name
}

// covers reports whether the path leads to a place, or to something around it.
func (p Path) covers(at []place) bool { return covers(p.steps, at) }

func covers(steps []step, at []place) bool {
	if len(steps) == 0 {
		return true
	}
	if len(at) == 0 {
		return false
	}
	s := &steps[0]
	if s.fits(at[0]) && covers(steps[1:], at[1:]) {
		return true
	}
	return s.deep && covers(steps, at[1:])
}

func (s *step) fits(at place) bool {
	switch {
	case s.each:
		return true
	case at.index >= 0:
		return s.name == "" && s.index == at.index
	}
	return s.name != "" && s.name == at.name
}

// find calls f with the values at the path in a document, until f returns false.
func (p Path) find(doc any, f func(v any) bool) bool { return find(p.steps, doc, f) }

func find(steps []step, v any, f func(v any) bool) bool {
	if len(steps) == 0 {
		return f(v)
	}
	s := &steps[0]
	switch v := v.(type) {
	case map[string]any:
		for _, name := range names(v) {
			if s.fits(place{name, -1}) && !find(steps[1:], v[name], f) || s.deep && !find(steps, v[name], f) {
				return false
			}
		}
	case []any:
		for i := range v {
			if s.fits(place{"", i}) && !find(steps[1:], v[i], f) || s.deep && !find(steps, v[i], f) {
				return false
			}
		}
	}
	return true
}
