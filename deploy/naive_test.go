//go:build linux

package deploy_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// check holds the answer to a question against what follows from the documents, and returns how many numbers it has compared that aren't
// zero.
func (q *question) check(t *testing.T, answer map[string]any, documents []document) (compared int) {
	t.Helper()
	matching := chosen(t, q.query, documents)
	hits := answer["hits"].(map[string]any)
	if total := hits["total"].(map[string]any)["value"].(float64); int(total) != len(matching) {
		t.Errorf("%v documents match, not %d", total, len(matching))
	}
	if q.sort != nil {
		for field, order := range q.sort[0].(map[string]any) {
			checkSort(t, field, order.(map[string]any)["order"] == "desc", hits["hits"].([]any), matching)
		}
		return len(matching)
	}
	got, _ := answer["aggregations"].(map[string]any)
	return checkAll(t, "", q.aggs, got, matching)
}

// checkSort: what comes first is what has the largest value, or the smallest.
func checkSort(t *testing.T, field string, down bool, hits []any, documents []document) {
	t.Helper()
	ordered := slices.Clone(documents)
	slices.SortStableFunc(ordered, func(a, b document) int {
		order := compare(a.fields[field], b.fields[field])
		if down {
			return -order
		}
		return order
	})
	for i, h := range hits {
		fields := map[string][]any{}
		flatten(fields, "", h.(map[string]any)["_source"])
		if compare(fields[field], ordered[i].fields[field]) != 0 {
			t.Errorf("hit %d has %s %v, not %v", i, field, fields[field], ordered[i].fields[field])
		}
	}
}

func compare(a, b []any) int {
	if x, ok := a[0].(float64); ok {
		return cmp.Compare(x, b[0].(float64))
	}
	return cmp.Compare(a[0].(string), b[0].(string))
}

// checkAll compares the answers to aggregations over the same documents.
func checkAll(t *testing.T, path string, asked aggs, got map[string]any, documents []document) (compared int) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		a := asked[name].(map[string]any)
		inner, _ := a["aggs"].(map[string]any)
		for typ, p := range a {
			if typ == "aggs" {
				continue
			}
			answer, ok := got[name].(map[string]any)
			if !ok {
				t.Errorf("%s/%s: no answer", path, name)
				continue
			}
			p := p.(map[string]any)
			here := path + "/" + name
			switch typ {
			case "terms", "date_histogram", "auto_date_histogram", "filters", "geohash_grid", "geotile_grid":
				compared += checkBuckets(t, here, typ, p, inner, answer, documents)
			case "geo_centroid":
			default:
				compared += checkMetric(t, here, typ, p, answer, documents)
			}
		}
	}
	return compared
}

func numbers(field string, documents []document) (all []float64) {
	for _, d := range documents {
		for _, v := range d.fields[field] {
			all = append(all, v.(float64))
		}
	}
	slices.Sort(all)
	return all
}

func checkMetric(t *testing.T, path, typ string, p, answer map[string]any, documents []document) int {
	t.Helper()
	field := p["field"].(string)
	if typ == "cardinality" {
		different := map[any]bool{}
		for _, d := range documents {
			for _, v := range d.fields[field] {
				different[v] = true
			}
		}
		return equal(t, path, answer["value"], float64(len(different)), 0.02)
	}
	values := numbers(field, documents)
	total := 0.0
	for _, v := range values {
		total += v
	}
	switch typ {
	case "sum":
		return equal(t, path, answer["value"], total, 1e-9)
	case "avg", "max":
		if len(values) == 0 {
			if answer["value"] != nil {
				t.Errorf("%s: %v of nothing", path, answer["value"])
			}
			return 0
		}
		want := values[len(values)-1]
		if typ == "avg" {
			want = total / float64(len(values))
		}
		return equal(t, path, answer["value"], want, 1e-9)
	case "percentiles":
		compared := 0
		for i, pair := range answer["values"].([]any) {
			got := pair.(map[string]any)["value"]
			want := p["percents"].([]any)[i].(float64)
			if len(values) == 0 {
				if got != nil && got != "NaN" {
					t.Errorf("%s: %v of nothing", path, got)
				}
				continue
			}
			// A digest is right within some percent of the ranks, and lies between values that are far apart.
			n := float64(len(values))
			slack := max(n*3/100, 1)
			low := values[int(max(math.Floor(n*want/100-slack), 0))]
			high := values[int(min(math.Ceil(n*want/100+slack), n-1))]
			if v, ok := got.(float64); !ok || v < low*0.97 || v > high*1.03 {
				t.Errorf("%s: percentile %v is %v, not between %v and %v", path, want, got, low, high)
			}
			compared++
		}
		return compared
	}
	t.Fatalf("%s: nobody knows what %s means", path, typ)
	return 0
}

// equal compares two numbers, but for a part of them.
func equal(t *testing.T, path string, got any, want, part float64) int {
	t.Helper()
	if v, ok := got.(float64); !ok || math.Abs(v-want) > part*math.Abs(want) {
		t.Errorf("%s: %v, not %v", path, got, want)
	}
	if want == 0 {
		return 0
	}
	return 1
}

func weight(documents []document) (w float64) {
	for _, d := range documents {
		w += d.weight
	}
	return w
}

func checkBuckets(t *testing.T, path, typ string, p, inner, answer map[string]any, documents []document) (compared int) {
	t.Helper()
	var buckets []map[string]any
	switch b := answer["buckets"].(type) {
	case []any:
		for _, one := range b {
			buckets = append(buckets, one.(map[string]any))
		}
	case map[string]any: // filters, by name
		for name, one := range b {
			one := one.(map[string]any)
			one["key"] = name
			buckets = append(buckets, one)
		}
	}
	groups := grouped(t, typ, p, buckets, documents)
	want := len(groups)
	if size, ok := p["size"].(float64); ok {
		want = min(want, int(size))
	}
	if typ == "date_histogram" || typ == "terms" || typ == "filters" {
		if len(buckets) != want {
			t.Errorf("%s: %d buckets, not %d", path, len(buckets), want)
		}
	}
	if typ == "geohash_grid" || typ == "geotile_grid" { // where the cells are is the cluster's affair
		var inAll float64
		for _, b := range buckets {
			inAll += b["doc_count"].(float64)
		}
		return equal(t, path, inAll, weight(documentsWith(p["field"].(string), documents)), 0)
	}
	for _, b := range buckets {
		key := keyOf(b)
		here := path + "[" + key + "]"
		compared += equal(t, here, b["doc_count"], weight(groups[key]), 0)
		compared += checkAll(t, here, inner, b, groups[key])
	}
	if order, ok := p["order"].(map[string]any); ok {
		checkOrder(t, path, order, inner, buckets, groups)
	}
	return compared
}

func documentsWith(field string, documents []document) (with []document) {
	for _, d := range documents {
		if d.fields[field] != nil {
			with = append(with, d)
		}
	}
	return with
}

// grouped are the documents by the keys of the buckets that they belong to.
func grouped(t *testing.T, typ string, p map[string]any, buckets []map[string]any, documents []document) map[string][]document {
	t.Helper()
	groups := map[string][]document{}
	switch typ {
	case "terms":
		for _, d := range documents {
			values := d.fields[p["field"].(string)]
			if values == nil && p["missing"] != nil {
				values = []any{p["missing"]}
			}
			for _, v := range values {
				key := termKey(v)
				groups[key] = append(groups[key], d)
			}
		}
	case "date_histogram":
		for _, d := range documents {
			key := termKey(float64(d.at - d.at%time.Minute.Milliseconds()))
			groups[key] = append(groups[key], d)
		}
	case "auto_date_histogram": // the cluster chooses how wide the buckets are
		for i, b := range buckets {
			from, until := b["key"].(float64), math.Inf(1)
			if i+1 < len(buckets) {
				until = buckets[i+1]["key"].(float64)
			}
			for _, d := range documents {
				if at := float64(d.at); from <= at && at < until {
					groups[keyOf(b)] = append(groups[keyOf(b)], d)
				}
			}
		}
		if total := 0; len(buckets) > 1 {
			for _, g := range groups {
				total += len(g)
			}
			if total != len(documents) {
				t.Errorf("%d documents are in the buckets, not %d", total, len(documents))
			}
		} else {
			t.Errorf("%d buckets over time", len(buckets))
		}
	case "filters":
		for name, f := range p["filters"].(map[string]any) {
			groups[name] = chosen(t, f.(map[string]any)["query_string"].(map[string]any)["query"].(string), documents)
		}
	}
	return groups
}

func keyOf(bucket map[string]any) string { return termKey(bucket["key"]) }

func termKey(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// checkOrder: the first buckets are those with the most, and no group that was left out has more than the last.
func checkOrder(t *testing.T, path string, order, inner map[string]any, buckets []map[string]any, groups map[string][]document) {
	t.Helper()
	for by := range order {
		value := func(key string) float64 {
			if by == "_count" {
				return weight(groups[key])
			}
			for typ, p := range inner[by].(map[string]any) {
				values := numbers(p.(map[string]any)["field"].(string), groups[key])
				if typ == "max" {
					return append([]float64{math.Inf(-1)}, values...)[len(values)]
				} else if typ != "sum" {
					t.Fatalf("%s: nobody knows how to order by %s", path, typ)
				}
				total := 0.0
				for _, v := range values {
					total += v
				}
				return total
			}
			return 0
		}
		last := math.Inf(1)
		in := map[string]bool{}
		for _, b := range buckets {
			v := value(keyOf(b))
			if v > last {
				t.Errorf("%s: %s comes after less", path, keyOf(b))
			}
			last = v
			in[keyOf(b)] = true
		}
		for key := range groups {
			if !in[key] && value(key) > last {
				t.Errorf("%s: %s is left out", path, key)
			}
		}
	}
}

var atom = regexp.MustCompile(`^(NOT )?([a-z_@][a-z_.@0-9]*):(>=|>)?([^ ()]+|\([^()]+\))$`)

// chosen are the documents that a query selects. It knows of Lucene's syntax what the panels use.
func chosen(t *testing.T, query string, documents []document) (matching []document) {
	t.Helper()
	matching = documents
	if query == "" {
		return matching
	}
	for _, term := range strings.Split(query, " AND ") {
		m := atom.FindStringSubmatch(term)
		if m == nil {
			t.Fatalf("nobody knows what %q means", term)
		}
		negated, field, operator, value := m[1] != "", m[2], m[3], m[4]
		limit, err := strconv.ParseFloat(value, 64)
		if err != nil && operator != "" {
			t.Fatal(err)
		}
		holds := func(v any) bool {
			switch operator {
			case ">":
				return v.(float64) > limit
			case ">=":
				return v.(float64) >= limit
			}
			return slices.Contains(strings.Split(strings.Trim(value, "()"), " OR "), termKey(v))
		}
		var those []document
		for _, d := range matching {
			is := slices.ContainsFunc(d.fields[field], holds)
			if field == "_exists_" {
				is = d.fields[value] != nil
			}
			if is != negated {
				those = append(those, d)
			}
		}
		matching = those
	}
	return matching
}
