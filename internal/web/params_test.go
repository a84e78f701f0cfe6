package web

import (
	"encoding/json"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestInstant(t *testing.T) {
	at := func(s string) int64 {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.UnixNano()
	}
	for s, want := range map[string]int64{
		"now": noon.UnixNano(), "-15m": noon.UnixNano() - 15*60e9, "-1h30m": noon.UnixNano() - 90*60e9, "-2w": noon.UnixNano() - 14*24*3600e9,
		"2026-11-21T10:00:00Z": at("2026-11-21T10:00:00Z"), "2026-11-21T10:00:00.000000001+02:00": at("2026-11-21T08:00:00.000000001Z"),
		"2026-11-21T10:00:00 02:00": at("2026-11-21T08:00:00Z"),
		"1795262340":                1795262340e9, "1795262340123": 1795262340123e6, "1795262340123456": 1795262340123456e3, "1795262340123456789": 1795262340123456789,
		"0": 1e9, "1": 1e9, "-9999999h": 0, "1970-01-01T00:00:00Z": 1, "9223372036854775807": math.MaxInt64,
		"": 0, "-": 0, "-1": 0, "--1h": 0, "99999999999": 0, "9223372036854775808": 0, "18446744073709551616": 0, "2026-11-21": 0, "2026-11-21T25:00:00Z": 0,
		"9999-01-01T00:00:00Z": 0, "1969-12-31T23:59:59Z": 0, "1e9": 0, "0x10": 0, "١": 0, "now ": 0,
	} {
		got, ok := instant(s, noon)
		if ok != (want != 0) || ok && got != want {
			t.Errorf("%q: %d %v, want %d", s, got, ok, want)
		}
	}
	if got, ok := duration("1d"); !ok || got != 24*3600e9 {
		t.Error(got, ok)
	}
	for _, bad := range []string{"", "d", "1", "-1s", "0s", "1y", "106752d", "9223372036854775807w", "1dd", "d1", "NaNs"} {
		if d, ok := duration(bad); ok {
			t.Errorf("%q is %d", bad, d)
		}
	}
}

func TestWidth(t *testing.T) {
	for _, c := range []struct {
		length  time.Duration
		buckets int
		want    time.Duration
	}{
		{time.Hour, 60, time.Minute}, {time.Hour + 1, 60, 2 * time.Minute}, {15 * time.Minute, 60, 15 * time.Second}, {24 * time.Hour, 60, 30 * time.Minute}, {time.Second, 60, 20 * time.Millisecond},
		{1, 60, time.Microsecond}, {365 * 24 * time.Hour, 60, 7 * 24 * time.Hour}, {math.MaxInt64, 1, 106751 * 24 * time.Hour},
	} {
		if got := width(int64(c.length), c.buckets); got != int64(c.want) {
			t.Errorf("%v in %d: %v, want %v", c.length, c.buckets, time.Duration(got), c.want)
		}
	}
}

func TestPruner(t *testing.T) {
	const doc = `{"@timestamp":"t","event":{"id":"a\"}","duration":17},"http":{"request":{"headers":{"a":["}",","],"b":["\\"]},"method":"G"},"response":{"status_code":200}},"n":-1,"b":true}`
	s := serve(t)
	for fields, want := range map[string]string{
		"id":                           `{"event":{"id":"a\"}"}}`,
		"duration":                     `{"event":{"duration":17}}`,
		"method,status,@timestamp":     `{"@timestamp":"t","http":{"request":{"method":"G"},"response":{"status_code":200}}}`,
		"http.request.headers":         `{"http":{"request":{"headers":{"a":["}",","],"b":["\\"]}}}}`,
		"url.path":                     `{}`,
		"http.request.body.bytes,path": `{}`,
		"id,url.path,status":           `{"event":{"id":"a\"}"},"http":{"response":{"status_code":200}}}`,
	} {
		p := params{values: map[string][]string{"fields": {fields}}}
		list, err := p.fields("fields")
		if err != nil {
			t.Fatal(err)
		}
		if got := string(newPruner(list).append(nil, []byte(doc))); got != want {
			t.Errorf("%s: got %s, want %s", fields, got, want)
		}
	}
	// Of real documents, all fields together are the whole, and each alone is what the whole has of it.
	full := do(s, request("/api/exchanges?limit=5")).Body.String()
	var names []string
	for _, f := range dig(ask(t, s, "/api/fields"), "fields").([]any) {
		name := dig(f, "name").(string)
		names = append(names, name)
		path := []any{}
		for _, part := range strings.Split(name, ".") {
			path = append(path, part)
		}
		want := decode(t, []byte(full))
		got := ask(t, s, "/api/exchanges?limit=5&fields="+name)
		for i := range 5 {
			w, _ := json.Marshal(dig(want, append([]any{"exchanges", i}, path...)...))
			g, _ := json.Marshal(dig(got, append([]any{"exchanges", i}, path...)...))
			if string(w) != string(g) {
				t.Errorf("%s: got %s, want %s", name, g, w)
			}
		}
	}
	if got := do(s, request("/api/exchanges?limit=5&fields="+strings.Join(names, ","))).Body.String(); got != full {
		t.Errorf("got  %s\nwant %s", got, full)
	}
}

// Invariant of FuzzPruner: of any text, the pruner ends, and of well-formed documents it makes a well-formed one.
func FuzzPruner(f *testing.F) {
	f.Add(`{"event":{"id":"a","x":{}},"http":[1,{"event":2}]}`)
	f.Add(`{"event":{}}`)
	f.Add(`{"event":"\`)
	f.Add(`{"event":{"id":`)
	p := params{values: map[string][]string{"fields": {"id,status,duration"}}}
	list, err := p.fields("fields")
	if err != nil {
		f.Fatal(err)
	}
	prune := newPruner(list)
	f.Fuzz(func(t *testing.T, doc string) {
		prune.append(nil, []byte(doc))
		var compact strings.Builder
		var v map[string]any
		if json.Unmarshal([]byte(doc), &v) != nil || v == nil {
			return
		}
		e := json.NewEncoder(&compact)
		e.SetEscapeHTML(false)
		if e.Encode(v) == nil {
			if got := prune.append(nil, []byte(strings.TrimSpace(compact.String()))); !json.Valid(got) {
				t.Errorf("%s\nbecame %s", compact.String(), got)
			}
		}
	})
}

// Invariant of FuzzParameters: whatever a query says, the answer is JSON with the status 200, or a problem that is the
// client's fault; it never is the server's.
func FuzzParameters(f *testing.F) {
	for _, q := range []string{
		"where=status+>=+500&last=1h&limit=10", "group=class(status),network(client),magnitude(duration)&metric=p50(duration),p99.9(duration),distinct(client),rate&sort=rate&interval=1m",
		"field=path&prefix=/&limit=3", "from=0&to=9223372036854775807&buckets=2000", "from=1&interval=1ns", "text=%ff&ascending", "format=ndjson&fields=status,@timestamp",
		"from=-9999999h&interval=106751d", "metric=p(duration)", "group=()", "metric=)(", "where=%00", "after=%7b%7d", "last=1ns&buckets=1", "to=1", "where=has(status)&where=",
	} {
		f.Add(uint8(0), q)
	}
	var paths []string
	for _, r := range routes() {
		if r.work != stream {
			paths = append(paths, strings.NewReplacer("{id}", "4bf92f3577b34da6a3ce929d0e0e4736", "{$}", "").Replace(r.path))
		}
	}
	s := serve(f, func(o *Options) { o.Store = storeOf(f, shop(3)) })
	f.Fuzz(func(t *testing.T, which uint8, query string) {
		if len(query) > 1000 {
			return // limits have their own test
		}
		for i, path := range paths {
			if int(which) != 0 && i != int(which)%len(paths) {
				continue
			}
			r := request(path)
			r.URL.RawQuery = query
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			switch {
			case w.Code == 200 || w.Code == 303:
			case w.Code < 400 || w.Code >= 500 && w.Code != 503:
				t.Errorf("%s?%s: %d %s", path, query, w.Code, w.Body)
			case !json.Valid(w.Body.Bytes()):
				t.Errorf("%s?%s: no JSON: %s", path, query, w.Body)
			}
		}
	})
}
