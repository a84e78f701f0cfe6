package replay

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// TapName is the name of the place where exchanges were seen that were sent again.
const TapName = "replay"

// Exchange makes an exchange of what was sent and came back, as outputs take them.
func (o *Outcome) Exchange() *exchange.Exchange {
	f := &proto.Flow{Proto: packet.ProtoTCP, First: clock.Mark{Time: o.Sent - max(o.Connect, 0) - max(o.TLS, 0)}}
	for d, text := range [2]string{proto.Originator: o.Local, proto.Responder: o.Remote} {
		if ap, err := netip.ParseAddrPort(text); err == nil {
			f.Addr[d], f.Port[d] = packet.Addr(ap.Addr().As16()), ap.Port()
		}
	}
	end := max(o.Last, o.First, o.Asked, o.Sent)
	x := &exchange.Exchange{
		Flow: f, Tap: &exchange.Tap{Name: TapName, Label: TapName}, Client: proto.Originator, Protocol: "http", Family: exchange.HTTP, Index: uint32(o.Index),
		HasRequest: true, Start: clock.Mark{Time: o.Sent}, Completed: clock.Mark{Time: end}, Timing: exchange.UnknownTiming,
	}
	x.Enriched.Route = o.Item.Route
	stream := uint64(0)
	if o.HTTP2 {
		x.Protocol, stream = "http2", uint64(2*o.Index+1)
	}
	requestMessage(&x.Request, o, stream)
	x.RequestBody = exchange.Body{Bytes: o.Request.Body, DecodedBytes: -1}
	if o.Request.HasBody {
		x.RequestBody.DecodedBytes = int64(len(o.Request.Body))
	}
	x.Request.First, x.Request.Last = clock.Mark{Time: o.Sent}, clock.Mark{Time: max(o.Asked, o.Sent)}
	x.Request.First.Offset = int64(o.Index) // so that each has an id of its own
	switch {
	case o.Answer == nil:
		x.Grade = exchange.Unanswered
	case o.Err != nil:
		x.Grade = exchange.Aborted
	}
	if o.Err != nil {
		x.Reason = Cause(o.Err)
	}
	if o.Answer != nil {
		x.HasResponse = true
		responseMessage(&x.Response, o.Answer, o.HTTP2, stream)
		x.Response.First, x.Response.Last = clock.Mark{Time: o.First}, clock.Mark{Time: end}
		x.ResponseBody = o.Answer.Body.exchange()
	}
	o.timing(&x.Timing)
	return x
}

// timing fills in where the time went.
func (o *Outcome) timing(t *exchange.Timing) {
	t.Connect, t.TLS = o.Connect, o.TLS
	if o.First == 0 {
		return
	}
	asked := min(max(o.Asked, o.Sent), o.First)
	t.Send, t.Wait, t.Receive = asked-o.Sent, o.First-asked, max(o.Last-o.First, 0)
	t.Overlap = max(o.Asked-o.First, 0)
	t.Duration = t.Send + t.Wait + t.Receive
	t.Total = t.Duration + max(t.Connect, 0) + max(t.TLS, 0)
}

func (b *Body) exchange() exchange.Body {
	out := exchange.Body{Bytes: b.Bytes, Cut: b.State == Cut, DecodedBytes: b.Decoded}
	if b.State == Coded {
		out.Undecoded, out.DecodedBytes = "content", -1
	}
	return out
}

// recorded makes an exchange of the recorded request and answer, to hide their secrets.
func (it *Item) recorded() *exchange.Exchange {
	q := &Request{Method: it.Method, Target: it.Target, Authority: it.Authority, Fields: it.Fields, Body: it.Body.Bytes}
	o := &Outcome{Item: it, Request: q, Local: it.Client, Remote: it.Server, Sent: it.Start}
	if it.Answered {
		o.Answer = &it.Answer
	}
	return o.Exchange()
}

func put(m *proto.Message, text string) proto.Span {
	s := proto.Span{Off: uint32(len(m.Raw)), Len: uint32(len(text))}
	m.Raw = append(m.Raw, text...)
	return s
}

func putFields(m *proto.Message, fields []Field, lower bool) {
	for _, f := range fields {
		name := f.Name
		if lower {
			name = strings.ToLower(name)
		}
		field := proto.Field{Name: put(m, name)}
		put(m, ": ")
		field.Value = put(m, f.Value)
		put(m, "\r\n")
		if f.Trailer {
			field.Flags = proto.Trailer
		}
		m.Fields = append(m.Fields, field)
	}
}

func requestMessage(m *proto.Message, o *Outcome, stream uint64) {
	q := o.Request
	*m = proto.Message{Kind: proto.Request, Dir: proto.Originator, Stream: stream, End: proto.Whole, Length: -1, BodyBytes: int64(len(q.Body))}
	if o.HTTP2 {
		m.Version = 0x0200
		scheme := "http"
		if o.Item.Secure || o.TLS >= 0 {
			scheme = "https"
		}
		putFields(m, []Field{{Name: ":method", Value: q.Method}, {Name: ":scheme", Value: scheme}, {Name: ":authority", Value: q.Authority}, {Name: ":path", Value: q.Target}}, true)
		m.Method, m.Target = m.Fields[0].Value, m.Fields[3].Value
		m.Proto = put(m, "HTTP/2.0")
		var rest []Field
		for _, f := range q.Fields {
			if !strings.EqualFold(f.Name, "host") && !strings.EqualFold(f.Name, "connection") && !strings.EqualFold(f.Name, "transfer-encoding") {
				rest = append(rest, f)
			}
		}
		putFields(m, rest, true)
	} else {
		m.Version = 0x0101
		m.Method = put(m, q.Method)
		put(m, " ")
		m.Target = put(m, q.Target)
		put(m, " ")
		m.Proto = put(m, "HTTP/1.1")
		put(m, "\r\n")
		putFields(m, q.Fields, false)
	}
	m.HeadSize = int64(len(m.Raw)) + 2
	m.Size = m.HeadSize + m.BodyBytes
	switch {
	case !q.HasBody:
	case q.Chunked:
		m.Framing = proto.Chunked
	default:
		m.Framing, m.Length = proto.ByLength, m.BodyBytes
	}
}

func responseMessage(m *proto.Message, a *Answer, two bool, stream uint64) {
	*m = proto.Message{Kind: proto.Response, Dir: proto.Responder, Stream: stream, End: proto.Whole, Length: -1, Status: a.Status, BodyBytes: max(a.Body.Size, 0), Version: 0x0101}
	m.Proto = put(m, a.Proto)
	put(m, " ")
	m.Reason = put(m, a.Reason)
	put(m, "\r\n")
	if two {
		m.Version = 0x0200
	}
	putFields(m, a.Fields, false)
	m.HeadSize = int64(len(m.Raw)) + 2
	m.Size = m.HeadSize + m.BodyBytes
	if a.Body.State != NoBody {
		m.Framing, m.Length = proto.ByLength, m.BodyBytes
	}
}

// hidden returns an outcome of which hide has hidden the secrets. The findings have the same places; of those that don't differ any more, only that is told.
// Where the recorded answer has marks in place of secrets, the findings are those that there are beside these.
func (o *Outcome) hidden(c *comparer, hide func(x *exchange.Exchange)) *Outcome {
	was, now := o.Item.recorded(), o.Exchange()
	for _, x := range [...]*exchange.Exchange{was, now} { // what is hidden is overwritten where it stood, too
		x.RequestBody.Bytes, x.ResponseBody.Bytes = bytes.Clone(x.RequestBody.Bytes), bytes.Clone(x.ResponseBody.Bytes)
	}
	hide(was)
	hide(now)
	out := *o
	item := *o.Item
	u := was.URL()
	if item.Target = string(u.Path); u.HasQuery {
		item.Target += "?" + string(u.Query)
	}
	out.Item = &item
	if o.Answer == nil || !item.Answered || o.Err != nil {
		return &out
	}
	hideAnswer(&item.Answer, was)
	answer := *o.Answer
	hideAnswer(&answer, now)
	out.Answer = &answer
	redacted := o.Item.Answer.redacted()
	if redacted {
		item.Answer.level()
		answer.level()
	}
	found := c.compare(&item, &answer, o.Request.Authority)
	if redacted { // what stood in place of a mark isn't known: only what is around it counts
		out.Findings = found
		return &out
	}
	out.Findings = make([]Finding, len(o.Findings))
	for i, f := range o.Findings {
		f.Recorded, f.Replayed = "(hidden)", "(hidden)"
		for _, shown := range found {
			if shown.Kind == f.Kind && (shown.At == f.At || f.Kind == BodyBytes) {
				f.Recorded, f.Replayed = shown.Recorded, shown.Replayed
				break
			}
		}
		out.Findings[i] = f
	}
	return &out
}

// redacted reports whether secrets had been hidden in an answer before it was recorded.
func (a *Answer) redacted() bool {
	return mark.Match(a.Body.Bytes) || slices.ContainsFunc(a.Fields, func(f Field) bool { return mark.MatchString(f.Value) })
}

// level makes all marks of redaction the same, whatever the secrets were.
func (a *Answer) level() {
	const same = "…[redacted]"
	a.Body.Bytes = mark.ReplaceAll(a.Body.Bytes, []byte(same))
	for i := range a.Fields { // which hideAnswer has made
		a.Fields[i].Value = mark.ReplaceAllString(a.Fields[i].Value, same)
	}
}

func hideAnswer(a *Answer, x *exchange.Exchange) {
	a.Fields = fieldsOf(&x.Response)
	a.Body.Bytes = bytes.Clone(x.ResponseBody.Bytes)
}
