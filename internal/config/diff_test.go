package config

import (
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	for _, c := range []struct {
		name  string
		words []string
		set   func(d *Diff)
		want  string
	}{
		{"two files", []string{"a", "b"}, func(*Diff) {}, ""},
		{"several files", nil, func(d *Diff) { d.Before, d.After = []string{"a", "b"}, []string{"c"} }, ""},
		{"two periods", []string{"2026-11-20..2026-11-21", "2026-11-21.."}, func(d *Diff) { d.Store = "dir" }, ""},
		{"a period that is none", []string{"a..b", "c"}, func(d *Diff) { d.Store = "dir" }, `"a..b" isn't a period`},
		{"a period, and a file", []string{"2026-11-20..", "../b.har"}, func(d *Diff) { d.Store = "dir" }, ""},
		{"a period the wrong way", []string{"2026-11-22..2026-11-21", "c"}, func(d *Diff) { d.Store = "dir" }, "isn't before"},
		{"none", nil, func(*Diff) {}, "nothing to compare"},
		{"one", []string{"a"}, func(*Diff) {}, "there must be two recordings, and there are 1"},
		{"three", []string{"a", "b", "c"}, func(*Diff) {}, "there are 3"},
		{"both ways", []string{"a", "b"}, func(d *Diff) { d.After = []string{"c"} }, "named by --before and --after already"},
		{"one side", nil, func(d *Diff) { d.After = []string{"c"} }, "nothing to compare"},
		{"alpha", []string{"a", "b"}, func(d *Diff) { d.Alpha = 1 }, "--alpha"},
		{"change", []string{"a", "b"}, func(d *Diff) { d.MinChange = -1 }, "--min-change"},
		{"rows", []string{"a", "b"}, func(d *Diff) { d.Rows = -1 }, "--rows"},
		{"memory", []string{"a", "b"}, func(d *Diff) { d.Memory = 1 }, "--memory"},
	} {
		d := DefaultDiff()
		c.set(&d)
		err := d.Name(c.words)
		if err == nil {
			err = d.Validate()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	d := Diff{Store: "dir"}
	if r := d.Side([]string{"2026-11-20..2026-11-21"}); r.Store != "dir" || r.From != "2026-11-20" || r.To != "2026-11-21" || r.Inputs != nil {
		t.Errorf("%+v", r)
	}
	if r := d.Side([]string{"a.har"}); r.Store != "" || r.Inputs[0] != "a.har" {
		t.Errorf("%+v", r)
	}
}
