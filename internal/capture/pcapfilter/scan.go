package pcapfilter

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

type tokenKind uint8

const (
	tokEnd     tokenKind = iota
	tokWord              // a keyword or a name
	tokEscaped           // a name after a backslash, never a keyword
	tokNumber
	tokDotted // two to four decimal numbers with dots: an IPv4 address, or the beginning of one
	tokIP6
	tokMAC
	tokSymbol
)

// token is one token of an expression.
type token struct {
	kind   tokenKind
	pos    int
	text   string // as written, without a backslash; "and", "or" and "not" for && || !
	number uint32 // tokNumber
	addr   netip.Addr
	mac    [6]byte
}

// scanner makes tokens of an expression. As in libpcap's, a hyphen or a dot belongs to the word that
// it stands in: "len-5" is one word, and subtraction needs spaces.
type scanner struct {
	expr string
	pos  int
}

func (s *scanner) errorf(pos int, message string) *SyntaxError {
	return &SyntaxError{Expr: s.expr, Pos: pos, Message: message}
}

// symbols are the operators, the longer before their prefixes, with the words that they stand for.
var symbols = [...]struct{ text, word string }{
	{"&&", "and"}, {"||", "or"}, {"<<", "<<"}, {">>", ">>"}, {"<=", "<="}, {">=", ">="}, {"!=", "!="}, {"==", "="},
	{"!", "not"}, {"(", "("}, {")", ")"}, {"[", "["}, {"]", "]"}, {":", ":"}, {"+", "+"}, {"-", "-"}, {"*", "*"},
	{"/", "/"}, {"%", "%"}, {"&", "&"}, {"|", "|"}, {"^", "^"}, {"<", "<"}, {">", ">"}, {"=", "="},
}

func isWordByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_'
}

func isAddressByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'f' || '0' <= c && c <= '9' || c == '.' || c == ':'
}

// span returns how far from the current position all bytes satisfy f.
func (s *scanner) span(f func(byte) bool) string {
	end := s.pos
	for end < len(s.expr) && f(s.expr[end]) {
		end++
	}
	return s.expr[s.pos:end]
}

// next returns the next token.
func (s *scanner) next() (token, *SyntaxError) {
	for s.pos < len(s.expr) && strings.IndexByte(" \t\r\n", s.expr[s.pos]) >= 0 {
		s.pos++
	}
	start := s.pos
	if start == len(s.expr) {
		return token{kind: tokEnd, pos: start}, nil
	}
	if text := s.span(isAddressByte); strings.Count(text, ":") >= 2 {
		s.pos += len(text)
		return s.address(start, text)
	}
	if c := s.expr[start]; c == '\\' {
		s.pos++
		text := s.span(isWordByte)
		if text == "" {
			return token{}, s.errorf(start, "a backslash must stand before a name")
		}
		s.pos += len(text)
		return token{kind: tokEscaped, pos: start, text: text}, nil
	} else if isWordByte(c) && c != '.' && c != '-' && c != '_' {
		text := strings.TrimRight(s.span(isWordByte), "-_")
		s.pos += len(text)
		return s.word(start, text)
	}
	for _, sym := range symbols {
		if strings.HasPrefix(s.expr[start:], sym.text) {
			s.pos += len(sym.text)
			kind := tokSymbol
			if sym.word == "and" || sym.word == "or" || sym.word == "not" {
				kind = tokWord
			}
			return token{kind: kind, pos: start, text: sym.word}, nil
		}
	}
	return token{}, s.errorf(start, "this character has no meaning here")
}

// address classifies a word with colons.
func (s *scanner) address(start int, text string) (token, *SyntaxError) {
	t := token{pos: start, text: text}
	if mac, ok := parseMAC(text); ok {
		t.kind, t.mac = tokMAC, mac
		return t, nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return t, s.errorf(start, "neither an IPv6 nor an Ethernet address")
	}
	t.kind, t.addr = tokIP6, addr
	return t, nil
}

// parseMAC parses an Ethernet address as libpcap does: 6 numbers of one or two hex digits with
// colons, hyphens or dots, or 3 of four digits with dots, or 12 digits.
func parseMAC(text string) (mac [6]byte, ok bool) {
	for _, sep := range []string{":", "-", "."} {
		parts := strings.Split(text, sep)
		if len(parts) != len(mac) {
			continue
		}
		for i, p := range parts {
			n, err := strconv.ParseUint(p, 16, 8)
			if err != nil || len(p) > 2 {
				return mac, false
			}
			mac[i] = byte(n)
		}
		return mac, true
	}
	if len(text) == 12 && strings.IndexFunc(text, notHex) < 0 {
		text = text[:4] + "." + text[4:8] + "." + text[8:]
	}
	if hw, err := net.ParseMAC(text); err == nil && len(hw) == len(mac) {
		return [6]byte(hw), true
	}
	return mac, false
}

func notHex(r rune) bool {
	return (r < '0' || '9' < r) && (r|0x20 < 'a' || 'f' < r|0x20)
}

// word classifies a word.
func (s *scanner) word(start int, text string) (token, *SyntaxError) {
	t := token{kind: tokWord, pos: start, text: text}
	if mac, ok := parseMAC(text); ok {
		t.kind, t.mac = tokMAC, mac
		return t, nil
	}
	if n, ok := constants[text]; ok {
		t.kind, t.number = tokNumber, n
		return t, nil
	}
	digits, hex := strings.CutPrefix(text, "0x")
	if !hex {
		digits, hex = strings.CutPrefix(text, "0X")
	}
	switch {
	case hex && digits != "" && strings.IndexFunc(digits, notHex) < 0,
		!hex && strings.Trim(text, "0123456789") == "":
		n, err := strconv.ParseUint(text, 0, 32)
		if err != nil {
			return t, s.errorf(start, "not a number of 32 bits (a leading 0 means octal)")
		}
		t.kind, t.number = tokNumber, uint32(n)
	case strings.Trim(text, "0123456789.") == "":
		t.kind = tokDotted
	}
	return t, nil
}

// dotted returns the numbers of a tokDotted at the top of an address, and how many bits they are.
func (t *token) dotted() (addr uint32, bits int, ok bool) {
	parts := strings.Split(t.text, ".")
	if len(parts) > 4 {
		return 0, 0, false
	}
	for _, p := range parts {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil || len(p) > 1 && p[0] == '0' {
			return 0, 0, false
		}
		addr = addr<<8 | uint32(n)
		bits += 8
	}
	return addr << (32 - bits), bits, true
}
