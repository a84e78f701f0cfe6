package main

import (
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/exchange"
)

// linking links exchanges before they are shown. It implements pipeline.Linker.
type linking struct {
	*hops.Inline
	from *capturing
}

// Add implements pipeline.Linker. The processes at the ends are looked up now: later they may be gone.
func (l linking) Add(x *exchange.Exchange) {
	l.from.owned(x)
	l.Inline.Add(x)
}

// link has exchanges linked before they are shown, if that is wanted.
func (t *capturing) link() {
	if t.config.HopWait > 0 {
		t.pipeline.Linker = linking{hops.NewInline(hopOptions(t.config)), t}
	}
}

// linkMemory is what linking may take beside --memory, in bytes.
func (t *capturing) linkMemory() config.Size {
	if t.config.HopWait == 0 {
		return 0
	}
	return t.config.Memory / linkedShare
}

// hopOptions says how exchanges are linked, and how many at a time.
func hopOptions(c *config.Capture) hops.Options {
	return hops.Options{Wait: c.HopWait, MaxSpans: min(hops.MaxSpans, int(c.Memory)/linkedShare/perLinked)}
}

// owned fills in the processes at the ends of an exchange, once.
func (t *capturing) owned(x *exchange.Exchange) {
	if t.owners != nil && x.Process == [2]*exchange.Process{} {
		x.Process = t.recent.lookup(t.owners, x)
	}
}
