package query

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/storetest"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// part is rows in memory with statistics, as a segment has them. It counts how often it is open.
type part struct {
	*vector.Memory
	// costs is what reading a column costs, for the tests of memory.
	costs  int64
	opened atomic.Int32
	open   atomic.Int32
	read   map[int]bool
	fail   error
}

func (p *part) Open() (vector.Chunk, error) {
	if p.fail != nil {
		return nil, p.fail
	}
	p.opened.Add(1)
	p.open.Add(1)
	return p, nil
}

func (p *part) Release()              { p.open.Add(-1) }
func (p *part) Cost(cols []int) int64 { return p.costs * int64(len(cols)) }

func (p *part) Ints(col int) (vector.Ints, error) {
	p.note(col)
	return p.Memory.Ints(col)
}

func (p *part) Texts(col int) (*vector.Texts, error) {
	p.note(col)
	return p.Memory.Texts(col)
}

func (p *part) note(col int) {
	if p.read != nil {
		p.read[col] = true
	}
}

func (p *part) Bounds(col int) (least, most int64, absent, ok bool) {
	rows, _ := p.Memory.Ints(col)
	least, most = math.MaxInt64, math.MinInt64
	for _, v := range rows {
		if v == vector.Absent {
			absent = true
			continue
		}
		least, most = min(least, v), max(most, v)
	}
	return least, most, absent, true
}

// shortened is how long the bounds of texts are.
const shortened = 5

func (p *part) TextBounds(col int) (least, most []byte, absent, ok bool) {
	t, _ := p.Memory.Texts(col)
	for _, n := range t.Rows {
		if n == 0 {
			absent = true
			continue
		}
		text := t.Dict.At(n)
		if least == nil || bytes.Compare(text, least) < 0 {
			least = append([]byte{}, text...)
		}
		if most == nil || bytes.Compare(text, most) > 0 {
			most = append([]byte{}, text...)
		}
	}
	if least == nil {
		return []byte("b"), []byte("a"), true, true
	}
	least = least[:min(len(least), shortened)]
	if len(most) > shortened {
		if most = most[:shortened]; most[shortened-1] == 0xff {
			return nil, nil, true, false
		}
		most[shortened-1]++
	}
	return least, most, absent, true
}

func (p *part) MayHave(col int, text []byte) bool {
	t, _ := p.Memory.Texts(col)
	for n := 1; n <= t.Dict.Len(); n++ {
		if bytes.Equal(t.Dict.At(uint32(n)), text) {
			return true
		}
	}
	l, _ := p.Memory.Lists(col)
	for n := 1; n <= l.Dict.Len(); n++ {
		if bytes.Equal(l.Dict.At(uint32(n)), text) {
			return true
		}
	}
	return false
}

// build stores exchanges in parts of some rows each. Every other one is without statistics, as a log's tail is.
func build(t testing.TB, all []*exchange.Exchange, rows int) (parts []vector.Part) {
	t.Helper()
	for chunk := range slices.Chunk(all, rows) {
		var b record.Batch
		for _, x := range chunk {
			b.Add(x)
		}
		m := decode(t, &b)
		if len(parts)%2 == 1 {
			parts = append(parts, m)
		} else {
			parts = append(parts, &part{Memory: m})
		}
	}
	return parts
}

func decode(t testing.TB, b *record.Batch) *vector.Memory {
	t.Helper()
	builder := vector.NewBuilder()
	d, err := record.NewDecoder(record.Header())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Each(b.Bytes(), func(r *record.Row) error {
		builder.Append(r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return builder.Chunk()
}

// naive stores exchanges in the oracle.
func naive(t testing.TB, all []*exchange.Exchange) *storetest.Naive {
	t.Helper()
	n := storetest.NewNaive()
	var b record.Batch
	for _, x := range all {
		b.Add(x)
	}
	if _, err := n.Append(&b); err != nil {
		t.Fatal(err)
	}
	return n
}

// limits are those of tests: two workers, and a clock that stands still.
func limits() Limits {
	return Limits{Workers: 2, Now: func() time.Time { return time.Unix(1e9, 0) }}
}

func idOf(x *exchange.Exchange) string {
	return string(exchange.AppendID(nil, x.ID(x.Tap.Observer)))
}

// found searches, and returns the ids in order.
func found(t testing.TB, parts []vector.Part, q *store.Search) (ids []string, page *store.Page) {
	t.Helper()
	page, err := Search(context.Background(), parts, q, limits(), func(x *exchange.Exchange) error {
		ids = append(ids, idOf(x))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids, page
}

// The seeds of the tests with made-up data.
const seed = 20261122

// tries is how many of n made-up cases are tried.
func tries(n int) int {
	if testing.Short() {
		return n / 5
	}
	return n
}

// A filter over columns selects what it selects in process, with and without statistics, from chunks of any size.
func TestFilterSelectsWhatMatchDoes(t *testing.T) {
	n := tries(4000)
	all := storetest.Exchanges(seed, 700)
	sizes := []int{700, 64, 130, 1}
	stored := make([][]vector.Part, len(sizes))
	for i, size := range sizes {
		stored[i] = build(t, all, size)
	}
	e := &evaluator{check: func() error { return nil }}
	matched, asked := 0, 0
	for i, node := range storetest.Filters(seed, n, all) {
		f, err := filter.Parse(node.String())
		if err != nil {
			t.Fatal(err)
		}
		of := i % len(sizes)
		if sizes[of] == 1 && i%16 != 3 {
			of = 0
		}
		c := compileScope(&store.Scope{Where: node})
		at := 0
		for _, p := range stored[of] {
			chunk, err := p.Open()
			if err != nil {
				t.Fatal(err)
			}
			e.open(chunk)
			selected := e.take()
			selected.fill(e.n)
			// Rows that aren't asked for don't come back.
			in := func(r int) bool { return i%3 != 0 || (r+i)%5 != 0 }
			selected.keep(in)
			verdict := c.judge(chunk)
			if err := c.narrow(e, selected); err != nil {
				t.Fatal(err)
			}
			for r := range e.n {
				want := f.Match(all[at])
				got := selected[r/64]>>(r%64)&1 != 0
				if got != (want && in(r)) {
					t.Fatalf("seed %d: %s: exchange %d is selected: %v, but matches: %v", seed, node, at, got, want)
				}
				if verdict == none && want || verdict == certain && !want {
					t.Fatalf("seed %d: %s: the verdict is %d, but exchange %d matches: %v", seed, node, verdict, at, want)
				}
				at++
				asked++
				if want {
					matched++
				}
			}
			e.give(selected)
		}
	}
	if matched < asked/20 || matched > asked*19/20 {
		t.Errorf("%d of %d cases match: the filters prove little", matched, asked)
	}
}

// certain is all, where that is something else.
const certain = all

// Numbers that aren't whole, or large, are compared as in process.
func TestFloatRange(t *testing.T) {
	values := []int64{vector.Absent + 1, -1 << 60, -3, -1, 0, 1, 2, 3, 499, 500, 1<<53 - 1, 1 << 53, 1<<53 + 1, 1 << 62, math.MaxInt64 - 1, math.MaxInt64}
	for _, f := range []float64{0.5, -0.5, 499.5, 1 << 53, 1<<53 + 2, 1 << 62, 1 << 63, -1 << 63, 1e300, -1e300, math.Inf(1), math.Inf(-1), math.NaN(), 0, 3} {
		for op := filter.Equal; op <= filter.GreaterEqual; op++ {
			w, test := floatRange(0, op, f), floatTest(op, f)
			for _, v := range values {
				in := w.lo <= v && v <= w.hi
				if got, want := in != w.outside, test(float64(v)); got != want {
					t.Errorf("%d %v %g is %v", v, op, f, got)
				}
			}
		}
	}
	for _, n := range values {
		for op := filter.Equal; op <= filter.GreaterEqual; op++ {
			w := intRange(0, op, n)
			for _, v := range values {
				in := w.lo <= v && v <= w.hi
				want := map[filter.Op]bool{filter.Equal: v == n, filter.NotEqual: v != n, filter.Less: v < n, filter.LessEqual: v <= n, filter.Greater: v > n, filter.GreaterEqual: v >= n}[op]
				if got := in != w.outside; got != want {
					t.Errorf("%d %v %d is %v", v, op, n, got)
				}
			}
		}
	}
}

// No field is a float below 0: orders don't know them.
func TestFloatsAreFromZero(t *testing.T) {
	n := 0
	for _, x := range storetest.Exchanges(seed, 1000) {
		for i := range exchange.Fields {
			var v exchange.Value
			if f := &exchange.Fields[i]; f.Kind == exchange.Float {
				if f.Get(x, &v); v.Kind != exchange.Absent {
					n++
				}
				if v.Float < 0 || math.IsNaN(v.Float) {
					t.Errorf("%s is %v", f.Name, v.Float)
				}
			}
		}
	}
	if n == 0 {
		t.Error("no exchange has a float")
	}
}

// A finder finds what bytes.Contains finds, also at the ends of texts, across which nothing counts.
func TestFinder(t *testing.T) {
	e := &evaluator{check: func() error { return nil }}
	r := uint64(seed)
	next := func(n int) int {
		r = r*6364136223846793005 + 1442695040888963407
		return int(r >> 33 % uint64(n))
	}
	alphabets := []string{"ab", "aAbB", "abcdefghijklmnopqrstuvwxyz0123456789/-_", "\x00\xff\xc3\xbc@Zz[`{"}
	for range 3000 {
		alphabet := alphabets[next(len(alphabets))]
		text := func(n int) []byte {
			b := make([]byte, n)
			for i := range b {
				b[i] = alphabet[next(len(alphabet))]
			}
			return b
		}
		var d vector.Dict
		for range next(60) {
			d.Add(text(next(20)))
		}
		fold := next(2) == 0
		f := &finder{text(next(5)), fold}
		if fold {
			f.needle = lowered(string(f.needle))
		}
		hits := make([]uint8, d.Len()+1)
		if err := f.mark(e, &d, hits); err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= d.Len(); n++ {
			b := d.At(uint32(n))
			if fold {
				b = lowered(string(b))
			}
			if want := bytes.Contains(b, f.needle); want != (hits[n] == 1) {
				t.Fatalf("%q in %q: %v", f.needle, b, !want)
			}
		}
	}
}

// A needle that nearly occurs everywhere isn't compared everywhere.
func TestFinderIsNeverSlow(t *testing.T) {
	e := &evaluator{check: func() error { return nil }}
	var d vector.Dict
	for range 100 {
		d.Add(bytes.Repeat([]byte("a"), 50_000))
	}
	d.Add([]byte(strings.Repeat("a", 2000) + "b" + strings.Repeat("a", 2000)))
	for _, fold := range []bool{false, true} {
		f := &finder{nil, fold}
		// All that the sample has seen of b is that it is rare, if anything.
		f.needle = append(append(bytes.Repeat([]byte("a"), 1999), 'a', 'b'), bytes.Repeat([]byte("a"), 1999)...)
		hits := make([]uint8, d.Len()+1)
		if err := f.mark(e, &d, hits); err != nil {
			t.Fatal(err)
		}
		if hits[d.Len()] != 1 || slices.Contains(hits[:d.Len()], 1) {
			t.Errorf("fold %v: found %v", fold, hits[d.Len()])
		}
	}
}

// Every question gives what the oracle says, in the same order, page by page.
func TestSearch(t *testing.T) {
	all := storetest.Exchanges(seed+1, 500)
	oracle := naive(t, all)
	parts := build(t, all, 70)
	filters := storetest.Filters(seed+2, tries(200), all)
	sorts := []string{"", "duration", "status", "path", "size", "culprit.http.connection_index", "grade", "country", "observer.product", "event.end", "id", "user_agent"}
	for i, node := range filters {
		q := &store.Search{Limit: []int{1, 3, 10, 100, 500, store.MaxLimit}[i%6], Ascending: i%2 == 0}
		if i%3 != 0 {
			q.Where = node
		}
		if name := sorts[i%len(sorts)]; name != "" {
			q.Sort = exchange.Lookup(name)
		}
		if i%4 == 0 {
			q.From, q.To = storetest.Begin+storetest.Span/7, storetest.Begin+storetest.Span*5/7
		}
		q.Text = []string{"", "API", "curl", "10.0", "/users/1", ""}[i%6]
		var want []string
		whole := *q
		whole.Limit = store.MaxLimit
		if _, err := oracle.Search(context.Background(), &whole, func(x *exchange.Exchange) error {
			want = append(want, idOf(x))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for pages := 0; ; pages++ {
			ids, page := found(t, parts, q)
			got = append(got, ids...)
			if page.Next == "" {
				break
			}
			if len(ids) != q.Limit {
				t.Fatalf("%d ids on a page of %d, and a next one", len(ids), q.Limit)
			}
			if c := page.Cost; c.Rows+c.Skipped != c.Stored || c.Stored != int64(len(all)) {
				t.Fatalf("the cost is %+v", c)
			}
			q.After = page.Next
			if pages > len(all) {
				t.Fatal("no end")
			}
			if i%6 < 2 && pages > 30 { // pages of few: the rest is as the beginning
				want = want[:min(len(want), len(got))]
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: search %d, %v by %s, ascending %v, text %q:\ngot  %v\nwant %v", seed, i, q.Where, sorts[i%len(sorts)], q.Ascending, q.Text, got, want)
		}
	}
}

// Pages go on where they ended, whatever comes meanwhile.
func TestPagesAreStable(t *testing.T) {
	all := storetest.Exchanges(seed+3, 300)
	slices.SortStableFunc(all, func(a, b *exchange.Exchange) int { return cmp.Compare(a.Start.Time, b.Start.Time) })
	old, late := all[:200], all[200:]
	want, _ := found(t, build(t, old, 50), &store.Search{Limit: 200})
	q := &store.Search{Limit: 20}
	got, page := found(t, build(t, old, 50), q)
	for i := 0; page.Next != ""; i++ {
		q.After = page.Next
		var ids []string
		ids, page = found(t, build(t, append(slices.Clone(late[:i*10]), old...), 33), q)
		got = append(got, ids...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

// With one field alone, an exchange has the same value in it as with all.
func TestFieldsAlone(t *testing.T) {
	all := storetest.Exchanges(seed+4, 400)
	parts := build(t, all, 100)
	document := func(x *exchange.Exchange, f *exchange.Field) string {
		var v exchange.Value
		f.Get(x, &v)
		switch v.Kind {
		case exchange.Headers:
			var b strings.Builder
			for i := range v.Message.Fields {
				field := &v.Message.Fields[i]
				fmt.Fprintf(&b, "%q: %q %d\n", v.Message.Bytes(field.Name), v.Message.Bytes(field.Value), field.Flags)
			}
			return b.String()
		case exchange.Text:
			if v.Text != "" {
				return fmt.Sprintf("%q", v.Text)
			}
			return fmt.Sprintf("%q", v.Bytes)
		}
		return fmt.Sprint(v.Kind, v.Int, v.Float, v.Addr, v.List)
	}
	q := &store.Search{Limit: len(all)}
	whole := map[string]map[string]string{}
	if _, err := Search(context.Background(), parts, q, limits(), func(x *exchange.Exchange) error {
		m := map[string]string{}
		for i := range exchange.Fields {
			m[exchange.Fields[i].Name] = document(x, &exchange.Fields[i])
		}
		whole[idOf(x)] = m
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		q.Fields = []*exchange.Field{f}
		values := map[string]bool{}
		if _, err := Search(context.Background(), parts, q, limits(), func(x *exchange.Exchange) error {
			got, want := document(x, f), whole[idOf(x)][f.Name]
			values[got] = true
			if got != want {
				t.Errorf("%s alone is %s, with all %s", f.Name, got, want)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(values) < 2 && !strings.HasPrefix(f.Name, "observer.") && !strings.HasPrefix(f.Name, "ecs.") && !strings.HasPrefix(f.Name, "event.") {
			t.Logf("%s is the same in all exchanges", f.Name)
		}
	}
	if len(whole) != len(all) {
		t.Errorf("%d of %d exchanges", len(whole), len(all))
	}
}

// All fields together give the document that was stored.
func TestSearchGivesDocuments(t *testing.T) {
	all := storetest.Exchanges(seed+5, 200)
	encoder := ndjson.NewEncoder()
	want := map[string]string{}
	for _, x := range all {
		want[idOf(x)] = string(encoder.Append(nil, x))
	}
	if _, err := Search(context.Background(), build(t, all, 60), &store.Search{Limit: 200}, limits(), func(x *exchange.Exchange) error {
		if got := string(encoder.Append(nil, x)); got != want[idOf(x)] {
			t.Errorf("got\n%s\nwant\n%s", got, want[idOf(x)])
		}
		delete(want, idOf(x))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(want) > 0 {
		t.Errorf("%d are missing", len(want))
	}
}

// Parts that can't have better hits aren't opened; others are opened once to search, once to tell equal hits apart, and once to
// read.
func TestSearchOpensFewParts(t *testing.T) {
	all := storetest.Exchanges(seed+6, 600)
	slices.SortStableFunc(all, func(a, b *exchange.Exchange) int { return cmp.Compare(a.Start.Time, b.Start.Time) })
	parts := build(t, all, 50)
	var own []*part
	for i, p := range parts {
		if m, ok := p.(*vector.Memory); ok {
			parts[i] = &part{Memory: m}
		}
		own = append(own, parts[i].(*part))
	}
	l := limits()
	l.Workers = 1
	page, err := Search(context.Background(), parts, &store.Search{Limit: 20}, l, func(*exchange.Exchange) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range own {
		want := 0
		if i == len(own)-1 {
			want = 3
		}
		if int(p.opened.Load()) > max(want, 1) || i < len(own)-2 && p.opened.Load() != 0 || p.open.Load() != 0 {
			t.Errorf("part %d of %d was opened %d times, and is open %d times", i, len(own), p.opened.Load(), p.open.Load())
		}
	}
	if page.Cost.Skipped < 500 || page.Cost.Rows > 100 {
		t.Errorf("the cost is %+v", page.Cost)
	}
}

func TestByID(t *testing.T) {
	all := storetest.Exchanges(seed+7, 300)
	parts := build(t, all, 40)
	for _, x := range all {
		var got string
		if err := ByID(context.Background(), parts, x.ID(x.Tap.Observer), limits(), func(y *exchange.Exchange) error {
			got = idOf(y)
			return nil
		}); err != nil || got != idOf(x) {
			t.Errorf("%s: %q, %v", idOf(x), got, err)
		}
	}
	for _, id := range [][exchange.IDSize]byte{{}, {1, 2, 3}, {255, 255, 255, 255, 255, 255, 255, 255, 255}} {
		if err := ByID(context.Background(), parts, id, limits(), nil); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%x: %v", id, err)
		}
	}
	// An id that doesn't begin with the start.
	x := all[17]
	x.KnownID = &[exchange.IDSize]byte{0, 0, 0, 0, 0, 9, 7}
	if err := ByID(context.Background(), build(t, all, 40), *x.KnownID, limits(), func(y *exchange.Exchange) error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestSearchRefuses(t *testing.T) {
	parts := build(t, storetest.Exchanges(seed, 10), 10)
	for want, q := range map[string]*store.Search{
		"limit":    {Limit: 0},
		"10000":    {Limit: store.MaxLimit + 1},
		"no order": {Limit: 1, Sort: exchange.Lookup("client.ip")},
		"damaged":  {Limit: 1, After: "nonsense!"},
		"bytes":    {Limit: 1, After: strings.Repeat("A", 1e5)},
		"version":  {Limit: 1, After: "_____w"},
		"another order": {Limit: 1, Sort: exchange.Lookup("status"),
			After: (&order{field: exchange.Lookup("@timestamp")}).cursor(&position{})},
	} {
		_, err := Search(context.Background(), parts, q, limits(), func(*exchange.Exchange) error { return nil })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	mine := errors.New("mine")
	if _, err := Search(context.Background(), parts, &store.Search{Limit: 1}, limits(), func(*exchange.Exchange) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("an error of found came back as %v", err)
	}
}

// FuzzCursor: a cursor is refused, or is the one that its position has.
func FuzzCursor(f *testing.F) {
	orders := []order{
		{field: exchange.Lookup("@timestamp")}, {field: exchange.Lookup("url.path"), text: true, ascending: true},
	}
	id := [idSize]byte([]byte("01ARZ3NDEKTSV4RRFFQ69G5FAV"))
	f.Add(orders[0].cursor(&position{key{present: true, n: 1 << 60}, id}))
	f.Add(orders[1].cursor(&position{key{present: true, text: "/a"}, id}))
	f.Add(orders[1].cursor(&position{key{}, id}))
	f.Add("")
	f.Add("AQA")
	f.Fuzz(func(t *testing.T, text string) {
		for i := range orders {
			o := &orders[i]
			p, err := o.position(text)
			if err != nil {
				if !errors.Is(err, store.ErrCursor) {
					t.Fatal(err)
				}
				continue
			}
			again, err := o.position(o.cursor(p))
			if err != nil || *again != *p {
				t.Fatalf("%q: %+v, then %+v, %v", text, p, again, err)
			}
		}
	})
}
