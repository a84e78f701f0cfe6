package config

import "fmt"

// Sockets is what culprit sockets can be told. None of Listening and Established means both; none of TCP, UDP
// and Unix means TCP and UDP.
type Sockets struct {
	Listening, Established bool
	TCP, UDP, Unix         bool
	// Process is the name of a process, and PID the id of one, whose sockets are shown; empty and 0 for all.
	Process string
	PID     int
	// NetNS names the network namespace: a name, a path or pid:N; empty for that of the program.
	NetNS string
	// JSON prints a document instead of a table; Reveal turns redaction off in it.
	JSON, Reveal bool
}

// DefaultSockets returns the defaults.
func DefaultSockets() Sockets { return Sockets{} }

// Validate checks what can be checked without asking the kernel. Errors name the option. It says in the struct
// what none means.
func (s *Sockets) Validate() error {
	if s.PID < 0 {
		return fmt.Errorf("--pid %d: process ids are positive", s.PID)
	}
	if !s.Listening && !s.Established {
		s.Listening, s.Established = true, true
	}
	if !s.TCP && !s.UDP && !s.Unix {
		s.TCP, s.UDP = true, true
	}
	return nil
}
