package exchange

import (
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/proto"
)

// Sentences of evidence. Each says what the numbers of an Evidence mean; see sentences.
const (
	NoSentence uint8 = iota
	SaysWorkAcked
	SaysWork
	SaysSilentAcked
	SaysSilent
	SaysGreeting
	SaysTrickledResponse
	SaysTrickledRequest
	SaysContinue
	SaysZeroWindow
	SaysFullWindow
	SaysLostBeyond
	SaysLostBefore
	SaysHole
	SaysOpenHole
	SaysHoleMTU
	SaysNagle
	SaysPath
	SaysCongestion
	SaysLateHandshake
	SaysSYNAgain
	SaysLateSYNACK
	SaysSYNACKAgain
	SaysAcceptAgain
	SaysOverflow
	SaysRefused
	SaysICMP
	SaysNoSYNACK
	SaysLeft
	SaysReset
	SaysClosed
	SaysGivenUp
	SaysPartOfResponse
	SaysClosedBefore
	SaysClosedMeanwhile
	SaysClosedUnread
	SaysStopped
	SaysNotWorkedOn
	SaysEarly
	SaysEPIPE
	SaysECONNRESET
	SaysWentOn
	SaysStatus
	SaysError
	SaysHandshakeFailed
	SaysTLS
	SaysTLSNetwork
	SaysFlow
	SaysShared
	SaysOutstanding
	SaysUpstream
	SaysOwn
	SaysPool
	SaysLookup
	SaysRetried
	SaysRedirected
	SaysRedirect
	SaysFailedHop
	SaysSilentHop
	SaysNoAnswerDNS
	SaysAskedInVain
	SaysNoRoundTrip
	SaysLooseRoundTrip
	SaysMissing
	SaysMidstream
	SaysNearly
	SaysUnacknowledged
	SaysLateAck
	SaysUnsure
	SaysRecorded
	NumSentences
)

// sentences are the texts of the evidence. In braces: the numbers of the Evidence ({time}, {then}: Number as a time, {size}: Number as bytes,
// {times}: Number as a count, {first}, {last}: packets, {of}: whose doing it is, {to}: the other), and what the exchange knows ({total} is
// its time without what its client idled).
var sentences = [NumSentences]string{
	SaysWorkAcked:        "{time} of {total} between packet {first} (request complete, ACKed in {then}) and packet {last} (first byte)",
	SaysWork:             "{time} of {total} between packet {first} (request complete) and packet {last} (first byte)",
	SaysSilentAcked:      "no answer in {time} since packet {first} (request complete, ACKed in {then})",
	SaysSilent:           "no answer in {time} since packet {first} (request complete)",
	SaysGreeting:         "{time} of {total} before it greeted the client",
	SaysTrickledResponse: "{time} of {total} to make the rest of the response, packets {first} to {last}",
	SaysTrickledRequest:  "{time} of {total} to make the rest of the request, packets {first} to {last}",
	SaysContinue:         "{time} of {total} before it let the body come (100 Continue), from packet {first}",
	SaysZeroWindow:       "the {to}'s receive window was closed {times}, {time} of {total}, packets {first} to {last}",
	SaysFullWindow:       "the {to}'s receive window of {size} was full, {time} of {total}, packets {first} to {last}",
	SaysLostBeyond:       "{time} of {total} until what was lost between the tap and the {to} came again ({how}), packets {first} to {last}",
	SaysLostBefore:       "{time} of {total} until what was lost between the {of} and the tap came again ({how}), packets {first} to {last}",
	SaysHole:             "{time} of {total} until the {of} sent smaller segments: full-size ones of {size} never came through, packets {first} to {last}",
	SaysOpenHole:         "full-size segments of the {of}, {size}, were sent for {time} and never came through, packets {first} to {last}",
	SaysHoleMTU:          "a router says that packets may have {size} (ICMP, packet {last})",
	SaysNagle:            "a small segment of the {of} waited for an acknowledgement that the {to} delayed: {times}, {time} of {total}, packets {first} to {last}",
	SaysPath:             "{time} of {total} on the way between the tap and the {of} (round trip {then})",
	SaysCongestion:       "{time} of {total} waiting for the path to take more (congestion window, round trip {then}), packets {first} to {last}",
	SaysLateHandshake:    "the {of}'s part of the TCP handshake took {time} longer than a round trip ({then})",
	SaysSYNAgain:         "SYN sent {times}: {time} of {total} until one was answered",
	SaysLateSYNACK:       "the SYN was answered {time} later than a round trip takes ({then}): an answer before was lost",
	SaysSYNACKAgain:      "SYN+ACK sent {times}: {time} of {total} until it was acknowledged",
	SaysAcceptAgain:      "SYN+ACK sent again though the handshake's ACK had passed: {times}, {time} of {total}",
	SaysOverflow:         "the accept queue of the listener overflowed at that time (ListenOverflows)",
	SaysRefused:          "the SYN was answered with a reset after {time}, packet {last}",
	SaysICMP:             "{icmp}, packet {last}",
	SaysNoSYNACK:         "SYN sent {times}, and no answer in {time}",
	SaysLeft:             "the client left in packet {last}, after {time} without an answer",
	SaysReset:            "the {of} reset the connection in packet {last}, {time} after packet {first} (request)",
	SaysClosed:           "the {of} closed the connection in packet {last}, {time} after packet {first} (request)",
	SaysGivenUp:          "the {of} gave up the stream ({abort}) in packet {last}, {time} after packet {first} (request)",
	SaysPartOfResponse:   "{response} of the response had come",
	SaysClosedBefore:     "the server had closed the connection {time} before packet {first} (request)",
	SaysClosedMeanwhile:  "the server closed the connection {time} after packet {first} (request), sooner than that can have arrived (round trip {then})",
	SaysClosedUnread:     "the server closed the connection {time} after packet {first} (request), of which it acknowledged nothing",
	SaysStopped:          "after packet {first}, {request} of the request, the client sent nothing for {time}; then the server closed, packet {last}",
	SaysNotWorkedOn:      "the server gave up the connection ({abort}) and says that it didn't work on the request",
	SaysEarly:            "status {status} after {request} of the request, packet {last}",
	SaysEPIPE:            "the client had the server's FIN before the reset: its next write fails with EPIPE (broken pipe)",
	SaysECONNRESET:       "a reset without a FIN before: the client's next call fails with ECONNRESET",
	SaysWentOn:           "the client went on sending for {time} after the answer had begun",
	SaysStatus:           "status {status}, packet {last}",
	SaysError:            "error {code}, packet {last}",
	SaysHandshakeFailed:  "TLS: {tls}",
	SaysTLS:              "{time} of {then} of the TLS handshake, from packet {first}",
	SaysTLSNetwork:       "{time} of {then} of the TLS handshake in round trips, from packet {first}",
	SaysFlow:             "the {to}'s HTTP/2 flow-control window was closed, {times}, {time} of {total}",
	SaysShared:           "{size} of other streams came on the connection meanwhile",
	SaysOutstanding:      "{size} of answers before it were outstanding when it was sent in packet {first}; {time} of {total} until its first byte, packet {last}",
	SaysUpstream:         "{time} of {total} waiting for {upstream}, {times}",
	SaysOwn:              "{time} of {total} were its own",
	SaysPool:             "{time} of {total} between packet {first} (request complete) and its request to {upstream}",
	SaysLookup:           "{time} to look the name up before the connection, asked of {upstream}",
	SaysRetried:          "sent {times}: {time} lost with {upstream}",
	SaysRedirected:       "redirected {times}: {time} before this request was sent",
	SaysRedirect:         "status {status} sends the client elsewhere after {time}, packet {last}",
	SaysFailedHop:        "{upstream} failed: {situation}",
	SaysSilentHop:        "{upstream} didn't answer in {time}",
	SaysNoAnswerDNS:      "asked {times}, and no answer in {time}",
	SaysAskedInVain:      "asked {times} in vain, first in packet {first}",
	SaysNoRoundTrip:      "how far the tap is from the {of} isn't known",
	SaysLooseRoundTrip:   "how far the tap is from the {of} is only known to be {time} at most",
	SaysMissing:          "bytes are missing from the capture",
	SaysMidstream:        "the connection began before the capture",
	SaysNearly:           "{time} are due to another party, nearly as much",
	SaysUnacknowledged:   "the request wasn't acknowledged",
	SaysLateAck:          "the request was acknowledged late, after {time}: it may have been on the way for so long",
	SaysUnsure:           "the evidence allows for more than one party",
	SaysRecorded:         "recorded at the server, not on the wire: what the network took, and the client, isn't known",
}

// Why returns the verdict in a sentence, empty when nobody is blamed.
func (x *Exchange) Why() string {
	b := &x.Blame
	if b.Why != "" || b.Who <= Nobody {
		return b.Why
	}
	text := make([]byte, 0, 160)
	text = append(text, b.Who.String()...)
	if b.Upstream != "" && (b.Who == ByUpstream || b.Who == ByDNS) && (b.N == 0 || !strings.Contains(sentences[b.Evidence[0].Sentence], "{upstream}")) {
		text = append(append(text, ' '), b.Upstream...)
	}
	text = append(text, ": "...)
	if b.N == 0 {
		return string(append(text, Situations[b.Situation].Meaning...))
	}
	return string(x.say(text, &b.Evidence[0]))
}

// Proofs returns the facts that the verdict rests on, as texts with packet numbers, the strongest first.
func (x *Exchange) Proofs() []string {
	b := &x.Blame
	if b.Facts != nil || b.N == 0 {
		return b.Facts
	}
	texts := make([]string, 0, MaxEvidence)
	for i := range min(int(b.N), MaxEvidence) {
		texts = append(texts, string(x.say(nil, &b.Evidence[i])))
	}
	return texts
}

// Sentence returns the text of an evidence with the names of its numbers in it, for the docs.
func Sentence(n uint8) string { return sentences[n] }

// say appends the text of an evidence.
func (x *Exchange) say(dst []byte, e *Evidence) []byte {
	if e.Sentence >= NumSentences {
		return dst
	}
	for text := sentences[e.Sentence]; ; {
		i := strings.IndexByte(text, '{')
		if i < 0 {
			return append(dst, text...)
		}
		end := i + strings.IndexByte(text[i:], '}')
		dst = append(dst, text[:i]...)
		dst = x.fill(dst, e, text[i+1:end])
		text = text[end+1:]
	}
}

// fill appends what stands for a word in braces.
func (x *Exchange) fill(dst []byte, e *Evidence, word string) []byte {
	switch word {
	case "time":
		return appendTime(dst, e.Time)
	case "then":
		return appendTime(dst, e.Number)
	case "size":
		return append(dst, sizeText(e.Number)...)
	case "times":
		switch e.Number {
		case 1:
			return append(dst, "once"...)
		case 2:
			return append(dst, "twice"...)
		}
		return append(strconv.AppendInt(dst, e.Number, 10), " times"...)
	case "total":
		return appendTime(dst, x.Timing.Busy())
	case "first":
		return strconv.AppendUint(dst, e.First, 10)
	case "last":
		return strconv.AppendUint(dst, e.Last, 10)
	case "of":
		return append(dst, x.side(e.Of)...)
	case "to":
		return append(dst, x.side(e.Of.Other())...)
	case "how":
		if e.Number > 0 && e.Number <= int64(proto.Spurious) {
			return append(dst, proto.Repair(e.Number).String()...)
		}
		return append(dst, "sent again"...)
	case "icmp":
		return append(append(append(dst, ICMPName(&x.Conn.Error)...), ", says "...), x.Conn.Error.From.String()...)
	case "abort":
		if x.Abort != nil {
			return append(dst, x.Abort.Name...)
		}
	case "response":
		return append(dst, x.part(&x.Response)...)
	case "request":
		return append(dst, x.part(&x.Request)...)
	case "status":
		return strconv.AppendInt(dst, int64(x.Response.Status), 10)
	case "code":
		return append(dst, x.ErrorCode()...)
	case "tls":
		if x.TLS != nil {
			return append(dst, x.TLS.Failure...)
		}
	case "upstream":
		if x.Blame.Upstream == "" {
			return append(dst, "an upstream"...)
		}
		return append(dst, x.Blame.Upstream...)
	case "situation":
		if n := Situation(e.Number); n > NoSituation && n < NumSituations {
			return append(dst, Situations[n].Meaning...)
		}
	}
	return append(dst, '?')
}

// Busy returns the total without the time that the client left its new connection idle, -1 when it isn't known.
func (t *Timing) Busy() int64 {
	if t.Total < 0 {
		return -1
	}
	return t.Total - max(t.Idle, 0)
}

// appendTime appends a duration with three significant digits and its unit.
func appendTime(dst []byte, ns int64) []byte {
	units := [...]struct {
		size int64
		name string
	}{{1e3, " µs"}, {1e6, " ms"}, {1e9, " s"}}
	switch {
	case ns < 0:
		return append(dst, '?')
	case ns < 1000:
		return append(strconv.AppendInt(dst, ns, 10), " ns"...)
	case ns >= 59_950_000_000:
		s := (ns + 5e8) / 1e9
		if s < 3600 {
			return appendPair(dst, s/60, " m ", s%60, " s")
		}
		m := ns / 60e9
		if ns%60e9 >= 59.5e9 {
			m++
		}
		return appendPair(dst, m/60, " h ", m%60, " m")
	}
	u := units[0]
	for _, u = range units {
		if float64(ns)/float64(u.size) < 999.5 {
			break
		}
	}
	v, digits := float64(ns)/float64(u.size), 0
	switch {
	case v < 9.995:
		digits = 2
	case v < 99.95:
		digits = 1
	}
	return append(strconv.AppendFloat(dst, v, 'f', digits, 64), u.name...)
}

func appendPair(dst []byte, a int64, aUnit string, b int64, bUnit string) []byte {
	dst = append(strconv.AppendInt(dst, a, 10), aUnit...)
	return append(append(dst, byte('0'+b/10), byte('0'+b%10)), bUnit...)
}
