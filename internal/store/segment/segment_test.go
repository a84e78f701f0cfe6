package segment_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/culprit-http/culprit/bench/store/generate"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/segment"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// exchanges returns n generated exchanges as columns, and their documents in the order of their ids.
func exchanges(t testing.TB, n int) (m *vector.Memory, documents []string) {
	t.Helper()
	g := generate.New(generate.Options{Seed: 1})
	decoder, err := record.NewDecoder(record.Header())
	if err != nil {
		t.Fatal(err)
	}
	var batch record.Batch
	b, encoder := vector.NewBuilder(), ndjson.NewEncoder()
	type document struct {
		at   int64
		id   string
		text string
	}
	var all []document
	for range n {
		x := g.Next()
		id := x.ID(x.Tap.Observer)
		all = append(all, document{x.Start.Time, string(exchange.AppendID(nil, id)), string(encoder.Append(nil, x))})
		batch.Reset()
		batch.Add(x)
		if err := decoder.Each(batch.Bytes(), func(r *record.Row) error { b.Append(r); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	slices.SortFunc(all, func(a, b document) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return bytes.Compare([]byte(a.id), []byte(b.id))
	})
	for _, d := range all {
		documents = append(documents, d.text)
	}
	return b.Chunk(), documents
}

func write(t testing.TB, m *vector.Memory) []byte {
	t.Helper()
	var file bytes.Buffer
	w := segment.NewWriter(&file)
	w.Set("k", "v")
	if err := w.Write(m, m.Order()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func open(t testing.TB, file []byte) *segment.Segment {
	t.Helper()
	s, err := segment.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRoundTrip(t *testing.T) {
	m, want := exchanges(t, 20_000)
	s := open(t, write(t, m))
	if s.Rows() != int64(len(want)) || s.Get("k") != "v" || len(s.Parts()) != 1 {
		t.Fatalf("%d rows, %q, %d parts", s.Rows(), s.Get("k"), len(s.Parts()))
	}
	c, err := s.Parts()[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	var row record.Row
	var maker record.Maker
	encoder := ndjson.NewEncoder()
	rows := []int{0, 1, 2, 3, 4095, 4096, 9999, 5, 5, 19_999, 19_998, 0, 64, 128, 193, 259, 258}
	for r := 3_900; r < 4_300; r++ { // over the ends of pages
		rows = append(rows, r)
	}
	for r := 20_000 - 70; r < 20_000; r++ {
		rows = append(rows, r)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for at := 0; len(rows) < 1_500; { // steps forward, some back, and leaps
		at += random.IntN(90) - 10
		if random.IntN(20) == 0 || at < 0 || at >= 20_000 {
			at = random.IntN(20_000)
		}
		rows = append(rows, at)
	}
	for _, r := range rows {
		row.Reset()
		if err := c.Row(r, nil, &row); err != nil {
			t.Fatal(err)
		}
		if got := string(encoder.Append(nil, maker.Exchange(&row))); got != want[r] {
			t.Errorf("row %d\n%s\nwant\n%s", r, got, want[r])
		}
	}
}

// The columns of a segment are those that were written.
func TestColumns(t *testing.T) {
	m, _ := exchanges(t, 20_000)
	c, err := open(t, write(t, m)).Parts()[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	order := m.Order()
	for col := range record.Columns {
		column := &record.Columns[col]
		values := func(c vector.Chunk) func(r int) string {
			switch column.Form {
			case record.Ints:
				ints, err := c.Ints(col)
				if err != nil {
					t.Fatal(column.Name, err)
				}
				return func(r int) string {
					if r >= len(ints) || ints[r] == vector.Absent {
						return "none"
					}
					return fmt.Sprint(ints[r])
				}
			case record.Texts:
				texts, err := c.Texts(col)
				if err != nil {
					t.Fatal(column.Name, err)
				}
				return func(r int) string {
					if texts.Rows[r] == 0 {
						return "none"
					}
					return fmt.Sprintf("%q", texts.Dict.At(texts.Rows[r]))
				}
			case record.Lists:
				l, err := c.Lists(col)
				if err != nil {
					t.Fatal(column.Name, err)
				}
				return func(r int) (s string) {
					for _, n := range l.Items[l.Ends[r]:l.Ends[r+1]] {
						s += fmt.Sprintf("%q ", l.Dict.At(n))
					}
					return s
				}
			}
			h, err := c.Headers(col)
			if err != nil {
				t.Fatal(column.Name, err)
			}
			return func(r int) (s string) {
				for i := h.Ends[r]; i < h.Ends[r+1]; i++ {
					s += fmt.Sprintf("%q=%q ", h.NameDict.At(h.Names[i]), h.ValueDict.At(h.Values[i]))
				}
				return s
			}
		}
		want, got := values(m), values(c)
		for i, r := range order {
			if w, g := want(int(r)), got(i); w != g {
				t.Fatalf("%s, row %d: %s, want %s", column.Name, i, g, w)
			}
		}
	}
}
