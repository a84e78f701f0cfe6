package redact

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

const (
	jwt  = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N"
	card = "4111 1111 1111 1111" // the test number of Visa
)

func redactor() *Redactor { return New([]byte("key of the tests")) }

var fingerprint = regexp.MustCompile(` #[0-9a-f]{4}]`)

// plain leaves the fingerprints out of marks.
func plain(b []byte) string { return fingerprint.ReplaceAllString(string(b), "]") }

var fields = []struct{ name, value, want string }{
	{"Authorization", "Bearer 0123456789abcde", "Bearer …[redacted 15]"},
	{"authorization", "bearer\t x", "bearer\t …[redacted 1]"},
	{"AUTHORIZATION", "Basic dXNlcjpwYXNz", "Basic …[redacted 12]"},
	{"Authorization", `Digest username="Mufasa", response="6629"`, "Digest …[redacted 34]"},
	{"Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/20240506, Signature=fe5f", "AWS4-HMAC-SHA256 …[redacted 40]"},
	{"Authorization", "s3cr3t", "…[redacted 6]"},
	{"Authorization", "s3cr3t word", "…[redacted 11]"},
	{"Authorization", "Bearer", "…[redacted 6]"},
	{"Authorization ", "Bearer abc", "Bearer …[redacted 3]"},
	{"Authorization", "", ""},
	{"Proxy-Authorization", "Negotiate YII=", "Negotiate …[redacted 4]"},
	{"Cookie", "sid=0123; lang=en;theme=\"dark\" ; empty=; =x; bare", "sid=…[redacted 4]; lang=…[redacted 2];theme=…[redacted 6] ; empty=; =…[redacted 1]; …[redacted 4]"},
	{"Cookie", "a=b=c", "a=…[redacted 3]"},
	{"Set-Cookie", "sid=0123456789; Path=/; HttpOnly; Expires=Wed, 01 Jan 2025", "sid=…[redacted 10]; Path=/; HttpOnly; Expires=Wed, 01 Jan 2025"},
	{"X-API-Key", "abc", "…[redacted 3]"},
	{"x-acme-token", "abc", "…[redacted 3]"},
	{"X-Amz-Security-Token", "abc", "…[redacted 3]"},
	{"Cf-Access-Client-Secret", "abc", "…[redacted 3]"},
	{"X-Session-Id", "abc", "…[redacted 3]"},
	{"Idempotency-Key", "0123456789abcdef0123", "0123456789abcdef0123"},
	{"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="},
	{"X-Next-Page-Token", "abc", "…[redacted 3]"},
	{"Next-Page-Token", "abc", "abc"},
	{"Connection", "keep-alive", "keep-alive"},
	{"X-Note", "see " + jwt + ", please", "see …[redacted 59], please"},
	{"X-Note", "eyJ is no token, nor is eyJabc.def", "eyJ is no token, nor is …[redacted 10]"},
	{"X-Note", "eyJabc.def and " + card, "eyJabc.def and …[redacted 19]"},
	{"X-Note", "paid with 4111111111111111, 4222222222222", "paid with …[redacted 16], 4222222222222"},
	{"X-Request-Id", "41111111-1111-4111-8111-111111111111", "41111111-1111-4111-8111-111111111111"},
	{"X-Request-Id", "a-4111111111111111", "a-4111111111111111"},
	{"X-Datadog-Trace-Id", "4000000000000000006", "4000000000000000006"},
	{"Host", "a.example", "a.example"},
	{"Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.c2VjcmV0, base64.binary.k8s.io", "base64url.bearer.authorization.k8s.io.…[redacted 8], base64.binary.k8s.io"},
	{"X-Hub-Signature-256", "sha256=0123", "…[redacted 11]"},
	{"Authentication", "Bearer abc", "Bearer …[redacted 3]"},
	{"Referer", "https://a.example/reset/Xk29abPq?x=1", "https://a.example/reset/…[redacted 8]?x=1"},
	{"Referer", "https://a.example/x?q=1&token=abc&b=2#frag", "https://a.example/x?q=1&token=…[redacted 3]&b=2#frag"},
	{"Referer", "https://joe:secret@a.example/x", "https://…[redacted 10]@a.example/x"},
	{"Referer", "https://joe:secret@a.example/x?token=abc", "https://…[redacted 10]@a.example/x?token=…[redacted 3]"},
	{"Location", "/done#access_token=abc&state=5", "/done#access_token=…[redacted 3]&state=5"},
	{"Location", "/login?next=http://u:p@b/?token=x", "/login?next=http://…[redacted 3]@b/?token=…[redacted 1]"},
	{"Link", `<https://a/?page=2&private_token=abc>; rel="next", <https://a/?private_token=abc&page=9>; rel="last"`,
		`<https://a/?page=2&private_token=…[redacted 3]>; rel="next", <https://a/?private_token=…[redacted 3]&page=9>; rel="last"`},
	{"Refresh", "5; url=/x?token=abc", "5; url=/x?token=…[redacted 3]"},
	{"x-\xff-token", "\xfe\xff", "…[redacted 2]"},
	{"\xff", "\xfe", "\xfe"},
}

func TestFields(t *testing.T) {
	for _, c := range fields {
		for _, flags := range []proto.FieldFlags{0, proto.Trailer} {
			x := outputtest.Exchange("GET / HTTP/1.1\nHost: a\n"+c.name+": "+c.value+"\nAccept: */*\n\n", "")
			x.Request.Fields[1].Flags = flags
			redactor().Exchange(x)
			if got := plain(x.Request.Bytes(x.Request.Fields[1].Value)); got != c.want {
				t.Errorf("%s: %s\n got %s\nwant %s", c.name, c.value, got, c.want)
			}
			if got := string(x.Request.Field("accept")); got != "*/*" {
				t.Errorf("%s: %s: the header behind it became %q", c.name, c.value, got)
			}
		}
	}
}

var targets = []struct{ target, want string }{
	{"/", "/"},
	{"*", "*"},
	{"/a?api_key=hunter2", "/a?api_key=…[redacted 7]"},
	{"/a?x=1&API-KEY=hunter2&y=2", "/a?x=1&API-KEY=…[redacted 7]&y=2"},
	{"/a?user[password]=x&tokens[0]=a&token[]=b&token[3]=c", "/a?user[password]=…[redacted 1]&tokens[0]=a&token[]=…[redacted 1]&token[3]=…[redacted 1]"},
	{"/a?p%61ssword=x&user%5Bpwd%5D=yz", "/a?p%61ssword=…[redacted 1]&user%5Bpwd%5D=…[redacted 2]"},
	{"/a?newPassword=x&accessToken=y", "/a?newPassword=…[redacted 1]&accessToken=…[redacted 1]"},
	{"/a?page_token=x&max_tokens=5&token_type=jwt&keyword=a&passenger=joe", "/a?page_token=x&max_tokens=5&token_type=jwt&keyword=a&passenger=joe"},
	{"/a?code=DE&key=name&session=5", "/a?code=DE&key=name&session=5"},
	{"/cb?code=0123456789abcdef&state=5", "/cb?code=…[redacted 16]&state=5"},
	{"/a?token=x;y=z&b=1", "/a?token=…[redacted 5]&b=1"},
	{"/a?b=1;token=x", "/a?b=1;token=…[redacted 1]"},
	{"/a;jsessionid=ABC/b?c=1", "/a;jsessionid=…[redacted 3]/b?c=1"},
	{"/a?password=&b", "/a?password=&b"},
	{"/a?=x&token", "/a?=x&token"},
	{"/v/" + jwt + "?a=1", "/v/…[redacted 59]?a=1"},
	{"/v?x=" + jwt, "/v?x=…[redacted 59]"},
	{"/pay?n=4111111111111111&m=4111111111111112", "/pay?n=…[redacted 16]&m=4111111111111112"},
	{"/pay?n=4111-1111-1111-1111", "/pay?n=…[redacted 19]"},
	{"/pay?n=a+4111%201111+1111+1111+2025", "/pay?n=a+…[redacted 21]+2025"},
	{"http://joe:secret@a.example/x?token=1", "http://…[redacted 10]@a.example/x?token=…[redacted 1]"},
	{"joe:secret@a.example:443", "…[redacted 10]@a.example:443"},
	{"/r?u=http://x/&token=abc", "/r?u=http://x/&token=…[redacted 3]"},
	{"/token=a/http://x/?token=b", "/token=…[redacted 1]/http://x/?token=…[redacted 1]"},

	// Paths.
	{"/reset/Xk29abPq", "/reset/…[redacted 8]"},
	{"/shop4you/next%3Ftoken%3Dabc123", "/shop4you/next%3Ftoken%3D…[redacted 6]"},
	{"/keys4you/-----BEGIN+PRIVATE+KEY-----abc", "/keys4you/…[redacted 30]"},
	{"/password-reset/confirm/MQ/c9x-0123456789", "/password-reset/confirm/MQ/…[redacted 14]"},
	{"/api/webhooks/123456789012345678/aB3-x_Y9012/slack", "/api/webhooks/123456789012345678/…[redacted 11]/slack"},
	{"/invite/550e8400-e29b-41d4-a716-446655440000/accept?x=1", "/invite/…[redacted 36]/accept?x=1"},
	{"/verify/abcdEFGHijklMNOPqr;v=1/x", "/verify/…[redacted 18];v=1/x"},
	{"/tokens/refresh/now", "/tokens/refresh/now"},
	{"/token/refresh/users/550e8400-e29b-41d4-a716-446655440000", "/token/refresh/users/550e8400-e29b-41d4-a716-446655440000"},
	{"/users/550e8400-e29b-41d4-a716-446655440000", "/users/550e8400-e29b-41d4-a716-446655440000"},
	{"/confirm/12345678", "/confirm/12345678"},
	{"/cards/4111111111111111/limits", "/cards/…[redacted 16]/limits"},
	{"/guilds/412345678901234567", "/guilds/412345678901234567"},

	// Values within values.
	{"/r?u=https%3A%2F%2Fu%3Ap%40x%2F%3Ftoken%3Dabc%26b%3D1&c=2", "/r?u=https%3A%2F%2F…[redacted 5]%40x%2F%3Ftoken%3D…[redacted 3]%26b%3D1&c=2"},
	{"/r?u=%2Fx%3fa%3d1%26token%3Dabc", "/r?u=%2Fx%3fa%3d1%26token%3D…[redacted 3]"},
	{"/r?u=%252Fx%253Ftoken%253Dabc", "/r?u=%252Fx%253Ftoken%253Dabc"},
	{"/r?u=a%3D%2Fx%253Ftoken%253Dabc", "/r?u=a%3D%2Fx%253Ftoken%253D…[redacted 3]"},
	{"/r?q=%7B%22password%22:+%22a+b%22,%22pin%22:12345%7D", "/r?q=%7B%22password%22:+%22…[redacted 3]%22,%22pin%22:\"…[redacted 5]\"%7D"},
	{"/r?email=joe%40a.example&x=100%", "/r?email=joe%40a.example&x=100%"},
	{"\xff\xfe?token=\xfd", "\xff\xfe?token=…[redacted 1]"},
}

func TestTargets(t *testing.T) {
	for _, c := range targets {
		x := outputtest.Exchange("GET "+c.target+" HTTP/1.1\nHost: a\n\n", "")
		redactor().Exchange(x)
		if got := plain(x.Request.Bytes(x.Request.Target)); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.target, got, c.want)
		}
	}
}

var bodies = []struct{ mediaType, body, want string }{
	{"application/x-www-form-urlencoded", "user=joe&password=hunter2&x=1", "user=joe&password=…[redacted 7]&x=1"},
	{"", "password=hunter2", "password=…[redacted 7]"},
	{"text/plain", "a.password=hunter2", "a.password=…[redacted 7]"},
	{"text/html", "<a href=\"?password=hunter2\">", "<a href=\"?password=…[redacted 7]\">"},
	{"text/html", "card " + card + ", token " + jwt + ".", "card …[redacted 19], token …[redacted 60]"},
	{"application/json", `{"user": "joe", "password": "hun\"ter2", "n": [1, true, null]}`, `{"user": "joe", "password": "…[redacted 9]", "n": [1, true, null]}`},
	{"application/json", `{"pin":12345,"pinned":12,"token":-1.5e3,"ok":true}`, `{"pin":"…[redacted 5]","pinned":12,"token":"…[redacted 6]","ok":true}`},
	{"application/json", `{"credentials":{"a":["b",{"c":1}],"d":true},"e":"f"}`, `{"credentials":{"a":["…[redacted 1]",{"c":"…[redacted 1]"}],"d":true},"e":"f"}`},
	{"application/json", `{"p\u0061ssword" : "x"}`, `{"p\u0061ssword" : "…[redacted 1]"}`},
	{"application/json", `{"password":"never clo`, `{"password":"…[redacted 9]`},
	{"application/json", `{"password":123`, `{"password":"…[redacted 3]"`},
	{"application/json", `{"password":`, `{"password":`},
	{"application/json", `{"a":4111111111111111,"b":"no ` + card + `","c":"` + jwt + `"}`, `{"a":"…[redacted 16]","b":"no …[redacted 19]","c":"…[redacted 59]"}`},
	{"application/json", `["4111111111111112", 0.4111111111111111, 1700000000000]`, `["4111111111111112", 0.4111111111111111, 1700000000000]`},
	{"application/problem+json; charset=utf-8", `"password"`, `"password"`},
	{"application/x-www-form-urlencoded", ` {"password":"x"}`, ` {"password":"…[redacted 1]"}`},
	{"application/x-ndjson", "{\"token\":\"a\"}\n{\"token\":\"b\"}\n", "{\"token\":\"…[redacted 1]\"}\n{\"token\":\"…[redacted 1]\"}\n"},
	{"text/event-stream", "data: {\"token\":\"a\"}\n\n", "data: {\"token\":\"…[redacted 1]\"}\n\n"},
	{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; filename=\"token\"; name=\"password\"\r\n\r\nhunter2\r\n--b\r\nContent-Disposition: form-data; name=file\r\n\r\n" + card + "\r\n--b--\r\n",
		"--b\r\nContent-Disposition: form-data; filename=\"token\"; name=\"password\"\r\n\r\n…[redacted 7]\r\n--b\r\nContent-Disposition: form-data; name=file\r\n\r\n…[redacted 19]\r\n--b--\r\n"},
	{"multipart/form-data", "preamble\n--b\nContent-Disposition: form-data; name=token\n\nnever clo", "preamble\n--b\nContent-Disposition: form-data; name=token\n\n…[redacted 9]"},
	{"multipart/mixed", "--b\n\n{\"token\":\"x\"}\n--b--", "--b\n\n{\"token\":\"…[redacted 1]\"}\n--b--"},
	{"multipart/mixed", "no delimiter " + card, "no delimiter …[redacted 19]"},
	{"text/plain", "user joe logs in: password=abc&x", "user joe logs in: password=…[redacted 3]&x"},
	{"application/javascript", "var password=abc", "var password=abc"},
	{"application/x-pem-file", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nx", "…[redacted 66]\nx"},
	{"application/json", `{"a":"-----BEGIN PRIVATE KEY-----\nMII"}`, `{"a":"…[redacted 32]"}`},
	{"text/plain", "-----BEGIN CERTIFICATE-----\nMIIE", "-----BEGIN CERTIFICATE-----\nMIIE"},

	// Values within values.
	{"application/json", `{"body":"{\"password\":\"x\",\"pin\":12345}","b":1}`, `{"body":"{\"password\":\"…[redacted 1]\",\"pin\":\"…[redacted 5]\"}","b":1}`},
	{"application/json", `{"m":"{\"n\":\"{\\\"token\\\":\\\"x\\\",\\\"pin\\\":12345}\"}"}`, `{"m":"{\"n\":\"{\\\"token\\\":\\\"…[redacted 1]\\\",\\\"pin\\\":\\\"…[redacted 5]\\\"}\"}"}`},
	{"application/json", `{"u":"https:\/\/u:p@h\/?a=1\u0026token=abc"}`, `{"u":"https:\/\/…[redacted 3]@h\/?a=1\u0026token=…[redacted 3]"}`},
	{"application/json", `{"u":"https://u:p@h/?a=1&token=abc"}`, `{"u":"https://…[redacted 3]@h/?a=1&token=…[redacted 3]"}`},
	{"application/json", `{"u":"[1,4111111111111111]"}`, `{"u":"[1,\"…[redacted 16]\"]"}`},
	{"application/json", `{"log":"a=1&password=x\nb"}`, `{"log":"a=1&password=…[redacted 1]\nb"}`},
	{"application/x-www-form-urlencoded", "payload=%7B%22token%22%3A%22abc%22%7D&b=1", "payload=%7B%22token%22%3A%22…[redacted 3]%22%7D&b=1"},

	// Markup.
	{"text/xml", `<s:Envelope><wsse:Password Type="x"> abc </wsse:Password><user>joe</user></s:Envelope>`, `<s:Envelope><wsse:Password Type="x"> …[redacted 3] </wsse:Password><user>joe</user></s:Envelope>`},
	{"", `<?xml version="1.0"?><a><password><![CDATA[a<b]]></password><c>d</c></a>`, `<?xml version="1.0"?><a><password><![CDATA[…[redacted 3]]]></password><c>d</c></a>`},
	{"application/soap+xml", `<credentials><user id="1">joe</user><!-- c --><x/>y</credentials>z`, `<credentials><user id="1">…[redacted 3]</user><!-- c --><x/>…[redacted 1]</credentials>z`},
	{"application/xml", `<password/>abc<db password="x" user='joe'/><add key="ApiKey" value="y" />`, `<password/>abc<db password="…[redacted 1]" user='joe'/><add key="ApiKey" value="…[redacted 1]" />`},
	{"application/xml", `<member><name>password</name><value><string>x</string></value></member><name>a</name><v>x</v>`, `<member><name>password</name><value><string>…[redacted 1]</string></value></member><name>a</name><v>x</v>`},
	{"application/xml", `<string name="token">x</string><div name="token">x</div><Key>0123456789abcdef/photo.jpg</Key><code>0123456789abcdef</code>`, `<string name="token">…[redacted 1]</string><div name="token">x</div><Key>0123456789abcdef/photo.jpg</Key><code>0123456789abcdef</code>`},
	{"text/html", `<input value=abc name=csrf_token><input type="password" value='x>y'><input name=q value=z>`, `<input value=…[redacted 3] name=csrf_token><input type="password" value='…[redacted 3]'><input name=q value=z>`},
	{"text/html", `<meta name="csrf-token" content="abc"><a href="https://u:p@h/?a=1&amp;token=b">t</a><script>if(a<b)token=c</script>`, `<meta name="csrf-token" content="…[redacted 3]"><a href="https://…[redacted 3]@h/?a=1&amp;token=…[redacted 1]">t</a><script>if(a<b)token=c</script>`},
	{"text/html", `<script>{"token":"x"}</script><p>see https://h/?token=y`, `<script>{"token":"…[redacted 1]"}</script><p>see https://h/?token=…[redacted 1]`},
	{"text/xml", `<password>never clo`, `<password>…[redacted 9]`},
	{"text/xml", `<password never="clo`, `<password never="clo`},
	{"text/xml", `<`, `<`},

	// Messages as bodies.
	{"message/http", "TRACE /a?token=abc HTTP/1.1\r\nCookie: a=b\r\nHost: h\r\n\r\n", "TRACE /a?token=…[redacted 3] HTTP/1.1\r\nCookie: a=…[redacted 1]\r\nHost: h\r\n\r\n"},
	{"multipart/mixed; boundary=b", "--b\r\nContent-Type: application/http\r\n\r\nPOST /x?token=a HTTP/1.1\r\nAuthorization: Bearer abc\r\nContent-Type: application/json\r\n\r\n{\"password\":\"x\"}\r\n--b--\r\n",
		"--b\r\nContent-Type: application/http\r\n\r\nPOST /x?token=…[redacted 1] HTTP/1.1\r\nAuthorization: Bearer …[redacted 3]\r\nContent-Type: application/json\r\n\r\n{\"password\":\"…[redacted 1]\"}\r\n--b--\r\n"},
	{"multipart/form-data", "--b\nContent-Disposition: form-data; name=a\n\n[{\"token\":\"x\"}]\n--b--", "--b\nContent-Disposition: form-data; name=a\n\n[{\"token\":\"…[redacted 1]\"}]\n--b--"},
	{"image/png", "\x89PNG\x00\x01", "\x89PNG\x00\x01"},
}

func TestBodies(t *testing.T) {
	for _, c := range bodies {
		head := "Content-Type: " + c.mediaType + "\n"
		if c.mediaType == "" {
			head = ""
		}
		x := outputtest.Exchange("POST / HTTP/1.1\n"+head+"\n", "HTTP/1.1 200 OK\n"+head+"\n")
		for _, b := range []*exchange.Body{&x.RequestBody, &x.ResponseBody} {
			b.Bytes = []byte(c.body)
		}
		redactor().Exchange(x)
		for _, b := range []*exchange.Body{&x.RequestBody, &x.ResponseBody} {
			if got := plain(b.Bytes); got != c.want {
				t.Errorf("%s: %s\n got %s\nwant %s", c.mediaType, c.body, got, c.want)
			}
		}
	}
}

// The bytes behind a body stay what they are.
func TestBodyStaysWithinItself(t *testing.T) {
	x := outputtest.Exchange("POST / HTTP/1.1\n\n", "")
	next := " the next body, longer than any mark could be"
	memory := []byte("token=a" + next)
	x.RequestBody.Bytes = memory[:len("token=a")]
	redactor().Exchange(x)
	if string(memory[len("token=a"):]) != next || bytes.Contains(memory[:7], []byte("a")) {
		t.Errorf("memory is %q", memory)
	}
}

// What couldn't be decoded may never have been encoded.
func TestUndecodedBody(t *testing.T) {
	x := outputtest.Exchange("POST / HTTP/1.1\n\n", "")
	x.RequestBody = exchange.Body{Bytes: []byte("token=a"), Undecoded: "br"}
	redactor().Exchange(x)
	if got := plain(x.RequestBody.Bytes); got != "token=…[redacted 1]" {
		t.Errorf("it became %q", got)
	}
}

// A secret within a message that has lengths is covered, so that what is behind it can still be read.
func TestFramedBody(t *testing.T) {
	for _, mediaType := range []string{"application/grpc", "application/grpc-web+proto", "application/x-protobuf"} {
		x := outputtest.Exchange("POST / HTTP/1.1\nContent-Type: "+mediaType+"\n\n", "")
		before, behind := "\x00\x00\x00\x00\x40\n\x3a", "\x12\x05hello"
		x.RequestBody.Bytes = []byte(before + jwt + behind)
		redactor().Exchange(x)
		if got, want := string(x.RequestBody.Bytes), before+strings.Repeat("*", len(jwt))+behind; got != want || len(x.Secrets) != 1 {
			t.Errorf("%s: it became %q, secrets %v", mediaType, got, x.Secrets)
		}
		redactor().Exchange(x)
		if got := string(x.RequestBody.Bytes); !strings.HasSuffix(got, behind) {
			t.Errorf("%s: again, it became %q", mediaType, got)
		}
	}
}

func TestFingerprint(t *testing.T) {
	mark := func(key, secret string) string {
		x := outputtest.Exchange("GET / HTTP/1.1\nX-Api-Key: "+secret+"\n\n", "")
		New([]byte(key)).Exchange(x)
		return string(x.Request.Field("x-api-key"))
	}
	// The fingerprint is that of: printf hunter2 | openssl dgst -sha256 -hmac k
	a := mark("k", "hunter2")
	if want := "…[redacted 7 #0cd9]"; a != want {
		t.Errorf("mark is %s, want %s", a, want)
	}
	if a != mark("k", "hunter2") {
		t.Error("the same secret has two fingerprints")
	}
	if a == mark("k", "hunter3") || a == mark("l", "hunter2") {
		t.Errorf("fingerprint %s doesn't depend on secret and key", a)
	}
	if !utf8.ValidString(a) {
		t.Errorf("%q isn't UTF-8", a)
	}
}

// What the parser couldn't take apart is overwritten, and line ends stay.
func TestUnparsedHead(t *testing.T) {
	x := outputtest.Exchange("GET /a HTTP/1.1\nHost: a\nAuthorization: Bearer hunter2\n\n", "")
	m := &x.Request
	m.Fields = m.Fields[:1]
	m.Anomalies.Set(proto.TooManyFields)
	redactor().Exchange(x)
	want := "GET /a HTTP/1.1\r\nHost* a\r\n************** ****** *******\r\n\r\n"
	if string(m.Raw) != want {
		t.Errorf("head is %q, want %q", m.Raw, want)
	}
}

func TestOriginalIsOverwritten(t *testing.T) {
	x := outputtest.Exchange("GET /a?token=hunter2 HTTP/1.1\nCookie: a=hunter3; b=hun\n\n", "")
	n := len(x.Request.Raw)
	redactor().Exchange(x)
	want := "GET /a?token=******* HTTP/1.1\r\nCookie: a=*******; b=***\r\n\r\n"
	if got := string(x.Request.Raw[:n]); got != want {
		t.Errorf("head is %q, want %q", got, want)
	}
}

func TestTooManySecrets(t *testing.T) {
	x := outputtest.Exchange("GET / HTTP/1.1\nCookie: "+strings.Repeat("a=secret; ", MaxSecrets+5)+"\n\n", "")
	r := redactor()
	r.Exchange(x)
	got := x.Request.Field("cookie")
	if n := bytes.Count(got, []byte(markStart)); n != MaxSecrets || bytes.Contains(got, []byte("secret")) || r.Lumped != 1 {
		t.Errorf("%d marks, lumped %d", n, r.Lumped)
	}
	before := string(x.Request.Raw)
	if r.Exchange(x); string(x.Request.Raw) != before {
		t.Error("a second pass changes it")
	}
}

func TestCards(t *testing.T) {
	for number, want := range map[string]bool{
		"4111111111111111": true, "4012888888881881": true, "4222222222222": true, "5555555555554444": true,
		"2223003122003222": true, "378282246310005": true, "6011111111111117": true, "30569309025904": true,
		"3530111333300000": true, "6200000000000005": true, "4111 1111 1111 1111": true, "4111-1111-1111-1111": true,
		"4000000000000000006": true, "412345678901234567": false, "4111111111111112": false, "1234567812345670": false, "411111111111111": false, "0000000000000000": false,
		"4111  1111 1111 1111": false, "41111111111111111111": false, "4111111111111111a": false,
	} {
		if got := cardLen([]byte(number)) == len(number); got != want {
			t.Errorf("%s: %v, want %v", number, got, want)
		}
	}
}

const ordinary = "GET /api/users?page=2&sort=name HTTP/1.1\nHost: shop.example\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:126.0)\n" +
	"Accept: text/html,application/xhtml+xml\nAccept-Language: en-US,en;q=0.5\nAccept-Encoding: gzip, deflate, br\nDNT: 1\n" +
	"Connection: keep-alive\nUpgrade-Insecure-Requests: 1\nSec-Fetch-Dest: document\nSec-Fetch-Mode: navigate\nSec-Fetch-Site: none\n" +
	"Sec-Fetch-User: ?1\nCache-Control: max-age=0\nIf-None-Match: \"5d8c72a5edda8\"\nX-Forwarded-For: 10.0.0.1\nX-Request-Id: 7b6f\n\n"

func TestOrdinaryAllocatesNothing(t *testing.T) {
	r, x := redactor(), outputtest.Exchange(ordinary, "")
	if n := testing.AllocsPerRun(100, func() { r.Exchange(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOrdinary(b *testing.B) {
	for name, text := range map[string]string{"query": ordinary, "no query": strings.Replace(ordinary, "?page=2&sort=name", "", 1)} {
		b.Run(name, func(b *testing.B) {
			r, x := redactor(), outputtest.Exchange(text, "")
			b.ReportAllocs()
			for b.Loop() {
				r.Exchange(x)
			}
		})
	}
}

func BenchmarkSecrets(b *testing.B) {
	r := redactor()
	text := strings.Replace(ordinary, "\n\n", "\nAuthorization: Bearer 0123456789abcdef\nCookie: sid=0123456789abcdef; lang=en\n\n", 1)
	src := outputtest.Exchange(text, "")
	x := *src
	x.Request = proto.Message{}
	b.ReportAllocs()
	for b.Loop() {
		x.Request.CopyFrom(&src.Request)
		r.Exchange(&x)
	}
}

// places are where a secret may stand: a request, with SECRET in its place.
var places = []string{
	"GET /a?password=SECRET&b=1 HTTP/1.1\nHost: a\n\n",
	"GET /a?b=1&user%5Btoken%5D=SECRET HTTP/1.1\nHost: a\n\n",
	"GET /a;jsessionid=SECRET HTTP/1.1\nHost: a\n\n",
	"GET http://SECRET@h/a HTTP/1.1\nHost: a\n\n",
	"GET http://u:SECRET@h/a?secret=SECRET HTTP/1.1\nHost: a\n\n",
	"CONNECT u:SECRET@h:443 HTTP/1.1\nHost: a\n\n",
	"GET / HTTP/1.1\nAuthorization: Bearer SECRET\n\n",
	"GET / HTTP/1.1\nAuthorization: Bearer  x SECRET\n\n",
	"GET / HTTP/1.1\nProxy-Authorization: SECRET\n\n",
	"GET / HTTP/1.1\nCookie: a=SECRET; b=x; c=SECRET\n\n",
	"GET / HTTP/1.1\nSet-Cookie: a=SECRET; Path=/\n\n",
	"GET / HTTP/1.1\nX-Api-Key: SECRET\nX-Acme-Secret: a SECRET b\n\n",
	"GET / HTTP/1.1\nReferer: http://h/?x=1#access_token=SECRET&y=2\n\n",
	"GET / HTTP/1.1\nLocation: http://SECRET@h/?token=SECRET\n\n",
	"GET / HTTP/1.1\nX-Any: a eyJSECRET.SECRET.SECRET b\n\n",
	"POST / HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n\na=1&password=SECRET",
	"POST / HTTP/1.1\nContent-Type: application/json\n\n{\"a\":[{\"client_secret\":\"SECRET\"}],\"b\":2}",
	"POST / HTTP/1.1\nContent-Type: application/json\n\n{\"password\":{\"a\":[\"SECRET\",5]},\"b\":2}",
	"POST / HTTP/1.1\nContent-Type: multipart/form-data; boundary=b\n\n--b\nContent-Disposition: form-data; name=\"password\"\n\nSECRET\n--b--\n",
	"GET /reset/SECRETa1b2c3 HTTP/1.1\nHost: a\n\n",
	"GET /?u=http%3A%2F%2FSECRET%40h%2F%3Ftoken%3DSECRET HTTP/1.1\nHost: a\n\n",
	"POST / HTTP/1.1\nContent-Type: application/json\n\n{\"a\":\"{\\\"password\\\":\\\"SECRET\\\"}\"}",
	"POST / HTTP/1.1\nContent-Type: text/xml\n\n<a><password>SECRET</password><b token='SECRET'/></a>",
	"POST / HTTP/1.1\nContent-Type: message/http\n\nTRACE /?token=SECRET HTTP/1.1\nCookie: a=SECRET\n",
}

// Invariant: a secret in any of the places is in no byte of the redacted exchange; redacting again
// changes nothing; the number of fields, and what stands around the secret, stay.
func FuzzSecret(f *testing.F) {
	for i := range places {
		f.Add(i, "hunter2", "x")
		f.Add(i, "4111111111111111", "1 2")
	}
	f.Fuzz(func(t *testing.T, place int, secret, noise string) {
		secret = "Zq9" + clean(secret)
		if len(secret) < 6 {
			return
		}
		text := places[uint(place)%uint(len(places))]
		text = strings.Replace(text, "\n\n", "\nX-Noise: "+clean(noise)+"\n\n", 1)
		x := outputtest.Exchange(strings.ReplaceAll(text, "SECRET", secret), "")
		count := len(x.Request.Fields)
		r := redactor()
		r.Exchange(x)
		once := snapshot(x)
		if strings.Contains(once, secret) || bytes.Contains(x.Request.Raw, []byte(secret)) {
			t.Fatalf("%q is still in\n%s\n%q", secret, once, x.Request.Raw)
		}
		if len(x.Request.Fields) != count || !strings.Contains(once, clean(noise)) || !strings.Contains(once, markStart) {
			t.Fatalf("structure is lost:\n%s", once)
		}
		if r.Exchange(x); snapshot(x) != once {
			t.Fatalf("redacting again makes\n%s\nof\n%s", snapshot(x), once)
		}
	})
}

// clean leaves letters and digits only.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && isAlphanumeric(byte(r)) {
			return r
		}
		return -1
	}, s)
}

func snapshot(x *exchange.Exchange) string {
	m := &x.Request
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\n", m.Bytes(m.Method), m.Bytes(m.Target), m.Bytes(m.Proto))
	for _, f := range m.Fields {
		fmt.Fprintf(&b, "%s: %s\n", m.Bytes(f.Name), m.Bytes(f.Value))
	}
	b.WriteByte('\n')
	b.Write(x.RequestBody.Bytes)
	return b.String()
}

// Invariant: whatever a name, a value, a target and a body are, redacting them doesn't panic, redacting
// them twice changes nothing, and nothing but secrets changes: between the marks stands what stood
// there before.
func FuzzAnything(f *testing.F) {
	for _, c := range fields {
		f.Add(c.name, c.value, "/", "text/plain", "")
	}
	for _, c := range targets {
		f.Add("Referer", c.target, c.target, "", "")
	}
	for _, c := range bodies {
		f.Add("a", "b", "/", c.mediaType, c.body)
	}
	f.Fuzz(func(t *testing.T, name, value, target, mediaType, body string) {
		var x exchange.Exchange
		m := &x.Request
		span := func(s string) proto.Span {
			m.Raw = append(m.Raw, s...)
			return proto.Span{Off: uint32(len(m.Raw) - len(s)), Len: uint32(len(s))}
		}
		x.HasRequest = true
		m.Target = span(target)
		m.Fields = []proto.Field{{Name: span(name), Value: span(value)}, {Name: span("content-type"), Value: span(mediaType)}}
		x.RequestBody.Bytes = []byte(body)
		r := redactor()
		r.Exchange(&x)
		parts := map[string]string{
			target: string(m.Bytes(m.Target)), value: string(m.Bytes(m.Fields[0].Value)), body: string(x.RequestBody.Bytes),
		}
		for before, after := range parts {
			if !keepsRest(before, after) {
				t.Fatalf("%q became %q", before, after)
			}
		}
		once := snapshot(&x)
		x.Secrets = nil // nothing says that it is the second time
		if r.Exchange(&x); snapshot(&x) != once {
			t.Fatalf("redacting again makes\n%q\nof\n%q", snapshot(&x), once)
		}
	})
}

// quotes are what may stand around marks: those of JSON in strings of JSON.
var quotes = [2]*regexp.Regexp{regexp.MustCompile(`\\*"$`), regexp.MustCompile(`^\\*"`)}

// keepsRest reports whether the pieces between the marks of after are pieces of before, in order.
func keepsRest(before, after string) bool {
	for after != "" {
		n := strings.Index(after, markStart)
		if n < 0 {
			return strings.HasSuffix(before, after)
		}
		piece := quotes[0].ReplaceAllString(after[:n], "")
		i := strings.Index(before, piece)
		if i < 0 {
			return false
		}
		before = before[i+len(piece):]
		after = after[n:]
		length := max(markLen([]byte(after)), len(markStart))
		after = quotes[1].ReplaceAllString(after[length:], "")
	}
	return true
}

// The target of HTTP/2 is a pseudo-header: both have the same mark, of the secret itself.
func TestPseudoHeaders(t *testing.T) {
	plain := outputtest.Exchange("GET /?token=s3cr3t HTTP/1.1\nHost: a\n\n", "")
	redactor().Exchange(plain)
	want := string(plain.Request.Bytes(plain.Request.Target))
	x := outputtest.HTTP2(":method: GET\n:scheme: https\n:path: /?token=s3cr3t\n:authority: a\n\n", "")
	redactor().Exchange(x)
	if got := string(x.Request.Bytes(x.Request.Target)); got != want {
		t.Errorf("target %q, want %q", got, want)
	}
	if got := string(x.Request.Field(":path")); got != want {
		t.Errorf(":path %q, want %q", got, want)
	}
	if len(x.Secrets) != 1 || x.Secrets[0] != plain.Secrets[0] {
		t.Errorf("fingerprints %q, want %q", x.Secrets, plain.Secrets)
	}
}
