package otlp

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/output/outputtest"
)

// Headers, bodies and arguments aren't exported at all.
func TestNothingPrivateIsExported(t *testing.T) {
	const secret = "s3cr3t"
	x := outputtest.Exchange("POST /a HTTP/1.1\nHost: h\nAuthorization: Bearer "+secret+"\nCookie: sid="+secret+"\nReferer: http://a/?token="+secret+"\nX-Trace: "+secret+"\n\n"+secret,
		"HTTP/1.1 200 OK\nSet-Cookie: a="+secret+"\nLocation: /?token="+secret+"\n\n"+secret)
	x.Secrets = []string{secret}
	if body := NewEncoder(&Options{}).Exchange(nil, x); strings.Contains(string(body), secret) {
		t.Errorf("%q", body)
	}
}
