package enrich

import (
	"testing"

	"github.com/culprit-http/culprit/internal/output/outputtest"
)

// What HTTP/2, gRPC and WebSocket ask for has a route and a user agent; a path that couldn't be known, and a TLS session, have none.
func TestKinds(t *testing.T) {
	e := newEnricher(t, Options{})
	for _, c := range []struct{ path, more, want string }{
		{"/users/7", "", "/users/{id}"},
		{"/shop.v1.Cart/AddItem", "content-type: application/grpc\n", "/shop.v1.Cart/AddItem"},
		{"/chat/7", ":protocol: websocket\n", "/chat/{id}"},
		{"?", "", ""},
	} {
		method := "GET"
		if c.more == ":protocol: websocket\n" {
			method = "CONNECT"
		}
		x := outputtest.HTTP2(":method: "+method+"\n:scheme: https\n:path: "+c.path+"\n:authority: h\n"+c.more+"user-agent: curl/8.5.0\n\n", "")
		e.Exchange(x)
		if got := x.Enriched.Route; got != c.want {
			t.Errorf("%s: route %q, want %q", c.path, got, c.want)
		}
		if a := x.Enriched.UserAgent; a == nil || a.Name != "curl" {
			t.Errorf("%s: user agent %+v", c.path, a)
		}
	}
	x := outputtest.TLSRecord()
	if e.Exchange(x); x.Enriched.Route != "" || x.Enriched.UserAgent != nil {
		t.Errorf("TLS: %+v", x.Enriched)
	}
}
