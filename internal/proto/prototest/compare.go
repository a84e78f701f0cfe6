package prototest

import (
	"fmt"
	"strings"
)

// same compares records up to the first loss: what a parser finds again afterwards may depend on
// where segments begin.
func same(want, got []event) error {
	for i := range max(len(want), len(got)) {
		switch {
		case i == len(want):
			return fmt.Errorf("there is more: %s", got[i].text)
		case i == len(got):
			return fmt.Errorf("this is missing: %s", want[i].text)
		case want[i].text != got[i].text:
			return fmt.Errorf("got\n%s\ninstead of\n%s", got[i].text, want[i].text)
		case want[i].kind == lost:
			return nil
		}
	}
	return nil
}

// beginning reports whether got is the beginning of whole. Its last body may be the beginning of one.
func beginning(got, whole []event) error {
	last := len(got) - 1
	if last >= 0 && last < len(whole) && got[last].kind == body && whole[last].kind == body {
		if !strings.HasPrefix(whole[last].text, strings.TrimSuffix(got[last].text, `"`)) {
			return fmt.Errorf("got\n%s\ninstead of the beginning of\n%s", got[last].text, whole[last].text)
		}
		return same(whole[:last], got[:last])
	}
	return same(whole[:min(len(got), len(whole))], got)
}

// sameButMissing compares what a direction gave in two records, of which the second misses n bytes
// within the body that ends with the event within. The order of the directions isn't compared: a gap
// takes the place of bytes that came at different times.
func sameButMissing(whole, got []event, within *event, n int64) error {
	var want, have []event
	for i := range whole {
		if e := whole[i]; e.kind != body && e.lane == within.lane {
			if &whole[i] == within {
				e.text = strings.TrimSuffix(e.text, missing(e.missing)) + missing(e.missing+n)
			}
			want = append(want, e)
		}
	}
	for _, e := range got {
		if e.kind != body && e.lane == within.lane {
			have = append(have, e)
		}
	}
	return same(want, have)
}
