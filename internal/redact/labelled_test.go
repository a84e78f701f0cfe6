package redact

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/statement"
)

// What servers say holds secrets without quotes, too; they are hidden whether data is or not.
func TestSecretsInServerTexts(t *testing.T) {
	for _, c := range []struct{ text, hidden, literals string }{
		{"could not connect: host=h password=hunter2", "could not connect: host=h password=…[redacted 7]", ""},
		{"token: abc, near 'x'", "token: …[redacted 3], near ?", "token: …[redacted 3], near 'x'"},
		{`"password" => "a b" is bad`, `? is bad`, `"password" => "…[redacted 3]" is bad`},
		{"near password='hunter2' at", "near password=? at", "near password='…[redacted 7]' at"},
		{"bad url postgres://bob:hunter2@h/db", "bad url postgres://…[redacted 11]@h/db", ""},
		{"Cookie: a=b; c=d", "Cookie: a=…[redacted 1]; c=…[redacted 1]", ""},
		{"x 'a password=b", "x ?", "x 'a password=…[redacted 1]"},
		{"Access denied (using password: YES)", "Access denied (using password: YES)", ""},
		{"password authentication failed, Token::next: x, no token: ;", "password authentication failed, Token::next: x, no token: ;", ""},
		{"password: é", "password: …[redacted 2]", ""},
		{`password: "`, `password: ?`, `password: "`},
		{`password: "a\`, `password: ?`, `password: "…[redacted 2]`},
	} {
		if c.literals == "" {
			c.literals = c.hidden
		}
		for _, s := range []struct {
			r    *Redactor
			want string
		}{{redactor(), c.hidden}, {withLiterals(t), c.literals}} {
			for _, protocol := range []string{"postgresql", "mongodb"} {
				x := database(protocol, "X", "", nil, c.text)
				for range 2 {
					s.r.Exchange(x)
					if got := plain(x.Response.FactText(proto.FactErrorText)); got != s.want {
						t.Errorf("%s\n got %s\nwant %s", c.text, got, s.want)
					}
					x.Secrets = nil
				}
				if strings.Contains(string(x.Response.Raw), "hunter2") {
					t.Errorf("the secret is in %q", x.Response.Raw)
				}
			}
		}
	}
}

// What a server repeats of a statement with credentials is hidden with the data shown; so is what Redis repeats of any.
func TestRepeatedCredentials(t *testing.T) {
	for _, c := range []struct{ protocol, text, said, want string }{
		{"mysql", "CREATE USER bob IDENTIFIED BY 'hunter2' x", "syntax to use near 'hunter2' x' at line 1", "syntax to use near ? at line 1"},
		{"mysql", "SELECT 'a'", "syntax to use near 'a' at line 1", "syntax to use near 'a' at line 1"},
		{"redis", "ACL SETUSER bob >hunter2", "ERR Error in ACL SETUSER modifier '>hunter2': Syntax error", "ERR Error in ACL SETUSER modifier ?: Syntax error"},
		{"redis", "GET k", "ERR near 'hunter2'", "ERR near ?"},
	} {
		x := database(c.protocol, "", c.text, nil, c.said)
		withLiterals(t).Exchange(x)
		if got := string(x.Response.FactText(proto.FactErrorText)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.text, got, c.want)
		}
	}
}

// Notices are what programs in the database say, but for the server's own.
func TestNotices(t *testing.T) {
	for _, c := range []struct{ text, hidden, literals string }{
		{"n private", "?", "n private"},
		{"password=hunter2", "?", "password=…[redacted 7]"},
		{`relation "t" already exists, skipping`, `relation "t" already exists, skipping`, `relation "t" already exists, skipping`},
		{"WARNING: there is no transaction in progress", "WARNING: there is no transaction in progress", "WARNING: there is no transaction in progress"},
		{"token=hunter2 does not exist, skipping", "token=…[redacted 7] does not exist, skipping", "token=…[redacted 7] does not exist, skipping"},
	} {
		for r, want := range map[*Redactor]string{redactor(): c.hidden, withLiterals(t): c.literals} {
			x := database("postgresql", "SELECT", "SELECT 1", nil, "")
			x.Response.Say("notice", []byte(c.text))
			for range 2 {
				r.Exchange(x)
				if got := plain(x.Response.FactText("notice")); got != want {
					t.Errorf("%s: got %s, want %s", c.text, got, want)
				}
			}
		}
	}
}

// What is secret in the text of a command is none of its template: the tables of names agree.
func TestTemplatesHideWhatTextsHide(t *testing.T) {
	const secret = "al.Top-blue"
	for _, s := range secretNames {
		if s.min == 0 || s.min > minPathSecret {
			continue
		}
		if !statement.SecretPart([]byte(s.name)) {
			t.Errorf("%s: templates show what follows it", s.name)
		}
		x := database("redis", "GET", "GET "+s.name+":"+secret, nil, "")
		x.Statement = statement.New().Of(x)
		if strings.Contains(x.Statement.Template, "blue") {
			t.Errorf("the template is %s", x.Statement.Template)
		}
	}
	r, err := NewWithRules([]byte("k"), Rules{Names: []string{"employee"}, Keep: []string{"session"}})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"GET employee:correcthorse":        "GET employee:…[redacted 12]|GET employee:…[redacted 12]",
		"GET session:correcthorse":         "GET session:correcthorse|GET session:?",
		"GET PHPREDIS_SESSION:al.Top-blue": "GET PHPREDIS_SESSION:…[redacted 11]|GET PHPREDIS_SESSION:?",
	} {
		x := database("redis", "GET", text, nil, "")
		x.Statement = statement.New().Of(x)
		r.Exchange(x)
		if got := target(&x.Request) + "|" + plain([]byte(x.Statement.Template)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
