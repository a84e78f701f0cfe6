//go:build linux

// Package live holds live captures against the truth: clients send an exact number of requests over networks that
// the test makes itself, culprit watches some interface, and what it shows must be what nginx wrote into its access
// log, one to one, with every packet accounted for. It has tests only; they run in namespaces of their own, and are
// skipped where the system doesn't allow these or a program is missing.
package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// binary is set in the environment to the culprit to test.
const binary = "CULPRIT_TEST_BINARY"

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds culprit, unless it is there, and then runs the tests in namespaces. Not the other way round: the build
// may have to fetch modules, and there is no way out of the namespaces.
func run(m *testing.M) int {
	if os.Getenv(binary) == "" {
		dir, err := os.MkdirTemp("", "culprit-live-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil { // tests run culprit as others too
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		path := filepath.Join(dir, "culprit")
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../cmd/culprit")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		os.Setenv(binary, path)
	}
	return lab.Run(m.Run)
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// newLab returns a laboratory that is closed at the end of the test. The test needs these programs.
func newLab(t *testing.T, programs ...string) *lab.Lab {
	t.Helper()
	for _, p := range programs {
		if _, err := lab.Program(p); err != nil {
			t.Skip(err)
		}
	}
	l, err := lab.New()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// exchange is what the tests want to know of a document of culprit's.
type exchange struct {
	Client struct {
		IP   string
		Port int
	}
	HTTP struct {
		Request struct {
			Method string
			Bytes  int64
		}
		Response struct {
			Status int `json:"status_code"`
			Bytes  int64
			Body   struct {
				Bytes   int64
				Content string
			}
			Headers map[string][]string
		}
	}
	URL     struct{ Original string }
	Error   struct{ Message string }
	Culprit struct {
		Grade   string
		Packets struct{ Tap string }
		HTTP    struct {
			Index int `json:"connection_index"`
		}
	}
}

// id returns the value of id in the query of a target.
func id(target string) string {
	_, id, _ := strings.Cut(target, "?id=")
	return id
}

// tracer is a running culprit trace.
type tracer struct {
	*lab.Process
	stdout, stderr *lines
}

// lines collects what a process writes, line by line.
type lines struct {
	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, at each line
	all     []string
	rest    []byte
}

func newLines() *lines { return &lines{changed: make(chan struct{})} }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		l.all = append(l.all, string(line))
		l.rest = rest
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

func (l *lines) get() ([]string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clip(l.all), l.changed
}

func (l *lines) String() string {
	all, _ := l.get()
	return strings.Join(all, "\n")
}

// containing tells lines with text from others.
func containing(text string) func(string) bool {
	return func(line string) bool { return strings.Contains(line, text) }
}

// has reports whether a line that is wanted comes before time is over or the process ends.
func (l *lines) has(wanted func(string) bool, p *lab.Process, within time.Duration) bool {
	late := time.NewTimer(within)
	defer late.Stop()
	for ended, seen := p.Ended(), 0; ; {
		all, changed := l.get()
		if slices.ContainsFunc(all[seen:], wanted) {
			return true
		}
		seen = len(all)
		if ended == nil {
			return false
		}
		select {
		case <-changed:
		case <-ended:
			ended = nil // and look once more
		case <-late.C:
			return false
		}
	}
}

// command returns culprit trace with arguments, ready to be started.
func command(t *testing.T, args ...string) (cmd *exec.Cmd, stdout, stderr *lines) {
	t.Helper()
	stdout, stderr = newLines(), newLines()
	cmd = exec.Command(os.Getenv(binary), append([]string{"trace", "-o", "ndjson", "--stats"}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir(), "TZ=UTC")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// roomy is a ring that survives a machine too busy to run culprit for seconds: the tests are about what is captured,
// not how fast.
var roomy = []string{"--ring", "64MiB", "--block", "256KiB"}

// capturing is what culprit says when all rings are open.
var capturing = regexp.MustCompile(`^culprit: capturing on [\w.-]+(, [\w.-]+)*$`)

// start starts culprit trace in a namespace, with a roomy ring unless told otherwise, and waits until it captures.
func start(t *testing.T, n *lab.Namespace, args ...string) *tracer {
	t.Helper()
	if !slices.Contains(args, "--ring") {
		args = append(slices.Clone(roomy), args...)
	}
	cmd, stdout, stderr := command(t, args...)
	p := &tracer{must(n.Start(cmd))(t), stdout, stderr}
	if !stderr.has(capturing.MatchString, p.Process, lab.Patience) {
		p.Kill()
		t.Fatalf("culprit trace %s doesn't capture:\n%s", strings.Join(args, " "), stderr)
	}
	return p
}

// result is what a culprit trace that has ended has said.
type result struct {
	status    int
	exchanges []exchange
	totals
	stderr string
}

// stop ends culprit at once, as Control-C does. What was captured until now is in the result.
func (p *tracer) stop(t *testing.T) result {
	t.Helper()
	if err := p.Signal(os.Interrupt); err != nil {
		t.Errorf("culprit has ended before it was to: %v", err)
	}
	return p.result(t)
}

// result waits until culprit has ended.
func (p *tracer) result(t *testing.T) (r result) {
	t.Helper()
	err := p.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("culprit: %v\n%s", err, p.stderr)
	}
	r.status, r.stderr = p.Cmd.ProcessState.ExitCode(), p.stderr.String()
	if s, ok := p.Cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		t.Errorf("culprit was killed: %v", s.Signal())
	}
	all, _ := p.stdout.get()
	for _, line := range all {
		var x exchange
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		r.exchanges = append(r.exchanges, x)
	}
	if r.totals, err = parseTotals(r.stderr); err != nil {
		t.Errorf("culprit: %v in\n%s", err, r.stderr)
	}
	return r
}

// totals are what --stats says.
type totals struct {
	packets, bytes sums
	grades         map[string]uint64
}

// sums is a line of --stats: received = analysed + ignored + dropped.
type sums struct {
	received, analysed, ignored, dropped uint64
	reasons                              map[string]uint64 // of ignoring
}

// The lines of --stats that must add up.
var (
	sumLine      = regexp.MustCompile(`(?m)^(packets|bytes) +received ([\d,]+) = analysed ([\d,]+) \+ ignored ([\d,]+)(?: \(([^)]*)\))?(?: \+ dropped ([\d,]+)[^\n]*)?$`)
	exchangeLine = regexp.MustCompile(`(?m)^exchanges +seen ([\d,]+)(?: = (.*))?$`)
)

func number(s string) uint64 {
	n, _ := strconv.ParseUint(strings.ReplaceAll(s, ",", ""), 10, 64)
	return n
}

// parseTotals reads them, and says what doesn't add up.
func parseTotals(stderr string) (t totals, err error) {
	for _, m := range sumLine.FindAllStringSubmatch(stderr, -1) {
		s := sums{number(m[2]), number(m[3]), number(m[4]), number(m[6]), map[string]uint64{}}
		if s.received != s.analysed+s.ignored+s.dropped {
			return t, fmt.Errorf("%q doesn't add up", m[0])
		}
		// "arp 1, other 2": the reasons
		reasons := uint64(0)
		for r := range strings.SplitSeq(m[5], ", ") {
			name, n, _ := strings.Cut(r, " ")
			s.reasons[name] = number(n)
			reasons += number(n)
		}
		if reasons != s.ignored {
			return t, fmt.Errorf("%q: the reasons don't add up", m[0])
		}
		if m[1] == "packets" {
			t.packets = s
		} else {
			t.bytes = s
		}
	}
	if t.packets.received > 0 && t.bytes.received == 0 {
		return t, errors.New("no totals")
	}
	if m := exchangeLine.FindStringSubmatch(stderr); m != nil {
		t.grades = map[string]uint64{}
		sum := uint64(0)
		for g := range strings.SplitSeq(m[2], " + ") {
			name, n, _ := strings.Cut(g, " ")
			t.grades[name] = number(n)
			sum += number(n)
		}
		if sum != number(m[1]) {
			return t, fmt.Errorf("%q doesn't add up", m[0])
		}
	}
	return t, nil
}

// clean says where a result isn't that of a run in which nothing was lost: no warning, nothing dropped, exit status 0,
// and as many exchanges in the totals as were shown.
func clean(t *testing.T, r *result) {
	t.Helper()
	seen := uint64(0)
	for _, n := range r.grades {
		seen += n
	}
	warned := slices.ContainsFunc(strings.Split(r.stderr, "\n"), func(line string) bool {
		// Which other processes there are on the machine isn't up to the test.
		return strings.Contains(line, "warning") && !strings.Contains(line, "not all processes are known")
	})
	if r.status != 0 || r.packets.dropped > 0 || r.packets.received == 0 || seen != uint64(len(r.exchanges)) || warned {
		t.Errorf("exit status %d, %d exchanges shown; standard error:\n%s", r.status, len(r.exchanges), r.stderr)
	}
}

// maxShown is how many differences a test shows at most.
const maxShown = 10

// same says where the exchanges aren't what nginx has logged: each once, complete, and nothing else.
func same(t *testing.T, log []lab.Access, all []exchange) {
	t.Helper()
	type key struct {
		address   string
		port, nth int
	}
	shown := 0
	differ := func(format string, args ...any) {
		t.Helper()
		if shown++; shown <= maxShown {
			t.Errorf(format, args...)
		}
	}
	seen := map[key]*exchange{}
	for i := range all {
		x := &all[i]
		k := key{x.Client.IP, x.Client.Port, x.Culprit.HTTP.Index + 1}
		if seen[k] != nil {
			differ("shown twice: %+v", *x)
		}
		seen[k] = x
	}
	for _, a := range log {
		k := key{a.Address, a.Port, a.Nth}
		x := seen[k]
		delete(seen, k)
		if x == nil {
			differ("nginx has logged what culprit hasn't shown: %+v", a)
			continue
		}
		q, r := &x.HTTP.Request, &x.HTTP.Response
		got := lab.Access{Address: a.Address, Port: a.Port, Nth: a.Nth, Method: q.Method, Target: x.URL.Original, Status: r.Status, Sent: r.Bytes, Body: r.Body.Bytes, Length: q.Bytes}
		if got != a || x.Culprit.Grade != "complete" {
			differ("culprit: %+v, %s %s\nnginx:   %+v", got, x.Culprit.Grade, x.Error.Message, a)
		}
	}
	for _, x := range seen {
		differ("culprit has shown what nginx hasn't logged: %+v", *x)
	}
	if shown > maxShown {
		t.Errorf("and %d more", shown-maxShown)
	}
}

// mixed are requests of all kinds that nginx logs with the bytes that were on the wire.
func mixed(i int) lab.Request {
	kinds := []lab.Request{
		{Target: "/echo"}, {Target: "/size/100"}, {Target: "/size/100K"}, {Method: "HEAD", Target: "/size/1M"}, {Target: "/status/404"},
		{Method: "POST", Target: "/upload", Body: 300_000}, {Target: "/size/0"}, {Target: "/echo"}, {Target: "/status/301"},
		{Target: "/size/1M"}, {Method: "PUT", Target: "/upload", Body: 10}, {Target: "/close"}, {Target: "/size/4K"},
	}
	q := kinds[i%len(kinds)]
	q.Target += "?id=" + strconv.Itoa(i)
	return q
}

// large are downloads and uploads of many megabytes.
func large(i int) lab.Request {
	if i%2 == 0 {
		return lab.Request{Target: fmt.Sprintf("/size/16M?id=%d", i)}
	}
	return lab.Request{Method: "POST", Target: fmt.Sprintf("/upload?id=%d", i), Body: 12_345_678}
}

// The site that pair makes.
const (
	client4, client6 = "10.1.0.1", "fd00:1::1"
	server4, server6 = "10.1.0.2", "fd00:1::2"
)

// pair returns a client c0 and a server s0, joined by a virtual Ethernet pair, and nginx at port 80 of all addresses
// of the server.
func pair(t *testing.T, l *lab.Lab) (client, server lab.End, nginx *lab.Nginx) {
	t.Helper()
	client = lab.End{Namespace: must(l.Namespace("client"))(t), Interface: "c0", Addresses: []string{client4 + "/24", client6 + "/64"}}
	server = lab.End{Namespace: must(l.Namespace("server"))(t), Interface: "s0", Addresses: []string{server4 + "/24", server6 + "/64"}}
	check(t, lab.Veth(client, server))
	nginx = must(server.Namespace.Nginx(t.TempDir(), server4+":80", "["+server6+"]:80", "127.0.0.1:80", "[::1]:80"))(t)
	return client, server, nginx
}

// drive sends requests, and fails the test when one isn't answered.
func drive(t *testing.T, n *lab.Namespace, address string, connections, requests int, request func(int) lab.Request) []lab.Answer {
	t.Helper()
	all, err := n.Drive(t.Context(), lab.Load{Address: address, Connections: connections, Requests: requests, Request: request})
	check(t, err)
	if len(all) != requests {
		t.Fatalf("%d answers to %d requests", len(all), requests)
	}
	return all
}

// numbered are small requests whose ids begin with a word.
func numbered(word string) func(int) lab.Request {
	return func(i int) lab.Request { return lab.Request{Target: fmt.Sprintf("/echo?id=%s%d", word, i)} }
}
