package firehose

import (
	"hash/maphash"
	"strings"
)

// State says what is wrong with a stream: nothing, if it is Complete, or one or more of the others.
type State uint16

// Complete: all fragments are there, with their end.
const Complete State = 0

// What a stream may lack.
const (
	// NoStart: its first fragments are missing.
	NoStart State = 1 << iota
	// Gap: fragments are missing between others, or before the end.
	Gap
	// NoEnd: nothing says that it is over, and how many fragments there were.
	NoEnd
	// Cut: a fragment was cut short, and its last bytes are missing.
	Cut
	// Corrupt: some of the bytes may be others than were sent: what comes twice isn't the same, or a fragment has swallowed others.
	Corrupt
	// Untrusted: it comes behind damage, and may be made up of what others were carrying.
	Untrusted
)

var stateNames = []struct {
	state State
	name  string
}{{NoStart, "no start"}, {Gap, "gap"}, {NoEnd, "no end"}, {Cut, "truncated"}, {Corrupt, "corrupt"}, {Untrusted, "untrusted"}}

// Names returns what is wrong, in words; nothing, if the stream is complete.
func (s State) Names() (names []string) {
	for _, n := range stateNames {
		if s&n.state != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// String returns what is wrong, in words.
func (s State) String() string {
	if s == Complete {
		return "complete"
	}
	return strings.Join(s.Names(), ", ")
}

// Stream is one direction of a conversation: what a Sequencer knows of it.
type Stream struct {
	UUID UUID
	Dir  Dir
	// Nth is how often the UUID was used before for this direction.
	Nth int
	// State is what is wrong. It is final when the stream is over.
	State State
	// First and Last are the times of the first and last fragment with data, and End when the server forgot the connection, which may be long
	// after: in microseconds since 1970, 0 for none.
	First, Last, End int64
	// Bytes and Fragments is what was delivered.
	Bytes     int64
	Fragments uint64
	// Missing is how many fragments are known to be missing, and Lost how many bytes of those that were cut short.
	Missing uint64
	Lost    int64
	// Duplicates came again, and were dropped. Unequal of them weren't the same; Late were missing, and came when others behind them had been
	// delivered. Reordered came too early, and were put in order.
	Duplicates, Unequal, Late, Reordered uint64
	// Mark is for those who get the events.
	Mark any

	// serial is the place of the stream's begin, next that of the next fragment.
	serial, next uint64
	// held are fragments that come too early, in order.
	held []held
	// ending: the end came, and held or missing fragments are before it; endCount is what it says.
	ending   bool
	endCount uint64
	// over: an end was delivered. repeating: what comes now was there before.
	over, repeating bool
	// first and recent are what fragments were like: the one with place 0, and the last ones.
	first  likeness
	recent [recentFragments]likeness
	// inOrder is how many came when it was their turn.
	inOrder uint64
	// seen is the time when something was heard of it.
	seen int64
	// older and newer are its neighbours among the open streams, by when something was heard.
	older, newer *Stream
	// waits: it is among those that wait for fragments, since that fragment of the file.
	waits bool
	since uint64
}

// recentFragments is how many fragments back a duplicate is compared with what it is a duplicate of.
const recentFragments = 8

// likeness is what is remembered of a fragment.
type likeness struct {
	sum   uint64
	time  int64
	count uint64
	size  int
	there bool
}

// held is a fragment that came before its turn, when inOrder others had come in theirs.
type held struct {
	f       Fragment
	inOrder uint64
}

func like(seed maphash.Seed, f *Fragment) likeness {
	return likeness{sum: maphash.Bytes(seed, f.Data), time: f.Time, count: f.Count, size: len(f.Data), there: true}
}

func (l *likeness) same(o *likeness) bool { return l.sum == o.sum && l.size == o.size }

// half returns which direction of which conversation it is.
func (s *Stream) half() half { return half{s.UUID, s.Dir} }
