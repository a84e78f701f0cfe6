package statement

import (
	"bytes"
	"strings"
)

// dialect is how an SQL server splits a text into tokens.
type dialect struct {
	// backslash: strings have escapes with backslashes, not only those that begin with E.
	backslash bool
	// doubleQuotes: "x" is a string rather than a name.
	doubleQuotes bool
	// hashes: # begins a comment. blankDashes: -- does so only before white space.
	hashes, blankDashes bool
	// nested: /* */ nests. code: /*! */ holds code.
	nested, code bool
	// dollars: $tag$ quotes a string. variables: @ begins the name of a variable.
	dollars, variables bool
	// digits: names may begin with digits.
	digits bool
}

// The dialects, with the settings that their servers have by default. With others (ANSI_QUOTES, NO_BACKSLASH_ESCAPES,
// standard_conforming_strings off) some strings are taken for names, or end elsewhere.
var (
	mysql    = dialect{backslash: true, doubleQuotes: true, hashes: true, blankDashes: true, code: true, variables: true, digits: true}
	postgres = dialect{nested: true, dollars: true}
)

// kind is what a token is.
type kind uint8

const (
	end kind = iota
	word
	// quoted is a name in quotes.
	quoted
	value
	// placeholder stands for a value.
	placeholder
	operator
	opening
	closing
	comma
	dot
	cast
	semicolon
	comment
)

// token is a part of a text.
type token struct {
	from, to int
	// hash is that of a word.
	hash uint32
	// textFrom and textTo are what is within the quotes of a value or a comment.
	textFrom, textTo int
}

// scanner splits SQL into tokens.
type scanner struct {
	*dialect
	text []byte
	at   int
	// comments: they are tokens, too.
	comments bool
	// inCode: a /*! was met, whose end is no token.
	inCode bool
	// last is the kind of the token before, t the one at hand.
	last kind
	t    token
}

// The classes of bytes.
const (
	isBlank = 1 << iota
	isStart // begins a word
	isPart  // goes on in one
	isNumber
	isSign // of an operator with more than one
)

// bytesOf are the classes of each byte. What isn't ASCII is of words.
var bytesOf = func() (t [256]uint8) {
	for i := range t {
		c := byte(i)
		switch {
		case c <= ' ', c == 0x7f:
			t[i] = isBlank
		case 'a' <= c|0x20 && c|0x20 <= 'z', c == '_', c >= 0x80:
			t[i] = isStart | isPart
		case '0' <= c && c <= '9':
			t[i] = isPart | isNumber
		case c == '$':
			t[i] = isPart
		}
	}
	for _, c := range []byte("<>=!~&|:-#@?*^%/+") {
		t[c] |= isSign
	}
	return t
}()

// signs are the operators of more than one byte, the longer ones first where one begins as another.
var signs = []string{"<=>", "->>", "#>>", "!~*", "!~~*", "~~*", "<=", ">=", "<>", "!=", ":=", "||", "&&", "->", "#>", "@>", "<@", "<<", ">>", "~*", "!~", "~~", "=>", "@@", "**"}

// next goes on to the next token, and returns its kind.
func (s *scanner) next() kind {
	s.last = s.scan()
	return s.last
}

func (s *scanner) scan() kind {
	b := s.text
	for s.at < len(b) {
		from := s.at
		c := b[from]
		switch class := bytesOf[c]; {
		case class&isBlank != 0:
			s.at++
			continue
		case class&isStart != 0:
			return s.word(from)
		case class&isNumber != 0:
			return s.number(from)
		}
		switch c {
		case '\'':
			return s.literal(from, from, s.backslash)
		case '"':
			if s.doubleQuotes {
				return s.literal(from, from, s.backslash)
			}
			return s.quotedName(from)
		case '`':
			return s.quotedName(from)
		case '(', '[', '{':
			return s.one(opening)
		case ')', ']', '}':
			return s.one(closing)
		case ',':
			return s.one(comma)
		case ';':
			return s.one(semicolon)
		case '.':
			if s.digitAt(from+1) && s.last != word && s.last != quoted && s.last != closing && s.last != placeholder {
				return s.number(from)
			}
			return s.one(dot)
		case '?':
			return s.one(placeholder)
		case '$':
			if k := s.dollar(from); k != end {
				return k
			}
		case '@':
			if s.variables {
				if n := s.wordEnd(from + len(s.prefix("@@", "@"))); n > from+1 {
					return s.until(quoted, from, n)
				}
			}
		case ':':
			if s.has("::") {
				return s.until(cast, from, from+len("::"))
			}
			if from+1 < len(b) && bytesOf[b[from+1]]&isStart != 0 {
				return s.until(placeholder, from, s.wordEnd(from+1))
			}
		case '-', '#', '/':
			switch s.comment(from) {
			case comment:
				if s.comments {
					return comment
				}
				continue
			case end: // what follows is code
				continue
			}
		case '*':
			if s.inCode && s.has("*/") {
				s.at += len("*/")
				s.inCode = false
				continue
			}
		}
		if bytesOf[c]&isSign != 0 && from+1 < len(b) && bytesOf[b[from+1]]&isSign != 0 {
			for _, sign := range signs {
				if s.has(sign) && !s.splits(sign) {
					return s.until(operator, from, from+len(sign))
				}
			}
		}
		return s.one(operator)
	}
	return s.until(end, len(b), len(b))
}

// until makes text[from:to] the token at hand.
func (s *scanner) until(k kind, from, to int) kind {
	s.t.from, s.t.to, s.at = from, to, to
	return k
}

// splits reports whether in this dialect a variable begins within an operator.
func (s *scanner) splits(sign string) bool { return s.variables && strings.IndexByte(sign, '@') >= 0 }

func (s *scanner) one(k kind) kind { return s.until(k, s.at, s.at+1) }

// has reports whether what comes next is p.
func (s *scanner) has(p string) bool {
	return len(s.text)-s.at >= len(p) && string(s.text[s.at:s.at+len(p)]) == p
}

// prefix returns the first of the texts that comes next, or nothing.
func (s *scanner) prefix(texts ...string) string {
	for _, p := range texts {
		if s.has(p) {
			return p
		}
	}
	return ""
}

func (s *scanner) digitAt(i int) bool { return i < len(s.text) && bytesOf[s.text[i]]&isNumber != 0 }

// wordEnd returns where the word ends that v[i] is in.
func (s *scanner) wordEnd(i int) int {
	for i < len(s.text) && bytesOf[s.text[i]]&isPart != 0 {
		i++
	}
	return i
}

// word is a name or a keyword, or the letter before a string.
func (s *scanner) word(from int) kind {
	b, i, h := s.text, from, uint32(0)
	for i < len(b) && bytesOf[b[i]]&isPart != 0 {
		h = wordHash(h, b[i])
		i++
	}
	if i == from+1 && i < len(b) && b[i] == '\'' {
		switch b[from] | 0x20 {
		case 'e':
			if !s.backslash {
				return s.literal(from, i, true)
			}
		case 'n':
			return s.literal(from, i, s.backslash)
		case 'x', 'b':
			return s.literal(from, i, false)
		}
	}
	s.t.hash = h
	return s.until(word, from, i)
}

// literal is a string, and those behind it, which are parts of it. quote is where its quote is.
func (s *scanner) literal(from, quote int, backslash bool) kind {
	b := s.text
	s.t.textFrom = quote + 1
	for {
		mark := b[quote]
		i := quote + 1
		for i < len(b) {
			if c := b[i]; c == '\\' && backslash {
				i++
			} else if c == mark {
				if i+1 == len(b) || b[i+1] != mark { // two are a quote
					break
				}
				i++
			}
			i++
		}
		i = min(i, len(b))
		s.t.textTo = i
		to := min(i+1, len(b))
		// The next one may follow behind white space.
		for i = to; i < len(b) && bytesOf[b[i]]&isBlank != 0; i++ {
		}
		if i == len(b) || b[i] != '\'' && (b[i] != '"' || !s.doubleQuotes) {
			return s.until(value, from, to)
		}
		quote = i
	}
}

// quotedName is a name in quotes.
func (s *scanner) quotedName(from int) kind {
	b, mark := s.text, s.text[from]
	for i := from + 1; i < len(b); i++ {
		if b[i] != mark {
			continue
		}
		if i+1 < len(b) && b[i+1] == mark {
			i++
			continue
		}
		return s.until(quoted, from, i+1)
	}
	return s.until(quoted, from, len(b))
}

// number is a number in any notation, with what is wrong behind it; or a name that begins with digits.
func (s *scanner) number(from int) kind {
	b, i := s.text, from
	for i < len(b) && (bytesOf[b[i]]&isNumber != 0 || b[i] == '_' && !s.digits) {
		i++
	}
	whole := i > from
	if i < len(b) && b[i] == '.' && !(i+1 < len(b) && b[i+1] == '.') {
		whole = false
		for i++; s.digitAt(i) || i < len(b) && b[i] == '_' && !s.digits; i++ {
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		e := i + 1
		if e < len(b) && (b[e] == '+' || b[e] == '-') {
			e++
		}
		if s.digitAt(e) {
			whole = false
			for i = e; s.digitAt(i); i++ {
			}
		}
	}
	rest := s.wordEnd(i)
	if whole && rest > i && s.digits && !radix(b[from:rest]) {
		return s.until(quoted, from, rest)
	}
	s.t.textFrom, s.t.textTo = from, rest
	return s.until(value, from, rest)
}

// radix reports whether b is a number such as 0x1F or 0b01.
func radix(b []byte) bool {
	if len(b) < 3 || b[0] != '0' || b[1] != 'x' && b[1] != 'b' {
		return false
	}
	for _, c := range b[2:] {
		if letter := c | 0x20; bytesOf[c]&isNumber == 0 && (b[1] == 'b' || letter < 'a' || letter > 'f') {
			return false
		}
	}
	return true
}

// dollar is a string in dollar quotes, or a placeholder, or else end.
func (s *scanner) dollar(from int) kind {
	b := s.text
	if s.digitAt(from + 1) {
		return s.until(placeholder, from, s.wordEnd(from+1))
	}
	if !s.dollars {
		return end
	}
	i := from + 1
	for i < len(b) && bytesOf[b[i]]&isPart != 0 && b[i] != '$' {
		i++
	}
	if i == len(b) || b[i] != '$' {
		return end
	}
	i++
	tag := b[from:i]
	s.t.textFrom, s.t.textTo = i, len(b)
	to := len(b)
	if n := bytes.Index(b[i:], tag); n >= 0 {
		s.t.textTo = i + n
		to = s.t.textTo + len(tag)
	}
	return s.until(value, from, to)
}

// comment skips a comment, or what code in a comment begins with, which is end. It is operator when there is none.
func (s *scanner) comment(from int) kind {
	b := s.text
	switch {
	case s.has("#") && s.hashes, s.has("--") && (!s.blankDashes || from+2 == len(b) || bytesOf[b[from+2]]&isBlank != 0):
		to := len(b)
		if n := bytes.IndexAny(b[from:], "\r\n"); n >= 0 {
			to = from + n
		}
		s.t.textFrom, s.t.textTo = min(from+len("--"), to), to
		if b[from] == '#' {
			s.t.textFrom = from + len("#")
		}
		return s.until(comment, from, to)
	case s.code && (s.has("/*!") || s.has("/*M!")):
		s.at = from + bytes.IndexByte(b[from:], '!') + 1
		for s.digitAt(s.at) {
			s.at++
		}
		s.inCode = true
		return end
	case s.has("/*"):
		text, to := s.blockEnd(from + len("/*"))
		s.t.textFrom, s.t.textTo = from+len("/*"), text
		return s.until(comment, from, to)
	}
	return operator
}

// blockEnd returns where the text of a comment ends that begins at i, and where what follows begins.
func (s *scanner) blockEnd(i int) (text, after int) {
	b := s.text
	for depth := 1; ; {
		n := bytes.IndexByte(b[i:], '/')
		if n < 0 {
			return len(b), len(b)
		}
		at := i + n
		i = at + 1
		switch {
		case n > 0 && b[at-1] == '*':
			if depth--; depth == 0 {
				return at - 1, i
			}
		case s.nested && at+1 < len(b) && b[at+1] == '*':
			depth++
			i = at + 2
		}
	}
}
