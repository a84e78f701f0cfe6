// Package afpacket captures from network interfaces of Linux: packet sockets with a TPACKET_V3 ring that the
// kernel and this process share, whose packets are read where the kernel has put them.
//
// Opening a socket needs CAP_NET_RAW; reading its ring needs nothing. So the two are apart: Open makes a Socket,
// which may be passed to another process, and New reads the packets of several.
package afpacket

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/capture/pcapfilter"
)

// Any is the name that stands for all interfaces.
const Any = "any"

// The link types of the records: Ethernet, raw IP, and Linux cooked v2 for Any and for interfaces that are neither.
const (
	LinkEthernet capture.LinkType = 1
	LinkRaw      capture.LinkType = 101
	LinkCooked   capture.LinkType = 276
)

// NewGroup asks for a group of its own; see Spec.Fanout.
const NewGroup = -1

// The bounds of a ring.
const (
	// MinBlock holds the largest packet that segmentation offload makes of IPv4, with its headers.
	MinBlock  = 128 << 10
	MaxRing   = 1 << 30
	MaxRetire = time.Second
)

// Spec says what to capture, and how.
type Spec struct {
	// Interface is the interface's name, or Any. It is that of the network namespace in which the calling thread
	// is.
	Interface string
	// Filter is the capture filter, nil for none.
	Filter *pcapfilter.Filter
	// SnapLen is the most that is captured of a packet, in bytes; 0 for all.
	SnapLen int
	// Ring is the size of the ring, and Block that of one of its blocks, in bytes: a multiple of the page size. A
	// block is delivered when it is full, or Retire after its first packet.
	Ring, Block int
	Retire      time.Duration
	// Promiscuous asks the interface for packets to others, too. Any can't be asked.
	Promiscuous bool
	// Hardware asks for the times of the network card, where it gives them.
	Hardware bool
	// Fanout makes the socket one of a group that shares the packets of the interface among them by flow: the
	// group of that number, or a new one (Linux 4.12) if it is NewGroup; 0 for none.
	Fanout int
}

// Validate returns an error for sizes that no ring can have.
func (s *Spec) Validate() error {
	page := os.Getpagesize()
	switch {
	case s.Block < MinBlock || s.Block%page != 0:
		return fmt.Errorf("a block of %d bytes: it must have at least %d, in multiples of %d", s.Block, MinBlock, page)
	case s.Ring < 2*s.Block || s.Ring > MaxRing || s.Ring%s.Block != 0:
		return fmt.Errorf("a ring of %d bytes: it must have at least 2 blocks of %d bytes each, and at most %d bytes", s.Ring, s.Block, MaxRing)
	case s.Retire < time.Millisecond || s.Retire > MaxRetire:
		return fmt.Errorf("a retire timeout of %v: from 1ms to %v", s.Retire, MaxRetire)
	case s.Interface == Any && s.Promiscuous:
		return fmt.Errorf("%q can't be promiscuous: name the interfaces", Any)
	case s.SnapLen < 0:
		return fmt.Errorf("a snap length of %d", s.SnapLen)
	}
	return nil
}

// Facts are what is known of an open socket, plain data that can go with it to another process.
type Facts struct {
	// Index is the index of the interface, 0 for Any.
	Index int
	Link  capture.LinkType
	// Cooked: the ring holds no link layer; a cooked header is put before each packet.
	Cooked bool
	// Filtered: the kernel applies the capture filter. If not, Unfiltered says why, and the Source has to.
	Filtered   bool
	Unfiltered string
	// Down: the interface was down when the socket was opened.
	Down bool
	// Group is the number of the socket's group, if it is in one.
	Group int
	// Ring and Block are the sizes that the ring has.
	Ring, Block int
}

// Socket is an open packet socket with its ring.
type Socket struct {
	Facts
	// Packets is the packet socket. Routes is a netlink socket of the same network namespace, for the
	// counters of the interfaces; it may be nil.
	Packets, Routes *os.File
}

// Close closes the sockets.
func (s *Socket) Close() {
	for _, f := range [...]*os.File{s.Packets, s.Routes} {
		if f != nil {
			f.Close()
		}
	}
}

// Tap is one interface of a Source: a socket, or several that share its packets.
type Tap struct {
	// Name is the interface's name; Observer and SnapLen are as in capture.Tap.
	Name, Observer string
	SnapLen        int
	// Expression is the capture filter, and Filter what it means, nil for none. It is applied to the packets of
	// sockets for which the kernel doesn't.
	Expression string
	Filter     *pcapfilter.Filter
	Sockets    []*Socket
	// Reopen opens the nth of the tap's sockets anew, after its interface has vanished; nil: it can't be.
	Reopen func(nth int) (*Socket, error)
}

// Options say how a Source behaves.
type Options struct {
	// Stop ends the capture when it is closed: what the kernel has captured until then is still delivered.
	Stop <-chan struct{}
	// Notify, if not nil, is told when an interface goes or comes back, in the goroutine that calls Next.
	Notify func(text string)
	// Retire is the retire timeout of the rings.
	Retire time.Duration
	// Packets counts the packets of several sources, so that each has a number of its own; nil: this one counts its
	// own.
	Packets *atomic.Uint64
}
