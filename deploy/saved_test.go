package deploy_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/deploy"
)

// saved is a saved object as it is imported.
type saved struct {
	Type, ID                                   string
	Attributes                                 map[string]any
	References                                 []struct{ ID, Name, Type string }
	CoreMigrationVersion, TypeMigrationVersion string
	MigrationVersion                           map[string]string
}

// file is what one version of a product imports.
type file struct {
	product deploy.Product
	version string
	objects []saved
}

// products are versions of the products, one for each file.
var products = []struct {
	product deploy.Product
	version string
	name    string
}{
	{deploy.Kibana, "8.19.0", "kibana/culprit.ndjson"},
	{deploy.Kibana, "7.17.29", "kibana/culprit-7.ndjson"},
	{deploy.OpenSearchDashboards, "2.19.1", "opensearch-dashboards/culprit.ndjson"},
}

// files returns the objects of all files.
func files(t *testing.T) (all []file) {
	t.Helper()
	for _, p := range products {
		name, text, err := deploy.SavedObjects(p.product, p.version, deploy.DefaultIndex)
		if err != nil {
			t.Fatal(err)
		}
		if name != p.name {
			t.Fatalf("%s %s gets %s, not %s", p.product, p.version, name, p.name)
		}
		all = append(all, file{p.product, p.version, parse(t, text)})
	}
	return all
}

func parse(t *testing.T, text []byte) (objects []saved) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text))
	for lines.Scan() {
		var o saved
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&o); err != nil {
			t.Fatalf("%v in %.100s", err, lines.Text())
		}
		objects = append(objects, o)
	}
	return objects
}

// text returns an attribute.
func (o *saved) text(name string) string {
	s, _ := o.Attributes[name].(string)
	return s
}

// inner decodes an attribute that is JSON in a text.
func (o *saved) inner(t *testing.T, name string, into any) {
	t.Helper()
	decode(t, o.Type+" "+o.ID+": "+name, o.text(name), into)
}

func decode(t *testing.T, what, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// searchSource is what an object asks its data view.
type searchSource struct {
	Query        struct{ Query, Language string }
	Filter       []any
	IndexRefName string
}

func (o *saved) source(t *testing.T) (s searchSource) {
	t.Helper()
	meta, _ := o.Attributes["kibanaSavedObjectMeta"].(map[string]any)
	text, _ := meta["searchSourceJSON"].(string)
	decode(t, o.ID+": searchSourceJSON", text, &s)
	return s
}

// visState is the state of a visualization.
type visState struct {
	Title, Type string
	Params      map[string]any
	Aggs        []visAgg
}

type visAgg struct {
	ID, Type, Schema string
	Enabled          bool
	Params           map[string]any
}

func (o *saved) state(t *testing.T) (v visState) {
	t.Helper()
	o.inner(t, "visState", &v)
	return v
}

// view returns the data view of an object, and nothing for those that have none.
func (o *saved) view() string {
	for _, r := range o.References {
		if r.Type == "index-pattern" {
			return r.ID
		}
	}
	return ""
}

// required are the attributes without which a type of object can't be shown.
var required = map[string][]string{
	"index-pattern": {"title", "timeFieldName", "fields", "fieldFormatMap"},
	"visualization": {"title", "visState", "uiStateJSON", "version", "kibanaSavedObjectMeta"},
	"search":        {"title", "columns", "sort", "version", "kibanaSavedObjectMeta"},
	"map":           {"title", "layerListJSON", "mapStateJSON", "uiStateJSON"},
	"dashboard":     {"title", "panelsJSON", "optionsJSON", "version", "timeRestore", "kibanaSavedObjectMeta"},
}

// TestForm holds each file against the form of its version: what is required is there, what is JSON in a text can be read, ids are
// unique, and references lead to objects of the same file.
func TestForm(t *testing.T) {
	for _, f := range files(t) {
		t.Run(f.product.String()+" "+f.version, func(t *testing.T) {
			known, titles := map[string]bool{}, map[string]bool{}
			for _, o := range f.objects {
				key := o.Type + "/" + o.ID
				if known[key] {
					t.Errorf("%s is there twice", key)
				}
				if known[key] = true; titles[o.Type+o.text("title")] {
					t.Errorf("%s has the title of another", key)
				}
				titles[o.Type+o.text("title")] = true
				for _, r := range o.References {
					if !known[r.Type+"/"+r.ID] {
						t.Errorf("%s refers to %s/%s, which isn't before it", key, r.Type, r.ID)
					}
				}
				if required[o.Type] == nil {
					t.Errorf("%s is of a type that isn't known", key)
				}
				for _, name := range required[o.Type] {
					if o.Attributes[name] == nil {
						t.Errorf("%s has no %s", key, name)
					}
				}
				if o.Type != "index-pattern" && !strings.HasPrefix(o.text("title"), "[culprit] ") {
					t.Errorf("the title of %s doesn't tell whose it is: %q", key, o.text("title"))
				}
				checkVersions(t, &f, &o)
				checkNames(t, &o)
			}
			for _, d := range []string{"overview", "search", "response-times", "errors", "content-types", "slow-requests", "clients-map", "connections"} {
				if !known["dashboard/culprit-"+d] {
					t.Errorf("there is no dashboard %s", d)
				}
			}
		})
	}
}

// checkVersions: from 8.8 on Kibana has one version for an object's type, before it one for each type, as OpenSearch Dashboards. None may be
// newer than the product.
func checkVersions(t *testing.T, f *file, o *saved) {
	t.Helper()
	var oldest, newest string
	switch {
	case f.product == deploy.OpenSearchDashboards:
		newest = "7.10.2" // of Kibana, from which it stems
	case f.version[0] == '8':
		oldest, newest = "8.8.0", "8.8.0"
	default:
		oldest, newest = "7.14.0", "7.14.0"
	}
	typ := o.TypeMigrationVersion
	if oldest != "8.8.0" {
		if typ != "" {
			t.Errorf("%s %s: typeMigrationVersion isn't known before 8.8", o.Type, o.ID)
		}
		typ = o.MigrationVersion[o.Type]
	} else if o.MigrationVersion != nil {
		t.Errorf("%s %s: migrationVersion has gone with 8.8", o.Type, o.ID)
	}
	if o.CoreMigrationVersion != oldest {
		t.Errorf("%s %s: coreMigrationVersion %q, not %q", o.Type, o.ID, o.CoreMigrationVersion, oldest)
	}
	if typ == "" || later(t, typ, newest) {
		t.Errorf("%s %s: the version of the type is %q: newer than %s", o.Type, o.ID, typ, newest)
	}
}

// later reports whether version a is later than b.
func later(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y [3]int
	for v, n := range map[string]*[3]int{a: &x, b: &y} {
		if _, err := fmt.Sscanf(v, "%d.%d.%d", &n[0], &n[1], &n[2]); err != nil {
			t.Fatalf("version %q: %v", v, err)
		}
	}
	return slices.Compare(x[:], y[:]) > 0
}

// checkNames: what attributes refer to by name is among the references, and every reference is used.
func checkNames(t *testing.T, o *saved) {
	t.Helper()
	used := map[string]bool{}
	switch o.Type {
	case "visualization", "search":
		s := o.source(t)
		if s.IndexRefName != "" {
			used[s.IndexRefName] = true
		}
		if s.Query.Language != "lucene" || s.Filter == nil {
			t.Errorf("%s asks %+v", o.ID, s)
		}
	case "map":
		var layers []struct {
			SourceDescriptor struct{ IndexPatternRefName string }
		}
		o.inner(t, "layerListJSON", &layers)
		for _, l := range layers {
			if name := l.SourceDescriptor.IndexPatternRefName; name != "" {
				used[name] = true
			}
		}
		var state struct{ Settings map[string]any }
		o.inner(t, "mapStateJSON", &state)
		o.inner(t, "uiStateJSON", &state)
	case "dashboard":
		checkPanels(t, o, used)
	case "index-pattern":
		var formats map[string]struct{ ID string }
		o.inner(t, "fieldFormatMap", &formats)
		var fields []any
		o.inner(t, "fields", &fields)
	}
	for _, r := range o.References {
		if !used[r.Name] {
			t.Errorf("%s %s doesn't use its reference %q", o.Type, o.ID, r.Name)
		}
		delete(used, r.Name)
	}
	for name := range used {
		t.Errorf("%s %s has no reference %q", o.Type, o.ID, name)
	}
}

// checkPanels: the panels of a dashboard lie within its 48 columns, and not on each other.
func checkPanels(t *testing.T, o *saved, used map[string]bool) {
	t.Helper()
	type box struct {
		X, Y, W, H int
		I          string
	}
	var panels []struct {
		Version, Type, PanelIndex, PanelRefName string
		EmbeddableConfig                        map[string]any
		GridData                                box
	}
	o.inner(t, "panelsJSON", &panels)
	var options map[string]bool
	o.inner(t, "optionsJSON", &options)
	var boxes []box
	for _, p := range panels {
		name := p.PanelRefName
		if o.CoreMigrationVersion != "" {
			name = p.PanelIndex + ":" + name
		}
		used[name] = true
		g := p.GridData
		if p.PanelIndex == "" || g.I != p.PanelIndex || p.EmbeddableConfig == nil || p.Version == "" {
			t.Errorf("%s: panel %+v", o.ID, p)
		}
		if g.X < 0 || g.Y < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > 48 {
			t.Errorf("%s: panel %s doesn't fit: %+v", o.ID, p.PanelIndex, g)
		}
		for _, b := range boxes {
			if g.X < b.X+b.W && b.X < g.X+g.W && g.Y < b.Y+b.H && b.Y < g.Y+g.H {
				t.Errorf("%s: panels %s and %s lie on each other", o.ID, b.I, g.I)
			}
		}
		boxes = append(boxes, g)
		for _, r := range o.References {
			if r.Name == name && r.Type != p.Type {
				t.Errorf("%s: panel %s is a %s, and refers to a %s", o.ID, p.PanelIndex, p.Type, r.Type)
			}
		}
	}
	if len(panels) < 2 {
		t.Errorf("%s has %d panels", o.ID, len(panels))
	}
}

// TestAllPanelsAreUsed: no panel is on no dashboard.
func TestAllPanelsAreUsed(t *testing.T) {
	for _, f := range files(t) {
		used := map[string]bool{}
		for _, o := range f.objects {
			for _, r := range o.References {
				used[r.Type+"/"+r.ID] = true
			}
		}
		for _, o := range f.objects {
			if o.Type != "dashboard" && !used[o.Type+"/"+o.ID] {
				t.Errorf("%s %s: %s %s is on no dashboard", f.product, f.version, o.Type, o.ID)
			}
		}
	}
}

var link = regexp.MustCompile(`\(#/view/([^)]*)\)`)

// TestLinks: the links between the dashboards lead to dashboards, and to all of them.
func TestLinks(t *testing.T) {
	for _, f := range files(t) {
		boards := map[string]bool{}
		var text string
		for _, o := range f.objects {
			if o.Type == "dashboard" {
				boards[o.ID] = true
			}
			if o.Type == "visualization" {
				if v := o.state(t); v.Type == "markdown" {
					text, _ = v.Params["markdown"].(string)
				}
			}
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if !boards[m[1]] {
				t.Errorf("%s: a link leads to %q", f.product, m[1])
			}
			delete(boards, m[1])
		}
		for id := range boards {
			t.Errorf("%s: no link leads to %s", f.product, id)
		}
	}
}

func TestSavedObjects(t *testing.T) {
	for _, c := range []struct {
		product        deploy.Product
		version, index string
		want, problem  string
	}{
		{deploy.Kibana, "9.2.0", "culprit", "kibana/culprit.ndjson", ""},
		{deploy.Kibana, "8.8.0", "culprit", "kibana/culprit.ndjson", ""},
		{deploy.Kibana, "8.7.1", "culprit", "kibana/culprit-7.ndjson", ""},
		{deploy.Kibana, "7.14.0", "culprit", "kibana/culprit-7.ndjson", ""},
		{deploy.Kibana, "7.13.4", "culprit", "", "Kibana 7.13.4 is too old for the dashboards: they need 7.14 or newer"},
		{deploy.Kibana, "8.10.0-SNAPSHOT", "culprit", "kibana/culprit.ndjson", ""},
		{deploy.Kibana, "new", "culprit", "", `Kibana says that it is version "new": invalid syntax`},
		{deploy.Kibana, "8.x", "culprit", "", `Kibana says that it is version "8.x": strconv.Atoi: parsing "x": invalid syntax`},
		{deploy.OpenSearchDashboards, "3.1.0", "culprit", "opensearch-dashboards/culprit.ndjson", ""},
		{deploy.Kibana, "8.8.0", "web-1_x", "kibana/culprit.ndjson", ""},
		{deploy.Kibana, "8.8.0", `a"b`, "", `no index can be named "a\"b": small letters, digits, - and _ can`},
		{deploy.Kibana, "8.8.0", "Web", "", `no index can be named "Web": small letters, digits, - and _ can`},
		{deploy.Kibana, "8.8.0", "", "", `no index can be named "": small letters, digits, - and _ can`},
	} {
		name, text, err := deploy.SavedObjects(c.product, c.version, c.index)
		if problem := fmt.Sprint(err); name != c.want || problem != c.problem && (err != nil || c.problem != "") {
			t.Errorf("%s %s, %q: %q, %v", c.product, c.version, c.index, name, err)
		}
		if err != nil {
			continue
		}
		if c.index != "culprit" && bytes.Contains(text, []byte("culprit-exchanges-*")) || !bytes.Contains(text, []byte(c.index+"-rollups-*")) {
			t.Errorf("the objects for indices %s-… ask others", c.index)
		}
		parse(t, text)
	}
}
