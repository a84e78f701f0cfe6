package mysql

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

func TestProbe(t *testing.T) {
	greeting, response := greeting10(capsNew), response41(1, capsNew, "ann", "shop")
	for _, c := range []struct {
		name, in string
		match    proto.Match
		role     proto.Role
	}{
		{"nothing", "", proto.NeedMore, proto.AnyRole},
		{"three bytes", greeting[:3], proto.NeedMore, proto.AnyRole},
		{"a greeting", greeting, proto.Yes, proto.Server},
		{"within its version", greeting[:7], proto.NeedMore, proto.Server},
		{"the beginning of one", greeting[:20], proto.Yes, proto.Server},
		{"MariaDB's", packet(0, "\x0a5.5.5-10.11.6-MariaDB-1\x00"+le32(5)+strings.Repeat("x", 50)), proto.Yes, proto.Server},
		{"a version that isn't one", packet(0, "\x0aversion\x00"+strings.Repeat("x", 50)), proto.No, proto.AnyRole},
		{"more than a greeting", greeting + "more", proto.No, proto.AnyRole},
		{"another protocol number", "\x4a\x00\x00\x00\x0b8.0.36\x00", proto.No, proto.AnyRole},
		{"a refusal", packet(0, "\xff"+le16(1040)+"Too many connections"), proto.Yes, proto.Server},
		{"the beginning of one", packet(0, "\xff"+le16(1040)+"Too many connections")[:15], proto.NeedMore, proto.Server},
		{"an error that isn't one", packet(0, "\xff"+le16(40)+"Too many connections"), proto.No, proto.AnyRole},
		{"a response", response, proto.Yes, proto.Client},
		{"the beginning of one", response[:30], proto.NeedMore, proto.Client},
		{"within TLS", response41(2, capsNew|capSSL, "ann", "shop"), proto.Yes, proto.Client},
		{"MariaDB's client", response41(1, capsNew&^capLongPassword|capMariaCacheMetadata, "ann", ""), proto.Yes, proto.Client},
		{"a wish for TLS", packet(1, response41(1, capsNew|capSSL, "", "")[4:36]), proto.Yes, proto.Client},
		{"a filler that isn't empty", response[:20] + "x" + response[21:], proto.No, proto.AnyRole},
		{"not a response", packet(1, strings.Repeat("x", 60)), proto.No, proto.AnyRole},
		{"a query", query("SELECT 1"), proto.No, proto.AnyRole},
		{"HTTP", "GET / HTTP/1.1\r\n", proto.No, proto.AnyRole},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", proto.No, proto.AnyRole},
		{"PostgreSQL", "\x00\x00\x00\x54\x00\x03\x00\x00user\x00", proto.No, proto.AnyRole},
		{"MongoDB", "\x3a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xd4\x07\x00\x00", proto.No, proto.AnyRole},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", proto.No, proto.AnyRole},
		{"HTTP/2's server", "\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80", proto.No, proto.AnyRole},
	} {
		match, role := Probe([]byte(c.in))
		if match != c.match || role != c.role {
			t.Errorf("%s: Probe(%q) = %v, %v; want %v, %v", c.name, c.in, match, role, c.match, c.role)
		}
	}
}

func TestResume(t *testing.T) {
	long := query("INSERT INTO t VALUES ('" + strings.Repeat("x", 5000) + "')")
	for _, c := range []struct {
		name, in string
		match    proto.Match
	}{
		{"nothing", "", proto.No},
		{"a query", query("select * from t"), proto.Yes},
		{"one that goes on", long[:1448], proto.Yes},
		{"its beginning", long[:20], proto.No},
		{"two", query("BEGIN") + query("/* a */ UPDATE t SET n = 1"), proto.Yes},
		{"one and something else", query("BEGIN") + "HTTP/1.1", proto.No},
		{"with attributes", packet(0, "\x03\x00\x01SELECT 1"), proto.Yes},
		{"a statement to prepare", packet(0, "\x16SELECT ?"), proto.Yes},
		{"another number", packet(1, "\x03SELECT 1"), proto.No},
		{"words", query("hello world"), proto.No},
		{"a ping", packet(0, "\x0e"), proto.No},
		{"an answer", set(1, true, autocommit), proto.No},
		{"HTTP", "GET / HTTP/1.1\r\n", proto.No},
		{"a compressed session", squeezed(0, "", query("SELECT 1")), proto.Yes},
		{"an outer packet of something else", squeezed(0, "", packet(0, "\x0e")), proto.No},
		{"a login", response41(1, capsNew, "ann", "shop"), proto.Yes},
		{"an execution", execute(7, ""), proto.Yes},
		{"one with parameters", execute(7, "\x00\x01"+"\x03\x00"+le32(7)), proto.Yes},
		{"two", execute(7, "") + execute(8, ""), proto.Yes},
		{"the last one", execute(lastPrepared, ""), proto.Yes},
		{"with a cursor, and how many parameters", packet(0, "\x17"+le32(7)+"\x09"+le32(1)), proto.Yes},
		{"compressed", squeezed(0, "", execute(7, "")), proto.Yes},
		{"one that goes on", execute(7, strings.Repeat("x", 5000))[:1448], proto.Yes},
		{"its beginning", execute(7, strings.Repeat("x", 5000))[:20], proto.No},
		{"an execution of nothing", execute(0, ""), proto.No},
		{"of too high a number", execute(1<<24, ""), proto.No},
		{"with other flags", packet(0, "\x17"+le32(7)+"\x10"+le32(1)), proto.No},
		{"with all flags", packet(0, "\x17"+le32(7)+"\x0f"+le32(1)), proto.No},
		{"more than once", packet(0, "\x17"+le32(7)+"\x00"+le32(2)), proto.No},
		{"too short", packet(0, "\x17"+le32(7)), proto.No},
		{"and something else", execute(7, "") + "more", proto.No},
		{"another number of an execution", packet(1, "\x17"+le32(7)+"\x00"+le32(1)), proto.No},
		{"a command of 4 bytes", packet(0, "\x19"+le32(7)), proto.No},
	} {
		if match, role := Resume([]byte(c.in)); match != c.match || match == proto.Yes && role != proto.Client {
			t.Errorf("%s: Resume(%q) = %v, %v; want %v", c.name, c.in, match, role, c.match)
		}
	}
}

// With a hint any command is enough, but nothing else.
func TestResumeHinted(t *testing.T) {
	for _, c := range []struct {
		name, in string
		match    proto.Match
	}{
		{"nothing", "", proto.No},
		{"a query", query("select * from t"), proto.Yes},
		{"a ping", packet(0, "\x0e"), proto.Yes},
		{"an execution", execute(7, ""), proto.Yes},
		{"one of a high number", execute(1<<24, ""), proto.Yes},
		{"a closed statement", packet(0, "\x19"+le32(7)), proto.Yes},
		{"a compressed one", squeezed(0, "", packet(0, "\x0e")), proto.Yes},
		{"words", query("hello world"), proto.No},
		{"an answer", set(1, true, autocommit), proto.No},
		{"HTTP", "GET / HTTP/1.1\r\n", proto.No},
	} {
		if match, role := ResumeHinted([]byte(c.in)); match != c.match || match == proto.Yes && role != proto.Client {
			t.Errorf("%s: ResumeHinted(%q) = %v, %v; want %v", c.name, c.in, match, role, c.match)
		}
	}
}
