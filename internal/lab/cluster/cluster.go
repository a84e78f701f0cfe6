//go:build linux

// Package cluster runs real clusters of Elasticsearch and OpenSearch on loopback, each node a process of its own, for
// tests. It needs Java 17 or later with its compiler, and Maven, which fetches the products (default-jdk-headless and maven
// of Debian). Tests that lack them are skipped, and say so.
//
// A test package shares its clusters, as a node takes 10 seconds to start and half a gigabyte:
//
//	var clusters cluster.Shared
//
//	func TestMain(m *testing.M) { os.Exit(clusters.Run(m)) }
//
//	func TestX(t *testing.T) {
//		c := clusters.OpenSearch(t, 1) // or Elasticsearch(t, 3)
//		… c.URLs() …
//	}
//
// Tests on a shared cluster use indices of different names. The processes end with the test program, whatever ends it.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience is how long a node may take to start: seconds on an idle machine, and more beside other tests.
const Patience = 8 * time.Minute

// DefaultHeap is the memory of a node's heap, as Java's -Xmx has it.
const DefaultHeap = "400m"

// Shared are the clusters of a test program. The zero Shared is ready.
type Shared struct {
	// Heap is what a node's Java heap gets; empty: DefaultHeap.
	Heap string

	mu    sync.Mutex
	all   map[string]*Cluster // by product and number of nodes
	tried map[string]error    // what couldn't be started, which isn't tried again
}

// Run runs the tests of a program, stops all clusters, and returns what to exit with.
func (s *Shared) Run(m *testing.M) int {
	defer s.Close()
	return m.Run()
}

// Close stops all clusters.
func (s *Shared) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.all {
		c.close()
	}
	s.all = nil
}

// Elasticsearch returns a cluster of Elasticsearch 8.19 that all nodes of are up. It is as Maven has it for tests: without
// scripts, lifecycles, reindexing and what else comes in modules.
func (s *Shared) Elasticsearch(t testing.TB, nodes int) *Cluster {
	t.Helper()
	return s.get(t, elasticsearch("8.19.0"), nodes)
}

// Elasticsearch7 returns a cluster of Elasticsearch 7.17, the oldest that is supported; otherwise like Elasticsearch.
func (s *Shared) Elasticsearch7(t testing.TB, nodes int) *Cluster {
	t.Helper()
	return s.get(t, elasticsearch("7.17.29"), nodes)
}

// Elasticsearch9 returns a cluster of Elasticsearch 9.2, which needs Java 21 or later; otherwise like Elasticsearch.
func (s *Shared) Elasticsearch9(t testing.TB, nodes int) *Cluster {
	t.Helper()
	p := elasticsearch("9.2.0")
	p.minJava = 21
	return s.get(t, p, nodes)
}

// OpenSearch3 returns a cluster of OpenSearch 3.0, which needs Java 21 or later; otherwise like OpenSearch.
func (s *Shared) OpenSearch3(t testing.TB, nodes int) *Cluster {
	t.Helper()
	p := openSearch("3.0.0.0")
	p.minJava = 21
	return s.get(t, p, nodes)
}

// OpenSearch returns a cluster of OpenSearch 2.19 that all nodes of are up, with the modules of its distribution, such as
// Painless, but no plugins.
func (s *Shared) OpenSearch(t testing.TB, nodes int) *Cluster {
	t.Helper()
	return s.get(t, openSearch("2.19.1.0"), nodes)
}

// Secured returns a cluster of Elasticsearch 8.19 with TLS, and with users in a file: User, its superuser, and those that
// roles names, with their roles in the form of the API that makes roles. The password of all is Password. Keys and other users
// it can't make: that takes modules that it lacks. One test of a program may ask for it.
func (s *Shared) Secured(t testing.TB, roles map[string]string) *Cluster {
	t.Helper()
	return s.get(t, secured(elasticsearch("8.19.0"), roles), 1)
}

// The superuser of secured clusters, and the password of all users.
const (
	User     = "lab"
	Password = "lab-password"
)

func (s *Shared) get(t testing.TB, p *product, nodes int) *Cluster {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all, s.tried = map[string]*Cluster{}, map[string]error{}
	}
	key := fmt.Sprintf("%s/%d", p.name, nodes)
	c, err := s.all[key], s.tried[key]
	if c == nil && err == nil {
		if c, err = start(p, nodes, s.Heap); err != nil {
			s.tried[key] = err
		} else {
			s.all[key] = c
		}
	}
	if missing := (*missingError)(nil); errors.As(err, &missing) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Logs())
		}
	})
	return c
}

// Cluster is a running cluster.
type Cluster struct {
	// Product is what runs, such as "elasticsearch-8.19.0".
	Product string

	p     *product
	dir   string
	home  *home
	heap  string
	nodes []*node
}

// tries is how often a cluster is tried to start: somebody else may take a port that was free.
const tries = 3

// start runs a cluster, and waits until all of its nodes have met.
func start(p *product, nodes int, heap string) (_ *Cluster, err error) {
	if heap == "" {
		heap = DefaultHeap
	}
	c := &Cluster{Product: p.name, p: p, heap: heap}
	removeLeft()
	if c.dir, err = os.MkdirTemp("", fmt.Sprintf("%s%d-", folders, os.Getpid())); err != nil {
		return nil, err
	}
	// Nodes run as another user where this one is root.
	if err := os.Chmod(c.dir, 0o755); err != nil {
		return nil, err
	}
	if c.home, err = p.install(c.dir); err != nil {
		os.RemoveAll(c.dir)
		return nil, err
	}
	for try := 1; ; try++ {
		if err = c.startAll(nodes); err == nil {
			return c, nil
		}
		err = fmt.Errorf("%s: %w\n%s", c.Product, err, c.Logs())
		c.stopAll()
		if !errors.Is(err, errEnded) || try == tries {
			os.RemoveAll(c.dir)
			return nil, err
		}
	}
}

// folders is what the names of folders of clusters begin with; the id of the process that made them follows.
const folders = "culprit-cluster-"

// removeLeft removes the folders of programs that were killed.
func removeLeft() {
	all, _ := filepath.Glob(filepath.Join(os.TempDir(), folders+"*")) // the pattern is right
	for _, dir := range all {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), folders), "-")
		if _, err := os.Stat("/proc/" + pid); pid != "" && errors.Is(err, os.ErrNotExist) && strings.Count(filepath.Base(dir), "-") == 3 {
			os.RemoveAll(dir)
		}
	}
}

func (c *Cluster) startAll(nodes int) error {
	ports, err := freePorts(2 * nodes)
	if err != nil {
		return err
	}
	var transports, names []string
	c.nodes = nil
	for i := range nodes {
		n := &node{name: fmt.Sprintf("n%d", i+1), http: ports[2*i], transport: ports[2*i+1]}
		n.dir = filepath.Join(c.dir, fmt.Sprintf("%s-%d", n.name, n.http))
		transports = append(transports, fmt.Sprintf("127.0.0.1:%d", n.transport))
		names = append(names, n.name)
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		n.settings = []setting{
			{"cluster.name", "lab"}, {"node.name", n.name}, {"network.host", "127.0.0.1"},
			{"http.port", fmt.Sprint(n.http)}, {"transport.port", fmt.Sprint(n.transport)},
			{"discovery.seed_hosts", strings.Join(transports, ",")}, {c.p.firstMasters, strings.Join(names, ",")},
			// The machine's disk is somebody else's business.
			{"cluster.routing.allocation.disk.threshold_enabled", "false"},
		}
		n.settings = append(n.settings, c.p.settings...)
		if err := c.run(n); err != nil {
			return err
		}
	}
	return c.wait(nodes)
}

// URLs are the addresses of all nodes, whether they are up or not.
func (c *Cluster) URLs() []string {
	var all []string
	for i := range c.nodes {
		all = append(all, c.URL(i))
	}
	return all
}

// URL is the address of one node.
func (c *Cluster) URL(node int) string {
	scheme := "http"
	if c.home.tls != nil {
		scheme = "https"
	}
	return fmt.Sprintf("%s://127.0.0.1:%d", scheme, c.nodes[node].http)
}

// CA is the certificate of a secured cluster, as PEM.
func (c *Cluster) CA() string { return c.home.ca }

// Kill ends a node at once, as kill -9 does.
func (c *Cluster) Kill(node int) { c.nodes[node].kill() }

// Start starts a node again that was killed, with what it has on disk, and waits until all that run have met.
func (c *Cluster) Start(t testing.TB, node int) {
	t.Helper()
	if err := c.run(c.nodes[node]); err != nil {
		t.Fatal(err)
	}
	up := 0
	for _, n := range c.nodes {
		if !n.down() {
			up++
		}
	}
	if err := c.wait(up); err != nil {
		t.Fatalf("%v\n%s", err, c.Logs())
	}
}

// Logs returns the ends of what the nodes have logged.
func (c *Cluster) Logs() string {
	var b strings.Builder
	for _, n := range c.nodes {
		fmt.Fprintf(&b, "-- %s %s\n%s\n", c.Product, n.name, n.tail())
	}
	return b.String()
}

// errEnded: a node has ended by itself.
var errEnded = errors.New("ended before it was up")

// wait waits until that many nodes are up, have met, and each shard has a place.
func (c *Cluster) wait(nodes int) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: c.home.tls, DisableKeepAlives: true}}
	for i, n := range c.nodes {
		if n.down() {
			continue
		}
		url := fmt.Sprintf("%s/_cluster/health?wait_for_nodes=%d&wait_for_status=yellow&timeout=1s", c.URL(i), nodes)
		for !healthy(ctx, &client, url) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("node %s isn't up after %v", n.name, Patience)
			case <-n.ended:
				return fmt.Errorf("node %s: %w", n.name, errEnded)
			case <-tick.C:
			}
		}
	}
	return nil
}

func healthy(ctx context.Context, client *http.Client, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	r.SetBasicAuth(User, Password) // who has no users doesn't look
	answer, err := client.Do(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err == nil && answer.StatusCode == http.StatusOK
}

func (c *Cluster) stopAll() {
	for _, n := range c.nodes {
		n.kill()
	}
}

func (c *Cluster) close() {
	c.stopAll()
	os.RemoveAll(c.dir)
}

// The ports of nodes are below those that the system gives to outgoing connections, so that a node that is started again
// finds its own free; programs that run at the same time begin in different places.
const (
	firstPort = 10000
	lastPort  = 30000
)

// freePorts returns ports of loopback that nobody listens on.
func freePorts(n int) (ports []int, err error) {
	begin := os.Getpid() * 37 % (lastPort - firstPort)
	for i := range lastPort - firstPort {
		port := firstPort + (begin+i)%(lastPort-firstPort)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close()
		if ports = append(ports, port); len(ports) == n {
			slices.Sort(ports)
			return ports, nil
		}
	}
	return nil, errors.New("no free ports")
}
