package main

import (
	"path/filepath"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// finder finds the processes at the ends of connections.
type finder interface {
	Opened(f *proto.Flow)
	Lookup(f *proto.Flow) [2]*exchange.Process
	// Blind says what couldn't be looked into, "" if nothing.
	Blind() string
	// Missed counts the local ends of connections whose processes couldn't be found.
	Missed() uint64
	Close() error
}

// recentOwners are the processes at the ends of busy connections, as they were a moment ago: to ask for them again with
// each exchange would cost as much as a tenth of its analysis.
type recentOwners map[*proto.Flow]recentOwner

type recentOwner struct {
	processes [2]*exchange.Process
	until     int64 // capture time
}

const (
	// recentFor is how long an answer holds, in nanoseconds of capture time, and maxRecent for how many connections.
	recentFor = 100e6
	maxRecent = 4096
	// settledFrom is from which exchange of a connection on: at the first ones, a server may still hand it on.
	settledFrom = 3
)

// lookup returns the processes at the ends of an exchange's connection.
func (r *recentOwners) lookup(owners finder, x *exchange.Exchange) [2]*exchange.Process {
	known := (*r)[x.Flow]
	if x.Completed.Time < known.until {
		return known.processes
	}
	found := owners.Lookup(x.Flow)
	if x.Index < settledFrom {
		return found
	}
	if *r == nil || len(*r) >= maxRecent {
		*r = recentOwners{}
	}
	(*r)[x.Flow] = recentOwner{found, x.Completed.Time + recentFor}
	return found
}

// ownedBy reports whether an exchange is one of the processes that the user chose. unknown: it isn't, but the process of an end
// that could be isn't known. A server that is only known to listen is enough for Listening.
func ownedBy(x *exchange.Exchange, c *config.Live) (chosen, unknown bool) {
	for d, p := range x.Process {
		switch {
		case c.Listening && (proto.Direction(d) != x.Server() || p != nil && !p.Listening):
		case p == nil:
			unknown = true
		case c.Process != "" && p.Name != c.Process && filepath.Base(p.Executable) != c.Process:
			unknown = unknown || p.Name == ""
		case c.PID != 0 && p.PID != c.PID:
			unknown = unknown || p.PID == 0
		default:
			return true, false
		}
	}
	return false, unknown
}
