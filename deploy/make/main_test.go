package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpToDate: the files are what the tables make.
func TestUpToDate(t *testing.T) {
	made := outputs()
	for path, want := range made {
		got, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s isn't what this program makes: run go generate ./deploy", path)
		}
	}
	for _, pattern := range []string{"kibana/*.ndjson", "opensearch-dashboards/*.ndjson", "grafana/*.json"} {
		there, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range there {
			if made[filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))] == nil {
				t.Errorf("nobody makes %s", path)
			}
		}
	}
}

// TestMissingHasNames: only texts can have a name in place of a value.
func TestMissingHasNames(t *testing.T) {
	types := map[string]string{}
	for _, s := range []source{exchanges, rollups} {
		for _, c := range columnsOf(s) {
			types[c.name] = families[c.typ]
		}
	}
	for _, p := range []product{kibana, openSearch} {
		for _, panel := range panels(p) {
			for _, a := range panel.aggregations {
				if a.params["missingBucket"] == true && types[a.params["field"].(string)] != "string" {
					t.Errorf("%s: %s has no place for %q", panel.id, a.params["field"], a.params["missingBucketLabel"])
				}
			}
			if first := panel.aggregations; first != nil && (first[0].schema != "metric" || first[0].typ == "percentiles" && panel.chart != lines) {
				t.Errorf("%s: buckets can't be ordered by %s", panel.id, first[0].typ)
			}
		}
	}
}

// TestVegaNames: names that a Vega specification gives to values have no points or brackets: those would lead into objects.
func TestVegaNames(t *testing.T) {
	n := 0
	var check func(v any)
	check = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, inner := range v {
				if key == "as" || key == "fold" {
					n++
					if text := compact(inner); strings.ContainsAny(strings.Trim(text, "[]"), ".[]\\") {
						t.Errorf("%s: %s", key, text)
					}
				}
				check(inner)
			}
		case []any:
			for _, inner := range v {
				check(inner)
			}
		}
	}
	for _, spec := range []string{heatMap(), shares()} {
		var v any
		if err := json.Unmarshal([]byte(spec), &v); err != nil {
			t.Fatal(err)
		}
		check(v)
	}
	if n < 15 {
		t.Errorf("found only %d names", n)
	}
}
