package exchange

import (
	"fmt"

	"github.com/culprit-http/culprit/internal/proto"
)

// TLSVersion names a version of TLS without the word TLS: 1.3; empty for 0.
func TLSVersion(v uint16) string {
	switch {
	case v == 0:
		return ""
	case v == 0x0002:
		return "2.0" // SSL 2
	case v == 0x0300:
		return "3.0" // SSL 3
	case 0x0301 <= v && v <= 0x0304:
		return "1." + string('0'+byte(v-0x0301))
	}
	return fmt.Sprintf("0x%04x", v)
}

// serverCertificate returns the server's own certificate, nil when it wasn't seen.
func (x *Exchange) serverCertificate() *proto.Certificate {
	if x.TLS == nil || len(x.TLS.ServerChain) == 0 {
		return nil
	}
	return x.TLS.ServerChain[0]
}

// ErrorCode returns the name of what ended the exchange's stream or session before its time, or of the error that its
// protocol answers with beside the HTTP status; empty when there is none.
func (x *Exchange) ErrorCode() string {
	switch {
	case x.Abort != nil:
		return x.Abort.Name
	case x.Closing.Seen && x.Closing.Code != 0 && x.Closing.Code != 1000 && x.Closing.Code != 1001:
		return fmt.Sprint(x.Closing.Code)
	}
	switch {
	case x.Family == Names && x.Failed():
		return string(x.Response.FactText("rcode"))
	case x.Family == Database && x.HasResponse:
		return string(x.Response.FactText(proto.FactError))
	}
	if code, ok := x.GRPCStatus(); ok && code != 0 {
		return GRPCStatusName(code)
	}
	if x.TLS != nil && !x.HasRequest && !x.HasResponse {
		if a := x.TLS.Fatal(); a != nil {
			return a.Name
		}
	}
	return ""
}

// StreamID returns the number of the stream, 0 in protocols without streams.
func (x *Exchange) StreamID() uint64 {
	if x.HasRequest && x.Request.Stream != 0 {
		return x.Request.Stream
	}
	return x.Response.Stream
}

func (v *Value) bool(is bool) {
	v.Kind, v.Int = Bool, 0
	if is {
		v.Int = 1
	}
}

func (v *Value) list(list []string) {
	if len(list) > 0 {
		v.Kind, v.List = List, list
	}
}

// tls gives one of the texts about the TLS session.
func (v *Value) tls(x *Exchange, text func(t *proto.TLS) string) {
	if x.TLS != nil {
		v.optional(text(x.TLS))
	}
}

// certificate gives one of the texts of the server's or the client's own certificate.
func (v *Value) certificate(x *Exchange, server bool, text func(c *proto.Certificate) string) {
	if x.TLS == nil {
		return
	}
	chain := x.TLS.ClientChain
	if server {
		chain = x.TLS.ServerChain
	}
	if len(chain) > 0 {
		v.optional(text(chain[0]))
	}
}

// suites gives the cipher suites that a client offered, as four hexadecimal digits each.
func (v *Value) suites(x *Exchange) {
	if x.TLS == nil || x.Index > 0 || len(x.TLS.OfferedSuites) == 0 {
		return
	}
	v.Kind = List
	for _, s := range x.TLS.OfferedSuites {
		v.List = append(v.List, fmt.Sprintf("%04X", s))
	}
}

// alerts gives the alerts of the session, each with its sender.
func (v *Value) alerts(x *Exchange) {
	if x.TLS == nil || len(x.TLS.Alerts) == 0 {
		return
	}
	v.Kind = List
	for i := range x.TLS.Alerts {
		a := &x.TLS.Alerts[i]
		v.List = append(v.List, x.side(a.Dir)+": "+a.Name)
	}
}

// parts gives a number about the messages that a body consists of, if it consists of any.
func (v *Value) parts(m *proto.Message, number func(p *proto.Parts) int64) {
	if m.Parts.Count > 0 {
		v.positive(Int, number(&m.Parts))
	}
}

// floorDiv divides and rounds down.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
