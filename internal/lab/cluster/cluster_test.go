//go:build linux

package cluster

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

var clusters Shared

func TestMain(m *testing.M) { os.Exit(clusters.Run(m)) }

// get returns what a node answers.
func get(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A node that is killed is gone, the others go on without it, and it comes back.
func TestKillAndStart(t *testing.T) {
	for _, product := range []struct {
		name  string
		start func(testing.TB, int) *Cluster
	}{{"elasticsearch", clusters.Elasticsearch}, {"opensearch", clusters.OpenSearch}} {
		t.Run(product.name, func(t *testing.T) {
			c := product.start(t, 3)
			if product.start(t, 3) != c {
				t.Error("a second cluster was started")
			}
			const nodes = "/_cat/nodes?h=name"
			if all := get(t, c.URL(0)+nodes); strings.Count(all, "\n") != 3 {
				t.Errorf("nodes: %q", all)
			}
			c.Kill(1)
			if _, err := http.Get(c.URL(1)); err == nil {
				t.Error("a killed node answers")
			}
			health := get(t, c.URL(0)+"/_cluster/health?wait_for_nodes=2&timeout=60s")
			if !strings.Contains(health, `"number_of_nodes":2`) {
				t.Errorf("without a node: %s", health)
			}
			c.Start(t, 1)
			if all := get(t, c.URL(1)+nodes); strings.Count(all, "\n") != 3 {
				t.Errorf("nodes: %q", all)
			}
		})
	}
}
