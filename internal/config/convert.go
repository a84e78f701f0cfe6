package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// DefaultConvertBody is how much of bodies is kept when recordings are converted, in bytes.
const DefaultConvertBody = 4 << 20

// ConvertFormats are what recordings can be converted to.
func ConvertFormats() []string { return []string{"pcapng", "firehose", "har", "ndjson"} }

// Convert is what culprit firehose convert can be told.
type Convert struct {
	Capture
	// Outputs are the arguments of -o: FORMAT=FILE each.
	Outputs []string
	// Force: files may be replaced.
	Force bool
}

// DefaultConvert returns the defaults.
func DefaultConvert() Convert {
	c := Convert{Capture: DefaultCapture()}
	c.MaxBody, c.Flows = DefaultConvertBody, "none"
	return c
}

// ConvertTarget is a file to make, of a format.
type ConvertTarget struct{ Format, Path string }

// Raw reports whether the format holds what was said as it was, so that secrets in it can't be hidden.
func (t *ConvertTarget) Raw() bool { return t.Format == "pcapng" || t.Format == "firehose" }

// Targets reads the outputs.
func (c *Convert) Targets() ([]ConvertTarget, error) {
	var all []ConvertTarget
	for _, arg := range c.Outputs {
		format, path, _ := strings.Cut(arg, "=")
		switch {
		case !slices.Contains(ConvertFormats(), format):
			return nil, fmt.Errorf("-o %s: want FORMAT=FILE, and one of %s", arg, strings.Join(ConvertFormats(), ", "))
		case path == "":
			return nil, fmt.Errorf("-o %s: name a file, %s=FILE, or - for standard output", arg, format)
		case slices.ContainsFunc(all, func(t ConvertTarget) bool { return t.Path == path }):
			return nil, fmt.Errorf("-o %s: %s is written already", arg, path)
		}
		all = append(all, ConvertTarget{format, path})
	}
	return all, nil
}

// Validate checks what can be checked without opening anything. Errors name the option.
func (c *Convert) Validate() error {
	switch {
	case len(c.Inputs) == 0:
		return errors.New("nothing to read: name a recording with -r FILE, - for standard input")
	case c.Live.On() || c.Follow:
		return errors.New("a recording is read from its begin to its end: it is neither live nor followed")
	case len(c.Outputs) == 0:
		return errors.New("nothing to make: name it with -o FORMAT=FILE, as in -o har=out.har")
	}
	if _, err := c.Targets(); err != nil {
		return err
	}
	return c.Capture.validate()
}
