package main

import (
	"context"
	"os"

	"golang.org/x/net/bpf"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/capture/afpacket"
	"github.com/culprit-http/culprit/internal/capture/pcapfilter"
	"github.com/culprit-http/culprit/internal/config"
)

// openLive opens the interfaces. The capture ends when ctx is done, or after the time that was given.
func (t *tracing) openLive(ctx context.Context) error {
	c := &t.config.Live
	specs, err := liveSpecs(c, t.filter)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	t.filtered = true
	var taps []afpacket.Tap
	for i, name := range c.Interfaces {
		tap := afpacket.Tap{Name: name, Observer: host, Filter: t.config.CaptureFilter, SnapLen: int(c.SnapLen)}
		own := specs[i*c.Fanout : (i+1)*c.Fanout]
		for _, s := range own {
			socket, err := afpacket.Open(s)
			if err != nil {
				for _, t := range append(taps, tap) {
					for _, socket := range t.Sockets {
						socket.Close()
					}
				}
				return err
			}
			tap.Sockets = append(tap.Sockets, socket)
		}
		tap.Reopen = func(nth int) (*afpacket.Socket, error) { return afpacket.Open(own[nth]) }
		switch socket := tap.Sockets[0]; {
		case !socket.Filtered:
			t.filtered = false
			t.warn("%s: the capture filter runs in culprit, and not in the kernel, which costs more: %s", name, socket.Unfiltered)
		case socket.Down:
			t.warn("%s is down; capturing begins when it is up", name)
		}
		taps = append(taps, tap)
	}
	cancel := func() {}
	if c.Duration > 0 {
		ctx, cancel = context.WithTimeout(ctx, c.Duration)
	}
	t.source, err = afpacket.New(taps, afpacket.Options{
		Stop:   ctx.Done(),
		Retire: c.Retire,
		Notify: func(text string) { t.warn("%s", text) },
	})
	if err != nil {
		cancel()
		return err
	}
	context.AfterFunc(ctx, cancel)
	return nil
}

// liveSpecs says how each ring of each interface is to be opened.
func liveSpecs(c *config.Live, filter *pcapfilter.Filter) ([]afpacket.Spec, error) {
	var specs []afpacket.Spec
	for i, name := range c.Interfaces {
		s := afpacket.Spec{
			Interface: name, SnapLen: int(c.SnapLen), Ring: int(c.Ring), Block: int(c.Block), Retire: c.Retire,
			Promiscuous: c.Promiscuous, Hardware: c.HardwareTime,
		}
		if filter != nil {
			s.Program = func(link capture.LinkType) ([]bpf.RawInstruction, error) {
				program, err := filter.Compile(link, pcapfilter.Options{SnapLen: uint32(c.SnapLen)})
				if err != nil {
					return nil, err
				}
				return bpf.Assemble(program)
			}
		}
		if c.Fanout > 1 {
			// Groups are told apart within a network namespace.
			s.Fanout = uint16(os.Getpid()<<4 + i + 1)
		}
		for range c.Fanout {
			specs = append(specs, s)
		}
	}
	return specs, nil
}
