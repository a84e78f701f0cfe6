package keytap

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/culprit-http/culprit/internal/ptrace"
)

// What a function that logs keys is given, in bytes: labels have some thirty letters, and secrets are as long as hashes, or 48 bytes.
const (
	maxLabel   = 64
	randomSize = 32
	maxSecret  = 64
)

// maxPrograms is how many files of programs are remembered.
const maxPrograms = 256

// identity tells a program's file from others, and from what it was before.
type identity struct{ device, inode, size, changed uint64 }

// program is what is known of a program's file.
type program struct {
	functions []uint64
	entry     uint64
	err       error
	// marks are the libraries that are linked in statically, once looked for.
	marks  []*known
	marked bool
}

// Exec sets the breakpoints in a process that has just begun to run a program, if that is one of Go; to be called when a handler is told of
// Exec, and of the Start of a process that was attached to. An error says that the program couldn't be looked at or changed. That a Go program
// has no such function isn't one: Why knows it.
func (t *Tap) Exec(tr *ptrace.Tracer, p *ptrace.Process) error {
	found, err := t.program(p.ID)
	if err != nil || len(found.functions) == 0 {
		return err
	}
	entry, err := entryOf(p.ID)
	if err != nil {
		return err
	}
	for _, a := range found.functions {
		if err := tr.Break(p, a-found.entry+entry, t.hit); err != nil {
			return fmt.Errorf("the keys of the Go program in process %d: %w", p.ID, err)
		}
	}
	return nil
}

// program looks at the file of the program that a process runs.
func (t *Tap) program(pid int) (*program, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return nil, fmt.Errorf("the program of process %d: %w", pid, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var id identity
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		id = identity{uint64(s.Dev), s.Ino, uint64(s.Size), uint64(s.Ctim.Nano())}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if found := t.programs[id]; found != nil {
		return found, nil
	}
	found := &program{}
	found.functions, found.entry, found.err = goFunctions(f)
	if len(t.programs) >= maxPrograms {
		clear(t.programs)
	}
	t.programs[id] = found
	return found, nil
}

// atEntry is AT_ENTRY of getauxval(3): where the program is entered.
const atEntry = 9

// entryOf returns the address that a process's program is entered at, which tells where it is loaded.
func entryOf(pid int) (uint64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/auxv", pid))
	if err != nil {
		return 0, fmt.Errorf("where the program of process %d is loaded: %w", pid, err)
	}
	defer f.Close()
	for {
		var e [2]uint64
		if err := binary.Read(f, binary.NativeEndian, &e); err == io.EOF {
			return 0, fmt.Errorf("process %d doesn't tell where its program is loaded", pid)
		} else if err != nil {
			return 0, err
		}
		if e[0] == atEntry {
			return e[1], nil
		}
	}
}

// hit is called when a Go program calls writeKeyLog(c *Config, label string, clientRandom, secret []byte): registers hold the receiver, the
// label's address and length, and address, length and capacity of the others.
func (t *Tap) hit(th *ptrace.Thread, r *ptrace.Registers) {
	a := ptrace.GoArguments(r)
	line, ok := keyLine(a, func(address uint64, b []byte) bool {
		_, err := ptrace.ReadMemory(th.Process.ID, address, b)
		return err == nil
	})
	if ok {
		t.store.Add(line)
	}
}

// keyLine makes a line of a key log of the arguments.
func keyLine(a [9]uint64, read func(address uint64, b []byte) bool) (line []byte, ok bool) {
	label, random, secret := a[1:3], a[3:5], a[6:8]
	if label[1] == 0 || label[1] > maxLabel || random[1] != randomSize || secret[1] == 0 || secret[1] > maxSecret {
		return nil, false
	}
	var buf [maxLabel + randomSize + maxSecret]byte
	name, by, value := buf[:label[1]], buf[maxLabel:maxLabel+randomSize], buf[maxLabel+randomSize:][:secret[1]]
	if !read(label[0], name) || !read(random[0], by) || !read(secret[0], value) {
		return nil, false
	}
	line = append(append(line, name...), ' ')
	line = append(hex.AppendEncode(line, by), ' ')
	return append(hex.AppendEncode(line, value), '\n'), true
}
