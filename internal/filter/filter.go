// Package filter is the exchange filter, --where EXPR: a subset of the expression language of
// github.com/expr-lang/expr that says which exchanges are wanted. docs/filter.md describes it.
//
// Text becomes expr's syntax tree, which is checked against the table of fields (exchange.Fields)
// and becomes a small tree of our own (Node). That tree is compiled to a predicate here, and is what
// stores translate to their own queries.
package filter

import (
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Limits of a filter's text. What exceeds them is refused.
const (
	// MaxLength is the largest length of the text, in bytes.
	MaxLength = 4096
	// MaxDepth is how deep parentheses and nots may be nested.
	MaxDepth = 64
)

// Filter is a checked filter.
type Filter struct {
	root  Node
	match predicate
	s     scratch
}

// Parse checks a filter's text. The error is an *Error, which says where in the text it is.
func Parse(text string) (*Filter, error) {
	root, err := parse(text)
	if err != nil {
		return nil, err
	}
	return &Filter{root: root, match: compile(root)}, nil
}

// Match reports whether the exchange is wanted. It allocates nothing for ordinary fields, and isn't
// safe for concurrent use: each goroutine parses its own filter.
func (f *Filter) Match(x *exchange.Exchange) bool { return f.match(x, &f.s) }

// Root returns the syntax tree, which must not be changed.
func (f *Filter) Root() Node { return f.root }

// String returns the canonical text: full names, values in their plainest form. It parses to the
// same filter.
func (f *Filter) String() string { return f.root.String() }

// Fields returns the fields that the filter looks at, in the order of their first mention. Headers
// count as the field that holds them all.
func (f *Filter) Fields() []*exchange.Field {
	var used []*exchange.Field
	eachOperand(f.root, func(o *Operand) {
		for _, field := range o.fields() {
			if !slices.Contains(used, field) {
				used = append(used, field)
			}
		}
	})
	return used
}
