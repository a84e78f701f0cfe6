package mongodb

import (
	"bytes"
	"encoding/binary"
)

// olds read the requests that OP_MSG has replaced, by opcode.
var olds = map[uint32]func(b []byte) (command, bool){
	opUpdate:      readUpdate,
	opInsert:      readInsert,
	opGetMore:     readGetMore,
	opDelete:      readDelete,
	opKillCursors: readKillCursors,
}

// The flags of OP_QUERY.
const (
	queryAwaitData = 1 << 5
	queryExhaust   = 1 << 6
)

// commandCollection is the collection whose queries are commands.
const commandCollection = "$cmd"

// fields takes an old request apart.
type fields struct {
	b  []byte
	ok bool
}

// int32 takes four bytes.
func (f *fields) int32() int64 {
	if len(f.b) < 4 {
		f.ok = false
		return 0
	}
	n := int64(int32(binary.LittleEndian.Uint32(f.b)))
	f.b = f.b[4:]
	return n
}

// collection takes a database and a collection, joined by a dot, up to a zero.
func (f *fields) collection(c *command) {
	full, rest, found := bytes.Cut(f.b, zero)
	if f.ok = f.ok && found && len(full) > 0; f.ok {
		c.database, c.collection, _ = bytes.Cut(full, dot)
		f.b = rest
	}
}

var dot = []byte(".")

// document takes a document, as far as it is there.
func (f *fields) document() []byte {
	if len(f.b) < 5 {
		f.ok = false
		return nil
	}
	n := int64(int32(binary.LittleEndian.Uint32(f.b)))
	if n < 5 {
		f.ok = false
		return nil
	}
	n = min(n, int64(len(f.b)))
	d := f.b[:n]
	f.b = f.b[n:]
	return d
}

// readQuery reads OP_QUERY: flags (4), collection, how many to skip (4) and to return (4), the query, and perhaps which fields
// are wanted.
func readQuery(b []byte) (c command, ok bool) {
	f := fields{b: b, ok: true}
	flags := f.int32()
	f.collection(&c)
	c.skip, c.limit = f.int32(), f.int32()
	c.document = f.document()
	c.exhaust, c.awaits = flags&queryExhaust != 0, flags&queryAwaitData != 0
	if !f.ok {
		return c, false
	}
	c.hasSkip = true
	if string(c.collection) == commandCollection {
		c.collection = nil
		limit := c.limit
		c.document = query(c.document)
		c.named()
		c.limit, c.skip, c.hasSkip = limit, 0, true
		return c, len(c.name) > 0
	}
	c.name, c.old = []byte("find"), true
	return c, true
}

// query returns the query itself, which may be wrapped in a document with what is around it.
func query(document []byte) []byte {
	for _, name := range [...]string{"$query", "query"} {
		if e, _, ok, whole := next(elements(document)); ok && whole && string(e.name) == name && e.kind == typeDocument {
			return e.value
		}
	}
	return document
}

// readInsert reads OP_INSERT: flags (4), collection, documents.
func readInsert(b []byte) (c command, ok bool) {
	f := fields{b: b, ok: true}
	f.int32()
	f.collection(&c)
	c.name, c.oneWay = []byte("insert"), true
	c.add([]byte("documents"), f.b, false)
	return c, f.ok
}

// readUpdate reads OP_UPDATE: nothing (4), collection, flags (4), which documents, and what they become.
func readUpdate(b []byte) (c command, ok bool) {
	f := fields{b: b, ok: true}
	f.int32()
	f.collection(&c)
	f.int32()
	c.name, c.oneWay = []byte("update"), true
	c.add([]byte("q"), f.document(), true)
	c.add([]byte("u"), f.document(), true)
	return c, f.ok
}

// readDelete reads OP_DELETE: nothing (4), collection, flags (4), which documents.
func readDelete(b []byte) (c command, ok bool) {
	f := fields{b: b, ok: true}
	f.int32()
	f.collection(&c)
	f.int32()
	c.name, c.oneWay = []byte("delete"), true
	c.add([]byte("q"), f.document(), true)
	return c, f.ok
}

// readGetMore reads OP_GET_MORE: nothing (4), collection, how many to return (4), cursor (8).
func readGetMore(b []byte) (c command, ok bool) {
	f := fields{b: b, ok: true}
	f.int32()
	f.collection(&c)
	c.limit = f.int32()
	if c.name, c.old = []byte("getMore"), true; !f.ok || len(f.b) < 8 {
		return c, false
	}
	c.cursor = int64(binary.LittleEndian.Uint64(f.b))
	return c, true
}

// readKillCursors reads OP_KILL_CURSORS: nothing (4), how many (4), cursors (8 each).
func readKillCursors(b []byte) (c command, ok bool) {
	f := fields{b: b, ok: true}
	f.int32()
	f.int32()
	c.name, c.oneWay = []byte("killCursors"), true
	return c, f.ok
}
