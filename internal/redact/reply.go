package redact

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// Where literals are shown, credentials aren't. Of Redis they may stand where nothing but the one who uses it says so: what
// can't be judged is hidden.

// opaque are the commands of Redis whose results are made of credentials, or of commands that may hold some.
var opaque = []string{"acl", "monitor", "slowlog", "commandlog", "dump", "debug", "sync", "psync"}

// scripting are those that are given programs.
var scripting = []string{"eval", "eval_ro", "script", "function"}

// isOneOf reports whether the first word of a command is one of words, which are in lower case.
func isOneOf(command []byte, words []string) bool {
	first, _, _ := bytes.Cut(command, []byte(" "))
	for _, w := range words {
		if proto.EqualFold(first, w) {
			return true
		}
	}
	return false
}

// maxHarmless is how short values are that have an ambiguous name, such as key, without being secret.
const maxHarmless = 16

// isSecretName reports whether v is the name of a secret, rather than one that mostly means something harmless.
func (r *Redactor) isSecretName(v []byte) bool {
	shortest := r.parameter(v)
	return 0 < shortest && shortest < maxHarmless
}

// mentions reports whether the name of a secret is among the words of a program.
func (r *Redactor) mentions(v []byte) bool {
	for i := 0; i < len(v); {
		end := i
		for end < len(v) && (isAlphanumeric(v[end]) || v[end] == '_' || v[end] == '-') {
			end++
		}
		if end > i && r.isSecretName(v[i:end]) {
			return true
		}
		i = end + 1
	}
	return false
}

// asksForSecret reports whether a command names a secret that it wants: HGET user:1 password, GET user:1:password.
func (r *Redactor) asksForSecret(command []byte) bool {
	for i := 0; i < len(command); {
		end := next(command, i, len(command), &keyEnd)
		if (end == len(command) || command[end] <= ' ' || command[end] == '"' || command[end] == '\'') && r.isSecretName(command[i:end]) {
			return true
		}
		i = end + 1
	}
	return false
}

// hidesResult reports whether nothing of the result of a command is shown, though literals are. m is its request, or what the
// server says unasked.
func (r *Redactor) hidesResult(x *exchange.Exchange, m *proto.Message) bool {
	return x.Protocol == "redis" && (r.secretive || isOneOf(m.Bytes(m.Method), opaque) || r.asksForSecret(m.Bytes(m.Target)))
}

// reply is the result of a command of Redis: values, one a line, or two with an arrow between them. A value behind one that is
// the name of a secret is one.
func (r *Redactor) reply(v []byte) {
	shortest := 0
	for i := 0; i < len(v); {
		i = itemStart(v, i)
		from, end := i, i
		quoted := i < len(v) && v[i] == '"'
		if quoted {
			from++
			end = stringEnd(v, from, len(v))
			i = end + 1
		} else {
			end = lineEnd(v, i, len(v))
			if n := bytes.Index(v[i:end], arrow); n >= 0 {
				end = i + n
			}
			i = end
		}
		switch {
		case shortest > 0 && end-from >= shortest:
			r.add(v, from, end)
			shortest = 0
		case quoted:
			r.stringValue(v, from, end)
			shortest = r.parameter(v[from:end])
		default:
			r.within(v, from, end, said)
			shortest = r.parameter(v[from:end])
		}
		if bytes.HasPrefix(v[min(i, len(v)):], arrow) {
			i += len(arrow)
		} else if i < len(v) && v[i] == '\n' {
			i++
		}
	}
}

// arrow stands between the name and the value of a pair.
var arrow = []byte(" => ")

// itemStart returns where the value begins that stands behind the numbers of an item, if any: 1) "a", 2) 1) "b".
func itemStart(v []byte, i int) int {
	for {
		at := i
		for at < len(v) && v[at] == ' ' {
			at++
		}
		digits := at
		for at < len(v) && isDigit(v[at]) {
			at++
		}
		if at == digits || at+1 >= len(v) || bytes.IndexByte([]byte(")~#"), v[at]) < 0 || v[at+1] != ' ' {
			return i
		}
		i = at + 2
	}
}
