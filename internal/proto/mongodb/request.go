package mongodb

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Names of the facts that are told here; the table exchange.Facts says which fields show them.
const (
	factDatabase       = "database"
	factUser           = "user"
	factFullCollection = "full_collection"
	factSkip           = "skip"
	factLimit          = "limit"
	factCompression    = "compression"
	factCursor         = "cursor"
	factStartingFrom   = "starting_from"
	factAffected       = "affected_rows"
)

// around are the elements of a command that say how it is carried out rather than what it does; they aren't shown.
var around = map[string]bool{
	"$db": true, "lsid": true, "$clusterTime": true, "$readPreference": true, "txnNumber": true, "startTransaction": true,
	"autocommit": true, "apiVersion": true, "apiStrict": true, "apiDeprecationErrors": true, "$audit": true, "$client": true,
	"$configServerState": true, "$configTime": true, "$topologyTime": true, "$replData": true, "$oplogQueryData": true,
	"client": true, "topologyVersion": true, "databaseVersion": true, "shardVersion": true, "mayBypassWriteBlocking": true,
}

// secrets are elements that hold credentials, or what they are proved by, by command; they aren't shown either.
var secrets = map[string][]string{
	"hello":           {"speculativeAuthenticate"},
	"isMaster":        {"speculativeAuthenticate"},
	"ismaster":        {"speculativeAuthenticate"},
	"saslStart":       {"payload"},
	"saslContinue":    {"payload"},
	"authenticate":    {"key", "nonce"},
	"createUser":      {"pwd"},
	"updateUser":      {"pwd"},
	"copydb":          {"key", "nonce"},
	"copydbsaslstart": {"payload"},
}

// naming are the commands that name something else than a collection.
var naming = map[string]bool{
	"createUser": true, "updateUser": true, "dropUser": true, "grantRolesToUser": true, "revokeRolesFromUser": true, "usersInfo": true,
	"createRole": true, "updateRole": true, "dropRole": true, "grantRolesToRole": true, "revokeRolesFromRole": true,
	"grantPrivilegesToRole": true, "revokePrivilegesFromRole": true, "rolesInfo": true, "getParameter": true, "getLog": true,
	"renameCollection": true, "enableSharding": true, "shardCollection": true, "configureFailPoint": true,
	"replSetHeartbeat": true, "replSetRequestVotes": true,
}

// writes are the commands whose n counts the documents that they changed.
var writes = map[string]bool{"insert": true, "update": true, "delete": true, "bulkWrite": true}

// command is what is told of a request.
type command struct {
	// name is the command; database and collection are what it is about, either may be empty.
	name, database, collection []byte
	// document is the command itself, sections are sequences of documents that belong to it.
	document []byte
	sections [maxSections]section
	count    int
	// skip, limit and cursor are numbers of an old query, and of a getMore.
	skip, limit int64
	hasSkip     bool
	// oneWay: nobody answers. shown: the first element is shown too, since it isn't the collection.
	oneWay, shown bool
	// old: it is a query whose response is documents, rather than a command.
	old bool
	// exhaust: it may be answered more than once. cut: there is more than is shown.
	exhaust bool
	// cursor is the cursor that it reads on, awaits: one that it opens, waits: its answer itself waits.
	cursor        int64
	awaits, waits bool
	cut           bool
}

// maxSections is how many sequences of documents of a request are shown. Drivers send one, or two.
const maxSections = 4

// add adds a sequence of documents.
func (c *command) add(name, documents []byte, alone bool) {
	if c.count == maxSections {
		c.cut = true
		return
	}
	c.sections[c.count] = section{name, documents, alone}
	c.count++
}

// section is a sequence of documents. alone: it is one, and not a list of one.
type section struct {
	name      []byte
	documents []byte
	alone     bool
}

// request takes a request, or the beginning of one that is longer than the limit.
func (p *Parser) request(h *half, src []byte, whole bool, last clock.Mark) {
	m := p.begin(h, last)
	m.Stream = stream(h.head.id)
	opcode, content := h.head.opcode, src[headerSize:]
	compression := ""
	if opcode == opCompressed {
		opcode, content, _, compression = p.inflate(m, content, whole)
		whole = whole && !m.Anomalies.Has(proto.MessageTooLarge)
	}
	var c command
	ok := false
	if content != nil || compression == "" {
		c, ok = p.command(opcode, content)
	}
	if !ok {
		// A message all the same, of which nothing is known.
		m.Anomalies.Set(proto.BadFrame)
		c = command{name: strconv.AppendUint([]byte("opcode_"), uint64(opcode), 10)}
	}
	p.learn(&c)
	p.write(m, &c, !whole)
	if compression != "" {
		m.Say(factCompression, []byte(compression))
	}
	if len(p.user) > 0 {
		m.Say(factUser, p.user)
	}
	m.OneWay, m.Blocks = c.oneWay, c.waits
	awaited := p.waits(c.cursor)
	if !m.OneWay {
		a := asked{id: h.head.id, command: !c.old, awaits: c.awaits, exhausts: c.exhaust, cursor: c.cursor, writes: writes[string(c.name)]}
		a.size = uint8(copy(a.subject[:], m.Raw[:m.Method.Off+m.Method.Len]))
		a.method = uint8(min(m.Method.Off, uint32(a.size)))
		p.remember(a)
		p.exhausting.on, p.exhausting.what = c.exhaust, a
	}
	p.emit(h)
	m.Blocks = m.Blocks || awaited // which other messages told
}

// command reads a request.
func (p *Parser) command(opcode uint32, b []byte) (c command, ok bool) {
	switch opcode {
	case opMsg:
		return readMsg(b)
	case opQuery:
		return readQuery(b)
	}
	read, known := olds[opcode]
	if !known {
		return c, false
	}
	return read(b)
}

// readMsg reads OP_MSG: flags (4), sections, and perhaps a checksum (4). A section is a byte for its kind, and then a document, or a
// length (4) with itself, a name, and documents.
func readMsg(b []byte) (c command, ok bool) {
	if len(b) < 4 {
		return c, false
	}
	flags := binary.LittleEndian.Uint32(b)
	c.oneWay = flags&moreToCome != 0
	c.exhaust = flags&exhaustAllowed != 0
	b = b[4:]
	for len(b) > 5 {
		kind := b[0]
		n := int64(int32(binary.LittleEndian.Uint32(b[1:])))
		if kind > 1 || n < 5 {
			break
		}
		part := b[1:min(n+1, int64(len(b)))]
		b = b[len(part)+1:]
		if kind == 0 {
			c.document, ok = part, true
			continue
		}
		if name, documents, found := bytes.Cut(part[4:], zero); found {
			c.add(name, documents, false)
		}
	}
	if !ok {
		return c, false
	}
	if db, found := lookUp(c.document, "$db"); found {
		c.database = db.text()
	}
	c.named()
	return c, len(c.name) > 0
}

var zero = []byte{0}

// named takes the command's name, and what it is about, from its document.
func (c *command) named() {
	e, _, ok, _ := next(elements(c.document))
	if !ok {
		return
	}
	c.name = e.name
	n, isNumber := e.number()
	switch {
	case string(c.name) == "getMore":
		more, _ := lookUp(c.document, "collection")
		c.collection, c.cursor, c.shown = more.text(), n, true
	case naming[string(c.name)] || !isNumber && e.text() == nil:
		c.shown = true
	default:
		c.collection = e.text()
	}
	if s, found := lookUp(c.document, "skip"); found {
		c.skip, c.hasSkip = s.number()
	}
	for _, name := range [...]string{"limit", "batchSize"} {
		if l, found := lookUp(c.document, name); found && c.limit == 0 {
			c.limit, _ = l.number()
		}
	}
}

// learn finds out whether the answer waits for an event, and who logs in.
func (p *Parser) learn(c *command) {
	has := func(name string) bool { _, ok := lookUp(c.document, name); return ok }
	set := func(name string) bool {
		e, ok := lookUp(c.document, name)
		n, _ := e.number()
		return ok && n != 0
	}
	switch string(c.name) {
	case "getMore":
		// A time may be given for cursors only that wait for documents to come.
		c.waits = has("maxTimeMS")
	case "find":
		c.awaits = c.awaits || set("awaitData")
	case "aggregate":
		if pipeline, ok := lookUp(c.document, "pipeline"); ok && pipeline.kind == typeArray {
			if e, _, ok, _ := next(elements(pipeline.value)); ok && e.kind == typeDocument {
				stage, _, _, _ := next(elements(e.value))
				c.awaits = string(stage.name) == "$changeStream"
			}
		}
	case "hello", "isMaster", "ismaster":
		c.waits = has("maxAwaitTimeMS") && has("topologyVersion")
		if e, ok := lookUp(c.document, "speculativeAuthenticate"); ok && e.kind == typeDocument {
			p.login(e.value)
		}
	case "saslStart", "authenticate":
		p.login(c.document)
	}
}

// login takes the name of the user from a document that begins a login.
func (p *Parser) login(document []byte) {
	var user []byte
	if e, ok := lookUp(document, "user"); ok {
		user = e.text()
	} else if e, ok := lookUp(document, "payload"); ok {
		// SCRAM's first message, n,,n=USER,r=NONCE (RFC 5802 §7).
		payload := e.bytes()
		if i := bytes.Index(payload, scramUser); i >= 0 && bytes.HasPrefix(payload, scramBegin) {
			user, _, _ = bytes.Cut(payload[i+len(scramUser):], comma)
		}
	}
	if len(user) > 0 && len(user) <= maxUser {
		p.user = append(p.user[:0], user...)
	}
}

var (
	scramBegin = []byte("n,")
	scramUser  = []byte(",n=")
	comma      = []byte(",")
)

// write writes a command down as the shell takes it: database.collection.command({...}).
func (p *Parser) write(m *proto.Message, c *command, cut bool) {
	limit := p.limits.MaxStatement
	w := writer{out: m.Raw, limit: limit}
	database := len(c.database)
	if database == 0 && len(c.collection) > 0 {
		c.database = []byte("?") // it stands behind what was read
	}
	w.out = append(w.out, c.database[:min(len(c.database), limit)]...)
	if len(c.database) > 0 {
		w.text(".")
	}
	if len(c.collection) > 0 {
		w.out = append(w.out, c.collection[:min(len(c.collection), limit)]...)
		w.text(".")
	}
	full := max(len(w.out)-1, 0)
	at := len(w.out)
	w.out = append(w.out, c.name[:min(len(c.name), limit)]...)
	m.Method = proto.Span{Off: uint32(at), Len: uint32(len(w.out) - at)}
	w.text("(")
	p.arguments(&w, c)
	if w.cut || cut || c.cut {
		m.Anomalies.Set(proto.StatementCut)
	}
	if len(w.out) > limit && w.cut {
		w.out = w.out[:max(limit, at+int(m.Method.Len))]
	}
	if !w.cut {
		w.text(")")
	}
	m.Raw = w.out
	m.Target = proto.Span{Len: uint32(len(m.Raw))}
	if database > 0 {
		m.Facts = append(m.Facts, proto.Fact{Name: factDatabase, Value: proto.Span{Len: uint32(min(database, limit))}})
	}
	if len(c.collection) > 0 {
		m.Facts = append(m.Facts, proto.Fact{Name: factFullCollection, Value: proto.Span{Len: uint32(full)}})
	}
	if c.hasSkip {
		m.Count(factSkip, c.skip)
	}
	if c.limit != 0 {
		m.Count(factLimit, c.limit)
	}
}

// arguments writes what a command is given.
func (p *Parser) arguments(w *writer, c *command) {
	secret := secrets[string(c.name)]
	before := len(w.out)
	if len(c.document) == 0 {
		if c.cursor == 0 && c.count == 0 {
			return
		}
		w.text("{")
		if c.cursor != 0 {
			w.text(`"getMore":`)
			w.out = strconv.AppendInt(w.out, c.cursor, 10)
		}
		w.sections(c, before)
		return
	}
	if c.old {
		// A query of its own, without what a command has around it.
		w.document(c.document, false, nil, 0)
		return
	}
	first := !c.shown
	w.document(c.document, false, func(name []byte) bool {
		out := first || around[string(name)] || slices.Contains(secret, string(name))
		first = false
		return out
	}, 0)
	if w.cut || c.count == 0 {
		if !w.cut && string(w.out[before:]) == "{}" {
			w.out = w.out[:before]
		}
		return
	}
	w.out = w.out[:len(w.out)-1]
	w.sections(c, before)
}

// sections writes the sequences of documents of a command, and the end of what it is given, which began at before.
func (w *writer) sections(c *command, before int) {
	for _, s := range c.sections[:c.count] {
		if len(w.out) > before+1 {
			w.text(",")
		}
		w.quote(s.name)
		w.text(":")
		if !s.alone {
			w.text("[")
		}
		for i := 0; len(s.documents) >= 4 && !w.full(); i++ {
			if i > 0 {
				w.text(",")
			}
			n := min(max(int64(int32(binary.LittleEndian.Uint32(s.documents))), 5), int64(len(s.documents)))
			w.document(s.documents[:n], false, nil, 1)
			s.documents = s.documents[n:]
		}
		if w.cut {
			return
		}
		if !s.alone {
			w.text("]")
		}
	}
	w.text("}")
}
