package generate

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

var update = flag.Bool("update", false, "write the golden files")

const start = 1_750_000_000 * int64(1e9)

func documents(seed uint64, n int) []byte {
	g := New(Options{Seed: seed, Start: start})
	e := ndjson.NewEncoder()
	var b []byte
	for range n {
		b = append(e.Append(b, g.Next()), '\n')
	}
	return b
}

func TestSameSeedSameExchanges(t *testing.T) {
	a := documents(1, 2000)
	if !bytes.Equal(a, documents(1, 2000)) {
		t.Error("the same seed gives other exchanges")
	}
	if bytes.Equal(a, documents(2, 2000)) {
		t.Error("another seed gives the same exchanges")
	}
}

// The golden file shows the first exchange of each style of client, and the first that isn't complete.
func TestDocuments(t *testing.T) {
	g := New(Options{Seed: 7, Start: start})
	e := ndjson.NewEncoder()
	var seen [crawler + 1]bool
	var got bytes.Buffer
	shown, broken := 0, false
	for range 20_000 {
		x := g.Next()
		isBroken := x.Grade != exchange.Complete
		if x.HasRequest && !isBroken {
			style := styleOf(t, g, x)
			if seen[style] {
				continue
			}
			seen[style] = true
		} else if broken {
			continue
		}
		broken = broken || isBroken
		if err := json.Indent(&got, e.Append(nil, x), "", "  "); err != nil {
			t.Fatal(err)
		}
		got.WriteByte('\n')
		shown++
	}
	if shown != len(seen)+1 {
		t.Errorf("%d documents", shown)
	}
	outputtest.Golden(t, *update, "documents.json", got.Bytes())
}

func styleOf(t *testing.T, g *Generator, x *exchange.Exchange) style {
	t.Helper()
	for i := range g.clients {
		if a := g.clients[i].agent; &a.facts == x.Enriched.UserAgent {
			return a.style
		}
	}
	t.Fatal("an agent that nobody has")
	return 0
}

// about checks that a share is about what it should be.
func about(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	t.Logf("%s: %.4g", what, got)
	if !(got >= low && got <= high) {
		t.Errorf("%s: %g, want %g to %g", what, got, low, high)
	}
}

func TestDistributions(t *testing.T) {
	const n = 200_000
	g := New(Options{Seed: 3, Start: start})
	for range n { // until connections have come and gone
		g.Next()
	}
	opened, begin := g.opened, g.now
	routes, agents, clients, countries, systems := map[string]int{}, map[string]int{}, map[[16]byte]int{}, map[string]int{}, map[uint32]int{}
	services := map[string]int{}
	var class, grades [10]int
	var requestFields, responseFields, requests, responses, requestIDs, traces, processes, retransmits, late, secrets, places int
	var durations, sizes []float64
	latest := int64(0)
	for range n {
		x := g.Next()
		grades[x.Grade]++
		services[x.Enriched.Service[proto.Responder]]++
		clients[x.Flow.Addr[0]]++
		if p := x.Enriched.Place[0]; p != nil {
			places++
			countries[p.Country]++
			systems[p.ASNumber]++
		}
		if x.HasRequest {
			requests++
			routes[x.Enriched.Route]++
			agents[string(x.Request.Field("user-agent"))]++
			requestFields += len(x.Request.Fields)
			if exchange.RequestID(&x.Request) != nil {
				requestIDs++
			}
			if exchange.TraceID(&x.Request) != nil {
				traces++
			}
		}
		if x.HasResponse {
			responses++
			class[x.Response.Status/100]++
			responseFields += len(x.Response.Fields)
			sizes = append(sizes, math.Log(float64(max(x.Response.Size, 1))))
			durations = append(durations, math.Log(float64(max(x.Timing.Duration, 1))))
		}
		if x.Process[proto.Responder] != nil {
			processes++
		}
		if x.During[0].Retransmits+x.During[1].Retransmits > 0 {
			retransmits++
		}
		if x.Start.Time < latest {
			late++
		}
		latest = max(latest, x.Start.Time)
		secrets += len(x.Secrets)
	}
	of := func(k, n int) float64 { return float64(k) / float64(n) }
	about(t, "routes", float64(len(routes)), 280, 300)
	about(t, "the first route", of(largest(routes), n), 0.14, 0.18)
	about(t, "user agents", float64(len(agents)), 160, 220)
	about(t, "the first user agent", of(largest(agents), n), 0.1, 0.3)
	about(t, "addresses", float64(len(clients)), 15_000, 50_000)
	about(t, "the first address", of(largest(clients), n), 0.01, 0.06)
	about(t, "countries", float64(len(countries)), 55, 62)
	about(t, "the first country", of(largest(countries), n), 0.15, 0.4)
	about(t, "autonomous systems", float64(len(systems)), 400, 520)
	about(t, "services", float64(len(services)), 20, 20)
	about(t, "with a place", of(places, n), 0.9, 1)
	about(t, "2xx", of(class[2], responses), 0.89, 0.91)
	about(t, "3xx", of(class[3], responses), 0.045, 0.055)
	about(t, "4xx", of(class[4], responses), 0.036, 0.044)
	about(t, "5xx", of(class[5], responses), 0.008, 0.012)
	about(t, "complete", of(grades[exchange.Complete], n), 0.994, 0.996)
	about(t, "request headers", of(requestFields, requests), 14, 16.5)
	about(t, "response headers", of(responseFields, responses), 11, 13)
	about(t, "request ids", of(requestIDs, requests), 0.34, 0.36)
	about(t, "traces", of(traces, requests), 0.24, 0.26)
	about(t, "processes", of(processes, n), 0.15, 0.4)
	about(t, "exchanges a connection", of(n, int(g.opened-opened)), 4, 6)
	about(t, "with retransmissions", of(retransmits, n), 0.005, 0.02)
	about(t, "started before one that ended earlier", of(late, n), 0.3, 0.999)
	about(t, "secrets", of(secrets, n), 1, 4)
	about(t, "exchanges a second", n/(float64(g.Now()-begin)/1e9), 19_800, 20_200)
	mean, sigma := moments(durations)
	about(t, "median duration in ms", math.Exp(mean)/1e6, 3, 40)
	about(t, "sigma of the logarithm of durations", sigma, 0.8, 2)
	mean, sigma = moments(sizes)
	about(t, "median size of responses", math.Exp(mean), 1000, 8000)
	about(t, "sigma of the logarithm of sizes", sigma, 0.8, 2)
}

func largest[K comparable](m map[K]int) (n int) {
	for _, k := range m {
		n = max(n, k)
	}
	return n
}

func moments(v []float64) (mean, sigma float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		sigma += (x - mean) * (x - mean) / float64(len(v))
	}
	return mean, math.Sqrt(sigma)
}

// What a capture couldn't show, exchanges don't show either.
func TestConsistent(t *testing.T) {
	g := New(Options{Seed: 4, Start: start, Rate: 3000})
	type end struct {
		time  int64
		index uint32
	}
	last := map[*proto.Flow]end{}
	ids := map[[exchange.IDSize]byte]bool{}
	before := start
	for i := range 100_000 {
		x := g.Next()
		if x.Completed.Time <= before || x.Number != uint64(i+1) {
			t.Fatalf("exchange %d ends at %d, after one at %d", x.Number, x.Completed.Time, before)
		}
		before = x.Completed.Time
		if e, ok := last[x.Flow]; ok && (x.Start.Time <= e.time || x.Index != e.index+1) || !ok && (x.Index != 0 || x.Start.Time < x.Flow.First.Time) {
			t.Fatalf("exchange %d of a connection starts at %d, the one before, %d, had ended at %d; the connection began at %d", x.Index, x.Start.Time, e.index, e.time, x.Flow.First.Time)
		}
		last[x.Flow] = end{x.Completed.Time, x.Index}
		if id := x.ID(x.Tap.Observer); ids[id] {
			t.Fatalf("two exchanges have the id %x", id)
		} else {
			ids[id] = true
		}
		g := &x.Timing
		if x.Grade == exchange.Complete && (g.Send < 0 || g.Wait <= 0 || g.Receive < 0 || g.Duration != x.Completed.Time-x.Start.Time || (x.Index == 0) != (g.Connect > 0)) {
			t.Fatalf("exchange %d took from %d to %d: %+v", x.Index, x.Start.Time, x.Completed.Time, *g)
		}
		if x.FirstPacket == 0 || x.FirstPacket > x.LastPacket || x.Grade != exchange.Complete && x.Reason == "" {
			t.Fatalf("packets %d to %d, %s: %s", x.FirstPacket, x.LastPacket, x.Grade, x.Reason)
		}
		for _, m := range []*proto.Message{&x.Request, &x.Response} {
			if n := m.Field("content-length"); len(n) > 0 != (m.Length >= 0) || m.Length >= 0 && m.Length != m.BodyBytes {
				t.Fatalf("content-length %q, length %d, body of %d", n, m.Length, m.BodyBytes)
			}
		}
	}
}

// The information is less than what a compressor makes of it, and enough to be a challenge.
func TestInformation(t *testing.T) {
	const n = 5000
	b := documents(6, n)
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	compressed := float64(len(w.EncodeAll(b, nil))) / n
	g := New(Options{Seed: 6, Start: start})
	for range n {
		g.Next()
	}
	sum := 0.0
	for _, s := range g.Information(n) {
		if !(s.Bits >= 0 && s.Share >= 0 && s.Share <= 1) {
			t.Errorf("%+v", s)
		}
		t.Logf("%5.1f bytes  %.2f × %5.1f bits  %s", s.Bytes(), s.Share, s.Bits, s.Name)
		sum += s.Bytes()
	}
	t.Logf("%.0f bytes of information, %.0f as NDJSON with zstd, %d as NDJSON", sum, compressed, len(b)/n)
	if sum > compressed || sum < 40 {
		t.Errorf("%.0f bytes of information, %.0f bytes as NDJSON with zstd", sum, compressed)
	}
}

func TestNextDoesNotAllocateMuch(t *testing.T) {
	g := New(Options{Seed: 8, Start: start})
	for range 10_000 {
		g.Next()
	}
	// One for each connection.
	if n := testing.AllocsPerRun(10_000, func() { g.Next() }); n > 1 {
		t.Errorf("%v allocations an exchange", n)
	}
}

func TestAlias(t *testing.T) {
	g := New(Options{Seed: 9})
	weights := []float64{5, 0, 1, 2, 0.5, 1.5}
	a := newAlias(weights)
	counts := make([]float64, len(weights))
	for range 100_000 {
		counts[a.draw(g.rand)] += 1.0 / 10_000
	}
	for i, w := range weights {
		if math.Abs(counts[i]-w) > 0.1 {
			t.Errorf("weights %v gave %v", weights, counts)
			break
		}
	}
	if b := newAlias([]float64{1, 1, 1, 1}); math.Abs(b.bits-2) > 1e-9 {
		t.Errorf("one of four is %g bits", b.bits)
	}
}

// newAgents makes the headers in the order of their frequency, each once.
func TestAgents(t *testing.T) {
	var texts []string
	for _, a := range newAgents() {
		texts = append(texts, a.text)
	}
	n := len(texts)
	slices.Sort(texts)
	if len(slices.Compact(texts)) != n || n < 180 || n > 220 {
		t.Errorf("%d different ones of %d", len(slices.Compact(texts)), n)
	}
}

func BenchmarkNext(b *testing.B) {
	g := New(Options{Seed: 1, Start: start})
	b.ReportAllocs()
	for b.Loop() {
		g.Next()
	}
}

func BenchmarkDocument(b *testing.B) {
	g := New(Options{Seed: 1, Start: start})
	e := ndjson.NewEncoder()
	var buf []byte
	n := 0
	for b.Loop() {
		buf = e.Append(buf[:0], g.Next())
		n += len(buf)
	}
	b.ReportMetric(float64(n)/float64(b.N), "B/exchange")
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		New(Options{Seed: 1})
	}
}
