package main

import (
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/rollup"
)

// column is a field of a data view.
type column struct{ name, typ, unit string }

// columnsOf are the fields of a source.
func columnsOf(s source) []column {
	var all []column
	if s == rollups {
		for i := range rollup.Fields {
			f := &rollup.Fields[i]
			all = append(all, column{f.Name, f.Type, f.Unit})
		}
		return all
	}
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		all = append(all, column{f.Name, f.Type, f.Unit})
	}
	return all
}

// shownAs says how the products format the numbers of a unit.
var shownAs = map[string]params{
	"ns": {"id": "duration", "params": params{"inputFormat": "nanoseconds", "outputFormat": "asMilliseconds", "outputPrecision": 1, "showSuffix": true, "useShortSuffix": true,
		"includeSpaceWithSuffix": true}},
	"byte": {"id": "bytes"},
}

// sums of durations are long.
var asSeconds = params{"id": "duration", "params": params{"inputFormat": "nanoseconds", "outputFormat": "asSeconds", "outputPrecision": 1, "showSuffix": true, "useShortSuffix": true,
	"includeSpaceWithSuffix": true}}

// plain are numbers that aren't amounts: without separators.
var plain = params{"id": "number", "params": params{"pattern": "0"}}

var plainFields = []string{"http.response.status_code", "client.port", "server.port", "source.port", "destination.port", "url.port", "client.as.number", "server.as.number", "process.pid",
	"source.process.pid", "destination.process.pid", "culprit.packets.first", "culprit.packets.last"}

// families are what the products call the types of Elasticsearch. Those that aren't here are what they are.
var families = map[string]string{"keyword": "string", "wildcard": "string", "match_only_text": "string", "text": "string", "long": "number", "date_nanos": "date"}

// inOpenSearch are the types for which OpenSearch has another one, or none.
var inOpenSearch = map[string]string{"flattened": "flat_object", "histogram": ""}

func (f *form) dataView(s source) object {
	formats := params{}
	var fields []params
	for _, c := range columnsOf(s) {
		typ := c.typ
		if t, ok := inOpenSearch[typ]; ok && f.fields {
			typ = t
		}
		if typ == "" {
			continue
		}
		switch {
		case c.name == "culprit.rollup.duration_sum":
			formats[c.name] = asSeconds
		case slices.Contains(plainFields, c.name):
			formats[c.name] = plain
		case c.unit != "":
			formats[c.name] = shownAs[c.unit]
		}
		if f.fields {
			family := typ
			if t, ok := families[typ]; ok {
				family = t
			}
			counted := typ != "match_only_text" && typ != "flat_object"
			fields = append(fields, params{"name": c.name, "type": family, "esTypes": []string{typ}, "count": 0, "scripted": false, "searchable": true, "aggregatable": counted,
				"readFromDocValues": counted})
		}
	}
	a := params{"title": s.pattern(), "timeFieldName": "@timestamp", "fieldFormatMap": compact(formats)}
	if f.fields {
		a["fields"] = compact(fields)
		return f.object("index-pattern", string(s), a)
	}
	// Kibana asks the cluster for the fields each time.
	a["fields"], a["fieldAttrs"], a["runtimeFieldMap"], a["sourceFilters"], a["typeMeta"] = "[]", "{}", "{}", "[]", "{}"
	if f.perType {
		a["name"] = titled(map[source]string{exchanges: "Exchanges", rollups: "Rollups"}[s])
	}
	return f.object("index-pattern", string(s), a)
}
