package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/culprit-http/culprit/internal/capture/afpacket"
	"github.com/culprit-http/culprit/internal/capture/pcapfilter"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/keeper"
	"github.com/culprit-http/culprit/internal/privilege"
	"github.com/culprit-http/culprit/internal/process"
)

// openLive opens the interfaces of a capture that ends when ctx is done, or after the time that was given. warn is
// told what the user should know, also later, while packets are read.
func openLive(ctx context.Context, c *config.Live, f captureFilter, warn func(format string, args ...any)) (_ *liveCapture, err error) {
	l := &liveCapture{}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if f.filter != nil && slices.Contains(c.Interfaces, afpacket.Any) {
		var refused *pcapfilter.LinkError
		if _, err := f.filter.Compile(afpacket.LinkCooked, pcapfilter.Options{Live: true}); errors.As(err, &refused) && !refused.TooLong {
			return nil, usage(fmt.Errorf("%w; on a named interface instead of any it may do", err))
		}
	}
	agreed := agreement{Live: *c, CaptureFilter: f.expression}
	if err := agreed.stay(warn); err != nil {
		return nil, err
	}
	c.NetNS = agreed.Live.NetNS
	conn, err := startKeeper(&agreed, warn)
	if err != nil {
		return nil, err
	}
	l.keeping, l.keeperEnded = conn, conn.Ended()
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	taps := make([][]afpacket.Tap, c.Fanout) // by source
	for i, name := range c.Interfaces {
		for nth := range taps {
			tap := afpacket.Tap{
				Name: name, Observer: host, SnapLen: int(c.SnapLen), Expression: f.expression, Filter: f.filter,
				Reopen: func(int) (*afpacket.Socket, error) {
					s, err := openRing(conn, i*c.Fanout+nth)
					if err == nil && nth > 0 && s.Routes != nil { // the first tells of the interface
						s.Routes.Close()
						s.Routes = nil
					}
					return s, err
				},
			}
			socket, err := tap.Reopen(0)
			if err != nil {
				closeSockets(taps)
				return nil, explain(name, err)
			}
			tap.Sockets = []*afpacket.Socket{socket}
			taps[nth] = append(taps[nth], tap)
			if nth > 0 {
				continue
			}
			if !socket.Filtered {
				warn("%s: the capture filter runs in culprit, and not in the kernel, which costs more: %s", name, socket.Unfiltered)
			}
			if socket.Down {
				warn("%s is down; capturing begins when it is up", name)
			}
		}
	}
	if !c.NoProcess {
		o, err := openOwners(conn, len(c.Interfaces), c.Owner())
		switch {
		case err != nil && c.Owner():
			return nil, fmt.Errorf("the processes at the ends of connections can't be found: %w", err)
		case err != nil:
			warn("the processes at the ends of connections can't be found: %v", err)
		default:
			l.owners = o
		}
	}
	if c.Duration > 0 {
		ctx, l.stop = context.WithTimeout(ctx, c.Duration)
	} else {
		ctx, l.stop = context.WithCancel(ctx)
	}
	packets := new(atomic.Uint64)
	for nth := range taps {
		options := afpacket.Options{Stop: ctx.Done(), Retire: c.Retire}
		if nth == 0 {
			options.Notify = func(text string) { warn("%s", text) }
		}
		if len(taps) > 1 {
			options.Packets = packets
		}
		s, err := afpacket.New(taps[nth], options)
		if err != nil {
			closeSockets(taps[nth+1:])
			return nil, err
		}
		l.sources = append(l.sources, s)
	}
	l.names = slices.Clone(l.sources[0].Taps())
	return l, nil
}

func closeSockets(taps [][]afpacket.Tap) {
	for _, of := range taps {
		for _, t := range of {
			for _, s := range t.Sockets {
				s.Close()
			}
		}
	}
}

// stay leaves the network namespace out if it is the one that the process is in: then nothing needs to be entered.
func (a *agreement) stay(warn func(format string, args ...any)) error {
	if a.Live.NetNS == "" {
		return nil
	}
	ns, err := process.OpenNetNS(a.Live.NetNS)
	switch {
	case err == nil:
		defer ns.Close()
		if process.OwnNetNS(ns) {
			a.Live.NetNS = ""
		}
		return nil
	case a.Live.PID != 0 && errors.Is(err, fs.ErrPermission):
		// Whoever asked for a process meant its connections, and in a pod these are here.
		warn("process %d is taken to be in this network namespace: %v", a.Live.PID, err)
		a.Live.NetNS = ""
		return nil
	}
	return err
}

// startKeeper returns what opens sockets: a process of its own where there are privileges to be kept.
func startKeeper(a *agreement, warn func(format string, args ...any)) (*keeper.Conn, error) {
	if len(privilege.Missing(privilege.CapNetRaw)) == 0 {
		agreed, err := json.Marshal(a)
		if err != nil {
			return nil, err
		}
		conn, err := keeper.Start(agreed)
		if err == nil {
			return conn, nil
		}
		warn("%v; an interface that vanishes can't be opened again", err)
	}
	services, err := newPrivileged(a).services(false)
	if err != nil {
		return nil, err
	}
	return keeper.Local(services), nil
}

// drop gives up what the process doesn't need any more, once all is open. It says what it did, one thing a line.
func (l *liveCapture) drop(c *config.Live, o privilege.Options) ([]string, error) {
	if conn, ok := l.keeping.(*keeper.Conn); ok && !conn.Separate() {
		o.Keep = (&agreement{Live: *c}).needs()
		o.Inspect = true
	}
	report, err := privilege.Drop(o)
	if err != nil {
		return nil, fmt.Errorf("giving up privileges: %w", err)
	}
	return strings.Split(report.String(), "\n"), nil
}

// explain says what is missing where an interface couldn't be opened.
func explain(name string, err error) error {
	var sent *keeper.Error
	if errors.Is(err, fs.ErrPermission) && (!errors.As(err, &sent) || sent.Errno != 0) {
		return errors.New(privilege.Explain("capturing on "+name, privilege.CapNetRaw))
	}
	return err
}

// openRing asks for the nth ring.
func openRing(conn *keeper.Conn, n int) (*afpacket.Socket, error) {
	reply, files, err := conn.Call(ringService, binary.LittleEndian.AppendUint16(nil, uint16(n)))
	if err != nil {
		return nil, err
	}
	s := &afpacket.Socket{}
	if len(files) == 0 {
		return nil, errors.New("no socket came for a ring")
	}
	s.Packets = files[0]
	if len(files) > 1 {
		s.Routes = files[1]
	}
	if err := json.Unmarshal(reply, &s.Facts); err != nil {
		s.Close()
		return nil, fmt.Errorf("what is known of a socket: %w", err)
	}
	return s, nil
}
