package main

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/web"
)

// captureStatus is what is known of a capture while it runs. The goroutines of the pipeline tell it, those of the API
// ask.
type captureStatus struct {
	grades [exchange.Grades]atomic.Uint64

	// watch asks the pipeline how it stands.
	watch pipeline.Watch
	// source says how far files are read; nil: nothing does.
	source capture.Measured

	mu    sync.Mutex
	what  string
	from  []string
	began time.Time
	// view has the totals as they were told last, nil before the first time. samples are what there was each second, the
	// latest last.
	view    *pipeline.View
	samples []reading
	// Those of the pipeline's goroutines, as they were told last.
	counted                         pipeline.Count
	dropped, ifDropped              uint64
	number, hidden, others, unowned uint64
	lumped, unlisted                uint64
}

const (
	// sampleEvery is how often the totals are asked for, and rates are counted, firstSample how often until there are the
	// first. rateOver is how many of these intervals a rate is the mean of.
	sampleEvery = time.Second
	firstSample = 100 * time.Millisecond
	rateOver    = 10
)

// sample is what there was at a time.
type reading struct {
	at                        time.Time
	packets, bytes, exchanges uint64
}

// The states of a capture.
const (
	stateCapturing = "capturing"
	stateImporting = "importing"
	stateEnded     = "ended"
)

func (c *captureStatus) begin(s *config.Serve) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.began, c.what, c.from = time.Now(), stateImporting, s.Inputs
	if s.Live.On() {
		c.what, c.from = stateCapturing, s.Live.Interfaces
	}
}

// received notes what was read. taps are nil when their counters can't be looked at now.
func (c *captureStatus) received(n pipeline.Count, taps []capture.Tap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counted = n
	c.drops(taps)
}

func (c *captureStatus) drops(taps []capture.Tap) {
	if taps == nil {
		return
	}
	c.dropped, c.ifDropped = 0, 0
	for i := range taps {
		c.dropped += taps[i].Dropped
		c.ifDropped += taps[i].IfDropped
	}
}

// follow asks for the totals each second, and counts for the rates, until ctx is done.
func (c *captureStatus) follow(ctx context.Context) {
	ticker := time.NewTicker(firstSample)
	defer ticker.Stop()
	c.told(nil, time.Now())
	for first := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		wait, cancel := context.WithTimeout(ctx, sampleEvery)
		v, err := c.watch.Ask(pipeline.Totals).Wait(wait)
		cancel()
		if err != nil || !v.Running {
			v = nil
		}
		if first && v != nil {
			first = false
			ticker.Reset(sampleEvery)
		}
		c.told(v, time.Now())
	}
}

// told notes the totals, nil when they weren't told in time, and what there is now.
func (c *captureStatus) told(v *pipeline.View, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v != nil && c.what != stateEnded {
		c.view = v
	}
	var is reading
	if c.view != nil {
		is.packets, is.bytes = c.view.Stats.Received.Packets, c.view.Stats.Received.Bytes
	}
	for g := range c.grades {
		is.exchanges += c.grades[g].Load()
	}
	is.at = now
	if len(c.samples) > rateOver {
		c.samples = slices.Delete(c.samples, 0, 1)
	}
	c.samples = append(c.samples, is)
}

// note notes what became of exchanges, in the goroutine that counts them.
func (c *captureStatus) note(t *capturing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number, c.hidden, c.others, c.unowned = t.number, t.hidden, t.others, t.unowned
	if t.redactor != nil {
		c.lumped, c.unlisted = t.redactor.Lumped, t.redactor.Unlisted
	}
}

// end notes the totals.
func (c *captureStatus) end(s *pipeline.Stats, taps []capture.Tap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.what, c.counted = stateEnded, s.Received
	c.drops(taps)
	if v, err := c.watch.Ask(pipeline.Totals).Wait(context.Background()); err == nil { // at once: nothing runs
		c.view = v
	}
}

// The JSON of /api/status. Names are those of --stats.
type (
	statusOfCapture struct {
		State string    `json:"state"`
		Since time.Time `json:"since"`
		// From are the interfaces or files.
		From      []string          `json:"from"`
		Packets   statusOfPackets   `json:"packets"`
		Bytes     uint64            `json:"bytes"`
		Exchanges statusOfExchanges `json:"exchanges"`
		Stored    statusOfStoring   `json:"stored"`
		Redaction statusOfRedaction `json:"redaction"`
		// Enrichment and KeptPackets count what became of look-ups and packets; null: there is none.
		Enrichment  *statusOfEnrichment  `json:"enrichment"`
		KeptPackets *statusOfKeptPackets `json:"kept_packets"`
		// Totals are at most about a second old; null: it has just begun.
		Totals *statusOfTotals `json:"totals"`
		// Limits are all that the pipeline counts, also those that weren't hit.
		Limits []statusOfLimit `json:"limits"`
		// Rates are those of the last seconds; null: it has just begun, or ended.
		Rates *statusOfRates `json:"rates"`
		// Import says how far files are read; null: it is a live capture.
		Import *statusOfImport `json:"import"`
	}
	statusOfPackets struct {
		Received uint64        `json:"received"`
		Dropped  statusOfDrops `json:"dropped"`
	}
	statusOfDrops struct {
		Kernel    uint64 `json:"kernel"`
		Interface uint64 `json:"interface"`
	}
	statusOfExchanges struct {
		Seen uint64 `json:"seen"`
		// Grades are those that there were; LeftOut are those that --where, or the choice of a process, left out.
		Grades  map[string]uint64 `json:"grades"`
		LeftOut struct {
			Where     uint64 `json:"where"`
			Processes uint64 `json:"processes"`
			Unknown   uint64 `json:"unknown_processes"`
		} `json:"left_out"`
	}
	statusOfStoring struct {
		// Added = Stored + AlreadyStored + Waiting + Lost.
		Added         uint64 `json:"added"`
		Stored        uint64 `json:"stored"`
		AlreadyStored uint64 `json:"already_stored"`
		Waiting       uint64 `json:"waiting"`
		Lost          struct {
			Queue uint64 `json:"queue"`
			Store uint64 `json:"store"`
		} `json:"lost"`
	}
	statusOfRedaction struct {
		Lumped   uint64 `json:"lumped"`
		Unlisted uint64 `json:"unlisted"`
	}
	statusOfEnrichment struct {
		UserAgents     uint64 `json:"user_agents"`
		GeoIPErrors    uint64 `json:"geoip_errors"`
		Lookups        uint64 `json:"lookups"`
		LookupsFailed  uint64 `json:"lookups_failed"`
		LookupsSkipped uint64 `json:"lookups_skipped"`
	}
	statusOfKeptPackets struct {
		// Received = Written + Other + Cut + Dropped + Failed, and what waits.
		Received uint64 `json:"received"`
		Written  uint64 `json:"written"`
		Deleted  uint64 `json:"deleted"`
		Other    uint64 `json:"other"`
		Cut      uint64 `json:"cut"`
		Dropped  uint64 `json:"dropped"`
		Failed   uint64 `json:"failed"`
		Files    int    `json:"files"`
		Bytes    int64  `json:"bytes"`
		// Oldest is the time of the oldest packet; null: there is none.
		Oldest *time.Time `json:"oldest"`
	}
	statusOfTotals struct {
		// At is the time of the capture at which they were taken, null before the first packet.
		At *time.Time `json:"at"`
		// Received = Analysed + Ignored + Dropped, in packets; Bytes are those of the packets that weren't dropped.
		Received    uint64            `json:"received"`
		Bytes       uint64            `json:"bytes"`
		Dropped     statusOfDrops     `json:"dropped"`
		Analysed    uint64            `json:"analysed"`
		Ignored     map[string]uint64 `json:"ignored"`
		Connections map[string]uint64 `json:"connections"`
		// MissingBytes were in Gaps holes.
		MissingBytes uint64 `json:"missing_bytes"`
		Gaps         uint64 `json:"gaps"`
	}
	statusOfLimit struct {
		Limit string `json:"limit"`
		Count uint64 `json:"count"`
		What  string `json:"what"`
	}
	statusOfRates struct {
		// A second, over so many nanoseconds.
		Packets   float64 `json:"packets"`
		Bytes     float64 `json:"bytes"`
		Exchanges float64 `json:"exchanges"`
		Over      int64   `json:"over"`
	}
	statusOfImport struct {
		// Read bytes of Size, compressed or not; null: the size isn't known, as of a pipe.
		Read int64  `json:"read"`
		Size *int64 `json:"size"`
		// First and Last are the times of the capture read so far; null: no packet yet.
		First *time.Time `json:"first"`
		Last  *time.Time `json:"last"`
		Files int        `json:"files"`
	}
)

// state is the answer of /api/status. It is called by several goroutines.
func (s *serving) state() any {
	c := &s.status
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &statusOfCapture{State: c.what, Since: c.began, From: c.from}
	c.packets(a)
	a.Exchanges.Grades = map[string]uint64{}
	for g := range c.grades {
		if n := c.grades[g].Load(); n > 0 {
			a.Exchanges.Grades[exchange.Grade(g).String()] = n
			a.Exchanges.Seen += n
		}
	}
	a.Exchanges.LeftOut.Where, a.Exchanges.LeftOut.Processes, a.Exchanges.LeftOut.Unknown = c.hidden, c.others-c.unowned, c.unowned
	if i := s.intake; i != nil {
		a.Stored.Stored, a.Stored.AlreadyStored = i.stored.Load(), i.known.Load()
		a.Stored.Lost.Queue, a.Stored.Lost.Store = i.dropped.Load(), i.failed.Load()
		a.Stored.Waiting = i.waiting()
		a.Stored.Added = a.Stored.Stored + a.Stored.AlreadyStored + a.Stored.Lost.Queue + a.Stored.Lost.Store + a.Stored.Waiting
	}
	a.Redaction = statusOfRedaction{c.lumped, c.unlisted}
	if s.enricher != nil {
		n := s.enricher.Counters()
		a.Enrichment = &statusOfEnrichment{n.UserAgents, n.GeoIPErrors, n.Lookups, n.LookupsFailed, n.LookupsSkipped}
	}
	if s.ring != nil {
		n := s.ring.Counters()
		a.KeptPackets = &statusOfKeptPackets{n.Received, n.Written, n.Deleted, n.Other, n.Cut, n.Dropped, n.Failed, n.Files, n.Bytes, nil}
		if n.Oldest != 0 {
			t := time.Unix(0, n.Oldest).UTC()
			a.KeptPackets.Oldest = &t
		}
	}
	return a
}

// packets tells of packets, all at one moment: that of the totals, once there are some.
func (c *captureStatus) packets(a *statusOfCapture) {
	a.Bytes = c.counted.Bytes
	a.Packets.Received = c.counted.Packets + c.dropped + c.ifDropped
	a.Packets.Dropped = statusOfDrops{c.dropped, c.ifDropped}
	var stats pipeline.Stats
	if v := c.view; v != nil {
		stats = v.Stats
		a.Totals = totalsOf(v)
		a.Bytes, a.Packets.Received, a.Packets.Dropped = a.Totals.Bytes, a.Totals.Received, a.Totals.Dropped
	}
	for i := range limits {
		l := &limits[i]
		a.Limits = append(a.Limits, statusOfLimit{l.name, l.count(&stats), l.what})
	}
	if n := len(c.samples); n > 1 && c.what != stateEnded {
		from, to := &c.samples[0], &c.samples[n-1]
		over := to.at.Sub(from.at)
		rate := func(a, b uint64) float64 { return float64(b-a) / over.Seconds() }
		a.Rates = &statusOfRates{
			Packets: rate(from.packets, to.packets), Bytes: rate(from.bytes, to.bytes), Exchanges: rate(from.exchanges, to.exchanges),
			Over: over.Nanoseconds(),
		}
	}
	if c.source != nil {
		read, size := c.source.Progress()
		a.Import = &statusOfImport{Read: read, Files: len(c.from)}
		if size >= 0 {
			a.Import.Size = &size
		}
		if v := c.view; v != nil {
			a.Import.First, a.Import.Last = instant(v.First), instant(v.Now)
		}
	}
}

// totalsOf gives the totals of a moment.
func totalsOf(v *pipeline.View) *statusOfTotals {
	s := &v.Stats
	t := &statusOfTotals{
		At: instant(v.Now), Received: s.Received.Packets + s.Dropped + s.IfDropped, Bytes: s.Received.Bytes,
		Dropped: statusOfDrops{s.Dropped, s.IfDropped}, Analysed: s.Analysed.Packets,
		Ignored: map[string]uint64{}, Connections: s.Connections, MissingBytes: s.TCP.MissingBytes, Gaps: s.TCP.Gaps,
	}
	for name, n := range s.Ignored {
		if n.Packets > 0 {
			t.Ignored[name] = n.Packets
		}
	}
	return t
}

// instant is a time in nanoseconds since 1970, nil when it is 0.
func instant(ns int64) *time.Time {
	if ns == 0 {
		return nil
	}
	t := time.Unix(0, ns).UTC()
	return &t
}

// process is what the program takes. It is called by several goroutines.
func (s *serving) process() web.Process {
	p := web.Process{Goroutines: runtime.NumGoroutine(), Started: s.started.UTC(), Uptime: time.Since(s.started).Nanoseconds()}
	s.self.read(&p)
	return p
}
