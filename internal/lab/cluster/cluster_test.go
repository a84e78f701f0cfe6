//go:build linux

package cluster

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
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
	if os.Getenv("CULPRIT_SOAK") == "" {
		t.Skip("takes clusters of its own, which other packages kill nodes of, too: set CULPRIT_SOAK")
	}
	nodes := 1
	if os.Getenv("CULPRIT_SOAK") != "" {
		nodes = 3
	}
	for _, product := range []struct {
		name  string
		start func(testing.TB, int) *Cluster
	}{{"elasticsearch", clusters.Elasticsearch}, {"opensearch", clusters.OpenSearch}} {
		t.Run(product.name, func(t *testing.T) {
			c := product.start(t, nodes)
			if product.start(t, nodes) != c {
				t.Error("a second cluster was started")
			}
			const names = "/_cat/nodes?h=name"
			last := nodes - 1
			if all := get(t, c.URL(0)+names); strings.Count(all, "\n") != nodes {
				t.Errorf("nodes: %q", all)
			}
			c.Kill(last)
			if _, err := http.Get(c.URL(last)); err == nil {
				t.Error("a killed node answers")
			}
			if nodes > 1 {
				health := get(t, c.URL(0)+"/_cluster/health?wait_for_nodes=2&timeout=60s")
				if !strings.Contains(health, `"number_of_nodes":2`) {
					t.Errorf("without a node: %s", health)
				}
			}
			c.Start(t, last)
			if all := get(t, c.URL(last)+names); strings.Count(all, "\n") != nodes {
				t.Errorf("nodes: %q", all)
			}
		})
	}
}

// What a machine lacks is told apart from what goes wrong.
func TestMissing(t *testing.T) {
	missing := (*missingError)(nil)
	if _, err := findJava(1000); !errors.As(err, &missing) {
		t.Errorf("Java 1000: %v", err)
	}
	t.Setenv("PATH", "")
	if err := maven(t.TempDir(), "-v"); !errors.As(err, &missing) {
		t.Errorf("without mvn: %v", err)
	}
}

// What a killed program has left is removed, and nothing else.
func TestRemoveLeft(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	gone, mine, other := folders+"999999999-1", folders+"1-1", folders+"x"
	for _, name := range []string{gone, mine, other} {
		if err := os.MkdirAll(filepath.Join(dir, name, "n1"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	removeLeft()
	for name, stays := range map[string]bool{gone: false, mine: true, other: true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}
