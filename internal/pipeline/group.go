package pipeline

import (
	"context"
	"maps"
	"sync"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
)

// RunAll runs a pipeline for each of several sources at once, such as the rings among which an interface shares its
// packets: no flow may be in two of them. The memory is divided, the totals are summed up, and the receiver and the
// recorder are called from one goroutine at a time. Exchanges come in order for each source only. When one source ends,
// for whatever reason, stop is called, which should end the others.
func RunAll(ctx context.Context, sources []capture.Source, c Config, to Receiver, stop func()) (Stats, error) {
	if len(sources) == 1 {
		return Run(ctx, sources[0], c, to)
	}
	c.Memory /= len(sources)
	shared := &turns{to: to, recorder: c.Recorder}
	if c.Recorder != nil {
		c.Recorder = shared
	}
	type outcome struct {
		stats Stats
		err   error
	}
	outcomes := make(chan outcome, len(sources))
	for _, src := range sources {
		go func() {
			stats, err := Run(ctx, src, c, shared)
			outcomes <- outcome{stats, err}
		}()
	}
	var all Stats
	var err error
	for range sources {
		o := <-outcomes
		stop()
		all.add(&o.stats)
		if err == nil {
			err = o.err
		}
	}
	return all, err
}

// turns lets several pipelines call a receiver and a recorder, one at a time.
type turns struct {
	receiving, recording sync.Mutex
	to                   Receiver
	failed               error
	recorder             Recorder
}

// Exchanges implements Receiver. After an error, nothing more is delivered.
func (t *turns) Exchanges(done, waiting []*exchange.Exchange) error {
	t.receiving.Lock()
	defer t.receiving.Unlock()
	if t.failed == nil {
		t.failed = t.to.Exchanges(done, waiting)
	}
	return t.failed
}

// Idle implements Receiver.
func (t *turns) Idle() error {
	t.receiving.Lock()
	defer t.receiving.Unlock()
	if t.failed == nil {
		t.failed = t.to.Idle()
	}
	return t.failed
}

// Inspect implements Inspector. What a receiver that has failed can't look at, nobody gets: it may hold secrets.
func (t *turns) Inspect(list []Snapshot) []Snapshot {
	t.receiving.Lock()
	defer t.receiving.Unlock()
	to, ok := t.to.(Inspector)
	switch {
	case !ok:
		return list
	case t.failed != nil:
		return nil
	}
	return to.Inspect(list)
}

// Packet implements Recorder.
func (t *turns) Packet(r *capture.Record, p *packet.Packet, key *packet.Flow) {
	t.recording.Lock()
	defer t.recording.Unlock()
	t.recorder.Packet(r, p, key)
}

// add adds the totals of another run.
func (s *Stats) add(o *Stats) {
	if s.Ignored == nil {
		s.Ignored, s.Connections, s.Carried = map[string]Count{}, map[string]uint64{}, map[string]uint64{}
	}
	s.Received.add(o.Received.Packets, o.Received.Bytes)
	s.Analysed.add(o.Analysed.Packets, o.Analysed.Bytes)
	for why, c := range maps.All(o.Ignored) {
		s.ignore(why, c.Packets, c.Bytes)
	}
	for name, n := range o.Connections {
		s.Connections[name] += n
	}
	for name, n := range o.Carried {
		s.Carried[name] += n
	}
	for g, n := range o.Exchanges {
		s.Exchanges[g] += n
	}
	for _, n := range [...]struct{ to, from *uint64 }{
		{&s.Dropped, &o.Dropped}, {&s.IfDropped, &o.IfDropped}, {&s.Freezes, &o.Freezes},
		{&s.TimedOut, &o.TimedOut}, {&s.Overflow, &o.Overflow}, {&s.Interim, &o.Interim},
		{&s.TCP.Connections, &o.TCP.Connections}, {&s.TCP.Open, &o.TCP.Open}, {&s.TCP.Gaps, &o.TCP.Gaps},
		{&s.TCP.MissingBytes, &o.TCP.MissingBytes}, {&s.TCP.HeldLimit, &o.TCP.HeldLimit},
		{&s.TCP.Evicted, &o.TCP.Evicted}, {&s.TCP.TimedOut, &o.TCP.TimedOut},
		{&s.SCTP.Associations, &o.SCTP.Associations}, {&s.SCTP.Streams, &o.SCTP.Streams}, {&s.SCTP.Chunks, &o.SCTP.Chunks},
		{&s.SCTP.Duplicates, &o.SCTP.Duplicates}, {&s.SCTP.Missing, &o.SCTP.Missing}, {&s.SCTP.Gaps, &o.SCTP.Gaps},
		{&s.SCTP.Malformed, &o.SCTP.Malformed}, {&s.SCTP.Evicted, &o.SCTP.Evicted}, {&s.SCTP.Refused, &o.SCTP.Refused},
		{&s.UDP.Flows, &o.UDP.Flows}, {&s.UDP.Open, &o.UDP.Open}, {&s.UDP.Evicted, &o.UDP.Evicted}, {&s.UDP.TimedOut, &o.UDP.TimedOut},
		{&s.SCTP.Jumps, &o.SCTP.Jumps}, {&s.SCTP.HeldLimit, &o.SCTP.HeldLimit}, {&s.SCTP.TimedOut, &o.SCTP.TimedOut},
		{&s.TLS.Sessions, &o.TLS.Sessions}, {&s.TLS.Decrypted, &o.TLS.Decrypted}, {&s.TLS.Waited, &o.TLS.Waited}, {&s.TLS.Late, &o.TLS.Late},
		{&s.TLS.Overflow, &o.TLS.Overflow}, {&s.TLS.TimedOut, &o.TLS.TimedOut}, {&s.TLS.LostRecords, &o.TLS.LostRecords},
		{&s.Aggregated, &o.Aggregated}, {&s.ClockJumps, &o.ClockJumps}, {&s.Unlinked, &o.Unlinked}, {&s.BudgetEvicted, &o.BudgetEvicted},
	} {
		*n.to += *n.from
	}
}
