package main

import "strconv"

// chart is a kind of visualization.
type chart uint8

// The kinds.
const (
	numbers chart = iota // big numbers
	lines                // over time
	stacks               // bars on each other, over time
	rows                 // horizontal bars
	table
	text
	vega
	places // a map by OpenSearch Dashboards
)

// kinds are the types of visualization as the products call them.
var kinds = [...]string{numbers: "metric", lines: "line", stacks: "histogram", rows: "horizontal_bar", table: "table", text: "markdown", vega: "vega", places: "tile_map"}

// look returns the parameters of a chart whose aggregations are given. What isn't said, the products fill in.
func (c chart) look(p *panel) params {
	switch c {
	case numbers:
		return params{"type": "metric", "addTooltip": true, "addLegend": false, "metric": params{"percentageMode": false, "useRanges": false, "colorSchema": "Green to Red",
			"metricColorMode": "None", "colorsRange": []params{{"from": 0, "to": 10000}}, "labels": params{"show": true}, "invertColors": false,
			"style": params{"bgFill": "#000", "bgColor": false, "labelColor": false, "subText": "", "fontSize": 32}}}
	case lines, stacks, rows:
		return c.axes(p)
	case table:
		return params{"perPage": 10, "showPartialRows": false, "showMetricsAtAllLevels": false, "showTotal": false, "totalFunc": "sum", "percentageCol": "",
			"sort": params{"columnIndex": nil, "direction": nil}}
	case text:
		return params{"fontSize": 12, "openLinksInNewTab": false, "markdown": p.text}
	case vega:
		return params{"spec": p.text}
	case places:
		return params{"colorSchema": "Yellow to Red", "mapType": "Scaled Circle Markers", "isDesaturated": true, "addTooltip": true, "heatClusterSize": 1.5,
			"legendPosition": "bottomright", "mapZoom": 2, "mapCenter": []int{20, 0}, "wms": params{"enabled": false, "options": params{"format": "image/png", "transparent": true}}}
	}
	panic("a chart without a look: " + p.id)
}

// axes are the parameters of charts with two axes: a series for each metric.
func (c chart) axes(p *panel) params {
	category, value, mark, mode := "bottom", "left", "line", "normal"
	if c != lines {
		mark, mode = "histogram", "stacked"
	}
	if c == rows {
		category, value, mode = "left", "bottom", "normal"
	}
	var series []params
	for i, a := range p.aggregations {
		if a.schema != "metric" {
			continue
		}
		series = append(series, params{"show": true, "type": mark, "mode": mode, "data": params{"id": decimal(i + 1), "label": a.params["customLabel"]}, "valueAxis": "ValueAxis-1",
			"drawLinesBetweenPoints": true, "lineWidth": 2, "showCircles": true, "interpolate": "linear"})
	}
	return params{"type": kinds[c], "grid": params{"categoryLines": false}, "addTooltip": true, "addLegend": true, "legendPosition": "right", "times": []any{}, "addTimeMarker": false,
		"labels": params{"show": false}, "thresholdLine": params{"show": false, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
		"categoryAxes": []params{{"id": "CategoryAxis-1", "type": "category", "position": category, "show": true, "style": params{}, "scale": params{"type": "linear"},
			"labels": params{"show": true, "filter": c != rows, "truncate": 200}, "title": params{}}},
		"valueAxes": []params{{"id": "ValueAxis-1", "name": axisNames[value], "type": "value", "position": value, "show": true, "style": params{},
			"scale": params{"type": "linear", "mode": "normal"}, "labels": params{"show": true, "rotate": 0, "filter": c == rows, "truncate": 100}, "title": params{"text": p.axis}}},
		"seriesParams": series}
}

// axisNames are the names that the products give to the first axis on a side.
var axisNames = map[string]string{"left": "LeftAxis-1", "bottom": "BottomAxis-1"}

func decimal(n int) string { return strconv.Itoa(n) }
