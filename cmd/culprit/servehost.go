package main

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/host"
	"github.com/culprit-http/culprit/internal/process"
	"github.com/culprit-http/culprit/internal/web"
)

// hostFolder is where samples of the host are, in the folder of the store.
const hostFolder = "host"

// hostMetrics measure this machine, and tell how it was doing. It implements web.HostSource.
type hostMetrics struct {
	// files and sampler are nil when nothing is measured now, owners when no processes are. store is nil when nothing is
	// measured, nor was before.
	files   *host.Files
	sampler *host.Sampler
	owners  *host.Owners
	store   *host.Store
	usage   usageCalls

	ended, done chan struct{} // of the goroutine that measures; nil: there is none

	mu      sync.Mutex
	problem string // why the last sample isn't stored, or processes aren't measured
}

// openHost opens what is measured; the store comes later. It needs privileges for other network namespaces.
func (s *serving) openHost() (err error) {
	c := s.config
	if !c.HostMetrics {
		return nil
	}
	var within func(func() error) error
	if c.Live.NetNS != "" {
		ns, err := process.OpenNetNS(c.Live.NetNS)
		if err != nil {
			return &statusError{exitFailed, err}
		}
		defer ns.Close()
		within = func(f func() error) error { return process.Enter(ns, f) }
	}
	h := &s.host
	var boot int64
	if h.files, boot, err = host.Open("/proc", within); err != nil {
		return &statusError{exitFailed, err}
	}
	if len(h.files.Missing) > 0 {
		s.warn("--host-metrics: not measured, since this system doesn't tell: %s", strings.Join(h.files.Missing, ", "))
	}
	if s.owners != nil {
		h.usage.ask = s.capture.usage()
		h.owners = host.NewOwners(boot, h.usage.of)
	}
	h.sampler = host.NewSampler(h.files, c.Live.Interfaces, h.owners)
	return nil
}

// openHostStore opens the samples that are there, and begins to measure.
func (s *serving) openHostStore() (err error) {
	dir, h := filepath.Join(s.dir, hostFolder), &s.host
	if h.sampler == nil && !there(dir) {
		return nil
	}
	o := host.Options{Retain: time.Duration(s.config.Retain)}
	if s.config.Live.On() {
		o.Yield = yield
	}
	if h.store, err = host.OpenStore(dir, o); err != nil {
		return err
	}
	h.ended, h.done = make(chan struct{}), make(chan struct{})
	h.usage.ended = h.ended
	go h.measure(func(problem string) { s.warn("--host-metrics: %s", problem) })
	return nil
}

// measure measures each second, and deletes what is too old, until ended is closed. warn is told of each problem once.
func (h *hostMetrics) measure(warn func(problem string)) {
	defer close(h.done)
	every := host.Every
	if h.sampler == nil {
		every = cleanEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	said := map[string]bool{}
	var cleaned time.Time
	uncleaned := ""
	for {
		problem := h.sample()
		if now := time.Now(); now.Sub(cleaned) >= cleanEvery {
			cleaned, uncleaned = now, ""
			if err := h.store.Clean(now.UnixNano()); err != nil {
				uncleaned = err.Error()
			}
		}
		if problem == "" {
			problem = uncleaned
		}
		h.mu.Lock()
		h.problem = problem
		h.mu.Unlock()
		if problem != "" && !said[problem] && len(said) < maxProblems {
			said[problem] = true
			warn(problem)
		}
		select {
		case <-h.ended:
			return
		case <-ticker.C:
		}
	}
}

// maxProblems is how many different problems are told.
const maxProblems = 8

// sample measures once, and returns what is wrong.
func (h *hostMetrics) sample() string {
	if h.sampler == nil {
		return ""
	}
	if sample, ok := h.sampler.Sample(time.Now()); ok {
		if err := h.store.Append(&sample); err != nil {
			return err.Error()
		}
	}
	if h.owners != nil {
		if err := h.owners.Err(); err != nil {
			return "what processes use isn't measured any more: " + err.Error()
		}
	}
	if h.usage.hangs() {
		return "what processes use isn't measured: who tells of them doesn't answer"
	}
	return ""
}

// note notes whose exchange it is.
func (h *hostMetrics) note(x *exchange.Exchange) {
	if h.owners == nil {
		return
	}
	for _, p := range x.Process {
		if p != nil {
			h.owners.Note(p.PID)
		}
	}
}

// Host implements web.HostSource.
func (h *hostMetrics) Host(ctx context.Context, q web.HostQuery) (*web.HostAnswer, error) {
	found, err := h.store.Query(ctx, host.Query(q))
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	problem := h.problem
	h.mu.Unlock()
	a := &web.HostAnswer{
		On: h.sampler != nil, Problem: problem, From: found.From, Samples: found.Samples, Damaged: found.Damaged, Pruned: found.Pruned, Lost: h.store.Counters().Lost,
		Processors: found.Processors, MemoryTotal: found.MemoryTotal,
	}
	if h.sampler != nil {
		a.Interfaces = h.sampler.Interfaces()
	}
	for _, c := range found.Curves {
		curve := web.HostCurve{Name: c.Name, Unit: c.Unit, Label: c.Label, Mean: c.Mean}
		if c.Peak == host.Lowest {
			curve.Lowest = c.Peaks
		} else {
			curve.Highest = c.Peaks
		}
		a.Curves = append(a.Curves, curve)
	}
	for _, p := range found.Processes {
		a.Processes = append(a.Processes, web.HostProcess{PID: p.PID, Start: p.Start, Name: p.Name, CPU: p.CPU, CPUHighest: p.CPUPeaks, RSS: p.RSS})
	}
	return a, nil
}

// end stops measuring, and closes the store. Answers have ended before.
func (h *hostMetrics) end() error {
	if h.ended != nil {
		close(h.ended)
		<-h.done
		h.ended = nil
	}
	if h.store == nil {
		return nil
	}
	return h.store.Close()
}

// close closes the files that are measured.
func (h *hostMetrics) close() {
	if h.files != nil {
		h.files.Close()
	}
}
