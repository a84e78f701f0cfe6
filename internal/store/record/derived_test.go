package record

import (
	"bytes"
	"reflect"
	"strconv"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// derived are the columns from which no exchange is made, and what their values follow from.
var derived = map[string]string{
	"network.type":         "the addresses",
	"network.community_id": "the addresses, ports and the transport",

	"process.pid":             "the server's process, or else the client's",
	"process.name":            "likewise",
	"process.executable":      "likewise",
	"process.command_line":    "likewise",
	"process.user.name":       "likewise",
	"http.request.id":         "headers",
	"http.request.mime_type":  "headers",
	"http.request.referrer":   "headers",
	"http.response.mime_type": "headers",
	"url.scheme":              "the target, headers, or whether there is TLS",
	"url.domain":              "the target, or headers",
	"url.port":                "the target, or headers",
	"url.path":                "the target",
	"url.query":               "the target",
	"user_agent.original":     "headers",
	"trace.id":                "headers",
	"culprit.timing.ttfb":     "send and wait",
	"culprit.blame.share":     "the time that is blamed, and the total",
	"event.category":          "the protocol",
	"http.request.bytes":      "client.bytes",
	"http.response.bytes":     "server.bytes",

	"db.system.name":                 "the protocol",
	"mysql.num_rows":                 "the rows returned",
	"pgsql.num_rows":                 "the rows returned",
	"mongodb.numberReturned":         "the rows returned",
	"memcache.response.count_values": "the rows returned",
	"redis.return_value":             "the result",
	"dns.question.registered_domain": "the name",
	"network.bytes":                  "what both sides sent",
	"network.packets":                "what both sides sent",

	"tls.version_protocol":         "the version",
	"tls.resumed":                  "how it was resumed",
	"culprit.tls.server.days_left": "the end of the certificate's validity, and the start",
	"culprit.grpc.service":         "the target",
	"culprit.grpc.method":          "the target",
	"culprit.grpc.status_code":     "trailers",
	"culprit.grpc.status":          "trailers",
	"culprit.grpc.message":         "trailers",
	"culprit.grpc.kind":            "how many messages there are",
}

// Every column makes a part of the exchange by itself, or together with others, or follows from others.
func TestEveryColumnIsUsed(t *testing.T) {
	together := map[int]bool{}
	var collect func(v reflect.Value)
	collect = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Int:
			together[int(v.Int())] = true
		case reflect.Array:
			for i := range v.Len() {
				collect(v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				collect(v.Field(i))
			}
		}
	}
	collect(reflect.ValueOf(cols))
	if together[-1] {
		t.Error("cols names a column that isn't there")
	}
	for i := range Columns {
		name := Columns[i].Name
		if used := setters[i] != nil || together[i]; used == (derived[name] != "") {
			t.Errorf("%s wants a setter or a place in cols, or else a reason in derived", name)
		}
	}
	for name := range derived {
		if Index(name) < 0 {
			t.Errorf("%s isn't a column", name)
		}
	}
	if len(Columns) > maxColumns {
		t.Errorf("%d columns are more than %d", len(Columns), maxColumns)
	}
}

// The Host header that is made up of domain and port has these.
func TestAuthority(t *testing.T) {
	for _, host := range []string{"a", "a:80", "[::1]", "[::1]:80", "[a:b]", "a:b:c", "[a:b:c]:7", "a]b:80", "x]:y:z", "a:", ":80", "[::1]x", "a:99999", "[[:::"} {
		x := exchange.Exchange{HasRequest: true}
		set := func(host []byte) (domain []byte, port int64, has bool) {
			m := &x.Request
			m.Raw = append([]byte("GET / host "), host...)
			m.Method, m.Target = proto.Span{Off: 0, Len: 3}, proto.Span{Off: 4, Len: 1}
			m.Fields = []proto.Field{{Name: proto.Span{Off: 6, Len: 4}, Value: proto.Span{Off: 11, Len: uint32(len(host))}}}
			u := x.URL()
			n, err := strconv.ParseUint(string(u.Port), 10, 16)
			return u.Host, int64(n), err == nil
		}
		domain, port, has := set([]byte(host))
		domain = bytes.Clone(domain)
		if len(domain) == 0 {
			continue // then there is no column to make it of
		}
		made := appendAuthority(nil, domain, port, has)
		if d, p, h := set(made); !bytes.Equal(d, domain) || h != has || has && p != port {
			t.Errorf("%s becomes %s, which has the domain %s and the port %d, %v", host, made, d, p, h)
		}
	}
}
