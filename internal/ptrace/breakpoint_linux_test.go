package ptrace

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
)

// called is a program that calls a function from many threads at once, and ends well if each call did what it should.
const called = `package main

import (
	"os"
	"sync"
)

//go:noinline
func deep(a, b int, pad [40]byte) int {
	if a == 0 {
		return b
	}
	return deep(a-1, b+int(pad[a%40]), pad)
}

//go:noinline
func small(a int) int { return deep(3, a, [40]byte{}) }

func main() {
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for j := range 200 {
				if small(i*j) != i*j {
					os.Exit(2)
				}
			}
		})
	}
	all.Wait()
}
`

func build(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	cmd := exec.Command("go", "build", "-o", program, "main.go")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GO111MODULE=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// breaking sets breakpoints in the program that is started.
type breaking struct {
	record
	tracer    *Tracer
	addresses []uint64
	hits      []int
}

func (b *breaking) Exec(p *Process) {
	for i, a := range b.addresses {
		if err := b.tracer.Break(p, a, func(*Thread, *Registers) { b.hits[i]++ }); err != nil {
			b.t.Error(err)
		}
	}
}

// TestBreakpoints: each call from each thread is seen, and the program doesn't notice.
func TestBreakpoints(t *testing.T) {
	program := build(t, called)
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	b := &breaking{record: record{t: t}, hits: make([]int, 2)}
	for _, name := range []string{"main.small", "main.deep"} {
		for _, s := range symbols {
			if s.Name == name {
				b.addresses = append(b.addresses, s.Value)
			}
		}
	}
	if len(b.addresses) != 2 {
		t.Fatalf("got %d functions", len(b.addresses))
	}
	var status atomic.Int64
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		b.tracer = New(writes, b)
		_, err := b.tracer.Start(&Command{Path: program, Args: []string{"program"}, Env: os.Environ(), Files: [3]*os.File{os.Stdin, os.Stdout, os.Stderr}})
		if err == nil {
			var n, signal int
			n, signal, err = b.tracer.Run()
			status.Store(int64(n + 1000*signal))
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if status.Load() != 0 {
		t.Errorf("the program ended with %d", status.Load())
	}
	// A function begins anew when its stack has grown, or its goroutine was preempted.
	if b.hits[0] < 3200 || b.hits[0] > 3300 || b.hits[1] < 12800 || b.hits[1] > 13200 {
		t.Errorf("got %v hits, want 3200 and 12800, and few more", b.hits)
	}
}

// TestDetach: what is let go runs on as if nothing had been.
func TestDetach(t *testing.T) {
	cmd := exec.Command(python, "-c", `
import os, sys, threading
threading.Thread(target=sys.stdin.readline).start()
os.write(1, b"up\n")
for t in threading.enumerate():
    if t is not threading.main_thread(): t.join()
os.write(1, b"down\n")
`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("%v: apt-get install python3", err)
	}
	up := make([]byte, 3)
	if _, err := out.Read(up); err != nil {
		t.Fatal(err)
	}
	r := &record{t: t}
	tr := New(writes, r)
	attached, done := make(chan error), make(chan error)
	go func() {
		runtime.LockOSThread()
		err := tr.Attach(cmd.Process.Pid)
		attached <- err
		if err == nil {
			_, _, err = tr.Run()
		}
		done <- err
	}()
	if err := <-attached; err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		t.Skipf("attaching: %v", err)
	}
	tr.Detach(cmd.Process.Pid)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if by := tracerOf(cmd.Process.Pid); by != 0 {
		t.Errorf("it is still traced, by %d", by)
	}
	in.Write([]byte("go\n"))
	down := make([]byte, 5)
	if _, err := out.Read(down); err != nil || string(down) != "down\n" {
		t.Errorf("got %q, %v", down, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
