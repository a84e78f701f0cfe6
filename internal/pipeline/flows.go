package pipeline

import (
	"fmt"
	"slices"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// Flows says of which flows there are records of their own, beside the exchanges that come of them.
type Flows uint8

// The choices.
const (
	// NoFlows: of none.
	NoFlows Flows = iota
	// FailedFlows: of connections that were refused, or that nobody answered.
	FailedFlows
	// UnknownFlows: of these, and of all of which no exchange came.
	UnknownFlows
	// AllFlows: of all.
	AllFlows
)

var flowNames = [...]string{"none", "failed", "unknown", "all"}

// ParseFlows returns the choice of a name.
func ParseFlows(name string) (Flows, error) {
	if i := slices.Index(flowNames[:], name); i >= 0 {
		return Flows(i), nil
	}
	return NoFlows, fmt.Errorf("%q: none, failed, unknown or all", name)
}

// flow reports on one flow of a shard.
type flow struct {
	exchange.FlowReporter
	link  *exchange.Link
	layer *exchange.Layer
	// name is what was found out of its protocol; client is the direction that is taken for the client's.
	name   string
	client proto.Direction
	// at is its place among the shard's flows, from 1; 0: it isn't there.
	at int
}

// follow begins to report on a flow, if that is wanted.
func (f *flow) begin(s *shard, link *exchange.Link, layer *exchange.Layer, begin clock.Mark) {
	*f = flow{link: link, layer: layer, name: "unknown"}
	if s.flows.which == NoFlows {
		return
	}
	f.Open(begin)
	if s.flows.which >= UnknownFlows && s.flows.period > 0 {
		s.flows.open = append(s.flows.open, f)
		f.at = len(s.flows.open)
	}
}

// end makes the last record of a flow, if there is to be one.
func (f *flow) end(s *shard, at clock.Mark) {
	if f.at > 0 {
		open := s.flows.open
		last := open[len(open)-1]
		open[f.at-1], last.at = last, f.at
		open[len(open)-1] = nil
		s.flows.open, f.at = open[:len(open)-1], 0
	}
	if s.flows.wants(f) {
		f.Report(f.layer, f.name, f.client, at, true)
	}
}

// flows are those of a shard on which reports are made while they last.
type flows struct {
	which  Flows
	period time.Duration
	open   []*flow
	// next is when it is time to look, by the clock's elapsed time.
	next int64
}

// wants reports whether there is to be a record of a flow.
func (l *flows) wants(f *flow) bool {
	switch l.which {
	case AllFlows:
		return true
	case UnknownFlows:
		return !f.layer.Begun()
	case FailedFlows:
		return !f.layer.Begun() && f.layer.Refused()
	}
	return false
}

// tick makes the records of flows whose period is over. Reports are looked for ten times in a period.
func (l *flows) tick(elapsed int64, at clock.Mark) {
	if len(l.open) == 0 || elapsed < l.next {
		return
	}
	l.next = elapsed + int64(l.period)/10
	var due []*flow
	for _, f := range l.open {
		// One that has ended may wait for keys: nothing is sent on it any more.
		if at.Time-f.Since() >= int64(l.period) && f.link.Facts().Why == proto.Open && l.wants(f) {
			due = append(due, f)
		}
	}
	slices.SortFunc(due, func(a, b *flow) int { return inOrder(a.link.Flow(), b.link.Flow()) })
	for _, f := range due {
		mark := at
		mark.Tap = f.link.Flow().First.Tap
		f.Report(f.layer, f.name, f.client, mark, false)
	}
}
