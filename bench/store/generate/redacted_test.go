package generate

import (
	"testing"

	"github.com/culprit-http/culprit/internal/redact"
)

// Everything is redacted already, in the form that redaction gives it.
func TestRedacted(t *testing.T) {
	g := New(Options{Seed: 5, Start: start})
	r := redact.New([]byte("key of the tests"))
	for range 5000 {
		x := g.Next()
		want := [2]string{string(x.Request.Raw), string(x.Response.Raw)}
		r.Exchange(x)
		if got := [2]string{string(x.Request.Raw), string(x.Response.Raw)}; got != want {
			t.Fatalf("redaction changes\n%s\nto\n%s", want, got)
		}
	}
}
