package segment_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/segment"
)

// contents reads all that a segment has, each way.
func contents(s *segment.Segment) (all []byte, err error) {
	c, err := s.Parts()[0].Open()
	if err != nil {
		return nil, err
	}
	defer c.Release()
	for col := range record.Columns {
		switch record.Columns[col].Form {
		case record.Ints:
			_, err = c.Ints(col)
		case record.Texts:
			_, err = c.Texts(col)
		case record.Lists:
			_, err = c.Lists(col)
		case record.Headers:
			_, err = c.Headers(col)
		}
		if err != nil {
			return nil, err
		}
	}
	var row record.Row
	for r := 0; r < c.Len(); r += 1 + c.Len()/200 {
		row.Reset()
		if err := c.Row(r, nil, &row); err != nil {
			return nil, err
		}
		all = record.AppendRow(all, &row)
		if !c.MayHave(record.Index("client.ip"), row.Text(record.Index("client.ip"))) {
			all = append(all, "ruled out"...)
		}
	}
	return all, nil
}

// Wherever bytes change, in data, headers of pages, bloom filters, indexes or the footer: what is read is what was
// written, or the segment is damaged. There is nothing between.
func TestDamage(t *testing.T) {
	m, _ := exchanges(t, 600)
	var file bytes.Buffer
	w := segment.NewWriter(&file)
	if err := errors.Join(w.Write(m, m.Order()), w.Close()); err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) ([]byte, error) {
		s, err := segment.OpenSum(bytes.NewReader(b), int64(len(b)), w.Sum())
		if err != nil {
			return nil, err
		}
		return contents(s)
	}
	whole := file.Bytes()
	want, err := read(whole)
	if err != nil || bytes.Contains(want, []byte("ruled out")) {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	found := 0
	const runs = 400
	for i := range runs {
		b := bytes.Clone(whole)
		switch r.IntN(4) {
		case 0:
			b = b[:r.IntN(len(b))]
		case 1:
			from := r.IntN(len(b))
			clear(b[from:min(from+512, len(b))])
		default:
			at := len(b) * i / runs // all over the file
			b[min(at+r.IntN(len(b)/runs+1), len(b)-1)] ^= 1 << r.IntN(8)
		}
		if bytes.Equal(b, whole) {
			continue
		}
		got, err := read(b)
		switch {
		case errors.Is(err, segment.ErrDamaged):
			found++
		case err != nil:
			t.Fatalf("run %d: %v, which isn't ErrDamaged", i, err)
		case !bytes.Equal(got, want):
			t.Fatalf("run %d: other rows, and no error", i)
		}
	}
	// Only paddings aren't read.
	if found < runs*9/10 {
		t.Errorf("%d of %d were found", found, runs)
	}
}

// A reader of rows of a chunk that is read again after its bytes changed: what was checked once isn't again, what
// wasn't is.
func TestDamageLater(t *testing.T) {
	m, _ := exchanges(t, 5000)
	var file bytes.Buffer
	w := segment.NewWriter(&file)
	if err := errors.Join(w.Write(m, m.Order()), w.Close()); err != nil {
		t.Fatal(err)
	}
	b := bytes.Clone(file.Bytes())
	s, err := segment.OpenSum(bytes.NewReader(b), int64(len(b)), w.Sum())
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(b) / 2 {
		b[i] ^= 0x55
	}
	if _, err := contents(s); !errors.Is(err, segment.ErrDamaged) {
		t.Errorf("half of it is garbage, and reading says %v", err)
	}
}
