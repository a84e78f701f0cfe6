package generate

import (
	"net/http"
	"strconv"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// The shares of requests that carry these.
const (
	requestIDShare = 0.35
	traceShare     = 0.25
	// newTraceShare of those with a trace begin one.
	newTraceShare = 0.4
	// referrers is how many different pages a host's referrers are.
	referrers = 60
)

// writer writes the head of a message.
type writer struct {
	m *proto.Message
	// raw and fields are those of m, until the head is finished.
	raw    []byte
	fields []proto.Field
	// hidden is how much longer the head was before redaction.
	hidden int64
	// from is where the value at hand begins.
	from uint32
}

// start empties the message and begins its first line.
func (w *writer) start(m *proto.Message, kind proto.Kind, dir proto.Direction) {
	m.Reset()
	m.Kind, m.Dir, m.Version, m.End = kind, dir, 0x0101, proto.Whole
	*w = writer{m: m, raw: m.Raw, fields: m.Fields}
}

// span appends s and returns where it stands.
func (w *writer) span(s string) proto.Span {
	w.raw = append(w.raw, s...)
	return proto.Span{Off: uint32(len(w.raw) - len(s)), Len: uint32(len(s))}
}

func (w *writer) text(s string) { w.raw = append(w.raw, s...) }

// name begins a header field; its value is what is written until end.
func (w *writer) name(name string) {
	off := uint32(len(w.raw)) + 2
	raw := append(w.raw, '\r', '\n')
	raw = append(raw, name...)
	w.raw = append(raw, ':', ' ')
	w.fields = append(w.fields, proto.Field{Name: proto.Span{Off: off, Len: uint32(len(name))}})
	w.from = uint32(len(w.raw))
}

func (w *writer) end() {
	w.fields[len(w.fields)-1].Value = proto.Span{Off: w.from, Len: uint32(len(w.raw)) - w.from}
}

func (w *writer) field(name, value string) {
	off := uint32(len(w.raw)) + 2
	raw := append(w.raw, '\r', '\n')
	raw = append(raw, name...)
	raw = append(raw, ':', ' ')
	w.raw = append(raw, value...)
	w.fields = append(w.fields, proto.Field{Name: proto.Span{Off: off, Len: uint32(len(name))},
		Value: proto.Span{Off: off + uint32(len(name)) + 2, Len: uint32(len(value))}})
}

// finish ends the head, and says how long the body is.
func (w *writer) finish(body int64) {
	w.text("\r\n\r\n")
	m := w.m
	m.Raw, m.Fields = w.raw, w.fields
	m.HeadSize = int64(len(m.Raw)) + w.hidden
	m.BodyBytes, m.Size = body, m.HeadSize+body
	switch {
	case m.Framing == proto.Chunked:
		m.Chunks = 1 + body/8192
		m.Size += m.Chunks*8 + 5
	case m.Length >= 0:
		m.Framing = proto.ByLength
	}
}

// secret writes the mark that redaction leaves of a secret: its length, and the fingerprint made of seed.
func (g *Generator) secret(x *exchange.Exchange, length int, seed uint64) {
	w := &g.w
	from := len(w.raw)
	f := int(mix(seed) & 0xffff)
	print := g.prints[4*f : 4*f+4]
	w.text("…[redacted ")
	w.raw = strconv.AppendInt(w.raw, int64(length), 10)
	w.text(" #")
	w.text(print)
	w.text("]")
	w.hidden += int64(length - (len(w.raw) - from))
	for _, known := range x.Secrets {
		if known == print {
			return
		}
	}
	x.Secrets = append(x.Secrets, print)
}

// request writes the head of a request in the order of the program that sends it.
func (g *Generator) request(x *exchange.Exchange, c *connection, t *route, a *answer) {
	w, r, who := &g.w, g.rand, c.client
	s := t.server
	w.start(&x.Request, proto.Request, proto.Originator)
	w.m.Method = w.span(a.method)
	w.text(" ")
	from := uint32(len(w.raw))
	w.raw, a.id = t.appendPath(w.raw, r)
	if t.query && a.method == http.MethodGet && r.IntN(2) == 0 {
		g.query(t)
	}
	w.m.Target = proto.Span{Off: from, Len: uint32(len(w.raw)) - from}
	w.text(" ")
	w.m.Proto = w.span("HTTP/1.1")

	w.name("Host")
	w.text(s.host)
	if s.port != 80 {
		w.text(":")
		w.raw = strconv.AppendUint(w.raw, uint64(s.port), 10)
	}
	w.end()
	if a.requestBody > 0 {
		w.m.Length = a.requestBody
		w.name("Content-Length")
		w.raw = strconv.AppendInt(w.raw, a.requestBody, 10)
		w.end()
		if s.kind == pages {
			w.field("Content-Type", "application/x-www-form-urlencoded")
		} else {
			w.field("Content-Type", "application/json")
		}
	}
	switch who.agent.style {
	case chromium, browser:
		g.browser(x, c, t, a)
	case app:
		g.program(x, c, t, a, "application/json", true)
	case library:
		g.program(x, c, t, a, "*/*", false)
	case crawler:
		w.field("Connection", "keep-alive")
		w.field("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
		w.field("From", "crawler(at)bots.example")
		w.field("User-Agent", who.agent.text)
		w.field("Accept-Encoding", "gzip, deflate, br")
	}
	if who.forwarded[15] != 0 {
		w.name("X-Forwarded-For")
		w.raw = who.forwarded.Netip().AppendTo(w.raw)
		w.end()
		w.field("X-Forwarded-Proto", "https")
	}
	a.hasRequestID = r.Float64() < requestIDShare
	if a.hasRequestID {
		g.requestID = appendUUID(g.requestID[:0], r.Uint64(), r.Uint64())
		w.name("X-Request-ID")
		w.raw = append(w.raw, g.requestID...)
		w.end()
	}
	if r.Float64() < traceShare {
		trace := &g.traces[r.IntN(len(g.traces))]
		if trace[0] == 0 || r.Float64() < newTraceShare {
			*trace = [2]uint64{r.Uint64() | 1<<63, r.Uint64()}
		}
		w.name("traceparent")
		w.text("00-")
		w.raw = appendHex(appendHex(w.raw, trace[0], 16), trace[1], 16)
		w.text("-")
		w.raw = appendHex(w.raw, r.Uint64(), 16)
		w.text("-01")
		w.end()
	}
	w.finish(a.requestBody)
}

var words = [...]string{"shoes", "winter+jacket", "desk+lamp", "usb-c+cable", "coffee", "running", "red+dress", "garden+chair", "headphones", "lego",
	"backpack", "notebook", "kettle", "tent", "bike+light", "yoga+mat", "socks", "keyboard", "pan+28cm", "phone+case"}

// query writes a query, as collections and search take it.
func (g *Generator) query(t *route) {
	w, r := &g.w, g.rand
	if t.seed&1 == 0 {
		w.text("?q=")
		w.text(words[min(r.IntN(len(words)), r.IntN(len(words)))])
		w.text("&page=")
	} else {
		w.text("?page=")
	}
	w.raw = strconv.AppendInt(w.raw, int64(1+min(r.IntN(20), r.IntN(20), r.IntN(20))), 10)
	w.text("&limit=50")
}

// browser writes the headers of a browser.
func (g *Generator) browser(x *exchange.Exchange, c *connection, t *route, a *answer) {
	w, r, who := &g.w, g.rand, c.client
	chrome := who.agent.style == chromium
	navigates := t.server.kind == pages
	fetch := t.server.kind == api
	w.field("Connection", "keep-alive")
	if fetch && who.seed&3 > 0 {
		w.name("Authorization")
		w.text("Bearer ")
		g.secret(x, 700+int(who.seed>>8&0xff), who.seed)
		w.end()
	}
	if chrome {
		w.field("sec-ch-ua-platform", who.agent.hints[2])
	}
	w.field("User-Agent", who.agent.text)
	switch {
	case navigates:
		w.field("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8")
	case fetch:
		w.field("Accept", "application/json, text/plain, */*")
	default:
		w.field("Accept", "*/*")
	}
	if chrome {
		w.field("sec-ch-ua", who.agent.hints[0])
		w.field("sec-ch-ua-mobile", who.agent.hints[1])
	}
	if fetch {
		w.field("Origin", "https://www.shop.example")
	}
	if who.agent.facts.Name != "Safari" || who.agent.facts.Version > "16" {
		w.field("Sec-Fetch-Site", "same-site")
		if navigates {
			w.field("Sec-Fetch-Mode", "navigate")
		} else {
			w.field("Sec-Fetch-Mode", "cors")
		}
	}
	if r.IntN(10) < 8 {
		w.name("Referer")
		w.text("https://www.shop.example/products/")
		if k := r.IntN(2 * referrers); k < referrers {
			w.raw = strconv.AppendInt(w.raw, int64(10_000+k*k), 10)
		}
		w.end()
	}
	w.field("Accept-Encoding", "gzip, deflate, br")
	w.field("Accept-Language", who.language)
	if t.server.kind != assets && who.seed>>4&7 > 0 {
		w.name("Cookie")
		w.text("session_id=")
		g.secret(x, 32, who.seed+1)
		if who.seed>>10&1 > 0 {
			w.text("; csrftoken=")
			g.secret(x, 64, who.seed+2)
		}
		if who.seed>>11&1 > 0 {
			w.text("; _ga=")
			g.secret(x, 27, who.seed+3)
		}
		w.text("; locale=")
		g.secret(x, 5, uint64(len(who.language))<<8|uint64(who.language[0]))
		w.end()
	}
	if a.conditional {
		w.name("If-None-Match")
		g.etag(t, a)
		w.end()
	}
	if navigates {
		w.field("Upgrade-Insecure-Requests", "1")
	}
}

// program writes the headers of an app or of a library.
func (g *Generator) program(x *exchange.Exchange, c *connection, t *route, a *answer, accept string, device bool) {
	w, who := &g.w, c.client
	w.field("User-Agent", who.agent.text)
	w.field("Accept", accept)
	w.field("Accept-Encoding", "gzip")
	w.field("Connection", "Keep-Alive")
	if who.service == "" || who.seed&1 > 0 {
		w.name("Authorization")
		w.text("Bearer ")
		g.secret(x, 300+int(who.seed>>8&0xff), who.seed)
		w.end()
	}
	if device {
		w.field("Accept-Language", who.language)
		w.field("X-App-Platform", who.agent.facts.Kind)
		w.name("X-Device-Id")
		w.raw = appendUUID(w.raw, who.seed, mix(who.seed+9))
		w.end()
	} else {
		w.name("X-Api-Key")
		g.secret(x, 40, who.seed+4)
		w.end()
	}
	if a.conditional {
		w.name("If-None-Match")
		g.etag(t, a)
		w.end()
	}
}

// etag writes the entity tag of what was asked for. It changes each hour.
func (g *Generator) etag(t *route, a *answer) {
	w := &g.w
	w.text(`"`)
	w.raw = appendHex(w.raw, mix(t.seed^a.id<<20^uint64(g.now/3600e9)), 16)
	w.text(`"`)
}

// response writes the head of a response in the order of common servers.
func (g *Generator) response(x *exchange.Exchange, c *connection, t *route, a *answer) {
	w, r := &g.w, g.rand
	s := t.server
	w.start(&x.Response, proto.Response, proto.Responder)
	w.m.Status = a.status
	w.m.Proto = w.span("HTTP/1.1")
	w.text(" ")
	w.raw = strconv.AppendInt(w.raw, int64(a.status), 10)
	w.text(" ")
	w.m.Reason = w.span(http.StatusText(a.status))

	if s.software != "" {
		w.field("Server", s.software)
	}
	w.name("Date")
	w.raw = append(w.raw, g.date()...)
	w.end()
	hasBody := a.status != http.StatusNoContent && a.status != http.StatusNotModified && a.method != http.MethodHead
	body := int64(0)
	switch {
	case !hasBody:
	case a.status >= 300:
		body = 40 + int64(t.seed%200)
		w.field("Content-Type", "application/json")
	default:
		body = a.responseBody
		w.field("Content-Type", t.mime)
	}
	switch {
	case !hasBody:
	case t.compress && body > 1000:
		w.m.Framing = proto.Chunked
		w.field("Transfer-Encoding", "chunked")
		w.field("Content-Encoding", "gzip")
	default:
		w.m.Length = body
		w.name("Content-Length")
		w.raw = strconv.AppendInt(w.raw, body, 10)
		w.end()
	}
	if a.closes {
		w.field("Connection", "close")
	} else {
		w.field("Connection", "keep-alive")
	}
	if t.compress {
		w.field("Vary", "Accept-Encoding, Origin")
	}
	if a.status < 400 {
		w.field("Cache-Control", t.cache)
		if t.validates && (a.status == http.StatusOK || a.status == http.StatusNotModified) {
			w.name("ETag")
			g.etag(t, a)
			w.end()
			w.name("Last-Modified")
			modified := g.begin/1e9 - int64(mix(t.seed+a.id)%(90*24*60))*60
			w.raw = time.Unix(modified, 0).UTC().AppendFormat(w.raw, http.TimeFormat)
			w.end()
		}
	}
	if a.status == http.StatusFound || a.status == http.StatusMovedPermanently {
		w.name("Location")
		w.text("https://")
		w.text(s.host)
		w.raw, _ = t.appendPath(w.raw, r)
		w.end()
	}
	if a.hasRequestID {
		w.name("X-Request-ID")
		w.raw = append(w.raw, g.requestID...)
		w.end()
	}
	if s.kind != assets {
		if r.IntN(12) == 0 {
			w.name("Set-Cookie")
			w.text("session_id=")
			g.secret(x, 32, r.Uint64())
			w.text("; Path=/; HttpOnly; Secure; SameSite=Lax")
			w.end()
		}
		w.field("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
		w.field("X-Frame-Options", "SAMEORIGIN")
	}
	w.field("X-Content-Type-Options", "nosniff")
	if s.kind == api {
		w.field("Access-Control-Allow-Origin", "https://www.shop.example")
		if s.software == "envoy" {
			w.name("x-envoy-upstream-service-time")
			w.raw = strconv.AppendInt(w.raw, a.wait/1e6, 10)
			w.end()
		}
	}
	w.finish(body)
}

// date returns the value of a Date header.
func (g *Generator) date() []byte {
	if s := g.now / 1e9; s != g.second {
		g.second = s
		g.stamp = time.Unix(s, 0).UTC().AppendFormat(g.stamp[:0], http.TimeFormat)
	}
	return g.stamp
}
