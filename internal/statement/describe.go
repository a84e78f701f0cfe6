package statement

import "bytes"

// describeSQL returns the operation of a template, and the first table of it.
func describeSQL(d *dialect, template []byte) (operation, collection string) {
	s := describer{scanner: scanner{dialect: d, text: template}}
	return s.operation(), s.table()
}

// describer reads a template.
type describer struct {
	scanner
	// k is the keyword that the token is, nil when it is none.
	k *keyword
}

// advance goes on to the next token, and reports whether there is one.
func (s *describer) advance() bool {
	before := s.last
	s.k = nil
	if s.next() == word && before != dot {
		s.k = keywords.find(s.bytes(), s.t.hash)
	}
	return s.last != end
}

func (s *describer) bytes() []byte { return s.text[s.t.from:s.t.to] }

// is reports whether the token is a keyword.
func (s *describer) is(text string) bool { return s.k != nil && s.k.text == text }

// operation returns the word that a statement begins with; of WITH ... SELECT, the command that follows.
func (s *describer) operation() string {
	defer func() { s.at, s.last, s.k = 0, end, nil }()
	for s.advance() && s.last == opening {
	}
	if s.last != word || len(s.bytes()) > MaxName || s.bytes()[0] >= 0x80 {
		return ""
	}
	first := string(bytes.ToUpper(s.bytes()))
	if !s.is("WITH") {
		return first
	}
	depth := 0
	for s.advance() {
		switch {
		case s.last == opening:
			depth++
		case s.last == closing:
			depth--
		case depth == 0 && s.k != nil && s.k.flags&commands != 0:
			return s.k.text
		}
	}
	return first
}

// table returns the first table that the statement names, with its schema and without quotes.
func (s *describer) table() string {
	// call has a bit for each open parenthesis: it is that of a function, where FROM isn't followed by a table.
	call := uint64(0)
	var before *keyword
	first := end
	creates := false
	for s.advance() {
	again:
		k := s.k
		switch {
		case s.last == opening:
			call <<= 1
			if before == nil && (first == word || first == quoted) {
				call |= 1
			}
		case s.last == closing:
			call >>= 1
		case k == nil:
		case k.text == "SELECT":
			call &^= 1
		case k.text == "INDEX" || k.text == "TRIGGER":
			creates = true
		case k.flags&tables != 0 && !(before != nil && before.flags&follows(k) != 0) && call&1 == 0, creates && k.text == "ON":
			if name := s.tableName(); name != "" {
				return name
			}
			before, first = k, end
			goto again // the token at hand is none of a name, and may mean something else
		}
		before, first = k, s.last
	}
	return ""
}

// follows returns the flag of the keywords behind which k names no table: FOR UPDATE, ON UPDATE, DISTINCT FROM.
func follows(k *keyword) keywordFlags {
	switch k.text {
	case "UPDATE":
		return locks
	case "FROM":
		return distinct
	}
	return 0
}

// tableName returns the name that follows, empty when none does, or when it is that of a function.
func (s *describer) tableName() string {
	introduced := s.k
	for s.advance() && s.k != nil {
		if s.k.flags&modifies == 0 && s.k.flags&into == 0 {
			return ""
		}
	}
	var name []byte
	for {
		if s.last != word && s.last != quoted || s.bytes()[0] == '@' {
			return ""
		}
		name = append(name, unquoted(s.bytes())...)
		if !s.advance() || s.last != dot {
			break
		}
		name = append(name, '.')
		s.advance()
	}
	if s.last == opening && introduced.flags&into == 0 && introduced.text != "ON" && introduced.text != "COPY" && introduced.text != "REFERENCES" {
		return ""
	}
	if len(name) > MaxName || string(name) == string(ellipsis) || bytes.EqualFold(name, []byte("OUTFILE")) || bytes.EqualFold(name, []byte("DUMPFILE")) {
		return ""
	}
	return string(name)
}

// unquoted returns a name without its quotes, and with the quotes in it.
func unquoted(b []byte) []byte {
	in := unquote(b)
	if len(in) < len(b) {
		in = bytes.ReplaceAll(in, []byte{b[0], b[0]}, []byte{b[0]})
	}
	return in
}
