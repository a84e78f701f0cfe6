package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/console"
	"github.com/culprit-http/culprit/internal/output/har"
	"github.com/culprit-http/culprit/internal/output/line"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/storetest"
)

// shown is what each output makes of an exchange.
func shown(tb testing.TB, x *exchange.Exchange) map[string]string {
	all := map[string]string{}
	for name, open := range map[string]func(b *bytes.Buffer) output.Output{
		"ndjson":  func(b *bytes.Buffer) output.Output { return ndjson.New(b) },
		"console": func(b *bytes.Buffer) output.Output { return console.New(b, console.Options{}) },
		"har":     func(b *bytes.Buffer) output.Output { return har.New(b, "test") },
		"line": func(b *bytes.Buffer) output.Output {
			return line.New(b, line.Options{Processes: true})
		},
		"line on a terminal": func(b *bytes.Buffer) output.Output {
			return line.New(b, line.Options{Terminal: terminal.Terminal{Width: 200}, Location: time.UTC, Processes: true})
		},
	} {
		var b bytes.Buffer
		o := open(&b)
		if err := errors.Join(o.Exchange(x), o.Close()); err != nil {
			tb.Fatal(err)
		}
		all[name] = b.String()
	}
	return all
}

// decoder reads batches of this program.
func decoder(tb testing.TB) *record.Decoder {
	d, err := record.NewDecoder(record.Header())
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// checkStored stores exchanges in a batch and checks that what comes back is shown alike, and has the same fields.
func checkStored(tb testing.TB, all []*exchange.Exchange) bool {
	var b record.Batch
	for _, x := range all {
		b.Add(x)
	}
	if b.Len() != len(all) {
		tb.Errorf("the batch has %d exchanges of %d", b.Len(), len(all))
	}
	var k record.Maker // one for all, so that nothing may be left over from the exchange before
	i := 0
	err := decoder(tb).Each(b.Bytes(), func(r *record.Row) error {
		x := all[i]
		i++
		back := k.Exchange(r)
		back.Number = x.Number // not stored: it counts what one run shows
		if got, want := string(r.ID()), string(exchange.AppendID(nil, x.ID(x.Tap.Observer))); got != want || r.Time() != x.Start.Time {
			tb.Errorf("the row is of %s at %d, want %s at %d", got, r.Time(), want, x.Start.Time)
		}
		for col := range record.Columns {
			if f := record.Columns[col].Field; f != nil && f.Kind != exchange.Headers { // of which trailers are elsewhere
				var v exchange.Value
				if f.Get(x, &v); (v.Kind != exchange.Absent) != (r.Cell(col) != nil) {
					return fmt.Errorf("exchange %d: %s is %+v, and its column is there: %v", i-1, f.Name, v, r.Cell(col) != nil)
				}
			}
		}
		want := shown(tb, x)
		for name, got := range shown(tb, back) {
			if got != want[name] {
				return fmt.Errorf("exchange %d: %s differs:\n%s", i-1, name, difference(got, want[name]))
			}
		}
		for f := range exchange.Fields {
			if err := sameField(&exchange.Fields[f], back, x); err != nil {
				return fmt.Errorf("exchange %d: %w", i-1, err)
			}
		}
		return nil
	})
	if err == nil && i != len(all) {
		err = fmt.Errorf("%d exchanges came back of %d", i, len(all))
	}
	if err != nil {
		tb.Error(err)
	}
	return err == nil
}

// difference shows where two texts begin to differ.
func difference(got, want string) string {
	from := 0
	for from < len(got) && from < len(want) && got[from] == want[from] {
		from++
	}
	clip := func(s string) string { return s[max(from-60, 0):min(from+100, len(s))] }
	return fmt.Sprintf("got  …%s\nwant …%s", clip(got), clip(want))
}

func sameField(f *exchange.Field, x, y *exchange.Exchange) error {
	var v, w exchange.Value
	f.Get(x, &v)
	f.Get(y, &w)
	if v.Kind != w.Kind || v.Int != w.Int || v.Float != w.Float || v.Text != w.Text || !bytes.Equal(v.Bytes, w.Bytes) || v.Addr != w.Addr || !slices.Equal(v.List, w.List) {
		return fmt.Errorf("%s is %+v, want %+v", f.Name, v, w)
	}
	return nil
}

func TestStoredExchangesAreShownAlike(t *testing.T) {
	for seed := range uint64(4) {
		checkStored(t, storetest.Exchanges(seed, 500))
	}
}

// What a made exchange owns doesn't change with the batch that it came from.
func TestExchangeOwnsItsMemory(t *testing.T) {
	all := storetest.Exchanges(1, 100)
	x := all[slices.IndexFunc(all, func(x *exchange.Exchange) bool {
		return len(x.RequestBody.Bytes) > 0 && len(x.Secrets) > 0 && x.HasResponse
	})]
	var b record.Batch
	b.Add(x)
	raw := slices.Clone(b.Bytes())
	var k record.Maker
	var back *exchange.Exchange
	if err := decoder(t).Each(raw, func(r *record.Row) error { back = k.Exchange(r); return nil }); err != nil {
		t.Fatal(err)
	}
	clear(raw)
	back.Number = x.Number
	want := shown(t, x)
	for name, got := range shown(t, back) {
		if got != want[name] {
			t.Errorf("%s differs:\n%s", name, difference(got, want[name]))
		}
	}
}

func TestEmptyBatch(t *testing.T) {
	var b record.Batch
	b.Add(storetest.Exchanges(1, 1)[0])
	b.Reset()
	if b.Len() != 0 || len(b.Bytes()) != 0 {
		t.Errorf("%d exchanges in %d bytes after Reset", b.Len(), len(b.Bytes()))
	}
	if err := decoder(t).Each(b.Bytes(), func(*record.Row) error { t.Error("a row of nothing"); return nil }); err != nil {
		t.Error(err)
	}
}

func TestEachReturnsTheErrorOfItsFunction(t *testing.T) {
	var b record.Batch
	for _, x := range storetest.Exchanges(1, 3) {
		b.Add(x)
	}
	stop, rows := errors.New("stop"), 0
	if err := decoder(t).Each(b.Bytes(), func(*record.Row) error { rows++; return stop }); !errors.Is(err, stop) || rows != 1 {
		t.Errorf("%v after %d rows", err, rows)
	}
}

// A batch of another version: its columns stand in another order, some it doesn't have, and some aren't known here or
// have another form.
func TestBatchesOfOtherVersions(t *testing.T) {
	type column struct{ form, name string }
	var columns []column
	for line := range strings.Lines(string(record.Header())) {
		columns = append(columns, column{line[:1], strings.TrimSuffix(line[2:], "\n")})
	}
	number := map[string]int{}
	slices.Reverse(columns)
	columns = append(columns, column{"H", "gone.headers"}, column{"L", "gone.list"}, column{"T", "culprit.stream"})
	var header []byte
	for i, c := range columns {
		number[c.form+c.name] = i + 1
		header = append(header, c.form+" "+c.name+"\n"...)
	}
	d, err := record.NewDecoder(header)
	if err != nil {
		t.Fatal(err)
	}
	var row []byte
	text := func(s string) { row = append(binary.AppendUvarint(row, uint64(len(s))), s...) }
	col := func(name string) { row = binary.AppendUvarint(row, uint64(number[name])) }
	col("Hgone.headers")
	row = append(row, 2)
	for _, s := range []string{"a", "1", "b", "2"} {
		text(s)
	}
	col("Tevent.id")
	text("01JV0000000000000000000000")
	col("Lgone.list")
	row = append(row, 1)
	text("x")
	col("Tculprit.stream")
	text("true")
	col("I@timestamp")
	row = binary.AppendVarint(row, -7)
	col("Iclient.bytes")
	row = binary.AppendVarint(row, 12)
	col("Thttp.request.method")
	text("GET")
	row = append(row, 0)
	batch := append(binary.AppendUvarint(nil, uint64(len(row))), row...)

	rows := 0
	err = d.Each(append(batch, batch...), func(r *record.Row) error {
		rows++
		if len(r.Present) != 4 || string(r.ID()) != "01JV0000000000000000000000" || r.Time() != -7 {
			t.Errorf("columns %v, id %s, time %d", r.Present, r.ID(), r.Time())
		}
		var k record.Maker
		if x := k.Exchange(r); !x.HasRequest || x.HasResponse || string(x.Request.Bytes(x.Request.Method)) != "GET" || x.Stream {
			t.Errorf("%+v", x)
		}
		return nil
	})
	if err != nil || rows != 2 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

func TestDamagedHeaders(t *testing.T) {
	for _, header := range []string{"Q name\n", "I\n", "II name\n", "\n", " name\n"} {
		if _, err := record.NewDecoder([]byte(header)); err == nil {
			t.Errorf("%q was taken", header)
		}
	}
}

// Every way to cut a batch short is noticed, but between its rows.
func TestTruncatedBatches(t *testing.T) {
	var b record.Batch
	ends := []int{0}
	for _, x := range storetest.Exchanges(3, 3) {
		b.Add(x)
		ends = append(ends, len(b.Bytes()))
	}
	d := decoder(t)
	for n := range b.Bytes() {
		err := d.Each(b.Bytes()[:n], func(*record.Row) error { return nil })
		if (err == nil) != slices.Contains(ends, n) {
			t.Errorf("%d bytes of %d: %v", n, len(b.Bytes()), err)
		}
	}
}

// rowOf makes a batch of one row with an id and a time, and what is added.
func rowOf(added ...byte) []byte {
	row := binary.AppendUvarint(nil, uint64(record.ID)+1)
	row = append(row, 26)
	row = append(row, "01JV0000000000000000000000"...)
	row = append(binary.AppendUvarint(row, uint64(record.Time)+1), 2)
	row = append(append(row, added...), 0)
	return append(binary.AppendUvarint(nil, uint64(len(row))), row...)
}

func TestDamagedRows(t *testing.T) {
	column := func(name string) []byte { return binary.AppendUvarint(nil, uint64(record.Index(name))+1) }
	method, secrets := column("http.request.method"), column("culprit.secrets")
	many := binary.AppendUvarint(slices.Clone(secrets), 1<<17)
	for name, c := range map[string]struct {
		row []byte
		ok  bool
	}{
		"whole":              {rowOf(), true},
		"with a method":      {rowOf(append(method, 1, 'A')...), true},
		"a column twice":     {rowOf(append(append(slices.Clone(method), 1, 'A'), append(method, 1, 'B')...)...), false},
		"an unknown column":  {rowOf(binary.AppendUvarint(nil, 1<<40)...), false},
		"too long a text":    {rowOf(append(method, 100, 'A')...), false},
		"an endless number":  {rowOf(bytes.Repeat([]byte{0xff}, 20)...), false},
		"more elements":      {rowOf(append(secrets, 100, 0)...), false},
		"very many elements": {rowOf(append(many, make([]byte, 1<<17)...)...), false},
		"something behind":   {rowOf(0, 1, 2), false},
		"no time":            {[]byte{3, byte(record.Index("culprit.packets.first")) + 1, 2, 0}, false},
	} {
		if err := decoder(t).Each(c.row, func(*record.Row) error { return nil }); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzEach: whatever the bytes are, reading them ends without a panic, an exchange of each row can be made and shown, and
// what is kept is in proportion to the bytes.
func FuzzEach(f *testing.F) {
	for _, x := range storetest.Exchanges(5, 20) {
		var b record.Batch
		if b.Add(x); len(b.Bytes()) < 3000 { // what is small is mutated more often
			f.Add(b.Bytes())
		}
	}
	f.Add([]byte{3, 1, 0xff, 0xff})
	d, again := decoder(f), decoder(f)
	var k record.Maker
	f.Fuzz(func(t *testing.T, batch []byte) {
		_ = d.Each(batch, func(r *record.Row) error {
			elements := 0
			for _, col := range r.Present {
				elements += len(r.Cell(col).List) + len(r.Cell(col).Fields)
			}
			if elements > len(batch) {
				t.Errorf("%d elements of %d bytes", elements, len(batch))
			}
			x := k.Exchange(r)
			shown(t, x)
			for i := range exchange.Fields {
				var v exchange.Value
				exchange.Fields[i].Get(x, &v)
			}
			var b record.Batch
			b.Add(x)
			if err := again.Each(b.Bytes(), func(*record.Row) error { return nil }); err != nil {
				t.Errorf("what was read can't be stored again: %v", err)
			}
			return nil
		})
	})
}

func TestColumns(t *testing.T) {
	names := map[string]bool{}
	for i := range record.Columns {
		c := &record.Columns[i]
		if names[c.Name] || record.Index(c.Name) != i {
			t.Errorf("%s is there twice", c.Name)
		}
		names[c.Name] = true
		if (c.Form == record.Ints) != (c.Kind != exchange.Text && c.Kind != exchange.IP && c.Kind != exchange.List && c.Kind != exchange.Headers) {
			t.Errorf("%s of kind %d has the form %d", c.Name, c.Kind, c.Form)
		}
	}
	for _, name := range record.TextColumns {
		if col := record.Index(name); col < 0 || record.Columns[col].Form != record.Texts {
			t.Errorf("%s of TextColumns isn't a column of texts", name)
		}
	}
	if record.Index("no.such.column") >= 0 {
		t.Error("there is a column that isn't there")
	}
}

// Lookup finds the value of every field: in its column, in that of its twin, or in a constant.
func TestLookup(t *testing.T) {
	all := storetest.Exchanges(6, 200)
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		col, constant := record.Lookup(f)
		for _, x := range all {
			var v exchange.Value
			f.Get(x, &v)
			if col < 0 {
				if v.Text != constant.Text || !slices.Equal(v.List, constant.List) || v.Kind == exchange.Absent {
					t.Errorf("%s is %+v, its constant %+v", f.Name, v, constant)
				}
				continue
			}
			if err := sameField(f, x, x); err != nil || record.Columns[col].Kind != f.Kind {
				t.Errorf("%s is in a column of another kind", f.Name)
			}
			var w exchange.Value
			record.Columns[col].Field.Get(x, &w)
			if v.Kind != w.Kind || v.Int != w.Int || v.Addr != w.Addr {
				t.Errorf("%s is %+v, its column has %+v", f.Name, v, w)
			}
		}
	}
}

// Every exchange has the required columns.
func TestRequiredColumns(t *testing.T) {
	var b record.Batch
	for _, x := range storetest.Exchanges(7, 300) {
		b.Add(x)
	}
	_ = decoder(t).Each(b.Bytes(), func(r *record.Row) error {
		for i := range record.Columns {
			if record.Columns[i].Required && r.Cell(i) == nil {
				t.Errorf("%s is absent", record.Columns[i].Name)
			}
		}
		return nil
	})
}

// ordinary is an exchange with 25 headers, as a browser and a proxy send them.
func ordinary() *exchange.Exchange {
	x := outputtest.Exchange(`GET /api/users/17?page=2 HTTP/1.1
Host: shop.example:8080
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0
Accept: application/json, text/plain, */*
Accept-Language: de,en-US;q=0.7,en;q=0.3
Accept-Encoding: gzip, deflate, br, zstd
Referer: https://shop.example/cart
Cookie: session=[redacted 32 #4f2a]; theme=dark
Connection: keep-alive
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: cors
Sec-Fetch-Site: same-origin
X-Request-ID: 6f1b4c3e-6a5e-4f62-8a42-6cf0e1a8a6f9
X-Forwarded-For: 203.0.113.9
X-Forwarded-Proto: https
traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01

`, `HTTP/1.1 200 OK
Date: Mon, 06 May 2024 10:42:07 GMT
Content-Type: application/json; charset=utf-8
Content-Length: 10
Server: nginx
Cache-Control: private, max-age=0
ETag: W/"12-6af"
Vary: Accept-Encoding
Set-Cookie: session=[redacted 32 #4f2a]; Path=/; HttpOnly
X-Frame-Options: SAMEORIGIN
X-Content-Type-Options: nosniff

0123456789`)
	x.ResponseBody.Bytes = nil
	x.Enriched.Route = "/api/users/{id}"
	x.Enriched.UserAgent = &exchange.UserAgent{Name: "Firefox", Version: "140.0", OS: "Linux", Kind: "desktop"}
	return x
}

func TestAddAllocatesNothing(t *testing.T) {
	x := ordinary()
	var b record.Batch
	b.Add(x)
	if n := testing.AllocsPerRun(100, func() { b.Reset(); b.Add(x) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	x := ordinary()
	var batch record.Batch
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		batch.Add(x)
	}
	b.ReportMetric(float64(len(batch.Bytes())), "bytes/row")
}

func BenchmarkEach(b *testing.B) {
	var batch record.Batch
	batch.Add(ordinary())
	d := decoder(b)
	b.ReportAllocs()
	for b.Loop() {
		_ = d.Each(batch.Bytes(), func(*record.Row) error { return nil })
	}
}

func BenchmarkMaker(b *testing.B) {
	var batch record.Batch
	batch.Add(ordinary())
	var k record.Maker
	b.ReportAllocs()
	_ = decoder(b).Each(batch.Bytes(), func(r *record.Row) error {
		for b.Loop() {
			k.Exchange(r)
		}
		return nil
	})
}
