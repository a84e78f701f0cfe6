package config

import (
	"strings"
	"testing"
)

func TestConvert(t *testing.T) {
	for _, c := range []struct {
		inputs, outputs, want string
		change                func(c *Convert)
	}{
		{"a", "har=x", "", nil},
		{"a b", "har=x ndjson=- firehose=y pcapng=z=1", "", nil},
		{"", "har=x", "nothing to read", nil},
		{"a", "", "nothing to make", nil},
		{"a", "har", "name a file", nil},
		{"a", "line=x", "one of pcapng, firehose, har, ndjson", nil},
		{"a", "har=x ndjson=x", "written already", nil},
		{"a", "har=x", "neither live nor followed", func(c *Convert) { c.Follow = true }},
		{"a", "har=x", "--memory", func(c *Convert) { c.Memory = 1 }},
	} {
		v := DefaultConvert()
		v.Inputs, v.Outputs = strings.Fields(c.inputs), strings.Fields(c.outputs)
		if c.change != nil {
			c.change(&v)
		}
		switch err := v.Validate(); {
		case c.want == "" && err != nil:
			t.Errorf("%s to %s: %v", c.inputs, c.outputs, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s to %s: %v, want %q", c.inputs, c.outputs, err, c.want)
		}
	}
	v := DefaultConvert()
	v.Outputs = []string{"pcapng=a=b", "har=-"}
	got, err := v.Targets()
	if err != nil || len(got) != 2 || got[0] != (ConvertTarget{"pcapng", "a=b"}) || got[1] != (ConvertTarget{"har", "-"}) || !got[0].Raw() || got[1].Raw() {
		t.Errorf("targets %v, %v", got, err)
	}
}
