package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
)

// product is a program that shows dashboards.
type product struct {
	own     []panel // panels that only it has
	mapType string  // what kind of saved object a map is
	fields  bool    // data views list their fields
}

var (
	kibana     = product{own: ofKibana, mapType: "map"}
	openSearch = product{own: ofOpenSearch, mapType: "visualization", fields: true}
)

// form is how a product writes saved objects.
type form struct {
	path string
	product
	// core is the version of what all objects have; empty: they don't say. versions are those of the types' attributes: a product that is
	// newer brings the objects up to date when it reads them.
	core     string
	versions map[string]string
	// perType: each object says the version of its type only.
	perType bool
	// panel is the version of the panels of dashboards.
	panel string
	// grid and tiles are types of layers of maps.
	grid, tiles string
}

// forms are those of the files. Kibana 7.14 and OpenSearch Dashboards have the same form, since both stem from Kibana 7.
var forms = []form{
	{path: "kibana/culprit.ndjson", product: kibana, core: "8.8.0", perType: true, panel: "8.8.0", grid: "GEOJSON_VECTOR", tiles: "EMS_VECTOR_TILE",
		versions: map[string]string{"index-pattern": "8.0.0", "visualization": "8.5.0", "search": "8.0.0", "map": "8.4.0", "dashboard": "8.7.0"}},
	{path: "kibana/culprit-7.ndjson", product: kibana, core: "7.14.0", panel: "7.14.0", grid: "VECTOR", tiles: "VECTOR_TILE",
		versions: map[string]string{"index-pattern": "7.11.0", "visualization": "7.14.0", "search": "7.9.3", "map": "7.14.0", "dashboard": "7.14.0"}},
	{path: "opensearch-dashboards/culprit.ndjson", product: openSearch, panel: "7.9.3",
		versions: map[string]string{"index-pattern": "7.6.0", "visualization": "7.10.0", "search": "7.9.3", "dashboard": "7.9.3"}},
}

// object is a saved object, one line of a file.
type object struct {
	Attributes           params            `json:"attributes"`
	CoreMigrationVersion string            `json:"coreMigrationVersion,omitempty"`
	ID                   string            `json:"id"`
	MigrationVersion     map[string]string `json:"migrationVersion,omitempty"`
	References           []reference       `json:"references"`
	Type                 string            `json:"type"`
	TypeMigrationVersion string            `json:"typeMigrationVersion,omitempty"`
}

// reference names another object. Attributes say Name where its id would stand.
type reference struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
}

// file is all objects of a form: those that others refer to come first.
func (f *form) file() []byte {
	var all []object
	for _, s := range []source{exchanges, rollups} {
		all = append(all, f.dataView(s))
	}
	for _, s := range searches {
		all = append(all, f.search(s))
	}
	for _, p := range panels(f.product) {
		all = append(all, f.visualization(p))
	}
	if f.mapType == "map" {
		all = append(all, f.places())
	}
	for _, d := range dashboards(f.product) {
		all = append(all, f.dashboard(d))
	}
	var out bytes.Buffer
	for _, o := range all {
		out.WriteString(compact(o))
		out.WriteByte('\n')
	}
	return out.Bytes()
}

// object returns an object with what the form says of its versions.
func (f *form) object(typ, id string, attributes params, references ...reference) object {
	o := object{Type: typ, ID: id, Attributes: attributes, References: references, CoreMigrationVersion: f.core}
	if references == nil {
		o.References = []reference{}
	}
	if f.perType {
		o.TypeMigrationVersion = f.versions[typ]
	} else {
		o.MigrationVersion = map[string]string{typ: f.versions[typ]}
	}
	return o
}

// Names that objects have in lists among those of others, and their ids.

func titled(title string) string { return "[culprit] " + title }

func named(id string) string { return "culprit-" + id }

// indexRef is the name under which an object refers to its data view.
const indexRef = "kibanaSavedObjectMeta.searchSourceJSON.index"

// question is what an object of the form asks its data view. It is text within JSON, as all attributes whose names end in JSON.
func question(query string) params {
	return params{"searchSourceJSON": compact(params{"query": params{"query": query, "language": "lucene"}, "filter": []any{}, "indexRefName": indexRef})}
}

// nothing is what an object without a data view of its own asks.
func nothing() params {
	return params{"searchSourceJSON": compact(params{"query": params{"query": "", "language": "lucene"}, "filter": []any{}})}
}

func (f *form) visualization(p panel) object {
	a := params{"title": titled(p.title), "description": p.description, "version": 1, "uiStateJSON": "{}",
		"visState": compact(params{"title": titled(p.title), "type": kinds[p.chart], "aggs": numbered(p.aggregations), "params": p.chart.look(&p)})}
	if p.aggregations == nil {
		a["kibanaSavedObjectMeta"] = nothing()
		return f.object("visualization", named(p.id), a)
	}
	a["kibanaSavedObjectMeta"] = question(p.query)
	return f.object("visualization", named(p.id), a, reference{string(p.from), indexRef, "index-pattern"})
}

func (f *form) search(s search) object {
	return f.object("search", named(s.id), params{"title": titled(s.title), "description": s.description, "hits": 0, "version": 1, "columns": s.columns,
		"sort": [][2]string{s.sort}, "kibanaSavedObjectMeta": question(s.query)}, reference{string(exchanges), indexRef, "index-pattern"})
}

// columns are how many a dashboard has.
const columns = 48

func (f *form) dashboard(d dashboard) object {
	var panels []params
	var references []reference
	x, y, high := 0, 0, 0
	for i, p := range d.places {
		if x+p.w > columns {
			x, y, high = 0, y+high, 0
		}
		index := decimal(i + 1)
		name := "panel_" + index
		settings := params{"enhancements": params{}}
		if p.id == "dashboards" {
			settings["hidePanelTitles"] = true
		}
		panels = append(panels, params{"version": f.panel, "type": p.kind, "panelIndex": index, "panelRefName": name, "embeddableConfig": settings,
			"gridData": params{"x": x, "y": y, "w": p.w, "h": p.h, "i": index}})
		if f.core != "" {
			name = index + ":" + name
		}
		references = append(references, reference{named(p.id), name, p.kind})
		x, high = x+p.w, max(high, p.h)
	}
	return f.object("dashboard", named(d.id), params{"title": titled(d.title), "description": d.description, "hits": 0, "version": 1, "timeRestore": false,
		"optionsJSON": compact(params{"useMargins": true, "hidePanelTitles": false}), "panelsJSON": compact(panels), "kibanaSavedObjectMeta": nothing()}, references...)
}

// places is a map in Kibana's form: how many exchanges come from where, on the tiles of Elastic's map service.
func (f *form) places() object {
	static := func(options params) params { return params{"type": "STATIC", "options": options} }
	dynamic := func(options params) params {
		options["field"] = params{"name": "doc_count", "origin": "source"}
		options["fieldMetaOptions"] = params{"isEnabled": true, "sigma": 3}
		return params{"type": "DYNAMIC", "options": options}
	}
	const viewRef = "layer_1_source_index_pattern"
	layers := []params{
		{"id": "tiles", "label": nil, "type": f.tiles, "visible": true, "alpha": 1, "minZoom": 0, "maxZoom": 24,
			"sourceDescriptor": params{"type": "EMS_TMS", "isAutoSelect": true}, "style": params{"type": "TILE"}},
		{"id": "clients", "label": "Exchanges", "type": f.grid, "visible": true, "alpha": 0.75, "minZoom": 0, "maxZoom": 24, "joins": []any{},
			"sourceDescriptor": params{"type": "ES_GEO_GRID", "id": "grid", "geoField": "client.geo.location", "indexPatternRefName": viewRef, "requestType": "point", "resolution": "FINE",
				"metrics": []params{{"type": "count"}}, "applyGlobalQuery": true, "applyGlobalTime": true},
			"style": params{"type": "VECTOR", "isTimeAware": true, "properties": params{
				"icon":      static(params{"value": "marker"}),
				"fillColor": dynamic(params{"type": "ORDINAL", "color": "Yellow to Red", "colorCategory": "palette_0"}),
				"lineColor": static(params{"color": "#3d3d3d"}), "lineWidth": static(params{"size": 1}),
				"iconSize": dynamic(params{"minSize": 7, "maxSize": 32}), "iconOrientation": static(params{"orientation": 0}),
				"labelText": static(params{"value": ""}), "labelColor": static(params{"color": "#000000"}), "labelSize": static(params{"size": 14}),
				"labelBorderColor": static(params{"color": "#FFFFFF"}), "labelBorderSize": params{"options": params{"size": "SMALL"}},
				"symbolizeAs": params{"options": params{"value": "circle"}}}}},
	}
	state := params{"zoom": 1.6, "center": params{"lon": 0, "lat": 20}, "query": params{"query": "", "language": "kuery"}, "filters": []any{},
		"timeFilters": params{"from": "now-15m", "to": "now"}, "settings": params{"autoFitToDataBounds": true}}
	return f.object("map", named("map"), params{"title": titled("Clients by place"), "description": weighted, "layerListJSON": compact(layers), "mapStateJSON": compact(state),
		"uiStateJSON": compact(params{"isLayerTOCOpen": false, "openTOCDetails": []any{}})}, reference{string(exchanges), viewRef, "index-pattern"})
}

// compact is a value as JSON in one line, as it is: what is within other JSON gets long enough.
func compact(v any) string { return marshalled(v, "") }

// indented is a value as JSON that people edit.
func indented(v any) string { return marshalled(v, "  ") }

func marshalled(v any, indent string) string {
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		panic(err) // the tables hold nothing that JSON lacks
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// written is a duration as people write it, with a space before the unit: "2500ms" is "2500 ms". There is no point in it: in Vega that
// would lead into an object.
func written(s string) string {
	at := strings.IndexFunc(s, unicode.IsLetter)
	return s[:at] + " " + s[at:]
}
