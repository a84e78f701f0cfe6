package process

import (
	"container/heap"
	"container/list"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

const (
	// DefaultMaxFlows is how many connections a Resolver remembers; at the limit the oldest goes, and is looked up
	// again if it is asked for. One takes about 700 bytes.
	DefaultMaxFlows = 16384
	// DefaultPatience is how long Lookup may wait for one connection.
	DefaultPatience = 3 * time.Millisecond

	// maxOpened is how many connections may wait for being looked at, maxSeeking how many ends may wait for the search of
	// their process. What comes when a queue is full is looked up when it is asked for.
	maxOpened  = 4096
	maxSeeking = 1024
	// maxEarly bounds the connections that are known from Early alone, and earlyFor how long they are.
	maxEarly = 4096
	earlyFor = 5 * time.Second
	// maxWaiting bounds the server ends that are looked at again from time to time until they are accepted.
	maxWaiting = 4096
	// maxTries is how often that is done: after 1, 2, 4, ... milliseconds, for half a second in all. After that it is done
	// when the connection is asked for.
	maxTries = 9
	// maxServices bounds the addresses and ports whose listeners are remembered. At the limit one goes, preferably one that
	// nobody listens on. listenersFor is after how long they are asked for again, when they are needed, laterFor when
	// their holders weren't looked for, and staleFor how long they are believed meanwhile.
	maxServices  = 1024
	listenersFor = time.Second
	laterFor     = 100 * time.Millisecond
	staleFor     = 10 * time.Second
	// maxSharers bounds the listening sockets of one address that are asked for their holders.
	maxSharers = 16
	// maxIntern bounds the processes that are kept so that equal ones are one.
	maxIntern = 1024

	// DefaultRate is how many connections a second are looked up: with some 40 µs for each, here and where the
	// processes are searched, that is a twentieth of a core.
	DefaultRate = 1000
	// waitShare is one over the share of the time that Lookup may spend waiting, and maxWait what it may save up of it.
	// advance is how much longer it may wait, and before it has saved it up, for the first answer about listeners.
	waitShare = 20
	maxWait   = 20 * time.Millisecond
	advance   = 20 * time.Millisecond
	// recheckFor is after how long it is asked again who holds a socket.
	recheckFor = time.Second
	// addressesFor is after how long the addresses of the host are read again, missedFor when a connection had none
	// of them.
	addressesFor = 5 * time.Second
	missedFor    = time.Second
)

// Sockets looks up sockets in one network namespace, as Diag does.
type Sockets interface {
	Find(protocol uint8, local, remote netip.AddrPort, iface uint32) (Found, error)
	Listeners(protocol uint8, port uint16) ([]Listener, error)
	Addresses() (map[netip.Addr]uint32, error)
}

// ResolverOptions say what a Resolver works with.
type ResolverOptions struct {
	Sockets Sockets
	Owners  Owners
	// MaxFlows is how many connections are remembered, DefaultMaxFlows when 0.
	MaxFlows int
	// Patience is how long Lookup may wait for one connection, DefaultPatience when 0, not at all when negative.
	Patience time.Duration
	// Rate is how many connections a second are looked up, DefaultRate when 0. Of others, only the server is known, by its
	// listener, until their turn comes: watching mustn't cost more than it gains.
	Rate float64
}

// Resolver finds the processes at the ends of connections, while they open.
//
//	Opened, Early ──► queue ──► the kernel is asked ──► queue ──► Owners ──► known
//	                             ▲         │ not accepted yet                  │
//	                             └─ timer ─┘                                   ▼
//	                                                                        Lookup
//	                                                                           ▲ else, of a server
//	  address and port ──► queue ──► the kernel ──► Owners ──► its listener ───┘
//	                         ▲                                      │ a second later
//	                         └──────────────────────────────────────┘
//
// The steps have a goroutine each: a socket must be looked up before it closes, and that must not wait for a
// search through all processes; nor must the listeners, which name many connections, wait for the search for one.
//
// The end that opened the connection has its socket before the first packet leaves: when there is none, it was closed,
// and it isn't known whose it was. At the other end the socket belongs to nobody until the program accepts it, which
// may be after the first request has come: it is asked for again, at last when the exchange is delivered. As long as
// nothing better is known of it, it is one of those who hold the listening socket.
type Resolver struct {
	o      ResolverOptions
	opened chan *proto.Flow
	early  chan tuple
	seek   chan job
	renew  chan *service
	stop   chan struct{}
	wg     sync.WaitGroup
	// overflow counts what Opened had no room for: it takes no lock.
	overflow atomic.Uint64
	locals   atomic.Pointer[localAddresses]

	mu       sync.Mutex
	flows    map[*proto.Flow]*entry
	order    list.List // of *entry, the oldest first
	ahead    map[tuple]*entry
	aheadAge list.List // of tuple
	waiting  retries
	services map[serviceKey]*service
	same     map[internKey]*exchange.Process
	credit   time.Duration // that Lookup may wait
	credited time.Time
	tokens   float64 // look-ups that may be made for connections that open
	refilled time.Time
	counters ResolverCounters
	err      error
	wake     chan struct{} // a retry is due earlier than the loop knows
}

// ResolverCounters count what a Resolver does. Ends are ends of connections at this host.
type ResolverCounters struct {
	// Opened are the connections told of. Overflow are those for which the queue was full: they are looked up if they
	// are asked for. Limited are those beyond the rate: they are looked up if they are asked for
	// when the rate allows, and their servers are named by their listeners.
	Opened, Overflow, Limited uint64
	// Lookups counts questions to the kernel for a socket, Retries those for one that wasn't accepted yet.
	Lookups, Retries uint64
	// Known are ends whose process was found by their own socket; Closed ends whose socket was gone before it could be
	// looked up; Unknown ends whose socket was there, but not its process; Later ends whose process wasn't
	// looked for, to save time. Fallback are ends that Lookup named by their listener, for want of anything better at
	// that time.
	Known, Fallback, Closed, Unknown, Later uint64
	// Waits counts how often Lookup waited, Hasty how often it returned before an end was known.
	Waits, Hasty uint64
	// Forgotten are connections that went for the limit, WaitingLimit ends that weren't looked at again for it.
	Forgotten, WaitingLimit uint64
	// Errors counts failed questions, to the kernel or to Owners; see Err.
	Errors uint64
}

// tuple identifies a connection as long as it is open: the originator's end comes first.
type tuple struct {
	addr  [2]packet.Addr
	port  [2]uint16
	proto uint8
}

func (t *tuple) end(d proto.Direction) netip.AddrPort {
	return netip.AddrPortFrom(t.addr[d].Netip(), t.port[d])
}

// entry is a connection.
type entry struct {
	tuple
	flow      *proto.Flow // nil while it is known from Early alone
	midstream bool
	// begun: it was looked at, within the rate.
	begun bool
	at    time.Time
	place *list.Element
	ends  [2]end
}

// progress is how far the look-up of an end has come.
//
//	unasked ──► foreign                                   not an address of this host
//	   │ ├────► closed                                    no socket, and none to come
//	   │ ├────► waiting ──► closed, unaccepted, seeking   not accepted yet
//	   │ ├────► unaccepted ──► unasked                    nor when it was shown; asked again some time later
//	   ▼ ▼
//	seeking ──► known, unknown
type progress uint8

const (
	unasked progress = iota
	foreign
	waiting
	unaccepted
	seeking
	known
	unknown
	closed
)

// end is one end of a connection.
type end struct {
	progress  progress
	listening bool // the server's
	fallback  bool // was named by its listener
	tries     uint8
	rechecked bool // asked again after it was first known
	inode     uint64
	uid       uint32
	listener  uint64
	process   *exchange.Process // by its own socket
	asked     time.Time         // when Owners answered last, or it was last seen that nobody had accepted it
	done      chan struct{}     // closed when seeking is over; nil if nobody waits
}

// job is an end whose process is wanted.
type job struct {
	e       *entry
	d       proto.Direction
	recheck bool
}

// service is an address and port of this host, with who listens there. It is renewed in the background when it is needed and
// listenersFor have passed.
type service struct {
	serviceKey
	next   time.Time // when it is to be renewed
	queued bool
	// listeners are the sockets that accept the connections, as of listed.
	listeners []Listener
	listed    time.Time
	// process is what is common to their holders, nil if there are none, as of named.
	process *exchange.Process
	named   time.Time
	done    chan struct{} // closed when it was renewed; nil if nobody waits
}

type serviceKey struct {
	addr  packet.Addr
	port  uint16
	proto uint8
}

type internKey struct {
	pid       int
	listening bool
}

type localAddresses struct {
	at  time.Time
	all map[netip.Addr]uint32
}

// NewResolver starts a Resolver. The caller closes it, and what it works with after that.
func NewResolver(o ResolverOptions) *Resolver {
	if o.MaxFlows <= 0 {
		o.MaxFlows = DefaultMaxFlows
	}
	if o.Patience == 0 {
		o.Patience = DefaultPatience
	}
	if o.Rate == 0 {
		o.Rate = DefaultRate
	}
	now := time.Now()
	r := &Resolver{
		o: o, opened: make(chan *proto.Flow, maxOpened), early: make(chan tuple, maxOpened), seek: make(chan job, maxSeeking),
		renew: make(chan *service, maxServices), stop: make(chan struct{}), wake: make(chan struct{}, 1), flows: map[*proto.Flow]*entry{}, ahead: map[tuple]*entry{},
		services: map[serviceKey]*service{}, same: map[internKey]*exchange.Process{},
		credit: maxWait, credited: now, tokens: o.Rate, refilled: now,
	}
	r.wg.Add(3)
	go r.ask()
	go r.search()
	go r.name()
	return r
}

// Close ends the goroutines and waits for them.
func (r *Resolver) Close() {
	close(r.stop)
	r.wg.Wait()
}

// Opened tells of a connection when its first packet is looked at. It may be called from several goroutines; it never
// blocks, and doesn't allocate.
func (r *Resolver) Opened(f *proto.Flow) {
	if f.Proto != packet.ProtoTCP && f.Proto != packet.ProtoUDP {
		return
	}
	select {
	case r.opened <- f:
	default:
		r.overflow.Add(1)
	}
}

// Early tells of a connection by its SYN, which may be seen before the packets are delivered. Otherwise it is as
// Opened.
func (r *Resolver) Early(protocol uint8, src, dst netip.AddrPort) {
	t := tuple{port: [2]uint16{src.Port(), dst.Port()}, proto: protocol}
	t.addr[proto.Originator], t.addr[proto.Responder] = src.Addr().As16(), dst.Addr().As16()
	select {
	case r.early <- t:
	default: // Opened comes after it
	}
}

// Counters returns the counters.
func (r *Resolver) Counters() ResolverCounters {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counters
	c.Overflow = r.overflow.Load()
	c.Opened += c.Overflow
	return c
}

// Err returns the latest error of the kernel or of Owners, nil if all went well.
func (r *Resolver) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Lookup returns the processes at the ends of a connection, indexed by proto.Direction, nil where the process isn't
// known or the end isn't at this host. It is called when an exchange of the connection is delivered.
//
// What isn't known yet is looked up now. Lookup waits for the search of a process for up to Patience, and for a
// twentieth of the time in all, so that under load it doesn't hold up what is shown. A server's end of which nothing
// better is known has what is common to the holders of the sockets that listen there: Listening is set, PID is 0 if
// there are several, and with none to be seen there is no more than the User. That costs no question but the first one for
// an address and port.
func (r *Resolver) Lookup(f *proto.Flow) [2]*exchange.Process {
	if f.Proto != packet.ProtoTCP && f.Proto != packet.ProtoUDP {
		return [2]*exchange.Process{}
	}
	r.mu.Lock()
	e := r.flows[f]
	if e == nil {
		e = r.enter(f)
	}
	e.begun = e.begun || r.allowed()
	begun := e.begun
	r.mu.Unlock()
	if begun {
		var pending [2]chan struct{}
		for d := range e.ends {
			pending[d] = r.prepare(e, proto.Direction(d))
		}
		if r.wait(pending, 0) {
			r.hasty(e)
		}
	}
	found, first := r.found(e)
	if r.wait(first, advance) {
		found, _ = r.found(e)
	}
	return found
}

// hasty counts the ends whose process is still sought when nobody waits for it any more.
func (r *Resolver) hasty(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range e.ends {
		if e.ends[d].progress == seeking && e.ends[d].process == nil {
			r.counters.Hasty++
		}
	}
}

// found returns what is known of the ends. Where that is up to listeners that were never asked for, or long ago, a
// channel is returned that is closed when that is done.
func (r *Resolver) found(e *entry) (found [2]*exchange.Process, first [2]chan struct{}) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var serves [2]*exchange.Process
	for d := range e.ends {
		p := e.ends[d].process
		found[d] = p
		// The originator may be the server only where the beginning wasn't seen.
		if proto.Direction(d) == proto.Originator && !e.midstream || e.ends[d].progress == foreign {
			continue
		}
		if isNamed(p) {
			if p.Listening {
				serves[d] = p
			}
			continue
		}
		switch s := r.service(e, proto.Direction(d), now); {
		case s == nil:
		case now.Sub(s.named) < staleFor:
			serves[d] = s.process
		case s.queued:
			if s.done == nil {
				s.done = make(chan struct{})
			}
			first[d] = s.done
		}
	}
	for d, p := range serves {
		switch other := 1 - d; {
		case p == nil || p == found[d] || found[d] != nil && !isNamed(p):
		case serves[other] != nil || first[other] != nil: // either may be the client
		default:
			found[d] = p
			if x := &e.ends[d]; !x.fallback {
				x.fallback = true
				r.counters.Fallback++
			}
		}
	}
	return found, first
}

// isNamed reports whether more than the user is known of a process.
func isNamed(p *exchange.Process) bool {
	return p != nil && (p.PID != 0 || p.Name != "" || p.Executable != "")
}

// prepare brings an end as far as it comes at once. If it then waits for Owners, a channel is returned that is
// closed when they have answered.
func (r *Resolver) prepare(e *entry, d proto.Direction) chan struct{} {
	r.mu.Lock()
	x := &e.ends[d]
	if x.progress == unaccepted && time.Since(x.asked) >= recheckFor {
		x.progress = unasked
	}
	p := x.progress
	r.mu.Unlock()
	switch p {
	case unasked, waiting:
		r.probe(e, d, true)
	case known:
		r.recheck(e, d)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if x.progress != seeking {
		return nil
	}
	if x.done == nil {
		x.done = make(chan struct{})
	}
	return x.done
}

// recheck asks whether a process still holds its socket: a server may have accepted it and given it to a child. The
// first time the answer is waited for, which comes fast since the process is known.
func (r *Resolver) recheck(e *entry, d proto.Direction) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	x := &e.ends[d]
	first := x.listening && !x.rechecked
	if x.progress != known || !first && now.Sub(x.asked) < recheckFor {
		return
	}
	x.asked = now
	if r.send(job{e: e, d: d, recheck: true}) && first {
		x.rechecked = true
		x.progress = seeking
	}
}

// wait waits until the channels are closed, as long as Lookup may, and reports whether there was anything to wait for.
// more is what it may wait beyond that, to be saved up later.
func (r *Resolver) wait(pending [2]chan struct{}, more time.Duration) bool {
	if pending[0] == nil && pending[1] == nil {
		return false
	}
	now := time.Now()
	r.mu.Lock()
	r.credit = min(r.credit+now.Sub(r.credited)/waitShare, maxWait)
	r.credited = now
	patience := min(r.o.Patience, r.credit) + more
	r.mu.Unlock()
	if r.o.Patience < 0 || patience <= 0 {
		return true
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for _, c := range pending {
		if c == nil {
			continue
		}
		select {
		case <-c:
		case <-timer.C:
			timer.Reset(0)
		case <-r.stop:
		}
	}
	spent := time.Since(now)
	r.mu.Lock()
	r.credit -= spent
	r.counters.Waits++
	r.mu.Unlock()
	return true
}

// enter makes an entry for a connection, or takes that of its SYN. The caller holds mu.
func (r *Resolver) enter(f *proto.Flow) *entry {
	t := tuple{addr: f.Addr, port: f.Port, proto: f.Proto}
	now := time.Now()
	e := r.ahead[t]
	if e != nil {
		delete(r.ahead, t)
		r.aheadAge.Remove(e.place)
	}
	if e == nil || now.Sub(e.at) > earlyFor {
		e = &entry{tuple: t, at: now, midstream: f.Midstream}
	}
	e.flow = f
	if len(r.flows) >= r.o.MaxFlows {
		oldest := r.order.Remove(r.order.Front()).(*entry)
		delete(r.flows, oldest.flow)
		r.counters.Forgotten++
	}
	r.flows[f] = e
	e.place = r.order.PushBack(e)
	return e
}

// ask is the goroutine that asks the kernel about connections that open, and about those that wait to be accepted.
func (r *Resolver) ask() {
	defer r.wg.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-r.stop:
			return
		case f := <-r.opened:
			r.begin(f)
		case t := <-r.early:
			r.beginEarly(t)
		case <-timer.C:
		case <-r.wake:
		}
		timer.Reset(r.retry())
	}
}

func (r *Resolver) begin(f *proto.Flow) {
	r.mu.Lock()
	r.counters.Opened++
	e := r.flows[f]
	if e == nil {
		e = r.enter(f)
	}
	allowed := e.begun || r.allowed()
	e.begun = allowed
	if !allowed {
		r.counters.Limited++
	}
	r.mu.Unlock()
	if allowed {
		r.open(e)
	}
}

func (r *Resolver) beginEarly(t tuple) {
	now := time.Now()
	r.mu.Lock()
	if e := r.ahead[t]; e != nil && now.Sub(e.at) < earlyFor || !r.allowed() { // a SYN that is sent again
		r.mu.Unlock()
		return
	} else if e != nil {
		r.aheadAge.Remove(e.place)
	} else if len(r.ahead) >= maxEarly {
		delete(r.ahead, r.aheadAge.Remove(r.aheadAge.Front()).(tuple))
	}
	e := &entry{tuple: t, at: now, begun: true}
	e.place = r.aheadAge.PushBack(t)
	r.ahead[t] = e
	r.mu.Unlock()
	r.open(e)
}

// open looks at both ends of a connection.
func (r *Resolver) open(e *entry) {
	for d := range e.ends {
		r.mu.Lock()
		p := e.ends[d].progress
		r.mu.Unlock()
		if p == unasked {
			r.probe(e, proto.Direction(d), false)
		}
	}
}

// allowed reports whether the kernel may be asked about one more connection. The caller holds mu.
func (r *Resolver) allowed() bool {
	now := time.Now()
	r.tokens = min(r.tokens+now.Sub(r.refilled).Seconds()*r.o.Rate, r.o.Rate)
	r.refilled = now
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}

// probe asks the kernel about the socket of an end. last says that the connection is being shown: what isn't there
// now isn't waited for.
func (r *Resolver) probe(e *entry, d proto.Direction, last bool) {
	local, remote := e.end(d), e.end(d.Other())
	iface, here := r.local(local.Addr())
	if !here {
		r.set(e, d, foreign)
		return
	}
	s, err := r.o.Sockets.Find(e.proto, local, remote, iface)
	if err != nil {
		r.failed(err)
		return
	}
	var listeners []Listener
	server := d == proto.Responder && !e.midstream
	if server || e.midstream {
		listeners = r.listeners(e, d)
		server = server || len(listeners) > 0
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	r.counters.Lookups++
	x := &e.ends[d]
	if x.progress != unasked && x.progress != waiting { // looked at by another goroutine meanwhile
		return
	}
	x.listening = server
	switch own := s.State != 0 && s.State != Listen; {
	case own && s.Inode != 0:
		x.inode, x.uid, x.progress = s.Inode, s.UID, seeking
		if len(listeners) > 0 {
			x.listener = listeners[0].Inode
		}
		if !r.send(job{e: e, d: d}) {
			x.progress = unasked
		}
	case server && !last && (!own || !isOver(s.State)):
		x.progress = waiting
		r.again(e, d)
	case server && own && !isOver(s.State):
		x.progress, x.asked = unaccepted, time.Now()
	default:
		x.progress = closed
		r.counters.Closed++
	}
}

// isOver reports whether a socket without inode in this state has been closed, rather than not been accepted yet.
func isOver(s State) bool {
	switch s {
	case SynReceived, newSynReceived, Established, CloseWait:
		return false
	}
	return true
}

// send queues a job for Owners, and reports whether there was room. The caller holds mu.
func (r *Resolver) send(j job) bool {
	select {
	case r.seek <- j:
		return true
	default:
		r.counters.Later++
		return false
	}
}

// set sets the progress of an end that has nothing more to come.
func (r *Resolver) set(e *entry, d proto.Direction, p progress) {
	r.mu.Lock()
	e.ends[d].progress = p
	r.mu.Unlock()
}

func (r *Resolver) failed(err error) {
	r.mu.Lock()
	r.err = err
	r.counters.Errors++
	r.mu.Unlock()
}

// local reports whether an address is this host's, and the index of an interface that has it.
func (r *Resolver) local(a netip.Addr) (iface uint32, ok bool) {
	now := time.Now()
	known := r.locals.Load()
	if known != nil && now.Sub(known.at) < addressesFor {
		if iface, ok = known.find(a); ok || now.Sub(known.at) < missedFor {
			return iface, ok
		}
	}
	all, err := r.o.Sockets.Addresses()
	if err != nil {
		r.failed(err)
		return known.find(a)
	}
	known = &localAddresses{now, all}
	r.locals.Store(known)
	return known.find(a)
}

// find looks an address up in what was read last, nil if that failed.
func (l *localAddresses) find(a netip.Addr) (iface uint32, ok bool) {
	if l == nil {
		return 0, false
	}
	if iface, ok := l.all[a]; ok {
		return iface, true
	}
	// All of 127.0.0.0/8 is this host, and the loopback interface is the first.
	return 1, a.Is4() && a.IsLoopback()
}

// service returns who listens at an end of a connection, nil if the end isn't at this host. It asks nobody, but has it
// renewed if it is time. The caller holds mu.
func (r *Resolver) service(e *entry, d proto.Direction, now time.Time) *service {
	key := serviceKey{e.addr[d], e.port[d], e.proto}
	s := r.services[key]
	if s == nil {
		if _, here := r.locals.Load().find(key.addr.Netip()); !here {
			return nil
		}
		if len(r.services) >= maxServices {
			r.dropService()
		}
		s = &service{serviceKey: key}
		r.services[key] = s
	}
	if !s.queued && !now.Before(s.next) {
		select {
		case r.renew <- s:
			s.queued = true
		default:
		}
	}
	return s
}

// dropService makes room for one more. The caller holds mu.
func (r *Resolver) dropService() {
	const look = 16 // that many must do: it is done for each connection to a port of its own
	n := 0
	var drop serviceKey
	for key, s := range r.services { // in any order
		drop = key
		if n++; len(s.listeners) == 0 || n == look {
			break
		}
	}
	delete(r.services, drop)
}

// listeners returns the sockets that accept connections to an end, and asks the kernel if that isn't known.
func (r *Resolver) listeners(e *entry, d proto.Direction) []Listener {
	now := time.Now()
	r.mu.Lock()
	s := r.service(e, d, now)
	if s == nil || now.Sub(s.listed) < staleFor {
		defer r.mu.Unlock()
		if s == nil {
			return nil
		}
		return s.listeners
	}
	r.mu.Unlock()
	listeners, _ := r.list(s)
	return listeners
}

// list asks the kernel who listens.
func (r *Resolver) list(s *service) ([]Listener, error) {
	now := time.Now()
	var best []Listener
	addr := s.addr.Netip()
	if iface, here := r.local(addr); here {
		all, err := r.o.Sockets.Listeners(s.proto, s.port)
		if err != nil {
			r.failed(err)
			return nil, err
		}
		best = accepting(all, addr, iface)
	}
	r.mu.Lock()
	s.listeners, s.listed = best, now
	r.mu.Unlock()
	return best, nil
}

// name is the goroutine that renews who listens.
func (r *Resolver) name() {
	defer r.wg.Done()
	for {
		select {
		case <-r.stop:
			return
		case s := <-r.renew:
			r.rename(s)
		}
	}
}

// rename asks the kernel who listens, and Owners for the holders.
func (r *Resolver) rename(s *service) {
	now := time.Now()
	p, later, err := r.holders(s)
	r.mu.Lock()
	defer r.mu.Unlock()
	s.queued, s.next = false, now.Add(listenersFor)
	if later {
		s.next = now.Add(laterFor)
	}
	fresh := now.Sub(s.named) < staleFor
	switch {
	case err != nil, later && fresh && isNamed(s.process):
	case s.process != nil && p != nil && equal(s.process, p):
		s.named = now // what is the same stays the same object
	default:
		s.process, s.named = p, now
	}
	if s.done != nil {
		close(s.done)
		s.done = nil
	}
}

// holders returns what is common to the holders of the sockets that listen, nil if there are no such sockets. later:
// not all were looked for.
func (r *Resolver) holders(s *service) (p *exchange.Process, later bool, err error) {
	listeners, err := r.list(s)
	if err != nil {
		return nil, false, err
	}
	var wants []Want
	for _, l := range listeners {
		if l.Inode != 0 && len(wants) < maxSharers {
			wants = append(wants, Want{Inode: l.Inode, UID: l.UID, Listening: true})
		}
	}
	if len(wants) == 0 {
		return nil, false, nil
	}
	answers, err := r.owners(wants)
	if err != nil {
		return nil, false, err
	}
	all := make([]*exchange.Process, 0, len(answers))
	for _, a := range answers {
		later = later || a.Later
		if a.Process == nil {
			a.Process = &exchange.Process{} // somebody holds it, who may be anybody
		}
		all = append(all, a.Process)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.intern(Common(all), true), later, nil
}

// owners asks Owners. Each want has its answer.
func (r *Resolver) owners(wants []Want) ([]Answer, error) {
	answers, err := r.o.Owners.Owners(wants)
	if err == nil && len(answers) != len(wants) {
		err = errMessage
	}
	if err != nil {
		r.failed(err)
		return nil, err
	}
	return answers, nil
}

// accepting chooses the listening sockets that take connections to an address, as the kernel prefers them.
func accepting(all []Listener, local netip.Addr, iface uint32) (best []Listener) {
	const here, nearer, exact = 1, 1, 4
	top := 0
	for _, l := range all {
		a := l.Local.Addr()
		score := here
		switch {
		case a.Unmap() == local:
			score += exact
		case !a.IsUnspecified() || a.Is4() && !local.Is4() || a.Is6() && local.Is4() && l.V6Only:
			continue
		}
		if a.Is4() == local.Is4() {
			score += nearer
		}
		if l.Interface != 0 {
			if l.Interface != iface {
				continue
			}
			score += nearer
		}
		if score > top {
			best, top = best[:0:0], score
		}
		if score == top {
			best = append(best, l)
		}
	}
	return best
}

// search is the goroutine that asks Owners for the holders of sockets.
func (r *Resolver) search() {
	defer r.wg.Done()
	var jobs []job
	var wants []Want
	for {
		jobs, wants = jobs[:0], wants[:0]
		select {
		case <-r.stop:
			return
		case j := <-r.seek:
			jobs = append(jobs, j)
		}
	more:
		for len(jobs) < MaxWants {
			select {
			case j := <-r.seek:
				jobs = append(jobs, j)
			default:
				break more
			}
		}
		for i := range jobs {
			wants = append(wants, r.want(&jobs[i]))
		}
		answers, err := r.owners(wants)
		if err != nil {
			answers = make([]Answer, len(wants))
		}
		for i := range jobs {
			r.answered(&jobs[i], answers[i])
		}
	}
}

func (r *Resolver) want(j *job) Want {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := &j.e.ends[j.d]
	return Want{Inode: x.inode, UID: x.uid, Listener: x.listener, Recheck: j.recheck}
}

// answered takes the answer to a job.
func (r *Resolver) answered(j *job, a Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := &j.e.ends[j.d]
	x.asked = time.Now()
	switch {
	case a.Process != nil:
		if x.process == nil {
			r.counters.Known++
		}
		if now := r.intern(a.Process, x.listening); x.process == nil || now.PID != 0 || now.Name != "" {
			x.process = now // a holder that is seen no more is no reason to forget it
		}
		x.progress = known
	case x.process != nil: // closed meanwhile
		x.progress = known
	case a.Later && x.tries < maxTries:
		// Asked again by the timer, and if it is asked for before.
		x.progress = unasked
		r.again(j.e, j.d)
	case a.Later:
		x.progress = unknown
		r.counters.Later++
	default:
		x.progress = unknown
		r.counters.Unknown++
	}
	if x.done != nil {
		close(x.done)
		x.done = nil
	}
}

// intern returns a process that is equal to p and marked as the listening side or not: the same one for all
// connections. The caller holds mu.
func (r *Resolver) intern(p *exchange.Process, listening bool) *exchange.Process {
	if p.Listening != listening {
		with := *p
		with.Listening = listening
		p = &with
	}
	if p.PID == 0 {
		return p
	}
	key := internKey{p.PID, listening}
	if old := r.same[key]; old != nil && equal(old, p) {
		return old
	}
	if len(r.same) >= maxIntern {
		clear(r.same)
	}
	r.same[key] = p
	return p
}

func equal(a, b *exchange.Process) bool {
	return a.PID == b.PID && a.Name == b.Name && a.Executable == b.Executable && a.User == b.User && a.ContainerID == b.ContainerID &&
		a.PodUID == b.PodUID && a.Unit == b.Unit && a.Listening == b.Listening && slices.Equal(a.Args, b.Args)
}

// retries are ends that are to be looked at again, the next one first (a heap).
type retries []attempt

type attempt struct {
	at time.Time
	e  *entry
	d  proto.Direction
}

func (q retries) Len() int           { return len(q) }
func (q retries) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q retries) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *retries) Push(x any) { *q = append(*q, x.(attempt)) }

// Pop implements heap.Interface.
func (q *retries) Pop() any {
	x := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = attempt{}
	*q = (*q)[:len(*q)-1]
	return x
}

// again has an end looked at again after some time. The caller holds mu.
func (r *Resolver) again(e *entry, d proto.Direction) {
	x := &e.ends[d]
	switch {
	case x.tries >= maxTries:
		return
	case len(r.waiting) >= maxWaiting:
		r.counters.WaitingLimit++
		return
	}
	a := attempt{time.Now().Add(time.Millisecond << x.tries), e, d}
	x.tries++
	heap.Push(&r.waiting, a)
	if r.waiting[0] == a {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// retry looks at the ends whose time has come, and returns how long it is until the next.
func (r *Resolver) retry() time.Duration {
	for {
		r.mu.Lock()
		if len(r.waiting) == 0 {
			r.mu.Unlock()
			return time.Hour
		}
		if left := time.Until(r.waiting[0].at); left > 0 {
			r.mu.Unlock()
			return left
		}
		if len(r.opened) > 0 { // those that open may close soon
			r.mu.Unlock()
			return 0
		}
		a := heap.Pop(&r.waiting).(attempt)
		x := &a.e.ends[a.d]
		wanted := (x.progress == waiting || x.progress == unasked) && r.allowed()
		if wanted {
			r.counters.Retries++
		}
		r.mu.Unlock()
		if wanted {
			r.probe(a.e, a.d, false)
		}
	}
}
