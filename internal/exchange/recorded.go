package exchange

import (
	"strconv"

	"github.com/culprit-http/culprit/internal/proto"
)

// Recorded reports whether it was recorded by a party to it rather than captured on the wire: nothing is known then but what was said, and when.
func (x *Exchange) Recorded() bool { return x.Tap != nil && x.Tap.Recorded != "" }

// RecordedByServer reports whether who recorded it was its server: then what that took is known.
func (x *Exchange) RecordedByServer() bool { return x.Tap != nil && x.Tap.Recorded == recordedByServer }

// HowRecorded says how it was recorded, for people; empty where it was captured.
func (x *Exchange) HowRecorded() string {
	switch {
	case !x.Recorded():
		return ""
	case x.Tap.Recorded == recordedByServer:
		return "recorded at the server, not on the wire"
	}
	return "made of recorded " + x.Tap.Recorded + ", not captured on the wire"
}

// recordedByServer is capture.RecordedByServer, which this package doesn't know.
const recordedByServer = "server"

// forgetWire forgets what the packets of a recording would tell, which were made up, but for how many bytes were said.
func (x *Exchange) forgetWire() {
	var conn proto.Facts
	for d := range conn.Half {
		conn.Half[d].Bytes = x.Conn.Half[d].Bytes
		conn.Half[d].Gaps, conn.Half[d].Missing = x.Conn.Half[d].Gaps, x.Conn.Half[d].Missing
		conn.Half[d].WindowScale = -1
		x.During[d] = Counts{Bytes: x.During[d].Bytes}
	}
	x.Conn, x.Episodes, x.Acked, x.left = conn, x.Episodes[:0], proto.Acked{}, 0
}

// gradeRecorded grades an exchange that was recorded by its server. Who ended the connection, and how, isn't known: the marks of its end tell
// when the server forgot it. It reports whether it has decided.
func (x *Exchange) gradeRecorded(lost [2]bool) bool {
	switch {
	case x.sort == sortTLS, x.sort == sortFlow, x.sort == sortSession, x.sort == sortEvent, x.Abort != nil:
		return false
	case !x.HasRequest && !x.Response.OneWay:
		switch {
		case x.Flow.Midstream && x.Index == 0:
			x.set(Midstream, "the request came before the recording")
		case x.Conn.Half[x.Client].Bytes == 0:
			x.set(OneSided, "no request has its UUID"+elsewhere)
		case x.Conn.Half[x.Client].Gaps > 0:
			x.set(Gap, "its request isn't in the recording: "+x.fragments(x.Client))
		default:
			x.set(Gap, "a response without a request")
		}
	case !x.HasResponse && !x.Request.OneWay:
		switch {
		case x.lostResponse:
			x.set(Gap, "its response isn't in the recording")
		case x.Request.End == proto.Cut && x.Request.Close != proto.Finished:
			x.gradeCutRecording()
		case x.Conn.Half[x.Server()].Bytes == 0:
			x.set(OneSided, "no response has its UUID"+elsewhere)
		case x.Conn.Half[x.Server()].Gaps > 0:
			x.set(Gap, "its response isn't in the recording: "+x.fragments(x.Server()))
		case lost[x.Server()]:
			x.set(Unanswered, "what was recorded as its answer isn't HTTP")
		case x.Conn.Why == proto.Finished:
			x.set(Unanswered, "its connection ended without an answer")
		default:
			x.set(Unanswered, "the recording ends without an answer")
		}
	case x.Request.End == proto.Cut || x.Response.End == proto.Cut:
		x.gradeCutRecording()
	case x.Request.End == proto.Broken && x.Conn.Half[x.Client].Gaps > 0:
		x.set(Gap, x.fragments(x.Client))
	case x.Response.End == proto.Broken && x.Conn.Half[x.Server()].Gaps > 0:
		x.set(Gap, x.fragments(x.Server()))
	default:
		return false
	}
	return true
}

// elsewhere says where the other half may be, which isn't guessed: which of several it is can't be known.
const elsewhere = ": it wasn't recorded, or followed an internal redirect"

// fragments says how many fragments of a direction are missing: of its connection, as it isn't known which hold what.
func (x *Exchange) fragments(d proto.Direction) string {
	n := x.Conn.Half[d].Missing
	if n == 1 {
		return "a fragment of what the " + x.side(d) + " sent is missing"
	}
	return strconv.FormatInt(n, 10) + " fragments of what the " + x.side(d) + " sent are missing"
}

// gradeCutRecording grades an exchange of which a message isn't recorded to its end.
func (x *Exchange) gradeCutRecording() {
	m, what := &x.Response, "response"
	if x.Request.End == proto.Cut {
		m, what = &x.Request, "request"
	}
	how := x.part(m) + " of the " + what + ": "
	switch {
	case what == "request" && x.Anomalies.Has(proto.EarlyResponse) && m.Close == proto.Finished:
		x.set(Aborted, "answered after the server had read "+x.part(m))
	case m.Close == proto.Finished:
		x.set(Aborted, how+"its connection ended")
	default:
		x.set(Gap, how+"the recording ends")
		if m.Length > m.BodyBytes {
			x.MissingBytes += m.Length - m.BodyBytes
		}
	}
}

// packets sets a number of packets, unless they were made up.
func (v *Value) packets(x *Exchange, n uint64) {
	if !x.Recorded() {
		v.int(int64(n))
	}
}
