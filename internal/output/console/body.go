package console

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/preview"
	"github.com/culprit-http/culprit/internal/proto"
)

// body writes what was kept of the body of the request or the response, with an empty line between the head and it.
func (o *Output) body(x *exchange.Exchange, response bool, m *proto.Message, b *exchange.Body) {
	if m.BodyBytes <= 0 && len(b.Bytes) == 0 {
		return
	}
	if m.HeadSize > 0 {
		o.buf = append(o.buf, '\n')
	}
	mediaType := exchange.MediaType(m)
	if len(b.Bytes) == 0 {
		o.aside(o.describe(mediaType, m, b) + ", not kept: see --max-body")
		return
	}
	text := o.o.Preview.Preview(x, response, preview.Limits{Columns: o.width})
	if text.Form == preview.Binary {
		o.binary(mediaType, m, b, &text)
	}
	for _, line := range text.Lines {
		o.line(line)
	}
	for _, note := range text.Notes {
		o.aside(note)
	}
	if b.Cut && text.Form != preview.Binary {
		o.aside("cut: " + o.describe(mediaType, m, b))
	}
}

// describe says what a body is and how large, and how much of it was kept.
func (o *Output) describe(mediaType []byte, m *proto.Message, b *exchange.Body) string {
	s := terminal.AppendSafe(nil, mediaType)
	if len(s) == 0 {
		s = append(s, "body"...)
	}
	if o.o.Terminal.Width > 0 {
		s = s[:terminal.Fit(s, o.width/2)]
	}
	if encoded := m.Field("content-encoding"); len(encoded) > 0 && b.DecodedBytes < 0 {
		s = terminal.AppendBytes(append(s, ", "...), m.BodyBytes)
		s = append(s, " encoded"...)
	} else {
		s = terminal.AppendBytes(append(s, ", "...), max(m.BodyBytes, b.DecodedBytes))
	}
	if b.Cut {
		s = terminal.AppendBytes(append(s, ", first "...), int64(len(b.Bytes)))
		s = append(s, " kept"...)
	}
	return string(s)
}

// binary describes a body that can't be shown, with a digest that identifies it.
func (o *Output) binary(mediaType []byte, m *proto.Message, b *exchange.Body, text *preview.Text) {
	s := o.describe(mediaType, m, b)
	if b.Undecoded != "" {
		s += ", not decoded: " + string(terminal.AppendSafe(nil, []byte(b.Undecoded)))
	}
	o.aside(s)
	if text.Kind != "" {
		o.aside("it looks like " + text.Kind)
	}
	if text.Cut {
		o.aside("kept: sha256 " + text.SHA256)
		return
	}
	o.aside("sha256 " + text.SHA256)
}

// line writes a line of text. Tabs stay.
func (o *Output) line(text string) {
	line := []byte(text)
	for i := bytes.IndexByte(line, '\t'); i >= 0; i = bytes.IndexByte(line, '\t') {
		o.buf = append(terminal.AppendSafe(o.buf, line[:i]), '\t')
		line = line[i+1:]
	}
	o.buf = append(terminal.AppendSafe(o.buf, line), '\n')
}
