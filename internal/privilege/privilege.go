// Package privilege says what the process may do, and takes it away when it isn't needed any more: the user, the
// capabilities, the files, the network, the system calls.
//
// A program that reads packets reads what strangers wrote. So it opens its outputs and its capture sockets first, then
// calls Drop, and only then looks at a packet. What it needs later from a privileged process, it asks of the keeper
// (package keeper), which has called Reduce.
package privilege

import "strings"

// DefaultUser is whom root becomes, if nobody else was named.
const DefaultUser = "nobody"

// Options say what Drop leaves.
type Options struct {
	// User is whom to become: a name, or UID or UID:GID in numbers. When it is empty, root becomes DefaultUser
	// as far as the system allows, and others stay who they are.
	User string
	// Keep are capabilities to be kept, in effect, as far as the process has them. With CapNetRaw it may still open
	// capture sockets, with CapSysAdmin enter network namespaces.
	Keep []Cap
	// ReadPaths are files and directories, with all that is in them, that may still be opened for reading;
	// WritePaths those that may be read, written, made, renamed within them, and removed. Files that are open
	// already are usable as before, whatever stands here.
	ReadPaths, WritePaths []string
	// Inspect: other processes may be looked into, in /proc, as far as user and capabilities go. Landlock would hide
	// them, and is left out; so ReadPaths and WritePaths say nothing then, but that names of files may be changed.
	Inspect bool
	// Network: connections may be made and accepted, and what name resolution and TLS need may be read.
	Network bool
	// Serve: connections may be accepted at sockets that listen already.
	Serve bool
}

// Step is one of the things that were done to lose privileges, or weren't.
type Step struct {
	// Name is what it is about: "user", "capabilities".
	Name string
	// Text is what holds from now on, and why it isn't more, if it isn't.
	Text string
	// Done: the system allowed all of it.
	Done bool
}

// Report lists the steps, in the order in which they were taken.
type Report []Step

// String has a line for each step, without a newline at the end.
func (r Report) String() string {
	lines := make([]string, len(r))
	for i, s := range r {
		lines[i] = s.Name + ": " + s.Text
	}
	return strings.Join(lines, "\n")
}
