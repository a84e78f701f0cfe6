// Package elastic talks to clusters of Elasticsearch and OpenSearch: it chooses among their nodes, tells the products
// apart, says in Go errors what a cluster refuses and what the user can do, and makes the index templates and the
// lifecycle of culprit's indices. What is in requests and answers belongs to who uses it.
package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/culprit-http/culprit/internal/endpoint"
)

// Port is where clusters listen.
const Port = 9200

// Schemes are those of the addresses of clusters.
func Schemes() []string { return []string{"http", "https"} }

// Limits and defaults.
const (
	// DefaultTimeout is how long a request may take, unless Options say otherwise.
	DefaultTimeout = 60 * time.Second
	// DefaultConnections is how many connections a node gets, unless Options say otherwise.
	DefaultConnections = 8
	// MaxAnswer is the size of an answer above which it isn't read, unless the Request says otherwise.
	MaxAnswer = 64 << 20
	// maxError is how much is read of an answer that is an error.
	maxError = 64 << 10
	// compressFrom is the size from which bodies are compressed.
	compressFrom = 1 << 10
	// A node that can't be reached rests, longer each time.
	minRest, maxRest = time.Second, time.Minute
)

// Options say how a cluster is reached.
type Options struct {
	// URLs are the addresses of nodes, or of what stands before them. There is at least one.
	URLs []*url.URL
	// Endpoint has what all receivers have: TLS, credentials, how to dial.
	Endpoint endpoint.Options
	// Timeout bounds each request; 0: DefaultTimeout.
	Timeout time.Duration
	// Connections is how many connections a node gets; 0: DefaultConnections.
	Connections int
	// NoCompression sends bodies as they are.
	NoCompression bool
}

// Client is a client of a cluster, for any number of goroutines.
type Client struct {
	options Options
	http    http.Client

	mu      sync.Mutex
	nodes   []node
	next    int // the node that is asked next, if it is well
	product *Product
}

// node is one address of the cluster.
type node struct {
	url *url.URL
	// failures is how often it couldn't be reached, one time after the other; it rests until then.
	failures int
	until    time.Time
}

// New returns a client. It connects with the first request.
func New(o Options) (*Client, error) {
	if len(o.URLs) == 0 {
		return nil, errors.New("there is no address of a cluster")
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Connections == 0 {
		o.Connections = DefaultConnections
	}
	transport, err := o.Endpoint.Transport(o.Connections)
	if err != nil {
		return nil, err
	}
	c := &Client{options: o, http: http.Client{
		Transport: transport,
		// Another server isn't given the credentials.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, u := range o.URLs {
		c.nodes = append(c.nodes, node{url: u})
	}
	return c, nil
}

// Close ends connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Request is what a cluster is asked.
type Request struct {
	// Method and Path, which begins with a slash and is escaped.
	Method, Path string
	Query        url.Values
	// ContentType is that of the Body; empty: JSON.
	ContentType string
	Body        []byte
	// Gzip: the Body is compressed already.
	Gzip bool
	// Header has what else is sent; nil: nothing.
	Header http.Header
	// Limit is the size of the answer above which it isn't read; 0: MaxAnswer.
	Limit int64
}

// Do asks the cluster, and returns its answer. Where a node can't be reached, or says that it can't do its work, the next is
// asked; so a cluster may get a request twice. An answer that isn't a success is an *Error.
func (c *Client) Do(ctx context.Context, r *Request) ([]byte, error) {
	if !r.Gzip && !c.options.NoCompression && len(r.Body) >= compressFrom {
		packed, err := compress(r.Body)
		if err != nil {
			return nil, err
		}
		again := *r
		again.Body, again.Gzip = packed, true
		r = &again
	}
	var failed error
	for range c.nodes {
		i := c.choose()
		answer, err := c.ask(ctx, i, r)
		if err == nil {
			c.well(i)
			return answer, nil
		}
		refused := (*Error)(nil)
		switch {
		case ctx.Err() != nil:
			return nil, err
		case errors.As(err, &refused) && !refused.ofNode():
			c.well(i)
			return nil, err
		}
		c.ill(i)
		failed = err
	}
	return nil, failed
}

// JSON asks with a body that is made of a value, and puts the answer into another. Each may be nil: there is none.
func (c *Client) JSON(ctx context.Context, method, path string, body, answer any) error {
	r := Request{Method: method, Path: path}
	if body != nil {
		var err error
		if r.Body, err = json.Marshal(body); err != nil {
			return err
		}
	}
	text, err := c.Do(ctx, &r)
	if err != nil || answer == nil {
		return err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s %s: the answer isn't what was asked for: %w", method, path, err)
	}
	return nil
}

// compress packs a body with little effort: networks within a site are faster than processors.
func compress(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

// choose returns the node to ask: those that are well take turns; when none is, the one that has rested longest.
func (c *Client) choose() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, best := time.Now(), -1
	for k := range c.nodes {
		i := (c.next + k) % len(c.nodes)
		if n := &c.nodes[i]; n.failures == 0 || !now.Before(n.until) {
			best = i
			break
		} else if best < 0 || n.until.Before(c.nodes[best].until) {
			best = i
		}
	}
	c.next = (best + 1) % len(c.nodes)
	return best
}

// well notes that a node has answered.
func (c *Client) well(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i].failures = 0
}

// ill notes that a node couldn't do its work. What comes up again may be another cluster, or another version.
func (c *Client) ill(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := &c.nodes[i]
	n.until = time.Now().Add(min(minRest<<min(n.failures, 10), maxRest))
	n.failures++
	c.product = nil
}

// ask asks one node.
func (c *Client) ask(ctx context.Context, i int, r *Request) (answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	base := c.nodes[i].url
	target := base.Scheme + "://" + base.Host + base.EscapedPath() + r.Path
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, target, bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	c.options.Endpoint.Auth.Set(request)
	if c.options.Endpoint.UserAgent != "" {
		request.Header.Set("User-Agent", c.options.Endpoint.UserAgent)
	}
	maps.Copy(request.Header, r.Header)
	request.Header.Set("Accept", "application/json")
	if len(r.Body) > 0 {
		kind := r.ContentType
		if kind == "" {
			kind = "application/json"
		}
		request.Header.Set("Content-Type", kind)
		if r.Gzip {
			request.Header.Set("Content-Encoding", "gzip")
		}
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, unreachable(base, err)
	}
	defer response.Body.Close()
	if response.StatusCode >= 200 && response.StatusCode < 300 {
		limit := r.Limit
		if limit == 0 {
			limit = MaxAnswer
		}
		answer, err = read(response, limit)
		if err != nil {
			err = unreachable(base, err)
		}
		return answer, err
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxError))
	if err != nil {
		return nil, unreachable(base, err)
	}
	return nil, refusal(base, r, response, text)
}

// ErrLongAnswer: the answer has more bytes than the request allows.
var ErrLongAnswer = errors.New("the answer is too long")

// read reads an answer that has at most that many bytes.
func read(response *http.Response, limit int64) ([]byte, error) {
	if response.ContentLength > limit {
		return nil, ErrLongAnswer
	}
	var b bytes.Buffer
	if response.ContentLength > 0 {
		b.Grow(int(response.ContentLength) + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(response.Body, limit+1))
	if err == nil && n > limit {
		err = ErrLongAnswer
	}
	return b.Bytes(), err
}

// Product is what a cluster runs.
type Product struct {
	// OpenSearch; else Elasticsearch.
	OpenSearch bool
	// Version is the version as it says, such as "8.19.0"; empty: it doesn't. Major is its first number.
	Version string
	Major   int
}

// String returns name and version.
func (p Product) String() string {
	name := "Elasticsearch"
	if p.OpenSearch {
		name = "OpenSearch"
	}
	return strings.TrimSpace(name + " " + p.Version)
}

// Product returns what the cluster runs. It asks once, and again when a node couldn't be reached.
func (c *Client) Product(ctx context.Context) (Product, error) {
	c.mu.Lock()
	known := c.product
	c.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	p, err := c.askProduct(ctx)
	if err != nil {
		return Product{}, err
	}
	c.mu.Lock()
	c.product = &p
	c.mu.Unlock()
	return p, nil
}

func (c *Client) askProduct(ctx context.Context) (Product, error) {
	var root struct {
		Tagline string
		Version struct{ Distribution, Number string }
	}
	err := c.JSON(ctx, http.MethodGet, "/", nil, &root)
	refused := (*Error)(nil)
	switch {
	case errors.As(err, &refused) && refused.elastic:
		// The user may lack the privilege to ask that, and distributions for tests don't know it.
		p := Product{Version: c.nodeVersion(ctx)}
		p.Major = major(p.Version)
		return p, nil
	case err != nil:
		return Product{}, err
	}
	p := Product{Version: root.Version.Number, Major: major(root.Version.Number)}
	p.OpenSearch = root.Version.Distribution == "opensearch" || strings.Contains(root.Tagline, "OpenSearch")
	if p.Version == "" {
		return Product{}, fmt.Errorf("%s is neither Elasticsearch nor OpenSearch: it doesn't say its version", c.nodes[0].url.Redacted())
	}
	return p, nil
}

// nodeVersion asks a node for its version by another way; empty: it doesn't say.
func (c *Client) nodeVersion(ctx context.Context) string {
	var nodes struct {
		Nodes map[string]struct{ Version string }
	}
	if c.JSON(ctx, http.MethodGet, "/_nodes/_local?filter_path=nodes.*.version", nil, &nodes) != nil {
		return ""
	}
	for _, n := range nodes.Nodes {
		return n.Version
	}
	return ""
}

// major returns the first number of a version.
func major(version string) (n int) {
	for _, digit := range version {
		if digit < '0' || digit > '9' || n > 999 {
			break
		}
		n = n*10 + int(digit-'0')
	}
	return n
}
