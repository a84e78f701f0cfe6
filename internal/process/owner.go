package process

import (
	"slices"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
)

// MaxWants is the most sockets that are asked about at once.
const MaxWants = 64

// Want asks who holds a socket.
type Want struct {
	// Inode is the socket's, UID its owner.
	Inode uint64
	UID   uint32
	// Listener is the inode of the socket that accepted it, 0 for none: its holders are looked at first.
	Listener uint64
	// Recheck: the holder is known, and only whether it is still the same is asked. No effort is made for a
	// socket that isn't found at once.
	Recheck bool
	// Listening: the socket listens, so that somebody holds it. A holder that can't be seen has the name of its owner
	// in any case.
	Listening bool
}

// Answer says who holds a socket.
type Answer struct {
	// Process is the holder. When several processes hold the socket, its PID is 0, and it has what is the same for all
	// of them. When the holder couldn't be seen, it has the name of the socket's owner alone; nil when nobody holds
	// it. It is shared, and never changes.
	Process *exchange.Process
	// Later: it wasn't looked for, so as not to spend too much time on looking. Ask again after some time.
	Later bool
}

// Owners finds the processes that hold sockets. Its methods may be called from any goroutine. They may take long, some
// hundred milliseconds with very many processes. It is the part of the look-up that needs privileges, so it may run in
// another process; see Serve and Remote.
type Owners interface {
	// Owners answers each want, MaxWants at most. An error means that none could be answered.
	Owners(wants []Want) ([]Answer, error)
	// Blind tells what couldn't be looked into.
	Blind() (Blind, error)
}

// OwnerCounters count what a Scanner does.
type OwnerCounters struct {
	// Wanted are the sockets asked for; Remembered those whose remembered holder still had them; Found those
	// found by searching; Nobody those that nobody holds, or nobody who could be seen; Later those that weren't
	// looked for, to save time.
	Wanted, Remembered, Found, Nobody, Later uint64
	// Scans counts how often all processes were looked at, ScanTime what it took altogether.
	Scans    uint64
	ScanTime time.Duration
	// Forgotten counts how often one of the limits was hit and something remembered went.
	Forgotten uint64
}

// Common returns what is the same for all of some processes, nil for none of them. With more than one, PID is 0.
func Common(all []*exchange.Process) *exchange.Process {
	if len(all) == 0 {
		return nil
	}
	same := *all[0]
	one := true
	for _, p := range all[1:] {
		if p.PID != same.PID || p.PID == 0 {
			one = false
		}
		for _, f := range [...]struct {
			to   *string
			from string
		}{
			{&same.Name, p.Name}, {&same.Executable, p.Executable}, {&same.User, p.User},
			{&same.ContainerID, p.ContainerID}, {&same.PodUID, p.PodUID}, {&same.Unit, p.Unit},
		} {
			if *f.to != f.from {
				*f.to = ""
			}
		}
		if !slices.Equal(same.Args, p.Args) {
			same.Args = nil
		}
		same.Listening = same.Listening && p.Listening
	}
	if one {
		return all[0]
	}
	same.PID = 0
	return &same
}
