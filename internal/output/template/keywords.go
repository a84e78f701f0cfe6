package template

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/proto"
)

// A getter appends a keyword's value to dst, and reports whether there is one.
type getter func(dst []byte, x *exchange.Exchange) ([]byte, bool)

// A keyword is one row of the table of keywords.
type keyword struct {
	name string
	// arg says what the first parentheses hold, for people; empty when they hold what stands for a
	// missing value. optional: they may be left out.
	arg      string
	optional bool
	// make returns the keyword's getter. arg is empty when it was left out.
	make    func(arg string) (getter, error)
	meaning string
}

// Kinds of argument.
const (
	formatArg = "FORMAT"
	nameArg   = "NAME"
	fieldArg  = "FIELD"
	regexpArg = "RE"
)

// literals stand for fixed text, and are the only ones whose text isn't escaped.
var literals = []struct{ name, text, meaning string }{
	{"%", "%", "a per cent sign"},
	{"-", "", "nothing: ends the keyword before it"},
	{"newline", "\n", "a line end"},
	{"tab", "\t", "a tab"},
}

// keywords are the keywords with a value, but for those that end with the name of a header field.
var keywords = []keyword{
	{name: "source.ip", make: plain(ip(client)), meaning: "address of the client"},
	{name: "source.port", make: plain(port(client)), meaning: "port of the client"},
	{name: "dest.ip", make: plain(ip(server)), meaning: "address of the server"},
	{name: "dest.port", make: plain(port(server)), meaning: "port of the server"},
	{name: "streams", make: plain(unknown), meaning: "not observed, always missing: justniffer's number of open connections, which no exchange knows"},

	{name: "connection", make: plain(position), meaning: "place of the exchange in its connection: `unique`, `start`, `continue` or `last`; `unique` and `last` need the connection to have ended with it"},
	{name: "connection.time", make: plain(elapsed(connectTime)), meaning: "first SYN to the handshake's ACK"},
	{name: "connection.timestamp", arg: formatArg, optional: true, make: moment(opened), meaning: "first SYN, or else the first packet of the connection"},
	{name: "connection.timestamp2", make: plain(seconds(opened)), meaning: "the same, in seconds since 1970"},
	{name: "close.time", make: plain(elapsed(closeTime)), meaning: "last byte of the response to the end of the connection, where it ended with the exchange"},
	{name: "close.originator", make: plain(closer), meaning: "who ended the connection: `client`, `server`, or `timedout`, where it ended with the exchange"},
	{name: "close.timestamp", arg: formatArg, optional: true, make: moment(closed), meaning: "end of the connection, where it ended with the exchange"},
	{name: "close.timestamp2", make: plain(seconds(closed)), meaning: "the same, in seconds since 1970"},
	{name: "session.time", make: plain(elapsed(sessionTime)), meaning: "beginning to end of the connection, where it ended with the exchange"},
	{name: "session.requests", make: plain(requests), meaning: "exchanges of the connection so far, this one included"},
	{name: "idle.time.0", make: plain(elapsed(idleTime)), meaning: "connection ready to first request byte; first exchange of a connection only"},
	{name: "idle.time.1", make: plain(elapsed(closeTime)), meaning: "last byte of the response to the end of the connection, where it ended with the exchange; missing when another request follows"},

	{name: "request", make: plain(whole(request)), meaning: "head and body, as far as the body is kept (`--max-body`), decoded"},
	{name: "request.timestamp", arg: formatArg, optional: true, make: moment(begun(request)), meaning: "first byte of the request"},
	{name: "request.timestamp2", make: plain(seconds(begun(request))), meaning: "the same, in seconds since 1970"},
	{name: "request.time", make: plain(elapsed(sendTime)), meaning: "first to last request byte, but at most to the first byte of the response"},
	{name: "request.size", make: plain(size(request)), meaning: "length on the wire, head and framing included, in bytes"},
	{name: "request.line", make: plain(line(request)), meaning: "request line"},
	{name: "request.method", make: plain(span(request, method)), meaning: "method"},
	{name: "request.url", make: plain(span(request, target)), meaning: "request target, as sent"},
	{name: "request.protocol", make: plain(span(request, version)), meaning: "protocol version, such as `HTTP/1.1`"},
	{name: "request.header", make: plain(head(request)), meaning: "start line and header fields"},
	{name: "request.header.value", arg: nameArg, make: header(request), meaning: "value of a header field"},
	{name: "request.header.grep", arg: regexpArg, make: grep(head(request)), meaning: "what the regular expression finds in the head"},
	{name: "request.grep", arg: regexpArg, make: grep(whole(request)), meaning: "what the regular expression finds in head and body"},
	{name: "request.body", make: plain(body(request)), meaning: "body, as far as it is kept (`--max-body`), decoded"},

	{name: "response", make: plain(whole(response)), meaning: "head and body, as far as the body is kept (`--max-body`), decoded"},
	{name: "response.timestamp", arg: formatArg, optional: true, make: moment(begun(response)), meaning: "first byte of the final response"},
	{name: "response.timestamp2", make: plain(seconds(begun(response))), meaning: "the same, in seconds since 1970"},
	{name: "response.time", make: plain(elapsed(responseTime)), meaning: "last request byte to last response byte"},
	{name: "response.time.begin", make: plain(elapsed(waitTime)), meaning: "last request byte to first response byte"},
	{name: "response.time.end", make: plain(elapsed(receiveTime)), meaning: "first to last response byte"},
	{name: "response.size", make: plain(size(response)), meaning: "length on the wire, head and framing included, in bytes"},
	{name: "response.line", make: plain(line(response)), meaning: "status line"},
	{name: "response.protocol", make: plain(span(response, version)), meaning: "protocol version, such as `HTTP/1.1`"},
	{name: "response.code", make: plain(status), meaning: "status code"},
	{name: "response.message", make: plain(span(response, reason)), meaning: "reason phrase"},
	{name: "response.header", make: plain(head(response)), meaning: "start line and header fields"},
	{name: "response.header.value", arg: nameArg, make: header(response), meaning: "value of a header field"},
	{name: "response.header.grep", arg: regexpArg, make: grep(head(response)), meaning: "what the regular expression finds in the head"},
	{name: "response.grep", arg: regexpArg, make: grep(whole(response)), meaning: "what the regular expression finds in head and body"},
	{name: "response.body", make: plain(body(response)), meaning: "body, as far as it is kept (`--max-body`), decoded"},

	{name: "source.process.name", make: plain(processText(client, processName)), meaning: "command name of the client's process, where the client is on the capturing host, live"},
	{name: "source.process.pid", make: plain(processID(client)), meaning: "its id; missing when several processes share the socket"},
	{name: "source.process.executable", make: plain(processText(client, executable)), meaning: "path of its program"},
	{name: "source.process.command_line", make: plain(commandLine(client)), meaning: "its arguments, with spaces between them, redacted"},
	{name: "source.process.user", make: plain(processText(client, user)), meaning: "name of its socket's owner, or the number"},
	{name: "source.process.container", make: plain(processText(client, container)), meaning: "id of the container that it runs in, as its control group tells"},
	{name: "source.process.pod", make: plain(processText(client, pod)), meaning: "UID of the Kubernetes pod that it runs in, as its control group tells"},
	{name: "source.process.unit", make: plain(processText(client, unit)), meaning: "systemd unit that it runs in, as its control group tells"},

	{name: "dest.process.name", make: plain(processText(server, processName)), meaning: "command name of the server's process, where the server is on the capturing host, live"},
	{name: "dest.process.pid", make: plain(processID(server)), meaning: "its id; missing when several processes share the socket"},
	{name: "dest.process.executable", make: plain(processText(server, executable)), meaning: "path of its program"},
	{name: "dest.process.command_line", make: plain(commandLine(server)), meaning: "its arguments, with spaces between them, redacted"},
	{name: "dest.process.user", make: plain(processText(server, user)), meaning: "name of its socket's owner, or the number"},
	{name: "dest.process.container", make: plain(processText(server, container)), meaning: "id of the container that it runs in, as its control group tells"},
	{name: "dest.process.pod", make: plain(processText(server, pod)), meaning: "UID of the Kubernetes pod that it runs in, as its control group tells"},
	{name: "dest.process.unit", make: plain(processText(server, unit)), meaning: "systemd unit that it runs in, as its control group tells"},

	{name: "tls.sni", make: plain(tlsText(func(t *proto.TLS) string { return t.ServerName })), meaning: "server name that the client asked for in the TLS handshake"},
	{name: "tls.version", make: plain(tlsText(func(t *proto.TLS) string { return exchange.TLSVersion(t.Version) })), meaning: "version of TLS, such as `1.3`"},
	{name: "tls.cipher", make: plain(tlsText(func(t *proto.TLS) string { return t.SuiteName })), meaning: "cipher suite, as IANA names it"},
	{name: "tls.alpn", make: plain(tlsText(func(t *proto.TLS) string { return t.ALPN })), meaning: "application protocol that both agreed on"},
	{name: "tls.time", make: plain(elapsed(tlsTime)), meaning: "ClientHello to Finished; first exchange of a connection only"},
	{name: "blame.who", make: always("culprit.blame.who"), meaning: "who made it slow or fail, such as `server`; `none` where nobody did"},
	{name: "blame.situation", make: always("culprit.blame.situation"), meaning: "what happened, such as `slow-application`"},
	{name: "blame.time", make: plain(elapsed(blameTime)), meaning: "what that took; missing when nobody is blamed"},
	{name: "blame.confidence", make: always("culprit.blame.confidence"), meaning: "how sure that is, from 0 to 1"},
	{name: "blame.why", make: always("culprit.blame.why"), meaning: "the verdict in a sentence"},
	{name: "grpc.status", make: plain(grpcStatus), meaning: "name of the gRPC status, such as `UNAVAILABLE`"},
	{name: "protocol", make: plain(protocol), meaning: "`http`, `http2`, `websocket`, or `tls` for a session that wasn't read"},
	{name: "stream", make: plain(stream), meaning: "number of the HTTP/2 stream"},
	{name: "verb", make: plain(text((*exchange.Exchange).Verb)), meaning: "method, kind of a database's statement, or type of the DNS records asked for"},
	{name: "subject", make: plain(text((*exchange.Exchange).Subject)), meaning: "target, statement, or name asked for; literals of statements are redacted"},
	{name: "field", arg: fieldArg, make: ofField, meaning: "value of a field of docs/fields.md by its name or short name, such as `%field(rows)` or `%field(db.query.summary)`; lists have commas between their values"},
}

// headerPrefixes begin the keywords that end with the name of a header field.
var headerPrefixes = []struct {
	name    string
	make    func(arg string) (getter, error)
	meaning string
}{
	{"request.header.", header(request), "value of the request's header field of that name, in any case"},
	{"response.header.", header(response), "value of the response's header field of that name, in any case"},
}

// plain makes a getter that takes no argument.
func plain(g getter) func(string) (getter, error) {
	return func(string) (getter, error) { return g, nil }
}

// always makes the getter of a field without argument.
func always(field string) func(string) (getter, error) {
	return func(string) (getter, error) { return ofField(field) }
}

// tlsText gives one of the texts about the TLS session; an empty one is missing.
func tlsText(text func(t *proto.TLS) string) getter {
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		if x.TLS == nil || text(x.TLS) == "" {
			return dst, false
		}
		return append(dst, text(x.TLS)...), true
	}
}

// text gives a text of an exchange; an empty one is missing.
func text(of func(x *exchange.Exchange) []byte) getter {
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		b := of(x)
		return append(dst, b...), len(b) > 0
	}
}

// ofField gives the value of a field of the document.
func ofField(name string) (getter, error) {
	f := exchange.Lookup(strings.TrimSpace(name))
	switch {
	case f == nil:
		return nil, fmt.Errorf("no field is called %q: docs/fields.md has all of them", name)
	case f.Kind == exchange.Headers:
		return nil, fmt.Errorf("%s has all headers: %%request.header and %%response.header show them", f.Name)
	}
	var v exchange.Value
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		v.Kind, v.Text, v.Bytes, v.List = exchange.Absent, "", nil, nil
		f.Get(x, &v)
		switch v.Kind {
		case exchange.Absent:
			return dst, false
		case exchange.Text:
			if v.Text != "" {
				return append(dst, v.Text...), true
			}
			return append(dst, v.Bytes...), true
		case exchange.IP:
			return v.Addr.Netip().AppendTo(dst), true
		case exchange.List:
			return append(dst, strings.Join(v.List, ",")...), true
		case exchange.Bool:
			return strconv.AppendBool(dst, v.Int != 0), true
		case exchange.Float:
			return strconv.AppendFloat(dst, v.Float, 'g', -1, 64), true
		}
		return strconv.AppendInt(dst, v.Int, 10), true
	}, nil
}

func grpcStatus(dst []byte, x *exchange.Exchange) ([]byte, bool) {
	code, ok := x.GRPCStatus()
	if !ok {
		return dst, false
	}
	return append(dst, exchange.GRPCStatusName(code)...), true
}

func protocol(dst []byte, x *exchange.Exchange) ([]byte, bool) {
	return append(dst, x.Protocol...), true
}

func stream(dst []byte, x *exchange.Exchange) ([]byte, bool) {
	if id := x.StreamID(); id > 0 && x.Family == exchange.HTTP {
		return strconv.AppendUint(dst, id, 10), true
	}
	return dst, false
}

// unknown is the getter of keywords whose value isn't observed.
func unknown(dst []byte, _ *exchange.Exchange) ([]byte, bool) { return dst, false }

// An end is one side of a connection.
type end func(x *exchange.Exchange) proto.Direction

func client(x *exchange.Exchange) proto.Direction { return x.Client }
func server(x *exchange.Exchange) proto.Direction { return x.Server() }

func ip(e end) getter {
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		return x.Flow.Addr[e(x)].Netip().AppendTo(dst), true
	}
}

func port(e end) getter {
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		return strconv.AppendUint(dst, uint64(x.Flow.Port[e(x)]), 10), true
	}
}

func processName(p *exchange.Process) string { return p.Name }
func executable(p *exchange.Process) string  { return p.Executable }
func user(p *exchange.Process) string        { return p.User }
func container(p *exchange.Process) string   { return p.ContainerID }
func pod(p *exchange.Process) string         { return p.PodUID }
func unit(p *exchange.Process) string        { return p.Unit }

// processText gives one of the texts of the process at an end; an empty one is missing.
func processText(e end, text func(p *exchange.Process) string) getter {
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		p := x.Process[e(x)]
		if p == nil || text(p) == "" {
			return dst, false
		}
		return append(dst, text(p)...), true
	}
}

func processID(e end) getter {
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		p := x.Process[e(x)]
		if p == nil || p.PID <= 0 {
			return dst, false
		}
		return strconv.AppendInt(dst, int64(p.PID), 10), true
	}
}

func commandLine(e end) getter {
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		p := x.Process[e(x)]
		if p == nil || len(p.Args) == 0 {
			return dst, false
		}
		for i, arg := range p.Args {
			if i > 0 {
				dst = append(dst, ' ')
			}
			dst = append(dst, arg...)
		}
		return dst, true
	}
}

func position(dst []byte, x *exchange.Exchange) ([]byte, bool) {
	ended := x.Conn.Why != proto.Open && x.Conn.Why != proto.CaptureEnded
	switch {
	case x.Index == 0 && ended:
		return append(dst, "unique"...), true
	case x.Index == 0:
		return append(dst, "start"...), true
	case ended:
		return append(dst, "last"...), true
	}
	return append(dst, "continue"...), true
}

func closer(dst []byte, x *exchange.Exchange) ([]byte, bool) {
	switch {
	case x.Conn.Why == proto.TimedOut:
		return append(dst, "timedout"...), true
	case x.Conn.Why != proto.Finished && x.Conn.Why != proto.Reset:
		return dst, false
	case x.Conn.By == x.Client:
		return append(dst, "client"...), true
	}
	return append(dst, "server"...), true
}

func requests(dst []byte, x *exchange.Exchange) ([]byte, bool) {
	return strconv.AppendUint(dst, uint64(x.Index)+1, 10), true
}

// A duration gives nanoseconds, negative when unknown.
type duration func(x *exchange.Exchange) int64

func connectTime(x *exchange.Exchange) int64 { return x.Timing.Connect }
func idleTime(x *exchange.Exchange) int64    { return x.Timing.Idle }
func tlsTime(x *exchange.Exchange) int64     { return x.Timing.TLS }

func blameTime(x *exchange.Exchange) int64 {
	if x.Blame.Who <= exchange.Nobody {
		return -1
	}
	return x.Blame.Time
}
func sendTime(x *exchange.Exchange) int64    { return x.Timing.Send }
func waitTime(x *exchange.Exchange) int64    { return x.Timing.Wait }
func receiveTime(x *exchange.Exchange) int64 { return x.Timing.Receive }

func responseTime(x *exchange.Exchange) int64 {
	if x.Timing.Wait < 0 || x.Timing.Receive < 0 {
		return -1
	}
	return x.Timing.Wait + x.Timing.Receive
}

func closeTime(x *exchange.Exchange) int64 {
	if at := closed(x); at != 0 && x.HasResponse {
		return max(at-x.Response.Last.Time, 0)
	}
	return -1
}

func sessionTime(x *exchange.Exchange) int64 {
	if at := closed(x); at != 0 {
		return max(at-opened(x), 0)
	}
	return -1
}

// elapsed gives a duration in seconds with six decimals.
func elapsed(d duration) getter {
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		ns := d(x)
		if ns < 0 {
			return dst, false
		}
		return appendSeconds(dst, ns), true
	}
}

// appendSeconds writes nanoseconds, not negative, as seconds with six decimals, cut.
func appendSeconds(dst []byte, ns int64) []byte {
	dst = strconv.AppendInt(dst, ns/1e9, 10)
	us := strconv.AppendInt(nil, 1e6+ns%1e9/1e3, 10)
	us[0] = '.'
	return append(dst, us...)
}

// An instant gives nanoseconds since 1970, 0 when unknown.
type instant func(x *exchange.Exchange) int64

func opened(x *exchange.Exchange) int64 {
	if x.Conn.SYN != 0 {
		return x.Conn.SYN
	}
	return x.Flow.First.Time
}

func closed(x *exchange.Exchange) int64 {
	if x.Conn.Why == proto.Finished || x.Conn.Why == proto.Reset {
		return x.Conn.Closed.Time
	}
	return 0
}

func begun(s side) instant {
	return func(x *exchange.Exchange) int64 {
		if m, _ := s(x); m != nil {
			return m.First.Time
		}
		return 0
	}
}

func seconds(at instant) getter {
	return elapsed(func(x *exchange.Exchange) int64 {
		if t := at(x); t > 0 {
			return t
		}
		return -1
	})
}

// defaultTime is how justniffer writes times.
const defaultTime = "%m/%d/%y %T"

func moment(at instant) func(string) (getter, error) {
	return func(format string) (getter, error) {
		if format == "" {
			format = defaultTime
		}
		steps, err := strftime(format)
		return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
			ns := at(x)
			if ns == 0 {
				return dst, false
			}
			t := time.Unix(0, ns).UTC()
			for _, step := range steps {
				dst = step(dst, t)
			}
			return dst, true
		}, err
	}
}

// A side gives a message of an exchange and its body, nil when it wasn't seen.
type side func(x *exchange.Exchange) (*proto.Message, *exchange.Body)

func request(x *exchange.Exchange) (*proto.Message, *exchange.Body) {
	if !x.HasRequest {
		return nil, nil
	}
	return &x.Request, &x.RequestBody
}

func response(x *exchange.Exchange) (*proto.Message, *exchange.Body) {
	if !x.HasResponse {
		return nil, nil
	}
	return &x.Response, &x.ResponseBody
}

func method(m *proto.Message) proto.Span  { return m.Method }
func target(m *proto.Message) proto.Span  { return m.Target }
func version(m *proto.Message) proto.Span { return m.Proto }
func reason(m *proto.Message) proto.Span  { return m.Reason }

// span gives a part of a message's start line; an empty one is missing.
func span(s side, part func(*proto.Message) proto.Span) getter {
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		m, _ := s(x)
		if m == nil || part(m).Len == 0 {
			return dst, false
		}
		return append(dst, m.Bytes(part(m))...), true
	}
}

func status(dst []byte, x *exchange.Exchange) ([]byte, bool) {
	if !x.HasResponse || x.Response.Status <= 0 {
		return dst, false
	}
	return strconv.AppendInt(dst, int64(x.Response.Status), 10), true
}

func size(s side) getter {
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		m, _ := s(x)
		if m == nil {
			return dst, false
		}
		return strconv.AppendInt(dst, m.Size, 10), true
	}
}

func line(s side) getter {
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		m, _ := s(x)
		if m == nil {
			return dst, false
		}
		n := len(dst)
		dst = output.AppendStartLine(dst, m)
		return dst, len(dst) > n
	}
}

func head(s side) getter {
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		m, _ := s(x)
		if m == nil {
			return dst, false
		}
		dst = append(output.AppendStartLine(dst, m), "\r\n"...)
		return append(output.AppendFields(dst, m), "\r\n"...), true
	}
}

func body(s side) getter {
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		m, b := s(x)
		if m == nil || len(b.Bytes) == 0 {
			return dst, false
		}
		return append(dst, b.Bytes...), true
	}
}

func whole(s side) getter {
	h, b := head(s), body(s)
	return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
		dst, ok := h(dst, x)
		dst, _ = b(dst, x)
		return dst, ok
	}
}

// header gives the values of a header field, joined as RFC 9110 §5.2 joins the lines of a list.
func header(s side) func(string) (getter, error) {
	return func(name string) (getter, error) {
		name = strings.ToLower(name)
		return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
			m, _ := s(x)
			if m == nil {
				return dst, false
			}
			found := false
			for i := range m.Fields {
				f := &m.Fields[i]
				if f.Flags&proto.Trailer != 0 || !proto.EqualFold(m.Bytes(f.Name), name) {
					continue
				}
				if found {
					dst = append(dst, ", "...)
				}
				dst, found = append(dst, m.Bytes(f.Value)...), true
			}
			if !found && name == "host" {
				host := output.Authority(m) // which takes the place of Host in HTTP/2
				return append(dst, host...), len(host) > 0
			}
			return dst, found
		}, nil
	}
}

// grep gives what the last group of a regular expression matches in a text, or all that it matches
// when it has no group.
func grep(text getter) func(string) (getter, error) {
	return func(expr string) (getter, error) {
		if _, err := regexp.Compile(expr); err != nil {
			return nil, fmt.Errorf("%w (the syntax is RE2's)", err)
		}
		// Heads have many lines; ^ and $ are of use only when they mean each of them.
		re, err := regexp.Compile("(?m:" + expr + ")")
		if err != nil {
			return nil, err
		}
		var scratch []byte
		return func(dst []byte, x *exchange.Exchange) ([]byte, bool) {
			var ok bool
			if scratch, ok = text(scratch[:0], x); !ok {
				return dst, false
			}
			at := re.FindSubmatchIndex(scratch)
			for i := len(at) - 2; i >= 0; i -= 2 {
				if at[i] >= 0 {
					return append(dst, scratch[at[i]:at[i+1]]...), true
				}
			}
			return dst, false
		}, nil
	}
}
