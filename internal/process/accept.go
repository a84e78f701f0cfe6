package process

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"sync"
)

const (
	// acceptSamples is how many samples of the accept queues are kept: at two a second, those of five minutes. maxFull is how many full
	// queues are kept of each.
	acceptSamples = 600
	maxFull       = 64
	// acceptWithin is how far a sample may be from the time that is asked for, in nanoseconds.
	acceptWithin = 1_500_000_000
	// maxNetstat bounds what is read of /proc/net/netstat.
	maxNetstat = 64 << 10
)

// AcceptQueues remember when the kernel dropped connections because a listener's accept queue was full: ListenOverflows rose, and
// that listener's queue was full then. It may be asked from any goroutine.
type AcceptQueues struct {
	listeners interface {
		full(each func(netip.AddrPort)) error
	}
	netstat io.ReaderAt

	mu        sync.Mutex
	samples   [acceptSamples]acceptSample
	n         int
	overflows uint64
	known     bool
}

// acceptSample is what was found at a time: whether connections had been dropped since the sample before, and whose queues are full.
type acceptSample struct {
	at      int64
	dropped bool
	full    []netip.AddrPort
}

// NewAcceptQueues returns what asks d for listeners, and reads netstat, which is /proc/net/netstat of the same network namespace.
func NewAcceptQueues(d *Diag, netstat io.ReaderAt) *AcceptQueues {
	return &AcceptQueues{listeners: d, netstat: netstat}
}

// Sample looks at the queues; at is the time now, in nanoseconds since 1970. Calls come about twice a second.
func (q *AcceptQueues) Sample(at int64) error {
	b := make([]byte, maxNetstat)
	n, err := q.netstat.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return fmt.Errorf("reading how many connections listeners dropped: %w", err)
	}
	overflows, ok := counter(b[:n], "TcpExt:", "ListenOverflows")
	if !ok {
		return fmt.Errorf("the kernel doesn't count ListenOverflows")
	}
	s := acceptSample{at: at}
	if q.known && overflows == q.overflows {
		// Nobody asks for queues that are full while nothing is dropped.
		q.keep(s, overflows)
		return nil
	}
	s.dropped = q.known
	err = q.listeners.full(func(a netip.AddrPort) {
		if len(s.full) < maxFull {
			s.full = append(s.full, a)
		}
	})
	if err != nil {
		return fmt.Errorf("asking for full accept queues: %w", err)
	}
	q.keep(s, overflows)
	return nil
}

func (q *AcceptQueues) keep(s acceptSample, overflows uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.samples[q.n%acceptSamples] = s
	q.n++
	q.overflows, q.known = overflows, true
}

// Overflowed implements blame.Host.
func (q *AcceptQueues) Overflowed(listener netip.AddrPort, at int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.samples {
		s := &q.samples[i]
		if !s.dropped || s.at < at-acceptWithin || s.at > at+acceptWithin {
			continue
		}
		for _, a := range s.full {
			if a.Port() == listener.Port() && (a.Addr().IsUnspecified() || a.Addr().Unmap() == listener.Addr().Unmap()) {
				return true
			}
		}
	}
	return false
}

// counter returns a counter of /proc/net/netstat, which has a line of names and one of numbers for each group.
func counter(b []byte, group, name string) (uint64, bool) {
	var names [][]byte
	for line := range bytes.Lines(b) {
		words := bytes.Fields(line)
		switch {
		case len(words) == 0 || string(words[0]) != group:
		case names == nil:
			names = words
		default:
			for i := 1; i < min(len(names), len(words)); i++ {
				if string(names[i]) == name {
					n, err := strconv.ParseUint(string(words[i]), 10, 64)
					return n, err == nil
				}
			}
			return 0, false
		}
	}
	return 0, false
}
