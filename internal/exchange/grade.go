package exchange

import (
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/proto"
)

// grade decides how much of the exchange was seen, and says why it isn't complete.
func (x *Exchange) grade(p *Pairer) {
	switch {
	case !x.HasRequest:
		x.gradeResponseOnly(p)
	case !x.HasResponse:
		x.gradeUnanswered(p)
	case x.Request.End == proto.Cut || x.Response.End == proto.Cut:
		x.gradeCut(p)
	case x.MissingBytes > 0:
		x.set(Gap, strconv.FormatInt(x.MissingBytes, 10)+" bytes weren't captured")
	case x.Request.End == proto.Broken || x.Response.End == proto.Broken:
		x.set(Gap, "its end isn't known: bytes are missing or malformed")
	}
}

// set sets the grade, and the reason unless there is one already.
func (x *Exchange) set(g Grade, reason string) {
	x.Grade = g
	if x.Reason == "" {
		x.Reason = reason
	}
}

func (x *Exchange) gradeResponseOnly(p *Pairer) {
	switch {
	case p.flow.Midstream && x.Index == 0:
		x.set(Midstream, "the request came before the capture")
	case p.facts.Half[x.Client].Packets == 0:
		x.set(OneSided, "the client's packets weren't captured")
	case p.lost[x.Client] || p.lost[x.Server()] || p.facts.Half[x.Client].Gaps > 0:
		x.set(Gap, "its request wasn't captured")
	default:
		x.set(Gap, "a response without a request")
	}
}

func (x *Exchange) gradeUnanswered(p *Pairer) {
	f := p.facts
	switch {
	case x.lostResponse:
		x.set(Gap, "its response wasn't captured")
	case f.Half[x.Server()].Packets == 0:
		x.set(OneSided, "the server's packets weren't captured")
	case p.lost[x.Server()] && f.Half[x.Server()].Gaps == 0:
		x.set(Unanswered, "the server answered with bytes that aren't "+strings.ToUpper(p.protocol))
	case p.lost[x.Server()]:
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
}

// gradeCut grades an exchange of which a message ended before its time.
func (x *Exchange) gradeCut(p *Pairer) {
	m, what := &x.Response, "response"
	if x.Request.End == proto.Cut {
		m, what = &x.Request, "request"
	}
	part := sizeText(m.BodyBytes)
	if m.Length >= 0 {
		part += " of " + sizeText(m.Length)
	}
	how := part + " of the " + what + ": "
	early := what == "request" && x.Anomalies.Has(proto.EarlyResponse)
	switch {
	case early && m.Close == proto.Reset:
		x.set(Aborted, "answered after "+part+", reset by the "+x.side(p.facts.By))
	case early && m.Close == proto.Finished:
		x.set(Aborted, "answered after "+part+", closed by the "+x.side(p.facts.By))
	case m.Close == proto.Reset:
		x.set(Aborted, how+"reset by the "+x.side(p.facts.By))
	case m.Close == proto.Finished:
		x.set(Aborted, how+"closed by the "+x.side(m.Dir))
	default:
		x.set(Gap, how+closeReasons[m.Close])
		if m.Length > m.BodyBytes {
			x.MissingBytes += m.Length - m.BodyBytes
		}
	}
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
