package web

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
)

// text is a captured text. Its JSON is what documents have for it: bytes that aren't UTF-8 are \xNN, and what steers
// a terminal, or would end a script in a page, is escaped.
type text string

// MarshalJSON implements json.Marshaler. The encoder escapes <, >, &, U+2028 and U+2029.
func (t text) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(escape(string(t)))
	if err != nil {
		return nil, err
	}
	return escapeControls(b), nil
}

// escape writes bytes that aren't UTF-8 as \xNN, and a backslash that would read so as \x5c, as documents do.
func escape(s string) string {
	if utf8.ValidString(s) && !strings.Contains(s, `\x`) {
		return s
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x`)
			b.WriteByte(hex[s[i]>>4])
			b.WriteByte(hex[s[i]&15])
		case r == '\\' && len(s) >= i+4 && s[i+1] == 'x' && isHex(s[i+2]) && isHex(s[i+3]):
			b.WriteString(`\x5c`)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

// escapeControls escapes the control characters and those that turn the direction of text in JSON that is otherwise
// well-formed.
func escapeControls(b []byte) []byte {
	steers := func(r rune) bool {
		return r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}
	if !strings.ContainsFunc(string(b), steers) {
		return b
	}
	var out []byte
	for _, r := range string(b) {
		if steers(r) {
			out = append(out, `\u`...)
			out = append(out, strconv.FormatInt(int64(r)+0x10000, 16)[1:]...)
			continue
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// number is the value of a metric. What isn't a number, since there was nothing to compute it of, is null.
type number float64

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// stamp is a time in nanoseconds since 1970, shown as documents do.
type stamp int64

// MarshalJSON implements json.Marshaler.
func (s stamp) MarshalJSON() ([]byte, error) {
	return []byte(`"` + time.Unix(0, int64(s)).UTC().Format("2006-01-02T15:04:05.000000000Z") + `"`), nil
}

// key is the value of a group: null when the exchanges have none.
type key store.Key

// MarshalJSON implements json.Marshaler.
func (k key) MarshalJSON() ([]byte, error) {
	switch k.Kind {
	case exchange.Absent:
		return []byte("null"), nil
	case exchange.Int, exchange.Duration:
		return strconv.AppendInt(nil, k.Int, 10), nil
	case exchange.Bool:
		return strconv.AppendBool(nil, k.Int != 0), nil
	case exchange.Time:
		return stamp(k.Int).MarshalJSON()
	}
	return text(k.Text).MarshalJSON()
}

// String is the key as it is written in a filter, but for quotes.
func (k key) String() string {
	switch k.Kind {
	case exchange.Int, exchange.Duration:
		return strconv.FormatInt(k.Int, 10)
	case exchange.Bool:
		return strconv.FormatBool(k.Int != 0)
	}
	return k.Text
}

// cost is what a question took; elapsed is in nanoseconds.
type cost struct {
	Rows    int64 `json:"rows"`
	Skipped int64 `json:"skipped"`
	Stored  int64 `json:"stored"`
	Bytes   int64 `json:"bytes"`
	Elapsed int64 `json:"elapsed"`
}

func costOf(c store.Cost) cost {
	return cost{c.Rows, c.Skipped, c.Stored, c.Bytes, c.Elapsed.Nanoseconds()}
}
