// Package sample chooses which exchanges are kept where only a share of them is: all that failed, are slow or are asked for,
// and one in n of the others. docs/sampling.md describes it.
package sample

import (
	"encoding/binary"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
)

// DefaultSlow is the duration from which an exchange is always kept, if nothing else is said.
const DefaultSlow = time.Second

// Options say what is kept.
type Options struct {
	// N: one in N of the exchanges that aren't kept anyway; 0 and 1: all. See ParseRate.
	N uint32
	// Slow: exchanges that took at least that long are kept; 0: their duration is no reason. Those of streams never are.
	Slow time.Duration
	// Keep chooses further exchanges that are kept; nil: none. It isn't shared with another goroutine.
	Keep *filter.Filter
}

// Sampler chooses exchanges. It keeps no state: whether an exchange is kept depends on that exchange alone. It isn't safe for
// concurrent use, as filters aren't.
type Sampler struct {
	o         Options
	threshold uint64
}

// New returns a Sampler.
func New(o Options) *Sampler {
	return &Sampler{o: o, threshold: Threshold(o.N)}
}

// Keep reports whether an exchange is kept, and sets the Weight of one that is: N for what was chosen as one in N, 1 for what
// is kept anyway. If all are kept, it leaves the weight alone.
func (s *Sampler) Keep(x *exchange.Exchange) bool {
	switch {
	case s.o.N <= 1:
		return true
	case s.always(x):
		x.Weight = 1
		return true
	case Randomness(x) >= s.threshold:
		x.Weight = s.o.N
		return true
	}
	return false
}

// always reports whether an exchange is kept whatever the share is. What wasn't seen as a whole is no reason: with a tap that
// sees one direction only, that is everything.
func (s *Sampler) always(x *exchange.Exchange) bool {
	switch {
	case x.Outcome() == "failure", x.Grade == exchange.Unanswered:
		return true
	case s.o.Slow > 0 && !x.Stream && x.Timing.Duration >= int64(s.o.Slow):
		return true
	}
	return s.o.Keep != nil && s.o.Keep.Match(x)
}

// randomBits is how many bits decide, as in OpenTelemetry's consistent probability sampling: the last 56 of a trace id.
const randomBits = 56

// Threshold returns what Randomness must reach at least to keep one in n: OpenTelemetry's rejection threshold, of 56 bits. 0
// keeps all.
func Threshold(n uint32) uint64 {
	const all = uint64(1) << randomBits
	return all - all/uint64(max(n, 1))
}

// Randomness returns the 56 bits by which an exchange is chosen: the last of the id of its trace, so that the exchanges of a
// trace are kept or left together, by everyone who sees some of them. Without a trace, they are those of the id of the event that all
// began with, as far as that is known, or else its own, of which they are the end of a hash.
func Randomness(x *exchange.Exchange) uint64 {
	if x.HasRequest {
		if id := exchange.TraceID(&x.Request); id != nil {
			var v uint64
			for _, c := range id[len(id)-randomBits/4:] {
				v = v<<4 | digit(c)
			}
			return v
		}
	}
	id := x.ID(x.Tap.Observer)
	if x.Hop.Method > exchange.Root {
		id = x.Hop.Trace
	}
	return binary.BigEndian.Uint64(id[len(id)-8:]) & (1<<randomBits - 1)
}

// digit returns the value of a hexadecimal digit.
func digit(c byte) uint64 {
	if c <= '9' {
		return uint64(c - '0')
	}
	return uint64(c|0x20-'a') + 10
}
