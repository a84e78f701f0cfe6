package privilege

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Drop gives up, in all threads and for good, what o doesn't keep: the user first, then capabilities, the right to gain
// privileges, files and network (Landlock), and system calls (seccomp). It is called once, when everything that needs more is
// open, and before anything is read that others wrote.
//
// A kernel that lacks one of the last two, or a container that forbids them, isn't an error: the report says so. An
// error means that the process may have more privileges than the caller asked for, and must not go on.
func Drop(o Options) (Report, error) {
	// The files that say what the local time is can't be read later.
	_, _ = time.Unix(0, 0).Zone()

	var r Report
	step, err := dropUser(o.User)
	if err != nil {
		return r, err
	}
	r = append(r, step)
	if r, err = dropRights(r, setOf(o.Keep)); err != nil {
		return r, err
	}
	return append(r, restrictFiles(o), restrictCalls(callsFor(o))), nil
}

// Reduce gives up, in all threads and for good, what a process doesn't need that only looks into /proc and opens capture
// sockets for another: all capabilities but keep, the right to gain privileges, and system calls. The user stays, and so do
// files: Landlock would hide the files of other processes in /proc. Errors are as with Drop.
func Reduce(keep ...Cap) (Report, error) {
	r, err := dropRights(nil, setOf(keep))
	if err != nil {
		return r, err
	}
	return append(r, restrictCalls(callsFor(Options{Keep: keep}))), nil
}

// dropRights does what Drop and Reduce have in common.
func dropRights(r Report, keep capSet) (Report, error) {
	step, err := dropCapabilities(keep)
	if err != nil {
		return r, err
	}
	r = append(r, step)
	if err := prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return r, fmt.Errorf("giving up new privileges: %w", err)
	}
	// Other processes of the same user may not look into this one, and it leaves no core file with others' secrets.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return r, fmt.Errorf("hiding from other processes of the same user: %w", err)
	}
	return append(r, Step{"new privileges", "none, whatever is run", true}), nil
}
