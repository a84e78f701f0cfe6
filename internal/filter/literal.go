package filter

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
)

// sizes are the units of sizes, in lower case; they may be written in any case.
var sizes = map[string]int64{
	"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// disguise makes identifiers of the literals with units, which expr's grammar doesn't know: 200ms
// becomes $00ms. Each rune stays one rune, so that expr's positions are positions of the original
// text too, where the checker reads the literal again.
func disguise(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		n := tokenLen(text[i:])
		token := text[i : i+n]
		if startsLiteral(token) && isUnitLiteral(token) {
			b.WriteByte('$')
			token = strings.ReplaceAll(token[1:], ".", "_")
		}
		b.WriteString(token)
		i += n
	}
	return b.String()
}

// startsLiteral reports whether a token begins as a number does.
func startsLiteral(token string) bool {
	return isDigit(token[0]) || len(token) > 1 && token[0] == '.' && isDigit(token[1])
}

// tokenLen returns the length of what text begins with: a comment, a string, a number with the
// letters that follow it, an identifier, or any other single rune.
func tokenLen(text string) int {
	switch {
	case strings.HasPrefix(text, "//"):
		return through(text, 2, "\n")
	case strings.HasPrefix(text, "/*"):
		return through(text, 2, "*/")
	case strings.HasPrefix(text, ".."):
		return 2
	case text[0] == '`':
		return through(text, 1, "`")
	case text[0] == '"' || text[0] == '\'':
		for i := 1; i < len(text); i++ {
			switch text[i] {
			case '\\':
				i++
			case text[0]:
				return i + 1
			}
		}
		return len(text)
	}
	number := startsLiteral(text)
	for i, r := range text {
		switch {
		case r == '_' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r):
		case r == '.' && number && !strings.HasPrefix(text[i:], ".."):
		case i == 0:
			return utf8.RuneLen(r)
		default:
			return i
		}
	}
	return len(text)
}

// through returns the length up to the end of the first mark behind from, or else of all.
func through(text string, from int, mark string) int {
	if i := strings.Index(text[from:], mark); i >= 0 {
		return from + i + len(mark)
	}
	return len(text)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isUnitLiteral(token string) bool {
	_, ok := unitLiteral(token)
	return ok
}

// unitLiteral reads a duration, such as 200ms, 1.5s or 1m30s, or a size, such as 10KB or 1.5MiB.
func unitLiteral(token string) (literal, bool) {
	digits := strings.TrimRight(token, "BKMGTbkmgti")
	if digits == "" {
		return literal{}, false
	}
	if unit := sizes[strings.ToLower(token[len(digits):])]; unit > 0 {
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n <= math.MaxInt64/unit {
			return literal{Constant: Constant{Kind: exchange.Int, Int: n * unit}, size: true}, true
		}
		// A fraction: only digits and a point, not the exponents and infinities that ParseFloat knows.
		f, err := strconv.ParseFloat(digits, 64)
		if err != nil || strings.Trim(digits, "0123456789.") != "" || f*float64(unit) >= math.MaxInt64 {
			return literal{}, false
		}
		return literal{Constant: number(f * float64(unit)), size: true}, true
	}
	if isDigit(token[len(token)-1]) {
		return literal{}, false // time.ParseDuration takes a bare 0
	}
	d, err := time.ParseDuration(token)
	return literal{Constant: Constant{Kind: exchange.Duration, Int: int64(d)}}, err == nil
}

// number makes an Int of a whole number, and a Float of others.
func number(f float64) Constant {
	const exact = 1 << 53
	if f == math.Trunc(f) && math.Abs(f) <= exact {
		return Constant{Kind: exchange.Int, Int: int64(f)}
	}
	return Constant{Kind: exchange.Float, Float: f}
}
