package redact_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/redact"
	"github.com/culprit-http/culprit/internal/statement"
)

// said is what clients and servers of databases say, with an @ where a secret is planted, and a # where one is that is a
// credential.
var said = []struct{ protocol, method, text, problem string }{
	{"mysql", "SELECT", `SELECT * FROM t WHERE a = '@' AND b IN ('x@', "@\"", -1) -- @`, "Duplicate entry '@' for key 'a'"},
	{"mysql", "INSERT", "INSERT INTO u (name, password) VALUES ('@', '#'), ('@', md5('#'))", "syntax to use near '@' AND b='@'' at line 1"},
	{"mysql", "CREATE", "CREATE USER 'bob' IDENTIFIED BY '#'", ""},
	{"mysql", "SET", "SET PASSWORD = PASSWORD('#')", ""},
	{"postgresql", "SELECT", "SELECT $$@$$, E'\\'@', $t$ '@' $t$ FROM t WHERE token = '#' /* @ */", `invalid input syntax for type integer: "@"`},
	{"postgresql", "ALTER", "ALTER ROLE bob PASSWORD '#'", "Key (email)=(@) already exists."},
	{"redis", "SET", `SET user:42 "@ @" EX 60`, "ERR unknown subcommand '@', with args beginning with: '@' "},
	{"redis", "HSET", "HSET session:# name @ f @", ""},
	{"redis", "AUTH", "AUTH # #", ""},
	{"redis", "MIGRATE", "MIGRATE h 6379 k 0 10 AUTH #", ""},
	{"memcached", "get", "get session:#", ""},
	{"mongodb", "find", `s.u.find({"name": "@", "n": {"$in": ["@", '@']}, password: {"$eq": "#"}, "d": ISODate("@")})`, `E11000 duplicate key error collection: s.u dup key: { email: "@" }`},
}

// plant puts secrets into a text. Of the credentials it returns a list.
func (p *planter) plant(text string, credentials *[]string) string {
	var b strings.Builder
	for _, c := range text {
		switch c {
		case '@':
			b.WriteString(p.secret())
		case '#':
			s := p.secret()
			*credentials = append(*credentials, s)
			b.WriteString(s)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// statement returns an exchange with a database, and the credentials in it.
func (p *planter) statement(n int) (x *exchange.Exchange, credentials []string) {
	p.secrets = p.secrets[:0]
	c := said[n]
	x = outputtest.Exchange("", "")
	x.Protocol, x.Family, x.HasRequest, x.HasResponse = c.protocol, exchange.Database, true, true
	m := &x.Request
	m.Raw = []byte(c.method)
	m.Method.Len = uint32(len(c.method))
	text := p.plant(c.text, &credentials)
	m.Target = proto.Span{Off: uint32(len(m.Raw)), Len: uint32(len(text))}
	m.Raw = append(m.Raw, text...)
	m.Say("parameter", []byte(p.secret()))
	x.Response.Framing = proto.Rendered
	if c.problem != "" {
		x.Response.Say(proto.FactError, []byte("42"))
		x.Response.Say(proto.FactErrorText, []byte(p.plant(c.problem, &credentials)))
	}
	x.Response.Say("notice", []byte("value '"+p.secret()+"'"))
	x.ResponseBody.Bytes = []byte("1\t" + p.secret() + "\n")
	x.Statement = statement.New().Of(x)
	return x, credentials
}

// No literal and no credential leaves through any output, nor stays in the memory of the exchange. With literals, no credential.
func TestNothingLeaksOfStatements(t *testing.T) {
	withLiterals, err := redact.NewWithRules([]byte("key"), redact.Rules{Literals: true})
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(10 * len(said)) {
		for _, r := range []*redact.Redactor{testRedactor(t, "key"), withLiterals} {
			p := newPlanter(seed)
			x, credentials := p.statement(int(seed) % len(said))
			for _, s := range p.secrets {
				if all := slices.Concat(x.Request.Raw, x.Response.Raw, x.ResponseBody.Bytes); !found(all, s) {
					t.Errorf("seed %d: %s was planted, and isn't there", seed, s)
				}
				if found([]byte(x.Statement.Template+x.Statement.Collection), s) {
					t.Errorf("seed %d: %s is in the template %s", seed, s, x.Statement.Template)
				}
			}
			revealed := show(t, x)
			r.Exchange(x)
			hidden := slices.Concat(show(t, x), x.Request.Raw, x.Response.Raw, x.ResponseBody.Bytes)
			secrets := p.secrets
			if r == withLiterals {
				secrets = credentials
			}
			for _, s := range secrets {
				if found(hidden, s) {
					t.Fatalf("seed %d: %s leaks in %s", seed, s, around(hidden, s))
				}
			}
			if len(credentials) > 0 && !found(revealed, credentials[0]) {
				t.Errorf("seed %d: the credential isn't seen without redaction", seed)
			}
			if len(x.Secrets) != len(credentials) {
				t.Errorf("seed %d: %d fingerprints of %d credentials in %s", seed, len(x.Secrets), len(credentials), x.Request.Raw)
			}
			once, listed := bytes.Clone(show(t, x)), x.Secrets
			x.Secrets = nil
			again, err := redact.NewWithRules([]byte("another key"), redact.Rules{Literals: r == withLiterals})
			if err != nil {
				t.Fatal(err)
			}
			if again.Exchange(x); len(x.Secrets) > 0 {
				t.Fatalf("seed %d: redacting again finds more in\n%s", seed, hidden)
			}
			x.Secrets = listed
			if !bytes.Equal(show(t, x), once) {
				t.Fatalf("seed %d: redacting again changes\n%s", seed, once)
			}
		}
	}
}
