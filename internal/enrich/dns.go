package enrich

import (
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// maxAnswers is how many resource records of a DNS message are looked at.
const maxAnswers = 64

// LearnDNS takes note of the addresses in a DNS message (RFC 1035 §4.1), if it is an answer: they belong to the name that
// was asked for, whatever other names lead to them. b may be anything, and is borrowed until return. at is a capture time in
// nanoseconds. It may be called from any goroutine.
func (e *Enricher) LearnDNS(b []byte, at int64) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || !h.Response || h.RCode != dnsmessage.RCodeSuccess {
		return
	}
	q, err := p.Question()
	if err != nil || q.Class != dnsmessage.ClassINET || q.Type != dnsmessage.TypeA && q.Type != dnsmessage.TypeAAAA || p.SkipAllQuestions() != nil {
		return
	}
	name := q.Name.String()
	for range maxAnswers {
		a, err := p.AnswerHeader()
		if err != nil {
			return
		}
		ttl := time.Duration(a.TTL) * time.Second
		switch a.Type {
		case dnsmessage.TypeA:
			var r dnsmessage.AResource
			if r, err = p.AResource(); err == nil {
				e.Learn(netip.AddrFrom4(r.A), name, at, ttl)
			}
		case dnsmessage.TypeAAAA:
			var r dnsmessage.AAAAResource
			if r, err = p.AAAAResource(); err == nil {
				e.Learn(netip.AddrFrom16(r.AAAA), name, at, ttl)
			}
		default:
			err = p.SkipAnswer()
		}
		if err != nil {
			return
		}
	}
}
