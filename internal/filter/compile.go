package filter

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// predicate is a compiled node.
type predicate func(x *exchange.Exchange, s *scratch) bool

// scratch is the memory that evaluation works in, so that it needs no other.
type scratch struct {
	value exchange.Value
	text  []byte
}

// get puts the value of a field into s.value. What Get doesn't set is left from the field before, but
// for the members that Get may rely upon.
func (s *scratch) get(f *exchange.Field, x *exchange.Exchange) *exchange.Value {
	v := &s.value
	v.Kind, v.Text, v.List = exchange.Absent, "", nil
	f.Get(x, v)
	return v
}

// compile makes the predicate of a checked node.
func compile(n Node) predicate {
	switch n := n.(type) {
	case *And:
		nodes := compileAll(n.Nodes)
		return func(x *exchange.Exchange, s *scratch) bool {
			for _, p := range nodes {
				if !p(x, s) {
					return false
				}
			}
			return true
		}
	case *Or:
		nodes := compileAll(n.Nodes)
		return func(x *exchange.Exchange, s *scratch) bool {
			for _, p := range nodes {
				if p(x, s) {
					return true
				}
			}
			return false
		}
	case *Not:
		p := compile(n.Node)
		return func(x *exchange.Exchange, s *scratch) bool { return !p(x, s) }
	case *Compare:
		return compileCompare(n)
	case *In:
		return compileIn(n)
	case *Network:
		prefix, f := n.Prefix, n.Operand.Field
		return func(x *exchange.Exchange, s *scratch) bool {
			v := s.get(f, x)
			return v.Kind == exchange.IP && prefix.Contains(v.Addr.Netip())
		}
	case *Has:
		if f := n.Operand.Field; f != nil {
			return func(x *exchange.Exchange, s *scratch) bool { return s.get(f, x).Kind != exchange.Absent }
		}
		return compileText(&n.Operand, func([]byte) bool { return true })
	}
	f := n.(*True).Operand.Field
	return func(x *exchange.Exchange, s *scratch) bool {
		v := s.get(f, x)
		return v.Kind == exchange.Bool && v.Int != 0
	}
}

func compileAll(nodes []Node) []predicate {
	all := make([]predicate, len(nodes))
	for i, n := range nodes {
		all[i] = compile(n)
	}
	return all
}

func compileCompare(n *Compare) predicate {
	f, op, kind, want := n.Operand.Field, n.Op, n.Operand.kind(), n.Value
	switch {
	case want.Kind == exchange.Text:
		return compileText(&n.Operand, textTest(op, kind, want.Text))
	case kind == exchange.IP:
		return func(x *exchange.Exchange, s *scratch) bool {
			v := s.get(f, x)
			return v.Kind == exchange.IP && (v.Addr == want.Addr) == (op == Equal)
		}
	case kind == exchange.Float:
		return func(x *exchange.Exchange, s *scratch) bool {
			v := s.get(f, x)
			return v.Kind == kind && holds(op, v.Float, want.Float)
		}
	case want.Kind == exchange.Float:
		return func(x *exchange.Exchange, s *scratch) bool {
			v := s.get(f, x)
			return v.Kind == kind && holds(op, float64(v.Int), want.Float)
		}
	}
	return func(x *exchange.Exchange, s *scratch) bool {
		v := s.get(f, x)
		return v.Kind == kind && holds(op, v.Int, want.Int)
	}
}

// holds reports whether a op b.
func holds[T cmp.Ordered](op Op, a, b T) bool {
	switch op {
	case Equal:
		return a == b
	case NotEqual:
		return a != b
	case Less:
		return a < b
	case LessEqual:
		return a <= b
	case Greater:
		return a > b
	}
	return a >= b
}

func compileIn(n *In) predicate {
	f, kind := n.Operand.Field, n.Operand.kind()
	switch kind {
	case exchange.Text:
		var texts []string
		for _, v := range n.Values {
			texts = append(texts, v.Text)
		}
		return compileText(&n.Operand, func(b []byte) bool {
			for _, t := range texts {
				if string(b) == t {
					return true
				}
			}
			return false
		})
	case exchange.IP:
		var addrs []packet.Addr
		for _, v := range n.Values {
			addrs = append(addrs, v.Addr)
		}
		return func(x *exchange.Exchange, s *scratch) bool {
			v := s.get(f, x)
			return v.Kind == kind && slices.Contains(addrs, v.Addr)
		}
	case exchange.Float:
		var floats []float64
		for _, v := range n.Values {
			floats = append(floats, v.Float)
		}
		return func(x *exchange.Exchange, s *scratch) bool {
			v := s.get(f, x)
			return v.Kind == kind && slices.Contains(floats, v.Float)
		}
	}
	var ints []int64
	for _, v := range n.Values {
		if v.Kind == kind { // a Float, which isn't whole, equals no Int
			ints = append(ints, v.Int)
		}
	}
	return func(x *exchange.Exchange, s *scratch) bool {
		v := s.get(f, x)
		return v.Kind == kind && slices.Contains(ints, v.Int)
	}
}

// textTest makes the test of one text, or of one element of a list.
func textTest(op Op, kind exchange.ValueKind, want string) func([]byte) bool {
	bytesWanted := []byte(want)
	switch op {
	case Contains:
		if kind == exchange.List {
			return func(b []byte) bool { return string(b) == want }
		}
		return func(b []byte) bool { return bytes.Contains(b, bytesWanted) }
	case StartsWith:
		return func(b []byte) bool { return bytes.HasPrefix(b, bytesWanted) }
	case EndsWith:
		return func(b []byte) bool { return bytes.HasSuffix(b, bytesWanted) }
	case Matches:
		return regexp.MustCompile(want).Match
	case Equal:
		return func(b []byte) bool { return string(b) == want }
	case NotEqual:
		return func(b []byte) bool { return string(b) != want }
	}
	return func(b []byte) bool { return holds(op, bytes.Compare(b, bytesWanted), 0) }
}

// compileText makes a predicate that is true when one of the operand's texts passes the test.
func compileText(o *Operand, test func([]byte) bool) predicate {
	if o.Lower {
		pass := test
		return eachText(o, func(b []byte, s *scratch) bool {
			s.text = appendLower(s.text[:0], b)
			return pass(s.text)
		})
	}
	return eachText(o, func(b []byte, _ *scratch) bool { return test(b) })
}

func eachText(o *Operand, test func([]byte, *scratch) bool) predicate {
	f := o.Field
	if f == nil {
		name, side := o.Header, o.Side
		return func(x *exchange.Exchange, s *scratch) bool {
			return side != ResponseSide && x.HasRequest && anyField(&x.Request, name, s, test) ||
				side != RequestSide && x.HasResponse && anyField(&x.Response, name, s, test)
		}
	}
	return func(x *exchange.Exchange, s *scratch) bool {
		v := s.get(f, x)
		switch v.Kind {
		case exchange.Text:
			if v.Text == "" {
				return test(v.Bytes, s)
			}
			s.text = append(s.text[:0], v.Text...)
			return test(s.text, s)
		case exchange.List:
			for _, element := range v.List {
				s.text = append(s.text[:0], element...)
				if test(s.text, s) {
					return true
				}
			}
		}
		return false
	}
}

// anyField reports whether a header field of that name passes the test. Trailers aren't headers.
func anyField(m *proto.Message, name string, s *scratch, test func([]byte, *scratch) bool) bool {
	for i := range m.Fields {
		f := &m.Fields[i]
		if int(f.Name.Len) == len(name) && f.Flags&proto.Trailer == 0 && proto.EqualFold(m.Bytes(f.Name), name) &&
			test(m.Bytes(f.Value), s) {
			return true
		}
	}
	return false
}

// appendLower appends b with its ASCII letters in lower case.
func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}
