package exchange

import (
	"strconv"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// FlowReporter makes records of a flow: of what its ends sent, one for each period of a long one, and one for what came since the
// last when it ends. What the records count adds up to all that was sent.
type FlowReporter struct {
	// since is where the next record begins, before what had been counted then, and number the next record's.
	since  clock.Mark
	before [2]Counts
	number int
}

// Open makes the reporter ready for a flow that begins at a mark.
func (r *FlowReporter) Open(at clock.Mark) { *r = FlowReporter{since: at} }

// Since returns when the next record begins, in nanoseconds since 1970.
func (r *FlowReporter) Since() int64 { return r.since.Time }

// Report makes a record of what was sent since the last. protocol is what is known of the flow, at marks its end, or the record's.
func (r *FlowReporter) Report(l *Layer, protocol string, client proto.Direction, at clock.Mark, final bool) {
	x := l.record(&proto.Message{First: r.since, Dir: client}, protocol, client)
	x.Family = Other // also where it speaks a protocol of which nothing came
	x.sort, x.Stream = sortFlow, true
	x.Period = &Period{Number: r.number, Final: final, Since: l.flow.First.Time}
	x.Index = uint32(r.number)
	x.before = r.before
	if f := l.facts; final && f.Why != proto.Finished && f.Why != proto.Reset {
		// Silence isn't a part of it, nor is what came on other connections meanwhile.
		at.Time, at.Packet = max(f.Half[0].Last, f.Half[1].Last, r.since.Time), r.since.Packet
	}
	r.number++
	r.since = at
	for d := range r.before {
		r.before[d] = counts(&l.facts.Half[d])
	}
	l.finish(x, at, [2]bool{})
}

// Refused reports whether nothing came of the connection: nobody answered, or somebody refused it.
func (l *Layer) Refused() bool {
	f := l.facts
	server := &f.Half[proto.Responder]
	switch {
	case l.flow.Midstream:
		return false
	case f.SYN != 0:
		return f.SYNACK == 0 && server.Bytes == 0
	}
	return hard(&f.Error) && f.Errors > 0 && server.Packets == 0
}

// hard reports whether an ICMP error says that packets don't get there.
func hard(e *proto.ICMPError) bool {
	if e.V6 {
		return e.Type == 1 || e.Type == 3 || e.Type == 4
	}
	return e.Type == 3 && e.Code != 4 || e.Type == 11 || e.Type == 12
}

// killed returns what an ICMP error says that came since the exchange began, and by whom, empty when there is none.
func (x *Exchange) killed() string {
	e := &x.Conn.Error
	if x.Conn.Errors == 0 || !hard(e) || e.At.Time < x.Start.Time {
		return ""
	}
	return ICMPName(e) + ", says " + e.From.String()
}

// gradeFlow grades the record of a flow.
func (x *Exchange) gradeFlow() {
	f := &x.Conn
	silent := f.Half[x.Server()].Packets == 0
	switch why := x.killed(); {
	case why != "" && silent:
		x.set(Aborted, why)
	case f.SYN != 0 && f.SYNACK == 0 && f.Why == proto.Reset && f.By == x.Server():
		x.set(Aborted, "connection refused")
	case f.SYN != 0 && f.SYNACK == 0 && silent && x.Period.Final:
		times := "once"
		if f.SYNs > 1 {
			times = strconv.Itoa(int(f.SYNs)) + " times"
		}
		x.set(Unanswered, "nobody answered the SYN, sent "+times)
	case x.Flow.Midstream && x.Period.Number == 0:
		x.set(Midstream, "it began before the capture")
	case f.SYN == 0 && f.SYNs == 0:
	case silent:
		x.set(OneSided, "the server's packets weren't captured")
	}
}
