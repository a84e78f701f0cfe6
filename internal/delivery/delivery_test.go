//go:build linux

// Package delivery holds what receivers got against what was in a capture: agents and receivers are killed in turn, and in
// the end each event must have come. It has tests only.
package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sample is a capture with some thousand exchanges.
const sample = "../../testdata/sample/shop.pcapng.zst"

// patience is how long a step may take on a machine that does other things, too.
const patience = 2 * time.Minute

// program is the culprit that is tested.
var program string

func TestMain(m *testing.M) {
	if name := os.Getenv(receiverVariable); name != "" {
		if err := receive(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "culprit-delivery-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "culprit")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "../../cmd/culprit").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// command returns a run of culprit that ends with the test.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, program, args...)
	c.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir(), "TZ=UTC")
	return c
}

// eventID finds ids in documents.
var eventID = regexp.MustCompile(`"event":\{"id":"([0-9A-HJKMNP-TV-Z]{26})"`)

// idsOf returns the ids of documents, and how often each was there.
func idsOf(documents []byte) map[string]int {
	ids := map[string]int{}
	for _, m := range eventID.FindAllSubmatch(documents, -1) {
		ids[string(m[1])]++
	}
	return ids
}

// exchangesOf returns the ids of the exchanges of a capture.
func exchangesOf(t *testing.T, capture string) map[string]int {
	t.Helper()
	out, err := command(t, "trace", "-r", capture, "--flows", "none", "-o", "ndjson").Output()
	if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 3) {
		t.Fatal(err)
	}
	ids := idsOf(out)
	if len(ids) < 1000 {
		t.Fatalf("%s has %d exchanges", capture, len(ids))
	}
	return ids
}

// receiver is a process that receives, and appends the ids of what it has to a file before it acknowledges.
type receiver struct {
	name, address, file string
	cmd                 *exec.Cmd
}

// newReceiver starts a receiver at an address that stays its own.
func newReceiver(t *testing.T, name string) *receiver {
	t.Helper()
	r := &receiver{name: name, address: "127.0.0.1:0", file: filepath.Join(t.TempDir(), "ids")}
	r.start(t)
	t.Cleanup(func() { r.kill() })
	return r
}

func (r *receiver) start(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(self)
	r.cmd.Env = append(os.Environ(), receiverVariable+"="+r.name, addressVariable+"="+r.address, fileVariable+"="+r.file)
	r.cmd.Stderr = os.Stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.cmd.StdinPipe(); err != nil { // at whose end it ends
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil {
		t.Fatalf("the receiver didn't start: %v", err)
	}
	r.address = strings.TrimSpace(string(line[:n]))
}

// kill ends the process, as kill -9 does.
func (r *receiver) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// has returns the ids that it has, and how often it took each.
func (r *receiver) has(t *testing.T) map[string]int {
	t.Helper()
	b, err := os.ReadFile(r.file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	ids := map[string]int{}
	for line := range bytes.Lines(b) {
		ids[string(bytes.TrimSpace(line))]++
	}
	return ids
}

// amount is how many lines the file has, for waiting.
func (r *receiver) amount() int {
	b, _ := os.ReadFile(r.file)
	return bytes.Count(b, []byte("\n"))
}

// until waits until a condition holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-late.C:
			t.Fatalf("%s: it never came to that", what)
		}
	}
}

// compare says what is missing of what was sent, and what came that wasn't.
func compare(t *testing.T, sent, got map[string]int) {
	t.Helper()
	missing, foreign := 0, 0
	for id := range sent {
		if got[id] == 0 {
			missing++
		}
	}
	for id := range got {
		if sent[id] == 0 {
			foreign++
		}
	}
	if missing+foreign > 0 {
		t.Errorf("of %d events, %d are missing, and %d came that weren't sent", len(sent), missing, foreign)
	}
}

// without returns the ids that aren't among others.
func without(ids, others map[string]int) map[string]int {
	left := maps.Clone(ids)
	for id := range others {
		delete(left, id)
	}
	return left
}

// kills is how often agent and receiver are killed.
func kills() int {
	if os.Getenv("CULPRIT_SOAK") != "" {
		return 40
	}
	return 4
}

// TestKills: agent and receiver are killed in turn, at any moment. In the end the receiver has each exchange and each rollup of
// the capture, and nothing else; and one that looks at ids has each once.
func TestKills(t *testing.T) {
	sent := exchangesOf(t, sample)
	for _, name := range []string{"elastic", "beats", "otlp"} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, name)
			target := map[string]string{"elastic": "elastic=http://%s?", "beats": "beats=tcp://%s?", "otlp": "otlp=http://%s?signals=traces&"}[name]
			args := []string{"agent", "-r", sample, "--spool", t.TempDir(), "-o", fmt.Sprintf(target, r.address) + "spool=64MiB&workers=3&batch_bytes=64KiB&connect_timeout=1s", "--stats", "--flows", "none"} // which have no spans
			interrupted := false
			for k := range kills() {
				agent := command(t, args...)
				if err := agent.Start(); err != nil {
					t.Fatal(err)
				}
				before, steps := r.amount(), 200+k*300
				until(t, "something new arrives", func() bool { return r.amount() > before+steps%2000 || agent.ProcessState != nil || ended(agent) })
				t.Logf("%d of %d exchanges have arrived", r.amount(), len(sent))
				interrupted = interrupted || r.amount() < len(sent)
				if k%2 == 0 {
					r.kill()
					r.start(t)
				} else {
					_ = agent.Process.Kill()
				}
				if k%4 == 2 { // the receiver is away while the agent dies
					r.kill()
					_ = agent.Process.Kill()
					r.start(t)
				}
				_ = agent.Process.Kill()
				_ = agent.Wait()
			}
			out, err := command(t, args...).CombinedOutput()
			if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 3) {
				t.Fatalf("%v\n%s", err, out)
			}
			if !interrupted {
				t.Error("everything had arrived before anybody was killed")
			}
			got := r.has(t)
			rollups := without(got, sent)
			compare(t, sent, without(got, rollups))
			if name != "otlp" { // whose metrics have no ids
				whole := newReceiver(t, name)
				for i, a := range args {
					args[i] = strings.ReplaceAll(a, r.address, whole.address)
				}
				args[4] = t.TempDir() // another spool
				if out, err := command(t, args...).CombinedOutput(); err != nil && !strings.Contains(string(out), "delivered") {
					t.Fatalf("%v\n%s", err, out)
				}
				compare(t, without(whole.has(t), sent), rollups)
				if len(rollups) == 0 {
					t.Error("there are no rollups")
				}
			}
			if name == "elastic" {
				for id, n := range got {
					if n != 1 {
						t.Errorf("%s is stored %d times", id, n)
						break
					}
				}
			}
			if !strings.Contains(string(out), "delivered") || strings.Contains(string(out), "waiting") {
				t.Errorf("the totals:\n%s", out)
			}
		})
	}
}

// ended reports whether a process is over, without waiting for it.
func ended(c *exec.Cmd) bool {
	state, err := os.ReadFile("/proc/" + strconv.Itoa(c.Process.Pid) + "/stat")
	return err != nil || bytes.Contains(state, []byte(") Z "))
}
