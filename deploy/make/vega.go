package main

import (
	"strings"

	"github.com/culprit-http/culprit/internal/rollup"
)

// bars on the time axis of a Vega panel, at most.
const vegaBars = 60

// step is a limit of durations, with its field and how people write it.
type step struct{ name, field, label string }

// steps are the limits that rollups count within, from the shortest on.
func steps() []step {
	const prefix = "culprit.rollup.within."
	var all []step
	for i := range rollup.Fields {
		if name, ok := strings.CutPrefix(rollup.Fields[i].Name, prefix); ok {
			all = append(all, step{"within_" + name, prefix + name, written(name)})
		}
	}
	return all
}

// asked is the data of a Vega panel: sums of the fields, by their names, over time, within what the dashboard shows.
func asked(fields map[string]string) params {
	inner := params{}
	for name, field := range fields {
		inner[name] = params{"sum": params{"field": field}}
	}
	return params{
		"url": params{"%context%": true, "%timefield%": "@timestamp", "index": rollups.pattern(), "body": params{"size": 0, "aggs": params{
			"time": params{"auto_date_histogram": params{"field": "@timestamp", "buckets": vegaBars, "minimum_interval": "minute"}, "aggs": inner}}}},
		"format": params{"property": "aggregations.time.buckets"},
	}
}

// until says where a bar ends: where the next begins. The last is as wide as the one before it.
func until() []params {
	return []params{
		{"window": []params{{"op": "lead", "field": "key", "as": "next"}, {"op": "lag", "field": "key", "as": "previous"}}},
		{"calculate": "isValid(datum.next) ? datum.next : datum.key + (isValid(datum.previous) ? datum.key - datum.previous : 60000)", "as": "until"},
	}
}

// heatMap is a chart of how many exchanges took how long, over time: differences of what took at most so long.
func heatMap() string {
	fields := map[string]string{"timed": "culprit.rollup.timed"}
	var calculations []params
	var classes []string
	below, belowLabel := "0", ""
	for _, s := range steps() {
		fields[s.name] = s.field
		class := "to " + s.label
		calculations = append(calculations, params{"calculate": "datum." + s.name + ".value - " + below, "as": class})
		classes = append(classes, class)
		below, belowLabel = "datum."+s.name+".value", s.label
	}
	class := "over " + belowLabel
	calculations = append(calculations, params{"calculate": "datum.timed.value - " + below, "as": class})
	classes = append(classes, class)

	downwards := make([]string, len(classes))
	for i, c := range classes {
		downwards[len(classes)-1-i] = c
	}
	transform := append(until(), calculations...)
	transform = append(transform, params{"fold": classes, "as": []string{"took", "requests"}}, params{"filter": "datum.requests > 0"})
	return indented(params{
		"$schema": schema, "data": asked(fields), "transform": transform, "mark": "rect",
		"encoding": params{
			"x":     params{"field": "key", "type": "temporal", "title": nil},
			"x2":    params{"field": "until"},
			"y":     params{"field": "took", "type": "ordinal", "sort": downwards, "title": nil},
			"color": params{"field": "requests", "type": "quantitative", "scale": params{"type": "log", "scheme": "blues"}, "title": "requests"},
			"tooltip": []params{{"field": "key", "type": "temporal", "format": "%Y-%m-%d %H:%M", "title": "from"}, {"field": "took", "type": "nominal", "title": "took"},
				{"field": "requests", "type": "quantitative", "title": "requests"}},
		},
	})
}

// shown are the limits whose shares are drawn: all of them would lie on each other.
var shown = map[string]bool{"100 ms": true, "500 ms": true, "1 s": true, "5 s": true}

// shares is a chart of which share of the exchanges took at most so long, over time.
func shares() string {
	fields := map[string]string{"timed": "culprit.rollup.timed"}
	transform := []params{{"filter": "datum.timed.value > 0"}}
	var limits []string
	for _, s := range steps() {
		if !shown[s.label] {
			continue
		}
		fields[s.name] = s.field
		transform = append(transform, params{"calculate": "datum." + s.name + ".value / datum.timed.value", "as": s.label})
		limits = append(limits, s.label)
	}
	transform = append(transform, params{"fold": limits, "as": []string{"within", "share"}})
	return indented(params{
		"$schema": schema, "data": asked(fields), "transform": transform, "mark": params{"type": "line", "point": true},
		"encoding": params{
			"x":     params{"field": "key", "type": "temporal", "title": nil},
			"y":     params{"field": "share", "type": "quantitative", "axis": params{"format": "%"}, "scale": params{"zero": false}, "title": "share of requests"},
			"color": params{"field": "within", "type": "nominal", "sort": limits, "title": "within"},
			"tooltip": []params{{"field": "key", "type": "temporal", "format": "%Y-%m-%d %H:%M", "title": "from"}, {"field": "within", "type": "nominal", "title": "within"},
				{"field": "share", "type": "quantitative", "format": ".2%", "title": "share"}},
		},
	})
}

// schema is the version of Vega-Lite that Kibana from 7.14 on and OpenSearch Dashboards from 2.5 on have.
const schema = "https://vega.github.io/schema/vega-lite/v5.json"
