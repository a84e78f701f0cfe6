package filter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
)

// Node is a node of a filter's syntax tree: *And, *Or, *Not, *Compare, *In, *Network, *Has or *True.
// Its String is its canonical text.
//
// Every node but Not is false of an operand that is absent, and true of an operand with several
// values when it is true of one of them.
type Node interface {
	fmt.Stringer
	node()
}

// And is true when all of its nodes are. There are at least two, and none is an And.
type And struct{ Nodes []Node }

// Or is true when one of its nodes is. There are at least two, and none is an Or.
type Or struct{ Nodes []Node }

// Not is true when its node is false.
type Not struct{ Node Node }

// Compare compares an operand with a constant, which has the kind of the operand's values: Text for
// lists and headers, and possibly Float for Int.
type Compare struct {
	Operand Operand
	Op      Op
	Value   Constant
}

// In is true when the operand equals one of the values; there is at least one.
type In struct {
	Operand Operand
	Values  []Constant
}

// Network is true when an address is within a prefix, which is masked, and never IPv4-mapped.
type Network struct {
	Operand Operand
	Prefix  netip.Prefix
}

// Has is true when the operand is present.
type Has struct{ Operand Operand }

// True is true when a field of kind Bool is.
type True struct{ Operand Operand }

func (*And) node()     {}
func (*Or) node()      {}
func (*Not) node()     {}
func (*Compare) node() {}
func (*In) node()      {}
func (*Network) node() {}
func (*Has) node()     {}
func (*True) node()    {}

// Op is an operator of Compare.
type Op uint8

// The operators. Text is compared byte by byte. On lists, Contains looks for an equal element; on
// text it looks for a part. Matches finds an RE2 expression anywhere in the text.
const (
	Equal Op = iota
	NotEqual
	Less
	LessEqual
	Greater
	GreaterEqual
	Contains
	StartsWith
	EndsWith
	Matches
)

// ops describes the operators: their text, the operator that means the same with the sides
// exchanged, and whether they are about text only.
var ops = [...]struct {
	text     string
	mirror   Op
	textOnly bool
}{
	Equal:        {"==", Equal, false},
	NotEqual:     {"!=", NotEqual, false},
	Less:         {"<", Greater, false},
	LessEqual:    {"<=", GreaterEqual, false},
	Greater:      {">", Less, false},
	GreaterEqual: {">=", LessEqual, false},
	Contains:     {"contains", 0, true},
	StartsWith:   {"startsWith", 0, true},
	EndsWith:     {"endsWith", 0, true},
	Matches:      {"matches", 0, true},
}

func (o Op) String() string { return ops[o].text }

// Side says in which messages a header is looked for.
type Side uint8

// The sides.
const (
	Either Side = iota
	RequestSide
	ResponseSide
)

// headerFunctions are the functions that read headers, by Side.
var headerFunctions = [...]string{Either: "header", RequestSide: "request_header", ResponseSide: "response_header"}

// Operand is what a node looks at: a field, or a header.
type Operand struct {
	// Field is the field; nil for a header.
	Field *exchange.Field
	// Header is the lower-case name of a header, and Side says whose. All its values count.
	Header string
	Side   Side
	// Lower: the ASCII letters of the value are made lower case first.
	Lower bool
}

// kind returns the kind of the operand's values.
func (o *Operand) kind() exchange.ValueKind {
	if o.Field == nil {
		return exchange.Text
	}
	return o.Field.Kind
}

// fields returns the fields that hold the operand.
func (o *Operand) fields() []*exchange.Field {
	if o.Field != nil {
		return []*exchange.Field{o.Field}
	}
	request, response := exchange.Lookup("http.request.headers"), exchange.Lookup("http.response.headers")
	return [...][]*exchange.Field{
		Either: {request, response}, RequestSide: {request}, ResponseSide: {response},
	}[o.Side]
}

func (o *Operand) String() string {
	var s string
	if o.Field != nil {
		s = Name(o.Field)
	} else {
		s = headerFunctions[o.Side] + "(" + quote(o.Header) + ")"
	}
	if o.Lower {
		s = "lower(" + s + ")"
	}
	return s
}

// Name returns the name of a field in filters: the full name, or an alias when the language can't
// spell that (@timestamp).
func Name(f *exchange.Field) string {
	if strings.HasPrefix(f.Name, "@") {
		return f.Aliases[0]
	}
	return f.Name
}

// Constant is a value in a filter.
type Constant struct {
	// Kind says which member holds: Text, Int, Float or Addr. Duration (nanoseconds) and Time
	// (nanoseconds since 1970) are in Int.
	Kind  exchange.ValueKind
	Int   int64
	Float float64
	Text  string
	Addr  packet.Addr
}

func (c Constant) String() string {
	switch c.Kind {
	case exchange.Text:
		return quote(c.Text)
	case exchange.Float:
		return strconv.FormatFloat(c.Float, 'g', -1, 64)
	case exchange.Duration:
		return time.Duration(c.Int).String()
	case exchange.Time:
		return quote(time.Unix(0, c.Int).UTC().Format(time.RFC3339Nano))
	case exchange.IP:
		return quote(c.Addr.String())
	}
	return strconv.FormatInt(c.Int, 10)
}

func (n *And) String() string {
	parts := make([]string, len(n.Nodes))
	for i, p := range n.Nodes {
		parts[i] = p.String()
		if _, ok := p.(*Or); ok {
			parts[i] = "(" + parts[i] + ")"
		}
	}
	return strings.Join(parts, " and ")
}

func (n *Or) String() string {
	parts := make([]string, len(n.Nodes))
	for i, p := range n.Nodes {
		parts[i] = p.String()
	}
	return strings.Join(parts, " or ")
}

func (n *Not) String() string {
	switch n.Node.(type) {
	case *Has, *True, *Network:
		return "not " + n.Node.String()
	}
	return "not (" + n.Node.String() + ")"
}

func (n *Compare) String() string {
	return n.Operand.String() + " " + n.Op.String() + " " + n.Value.String()
}

func (n *In) String() string {
	values := make([]string, len(n.Values))
	for i, v := range n.Values {
		values[i] = v.String()
	}
	return n.Operand.String() + " in [" + strings.Join(values, ", ") + "]"
}

func (n *Network) String() string {
	return "cidr(" + n.Operand.String() + ", " + quote(n.Prefix.String()) + ")"
}

func (n *Has) String() string { return "has(" + n.Operand.String() + ")" }

func (n *True) String() string { return n.Operand.String() }

// eachOperand calls f for each operand below n, from left to right.
func eachOperand(n Node, f func(*Operand)) {
	switch n := n.(type) {
	case *And:
		for _, child := range n.Nodes {
			eachOperand(child, f)
		}
	case *Or:
		for _, child := range n.Nodes {
			eachOperand(child, f)
		}
	case *Not:
		eachOperand(n.Node, f)
	case *Compare:
		f(&n.Operand)
	case *In:
		f(&n.Operand)
	case *Network:
		f(&n.Operand)
	case *Has:
		f(&n.Operand)
	case *True:
		f(&n.Operand)
	}
}
