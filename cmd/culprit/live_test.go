package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/culprit-http/culprit/internal/output/terminal"
)

// running is a running culprit whose standard output is read line by line.
type running struct {
	*exec.Cmd
	stdin  io.WriteCloser
	lines  *bufio.Scanner
	stdout io.Closer
	stderr strings.Builder
}

// patience is after how long a process that doesn't do what it should is killed.
const patience = 30 * time.Second

// start starts culprit trace. It is killed at the end of the test, should it still run.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	p := &running{Cmd: exec.CommandContext(ctx, "culprit", append([]string{"trace"}, args...)...)}
	p.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir(), "TZ=UTC")
	p.Stderr = &p.stderr
	stdin, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin, p.stdout, p.lines = stdin, stdout, bufio.NewScanner(stdout)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// until reads lines up to the first that holds text, and returns them.
func (p *running) until(t *testing.T, text string) (lines []string) {
	t.Helper()
	for p.lines.Scan() {
		lines = append(lines, p.lines.Text())
		if strings.Contains(p.lines.Text(), text) {
			return lines
		}
	}
	err := p.Wait()
	t.Fatalf("%v; no line holds %q in\n%s\nstandard error:\n%s", err, text, strings.Join(lines, "\n"), p.stderr.String())
	return nil
}

// end reads the remaining lines, and wants an exit status of 0 and nothing on standard error.
func (p *running) end(t *testing.T) (lines []string) {
	t.Helper()
	for p.lines.Scan() {
		lines = append(lines, p.lines.Text())
	}
	if err := p.Wait(); err != nil {
		t.Errorf("%v; standard error:\n%s", err, p.stderr.String())
	}
	if p.stderr.Len() > 0 {
		t.Errorf("standard error:\n%s", p.stderr.String())
	}
	return lines
}

func (p *running) write(t *testing.T, b []byte) {
	t.Helper()
	if _, err := p.stdin.Write(b); err != nil {
		t.Fatal(err)
	}
}

// halves returns the demo capture in two, cut between records.
func halves(t *testing.T) (first, second []byte) {
	t.Helper()
	b, err := os.ReadFile(demo)
	if err != nil {
		t.Fatal(err)
	}
	at := 24 // the file header; each record has 16 bytes and what was captured
	for at < len(b)/2 {
		at = next(b, at)
	}
	return b[:at], b[at:]
}

// next returns where the record after that at offset at begins.
func next(b []byte, at int) int { return at + 16 + int(binary.LittleEndian.Uint32(b[at+8:])) }

// later makes the times of records later.
func later(records []byte, seconds uint32) {
	for at := 0; at < len(records); at = next(records, at) {
		binary.LittleEndian.PutUint32(records[at:], binary.LittleEndian.Uint32(records[at:])+seconds)
	}
}

// answered returns the lines of exchanges that have a status.
func answered(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.Contains(l, " - - ") || strings.Contains(l, " TLS ") })
}

func TestInterruptEndsWithWhatIsComplete(t *testing.T) {
	first, _ := halves(t)
	file := filepath.Join(t.TempDir(), "first.pcap")
	if err := os.WriteFile(file, first, 0o600); err != nil {
		t.Fatal(err)
	}
	want := answered(start(t, "-r", file).end(t))

	p := start(t, "-r", "-")
	p.write(t, first)
	lines := p.until(t, want[len(want)-1]) // all has been read
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	lines = append(lines, p.end(t)...)
	if got := answered(lines); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// An input that never pauses is interrupted all the same.
func TestInterruptWhileBusy(t *testing.T) {
	first, second := halves(t)
	// Without the connection that loses a packet: the end may come before its retransmission.
	p := start(t, "-r", "-", "--pending-after", "0", "--exchange-timeout", "1h", "not host 203.0.113.40")
	fed := make(chan error, 1)
	go func() {
		_, err := p.stdin.Write(first)
		for ; err == nil; later(second, 60) {
			_, err = p.stdin.Write(second)
		}
		fed <- err
	}()
	p.until(t, "/healthz")
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.end(t)
	if err := <-fed; !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestWaitingRequestIsShownOnce(t *testing.T) {
	first, second := halves(t)
	p := start(t, "-r", "-")
	p.write(t, first)
	p.write(t, second)
	lines := p.until(t, "waiting") // while the input is open
	p.stdin.Close()
	lines = append(lines, p.end(t)...)
	var export []string
	for _, l := range lines {
		if strings.Contains(l, "/api/export") {
			export = append(export, l)
		}
	}
	if len(export) != 2 || !strings.HasSuffix(export[0], " waiting") || !strings.Contains(export[1], " unanswered: capture ended; blame: server: no answer in 11.9 s ") {
		t.Errorf("got\n%s", strings.Join(export, "\n"))
	}
}

func TestFollowGrowingFile(t *testing.T) {
	first, second := halves(t)
	file := filepath.Join(t.TempDir(), "growing.pcap")
	if err := os.WriteFile(file, first, 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "-r", file, "--follow", "--where", `path != "/healthz"`)
	lines := p.until(t, "/api/transactions")
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(second); err != nil {
		t.Fatal(err)
	}
	lines = append(lines, p.until(t, "/login 302")...)
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	lines = append(lines, p.end(t)...)
	want := answered(start(t, "-r", demo, "--where", `path != "/healthz"`).end(t))
	if got := answered(lines); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Like culprit ... | head -1: the end of whoever reads is no failure worth a word.
func TestClosedPipeIsQuiet(t *testing.T) {
	first, second := halves(t)
	p := start(t, "-r", "-")
	p.write(t, first)
	p.until(t, "/")
	p.stdout.Close()
	var err error
	for err == nil { // until it is gone
		_, err = p.stdin.Write(second)
	}
	err = p.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if s, ok := exit.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGPIPE {
			t.Errorf("%v", err)
		}
	} else if err != nil {
		t.Error(err)
	}
	if p.stderr.Len() > 0 {
		t.Errorf("standard error:\n%s", p.stderr.String())
	}
}

// screen runs culprit trace on a terminal of that width, and returns what it shows there.
func screen(t *testing.T, width uint16, env []string, args ...string) string {
	t.Helper()
	ptmx, tty, err := pty.Open()
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	defer ptmx.Close()
	if err := pty.Setsize(ptmx, &pty.Winsize{Rows: 24, Cols: width}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("culprit", append([]string{"trace"}, args...)...)
	cmd.Env = append(append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir(), "TZ=UTC", "TERM=xterm", "NO_COLOR="), env...)
	cmd.Stdout, cmd.Stderr = tty, tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	// Reading ends with EIO when the last process has closed the terminal.
	shown, err := io.ReadAll(ptmx)
	if err != nil && !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v:\n%s", err, shown)
	}
	return strings.ReplaceAll(string(shown), "\r\n", "\n")
}

func TestTerminalLayout(t *testing.T) {
	// 43 exchanges, three of which aren't complete, and three verdicts that say more, of one line to three.
	for width, want := range map[uint16]int{80: 52, 100: 51, 140: 50} {
		shown := screen(t, width, []string{"NO_COLOR=1"}, "-r", demo)
		if strings.ContainsRune(shown, '\x1b') {
			t.Errorf("width %d: control sequences in spite of NO_COLOR", width)
		}
		lines := strings.Split(strings.TrimSuffix(shown, "\n"), "\n")
		if len(lines) != want {
			t.Errorf("width %d: %d lines", width, len(lines))
		}
		for _, l := range lines {
			if n := terminal.Width([]byte(l)); n > int(width) {
				t.Errorf("width %d: %d columns: %s", width, n, l)
			}
		}
	}
}

func TestTerminalColour(t *testing.T) {
	for _, c := range []struct {
		env   []string
		args  []string
		color bool
	}{
		{nil, nil, true},
		{[]string{"NO_COLOR=1"}, nil, false},
		{[]string{"TERM=dumb"}, nil, false},
		{nil, []string{"--color", "never"}, false},
		{[]string{"NO_COLOR=1"}, []string{"--color", "always"}, true},
	} {
		shown := screen(t, 100, c.env, append([]string{"-r", demo}, c.args...)...)
		if got := strings.ContainsRune(shown, '\x1b'); got != c.color {
			t.Errorf("%v %v: colours %v, want %v", c.env, c.args, got, c.color)
		}
		if n := strings.Count(shown, "\x1b[0m"); n*2 != strings.Count(shown, "\x1b[") {
			t.Errorf("%v %v: %d resets of %d sequences", c.env, c.args, n, strings.Count(shown, "\x1b["))
		}
	}
}
