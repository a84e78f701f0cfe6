package web

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/preview"
	"github.com/culprit-http/culprit/internal/proto"
)

// one stores an exchange, and returns a server of it and its path.
func one(t *testing.T, x *exchange.Exchange) (s *Server, path string) {
	t.Helper()
	s = serve(t, func(o *Options) { o.Store = storeOf(t, []*exchange.Exchange{x}) })
	return s, "/api/exchanges/" + string(exchange.AppendID(nil, x.ID(x.Tap.Observer)))
}

func TestBodies(t *testing.T) {
	x := outputtest.Exchange("POST /a HTTP/1.1\nHost: a\nContent-Type: application/json\n\n{\"user\":\"<b>\",\"list\":[1,2]}",
		"HTTP/1.1 200 OK\nContent-Type: image/png\n\n\x89PNG\r\n\x1a\n")
	x.ResponseBody.Cut = true
	s, path := one(t, x)
	got := ask(t, s, path+"/bodies")
	if r, _ := got["request"].(map[string]any); r["form"] != "json" || r["cut"] != false || !strings.Contains(fmt.Sprint(r["lines"]), `"<b>"`) {
		t.Errorf("the request is %v", r)
	}
	r, _ := got["response"].(map[string]any)
	if r["form"] != "binary" || r["cut"] != true || len(r["sha256"].(string)) != 64 || len(r["lines"].([]any)) != 0 {
		t.Errorf("the response is %v", r)
	}
	if w := do(s, request(path+"/bodies")); strings.ContainsAny(w.Body.String(), "<>") {
		t.Errorf("a script in a page would end: %s", w.Body)
	}

	bare, path := one(t, outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 204 No Content\n\n"))
	if got := ask(t, bare, path+"/bodies"); got["request"] != nil || got["response"] != nil {
		t.Errorf("there are no bodies: %v", got)
	}
	refused(t, s, request("/api/exchanges/00000000000000000000000000/bodies"), 404, "not-found", "")
}

// A body takes no more room than the limits, and what is decoded goes through the previewer's redaction.
func TestBodyLimits(t *testing.T) {
	long := strings.Repeat("x", 3*PreviewLineBytes) + strings.Repeat("\na line", 3*PreviewLines)
	s, path := one(t, outputtest.Exchange("POST /a HTTP/1.1\nHost: a\nContent-Type: text/plain\n\n"+long, "HTTP/1.1 204 No Content\n\n"))
	lines := dig(ask(t, s, path+"/bodies"), "request", "lines").([]any)
	if len(lines) > PreviewLines {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if len(line.(string)) > PreviewLineBytes+len("…") {
			t.Errorf("a line of %d bytes", len(line.(string)))
		}
	}

	x := outputtest.Exchange("POST /a.S/M HTTP/1.1\nHost: a\nContent-Type: application/grpc\n\n\x00\x00\x00\x00\x04\x0a\x02hi", "HTTP/1.1 200 OK\nContent-Type: application/grpc\n\n")
	s = serve(t, func(o *Options) {
		o.Store = storeOf(t, []*exchange.Exchange{x})
		o.Preview = preview.New(preview.Options{Redact: func(string, []byte) []byte { return []byte(`"hidden"`) }})
	})
	got := fmt.Sprint(ask(t, s, "/api/exchanges/"+string(exchange.AppendID(nil, x.ID(x.Tap.Observer)))+"/bodies"))
	if !strings.Contains(got, "hidden") || strings.Contains(got, "hi]") {
		t.Error(got)
	}
}

// The questions of a view of what couldn't be decrypted and why: by reason and who is meant, handshakes that failed, and
// certificates that end soon.
func TestQuestionsAboutTLS(t *testing.T) {
	day := int64(24 * 3600 * 1e9)
	session := func(at int, name string, change func(x *exchange.Exchange)) *exchange.Exchange {
		x := outputtest.Exchange("", "")
		x.HasRequest, x.HasResponse, x.Protocol = false, false, "tls"
		x.Start.Time += int64(at) * 1e9 // an id of its own
		x.TLS = &proto.TLS{
			Version: 0x0304, SuiteName: "TLS_AES_128_GCM_SHA256", ServerName: name, Established: true, Reason: "no key for this client random",
			ServerChain: []*proto.Certificate{{Subject: "CN=" + name, SHA256: "AB", NotAfter: x.Start.Time/1e9*1e9 + 5*day}},
		}
		x.Grade, x.Reason = exchange.Undecryptable, x.TLS.Reason
		change(x)
		return x
	}
	nothing := func(*exchange.Exchange) {}
	s := serve(t, func(o *Options) {
		o.Store = storeOf(t, []*exchange.Exchange{
			session(0, "a.example", nothing), session(1, "a.example", nothing),
			session(2, "b.example", func(x *exchange.Exchange) {
				x.TLS.Version, x.TLS.Reason = 0x0303, "unsupported cipher suite"
				x.TLS.ServerChain[0].NotAfter += 100 * day
			}),
			session(3, "c.example", func(x *exchange.Exchange) {
				x.Grade, x.TLS.Established, x.TLS.ServerChain, x.TLS.Reason = exchange.Aborted, false, nil, ""
				x.TLS.Alerts = []proto.Alert{{Dir: proto.Originator, Fatal: true, Name: "unknown_ca"}}
			}),
		})
	})
	rows := func(target string) (all []string) {
		for _, g := range ask(t, s, target)["groups"].([]any) {
			all = append(all, fmt.Sprintln(dig(g, "keys"), dig(g, "count"), dig(g, "values", "min(days_left)")))
		}
		return all
	}
	for target, want := range map[string][]string{
		"/api/aggregate?where=grade+==+%22undecryptable%22&group=undecryptable,sni,tls.version,cipher": {
			"[no key for this client random a.example 1.3 TLS_AES_128_GCM_SHA256] 2 <nil>\n",
			"[unsupported cipher suite b.example 1.2 TLS_AES_128_GCM_SHA256] 1 <nil>\n",
		},
		"/api/aggregate?where=has(tls.established)+and+not+tls.established&group=error_code,sni,culprit.tls.alerts": {"[unknown_ca c.example client: unknown_ca] 1 <nil>\n"},
		"/api/aggregate?where=days_left+%3C+30&group=tls.server.subject,tls.server.hash.sha256&metric=min(days_left)": {
			"[CN=a.example AB] 2 4\n",
		},
	} {
		if got := rows(target); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}
