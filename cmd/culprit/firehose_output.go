package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/firehose"
	"github.com/culprit-http/culprit/internal/output/pcapng"
)

// hoses is the output that records connections as firehose streams.
const hoses = "firehose"

// hose is a firehose stream to record.
type hose struct {
	config.Firehose
	parties []netip.AddrPort
	// pipe is what is written to, if that isn't a file; read: somebody reads it. to is who waits for that, queued who doesn't.
	pipe   *os.File
	read   bool
	to     io.Writer
	queued *fifo
	// tell tells the user something at once.
	tell func(text string)
}

// readHose reads how a firehose stream is to be recorded.
func readHose(o *config.Output) (*hose, error) {
	s := &settings{output: o}
	h := &hose{Firehose: config.Firehose{
		Parties: s.list("party"), Side: s.choice("side", config.FirehoseSides()...), Mode: s.choice("mode", config.FirehoseModes()...),
		Direction: s.choice("direction", config.FirehoseDirections()...), NonBlock: s.flag("nonblock", false),
		Queue: config.DefaultFirehoseQueue, Manifest: s.flag("manifest", false), Connections: s.text("connections", ""),
	}}
	if text := s.text("queue", ""); text != "" {
		if err := h.Queue.Set(text); err != nil {
			s.fail("queue", "%q: %v", text, err)
		}
	}
	err := s.err()
	if err == nil {
		if err = h.Validate(); err != nil {
			err = fmt.Errorf("%s: %w", o.Text, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("-o %w", err)
	}
	h.parties, err = h.Ends()
	return h, err
}

// options say what is recorded.
func (h *hose) options(c *config.Trace) firehose.Options {
	return firehose.Options{
		Parties: h.parties, Proxy: h.Side == "proxy", Requests: h.Mode == "request", Input: h.Direction != "out", Output: h.Direction != "in",
		Digests: h.Manifest, Live: c.Live.On(), RotateSize: int64(c.Rotate.Size), RotateEvery: c.Rotate.Every, Tell: h.tell,
	}
}

// openPipes opens what isn't a file, before packets are captured: a pipe that nobody reads is waited for, unless it isn't to be.
func (t *tracing) openPipes(ctx context.Context, orders []order) error {
	for i := range orders {
		o := &orders[i]
		if o.hose == nil {
			continue
		}
		o.hose.tell = func(text string) { t.warn("-o %s: %s", hoses, text) }
		if err := t.openPipe(ctx, o); err != nil {
			return &statusError{exitFailed, fmt.Errorf("-o %s: %w", hoses, err)}
		}
	}
	return nil
}

func (t *tracing) openPipe(ctx context.Context, o *order) (err error) {
	h := o.hose
	if o.path == "" { // standard output
		return nil
	}
	info, err := os.Stat(o.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err != nil:
		return err
	case info.Mode().IsRegular():
	case info.IsDir():
		return fmt.Errorf("%s is a folder: name a file in it", o.path)
	case info.Mode().Type() != fs.ModeNamedPipe:
		h.pipe, err = os.OpenFile(o.path, os.O_WRONLY, 0)
		h.to = h.pipe
	case h.NonBlock:
		if err = t.openFIFO(o); err == nil {
			h.queued, err = newFIFO(h.pipe)
		}
		return err
	default:
		if h.pipe, err = t.awaitReader(ctx, o.path); err == nil {
			h.to = patient(ctx, h.pipe, o.path)
		}
	}
	if h.NonBlock && err == nil {
		return fmt.Errorf("%s: nonblock is for a FIFO that somebody reads, and this is none; make one with mkfifo", o.path)
	}
	return err
}

// openFIFO opens a FIFO whether somebody reads it or not. Who comes later reads what is written then.
func (t *tracing) openFIFO(o *order) error {
	const now = syscall.O_NONBLOCK
	w, err := os.OpenFile(o.path, os.O_WRONLY|now, 0)
	o.hose.pipe, o.hose.read = w, err == nil
	if !errors.Is(err, syscall.ENXIO) {
		return err
	}
	// It can be opened for writing as long as somebody reads it, if only this process.
	r, err := os.OpenFile(o.path, os.O_RDONLY|now, 0)
	if err != nil {
		return fmt.Errorf("nobody reads it, and it can't be kept open: %w", err)
	}
	o.hose.pipe, err = os.OpenFile(o.path, os.O_WRONLY|now, 0)
	r.Close()
	if err == nil {
		t.warn("-o %s: nobody reads %s: what comes is dropped until somebody does", hoses, o.path)
	}
	return err
}

// readerPause is how often it is looked whether somebody reads a FIFO.
const readerPause = 50 * time.Millisecond

// awaitReader opens a FIFO once somebody reads it.
func (t *tracing) awaitReader(ctx context.Context, path string) (*os.File, error) {
	for said := false; ; {
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if !errors.Is(err, syscall.ENXIO) {
			return f, err
		}
		if !said {
			said = true
			t.say("-o %s: waiting for somebody to read %s; without waiting: nonblock", hoses, path)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("nobody came to read %s", path)
		case <-time.After(readerPause):
		}
	}
}

// openHose opens an output that records connections as firehose streams.
func (s *sinks) openHose(o *order, c *config.Trace, stdout target, inputs []capture.Input) error {
	h := o.hose
	options := h.options(c)
	if h.pipe != nil {
		s.files = append(s.files, h.pipe)
	}
	if o.path == "" {
		f, ok := stdout.w.(*os.File)
		switch {
		case !ok:
			return errors.New("standard output is no file: name one")
		case stdout.terminal.Width > 0 || term.IsTerminal(int(f.Fd())):
			return errors.New("the stream can't be shown on a terminal: name a file, or give the program that reads it a pipe")
		case h.NonBlock:
			return errors.New("nonblock is for a FIFO: standard output is shared with others, which would find it changed")
		}
		h.to = f
	}
	switch {
	case h.to == nil && h.queued == nil:
		return s.hoseFiles(o, c, inputs, options)
	case h.Manifest:
		return errors.New("manifest is for files: of what went through a pipe, whoever read it has the only copy")
	case c.Rotate.Files > 0:
		return errors.New("--rotate needs files")
	}
	var list firehose.File
	if name := h.list(o.path); name != "" {
		f, err := createNew(name, c.Force, inputs)
		if err != nil {
			return err
		}
		s.files = append(s.files, f)
		list = f
	}
	if h.queued != nil {
		s.addFollower(firehose.NewQueue(h.queued, list, int(h.Queue), h.read, options))
		return nil
	}
	s.addFollower(firehose.NewPipe(h.to, list, options))
	return nil
}

// list returns the name of the list of connections of a recording, empty for none.
func (h *hose) list(path string) string {
	switch {
	case h.Connections == config.NoConnections || path == "" && h.Connections == "":
		return ""
	case h.Connections != "":
		return h.Connections
	}
	return listBeside(path)
}

// listBeside returns the name of the list of connections that stands beside a recording: empty beside a device, such as /dev/null.
func listBeside(path string) string {
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeDevice != 0 {
		return ""
	}
	return path + firehose.ListSuffix
}

// hoseFiles opens the files of a recording, all of them now: later there may be no right to.
func (s *sinks) hoseFiles(o *order, c *config.Trace, inputs []capture.Input, options firehose.Options) error {
	h := o.hose
	names := []string{o.path}
	if c.Rotate.Files > 0 {
		if names = pcapng.FileNames(o.path, c.Rotate.Files); h.Connections != "" && h.Connections != config.NoConnections && len(names) > 1 {
			return errors.New("connections: with --rotate, each file has its list beside it")
		}
	}
	if slices.Contains(names, h.Connections) {
		return fmt.Errorf("connections: %s is the recording: name another file", h.Connections)
	}
	var made []string
	create := func(name string) (firehose.File, error) {
		if name == "" {
			return nil, nil
		}
		if slices.Contains(made, name) {
			return nil, fmt.Errorf("%s is written already", name)
		}
		f, err := createNew(name, c.Force, inputs)
		if err != nil {
			return nil, err
		}
		made = append(made, name)
		s.files = append(s.files, f)
		return f, nil
	}
	var all []firehose.Volume
	for _, name := range names {
		var v firehose.Volume
		var err error
		if v.Data, err = create(name); err != nil {
			return err
		}
		if v.List, err = create(h.list(name)); err != nil {
			return err
		}
		if h.Manifest {
			if v.Manifest, err = create(name + firehose.ManifestSuffix); err != nil {
				return err
			}
		}
		all = append(all, v)
	}
	s.addFollower(firehose.NewFiles(all, options))
	return nil
}

// createNew makes a file for its owner alone. What is there by its name isn't written over, but with force it is replaced.
func createNew(path string, force bool, inputs []capture.Input) (*os.File, error) {
	there, err := os.Stat(path)
	for _, in := range inputs {
		if read, e := os.Stat(in.Path); err == nil && e == nil && os.SameFile(there, read) {
			return nil, fmt.Errorf("%s is being read; name another file", path)
		}
	}
	if err == nil && force {
		if !there.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is no file: move it away", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s is there: name another file, or replace it with --force", path)
	}
	return f, err
}

// lastPatience is how long who reads is waited for when the run is to end.
const lastPatience = 5 * time.Second

// patientPipe is a pipe that waits for who reads, but not for long once ctx is done.
type patientPipe struct {
	*os.File
	path string
}

func patient(ctx context.Context, f *os.File, path string) *patientPipe {
	context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Now().Add(lastPatience)) })
	return &patientPipe{f, path}
}

// Write implements io.Writer.
func (p *patientPipe) Write(b []byte) (int, error) {
	n, err := p.File.Write(b)
	switch {
	case errors.Is(err, syscall.EPIPE):
		return n, fmt.Errorf("whoever read %s has gone, and the recording ends with that; to go on without: nonblock", p.path)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, fmt.Errorf("whoever reads %s took nothing for %v after the run was to end: the recording is cut off", p.path, lastPatience)
	}
	return n, err
}

// fifo is a FIFO that is written to without waiting. It implements firehose.Pipe.
type fifo struct {
	file *os.File
	raw  syscall.RawConn
	// hurried: the run has ended, and the last is written.
	hurried bool
}

func newFIFO(f *os.File) (*fifo, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &fifo{file: f, raw: raw}, nil
}

// Try implements firehose.Pipe.
func (p *fifo) Try(b []byte) (fate firehose.Fate, err error) {
	var wrote error
	n := 0
	if err := p.raw.Write(func(fd uintptr) bool {
		n, wrote = syscall.Write(int(fd), b)
		for wrote == syscall.EINTR {
			n, wrote = syscall.Write(int(fd), b)
		}
		return true // it isn't waited for
	}); err != nil {
		return firehose.Full, err
	}
	return fateOf(p.file, b, n, wrote)
}

func fateOf(f *os.File, b []byte, n int, err error) (firehose.Fate, error) {
	switch {
	case err == nil && n == len(b):
		return firehose.Taken, nil
	case n > 0: // which doesn't happen with what fits into a pipe at once
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded):
		return firehose.Full, nil
	case errors.Is(err, syscall.EPIPE):
		return firehose.Gone, nil
	}
	if err == nil || n > 0 {
		return firehose.Full, fmt.Errorf("%s took %d bytes of a fragment of %d: it is no FIFO of this system", f.Name(), n, len(b))
	}
	return firehose.Full, err
}

// Wait implements firehose.Pipe.
func (p *fifo) Wait(b []byte) (firehose.Fate, error) {
	if !p.hurried {
		if err := p.file.SetWriteDeadline(time.Now().Add(lastPatience)); err != nil {
			return p.Try(b)
		}
		p.hurried = true
	}
	n, err := p.file.Write(b)
	return fateOf(p.file, b, n, err)
}

// followHoses says what the pipeline tells of connections, so that they can be recorded.
func (t *tracing) followHoses() {
	for _, f := range t.sinks.followers {
		if _, ok := f.(*firehose.Output); ok {
			t.pipeline.Contents |= follow.Heads
		}
	}
}

// accountHose says what is missing of a recording.
func (t *tracing) accountHose(st *firehose.Stats) {
	if st.Holes > 0 {
		missing := "how many bytes isn't known"
		if st.MissingBytes > 0 {
			missing = plural(st.MissingBytes, "byte") + " at least"
		}
		t.lose("-o %s: %s in the capture, %s: the fragments' counts jump there", hoses, plural(st.Holes, "hole"), missing)
	}
	if st.Dropped > 0 {
		t.lose("-o %s: %s with %s dropped of %s; the counts go on, so that readers see where", hoses, plural(st.Dropped, "fragment"),
			plural(st.DroppedBytes, "byte"), plural(st.Affected, "half-stream"))
	}
	if st.Untraced > 0 {
		t.lose("-o %s: %s left no trace in the stream: there was no room even for an end mark", hoses, plural(st.Untraced, "half-stream"))
	}
	if st.LostEnds > 0 {
		t.lose("-o %s: %s couldn't be written", hoses, plural(st.LostEnds, "end mark"))
	}
	if st.LostLines > 0 {
		t.lose("-o %s: %s of the list of connections couldn't be written", hoses, plural(st.LostLines, "line"))
	}
	if st.Overflow > 0 {
		t.lose("-o %s: %s ended early, since their connections had more than %s open", hoses, plural(st.Overflow, "request"), count(firehose.MaxRequests))
	}
	if st.Midstream > 0 {
		t.warn("-o %s: %s had begun before the capture: the counts of their streams begin with 1, as the beginnings are missing", hoses,
			plural(st.Midstream, "connection"))
	}
	if st.Late > 0 {
		t.warn("-o %s: %s recorded in a file that was due to end: connections were open in all others; see --rotate", hoses, plural(st.Late, "connection"))
	}
	if st.Connections == 0 && st.Unselected > 0 {
		t.say("-o %s: none of %s is one of the party; there were servers at %s", hoses, plural(st.Unselected, "connection"), strings.Join(st.Others, ", "))
	}
}

// totalsOfHose are what a recording has, for the totals.
func totalsOfHose(st *firehose.Stats) string {
	return plural(st.Connections, "connection") + ", " + plural(st.Streams, "UUID") + ", " + plural(st.Fragments, "fragment")
}
