package deploy_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// use is a field that an object uses, and for what: an aggregation's type, or "query", "column", "sort", "format".
type use struct{ field, as string }

// fits are the types of Elasticsearch that a field may have for a use. A use that isn't here takes all.
var fits = map[string][]string{
	"sum": {"long"}, "avg": {"long"}, "max": {"long"},
	"percentiles":         {"long", "histogram"},
	"cardinality":         {"keyword", "long", "ip", "wildcard"},
	"terms":               {"keyword", "long", "ip", "wildcard", "boolean"},
	"date_histogram":      {"date_nanos"},
	"auto_date_histogram": {"date_nanos"},
	"geohash_grid":        {"geo_point"},
	"geo_point":           {"geo_point"},
	"query":               {"keyword", "long", "ip", "wildcard", "boolean", "date_nanos"},
	"_exists_":            {"keyword", "long", "ip", "wildcard", "boolean", "date", "date_nanos", "geo_point"},
	"sort":                {"keyword", "long", "ip", "wildcard", "boolean", "date_nanos"},
	"duration":            {"long", "histogram"}, "bytes": {"long"}, "number": {"long", "double"},
}

var row = regexp.MustCompile("^\\| `([^`]+)` \\|(.*)$")

// documented returns the fields of docs/fields.md with their types: those of exchanges and those of rollups.
func documented(t *testing.T) (views map[string]map[string]string) {
	t.Helper()
	page, err := os.ReadFile("../docs/fields.md")
	if err != nil {
		t.Fatal(err)
	}
	exchanges, rollups := map[string]string{}, map[string]string{}
	into := exchanges
	for _, line := range strings.Split(string(page), "\n") {
		if strings.HasPrefix(line, "#") {
			if strings.Contains(strings.ToLower(line), "rollup") {
				into = rollups
			} else if strings.HasPrefix(line, "##") {
				into = map[string]string{} // tables of values
			}
		}
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		for _, cell := range strings.Split(m[2], "|") {
			if cell = strings.TrimSpace(cell); isType(cell) {
				into[m[1]] = cell
				break
			}
		}
	}
	return map[string]map[string]string{"culprit-exchanges": exchanges, "culprit-rollups": rollups}
}

func isType(s string) bool {
	return slices.Contains([]string{"keyword", "long", "ip", "wildcard", "boolean", "double", "date", "date_nanos", "geo_point", "histogram", "flattened", "match_only_text"}, s)
}

var asked = regexp.MustCompile(`(?:^| |\()([a-z_@][a-z_.@0-9]*):(\S+)`)

// queried returns the fields of a query in Lucene's syntax.
func queried(query string) (uses []use) {
	for _, m := range asked.FindAllStringSubmatch(query, -1) {
		if m[1] == "_exists_" {
			uses = append(uses, use{m[2], "_exists_"})
			continue
		}
		uses = append(uses, use{m[1], "query"})
	}
	return uses
}

// uses returns the fields that an object uses.
func (o *saved) uses(t *testing.T) (all []use) {
	t.Helper()
	switch o.Type {
	case "visualization":
		all = queried(o.source(t).Query.Query)
		v := o.state(t)
		for _, a := range v.Aggs {
			if field, ok := a.Params["field"].(string); ok {
				all = append(all, use{field, a.Type})
			}
			filters, _ := a.Params["filters"].([]any)
			for _, f := range filters {
				all = append(all, queried(f.(map[string]any)["input"].(map[string]any)["query"].(string))...)
			}
		}
		if spec, ok := v.Params["spec"].(string); ok {
			var s map[string]any
			decode(t, o.ID, spec, &s)
			all = append(all, aggregated(s)...)
		}
	case "search":
		all = queried(o.source(t).Query.Query)
		for _, c := range o.Attributes["columns"].([]any) {
			all = append(all, use{c.(string), "column"})
		}
		for _, s := range o.Attributes["sort"].([]any) {
			all = append(all, use{s.([]any)[0].(string), "sort"})
		}
	case "map":
		var layers []struct{ SourceDescriptor struct{ GeoField string } }
		o.inner(t, "layerListJSON", &layers)
		for _, l := range layers {
			if field := l.SourceDescriptor.GeoField; field != "" {
				all = append(all, use{field, "geo_point"})
			}
		}
	case "index-pattern":
		all = append(all, use{o.text("timeFieldName"), "date_histogram"})
		var formats map[string]struct{ ID string }
		o.inner(t, "fieldFormatMap", &formats)
		for field, f := range formats {
			all = append(all, use{field, f.ID})
		}
		var fields []struct{ Name string }
		o.inner(t, "fields", &fields)
		for _, f := range fields {
			all = append(all, use{f.Name, "column"})
		}
	}
	return all
}

// aggregated returns the fields of aggregations as the cluster is asked them, wherever they are in v.
func aggregated(v any) (all []use) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			if m, ok := inner.(map[string]any); ok {
				if field, ok := m["field"].(string); ok && fits[key] != nil {
					all = append(all, use{field, key})
				}
			}
			all = append(all, aggregated(inner)...)
		}
	case []any:
		for _, inner := range v {
			all = append(all, aggregated(inner)...)
		}
	}
	return all
}

// TestFields: every field that an object uses is on the page of fields, and of a type that fits.
func TestFields(t *testing.T) {
	views := documented(t)
	if len(views["culprit-exchanges"]) < 100 || len(views["culprit-rollups"]) < 20 {
		t.Fatalf("docs/fields.md has %d fields of exchanges and %d of rollups", len(views["culprit-exchanges"]), len(views["culprit-rollups"]))
	}
	for _, f := range files(t) {
		n := 0
		for _, o := range f.objects {
			view := o.view()
			if o.Type == "index-pattern" {
				view = o.ID
			} else if view == "" && strings.Contains(o.text("visState"), `"spec"`) {
				view = "culprit-rollups"
			}
			for _, u := range o.uses(t) {
				n++
				typ := views[view][u.field]
				if typ == "" {
					t.Errorf("%s: %s %s uses %s, which isn't in docs/fields.md among those of %s", f.product, o.Type, o.ID, u.field, view)
				} else if want := fits[u.as]; want != nil && !slices.Contains(want, typ) {
					t.Errorf("%s: %s %s uses %s as %s, but it is of type %s", f.product, o.Type, o.ID, u.field, u.as, typ)
				}
				if strings.HasPrefix(f.product.String(), "OpenSearch") && typ == "histogram" {
					t.Errorf("%s: %s %s uses %s, but OpenSearch has no histograms", f.product, o.Type, o.ID, u.field)
				}
			}
		}
		if n < 200 {
			t.Errorf("%s: found only %d uses of fields", f.product, n)
		}
	}
}
