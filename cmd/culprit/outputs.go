package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/console"
	"github.com/culprit-http/culprit/internal/output/har"
	"github.com/culprit-http/culprit/internal/output/line"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/output/pcapng"
	"github.com/culprit-http/culprit/internal/output/template"
	"github.com/culprit-http/culprit/internal/output/terminal"
)

// target is where an output goes.
type target struct {
	w        io.Writer
	terminal terminal.Terminal
	location *time.Location
}

// kind is a kind of output.
type kind struct {
	name string
	make func(t target, c *config.Trace) output.Output
}

// kinds are the outputs that -o knows.
var kinds = []kind{
	{"line", func(t target, c *config.Trace) output.Output {
		return line.New(t.w, line.Options{Terminal: t.terminal, Location: t.location, Processes: c.Live.On() && !c.Live.NoProcess})
	}},
	{"console", func(t target, c *config.Trace) output.Output {
		return console.New(t.w, console.Options{Headers: c.Headers, NoHeaders: c.NoHeaders, Terminal: t.terminal})
	}},
	{"ndjson", func(t target, c *config.Trace) output.Output { return ndjson.New(t.w) }},
	{"har", func(t target, c *config.Trace) output.Output { return har.New(t.w, version) }},
	{name: recording}, // which writes packets, and needs more than the others: see record
}

// recording is the output that writes packets.
const recording = "pcapng"

// outputNames returns the names for messages and completion.
func outputNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// order is an output that was asked for: what to make, and the file to write, empty for standard output.
type order struct {
	kind
	path string
}

// parseOutputs reads the arguments of -o. An error is one of usage.
func parseOutputs(c *config.Trace) ([]order, error) {
	args := c.Outputs
	if len(args) == 0 && c.Format == "" {
		args = []string{"line"}
	}
	taken := map[string]bool{"": c.Format != ""}
	var orders []order
	recordings := 0
	for _, arg := range args {
		name, path, hasPath := strings.Cut(arg, "=")
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
		switch {
		case i < 0:
			return nil, usage(fmt.Errorf("-o %s: no such output; there are %s", name, strings.Join(outputNames(), ", ")))
		case hasPath && path == "":
			return nil, usage(fmt.Errorf("-o %s: name a file after the equals sign, or - for standard output", arg))
		case name == recording && !hasPath:
			return nil, usage(fmt.Errorf("-o %s: name a file, -o %s=FILE, or - for standard output", name, name))
		case path == "-":
			path = ""
		}
		switch {
		case taken[path] && path == "":
			return nil, usage(fmt.Errorf("-o %s: only one output can go to standard output; give it a file, -o %s=FILE", name, name))
		case taken[path]:
			return nil, usage(fmt.Errorf("-o %s: another output goes to that file already", arg))
		}
		if name == recording {
			recordings++
		}
		taken[path] = true
		orders = append(orders, order{kinds[i], path})
	}
	switch {
	case recordings > 1:
		return nil, usage(fmt.Errorf("-o %s can be given once", recording))
	case recordings == 0 && c.Rotate.Files > 0:
		return nil, usage(fmt.Errorf("--rotate is for -o %s=FILE", recording))
	case c.Rotate.Files > 0 && slices.ContainsFunc(orders, func(o order) bool { return o.name == recording && o.path == "" }):
		return nil, usage(fmt.Errorf("--rotate needs a file: -o %s=FILE", recording))
	}
	return orders, nil
}

// sinks are the open outputs of a run, and the files beneath them.
type sinks struct {
	outputs []output.Output
	files   []*os.File
	// recorder is the output that writes packets, or nil.
	recorder *pcapng.Recorder
	// headlines: all outputs are output.Headline.
	headlines bool
}

// openOutputs opens what -o and --format ask for. inputs are being read, and mustn't be overwritten; r is how packets
// are to be recorded.
func openOutputs(c *config.Trace, orders []order, stdout target, inputs []capture.Input, r pcapng.Options) (*sinks, error) {
	s := &sinks{}
	if c.Format != "" {
		o, err := template.New(stdout.w, c.Format)
		if err != nil {
			return nil, usage(fmt.Errorf("--%w", err))
		}
		s.outputs = append(s.outputs, o)
	}
	for _, o := range orders {
		t := stdout
		if o.name == recording {
			if err := s.record(o.path, stdout, inputs, c, r); err != nil {
				s.close()
				return nil, &statusError{exitFailed, fmt.Errorf("-o %s: %w", o.name, err)}
			}
			continue
		}
		if o.path != "" {
			f, err := createFile(o.path, inputs)
			if err != nil {
				s.close()
				return nil, &statusError{exitFailed, fmt.Errorf("-o %s: %w", o.name, err)}
			}
			s.files = append(s.files, f)
			t = target{w: f, location: time.UTC}
		}
		s.outputs = append(s.outputs, o.make(t, c))
	}
	s.headlines = !slices.ContainsFunc(s.outputs, func(o output.Output) bool {
		_, ok := o.(output.Headline)
		return !ok
	})
	return s, nil
}

// record opens the files of a recording, all of them now: later there may be no right to.
func (s *sinks) record(path string, stdout target, inputs []capture.Input, c *config.Trace, o pcapng.Options) error {
	var files []pcapng.File
	switch {
	case path != "":
		names := []string{path}
		if c.Rotate.Files > 0 {
			names = pcapng.FileNames(path, c.Rotate.Files)
		}
		for _, name := range names {
			f, err := createFile(name, inputs)
			if err != nil {
				return err
			}
			s.files = append(s.files, f)
			files = append(files, f)
			if o.Pipe, err = private(f); err != nil {
				return err
			}
		}
		if o.Pipe && c.Rotate.Files > 0 {
			return fmt.Errorf("%s is a pipe: --rotate needs files", names[0])
		}
	case stdout.terminal.Width > 0:
		return errors.New("packets can't be shown on a terminal: name a file, or give the program that reads them a pipe")
	default:
		f, ok := stdout.w.(*os.File)
		if !ok {
			return errors.New("standard output is no file: name one")
		}
		files, o.Pipe = []pcapng.File{f}, true
	}
	s.recorder = pcapng.New(files, o)
	s.outputs = append(s.outputs, s.recorder)
	return nil
}

// private makes a file that holds packets its owner's alone, also if it was there before. pipe: it is no file, but somebody
// reads what is written.
func private(f *os.File) (pipe bool, err error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return false, err
	case term.IsTerminal(int(f.Fd())):
		return false, fmt.Errorf("%s is a terminal, on which packets can't be shown", f.Name())
	case !info.Mode().IsRegular():
		return true, nil
	case info.Mode().Perm()&0o077 != 0:
		if err := f.Chmod(0o600); err != nil {
			return false, fmt.Errorf("packets hold secrets, and others may read this file: %w", err)
		}
	}
	return false, nil
}

// createFile opens a file for an output. What is captured may be private: the file is for its owner.
func createFile(path string, inputs []capture.Input) (*os.File, error) {
	if there, err := os.Stat(path); err == nil {
		for _, in := range inputs {
			if read, err := os.Stat(in.Path); err == nil && there.Mode().IsRegular() && os.SameFile(there, read) {
				return nil, fmt.Errorf("%s is being read; name another file", path)
			}
		}
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
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
