package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// readBy runs the pipeline over a capture and returns what it finds of each exchange.
func readBy(t *testing.T, f file, each func(x *exchange.Exchange)) {
	t.Helper()
	if _, err := analyse(context.Background(), f, &eachExchange{each}); err != nil {
		t.Fatal(err)
	}
}

type eachExchange struct{ do func(x *exchange.Exchange) }

func (e *eachExchange) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		e.do(x)
	}
	return nil
}

func (*eachExchange) Idle() error { return nil }

// A long answer is there, whole, however it is carried, and hidden without the keys.
func TestBulk(t *testing.T) {
	const size = 3_000_000
	want := map[string]uint16{bulkTLS13: tls.TLS_AES_128_GCM_SHA256, bulkTLS12: tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
	for _, c := range bulk(options{cache: t.TempDir(), size: size}) {
		if err := c.prepare(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if c.part.bytes == 0 || c.part.bytes > c.full.bytes/10 {
			t.Errorf("%s: %d bytes, and %d for slow tools", c.name, c.full.bytes, c.part.bytes)
		}
		n := 0
		readBy(t, c.full, func(x *exchange.Exchange) {
			n++
			if x.Grade != exchange.Complete || x.Response.Status != 200 || x.Response.BodyBytes != size || c.full.body != size {
				t.Errorf("%s: %v, status %d, %d bytes", c.name, x.Grade, x.Response.Status, x.Response.BodyBytes)
			}
			if suite := want[c.name]; (x.TLS != nil) != (suite != 0) || suite != 0 && x.TLS.Suite != suite {
				t.Errorf("%s: TLS %+v", c.name, x.TLS)
			}
		})
		if n != 1 {
			t.Errorf("%s: %d exchanges", c.name, n)
		}
		if c.inside {
			f := c.full
			f.keys = ""
			readBy(t, f, func(x *exchange.Exchange) {
				if x.Grade != exchange.Undecryptable {
					t.Errorf("%s without keys: %v", c.name, x.Grade)
				}
			})
		}
	}
}

// The same exchanges are made in both versions of HTTP.
func TestMultiplexed(t *testing.T) {
	var fields [2][2]int
	for i, c := range multiplexed(options{cache: t.TempDir(), size: 2_000_000}) {
		if err := c.prepare(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		found := 0
		readBy(t, c.full, func(x *exchange.Exchange) {
			found++
			got := [2]int{named(&x.Request), named(&x.Response)}
			if found == 1 {
				fields[i] = got
			}
			if x.Grade != exchange.Complete || x.Response.Status != 200 || x.Response.BodyBytes < 600 || got != fields[i] || !strings.HasPrefix(string(x.Request.Bytes(x.Request.Target)), "/small/item.json?n=") {
				t.Fatalf("%s: %v, status %d, %d bytes, fields %v", c.name, x.Grade, x.Response.Status, x.Response.BodyBytes, got)
			}
		})
		if found < 1000 || found != c.full.truth.Requests || found != c.full.truth.Answered {
			t.Errorf("%s: %d exchanges, want %+v", c.name, found, c.full.truth)
		}
	}
	if fields[0] != fields[1] || fields[0] != [2]int{8, 5} {
		t.Errorf("fields of requests and answers: %v in HTTP/1, %v in HTTP/2", fields[0], fields[1])
	}
}

// named counts the fields of a message; the name of the host, which has two names, is one.
func named(m *proto.Message) (n int) {
	for _, f := range m.Fields {
		if name := string(m.Bytes(f.Name)); !strings.HasPrefix(name, ":") || name == ":authority" {
			n++
		}
	}
	return n
}

func TestRatio(t *testing.T) {
	if s := compared(100, 200, 0); s.share != 0.5 {
		t.Errorf("share %v of the other", s.share)
	}
	if s := compared(90, 200, 300); s.share != 0.75 { // both together: 120
		t.Errorf("share %v of both together", s.share)
	}
	r := ratio{name: "x", unit: "MB", aim: 0.7}
	rounds := []standing{compared(80, 100, 0), compared(60, 100, 0), compared(75, 100, 0)}
	if got, want := r.row(rounds), []string{"x", "75 MB", "100 MB", "-", "75 %", "60 %", "80 %", "70 %", "reached"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := r.row(rounds[:1]); got[8] != "missed" {
		t.Errorf("%q", got)
	}
}

// A ratio isn't told of what culprit didn't read.
func TestRatioNeedsAllAnswers(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("needs /bin/sh")
	}
	quiet := tool{name: "culprit -o line", program: "/bin/sh", args: func(file) []string { return []string{"-c", "echo GET / 404 1ms"} }}
	one := &benchCapture{name: gets2, full: file{path: "a", truth: truth{1, 1}}}
	err := measureRatios(context.Background(), &bytes.Buffer{}, options{runs: 1}, []tool{quiet}, []*benchCapture{one, {name: gets1, full: one.full}})
	if err == nil || !strings.Contains(err.Error(), "found 0 of 1 answers in a") {
		t.Errorf("error %v", err)
	}
	var out bytes.Buffer
	if err := measureRatios(context.Background(), &out, options{runs: 1}, []tool{quiet}, []*benchCapture{one}); err != nil || out.Len() > 0 {
		t.Errorf("%v, %q without the other capture", err, out.String())
	}
}

func TestWithKeys(t *testing.T) {
	all := tools("culprit")
	for name, want := range map[string]string{"culprit -o line": "--keylog k", "tshark": "-o tls.keylog_file:k"} {
		i := slices.IndexFunc(all, func(t tool) bool { return t.name == name })
		if got := strings.Join(all[i].command(file{path: "p", keys: "k"}), " "); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if got := strings.Join(all[i].command(file{path: "p"}), " "); strings.Contains(got, "key") {
			t.Errorf("%s without keys: %s", name, got)
		}
	}
}
