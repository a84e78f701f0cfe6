//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// When things happen in the story, from its beginning.
const (
	slowFrom, slowTo     = 75 * time.Second, 140 * time.Second // app-1's database says late what is in stock
	scanFrom             = 165 * time.Second                   // somebody looks for holes
	deployFrom, deployTo = 205 * time.Second, 232 * time.Second
	stuffingFrom         = 275 * time.Second // somebody tries passwords
	// lastVisitor is when nobody comes any more.
	lastVisitor = 335 * time.Second
)

// story runs what happens.
type story struct {
	began time.Time
	// pace is how long a second of the story takes, in seconds.
	pace float64
	seed uint64
	// files are what nginx serves itself, by path.
	files map[string][]byte

	network *network
	actors  sync.WaitGroup

	mu       sync.Mutex
	troubles map[string]int
}

// until waits until it is that late in the story. It reports whether it is, rather than the end of everything.
func (s *story) until(ctx context.Context, at time.Duration) bool {
	return pause(ctx, time.Until(s.began.Add(time.Duration(float64(at)*s.pace))))
}

// now is how late it is in the story.
func (s *story) now() time.Duration { return time.Duration(float64(time.Since(s.began)) / s.pace) }

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// act has somebody act, with chance of their own, which follows from that of who has them act.
func (s *story) act(parent *rand.Rand, f func(r *rand.Rand)) {
	r := rand.New(rand.NewPCG(parent.Uint64(), parent.Uint64()))
	s.actors.Add(1)
	go func() {
		defer s.actors.Done()
		f(r)
	}()
}

// trouble is what clients couldn't do, by what it was: how often.
func (s *story) trouble() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.troubles
}

func (s *story) failed(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.troubles == nil {
		s.troubles = map[string]int{}
	}
	s.troubles[what]++
}

// often calls f again and again, at random times that are every apart on average, until the last visitor has come. It
// doesn't wait for what f starts.
func (s *story) often(ctx context.Context, r *rand.Rand, from, every time.Duration, f func(i int)) {
	at := from
	for i := 0; ; i++ {
		// At least a third, so that there are no clusters.
		at += time.Duration(float64(every) * (0.33 + 0.67*math.Min(r.ExpFloat64(), 5)))
		if at > lastVisitor || !s.until(ctx, at) {
			return
		}
		f(i)
	}
}

// run tells the whole story, and waits until everybody has gone.
func (s *story) run(ctx context.Context, apps []*app) error {
	r := rand.New(rand.NewPCG(s.seed, 0))
	var events error
	s.act(r, func(*rand.Rand) { events = s.fortune(ctx, apps) })
	s.act(r, func(r *rand.Rand) { s.visitors(ctx, r) })
	s.act(r, func(r *rand.Rand) { s.phones(ctx, r) })
	s.act(r, func(r *rand.Rand) { s.partners(ctx, r) })
	s.act(r, func(r *rand.Rand) { s.office(ctx, r) })
	s.act(r, func(r *rand.Rand) { s.crawlers(ctx, r) })
	s.act(r, func(r *rand.Rand) { s.scanners(ctx, r) })
	s.act(r, func(r *rand.Rand) { s.stuffing(ctx, r) })
	s.actors.Wait()
	if ctx.Err() != nil {
		return errors.New("interrupted: nothing was written")
	}
	return events
}

// fortune is what happens to the app servers.
func (s *story) fortune(ctx context.Context, apps []*app) error {
	if !s.until(ctx, slowFrom) {
		return nil
	}
	apps[0].slow.Store(true)
	if !s.until(ctx, slowTo) {
		return nil
	}
	apps[0].slow.Store(false)
	if !s.until(ctx, deployFrom) {
		return nil
	}
	apps[1].stop()
	if !s.until(ctx, deployTo) {
		return nil
	}
	apps[1].version.Store("2.5.0")
	apps[1].broken.Store(true)
	if err := apps[1].serve(); err != nil {
		return fmt.Errorf("after the deployment: %w", err)
	}
	return nil
}

// address returns somebody's address in a region; some have IPv6.
func (s *story) address(r *rand.Rand, region string) netip.Addr {
	g := s.network.regions[region]
	if r.Float64() < 0.15 {
		return g.v6[r.IntN(len(g.v6))]
	}
	return nth(g.v4, 1+r.IntN(1<<(32-g.v4.Bits())-2))
}

// nth returns an address of an IPv4 network.
func nth(p netip.Prefix, n int) netip.Addr {
	a := p.Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// choose returns one of several, by their weights.
func choose[T any](r *rand.Rand, all []weighted[T]) T {
	sum := 0
	for _, w := range all {
		sum += w.weight
	}
	k := r.IntN(sum)
	for _, w := range all {
		if k -= w.weight; k < 0 {
			return w.what
		}
	}
	return all[0].what
}

type weighted[T any] struct {
	weight int
	what   T
}
