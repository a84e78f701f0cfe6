package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Live is what a live capture can be told.
type Live struct {
	// Interfaces are their names; any stands for all.
	Interfaces []string
	// NetNS is the network namespace of the interfaces: a name, a path, or pid:N; empty: that of the process.
	NetNS string
	// Promiscuous asks the interfaces for packets to others, too; HardwareTime for the times of the card.
	Promiscuous, HardwareTime bool
	// SnapLen is the most that is captured of a packet, 0 for all.
	SnapLen Size
	// Ring is the size of each ring, Block that of its blocks, Retire the longest that a packet waits in one.
	Ring, Block Size
	Retire      time.Duration
	// Fanout is the number of rings for each interface.
	Fanout int
	// Duration ends the capture; 0: it doesn't.
	Duration time.Duration
	// NoProcess doesn't look for the processes at the ends of connections.
	NoProcess bool
	// Process, PID and Listening choose exchanges by the processes at their ends: those of processes of that name,
	// of that process, and those that listening sockets of this host accepted.
	Process   string
	PID       int
	Listening bool
	// User is whom to become once all is open; empty: root becomes nobody.
	User string
	// IncludeOwn shows culprit's own connections, too.
	IncludeOwn bool
	// Sockets: the sockets of the network namespace are listed, too, again and again.
	Sockets bool
	// Usage: it is asked, again and again, what the processes at the ends of connections use.
	Usage bool
}

func defaultLive() Live {
	return Live{Ring: 16 << 20, Block: 256 << 10, Retire: 10 * time.Millisecond, Fanout: 1}
}

const (
	minBlock  = 128 << 10
	maxRing   = 1 << 30
	pageSize  = 4 << 10
	maxFanout = 64
	// minShare is the least memory that one of several rings must be left with.
	minShare = 32 << 20
)

// On reports whether there is a live capture.
func (l *Live) On() bool { return len(l.Interfaces) > 0 }

// Owner reports whether exchanges are chosen by the processes at their ends.
func (l *Live) Owner() bool { return l.Process != "" || l.PID != 0 || l.Listening }

// Complete fills in what follows from the rest: whoever chooses a process needn't know its interface, nor its
// network namespace. files: files are read.
func (l *Live) Complete(files bool) {
	if l.Owner() && !l.On() && !files {
		l.Interfaces = []string{"any"}
	}
	if l.PID > 0 && l.NetNS == "" {
		l.NetNS = fmt.Sprintf("pid:%d", l.PID)
	}
}

// Memory is what the rings of all interfaces take.
func (l *Live) Memory() Size { return l.Ring * Size(l.Fanout*len(l.Interfaces)) }

// share is the memory that remains for what comes from each of an interface's rings.
func (l *Live) share(memory Size) Size { return (memory - l.Memory()) / Size(max(l.Fanout, 1)) }

// validate checks what can be checked without opening anything.
func (l *Live) validate(memory Size) error {
	if !l.On() {
		for _, o := range [...]struct {
			given bool
			name  string
		}{
			{l.NetNS != "" && l.PID == 0, "netns"}, {l.Promiscuous, "promisc"}, {l.HardwareTime, "hardware-time"}, {l.SnapLen != 0, "snaplen"},
			{l.Duration != 0, "duration"}, {l.IncludeOwn, "include-own"}, {l.NoProcess, "no-process"}, {l.User != "", "user"},
			{l.Process != "", "process"}, {l.PID != 0, "pid"}, {l.Listening, "listening"},
		} {
			if o.given {
				return fmt.Errorf("--%s is for live captures: it needs -i IFACE", o.name)
			}
		}
		return nil
	}
	named := slices.Clone(l.Interfaces)
	slices.Sort(named)
	switch {
	case slices.ContainsFunc(named, func(name string) bool { return strings.ContainsAny(name, ":/ ") || name == "" }):
		return fmt.Errorf("-i %q: the name of an interface has no colon, slash or space; capture on the interface itself", l.Interfaces)
	case len(slices.Compact(named)) < len(l.Interfaces):
		return errors.New("an interface is named twice with -i")
	case len(named) > 1 && slices.Contains(named, "any"):
		return errors.New("-i any stands for all interfaces: name no other")
	case l.Promiscuous && slices.Contains(named, "any"):
		return errors.New("--promisc: any can't be promiscuous; name the interfaces")
	case l.Block < minBlock || l.Block%pageSize != 0:
		return fmt.Errorf("--block %v: at least %v, in multiples of %v", l.Block, Size(minBlock), Size(pageSize))
	case l.Ring < 2*l.Block || l.Ring > maxRing || l.Ring%l.Block != 0:
		return fmt.Errorf("--ring %v: at least 2 blocks of %v, in multiples of that, at most %v", l.Ring, l.Block, Size(maxRing))
	case l.Retire < time.Millisecond || l.Retire > time.Second:
		return fmt.Errorf("--retire %v: from 1ms to 1s", l.Retire)
	case l.Fanout < 1 || l.Fanout > maxFanout:
		return fmt.Errorf("--fanout %d: from 1 to %d", l.Fanout, maxFanout)
	case l.Memory() > memory/2 || l.share(memory) < minShare:
		return fmt.Errorf("the rings take %v of --memory %v, and leave %v for each of %d: at least %v and half of the memory must remain; smaller rings, fewer, or more memory",
			l.Memory(), memory, l.share(memory), l.Fanout, Size(minShare))
	case l.SnapLen < 0 || l.SnapLen > 0 && l.SnapLen < 64:
		return fmt.Errorf("--snaplen %v: at least 64, or 0 for whole packets", l.SnapLen)
	case l.PID < 0:
		return fmt.Errorf("--pid %d: process ids are positive", l.PID)
	case l.Owner() && l.NoProcess:
		return errors.New("--process, --pid and --listening need what --no-process turns off")
	case l.Duration < 0:
		return fmt.Errorf("--duration %v is negative", l.Duration)
	}
	return nil
}
