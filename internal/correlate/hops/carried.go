package hops

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/cgi"
)

// class says what an id names. Ids of one class may be compared.
type class uint8

const (
	// traceIDs name all that one request caused; spanIDs one call of it, parentIDs the call that made this one.
	traceIDs class = iota + 1
	spanIDs
	parentIDs
	// requestIDs name a request and what it was passed on as.
	requestIDs
	// varnishIDs are numbers of transactions of Varnish: that of a request to a backend follows that of its client's.
	varnishIDs
	// clientEnds are ends of connections: that of the client, or the one that a proxy says it had.
	clientEnds
	// contents are method and target; addresses what a name was found to have, for whom; locations where a client was sent.
	contents
	lookups
	locations
	// observations are the ends of a connection with what was asked.
	observations
)

// key is a name of a class as the index has it.
type key uint64

// keyOf makes the key of a text.
func keyOf(c class, b []byte) key { return mix(c, xxhash.Sum64(b)) }

// mix spreads a number over the keys of a class (the finalizer of SplitMix64).
func mix(c class, h uint64) key {
	h += uint64(c) * 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return key(h ^ h>>31)
}

// id is an id that an exchange carries.
type id struct {
	class class
	key   key
	// number is that of an id of Varnish.
	number uint64
	// answered: the response carries it, and the request doesn't.
	answered bool
}

// carried is what an exchange says of where it comes from.
type carried struct {
	ids  [maxIDs]id
	nIDs int
	// from is the end of the client that a proxy says it had, as a key, 0: it doesn't; fromAddr its address, not valid where it isn't told.
	from     key
	fromAddr netip.Addr
	// via is how many proxies the response names, product what it names as the server, and behind what made the response.
	via             int
	product, behind string
	// wanted is what it asks for, location where the answer sends its client; answers are the keys of a lookup's answers.
	wanted, location key
	answers          []key
	// entries are where it stands in the index.
	entries []*entry
}

// add adds an id, unless there are too many, or it is there.
func (s *Span) add(c class, k key, number uint64, answered bool) {
	for _, have := range s.ids[:s.nIDs] {
		if have.class == c && have.key == k {
			return
		}
	}
	if s.nIDs < maxIDs {
		s.ids[s.nIDs] = id{c, k, number, answered}
		s.nIDs++
	}
}

// header is a header field that says where an exchange comes from, or what it is part of.
type header struct {
	name string
	// read takes the value; answered: it is the response's.
	read func(s *Span, value []byte, answered bool)
	// asked and told: it is read of requests, of responses.
	asked, told bool
	// passed: proxies pass it on as it is.
	passed bool
}

// headers are the fields that are looked at. What isn't here stays out of all comparisons: proxies add, drop and change fields as they like.
var headers = []header{
	{name: "traceparent", asked: true, read: readTraceparent},
	{name: "b3", asked: true, read: readB3},
	{name: "x-b3-traceid", asked: true, read: hex(traceIDs)},
	{name: "x-b3-spanid", asked: true, read: hex(spanIDs)},
	{name: "x-b3-parentspanid", asked: true, read: hex(parentIDs)},
	{name: "uber-trace-id", asked: true, read: readJaeger},
	{name: "x-cloud-trace-context", asked: true, read: readGoogle},
	{name: "x-amzn-trace-id", asked: true, told: true, read: readAmazon},
	{name: "x-datadog-trace-id", asked: true, read: opaque(traceIDs)},
	{name: "x-request-id", asked: true, told: true, read: opaque(requestIDs)},
	{name: "x-correlation-id", asked: true, told: true, read: opaque(requestIDs)},
	{name: "x-unique-id", asked: true, told: true, read: opaque(requestIDs)},
	{name: "x-trace-id", asked: true, told: true, read: opaque(requestIDs)},
	{name: "x-transaction-id", asked: true, told: true, read: opaque(requestIDs)},
	{name: "request-id", asked: true, told: true, read: opaque(requestIDs)},
	{name: "correlation-id", asked: true, told: true, read: opaque(requestIDs)},
	{name: "x-client-request-id", asked: true, told: true, read: opaque(requestIDs)},
	{name: "cf-ray", asked: true, told: true, read: opaque(requestIDs)},
	{name: "x-varnish", asked: true, told: true, read: readVarnish},
	{name: "forwarded", asked: true, read: readForwarded},
	{name: "x-forwarded-for", asked: true, read: readForwardedFor},
	{name: "x-real-ip", asked: true, read: readForwardedFor},
	{name: "via", told: true, read: func(s *Span, value []byte, _ bool) { s.via += 1 + bytes.Count(value, []byte(",")) }},
	{name: "server", told: true, read: func(s *Span, value []byte, _ bool) { s.product = text(value) }},
	{name: "x-powered-by", told: true, read: func(s *Span, value []byte, _ bool) { s.behind = text(value) }},

	{name: "user-agent", asked: true, passed: true},
	{name: "accept", asked: true, passed: true},
	{name: "accept-language", asked: true, passed: true},
	{name: "authorization", asked: true, passed: true},
	{name: "cookie", asked: true, passed: true},
	{name: "content-type", asked: true, passed: true},
	{name: "if-none-match", asked: true, passed: true},
	{name: "if-modified-since", asked: true, passed: true},
	{name: "origin", asked: true, passed: true},
	{name: "range", asked: true, passed: true},
	{name: "referer", asked: true, passed: true},
}

// byLength finds headers by the length of their names, and then by name.
var byLength = func() (all [24][]*header) {
	for i := range headers {
		n := len(headers[i].name)
		all[n] = append(all[n], &headers[i])
	}
	return all
}()

func find(name []byte) *header {
	if len(name) >= len(byLength) {
		return nil
	}
	for _, h := range byLength[len(name)] {
		if proto.EqualFold(name, h.name) {
			return h
		}
	}
	return nil
}

// read takes from an exchange what it carries.
func (l *Linker) read(s *Span, x *exchange.Exchange) {
	l.digest.Reset()
	var passed uint64
	if x.Family == exchange.HTTP && x.HasRequest {
		s.Host, s.content = l.address(s, x)
		l.fields(s, &x.Request, false, &passed)
	} else {
		_, _ = l.digest.WriteString(s.Verb)
		_, _ = l.digest.WriteString(s.Target)
		s.content = l.digest.Sum64()
	}
	if x.HasResponse {
		if x.Family == exchange.HTTP {
			l.fields(s, &x.Response, true, nil)
			if n := x.Response.Status; n >= 300 && n < 400 {
				s.location = l.locationOf(s, x.Response.Field("location"))
			}
		}
		_, _ = l.digest.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(l.scratch[:0], uint64(s.Status)), uint64(s.ResponseBytes)))
	}
	s.head, s.passed = l.digest.Sum64(), passed
	s.flow = flowHash(l, s)
	if x.Proxied != nil && x.Proxied.Client.IsValid() {
		s.from, s.fromAddr = endKey(x.Proxied.Client), x.Proxied.Client.Addr()
	} else if ip := x.Request.FactText(cgi.FactRemoteIP); ip != nil {
		if a, err := netip.ParseAddr(string(ip)); err == nil {
			s.fromAddr = a.Unmap()
			if port := x.Request.Fact(cgi.FactRemotePort); port != nil && port.Number > 0 && port.Number < 1<<16 {
				s.from = endKey(netip.AddrPortFrom(s.fromAddr, uint16(port.Number)))
			}
		}
	}
	if x.Family == exchange.Names {
		for _, a := range x.Answers() {
			if addr, err := netip.ParseAddr(string(a)); err == nil && len(s.answers) < maxAnswers {
				k := lookupKey(s.tap, s.Client.Addr(), addr.Unmap())
				s.answers = append(s.answers, k, namedKey(k, s.Target))
			}
		}
	}
}

// maxAnswers is how many keys the answers of a lookup have, two an address.
const maxAnswers = 32

// address returns the host that a request asks for, and a hash of its method and target.
func (l *Linker) address(s *Span, x *exchange.Exchange) (host string, content uint64) {
	u := x.URL()
	l.target = append(l.target[:0], u.Path...)
	if u.HasQuery {
		l.target = append(append(l.target, '?'), u.Query...)
	}
	host = l.text(u.Host)
	s.wanted = l.targetKey(s, host, u.Path)
	_, _ = l.digest.WriteString(s.Verb)
	_, _ = l.digest.Write(l.target)
	return host, l.digest.Sum64()
}

// fields takes what the header fields of a message say. All of them go into the digest.
func (l *Linker) fields(s *Span, m *proto.Message, answered bool, passed *uint64) {
	for i := range m.Fields {
		f := &m.Fields[i]
		if f.Flags&proto.Trailer != 0 {
			continue
		}
		name, value := m.Bytes(f.Name), m.Bytes(f.Value)
		_, _ = l.digest.Write(name) // in the case in which it was sent: proxies change it
		_, _ = l.digest.Write(value)
		h := find(name)
		switch {
		case h == nil:
		case h.passed && passed != nil:
			*passed += uint64(mix(class(len(name)), xxhash.Sum64(value)))
		case h.read != nil && (answered && h.told || !answered && h.asked) && len(value) > 0:
			h.read(s, value, answered)
		}
	}
}

func flowHash(l *Linker, s *Span) uint64 {
	b := l.scratch[:0]
	for _, e := range [...]netip.AddrPort{s.Client, s.Server} {
		a := e.Addr().As16()
		b = binary.BigEndian.AppendUint16(append(b, a[:]...), e.Port())
	}
	l.scratch = b
	return xxhash.Sum64(b)
}

func endKey(e netip.AddrPort) key {
	var b [18]byte
	a := e.Addr().Unmap().As16()
	copy(b[:], a[:])
	binary.BigEndian.PutUint16(b[16:], e.Port())
	return keyOf(clientEnds, b[:])
}

// lookupKey is the key of an address that a client was told.
func lookupKey(tap uint32, client, found netip.Addr) key {
	var b [36]byte
	c, f := client.As16(), found.As16()
	binary.BigEndian.PutUint32(b[:], tap)
	copy(b[4:], c[:])
	copy(b[20:], f[:])
	return keyOf(lookups, b[:])
}

// namedKey is the key of a lookup of a name, of which k is that of the address.
func namedKey(k key, name string) key {
	return mix(lookups, uint64(k)^xxhash.Sum64String(strings.ToLower(name)))
}

// locationOf returns the key of where an answer sends its client.
func (l *Linker) locationOf(s *Span, to []byte) key {
	if len(to) == 0 {
		return 0
	}
	host := []byte(s.Host)
	if _, rest, absolute := bytes.Cut(to, []byte("://")); absolute {
		slash := bytes.IndexByte(rest, '/')
		if slash < 0 {
			host, to = rest, []byte("/")
		} else {
			host, to = rest[:slash], rest[slash:]
		}
		if colon := bytes.LastIndexByte(host, ':'); colon > 0 && bytes.IndexByte(host, ']') < colon {
			host = host[:colon]
		}
	} else if to[0] != '/' {
		return 0
	}
	if end := bytes.IndexAny(to, "?#"); end >= 0 {
		to = to[:end]
	}
	return l.targetKey(s, string(host), to)
}

// targetKey is the key of what a client asks for: host and path, without the query, which some add to.
func (l *Linker) targetKey(s *Span, host string, target []byte) key {
	b := binary.BigEndian.AppendUint32(l.scratch[:0], s.tap)
	a := s.Client.Addr().As16()
	b = append(append(b, a[:]...), host...)
	b = append(append(b, 0), target...)
	l.scratch = b
	return keyOf(locations, b)
}

// opaque reads an id that means nothing but itself.
func opaque(c class) func(s *Span, value []byte, answered bool) {
	return func(s *Span, value []byte, answered bool) { s.add(c, keyOf(c, value), 0, answered) }
}

// hex reads an id in hexadecimal.
func hex(c class) func(s *Span, value []byte, answered bool) {
	return func(s *Span, value []byte, answered bool) { s.addHex(c, value, answered) }
}

// addHex adds an id in hexadecimal: leading zeros don't count, nor does the case; zero is none.
func (s *Span) addHex(c class, value []byte, answered bool) {
	var lower [32]byte
	value = bytes.TrimLeft(value, "0")
	if len(value) == 0 || len(value) > len(lower) {
		return
	}
	for i, b := range value {
		switch {
		case '0' <= b && b <= '9', 'a' <= b && b <= 'f':
		case 'A' <= b && b <= 'F':
			b |= 0x20
		default:
			return
		}
		lower[i] = b
	}
	among := c
	if c == parentIDs { // which are the span ids of others
		among = spanIDs
	}
	s.add(c, keyOf(among, lower[:len(value)]), 0, answered)
}

// readTraceparent reads version-trace-span-flags (W3C Trace Context §3.2).
func readTraceparent(s *Span, value []byte, answered bool) {
	if len(value) >= 55 && value[2] == '-' && value[35] == '-' && value[52] == '-' {
		s.addHex(traceIDs, value[3:35], answered)
		s.addHex(spanIDs, value[36:52], answered)
	}
}

// readB3 reads trace-span[-sampled[-parent]].
func readB3(s *Span, value []byte, answered bool) {
	trace, rest, ok := bytes.Cut(value, []byte("-"))
	if !ok {
		return
	}
	span, rest, _ := bytes.Cut(rest, []byte("-"))
	_, parent, _ := bytes.Cut(rest, []byte("-"))
	s.addHex(traceIDs, trace, answered)
	s.addHex(spanIDs, span, answered)
	s.addHex(parentIDs, parent, answered)
}

// readJaeger reads trace:span:parent:flags.
func readJaeger(s *Span, value []byte, answered bool) {
	for _, c := range [...]class{traceIDs, spanIDs, parentIDs} {
		part, rest, _ := bytes.Cut(value, []byte(":"))
		s.addHex(c, part, answered)
		value = rest
	}
}

// readGoogle reads trace/span;options, whose span is decimal.
func readGoogle(s *Span, value []byte, answered bool) {
	trace, rest, _ := bytes.Cut(value, []byte("/"))
	s.addHex(traceIDs, trace, answered)
	span, _, _ := bytes.Cut(rest, []byte(";"))
	if n, err := strconv.ParseUint(string(span), 10, 64); err == nil && n != 0 {
		s.addHex(spanIDs, strconv.AppendUint(nil, n, 16), answered)
	}
}

// readAmazon reads Root=1-time-id;Parent=id;Self=id in any order. Self is what a load balancer adds.
func readAmazon(s *Span, value []byte, answered bool) {
	for part := range bytes.SplitSeq(value, []byte(";")) {
		name, v, _ := bytes.Cut(bytes.TrimSpace(part), []byte("="))
		switch {
		case len(v) == 0:
		case proto.EqualFold(name, "root"):
			s.add(traceIDs, keyOf(traceIDs, v), 0, answered)
		case proto.EqualFold(name, "parent"):
			s.addHex(spanIDs, v, answered)
		}
	}
}

// readVarnish reads the number of a transaction, and of the one that filled the cache.
func readVarnish(s *Span, value []byte, answered bool) {
	first, _, _ := bytes.Cut(value, []byte(" "))
	if n, err := strconv.ParseUint(string(first), 10, 64); err == nil {
		s.add(varnishIDs, varnishKey(n), n, answered)
	}
}

func varnishKey(n uint64) key { return mix(varnishIDs, n) }

// readForwarded reads the last element of Forwarded (RFC 7239 §4): who connected to the proxy that sends the request.
func readForwarded(s *Span, value []byte, _ bool) {
	last := value[bytes.LastIndexByte(value, ',')+1:]
	for pair := range bytes.SplitSeq(last, []byte(";")) {
		name, v, _ := bytes.Cut(bytes.TrimSpace(pair), []byte("="))
		if proto.EqualFold(name, "for") {
			s.forwarded(bytes.Trim(v, `"`))
		}
	}
}

// readForwardedFor reads the last element of X-Forwarded-For, or the only one of X-Real-IP.
func readForwardedFor(s *Span, value []byte, _ bool) {
	s.forwarded(bytes.TrimSpace(value[bytes.LastIndexByte(value, ',')+1:]))
}

// forwarded takes an address, with a port or without.
func (s *Span) forwarded(node []byte) {
	if len(node) > 64 || s.from != 0 {
		return
	}
	if e, err := netip.ParseAddrPort(string(node)); err == nil {
		s.from, s.fromAddr = endKey(e), e.Addr().Unmap()
	} else if a, err := netip.ParseAddr(string(bytes.Trim(node, "[]"))); err == nil {
		s.fromAddr = a.Unmap()
	}
}
