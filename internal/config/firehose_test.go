package config

import (
	"strings"
	"testing"
)

func TestFirehoseParties(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.2:80": "10.0.0.2:80", "10.0.0.2": "10.0.0.2:0", "80": "invalid AddrPort", ":80": "invalid AddrPort", "[2001:db8::2]:443": "[2001:db8::2]:443",
		"2001:db8::2": "[2001:db8::2]:0", "[2001:db8::2]": "[2001:db8::2]:0", "::ffff:10.0.0.2": "10.0.0.2:0", "[::ffff:10.0.0.2]:80": "10.0.0.2:80",
	} {
		f := DefaultFirehose()
		f.Parties = []string{text}
		ends, err := f.Ends()
		if err != nil || len(ends) != 1 || ends[0].String() != want {
			t.Errorf("%s: %v, %v, want %s", text, ends, err, want)
		}
		if strings.HasSuffix(text, "80") && err == nil && len(ends) == 1 && ends[0].Port() != 80 {
			t.Errorf("%s: port %d", text, ends[0].Port())
		}
	}
	for _, text := range []string{"", "web", "10.0.0.2:0", "10.0.0.2:http", "70000", "0", "10.0.0.2:80:80", "fe80::1%eth0", "-1", "10.0.0.0/8"} {
		f := DefaultFirehose()
		if f.Parties = []string{text}; f.Validate() == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestFirehoseValidate(t *testing.T) {
	if f := DefaultFirehose(); f.Validate() != nil {
		t.Errorf("the defaults are refused: %v", f.Validate())
	}
	for want, change := range map[string]func(f *Firehose){
		"side":                func(f *Firehose) { f.Side = "server" },
		"want one of both":    func(f *Firehose) { f.Direction = "inout" },
		"mode":                func(f *Firehose) { f.Mode = "" },
		"queue":               func(f *Firehose) { f.Queue = 1000 },
		"queue 2GiB":          func(f *Firehose) { f.Queue = 2 << 30 },
		"by connection":       func(f *Firehose) { f.Side, f.Mode = "proxy", "request" },
		"name its address":    func(f *Firehose) { f.Side, f.Parties = "proxy", []string{"80"} },
		"party \"elsewhere\"": func(f *Firehose) { f.Parties = []string{"elsewhere"} },
	} {
		f := DefaultFirehose()
		change(&f)
		if err := f.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one that says %q", err, want)
		}
	}
}
