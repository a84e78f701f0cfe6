package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Serve is what culprit serve can be told.
type Serve struct {
	Capture
	// Store is the folder of the store; empty: DefaultStore.
	Store string
	// Listen is where the API is served, ADDRESS:PORT; port 0: any that is free. Names are those by which others than
	// this host ask for it.
	Listen string
	Names  []string
	// TokenFile holds the token that every request needs; empty: a new one each time.
	TokenFile string
	// KeepPackets is the size of the ring of packets, 0: none are kept.
	KeepPackets Size
	// Retain is how old exchanges may get, RetainSize how many bytes they may take on the disk; 0: any.
	Retain     Age
	RetainSize Size
	// HostMetrics: the machine is measured each second.
	HostMetrics bool
	// ImportOnly: nothing is served, and the command ends when the files are read.
	ImportOnly bool
}

// DefaultListen is where the API is served, DefaultRetainSize how many bytes exchanges may take, unless told.
const (
	DefaultListen     = "127.0.0.1:9870"
	DefaultRetainSize = 20 << 30
)

// The bounds of what is kept. The bodies and heads of an exchange, some of whose parts have columns of their own, fit into one
// record of the log.
const (
	minKeepPackets = 1 << 20
	minRetainSize  = 1 << 20
	maxStoredBody  = 4 << 20
	maxStoredHead  = 512 << 10
)

// DefaultServe returns the defaults.
func DefaultServe() Serve {
	s := Serve{Capture: DefaultCapture(), Listen: DefaultListen, RetainSize: DefaultRetainSize}
	s.Flows = "unknown"
	return s
}

// Validate checks what can be checked without opening anything. Errors name the option.
func (s *Serve) Validate() error {
	switch {
	case s.ImportOnly && len(s.Inputs) == 0:
		return errors.New("--import-only needs files to import: name them with -r FILE, - for standard input")
	case s.ImportOnly && s.Follow:
		return errors.New("--import-only ends at the end of the files, and --follow waits there: leave one of them out")
	case s.ImportOnly && s.HostMetrics:
		return errors.New("--host-metrics measures this machine while traffic is captured, and --import-only reads what was captured before: leave one of them out")
	case s.CaptureFilter != "" && len(s.Inputs) == 0 && !s.Live.On():
		return errors.New("a capture filter needs packets: name an interface with -i, or a capture file with -r FILE")
	case s.KeepPackets != 0 && s.KeepPackets < minKeepPackets:
		return fmt.Errorf("--keep-packets %v: at least %v, or 0 for none", s.KeepPackets, Size(minKeepPackets))
	case s.MaxBody > maxStoredBody:
		return fmt.Errorf("--max-body %v is too much for a store: at most %v", s.MaxBody, Size(maxStoredBody))
	case s.MaxHead > maxStoredHead:
		return fmt.Errorf("--max-head %v is too much for a store: at most %v", s.MaxHead, Size(maxStoredHead))
	case s.RetainSize != 0 && s.RetainSize < minRetainSize:
		return fmt.Errorf("--retain-size %v: at least %v, or 0 for any size", s.RetainSize, Size(minRetainSize))
	}
	if err := checkListen(s.Listen); err != nil {
		return err
	}
	// Whom to become matters without a live capture, too: the command serves.
	c := s.Capture
	if !c.Live.On() {
		c.Live.User = ""
	}
	return c.validate()
}

func checkListen(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if _, e := netip.ParseAddr(host); err != nil || host != "" && host != "localhost" && e != nil {
		return fmt.Errorf("--listen %q: want ADDRESS:PORT, such as %s, [::1]:9870 or 0.0.0.0:9870", text, DefaultListen)
	}
	return nil
}

// Loopback reports whether only this host can reach what is served.
func (s *Serve) Loopback() bool {
	host, _, err := net.SplitHostPort(s.Listen)
	a, e := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || e == nil && a.IsLoopback())
}
