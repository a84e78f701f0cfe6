//go:build linux

package remote

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/lab/cluster"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/storetest"
)

var clusters cluster.Shared

func TestMain(m *testing.M) { os.Exit(clusters.Run(m)) }

// client returns a client of a cluster.
func client(t testing.TB, urls ...string) *elastic.Client {
	t.Helper()
	var o elastic.Options
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		o.URLs = append(o.URLs, u)
	}
	c, err := elastic.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// template makes a template for the indices of all stores of the tests, of that which agents make.
func template(t testing.TB, c *elastic.Client) {
	t.Helper()
	ctx := context.Background()
	if _, err := c.Setup(ctx, elastic.Setup{Index: "suite"}); err != nil {
		t.Fatal(err)
	}
	var have struct {
		Templates []struct {
			Template map[string]any `json:"index_template"`
		} `json:"index_templates"`
	}
	if err := c.JSON(ctx, "GET", "/_index_template/suite-exchanges", nil, &have); err != nil || len(have.Templates) != 1 {
		t.Fatal(err, have)
	}
	made := have.Templates[0].Template
	made["index_patterns"], made["priority"] = []string{"suite*-exchanges-*"}, 300
	settings := made["template"].(map[string]any)["settings"].(map[string]any)["index"].(map[string]any)
	settings["number_of_replicas"], settings["store.stats_refresh_interval"] = "0", "0" // sizes are told at once
	if err := c.JSON(ctx, "PUT", "/_index_template/suites", made, nil); err != nil {
		t.Fatal(err)
	}
}

// empty returns an empty store of its own in a cluster.
func empty(t testing.TB, c *elastic.Client, name string) *Store {
	t.Helper()
	s, err := Open(context.Background(), c, Options{Index: name, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := s.Delete(context.Background(), store.Retention{MaxBytes: 1}); err != nil {
			t.Error(err)
		}
	})
	return s
}

// share is one question in how many is asked, but in soak tests: a cluster takes some milliseconds for each.
const share = 20

func suite(t *testing.T, c *elastic.Client) {
	template(t, c)
	n := 0
	open := func(t testing.TB) store.Store {
		n++
		return empty(t, c, fmt.Sprintf("suite%d-%d", os.Getpid(), n))
	}
	reopen := func(t testing.TB, old store.Store) store.Store {
		s, err := Open(context.Background(), c, old.(*Store).options)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	e := storetest.Engine{Open: open, Reopen: reopen, Order: shown, Share: share}
	if os.Getenv("CULPRIT_SOAK") != "" {
		e.Share = 1
	}
	e.Test(t)
}

func TestElasticsearch(t *testing.T) { suite(t, client(t, clusters.Elasticsearch(t, 1).URLs()...)) }
func TestOpenSearch(t *testing.T)    { suite(t, client(t, clusters.OpenSearch(t, 1).URLs()...)) }

// The oldest that is supported.
func TestElasticsearch7(t *testing.T) {
	if os.Getenv("CULPRIT_SOAK") == "" {
		t.Skip("takes another cluster: set CULPRIT_SOAK")
	}
	suite(t, client(t, clusters.Elasticsearch7(t, 1).URLs()...))
}
