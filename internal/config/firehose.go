package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Firehose is how connections are recorded as firehose streams.
type Firehose struct {
	// Parties are the servers whose recording it is to be: addresses, ports or both.
	Parties []string
	// Side is one of FirehoseSides, Mode of FirehoseModes, Direction of FirehoseDirections.
	Side, Mode, Direction string
	// NonBlock: who reads isn't waited for, and at most Queue bytes are kept for them.
	NonBlock bool
	Queue    Size
	// Manifest: there are digests of what is recorded.
	Manifest bool
	// Connections is the file with the list of connections; NoConnections for none, and empty for one beside the recording.
	Connections string
}

// NoConnections is what Connections says for no list.
const NoConnections = "none"

// FirehoseSides are which connections of a party are recorded: those from its clients, or those to its backends. The first is the default,
// as with what follows.
func FirehoseSides() []string { return []string{"client", "proxy"} }

// FirehoseModes are what has a UUID.
func FirehoseModes() []string { return []string{"connection", "request"} }

// FirehoseDirections are what is recorded of a connection: what the party reads and writes, or one of them.
func FirehoseDirections() []string { return []string{"both", "in", "out"} }

// The bounds of a queue.
const (
	minFirehoseQueue     = 64 << 10
	maxFirehoseQueue     = 1 << 30
	DefaultFirehoseQueue = 8 << 20
)

// DefaultFirehose returns the defaults.
func DefaultFirehose() Firehose {
	return Firehose{Side: FirehoseSides()[0], Mode: FirehoseModes()[0], Direction: FirehoseDirections()[0], Queue: DefaultFirehoseQueue}
}

// Validate checks what can be checked without opening anything. Errors name the setting.
func (f *Firehose) Validate() error {
	for _, c := range []struct {
		name, value string
		all         []string
	}{{"side", f.Side, FirehoseSides()}, {"mode", f.Mode, FirehoseModes()}, {"direction", f.Direction, FirehoseDirections()}} {
		if !slices.Contains(c.all, c.value) {
			return fmt.Errorf("%s %q: want one of %s", c.name, c.value, strings.Join(c.all, ", "))
		}
	}
	if f.Queue < minFirehoseQueue || f.Queue > maxFirehoseQueue {
		return fmt.Errorf("queue %v: want from %v to %v", f.Queue, Size(minFirehoseQueue), Size(maxFirehoseQueue))
	}
	if f.Side == "proxy" && f.Mode == "request" {
		return errors.New("mode request: a proxy's connections to its backends are recorded by connection, as mod_firehose does")
	}
	_, err := f.Ends()
	return err
}

// Ends returns the parties. An address that isn't valid stands for any, and so does port 0.
func (f *Firehose) Ends() ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for _, text := range f.Parties {
		end, err := parseParty(text)
		if err != nil {
			return nil, err
		}
		if f.Side == "proxy" && !end.Addr().IsValid() {
			return nil, fmt.Errorf("party %s: a proxy connects to its backends from any port; name its address, and the port that it listens at so that the connections to it are left out", text)
		}
		all = append(all, end)
	}
	return all, nil
}

// parseParty reads IP:PORT, IP, PORT, and :PORT.
func parseParty(text string) (netip.AddrPort, error) {
	if end, err := netip.ParseAddrPort(text); err == nil && end.Port() != 0 && end.Addr().Zone() == "" {
		return netip.AddrPortFrom(end.Addr().Unmap(), end.Port()), nil
	}
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil && addr.Zone() == "" {
		return netip.AddrPortFrom(addr.Unmap(), 0), nil
	}
	if port, err := strconv.ParseUint(strings.TrimPrefix(text, ":"), 10, 16); err == nil && port > 0 {
		return netip.AddrPortFrom(netip.Addr{}, uint16(port)), nil
	}
	return netip.AddrPort{}, fmt.Errorf("party %q: want an address, a port, or both, as in 10.0.0.2:80 or [2001:db8::2]:80", text)
}
