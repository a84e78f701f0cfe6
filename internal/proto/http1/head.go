package http1

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/culprit-http/culprit/internal/proto"
)

// isToken tells the characters of methods and field names (RFC 9110 §5.6.2).
var isToken = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// parseHead fills m from the head that b begins with: a start line and fields up to an empty line. It
// returns what decides the body's end, and where the head ends, -1 when the empty line isn't in b. Raw and
// the spans of m point into b afterwards.
func parseHead(m *proto.Message, b []byte, maxFields int) (f framing, end int) {
	m.Raw = b
	f.length = -1
	stop, next := lineEnd(b, 0)
	if m.Kind == proto.Request {
		requestLine(m, stop)
	} else {
		statusLine(m, stop)
	}
	end, lines := parseFields(m, next, maxFields, &f)
	if end >= 0 {
		m.Raw = b[:end]
	}
	if m.Kind == proto.Request && f.hosts == 0 && m.Version == 0x0101 {
		m.Anomalies.Set(proto.MissingHost)
	}
	if f.hosts > 1 {
		m.Anomalies.Set(proto.DuplicateHost)
	}
	if countControls(m.Raw) != 2*(lines+1) {
		oddities(m, m.Raw)
	}
	return f, end
}

func span(from, to int) proto.Span { return proto.Span{Off: uint32(from), Len: uint32(to - from)} }

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isSpace tells what lenient clients take for white space in a status line.
func isSpace(c byte) bool { return isBlank(c) || c == '\v' || c == '\f' }

// requestLine reads "method SP target SP version", and what comes close to it.
func requestLine(m *proto.Message, end int) {
	b := m.Raw[:end]
	i := 0
	for i < end && !isBlank(b[i]) {
		i++
	}
	m.Method = span(0, i)
	gap := i
	for i < end && isBlank(b[i]) {
		i++
	}
	stop := end
	for stop > i && isBlank(b[stop-1]) {
		stop--
	}
	target, version := i, stop
	for version > target && !isBlank(b[version-1]) {
		version--
	}
	if version > target && bytes.HasPrefix(b[version:stop], httpSlash) {
		m.Proto = span(version, stop)
		m.Version = parseVersion(b[version:stop])
		stop = version
		for stop > target && isBlank(b[stop-1]) {
			stop--
		}
		if m.Version == 0 {
			m.Anomalies.Set(proto.BadVersion)
		}
		if i-gap != 1 || version-stop != 1 {
			m.Anomalies.Set(proto.BadStartLine)
		}
	} else if target < stop {
		m.Version = 0x0009
		m.Anomalies.Set(proto.HTTP09)
	} else {
		m.Anomalies.Set(proto.BadStartLine)
	}
	m.Target = span(target, stop)
	for _, c := range b[target:stop] {
		switch {
		case isBlank(c):
			m.Anomalies.Set(proto.SpacesInTarget)
		case c < 0x21 || c > 0x7e:
			m.Anomalies.Set(proto.ControlInTarget)
		}
	}
}

var httpSlash = []byte("HTTP/")

// parseVersion reads "HTTP/1.1"; 0 when it is malformed.
func parseVersion(b []byte) uint16 {
	if len(b) == 8 && b[4] == '/' && b[6] == '.' && b[5]-'0' <= 9 && b[7]-'0' <= 9 {
		return uint16(b[5]-'0')<<8 | uint16(b[7]-'0')
	}
	return 0
}

// isSimpleRequest reports whether a whole line is an HTTP/0.9 request: a method and a target, and no
// version (RFC 1945 §4.1).
func isSimpleRequest(line []byte) bool {
	line = bytes.TrimRight(line, " \t\r\n")
	v := bytes.LastIndexByte(line, ' ') + 1
	return v > 0 && !bytes.HasPrefix(line[v:], httpSlash)
}

// statusLine reads "version SP status SP reason".
func statusLine(m *proto.Message, end int) {
	b := m.Raw[:end]
	i := 0
	for i < end && !isSpace(b[i]) {
		i++
	}
	m.Proto = span(0, i)
	if m.Version = parseVersion(b[:i]); m.Version == 0 || !bytes.HasPrefix(b, httpSlash) {
		m.Anomalies.Set(proto.BadVersion)
	}
	blanks := i
	for i < end && isSpace(b[i]) {
		i++
	}
	if i-blanks > 1 {
		m.Anomalies.Set(proto.BadStartLine)
	}
	digits := i
	for i < end && b[i]-'0' <= 9 && i-digits < 9 {
		m.Status = m.Status*10 + int(b[i]-'0')
		i++
	}
	if i-digits != 3 || i < end && !isBlank(b[i]) {
		m.Anomalies.Set(proto.BadStatus)
	}
	for i < end && isSpace(b[i]) {
		i++
	}
	m.Reason = span(i, end)
}

// parseFields reads the field lines of m.Raw from an offset on. f may be nil: then nothing in them
// decides how the body ends. It returns the offset behind the empty line, -1 when there is none, and the
// number of lines.
func parseFields(m *proto.Message, from, maxFields int, f *framing) (after, lines int) {
	b := m.Raw
	m.Fields = m.Fields[:0]
	for from < len(b) {
		// The common case first: a name that is a token, and its colon.
		colon := tokenEnd(b, from)
		end, next := lineEnd(b, colon)
		lines++
		name, value := colon, colon+1
		if colon == len(b) || b[colon] != ':' || colon == from {
			if end, next = lineEnd(b, from); end == from && b[next-1] == '\n' {
				return next, lines // the empty line
			}
			i := bytes.IndexByte(b[from:end], ':')
			if i < 0 || isBlank(b[from]) {
				if isBlank(b[from]) {
					m.Anomalies.Set(proto.ObsFold) // there is nothing to continue
				}
				m.Anomalies.Set(proto.FieldWithoutColon)
				from = next
				continue
			}
			name, value = from+i, from+i+1
			if name > from && isBlank(b[name-1]) {
				m.Anomalies.Set(proto.SpaceBeforeColon)
				for name > from && isBlank(b[name-1]) {
					name--
				}
			}
			if !areTokens(b[from:name]) {
				m.Anomalies.Set(proto.BadFieldName)
			}
		}
		var flags proto.FieldFlags
		for next < len(b) && isBlank(b[next]) {
			// The value goes on over the next line (RFC 9112 §5.2).
			m.Anomalies.Set(proto.ObsFold)
			flags = proto.Folded
			lines++
			end, next = lineEnd(b, next)
		}
		for value < end && isBlankOrEOL(b[value]) {
			value++
		}
		for end > value && isBlankOrEOL(b[end-1]) {
			end--
		}
		if len(m.Fields) == maxFields {
			m.Anomalies.Set(proto.TooManyFields)
		} else {
			m.Fields = append(m.Fields, proto.Field{Name: span(from, name), Value: span(value, end), Flags: flags})
		}
		if f != nil {
			f.field(m, b[from:name], b[value:end])
		}
		from = next
	}
	return -1, lines
}

// tokenEnd returns where the token at from ends. It passes letters and hyphens, which most names are made of,
// eight at a time.
func tokenEnd(b []byte, from int) int {
	const ones, low7, high = 0x0101010101010101, 0x7f7f7f7f7f7f7f7f, 0x8080808080808080
	for len(b)-from >= 8 {
		w := binary.LittleEndian.Uint64(b[from:])
		lower := (w | 0x20*ones) & low7
		letter := (lower + (0x80-'a')*ones) &^ (lower + (0x7f-'z')*ones) &^ w
		h := w ^ '-'*ones
		hyphen := ^(h&low7 + low7 | h)
		if odd := ^(letter | hyphen) & high; odd != 0 {
			from += bits.TrailingZeros64(odd) / 8
			break
		}
		from += 8
	}
	for from < len(b) && isToken[b[from]] {
		from++
	}
	return from
}

// lineEnd returns where the line at from ends, and where the next one begins.
func lineEnd(b []byte, from int) (end, next int) {
	n := bytes.IndexByte(b[from:], '\n')
	if n < 0 {
		return len(b), len(b)
	}
	end = from + n
	next = end + 1
	if n > 0 && b[end-1] == '\r' {
		end--
	}
	return end, next
}

func isBlankOrEOL(c byte) bool { return isBlank(c) || c == '\r' || c == '\n' }

// areTokens reports whether b is a token.
func areTokens(b []byte) bool {
	for _, c := range b {
		if !isToken[c] {
			return false
		}
	}
	return len(b) > 0
}

// countControls counts the control characters of b, tabs and line ends included: a head without oddities
// has two for each line.
//
// It looks at eight bytes at a time. A byte is a control character when its low seven bits plus 0x60 don't
// reach its high bit, and that bit isn't set anyway. The findings are added up in eight lanes of a byte.
func countControls(b []byte) (controls int) {
	const low7, ones = 0x7f7f7f7f7f7f7f7f, 0x0101010101010101
	for len(b) >= 8 {
		lanes := uint64(0)
		part := b[:min(len(b)&^7, 255*8)]
		b = b[len(part):]
		for ; len(part) >= 8; part = part[8:] {
			w := binary.LittleEndian.Uint64(part)
			t := (w&low7 + 0x6060606060606060) | w
			lanes += ^t >> 7 & ones
		}
		// Pairs of lanes first: the sum of eight may exceed a byte.
		lanes = lanes&0x00ff00ff00ff00ff + lanes>>8&0x00ff00ff00ff00ff
		controls += int(lanes * 0x0001000100010001 >> 48)
	}
	for _, c := range b {
		if c < 0x20 {
			controls++
		}
	}
	return controls
}

// oddities finds what countControls noticed.
func oddities(m *proto.Message, head []byte) {
	for i, c := range head {
		switch {
		case c == '\n':
			if i == 0 || head[i-1] != '\r' {
				m.Anomalies.Set(proto.LineEndLF)
			}
		case c == '\r' && i+1 < len(head) && head[i+1] == '\n', c == '\t':
		case c < 0x20:
			m.Anomalies.Set(proto.ControlInField)
		}
	}
}
