package measure

import (
	"errors"
	"fmt"
	"math"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/encoding"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

// The precision and the range of sketches.
const (
	// accuracy is how far a quantile may be from the true one, as a part of it.
	accuracy = 0.01
	// largest is the largest value that a sketch tells: 104 days in nanoseconds. Larger ones count as this. It is the
	// largest number up to which float64, of which the library makes its sums and counts, knows every integer.
	largest = 1 << 53
	// maxCount is how many values a sketch counts; what is more isn't counted.
	maxCount = 1 << 53
)

// scale says which bin a value is counted in. Bins grow in proportion to what they hold. The logarithm that this needs
// is interpolated, which takes a third of the time, for bins that are 1 % more.
var scale = newScale()

func newScale() *mapping.CubicallyInterpolatedMapping {
	m, _ := mapping.NewCubicallyInterpolatedMapping(accuracy) // fails only for an accuracy that isn't between 0 and 1
	return m
}

// DDSketch is the sketch that is used where nothing else is chosen (https://arxiv.org/abs/1908.10693). It takes as much
// memory as the durations differ, some 150 bytes for a few of them and at most 64 KiB however many there are, and sketches
// add up: merged, they say what one sketch of everything would say.
//
// The zero DDSketch is empty and ready. It must not be copied, and isn't safe for concurrent use, not even by those who
// only ask: it sorts when it is asked.
type DDSketch struct {
	// bins counts the durations above zero. Its counters are in pages that are made when they pay; until then it lists
	// the bins, since most sketches hold a few dozen different durations. Nil until there is one.
	bins *store.BufferedPaginatedStore
	// zeros of all count are zero.
	zeros, count int64
	sum          float64
	min, max     int64
	// paged is how many pages were made at most without waiting until they pay.
	paged int
}

// Add adds a duration in nanoseconds. A negative one is unknown, and not counted. Add allocates only to make
// room for durations unlike those before.
func (s *DDSketch) Add(ns int64) { s.AddN(ns, 1) }

// AddN adds a duration n times.
func (s *DDSketch) AddN(ns, n int64) {
	n = min(n, maxCount-s.count)
	if ns < 0 || n <= 0 {
		return
	}
	ns = min(ns, largest)
	if s.count == 0 {
		s.min, s.max = ns, ns
	} else {
		s.min, s.max = min(s.min, ns), max(s.max, ns)
	}
	s.count += n
	s.sum += float64(ns) * float64(n)
	if ns == 0 {
		s.zeros += n
		return
	}
	if s.bins == nil {
		s.bins = store.NewBufferedPaginatedStore()
	}
	if i := scale.Index(float64(ns)); n == 1 {
		s.bins.Add(i)
	} else {
		s.bins.AddWithCount(i, float64(n))
		s.paged = min(s.paged+1, allPages)
	}
}

// Count returns how many durations were added.
func (s *DDSketch) Count() int64 { return s.count }

// Sum returns the sum of the durations, in nanoseconds. It is exact up to 2⁵³.
func (s *DDSketch) Sum() float64 { return s.sum }

// Min returns the shortest duration, exactly, and false when there is none.
func (s *DDSketch) Min() (int64, bool) { return s.min, s.count > 0 }

// Max returns the longest duration, exactly, and false when there is none.
func (s *DDSketch) Max() (int64, bool) { return s.max, s.count > 0 }

// Quantile returns the duration in nanoseconds that the part q, from 0 to 1, of all durations don't exceed (nearest
// rank), and false when there is none. It is at most 1 % from one that was added; the first and the last are exact.
func (s *DDSketch) Quantile(q float64) (int64, bool) {
	if s.count == 0 || math.IsNaN(q) {
		return 0, false
	}
	n := float64(s.count)
	// What is above a whole number only because q is binary isn't above it.
	rank := math.Ceil(min(max(q, 0), 1)*n-1e-9) - 1
	switch {
	case rank <= 0:
		return s.min, true
	case rank >= n-1:
		return s.max, true
	case rank < float64(s.zeros):
		return 0, true
	}
	v := scale.Value(s.bins.KeyAtRank(rank - float64(s.zeros)))
	return min(max(int64(math.Round(v)), s.min), s.max), true
}

// Merge implements Sketch. It loses nothing.
func (s *DDSketch) Merge(from Sketch) error {
	other, ok := from.(*DDSketch)
	if !ok {
		return unlike(DD, from)
	}
	s.join(other)
	return nil
}

// Accuracy implements Sketch.
func (s *DDSketch) Accuracy() Accuracy { return Accuracy{Value: accuracy} }

// join is Merge for those who know what they have.
func (s *DDSketch) join(from *DDSketch) {
	if from.count == 0 {
		return
	}
	if s.count == 0 {
		s.min, s.max = from.min, from.max
	} else {
		s.min, s.max = min(s.min, from.min), max(s.max, from.max)
	}
	s.count = min(s.count+from.count, maxCount)
	s.zeros = min(s.zeros+from.zeros, maxCount)
	s.sum += from.sum
	if from.count > from.zeros {
		if s.bins == nil {
			s.bins = store.NewBufferedPaginatedStore()
		}
		s.bins.MergeWith(from.bins)
		s.paged = min(s.paged+from.paged, allPages)
	}
}

// Reset empties the sketch, and keeps its memory for what comes next.
func (s *DDSketch) Reset() {
	if s.bins != nil {
		s.bins.Clear()
	}
	*s = DDSketch{bins: s.bins}
}

// What a sketch takes, for Size, in bytes: an empty one, a page of counters and its place in the table of pages, and
// what is listed until a page pays, in a slice that has grown to twice of it at most.
const (
	emptySize = 192
	pageBins  = 32
	pageSize  = pageBins * 8
	placeSize = 24
	listSize  = 2 * 8
	// allPages is more than the pages that there are.
	allPages = 64
)

// Size returns how much memory the sketch takes at most, in bytes, for what it holds.
func (s *DDSketch) Size() int {
	if s.count == s.zeros {
		return emptySize
	}
	// Whether few durations or few pages: the smaller bound holds.
	n := int(min(s.count, allPages*pageBins))
	few := n*listSize + min(n, allPages)*placeSize + s.paged*pageSize
	pages := scale.Index(float64(s.max))/pageBins - scale.Index(float64(max(s.min, 1)))/pageBins + 1
	return emptySize + min(few, pages*(pageSize+pageBins*listSize)+allPages*placeSize)
}

// Append appends the sketch in the form of the library, with exact count, sum, minimum and maximum, for Decode.
func (s *DDSketch) Append(dst []byte) []byte {
	if s.count > 0 {
		encoding.EncodeFlag(&dst, encoding.FlagCount)
		encoding.EncodeVarfloat64(&dst, float64(s.count))
		encoding.EncodeFlag(&dst, encoding.FlagSum)
		encoding.EncodeFloat64LE(&dst, s.sum)
		encoding.EncodeFlag(&dst, encoding.FlagMin)
		encoding.EncodeFloat64LE(&dst, float64(s.min))
		encoding.EncodeFlag(&dst, encoding.FlagMax)
		encoding.EncodeFloat64LE(&dst, float64(s.max))
	}
	if s.zeros > 0 {
		encoding.EncodeFlag(&dst, encoding.FlagZeroCountVarFloat)
		encoding.EncodeVarfloat64(&dst, float64(s.zeros))
	}
	scale.Encode(&dst)
	if s.count > s.zeros {
		s.bins.Encode(&dst, encoding.FlagTypePositiveStore)
	}
	return dst
}

// Decode makes the sketch the one that Append wrote to b. After an error it is empty.
func (s *DDSketch) Decode(b []byte) error {
	s.Reset()
	d, err := ddsketch.DecodeDDSketchWithExactSummaryStatistics(b, newChecked, scale)
	if err != nil {
		return fmt.Errorf("decoding a sketch of %d bytes: %w", len(b), err)
	}
	bins, negative := d.GetPositiveValueStore().(*checked), d.GetNegativeValueStore().(*checked)
	if err := errors.Join(bins.err, negative.err); err != nil {
		return fmt.Errorf("decoding a sketch of %d bytes: %w", len(b), err)
	}
	if d.IsEmpty() && d.DDSketch.IsEmpty() {
		return nil
	}
	lowest, _ := d.GetMinValue()
	highest, _ := d.GetMaxValue()
	n, zeros, sum := d.GetCount(), d.GetZeroCount(), d.GetSum()
	const rounding = 1e-6
	switch {
	case !whole(n, maxCount), !whole(zeros, maxCount), zeros+bins.TotalCount() != n, !negative.IsEmpty(),
		!whole(lowest, largest), !whole(highest, largest),
		zeros > 0 != (lowest == 0), bins.IsEmpty() != (highest == 0),
		!bins.IsEmpty() && !bins.holds(max(lowest, 1), highest, zeros == 0),
		!(sum >= n*lowest*(1-rounding) && sum <= n*highest*(1+rounding)):
		return fmt.Errorf("decoding a sketch of %d bytes: its counts, sum, minimum and maximum don't fit each other", len(b))
	}
	*s = DDSketch{bins: bins.BufferedPaginatedStore, zeros: int64(zeros), count: int64(n), sum: sum, min: int64(lowest), max: int64(highest), paged: allPages}
	return nil
}

// whole reports whether v is a whole number from 0 to limit.
func whole(v, limit float64) bool { return v >= 0 && v <= limit && v == math.Trunc(v) }

// checked is a store for what comes from others: it takes no bins that no sketch has, for which it would need any
// amount of memory, and remembers what is wrong, since the library forgets it.
type checked struct {
	*store.BufferedPaginatedStore
	err error
}

func newChecked() store.Store {
	return &checked{BufferedPaginatedStore: store.NewBufferedPaginatedStore()}
}

// DecodeAndMergeWith implements store.Store.
func (c *checked) DecodeAndMergeWith(b *[]byte, mode encoding.SubFlag) error {
	err := store.DecodeAndMergeWith(c, b, mode)
	if err != nil && c.err == nil {
		c.err = err
	}
	return err
}

// Add implements store.Store.
func (c *checked) Add(index int) { c.AddWithCount(index, 1) }

// AddWithCount implements store.Store.
func (c *checked) AddWithCount(index int, count float64) {
	switch {
	case count == 0: // pages of counters are written whole
	case !whole(count, maxCount), index < scale.Index(1), index > scale.Index(largest):
		if c.err == nil {
			c.err = fmt.Errorf("%g values in bin %d", count, index)
		}
	default:
		c.BufferedPaginatedStore.AddWithCount(index, count)
	}
}

// holds reports whether high is in the last bin, and low in the first one; unless exact, at most there.
func (c *checked) holds(low, high float64, exact bool) bool {
	first, _ := c.MinIndex()
	last, _ := c.MaxIndex()
	i := scale.Index(low)
	return scale.Index(high) == last && (i == first || !exact && i < first)
}
