package afpacket

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/capture"
)

const (
	// idleAfter is the longest that Next waits for a packet before it says that there is none.
	idleAfter = 100 * time.Millisecond
	// tendEvery is how many packets are delivered without a pause before the source looks after its sockets: the
	// kernel's counts have 32 bits.
	tendEvery = 1 << 16
	// maxRejections is how many packets in a row the capture filter may reject here before the source says that there
	// is nothing.
	maxRejections = 1 << 12
	// lossEvery is how often the interfaces are asked for their counters.
	lossEvery = time.Second
	// drainFor is the longest that the end of a capture waits for what the kernel still has. Each block comes
	// after the retire timeout at the latest.
	drainFor = time.Second
	// reopenEvery is how often an interface that has vanished is looked for.
	reopenEvery = 250 * time.Millisecond
	// holderPause is the wait for whoever still holds a block while the kernel has nothing new: poll(2) would
	// return at once.
	holderPause = time.Millisecond
)

// source delivers the packets of several rings.
//
//	reading  -- Stop is closed: the filters reject all -->  draining  -- nothing left -->  ended
type source struct {
	options Options
	taps    []capture.Tap
	configs []Tap
	rings   []*ring
	polled  []unix.PollFd // by ring, and then the wake-up

	stopped  atomic.Bool
	wake     *os.File // an event counter that ends a wait
	closed   chan struct{}
	draining bool
	drainEnd time.Time

	number uint64    // of packets delivered
	tendAt uint64    // when number has come there, the sockets are looked after
	passed int64     // the time up to which all has been delivered, when ErrIdle is returned
	idle   bool      // ErrIdle was returned since the last packet
	asked  time.Time // when the interfaces were asked for their counters last
	looked time.Time // when vanished interfaces were looked for last
	losses []losses  // by tap
	notes  []string
}

// New returns a source of the packets that the taps' sockets capture from now on. It owns the sockets, even when
// it fails.
func New(taps []Tap, o Options) (capture.Live, error) {
	s := &source{options: o, configs: taps, closed: make(chan struct{})}
	for i, t := range taps {
		s.taps = append(s.taps, capture.Tap{
			Name: t.Name, File: t.Name, Observer: t.Observer, Filter: t.Expression, SnapLen: t.SnapLen,
		})
		s.losses = append(s.losses, losses{})
		for n, socket := range t.Sockets {
			g, err := newRing(socket, uint32(i), t.Filter)
			if err != nil {
				for _, rest := range t.Sockets[n:] {
					rest.Close()
				}
				for _, rest := range taps[i+1:] {
					for _, socket := range rest.Sockets {
						socket.Close()
					}
				}
				s.Close()
				return nil, err
			}
			s.rings = append(s.rings, g)
			s.polled = append(s.polled, unix.PollFd{Fd: int32(g.fd), Events: unix.POLLIN})
		}
		s.losses[i].since(t.Sockets)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	s.wake = os.NewFile(uintptr(wake), "eventfd")
	s.polled = append(s.polled, unix.PollFd{Fd: int32(wake), Events: unix.POLLIN})
	if o.Stop != nil {
		go s.watch()
	}
	return s, nil
}

// watch ends a wait when the capture is to be stopped.
func (s *source) watch() {
	select {
	case <-s.options.Stop:
		s.stopped.Store(true)
		s.wake.Write([]byte{1, 0, 0, 0, 0, 0, 0, 1}) // not 0 in either byte order
	case <-s.closed:
	}
}

func (s *source) Next(r *capture.Record) error {
	rejections := 0
	for {
		// Here and nowhere else, what was delivered before isn't needed any more.
		if s.number >= s.tendAt {
			s.tendAt = s.number + tendEvery
			s.count()
			s.reopen()
		}
		if g := s.first(); g != nil {
			switch g.take(r) {
			case rejected:
				if rejections++; rejections == maxRejections {
					// Time goes on, although nothing comes that is wanted.
					s.tendAt, s.passed = s.number, g.last
					return capture.ErrIdle
				}
				continue
			case broken:
				s.warn("%s: a block of the ring contradicts itself; its packets are lost", s.taps[g.tap].Name)
				continue
			}
			t := &s.taps[g.tap]
			t.Received++
			t.Bytes += uint64(len(r.Data))
			s.number++
			r.Number = s.number
			if s.options.Packets != nil {
				r.Number = s.options.Packets.Add(1)
			}
			s.idle = false
			if g.down {
				g.down = false
				s.notify("%s is up again", t.Name)
			}
			return nil
		}
		if s.stopped.Load() && !s.draining {
			s.stop()
			continue
		}
		if s.draining && s.drained() {
			return io.EOF
		}
		if !s.idle && !s.draining {
			s.idle = true
			s.passed = s.complete()
			return capture.ErrIdle
		}
		if !s.wait() && !s.draining {
			s.passed = s.complete()
			return capture.ErrIdle
		}
	}
}

// first returns the ring whose next packet is the earliest of those that are there, or nil.
func (s *source) first() *ring {
	if len(s.rings) == 1 {
		if g := s.rings[0]; g.left > 0 || !s.interrupted() && g.ready() {
			return g
		}
		return nil
	}
	var best *ring
	var earliest int64
	for _, g := range s.rings {
		if g.left == 0 && (s.interrupted() || !g.ready()) {
			continue
		}
		if t := g.time(); best == nil || t < earliest {
			best, earliest = g, t
		}
	}
	return best
}

// interrupted reports whether the capture is to be stopped and the filters don't know yet.
func (s *source) interrupted() bool { return s.stopped.Load() && !s.draining }

// stop makes the filters reject what comes from now on.
func (s *source) stop() {
	s.draining = true
	s.drainEnd = time.Now().Add(drainFor)
	for _, g := range s.rings {
		if err := setFilter(g.fd, passing(0)); err != nil && !g.lost {
			s.warn("%s: the capture couldn't be stopped cleanly: %v", s.taps[g.tap].Name, err)
		}
	}
}

// drained reports whether all that passed the filters has been delivered. It is asked when no block is there.
func (s *source) drained() bool {
	for _, g := range s.rings {
		s.tally(g)
	}
	left := uint64(0)
	for _, g := range s.rings {
		if waiting := g.seen - g.dropped; waiting > g.taken && !g.lost {
			left += waiting - g.taken
		}
	}
	if left > 0 && time.Now().Before(s.drainEnd) {
		return false
	}
	if left > 0 {
		s.warn("the kernel kept %d packets back at the end of the capture", left)
	}
	s.count()
	return true
}

// wait waits until a packet may be there, and reports whether one may. It also looks after interfaces that have
// vanished.
func (s *source) wait() bool {
	s.reopen()
	timeout := idleAfter
	if s.draining {
		timeout = s.options.Retire
	}
	n, err := unix.Poll(s.polled, int(timeout.Milliseconds()))
	if err != nil || n == 0 {
		s.count()
		return false
	}
	for i, g := range s.rings {
		if s.polled[i].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
			s.failed(g)
		}
	}
	if s.polled[len(s.rings)].Revents != 0 {
		unix.Read(int(s.polled[len(s.rings)].Fd), make([]byte, 8))
		return true
	}
	if slices.ContainsFunc(s.rings, (*ring).ready) {
		return true
	}
	// The kernel says that there is something as long as the last block that it filled isn't back.
	unix.Poll(s.polled[len(s.rings):], int(holderPause.Milliseconds()))
	return false
}

// failed looks into an error of a socket: its interface went down, or is gone.
func (s *source) failed(g *ring) {
	unix.GetsockoptInt(g.fd, unix.SOL_SOCKET, unix.SO_ERROR) // which clears it
	switch {
	case g.lost || g.socket.Index == 0:
	case g.vanished():
		s.lose(g)
	default:
		g.down = true
		s.notify("%s went down; capturing goes on when it is up again", s.taps[g.tap].Name)
	}
}

// lose gives up a ring whose interface is gone.
func (s *source) lose(g *ring) {
	g.lost = true
	s.polled[slices.Index(s.rings, g)].Fd = -1 // poll(2) leaves it out
	s.notify("%s is gone; capturing goes on when it comes back", s.taps[g.tap].Name)
}

// vanished reports whether the interface of the socket is gone: the kernel unbinds the socket then.
func (g *ring) vanished() bool {
	address, err := unix.Getsockname(g.fd)
	link, ok := address.(*unix.SockaddrLinklayer)
	return err != nil || !ok || link.Ifindex <= 0
}

// reopen opens the sockets of vanished interfaces anew, when these are back.
func (s *source) reopen() {
	now := time.Now()
	if s.draining || now.Sub(s.looked) < reopenEvery {
		return
	}
	s.looked = now
	nth := map[uint32]int{}
	for i, g := range s.rings {
		n := nth[g.tap]
		nth[g.tap]++
		config := &s.configs[g.tap]
		// An interface goes down before it goes: what the ring still held passes for its coming up again.
		if !g.lost && g.socket.Index != 0 && g.vanished() {
			s.lose(g)
		}
		if !g.lost || config.Reopen == nil || g.left > 0 || g.ready() {
			continue
		}
		socket, err := config.Reopen(n)
		if err != nil {
			continue // not yet
		}
		s.tally(g)
		fresh, err := newRing(socket, g.tap, config.Filter)
		if err != nil {
			socket.Close()
			s.warn("%s: %v", config.Name, err)
			continue
		}
		g.close()
		s.rings[i] = fresh
		s.polled[i].Fd = int32(fresh.fd)
		config.Sockets[n] = socket
		s.losses[g.tap] = losses{}
		s.losses[g.tap].since(config.Sockets)
		s.notify("%s is back", config.Name)
	}
}

// count adds up what the kernel and the interfaces dropped.
func (s *source) count() {
	for _, g := range s.rings {
		s.tally(g)
	}
	if now := time.Now(); s.draining || now.Sub(s.asked) >= lossEvery {
		s.asked = now
		for i := range s.taps {
			s.taps[i].IfDropped += s.losses[i].since(s.configs[i].Sockets)
		}
	}
}

// tally adds what a ring dropped.
func (s *source) tally(g *ring) {
	dropped, freezes := g.count()
	t := &s.taps[g.tap]
	t.Dropped += dropped
	t.Freezes += freezes
}

func (s *source) notify(format string, args ...any) {
	if s.options.Notify != nil {
		s.options.Notify(fmt.Sprintf(format, args...))
	}
}

func (s *source) warn(format string, args ...any) {
	if w := fmt.Sprintf(format, args...); !slices.Contains(s.notes, w) {
		s.notes = append(s.notes, w)
	}
}

// Now implements capture.Live.
func (s *source) Now() int64 { return s.passed }

// complete returns the time up to which all has been delivered, when no block is there: what came less than a retire
// timeout ago may still be in one that is being filled.
func (s *source) complete() int64 { return time.Now().Add(-2 * s.options.Retire).UnixNano() }

func (s *source) Taps() []capture.Tap {
	if !s.draining {
		s.count()
	}
	return s.taps
}

func (s *source) Warnings() []string { return s.notes }

func (s *source) Close() error {
	for _, g := range s.rings {
		g.close()
	}
	s.rings = nil
	select {
	case <-s.closed:
		return nil
	default:
	}
	close(s.closed)
	if s.wake != nil {
		s.wake.Close()
	}
	return nil
}
