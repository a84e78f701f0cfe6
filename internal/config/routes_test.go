package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseRoutes(t *testing.T) {
	f, err := ParseRoutes("r.yaml", []byte(`
routes:
  - /u/{name}
expect:
  - host: shop.example
    route: /u/{name}
    methods: [GET, HEAD]
    statuses: [2xx, 404]
    chains:
      - [front, app?]
      - ["10.0.0.7:80"]
    required: true
  - statuses: 200
    chain: app
`))
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.Expect {
		f.Expect[i].at = nil
	}
	if want := []ExpectedRoute{
		{Host: "shop.example", Route: "/u/{name}", Methods: []string{"GET", "HEAD"}, Statuses: []string{"2xx", "404"}, Chains: [][]string{{"front", "app?"}, {"10.0.0.7:80"}}, Required: true, Line: 5},
		{Statuses: []string{"200"}, Chains: [][]string{{"app"}}, Line: 13},
	}; !reflect.DeepEqual(f.Expect, want) || !reflect.DeepEqual(f.Routes, []string{"/u/{name}"}) {
		t.Errorf("%+v, want %+v", f.Expect, want)
	}
}

func TestParseWrongRoutes(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "r.yaml: it expects nothing",
		"expect: []":                             "r.yaml: it expects nothing",
		"routes: [/x]":                           "r.yaml: it expects nothing",
		"expect: {host: a}":                      "r.yaml:1:9: expect is a list",
		"expect:\n  - host: a":                   "r.yaml:2:5: a route needs a chain, chains, or statuses",
		"expect:\n  - chain: []":                 "r.yaml:2:5: a chain needs a hop",
		"expect:\n  - chain: a\n    chains: []":  "r.yaml:2:5: chain and chains exclude each other",
		"expect:\n  - chains: [a]":               "r.yaml:2:14: expect.chains is a list of lists",
		"expect:\n  - chains: a":                 "r.yaml:2:13: expect.chains is a list of lists; write a single one as chain",
		"expect:\n  - chain: a\n    required: 1": "r.yaml:3:15: expect.required is true or false",
		"expect:\n  - chain: a\n    host: [b]":   "r.yaml:3:11: expect.host: this is to be one value",
		"expect:\n  - chain: a\n    hosts: b":    "r.yaml:3:5: there is no key hosts in expect; did you mean host?",
		"expect:\n  - chain: a\n    chain: b":    "r.yaml:3:5: ",
		"expected:\n  - chain: a":                "r.yaml:1:1: there is no key expected",
		"expect:\n  - chain: a\n---\nexpect: []": "r.yaml:4:",
		"expect:\n  - a":                         "r.yaml:2:5: expect has keys with values below it",
		"expect: [":                              "r.yaml:1:",
		strings.Repeat(" ", MaxFile+1):           "r.yaml: it has 1048577 bytes",
	} {
		if _, err := ParseRoutes("r.yaml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
}

// Whatever is in a file, reading it ends, and an error has its name.
func FuzzParseRoutes(f *testing.F) {
	f.Add("expect:\n  - host: a\n    route: /x\n    chains: [[a, b?], ['c|d /e']]\n    required: true")
	f.Add("routes: ['/u/{name}']\nexpect: [{chain: a, statuses: 2xx, methods: [GET]}]")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseRoutes("r.yaml", []byte(text))
		if err != nil && !strings.HasPrefix(err.Error(), "r.yaml") {
			t.Error(err)
		}
		if err == nil && len(got.Expect) == 0 {
			t.Error("nothing is expected, and it wasn't said")
		}
	})
}

func TestRoutingValidate(t *testing.T) {
	for want, change := range map[string]func(r *Routing){
		"":                func(*Routing) {},
		"nothing to read": func(r *Routing) { r.Inputs = nil },
		"--expect and":    func(r *Routing) { r.Expect, r.Learn = "x", true },
		"-o is for":       func(r *Routing) { r.Expect, r.Output = "x", "csv" },
		"-o har: no such": func(r *Routing) { r.Output = "har" },
		"--quantiles is":  func(r *Routing) { r.Learn, r.Quantiles = true, "frugal" },
		"--limit -1":      func(r *Routing) { r.Limit = -1 },
		`--color "blue"`:  func(r *Routing) { r.Color = "blue" },
	} {
		r := DefaultRouting()
		r.Inputs = []string{"a.pcap"}
		change(&r)
		if err := r.Validate(); (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
