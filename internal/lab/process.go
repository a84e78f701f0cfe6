//go:build linux

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"time"
)

// Patience is after how long something that doesn't happen is given up.
const Patience = 30 * time.Second

// Process is a process that Namespace.Start has started.
type Process struct {
	// Cmd is what was started; it must not be waited for. PID is its process id.
	Cmd *exec.Cmd
	PID int

	ended chan struct{}
	err   error
}

// Ended is closed when the process has ended and what it wrote has been read.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Wait waits until the process has ended, and returns what exec.Cmd.Wait did. One that takes longer than
// Patience is killed.
func (p *Process) Wait() error {
	late := time.NewTimer(Patience)
	defer late.Stop()
	select {
	case <-p.ended:
		return p.err
	case <-late.C:
		p.Kill()
		return fmt.Errorf("%s didn't end within %v", p.Cmd.Path, Patience)
	}
}

// Signal sends a signal to the process, unless it has ended.
func (p *Process) Signal(s os.Signal) error { return p.Cmd.Process.Signal(s) }

// Stop sends a signal, and waits until the process has ended.
func (p *Process) Stop(s os.Signal) error {
	if err := p.Signal(s); err != nil {
		return fmt.Errorf("%s has ended before it was to: %w", p.Cmd.Path, err)
	}
	return p.Wait()
}

// Kill ends the process and its children at once, and waits for it.
func (p *Process) Kill() {
	select {
	case <-p.ended:
		return
	default:
	}
	var children []*os.Process
	for _, pid := range Children(p.PID) {
		if child, err := os.FindProcess(pid); err == nil {
			children = append(children, child)
		}
	}
	p.Cmd.Process.Kill()
	for _, child := range children {
		child.Kill()
	}
	<-p.ended
	for _, child := range children {
		_, _ = child.Wait() // they are ours now: see furnish
	}
}
