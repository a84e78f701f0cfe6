package postgres

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

// What follows builds messages.

func u16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }

func u32(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }

func packet(typ string, parts ...string) string {
	body := strings.Join(parts, "")
	return typ + u32(len(body)+4) + body
}

func startup(pairs ...string) string {
	return packet("", u32(3<<16), strings.Join(pairs, "\x00"), "\x00\x00")
}

func query(text string) string { return packet("Q", text, "\x00") }

func parse(name, text string, types ...int) string {
	s := u16(len(types))
	for _, t := range types {
		s += u32(t)
	}
	return packet("P", name, "\x00", text, "\x00", s)
}

// null as a value is NULL.
const null = "\x00null"

func values(vs []string) string {
	s := u16(len(vs))
	for _, v := range vs {
		if v == null {
			s += u32(-1)
		} else {
			s += u32(len(v)) + v
		}
	}
	return s
}

// bind has parameters that are all text or all in binary, and results likewise.
func bind(portal, name string, format int, vs ...string) string {
	return packet("B", portal, "\x00", name, "\x00", u16(1), u16(format), values(vs), u16(1), u16(format))
}

func describe(kind, name string) string { return packet("D", kind, name, "\x00") }

func closing(kind, name string) string { return packet("C", kind, name, "\x00") }

func execute(portal string) string { return packet("E", portal, "\x00", u32(0)) }

func columns(format int, types ...int) string {
	s := u16(len(types))
	for i, t := range types {
		s += fmt.Sprintf("c%d\x00", i) + u32(0) + u16(0) + u32(t) + u16(4) + u32(-1) + u16(format)
	}
	return packet("T", s)
}

func row(vs ...string) string { return packet("D", values(vs)) }

func complete(tag string) string { return packet("C", tag, "\x00") }

func ready(state string) string { return packet("Z", state) }

func failure(severity, code, message string) string {
	return packet("E", "S", severity, "\x00V", severity, "\x00C", code, "\x00M", message, "\x00\x00")
}

func notice(severity, message string) string {
	return packet("N", "S", severity, "\x00V", severity, "\x00C01000\x00M", message, "\x00\x00")
}

var (
	sync      = packet("S")
	flush     = packet("H")
	parsed    = packet("1")
	bound     = packet("2")
	closed    = packet("3")
	noData    = packet("n")
	tlsWanted = packet("", u32(codeTLS))
)

// say and answer write a step of a script.
func say(parts ...string) string { return "> " + escape(strings.Join(parts, "")) + "\n" }

func reply(parts ...string) string { return "< " + escape(strings.Join(parts, "")) + "\n" }

func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			b.WriteString(`\\`)
		case c <= ' ' || c > '~':
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// session is a login by SCRAM.
var session = say(startup("user", "app", "database", "shop", "application_name", "web")) +
	reply(packet("R", u32(10), "SCRAM-SHA-256\x00\x00")) +
	say(packet("p", "SCRAM-SHA-256\x00", u32(9), "n,,n=,r=x")) +
	reply(packet("R", u32(11), "r=xy,s=QQ==,i=4096")) +
	say(packet("p", "c=biws,r=xy,p=secret")) +
	reply(packet("R", u32(12), "v=abc"), packet("R", u32(0)), packet("S", "server_version\x0017.2\x00"),
		packet("K", u32(4711), u32(99)), ready("I"))

// asked is what most conversations begin with.
var asked = say(startup("user", "app")) + reply(packet("R", u32(0)), ready("I"))

// loggedIn is what comes of asked.
const loggedIn = `
	>1 request LOGIN at 0 head 0 none
	>1   database = app
	>1   user = app
	>1 end whole size 18 body 0
	<1 response 0 at 0 head 0 none
	<1 end whole size 15 body 0
	<1   transaction = idle
`

// few lets two answers be waited for.
var few = &proto.Limits{MaxStatement: 1000, MaxFields: 10, MaxMessage: 1000, MaxStreams: 2}

var cases = []prototest.Case{
	{Name: "a login, a query, the end", Script: session +
		say(query("select id, name from t where id = 7")) +
		reply(columns(0, oidInt4, oidText), row("7", "a\tb"), row("8", null), complete("SELECT 2"), ready("I")) +
		say(packet("X")) + ">close fin\n<close fin\n",
		Want: `
			>1 request LOGIN at 0 head 0 none
			>1   database = shop
			>1   user = app
			>1 end whole size 53 body 0
			<1 response 0 at 0 head 0 none
			<1 end whole size 118 body 0
			<1   server_version = 17.2
			<1   session = 4711
			<1   transaction = idle
			>2 request SELECT select id, name from t where id = 7 at 110 head 0 none
			>2   database = shop
			>2   user = app
			>2 end whole size 41 body 0
			<2 response 0 at 118 head 0 rendered
			<2 "7\ta\\tb\n8\t\\N\n"
			<2 end whole size 104 body 25 parts 2 of 25 largest 14
			<2   columns = 2
			<2   command_tag = SELECT 2
			<2   transaction = idle
			>3 request one-way TERMINATE at 151 head 0 none
			>3   database = shop
			>3   user = app
			>3 end whole size 5 body 0`,
	},
	{Name: "encryption is refused", Script: say(packet("", u32(codeGSS))) + reply("N") + say(tlsWanted) + reply("N") +
		say(startup("user", "app")) + reply(packet("R", u32(0)), ready("I")) + say(query("")) + reply(packet("I"), ready("I")),
		Want: `
			>1 request LOGIN at 0 head 0 none
			>1   database = app
			>1   user = app
			>1 end whole size 34 body 0
			<1 response 0 at 2 head 0 none
			<1 end whole size 15 body 0
			<1   transaction = idle
			>2 request QUERY at 34 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 6 body 0
			<2 response 0 at 17 head 0 none
			<2 end whole size 11 body 0
			<2   transaction = idle`,
	},
	{Name: "encryption is agreed on", Script: say(tlsWanted) + reply("S"),
		Want: `
			handover to "tls" at > 8 < 1`,
	},
	{Name: "encryption is agreed on, and begun at once", Script: say(tlsWanted) + reply("S\x16\x03\x01"),
		Want: `
			handover to "tls" at > 8 < 1`,
	},
	{Name: "a client that doesn't wait for the answer", Script: say(tlsWanted, startup("user", "app"), query("select")) + reply("N") +
		reply(packet("R", u32(0)), ready("I"), complete("SELECT 1"), ready("I")),
		Want: `
			>1 request LOGIN at 0 head 0 none
			>1   database = app
			>1   user = app
			>1 end whole size 26 body 0
			>2 request SELECT select at 26 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 12 body 0
			<1 response 0 at 1 head 0 none
			<1 end whole size 15 body 0
			<1   transaction = idle
			<2 response 0 at 16 head 0 none
			<2 end whole size 20 body 0
			<2   command_tag = SELECT 1
			<2   transaction = idle`,
	},
	{Name: "a client that speaks TLS before the answer", Script: say(tlsWanted, "\x16\x03\x01") + reply("S"),
		Want: `
			handover to "tls" at > 8 < 1`,
	},
	{Name: "GSS encryption", Script: say(packet("", u32(codeGSS))) + reply("G"),
		Want: `
			stop`,
	},
	{Name: "encryption fails", Script: say(tlsWanted) + reply(failure("FATAL", "53300", "sorry, too many clients already")),
		Want: `
			>1 request LOGIN at 0 head 0 none
			>1 end whole size 8 body 0
			<1 response 0 at 0 head 0 none
			<1 end whole size 60 body 0
			<1   error_code = 53300
			<1   severity = FATAL
			<1   error_message = sorry, too many clients already`,
	},
	{Name: "a login fails", Script: say(startup("user", "app", "database", "shop")) + reply(packet("R", u32(5), "salt")) +
		say(packet("p", "md5secret\x00")) + reply(failure("FATAL", "28P01", "password authentication failed for user \"app\"")) +
		"<close fin\n",
		Want: `
			>1 request LOGIN at 0 head 0 none
			>1   database = shop
			>1   user = app
			>1 end whole size 32 body 0
			<1 response 0 at 0 head 0 none
			<1 end whole size 87 body 0
			<1   error_code = 28P01
			<1   severity = FATAL
			<1   error_message = password authentication failed for user "app"`,
	},
	{Name: "a cancel request", Script: say(packet("", u32(codeCancel), u32(4711), u32(99))) + ">close fin\n<close fin\n",
		Want: `
			>1 request one-way CANCEL 4711 at 0 head 0 none
			>1   session = 4711
			>1 end whole size 16 body 0`,
	},
	{Name: "several statements in one query", Script: asked +
		say(query("BEGIN; update t set a = 1; update t set b = 2; select 1; ; commit")) +
		reply(complete("BEGIN"), complete("UPDATE 3"), complete("UPDATE 4"), columns(0, oidInt4), row("1"), complete("SELECT 1"),
			complete("COMMIT"), ready("I")),
		Want: loggedIn + `
			>2 request BEGIN BEGIN; update t set a = 1; update t set b = 2; select 1; ; commit at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 71 body 0
			<2 response 0 at 15 head 0 none
			<2 "1\n"
			<2 end whole size 111 body 7 parts 1 of 7 largest 7
			<2   columns = 1
			<2   command_tag = COMMIT
			<2   affected_rows = 7
			<2   results = 5
			<2   transaction = idle`,
	},
	{Name: "an error, notices, the state of the transaction", Script: asked +
		say(query("begin")) + reply(complete("BEGIN"), ready("T")) +
		say(query("-- first\n insert into t values (1)")) + reply(notice("NOTICE", "trigger says hi"), notice("WARNING", "mind the gap"), complete("INSERT 0 1"), ready("T")) +
		say(query("/* x */ SELEC")) + reply(failure("ERROR", "42601", "syntax error at or near \"SELEC\""), ready("E")) +
		say(query("rollback")) + reply(complete("ROLLBACK"), ready("I")),
		Want: loggedIn + `
			>2 request BEGIN begin at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 11 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 17 body 0
			<2   command_tag = BEGIN
			<2   transaction = open
			>3 request INSERT -- first\n insert into t values (1) at 29 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 40 body 0
			<3 response 0 at 123 head 0 none
			<3 end whole size 22 body 0
			<3   notice = trigger says hi
			<3   notice = WARNING: mind the gap
			<3   command_tag = INSERT 0 1
			<3   affected_rows = 1
			<3   transaction = open
			>4 request SELEC /* x */ SELEC at 69 head 0 none
			>4   database = app
			>4   user = app
			>4 end whole size 19 body 0
			<4 response 0 at 145 head 0 none
			<4 end whole size 66 body 0
			<4   error_code = 42601
			<4   severity = ERROR
			<4   error_message = syntax error at or near "SELEC"
			<4   transaction = failed
			>5 request ROLLBACK rollback at 88 head 0 none
			>5   database = app
			>5   user = app
			>5 end whole size 14 body 0
			<5 response 0 at 211 head 0 none
			<5 end whole size 20 body 0
			<5   command_tag = ROLLBACK
			<5   transaction = idle`,
	},
	{Name: "an unnamed statement with parameters", Script: asked +
		say(parse("", "select$1,$2", 0, 0), describe("S", ""), bind("", "", 0, "x y", null), describe("P", ""), execute(""), sync) +
		reply(parsed, packet("t", u16(2), u32(oidText), u32(oidInt4)), columns(0, oidText, oidInt4), bound, columns(0, oidText, oidInt4),
			row("x y", null), complete("SELECT 1"), ready("I")),
		Want: loggedIn + `
			>2 request SELECT select$1,$2 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2   parameter = x y
			>2   parameter = NULL
			>2 end whole size 80 body 0
			<2 response 0 at 15 head 0 none
			<2 "x y\t\\N\n"
			<2 end whole size 161 body 13 parts 1 of 13 largest 13
			<2   columns = 2
			<2   command_tag = SELECT 1
			<2   transaction = idle`,
	},
	{Name: "a prepared statement, in binary", Script: asked +
		say(parse("s1", "select$1"), describe("S", "s1"), sync) +
		reply(parsed, packet("t", u16(2), u32(oidInt4), u32(oidBool)), columns(0, oidInt8, oidUUID), ready("I")) +
		say(bind("", "s1", 1, u32(-5), "\x01"), execute(""), sync) +
		reply(bound, row("\x00\x00\x00\x00\x00\x00\x00\x07", "\x12\x34\x56\x78\x9a\xbc\xde\xf0\x12\x34\x56\x78\x9a\xbc\xde\xf0"),
			complete("SELECT 1"), ready("I")) +
		say(bind("", "s1", 1, u32(6), "\x00"), execute(""), sync) +
		reply(bound, complete("SELECT 0"), ready("I")) +
		say(closing("S", "s1"), sync) + reply(closed, ready("I")) +
		say(bind("", "s9", 1, u32(6), "\x00"), execute(""), sync) +
		reply(failure("ERROR", "26000", "prepared statement \"s9\" does not exist"), ready("I")),
		Want: loggedIn + `
			>2 request PREPARE select$1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2   prepared = s1
			>2 end whole size 28 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 75 body 0
			<2   transaction = idle
			>3 request SELECT select$1 at 51 head 0 none
			>3   database = app
			>3   user = app
			>3   prepared = s1
			>3   parameter = -5
			>3   parameter = t
			>3 end whole size 42 body 0
			<3 response 0 at 90 head 0 none
			<3 "7\t12345678-9abc-def0-1234-56789abcdef0\n"
			<3 end whole size 64 body 34 parts 1 of 34 largest 34
			<3   columns = 2
			<3   command_tag = SELECT 1
			<3   transaction = idle
			>4 request SELECT select$1 at 98 head 0 none
			>4   database = app
			>4   user = app
			>4   prepared = s1
			>4   parameter = 6
			>4   parameter = f
			>4 end whole size 42 body 0
			<4 response 0 at 154 head 0 none
			<4 end whole size 25 body 0
			<4   command_tag = SELECT 0
			<4   transaction = idle
			>5 request CLOSE s1 at 145 head 0 none
			>5   database = app
			>5   user = app
			>5 end whole size 9 body 0
			<5 response 0 at 179 head 0 none
			<5 end whole size 11 body 0
			<5   transaction = idle
			>6 request ? ? at 159 head 0 none [statement-unknown]
			>6   database = app
			>6   user = app
			>6   prepared = s9
			>6   parameter = \\x00000006
			>6   parameter = \\x00
			>6 end whole size 42 body 0 [statement-unknown]
			<6 response 0 at 190 head 0 none
			<6 end whole size 73 body 0
			<6   error_code = 26000
			<6   severity = ERROR
			<6   error_message = prepared statement "s9" does not exist
			<6   transaction = idle`,
	},
	{Name: "described with Flush, then run", Script: asked +
		say(parse("", "select$1"), describe("S", ""), flush) +
		reply(parsed, packet("t", u16(1), u32(oidInt4)), columns(0, oidInt4)) +
		say(bind("", "", 1, u32(5)), execute(""), closing("P", ""), sync) +
		reply(bound, row(u32(5)), complete("SELECT 1"), closed, ready("I")),
		Want: loggedIn + `
			>2 request PREPARE select$1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 24 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 44 body 0
			>3 request SELECT select$1 at 47 head 0 none
			>3   database = app
			>3   user = app
			>3   parameter = 5
			>3 end whole size 35 body 0
			<3 response 0 at 59 head 0 none
			<3 "5\n"
			<3 end whole size 45 body 10 parts 1 of 10 largest 10
			<3   columns = 1
			<3   command_tag = SELECT 1
			<3   transaction = idle`,
	},
	{Name: "a pipeline", Script: asked +
		say(parse("", "insert$1"), bind("", "", 0, "1"), execute(""), bind("", "", 0, "2"), execute(""), parse("", "select"), bind("", "", 0), execute(""), sync) +
		reply(parsed, bound, complete("INSERT 0 1"), bound, complete("INSERT 0 1"), parsed, bound, row("2"), complete("SELECT 1"), ready("I")),
		Want: loggedIn + `
			>2 request INSERT insert$1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2   parameter = 1
			>2 end whole size 49 body 0
			>3 request INSERT insert$1 at 67 head 0 none
			>3   database = app
			>3   user = app
			>3   parameter = 2
			>3 end whole size 32 body 0
			>4 request SELECT select at 99 head 0 none
			>4   database = app
			>4   user = app
			>4 end whole size 42 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 26 body 0
			<2   command_tag = INSERT 0 1
			<2   affected_rows = 1
			<3 response 0 at 41 head 0 none
			<3 end whole size 21 body 0
			<3   command_tag = INSERT 0 1
			<3   affected_rows = 1
			<4 response 0 at 62 head 0 none
			<4 "2\n"
			<4 end whole size 42 body 7 parts 1 of 7 largest 7
			<4   columns = 1
			<4   command_tag = SELECT 1
			<4   transaction = idle`,
	},
	{Name: "two pipelines at once", Script: asked +
		say(parse("", "update"), bind("", "", 0), execute(""), sync, parse("", "delete"), bind("", "", 0), execute(""), sync) +
		reply(parsed, bound, complete("UPDATE 2"), ready("I"), parsed, bound, complete("DELETE 3"), ready("I")) +
		say(sync) + reply(ready("I")),
		Want: loggedIn + `
			>2 request UPDATE update at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 42 body 0
			>3 request DELETE delete at 65 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 42 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 30 body 0
			<2   command_tag = UPDATE 2
			<2   affected_rows = 2
			<2   transaction = idle
			<3 response 0 at 45 head 0 none
			<3 end whole size 30 body 0
			<3   command_tag = DELETE 3
			<3   affected_rows = 3
			<3   transaction = idle
			>4 request SYNC at 112 head 0 none
			>4   database = app
			>4   user = app
			>4 end whole size 5 body 0
			<4 response 0 at 75 head 0 none
			<4 end whole size 6 body 0
			<4   transaction = idle`,
	},
	{Name: "an error in a pipeline", Script: asked +
		say(parse("", "a"), bind("", "", 0), execute(""), parse("", "b"), bind("", "", 0), execute(""), parse("", "c"), bind("", "", 0), execute(""), sync,
			parse("", "d"), bind("", "", 0), execute(""), sync) +
		reply(parsed, bound, complete("A"), failure("ERROR", "42601", "no b"), ready("I"), parsed, bound, complete("D"), ready("I")),
		Want: loggedIn + `
			>2 request A a at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 37 body 0
			>3 request B b at 55 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 37 body 0
			>4 request C c at 92 head 0 none
			>4   database = app
			>4   user = app
			>4 end whole size 37 body 0
			>5 request D d at 134 head 0 none
			>5   database = app
			>5   user = app
			>5 end whole size 37 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 17 body 0
			<2   command_tag = A
			<3 response 0 at 32 head 0 none
			abort 4 by responder skipped after an error
			<3 end whole size 39 body 0
			<3   error_code = 42601
			<3   severity = ERROR
			<3   error_message = no b
			<3   transaction = idle
			<5 response 0 at 71 head 0 none
			<5 end whole size 23 body 0
			<5   command_tag = D
			<5   transaction = idle`,
	},
	{Name: "an error before the pipeline has been sent", Script: asked +
		say(parse("", "a"), bind("", "", 0), execute(""), flush) + reply(failure("ERROR", "42601", "no a")) +
		say(parse("", "b"), bind("", "", 0), execute(""), query("c"), parse("", "d"), sync) + reply(ready("I")) +
		say(query("e")) + reply(complete("E"), ready("I")),
		Want: loggedIn + `
			>2 request A a at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 37 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 33 body 0
			<2   error_code = 42601
			<2   severity = ERROR
			<2   error_message = no a
			>3 request B b at 60 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 37 body 0
			abort 3 by responder skipped after an error
			>4 request C c at 97 head 0 none
			>4   database = app
			>4   user = app
			>4 end whole size 7 body 0
			abort 4 by responder skipped after an error
			>5 request PREPARE d at 104 head 0 none
			>5   database = app
			>5   user = app
			>5 end whole size 10 body 0
			abort 5 by responder skipped after an error
			>6 request E e at 119 head 0 none
			>6   database = app
			>6   user = app
			>6 end whole size 7 body 0
			<6 response 0 at 54 head 0 none
			<6 end whole size 13 body 0
			<6   command_tag = E
			<6   transaction = idle`,
	},
	{Name: "a portal in pieces", Script: asked +
		say(parse("", "select$1"), bind("p", "", 0, "7"), packet("E", "p\x00", u32(1)), flush) + reply(parsed, bound, row("7"), packet("s")) +
		say(packet("E", "p\x00", u32(1)), flush) + reply(row("8"), packet("s")) +
		say(execute("p"), sync) + reply(complete("SELECT 2"), ready("I")) +
		say(closing("P", "p"), sync) + reply(closed, ready("I")),
		Want: loggedIn + `
			>2 request SELECT select$1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2   parameter = 7
			>2 end whole size 51 body 0
			<2 response 0 at 15 head 0 none
			<2 "7\n"
			<2 end whole size 27 body 7 parts 1 of 7 largest 7
			<2   columns = 1
			>3 request SELECT select$1 at 74 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 11 body 0
			<3 response 0 at 42 head 0 rendered
			<3 "8\n"
			<3 end whole size 17 body 7 parts 1 of 7 largest 7
			<3   columns = 1
			>4 request SELECT select$1 at 90 head 0 none
			>4   database = app
			>4   user = app
			>4 end whole size 11 body 0
			<4 response 0 at 59 head 0 none
			<4 end whole size 20 body 0
			<4   command_tag = SELECT 2
			<4   transaction = idle
			>5 request CLOSE p at 106 head 0 none
			>5   database = app
			>5   user = app
			>5 end whole size 8 body 0
			<5 response 0 at 79 head 0 none
			<5 end whole size 11 body 0
			<5   transaction = idle`,
	},
	{Name: "COPY FROM STDIN", Script: asked +
		say(query("copy t from stdin")) + reply(packet("G", "\x00", u16(1), u16(0))) +
		say(packet("d", "1\ta\n"), packet("d", "2\tb\n"), packet("c")) + reply(complete("COPY 2"), ready("I")) +
		say(query("select")) + reply(complete("SELECT 0"), ready("I")),
		Want: loggedIn + `
			>2 request COPY copy t from stdin at 18 head 0 rendered
			>2   database = app
			>2   user = app
			>2 "1\ta\n2\tb\n"
			>2 end whole size 46 body 8 parts 2 of 8 largest 4
			<2 response 0 at 25 head 0 none
			<2 end whole size 18 body 0
			<2   command_tag = COPY 2
			<2   affected_rows = 2
			<2   transaction = idle
			>3 request SELECT select at 64 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 12 body 0
			<3 response 0 at 43 head 0 none
			<3 end whole size 20 body 0
			<3   command_tag = SELECT 0
			<3   transaction = idle`,
	},
	{Name: "COPY FROM STDIN fails before and in the midst", Script: asked +
		say(query("COPY x FROM STDIN")) + reply(failure("ERROR", "42P01", "no x"), ready("I")) +
		say(query("COPY t FROM STDIN")) + reply(packet("G", "\x00", u16(1), u16(0))) +
		say(packet("d", "1\n")) + reply(failure("ERROR", "22P02", "bad")) + say(packet("d", "2\n"), packet("c")) + reply(ready("I")) +
		say(query("COPY t FROM STDIN")) + reply(packet("G", "\x00", u16(1), u16(0))) +
		say(packet("d", "1\n"), packet("f", "changed my mind\x00")) + reply(failure("ERROR", "57014", "COPY from stdin failed"), ready("I")),
		Want: loggedIn + `
			>2 request COPY COPY x FROM STDIN at 18 head 0 rendered
			>2   database = app
			>2   user = app
			>2 end whole size 23 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 39 body 0
			<2   error_code = 42P01
			<2   severity = ERROR
			<2   error_message = no x
			<2   transaction = idle
			>3 request COPY COPY t FROM STDIN at 41 head 0 rendered
			>3   database = app
			>3   user = app
			>3 "1\n"
			<3 response 0 at 64 head 0 none
			>3 "2\n"
			>3 end whole size 42 body 4 parts 2 of 4 largest 2
			<3 end whole size 38 body 0
			<3   error_code = 22P02
			<3   severity = ERROR
			<3   error_message = bad
			<3   transaction = idle
			>4 request COPY COPY t FROM STDIN at 83 head 0 rendered
			>4   database = app
			>4   user = app
			>4 "1\n"
			>4 end whole size 51 body 2 parts 1 of 2 largest 2
			<4 response 0 at 112 head 0 none
			<4 end whole size 57 body 0
			<4   error_code = 57014
			<4   severity = ERROR
			<4   error_message = COPY from stdin failed
			<4   transaction = idle`,
	},
	{Name: "COPY FROM STDIN by the extended protocol", Script: asked +
		say(parse("", "copy t from stdin"), bind("", "", 0), execute(""), sync) + reply(parsed, bound, packet("G", "\x00", u16(1), u16(0))) +
		say(packet("d", "1\n"), packet("c"), sync) + reply(complete("COPY 1"), ready("I")),
		Want: loggedIn + `
			>2 request COPY copy t from stdin at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 53 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 38 body 0
			<2   command_tag = COPY 1
			<2   affected_rows = 1
			<2   transaction = idle`,
	},
	{Name: "COPY TO STDOUT", Script: asked +
		say(query("COPY t TO STDOUT")) +
		reply(packet("H", "\x00", u16(1), u16(0)), packet("d", "1\n"), packet("d", "22\n"), packet("c"), complete("COPY 2"), ready("I")) +
		say(query("COPY t TO STDOUT BINARY")) +
		reply(packet("H", "\x01", u16(1), u16(1)), packet("d", "PGCOPY\n\xff\r\n"), packet("c"), complete("COPY 2"), ready("I")),
		Want: loggedIn + `
			>2 request COPY COPY t TO STDOUT at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 22 body 0
			<2 response 0 at 15 head 0 rendered
			<2 "1\n22\n"
			<2 end whole size 48 body 5 parts 2 of 5 largest 3
			<2   command_tag = COPY 2
			<2   transaction = idle
			>3 request COPY COPY t TO STDOUT BINARY at 40 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 29 body 0
			<3 response 0 at 63 head 0 rendered
			<3 end whole size 48 body 10 parts 1 of 10 largest 10
			<3   command_tag = COPY 2
			<3   transaction = idle`,
	},
	{Name: "replication", Script: asked +
		say(query("START_REPLICATION SLOT s LOGICAL 0/0")) + reply(packet("W", "\x00", u16(0)), packet("d", "w123")) +
		say(packet("d", "r456")) + reply(packet("d", "k")) + ">close fin\n<close fin\n",
		Want: loggedIn + `
			>2 request blocks START_REPLICATION START_REPLICATION SLOT s LOGICAL 0/0 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 42 body 0
			<2 response 0 at 15 head 0 none
			<2 end cut size 23 body 5 fin parts 2 of 5 largest 4`,
	},
	{Name: "notifications", Script: asked +
		say(query("listen c")) + reply(complete("LISTEN"), ready("I")) + reply(packet("A", u32(9), "c\x00hello\x00")) +
		say(query("notify c")) + reply(complete("NOTIFY"), packet("A", u32(9), "c\x00\x00"), ready("I")),
		Want: loggedIn + `
			>2 request LISTEN listen c at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 14 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 18 body 0
			<2   command_tag = LISTEN
			<2   transaction = idle
			<3 response 0 one-way NOTIFY c at 33 head 0 rendered
			<3 "hello"
			<3 end whole size 17 body 5 parts 1 of 5 largest 5
			>4 request NOTIFY notify c at 32 head 0 none
			>4   database = app
			>4   user = app
			>4 end whole size 14 body 0
			<4 response 0 at 50 head 0 none
			<5 response 0 one-way NOTIFY c at 62 head 0 rendered
			<5 end whole size 12 body 0 parts 1 of 0 largest 0
			<4 end whole size 18 body 0
			<4   command_tag = NOTIFY
			<4   transaction = idle`,
	},
	{Name: "the server ends the session", Script: asked +
		reply(packet("S", "application_name\x00x\x00"), notice("WARNING", "soon")) +
		reply(failure("FATAL", "57P01", "terminating connection due to administrator command")) + "<close fin\n",
		Want: loggedIn + `
			<2 response 0 one-way ERROR at 76 head 0 none
			<2   error_code = 57P01
			<2   severity = FATAL
			<2   error_message = terminating connection due to administrator command
			<2 end whole size 80 body 0`,
	},
	{Name: "the server ends the session within a query", Script: asked + say(query("select pg_sleep(9)")) +
		reply(failure("FATAL", "57P01", "terminating connection due to administrator command")) + "<close fin\n",
		Want: loggedIn + `
			>2 request SELECT select pg_sleep(9) at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 24 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 80 body 0
			<2   error_code = 57P01
			<2   severity = FATAL
			<2   error_message = terminating connection due to administrator command`,
	},
	{Name: "a function call", Script: asked + say(packet("F", u32(952), u16(0), u16(0), u16(0))) +
		reply(packet("V", u32(4), "abcd"), ready("I")),
		Want: loggedIn + `
			>2 request FUNCTION 952 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 15 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 19 body 0
			<2   transaction = idle`,
	},
	{Name: "what can't be a message", Script: asked + say("Q\xff\xff\xff\xff") + say(query("select 1")) +
		reply(columns(0, oidInt4), row("1"), complete("SELECT 1"), ready("I")),
		Want: loggedIn + `
			> lost
			>2 request SELECT select 1 at 23 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 14 body 0
			<2 response 0 at 15 head 0 rendered
			<2 "1\n"
			<2 end whole size 60 body 7 parts 1 of 7 largest 7
			<2   columns = 1
			<2   command_tag = SELECT 1
			<2   transaction = idle`,
	},
	{Name: "picked up in the middle", Resumed: true, Script: reply("the end of a row", complete("SELECT 2"), ready("I")) +
		say(query("select 1")) + reply(columns(0, oidInt4), row("1"), complete("SELECT 1"), ready("I")) +
		say(bind("", "s1", 1, u32(5)), execute(""), sync) + reply(bound, row("5"), complete("SELECT 1"), ready("I")),
		Want: `
			resumed
			>1 request SELECT select 1 at 0 head 0 none
			>1 end whole size 14 body 0
			<1 response 0 at 36 head 0 rendered
			<1 "1\n"
			<1 end whole size 60 body 7 parts 1 of 7 largest 7
			<1   columns = 1
			<1   command_tag = SELECT 1
			<1   transaction = idle
			>2 request ? ? at 14 head 0 none [statement-unknown]
			>2   prepared = s1
			>2   parameter = \\x00000005
			>2 end whole size 37 body 0 [statement-unknown]
			<2 response 0 at 96 head 0 none
			<2 "\\x35\n"
			<2 end whole size 37 body 7 parts 1 of 7 largest 7
			<2   columns = 1
			<2   command_tag = SELECT 1
			<2   transaction = idle`,
	},
	{Name: "picked up between a request and its answer", Resumed: true, Script: reply(columns(0, oidInt4), row("1"), complete("SELECT 1"), ready("I")) +
		say(query("select 2")) + reply(columns(0, oidInt4), row("2"), complete("SELECT 1"), ready("I")),
		Want: `
			resumed
			>1 request SELECT select 2 at 0 head 0 none
			>1 end whole size 14 body 0
			<1 response 0 at 60 head 0 rendered
			<1 "2\n"
			<1 end whole size 60 body 7 parts 1 of 7 largest 7
			<1   columns = 1
			<1   command_tag = SELECT 1
			<1   transaction = idle`,
	},
	{Name: "rows are missing", Script: asked +
		say(query("select 1")) + reply(columns(0, oidText), row("abcdefghijklmnopqrst")[:21]) + "<gap 5\n" + reply(row("abcdefghijklmnopqrst")[26:], row("x"), complete("SELECT 2"), ready("I")) +
		say(query("select 2")) + reply(columns(0, oidText), row("abc")) + "<gap 30\n" + reply("n of a row", complete("SELECT 3"), ready("I")) +
		say(query("select 3")) + reply(complete("SELECT 0"), ready("I")),
		Want: loggedIn + `
			>2 request SELECT select 1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 14 body 0
			<2 response 0 at 15 head 0 rendered
			<2 "x\n"
			<2 end whole size 91 body 33 parts 2 of 33 largest 26
			<2   columns = 1
			<2   command_tag = SELECT 2
			<2   transaction = idle missing 5
			>3 request SELECT select 2 at 32 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 14 body 0
			<3 response 0 at 106 head 0 rendered
			<3 "abc\n"
			<3 end broken size 42 body 9 parts 1 of 9 largest 9
			<3   columns = 1
			< lost
			>4 request SELECT select 3 at 46 head 0 none
			>4   database = app
			>4   user = app
			>4 end whole size 14 body 0
			<4 response 0 at 208 head 0 none
			<4 end whole size 20 body 0
			<4   command_tag = SELECT 0
			<4   transaction = idle`,
	},
	{Name: "an answer is missing", Script: asked + say(query("select 1")) + "<gap 40\n" +
		say(query("select 2")) + reply(columns(0, oidInt4), row("2"), complete("SELECT 1"), ready("I")) +
		say(query("select 3")) + reply(complete("SELECT 0"), ready("I")),
		Want: loggedIn + `
			>2 request SELECT select 1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 14 body 0
			< lost
			>3 request SELECT select 2 at 32 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 14 body 0
			<3 response 0 at 55 head 0 rendered
			<3 "2\n"
			<3 end whole size 60 body 7 parts 1 of 7 largest 7
			<3   columns = 1
			<3   command_tag = SELECT 1
			<3   transaction = idle
			>4 request SELECT select 3 at 46 head 0 none
			>4   database = app
			>4   user = app
			>4 end whole size 14 body 0
			<4 response 0 at 115 head 0 none
			<4 end whole size 20 body 0
			<4   command_tag = SELECT 0
			<4   transaction = idle`,
	},
	{Name: "a request is missing", Script: asked + ">gap 20\n" + reply(columns(0, oidInt4), row("1"), complete("SELECT 1"), ready("I")) +
		say(query("select 2")) + reply(columns(0, oidInt4), row("2"), complete("SELECT 1"), ready("I")) +
		reply(failure("FATAL", "57P01", "terminating")),
		Want: loggedIn + `
			> lost
			<2 response 0 at 15 head 0 rendered
			<2 "1\n"
			<2 end whole size 60 body 7 parts 1 of 7 largest 7
			<2   columns = 1
			<2   command_tag = SELECT 1
			<2   transaction = idle
			>3 request SELECT select 2 at 38 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 14 body 0
			<3 response 0 at 75 head 0 rendered
			<3 "2\n"
			<3 end whole size 60 body 7 parts 1 of 7 largest 7
			<3   columns = 1
			<3   command_tag = SELECT 1
			<3   transaction = idle
			<4 response 0 one-way ERROR at 135 head 0 none
			<4   error_code = 57P01
			<4   severity = FATAL
			<4   error_message = terminating
			<4 end whole size 40 body 0`,
	},
	{Name: "a request is missing from a pipeline", Script: asked + say(query("select 1"), query("select 2")) +
		reply(complete("SELECT 1"), ready("I"), complete("SELECT 2"), ready("I")) +
		">gap 14\n" + say(query("select 4")) + reply(complete("SELECT 3"), ready("I"), complete("SELECT 4"), ready("I")),
		Want: loggedIn + `
			>2 request SELECT select 1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 14 body 0
			>3 request SELECT select 2 at 32 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 14 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 20 body 0
			<2   command_tag = SELECT 1
			<2   transaction = idle
			<3 response 0 at 35 head 0 none
			<3 end whole size 20 body 0
			<3   command_tag = SELECT 2
			<3   transaction = idle
			> lost
			< lost
			>4 request SELECT select 4 at 60 head 0 none
			>4   database = app
			>4   user = app
			>4 end whole size 14 body 0
			< lost`,
	},
	{Name: "the unnamed statement may be another behind a loss", Script: asked + say(parse("", "select$1"), sync) + reply(parsed, ready("I")) +
		">gap 30\n" + say(query("select 1")) + reply(complete("SELECT 1"), ready("I")) +
		say(query("begin"), bind("", "", 0, "x"), execute(""), sync) + reply(complete("BEGIN"), ready("T"), bound, complete("SELECT 1"), ready("T")),
		Want: loggedIn + `
			>2 request PREPARE select$1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 17 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 11 body 0
			<2   transaction = idle
			> lost
			>3 request SELECT select 1 at 70 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 14 body 0
			<3 response 0 at 26 head 0 none
			<3 end whole size 20 body 0
			<3   command_tag = SELECT 1
			<3   transaction = idle
			>4 request BEGIN begin at 84 head 0 none
			>4   database = app
			>4   user = app
			>4 end whole size 11 body 0
			>5 request ? ? at 95 head 0 none [statement-unknown]
			>5   database = app
			>5   user = app
			>5   parameter = x
			>5 end whole size 32 body 0 [statement-unknown]
			<4 response 0 at 46 head 0 none
			<4 end whole size 17 body 0
			<4   command_tag = BEGIN
			<4   transaction = open
			<5 response 0 at 63 head 0 none
			<5 end whole size 25 body 0
			<5   command_tag = SELECT 1
			<5   transaction = open`,
	},
	{Name: "an unnamed statement that is another before it is described", Resumed: true, Script: say(parse("", "select$1"), describe("S", ""), flush, parse("", "select$2"), flush) +
		reply(parsed, packet("t", u16(1), u32(oidInt4)), columns(0, oidInt4), parsed) +
		say(bind("", "", 1, u32(5)), execute(""), sync) + reply(bound, row(u32(5)), complete("SELECT 1"), ready("I")),
		Want: `
			resumed
			>1 request PREPARE select$1 at 0 head 0 none
			>1 end whole size 24 body 0
			>2 request PREPARE select$2 at 29 head 0 none
			>2 end whole size 17 body 0
			<1 response 0 at 0 head 0 none
			<1 end whole size 44 body 0
			<2 response 0 at 44 head 0 none
			<2 end whole size 5 body 0
			>3 request SELECT select$2 at 51 head 0 none
			>3   parameter = \\x00000005
			>3 end whole size 35 body 0
			<3 response 0 at 49 head 0 none
			<3 "\\x00000005\n"
			<3 end whole size 40 body 10 parts 1 of 10 largest 10
			<3   columns = 1
			<3   command_tag = SELECT 1
			<3   transaction = idle`,
	},
	{Name: "two statements prepared at once", Script: asked +
		say(parse("s1", "select$1"), describe("S", "s1"), parse("s2", "select$2"), describe("S", "s2"), sync) +
		reply(parsed, packet("t", u16(1), u32(oidInt4)), columns(0, oidInt4), parsed, packet("t", u16(1), u32(oidBool)), columns(0, oidBool), ready("I")) +
		say(bind("", "s2", 1, "\x01"), execute(""), bind("", "s1", 1, u32(1)), execute(""), sync) +
		reply(bound, row("\x00"), complete("SELECT 1"), bound, row(u32(2)), complete("SELECT 1"), ready("I")),
		Want: loggedIn + `
			>2 request PREPARE select$1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2   prepared = s1
			>2 end whole size 28 body 0
			>3 request PREPARE select$2 at 46 head 0 none
			>3   database = app
			>3   user = app
			>3   prepared = s2
			>3 end whole size 28 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 44 body 0
			<3 response 0 at 59 head 0 none
			<3 end whole size 50 body 0
			<3   transaction = idle
			>4 request SELECT select$2 at 79 head 0 none
			>4   database = app
			>4   user = app
			>4   prepared = s2
			>4   parameter = t
			>4 end whole size 34 body 0
			>5 request SELECT select$1 at 113 head 0 none
			>5   database = app
			>5   user = app
			>5   prepared = s1
			>5   parameter = 1
			>5 end whole size 37 body 0
			<4 response 0 at 109 head 0 none
			<4 "f\n"
			<4 end whole size 31 body 7 parts 1 of 7 largest 7
			<4   columns = 1
			<4   command_tag = SELECT 1
			<5 response 0 at 140 head 0 none
			<5 "2\n"
			<5 end whole size 40 body 10 parts 1 of 10 largest 10
			<5   columns = 1
			<5   command_tag = SELECT 1
			<5   transaction = idle`,
	},
	{Name: "bytes are missing from pipelines", Script: asked + say(query("select 1"), query("select 2")) + reply(complete("SELECT 1"), ready("I")) +
		"<gap 10\n" + say(query("select 3")) + reply(complete("SELECT 1"), ready("I")),
		Want: loggedIn + `
			>2 request SELECT select 1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 14 body 0
			>3 request SELECT select 2 at 32 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 14 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 20 body 0
			<2   command_tag = SELECT 1
			<2   transaction = idle
			< lost
			>4 request SELECT select 3 at 46 head 0 none
			>4   database = app
			>4   user = app
			>4 end whole size 14 body 0
			< lost`,
	},
	{Name: "an answer is missing, and the next isn't found", Script: asked + say(query("select 1")) + "<gap 40\n" +
		say(query("select 2; select 3")) + reply(columns(0, oidInt4), row("2"), complete("SELECT 1")) + reply(complete("SELECT 0"), ready("I")) +
		say(query("select 4")) + reply(complete("SELECT 0"), ready("I")),
		Want: loggedIn + `
			>2 request SELECT select 1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 14 body 0
			< lost
			>3 request SELECT select 2; select 3 at 32 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 24 body 0
			< lost
			>4 request SELECT select 4 at 56 head 0 none
			>4   database = app
			>4   user = app
			>4 end whole size 14 body 0
			<4 response 0 at 129 head 0 none
			<4 end whole size 20 body 0
			<4   command_tag = SELECT 0
			<4   transaction = idle`,
	},
	{Name: "an answer is missing, and the next one's rows come in pieces", Script: asked + say(query("select 1")) + "<gap 40\n" +
		say(query("select 2")) + reply(columns(0, oidText), row("abcdefghijklmnopqrst")[:20]) + reply(row("abcdefghijklmnopqrst")[20:], complete("SELECT 1"), ready("I")),
		Want: loggedIn + `
			>2 request SELECT select 1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 14 body 0
			< lost
			>3 request SELECT select 2 at 32 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 14 body 0
			<3 response 0 at 55 head 0 rendered
			<3 "abcdefghijklmnopqrst\n"
			<3 end whole size 79 body 26 parts 1 of 26 largest 26
			<3   columns = 1
			<3   command_tag = SELECT 1
			<3   transaction = idle`,
	},
	{Name: "a named statement may be another behind a loss", Script: asked + say(parse("s1", "select harmless"), sync) + reply(parsed, ready("I")) +
		">gap 40\n" + say(bind("", "s1", 0, "x"), execute(""), sync) + reply(bound, complete("DELETE 7"), ready("I")) +
		say(parse("s1", "delete"), bind("", "s1", 0, "x"), execute(""), sync) + reply(parsed, bound, complete("DELETE 7"), ready("I")) +
		say(bind("", "s1", 0, "y"), execute(""), sync) + reply(bound, complete("DELETE 0"), ready("I")),
		Want: loggedIn + `
			>2 request PREPARE select harmless at 18 head 0 none
			>2   database = app
			>2   user = app
			>2   prepared = s1
			>2 end whole size 26 body 0
			<2 response 0 at 15 head 0 none
			<2 end whole size 11 body 0
			<2   transaction = idle
			> lost
			>3 request ? ? at 89 head 0 none [statement-unknown]
			>3   database = app
			>3   user = app
			>3   prepared = s1
			>3   parameter = x
			>3 end whole size 34 body 0 [statement-unknown]
			<3 response 0 at 26 head 0 none
			<3 end whole size 25 body 0
			<3   command_tag = DELETE 7
			<3   affected_rows = 7
			<3   transaction = idle
			>4 request DELETE delete at 128 head 0 none
			>4   database = app
			>4   user = app
			>4   prepared = s1
			>4   parameter = x
			>4 end whole size 51 body 0
			<4 response 0 at 51 head 0 none
			<4 end whole size 30 body 0
			<4   command_tag = DELETE 7
			<4   affected_rows = 7
			<4   transaction = idle
			>5 request DELETE delete at 184 head 0 none
			>5   database = app
			>5   user = app
			>5   prepared = s1
			>5   parameter = y
			>5 end whole size 34 body 0
			<5 response 0 at 81 head 0 none
			<5 end whole size 25 body 0
			<5   command_tag = DELETE 0
			<5   affected_rows = 
			<5   transaction = idle`,
	},
	{Name: "a statement beyond the limit", Limits: &proto.Limits{MaxStatement: 20, MaxFields: 3, MaxMessage: 1000, MaxStreams: 10}, MaxBody: 10, Script: asked +
		say(query("select 'a long text that goes on and on'")) + reply(columns(0, oidText), row("a long text that goes on"), row("b"), complete("SELECT 1"), ready("I")) +
		say(parse("", "select$1,$2,$3,$4"), bind("", "", 0, "a", "bb", "c", "d"), execute(""), sync) + reply(parsed, bound, complete("SELECT 0"), ready("I")),
		Want: loggedIn + `
			>2 request SELECT select 'a long text  at 18 head 0 none [statement-cut]
			>2   database = app
			>2   user = app
			>2 end whole size 46 body 0 [statement-cut]
			<2 response 0 at 15 head 0 rendered
			<2 "a long tex"
			<2 end whole size 95 body 37 parts 2 of 37 largest 30
			<2   columns = 1
			<2   command_tag = SELECT 1
			<2   transaction = idle
			>3 request SELECT select$1,$2,$3,$4 at 64 head 0 none [statement-cut]
			>3   database = app
			>3   user = app
			>3   parameter = a
			>3   parameter = bb
			>3 end whole size 74 body 0 [statement-cut]
			<3 response 0 at 110 head 0 none
			<3 end whole size 30 body 0
			<3   command_tag = SELECT 0
			<3   transaction = idle`,
	},
}

func TestConformance(t *testing.T) { prototest.Run(t, New, cases) }

func FuzzParser(f *testing.F) { prototest.Fuzz(f, New, cases) }

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		in    string
		match proto.Match
	}{
		{"", proto.NeedMore},
		{"\x00\x00\x00", proto.NeedMore},
		{startup("user", "app")[:7], proto.NeedMore},
		{startup("user", "app")[:8], proto.Yes},
		{startup("user", "app"), proto.Yes},
		{packet("", u32(3<<16|2), "user\x00app\x00\x00"), proto.Yes},
		{packet("", u32(3<<16|9999), "_pq_.x\x001\x00user\x00app\x00\x00"), proto.Yes},
		{tlsWanted, proto.Yes},
		{packet("", u32(codeGSS)), proto.Yes},
		{packet("", u32(codeCancel), u32(1), u32(2)), proto.Yes},
		{packet("", u32(codeCancel), u32(1), strings.Repeat("k", 256)), proto.Yes},
		// What must be refused: version 2, lengths that don't suit, the neighbours.
		{packet("", u32(2<<16), "user\x00app\x00\x00"), proto.No},
		{packet("", u32(3<<16), "\xffser\x00app\x00\x00"), proto.No},
		{packet("", u32(3<<16), strings.Repeat("a", maxStartup)), proto.No},
		{packet("", u32(codeTLS), u32(0)), proto.No},
		{packet("", u32(codeCancel)), proto.No},
		{"\x00\x00\x28", proto.No},
		{"\x16\x03\x01\x02\x00\x01\x00\x01", proto.No},                         // TLS
		{"\x00\x00\x00\x85\xffSMBr\x00\x00\x00", proto.No},                     // SMB
		{"\x4a\x00\x00\x00\x0a8.0.36\x00", proto.No},                           // MySQL
		{"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00", proto.No},     // HTTP/2 SETTINGS
		{"\x00\x1c\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", proto.No}, // DNS over TCP
		{"GET / HTTP/1.1\r\n", proto.No},
		{query("select 1"), proto.No},
	} {
		role := proto.AnyRole
		if c.match == proto.Yes {
			role = proto.Client
		}
		if match, r := Probe([]byte(c.in)); match != c.match || r != role {
			t.Errorf("Probe(%q) = %v, %v; want %v, %v", c.in, match, r, c.match, role)
		}
	}
}

func TestResume(t *testing.T) {
	for _, c := range []struct {
		in   string
		role proto.Role
	}{
		{query("select 1"), proto.Client},
		{query("/* app */ with x as (select 1) select * from x"), proto.Client},
		{query("begin") + query("select 1"), proto.Client},
		{parse("", "select $1", 23) + bind("", "", 0, "1") + execute("") + sync, proto.Client},
		{parse("s1", "select $1") + describe("S", "s1") + flush, proto.Client},
		{bind("", "s1", 0, "1", null) + execute("") + sync, proto.Client},
		{columns(0, oidInt4) + row("1") + complete("SELECT 1") + ready("I"), proto.Server},
		{columns(0, oidInt4) + row("1") + row("2") + row("three")[:8], proto.Server},
		{complete("BEGIN") + ready("T"), proto.Server},
		{parsed + bound + noData + complete("SET"), proto.Server},
		{failure("ERROR", "42601", "no") + ready("I"), proto.Server},
		// What isn't sure: parts, what may be the end of something, the neighbours.
		{query("select 1")[:12], proto.AnyRole},
		{query("select 1") + "x", proto.AnyRole},
		{packet("Q", "select\x00 1\x00"), proto.AnyRole},
		{packet("Q", "select 1"), proto.AnyRole},
		{query("\x01\x02"), proto.AnyRole},
		{query(""), proto.AnyRole},
		{sync, proto.AnyRole},
		{packet("X"), proto.AnyRole},
		{bind("", "", 0, "1") + execute("") + sync, proto.AnyRole}, // a Parse may belong to it
		{bind("", "s1", 0, "1"), proto.AnyRole},
		{packet("B", "\x00s1\x00", u16(0), u16(1), u32(9), "x", u16(0)) + execute("") + sync, proto.AnyRole},
		{packet("P", "\x00select 1\x00", u16(2)) + sync, proto.AnyRole},
		{row("1") + complete("SELECT 1") + ready("I"), proto.AnyRole},
		{ready("I"), proto.AnyRole},
		{complete("SELECT 1"), proto.AnyRole},
		{complete("SELECT 1") + row("1"), proto.AnyRole},
		{complete("select") + ready("I"), proto.AnyRole},
		{packet("T", u16(1), "a\x00") + row("1") + ready("I"), proto.AnyRole},
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", proto.AnyRole},
		{"QUIT\r\n", proto.AnyRole},
		{"PRI * HTTP/2.0\r\n\r\n", proto.AnyRole},
		{"1\x00\x00\x00\x04", proto.AnyRole},
	} {
		want := proto.Yes
		if c.role == proto.AnyRole {
			want = proto.No
		}
		if match, role := Resume([]byte(c.in)); match != want || role != c.role {
			t.Errorf("Resume(%q) = %v, %v; want %v, %v", c.in, match, role, want, c.role)
		}
	}
}

// TestSpare uses a parser again: nothing of the connection before may show.
func TestSpare(t *testing.T) {
	talk := newTalk(talks[0].prepare, talks[0].ask, talks[0].reply)
	talk.turn()
	for _, d := range []proto.Direction{proto.Originator, proto.Responder} {
		talk.parser.Close(d, talk.at[d], proto.Finished)
	}
	if talk.held != 0 {
		t.Errorf("%d bytes are still held", talk.held)
	}
	spare := talk.parser
	fresh := func(c *proto.Context) proto.Parser {
		c.Spare = spare
		return New(c)
	}
	for i := range cases {
		r, err := prototest.Play(fresh, cases[i])
		if err != nil {
			t.Fatalf("%s: %v", cases[i].Name, err)
		}
		want, _ := prototest.Play(New, cases[i])
		if r.Text() != want.Text() {
			t.Errorf("%s: got\n%s\nwith a new parser\n%s", cases[i].Name, r.Text(), want.Text())
		}
	}
}

// TestHeld sends all that a connection may keep, and more: the memory stays within the limits.
func TestHeld(t *testing.T) {
	text := strings.Repeat("x", 1000)
	for _, c := range []struct {
		name string
		ask  func(i int) string
		// reply is what answers it, if anything does.
		reply string
		most  int
	}{
		{"statements", func(i int) string { return parse(fmt.Sprintf("s%d", i), "select "+text) + sync }, parsed + ready("I"), maxPrepared + maxStatements*statementSize},
		{"small statements", func(i int) string { return parse(fmt.Sprintf("s%d", i), "select") + sync }, parsed + ready("I"), maxStatements * 2 * statementSize},
		{"portals", func(i int) string { return parse("", "select "+text) + bind(fmt.Sprintf("p%d", i), "", 0) + sync }, parsed + bound + ready("I"), maxPortals * 2000},
		{"answers", func(i int) string { return query("select") }, "", 2 * 100 * expectedSize},
	} {
		talk := newTalk("", "", "")
		for i := range 5000 {
			talk.send(proto.Originator, []byte(c.ask(i)))
			talk.send(proto.Responder, []byte(c.reply))
		}
		if talk.held > c.most+5*keepBuffer {
			t.Errorf("%s: %d bytes are held, more than %d", c.name, talk.held, c.most+5*keepBuffer)
		}
		if talk.held < c.most/8 {
			t.Errorf("%s: %d bytes are held: is that all?", c.name, talk.held)
		}
	}
}

// TestAnswerOfTheMissing has an answer come after a request that the server hadn't received: it is that of one which is missing.
func TestAnswerOfTheMissing(t *testing.T) {
	talk := newTalk("", query("select"), complete("SELECT 0")+ready("I"))
	talk.parser.Gap(proto.Originator, 20, talk.at[proto.Originator])
	talk.at[proto.Originator].Offset += 20
	early := talk.at[proto.Originator].Offset
	talk.send(proto.Originator, talk.ask)
	at := talk.at[proto.Responder]
	at.Peer = early
	streams := []uint64{}
	talk.sink.ended = func(m *proto.Message) { streams = append(streams, m.Stream) }
	talk.parser.Data(proto.Responder, talk.reply, at)
	at.Offset, at.Peer = at.Offset+int64(len(talk.reply)), talk.at[proto.Originator].Offset
	talk.parser.Data(proto.Responder, talk.reply, at)
	if !slices.Equal(streams, []uint64{3, 2}) {
		t.Errorf("the answers are %v, want one of nobody's and then that of request 2", streams)
	}
}

// limited are conversations in which more is asked than is waited for. What is beyond the limit depends on all before, so that they
// aren't what they were where bytes are missing.
var limited = []prototest.Case{
	{Name: "an extended pipeline beyond the limit", Limits: few, Script: asked +
		say(parse("", "insert 1"), bind("", "", 0), execute(""), bind("", "", 0), execute(""), bind("", "", 0), execute(""), bind("", "", 0), execute(""), sync) +
		reply(parsed, bound, complete("INSERT 0 1"), bound, complete("INSERT 0 2"), bound, complete("INSERT 0 3"), notice("NOTICE", "passed"), bound, complete("INSERT 0 4"), ready("I")) +
		say(query("select 5")) + reply(complete("SELECT 5"), ready("I")),
		Want: loggedIn + `
			>2 request INSERT insert 1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 44 body 0
			>3 request INSERT insert 1 at 62 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 27 body 0
			>4 request one-way INSERT insert 1 at 89 head 0 none [stream-limit]
			>4   database = app
			>4   user = app
			>4 end whole size 27 body 0 [stream-limit]
			>5 request one-way INSERT insert 1 at 116 head 0 none [stream-limit]
			>5   database = app
			>5   user = app
			>5 end whole size 27 body 0 [stream-limit]
			<2 response 0 at 15 head 0 none
			<2 end whole size 26 body 0
			<2   command_tag = INSERT 0 1
			<2   affected_rows = 1
			<3 response 0 at 41 head 0 none
			<3 end whole size 21 body 0
			<3   command_tag = INSERT 0 2
			<3   affected_rows = 2
			>6 request SELECT select 5 at 148 head 0 none
			>6   database = app
			>6   user = app
			>6 end whole size 14 body 0
			<6 response 0 at 147 head 0 none
			<6 end whole size 20 body 0
			<6   command_tag = SELECT 5
			<6   transaction = idle`,
	},
	{Name: "the rest of a pipeline beyond the limit comes later", Limits: few, Script: asked +
		say(parse("", "insert 1"), bind("", "", 0), execute(""), bind("", "", 0), execute(""), bind("", "", 0), execute("")) +
		reply(parsed, bound, complete("INSERT 0 1"), bound, complete("INSERT 0 2")) + say(bind("", "", 0), execute(""), sync) +
		reply(notice("NOTICE", "passed"), bound, complete("INSERT 0 3"), bound, complete("INSERT 0 4"), ready("I")) +
		say(query("begin")) + reply(complete("BEGIN"), ready("T")),
		Want: loggedIn + `
			>2 request INSERT insert 1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 44 body 0
			>3 request INSERT insert 1 at 62 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 27 body 0
			>4 request one-way INSERT insert 1 at 89 head 0 none [stream-limit]
			>4   database = app
			>4   user = app
			>4 end whole size 27 body 0 [stream-limit]
			<2 response 0 at 15 head 0 none
			<2 end whole size 26 body 0
			<2   command_tag = INSERT 0 1
			<2   affected_rows = 1
			<3 response 0 at 41 head 0 none
			<3 end whole size 21 body 0
			<3   command_tag = INSERT 0 2
			<3   affected_rows = 2
			>5 request one-way INSERT insert 1 at 116 head 0 none [stream-limit]
			>5   database = app
			>5   user = app
			>5 end whole size 27 body 0 [stream-limit]
			>6 request BEGIN begin at 148 head 0 none
			>6   database = app
			>6   user = app
			>6 end whole size 11 body 0
			<6 response 0 at 147 head 0 none
			<6 end whole size 17 body 0
			<6   command_tag = BEGIN
			<6   transaction = open`,
	},
	{Name: "queries beyond the limit", Limits: few, Script: asked +
		say(query("select 1"), query("select 2"), query("select 3"), query("copy t from stdin"), query("select 5")) +
		reply(complete("SELECT 1"), ready("I"), complete("SELECT 2"), ready("I"), complete("SELECT 3"), ready("I")) +
		reply(failure("ERROR", "42P01", "no such table"), ready("I"), complete("SELECT 5"), ready("I")) +
		say(query("select 6")) + reply(complete("SELECT 6"), ready("I")),
		Want: loggedIn + `
			>2 request SELECT select 1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 14 body 0
			>3 request SELECT select 2 at 32 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 14 body 0
			>4 request one-way SELECT select 3 at 46 head 0 none [stream-limit]
			>4   database = app
			>4   user = app
			>4 end whole size 14 body 0 [stream-limit]
			>5 request one-way COPY copy t from stdin at 60 head 0 none [stream-limit]
			>5   database = app
			>5   user = app
			>5 end whole size 23 body 0 [stream-limit]
			>6 request one-way SELECT select 5 at 83 head 0 none [stream-limit]
			>6   database = app
			>6   user = app
			>6 end whole size 14 body 0 [stream-limit]
			<2 response 0 at 15 head 0 none
			<2 end whole size 20 body 0
			<2   command_tag = SELECT 1
			<2   transaction = idle
			<3 response 0 at 35 head 0 none
			<3 end whole size 20 body 0
			<3   command_tag = SELECT 2
			<3   transaction = idle
			>7 request SELECT select 6 at 97 head 0 none
			>7   database = app
			>7   user = app
			>7 end whole size 14 body 0
			<7 response 0 at 143 head 0 none
			<7 end whole size 20 body 0
			<7   command_tag = SELECT 6
			<7   transaction = idle`,
	},
	{Name: "an error in a pipeline beyond the limit", Limits: few, Script: asked +
		say(parse("", "insert 1"), bind("", "", 0), execute(""), bind("", "", 0), execute(""), bind("", "", 0), execute(""), sync, query("select 4")) +
		reply(parsed, bound, failure("ERROR", "23505", "duplicate"), ready("I"), complete("SELECT 4"), ready("I")) +
		say(query("select 5")) + reply(complete("SELECT 5"), ready("I")),
		Want: loggedIn + `
			>2 request INSERT insert 1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 44 body 0
			>3 request INSERT insert 1 at 62 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 27 body 0
			>4 request one-way INSERT insert 1 at 89 head 0 none [stream-limit]
			>4   database = app
			>4   user = app
			>4 end whole size 27 body 0 [stream-limit]
			>5 request one-way SELECT select 4 at 121 head 0 none [stream-limit]
			>5   database = app
			>5   user = app
			>5 end whole size 14 body 0 [stream-limit]
			<2 response 0 at 15 head 0 none
			abort 3 by responder skipped after an error
			<2 end whole size 54 body 0
			<2   error_code = 23505
			<2   severity = ERROR
			<2   error_message = duplicate
			<2   transaction = idle
			>6 request SELECT select 5 at 135 head 0 none
			>6   database = app
			>6   user = app
			>6 end whole size 14 body 0
			<6 response 0 at 89 head 0 none
			<6 end whole size 20 body 0
			<6   command_tag = SELECT 5
			<6   transaction = idle`,
	},
	{Name: "an error in a pipeline beyond the limit that hasn't been sent", Limits: few, Script: asked +
		say(parse("", "insert 1"), bind("", "", 0), execute(""), bind("", "", 0), execute(""), bind("", "", 0), execute("")) +
		reply(parsed, bound, failure("ERROR", "23505", "duplicate")) + say(bind("", "", 0), execute(""), sync) + reply(ready("I")) +
		say(query("select 5")) + reply(complete("SELECT 5"), ready("I")),
		Want: loggedIn + `
			>2 request INSERT insert 1 at 18 head 0 none
			>2   database = app
			>2   user = app
			>2 end whole size 44 body 0
			>3 request INSERT insert 1 at 62 head 0 none
			>3   database = app
			>3   user = app
			>3 end whole size 27 body 0
			>4 request one-way INSERT insert 1 at 89 head 0 none [stream-limit]
			>4   database = app
			>4   user = app
			>4 end whole size 27 body 0 [stream-limit]
			<2 response 0 at 15 head 0 none
			abort 3 by responder skipped after an error
			<2 end whole size 48 body 0
			<2   error_code = 23505
			<2   severity = ERROR
			<2   error_message = duplicate
			>5 request INSERT insert 1 at 116 head 0 none
			>5   database = app
			>5   user = app
			>5 end whole size 27 body 0
			abort 5 by responder skipped after an error
			>6 request SELECT select 5 at 148 head 0 none
			>6   database = app
			>6   user = app
			>6 end whole size 14 body 0
			<6 response 0 at 69 head 0 none
			<6 end whole size 20 body 0
			<6   command_tag = SELECT 5
			<6   transaction = idle`,
	},
}

func TestLimit(t *testing.T) {
	for _, c := range limited {
		r, err := prototest.Play(New, c)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		if got, want := strings.Fields(r.Text()), strings.Fields(c.Want); !slices.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.Name, r.Text(), c.Want)
		}
	}
}

// TestDrift loses an answer of a pipeline: nothing is paired, and all that is asked may have been answered in the lost bytes, until
// the client has been silent for a while.
func TestDrift(t *testing.T) {
	for _, c := range []struct {
		name string
		// pause is for how long the client is silent before it asks on, ahead how many bytes it hasn't received then.
		pause, ahead int64
		// last is what the server has sent last.
		last string
		want bool
	}{
		{"a client that asks on", pause - 1, 0, ready("I"), false},
		{"a client that was silent", pause, 0, ready("I"), true},
		{"a client that was silent, and hasn't received all", pause, 1, ready("I"), false},
		{"a client that was silent amidst an answer", pause, 0, complete("SELECT 1"), false},
	} {
		talk := newTalk("", query("begin"), complete("BEGIN")+ready("I"))
		talk.send(proto.Originator, []byte(query("select 1")+query("select 2")+query("select 3")))
		talk.send(proto.Responder, talk.reply)
		talk.parser.Gap(proto.Responder, int64(len(talk.reply)), talk.at[proto.Responder])
		talk.at[proto.Responder].Offset += int64(len(talk.reply))
		talk.send(proto.Responder, []byte(complete("SELECT 1")+c.last))
		at := talk.at[proto.Originator]
		at.Time, at.Peer = c.pause, talk.at[proto.Responder].Offset-c.ahead
		talk.parser.Data(proto.Originator, talk.ask, at)
		talk.at[proto.Originator].Offset += int64(len(talk.ask))
		before, lost := talk.sink.ends, talk.sink.lost
		talk.send(proto.Responder, talk.reply)
		if got := talk.sink.ends > before; got != c.want || !got && talk.sink.lost != lost+1 {
			t.Errorf("%s: %d answers, and %d losses told; want one of one of them", c.name, talk.sink.ends-before, talk.sink.lost-lost)
		}
		talk.turn() // at once
		if got := talk.sink.ends-before > 2; got != c.want {
			t.Errorf("%s: %d messages in all", c.name, talk.sink.ends-before)
		}
	}
}
