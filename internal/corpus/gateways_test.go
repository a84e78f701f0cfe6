package corpus

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
)

// gateways are the captures that hold FastCGI, uwsgi or the PROXY protocol, with what culprit finds in them. packetbeat.wsgi_loopback isn't
// one, whatever its name says: it holds HTTP of a Python application. ndpi.haproxy begins behind the handshake: a PROXY header that may
// stand in the middle of a connection isn't believed.
var gateways = map[string]string{"ndpi.fastcgi": "fastcgi"}

// TestGateways finds these protocols where they are, and nowhere else.
func TestGateways(t *testing.T) {
	entries := readIndex(t, shared(t, "corpus"))
	var mu sync.Mutex
	found := map[string]string{}
	each(entries, func(e *entry) {
		if _, err := run(e.file, e.keys, 1, func(x *exchange.Exchange) {
			mu.Lock()
			defer mu.Unlock()
			if x.Protocol == "fastcgi" || x.Protocol == "uwsgi" {
				found[e.name] = x.Protocol
			}
			if p := x.Proxied; p != nil {
				found[e.name] = fmt.Sprintf("PROXY %d %s %s", p.Version, p.Client, p.Server)
			}
		}); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
	})
	for i := range entries {
		name := entries[i].name
		if want := gateways[name]; found[name] != want && sample(i) {
			t.Errorf("%s: found %q, want %q", name, found[name], want)
		}
	}
}

// fcgiFields are what tshark is asked of each record.
var fcgiFields = []string{"fcgi.type", "fcgi.content.length", "fcgi.padding.length"}

// TestFastCGI compares the sizes of what was said over FastCGI with the records that tshark lists.
func TestFastCGI(t *testing.T) {
	root := shared(t, "corpus")
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark isn't installed: make deps says how to get it")
	}
	file := filepath.Join(root, "files", "ndpi", "fastcgi.pcap")
	args := []string{"-r", file, "-d", "tcp.port==9000,fcgi", "-Y", "fcgi", "-T", "fields", "-E", "aggregator=,"}
	for _, f := range fcgiFields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command(tshark, args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	// The kinds of records, and the sums of their sizes.
	const beginRequest, endRequest, params, stdin, stdout = "1", "3", "4", "5", "6"
	sizes, ended := map[string]int64{}, false
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		columns := strings.Split(lines.Text(), "\t")
		if len(columns) != len(fcgiFields) {
			t.Fatalf("tshark says %q", lines.Text())
		}
		kinds, lengths, paddings := strings.Split(columns[0], ","), strings.Split(columns[1], ","), strings.Split(columns[2], ",")
		for i, kind := range kinds {
			var length, padding int64
			if _, err := fmt.Sscan(lengths[i], &length); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Sscan(paddings[i], &padding); err != nil {
				t.Fatal(err)
			}
			if kind == stdin && length == 0 && ended {
				continue // the web server says twice that STDIN has ended
			}
			ended = ended || kind == stdin && length == 0
			sizes[kind] += 8 + length + padding
		}
	}
	exchanges := 0
	if _, err := run(file, "", 1, func(x *exchange.Exchange) {
		exchanges++
		if want := sizes[beginRequest] + sizes[params] + sizes[stdin]; x.Request.Size != want {
			t.Errorf("a request of %d bytes, tshark lists %d", x.Request.Size, want)
		}
		if want := sizes[stdout] + sizes[endRequest]; x.Response.Size != want || want == 0 {
			t.Errorf("a response of %d bytes, tshark lists %d", x.Response.Size, want)
		}
	}); err != nil {
		t.Error(err)
	}
	if exchanges != 1 {
		t.Errorf("%d exchanges, want 1", exchanges)
	}
}
