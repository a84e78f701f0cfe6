package own

import (
	"context"
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
// who change the set put another in its place.
type dialled struct {
	mu     sync.Mutex
	closed []dial // the oldest first
	set    atomic.Pointer[map[dial]struct{}]
}

// dial is a connection that is being made, or was: the address that it is from is only known later, and isn't needed.
type dial struct {
	port   uint16
	remote netip.AddrPort
}

// Dial opens a TCP connection that is known to be this process's own from its first packet on. It may be called while
// packets are asked for, by several goroutines.
func (c *Connections) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var begun []dial
	d := net.Dialer{ControlContext: func(_ context.Context, network, address string, raw syscall.RawConn) error {
		remote, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil
		}
		// The port is known before the first packet is sent, if it is asked for now.
		var port uint16
		if err := raw.Control(func(fd uintptr) { port = bind(int(fd), network) }); err != nil || port == 0 {
			return err
		}
		one := dial{port, netip.AddrPortFrom(remote.Addr().Unmap().WithZone(""), remote.Port())}
		begun = append(begun, one)
		c.dialled.begin(one)
		return nil
	}}
	conn, err := d.DialContext(ctx, network, address)
	var kept dial
	if err == nil {
		if t, ok := conn.(*net.TCPConn); ok {
			kept = dial{uint16(t.LocalAddr().(*net.TCPAddr).Port), t.RemoteAddr().(*net.TCPAddr).AddrPort()}
			kept.remote = netip.AddrPortFrom(kept.remote.Addr().Unmap().WithZone(""), kept.remote.Port())
			conn = &ownConn{TCPConn: t, ended: func() { c.dialled.end(kept) }}
		}
	}
	for _, one := range begun {
		if one != kept {
			c.dialled.end(one)
		}
	}
	return conn, err
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
	set := d.set.Load()
	if set == nil || p.Proto != packet.ProtoTCP {
		return false
	}
	_, there := (*set)[dial{p.SrcPort, netip.AddrPortFrom(p.Dst.Netip(), p.DstPort)}]
	if !there {
		_, there = (*set)[dial{p.DstPort, netip.AddrPortFrom(p.Src.Netip(), p.SrcPort)}]
	}
	return there
}

// begin adds a connection, which may have had the same ends as an earlier one.
func (d *dialled) begin(one dial) {
	d.change(func(set map[dial]struct{}) {
		d.closed = slices.DeleteFunc(d.closed, func(old dial) bool { return old == one })
		set[one] = struct{}{}
	})
}

// end notes that a connection is closed. The oldest of those are forgotten.
func (d *dialled) end(one dial) {
	d.change(func(set map[dial]struct{}) {
		d.closed = append(d.closed, one)
		for len(d.closed) > maxClosed {
			delete(set, d.closed[0])
			d.closed = d.closed[1:]
		}
	})
}

// change puts a changed set in the place of the old one.
func (d *dialled) change(f func(set map[dial]struct{})) {
	d.mu.Lock()
	defer d.mu.Unlock()
	set := map[dial]struct{}{}
	if old := d.set.Load(); old != nil {
		for one := range *old {
			set[one] = struct{}{}
		}
	}
	f(set)
	d.set.Store(&set)
}
