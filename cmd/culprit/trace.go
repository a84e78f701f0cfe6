package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/pcapng"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/own"
	"github.com/culprit-http/culprit/internal/privilege"
)

// consoleBody is how much of each body is kept for the console when nothing else is said.
const consoleBody = 4 << 10

// recordShare is one over the share of the memory budget that packets may have which wait to be recorded.
const recordShare = 8

// gcPercent is how much the heap grows before the collector runs: what stays is small, what comes and goes
// is much.
const gcPercent = 200

func newTrace() *cobra.Command {
	c := config.DefaultTrace()
	var path string
	cmd := &cobra.Command{
		Use:   "trace {-i IFACE | -r FILE} [FLAGS] [CAPTURE FILTER]",
		Short: "Print each exchange as it completes",
		Long: `Print each exchange as it completes, live or from capture files: requests of
HTTP, statements of databases and caches, lookups of names, and their answers.

Examples:
  culprit trace -i eth0 port 8000
  culprit trace -r a.pcap -o console --where 'status >= 500 or duration > 1s'
  culprit trace -r proxy=a.pcap -r app=b.pcapng.zst -o har=out.har host 10.0.0.7`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.CaptureFilter = strings.Join(args, " ")
			return trace(cmd, &c, path)
		},
		DisableFlagsInUseLine: true,
	}
	in, live, tuning, limits := inputFlags(&c.Capture), liveFlags(&c.Live), tuningFlags(&c.Live), limitFlags(&c.Capture)

	show := newFlagGroup("What to show")
	show.StringVar(&c.Where, "where", "", "only those for which `EXPR` holds (docs/filter.md)")
	show.StringArrayVarP(&c.Outputs, "output", "o", nil, "`NAME[=TARGET]`: line console ndjson har pcapng ... (docs/outputs.md)")
	show.StringVar(&c.Format, "format", "", "a line made from `TEMPLATE` (docs/format.md)")
	show.StringSliceVar(&c.Headers, "headers", nil, "`NAMES` of header fields for console (default all)")
	show.BoolVar(&c.NoHeaders, "no-headers", false, "no header fields on console")
	show.Var(&c.MaxBody, "max-body", "`SIZE` to keep of bodies (default 0; console 4KiB)")
	show.BoolVar(&c.Reveal, "reveal", false, "show secrets: no redaction (docs/redaction.md)")
	show.BoolVar(&c.Redaction.Literals, "literals", false, "show literals of statements, and results; not secrets")
	show.StringVar(&c.Color, "color", c.Color, "`WHEN`: auto, always or never")
	show.Var(&c.Rotate, "rotate", "files: `N`xSIZE, NxTIME or both, as in 10x100MB,1h")
	recordingFlags(show, &c)
	show.Uint64Var(&c.Count, "count", 0, "end after `N` exchanges")
	show.BoolVar(&c.Stats, "stats", false, "totals on standard error at the end")

	known := knowledgeFlags(&c.Capture, &path)

	other := newFlagGroup("Other")
	other.BoolVarP(&c.Verbose, "verbose", "v", false, "say on standard error what is done")
	other.BoolP("help", "h", false, "this help")
	other.Bool(helpAll, false, "help with all options: details of live captures, limits")
	addFlags(cmd, in, live, show, shippingFlags(&c.Shipping), known, tuning, limits, other)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputNames(), cobra.ShellCompDirectiveNoSpace))
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// trace runs the command.
func trace(cmd *cobra.Command, c *config.Trace, path string) error {
	if all, err := cmd.Flags().GetBool(helpAll); all && err == nil {
		return cmd.Help()
	}
	if _, err := readConfig(cmd, path, &c.Capture, keysOfTrace); err != nil {
		return usage(err)
	}
	c.Live.Complete(len(c.Inputs) > 0)
	if err := c.Validate(); err != nil {
		if words := strings.Fields(c.CaptureFilter); len(words) > 0 && len(c.Inputs) == 0 && !c.Live.On() {
			if _, there := net.InterfaceByName(words[0]); there == nil {
				err = fmt.Errorf("%s is an interface: capture there with -i %s", words[0], words[0])
			}
		}
		return usage(err)
	}
	ctx, stop := untilSignal(true)
	defer stop()
	return newTracing(cmd, c).run(ctx, cmd)
}

// newTracing returns a run that wasn't begun.
func newTracing(cmd *cobra.Command, c *config.Trace) *tracing {
	return &tracing{config: c, capturing: capturing{config: &c.Capture, stderr: cmd.ErrOrStderr()}}
}

// run does all of the command's work. A live capture ends when ctx is done, and so does waiting for receivers, a while later.
func (t *tracing) run(ctx context.Context, cmd *cobra.Command) error {
	c := t.config
	if err := t.prepare(ctx, cmd); err != nil {
		return err
	}
	defer t.close()
	reading := ctx
	if c.Live.On() {
		if err := t.drop(privilege.Options{
			User: c.Live.User, Network: t.connects, Serve: len(t.sinks.servers) > 0, WritePaths: append(t.writePaths(), t.sinks.folderNames()...), ReadPaths: t.readPaths(),
		}); err != nil {
			return err
		}
		fmt.Fprintf(t.stderr, "culprit: capturing on %s\n", strings.Join(c.Live.Interfaces, ", "))
		reading = context.Background() // the source ends, with what was captured
	}
	if err := t.begin(); err != nil {
		_ = t.sinks.end(canceled())
		t.sinks.close()
		return &statusError{exitFailed, err}
	}
	defer context.AfterFunc(ctx, t.sinks.hurry)()
	t.reloads.begin(t)
	stats, err := t.capturing.run(reading, t)
	if errors.Is(err, errEnough) {
		err = nil
	}
	t.progress.clear()
	if t.rollups != nil {
		t.rollups.Flush()
	}
	if e := t.drain(ctx); err == nil {
		err = e
	}
	if e := t.sinks.close(); err == nil {
		err = e
	}
	if r := t.sinks.recorder; r != nil && r.Lost() != "" {
		t.lose("%s", r.Lost())
	}
	t.accountShippers()
	t.accountFollowers()
	if errors.Is(err, syscall.EPIPE) { // whoever read our output has seen enough
		if len(t.sinks.shippers) > 0 {
			t.lose("whoever read the output has gone, and the run has ended with that: what would have come later wasn't delivered")
		}
		if t.lossy {
			return errLossy
		}
		return nil
	}
	t.report(&stats, err)
	if c.Stats {
		t.totalsOfShippers()
		t.totalsOfFollowers()
	}
	switch {
	case err != nil:
		return &statusError{exitFailed, err}
	case t.lossy:
		return errLossy
	}
	return nil
}

// secondSignal is after how long another signal is one of its own. Some programs send one to a process, and then to its
// group.
const secondSignal = 500 * time.Millisecond

// untilSignal returns a context that is done when the program is asked to end, or its terminal is gone, if hangup. A second
// signal ends the program at once.
func untilSignal(hangup bool) (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if hangup && !signal.Ignored(syscall.SIGHUP) { // as nohup does
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, func() { time.AfterFunc(secondSignal, stop) })
	signal.Ignore(syscall.SIGPIPE) // writing then fails with EPIPE, and all ends well
	return ctx, stop
}

// tracing is one run of culprit trace.
type tracing struct {
	capturing
	config *config.Trace
	// unmatched tells the recording of an exchange that isn't selected; nil when that doesn't matter.
	unmatched func(x *exchange.Exchange)
	sinks     *sinks
	shipping
	// broken: it was said that the recording has ended.
	broken bool
}

// errEnough ends a run that has shown as many exchanges as were wanted.
var errEnough = errors.New("enough exchanges were shown")

// prepare reads everything that the user said, and then opens what the run needs. A live capture ends when ctx
// is done.
func (t *tracing) prepare(ctx context.Context, cmd *cobra.Command) error {
	c := t.config
	t.self = openSelfStatus()
	t.own = own.Open()
	if t.own == nil {
		t.own = &own.Connections{}
	}
	orders, err := parseOutputs(c, t.own.Dial)
	if err != nil {
		return err
	}
	if err := t.prepareShipping(orders); err != nil {
		return err
	}
	if err := t.parse(); err != nil {
		return err
	}
	has := func(name string) bool {
		return slices.ContainsFunc(orders, func(o order) bool { return o.name == name })
	}
	if c.MaxBody < 0 && has("console") {
		c.MaxBody = consoleBody
	}
	if t.wantsEnriched || has("ndjson") || t.delivers { // nothing else shows what it finds
		if err := t.openEnricher(); err != nil {
			return err
		}
	}
	stdout := describe(cmd.OutOrStdout(), c.Color)
	if stdout.preview, err = newPreviewer(c.Protosets, t.redactor); err != nil {
		return err
	}
	if err := t.openPipes(ctx, orders); err != nil {
		return err
	}
	inputs, err := t.open(ctx, cmd.InOrStdin())
	if err != nil {
		return err
	}
	if err := checkWithKeys(c, orders, t.pipeline.Keys, len(inputs) > 0); err != nil {
		t.close()
		return err
	}
	var keys pcapng.Keys
	if c.WithKeys {
		keys = t.pipeline.Keys
	}
	matched := t.where != nil || c.Live.Owner()
	if t.sinks, err = openOutputs(c, orders, stdout, inputs, pcapng.Options{
		Application: "culprit " + version, OS: runtime.GOOS, Hardware: runtime.GOARCH,
		CaptureFilter: c.CaptureFilter, Selection: selection(&c.Capture), Matched: matched, Live: c.Live.On(),
		Memory: int(c.Memory / recordShare), RotateSize: int64(c.Rotate.Size), RotateEvery: c.Rotate.Every, Taps: t.taps, Keys: keys,
	}); err != nil {
		t.close()
		return err
	}
	if r := t.sinks.recorder; r != nil {
		if c.WithKeys {
			t.warn("%s", pcapng.KeysWarning)
		} else {
			t.warn("%s", pcapng.RawWarning)
		}
		if matched {
			t.unmatched = r.Unmatched
		}
	}
	t.follow()
	t.most = c.Count
	t.headlines = t.sinks.headlines
	t.progress = newProgress(t.stderr, inputs, stdout.terminal.Width > 0)
	for _, m := range t.sinks.servers {
		if err := m.listen(t.own, t.warn); err != nil {
			t.close()
			return &statusError{exitFailed, fmt.Errorf("-o metrics=%s: %w", m.address, err)}
		}
		t.pipeline.Watch = &t.totals.watch
	}
	if err := t.handOverSpool(); err != nil {
		t.close()
		return &statusError{exitFailed, err}
	}
	t.analysis(t.queueMemory() + t.linkMemory())
	t.link()
	t.pipeline.Recorder = t.sinks.recorders(t.taps)
	return nil
}

// describe finds out what standard output is.
func describe(w io.Writer, color string) target {
	t := target{w: w, location: time.Local}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil || width <= 0 {
			width = 80
		}
		t.terminal = terminal.Terminal{Width: width, Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	}
	if color != "auto" {
		t.terminal.Color = color == "always"
	}
	return t
}

// Exchanges implements pipeline.Receiver.
func (t *tracing) Exchanges(done, waiting []*exchange.Exchange) error {
	for _, x := range done {
		t.learn(x)
		if s := t.choose(x); !t.count(s) {
			if t.unmatched != nil {
				t.unmatched(x)
			}
			continue
		}
		x.Number = t.number
		t.finish(x)
		if err := t.deliver(x); err != nil {
			return err
		}
		if t.number == t.config.Count {
			return errEnough
		}
	}
	for _, x := range waiting {
		if s := t.choose(x); !s.chosen() { // it will be counted when it is complete
			continue
		}
		t.finish(x)
		if err := t.sinks.waiting(x, waited(x)); err != nil {
			return err
		}
	}
	t.look()
	if t.live {
		return t.sinks.flush()
	}
	return nil
}

// Idle implements pipeline.Receiver.
func (t *tracing) Idle() error {
	t.lookAfterKeeper()
	t.look()
	if r := t.sinks.recorder; r != nil && !t.broken && r.Err() != nil {
		t.broken = true
		t.warn("the recording has ended: %v", r.Err())
	}
	return t.sinks.flush()
}
