package own

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/culprit-http/culprit/internal/packet"
)

// maxClosed is how many connections are remembered that are closed: their last packets are still to come.
const maxClosed = 256

// dialled are the connections that this process makes while packets are asked for. The way of a packet takes no lock: those
// who change what is known put another in its place.
type dialled struct {
	mu     sync.Mutex
	closed []dial // the oldest first
	known  atomic.Pointer[watched]
	// addresses are those of this host.
	addresses map[packet.Addr]struct{}
}

// watched are the ends of connections that are open, or were not long ago.
type watched struct {
	// pairs have the far end as it was dialled.
	pairs map[dial]struct{}
	// ports are the local ports of open connections that nobody else can have, and how many have each. They are known by those
	// alone: on the way, somebody may have put another far end in the place of what was dialled.
	ports map[uint16]int
}

// dial is a connection that is being made, or was: the address that it is from is only known later, and isn't needed.
type dial struct {
	port   uint16
	remote netip.AddrPort
	// bound: the port was asked for before the connection was made, so that it is this socket's alone while it is open.
	bound bool
}

// Addresses tells which addresses this host has, so that a connection of Dial is known by its port there, whatever its other
// end is called on the way (a service's address that is translated, say). It isn't called while packets are asked for.
func (c *Connections) Addresses(all []netip.Addr) {
	c.dialled.addresses = map[packet.Addr]struct{}{}
	for _, a := range all {
		c.dialled.addresses[a.As16()] = struct{}{}
	}
}

// Dial opens a TCP connection that is known to be this process's own from its first packet on. It may be called while
// packets are asked for, by several goroutines.
func (c *Connections) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	a := &attempts{dialled: &c.dialled}
	d := net.Dialer{ControlContext: func(_ context.Context, network, address string, raw syscall.RawConn) error {
		return a.begin(network, address, raw)
	}}
	conn, err := d.DialContext(ctx, network, address)
	t, ok := conn.(*net.TCPConn)
	if err != nil || !ok {
		a.end(nil)
		return conn, err
	}
	kept := a.end(t)
	return &ownConn{TCPConn: t, ended: func() { c.dialled.end(kept) }}, nil
}

// attempts are those of one call of Dial: it may try several addresses, two of them at once.
type attempts struct {
	dialled *dialled

	mu    sync.Mutex
	begun []dial
	// over: Dial has returned, or is about to.
	over bool
}

// begin is called for a socket before it connects.
func (a *attempts) begin(network, address string, raw syscall.RawConn) error {
	remote, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over { // another attempt has won
		return context.Canceled
	}
	// The port is known before the first packet is sent, if it is asked for now.
	var port uint16
	if err := raw.Control(func(fd uintptr) { port = bind(int(fd), network) }); err != nil || port == 0 {
		return err
	}
	one := dial{port, plain(remote), true}
	a.begun = append(a.begun, one)
	a.dialled.begin(one)
	return nil
}

// end ends all attempts but that which has made a connection, if there is one, and returns it.
func (a *attempts) end(made *net.TCPConn) (kept dial) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	if made != nil {
		kept = dial{uint16(made.LocalAddr().(*net.TCPAddr).Port), plain(made.RemoteAddr().(*net.TCPAddr).AddrPort()), true}
		if !slices.Contains(a.begun, kept) { // the system has chosen the port, which others may have, too
			kept.bound = false
			a.dialled.begin(kept)
		}
	}
	for _, one := range a.begun {
		if one != kept {
			a.dialled.end(one)
		}
	}
	return kept
}

// plain is an address as packets have it.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// ownConn is a connection that is no longer watched for once it is closed.
type ownConn struct {
	*net.TCPConn
	once  sync.Once
	ended func()
}

// Close implements net.Conn.
func (c *ownConn) Close() error {
	defer c.once.Do(c.ended)
	return c.TCPConn.Close()
}

// has reports whether one end of a packet's connection was dialled.
func (d *dialled) has(p *packet.Packet) bool {
	known := d.known.Load()
	if known == nil || p.Proto != packet.ProtoTCP {
		return false
	}
	return d.from(known, &p.Src, p.SrcPort, &p.Dst, p.DstPort) || d.from(known, &p.Dst, p.DstPort, &p.Src, p.SrcPort)
}

// from reports whether a connection from local to remote was dialled.
func (d *dialled) from(known *watched, local *packet.Addr, port uint16, remote *packet.Addr, remotePort uint16) bool {
	if known.ports[port] > 0 {
		if _, here := d.addresses[*local]; here {
			return true
		}
	}
	_, there := known.pairs[pair(dial{port: port, remote: netip.AddrPortFrom(remote.Netip(), remotePort)})]
	return there
}

// pair leaves out what has nothing to do with a connection's ends.
func pair(one dial) dial {
	one.bound = false
	return one
}

// begin adds a connection, which may have had the same ends as an earlier one.
func (d *dialled) begin(one dial) {
	d.change(func(known *watched) {
		d.closed = slices.DeleteFunc(d.closed, func(old dial) bool { return old == pair(one) })
		known.pairs[pair(one)] = struct{}{}
		if one.bound {
			known.ports[one.port]++
		}
	})
}

// end notes that a connection is closed: somebody else may have its port by now. The oldest of those are forgotten.
func (d *dialled) end(one dial) {
	d.change(func(known *watched) {
		if one.bound {
			if known.ports[one.port]--; known.ports[one.port] == 0 {
				delete(known.ports, one.port)
			}
		}
		d.closed = append(d.closed, pair(one))
		for len(d.closed) > maxClosed {
			delete(known.pairs, d.closed[0])
			d.closed = d.closed[1:]
		}
	})
}

// change puts something changed in the place of what was known.
func (d *dialled) change(f func(known *watched)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := &watched{pairs: map[dial]struct{}{}, ports: map[uint16]int{}}
	if old := d.known.Load(); old != nil {
		maps.Copy(known.pairs, old.pairs)
		maps.Copy(known.ports, old.ports)
	}
	f(known)
	d.known.Store(known)
}
