package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
)

// kinds says of each kind of value what users are told of it, and how it can be compared.
var kinds = [...]struct {
	// noun is what a field of the kind is; example shows how to write about it.
	noun, example string
	// text: it is or holds text, for contains and its like. equal: == and != work; order: < and its like.
	text, equal, order bool
}{
	exchange.Text:     {"text", `in quotes, such as "GET"`, true, true, true},
	exchange.Int:      {"a number", "such as 500, or 10KB for bytes", false, true, true},
	exchange.Float:    {"a number", "such as 0.5", false, true, true},
	exchange.Duration: {"a duration", "with its unit, such as 200ms", false, true, true},
	exchange.Time:     {"a time", `such as "2026-11-21T10:00:00Z"`, false, true, true},
	exchange.Bool:     {"true or false", "alone, or after not; absent is false", false, false, false},
	exchange.IP:       {"an address", `such as "10.0.0.7", or cidr(client, "10.0.0.0/8")`, false, true, false},
	exchange.Headers:  {"a set of headers", `with header("name"), request_header("name") or response_header("name")`, false, false, false},
	exchange.List:     {"a list", `with contains, such as anomalies contains "obs-fold"`, true, false, false},
}

// functions are the functions of the language, for messages.
const functions = "has, header, request_header, response_header, cidr and lower"

// literal is a constant as written. Its Kind is Text, Int, Float, Bool or Duration.
type literal struct {
	Constant
	// size: it has a unit of bytes.
	size bool
}

// parse makes the syntax tree of a filter.
func parse(text string) (Node, error) {
	c := checker{text: text}
	switch {
	case len(text) > MaxLength:
		c.text = ""
		return nil, c.errorf(file.Location{}, "the filter has %d bytes, and %d are allowed", len(text), MaxLength)
	case !utf8.ValidString(text):
		n := len(text) - len(strings.TrimLeftFunc(text, func(r rune) bool { return r != utf8.RuneError }))
		return nil, &Error{text, n, 1, `this isn't UTF-8; write other bytes as b"\xff"`}
	case strings.TrimSpace(text) == "":
		return nil, c.errorf(file.Location{}, "the filter is empty; write something such as status >= 500")
	}
	tree, err := parser.Parse(disguise(text))
	if err != nil {
		return nil, c.syntax(err)
	}
	return c.node(tree.Node)
}

// checker turns expr's syntax tree into ours.
type checker struct {
	text  string
	depth int
}

// part returns the position in bytes, and the text, of a location, which is in runes.
func (c *checker) part(l file.Location) (pos int, text string) {
	from, to, n := len(c.text), len(c.text), 0
	for i := range c.text {
		if n == l.From {
			from = i
		}
		if n == l.To {
			to = i
		}
		n++
	}
	return from, c.text[from:max(from, to)]
}

func (c *checker) errorf(l file.Location, format string, args ...any) error {
	pos, part := c.part(l)
	return &Error{c.text, pos, len(part), fmt.Sprintf(format, args...)}
}

func (c *checker) refuse(n ast.Node, format string, args ...any) error {
	return c.errorf(span(n), format, args...)
}

// syntax translates an error of expr's parser, whose messages show tokens of the disguised text.
func (c *checker) syntax(err error) error {
	var e *file.Error
	if !errors.As(err, &e) {
		return c.errorf(file.Location{}, "%v", err)
	}
	_, part := c.part(e.Location)
	switch {
	case strings.HasPrefix(e.Message, "unexpected token EOF"), strings.HasPrefix(e.Message, "unexpected end"):
		n := utf8.RuneCountInString(c.text)
		return c.errorf(file.Location{From: n, To: n}, "the filter ends too early")
	case strings.HasPrefix(e.Message, "unexpected token"):
		return c.errorf(e.Location, "%s doesn't belong here", part)
	case strings.HasPrefix(e.Message, "bad number syntax"):
		return c.errorf(c.token(e.Location), "this isn't a number; units are ns us ms s m h, and B KB MB GB TB KiB MiB GiB TiB")
	}
	return c.errorf(e.Location, "%s", e.Message)
}

// token returns the location of the token that l is in.
func (c *checker) token(l file.Location) file.Location {
	for from, text := 0, c.text; text != ""; {
		n := tokenLen(text)
		to := from + utf8.RuneCountInString(text[:n])
		if l.From < to {
			return file.Location{From: from, To: to}
		}
		from, text = to, text[n:]
	}
	return l
}

// span returns the location of all of a node, as far as expr tells.
func span(n ast.Node) file.Location {
	l := n.Location()
	switch n := n.(type) {
	case *ast.MemberNode:
		l.From = span(n.Node).From
	case *ast.ChainNode:
		return span(n.Node)
	case *ast.ConditionalNode:
		return span(n.Cond)
	case *ast.UnaryNode:
		if operand := span(n.Node); l.From < operand.From {
			l.To = max(l.To, operand.To)
		}
	}
	return l
}

// node checks what must be a condition.
func (c *checker) node(n ast.Node) (Node, error) {
	if c.depth++; c.depth > MaxDepth {
		return nil, c.refuse(n, "the filter is nested more than %d deep", MaxDepth)
	}
	defer func() { c.depth-- }()
	switch n := n.(type) {
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			child, err := c.node(n.Node)
			if err != nil {
				return nil, err
			}
			return &Not{child}, nil
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&":
			nodes, err := c.chain(n, "and", "&&")
			if err != nil {
				return nil, err
			}
			return &And{nodes}, nil
		case "or", "||":
			nodes, err := c.chain(n, "or", "||")
			if err != nil {
				return nil, err
			}
			return &Or{nodes}, nil
		case "in":
			return c.in(n)
		}
		for op := range ops {
			if n.Operator == ops[op].text {
				return c.compare(n, Op(op))
			}
		}
	case *ast.CallNode, *ast.BuiltinNode:
		switch name, args := call(n); name {
		case "has":
			return c.has(n, args)
		case "cidr":
			return c.network(n, args)
		}
	}
	if c.isLiteral(n) {
		return nil, c.refuse(n, "a value alone is no condition; compare a field with it")
	}
	if !isOperand(n) {
		return nil, c.refuse(n, "%s", c.foreign(n))
	}
	o, err := c.operand(n)
	if err != nil {
		return nil, err
	}
	if o.kind() != exchange.Bool {
		return nil, c.refuse(n, "%s is no condition; compare it with a value, or write has(%[1]s)", &o)
	}
	return &True{o}, nil
}

// chain checks the operands of a chain of ands or of ors. expr nests a chain to the left, as deep as
// it is long, hence no recursion.
func (c *checker) chain(n ast.Node, word, sign string) ([]Node, error) {
	var parts []ast.Node
	for {
		b, ok := n.(*ast.BinaryNode)
		if !ok || b.Operator != word && b.Operator != sign {
			break
		}
		parts = append(parts, b.Right)
		n = b.Left
	}
	parts = append(parts, n)
	var nodes []Node
	for i := len(parts) - 1; i >= 0; i-- {
		node, err := c.node(parts[i])
		if err != nil {
			return nil, err
		}
		switch child := node.(type) {
		case *And:
			if word == "and" {
				nodes = append(nodes, child.Nodes...)
				continue
			}
		case *Or:
			if word == "or" {
				nodes = append(nodes, child.Nodes...)
				continue
			}
		}
		nodes = append(nodes, node)
	}
	return nodes, nil
}

func (c *checker) compare(n *ast.BinaryNode, op Op) (Node, error) {
	field, value := n.Left, n.Right
	if c.isLiteral(field) && !c.isLiteral(value) && !ops[op].textOnly {
		field, value, op = value, field, ops[op].mirror
	}
	o, err := c.operand(field)
	if err != nil {
		return nil, err
	}
	k := kinds[o.kind()]
	switch {
	case ops[op].textOnly && k.text:
	case op <= NotEqual && k.equal:
	case !ops[op].textOnly && op > NotEqual && k.order:
	default:
		return nil, c.refuse(n, "%s doesn't work on %s, which is %s; write it %s", op, &o, k.noun, k.example)
	}
	v, err := c.constant(&o, value)
	if err != nil {
		return nil, err
	}
	if op == Matches {
		if _, err := regexp.Compile(v.Text); err != nil {
			return nil, c.refuse(value, "this isn't a regular expression (RE2): %s", reason(err))
		}
	}
	return &Compare{o, op, v}, nil
}

func reason(err error) string {
	var e *syntax.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("%s: %q", e.Code, e.Expr)
	}
	return err.Error()
}

func (c *checker) in(n *ast.BinaryNode) (Node, error) {
	if c.isLiteral(n.Left) {
		// "obs-fold" in anomalies
		if _, list := n.Right.(*ast.ArrayNode); list || c.isLiteral(n.Right) {
			return nil, c.refuse(n.Right, "in wants a field on one side: method in [\"GET\"], or \"obs-fold\" in anomalies")
		}
		o, err := c.operand(n.Right)
		if err != nil {
			return nil, err
		}
		if o.kind() != exchange.List {
			return nil, c.refuse(n.Right, "%s is %s, not a list; write %[1]s contains ...", &o, kinds[o.kind()].noun)
		}
		v, err := c.constant(&o, n.Left)
		if err != nil {
			return nil, err
		}
		return &Compare{o, Contains, v}, nil
	}
	o, err := c.operand(n.Left)
	if err != nil {
		return nil, err
	}
	k := kinds[o.kind()]
	if !k.equal {
		return nil, c.refuse(n, "in doesn't work on %s, which is %s; write it %s", &o, k.noun, k.example)
	}
	switch list := n.Right.(type) {
	case *ast.ArrayNode:
		if len(list.Nodes) == 0 {
			return nil, c.refuse(list, "the list is empty")
		}
		in := &In{Operand: o}
		for _, element := range list.Nodes {
			v, err := c.constant(&o, element)
			if err != nil {
				return nil, err
			}
			in.Values = append(in.Values, v)
		}
		return in, nil
	case *ast.BinaryNode:
		if list.Operator == ".." {
			return c.between(&o, list)
		}
	}
	return nil, c.refuse(n.Right, "in wants a list or a range here, such as [500, 502] or 500..599")
}

// between makes two comparisons of a range, both ends of which belong to it.
func (c *checker) between(o *Operand, n *ast.BinaryNode) (Node, error) {
	if !kinds[o.kind()].order || kinds[o.kind()].text {
		return nil, c.refuse(n, "ranges are for numbers, durations and times, and %s is %s", o, kinds[o.kind()].noun)
	}
	lo, err := c.constant(o, n.Left)
	if err != nil {
		return nil, err
	}
	hi, err := c.constant(o, n.Right)
	if err != nil {
		return nil, err
	}
	if lo.Kind == hi.Kind && (lo.Int > hi.Int || lo.Float > hi.Float) {
		return nil, c.refuse(n, "nothing is in this range; the lower end comes first")
	}
	return &And{[]Node{&Compare{*o, GreaterEqual, lo}, &Compare{*o, LessEqual, hi}}}, nil
}

func (c *checker) has(n ast.Node, args []ast.Node) (Node, error) {
	if len(args) != 1 {
		return nil, c.refuse(n, "has takes one field or header, such as has(status)")
	}
	o, err := c.operand(args[0])
	if err != nil {
		return nil, err
	}
	if o.Lower {
		return nil, c.refuse(args[0], "has takes a field or header as it is, without lower")
	}
	return &Has{o}, nil
}

func (c *checker) network(n ast.Node, args []ast.Node) (Node, error) {
	const usage = `cidr takes an address field and a network, such as cidr(client, "10.0.0.0/8")`
	if len(args) != 2 {
		return nil, c.refuse(n, usage)
	}
	o, err := c.operand(args[0])
	if err != nil {
		return nil, err
	}
	if o.kind() != exchange.IP {
		return nil, c.refuse(args[0], usage+"; %s is %s", &o, kinds[o.kind()].noun)
	}
	l, ok := c.literal(args[1])
	if !ok || l.Kind != exchange.Text {
		return nil, c.refuse(args[1], usage)
	}
	p, err := netip.ParsePrefix(l.Text)
	if err != nil {
		return nil, c.refuse(args[1], `this isn't a network; write an address and a length, such as "10.0.0.0/8" or "2001:db8::/32"`)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return nil, c.refuse(args[1], "an IPv4-mapped network has at least 96 bits; write it as IPv4")
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return &Network{o, p.Masked()}, nil
}

// call returns the name and the arguments of a call of a function. Methods and pipes have no name.
func call(n ast.Node) (name string, args []ast.Node) {
	switch n := n.(type) {
	case *ast.BuiltinNode:
		name, args = n.Name, n.Arguments
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok {
			name, args = id.Value, n.Arguments
		}
	}
	if isPipe(n, args) {
		return "", nil
	}
	return name, args
}

// isPipe tells a | f() from f(a), of which expr makes the same tree.
func isPipe(n ast.Node, args []ast.Node) bool {
	return len(args) > 0 && span(args[0]).From < n.Location().From
}

// isOperand reports whether n looks like an operand: a name, or a call of a function that makes one.
func isOperand(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IdentifierNode, *ast.MemberNode:
		return isName(n)
	case *ast.CallNode, *ast.BuiltinNode:
		name, _ := call(n)
		return name == "lower" || side(name) >= 0
	}
	return false
}

// isName reports whether n is a name, possibly with dots.
func isName(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return true
	case *ast.MemberNode:
		// a.b and a["b"] are told apart by where the property stands.
		_, text := n.Property.(*ast.StringNode)
		named := text && n.Location() == n.Property.Location()
		return named && !n.Optional && !n.Method && isName(n.Node)
	}
	return false
}

// side returns the Side that a function reads headers of, or -1.
func side(function string) int {
	for s, name := range headerFunctions {
		if name == function {
			return s
		}
	}
	return -1
}

// operand checks what must be a field or a header.
func (c *checker) operand(n ast.Node) (o Operand, err error) {
	if c.isLiteral(n) {
		return o, c.refuse(n, "a field must stand here, not a value")
	}
	if !isOperand(n) {
		return o, c.refuse(n, "%s", c.foreign(n))
	}
	name, args := call(n)
	switch {
	case name == "lower":
		if len(args) != 1 {
			return o, c.refuse(n, "lower takes one field or header, such as lower(vhost)")
		}
		if o, err = c.operand(args[0]); err != nil {
			return o, err
		}
		if !kinds[o.kind()].text {
			return o, c.refuse(args[0], "lower is for text, and %s is %s", &o, kinds[o.kind()].noun)
		}
		o.Lower = true
	case name != "":
		const usage = `%s takes the name of a header, such as %[1]s("content-type")`
		if len(args) != 1 {
			return o, c.refuse(n, usage, name)
		}
		l, ok := c.literal(args[0])
		if !ok || l.Kind != exchange.Text || l.Text == "" {
			return o, c.refuse(args[0], usage, name)
		}
		o.Header, o.Side = string(appendLower(nil, []byte(l.Text))), Side(side(name))
	default:
		if o.Field = exchange.Lookup(c.name(n)); o.Field == nil {
			return o, c.refuse(n, "%s", unknown(c.name(n)))
		}
	}
	return o, nil
}

// name returns the name that n spells, as the user wrote it.
func (c *checker) name(n ast.Node) string {
	if m, ok := n.(*ast.MemberNode); ok {
		return c.name(m.Node) + "." + m.Property.(*ast.StringNode).Value
	}
	_, name := c.part(n.Location())
	return name
}

// foreign says what to use instead of a part of expr's language that isn't in the subset.
func (c *checker) foreign(n ast.Node) string {
	switch n := n.(type) {
	case *ast.BuiltinNode, *ast.CallNode:
		switch name, _ := call(n); name {
		case "has", "cidr":
			return name + " is a condition, not a value; join it with and, or, not"
		case "":
			return "there are no methods and pipes; write lower(path)"
		}
		return "there is no such function; there are " + functions
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			return n.Operator + " binds tighter than comparisons; put parentheses around what it negates: not (...)"
		}
		return "there is no arithmetic; write the result"
	case *ast.BinaryNode:
		switch n.Operator {
		case "??":
			return "?? isn't part of the filter language; an absent field compares false, and has(field) asks for it"
		case "..":
			return "a range stands to the right of in, such as status in 500..599"
		case "+", "-", "*", "/", "%", "**", "^":
			return "there is no arithmetic; write the result"
		}
		return "a field or a value must stand here, not a condition; use and, or, not and parentheses"
	case *ast.ConditionalNode:
		return "conditionals aren't part of the filter language; use and, or, not"
	case *ast.ArrayNode:
		return "a list stands to the right of in, such as method in [\"GET\", \"HEAD\"]"
	case *ast.MemberNode:
		return "fields are named with dots alone; headers are header(\"name\")"
	case *ast.ChainNode:
		return "?. isn't part of the filter language; an absent field compares false"
	case *ast.SliceNode:
		return "fields have no parts; use startsWith, endsWith, contains or matches"
	case *ast.NilNode:
		return "there is no nil; has(field) asks whether a field is there"
	case *ast.VariableDeclaratorNode, *ast.SequenceNode:
		return "a filter is one condition, without variables and semicolons"
	}
	return "this isn't part of the filter language"
}

func (c *checker) isLiteral(n ast.Node) bool {
	_, ok := c.literal(n)
	return ok
}

// literal returns the constant that n is.
func (c *checker) literal(n ast.Node) (l literal, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		l.Kind, l.Text = exchange.Text, n.Value
	case *ast.BytesNode:
		l.Kind, l.Text = exchange.Text, string(n.Value)
	case *ast.IntegerNode:
		l.Kind, l.Int = exchange.Int, int64(n.Value)
	case *ast.FloatNode:
		l.Constant = number(n.Value)
	case *ast.BoolNode:
		l.Kind = exchange.Bool
	case *ast.IdentifierNode:
		if text := c.name(n); startsLiteral(text) {
			return unitLiteral(text)
		}
		return l, false
	case *ast.UnaryNode:
		if n.Operator != "-" {
			return l, false
		}
		if _, twice := n.Node.(*ast.UnaryNode); twice {
			return l, false
		}
		l, ok = c.literal(n.Node)
		l.Int, l.Float = -l.Int, -l.Float
		return l, ok && l.Kind != exchange.Text && l.Kind != exchange.Bool
	default:
		return l, false
	}
	return l, true
}

// constant checks the value that an operand is compared with.
func (c *checker) constant(o *Operand, n ast.Node) (Constant, error) {
	l, ok := c.literal(n)
	if !ok {
		if isOperand(n) {
			if _, err := c.operand(n); err != nil {
				return l.Constant, err
			}
			return l.Constant, c.refuse(n, "fields can be compared with values only, not with each other")
		}
		return l.Constant, c.refuse(n, "%s", c.foreign(n))
	}
	v := l.Constant
	want := o.kind()
	switch {
	case want == exchange.List && v.Kind == exchange.Text:
		return v, nil
	case l.size && (want != exchange.Int || o.Field.Unit != "byte"):
		return v, c.refuse(n, "a size stands here, and %s doesn't count bytes", o)
	case v.Kind == want, want == exchange.Int && v.Kind == exchange.Float:
		return v, nil
	case want == exchange.Float && v.Kind == exchange.Int:
		return Constant{Kind: want, Float: float64(v.Int)}, nil
	case want == exchange.Duration && v.Kind == exchange.Int && v.Int == 0:
		return Constant{Kind: want}, nil
	case want == exchange.Time && v.Kind == exchange.Text:
		t, err := time.Parse(time.RFC3339, v.Text)
		if ns := t.UnixNano(); err == nil && t.Equal(time.Unix(0, ns)) {
			return Constant{Kind: want, Int: ns}, nil
		}
		return v, c.refuse(n, `this isn't a time; write it as "2026-11-21T10:00:00Z" or "2026-11-21T12:00:00.5+02:00"`)
	case want == exchange.IP && v.Kind == exchange.Text:
		if a, err := netip.ParseAddr(v.Text); err == nil && a.Zone() == "" {
			return Constant{Kind: want, Addr: packet.Addr(a.As16())}, nil
		}
		if _, err := netip.ParsePrefix(v.Text); err == nil {
			return v, c.refuse(n, "this is a network; write cidr(%s, %s)", o, quote(v.Text))
		}
		return v, c.refuse(n, "this isn't an IP address")
	}
	return v, c.refuse(n, "%s is %s; write it %s", o, kinds[want].noun, kinds[want].example)
}
