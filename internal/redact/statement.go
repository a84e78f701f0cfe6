package redact

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/statement"
)

// hidesLiterals reports whether what the user keeps of an exchange is data, which isn't shown: literals, parameters,
// results.
func (r *Redactor) hidesLiterals() bool { return !r.literals }

// statements hides the literals and the credentials of a database's exchange.
func (r *Redactor) statements(x *exchange.Exchange) {
	r.begin(x)
	s := &x.Statement
	s.Template, s.Collection = r.template(s.Template), r.template(s.Collection)
	for _, side := range [...]struct {
		has  bool
		m    *proto.Message
		body *exchange.Body
	}{{x.HasRequest, &x.Request, &x.RequestBody}, {x.HasResponse, &x.Response, &x.ResponseBody}} {
		if side.has {
			r.statement(x, side.m)
			r.blankRest(side.m)
			r.result(x, side.m, side.body)
		}
	}
}

// begin prepares for the messages of an exchange.
func (r *Redactor) begin(x *exchange.Exchange) {
	r.language, r.secretive = x.Protocol, false
	r.unknown = x.Protocol == "redis" && x.HasResponse && bytes.HasPrefix(x.Response.FactText(proto.FactErrorText), []byte("ERR unknown command"))
}

// template hides what is secret in a template, or in a part of one: what the names and the patterns of the rules find.
func (r *Redactor) template(text string) string {
	if text == "" {
		return text
	}
	r.scratch = append(r.scratch[:0], text...)
	if r.find(r.scratch, templateText); len(r.spans) == 0 {
		return text
	}
	return string(r.appendRedacted(nil, r.scratch))
}

// statement hides the literals and credentials of a message: of its text, its parameters, and what the server says.
func (r *Redactor) statement(x *exchange.Exchange, m *proto.Message) {
	r.language, r.method = x.Protocol, m.Bytes(m.Method)
	r.secretParameters = r.secretParameters[:0]
	m.Target = r.rewrite(m, m.Target, (*Redactor).statementText)
	r.secretive = r.secretive || len(r.secretParameters) > 0
	r.facts(m)
	r.overwrite(m)
}

// templateText finds what is secret in a template.
func templateText(r *Redactor, v []byte) { r.keys(v, 0, len(v)) }

// literalMark is what stands for a literal.
const literalMark = '?'

// addLiteral hides v[from:to], which is data rather than a credential.
func (r *Redactor) addLiteral(v []byte, from, to int) {
	if to-from != 1 || v[from] != literalMark {
		r.addSpan(v, span{from: from, to: to, literal: true})
	}
}

// data is a value: all of it is a literal, or, where those are shown, what looks like a secret in it is one.
func (r *Redactor) data(v []byte) {
	if r.hidesLiterals() {
		r.addLiteral(v, 0, len(v))
		return
	}
	said(r, v)
}

// statementText is a statement or a command.
func (r *Redactor) statementText(v []byte) {
	r.found = r.analyzer.Literals(r.found[:0], r.language, r.method, v)
	r.secretive = r.secretive || bytes.Contains(v, parserMark)
	from, program := 0, false // a program that mentions secrets was met
	for i := range r.found {
		l := &r.found[i]
		secret := l.Secret
		if shortest := 0; l.Name != nil && !secret {
			shortest = r.literalName(l.Name)
			secret = shortest > 0 && (l.TextTo-l.TextFrom >= shortest || l.Parameter > 0)
		}
		if r.language == "redis" && !secret && !r.hidesLiterals() {
			program = program || isOneOf(r.method, scripting) && r.mentions(v[l.TextFrom:l.TextTo])
			secret = r.unknown || program
		}
		r.secretive = r.secretive || secret || l.TextFrom < l.TextTo && markLen(v[l.TextFrom:l.TextTo]) == l.TextTo-l.TextFrom
		if l.Parameter > 0 {
			if secret {
				r.secretParameters = append(r.secretParameters, l.Parameter)
			}
			continue
		}
		r.keys(v, from, l.From)
		from = l.To
		switch {
		case secret && l.TextFrom > l.From && l.TextTo < l.To:
			r.add(v, l.TextFrom, l.TextTo)
		case secret && (l.TextFrom > l.From || markLen(v[l.From:l.To]) == 0): // without quotes, or cut within them
			r.addSpan(v, span{from: l.From, to: l.To, quote: r.quote()})
		case secret || markLen(v[l.TextFrom:l.TextTo]) == l.TextTo-l.TextFrom && l.TextFrom < l.TextTo: // hidden already
		case r.hidesLiterals():
			r.addLiteral(v, l.From, l.To)
		case r.language == "redis" && bytes.IndexByte(v[l.TextFrom:l.TextTo], '\\') >= 0: // escaped as JSON is, or nearly
			r.stringValue(v, l.TextFrom, l.TextTo)
		default:
			r.within(v, l.TextFrom, l.TextTo, said)
		}
	}
	r.keys(v, from, len(v))
}

// parserMark is what parsers show in place of credentials.
var parserMark = []byte("…[redacted]")

// literalName returns the length from which a literal of that name is secret, 0 when none is.
func (r *Redactor) literalName(name []byte) int {
	if r.language != "redis" {
		return r.names.minimum(name)
	}
	if !r.isSecretName(name) { // key and the like are what arguments are named by chance
		return 0
	}
	return r.parameter(name)
}

// quote returns the quote that marks stand in, in the language at hand.
func (r *Redactor) quote() byte {
	if r.language == "mysql" || r.language == "postgresql" {
		return '\''
	}
	return '"'
}

// keyEnd are the delimiters of the parts of a key, and of keys.
var keyEnd = newDelimiters(" \t\r\n\"':/|")

// keys finds credentials in what isn't data: tokens and card numbers, and in the keys of caches the parts behind a secret
// name, such as that of a session.
func (r *Redactor) keys(v []byte, i, to int) {
	if r.language != "redis" && r.language != "memcached" {
		r.text(v, i, to, plainCards)
		return
	}
	shortest := 0
	for i < to {
		end := next(v, i, to, &keyEnd)
		if shortest > 0 && end-i >= shortest && end-i >= minPathSecret {
			r.add(v, i, end)
		} else {
			r.text(v, i, end, plainCards)
		}
		shortest = 0
		if end < to && v[end] > ' ' && v[end] != '"' && v[end] != '\'' {
			shortest = r.keyPart(v[i:end])
		}
		i = end + 1
	}
}

// keyPart returns the length from which what follows a part of a key is secret, 0 when it isn't.
func (r *Redactor) keyPart(name []byte) int {
	switch s := r.names.lookup(name[bytes.LastIndexAny(name, "{[.")+1:]); {
	case s != nil && (s.min > 0 || s.origin == kept):
		return s.min
	case statement.SecretPart(name):
		return minPathSecret
	}
	return 0
}

// identifiers are the words behind which servers quote a name rather than data, in lower case.
var identifiers = map[string]bool{
	"key": true, "table": true, "column": true, "relation": true, "constraint": true, "index": true, "user": true, "role": true, "database": true,
	"schema": true, "type": true, "function": true, "procedure": true, "view": true, "trigger": true, "sequence": true, "statement": true,
	"cursor": true, "portal": true, "parameter": true, "variable": true, "extension": true, "language": true, "field": true, "host": true,
	"engine": true, "collation": true, "operator": true, "partition": true, "tablespace": true, "savepoint": true, "encoding": true, "plugin": true,
	"alias": true, "collection": true,
}

// commanding are the words behind which servers quote what they take for a command. That is a name when it looks like one.
var commanding = map[string]bool{"command": true, "subcommand": true}

// maxCommand is how long the name of a command is at most, in bytes.
const maxCommand = 32

// looksLikeCommand reports whether b is a word of letters.
func looksLikeCommand(b []byte) bool {
	for _, c := range b {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= maxCommand
}

// clauses are the parts of a statement that MySQL quotes behind "in".
var clauses = map[string]bool{
	"where clause": true, "field list": true, "on clause": true, "order clause": true, "group statement": true, "having clause": true,
	"from clause": true, "in/all/any subquery": true,
}

// serverText is what a server says of an error. What it quotes is data, unless the word before says that it is a name;
// so are numbers in braces, and what is in =(...). Servers don't escape what they quote: data goes up to the last quote
// before the next name. What stands in backquotes is data for Redis alone.
//
// Where data is shown, that is hidden all the same where it may be a credential: where the statement has some, and of Redis,
// which repeats what it doesn't understand.
func (r *Redactor) serverText(v []byte) {
	r.labelled(v)
	r.spans = slices.DeleteFunc(r.spans, func(s span) bool { return s.to-s.from == 1 && v[s.from] == literalMark })
	if !r.hidesLiterals() && !r.secretive && r.language != "redis" {
		return
	}
	r.matches = append(r.matches[:0], r.spans...)
	secrets := len(r.matches)
	r.spans = r.spans[:0]
	r.quotedData(v)
	if secrets > 0 {
		r.matches = append(r.matches, r.spans...)
		r.join(v)
	}
}

// quotedData finds the data in what a server says.
func (r *Redactor) quotedData(v []byte) {
	name, braces := false, 0 // the last quotes held a name, and nothing followed but an @
	for i := 0; i < len(v); {
		c := v[i]
		switch {
		case c == '\'' || c == '"' || c == '`' && r.language == "redis":
			if i > 0 && isAlphanumeric(v[i-1]) { // doesn't
				i++
				continue
			}
			end, word := quotedName(v, i)
			if word > 0 || name && end > 0 {
				name = true
				i = end
				continue
			}
			end = dataEnd(v, i)
			r.addLiteral(v, i, end)
			i = end
		case c == '{':
			braces++
			i++
		case c == '}':
			braces = max(braces-1, 0)
			i++
		case braces > 0 && (isDigit(c) || c == '-') && !isAlphanumeric(v[i-1]):
			end := i + 1
			for end < len(v) && (isAlphanumeric(v[end]) || bytes.IndexByte([]byte(".'\""), v[end]) >= 0) { // a quote there opens nothing
				end++
			}
			r.addLiteral(v, i, end)
			i = end
		case c == '=' && i+1 < len(v) && v[i+1] == '(':
			end := len(v)
			if n := bytes.LastIndexByte(v[i:], ')'); n > 0 {
				end = i + n
			}
			r.addLiteral(v, i+2, end)
			i = end
		default:
			i++
		}
		name = name && c == '@'
	}
}

// maxIdentifier is how long a name is at most that a server quotes, in bytes.
const maxIdentifier = 256

// quotedName returns where the quotes end that begin at v[i], 0 when they don't, and, if a name is in them, behind which
// byte the word begins that says so, else 0.
func quotedName(v []byte, i int) (end, word int) {
	n := bytes.IndexByte(v[i+1:], v[i])
	if n < 0 || n > maxIdentifier {
		return 0, 0
	}
	end = i + 1 + n + 1
	to := i
	for to > 0 && (v[to-1] == ' ' || v[to-1] == ':') {
		to--
	}
	from := to
	for from > 0 && isAlphanumeric(v[from-1]) {
		from--
	}
	said := string(bytes.ToLower(v[from:to]))
	if to < i && (identifiers[said] || commanding[said] && looksLikeCommand(v[i+1:end-1]) || said == "in" && clauses[string(bytes.ToLower(v[i+1:end-1]))]) {
		return end, from + 1
	}
	return end, 0
}

// dataEnd returns where the data ends that is in quotes from v[i] on.
func dataEnd(v []byte, i int) int {
	to := len(v)
	for j := i + 1; j < len(v); j++ {
		if v[j] == v[i] {
			if _, word := quotedName(v, j); word > 0 {
				to = word - 1
				break
			}
		}
	}
	if n := bytes.LastIndexByte(v[i+1:max(to, i+1)], v[i]); n >= 0 {
		return i + 1 + n + 1
	}
	return max(to, i+1)
}

// The parts of what stands for a result.
const (
	resultStart = "[redacted "
	resultEnd   = " bytes]"
)

// result hides what was kept of the rows or values that a message brought.
func (r *Redactor) result(x *exchange.Exchange, m *proto.Message, b *exchange.Body) {
	asked := m
	if x.HasRequest {
		asked = &x.Request
	}
	if !r.hidesLiterals() && !r.hidesResult(x, asked) {
		find := said
		if x.Protocol == "redis" {
			find = (*Redactor).reply
		}
		r.find(b.Bytes, find)
		if len(r.spans) > 0 {
			r.body = r.appendRedacted(r.body[:0], b.Bytes)
			b.Bytes = r.replaced(b.Bytes)
		}
		return
	}
	if len(b.Bytes) == 0 || isResultMark(b.Bytes) {
		return
	}
	r.body = append(strconv.AppendInt(append(r.body[:0], resultStart...), int64(len(b.Bytes)), 10), resultEnd...)
	b.Bytes = r.replaced(b.Bytes)
}

// replaced puts r.body into the place of a body, which is overwritten. It goes no further than the old length, whatever the
// capacity: what lies behind may be another body.
func (r *Redactor) replaced(b []byte) []byte {
	clear(b)
	return append(b[:0:len(b)], r.body...)
}

func isResultMark(b []byte) bool {
	rest, ok := bytes.CutPrefix(b, []byte(resultStart))
	digits, ends := bytes.CutSuffix(rest, []byte(resultEnd))
	if !ok || !ends || len(digits) == 0 {
		return false
	}
	for _, c := range digits {
		if !isDigit(c) {
			return false
		}
	}
	return true
}

// blankRest overwrites what is in no span of a message: what statements were before, and what parsers left beside them.
func (r *Redactor) blankRest(m *proto.Message) {
	r.scratch = append(r.scratch[:0], m.Raw...)
	blank(m.Raw)
	keep := func(s proto.Span) { copy(m.Bytes(s), r.scratch[s.Off:]) }
	for _, s := range [...]proto.Span{m.Method, m.Target, m.Proto, m.Reason} {
		keep(s)
	}
	for i := range m.Fields {
		keep(m.Fields[i].Name)
		keep(m.Fields[i].Value)
	}
	for i := range m.Facts {
		keep(m.Facts[i].Value)
	}
}
