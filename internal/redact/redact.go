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
	"strconv"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// MaxSecrets is how many secrets of one header, target or body are told apart. When there are more,
// the last mark stands for all that follows.
const MaxSecrets = 1024

// Redactor hides secrets. It isn't safe for concurrent use.
type Redactor struct {
	// Lumped counts the values with more than MaxSecrets secrets.
	Lumped uint64

	mac   hash.Hash
	names names
	// spans are the secrets found in the value at hand, in order.
	spans []span
	// name, body and sum are scratch memory: for a name in plain form, a new body, a fingerprint.
	name, body, sum []byte
	known           [256]known
	seed            maphash.Seed
	// processes are the redacted forms of processes; those of redacted ones are themselves.
	processes map[*exchange.Process]*exchange.Process
}

// span is a secret's place in a value. quote: the mark needs quotes around it, to be a JSON value.
type span struct {
	from, to int
	quote    bool
}

// New returns a Redactor. key is the secret that fingerprints depend on, so that they can't be
// compared with those of guessed secrets; see LoadKey.
func New(key []byte) *Redactor {
	return &Redactor{mac: hmac.New(sha256.New, key), names: newNames(), seed: maphash.MakeSeed()}
}

// Exchange hides the secrets of an exchange in place: spans of messages are moved to redacted copies
// at the end of Message.Raw, and the secrets are overwritten where they stood. Processes, which others
// share, are replaced by redacted copies. A second call changes nothing.
func (r *Redactor) Exchange(x *exchange.Exchange) {
	for d, p := range x.Process {
		x.Process[d] = r.process(p)
	}
	if x.HasRequest {
		r.message(&x.Request)
		r.redactBody(&x.Request, &x.RequestBody)
	}
	if x.HasResponse {
		r.message(&x.Response)
		r.redactBody(&x.Response, &x.ResponseBody)
	}
}

// Target hides the secrets of the request target in place, and nothing else: for outputs that show
// nothing else of a message but its method and status, and no arguments of processes.
func (r *Redactor) Target(x *exchange.Exchange) {
	if m := &x.Request; x.HasRequest {
		m.Target = r.rewrite(m, m.Target, (*Redactor).url)
	}
}

// unparsed are the anomalies that leave parts of the head, which may hold secrets, outside of all
// spans.
const unparsed = 1<<proto.TooManyFields | 1<<proto.HeadTooLarge | 1<<proto.FieldWithoutColon | 1<<proto.BadFieldName |
	1<<proto.BadTrailer | 1<<proto.BadStartLine | 1<<proto.BadVersion | 1<<proto.BadStatus | 1<<proto.ObsFold

func (r *Redactor) message(m *proto.Message) {
	tokens := containsToken(m.Raw)
	for i := range m.Fields {
		f := &m.Fields[i]
		find := r.names.header(m.Bytes(f.Name))
		if find == nil {
			if !tokens {
				continue
			}
			find = (*Redactor).tokens
		}
		f.Value = r.rewrite(m, f.Value, find)
	}
	m.Target = r.rewrite(m, m.Target, (*Redactor).url)
	if m.Anomalies&unparsed != 0 {
		blankUnparsed(m)
	}
}

// finder adds the secrets of a value to r.spans, in order.
type finder func(r *Redactor, v []byte)

// rewrite hides the secrets of one span of m, and returns the span that takes its place.
func (r *Redactor) rewrite(m *proto.Message, s proto.Span, find finder) proto.Span {
	v := m.Bytes(s)
	r.spans = r.spans[:0]
	find(r, v)
	if len(r.spans) == 0 {
		return s
	}
	start := len(m.Raw)
	m.Raw = r.appendRedacted(m.Raw, v)
	old := m.Bytes(s)
	for _, secret := range r.spans {
		blank(old[secret.from:secret.to])
	}
	return proto.Span{Off: uint32(start), Len: uint32(len(m.Raw) - start)}
}

// add adds v[from:to] to the secrets, unless it is redacted already.
func (r *Redactor) add(v []byte, from, to int, quote bool) {
	if from >= to || markLen(v[from:to]) == to-from {
		return
	}
	if len(r.spans) < MaxSecrets {
		r.spans = append(r.spans, span{from, to, quote})
		return
	}
	if last := &r.spans[MaxSecrets-1]; last.to != len(v) {
		last.to = len(v)
		r.Lumped++
	}
}

// appendRedacted appends v with marks in place of the secrets found in it.
func (r *Redactor) appendRedacted(dst, v []byte) []byte {
	from := 0
	for _, s := range r.spans {
		dst = append(dst, v[from:s.from]...)
		if s.quote {
			dst = append(dst, '"')
		}
		dst = r.appendMark(dst, v[s.from:s.to])
		if s.quote {
			dst = append(dst, '"')
		}
		from = s.to
	}
	return append(dst, v[from:]...)
}

// The parts of a mark: length in decimal, fingerprint in four hexadecimal digits.
const (
	markStart  = "…[redacted "
	markMiddle = " #"
	markEnd    = "]"
	hexDigits  = "0123456789abcdef"
)

// appendMark appends the mark of a secret. Its fingerprint is the first 16 bits of HMAC-SHA256 (RFC
// 2104) under the key: enough to see that two secrets are the same, too little to find one out.
func (r *Redactor) appendMark(dst, secret []byte) []byte {
	dst = append(dst, markStart...)
	dst = strconv.AppendInt(dst, int64(len(secret)), 10)
	dst = append(dst, markMiddle...)
	for _, b := range r.fingerprint(secret) {
		dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
	}
	return append(dst, markEnd...)
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
	const maxDigits, fingerprint = 10, 4
	i := len(markStart)
	digits := i
	for i < len(b) && i < digits+maxDigits && isDigit(b[i]) {
		i++
	}
	end := i + len(markMiddle) + fingerprint + len(markEnd)
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
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
