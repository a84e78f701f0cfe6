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
