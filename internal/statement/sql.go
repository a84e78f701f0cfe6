package statement

import (
	"bytes"
	"unicode"
)

// maxDepth is how deep parentheses are told apart. Deeper ones are followed, but no list in them is shortened.
const maxDepth = 32

// maxColumns is how many columns of an INSERT are known by their names.
const maxColumns = 256

// shaper makes templates of SQL, or finds its literals.
//
// Theory of operation. The text goes by token by token. A token is written in one form, whatever stood between it and
// the one before: keywords in upper case, names as they are, and what stands for a value as ?. Three things need to be
// remembered. Signs: + and - where an operand is due belong to the value behind them, and are taken back when it comes.
// Lists: each open parenthesis has a level, which knows where its last item begins, so that an item like the one before
// is taken back when it ends. And the name that a value goes with, for those who ask for literals: the last one that
// an operator or the like follows, or that of the column at its place.
//
// A template goes through the same, and comes out as it is: what is written is split into the tokens that it was written
// from, of which none changes, and no list has two items that are alike.
type shaper struct {
	scanner
	progress
	// levels are the open parentheses, the statement first; columns those of INSERT.
	levels  [maxDepth]level
	columns [][]byte
}

// progress is what is remembered of the tokens so far.
type progress struct {
	w *writer
	// finds: literals are wanted, into found, rather than a template.
	finds bool
	found []Literal

	// before is the kind of the last token that was written, beforeSign that before the signs at hand, and flags those of
	// the keyword that it was.
	before, beforeSign kind
	flags, flagsSign   keywordFlags
	isKeyword          bool
	// dotted: an operand stood before the dot that was written last.
	dotted bool
	// signs is where the signs at hand begin in what is written, and signsFrom in the text; -1: there are none.
	signs, signsFrom int
	// table: INTO was written, and perhaps a name.
	table bool

	// depth counts the open parentheses.
	depth int

	// name is what literals are called: the last name, or the one before when it is compared with that. parameters counts
	// the placeholders. secret: all literals are credentials until the clause ends.
	name, lastWord   []byte
	compared         bool
	parameters       int
	secret, afterSet bool
}

// sign is the kind of a sign before its operand, in shaper.before.
const sign = comment + 1

// level is an open parenthesis, or the statement.
type level struct {
	// list: like items in a row are one. rows: VALUES began it.
	list, rows bool
	items      list
	// names: the columns of INSERT are here. row: it is one of VALUES. place counts its commas.
	names, row bool
	place      int
	// name is what the function is called that the literals are given to, or what its value is compared with. secret: they
	// are credentials.
	name   []byte
	secret bool
}

// sqlLanguage makes the language of a dialect.
func sqlLanguage(number byte, d *dialect) *language {
	return &language{
		number: number,
		shape: func(w *writer, method, text []byte, cut bool) {
			s := &w.sql
			s.begin(d, w, text)
			s.command(method)
			s.run()
			s.finish(cut)
		},
		literals: func(w *writer, dst []Literal, _, text []byte) []Literal {
			s := &w.sql
			s.begin(d, w, text)
			s.finds, s.comments, s.found = true, true, dst
			s.run()
			return s.found
		},
		describe: func(template []byte) (string, string) { return describeSQL(d, template) },
	}
}

func (s *shaper) begin(d *dialect, w *writer, text []byte) {
	s.scanner = scanner{dialect: d, text: text}
	s.progress = progress{w: w, signs: -1}
	s.columns = s.columns[:0]
	s.levels[0] = level{}
}

// command writes the command of a protocol that its text doesn't begin with, such as PREPARE before a SELECT, or one
// that has no text.
func (s *shaper) command(method []byte) {
	if len(method) == 0 {
		return
	}
	probe := s.scanner
	first := probe.next()
	for first == opening {
		first = probe.next()
	}
	if rest := s.text[probe.t.from:]; first == word && len(rest) >= len(method) && bytes.EqualFold(rest[:len(method)], method) &&
		(len(rest) == len(method) || bytesOf[rest[len(method)]]&isPart == 0) {
		return
	}
	if string(method) == methodLogin {
		s.text = nil
	}
	for i, c := range method {
		if bytesOf[c]&isStart == 0 && (c != ' ' || i == 0 || i+1 == len(method) || method[i+1] == ' ') {
			return
		}
	}
	text := s.text
	s.text = method
	s.run()
	s.text, s.at = text, 0
}

// methodLogin is the command of an exchange that logs in.
const methodLogin = "LOGIN"

// run takes all tokens.
func (s *shaper) run() {
	for {
		k := s.next()
		t := &s.t
		switch k {
		case end:
			return
		case comment:
			s.addComment(t)
		case word:
			s.word(t)
		case quoted:
			s.named(t)
			s.ends()
			s.put(quoted, s.w.oneLine(s.text[t.from:t.to]), 0)
		case value, placeholder:
			s.value(k)
		case operator:
			s.operator(t)
		case opening:
			s.open(t)
		case closing:
			s.close(t)
		case comma:
			s.comma()
		case dot:
			s.dotted = s.operand()
			s.put(dot, s.text[t.from:t.to], 0)
		case cast:
			s.put(cast, s.text[t.from:t.to], 0)
		case semicolon:
			s.semicolon()
		}
	}
}

// level returns the innermost level, nil when it is too deep.
func (s *shaper) level() *level {
	if s.depth < maxDepth {
		return &s.levels[s.depth]
	}
	return nil
}

// operand reports whether what was written last ends an operand, so that a sign behind it is an operator.
func (s *shaper) operand() bool {
	switch s.before {
	case word:
		return !s.isKeyword || s.flags&asks == 0
	case quoted, placeholder, closing:
		return true
	}
	return false
}

// put writes a token.
func (s *shaper) put(k kind, text []byte, flags keywordFlags) {
	if !s.finds {
		if s.spaced(k, text) {
			s.w.out = append(s.w.out, ' ')
		}
		s.w.out = append(s.w.out, text...)
		s.w.fits()
	}
	if k != sign {
		s.signs = -1
	}
	s.before, s.flags, s.isKeyword = k, flags, false
}

// spaced reports whether a space stands before a token.
func (s *shaper) spaced(k kind, text []byte) bool {
	if len(s.w.out) == 0 {
		return false
	}
	switch k {
	case comma, semicolon, dot:
		return false
	case closing:
		return false
	case cast:
		return s.before == operator || s.before == cast
	case opening:
		switch s.before {
		case word:
			return text[0] != '[' && (s.isKeyword || s.table)
		case quoted:
			return text[0] != '[' && s.table
		case opening, sign, dot, cast:
			return false
		case closing, placeholder:
			return text[0] != '['
		}
		return true
	}
	switch s.before {
	case opening:
		return false
	case dot:
		if bytesOf[text[0]]&isNumber != 0 {
			return !s.dotted
		}
		return k == operator && text[0] != '*' || k == sign
	case cast, sign:
		return k == operator || k == sign
	}
	return true
}

// word is a name or a keyword.
func (s *shaper) word(t *token) {
	text := s.text[t.from:t.to]
	var k *keyword
	if s.before != dot {
		k = keywords.find(text, t.hash)
	}
	if k == nil {
		s.named(t)
		s.ends()
		s.put(word, text, 0)
		return
	}
	if k.flags&constant != 0 && s.isValue() {
		t.textFrom, t.textTo = t.from, t.to
		s.value(value)
		return
	}
	if k.text != "ROW" {
		s.ends()
	}
	if s.finds {
		if k.flags&holds == 0 {
			s.name, s.compared = nil, false
			if k.text == "WHERE" {
				s.secret = false
			}
		}
		s.afterSet = k.text == "SET"
	}
	s.put(word, k.bytes, k.flags)
	s.isKeyword = true
	s.table = k.flags&into != 0 || s.table && k.flags&modifies != 0
	s.last = operator // .5 behind it is a number
	if l := s.level(); l != nil && k.flags&rows != 0 {
		l.list, l.rows = true, true
		l.items = list{}
		l.items.begin(s.w)
	}
}

// isValue reports whether NULL, TRUE or FALSE is a value at this place rather than a part of the statement, as of IS NULL.
func (s *shaper) isValue() bool {
	switch s.before {
	case operator, opening, comma, sign:
		return true
	case word:
		return s.isKeyword && s.flags&asks != 0 && s.flags&keeps == 0
	}
	return false
}

// ends ends the rows of VALUES, when what comes next is none.
func (s *shaper) ends() {
	l := s.level()
	if l == nil || !l.rows {
		return
	}
	if !s.finds {
		l.items.ended(s.w)
	}
	l.list, l.rows = false, false
}

// value is a literal or a placeholder.
func (s *shaper) value(k kind) {
	if s.finds {
		s.add(k)
	} else if s.signs >= 0 {
		s.w.truncate(s.signs)
	}
	if s.signs >= 0 {
		s.before, s.flags = s.beforeSign, s.flagsSign
		s.isKeyword = s.before == word
	}
	s.put(placeholder, question, 0)
}

var question = []byte("?")

// operator is an operator or a sign.
func (s *shaper) operator(t *token) {
	text := s.text[t.from:t.to]
	if len(text) == 1 && (text[0] == '-' || text[0] == '+') && !s.operand() {
		if s.signs < 0 {
			s.beforeSign, s.flagsSign = s.before, s.flags
			signs := len(s.w.out)
			s.put(sign, text, 0)
			s.signs, s.signsFrom = signs, t.from
			return
		}
		s.put(sign, text, 0)
		return
	}
	s.compared = true
	s.put(operator, text, 0)
}

// open is an opening parenthesis.
func (s *shaper) open(t *token) {
	text := s.text[t.from:t.to]
	outer := s.level()
	before, flags, isKeyword, table := s.before, s.flags, s.isKeyword, s.table
	s.put(opening, text, 0)
	s.table = false
	s.depth++
	l := s.level()
	if l == nil {
		return
	}
	*l = level{list: text[0] == '[' || before == word && isKeyword && flags&lists != 0}
	l.items.begin(s.w)
	if !s.finds {
		return
	}
	l.name = s.name
	if outer != nil {
		l.secret, l.row = outer.secret && !outer.rows, outer.rows
	}
	l.names = table
	if l.names {
		s.columns = s.columns[:0]
	}
	if before == word && !isKeyword {
		l.secret = l.secret || secretFunction(s.lastWord)
		if outer != nil && outer.row && outer.place < len(s.columns) {
			l.name = s.columns[outer.place]
			s.name = l.name
		}
	}
}

// close is a closing parenthesis.
func (s *shaper) close(t *token) {
	l := s.level()
	if l != nil && l.list && !s.finds {
		l.items.ended(s.w)
	}
	if s.depth > 0 {
		s.depth--
		if l != nil {
			s.name, s.compared = l.name, false
		}
	}
	s.put(closing, s.text[t.from:t.to], 0)
}

// comma separates items.
func (s *shaper) comma() {
	l := s.level()
	if l != nil && l.list && !s.finds {
		l.items.ended(s.w)
	}
	s.put(comma, commaText, 0)
	if l == nil {
		return
	}
	l.items.begin(s.w)
	l.place++
	if s.finds {
		s.name, s.compared, s.lastWord = l.name, false, nil
		if s.depth == 0 {
			s.secret = false
		}
	}
}

var commaText = []byte(",")

// semicolon ends a statement. One at the end of the text, or behind another, isn't written.
func (s *shaper) semicolon() {
	s.ends()
	s.depth = 0
	s.levels[0] = level{}
	s.name, s.secret = nil, false
	s.table, s.signs = false, -1
	if s.before != semicolon && s.before != end {
		s.before, s.flags, s.isKeyword = semicolon, 0, false
		if !s.finds {
			s.w.out = append(s.w.out, ';')
			s.w.fits()
		}
	}
}

// finish writes what is left when the text is over.
func (s *shaper) finish(cut bool) {
	if cut {
		// The last item of a list may be a part of one like the others: what it is like is left out.
		for d := range min(s.depth+1, maxDepth) {
			if l := &s.levels[d]; l.list && l.items.any && (s.w.out[l.items.end-1] == '?' || s.w.out[l.items.end-1] == ')') {
				s.w.truncate(l.items.end)
				s.before, s.depth = closing, d
				l.list, l.rows = false, false
				break
			}
		}
		s.ends()
		s.put(quoted, ellipsis, 0)
		return
	}
	if l := s.level(); l != nil && l.rows && !s.w.marked {
		l.items.ended(s.w)
	}
	if n := len(s.w.out); n > 0 && s.w.out[n-1] == ';' && s.before == semicolon && !s.w.marked {
		s.w.truncate(n - 1)
	}
}

var ellipsis = []byte("…")

// named notes a name.
func (s *shaper) named(t *token) {
	if !s.finds {
		return
	}
	text := unquote(s.text[t.from:t.to])
	s.lastWord = text
	l := s.level()
	if l != nil && l.names && len(s.columns) < maxColumns {
		for len(s.columns) <= min(l.place, maxColumns-1) {
			s.columns = append(s.columns, nil)
		}
		if l.place < maxColumns {
			s.columns[l.place] = text
		}
	}
	if !s.compared || s.name == nil {
		s.name = text
	}
	if secretClause(text) || s.afterSet && bytes.EqualFold(text, []byte("password")) {
		s.secret = true
	}
	s.afterSet = false
}

// add adds a literal or a placeholder.
func (s *shaper) add(k kind) {
	t := &s.t
	found := Literal{From: t.from, To: t.to, TextFrom: t.textFrom, TextTo: t.textTo, Name: s.name, Secret: s.secret}
	if s.signs >= 0 && s.signsFrom >= 0 {
		found.From, found.TextFrom = s.signsFrom, s.signsFrom
	}
	if k == placeholder {
		found.TextFrom, found.TextTo = found.From, t.to
		s.parameters++
		found.Parameter = s.parameters
		if n := number(s.text[t.from+1 : t.to]); n > 0 && s.text[t.from] == '$' {
			found.Parameter = n
		}
	}
	if l := s.level(); l != nil {
		found.Secret = found.Secret || l.secret
		if l.row && l.place < len(s.columns) && s.name == nil {
			found.Name = s.columns[l.place]
		}
	}
	s.found = append(s.found, found)
}

// number returns the number that b is in decimal, 0 when it isn't a small one.
func number(b []byte) int {
	if len(b) == 0 || len(b) > 6 {
		return 0
	}
	n := 0
	for _, c := range b {
		if bytesOf[c]&isNumber == 0 {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// addComment adds the text of a comment.
func (s *shaper) addComment(t *token) {
	text := s.text[t.textFrom:t.textTo]
	from := t.textFrom + len(text) - len(bytes.TrimLeftFunc(text, unicode.IsSpace))
	to := from + len(bytes.TrimSpace(text))
	s.signsFrom = -1 // signs before a comment are no part of the literal behind it
	if from < to {
		s.found = append(s.found, Literal{From: from, To: to, TextFrom: from, TextTo: to, Comment: true})
	}
}

// unquote returns a name without its quotes.
func unquote(b []byte) []byte {
	if len(b) > 1 && (b[0] == '"' || b[0] == '`') && b[len(b)-1] == b[0] {
		return b[1 : len(b)-1]
	}
	return b
}

// secretFunctions are the functions whose arguments are credentials or keys.
var secretFunctions = [][]byte{
	[]byte("password"), []byte("old_password"), []byte("encrypt"), []byte("aes_encrypt"), []byte("aes_decrypt"), []byte("des_encrypt"), []byte("des_decrypt"),
	[]byte("crypt"), []byte("pgp_sym_encrypt"), []byte("pgp_sym_decrypt"), []byte("pgp_pub_decrypt"), []byte("hmac"), []byte("dblink"), []byte("dblink_connect"),
	[]byte("dblink_exec"),
}

func secretFunction(name []byte) bool { return containsFold(secretFunctions, name) }

// secretClauses are the words behind which credentials stand, until the clause ends.
var secretClauses = [][]byte{[]byte("identified"), []byte("connection")}

func secretClause(name []byte) bool { return containsFold(secretClauses, name) }

func containsFold(all [][]byte, name []byte) bool {
	for _, s := range all {
		if bytes.EqualFold(s, name) {
			return true
		}
	}
	return false
}
