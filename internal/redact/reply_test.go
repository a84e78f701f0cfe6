package redact

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

// Where literals are shown, what is a credential among them isn't.
func TestCredentialsOfRedis(t *testing.T) {
	const whole = "[redacted * bytes]"
	for _, c := range []struct{ method, text, body, wantText, wantBody string }{
		{"CONFIG GET", "CONFIG GET requirepass", "1) \"requirepass\"\n2) \"hunter2\"", "", whole},
		{"CONFIG GET", "CONFIG GET *auth*", "1) \"masterauth\"\n2) \"hunter2\"\n3) \"port\"\n4) \"6379\"", "",
			"1) \"masterauth\"\n2) \"…[redacted 7]\"\n3) \"port\"\n4) \"6379\""},
		{"HGETALL", "HGETALL user:1", "1# \"password\" => \"hunter2\"\n2# \"name\" => \"bob\"", "", "1# \"password\" => \"…[redacted 7]\"\n2# \"name\" => \"bob\""},
		{"HGETALL", "HGETALL user:1", "1) 1) \"token\"\n   2) hunter2\n2) \"a\"", "", "1) 1) \"token\"\n   2) …[redacted 7]\n2) \"a\""},
		{"GET", "GET a", `"{\"password\":\"hunter2\",\"b\":1}"`, "", `"{\"password\":\"…[redacted 7]\",\"b\":1}"`},
		{"LRANGE", "LRANGE a 0 -1", "1) \"pay 4111111111111111\"\n2) (integer) 5", "", "1) \"pay …[redacted 16]\"\n2) (integer) 5"},
		{"HGET", "HGET user:1 password", `"hunter2"`, "", whole},
		{"GET", "GET user:1:password", `"hunter2"`, "", whole},
		{"ACL LIST", "ACL LIST", `1) "user bob on #hunter2 ~*"`, "", whole},
		{"MONITOR", "MONITOR", `1700000000.1 [0 h:5] "ACL" "SETUSER" "bob" ">hunter2"`, "", whole},
		{"GET", "GET tokens", `"5"`, "", `"5"`},
		{"HSET", "HSET user:1 password hunter2 name bob", "1", `HSET user:1 password "…[redacted 7]" name bob`, whole},
		{"SET", "SET user:1:password hunter2", "OK", `SET user:1:password "…[redacted 7]"`, whole},
		{"SET", `SET a "{\"password\":\"hunter2\",\"b\":1}"`, "OK", `SET a "{\"password\":\"…[redacted 7]\",\"b\":1}"`, "OK"},
		{"XADD", "XADD s * password hunter2", "1-0", `XADD s * password "…[redacted 7]"`, whole},
		{"SET", "SET key 0123456789abcdefgh", "OK", "SET key 0123456789abcdefgh", "OK"},
		{"MODULE LOADEX", "MODULE LOADEX /x.so CONFIG db.password hunter2", "OK", `MODULE LOADEX /x.so "…[redacted 6]" "…[redacted 11]" "…[redacted 7]"`, whole},
		{"ACL DRYRUN", "ACL DRYRUN bob AUTH hunter2", "OK", `ACL DRYRUN bob AUTH "…[redacted 7]"`, whole},
		{"EVAL", `EVAL "return redis.call('AUTH','hunter2')" 0 x`, "OK", `EVAL "…[redacted 35]" "…[redacted 1]" "…[redacted 1]"`, whole},
		{"EVAL", `EVAL "return 1" 0 x`, "(integer) 1", `EVAL "return 1" 0 x`, "(integer) 1"},
		{"SCRIPT LOAD", `SCRIPT LOAD "redis.call('config','set','requirepass','hunter2')"`, "abc", `SCRIPT LOAD "…[redacted 50]"`, whole},
	} {
		x := database("redis", c.method, c.text, nil, "")
		x.ResponseBody.Bytes = []byte(c.body)
		if c.wantText == "" {
			c.wantText = c.text
		}
		for range 2 {
			withLiterals(t).Exchange(x)
			if got := target(&x.Request); got != c.wantText {
				t.Errorf("%s\n got %s\nwant %s", c.text, got, c.wantText)
			}
			got := plain(x.ResponseBody.Bytes)
			if isResultMark([]byte(got)) {
				got = whole
			}
			if got != c.wantBody {
				t.Errorf("%s: the result is\n%s\nwant\n%s", c.text, got, c.wantBody)
			}
		}
		if all := string(x.Request.Raw) + string(x.ResponseBody.Bytes); strings.Contains(all, "hunter2") {
			t.Errorf("%s: the secret is in %q", c.text, all)
		}
	}
}

// The arguments of a command that the server doesn't know may be those of one that it does.
func TestUnknownCommand(t *testing.T) {
	for said, want := range map[string]string{"ERR unknown command 'AHTU'": `AHTU "…[redacted 7]"`, "ERR no": "AHTU hunter2"} {
		x := database("redis", "AHTU", "AHTU hunter2", nil, said)
		withLiterals(t).Exchange(x)
		if got := target(&x.Request); got != want {
			t.Errorf("%s: got %s, want %s", said, got, want)
		}
	}
}

// A push has no request.
func TestPushedResult(t *testing.T) {
	x := database("redis", "", "", nil, "")
	x.HasRequest = false
	m := &x.Response
	m.OneWay, m.Raw, m.Method = true, []byte("MONITOR"), proto.Span{Len: 7}
	x.ResponseBody.Bytes = []byte(`1.5 [0 h:5] "AUTH" "hunter2"`)
	withLiterals(t).Exchange(x)
	if got := string(x.ResponseBody.Bytes); got != "[redacted 28 bytes]" {
		t.Errorf("%s", got)
	}
}

// Invariant: whatever a result is, finding the credentials in it doesn't panic, ends, and is the same a second time.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"1) \"password\"\n2) \"x\"", `1# "token" => 2) "x"`, "1) 2) \n => ", `"a`, "1)", "\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r, err := NewWithRules([]byte("key"), Rules{Literals: true})
		if err != nil {
			t.Fatal(err)
		}
		x := database("redis", "LRANGE", "LRANGE a 0 1", nil, body)
		x.ResponseBody.Bytes = []byte(body)
		r.Exchange(x)
		shown := func() string {
			return string(x.ResponseBody.Bytes) + "|" + string(x.Response.FactText(proto.FactErrorText))
		}
		once := shown()
		if r.Exchange(x); len(x.Secrets) > 0 && shown() != once {
			t.Fatalf("%q:\n%s\n%s", body, once, shown())
		}
	})
}
