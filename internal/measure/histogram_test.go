package measure

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestHistogramBuckets holds each value against the bounds of its bucket, at powers of two and beside them above all.
func TestHistogramBuckets(t *testing.T) {
	var values []int64
	for s := int64(1e9 / 512); s < 1e12; s *= 2 { // and of seconds
		values = append(values, s-1, s, s+1)
	}
	for e := range 62 {
		for d := int64(-2); d <= 2; d++ {
			if v := int64(1)<<e + d; v > 0 {
				values = append(values, v)
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		values = append(values, 1+random.Int64()>>random.IntN(63))
	}
	for _, v := range values {
		i := bucketOf(v)
		if low, high := Bounds(i); float64(v) <= low || float64(v) > high {
			t.Errorf("%d is in bucket %d, of (%g, %g]", v, i, low, high)
		}
	}
	// By the definition: a second is the upper bound of bucket -1, two are that of bucket 31.
	if bucketOf(1e9) != -1 || bucketOf(1e9+1) != 0 || bucketOf(2e9) != 31 || bucketOf(3e9) != 50 || bucketOf(5e8) != -33 {
		t.Error(bucketOf(1e9), bucketOf(1e9+1), bucketOf(2e9), bucketOf(3e9), bucketOf(5e8))
	}
}

// TestHistogramMerges: parts that are merged say what one histogram of everything says.
func TestHistogramMerges(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var whole, merged Histogram
	parts := make([]Histogram, 5)
	for range 5000 {
		v := random.Int64() >> (10 + random.IntN(54))
		whole.Add(v)
		parts[random.IntN(len(parts))].Add(v)
	}
	whole.Add(-1)
	for i := range parts {
		merged.Merge(&parts[i])
	}
	same := math.Abs(whole.Sum-merged.Sum) < 1e-9*whole.Sum && whole.Count == merged.Count && whole.Zero == merged.Zero &&
		whole.Min == merged.Min && whole.Max == merged.Max && whole.Offset == merged.Offset && slices.Equal(whole.Counts, merged.Counts)
	if !same {
		t.Errorf("%+v\n%+v", whole, merged)
	}
	sum := whole.Zero
	for _, n := range whole.Counts {
		sum += n
	}
	if sum != whole.Count || whole.Count != 5000 || whole.Zero == 0 {
		t.Errorf("%d in buckets, %d counted", sum, whole.Count)
	}
}
