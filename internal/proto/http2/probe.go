package http2

import (
	"strings"

	"github.com/culprit-http/culprit/internal/proto"
)

// Probe implements proto.Protocol: a client begins with the preface, a server with SETTINGS.
func Probe(b []byte) (proto.Match, proto.Role) {
	switch n := min(len(b), len(preface)); {
	case n == 0:
		return proto.NeedMore, proto.AnyRole
	case n == len(preface) && string(b[:n]) == preface:
		return proto.Yes, proto.Client
	case strings.HasPrefix(preface, string(b[:n])):
		return proto.NeedMore, proto.Client
	}
	return firstSettings(b), proto.Server
}

// maxFirst is the longest SETTINGS that a server is expected to begin with.
const maxFirst = 6 * 32

// firstSettings says whether b begins with a SETTINGS frame such as a server sends first.
func firstSettings(b []byte) proto.Match {
	// The header: two bytes of length that are 0, the rest of it, the type, no flag, and stream 0.
	for i, c := range [frameHeader]byte{3: byte(settings)} {
		switch {
		case i == len(b):
			return proto.NeedMore
		case i != 2 && b[i] != c:
			return proto.No
		}
	}
	f := parseFrame(b)
	if f.length%6 != 0 || f.length > maxFirst {
		return proto.No
	}
	for at := frameHeader; at < frameHeader+f.length; at += 6 {
		if len(b) < at+2 {
			return proto.NeedMore
		}
		if !plausibleSetting(b[at], b[at+1]) {
			return proto.No
		}
	}
	return proto.Yes
}

// plausibleSetting tells the numbers of settings that are registered, or reserved to be unknown.
func plausibleSetting(hi, lo byte) bool {
	return hi == 0 && lo >= 1 && lo <= 0x10 || hi&0x0f == 0x0a && lo&0x0f == 0x0a || hi >= 0xf0
}

// Resume implements proto.Protocol: it looks at the start of a segment in the middle of a stream, and says Yes to frames
// that follow each other up to the segment's end, at least one of which holds what only such a frame holds, and one tells who
// sends them. So it does to a preface.
func Resume(b []byte) (proto.Match, proto.Role) {
	if hasPreface(b) {
		return proto.Yes, proto.Client
	}
	m, role := convince(b)
	if role == proto.AnyRole {
		return proto.No, role
	}
	return m, role
}

func hasPreface(b []byte) bool { return len(b) >= len(preface) && string(b[:len(preface)]) == preface }

// convince is Resume, but for frames of which it can't be told who sends them.
func convince(b []byte) (proto.Match, proto.Role) {
	frames, telling, role := 0, false, proto.AnyRole
	for len(b) >= frameHeader {
		f := parseFrame(b)
		if !f.plausible() {
			return proto.No, proto.AnyRole
		}
		payload := b[frameHeader:min(len(b), frameHeader+f.length)]
		told, by := f.tells(payload)
		if told {
			telling = true
		}
		if by != proto.AnyRole {
			role = by
		}
		frames++
		if frameHeader+f.length > len(b) {
			b = nil
			if frames == 1 {
				return proto.No, proto.AnyRole // it says nothing of the next one
			}
			break
		}
		b = b[frameHeader+f.length:]
	}
	if frames == 0 || !telling {
		return proto.No, proto.AnyRole
	}
	return proto.Yes, role
}

// plausible reports whether a frame's header is one that is really sent.
func (f *frame) plausible() bool {
	if f.kind >= kind(len(rules)) || !rules[f.kind].defined || f.reserved || f.flags&^rules[f.kind].flags != 0 || !f.allowed() {
		return false
	}
	if f.kind == data {
		return f.length > 0 || f.has(endStream)
	}
	return true
}

// tells reports whether the payload holds what only such a frame holds, and whose it is.
func (f *frame) tells(b []byte) (bool, proto.Role) {
	switch f.kind {
	case headers, pushPromise:
		block, ok := f.strip(b)
		if !ok || len(block) == 0 {
			return false, proto.AnyRole
		}
		which, sure := firstField(block[0])
		if f.kind == pushPromise {
			return sure && which == proto.Client, proto.Server
		}
		return sure, which
	case settings:
		if f.has(ack) {
			return f.length == 0, proto.AnyRole
		}
		for ; len(b) >= 6; b = b[6:] {
			if !plausibleSetting(b[0], b[1]) {
				return false, proto.AnyRole
			}
		}
		return f.length > 0, proto.AnyRole
	case ping:
		return true, proto.AnyRole
	case windowUpdate:
		return len(b) == 4 && be32(b) > 0 && be32(b) <= maxStream, proto.AnyRole
	case rstStream:
		return len(b) == 4 && be32(b) < uint32(len(errorNames)), proto.AnyRole
	case goAway:
		return len(b) >= 8 && be32(b[4:]) < uint32(len(errorNames)), proto.AnyRole
	}
	return false, proto.AnyRole
}

// firstField says who sends a header block that begins with that byte: a field of the static table whose name begins with
// a colon.
func firstField(c byte) (proto.Role, bool) {
	i := c & 0x7f // indexed
	switch {
	case c&indexed != 0:
	case c&literal != 0:
		i = c & 0x3f
	case c&sizeUpdate != 0:
		return proto.AnyRole, false
	default:
		i = c & 0x0f
	}
	switch {
	case i >= 1 && i <= 7:
		return proto.Client, true
	case i >= 8 && i <= 14:
		return proto.Server, true
	}
	return proto.AnyRole, false
}

// maxAhead is how far the number of a new stream may be ahead of those that were seen, when a direction is found again.
const maxAhead = 500

// begins reports whether a segment of a direction that was lost surely begins with a frame, and those that follow are such as
// may come: the first is of a stream that is followed, or opens a new one, or is of the connection, or of a stream that was seen, or a request, where frames end with the segment.
// Otherwise it must convince those who know nothing of the connection.
func (p *Parser) begins(s *side, b []byte) bool {
	if len(b) < frameHeader {
		return false
	}
	if s.dir == p.client && p.opened[p.client].highest <= 1 && hasPreface(b) {
		// The beginning after all: what was lost, or was there before, was another protocol's.
		p.forget(s)
		s.table.reset()
		s.state = statePreface
		return true
	}
	first := parseFrame(b)
	frames, known, exact := 0, true, false
	for rest := b; known && len(rest) >= frameHeader; frames++ {
		f := parseFrame(rest)
		known = p.expected(s, &f)
		exact = len(rest) == frameHeader+f.length
		rest = rest[min(len(rest), frameHeader+f.length):]
	}
	if known {
		// A request that fills its segment opens a stream, whatever its fields begin with.
		opens := first.kind == headers && s.dir == p.client && p.opener(first.stream) == p.client
		if exact && first.stream > 0 && (opens || first.stream <= p.opened[p.opener(first.stream)].highest) {
			return true
		}
		told, role := first.tells(b[frameHeader:min(len(b), frameHeader+first.length)])
		told = told && (role == proto.AnyRole || (role == proto.Client) == (s.dir == p.client))
		switch first.kind {
		case data:
			if p.streams[first.stream] != nil {
				return true
			}
		case headers, pushPromise:
			if told || frames > 1 && p.streams[first.stream] != nil {
				return true
			}
		default:
			if told && (first.stream == 0 || p.streams[first.stream] != nil) {
				return true
			}
		}
	}
	m, role := convince(b)
	return m == proto.Yes && (role == proto.AnyRole || (role == proto.Client) == (s.dir == p.client))
}

// expected reports whether a frame is one that may come.
func (p *Parser) expected(s *side, f *frame) bool {
	if !f.plausible() || f.length > s.usual {
		return false
	}
	highest := p.opened[p.opener(f.stream)].highest
	return f.stream <= highest || f.stream-highest <= maxAhead && !p.resumed
}
