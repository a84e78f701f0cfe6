// Package redact hides secrets: credentials, cookies, tokens, passwords and card numbers, in headers,
// targets and bodies. docs/redaction.md says what it finds and what it can't find.
//
// A secret becomes a mark such as …[redacted 15 #4f2a]: its length in bytes, and a fingerprint that is
// the same wherever this installation meets the same secret.
package redact

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"hash/maphash"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/statement"
)

// MaxSecrets is how many secrets of one header, target or body are told apart. When there are more,
// the last mark stands for all that follows.
const MaxSecrets = 1024

// Redactor hides secrets. It isn't safe for concurrent use.
type Redactor struct {
	// Lumped counts the values with more than MaxSecrets secrets.
	Lumped uint64
	// Unlisted counts the fingerprints that found no room among MaxFingerprints.
	Unlisted uint64

	mac   hash.Hash
	names names
	// patterns are those of the rules, matches what they found in the value at hand, and marks its marks.
	patterns       []*regexp.Regexp
	matches, marks []span
	// listed are the fingerprints of the exchange at hand, if listing is set.
	listed  []string
	listing bool
	// again: the exchange at hand was redacted before.
	again bool
	// fingerprints are all fingerprints with the same first byte, one after the other; empty: none was met.
	fingerprints [256]string
	// views are decoded values, each within the one before, of which nested are in use; level is in how many
	// strings of JSON the value at hand stands.
	views         [maxNested]view
	nested, level int
	// spans are the secrets found in the value at hand, in order.
	spans []span
	// name, body, sum and scratch are scratch memory: for a name without escapes, a new body, a fingerprint, a
	// route.
	name, body, sum, scratch []byte
	known                    [256]known
	seed                     maphash.Seed
	// literals: those of statements are shown. analyzer finds them; language and method are those of the statement at hand,
	// found its literals, and secretParameters the numbers of its parameters that are credentials.
	literals         bool
	analyzer         *statement.Analyzer
	language         string
	method           []byte
	found            []statement.Literal
	secretParameters []int
	// secretive: credentials are in the statement of the exchange at hand, so that they may be in what answers it. unknown: the
	// server didn't know the command.
	secretive, unknown bool
	// old are the secrets of the message at hand that have a redacted copy, and not been overwritten yet.
	old []proto.Span
	// processes are the redacted forms of processes; those of redacted ones are themselves.
	processes map[*exchange.Process]hiddenProcess
}

// span is a secret's place in a value.
type span struct {
	from, to int
	// quotes: the mark needs quotes around it, to be a JSON value; 1: plain ones, 2: those of JSON in a string
	// of JSON, and so on.
	quotes uint8
	// quote, if it isn't 0, stands around the mark. literal: it is data, for which a ? stands.
	quote   byte
	literal bool
}

// New returns a Redactor. key is the secret that fingerprints depend on, so that they can't be
// compared with those of guessed secrets; see LoadKey.
func New(key []byte) *Redactor {
	return &Redactor{mac: hmac.New(sha256.New, key), names: newNames(&vocabulary{}), seed: maphash.MakeSeed(), analyzer: statement.New()}
}

// Exchange hides the secrets of an exchange in place: spans of messages are moved to redacted copies
// at the end of Message.Raw, and the secrets are overwritten where they stood. Processes, which others
// share, are replaced by redacted copies. The fingerprints of what it hides are added to x.Secrets, each once,
// in the order in which they are met. A second call changes nothing.
func (r *Redactor) Exchange(x *exchange.Exchange) {
	r.listed, r.listing, r.again = x.Secrets, true, len(x.Secrets) > 0
	r.exchange(x)
	x.Secrets = r.listed
	r.listed, r.listing, r.again = nil, false, false
}

func (r *Redactor) exchange(x *exchange.Exchange) {
	x.Enriched.Route = r.route(x.Enriched.Route)
	for d, p := range x.Process {
		x.Process[d] = r.process(p)
	}
	if x.Family == exchange.Database {
		r.statements(x)
		return
	}
	if x.HasRequest {
		r.message(&x.Request)
		r.redactBody(x, &x.Request, &x.RequestBody)
	}
	if x.HasResponse {
		r.message(&x.Response)
		r.redactBody(x, &x.Response, &x.ResponseBody)
	}
	if c := &x.Closing; c.Reason != "" {
		r.scratch = append(r.scratch[:0], c.Reason...)
		if r.find(r.scratch, said); len(r.spans) > 0 {
			c.Reason = string(r.appendRedacted(nil, r.scratch))
		}
	}
}

// Target hides the secrets of the request target in place, and nothing else: for outputs that show
// nothing else of a message but its method and status, and no arguments of processes. It leaves x.Secrets as
// it is, which would be a part of the truth.
func (r *Redactor) Target(x *exchange.Exchange) {
	if x.Family == exchange.Database {
		r.begin(x)
		r.statement(x, &x.Request)
		r.statement(x, &x.Response)
		return
	}
	if m := &x.Request; x.HasRequest {
		m.Target = r.rewrite(m, m.Target, (*Redactor).url)
		r.overwrite(m)
	}
}

// unparsed are the anomalies that leave parts of the head, which may hold secrets, outside of all
// spans.
const unparsed = 1<<proto.TooManyFields | 1<<proto.HeadTooLarge | 1<<proto.FieldWithoutColon | 1<<proto.BadFieldName |
	1<<proto.BadTrailer | 1<<proto.BadStartLine | 1<<proto.BadVersion | 1<<proto.BadStatus | 1<<proto.ObsFold

func (r *Redactor) message(m *proto.Message) {
	looks := containsToken(m.Raw) || mayHoldCard(m.Raw)
	target := m.Target
	m.Target = r.rewrite(m, target, (*Redactor).url)
	for i := range m.Fields {
		f := &m.Fields[i]
		if f.Value == target && target.Len > 0 { // the pseudo-header that the target is of
			f.Value = m.Target
			continue
		}
		find := r.names.header(m.Bytes(f.Name))
		if find == nil {
			switch {
			case looks:
				find = (*Redactor).fieldText
			case len(r.patterns) > 0:
				find = nothing
			default:
				continue
			}
		}
		f.Value = r.rewrite(m, f.Value, find)
	}
	if m.Kind == proto.Event && m.Target.Len == 0 { // otherwise the head is that of the session's request
		m.Reason = r.rewrite(m, m.Reason, said)
	}
	r.facts(m)
	r.overwrite(m)
	if m.Anomalies&unparsed != 0 {
		blankUnparsed(m)
	}
}

// route hides the secrets of a route, in which they are where no rule replaced them.
func (r *Redactor) route(route string) string {
	if len(route) < minPathSecret || strings.Contains(route, markStart) {
		return route
	}
	r.scratch = append(r.scratch[:0], route...)
	if r.find(r.scratch, (*Redactor).url); len(r.spans) == 0 {
		return route
	}
	return string(r.appendRedacted(nil, r.scratch))
}

// finder adds the secrets of a value to r.spans, in order.
type finder func(r *Redactor, v []byte)

// nothing finds no secrets, but where patterns match.
func nothing(*Redactor, []byte) {}

// find puts the secrets of a value into r.spans. In a second pass there are none in a value that has marks:
// what stands between them might look otherwise without what they took the place of.
func (r *Redactor) find(v []byte, find finder) {
	r.spans = r.spans[:0]
	if r.again && containsMark(v) {
		return
	}
	find(r, v)
	if len(r.patterns) > 0 {
		r.match(v)
	}
}

// rewrite hides the secrets of one span of m, and returns the span that takes its place. What it hides stays where it was until
// overwrite is called: other spans may have it in common.
func (r *Redactor) rewrite(m *proto.Message, s proto.Span, find finder) proto.Span {
	v := m.Bytes(s)
	r.find(v, find)
	if len(r.spans) == 0 {
		return s
	}
	start := len(m.Raw)
	m.Raw = r.appendRedacted(m.Raw, v)
	for _, secret := range r.spans {
		r.old = append(r.old, proto.Span{Off: s.Off + uint32(secret.from), Len: uint32(secret.to - secret.from)})
	}
	return proto.Span{Off: uint32(start), Len: uint32(len(m.Raw) - start)}
}

// overwrite overwrites what was hidden of a message.
func (r *Redactor) overwrite(m *proto.Message) {
	for _, s := range r.old {
		blank(m.Bytes(s))
	}
	r.old = r.old[:0]
}

// add adds v[from:to] to the secrets, unless it is redacted already.
func (r *Redactor) add(v []byte, from, to int) { r.addQuoted(v, from, to, 0) }

// addQuoted is add for what needs quotes around its mark.
func (r *Redactor) addQuoted(v []byte, from, to int, quotes uint8) {
	r.addSpan(v, span{from: from, to: to, quotes: quotes})
}

// addSpan is add for a span with all that is known of its mark.
func (r *Redactor) addSpan(v []byte, s span) {
	if s.from >= s.to || markLen(v[s.from:s.to]) == s.to-s.from {
		return
	}
	// There are as many literals as there are, unless one mark stands for all that follows.
	if n := len(r.spans); n < MaxSecrets || s.literal && r.spans[n-1].to != len(v) {
		r.spans = append(r.spans, s)
		return
	}
	if last := &r.spans[len(r.spans)-1]; last.to != len(v) {
		*last = span{from: last.from, to: len(v)}
		r.Lumped++
	}
}

// appendRedacted appends v with marks in place of the secrets found in it.
func (r *Redactor) appendRedacted(dst, v []byte) []byte {
	from := 0
	for _, s := range r.spans {
		dst = append(dst, v[from:s.from]...)
		from = s.to
		switch {
		case s.literal:
			dst = append(dst, literalMark)
		case s.quote != 0:
			dst = append(r.appendMark(append(dst, s.quote), v[s.from:s.to]), s.quote)
		default:
			dst = appendQuote(dst, s.quotes)
			dst = r.appendMark(dst, v[s.from:s.to])
			dst = appendQuote(dst, s.quotes)
		}
	}
	return append(dst, v[from:]...)
}

// appendQuote appends a quote as it stands in n-1 strings of JSON, each within the other; none if n is 0.
func appendQuote(dst []byte, n uint8) []byte {
	if n == 0 {
		return dst
	}
	for range 1<<(n-1) - 1 {
		dst = append(dst, '\\')
	}
	return append(dst, '"')
}

// The parts of a mark: length in decimal, fingerprint in four hexadecimal digits.
const (
	markStart  = "…[redacted "
	markMiddle = " #"
	markEnd    = "]"
	hexDigits  = "0123456789abcdef"

	fingerprintSize = 4
)

// appendMark appends the mark of a secret. Its fingerprint is the first 16 bits of HMAC-SHA256 (RFC
// 2104) under the key: enough to see that two secrets are the same, too little to find one out.
func (r *Redactor) appendMark(dst, secret []byte) []byte {
	dst = append(dst, markStart...)
	dst = strconv.AppendInt(dst, int64(len(secret)), 10)
	dst = append(dst, markMiddle...)
	f := r.digits(r.fingerprint(secret))
	if r.listing {
		r.list(f)
	}
	dst = append(dst, f...)
	return append(dst, markEnd...)
}

// MaxFingerprints is how many fingerprints an exchange lists in Exchange.Secrets. When there are more, the rest
// is left out, and counted.
const MaxFingerprints = 128

// list adds a fingerprint to those of the exchange at hand, unless it is there.
func (r *Redactor) list(fingerprint string) {
	switch {
	case slices.Contains(r.listed, fingerprint):
	case len(r.listed) < MaxFingerprints:
		r.listed = append(r.listed, fingerprint)
	default:
		r.Unlisted++
	}
}

// digits returns a fingerprint as it is shown. There are few, so that each is made once.
func (r *Redactor) digits(f [2]byte) string {
	page := &r.fingerprints[f[0]]
	if *page == "" {
		var all [256 * fingerprintSize]byte
		for i := range 256 {
			copy(all[i*fingerprintSize:], []byte{hexDigits[f[0]>>4], hexDigits[f[0]&15], hexDigits[i>>4], hexDigits[i&15]})
		}
		*page = string(all[:])
	}
	return (*page)[int(f[1])*fingerprintSize:][:fingerprintSize]
}

// known is a secret whose fingerprint was computed before. Clients send the same ones over and over.
type known struct {
	secret      []byte
	fingerprint [2]byte
}

// maxKnown is the longest secret that is remembered.
const maxKnown = 512

func (r *Redactor) fingerprint(secret []byte) [2]byte {
	k := &r.known[maphash.Bytes(r.seed, secret)%uint64(len(r.known))]
	if k.secret != nil && bytes.Equal(k.secret, secret) {
		return k.fingerprint
	}
	r.mac.Reset()
	r.mac.Write(secret)
	r.sum = r.mac.Sum(r.sum[:0])
	f := [2]byte(r.sum)
	if len(secret) <= maxKnown {
		k.secret, k.fingerprint = append(k.secret[:0], secret...), f
	}
	return f
}

// markLen returns the length of the mark that b begins with, 0 when there is none.
func markLen(b []byte) int {
	if len(b) < len(markStart) || string(b[:len(markStart)]) != markStart {
		return 0
	}
	const maxDigits = 10
	i := len(markStart)
	digits := i
	for i < len(b) && i < digits+maxDigits && isDigit(b[i]) {
		i++
	}
	end := i + len(markMiddle) + fingerprintSize + len(markEnd)
	if i == digits || end > len(b) || string(b[i:i+len(markMiddle)]) != markMiddle || string(b[end-len(markEnd):end]) != markEnd {
		return 0
	}
	for _, c := range b[i+len(markMiddle) : end-len(markEnd)] {
		if !isDigit(c) && (c < 'a' || c > 'f') {
			return 0
		}
	}
	return end
}

// containsMark reports whether there is a mark in b.
func containsMark(b []byte) bool {
	for {
		i := bytes.Index(b, []byte(markStart))
		if i < 0 {
			return false
		}
		if b = b[i:]; markLen(b) > 0 {
			return true
		}
		b = b[len(markStart):]
	}
}

// blank overwrites b, and keeps its line ends.
func blank(b []byte) {
	for i, c := range b {
		if c > ' ' {
			b[i] = '*'
		}
	}
}

// blankUnparsed overwrites what is in the head but in no span: what the parser couldn't take apart,
// redaction can't either.
func blankUnparsed(m *proto.Message) {
	head := bytes.Clone(m.Raw)
	blank(m.Raw)
	keep := func(s proto.Span) { copy(m.Bytes(s), head[s.Off:]) }
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

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
