package mysql

import (
	"strconv"

	"github.com/culprit-http/culprit/internal/proto"
)

// MaxStatements is how many prepared statements of a session are kept, and maxStatementBytes how much memory they may take. When there are
// more the oldest is forgotten; its executions show no text (proto.StatementUnknown).
const (
	MaxStatements     = 500
	maxStatementBytes = 1 << 20
)

// statement is a prepared statement.
type statement struct {
	number uint32
	text   []byte
	// cut: the text isn't whole.
	cut bool
	// params is how many parameters it has, -1 while the server hasn't said so.
	params int
	// kinds are the types of the parameters, as the client sent them last, and columns those of the last result.
	kinds, columns []kind
	// long are the parameters that were sent beforehand.
	long []longData

	// age orders the statements, charged is what it counted for, and gone: it isn't kept any more.
	age     uint64
	charged int
	gone    bool
}

// longData is the beginning of a parameter that was sent beforehand.
type longData struct {
	param uint16
	data  []byte
}

// statements are the prepared statements of a session.
type statements struct {
	byNumber map[uint32]*statement
	held     *int
	bytes    int
	age      uint64
	// last is the one that was prepared last.
	last *statement
}

// statementSize is what a statement is estimated to take beside its text and types, and kindSize what a type takes.
const (
	statementSize = 200
	kindSize      = 3
)

// charge counts what a statement takes.
func (s *statements) charge(st *statement) {
	n := 0
	if !st.gone {
		n = statementSize + cap(st.text) + kindSize*(cap(st.kinds)+cap(st.columns))
		for i := range st.long {
			n += cap(st.long[i].data)
		}
	}
	*s.held += n - st.charged
	s.bytes += n - st.charged
	st.charged = n
}

// begin keeps the text of a statement that is to be prepared.
func (s *statements) begin(text []byte, limit int) *statement {
	st := &statement{params: -1, cut: len(text) > limit}
	st.text = append([]byte(nil), text[:min(len(text), limit)]...)
	s.charge(st)
	s.last = st
	return st
}

// adopt keeps a statement by its number.
func (s *statements) adopt(st *statement, number uint32, params int) {
	if st.gone {
		return
	}
	if s.byNumber == nil {
		s.byNumber = make(map[uint32]*statement)
	}
	if old := s.byNumber[number]; old != nil {
		s.remove(old)
	}
	if len(s.byNumber) == MaxStatements {
		s.remove(s.oldest())
	}
	s.trim()
	s.age++
	st.number, st.params, st.age = number, params, s.age
	s.byNumber[number] = st
}

// trim forgets the oldest statements while they take too much.
func (s *statements) trim() {
	for len(s.byNumber) > 0 && s.bytes > maxStatementBytes {
		s.remove(s.oldest())
	}
}

func (s *statements) oldest() (oldest *statement) {
	for _, st := range s.byNumber {
		if oldest == nil || st.age < oldest.age {
			oldest = st
		}
	}
	return oldest
}

// remove forgets a statement.
func (s *statements) remove(st *statement) {
	if s.byNumber[st.number] == st {
		delete(s.byNumber, st.number)
	}
	st.gone = true
	s.charge(st)
}

// drop forgets the statement that a command was to prepare.
func (s *statements) drop(c *command) {
	if st := c.statement; c.code == comPrepare && st != nil && st.params < 0 {
		s.remove(st)
	}
}

// clear forgets all of them.
func (s *statements) clear() {
	for _, st := range s.byNumber {
		s.remove(st)
	}
	s.byNumber, s.last = nil, nil
}

// lastPrepared is the number that stands for the statement that was prepared last (MariaDB).
const lastPrepared = 1<<32 - 1

// find returns the statement of a number, nil when it isn't known.
func (s *statements) find(number uint32) *statement {
	if number == lastPrepared {
		if s.last != nil && s.last.gone {
			return nil
		}
		return s.last
	}
	return s.byNumber[number]
}

// unknown stands for the text of a statement that isn't known.
const unknown = "?"

// longHeader is the length of SEND_LONG_DATA before its data.
const longHeader = 1 + 4 + 2

// ofStatement reads a command that is about a prepared statement. It returns the statement, nil when it isn't known.
func (p *Parser) ofStatement(h *half, code byte, b []byte) *statement {
	m := &h.msg
	v := values{b: b, cut: h.size > int64(1+len(b))}
	number := v.uint32()
	if v.short {
		m.Anomalies.Set(proto.BadValue)
		return nil
	}
	st := p.prepared.find(number)
	if st != nil {
		m.Target = h.write(st.text)
		if st.cut {
			m.Anomalies.Set(proto.StatementCut)
		}
	} else {
		m.Anomalies.Set(proto.StatementUnknown)
		m.Target = h.write([]byte(unknown))
	}
	from := len(h.text)
	if number == lastPrepared {
		h.text = append(h.text, "last"...)
	} else {
		h.text = strconv.AppendUint(h.text, uint64(number), 10)
	}
	h.sayLast("prepared", len(h.text)-from)
	if st == nil {
		return nil
	}
	switch code {
	case comExecute:
		p.execution(h, st, &v)
		st.long = nil
	case comBulkExecute:
		p.bulk(h, st, &v)
	case comLongData:
		st.add(v.uint16(), v.b, p.limits.MaxStatement)
	case comReset:
		st.long = nil
	case comClose:
		p.prepared.remove(st)
	}
	p.prepared.charge(st)
	p.prepared.trim()
	return st
}

// add keeps a piece of a parameter, as much of all of them as limit allows.
func (st *statement) add(param uint16, data []byte, limit int) {
	var to *longData
	for i := range st.long {
		limit -= len(st.long[i].data)
		if st.long[i].param == param {
			to = &st.long[i]
		}
	}
	if to == nil {
		const most = 100
		if len(st.long) == most {
			return
		}
		st.long = append(st.long, longData{param: param})
		to = &st.long[len(st.long)-1]
	}
	to.data = append(to.data, data[:min(len(data), max(limit, 0))]...)
}

// forgetLong forgets the parameters that were sent beforehand, of all statements, since pieces of them are missing.
func (s *statements) forgetLong() {
	for _, st := range s.byNumber {
		if st.long != nil {
			st.long = nil
			s.charge(st)
		}
	}
}

// sentLong returns a parameter that was sent beforehand, nil when it wasn't.
func (st *statement) sentLong(param int) *longData {
	if st == nil {
		return nil
	}
	for i := range st.long {
		if int(st.long[i].param) == param {
			return &st.long[i]
		}
	}
	return nil
}

// count returns how many parameters a statement has.
func (st *statement) count() int {
	if st.params < 0 {
		return placeholders(st.text)
	}
	return st.params
}

// placeholders counts the question marks of a statement that aren't in a string, a name or a comment.
func placeholders(b []byte) (n int) {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '?':
			n++
		case c == '\'' || c == '"' || c == '`':
			for i++; i < len(b) && b[i] != c; i++ {
				if b[i] == '\\' && c != '`' {
					i++
				}
			}
		case c == '#', c == '-' && i+1 < len(b) && b[i+1] == '-':
			for i < len(b) && b[i] != '\n' {
				i++
			}
		case c == '/' && i+1 < len(b) && b[i+1] == '*':
			for i += 2; i+1 < len(b) && (b[i] != '*' || b[i+1] != '/'); i++ {
			}
			i++
		}
	}
	return n
}

// execution reads the parameters of COM_STMT_EXECUTE.
func (p *Parser) execution(h *half, st *statement, v *values) {
	const countGiven = 8
	flags := v.byte()
	v.uint32() // how often, which is always once
	count, named := uint64(st.count()), p.session.has(capQueryAttributes)
	if named && (count > 0 || flags&countGiven != 0) {
		count, _ = v.length()
	}
	if count == 0 || v.short {
		return
	}
	given := parameters{kinds: st.kinds[:0]}
	given.read(v, count, named, st.kinds)
	if st.kinds = given.kinds; given.short {
		st.kinds = nil // some may be new
	}
	p.say(h, &given, v, st)
}

// bulk reads the parameters of COM_STMT_BULK_EXECUTE: types, and any number of rows.
func (p *Parser) bulk(h *half, st *statement, v *values) {
	const typesGiven, unsigned = 128, 128
	const none, null, byDefault = 0, 1, 2
	flags, count := v.uint16(), st.count()
	if count == 0 {
		return
	}
	if flags&typesGiven != 0 {
		t := v.take(uint64(2 * count))
		if v.short {
			p.bad(h)
			return
		}
		st.kinds = st.kinds[:0]
		for i := 0; i < len(t); i += 2 {
			st.kinds = append(st.kinds, kind{t[i], t[i+1]&unsigned != 0, anyDigits})
		}
	}
	if len(st.kinds) != count {
		return
	}
	for i := 0; len(v.b) > 0; i = (i + 1) % count {
		if !p.room(h) {
			return
		}
		from := len(h.text)
		switch v.byte() {
		case none:
			h.text = v.append(h.text, st.kinds[i], p.limits.MaxStatement-from)
		case null:
			h.text = append(h.text, "NULL"...)
		case byDefault:
			h.text = append(h.text, "DEFAULT"...)
		default:
			h.text = append(h.text, "IGNORE"...)
		}
		if v.short {
			h.text = h.text[:from]
			p.bad(h)
			return
		}
		h.sayLast("parameter", len(h.text)-from)
	}
}

// parameters are the types of parameters, and which are NULL.
type parameters struct {
	kinds []kind
	names [][]byte
	null  []byte
	// short: the packet ends among them.
	short bool
}

// read reads the types of parameters. old are those that were sent before.
func (g *parameters) read(v *values, count uint64, named bool, old []kind) {
	const unsigned = 0x80
	if count > uint64(len(v.b))*8 {
		g.short = true
		return
	}
	g.null = v.take((count + 7) / 8)
	if given := v.byte(); given == 0 {
		if g.short = v.short || uint64(len(old)) != count; !g.short {
			g.kinds = old
		}
		return
	}
	for range count {
		t := v.take(2)
		if v.short {
			g.short = true
			return
		}
		g.kinds = append(g.kinds, kind{t[0], t[1]&unsigned != 0, anyDigits})
		if named {
			g.names = append(g.names, v.text())
		}
	}
	g.short = v.short
}

func (g *parameters) isNull(i int) bool { return g.null[i/8]&(1<<(i%8)) != 0 }

// pass goes over a value.
func (g *parameters) pass(v *values, i int) {
	if !g.isNull(i) {
		var none [32]byte
		v.append(none[:0], g.kinds[i], 0)
	}
}

// say makes facts of parameters, whose values follow in v.
func (p *Parser) say(h *half, g *parameters, v *values, st *statement) {
	if g.short {
		p.bad(h)
		return
	}
	for i, k := range g.kinds {
		if !p.room(h) {
			return
		}
		from := len(h.text)
		if i < len(g.names) && len(g.names[i]) > 0 {
			h.text = append(append(h.text, g.names[i]...), '=')
		}
		room := p.limits.MaxStatement - len(h.text)
		switch long := st.sentLong(i); {
		case long != nil:
			h.text = append(h.text, long.data[:min(len(long.data), max(room, 0))]...)
		case g.isNull(i):
			h.text = append(h.text, "NULL"...)
		default:
			h.text = v.append(h.text, k, room)
		}
		if v.short && (!v.cut || !k.isText()) {
			h.text = h.text[:from]
		} else {
			h.sayLast("parameter", len(h.text)-from)
		}
		if v.short {
			p.bad(h)
			return
		}
	}
}

// room reports whether there is room for another parameter, and else says that there isn't.
func (p *Parser) room(h *half) bool {
	if len(h.text) < p.limits.MaxStatement && len(h.msg.Facts) < p.limits.MaxFields {
		return true
	}
	h.msg.Anomalies.Set(proto.StatementCut)
	return false
}

// bad says that values contradict their lengths, or that the limit is why they aren't whole. After a loss neither is known: what was sent
// beforehand may be missing.
func (p *Parser) bad(h *half) {
	switch {
	case h.size > int64(p.limits.MaxStatement+overhead): // its end wasn't looked at
		h.msg.Anomalies.Set(proto.StatementCut)
	case !p.commands.seen:
		h.msg.Anomalies.Set(proto.BadValue)
	}
}
