//go:build linux

package peers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/lab/tlspeers"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// passed is what the tests of gateways want to know of an exchange.
type passed struct {
	protocol, grade, reason string
	method, target          string
	status                  int
	request, response       proto.Message
	duration                int64
	anomalies               proto.Anomalies
	proxied                 *proto.Proxied
	tls                     *proto.TLS
}

// answered reports whether there is a response.
func (p *passed) answered() bool { return p.response.Kind == proto.Response }

// said returns a fact as text.
func said(m *proto.Message, fact string) string {
	if f := m.Fact(fact); f != nil && f.Value.Len == 0 {
		return fmt.Sprint(f.Number)
	}
	return string(m.FactText(fact))
}

// passing takes exchanges.
type passing struct{ all []passed }

func (*passing) Idle() error { return nil }

func (r *passing) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		p := passed{
			protocol: x.Protocol, grade: x.Grade.String(), reason: x.Reason, duration: x.Timing.Duration,
			anomalies: x.Anomalies, proxied: x.Proxied, tls: x.TLS,
		}
		if x.HasRequest {
			p.request.CopyFrom(&x.Request)
			p.method, p.target = string(x.Request.Bytes(x.Request.Method)), string(x.Request.Bytes(x.Request.Target))
		}
		if x.HasResponse {
			p.response.CopyFrom(&x.Response)
			p.status = x.Response.Status
		}
		r.all = append(r.all, p)
	}
	return nil
}

// pass runs the pipeline over a recording, and returns its exchanges.
func pass(t *testing.T, pcap []byte, keys *keylog.Store) []passed {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateways.pcap")
	if err := os.WriteFile(file, pcap, 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := capture.Open([]capture.Input{{Path: file}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var r passing
	if _, err = pipeline.Run(context.Background(), source, pipeline.Config{
		Workers: 1,
		Memory:  1 << 30,
		Keys:    keys,
		Packet:  packet.DefaultLimits(),
		TCP:     tcp.DefaultLimits,
		Parser:  proto.Limits{MaxHead: 64 << 10, MaxFields: 200, MaxStreams: 100, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{
			MaxWaiting: 100, ExchangeTimeout: patience,
		},
	}, &r); err != nil {
		t.Fatal(err)
	}
	return r.all
}

// background starts a program that has children of its own. It returns where its output goes, and what ends all of them; the test's
// end does too.
func background(t *testing.T, dir, name string, args ...string) (output string, end func()) {
	t.Helper()
	output = filepath.Join(dir, filepath.Base(name)+".output")
	file, err := os.Create(output) // a pipe would be waited for as long as any child lives
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait() // it was killed
	})
	t.Cleanup(end)
	return output, end
}

// await waits until a program that runs in the background answers at an address.
func await(t *testing.T, at, output string) {
	t.Helper()
	if err := tlspeers.Await(at); err != nil {
		text, _ := os.ReadFile(output)
		t.Fatalf("%v: %s", err, text)
	}
}

// startWebServer starts nginx with what an http block holds beside the usual, and waits until it answers at an address. It returns what
// ends it.
func startWebServer(t *testing.T, dir, at, http string) (end func()) {
	t.Helper()
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // or it couldn't read the temporary folder
	}
	config := user + `
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {}
http {
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	` + http + `
}
`
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	_, end = background(t, dir, program(t, "nginx"), "-p", dir+"/", "-c", "nginx.conf", "-e", "error.log")
	await(t, at, filepath.Join(dir, "error.log"))
	return end
}

// upstreamFormat makes nginx write what it says of who is behind it.
const upstreamFormat = `log_format json escape=json '{"method":"$request_method","target":"$request_uri","status":$status,"port":$remote_port,'
	'"upstream_status":"$upstream_status","sent":"$upstream_bytes_sent","received":"$upstream_bytes_received","seconds":"$upstream_response_time"}';
	access_log access.log json;`

// forwarded is a line of nginx's access log.
type forwarded struct {
	Method, Target string
	Status, Port   int
	UpstreamStatus string `json:"upstream_status"`
	Sent           string
	Received       string
	Seconds        string
}

// logged returns the lines of a log of JSON objects, once there are n.
func logged[T any](t *testing.T, file string, n int) (all []T) {
	t.Helper()
	var b []byte
	if err := lateOr(func() bool {
		b, _ = os.ReadFile(file)
		return bytes.Count(b, []byte{'\n'}) >= n
	}); err != nil {
		t.Fatalf("%s has %d lines, want %d:\n%s", file, bytes.Count(b, []byte{'\n'}), n, b)
	}
	for line := range bytes.Lines(b) {
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, v)
	}
	return all
}

// received is how large the bodies are that curl has received, by target.
type received map[string]int64

// ask runs curl, which fails where the server does: that is what some requests are for.
func (r received) ask(t *testing.T, env []string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args = append([]string{"--no-progress-meter", "--noproxy", "*", "--output", os.DevNull, "--write-out", "%{size_download} %{url}\\n"}, args...)
	cmd := exec.CommandContext(ctx, program(t, "curl"), args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if ctx.Err() != nil {
		t.Fatalf("curl %v: %v", args, err)
	}
	for line := range strings.Lines(string(out)) {
		var size int64
		var address string
		if _, err := fmt.Sscan(line, &size, &address); err != nil {
			t.Fatalf("curl %v: %v: %s", args, err, line)
		}
		_, address, _ = strings.Cut(address, "://")
		_, target, _ := strings.Cut(address, "/")
		r["/"+target] = size
	}
}

// byTarget joins what nginx has logged with what culprit has seen. Targets are unique.
func byTarget(t *testing.T, log []forwarded, have []passed, f func(a *forwarded, p *passed)) {
	t.Helper()
	seen := map[string]*passed{}
	for i := range have {
		if seen[have[i].target] != nil {
			t.Errorf("two exchanges for %s", have[i].target)
		}
		seen[have[i].target] = &have[i]
	}
	for i := range log {
		a := &log[i]
		p := seen[a.Target]
		if p == nil {
			t.Errorf("nginx forwarded what culprit hasn't seen: %+v", *a)
			continue
		}
		delete(seen, a.Target)
		f(a, p)
	}
	for target, p := range seen {
		t.Errorf("culprit invented an exchange: %s: %+v", target, *p)
	}
}

// agree compares an exchange with what nginx says of it, but for its sizes.
func agree(t *testing.T, protocol string, a *forwarded, p *passed) {
	t.Helper()
	if p.protocol != protocol || p.method != a.Method {
		t.Errorf("%s: %s %s, nginx says %s", a.Target, p.protocol, p.method, a.Method)
	}
	if port := said(&p.request, "remote_port"); port != fmt.Sprint(a.Port) {
		t.Errorf("%s: the client's port is %s, nginx says %d", a.Target, port, a.Port)
	}
	if ip := said(&p.request, "remote_ip"); ip != "127.0.0.1" {
		t.Errorf("%s: the client's address is %s", a.Target, ip)
	}
	var seconds float64
	if _, err := fmt.Sscan(a.Seconds, &seconds); err == nil && p.grade == "complete" && a.Status != 499 {
		if have := float64(p.duration) / 1e9; have > seconds+clockSlack.Seconds() || have < seconds-clockSlack.Seconds() {
			t.Errorf("%s: took %.3f s, nginx says %.3f s", a.Target, have, seconds)
		}
	}
}

// phpScripts are the programs that PHP is asked for.
var phpScripts = map[string]string{
	"hello.php":    `<?php echo "hello";`,
	"input.php":    `<?php echo strlen(file_get_contents('php://input')), ' of ', $_SERVER['CONTENT_TYPE'];`,
	"big.php":      `<?php echo str_repeat('0123456789abcdef', 25000);`,
	"pieces.php":   `<?php for ($i = 0; $i < 5; $i++) { echo str_repeat('x', 1000); flush(); usleep(20000); }`,
	"warn.php":     `<?php error_log('first'); echo $undefined; error_log('second'); echo 'done';`,
	"fail.php":     `<?php http_response_code(503); header('X-Reason: maintenance'); echo 'later';`,
	"redirect.php": `<?php header('Location: /there');`,
	"empty.php":    `<?php http_response_code(204);`,
	"slow.php":     `<?php usleep(300000); echo 'slept';`,
	"crash.php":    `<?php exec('kill -9 ' . getmypid());`,
	"length.php":   `<?php header('Content-Length: 10'); echo '0123456789';`,
	"cookies.php":  `<?php setcookie('a', '1'); setcookie('b', '2'); header('Content-Type: text/csv'); echo "a;b\n";`,
}

// phpLine is a line of PHP's access log.
type phpLine struct {
	Method, Target, Query string
	Status                int
	Length                int64
}

// startPHP starts PHP-FPM, and returns its address and its log.
func startPHP(t *testing.T, dir string) (at, log string) {
	t.Helper()
	name := ""
	found, _ := filepath.Glob("/usr/sbin/php-fpm*")
	for _, f := range found {
		name = f
	}
	if name == "" {
		t.Skip("php-fpm isn't installed: make deps says how to get it")
	}
	at, log = address(t), filepath.Join(dir, "php.log")
	config := `
[global]
error_log = fpm.log
daemonize = no
[www]
listen = ` + at + `
pm = static
pm.max_children = 4
access.log = ` + log + `
access.format = '{"method":"%m","target":"%r","query":"%q","status":%s,"length":%l}'
php_admin_flag[log_errors] = on
php_admin_flag[display_errors] = off
php_admin_flag[html_errors] = off
`
	if err := os.WriteFile(filepath.Join(dir, "fpm.conf"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"-n", "-F", "-p", dir, "-y", filepath.Join(dir, "fpm.conf")}
	if os.Getuid() == 0 {
		args = append(args, "-R")
	}
	output, _ := background(t, dir, name, args...)
	await(t, at, output)
	return at, log
}

// phpRequests are the calls of curl. KEEP and CLOSE are two sites, with connections to PHP that are kept, and that aren't; BIG and SMALL are
// files. Each target is made unique.
var phpRequests = []string{
	"KEEP/hello.php", "-I KEEP/hello.php", "KEEP/hello.php/path%20info?q=%ff&r", "-d a=b KEEP/input.php", "--data-binary @SMALL KEEP/input.php",
	"--data-binary @BIG -H Expect: KEEP/input.php", "-T SMALL -H Transfer-Encoding:chunked KEEP/input.php", "KEEP/big.php", "KEEP/pieces.php",
	"KEEP/warn.php", "KEEP/fail.php", "KEEP/redirect.php", "KEEP/empty.php", "KEEP/slow.php", "KEEP/length.php", "-I KEEP/length.php",
	"-u user:secret -H X-Many-Words:one -H Cookie:a=1 KEEP/cookies.php", "KEEP/missing.php", "--max-time 0.1 KEEP/slow.php", "KEEP/crash.php",
	"CLOSE/hello.php", "CLOSE/big.php", "-F file=@SMALL CLOSE/input.php", "CLOSE/warn.php", "CLOSE/missing.php", "-X DELETE CLOSE/hello.php", "CLOSE/crash.php",
	"--max-time 0.1 CLOSE/slow.php",
}

// TestFastCGI has curl ask nginx, which asks PHP.
func TestFastCGI(t *testing.T) {
	for _, name := range []string{"nginx", "curl"} {
		program(t, name)
	}
	dir := t.TempDir()
	big, small := filepath.Join(dir, "big"), filepath.Join(dir, "small")
	if err := errors.Join(os.WriteFile(big, bytes.Repeat([]byte("body "), 60_000), 0o600), os.WriteFile(small, make([]byte, 20_000), 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, code := range phpScripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(code), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	php, phpLog := startPHP(t, dir)
	keeping, closing := address(t), address(t)
	server := func(at, how string) string {
		return `server {
		listen ` + at + `;
		root ` + dir + `;
		location / {
			fastcgi_split_path_info ^(.+?\.php)(/.*)$;
			fastcgi_param QUERY_STRING $query_string; fastcgi_param REQUEST_METHOD $request_method;
			fastcgi_param CONTENT_TYPE $content_type; fastcgi_param CONTENT_LENGTH $content_length;
			fastcgi_param SCRIPT_NAME $fastcgi_script_name; fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
			fastcgi_param PATH_INFO $fastcgi_path_info; fastcgi_param REQUEST_URI $request_uri;
			fastcgi_param SERVER_PROTOCOL $server_protocol; fastcgi_param GATEWAY_INTERFACE CGI/1.1;
			fastcgi_param REMOTE_ADDR $remote_addr; fastcgi_param REMOTE_PORT $remote_port;
			fastcgi_param DB_PASSWORD hush;
			` + how + `
		}
	}
	`
	}
	got := received{}
	fill := strings.NewReplacer("KEEP", "http://"+keeping, "CLOSE", "http://"+closing, "BIG", big, "SMALL", small)
	// Several at a time, on as many connections as nginx keeps.
	parallel := []string{"--parallel", "--parallel-immediate"}
	const atOnce = 4
	for i := range atOnce {
		if i > 0 {
			parallel = append(parallel, "--output", os.DevNull)
		}
		parallel = append(parallel, fmt.Sprintf("http://%s/pieces.php?at=once%d", keeping, i))
	}
	var log []forwarded
	pcap := record(t, php, tlspeers.DefaultSegment, func(php string) {
		end := startWebServer(t, dir, closing, upstreamFormat+`
	upstream php { server `+php+`; keepalive 4; }
	`+server(keeping, "fastcgi_pass php; fastcgi_keep_conn on;")+server(closing, "fastcgi_pass "+php+";"))
		for i, r := range phpRequests {
			args := strings.Fields(fill.Replace(r))
			last := &args[len(args)-1]
			if *last += "?"; strings.Contains(strings.TrimSuffix(*last, "?"), "?") {
				*last = strings.TrimSuffix(*last, "?") + "&"
			}
			*last += fmt.Sprintf("n=%d", i)
			got.ask(t, nil, args...)
		}
		got.ask(t, nil, parallel...)
		log = logged[forwarded](t, filepath.Join(dir, "access.log"), len(phpRequests)+atOnce)
		end()
	})
	have := pass(t, pcap, nil)
	crashes, gaveUp := 0, 0
	byTarget(t, log, have, func(a *forwarded, p *passed) {
		agree(t, "fastcgi", a, p)
		path, _, _ := strings.Cut(strings.TrimPrefix(a.Target, "/"), "?")
		path, _, _ = strings.Cut(path, "/")
		if script := said(&p.request, "script"); script != filepath.Join(dir, path) {
			t.Errorf("%s: the script is %s", a.Target, script)
		}
		if bytes.Contains(p.request.Raw, []byte("hush")) {
			t.Errorf("%s: culprit keeps what it needn't know", a.Target)
		}
		switch {
		case a.Status == 499: // curl has given up, and so has nginx; PHP hasn't noticed, and answers
			gaveUp++
			if p.status != 200 && p.answered() {
				t.Errorf("%s: %d, %s %s", a.Target, p.status, p.grade, p.reason)
			}
			return
		case path == "crash.php":
			crashes++
			if a.Status != 502 || p.answered() || p.grade == "complete" {
				t.Errorf("%s crashed, nginx says %d; culprit says %d, %s", a.Target, a.Status, p.status, p.grade)
			}
			return
		}
		if fmt.Sprint(p.status) != a.UpstreamStatus || p.grade != "complete" {
			t.Errorf("%s: %d, %s %s; nginx says %s", a.Target, p.status, p.grade, p.reason, a.UpstreamStatus)
		}
		if size := p.response.BodyBytes; size != got[a.Target] {
			t.Errorf("%s: a body of %d bytes, curl says %d", a.Target, size, got[a.Target])
		}
		if p.anomalies != 0 {
			p.anomalies.Each(func(an proto.Anomaly) { t.Errorf("%s: anomaly %s", a.Target, an) })
		}
		if size := fmt.Sprint(p.request.Size); size != a.Sent {
			t.Errorf("%s: a request of %s bytes, nginx says %s", a.Target, size, a.Sent)
		}
		logs := path == "warn.php" || path == "missing.php"
		if size := fmt.Sprint(p.response.Size); size != a.Received && !logs {
			t.Errorf("%s: a response of %s bytes, nginx says %s", a.Target, size, a.Received)
		}
		text := said(&p.response, "stderr")
		if logs != (text != "") {
			t.Errorf("%s: PHP wrote %q to its log", a.Target, text)
		}
		if path == "warn.php" && !(strings.Contains(text, "first") && strings.Contains(text, "Undefined variable $undefined") && strings.Contains(text, "second")) {
			t.Errorf("%s: PHP wrote %q to its log", a.Target, text)
		}
		if path == "cookies.php" {
			if value := string(p.request.Field("x-many-words")); value != "one" {
				t.Errorf("%s: x-many-words: %q", a.Target, value)
			}
			if value := string(p.response.Field("content-type")); value != "text/csv;charset=UTF-8" {
				t.Errorf("%s: content-type: %q", a.Target, value)
			}
		}
	})
	if crashes != 2 || gaveUp != 2 {
		t.Errorf("%d crashes, and curl gave up %d times; want 2 of each", crashes, gaveUp)
	}

	// What PHP says of itself.
	answered := slices.DeleteFunc(have, func(p passed) bool { return p.status == 0 })
	lines := logged[phpLine](t, phpLog, len(answered))
	for i := range answered {
		a := &answered[i]
		path, query, _ := strings.Cut(a.target, "?")
		if !slices.ContainsFunc(lines, func(l phpLine) bool {
			return l.Method == a.method && strings.HasPrefix(path, l.Target) && strings.TrimPrefix(l.Query, "?") == query && l.Status == a.status && l.Length == max(a.request.Length, 0)
		}) {
			t.Errorf("PHP doesn't know of %s %s %d, %d bytes", a.method, a.target, a.status, a.request.Length)
		}
	}
	slices.SortFunc(lines, func(a, b phpLine) int { return cmp.Compare(a.Query, b.Query) })
	t.Logf("%d exchanges with PHP", len(have))
}

// application answers over WSGI.
const application = `
import time
def application(environ, start_response):
    path, length = environ['PATH_INFO'], int(environ.get('CONTENT_LENGTH') or 0)
    body = environ['wsgi.input'].read(length)
    if path == '/pieces':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        def pieces():
            for i in range(5):
                yield b'x' * 1000
                time.sleep(0.02)
        return pieces()
    status, answer, headers = {
        '/input': ('200 OK', b'%d' % len(body), []),
        '/big': ('200 OK', b'0123456789abcdef' * 25000, []),
        '/missing': ('404 Not Found', b'no', []),
        '/fail': ('503 Service Unavailable', b'later', [('Retry-After', '10')]),
        '/empty': ('204 No Content', b'', []),
    }.get(path, ('200 OK', b'hello', []))
    if path == '/slow':
        time.sleep(0.3)
    if path == '/length' and environ['REQUEST_METHOD'] != 'HEAD':
        headers = [('Content-Length', str(len(answer)))]
    if path == '/crash':
        raise Exception('oops')
    start_response(status, [('Content-Type', 'text/plain')] + headers)
    return [answer]
`

// uwsgiRequests are the calls of curl, each for a target that is made unique.
var uwsgiRequests = []string{
	"SITE/hello", "-I SITE/hello", "SITE/a%20b?q=%ff", "-d a=b SITE/input", "--data-binary @SMALL SITE/input", "--data-binary @BIG -H Expect: SITE/input",
	"-T SMALL -H Transfer-Encoding:chunked SITE/input", "SITE/big", "SITE/pieces", "SITE/missing", "SITE/fail", "SITE/empty", "SITE/slow", "SITE/length",
	"-I SITE/length", "-X DELETE SITE/hello", "SITE/crash",
}

// uwsgiLine is a line of uWSGI's log.
type uwsgiLine struct {
	Method, Target string
	Status         int
	Length         int64 // of the request's body
	Size, Body     int64
}

// TestUWSGI has curl ask nginx, which asks uWSGI.
func TestUWSGI(t *testing.T) {
	for _, name := range []string{"nginx", "curl", "uwsgi-core"} {
		program(t, name)
	}
	const plugins = "/usr/lib/uwsgi/plugins"
	if _, err := os.Stat(filepath.Join(plugins, "python3_plugin.so")); err != nil {
		t.Skip("uWSGI's plugin for Python isn't installed: make deps says how to get it")
	}
	dir := t.TempDir()
	big, small := filepath.Join(dir, "big"), filepath.Join(dir, "small")
	if err := errors.Join(os.WriteFile(big, bytes.Repeat([]byte("body "), 60_000), 0o600), os.WriteFile(small, make([]byte, 20_000), 0o600),
		os.WriteFile(filepath.Join(dir, "app.py"), []byte(application), 0o644)); err != nil {
		t.Fatal(err)
	}
	uwsgi, at := address(t), address(t)
	output, _ := background(t, dir, program(t, "uwsgi-core"), "--plugins-dir", plugins, "--plugin", "python3", "--plugin", "logfile", "--socket", uwsgi, "--wsgi-file", "app.py",
		"--processes", "2", "--logger", "file:uwsgi.err", "--req-logger", "file:uwsgi.log",
		"--log-format", `{"method":"%(method)","target":"%(uri)","status":%(status),"length":%(cl),"size":%(size),"body":%(rsize)}`)
	await(t, uwsgi, output)
	var params strings.Builder
	for _, v := range []string{"QUERY_STRING $query_string", "REQUEST_METHOD $request_method", "CONTENT_TYPE $content_type", "CONTENT_LENGTH $content_length",
		"REQUEST_URI $request_uri", "PATH_INFO $document_uri", "SERVER_PROTOCOL $server_protocol", "REMOTE_ADDR $remote_addr", "REMOTE_PORT $remote_port"} {
		params.WriteString("uwsgi_param " + v + ";\n")
	}
	got := received{}
	fill := strings.NewReplacer("SITE", "http://"+at, "BIG", big, "SMALL", small)
	var log []forwarded
	var lines []uwsgiLine
	pcap := record(t, uwsgi, tlspeers.DefaultSegment, func(uwsgi string) {
		end := startWebServer(t, dir, at, upstreamFormat+`server { listen `+at+`; location / { uwsgi_pass `+uwsgi+`; `+params.String()+`} }`)
		for i, r := range uwsgiRequests {
			args := strings.Fields(fill.Replace(r))
			last := &args[len(args)-1]
			separator := "?"
			if strings.Contains(*last, "?") {
				separator = "&"
			}
			*last += fmt.Sprint(separator, "n=", i)
			got.ask(t, nil, args...)
		}
		log = logged[forwarded](t, filepath.Join(dir, "access.log"), len(uwsgiRequests))
		lines = logged[uwsgiLine](t, filepath.Join(dir, "uwsgi.log"), len(uwsgiRequests))
		end()
	})
	have := pass(t, pcap, nil)
	byTarget(t, log, have, func(a *forwarded, p *passed) {
		agree(t, "uwsgi", a, p)
		if strings.HasPrefix(a.Target, "/crash") { // uWSGI closes without an answer, whatever it logs
			if a.Status != 502 || p.answered() || p.grade == "complete" {
				t.Errorf("%s crashed, nginx says %d; culprit says %d, %s", a.Target, a.Status, p.status, p.grade)
			}
			return
		}
		if fmt.Sprint(p.status) != a.UpstreamStatus || p.grade != "complete" {
			t.Errorf("%s: %d, %s %s; nginx says %s", a.Target, p.status, p.grade, p.reason, a.UpstreamStatus)
		}
		head := a.Method == "HEAD"
		if size := p.response.BodyBytes; size != got[a.Target] && !head {
			t.Errorf("%s: a body of %d bytes, curl says %d", a.Target, size, got[a.Target])
		}
		if size := fmt.Sprint(p.request.Size); size != a.Sent {
			t.Errorf("%s: a request of %s bytes, nginx says %s", a.Target, size, a.Sent)
		}
		if size := fmt.Sprint(p.response.Size); size != a.Received && !head {
			t.Errorf("%s: a response of %s bytes, nginx says %s", a.Target, size, a.Received)
		}
		i := slices.IndexFunc(lines, func(l uwsgiLine) bool { return l.Target == a.Target })
		if i < 0 {
			t.Errorf("uWSGI doesn't know of %s", a.Target)
			return
		}
		if l := &lines[i]; l.Method != p.method || l.Status != p.status || l.Length != max(p.request.Length, 0) || !head && (l.Size != p.response.Size || l.Body != p.response.BodyBytes) {
			t.Errorf("%s: uWSGI says %+v; culprit says %s %d, %d, %d with %d", a.Target, *l, p.method, p.status, p.request.Length, p.response.Size, p.response.BodyBytes)
		}
	})
	t.Logf("%d exchanges with uWSGI", len(have))
}

// origins are what nginx says of the clients that a proxy passed on.
type origins struct {
	Target, Client, Server string
}

// TestPROXY has curl ask nginx through HAProxy, which says who curl is, and by itself.
func TestPROXY(t *testing.T) {
	for _, name := range []string{"nginx", "curl", "haproxy"} {
		program(t, name)
	}
	dir := t.TempDir()
	c := certificates(t)
	plain, secure := address(t), address(t)
	format := `log_format origin escape=json '{"target":"$request_uri","client":"$proxy_protocol_addr:$proxy_protocol_port","server":"$proxy_protocol_server_addr:$proxy_protocol_server_port"}';
	access_log access.log origin;
	`
	startWebServer(t, dir, plain, format+`
	server { listen `+plain+` proxy_protocol; location / { return 200 "ok\n"; } }
	server { listen `+secure+` ssl http2 proxy_protocol; ssl_certificate `+c.Cert("ecdsa")+`; ssl_certificate_key `+c.Key("ecdsa")+`; location / { return 200 "ok\n"; } }`)

	// HAProxy takes TLS itself (term), passes it on, or takes HTTP.
	one, two, term, through := address(t), address(t), address(t), address(t)
	pem := filepath.Join(dir, "term.pem")
	certificate, err := os.ReadFile(c.Cert("ecdsa"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(c.Key("ecdsa"))
	if err != nil {
		t.Fatal(err)
	}
	var log []origins
	keyFile := filepath.Join(dir, "keys")
	const total = 8
	var ofSecure []byte
	ofPlain := record(t, plain, tlspeers.DefaultSegment, func(plain string) {
		ofSecure = record(t, secure, tlspeers.DefaultSegment, func(secure string) {
			config := `
defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
	http-reuse never
frontend one
	bind ` + one + `
	default_backend one
backend one
	server s ` + plain + ` send-proxy
frontend two
	bind ` + two + `
	unique-id-format %[uuid]
	default_backend two
backend two
	server s ` + plain + ` send-proxy-v2 proxy-v2-options unique-id,crc32c
frontend term
	bind ` + term + ` ssl crt ` + pem + ` ca-file ` + c.Cert("ca") + ` verify optional
	default_backend term
backend term
	server s ` + plain + ` send-proxy-v2-ssl-cn proxy-v2-options ssl,cert-cn,authority,crc32c
frontend through
	mode tcp
	bind ` + through + `
	default_backend through
backend through
	mode tcp
	server s ` + secure + ` send-proxy-v2
`
			if err := errors.Join(os.WriteFile(pem, append(certificate, key...), 0o600), os.WriteFile(filepath.Join(dir, "haproxy.cfg"), []byte(config), 0o644)); err != nil {
				t.Fatal(err)
			}
			output, endProxy := background(t, dir, program(t, "haproxy"), "-db", "-f", "haproxy.cfg")
			for _, at := range []string{one, two, term, through} {
				await(t, at, output)
			}

			got := received{}
			port := func(at string) string { return at[strings.LastIndexByte(at, ':')+1:] }
			named := func(at string) []string {
				return []string{"--cacert", c.Cert("ca"), "--resolve", tlspeers.ServerName + ":" + port(at) + ":127.0.0.1"}
			}
			site := func(at string) string { return "https://" + tlspeers.ServerName + ":" + port(at) }
			env := []string{"SSLKEYLOGFILE=" + keyFile}
			got.ask(t, nil, "http://"+one+"/one/1", "--output", os.DevNull, "http://"+one+"/one/2")
			got.ask(t, nil, "http://"+two+"/two/1")
			got.ask(t, env, append(named(term), "--http1.1", "--cert", c.Cert("client"), "--key", c.Key("client"), site(term)+"/term/1")...)
			got.ask(t, env, append(named(through), "--http1.1", site(through)+"/through/1")...)
			got.ask(t, env, append(named(through), "--http2", site(through)+"/through/2")...)
			got.ask(t, nil, "--haproxy-protocol", "http://"+plain+"/curl/1")
			got.ask(t, env, append(named(secure), "--haproxy-protocol", site(secure)+"/curl/2")...)
			log = logged[origins](t, filepath.Join(dir, "access.log"), total)
			endProxy()
		})
	})
	keys := store(t, readKeys(t, keyFile))
	have := slices.Concat(pass(t, ofPlain, keys), pass(t, ofSecure, keys))
	if len(have) != total {
		t.Errorf("%d exchanges, want %d", len(have), total)
	}
	for i := range have {
		x := &have[i]
		n := slices.IndexFunc(log, func(o origins) bool { return o.Target == x.target })
		if n < 0 || x.proxied == nil || x.grade != "complete" {
			t.Errorf("%s %s %s: what the proxy says is %+v; nginx says %+v", x.target, x.grade, x.reason, x.proxied, log)
			continue
		}
		o, q := &log[n], x.proxied
		if q.Client.String() != o.Client || q.Server.String() != o.Server || q.Transport != "tcp" || q.Local {
			t.Errorf("%s: from %s to %s; nginx says %s to %s", x.target, q.Client, q.Server, o.Client, o.Server)
		}
		switch kind := strings.Split(x.target, "/")[1]; kind {
		case "one", "curl":
			if q.Version != 1 || (x.tls != nil) != (x.target == "/curl/2") {
				t.Errorf("%s: version %d, TLS %+v", x.target, q.Version, x.tls)
			}
		case "two":
			const uuid = 36
			if q.Version != 2 || len(q.UniqueID) != uuid {
				t.Errorf("%s: version %d, id %q", x.target, q.Version, q.UniqueID)
			}
		case "term":
			if q.Version != 2 || q.TLSVersion != "TLSv1.3" || q.CommonName != "a customer" || q.Authority != tlspeers.ServerName || x.tls != nil {
				t.Errorf("%s: %+v", x.target, q)
			}
		case "through":
			if q.Version != 2 || x.tls == nil || !x.tls.Decrypted || x.protocol != map[string]string{"/through/1": "http", "/through/2": "http2"}[x.target] {
				t.Errorf("%s: %+v, %s within %+v", x.target, q, x.protocol, x.tls)
			}
		}
	}
}

// lateOr waits until something is so. It returns an error when that takes too long.
func lateOr(so func() bool) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); !so(); {
		select {
		case <-poll.C:
		case <-deadline:
			return errors.New("too late")
		}
	}
	return nil
}
