// Package otlp delivers exchanges and rollups to receivers of OpenTelemetry's protocol: an exchange becomes a span, with the
// semantic conventions for HTTP servers, a row of rollups metrics. docs/opentelemetry.md has what becomes of what.
//
// The body of an event is one element of an export request, resource included, so that it can stand alone:
//
//	ExportTraceServiceRequest    resource_spans   { resource, scope_spans   { scope, span } }
//	ExportMetricsServiceRequest  resource_metrics { resource, scope_metrics { scope, metric ... } }
//
// A Sender puts those of one resource together.
package otlp

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/ship"
)

// Ports of receivers, where a URL of http:// names none.
const (
	HTTPPort = 4318
	GRPCPort = 4317
)

// DefaultTimeout is for Options.Timeout; it is that of OpenTelemetry's own exporters.
const DefaultTimeout = 10 * time.Second

// The protocols, for Options.Protocol.
const (
	HTTP = "http"
	GRPC = "grpc"
)

// The signals, for Options.Signals.
const (
	Traces  = "traces"
	Metrics = "metrics"
)

// The compressions, for Options.Compression.
const (
	Gzip = "gzip"
	None = "none"
)

// Options say how a receiver is reached, and what it gets.
type Options struct {
	Endpoint endpoint.Options
	// Protocol is HTTP or GRPC; empty: GRPC for GRPCPort, HTTP otherwise.
	Protocol string
	// Compression is Gzip or None; empty: Gzip.
	Compression string
	// Signals are what is sent; none: all.
	Signals []string
	// Headers are sent with each request, such as the API keys of services; see ParseHeaders.
	Headers map[string]string
	// Timeout bounds each request; 0: DefaultTimeout.
	Timeout time.Duration
	// Service is service.name where the service isn't known; empty: see docs/opentelemetry.md.
	Service string
	// Version is culprit's.
	Version string
}

// sends reports whether a signal is wanted.
func (o *Options) sends(signal string) bool {
	return len(o.Signals) == 0 || slices.Contains(o.Signals, signal)
}

// New returns what makes Senders for a receiver, of which target is the URL. /v1/traces and /v1/metrics are appended to its
// path. Credentials in the URL hold unless the options have some.
func New(target string, o Options) (func() (ship.Sender, error), error) {
	urls, auth, err := endpoint.ParseURLs(target, []string{"http", "https"}, 0)
	if err != nil {
		return nil, err
	}
	if len(urls) > 1 {
		return nil, fmt.Errorf("%d receivers: want one; to share the load, put a collector or a load balancer before them", len(urls))
	}
	u := urls[0]
	if o.Endpoint.Auth == (endpoint.Auth{}) {
		o.Endpoint.Auth = auth
	}
	if o.Protocol == "" {
		o.Protocol = HTTP
		if u.Port() == fmt.Sprint(GRPCPort) {
			o.Protocol = GRPC
		}
	}
	if o.Compression == "" {
		o.Compression = Gzip
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	for _, c := range []struct {
		name, value string
		all         []string
	}{{"protocol", o.Protocol, []string{HTTP, GRPC}}, {"compression", o.Compression, []string{Gzip, None}}} {
		if !slices.Contains(c.all, c.value) {
			return nil, fmt.Errorf("%s: %q: want one of %s", c.name, c.value, strings.Join(c.all, ", "))
		}
	}
	for _, s := range o.Signals {
		if s != Traces && s != Metrics {
			return nil, fmt.Errorf("signals: %q: want %s, %s or both", s, Traces, Metrics)
		}
	}
	if o.Protocol == GRPC && u.Path != "" {
		return nil, fmt.Errorf("%s: gRPC has paths of its own: want %s://%s", u, u.Scheme, u.Host)
	}
	for i := range signals {
		if base, ok := strings.CutSuffix(u.Path, signals[i].path); ok {
			return nil, fmt.Errorf("%s: %s is appended: want %s://%s%s", u, signals[i].path, u.Scheme, u.Host, base)
		}
	}
	if u.Port() == "" && u.Scheme == "http" {
		port := HTTPPort
		if o.Protocol == GRPC {
			port = GRPCPort
		}
		u.Host += fmt.Sprintf(":%d", port)
	}
	if _, err := o.Endpoint.TLS.Config(); err != nil {
		return nil, err
	}
	return func() (ship.Sender, error) { return newSender(u, &o) }, nil
}

// ParseHeaders reads headers in the form of OTEL_EXPORTER_OTLP_HEADERS: NAME=VALUE, with commas between them, and values
// percent-encoded where they must be.
func ParseHeaders(text string) (map[string]string, error) {
	headers := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if !ok || name == "" || strings.Trim(name, headerCharacters) != "" {
			return nil, fmt.Errorf("header %d: want NAME=VALUE, with commas between headers", len(headers)+1) // without its text, which may be a secret
		}
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if err != nil || strings.ContainsAny(value, "\r\n\x00") {
			return nil, fmt.Errorf("header %s: its value isn't percent-encoded; a %% is written as %%25", name)
		}
		headers[name] = value
	}
	return headers, nil
}

// headerCharacters are those of names that both protocols can send: gRPC has small letters only.
const headerCharacters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
