package record

import (
	"reflect"
	"testing"
)

// derived are the columns from which no exchange is made, and what their values follow from.
var derived = map[string]string{
	"event.outcome":        "status and grade",
	"network.type":         "the addresses",
	"network.community_id": "the addresses, ports and the transport",

	"process.pid":             "the server's process, or else the client's",
	"process.name":            "likewise",
	"process.executable":      "likewise",
	"process.command_line":    "likewise",
	"process.user.name":       "likewise",
	"http.request.id":         "headers",
	"http.request.mime_type":  "headers",
	"http.request.referrer":   "headers",
	"http.response.mime_type": "headers",
	"url.scheme":              "the target",
	"url.domain":              "the target, or headers",
	"url.port":                "the target, or headers",
	"url.path":                "the target",
	"url.query":               "the target",
	"user_agent.original":     "headers",
	"trace.id":                "headers",
	"culprit.timing.ttfb":     "send and wait",
}

// Every column makes a part of the exchange by itself, or together with others, or follows from others.
func TestEveryColumnIsUsed(t *testing.T) {
	together := map[int]bool{}
	var collect func(v reflect.Value)
	collect = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Int:
			together[int(v.Int())] = true
		case reflect.Array:
			for i := range v.Len() {
				collect(v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				collect(v.Field(i))
			}
		}
	}
	collect(reflect.ValueOf(cols))
	if together[-1] {
		t.Error("cols names a column that isn't there")
	}
	for i := range Columns {
		name := Columns[i].Name
		if used := setters[i] != nil || together[i]; used == (derived[name] != "") {
			t.Errorf("%s wants a setter or a place in cols, or else a reason in derived", name)
		}
	}
	for name := range derived {
		if Index(name) < 0 {
			t.Errorf("%s isn't a column", name)
		}
	}
	if len(Columns) > maxColumns {
		t.Errorf("%d columns are more than %d", len(Columns), maxColumns)
	}
}
