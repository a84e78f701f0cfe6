package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Blame is what culprit blame can be told.
type Blame struct {
	Capture
	// By is what the time lost is summed by: one of BlameBy.
	By string
	// Rows is how many rows the table has, 0: all. Worst is how many exchanges are shown with their evidence.
	Rows, Worst int
	// JSON prints one document instead of tables.
	JSON bool
	// Color is auto, always or never.
	Color string
}

// BlameBy is what culprit blame can sum by.
var BlameBy = []string{"situation", "who", "route", "server", "client", "time"}

// maxWorst bounds the exchanges that are kept with their evidence.
const maxWorst = 1000

// DefaultBlame returns the defaults.
func DefaultBlame() Blame {
	return Blame{Capture: DefaultCapture(), By: "situation", Rows: 10, Worst: 10, Color: "auto"}
}

// Validate checks what can be checked without opening anything. Errors name the option.
func (b *Blame) Validate() error {
	switch {
	case len(b.Inputs) == 0 && !b.Live.On():
		return errors.New("nothing to read: name a capture or a file of records with -r FILE, - for standard input, or an interface with -i")
	case !slices.Contains(BlameBy, b.By):
		return fmt.Errorf("--by %q: %s", b.By, strings.Join(BlameBy, ", "))
	case b.Rows < 0:
		return fmt.Errorf("--rows %d: must not be negative; 0 is all", b.Rows)
	case b.Worst < 0 || b.Worst > maxWorst:
		return fmt.Errorf("--worst %d: from 0 to %d", b.Worst, maxWorst)
	case b.Color != "auto" && b.Color != "always" && b.Color != "never":
		return fmt.Errorf("--color %q: auto, always or never", b.Color)
	}
	return b.Capture.validate()
}
