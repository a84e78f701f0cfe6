package main

// Dashboards for Grafana, as its JSON model. The first two ask Prometheus for what docs/metrics.md lists, the third a cluster for
// documents and rollups.

// target is what a panel of Grafana asks: PromQL, or a query with aggregations.
type target struct {
	expr   string
	legend string
	// from, query and aggregations are those of a panel on documents.
	from         source
	query        string
	aggregations []aggregation
}

// tile is a panel of a dashboard of Grafana.
type tile struct {
	title, description string
	kind               string // as Grafana calls it: timeseries, stat, table, heatmap or logs
	unit               string
	stacked            bool
	targets            []target
	w, h               int
}

// board is a dashboard of Grafana.
type board struct {
	path, title, description string
	variables                []params
	tags                     []string
	tiles                    []tile
}

// The data sources, by the variables that name them.
const (
	prometheusSource = "prometheus"
	elasticSource    = "elasticsearch"
)

// chosen limits the series to the services and instances that are chosen.
const chosen = `{service=~"$service",instance=~"$instance"}`

// at limits the series to the instances that are chosen.
const at = `{instance=~"$instance"}`

// rate is how many a second, summed by labels.
func rate(metric, selector, by string) string {
	return "sum " + grouping(by) + "(rate(" + metric + selector + "[$__rate_interval]))"
}

func grouping(by string) string {
	if by == "" {
		return ""
	}
	return "by (" + by + ") "
}

// failures limits them to what failed, too.
const failures = `{service=~"$service",instance=~"$instance",outcome="failure"}`

// quantile is one of the classic histogram of the durations of requests, quantileOf of another.
func quantile(q, by string) string {
	return quantileOf("culprit_http_request_duration_seconds_bucket", q, by)
}

func quantileOf(buckets, q, by string) string {
	if by != "" {
		by = ", " + by
	}
	return "histogram_quantile(" + q + ", " + rate(buckets, chosen, "le"+by) + ")"
}

var grafana = []board{
	{path: "grafana/culprit-http.json", title: "culprit: HTTP", description: "Rate, errors and durations by service and route, of all exchanges, from culprit's metrics (docs/metrics.md).",
		tags:      []string{"culprit", "http"},
		variables: []params{datasource(prometheusSource, "prometheus", "Prometheus"), labels("instance", "Instance", "culprit_build_info"), labels("service", "Service", "culprit_http_requests_total"+at)},
		tiles: []tile{
			{title: "Requests", kind: "stat", unit: "reqps", w: 6, h: 4, targets: []target{{expr: rate("culprit_http_requests_total", chosen, "")}}},
			{title: "Share of errors", kind: "stat", unit: "percentunit", w: 6, h: 4, targets: []target{{expr: rate("culprit_http_errors_total", chosen, "") + " / " + rate("culprit_http_requests_total", chosen, "")}}},
			{title: "Median", kind: "stat", unit: "s", w: 6, h: 4, targets: []target{{expr: quantile("0.5", "")}}},
			{title: "99th percentile", kind: "stat", unit: "s", w: 6, h: 4, targets: []target{{expr: quantile("0.99", "")}}},
			{title: "Requests by status class", kind: "timeseries", unit: "reqps", stacked: true, w: 12, h: 8, targets: []target{{expr: rate("culprit_http_requests_total", chosen, "status_class"), legend: "{{status_class}}"}}},
			{title: "Errors by service", kind: "timeseries", unit: "reqps", w: 12, h: 8, targets: []target{{expr: rate("culprit_http_errors_total", chosen, "service"), legend: "{{service}}"}}},
			{title: "Response times", description: "From classic buckets, which end at 10 s: what takes longer counts as 10 s.", kind: "timeseries", unit: "s", w: 12, h: 8, targets: []target{
				{expr: quantile("0.5", ""), legend: "50 %"}, {expr: quantile("0.9", ""), legend: "90 %"}, {expr: quantile("0.99", ""), legend: "99 %"}}},
			{title: "How many took how long", kind: "heatmap", unit: "s", w: 12, h: 8, targets: []target{
				{expr: "sum by (le) (increase(culprit_http_request_duration_seconds_bucket" + chosen + "[$__rate_interval]))", legend: "{{le}}"}}},
			{title: "99th percentile by service", kind: "timeseries", unit: "s", w: 12, h: 8, targets: []target{{expr: quantile("0.99", "service"), legend: "{{service}}"}}},
			{title: "Requests that wait for a server", description: "How many, on average, at the same time.", kind: "timeseries", unit: "short", w: 12, h: 8, targets: []target{
				{expr: rate("culprit_http_request_wait_seconds_total", chosen, "service"), legend: "{{service}}"}}},
			{title: "Routes by total time", description: "Seconds of all requests together, a second.", kind: "timeseries", unit: "short", stacked: true, w: 12, h: 9, targets: []target{
				{expr: "topk(10, " + rate("culprit_http_request_duration_seconds_sum", chosen, "route") + ")", legend: "{{route}}"}}},
			{title: "Routes with errors", kind: "timeseries", unit: "reqps", w: 12, h: 9, targets: []target{
				{expr: "topk(10, " + rate("culprit_http_errors_total", chosen, "route") + " > 0)", legend: "{{route}}"}}},
			{title: "Routes by 99th percentile", kind: "timeseries", unit: "s", w: 12, h: 9, targets: []target{{expr: "topk(10, " + quantile("0.99", "route") + ")", legend: "{{route}}"}}},
			{title: "Time lost, by who is to blame", description: "Seconds of all requests together, a second (docs/blame.md).", kind: "timeseries", unit: "short", stacked: true, w: 12, h: 9, targets: []target{
				{expr: rate("culprit_blame_seconds_total", chosen, "who"), legend: "{{who}}"}}},
			{title: "Routes by time lost", description: "Seconds of all requests together, a second.", kind: "timeseries", unit: "short", stacked: true, w: 12, h: 9, targets: []target{
				{expr: "topk(10, " + rate("culprit_blame_seconds_total", chosen, "route, who") + " > 0)", legend: "{{route}} {{who}}"}}},
			{title: "What happened", description: "Exchanges of any protocol that were slow or failed.", kind: "timeseries", unit: "reqps", stacked: true, w: 12, h: 9, targets: []target{
				{expr: rate("culprit_blame_situations_total", at, "situation, who") + " > 0", legend: "{{who}} {{situation}}"}}},
			{title: "Bytes", kind: "timeseries", unit: "Bps", w: 12, h: 9, targets: []target{
				{expr: rate("culprit_http_request_bytes_total", chosen, ""), legend: "sent by clients"}, {expr: rate("culprit_http_response_bytes_total", chosen, ""), legend: "sent by servers"}}},
		}},
	{path: "grafana/culprit-databases.json", title: "culprit: databases and DNS", description: "Statements, commands and lookups: rate, errors and durations, of all exchanges, from culprit's metrics (docs/metrics.md).",
		tags:      []string{"culprit", "databases"},
		variables: []params{datasource(prometheusSource, "prometheus", "Prometheus"), labels("instance", "Instance", "culprit_build_info"), labels("service", "Service", "culprit_db_statements_total"+at)},
		tiles: []tile{
			{title: "Statements by system", kind: "timeseries", unit: "reqps", stacked: true, w: 12, h: 8, targets: []target{{expr: rate("culprit_db_statements_total", chosen, "system"), legend: "{{system}}"}}},
			{title: "Statements that failed", kind: "timeseries", unit: "reqps", w: 12, h: 8, targets: []target{
				{expr: rate("culprit_db_statements_total", failures, "system, operation") + " > 0", legend: "{{system}} {{operation}}"}}},
			{title: "99th percentile by system", description: "From classic buckets, which end at 10 s: what takes longer counts as 10 s.", kind: "timeseries", unit: "s", w: 12, h: 8, targets: []target{
				{expr: quantileOf("culprit_db_duration_seconds_bucket", "0.99", "system"), legend: "{{system}}"}}},
			{title: "Operations by total time", description: "Seconds of all statements together, a second.", kind: "timeseries", unit: "short", stacked: true, w: 12, h: 8, targets: []target{
				{expr: "topk(10, " + rate("culprit_db_duration_seconds_sum", chosen, "system, operation") + ")", legend: "{{system}} {{operation}}"}}},
			{title: "Rows", kind: "timeseries", unit: "short", w: 12, h: 8, targets: []target{{expr: rate("culprit_db_rows_total", chosen, "system"), legend: "{{system}}"}}},
			{title: "Lookups by answer", kind: "timeseries", unit: "reqps", stacked: true, w: 12, h: 8, targets: []target{{expr: rate("culprit_dns_lookups_total", at, "rcode"), legend: "{{rcode}}"}}},
			{title: "Lookups: 99th percentile", kind: "timeseries", unit: "s", w: 12, h: 8, targets: []target{
				{expr: "histogram_quantile(0.99, " + rate("culprit_dns_duration_seconds_bucket", at, "le") + ")", legend: "99 %"}}},
		}},
	{path: "grafana/culprit-agents.json", title: "culprit: agents", description: "Whether culprit sees everything, and whether what it sees arrives (docs/metrics.md).", tags: []string{"culprit"},
		variables: []params{datasource(prometheusSource, "prometheus", "Prometheus"), labels("instance", "Instance", "culprit_build_info")},
		tiles: []tile{
			{title: "Packets", kind: "timeseries", unit: "pps", w: 12, h: 8, targets: []target{
				{expr: rate("culprit_packets_received_total", at, "instance"), legend: "{{instance}} received"}, {expr: rate("culprit_packets_analysed_total", at, "instance"), legend: "{{instance}} analysed"}}},
			{title: "Packets that were lost", kind: "timeseries", unit: "pps", w: 12, h: 8, targets: []target{{expr: rate("culprit_packets_dropped_total", at, "instance, by"), legend: "{{instance}} {{by}}"}}},
			{title: "Packets that were ignored", kind: "timeseries", unit: "pps", w: 12, h: 8, targets: []target{{expr: rate("culprit_packets_ignored_total", at, "instance, reason"), legend: "{{instance}} {{reason}}"}}},
			{title: "Bytes that are missing from connections", kind: "timeseries", unit: "Bps", w: 12, h: 8, targets: []target{{expr: rate("culprit_missing_bytes_total", at, "instance"), legend: "{{instance}}"}}},
			{title: "Exchanges by grade", kind: "timeseries", unit: "reqps", stacked: true, w: 12, h: 8, targets: []target{{expr: rate("culprit_exchanges_total", at, "grade"), legend: "{{grade}}"}}},
			{title: "Limits that were hit", kind: "timeseries", unit: "short", w: 12, h: 8, targets: []target{{expr: "sum by (instance, limit) (increase(culprit_limits_hit_total" + at + "[$__rate_interval])) > 0", legend: "{{instance}} {{limit}}"}}},
			{title: "Share of the memory that analysis may take", kind: "timeseries", unit: "percentunit", w: 12, h: 8, targets: []target{
				{expr: "culprit_memory_bytes" + at + " / culprit_memory_limit_bytes" + at, legend: "{{instance}}"}}},
			{title: "Exchanges that sampling left out", kind: "timeseries", unit: "reqps", w: 12, h: 8, targets: []target{{expr: rate("culprit_sampled_out_total", at, "instance"), legend: "{{instance}}"}}},
			{title: "Outputs: something is wrong", description: "Outputs whose receivers can't be reached, or refuse everything.", kind: "stat", unit: "short", w: 6, h: 8, targets: []target{{expr: "count(culprit_output_up" + at + " == 0) or vector(0)"}}},
			{title: "Outputs: delivered", kind: "timeseries", unit: "eps", w: 18, h: 8, targets: []target{{expr: rate("culprit_output_delivered_total", at, "instance, output"), legend: "{{instance}} {{output}}"}}},
			{title: "Outputs: waiting", kind: "timeseries", unit: "short", w: 12, h: 8, targets: []target{{expr: "culprit_output_waiting" + at, legend: "{{instance}} {{output}}"}}},
			{title: "Outputs: how full the queues are", kind: "timeseries", unit: "percentunit", w: 12, h: 8, targets: []target{
				{expr: "culprit_output_queue_bytes" + at + " / culprit_output_queue_limit_bytes" + at, legend: "{{instance}} {{output}}"}}},
			{title: "Outputs: never delivered", kind: "timeseries", unit: "eps", w: 12, h: 8, targets: []target{
				{expr: rate("culprit_output_rejected_total", at, "output"), legend: "{{output}} refused"}, {expr: rate("culprit_output_dropped_total", at, "output"), legend: "{{output}} dropped"},
				{expr: rate("culprit_output_lost_total", at, "output"), legend: "{{output}} lost"}, {expr: rate("culprit_output_damaged_total", at, "output"), legend: "{{output}} damaged"}}},
			{title: "Outputs: share of batches that failed", kind: "timeseries", unit: "percentunit", w: 12, h: 8, targets: []target{
				{expr: rate("culprit_output_failed_batches_total", at, "instance, output") + " / " + rate("culprit_output_batches_total", at, "instance, output"), legend: "{{instance}} {{output}}"}}},
			{title: "Processor", kind: "timeseries", unit: "percentunit", w: 12, h: 8, targets: []target{
				{expr: "rate(process_cpu_seconds_total" + at + "[$__rate_interval]) and on (instance) culprit_build_info", legend: "{{instance}}"}}},
			{title: "Memory of the process", kind: "timeseries", unit: "bytes", w: 12, h: 8, targets: []target{
				{expr: "process_resident_memory_bytes" + at + " and on (instance) culprit_build_info", legend: "{{instance}}"}}},
		}},
	{path: "grafana/culprit-elasticsearch.json", title: "culprit: exchanges", description: "Documents of exchanges and rollups in Elasticsearch or OpenSearch.", tags: []string{"culprit", "http"},
		variables: []params{datasource(string(rollups), elasticSource, "Rollups"), datasource(string(exchanges), elasticSource, "Exchanges")},
		tiles: []tile{
			onDocuments("Requests by status class", complete, "timeseries", "short", 12, 8, target{from: rollups, aggregations: []aggregation{
				sum("culprit.rollup.count", ""), top(6, "culprit.rollup.status_class", "", noResponse), overTime("1m")}}),
			onDocuments("Errors by service", complete, "timeseries", "short", 12, 8, target{from: rollups, aggregations: []aggregation{
				sum("culprit.rollup.errors", ""), top(10, "service.name", "", unnamed), overTime("1m")}}),
			onDocuments("Response times", complete+" Needs Elasticsearch: OpenSearch has no type histogram.", "timeseries", "ns", 12, 8, target{from: rollups, aggregations: []aggregation{
				percentiles("culprit.rollup.duration", "", 50, 90, 99), overTime("1m")}}),
			onDocuments("Slowest", complete, "timeseries", "ns", 12, 8, target{from: rollups, aggregations: []aggregation{
				maximum("culprit.rollup.duration_max", ""), top(10, "service.name", "", unnamed), overTime("1m")}}),
			onDocuments("Routes by total time", complete, "table", "ns", 12, 9, target{from: rollups, aggregations: []aggregation{
				sum("culprit.rollup.duration_sum", ""), maximum("culprit.rollup.duration_max", ""), top(50, "culprit.route", "", noRoute)}}),
			onDocuments("Routes with errors", complete, "table", "short", 12, 9, target{from: rollups, query: "culprit.rollup.errors:>0", aggregations: []aggregation{
				sum("culprit.rollup.errors", ""), top(50, "culprit.route", "", noRoute)}}),
			onDocuments("Time lost, by who is to blame", onlyUnsampled, "timeseries", "ns", 12, 8, target{from: exchanges, query: blamed, aggregations: []aggregation{
				sum("culprit.blame.time", ""), top(10, "culprit.blame.who", "", ""), overTime("auto")}}),
			onDocuments("Culprits", onlyUnsampled, "table", "ns", 12, 8, target{from: exchanges, query: blamed, aggregations: []aggregation{
				sum("culprit.blame.time", ""), maximum("culprit.blame.time", ""), top(50, "culprit.blame.situation", "", "")}}),
			onDocuments("Statuses from 400", weighted, "timeseries", "short", 12, 8, target{from: exchanges, query: "http.response.status_code:>=400", aggregations: []aggregation{
				count(""), top(15, "http.response.status_code", "", ""), overTime("auto")}}),
			onDocuments("Clients with errors", weighted, "table", "short", 12, 8, target{from: exchanges, query: failed, aggregations: []aggregation{
				count(""), top(50, "client.ip", "", "")}}),
			onDocuments("Exchanges that failed", "Latest first.", "logs", "", 24, 12, target{from: exchanges, query: failed}),
		}},
}

func onDocuments(title, description, kind, unit string, w, h int, ask target) tile {
	return tile{title: title, description: description, kind: kind, unit: unit, w: w, h: h, targets: []target{ask}}
}

// datasource is a variable for a data source of a type: the dashboard works with any.
func datasource(name, typ, label string) params {
	return params{"name": name, "label": label, "type": "datasource", "query": typ, "current": params{}, "hide": 0, "includeAll": false, "multi": false, "options": []any{}, "refresh": 1, "regex": "",
		"skipUrlSync": false}
}

// labels is a variable for the values of a label.
func labels(name, label, of string) params {
	query := "label_values(" + of + ", " + name + ")"
	return params{"name": name, "label": label, "type": "query", "datasource": sourceOf("prometheus", prometheusSource), "definition": query, "query": params{"query": query, "refId": name},
		"current": params{}, "hide": 0, "includeAll": true, "allValue": ".*", "multi": true, "options": []any{}, "refresh": 2, "regex": "", "skipUrlSync": false, "sort": 1}
}

func sourceOf(typ, variable string) params { return params{"type": typ, "uid": "${" + variable + "}"} }

// boards are the files of the dashboards.
func boards() map[string][]byte {
	all := map[string][]byte{}
	for _, b := range grafana {
		all[b.path] = []byte(indented(b.model()) + "\n")
	}
	return all
}

// gridWidth is how many columns a dashboard of Grafana has; schemaVersion is the version of its model: that of Grafana 10.
const (
	gridWidth     = 24
	schemaVersion = 38
)

func (b *board) model() params {
	var panels []params
	x, y, high := 0, 0, 0
	for i, tile := range b.tiles {
		if x+tile.w > gridWidth {
			x, y, high = 0, y+high, 0
		}
		p := tile.model()
		p["id"], p["gridPos"] = i+1, params{"x": x, "y": y, "w": tile.w, "h": tile.h}
		panels = append(panels, p)
		x, high = x+tile.w, max(high, tile.h)
	}
	return params{"id": nil, "uid": nil, "title": b.title, "description": b.description, "tags": b.tags, "schemaVersion": schemaVersion, "version": 1, "editable": true, "graphTooltip": 1,
		"timezone": "", "refresh": "", "time": params{"from": "now-1h", "to": "now"}, "annotations": params{"list": []any{}}, "links": []any{}, "templating": params{"list": b.variables}, "panels": panels}
}

func (t *tile) model() params {
	source := sourceOf("prometheus", prometheusSource)
	if from := t.targets[0].from; from != "" {
		source = sourceOf("elasticsearch", string(from))
	}
	var targets []params
	for i, one := range t.targets {
		m := one.model(t)
		m["refId"], m["datasource"] = string(rune('A'+i)), source
		targets = append(targets, m)
	}
	custom := params{}
	options := params{}
	switch t.kind {
	case "timeseries":
		custom = params{"drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "showPoints": "auto", "stacking": params{"mode": "none", "group": "A"}}
		if t.stacked {
			custom["stacking"] = params{"mode": "normal", "group": "A"}
		}
		options = params{"legend": params{"displayMode": "list", "placement": "bottom", "showLegend": true}, "tooltip": params{"mode": "multi", "sort": "desc"}}
	case "stat":
		options = params{"colorMode": "none", "graphMode": "area", "reduceOptions": params{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}}
	case "heatmap":
		options = params{"calculate": false, "yAxis": params{"unit": t.unit}, "color": params{"mode": "scheme", "scheme": "Blues", "scale": "exponential", "exponent": 0.5, "steps": 64},
			"cellGap": 1, "rowsFrame": params{"layout": "auto"}, "tooltip": params{"show": true, "yHistogram": false}, "legend": params{"show": true}}
	case "logs":
		options = params{"showTime": true, "wrapLogMessage": false, "enableLogDetails": true, "sortOrder": "Descending", "dedupStrategy": "none"}
	}
	return params{"type": t.kind, "title": t.title, "description": t.description, "datasource": source, "targets": targets, "options": options,
		"fieldConfig": params{"defaults": params{"unit": t.unit, "custom": custom, "min": nil}, "overrides": []any{}}}
}

func (t *target) model(of *tile) params {
	if t.from == "" {
		m := params{"expr": t.expr, "legendFormat": t.legend, "range": true, "instant": false, "editorMode": "code"}
		if of.kind == "heatmap" {
			m["format"] = "heatmap"
		}
		return m
	}
	m := params{"query": t.query, "alias": "", "timeField": "@timestamp"}
	metrics, buckets := []params{}, []params{}
	for i, a := range t.aggregations {
		id := decimal(i + 1)
		switch {
		case a.typ == "date_histogram":
			buckets = append(buckets, params{"id": id, "type": a.typ, "field": a.params["field"], "settings": params{"interval": a.params["interval"], "min_doc_count": "0", "trimEdges": "0"}})
		case a.schema != "metric":
			settings := params{"size": decimal(a.params["size"].(int)), "order": "desc", "orderBy": "1", "min_doc_count": "1"}
			if t.aggregations[0].typ == "count" {
				settings["orderBy"] = "_count"
			}
			if a.params["missingBucket"] == true {
				settings["missing"] = a.params["missingBucketLabel"]
			}
			buckets = append(buckets, params{"id": id, "type": a.typ, "field": a.params["field"], "settings": settings})
		case a.typ == "count":
			metrics = append(metrics, params{"id": id, "type": a.typ})
		default:
			settings := params{}
			if percents, ok := a.params["percents"].([]float64); ok {
				var texts []string
				for _, p := range percents {
					texts = append(texts, decimal(int(p)))
				}
				settings["percents"] = texts
			}
			metrics = append(metrics, params{"id": id, "type": a.typ, "field": a.params["field"], "settings": settings})
		}
	}
	if of.kind == "logs" {
		metrics = append(metrics, params{"id": "1", "type": "logs", "settings": params{"limit": "500"}})
	}
	m["metrics"], m["bucketAggs"] = metrics, buckets
	return m
}
