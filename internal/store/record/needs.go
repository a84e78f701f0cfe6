package record

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
)

// needs are the columns that a Maker needs for the values of fields besides the field's own: a value may follow
// from others, or be there only with its message. A pattern that ends with a dot is for all fields that begin
// so.
var needs = []struct {
	fields  []string
	columns []string
}{
	{[]string{"client.bytes", "source.bytes", "http.request."}, []string{"client.bytes"}},
	{[]string{"server.bytes", "destination.bytes", "http.response.", "culprit.http.reason"}, []string{"server.bytes"}},
	{[]string{"culprit.http.request."}, []string{"client.bytes"}},
	{[]string{"culprit.http.response."}, []string{"server.bytes"}},
	{[]string{"event.outcome"}, slices.Concat([]string{
		"http.response.status_code", "culprit.grade", "db.response.status_code", "dns.response_code", "db.operation.name", "db.query.text", "culprit.net.closed.how",
	}, grpcStatus)},
	{[]string{"error.message"}, []string{"culprit.grade", "server.bytes", "mysql.error_message", "pgsql.error_message", "redis.error", "mongodb.error", "memcache.response.error_msg",
		"culprit.dns.error_message"}},
	{[]string{"dns.question.registered_domain"}, []string{"dns.question.name"}},
	{[]string{"db.", "mysql.", "pgsql.", "redis.", "mongodb.", "memcache.", "dns.", "culprit.db.", "culprit.dns.", "culprit.fastcgi.", "culprit.cgi."},
		[]string{"client.bytes", "server.bytes", "event.outcome", "db.operation.name", "db.query.text"}},
	{[]string{"db.response.returned_rows", "mysql.num_rows", "pgsql.num_rows", "mongodb.numberReturned", "memcache.response.count_values"},
		[]string{"db.response.returned_rows"}},
	{[]string{"redis.return_value", "culprit.db.result"}, []string{"culprit.db.result"}},
	{[]string{"network.bytes", "network.packets"}, []string{"client.bytes", "server.bytes", "culprit.net.client.packets", "culprit.net.server.packets", "flow.final"}},
	{[]string{"network.packets", "culprit.net.client.packets", "culprit.net.server.packets"}, []string{"culprit.recorded"}},
	{[]string{"flow.", "culprit.flow.", "client.bytes", "server.bytes", "source.bytes", "destination.bytes"}, []string{"culprit.flow."}},
	{[]string{"culprit.proxied."}, []string{"culprit.proxied."}},
	{[]string{"culprit.net.error."}, []string{"culprit.net.error."}},
	{[]string{"culprit.grpc.status_code", "culprit.grpc.status"}, grpcStatus},
	{[]string{"culprit.grpc.service", "culprit.grpc.method"}, slices.Concat(grpc, []string{"url.original", "http.request.method"})},
	{[]string{"culprit.grpc.message"}, grpc},
	{[]string{"culprit.grpc.kind"}, slices.Concat(grpc, []string{"culprit.messages.client.count", "culprit.messages.server.count"})},
	{[]string{"error.code"}, slices.Concat([]string{
		"culprit.http.reset.", "culprit.websocket.", "culprit.tls.alerts", "culprit.stored.tls.alerts", "db.response.status_code", "dns.response_code",
	}, grpcStatus)},
	{[]string{"network.type"}, []string{"client.ip"}},
	{[]string{"network.community_id"},
		[]string{"client.ip", "client.port", "server.ip", "server.port", "network.transport"}},
	{[]string{"url."}, []string{"client.bytes", "url.original", "http.request.method", "url.domain", "url.port"}},
	{[]string{"url.scheme"}, []string{"http.version", "tls.established"}},
	{[]string{"tls.version_protocol"}, []string{"tls.version"}},
	{[]string{"tls.resumed"}, []string{"culprit.tls.resumption"}},
	{[]string{"culprit.tls.server.days_left"}, []string{"tls.server.not_after"}},
	{[]string{"tls.server.not_before"}, []string{"tls.server.not_after"}},
	{[]string{"culprit.tls.server.chain"}, []string{"culprit.http.connection_index"}},
	{[]string{"culprit.messages.client."}, []string{"culprit.messages.client.count"}},
	{[]string{"culprit.messages.server."}, []string{"culprit.messages.server.count"}},
	{[]string{"culprit.http.reset."}, []string{"culprit.http.reset."}},
	{[]string{"culprit.message."}, []string{"culprit.message."}},
	{[]string{"user_agent.original", "trace.id"}, []string{"client.bytes"}},
	{[]string{"http.request.headers"}, []string{"culprit.stored.request.names", "culprit.stored.request.trailers", "culprit.stored.request.folded"}},
	{[]string{"http.response.headers"}, []string{"culprit.stored.response.names", "culprit.stored.response.trailers", "culprit.stored.response.folded"}},
	{[]string{"culprit.timing.ttfb"},
		[]string{"client.bytes", "server.bytes", "culprit.timing.send", "culprit.timing.wait"}},
	{[]string{"culprit.blame."}, []string{"culprit.blame.who", "culprit.blame.situation"}},
	{[]string{"culprit.blame.share"}, []string{"culprit.blame.time", "culprit.timing.total"}},
	{[]string{"parent.id", "culprit.hop."}, []string{"culprit.hop.method"}},
	{[]string{"culprit.net.handshake.client_rtt", "culprit.net.handshake.server_rtt"},
		[]string{"culprit.net.handshake.client_rtt", "culprit.net.handshake.server_rtt"}},
	{[]string{"culprit.net.closed.by"}, []string{"culprit.net.closed.how"}},
	{[]string{"source.process.", "destination.process.", "process.", "container.", "kubernetes.", "culprit.process."},
		[]string{"source.process.", "destination.process.", "process.", "container.", "kubernetes.", "culprit.process.",
			"culprit.stored.processes", "culprit.stored.client.", "culprit.stored.server."}},
}

// grpc are the columns by which calls of gRPC are known; grpcStatus those and how they ended.
var (
	grpc       = []string{"client.bytes", "server.bytes", "http.request.mime_type", "http.response.mime_type"}
	grpcStatus = slices.Concat(grpc, []string{"culprit.grpc.status_code"})
)

// headersOf are the columns whose values stand in a header. A Maker that is given them without the headers makes these
// up, with that name.
var headersOf = []struct {
	column, header string
	response       bool
}{
	{"http.request.id", "x-request-id", false}, {"http.request.mime_type", "content-type", false},
	{"http.request.referrer", "referer", false}, {"user_agent.original", "user-agent", false}, {"trace.id", "x-b3-traceid", false},
	{"http.response.mime_type", "content-type", true},
}

// headerColumn is a row of headersOf by the number of the column.
type headerColumn struct {
	col    int
	header []byte
}

// headerColumns are those of requests and of responses.
var headerColumns = func() (all [2][]headerColumn) {
	for _, h := range headersOf {
		message := 0
		if h.response {
			message = 1
		}
		all[message] = append(all[message], headerColumn{Index(h.column), []byte(h.header)})
	}
	return all
}()

// The columns of which Host and the pseudo-header of the scheme are made up, and those of the trailers of gRPC.
var (
	domainColumn, portColumn, schemeColumn = Index("url.domain"), Index("url.port"), Index("url.scheme")
	statusColumn, messageColumn            = Index("culprit.grpc.status_code"), Index("culprit.grpc.message")
)

// appendAuthority appends the Host header of which exchange.URL makes this domain and port.
func appendAuthority(dst, domain []byte, port int64, hasPort bool) []byte {
	colons := bytes.Count(domain, []byte(":"))
	if colons == 1 || colons > 1 && (hasPort || domain[0] == '[') {
		dst = append(append(append(dst, '['), domain...), ']')
	} else {
		dst = append(dst, domain...)
	}
	if hasPort {
		dst = strconv.AppendInt(append(dst, ':'), port, 10)
	}
	return dst
}

// Needs returns the columns that a Maker needs to give an exchange these fields, its id, its start, its protocol, and
// whether it is a flow, in rising order. For nil, it returns nil, which stands for all columns.
func Needs(fields []*exchange.Field) []int {
	if fields == nil {
		return nil
	}
	all := []int{ID, Time, spoken, whole}
	for _, f := range fields {
		if col, _ := Lookup(f); col >= 0 {
			all = append(all, col)
		}
		for _, n := range needs {
			if !matchesAny(f.Name, n.fields) {
				continue
			}
			for i := range Columns {
				if matchesAny(Columns[i].Name, n.columns) {
					all = append(all, i)
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func matchesAny(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		return name == p || strings.HasSuffix(p, ".") && strings.HasPrefix(name, p)
	})
}

// TrailersOf returns the column of the trailers of the message whose headers a field holds.
func TrailersOf(headers *exchange.Field) int {
	message, _ := strings.CutSuffix(strings.TrimPrefix(headers.Name, "http."), ".headers")
	return Index("culprit.stored." + message + ".trailers")
}

// AppendRow appends a row to a batch, as Batch.Add would. The row needs an id and a start. A Decoder with the
// Header of this program reads it.
func AppendRow(batch []byte, r *Row) []byte {
	// The length stands before the row, and isn't known yet.
	const room = binary.MaxVarintLen64
	begin := len(batch)
	batch = append(batch, make([]byte, room)...)
	for _, col := range r.Present {
		c := &r.cells[col]
		batch = binary.AppendUvarint(batch, uint64(col)+1)
		switch Columns[col].Form {
		case Ints:
			batch = binary.AppendVarint(batch, c.Int)
		case Texts:
			batch = appendText(batch, c.Text)
		case Lists:
			batch = binary.AppendUvarint(batch, uint64(len(c.List)))
			for _, text := range c.List {
				batch = appendText(batch, text)
			}
		case Headers:
			batch = binary.AppendUvarint(batch, uint64(len(c.Fields)))
			for _, f := range c.Fields {
				batch = appendText(appendText(batch, f.Name), f.Value)
			}
		}
	}
	batch = append(batch, 0)
	var length [room]byte
	n := binary.PutUvarint(length[:], uint64(len(batch)-begin-room))
	copy(batch[begin:], length[:n])
	copy(batch[begin+n:], batch[begin+room:])
	return batch[:len(batch)-(room-n)]
}
