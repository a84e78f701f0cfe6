package redact_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/console"
	"github.com/culprit-http/culprit/internal/output/har"
	"github.com/culprit-http/culprit/internal/output/line"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/output/otlp"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/output/template"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/redact"
)

// planter makes exchanges, and remembers the secrets that it planted in them.
type planter struct {
	*rand.Rand
	secrets []string
}

func newPlanter(seed uint64) *planter { return &planter{Rand: rand.New(rand.NewPCG(seed, 4))} }

// secret returns a new secret: letters and digits, as are in tokens and passwords.
func (p *planter) secret() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	b := []byte("Zq9")
	for range 13 + p.IntN(12) {
		b = append(b, letters[p.IntN(len(letters))])
	}
	p.secrets = append(p.secrets, string(b))
	return string(b)
}

// card returns a card number as a secret.
func (p *planter) card() string {
	digits := []byte("4")
	for len(digits) < 15 {
		digits = append(digits, byte('0'+p.IntN(10)))
	}
	sum := 0
	for i, c := range digits {
		d := int(c - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	number := string(append(digits, byte('0'+(10-sum%10)%10)))
	p.secrets = append(p.secrets, number)
	return number
}

func (p *planter) any(choices []string) string { return choices[p.IntN(len(choices))] }

func (p *planter) chance() bool { return p.IntN(2) == 0 }

var (
	noiseNames  = []string{"a", "q", "page", "sort", "max_tokens", "code", "key", "user", "x[y]", "next_page_token"}
	secretNames = []string{"password", "api_key", "accessToken", "client_secret", "user[password]", "X-Api-Key", "sessionid", "employee_id"}
	noise       = []string{"", "1", "name", "a+b", "%20x", "2024-05-06", "long-word-with-dashes", "é", "4111111111111112"}
)

// pairs are parameters with secrets among them.
func (p *planter) pairs(join string) string {
	var out []string
	for range 1 + p.IntN(4) {
		out = append(out, p.any(noiseNames)+"="+p.any(noise))
	}
	out = append(out, p.any(secretNames)+"="+p.secret())
	switch p.IntN(4) {
	case 0:
		out = append(out, "u="+url.QueryEscape("https://joe:"+p.secret()+"@h/?token="+p.secret()))
	case 1:
		out = append(out, "n="+p.card())
	case 2:
		out = append(out, "j="+url.QueryEscape(p.json(0)))
	}
	p.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return strings.Join(out, join)
}

func (p *planter) target() string {
	path := "/shop"
	switch p.IntN(4) {
	case 0:
		path = "/reset/" + p.secret() + "/x"
	case 1:
		path = "/cards/" + p.card()
	case 2:
		path = "/a;jsessionid=" + p.secret() + "/b"
	}
	if p.chance() {
		path = "http://joe:" + p.secret() + "@h:80" + path
	}
	if p.chance() {
		path += "?" + p.pairs("&")
	}
	return path
}

// headerNames are of those whose values are secret as a whole.
var headerNames = []string{"X-Api-Key", "Api-Key", "X-Vault-Token", "X-Auth-Token", "X-Amz-Security-Token", "Ocp-Apim-Subscription-Key", "X-Hub-Signature-256", "Employee-ID"}

func (p *planter) fields() string {
	var b strings.Builder
	for range 2 + p.IntN(4) {
		switch p.IntN(9) {
		case 0:
			fmt.Fprintf(&b, "Authorization: Bearer %s\n", p.secret())
		case 1:
			fmt.Fprintf(&b, "Authorization: Basic %s\n", base64.StdEncoding.EncodeToString([]byte("joe:"+p.secret())))
		case 2:
			fmt.Fprintf(&b, "Cookie: sid=%s; lang=en; b=%s\n", p.secret(), p.secret())
		case 3:
			fmt.Fprintf(&b, "Set-Cookie: sid=%s; Path=/; HttpOnly\n", p.secret())
		case 4:
			fmt.Fprintf(&b, "%s: %s\n", p.any(headerNames), p.secret())
		case 5:
			fmt.Fprintf(&b, "Referer: %s\n", p.target())
		case 6:
			fmt.Fprintf(&b, "X-Note: paid with %s\n", p.card())
		case 7:
			fmt.Fprintf(&b, "X-Note: eyJ%s.eyJ%s.%s\n", p.secret(), p.secret(), p.secret())
		case 8:
			fmt.Fprintf(&b, "X-Note: see EMP-%s.\n", p.secret())
		}
	}
	return b.String()
}

// json is a document with secrets, in strings of which are documents, too.
func (p *planter) json(depth int) string {
	inner := `"x"`
	if depth < 2 && p.chance() {
		inner = quoted(p.json(depth + 1))
	}
	switch p.IntN(4) {
	case 0:
		return fmt.Sprintf(`{"a":[1,true,null],"password":%q,"b":{"c":%s}}`, p.secret(), inner)
	case 1:
		return fmt.Sprintf(`{"credentials":{"x":[%q,{"y":%q}]},"b":%s}`, p.secret(), p.secret(), inner)
	case 2:
		return fmt.Sprintf(`[{"card":%s,"note":"see https:\/\/joe:%s@h\/?a=1\u0026token=%s"},%s]`, p.card(), p.secret(), p.secret(), inner)
	}
	return fmt.Sprintf(`{"log":"a=1&password=%s","employeeId":%q,"d":%s}`, p.secret(), p.secret(), inner)
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// body returns a body and its media type.
func (p *planter) body() (mediaType, body string) {
	switch p.IntN(8) {
	case 0:
		return "application/x-www-form-urlencoded", p.pairs("&")
	case 1:
		return "application/json", p.json(0)
	case 2:
		return "text/event-stream", "data: " + p.json(0) + "\n\n"
	case 3:
		return "multipart/form-data; boundary=b", "--b\nContent-Disposition: form-data; name=\"password\"\n\n" + p.secret() +
			"\n--b\nContent-Disposition: form-data; name=j\nContent-Type: application/json\n\n" + p.json(0) +
			"\n--b\nContent-Type: application/http\n\nGET " + p.target() + " HTTP/1.1\n" + p.fields() + "\n--b--\n"
	case 4:
		return "text/xml", "<a><wsse:Password>" + p.secret() + "</wsse:Password><db password='" + p.secret() + "'/><n>" + p.card() + "</n></a>"
	case 5:
		return "text/html", `<input name="csrf_token" value="` + p.secret() + `"><a href="/?a=1&amp;token=` + p.secret() + `">x</a>`
	case 6:
		return "message/http", "TRACE " + p.target() + " HTTP/1.1\n" + p.fields() + "\n"
	}
	return "application/octet-stream", "\xff\xfe card " + p.card() + ", key -----BEGIN PRIVATE KEY-----\n" + p.secret() + "\n-----END PRIVATE KEY-----\n"
}

func (p *planter) exchange() *exchange.Exchange {
	p.secrets = p.secrets[:0]
	x := outputtest.Exchange("POST "+p.target()+" HTTP/1.1\nHost: h\nUser-Agent: curl/8\n"+p.fields()+"\n", "HTTP/1.1 200 OK\nLocation: "+p.target()+"\n"+p.fields()+"\n")
	for _, side := range []struct {
		m *proto.Message
		b *exchange.Body
	}{{&x.Request, &x.RequestBody}, {&x.Response, &x.ResponseBody}} {
		mediaType, body := p.body()
		m := side.m
		add := func(s string) proto.Span {
			m.Raw = append(m.Raw, s...)
			return proto.Span{Off: uint32(len(m.Raw) - len(s)), Len: uint32(len(s))}
		}
		m.Fields = append(m.Fields, proto.Field{Name: add("Content-Type"), Value: add(mediaType)})
		if p.chance() {
			m.Fields = append(m.Fields, proto.Field{Name: add("X-Auth-Token"), Value: add(p.secret()), Flags: proto.Trailer})
		}
		side.b.Bytes, side.b.DecodedBytes = []byte(body), int64(len(body))
	}
	x.Process[p.IntN(2)] = &exchange.Process{PID: 7, Name: "app", Args: []string{"app", "--password=" + p.secret(), "-H", "X-Api-Key: " + p.secret()}}
	return x
}

// kind returns an exchange that isn't one of HTTP/1: an HTTP/2 stream, a gRPC call, all that was said on a WebSocket, or one message
// of it.
func (p *planter) kind() *exchange.Exchange {
	p.secrets = p.secrets[:0]
	head := func() string {
		return strings.ToLower(p.any(headerNames)) + ": " + p.secret() + "\nx-note: paid with " + p.card() + "\n"
	}
	switch p.IntN(5) {
	case 0:
		x := outputtest.HTTP2(":method: GET\n:scheme: https\n:path: "+p.target()+"\n:authority: joe:"+p.secret()+"@shop.example\ncookie: lang=en; sid="+p.secret()+"\n"+head()+"\n",
			":status: 302\nlocation: "+p.target()+"\n"+head()+"trailer x-auth-token: "+p.secret()+"\n\n")
		if p.chance() { // one that has Host, too, and its path twice
			add := func(s string) proto.Span {
				x.Request.Raw = append(x.Request.Raw, s...)
				return proto.Span{Off: uint32(len(x.Request.Raw) - len(s)), Len: uint32(len(s))}
			}
			x.Request.Fields = append(x.Request.Fields, proto.Field{Name: add("host"), Value: add("joe:" + p.secret() + "@h")},
				proto.Field{Name: add(":path"), Value: add(p.target())})
		}
		return x
	case 1:
		return outputtest.HTTP2(":method: CONNECT\n:authority: joe:"+p.secret()+"@h:443\n\n", ":status: 200\n\n")
	case 2:
		return outputtest.HTTP2(":method: POST\n:scheme: https\n:path: /a.B/C\n:authority: h\ncontent-type: application/grpc\n"+head()+"\n",
			":status: 200\ncontent-type: application/grpc\ntrailer grpc-status: 16\ntrailer grpc-message: refused%3a "+url.QueryEscape("password="+p.secret())+"\n\n")
	case 3:
		x := outputtest.Session()
		x.Closing.Reason = "token=" + p.secret()
		return x
	}
	from := proto.Direction(p.IntN(2))
	var said string
	if p.chance() {
		said = p.any([]string{"42", "", " "}) + p.json(0) // a number, as Socket.IO has it
	} else {
		said = "login password=" + p.secret() + " at https://joe:" + p.secret() + "@h/"
	}
	x := outputtest.SessionMessage(from, "text", said)
	if from == proto.Responder { // as a message that closes is, with its reason
		reason := "password=" + p.secret()
		x.Response.Reason = proto.Span{Off: uint32(len(x.Response.Raw)), Len: uint32(len(reason))}
		x.Response.Raw = append(x.Response.Raw, reason...)
	}
	return x
}

// format shows the heads and the bodies of both messages, and single headers.
const format = "%request %request.header.authorization %request.header.cookie %request.url %response %response.header.set-cookie %response.header.location"

// show returns what all outputs make of an exchange.
func show(t *testing.T, x *exchange.Exchange) []byte {
	t.Helper()
	var b bytes.Buffer
	formatted, err := template.New(&b, format)
	if err != nil {
		t.Fatal(err)
	}
	wide := terminal.Terminal{Width: 400}
	lines := line.New(&b, line.Options{Terminal: wide, Location: time.UTC, Processes: true})
	full := console.New(&b, console.Options{})
	for _, o := range []output.Output{ndjson.New(&b), full, har.New(&b, "1"), lines, line.New(&b, line.Options{}), formatted} {
		if err := o.Exchange(x); err != nil {
			t.Fatal(err)
		}
		if w, ok := o.(output.Waiter); ok {
			if err := w.Waiting(x, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return otlp.NewEncoder(&otlp.Options{}).Exchange(b.Bytes(), x)
}

// disguises are the forms in which a secret may hide: as it is, in base 64 at any offset, in hexadecimal, and with
// percent-encoding.
func disguises(secret string) []string {
	out := []string{secret, hex.EncodeToString([]byte(secret))}
	var percent strings.Builder
	for i := range len(secret) {
		fmt.Fprintf(&percent, "%%%02X", secret[i])
	}
	out = append(out, percent.String())
	for offset := range 3 {
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			s := encoding.EncodeToString([]byte(strings.Repeat("\x00", offset) + secret))
			// Without what depends on the neighbours.
			out = append(out, s[(offset*8+5)/6:len(s)-1])
		}
	}
	return out
}

func found(shown []byte, secret string) bool {
	return slices.ContainsFunc(disguises(secret), func(s string) bool { return bytes.Contains(shown, []byte(s)) })
}

// around returns what stands around the first disguise of a secret.
func around(shown []byte, secret string) string {
	for _, s := range disguises(secret) {
		if i := bytes.Index(shown, []byte(s)); i >= 0 {
			return fmt.Sprintf("%q", shown[max(i-99, 0):min(i+99, len(shown))])
		}
	}
	return ""
}

func testRedactor(t *testing.T, key string) *redact.Redactor {
	t.Helper()
	r, err := redact.NewWithRules([]byte(key), redact.Rules{
		Names: []string{"employee_id"}, KeepCookies: []string{"lang"}, Patterns: []string{`EMP-(\w+)`},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const planted = 150 // exchanges

// The same holds for what isn't HTTP/1: a secret of the path is in the target and in a pseudo-header, and gone from both.
func TestNothingLeaksOfOtherKinds(t *testing.T) {
	r := testRedactor(t, "key")
	for seed := range uint64(3 * planted) {
		p := newPlanter(seed)
		x := p.kind()
		if m := &x.Request; string(m.Bytes(m.Method)) == "CONNECT" {
			m.Target = m.Fields[1].Value
		}
		revealed := show(t, x)
		for _, s := range p.secrets {
			if !found(revealed, s) {
				t.Errorf("seed %d: %s was planted, and isn't seen without redaction", seed, s)
			}
		}
		r.Exchange(x)
		hidden := show(t, x)
		for _, s := range p.secrets {
			if all := slices.Concat(hidden, x.Request.Raw, x.Response.Raw); found(all, s) {
				t.Fatalf("seed %d: %s leaks in %s", seed, s, around(all, s))
			}
		}
		for _, f := range x.Secrets {
			if !bytes.Contains(hidden, []byte(" #"+f+"]")) {
				t.Errorf("seed %d: no mark has the fingerprint %s", seed, f)
			}
		}
		secrets := slices.Clone(x.Secrets)
		x.Secrets = nil
		if testRedactor(t, "another key").Exchange(x); len(x.Secrets) > 0 {
			t.Fatalf("seed %d: redacting again finds more in\n%s", seed, hidden)
		}
		x.Secrets = secrets
		if !bytes.Equal(show(t, x), hidden) {
			t.Fatalf("seed %d: redacting again changes\n%s", seed, hidden)
		}
	}
}

// A line shows the host and the target: what Target hides is enough for it.
func TestTargetOfHTTP2(t *testing.T) {
	for seed := range uint64(planted) {
		p := newPlanter(seed)
		p.secrets = p.secrets[:0]
		x := outputtest.HTTP2(":method: GET\n:scheme: https\n:path: "+p.target()+"\n:authority: joe:"+p.secret()+"@shop.example\n\n", ":status: 200\n\n")
		testRedactor(t, "key").Target(x)
		for _, width := range []int{0, 400} {
			var b bytes.Buffer
			o := line.New(&b, line.Options{Terminal: terminal.Terminal{Width: width}, Location: time.UTC})
			if err := o.Exchange(x); err != nil {
				t.Fatal(err)
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			for _, s := range p.secrets {
				if found(b.Bytes(), s) {
					t.Fatalf("seed %d: %s leaks in %s", seed, s, &b)
				}
			}
		}
	}
}

// No secret leaves through any output in any form, nor stays in the memory of the exchange; and all are seen
// without redaction, so that they were there to be found.
func TestNothingLeaks(t *testing.T) {
	r := testRedactor(t, "key")
	for seed := range uint64(planted) {
		p := newPlanter(seed)
		x := p.exchange()
		revealed := show(t, x)
		for _, s := range p.secrets {
			if !found(revealed, s) {
				t.Errorf("seed %d: %s was planted, and isn't seen without redaction", seed, s)
			}
		}
		r.Exchange(x)
		hidden := show(t, x)
		hidden = append(append(hidden, x.Request.Raw...), x.Response.Raw...)
		for _, s := range p.secrets {
			if found(hidden, s) {
				t.Fatalf("seed %d: %s leaks in %s", seed, s, around(hidden, s))
			}
		}
		if len(x.Secrets) == 0 || !bytes.Contains(hidden, []byte("lang=en")) && bytes.Contains(revealed, []byte("lang=en")) {
			t.Errorf("seed %d: too much is hidden, or the fingerprints are missing: %q", seed, x.Secrets)
		}
		for _, f := range x.Secrets {
			if !bytes.Contains(hidden, []byte(" #"+f+"]")) {
				t.Errorf("seed %d: no mark has the fingerprint %s", seed, f)
			}
		}
	}
}

// What is redacted stays as it is in every output: in a second call, by another Redactor without the fingerprints,
// as after a store that lost them, and under Target.
func TestRedactedStays(t *testing.T) {
	r := testRedactor(t, "key")
	for seed := range uint64(planted) {
		x := newPlanter(seed).exchange()
		r.Exchange(x)
		once, secrets := bytes.Clone(show(t, x)), slices.Clone(x.Secrets)
		for name, again := range map[string]func(){
			"Exchange": func() { r.Exchange(x) },
			"Target":   func() { r.Target(x) },
			"another":  func() { testRedactor(t, "another key").Exchange(x) },
			"stored": func() {
				x.Secrets = nil
				testRedactor(t, "another key").Exchange(x)
				x.Secrets = secrets
			},
		} {
			again()
			if !slices.Equal(x.Secrets, secrets) {
				t.Fatalf("seed %d: %s: fingerprints %q became %q", seed, name, secrets, x.Secrets)
			}
			if twice := show(t, x); !bytes.Equal(once, twice) {
				i := 0
				for i < min(len(once), len(twice)) && once[i] == twice[i] {
					i++
				}
				t.Fatalf("seed %d: %s makes\n%q\nof\n%q", seed, name, twice[max(i-99, 0):min(i+99, len(twice))], once[max(i-99, 0):min(i+99, len(once))])
			}
		}
	}
}

// Invariant: as TestNothingLeaks and TestRedactedStays, for any seed.
func FuzzPlanted(f *testing.F) {
	f.Add(uint64(0))
	f.Fuzz(func(t *testing.T, seed uint64) {
		p := newPlanter(seed)
		x := p.exchange()
		r := testRedactor(t, "key")
		r.Exchange(x)
		once := bytes.Clone(show(t, x))
		for _, s := range p.secrets {
			if found(once, s) {
				t.Fatalf("%s leaks in %s", s, around(once, s))
			}
		}
		x.Secrets = nil
		testRedactor(t, "another key").Exchange(x)
		if len(x.Secrets) > 0 {
			t.Fatalf("redacting again finds more in\n%s", once)
		}
	})
}
