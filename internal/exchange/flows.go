package exchange

import (
	"strconv"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// FlowReporter makes records of a flow: of what its ends sent, one for each period of a long one, and one for what came since the
// last when it ends. What the records count adds up to all that was sent until then: what comes behind the end, such as the
// acknowledgement of the last FIN, isn't in them.
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
	switch f := l.facts; {
	case final && f.Why != proto.Finished && f.Why != proto.Reset:
		// Silence isn't a part of it, nor is what came on other connections meanwhile.
		at.Time = max(f.Half[0].Last, f.Half[1].Last, r.since.Time)
	case at.Time < r.since.Time:
		at = r.since // a reset is believed later than it came, and a period may have ended in between
	}
	at.Packet = max(l.facts.Half[0].LastPacket, l.facts.Half[1].LastPacket, r.since.Packet)
	r.number++
	r.since = at
	for d := range r.before {
		r.before[d] = counts(&l.facts.Half[d])
	}
	l.finish(x, at, [2]bool{})
}

// Refused reports whether nothing came of the connection: nobody answered, somebody refused it, or the client waited in vain for a
// server that speaks first.
func (l *Layer) Refused() bool {
	f := l.facts
	server := &f.Half[proto.Responder]
	switch {
	case l.flow.Midstream:
		return false
	case f.SYN != 0 && silentFor(f) >= patience:
		return true
	case f.SYN != 0:
		return f.SYNACK == 0 && server.Bytes == 0 && !wentOn(f)
	}
	return hard(&f.Error) && f.Errors > 0 && server.Packets == 0
}

// wentOn reports whether who sent the SYN sent more than that, so that there was an answer though it wasn't captured.
func wentOn(f *proto.Facts) bool { return f.Half[proto.Originator].Packets > uint64(f.SYNs) }

// patience is how long a client must have waited without a word for its leaving to be told: shorter ones only look whether anybody
// listens.
const patience = int64(time.Second)

// silentFor returns for how long a client that left had waited for a server that speaks first, or that it never asked anything; 0
// where that isn't so.
func silentFor(f *proto.Facts) int64 {
	client := &f.Half[proto.Originator]
	if client.Bytes > 0 || f.Ready == 0 || f.By != proto.Originator || f.Why != proto.Finished && f.Why != proto.Reset {
		return 0
	}
	return max(client.Ended-f.Ready, 0)
}

// hard reports whether an ICMP error says that packets don't get there.
func hard(e *proto.ICMPError) bool {
	if e.V6 {
		return e.Type == 1 || e.Type == 3 || e.Type == 4
	}
	return e.Type == 3 && e.Code != 4 || e.Type == 11 || e.Type == 12
}

// killed returns what an ICMP error says that came since the exchange began, and by whom, empty when there is none. It must be about
// what the client sent, and the server silent since: then others got there.
func (x *Exchange) killed() string {
	e := &x.Conn.Error
	if x.Conn.Errors == 0 || !hard(e) || e.Of != x.Client || e.At.Time < x.Start.Time || x.Conn.Half[x.Server()].Last > e.At.Time {
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
	case f.SYN != 0 && f.SYNACK == 0 && !wentOn(f) && f.Why == proto.Reset && f.By == x.Server():
		x.set(Aborted, "connection refused")
	case f.SYN != 0 && f.SYNACK == 0 && !wentOn(f) && silent:
		times := "once"
		if f.SYNs > 1 {
			times = strconv.Itoa(int(f.SYNs)) + " times"
		}
		x.set(Unanswered, "nobody answered the SYN, sent "+times)
	case silentFor(f) >= patience:
		x.set(Aborted, "the client left after "+durationText(silentFor(f))+" without having asked anything")
	case x.Flow.Midstream && x.Period.Number == 0:
		x.set(Midstream, "it began before the capture")
	case f.SYN == 0 && f.SYNs == 0:
	case silent:
		x.set(OneSided, "the server's packets weren't captured")
	}
}
