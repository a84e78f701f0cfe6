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
			Name: "elastic", Target: "https://u:p@es:9200/x,http://u@b", HasTarget: true, Text: "elastic=https://b",
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
	lookup := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "B": "${A}"}[name]
		return v, ok
	}
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

// TestNoSecretsInMessages: whatever is in a password, no part of it is in the name of an output, or in an error.
func TestNoSecretsInMessages(t *testing.T) {
	for target, want := range map[string]string{
		"https://u:geheim@es":              "https://es",
		"https://u:gehe/im,geheim@es:9200": "https://es:9200",
		"https://u:geheim@geheim@es":       "https://es",
		"https://a,https://u:geheim@b/x":   "https://b/x",
		"u:geheim@b1,b2":                   "b1,b2",
		"u:geheim://geheim@b":              "b",
		"gehe@im://x@b":                    "b",
		"https://es1,https://es2:9200/x":   "https://es1,https://es2:9200/x",
		"":                                 "",
	} {
		if got := hideCredentials(target); got != want {
			t.Errorf("%s: %s", target, got)
		}
	}
	all := func(string) bool { return true }
	for _, arg := range []string{"kafka=u:geheim@b", "elastic=https://a?geheim", "elastic=https://u:geheim?geheim@a", "elastic=https://u:geheim?x=geheim@a", "kafka=u:geheim?x=geheim@a",
		"elastic=https://a?x=1&geheim", "elastic=https://u:geheim@a?password=%zz"} {
		o, err := ParseOutput(arg, all)
		if err == nil && strings.Contains(o.Text, "geheim") || err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %s, %v", arg, o.Text, err)
		}
	}
	if o, err := ParseOutput("elastic=https://a:9200?user=u@b", all); err != nil || o.Text != "elastic=https://a:9200" {
		t.Errorf("%s, %v", o.Text, err)
	}
	for _, text := range []string{"geheim${", "geheim${geheim", "${geheim}geheim", "geheim${NO_SUCH}"} {
		_, err := Expand(text, func(string) (string, bool) { return "", false })
		if err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := Expand("${NO_SUCH}", func(string) (string, bool) { return "", false }); err == nil || !strings.Contains(err.Error(), "${NO_SUCH}") {
		t.Errorf("which one? %v", err)
	}
}
