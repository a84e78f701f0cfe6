//go:build linux

package live

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
	"github.com/culprit-http/culprit/internal/lab/tlspeers"
)

// tlsExchange is what these tests want to know of a document.
type tlsExchange struct {
	exchange
	HTTP struct {
		Version  string
		Response struct {
			Status int `json:"status_code"`
			Body   struct{ Bytes int64 }
		}
	}
	TLS struct {
		Version string
		Next    string `json:"next_protocol"`
		Client  struct {
			Name string `json:"server_name"`
		}
	}
}

// TestTLS has culprit watch curl ask nginx in HTTP/2 over TLS, with the keys that curl logs.
func TestTLS(t *testing.T) {
	// Less than culprit keeps of a connection whose key hasn't come yet.
	const sizes, large = 3, 60_000
	for _, v := range []struct {
		name string
		// prepare makes what --keylog names; curl logs to where it says. Then done is called when curl has ended.
		prepare func(t *testing.T, watched string) (log string, done func())
	}{
		{"growing file", func(t *testing.T, watched string) (string, func()) {
			check(t, os.WriteFile(watched, nil, 0o644))
			return watched, func() {}
		}},
		{"file that isn't there yet", func(_ *testing.T, watched string) (string, func()) { return watched, func() {} }},
		{"keys after the packets", func(t *testing.T, watched string) (string, func()) {
			check(t, os.WriteFile(watched, nil, 0o644))
			log := watched + ".late"
			return log, func() {
				keys := must(os.ReadFile(log))(t)
				check(t, os.WriteFile(watched, keys, 0o644))
			}
		}},
		{"FIFO", func(t *testing.T, watched string) (string, func()) {
			check(t, syscall.Mkfifo(watched, 0o644))
			return watched, func() {}
		}},
	} {
		t.Run(v.name, func(t *testing.T) {
			l := newLab(t, "ip", "nginx", "curl")
			client := lab.End{Namespace: must(l.Namespace("client"))(t), Interface: "c0", Addresses: []string{client4 + "/24"}}
			server := lab.End{Namespace: must(l.Namespace("server"))(t), Interface: "s0", Addresses: []string{server4 + "/24"}}
			check(t, lab.Veth(client, server))
			dir := t.TempDir()
			// culprit is nobody in particular by the time that it opens what wasn't there before.
			check(t, os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755))
			certificates := must(tlspeers.MakeCertificates(t.TempDir()))(t)
			arguments := must(tlspeers.WriteSite(dir, certificates, []string{server4 + ":443"}, nil, nil, 100, 10_000, large))(t)
			site := exec.Command(must(lab.Program("nginx"))(t), arguments...)
			running := must(server.Namespace.Start(site))(t)
			defer running.Kill()
			answers(t, client.Namespace, server4+":443")

			watched := filepath.Join(dir, "keys")
			log, done := v.prepare(t, watched)
			p := start(t, server.Namespace, "-i", "s0", "--keylog", watched)
			var targets []string
			for i := range 4 * sizes {
				targets = append(targets, fmt.Sprintf("/digits/%d?id=%d", []int{100, 10_000, large}[i%sizes], i))
			}
			targets = append(targets, "/missing?id=last")
			args := []string{"--no-progress-meter", "--http2", "--resolve", tlspeers.ServerName + ":443:" + server4, "--cacert", certificates.Cert("ca"), "--noproxy", "*"}
			for _, target := range targets {
				args = append(args, "-o", os.DevNull, "https://"+tlspeers.ServerName+target)
			}
			cmd := exec.Command(must(lab.Program("curl"))(t), args...)
			cmd.Env = append(os.Environ(), "SSLKEYLOGFILE="+log)
			cmd.Stderr = os.Stderr
			check(t, must(client.Namespace.Start(cmd))(t).Wait())
			done()
			ended := time.Now()
			if !p.stdout.has(containing("id=last"), p.Process, lab.Patience) {
				p.Kill()
				t.Fatalf("culprit hasn't shown the last exchange:\n%s\n%s", p.stdout, p.stderr)
			}
			t.Logf("the last exchange was shown %v after curl had ended", time.Since(ended).Round(time.Millisecond))

			p.Signal(os.Interrupt)
			check(t, p.Wait())
			seen := map[string]tlsExchange{}
			all, _ := p.stdout.get()
			for _, line := range all {
				var x tlsExchange
				check(t, json.Unmarshal([]byte(line), &x))
				seen[x.URL.Original] = x
				if x.Culprit.Grade != "complete" {
					t.Errorf("%s: %s %s", x.URL.Original, x.Culprit.Grade, x.Error.Message)
				}
			}
			if len(all) != len(targets) {
				t.Errorf("%d exchanges, want %d:\n%s", len(all), len(targets), p.stderr)
			}
			for _, target := range targets {
				x, ok := seen[target]
				if !ok {
					x = seen["https://"+tlspeers.ServerName+target]
				}
				want := int64(-1)
				if _, err := fmt.Sscanf(target, "/digits/%d", &want); err != nil {
					want = x.HTTP.Response.Body.Bytes
				}
				status := 200
				if strings.HasPrefix(target, "/missing") {
					status = 404
				}
				if x.HTTP.Response.Status != status || x.HTTP.Response.Body.Bytes != want || x.HTTP.Version != "2" || x.TLS.Version != "1.3" || x.TLS.Next != "h2" || x.TLS.Client.Name != tlspeers.ServerName {
					t.Errorf("%s: %+v", target, x)
				}
			}
		})
	}
}

// answers waits until somebody listens at an address, seen from a namespace.
func answers(t *testing.T, n *lab.Namespace, address string) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for late := time.After(lab.Patience); ; {
		var c net.Conn
		var err error
		if c, err = n.Dial("tcp", address); err == nil {
			c.Close()
			return
		}
		select {
		case <-poll.C:
		case <-late:
			t.Fatal(err)
		}
	}
}
