package operation

import "strings"

// definition is an operation in a GraphQL document.
type definition struct{ kind, name string }

// definitions returns the operations of a GraphQL document (https://spec.graphql.org/October2021/#sec-Document), MaxNames at
// most; cut says that the text is only the beginning of one. ok is false when the text can't be that.
//
// Only the outermost level is read: keyword, name, and whatever else up to the selection set, which is passed over by its
// braces.
func definitions(text string, cut bool) (ops []definition, ok bool) {
	s := lexer{text: strings.TrimPrefix(text, "\ufeff")}
	for len(ops) < MaxNames {
		token := s.next()
		d := definition{kind: token}
		switch token {
		case "":
			return ops, ok
		case "{":
			if first := s.next(); first != "" && first != "..." && !isName(first) {
				return ops, ok
			}
			ops = append(ops, definition{kind: query})
			if !s.pass(1) {
				return ops, ok || cut
			}
			ok = true
			continue
		case query, mutation, subscription, "fragment":
		default:
			return ops, ok
		}
		token = s.next()
		if isName(token) {
			d.name = token
			token = s.next()
		}
		if d.kind == "fragment" {
			if d.name == "" || token != "on" && (token != "" || !cut) {
				return ops, ok
			}
		} else {
			if token != "{" && token != "(" && token != "@" && (token != "" || !cut) {
				return ops, ok
			}
			ops = append(ops, d)
		}
		if !s.selection(token) {
			return ops, ok || cut
		}
		ok = true
	}
	return ops, ok
}

// lexer reads tokens of GraphQL.
type lexer struct {
	text string
}

// selection passes over everything up to the end of the next selection set, whose opening brace token may be. It reports
// whether it ended.
func (s *lexer) selection(token string) bool {
	parens := 0
	for ; token != ""; token = s.next() {
		switch token {
		case "(":
			parens++
		case ")":
			parens--
		case "{":
			if parens <= 0 { // those of arguments are objects
				return s.pass(1)
			}
		}
	}
	return false
}

// pass passes over braces until so many are closed. It reports whether they were.
func (s *lexer) pass(open int) bool {
	for open > 0 {
		switch s.next() {
		case "":
			return false
		case "{":
			open++
		case "}":
			open--
		}
	}
	return true
}

// next returns the next token: a name, a punctuator, or a string with its opening quotes, which isn't unescaped; empty at the
// end of the text.
func (s *lexer) next() string {
	for s.text != "" {
		switch c := s.text[0]; {
		case strings.IndexByte(" \t\r\n,", c) >= 0:
			s.text = s.text[1:]
		case strings.HasPrefix(s.text, "\ufeff"):
			s.text = s.text[len("\ufeff"):]
		case c == '#':
			end := strings.IndexAny(s.text, "\r\n")
			if end < 0 {
				end = len(s.text)
			}
			s.text = s.text[end:]
		case strings.HasPrefix(s.text, `"""`):
			return s.take(stringEnd(s.text, `"""`))
		case c == '"':
			return s.take(stringEnd(s.text, `"`))
		case strings.HasPrefix(s.text, "..."):
			return s.take(3)
		case isNameByte(c):
			n := 1
			for n < len(s.text) && isNameByte(s.text[n]) {
				n++
			}
			return s.take(n)
		default:
			return s.take(1)
		}
	}
	return ""
}

func (s *lexer) take(n int) string {
	token := s.text[:n]
	s.text = s.text[n:]
	return token
}

// stringEnd returns where the string ends that text begins with, between quotes.
func stringEnd(text, quotes string) int {
	for i := len(quotes); i < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case strings.HasPrefix(text[i:], quotes):
			return i + len(quotes)
		}
	}
	return len(text)
}

// isName reports whether a token is a name.
func isName(token string) bool {
	return token != "" && isNameByte(token[0]) && (token[0] < '0' || token[0] > '9')
}

func isNameByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
