// Package web is the HTTP API of culprit serve: the questions of a store as JSON, downloads, and exchanges as they
// complete as server-sent events. docs/api.md is its guide, openapi.yaml its contract.
//
// It trusts nobody: neither who asks (guard.go), nor what is asked (params.go), nor what is stored, which strangers
// sent and which goes out escaped (json.go).
package web

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/preview"
	"github.com/culprit-http/culprit/internal/store"
)

// Limits of requests and answers.
const (
	// MaxQuery is the largest length of a request's query, in bytes, as sent.
	MaxQuery = 32 << 10
	// MaxText is the largest length of the text that a search looks for, in bytes.
	MaxText = 1 << 10
	// MaxCursor is the largest length of a cursor, in bytes.
	MaxCursor = 1 << 10
	// DefaultLimit is how many exchanges a search gives, unless told.
	DefaultLimit = 100
	// DefaultDownload is how many exchanges a download holds, unless told, and MaxDownload how many it may.
	DefaultDownload = 10_000
	MaxDownload     = 1_000_000
	// DefaultTerms and MaxTerms are how many values terms gives, DefaultComplete and MaxComplete complete.
	DefaultTerms, MaxTerms       = 20, 1_000
	DefaultComplete, MaxComplete = 20, 100
	// MaxSeries is how many series a histogram may have; DefaultSeries are those without a limit.
	DefaultSeries, MaxSeries = 10, 100
	// DefaultDifferences and MaxDifferences are how many differences there may be, MaxTraits how many fields are looked at.
	DefaultDifferences, MaxDifferences = 30, 100
	MaxTraits                          = 64
	// DefaultGroups are the groups of an aggregate without a limit.
	DefaultGroups = 100
	// MaxRows is how many rows an aggregate with an interval may have: groups times buckets.
	MaxRows = 100_000
	// DefaultBuckets is about how many buckets of time there are, unless told, MaxBuckets how many there may be.
	DefaultBuckets, MaxBuckets = 60, 2_000
	// MaxGroupBy and MaxMetrics are how many fields can be grouped by and metrics asked for at once.
	MaxGroupBy, MaxMetrics = 4, 16
)

// Limits of work. An answer to what exceeds them has status 429 or 422.
const (
	// DefaultQueries is how many questions the store answers at once, DefaultDownloads how many downloads run.
	DefaultQueries   = 4
	DefaultDownloads = 2
	// MaxGlances is how many questions about what is under way are answered at once: an answer may take some 300 MB.
	MaxGlances = 1
	// MaxPending is how many questions one client, by its address, may have running or waiting; QueueTime is
	// how long one may wait for its turn.
	MaxPending = 32
	QueueTime  = 10 * time.Second
	// DefaultQueryTimeout bounds a question, CompleteTimeout one of a filter's completion.
	DefaultQueryTimeout = 30 * time.Second
	CompleteTimeout     = 2 * time.Second
	// WriteTimeout is how long a client may take nothing of an answer before it is given up.
	WriteTimeout = 30 * time.Second
	// streamBuffer is how much of an answer is held back: what fails before gets its problem instead.
	streamBuffer = 256 << 10
)

// Recommended settings of the http.Server; HTTPServer applies them. They bound what clients can hold without asking
// anything. Its own timeouts of reading and writing would end live streams: WriteTimeout here counts from each write.
const (
	ReadHeaderTimeout = 10 * time.Second
	IdleTimeout       = 2 * time.Minute
	MaxHeaderBytes    = 64 << 10
)

// MinToken is the smallest length of a token, in characters.
const MinToken = 22

// Options say what to serve.
type Options struct {
	// Store answers the questions. It is required.
	Store store.Reader
	// Packets finds the packets of an exchange; nil: they aren't kept.
	Packets PacketSource
	// Preview lays bodies out. It is called by several goroutines. nil: without descriptors, and without what is decoded where
	// nobody would hide its secrets.
	Preview *preview.Previewer
	// Reveal allows downloads that can't be redacted.
	Reveal bool
	// Token is what every request has to know: at least MinToken letters, digits, - and _.
	Token string
	// Hosts are the names and addresses, without port, by which this server may be asked for, other than
	// those of the loopback.
	Hosts []string
	// Capture gives the counters of the capture as something that becomes a JSON object; nil: none runs. It is
	// called by several goroutines.
	Capture func() any
	// InFlight gives the exchanges under way, at most a second ago; nil: none runs. It is called by several goroutines.
	InFlight func(ctx context.Context) (*InFlight, error)
	// Process gives what the program itself takes; nil: nobody knows. It is called by several goroutines.
	Process func() Process
	// UI has the files of the user interface, as package ui does; nil or empty: it isn't built in.
	UI fs.FS
	// Host knows how the machine was doing; nil: nobody does.
	Host HostSource
	// Routes are the rules by which paths become routes, as the configuration has them; measure.NewRoutes explains them.
	Routes []string
	// Version is culprit's.
	Version string
	// Now is the clock that relative times count from; nil: time.Now.
	Now func() time.Time
	// Queries, Downloads and QueryTimeout replace their defaults when they aren't 0.
	Queries, Downloads int
	QueryTimeout       time.Duration
}

// Server answers requests. It is safe for concurrent use, but for Publish and Waiting.
type Server struct {
	options   Options
	guard     guard
	mux       *http.ServeMux
	queries   *gate
	downloads *gate
	glances   *gate
	feed      *feed
	routes    *measure.Routes
}

// New returns a Server, or an error that says which option is wrong.
func New(o Options) (*Server, error) {
	if o.Store == nil {
		return nil, errors.New("web: no store to serve")
	}
	g, err := newGuard(o.Token, o.Hosts)
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Queries == 0 {
		o.Queries = DefaultQueries
	}
	if o.Downloads == 0 {
		o.Downloads = DefaultDownloads
	}
	if o.Preview == nil {
		o.Preview = preview.New(preview.Options{})
	}
	if o.QueryTimeout == 0 {
		o.QueryTimeout = DefaultQueryTimeout
	}
	paths, err := measure.NewRoutes(o.Routes)
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	s := &Server{
		options: o, routes: paths, guard: g, mux: http.NewServeMux(), feed: newFeed(),
		queries: newGate(o.Queries), downloads: newGate(o.Downloads), glances: newGate(MaxGlances),
	}
	all := routes()
	for i := range all {
		s.mux.Handle(all[i].path, &endpoint{s, &all[i]})
	}
	for _, pattern := range [...]string{"/", "/api", "/api/{path}", "/assets"} { // all but the first would be views
		s.mux.Handle(pattern, &endpoint{s, &route{handle: (*Server).unknown}})
	}
	return s, nil
}

// HTTPServer returns an http.Server with the recommended settings. Its Shutdown also ends live streams.
func (s *Server) HTTPServer() *http.Server {
	h := &http.Server{
		Handler: s, ReadHeaderTimeout: ReadHeaderTimeout, IdleTimeout: IdleTimeout, MaxHeaderBytes: MaxHeaderBytes,
	}
	h.RegisterOnShutdown(s.Close)
	return h
}

// Close ends the live streams, and refuses new ones. Other requests go on.
func (s *Server) Close() { s.feed.close() }

// access is how a route can be used.
type access uint8

const (
	// private needs the token in a header or cookie.
	private access = iota
	// linked takes it from the query, too, for what browsers and other programs open by its URL.
	linked
	// page is linked, and gets notices for people; what else is in the query is the page's own.
	page
	// public needs none.
	public
)

// work is what a route costs.
type work uint8

const (
	light work = iota
	query
	download
	// glance doesn't wait for questions to the store.
	glance
	// stream is bounded by the number of subscribers.
	stream
)

// route is one path and what answers there.
type route struct {
	path   string
	handle func(*Server, *call) error
	access access
	work   work
	// params are the names of the query parameters.
	params []string
}

// scope are the parameters that choose exchanges.
var scope = []string{"where", "text", "from", "to", "last"}

func with(more ...string) []string { return append(more, scope...) }

// routes are all routes.
func routes() []route {
	return []route{
		{"/{$}", (*Server).page, page, light, nil},
		{"/{view}", (*Server).page, page, light, nil},
		{"/{view}/{id}", (*Server).page, page, light, nil},
		{"/assets/{file}", (*Server).asset, private, light, nil},
		{"/healthz", (*Server).health, public, light, nil},
		{"/api/openapi.yaml", (*Server).openAPI, private, light, nil},
		{"/api/status", (*Server).status, private, light, nil},
		{"/api/fields", (*Server).fields, private, light, nil},
		{"/api/filter", (*Server).filter, private, light, []string{"where"}},
		{"/api/exchanges", (*Server).search, private, query, with("fields", "sort", "ascending", "limit", "after", "format")},
		{"/api/exchanges.ndjson", (*Server).downloadNDJSON, linked, download, with("fields", "sort", "ascending", "limit", "after")},
		{"/api/exchanges.har", (*Server).downloadHAR, linked, download, with("sort", "ascending", "limit", "after")},
		{"/api/exchanges/{id}", (*Server).exchange, private, query, nil},
		{"/api/exchanges/{id}/bodies", (*Server).bodies, private, query, nil},
		{"/api/exchanges/{id}/packets", (*Server).packets, linked, download, []string{"connection"}},
		{"/api/traces/{id}", (*Server).oneTrace, private, query, nil},
		{"/api/trace/{id}", (*Server).trace, private, query, []string{"from", "to", "last", "fields", "limit", "after"}},
		{"/api/histogram", (*Server).histogram, private, query, with("interval", "buckets", "group", "metric", "limit")},
		{"/api/heatmap", (*Server).heatmap, private, query, with("interval", "buckets", "field")},
		{"/api/host", (*Server).host, private, query, []string{"from", "to", "last", "interval", "buckets"}},
		{"/api/aggregate", (*Server).aggregate, private, query, with("interval", "group", "metric", "sort", "limit")},
		{"/api/statements", (*Server).statements, private, query, with("by", "sort", "limit")},
		{"/api/repeats", (*Server).repeats, private, query, with("least", "confidence", "limit")},
		{"/api/routes", (*Server).routing, private, query, with("limit")},
		{"/api/terms", (*Server).terms, private, query, with("field", "metric", "sort", "limit")},
		{"/api/cardinality", (*Server).cardinality, private, query, with("field")},
		{"/api/differences", (*Server).differences, private, query, with("selection", "fields", "limit")},
		{"/api/complete", (*Server).complete, private, query, with("field", "prefix", "limit")},
		{"/api/inflight", (*Server).inFlight, private, glance, []string{"where", "fields", "limit"}},
		{"/api/pages", (*Server).pages, private, query, with("confidence", "limit")},
		{"/api/pages/{id}", (*Server).onePage, private, query, nil},
		{"/api/live", (*Server).live, linked, stream, []string{"where", "fields"}},
	}
}

// call is one request and its answer.
type call struct {
	*http.Request
	params
	answer
}

// Write implements io.Writer. It writes the answer, not the request.
func (c *call) Write(b []byte) (int, error) { return c.answer.Write(b) }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A mux answers these in its own way, such as with a redirect.
	if p := r.URL.Path; p == "" || p[0] != '/' || p != "/" && path.Clean(p) != strings.TrimSuffix(p, "/") {
		harden(w.Header())
		writeProblem(w, r, problems.noRoute.of("%s is no path here", clip(p)))
		return
	}
	s.mux.ServeHTTP(w, r)
}

// endpoint answers for one route.
type endpoint struct {
	s *Server
	*route
}

// ServeHTTP implements http.Handler.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	harden(w.Header())
	c := &call{Request: r, answer: newAnswer(w, r)}
	err := e.serve(c)
	if err == nil || e.access == page && c.explain(problemOf(err)) {
		return
	}
	c.fail(err)
}

func (e *endpoint) serve(c *call) error {
	s := e.s
	if e.access != public {
		if err := s.guard.place(c.Request); err != nil {
			return err
		}
	}
	if c.Method != http.MethodGet && c.Method != http.MethodHead {
		c.w.Header().Set("Allow", "GET, HEAD")
		return problems.method.of("there is no %s here; ask with GET", clip(c.Method))
	}
	if c.ContentLength != 0 {
		_ = c.control.SetReadDeadline(time.Now().Add(ReadHeaderTimeout)) // for what the server still reads of it
		return problems.body.of("a request has no body here; put what you ask for into the URL")
	}
	if len(c.URL.RawQuery) > MaxQuery {
		return problems.tooLong.of("the query has %d bytes, and %d are allowed", len(c.URL.RawQuery), MaxQuery)
	}
	values, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil && e.access != page {
		return problems.parameter.of("the query can't be read: %v; write %%25, %%26, %%2B and %%3B for the characters %%, &, + and ;", err)
	}
	if e.access != public {
		if err := s.guard.admit(c.Request, values, e.access == linked || e.access == page); err != nil {
			return err
		}
	}
	c.params = params{values: values, now: s.options.Now()}
	if e.path != "" && e.access != page { // an unknown path has the same answer whatever is asked
		if err := c.known(e.route); err != nil {
			return err
		}
	}
	return e.within(c)
}

// within answers when it is the request's turn.
func (e *endpoint) within(c *call) error {
	s := e.s
	gates := [...]*gate{query: s.queries, download: s.downloads, glance: s.glances, stream: nil}
	if g := gates[e.work]; g != nil {
		leave, err := g.enter(c.Context(), client(c.Request))
		if err != nil {
			return err
		}
		defer leave()
	}
	if e.work == query {
		ctx, cancel := context.WithTimeout(c.Context(), s.options.QueryTimeout+WriteTimeout)
		defer cancel()
		c.Request = c.WithContext(ctx)
	}
	return e.handle(s, c)
}

func (s *Server) unknown(c *call) error {
	return problems.noRoute.of("there is nothing at %s; /api/openapi.yaml lists what there is", clip(c.URL.Path))
}

func (s *Server) health(c *call) error { return c.send("text/plain; charset=utf-8", []byte("ok\n")) }

//go:embed openapi.yaml
var openAPI []byte

func (s *Server) openAPI(c *call) error { return c.send("application/yaml", openAPI) }
