package privilege

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// networkPaths are what Go's resolver and its TLS read. Those that a system hasn't got are left out.
var networkPaths = [...]string{
	"/etc/resolv.conf", "/run/systemd/resolve", "/etc/hosts", "/etc/nsswitch.conf", "/etc/services", "/etc/protocols",
	"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
}

// What is granted of a file, and of a directory. Nothing is ever executed, and no links, sockets and devices are made.
const (
	readFile = landlock.AccessFSSet(ll.AccessFSReadFile)
	readDir  = readFile | ll.AccessFSReadDir

	writeFile = readFile | ll.AccessFSWriteFile | ll.AccessFSTruncate
	writeDir  = readDir | writeFile | ll.AccessFSMakeReg | ll.AccessFSMakeDir | ll.AccessFSRemoveFile | ll.AccessFSRemoveDir |
		ll.AccessFSRefer // without which nothing is renamed from one directory to another
)

// restrictFiles lets all threads open what o grants, and nothing else, and keeps them from using TCP if o does.
func restrictFiles(o Options) Step {
	step := Step{Name: "files"}
	if o.Inspect {
		step.Text, step.Done = "as the user's, since Landlock would hide other processes", true
		return step
	}
	abi, err := ll.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		step.Text = "as the user's: this kernel has no Landlock, or it is off or forbidden"
		return step
	}

	config := landlock.V11
	// Between the threads of a process, some kernels take a signal for one that goes outside, and Go's runtime can't do
	// without. seccomp forbids signals to other processes.
	config.Scoped &^= ll.ScopeSignal
	if o.Network {
		config.HandledAccessNet = 0
	}
	var rules []landlock.Rule
	grant := func(paths []string, file, dir landlock.AccessFSSet) (granted, left []string) {
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil {
				left = append(left, path)
				continue
			}
			access := file
			if info.IsDir() {
				access = dir
			}
			rules = append(rules, landlock.PathAccess(access, path).IgnoreIfMissing())
			granted = append(granted, path)
		}
		return granted, left
	}
	reads, unread := grant(o.ReadPaths, readFile, readDir)
	writes, unwritten := grant(o.WritePaths, writeFile, writeDir)
	if o.Network {
		grant(networkPaths[:], readFile, readDir)
	}
	if err := config.BestEffort().Restrict(rules...); err != nil {
		step.Text = fmt.Sprintf("as the user's: Landlock failed: %v", err)
		return step
	}

	step.Done = true
	var granted []string
	if reads != nil {
		granted = append(granted, "reads "+strings.Join(reads, " "))
	}
	if writes != nil {
		granted = append(granted, "writes "+strings.Join(writes, " "))
	}
	if o.Network {
		granted = append(granted, "reads what names and TLS need")
	}
	step.Text = "opens none"
	if granted != nil {
		step.Text = strings.Join(granted, "; ")
	}
	switch {
	case o.Network:
	case abi < 4:
		step.Text += "; TCP is left to seccomp"
	default:
		step.Text += "; no TCP"
	}
	step.Text += fmt.Sprintf(" (Landlock %d)", abi)
	if left := slices.Concat(unread, unwritten); left != nil {
		step.Text += "; out of this user's reach: " + strings.Join(left, " ")
	}
	return step
}
