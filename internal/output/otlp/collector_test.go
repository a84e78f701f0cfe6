package otlp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metricsv1 "go.opentelemetry.io/proto/otlp/metrics/v1"

	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/rollup"
	"github.com/culprit-http/culprit/internal/ship"
)

// buildCollector builds the OTLP receiver of the OpenTelemetry Collector, which is a module of its own.
func buildCollector(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("the OpenTelemetry Collector isn't built with -short")
	}
	program := filepath.Join(t.TempDir(), "otelcol")
	for _, c := range []struct {
		args  []string
		fails func(format string, args ...any)
		what  string
	}{
		{[]string{"list", "-deps"}, t.Skipf, "the modules of the OpenTelemetry Collector can't be had"},
		{[]string{"build", "-buildvcs=false", "-o", program}, t.Fatalf, "the OpenTelemetry Collector can't be built"},
	} {
		cmd := exec.Command("go", append(c.args, ".")...)
		cmd.Dir = filepath.Join("..", "..", "lab", "otelcol")
		cmd.Env = append(os.Environ(), "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			c.fails("%s: %v\n%s", c.what, err, out[max(0, len(out)-2000):])
		}
	}
	return program
}

// collector is a collector that runs.
type collector struct {
	t    *testing.T
	args []string
	file string
	ca   string
	urls map[string]string // by protocol
	cmd  *exec.Cmd
}

// startCollector starts a collector, at addresses that it keeps when it is started again.
func startCollector(t *testing.T, program string, secure bool) *collector {
	t.Helper()
	dir := t.TempDir()
	c := &collector{t: t, file: filepath.Join(dir, "received"), urls: map[string]string{}}
	c.args = []string{program, "-to", c.file}
	scheme := "http://"
	if secure {
		scheme = "https://"
		s := httptest.NewUnstartedServer(nil)
		s.StartTLS() // for its certificate
		defer s.Close()
		key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		c.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
		for name, text := range map[string]string{"cert": c.ca, "key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c.args = append(c.args, "-"+name, path)
		}
	}
	for _, protocol := range protocols {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		c.urls[protocol] = scheme + l.Addr().String()
		c.args = append(c.args, "-"+protocol, l.Addr().String())
	}
	c.start()
	t.Cleanup(func() { c.kill() })
	return c
}

// start starts the collector, and returns when it receives.
func (c *collector) start() {
	c.t.Helper()
	var stderr bytes.Buffer
	c.cmd = exec.Command(c.args[0], c.args[1:]...)
	c.cmd.Stderr = &stderr
	stdout, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		c.kill()
		c.t.Fatalf("the collector isn't ready: %q, %v\n%s", line, err, &stderr)
	}
}

// kill ends the collector at once.
func (c *collector) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

func (c *collector) sender(protocol string, o Options) ship.Sender {
	o.Protocol = protocol
	o.Endpoint = endpoint.Options{TLS: endpoint.TLS{CA: c.ca}}
	return sender(c.t, c.urls[protocol], o)
}

// receivedAttribute is an attribute in the collector's JSON.
type receivedAttribute struct {
	Key   string
	Value struct{ StringValue, IntValue string }
}

// received is what a collector has written of a request.
type received struct {
	ResourceSpans []struct {
		ScopeSpans []struct {
			Spans []struct {
				TraceID, SpanID, ParentSpanID, Name string
				Kind                                int
				Attributes                          []receivedAttribute
			}
		}
	}
	ResourceMetrics []struct {
		ScopeMetrics []struct {
			Metrics []struct {
				Name                 string
				Metadata             []receivedAttribute
				Sum                  struct{ DataPoints []struct{ AsInt string } }
				ExponentialHistogram struct {
					DataPoints []struct {
						Count, ZeroCount string
						Sum              float64
						Scale            int32
						Positive         struct {
							Offset       int32
							BucketCounts []string
						}
					}
				}
			}
		}
	}
}

func attributeOf(all []receivedAttribute, key string) string {
	i := slices.IndexFunc(all, func(a receivedAttribute) bool { return a.Key == key })
	if i < 0 {
		return ""
	}
	return all[i].Value.StringValue + all[i].Value.IntValue
}

// read returns what the collector has received. A line that was cut off when it was killed wasn't acknowledged.
func (c *collector) read() (all []received) {
	c.t.Helper()
	b, err := os.ReadFile(c.file)
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var r received
		if json.Unmarshal(line, &r) == nil {
			all = append(all, r)
		}
	}
	return all
}

// ids returns how often each event was received, by event.id. It fails where an event came with different ids.
func (c *collector) ids() map[string]int {
	c.t.Helper()
	ids, spans := map[string]int{}, map[string]string{}
	for _, r := range c.read() {
		for _, rs := range r.ResourceSpans {
			for _, s := range rs.ScopeSpans[0].Spans {
				id := attributeOf(s.Attributes, "event.id")
				if before, again := spans[id]; again && before != s.TraceID+s.SpanID {
					c.t.Errorf("%s came as %s and %s", id, before, s.TraceID+s.SpanID)
				}
				spans[id] = s.TraceID + s.SpanID
				ids[id]++
			}
		}
		for _, rm := range r.ResourceMetrics {
			for _, m := range rm.ScopeMetrics[0].Metrics {
				if m.Name == counters[0].name {
					ids[attributeOf(m.Metadata, "event.id")]++
				}
			}
		}
	}
	return ids
}

// want compares what was received with the events that were sent.
func (c *collector) want(sent []string, what string) (again int) {
	c.t.Helper()
	ids := c.ids()
	missing := 0
	for _, id := range sent {
		if ids[id] == 0 {
			missing++
		}
		again += ids[id] - 1
	}
	if missing > 0 || len(ids) != len(sent) {
		c.t.Errorf("%s: %d events of %d are missing, %d were received", what, missing, len(sent), len(ids))
	}
	return again
}

func TestCollector(t *testing.T) {
	program := buildCollector(t)

	t.Run("delivery", func(t *testing.T) {
		for _, secure := range []bool{false, true} {
			c := startCollector(t, program, secure)
			var sent []string
			for i, protocol := range protocols {
				for k, compression := range []string{Gzip, None} {
					all, ids := events(50)
					all, ids = all[(2*i+k)*10:][:10], ids[(2*i+k)*10:][:10] // others each time
					if result, err := c.sender(protocol, Options{Compression: compression}).Send(t.Context(), all); err != nil || result.Rejected != nil || result.Retry != nil {
						t.Fatalf("%s, %s: %+v, %v", protocol, compression, result, err)
					}
					sent = append(sent, ids...)
				}
			}
			if again := c.want(sent, "without trouble"); again > 0 {
				t.Errorf("%d events came twice", again)
			}
		}
	})

	t.Run("numbers", func(t *testing.T) {
		c := startCollector(t, program, false)
		r := row()
		for i := range int64(1000) {
			r.Duration.Add((i + 1) * 1e6)
		}
		r.Count = int64(r.Duration.Count)
		all := []ship.Event{{Kind: ship.Rollup, Body: NewEncoder(&Options{}).Rollup(nil, r)}}
		if _, err := c.sender(GRPC, Options{}).Send(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		checkNumbers(t, c, r)
	})

	for _, protocol := range protocols {
		t.Run("killed "+protocol, func(t *testing.T) { killed(t, startCollector(t, program, false), protocol) })
		t.Run("stalled "+protocol, func(t *testing.T) { stalled(t, startCollector(t, program, false), protocol) })
	}

	t.Run("too large", func(t *testing.T) {
		// The collector takes 4 MiB over gRPC, unless it is told otherwise.
		c := startCollector(t, program, false)
		all, ids := events(4000)
		s := c.sender(GRPC, Options{})
		var halve func(part []ship.Event)
		halve = func(part []ship.Event) {
			_, err := s.Send(t.Context(), part)
			if err == nil {
				return
			}
			if len(part) == 1 || !strings.Contains(err.Error(), ship.ErrTooLarge.Error()) {
				t.Fatal(err)
			}
			halve(part[:len(part)/2])
			halve(part[len(part)/2:])
		}
		if _, err := s.Send(t.Context(), all); err == nil {
			t.Error("the batch isn't too large: the test tests nothing")
		}
		halve(all)
		c.want(ids, "in halves")
	})
}

func checkNumbers(t *testing.T, c *collector, r *rollup.Row) {
	t.Helper()
	for _, got := range c.read() {
		for _, m := range got.ResourceMetrics[0].ScopeMetrics[0].Metrics {
			switch m.Name {
			case "culprit.exchanges":
				if m.Sum.DataPoints[0].AsInt != strconv.FormatInt(r.Count, 10) {
					t.Errorf("%s is %s", m.Name, m.Sum.DataPoints[0].AsInt)
				}
			case httpDuration:
				p := m.ExponentialHistogram.DataPoints[0]
				point := metricsv1.ExponentialHistogramDataPoint{Scale: p.Scale, Positive: &metricsv1.ExponentialHistogramDataPoint_Buckets{Offset: p.Positive.Offset}}
				point.Count, _ = strconv.ParseUint(p.Count, 10, 64)
				for _, n := range p.Positive.BucketCounts {
					count, _ := strconv.ParseUint(n, 10, 64)
					point.Positive.BucketCounts = append(point.Positive.BucketCounts, count)
				}
				if point.Count != r.Duration.Count || math.Abs(p.Sum*1e9/r.Duration.Sum-1) > 1e-9 {
					t.Errorf("%d durations, %v s", point.Count, p.Sum)
				}
				for _, q := range []float64{0.25, 0.5, 0.99} {
					if got, want := quantile(&point, q), q; math.Abs(got/want-1) > maxError+0.005 { // 1,003 values, not 1,000
						t.Errorf("p%v is %v, want %v", 100*q, got, want)
					}
				}
				return
			}
		}
	}
	t.Error("no histogram was received")
}

// trap calls a function once, when so many bytes have been written to its connections.
type trap struct {
	mu     sync.Mutex
	left   int // below 0: it isn't set
	spring func()
}

func (t *trap) set(left int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left = left
}

// isSet reports whether it is still set; a function that is called has returned then.
func (t *trap) isSet() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left >= 0
}

type trapped struct {
	net.Conn
	*trap
}

func (c trapped) Write(b []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left >= 0 && c.left < len(b) {
		n, err = c.Conn.Write(b[:c.left])
		c.left = -1
		c.spring()
		b = b[n:]
	} else if c.left >= 0 {
		c.left -= len(b)
	}
	if err != nil {
		return n, err
	}
	more, err := c.Conn.Write(b)
	return n + more, err
}

// killed kills the collector while it is being sent to: at the beginning, in the middle of a request, between the requests of
// exchanges and of rows, and between two batches. What wasn't acknowledged is sent again.
func killed(t *testing.T, c *collector, protocol string) {
	const rounds, size = 10, 300
	trap := trap{left: -1, spring: c.kill}
	make, err := New(c.urls[protocol], Options{Protocol: protocol, Compression: None, Endpoint: endpoint.Options{
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return trapped{conn, &trap}, err
		}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := make()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, ids := events(rounds * size)
	failed := 0
	for i := range rounds {
		part := all[i*len(all)/rounds : (i+1)*len(all)/rounds]
		bytes := 0
		for _, e := range part {
			bytes += len(e.Body)
		}
		trap.set(i * bytes / (rounds - 2))
		for len(part) > 0 {
			result, err := s.Send(t.Context(), part)
			if !trap.isSet() && c.cmd.ProcessState != nil {
				c.start()
			}
			if err == nil && len(result.Retry) == 0 {
				break
			}
			if failed++; failed > 10*rounds {
				t.Fatal(err)
			}
			if err == nil {
				var again []ship.Event
				for _, k := range result.Retry {
					again = append(again, part[k])
				}
				part = again
			}
		}
		if trap.isSet() { // the batch is over before that
			trap.set(-1)
			c.kill()
			c.start()
		}
	}
	again := c.want(ids, "killed")
	t.Logf("killed %d times: %d attempts failed, %d of %d events came twice", rounds, failed, again, len(ids))
	if failed < rounds/2 {
		t.Error("too few attempts failed: the test tests nothing")
	}
}

// stalled stops the collector, so that it takes connections and answers nothing, and lets it go on.
func stalled(t *testing.T, c *collector, protocol string) {
	all, ids := events(100)
	s := c.sender(protocol, Options{Timeout: 200 * time.Millisecond})
	first, rest := all[:20], all[20:]
	if _, err := s.Send(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := pause(c.cmd.Process, true); err != nil {
		t.Skip(err)
	}
	if _, err := s.Send(t.Context(), rest); err == nil || !strings.Contains(err.Error(), "no answer within") {
		t.Errorf("%v", err)
	}
	if err := pause(c.cmd.Process, false); err != nil {
		t.Fatal(err)
	}
	s = c.sender(protocol, Options{})
	if result, err := s.Send(t.Context(), rest); err != nil || result.Retry != nil {
		t.Fatalf("%+v, %v", result, err)
	}
	c.want(ids, "stalled")
}
