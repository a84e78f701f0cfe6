package enrich

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/packet"
)

const (
	// MaxLookups is how many addresses wait for their reverse look-up. What comes when they are so many is
	// asked for with a later exchange.
	MaxLookups = 1024

	// lookups is how many are under way at a time, lookupTime how long one may take.
	lookups    = 4
	lookupTime = 5 * time.Second
	// How long an answer holds, that there is none, and that nobody answers.
	reverseFor = time.Hour
	nothingFor = 15 * time.Minute
	failureFor = time.Minute
)

// Resolver makes reverse look-ups, as *net.Resolver does. It is called from several goroutines.
type Resolver interface {
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// reverse makes reverse look-ups, beside the way of the exchanges.
type reverse struct {
	resolver Resolver
	queue    chan question
	inbox    *inbox
	counts   *counts
	stop     context.CancelFunc
	wg       sync.WaitGroup
}

// question is an address whose name is wanted, at a capture time in nanoseconds.
type question struct {
	addr packet.Addr
	at   int64
}

func newReverse(resolver Resolver, inbox *inbox, c *counts) *reverse {
	if resolver == nil {
		resolver = new(net.Resolver)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &reverse{resolver: resolver, queue: make(chan question, MaxLookups), inbox: inbox, counts: c, stop: stop}
	for range lookups {
		r.wg.Add(1)
		go r.work(ctx)
	}
	return r
}

func (r *reverse) close() {
	r.stop()
	r.wg.Wait()
}

// ask asks for a name, and reports false if there is no room.
func (r *reverse) ask(q question) bool {
	select {
	case r.queue <- q:
		return true
	default:
		r.counts.lookupsSkipped.Add(1)
		return false
	}
}

// work answers questions until it is stopped. There are no more answers in the inbox than there were questions at a time,
// so they need no limit of their own.
func (r *reverse) work(ctx context.Context) {
	defer r.wg.Done()
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-r.queue:
			if ctx.Err() != nil {
				return
			}
			n, holds := r.lookUp(ctx, q.addr.Netip())
			r.inbox.put(news{q.addr, n, q.at + int64(holds), true}, MaxLearned+MaxLookups+lookups)
		}
	}
}

func (r *reverse) lookUp(ctx context.Context, a netip.Addr) (string, time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	r.counts.lookups.Add(1)
	names, err := r.resolver.LookupAddr(ctx, a.String())
	for _, n := range names { // some may be left with an error too, when others are malformed
		if n = hostName(n); n != "" {
			return n, reverseFor
		}
	}
	var dns *net.DNSError
	if err == nil || errors.As(err, &dns) && dns.IsNotFound {
		return "", nothingFor
	}
	r.counts.lookupsFailed.Add(1)
	return "", failureFor
}

// asksFor reports whether an address may have a name that says something.
func asksFor(a netip.Addr) bool {
	return !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}
