package sockcalls

import "golang.org/x/sys/unix"

// archCalls are the calls that newer architectures don't have.
func archCalls() map[uint64]*call {
	return map[uint64]*call{
		unix.SYS_ACCEPT: {name: "accept", exited: (*Tracker).accept},
		unix.SYS_DUP2:   {name: "dup2", exited: (*Tracker).dup},
	}
}
