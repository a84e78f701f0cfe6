package main

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/process"
	"github.com/culprit-http/culprit/internal/proto"
)

const (
	// watchWindow is the time, in seconds, that rates and percentiles are of.
	watchWindow = 10
	// maxSeries bounds the ends whose traffic is followed at once, and maxTalks the remote ends that are known to be
	// talked to; maxWaiting bounds the requests that are counted as waiting.
	maxSeries  = 4096
	maxTalks   = 4096
	maxWaiting = 16384
	// waitingAfter is how long a request has been without an answer when it counts as waiting.
	waitingAfter = time.Second
)

// census is a listing of sockets, made ready for traffic to be joined to it. It never changes.
type census struct {
	// listeners are the listening TCP sockets by their address and port, callers who has the client's end of a connection,
	// and local the addresses of the host.
	listeners map[netip.AddrPort]*listener
	callers   map[connection]caller
	local     map[netip.Addr]bool
	// waits are all sockets that wait for others, as far as they are wanted, and talks who talks to whom.
	waits []*listener
	talks map[talk]*talker

	links []link
	notes process.Notes
	// unknown: there are wanted sockets whose process wasn't found.
	unknown bool
}

// connection is a TCP connection by its ends. IPv4 addresses in it, as in all that is joined, are IPv4.
type connection struct{ client, server netip.AddrPort }

// caller is who makes requests: processes of one name in one place. The zero value is somebody unknown.
type caller struct {
	name, container, unit string
	// user is known instead when the processes couldn't be looked into.
	user string
	// chosen: it is among the processes that the user chose.
	chosen bool
}

// talk is that a caller talks to a remote end.
type talk struct {
	caller
	remote netip.AddrPort
}

// listener is one or more sockets that wait at one address, and what is known of them.
type listener struct {
	socket      process.Socket // of several the first, with the queues and the holders of all
	connections int            // that are established
}

// talker is what is known of a talk.
type talker struct {
	holders     []process.Holder // the processes, by id
	user        string
	connections int
	last        int64 // when it was last seen in a census, in nanoseconds since 1970
}

// endOf is an end without the difference between IPv4 and IPv4 in IPv6.
func endOf(end netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(end.Addr().Unmap().WithZone(""), end.Port())
}

// newCensus takes stock of a listing.
func newCensus(l *process.Listing, c *config.Sockets) *census {
	n := &census{
		listeners: map[netip.AddrPort]*listener{}, callers: map[connection]caller{}, local: map[netip.Addr]bool{}, talks: map[talk]*talker{},
		notes: l.Notes,
	}
	for _, a := range l.Addresses {
		n.local[a.Unmap().WithZone("")] = true
	}
	wanted, unknown := selectSockets(l.Sockets, c)
	taken := map[*listener]bool{}
	n.unknown = unknown
	n.links = slices.DeleteFunc(offWire(l.Sockets), func(k link) bool { return !k.wanted(l.Sockets, c) })
	for i := range l.Sockets {
		if s := &l.Sockets[i]; s.Kind == process.TCP && s.State == process.Listen {
			n.wait(n.listeners, s, endOf(s.Local))
		}
	}
	for i := range wanted {
		s := &wanted[i]
		switch {
		case !waits(s):
		case s.Kind == process.TCP:
			if known := n.listeners[endOf(s.Local)]; !taken[known] {
				taken[known] = true
				n.waits = append(n.waits, known)
			}
		default:
			n.waits = append(n.waits, &listener{socket: *s})
		}
	}
	for i := range l.Sockets {
		if s := &l.Sockets[i]; s.Kind == process.TCP && talks(s) {
			n.connect(s, c)
		}
	}
	return n
}

// wait adds a listening TCP socket.
func (n *census) wait(all map[netip.AddrPort]*listener, s *process.Socket, end netip.AddrPort) {
	w := all[end]
	if w == nil {
		all[end] = &listener{socket: *s}
		return
	}
	// Several sockets share the address (SO_REUSEPORT), or are at several interfaces.
	w.socket.RecvQueue += s.RecvQueue
	w.socket.SendQueue += s.SendQueue
	w.socket.Holders = addHolders(slices.Clip(w.socket.Holders), s.Holders)
}

// addHolders adds those whose process isn't there yet. The result is ordered by process id.
func addHolders(all, more []process.Holder) []process.Holder {
	for _, h := range more {
		i, found := slices.BinarySearchFunc(all, h.PID, func(x process.Holder, pid int) int { return cmp.Compare(x.PID, pid) })
		if !found {
			all = slices.Insert(all, i, h)
		}
	}
	return all
}

// connect adds a TCP socket that has another end.
func (n *census) connect(s *process.Socket, c *config.Sockets) {
	local, remote := endOf(s.Local), endOf(s.Remote)
	if w := n.listener(local); w != nil {
		if s.State == process.Established {
			w.connections++
		}
		return
	}
	if s.Inode == 0 { // closed: it is nobody's any more
		return
	}
	who := caller{user: s.User, chosen: c.Process == "" && c.PID == 0}
	if len(s.Holders) > 0 {
		h := s.Holders[0]
		who = caller{name: h.Name, container: h.ContainerID, unit: h.Unit, chosen: who.chosen || slices.ContainsFunc(s.Holders, func(h process.Holder) bool { return ofProcess(h, c) })}
	}
	n.callers[connection{local, remote}] = who
	k := talk{who, remote}
	t := n.talks[k]
	if t == nil {
		t = &talker{user: s.User}
		n.talks[k] = t
	}
	t.holders = addHolders(t.holders, s.Holders)
	if s.State == process.Established {
		t.connections++
	}
}

// listener returns the listening socket that connections to an end of this host are accepted by, or nil. The kernel, too,
// takes the one that says more.
func (n *census) listener(end netip.AddrPort) *listener {
	if w := n.listeners[end]; w != nil {
		return w
	}
	if !n.isLocal(end.Addr()) {
		return nil
	}
	if end.Addr().Is4() {
		if w := n.listeners[netip.AddrPortFrom(netip.IPv4Unspecified(), end.Port())]; w != nil {
			return w
		}
	}
	return n.listeners[netip.AddrPortFrom(netip.IPv6Unspecified(), end.Port())]
}

// isLocal reports whether an address is one of this host's.
func (n *census) isLocal(a netip.Addr) bool { return a.IsLoopback() || n.local[a] }

// series is the traffic of one end.
type series struct {
	window  *measure.Window
	last    int64 // when anything last ended, in nanoseconds since 1970
	waiting int
}

// traffic joins exchanges to sockets by address, and tells the rates of the last seconds. It isn't safe for concurrent use.
type traffic struct {
	config *config.Sockets
	start  int64
	census *census

	serves map[netip.AddrPort]*series // by the address of the listening socket
	calls  map[talk]*series
	talks  map[talk]*talker // of this census and of those a moment ago
	// only is the one caller that talks to a remote end, as far as is known. Connections that open and close between two
	// listings are its.
	only map[netip.AddrPort]caller
	// elsewhere is what no socket here has: that of others, which is passed on or watched only.
	elsewhere *measure.Window
	waiting   map[clock.Mark]ends

	// exchanges counts all; unfollowed those that weren't followed because there are maxSeries ends, untold
	// the talks beyond maxTalks.
	exchanges, unfollowed, untold uint64
}

// newTraffic begins to watch at a time in nanoseconds since 1970.
func newTraffic(c *config.Sockets, first *census, start int64) *traffic {
	t := &traffic{
		config: c, start: start, serves: map[netip.AddrPort]*series{}, calls: map[talk]*series{}, talks: map[talk]*talker{},
		elsewhere: measure.NewWindow(watchWindow, start), waiting: map[clock.Mark]ends{},
	}
	t.adopt(first, start)
	return t
}

// adopt goes on with a newer census.
func (t *traffic) adopt(n *census, now int64) {
	t.census = n
	t.untold = 0
	for k := range t.talks {
		t.talks[k].connections = 0
	}
	for k, known := range n.talks {
		if t.talks[k] == nil && len(t.talks) >= maxTalks {
			t.untold++
			continue
		}
		seen := *known
		seen.last = now
		t.talks[k] = &seen
	}
	t.forget(now)

	t.only = make(map[netip.AddrPort]caller, len(t.talks))
	several := map[netip.AddrPort]bool{}
	for k := range t.talks {
		if _, known := t.only[k.remote]; known {
			several[k.remote] = true
		}
		t.only[k.remote] = k.caller
	}
	for end := range several {
		delete(t.only, end)
	}
	// What was unknown when it came may be known now.
	for k, s := range t.calls {
		who, one := t.only[k.remote]
		if k.caller == (caller{}) && one && t.calls[talk{who, k.remote}] == nil {
			delete(t.calls, k)
			t.calls[talk{who, k.remote}] = s
		}
	}
}

// forget lets go of what hasn't been seen for as long as the window.
func (t *traffic) forget(now int64) {
	old := now - watchWindow*int64(time.Second)
	gone := func(s *series) bool { return s.last < old && s.waiting == 0 }
	maps.DeleteFunc(t.serves, func(_ netip.AddrPort, s *series) bool { return gone(s) })
	maps.DeleteFunc(t.calls, func(_ talk, s *series) bool { return gone(s) })
	maps.DeleteFunc(t.talks, func(k talk, v *talker) bool {
		return v.last < old && t.census.talks[k] == nil && t.calls[k] == nil
	})
}

// connection is that of an exchange; ok is false when it can't be one of a socket here.
func (t *traffic) connection(x *exchange.Exchange) (c connection, ok bool) {
	f := x.Flow
	// On the interface any, what is in a VLAN comes twice: the other time without its tag.
	if f.Proto != packet.ProtoTCP || f.Net != 0 && t.config.Interface == "any" {
		return c, false
	}
	end := func(d proto.Direction) netip.AddrPort { return netip.AddrPortFrom(f.Addr[d].Netip(), f.Port[d]) }
	return connection{end(x.Client), end(x.Server())}, true
}

// ends are what an exchange is traffic of: the socket that serves it, and the caller; nil where it isn't here.
type ends [2]*series

// join finds the ends of an exchange. here is false when neither is here; unfollowed: there is no room for one of them.
func (t *traffic) join(x *exchange.Exchange) (found ends, here, unfollowed bool) {
	c, ok := t.connection(x)
	if !ok {
		return found, false, false
	}
	if w := t.census.listener(c.server); w != nil {
		here = true
		end := endOf(w.socket.Local)
		if found[0] = t.serves[end]; found[0] == nil {
			if found[0] = t.follow(); found[0] != nil {
				t.serves[end] = found[0]
			}
		}
		unfollowed = found[0] == nil
	}
	if t.census.isLocal(c.client.Addr()) {
		here = true
		who, known := t.census.callers[c]
		if !known {
			who = t.only[c.server]
		}
		k := talk{who, c.server}
		if found[1] = t.calls[k]; found[1] == nil {
			if found[1] = t.follow(); found[1] != nil {
				t.calls[k] = found[1]
			}
		}
		unfollowed = unfollowed || found[1] == nil
	}
	return found, here, unfollowed
}

// follow returns a new series, or nil when there is no room for it.
func (t *traffic) follow() *series {
	if len(t.serves)+len(t.calls) >= maxSeries {
		return nil
	}
	return &series{window: measure.NewWindow(watchWindow, t.start)}
}

// add counts an exchange that is over.
func (t *traffic) add(x *exchange.Exchange) {
	if waited, ok := t.waiting[x.Start]; ok {
		delete(t.waiting, x.Start)
		for _, s := range waited {
			if s != nil {
				s.waiting--
			}
		}
	}
	if x.Conn.Why == proto.CaptureEnded && x.Grade != exchange.Complete { // it goes on without us
		return
	}
	t.exchanges++
	found, here, unfollowed := t.join(x)
	if unfollowed {
		t.unfollowed++
	}
	at, duration, failed := x.Completed.Time, speed(x), broken(x)
	if !here {
		t.elsewhere.Add(at, duration, failed)
	}
	for _, s := range found {
		if s != nil {
			s.window.Add(at, duration, failed)
			s.last = max(s.last, at)
		}
	}
}

// wait counts a request that waits. It does so until it is over.
func (t *traffic) wait(x *exchange.Exchange) {
	if _, known := t.waiting[x.Start]; known || len(t.waiting) >= maxWaiting {
		return
	}
	found, here, _ := t.join(x)
	if !here {
		return
	}
	t.waiting[x.Start] = found
	for _, s := range found {
		if s != nil {
			s.waiting++
			s.last = max(s.last, x.Completed.Time)
		}
	}
}

// speed is what an exchange says of how fast the server is: its duration in nanoseconds, or -1 for nothing.
func speed(x *exchange.Exchange) int64 {
	switch {
	case x.Stream || !x.HasRequest || x.Grade == exchange.OneSided || x.Grade == exchange.Gap && !x.HasResponse:
		return -1
	}
	return x.Timing.Duration
}

// broken reports whether an exchange counts as an error: the server says so, or there was no whole answer.
func broken(x *exchange.Exchange) bool {
	if _, fault := output.GRPCError(x); fault {
		return true
	}
	return x.HasResponse && x.Response.Status >= 500 || x.Grade == exchange.Aborted || x.Grade == exchange.Unanswered
}

// row is a line of the table: a socket that waits for others, or a remote end that is talked to, with its traffic.
type row struct {
	kind process.Kind
	// end is the address here of a socket that waits, or path its name, and of a remote end the address there.
	end  netip.AddrPort
	path string
	// queue is known of listening sockets: the connections that wait to be accepted, and the most that may.
	queue       *[2]uint32
	connections int
	rates       measure.Rates
	waiting     int
	user        string
	holders     []process.Holder
}

// rows are what is to be shown, each part with the most requests first: the sockets that wait, and the ends that are
// talked to.
func (t *traffic) rows(now int64) (serves, calls []row) {
	with := func(r row, s *series) row {
		r.rates = measure.Rates{P50: -1, P99: -1}
		if s != nil {
			r.rates, r.waiting = s.window.Rates(now), s.waiting
		}
		return r
	}
	for _, w := range t.census.waits {
		s := &w.socket
		r := row{kind: s.Kind, end: s.Local, path: s.Path, connections: w.connections, user: s.User, holders: s.Holders}
		var of *series
		if s.Kind == process.TCP {
			of = t.serves[endOf(s.Local)]
		}
		if s.State == process.Listen {
			r.queue = &[2]uint32{s.RecvQueue, s.SendQueue}
		}
		serves = append(serves, with(r, of))
	}
	if t.config.Established && t.config.TCP {
		add := func(k talk, v *talker) {
			if k.chosen || k.caller == (caller{}) && t.config.Process == "" && t.config.PID == 0 {
				r := row{kind: process.TCP, end: k.remote, connections: v.connections, user: v.user, holders: v.holders}
				calls = append(calls, with(r, t.calls[k]))
			}
		}
		for k, v := range t.talks {
			add(k, v)
		}
		for k := range t.calls {
			if t.talks[k] == nil {
				add(k, &talker{})
			}
		}
	}
	for _, rows := range [][]row{serves, calls} {
		slices.SortStableFunc(rows, func(a, b row) int {
			return cmp.Or(
				-cmp.Compare(a.rates.Requests, b.rates.Requests), -cmp.Compare(a.waiting, b.waiting), cmp.Compare(a.kind, b.kind),
				cmp.Compare(a.end.Port(), b.end.Port()), a.end.Addr().Compare(b.end.Addr()), cmp.Compare(a.path, b.path),
				cmp.Compare(firstName(a.holders), firstName(b.holders)), cmp.Compare(a.user, b.user),
			)
		})
	}
	return serves, calls
}

func firstName(holders []process.Holder) string {
	if len(holders) == 0 {
		return "\xff" // unknown ones last
	}
	return holders[0].Name
}

// span is how many seconds the rates are of.
func (t *traffic) span(now int64) int {
	seconds := math.Round(float64(now-t.start) / float64(time.Second))
	return int(min(max(seconds, 1), watchWindow))
}
