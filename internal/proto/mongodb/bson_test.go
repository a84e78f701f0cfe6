package mongodb

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

// The JSON of each type, as the specification of extended JSON has it in relaxed form.
func TestJSON(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{1.5, `1.5`}, {2.0, `2.0`}, {1e300, `1e+300`}, {math.NaN(), `{"$numberDouble":"NaN"}`}, {math.Inf(-1), `{"$numberDouble":"-Infinity"}`},
		{"a\"b\\c\n\x01é\xff", `"a\"b\\c\n\u0001é` + "\uFFFD" + `"`}, {d{"b", d{}}, `{"b":{}}`}, {a{1, a{}, nil}, `[1,[],null]`},
		{[]byte("abc"), `{"$binary":{"base64":"YWJj","subType":"00"}}`},
		{raw{typeBinary, le32(16) + "\x04" + "0123456789abcdef"}, `{"$uuid":"30313233-3435-3637-3839-616263646566"}`},
		{raw{typeUndefined, ""}, `{"$undefined":true}`}, {raw{typeObjectID, "0123456789ab"}, `{"$oid":"303132333435363738396162"}`},
		{true, `true`}, {raw{typeDate, le64(1356351330501)}, `{"$date":"2012-12-24T12:15:30.501Z"}`},
		{raw{typeDate, le64(0)}, `{"$date":"1970-01-01T00:00:00Z"}`}, {raw{typeDate, le64(-1)}, `{"$date":{"$numberLong":"-1"}}`},
		{nil, `null`}, {raw{typeRegex, "a.b\x00im\x00"}, `{"$regularExpression":{"pattern":"a.b","options":"im"}}`},
		{raw{typeDBPointer, le32(2) + "c\x000123456789ab"}, `{"$dbPointer":{}}`}, {raw{typeCode, le32(2) + "f\x00"}, `{"$code":"f"}`},
		{raw{typeSymbol, le32(2) + "s\x00"}, `"s"`}, {raw{typeScopedCode, le32(4+4+2+5) + le32(2) + "f\x00" + bson(d{})}, `{"$code":"?"}`},
		{int(-5), `-5`}, {raw{typeTimestamp, le32(7) + le32(9)}, `{"$timestamp":{"t":9,"i":7}}`}, {int64(1) << 60, `1152921504606846976`},
		{raw{typeMinKey, ""}, `{"$minKey":1}`}, {raw{typeMaxKey, ""}, `{"$maxKey":1}`},
		// From the specification's decimal128 corpus.
		{decimal(0, 0x3040), `{"$numberDecimal":"0"}`}, {decimal(1, 0x3040), `{"$numberDecimal":"1"}`}, {decimal(1, 0xb03e), `{"$numberDecimal":"-0.1"}`},
		{decimal(1234, 0x3040-8), `{"$numberDecimal":"0.1234"}`}, {decimal(12345, 0x3040-6), `{"$numberDecimal":"12.345"}`},
		{decimal(1, 0x3040+12), `{"$numberDecimal":"1E+6"}`}, {decimal(12, 0x3040-20), `{"$numberDecimal":"1.2E-9"}`},
		{decimal(0, 0x7800), `{"$numberDecimal":"Infinity"}`}, {decimal(0, 0xf800), `{"$numberDecimal":"-Infinity"}`}, {decimal(0, 0x7c00), `{"$numberDecimal":"NaN"}`},
	} {
		document := []byte(bson(d{"v", c.value}))
		w := writer{limit: 1 << 20}
		w.document(document, false, nil, 0)
		if want := `{"v":` + c.want + `}`; string(w.out) != want || w.cut {
			t.Errorf("got %s, want %s", w.out, want)
		}
		if !json.Valid(w.out) {
			t.Errorf("not JSON: %s", w.out)
		}
		// Each beginning is shown without more than there is, and each limit is kept to but for the last value.
		for n := range len(document) {
			w := writer{limit: 1 << 20}
			w.document(document[:n], false, nil, 0)
			if !w.cut {
				t.Errorf("the first %d bytes of %s give all: %s", n, c.want, w.out)
			}
			w = writer{limit: n}
			w.document(document, false, nil, 0)
			if len(w.out) > n+len(c.want)+10 {
				t.Errorf("limited to %d, %s", n, w.out)
			}
		}
	}
}

// decimal makes a decimal128 of a coefficient and the highest 16 bits.
func decimal(low int64, high int) raw {
	return raw{typeDecimal, le64(low) + le64(int64(uint64(high)<<48))}
}

// Documents that are nested deeper than MongoDB takes them, and documents that aren't any, do no harm.
func TestHostileDocuments(t *testing.T) {
	deep := d{}
	for range 300 {
		deep = d{"a", deep}
	}
	w := writer{limit: 1 << 20}
	w.document([]byte(bson(deep)), false, nil, 0)
	if !w.cut || strings.Count(string(w.out), "{") > maxDepth+2 {
		t.Errorf("%d levels", strings.Count(string(w.out), "{"))
	}
	for _, b := range []string{"", "\x00", "\xff\xff\xff\xff", "\x05\x00\x00\x00\x02a\x00\xff\xff\xff\x7f", "\x20\x00\x00\x00\x04a\x00\x01\x00\x00\x00", "\x20\x00\x00\x00\x0ba\x00abc"} {
		w := writer{limit: 1 << 10}
		w.document([]byte(b), false, nil, 0)
		if len(w.out) > 20 {
			t.Errorf("%q gives %s", b, w.out)
		}
	}
}

// FuzzJSON: whatever a document holds, what is written of it is JSON unless it is cut, and stays near the limit.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(bson(d{"a", 1, "b", a{"x", 2.5, nil, d{"c", int64(5)}}, "d", []byte("e")})), 1000)
	f.Add([]byte(bson(d{"r", raw{typeRegex, "a\x00b\x00"}, "n", decimal(5, 0x3030)})), 10)
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		limit &= 0xffff
		w := writer{limit: limit}
		w.document(b, false, nil, 0)
		if !w.cut && !json.Valid(w.out) {
			t.Errorf("not JSON: %q", w.out)
		}
		if len(w.out) > 6*limit+6*maxName+200 {
			t.Errorf("%d bytes for a limit of %d", len(w.out), limit)
		}
	})
}

// silent is a sink that wants nothing.
type silent struct{ proto.Sink }

func (silent) Head(*proto.Message) proto.Answers { return proto.AnswersUnknown }
func (silent) End(*proto.Message)                {}
func (silent) WantsBody(*proto.Message) int      { return 0 }
