package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/capture/afpacket"
	"github.com/culprit-http/culprit/internal/capture/pcapfilter"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/host"
	"github.com/culprit-http/culprit/internal/keeper"
	"github.com/culprit-http/culprit/internal/privilege"
	"github.com/culprit-http/culprit/internal/process"
)

// The services of the process that keeps the privileges. Those that open something take an index of it, in two
// bytes.
const (
	ringService      = "ring"       // of liveSpecs: the facts in JSON, and the sockets
	handshakeService = "handshakes" // of config.Live.Interfaces: a socket
	diagService      = "diag"       // nothing: sockets for process.NewDiag, and the file of process.NewAcceptQueues
	ownersService    = "owners"     // see process.Serve
	socketsService   = "sockets"    // see process.Lister; only if agreed
	usageService     = "usage"      // see host.Seen; only if agreed
)

// agreement is what the keeper may be asked for.
type agreement struct {
	Live          config.Live
	CaptureFilter string
}

// needs are the capabilities that a live capture has a use for, the first of which it can't do without.
func (a *agreement) needs() []privilege.Cap {
	needs := []privilege.Cap{privilege.CapNetRaw, privilege.CapSysPtrace, privilege.CapDACReadSearch}
	if len(privilege.Missing(privilege.CapDACReadSearch)) > 0 {
		needs = append(needs, privilege.CapDACOverride) // which containers have by default, and will do
	}
	if a.Live.NetNS != "" {
		needs = append(needs, privilege.CapSysAdmin)
	}
	return needs
}

// keep is the program of the process that keeps the privileges. It returns the exit status.
func keep(k *keeper.Keeper, stderr io.Writer) int {
	var a agreement
	if err := json.Unmarshal(k.Agreed, &a); err != nil {
		fmt.Fprintf(stderr, "culprit: keeping privileges: %v\n", err)
		return exitFailed
	}
	services, err := newPrivileged(&a).services(true)
	if err == nil {
		needs := a.needs()
		if len(privilege.Missing(privilege.CapSysPtrace)) > 0 {
			// Without it, a process may look into another of the same user that has no capabilities but its own.
			for c := range privilege.Cap(64) {
				needs = append(needs, c)
			}
		}
		_, err = privilege.Reduce(needs...)
	}
	if err == nil {
		err = k.Serve(services)
	}
	if err != nil {
		fmt.Fprintf(stderr, "culprit: keeping privileges: %v\n", err)
		return exitFailed
	}
	return 0
}

// privileged does what needs privileges, and nothing else.
type privileged struct {
	agreement
	specs []afpacket.Spec
	err   error
	netns func() (*os.File, error)

	mu     sync.Mutex
	opened map[int]time.Time         // by index of specs: when it was opened last
	groups map[string]afpacket.Facts // by interface: of a socket in its group
}

// openEvery is the least time between two openings of one ring: each takes memory of the kernel's.
const openEvery = 100 * time.Millisecond

func newPrivileged(a *agreement) *privileged {
	p := &privileged{agreement: *a, opened: map[int]time.Time{}, groups: map[string]afpacket.Facts{}}
	p.specs, p.err = liveSpecs(a)
	p.netns = sync.OnceValues(func() (*os.File, error) {
		if a.Live.NetNS == "" {
			return nil, nil
		}
		return process.OpenNetNS(a.Live.NetNS)
	})
	return p
}

// services are what is done for the worker. separate: it is another process, that which started this one.
func (p *privileged) services(separate bool) (keeper.Services, error) {
	if p.err != nil {
		return nil, p.err
	}
	scanner, err := process.NewScanner("/proc")
	if err == nil && separate {
		scanner.Ignore(os.Getppid())
	}
	began := time.Now()
	seen := host.NewSeen(host.ReadProcess("/proc"), func() time.Duration { return time.Since(began) })
	owners := func(req []byte) ([]byte, []*os.File, error) {
		if err != nil {
			return nil, nil, err
		}
		reply, err := process.Serve(noted{all: scanner, seen: seen}, req)
		return reply, nil, err
	}
	services := keeper.Services{ringService: p.ring, handshakeService: p.handshakes, diagService: p.diag, ownersService: owners}
	if p.Live.Usage {
		services[usageService] = func(req []byte) ([]byte, []*os.File, error) {
			reply, err := seen.Serve(req)
			return reply, nil, err
		}
	}
	if p.Live.Sockets {
		o := process.Options{}
		if separate {
			o.Ignore = os.Getppid() // which has no sockets, and can't be looked into
		}
		lister := &process.Lister{Take: func() (*process.Listing, error) { return p.sockets(o) }}
		services[socketsService] = func(req []byte) ([]byte, []*os.File, error) {
			reply, err := lister.Serve(req)
			return reply, nil, err
		}
	}
	return services, nil
}

// noted remembers the processes that it finds to hold sockets: of them alone it is told what they use.
type noted struct {
	all  process.Owners
	seen *host.Seen
}

// Owners implements process.Owners.
func (n noted) Owners(wants []process.Want) ([]process.Answer, error) {
	answers, err := n.all.Owners(wants)
	for _, a := range answers {
		if a.Process != nil {
			n.seen.See(a.Process.PID)
		}
	}
	return answers, err
}

// Blind implements process.Owners.
func (n noted) Blind() (process.Blind, error) { return n.all.Blind() }

// sockets lists the sockets of the network namespace of the capture.
func (p *privileged) sockets(o process.Options) (*process.Listing, error) {
	ns, err := p.netns()
	if err != nil {
		return nil, err
	}
	o.NetNS = ns
	l := &process.Listing{}
	if l.Sockets, l.Notes, err = process.Snapshot(o); err != nil {
		return nil, err
	}
	d, err := process.OpenDiag(ns)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	addresses, err := d.Addresses()
	l.Addresses = slices.Collect(maps.Keys(addresses))
	return l, err
}

// index reads a request that is an index below n.
func index(req []byte, n int) (int, error) {
	if len(req) != 2 || int(binary.LittleEndian.Uint16(req)) >= n {
		return 0, errors.New("nothing has that index")
	}
	return int(binary.LittleEndian.Uint16(req)), nil
}

// within calls f in the network namespace of the capture.
func (p *privileged) within(f func() error) error {
	ns, err := p.netns()
	switch {
	case err != nil:
		return err
	case ns == nil:
		return f()
	}
	return process.Enter(ns, f)
}

func (p *privileged) ring(req []byte) (reply []byte, files []*os.File, err error) {
	i, err := index(req, len(p.specs))
	if err != nil {
		return nil, nil, err
	}
	var s *afpacket.Socket
	if err := p.within(func() (err error) { s, err = p.open(i); return err }); err != nil {
		return nil, nil, err
	}
	files = []*os.File{s.Packets}
	if s.Routes != nil {
		files = append(files, s.Routes)
	}
	reply, err = json.Marshal(s.Facts)
	return reply, files, err
}

// open opens the ith ring. The first of an interface makes the group that the others join; when the interface is another
// one of the same name, that is a new group.
func (p *privileged) open(i int) (*afpacket.Socket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.opened[i]) < openEvery {
		return nil, errors.New("a ring was asked for too often")
	} else {
		p.opened[i] = now
	}
	spec := p.specs[i]
	known := p.groups[spec.Interface]
	if spec.Fanout != 0 && known.Group != 0 {
		spec.Fanout = known.Group
		if s, err := afpacket.Open(spec); err == nil {
			if s.Index == known.Index {
				return s, nil
			}
			s.Close()
		}
		spec.Fanout = afpacket.NewGroup
	}
	s, err := afpacket.Open(spec)
	if err == nil && spec.Fanout != 0 {
		p.groups[spec.Interface] = s.Facts
	}
	return s, err
}

func (p *privileged) handshakes(req []byte) (reply []byte, files []*os.File, err error) {
	i, err := index(req, len(p.Live.Interfaces))
	if err != nil {
		return nil, nil, err
	}
	const syn = "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn or ip6 and ip6[6] == 6 and ip6[53] & 0x12 == 2"
	var f *os.File
	open := func(expression string) error {
		filter, err := pcapfilter.Parse(expression)
		if err != nil {
			return err
		}
		return p.within(func() (err error) {
			f, err = afpacket.OpenHandshakes(afpacket.Spec{Interface: p.Live.Interfaces[i], Filter: filter})
			return err
		})
	}
	if p.CaptureFilter != "" {
		err = open("(" + p.CaptureFilter + ") and (" + syn + ")")
	}
	if f == nil {
		err = open(syn) // without the filter, which may be too long for the kernel
	}
	if err != nil {
		return nil, nil, err
	}
	return nil, []*os.File{f}, nil
}

func (p *privileged) diag([]byte) (reply []byte, files []*os.File, err error) {
	ns, err := p.netns()
	if err != nil {
		return nil, nil, err
	}
	if files, err = process.OpenSockets(ns); err != nil {
		return nil, nil, err
	}
	if counters, err := process.OpenNetstat(ns); err == nil { // without them accept queues aren't known
		files = append(files, counters)
	}
	return nil, files, nil
}

// liveSpecs says how each ring is to be opened: those of an interface one after the other.
func liveSpecs(a *agreement) ([]afpacket.Spec, error) {
	c := &a.Live
	var specs []afpacket.Spec
	for _, name := range c.Interfaces {
		s := afpacket.Spec{
			Interface: name, SnapLen: int(c.SnapLen), Ring: int(c.Ring), Block: int(c.Block), Retire: c.Retire,
			Promiscuous: c.Promiscuous, Hardware: c.HardwareTime,
		}
		if a.CaptureFilter != "" {
			var err error
			if s.Filter, err = pcapfilter.Parse(a.CaptureFilter); err != nil {
				return nil, err
			}
		}
		if c.Fanout > 1 {
			s.Fanout = afpacket.NewGroup
		}
		if err := s.Validate(); err != nil {
			return nil, err
		}
		specs = append(specs, slices.Repeat([]afpacket.Spec{s}, c.Fanout)...)
	}
	return specs, nil
}
