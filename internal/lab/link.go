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
	// Delay, Jitter, Loss and Rate are the Conditions of both directions at the beginning. There and Back, where they aren't nil, are
	// those from A to B and from B to A instead. RunningLink.Set changes them.
	Delay, Jitter time.Duration
	Loss          float64
	Rate          int64
	There, Back   *Conditions
	// Tags are put into the frames from A to B, outermost first, and taken from those from B to A; frames from B
	// without them don't come through.
	Tags []Tag
	// Seed makes loss and jitter the same again for the same frames.
	Seed uint64
	// Overdue, if not nil, is told of frames that are sent more than Slack after they were due, since the machine did something else. It
	// may be called from several goroutines at once, and must not wait.
	Slack   time.Duration
	Overdue func(due, sent time.Time)
}

// Conditions are what one direction of a link does to frames. The zero value lets all through at once.
type Conditions struct {
	// Delay is how long a frame takes, one way; Jitter is up to how much longer, at random. Frames keep
	// their order.
	Delay, Jitter time.Duration
	// Loss is the share of frames that get lost, from 0 to 1. Lose, if not nil, says of each frame whether it gets lost; it is called
	// from one goroutine a direction, borrows the frame, and must not wait.
	Loss float64
	Lose func(frame []byte) bool
	// Late is the share of frames that take LateBy longer and are overtaken by those behind them.
	Late   float64
	LateBy time.Duration
	// Rate is in bytes a second; 0 is as fast as it goes. Queue is how many bytes wait for the wire at most; more are lost. 0: as many as
	// the link holds back.
	Rate  int64
	Queue int
	// MTU is the longest IP packet that comes through, in bytes; 0: any. Nobody is told of those that don't.
	MTU int
}

func (c *Conditions) check() error {
	if c.Loss < 0 || c.Loss > 1 || c.Late < 0 || c.Late > 1 || c.Delay < 0 || c.Jitter < 0 || c.LateBy < 0 || c.Rate < 0 || c.Queue < 0 || c.MTU < 0 {
		return fmt.Errorf("a link with %+v: none can be less than 0, nor a share more than 1", *c)
	}
	return nil
}

// Traffic counts the frames of one direction of a link. Every frame received is counted in one of these when the
// link has ended.
type Traffic struct {
	// Delivered were sent on. Lost were to be lost; Overflowed found the queue full; TooLong were longer than the MTU; Untagged lacked
	// the tags; Refused were too long for the interface, or it was down; Left were under way when the link ended.
	Delivered, Lost, Overflowed, TooLong, Untagged, Refused, Left uint64
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
	both := Conditions{Delay: k.Delay, Jitter: k.Jitter, Loss: k.Loss, Rate: k.Rate}
	conditions := [2]*Conditions{&both, &both}
	for i, c := range []*Conditions{k.There, k.Back} {
		if c != nil {
			conditions[i] = c
		}
		if err := conditions[i].check(); err != nil {
			return nil, err
		}
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
			closing: make(chan struct{}), random: rand.New(rand.NewPCG(k.Seed, uint64(i))),
		}
		d.conditions.Store(conditions[i])
		r.directions[i] = d
		for lane := range d.lanes {
			queue := make(chan held, linkQueue)
			d.lanes[lane].queue = queue
			r.running.Add(1)
			go func() { defer r.running.Done(); d.deliver(queue) }()
		}
		r.running.Add(1)
		go func() { defer r.running.Done(); d.receive() }()
	}
	k.A.Namespace.lab.Finally(func() error { r.Close(); return nil })
	return r, nil
}

// Set changes what the link does, from A to B and from B to A, to frames that it receives from now on. Those under way keep their
// order.
func (r *RunningLink) Set(there, back Conditions) error {
	for i, c := range []*Conditions{&there, &back} {
		if err := c.check(); err != nil {
			return err
		}
		r.directions[i].conditions.Store(c)
	}
	return nil
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
	// conditions are replaced as a whole.
	conditions atomic.Pointer[Conditions]
	// lanes are the usual one, and that of frames that are overtaken.
	lanes   [2]lane
	closing chan struct{}
	random  *rand.Rand

	delivered, lost, overflowed, tooLong, untagged, refused, left atomic.Uint64
}

// lane is a queue of frames that keep their order. last is when the last one is due.
type lane struct {
	queue chan held
	last  time.Time
}

// held is a frame under way.
type held struct {
	frame []byte
	due   time.Time
}

func (d *direction) traffic() Traffic {
	return Traffic{
		Delivered: d.delivered.Load(), Lost: d.lost.Load(), Overflowed: d.overflowed.Load(), TooLong: d.tooLong.Load(),
		Untagged: d.untagged.Load(), Refused: d.refused.Load(), Left: d.left.Load(),
	}
}

// receive reads frames and says when they are due, until the socket is closed.
func (d *direction) receive() {
	defer func() {
		for _, l := range d.lanes {
			close(l.queue)
		}
	}()
	buf := make([]byte, longestFrame)
	var free time.Time // when the wire is free again
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
		c := d.conditions.Load()
		if c.Loss > 0 && d.random.Float64() < c.Loss || c.Lose != nil && c.Lose(frame) {
			d.lost.Add(1)
			continue
		}
		if tags := len(frame) - len(b); c.MTU > 0 && len(frame)-max(tags, 0) > etherLen+c.MTU {
			d.tooLong.Add(1)
			continue
		}
		due := time.Now()
		if c.Rate > 0 {
			if due.Before(free) {
				if c.Queue > 0 && free.Sub(due).Seconds()*float64(c.Rate) > float64(c.Queue) {
					d.overflowed.Add(1)
					continue
				}
				due = free
			}
			due = due.Add(time.Duration(float64(len(frame)) / float64(c.Rate) * float64(time.Second)))
			free = due
		}
		due = due.Add(c.Delay)
		if c.Jitter > 0 {
			due = due.Add(time.Duration(d.random.Int64N(int64(c.Jitter) + 1)))
		}
		l := &d.lanes[0]
		if c.Late > 0 && d.random.Float64() < c.Late {
			l, due = &d.lanes[1], due.Add(c.LateBy)
		}
		if due.Before(l.last) {
			due = l.last
		}
		l.last = due
		select {
		case l.queue <- held{frame, due}:
		default:
			d.overflowed.Add(1)
		}
	}
}

// deliver sends the frames of a lane when they are due.
func (d *direction) deliver(queue <-chan held) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for h := range queue {
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
		if sent := time.Now(); d.link.Overdue != nil && sent.Sub(h.due) > d.link.Slack {
			d.link.Overdue(h.due, sent)
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
