//go:build linux

package tlspeers

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// DefaultSegment is the longest payload of a segment on an Ethernet, in bytes.
const DefaultSegment = 1448

// Wire is a TCP relay that records what passes through it as packets of a connection between its client and itself:
// handshakes, segments in the order of their arrival, acknowledgements, ends and resets. Nothing is lost or reordered.
type Wire struct {
	listener *net.TCPListener
	server   string
	length   int
	under    sync.WaitGroup

	mu    sync.Mutex
	file  []byte
	last  int64
	conns map[net.Conn]bool
	err   error
}

// NewWire returns a Wire to a server, which need not listen yet. Segments carry at most length bytes.
func NewWire(server string, length int) (*Wire, error) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	w := &Wire{listener: l, server: server, length: length, file: pcapHeader(), conns: map[net.Conn]bool{}}
	w.under.Go(w.accept)
	return w, nil
}

// Address is where clients find the wire.
func (w *Wire) Address() string { return w.listener.Addr().String() }

// Stop ends the recording, and returns it as a pcap file. It waits for connections that are ending; those that still are
// open after Patience are cut, which is an error.
func (w *Wire) Stop() (pcap []byte, err error) {
	w.listener.Close()
	ended := make(chan struct{})
	go func() { w.under.Wait(); close(ended) }()
	late := time.NewTimer(Patience)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		w.mu.Lock()
		w.err = errors.Join(w.err, fmt.Errorf("%d ends of connections are open after %v", len(w.conns), Patience))
		for c := range w.conns {
			c.Close()
		}
		w.mu.Unlock()
		<-ended
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.file, w.err
}

func (w *Wire) accept() {
	for {
		c, err := w.listener.AcceptTCP()
		if err != nil {
			return // stopped
		}
		w.under.Go(func() { w.relay(c) })
	}
}

// half is one direction of a connection.
type half struct {
	from, to         *net.TCPConn
	sender, receiver netip.AddrPort
	next             uint32 // sequence number
	back             *half
	over             bool
}

func (w *Wire) relay(client *net.TCPConn) {
	up := &half{from: client, sender: addrPort(client.RemoteAddr()), receiver: addrPort(client.LocalAddr()), next: 1000}
	w.put(up, flagSYN, nil)
	server, err := dial(w.server)
	if err != nil {
		w.mu.Lock()
		w.err = errors.Join(w.err, err)
		w.mu.Unlock()
		client.Close()
		return
	}
	down := &half{from: server, to: client, sender: up.receiver, receiver: up.sender, next: 5000, back: up}
	up.to, up.back = server, down
	w.put(down, flagSYN|flagACK, nil)
	w.put(up, flagACK, nil)

	w.mu.Lock()
	w.conns[client], w.conns[server] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { w.copy(up) })
	both.Go(func() { w.copy(down) })
	both.Wait()
	w.mu.Lock()
	delete(w.conns, client)
	delete(w.conns, server)
	w.mu.Unlock()
	client.Close()
	server.Close()
}

func addrPort(a net.Addr) netip.AddrPort {
	p := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// Await waits until a server takes connections.
func Await(server string) error {
	c, err := dial(server)
	if err != nil {
		return err
	}
	return c.Close()
}

// dial connects to a server that may be starting.
func dial(server string) (*net.TCPConn, error) {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for late := time.After(Patience); ; {
		c, err := net.Dial("tcp", server)
		if err == nil {
			return c.(*net.TCPConn), nil
		}
		select {
		case <-poll.C:
		case <-late:
			return nil, err
		}
	}
}

// copy relays one direction until its end.
func (w *Wire) copy(h *half) {
	buf := make([]byte, 64<<10)
	for {
		n, err := h.from.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			part := b[:min(len(b), w.length)]
			b = b[len(part):]
			w.put(h, flagPSH|flagACK, part)
			w.put(h.back, flagACK, nil)
		}
		if n > 0 {
			if _, err := h.to.Write(buf[:n]); err != nil {
				// The receiver has gone: the other direction sees how. What else the sender says, nobody hears.
				_, _ = io.Copy(io.Discard, h.from)
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, syscall.ECONNRESET):
			w.put(h, flagRST|flagACK, nil)
			_ = h.to.SetLinger(0) // so that it is reset too
			h.to.Close()
			return
		default:
			w.put(h, flagFIN|flagACK, nil)
			w.put(h.back, flagACK, nil)
			_ = h.to.CloseWrite()
			return
		}
	}
}

// put records one segment. Nothing follows a reset.
func (w *Wire) put(h *half, flags uint8, payload []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.over || h.back != nil && h.back.over {
		return
	}
	ack := uint32(0)
	if flags&flagACK != 0 {
		ack = h.back.next
	}
	w.last = max(w.last+1, time.Now().UnixNano())
	w.file = appendRecord(w.file, w.last, segment(h.sender, h.receiver, h.next, ack, flags, payload))
	h.next += uint32(len(payload))
	if flags&(flagSYN|flagFIN) != 0 {
		h.next++
	}
	h.over = flags&flagRST != 0
}
