package firehose

// DamageKind says what is wrong with a stream.
type DamageKind byte

// The kinds of damage.
const (
	// Junk: there are bytes where a fragment should begin that are none.
	Junk DamageKind = iota
	// TooLong: a fragment says that it is longer than the longest that is read.
	TooLong
	// CutShort: another fragment begins within one, or behind bytes that follow it: it isn't all there, or its length is wrong.
	CutShort
	// NoLineEnd: a fragment's data are all there, without the line end behind them.
	NoLineEnd
	// Truncated: the stream ends within a fragment.
	Truncated
	numDamageKinds
)

// String returns what is wrong, in words.
func (k DamageKind) String() string { return damageTexts[k] }

var damageTexts = [numDamageKinds]string{
	Junk:      "bytes that are no fragment",
	TooLong:   "a fragment too long to be one",
	CutShort:  "a fragment cut short",
	NoLineEnd: "a fragment without its line end",
	Truncated: "the stream ends within a fragment",
}

// Damage is a place where a stream isn't as it should be.
type Damage struct {
	// Offset is where it begins in the stream, and Bytes how many were skipped there: they are in no fragment.
	Offset, Bytes int64
	Kind          DamageKind
	// Of: UUID and Dir are whose fragment is concerned.
	Of   bool
	UUID UUID
	Dir  Dir
}

// MaxDamages is how many damages a Scanner keeps until they are taken. More are only counted.
const MaxDamages = 1000

// Totals counts what was read.
type Totals struct {
	// Bytes is how many there were. They are those of Fragments and Ends, with their headers and line ends, and Skipped.
	Bytes, Skipped int64
	// Fragments are those with data; Cut were cut short, Untrusted of what came behind damage.
	Fragments, Ends, Cut, Untrusted uint64
	// Damages are the damaged places; Unlisted of them weren't kept, as there were too many.
	Damages, Unlisted uint64
	// Loose is how many headers are written otherwise than mod_firehose does; LineEnds how many ends have a line end more, as its manual says.
	Loose, LineEnds uint64
}
