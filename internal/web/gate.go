package web

import (
	"context"
	"sync"
	"time"
)

// gate lets so many requests through at once, and some more wait: a page asks several questions together, and
// each takes the memory that the store allows for one.
type gate struct {
	places chan struct{}

	mu sync.Mutex
	// pending are the requests of each client that run or wait. Clients without any aren't in it.
	pending map[string]int
}

func newGate(places int) *gate {
	return &gate{places: make(chan struct{}, places), pending: map[string]int{}}
}

// enter waits for a place, and returns what gives it back.
func (g *gate) enter(ctx context.Context, client string) (leave func(), err error) {
	if !g.join(client) {
		return nil, problems.tooMany.of("%d requests of %s run or wait; ask again when some are done", MaxPending, client)
	}
	defer func() {
		if err != nil {
			g.part(client)
		}
	}()
	timer := time.NewTimer(QueueTime)
	defer timer.Stop()
	select {
	case g.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return nil, problems.tooMany.of("other requests run for longer than %v; ask again later, or about less time", QueueTime)
	}
	return func() {
		<-g.places
		g.part(client)
	}, nil
}

func (g *gate) join(client string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pending[client] >= MaxPending {
		return false
	}
	g.pending[client]++
	return true
}

func (g *gate) part(client string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pending[client]--; g.pending[client] == 0 {
		delete(g.pending, client)
	}
}
