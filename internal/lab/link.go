//go:build linux

package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// linkQueue is how many frames a direction of a link holds back at most. More are lost, and counted.
const linkQueue = 16 << 10

// longestFrame is the longest that a link carries, in bytes: what a virtual interface may merge.
const longestFrame = 64<<10 + 256

// Link is a cable in user space between two interfaces: what one receives, the other sends. The hosts are at
// the other ends of the two interfaces' virtual Ethernet pairs.
//
//	host a ---veth--- A ==link== B ---veth--- host b
//
// Frames are read as they are and sent as they are: Offload must be off at the hosts, or checksums are wrong
// and frames too long. Where Tags make frames longer, the MTU of the interface B must have room for them.
type Link struct {
	// A and B are the interfaces that the link joins. They have no addresses.
	A, B End
	// Delay is how long a frame takes, one way; Jitter is up to how much longer, at random. Frames keep
	// their order.
	Delay, Jitter time.Duration
	// Loss is the share of frames that get lost, from 0 to 1.
	Loss float64
	// Rate is in bytes a second; 0 is as fast as it goes.
	Rate int64
	// Tags are put into the frames from A to B, outermost first, and taken from those from B to A; frames from B
	// without them don't come through.
	Tags []Tag
	// Seed makes loss and jitter the same again for the same frames.
	Seed uint64
}

// Traffic counts the frames of one direction of a link. Every frame received is counted in one of these when the
// link has ended.
type Traffic struct {
	// Delivered were sent on. Lost were to be lost; Overflowed found the queue full; Untagged lacked the tags;
	// Refused were too long for the interface, or it was down; Left were under way when the link ended.
	Delivered, Lost, Overflowed, Untagged, Refused, Left uint64
}

// RunningLink is a link that works until Close.
type RunningLink struct {
	directions [2]*direction
	sockets    [2]*packetSocket
	running    sync.WaitGroup
	once       sync.Once
}

// Run begins to carry frames. The laboratory's Close ends it, if nothing else does.
func (k Link) Run() (*RunningLink, error) {
	if k.Loss < 0 || k.Loss > 1 || k.Delay < 0 || k.Jitter < 0 || k.Rate < 0 {
		return nil, fmt.Errorf("a link with loss %v, delay %v, jitter %v, rate %v: none can be less than 0, nor loss more than 1", k.Loss, k.Delay, k.Jitter, k.Rate)
	}
	r := &RunningLink{}
	for i, e := range []End{k.A, k.B} {
		var err error
		if r.sockets[i], err = e.Namespace.openPacket(e.Interface, true); err != nil {
			if i == 1 {
				r.sockets[0].close()
			}
			return nil, err
		}
	}
	for i := range r.directions {
		d := &direction{
			link: &k, back: i == 1, from: r.sockets[i], to: r.sockets[1-i],
			queue: make(chan held, linkQueue), closing: make(chan struct{}),
			random: rand.New(rand.NewPCG(k.Seed, uint64(i))),
		}
		r.directions[i] = d
		r.running.Add(2)
		go func() { defer r.running.Done(); d.receive() }()
		go func() { defer r.running.Done(); d.deliver() }()
	}
	k.A.Namespace.lab.Finally(func() error { r.Close(); return nil })
	return r, nil
}

// Close ends the link. It returns what went from A to B, and from B to A.
func (r *RunningLink) Close() (there, back Traffic) {
	r.once.Do(func() {
		for i, d := range r.directions {
			close(d.closing)
			r.sockets[i].close() // ends receive, and that ends deliver
		}
		r.running.Wait()
	})
	return r.Traffic()
}

// Traffic returns what went from A to B, and from B to A, up to now.
func (r *RunningLink) Traffic() (there, back Traffic) {
	return r.directions[0].traffic(), r.directions[1].traffic()
}

// direction is one direction of a link.
type direction struct {
	link     *Link
	back     bool
	from, to *packetSocket
	queue    chan held
	closing  chan struct{}
	random   *rand.Rand

	delivered, lost, overflowed, untagged, refused, left atomic.Uint64
}

// held is a frame under way.
type held struct {
	frame []byte
	due   time.Time
}

func (d *direction) traffic() Traffic {
	return Traffic{
		Delivered: d.delivered.Load(), Lost: d.lost.Load(), Overflowed: d.overflowed.Load(), Untagged: d.untagged.Load(),
		Refused: d.refused.Load(), Left: d.left.Load(),
	}
}

// receive reads frames and says when they are due, until the socket is closed.
func (d *direction) receive() {
	defer close(d.queue)
	buf := make([]byte, longestFrame)
	var last, free time.Time // when the last frame is due, and when the wire is free again
	for {
		b, err := d.from.receive(buf)
		if errors.Is(err, unix.ENETDOWN) {
			continue // said once each time; the next call waits
		}
		if err != nil {
			return // closed, or the interface is gone
		}
		frame := make([]byte, 0, len(b)+len(d.link.Tags)*vlanLen)
		if !d.back {
			frame = push(frame, b, d.link.Tags)
		} else if f, ok := pop(frame, b, d.link.Tags); ok {
			frame = f
		} else {
			d.untagged.Add(1)
			continue
		}
		if d.link.Loss > 0 && d.random.Float64() < d.link.Loss {
			d.lost.Add(1)
			continue
		}
		due := time.Now()
		if d.link.Rate > 0 {
			if due.Before(free) {
				due = free
			}
			due = due.Add(time.Duration(float64(len(frame)) / float64(d.link.Rate) * float64(time.Second)))
			free = due
		}
		due = due.Add(d.link.Delay)
		if d.link.Jitter > 0 {
			due = due.Add(time.Duration(d.random.Int64N(int64(d.link.Jitter) + 1)))
		}
		if due.Before(last) {
			due = last
		}
		last = due
		select {
		case d.queue <- held{frame, due}:
		default:
			d.overflowed.Add(1)
		}
	}
}

// deliver sends the frames when they are due.
func (d *direction) deliver() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for h := range d.queue {
		if wait := time.Until(h.due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-d.closing:
			}
		}
		select {
		case <-d.closing:
			d.left.Add(1)
			continue
		default:
		}
		switch err := d.to.send(h.frame); {
		case err == nil:
			d.delivered.Add(1)
		case errors.Is(err, os.ErrClosed):
			d.left.Add(1)
		default:
			d.refused.Add(1)
		}
	}
}
