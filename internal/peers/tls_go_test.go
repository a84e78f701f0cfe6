//go:build linux

package peers

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/culprit-http/culprit/internal/lab/tlspeers"
)

// keyLog collects what a tls.Config logs.
type keyLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (k *keyLog) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.Write(b)
}

func (k *keyLog) bytes() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes.Clone(k.text.Bytes())
}

// goServer serves what handler says, over TLS unless config is nil, and returns its address.
func goServer(t *testing.T, config *tls.Config, protocols *http.Protocols, handler http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	server := &http.Server{Handler: handler, TLSConfig: config, Protocols: protocols, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan error, 1)
	go func() {
		if config != nil {
			served <- server.ServeTLS(l, "", "")
		} else {
			served <- server.Serve(l)
		}
	}()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// goConfigs returns configurations of TLS for a server and a client.
func goConfigs(t *testing.T, c tlspeers.Certificates, keys *keyLog) (server, client *tls.Config) {
	t.Helper()
	server, client = &tls.Config{MinVersion: tls.VersionTLS10}, &tls.Config{MinVersion: tls.VersionTLS10, ServerName: tlspeers.ServerName, KeyLogWriter: keys, RootCAs: x509.NewCertPool()}
	for _, name := range []string{"rsa", "ecdsa"} {
		pair, err := tls.LoadX509KeyPair(c.Cert(name), c.Key(name))
		if err != nil {
			t.Fatal(err)
		}
		server.Certificates = append(server.Certificates, pair)
	}
	ca, err := os.ReadFile(c.Cert("ca"))
	if err != nil {
		t.Fatal(err)
	}
	client.RootCAs.AppendCertsFromPEM(ca)
	return server, client
}

// echo answers with what it is sent, after an early hint, with a trailer.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/hint" {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
	}
	w.Header().Set("Trailer", "X-Count")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	if len(body) == 0 {
		fmt.Fprintf(w, "nothing for %s\n", r.URL)
	}
	_, _ = w.Write(body)
	w.Header().Set("X-Count", fmt.Sprint(len(body)))
}

// askGo sends a request, and returns what was said.
func askGo(ctx context.Context, client *http.Client, method, url string, body []byte) (s tlspeers.Said, trailer string, err error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return s, "", err
	}
	client.Timeout = patience
	response, err := client.Do(request)
	if err != nil {
		return s, "", err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	return tlspeers.Said{Method: method, Target: request.URL.RequestURI(), Status: response.StatusCode, Request: body, Response: got}, response.Trailer.Get("X-Count"), err
}

// TestGoSuites has Go ask Go with each of its cipher suites: it has some that openssl isn't built with, 3DES among them.
// The second connection takes the first one's session up again.
func TestGoSuites(t *testing.T) {
	c := certificates(t)
	type test struct {
		version uint16
		suite   *tls.CipherSuite
	}
	var all []test
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		for _, v := range s.SupportedVersions {
			all = append(all, test{v, s})
		}
	}
	for i, v := range all {
		name := fmt.Sprintf("%s/%s", strings.TrimPrefix(tls.VersionName(v.version), "TLS "), v.suite.Name)
		t.Run(name, func(t *testing.T) {
			var keys keyLog
			server, client := goConfigs(t, c, &keys)
			for _, config := range []*tls.Config{server, client} {
				config.MinVersion, config.MaxVersion = v.version, v.version
				config.CipherSuites = []uint16{v.suite.ID}
			}
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			var http1 http.Protocols
			http1.SetHTTP1(true)
			address := goServer(t, server, &http1, echo)
			var want []conversation
			suite := ""
			pcap := record(t, address, segments(i), func(address string) {
				for n := range 2 {
					transport := &http.Transport{TLSClientConfig: client}
					f := facts{version: strings.TrimPrefix(tls.VersionName(v.version), "TLS ")}
					if n == 1 {
						f.resumption = map[bool]string{true: "psk", false: "ticket"}[v.version == tls.VersionTLS13]
					}
					var said []tlspeers.Said
					for j := range 3 {
						ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{TLSHandshakeDone: func(s tls.ConnectionState, _ error) {
							suite = tls.CipherSuiteName(s.CipherSuite)
							if s.DidResume != (n == 1) {
								t.Errorf("resumed: %v", s.DidResume)
							}
						}})
						s, _, err := askGo(ctx, &http.Client{Transport: transport}, http.MethodPost, fmt.Sprintf("https://%s/%d", address, j), tlspeers.Digits(name, []int{0, 17000, 16384}[j]))
						if err != nil {
							t.Fatal(err)
						}
						said = append(said, s)
					}
					transport.CloseIdleConnections()
					f.suite = suite // in TLS 1.3 Go chooses
					if f.resumption == "ticket" {
						// Go logs no secret of a session that it takes up again in TLS 1.2 and before: the log of the first
						// connection has it, under another client random.
						f.undecryptable, said = true, nil
					}
					want = append(want, conversation{f, said})
				}
			})
			check(t, pcap, keys.bytes(), want)
		})
	}
}

// TestGo has Go ask Go in HTTP/1.1 and HTTP/2, many at a time, with early hints and trailers.
func TestGo(t *testing.T) {
	c := certificates(t)
	for _, v := range []struct {
		name      string
		plain     bool
		protocols func(p *http.Protocols)
		alpn      string
	}{
		{"http1", false, func(p *http.Protocols) { p.SetHTTP1(true) }, ""},
		{"http2", false, func(p *http.Protocols) { p.SetHTTP2(true) }, "h2"},
		{"http2 without TLS", true, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }, ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			var keys keyLog
			server, client := goConfigs(t, c, &keys)
			scheme, f := "https", facts{version: "1.3", suite: "TLS_AES_128_GCM_SHA256", alpn: v.alpn}
			if v.plain {
				server, scheme, f = nil, "http", facts{}
			}
			var protocols http.Protocols
			v.protocols(&protocols)
			address := goServer(t, server, &protocols, echo)
			var said []tlspeers.Said
			pcap := record(t, address, tlspeers.DefaultSegment, func(address string) {
				transport := &http.Transport{TLSClientConfig: client, Protocols: &protocols, MaxConnsPerHost: 1}
				defer transport.CloseIdleConnections()
				var mu sync.Mutex
				var under sync.WaitGroup
				for i := range 40 {
					under.Go(func() {
						path := fmt.Sprintf("/echo?%d", i)
						hints := 0
						ctx := t.Context()
						if i%4 == 0 {
							path = fmt.Sprintf("/hint?%d", i)
							ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { hints++; return nil }})
						}
						s, trailer, err := askGo(ctx, &http.Client{Transport: transport}, http.MethodPut, scheme+"://"+address+path, tlspeers.Digits(path, i*3000))
						if err != nil || trailer != fmt.Sprint(i*3000) || hints != (3-i%4)/3 {
							t.Errorf("%d: %v, trailer %q, %d early hints", i, err, trailer, hints)
						}
						mu.Lock()
						defer mu.Unlock()
						said = append(said, s)
					})
				}
				under.Wait()
			})
			have := check(t, pcap, keys.bytes(), []conversation{{f, said}})
			for _, x := range slices.Concat(have...) {
				if hinted := strings.HasPrefix(x.Target, "/hint"); hinted != slices.Equal(x.interim, []int{http.StatusEarlyHints}) {
					t.Errorf("%s: interim responses %v", x.Target, x.interim)
				}
				if want := fmt.Sprintf("count: %d\n", len(x.Said.Request)); !strings.Contains(strings.ToLower(x.trailers), want) {
					t.Errorf("%s: trailers %q, want %q", x.Target, x.trailers, want)
				}
			}
		})
	}
}

// TestGoCancels has a client of HTTP/2 give up one request among others.
func TestGoCancels(t *testing.T) {
	c := certificates(t)
	var keys keyLog
	server, config := goConfigs(t, c, &keys)
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	stuck := make(chan struct{})
	gone := make(chan struct{})
	address := goServer(t, server, &protocols, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stuck" {
			close(stuck)
			<-r.Context().Done()
			close(gone)
			return
		}
		echo(w, r)
	})
	pcap := record(t, address, tlspeers.DefaultSegment, func(address string) {
		transport := &http.Transport{TLSClientConfig: config, Protocols: &protocols}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		ctx, cancel := context.WithCancel(t.Context())
		given := make(chan error, 1)
		go func() {
			_, _, err := askGo(ctx, client, http.MethodGet, "https://"+address+"/stuck", nil)
			given <- err
		}()
		<-stuck
		for i := range 3 {
			if _, _, err := askGo(t.Context(), client, http.MethodPost, fmt.Sprintf("https://%s/%d", address, i), []byte("body")); err != nil {
				t.Error(err)
			}
		}
		cancel()
		if err := <-given; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		<-gone
		if _, _, err := askGo(t.Context(), client, http.MethodPost, "https://"+address+"/last", []byte("body")); err != nil {
			t.Error(err)
		}
	})
	have := observe(t, pcap, keys.bytes())
	if len(have) != 1 || len(have[0]) != 5 {
		t.Fatalf("%v", have)
	}
	t.Log(describe(have[0]))
	for _, x := range have[0] {
		if x.Target != "/stuck" {
			if x.Status != http.StatusOK || x.grade != "complete" {
				t.Errorf("%s: %d %s %s", x.Target, x.Status, x.grade, x.reason)
			}
		} else if x.abort == nil || x.abort.Name != "CANCEL" || x.grade != "aborted" {
			t.Errorf("%s: %s %s %+v", x.Target, x.grade, x.reason, x.abort)
		}
	}
}
