package enrich

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
)

// maxAnswers is how many records of an answer are looked at.
const maxAnswers = 64

// LearnFrom takes note of the addresses that DNS gave for a name, if that is what the exchange is about, over UDP, TCP or HTTPS: they
// belong to the name that was asked for, whatever other names lead to them. Only an answer to a question that was seen is believed,
// and none of multicast DNS, which anybody in the network may give. It is called from the goroutine of Exchange; what it learns
// holds from the next exchange on.
func (e *Enricher) LearnFrom(x *exchange.Exchange) {
	if x.Family != exchange.HTTP && x.Protocol != "dns" || !x.HasRequest || !x.HasResponse || len(x.Response.Facts) == 0 {
		return
	}
	q, r := &x.Request, &x.Response
	if typ := string(q.FactText("type")); typ != "A" && typ != "AAAA" || string(q.FactText("class")) != "IN" || string(r.FactText("rcode")) != "NOERROR" {
		return
	}
	name := string(q.FactText("name"))
	var address bool
	var ttl time.Duration
	n := 0
	for i := range r.Facts { // the facts of one record come one after the other
		f := &r.Facts[i]
		switch f.Name {
		case "answer_type":
			typ := r.Bytes(f.Value)
			address, ttl = string(typ) == "A" || string(typ) == "AAAA", 0
		case "answer_ttl":
			seconds, _ := strconv.ParseUint(string(r.Bytes(f.Value)), 10, 32)
			ttl = time.Duration(seconds) * time.Second
		case "answer_data":
			if n++; n > maxAnswers {
				return
			}
			if addr, err := netip.ParseAddr(string(r.Bytes(f.Value))); address && err == nil {
				e.Learn(addr, name, x.Completed.Time, ttl)
			}
		}
	}
}
