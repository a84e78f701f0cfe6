package mysql

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Capabilities that change what is sent
// (https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__capabilities__flags.html). MariaDB's own
// follow from bit 32 on (https://mariadb.com/kb/en/connection/#capabilities).
const (
	capLongPassword       = 1 << 0 // what MariaDB calls CLIENT_MYSQL: it isn't set where bits 32 and on are used
	capConnectWithDB      = 1 << 3
	capCompress           = 1 << 5
	capProtocol41         = 1 << 9
	capSSL                = 1 << 11
	capSecureConnection   = 1 << 15
	capPluginAuth         = 1 << 19
	capPluginAuthLenenc   = 1 << 21
	capSessionTrack       = 1 << 23
	capDeprecateEOF       = 1 << 24
	capOptionalMetadata   = 1 << 25
	capZstd               = 1 << 26
	capQueryAttributes    = 1 << 27
	capMariaExtendedTypes = 1 << 35
	capMariaCacheMetadata = 1 << 36
)

// session is what is known of the session.
type session struct {
	phase phase
	// inferred: the login wasn't seen, and what it agreed shows in what is sent alone.
	inferred bool
	// offered are the capabilities of the server, 0 when they aren't known, and agreed those in force.
	offered, agreed uint64
	// compression is the name of what is agreed, empty for none.
	compression string
	// user and database are those in use, version and id what the server said of itself in its greeting.
	user, database, version, id []byte
	// greeted is when the greeting came, in nanoseconds since 1970, 0 when it wasn't seen.
	greeted int64
}

func (s *session) has(capability uint64) bool { return s.agreed&capability != 0 }

// maxName is the longest name of a user, a database or a server version that is kept, in bytes: longer than any server has.
const maxName = 256

// clip copies a name.
func clip(to, name []byte) []byte { return append(to[:0], name[:min(len(name), maxName)]...) }

// greet takes the server's greeting, version 10 or 9.
func (s *session) greet(b []byte) bool {
	const v9, v10 = 9, 10
	if len(b) == 0 || b[0] != v10 && b[0] != v9 {
		return false
	}
	version, rest, ok := bytes.Cut(b[1:], []byte{0})
	if !ok || len(rest) < 4 {
		return false
	}
	s.version = clip(s.version, version)
	s.id = strconv.AppendUint(s.id[:0], uint64(binary.LittleEndian.Uint32(rest)), 10)
	const low, high, extended = 4 + 8 + 1, 4 + 8 + 1 + 2 + 1 + 2, 4 + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 6
	if b[0] == v9 || len(rest) < low+2 {
		return true
	}
	s.offered = uint64(binary.LittleEndian.Uint16(rest[low:]))
	if len(rest) >= high+2 {
		s.offered |= uint64(binary.LittleEndian.Uint16(rest[high:])) << 16
	}
	if len(rest) >= extended+4 && s.offered&capLongPassword == 0 {
		s.offered |= uint64(binary.LittleEndian.Uint32(rest[extended:])) << 32
	}
	return true
}

// The places in a client's answer to the greeting: HandshakeResponse41 and, of old, HandshakeResponse320.
const (
	responseExtended = 4 + 4 + 1 + 19
	responseUser     = responseExtended + 4
	response320User  = 2 + 3
)

// isSSLRequest reports whether a client's answer asks for TLS, and is nothing more.
func isSSLRequest(b []byte) bool {
	switch len(b) {
	case responseUser:
		return binary.LittleEndian.Uint32(b)&(capSSL|capProtocol41) == capSSL|capProtocol41
	case response320User:
		return binary.LittleEndian.Uint16(b)&(capSSL|capProtocol41) == capSSL
	}
	return false
}

// respond takes the client's answer to the greeting, whose password it skips.
func (s *session) respond(b []byte) bool {
	if len(b) < response320User {
		return false
	}
	caps := uint64(binary.LittleEndian.Uint16(b))
	if caps&capProtocol41 == 0 {
		user, rest, _ := bytes.Cut(b[response320User:], []byte{0})
		s.user, s.database = clip(s.user, user), s.database[:0]
		if caps&capConnectWithDB != 0 {
			_, rest, _ = bytes.Cut(rest, []byte{0})
			database, _, _ := bytes.Cut(rest, []byte{0})
			s.database = clip(s.database, database)
		}
		s.agree(caps)
		return true
	}
	if len(b) < responseUser {
		return false
	}
	caps = uint64(binary.LittleEndian.Uint32(b))
	if caps&capLongPassword == 0 {
		caps |= uint64(binary.LittleEndian.Uint32(b[responseExtended:])) << 32
	}
	user, rest, _ := bytes.Cut(b[responseUser:], []byte{0})
	s.user, s.database = clip(s.user, user), s.database[:0]
	v := values{b: rest}
	switch {
	case caps&capPluginAuthLenenc != 0:
		v.text()
	case caps&capSecureConnection != 0:
		v.take(uint64(v.byte()))
	default:
		v.untilNUL()
	}
	if caps&capConnectWithDB != 0 {
		s.database = clip(s.database, v.untilNUL())
	}
	s.agree(caps)
	return true
}

// agree takes what the client wants of what the server offers.
func (s *session) agree(caps uint64) {
	if s.offered != 0 {
		caps &= s.offered
	}
	s.agreed = caps
	s.compression = ""
	switch {
	case caps&capCompress != 0:
		s.compression = "zlib"
	case caps&capZstd != 0:
		s.compression = "zstd"
	}
}

// changeUser reads COM_CHANGE_USER, whose password it skips.
func (s *session) changeUser(b []byte) (user, database []byte) {
	v := values{b: b}
	user = v.untilNUL()
	if s.inferred || s.has(capSecureConnection) || s.has(capPluginAuth) {
		v.take(uint64(v.byte()))
	} else {
		v.untilNUL()
	}
	return user, v.untilNUL()
}

// fromGreeting takes the server's first packet: its greeting, or the error with which it refuses.
func (p *Parser) fromGreeting(h *half, b []byte) {
	if b[0] == isERR {
		m := p.begin(h, proto.Response, h.first)
		m.OneWay = true
		m.Method = h.write([]byte("LOGIN"))
		p.fault(h, b)
		return
	}
	if !p.session.greet(b) {
		p.lose(h, h.first)
		return
	}
	p.session.greeted = h.first.Time
}

// fromLogin takes a client's packet of the login.
func (p *Parser) fromLogin(h *half, b []byte, last clock.Mark) {
	s := &p.session
	switch {
	case s.phase == login && h.sequence != 0:
		// A step of the authentication.
		return
	case s.phase == login:
		// The end of the login wasn't seen.
		p.enter()
		p.fromClient(h, b, last)
		return
	case isSSLRequest(b):
		p.verdict = proto.Verdict{Action: proto.Handover, Hint: "tls"}
		return
	case h.sequence == 0 || !s.respond(b):
		p.lose(h, h.first)
		return
	}
	s.phase = login
	m := p.begin(h, proto.Request, h.first)
	m.Greeting = s.greeted
	m.Method = h.write([]byte("LOGIN"))
	p.ofSession(h)
	p.command(h, command{code: comLogin})
	p.head(h)
	m.Last = last
	h.use = ofRequest
}

// ofSession says what is known of the session.
func (p *Parser) ofSession(h *half) {
	s := &p.session
	if len(s.user) > 0 {
		h.say("user", s.user)
	}
	if len(s.database) > 0 {
		h.say("database", s.database)
	}
	if s.compression != "" {
		h.text = append(h.text, s.compression...)
		h.sayLast("compression", len(s.compression))
	}
}

// write adds a text of the message, and returns its place.
func (h *half) write(text []byte) proto.Span {
	h.text = append(h.text, text...)
	return proto.Span{Off: uint32(len(h.text) - len(text)), Len: uint32(len(text))}
}

// say adds a fact that is a text.
func (h *half) say(name string, text []byte) {
	h.msg.Facts = append(h.msg.Facts, proto.Fact{Name: name, Value: h.write(text)})
}

// sayLast makes a fact of the last n bytes that were written.
func (h *half) sayLast(name string, n int) {
	h.msg.Facts = append(h.msg.Facts, proto.Fact{Name: name, Value: proto.Span{Off: uint32(len(h.text) - n), Len: uint32(n)}})
}
