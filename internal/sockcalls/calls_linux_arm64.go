package sockcalls

import "golang.org/x/sys/unix"

// archCalls are the calls that only some architectures have.
func archCalls() map[uint64]*call {
	return map[uint64]*call{unix.SYS_ACCEPT: {name: "accept", exited: (*Tracker).accept}}
}
