package main

import (
	"encoding/binary"
	"net/netip"
	"os"
	"time"

	"github.com/culprit-http/culprit/internal/capture/afpacket"
	"github.com/culprit-http/culprit/internal/keeper"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/process"
)

// When exchanges are chosen by their processes, more connections are looked up a second, and waited for longer.
const (
	choosingRate     = 20_000
	choosingPatience = 20 * time.Millisecond
	// blindPatience is how long the end of a run waits to be told what couldn't be seen.
	blindPatience = time.Second
)

// owners finds the processes at the ends of the connections of a live capture. It implements finder.
type owners struct {
	*process.Resolver
	remote *process.Remote
	diag   *process.Diag
	stop   chan struct{}
	// queues are the accept queues of the listeners, nil where the kernel doesn't tell.
	queues *process.AcceptQueues
}

// openOwners opens what finding the owners of connections needs, with one socket for the connection attempts on each
// of n interfaces. If exchanges are chosen by their owners, no trouble is spared.
func openOwners(conn *keeper.Conn, n int, choosing bool) (*owners, error) {
	_, files, err := conn.Call(diagService, nil)
	if err != nil {
		return nil, err
	}
	var counters *os.File
	if n := len(files) - 1; n == 2 {
		counters, files = files[n], files[:n]
	}
	diag, err := process.NewDiag(files)
	if err != nil {
		return nil, err
	}
	o := &owners{diag: diag, stop: make(chan struct{}), remote: process.NewRemote(func(request []byte) ([]byte, error) {
		reply, files, err := conn.Call(ownersService, request)
		for _, f := range files {
			f.Close()
		}
		return reply, err
	})}
	options := process.ResolverOptions{Sockets: diag, Owners: o.remote}
	if choosing {
		options.Rate, options.Patience = choosingRate, choosingPatience
	}
	o.Resolver = process.NewResolver(options)
	if _, err := o.remote.Blind(); err != nil { // looks at all processes, so that the first connection finds them known
		o.Close()
		return nil, err
	}
	if counters != nil {
		o.queues = process.NewAcceptQueues(diag, counters)
		go o.sample(counters)
	}
	for i := range n {
		_, files, err := conn.Call(handshakeService, binary.LittleEndian.AppendUint16(nil, uint16(i)))
		if err != nil || len(files) != 1 {
			continue // the ring tells of connections, too, only later
		}
		go func() {
			defer files[0].Close()
			afpacket.ReadHandshakes(files[0], o.stop, func(from, to netip.AddrPort) { o.Early(packet.ProtoTCP, from, to) })
		}()
	}
	return o, nil
}

// queuesEvery is how often accept queues are looked at.
const queuesEvery = 500 * time.Millisecond

// sample looks at the accept queues until the end. It stops when the kernel no longer tells.
func (o *owners) sample(counters *os.File) {
	defer counters.Close()
	tick := time.NewTicker(queuesEvery)
	defer tick.Stop()
	for {
		if err := o.queues.Sample(time.Now().UnixNano()); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-o.stop:
			return
		}
	}
}

// Overflowed implements blame.Host.
func (o *owners) Overflowed(listener netip.AddrPort, at int64) bool {
	return o.queues != nil && o.queues.Overflowed(listener, at)
}

// Blind implements finder.
func (o *owners) Blind() string {
	type answer struct {
		blind process.Blind
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		blind, err := o.remote.Blind()
		answers <- answer{blind, err}
	}()
	var blind process.Blind
	select {
	case a := <-answers:
		if a.err != nil {
			return a.err.Error()
		}
		blind = a.blind
	case <-time.After(blindPatience):
		return "the process that looks for them doesn't answer"
	}
	if len(blind.Missing) == 0 {
		return "" // nothing can be done about it
	}
	return blind.String()
}

// Missed implements finder.
func (o *owners) Missed() uint64 {
	c := o.Counters()
	return c.Closed + c.Unknown + c.Limited
}

// Close ends the search.
func (o *owners) Close() error {
	close(o.stop)
	o.Resolver.Close()
	return o.diag.Close()
}
