package record

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// session is the TLS session of the exchange that a Maker makes, with the certificates that it points to.
type session struct {
	proto.TLS
	server, client proto.Certificate
}

func (s *session) reset() { *s = session{} }

// tls returns the TLS session, which the exchange has from then on.
func (k *Maker) tls() *proto.TLS {
	k.x.TLS = &k.session.TLS
	return &k.session.TLS
}

// serverCertificate and clientCertificate return the certificates of the two ends, which the session has from then on.
func (k *Maker) serverCertificate() *proto.Certificate {
	s := k.tls()
	if s.ServerChain == nil {
		s.ServerChain = []*proto.Certificate{&k.session.server}
	}
	return &k.session.server
}

func (k *Maker) clientCertificate() *proto.Certificate {
	s := k.tls()
	if s.ClientChain == nil {
		s.ClientChain = []*proto.Certificate{&k.session.client}
	}
	return &k.session.client
}

// tlsSetters are the columns from which a TLS session is made.
func tlsSetters() map[string]setter {
	m := map[string]setter{
		"tls.established":   func(k *Maker, c *Cell) { k.tls().Established = c.Int != 0 },
		"tls.version":       func(k *Maker, c *Cell) { k.tls().Version = tlsVersion(c.Text) },
		"tls.cipher":        text(func(k *Maker) *string { return &k.tls().SuiteName }),
		"tls.curve":         text(func(k *Maker) *string { return &k.tls().GroupName }),
		"tls.next_protocol": text(func(k *Maker) *string { return &k.tls().ALPN }),

		"tls.client.server_name":       text(func(k *Maker) *string { return &k.tls().ServerName }),
		"tls.client.ja3":               text(func(k *Maker) *string { return &k.tls().JA3 }),
		"tls.client.supported_ciphers": func(k *Maker, c *Cell) { k.tls().OfferedSuites = suites(c.List) },
		"tls.client.subject":           text(func(k *Maker) *string { return &k.clientCertificate().Subject }),
		"tls.client.issuer":            text(func(k *Maker) *string { return &k.clientCertificate().Issuer }),

		"tls.server.ja3s":                      text(func(k *Maker) *string { return &k.tls().JA3S }),
		"tls.server.subject":                   text(func(k *Maker) *string { return &k.serverCertificate().Subject }),
		"tls.server.issuer":                    text(func(k *Maker) *string { return &k.serverCertificate().Issuer }),
		"tls.server.not_before":                func(k *Maker, c *Cell) { k.serverCertificate().NotBefore = c.Int },
		"tls.server.not_after":                 func(k *Maker, c *Cell) { k.serverCertificate().NotAfter = c.Int },
		"tls.server.hash.sha256":               text(func(k *Maker) *string { return &k.serverCertificate().SHA256 }),
		"tls.server.x509.alternative_names":    func(k *Maker, c *Cell) { k.serverCertificate().Names = texts(c.List) },
		"tls.server.x509.serial_number":        text(func(k *Maker) *string { return &k.serverCertificate().Serial }),
		"tls.server.x509.public_key_algorithm": text(func(k *Maker) *string { return &k.serverCertificate().Key }),
		"tls.server.x509.signature_algorithm":  text(func(k *Maker) *string { return &k.serverCertificate().Signature }),

		"culprit.tls.client.ja4":      text(func(k *Maker) *string { return &k.tls().JA4 }),
		"culprit.tls.client.versions": func(k *Maker, c *Cell) { k.tls().Offered = tlsVersion(c.Text) },
		"culprit.tls.client.alpn":     func(k *Maker, c *Cell) { k.tls().OfferedALPN = texts(c.List) },
		"culprit.tls.resumption":      text(func(k *Maker) *string { return &k.tls().Resumption }),
		"culprit.tls.early_data":      text(func(k *Maker) *string { return &k.tls().EarlyData }),
		"culprit.tls.retry":           func(k *Maker, c *Cell) { k.tls().Retry = c.Int != 0 },
		"culprit.tls.alerts":          func(k *Maker, c *Cell) { k.tls().Alerts = alerts(c.List) },
		"culprit.tls.decrypted":       func(k *Maker, c *Cell) { k.tls().Decrypted = c.Int != 0 },
		"culprit.tls.reason":          text(func(k *Maker) *string { return &k.tls().Reason }),
		"culprit.tls.lost_records":    func(k *Maker, c *Cell) { k.tls().LostRecords = int(c.Int) },
	}
	for name, at := range map[string]func(s *exchange.Split) *int64{
		"client":  func(s *exchange.Split) *int64 { return &s.Client },
		"server":  func(s *exchange.Split) *int64 { return &s.Server },
		"network": func(s *exchange.Split) *int64 { return &s.Network },
	} {
		m["culprit.tls.handshake."+name] = number64(func(x *exchange.Exchange) *int64 { return at(&x.Timing.Handshake) })
	}
	return m
}

// finish sets what follows from several columns.
func (s *session) finish(r *Row) {
	if chain := r.Cell(cols.tls.chain); chain != nil {
		first := s.ServerChain
		s.ServerChain = make([]*proto.Certificate, len(chain.List))
		for i, subject := range chain.List {
			if i == 0 && first != nil {
				s.ServerChain[i] = first[0]
				continue
			}
			s.ServerChain[i] = &proto.Certificate{Subject: string(subject)}
		}
	}
	// Only certificates that couldn't be parsed lack the end of their validity.
	if r.Cell(cols.tls.notAfter) == nil && len(s.ServerChain) > 0 {
		s.ServerChain[0].Malformed = true
	}
	if c := r.Cell(cols.tls.alerts); c != nil {
		for i := range s.Alerts[:min(len(s.Alerts), len(c.List))] {
			s.Alerts[i].Fatal, s.Alerts[i].Code = parseAlert(c.List[i])
		}
	} else if code := r.Text(cols.tls.errorCode); code != nil {
		// Documents that weren't made for stores tell of one that is fatal, by its name.
		if i := slices.IndexFunc(s.Alerts, func(a proto.Alert) bool { return a.Name == string(code) }); i >= 0 {
			s.Alerts[i].Fatal = true
		}
	}
	if c := r.Cell(cols.tls.suites); c != nil {
		s.OfferedSuites = suites(c.List)
	}
	if c := r.Cell(cols.tls.alpn); c != nil {
		s.OfferedALPN = texts(c.List)
	}
}

// The levels of alerts.
const fatal, warning = "fatal ", "warning "

// alertText gives the level and the number of an alert: fatal 48.
func alertText(a *proto.Alert) string {
	level := warning
	if a.Fatal {
		level = fatal
	}
	return level + strconv.Itoa(int(a.Code))
}

// parseAlert reads what alertText writes.
func parseAlert(text []byte) (isFatal bool, code uint8) {
	level, number, _ := strings.Cut(string(text), " ")
	n, _ := strconv.ParseUint(number, 10, 8)
	return level+" " == fatal, uint8(n)
}

// tlsVersion reads a version as exchange.TLSVersion writes it, 0 when it isn't one.
func tlsVersion(name []byte) uint16 {
	if digits, ok := bytes.CutPrefix(name, []byte("0x")); ok {
		v, _ := strconv.ParseUint(string(digits), 16, 16)
		return uint16(v)
	}
	named := [...]uint16{0x0002, 0x0300, 0x0301, 0x0302, 0x0303, 0x0304}
	i := slices.IndexFunc(named[:], func(v uint16) bool { return exchange.TLSVersion(v) == string(name) })
	if i < 0 {
		return 0
	}
	return named[i]
}

// suites reads the numbers of cipher suites.
func suites(list [][]byte) (all []uint16) {
	for _, text := range list {
		n, _ := strconv.ParseUint(string(text), 16, 16)
		all = append(all, uint16(n))
	}
	return all
}

// alerts reads alerts as the field of them has them, each behind its sender.
func alerts(list [][]byte) (all []proto.Alert) {
	for _, text := range list {
		sender, name, _ := strings.Cut(string(text), ": ")
		all = append(all, proto.Alert{Dir: side([]byte(sender)), Name: name})
	}
	return all
}
