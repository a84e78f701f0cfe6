package query

import (
	"bytes"
	"math"
	"net/netip"
	"regexp"
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// compileScope makes the condition of a scope; it is constant(true) when everything is selected.
func compileScope(s *store.Scope) condition {
	var conditions []condition
	if s.From != 0 || s.To != 0 {
		conditions = append(conditions, timeRange(s))
	}
	if s.Where != nil {
		switch c := compile(s.Where).(type) {
		case and:
			conditions = append(conditions, c...)
		default:
			conditions = append(conditions, c)
		}
	}
	if s.Text != "" {
		test := textTest{find: &finder{lowered(s.Text), true}, heavy: weightSearch}
		test.pass = func(e *evaluator, text []byte) bool { return test.find.in(e, text) }
		var columns []condition
		for _, name := range record.TextColumns {
			columns = append(columns, &texts{record.Index(name), test})
		}
		conditions = append(conditions, newOr(columns))
	}
	return newAnd(conditions)
}

// timeRange is the condition of the bounds of a scope.
func timeRange(s *store.Scope) *within {
	lo, hi := bounds(s)
	return &within{col: record.Time, lo: lo, hi: hi}
}

// bounds returns the first and the last start that a scope selects.
func bounds(s *store.Scope) (lo, hi int64) {
	lo, hi = vector.Absent+1, math.MaxInt64
	if s.From != 0 {
		lo = max(s.From, lo)
	}
	if s.To != 0 {
		hi = max(s.To, vector.Absent+1) - 1
	}
	return lo, hi
}

func lowered(text string) []byte {
	b := []byte(text)
	for i, c := range b {
		b[i] = lowerASCII(c)
	}
	return b
}

// compile makes the condition of a checked node.
func compile(n filter.Node) condition {
	switch n := n.(type) {
	case *filter.And:
		return newAnd(compileAll(n.Nodes))
	case *filter.Or:
		return newOr(compileAll(n.Nodes))
	case *filter.Not:
		return not{compile(n.Node)}
	case *filter.Compare:
		return compileCompare(n)
	case *filter.In:
		return compileIn(n)
	case *filter.Network:
		prefix := n.Prefix
		return compileTexts(&n.Operand, textTest{heavy: weightTexts, pass: func(_ *evaluator, text []byte) bool {
			a, err := netip.ParseAddr(string(text))
			return err == nil && prefix.Contains(a)
		}})
	case *filter.Has:
		return compileHas(&n.Operand)
	}
	o := &n.(*filter.True).Operand
	col, _ := record.Lookup(o.Field)
	return compileInts(col, &within{col: col, lo: 0, hi: 0, outside: true})
}

func compileAll(nodes []filter.Node) []condition {
	all := make([]condition, len(nodes))
	for i, n := range nodes {
		all[i] = compile(n)
	}
	return all
}

// kind returns the kind of an operand's values.
func kind(o *filter.Operand) exchange.ValueKind {
	if o.Field == nil {
		return exchange.Text
	}
	return o.Field.Kind
}

func compileCompare(n *filter.Compare) condition {
	o, want := &n.Operand, n.Value
	switch {
	case want.Kind == exchange.Text:
		return compileTexts(o, testOf(n.Op, kind(o), want.Text, o.Lower))
	case kind(o) == exchange.IP:
		return compileTexts(o, testOf(n.Op, exchange.IP, want.Addr.Netip().String(), false))
	}
	col, _ := record.Lookup(o.Field)
	switch {
	case kind(o) == exchange.Float:
		test := floatTest(n.Op, want.Float)
		return compileInts(col, &number{col, func(bits int64) bool { return test(math.Float64frombits(uint64(bits))) }})
	case want.Kind == exchange.Float:
		return compileInts(col, floatRange(col, n.Op, want.Float))
	}
	return compileInts(col, intRange(col, n.Op, want.Int))
}

// compileInts returns a condition on a column of numbers, or false if there is no such column: no field that is
// the same in all exchanges is a number.
func compileInts(col int, c condition) condition {
	if col < 0 {
		return constant(false)
	}
	return c
}

// intRange is the range of the numbers of which v op n is true.
func intRange(col int, op filter.Op, n int64) *within {
	w := &within{col: col, lo: vector.Absent + 1, hi: math.MaxInt64}
	switch op {
	case filter.Equal, filter.NotEqual:
		w.lo, w.hi, w.outside = n, n, op == filter.NotEqual
		if n == vector.Absent { // no number is stored as this
			w.lo, w.hi = 1, 0
		}
	case filter.Less:
		if w.hi = n - 1; n <= w.lo {
			w.lo, w.hi = 1, 0
		}
	case filter.LessEqual:
		if w.hi = n; n < w.lo {
			w.lo, w.hi = 1, 0
		}
	case filter.Greater:
		if w.lo = max(n, vector.Absent) + 1; n == math.MaxInt64 {
			w.lo, w.hi = 1, 0
		}
	default:
		w.lo = max(n, w.lo)
	}
	return w
}

// floatRange is intRange for a constant that isn't whole, or too large for exactness. A number is compared as the
// float that is nearest to it, which rises with it.
func floatRange(col int, op filter.Op, f float64) *within {
	least, most := int64(vector.Absent+1), int64(math.MaxInt64)
	// first returns the least number that passes a test that, once true, stays so; none: there is no such.
	first := func(test func(v float64) bool) (v int64, none bool) {
		if !test(float64(most)) {
			return 0, true
		}
		lo, hi := least, most
		for lo < hi {
			mid := lo + int64((uint64(hi)-uint64(lo))/2)
			if test(float64(mid)) {
				hi = mid
			} else {
				lo = mid + 1
			}
		}
		return lo, false
	}
	from, noneFrom := first(func(v float64) bool { return v >= f })
	above, noneAbove := first(func(v float64) bool { return v > f })
	w := &within{col: col, lo: 1, hi: 0}
	last := most // that isn't above f
	if !noneAbove {
		last = above - 1 // above > vector.Absent
	}
	switch op {
	case filter.Equal, filter.NotEqual:
		w.outside = op == filter.NotEqual
		if !noneFrom && from <= last {
			w.lo, w.hi = from, last
		}
	case filter.Less:
		switch {
		case math.IsNaN(f):
		case noneFrom:
			w.lo, w.hi = least, most
		case from > least:
			w.lo, w.hi = least, from-1
		}
	case filter.LessEqual:
		if !math.IsNaN(f) && last >= least {
			w.lo, w.hi = least, last
		}
	case filter.Greater:
		if !noneAbove {
			w.lo, w.hi = above, most
		}
	default:
		if !noneFrom {
			w.lo, w.hi = from, most
		}
	}
	return w
}

func floatTest(op filter.Op, want float64) func(float64) bool {
	switch op {
	case filter.Equal:
		return func(v float64) bool { return v == want }
	case filter.NotEqual:
		return func(v float64) bool { return v != want }
	case filter.Less:
		return func(v float64) bool { return v < want }
	case filter.LessEqual:
		return func(v float64) bool { return v <= want }
	case filter.Greater:
		return func(v float64) bool { return v > want }
	}
	return func(v float64) bool { return v >= want }
}

func compileIn(n *filter.In) condition {
	o := &n.Operand
	switch k := kind(o); k {
	case exchange.Text, exchange.IP:
		only := make([][]byte, len(n.Values))
		set := make(map[string]bool, len(n.Values))
		for i, v := range n.Values {
			text := v.Text
			if k == exchange.IP {
				text = v.Addr.Netip().String()
			}
			only[i], set[text] = []byte(text), true
		}
		test := textTest{pass: func(_ *evaluator, text []byte) bool { return set[string(text)] }, only: only}
		if o.Lower {
			test = test.ofLower()
		}
		return compileTexts(o, test)
	case exchange.Float:
		col, _ := record.Lookup(o.Field)
		values := n.Values
		return compileInts(col, &number{col, func(bits int64) bool {
			f := math.Float64frombits(uint64(bits))
			return slices.ContainsFunc(values, func(v filter.Constant) bool { return v.Float == f })
		}})
	default:
		col, _ := record.Lookup(o.Field)
		in := &oneOf{col: col}
		for _, v := range n.Values {
			if v.Kind == k && v.Int != vector.Absent { // a Float, which isn't whole, equals no Int
				in.values = append(in.values, v.Int)
			}
		}
		slices.Sort(in.values)
		return compileInts(col, in)
	}
}

func compileHas(o *filter.Operand) condition {
	present := textTest{
		find:  &finder{},
		pass:  func(*evaluator, []byte) bool { return true },
		judge: func(_, _ []byte) verdict { return all },
	}
	if o.Field == nil {
		return compileTexts(o, present)
	}
	col, _ := record.Lookup(o.Field)
	switch o.Field.Kind {
	case exchange.Text, exchange.IP, exchange.List:
		return compileTexts(o, present)
	case exchange.Headers:
		// Trailers count here, and are stored elsewhere.
		trailers := record.TrailersOf(o.Field)
		return newOr([]condition{&fields{col: col}, &lists{trailers, present}})
	}
	return compileInts(col, &within{col: col, lo: vector.Absent + 1, hi: math.MaxInt64})
}

// compileTexts makes the condition that one of an operand's texts passes.
func compileTexts(o *filter.Operand, test textTest) condition {
	if o.Field == nil {
		var sides []condition
		for _, side := range [...]struct {
			filter.Side
			name string
		}{{filter.RequestSide, "http.request.headers"}, {filter.ResponseSide, "http.response.headers"}} {
			if o.Side == filter.Either || o.Side == side.Side {
				sides = append(sides, &fields{record.Index(side.name), o.Header, test})
			}
		}
		return newOr(sides)
	}
	col, same := record.Lookup(o.Field)
	switch {
	case col < 0:
		e := &evaluator{}
		passes := func(text string) bool { return test.pass(e, []byte(text)) }
		return constant(same.Text != "" && passes(same.Text) || slices.ContainsFunc(same.List, passes))
	case o.Field.Kind == exchange.List:
		return &lists{col, test}
	}
	return &texts{col, test}
}

// testOf makes the test that a text op want. lower: of the text in lower case.
func testOf(op filter.Op, k exchange.ValueKind, want string, lower bool) (t textTest) {
	b := []byte(want)
	compared := func(hold func(order int) bool) {
		t.pass = func(_ *evaluator, text []byte) bool { return hold(bytes.Compare(text, b)) }
	}
	if k == exchange.List && op == filter.Contains {
		op = filter.Equal
	}
	switch op {
	case filter.Contains:
		if lower && bytes.ContainsFunc(b, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
			lower = false
			t.pass = func(*evaluator, []byte) bool { return false }
			return t
		}
		f := &finder{b, lower}
		t.find, t.heavy = f, weightSearch
		t.pass = func(e *evaluator, text []byte) bool { return f.in(e, text) }
		return t // finder folds by itself
	case filter.StartsWith:
		t.pass = func(_ *evaluator, text []byte) bool { return bytes.HasPrefix(text, b) }
		t.judge = func(least, most []byte) verdict {
			switch {
			case bytes.HasPrefix(least, b) && bytes.HasPrefix(most, b):
				return all
			case bytes.Compare(most, b) < 0, bytes.Compare(least, b) > 0 && !bytes.HasPrefix(least, b):
				return none
			}
			return some
		}
	case filter.EndsWith:
		t.pass = func(_ *evaluator, text []byte) bool { return bytes.HasSuffix(text, b) }
	case filter.Matches:
		pattern := regexp.MustCompile(want) // checked with the filter
		t.heavy = weightPattern
		t.pass = func(_ *evaluator, text []byte) bool { return pattern.Match(text) }
	case filter.Equal:
		t.only = [][]byte{b}
		t.pass = func(_ *evaluator, text []byte) bool { return string(text) == want }
		t.judge = func(least, most []byte) verdict {
			if bytes.Equal(least, b) && bytes.Equal(most, b) {
				return all
			}
			return some
		}
	case filter.NotEqual:
		t.pass = func(_ *evaluator, text []byte) bool { return string(text) != want }
		t.judge = func(least, most []byte) verdict {
			switch {
			case bytes.Equal(least, b) && bytes.Equal(most, b):
				return none
			case bytes.Compare(b, least) < 0 || bytes.Compare(b, most) > 0:
				return all
			}
			return some
		}
	case filter.Less, filter.LessEqual:
		compared(func(order int) bool { return order < 0 || order == 0 && op == filter.LessEqual })
		t.judge = func(least, most []byte) verdict {
			switch {
			case t.pass(nil, most):
				return all
			case !t.pass(nil, least):
				return none
			}
			return some
		}
	default:
		compared(func(order int) bool { return order > 0 || order == 0 && op == filter.GreaterEqual })
		t.judge = func(least, most []byte) verdict {
			switch {
			case t.pass(nil, least):
				return all
			case !t.pass(nil, most):
				return none
			}
			return some
		}
	}
	if lower {
		t = t.ofLower()
	}
	return t
}

// ofLower returns the test of a text in lower case, of which statistics don't tell.
func (t textTest) ofLower() textTest {
	pass := t.pass
	return textTest{pass: func(e *evaluator, text []byte) bool { return pass(e, e.lower(text)) }, heavy: t.heavy + weightTexts}
}
