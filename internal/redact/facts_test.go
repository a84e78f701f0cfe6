package redact

import (
	"bytes"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

// What is shown of a message says what it may hold.
func TestEveryTextFactHasAContent(t *testing.T) {
	for name, of := range exchange.Facts {
		f := exchange.Lookup(name)
		if f == nil {
			t.Errorf("%s is no field", name)
			continue
		}
		if f.Kind != exchange.Text && f.Kind != exchange.List {
			continue
		}
		if _, declared := facts[of.Name]; !declared {
			t.Errorf("%s shows the fact %s, whose content isn't declared in facts", name, of.Name)
		}
	}
}

// Facts that aren't known hold anything, and no content is without an entry of its own.
func TestContents(t *testing.T) {
	if facts["no such fact"] != freeText {
		t.Error("facts that aren't known aren't searched")
	}
	for c, find := range factFinders {
		if (find == nil) != (content(c) == fixedText) {
			t.Errorf("content %d: %v", c, find == nil)
		}
	}
}

// Facts of HTTP, whose texts are beside the fields.
func TestFactsOfHTTP(t *testing.T) {
	x := outputtest.Exchange("", "")
	x.HasResponse = true
	m := &x.Response
	m.Say("stderr", []byte("PHP Warning: dsn password=hunter2 in /x.php; token: abc Authorization: Bearer d.e-f"))
	m.Say("no such fact", []byte("password=hunter2"))
	m.Say("role", []byte("authorizer"))
	m.Count("app_status", 7)
	for range 2 {
		redactor().Exchange(x)
		for name, want := range map[string]string{
			"stderr":       "PHP Warning: dsn password=…[redacted 7] in /x.php; token: …[redacted 3] Authorization: Bearer …[redacted 5]",
			"no such fact": "password=…[redacted 7]", "role": "authorizer",
		} {
			if got := plain(m.FactText(name)); got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
		if bytes.Contains(m.Raw, []byte("hunter2")) {
			t.Errorf("the secret is in %q", m.Raw)
		}
		x.Secrets = nil
	}
	if f := m.Fact("app_status"); f.Number != 7 {
		t.Errorf("the number became %d", f.Number)
	}
}

// The patterns of the user hold for all facts.
func TestPatternsOfFacts(t *testing.T) {
	r, err := NewWithRules([]byte("k"), Rules{Patterns: []string{`EMP\w+`}})
	if err != nil {
		t.Fatal(err)
	}
	x := outputtest.Exchange("", "")
	x.HasResponse = true
	x.Response.Say("role", []byte("of EMPone"))
	r.Exchange(x)
	if got := plain(x.Response.FactText("role")); got != "of …[redacted 6]" {
		t.Errorf("%s", got)
	}
}

// Heads that couldn't be taken apart keep their facts.
func TestFactsOfUnparsedHeads(t *testing.T) {
	x := outputtest.Exchange("", "")
	x.HasResponse = true
	x.Response.Anomalies.Set(proto.BadStartLine)
	x.Response.Say("stderr", []byte("gone away"))
	redactor().Exchange(x)
	if got := string(x.Response.FactText("stderr")); got != "gone away" {
		t.Errorf("%s", got)
	}
}

// Facts and the text of a command have bytes in common.
func TestSharedSpans(t *testing.T) {
	x := database("memcached", "get", "get session:correcthorse", nil, "")
	m := &x.Request
	m.Facts = append(m.Facts, proto.Fact{Name: "key", Value: proto.Span{Off: m.Target.Off + 4, Len: m.Target.Len - 4}})
	redactor().Exchange(x)
	if got := target(m) + "|" + plain(m.FactText("key")); got != "get session:…[redacted 12]|session:…[redacted 12]" {
		t.Errorf("%s", got)
	}
	if bytes.Contains(m.Raw, []byte("correcthorse")) || len(x.Secrets) != 1 {
		t.Errorf("%q, %q", x.Secrets, m.Raw)
	}
}
