package main

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/metrics"
	"github.com/culprit-http/culprit/internal/own"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/web"
)

const (
	// defaultMetrics is where metrics are served, unless told.
	defaultMetrics = "127.0.0.1:9871"
	// totalsWithin is how long a scrape waits for the totals; then it gets those before.
	totalsWithin = 2 * time.Second
	// scrapeWithin bounds a request for metrics, and its answer.
	scrapeWithin = 30 * time.Second
)

// metricsServer is the output metrics: Prometheus asks it for what it has counted.
type metricsServer struct {
	*metrics.Metrics
	address, bearer string
	maxSeries       int
	listener        net.Listener
	server          *http.Server
	// own is what culprit itself counts, once it runs.
	own atomic.Pointer[func() metrics.Own]
}

// readMetrics reads the settings of the output.
func readMetrics(s *settings) *metricsServer {
	return &metricsServer{
		address: s.target(defaultMetrics), bearer: s.secret("bearer"), maxSeries: s.number("max_series", metrics.DefaultMaxSeries, 1, 100_000),
	}
}

// listen opens the socket. connections learns that what comes there is culprit's own.
func (m *metricsServer) listen(connections *own.Connections, warn func(format string, args ...any)) (err error) {
	if m.listener, err = net.Listen("tcp", m.address); err != nil {
		return fmt.Errorf("%w; choose another with -o metrics=ADDRESS:PORT", err)
	}
	at := m.listener.Addr().(*net.TCPAddr).AddrPort()
	at = netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
	connections.Serve(at, hostAddresses())
	if !at.Addr().IsLoopback() && m.bearer == "" {
		warn("-o metrics=%s: others can read it; a setting bearer_file asks them for a token", m.address)
	}
	m.Metrics = metrics.New(metrics.Options{MaxSeries: m.maxSeries, Own: func() (o metrics.Own) {
		if own := m.own.Load(); own != nil {
			o = (*own)()
		}
		return o
	}})
	return nil
}

// serve answers from now on.
func (m *metricsServer) serve(own func() metrics.Own) {
	m.own.Store(&own)
	pages := http.NewServeMux()
	handler := m.Handler()
	pages.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if m.bearer != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+m.bearer)) == 0 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a token is wanted: Authorization: Bearer ...", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	})
	m.server = &http.Server{Handler: pages, ReadTimeout: scrapeWithin, WriteTimeout: scrapeWithin, MaxHeaderBytes: 16 << 10}
	go m.server.Serve(m.listener) // until close
}

func (m *metricsServer) close() {
	if m.server != nil {
		m.server.Close()
	} else if m.listener != nil {
		m.listener.Close()
	}
}

// totals asks the pipeline how it stands, for those who don't want to wait for long.
type liveTotals struct {
	watch pipeline.Watch
	last  atomic.Pointer[pipeline.Stats]
}

// get returns the totals, at worst those of an earlier time.
func (l *liveTotals) get() pipeline.Stats {
	ctx, cancel := context.WithTimeout(context.Background(), totalsWithin)
	defer cancel()
	if v, err := l.watch.Ask(pipeline.Totals).Wait(ctx); err == nil {
		l.last.Store(&v.Stats)
	}
	if s := l.last.Load(); s != nil {
		return *s
	}
	return pipeline.Stats{}
}

// ownMetrics is what culprit counts, for /metrics. It is called from any goroutine.
func (t *tracing) ownMetrics() metrics.Own {
	s := t.totals.get()
	o := metrics.Own{
		Version: version, PacketsReceived: s.Received.Packets + s.Dropped + s.IfDropped, PacketsAnalysed: s.Analysed.Packets,
		BytesReceived: s.Received.Bytes, BytesAnalysed: s.Analysed.Bytes, MissingBytes: s.TCP.MissingBytes,
		Dropped:    []metrics.Labelled{{Label: "kernel", N: s.Dropped}, {Label: "interface", N: s.IfDropped}},
		SampledOut: t.sampledOut.Load(), MemoryLimit: uint64(t.config.Memory),
	}
	var p web.Process
	if t.self.read(&p); p.RSS != nil {
		o.Memory = uint64(*p.RSS)
	}
	if p.CPU != nil {
		o.CPU = time.Duration(*p.CPU)
	}
	for name, n := range s.Ignored {
		o.Ignored = append(o.Ignored, metrics.Ignored{Reason: name, Packets: n.Packets, Bytes: n.Bytes})
	}
	for name, n := range s.Connections {
		o.Connections = append(o.Connections, metrics.Labelled{Label: name, N: n})
	}
	for g, n := range s.Exchanges {
		o.Exchanges = append(o.Exchanges, metrics.Labelled{Label: exchange.Grade(g).String(), N: n})
	}
	for i := range limits {
		o.Limits = append(o.Limits, metrics.Labelled{Label: limits[i].name, N: limits[i].count(&s)})
	}
	if t.rollups != nil {
		o.Rollups = t.rollups.Stats()
	}
	if all := t.sinks.delivering.Load(); all != nil {
		for _, s := range *all {
			o.Outputs = append(o.Outputs, s.Stats())
		}
	}
	return o
}
