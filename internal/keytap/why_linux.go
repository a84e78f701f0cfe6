package keytap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Library returns the TLS libraries that a process has, the likeliest to be in use first: those that it has loaded by now, and those that are
// linked into its program; nil if none is known.
func (t *Tap) Library(pid int) (names []string, err error) {
	found, _, err := t.find(pid)
	for _, l := range found {
		names = append(names, l.name)
	}
	return names, err
}

// find returns the libraries of a process, and the files that it has mapped.
func (t *Tap) find(pid int) (found []*known, files []string, err error) {
	p, err := t.program(pid)
	if err != nil {
		return nil, nil, err
	}
	if files, err = mapped(pid); err != nil {
		return nil, nil, err
	}
	if !errors.Is(p.err, errNotGo) {
		return []*known{&goTLS}, files, nil
	}
	marks, err := t.linkedInto(pid, p)
	if err != nil {
		return nil, nil, err
	}
	shared := loaded(files)
	for i := range libraries {
		if l := &libraries[i]; slices.Contains(marks, l) || slices.Contains(shared, l) {
			found = append(found, l)
			if l.alone {
				break
			}
		}
	}
	return found, files, nil
}

// linkedInto returns the libraries that are linked into the program of a process, which isn't one of Go.
func (t *Tap) linkedInto(pid int, p *program) ([]*known, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.marked {
		return p.marks, nil
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return nil, fmt.Errorf("the program of process %d: %w", pid, err)
	}
	defer f.Close()
	if p.marks, err = linked(f); err != nil {
		return nil, err
	}
	p.marked = true
	return p.marks, nil
}

// maxMaps is how much is read of the list of what a process has mapped, and of its environment, in bytes.
const maxMaps = 16 << 20

// proc reads a file of a process.
func proc(pid int, name string) ([]byte, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxMaps))
}

// mapped returns the files that a process has mapped.
func mapped(pid int) (files []string, err error) {
	text, err := proc(pid, "maps")
	if err != nil {
		return nil, fmt.Errorf("what process %d has loaded: %w", pid, err)
	}
	for line := range bytes.Lines(text) {
		if i := bytes.IndexByte(line, '/'); i >= 0 {
			files = append(files, strings.TrimSuffix(strings.TrimSuffix(string(line[i:]), "\n"), " (deleted)"))
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// Why says why a process's TLS could not be opened: the end of a sentence that begins "could not be opened, because". To be called when a
// handshake was seen and the process is still there.
func (t *Tap) Why(pid int) string {
	found, files, err := t.find(pid)
	if err != nil {
		return "the program has ended, or can't be looked at"
	}
	if len(found) == 0 {
		return "its TLS library isn't known: it is linked into the program, or it is none that culprit knows"
	}
	var reasons []string
	for _, l := range found {
		reasons = append(reasons, t.reason(pid, l, files))
	}
	return strings.Join(slices.Compact(reasons), "; or ")
}

// reason says why there are no keys of a library.
func (t *Tap) reason(pid int, l *known, files []string) string {
	if l.way == none {
		return l.without
	}
	if l.way == byBreak {
		if p, err := t.program(pid); err == nil && p.err != nil {
			return p.err.Error()
		}
		return "the Go program's session began before culprit attached to it, or isn't one of crypto/tls"
	}
	// What the program was started with, whatever it has made of it since.
	text, err := proc(pid, "environ")
	if err != nil {
		return "the program has ended, or can't be looked at"
	}
	env := strings.Split(string(text), "\x00")
	reached := func(name, want string) bool { return want != "" && strings.Contains(value(env, name), want) }
	lost := func(name string) string {
		return fmt.Sprintf("the program was started without the %s that culprit sets (it ran before, or who started it has cleared its environment), "+
			"and so its %s writes no key log", name, l.name)
	}
	switch l.way {
	case byShim:
		switch {
		case t.noShim != nil && t.keysPath != "":
			return fmt.Sprintf("OpenSSL writes no key log unless the program asks for it, and the shim that asks isn't there: %v", t.noShim)
		case !reached(shimVariable, t.shimPath) || !reached(preloadVariable, t.shim):
			return lost(preloadVariable)
		case !slices.Contains(files, t.shim):
			return "the key-log shim isn't loaded: the program is of another architecture, or may not load it"
		}
		return "OpenSSL is older than 1.1.1, or the program looks its functions up by itself, where the key-log shim doesn't see it"
	case byNode:
		if !reached(nodeVariable, t.keysPath) {
			return lost(nodeVariable)
		}
		return "node is older than 12.16, or was built without this option, or its permissions don't let it write key logs"
	}
	if !reached(keylogVariable, t.keysPath) {
		return lost(keylogVariable)
	}
	return fmt.Sprintf("this program's %s doesn't heed %s", l.name, keylogVariable)
}
