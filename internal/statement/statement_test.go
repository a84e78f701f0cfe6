package statement

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// statements are texts, and what is said of them.
var statements = []struct{ protocol, method, text, template, operation, collection string }{
	// Literals of all forms.
	{"mysql", "SELECT", "select *, count( * ) from `users` u where id=5 and name = 'bob''s' limit 10, 20;",
		"SELECT *, count(*) FROM `users` u WHERE id = ? AND name = ? LIMIT ?, ?", "SELECT", "users"},
	{"mysql", "SELECT", `SELECT "a\"b", 'c\'d', n'e', X'0F', b'01', 0x1F, 0b1, 1e-3, 1.5E+3, .5, 1., 007, 'a' 'b'`,
		"SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?", "SELECT", ""},
	{"postgresql", "SELECT", `SELECT "Col""x", 'a\', E'c\'d', $$x'y$$, $t$ $$ $t$, 1_000, 0o17, $1, u&'x', B'1' FROM t`,
		`SELECT "Col""x", ?, ?, ?, ?, ?, ?, ?, u & ?, ? FROM t`, "SELECT", "t"},
	{"mysql", "SELECT", "SELECT _utf8mb4'abc', DATE '2024-05-06', INTERVAL 1 DAY FROM dual", "SELECT _utf8mb4 ?, DATE ?, INTERVAL ? DAY FROM dual", "SELECT", "dual"},
	{"mysql", "SELECT", "SELECT * FROM 2020_sales WHERE x=5", "SELECT * FROM 2020_sales WHERE x = ?", "SELECT", "2020_sales"},
	{"postgresql", "SELECT", "SELECT 5abc, t.a5 FROM t1", "SELECT ?, t.a5 FROM t1", "SELECT", "t1"},
	{"mysql", "SELECT", "SELECT * FROM t WHERE a=:name AND b=? AND c=@x AND d=@@session.y", "SELECT * FROM t WHERE a = ? AND b = ? AND c = @x AND d = @@session.y", "SELECT", "t"},
	{"postgresql", "SELECT", "SELECT a::int[], '1'::text, ARRAY[1,2,3], b[1:2], f(1,2) FROM t", "SELECT a::int[], ?::text, ARRAY[?], b[? : ?], f(?, ?) FROM t", "SELECT", "t"},
	{"postgresql", "SELECT", "select data->>'k', data @> '{}', a||'x' from t where a~*'x' and b <@ $2", "SELECT data ->> ?, data @> ?, a || ? FROM t WHERE a ~* ? AND b <@ ?", "SELECT", "t"},
	{"mysql", "SELECT", "SELECT `a\nb`, t.`select` FROM t", "SELECT `a b`, t.`select` FROM t", "SELECT", "t"},
	{"mysql", "SELECT", "SELECT 'unterminated and more", "SELECT ?", "SELECT", ""},

	// Signs, NULL and booleans.
	{"mysql", "SELECT", "SELECT -5, - 5, a-5, a - -5, -a, (-5), 5-5 FROM t WHERE x=-5 AND y BETWEEN -1 AND +1",
		"SELECT ?, ?, a - ?, a - ?, -a, (?), ? - ? FROM t WHERE x = ? AND y BETWEEN ? AND ?", "SELECT", "t"},
	{"mysql", "SELECT", "SELECT a--5", "SELECT a - ?", "SELECT", ""}, // no comment: nothing blank follows
	{"postgresql", "SELECT", "SELECT a--5\n,b", "SELECT a, b", "SELECT", ""},
	{"mysql", "UPDATE", "UPDATE t SET a=NULL, b=true WHERE c IS NOT NULL AND d IS TRUE", "UPDATE t SET a = ?, b = ? WHERE c IS NOT NULL AND d IS TRUE", "UPDATE", "t"},
	{"mysql", "CREATE", "CREATE TABLE IF NOT EXISTS shop.t (a INT NOT NULL DEFAULT 5, b TEXT NULL DEFAULT NULL)",
		"CREATE TABLE IF NOT EXISTS shop.t (a INT NOT NULL DEFAULT ?, b TEXT NULL DEFAULT NULL)", "CREATE", "shop.t"},

	// Lists.
	{"mysql", "SELECT", "SELECT * FROM t WHERE a IN (1) AND b NOT IN (1, 'b', NULL) AND (c, d) IN ((1,2),(3,4))",
		"SELECT * FROM t WHERE a IN (?) AND b NOT IN (?) AND (c, d) IN ((?, ?))", "SELECT", "t"},
	{"mysql", "INSERT", "insert into users (name, age) values ('a', 1), ('b', NULL),('c',-3) on duplicate key update age=VALUES(age), n=n+1",
		"INSERT INTO users (name, age) VALUES (?, ?) ON DUPLICATE KEY UPDATE age = VALUES (age), n = n + ?", "INSERT", "users"},
	{"mysql", "INSERT", "INSERT t VALUES (1,now()),(2,now()),(3,4)", "INSERT t VALUES (?, now()), (?, ?)", "INSERT", "t"},
	{"mysql", "INSERT", "INSERT INTO t VALUES ROW(1,2), ROW(3,4)", "INSERT INTO t VALUES ROW (?, ?)", "INSERT", "t"},
	{"postgresql", "INSERT", `INSERT INTO s."T" VALUES ($1,$2),($3,$4) RETURNING id`, `INSERT INTO s."T" VALUES (?, ?) RETURNING id`, "INSERT", "s.T"},
	{"postgresql", "SELECT", "SELECT * FROM (VALUES (1,2),(3,4)) AS v(a,b)", "SELECT * FROM (VALUES (?, ?)) AS v(a, b)", "SELECT", ""},
	{"mysql", "SELECT", "SELECT * FROM t WHERE a IN (SELECT b FROM u WHERE c IN (1,2))", "SELECT * FROM t WHERE a IN (SELECT b FROM u WHERE c IN (?))", "SELECT", "t"},

	// Comments and hints.
	{"mysql", "SELECT", "/* app */ SELECT /* x */ 1 # y\n+ 2 -- z", "SELECT ? + ?", "SELECT", ""},
	{"mysql", "SELECT", "SELECT /*!40001 SQL_NO_CACHE */ * FROM `a`.`b` /*! USE INDEX (x) */", "SELECT SQL_NO_CACHE * FROM `a`.`b` USE INDEX (x)", "SELECT", "a.b"},
	{"postgresql", "SELECT", "SELECT 1 /* a /* b */ c */ + 2, a # 3", "SELECT ? + ?, a # ?", "SELECT", ""},
	{"mysql", "SELECT", "SELECT 1 /* a /* b */ + 2", "SELECT ? + ?", "SELECT", ""},
	{"mysql", "SELECT", "SELECT /*+ MAX_EXECUTION_TIME(1000) */ a FROM t", "SELECT a FROM t", "SELECT", "t"},

	// Operations and tables.
	{"postgresql", "WITH", "WITH x AS (SELECT id FROM shop.orders) INSERT INTO log SELECT * FROM x", "WITH x AS (SELECT id FROM shop.orders) INSERT INTO log SELECT * FROM x", "INSERT", "shop.orders"},
	{"mysql", "SELECT", "(SELECT a FROM t) UNION ALL (SELECT b FROM u)", "(SELECT a FROM t) UNION ALL (SELECT b FROM u)", "SELECT", "t"},
	{"postgresql", "SELECT", "SELECT EXTRACT(year FROM ts), trim(both from x), a IS DISTINCT FROM b FROM t FOR UPDATE", "SELECT EXTRACT(year FROM ts), trim(both FROM x), a IS DISTINCT FROM b FROM t FOR UPDATE", "SELECT", "t"},
	{"postgresql", "SELECT", "SELECT * FROM generate_series(1, 10) g JOIN only t ON true", "SELECT * FROM generate_series(?, ?) g JOIN ONLY t ON ?", "SELECT", "t"},
	{"mysql", "SELECT", "SELECT * FROM (SELECT * FROM deep) z", "SELECT * FROM (SELECT * FROM deep) z", "SELECT", "deep"},
	{"mysql", "DELETE", "DELETE LOW_PRIORITY FROM t USING t, u", "DELETE LOW_PRIORITY FROM t USING t, u", "DELETE", "t"},
	{"mysql", "UPDATE", "UPDATE LOW_PRIORITY IGNORE shop.t SET a=1", "UPDATE LOW_PRIORITY IGNORE shop.t SET a = ?", "UPDATE", "shop.t"},
	{"mysql", "REPLACE", "REPLACE INTO t SET a=1", "REPLACE INTO t SET a = ?", "REPLACE", "t"},
	{"postgresql", "CREATE", "CREATE INDEX CONCURRENTLY i ON s.t (a)", "CREATE INDEX CONCURRENTLY i ON s.t(a)", "CREATE", "s.t"},
	{"postgresql", "COPY", "COPY t (a, b) FROM STDIN", "COPY t(a, b) FROM STDIN", "COPY", "t"},
	{"postgresql", "TRUNCATE", "truncate t", "TRUNCATE t", "TRUNCATE", "t"},
	{"mysql", "", "( . 2b", "(. 2b", "", ""},
	{"mysql", "BEGIN", "begin", "BEGIN", "BEGIN", ""},
	{"mysql", "SET", "SET NAMES utf8mb4; SET autocommit=1;;", "SET NAMES utf8mb4; SET autocommit = ?", "SET", ""},
	{"mysql", "CALL", "CALL shop.total(5, 'x')", "CALL shop.total(?, ?)", "CALL", ""},
	{"mysql", "EXPLAIN", "EXPLAIN SELECT * FROM t", "EXPLAIN SELECT * FROM t", "EXPLAIN", "t"},
	{"mysql", "SELECT", "SELECT a INTO OUTFILE '/tmp/x' FROM t", "SELECT a INTO OUTFILE ? FROM t", "SELECT", "t"},
	{"mysql", "SELECT", "SELECT a INTO @x FROM t", "SELECT a INTO @x FROM t", "SELECT", "t"},

	// Commands of the protocols themselves.
	{"mysql", "PREPARE", "SELECT * FROM t WHERE a=?", "PREPARE SELECT * FROM t WHERE a = ?", "PREPARE", "t"},
	{"mysql", "LOGIN", "bob@shop", "LOGIN", "LOGIN", ""},
	{"mysql", "PING", "", "PING", "PING", ""},
	{"postgresql", "CANCEL", "4711", "CANCEL ?", "CANCEL", ""},

	{"redis", "GET", "GET user:42:name", "GET user:?:name", "GET", "user"},
	{"redis", "GET", "get user:42", "GET user:?", "GET", "user"},
	{"redis", "MGET", "MGET user:1 user:2 cart:3", "MGET user:? cart:?", "MGET", "user"},
	{"redis", "MSET", "MSET user:1 a user:2 b", "MSET user:? ?", "MSET", "user"},
	{"redis", "SET", `SET session:6f1ed002-ab5d-4a2a-9b1b-1a2b3c4d5e6f "hello world" EX 60`, "SET session:? ?", "SET", "session"},
	{"redis", "SET", `SET "a b" x`, "SET a?b ?", "SET", "a?b"},
	{"redis", "EVALSHA", "EVALSHA C0FFEE0000000000000000000000000000000000 2 a:1 b:2 x y", "EVALSHA #c0ffee 2 a:? b:? ?", "EVALSHA", "a"},
	{"redis", "EVALSHA", "EVALSHA nothing 0", "EVALSHA ? ?", "EVALSHA", ""},
	{"redis", "EVAL", `EVAL "return redis.call('get', KEYS[1])" 1 user:7`, "EVAL #4e6d8f 1 user:?", "EVAL", "user"},
	{"redis", "EVAL", `EVAL "return \"\x00\xc3\n\\\"" 0 x`, "EVAL #662432 ? ?", "EVAL", ""},
	{"redis", "EVAL", `EVAL "return 1"…[900] 0`, "EVAL #d18ff3 ?", "EVAL", ""},
	{"redis", "EVAL", "EVAL x 0", "EVAL #11f6ad ?", "EVAL", ""},
	{"redis", "EVAL", "EVAL ? 0", "EVAL ? ?", "EVAL", ""},
	{"redis", "EVAL", "EVAL #4f2a1c ?", "EVAL #4f2a1c ?", "EVAL", ""},
	{"redis", "GET", "GET session:correcthorsebattery", "GET session:?", "GET", "session"},
	{"redis", "GET", "GET app:PHPREDIS_SESSION:al-Top.blue:x2", "GET app:PHPREDIS_SESSION:?:x?", "GET", "app"},
	{"redis", "GET", "GET token:…[redacted 17 #97f7]:a", "GET token:?:a", "GET", "token"},
	{"redis", "GET", "GET session:mytoken:list", "GET session:?:list", "GET", "session"},
	{"redis", "GET", "GET {otp:correct-horse}:x", "GET {otp:?}:x", "GET", "otp"},
	{"redis", "SET", "SET password.hunterhunter x", "SET password.? ?", "SET", "password"},
	{"redis", "GET", "GET sessile:ab", "GET sessile:ab", "GET", "sessile"},
	{"redis", "GET", "GET session:", "GET session:", "GET", "session"},
	{"redis", "XREAD", "XREAD COUNT 2 STREAMS s:1 t:2 0 0", "XREAD ? STREAMS s:? t:? ? ?", "XREAD", "s"},
	{"redis", "CLIENT LIST", "CLIENT LIST TYPE normal", "CLIENT LIST ?", "CLIENT LIST", ""},
	{"redis", "OBJECT ENCODING", "object encoding k:1", "OBJECT ENCODING k:?", "OBJECT ENCODING", "k"},
	{"redis", "BLPOP", "BLPOP q:1 q:2 0", "BLPOP q:? ?", "BLPOP", "q"},
	{"redis", "MESSAGE", "news.sport", "MESSAGE news.sport", "MESSAGE", "news"},
	{"redis", "HSET", "HSET {user:1000}.cart a 1 b 2", "HSET {user:?}.cart ?", "HSET", "user"},
	{"redis", "COPY", "COPY 1 2 REPLACE", "COPY ? ? ?", "COPY", "?"},
	{"redis", "PING", "PING", "PING", "PING", ""},
	{"redis", "AUTH", "AUTH …[redacted]", "AUTH ?", "AUTH", ""},
	{"redis", "GET", "GET c0ffee42aa:10.0.0.1:2024-05-06:v2:abcdefghijklmnop7", "GET ?:?:?:v?:?", "GET", "?:?:?:v?:?"},

	{"memcached", "get", "get session:1 session:2", "get session:?", "get", "session"},
	{"memcached", "get", "session:1", "get session:?", "get", "session"},
	{"memcached", "set", "set session:42 0 3600 2046", "set session:? ?", "set", "session"},
	{"memcached", "gat", "gat 60 a:1 a:2", "gat ? a:?", "gat", "a"},
	{"memcached", "mg", "mg token:TopSecretTokenAbc v k", "mg token:? ?", "mg", "token"},
	{"memcached", "stats", "stats items", "stats ?", "stats", ""},

	{"mongodb", "find", `shop.users.find({"age": {"$gt": 30}, "tags": {"$in": ["a", "b"]}, "_id": ObjectId("abc"), name: 'x'})`,
		`shop.users.find({"age": {"$gt": ?}, "tags": {"$in": [?]}, "_id": ?, name: ?})`, "find", "users"},
	{"mongodb", "insert", `shop.fs.files.insert({"documents":[{"a":1,"b":{"$oid":"x"}},{"a":3,"b":{"$oid":"y"}}],"ordered":true})`,
		`shop.fs.files.insert({"documents": [{"a": ?, "b": {"$oid": ?}}], "ordered": ?})`, "insert", "fs.files"},
	{"mongodb", "hello", "", "hello", "hello", ""},

	{"dns", "A", "example.com", "", "", ""},
	{"http", "GET", "/x?a=1", "", "", ""},
}

func TestStatements(t *testing.T) {
	a := New()
	for _, c := range statements {
		for range 2 { // the second time it is known
			got := a.OfText(c.protocol, []byte(c.method), []byte(c.text), false)
			if want := (exchange.Statement{Template: c.template, Operation: c.operation, Collection: c.collection}); got != want {
				t.Errorf("%s\n got %q\nwant %q", c.text, got, want)
			}
		}
	}
}

// What stands between tokens, and the case of keywords, doesn't matter.
func TestSameTemplate(t *testing.T) {
	a := New()
	for _, same := range [][]string{
		{"SELECT a FROM t WHERE b=1 AND c IN (1,2)", "select  a\n\tfrom t where b = 'x' and c in(3)--", "SELECT/**/a FROM t WHERE b=-.5e1 And c In ( NULL , ? );"},
		{"INSERT INTO t(a) VALUES(1)", "insert into t (a) values (1), (2),(3)"},
		{"SELECT f(1)", "SELECT f( 'x' ) ;"},
	} {
		for _, text := range same[1:] {
			one, two := a.OfText("postgresql", nil, []byte(same[0]), false), a.OfText("postgresql", nil, []byte(text), false)
			if one != two {
				t.Errorf("%s: %q\n%s: %q", same[0], one.Template, text, two.Template)
			}
		}
	}
}

// Of a text that was cut, a list that was cut doesn't make another template.
func TestCutText(t *testing.T) {
	a := New()
	for _, c := range []struct{ protocol, text, template string }{
		{"mysql", "INSERT INTO t VALUES (1,2),(3,4),(5", "INSERT INTO t VALUES (?, ?) …"},
		{"mysql", "INSERT INTO t VALUES (1,2),(3", "INSERT INTO t VALUES (?, ?) …"},
		{"mysql", "SELECT * FROM t WHERE a IN (1,2,'ab", "SELECT * FROM t WHERE a IN (? …"},
		{"mysql", "SELECT * FROM t WHERE a = 'ab", "SELECT * FROM t WHERE a = ? …"},
		{"redis", "SET k:1 abc", "SET k:? ?"},
	} {
		if got := a.OfText(c.protocol, nil, []byte(c.text), true).Template; got != c.template {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.template)
		}
	}
}

func TestLongTemplates(t *testing.T) {
	a := New()
	var all []string
	for _, last := range []string{"x", "y"} {
		var b strings.Builder
		b.WriteString("SELECT a")
		for i := range 300 {
			fmt.Fprintf(&b, ", column%d", i)
		}
		b.WriteString(" FROM " + last)
		s := a.OfText("mysql", nil, []byte(b.String()), false)
		if len(s.Template) > MaxTemplate || len(s.Template) < MaxTemplate-40 || !strings.HasPrefix(s.Template, "SELECT a, column0,") {
			t.Errorf("%d bytes: %s", len(s.Template), s.Template)
		}
		if s.Collection != last {
			t.Errorf("the table is %q", s.Collection)
		}
		all = append(all, s.Template)
	}
	if all[0] == all[1] {
		t.Error("different long statements have the same template")
	}
	// One that was cut stays as it is.
	cut := "VALUES (a), (a)…[0123456789abcdef]"
	if got := a.OfText("mysql", nil, []byte(cut), false).Template; got != cut {
		t.Errorf("%s became %s", cut, got)
	}
	key := a.OfText("redis", nil, []byte("GET "+strings.Repeat("ab:", 100)), false).Template
	if len(key) > len("GET ")+maxPattern+len("…") || !strings.HasSuffix(key, "…") {
		t.Errorf("%s", key)
	}
	// Behind MaxText a text is cut.
	same := strings.Repeat("a ", MaxText/2)
	if x, y := a.OfText("mysql", nil, []byte(same+"x"), false), a.OfText("mysql", nil, []byte(same+"y"), false); x != y {
		t.Error("what is behind MaxText counts")
	}
	long := "SELECT " + strings.Repeat("a,", MaxText) + "'secret'"
	if s := a.OfText("mysql", nil, []byte(long), false); strings.Contains(s.Template, "secret") || len(s.Template) > MaxTemplate {
		t.Errorf("%d bytes: %s", len(s.Template), s.Template)
	}
}

func TestOf(t *testing.T) {
	a := New()
	x := &exchange.Exchange{Protocol: "redis", Family: exchange.Database, HasRequest: true}
	x.Request.Raw = []byte("GET user:42")
	x.Request.Method, x.Request.Target = proto.Span{Len: 3}, proto.Span{Len: 11}
	if s := a.Of(x); s.Template != "GET user:?" {
		t.Errorf("%+v", s)
	}
	push := &exchange.Exchange{Protocol: "redis", Family: exchange.Database, HasResponse: true}
	push.Response.Raw, push.Response.OneWay = []byte("MESSAGEnews:7"), true
	push.Response.Method, push.Response.Target = proto.Span{Len: 7}, proto.Span{Off: 7, Len: 6}
	if s := a.Of(push); s.Template != "MESSAGE news:?" || s.Operation != "MESSAGE" || s.Collection != "news" {
		t.Errorf("%+v", s)
	}
	if push.Response.OneWay = false; a.Of(push) != (exchange.Statement{}) {
		t.Error("an answer without its request has a statement")
	}
	x.Request.Anomalies.Set(proto.StatementCut)
	x.Protocol = "mysql"
	if s := a.Of(x); s.Template != "GET user : ? …" {
		t.Errorf("%+v", s)
	}
	x.Family = exchange.HTTP
	if a.Of(x) != (exchange.Statement{}) {
		t.Error("a request of HTTP has a statement")
	}
}

// The memory for templates is bounded, and those that are used stay.
func TestMaxTemplates(t *testing.T) {
	a := New()
	for i := range 3 * MaxTemplates {
		a.OfText("mysql", nil, fmt.Appendf(nil, "SELECT * FROM t%d", i), false)
		a.OfText("mysql", nil, []byte("SELECT 1"), false)
		if n := len(a.known) + len(a.earlier); n > MaxTemplates {
			t.Fatalf("%d templates are remembered", n)
		}
	}
}

func TestAllocations(t *testing.T) {
	a := New()
	for _, c := range statements {
		method, text := []byte(c.method), []byte(c.text)
		if n := testing.AllocsPerRun(10, func() { a.OfText(c.protocol, method, text, false) }); n > 0 {
			t.Errorf("%s: %v allocations", c.text, n)
		}
	}
	for _, text := range []string{strings.Repeat("x", 1000), "CLIENT " + strings.Repeat("x", 1000)} {
		text := []byte(text)
		if n := testing.AllocsPerRun(10, func() { a.OfText("redis", nil, text, false) }); n > 0 {
			t.Errorf("%v allocations for what is no command", n)
		}
	}
}

// check looks at what holds for any text.
func check(t *testing.T, a *Analyzer, protocol string, method, text []byte, cut bool) {
	t.Helper()
	s := a.OfText(protocol, method, text, cut)
	if len(s.Template) > MaxTemplate || len(s.Operation) > MaxName || len(s.Collection) > MaxName {
		t.Fatalf("too long: %q", s)
	}
	if !utf8.ValidString(s.Template) || !utf8.ValidString(s.Operation) || !utf8.ValidString(s.Collection) {
		t.Fatalf("not UTF-8: %q", s)
	}
	if i := strings.IndexFunc(s.Template, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		t.Fatalf("a control character: %q", s.Template)
	}
	// Where the keys are of a command that was cut can't be told again.
	words := protocol == "redis" || protocol == "memcached" || protocol == "mongodb"
	_, mark := trimMark([]byte(s.Template))
	if again := a.OfText(protocol, method, []byte(s.Template), false); again.Template != s.Template && !(words && mark != nil) {
		t.Fatalf("%s %q %q:\nof   %q\ncomes %q", protocol, method, text, s.Template, again.Template)
	}
	at := 0
	for _, l := range a.Literals(nil, protocol, method, text) {
		if l.From < at || l.TextFrom < l.From || l.TextTo < l.TextFrom || l.To < l.TextTo || l.To > len(text) {
			t.Fatalf("%q: literal %+v behind %d", text, l, at)
		}
		at = l.To
	}
}

// protocols are those with a language.
var protocols = []string{"mysql", "postgresql", "redis", "memcached", "mongodb"}

func TestCases(t *testing.T) {
	a := New()
	for _, c := range statements {
		for _, p := range protocols {
			for n := range len(c.text) + 1 {
				check(t, a, p, []byte(c.method), []byte(c.text[:n]), n%2 == 1)
				check(t, a, p, nil, []byte(c.text[n:]), n%2 == 1)
			}
		}
	}
}

// Invariant: whatever the text, the template is one line of valid UTF-8 within its limit, the template of a template is
// itself (but of a command that was cut), and literals lie within the text, in order.
func FuzzStatement(f *testing.F) {
	for i, c := range statements {
		f.Add(i, c.method, c.text, i%2 == 1)
	}
	f.Fuzz(func(t *testing.T, n int, method, text string, cut bool) {
		p := protocols[uint(n)%uint(len(protocols))]
		check(t, New(), p, []byte(method), []byte(text), cut)
		check(t, New(), p, nil, []byte(strings.Repeat(text, 1+2*MaxTemplate/(len(text)+1))), cut)
	})
}

// writer of statements with literals for tests; those of one seed differ in their literals alone.
type author struct {
	shape, data *rand.Rand
	protocol    string
	secrets     []string
}

func (w *author) any(s ...string) string { return s[w.shape.IntN(len(s))] }

// literal returns a literal, with a secret in it where it has room for one.
func (w *author) literal() string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	b := []byte("Zq9")
	for range 8 + w.data.IntN(9) {
		b = append(b, letters[w.data.IntN(len(letters))])
	}
	secret := string(b)
	digits := fmt.Sprint(1e9 + w.data.IntN(1e9))
	filler := []string{"", "a b", "(", "?", "--", "/*", "é", ",", ";", "$1", "`", "...", "%"}[w.data.IntN(13)]
	quotes := []string{"", "''"}[w.data.IntN(2)]
	n := w.data.IntN(12)
	w.secrets = append(w.secrets, secret)
	switch {
	case n == 0 && w.protocol == "mysql":
		return `"` + filler + `""` + `\"` + secret + `"`
	case n == 1 && w.protocol == "mysql":
		return "'" + filler + `\'` + secret + `\\'`
	case n == 1:
		return "'" + filler + secret + `\'`
	case n == 2 && w.protocol == "postgresql":
		return "E'" + filler + `\'` + secret + "'"
	case n == 3 && w.protocol == "postgresql":
		return "$t$'" + filler + secret + "$$ t$t$"
	case n == 4:
		return "n'" + secret + quotes + "'"
	case n == 5:
		return "'" + quotes + filler + "'  '" + secret + "'"
	}
	w.secrets[len(w.secrets)-1] = digits
	switch n {
	case 6:
		return "- " + digits
	case 7:
		return "+" + digits + ".5e-3"
	case 8:
		return "0x" + digits
	case 9:
		return digits + "."
	case 10:
		return "." + digits
	}
	w.secrets = w.secrets[:len(w.secrets)-1]
	return "NULL"
}

// literals are one or more, as many as it happens.
func (w *author) list() string {
	all := []string{w.literal()}
	for range w.data.IntN(4) {
		all = append(all, w.literal())
	}
	return strings.Join(all, []string{",", " , "}[w.data.IntN(2)])
}

func (w *author) condition(depth int) string {
	name := w.any("a", "t.b", "`c`", "password")
	switch n := w.shape.IntN(7); {
	case n == 0:
		return name + " IN (" + w.list() + ")"
	case n == 1:
		return name + " BETWEEN " + w.literal() + " AND " + w.literal()
	case n == 2 && depth < 3:
		return "(" + w.condition(depth+1) + w.any(" AND ", " or ") + w.condition(depth+1) + ")"
	case n == 3 && depth < 3:
		return name + " IN (" + w.query(depth+1) + ")"
	case n == 4:
		return "f(" + name + ", " + w.literal() + ") > " + w.literal()
	case n == 5:
		return w.literal() + " = " + name
	}
	return name + w.any("=", " <> ", " like ", ">=", " - a = ") + w.literal()
}

func (w *author) query(depth int) string {
	q := "SELECT a, " + w.literal() + w.any(" ", " AS x ", "\n") + "FROM t"
	if w.shape.IntN(4) > 0 {
		q += " WHERE " + w.condition(depth)
	}
	return q
}

func (w *author) statement() string {
	switch w.shape.IntN(4) {
	case 0:
		text := "INSERT INTO t (a, b) VALUES (" + w.literal() + "," + w.literal() + ")"
		for range w.data.IntN(3) {
			text += ", (" + w.literal() + "," + w.literal() + ")"
		}
		return text
	case 1:
		return "UPDATE t SET a = " + w.literal() + ", b=" + w.literal() + " WHERE " + w.condition(0)
	case 2:
		return "DELETE FROM t WHERE " + w.condition(0) + w.any("", " LIMIT 5")
	}
	return w.query(0)
}

// What differs in literals alone has the same template, which has nothing of them; and what Literals finds is all of them.
func TestPlanted(t *testing.T) {
	a := New()
	for seed := range uint64(3000) {
		protocol := protocols[seed%2]
		var template string
		for data := range uint64(3) {
			w := author{shape: rand.New(rand.NewPCG(seed, 1)), data: rand.New(rand.NewPCG(seed, data)), protocol: protocol}
			text := w.statement()
			s := a.OfText(protocol, nil, []byte(text), false)
			if template == "" {
				template = s.Template
			}
			if s.Template != template {
				t.Fatalf("seed %d: %s\n%s\nbut\n%s", seed, text, s.Template, template)
			}
			hidden, from := "", 0
			for _, l := range a.Literals(nil, protocol, nil, []byte(text)) {
				hidden += text[from:l.From] + "?"
				from = l.To
			}
			hidden += text[from:]
			for _, secret := range w.secrets {
				if strings.Contains(s.Template, secret) {
					t.Fatalf("seed %d: %s\n%s is in\n%s", seed, text, secret, s.Template)
				}
				if strings.Contains(hidden, secret) {
					t.Fatalf("seed %d: %s\n%s is in\n%s", seed, text, secret, hidden)
				}
			}
			if again := a.OfText(protocol, nil, []byte(hidden), false); again != s {
				t.Fatalf("seed %d: %s\nof   %s\ncomes %s\ninstead of %s", seed, text, hidden, again.Template, s.Template)
			}
		}
	}
}

// names are what literals are called, and which are credentials.
func TestLiterals(t *testing.T) {
	a := New()
	for _, c := range []struct{ protocol, method, text, want string }{
		{"mysql", "", "SELECT * FROM t WHERE a=5 AND password LIKE 'x' -- hi", "5=a 'x'=password #hi"},
		{"mysql", "", "INSERT INTO u (name, password) VALUES ('a','b'),(?, md5('c'))", "'a'=name 'b'=password $1=name 'c'=password"},
		{"mysql", "", "UPDATE u SET password = 'x', b = -5 WHERE id = 7", "'x'=password! -5=b 7=id"},
		{"mysql", "", "CREATE USER 'bob'@'%' IDENTIFIED WITH p AS 'x'", "'bob'=USER '%'=USER 'x'=p!"},
		{"mysql", "", "SET PASSWORD FOR 'bob'@'h' = 'x'", "'bob'! 'h'! 'x'!"},
		{"mysql", "", "SELECT AES_ENCRYPT(a, 'key'), f('x')", "'key'=AES_ENCRYPT! 'x'=f"},
		{"postgresql", "", "ALTER ROLE bob WITH PASSWORD 'x' VALID UNTIL '2030-01-01'", "'x'=PASSWORD '2030-01-01'=UNTIL"},
		{"postgresql", "", "SELECT $2, $1 FROM t WHERE token = ANY($3) AND a = $$x$$", "$2 $1 $3=token $$x$$=a"},
		{"postgresql", "", "CREATE SUBSCRIPTION s CONNECTION 'host=h password=x' PUBLICATION p", "'host=h password=x'=CONNECTION!"},
		{"redis", "AUTH", "AUTH bob x", "bob! x=bob!"},
		{"redis", "AUTH", "AUTH …[redacted]", ""},
		{"redis", "HELLO", "HELLO 3 AUTH bob x SETNAME y", "3 bob=AUTH! x=bob! SETNAME=x y=SETNAME"},
		{"redis", "CONFIG SET", "CONFIG SET requirepass x", "x=requirepass!"},
		{"redis", "CONFIG SET", "CONFIG SET maxmemory 100", "100=maxmemory"},
		{"redis", "ACL SETUSER", "ACL SETUSER bob on >x ~*", "on >x=on! ~*=>x"},
		{"redis", "MIGRATE", "MIGRATE h 6379 k 0 1000 AUTH2 u x", "h 6379=h 0 1000=0 u=AUTH2! x=u!"},
		{"redis", "GETSET", "GETSET session:…[redacted 16 #0b6f] ?", ""},
		{"mysql", "", "SELECT - /* c */ 5", "#c 5"},
		{"redis", "SET", `SET k "a b" EX 60 ?`, `"a b"=k 60=EX`},
		{"redis", "HSET", "HSET user:1 password x NX y", "password x=password y=NX"},
		{"redis", "SET", "SET user:1:password x", "x=password"},
		{"redis", "SETEX", "SETEX a:token 60 x", "60 x=token"},
		{"redis", "MSET", "MSET a:token x b y", "x=token y=b"},
		{"redis", "EXPIRE", "EXPIRE a:token 60", "60"},
		{"redis", "CONFIG SET", "CONFIG SET primaryauth x", "x=primaryauth!"},
		{"redis", "ACL DRYRUN", "ACL DRYRUN bob AUTH x", "bob AUTH=bob x=AUTH!"},
		{"redis", "MODULE LOADEX", "MODULE LOADEX /x.so CONFIG db.password x", "/x.so CONFIG=/x.so! db.password=CONFIG! x=db.password!"},
		{"memcached", "set", "set k 0 60 5", ""},
		{"mongodb", "find", `s.u.find({"name": "x", "n": {"$gt": 5}, password: {"$eq": 'y'}, "a": [1, ?]})`, `"x"=name 5=n 'y'=password 1=a`},
		{"http", "", "SELECT 5", ""},
	} {
		var got []string
		for _, l := range a.Literals(nil, c.protocol, []byte(c.method), []byte(c.text)) {
			one := c.text[l.From:l.To]
			switch {
			case l.Comment:
				one = "#" + one
			case l.Parameter > 0:
				one = fmt.Sprintf("$%d", l.Parameter)
			}
			if l.Name != nil {
				one += "=" + string(l.Name)
			}
			if l.Secret {
				one += "!"
			}
			got = append(got, one)
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

func BenchmarkSelect(b *testing.B) {
	text := []byte("SELECT o.id, o.total, c.name, c.email FROM shop.orders o JOIN customers c ON c.id = o.customer_id WHERE o.status = 'paid' AND o.created > '2024-05-06 10:00:00' AND c.country IN ('DE', 'FR', 'IT') LIMIT 50")
	benchmark(b, "mysql", "SELECT", text)
}

func BenchmarkInsert1000Rows(b *testing.B) {
	text := []byte("INSERT INTO t (a, b, c) VALUES " + strings.TrimSuffix(strings.Repeat("(1, 'abcdefgh', 2.5), ", 1000), ", "))
	benchmark(b, "mysql", "INSERT", text)
}

func BenchmarkGet(b *testing.B) { benchmark(b, "redis", "GET", []byte("GET user:42:name")) }

func benchmark(b *testing.B, protocol, method string, text []byte) {
	a, verb := New(), []byte(method)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		a.OfText(protocol, verb, text, false)
	}
}
