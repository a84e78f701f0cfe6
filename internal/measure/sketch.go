package measure

import (
	"errors"
	"fmt"
	"strings"
)

// Sketch is the distribution of durations, or of other numbers that aren't negative, in little memory: what percentiles
// are told from. docs/quantiles.md compares the kinds.
//
// A Sketch must not be copied, and isn't safe for concurrent use, not even by those who only ask.
type Sketch interface {
	// Add adds a duration in nanoseconds. A negative one is unknown, and not counted; one beyond 2⁵³ counts as that.
	Add(ns int64)
	// Merge adds the durations of another sketch of the same kind, which doesn't change. It fails, and adds nothing, with a
	// sketch of another kind, and always with frugal ones: see ErrNoMerge.
	Merge(from Sketch) error
	// Count returns how many durations were added.
	Count() int64
	// Quantile returns the duration in nanoseconds that the part q, from 0 to 1, of all durations don't exceed, and false
	// when there is none, or when the sketch doesn't follow that quantile.
	Quantile(q float64) (int64, bool)
	// Size returns how much memory the sketch takes, in bytes, for what it holds.
	Size() int
	// Accuracy returns how far a quantile may be off.
	Accuracy() Accuracy
}

// Interface guards.
var (
	_ Sketch = (*DDSketch)(nil)
	_ Sketch = (*TDigest)(nil)
	_ Sketch = (*QDigest)(nil)
	_ Sketch = (*FrugalSketch)(nil)
)

// Accuracy is what a sketch promises. A kind that promises nothing has the zero Accuracy: how far it is off is known by
// trial only, and depends on what is added, and in which order.
type Accuracy struct {
	// Value is by what part of it a quantile may be off; 0.01 is 1 %. Zero: by any.
	Value float64
	// Rank is by what part of all durations the rank may be off: with 0.01 what is told as p50 is something between p49
	// and p51. Zero: by any, unless Value says how far.
	Rank float64
}

// Kind is a kind of sketch.
type Kind uint8

// The kinds. The zero Kind is the default.
const (
	DD Kind = iota
	TDigests
	QDigests
	Frugal
)

// kinds are the names of the kinds, for options.
var kinds = [...]string{DD: "dd", TDigests: "tdigest", QDigests: "qdigest", Frugal: "frugal"}

// String returns the name that ParseKind reads.
func (k Kind) String() string { return kinds[k] }

// Merges reports whether sketches of this kind can be merged.
func (k Kind) Merges() bool { return k != Frugal }

// ParseKind reads the name of a kind.
func ParseKind(name string) (Kind, error) {
	for k, known := range kinds {
		if name == known {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("there is no sketch %q; there are %s", name, strings.Join(kinds[:], ", "))
}

// ErrNoMerge says that sketches can't be merged at all. A frugal sketch knows where a quantile is, and nothing of how the
// durations are distributed around it: of two such places, that of both together can't be told.
var ErrNoMerge = errors.New("frugal sketches can't be merged")

// unlike says that a sketch isn't of the kind that it is to be merged into.
func unlike(into Kind, from Sketch) error {
	return fmt.Errorf("a %T can't be merged into a sketch of kind %s", from, into)
}

// Maker makes sketches of one kind. Those that it made share what they need to work, and so aren't safe for concurrent
// use even one beside the other; those of different makers are.
type Maker struct {
	kind    Kind
	tdigest *tdigestWork
	qdigest *qdigestWork
	frugal  *frugalWork
}

// NewMaker returns a Maker. quantiles, from 0 to 1 and rising, are those that will be asked: a frugal sketch follows no
// others.
func NewMaker(k Kind, quantiles ...float64) *Maker {
	m := &Maker{kind: k}
	switch k {
	case TDigests:
		m.tdigest = newTDigestWork()
	case QDigests:
		m.qdigest = &qdigestWork{}
	case Frugal:
		m.frugal = newFrugalWork(quantiles)
	}
	return m
}

// New returns an empty sketch.
func (m *Maker) New() Sketch {
	switch m.kind {
	case TDigests:
		return &TDigest{work: m.tdigest}
	case QDigests:
		return &QDigest{work: m.qdigest}
	case Frugal:
		return &FrugalSketch{work: m.frugal}
	}
	return &DDSketch{}
}
