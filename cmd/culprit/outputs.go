package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/console"
	"github.com/culprit-http/culprit/internal/output/files"
	"github.com/culprit-http/culprit/internal/output/har"
	"github.com/culprit-http/culprit/internal/output/line"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/output/parquet"
	"github.com/culprit-http/culprit/internal/output/pcapng"
	"github.com/culprit-http/culprit/internal/output/rotate"
	"github.com/culprit-http/culprit/internal/output/stream"
	"github.com/culprit-http/culprit/internal/output/template"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/preview"
)

// target is where an output goes.
type target struct {
	w        io.Writer
	terminal terminal.Terminal
	location *time.Location
	// preview lays bodies out.
	preview *preview.Previewer
}

// kind is a kind of output. One of its members but the name is there, but for recording and columns.
type kind struct {
	name string
	// write makes an output that writes to a file or to standard output.
	write func(t target, c *config.Trace) output.Output
	// ship reads the settings of an output that delivers over the network.
	ship func(s *settings, dial endpoint.DialFunc) shipment
	// serve: others ask for what it counts.
	serve bool
	// follow: it shows or keeps half-streams; shown: it takes settings that say how. hosed: it records them as a firehose stream.
	// foldered: it makes files in a folder, and takes settings.
	follow, shown, hosed, foldered bool
}

// settings reports whether the kind takes settings.
func (k *kind) settings() bool { return k.ship != nil || k.serve }

// kinds are the outputs that -o knows.
var kinds = []kind{
	{name: "line", write: func(t target, c *config.Trace) output.Output {
		return line.New(t.w, line.Options{Terminal: t.terminal, Location: t.location, Processes: c.Live.On() && !c.Live.NoProcess})
	}},
	{name: "console", write: func(t target, c *config.Trace) output.Output {
		return console.New(t.w, console.Options{Headers: c.Headers, NoHeaders: c.NoHeaders, Terminal: t.terminal, Preview: t.preview})
	}},
	{name: "ndjson", write: func(t target, c *config.Trace) output.Output { return ndjson.New(t.w) }},
	{name: "har", write: func(t target, c *config.Trace) output.Output { return har.New(t.w, version) }},
	{name: streams, follow: true, shown: true},
	{name: folder, follow: true, foldered: true},
	{name: hoses, follow: true, hosed: true},
	{name: recording},
	{name: columns},
	{name: "logstash", ship: shipLogstash},
	{name: "beats", ship: shipBeats},
	{name: "elastic", ship: shipElastic},
	{name: "kafka", ship: shipKafka},
	{name: "otlp", ship: shipOTLP},
	{name: "metrics", serve: true},
}

// recording is the output that writes packets, columns the one that writes Parquet: they need more than a writer.
const (
	recording = "pcapng"
	columns   = "parquet"
)

// rotating are the outputs that --rotate is for.
var rotating = []string{recording, "ndjson", columns, hoses}

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
	config.Output
	path string
	// parcel is what a shipper's settings say, serving those of what is served.
	parcel  *parcel
	serving *metricsServer
	// form is how half-streams are shown, hose how they are recorded.
	form stream.Form
	hose *hose
	// kept says which files are made of half-streams.
	kept keptFiles
}

// takesSettings reports whether an output of that name takes settings.
func takesSettings(name string) bool {
	return slices.ContainsFunc(kinds, func(k kind) bool { return k.name == name && (k.settings() || k.shown || k.hosed || k.foldered) })
}

// orderedOutputs returns the outputs that were asked for: on the command line, or else in the file.
func orderedOutputs(c *config.Trace) (all []config.Output, err error) {
	args := c.Outputs
	if len(args) == 0 {
		for _, o := range c.FileOutputs {
			if o.Name != "" {
				all = append(all, o)
				continue
			}
			args = append(args, o.Text)
		}
	}
	for _, arg := range args {
		o, err := config.ParseOutput(arg, takesSettings)
		if err != nil {
			return nil, fmt.Errorf("-o %w", err)
		}
		all = append(all, o)
	}
	if len(all) == 0 && c.Format == "" && !c.Agent {
		all = []config.Output{{Name: "line", Text: "line"}}
	}
	return all, nil
}

// parseOutputs reads what -o and the file say of outputs. An error is one of usage.
func parseOutputs(c *config.Trace, dial endpoint.DialFunc) ([]order, error) {
	all, err := orderedOutputs(c)
	if err != nil {
		return nil, usage(err)
	}
	taken := map[string]bool{"": c.Format != ""}
	named := map[string]bool{}
	var orders []order
	recordings := 0
	for _, o := range all {
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == o.Name })
		if i < 0 {
			name, _, _ := strings.Cut(o.Name, ":") // behind which may be what nobody else is to see
			return nil, usage(fmt.Errorf("-o %s: no such output; there are %s", name, strings.Join(outputNames(), ", ")))
		}
		order := order{kind: kinds[i], Output: o}
		if order.settings() {
			if err := order.read(dial); err != nil {
				return nil, usage(fmt.Errorf("-o %w", err))
			}
			if name := order.label(); named[name] {
				return nil, usage(fmt.Errorf("-o %s: there is another output called %s; tell them apart by the setting name", o.Text, name))
			} else {
				named[name] = true
			}
			orders = append(orders, order)
			continue
		}
		if order.shown {
			if order.form, err = readForm(&o); err != nil {
				return nil, usage(err)
			}
		}
		if order.foldered {
			if order.kept, err = readFiles(&o, c); err != nil {
				return nil, usage(err)
			}
		}
		if order.hosed {
			if order.hose, err = readHose(&o); err != nil {
				return nil, usage(err)
			}
		}
		if order.path = o.Target; o.HasTarget && o.Target == "" {
			return nil, usage(fmt.Errorf("-o %s: name a file after the equals sign, or - for standard output", o.Text))
		}
		switch {
		case len(o.Settings) > 0 && !order.shown && !order.hosed && !order.foldered:
			return nil, usage(fmt.Errorf("-o %s: it takes no settings", o.Text))
		case o.Name == recording && !o.HasTarget:
			return nil, usage(fmt.Errorf("-o %s: name a file, -o %s=FILE, or - for standard output", o.Name, o.Name))
		case o.Name == columns && (!o.HasTarget || o.Target == "-"):
			return nil, usage(fmt.Errorf("-o %s: name a file, -o %s=FILE", o.Name, o.Name))
		case o.Name == folder && (!o.HasTarget || o.Target == "-"):
			return nil, usage(fmt.Errorf("-o %s: name a folder, -o %s=DIR", o.Name, o.Name))
		case o.Name == hoses && !o.HasTarget:
			return nil, usage(fmt.Errorf("-o %s: name a file or a FIFO, -o %s=FILE, or - for standard output", o.Name, o.Name))
		case order.path == "-":
			order.path = ""
		}
		switch {
		case taken[order.path] && order.path == "":
			return nil, usage(fmt.Errorf("-o %s: only one output can go to standard output; give it a file, -o %s=FILE", o.Name, o.Name))
		case taken[order.path]:
			return nil, usage(fmt.Errorf("-o %s: another output goes to that file already", o.Text))
		}
		if o.Name == recording {
			recordings++
		}
		taken[order.path] = true
		orders = append(orders, order)
	}
	if err := checkFollow(c, orders); err != nil {
		return nil, usage(err)
	}
	switch {
	case recordings > 1:
		return nil, usage(fmt.Errorf("-o %s can be given once", recording))
	case c.Rotate.Files > 0 && !slices.ContainsFunc(orders, func(o order) bool { return slices.Contains(rotating, o.Name) }):
		return nil, usage(fmt.Errorf("--rotate is for -o %s, each with =FILE", strings.Join(rotating, ", ")))
	case c.Rotate.Files > 0 && slices.ContainsFunc(orders, func(o order) bool { return slices.Contains(rotating, o.Name) && o.path == "" }):
		return nil, usage(errors.New("--rotate needs files: give each of the outputs that rotate one, as in -o ndjson=FILE"))
	}
	return orders, nil
}

// sinks are the open outputs of a run, and the files beneath them.
type sinks struct {
	outputs []output.Output
	files   []*os.File
	// recorder is the output that writes packets, or nil.
	recorder *pcapng.Recorder
	// followers are the outputs that show or keep half-streams, folders those of files, and tracks keep the packets of connections.
	followers []follower
	tracks    []*files.Packets
	// contents are the messages that files are made of.
	contents follow.Contents
	folders  []*os.Root
	// shippers are those of outputs that deliver over the network, and servers count all exchanges, also those that sampling
	// leaves out.
	shippers []*shipper
	servers  []*metricsServer
	// delivering are the shippers that are open, for those who ask how they do.
	delivering atomic.Pointer[[]*shipper]
	// headlines: all outputs are output.Headline.
	headlines bool
}

// openOutputs opens what -o and --format ask for, but for the queues of shippers. inputs are being read, and mustn't be
// overwritten; r is how packets are to be recorded.
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
		if err := s.open(&o, c, stdout, inputs, r); err != nil {
			s.close()
			return nil, &statusError{exitFailed, fmt.Errorf("-o %s: %w", o.Name, err)}
		}
	}
	s.headlines = len(s.shippers)+len(s.servers) == 0 && !slices.ContainsFunc(s.outputs, func(o output.Output) bool {
		_, ok := o.(output.Headline)
		return !ok
	})
	return s, nil
}

// open opens one output.
func (s *sinks) open(o *order, c *config.Trace, stdout target, inputs []capture.Input, r pcapng.Options) error {
	switch {
	case o.parcel != nil:
		s.shippers = append(s.shippers, &shipper{parcel: o.parcel})
		return nil
	case o.serving != nil:
		s.servers = append(s.servers, o.serving)
		return nil
	case o.hosed:
		return s.openHose(o, c, stdout, inputs)
	case o.kind.follow:
		return s.follow(o, c, stdout, inputs)
	case o.Name == recording:
		return s.record(o.path, stdout, inputs, c, r)
	}
	if o.Name == columns || c.Rotate.Files > 0 && slices.Contains(rotating, o.Name) {
		out, err := s.rotate(o, c, inputs)
		if err == nil {
			s.outputs = append(s.outputs, out)
		}
		return err
	}
	t := stdout
	if o.path != "" {
		f, err := createFile(o.path, inputs, written)
		if err != nil {
			return err
		}
		s.files = append(s.files, f)
		t = target{w: f, location: time.UTC, preview: stdout.preview}
	}
	s.outputs = append(s.outputs, o.write(t, c))
	return nil
}

// rotate opens the files of an output that goes on where an earlier run has ended, all of them now: later there may be no
// right to.
func (s *sinks) rotate(o *order, c *config.Trace, inputs []capture.Input) (output.Output, error) {
	names, flags := []string{o.path}, anew
	if c.Rotate.Files > 0 {
		names, flags = pcapng.FileNames(o.path, c.Rotate.Files), kept
	}
	var files []*os.File
	for _, name := range names {
		f, err := createFile(name, inputs, flags)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
		files = append(files, f)
		if pipe, err := private(f); err != nil {
			return nil, err
		} else if pipe {
			return nil, fmt.Errorf("%s is a pipe, and this output needs files", name)
		}
	}
	if o.Name != columns {
		write := func(w io.Writer) output.Output { return o.write(target{w: w, location: time.UTC}, c) }
		return rotate.New(each(files, func(f *os.File) rotate.File { return f }), write, rotate.Options{Size: int64(c.Rotate.Size), Every: c.Rotate.Every})
	}
	work, err := os.CreateTemp(filepath.Dir(o.path), ".culprit-*")
	if err != nil {
		return nil, err
	}
	s.files = append(s.files, work)
	if err := os.Remove(work.Name()); err != nil { // nobody else needs its name
		return nil, err
	}
	return parquet.New(each(files, func(f *os.File) parquet.File { return f }), work, parquet.Options{RotateSize: int64(c.Rotate.Size), RotateEvery: c.Rotate.Every})
}

// each makes a slice of another.
func each[T, U any](all []T, f func(T) U) []U {
	made := make([]U, len(all))
	for i := range all {
		made[i] = f(all[i])
	}
	return made
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
			f, err := createFile(name, inputs, written)
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

// How a file is opened: written, from its beginning; anew, to be read back, too; kept, to go on behind what is there.
const (
	written = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	anew    = os.O_RDWR | os.O_CREATE | os.O_TRUNC
	kept    = os.O_RDWR | os.O_CREATE
)

// createFile opens a file for an output. What is captured may be private: the file is for its owner.
func createFile(path string, inputs []capture.Input, flags int) (*os.File, error) {
	if there, err := os.Stat(path); err == nil {
		for _, in := range inputs {
			if read, err := os.Stat(in.Path); err == nil && there.Mode().IsRegular() && os.SameFile(there, read) {
				return nil, fmt.Errorf("%s is being read; name another file", path)
			}
		}
	}
	return os.OpenFile(path, flags, 0o600)
}

// exchange shows an exchange that sampling keeps.
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

// close closes all outputs, whatever fails. Those that deliver have ended before, or end now with what they have.
func (s *sinks) close() error {
	var errs []error
	for _, o := range s.outputs {
		errs = append(errs, o.Close())
	}
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	for _, f := range s.folders {
		errs = append(errs, f.Close())
	}
	for _, m := range s.servers {
		m.close()
	}
	return errors.Join(errs...)
}
