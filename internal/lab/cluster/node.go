//go:build linux

package cluster

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// setting is a setting of a node. A value with commas is a list.
type setting struct{ name, value string }

// node is one node: a process, and a folder.
type node struct {
	name            string
	dir             string
	http, transport int
	settings        []setting

	cmd   *exec.Cmd
	stdin io.WriteCloser // the process ends with it
	ended chan struct{}  // closed when the process has ended
}

// logName is the file in a node's folder that has what its process wrote.
const logName = "output"

// run starts the process of a node.
func (c *Cluster) run(n *node) error {
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(n.dir, logName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd, err := c.p.command(c.home, n, c.heap)
	if err != nil {
		return err
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = n.dir, log, log
	attributes := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if c.p.notRoot && os.Geteuid() == 0 {
		attributes.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := chown(n.dir); err != nil {
			return err
		}
	}
	cmd.SysProcAttr = attributes
	if n.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", c.Product, err)
	}
	ended := make(chan struct{})
	n.cmd, n.ended = cmd, ended
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how a node ends says nothing: it is killed
	}()
	return nil
}

// nobody is the user that nodes run as which refuse to be root.
const nobody = 65534

// chown gives what is in a folder to nobody.
func chown(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	})
}

// kill ends the process and those that it started, at once.
func (n *node) kill() {
	if n.cmd == nil {
		return
	}
	_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	_ = n.stdin.Close()
	<-n.ended
}

// down reports whether the node doesn't run.
func (n *node) down() bool {
	if n.cmd == nil {
		return true
	}
	select {
	case <-n.ended:
		return true
	default:
		return false
	}
}

// tailSize is how much of a log is shown.
const tailSize = 6000

// tail returns the end of what the node has written.
func (n *node) tail() string {
	all, err := os.ReadFile(filepath.Join(n.dir, logName))
	if err != nil {
		return err.Error()
	}
	return strings.ToValidUTF8(string(all[max(0, len(all)-tailSize):]), "?")
}
