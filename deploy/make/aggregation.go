package main

// params are the parameters of an aggregation, or of a chart.
type params map[string]any

// aggregation is one of a visualization. Those that make buckets nest in their order.
type aggregation struct {
	typ    string
	schema string
	params params
}

// Metrics.

func count(label string) aggregation { return metric("count", "", label) }

func sum(field, label string) aggregation { return metric("sum", field, label) }

func average(field, label string) aggregation { return metric("avg", field, label) }

func maximum(field, label string) aggregation { return metric("max", field, label) }

// distinct counts the values of a field: by a sketch, exactly up to some thousands.
func distinct(field, label string) aggregation { return metric("cardinality", field, label) }

func percentiles(field, label string, percents ...float64) aggregation {
	a := metric("percentiles", field, label)
	a.params["percents"] = percents
	return a
}

func metric(typ, field, label string) aggregation {
	p := params{"customLabel": label}
	if field != "" {
		p["field"] = field
	}
	return aggregation{typ, "metric", p}
}

// Buckets.

// overTime has a bucket for each interval on the time axis: "auto", or a unit such as "m", which the product makes larger for long
// times. Rows of rollups are by the minute: with smaller intervals most buckets would be empty.
func overTime(interval string) aggregation {
	return aggregation{"date_histogram", "segment", params{"field": "@timestamp", "interval": interval, "drop_partials": false, "min_doc_count": 1, "extended_bounds": params{}, "customLabel": "Time"}}
}

// top has a bucket for each of the most frequent values, by the first metric. Documents without the field are a bucket of their own
// where missing says what to call it.
func top(n int, field, label, missing string) aggregation {
	if missing == "" {
		return terms(n, field, label, "Missing", false)
	}
	return terms(n, field, label, missing, true)
}

func terms(n int, field, label, missing string, bucket bool) aggregation {
	return aggregation{"terms", "bucket", params{"field": field, "orderBy": "1", "order": "desc", "size": n, "otherBucket": false, "otherBucketLabel": "Other",
		"missingBucket": bucket, "missingBucketLabel": missing, "customLabel": label}}
}

// cases has a bucket for each query, by its name. A document may be in several.
func cases(named ...[2]string) aggregation {
	var all []params
	for _, c := range named {
		all = append(all, params{"input": params{"query": c[1], "language": "lucene"}, "label": c[0]})
	}
	return aggregation{"filters", "group", params{"filters": all}}
}

// by makes the series of a chart over time of an aggregation.
func by(a aggregation) aggregation {
	a.schema = "group"
	return a
}

// bars makes the bars of a chart without a time axis of an aggregation.
func bars(a aggregation) aggregation {
	a.schema = "segment"
	return a
}

// numbered are the aggregations as a visualization has them, with ids from 1 on.
func numbered(all []aggregation) []params {
	out := make([]params, len(all))
	for i, a := range all {
		out[i] = params{"id": decimal(i + 1), "enabled": true, "type": a.typ, "schema": a.schema, "params": a.params}
	}
	return out
}
