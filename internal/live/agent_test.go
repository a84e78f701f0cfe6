//go:build linux

package live

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/culprit-http/culprit/internal/lab"
)

// bulk is a receiver of _bulk requests that keeps the documents.
type bulk struct {
	mu        sync.Mutex
	documents bytes.Buffer
	requests  int
	came      chan struct{} // has room for one
}

// ServeHTTP implements http.Handler.
func (b *bulk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	w.Header().Set("Content-Type", "application/json")
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	text, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	b.requests++
	b.documents.Write(text)
	b.mu.Unlock()
	select {
	case b.came <- struct{}{}:
	default:
	}
	items := strings.TrimSuffix(strings.Repeat(`{"create":{"status":201}},`, bytes.Count(text, []byte("\n"))/2), ",")
	fmt.Fprintf(w, `{"errors":false,"items":[%s]}`, items)
}

// targets returns the targets of all exchanges that came.
func (b *bulk) targets() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range regexp.MustCompile(`"url":\{"original":"([^"]*)"`).FindAllStringSubmatch(b.documents.String(), -1) {
		all = append(all, m[1])
	}
	return all
}

// The agent delivers over the interface that it captures on, by HTTP, and is asked for its metrics there. What it delivers is
// what clients have asked nginx for, and nothing of its own; with --include-own it feeds itself.
func TestAgentDoesNotFeedItself(t *testing.T) {
	const requests = 200
	for _, include := range []bool{false, true} {
		t.Run(fmt.Sprintf("include own %v", include), func(t *testing.T) {
			n := must(newLab(t, "nginx").Namespace("host"))(t)
			must(n.Nginx(t.TempDir(), "127.0.0.1:80"))(t)
			b := &bulk{came: make(chan struct{}, 1)}
			server := &http.Server{Handler: b}
			l := must(n.Listen("tcp", "127.0.0.1:9200"))(t)
			go server.Serve(l)
			t.Cleanup(func() { server.Close() })

			dir := t.TempDir()
			check(t, os.Chmod(dir, 0o777), os.Chmod(filepath.Dir(dir), 0o755))
			cmd := exec.Command(os.Getenv(binary), append([]string{
				"agent", "-i", "lo", "--stats", "--no-rollups", "--spool", filepath.Join(dir, "spool"),
				"-o", "elastic=http://127.0.0.1:9200?setup=false", "-o", "metrics=127.0.0.1:9871",
			}, roomy...)...)
			if include {
				cmd.Args = append(cmd.Args, "--include-own")
			}
			stderr := newLines()
			cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir())
			cmd.Stdout, cmd.Stderr = newLines(), stderr
			p := must(n.Start(cmd))(t)
			if !stderr.has(capturing.MatchString, p, lab.Patience) {
				t.Fatalf("culprit doesn't capture:\n%s", stderr)
			}
			drive(t, n, "127.0.0.1:80", 4, requests, numbered("x"))
			if include {
				for seen := 0; seen < 20; { // what it has delivered comes back without end
					<-b.came
					seen = strings.Count(strings.Join(b.targets(), " "), "/_bulk")
				}
				check(t, p.Stop(os.Interrupt))
				return
			}
			metrics := scrape(t, n)
			check(t, p.Stop(os.Interrupt))
			targets := b.targets()
			if len(targets) != requests {
				t.Errorf("%d exchanges were delivered, of %d", len(targets), requests)
			}
			for _, target := range targets {
				if id(target) == "" {
					t.Errorf("%s was delivered", target)
				}
			}
			if !strings.Contains(metrics, "culprit_output_exchanges_total{output=\"elastic\"}") {
				t.Errorf("metrics:\n%s", metrics)
			}
			if text := stderr.String(); !regexp.MustCompile(`\(.*\bown \d+`).MatchString(text) ||
				!strings.Contains(text, fmt.Sprintf("elastic     %d exchanges = delivered %d", requests, requests)) {
				t.Errorf("the totals:\n%s", text)
			}
		})
	}
}

// scrape asks for metrics, as Prometheus does.
func scrape(t *testing.T, n *lab.Namespace) string {
	t.Helper()
	c := must(n.Dial("tcp", "127.0.0.1:9871"))(t)
	defer c.Close()
	must(io.WriteString(c, "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n"))(t)
	return string(must(io.ReadAll(c))(t))
}
