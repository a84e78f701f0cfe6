//go:build linux

package elastic_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/lab/cluster"
	"github.com/culprit-http/culprit/internal/rollup"
)

var clusters cluster.Shared

func TestMain(m *testing.M) { os.Exit(clusters.Run(m)) }

// products are the clusters of one node that tests run against.
var products = []struct {
	name  string
	start func(testing.TB, int) *cluster.Cluster
	soak  bool // in long runs only
}{
	{"elasticsearch", clusters.Elasticsearch, true},
	{"opensearch", clusters.OpenSearch, false},
	{"elasticsearch 7", clusters.Elasticsearch7, true},
	{"elasticsearch 9", clusters.Elasticsearch9, true},
	{"opensearch 3", clusters.OpenSearch3, true},
}

// onClusters runs a test against each product.
func onClusters(t *testing.T, test func(t *testing.T, c *elastic.Client)) {
	for _, p := range products {
		t.Run(p.name, func(t *testing.T) {
			if p.soak && os.Getenv("CULPRIT_SOAK") == "" {
				t.Skip("takes another cluster: set CULPRIT_SOAK")
			}
			test(t, client(t, p.start(t, 1).URLs()...))
		})
	}
}

func client(t *testing.T, addresses ...string) *elastic.Client {
	t.Helper()
	urls, auth, err := endpoint.ParseURLs(strings.Join(addresses, ","), elastic.Schemes(), 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := elastic.New(elastic.Options{URLs: urls, Endpoint: endpoint.Options{Auth: auth}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// types returns the type of each field of a mapping, multi-fields among them.
func types(into map[string]string, prefix string, properties map[string]any) map[string]string {
	for name, p := range properties {
		p := p.(map[string]any)
		if kind, ok := p["type"].(string); ok {
			into[prefix+name] = kind
		}
		for _, inner := range []string{"properties", "fields"} {
			if m, ok := p[inner].(map[string]any); ok {
				types(into, prefix+name+".", m)
			}
		}
	}
	return into
}

// A cluster takes the templates, and an index that is made by them has the types that the tables of fields name, or what
// stands in for a type that the cluster lacks.
func TestTemplates(t *testing.T) {
	onClusters(t, func(t *testing.T, c *elastic.Client) {
		ctx := context.Background()
		p, err := c.Product(ctx)
		if err != nil || p.OpenSearch != strings.HasPrefix(t.Name(), "TestTemplates/opensearch") || p.Major == 0 {
			t.Fatalf("product %+v, %v", p, err)
		}
		t.Log(p)
		for _, dry := range []bool{true, false} {
			steps, err := c.Setup(ctx, elastic.Setup{Index: "types", Keep: 3, DryRun: dry})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range steps {
				t.Log(s.Text)
			}
			_, err = c.Do(ctx, &elastic.Request{Method: http.MethodGet, Path: "/_index_template/types-exchanges"})
			if (err != nil) != dry {
				t.Errorf("dry run %v: %v", dry, err)
			}
		}
		standIns := map[string][]string{
			"flattened": {"flat_object", "object"}, "wildcard": {"keyword"}, "match_only_text": {"text"}, "histogram": {"object"},
		}
		check := func(index, name, kind string, have map[string]string) {
			got := have[name]
			for _, instead := range standIns[kind] {
				if got == instead {
					return
				}
			}
			if got != kind {
				t.Errorf("%s: %s is mapped as %q, want %q", index, name, got, kind)
			}
		}
		for _, kind := range []string{elastic.Exchanges, elastic.Rollups} {
			index := "types-" + kind + "-2026.11.22"
			if err := c.JSON(ctx, http.MethodPut, "/"+index, nil, nil); err != nil {
				t.Fatal(err)
			}
			var all map[string]struct {
				Mappings struct {
					Dynamic    any
					Properties map[string]any
				}
			}
			if err := c.JSON(ctx, http.MethodGet, "/"+index+"/_mapping", nil, &all); err != nil {
				t.Fatal(err)
			}
			m := all[index].Mappings
			if m.Dynamic != "false" {
				t.Errorf("%s: dynamic is %v", index, m.Dynamic)
			}
			have := types(map[string]string{}, "", m.Properties)
			if kind == elastic.Exchanges {
				for _, f := range exchange.Fields {
					check(index, f.Name, f.Type, have)
				}
				for _, f := range []string{"client.ip.keyword", "error.message.keyword"} {
					check(index, f, "keyword", have)
				}
			} else {
				for _, f := range rollup.Fields {
					check(index, f.Name, f.Type, have)
				}
			}
		}
	})
}

// A template of a newer program stays, one of an older is replaced, and one of the same stays unless told otherwise.
func TestTemplateVersions(t *testing.T) {
	onClusters(t, func(t *testing.T, c *elastic.Client) {
		ctx := context.Background()
		const path = "/_index_template/versions-exchanges"
		for _, test := range []struct {
			version int
			replace bool
			put     bool
		}{{0, false, true}, {elastic.TemplateVersion, false, false}, {elastic.TemplateVersion, true, true}, {elastic.TemplateVersion + 1, true, false}} {
			old := map[string]any{"index_patterns": []string{"versions-exchanges-*"}, "version": test.version, "_meta": map[string]any{"old": true}}
			if err := c.JSON(ctx, http.MethodPut, path, old, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Setup(ctx, elastic.Setup{Index: "versions", Replace: test.replace}); err != nil {
				t.Fatal(err)
			}
			text, err := c.Do(ctx, &elastic.Request{Method: http.MethodGet, Path: path})
			if err != nil {
				t.Fatal(err)
			}
			if put := !bytes.Contains(text, []byte(`"old":true`)); put != test.put {
				t.Errorf("%+v: put is %v", test, put)
			}
		}
	})
}

// What a cluster refuses is an error that says what, and why.
func TestRefusals(t *testing.T) {
	onClusters(t, func(t *testing.T, c *elastic.Client) {
		for _, test := range []struct {
			method, path, body string
			status             int
			want               string
		}{
			{http.MethodGet, "/nosuch/_search", "", 404, "index_not_found_exception: no such index [nosuch]: there is no such index"},
			{http.MethodPost, "/_search", `{"query":{"nosuch":{}}}`, 400, "unknown query [nosuch]"},
			{http.MethodPut, "/Upper", "", 400, "invalid_index_name_exception"},
			{http.MethodDelete, "/_bulk", "", 405, "allowed"},
		} {
			_, err := c.Do(context.Background(), &elastic.Request{Method: test.method, Path: test.path, Body: []byte(test.body)})
			e, ok := err.(*elastic.Error)
			if !ok || e.Status != test.status || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v", test.path, err)
			}
		}
	})
}
