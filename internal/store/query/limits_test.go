package query

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/storetest"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// A chunk waits for room as long as others are open, and for nothing else.
func TestMemoryWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m memory
		m.init(100)
		if err := m.wait(60); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- m.wait(60) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("it didn't wait: %v", err)
		default:
		}
		m.release(60)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := m.hold(30); err != nil {
			t.Error(err)
		}
		m.release(60)
		if err := m.wait(71); !errors.Is(err, store.ErrLimit) {
			t.Errorf("more than there can be room for: %v", err)
		}
		if err := m.hold(71); !errors.Is(err, store.ErrLimit) {
			t.Errorf("more is held than allowed: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // the end of the question ends the waiting
		var m memory
		m.init(100)
		_ = m.wait(60)
		done := make(chan error, 1)
		go func() { done <- m.wait(60) }()
		synctest.Wait()
		m.close()
		<-done
	})
}

// Exchanges that equal the last one wanted count until their ids tell, wherever they are.
func TestTies(t *testing.T) {
	all := storetest.Exchanges(seed+20, 3000)
	for i, x := range all {
		x.Index = uint32(3 + i%2)
	}
	// Ids don't rise with the parts.
	slices.SortFunc(all, func(a, b *exchange.Exchange) int { return int(a.Response.Size%97 - b.Response.Size%97) })
	oracle := naive(t, all)
	for _, size := range []int{100, 3000} {
		parts := build(t, all, size)
		for i, p := range parts {
			if m, ok := p.(*vector.Memory); ok {
				parts[i] = &part{Memory: m}
			}
		}
		for _, limit := range []int{1, 5, 1400, 1600} {
			for _, ascending := range []bool{false, true} {
				q := &store.Search{Sort: exchange.Lookup("culprit.http.connection_index"), Limit: limit, Ascending: ascending}
				var want []string
				if _, err := oracle.Search(context.Background(), q, func(x *exchange.Exchange) error {
					want = append(want, idOf(x))
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				if got, _ := found(t, parts, q); !slices.Equal(got, want) {
					t.Errorf("parts of %d, limit %d, ascending %v: %d ids are others than the oracle's %d", size, limit, ascending, len(got), len(want))
				}
			}
		}
	}
}

func TestBucket(t *testing.T) {
	for _, c := range []struct{ t, want int64 }{{0, 0}, {9, 0}, {10, 10}, {-1, -10}, {-10, -10}, {-11, -20}} {
		if got := bucket(c.t, 10); got != c.want {
			t.Errorf("%d is in the bucket of %d, want %d", c.t, got, c.want)
		}
	}
}

// A set that is exact takes in one that isn't.
func TestDistinctMerge(t *testing.T) {
	var few, many set
	for i := range int64(90_000) {
		few.add(hashInt(i), 3)
	}
	for i := range int64(110_000) {
		many.add(hashInt(-1-i), 3)
	}
	few.merge(&many, 3)
	if n := few.len(); n < 196_000 || n > 204_000 {
		t.Errorf("%v of 200,000", n)
	}
}

// What stands behind a cursor, or in its place, is refused.
func TestCursorIsWhole(t *testing.T) {
	o := order{field: exchange.Lookup("@timestamp")}
	good, err := base64.RawURLEncoding.DecodeString(o.cursor(&position{key{present: true, n: 77}, [idSize]byte([]byte("01ARZ3NDEKTSV4RRFFQ69G5FAV"))}))
	if err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := o.position(base64.RawURLEncoding.EncodeToString(good[:n])); n > 0 && !errors.Is(err, store.ErrCursor) {
			t.Errorf("%d bytes of it: %v", n, err)
		}
	}
	if _, err := o.position(base64.RawURLEncoding.EncodeToString(append(good, 'X'))); !errors.Is(err, store.ErrCursor) {
		t.Errorf("a byte more: %v", err)
	}
}
