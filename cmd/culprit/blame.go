package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/blame"
	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/privilege"
	"github.com/culprit-http/culprit/internal/store/record"
)

func newBlame() *cobra.Command {
	c := config.DefaultBlame()
	var path string
	cmd := &cobra.Command{
		Use:   "blame {-i IFACE | -r FILE} [FLAGS] [CAPTURE FILTER]",
		Short: "Say who made exchanges slow or fail, with evidence",
		Long: `Say who made exchanges slow or fail: the time lost, summed up, and the worst
exchanges with evidence (docs/blame.md). Live, Ctrl-C prints it.

Examples:
  culprit blame -r a.pcap
  culprit blame -r proxy=a.pcap -r app=b.pcap --by route --where 'duration > 1s'
  culprit blame -i eth0 --duration 1m port 8000`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.CaptureFilter = strings.Join(args, " ")
			return runBlame(cmd, &c, path)
		},
		DisableFlagsInUseLine: true,
	}
	in, live, tuning, limits := inputFlags(&c.Capture), liveFlags(&c.Live), tuningFlags(&c.Live), limitFlags(&c.Capture)
	in.Lookup("read").Usage = "read `[TAP=]FILE`, a capture or records (-o ndjson), - for stdin; repeatable"

	show := newFlagGroup("What to show")
	show.StringVar(&c.Where, "where", "", "only those for which `EXPR` holds (docs/filter.md)")
	show.StringVar(&c.By, "by", c.By, "sum by `WHAT`: situation, who, route, server, client, time")
	show.IntVar(&c.Rows, "rows", c.Rows, "at most `N` rows, 0 for all")
	show.IntVar(&c.Worst, "worst", c.Worst, "the `N` worst exchanges, with evidence")
	show.BoolVar(&c.JSON, "json", false, "one JSON document, with all sums")
	show.BoolVar(&c.Reveal, "reveal", false, "show secrets: no redaction (docs/redaction.md)")
	show.StringVar(&c.Color, "color", c.Color, "`WHEN`: auto, always or never")
	show.BoolVar(&c.Stats, "stats", false, "totals on standard error at the end")

	other := newFlagGroup("Other")
	other.BoolVarP(&c.Verbose, "verbose", "v", false, "say on standard error what is done")
	other.BoolP("help", "h", false, "this help")
	other.Bool(helpAll, false, "help with all options: details of live captures, limits")
	addFlags(cmd, in, live, show, knowledgeFlags(&c.Capture, &path), tuning, limits, other)
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(config.BlameBy, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// blaming is one run of culprit blame.
type blaming struct {
	treeing
	config  *config.Blame
	summary *blame.Summary
	sums    blameSums
	// which selects the exchanges that count, nil: all. It is asked once an exchange has its place, and the verdict that those allow which it
	// caused.
	which *filter.Filter
}

// blameSums are what a summary can't know.
type blameSums struct {
	// judged are the exchanges with a verdict, and unjudged those without; caused were caused by others, whose time counts there; again were seen
	// at another tap, too.
	judged, unjudged, caused, again uint64
	// from and to are when the first began and the last was completed, in nanoseconds since 1970.
	from, to int64
}

func (s *blameSums) all() uint64 { return s.judged + s.unjudged + s.caused + s.again }

// runBlame runs the command.
func runBlame(cmd *cobra.Command, c *config.Blame, path string) error {
	if all, err := cmd.Flags().GetBool(helpAll); all && err == nil {
		return cmd.Help()
	}
	if _, err := readConfig(cmd, path, &c.Capture, keysOfTrace); err != nil {
		return usage(err)
	}
	c.Live.Complete(len(c.Inputs) > 0)
	if err := c.Validate(); err != nil {
		return usage(err)
	}
	ctx, stop := untilSignal(true)
	defer stop()
	limits := blame.DefaultLimits
	limits.Worst = c.Worst
	b := &blaming{config: c, summary: blame.NewSummary(limits)}
	b.capturing.config, b.stderr = &c.Capture, cmd.ErrOrStderr()
	b.tree, b.apart, b.keep = b.addTree, b.addApart, true
	return b.run(ctx, cmd)
}

// run does all of the command's work.
func (b *blaming) run(ctx context.Context, cmd *cobra.Command) error {
	if err := b.prepare(); err != nil {
		return err
	}
	defer b.close()
	stats, err := b.read(ctx, cmd.InOrStdin())
	b.progress.clear()
	var told *statusError
	switch {
	case errors.As(err, &told):
		return err
	case errors.Is(err, context.Canceled): // the summary is of what was read
		err = nil
	}
	b.linker.Flush()
	err = cmp.Or(err, b.failed)
	if err == nil || b.sums.all() > 0 {
		if e := b.show(cmd.OutOrStdout()); err == nil && !errors.Is(e, syscall.EPIPE) { // whoever reads it has seen enough
			err = e
		}
	}
	if b.sources != nil {
		b.report(&stats, err)
	} else if err == nil && b.sums.all() == 0 && b.hidden == 0 {
		b.say("the files hold no exchanges")
	}
	if b.hidden > 0 && b.sums.all() == 0 {
		b.say("%s found, none for which --where holds", plural(b.hidden, "exchange"))
	}
	b.reportLinks()
	switch {
	case err != nil:
		return &statusError{exitFailed, err}
	case b.lossy:
		return errLossy
	}
	return nil
}

// prepare reads everything that the user said, and makes what the run needs.
func (b *blaming) prepare() (err error) {
	if err := b.parse(); err != nil {
		return err
	}
	b.which, b.where = b.where, nil
	if err := b.openEnricher(); err != nil { // which knows the routes
		return err
	}
	if b.decoder, err = record.NewDecoder(record.Header()); err != nil {
		return err
	}
	b.rows = map[[exchange.IDSize]byte][]byte{}
	b.linker = hops.New(hopOptions(b.capturing.config), b.told)
	return nil
}

// read reads captures or interfaces, and records.
func (b *blaming) read(ctx context.Context, stdin io.Reader) (stats pipeline.Stats, err error) {
	c := b.config
	inputs := make([]capture.Input, len(c.Inputs))
	for i, arg := range c.Inputs {
		inputs[i] = capture.ParseInput(arg)
	}
	buffered := bufio.NewReader(stdin)
	records, err := areRecords(inputs, buffered)
	switch {
	case err != nil:
		return stats, err
	case records:
		return stats, b.readRecords(ctx, inputs, buffered)
	}
	if inputs, err = b.open(ctx, buffered); err != nil {
		return stats, err
	}
	b.progress = newProgress(b.stderr, inputs, false)
	b.analysis(c.Memory / linkedShare)
	reading := ctx
	if c.Live.On() {
		if err := b.drop(privilege.Options{User: c.Live.User}); err != nil {
			return stats, err
		}
		fmt.Fprintf(b.stderr, "culprit: capturing on %s; Ctrl-C ends it\n", strings.Join(c.Live.Interfaces, ", "))
		reading = context.Background() // the source ends, with what was captured
	}
	return b.capturing.run(reading, b)
}

// Exchanges implements pipeline.Receiver.
func (b *blaming) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		b.learn(x)
		chosen := b.count(b.choose(x))
		s := b.linker.Take(x)
		if !chosen { // it may have caused others
			continue
		}
		b.finish(x)
		s.Shows(x)
		if err := b.took(x, s); err != nil {
			return err
		}
	}
	return nil
}

// Idle implements pipeline.Receiver.
func (b *blaming) Idle() error {
	b.lookAfterKeeper()
	return nil
}

// sureOfHop is how sure a link must be for the time of an exchange to count with the one that caused it, and not twice.
const sureOfHop = 0.5

// addTree counts the exchanges of a tree. What others waited for counts with them: its time is a part of theirs.
func (b *blaming) addTree(t *hops.Tree) (err error) {
	t.All(func(n *hops.Node) bool {
		for _, s := range n.Seen {
			row := b.rows[s.ID]
			if row == nil {
				continue // it wasn't chosen
			}
			err = b.decoder.Each(row, func(row *record.Row) error {
				x := b.maker.Exchange(row)
				x.Hop = n.Hop
				// What the exchange says of itself has its texts, for which the packets are needed.
				if v := &n.Span.Verdict; n.Blame.Who != v.Who || n.Blame.Situation != v.Situation || n.Blame.Upstream != v.Upstream {
					x.Blame = n.Blame
				}
				b.add(x, s != n.Span)
				return nil
			})
			if err != nil {
				return false
			}
		}
		return true
	})
	return err
}

// addApart counts an exchange that is in no tree.
func (b *blaming) addApart(x *exchange.Exchange) error {
	b.add(x, false)
	return nil
}

// add counts an exchange; again: another tap's view of it counts.
func (b *blaming) add(x *exchange.Exchange, again bool) {
	if b.which != nil && !b.which.Match(x) {
		b.hidden++
		return
	}
	s := &b.sums
	if s.from == 0 || x.Start.Time < s.from {
		s.from = x.Start.Time
	}
	s.to = max(s.to, x.Completed.Time)
	switch {
	case again:
		s.again++
	case x.Hop.Method > exchange.Root && x.Hop.Confidence >= sureOfHop:
		s.caused++
	case x.Blame.Who == exchange.Unjudged:
		s.unjudged++
	default:
		s.judged++
		b.summary.Add(x)
	}
}

// show prints the summary.
func (b *blaming) show(w io.Writer) error {
	t := describe(w, b.config.Color)
	r := &blameReport{summary: b.summary, sums: &b.sums, by: b.config.By, rows: b.config.Rows, terminal: t.terminal, location: time.UTC}
	if t.terminal.Width > 0 {
		r.location = t.location
	}
	var out []byte
	if b.config.JSON {
		var err error
		if out, err = r.json(); err != nil {
			return err
		}
	} else {
		out = r.text()
	}
	_, err := w.Write(out)
	return err
}
