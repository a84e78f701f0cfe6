package output

import (
	"strconv"

	"github.com/culprit-http/culprit/internal/proto"
)

// AppendStartLine appends the start line of a message, without its line end. It is made from the
// parts of the message and not from its bytes as sent, since redaction changes the parts; white
// space between them is one space.
func AppendStartLine(dst []byte, m *proto.Message) []byte {
	if m.Kind == proto.Request || m.Kind == proto.Event && m.Target.Len > 0 { // a message of a session has its request
		dst = append(dst, m.Bytes(m.Method)...)
		dst = appendPart(dst, m.Bytes(m.Target))
		return appendPart(dst, m.Bytes(m.Proto))
	}
	said := m.Bytes(m.Proto)
	dst = append(dst, said...)
	if m.Status > 0 {
		if len(said) > 0 { // CGI gives a status alone
			dst = append(dst, ' ')
		}
		dst = strconv.AppendInt(dst, int64(m.Status), 10)
	}
	return appendPart(dst, m.Bytes(m.Reason))
}

func appendPart(dst, part []byte) []byte {
	if len(part) == 0 {
		return dst
	}
	return append(append(dst, ' '), part...)
}

// AppendFields appends the header fields of a message, trailers left out, each on a line ended by
// CRLF.
func AppendFields(dst []byte, m *proto.Message) []byte {
	for i := range m.Fields {
		f := &m.Fields[i]
		if f.Flags&proto.Trailer != 0 {
			continue
		}
		dst = append(dst, m.Bytes(f.Name)...)
		dst = append(dst, ": "...)
		dst = append(dst, m.Bytes(f.Value)...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}
