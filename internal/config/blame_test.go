package config

import (
	"strings"
	"testing"
)

func TestBlame(t *testing.T) {
	for want, change := range map[string]func(b *Blame){
		"":                func(*Blame) {},
		"nothing to read": func(b *Blame) { b.Inputs = nil },
		`--by "colour": situation, who, route, server, client, time`: func(b *Blame) { b.By = "colour" },
		"--rows -1":      func(b *Blame) { b.Rows = -1 },
		"--worst -1":     func(b *Blame) { b.Worst = -1 },
		"--worst 1001":   func(b *Blame) { b.Worst = 1001 },
		`--color "red"`:  func(b *Blame) { b.Color = "red" },
		"--memory 1MiB":  func(b *Blame) { b.Memory = 1 << 20 },
		"-i and -r excl": func(b *Blame) { b.Live.Interfaces = []string{"eth0"} },
	} {
		b := DefaultBlame()
		b.Inputs = []string{"a.pcap"}
		change(&b)
		if err := b.Validate(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
