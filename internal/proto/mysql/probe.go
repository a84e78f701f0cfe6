package mysql

import (
	"bytes"
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/proto"
)

// The numbers of errors with which servers refuse a connection.
const (
	firstError = 1000
	lastError  = 4999
)

// maxGreeting is the longest greeting, or refusal, in bytes.
const maxGreeting = 1 << 10

// Probe implements proto.Protocol. A server speaks first: it greets, or refuses with an error. Where it isn't seen, and within TLS, the client does.
func Probe(b []byte) (proto.Match, proto.Role) {
	if len(b) < headerSize+1 {
		if isGreetingHeader(b) {
			return proto.NeedMore, proto.AnyRole
		}
		return proto.No, proto.AnyRole
	}
	n := length24(b)
	payload := b[headerSize:min(len(b), headerSize+n)]
	switch sequence := b[3]; {
	case n == 0 || n > maxGreeting:
	case sequence == 0 && len(b) <= headerSize+n:
		if m := probeServer(payload, n); m != proto.No {
			return m, proto.Server
		}
	case sequence == 1 || sequence == 2:
		if m := probeClient(payload, n); m != proto.No {
			return m, proto.Client
		}
	}
	return proto.No, proto.AnyRole
}

// isGreetingHeader reports whether b may be the beginning of the header of a login's first packet.
func isGreetingHeader(b []byte) bool {
	return (len(b) < 3 || b[2] == 0) && (len(b) < 4 || b[3] <= 2)
}

// probeServer looks at the beginning of a packet of n bytes that a server may send first.
func probeServer(b []byte, n int) proto.Match {
	const v10, least, errorHead = 10, 25, 3
	switch {
	case b[0] == v10 && n >= least:
		version, _, ok := bytes.Cut(b[1:], []byte{0})
		switch {
		case len(version) > maxName || len(version) > 0 && (version[0] < '0' || version[0] > '9') || !isPrintable(version):
			return proto.No
		case !ok:
			return proto.NeedMore
		case len(version) == 0:
			return proto.No
		}
		return proto.Yes
	case b[0] == isERR && n > errorHead:
		switch {
		case len(b) < errorHead:
			return proto.NeedMore
		case len(b) == errorHead && n > errorHead:
			return proto.NeedMore
		}
		if e := binary.LittleEndian.Uint16(b[1:]); e < firstError || e > lastError || !isPrintable(b[errorHead:]) {
			return proto.No
		}
		if len(b) < n {
			return proto.NeedMore
		}
		return proto.Yes
	}
	return proto.No
}

// probeClient looks at the beginning of a packet of n bytes that a client may send first: the answer to a greeting, or the wish for TLS.
func probeClient(b []byte, n int) proto.Match {
	const charset, filler, fillerLen = 8, 9, 19
	if n < responseUser {
		return proto.No
	}
	if len(b) >= 2 && binary.LittleEndian.Uint16(b)&capProtocol41 == 0 {
		return proto.No
	}
	for i := filler; i < min(len(b), filler+fillerLen); i++ {
		if b[i] != 0 {
			return proto.No
		}
	}
	if len(b) < responseUser {
		return proto.NeedMore
	}
	if isSSLRequest(b) && n == responseUser {
		return proto.Yes
	}
	user, _, ok := bytes.Cut(b[responseUser:], []byte{0})
	if len(user) > maxName || bytes.ContainsFunc(user, func(r rune) bool { return r < ' ' }) {
		return proto.No
	}
	if !ok {
		if len(b) >= n {
			return proto.No
		}
		return proto.NeedMore
	}
	return proto.Yes
}

func isPrintable(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' || c == 0x7f {
			return false
		}
	}
	return true
}

// Resume implements proto.Protocol. A login begins a session wherever it stands. A client's segment that is one command, or begins with one that is
// longer, is sure enough when its statement begins with a word that statements begin with, or it is an execution, whose head has a dozen
// bytes that are always the same; what servers send isn't.
func Resume(b []byte) (proto.Match, proto.Role) {
	if match, role := Probe(b); match == proto.Yes {
		return match, role
	}
	inner := b
	if plausibleOuter(b) {
		inner = b[outerHeader:]
	}
	const code = headerSize
	if len(inner) <= code || !plausibleAll(inner) {
		return proto.No, proto.AnyRole
	}
	switch inner[code] {
	case comQuery, comPrepare:
		return proto.Yes, proto.Client
	case comExecute:
		if isSureExecution(inner) {
			return proto.Yes, proto.Client
		}
	}
	return proto.No, proto.AnyRole
}

// ResumeHinted implements proto.Protocol: any command will do.
func ResumeHinted(b []byte) (proto.Match, proto.Role) {
	if match, role := Resume(b); match == proto.Yes {
		return match, role
	}
	if plausibleOuter(b) || plausibleAll(b) {
		return proto.Yes, proto.Client
	}
	return proto.No, proto.AnyRole
}

// isSureExecution reports whether a plausible segment begins with an execution that can't be anything else: all of it is there, or a segment
// full, of a statement whose number servers reach, and with flags that are in use.
func isSureExecution(b []byte) bool {
	const number, flags = headerSize + 1, headerSize + 5
	const most, lastFlags = 1 << 24, 0x04 | 0x08 // a cursor, of three kinds, and whether the count of parameters is sent
	id := binary.LittleEndian.Uint32(b[number:])
	return b[flags] <= lastFlags && (id > 0 && id < most || id == lastPrepared) && (len(b) >= headerSize+length24(b) || len(b) > longStatement)
}

// plausibleAll reports whether a segment of a client is a sequence of commands, the last of which may go on in the next.
func plausibleAll(b []byte) bool {
	if len(b) <= headerSize {
		return false
	}
	for len(b) > 0 {
		if len(b) <= headerSize || b[3] != 0 {
			return false
		}
		n := length24(b)
		if n == 0 || !plausible(b[headerSize:min(len(b), headerSize+n)], n) {
			return false
		}
		b = b[min(len(b), headerSize+n):]
	}
	return true
}

// plausibleAnswer reports whether b begins with the first packet of an answer, and the packets behind it are numbered as they must be.
func plausibleAnswer(b []byte, header int) bool {
	const number, first = 3, 1
	for want := byte(first); ; want++ {
		switch {
		case len(b) < header:
			return want > first
		case b[number] != want && (b[number] != first || want == first):
			return false
		}
		want = b[number]
		n := length24(b)
		if len(b) <= header+n {
			return true
		}
		b = b[header+n:]
	}
}

// sizes are the lengths of the commands that have always the same, by their numbers.
var sizes = map[byte]int{
	comQuit: 1, 0x09: 1, 0x0a: 1, comProcessKill: 5, 0x0d: 1, 0x0e: 1, comClose: 5, comReset: 5, comSetOption: 3, comFetch: 9, comResetConn: 1,
}

// plausible reports whether b is surely a command of n bytes, or its beginning.
func plausible(b []byte, n int) bool {
	switch code := b[0]; code {
	case comQuery, comPrepare:
		text := b[1:]
		if len(text) > 2 && text[0] == 0 && text[1] == 1 {
			text = text[2:] // no query attributes
		}
		return isStatement(text) && (len(b) == n || len(b) > longStatement)
	case comInitDB:
		return len(b) == n && n > 1 && n <= maxName && isPrintable(b[1:])
	case comExecute:
		const head, flags, count = 10, 5, 6
		return n >= head && len(b) >= head && b[flags] <= 0x0f && binary.LittleEndian.Uint32(b[count:]) == 1
	default:
		size, ok := sizes[code]
		return ok && size == n && len(b) == n
	}
}

// longStatement is the length from which on the beginning of a statement is believed, in bytes.
const longStatement = 64

// words are those that statements begin with.
var words = map[string]bool{
	"SELECT": true, "INSERT": true, "UPDATE": true, "DELETE": true, "REPLACE": true, "SET": true, "SHOW": true, "BEGIN": true, "COMMIT": true,
	"ROLLBACK": true, "START": true, "CREATE": true, "DROP": true, "ALTER": true, "TRUNCATE": true, "CALL": true, "USE": true, "LOAD": true,
	"WITH": true, "EXPLAIN": true, "DESCRIBE": true, "DESC": true, "LOCK": true, "UNLOCK": true, "SAVEPOINT": true, "RELEASE": true,
	"GRANT": true, "REVOKE": true, "ANALYZE": true, "OPTIMIZE": true, "CHECK": true, "FLUSH": true, "KILL": true, "DO": true, "XA": true,
	"PREPARE": true, "EXECUTE": true, "DEALLOCATE": true, "HANDLER": true, "VALUES": true, "TABLE": true, "RENAME": true,
}

// isStatement reports whether a text begins as statements do.
func isStatement(b []byte) bool {
	i, n := firstWord(b)
	if n == 0 || n > len("DEALLOCATE") || i+n < len(b) && b[i+n] > ' ' && b[i+n] != '(' && b[i+n] != ';' && b[i+n] != '*' && b[i+n] != '\'' && b[i+n] != '`' {
		return false
	}
	var word [maxWord]byte
	for k, c := range b[i : i+n] {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		word[k] = c
	}
	return words[string(word[:n])]
}

// plausibleOuter reports whether a segment of a client is an outer packet that isn't compressed, as short commands aren't, and holds one command.
func plausibleOuter(b []byte) bool {
	if len(b) <= outerHeader {
		return false
	}
	return b[3] == 0 && length24(b[headerSize:]) == 0 && len(b) == outerHeader+length24(b) && plausibleAll(b[outerHeader:])
}
