package postgres

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

func u64(n int64) string { return string(binary.BigEndian.AppendUint64(nil, uint64(n))) }

func numeric(weight, sign, scale int, digits ...int) string {
	s := u16(len(digits)) + u16(weight) + u16(sign) + u16(scale)
	for _, d := range digits {
		s += u16(d)
	}
	return s
}

// TestBinary compares values in binary with what psql shows of them.
func TestBinary(t *testing.T) {
	for _, c := range []struct {
		oid  uint32
		in   string
		want string
	}{
		{oidBool, "\x01", "t"},
		{oidBool, "\x00", "f"},
		{oidBool, "", `\x`},
		{oidInt2, u16(0xfffe), "-2"},
		{oidInt4, u32(-2147483648), "-2147483648"},
		{oidInt8, u64(math.MaxInt64), "9223372036854775807"},
		{oidInt8, u32(1), `\x00000001`},
		{oidOid, u32(-1), "4294967295"},
		{oidFloat4, u32(int(math.Float32bits(1.5))), "1.5"},
		{oidFloat8, u64(int64(math.Float64bits(0.1))), "0.1"},
		{oidFloat8, u64(int64(math.Float64bits(math.Inf(-1)))), "-Inf"},
		{oidText, "a\tb", "a\tb"},
		{oidVarchar, "", ""},
		{oidJSONB, "\x01{}", "{}"},
		{oidJSONB, "\x02{}", `\x027b7d`},
		{oidBytea, "\x00\xff", `\x00ff`},
		{0, "ab", `\x6162`},
		{oidUUID, "\x12\x34\x56\x78\x9a\xbc\xde\xf0\x12\x34\x56\x78\x9a\xbc\xde\xf0", "12345678-9abc-def0-1234-56789abcdef0"},
		{oidDate, u32(0), "2000-01-01"},
		{oidDate, u32(-1), "1999-12-31"},
		{oidDate, u32(9822), "2026-11-22"},
		{oidDate, u32(math.MaxInt32), "infinity"},
		{oidTime, u64(3_723_000_001), "01:02:03.000001"},
		{oidTimestamp, u64(0), "2000-01-01 00:00:00"},
		{oidTimestamp, u64(-1), "1999-12-31 23:59:59.999999"},
		{oidTimestamp, u64(math.MinInt64), "-infinity"},
		{oidTimestamptz, u64(848_656_800_500_000), "2026-11-22 10:00:00.5+00"},
		{oidNumeric, numeric(0, 0, 0), "0"},
		{oidNumeric, numeric(0, 0, 2, 12, 3400), "12.34"},
		{oidNumeric, numeric(1, numericNegative, 0, 1, 2345), "-12345"},
		{oidNumeric, numeric(2, 0, 1, 1), "100000000.0"},
		{oidNumeric, numeric(-1, 0, 4, 5), "0.0005"},
		{oidNumeric, numeric(-2, 0, 8, 5), "0.00000005"},
		{oidNumeric, numeric(0, numericNaN, 0), "NaN"},
		{oidNumeric, numeric(0, numericInf, 0), "Infinity"},
		{oidNumeric, numeric(0, numericNegInf, 0), "-Infinity"},
		{oidNumeric, u16(9), `\x0009`},
		{oidNumeric, numeric(32767, 0, 16000, 1)[:8], `\x00017fff00003e80`},
	} {
		if got := appendBinary(nil, c.oid, []byte(c.in), 100); string(got) != c.want {
			t.Errorf("type %d, %q: %q, want %q", c.oid, c.in, got, c.want)
		}
	}
	for _, oid := range []uint32{0, oidText, oidNumeric, oidJSONB} {
		in := []byte(numeric(32767, 0, 16000, 1) + strings.Repeat("x", 1000))
		if oid == oidNumeric {
			in = []byte(numeric(32767, 0, 16000, 1))
		}
		if n := len(appendBinary(nil, oid, in, 50)); n > 50 {
			t.Errorf("type %d: %d bytes, 50 are wanted", oid, n)
		}
	}
}

func TestVerb(t *testing.T) {
	for text, want := range map[string]string{
		"select 1": "SELECT", "  (SELECT 1)": "SELECT", "-- x\nupdate t": "UPDATE", "/* a */ /* b */delete": "DELETE", ";commit": "COMMIT",
		"": "QUERY", "-- ping": "QUERY", "/* x": "QUERY", "1": "QUERY", "create_x": "CREATE_X", strings.Repeat("a", 99): strings.Repeat("A", maxVerb),
	} {
		if got := string(appendVerb(nil, []byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
