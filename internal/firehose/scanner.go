package firehose

import "bytes"

// MaxLength is the longest fragment that is read by default, in bytes. mod_firehose writes 4,003 at most.
const MaxLength = 16 << 20

const (
	// trustRun is how many bytes of fragments without a break are trusted: they can't be within the data of another one, since nobody
	// writes such long ones.
	trustRun = 64 << 10
	// maxFailed is how many places are remembered at which no fragment begins.
	maxFailed = 1 << 16
)

// Scanner finds the fragments in a stream, which it is given piece by piece. It does no I/O, and isn't safe for concurrent use.
//
// As long as one fragment follows the other, it is in step: what is within the data of a fragment is never looked at, whatever it looks
// like, since others say what servers carry. Out of step, it has to look: for a header from which on fragment follows fragment, up to one
// that goes on with a conversation known from before, up to the end, or for 64 KiB. What it finds is untrusted until then.
//
//	           header, data, line end
//	          +----------------------+
//	          v                      |
//	     [ in step ] ----------------+
//	       |     ^ \
//	    no |     |  \ no line end behind the data
//	header |     |   \  and a header within them: the fragment is cut short
//	       v     |    v
//	     [ lost ]--> [ in doubt ] --> in step: a known conversation goes on, or 64 KiB
//	              a chain begins
type Scanner struct {
	// MaxLength is the longest fragment to read, in bytes; 0 for the constant MaxLength.
	MaxLength int

	totals  Totals
	damages []Damage
	known   known

	// afterEnd: an end was taken; a line end may follow.
	afterEnd bool
	// doubt: what is found is untrusted; run is how many bytes of fragments without a break there were since.
	doubt bool
	run   int64
	// lost is the damage to be skipped; isLost: there is one.
	lost   Damage
	isLost bool
	// searched is up to where in the stream the headers aren't those of fragments, as long as something is lost.
	searched int64
	// failed is from where on in the stream chains were found to end, and walk the places that the last one led to.
	failed map[int64]struct{}
	walk   []int64
	// longest is the length of the longest fragment that was trusted, in bytes, and time that of the last one.
	longest uint64
	time    int64
}

// Offset returns how many bytes the Scanner is done with.
func (s *Scanner) Offset() int64 { return s.totals.Bytes }

// Totals returns what was read until now.
func (s *Scanner) Totals() Totals { return s.totals }

// Damages returns the damages since the last call, at most MaxDamages. They are valid until the next call of Scan.
func (s *Scanner) Damages() []Damage {
	d := s.damages
	s.damages = s.damages[:0]
	return d
}

// Scan looks for a fragment in b, which are the stream's bytes from Offset on; last: they are all that there are. It returns how many of
// them it is done with: they needn't be given again. If found, f is a fragment, whose Data are of b. Otherwise it needs more bytes, if
// there are any: at most MaxNeed behind the n that it is done with. What it finds doesn't depend on how the stream is cut into pieces.
func (s *Scanner) Scan(b []byte, last bool, f *Fragment) (n int, found bool) {
	for {
		taken, what := s.step(b[n:], last, f)
		n += taken
		s.totals.Bytes += int64(taken)
		if what != goOn {
			return n, what == isFragment
		}
	}
}

// MaxNeed returns how many bytes Scan may have to be given at once, at most.
func (s *Scanner) MaxNeed() int { return 2*s.maxLength() + 3*trustRun }

func (s *Scanner) maxLength() int {
	if s.MaxLength > 0 {
		return s.MaxLength
	}
	return MaxLength
}

// outcome is what comes of a step.
type outcome byte

const (
	goOn outcome = iota
	needMore
	isFragment
)

// step takes what b begins with, which are n bytes.
func (s *Scanner) step(b []byte, last bool, f *Fragment) (n int, what outcome) {
	if s.isLost {
		return s.find(b, last)
	}
	if s.afterEnd && len(b) > 0 {
		switch {
		case bytes.HasPrefix(b, crlf):
			s.afterEnd = false
			s.totals.LineEnds++
			return len(crlf), goOn
		case len(b) == 1 && b[0] == '\r' && !last:
			return 0, needMore
		case len(b) == 1 && b[0] == '\r':
			s.damage(&Damage{Offset: s.Offset(), Bytes: 1, Kind: Truncated})
			return 1, needMore
		}
		s.afterEnd = false
	}
	if len(b) == 0 {
		return 0, needMore
	}
	var h header
	switch h.parse(b) {
	case readShort:
		if !last {
			return 0, needMore
		}
		s.damage(&Damage{Offset: s.Offset(), Bytes: int64(len(b)), Kind: Truncated})
		return len(b), needMore
	case readBad:
		s.loseHere(Junk)
		return 0, goOn
	}
	switch {
	case h.length > uint64(s.maxLength()):
		s.loseHere(TooLong)
		return 0, goOn
	case h.length == 0:
		s.take(&h, nil, f)
		s.afterEnd = true
		return h.size, isFragment
	}
	end := h.size + int(h.length)
	switch whole := end + len(crlf); {
	case len(b) < whole && !last:
		return 0, needMore
	case len(b) < whole || b[end] != '\r' || b[end+1] != '\n':
		return s.broken(b, last, &h, false, f)
	default:
		data := b[h.size:end]
		_, _, at := findHeader(b[h.size:whole], 0, s.lenient())
		if at >= 0 {
			// A fragment that was cut short may end with the line end of one that follows it, by accident. Then something else
			// than a header comes next.
			var next header
			switch r := next.parse(b[whole:]); {
			case r == readShort && !last:
				return 0, needMore
			case r == readBad:
				return s.broken(b, last, &h, true, f)
			}
		}
		s.take(&h, data, f)
		f.Nested = at >= 0
		return whole, isFragment
	}
}

// take makes a fragment.
func (s *Scanner) take(h *header, data []byte, f *Fragment) {
	if s.doubt && (s.run >= trustRun || s.known.continues(h)) {
		s.doubt = false
	}
	*f = Fragment{UUID: h.uuid, Dir: h.dir, Time: h.time, Count: h.count, End: h.length == 0, Data: data, Offset: s.Offset(), Untrusted: s.doubt}
	s.run += int64(h.size + len(data))
	if len(s.failed) > 0 {
		clear(s.failed) // what is known may be something else now
	}
	if s.doubt {
		s.totals.Untrusted++
	} else {
		s.known.take(h)
		s.longest, s.time = max(s.longest, h.length), h.time
	}
	if !h.strict {
		s.totals.Loose++
	}
	if f.End {
		s.totals.Ends++
	} else {
		s.totals.Fragments++
	}
}

// lenient: headers that aren't written as mod_firehose writes them are to be expected.
func (s *Scanner) lenient() bool { return s.totals.Loose > 0 }

// broken takes a fragment whose data aren't followed by a line end or, if closed, by a line end and then something else than a header.
func (s *Scanner) broken(b []byte, last bool, h *header, closed bool, f *Fragment) (n int, what outcome) {
	whole := h.size + int(h.length)
	next, why := s.within(b, last, h.size, whole)
	d := Damage{Of: true, UUID: h.uuid, Dir: h.dir, Kind: CutShort}
	damaged := false
	switch {
	case why == chainShort:
		return 0, needMore
	case why == chainFails && len(b) < whole+len(crlf):
		next, d.Kind = len(b), Truncated
	case why == chainFails:
		next, damaged = whole, true
		if closed {
			next += len(crlf)
		}
	case next == whole:
		d.Kind = NoLineEnd
	}
	end := min(next, whole)
	s.take(h, b[h.size:end], f)
	f.Damaged = damaged
	if f.Lost = whole - end; f.Lost > 0 {
		s.totals.Cut++
	}
	d.Offset = s.Offset() + int64(end)
	switch {
	case damaged:
		if closed {
			d.Offset, d.Kind = d.Offset+int64(len(crlf)), Junk
		}
		s.lose(d)
		return next, isFragment
	case d.Kind == Truncated:
		d.Bytes = int64(next - end) // half a line end
	default:
		s.doubt, s.run = true, 0
	}
	s.damage(&d)
	return next, isFragment
}

// within looks for the fragment that begins within the data of one, which are the bytes from first on and would end at whole.
func (s *Scanner) within(b []byte, last bool, first, whole int) (next int, why chain) {
	if !last && len(b) < whole+MaxHeader {
		return 0, chainShort
	}
	next = -1
	for at := first; ; {
		from, limit, end := findHeader(b, at, s.lenient())
		from, limit = max(from, first), min(limit, whole)
		if end < 0 || from >= limit {
			break
		}
		at = end + len(crlf)
		start, known, why := s.among(b, from, limit, last)
		switch {
		case why == chainShort:
			return 0, chainShort
		case why == chainKnown && known < whole:
			// One that is known begins within the data: they aren't all there.
			return start, chainKnown
		case why != chainFails && next < 0:
			next = start
		}
	}
	if whole <= len(b) {
		// It is likelier that the line end alone is missing than that the server carried what looks like a fragment.
		switch why, _ := s.chain(b, whole, last, true); why {
		case chainShort:
			return 0, chainShort
		case chainFails:
		default:
			return whole, why
		}
	}
	if next < 0 {
		return 0, chainFails
	}
	return next, chainEnds
}

// lose begins a damage that has to be skipped.
func (s *Scanner) lose(d Damage) {
	s.isLost, s.lost = true, d
}

// loseHere begins one where a fragment should begin.
func (s *Scanner) loseHere(kind DamageKind) {
	s.lose(Damage{Offset: s.Offset(), Kind: kind})
}

// find skips what is no fragment.
func (s *Scanner) find(b []byte, last bool) (n int, what outcome) {
	lowest := 0
	if s.lost.Bytes == 0 {
		lowest = 1 // here is none
	}
	for {
		from, limit, end := findHeader(b, max(0, int(s.searched-s.Offset())), s.lenient())
		if end < 0 {
			n = len(b)
			if !last {
				n = max(0, n-MaxHeader)
			}
			s.lost.Bytes += int64(n)
			if last {
				s.found()
			}
			return n, needMore
		}
		from = max(from, lowest)
		start, _, why := s.among(b, from, limit, last)
		switch why {
		case chainFails:
			s.searched = s.Offset() + int64(end+len(crlf))
		case chainShort:
			s.lost.Bytes += int64(from)
			return from, needMore
		default:
			s.lost.Bytes += int64(start)
			s.found()
			return start, goOn
		}
	}
}

// found ends a damage that was skipped.
func (s *Scanner) found() {
	s.damage(&s.lost)
	s.isLost, s.doubt, s.run = false, true, 0
}

// damage notes a damage.
func (s *Scanner) damage(d *Damage) {
	s.totals.Damages++
	s.totals.Skipped += d.Bytes
	if len(s.damages) >= MaxDamages {
		s.totals.Unlisted++
		return
	}
	s.damages = append(s.damages, *d)
}

// chain says how far fragment follows fragment.
type chain byte

const (
	chainFails chain = iota
	// chainShort: it can't be said without more bytes.
	chainShort
	// chainKnown: up to one that goes on with a known conversation.
	chainKnown
	// chainEnds: up to the end, or for so long that it can't be within other data.
	chainEnds
)

// among returns at which of the bytes of b from first until, but not including, limit the chain begins of the header there, and where in
// b the known fragment begins that it leads to.
func (s *Scanner) among(b []byte, first, limit int, last bool) (start, known int, why chain) {
	for at := first; at < limit; at++ {
		switch is, leads := s.chain(b, at, last, limit-first == 1); {
		case is == chainShort:
			return at, leads, is
		case is != chainFails && (why == chainFails || s.leads(b[at:])):
			// With more of the digits, the fragment would swallow one that is known.
			start, known, why = at, leads, is
		}
	}
	if why != chainFails {
		return start, known, why
	}
	// Whatever its length is, and even if it, too, was cut short: nobody else knows the UUID.
	var h header
	if first < limit && h.parse(b[first:]) == readWhole && s.may(&h) && s.known.continues(&h) {
		return first, first, chainKnown
	}
	return 0, 0, chainFails
}

// leads reports whether behind the fragment that b begins with one begins that is known.
func (s *Scanner) leads(b []byte) bool {
	var h, next header
	if h.parse(b) != readWhole || h.length >= uint64(len(b)) {
		return false
	}
	at := h.size
	if h.length > 0 {
		at += int(h.length) + len(crlf)
	}
	return at < len(b) && next.parse(b[at:]) == readWhole && s.known.continues(&next)
}

// may reports whether a header out of step can be one by its form.
func (s *Scanner) may(h *header) bool {
	return (h.strict || s.lenient()) && h.length <= max(trustRun, s.longest) && h.length <= uint64(s.maxLength())
}

const (
	// maxBack and maxAhead are how far the times of two fragments may be apart, in microseconds, the later one in the stream being the
	// earlier one or not, if nothing else tells that both are fragments.
	maxBack  = 24 * 60 * 60 * 1_000_000
	maxAhead = 366 * maxBack
)

// plausible reports whether a fragment may have the time of one that isn't known.
func (s *Scanner) plausible(h *header) bool {
	return s.time == 0 || h.time >= s.time-maxBack && h.time-maxAhead <= s.time
}

// chain follows the fragments that begin at a byte of b. certain: the first one can begin nowhere else; otherwise another one has to follow
// it, whether it is known or not.
func (s *Scanner) chain(b []byte, at int, last, certain bool) (why chain, known int) {
	s.walk = s.walk[:0]
	known = -1
	for begin, afterEnd := at, false; ; {
		var h header
		switch h.parse(b[at:]) {
		case readShort:
			switch {
			case !last:
				return chainShort, 0
			case known >= 0:
				return chainKnown, known
			case at == begin:
				return s.fail()
			}
			return chainEnds, 0
		case readBad:
			if afterEnd && bytes.HasPrefix(b[at:], crlf) {
				at, afterEnd = at+len(crlf), false
				continue
			}
			if afterEnd && len(b) == at+1 && b[at] == '\r' {
				if !last {
					return chainShort, 0
				}
				return chainEnds, 0
			}
			return s.fail()
		}
		switch {
		case known >= 0:
			return chainKnown, known
		case !s.may(&h):
			return s.fail()
		case !s.known.continues(&h):
			if !s.plausible(&h) || s.hasFailed(at) {
				return s.fail()
			}
		case at > begin || certain:
			return chainKnown, at
		default:
			known = at
		}
		s.walk = append(s.walk, s.Offset()+int64(at))
		end := at + h.size
		if h.length > 0 {
			end += int(h.length)
			switch {
			case len(b) >= end+len(crlf):
				if b[end] != '\r' || b[end+1] != '\n' {
					return s.fail()
				}
			case !last:
				return chainShort, 0
			case at == begin:
				return s.fail()
			default:
				return chainEnds, 0
			}
			end += len(crlf)
		}
		at, afterEnd = end, h.length == 0
		if known < 0 && at-begin >= trustRun {
			return chainEnds, 0
		}
	}
}

// fail remembers where a chain led that ends.
func (s *Scanner) fail() (chain, int) {
	if s.failed == nil {
		s.failed = map[int64]struct{}{}
	}
	if len(s.failed)+len(s.walk) > maxFailed {
		clear(s.failed)
	}
	for _, at := range s.walk {
		s.failed[at] = struct{}{}
	}
	return chainFails, 0
}

func (s *Scanner) hasFailed(at int) bool {
	_, failed := s.failed[s.Offset()+int64(at)]
	return failed
}

// Looks reports whether a file that begins with b begins with a fragment.
func Looks(b []byte) bool {
	var h header
	if h.parse(b) != readWhole {
		return false
	}
	rest := b[h.size:]
	if h.length >= uint64(len(rest)) {
		return true
	}
	return h.length == 0 || bytes.HasPrefix(crlf, rest[h.length:]) || bytes.HasPrefix(rest[h.length:], crlf)
}

// Within reports whether a fragment begins somewhere in b, the beginning of a file: it may be that of a stream whose first fragments are
// damaged, or cut off. Only headers as mod_firehose writes them count.
func Within(b []byte) bool {
	for at := 0; ; {
		first, limit, end := findHeader(b, at, false)
		if end < 0 {
			return false
		}
		for ; first < limit; first++ { // digits before a header can't be told from those of its length
			if Looks(b[first:]) {
				return true
			}
		}
		at = end + len(crlf)
	}
}
