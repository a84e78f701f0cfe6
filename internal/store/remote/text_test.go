package remote

// Invariant of FuzzDocument: whatever JSON an index holds, reading it ends, and gives a row that can be made into an exchange,
// or none.
//
// Invariant of FuzzShown: what is shown of a text is UTF-8, tells the text, and is what package ndjson writes.

import (
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/storetest"
)

func FuzzShown(f *testing.F) {
	for _, s := range []string{"", "plain", "caf\xe9", `\xe9`, `\\xe9\`, "\xf0\x9f\x91", "日本", `\x5c`, "\\x\xff"} {
		f.Add(s)
	}
	x := storetest.Exchanges(1, 1)[0]
	x.Response.Facts = nil // or the error of a database would stand in for an empty text
	encoder := ndjson.NewEncoder()
	f.Fuzz(func(t *testing.T, text string) {
		s := shown(text)
		if !utf8.ValidString(s) {
			t.Fatalf("%q is shown as %q", text, s)
		}
		if back := string(raw([]byte(s))); back != text {
			t.Fatalf("%q is shown as %q, which tells %q", text, s, back)
		}
		if plain(text) != (s == text && utf8.ValidString(text)) && plain(text) {
			t.Fatalf("%q is plain, and shown as %q", text, s)
		}
		x.Reason = text
		var document struct {
			Error struct{ Message string }
		}
		if err := json.Unmarshal(encoder.Append(nil, x), &document); err != nil || document.Error.Message != s {
			t.Fatalf("%q is %q in documents, and shown as %q", text, document.Error.Message, s)
		}
	})
}

// What a document of this package holds is the exchange, whole.
func TestDocuments(t *testing.T) {
	e, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	d := newDocuments()
	var maker record.Maker
	var stored, again record.Batch
	for i, x := range storetest.Exchanges(7, 500) {
		document, err := e.Append(nil, x)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(document) {
			t.Fatalf("exchange %d: no JSON: %s", i, document)
		}
		stored.Reset()
		stored.Add(x)
		want := string(stored.Bytes())
		row, ok := d.read("", document)
		if !ok {
			t.Fatalf("exchange %d can't be read", i)
		}
		again.Reset()
		again.Add(maker.Exchange(row))
		if got := string(again.Bytes()); got != want {
			t.Errorf("exchange %d is another one:\n%q\n%q", i, got, want)
		}
	}
}

// The documents of agents, which lack what is in culprit.stored, are read as far as they tell.
func TestDocumentsOfAgents(t *testing.T) {
	e := ndjson.NewEncoder()
	d := newDocuments()
	var maker record.Maker
	for i, x := range storetest.Exchanges(8, 300) {
		row, ok := d.read("", e.Append(nil, x))
		if !ok {
			t.Fatalf("exchange %d can't be read", i)
		}
		y := maker.Exchange(row)
		for k := range exchange.Fields {
			f := &exchange.Fields[k]
			if f.Kind == exchange.Headers || f.Kind == exchange.List || f.OfProcess() {
				continue
			}
			var a, b exchange.Value
			f.Get(x, &a)
			f.Get(y, &b)
			if a.Kind != b.Kind || a.Int != b.Int || a.Text+string(a.Bytes) != b.Text+string(b.Bytes) || a.Addr != b.Addr {
				t.Errorf("exchange %d: %s is %v %d %q, want %v %d %q", i, f.Name, b.Kind, b.Int, b.Text+string(b.Bytes), a.Kind, a.Int, a.Text+string(a.Bytes))
			}
		}
	}
}

func FuzzDocument(f *testing.F) {
	e := ndjson.NewEncoder()
	for _, x := range storetest.Exchanges(3, 5) {
		f.Add(e.Append(nil, x))
	}
	for _, s := range []string{
		`{"@timestamp":7,"event":{"id":[]},"http":{"request":{"headers":{"a":"b","":[null,{}],"c":[["d"]]}}}}`,
		`{"@timestamp":"9999-01-01T00:00:00Z","event.id":"01M6DSTTNMC5VZJ7XBPVPHVGPS","a.b..c":1,"":2}`,
		`{"_doc_count":-5,"culprit":{"stored":{"request":{"headers":["a"]}}},"event":{"duration":1e400}}`, `[1,[2,{"a":[]}]]`, `"\ud800\u0000"`, `null`,
	} {
		f.Add([]byte(s))
	}
	d := newDocuments()
	var maker record.Maker
	f.Fuzz(func(t *testing.T, document []byte) {
		if !json.Valid(document) {
			return
		}
		row, ok := d.read("01M6DSTTNMC5VZJ7XBPVPHVGPS", append([]byte(nil), document...))
		if d.weight < 1 {
			t.Fatalf("it counts %d times", d.weight)
		}
		if !ok {
			return
		}
		x := maker.Exchange(row)
		if out := e.Append(nil, x); !json.Valid(out) {
			t.Fatalf("%s becomes %s", document, out)
		}
	})
}

// Names of headers are read as values are, in lower case.
func TestHeaderNames(t *testing.T) {
	d := newDocuments()
	row, ok := d.read("01M6DSTTNMC5VZJ7XBPVPHVGPS", []byte(`{"@timestamp":"2026-03-01T20:00:00Z","http":{"request":{"headers":{"X-\\xff":["a\\x5cx00",1,"b"],"y":"c"}}}}`))
	if !ok {
		t.Fatal("it can't be read")
	}
	var got []string
	for _, f := range row.Cell(record.Index("http.request.headers")).Fields {
		got = append(got, string(f.Name), string(f.Value))
	}
	if want := []string{"x-\xff", `a\x00`, "x-\xff", "b", "y", "c"}; !slices.Equal(got, want) {
		t.Errorf("they are %q, want %q", got, want)
	}
}
