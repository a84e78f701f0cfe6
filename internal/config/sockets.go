package config

import (
	"errors"
	"fmt"
	"time"
)

// Sockets is what culprit sockets can be told. None of Listening and Established means both; none of TCP, UDP
// and Unix means TCP and UDP, or with Watch TCP.
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

	// Watch shows the sockets with their live traffic, again and again. The rest is for that only. Interval is the time
	// between two tables, 0 for DefaultInterval; Duration ends the watching, 0: nothing does.
	Watch              bool
	Interval, Duration time.Duration
	// Interface is where to capture, empty for all; CaptureFilter in tcpdump's language says what, empty: all. Ring is
	// the size of the ring, 0 for the default.
	Interface, CaptureFilter string
	Ring                     Size
}

// DefaultInterval is the time between two tables of culprit sockets --watch, MinInterval and MaxInterval its bounds.
const (
	DefaultInterval = 2 * time.Second
	MinInterval     = 200 * time.Millisecond
	MaxInterval     = time.Hour
)

// DefaultSockets returns the defaults.
func DefaultSockets() Sockets { return Sockets{} }

// Validate checks what can be checked without asking the kernel. Errors name the option. It says in the struct
// what none means.
func (s *Sockets) Validate() error {
	if s.PID < 0 {
		return fmt.Errorf("--pid %d: process ids are positive", s.PID)
	}
	if !s.Watch {
		if s.Interval != 0 || s.Duration != 0 || s.Interface != "" || s.CaptureFilter != "" || s.Ring != 0 {
			return errors.New("-i, --interval, --duration, --ring and a capture filter need --watch")
		}
	} else if err := s.validateWatch(); err != nil {
		return err
	}
	if !s.Listening && !s.Established {
		s.Listening, s.Established = true, true
	}
	if !s.TCP && !s.UDP && !s.Unix {
		s.TCP, s.UDP = true, !s.Watch
	}
	return nil
}

func (s *Sockets) validateWatch() error {
	if s.Interval == 0 {
		s.Interval = DefaultInterval
	}
	if s.Interface == "" {
		s.Interface = "any"
	}
	live := s.Live()
	switch {
	case s.Interval < MinInterval || s.Interval > MaxInterval:
		return fmt.Errorf("--interval %v: from %v to %v", s.Interval, MinInterval, MaxInterval)
	case s.Reveal:
		return errors.New("--reveal: --watch shows no arguments of processes")
	}
	return live.validate(DefaultTrace().Memory)
}

// Live returns how to capture for --watch.
func (s *Sockets) Live() Live {
	l := defaultLive()
	// Sockets are joined with traffic by address, which needs no look-up for each connection.
	l.Interfaces, l.NetNS, l.Duration, l.NoProcess, l.Sockets = []string{s.Interface}, s.NetNS, s.Duration, true, true
	if s.Ring != 0 {
		l.Ring = s.Ring
	}
	return l
}
