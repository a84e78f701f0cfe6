package operation

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// telling are the names of members without which there is nothing to find.
var telling = [...][]byte{[]byte(`"query"`), []byte(`"operationName"`), []byte(`"method"`)}

// json reads a request of GraphQL or JSON-RPC, or a batch of them.
func (f found) json(_, body []byte) found {
	tells := false
	for _, name := range telling {
		tells = tells || bytes.Contains(body, name)
	}
	if !tells {
		return f
	}
	s := newScanner(body)
	switch s.next() {
	case json.Delim('{'):
		f.request(s.object())
	case json.Delim('['):
		for s.next() == json.Delim('{') {
			f.request(s.object())
		}
	}
	return f
}

// request takes one request.
func (f *found) request(r request) {
	switch {
	case r.method != "" && (r.version != "" || r.hasParams && (r.id != absent || !r.whole)):
		kind := call
		switch {
		case r.id == absent && !r.whole:
			kind = ""
		case r.id == absent, r.id == null && r.version != "2.0":
			// Without an id in 2.0, with one that is null in 1.0, there is no answer.
			kind = notification
		}
		f.add(JSONRPC, kind, r.method)
	case r.query != "":
		f.graphQL(r.query, r.operationName, r.cut)
	case r.operationName != "" && (r.persisted || f.hinted):
		f.add(GraphQL, "", r.operationName)
	}
}

// document reads a body that is a GraphQL document.
func (f found) document(_, body []byte) found {
	f.graphQL(string(body), "", len(body) == Peek)
	return f
}

// graphQL takes a document, or the beginning of one, and the name of the operation in it that is asked for, if it was given.
func (f *found) graphQL(text, name string, cut bool) {
	ops, ok := definitions(text, cut)
	switch {
	case !ok && !f.hinted:
		return
	case len(ops) == 0:
		f.add(GraphQL, "", name)
		return
	}
	chosen := ops[0]
	for _, op := range ops {
		if name != "" && op.name == name {
			chosen = op
		}
	}
	if name == "" {
		name = chosen.name
	}
	f.add(GraphQL, chosen.kind, name)
}

// presence tells a member that is null from one that isn't there.
type presence uint8

const (
	absent presence = iota
	null
	present
)

// request is what matters of a JSON object.
type request struct {
	query, operationName, method, version string
	persisted, hasParams                  bool
	id                                    presence
	// whole: the end of the object was seen. cut: the end of the query wasn't.
	whole, cut bool
}

// scanner reads the tokens of JSON that may be cut or broken anywhere.
type scanner struct {
	body []byte
	d    *json.Decoder
	over bool
}

func newScanner(body []byte) *scanner {
	s := &scanner{body: bytes.TrimPrefix(body, []byte("\ufeff"))}
	s.d = json.NewDecoder(bytes.NewReader(s.body))
	s.d.UseNumber()
	return s
}

// end is the token behind the last; null is nil.
type end struct{}

// next returns the next token. Of a string that is cut it returns what there is, and ends.
func (s *scanner) next() json.Token {
	if s.over {
		return end{}
	}
	token, err := s.d.Token()
	if err == nil {
		return token
	}
	s.over = true
	rest := bytes.TrimLeft(s.body[s.d.InputOffset():], ":, \t\r\n")
	if len(rest) == 0 || rest[0] != '"' || !isCutString(rest[1:]) {
		return end{}
	}
	return beginning(rest)
}

// isCutString reports whether a string doesn't end within b.
func isCutString(b []byte) bool {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return false
		}
	}
	return true
}

// beginning unescapes the beginning of a string, without a character or an escape that is cut. It returns end when there is
// something else wrong with it.
func beginning(b []byte) json.Token {
	for n := 1; n < utf8.UTFMax && n < len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				b = b[:len(b)-n]
			}
			break
		}
	}
	for range len(`\u0000`) {
		var text string
		if json.Unmarshal(append(b[:len(b):len(b)], '"'), &text) == nil {
			return text
		}
		if b = b[:len(b)-1]; len(b) == 0 {
			break
		}
	}
	return end{}
}

// object reads the members of an object whose brace was read.
func (s *scanner) object() (r request) {
	for !s.over {
		token := s.next()
		name, ok := token.(string)
		if !ok {
			r.whole = token == json.Delim('}')
			return r
		}
		value := s.next()
		text, _ := value.(string)
		if s.over && name != "query" {
			return r // a name that is cut isn't one
		}
		switch name {
		case "query":
			r.query, r.cut = text, s.over
		case "operationName":
			r.operationName = text
		case "method":
			r.method = text
		case "jsonrpc":
			r.version = text
		case "params":
			r.hasParams = true
		case "id":
			if r.id = present; value == nil {
				r.id = null
			}
		case "extensions":
			if value == json.Delim('{') {
				r.persisted = s.has("persistedQuery") || r.persisted
				continue
			}
		}
		if value == json.Delim('{') || value == json.Delim('[') {
			s.skip()
		}
	}
	return r
}

// has passes over the rest of an object, and reports whether a member has that name.
func (s *scanner) has(name string) (has bool) {
	for {
		token := s.next()
		member, ok := token.(string)
		if !ok {
			return has
		}
		has = has || member == name
		if value := s.next(); value == json.Delim('{') || value == json.Delim('[') {
			s.skip()
		}
	}
}

// skip passes over the rest of an object or array.
func (s *scanner) skip() {
	for depth := 1; depth > 0 && !s.over; {
		switch s.next() {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}
