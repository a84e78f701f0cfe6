package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/console"
	"github.com/culprit-http/culprit/internal/output/har"
	"github.com/culprit-http/culprit/internal/output/line"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/output/template"
	"github.com/culprit-http/culprit/internal/output/terminal"
)

// target is where an output goes.
type target struct {
	w        io.Writer
	terminal terminal.Terminal
	location *time.Location
}

// outputs are the outputs that -o knows, by name.
var outputs = []struct {
	name string
	make func(t target, c *config.Trace) (output.Output, error)
}{
	{"line", func(t target, c *config.Trace) (output.Output, error) {
		return line.New(t.w, t.terminal, t.location), nil
	}},
	{"console", func(t target, c *config.Trace) (output.Output, error) {
		return console.New(t.w, console.Options{Headers: c.Headers, NoHeaders: c.NoHeaders, Terminal: t.terminal}), nil
	}},
	{"ndjson", func(t target, c *config.Trace) (output.Output, error) { return ndjson.New(t.w), nil }},
	{"har", func(t target, c *config.Trace) (output.Output, error) { return har.New(t.w, version), nil }},
}

// outputNames returns the names for messages and completion.
func outputNames() []string {
	var names []string
	for _, o := range outputs {
		names = append(names, o.name)
	}
	return names
}

// sinks are the open outputs of a run, and the files beneath them.
type sinks struct {
	outputs []output.Output
	files   []*os.File
	// headlines: all outputs are output.Headline.
	headlines bool
}

// openOutputs opens what -o and --format name.
func openOutputs(c *config.Trace, stdout target) (*sinks, error) {
	s := &sinks{}
	if c.Format != "" {
		o, err := template.New(stdout.w, c.Format)
		if err != nil {
			return nil, usage(fmt.Errorf("--format: %w", err))
		}
		s.outputs = append(s.outputs, o)
	}
	names := c.Outputs
	if len(names) == 0 && c.Format == "" {
		names = []string{"line"}
	}
	toStdout := c.Format != ""
	for _, arg := range names {
		name, path, _ := strings.Cut(arg, "=")
		i := slices.IndexFunc(outputs, func(o struct {
			name string
			make func(t target, c *config.Trace) (output.Output, error)
		}) bool {
			return o.name == name
		})
		if i < 0 {
			return nil, usage(fmt.Errorf("-o %s: no such output; there are %s", name, strings.Join(outputNames(), ", ")))
		}
		t := stdout
		if path == "" || path == "-" {
			if toStdout {
				return nil, usage(fmt.Errorf("-o %s: only one output can go to standard output; give it a file, -o %s=FILE", name, name))
			}
			toStdout = true
		} else {
			// What is captured may be private: the file is for its owner.
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
			if err != nil {
				return nil, &statusError{exitFailed, fmt.Errorf("-o %s: %w", name, err)}
			}
			s.files = append(s.files, f)
			t = target{w: f, location: time.UTC}
		}
		o, err := outputs[i].make(t, c)
		if err != nil {
			return nil, &statusError{exitFailed, fmt.Errorf("-o %s: %w", name, err)}
		}
		s.outputs = append(s.outputs, o)
	}
	s.headlines = !slices.ContainsFunc(s.outputs, func(o output.Output) bool {
		_, ok := o.(output.Headline)
		return !ok
	})
	return s, nil
}

func (s *sinks) exchange(x *exchange.Exchange) error {
	for _, o := range s.outputs {
		if err := o.Exchange(x); err != nil {
			return err
		}
	}
	return nil
}

func (s *sinks) waiting(x *exchange.Exchange, waited time.Duration) error {
	for _, o := range s.outputs {
		if w, ok := o.(output.Waiter); ok {
			if err := w.Waiting(x, waited); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *sinks) flush() error {
	for _, o := range s.outputs {
		if err := o.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// close closes all outputs, whatever fails.
func (s *sinks) close() error {
	var errs []error
	for _, o := range s.outputs {
		errs = append(errs, o.Close())
	}
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
