//go:build linux

package deploy_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// aggs are aggregations as a cluster is asked them.
type aggs = map[string]any

// question is what an object asks of its data view.
type question struct {
	view  string
	query string
	aggs  aggs
	sort  []any
}

// body is the question as it is sent.
func (q *question) body(t *testing.T) []byte {
	t.Helper()
	b := map[string]any{"size": 0, "track_total_hits": true, "query": map[string]any{"match_all": map[string]any{}}}
	if q.query != "" {
		b["query"] = map[string]any{"query_string": map[string]any{"query": q.query, "analyze_wildcard": true}}
	}
	if q.aggs != nil {
		b["aggs"] = q.aggs
	}
	if q.sort != nil {
		b["sort"], b["size"] = q.sort, 10
	}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// has reports whether a text is in the question.
func (q *question) has(s string) bool {
	text, err := json.Marshal(q.aggs)
	if err != nil {
		panic(err) // it was made of JSON
	}
	return strings.Contains(string(text), s)
}

// questions returns what the products ask for an object, as they derive it from its state.
func (o *saved) questions(t *testing.T) []question {
	t.Helper()
	switch o.Type {
	case "search":
		order := map[string]any{}
		for _, s := range o.Attributes["sort"].([]any) {
			pair := s.([]any)
			order[pair[0].(string)] = map[string]any{"order": pair[1], "unmapped_type": "boolean"}
		}
		return []question{{view: o.view(), query: o.source(t).Query.Query, sort: []any{order}}}
	case "map":
		var layers []struct {
			SourceDescriptor struct{ Type, GeoField string }
		}
		o.inner(t, "layerListJSON", &layers)
		for _, l := range layers {
			if l.SourceDescriptor.Type == "ES_GEO_GRID" {
				return []question{{view: o.view(), aggs: aggs{"gridSplit": aggs{"geotile_grid": map[string]any{"field": l.SourceDescriptor.GeoField, "precision": 5}}}}}
			}
		}
		t.Errorf("%s asks for nothing", o.ID)
	case "visualization":
		v := o.state(t)
		if spec, ok := v.Params["spec"].(string); ok {
			var s struct {
				Data struct {
					URL struct {
						Index string
						Body  struct{ Aggs aggs }
					}
				}
			}
			decode(t, o.ID, spec, &s)
			return []question{{view: strings.TrimSuffix(s.Data.URL.Index, "-*"), aggs: s.Data.URL.Body.Aggs}}
		}
		if v.Type == "markdown" {
			return nil
		}
		return []question{{view: o.view(), query: o.source(t).Query.Query, aggs: nested(t, v.Aggs)}}
	}
	return nil
}

// nested makes of the aggregations of a visualization what the cluster is asked: each that makes buckets holds the one after it,
// with the metric that orders it, and the last one all metrics.
func nested(t *testing.T, all []visAgg) aggs {
	t.Helper()
	metrics := aggs{}
	byID := map[string]visAgg{}
	var buckets []visAgg
	for _, a := range all {
		byID[a.ID] = a
		if a.Schema != "metric" {
			buckets = append(buckets, a)
		} else if a.Type != "count" { // every bucket has a count
			metrics[a.ID] = translated(t, a)
		}
	}
	inner := metrics
	for i := len(buckets) - 1; i >= 0; i-- {
		b := buckets[i]
		made := translated(t, b)
		if order, ok := b.Params["orderBy"].(string); ok {
			by := "_count"
			if m := byID[order]; m.Type != "count" {
				by = order
				if inner[order] == nil {
					inner[order] = translated(t, m)
				}
			}
			made["terms"].(map[string]any)["order"] = map[string]any{by: b.Params["order"]}
		}
		if len(inner) > 0 {
			made["aggs"] = inner
		}
		inner = aggs{b.ID: made}
	}
	return inner
}

// translated is one aggregation as the cluster is asked it.
func translated(t *testing.T, a visAgg) map[string]any {
	t.Helper()
	p := map[string]any{}
	if field := a.Params["field"]; field != nil {
		p["field"] = field
	}
	switch a.Type {
	case "sum", "avg", "max", "cardinality":
	case "percentiles":
		p["percents"], p["keyed"] = a.Params["percents"], false
	case "terms":
		p["size"] = a.Params["size"]
		if a.Params["missingBucket"] == true {
			p["missing"] = "__missing__"
		}
	case "date_histogram":
		p["fixed_interval"], p["time_zone"], p["min_doc_count"] = "1m", "UTC", 1 // what "auto" and "m" come to for the sample
	case "filters":
		named := map[string]any{}
		for _, f := range a.Params["filters"].([]any) {
			f := f.(map[string]any)
			named[f["label"].(string)] = map[string]any{"query_string": map[string]any{"query": f["input"].(map[string]any)["query"], "analyze_wildcard": true}}
		}
		p["filters"] = named
	case "geohash_grid":
		p["precision"] = a.Params["precision"]
		return map[string]any{a.Type: p, "aggs": aggs{"centroid": map[string]any{"geo_centroid": map[string]any{"field": a.Params["field"]}}}}
	default:
		t.Fatalf("nobody knows what %s asks", a.Type)
	}
	return map[string]any{a.Type: p}
}
