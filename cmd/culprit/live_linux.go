package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/culprit-http/culprit/internal/capture/afpacket"
	"github.com/culprit-http/culprit/internal/keeper"
	"github.com/culprit-http/culprit/internal/privilege"
)

// openLive opens the interfaces. The capture ends when ctx is done, or after the time that was given.
func (t *tracing) openLive(ctx context.Context) error {
	c := &t.config.Live
	conn, err := t.keeper(&agreement{Live: *c, CaptureFilter: t.config.CaptureFilter})
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	taps := make([]afpacket.Tap, len(c.Interfaces))
	for i, name := range c.Interfaces {
		tap := &taps[i]
		*tap = afpacket.Tap{Name: name, Observer: host, SnapLen: int(c.SnapLen), Expression: t.config.CaptureFilter, Filter: t.filter}
		tap.Reopen = func(nth int) (*afpacket.Socket, error) { return openRing(conn, i*c.Fanout+nth) }
		for nth := range c.Fanout {
			socket, err := tap.Reopen(nth)
			if err != nil {
				for _, t := range taps {
					for _, s := range t.Sockets {
						s.Close()
					}
				}
				conn.Close()
				return explain(name, err)
			}
			tap.Sockets = append(tap.Sockets, socket)
		}
		switch socket := tap.Sockets[0]; {
		case !socket.Filtered:
			t.warn("%s: the capture filter runs in culprit, and not in the kernel, which costs more: %s", name, socket.Unfiltered)
		case socket.Down:
			t.warn("%s is down; capturing begins when it is up", name)
		}
	}
	stop := context.CancelFunc(func() {})
	if c.Duration > 0 {
		ctx, stop = context.WithTimeout(ctx, c.Duration)
	}
	context.AfterFunc(ctx, stop)
	t.keeping = conn
	if !c.NoProcess {
		o, err := openOwners(conn, len(taps))
		if err != nil {
			t.warn("the processes at the ends of connections can't be found: %v", err)
		} else {
			t.owners = o
		}
	}
	t.source, err = afpacket.New(taps, afpacket.Options{
		Stop:   ctx.Done(),
		Retire: c.Retire,
		Notify: func(text string) { t.warn("%s", text) },
	})
	return err
}

// keeper returns what opens sockets: a process of its own where there are privileges to be kept.
func (t *tracing) keeper(a *agreement) (*keeper.Conn, error) {
	if len(privilege.Missing(privilege.CapNetRaw)) == 0 {
		agreed, err := json.Marshal(a)
		if err != nil {
			return nil, err
		}
		conn, err := keeper.Start(agreed)
		if err == nil {
			return conn, nil
		}
		t.warn("%v; an interface that vanishes can't be opened again", err)
	}
	services, err := newPrivileged(a).services()
	if err != nil {
		return nil, err
	}
	return keeper.Local(services), nil
}

// drop gives up what the process doesn't need any more, once all is open.
func (t *tracing) drop() error {
	if !t.config.Live.On() {
		return nil
	}
	o := privilege.Options{User: t.config.Live.User}
	if conn, ok := t.keeping.(*keeper.Conn); ok && !conn.Separate() {
		o.Keep = (&agreement{Live: t.config.Live}).needs()
		o.ReadPaths = []string{"/proc"}
	}
	report, err := privilege.Drop(o)
	if err != nil {
		return fmt.Errorf("giving up privileges: %w", err)
	}
	for _, step := range report {
		t.tell("privileges: %s: %s", step.Name, step.Text)
	}
	return nil
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
