package tls

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls/suite"
)

// The content types of records (RFC 8446 §5.1).
const (
	typeChange    = 20
	typeAlert     = 21
	typeHandshake = 22
	typeData      = 23
	typeHeartbeat = 24
)

const (
	headerSize = 5
	// maxFragment is the largest fragment that a record may have (RFC 5246 §6.2.3).
	maxFragment = 1<<14 + 2048
	// maxHandshake is the longest handshake message that is put together: certificate chains are the longest.
	maxHandshake = 256 << 10
	// maxEarly is how many bytes of early data are kept until the server has said whether it takes them.
	maxEarly = 64 << 10
	// maxTries is how many record numbers are tried after a gap.
	maxTries = 512
	// maxTrials is how many numbers are tried in all until a record is found; then there are two more tries for each that may be one.
	maxTrials = 1 << 13
	// maxPassed is how many records of a direction are passed over that can't be opened, before the first that can.
	maxPassed = 256
	// keepCapacity is how much larger than a record the buffer may be that a direction keeps while it is empty.
	keepCapacity = 4 << 10
)

// epoch is which keys protect a direction in TLS 1.3.
type epoch uint8

const (
	epochEarly epoch = iota
	epochHandshake
	epochData
	numEpochs
)

// segment says where a segment begins within collected bytes.
type segment struct {
	at   int
	mark clock.Mark
}

const segmentSize = int(unsafe.Sizeof(segment{}))

// half is the state of one direction.
type half struct {
	// buf are the collected bytes of a record, or of the search for one, and segments where they come from.
	buf      []byte
	segments []segment
	// begun: something came.
	begun bool
	// skip is how many bytes of a record are still to come that nobody wants.
	skip int
	// searching: no border is known. missed is what has come since the last one, gaps included; vague: a gap of unknown length
	// is among it.
	searching bool
	missed    int64
	vague     bool

	// protected: the direction has changed keys (TLS 1.2 and before). opener opens its records, from number seq on; opened: it has
	// opened one.
	protected bool
	opener    suite.Opener
	seq       uint64
	opened    bool
	// padded: a record was longer than its plaintext needs (RFC 8446 §5.4), so the length of others doesn't tell theirs.
	padded bool
	epoch  epoch
	// finished: the direction's part of the handshake is over.
	finished bool

	// message collects handshake messages; messageAt marks its first byte, and blurred: bytes of one were lost.
	message   []byte
	messageAt clock.Mark
	blurred   bool

	// early is what came before the server has said whether it takes early data, records as they came.
	early     []byte
	earlyAt   []segment
	earlyLost bool

	// ahead: the epoch's keys are those of a later one, since its own aren't known. passed counts the records that weren't opened
	// and that nobody misses. trials is how many numbers were tried since a record was found.
	ahead  bool
	passed int
	trials int
	// ended is how the direction ended, once it has.
	ended struct {
		at  clock.Mark
		why proto.CloseReason
	}
	// headless: plaintext was lost before there was anybody to tell.
	headless bool
	// plain is how many bytes of plaintext came. borders are where the last records end, in both counts.
	plain   int64
	borders [16]border
	last    int
	many    bool
}

// border is where a record ends: in the half-stream, and in its plaintext.
type border struct{ sent, plain int64 }

// note notes the end of a record.
func (h *half) note(sent int64) {
	if h.last++; h.last == len(h.borders) {
		h.last, h.many = 0, true
	}
	h.borders[h.last] = border{sent, h.plain}
}

// plainAt returns how many bytes of plaintext the first bytes of the half-stream hold, of whole records; -1 when that isn't
// known any more.
func (h *half) plainAt(sent int64) int64 {
	if sent < 0 {
		return -1
	}
	for i := range h.borders {
		b := &h.borders[(h.last-i+len(h.borders))%len(h.borders)]
		if b.sent <= sent {
			return b.plain // the oldest ones are zero until they are used
		}
	}
	if h.many {
		return -1
	}
	return 0
}

// collect adds bytes to those collected.
func (h *half) collect(b []byte, at clock.Mark) {
	h.segments = append(h.segments, segment{len(h.buf), at})
	h.buf = append(h.buf, b...)
}

// drop forgets the first n collected bytes.
func (h *half) drop(n int) {
	h.buf = h.buf[:copy(h.buf, h.buf[n:])]
	k := 0
	for i := range h.segments {
		s := h.segments[i]
		end := len(h.buf)
		if i+1 < len(h.segments) {
			end = h.segments[i+1].at - n
		}
		if end <= 0 {
			continue
		}
		if s.at -= n; s.at < 0 {
			s.mark.Offset -= int64(s.at)
			s.at = 0
		}
		h.segments[k] = s
		k++
	}
	h.segments = h.segments[:k]
}

// empty forgets the collected bytes.
func (h *half) empty() {
	h.buf, h.segments = h.buf[:0], h.segments[:0]
}

// size returns what the direction's buffers take, in bytes.
func (h *half) size() int {
	return cap(h.buf) + cap(h.message) + cap(h.early) + (cap(h.segments)+cap(h.earlyAt))*segmentSize
}

// release lets go of all memory.
func (h *half) release() {
	h.buf, h.segments, h.message, h.early, h.earlyAt = nil, nil, nil, nil, nil
}

// isRecord reports whether a byte is the type of a record.
func isRecord(b byte) bool { return typeChange <= b && b <= typeHeartbeat }

// fragment returns the length of the fragment behind a record's header, false if it is none.
func fragment(b []byte) (int, bool) {
	if !isRecord(b[0]) || b[1] != 3 || b[2] > 4 {
		return 0, false
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	return n, n <= maxFragment
}

// records takes bytes of a direction.
func (p *Parser) records(d proto.Direction, b []byte, at clock.Mark) {
	h := &p.half[d]
	h.begun = true
	for len(b) > 0 {
		switch {
		case p.mode == waiting:
			p.keep(event{kind: data, d: d, at: at, n: int64(len(b))}, b)
			return
		case p.mode == sated:
			return
		}
		var n int
		switch {
		case h.skip > 0:
			n = min(len(b), h.skip)
			h.skip -= n
		case h.searching:
			n = len(b)
			p.search(d, b, at)
		default:
			n = p.take(d, b, at)
		}
		b = b[n:]
		at.Offset += int64(n)
	}
}

// take takes bytes at a border or within a record. It returns how many.
func (p *Parser) take(d proto.Direction, b []byte, at clock.Mark) int {
	h := &p.half[d]
	head := b
	if len(h.buf) > 0 || len(b) < headerSize {
		if need := headerSize - len(h.buf); need > 0 {
			n := min(need, len(b))
			h.collect(b[:n], at)
			if n < need {
				return n
			}
			if !p.begin(d, h.buf, at) {
				h.empty()
			}
			return n
		}
		head = h.buf
	} else if !p.begin(d, b, at) {
		return min(headerSize, len(b))
	}
	if h.searching {
		return 0
	}
	size, _ := fragment(head)
	size += headerSize
	if len(h.buf) == 0 && len(b) >= size {
		one := [1]segment{{0, at}}
		p.record(d, b[:size], one[:])
		return size
	}
	n := min(size-len(h.buf), len(b))
	h.collect(b[:n], at)
	if len(h.buf) == size {
		buf, segments := h.buf, h.segments
		h.buf, h.segments = nil, nil
		p.record(d, buf, segments)
		if cap(buf) <= maxFragment+headerSize+keepCapacity && h.buf == nil && !p.closed[d] {
			h.buf, h.segments = buf[:0], segments[:0]
		}
	}
	return n
}

// begin looks at the header of a record. It reports whether the record is to be collected; if not, it is passed over, or the
// bytes are no record at all and the search has begun.
func (p *Parser) begin(d proto.Direction, head []byte, at clock.Mark) bool {
	h := &p.half[d]
	size, ok := fragment(head)
	if !ok {
		p.astray(d, at)
		return false
	}
	if p.mode == blind && p.protects(d, head[0]) {
		p.unread(d, head[0], size, at)
		h.skip = size
		return false
	}
	return true
}

// astray begins the search for a record: what is there is none.
func (p *Parser) astray(d proto.Direction, at clock.Mark) {
	h := &p.half[d]
	h.searching = true
	if h.opener == nil && p.mode == following {
		p.blind("bytes that aren't TLS")
		p.facts.Established = true // nothing more is found out
		p.tell()
	}
}

// hole takes a gap.
func (p *Parser) hole(d proto.Direction, n int64, at clock.Mark) {
	h := &p.half[d]
	h.blur()
	switch {
	case n == proto.Unknown:
		h.vague, n = true, 0
	case int64(h.skip) >= n:
		h.skip -= int(n)
		return
	default:
		n -= int64(h.skip)
	}
	h.skip = 0
	if !h.searching && !h.vague && len(h.buf) >= headerSize {
		size, _ := fragment(h.buf)
		if rest := int64(headerSize + size - len(h.buf)); n <= rest {
			h.skip = int(rest - n)
			typ := h.buf[0]
			h.empty()
			p.lostRecord(d, typ, size, nil, at)
			return
		}
	}
	h.missed += int64(len(h.buf)) + n
	h.empty()
	h.searching = true
	if p.mode == following && h.opener == nil && p.version == 0 {
		p.blind("bytes of the handshake weren't captured")
		p.facts.Established = true
		p.tell()
	}
}

// blur forgets a handshake message of which bytes are missing.
func (h *half) blur() {
	if len(h.message) > 0 {
		h.blurred = true
	}
	h.message = nil
}

// lostRecord passes over a record that can't be read, whose length is known. frag is nil when not all of it is.
func (p *Parser) lostRecord(d proto.Direction, typ byte, size int, frag []byte, at clock.Mark) {
	h := &p.half[d]
	if !p.protects(d, typ) || h.opener == nil {
		return
	}
	h.seq++
	h.opener.Pass(frag)
	p.lostRecords(1)
	if p.version < tls13 && typ != typeData {
		return
	}
	p.lost(d, p.size(h, size), at)
}

// lostRecords counts records that couldn't be read, and tells of it: of the first ones at once, then now and then.
func (p *Parser) lostRecords(n int) {
	const atOnce = 64
	before := p.facts.LostRecords
	p.facts.LostRecords += n
	p.engine.Counters.LostRecords += uint64(n)
	if n > 0 && (before < atOnce || before/atOnce != p.facts.LostRecords/atOnce) {
		p.tell()
	}
}

// size returns how much plaintext a fragment of that length holds, proto.Unknown when that can't be told.
func (p *Parser) size(h *half, fragment int) int64 {
	n, exact := h.opener.Plain(fragment)
	if exact || p.version >= tls13 && !h.padded {
		return int64(n)
	}
	return proto.Unknown
}

// lost tells of plaintext that is missing.
func (p *Parser) lost(d proto.Direction, n int64, at clock.Mark) {
	h := &p.half[d]
	h.blur()
	if n == 0 {
		return
	}
	if p.inner == nil {
		h.headless = true
		return
	}
	at.Offset, at.Peer = h.plain, -1
	p.inner.Gap(d, n, at)
	h.plain += max(n, 0)
}

// flushLost tells of what was missed to the end.
func (p *Parser) flushLost(d proto.Direction, at clock.Mark) {
	if h := &p.half[d]; h.searching && h.missed > 0 && p.inner != nil {
		h.missed = 0
		p.lost(d, proto.Unknown, at)
	}
}

// search looks for a record among bytes of which none is known to be a border.
func (p *Parser) search(d proto.Direction, b []byte, at clock.Mark) {
	h := &p.half[d]
	if p.mode != following || p.suite == nil {
		h.missed += int64(len(b))
		return
	}
	h.collect(b, at)
	if !p.keyed(d) {
		if p.mayCome() {
			buf, segments := h.buf, h.segments
			h.buf, h.segments = nil, nil
			p.await(d, buf, segments)
			return
		}
		if p.version >= tls13 || h.protected {
			p.blind(p.noKey())
			h.empty()
			p.tell()
			return
		}
	}
	for len(h.buf) > 0 && h.searching && p.mode == following {
		i := plausible(h.buf, p.version)
		h.missed += int64(i)
		h.drop(i)
		if len(h.buf) < headerSize {
			return
		}
		size, _ := fragment(h.buf)
		size += headerSize
		if len(h.buf) < size {
			return
		}
		next := h.buf[size:]
		if len(next) >= headerSize && plausible(next[:headerSize], p.version) != 0 {
			h.missed++
			h.drop(1)
			continue
		}
		if p.version < tls13 && !h.protected && (h.buf[0] == typeChange || h.buf[0] == typeHandshake) {
			h.searching, h.missed, h.vague = false, 0, false // the handshake goes on in plain sight
			break
		}
		if !p.found(d, size) {
			// A record without its number: the ciphers that need the one before it can read the next.
			step := 1
			if len(next) >= headerSize {
				step = size
				if h.opener != nil {
					h.opener.Pass(h.buf[headerSize:size])
				}
			}
			h.missed += int64(step)
			h.drop(step)
			continue
		}
	}
	if h.searching || len(h.buf) == 0 || p.mode == waiting {
		return
	}
	// The rest is in step again.
	buf, segments := h.buf, h.segments
	h.buf, h.segments = nil, nil
	for i, s := range segments {
		end := len(buf)
		if i+1 < len(segments) {
			end = segments[i+1].at
		}
		p.records(d, buf[s.at:end], s.mark)
	}
}

// plausible returns where the first bytes are that may be a record's header of that version, or of which too few are there to
// say no.
func plausible(b []byte, version uint16) int {
	v := byte(version)
	if version >= tls13 {
		v = 3 // RFC 8446 §5.1
	}
	for i := range b {
		if !isRecord(b[i]) {
			if version >= tls13 { // only data is protected
				if j := bytes.IndexByte(b[i:], typeData); j < 0 {
					return len(b)
				}
			}
			continue
		}
		c := b[i:]
		if len(c) > 1 && c[1] != 3 || len(c) > 2 && c[2] != v {
			continue
		}
		if len(c) >= headerSize {
			if n, ok := fragment(c); !ok || n == 0 {
				continue
			}
		}
		return i
	}
	return len(b)
}

// found tries to open the record that was collected, with the numbers that it may have. It reports whether it is one; then
// the search is over, and the record is behind it.
func (p *Parser) found(d proto.Direction, size int) bool {
	h := &p.half[d]
	typ, version, frag := h.buf[0], binary.BigEndian.Uint16(h.buf[1:]), h.buf[headerSize:size]
	if !p.protects(d, typ) && typ != typeData {
		return false
	}
	buf := p.engine.buffer()
	defer func() { p.engine.release(buf) }()
	before := h.epoch
	plain, typ, skipped, ok := p.trial(d, buf, typ, version, frag, h.segments[0].mark.Time)
	if !ok {
		return false
	}
	buf = plain
	n := int64(proto.Unknown)
	// What came before all data may have been tickets.
	if size := p.size(h, len(frag)); size != proto.Unknown && !h.vague && h.epoch == before && h.plain > 0 {
		n = max(h.missed-int64(skipped)*int64(headerSize+len(frag)-int(size)), 0)
	}
	p.lostRecords(skipped)
	h.searching, h.missed, h.vague = false, 0, false
	if skipped > 0 || n == proto.Unknown {
		p.lost(d, n, h.segments[0].mark)
	}
	segments := h.segments
	end := 1
	for end < len(segments) && segments[end].at < size {
		end++
	}
	rec, marks := append([]byte(nil), h.buf[:size]...), append([]segment(nil), segments[:end]...)
	h.drop(size)
	p.opened(d, typ, plain, rec, marks)
	s := &marks[len(marks)-1]
	h.note(s.mark.Offset + int64(len(rec)-s.at))
	return true
}

// trial tries the keys and numbers that a record after a gap may have. It returns how many records were skipped.
func (p *Parser) trial(d proto.Direction, dst []byte, typ byte, version uint16, frag []byte, at int64) (plain []byte, is byte, skipped int, ok bool) {
	h := &p.half[d]
	tries := int(min(h.missed/(headerSize+8)+2, maxTries))
	if h.vague {
		tries = maxTries
	}
	if h.trials > maxTrials {
		tries = min(tries, 2)
	}
	least := int(h.missed / (headerSize + maxFragment))
	try := func(o suite.Opener, from uint64) bool {
		for k := least; k < least+tries; k++ {
			var err error
			h.trials++
			if plain, is, err = o.Open(dst, from+uint64(k), typ, version, frag); err == nil {
				h.opener, h.seq, h.opened, skipped = o, from+uint64(k)+1, true, k
				h.trials = 0
				return true
			}
		}
		return false
	}
	if h.opener != nil && try(h.opener, h.seq) {
		return plain, is, skipped, true
	}
	if p.version < tls13 {
		// The change of keys may be in the hole.
		if o := p.next[d]; o != nil && try(o, 0) {
			h.protected, h.finished, p.next[d] = true, true, nil
			p.established(at)
			return plain, is, skipped, true
		}
		return nil, 0, 0, false
	}
	least, tries = 0, min(tries, 64)
	for e := h.epoch + 1; e < numEpochs; e++ {
		if o := p.opener13(d, e); o != nil && try(o, 0) {
			h.epoch = e
			h.finished = h.finished || e == epochData
			p.established(at)
			return plain, is, skipped, true
		}
	}
	if secret := p.secrets[d][epochData]; h.epoch == epochData && secret != nil {
		next := p.suite.Next(secret)
		if o, err := p.suite.TLS13(next); err == nil && try(o, 0) {
			p.secrets[d][epochData] = next
			return plain, is, skipped, true
		}
	}
	return nil, 0, 0, false
}
