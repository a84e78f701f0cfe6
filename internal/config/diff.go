package config

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Diff is what culprit diff can be told.
type Diff struct {
	// Capture says how both recordings are read; its Inputs aren't used.
	Capture
	// Before and After are the files of the two recordings. With Store, each is one word that may be a period of it: FROM..TO.
	Before, After []string
	// Store is the folder of a store, or a cluster's URL; empty: none.
	Store string
	// ExpectSame: a difference is an error.
	ExpectSame bool
	// IgnoreHosts: routes of all hosts are compared together.
	IgnoreHosts bool
	// Alpha is which share of the differences found may be chance, MinChange the least relative change that counts, in percent.
	Alpha     float64
	MinChange float64
	// All shows endpoints that don't differ, too; Rows is how many differences are shown, 0 for all.
	All  bool
	Rows int
	// JSON asks for one JSON document.
	JSON bool
}

// DefaultDiff returns the defaults.
func DefaultDiff() Diff {
	return Diff{Capture: DefaultCapture(), Alpha: 0.05, MinChange: 5, Rows: 50}
}

// Name takes the words of the command line, which are the two recordings unless --before and --after name them.
func (d *Diff) Name(words []string) error {
	switch {
	case len(words) == 0:
		return nil
	case len(d.Before)+len(d.After) > 0:
		return fmt.Errorf("%q: the recordings are named by --before and --after already", words[0])
	case len(words) != 2:
		return fmt.Errorf("there must be two recordings, and there are %d: for several files of one, write --before FILE --before FILE --after FILE", len(words))
	}
	d.Before, d.After = words[:1], words[1:]
	return nil
}

// Validate checks what can be checked without opening anything. Errors name the option.
func (d *Diff) Validate() error {
	switch {
	case len(d.Before) == 0 || len(d.After) == 0:
		return errors.New("nothing to compare: name two recordings, as in culprit diff BEFORE AFTER")
	case d.Alpha <= 0 || d.Alpha > 0.5:
		return fmt.Errorf("--alpha %v: more than 0, at most 0.5", d.Alpha)
	case d.MinChange < 0:
		return fmt.Errorf("--min-change %v is negative", d.MinChange)
	case d.Rows < 0:
		return fmt.Errorf("--rows %d: must not be negative; 0 is all", d.Rows)
	}
	for _, words := range [...][]string{d.Before, d.After} {
		if r := d.Side(words); r.Store == "" {
			if err := r.Validate(); err != nil {
				return err
			}
		} else if _, _, err := r.Times(time.Unix(0, 0)); err != nil {
			return fmt.Errorf("%q isn't a period of the store, FROM..TO: %w", words[0], err)
		}
	}
	return d.Capture.validate()
}

// Side returns what to read for one of the recordings.
func (d *Diff) Side(words []string) Recordings {
	r := Recordings{Capture: d.Capture}
	if d.Store != "" && len(words) == 1 {
		if from, to, ok := strings.Cut(words[0], ".."); ok && !strings.Contains(words[0], "/") { // ../FILE is one
			r.Inputs, r.Store, r.From, r.To = nil, d.Store, from, to
			return r
		}
	}
	r.Inputs = words
	return r
}
