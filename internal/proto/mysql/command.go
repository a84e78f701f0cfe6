package mysql

import (
	"bytes"
	"strconv"
	"unsafe"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// answers says what answers a command.
type answers uint8

const (
	// answersOK: OK, EOF or ERR.
	answersOK answers = iota
	// answersNothing: nothing does.
	answersNothing
	// answersResult: results, as text or in the binary form.
	answersResult
	answersBinary
	// answersPrepared: the number of a statement, and what its parameters and columns are.
	answersPrepared
	// answersColumns: columns alone; answersRows: rows alone, in the binary form.
	answersColumns
	answersRows
	// answersText: a line of text.
	answersText
	// answersLogin: the steps of an authentication, and then OK or ERR.
	answersLogin
	// answersStream: events without end.
	answersStream
)

// The commands that this package treats by themselves.
const (
	comQuit        = 0x01
	comInitDB      = 0x02
	comQuery       = 0x03
	comFieldList   = 0x04
	comCreateDB    = 0x05
	comDropDB      = 0x06
	comProcessKill = 0x0c
	comChangeUser  = 0x11
	comPrepare     = 0x16
	comExecute     = 0x17
	comLongData    = 0x18
	comClose       = 0x19
	comReset       = 0x1a
	comSetOption   = 0x1b
	comFetch       = 0x1c
	comResetConn   = 0x1f
	comBulkExecute = 0xfa
	// comLogin stands for the login, which has no number.
	comLogin = 0xff
)

// info is what is known of a command by its number: its name, empty for numbers that aren't used, what answers it, and the text
// before its argument, where it is shown with one.
type info struct {
	name    string
	answers answers
	before  string
}

// commandTable describes the commands (https://dev.mysql.com/doc/dev/mysql-server/latest/my__command_8h.html and
// https://mariadb.com/kb/en/2-text-protocol/).
var commandTable = [256]info{
	0x00:           {"SLEEP", answersOK, ""},
	comQuit:        {"QUIT", answersNothing, ""},
	comInitDB:      {"INIT_DB", answersOK, "USE "},
	comQuery:       {"QUERY", answersResult, ""},
	comFieldList:   {"FIELD_LIST", answersColumns, ""},
	comCreateDB:    {"CREATE_DB", answersOK, "CREATE DATABASE "},
	comDropDB:      {"DROP_DB", answersOK, "DROP DATABASE "},
	0x07:           {"REFRESH", answersOK, ""},
	0x08:           {"SHUTDOWN", answersOK, ""},
	0x09:           {"STATISTICS", answersText, ""},
	0x0a:           {"PROCESS_INFO", answersResult, ""},
	0x0b:           {"CONNECT", answersOK, ""},
	comProcessKill: {"PROCESS_KILL", answersOK, "KILL "},
	0x0d:           {"DEBUG", answersOK, ""},
	0x0e:           {"PING", answersOK, ""},
	0x0f:           {"TIME", answersOK, ""},
	0x10:           {"DELAYED_INSERT", answersOK, ""},
	comChangeUser:  {"CHANGE_USER", answersLogin, ""},
	0x12:           {"BINLOG_DUMP", answersStream, ""},
	0x13:           {"TABLE_DUMP", answersStream, ""},
	0x14:           {"CONNECT_OUT", answersOK, ""},
	0x15:           {"REGISTER_SLAVE", answersOK, ""},
	comPrepare:     {"PREPARE", answersPrepared, ""},
	comExecute:     {"EXECUTE", answersBinary, ""},
	comLongData:    {"SEND_LONG_DATA", answersNothing, ""},
	comClose:       {"CLOSE", answersNothing, ""},
	comReset:       {"RESET", answersOK, ""},
	comSetOption:   {"SET_OPTION", answersOK, ""},
	comFetch:       {"FETCH", answersRows, ""},
	0x1d:           {"DAEMON", answersOK, ""},
	0x1e:           {"BINLOG_DUMP_GTID", answersStream, ""},
	comResetConn:   {"RESET_CONNECTION", answersOK, ""},
	0x20:           {"CLONE", answersStream, ""},
	0x21:           {"SUBSCRIBE_GROUP_REPLICATION_STREAM", answersStream, ""},
	comBulkExecute: {"BULK_EXECUTE", answersBinary, ""},
	comLogin:       {"LOGIN", answersLogin, ""},
}

// options are the arguments of SET_OPTION.
var options = [...]string{"MULTI_STATEMENTS_ON", "MULTI_STATEMENTS_OFF"}

// overhead is how many bytes of a command may come before and among what is shown of it; a login has no more either.
const overhead = 8 << 10

// wantsOfClient returns how many bytes of a client's packet are needed in one piece.
func (p *Parser) wantsOfClient(first byte) int {
	switch {
	case p.session.phase != commanding:
		return overhead
	case first == comLongData:
		return longHeader + p.limits.MaxStatement
	}
	return p.limits.MaxStatement + overhead
}

// fromClient takes a client's packet, or its beginning.
func (p *Parser) fromClient(h *half, b []byte, last clock.Mark) {
	switch {
	case p.sendingFile && (h.sequence == p.fileNext || h.sequence != 0), p.asking && h.sequence != 0:
		p.sendingFile, p.fileNext = true, h.sequence+1
		h.use = ofFile
	case p.session.phase != commanding:
		if len(b) == 0 {
			return
		}
		p.fromLogin(h, b, last)
	case h.sequence != 0:
		if p.answer.command.answers() == answersLogin || p.commands.next().answers() == answersLogin {
			return // a step of the authentication of CHANGE_USER
		}
		p.lose(h, h.first)
	case len(b) == 0 || commandTable[b[0]].name == "" || b[0] == comLogin:
		p.lose(h, h.first)
	default:
		p.sendingFile = false
		p.sentWhole(h)
		p.request(h, b, last)
	}
}

// request emits the head of a request.
func (p *Parser) request(h *half, b []byte, last clock.Mark) {
	c := command{code: b[0]}
	i := &commandTable[c.code]
	m := p.begin(h, proto.Request, h.first)
	m.OneWay = i.answers == answersNothing
	m.Blocks = i.answers == answersStream
	method, rest := i.name, b[1:]
	switch c.code {
	case comQuery:
		c.database = p.query(h, rest)
		method = ""
	case comPrepare:
		c.statement = p.prepared.begin(rest, p.limits.MaxStatement)
		m.Target = p.statementText(h, rest)
	case comExecute, comBulkExecute, comFetch, comReset, comClose, comLongData:
		c.statement = p.ofStatement(h, c.code, rest)
		if c.code == comExecute || c.code == comBulkExecute {
			method = ""
		}
	case comInitDB:
		c.database = clip(nil, rest)
		fallthrough
	case comCreateDB, comDropDB:
		h.text = append(h.text, i.before...)
		h.write(rest[:min(len(rest), maxName)])
		m.Target.Len = uint32(len(h.text))
	case comFieldList:
		v := values{b: rest}
		table := v.untilNUL()
		m.Target = h.write(table[:min(len(table), maxName)])
	case comProcessKill:
		v := values{b: rest}
		h.text = strconv.AppendUint(append(h.text, i.before...), uint64(v.uint32()), 10)
		m.Target.Len = uint32(len(h.text))
	case comSetOption:
		v := values{b: rest}
		if o := int(v.uint16()); !v.short && o < len(options) {
			h.text = append(h.text, options[o]...)
			m.Target.Len = uint32(len(h.text))
		}
	case comChangeUser:
		user, database := p.session.changeUser(rest)
		c.user, c.database, c.login = clip(nil, user), clip(nil, database), true
		p.prepared.clear()
	case comResetConn:
		p.prepared.clear()
	}
	if method == "" {
		m.Method = p.verb(h, m.Target, i.name)
	} else {
		h.text = append(h.text, method...)
		m.Method = proto.Span{Off: uint32(len(h.text) - len(method)), Len: uint32(len(method))}
	}
	if c.login {
		h.say("user", c.user)
		if len(c.database) > 0 {
			h.say("database", c.database)
		}
	} else {
		p.ofSession(h)
	}
	if !m.OneWay {
		p.command(h, c)
	}
	m.Last = last
	h.use = ofRequest
	p.asking = c.code == comQuery && mayAskFile(m, h.text)
	p.head(h)
}

// query reads COM_QUERY. It returns the database that the statement chooses, nil for none.
func (p *Parser) query(h *half, b []byte) []byte {
	const withAttributes, oneSet = "\x00\x01", 1
	attributes := p.session.has(capQueryAttributes)
	if p.session.inferred {
		attributes = bytes.HasPrefix(b, []byte(withAttributes)) || len(b) > 2 && b[0] < ' ' && b[0] != '\t' && b[0] != '\n' && b[0] != '\r' && b[1] == oneSet
	}
	if !attributes {
		h.msg.Target = p.statementText(h, b)
		return chosen(b)
	}
	v := values{b: b}
	count, _ := v.length()
	v.length()
	var given parameters
	if count > 0 {
		given.read(&v, count, true, nil)
		// The values stand before the text, and are shown behind it.
		w := v
		for i := range given.kinds {
			given.pass(&w, i)
		}
		if given.short || w.short {
			h.msg.Anomalies.Set(proto.BadValue)
			return nil
		}
		h.msg.Target = p.statementText(h, w.b)
		p.say(h, &given, &v, nil)
		return chosen(w.b)
	}
	h.msg.Target = p.statementText(h, v.b)
	return chosen(v.b)
}

// statementText writes a statement, as much of it as may be kept.
func (p *Parser) statementText(h *half, b []byte) proto.Span {
	if n := p.limits.MaxStatement; len(b) > n {
		b = b[:n]
		h.msg.Anomalies.Set(proto.StatementCut)
	}
	return h.write(b)
}

// verb returns the place of a statement's first word in upper case. It is name where there is none, and unknown where the text is.
func (p *Parser) verb(h *half, statement proto.Span, name string) proto.Span {
	from := int(statement.Off)
	if string(h.text[from:from+int(statement.Len)]) == unknown {
		return statement
	}
	i, n := firstWord(h.text[from : from+int(statement.Len)])
	if n == 0 {
		h.text = append(h.text, name...)
		return proto.Span{Off: uint32(len(h.text) - len(name)), Len: uint32(len(name))}
	}
	at := from + i
	for _, c := range h.text[at : at+n] {
		if 'a' <= c && c <= 'z' {
			to := len(h.text)
			h.text = append(h.text, h.text[at:at+n]...)
			for k := to; k < len(h.text); k++ {
				if c := h.text[k]; 'a' <= c && c <= 'z' {
					h.text[k] = c - 'a' + 'A'
				}
			}
			return proto.Span{Off: uint32(to), Len: uint32(n)}
		}
	}
	return proto.Span{Off: uint32(at), Len: uint32(n)}
}

// maxWord is the longest first word of a statement, in bytes.
const maxWord = 32

// firstWord finds the first word of a statement: what isn't space, a parenthesis or a comment. The text of a comment
// that servers execute counts.
func firstWord(b []byte) (at, n int) {
	i := 0
	for i < len(b) {
		switch c := b[i]; {
		case c <= ' ' || c == '(' || c == ';':
			i++
		case c == '#' || c == '-' && i+1 < len(b) && b[i+1] == '-':
			k := bytes.IndexByte(b[i:], '\n')
			if k < 0 {
				return 0, 0
			}
			i += k + 1
		case c == '/' && i+1 < len(b) && b[i+1] == '*':
			if i += 2; i < len(b) && (b[i] == '!' || b[i] == 'M' && i+1 < len(b) && b[i+1] == '!') {
				for i < len(b) && (b[i] == '!' || b[i] == 'M' || '0' <= b[i] && b[i] <= '9') {
					i++
				}
				continue
			}
			k := bytes.Index(b[i:], []byte("*/"))
			if k < 0 {
				return 0, 0
			}
			i += k + 2
		default:
			for n < maxWord && i+n < len(b) && isLetter(b[i+n]) {
				n++
			}
			return i, n
		}
	}
	return 0, 0
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

// chosen returns the database that a statement "USE name" chooses, nil when it is another statement.
func chosen(b []byte) []byte {
	i, n := firstWord(b)
	if n != len("use") || !proto.EqualFold(b[i:i+n], "use") {
		return nil
	}
	name := bytes.Trim(b[i+n:], " \t\r\n;\x00")
	if len(name) > 1 && name[0] == '`' && name[len(name)-1] == '`' {
		name = bytes.ReplaceAll(name[1:len(name)-1], []byte("``"), []byte("`"))
	}
	if len(name) == 0 {
		return nil
	}
	return clip(nil, name)
}

// mayAskFile reports whether the server may ask for a file: LOAD DATA LOCAL, LOAD XML LOCAL.
func mayAskFile(m *proto.Message, text []byte) bool {
	return string(text[m.Method.Off:m.Method.Off+m.Method.Len]) == "LOAD"
}

// sent ends a request whose last byte was there, unless a file may follow.
func (p *Parser) sent(h *half) {
	if h.open && !p.asking {
		p.end(h, proto.Whole)
	}
}

// sentWhole ends the request that was kept open: no file follows, or all of it was there.
func (p *Parser) sentWhole(h *half) {
	p.asking = false
	p.sent(h)
}

// command is one that waits for its answer.
type command struct {
	code byte
	// statement is the one that it prepares or executes, nil when it isn't known.
	statement *statement
	// user and database are those of the session if it succeeds; login: the user is.
	user, database []byte
	login          bool
	// began is the place of its first byte, and peer how many bytes of the answers the client had acknowledged when it sent it, -1 when
	// that isn't known.
	began, peer int64
	// doubted: others may have come before it unseen.
	doubted bool
	// pending: there is one.
	pending bool
}

// answers says what answers the command.
func (c *command) answers() answers {
	if c == nil || !c.pending {
		return answersOK
	}
	return commandTable[c.code].answers
}

// MaxOutstanding is how many commands of a session may wait for their answers.
const MaxOutstanding = 1000

// outstanding are the commands that wait for their answers, in order.
type outstanding struct {
	queue []command
	head  int
	// doubt: commands may have been sent unseen. seen: one was found after a loss.
	doubt, seen bool
	// charged is what the queue counted for.
	charged int
}

// settle counts what the queue takes.
func (o *outstanding) settle(held *int) {
	if n := cap(o.queue) * int(unsafe.Sizeof(command{})); n != o.charged {
		*held += n - o.charged
		o.charged = n
	}
}

// next returns the command whose answer comes next, nil when there is none.
func (o *outstanding) next() *command {
	if o.head == len(o.queue) {
		return nil
	}
	return &o.queue[o.head]
}

// pop takes the next command out.
func (o *outstanding) pop() (c command) {
	c = o.queue[o.head]
	o.queue[o.head] = command{}
	if o.head++; o.head == len(o.queue) {
		o.queue, o.head = o.queue[:0], 0
		if cap(o.queue) > maxIdleQueue {
			o.queue = nil
		}
	}
	return c
}

// maxIdleQueue is the largest queue that is kept when it is empty.
const maxIdleQueue = 16

// clear forgets all commands.
func (o *outstanding) clear(s *statements) {
	for o.next() != nil {
		c := o.pop()
		s.drop(&c)
	}
	o.queue = nil
}

// resync returns where in b, which is at a place, the answer of a command begins: where the client's acknowledgement stood. The
// commands before it aren't answered any more. It returns -1 when there is no such place. Packets have headers of that length.
func (o *outstanding) resync(b []byte, at clock.Mark, header int, s *statements) int {
	for i := o.head; i < len(o.queue); i++ {
		c := &o.queue[i]
		n := c.peer - at.Offset
		if c.peer < 0 || n < 0 || n >= int64(len(b)) || !plausibleAnswer(b[n:], header) || at.Peer >= 0 && at.Peer <= c.began ||
			c.answers() == answersLogin || i > o.head && o.queue[i-1].peer == c.peer || i+1 < len(o.queue) && o.queue[i+1].peer == c.peer {
			continue // it isn't there, or not sure to be that of this command
		}
		for o.head < i {
			dropped := o.pop()
			s.drop(&dropped)
		}
		o.sure()
		return int(n)
	}
	return -1
}

// sure says that the next answer is that of the next command.
func (o *outstanding) sure() {
	o.doubt = false
	for i := o.head; i < len(o.queue); i++ {
		o.queue[i].doubted = false
	}
}

// command notes a command that waits for its answer.
func (p *Parser) command(h *half, c command) {
	c.began, c.peer, c.doubted, c.pending = h.first.Offset, h.first.Peer, p.commands.doubt, true
	if len(p.commands.queue)-p.commands.head >= MaxOutstanding {
		dropped := p.commands.pop()
		p.prepared.drop(&dropped)
		p.lose(&p.halves[p.client.Other()], h.first)
	}
	if p.commands.head > 0 && len(p.commands.queue) == cap(p.commands.queue) {
		n := copy(p.commands.queue, p.commands.queue[p.commands.head:])
		clear(p.commands.queue[n:])
		p.commands.queue, p.commands.head = p.commands.queue[:n], 0
	}
	p.commands.queue = append(p.commands.queue, c)
}
