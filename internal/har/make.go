package har

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// maxConnections is how many connections are told apart at a time. When there are more, all are forgotten, so that later entries begin others.
const maxConnections = 1 << 16

// maxConnectionID is how many bytes of the name of a connection tell it from others.
const maxConnectionID = 512

// asExchanges is what exchange.Tap.Recorded says of what wasn't made of packets; package capture has the names.
const asExchanges = "exchanges"

// maker makes exchanges of entries.
type maker struct {
	maxBody int
	// last is the start of the entry before, in nanoseconds since 1970; made counts connections.
	last int64
	made uint64
	// connections are those of the entries so far, by what identifies them.
	connections map[string]*connection
}

// connection is a connection that entries name.
type connection struct {
	flow  *proto.Flow
	index uint32
}

// target is the URL of a request, taken apart.
type target struct {
	scheme, authority, path string
	host                    string
	port                    uint16
	secure, session         bool
}

// schemes are those of what goes over HTTP, with their ports.
var schemes = map[string]struct {
	port            uint16
	secure, session bool
}{
	"http": {port: 80}, "https": {port: 443, secure: true}, "ws": {port: 80, session: true}, "wss": {port: 443, secure: true, session: true},
}

// exchange makes the exchange of an entry, nil if it is left out.
func (k *maker) exchange(e *entry, counts *Counts) *exchange.Exchange {
	own, isOwn := exchange.ParseID(string(e.ID))
	to, ok := parseTarget(string(e.Request.URL))
	if isOwn && !ok { // what was captured may have any scheme and host
		to.secure = e.TLS != nil
	}
	switch {
	case !ok && !isOwn, e.Request.Method == "" && e.Response.Status.value <= 0:
		counts.Foreign++
		return nil
	case e.FromCache != "" && e.FromCache != "false":
		counts.Cached++
		return nil
	}
	start, ok := e.StartedDateTime.date()
	if !ok {
		counts.Undated++
		start = k.last
	}
	k.last = start
	recordedAs := asExchanges
	if isOwn {
		recordedAs = string(e.Recorded)
	}
	x := &exchange.Exchange{Protocol: "http", Family: exchange.HTTP, Tap: &exchange.Tap{Recorded: recordedAs}}
	x.RequestBody.DecodedBytes, x.ResponseBody.DecodedBytes = -1, -1
	x.HasRequest = e.Request.Method != ""
	x.HasResponse = e.Response.Status.value > 0
	k.request(x, e, &to)
	k.response(x, e)
	if to.session || e.ResourceType == "websocket" {
		x.Protocol = "websocket"
	} else if x.Request.Version == 0x0200 || !x.HasRequest && x.Response.Version == 0x0200 {
		x.Protocol = "http2"
	}
	if stream := uint64(max(e.StreamID.size(), 0)); stream > 0 {
		x.Request.Stream, x.Response.Stream = stream, stream
	}
	if to.secure {
		x.TLS = sessionOf(e.TLS)
	}
	k.connect(x, e, &to, isOwn)
	timing(x, e, start, isOwn)
	grade(x, e, isOwn)
	x.Stream = e.Stream || x.Protocol == "websocket" || x.Response.Status == 101 || string(exchange.MediaType(&x.Response)) == "text/event-stream" ||
		x.HasResponse && proto.EqualFold(x.Request.Bytes(x.Request.Method), "connect")
	if w := e.Weight.size(); w > 0 && w <= 1<<32-1 {
		x.Weight = uint32(w)
	}
	for _, s := range e.Secrets {
		x.Secrets = append(x.Secrets, string(s))
	}
	if !isOwn {
		own = idOf(x, counts.Entries)
	}
	x.KnownID = &own
	return x
}

// idOf makes the id of an entry that has none: the same whenever the archive is read.
func idOf(x *exchange.Exchange, number int) (id [exchange.IDSize]byte) {
	h := sha256.New()
	h.Write(x.Request.Raw)
	h.Write(x.Response.Raw)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(number))
	h.Write(n[:])
	binary.BigEndian.PutUint64(n[:], uint64(x.Start.Time))
	h.Write(n[:])
	binary.BigEndian.PutUint64(id[:8], uint64(x.Start.Time/1e6)<<16)
	copy(id[6:], h.Sum(nil))
	return id
}

// parseTarget takes a URL apart; ok: it is one of HTTP.
func parseTarget(text string) (t target, ok bool) {
	scheme, rest, found := strings.Cut(text, "://")
	known, ok := schemes[strings.ToLower(scheme)]
	ok = ok && found
	t.scheme, t.port, t.secure, t.session = "http", known.port, known.secure, known.session
	if known.secure {
		t.scheme = "https"
	}
	rest, _, _ = strings.Cut(rest, "#")
	t.authority, t.path = rest, "/"
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		t.authority, t.path = rest[:i], rest[i:]
		if t.path[0] == '?' {
			t.path = "/" + t.path
		}
	}
	t.authority, t.path = printable(t.authority[strings.LastIndexByte(t.authority, '@')+1:]), printable(t.path)
	t.host = t.authority
	if i := strings.LastIndexByte(t.authority, ':'); i > strings.LastIndexByte(t.authority, ']') {
		if n, err := strconv.ParseUint(t.authority[i+1:], 10, 16); err == nil {
			t.host, t.port = t.authority[:i], uint16(n)
		}
	}
	t.host = strings.Trim(t.host, "[]")
	return t, ok && t.host != ""
}

// printable percent-encodes what can't stand in a start line, such as spaces and line ends.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) < 0 {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f {
			const hex = "0123456789ABCDEF"
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// oneLine makes of a value of an archive one that a head can hold: an archive may say what no message could.
func oneLine(s text) string {
	if strings.ContainsAny(string(s), "\r\n\x00") {
		return strings.NewReplacer("\r\n", " ", "\r", " ", "\n", " ", "\x00", " ").Replace(string(s))
	}
	return string(s)
}

// head builds the head of a message.
type head struct{ m *proto.Message }

// span adds a text to the head.
func (h head) span(s string) proto.Span {
	h.m.Raw = append(h.m.Raw, s...)
	return proto.Span{Off: uint32(len(h.m.Raw) - len(s)), Len: uint32(len(s))}
}

// field adds a header field.
func (h head) field(name, value string) {
	h.span("\r\n")
	f := proto.Field{Name: h.span(name)}
	h.span(": ")
	f.Value = h.span(value)
	h.m.Fields = append(h.m.Fields, f)
}

// fields adds the header fields of an archive. Several cookies to set may be in one, a line each (Firefox).
func (h head) fields(all []pair) {
	for _, p := range all {
		name := strings.TrimSpace(oneLine(p.Name))
		if name == "" || strings.Trim(name, ":") == "" {
			continue
		}
		if strings.EqualFold(name, "set-cookie") && strings.Contains(string(p.Value), "\n") {
			for line := range strings.SplitSeq(string(p.Value), "\n") {
				if line = strings.TrimSpace(line); line != "" {
					h.field(name, oneLine(text(line)))
				}
			}
			continue
		}
		h.field(name, oneLine(p.Value))
	}
}

// request makes the request.
func (k *maker) request(x *exchange.Exchange, e *entry, to *target) {
	m := &x.Request
	m.Kind, m.Dir, m.Length = proto.Request, proto.Originator, -1
	if !x.HasRequest {
		return
	}
	h := head{m}
	m.Version = version(e.Request.HTTPVersion)
	m.Method = h.span(printable(string(e.Request.Method)))
	h.span(" ")
	if proto.EqualFold(m.Bytes(m.Method), "connect") {
		m.Target = h.span(to.authority)
	} else {
		m.Target = h.span(to.path)
	}
	h.span(" ")
	m.Proto = h.span(printable(string(e.Request.HTTPVersion)))
	// What the URL says and the header fields don't is known all the same.
	lead := [][2]string{{"Host", to.authority}}
	if m.Version >= 0x0200 {
		lead = [][2]string{{":method", string(m.Bytes(m.Method))}, {":scheme", to.scheme}, {":authority", to.authority}, {":path", to.path}}
	}
	for _, f := range lead {
		if !slices.ContainsFunc(e.Request.Headers, func(p pair) bool { return strings.EqualFold(string(p.Name), f[0]) }) {
			h.field(f[0], f[1])
		}
	}
	h.fields(e.Request.Headers)
	h.span("\r\n\r\n")

	p := &e.Request.PostData
	body := decode(p.Text, p.Encoding+p.Own)
	if body == nil && len(p.Params) > 0 {
		body = form(p)
	}
	k.body(m, &x.RequestBody, kept{body, e.Request.BodySize.size(), -1, -1, p.Cut, p.Undecoded})
	finish(m, e.Request.HeadersSize.size())
	if m.BodyBytes == 0 && m.Length > 0 && body == nil { // it had one, which the archive lacks
		m.BodyBytes, m.Size = m.Length, m.HeadSize+m.Length
	}
}

// response makes the response.
func (k *maker) response(x *exchange.Exchange, e *entry) {
	m := &x.Response
	m.Kind, m.Dir, m.Length = proto.Response, proto.Responder, -1
	if !x.HasResponse {
		return
	}
	h := head{m}
	r := &e.Response
	m.Version = version(r.HTTPVersion)
	if m.Version == 0 {
		m.Version = x.Request.Version
	}
	m.Status = int(min(r.Status.size(), 999))
	m.Proto = h.span(printable(string(r.HTTPVersion)))
	h.span(" " + strconv.Itoa(m.Status) + " ")
	m.Reason = h.span(oneLine(r.StatusText))
	h.fields(r.Headers)
	h.span("\r\n\r\n")

	c := &r.Content
	saved := int64(0)
	if c.Compression.known && c.Compression.value <= maxNumber && c.Compression.value >= -maxNumber {
		saved = int64(c.Compression.value)
	}
	k.body(m, &x.ResponseBody, kept{decode(c.Text, c.Encoding), r.BodySize.size(), c.Size.size(), saved, c.Cut, c.Undecoded})
	finish(m, r.HeadersSize.size())
}

// kept is what an archive has of a body: its beginning or all of it, how long it was when it was sent, and how long once its codings were undone, -1
// where that isn't known; saved is what the codings saved.
type kept struct {
	bytes                []byte
	sent, decoded, saved int64
	cut                  bool
	undecoded            text
}

// body sets what is known of a body.
func (k *maker) body(m *proto.Message, b *exchange.Body, is kept) {
	size := int64(len(is.bytes))
	whole := size > 0 && !is.cut && is.undecoded == "" && is.decoded <= size
	switch {
	case is.sent >= 0:
		m.BodyBytes = is.sent
	case is.decoded >= 0:
		m.BodyBytes = max(is.decoded-max(is.saved, 0), 0)
	default:
		m.BodyBytes = size
	}
	if whole {
		b.DecodedBytes = size
	}
	b.Cut = size > 0 && (is.cut || is.decoded > size && is.undecoded == "")
	b.Undecoded = string(is.undecoded)
	b.Bytes = is.bytes
	if k.maxBody >= 0 && len(b.Bytes) > k.maxBody {
		b.Bytes, b.Cut = b.Bytes[:k.maxBody:k.maxBody], k.maxBody > 0
	}
	if len(b.Bytes) == 0 {
		b.Bytes = nil
	}
}

// finish sets what follows from the head and the body.
func finish(m *proto.Message, headSize int64) {
	m.End = proto.Whole
	if m.HeadSize = headSize; headSize < 0 {
		m.HeadSize = int64(len(m.Raw))
	}
	m.Size = m.HeadSize + m.BodyBytes
	if n, err := strconv.ParseInt(string(m.Field("content-length")), 10, 64); err == nil && n >= 0 {
		m.Length = n
	}
	switch {
	case m.Version >= 0x0200 && (m.BodyBytes > 0 || m.Length > 0):
		m.Framing = proto.UntilStreamEnd
	case bytes.Contains(bytes.ToLower(m.Field("transfer-encoding")), []byte("chunked")):
		m.Framing = proto.Chunked
	case m.Length >= 0:
		m.Framing = proto.ByLength
	case m.Kind == proto.Response && m.BodyBytes > 0:
		m.Framing = proto.UntilClose
	}
}

// decode returns the bytes of a body, nil when there are none.
func decode(s, encoding text) []byte {
	if s == "" {
		return nil
	}
	if strings.EqualFold(string(encoding), "base64") {
		plain := strings.NewReplacer("\r", "", "\n", "", " ", "").Replace(string(s))
		if b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(plain, "=")); err == nil {
			return b
		}
	}
	return []byte(s)
}

// form makes a body of the fields of a form, where the archive has no other.
func form(p *postData) []byte {
	if !strings.HasPrefix(strings.ToLower(string(p.MimeType)), "application/x-www-form-urlencoded") {
		return nil // how a multipart body was put together isn't known
	}
	var b []byte
	for i, f := range p.Params {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, escaped(string(f.Name))+"="+escaped(string(f.Value))...)
	}
	return b
}

// escaped encodes what is part of a form, unless the exporter has left it so.
func escaped(s string) string {
	if u, err := url.QueryUnescape(s); err == nil && u != s && url.QueryEscape(u) == s {
		return s
	}
	return url.QueryEscape(s)
}

// version reads a version as exporters write it: HTTP/1.1, http/2.0, h2, HTTP/2, h3. 0: it isn't known.
func version(t text) uint16 {
	s := strings.ToLower(string(t))
	s = strings.TrimPrefix(strings.TrimPrefix(s, "http/"), "h")
	major, minor, _ := strings.Cut(s, ".")
	hi, err := strconv.ParseUint(major, 10, 8)
	lo, _ := strconv.ParseUint(minor, 10, 8)
	if err != nil {
		return 0
	}
	return uint16(hi<<8 | lo)
}

// sessionOf returns what is known of the session that carried an entry with a scheme that needs one.
func sessionOf(s *session) *proto.TLS {
	t := &proto.TLS{Established: true, Decrypted: true}
	if s == nil {
		return t
	}
	t.SuiteName, t.ServerName, t.ALPN, t.Resumption = string(s.Cipher), string(s.ServerName), string(s.ALPN), string(s.Resumption)
	for v := uint16(0x0301); v <= 0x0304; v++ {
		if exchange.TLSVersion(v) == string(s.Version) {
			t.Version = v
		}
	}
	return t
}

// connect says over which connection the exchange went. Where the archive doesn't tell, each entry has one of its own; those of HTTP/2 and later share
// one to the same server.
func (k *maker) connect(x *exchange.Exchange, e *entry, to *target, own bool) {
	server := netip.AddrPortFrom(netip.IPv4Unspecified(), to.port)
	if a, err := netip.ParseAddr(strings.Trim(string(e.ServerIPAddress), "[]")); err == nil {
		server = netip.AddrPortFrom(a.WithZone(""), to.port)
	} else if a, err := netip.ParseAddr(to.host); err == nil {
		server = netip.AddrPortFrom(a.WithZone(""), to.port)
	}
	client, first := netip.AddrPort{}, uint64(0)
	id := string(e.ConnectionID)
	name, named := strings.CutPrefix(string(e.Connection), "ClientPort:")
	n, err := strconv.ParseUint(string(e.Connection), 10, 16)
	isPort := err == nil && (own || uint16(n) == to.port)
	switch {
	case own:
		if isPort {
			server = netip.AddrPortFrom(server.Addr(), uint16(n))
		}
		at, packet, _ := strings.Cut(id, "#")
		client, _ = netip.ParseAddrPort(at)
		first, _ = strconv.ParseUint(packet, 10, 64)
	case named:
		port, _, _ := strings.Cut(name, ";")
		n, _ := strconv.ParseUint(port, 10, 16)
		client = netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(n))
		id = string(e.Connection)
	case id == "" && !isPort:
		id = string(e.Connection)
	}
	if id == "" && x.Request.Version >= 0x0200 {
		id = "multiplexed"
	}
	var c *connection
	key := id[:min(len(id), maxConnectionID)] + "\x00" + server.String()
	if id != "" {
		c = k.connections[key]
	}
	if c == nil {
		c = k.open(client, server, first)
		if id != "" {
			if k.connections == nil || len(k.connections) >= maxConnections {
				k.connections = map[string]*connection{}
			}
			k.connections[key] = c
		}
	}
	x.Flow, x.Index = c.flow, c.index
	c.index++
	if x.HasRequest {
		x.Request.First.Offset = int64(x.Index)
	}
}

// open makes a connection. A client of which nothing is known has no address, and the number of the connection for its port.
func (k *maker) open(client, server netip.AddrPort, first uint64) *connection {
	k.made++
	if !client.IsValid() {
		client = netip.AddrPortFrom(netip.IPv4Unspecified(), uint16((k.made-1)%65535+1))
	}
	if first == 0 {
		first = k.made
	}
	f := &proto.Flow{Proto: packet.ProtoTCP, First: clock.Mark{Packet: first}}
	f.Addr = [2]packet.Addr{client.Addr().As16(), server.Addr().As16()}
	f.Port = [2]uint16{client.Port(), server.Port()}
	return &connection{flow: f}
}

// timing sets when the exchange began, and where its time went. Browsers count from when the request was wanted; we from its first byte.
func timing(x *exchange.Exchange, e *entry, start int64, own bool) {
	t := &e.Timings
	x.Timing = exchange.UnknownTiming
	to := &x.Timing
	connect, ssl := t.Connect.time(), t.SSL.time()
	if ssl == 0 && !own && x.TLS == nil {
		ssl = -1
	}
	if to.TLS, to.Connect = ssl, connect; ssl >= 0 && connect >= 0 {
		to.Connect = max(connect-ssl, 0) // of which ssl is a part
	}
	if !own {
		if connect == 0 { // some write it where a connection was used again
			to.Connect, to.TLS = -1, -1
		}
		start += max(t.Blocked.time(), 0) + max(t.DNS.time(), 0) + max(connect, 0)
	} else {
		to.Idle = t.Blocked.time()
	}
	x.Start.Time = start
	send, wait, receive := t.Send.time(), t.Wait.time(), t.Receive.time()
	all := max(send, 0) + max(wait, 0) + max(receive, 0)
	switch whole := e.Time.time(); {
	case x.HasResponse && (wait >= 0 || send >= 0 || receive >= 0) && (all > 0 || whole <= 0):
		to.Send, to.Wait, to.Receive, to.Duration = max(send, 0), max(wait, 0), max(receive, 0), all
	case !x.HasResponse && (send >= 0 || wait >= 0):
		to.Send, to.Wait, to.Duration = max(send, 0), max(wait, 0), max(send, 0)+max(wait, 0)
	case whole >= 0: // how it is divided isn't known
		to.Duration = whole
	}
	if to.Duration >= 0 {
		to.Total = to.Duration + max(to.Idle, 0) + max(to.Connect, 0) + max(to.TLS, 0)
	}
	if !x.HasRequest { // only the response was seen
		to.Send, to.Wait, to.Duration, to.Total = -1, -1, -1, -1
	}
	x.Completed.Time = start + max(to.Duration, max(to.Receive, 0))
	if x.HasRequest {
		x.Request.First.Time, x.Request.Last.Time = start, start+max(to.Send, 0)
	}
	if x.HasResponse {
		x.Response.First.Time = start
		if x.HasRequest {
			x.Response.First.Time = x.Completed.Time - max(to.Receive, 0)
		}
		x.Response.Last.Time = x.Completed.Time
	}
}

// grade says how much of the exchange the archive has.
func grade(x *exchange.Exchange, e *entry, own bool) {
	if own {
		for g := range exchange.Grades {
			if exchange.Grade(g).String() == string(e.Grade) {
				x.Grade = exchange.Grade(g)
			}
		}
		for i := range proto.AnomalyTable {
			for _, name := range e.Anomalies {
				if proto.AnomalyTable[i].Name == string(name) {
					x.Anomalies.Set(proto.Anomaly(i))
				}
			}
		}
		if x.Grade != exchange.Complete {
			x.Reason, _, _ = strings.Cut(string(e.Comment), "; gRPC status ")
		}
		return
	}
	switch {
	case x.HasResponse && x.HasRequest:
	case x.HasResponse:
		x.Grade, x.Reason = exchange.Gap, "the archive has no request"
	case e.Response.Error != "":
		x.Grade, x.Reason = exchange.Aborted, oneLine(e.Response.Error)
	default:
		x.Grade, x.Reason = exchange.Unanswered, "the archive has no response"
	}
}
