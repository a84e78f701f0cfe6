//go:build linux

package tlspeers

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// Patience is after how long something that doesn't happen is given up.
const Patience = 20 * time.Second

// FreeAddress returns a free address on the loopback interface.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Output runs a program that does its work and ends, and returns what it writes to standard output.
func Output(dir string, env []string, name string, args ...string) ([]byte, error) {
	path, err := lab.Program(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = dir, env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	late := time.AfterFunc(Patience, func() { cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		return stdout.Bytes(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, &stderr)
	}
	return stdout.Bytes(), nil
}

// Process is a program that runs until it is stopped.
type Process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.Reader
	said   *transcript
	ended  chan struct{} // closed when it has ended
}

// Start starts a program in a folder. Env is added to nothing: nil is the test's own environment.
func Start(dir string, env []string, name string, args ...string) (*Process, error) {
	path, err := lab.Program(name)
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(path, args...), said: newTranscript(), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = dir, env, p.said
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, in := io.Pipe()
	p.stdout, p.cmd.Stdout = out, in
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended matters to nobody: what it said does
		in.Close()
		close(p.ended)
	}()
	return p, nil
}

// Stderr returns what the program has written to standard error so far.
func (p *Process) Stderr() string { return p.said.String() }

// Kill ends the program at once.
func (p *Process) Kill() {
	p.stdin.Close()
	p.cmd.Process.Kill()
	go func() { _, _ = io.Copy(io.Discard, p.stdout) }() // or Wait would wait for us
	<-p.ended
}

// Close ends the program's input, and waits until it has ended.
func (p *Process) Close() error {
	p.stdin.Close()
	go func() { _, _ = io.Copy(io.Discard, p.stdout) }()
	late := time.NewTimer(Patience)
	defer late.Stop()
	select {
	case <-p.ended:
		return nil
	case <-late.C:
		p.Kill()
		return fmt.Errorf("%s doesn't end: %s", p.cmd.Path, p.said)
	}
}

// transcript is what a program says, to be waited for.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed, and made anew, when there is more
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{})} }

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return s.text.Write(b)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *transcript) count(text string) int { return strings.Count(s.String(), text) }

// has waits until a text was said n times.
func (s *transcript) has(text string, n int) error {
	late := time.NewTimer(Patience)
	defer late.Stop()
	for {
		s.mu.Lock()
		found, changed := bytes.Count(s.text.Bytes(), []byte(text)) >= n, s.changed
		s.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-changed:
		case <-late.C:
			return fmt.Errorf("nobody says %q: %s", text, s)
		}
	}
}
