package main

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/pipeline"
)

// captureStatus is what is known of a capture while it runs. The goroutines of the pipeline tell it, those of the API
// ask.
type captureStatus struct {
	grades [exchange.Grades]atomic.Uint64

	mu    sync.Mutex
	what  string
	from  []string
	began time.Time
	// Those of the pipeline's goroutines, as they were told last.
	counted                         pipeline.Count
	dropped, ifDropped              uint64
	number, hidden, others, unowned uint64
	lumped, unlisted                uint64
	final                           *pipeline.Stats
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
	c.what, c.counted, c.final = stateEnded, s.Received, s
	c.drops(taps)
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
		// Totals are there when the capture has ended.
		Totals *statusOfTotals `json:"totals"`
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
		Analysed    uint64            `json:"analysed"`
		Ignored     map[string]uint64 `json:"ignored"`
		Connections map[string]uint64 `json:"connections"`
		// MissingBytes were in Gaps holes.
		MissingBytes uint64 `json:"missing_bytes"`
		Gaps         uint64 `json:"gaps"`
	}
)

// state is the answer of /api/status. It is called by several goroutines.
func (s *serving) state() any {
	c := &s.status
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &statusOfCapture{State: c.what, Since: c.began, From: c.from, Bytes: c.counted.Bytes}
	a.Packets.Received = c.counted.Packets + c.dropped + c.ifDropped
	a.Packets.Dropped = statusOfDrops{c.dropped, c.ifDropped}
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
	if f := c.final; f != nil {
		a.Totals = &statusOfTotals{
			Analysed: f.Analysed.Packets, Ignored: map[string]uint64{}, Connections: f.Connections,
			MissingBytes: uint64(f.TCP.MissingBytes), Gaps: uint64(f.TCP.Gaps),
		}
		for name, n := range f.Ignored {
			a.Totals.Ignored[name] = n.Packets
		}
	}
	return a
}
