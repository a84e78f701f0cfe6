package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/capture/pcapfilter"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/output/pcapng"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/own"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/redact"
	"github.com/culprit-http/culprit/internal/tcp"
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
	cmd := &cobra.Command{
		Use:   "trace {-i IFACE | -r FILE} [FLAGS] [CAPTURE FILTER]",
		Short: "Print each HTTP exchange as it completes",
		Long: `Print each HTTP exchange as it completes, live or from capture files.

Examples:
  culprit trace -i eth0 port 8000
  culprit trace -r a.pcap -o console --where 'status >= 500 or duration > 1s'
  culprit trace -r proxy=a.pcap -r app=b.pcapng.zst -o har=out.har host 10.0.0.7`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.CaptureFilter = strings.Join(args, " ")
			return trace(cmd, &c)
		},
		DisableFlagsInUseLine: true,
	}
	in := newFlagGroup("Input")
	in.StringArrayVarP(&c.Inputs, "read", "r", nil, "read `[TAP=]FILE`, - for stdin; repeatable")
	in.StringArrayVarP(&c.Live.Interfaces, "interface", "i", nil, "capture on `IFACE`, any for all; repeatable")
	in.BoolVar(&c.Follow, "follow", false, "wait for more at the end of the files")
	in.StringArrayVar(&c.DecodeAs, "decode-as", nil, "hint: `PORT=PROTOCOL`; repeatable")

	live := newFlagGroup("Live capture (docs/live.md)")
	live.StringVar(&c.Live.Process, "process", "", "only what processes called `NAME` do")
	live.IntVar(&c.Live.PID, "pid", 0, "only what process `N` does, in its network namespace")
	live.BoolVar(&c.Live.Listening, "listening", false, "only what this host serves")
	live.StringVar(&c.Live.NetNS, "netns", "", "in the network namespace `NAME`, a path, or pid:N")
	live.DurationVar(&c.Live.Duration, "duration", 0, "end after `TIME`")

	tuning := newRareGroup("Live capture, in detail")
	tuning.BoolVar(&c.Live.Promiscuous, "promisc", false, "also packets to other hosts")
	tuning.Var(&c.Live.SnapLen, "snaplen", "`SIZE` to capture of each packet (default all)")
	tuning.Var(&c.Live.Ring, "ring", "`SIZE` of an interface's ring")
	tuning.Var(&c.Live.Block, "block", "`SIZE` of its blocks")
	tuning.DurationVar(&c.Live.Retire, "retire", c.Live.Retire, "`TIME` after which a block is read, full or not")
	tuning.IntVar(&c.Live.Fanout, "fanout", c.Live.Fanout, "`N` rings for each interface")
	tuning.BoolVar(&c.Live.HardwareTime, "hardware-time", false, "times of the network card, where it has them")
	tuning.StringVar(&c.Live.User, "user", "", "`USER` to become once all is open (default nobody, for root)")
	tuning.BoolVar(&c.Live.NoProcess, "no-process", false, "don't look for the processes at the ends")
	tuning.BoolVar(&c.Live.IncludeOwn, "include-own", false, "culprit's own connections, too")

	show := newFlagGroup("What to show")
	show.StringVar(&c.Where, "where", "", "only those for which `EXPR` holds (docs/filter.md)")
	show.StringArrayVarP(&c.Outputs, "output", "o", nil, "`NAME[=FILE]`: line console ndjson har pcapng; repeatable")
	show.StringVar(&c.Format, "format", "", "a line made from `TEMPLATE` (docs/format.md)")
	show.StringSliceVar(&c.Headers, "headers", nil, "`NAMES` of header fields for console (default all)")
	show.BoolVar(&c.NoHeaders, "no-headers", false, "no header fields on console")
	show.Var(&c.MaxBody, "max-body", "`SIZE` to keep of bodies (default 0; console 4KiB)")
	show.BoolVar(&c.Reveal, "reveal", false, "show secrets: no redaction (docs/redaction.md)")
	show.StringVar(&c.Color, "color", c.Color, "`WHEN`: auto, always or never")
	show.Var(&c.Rotate, "rotate", "-o pcapng: `N`xSIZE, NxTIME or both, as in 10x100MB,1h")
	show.Uint64Var(&c.Count, "count", 0, "end after `N` exchanges")
	show.BoolVar(&c.Stats, "stats", false, "totals on standard error at the end")

	limits := newRareGroup("Limits (docs/limits-and-loss.md)")
	limits.DurationVar(&c.PendingAfter, "pending-after", c.PendingAfter, "live: show requests waiting `TIME`")
	limits.DurationVar(&c.ExchangeTimeout, "exchange-timeout", c.ExchangeTimeout, "give up requests that wait `TIME`")
	limits.Var(&c.MaxHead, "max-head", "`SIZE` of a message head")
	limits.IntVar(&c.MaxFields, "max-fields", c.MaxFields, "`N` header fields per message")
	limits.IntVar(&c.MaxWaiting, "max-waiting", c.MaxWaiting, "`N` waiting requests a connection")
	limits.Var(&c.Memory, "memory", "`SIZE` that the process may take")

	other := newFlagGroup("Other")
	limits.IntVar(&c.Workers, "workers", 0, "`N` goroutines that analyse (default one a processor; live 1)")
	other.BoolVarP(&c.Verbose, "verbose", "v", false, "say on standard error what is done")
	other.BoolP("help", "h", false, "this help")
	other.Bool(helpAll, false, "help with all options: details of live captures, limits")
	addFlags(cmd, in, live, show, tuning, limits, other)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputNames(), cobra.ShellCompDirectiveNoSpace))
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// trace runs the command.
func trace(cmd *cobra.Command, c *config.Trace) error {
	if all, err := cmd.Flags().GetBool(helpAll); all && err == nil {
		return cmd.Help()
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
	t := &tracing{config: c, stderr: cmd.ErrOrStderr()}
	ctx, stop := untilSignal()
	defer stop()

	if err := t.prepare(ctx, cmd); err != nil {
		return err
	}
	defer t.close()
	if c.Live.On() {
		done, err := t.capture.drop(&c.Live)
		if err != nil {
			return &statusError{exitFailed, err}
		}
		for _, what := range done {
			t.tell("privileges: %s", what)
		}
		fmt.Fprintf(t.stderr, "culprit: capturing on %s\n", strings.Join(c.Live.Interfaces, ", "))
		ctx = context.Background() // the source ends, with what was captured
	}
	stats, err := t.run(ctx)
	if errors.Is(err, errEnough) {
		err = nil
	}
	t.progress.clear()
	if e := t.sinks.close(); err == nil {
		err = e
	}
	if r := t.sinks.recorder; r != nil && r.Lost() != "" {
		t.lose("%s", r.Lost())
	}
	if errors.Is(err, syscall.EPIPE) {
		return nil // whoever read our output has seen enough
	}
	t.report(&stats, err)
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

// untilSignal returns a context that is done when the program is asked to end, or its terminal is gone. A second signal ends
// the program at once.
func untilSignal() (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup does
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, func() { time.AfterFunc(secondSignal, stop) })
	signal.Ignore(syscall.SIGPIPE) // writing then fails with EPIPE, and all ends well
	return ctx, stop
}

// run reads the sources to their end.
func (t *tracing) run(ctx context.Context) (pipeline.Stats, error) {
	if t.capture == nil {
		return pipeline.Run(ctx, t.sources[0], t.pipeline, t)
	}
	defer t.capture.end()
	return pipeline.RunAll(ctx, t.sources, t.pipeline, t, t.capture.stop)
}

// tracing is one run of culprit trace.
type tracing struct {
	config   *config.Trace
	stderr   io.Writer
	sources  []capture.Source
	capture  *liveCapture // sources, if they are live
	owners   finder       // of the processes at the ends of connections, or nil
	pipeline pipeline.Config
	filter   *pcapfilter.Filter
	matcher  *pcapfilter.Matcher
	where    *filter.Filter
	redactor *redact.Redactor
	recent   recentOwners
	// unmatched tells the recording of an exchange that isn't selected; nil when that doesn't matter.
	unmatched func(x *exchange.Exchange)
	sinks     *sinks
	progress  *progress
	live      bool

	// number counts the exchanges shown, hidden those for which --where doesn't hold, others those of other processes
	// than the chosen ones; unowned are those of the latter whose processes aren't known. nameless are
	// those with an end of which only the user is known.
	number, hidden, others, unowned, nameless uint64
	lossy                                     bool
	// broken: it was said that the recording has ended.
	broken bool
	// bereft: the keeper has ended.
	bereft bool
	// wantsOwner: --where asks for processes.
	wantsOwner bool
}

// close ends what the run has opened, but for the outputs.
func (t *tracing) close() {
	if t.capture != nil {
		t.capture.Close()
	} else {
		t.sources[0].Close()
	}
}

// taps returns the taps of the sources.
func (t *tracing) taps() []capture.Tap {
	if t.capture != nil {
		return t.capture.taps()
	}
	return t.sources[0].Taps()
}

// errEnough ends a run that has shown as many exchanges as were wanted.
var errEnough = errors.New("enough exchanges were shown")

// prepare reads everything that the user said, and then opens what the run needs. A live capture ends when ctx
// is done.
func (t *tracing) prepare(ctx context.Context, cmd *cobra.Command) error {
	c := t.config
	orders, err := parseOutputs(c)
	if err != nil {
		return err
	}
	hints, err := c.Hints()
	if err != nil {
		return usage(err)
	}
	if err := pipeline.CheckHints(hints); err != nil {
		return usage(fmt.Errorf("--decode-as: %w", err))
	}
	if err := t.parseFilters(); err != nil {
		return err
	}
	inputs := make([]capture.Input, len(c.Inputs))
	for i, arg := range c.Inputs {
		inputs[i] = capture.ParseInput(arg)
	}
	t.live = c.Live.On() || c.Follow || slices.ContainsFunc(inputs, func(in capture.Input) bool { return !regular(in, cmd.InOrStdin()) })
	if c.MaxBody < 0 && slices.ContainsFunc(orders, func(o order) bool { return o.name == "console" }) {
		c.MaxBody = consoleBody
	}

	stdout := describe(cmd.OutOrStdout(), c.Color)
	if c.Live.On() {
		if t.capture, err = openLive(ctx, &c.Live, captureFilter{c.CaptureFilter, t.filter}, t.warn); err == nil {
			t.sources, t.owners = t.capture.sources, t.capture.owners
		}
	} else {
		t.sources = make([]capture.Source, 1)
		t.sources[0], err = capture.Open(inputs, capture.Options{Follow: c.Follow, Stdin: cmd.InOrStdin()})
	}
	var said *statusError
	switch {
	case errors.As(err, &said):
		return said
	case err != nil:
		return &statusError{exitFailed, err}
	}
	matched := t.where != nil || c.Live.Owner()
	if t.sinks, err = openOutputs(c, orders, stdout, inputs, pcapng.Options{
		Application: "culprit " + version, OS: runtime.GOOS, Hardware: runtime.GOARCH,
		CaptureFilter: c.CaptureFilter, Selection: selection(c), Matched: matched, Live: c.Live.On(),
		Memory: int(c.Memory / recordShare), RotateSize: int64(c.Rotate.Size), RotateEvery: c.Rotate.Every, Taps: t.taps,
	}); err != nil {
		t.close()
		return err
	}
	if r := t.sinks.recorder; r != nil {
		t.warn("%s", pcapng.RawWarning)
		if matched {
			t.unmatched = r.Unmatched
		}
	}
	t.progress = newProgress(t.stderr, inputs, stdout.terminal.Width > 0)

	// Half of the budget is for connections and exchanges; the collector keeps the rest in bounds.
	memory := c.Memory - c.Live.Memory()
	debug.SetMemoryLimit(int64(memory) / 10 * 9)
	debug.SetGCPercent(gcPercent)
	t.pipeline = pipeline.Config{
		Workers: c.WorkerCount(),
		Memory:  int(memory),
		Hints:   hints,
		Packet:  packet.DefaultLimits(),
		TCP:     tcp.DefaultLimits,
		Parser:  proto.Limits{MaxHead: int(c.MaxHead), MaxFields: c.MaxFields},
		Exchange: exchange.Limits{
			MaxWaiting: c.MaxWaiting, MaxBody: int(max(c.MaxBody, 0)), ExchangeTimeout: c.ExchangeTimeout,
		},
		Progress: t.progress.update,
	}
	if c.Live.On() && !c.Live.IncludeOwn && c.Live.NetNS == "" {
		if connections := own.Open(); connections.Any() {
			t.pipeline.Own = connections.Packet
		}
	}
	if t.sinks.recorder != nil {
		t.pipeline.Recorder = t.sinks.recorder
	}
	if t.owners != nil {
		t.pipeline.Opened = t.owners.Opened
	}
	if t.live {
		t.pipeline.Exchange.PendingAfter = c.PendingAfter
	}
	if t.matcher != nil && !c.Live.On() { // a live source applies it
		t.pipeline.Filter = t.matcher
	}
	return nil
}

// selection says by what exchanges are selected, as it was typed.
func selection(c *config.Trace) string {
	var parts []string
	for _, part := range []struct {
		given bool
		text  string
	}{
		{c.Where != "", "--where '" + c.Where + "'"}, {c.Live.Process != "", "--process " + c.Live.Process},
		{c.Live.PID != 0, "--pid " + strconv.Itoa(c.Live.PID)}, {c.Live.Listening, "--listening"},
	} {
		if part.given {
			parts = append(parts, part.text)
		}
	}
	return strings.Join(parts, " ")
}

// regular reports whether an input is a file that is there as a whole, and no pipe. An input that isn't
// there at all is left for whoever opens it to complain of.
func regular(in capture.Input, stdin io.Reader) bool {
	var info os.FileInfo
	var err error
	if in.Path != capture.Stdin {
		info, err = os.Stat(in.Path)
	} else if f, ok := stdin.(*os.File); ok {
		info, err = f.Stat()
	} else {
		return false
	}
	return err != nil || info.Mode().IsRegular()
}

// parseFilters reads the two filters and the redaction key.
func (t *tracing) parseFilters() error {
	c := t.config
	if c.CaptureFilter != "" {
		f, err := pcapfilter.Parse(c.CaptureFilter)
		if err != nil {
			return usage(fmt.Errorf("capture filter: %w", err))
		}
		if why, one := f.OneDirection(); one {
			t.warn("the capture filter: %s", why)
		}
		t.filter, t.matcher = f, f.Matcher()
	}
	if c.Where != "" {
		var err error
		if t.where, err = filter.Parse(c.Where); err != nil {
			return usage(fmt.Errorf("--where: %w", err))
		}
		t.wantsOwner = slices.ContainsFunc(t.where.Fields(), (*exchange.Field).OfProcess)
		if t.wantsOwner && (!c.Live.On() || c.Live.NoProcess) {
			t.warn("--where asks for processes, which are known of live captures only, without --no-process")
		}
	}
	if c.Reveal {
		return nil
	}
	key, err := redactionKey()
	if err != nil {
		t.tell("%v: fingerprints of secrets will not be the same in the next run", err)
	}
	t.redactor = redact.New(key)
	return nil
}

// redactionKey returns the key of this installation, or one for this run with an error that says why.
func redactionKey() ([]byte, error) {
	path, err := redact.DefaultKeyPath()
	if err == nil {
		var key []byte
		if key, err = redact.LoadKey(path); err == nil {
			return key, nil
		}
	}
	key := make([]byte, redact.KeySize)
	rand.Read(key) // never fails
	return key, err
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

func (t *tracing) warn(format string, args ...any) {
	t.progress.clear()
	fmt.Fprintf(t.stderr, "culprit: warning: "+format+"\n", args...)
}

// tell says what only those want to know who asked for it.
func (t *tracing) tell(format string, args ...any) {
	if t.config.Verbose {
		t.progress.clear()
		fmt.Fprintf(t.stderr, "culprit: "+format+"\n", args...)
	}
}

// Exchanges implements pipeline.Receiver.
func (t *tracing) Exchanges(done, waiting []*exchange.Exchange) error {
	for _, x := range done {
		if !t.selects(x) {
			if t.unmatched != nil {
				t.unmatched(x)
			}
			continue
		}
		t.number++
		x.Number = t.number
		t.redact(x)
		if err := t.sinks.exchange(x); err != nil {
			return err
		}
		if t.number == t.config.Count {
			return errEnough
		}
	}
	for _, x := range waiting {
		if counted := *t; !counted.selects(x) { // it will be counted when it is complete
			continue
		}
		t.redact(x)
		waited := time.Duration(min(max(x.Completed.Time-x.Start.Time, 0), math.MaxInt64))
		if err := t.sinks.waiting(x, waited); err != nil {
			return err
		}
	}
	if t.live {
		return t.sinks.flush()
	}
	return nil
}

// selects reports whether an exchange is to be shown, and counts it if not.
func (t *tracing) selects(x *exchange.Exchange) bool {
	if t.owners != nil {
		x.Process = t.recent.lookup(t.owners, x)
		for _, p := range x.Process {
			if p != nil && p.PID == 0 && p.Name == "" && p.Executable == "" {
				t.nameless++ // only the user is known
				break
			}
		}
	}
	if t.config.Live.Owner() {
		chosen, unknown := ownedBy(x, &t.config.Live)
		if !chosen {
			t.others++
			if unknown {
				t.unowned++
			}
			return false
		}
	}
	if t.where != nil && !t.where.Match(x) {
		t.hidden++
		return false
	}
	return true
}

// redact hides the secrets of what the outputs show.
func (t *tracing) redact(x *exchange.Exchange) {
	switch {
	case t.redactor == nil:
	case t.sinks.headlines:
		t.redactor.Target(x)
	default:
		t.redactor.Exchange(x)
	}
}

// Idle implements pipeline.Receiver.
func (t *tracing) Idle() error {
	t.lookAfterKeeper()
	if r := t.sinks.recorder; r != nil && !t.broken && r.Err() != nil {
		t.broken = true
		t.warn("the recording has ended: %v", r.Err())
	}
	return t.sinks.flush()
}

// lookAfterKeeper says once that the process which keeps the privileges has ended.
func (t *tracing) lookAfterKeeper() {
	if t.capture == nil || t.bereft {
		return
	}
	select {
	case <-t.capture.keeperEnded:
		t.bereft = true
		t.lose("the process that kept the privileges has ended: no more processes are found, and interfaces that vanish don't come back")
	default:
	}
}
