package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var fileKeys = []Key{{"interface", true}, {"max_body", false}, {"retain", false}, {"reveal", false}, {"where", false}, {"workers", false}}

func TestFile(t *testing.T) {
	f, err := ParseFile("c.yaml", []byte(`# all of it
interface: [eth0, "eth1"]
max_body: 64KiB
retain: 7d
reveal: false
workers: 0x4
where: >-
  status >= 500
  and path != "/healthz"
services:
  checkout: [10.0.0.0/24:8080, 10.1.0.7, "[2001:db8::]/64:443"]
  payments: ":9000"
hosts:
  db1.example: [10.0.0.5, "2001:db8::5"]
routes:
  - /api/users/{id}
  - /static/*
redact:
  names: [employee_id, "*ticket"]
  keep: [x-request-token]
  cookies:
    keep: [lang, theme]
  patterns: ['EMP-[0-9]{4}']
`), fileKeys)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, s := range f.Settings {
		got[s.Key] = s.Values
	}
	want := map[string][]string{
		"interface": {"eth0", "eth1"}, "max_body": {"64KiB"}, "retain": {"7d"}, "reveal": {"false"}, "workers": {"0x4"},
		"where": {`status >= 500 and path != "/healthz"`},
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %q", got)
	}
	for _, c := range []struct{ got, want any }{
		{f.Services, map[string][]string{"checkout": {"10.0.0.0/24:8080", "10.1.0.7", "[2001:db8::]/64:443"}, "payments": {":9000"}}},
		{f.Hosts, map[string][]string{"db1.example": {"10.0.0.5", "2001:db8::5"}}},
		{f.Routes, []string{"/api/users/{id}", "/static/*"}},
		{f.Redaction, Redaction{
			Names: []string{"employee_id", "*ticket"}, Keep: []string{"x-request-token"}, KeepCookies: []string{"lang", "theme"},
			Patterns: []string{"EMP-[0-9]{4}"},
		}},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	if err := f.Errorf("interface", 1, "no"); err.Error() != "c.yaml:2:19: interface: no" {
		t.Error(err)
	}
	if err := f.Errorf("redact.patterns", 0, "no"); !strings.HasPrefix(err.Error(), "c.yaml:23:3: ") {
		t.Error(err)
	}
}

func TestEmptyFile(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "{}"} {
		if f, err := ParseFile("c.yaml", []byte(text), fileKeys); err != nil || len(f.Settings) > 0 {
			t.Errorf("%q: %v, %v", text, f, err)
		}
	}
}

func TestFileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"max_bdy: 1":                          "c.yaml:1:1: there is no key max_bdy; did you mean max_body?",
		"max-body: 1":                         "c.yaml:1:1: there is no key max-body; did you mean max_body?",
		"reveal: true\nxyzzyplugh: 1":         "c.yaml:2:1: there is no key xyzzyplugh; docs/config.md lists the keys",
		"max_body: [1, 2]":                    "c.yaml:1:11: max_body takes one value, and this is a list",
		"max_body:":                           "c.yaml:1:1: max_body has no value; leave it out, or give it one",
		"max_body: {a: 1}":                    "c.yaml:1:11: max_body: this is to be one value: a text, a number, true or false",
		"interface: [[a]]":                    "c.yaml:1:13: interface: this is to be one value: a text, a number, true or false",
		"redact: [a]":                         "c.yaml:1:9: redact has keys with values below it",
		"redact:\n  name: [a]":                "c.yaml:2:3: there is no key name in redact; did you mean names?",
		"redact:\n  cookies:\n    show: [a]":  "c.yaml:3:5: there is no key show in redact.cookies; there are keep",
		"services:\n  a: [{b: 1}]":            "c.yaml:2:7: services.a: this is to be one value: a text, a number, true or false",
		"a\n":                                 "c.yaml:1:1: a configuration is a list of keys with values, such as max_body: 64KiB",
		"reveal: true\n---\nreveal: true":     "c.yaml:3:7: a second document begins here: write all keys into one",
		"max_body: &x 1":                      "c.yaml:1:11: max_body: anchors, references and tags aren't possible here: write the value out",
		strings.Repeat(" ", MaxFile) + "a: b": "c.yaml: it has 1048580 bytes, and a configuration has at most 1048576",
	} {
		_, err := ParseFile("c.yaml", []byte(text), fileKeys)
		if err == nil || err.Error() != want {
			t.Errorf("%.60q: got %v\nwant %s", text, err, want)
		}
	}
	for text, part := range map[string]string{
		"max_body: 1\nmax_body: 2": "c.yaml:2:1: ", "a: [": "c.yaml:1:", "\tmax_body: 1": "c.yaml:1:", "max_body: 'a": "c.yaml:1:",
	} {
		_, err := ParseFile("c.yaml", []byte(text), fileKeys)
		if err == nil || !strings.HasPrefix(err.Error(), part) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

// Whatever a file holds, it is read or refused with an error that names it.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{"", "max_body: 1", "redact:\n  cookies: {keep: [a]}\n", "services: {a: [b, ':9']}", "a: &x [*x]", "? [a]\n: b", "<<: {a: b}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := ParseFile("c.yaml", text, fileKeys); err != nil && !strings.HasPrefix(err.Error(), "c.yaml:") {
			t.Errorf("%v", err)
		}
	})
}
