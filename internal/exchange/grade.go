package exchange

import (
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// grade decides how much of the exchange was seen, and says why it isn't complete.
func (x *Exchange) grade(lost [2]bool) {
	if x.Recorded() && x.gradeRecorded(lost) {
		return
	}
	switch {
	case x.sort == sortTLS:
		x.gradeTLS()
	case x.sort == sortFlow:
		x.gradeFlow()
	case x.sort == sortSession, x.sort == sortEvent:
		x.gradeSession(lost)
	case x.Abort != nil && (!x.HasResponse || x.Request.End == proto.Cut || x.Response.End == proto.Cut):
		x.gradeAbort()
	case !x.HasRequest && !x.Response.OneWay:
		x.gradeResponseOnly(lost)
	case !x.HasResponse && !x.Request.OneWay:
		x.gradeUnanswered(lost)
	case x.Request.End == proto.Cut || x.Response.End == proto.Cut:
		x.gradeCut()
	case x.MissingBytes > 0:
		x.set(Gap, strconv.FormatInt(x.MissingBytes, 10)+" bytes weren't captured")
	case x.left > 0 && x.HasResponse && x.Conn.Why == proto.Reset && x.Conn.By == x.Client:
		// Who only closes its side and waits takes the answer; this one refused it.
		x.set(Aborted, "the client had closed "+durationText(x.Response.First.Time-x.left)+" before the answer came")
	case x.Request.End == proto.Broken || x.Response.End == proto.Broken:
		x.set(Gap, "its end isn't known: bytes are missing or malformed")
	case x.Anomalies.Has(proto.HeaderTableUnknown) && x.Flow.Midstream:
		x.set(Midstream, "header fields refer to what was sent before the capture")
	case x.Anomalies.Has(proto.HeaderTableUnknown):
		x.set(Gap, "header fields refer to bytes that weren't captured")
	}
}

// gradeTLS grades the record of a TLS session of which no exchange came.
func (x *Exchange) gradeTLS() {
	s, f := x.TLS, &x.Conn
	switch {
	case s.Failure != "":
		x.set(Aborted, s.Failure)
	case !s.Established && f.Why == proto.Reset:
		x.set(Aborted, "TLS handshake: reset by the "+x.side(f.By))
	case !s.Established && f.Why == proto.Finished && !x.Flow.Midstream:
		x.set(Aborted, "TLS handshake: closed by the "+x.side(f.By))
	case f.Half[x.Client].Packets == 0 || f.Half[x.Server()].Packets == 0:
		x.set(OneSided, "one side's packets weren't captured")
	case !s.Decrypted && s.Reason != "":
		x.set(Undecryptable, s.Reason)
	case !s.Established:
		x.set(Unanswered, "TLS handshake: "+closeReasons[f.Why])
	}
}

// gradeSession grades a session, or one of its messages.
func (x *Exchange) gradeSession(lost [2]bool) {
	f := &x.Conn
	switch {
	case x.MissingBytes > 0:
		x.set(Gap, strconv.FormatInt(x.MissingBytes, 10)+" bytes weren't captured")
	case lost[0] || lost[1]:
		x.set(Gap, "messages weren't captured, or weren't understood")
	case x.Request.Close == proto.StreamReset || x.Response.Close == proto.StreamReset:
		x.set(Aborted, "its stream was given up")
	case x.Request.End == proto.Cut || x.Response.End == proto.Cut:
		x.set(Aborted, "the session ended in the middle of a message")
	case x.sort == sortSession && !x.Closing.Seen && f.Why == proto.Reset:
		x.set(Aborted, "reset by the "+x.side(f.By))
	}
}

// gradeAbort grades an exchange whose stream was given up.
func (x *Exchange) gradeAbort() {
	how := "stream given up by the " + x.side(x.Abort.By) + ": " + x.Abort.Name
	if x.Abort.GoAway {
		how = "not worked on: the " + x.side(x.Abort.By) + " gave up the connection: " + x.Abort.Name
	}
	switch {
	case !x.HasResponse:
		x.set(Aborted, how)
	case x.Response.End == proto.Cut:
		x.set(Aborted, "after "+x.part(&x.Response)+" of the response, "+how)
	default:
		x.set(Aborted, "answered after "+x.part(&x.Request)+" of the request, "+how)
	}
}

// part says how much of a message's body came.
func (x *Exchange) part(m *proto.Message) string {
	part := sizeText(m.BodyBytes)
	if m.Length >= 0 {
		part += " of " + sizeText(m.Length)
	}
	return part
}

// set sets the grade, and the reason unless there is one already.
func (x *Exchange) set(g Grade, reason string) {
	x.Grade = g
	if x.Reason == "" {
		x.Reason = reason
	}
}

func (x *Exchange) gradeResponseOnly(lost [2]bool) {
	switch {
	case x.TLS != nil && x.TLS.Failure != "":
		x.set(Aborted, x.TLS.Failure)
	case x.Flow.Midstream && x.Index == 0:
		x.set(Midstream, "the request came before the capture")
	case x.Conn.Half[x.Client].Packets == 0:
		x.set(OneSided, "the client's packets weren't captured")
	case lost[x.Client] || lost[x.Server()] || x.Conn.Half[x.Client].Gaps > 0:
		x.set(Gap, "its request wasn't captured")
	default:
		x.set(Gap, "a response without a request")
	}
}

func (x *Exchange) gradeUnanswered(lost [2]bool) {
	f := &x.Conn
	switch why := x.killed(); {
	case x.lostResponse:
		x.set(Gap, "its response wasn't captured")
	case why != "":
		x.set(Aborted, why)
	case f.Half[x.Server()].Packets == 0 && x.Flow.Proto == packet.ProtoUDP: // no ACK tells that there was an answer
		x.set(Unanswered, "no answer: "+closeReasons[f.Why])
	case f.Half[x.Server()].Packets == 0:
		x.set(OneSided, "the server's packets weren't captured")
	case lost[x.Server()] && f.Half[x.Server()].Gaps == 0 && f.Half[x.Client].Gaps == 0:
		x.set(Unanswered, "the server answered with bytes that aren't "+strings.ToUpper(x.Protocol))
	case lost[x.Server()]:
		x.set(Gap, "its response may have been in bytes that weren't captured")
	case f.Why == proto.Reset:
		x.set(Aborted, "reset by the "+x.side(f.By)+" before an answer")
	case f.Why == proto.Finished && f.By == x.Server():
		x.set(Aborted, "closed by the server without an answer")
	case f.Why == proto.Finished && x.Request.End == proto.Cut:
		x.set(Aborted, "the client closed before the request had ended")
	case f.Why == proto.Finished:
		x.set(Unanswered, "the client closed before an answer")
	case f.Why == proto.CaptureEnded:
		x.set(Unanswered, "capture ended")
	case f.Why == proto.Open:
		x.set(Unanswered, "no answer")
	default:
		x.set(Unanswered, "no answer: "+closeReasons[f.Why])
	}
}

// closeReasons say in words why a connection is no longer followed.
var closeReasons = [...]string{
	proto.Open:         "connection open",
	proto.Finished:     "connection closed",
	proto.Reset:        "connection reset",
	proto.Replaced:     "another connection took over its ports",
	proto.TimedOut:     "connection silent",
	proto.Evicted:      "forgotten for lack of memory",
	proto.CaptureEnded: "capture ended",
	proto.StreamReset:  "stream given up",
}

// gradeCut grades an exchange of which a message ended before its time.
func (x *Exchange) gradeCut() {
	m, what := &x.Response, "response"
	if x.Request.End == proto.Cut {
		m, what = &x.Request, "request"
	}
	part := x.part(m)
	how := part + " of the " + what + ": "
	early := what == "request" && x.Anomalies.Has(proto.EarlyResponse)
	switch {
	case early && m.Close == proto.Reset:
		x.set(Aborted, "answered after "+part+", reset by the "+x.side(x.Conn.By))
	case early && m.Close == proto.Finished:
		x.set(Aborted, "answered after "+part+", closed by the "+x.side(x.Conn.By))
	case m.Close == proto.Reset:
		x.set(Aborted, how+"reset by the "+x.side(x.Conn.By))
	case m.Close == proto.Finished:
		x.set(Aborted, how+"closed by the "+x.side(m.Dir))
	default:
		x.set(Gap, how+closeReasons[m.Close])
		if m.Length > m.BodyBytes {
			x.MissingBytes += m.Length - m.BodyBytes
		}
	}
}

// durationText gives a duration with three digits, or whole milliseconds.
func durationText(ns int64) string {
	if d := time.Duration(ns); d >= time.Second {
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	}
	return strconv.FormatInt(ns/1e6, 10) + " ms"
}

func (x *Exchange) side(d proto.Direction) string {
	if d == x.Client {
		return "client"
	}
	return "server"
}

// sizeText gives a size in binary units with three digits.
func sizeText(n int64) string {
	units := [...]string{" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"}
	f, u := float64(n), 0
	for f >= 1000 && u < len(units)-1 {
		f /= 1024
		u++
	}
	prec := 0
	switch {
	case u == 0:
	case f < 10:
		prec = 2
	case f < 100:
		prec = 1
	}
	return strconv.FormatFloat(f, 'f', prec, 64) + units[u]
}
