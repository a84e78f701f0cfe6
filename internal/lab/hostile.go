//go:build linux

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of hostile traffic: it is sent to be survived, not to stop the machine.
const (
	// maxHostileRate and maxHostileTime bound a run, in frames a second and time.
	maxHostileRate = 200_000
	maxHostileTime = 10 * time.Minute
	// forgedFlows is how many forged connections are under way at once.
	forgedFlows = 512
	// hostileTick is how often frames are sent, many at once.
	hostileTick = time.Millisecond
	// hostileBursts is the share of a second's frames, one in so many, that is sent at once at most.
	hostileBursts = 50
	// endlessBytes is about how fast endless headers grow, in bytes a tick and connection.
	endlessBytes = 2048
)

// Hostile is traffic that nobody wants: a mix of frames that are sent raw, and of real connections that never
// come to an end. Forged addresses are of 198.18.0.0/15, the range for tests of networks (RFC 2544), and
// forged requests are for /hostile/..., so that real ones can be told apart.
type Hostile struct {
	// From is where it is sent. Its first address is that of the real connections.
	From End
	// Target is the server, reached through From's interface: an address of IPv4. TargetMAC is its Ethernet
	// address.
	Target    netip.AddrPort
	TargetMAC net.HardwareAddr
	// Rate is in frames a second; Time is for how long.
	Rate int
	Time time.Duration
	// Kinds are those of hostileKinds to be sent; nil: all.
	Kinds []string
	// HalfOpen connections are made to Target and say nothing. Endless connections are made to Sink, which must take
	// whatever comes (see Namespace.Sink), and send header lines forever.
	HalfOpen, Endless int
	Sink              string
	// Seed makes the frames the same again.
	Seed uint64
}

// hostileKinds are the kinds of frames.
var hostileKinds = []struct {
	name string
	make func(g *generator) []byte
}{
	{"syn-flood", (*generator).syn},
	{"garbage-frames", (*generator).garbageFrame},
	{"garbage-ip", (*generator).garbageIP},
	{"garbage-tcp", (*generator).garbageTCP},
	{"garbage-http", (*generator).garbageHTTP},
	{"fragments", (*generator).fragment},
	{"nested-tags", (*generator).tags},
	{"no-handshake", (*generator).midstream},
	{"tiny-segments", (*generator).tiny},
	{"rst-storm", (*generator).reset},
}

// HostileKinds returns the names of the kinds of frames.
func HostileKinds() (all []string) {
	for _, k := range hostileKinds {
		all = append(all, k.name)
	}
	return all
}

// Run sends until the time is over or the context is done. It returns how many frames of each kind were sent.
func (h Hostile) Run(ctx context.Context) (map[string]uint64, error) {
	if h.Rate <= 0 || h.Rate > maxHostileRate || h.Time <= 0 || h.Time > maxHostileTime || !h.Target.Addr().Is4() {
		return nil, fmt.Errorf("hostile traffic to %v at %d frames a second for %v: at most %d and %v, to an address of IPv4",
			h.Target, h.Rate, h.Time, maxHostileRate, maxHostileTime)
	}
	g, err := h.generator()
	if err != nil {
		return nil, err
	}
	s, err := h.From.Namespace.openPacket(h.From.Interface, false)
	if err != nil {
		return nil, err
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(ctx, h.Time)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	if err := h.connect(ctx, &wg); err != nil {
		cancel()
		return nil, err
	}
	sent := map[string]uint64{}
	ticks := time.NewTicker(hostileTick)
	defer ticks.Stop()
	begin, done := time.Now(), 0
	for {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return sent, nil
		}
		// What a busy machine has made late is sent, too, but not all at once.
		owed := int(min(time.Since(begin), h.Time).Seconds()*float64(h.Rate)) - done
		for range min(owed, max(h.Rate/hostileBursts, 1)) {
			done++
			k := &hostileKinds[g.kinds[g.random.IntN(len(g.kinds))]]
			err := s.send(k.make(g))
			switch {
			case err == nil:
				sent[k.name]++
			case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENETDOWN):
			default:
				return sent, fmt.Errorf("sending hostile traffic (%s): %w", k.name, err)
			}
		}
	}
}

func (h *Hostile) generator() (*generator, error) {
	g := &generator{h: h, random: random(h.Seed), buf: make([]byte, 0, 2048)}
	for i, k := range hostileKinds {
		if h.Kinds == nil || slices.Contains(h.Kinds, k.name) {
			g.kinds = append(g.kinds, i)
		}
	}
	if len(g.kinds) == 0 || h.Kinds != nil && len(g.kinds) != len(h.Kinds) {
		return nil, fmt.Errorf("hostile traffic of the kinds %q: there are %q", h.Kinds, HostileKinds())
	}
	err := h.From.Namespace.Do(func() error {
		i, err := net.InterfaceByName(h.From.Interface)
		if err == nil {
			g.mac, g.mtu = i.HardwareAddr, i.MTU
		}
		return err
	})
	return g, err
}

// connect makes the real connections. Those that are endless end with the context.
func (h *Hostile) connect(ctx context.Context, wg *sync.WaitGroup) error {
	open := func(address string, serve func(net.Conn)) error {
		c, err := h.From.Namespace.Dial("tcp", address)
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { c.Close() })
		wg.Add(1)
		go func() { defer wg.Done(); serve(c) }()
		return nil
	}
	for range h.HalfOpen {
		if err := open(h.Target.String(), func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }); err != nil {
			return err
		}
	}
	for i := range h.Endless {
		if err := open(h.Sink, func(c net.Conn) { endless(ctx, c, i) }); err != nil {
			return err
		}
	}
	return nil
}

// endless sends a request whose head has no end.
func endless(ctx context.Context, c net.Conn, i int) {
	b := fmt.Appendf(nil, "GET /hostile/endless/%d HTTP/1.1\r\nHost: lab\r\n", i)
	ticks := time.NewTicker(hostileTick)
	defer ticks.Stop()
	for n := 0; ; {
		if _, err := c.Write(b); err != nil {
			return
		}
		for b = b[:0]; len(b) < endlessBytes; n++ {
			b = fmt.Appendf(b, "X-Endless-%d: on and on and on and on and on\r\n", n)
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

// Sink takes connections at an address in the namespace and reads whatever comes, until the laboratory closes.
func (n *Namespace) Sink(address string) error {
	l, err := n.Listen("tcp", address)
	if err != nil {
		return err
	}
	n.lab.Finally(l.Close)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return nil
}

// generator makes frames. What it returns is valid until the next.
type generator struct {
	h      *Hostile
	random *rand.Rand
	mac    net.HardwareAddr
	mtu    int
	kinds  []int
	buf    []byte
	flows  [forgedFlows]forged
}

// forged is a connection that exists in frames only: a request in single bytes, out of order.
type forged struct {
	client    netip.AddrPort
	isn, peer uint32
	request   []byte
	order     []int
	step      int
}

// address returns a forged one.
func (g *generator) address() netip.AddrPort {
	v := g.random.Uint64()
	ip := [4]byte{198, 18 + byte(v&1), byte(v >> 8), byte(v >> 16)}
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(v>>24)|1)
}

// bytes fills b from the seed.
func (g *generator) bytes(b []byte) []byte {
	for i := 0; i < len(b); i += 8 {
		var v [8]byte
		binary.NativeEndian.PutUint64(v[:], g.random.Uint64())
		copy(b[i:], v[:])
	}
	return b
}

// noise appends from least to most random bytes.
func (g *generator) noise(b []byte, least, most int) []byte {
	start, size := len(b), least+g.random.IntN(most-least+1)
	b = append(b, make([]byte, size)...)
	g.bytes(b[start:])
	return b
}

// frame begins one to the target.
func (g *generator) frame(etherType uint16) []byte {
	return ether(g.buf[:0], g.h.TargetMAC, g.mac, etherType)
}

func (g *generator) segment(s *segment) []byte { return tcp(g.frame(unix.ETH_P_IP), s) }

func (g *generator) syn() []byte {
	return g.segment(&segment{from: g.address(), to: g.h.Target, seq: g.random.Uint32(), flags: syn})
}

func (g *generator) garbageFrame() []byte {
	types := []uint16{unix.ETH_P_IP, unix.ETH_P_IPV6, unix.ETH_P_ARP, TagVLAN, TagService, unix.ETH_P_MPLS_UC, unix.ETH_P_PPP_SES, uint16(g.random.Uint32())}
	b := g.frame(types[g.random.IntN(len(types))])
	// A tag that is cut is thrown away by the kernel, before anyone sees it.
	return g.noise(b, minTag, g.mtu)
}

// minTag is how much of a VLAN tag and what follows it has to be there, in bytes.
const minTag = 6

// garbageIP has an IPv4 or IPv6 header that says what it likes.
func (g *generator) garbageIP() []byte {
	if g.random.IntN(2) == 0 {
		b := g.noise(append(g.frame(unix.ETH_P_IPV6), 0x60, 0, 0, 0), 0, g.mtu-4)
		if len(b) > etherLen+6 {
			next := []byte{0, 6, 17, 43, 44, 51, 60, 4, 41, byte(g.random.Uint32())}
			b[etherLen+6] = next[g.random.IntN(len(next))]
		}
		return b
	}
	b := g.noise(append(g.frame(unix.ETH_P_IP), 0x40|byte(g.random.IntN(16)), 0), 0, g.mtu-2)
	if len(b) > etherLen+9 {
		next := []byte{6, 17, 4, 41, 47, 132, byte(g.random.Uint32())}
		b[etherLen+9] = next[g.random.IntN(len(next))]
	}
	return b
}

// garbageTCP is for the target's port, with a header that says what it likes.
func (g *generator) garbageTCP() []byte {
	s := segment{from: g.address(), to: g.h.Target, seq: g.random.Uint32(), ack: g.random.Uint32(), flags: byte(g.random.Uint32())}
	s.payload = g.noise(nil, 0, g.mtu-ipLen-tcpLen)
	b := g.segment(&s)
	b[etherLen+ipLen+12] = byte(g.random.Uint32()) // the offset of the data
	if g.random.IntN(4) == 0 {
		return b[:etherLen+g.random.IntN(len(b)-etherLen)+1] // cut somewhere
	}
	return b
}

// hostileTexts are pieces of HTTP, well or badly formed.
var hostileTexts = []string{
	"GET /hostile/ HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n", "Content-Length: 18446744073709551616\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n",
	"Transfer-Encoding: chunked\r\n", "\r\n", "\r\n\r\n", "ffffffffffffffff\r\n", "0\r\n\r\n", ": \r\n", "GET /hostile/ HTTP/9.9\r\n", "\x00\x00\x00",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "CONNECT hostile:443 HTTP/1.1\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "Content-Encoding: gzip\r\n", "\x1f\x8b\x08",
	"Upgrade: websocket\r\nConnection: upgrade\r\n", "HTTP/1.1 101 \r\n\r\n", "\x05\x01\x00", "\x16\x03\x01\x02\x00",
}

// garbageHTTP is a piece of HTTP in a connection that has begun, from either side.
func (g *generator) garbageHTTP() []byte {
	f := g.flow()
	s := segment{from: f.client, to: g.h.Target, seq: f.isn + 1, ack: f.peer + 1, flags: ack | psh}
	if g.random.IntN(2) == 0 {
		s.from, s.to, s.seq, s.ack = s.to, s.from, s.ack, s.seq
	}
	for range 1 + g.random.IntN(8) {
		s.payload = append(s.payload, hostileTexts[g.random.IntN(len(hostileTexts))]...)
	}
	s.seq += uint32(g.random.IntN(200))
	return g.segment(&s)
}

// fragment is of a datagram that never becomes whole, or overlaps.
func (g *generator) fragment() []byte {
	size := 8 * (1 + g.random.IntN(100))
	more := uint16(0)
	if g.random.IntN(4) > 0 {
		more = 0x2000
	}
	b := ipv4(g.frame(unix.ETH_P_IP), g.address().Addr(), g.h.Target.Addr(), 6, uint16(g.random.IntN(64)), more|uint16(g.random.IntN(200)), size)
	n := len(b)
	b = append(b, make([]byte, size)...)
	g.bytes(b[n:])
	return b
}

// tags is a frame with more VLAN tags than anyone has.
func (g *generator) tags() []byte {
	b := g.frame(TagVLAN)
	for range g.random.IntN(40) {
		b = binary.BigEndian.AppendUint16(b, uint16(g.random.IntN(4096)))
		b = binary.BigEndian.AppendUint16(b, TagVLAN)
	}
	b = binary.BigEndian.AppendUint16(b, 7)
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IP)
	return tcp(b, &segment{from: g.address(), to: g.h.Target, seq: g.random.Uint32(), flags: syn})
}

// midstream is a request, or an answer, in a connection of which nothing else is seen.
func (g *generator) midstream() []byte {
	s := segment{from: g.address(), to: g.h.Target, seq: g.random.Uint32(), ack: g.random.Uint32(), flags: ack | psh}
	s.payload = fmt.Appendf(nil, "GET /hostile/%d HTTP/1.1\r\nHost: lab\r\n\r\n", g.random.Uint32())
	if g.random.IntN(2) == 0 {
		s.from, s.to = s.to, s.from
		s.payload = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", g.random.Uint32())
	}
	return g.segment(&s)
}

// flow returns one of the forged connections, a new one in the place of one that is over.
func (g *generator) flow() *forged {
	f := &g.flows[g.random.IntN(len(g.flows))]
	if f.step >= len(f.order)+3 || f.request == nil {
		request := fmt.Appendf(nil, "POST /hostile/%d HTTP/1.1\r\nHost: lab\r\nContent-Length: 100\r\n\r\n", g.random.Uint32())
		// One byte in eight never comes: what is behind it has to wait.
		order := g.random.Perm(len(request))
		*f = forged{client: g.address(), isn: g.random.Uint32(), peer: g.random.Uint32(), request: request, order: order[:len(order)*7/8]}
	}
	return f
}

// tiny is the next segment of a forged connection: its handshake, then single bytes in any order.
func (g *generator) tiny() []byte {
	f := g.flow()
	s := segment{from: f.client, to: g.h.Target, seq: f.isn, ack: f.peer + 1}
	switch i := f.step - 3; {
	case f.step == 0:
		s.flags, s.ack = syn, 0
	case f.step == 1:
		s = segment{from: g.h.Target, to: f.client, seq: f.peer, ack: f.isn + 1, flags: syn | ack}
	case f.step == 2:
		s.flags, s.seq = ack, f.isn+1
	default:
		at := f.order[i]
		s.flags, s.seq, s.payload = ack|psh, f.isn+1+uint32(at), f.request[at:at+1]
	}
	f.step++
	return g.segment(&s)
}

// reset is a reset of a forged connection, or of none.
func (g *generator) reset() []byte {
	s := segment{from: g.address(), to: g.h.Target, seq: g.random.Uint32(), ack: g.random.Uint32(), flags: rst | byte(g.random.IntN(2))*ack}
	if f := g.flow(); g.random.IntN(2) == 0 {
		s.from, s.seq = f.client, f.isn+1+uint32(f.step)
	}
	if g.random.IntN(2) == 0 {
		s.from, s.to = s.to, s.from
	}
	return g.segment(&s)
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
