package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseOutput(t *testing.T) {
	settings := func(name string) bool { return name == "elastic" || name == "otlp" }
	for _, c := range []struct {
		arg  string
		want Output
	}{
		{"line", Output{Name: "line", Text: "line"}},
		{"har=a?b=c.har", Output{Name: "har", Target: "a?b=c.har", HasTarget: true, Text: "har=a?b=c.har"}},
		{"har=", Output{Name: "har", HasTarget: true, Text: "har="}},
		{"elastic=https://u:p@es:9200/x,http://u@b?index=a%26b&api_key=x+/==", Output{
			Name: "elastic", Target: "https://u:p@es:9200/x,http://u@b", HasTarget: true, Text: "elastic=https://es:9200/x,http://b",
			Settings: []OutputSetting{{"index", "a&b"}, {"api_key", "x+/=="}},
		}},
		{"otlp?protocol=grpc", Output{Name: "otlp", Text: "otlp", Settings: []OutputSetting{{"protocol", "grpc"}}}},
		{"elastic=x?", Output{Name: "elastic", Target: "x", HasTarget: true, Text: "elastic=x"}},
	} {
		got, err := ParseOutput(c.arg, settings)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.arg, got, err)
		}
	}
	for _, bad := range []string{"elastic=x?index", "elastic=x?a=1&a=2", "elastic=x?a=%zz"} {
		if _, err := ParseOutput(bad, settings); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestExpand(t *testing.T) {
	lookup := func(name string) (string, bool) { v, ok := map[string]string{"A": "1", "B": "${A}"}[name]; return v, ok }
	for text, want := range map[string]string{"": "", "x": "x", "${A}": "1", "a${A}b${B}$$c$": "a1b${A}$c$", "$A": "$A"} {
		if got, err := Expand(text, lookup); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, bad := range []string{"${C}", "${A", "${}"} {
		if got, err := Expand(bad, lookup); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

func TestFileOutputs(t *testing.T) {
	f, err := ParseFile("f", []byte("output:\n  - ndjson=/x\n  - elastic:\n      target: [https://a, https://b]\n      index: c\n      workers: 3\n  - metrics:\n"), nil)
	want := []Output{
		{Text: "ndjson=/x"},
		{Name: "elastic", Target: "https://a,https://b", HasTarget: true, Text: "elastic=https://a,https://b", Settings: []OutputSetting{{"index", "c"}, {"workers", "3"}}},
		{Name: "metrics", Text: "metrics"},
	}
	if err != nil || !reflect.DeepEqual(f.Outputs, want) {
		t.Fatalf("%+v, %v", f, err)
	}
	for _, c := range []struct{ text, want string }{
		{"output:\n  - elastic:\n      a: 1\n    kafka:\n      b: 1\n", "want one name"},
		{"output:\n  - elastic:\n      a: {b: c}\n", "f:3:10: output.elastic.a"},
		{"output:\n  - elastic: x\n", "output.elastic has keys"},
		{"output:\n  - [a]\n", "one value"},
		{"output:\n  - elastic:\n      a: 1\n      a: 2\n", "already"},
	} {
		if _, err := ParseFile("f", []byte(c.text), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.text, err)
		}
	}
}
