package kafka

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/culprit-http/culprit/internal/endpoint"
)

// The problem is that of the broker that failed last, until it is reached.
func TestProblem(t *testing.T) {
	refused := errors.New("refused")
	var answer error
	d := &dialer{endpoint: &endpoint.Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, answer }}}
	for _, step := range []struct {
		address string
		answer  error
		want    string
	}{
		{"a:1", nil, ""},
		{"a:1", refused, "a:1: refused"},
		{"b:1", nil, "a:1: refused"},
		{"a:1", context.Canceled, "a:1: refused"},
		{"a:1", nil, ""},
		{"a:1", refused, "a:1: refused"},
		{"b:1", refused, "b:1: refused"},
	} {
		answer = step.answer
		if _, err := d.dial(context.Background(), "tcp", step.address); err != step.answer {
			t.Fatal(err)
		}
		got := ""
		if err := d.problem(); err != nil {
			got = err.Error()
		}
		if got != step.want {
			t.Errorf("after %s: %v: %q, want %q", step.address, step.answer, got, step.want)
		}
	}
	if d.reset(); d.problem() != nil {
		t.Error(d.problem())
	}
}
