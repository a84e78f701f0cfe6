package remote

import (
	"math"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
)

// bounds are two queries between which a condition lies: every document that the condition is true of, most selects, and it is
// true of every document that least selects. They are the same query when the cluster can say exactly what is meant.
type bounds struct {
	most, least object
	exact       bool
}

func exactly(q object) bounds { return bounds{q, q, true} }

// between are the bounds of a condition of which the cluster knows too little.
func between(most, least object) bounds { return bounds{most: most, least: least} }

func everything() object { return object{"match_all": object{}} }
func none() object       { return object{"match_none": object{}} }

func boolean(clause string, queries ...object) object {
	b := object{clause: queries}
	if clause == "should" {
		b["minimum_should_match"] = 1
	}
	return object{"bool": b}
}

func both(a, b object) object   { return boolean("filter", a, b) }
func either(a, b object) object { return boolean("should", a, b) }
func not(q object) object       { return boolean("must_not", q) }
func without(a, b object) object {
	return object{"bool": object{"filter": []object{a}, "must_not": []object{b}}}
}

func term(field string, value any) object {
	return object{"term": object{field: object{"value": value}}}
}
func exists(field string) object { return object{"exists": object{"field": field}} }

// maxDepth is how deep conditions may be nested in a query. Clusters refuse more than 20 (indices.query.bool.max_nested_depth
// of Elasticsearch 7); a condition becomes at most three levels.
const maxDepth = 14

// translator makes queries of filters.
type translator struct{ *layout }

// node returns the bounds of a filter.
func (t translator) node(n filter.Node, depth int) bounds {
	if depth > maxDepth {
		return between(everything(), none())
	}
	switch n := n.(type) {
	case *filter.And:
		return t.several("filter", n.Nodes, depth)
	case *filter.Or:
		return t.several("should", n.Nodes, depth)
	case *filter.Not:
		b := t.node(n.Node, depth+1)
		if b.exact {
			return exactly(not(b.most))
		}
		return between(not(b.least), not(b.most))
	case *filter.Compare:
		return t.compare(n)
	case *filter.In:
		return t.in(n)
	case *filter.Network:
		return t.of(n.Operand.Field, func(as indexed) bounds { return exactly(network(as.name, n.Prefix)) })
	case *filter.Has:
		return t.has(&n.Operand)
	}
	return t.of(n.(*filter.True).Operand.Field, func(as indexed) bounds { return exactly(term(as.name, true)) })
}

func (t translator) several(clause string, nodes []filter.Node, depth int) bounds {
	most, least, exact := make([]object, len(nodes)), make([]object, len(nodes)), true
	for i, n := range nodes {
		b := t.node(n, depth+1)
		most[i], least[i], exact = b.most, b.least, exact && b.exact
	}
	if exact {
		return exactly(boolean(clause, most...))
	}
	return between(boolean(clause, most...), boolean(clause, least...))
}

// present is the query for documents that have a field, and whether it selects no others and leaves none out.
func (t translator) present(f *exchange.Field) bounds {
	as := t.as[f.Name]
	switch {
	case f.Kind == exchange.Headers && len(t.as) > 0:
		// A message has headers in the document when it has any, trailers included.
		return exactly(exists(f.Name))
	case !as.known:
		return between(everything(), none())
	case as.exact && t.ignored && (f.Kind == exchange.Text || f.Kind == exchange.List):
		return exactly(either(exists(as.name), term("_ignored", as.name)))
	case as.exact:
		return exactly(exists(as.name))
	}
	return exactly(exists(f.Name))
}

// of returns what exact makes of a field that is indexed as it is, and else that it may be true of those that have it.
func (t translator) of(f *exchange.Field, exact func(as indexed) bounds) bounds {
	if as := t.as[f.Name]; as.exact {
		return exact(as)
	}
	return between(t.present(f).most, none())
}

// ofText is of for texts, of which long ones may not be indexed.
func (t translator) ofText(f *exchange.Field, exact func(as indexed) bounds) bounds {
	b := t.of(f, exact)
	if as := t.as[f.Name]; as.exact && t.ignored {
		return between(either(b.most, term("_ignored", as.name)), b.least)
	}
	return b
}

func (t translator) has(o *filter.Operand) bounds {
	if o.Field == nil {
		return t.header(o, func(key string) bounds { return exactly(exists(key)) })
	}
	return t.present(o.Field)
}

func (t translator) compare(n *filter.Compare) bounds {
	o, c := &n.Operand, n.Value
	if c.Kind == exchange.Text {
		if o.Field == nil {
			return t.header(o, func(key string) bounds { return t.headerTest(o, n.Op, key, c.Text) })
		}
		return t.ofText(o.Field, func(as indexed) bounds { return t.text(as.name, o, n.Op, c.Text) })
	}
	return t.of(o.Field, func(as indexed) bounds {
		switch {
		case o.Field.Kind == exchange.IP:
			q := term(as.name, c.Addr.String())
			if n.Op == filter.NotEqual {
				q = without(exists(as.name), q)
			}
			return exactly(q)
		case o.Field.Kind == exchange.Float:
			return exactly(compareNumbers(as.name, n.Op, c.Float))
		case c.Kind == exchange.Float:
			return floats(as.name, n.Op, c.Float)
		}
		return exactly(numbers(as.name, o.Field, n.Op, c.Int))
	})
}

// ranges are the operators of range queries.
var ranges = map[filter.Op]string{filter.Less: "lt", filter.LessEqual: "lte", filter.Greater: "gt", filter.GreaterEqual: "gte"}

// numbers compares a field of numbers, which is indexed under a name.
func numbers(name string, f *exchange.Field, op filter.Op, n int64) object {
	switch {
	case f.Type == dateType:
		return dates(name, op, n)
	case f.Kind == exchange.Time:
		return times(name, op, n)
	}
	return ints(name, op, n)
}

func ints(field string, op filter.Op, n int64) object { return compareNumbers(field, op, n) }

func compareNumbers[T int64 | float64](field string, op filter.Op, n T) object {
	equal := term(field, n)
	switch op {
	case filter.Equal:
		return equal
	case filter.NotEqual:
		return without(exists(field), equal)
	}
	return object{"range": object{field: object{ranges[op]: n}}}
}

// dates compares a field in whole seconds with a time, of which the cluster knows the milliseconds.
func dates(field string, op filter.Op, n int64) object {
	const unit = int64(time.Millisecond)
	floor := n - (n%unit+unit)%unit
	switch {
	case floor == n:
	case op == filter.Equal:
		return none()
	case op == filter.NotEqual:
		return exists(field)
	case (op == filter.Less || op == filter.GreaterEqual) && n < math.MaxInt64-unit:
		n = floor + unit
	default:
		n = floor
	}
	return compareTimes(field, op, n)
}

// times compares with a time, which can't be before 1970 in a document.
func times(field string, op filter.Op, n int64) object {
	if n < 0 {
		if op == filter.Greater || op == filter.GreaterEqual || op == filter.NotEqual {
			return exists(field)
		}
		return none()
	}
	return compareTimes(field, op, n)
}

func compareTimes(field string, op filter.Op, n int64) object {
	at := timeText(n)
	switch op {
	case filter.Equal:
		return object{"range": object{field: object{"gte": at, "lte": at}}}
	case filter.NotEqual:
		return without(exists(field), object{"range": object{field: object{"gte": at, "lte": at}}})
	}
	return object{"range": object{field: object{ranges[op]: at}}}
}

func timeText(ns int64) string {
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000Z")
}

// maxWhole is up to where all whole numbers are floats.
const maxWhole = 1 << 53

// floats compares with a number that isn't whole, or too large to be exact.
func floats(field string, op filter.Op, f float64) bounds {
	if math.IsNaN(f) || math.Abs(f) > maxWhole {
		return between(exists(field), none())
	}
	below, whole := int64(math.Floor(f)), math.Floor(f) == f
	switch op {
	case filter.Equal, filter.NotEqual:
		equal := none()
		if whole {
			equal = term(field, below)
		}
		if op == filter.NotEqual {
			return exactly(without(exists(field), equal))
		}
		return exactly(equal)
	case filter.Less, filter.LessEqual:
		if !whole {
			op = filter.LessEqual
		}
	case filter.Greater, filter.GreaterEqual:
		if !whole {
			op = filter.Greater
		}
	}
	return exactly(ints(field, op, below))
}

func (t translator) in(n *filter.In) bounds {
	o := &n.Operand
	if o.Field == nil {
		return t.header(o, func(key string) bounds {
			all := make([]bounds, len(n.Values))
			for i, v := range n.Values {
				all[i] = t.headerTest(o, filter.Equal, key, v.Text)
			}
			return anyOf(all)
		})
	}
	test := func(as indexed) bounds {
		var all []bounds
		for _, v := range n.Values {
			switch {
			case v.Kind == exchange.Text:
				all = append(all, t.text(as.name, o, filter.Equal, v.Text))
			case v.Kind == exchange.IP:
				all = append(all, exactly(term(as.name, v.Addr.String())))
			case o.Field.Kind == exchange.Float:
				all = append(all, exactly(term(as.name, v.Float)))
			case v.Kind == o.Field.Kind: // a Float, which isn't whole, equals no Int
				all = append(all, exactly(numbers(as.name, o.Field, filter.Equal, v.Int)))
			}
		}
		return anyOf(all)
	}
	if o.Field.Kind == exchange.Text {
		return t.ofText(o.Field, test)
	}
	return t.of(o.Field, test)
}

func anyOf(all []bounds) bounds {
	if len(all) == 0 {
		return exactly(none()) // and not a query without conditions, which selects everything
	}
	most, least, exact := make([]object, len(all)), make([]object, len(all)), true
	for i, b := range all {
		most[i], least[i], exact = b.most, b.least, exact && b.exact
	}
	if exact {
		return exactly(boolean("should", most...))
	}
	return between(boolean("should", most...), boolean("should", least...))
}

// network selects addresses. In a cluster, those of IPv4 are within ::/80, too.
func network(field string, p netip.Prefix) object {
	q := term(field, p.String())
	if p.Addr().Is6() && p.Contains(netip.MustParseAddr("::ffff:0:0")) {
		return without(q, term(field, "0.0.0.0/0"))
	}
	return q
}

// text tests a text, or the elements of a list. What a document shows is compared, which differs from the text where that has
// bytes that aren't UTF-8, or backslashes that look like such.
func (t translator) text(field string, o *filter.Operand, op filter.Op, want string) bounds {
	if o.Field != nil && o.Field.Kind == exchange.List && op == filter.Contains {
		op = filter.Equal // an element
	}
	never := o.Lower && hasUpper(want) // no text that was made lower case is so
	insensitive := func(q object) object {
		if o.Lower {
			q["case_insensitive"] = true
		}
		return q
	}
	ok := plain(want)
	switch op {
	case filter.Equal, filter.NotEqual:
		equal := object{"term": object{field: insensitive(object{"value": shown(want)})}}
		exact := true
		switch {
		case never:
			equal = none()
		case o.Lower && !ok:
			exact = false // the case of what is shown isn't that of the text
		}
		if op == filter.NotEqual {
			equal = without(exists(field), equal)
		}
		if !exact {
			return between(exists(field), none())
		}
		return exactly(equal)
	case filter.StartsWith, filter.EndsWith, filter.Contains:
		return textPart(field, op, want, never, ok, insensitive)
	case filter.Matches:
		return matches(field, want, o.Lower)
	}
	// What has no escapes is ordered as it is shown. Texts are indexed in the order of their bytes.
	if o.Lower || !ok {
		return between(exists(field), none())
	}
	q := object{"range": object{field: object{ranges[op]: want}}}
	return between(either(q, escapes(field)), without(q, escapes(field)))
}

// escapes selects documents that may show a text otherwise than it is.
func escapes(field string) object {
	return object{"regexp": object{field: object{"value": `.*\\x[0-9a-f][0-9a-f].*`, "flags": "NONE"}}}
}

// textPart looks for the beginning, the end or a part of a text.
func textPart(field string, op filter.Op, want string, never, ok bool, insensitive func(object) object) bounds {
	switch {
	case never:
		return exactly(none())
	case want == "":
		return exactly(exists(field))
	case !ok:
		// The longest part that stands for itself is there, at least.
		part := longestPlain(want)
		if part == "" {
			return between(exists(field), none())
		}
		return between(object{"wildcard": object{field: insensitive(object{"value": "*" + unwild(part) + "*"})}}, none())
	case op == filter.StartsWith:
		return exactly(object{"prefix": object{field: insensitive(object{"value": want})}})
	}
	pattern := "*" + unwild(want)
	if op == filter.Contains {
		pattern += "*"
	}
	q := object{"wildcard": object{field: insensitive(object{"value": pattern})}}
	if want[0] == 'x' || digit(want[0]) >= 0 || want[0] == 'X' {
		// It may be the end of an escape that looks so.
		return between(q, without(q, escapes(field)))
	}
	return exactly(q)
}

// longestPlain returns the longest part of a text that is shown as it is.
func longestPlain(text string) (longest string) {
	from := 0
	for i := 0; i <= len(text); {
		r, size := rune(utf8.RuneError), 1
		if i < len(text) {
			r, size = utf8.DecodeRuneInString(text[i:])
		}
		if r == utf8.RuneError && size == 1 || r == '\\' {
			if i-from > len(longest) {
				longest = text[from:i]
			}
			from = i + size
		}
		i += size
	}
	return longest
}

// unwild returns a text as a wildcard query looks for it.
func unwild(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`).Replace(text)
}

// The fields of which a document tells, where it holds what is needed to make its exchange again, which headers are trailers
// and which are folded.
const storedPrefix = "culprit.stored."

// header returns the bounds of a test of a header. Documents hold trailers among the headers, so that headers may be of
// another kind than they seem where there are trailers, and other texts where they are folded.
func (t translator) header(o *filter.Operand, test func(key string) bounds) bounds {
	var all []bounds
	for side, message := range map[filter.Side]string{filter.RequestSide: "request", filter.ResponseSide: "response"} {
		if o.Side != filter.Either && o.Side != side {
			continue
		}
		field := "http." + message + ".headers"
		key := field + "." + shown(o.Header)
		most := exists(key)
		if as := t.as[field]; !as.known {
			all = append(all, between(everything(), none()))
			continue
		}
		if !plain(o.Header) || strings.Contains(o.Header, "\x00") || t.flat && strings.Contains(o.Header, ".") {
			all = append(all, between(exists(field), none()))
			continue
		}
		b := test(key)
		trailer := object{"prefix": object{storedPrefix + message + ".trailers": object{"value": o.Header + ": ", "case_insensitive": true}}}
		odd := either(trailer, exists(storedPrefix+message+".folded"))
		all = append(all, between(both(most, either(b.most, odd)), without(b.least, odd)))
	}
	return anyOf(all)
}

// headerTest tests the values of a header.
func (t translator) headerTest(o *filter.Operand, op filter.Op, key, want string) bounds {
	parts := op == filter.StartsWith || op == filter.EndsWith || op == filter.Contains || op == filter.Matches
	switch {
	case len(want) > maxHeader:
	case op == filter.Equal && !o.Lower:
		return exactly(term(key, shown(want)))
	case op == filter.StartsWith && !o.Lower && plain(want) && want != "":
		return exactly(object{"prefix": object{key: object{"value": want}}})
	case parts && t.flat && !o.Lower:
		return t.text(key, o, op, want)
	case parts:
		// Elasticsearch looks for parts in the values of all headers alone.
		root := strings.TrimSuffix(key, "."+o.Header)
		return between(both(exists(key), t.text(root, o, op, want).most), none())
	}
	return between(exists(key), none())
}

// maxHeader is how long a value of a header may be to be indexed for certain.
const maxHeader = 4096
