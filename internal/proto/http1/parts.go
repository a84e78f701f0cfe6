package http1

import (
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/framed"
)

// startCounting has the messages within the body that follows counted, if its media type says that it consists of any.
// What is compressed as a whole can't be counted.
func (s *side) startCounting(contentType []byte) {
	if s.parts == nil {
		s.parts = framed.New(contentType)
		s.counting = s.parts != nil
	} else {
		s.counting = s.parts.Reset(contentType)
	}
	if coding := s.msg.Field("content-encoding"); s.counting && len(coding) > 0 && !proto.EqualFold(coding, "identity") {
		s.counting = false
	}
}

// count counts the messages in bytes of a body.
func (p *Parser) count(s *side, b []byte) {
	held := s.parts.Held()
	s.parts.Write(b)
	*p.held += s.parts.Held() - held
	s.msg.Parts = s.parts.Parts()
}

// counted tells of the messages in a body that is over. The trailers that a body of gRPC-Web ends with become those of the
// message, behind those that HTTP has.
func (p *Parser) counted(s *side, how proto.End) {
	m := &s.msg
	s.counting = false
	bad := s.parts.Bad()
	if s.parts.Close(); how == proto.Whole {
		bad = s.parts.Bad()
	}
	if bad {
		m.Anomalies.Set(proto.BadMessageFraming)
	}
	m.Parts = s.parts.Parts()
	*p.held -= s.parts.Held()
	trailers := s.parts.Trailers()
	if len(trailers) == 0 {
		return
	}
	if len(m.Raw) > 0 {
		trailers = append(m.Raw[:len(m.Raw):len(m.Raw)], trailers...)
	}
	m.Raw = trailers
	p.parseTrailers(m)
}

// parseTrailers fills m.Fields from the lines of trailers in m.Raw.
func (p *Parser) parseTrailers(m *proto.Message) {
	parseFields(m, 0, p.limits.MaxFields, nil)
	for i := range m.Fields {
		m.Fields[i].Flags |= proto.Trailer
	}
	if len(m.Fields) == 0 {
		m.Raw = nil
	}
}
