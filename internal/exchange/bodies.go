package exchange

import (
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/body"
)

// Decode undoes the content codings of the bodies that were kept, and describes multipart ones. A decoded
// body has limit bytes at most. It is to be called once, when the exchange is about to be shown: decoded
// bodies may be a thousand times larger than what they came as.
func (x *Exchange) Decode(d *body.Decoder, limit int) {
	if x.HasRequest {
		x.decodeBody(d, &x.Request, &x.RequestBody, limit)
	}
	if x.HasResponse {
		x.decodeBody(d, &x.Response, &x.ResponseBody, limit)
	}
}

// Peeked returns the beginning of a message's body as it was sent, where it was looked at whether it is shown or not; nil where it
// wasn't. It is borrowed until Unpeek.
func (x *Exchange) Peeked(of proto.Kind) []byte {
	switch {
	case x.peek[of] == 0:
		return nil
	case of == proto.Request:
		return x.RequestBody.raw
	}
	return x.ResponseBody.raw
}

// Unpeek forgets what was looked at beyond limit bytes of the bodies.
func (x *Exchange) Unpeek(limit int) {
	for kind, b := range [...]*Body{proto.Request: &x.RequestBody, proto.Response: &x.ResponseBody} {
		if x.peek[kind] > 0 && len(b.raw) > limit {
			b.raw = b.raw[:limit]
		}
	}
	x.peek = [2]int{}
}

// DropBodies forgets what Decode has made.
func (x *Exchange) DropBodies() {
	x.RequestBody.Bytes, x.ResponseBody.Bytes = nil, nil
	x.RequestBody.Parts, x.ResponseBody.Parts = nil, nil
}

func (x *Exchange) decodeBody(d *body.Decoder, m *proto.Message, b *Body, limit int) {
	if len(b.raw) == 0 {
		return
	}
	if m.Framing == proto.Rendered {
		b.Bytes, b.Cut = b.raw, len(b.raw) >= limit || m.End != proto.Whole || m.MissingBytes > 0
		return
	}
	whole := int64(len(b.raw)) == m.BodyBytes && m.MissingBytes == 0 && m.End == proto.Whole && m.Anomalies&cutBodies == 0
	b.Cut = !whole
	b.Bytes = b.raw
	if codings := contentCodings(m); len(codings) > 0 {
		out, r := d.Decode(codings, b.raw, limit)
		switch {
		case r.Undecoded != "":
			b.Undecoded = r.Undecoded
			if r.Limited {
				x.Anomalies.Set(proto.DecompressionLimit)
			}
		case r.Bad && len(out) == 0:
			x.Anomalies.Set(proto.BadContentCoding)
			b.Undecoded = string(codings)
		default:
			b.Bytes = append([]byte{}, out...)
			b.Cut = b.Cut || r.Limited
			if r.Bad {
				x.Anomalies.Set(proto.BadContentCoding)
			}
			if r.Limited {
				x.Anomalies.Set(proto.DecompressionLimit)
			}
			if whole && r.Complete && !r.Limited {
				b.DecodedBytes = r.Decoded
			}
		}
	} else if whole {
		b.DecodedBytes = int64(len(b.raw))
	}
	if b.Undecoded == "" {
		b.Parts = body.Multipart(m.Field("content-type"), b.Bytes)
	}
}

// cutBodies are the anomalies with which a parser that inflates stops before the end of a body.
const cutBodies = 1<<proto.DecompressionLimit | 1<<proto.BadContentCoding | 1<<proto.MessageTooLarge | 1<<proto.CompressionContextLost

// contentCodings returns the values of all Content-Encoding headers, joined by commas.
func contentCodings(m *proto.Message) []byte {
	var all []byte
	for i := range m.Fields {
		f := &m.Fields[i]
		if f.Name.Len == 16 && f.Flags&proto.Trailer == 0 && proto.EqualFold(m.Bytes(f.Name), "content-encoding") {
			if all != nil {
				all = append(append(all, ','), m.Bytes(f.Value)...)
			} else {
				all = m.Bytes(f.Value)[:f.Value.Len:f.Value.Len]
			}
		}
	}
	return all
}
