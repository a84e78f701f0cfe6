package fastcgi

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/cgi"
)

// Probe implements proto.Protocol: a web server begins with BEGIN_REQUEST, or asks for values first.
func Probe(b []byte) (proto.Match, proto.Role) {
	if len(b) == 0 {
		return proto.NeedMore, proto.AnyRole
	}
	if len(b) < recordHeader {
		if b[0] == version && (len(b) < 2 || kind(b[1]) == beginRequest || kind(b[1]) == getValues) {
			return proto.NeedMore, proto.Client
		}
		return proto.No, proto.AnyRole
	}
	r := parseRecord(b)
	switch {
	case !r.plausible(proto.Client):
	case r.kind == beginRequest:
		return begins(b)
	case r.kind == getValues && len(b) >= r.size():
		for values := b[recordHeader : recordHeader+r.length]; len(values) > 0; {
			name, value, rest, ok := nameValue(values)
			if !ok || len(value) > 0 || len(name) < 4 || string(name[:4]) != "FCGI" {
				return proto.No, proto.AnyRole
			}
			values = rest
		}
		if r.length > 0 {
			return proto.Yes, proto.Client
		}
	case r.kind == getValues:
		return proto.NeedMore, proto.Client
	}
	return proto.No, proto.AnyRole
}

// begins says whether b, which has the header of a BEGIN_REQUEST, goes on as one: a role, flags, and five bytes of 0.
func begins(b []byte) (proto.Match, proto.Role) {
	for i, c := range b[recordHeader:min(len(b), recordHeader+bodySize)] {
		switch {
		case i == 1 && (c == 0 || c > byte(filter)), i == 2 && c > 1, i != 1 && i != 2 && c != 0:
			return proto.No, proto.AnyRole
		}
	}
	if len(b) < recordHeader+bodySize {
		return proto.NeedMore, proto.Client
	}
	return proto.Yes, proto.Client
}

// Resume implements proto.Protocol: it says Yes to a segment that begins with BEGIN_REQUEST, or with STDOUT that begins the head of a
// response, followed by other records as far as it can be seen.
func Resume(b []byte) (proto.Match, proto.Role) {
	if len(b) < recordHeader+bodySize {
		return proto.No, proto.AnyRole
	}
	r := parseRecord(b)
	switch {
	case r.plausible(proto.Client) && r.kind == beginRequest:
		if m, _ := begins(b); m == proto.Yes && chain(b, proto.Client) {
			return proto.Yes, proto.Client
		}
	case r.plausible(proto.Server) && r.kind == stdout:
		if cgi.Begins(b[recordHeader:min(len(b), recordHeader+r.length)]) == proto.Yes && chain(b, proto.Server) {
			return proto.Yes, proto.Server
		}
	}
	return proto.No, proto.AnyRole
}

// chain reports whether b is made of records that one of that role sends, the last of which may be longer.
func chain(b []byte, by proto.Role) bool {
	for len(b) >= recordHeader {
		r := parseRecord(b)
		if !r.plausible(by) {
			return false
		}
		b = b[min(len(b), r.size()):]
	}
	return true
}

// find returns where in a segment of a direction that was lost a record surely begins, -1 when none does: at the segment's begin one of a
// request that is followed, or one that convinces those who know nothing of the connection; further in, since records are longer than
// segments, one of a request that is followed, with the next one behind it.
func (p *Parser) find(s *side, b []byte) int {
	if len(b) < recordHeader {
		return -1
	}
	if m, by := Resume(b); m == proto.Yes && by == s.role || p.follows(s, b) && chain(b, s.role) {
		return 0
	}
	for i := 0; ; i++ {
		n := bytes.IndexByte(b[i:], version)
		if n < 0 || len(b)-i-n < 2*recordHeader {
			return -1
		}
		i += n
		r := parseRecord(b[i:])
		if next := b[i:]; p.follows(s, next) && r.size() <= len(next)-recordHeader && p.follows(s, next[r.size():]) && chain(next, s.role) {
			return i
		}
	}
}

// follows reports whether b begins with a record of a request that is followed.
func (p *Parser) follows(s *side, b []byte) bool {
	r := parseRecord(b)
	return r.plausible(s.role) && p.streams[r.id] != nil
}
