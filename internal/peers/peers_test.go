//go:build linux

// Package peers holds culprit against real programs: curl talks to nginx, tcpdump listens, and what
// culprit makes of the capture must be what nginx wrote into its access log, one to one. It has tests only;
// they run in a network namespace of their own where the system allows it, and are skipped where a program
// or a privilege is missing.
package peers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// inNamespace is set in the environment of the tests' second life, within the namespace.
	inNamespace = "CULPRIT_TEST_NAMESPACE"
	// ordinary is the user within the namespace: one that isn't root, or tcpdump and nginx would want to become
	// others, of which there are none. The capabilities let it bring the network up and capture.
	ordinary               = 1000
	capNetAdmin, capNetRaw = 12, 13 // linux/capability.h
	// patience is after how long a program that doesn't do what it should is given up.
	patience = 30 * time.Second
	// clockSlack is by how much nginx's idea of a request's time may differ: its clock has milliseconds and
	// stands still between events, and the machine may be busy.
	clockSlack = 250 * time.Millisecond
	// thinking is how long the application behind nginx takes for /app/slow.
	thinking = 300 * time.Millisecond
)

// TestMain runs the tests in a new user and network namespace, if the system allows it: there they may
// capture, and are alone on the network.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) != "" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "ip link set lo up: %v\n%s", err, out)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	if _, err := exec.LookPath("ip"); err != nil {
		os.Exit(m.Run())
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: ordinary, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: ordinary, HostID: os.Getgid(), Size: 1}},
		AmbientCaps: []uintptr{capNetAdmin, capNetRaw},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil { // no namespaces here
		os.Exit(m.Run())
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// program finds a program, also where only root looks.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		t.Skipf("%s isn't installed: make deps says how to get it", name)
	}
	return path
}

// address returns a free one on the loopback interface.
func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// logFormat makes nginx write a JSON object a request. $connection_requests counts those of a connection.
const logFormat = `'{"port":$remote_port,"nth":$connection_requests,"method":"$request_method","target":"$request_uri",'
	'"status":$status,"sent":$bytes_sent,"body":$body_bytes_sent,"length":$request_length,"seconds":$request_time}'`

// access is a line of nginx's access log.
type access struct {
	Port, Nth          int
	Method, Target     string
	Status             int
	Sent, Body, Length int64
	Seconds            float64
}

// document is what the test wants to know of one of culprit's.
type document struct {
	Event  struct{ Duration int64 }
	Client struct{ Port int }
	Server struct{ Port int }
	HTTP   struct {
		Request struct {
			Method string
			Bytes  int64
			Body   struct{ Bytes int64 }
		}
		Response struct {
			Status int `json:"status_code"`
			Bytes  int64
			Body   struct{ Bytes int64 }
		}
	}
	URL     struct{ Original string }
	Error   struct{ Message string }
	Culprit struct {
		Grade     string
		Anomalies []string
		HTTP      struct {
			Index    int `json:"connection_index"`
			Interim  []string
			Response struct{ Framing string }
		}
		Timing struct{ Wait, Receive int64 }
	}
}

// site is nginx with what it serves, and the application behind it.
type site struct {
	address string
	app     *httptest.Server
	log     string
	cmd     *exec.Cmd
	exited  chan error // once
}

// startSite starts nginx and the application, and waits until they answer.
func startSite(t *testing.T) *site {
	t.Helper()
	nginx := program(t, "nginx")
	dir := t.TempDir()
	s := &site{address: address(t), log: filepath.Join(dir, "access.log")}
	s.app = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return // nginx has given up
		}
		if r.URL.Path == "/app/slow" {
			<-time.After(thinking)
		}
		fmt.Fprintf(w, "%d bytes\n", n)
	}))
	t.Cleanup(s.app.Close)

	root := filepath.Join(dir, "root")
	for name, content := range map[string]string{
		"index.html":     "<h1>shop</h1>\n",
		"big.bin":        strings.Repeat("0123456789abcdef", 20000),
		"slow.bin":       strings.Repeat("s", 48<<10),
		"text.txt":       strings.Repeat("the same line again and again\n", 400),
		"close.html":     "bye\n",
		"empty.txt":      "",
		"folder/a b.txt": "spaces\n",
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
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
	log_format json escape=json ` + logFormat + `;
	access_log access.log json;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	types { text/html html; text/plain txt; }
	default_type application/octet-stream;
	gzip_types text/plain;
	client_max_body_size 64k;
	server {
		listen ` + s.address + `;
		root root;
		location /gzip/ { alias root/; gzip on; }
		location = /slow.bin { limit_rate 32k; }
		location = /close.html { keepalive_timeout 0; }
		location = /abort { return 444; }
		location = /old { return 301 /new; }
		location /app/ { proxy_pass ` + s.app.URL + `; proxy_http_version 1.1; proxy_set_header Connection ""; }
	}
}
`
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(nginx, "-p", dir+"/", "-c", "nginx.conf", "-e", "error.log")
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.exited = make(chan error, 1)
	go func() { s.exited <- s.cmd.Wait() }()
	t.Cleanup(func() { s.cmd.Process.Kill() })
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); ; {
		if c, err := net.Dial("tcp", s.address); err == nil {
			c.Close()
			return s
		}
		select {
		case <-poll.C:
		case err := <-s.exited:
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Fatalf("nginx ended: %v\n%s", err, log)
		case <-deadline:
			t.Fatal("nginx doesn't answer")
		}
	}
}

// accesses ends nginx, and returns what it has logged.
func (s *site) accesses(t *testing.T) (all []access) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-s.exited; err != nil {
		t.Fatalf("nginx: %v", err)
	}
	b, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var a access
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, a)
	}
	return all
}

// tap is tcpdump on the loopback interface.
type tap struct {
	cmd      *exec.Cmd
	captured chan []byte // once, all of it
	marked   chan struct{}
}

// endMark is the payload of the last packet: what was on the wire before it is in the capture before it.
var endMark = []byte("culprit: this is the end of the test")

func startTap(t *testing.T) *tap {
	t.Helper()
	p := &tap{
		cmd:      exec.Command(program(t, "tcpdump"), "-i", "lo", "-U", "--immediate-mode", "-B", "32768", "-Z", "root", "-w", "-", "ip"),
		captured: make(chan []byte, 1),
		marked:   make(chan struct{}),
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	said := bufio.NewScanner(stderr)
	var text []string
	for said.Scan() {
		text = append(text, said.Text())
		if strings.Contains(said.Text(), "listening on") {
			go io.Copy(io.Discard, stderr) // so that it never waits to be heard
			go p.read(stdout)
			return p
		}
	}
	t.Skipf("tcpdump can't capture here: %s", strings.Join(text, "; "))
	return nil
}

// read takes what tcpdump writes.
func (p *tap) read(stdout io.Reader) {
	var all []byte
	buf := make([]byte, 64<<10)
	marked := false
	for {
		n, err := stdout.Read(buf)
		from := max(len(all)-len(endMark), 0)
		all = append(all, buf[:n]...)
		if !marked && bytes.Contains(all[from:], endMark) {
			marked = true
			close(p.marked)
		}
		if err != nil {
			p.captured <- all
			return
		}
	}
}

// stop ends tcpdump when it has seen everything so far, and writes the capture to a file.
func (p *tap) stop(t *testing.T) (file string) {
	t.Helper()
	c, err := net.Dial("udp", "127.0.0.1:9") // discard; nobody needs to be there
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(endMark); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.marked:
	case <-time.After(patience):
		t.Fatal("tcpdump hasn't captured the last packet")
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	captured := <-p.captured
	p.cmd.Wait()
	file = filepath.Join(t.TempDir(), "peers.pcap")
	if err := os.WriteFile(file, captured, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// trace runs culprit.
func trace(t *testing.T, file string) (all []document) {
	t.Helper()
	dir := t.TempDir()
	culprit := filepath.Join(dir, "culprit")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", culprit, "../../cmd/culprit").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(culprit, "trace", "-r", file, "--flows", "none", "-o", "ndjson")
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Errorf("culprit: %v\n%s", err, stderr.String())
	}
	for line := range bytes.Lines(out) {
		var x document
		if err := json.Unmarshal(line, &x); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, x)
	}
	return all
}

// visits are the calls of curl, with SITE for the address and BIG for a file of 320 kB. Each is a
// connection, or more.
var visits = []string{
	"SITE/",
	"-I SITE/big.bin",
	"SITE/big.bin",
	"SITE/empty.txt",
	"SITE/missing",
	"SITE/old",
	"SITE/folder/a%20b.txt?q=1&r=%ff",
	"--compressed SITE/gzip/text.txt", // chunked, gzip
	"--http1.0 --compressed SITE/gzip/text.txt", // until close
	"--http1.0 SITE/text.txt",
	"-r 100-199 SITE/big.bin",  // 206
	"-r 9999999- SITE/big.bin", // 416
	"-H If-Modified-Since:Fri,31-Dec-2099-23:59:59-GMT SITE/",
	"-z 2099-12-31 SITE/",      // 304
	"-d a=b&c=d SITE/app/form", // POST, proxied
	"-d a=b SITE/",             // 405
	"-F file=@SMALL SITE/app/multipart",
	"-T SMALL -H Expect: SITE/app/put",
	"-T SMALL -H Expect: -H Transfer-Encoding:chunked SITE/app/chunked",
	"-T SMALL -H Expect:100-continue SITE/app/continue",         // 100, 200
	"--data-binary @BIG -H Expect: SITE/app/too-large",          // 413 before the body has ended
	"--data-binary @BIG -H Expect:100-continue SITE/app/refuse", // 413 instead of 100
	"-X DELETE SITE/app/thing",
	"-X OPTIONS SITE/",
	"SITE/app/slow", // waits for the application
	"SITE/slow.bin", // comes slowly
	"SITE/close.html",
	"SITE/abort",                                                          // closed without an answer
	"SITE/ SITE/text.txt SITE/missing SITE/app/a SITE/empty.txt SITE/old", // keep-alive
	"SITE/close.html SITE/",                                               // closed by the server in between
}

// pipelined is how many requests visit sends at once.
const pipelined = 4

// visit makes all visits, and one that curl can't: pipelining.
func visit(t *testing.T, s *site) {
	t.Helper()
	curl := program(t, "curl")
	dir := t.TempDir()
	big, small := filepath.Join(dir, "big"), filepath.Join(dir, "small")
	if err := errors.Join(os.WriteFile(big, make([]byte, 320_000), 0o600), os.WriteFile(small, make([]byte, 20_000), 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	fill := strings.NewReplacer("SITE", "http://"+s.address, "BIG", big, "SMALL", small)
	for _, v := range visits {
		args := []string{"--no-progress-meter", "--noproxy", "*", "--output", os.DevNull}
		for _, a := range strings.Fields(v) {
			if a = fill.Replace(a); strings.HasPrefix(a, "http://") && slices.ContainsFunc(args, func(b string) bool { return strings.HasPrefix(b, "http://") }) {
				args = append(args, "--output", os.DevNull)
			}
			args = append(args, fill.Replace(a))
		}
		// curl fails where the server resets or closes: that is what some visits are for.
		if out, err := exec.CommandContext(ctx, curl, args...).CombinedOutput(); ctx.Err() != nil {
			t.Fatalf("curl %s: %v\n%s", v, err, out)
		}
	}

	c, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /app/slow?first HTTP/1.1\r\nHost: a\r\n\r\nGET /text.txt?behind HTTP/1.1\r\nHost: a\r\n\r\n"+
		"HEAD /text.txt?behind HTTP/1.1\r\nHost: a\r\n\r\nGET /missing?behind HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
}

func TestAgainstNginx(t *testing.T) {
	for _, name := range []string{"nginx", "curl", "tcpdump"} {
		program(t, name)
	}
	s := startSite(t)
	p := startTap(t)
	visit(t, s)
	file := p.stop(t)
	logged := s.accesses(t)
	_, port, _ := net.SplitHostPort(s.address)

	type key struct{ port, nth int }
	seen := map[key]*document{}
	all := trace(t, file)
	app := 0
	for i := range all {
		x := &all[i]
		if fmt.Sprint(x.Server.Port) != port {
			app++
			continue
		}
		seen[key{x.Client.Port, x.Culprit.HTTP.Index + 1}] = x
	}
	if want := len(visits) + 5 + 1 + pipelined; len(logged) != want { // keep-alive and closed in between
		t.Errorf("nginx logged %d requests, want %d: is a visit missing?", len(logged), want)
	}
	proxied := 0
	for _, a := range logged {
		k := key{a.Port, a.Nth}
		x := seen[k]
		if x == nil {
			t.Errorf("nginx answered what culprit hasn't seen: %+v", a)
			continue
		}
		delete(seen, k)
		compare(t, &a, x)
		if strings.HasPrefix(a.Target, "/app/") && a.Status == http.StatusOK {
			proxied++
		}
	}
	for k, x := range seen {
		t.Errorf("culprit invented an exchange: %v %+v", k, *x)
	}
	if app != proxied {
		t.Errorf("%d exchanges with the application, want %d", app, proxied)
	}
	t.Logf("%d exchanges with nginx and %d behind it", len(logged), app)
}

// closedWithoutAnswer is the status that nginx logs when it closes instead of answering.
const closedWithoutAnswer = 444

// compare holds an exchange against what nginx says of it.
func compare(t *testing.T, a *access, x *document) {
	t.Helper()
	name := fmt.Sprintf("%s %s %d", a.Method, a.Target, a.Status)
	r := &x.HTTP.Response
	if x.HTTP.Request.Method != a.Method || x.URL.Original != a.Target {
		t.Errorf("%s: culprit says %s %s", name, x.HTTP.Request.Method, x.URL.Original)
	}
	if a.Status == closedWithoutAnswer {
		if r.Status != 0 || x.Culprit.Grade == "complete" {
			t.Errorf("%s: nginx closed without an answer; culprit says %d, %s", name, r.Status, x.Culprit.Grade)
		}
		return
	}
	if r.Status != a.Status {
		t.Errorf("%s: culprit says %d", name, r.Status)
	}
	early := a.Status == http.StatusRequestEntityTooLarge
	if !early && x.Culprit.Grade != "complete" {
		t.Errorf("%s: %s: %s", name, x.Culprit.Grade, x.Error.Message)
	}
	// nginx counts an interim response as sent too.
	interim := int64(0)
	if slices.Contains(x.Culprit.HTTP.Interim, "100") {
		interim = int64(len("HTTP/1.1 100 Continue\r\n\r\n"))
	}
	if wants := strings.HasPrefix(a.Target, "/app/continue"); wants != (interim > 0) {
		t.Errorf("%s: interim responses %q", name, x.Culprit.HTTP.Interim)
	}
	if r.Bytes+interim != a.Sent {
		t.Errorf("%s: response of %d bytes, nginx says %d", name, r.Bytes, a.Sent)
	}
	// nginx counts the framing of chunks as body.
	if framed := r.Bytes != 0 && x.Culprit.HTTP.Response.Framing == "chunked"; !framed && r.Body.Bytes+interim != a.Body || framed && r.Body.Bytes >= a.Body {
		t.Errorf("%s: response body of %d bytes, nginx says %d", name, r.Body.Bytes, a.Body)
	}
	// nginx doesn't count bodies that it throws away.
	unread := early || a.Status == http.StatusMethodNotAllowed
	if !unread && x.HTTP.Request.Bytes != a.Length {
		t.Errorf("%s: request of %d bytes, nginx says %d", name, x.HTTP.Request.Bytes, a.Length)
	}
	// nginx reads a pipelined request when it has answered the one before; on the wire it was there already.
	seconds := float64(x.Event.Duration) / 1e9
	if behind := strings.HasSuffix(a.Target, "?behind"); !behind && math.Abs(seconds-a.Seconds) > clockSlack.Seconds() || behind && seconds < thinking.Seconds() {
		t.Errorf("%s: took %.3f s, nginx says %.3f s", name, seconds, a.Seconds)
	}
	path, _, _ := strings.Cut(a.Target, "?")
	if path == "/app/slow" && x.Culprit.Timing.Wait < int64(thinking) {
		t.Errorf("%s: waited %v, want at least %v", name, time.Duration(x.Culprit.Timing.Wait), thinking)
	}
	if path == "/slow.bin" && x.Culprit.Timing.Receive < int64(500*time.Millisecond) {
		t.Errorf("%s: received for %v", name, time.Duration(x.Culprit.Timing.Receive))
	}
}
