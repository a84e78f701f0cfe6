package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/store"
)

// hit is an exchange that a search found, as far as it was asked for.
type hit struct{ id, document string }

// hits returns what a search finds.
func hits(s store.Reader, q *store.Search) (all []hit, page *store.Page, err error) {
	e := ndjson.NewEncoder()
	page, err = s.Search(context.Background(), q, func(x *exchange.Exchange) error {
		all = append(all, hitOf(&e, x, q.Fields))
		return nil
	})
	return all, page, err
}

func hitOf(e *ndjson.Encoder, x *exchange.Exchange, fields []*exchange.Field) hit {
	h := hit{id: idOf(x)}
	if fields == nil {
		h.document = string(e.Append(nil, x))
		return h
	}
	h.document = fmt.Sprint("@timestamp: ", x.Start.Time)
	for _, f := range fields {
		h.document += "\n" + f.Name + ": " + show(x, f)
	}
	return h
}

// show gives the value of a field as text.
func show(x *exchange.Exchange, f *exchange.Field) string {
	v := valueOf(x, f)
	if v.Kind == exchange.Headers {
		var b bytes.Buffer
		for i := range v.Message.Fields {
			f := &v.Message.Fields[i]
			fmt.Fprintf(&b, "%q=%q %d ", v.Message.Bytes(f.Name), v.Message.Bytes(f.Value), f.Flags)
		}
		return b.String()
	}
	if v.Kind == exchange.List {
		return fmt.Sprintf("%q", v.List)
	}
	k := keyOf(&v)
	return fmt.Sprintf("%d %d %q", k.Kind, k.Int, k.Text)
}

// sameSearch checks that a store finds what the oracle finds.
func sameSearch(t testing.TB, s, oracle store.Reader, q store.Search) {
	t.Helper()
	got, page, err := hits(s, &q)
	if err != nil {
		t.Errorf("%s: %v", describe(&q), err)
		return
	}
	want, wantPage, err := hits(oracle, &q)
	if err != nil {
		t.Fatalf("%s: the oracle: %v", describe(&q), err)
	}
	sameHits(t, describe(&q), got, want)
	if wantPage.Next != "" && page.Next == "" {
		t.Errorf("%s: there are more, but no Next", describe(&q))
	}
	if page.Next != "" && len(got) < q.Limit {
		t.Errorf("%s: %d of %d were found, and there is a Next", describe(&q), len(got), q.Limit)
	}
}

func sameHits(t testing.TB, question string, got, want []hit) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		switch {
		case got[i].id != want[i].id:
			t.Errorf("%s: exchange %d is %s, want %s", question, i, got[i].id, want[i].id)
			return
		case got[i].document != want[i].document:
			t.Errorf("%s: exchange %d, %s, differs:\n%s", question, i, got[i].id, difference(got[i].document, want[i].document))
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: found %d, want %d", question, len(got), len(want))
	}
}

// difference shows where two texts begin to differ.
func difference(got, want string) string {
	from := 0
	for from < len(got) && from < len(want) && got[from] == want[from] {
		from++
	}
	clip := func(s string) string { return s[max(from-60, 0):min(from+100, len(s))] }
	return fmt.Sprintf("got  …%s\nwant …%s", clip(got), clip(want))
}

// sameTable checks that a store's answer is the oracle's: exactly, but for quantiles, which may be off by accuracy.
func sameTable(t testing.TB, s store.Reader, oracle *Naive, q *store.Aggregate) {
	t.Helper()
	got, err := s.Aggregate(context.Background(), q)
	if err != nil {
		t.Errorf("%s: %v", describeAggregate(q), err)
		return
	}
	low, err := oracle.aggregate(context.Background(), q, math.Floor)
	if err != nil {
		t.Fatalf("%s: the oracle: %v", describeAggregate(q), err)
	}
	high, err := oracle.aggregate(context.Background(), q, math.Ceil)
	if err != nil {
		t.Fatalf("%s: the oracle: %v", describeAggregate(q), err)
	}
	if err := compareTables(q, got, low, high); err != nil {
		t.Errorf("%s: %v", describeAggregate(q), err)
	}
}

func compareTables(q *store.Aggregate, got, low, high *store.Table) error {
	if len(got.Groups) != len(low.Groups) {
		return fmt.Errorf("%d groups, want %d", len(got.Groups), len(low.Groups))
	}
	// The order is checked by the store's own figures, since quantiles may order otherwise than the true ones; the
	// rows are looked up by their keys.
	place := map[string]int{}
	highest := map[string]*store.GroupRow{}
	for i := range low.Groups {
		place[showKeys(low.Groups[i].Keys)] = i
		highest[showKeys(high.Groups[i].Keys)] = &high.Groups[i]
	}
	number := make([]int, len(got.Groups)) // of the oracle's groups
	for i := range got.Groups {
		g := &got.Groups[i]
		name := showKeys(g.Keys)
		k, ok := place[name]
		if !ok {
			return fmt.Errorf("there is a group %s, or it is there twice", name)
		}
		delete(place, name)
		number[i] = k
		if err := compareTotals(q, &g.Totals, &low.Groups[k].Totals, &highest[name].Totals); err != nil {
			return fmt.Errorf("group %s: %w", name, err)
		}
		if i == 0 {
			continue
		}
		before := &got.Groups[i-1]
		if c := compareOrder(&before.Totals, &g.Totals, q.Order); c > 0 || c == 0 && compareKeys(before.Keys, g.Keys) > 0 {
			return fmt.Errorf("group %s stands behind %s", name, showKeys(before.Keys))
		}
	}

	type cell struct {
		group string
		start int64
	}
	lows, highs := map[cell]*store.Totals{}, map[cell]*store.Totals{}
	for i := range low.Rows {
		r, h := &low.Rows[i], &high.Rows[i]
		lows[cell{showKeys(low.Groups[r.Group].Keys), r.Start}] = &r.Totals
		highs[cell{showKeys(high.Groups[h.Group].Keys), h.Start}] = &h.Totals
	}
	if len(got.Rows) != len(low.Rows) {
		return fmt.Errorf("%d time buckets, want %d", len(got.Rows), len(low.Rows))
	}
	for i := range got.Rows {
		r := &got.Rows[i]
		if r.Group < 0 || r.Group >= len(got.Groups) {
			return fmt.Errorf("a time bucket of group %d", r.Group)
		}
		c := cell{showKeys(got.Groups[r.Group].Keys), r.Start}
		if lows[c] == nil {
			return fmt.Errorf("there is a time bucket of %s from %d on, or it is there twice", c.group, c.start)
		}
		if err := compareTotals(q, &r.Totals, lows[c], highs[c]); err != nil {
			return fmt.Errorf("group %s, time bucket from %d on: %w", c.group, c.start, err)
		}
		delete(lows, c)
		if i > 0 && (got.Rows[i-1].Group > r.Group || got.Rows[i-1].Group == r.Group && got.Rows[i-1].Start >= r.Start) {
			return fmt.Errorf("time bucket %d of %s isn't in its place", r.Start, c.group)
		}
	}

	if got.OtherGroups != low.OtherGroups {
		return fmt.Errorf("%d other groups, want %d", got.OtherGroups, low.OtherGroups)
	}
	if err := compareTotals(q, &got.Other, &low.Other, &high.Other); err != nil {
		return fmt.Errorf("others: %w", err)
	}
	if err := compareTotals(q, &got.Total, &low.Total, &high.Total); err != nil {
		return fmt.Errorf("total: %w", err)
	}
	return nil
}

// showKeys gives keys as text. Addresses and elements of lists are texts.
func showKeys(keys []store.Key) string {
	s := ""
	for _, k := range keys {
		switch k.Kind {
		case exchange.Absent:
			s += "absent "
		case exchange.Text, exchange.IP, exchange.List:
			s += fmt.Sprintf("%q ", k.Text)
		default:
			s += fmt.Sprintf("%d ", k.Int)
		}
	}
	return s
}

// How far figures may be off: quantiles by the accuracy of sketches, others by rounding.
const (
	accuracy = 0.0101
	rounding = 1e-9
)

func compareTotals(q *store.Aggregate, got, low, high *store.Totals) error {
	if got.Count != low.Count {
		return fmt.Errorf("count %d, want %d", got.Count, low.Count)
	}
	if got.Count == 0 {
		return nil // of nothing, the values say nothing
	}
	if len(got.Values) != len(q.Metrics) {
		return fmt.Errorf("%d metrics, want %d", len(got.Values), len(q.Metrics))
	}
	for i := range q.Metrics {
		if len(got.Values[i]) != len(low.Values[i]) {
			return fmt.Errorf("metric %d has %d values, want %d", i, len(got.Values[i]), len(low.Values[i]))
		}
		tolerance, whole := rounding, 0.0
		if q.Metrics[i].Kind == store.Percentiles {
			tolerance, whole = accuracy, 0.5 // sketches tell whole numbers
		}
		for k, v := range got.Values[i] {
			a, b := low.Values[i][k], high.Values[i][k]
			if math.IsNaN(v) != math.IsNaN(a) || v < a-math.Abs(a)*tolerance-whole || v > b+math.Abs(b)*tolerance+whole {
				return fmt.Errorf("metric %d, value %d is %v, want %v to %v", i, k, v, a, b)
			}
		}
	}
	return nil
}

// find returns the exchange of an id as a document, empty if there is none.
func find(s store.Reader, id string) (document string, err error) {
	raw, ok := exchange.ParseID(id)
	if !ok {
		return "", fmt.Errorf("%s isn't an id", id)
	}
	e := ndjson.NewEncoder()
	err = s.Exchange(context.Background(), raw, func(x *exchange.Exchange) error {
		document = string(e.Append(nil, x))
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return document, err
}

func describeScope(s *store.Scope) string {
	text := ""
	if s.From != 0 || s.To != 0 {
		text += fmt.Sprintf(" from %d to %d", s.From, s.To)
	}
	if s.Where != nil {
		text += " where " + s.Where.String()
	}
	if s.Text != "" {
		text += fmt.Sprintf(" with %q", s.Text)
	}
	return text
}

func describe(q *store.Search) string {
	s := "search" + describeScope(&q.Scope)
	if q.Sort != nil {
		s += " by " + q.Sort.Name
	}
	if q.Ascending {
		s += " ascending"
	}
	if q.Fields != nil {
		s += fmt.Sprintf(" for %d fields", len(q.Fields))
	}
	return s + fmt.Sprintf(", %d", q.Limit)
}

func describeAggregate(q *store.Aggregate) string {
	s := "aggregate" + describeScope(&q.Scope)
	for _, g := range q.Groups {
		s += fmt.Sprintf(" by %s(%d)", g.Field.Name, g.By)
	}
	for _, m := range q.Metrics {
		s += fmt.Sprintf(" %d(", m.Kind)
		if m.Field != nil {
			s += m.Field.Name
		}
		s += fmt.Sprint(m.Quantiles, ")")
	}
	return s + fmt.Sprintf(" every %d ns, order %d, limit %d", q.Interval, q.Order, q.Limit)
}

// ids returns those of hits, sorted.
func ids(all []hit) []string {
	var s []string
	for _, h := range all {
		s = append(s, h.id)
	}
	slices.Sort(s)
	return s
}
