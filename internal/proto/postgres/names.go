package postgres

import "bytes"

// statement is a prepared statement.
type statement struct {
	text []byte
	// cut: the text is longer.
	cut bool
	// parameters and columns are the types of the parameters and of the result's columns, as far as somebody said.
	parameters, columns []uint32
	// version counts how often the statement was made anew, which the unnamed one is all the time.
	version uint32
	// used is when it was used last, counted in uses.
	used uint64
	// gone: no name has it any more.
	gone bool
}

// portal is a statement that runs under a name of its own.
type portal struct {
	statement *statement
	used      uint64
	// own is how many bytes it keeps beside those of the statement.
	own int
}

// names are the statements and portals of a connection, by name. The unnamed ones, which most clients use, have a place of their own.
// When there are too many, those that weren't used for the longest time are forgotten.
type names struct {
	unnamed    statement
	known      bool
	latest     *statement
	statements map[string]*statement
	portals    map[string]portal
	// bytes is what the named ones keep, uses counts what was asked for.
	bytes int
	uses  uint64
}

const (
	// statementSize is what a statement or a portal is estimated to take beside its texts, typeSize what a type does.
	statementSize = 200
	typeSize      = 4
)

// size returns how many bytes are kept.
func (n *names) size() int {
	u := &n.unnamed
	return cap(u.text) + typeSize*(cap(u.parameters)+cap(u.columns)) + n.bytes + statementSize*(len(n.statements)+len(n.portals))
}

// clear forgets all.
func (n *names) clear() {
	u := n.unnamed
	*n = names{}
	if cap(u.text) <= keepBuffer {
		n.unnamed = statement{text: u.text[:0], parameters: u.parameters[:0], columns: u.columns[:0]}
	}
}

// doubt forgets all names, since any may have become another's.
func (n *names) doubt() {
	n.known, n.latest = false, nil
	for _, s := range n.statements {
		s.gone = true
	}
	n.statements, n.portals, n.bytes = nil, nil, 0
}

// parse makes a statement anew.
func (n *names) parse(name, text []byte, cut bool) *statement {
	if len(name) == 0 {
		s := &n.unnamed
		n.known = true
		s.text, s.parameters, s.columns, s.cut = append(s.text[:0], text...), s.parameters[:0], s.columns[:0], cut
		s.version++
		return s
	}
	n.forget(name)
	s := &statement{text: bytes.Clone(text), cut: cut}
	n.use(s)
	if n.statements == nil {
		n.statements = map[string]*statement{}
	}
	n.statements[string(name)] = s
	n.bytes += len(name) + cap(s.text)
	for len(n.statements) > 1 && (len(n.statements) > maxStatements || n.bytes > maxPrepared) {
		n.evict(s)
	}
	return s
}

// evict forgets the statement that wasn't used for the longest time, but for one.
func (n *names) evict(but *statement) {
	var oldest *statement
	var name string
	for key, s := range n.statements {
		if s != but && (oldest == nil || s.used < oldest.used) {
			oldest, name = s, key
		}
	}
	n.forget([]byte(name))
}

func (n *names) use(s *statement) {
	n.uses++
	s.used = n.uses
}

// find returns the statement of a name, nil when it isn't known.
func (n *names) find(name []byte) *statement {
	if len(name) == 0 {
		if !n.known {
			return nil
		}
		return &n.unnamed
	}
	s := n.statements[string(name)]
	if s != nil {
		n.use(s)
	}
	return s
}

// forget forgets a statement.
func (n *names) forget(name []byte) {
	if s := n.statements[string(name)]; s != nil {
		n.bytes -= len(name) + cap(s.text) + typeSize*(cap(s.parameters)+cap(s.columns))
		s.gone = true
		delete(n.statements, string(name))
	}
}

// describe notes types that the client or the server said of a statement.
func (n *names) describe(s *statement, to *[]uint32, types []uint32) {
	if s.gone {
		return
	}
	before := cap(*to)
	*to = append((*to)[:0], types...)
	if s != &n.unnamed {
		n.bytes += typeSize * (cap(*to) - before)
	}
}

// bind notes which statement a portal runs, nil when it isn't known.
func (n *names) bind(name []byte, s *statement) {
	if len(name) == 0 {
		n.latest = s
		return
	}
	n.drop(name)
	if s == nil {
		return
	}
	n.uses++
	o := portal{statement: s, used: n.uses, own: len(name)}
	if s == &n.unnamed {
		// It will be another's soon.
		o.statement = &statement{text: bytes.Clone(s.text), cut: s.cut, gone: true}
		o.own += cap(o.statement.text)
	}
	if n.portals == nil {
		n.portals = map[string]portal{}
	}
	n.portals[string(name)] = o
	n.bytes += o.own
	if len(n.portals) > maxPortals {
		var oldest string
		least := n.uses
		for key, o := range n.portals {
			if o.used < least {
				oldest, least = key, o.used
			}
		}
		n.drop([]byte(oldest))
	}
}

// running returns the statement of a portal, nil when it isn't known.
func (n *names) running(name []byte) *statement {
	if len(name) == 0 {
		return n.latest
	}
	return n.portals[string(name)].statement
}

// drop forgets a portal.
func (n *names) drop(name []byte) {
	if o, ok := n.portals[string(name)]; ok {
		n.bytes -= o.own
		delete(n.portals, string(name))
	}
}
