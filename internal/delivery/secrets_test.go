//go:build linux

package delivery

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	lumber "github.com/elastic/go-lumber/server/v2"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/culprit-http/culprit/internal/synth"
)

// wiretap gathers every byte that outputs sent, unpacked.
type wiretap struct {
	mu  sync.Mutex
	all map[string]*bytes.Buffer // by output
}

func (w *wiretap) add(output string, b ...[]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[string]*bytes.Buffer{}
	}
	if w.all[output] == nil {
		w.all[output] = &bytes.Buffer{}
	}
	for _, part := range b {
		w.all[output].Write(part)
		w.all[output].WriteByte('\n')
	}
}

func (w *wiretap) get(output string) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all[output] == nil {
		return nil
	}
	return bytes.Clone(w.all[output].Bytes())
}

// serve takes HTTP requests for an output; those that aren't answered are answered as OTLP receivers do.
func (w *wiretap) serve(t *testing.T, output string, answer http.HandlerFunc) string {
	l := listen(t)
	s := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, err := body(r)
		if err != nil {
			t.Errorf("%s: %v", output, err)
		}
		var head bytes.Buffer
		_ = r.Header.Write(&head)
		w.add(output, []byte(r.URL.String()), head.Bytes(), b)
		r.Body, r.Header = http.NoBody, http.Header{}
		if answer != nil {
			r.Body = newBody(b)
			answer(rw, r)
		}
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

type readCloser struct{ *bytes.Reader }

func newBody(b []byte) readCloser { return readCloser{bytes.NewReader(b)} }

// Close implements io.Closer.
func (readCloser) Close() error { return nil }

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// secrets are planted where programs put them. Each is there once, and nowhere else.
var secrets = map[string]string{
	"bearer": "brr7Kq2mZp9xVw4t", "basic": "bsc5Yh8nRt3wQe6u", "cookie": "ckk1Mn4bVc7xZa0s", "set-cookie": "stc9Pl6oIk3jUh2g",
	"query": "qry2Ws5edRf8tGy1", "form": "frm8Ij5uHn2bGv4c", "json": "jsn3Xd6cFv9gTb7h", "nested": "nst4Zw7sXe1dCr8f",
	"apikey": "apk6Ol9pKm2nJi5b", "location": "loc7Vb4nMh1kLp3o", "referer": "rfr1Qa8zWs5xEd2c", "response": "rsp5Tg2yHn9uJm6i",
	"user": "usr8Rf5vTg2bYh9n", "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0NzExIn0.c2lnbmF0dXJlc2lnbmF0dXJl",
}

// planted writes a capture with the secrets.
func planted(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "planted.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := synth.New(f, synth.Options{Seed: 1})
	c := s.Dial(0, netip.MustParseAddrPort("10.0.0.7:51000"), netip.MustParseAddrPort("10.0.0.2:8000"), synth.Path{Client: time.Millisecond, Server: time.Millisecond})
	message := func(head, body string) []byte {
		if body != "" {
			head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
		}
		return []byte(head + "\r\n" + body)
	}
	k := secrets
	for _, x := range [][2][]byte{
		{message("GET /a?token="+k["query"]+"&page=1 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer "+k["bearer"]+"\r\nCookie: session="+k["cookie"]+
			"\r\nX-Api-Key: "+k["apikey"]+"\r\nReferer: http://shop.example/x?access_token="+k["referer"]+"\r\n", ""),
			message("HTTP/1.1 302 Found\r\nSet-Cookie: session="+k["set-cookie"]+"; Path=/\r\nLocation: /b?password="+k["location"]+"\r\nContent-Length: 0\r\n", "")},
		{message("POST /login HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Basic "+base64.StdEncoding.EncodeToString([]byte("joe:"+k["basic"]))+
			"\r\nContent-Type: application/x-www-form-urlencoded\r\n", "user=joe&password="+k["form"]),
			message("HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n", `{"access_token":"`+k["response"]+`"}`)},
		{message("POST /api HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/json\r\n",
			`{"password":"`+k["json"]+`","inner":"{\"client_secret\":\"`+k["nested"]+`\"}","proof":"`+k["jwt"]+`"}`),
			message("HTTP/1.1 200 OK\r\n", "ok")},
		{message("GET http://joe:"+k["user"]+"@shop.example/c HTTP/1.1\r\nHost: shop.example\r\n", ""), message("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n", "")},
	} {
		c.Exchange(x[0], 5*time.Millisecond, x[1])
	}
	c.Close(synth.Client)
	c.RecvEnd(synth.Server)
	c.Close(synth.Server)
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSecretsStayHere delivers secrets from all places to all outputs, and looks for them in every byte that was sent, in spools
// and in files; with --reveal, each is there, so that the test can't pass by looking at the wrong place.
func TestSecretsStayHere(t *testing.T) {
	capture := planted(t)
	for _, reveal := range []bool{false, true} {
		t.Run(fmt.Sprintf("reveal %v", reveal), func(t *testing.T) {
			var w wiretap
			dir := t.TempDir()
			var targets []string
			to := func(name, target string) { targets = append(targets, "-o", name+"="+target) }

			b, err := openBook(filepath.Join(dir, "ids"))
			if err != nil {
				t.Fatal(err)
			}
			to("elastic", "http://"+w.serve(t, "elastic", b.bulk))
			to("otlp", "http://"+w.serve(t, "otlp", nil))
			lines := listen(t)
			go func() {
				for {
					c, err := lines.Accept()
					if err != nil {
						return
					}
					go func() {
						part := make([]byte, 64<<10)
						for {
							n, err := c.Read(part)
							w.add("logstash", part[:n])
							if err != nil {
								return
							}
						}
					}()
				}
			}()
			to("logstash", "tcp://"+lines.Addr().String())
			beats := listen(t)
			server, err := lumber.NewWithListener(beats, lumber.JSONDecoder(func(text []byte, _ any) error {
				w.add("beats", text)
				return nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			go func() {
				for batch := range server.ReceiveChan() {
					batch.ACK()
				}
			}()
			to("beats", "tcp://"+beats.Addr().String())
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "culprit-exchanges", "culprit-rollups"))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			to("kafka", strings.Join(cluster.ListenAddrs(), ","))
			to("ndjson", filepath.Join(dir, "x.ndjson"))
			to("har", filepath.Join(dir, "x.har"))
			to("console", filepath.Join(dir, "x.console"))

			args := append([]string{"agent", "-r", capture, "--max-body", "4KiB", "--spool", filepath.Join(dir, "spool"), "--stats"}, targets...)
			if reveal {
				args = append(args, "--reveal")
			}
			out, err := command(t, args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			w.add("messages", out)
			consume(t, &w, cluster.ListenAddrs())
			for _, name := range []string{"ndjson", "har", "console"} {
				text, err := os.ReadFile(filepath.Join(dir, "x."+name))
				if err != nil {
					t.Fatal(err)
				}
				w.add(name, text)
			}
			for _, output := range []string{"elastic", "otlp", "logstash", "beats", "kafka", "ndjson", "har", "console", "messages"} {
				sent := w.get(output)
				if output != "messages" && !bytes.Contains(sent, []byte("shop.example")) {
					t.Errorf("%s got nothing:\n%s", output, out)
				}
				for place, secret := range secrets {
					there := false
					for _, form := range []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte("joe:" + secret))} {
						there = there || bytes.Contains(sent, []byte(form))
					}
					if there && !reveal {
						t.Errorf("%s: the secret of %s was sent", output, place)
					}
					if !there && reveal && (output == "ndjson" || output == "elastic") {
						t.Errorf("%s: with --reveal, the secret of %s isn't there", output, place)
					}
				}
			}
		})
	}
}

// consume gathers what is in the topics.
func consume(t *testing.T, w *wiretap, brokers []string) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics("culprit-exchanges"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for n := 0; n < 4; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			w.add("kafka", r.Key, r.Value)
			for _, h := range r.Headers {
				w.add("kafka", h.Value)
			}
			n++
		})
	}
}
