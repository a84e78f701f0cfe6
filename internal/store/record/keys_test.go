package record_test

import (
	"testing"

	"github.com/culprit-http/culprit/bench/store/generate"
	"github.com/culprit-http/culprit/internal/store/record"
)

// Keys tells what Each does, and doesn't mind what is cut or damaged anywhere.
func TestKeys(t *testing.T) {
	type key struct {
		id    string
		start int64
	}
	g := generate.New(generate.Options{Seed: 3, Start: 1e18})
	var b record.Batch
	for range 50 {
		b.Add(g.Next())
	}
	d, err := record.NewDecoder(record.Header())
	if err != nil {
		t.Fatal(err)
	}
	var want, got []key
	if err := d.Each(b.Bytes(), func(r *record.Row) error {
		want = append(want, key{string(r.ID()), r.Time()})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := d.Keys(b.Bytes(), func(id []byte, start int64) { got = append(got, key{string(id), start}) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) || len(got) != 50 {
		t.Fatalf("%d keys of %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("key %d is %v, not %v", i, got[i], want[i])
		}
	}
	bytes := b.Bytes()[:3000]
	for n := range bytes {
		if err := d.Keys(bytes[:n], func([]byte, int64) {}); err == nil && n > 0 && d.Each(bytes[:n], func(*record.Row) error { return nil }) == nil {
			continue // whole rows
		} else if err == nil && n > 0 {
			t.Fatalf("%d bytes aren't whole rows, and nothing is said", n)
		}
		damaged := append([]byte(nil), bytes...)
		damaged[n] ^= 0xff
		_ = d.Keys(damaged, func([]byte, int64) {})
	}
}
