package config

import (
	"strings"
	"testing"
	"time"
)

func TestRecordings(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(r *Recordings)
		want string
	}{
		{"a file", func(r *Recordings) { r.Inputs = []string{"a.har"} }, ""},
		{"a store", func(r *Recordings) { r.Store, r.From = "dir", "2026-11-21" }, ""},
		{"nothing", func(*Recordings) {}, "nothing to read"},
		{"bounds without a store", func(r *Recordings) { r.Inputs, r.Last = []string{"a.har"}, Age(time.Hour) }, "--last, --from and --to are for a store"},
		{"two kinds of bounds", func(r *Recordings) { r.Store, r.Last, r.To = "dir", Age(time.Hour), "2026-11-21" }, "exclude each other"},
		{"live", func(r *Recordings) { r.Store, r.Live.Interfaces = "dir", []string{"eth0"} }, "neither live nor followed"},
		{"followed", func(r *Recordings) { r.Inputs, r.Follow = []string{"a.pcap"}, true }, "neither live nor followed"},
		{"no memory", func(r *Recordings) { r.Inputs, r.Memory = []string{"a.pcap"}, 1 }, "--memory"},
	} {
		r := DefaultRecordings()
		c.set(&r)
		err := r.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	r := Recordings{Last: Age(time.Hour)}
	if from, to, err := r.Times(time.Unix(7200, 0)); from != 3600e9 || to != 0 || err != nil {
		t.Error(from, to, err)
	}
	r = Recordings{From: "nonsense"}
	if _, _, err := r.Times(time.Unix(7200, 0)); err == nil {
		t.Error("nonsense is taken for a time")
	}
}
