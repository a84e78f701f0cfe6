package web

import (
	"encoding/json"

	"github.com/culprit-http/culprit/internal/correlate/pageload"
	"github.com/culprit-http/culprit/internal/exchange"
)

// pageView is the JSON of a page. Durations are nanoseconds.
type pageView struct {
	// ID is that of the document.
	ID     text   `json:"id"`
	URL    text   `json:"url"`
	Client string `json:"client"`
	// ForwardedFor is of whom a proxy asked for it, as it says.
	ForwardedFor text         `json:"forwarded_for"`
	UserAgent    text         `json:"user_agent"`
	Browser      text         `json:"browser"`
	Start        stamp        `json:"start"`
	Load         part         `json:"load"`
	TTFB         part         `json:"ttfb"`
	Requests     int          `json:"requests"`
	Bytes        int64        `json:"bytes"`
	Errors       int          `json:"errors"`
	Complete     bool         `json:"complete"`
	Prefetched   bool         `json:"prefetched"`
	Confidence   float64      `json:"confidence"`
	Inferred     bool         `json:"inferred"`
	LeftOut      int          `json:"left_out"`
	Resources    []pageMember `json:"resources"`
}

// pageMember is the JSON of an exchange of a page.
type pageMember struct {
	ID    text  `json:"id"`
	Start stamp `json:"start"`
	// Offset is from the start of the page.
	Offset   int64 `json:"offset"`
	Duration part  `json:"duration"`
	Timing   struct {
		Connect part `json:"connect"`
		TLS     part `json:"tls"`
		Idle    part `json:"idle"`
		Send    part `json:"send"`
		Wait    part `json:"wait"`
		Receive part `json:"receive"`
	} `json:"timing"`
	Method     text    `json:"method"`
	Target     text    `json:"target"`
	Host       text    `json:"host"`
	Status     *int    `json:"status"`
	Type       text    `json:"type"`
	Bytes      int64   `json:"bytes"`
	Why        string  `json:"why"`
	Confidence float64 `json:"confidence"`
	InLoad     bool    `json:"in_load"`
	// Apart says why it isn't in the load.
	Apart string `json:"apart"`
}

// part is a length of time in nanoseconds; below 0, it isn't known, which is null.
type part int64

// MarshalJSON implements json.Marshaler.
func (p part) MarshalJSON() ([]byte, error) {
	if p < 0 {
		return []byte("null"), nil
	}
	return json.Marshal(int64(p))
}

func viewOf(p *pageload.Page) pageView {
	v := pageView{
		ID: idText(p.Resources[p.Document].ID), URL: text("http://" + p.Host + p.Target), Client: p.Client.String(),
		ForwardedFor: text(p.ForwardedFor), UserAgent: text(p.UserAgent), Browser: text(p.Browser), Start: stamp(p.Start),
		Load: part(p.Load), TTFB: part(p.TTFB), Requests: len(p.Resources) + p.LeftOut, Complete: p.Complete,
		Prefetched: p.Prefetched, Confidence: rounded(p.Confidence), Inferred: true, LeftOut: p.LeftOut,
		Resources: make([]pageMember, len(p.Resources)),
	}
	for i := range p.Resources {
		r := &p.Resources[i]
		v.Bytes += r.Bytes
		if r.Failed {
			v.Errors++
		}
		m := &v.Resources[i]
		*m = pageMember{
			ID: idText(r.ID), Start: stamp(r.Start), Offset: r.Start - p.Start, Duration: part(r.Timing.Duration),
			Method: text(r.Method), Target: text(r.Target), Host: text(r.Host), Type: text(r.Type), Bytes: r.Bytes,
			Why: r.Why.String(), Confidence: rounded(r.Confidence), InLoad: r.InLoad, Apart: r.Apart.String(),
		}
		if r.Status > 0 {
			m.Status = &r.Status
		}
		t := &m.Timing
		t.Connect, t.TLS, t.Idle = part(r.Timing.Connect), part(r.Timing.TLS), part(r.Timing.Idle)
		t.Send, t.Wait, t.Receive = part(r.Timing.Send), part(r.Timing.Wait), part(r.Timing.Receive)
	}
	return v
}

func idText(id [exchange.IDSize]byte) text { return text(exchange.AppendID(nil, id)) }

// rounded is a confidence to two digits, of which the second is generous.
func rounded(confidence float64) float64 { return float64(int(confidence*100+0.5)) / 100 }
