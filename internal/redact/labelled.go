package redact

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/proto"
)

// labelEnd are the delimiters of a secret in a line of a log.
var labelEnd = newDelimiters(" \t\r\n\"'`&,;)]}")

// labelled is text of a log: it finds what free does, and what stands behind the name of a secret and a colon, an equals sign
// or an arrow, in quotes or without, as in token: x, "password" => "x", Authorization: Bearer x.
func (r *Redactor) labelled(v []byte) {
	r.free(v, 0, len(v))
	first := len(r.spans)
	for i, c := range v {
		if c == ':' || c == '=' {
			r.label(v, i)
		}
	}
	if len(r.spans) > first {
		r.matches = append(r.matches[:0], r.spans...)
		r.join(v)
	}
}

// label finds the secret behind v[i], which separates it from its name.
func (r *Redactor) label(v []byte, i int) {
	if i+1 < len(v) && v[i+1] == ':' || i > 0 && v[i-1] == ':' || bytes.HasPrefix(v[i:], []byte("://")) { // Token::next, a URL
		return
	}
	name := i
	for name > 0 && bytes.IndexByte([]byte(" \t\"'`"), v[name-1]) >= 0 {
		name--
	}
	from := name
	for from > 0 && (isAlphanumeric(v[from-1]) || bytes.IndexByte([]byte("-_.[]"), v[from-1]) >= 0) {
		from--
	}
	from, name = trimName(v, from, name)
	if from == name {
		return
	}
	at := i + 1
	if at < len(v) && v[i] == '=' && v[at] == '>' {
		at++
	}
	for at < len(v) && (v[at] == ' ' || v[at] == '\t') {
		at++
	}
	if v[i] == ':' && (proto.EqualFold(v[from:name], "cookie") || proto.EqualFold(v[from:name], "set-cookie")) {
		r.within(v, at, lineEnd(v, at, len(v)), (*Redactor).cookies)
		return
	}
	shortest := r.parameter(v[from:name])
	if shortest == 0 || at == len(v) {
		return
	}
	end := at
	if quote := v[at]; quote == '"' || quote == '\'' || quote == '`' {
		at++
		end = at
		for end < len(v) && v[end] != quote {
			if v[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(v))
	} else {
		end = next(v, at, len(v), &labelEnd)
		for _, s := range schemes {
			if end < len(v) && v[end] == ' ' && proto.EqualFold(v[at:end], s) {
				at = end + 1
				end = next(v, at, len(v), &labelEnd)
				break
			}
		}
		if string(v[at:end]) == "YES" || string(v[at:end]) == "NO" { // using password: YES
			return
		}
	}
	if end-at >= shortest && bytes.ContainsFunc(v[at:end], func(c rune) bool { return c >= 0x80 || isAlphanumeric(byte(c)) }) {
		r.add(v, at, end)
	}
}

// trimName takes brackets and dots off the ends of a name.
func trimName(v []byte, from, to int) (int, int) {
	for from < to && bytes.IndexByte([]byte("-.[]"), v[from]) >= 0 {
		from++
	}
	for from < to && v[to-1] == '.' {
		to--
	}
	return from, to
}

// serverNotices are parts of what PostgreSQL says by itself, unasked. What else it says, programs in the database do: it may
// be data.
var serverNotices = []string{
	" already exists, skipping", " does not exist, skipping", "drop cascades to ", "truncate cascades to ", " will be truncated to ",
	"there is already a transaction in progress", "there is no transaction in progress", " can only be used in transaction blocks",
	"merging column ", "merging constraint ", "merging definition of column ", "moving and merging column ", " has no effect", " has a collation version mismatch",
	"collation version mismatch", "is not a member of role ", " is already a member of role ", "nonstandard use of ", " is deprecated", "no privileges were granted",
	"not all privileges were granted", "no privileges could be revoked", "skipping vacuum of ", "skipping analyze of ", "vacuuming ", "analyzing ",
}

// notice is what a server says unasked.
func (r *Redactor) notice(v []byte) {
	if r.hidesLiterals() && !isServerNotice(v) {
		r.addLiteral(v, 0, len(v))
		return
	}
	r.serverText(v)
}

func isServerNotice(v []byte) bool {
	for _, part := range serverNotices {
		if bytes.Contains(v, []byte(part)) {
			return true
		}
	}
	return false
}
