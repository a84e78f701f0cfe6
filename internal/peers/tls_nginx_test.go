//go:build linux

package peers

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/culprit-http/culprit/internal/lab/tlspeers"
)

// nginxSite is a running nginx.
type nginxSite struct {
	certificates               tlspeers.Certificates
	secure, plain, bareHTTP2   string
	small, medium, large, huge int
}

func startNginx(t *testing.T) *nginxSite {
	t.Helper()
	program(t, "nginx")
	program(t, "curl")
	s := &nginxSite{certificates: certificates(t), small: 100, medium: 100_000, large: 3_000_000, huge: 24 << 20}
	for _, a := range []*string{&s.secure, &s.plain, &s.bareHTTP2} {
		*a = address(t)
	}
	dir := t.TempDir()
	arguments, err := tlspeers.WriteSite(dir, s.certificates, []string{s.secure}, []string{s.plain}, []string{s.bareHTTP2}, 0, s.small, s.medium, s.large, s.huge)
	if err != nil {
		t.Fatal(err)
	}
	p, err := tlspeers.Start(dir, nil, "nginx", arguments...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if err := tlspeers.Await(s.secure); err != nil { // wires would wait, but proxies don't
		t.Fatalf("nginx: %v: %s", err, p.Stderr())
	}
	return s
}

// get is a call of curl: a target, with what it is asked.
type get struct {
	options []string
	method  string
	target  string
	body    []byte
}

func digits(n int) get { return get{target: fmt.Sprintf("/digits/%d", n)} }

// upload is a request with a body.
func upload(method string, n int, options ...string) get {
	return get{options: options, method: method, target: "/upload", body: tlspeers.Digits(method, n)}
}

// curl asks a site for all targets, with options that hold for all. It returns what was said, and what the keys are.
func curl(t *testing.T, c tlspeers.Certificates, scheme, address string, options []string, gets ...get) (said []tlspeers.Said, keys []byte) {
	t.Helper()
	dir := t.TempDir()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	var args []string
	for i := range gets {
		g := &gets[i]
		if i > 0 {
			args = append(args, "--next")
		}
		args = append(args, "--no-progress-meter", "--resolve", tlspeers.ServerName+":"+port+":127.0.0.1", "--cacert", c.Cert("ca"), "--noproxy", "none", "-o", filepath.Join(dir, fmt.Sprint(i)))
		args = append(args, options...)
		args = append(args, g.options...)
		switch {
		case g.body != nil:
			file := filepath.Join(dir, fmt.Sprint("body", i))
			if err := os.WriteFile(file, g.body, 0o600); err != nil {
				t.Fatal(err)
			}
			if g.method == http.MethodPut {
				args = append(args, "-T", file)
			} else {
				args = append(args, "--data-binary", "@"+file)
			}
		case g.method == http.MethodHead:
			args = append(args, "-I")
		}
		args = append(args, "-w", "%{response_code}\n", scheme+"://"+net.JoinHostPort(tlspeers.ServerName, port)+g.target)
	}
	log := filepath.Join(dir, "keys")
	out, err := tlspeers.Output(dir, append(os.Environ(), "SSLKEYLOGFILE="+log, "HOME="+dir), "curl", args...)
	if err != nil {
		t.Fatal(err)
	}
	statuses := strings.Fields(string(out))
	if len(statuses) != len(gets) {
		t.Fatalf("%d statuses of %d requests", len(statuses), len(gets))
	}
	for i := range gets {
		g := &gets[i]
		s := tlspeers.Said{Method: g.method, Target: g.target, Request: g.body}
		if s.Method == "" {
			s.Method = http.MethodGet
		}
		if _, err := fmt.Sscan(statuses[i], &s.Status); err != nil {
			t.Fatal(err)
		}
		if s.Method != http.MethodHead { // curl writes the head
			s.Response, err = os.ReadFile(filepath.Join(dir, fmt.Sprint(i)))
			if err != nil && s.Status == http.StatusOK && g.target != "/digits/0" {
				t.Fatal(err)
			}
		}
		said = append(said, s)
	}
	if scheme == "https" {
		keys = readKeys(t, log)
	}
	return said, keys
}

// record lets f talk with an address through a wire, and returns the recording.
func record(t *testing.T, address string, segment int, f func(address string)) []byte {
	t.Helper()
	w, err := tlspeers.NewWire(address, segment)
	if err != nil {
		t.Fatal(err)
	}
	f(w.Address())
	pcap, err := w.Stop()
	if err != nil {
		t.Error(err)
	}
	return pcap
}

// TestTLSNginx has curl ask nginx in each version of HTTP and TLS.
func TestTLSNginx(t *testing.T) {
	s := startNginx(t)
	gets := []get{
		digits(s.small), digits(s.medium), digits(s.large), {target: "/missing"}, {method: http.MethodHead, target: "/digits/3000000"},
		digits(0), upload(http.MethodPost, 70_000), upload(http.MethodPut, 200_000, "-H", "Expect:"), upload(http.MethodPut, 10, "-H", "Expect: 100-continue"),
		{target: "/digits/100?q=1", options: []string{"-r", "10-19"}}, {target: "/digits/100?q=2", options: []string{"--compressed"}},
	}
	for i := range gets { // each its own target
		if gets[i].target == "/upload" {
			gets[i].target += fmt.Sprint("?n=", i)
		}
	}
	twelve := facts{version: "1.2", suite: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}
	thirteen := facts{version: "1.3", suite: "TLS_AES_256_GCM_SHA384"}
	with := func(f facts, alpn string) facts { f.alpn = alpn; return f }
	for _, v := range []struct {
		name, scheme, address string
		options               []string
		segment               int
		facts
	}{
		{"plain http1", "http", s.plain, nil, tlspeers.DefaultSegment, facts{}},
		{"plain http2", "http", s.bareHTTP2, []string{"--http2-prior-knowledge"}, tlspeers.DefaultSegment, facts{}},
		{"http1 over TLS 1.2", "https", s.secure, []string{"--http1.1", "--tls-max", "1.2"}, tlspeers.DefaultSegment, with(twelve, "http/1.1")},
		{"http1 over TLS 1.3", "https", s.secure, []string{"--http1.1"}, 999, with(thirteen, "http/1.1")},
		{"http2 over TLS 1.2", "https", s.secure, []string{"--tls-max", "1.2"}, 60000, with(twelve, "h2")},
		{"http2 over TLS 1.3", "https", s.secure, nil, tlspeers.DefaultSegment, with(thirteen, "h2")},
		{"http2 in small segments", "https", s.secure, nil, 50, with(thirteen, "h2")},
		{"http2 without ALPN in small segments", "http", s.bareHTTP2, []string{"--http2-prior-knowledge"}, 50, facts{}},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			var want []conversation
			var keys []byte
			pcap := record(t, v.address, v.segment, func(address string) {
				rest := gets
				if v.facts == (facts{}) && strings.Contains(v.name, "http2") {
					// This curl fails when it uses a connection of HTTP/2 without TLS again.
					for ; len(rest) > 1; rest = rest[1:] {
						said, _ := curl(t, s.certificates, v.scheme, address, v.options, rest[0])
						want = append(want, conversation{v.facts, said})
					}
				}
				said, log := curl(t, s.certificates, v.scheme, address, v.options, rest...)
				want, keys = append(want, conversation{v.facts, said}), log
			})
			have := check(t, pcap, keys, want)
			for _, x := range slices.Concat(have...) {
				if wants := x.Target == gets[8].target && !strings.Contains(v.name, "http2"); wants != (len(x.interim) == 1) {
					t.Errorf("%s %s: interim responses %v", x.Method, x.Target, x.interim)
				}
			}
		})
	}
}

// TestTLSParallel has curl ask for many files at a time on one connection of HTTP/2.
func TestTLSParallel(t *testing.T) {
	s := startNginx(t)
	var gets []get
	for i := range 60 {
		gets = append(gets, get{target: fmt.Sprintf("/digits/%d?n=%d", []int{s.small, s.medium, s.large, s.medium}[i%4], i)})
	}
	gets[0].options = []string{"--parallel", "--parallel-max", "30"}
	var said []tlspeers.Said
	var keys []byte
	pcap := record(t, s.secure, tlspeers.DefaultSegment, func(address string) {
		said, keys = curl(t, s.certificates, "https", address, []string{"--http2"}, gets...)
	})
	check(t, pcap, keys, []conversation{{facts{version: "1.3", suite: "TLS_AES_256_GCM_SHA384", alpn: "h2"}, said}})
}

// TestTLSBulk is one large file.
func TestTLSBulk(t *testing.T) {
	s := startNginx(t)
	for _, option := range []string{"--http1.1", "--http2"} {
		var said []tlspeers.Said
		var keys []byte
		pcap := record(t, s.secure, 60000, func(address string) {
			said, keys = curl(t, s.certificates, "https", address, []string{option}, digits(s.huge))
		})
		alpn := map[string]string{"--http1.1": "http/1.1", "--http2": "h2"}[option]
		check(t, pcap, keys, []conversation{{facts{version: "1.3", suite: "TLS_AES_256_GCM_SHA384", alpn: alpn}, said}})
	}
}

// forward is a proxy that understands CONNECT only.
func forward(w http.ResponseWriter, r *http.Request) {
	to, err := net.Dial("tcp", r.Header.Get("X-To"))
	if err != nil || r.Method != http.MethodConnect {
		http.Error(w, "no", http.StatusBadGateway)
		return
	}
	defer to.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(to, buffered)
		_ = to.(*net.TCPConn).CloseWrite()
	})
	both.Go(func() {
		_, _ = io.Copy(client, to)
		if c, ok := client.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	})
	both.Wait()
}

// TestTLSInsideConnect has curl ask nginx through a proxy: what is said with the proxy, and with nginx in the tunnel, is on
// one connection, in one TLS session within another where the proxy wants TLS too.
func TestTLSInsideConnect(t *testing.T) {
	s := startNginx(t)
	for _, v := range []struct {
		name    string
		secure  bool
		options []string
		inner   facts
	}{
		{"http1", false, []string{"--http1.1"}, facts{version: "1.3", suite: "TLS_AES_256_GCM_SHA384", alpn: "http/1.1"}},
		{"http2", false, []string{"--http2"}, facts{version: "1.3", suite: "TLS_AES_256_GCM_SHA384", alpn: "h2"}},
		{"http2 of TLS 1.2", false, []string{"--http2", "--tls-max", "1.2"}, facts{version: "1.2", suite: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", alpn: "h2"}},
		{"http1 in TLS in TLS", true, []string{"--http1.1"}, facts{version: "1.3", suite: "TLS_AES_256_GCM_SHA384", alpn: "http/1.1"}},
		{"http2 in TLS in TLS", true, []string{"--http2"}, facts{version: "1.3", suite: "TLS_AES_256_GCM_SHA384", alpn: "h2"}},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			proxy := &http.Server{Handler: http.HandlerFunc(forward)}
			proxied := make(chan error, 1)
			go func() {
				if v.secure {
					proxied <- proxy.ServeTLS(l, s.certificates.Cert("rsa"), s.certificates.Key("rsa"))
				} else {
					proxied <- proxy.Serve(l)
				}
			}()
			defer func() { proxy.Close(); <-proxied }()

			var said []tlspeers.Said
			var keys []byte
			pcap := record(t, l.Addr().String(), tlspeers.DefaultSegment, func(address string) {
				_, port, _ := net.SplitHostPort(address)
				scheme := "http"
				options := append(slices.Clone(v.options), "--proxytunnel", "--proxy-header", "X-To: "+s.secure)
				if v.secure {
					scheme = "https"
					options = append(options, "--proxy-cacert", s.certificates.Cert("ca"), "--resolve", tlspeers.ServerName+":"+port+":127.0.0.1")
				}
				options = append(options, "--proxy", scheme+"://"+tlspeers.ServerName+":"+port, "--resolve", tlspeers.ServerName+":"+port+":127.0.0.1")
				said, keys = curl(t, s.certificates, "https", s.secure, options, digits(s.medium), digits(s.large), get{target: "/missing"})
			})
			_, port, _ := net.SplitHostPort(s.secure)
			have := observe(t, pcap, keys)
			if len(have) != 1 || len(have[0]) == 0 {
				t.Fatalf("%d connections", len(have))
			}
			t.Log(describe(have[0]))
			all := append([]tlspeers.Said{{Method: http.MethodConnect, Target: tlspeers.ServerName + ":" + port, Status: http.StatusOK}}, said...)
			compareSaid(t, 0, have[0], all)
			compareFacts(t, 0, have[0], &v.inner)
			if outer := have[0][0].tls; v.secure != (outer != nil) || v.secure && !outer.Decrypted {
				t.Errorf("the session with the proxy: %+v", outer)
			}
			if t.Failed() {
				keep(t, pcap, keys)
			}
		})
	}
}
