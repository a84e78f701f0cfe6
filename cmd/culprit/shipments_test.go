package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/config"
)

// settingsOf returns the settings that an output asks for.
func settingsOf(t *testing.T, k *kind) []string {
	t.Helper()
	target := map[string]string{"logstash": "tcp://a:1", "beats": "tcp://a", "kafka": "a"}[k.name]
	o := order{kind: *k, Output: config.Output{Name: k.name, Target: target, HasTarget: target != "", Text: k.name}}
	s := &settings{output: &o.Output}
	if err := o.readFrom(s, nil); err != nil {
		t.Fatal(err)
	}
	slices.Sort(s.asked)
	return slices.Compact(s.asked)
}

// TestOutputDocs holds docs/outputs.md against the settings that there are.
func TestOutputDocs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "outputs.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(text), "\n## ")
	documented := map[string][]string{}
	for _, s := range sections[1:] {
		title, _, _ := strings.Cut(s, "\n")
		for _, row := range regexp.MustCompile("(?m)^\\| ((?:`[a-z_]+`(?:, )?)+) \\|").FindAllStringSubmatch(s, -1) {
			documented[title] = append(documented[title], regexp.MustCompile("[a-z_]+").FindAllString(row[1], -1)...)
		}
	}
	all := documented["Settings of all outputs that deliver"]
	credentials := []string{"user", "password", "password_file", "api_key", "api_key_file", "bearer", "bearer_file"}
	for i := range kinds {
		k := &kinds[i]
		if !strings.Contains(string(text), "\n| `"+k.name+"` |") {
			t.Errorf("docs/outputs.md lacks %s", k.name)
		}
		if !k.settings() {
			continue
		}
		asked := settingsOf(t, k)
		for _, name := range asked {
			if !slices.Contains(slices.Concat(all, credentials, documented[k.name]), name) {
				t.Errorf("docs/outputs.md lacks the setting %s of %s", name, k.name)
			}
		}
		for _, name := range documented[k.name] {
			if !slices.Contains(asked, name) {
				t.Errorf("docs/outputs.md has the setting %s of %s, which isn't there", name, k.name)
			}
		}
		if k.ship != nil {
			for _, name := range all {
				if !slices.Contains(asked, name) {
					t.Errorf("docs/outputs.md says that %s has the setting %s", k.name, name)
				}
			}
		}
	}
}

// TestSettings: what is wrong is told with the output and the key, all at once.
func TestSettings(t *testing.T) {
	for _, c := range []struct{ arg, want string }{
		{"elastic=http://a?nonsense=1", "there is no setting nonsense"},
		{"elastic=ftp://a", "want a URL such as http"},
		{"elastic=http://a?workers=0", "workers: \"0\": want a number from 1 to 64"},
		{"elastic=http://a?workers=0&index=A", "workers"},
		{"elastic=http://a?spool=1KiB", "spool: 1KiB: want from 4MiB"},
		{"elastic=http://a?spool=much", "spool: \"much\": want a size"},
		{"elastic=http://a?timeout=1", "timeout: \"1\": want a time"},
		{"elastic=http://a?insecure=maybe", "want true or false"},
		{"elastic=http://a?compression=zip", "want one of gzip, none"},
		{"elastic=http://a?ca=/nowhere", "ca: open /nowhere"},
		{"elastic=http://a?api_key=x&bearer=y", "several credentials"},
		{"elastic=http://a?api_key=${NOWHERE_TO_BE_FOUND}", "the environment has no such variable"},
		{"elastic=http://a?name=a/b", "a name that a folder can have"},
		{"elastic=http://a?a=1&a=2", "twice"},
		{"logstash", "want"},
		{"kafka=", "want"},
		{"otlp=http://a/v1/traces", "is appended"},
		{"beats=tcp://a?window=x", "window"},
		{"metrics=127.0.0.1:0?max_series=0", "max_series"},
	} {
		_, err := parseOutputs(&config.Trace{Outputs: []string{c.arg}}, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", c.arg, err)
		}
	}
	both := []string{"elastic=http://a", "elastic=http://b"}
	if _, err := parseOutputs(&config.Trace{Outputs: both}, nil); err == nil || !strings.Contains(err.Error(), "the setting name") {
		t.Errorf("%v", err)
	}
	both[1] += "?name=second"
	if orders, err := parseOutputs(&config.Trace{Outputs: both}, nil); err != nil || len(orders) != 2 || orders[1].parcel.name != "second" {
		t.Errorf("%v", err)
	}
}
