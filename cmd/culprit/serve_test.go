package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// served is a running culprit serve.
type served struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stderr *bufio.Scanner
	said   []string // on standard error, so far
	base   string
	token  string
}

// startServe starts culprit serve on a free port, and waits until it serves. It is killed at the end of the test, should it
// still run.
func startServe(t *testing.T, args ...string) *served {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	p := &served{Cmd: exec.CommandContext(ctx, "culprit", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)}
	p.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir(), "TZ=UTC")
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	p.stderr = bufio.NewScanner(stderr)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		for p.stderr.Scan() {
			p.said = append(p.said, p.stderr.Text())
		}
		t.Fatalf("no URL: %v\n%s", err, strings.Join(p.said, "\n"))
	}
	u, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	p.base, p.token = "http://"+u.Host, u.Query().Get("token")
	return p
}

// storeFolder returns a folder for a store, where also whoever root becomes can get.
func storeFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; os.Geteuid() == 0 && d != filepath.Clean(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "store")
}

// until reads standard error up to a line that holds text.
func (p *served) until(t *testing.T, text string) {
	t.Helper()
	for p.stderr.Scan() {
		p.said = append(p.said, p.stderr.Text())
		if strings.Contains(p.stderr.Text(), text) {
			return
		}
	}
	t.Fatalf("%q wasn't said in\n%s", text, strings.Join(p.said, "\n"))
}

// get asks the API, and reads its answer.
func (p *served) get(t *testing.T, path string, answer any) {
	t.Helper()
	r := p.ask(t, path)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v, %s: %s", path, err, r.Status, b)
	}
	if err := json.Unmarshal(b, answer); err != nil {
		t.Fatalf("%s: %v: %s", path, err, b)
	}
}

func (p *served) ask(t *testing.T, path string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// end sends SIGTERM, and wants the exit status.
func (p *served) end(t *testing.T, status int) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for p.stderr.Scan() {
		p.said = append(p.said, p.stderr.Text())
	}
	if _ = p.Wait(); p.ProcessState.ExitCode() != status {
		t.Errorf("exit status %d, want %d:\n%s", p.ProcessState.ExitCode(), status, strings.Join(p.said, "\n"))
	}
}

// apiStatus is a part of /api/status.
type apiStatus struct {
	Store struct {
		Exchanges int64
		Lost      int64
	}
	Capture *statusOfCapture
}

func TestServeImportsAndAnswers(t *testing.T) {
	dir := storeFolder(t)
	p := startServe(t, "-r", demo, "--store", dir, "--where", `path != "/healthz"`)
	p.until(t, "all is read")
	var s apiStatus
	p.get(t, "/api/status", &s)
	c := s.Capture
	if c == nil || c.State != stateEnded || c.Totals == nil {
		t.Fatalf("got %+v", c)
	}
	if c.Exchanges.Seen != 43 || c.Exchanges.Seen != c.Stored.Added+c.Exchanges.LeftOut.Where || c.Exchanges.LeftOut.Where == 0 {
		t.Errorf("exchanges don't reconcile: %+v", c)
	}
	if c.Stored.Added != c.Stored.Stored || s.Store.Exchanges != int64(c.Stored.Stored) {
		t.Errorf("what is stored doesn't reconcile: %+v", s)
	}
	ignored := uint64(0)
	for _, n := range c.Totals.Ignored {
		ignored += n
	}
	if c.Packets.Received != 350 || c.Totals.Analysed+ignored != 350 {
		t.Errorf("packets don't reconcile: %+v", c)
	}
	var found struct {
		Exchanges []json.RawMessage
	}
	p.get(t, "/api/exchanges?where=status==302&fields=route,target,user_agent.name", &found)
	if len(found.Exchanges) != 1 || !strings.Contains(string(found.Exchanges[0]), `"route":"/login"`) {
		t.Errorf("got %s", found.Exchanges)
	}

	// There is one writer.
	var out strings.Builder
	second := exec.CommandContext(t.Context(), "culprit", "serve", "-r", demo, "--store", dir, "--import-only")
	second.Env, second.Stderr = p.Env, &out
	_ = second.Run()
	if code := second.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(out.String(), "another process writes this store") ||
		!strings.Contains(out.String(), fmt.Sprintf("pid %d", p.Process.Pid)) {
		t.Errorf("a second writer: status %d, %s", code, out.String())
	}
	// Others may read.
	reader := exec.CommandContext(t.Context(), "culprit", "query", "--store", dir, "--where", "status == 302", "--fields", "path", "-o", "csv")
	reader.Env = p.Env
	if b, err := reader.CombinedOutput(); err != nil || !strings.Contains(string(b), "/login") {
		t.Errorf("a reader: %v, %s", err, b)
	}
	p.end(t, 0)

	// All of it is there again, without a capture, with another token.
	token := p.token
	p = startServe(t, "--store", dir)
	p.get(t, "/api/status", &s)
	if s.Capture != nil || s.Store.Exchanges != int64(c.Stored.Stored) || p.token == token {
		t.Errorf("after a restart: %+v", s)
	}
	p.end(t, 0)
}

func TestServeKeepsItsToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	dir := storeFolder(t)
	p := startServe(t, "--store", dir, "--token-file", file)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	p.end(t, 0)
	if q := startServe(t, "--store", dir, "--token-file", file); q.token != p.token {
		t.Error("another token")
	} else {
		q.end(t, 0)
	}
}

// A pipe is read as it comes, shown live and stored, whether anybody watches or not.
func TestServeLive(t *testing.T) {
	first, second := halves(t)
	p := startServe(t, "-r", "-", "--store", storeFolder(t))
	r := p.ask(t, "/api/live?where=status==302")
	defer r.Body.Close()
	if _, err := p.stdin.Write(first); err != nil {
		t.Fatal(err)
	}
	if _, err := p.stdin.Write(second); err != nil {
		t.Fatal(err)
	}
	events := bufio.NewScanner(r.Body)
	for events.Scan() && !strings.Contains(events.Text(), `"/login"`) {
	}
	if err := events.Err(); err != nil {
		t.Fatal(err)
	}
	p.stdin.Close()
	p.until(t, "all is read")
	var s apiStatus
	p.get(t, "/api/status", &s)
	if s.Store.Exchanges != 43 {
		t.Errorf("%d are stored", s.Store.Exchanges)
	}
	p.end(t, 0) // with the live stream still open
}

// The packets of an exchange can be had with --reveal, and not without.
func TestServePackets(t *testing.T) {
	for _, reveal := range []bool{true, false} {
		args := []string{"-r", demo, "--store", storeFolder(t), "--keep-packets", "2MiB"}
		if reveal {
			args = append(args, "--reveal")
		}
		p := startServe(t, args...)
		p.until(t, "all is read")
		var found struct {
			Exchanges []struct{ Event struct{ ID string } }
		}
		p.get(t, "/api/exchanges?where=status==302&fields=id", &found)
		r := p.ask(t, "/api/exchanges/"+found.Exchanges[0].Event.ID+"/packets")
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !reveal {
			if r.StatusCode != http.StatusForbidden {
				t.Errorf("without --reveal: %s", r.Status)
			}
			p.end(t, 0)
			continue
		}
		file := filepath.Join(t.TempDir(), "one.pcapng")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if lines := start(t, "-r", file).end(t); len(lines) != 1 || !strings.Contains(lines[0], "/login 302") {
			t.Errorf("%s: the packets hold\n%s", r.Status, strings.Join(lines, "\n"))
		}
		p.end(t, 0)
	}
}

// What isn't sent by the token's owner gets nothing.
func TestServeNeedsTheToken(t *testing.T) {
	p := startServe(t, "--store", storeFolder(t))
	p.token = "another"
	if r := p.ask(t, "/api/status"); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %s", r.Status)
	}
	p.end(t, 0)
}

// An import that fails half way serves what was read, and says so.
func TestServeAfterABrokenFile(t *testing.T) {
	first, _ := halves(t)
	file := filepath.Join(t.TempDir(), "broken.pcap")
	broken := append(append([]byte{}, first...), make([]byte, 16)...)
	for i := range 16 {
		broken[len(first)+i] = 0xff
	}
	if err := os.WriteFile(file, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServe(t, "-r", file, "--store", storeFolder(t))
	p.until(t, "the import has ended early")
	var s apiStatus
	p.get(t, "/api/status", &s)
	if s.Store.Exchanges == 0 {
		t.Error("nothing was stored")
	}
	p.end(t, exitLossy)
}

// A damaged segment is set aside, also by a process that may write nothing but the store, and the rest serves.
func TestServeSetsDamageAside(t *testing.T) {
	dir := storeFolder(t)
	first := startServe(t, "-r", demo, "--store", dir)
	first.until(t, "all is read")
	first.end(t, 0)
	files, err := filepath.Glob(filepath.Join(dir, "segments", "*", "*.parquet"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := len(b) / 4; i < len(b)/2; i++ {
		b[i] ^= 0x55
	}
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServe(t, "--store", dir)
	p.ask(t, "/api/exchanges").Body.Close()
	p.until(t, "set aside in")
	p.end(t, 0)
	if aside, err := os.ReadDir(filepath.Join(dir, "damaged")); err != nil || len(aside) != 1 {
		t.Errorf("set aside: %v %v", aside, err)
	}
}
