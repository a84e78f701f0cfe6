package main

import (
	"context"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/web"
)

// inFlightEvery is how often the pipeline is asked what is under way, however many ask here.
const inFlightEvery = 500 * time.Millisecond

// inFlight is what was under way a moment ago.
type inFlight struct {
	mu    sync.Mutex
	look  *pipeline.Look
	asked time.Time
}

// get returns what is under way, at most inFlightEvery ago, or as old as the look that has yet to be answered. It may
// be called from any goroutine.
func (f *inFlight) get(ctx context.Context, w *pipeline.Watch) (*web.InFlight, error) {
	f.mu.Lock()
	if now := time.Now(); f.look == nil || now.Sub(f.asked) >= inFlightEvery {
		f.look, f.asked = w.Ask(pipeline.UnderWay), now
	}
	look := f.look
	f.mu.Unlock()
	v, err := look.Wait(ctx)
	if err != nil {
		return nil, err
	}
	a := &web.InFlight{Running: v.Running, Now: v.Now, Total: v.Begun, LeftOut: v.LeftOut, Exchanges: make([]web.UnderWay, len(v.UnderWay))}
	for i, s := range v.UnderWay {
		a.Exchanges[i] = web.UnderWay{Exchange: s.Exchange, State: s.State}
	}
	return a, nil
}

// forget has the next who asks get an answer of its own: the capture has ended.
func (f *inFlight) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.look = nil
}

// Inspect implements pipeline.Inspector: what is under way is chosen, redacted and enriched as what is finished.
func (s *serving) Inspect(list []pipeline.Snapshot) []pipeline.Snapshot {
	if r := s.redactor; r != nil {
		// What is found in snapshots is found again when they are finished.
		defer func(lumped, unlisted uint64) { r.Lumped, r.Unlisted = lumped, unlisted }(r.Lumped, r.Unlisted)
	}
	shown := list[:0]
	for _, u := range list {
		if s.choose(u.Exchange).chosen() {
			s.finish(u.Exchange)
			shown = append(shown, u)
		}
	}
	clear(list[len(shown):])
	return shown
}

var _ pipeline.Inspector = (*serving)(nil)
