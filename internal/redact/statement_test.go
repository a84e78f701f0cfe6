package redact

import (
	"bytes"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

// database makes an exchange with a database, of a request with its parameters and what the server says of an error.
func database(protocol, method, text string, parameters []string, said string) *exchange.Exchange {
	x := outputtest.Exchange("", "")
	x.Protocol, x.Family, x.HasRequest, x.HasResponse = protocol, exchange.Database, true, true
	m := &x.Request
	m.Raw = []byte(method + " beside all spans: hunter2")
	m.Method.Len = uint32(len(method))
	m.Target = proto.Span{Off: uint32(len(m.Raw)), Len: uint32(len(text))}
	m.Raw = append(m.Raw, text...)
	for _, p := range parameters {
		m.Say("parameter", []byte(p))
	}
	m.Say("user", []byte("bob"))
	if said != "" {
		x.Response.Say(proto.FactError, []byte("1062"))
		x.Response.Say(proto.FactErrorText, []byte(said))
	}
	return x
}

func target(m *proto.Message) string { return plain(m.Bytes(m.Target)) }

var hiddenStatements = []struct{ protocol, method, text, hidden, literals string }{
	{"mysql", "SELECT", "SELECT * FROM u WHERE a = 'bob' AND b IN (1, -2) AND c = ? -- hi",
		"SELECT * FROM u WHERE a = ? AND b IN (?, ?) AND c = ? -- ?", "SELECT * FROM u WHERE a = 'bob' AND b IN (1, -2) AND c = ? -- hi"},
	{"mysql", "SELECT", "SELECT 1 #\f hi", "SELECT ? #\f ?", "SELECT 1 #\f hi"},
	{"mysql", "INSERT", "INSERT INTO u (name, password) VALUES ('bob', 'hunter2'), ('eve', '')",
		"INSERT INTO u (name, password) VALUES (?, '…[redacted 7]'), (?, ?)", "INSERT INTO u (name, password) VALUES ('bob', '…[redacted 7]'), ('eve', '')"},
	{"mysql", "UPDATE", "UPDATE u SET password=12345, a=\"x\"", "UPDATE u SET password='…[redacted 5]', a=?", "UPDATE u SET password='…[redacted 5]', a=\"x\""},
	{"mysql", "SET", "SET PASSWORD FOR 'bob' = 'a' 'b'", "SET PASSWORD FOR '…[redacted 3]' = '…[redacted 5]'", "SET PASSWORD FOR '…[redacted 3]' = '…[redacted 5]'"},
	{"mysql", "CREATE", "CREATE USER bob IDENTIFIED BY 'hunter2", "CREATE USER bob IDENTIFIED BY '…[redacted 8]'", "CREATE USER bob IDENTIFIED BY '…[redacted 8]'"},
	{"postgresql", "SELECT", `SELECT "Col" FROM t WHERE a = $1 AND j = '{"token":"abc","b":1}'`,
		`SELECT "Col" FROM t WHERE a = $1 AND j = ?`, `SELECT "Col" FROM t WHERE a = $1 AND j = '{"token":"…[redacted 3]","b":1}'`},
	{"postgresql", "ALTER", "ALTER ROLE bob PASSWORD E'x'", "ALTER ROLE bob PASSWORD E'…[redacted 1]'", "ALTER ROLE bob PASSWORD E'…[redacted 1]'"},
	{"mysql", "INSERT", "insert into n values ('card','4111 1111 1111 1111', 4111111111111111)", "insert into n values (?,?, ?)",
		"insert into n values ('card','…[redacted 19]', …[redacted 16])"},
	{"redis", "SET", `SET n "pay 4111 1111 1111 1111 now"`, "SET n ?", `SET n "pay …[redacted 19] now"`},
	{"redis", "SET", `SET user:42 "hello world" EX 60`, "SET user:42 ? EX ?", `SET user:42 "hello world" EX 60`},
	{"redis", "SET", "SET session:0123456789abcdef x", "SET session:…[redacted 16] ?", "SET session:…[redacted 16] x"},
	{"redis", "AUTH", "AUTH bob hunter2", `AUTH "…[redacted 3]" "…[redacted 7]"`, `AUTH "…[redacted 3]" "…[redacted 7]"`},
	{"redis", "AUTH", "AUTH …[redacted]", "AUTH …[redacted]", "AUTH …[redacted]"},
	{"redis", "CONFIG SET", "CONFIG SET requirepass hunter2", `CONFIG SET requirepass "…[redacted 7]"`, `CONFIG SET requirepass "…[redacted 7]"`},
	{"memcached", "set", "set session:0123456789abcdef 0 60 5", "set session:…[redacted 16] 0 60 5", "set session:…[redacted 16] 0 60 5"},
	{"mongodb", "find", `s.u.find({"name":"bob","password":"x","n":{"$gt":5},"t":ObjectId("6")})`,
		`s.u.find({"name":?,"password":"…[redacted 1]","n":{"$gt":?},"t":?})`, `s.u.find({"name":"bob","password":"…[redacted 1]","n":{"$gt":5},"t":ObjectId("6")})`},
}

func withLiterals(t *testing.T) *Redactor {
	t.Helper()
	r, err := NewWithRules([]byte("key of the tests"), Rules{Literals: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStatements(t *testing.T) {
	for _, c := range hiddenStatements {
		for _, s := range []struct {
			r    *Redactor
			want string
		}{{redactor(), c.hidden}, {withLiterals(t), c.literals}} {
			for _, hide := range []func(*exchange.Exchange){s.r.Exchange, s.r.Target} {
				x := database(c.protocol, c.method, c.text, nil, "")
				hide(x)
				if got := target(&x.Request); got != s.want {
					t.Errorf("%s\n got %s\nwant %s", c.text, got, s.want)
				}
			}
			x := database(c.protocol, c.method, c.text, nil, "")
			s.r.Exchange(x)
			if bytes.Contains(x.Request.Raw, []byte("hunter2")) {
				t.Errorf("%s: the secret is in %q", c.text, x.Request.Raw)
			}
			if m := &x.Request; string(m.Bytes(m.Method)) != c.method || string(m.FactText("user")) != "bob" {
				t.Errorf("%s: method and user became %q and %q", c.text, m.Bytes(m.Method), m.FactText("user"))
			}
			once := string(x.Request.Bytes(x.Request.Target))
			s.r.Exchange(x)
			x.Secrets = nil
			s.r.Exchange(x)
			if again := string(x.Request.Bytes(x.Request.Target)); again != once || len(x.Secrets) > 0 {
				t.Errorf("%s: redacting again makes\n%s of\n%s, and finds %q", c.text, again, once, x.Secrets)
			}
		}
	}
}

// Parameters are literals; those of secret columns are credentials.
func TestParameters(t *testing.T) {
	for _, c := range []struct {
		protocol, text, hidden, literals string
		parameters                       []string
	}{
		{"postgresql", "UPDATE u SET password = $2 WHERE id = $1", "?|…[redacted 7]", "5|…[redacted 7]", []string{"5", "hunter2"}},
		{"mysql", "INSERT INTO u (id, api_key, note) VALUES (?, ?, ?)", "?|…[redacted 3]|?", `7|…[redacted 3]|{"token":"…[redacted 1]"}`, []string{"7", "abc", `{"token":"x"}`}},
	} {
		for _, s := range []struct {
			r    *Redactor
			want string
		}{{redactor(), c.hidden}, {withLiterals(t), c.literals}} {
			x := database(c.protocol, "X", c.text, c.parameters, "")
			for range 2 {
				s.r.Exchange(x)
				var got []string
				for i := range x.Request.Facts {
					if f := &x.Request.Facts[i]; f.Name == "parameter" {
						got = append(got, plain(x.Request.Bytes(f.Value)))
					}
				}
				if all := strings.Join(got, "|"); all != s.want {
					t.Errorf("%s\n got %s\nwant %s", c.text, all, s.want)
				}
				x.Secrets = nil
			}
			if bytes.Contains(x.Request.Raw, []byte("hunter2")) {
				t.Errorf("the secret is in %q", x.Request.Raw)
			}
		}
	}
}

var serverTexts = []struct{ text, want string }{
	{"Duplicate entry 'bob@x.y' for key 'users.email'", "Duplicate entry ? for key 'users.email'"},
	{"Duplicate entry 'O'Brien' for key 'name'", "Duplicate entry ? for key 'name'"},
	{"Duplicate entry 'a' b 'c' for key 'name'", "Duplicate entry ? for key 'name'"},
	{"Table 'shop.orders' doesn't exist", "Table 'shop.orders' doesn't exist"},
	{"Unknown column 'a' in 'where clause'", "Unknown column 'a' in 'where clause'"},
	{"Access denied for user 'bob'@'10.0.0.1' (using password: YES)", "Access denied for user 'bob'@'10.0.0.1' (using password: YES)"},
	{"You have an error in your SQL syntax; check the manual for the right syntax to use near 'WHER a='x'' at line 1",
		"You have an error in your SQL syntax; check the manual for the right syntax to use near ? at line 1"},
	{"Incorrect integer value: 'abc' for column 'n' at row 1", "Incorrect integer value: ? for column 'n' at row 1"},
	{"Cannot add or update a child row: a foreign key constraint fails (`shop`.`x`, CONSTRAINT `fk`)", "Cannot add or update a child row: a foreign key constraint fails (`shop`.`x`, CONSTRAINT `fk`)"},
	{`duplicate key value violates unique constraint "users_email_key"`, `duplicate key value violates unique constraint "users_email_key"`},
	{`invalid input syntax for type integer: "abc"`, `invalid input syntax for type integer: ?`},
	{`relation "users" does not exist`, `relation "users" does not exist`},
	{`null value in column "a" of relation "t" violates not-null constraint`, `null value in column "a" of relation "t" violates not-null constraint`},
	{"Key (email)=(bob@x.y) already exists.", "Key (email)=(?) already exists."},
	{"ERR unknown command 'foo', with args beginning with: 'bar' 'baz' ", "ERR unknown command 'foo', with args beginning with: ? "},
	{"ERR unknown command 'f00', with args beginning with: ", "ERR unknown command ?, with args beginning with: "},
	{"ERR unknown command '" + strings.Repeat("f", 33) + "'", "ERR unknown command ?"},
	{"ERR unknown command ''", "ERR unknown command ?"},
	{"ERR unknown subcommand 'foo'. Try CLIENT HELP.", "ERR unknown subcommand 'foo'. Try CLIENT HELP."},
	{"no such command: 'foo'", "no such command: 'foo'"},
	{"WRONGTYPE Operation against a key holding the wrong kind of value", "WRONGTYPE Operation against a key holding the wrong kind of value"},
	{`E11000 duplicate key error collection: shop.users index: email_1 dup key: { email: "bob@x.y", n: 5 }`,
		`E11000 duplicate key error collection: shop.users index: email_1 dup key: { email: ?, n: ? }`},
	{"'user''0", "?0"},
	{`{a 0A"b`, "{a ?"},
	{"Data too long: 'cut off", "Data too long: ?"},
}

// Redis up to version 6 quotes so.
func TestServerTextInBackquotes(t *testing.T) {
	for protocol, want := range map[string]string{
		"redis": "ERR unknown command `foo`, with args beginning with: ?, ", "mysql": "ERR unknown command `foo`, with args beginning with: `bar`, `b z`, ",
	} {
		x := database(protocol, "X", "", nil, "ERR unknown command `foo`, with args beginning with: `bar`, `b z`, ")
		redactor().Exchange(x)
		if got := string(x.Response.FactText(proto.FactErrorText)); got != want {
			t.Errorf("%s: got %s, want %s", protocol, got, want)
		}
	}
}

func TestServerText(t *testing.T) {
	for _, c := range serverTexts {
		x := database("mysql", "X", "", nil, c.text)
		for range 2 {
			redactor().Exchange(x)
			if got := string(x.Response.FactText(proto.FactErrorText)); got != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
			}
			if code := string(x.Response.FactText(proto.FactError)); code != "1062" {
				t.Errorf("the code became %q", code)
			}
		}
		x = database("mysql", "X", "", nil, c.text)
		withLiterals(t).Exchange(x)
		if got := string(x.Response.FactText(proto.FactErrorText)); got != c.text {
			t.Errorf("with literals, %s\nbecame %s", c.text, got)
		}
	}
	x := database("postgresql", "X", "", nil, `could not connect to "postgres://bob:hunter2@h/db"`)
	withLiterals(t).Exchange(x)
	if got := plain(x.Response.FactText(proto.FactErrorText)); got != `could not connect to "postgres://…[redacted 11]@h/db"` {
		t.Errorf("with literals: %s", got)
	}
}

func TestResults(t *testing.T) {
	r := redactor()
	for _, body := range []string{"5\tbob\n6\teve", "x", ""} {
		x := database("mysql", "SELECT", "SELECT 1", nil, "")
		neighbours := []byte("<" + body + ">behind")
		x.ResponseBody.Bytes = neighbours[1 : 1+len(body)]
		want := ""
		for range 2 {
			r.Exchange(x)
			if len(body) > 0 {
				want = map[int]string{11: "[redacted 11 bytes]", 1: "[redacted 1 bytes]"}[len(body)]
			}
			if got := string(x.ResponseBody.Bytes); got != want {
				t.Errorf("%q became %q", body, got)
			}
		}
		if string(neighbours[len(body)+1:]) != ">behind" || len(body) > 1 && bytes.Contains(neighbours, []byte("bob")) {
			t.Errorf("%q became %q", body, neighbours)
		}
	}
	x := database("redis", "GET", "GET k", nil, "")
	x.ResponseBody.Bytes = []byte(`{"user":"bob","password":"hunter2"}`)
	withLiterals(t).Exchange(x)
	if got := plain(x.ResponseBody.Bytes); got != `{"user":"bob","password":"…[redacted 7]"}` {
		t.Errorf("with literals: %s", got)
	}
}

// Where literals are shown, card numbers and tokens are hidden wherever they stand, in whatever groups.
func TestSecretsAmongLiterals(t *testing.T) {
	const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
	for _, c := range []struct{ text, want string }{
		{"4111 1111 1111 1111", "…[redacted 19]"},
		{"paid with 4111 1111 1111 1111.", "paid with …[redacted 19]."},
		{"n=4111-1111 1111 1111, 5", "n=…[redacted 19], 5"},
		{"7\t4111 1111 1111 1111\t" + token + "\n8\t4111111111111111\tx", "7\t…[redacted 19]\t…[redacted 49]\n8\t…[redacted 16]\tx"},
		{"12 4111 1111 1111 1111 12", "12 …[redacted 19] 12"},
		{"4111 1111 1111 1112", "4111 1111 1111 1112"},
		{"a4111 1111 1111 1111", "a4111 1111 1111 1111"},
		{`{"a":"4111 1111 1111 1111"}`, `{"a":"…[redacted 19]"}`},
	} {
		x := database("mysql", "X", "?", []string{c.text}, c.text)
		x.ResponseBody.Bytes = []byte(c.text)
		withLiterals(t).Exchange(x)
		for of, got := range map[string][]byte{
			"a parameter": x.Request.FactText("parameter"), "an error": x.Response.FactText(proto.FactErrorText), "a result": x.ResponseBody.Bytes,
		} {
			if plain(got) != c.want {
				t.Errorf("%s: %q\n got %q\nwant %q", of, c.text, plain(got), c.want)
			}
		}
	}
}

// What nobody asked for has a target, too.
func TestPush(t *testing.T) {
	x := database("redis", "", "", nil, "")
	x.HasRequest = false
	m := &x.Response
	m.OneWay, m.Raw = true, []byte("MESSAGEsession:0123456789abcdef")
	m.Method.Len, m.Target = 7, proto.Span{Off: 7, Len: 24}
	redactor().Exchange(x)
	if got := target(m); got != "session:…[redacted 16]" {
		t.Errorf("%s", got)
	}
}

// A statement has as many literals as it has, and a bounded number of credentials.
func TestManyLiterals(t *testing.T) {
	r := redactor()
	x := database("mysql", "INSERT", "INSERT INTO t (a) VALUES "+strings.Repeat("('hunter2'), ", 3*MaxSecrets)+"(0)", nil, "")
	r.Exchange(x)
	if got := target(&x.Request); strings.Count(got, "(?)") != 3*MaxSecrets+1 || r.Lumped > 0 || strings.Contains(string(x.Request.Raw), "hunter2") {
		t.Errorf("%d literals, %d lumped", strings.Count(got, "(?)"), r.Lumped)
	}
	x = database("mysql", "INSERT", "INSERT INTO t (a, password) VALUES "+strings.Repeat("(5, 'hunter2'), ", 3*MaxSecrets)+"(0)", nil, "")
	r.Exchange(x)
	if got := target(&x.Request); r.Lumped != 1 || strings.Contains(string(x.Request.Raw), "hunter2") || !strings.HasSuffix(got, "]") {
		t.Errorf("%d lumped: %.200s", r.Lumped, got)
	}
}

// Patterns of the user hold for statements, and for their templates.
func TestPatternsOfStatements(t *testing.T) {
	r, err := NewWithRules([]byte("k"), Rules{Names: []string{"employee"}, Patterns: []string{`EMP\w+`}})
	if err != nil {
		t.Fatal(err)
	}
	x := database("postgresql", "SELECT", "SELECT * FROM EMPsecret WHERE employee = 'abc' AND a = 'see EMPone'", nil, "")
	x.Statement = exchange.Statement{Template: "SELECT * FROM EMPsecret WHERE employee = ? AND a = ?", Collection: "EMPsecret", Operation: "SELECT"}
	r.Exchange(x)
	if got := target(&x.Request); got != "SELECT * FROM …[redacted 9] WHERE employee = '…[redacted 3]' AND a = ?" {
		t.Errorf("%s", got)
	}
	if got := plain([]byte(x.Statement.Template + "|" + x.Statement.Collection)); got != "SELECT * FROM …[redacted 9] WHERE employee = ? AND a = ?|…[redacted 9]" {
		t.Errorf("%s", got)
	}
}

// Invariant: whatever a statement is, and whatever a server says, redacting them doesn't panic, is the same a second time, and
// hides a literal.
func FuzzStatements(f *testing.F) {
	for i, c := range hiddenStatements {
		f.Add(i, c.method, c.text, serverTexts[i%len(serverTexts)].text)
	}
	protocols := []string{"mysql", "postgresql", "redis", "memcached", "mongodb"}
	f.Fuzz(func(t *testing.T, n int, method, text, said string) {
		protocol := protocols[uint(n)%uint(len(protocols))]
		for _, r := range []*Redactor{redactor(), withLiterals(t)} {
			x := database(protocol, method, text, []string{said, "5"}, said)
			r.Exchange(x)
			shown := func() string {
				return string(x.Request.Bytes(x.Request.Target)) + "|" + string(x.Response.FactText(proto.FactErrorText))
			}
			once := shown()
			if r.Exchange(x); shown() != once {
				t.Fatalf("%s %q %q:\n%s\n%s", protocol, method, text, once, shown())
			}
		}
		x := database("mysql", "SELECT", "SELECT 'Zq9"+clean(text)+"', "+"'Zq9secret' "+text, nil, "Duplicate entry 'Zq9"+clean(said)+"'")
		redactor().Exchange(x)
		if all := append(x.Request.Raw, x.Response.Raw...); bytes.Contains(all, []byte("Zq9")) && !strings.Contains(text+said, "Zq9") {
			t.Fatalf("%q", all)
		}
	})
}
