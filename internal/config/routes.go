package config

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// RoutesFile is what culprit routes --expect reads, and --learn writes: YAML.
type RoutesFile struct {
	// Name is that of the file.
	Name string
	// Routes are templates of paths, as in Enrichment.
	Routes []string
	// Expect are the routes that are expected.
	Expect []ExpectedRoute

	file *File
}

// ExpectedRoute is a route and the ways that its requests are to take. Docs/routes.md says what the texts mean.
type ExpectedRoute struct {
	Host, Route       string
	Methods, Statuses []string
	// Chains are lists of hops.
	Chains   [][]string
	Required bool
	// Line is where it stands.
	Line int

	at map[string]place
}

// The keys of a file of routes.
const (
	keyExpect   = "expect"
	keyHost     = "host"
	keyRoute    = "route"
	keyMethods  = "methods"
	keyStatuses = "statuses"
	keyChain    = "chain"
	keyChains   = "chains"
	keyRequired = "required"
)

// ParseRoutes reads a file of routes. Errors name the file, line and column.
func ParseRoutes(name string, text []byte) (*RoutesFile, error) {
	r := &fileReader{File: &File{Name: name, at: map[string]place{}}}
	if len(text) > MaxFile {
		return nil, fmt.Errorf("%s: it has %d bytes, and a file of routes has at most %d", name, len(text), MaxFile)
	}
	parsed, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, r.syntax(err)
	}
	f := &RoutesFile{Name: name, file: r.File}
	documents := 0
	for _, d := range parsed.Docs {
		if d.Body == nil || d.Body.Type() == ast.NullType || d.Body.Type() == ast.CommentType {
			continue
		}
		if documents++; documents > 1 {
			return nil, r.errorf(placeOf(d.Body.GetToken()), "a second document begins here: write all routes into one")
		}
		if err := r.members("", d.Body, map[string]func(string, ast.Node) error{
			keyRoutes: r.list(&f.Routes),
			keyExpect: func(key string, n ast.Node) error { return r.expected(f, key, n) },
		}); err != nil {
			return nil, err
		}
	}
	if len(f.Expect) == 0 {
		return nil, fmt.Errorf("%s: it expects nothing: write routes below %s, or have culprit routes --learn write them", name, keyExpect)
	}
	return f, nil
}

// expected reads the routes that are expected.
func (r *fileReader) expected(f *RoutesFile, path string, n ast.Node) error {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return r.errorf(placeOf(n.GetToken()), "%s is a list: each route begins with a hyphen", path)
	}
	for _, n := range list.Values {
		begin := placeOf(n.GetToken())
		if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 { // whose own token is a colon
			begin = placeOf(m.Values[0].Key.GetToken())
		}
		e := ExpectedRoute{Line: begin.line, at: map[string]place{}}
		clear(r.at)
		one := func(to *string) func(string, ast.Node) error {
			return func(path string, n ast.Node) (err error) {
				*to, err = r.scalar(path, n)
				return err
			}
		}
		if err := r.members(path, n, map[string]func(string, ast.Node) error{
			keyHost: one(&e.Host), keyRoute: one(&e.Route), keyMethods: r.list(&e.Methods), keyStatuses: r.list(&e.Statuses),
			keyChain: func(path string, n ast.Node) error {
				var chain []string
				err := r.list(&chain)(path, n)
				e.Chains = append(e.Chains, chain)
				return err
			},
			keyChains: func(path string, n ast.Node) error {
				list, ok := n.(*ast.SequenceNode)
				if !ok {
					return r.errorf(placeOf(n.GetToken()), "%s is a list of lists; write a single one as %s", path, keyChain)
				}
				for _, n := range list.Values {
					if _, ok := n.(*ast.SequenceNode); !ok {
						return r.errorf(placeOf(n.GetToken()), "%s is a list of lists: write this one as [a, b, c]", path)
					}
					var chain []string
					if err := r.list(&chain)(path, n); err != nil {
						return err
					}
					e.Chains = append(e.Chains, chain)
				}
				return nil
			},
			keyRequired: func(path string, n ast.Node) error {
				b, ok := n.(*ast.BoolNode)
				if !ok {
					return r.errorf(placeOf(n.GetToken()), "%s is true or false", path)
				}
				e.Required = b.Value
				return nil
			},
		}); err != nil {
			return err
		}
		for key, at := range r.at {
			e.at[key[len(path)+1:]] = at
		}
		if err := e.check(); err != nil {
			return r.errorf(begin, "%v", err)
		}
		f.Expect = append(f.Expect, e)
	}
	return nil
}

// check checks what doesn't depend on the meaning of texts.
func (e *ExpectedRoute) check() error {
	_, one := e.at[keyChain]
	_, several := e.at[keyChains]
	switch {
	case one && several:
		return fmt.Errorf("%s and %s exclude each other", keyChain, keyChains)
	case !one && !several && len(e.Statuses) == 0:
		return fmt.Errorf("a route needs a %s, %s, or %s", keyChain, keyChains, keyStatuses)
	}
	for _, chain := range e.Chains {
		if len(chain) == 0 {
			return errors.New("a chain needs a hop at least")
		}
	}
	return nil
}

// Errorf returns an error about a key of an expected route.
func (f *RoutesFile) Errorf(e *ExpectedRoute, key string, err error) error {
	at, ok := e.at[key]
	if !ok {
		at = place{e.Line, 1}
	}
	return f.file.errorf(at, "%s: %v", key, err)
}

// Routing is what culprit routes can be told.
type Routing struct {
	Capture
	// Expect is a file of routes to compare with; Learn: write one.
	Expect string
	Learn  bool
	// Quantiles is the kind of sketch that percentiles are told from.
	Quantiles string
	// Limit is how many routes are shown, 0: all.
	Limit int
	// Output is how: table, csv or ndjson.
	Output string
	// Color is auto, always or never.
	Color string
}

// DefaultRouting returns the defaults.
func DefaultRouting() Routing {
	return Routing{Capture: DefaultCapture(), Quantiles: "dd", Limit: DefaultLimit, Output: "table", Color: "auto"}
}

// Validate checks what can be checked without opening anything. Errors name the option.
func (r *Routing) Validate() error {
	switch {
	case len(r.Inputs) == 0:
		return errors.New("nothing to read: name capture files, or records in NDJSON, with -r FILE; - is standard input")
	case r.Expect != "" && r.Learn:
		return errors.New("--expect and --learn exclude each other")
	case (r.Expect != "" || r.Learn) && r.Output != "table":
		return errors.New("-o is for the table of routes; --expect and --learn have a form of their own")
	case r.Learn && r.Quantiles != "dd":
		return errors.New("--quantiles is for the table of routes; --learn tells no percentiles")
	case r.Output != "table" && r.Output != "csv" && r.Output != "ndjson":
		return fmt.Errorf("-o %s: no such output; there are table, csv, ndjson", r.Output)
	case r.Limit < 0:
		return fmt.Errorf("--limit %d: must not be negative; 0 is all", r.Limit)
	case r.Color != "auto" && r.Color != "always" && r.Color != "never":
		return fmt.Errorf("--color %q: auto, always or never", r.Color)
	}
	return r.Capture.validate()
}
