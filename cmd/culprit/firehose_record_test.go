package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	format "github.com/culprit-http/culprit/internal/firehose"
)

// recorded is what a test finds in a stream.
type recorded struct{ fragments, ends, jumps int }

func readRecorded(t *testing.T, r io.Reader) (n recorded) {
	t.Helper()
	next := map[string]uint64{}
	in := format.NewReader(r)
	for {
		var f format.Fragment
		switch err := in.Next(&f); {
		case err == io.EOF:
			return n
		case err != nil:
			t.Error(err)
			return n
		}
		key := f.UUID.String() + string(f.Dir)
		if f.Untrusted || f.Count < next[key] {
			t.Errorf("%s: %+v", key, f)
		}
		if f.Count > next[key] {
			n.jumps++
		}
		if next[key] = f.Count + 1; f.End {
			n.ends++
		} else {
			n.fragments++
		}
	}
}

func makeFIFO(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hose")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// all is what the sample capture has, recorded.
var all = recorded{fragments: 116, ends: 55}

// TestHoseWaits: a FIFO that nobody reads is waited for, which is said, and who comes gets everything.
func TestHoseWaits(t *testing.T) {
	path := makeFIFO(t)
	said, stderr := io.Pipe()
	status := make(chan int)
	go func() {
		status <- run([]string{"firehose", "record", "-r", demo, "--to", path}, strings.NewReader(""), io.Discard, stderr)
	}()
	line := make([]byte, 200)
	n, err := said.Read(line)
	if err != nil || !strings.Contains(string(line[:n]), "waiting for somebody to read "+path) {
		t.Fatalf("%v: %q", err, line[:n])
	}
	go io.Copy(io.Discard, said)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n := readRecorded(t, f); n != all {
		t.Errorf("%+v, want %+v", n, all)
	}
	if got := <-status; got != exitLossy { // which the sample is, without keys
		t.Errorf("exit status %d", got)
	}
}

// TestHoseInterrupted: waiting for a reader ends when the program is asked to end.
func TestHoseInterrupted(t *testing.T) {
	path := makeFIFO(t)
	cmd := exec.CommandContext(t.Context(), "culprit", "firehose", "record", "-r", demo, "--to", path)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 200)
	if _, err := stderr.Read(line); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(stderr)
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitFailed || !bytes.Contains(rest, []byte("nobody came to read")) {
		t.Errorf("%v: %s", err, rest)
	}
}

// TestHoseReaderGone: the recording ends, and says so, when who was waited for doesn't read any more.
func TestHoseReaderGone(t *testing.T) {
	path := makeFIFO(t)
	go func() {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		io.ReadFull(f, make([]byte, 100))
		f.Close()
	}()
	big := demoTimes(t, 30) // more than a pipe takes
	var stderr bytes.Buffer
	if got := run([]string{"firehose", "record", "-r", big, "--to", path, "--connections", "none"}, strings.NewReader(""), io.Discard, &stderr); got != exitFailed ||
		!strings.Contains(stderr.String(), "whoever read "+path+" has gone") {
		t.Errorf("exit status %d: %s", got, &stderr)
	}
}

// demoTimes makes a capture that has the sample several times, an hour apart.
func demoTimes(t *testing.T, n int) string {
	t.Helper()
	b, err := os.ReadFile(demo)
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Clone(b)
	for range n - 1 {
		later(b[24:], 3000)
		big = append(big, b[24:]...)
	}
	path := filepath.Join(t.TempDir(), "big.pcap")
	if err := os.WriteFile(path, big, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHoseNonblock: who reads isn't waited for. What has no room is dropped and counted, and no end mark is.
func TestHoseNonblock(t *testing.T) {
	path := makeFIFO(t)
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	big, err := os.ReadFile(demoTimes(t, 40))
	if err != nil {
		t.Fatal(err)
	}
	stdin, in := io.Pipe()
	var stderr bytes.Buffer
	status := make(chan int)
	go func() {
		status <- run([]string{"firehose", "record", "-r", "-", "--to", path, "--nonblock", "--queue", "64KiB"}, stdin, io.Discard, &stderr)
		stdin.Close()
	}()
	if _, err := in.Write(big); err != nil { // which ends when most of it was recorded, or dropped
		t.Fatal(err)
	}
	read := make(chan recorded)
	go func() { read <- readRecorded(t, f) }()
	in.Close()
	if got := <-status; got != exitLossy || !strings.Contains(stderr.String(), " dropped of ") || strings.Contains(stderr.String(), "couldn't be written") ||
		!strings.Contains(stderr.String(), " left no trace ") {
		t.Errorf("exit status %d: %s", got, &stderr)
	}
	n := <-read
	if n.fragments == 0 || n.fragments > 40*all.fragments/2 || n.jumps == 0 {
		t.Errorf("%+v", n)
	}
	lines, err := os.ReadFile(path + ".connections.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	if ended := bytes.Count(lines, []byte(`"ended"`)); ended != 40*28 {
		t.Errorf("%d connections in the list have ended, want %d", ended, 40*28)
	}
}

// TestHoseNobody: nonblock stands down while nobody reads, and says so.
func TestHoseNobody(t *testing.T) {
	path := makeFIFO(t)
	var stderr bytes.Buffer
	if got := run([]string{"firehose", "record", "-r", demo, "--to", path, "--nonblock", "--connections", "none"}, strings.NewReader(""), io.Discard, &stderr); got != exitLossy {
		t.Errorf("exit status %d", got)
	}
	for _, want := range []string{
		"nobody reads " + path + ": what comes is dropped until somebody does", "116 fragments with 64,653 bytes dropped of 55 half-streams", "55 end marks couldn't be written",
	} {
		if strings.Count(stderr.String(), want) != 1 {
			t.Errorf("it isn't said once that %s:\n%s", want, &stderr)
		}
	}
}

// TestHoseTLS: what was sent within TLS is recorded as the server saw it, and the list has the name that was asked for.
func TestHoseTLS(t *testing.T) {
	dir := filepath.Join("..", "..", "testdata", "secure")
	path := filepath.Join(t.TempDir(), "secure.firehose")
	var stderr bytes.Buffer
	if got := run([]string{"firehose", "record", "-r", filepath.Join(dir, "secure.pcapng"), "--to", path}, strings.NewReader(""), io.Discard, &stderr); got != 0 && got != exitLossy {
		t.Fatalf("exit status %d: %s", got, &stderr)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := os.ReadFile(path + ".connections.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte("HTTP/1.1")) || !bytes.Contains(lines, []byte(`"tls":true,"sni":"`)) {
		t.Errorf("%d bytes, with the list\n%s", len(b), lines)
	}
}
