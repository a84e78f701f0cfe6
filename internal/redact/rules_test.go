package redact

import (
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
)

func withRules(t *testing.T, rules Rules) *Redactor {
	t.Helper()
	r, err := NewWithRules([]byte("key of the tests"), rules)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var ruled = []struct {
	name          string
	rules         Rules
	request, want string
}{
	{"names", Rules{Names: []string{"Employee-ID", "*ticket", "referer", "via"}},
		"POST /a?employeeId=5&bus_ticket=6&ticketing=7&token=8 HTTP/1.1\nEMPLOYEE_ID: 1\nX-Ticket: 2\nReferer: /x?a=1\nVia: p\n\n{\"employee_id\":3,\"ticket\":{\"a\":4}}",
		"POST /a?employeeId=…[redacted 1]&bus_ticket=…[redacted 1]&ticketing=7&token=…[redacted 1] HTTP/1.1\nEMPLOYEE_ID: …[redacted 1]\nX-Ticket: …[redacted 1]\n" +
			"Referer: …[redacted 6]\nVia: …[redacted 1]\n\n{\"employee_id\":\"…[redacted 1]\",\"ticket\":{\"a\":\"…[redacted 1]\"}}"},
	{"keep", Rules{Keep: []string{"x-request-token", "*csrf-token", "authorization", "lang", "share"}},
		"GET /share/Xk29abPq?xRequestToken=1&my_csrf_token=2&token=3 HTTP/1.1\nX-Request-Token: a\nAuthorization: Bearer b\nProxy-Authorization: Bearer c\nCookie: lang=en; b=c\n\n",
		"GET /share/Xk29abPq?xRequestToken=1&my_csrf_token=2&token=…[redacted 1] HTTP/1.1\nX-Request-Token: a\nAuthorization: Bearer b\nProxy-Authorization: Bearer …[redacted 1]\nCookie: lang=en; b=…[redacted 1]\n\n"},
	{"a whole name before an ending", Rules{Keep: []string{"*ticket"}, Names: []string{"bus-ticket", "*special ticket"}},
		"GET /?ticket=1&bus_ticket=2&specialTicket=3&token=4 HTTP/1.1\n\n", "GET /?ticket=1&bus_ticket=…[redacted 1]&specialTicket=3&token=…[redacted 1] HTTP/1.1\n\n"},
	{"cookies", Rules{KeepCookies: []string{"lang", "_ga.x", "*-theme"}},
		"GET /?lang=1 HTTP/1.1\nCookie: LANG=en; _ga.x=1; my-theme=2; sid=3; lang2=4; lang=" + jwt + "\nSet-Cookie: lang=de; Path=/\n\n",
		"GET /?lang=1 HTTP/1.1\nCookie: LANG=en; _ga.x=1; my-theme=2; sid=…[redacted 1]; lang2=…[redacted 1]; lang=…[redacted 59]\nSet-Cookie: lang=de; Path=/\n\n"},
	{"patterns", Rules{Patterns: []string{`EMP-\d{4}`, `(?i)passport[:= ]+(\w+)`, `a(b)?c(d)`}},
		"POST /EMP-1234/x?a=EMP-5678&token=EMP-9999z HTTP/1.1\nX-Note: by EMP-1234 and EMP-12\nX-Pass: Passport: L01X abcd acd\n\n{\"note\":\"EMP-4321 passport=Z9\"}",
		"POST /…[redacted 8]/x?a=…[redacted 8]&token=…[redacted 9] HTTP/1.1\nX-Note: by …[redacted 8] and EMP-12\nX-Pass: Passport: …[redacted 4] a…[redacted 1]c…[redacted 1] ac…[redacted 1]\n\n" +
			"{\"note\":\"…[redacted 8] passport=…[redacted 2]\"}"},
	{"patterns over other secrets", Rules{Patterns: []string{`oken=.`, `\d\d`}},
		"POST /?token=abc&x=1 HTTP/1.1\n\n{\"pin\":12345,\"x\":12345}", "POST /?t…[redacted 8]&x=1 HTTP/1.1\n\n{\"pin\":\"…[redacted 5]\",\"x\":…[redacted 2]…[redacted 2]5}"},
	{"a second call doesn't match what the first left", Rules{Patterns: []string{`a(b)c|c(d)`}},
		"GET / HTTP/1.1\nX-N: abcd\n\n", "GET / HTTP/1.1\nX-N: a…[redacted 1]cd\n\n"},
	{"marks aren't matched", Rules{Patterns: []string{`\w+`, `[^/]+$`}},
		"GET / HTTP/1.1\nX-N: /a-…[redacted 5 #1234]b\n\n", "GET / HTTP/1.1\nX-N: /…[redacted 2]…[redacted 5]…[redacted 1]\n\n"},
}

func TestRules(t *testing.T) {
	for _, c := range ruled {
		r := withRules(t, c.rules)
		x := outputtest.Exchange(c.request, "")
		r.Exchange(x)
		if got := plain([]byte(snapshot(x))); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		once, secrets := snapshot(x), slices.Clone(x.Secrets)
		if r.Exchange(x); snapshot(x) != once || !slices.Equal(x.Secrets, secrets) {
			t.Errorf("%s: redacting again makes\n%s of\n%s", c.name, snapshot(x), once)
		}
	}
}

func TestRulesForArguments(t *testing.T) {
	r := withRules(t, Rules{Names: []string{"ticket", "via"}, Keep: []string{"*token"}, Patterns: []string{`EMP-\d+`}})
	out := r.Arguments([]string{"app", "--ticket=1", "--token=2", "EMP-3", "-H", "Via: x", "-H", "Accept: y"})
	want := "app --ticket=…[redacted 1] --token=2 …[redacted 5] -H Via: …[redacted 1] -H Accept: y"
	if got := plain([]byte(strings.Join(out, " "))); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestWrongRules(t *testing.T) {
	for _, c := range []struct {
		rules Rules
		want  string
	}{
		{Rules{Names: make([]string, MaxNames+1)}, "names: there are 257 names, and at most 256"},
		{Rules{Names: []string{""}}, `names: "" isn't a name`},
		{Rules{Keep: []string{"- _"}}, `keep: "- _" isn't a name`},
		{Rules{Names: []string{"*"}}, `names: "*" isn't a name`},
		{Rules{Names: []string{"*abc"}}, `names: "*abc": at least 4 letters must follow the *`},
		{Rules{Names: []string{"a*b"}}, `names: "a*b": * may stand at the beginning only`},
		{Rules{Names: []string{"user.password"}}, "only the last part counts"},
		{Rules{Keep: []string{"user[password]"}}, "only the last part counts"},
		{Rules{KeepCookies: []string{"a=b"}}, `cookies.keep: "a=b": a name has no '='`},
		{Rules{Names: []string{strings.Repeat("a", MaxNameSize+1)}}, "a name has at most 128 bytes"},
		{Rules{Names: []string{"My-Ticket"}, Keep: []string{"myticket"}}, `"My-Ticket" is in names, which are secret, and in keep`},
		{Rules{Names: []string{"lang"}, KeepCookies: []string{"Lang"}}, `"lang" is in names, which are secret, and in cookies.keep`},
		{Rules{Patterns: []string{`(`}}, "patterns: \"(\": error parsing regexp: missing closing )"},
		{Rules{Patterns: []string{`x*`}}, "matches the empty text"},
		{Rules{Patterns: []string{strings.Repeat("a", MaxPatternSize+1)}}, "has 1025 bytes, and at most 1024"},
		{Rules{Patterns: slices.Repeat([]string{"a"}, MaxPatterns+1)}, "patterns: there are 33, and at most 32"},
	} {
		_, err := NewWithRules(nil, c.rules)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("the error is %v, want %s", err, c.want)
		}
		if check := c.rules.Check(); check == nil || check.Error() != err.Error() {
			t.Errorf("Check says %v, and NewWithRules %v", check, err)
		}
	}
	if err := (Rules{}).Check(); err != nil {
		t.Error(err)
	}
}

// Very many matches are too many secrets.
func TestTooManyMatches(t *testing.T) {
	r := withRules(t, Rules{Patterns: []string{"a", "b"}})
	x := outputtest.Exchange("POST / HTTP/1.1\n\n"+strings.Repeat("ab,", 10*MaxSecrets), "")
	r.Exchange(x)
	b := string(x.RequestBody.Bytes)
	if n := strings.Count(b, markStart); n != MaxSecrets || strings.HasSuffix(b, ",") || r.Lumped != 1 {
		t.Errorf("%d marks, %d lumped, at the end %s", n, r.Lumped, b[len(b)-40:])
	}
}

// Invariant: whatever pattern and text are, nothing but matches and other secrets change, and a second call
// changes nothing.
func FuzzPatterns(f *testing.F) {
	for _, c := range ruled {
		for _, p := range c.rules.Patterns {
			f.Add(p, "/x?a=EMP-1234", "token=abc, EMP-1 "+jwt, `{"pin":12345,"a":"b"}`)
		}
	}
	f.Add(`^\d{4}`, "/", "11112222", "a.b")
	f.Add(`\].*`, "/?token=abc&z=1", "x", "y")
	f.Add(`"`, "/", "x", `{"a":"b","token":"c"}`)
	f.Fuzz(func(t *testing.T, pattern, target, value, body string) {
		r, err := NewWithRules([]byte("key"), Rules{Patterns: []string{pattern}})
		if err != nil || len(target)+len(value)+len(body) > 1<<12 {
			return
		}
		x := outputtest.Exchange("POST / HTTP/1.1\nX-Value: "+clean(value)+"\n\n", "")
		x.RequestBody.Bytes = []byte(body)
		r.Exchange(x)
		if !keepsRest(body, string(x.RequestBody.Bytes)) {
			t.Fatalf("%q became %q", body, x.RequestBody.Bytes)
		}
		once := snapshot(x)
		if r.Exchange(x); snapshot(x) != once {
			t.Fatalf("redacting again makes\n%q\nof\n%q", snapshot(x), once)
		}
	})
}

// No rules, no cost: what a rule would need isn't there.
func TestNoRules(t *testing.T) {
	r := withRules(t, Rules{})
	if r.patterns != nil || r.names.cookies != nil {
		t.Error("there are rules")
	}
	if s := r.names.lookup([]byte("token")); s == nil || s.origin != builtIn {
		t.Errorf("%+v", s)
	}
}

func BenchmarkRules(b *testing.B) {
	rules := Rules{Names: []string{"employee_id", "*ticket"}, Keep: []string{"x-request-token"}, Patterns: []string{`EMP-\d{4}`, `(?i)passport[:= ]+(\w+)`}}
	r, err := NewWithRules([]byte("key"), rules)
	if err != nil {
		b.Fatal(err)
	}
	x := outputtest.Exchange(ordinary, "")
	b.ReportAllocs()
	for b.Loop() {
		r.Exchange(x)
	}
}

func TestSecrets(t *testing.T) {
	r := redactor()
	request := "GET /a?token=one HTTP/1.1\nX-Api-Key: two\nCookie: a=one; b=three\n\n"
	x := outputtest.Exchange(request, "HTTP/1.1 200 OK\nSet-Cookie: a=four\nContent-Type: application/json\n\n{\"password\":\"two\"}")
	x.Process[1] = &exchange.Process{Args: []string{"app", "--token=five", "--password=two"}}
	x.Secrets = make([]string, 0, 8)
	var want []string
	for _, secret := range []string{"five", "two", "one", "three", "four"} {
		y := outputtest.Exchange("GET / HTTP/1.1\nX-Api-Key: "+secret+"\n\n", "")
		r.Exchange(y)
		mark := y.Request.Field("x-api-key")
		if len(y.Secrets) != 1 || !strings.HasSuffix(string(mark), " #"+y.Secrets[0]+"]") {
			t.Errorf("%s: the mark is %s, and the fingerprints are %q", secret, mark, y.Secrets)
			continue
		}
		want = append(want, y.Secrets[0])
	}
	for range 2 { // the second process is a known one
		y := outputtest.Exchange(request, "HTTP/1.1 200 OK\nSet-Cookie: a=four\n\n")
		y.Process[1] = x.Process[1]
		r.Exchange(y)
		got := slices.Sorted(slices.Values(y.Secrets))
		if !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("fingerprints are %q, want %q", y.Secrets, want)
		}
		before := slices.Clone(y.Secrets)
		if r.Exchange(y); !slices.Equal(y.Secrets, before) {
			t.Errorf("a second call makes %q of %q", y.Secrets, before)
		}
	}
	r.Exchange(x)
	if !slices.Equal(x.Secrets[:2], want[:2]) || len(x.Secrets) != len(want) {
		t.Errorf("fingerprints are %q, want the order %q", x.Secrets, want[:2])
	}
	y := outputtest.Exchange(request, "")
	if r.Target(y); len(y.Secrets) != 0 {
		t.Errorf("Target lists %q", y.Secrets)
	}
	r.Arguments([]string{"--token=six"})
	if y := outputtest.Exchange("GET / HTTP/1.1\n\n", ""); true {
		if r.Exchange(y); y.Secrets != nil {
			t.Errorf("without secrets there are %q", y.Secrets)
		}
	}
}

func TestTooManyFingerprints(t *testing.T) {
	r := redactor()
	var b strings.Builder
	for i := range 200 {
		b.WriteString("a=" + strings.Repeat("x", i+1) + "; ")
	}
	x := outputtest.Exchange("GET / HTTP/1.1\nCookie: "+b.String()+"\n\n", "")
	r.Exchange(x)
	if len(x.Secrets) != MaxFingerprints || r.Unlisted < 60 || r.Unlisted > 200-MaxFingerprints {
		t.Errorf("%d fingerprints, %d unlisted", len(x.Secrets), r.Unlisted)
	}
}

// Values within values within values cost what their length says, and no more.
func TestDeepNesting(t *testing.T) {
	const n = 20000
	for name, b := range map[string]struct{ mediaType, body string }{
		"messages": {"message/http", strings.Repeat("GET / HTTP/1.1\nContent-Type: message/http\n\n", n)},
		"percent":  {"application/x-www-form-urlencoded", "a=" + strings.Repeat("%253D", n)},
		"json":     {"application/json", `{"a":"` + strings.Repeat(`{\"a\":\"`, n)},
		"elements": {"text/xml", strings.Repeat("<password ", n) + strings.Repeat("<a><![CDATA[", n)},
		"keys":     {"text/plain", strings.Repeat("-----BEGIN X://@", n)},
		"marks":    {"text/plain", strings.Repeat("…[redacted 1 #0000]token=", n)},
	} {
		x := outputtest.Exchange("POST / HTTP/1.1\nContent-Type: "+b.mediaType+"\n\n"+b.body, "")
		r := withRules(t, Rules{Patterns: []string{"[a-z]+"}})
		r.Exchange(x)
		if r.nested != 0 || r.level != 0 {
			t.Errorf("%s: left at %d, %d", name, r.nested, r.level)
		}
	}
}

// The fingerprints of secrets never seen before cost no memory each.
func TestFingerprintsAllocateNothing(t *testing.T) {
	r := redactor()
	x := outputtest.Exchange("GET / HTTP/1.1\nX-Api-Key: 00000000\n\n", "")
	m := &x.Request
	raw, fields := slices.Clone(m.Raw), slices.Clone(m.Fields)
	m.Raw = make([]byte, 0, 256)
	n := 0
	again := func() {
		m.Raw, m.Fields, x.Secrets = append(m.Raw[:0], raw...), append(m.Fields[:0], fields...), x.Secrets[:0]
		key := m.Field("x-api-key")
		n++
		for i, v := len(key)-1, n; i >= 0; i, v = i-1, v/10 {
			key[i] = byte('0' + v%10)
		}
		r.Exchange(x)
	}
	for range 20000 {
		again()
	}
	if n := testing.AllocsPerRun(1000, again); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// A route in which a secret stands, since no rule took it for a variable part.
func TestRoute(t *testing.T) {
	r := redactor()
	for _, c := range [][2]string{{"/users/{id}", "/users/{id}"}, {"", ""}, {"/reset/Xk29abPq/x", "/reset/…[redacted 8]/x"}, {"/reset/{id}", "/reset/{id}"}} {
		x := outputtest.Exchange("GET / HTTP/1.1\n\n", "")
		x.Enriched.Route = c[0]
		r.Exchange(x)
		once := x.Enriched.Route
		if r.Exchange(x); plain([]byte(once)) != c[1] || x.Enriched.Route != once {
			t.Errorf("%s: %s, then %s", c[0], once, x.Enriched.Route)
		}
	}
}
