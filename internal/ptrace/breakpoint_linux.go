package ptrace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"

	"golang.org/x/sys/unix"
)

// Breakpoint is called when a thread has come to a place in its program, before the instruction there. Registers may be read.
type Breakpoint func(th *Thread, r *Registers)

// breakpoint is one that is set: code is what stands in its place.
type breakpoint struct {
	code []byte
	hit  Breakpoint
}

// codeSize is how much code is kept of a breakpoint's place: the longest instruction that is emulated fits in.
const codeSize = 16

// Break sets a breakpoint in a process, which the processes that it forks have, too, until they run another program. It may be called by the
// handler, while the thread that it was told of is stopped.
func (t *Tracer) Break(p *Process, address uint64, hit Breakpoint) error {
	code := make([]byte, codeSize)
	if _, err := ReadMemory(p.ID, address, code); err != nil {
		return fmt.Errorf("reading the code at %#x: %w", address, err)
	}
	if bytes.HasPrefix(code, breakpointCode) {
		return fmt.Errorf("there is a breakpoint at %#x already, of somebody else", address)
	}
	if err := writeMemory(p.ID, address, breakpointCode); err != nil {
		return err
	}
	if p.breakpoints == nil {
		p.breakpoints = map[uint64]*breakpoint{}
	}
	p.breakpoints[address] = &breakpoint{code: code, hit: hit}
	return nil
}

// inherit gives a process the breakpoints of the one that forked it.
func (p *Process) inherit() {
	if p.Parent != nil {
		p.breakpoints = maps.Clone(p.Parent.breakpoints)
	}
}

// clear takes all breakpoints out of a process.
func (p *Process) clear() {
	for address, b := range p.breakpoints {
		_ = writeMemory(p.ID, address, b.code[:len(breakpointCode)])
	}
	p.breakpoints = nil
}

// writeMemory writes memory of a process that is traced, also such as it may not write itself.
func writeMemory(pid int, address uint64, b []byte) error {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(b, int64(address)); err != nil {
		return fmt.Errorf("writing to the memory of process %d: %w", pid, err)
	}
	return nil
}

// broke deals with a thread that got SIGTRAP, and reports whether that was a breakpoint of ours. Then the thread goes on.
func (t *Tracer) broke(th *Thread) (ours bool, err error) {
	if len(th.Process.breakpoints) == 0 {
		return false, nil
	}
	var r Registers
	if err := getRegisters(th.ID, &r); err != nil {
		return false, err
	}
	address := programCounter(&r) - breakpointSkip
	b := th.Process.breakpoints[address]
	if b == nil {
		return false, nil
	}
	setProgramCounter(&r, address)
	b.hit(th, &r)
	read := func(a uint64) (uint64, bool) {
		var word [8]byte
		_, err := ReadMemory(th.Process.ID, a, word[:])
		return binary.LittleEndian.Uint64(word[:]), err == nil
	}
	if emulate(&r, b.code, read) {
		if err := setRegisters(th.ID, &r); err != nil {
			return true, err
		}
		return true, t.resume(th, 0)
	}
	// The instruction is done in its place; another thread may slip by meanwhile.
	if err := setRegisters(th.ID, &r); err != nil {
		return true, err
	}
	if err := writeMemory(th.Process.ID, address, b.code[:len(breakpointCode)]); err != nil {
		return true, err
	}
	th.stepping = address
	return true, request(unix.PTRACE_SINGLESTEP, th.ID, 0, 0)
}

// stepped puts the breakpoint back that a thread has stepped over.
func (t *Tracer) stepped(th *Thread) error {
	address := th.stepping
	th.stepping = 0
	if th.Process.breakpoints[address] == nil { // it is another program now
		return nil
	}
	return writeMemory(th.Process.ID, address, breakpointCode)
}
