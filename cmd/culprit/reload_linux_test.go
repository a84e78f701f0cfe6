package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/synth"
)

// agentRun is a run of culprit agent.
type agentRun struct {
	*exec.Cmd
	stdout *bufio.Reader
	stderr *bufio.Scanner
	said   []string
}

// startAgent starts culprit agent. It is killed at the end of the test, should it still run.
func startAgent(t *testing.T, home string, args ...string) *agentRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	p := &agentRun{Cmd: exec.CommandContext(ctx, "culprit", append([]string{"agent"}, args...)...)}
	p.Env = append(os.Environ(), "XDG_CONFIG_HOME="+home, "TZ=UTC")
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	p.stdout, p.stderr = bufio.NewReader(stdout), bufio.NewScanner(stderr)
	return p
}

// until reads standard error up to a line that holds text.
func (p *agentRun) until(t *testing.T, text string) {
	t.Helper()
	for p.stderr.Scan() {
		p.said = append(p.said, p.stderr.Text())
		if strings.Contains(p.stderr.Text(), text) {
			return
		}
	}
	t.Fatalf("%q wasn't said in\n%s", text, strings.Join(p.said, "\n"))
}

// signal sends one.
func (p *agentRun) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// lineReceiver takes connections, and returns its address and what comes there, line by line.
func lineReceiver(t *testing.T) (address string, lines <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	all := make(chan string, 1000)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewScanner(c)
				in.Buffer(nil, 1<<20)
				for in.Scan() {
					all <- in.Text()
				}
			}()
		}
	}()
	return l.Addr().String(), all
}

// exchangeOf waits for the document of a path.
func exchangeOf(t *testing.T, lines <-chan string, path string) string {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case line := <-lines:
			if strings.Contains(line, `"path":"`+path+`"`) {
				return line
			}
		case <-late:
			t.Fatalf("%s never came", path)
		}
	}
}

// planted is in requests, and mustn't be delivered.
const planted = "brr7Kq2mZp9xVw4t"

// requests returns a capture of a request with a secret.
func requests(t *testing.T, nth int, path string) []byte {
	t.Helper()
	var b bytes.Buffer
	s := synth.New(&b, synth.Options{Seed: uint64(nth), Start: time.Date(2026, time.January, 15, 10, nth, 0, 0, time.UTC)})
	client := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(51000+nth))
	c := s.Dial(0, client, netip.MustParseAddrPort("10.0.0.2:8000"), synth.Path{Client: time.Millisecond, Server: time.Millisecond})
	c.Exchange([]byte("GET "+path+" HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer "+planted+"\r\n\r\n"), 5*time.Millisecond, []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	c.Close(synth.Client)
	c.RecvEnd(synth.Server)
	c.Close(synth.Server)
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestReload: an agent that begins without anybody to deliver to gets somebody, and goes through configurations that can't be read
// or don't work; what it delivers and counts goes on.
func TestReload(t *testing.T) {
	const pcapHeader = 24
	dir, home := t.TempDir(), t.TempDir()
	capture, settings, spools := filepath.Join(dir, "a.pcap"), filepath.Join(dir, "agent.yaml"), filepath.Join(dir, "spool")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	more := func(nth int, path string) {
		t.Helper()
		f, err := os.OpenFile(capture, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(requests(t, nth, path)[pcapHeader:]); err != nil {
			t.Fatal(err)
		}
	}
	write(capture, string(requests(t, 1, "/zero")))
	write(settings, "output: line\n")
	address, lines := lineReceiver(t)

	p := startAgent(t, home, "-c", settings, "-r", capture, "--follow", "--spool", spools, "--stats", "-v")
	if line, err := p.stdout.ReadString('\n'); err != nil || !strings.Contains(line, "/zero") {
		t.Fatalf("%q, %v", line, err)
	}
	delivering := "output:\n  - line\n  - logstash:\n      target: tcp://" + address + "\n"
	write(settings, delivering)
	p.signal(t, syscall.SIGHUP)
	p.until(t, "the configuration was read again")
	more(2, "/one")
	first := exchangeOf(t, lines, "/one")
	if err := os.RemoveAll(filepath.Join(home, "culprit")); err != nil { // the key can't be read any more
		t.Fatal(err)
	}

	write(settings, "output: [\n")
	p.signal(t, syscall.SIGHUP)
	p.until(t, "the old one holds")

	if err := os.WriteFile(filepath.Join(spools, "blocked"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	blocked := delivering + "      name: blocked\n"
	write(settings, blocked)
	p.signal(t, syscall.SIGHUP)
	p.until(t, "the spool of blocked")

	write(settings, delivering+"max_body: 1KiB\n")
	p.signal(t, syscall.SIGHUP)
	p.until(t, "max_body: changes take effect when culprit is started again")
	p.until(t, "the configuration was read again")
	more(3, "/two")
	second := exchangeOf(t, lines, "/two")

	fingerprint := regexp.MustCompile(`redacted [0-9]+ #[0-9a-f]+`)
	if a, b := fingerprint.FindAllString(first, -1), fingerprint.FindAllString(second, -1); len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("fingerprints %q, and later %q", a, b)
	}
	for _, document := range []string{first, second} {
		if strings.Contains(document, planted) {
			t.Errorf("a secret was delivered: %s", document)
		}
	}
	p.signal(t, syscall.SIGTERM)
	for p.stderr.Scan() {
		p.said = append(p.said, p.stderr.Text())
	}
	err := p.Wait()
	said := strings.Join(p.said, "\n")
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 3 { // for blocked got nothing
		t.Errorf("%v", err)
	}
	totals := regexp.MustCompile(`(?m)^logstash +2 exchanges(?: \+ (\d+) rollups?)? = delivered (\d+)$`).FindStringSubmatch(said)
	if totals == nil {
		t.Fatalf("the totals:\n%s", said)
	}
	rollups, _ := strconv.Atoi(totals[1])
	if delivered, _ := strconv.Atoi(totals[2]); delivered != 2+rollups {
		t.Errorf("delivered %d of 2 exchanges and %d rollups\n%s", delivered, rollups, said)
	}
	if !strings.Contains(said, "\nblocked ") {
		t.Errorf("the totals lack an output that couldn't be opened:\n%s", said)
	}
}

// TestFixedChanges: each option that reload doesn't take over is named where it differs, by its key.
func TestFixedChanges(t *testing.T) {
	c := config.DefaultAgent()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, g := range agentGroups(&c, new(string)) {
		flags.AddFlagSet(g.FlagSet)
	}
	takenOver := []string{"Where", "Reveal", "Redaction", "Enrichment", "Sample", "SampleKeep", "SampleSlow", "Outputs", "FileOutputs"}
	noOption := []string{"Count", "Format", "Headers", "NoHeaders", "Color", "Sockets", "Usage", "Agent"}
	old, changed := c, c
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		for i := range v.NumField() {
			f, field := v.Type().Field(i), v.Field(i)
			if f.Anonymous || f.Name == "Live" {
				walk(field)
				continue
			}
			was := reflect.New(f.Type).Elem()
			was.Set(field)
			change(t, field)
			got := fixedChanges(old, changed)
			switch {
			case slices.Contains(takenOver, f.Name):
				if len(got) > 0 {
					t.Errorf("%s: %q", f.Name, got)
				}
			case len(got) != 1:
				t.Errorf("%s: %q", f.Name, got)
			case slices.Contains(noOption, f.Name) || got[0] == captureFilterKey:
			case flags.Lookup(flagOf(got[0])) == nil:
				t.Errorf("%s: there is no key %s", f.Name, got[0])
			}
			field.Set(was)
		}
	}
	walk(reflect.ValueOf(&changed).Elem())
	if got := fixedChanges(old, changed); len(got) > 0 {
		t.Errorf("nothing has changed: %q", got)
	}
}

// change gives a field another value.
func change(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		m.SetMapIndex(reflect.ValueOf("x"), reflect.Zero(v.Type().Elem()))
		v.Set(m)
	case reflect.Struct:
		change(t, v.Field(0))
	default:
		switch {
		case v.CanInt():
			v.SetInt(v.Int() + 1)
		case v.CanUint():
			v.SetUint(v.Uint() + 1)
		default:
			t.Fatalf("%v: how is it changed?", v.Type())
		}
	}
}

// TestFixedOutputs: of outputs that don't deliver, settings count, too.
func TestFixedOutputs(t *testing.T) {
	of := func(outputs ...string) []config.Output { return fixedOutputs(&config.Trace{Outputs: outputs}) }
	first := of("metrics=127.0.0.1:0?max_series=10", "ndjson=a", "elastic=http://a")
	if len(first) != 2 || !reflect.DeepEqual(first, of("metrics=127.0.0.1:0?max_series=10", "ndjson=a", "elastic=http://b?index=x")) {
		t.Errorf("%+v", first)
	}
	for _, changed := range [][]string{{"metrics=127.0.0.1:0?max_series=11", "ndjson=a"}, {"metrics=127.0.0.1:0?max_series=10"}} {
		if reflect.DeepEqual(first, of(changed...)) {
			t.Errorf("%q are the same", changed)
		}
	}
}

// TestEarlySignal: a SIGHUP that comes before the run has begun waits for that.
func TestEarlySignal(t *testing.T) {
	r := newReloading()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for late := time.After(patience); len(r.told) == 0; runtime.Gosched() {
		select {
		case <-late:
			t.Fatal("the signal never came")
		default:
		}
	}
	var stderr strings.Builder
	r.begin(&tracing{capturing: capturing{stderr: &stderr}})
	r.end()
	if !strings.Contains(stderr.String(), "no configuration file") {
		t.Errorf("it was forgotten: %q", &stderr)
	}
	(*reloading)(nil).begin(nil)
}

// TestReadable: the folders of links and of what they lead to, in full; never the root folder, but what is in it.
func TestReadable(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.MkdirAll(in("etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(in("real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in("real/agent.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../real/agent.yaml", in("etc/agent.yaml")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(in("etc"))
	all, alone := readable([]string{"agent.yaml", in("etc/other"), "/nowhere.yaml"})
	if !slices.Equal(all, []string{in("etc"), in("real"), "/nowhere.yaml"}) || !slices.Equal(alone, []string{"/nowhere.yaml"}) {
		t.Errorf("%q, alone %q", all, alone)
	}
}

// TestOutOfReach: who can't read a file is told of both reasons that there may be.
func TestOutOfReach(t *testing.T) {
	err := outOfReach(fmt.Errorf("open x: %w", fs.ErrPermission))
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "uid ") || !strings.Contains(err.Error(), "folders") {
		t.Error(err)
	}
	if err := outOfReach(fs.ErrNotExist); err != fs.ErrNotExist {
		t.Error(err)
	}
}

// TestShownSettings: what may be secret isn't shown, unless it is the name of a variable and nothing else.
func TestShownSettings(t *testing.T) {
	for value, shown := range map[string]bool{"geheim": false, "${KEY}": true, "${KEY}geheim": false, "${KEY}${geheim}": false, "x${KEY}": false} {
		for _, key := range hiddenSettings {
			o := config.Output{Name: "otlp", Text: "otlp", Settings: []config.OutputSetting{{Key: key, Value: value}}}
			if text := fmt.Sprint(outputSection([]config.Output{o})); strings.Contains(text, value) != shown {
				t.Errorf("%s: %s: %s", key, value, text)
			}
		}
	}
	if !slices.Contains(hiddenSettings, "headers") {
		t.Error("headers are shown")
	}
}
