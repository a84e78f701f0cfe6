package http1

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/proto"
)

// methods are those registered with IANA, and those seen in the wild, for recognition only: where a
// request is expected, any token is a method.
var methods = []string{
	"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE",
	"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "ACL",
	"MKCALENDAR", "MKWORKSPACE", "MKACTIVITY", "BASELINE-CONTROL", "CHECKIN", "CHECKOUT", "UNCHECKOUT",
	"VERSION-CONTROL", "LABEL", "MERGE", "UPDATE", "ORDERPATCH", "BIND", "UNBIND", "REBIND", "LINK",
	"UNLINK", "MKREDIRECTREF", "UPDATEREDIRECTREF", "QUERY", "PURGE", "BAN", "SUBSCRIBE", "UNSUBSCRIBE",
	"NOTIFY", "M-SEARCH", "BCOPY", "BMOVE", "BDELETE", "BPROPFIND", "BPROPPATCH", "POLL", "RPC_IN_DATA",
	"RPC_OUT_DATA", "CCM_POST", "SOURCE", "DESCRIBE",
}

// foreign are the endings of start lines that look like HTTP and are another protocol.
var foreign = []string{" RTSP/1.0", " RTSP/2.0", " SIP/2.0", " HTTP/2.0"}

// maxProbe is how far a request line is followed before its method alone decides.
const maxProbe = 1024

// Probe implements proto.Protocol: it looks at the first bytes of a half-stream.
func Probe(b []byte) (proto.Match, proto.Role) {
	b = bytes.TrimLeft(b, "\r\n")
	if len(b) == 0 {
		return proto.NeedMore, proto.AnyRole
	}
	if m := beginsHTTP(b); m != proto.No {
		return m, proto.Server
	}
	i := 0
	for i < len(b) && isToken[b[i]] {
		i++
	}
	switch {
	case i > 32:
		return proto.No, proto.AnyRole
	case i == len(b):
		return proto.NeedMore, proto.Client
	case i == 0 || b[i] != ' ':
		return proto.No, proto.AnyRole
	}
	line := b
	end := bytes.IndexByte(b, '\n')
	if end >= 0 {
		line = bytes.TrimRight(b[:end], "\r \t")
		for _, f := range foreign {
			if bytes.HasSuffix(line, []byte(f)) {
				return proto.No, proto.AnyRole
			}
		}
		if v := bytes.LastIndexByte(line, ' '); v > i && bytes.HasPrefix(line[v+1:], httpSlash) {
			return proto.Yes, proto.Client
		}
	}
	switch known := isMethod(b[:i]) && plausibleTarget(bytes.TrimLeft(line[i:], " ")); {
	case end < 0 && len(b) < maxProbe:
		return proto.NeedMore, proto.Client
	case known:
		return proto.Yes, proto.Client // HTTP/0.9, a malformed version, or a long line
	}
	return proto.No, proto.AnyRole
}

// plausibleTarget reports whether what follows a method may be a request target.
func plausibleTarget(b []byte) bool {
	return len(b) > 0 && (b[0] == '/' || b[0] == '*' || bytes.HasPrefix(b, []byte("http")))
}

// Resume implements proto.Protocol: it looks at the start of a segment in the middle of a stream, and
// says Yes only to a whole start line with a version and, since a gap may
// have cut the beginning of another, a method that is known.
func Resume(b []byte) (proto.Match, proto.Role) {
	if len(b) < 12 {
		return proto.No, proto.AnyRole
	}
	if beginsHTTP(b) == proto.Yes {
		if b[5] == '1' && b[6] == '.' && b[7]-'0' <= 1 && b[8] == ' ' &&
			b[9]-'1' <= 4 && b[10]-'0' <= 9 && b[11]-'0' <= 9 {
			return proto.Yes, proto.Server
		}
		return proto.No, proto.AnyRole
	}
	i := 0
	for i < len(b) && i <= 32 && isToken[b[i]] {
		i++
	}
	if i == len(b) || b[i] != ' ' || !isMethod(b[:i]) {
		return proto.No, proto.AnyRole
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		// A request line that fills the segment.
		if len(b) >= maxProbe && plausibleTarget(b[i+1:]) {
			return proto.Yes, proto.Client
		}
		return proto.No, proto.AnyRole
	}
	line := bytes.TrimRight(b[:end], "\r \t")
	v := bytes.LastIndexByte(line, ' ')
	if v > i && len(line)-v == 9 && bytes.HasPrefix(line[v+1:], httpSlash) && line[v+6] == '1' {
		return proto.Yes, proto.Client
	}
	return proto.No, proto.AnyRole
}

// beginsHTTP says whether b begins with "HTTP/" in any case, or may do so.
func beginsHTTP(b []byte) proto.Match {
	const text = "http/"
	n := min(len(b), len(text))
	switch {
	case !proto.EqualFold(b[:n], text[:n]):
		return proto.No
	case n < len(text):
		return proto.NeedMore
	}
	return proto.Yes
}

func isMethod(b []byte) bool {
	for _, m := range methods {
		if string(b) == m {
			return true
		}
	}
	return false
}
