package mysql

import (
	"strconv"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// The first bytes of the server's packets.
const (
	isOK   = 0x00
	isFile = 0xfb
	isEOF  = 0xfe
	isERR  = 0xff
)

// The lengths of an EOF packet, and of the shortest OK packet that takes its place.
const (
	eofSize = 5
	okSize  = 7
)

// Flags of the server's status
// (https://dev.mysql.com/doc/dev/mysql-server/latest/mysql__com_8h.html).
const (
	statusInTransaction  = 0x0001
	statusMoreResults    = 0x0008
	statusCursor         = 0x0040
	statusSessionChanged = 0x4000
)

// state is what of an answer comes next.
type state uint8

const (
	// idle: the beginning of an answer.
	idle state = iota
	// inLogin: a step of the authentication, or its end.
	inLogin
	// inResult: another result of the answer.
	inResult
	// inColumns: the description of a column; afterColumns: an EOF, or the first row.
	inColumns
	afterColumns
	// inRows: a row, or what ends them.
	inRows
	// inParams: the description of a parameter; afterParams: an EOF, or that of a column; inPrepared: that; afterPrepared: an EOF.
	inParams
	inPrepared
	afterPrepared
	// inFields: the description of a column, any number of them.
	inFields
)

// ends says whether an EOF follows the columns of a result.
type ends uint8

const (
	endsUnknown ends = iota
	endsByEOF
	endsBare
)

// answer is where the server is in an answer.
type answer struct {
	state   state
	command command
	ends    ends
	// left is how many descriptions are still to come, and afterwards how many of columns follow those of parameters.
	left, afterwards uint64
	// binary: rows are in the binary form, and their types are those of kinds, if typed.
	binary, typed bool
	kinds         []kind

	// What is said at the end: results counts the results; counted: affected and insertID are known; settled: status is.
	results            int64
	affected, insertID uint64
	warnings, status   uint16
	counted, settled   bool
	columns            int64
}

// reset forgets the answer that is under way.
func (a *answer) reset() {
	*a = answer{ends: a.ends, kinds: a.kinds[:0]}
}

// maxAnswer is how many bytes of an OK, an error, a greeting and the like are looked at, and maxColumn how many of a column's
// description.
const (
	maxAnswer = 8 << 10
	maxColumn = 4 << 10
)

// wantsOfServer returns how many bytes of a server's packet are needed in one piece.
func (p *Parser) wantsOfServer(first byte) int {
	switch p.answer.state {
	case afterColumns, inRows:
		if first == isERR || first == isEOF {
			return maxAnswer
		}
		return 1
	case inColumns, inPrepared:
		if p.answer.typed {
			return maxColumn
		}
		if first != isERR && first != isEOF {
			return 1
		}
	case inParams:
		return 1
	}
	return maxAnswer
}

// fromServer takes a server's packet, or its beginning.
func (p *Parser) fromServer(h *half, b []byte, last clock.Mark) {
	a := &p.answer
	switch {
	case len(b) == 0:
		if a.state == inRows {
			p.row(h) // in the text form a row of no columns, which no server sends
			return
		}
		p.malformed(h)
		return
	case p.session.phase == greeting:
		p.fromGreeting(h, b)
		return
	case isProgress(b):
		h.use = ofAnswer
		return
	case a.state == idle:
		p.begins(h, b)
		return
	}
	h.use = ofAnswer
	if b[0] == isERR && (a.state != inRows || h.size < maxPacket) {
		p.fault(h, b)
		return
	}
	p.goesOn(h, b)
}

// goesOn takes a packet of an answer that isn't its first.
func (p *Parser) goesOn(h *half, b []byte) {
	a := &p.answer
	switch a.state {
	case inLogin:
		p.step(h, b)
	case inResult:
		p.result(h, b)
	case inColumns:
		if a.typed {
			p.column(b)
		}
		if a.left--; a.left == 0 {
			a.state = afterColumns
		}
	case afterColumns:
		p.columnsEnd(h, b)
	case inRows:
		p.rowOrEnd(h, b)
	case inParams:
		if a.left--; a.left == 0 {
			a.state, a.left = inPrepared, a.afterwards
			if a.left == 0 {
				p.preparedEnd(h)
			}
		}
	case inPrepared, afterPrepared:
		p.preparedColumn(h, b)
	case inFields:
		p.field(h, b)
	}
}

// begins takes the first packet of an answer.
func (p *Parser) begins(h *half, b []byte) {
	a := &p.answer
	c := p.commands.next()
	const first = 1
	switch {
	case c == nil && p.commands.doubt:
		p.lose(h, h.first)
		return
	case b[0] == isEOF && h.size == eofSize && a.ends == endsUnknown && h.sequence > first && (c == nil || c.peer > h.first.Offset):
		// The end of the answer before, which one needn't have known to have it.
		a.ends = endsByEOF
		return
	case c == nil:
		p.unasked(h, b)
		return
	case c.doubted && c.peer != h.first.Offset:
		p.lose(h, h.first)
		return
	case c.doubted:
		p.commands.sure()
	}
	client := &p.halves[p.client]
	if b[0] == isFile && c.code == comQuery {
		p.askFile()
		return
	}
	if p.asking && len(p.commands.queue)-p.commands.head == 1 {
		p.sendingFile = false
		p.sentWhole(client)
	}
	a.reset()
	a.command = p.commands.pop()
	p.begin(h, proto.Response, h.first)
	h.use = ofAnswer
	if a.command.answers() != answersLogin && b[0] == isERR {
		p.fault(h, b)
		return
	}
	p.first(h, b)
}

// askFile says that the client's next packets are those of a file.
func (p *Parser) askFile() {
	const first = 2
	p.sendingFile, p.fileNext = true, first
}

// unasked takes an error that nobody asked for: the server says why it closes the connection.
func (p *Parser) unasked(h *half, b []byte) {
	if b[0] != isERR {
		p.lose(h, h.first)
		return
	}
	m := p.begin(h, proto.Response, h.first)
	m.OneWay = true
	m.Method = h.write([]byte("ERROR"))
	p.answer.reset()
	p.fault(h, b)
}

// first takes the first packet of an answer that isn't an error.
func (p *Parser) first(h *half, b []byte) {
	a, m := &p.answer, &h.msg
	switch a.command.answers() {
	case answersLogin:
		if s := &p.session; a.command.code == comLogin {
			if len(s.version) > 0 {
				h.say("server_version", s.version)
				h.say("session", s.id)
			}
		}
		p.head(h)
		p.step(h, b)
	case answersOK:
		if b[0] != isOK && b[0] != isEOF {
			p.malformed(h)
			return
		}
		p.ok(h, b)
	case answersStream:
		h.use = ofEnd
	case answersText:
		m.Framing = proto.Rendered
		m.Parts = proto.Parts{Count: 1, First: h.first.Time}
		p.head(h)
		h.use = ofEnd
		m.Parts.Bytes, m.Parts.Largest, m.BodyBytes = h.size, h.size, h.size
		if want := p.sink.WantsBody(m); want > 0 {
			p.sink.Body(m, b[:min(len(b), want)])
		}
	case answersPrepared:
		p.preparedBegin(h, b)
	case answersColumns:
		a.state = inFields
		p.head(h)
		p.field(h, b)
	case answersRows:
		m.Framing = proto.Rendered
		p.head(h)
		a.state, a.binary = inRows, true
		a.typed = a.command.statement != nil && len(a.command.statement.columns) > 0
		if a.typed {
			a.kinds = append(a.kinds, a.command.statement.columns...)
		}
		p.rowOrEnd(h, b)
	case answersBinary:
		a.binary = true
		p.result(h, b)
	default:
		p.result(h, b)
	}
}

// step takes a step of the authentication.
func (p *Parser) step(h *half, b []byte) {
	a := &p.answer
	switch b[0] {
	case isOK:
		a.settled, a.counted = false, false
		p.ok(h, b)
	case isERR:
		p.fault(h, b)
	default:
		a.state = inLogin
	}
}

// result takes the first packet of a result.
func (p *Parser) result(h *half, b []byte) {
	a, m := &p.answer, &h.msg
	bare := false
	switch optional := p.session.has(capOptionalMetadata); {
	case b[0] == isOK && (!optional || h.size >= okSize):
		a.results++
		p.ok(h, b)
		return
	case b[0] == isFile:
		p.askFile()
		return
	case b[0] == isEOF:
		p.malformed(h)
		return
	case optional && len(b) > 1:
		bare, b = b[0] == 0, b[1:]
	}
	v := values{b: b}
	n, _ := v.length()
	if n == 0 || v.short || n > maxColumns {
		p.malformed(h)
		return
	}
	if len(v.b) == 1 && (p.session.has(capMariaCacheMetadata) || p.session.inferred) {
		bare = v.b[0] == 0
	}
	a.results++
	m.Framing = proto.Rendered
	if a.columns == 0 {
		a.columns = int64(n)
	}
	if !h.open {
		m.Count("columns", a.columns)
		p.head(h)
	}
	a.state, a.left = inColumns, n
	st := a.command.statement
	a.typed = a.binary && n <= maxTyped && p.sink.WantsBody(m) > 0
	a.kinds = a.kinds[:0]
	if bare {
		a.state = afterColumns
		if a.typed = a.typed && st != nil && uint64(len(st.columns)) == n; a.typed {
			a.kinds = append(a.kinds, st.columns...)
		}
	}
}

// maxColumns is the largest number of columns that a result has; servers allow 4,096, which is how many types are kept.
const (
	maxColumns = 1 << 16
	maxTyped   = 4096
)

// column reads the type in the description of a column.
func (p *Parser) column(b []byte) {
	const names, unsigned = 6, 0x20
	v := values{b: b}
	for range names {
		v.text()
	}
	if p.session.has(capMariaExtendedTypes) {
		v.text()
	}
	const fixed, code, flags, digits = 12, 6, 7, 9
	length, _ := v.length()
	t := v.take(fixed)
	if v.short || length != fixed {
		p.answer.typed = false
		return
	}
	p.answer.kinds = append(p.answer.kinds, kind{t[code], t[flags]&unsigned != 0, t[digits]})
}

// keepColumns keeps the types of columns with their statement, for the results that come without.
func (p *Parser) keepColumns() {
	a := &p.answer
	if st := a.command.statement; a.typed && st != nil && !st.gone {
		st.columns = append(st.columns[:0], a.kinds...)
		p.prepared.charge(st)
	}
}

// columnsEnd takes the packet behind the columns of a result: an EOF, or the first row.
func (p *Parser) columnsEnd(h *half, b []byte) {
	a := &p.answer
	p.keepColumns()
	a.state = inRows
	if b[0] != isEOF || h.size > eofSize || a.ends == endsBare && !p.session.inferred {
		a.ends = endsBare
		p.rowOrEnd(h, b)
		return
	}
	a.ends = endsByEOF
	v := values{b: b[1:]}
	a.warnings, a.status = v.uint16(), v.uint16()
	if a.status&statusCursor != 0 {
		// Its rows are fetched by themselves.
		a.settled = true
		h.use = ofEnd
	}
}

// rowOrEnd takes a row, or what comes behind the last.
func (p *Parser) rowOrEnd(h *half, b []byte) {
	if b[0] != isEOF || h.size >= maxPacket {
		p.row(h)
		return
	}
	p.ok(h, b)
}

// row begins a row.
func (p *Parser) row(h *half) {
	parts := &h.msg.Parts
	if parts.Count++; parts.First == 0 {
		parts.First = h.first.Time
	}
	h.use = ofRow
}

// ok takes an OK or an EOF, behind which the answer is over, or its next result follows.
func (p *Parser) ok(h *half, b []byte) {
	a := &p.answer
	v := values{b: b[1:]}
	switch {
	case len(b) >= okSize:
		affected, _ := v.length()
		insertID, _ := v.length()
		a.status, a.warnings = v.uint16(), v.uint16()
		if a.state != inRows {
			a.affected += affected
			a.counted = true
			if insertID != 0 {
				a.insertID = insertID
			}
		}
		if a.status&statusSessionChanged != 0 {
			p.session.track(&v)
		}
	default:
		a.warnings, a.status = v.uint16(), v.uint16()
	}
	a.settled = !v.short
	if a.status&statusMoreResults != 0 && a.settled {
		a.state = inResult
		if !h.open {
			p.head(h)
		}
		return
	}
	p.succeeded()
	h.use = ofEnd
}

// succeeded changes the session as the command was to.
func (p *Parser) succeeded() {
	s, c := &p.session, &p.answer.command
	switch {
	case c.code == comLogin:
		p.enter()
	case c.login:
		s.user, s.database = c.user, c.database
	case c.database != nil:
		s.database = c.database
	}
}

// track reads what the server says of changes to the session.
func (s *session) track(v *values) {
	const schema = 1
	v.text() // for people
	t := values{b: v.text()}
	for len(t.b) > 0 {
		what := t.byte()
		data := values{b: t.text()}
		if what == schema {
			if name := data.text(); !data.short {
				s.database = clip(nil, name)
			}
		}
	}
}

// isProgress reports whether an error isn't one, but a report on how far a statement has come (MariaDB), which has the number 65535.
func isProgress(b []byte) bool { return len(b) > 3 && b[0] == isERR && b[1] == 0xff && b[2] == 0xff }

// fault takes an error, which ends the answer.
func (p *Parser) fault(h *half, b []byte) {
	const mark, stateLen = '#', 5
	v := values{b: b[1:]}
	from := len(h.text)
	h.text = strconv.AppendUint(h.text, uint64(v.uint16()), 10)
	h.sayLast(proto.FactError, len(h.text)-from)
	if len(v.b) > stateLen && v.b[0] == mark {
		v.byte()
		h.say("sqlstate", v.take(stateLen))
	}
	h.say(proto.FactErrorText, v.b)
	p.prepared.drop(&p.answer.command)
	h.use = ofEnd
}

// finish ends the answer.
func (p *Parser) finish(h *half, last clock.Mark) {
	a, m := &p.answer, &h.msg
	m.Last = last
	switch a.command.answers() {
	case answersResult, answersBinary:
		if a.counted {
			m.Count("affected_rows", int64(min(a.affected, 1<<63-1)))
		}
		if a.insertID != 0 {
			m.Count("insert_id", int64(min(a.insertID, 1<<63-1)))
		}
		if a.results > 1 {
			m.Count("results", a.results)
		}
	case answersColumns:
		m.Count("columns", a.columns)
	}
	if a.settled {
		if a.warnings != 0 {
			m.Count("warnings", int64(a.warnings))
		}
		state := "idle"
		if a.status&statusInTransaction != 0 {
			state = "open"
		}
		if a.command.answers() != answersLogin {
			h.text = append(h.text, state...)
			h.sayLast("transaction", len(state))
		}
	}
	if !h.open {
		p.head(h)
	} else {
		h.settle(p.held)
		m.Raw = h.text
	}
	if a.command.answers() == answersStream {
		p.verdict = proto.Verdict{Action: proto.Stop}
	}
	a.reset()
	p.end(h, proto.Whole)
	p.freeShown()
}

// malformed gives up an answer that can't be one.
func (p *Parser) malformed(h *half) {
	h.msg.Anomalies.Set(proto.BadFrame)
	p.lose(h, h.first)
}

// preparedBegin takes the first packet of the answer to PREPARE.
func (p *Parser) preparedBegin(h *half, b []byte) {
	a, m := &p.answer, &h.msg
	v := values{b: b[1:]}
	number, columns, params := v.uint32(), v.uint16(), v.uint16()
	v.byte()
	a.warnings = v.uint16()
	if b[0] != isOK || v.short {
		p.malformed(h)
		return
	}
	if st := a.command.statement; st != nil {
		p.prepared.adopt(st, number, int(params))
	}
	m.Count("columns", int64(columns))
	p.head(h)
	a.typed = columns <= maxTyped && p.sink.WantsBody(m) > 0
	a.state, a.left, a.afterwards = inParams, uint64(params), uint64(columns)
	if params > 0 {
		return
	}
	a.state, a.left = inPrepared, a.afterwards
	if columns == 0 {
		h.use = ofEnd
	}
}

// preparedColumn takes the description of a column, or an EOF, in the answer to PREPARE.
func (p *Parser) preparedColumn(h *half, b []byte) {
	a := &p.answer
	if b[0] == isEOF && h.size <= eofSize {
		a.ends = endsByEOF
		if a.state == afterPrepared || a.left == 0 {
			h.use = ofEnd
		}
		return
	}
	if a.state == afterPrepared || a.left == 0 {
		p.malformed(h)
		return
	}
	if a.typed {
		p.column(b)
	}
	if a.left--; a.left == 0 {
		p.keepColumns()
		p.preparedEnd(h)
	}
}

// preparedEnd is behind the last description of the answer to PREPARE.
func (p *Parser) preparedEnd(h *half) {
	a := &p.answer
	if a.ends == endsByEOF {
		a.state = afterPrepared
		return
	}
	h.use = ofEnd
}

// field takes the description of a column in the answer to FIELD_LIST.
func (p *Parser) field(h *half, b []byte) {
	if b[0] == isEOF && h.size < maxPacket {
		p.ok(h, b)
		return
	}
	p.answer.columns++
}
