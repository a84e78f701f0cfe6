package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/firehose"
	"github.com/culprit-http/culprit/internal/firehose/demux"
	"github.com/culprit-http/culprit/internal/follow"
	folders "github.com/culprit-http/culprit/internal/output/folder"
	"github.com/culprit-http/culprit/internal/output/terminal"
)

func newFirehoseDemux() *cobra.Command {
	c := config.DefaultDemux()
	cmd := &cobra.Command{
		Use:   "demux [-f FILE] [-d DIR] [FLAGS] [PREFIX...]",
		Short: "Make files of a firehose recording, one for each direction",
		Long: `Make files of a firehose recording: UUID.request and UUID.response for each
conversation, with .part behind the name as long as they aren't whole. With
PREFIXes, only conversations of which one direction begins with one of them.

Examples:
  culprit firehose demux -f web.firehose -d OUT
  culprit firehose demux -f web.firehose --list
  culprit firehose demux -d OUT 'GET /api' 'POST /api' < /run/hose`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.Prefixes = args
			return demultiplex(cmd, &c)
		},
		DisableFlagsInUseLine: true,
	}
	in := newFlagGroup("Input")
	in.StringVarP(&c.File, "file", "f", "", "read `FILE`, a FIFO, or - for stdin (default); may be compressed")
	in.StringArrayVarP(&c.UUIDs, "uuid", "u", nil, "only the conversation `UUID`; repeatable")
	in.DurationVar(&c.IdleTimeout, "idle-timeout", 0, "end streams after `TIME` without a fragment (default never)")

	out := newFlagGroup("Output")
	out.StringVarP(&c.Directory, "directory", "d", "", "the folder `DIR` (default the current one)")
	out.StringVarP(&c.OutputDirectory, "output-directory", "o", "", "`DIR`, the same as -d")
	out.BoolVar(&c.Force, "force", false, "write over what is there")
	out.BoolVar(&c.List, "list", false, "make no files: list the streams")
	out.BoolVar(&c.JSON, "json", false, "the list as JSON, a line a stream; also beside files")

	limits := newFlagGroup("Limits (docs/limits-and-loss.md)")
	limits.Var(&c.MaxFragment, "max-fragment", "`SIZE` of the longest fragment")
	limits.IntVar(&c.MaxStreams, "max-streams", c.MaxStreams, "`N` streams open at once")

	other := newFlagGroup("Other")
	other.BoolVarP(&c.Verbose, "verbose", "v", false, "totals on standard error in any case")
	other.BoolP("help", "h", false, "this help")
	addFlags(cmd, in, out, limits, other)
	return cmd
}

// demultiplex runs the command.
func demultiplex(cmd *cobra.Command, c *config.Demux) error {
	if err := c.Validate(); err != nil {
		return usage(err)
	}
	stdin := c.File == "" || c.File == "-"
	if f, ok := cmd.InOrStdin().(*os.File); stdin && ok && term.IsTerminal(int(f.Fd())) {
		return usage(errors.New("standard input is a terminal: name a recording with -f"))
	}
	ctx, stop := untilSignal(true)
	defer stop()
	in := &interruptible{ctx: ctx, open: func() (io.Reader, error) {
		var r io.Reader = cmd.InOrStdin()
		if !stdin {
			f, err := os.Open(c.File)
			if err != nil {
				return nil, err
			}
			r = f
		}
		return capture.Content(r)
	}}
	d := &demuxing{config: c, name: c.File, stderr: cmd.ErrOrStderr(), out: bufio.NewWriter(cmd.OutOrStdout())}
	if stdin {
		d.name = "standard input"
	}
	err := d.run(in)
	if e := d.out.Flush(); err == nil {
		err = e
	}
	var s *statusError
	switch {
	case errors.Is(err, syscall.EPIPE):
		return nil // whoever read our output has seen enough
	case err == nil || errors.As(err, &s):
		return err
	}
	return &statusError{exitFailed, err}
}

// demuxing is a run of culprit firehose demux.
type demuxing struct {
	config *config.Demux
	name   string
	stderr io.Writer
	out    *bufio.Writer
	demux  *demux.Demux
	// told is how many streams were told to be incomplete, and places how many damages.
	told, places uint64
	headed       bool
	// written is the error with which writing has ended.
	written error
}

// maxTold is how many incomplete streams, and how many damages, are told one by one.
const maxTold = 20

func (d *demuxing) say(format string, args ...any) {
	fmt.Fprintf(d.stderr, "culprit: "+format+"\n", args...)
}

// run reads the recording.
func (d *demuxing) run(in *interruptible) error {
	c := d.config
	o := demux.Options{Prefixes: c.Prefixes, Over: d.over, Limits: firehose.Limits{Streams: c.MaxStreams, Idle: c.IdleTimeout.Microseconds()}}
	uuids, err := c.Conversations()
	if err != nil {
		return usage(err)
	}
	for _, u := range uuids {
		o.UUIDs = append(o.UUIDs, u)
	}
	if err := in.start(); err != nil {
		return err
	}
	if !c.List {
		root, err := openForStreams(c.Folder())
		if err != nil {
			return err
		}
		defer root.Close()
		o.Folder = streamFolder{folders.Open(root, c.Force), root}
		d.say("warning: %s", follow.RawWarning)
	}
	d.demux = demux.New(o)
	r := firehose.NewReader(in)
	r.MaxLength = int(c.MaxFragment)
	r.Idle = func() error {
		if d.written = d.demux.Flush(); d.written == nil {
			d.written = d.out.Flush()
		}
		return d.written
	}
	var failed error
	for failed == nil {
		var f firehose.Fragment
		failed = r.Next(&f)
		d.damages(r)
		if failed == nil {
			if err = d.demux.Fragment(&f); err != nil {
				return d.give(err)
			}
		}
	}
	if d.written != nil {
		return d.give(d.written)
	}
	if errors.Is(failed, io.EOF) {
		return d.end(r, nil)
	}
	var read *fs.PathError
	if !errors.As(failed, &read) {
		failed = fmt.Errorf("%s: %w", d.name, failed)
	}
	return d.end(r, failed) // what came before it is kept
}

// give gives the work up.
func (d *demuxing) give(err error) error {
	_ = d.demux.Close()
	if errors.Is(err, syscall.EPIPE) || d.config.List {
		return err
	}
	return fmt.Errorf("in %s: %w", d.config.Folder(), err)
}

// end ends the run: all files, and what is to be told.
func (d *demuxing) end(r *firehose.Reader, err error) error {
	if e := d.demux.Close(); e != nil {
		return d.give(e)
	}
	n, q, all := d.demux.Totals(), d.demux.Sequencer(), r.Totals()
	if d.told > maxTold {
		d.say("and %s more; --list lists all", plural(d.told-maxTold, "incomplete stream"))
	}
	if d.places > maxTold {
		d.say("and %s more", plural(d.places-maxTold, "damaged place"))
	}
	if name := d.demux.GapsFile(); name != "" {
		d.say("where fragments and bytes are missing: %s", filepath.Join(d.config.Folder(), name))
	}
	lossy := n.Incomplete+n.Undecidable+n.Forgotten+all.Damages+q.Unequal+q.Late+q.Stray > 0
	if all.Fragments+all.Ends > 0 && (d.config.Verbose || lossy) {
		d.totals(&n, &q, &all)
	}
	unseen := d.demux.Unseen()
	switch {
	case err != nil:
		return err
	case all.Bytes == 0:
		d.say("%s is empty: there are no streams", d.name)
	case all.Fragments+all.Ends == 0:
		return fmt.Errorf("%s holds no firehose recording: none of its %s is of a fragment", d.name, plural(uint64(all.Bytes), "byte"))
	case len(unseen) > 0:
		return fmt.Errorf("-u %s: %s has no fragment of it; --list shows which conversations there are", unseen[0], d.name)
	case len(d.config.Prefixes) > 0 && n.Complete+n.Incomplete == 0:
		d.say("no conversation begins with a PREFIX, of %s", plural(n.Streams, "stream"))
	}
	if lossy {
		return errLossy
	}
	return nil
}

// totals tells what there was.
func (d *demuxing) totals(n *demux.Totals, q *firehose.SequencerTotals, all *firehose.Totals) {
	b := fmt.Appendf(nil, "%s = %s complete + %s incomplete + %s not wanted; %s with %s", plural(n.Streams, "stream"), count(n.Complete), count(n.Incomplete), count(n.Unwanted),
		plural(n.Fragments, "fragment"), plural(uint64(n.Bytes), "byte"))
	b = appendTallies(b, "; ", []tally{
		{q.Missing, "missing fragment", "missing fragments"},
		{all.Cut, "fragment cut short", "fragments cut short"},
		{q.Duplicates - q.Unequal, "duplicate", "duplicates"},
		{q.Unequal, "unequal duplicate", "unequal duplicates"},
		{q.Late, "fragment come too late", "fragments come too late"},
		{q.Stray, "stray fragment", "stray fragments"},
		{n.Undecidable, "stream without the start that a prefix is compared with", "streams without the start that a prefix is compared with"},
		{n.Forgotten, "conversation given up", "conversations given up"},
		{q.TooMany, "stream closed as there were too many", "streams closed as there were too many"},
		{q.Idle, "idle stream closed", "idle streams closed"},
		{uint64(all.Skipped), "byte skipped", "bytes skipped"},
		{all.Damages, "damaged place", "damaged places"},
	})
	d.say("%s", b)
}

// tally is how many there are of something that shouldn't be: of one, or of many.
type tally struct {
	n         uint64
	one, many string
}

// appendTallies appends those that there are.
func appendTallies(b []byte, separator string, list []tally) []byte {
	for _, x := range list {
		switch {
		case x.n == 1:
			b = append(append(b, separator...), "1 "+x.one...)
		case x.n > 1:
			b = append(append(b, separator...), count(x.n)+" "+x.many...)
		}
	}
	return b
}

// damages tells where the recording is damaged.
func (d *demuxing) damages(r *firehose.Reader) {
	for _, x := range r.Damages() {
		if d.places++; d.places > maxTold {
			continue
		}
		text := fmt.Sprintf("%s, byte %s: %s", d.name, count(uint64(x.Offset)), x.Kind)
		if x.Of {
			text += ", of " + x.UUID.String() + streamSuffix(x.Dir)
		}
		if x.Bytes > 0 {
			text += "; " + plural(uint64(x.Bytes), "byte") + " skipped"
		}
		d.say("%s", text)
	}
}

func streamSuffix(d firehose.Dir) string {
	if d == firehose.Response {
		return ".response"
	}
	return ".request"
}

// over takes a stream that is over.
func (d *demuxing) over(s *firehose.Stream, file string) error {
	if s.State != firehose.Complete && !d.config.List {
		if d.told++; d.told <= maxTold {
			d.say("%s", incomplete(s, file))
		}
	}
	switch {
	case d.config.JSON:
		return json.NewEncoder(d.out).Encode(newListedStream(s, file))
	case d.config.List:
		return d.list(s)
	}
	return nil
}

// incomplete says what is wrong with a stream.
func incomplete(s *firehose.Stream, file string) string {
	if file == "" {
		file = s.UUID.String() + streamSuffix(s.Dir)
	}
	text := file + ": " + s.State.String()
	return string(appendTallies([]byte(text), ", ", []tally{
		{s.Missing, "missing fragment", "missing fragments"},
		{uint64(s.Lost), "byte cut off", "bytes cut off"},
		{s.Unequal, "unequal duplicate", "unequal duplicates"},
		{s.Late, "fragment come too late", "fragments come too late"},
	}))
}

// list writes the line of a stream.
func (d *demuxing) list(s *firehose.Stream) error {
	if !d.headed {
		d.headed = true
		if _, err := fmt.Fprintf(d.out, "%-36s  %-8s  %-27s  %8s  %13s  %9s  %s\n", "uuid", "", "first data", "for", "bytes", "fragments", "state"); err != nil {
			return err
		}
	}
	first, lasts := "-", "-"
	if s.First != 0 {
		first = time.UnixMicro(s.First).UTC().Format("2006-01-02T15:04:05.000000Z")
		if took := s.Last - s.First; took >= 0 && took <= math.MaxInt64/int64(time.Microsecond) {
			lasts = string(terminal.AppendDuration(nil, took*int64(time.Microsecond)))
		}
	}
	state := appendTallies([]byte(s.State.String()), ", ", []tally{{s.Missing, "missing fragment", "missing fragments"}})
	_, err := fmt.Fprintf(d.out, "%s  %-8s  %-27s  %8s  %13s  %9s  %s\n", s.UUID, streamSuffix(s.Dir)[1:], first, lasts, count(uint64(s.Bytes)), count(s.Fragments), state)
	return err
}

// listedStream is a stream as it is listed in JSON.
type listedStream struct {
	UUID      string `json:"uuid"`
	Direction string `json:"direction"`
	// Use is how often the UUID was used for this direction, if more than once.
	Use              int        `json:"use,omitempty"`
	File             string     `json:"file,omitempty"`
	Complete         bool       `json:"complete"`
	State            []string   `json:"state,omitempty"`
	First            *time.Time `json:"first,omitempty"`
	Last             *time.Time `json:"last,omitempty"`
	End              *time.Time `json:"end,omitempty"`
	Bytes            int64      `json:"bytes"`
	Fragments        uint64     `json:"fragments"`
	MissingFragments uint64     `json:"missing_fragments,omitempty"`
	MissingBytes     int64      `json:"missing_bytes,omitempty"`
	Duplicates       uint64     `json:"duplicates,omitempty"`
	Unequal          uint64     `json:"unequal_duplicates,omitempty"`
	Late             uint64     `json:"late_fragments,omitempty"`
	Reordered        uint64     `json:"reordered_fragments,omitempty"`
}

func newListedStream(s *firehose.Stream, file string) *listedStream {
	l := &listedStream{UUID: s.UUID.String(), Direction: streamSuffix(s.Dir)[1:], File: file, Complete: s.State == firehose.Complete, State: s.State.Names(),
		First: recordedAt(s.First), Last: recordedAt(s.Last), End: recordedAt(s.End), Bytes: s.Bytes, Fragments: s.Fragments, MissingFragments: s.Missing, MissingBytes: s.Lost,
		Duplicates: s.Duplicates, Unequal: s.Unequal, Late: s.Late, Reordered: s.Reordered}
	if s.Nth > 0 {
		l.Use = s.Nth + 1
	}
	return l
}

// recordedAt returns a time of a recording; nil for none, and for one that no document can hold.
func recordedAt(micros int64) *time.Time {
	t := time.UnixMicro(micros).UTC()
	if micros <= 0 || t.Year() > 9999 {
		return nil
	}
	return &t
}

// openForStreams opens the folder for the files, and makes it if it isn't there.
func openForStreams(dir string) (*os.Root, error) {
	if err := makePrivate(dir); err != nil {
		return nil, err
	}
	return os.OpenRoot(dir)
}

// streamFolder makes the files of streams.
type streamFolder struct {
	*folders.Folder
	root *os.Root
}

// Leave implements demux.Folder.
func (f streamFolder) Leave(name string, modified time.Time) error {
	if modified.IsZero() {
		return nil
	}
	return f.root.Chtimes(name+folders.PartSuffix, modified, modified)
}

// Doubt implements demux.Folder.
func (f streamFolder) Doubt(name string) error { return f.root.Rename(name, name+folders.PartSuffix) }

// interruptible is an input whose reading ends when ctx is done, also while it waits for somebody to write.
type interruptible struct {
	ctx  context.Context
	open func() (io.Reader, error)

	blocks chan block
	free   chan []byte
	now    block
	rest   []byte
}

// block is what was read at once.
type block struct {
	b   []byte
	err error
}

// start opens the input, which for a FIFO means to wait for who writes to it.
func (in *interruptible) start() error {
	const size, number = 128 << 10, 3
	in.blocks, in.free = make(chan block), make(chan []byte, number)
	for range number {
		in.free <- make([]byte, size)
	}
	opened := make(chan error, 1)
	go func() {
		r, err := in.open()
		opened <- err
		for err == nil {
			b := <-in.free
			var n int
			n, err = r.Read(b[:size])
			select {
			case in.blocks <- block{b[:n], err}:
			case <-in.ctx.Done():
				return
			}
		}
	}()
	select {
	case err := <-opened:
		return err
	case <-in.ctx.Done():
		in.now.err = io.EOF
		return nil
	}
}

// Read implements io.Reader. What was read before ctx was done is given out.
func (in *interruptible) Read(b []byte) (int, error) {
	for len(in.rest) == 0 {
		if in.now.err != nil {
			return 0, in.now.err
		}
		if in.now.b != nil {
			in.free <- in.now.b
			in.now.b = nil
		}
		select {
		case in.now = <-in.blocks:
			in.rest = in.now.b
		case <-in.ctx.Done():
			in.now.err = io.EOF
		}
	}
	n := copy(b, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}
