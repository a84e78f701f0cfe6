package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/redact"
)

func answerOf(status int, head, body string) *Answer {
	a := &Answer{Status: status, Body: Body{Bytes: []byte(body), Size: int64(len(body)), Decoded: int64(len(body))}}
	if body != "" {
		a.Body.State = Whole
	}
	for line := range strings.SplitSeq(head, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			a.Fields = append(a.Fields, Field{Name: name, Value: value})
		}
	}
	return a
}

// told are findings in a line each.
func told(found []Finding) (out []string) {
	for _, f := range found {
		out = append(out, fmt.Sprintf("%v %s %s: %s > %s", f.Kind, f.Where, f.At, f.Recorded, f.Replayed))
	}
	slices.Sort(out)
	return out
}

func TestCompare(t *testing.T) {
	const js = "Content-Type: application/json"
	for _, c := range []struct {
		name                         string
		was, now                     *Answer
		ignore, headers, alsoHeaders []string
		want                         []string
	}{
		{"the same", answerOf(200, js, `{"a":1}`), answerOf(200, js, `{"a":1}`), nil, nil, nil, nil},
		{"another status hides the rest", answerOf(200, "A: 1", "x"), answerOf(500, "A: 2", "y"), nil, nil, nil, []string{"status  : 200 > 500"}},
		{"order of headers, case, ignored ones", answerOf(200, "A: 1\nb: 2\nDate: x\nETag: 1", ""), answerOf(200, "B: 2\na: 1\nDate: y\nX-Request-Id: 2", ""), nil, nil, nil, nil},
		{"headers", answerOf(200, "A: 1\nB: 2\nB: 3", ""), answerOf(200, "B: 3\nB: 2\nC: 4", ""), nil, nil, nil,
			[]string{"header extra c c:  > 4", "header missing a a: 1 > ", "header value b b: 2, 3 > 3, 2"}},
		{"headers as told", answerOf(200, "A: 1\nETag: 1", ""), answerOf(200, "A: 2\nETag: 2", ""), nil, []string{"a"}, []string{"etag"}, []string{"header value etag etag: 1 > 2"}},
		{"cookies by name", answerOf(200, "Set-Cookie: a=1; Path=/\nSet-Cookie: b=1", ""), answerOf(200, "Set-Cookie: a=2\nSet-Cookie: c=1", ""), nil, nil, nil,
			[]string{"header value set-cookie set-cookie: a, b > a, c"}},
		{"a location at either server", answerOf(302, "Location: http://old.example/x?y", ""), answerOf(302, "Location: http://new.example:81/x?y", ""), nil, nil, nil, nil},
		{"a location at either server, and none", answerOf(302, "Location: /x?y", ""), answerOf(302, "Location: http://new.example:81/x?y", ""), nil, nil, nil, nil},
		{"a location by another scheme", answerOf(302, "Location: http://old.example/x", ""), answerOf(302, "Location: https://new.example:81/x", ""), nil, nil, nil,
			[]string{"header value location location: http://old.example/x > https://new.example:81/x"}},
		{"a location by another scheme then and now", answerOf(302, "Location: https://old.example/x", ""), answerOf(302, "Location: https://new.example:81/x", ""), nil, nil, nil, nil},
		{"a location elsewhere", answerOf(302, "Location: http://old.example/x", ""), answerOf(302, "Location: http://else.example/x", ""), nil, nil, nil,
			[]string{"header value location location: http://old.example/x > http://else.example/x"}},
		{"JSON by structure", answerOf(200, js, `{"a":1,"b":[1,2,{"c":null}],"d":"x","e":true,"n":1.0}`), answerOf(200, js, ` {"e":false,"b":[1,3,{"c":0}],"a":"1","f":{},"n":1}`), nil, nil, nil,
			[]string{`JSON extra $.f $.f:  > {0 members}`, `JSON missing $.d $.d: "x" > `, `JSON type $.a $.a: number 1 > string "1"`, `JSON type $.b[*].c $.b[2].c: null null > number 0`,
				`JSON value $.b[*] $.b[1]: 2 > 3`, `JSON value $.e $.e: true > false`}},
		{"large integers", answerOf(200, js, `9007199254740993`), answerOf(200, js, `9007199254740992`), nil, nil, nil, []string{"JSON value $ $: 9007199254740993 > 9007199254740992"}},
		{"numbers without end", answerOf(200, js, `[1e999999999]`), answerOf(200, js, `[1e999999998]`), nil, nil, nil, []string{"JSON value $[*] $[0]: 1e999999999 > 1e999999998"}},
		{"an element more in front", answerOf(200, js, `[{"a":1},{"a":2},{"a":3}]`), answerOf(200, js, `[{"a":0},{"a":1},{"a":2},{"a":3}]`), nil, nil, nil, []string{"JSON length $ $: 3 elements > 4 elements"}},
		{"an element less, and one changed", answerOf(200, js, `[1,2,3,4]`), answerOf(200, js, `[1,5,4]`), nil, nil, nil, []string{"JSON length $ $: 4 elements > 3 elements", "JSON value $[*] $[1]: 2 > 5"}},
		{"ignored places", answerOf(200, js, `{"a":{"time":1,"x":[{"id":1,"k":1}]},"time":2,"gone":1}`), answerOf(200, js, `{"a":{"time":"2","x":[{"id":2,"k":2}]},"time":3}`),
			[]string{"json:$..time", "json:$.a.x[*].id", "json:$['gone']"}, nil, nil, []string{"JSON value $.a.x[*].k $.a.x[0].k: 1 > 2"}},
		{"an ignored object", answerOf(200, js, `{"a":{"b":{"c":1}}}`), answerOf(200, js, `{"a":{"b":3}}`), []string{"json:$.a.b"}, nil, nil, nil},
		{"an ignored element", answerOf(200, js, `[1,2]`), answerOf(200, js, `[1,3]`), []string{"json:$[1]"}, nil, nil, nil},
		{"no JSON any more", answerOf(200, js, `{"a":1}`), answerOf(200, js, `<html>`), nil, nil, nil, []string{"body kind  : JSON > 6 bytes that aren't JSON"}},
		{"two documents", answerOf(200, js, `{}{}`), answerOf(200, js, `{}{} `), nil, nil, nil, []string{"body  byte 4: 4 bytes: {}{} > 5 bytes: {}{} "}},
		{"a byte", answerOf(200, "", "hello"), answerOf(200, "", "hallo"), nil, nil, nil, []string{"body  byte 1: 5 bytes: hello > 5 bytes: hallo"}},
		{"bytes that are no text", answerOf(200, "", "a\x00b"), answerOf(200, "", "a\x01b"), nil, nil, nil, []string{"body  byte 1: 3 bytes: 61 00 62 > 3 bytes: 61 01 62"}},
		{"a body that is gone", answerOf(200, "", "hello"), answerOf(200, "", ""), nil, nil, nil, []string{"body  byte 0: 5 bytes: hello > 0 bytes: "}},
		{"text that is ignored", answerOf(200, "", "at 10:20 hello"), answerOf(200, "", "at 11:21 hello"), []string{"text:[0-9]+:[0-9]+"}, nil, nil, nil},
	} {
		var r Rules
		for _, text := range c.ignore {
			i, err := ParseIgnore(text)
			if err != nil {
				t.Fatal(err)
			}
			r.Ignore = append(r.Ignore, i)
		}
		r.IgnoreHeaders, r.CompareHeaders = c.headers, c.alsoHeaders
		it := &Item{Authority: "old.example", Answered: true, Answer: *c.was}
		if got := told(newComparer(&r).compare(it, c.now, "new.example:81")); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

// Where not all of a body is known, what is known is compared, and nothing is made up.
func TestCompareParts(t *testing.T) {
	c := newComparer(&Rules{})
	whole := func(s string) Body {
		return Body{State: Whole, Bytes: []byte(s), Size: int64(len(s)), Decoded: int64(len(s))}
	}
	cut := func(s string, decoded int64) Body {
		return Body{State: Cut, Bytes: []byte(s), Size: 1000, Decoded: decoded}
	}
	for _, x := range []struct {
		a, b    Body
		differs bool
	}{
		{Body{State: NotKept, Size: 5, Decoded: 5}, whole("hello"), false},
		{Body{State: NotKept, Size: 6, Decoded: 6}, whole("hello"), true},
		{Body{State: NotKept, Size: 6, Decoded: -1}, whole("hello"), false},
		{cut("hel", -1), whole("hello"), false},
		{cut("hal", -1), whole("hello"), true},
		{cut("hello", -1), whole("hel"), true},
		{cut("hel", 9), whole("hello"), true},
		{cut("hel", -1), cut("hello", -1), false},
		{cut("hel", -1), cut("hallo", -1), true},
		{Body{State: Coded, Bytes: []byte("x"), Size: 1, Decoded: -1}, whole("hello"), false},
		{Body{State: Coded, Bytes: []byte("x"), Size: 1, Decoded: -1}, Body{State: Coded, Bytes: []byte("y"), Size: 1, Decoded: -1}, true},
	} {
		it := &Item{Answered: true, Answer: Answer{Status: 200, Body: x.a}}
		if got := c.compare(it, &Answer{Status: 200, Body: x.b}, ""); (len(got) > 0) != x.differs {
			t.Errorf("%+v and %+v: %+v", x.a, x.b, got)
		}
	}
}

// An item comes out of the spool as it went in, in memory and beyond it.
func TestSpool(t *testing.T) {
	it := &Item{
		ID: [exchange.IDSize]byte{1, 2}, Tap: "t", Client: "c", Server: "s", Start: 1 << 60, Duration: -1, Setup: 3, HTTP2: true, HTTP10: true, Secure: true, Method: "GET", Target: "/",
		Authority: "x", Route: "/r", Fields: []Field{{"A", "b", true}, {"", "", false}}, Chunked: true, Body: Body{State: Cut, Bytes: []byte("abc"), Size: 9, Decoded: -1}, Answered: true,
		Answer: Answer{Status: 200, Proto: "p", Reason: "r", Fields: []Field{{"X", "y", false}}, Body: Body{State: Whole, Bytes: []byte("q"), Size: 1, Decoded: 1}},
	}
	b := appendItem(nil, it)
	got, err := readItem(b)
	if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", it) {
		t.Fatalf("%v\n%+v\n%+v", err, got, it)
	}
	for n := range b {
		if _, err := readItem(b[:n]); err == nil {
			t.Errorf("the first %d bytes are taken for an item", n)
		}
	}
	f := &disk{}
	s := spool{open: func() (Spool, error) { return f, nil }, memory: make([]byte, memorySpool-4), size: memorySpool - 4}
	var at []int64
	for i := range 4 {
		n, err := s.add([]byte{byte(i), 1, 2})
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, n)
	}
	for i, n := range at {
		if got, err := s.get(n, 3); err != nil || got[0] != byte(i) {
			t.Errorf("%d: %v %v", i, got, err)
		}
	}
	if len(f.b) != 9 {
		t.Errorf("%d bytes are in the file", len(f.b))
	}
}

type disk struct{ b []byte }

func (f *disk) WriteAt(b []byte, at int64) (int, error) {
	f.b = append(f.b[:at], b...)
	return len(b), nil
}
func (f *disk) ReadAt(b []byte, at int64) (int, error) { return copy(b, f.b[at:]), nil }

// A redirect to the server itself is the same over TLS as without, where the connections were so, too.
func TestLocationOverTLS(t *testing.T) {
	it := &Item{Authority: "old.example", Secure: true, Answered: true, Answer: *answerOf(302, "Location: https://old.example/x", "")}
	for secure, want := range map[bool]int{false: 0, true: 1} {
		if got := newComparer(&Rules{Secure: secure}).compare(it, answerOf(302, "Location: http://new.example:81/x", ""), "new.example:81"); len(got) != want {
			t.Errorf("target over TLS: %v: %+v, want %d", secure, got, want)
		}
	}
}

// What a summary shows holds no secrets, though these are what differs.
func TestSummaryHidesSecrets(t *testing.T) {
	const js = "Content-Type: application/json\nLocation: /x?access_token=%s"
	outcome := func() *Outcome {
		it := &Item{
			Method: "GET", Target: "/login?access_token=verysecretvalue1", Route: "/login", Answered: true, Client: "192.0.2.1:1", Server: "192.0.2.2:80", Duration: 1,
			Answer: *answerOf(200, fmt.Sprintf(js, "verysecretvalue2"), `{"password":"verysecretvalue3","n":1}`),
		}
		o := &Outcome{Item: it, Request: &Request{Method: "GET", Target: it.Target}, Answer: answerOf(200, fmt.Sprintf(js, "verysecretvalue4"), `{"password":"verysecretvalue5","n":2}`)}
		o.Findings, o.Compared = newComparer(&Rules{}).compare(it, o.Answer, ""), true
		return o
	}
	r := redact.New([]byte("key"))
	s := NewSummary(&Rules{}, r.Exchange)
	found := s.Add(outcome())
	s.Finish()
	text, err := json.Marshal([]any{found, s.Groups()})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("verysecret")) {
		t.Errorf("a secret is shown: %s", text)
	}
	if !bytes.Contains(text, []byte("redacted 16 #")) || len(s.Groups()) != 3 || !strings.Contains(string(text), `"Recorded":"1","Replayed":"2"`) {
		t.Errorf("what differs isn't shown: %s", text)
	}
	s = NewSummary(&Rules{}, nil)
	text, _ = json.Marshal(s.Add(outcome()))
	if !bytes.Contains(text, []byte("verysecretvalue5")) {
		t.Errorf("nothing was to be hidden: %s", text)
	}
}

// Of a recording whose secrets were redacted, what stands in their place isn't known: answers with other secrets are the same, and what is around these counts.
func TestRedactedRecording(t *testing.T) {
	const head = "Content-Type: application/json\nX-Auth-Token: %s"
	for body, want := range map[string]int{`{"password":"another1234","n":1}`: 0, `{"password":"another1234","n":2}`: 1, `{"n":1}`: 1} {
		r := redact.New([]byte("key"))
		it := &Item{Method: "GET", Target: "/", Route: "/", Answered: true, Duration: 1, Answer: *answerOf(200, fmt.Sprintf(head, "secret12345"), `{"password":"verysecret3","n":1}`)}
		was := it.recorded()
		redact.New([]byte("another key")).Exchange(was)
		hideAnswer(&it.Answer, was)
		o := &Outcome{Item: it, Request: &Request{Method: "GET", Target: "/"}, Answer: answerOf(200, fmt.Sprintf(head, "new12345"), body), Compared: true}
		o.Findings = newComparer(&Rules{}).compare(it, o.Answer, "")
		findings := o.Findings
		for _, reveal := range []bool{false, true} {
			s := NewSummary(&Rules{}, r.Exchange)
			if reveal {
				s = NewSummary(&Rules{}, nil)
				s.Redact = r.Exchange
			}
			o.Findings = findings
			if found := s.Add(o); len(found) != want || s.Same != uint64(1-want) || s.Different != uint64(want) {
				t.Errorf("%s, revealed: %v: %+v, want %d", body, reveal, found, want)
			}
		}
	}
}

// Arrays in arrays of other lengths are compared in a time that doesn't double with each, and a document of new members has no end of findings.
func TestHostileJSON(t *testing.T) {
	deep := func(more string) string {
		return strings.Repeat("[", 200) + "1" + strings.Repeat("]"+more, 199) + "]"
	}
	var wide strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&wide, `,"%d":0`, i)
	}
	for _, c := range [][2]string{{deep(""), deep(",[[2]]")}, {`{"a":0}`, `{"a":0` + wide.String() + `}`}, {`{"a":0` + wide.String() + `}`, `{"a":0}`}} {
		x, err := parseJSON([]byte(c[0]))
		y, err2 := parseJSON([]byte(c[1]))
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		d := jsonDiff{}
		if d.compare(x, y); len(d.found) != maxFindings {
			t.Errorf("%d findings, want %d", len(d.found), maxFindings)
		}
	}
}

// Groups and samples are bounded, and counted beyond that.
func TestSummaryIsBounded(t *testing.T) {
	s := NewSummary(&Rules{}, nil)
	for i := range MaxGroups + 10 {
		it := &Item{Method: "GET", Route: fmt.Sprintf("/%d", i), Answered: true, Duration: int64(i)}
		s.Add(&Outcome{Item: it, Request: &Request{}, Answer: &Answer{}, Compared: true, Last: 1, Findings: []Finding{{Kind: BodyBytes}}})
	}
	_, routes := s.Latencies()
	if len(s.Groups()) != MaxGroups || s.More != 10 || len(routes) != MaxRoutes || s.Different != MaxGroups+10 {
		t.Errorf("%d groups, %d more, %d routes", len(s.Groups()), s.More, len(routes))
	}
	var v samples
	for i := range int64(100_000) {
		v.add(i)
	}
	if q := v.quantiles(); len(v.kept) > maxSamples || v.count != 100_000 || q.P50 < 49_000 || q.P50 > 51_000 || q.P99 < 98_500 || q.P99 > 99_500 {
		t.Errorf("%d kept, %+v", len(v.kept), v.quantiles())
	}
}

// The comparison of documents is sound: a document equals itself, what differs one way differs the other way, and an ignored root leaves nothing.
func FuzzJSON(f *testing.F) {
	for _, s := range [][2]string{
		{`{"a":[1,2,{"b":null}]}`, `{"a":[2,{"b":1}],"c":1e5}`}, {`[]`, `[[[]]]`}, {`1`, `"1"`}, {`[1,2,3]`, `[2,3]`}, {`{"":{"a.b":[0]}}`, `{"":{"a.b":[1]}}`},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, err := parseJSON([]byte(a))
		y, err2 := parseJSON([]byte(b))
		if err != nil || err2 != nil {
			return
		}
		diff := func(x, y any, ignore ...Path) []Finding {
			d := jsonDiff{ignore: ignore}
			d.compare(x, y)
			return d.found
		}
		if found := diff(x, x); len(found) > 0 {
			t.Fatalf("%s differs from itself: %+v", a, found)
		}
		there, back := diff(x, y), diff(y, x)
		if (len(there) == 0) != (len(back) == 0) {
			t.Fatalf("%s and %s: %+v, the other way %+v", a, b, there, back)
		}
		if len(there) > maxFindings+1 {
			t.Fatalf("%d findings", len(there))
		}
		root, _ := ParsePath("$")
		if found := diff(x, y, root); len(found) > 0 {
			t.Fatalf("ignored: %+v", found)
		}
		for _, f := range there {
			at, err := ParsePath(f.At)
			if err != nil {
				continue // a name with a quote in it
			}
			for _, still := range diff(x, y, at) {
				if still.At == f.At && len(there) < maxFindings && !strings.Contains(f.At, "['") {
					t.Fatalf("%s is ignored, and found", f.At)
				}
			}
		}
	})
}

// Answers as they come never panic, and never give more than the limits allow.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n", "HTTP/1.0 200 OK\n\nuntil the end", "HTTP/1.1 200\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		limits := &Limits{MaxHead: 256, MaxBody: 64}
		c := newHTTP1(&reading{r: bytes.NewReader(b)}, limits, fixed)
		var when times
		a, err := c.answer(&Request{Method: "GET"}, &when)
		if err != nil {
			return
		}
		if a.Status < 200 || a.Status > 999 || len(a.Body.Bytes) > limits.MaxBody || a.Body.Size > int64(len(b)) {
			t.Fatalf("%+v", a)
		}
		for _, f := range a.Fields {
			if !isToken(f.Name) || strings.ContainsAny(f.Value, "\n") {
				t.Fatalf("%+v", f)
			}
		}
	})
}
