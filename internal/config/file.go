package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxFile is the largest size of a configuration file in bytes.
const MaxFile = 1 << 20

// File is what a configuration file says: YAML, the options of the command line by their names with underscores, and what
// the command line has no words for.
type File struct {
	// Name is that of the file.
	Name string
	// Settings are the options, in their order.
	Settings []Setting
	// Services, Hosts and Routes are parts of Enrichment.
	Services, Hosts map[string][]string
	Routes          []string
	Redaction       Redaction
	// Outputs are those of the key output.
	Outputs []Output

	at map[string]place // where the sections stand
}

// Setting is one option in a file.
type Setting struct {
	Key string
	// Values has one value, or those of a list.
	Values []string
	at     []place
}

// Key is an option that a file may set. List: it may have several values.
type Key struct {
	Name string
	List bool
}

// place is a line and a column, from 1.
type place struct{ line, column int }

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{1, 1}
	}
	return place{t.Position.Line, t.Position.Column}
}

// The sections: keys that no option stands for. They hold for all commands.
const (
	keyServices = "services"
	keyHosts    = "hosts"
	keyRoutes   = "routes"
	keyRedact   = "redact"
	keyOutput   = "output"
)

// section reads one section.
type section func(r *fileReader, key string, n ast.Node) error

var sections = map[string]section{
	keyServices: func(r *fileReader, key string, n ast.Node) (err error) { r.Services, err = r.table(key, n); return err },
	keyHosts:    func(r *fileReader, key string, n ast.Node) (err error) { r.Hosts, err = r.table(key, n); return err },
	keyOutput:   func(r *fileReader, key string, n ast.Node) error { return r.outputs(key, n) },
	keyRoutes:   func(r *fileReader, key string, n ast.Node) error { return r.list(&r.Routes)(key, n) },
	keyRedact: func(r *fileReader, key string, n ast.Node) error {
		return r.members(key, n, map[string]func(string, ast.Node) error{
			"names": r.list(&r.Redaction.Names), "keep": r.list(&r.Redaction.Keep), "patterns": r.list(&r.Redaction.Patterns),
			"cookies": func(key string, n ast.Node) error {
				return r.members(key, n, map[string]func(string, ast.Node) error{"keep": r.list(&r.Redaction.KeepCookies)})
			},
		})
	},
}

// Sections returns the names of the sections.
func Sections() []string { return slices.Sorted(maps.Keys(sections)) }

// ParseFile reads a configuration file; keys are the options that it may set. Errors name the file, line and column.
func ParseFile(name string, text []byte, keys []Key) (*File, error) {
	r := &fileReader{File: &File{Name: name, at: map[string]place{}}}
	if len(text) > MaxFile {
		return nil, fmt.Errorf("%s: it has %d bytes, and a configuration has at most %d", name, len(text), MaxFile)
	}
	parsed, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, r.syntax(err)
	}
	names := Sections()
	all := map[string]func(string, ast.Node) error{}
	for name, read := range sections {
		all[name] = func(key string, n ast.Node) error { return read(r, key, n) }
	}
	for _, k := range keys {
		names = append(names, k.Name)
		all[k.Name] = func(key string, n ast.Node) error { return r.setting(k, n) }
	}
	documents := 0
	for _, d := range parsed.Docs {
		if d.Body == nil || d.Body.Type() == ast.NullType || d.Body.Type() == ast.CommentType {
			continue
		}
		if documents++; documents > 1 {
			return nil, r.errorf(placeOf(d.Body.GetToken()), "a second document begins here: write all keys into one")
		}
		if err := r.members("", d.Body, all); err != nil {
			return nil, err
		}
	}
	return r.File, nil
}

// Errorf returns an error about the value of a setting, or about a section.
func (f *File) Errorf(key string, value int, format string, args ...any) error {
	at := f.at[key]
	for i := range f.Settings {
		if s := &f.Settings[i]; s.Key == key && value < len(s.at) {
			at = s.at[value]
		}
	}
	return f.errorf(at, "%s: %s", key, fmt.Sprintf(format, args...))
}

func (f *File) errorf(at place, format string, args ...any) error {
	return fmt.Errorf("%s:%d:%d: %s", f.Name, at.line, at.column, fmt.Sprintf(format, args...))
}

// fileReader reads a file into what it embeds.
type fileReader struct{ *File }

// syntax tells what is wrong in one line, without the piece of the file that the library shows.
func (r *fileReader) syntax(err error) error {
	var e yaml.Error
	if errors.As(err, &e) {
		return r.errorf(placeOf(e.GetToken()), "%s", e.GetMessage())
	}
	return fmt.Errorf("%s: %w", r.Name, err)
}

// members reads a map, each of whose keys has a reader. path names it, empty for the file itself.
func (r *fileReader) members(path string, n ast.Node, readers map[string]func(key string, n ast.Node) error) error {
	values, err := r.mapping(path, n)
	if err != nil {
		return err
	}
	for _, v := range values {
		key, at := v.Key.GetToken().Value, placeOf(v.Key.GetToken())
		read := readers[key]
		if read == nil {
			return r.errorf(at, "%s", unknownKey(path, key, slices.Sorted(maps.Keys(readers))))
		}
		full := key
		if path != "" {
			full = path + "." + key
		}
		r.at[full] = at
		if err := read(full, v.Value); err != nil {
			return err
		}
	}
	return nil
}

// mapping returns the members of a map.
func (r *fileReader) mapping(path string, n ast.Node) ([]*ast.MappingValueNode, error) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		what := "a configuration is a list of keys with values, such as max_body: 64KiB"
		if path != "" {
			what = path + " has keys with values below it"
		}
		return nil, r.errorf(placeOf(n.GetToken()), "%s", what)
	}
	seen := map[string]place{}
	for _, v := range values {
		at := placeOf(v.Key.GetToken())
		if v.Key.IsMergeKey() {
			return nil, r.errorf(at, "merging with << isn't possible here: write the keys out")
		}
		key := v.Key.GetToken().Value
		if first, twice := seen[key]; twice {
			return nil, r.errorf(at, "%s is there twice; the first is on line %d", key, first.line)
		}
		seen[key] = at
	}
	return values, nil
}

// setting reads the value, or the values, of an option.
func (r *fileReader) setting(k Key, n ast.Node) error {
	s := Setting{Key: k.Name}
	nodes := []ast.Node{n}
	if list, ok := n.(*ast.SequenceNode); ok {
		if !k.List {
			return r.errorf(placeOf(n.GetToken()), "%s takes one value, and this is a list", k.Name)
		}
		nodes = list.Values
	}
	for _, v := range nodes {
		text, err := r.scalar(k.Name, v)
		if err != nil {
			return err
		}
		s.Values, s.at = append(s.Values, text), append(s.at, placeOf(v.GetToken()))
	}
	r.Settings = append(r.Settings, s)
	return nil
}

// scalar returns a value as it was written. What it means is up to the option.
func (r *fileReader) scalar(path string, n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	case *ast.NullNode:
		return "", r.errorf(cmp.Or(r.at[path], placeOf(n.GetToken())), "%s has no value; leave it out, or give it one", path)
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return "", r.errorf(placeOf(n.GetToken()), "%s: anchors, references and tags aren't possible here: write the value out", path)
	}
	return "", r.errorf(placeOf(n.GetToken()), "%s: this is to be one value: a text, a number, true or false", path)
}

// list returns a reader of a list of texts; one text is a list, too.
func (r *fileReader) list(to *[]string) func(path string, n ast.Node) error {
	return func(path string, n ast.Node) error {
		nodes := []ast.Node{n}
		if list, ok := n.(*ast.SequenceNode); ok {
			nodes = list.Values
		}
		for _, v := range nodes {
			text, err := r.scalar(path, v)
			if err != nil {
				return err
			}
			*to = append(*to, text)
		}
		return nil
	}
}

// outputs reads what -o names: each a text as on the command line, or a name with its settings below it.
func (r *fileReader) outputs(path string, n ast.Node) error {
	nodes := []ast.Node{n}
	if list, ok := n.(*ast.SequenceNode); ok {
		nodes = list.Values
	}
	for i, n := range nodes {
		r.at[fmt.Sprintf("%s.%d", path, i)] = placeOf(n.GetToken())
		switch n.(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
			o, err := r.output(path, n)
			if err != nil {
				return err
			}
			r.Outputs = append(r.Outputs, o)
		default:
			text, err := r.scalar(path, n)
			if err != nil {
				return err
			}
			r.Outputs = append(r.Outputs, Output{Text: text})
		}
	}
	return nil
}

// output reads one output that is written as a map.
func (r *fileReader) output(path string, n ast.Node) (o Output, err error) {
	names, err := r.mapping(path, n)
	if err != nil {
		return o, err
	}
	if len(names) != 1 {
		return o, r.errorf(placeOf(n.GetToken()), "%s: want one name with its settings below it, and a hyphen before each name", path)
	}
	o.Name = names[0].Key.GetToken().Value
	path += "." + o.Name
	if names[0].Value.Type() == ast.NullType {
		o.describe()
		return o, nil
	}
	settings, err := r.mapping(path, names[0].Value)
	if err != nil {
		return o, err
	}
	for _, s := range settings {
		key := s.Key.GetToken().Value
		r.at[path+"."+key] = placeOf(s.Key.GetToken())
		var values []string
		if err := r.list(&values)(path+"."+key, s.Value); err != nil {
			return o, err
		}
		value := strings.Join(values, ",")
		if key == targetKey {
			o.Target, o.HasTarget = value, true
		} else if err := o.set(key, value); err != nil {
			return o, r.errorf(placeOf(s.Key.GetToken()), "%v", err)
		}
	}
	o.describe()
	return o, nil
}

// table reads names with lists.
func (r *fileReader) table(path string, n ast.Node) (map[string][]string, error) {
	values, err := r.mapping(path, n)
	if err != nil {
		return nil, err
	}
	table := map[string][]string{}
	for _, v := range values {
		name := v.Key.GetToken().Value
		var list []string
		if err := r.list(&list)(path+"."+name, v.Value); err != nil {
			return nil, err
		}
		table[name] = list
	}
	return table, nil
}

// unknownKey says that there is no such key, and which one may have been meant.
func unknownKey(path, key string, known []string) string {
	text := "there is no key " + key
	if path != "" {
		text += " in " + path
	}
	best, least := "", maxTypos+1
	for _, name := range known {
		d := typos(strings.ReplaceAll(strings.ToLower(key), "-", "_"), name)
		if d < least && d <= len(name)/2 {
			best, least = name, d
		}
	}
	switch {
	case best != "":
		return text + "; did you mean " + best + "?"
	case path != "":
		return text + "; there are " + strings.Join(known, ", ")
	}
	return text + "; docs/config.md lists the keys"
}

// maxTypos is how many letters may differ for a key to be suggested.
const maxTypos = 3

// typos returns how many bytes must be inserted, deleted or replaced to make b of a (Levenshtein distance).
func typos(a, b string) int {
	if len(a)-len(b) > maxTypos || len(b)-len(a) > maxTypos {
		return maxTypos + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := before
			if a[i] != b[j] {
				replaced++
			}
			before = row[j+1]
			row[j+1] = min(replaced, before+1, row[j]+1)
		}
	}
	return row[len(b)]
}
