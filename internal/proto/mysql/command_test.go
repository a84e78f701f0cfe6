package mysql

import "testing"

func TestFirstWord(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "   ": "", "select 1": "select", " \n\t(( SELECT 1) UNION (SELECT 2))": "SELECT", "/* a */ UPDATE t": "UPDATE", "/* no end": "",
		"-- a line\nDELETE FROM t": "DELETE", "-- no more": "", "# another\n# and\nCALL p()": "CALL", "/*!40101 SET NAMES utf8 */": "SET",
		"/*M!100100 CREATE TABLE t*/": "CREATE", ";;BEGIN": "BEGIN", "{fn NOW()}": "", "'text'": "", "COMMIT;": "COMMIT",
		"abcdefghijklmnopqrstuvwxyz_abcdefghij": "abcdefghijklmnopqrstuvwxyz_abcde",
	} {
		i, n := firstWord([]byte(in))
		if got := in[i : i+n]; got != want {
			t.Errorf("firstWord(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestChosen(t *testing.T) {
	for in, want := range map[string]string{
		"use shop": "shop", "USE `a b`": "a b", "USE `a``b` ;": "a`b", "/* x */ Use\tshop\n": "shop", "USE ": "", "USES shop": "", "SELECT 1": "",
	} {
		if got := string(chosen([]byte(in))); got != want {
			t.Errorf("chosen(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	for in, want := range map[string]int{
		"": 0, "SELECT ?": 1, "? ? ?": 3, "'?' \"?\" `?` ?": 1, `'it\'s ?' ?`: 1, "-- ?\n?": 1, "# ?": 0, "/* ? */ ?": 1, "/* ?": 0, "'": 0, "`\\`?": 1,
	} {
		if got := placeholders([]byte(in)); got != want {
			t.Errorf("placeholders(%q) = %d, want %d", in, got, want)
		}
	}
}
