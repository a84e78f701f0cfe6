package remote

import (
	"encoding/json"
	"errors"
	"math"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
)

// everywhere is the layout of an index of the template.
func everywhere() *layout {
	l := &layout{as: map[string]indexed{}}
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		l.as[f.Name] = indexed{f.Name, f.Kind != exchange.Headers && f.Type != "geo_point", true}
	}
	return l
}

// What filters become, and whether that is all that they mean.
func TestFilters(t *testing.T) {
	for text, want := range map[string]struct {
		exact bool
		query string // is in the query that selects the most
	}{
		`status >= 500`:                            {true, `"gte":500`},
		`status > 2.5`:                             {true, `"gt":2`},
		`status < 2.5`:                             {true, `"lte":2`},
		`status in [2.5]`:                          {true, `match_none`},
		`confidence >= 0.9`:                        {true, `"gte":0.9`},
		`confidence != 1`:                          {true, `"term":{"culprit.blame.confidence":{"value":1}}`},
		`confidence in [0.25, 1]`:                  {true, `{"value":0.25}`},
		`size == 1e300`:                            {false, `exists`},
		`method == "GET"`:                          {true, `"term":{"http.request.method":{"value":"GET"}}`},
		`method != "GET"`:                          {true, `must_not`},
		`lower(method) == "get"`:                   {true, `"case_insensitive":true`},
		`lower(method) == "GET"`:                   {true, `match_none`},
		`lower(method) == "\\xe9"`:                 {false, `exists`},
		`path startsWith "/api"`:                   {true, `"prefix"`},
		`path contains "/api*?"`:                   {true, `/api\\*\\?`},
		`path contains "9"`:                        {false, `"*9*"`},
		`path endsWith b"\xff/x"`:                  {false, `"*/x*"`},
		`path < "/b"`:                              {false, `"lt":"/b"`},
		`path matches "^/a[b-d]+$"`:                {false, `\\/a([b-d])+`},
		`path matches "a\\b"`:                      {false, `exists`},
		`path matches "(abc){1000}"`:               {false, `exists`},
		`anomalies contains "obs-fold"`:            {true, `"term":{"culprit.anomalies"`},
		`cidr(client, "::/0")`:                     {true, `0.0.0.0/0`},
		`cidr(client, "10.0.0.0/8")`:               {true, `"10.0.0.0/8"`},
		`header("accept") == "a"`:                  {false, `http.response.headers.accept`},
		`request_header("a") contains "b"`:         {false, `http.request.headers.a`},
		`client.geo.location == "1,2"`:             {false, `exists`},
		`not (status == 200)`:                      {true, `must_not`},
		`time < "1960-01-01T00:00:00Z"`:            {true, `match_none`},
		`time >= "2026-01-02T03:04:05.000000006Z"`: {true, `05.000000006Z`},
		// Dates are known to the millisecond.
		`tls.server.not_after < "2026-01-02T03:04:05.000000006Z"`:  {true, `"lt":"2026-01-02T03:04:05.001000000Z"`},
		`tls.server.not_after <= "2026-01-02T03:04:05.000000006Z"`: {true, `"lte":"2026-01-02T03:04:05.000000000Z"`},
		`tls.server.not_after > "2026-01-02T03:04:05.000000006Z"`:  {true, `"gt":"2026-01-02T03:04:05.000000000Z"`},
		`tls.server.not_after >= "2026-01-02T03:04:05.000000006Z"`: {true, `"gte":"2026-01-02T03:04:05.001000000Z"`},
		`tls.server.not_after == "2026-01-02T03:04:05.000000006Z"`: {true, `match_none`},
		`tls.server.not_after != "2026-01-02T03:04:05.000000006Z"`: {true, `exists`},
		`tls.server.not_after == "2026-01-02T03:04:05Z"`:           {true, `"gte":"2026-01-02T03:04:05.000000000Z","lte"`},
		`tls.server.not_before < "1960-01-01T00:00:00Z"`:           {true, `"lt":"1960-01-01T00:00:00.000000000Z"`},
	} {
		f, err := filter.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		b := translator{everywhere()}.node(f.Root(), 1)
		most, err := json.Marshal(b.most)
		if err != nil {
			t.Fatal(err)
		}
		if b.exact != want.exact || !strings.Contains(string(most), want.query) {
			t.Errorf("%s: exact %v, %s; want %v and %s", text, b.exact, most, want.exact, want.query)
		}
	}
}

// A filter that is nested deeper than clusters allow isn't translated there.
func TestDeepFilters(t *testing.T) {
	f, err := filter.Parse(strings.Repeat("not (status == 1 or ", 25) + "status == 2" + strings.Repeat(")", 25))
	if err != nil {
		t.Fatal(err)
	}
	b := translator{everywhere()}.node(f.Root(), 1)
	text, err := json.Marshal(b.most)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), `"bool"`); b.exact || n > 2*maxDepth {
		t.Errorf("exact %v, %d levels", b.exact, n)
	}
}

func TestLucene(t *testing.T) {
	for expression, want := range map[string]string{
		"a": ".*a.*", "^a": "a.*", "a$": ".*a", "^$": "()", "a.c": ".*a[^\n]c.*", "(?s)a.c": ".*a.c.*", "[^b-z]+": ".*([\x00-a\\{-\U0010ffff])+.*",
		"ab|c": ".*(ab|c).*", "(?i)k": ".*[Kk\u212a].*", "a{2,3}?": ".*aa(a)?.*", "x*~": ".*(x)*\\~.*", "()": ".*().*", `[\]\-]`: `.*[\-\]].*`,
		`a\b`: "", "a^": "", "(?m)^a": "", "(ab){500}": "", "(?U)a+": ".*(a)+.*",
	} {
		re, err := syntax.Parse(expression, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		l := lucene{}
		if got, ok := l.whole(re.Simplify()); got != want || ok != (want != "") {
			t.Errorf("%q becomes %q, want %q", expression, got, want)
		}
	}
	if got := lowerOnly([]rune("AZazéé")); !slices.Equal(got, []rune("azAZéé")) {
		t.Errorf("a class of what becomes lower case is %q", string(got))
	}
}

func TestMagnitudes(t *testing.T) {
	all := magnitudes()
	for i, b := range all {
		if b.from >= b.to || i > 0 && (all[i-1].to != b.from || all[i-1].key >= b.key) {
			t.Errorf("bucket %d is %+v", i, b)
		}
	}
	if first, last := all[0], all[len(all)-1]; first.from != math.MinInt64 || last.to != math.MaxInt64 {
		t.Errorf("they are from %d to %d", first.from, last.to)
	}
	for n, want := range map[int64]int64{-5: 0, 0: 0, 1: 1, 2: 2, 3: 2, 4: 3, 9: 7, 10: 10, 99: 75, 999: 750, 1e18: 1e18} {
		i := slices.IndexFunc(all, func(b band) bool { return b.from <= n && n < b.to })
		if all[i].key != want {
			t.Errorf("%d is in bucket %d, want %d", n, all[i].key, want)
		}
	}
}

func TestCursors(t *testing.T) {
	by, other := exchange.Lookup("duration"), exchange.Lookup("method")
	c := &cursor{by.Name, true, []json.RawMessage{json.RawMessage("9223372036854775807"), json.RawMessage(`"01M6DSTTNMC5VZJ7XBPVPHVGPS"`)}}
	if got, err := readCursor(c.String(), by, true); err != nil || string(got.Sort[0]) != string(c.Sort[0]) {
		t.Errorf("%v: %v", got, err)
	}
	for what, bad := range map[string]func() (*cursor, error){
		"another order": func() (*cursor, error) { return readCursor(c.String(), by, false) },
		"another field": func() (*cursor, error) { return readCursor(c.String(), other, true) },
		"a text":        func() (*cursor, error) { return readCursor((&cursor{other.Name, true, c.Sort}).String(), other, true) },
		"no id": func() (*cursor, error) {
			return readCursor((&cursor{by.Name, true, []json.RawMessage{c.Sort[0], c.Sort[0]}}).String(), by, true)
		},
		"an object": func() (*cursor, error) {
			return readCursor((&cursor{by.Name, true, []json.RawMessage{[]byte("{}"), c.Sort[1]}}).String(), by, true)
		},
		"nothing at all": func() (*cursor, error) { return readCursor("", by, true) },
		"too much":       func() (*cursor, error) { return readCursor(strings.Repeat("e30", maxCursor), by, true) },
	} {
		if _, err := bad(); !errors.Is(err, store.ErrCursor) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
