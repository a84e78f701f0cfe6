package pageload

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// kind is what a request asks for, as far as itself tells.
type kind uint8

const (
	// resource is anything that a document needs.
	resource kind = iota
	// document is what a window shows, frame what a part of one shows.
	document
	frame
	// perhaps is a document, unless a page turns out to have asked for it.
	perhaps
)

// sighting is what there is to know of an exchange. It borrows from it.
type sighting struct {
	x   *exchange.Exchange
	at  address
	url uint64
	// origin is the number of the authority.
	origin uint64
	// client and connection are numbers of whom it comes from.
	client, connection uint64
	forwardedFor       []byte

	// kind is what it asks for, and sure how sure that is.
	kind  kind
	sure  float64
	apart Apart
	// modern: it has Sec-Fetch-Site, which is site.
	modern bool
	site   []byte
	// referer and refererOrigin are numbers, if hasReferer; of Origin alone, only the second.
	hasReferer, hasOrigin  bool
	referer, refererOrigin uint64
	// bareReferer: the Referer is an origin alone. foreign: that isn't the request's own.
	bareReferer, foreign bool
	// location is the number of what it redirects to, if redirects.
	redirects bool
	location  uint64
	// unframed: the answer forbids to show it in a frame.
	unframed bool

	// start is the first byte; answer the first byte of what may name other resources; end the last one; 0: unknown.
	start, answer, end int64
}

// see looks at an exchange that has a request.
func (g *Grouper) see(x *exchange.Exchange) *sighting {
	m := &x.Request
	s := &sighting{x: x, at: addressOf(x), start: x.Start.Time, forwardedFor: m.Field("x-forwarded-for")}
	s.url, s.origin = g.hash.address(&s.at), g.hash.of(s.at.authority)
	client := x.Flow.Addr[x.Client]
	s.client = g.hash.of(x.Tap.Observer, x.Tap.Name, x.Tap.Label, string(client[:]), string(m.Field("user-agent")), string(s.forwardedFor))
	server := x.Flow.Addr[x.Server()]
	var ports [4]byte
	binary.BigEndian.PutUint16(ports[:], x.Flow.Port[x.Client])
	binary.BigEndian.PutUint16(ports[2:], x.Flow.Port[x.Server()])
	s.connection = g.hash.of(string(server[:]), string(ports[:]))

	if x.HasResponse {
		if x.Timing.Send >= 0 && x.Timing.Wait >= 0 {
			s.answer = s.start + x.Timing.Send + x.Timing.Wait
		}
		if x.Timing.Duration >= 0 {
			s.end = s.start + x.Timing.Duration
		}
	}
	if len(x.Interim) > 0 { // 103 names resources before the answer
		s.answer = s.start
	}
	s.site = m.Field("sec-fetch-site")
	s.modern = len(s.site) > 0
	g.from(s, m)
	if r := &x.Response; x.HasResponse && r.Status >= 300 && r.Status < 400 && r.Status != 304 {
		if to, ok := s.at.resolve(r.Field("location")); ok && len(r.Field("location")) > 0 {
			s.redirects, s.location = true, g.hash.address(&to)
		}
	}
	s.classify(m)
	return s
}

// from finds out what the request says of where it comes from.
func (g *Grouper) from(s *sighting, m *proto.Message) {
	if a, ok := absolute(m.Field("referer")); ok {
		s.hasReferer, s.hasOrigin = true, true
		s.referer, s.refererOrigin = g.hash.address(&a), g.hash.of(a.authority)
		s.bareReferer = a.bare()
	} else if a, ok := absolute(m.Field("origin")); ok {
		s.hasOrigin, s.bareReferer, s.refererOrigin = true, true, g.hash.of(a.authority)
	}
	s.foreign = s.hasOrigin && s.refererOrigin != s.origin
}

// Beginnings and media types of what is no part of a load, however it is asked for.
var (
	reports = []string{"text/ping", "application/csp-report", "application/reports+json"}
	icons   = []string{"favicon", "apple-touch-icon", "mstile-"}
)

// destinations are what Sec-Fetch-Dest says of requests that don't count for a load.
var destinations = map[string]Apart{
	"report": Beacon, "serviceworker": ServiceWorker, "audio": Media, "video": Media, "track": Media, "websocket": Stream,
}

// classify finds out what is asked for, and whether it counts for a load.
func (s *sighting) classify(m *proto.Message) {
	x, r := s.x, &s.x.Response
	dest, mode := string(m.Field("sec-fetch-dest")), string(m.Field("sec-fetch-mode"))
	method := string(m.Bytes(m.Method))
	html := false
	if x.HasResponse {
		switch string(exchange.MediaType(r)) {
		case "text/html", "application/xhtml+xml":
			html = true
		}
	}
	download := x.HasResponse && (r.Status == 204 || r.Status == 205 ||
		bytes.HasPrefix(bytes.ToLower(r.Field("content-disposition")), []byte("attachment")))
	ahead := proto.EqualFold(m.Field("purpose"), "prefetch") || proto.EqualFold(m.Field("x-moz"), "prefetch") ||
		bytes.HasPrefix(m.Field("sec-purpose"), []byte("prefetch"))
	scripted := len(m.Field("x-requested-with")) > 0
	wantsHTML := bytes.HasPrefix(m.Field("accept"), []byte("text/html")) || string(m.Field("upgrade-insecure-requests")) == "1"

	switch {
	case mode == "navigate" && (dest == "document" || dest == ""):
		s.kind, s.sure = document, 1
	case mode == "navigate":
		s.kind, s.sure = frame, 1
	case s.modern || mode != "" || dest != "" || scripted || x.Stream:
	case wantsHTML && html:
		s.kind, s.sure = document, 0.9
	case wantsHTML:
		s.kind, s.sure = document, 0.7
	case html && method == "GET" && acceptsAny(m.Field("accept")):
		s.kind, s.sure = perhaps, 0.4
	}
	s.unframed = proto.EqualFold(r.Field("x-frame-options"), "deny") ||
		bytes.Contains(r.Field("content-security-policy"), []byte("frame-ancestors 'none'"))

	name := s.at.target
	if q := strings.IndexByte(name, '?'); q >= 0 {
		name = name[:q]
	}
	name = strings.ToLower(name[strings.LastIndexByte(name, '/')+1:])
	switch {
	case x.Stream:
		s.apart = Stream
	case destinations[dest] != Counts:
		s.apart = destinations[dest]
	case len(m.Field("service-worker")) > 0:
		s.apart = ServiceWorker
	case ahead:
		s.apart = Prefetch
	case s.kind == document && download, s.kind == frame && download:
		s.kind, s.apart = resource, Download
	case s.kind == resource && s.isBeacon(method, dest, mode, scripted):
		s.apart = Beacon
	case s.kind == resource && hasAnyPrefix(name, icons):
		s.apart = Favicon
	}
}

// isBeacon reports whether a request only tells the server something.
func (s *sighting) isBeacon(method, dest, mode string, scripted bool) bool {
	m, r := &s.x.Request, &s.x.Response
	switch {
	case method != "POST":
		return false
	case hasAnyPrefix(string(exchange.MediaType(m)), reports):
		return true
	case dest != "":
		return dest == "empty" && mode == "no-cors"
	}
	return !scripted && s.x.HasResponse && r.Status/100 == 2 && r.BodyBytes == 0
}

// acceptsAny reports whether Accept is missing or says that anything will do, as programs send it.
func acceptsAny(accept []byte) bool {
	return len(accept) == 0 || bytes.HasPrefix(accept, []byte("*/*"))
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
