package process

import (
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// world is a host made up: its sockets and their holders.
type world struct {
	mu        sync.Mutex
	sockets   map[[2]string]Found // by local and remote end
	listening []Listener
	addresses map[netip.Addr]uint32
	holders   map[uint64]*exchange.Process
	later     int // answers that come later
	err       error
	finds     int
	wants     []Want
	lists     int
	hold      chan struct{} // if not nil, answers wait for it
}

func newWorld() *world {
	return &world{
		sockets: map[[2]string]Found{}, holders: map[uint64]*exchange.Process{},
		addresses: map[netip.Addr]uint32{netip.MustParseAddr("10.0.0.1"): 2},
	}
}

func (w *world) Find(_ uint8, local, remote netip.AddrPort, iface uint32) (Found, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.finds++
	return w.sockets[[2]string{local.String(), remote.String()}], w.err
}

func (w *world) Listeners(_ uint8, port uint16) (all []Listener, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lists++
	for _, l := range w.listening {
		if l.Local.Port() == port {
			all = append(all, l)
		}
	}
	return all, w.err
}

func (w *world) Addresses() (map[netip.Addr]uint32, error) { return w.addresses, nil }

func (w *world) Owners(wants []Want) ([]Answer, error) {
	if w.hold != nil {
		<-w.hold
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wants = append(w.wants, wants...)
	answers := make([]Answer, len(wants))
	for i, x := range wants {
		if w.later > 0 {
			w.later--
			answers[i].Later = true
			continue
		}
		answers[i].Process = w.holders[x.Inode]
	}
	return answers, w.err
}

func (w *world) Blind() (Blind, error) { return Blind{}, nil }

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func newResolver(t testing.TB, s Sockets, o Owners, max int) *Resolver {
	r := NewResolver(ResolverOptions{Sockets: s, Owners: o, MaxFlows: max})
	t.Cleanup(r.Close)
	return r
}

func flow(from, to string) *proto.Flow {
	a, b := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	f := &proto.Flow{Proto: packet.ProtoTCP}
	f.Addr[proto.Originator], f.Port[proto.Originator] = a.Addr().As16(), a.Port()
	f.Addr[proto.Responder], f.Port[proto.Responder] = b.Addr().As16(), b.Port()
	return f
}

// settled looks a connection up until nothing is under way any more.
func settled(r *Resolver, f *proto.Flow) [2]*exchange.Process {
	for {
		found := r.Lookup(f)
		r.mu.Lock()
		busy := false
		if e := r.flows[f]; e != nil {
			for i := range e.ends {
				busy = busy || e.begun && (e.ends[i].progress == seeking || e.ends[i].progress == unasked)
			}
		}
		for _, s := range r.services {
			busy = busy || s.queued
		}
		r.mu.Unlock()
		if !busy {
			return found
		}
		runtime.Gosched()
	}
}

const (
	far  = "192.0.2.9:40000"
	near = "10.0.0.1:80"
)

var listenNear = Listener{Local: netip.MustParseAddrPort("0.0.0.0:80"), Inode: 9}

func TestResolverServer(t *testing.T) {
	nginx := &exchange.Process{PID: 412, Name: "nginx"}
	one := &exchange.Process{PID: 412, Name: "nginx", Listening: true}
	listener := Want{Inode: 9, Listening: true}
	for _, c := range []struct {
		name     string
		prepare  func(w *world)
		want     *exchange.Process
		own      []Want // asked for
		fallback uint64
	}{
		{"accepted", func(w *world) {
			w.sockets[[2]string{near, far}] = Found{State: Established, Inode: 7, UID: 33}
			w.holders[7] = nginx
			w.holders[9] = &exchange.Process{PID: 1, Name: "inetd"}
		}, one, []Want{{Inode: 7, UID: 33, Listener: 9}}, 0},
		{"gone, one listens", func(w *world) {
			w.sockets[[2]string{near, far}] = Found{State: Listen, Inode: 9}
			w.holders[9] = nginx
		}, one, nil, 1},
		{"gone, several listen by one socket", func(w *world) {
			w.holders[9] = &exchange.Process{Name: "nginx", Unit: "nginx.service"}
		}, &exchange.Process{Name: "nginx", Unit: "nginx.service", Listening: true}, nil, 1},
		{"gone, several listen by several sockets", func(w *world) {
			w.listening = append(w.listening, Listener{Local: listenNear.Local, Inode: 10})
			w.holders[9] = nginx
			w.holders[10] = &exchange.Process{PID: 413, Name: "nginx"}
		}, &exchange.Process{Name: "nginx", Listening: true}, nil, 1},
		{"gone, some of those who listen aren't to be seen", func(w *world) {
			w.listening = append(w.listening, Listener{Local: listenNear.Local, Inode: 10})
			w.holders[9] = nginx
		}, &exchange.Process{Listening: true}, nil, 1},
		{"gone, who listens isn't to be seen", func(w *world) {
			w.holders[9] = &exchange.Process{User: "root"}
		}, &exchange.Process{User: "root", Listening: true}, nil, 1},
		{"closed by the server", func(w *world) {
			w.sockets[[2]string{near, far}] = Found{State: FinWait2}
			w.holders[9] = nginx
		}, one, nil, 1},
		{"never accepted", func(w *world) {
			w.sockets[[2]string{near, far}] = Found{State: CloseWait}
			w.holders[9] = nginx
		}, one, nil, 1},
		{"gone, and the listener too", func(w *world) { w.listening = nil }, nil, nil, 0},
		{"closed before its holder was looked for", func(w *world) {
			w.sockets[[2]string{near, far}] = Found{State: Established, Inode: 7}
			w.holders[9] = nginx
		}, one, []Want{{Inode: 7, Listener: 9}}, 1},
		{"not to be seen", func(w *world) {
			w.sockets[[2]string{near, far}] = Found{State: Established, Inode: 7}
			w.holders[7] = &exchange.Process{User: "www-data"}
			w.holders[9] = nginx
		}, one, []Want{{Inode: 7, Listener: 9}}, 1},
		{"neither it nor who listens is to be seen", func(w *world) {
			w.sockets[[2]string{near, far}] = Found{State: Established, Inode: 7}
			w.holders[7] = &exchange.Process{User: "www-data"}
			w.holders[9] = &exchange.Process{User: "root"}
		}, &exchange.Process{User: "www-data", Listening: true}, []Want{{Inode: 7, Listener: 9}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			w.listening = []Listener{listenNear}
			c.prepare(w)
			r := newResolver(t, w, w, 0)
			f := flow(far, near)
			found := settled(r, f)
			if found[proto.Originator] != nil {
				t.Errorf("the far end: %+v", found[proto.Originator])
			}
			got := found[proto.Responder]
			if (got == nil) != (c.want == nil) || got != nil && !equal(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			own := slices.DeleteFunc(slices.Clone(w.wants), func(w Want) bool { return w.Listening || w.Recheck })
			if !slices.Equal(own, c.own) {
				t.Errorf("asked for %+v, want %+v", own, c.own)
			}
			if len(w.listening) > 0 && !slices.Contains(w.wants, listener) {
				t.Errorf("the listener wasn't asked for: %+v", w.wants)
			}
			if again := settled(r, f)[proto.Responder]; again != got {
				t.Errorf("the second time: %+v", again)
			}
			if n := r.Counters(); n.Fallback != c.fallback {
				t.Errorf("%d by their listener, want %d", n.Fallback, c.fallback)
			}
		})
	}
}

// beyond returns a resolver that may look up no connection any more, but knows the addresses of the host.
func beyond(t testing.TB, w *world) *Resolver {
	r := newResolver(t, w, w, 0)
	r.local(netip.MustParseAddr("10.0.0.1"))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens, r.refilled = 0, r.refilled.Add(time.Hour)
	return r
}

// A connection that isn't looked up has its server named by its listener, and that costs one question for all of them.
func TestResolverBeyondRate(t *testing.T) {
	w := newWorld()
	w.listening = []Listener{listenNear}
	w.holders[9] = &exchange.Process{Name: "nginx"}
	r := beyond(t, w)
	for port := range 100 {
		f := flow(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1000+port)).String(), near)
		p := r.Lookup(f)
		if s := p[proto.Responder]; s == nil || s.Name != "nginx" || !s.Listening || p[proto.Originator] != nil {
			t.Fatalf("%d: %+v", port, p)
		}
	}
	if p := r.Lookup(flow(near, far)); p != [2]*exchange.Process{} {
		t.Errorf("a client, named by who listens: %+v", p)
	}
	if n := r.Counters(); w.finds != 0 || w.lists != 1 || len(w.wants) != 1 || n.Fallback != 100 || n.Waits != 1 {
		t.Errorf("asked for %d sockets, %d listeners, %+v; %+v", w.finds, w.lists, w.wants, n)
	}
}

// What is known of who listens is renewed in the background, and forgotten when that takes too long.
func TestResolverRenews(t *testing.T) {
	w := newWorld()
	w.listening = []Listener{listenNear}
	w.holders[9] = &exchange.Process{Name: "old"}
	r := beyond(t, w)
	f := flow(far, near)
	name := func() string {
		if p := settled(r, f)[proto.Responder]; p != nil {
			return p.Name
		}
		return ""
	}
	var s *service
	age := func(due, named time.Duration) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, s = range r.services {
			s.next, s.named = time.Now().Add(-due), time.Now().Add(-named)
		}
	}
	if got := name(); got != "old" {
		t.Fatal(got)
	}
	first := r.Lookup(f)[proto.Responder]
	w.set(func() { w.holders[9] = &exchange.Process{Name: "old"} })
	age(0, listenersFor)
	if name(); r.Lookup(f)[proto.Responder] != first {
		t.Error("what is the same became another object")
	}

	w.set(func() { w.holders[9] = &exchange.Process{Name: "new"} })
	if got := name(); got != "old" {
		t.Errorf("renewed before it was due: %s", got)
	}
	w.mu.Lock() // the answer takes long
	age(0, listenersFor)
	if p := r.Lookup(f)[proto.Responder]; p != first {
		t.Errorf("meanwhile: %+v", p)
	}
	if n := r.Counters().Waits; n != 1 {
		t.Errorf("waited %d times", n)
	}
	w.mu.Unlock()
	if name(); name() != "new" {
		t.Error(name())
	}

	// Holders that weren't looked for are no reason to forget them at once.
	age(0, listenersFor)
	w.set(func() { w.later = 1 })
	if name(); name() != "new" || w.later != 0 {
		t.Error(name(), w.later)
	}
	r.mu.Lock()
	if soon := time.Until(s.next); soon > laterFor {
		t.Errorf("asked again in %v", soon)
	}
	r.mu.Unlock()
	// Neither are errors.
	age(0, listenersFor)
	w.set(func() { w.err = errors.New("broken") })
	if name(); name() != "new" || r.Err() == nil {
		t.Error(name(), r.Err())
	}
	// But nobody listens there for ever.
	age(-time.Hour, staleFor)
	if got := name(); got != "" {
		t.Errorf("much later: %s", got)
	}
	w.set(func() { w.err = nil })
	age(0, staleFor)
	if p := r.Lookup(f)[proto.Responder]; p == nil || p.Name != "new" {
		t.Errorf("the first question after a long time wasn't waited for: %+v", p)
	}
	age(0, listenersFor)
	w.set(func() { w.listening = nil })
	if name(); name() != "" {
		t.Errorf("nobody listens any more: %s", name())
	}
}

// Connections to many ports don't make the table grow, nor forget who really listens.
func TestResolverServices(t *testing.T) {
	w := newWorld()
	w.hold = make(chan struct{})
	defer close(w.hold)
	w.listening = []Listener{listenNear}
	r := beyond(t, w)
	e := &entry{}
	e.addr[proto.Responder] = netip.MustParseAddr("10.0.0.1").As16()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.locals.Store(&localAddresses{all: w.addresses})
	for port := range uint16(3 * maxServices) {
		e.port[proto.Responder] = port
		if s := r.service(e, proto.Responder, time.Now()); s.serviceKey.port != port {
			t.Fatal(s)
		} else if port < 10 {
			s.listeners = w.listening
		}
	}
	kept := 0
	for _, s := range r.services {
		kept += len(s.listeners)
	}
	if len(r.services) != maxServices || kept != 10 {
		t.Errorf("%d services, %d of 10 with listeners", len(r.services), kept)
	}
	e.addr[proto.Responder] = netip.MustParseAddr("192.0.2.1").As16()
	if s := r.service(e, proto.Responder, time.Now()); s != nil {
		t.Errorf("who listens at another host: %+v", s)
	}
}

func TestResolverClient(t *testing.T) {
	const port = "10.0.0.1:50000"
	w := newWorld()
	w.sockets[[2]string{port, far}] = Found{State: SynSent, Inode: 5, UID: 1000}
	w.holders[5] = &exchange.Process{PID: 77, Name: "curl"}
	r := newResolver(t, w, w, 0)
	f := flow(port, far)
	if p := settled(r, f)[proto.Originator]; p == nil || p.PID != 77 || p.Listening {
		t.Errorf("%+v", p)
	}
	// A socket that was closed before it was looked at isn't anybody's, even if it listens now.
	for _, s := range []Found{{}, {State: TimeWait}, {State: Listen, Inode: 5}, {State: LastAck}} {
		w.set(func() { w.sockets[[2]string{"10.0.0.1:50001", far}] = s })
		if p := settled(r, flow("10.0.0.1:50001", far))[proto.Originator]; p != nil {
			t.Errorf("%+v: %+v", s, p)
		}
	}
	if n := r.Counters(); n.Known != 1 || n.Closed != 4 || n.Lookups != 5 {
		t.Errorf("%+v", n)
	}
	// Neither is one of others.
	finds := w.finds
	if p := settled(r, flow("192.0.2.1:1", "192.0.2.2:2")); p != [2]*exchange.Process{} || w.finds != finds {
		t.Errorf("%+v", p)
	}
	if p := r.Lookup(&proto.Flow{Proto: packet.ProtoSCTP}); p != [2]*exchange.Process{} {
		t.Errorf("SCTP: %+v", p)
	}
}

// In a connection whose beginning wasn't seen, the server is who has a listening socket.
func TestResolverMidstream(t *testing.T) {
	w := newWorld()
	w.listening = []Listener{listenNear}
	w.sockets[[2]string{near, far}] = Found{State: Established, Inode: 7}
	w.holders[7] = &exchange.Process{PID: 412, Name: "nginx"}
	w.holders[9] = &exchange.Process{Name: "nginx"}
	r := newResolver(t, w, w, 0)
	f := flow(near, far) // the server sent the first packet seen
	f.Midstream = true
	if p := settled(r, f)[proto.Originator]; p == nil || !p.Listening {
		t.Errorf("%+v", p)
	}

	const port = "10.0.0.1:50000"
	for _, c := range []struct {
		flow      *proto.Flow
		midstream bool
		want      [2]string
	}{
		{flow(near, port), true, [2]string{"nginx", ""}},
		{flow(port, near), true, [2]string{"", "nginx"}},
		{flow(near, port), false, [2]string{}},         // a client that uses the port of the server
		{flow(near, "10.0.0.1:80"), true, [2]string{}}, // either may be the client
	} {
		c.flow.Midstream = c.midstream
		found := settled(r, c.flow)
		for d, p := range found {
			if got := p; (got != nil) != (c.want[d] != "") || got != nil && (got.Name != c.want[d] || !got.Listening) {
				t.Errorf("%v, midstream %v: %d is %+v", c.flow, c.midstream, d, got)
			}
		}
	}
}

// A server may pass an accepted connection to another process: that is seen when the exchange is shown. A holder that
// ended is still the one it was.
func TestResolverRecheck(t *testing.T) {
	w := newWorld()
	w.listening = []Listener{listenNear}
	w.sockets[[2]string{near, far}] = Found{State: Established, Inode: 7}
	w.holders[7] = &exchange.Process{PID: 1, Name: "parent"}
	r := newResolver(t, w, w, 0)
	settled(r, flow("192.0.2.9:1", near)) // who listens is known from now on
	f := flow(far, near)
	if p := settled(r, f)[proto.Responder]; p == nil || p.PID != 1 {
		t.Fatalf("%+v", p)
	}
	w.set(func() { w.holders[7] = &exchange.Process{PID: 2, Name: "child"} })
	if p := settled(r, f)[proto.Responder]; p == nil || p.PID != 2 {
		t.Errorf("passed on: %+v", p)
	}
	w.set(func() { delete(w.holders, 7) })
	r.mu.Lock()
	r.flows[f].ends[proto.Responder].rechecked = false
	r.mu.Unlock()
	if p := settled(r, f)[proto.Responder]; p == nil || p.PID != 2 {
		t.Errorf("ended: %+v", p)
	}
	if n := r.Counters(); n.Unknown != 0 || n.Known != 1 {
		t.Errorf("%+v", n)
	}
	wants := slices.DeleteFunc(w.wants, func(w Want) bool { return w.Listening })
	if len(wants) != 3 || !wants[1].Recheck || wants[0].Recheck {
		t.Errorf("%+v", wants)
	}
}

func TestResolverLater(t *testing.T) {
	w := newWorld()
	w.later = 3
	w.sockets[[2]string{near, far}] = Found{State: Established, Inode: 7}
	w.holders[7] = &exchange.Process{PID: 1}
	r := newResolver(t, w, w, 0)
	if p := settled(r, flow(near, far))[proto.Originator]; p == nil || p.PID != 1 {
		t.Errorf("%+v", p)
	}
	w.set(func() { w.later = 1 << 30 })
	w.sockets[[2]string{near, "192.0.2.9:2"}] = Found{State: Established, Inode: 8}
	if p := settled(r, flow(near, "192.0.2.9:2"))[proto.Originator]; p != nil || r.Counters().Later != 1 {
		t.Errorf("%+v %+v", p, r.Counters())
	}
}

// Opened looks connections up without anybody asking, and Early even before.
func TestResolverOpened(t *testing.T) {
	const from = "10.0.0.1:50000"
	w := newWorld()
	w.hold = make(chan struct{})
	w.sockets[[2]string{from, far}] = Found{State: SynSent, Inode: 5}
	w.holders[5] = &exchange.Process{PID: 77, Name: "curl"}
	r := newResolver(t, w, w, 0)
	r.Early(packet.ProtoTCP, netip.MustParseAddrPort(from), netip.MustParseAddrPort(far))
	w.hold <- struct{}{}                                              // the process is asked for: the socket has been found
	w.set(func() { clear(w.sockets) })                                // and is gone now
	if p := settled(r, flow(from, far))[0]; p == nil || p.PID != 77 { // Lookup before Opened has come that far
		t.Errorf("early: %+v", p)
	}
	if p := settled(r, flow(from, far))[0]; p != nil {
		t.Errorf("the next connection with these ports: %+v", p)
	}

	w.set(func() { w.sockets[[2]string{from, far}] = Found{State: SynSent, Inode: 5} })
	f := flow(from, far)
	r.Opened(f)
	w.hold <- struct{}{}
	w.set(func() { clear(w.sockets) })
	close(w.hold)
	if p := settled(r, f)[0]; p == nil || p.PID != 77 {
		t.Errorf("opened: %+v", p)
	}
}

func TestResolverLimits(t *testing.T) {
	w := newWorld()
	r := newResolver(t, w, w, 4)
	flows := make([]*proto.Flow, 10)
	for i := range flows {
		flows[i] = flow(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(i+1)).String(), far)
		settled(r, flows[i])
	}
	if n := r.Counters(); len(r.flows) != 4 || n.Forgotten != 6 {
		t.Errorf("%d flows, %+v", len(r.flows), n)
	}

	// Ends that aren't accepted don't grow without bound.
	r.mu.Lock()
	defer r.mu.Unlock()
	for range maxWaiting + 100 {
		r.again(&entry{}, proto.Responder)
	}
	if len(r.waiting) != maxWaiting || r.counters.WaitingLimit != 100 {
		t.Errorf("%d wait, %+v", len(r.waiting), r.counters)
	}
	r.waiting = nil
}

// What isn't there when a connection opens may come at the server's end, and doesn't at the client's.
func TestResolverWaits(t *testing.T) {
	w := newWorld()
	w.hold = make(chan struct{})
	defer close(w.hold)
	w.listening = []Listener{listenNear}
	r := newResolver(t, w, w, 0)
	for _, c := range []struct {
		d     proto.Direction
		found Found
		want  progress
	}{
		{proto.Originator, Found{}, closed},
		{proto.Originator, Found{State: Listen, Inode: 9}, closed},
		{proto.Originator, Found{State: FinWait1}, closed},
		{proto.Originator, Found{State: CloseWait, Inode: 7}, seeking},
		{proto.Responder, Found{}, waiting},
		{proto.Responder, Found{State: Listen, Inode: 9}, waiting},
		{proto.Responder, Found{State: newSynReceived}, waiting},
		{proto.Responder, Found{State: Established}, waiting},
		{proto.Responder, Found{State: CloseWait}, waiting},
		{proto.Responder, Found{State: FinWait2}, closed},
		{proto.Responder, Found{State: TimeWait}, closed},
		{proto.Responder, Found{State: Established, Inode: 7}, seeking},
	} {
		f := flow(near, far)
		if c.d == proto.Responder {
			f = flow(far, near)
		}
		w.set(func() { w.sockets[[2]string{near, far}] = c.found })
		r.mu.Lock()
		e := r.enter(f)
		e.ends[c.d].tries = maxTries // not again
		r.mu.Unlock()
		r.probe(e, c.d, false)
		r.mu.Lock()
		if got := e.ends[c.d].progress; got != c.want {
			t.Errorf("%v %+v: %d, want %d", c.d, c.found, got, c.want)
		}
		r.mu.Unlock()
	}
}

// A connection that is shown before anybody accepted it is looked at again.
func TestResolverAcceptedLate(t *testing.T) {
	w := newWorld()
	w.listening = []Listener{listenNear}
	w.sockets[[2]string{near, far}] = Found{State: Established}
	w.holders[9] = &exchange.Process{Name: "nginx"}
	w.holders[7] = &exchange.Process{PID: 413, Name: "nginx"}
	r := newResolver(t, w, w, 0)
	f := flow(far, near)
	if p := settled(r, f)[proto.Responder]; p == nil || p.PID != 0 {
		t.Fatalf("%+v", p)
	}
	w.set(func() { w.sockets[[2]string{near, far}] = Found{State: Established, Inode: 7} })
	r.mu.Lock()
	x := &r.flows[f].ends[proto.Responder]
	x.asked = x.asked.Add(-recheckFor)
	r.mu.Unlock()
	if p := settled(r, f)[proto.Responder]; p == nil || p.PID != 413 {
		t.Errorf("%+v", p)
	}
}

// Lookup doesn't wait longer than it may, nor the resolver ask more than it may.
func TestResolverPatience(t *testing.T) {
	w := newWorld()
	w.hold = make(chan struct{})
	defer close(w.hold)
	r := NewResolver(ResolverOptions{Sockets: w, Owners: w, Patience: 1})
	t.Cleanup(r.Close)
	from := func(port uint16) *proto.Flow {
		f := flow(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port).String(), far)
		w.set(func() { w.sockets[[2]string{f.End(0), far}] = Found{State: Established, Inode: uint64(port)} })
		return f
	}
	if p := r.Lookup(from(1)); p[0] != nil {
		t.Errorf("%+v", p)
	}
	r.mu.Lock()
	if r.credit >= maxWait || r.counters.Waits != 1 || r.counters.Hasty != 1 {
		t.Errorf("credit %v, %+v", r.credit, r.counters)
	}
	r.o.Patience = time.Hour
	r.credited = r.credited.Add(time.Hour) // nothing is saved up
	r.credit = 0
	r.mu.Unlock()
	if p := r.Lookup(from(2)); p[0] != nil || r.Counters().Hasty != 2 {
		t.Errorf("%+v", p)
	}

	r.begin(from(3))
	r.mu.Lock()
	if r.tokens >= DefaultRate || r.counters.Limited != 0 {
		t.Errorf("%v look-ups left, %+v", r.tokens, r.counters)
	}
	r.refilled = r.refilled.Add(time.Hour) // nothing is saved up
	before := r.counters.Lookups
	r.mu.Unlock()
	r.begin(from(4))
	if n := r.Counters(); n.Lookups != before || n.Limited != 1 {
		t.Errorf("%d look-ups before, %+v", before, n)
	}
	if p := r.Lookup(from(4)); p[0] != nil || r.Counters().Lookups != before {
		t.Errorf("looked up beyond the rate: %+v", r.Counters())
	}
	r.mu.Lock()
	r.tokens, r.refilled = DefaultRate, time.Now()
	r.mu.Unlock()

	// The queue for Owners is full: what doesn't fit is asked for the next time.
	for port := range uint16(maxSeeking + MaxWants + 10) {
		r.probe(r.enterForTest(from(1000+port)), proto.Originator, false)
	}
	f := from(9000)
	r.Lookup(f)
	r.mu.Lock()
	if p := r.flows[f].ends[0].progress; p != unasked || r.counters.Later == 0 {
		t.Errorf("%d, %+v", p, r.counters)
	}
	r.mu.Unlock()
}

func (r *Resolver) enterForTest(f *proto.Flow) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.enter(f)
}

// Opened has no room while the goroutine that takes connections off is busy.
func TestResolverOverflow(t *testing.T) {
	w := newWorld()
	r := newResolver(t, w, w, 0)
	w.mu.Lock()
	f := flow("10.0.0.1:1", far)
	const extra = 100
	for range maxOpened + 1 + extra {
		r.Opened(f)
	}
	over := r.overflow.Load()
	w.mu.Unlock()
	// It may have taken some off before it found the host busy.
	if over > extra+1 || over == 0 {
		t.Errorf("%d overflowed", over)
	}
}

func TestResolverErrors(t *testing.T) {
	w := newWorld()
	w.err = errors.New("broken")
	r := newResolver(t, w, w, 0)
	if p := r.Lookup(flow(near, far)); p != [2]*exchange.Process{} {
		t.Errorf("%+v", p)
	}
	if r.Err() == nil || r.Counters().Errors == 0 {
		t.Error(r.Err(), r.Counters())
	}
}

func TestAccepting(t *testing.T) {
	at := func(s string, inode uint64) Listener {
		return Listener{Local: netip.MustParseAddrPort(s), Inode: inode}
	}
	bound := func(l Listener, iface uint32) Listener { l.Interface = iface; return l }
	only6 := func(l Listener) Listener { l.V6Only = true; return l }
	for _, c := range []struct {
		name  string
		all   []Listener
		local string
		want  []uint64
	}{
		{"none", nil, "10.0.0.1", nil},
		{"all addresses", []Listener{at("0.0.0.0:80", 1)}, "10.0.0.1", []uint64{1}},
		{"the address comes first", []Listener{at("0.0.0.0:80", 1), at("10.0.0.1:80", 2)}, "10.0.0.1", []uint64{2}},
		{"another address", []Listener{at("10.0.0.2:80", 1)}, "10.0.0.1", nil},
		{"IPv6 takes IPv4", []Listener{at("[::]:80", 1)}, "10.0.0.1", []uint64{1}},
		{"unless it doesn't", []Listener{only6(at("[::]:80", 1))}, "10.0.0.1", nil},
		{"the family comes first", []Listener{at("[::]:80", 1), at("0.0.0.0:80", 2)}, "10.0.0.1", []uint64{2}},
		{"IPv4 doesn't take IPv6", []Listener{at("0.0.0.0:80", 1)}, "2001:db8::1", nil},
		{"IPv6", []Listener{only6(at("[::]:80", 1)), at("0.0.0.0:80", 2)}, "2001:db8::1", []uint64{1}},
		{"mapped", []Listener{at("[::ffff:10.0.0.1]:80", 1)}, "10.0.0.1", []uint64{1}},
		{"shared port", []Listener{at("0.0.0.0:80", 1), at("0.0.0.0:80", 2)}, "10.0.0.1", []uint64{1, 2}},
		{"another interface", []Listener{bound(at("0.0.0.0:80", 1), 3), at("0.0.0.0:80", 2)}, "10.0.0.1", []uint64{2}},
		{"this interface", []Listener{at("0.0.0.0:80", 1), bound(at("0.0.0.0:80", 2), 2)}, "10.0.0.1", []uint64{2}},
		{"the address before the interface", []Listener{bound(at("0.0.0.0:80", 1), 2), at("10.0.0.1:80", 2)}, "10.0.0.1", []uint64{2}},
	} {
		var got []uint64
		for _, l := range accepting(c.all, netip.MustParseAddr(c.local), 2) {
			got = append(got, l.Inode)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestOpenedDoesNotAllocate(t *testing.T) {
	w := newWorld()
	r := newResolver(t, w, w, 0)
	f := flow(near, far)
	r.Lookup(f)
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := testing.AllocsPerRun(100, func() {
		r.Opened(f)
		r.Early(f.Proto, netip.AddrPort{}, netip.AddrPort{})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOpened(b *testing.B) {
	w := newWorld()
	r := newResolver(b, w, w, 0)
	f := flow(near, far)
	b.ReportAllocs()
	for b.Loop() {
		r.Opened(f)
	}
}

func BenchmarkLookupKnown(b *testing.B) {
	w := newWorld()
	w.sockets[[2]string{near, far}] = Found{State: Established, Inode: 7}
	w.holders[7] = &exchange.Process{PID: 1}
	r := newResolver(b, w, w, 0)
	f := flow(near, far)
	settled(r, f)
	b.ReportAllocs()
	for b.Loop() {
		if p := r.Lookup(f); p[0] == nil {
			b.Fatal(p)
		}
	}
}

func TestLookupByListenerDoesNotAllocate(t *testing.T) {
	w := newWorld()
	w.listening = []Listener{listenNear}
	w.holders[9] = &exchange.Process{Name: "nginx"}
	r := beyond(t, w)
	f := flow(far, near)
	if p := settled(r, f)[proto.Responder]; p == nil {
		t.Fatal(p)
	}
	if n := testing.AllocsPerRun(100, func() { r.Lookup(f) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookupByListener(b *testing.B) {
	w := newWorld()
	w.listening = []Listener{listenNear}
	w.holders[9] = &exchange.Process{Name: "nginx"}
	r := beyond(b, w)
	f := flow(far, near)
	settled(r, f)
	b.ReportAllocs()
	for b.Loop() {
		if p := r.Lookup(f); p[1] == nil {
			b.Fatal(p)
		}
	}
}
