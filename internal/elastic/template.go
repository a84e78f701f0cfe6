package elastic

import (
	"maps"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/rollup"
)

// TemplateVersion is the version of the index templates. It is raised with each change of them, so that the newest of many
// agents has its way.
const TemplateVersion = 4

// DefaultIndex is the prefix of the names of indices, unless told.
const DefaultIndex = "culprit"

// The kinds of index, which stand after the prefix.
const (
	Exchanges = "exchanges"
	Rollups   = "rollups"
)

const (
	// maxKeyword is the longest text that is indexed, in UTF-16 units: Lucene takes no term above 32,766 bytes, and a unit has
	// at most three. What is longer stays in the document, and isn't found.
	maxKeyword = 32766 / 3
	// maxHeader is the same for the values of headers: their names take room in the terms, too.
	maxHeader = 8191
	// priority is that of the templates; the products' own ones are at 100 and 200.
	priority = 250
)

// property is the mapping of one field.
type property map[string]any

// keyword is a text that is compared as a whole.
func keyword() property { return property{"type": "keyword", "ignore_above": maxKeyword} }

// with adds the text as a whole beside a field.
func (p property) with() property {
	p = maps.Clone(p)
	p["fields"] = property{"keyword": keyword()}
	return p
}

// choice is one way to map a type.
type choice struct {
	property
	// elasticsearch and opensearch: who may know it.
	elasticsearch, opensearch bool
}

// ways are how types of the tables of fields are mapped, best first. A cluster that doesn't know one, because it is older or
// lacks a module, gets the next. Types that aren't here are mapped as they are.
var ways = map[string][]choice{
	"keyword": {{keyword(), true, true}},
	// OpenSearch's wildcard can't be sorted and grouped by.
	"wildcard":        {{property{"type": "wildcard"}, true, false}, {keyword(), true, true}},
	"match_only_text": {{property{"type": "match_only_text"}.with(), true, true}, {property{"type": "text", "norms": false}.with(), true, true}},
	"ip":              {{property{"type": "ip"}.with(), true, true}},
	"flattened": {
		{property{"type": "flattened", "ignore_above": maxHeader}, true, false},
		{property{"type": "flat_object"}, false, true},
		{property{"type": "object", "enabled": false}, true, true},
	},
	"histogram": {{property{"type": "histogram"}, true, false}, {property{"type": "object", "enabled": false}, true, true}},
}

// types says how types are mapped for a cluster.
type types struct {
	product Product
	// unknown are the types that the cluster has said it doesn't know.
	unknown map[string]bool
}

// property returns the mapping of a type.
func (t *types) property(kind string) property {
	for _, way := range ways[kind] {
		fits := way.elasticsearch
		if t.product.OpenSearch {
			fits = way.opensearch
		}
		if name, _ := way.property["type"].(string); fits && !t.unknown[name] {
			return maps.Clone(way.property)
		}
	}
	return property{"type": kind}
}

// field is a field of documents.
type field struct{ name, kind string }

// fields returns the fields of the documents of a kind of index.
func fields(kind string) (all []field) {
	if kind == Rollups {
		for i := range rollup.Fields {
			all = append(all, field{rollup.Fields[i].Name, rollup.Fields[i].Type})
		}
		return all
	}
	for i := range exchange.Fields {
		all = append(all, field{exchange.Fields[i].Name, exchange.Fields[i].Type})
	}
	// What documents need so that the exchange can be made again of them isn't asked for, but for these.
	for _, side := range []string{"request", "response"} {
		for _, name := range []string{"trailers", "folded"} {
			all = append(all, field{"culprit.stored." + side + "." + name, "keyword"})
		}
	}
	return all
}

// mapping returns the mapping of fields: exact types, and nothing that isn't in the tables is indexed, so that documents of
// others, or of later versions, never make the mapping grow.
func (t *types) mapping(all []field) property {
	root := property{}
	for _, f := range all {
		in, path := root, strings.Split(f.name, ".")
		for _, name := range path[:len(path)-1] {
			inner, _ := in[name].(property)
			if inner == nil {
				inner = property{"properties": property{}}
				in[name] = inner
			}
			in = inner["properties"].(property)
		}
		in[path[len(path)-1]] = t.property(f.kind)
	}
	return property{"dynamic": false, "date_detection": false, "properties": root}
}

// template returns the index template of a kind of index. policy is the lifecycle policy of Elasticsearch; empty: none.
func (t *types) template(prefix, kind, policy string) property {
	index := property{
		"codec": "best_compression",
		// A document with one odd field is worth more than none.
		"mapping.ignore_malformed": true,
		"refresh_interval":         "5s",
	}
	if policy != "" {
		index["lifecycle.name"] = policy
	}
	return property{
		"index_patterns": []string{prefix + "-" + kind + "-*"},
		"priority":       priority,
		"version":        TemplateVersion,
		"_meta":          property{"managed_by": "culprit"},
		"template": property{
			"settings": property{"index": index},
			"mappings": t.mapping(fields(kind)),
		},
	}
}

// lifecycle returns the policy that deletes indices so many days after they were made, in the form of the product.
func (t *types) lifecycle(prefix string, days int) property {
	age := plainDays(days)
	if !t.product.OpenSearch {
		return property{"policy": property{
			"_meta": property{"managed_by": "culprit"},
			"phases": property{
				"hot":    property{"actions": property{}},
				"delete": property{"min_age": age, "actions": property{"delete": property{}}},
			},
		}}
	}
	return property{"policy": property{
		"description":   "made by culprit: deletes its indices after " + age,
		"default_state": "kept",
		"states": []property{
			{"name": "kept", "actions": []property{}, "transitions": []property{{"state_name": "deleted", "conditions": property{"min_index_age": age}}}},
			{"name": "deleted", "actions": []property{{"delete": property{}}}, "transitions": []property{}},
		},
		"ism_template": []property{{"index_patterns": []string{prefix + "-" + Exchanges + "-*", prefix + "-" + Rollups + "-*"}, "priority": priority}},
	}}
}
