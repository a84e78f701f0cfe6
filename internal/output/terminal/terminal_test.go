package terminal

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
)

func TestColorsOnlyWhenAllowed(t *testing.T) {
	for s := Plain; s < numStyles; s++ {
		if got := (Terminal{Width: 80}).End((Terminal{Width: 80}).Begin(nil, s), s); len(got) != 0 {
			t.Errorf("style %d without colour writes %q", s, got)
		}
		on := Terminal{Color: true}
		got := on.End(on.Begin(nil, s), s)
		if s == Plain && len(got) != 0 || s != Plain && !bytes.HasSuffix(got, []byte(reset)) {
			t.Errorf("style %d writes %q", s, got)
		}
	}
}

func TestStyles(t *testing.T) {
	for status, want := range map[int]Style{0: Plain, 200: Plain, 304: Plain, 404: Amber, 502: Red, 999: Plain, -700: Plain} {
		if got := StatusStyle(status); got != want {
			t.Errorf("StatusStyle(%d) = %d, want %d", status, got, want)
		}
	}
	if GradeStyle(exchange.Aborted) != Violet || GradeStyle(exchange.Complete) != Plain {
		t.Error("aborted must be violet, complete plain")
	}
}

func TestAppendDuration(t *testing.T) {
	for _, c := range []struct {
		ns   int64
		want string
	}{
		{-1, "?"}, {0, "0 ns"}, {850, "850 ns"}, {1000, "1.00 µs"}, {312_000, "312 µs"}, {999_499, "999 µs"}, {999_500, "1.00 ms"},
		{9_994_000, "9.99 ms"}, {9_996_000, "10.0 ms"}, {18_000_000, "18.0 ms"}, {99_960_000, "100 ms"}, {191_000_000, "191 ms"},
		{1_240_000_000, "1.24 s"}, {59_940_000_000, "59.9 s"}, {59_960_000_000, "1 m 00 s"}, {125_000_000_000, "2 m 05 s"},
		{3_599_400_000_000, "59 m 59 s"}, {3_599_600_000_000, "1 h 00 m"}, {12_000_000_000_000, "3 h 20 m"},
		{3_659_499_999_999, "1 h 00 m"}, {3_659_500_000_000, "1 h 01 m"}, {math.MaxInt64, "2562047 h 47 m"},
	} {
		if got := string(AppendDuration(nil, c.ns)); got != c.want {
			t.Errorf("AppendDuration(%d) = %q, want %q", c.ns, got, c.want)
		}
	}
}

func TestAppendBytes(t *testing.T) {
	for _, c := range []struct {
		n    int64
		want string
	}{
		{-1, "?"}, {0, "0 B"}, {312, "312 B"}, {1023, "1023 B"}, {1024, "1.00 KiB"}, {33_894, "33.1 KiB"}, {1_024_000, "1000 KiB"},
		{1<<20 - 1, "1.00 MiB"}, {12_478_054, "11.9 MiB"}, {1 << 62, "4.00 EiB"},
	} {
		if got := string(AppendBytes(nil, c.n)); got != c.want {
			t.Errorf("AppendBytes(%d) = %q, want %q", c.n, got, c.want)
		}
	}
}

func TestAppendCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 12: "12", 999: "999", 1000: "1,000", 109000: "109,000", -1234567: "-1,234,567"} {
		if got := string(AppendCount(nil, n)); got != want {
			t.Errorf("AppendCount(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{"": 0, "abc": 3, "…": 1, "日本": 4, "e\u0301": 1, "👍🏽": 2} {
		if got := Width([]byte(s)); got != want {
			t.Errorf("Width(%q) = %d, want %d", s, got, want)
		}
	}
}

func TestAppendMiddle(t *testing.T) {
	for _, c := range []struct {
		in    string
		width int
		want  string
	}{
		{"short", 10, "short"},
		{"exact", 5, "exact"},
		{"abcdefghijklmnop", 9, "abcdef…op"},
		{"abc", 1, "…"},
		{"abc", 0, ""},
		{"日本語日本語", 7, "日本…"},
	} {
		got := string(AppendMiddle(nil, []byte(c.in), c.width))
		if got != c.want {
			t.Errorf("AppendMiddle(%q, %d) = %q, want %q", c.in, c.width, got, c.want)
		}
	}
	long := []byte(strings.Repeat("日本e\u0301x", 50))
	for width := range 200 {
		if got := Width(AppendMiddle(nil, long, width)); got > width {
			t.Errorf("cut to %d columns takes %d", width, got)
		}
	}
}
