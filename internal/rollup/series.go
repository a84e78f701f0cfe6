package rollup

import (
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/exchange"
)

// parts are the parts of a Series as an exchange has them, borrowed.
type parts struct {
	observer, tap, protocol, service, route string
	domain, method                          []byte
	class                                   uint8
	other                                   bool
}

func partsOf(x *exchange.Exchange) parts {
	p := parts{
		observer: x.Tap.Observer, tap: x.Tap.Name, protocol: x.Protocol,
		service: x.Enriched.Service[x.Server()], route: x.Enriched.Route,
		class: StatusClass(x),
	}
	p.method = x.Verb()
	switch x.Family {
	case exchange.Database:
		p.route = x.Statement.Template
		if x.HasRequest {
			p.domain = x.Request.FactText("database")
		}
	case exchange.HTTP:
		if x.HasRequest {
			p.domain = x.URL().Host
		}
	}
	return p
}

// StatusClass returns the class of an exchange's status, 1 to 5, and 0 without a final response or with a status that belongs
// to no class.
func StatusClass(x *exchange.Exchange) uint8 {
	if class := x.Response.Status / 100; x.HasResponse && 1 <= class && class <= 5 {
		return uint8(class)
	}
	return 0
}

// appendKey appends what tells the series from others. Lengths stand before texts, which may have any bytes. Of what is cut in
// a Series, no more is in the key.
func (p *parts) appendKey(dst []byte) []byte {
	other := byte(0)
	if p.other {
		other = 1
	}
	dst = append(dst, p.class, other)
	for _, s := range [...]string{p.observer, p.tap, p.protocol, p.service, p.route} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	dst = appendCut(dst, p.domain, MaxDomain)
	return appendCut(dst, p.method, MaxMethod)
}

// appendCut appends what is kept of a text, and its length.
func appendCut(dst, text []byte, max int) []byte {
	n := len(text)
	text = text[:min(n, max)]
	dst = binary.AppendUvarint(dst, uint64(min(n, max+1)))
	return append(dst, text...)
}

// series makes the Series, which doesn't share memory with the exchange.
func (p *parts) series() Series {
	return Series{
		Observer: Text([]byte(p.observer), MaxText), Tap: Text([]byte(p.tap), MaxText), Protocol: Text([]byte(p.protocol), MaxText), Service: Text([]byte(p.service), MaxText), Route: Text([]byte(p.route), MaxText),
		Domain: Text(p.domain, MaxDomain), Method: Text(p.method, MaxMethod), StatusClass: p.class, Other: p.other,
	}
}
