package redact

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
)

// commands are arguments, with | between them, and what is shown of them.
var commands = []struct{ args, want string }{
	{"nginx: worker process", "nginx: worker process"},
	{"postgres: shop shop 10.0.0.7(51022) idle", "postgres: shop shop 10.0.0.7(51022) idle"},
	{"/usr/bin/app|--port=8080|--name|shop|-v", "/usr/bin/app|--port=8080|--name|shop|-v"},

	// Options with telling names.
	{"app|--password=hunter2|-v", "app|--password=…[redacted 7]|-v"},
	{"app|--password=two words|-v", "app|--password=…[redacted 9]|-v"},
	{"app|--password=a://b?c", "app|--password=…[redacted 7]"},
	{"app|--token|abc|--api-key|d|x", "app|--token|…[redacted 3]|--api-key|…[redacted 1]|x"},
	{"app|-password|abc", "app|-password|…[redacted 3]"},
	{"app|--token|-Abc9", "app|--token|…[redacted 5]"},
	{"psql|--password|--host=db|x", "psql|--password|--host=db|x"},
	{"psql|--no-password|shop", "psql|--no-password|shop"},
	{"app|--password", "app|--password"},
	{"app|--password=", "app|--password="},
	{"app|--token|", "app|--token|"},
	{"app|--password-file|/run/p|--token-path=/t", "app|--password-file|/run/p|--token-path=/t"},
	{"app|--key|server.key|--key|0123456789abcdef", "app|--key|server.key|--key|…[redacted 16]"},
	{"app|--auth=basic|--code=200", "app|--auth=basic|--code=200"},

	// Settings.
	{"env|DB_PASSWORD=x|LANG=C|app", "env|DB_PASSWORD=…[redacted 1]|LANG=C|app"},
	{"java|-Djavax.net.ssl.keyStorePassword=abc|-Xmx1g|-jar|a.jar", "java|-Djavax.net.ssl.keyStorePassword=…[redacted 3]|-Xmx1g|-jar|a.jar"},
	{"helm|--set=db.password=abc|--set|a.token=b,c=d", "helm|--set=db.password=…[redacted 3]|--set|a.token=…[redacted 5]"},
	{"docker|run|-p|80:80|-e|API_TOKEN=x|img", "docker|run|-p|80:80|-e|API_TOKEN=…[redacted 1]|img"},
	{`app|{"db":{"password":"abc","port":1}}`, `app|{"db":{"password":"…[redacted 3]","port":1}}`},
	{`app|--config={"token":"abc"}`, `app|--config={"token":"…[redacted 3]"}`},
	{"app|host=db user=u password=abc dbname=x", "app|host=db user=u password=…[redacted 3] dbname=x"},
	{"app|Server=db;Password=a;b", "app|Server=db;Password=…[redacted 3]"},
	{"app|password: abc d", "app|password: …[redacted 5]"},

	// URLs.
	{"app|postgres://u:p@db:5432/shop?sslmode=x", "app|postgres://…[redacted 3]@db:5432/shop?sslmode=x"},
	{"app|--db=redis://:p@h/0|http://h/?token=a&b=c", "app|--db=redis://…[redacted 2]@h/0|http://h/?token=…[redacted 1]&b=c"},
	{"app|http://a:b@x,http://c:d@y/z", "app|http://…[redacted 3]@x,http://…[redacted 3]@y/z"},
	{"git|clone|https://ghp_abc@github.com/a/b.git", "git|clone|https://…[redacted 7]@github.com/a/b.git"},
	{"app|shop:p/@w@tcp(db:3306)/shop", "app|…[redacted 9]@tcp(db:3306)/shop"},
	{"app|u:password=x@tcp(db)/shop", "app|…[redacted 12]@tcp(db)/shop"},
	{"app|http://u:token=abc@h/", "app|http://…[redacted 11]@h/"},
	{"app|token://h/x", "app|token://h/x"},
	{"ssh|root@db|-p|22", "ssh|root@db|-p|22"},
	{"npm|https://registry.example/@scope/pkg", "npm|https://registry.example/@scope/pkg"},
	{"app|" + jwt, "app|…[redacted 59]"},

	// Programs whose options don't tell.
	{"mysql|-uroot|-phunter2|shop|-p", "mysql|-uroot|-p…[redacted 7]|shop|-p"},
	{"mysql|-p|shop", "mysql|-p|shop"},
	{"sudo|/usr/bin/mysqldump|-phunter2", "sudo|/usr/bin/mysqldump|-p…[redacted 7]"},
	{"mysqld|--port=3306", "mysqld|--port=3306"},
	{"sshpass|-p|abc|ssh|root@db", "sshpass|-p|…[redacted 3]|ssh|root@db"},
	{"redis-cli|-h|db|-a|abc|-n|1", "redis-cli|-h|db|-a|…[redacted 3]|-n|1"},
	{"curl|-u|joe:abc|http://a/", "curl|-u|…[redacted 7]|http://a/"},
	{"curl|-ujoe:abc|-u|joe|--user|j:a", "curl|-u…[redacted 7]|-u|joe|--user|…[redacted 3]"},
	{"curl|-H|Authorization: Bearer abc|-H|Accept: */*", "curl|-H|Authorization: Bearer …[redacted 3]|-H|Accept: */*"},
	{"curl|-HX-Api-Key: abc|-b|sid=1; b=2|-b|jar.txt", "curl|-HX-Api-Key: …[redacted 3]|-b|sid=…[redacted 1]; b=…[redacted 1]|-b|jar.txt"},
	{"curl|--oauth2-bearer|abc", "curl|--oauth2-bearer|…[redacted 3]"},
	{"openssl|rsa|-passin|pass:abc", "openssl|rsa|-passin|…[redacted 8]"},
	{"ldapsearch|-x|-w|abc", "ldapsearch|-x|-w|…[redacted 3]"},
	{"unzip|-P|abc|a.zip", "unzip|-P|…[redacted 3]|a.zip"},
	{"ssh|-p|2222|db", "ssh|-p|2222|db"},

	// Commands within arguments, and process titles.
	{"sh|-c|mysql -psecret -h db", "sh|-c|mysql -p…[redacted 6] -h db"},
	{"sh|-c|exec app --token abc --port 80", "sh|-c|exec app --token …[redacted 3] --port 80"},
	{`sh|-c|app --token "a b" --port 80`, `sh|-c|app --token "…[redacted 3]" --port 80`},
	{`sh|-c|curl -H 'Authorization: Bearer a b' http://u:p@h/`, `sh|-c|curl -H 'Authorization: Bearer …[redacted 3]' http://…[redacted 3]@h/`},
	{`sh|-c|A=1 PASSWORD="x y" app -v`, `sh|-c|A=1 PASSWORD=…[redacted 5] app -v`},
	{`sh|-c|bash -c "mysql -p'a b' -h db"`, `sh|-c|bash -c "mysql -p…[redacted 5] -h db"`},
	{"app --password abc --port 80", "app --password …[redacted 3] --port 80"},
	{"app Authorization: Bearer abc d", "app Authorization: Bearer …[redacted 5]"},
	{"app password: abc", "app password: …[redacted 3]"},
	{"app don't panic --password=abc", "app don't panic --password=…[redacted 3]"},

	{"", ""},
	{"|||", "|||"},
	{"app|=x|--|-|--=|:|'|\"|'\"", "app|=x|--|-|--=|:|'|\"|'\""},
}

func TestArguments(t *testing.T) {
	for _, c := range commands {
		r := redactor()
		args := strings.Split(c.args, "|")
		before := slices.Clone(args)
		out := r.Arguments(args)
		if got := plain([]byte(strings.Join(out, "|"))); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.args, got, c.want)
		}
		if !slices.Equal(args, before) {
			t.Errorf("%s: the arguments themselves were changed", c.args)
		}
		if again := r.Arguments(out); !slices.Equal(again, out) {
			t.Errorf("%s: redacting again makes\n%q of\n%q", c.args, again, out)
		}
		if same := &out[0] == &args[0]; same != (c.args == c.want) {
			t.Errorf("%s: the same slice: %v", c.args, same)
		}
	}
	if out := redactor().Arguments(nil); out != nil {
		t.Errorf("of nothing comes %q", out)
	}
}

// Secrets of arguments have the fingerprints that they have elsewhere.
func TestArgumentFingerprint(t *testing.T) {
	r := redactor()
	x := outputtest.Exchange("GET / HTTP/1.1\nX-Api-Key: hunter2\n\n", "")
	r.Exchange(x)
	if got, want := r.Arguments([]string{"--api-key=hunter2"})[0], "--api-key="+string(x.Request.Field("x-api-key")); got != want {
		t.Errorf("%s, but %s in a header", got, want)
	}
}

// Processes are shared by exchanges: a redacted one takes the place of what it was, which stays.
func TestProcesses(t *testing.T) {
	r := redactor()
	secret := &exchange.Process{PID: 7, Name: "app", Args: []string{"app", "--token=abc"}, Unit: "app.service"}
	open := &exchange.Process{PID: 8, Name: "nginx", Args: []string{"nginx"}}
	none := &exchange.Process{Name: "shared"}
	process := func(client, server *exchange.Process) [2]*exchange.Process {
		x := outputtest.Exchange("GET / HTTP/1.1\n\n", "")
		x.Process = [2]*exchange.Process{client, server}
		r.Exchange(x)
		once := x.Process
		if r.Exchange(x); x.Process != once {
			t.Error("a second call changes processes")
		}
		return x.Process
	}
	a, b := process(secret, open), process(open, secret)
	if a[1] != open || b[0] != open {
		t.Error("a process without secrets was copied")
	}
	if a[0] == secret || a[0] != b[1] {
		t.Error("each exchange has another copy")
	}
	if got := plain([]byte(strings.Join(a[0].Args, " "))); got != "app --token=…[redacted 3]" || a[0].PID != 7 || a[0].Unit != "app.service" {
		t.Errorf("the copy is %+v", a[0])
	}
	if secret.Args[1] != "--token=abc" {
		t.Error("the process itself was changed")
	}
	process(&exchange.Process{Args: []string{`app -token ""0 `}}, nil) // whose marks read otherwise than what they stand for
	if c := process(nil, none); c[0] != nil || c[1] != none {
		t.Errorf("%v", c)
	}
	for i := range 3 * MaxProcesses {
		process(&exchange.Process{PID: i, Args: []string{"app", fmt.Sprintf("--token=%d", i)}}, open)
		if len(r.processes) > MaxProcesses+1 {
			t.Fatalf("%d processes are remembered", len(r.processes))
		}
	}
	x := outputtest.Exchange("GET / HTTP/1.1\n\n", "")
	x.Process = [2]*exchange.Process{secret, open}
	r.Exchange(x)
	if n := testing.AllocsPerRun(10, func() {
		x.Process = [2]*exchange.Process{secret, open}
		r.Exchange(x)
	}); n > 0 {
		t.Errorf("%v allocations for processes that are known", n)
	}
}

func TestTooManySecretArguments(t *testing.T) {
	r := redactor()
	long := strings.Repeat("app --token abc http://u:p@h/ sid=1; ", MaxSecrets)
	got := r.Arguments([]string{long, "curl -b '" + strings.Repeat("a=b; ", 2*MaxSecrets) + "'"})
	if n := strings.Count(got[0], markStart); n != MaxSecrets || strings.Contains(got[0], "abc") || r.Lumped != 2 {
		t.Errorf("%d marks, %d lumped", n, r.Lumped)
	}
}

// Invariant: whatever arguments are, redacting them doesn't panic, and nothing but secrets changes; and what
// follows --password= or --password is gone.
func FuzzArguments(f *testing.F) {
	for _, c := range commands {
		f.Add(c.args, "hunter2")
	}
	f.Fuzz(func(t *testing.T, text, secret string) {
		r := redactor()
		args := strings.Split(text, "|")
		secret = "Zq9" + clean(secret)
		for _, more := range [][]string{nil, {"--password=" + secret}, {"x", "--password", secret}, {"x", "http://u:" + secret + "@h/"}} {
			before := append(slices.Clone(args), more...)
			once := r.Arguments(before)
			if len(once) != len(before) {
				t.Fatalf("%q became %q", before, once)
			}
			for i := range before {
				if !keepsRest(before[i], once[i]) {
					t.Fatalf("%q became %q", before[i], once[i])
				}
			}
			if all := strings.Join(once[len(args):], "|"); strings.Contains(all, secret) {
				t.Fatalf("%q is still in %q", secret, all)
			}
		}
	})
}
