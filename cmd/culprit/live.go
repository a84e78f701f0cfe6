package main

import (
	"context"
	"io"
	"slices"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/capture/pcapfilter"
)

// captureFilter is a capture filter: its text, and what it means; nil for none.
type captureFilter struct {
	expression string
	filter     *pcapfilter.Filter
}

// liveCapture is what a live capture has open.
type liveCapture struct {
	// sources share the packets among them, by flow. stop ends all of them, with what was captured until then.
	sources []capture.Source
	stop    context.CancelFunc
	// names are the taps before the first packet, and their totals after the last.
	names   []capture.Tap
	keeping io.Closer // what keeps the privileges
	// keeperEnded is closed when that has ended, and never ready if it is no process of its own.
	keeperEnded <-chan struct{}
	owners      finder // of the processes at the ends of connections, or nil
}

// taps returns the taps of all sources, which have the same. Their counters are told when the capture has ended:
// until then each source belongs to a goroutine of its own.
func (l *liveCapture) taps() []capture.Tap {
	if len(l.sources) == 1 {
		return l.sources[0].Taps()
	}
	return slices.Clone(l.names)
}

// end notes that the sources aren't read any more.
func (l *liveCapture) end() {
	l.names = nil
	for _, s := range l.sources {
		for i, t := range s.Taps() {
			if i == len(l.names) {
				l.names = append(l.names, t)
				continue
			}
			sum := &l.names[i]
			sum.Received += t.Received
			sum.Bytes += t.Bytes
			sum.Dropped += t.Dropped
			sum.IfDropped += t.IfDropped
			sum.Freezes += t.Freezes
		}
	}
}

// Close closes all of it.
func (l *liveCapture) Close() {
	if l.stop != nil {
		l.stop()
	}
	for _, s := range l.sources {
		s.Close()
	}
	if l.keeping != nil {
		l.keeping.Close() // which ends what owners still asks it
	}
	if l.owners != nil {
		l.owners.Close()
	}
}
