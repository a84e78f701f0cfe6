package dns

import (
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	label := "\x3f" + strings.Repeat("x", 63)
	full := label + label + label + "\x3d" + strings.Repeat("x", 61) + "\x00" // 255 bytes
	chain := "\x01a\x00"
	for i := range maxJumps + 1 { // each points to the one before
		at := 0
		if i > 0 {
			at = 3 + 2*(i-1)
		}
		chain += "\xc0" + string(rune(at))
	}
	for _, c := range []struct {
		name, b  string
		at, next int
		text     string
		ok       bool
	}{
		{"two labels", "\x03www\x07example\x00", 0, 13, "www.example", true},
		{"the root", "\x00", 0, 1, ".", true},
		{"what has a meaning in master files", "\x07a.b\\c\"d\x08;(e)@$ \x00\x02\x7f\xff\x00", 0, 21, `a\.b\\c\"d.\;\(e\)\@\$\032\000.\127\255`, true},
		{"a pointer", "\x01a\x00\x01b\xc0\x00", 3, 7, "b.a", true},
		{"a pointer forward", "\xc0\x02\x01a\x00", 0, 2, "a", true},
		{"a pointer to itself", "\xc0\x00", 0, 2, "", false},
		{"a name that goes round", "\x01a\xc0\x00", 0, 4, strings.Repeat("a.", maxJumps) + "a", false},
		{"as many pointers as are followed", chain, 3 + 2*(maxJumps-1), 3 + 2*maxJumps, "a", true},
		{"one more", chain, 3 + 2*maxJumps, 3 + 2*(maxJumps+1), "", false},
		{"half a pointer", "\x01a\xc0", 0, 0, "a", false},
		{"nothing", "", 0, 0, "", false},
		{"a label that goes beyond the end", "\x01a\x05b", 0, 0, "a", false},
		{"a label of another kind", "\x01a\x40", 0, 0, "a", false},
		{"the longest name", full, 0, 255, strings.Repeat(strings.Repeat("x", 63)+".", 3) + strings.Repeat("x", 61), true},
	} {
		text, next, ok := appendName([]byte("before"), []byte(c.b), c.at)
		if string(text) != "before"+c.text || next != c.next || ok != c.ok {
			t.Errorf("%s: %q, %d, %v; want %q, %d, %v", c.name, text, next, ok, "before"+c.text, c.next, c.ok)
		}
		if end, ok := skipName([]byte(c.b), c.at); c.ok && (!ok || end != c.next) {
			t.Errorf("%s: ends at %d, %v; want %d", c.name, end, ok, c.next)
		}
	}
	tooLong := label + label + label + "\x3e" + strings.Repeat("x", 62) + "\x00"
	if _, _, ok := appendName(nil, []byte(tooLong), 0); ok {
		t.Error("a name of 256 bytes is one")
	}
	if _, ok := skipName([]byte(strings.Repeat("\x01a", 200)+"\x00"), 0); ok {
		t.Error("a name of 401 bytes ends")
	}
}

// TestData: data that isn't as its type demands is shown as bytes; a name server's own tests of what is as it should be are in
// internal/peers.
func TestData(t *testing.T) {
	for _, c := range []struct {
		typ, data, want string
		malformed       bool
	}{
		{"A", "\xc0\x00\x02\x01", "192.0.2.1", false},
		{"A", "\xc0\x00\x02\x01\x05", `\# 5 C000020105`, true},
		{"A", "", `\# 0`, false},
		{"AAAA", strings.Repeat("\x00", 15) + "\x01", "::1", false},
		{"MX", "\x00\x0a" + name("mail.example"), "10 mail.example", false},
		{"MX", "\x00\x0a" + name("mail.example") + "x", `\# 17 000A046D61696C076578616D706C650078`, true},
		{"MX", "\x00", `\# 1 00`, true},
		{"TXT", "\x03a\"b\x00\x02\\\xff", `"a\"b" "" "\\\255"`, false},
		{"TXT", "\x05abc", `\# 4 05616263`, true},
		{"NSEC", name("b") + "\x00\x01\x40\x04\x01\x40", "b A TYPE1025", false},
		{"NSEC", name("b") + "\x00\x21\x40", `\# 6 016200002140`, true},
		{"HTTPS", "\x00\x01\x00\x00\x01\x00\x03\x02h2\x00\x04\x00\x04\xc0\x00\x02\x01", `1 . alpn="h2" ipv4hint=192.0.2.1`, false},
		{"HTTPS", "\x00\x01\x00\x00\x04\x00\x03\xc0\x00\x02", `\# 10 000100000400` + "03C00002", true},
		{"NSEC3", "\x01\x00\x00\x05\x00\x02\xab\xcd\x00\x01\x40", "1 0 5 - LF6G A", false},
		{"NULL", "\x01\x02", `\# 2 0102`, false},
	} {
		texts := texts{b: []byte(c.data)}
		texts.data(&record{typ: uint16(typeOf(c.typ)), end: len(c.data)})
		if string(texts.dst) != c.want || texts.malformed != c.malformed {
			t.Errorf("%s %q: %s, %v; want %s, %v", c.typ, c.data, texts.dst, texts.malformed, c.want, c.malformed)
		}
	}
}
