//go:build linux

package peers

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/lab/tlspeers"
)

// startNghttpd starts nghttp2's server, without TLS, since nghttp logs no keys: it serves Digits, and echoes what is sent.
func startNghttpd(t *testing.T, options ...string) (at string) {
	t.Helper()
	program(t, "nghttpd")
	at = address(t)
	root := t.TempDir()
	for _, n := range []int{10, 5000, 200_000} {
		name := strconv.Itoa(n)
		if err := os.WriteFile(filepath.Join(root, name), tlspeers.Digits("/"+name, n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := net.SplitHostPort(at)
	p, err := tlspeers.Start(root, nil, "nghttpd", append([]string{"-a", host, "-d", root, "--echo-upload", "--no-tls"}, append(options, port)...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return at
}

// nghttp asks for targets, and returns what the client's table says: the targets with their statuses; * stands before
// those that were pushed.
func nghttp(t *testing.T, at string, options []string, targets ...string) (table []string) {
	t.Helper()
	program(t, "nghttp")
	args := append([]string{"-n", "-s"}, options...)
	for _, target := range targets {
		args = append(args, "http://"+at+target)
	}
	out, err := tlspeers.Output("", nil, "nghttp", args...)
	if err != nil {
		t.Fatal(err)
	}
	// id  responseEnd requestStart  process code size request path
	//  13     +1.02ms       +104us    916us  200   3K /x
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 7 {
			continue
		}
		pushed := ""
		if f[1] == "*" || strings.HasPrefix(f[2], "*") {
			pushed = "*"
		}
		if _, err := strconv.Atoi(f[0]); err == nil && strings.HasPrefix(f[len(f)-1], "/") {
			table = append(table, pushed+f[len(f)-1]+" "+f[len(f)-3])
		}
	}
	return table
}

// row is a row of nghttp's table.
func (s *seen) row() string {
	pushed := ""
	if s.pushed {
		pushed = "*"
	}
	return fmt.Sprintf("%s%s %d", pushed, s.Target, s.Status)
}

// TestNghttp2 has nghttp ask nghttpd, with what only they do: pushes, CONTINUATION, padding, trailers, small
// tables and windows.
func TestNghttp2(t *testing.T) {
	upload := filepath.Join(t.TempDir(), "upload")
	sent := tlspeers.Digits("upload", 123_456)
	if err := os.WriteFile(upload, sent, 0o600); err != nil {
		t.Fatal(err)
	}
	push := []string{"-p", "/10=/5000,/200000"}
	for _, v := range []struct {
		name           string
		server, client []string
		targets        []string
		trailers       bool
	}{
		{name: "prior knowledge", targets: []string{"/10", "/5000", "/200000", "/missing"}},
		{name: "push", server: push, targets: []string{"/10"}},
		{name: "continuation", client: []string{"--continuation"}, targets: []string{"/10", "/5000"}},
		{name: "padding", server: []string{"-b", "200"}, client: []string{"-b", "100"}, targets: []string{"/10", "/5000", "/200000"}},
		{name: "trailers", server: []string{"--trailer", "x-check: right"}, targets: []string{"/5000", "/10"}, trailers: true},
		{name: "no table", server: []string{"-c", "0", "--encoder-header-table-size", "0"}, client: []string{"-c", "0"}, targets: []string{"/10", "/5000", "/200000"}},
		{name: "small windows", client: []string{"-w", "10", "-W", "10"}, targets: []string{"/200000", "/5000"}},
		{name: "upload", client: []string{"-d", upload}, targets: []string{"/echo", "/echo?2"}},
		{name: "upload with trailers", client: []string{"-d", upload, "--trailer", "x-sum: 1", "--no-content-length"}, targets: []string{"/echo"}},
		{name: "no priorities", client: []string{"--no-dep"}, targets: []string{"/10", "/5000"}},
		{name: "many of one", client: []string{"-m", "40"}, targets: []string{"/5000"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			var table []string
			pcap := record(t, startNghttpd(t, v.server...), 1200, func(address string) {
				table = nghttp(t, address, v.client, v.targets...)
			})
			have := observe(t, pcap, nil)
			if len(have) != 1 {
				t.Fatalf("%d connections", len(have))
			}
			t.Log(describe(have[0]))
			defer func() {
				if t.Failed() {
					keep(t, pcap, nil)
				}
			}()
			var rows []string
			for i := range have[0] {
				x := &have[0][i]
				rows = append(rows, x.row())
				path, _, _ := strings.Cut(x.Target, "?")
				n, err := strconv.Atoi(strings.TrimPrefix(path, "/"))
				switch {
				case path == "/echo":
					same(t, x.row()+" sent", x.Said.Request, sent)
					same(t, x.row()+" got", x.Said.Response, sent)
				case err == nil:
					same(t, x.row(), x.Said.Response, tlspeers.Digits(path, n))
				}
				if x.grade != "complete" {
					t.Errorf("%s: %s %s", x.row(), x.grade, x.reason)
				}
				if v.trailers != strings.Contains(x.trailers, "x-check: right") {
					t.Errorf("%s: trailers %q", x.row(), x.trailers)
				}
			}
			slices.Sort(rows)
			slices.Sort(table)
			if !slices.Equal(rows, table) || len(table) == 0 {
				t.Errorf("culprit has seen\n%v, nghttp says\n%v", rows, table)
			}
		})
	}
}

// TestNghttp2Upgrade has nghttp ask nghttpx, which stands before nginx, in HTTP/1.1, to go on in HTTP/2: the answer to the
// first request comes on stream 1.
func TestNghttp2Upgrade(t *testing.T) {
	program(t, "nghttpx")
	s := startNginx(t)
	at := address(t)
	dir := t.TempDir()
	p, err := tlspeers.Start(dir, nil, "nghttpx", "--conf="+filepath.Join(dir, "none"), "--workers=1", "--frontend="+strings.Replace(at, ":", ",", 1)+";no-tls", "--backend="+strings.Replace(s.plain, ":", ",", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	var table []string
	pcap := record(t, at, 1200, func(address string) {
		table = nghttp(t, address, []string{"-u"}, "/digits/100", "/digits/100000", "/missing")
	})
	have := observe(t, pcap, nil)
	if len(have) != 1 {
		t.Fatalf("%d connections: %v", len(have), p.Stderr())
	}
	t.Log(describe(have[0]))
	var rows []string
	for i := range have[0] {
		x := &have[0][i]
		if x.grade != "complete" {
			t.Errorf("%s: %s %s", x.row(), x.grade, x.reason)
		}
		if x.Status == http.StatusSwitchingProtocols {
			continue // the answer is yet to come
		}
		rows = append(rows, x.row())
		if n, err := strconv.Atoi(strings.TrimPrefix(x.Target, "/digits/")); err == nil {
			same(t, x.row(), x.Said.Response, tlspeers.Digits(x.Target, n))
		}
	}
	slices.Sort(rows)
	slices.Sort(table)
	if !slices.Equal(rows, table) || len(table) != 3 {
		t.Errorf("culprit has seen\n%v, nghttp says\n%v", rows, table)
		keep(t, pcap, nil)
	}
}

// TestH2load has h2load ask nginx and nghttpd on several connections, with many streams at a time.
func TestH2load(t *testing.T) {
	program(t, "h2load")
	s := startNginx(t)
	const requests, clients = 600, 3
	for _, v := range []struct {
		name, scheme, address string
		options               []string
	}{
		{"TLS", "https", s.secure, nil},
		{"plain", "http", s.bareHTTP2, nil},
		{"HTTP/1.1", "https", s.secure, []string{"--h1"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			log := filepath.Join(t.TempDir(), "keys")
			pcap := record(t, v.address, 9000, func(address string) {
				args := append([]string{"-n", fmt.Sprint(requests), "-c", fmt.Sprint(clients), "-m", "50", "-t", "1"}, v.options...)
				out, err := tlspeers.Output("", append(os.Environ(), "SSLKEYLOGFILE="+log), "h2load", append(args, v.scheme+"://"+address+"/digits/"+fmt.Sprint(s.small))...)
				if err != nil || !strings.Contains(string(out), fmt.Sprintf("status codes: %d 2xx", requests)) {
					t.Fatalf("%v\n%s", err, out)
				}
			})
			keys, _ := os.ReadFile(log)
			var want []conversation
			for range clients {
				c := conversation{facts: facts{any: true}}
				for range requests / clients {
					path := fmt.Sprintf("/digits/%d", s.small)
					c.said = append(c.said, tlspeers.Said{Method: http.MethodGet, Target: path, Status: http.StatusOK, Response: tlspeers.Digits(path, s.small)})
				}
				want = append(want, c)
			}
			have := observe(t, pcap, keys)
			if len(have) != len(want) {
				t.Errorf("%d connections, want %d", len(have), len(want))
			}
			for i := range min(len(have), len(want)) {
				compareSaid(t, i, have[i], want[i].said)
			}
			if t.Failed() {
				keep(t, pcap, keys)
			}
		})
	}
}
