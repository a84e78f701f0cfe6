package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/redact"
	"github.com/culprit-http/culprit/internal/replay"
)

func newReplay() *cobra.Command {
	c := config.DefaultReplay()
	var path string
	cmd := &cobra.Command{
		Use:   "replay -r FILE --to URL [FLAGS] [CAPTURE FILTER]",
		Short: "Send recorded requests again, and compare the answers",
		Long: `Send the requests of a recording to a target that you name, with the
connections, the order and the timing that they had, and compare the answers
with those of the recording: status, headers, bodies (JSON by its structure),
latencies.

The exit status is 0 when all answers are the same, 1 when some differ or none
came, 3 when none differs but requests were left out that should have been sent.

Examples:
  culprit replay -r live.pcap --to http://127.0.0.1:8080
  culprit replay -r live.pcap --to https://staging.example --speed max \
      --where 'path startsWith "/api"' --ignore 'json:$..time'
  culprit replay session.har --to http://127.0.0.1:8080 --all --dry-run`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(c.Inputs) == 0 && c.Store == "" { // then the words are the recordings
				c.Inputs, args = args, nil
			}
			c.CaptureFilter = strings.Join(args, " ")
			return replayRecording(cmd, &c, path)
		},
		DisableFlagsInUseLine: true,
	}
	in := newFlagGroup("What to send")
	in.StringArrayVarP(&c.Inputs, "read", "r", nil, "the requests of `[TAP=]FILE`: a capture, a firehose stream, HAR, NDJSON with bodies; - for stdin; repeatable")
	in.StringVar(&c.Store, "store", "", "those of the store in the folder `DIR` (see --last, --from, --until)")
	in.StringVar(&c.Where, "where", "", "exchanges for which `EXPR` holds (docs/filter.md)")
	in.BoolVar(&c.All, "all", false, "whatever the method (default: idempotent ones)")
	in.BoolVar(&c.Partial, "partial", false, "also with bodies that were cut or not kept")
	in.Var(&c.MaxBody, "max-body", "`SIZE` to keep of bodies, on both sides")
	in.StringArrayVar(&c.Keylogs, "keylog", nil, "`FILE` of TLS keys; repeatable (docs/keys.md)")
	in.StringArrayVar(&c.TLSKeys, "tls-key", nil, "RSA private key in `FILE`; repeatable")
	in.StringArrayVar(&c.DecodeAs, "decode-as", nil, "hint: `PORT=PROTOCOL`; repeatable")
	in.Var(&c.Last, "last", "of a store: what began in the last `TIME`, as in 1h")
	in.StringVar(&c.From, "from", "", "of a store: from `TIME` on")
	in.StringVar(&c.Recordings.To, "until", "", "of a store: to `TIME`")

	to := newFlagGroup("Where and how")
	to.StringVar(&c.To, "to", "", "to `URL`; requests go nowhere else")
	to.StringVar(&c.HTTP, "http", c.HTTP, "`VERSION`: 1.1, 2, or auto: 2 where it was recorded, if the target speaks it")
	to.BoolVar(&c.Insecure, "insecure", false, "don't verify the target's certificate")
	to.BoolVar(&c.KeepHost, "keep-host", false, "the Host of the recording, not the target's")
	to.StringArrayVar(&c.SetHeaders, "set-header", nil, "with the header `'NAME: VALUE'`; repeatable")
	to.StringArrayVar(&c.DropHeaders, "drop-header", nil, "without the header `NAME`; repeatable")
	to.StringArrayVar(&c.RewritePaths, "rewrite-path", nil, "change targets: `'s|REGEXP|NEW|'`; repeatable")
	to.StringArrayVar(&c.Carry, "carry", nil, "values from answers to later requests: `RULE`, json:$.token, header:NAME, text:REGEXP; repeatable (cookies: always)")

	when := newFlagGroup("When")
	when.StringVar(&c.Speed, "speed", c.Speed, "`N` times as fast as recorded, or max")
	when.Float64Var(&c.Rate, "rate", 0, "`N` requests a second instead")
	when.IntVar(&c.Concurrency, "concurrency", 0, "at most `N` connections at a time (default 1000; with --speed max 16)")
	when.DurationVar(&c.Timeout, "timeout", c.Timeout, "give up a request after `TIME`")

	compare := newFlagGroup("What to compare")
	compare.StringArrayVar(&c.IgnoreHeaders, "ignore-header", nil, "not the header `NAME`; repeatable")
	compare.StringArrayVar(&c.CompareHeaders, "compare-header", nil, "also the header `NAME`; repeatable (docs/replay.md has those that aren't)")
	compare.StringArrayVar(&c.Ignore, "ignore", nil, "in bodies: not `RULE`, json:$..time or text:REGEXP; repeatable")
	compare.BoolVar(&c.FailSlower, "fail-slower", false, "routes that are slower are differences, too")

	out := newFlagGroup("Output")
	out.StringArrayVarP(&c.Outputs, "output", "o", nil, "the new exchanges, too: `NAME=FILE`: har, ndjson, line, console; repeatable")
	out.BoolVar(&c.JSON, "json", false, "the report as a JSON document")
	out.IntVar(&c.Rows, "rows", c.Rows, "show `N` differences, 0: all")
	out.BoolVar(&c.DryRun, "dry-run", false, "print the requests, and send nothing")
	out.BoolVar(&c.Reveal, "reveal", false, "show secrets: no redaction (docs/redaction.md)")
	out.StringVar(&c.Color, "color", c.Color, "`WHEN`: auto, always or never")

	raw := newFlagGroup("Bytes as they were recorded")
	raw.BoolVar(&c.Raw, "raw", false, "send what clients sent, as netcat would; --to HOST:PORT, or tls://HOST:PORT")
	raw.BoolVar(&c.Force, "force", false, "with -o files=DIR, which keeps what came back: write over what is there")

	other := newFlagGroup("Other")
	other.StringVarP(&path, configFlag, "c", "", "`FILE` with rules, options (docs/config.md)")
	other.BoolVar(&c.Stats, "stats", false, "totals on standard error at the end")
	other.BoolVarP(&c.Verbose, "verbose", "v", false, "say on standard error what is done")
	other.BoolP("help", "h", false, "this help")
	other.Bool(helpAll, false, "help with all options: limits")
	addFlags(cmd, in, to, when, compare, out, raw, limitFlags(&c.Capture), other)
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("http", cobra.FixedCompletions([]string{"auto", "1.1", "2"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// replaying is a run of culprit replay.
type replaying struct {
	recordings
	config    *config.Replay
	to        *url.URL
	options   replay.Options
	selection replay.Selection
	rewrite   replay.Rewrite
	rules     []replay.Carry
	redactor  *redact.Redactor // nil: secrets are shown
	comparing *redact.Redactor // hides those of new answers that were hidden in recorded ones
	recording *replay.Recording
	summary   *replay.Summary
	sinks     []replaySink
	stdout    target
	took      time.Duration
	// interrupted: it was ended by a signal.
	interrupted bool
}

// replaySink is an output of new exchanges.
type replaySink struct {
	output.Output
	file *os.File
}

// replayRecording runs the command.
func replayRecording(cmd *cobra.Command, c *config.Replay, path string) error {
	if all, err := cmd.Flags().GetBool(helpAll); all && err == nil {
		return cmd.Help()
	}
	if _, err := readConfig(cmd, path, &c.Capture, keysOfTrace); err != nil {
		return usage(err)
	}
	if err := c.Validate(); err != nil {
		return usage(err)
	}
	ctx, stop := untilSignal(true)
	defer stop()
	c.Flows = "none"
	to, err := c.Target()
	if err != nil {
		return usage(err)
	}
	if c.Raw {
		return replayRaw(ctx, cmd, c, to)
	}
	r := &replaying{config: c, to: to, stdout: describe(cmd.OutOrStdout(), c.Color)}
	r.stderr = cmd.ErrOrStderr()
	if err := r.parseRules(); err != nil {
		return usage(err)
	}
	if err := r.read(ctx, cmd); err != nil {
		return err
	}
	switch {
	case r.recordings.read == 0:
		return &statusError{exitFailed, errors.New("there is nothing to send: the recording has no exchange, or none that the filters let pass")}
	case r.recording.Len() == 0:
		r.tellLeftOut()
		return &statusError{exitFailed, errors.New("there is nothing to send")}
	case c.DryRun:
		return r.dryRun()
	}
	return r.run(ctx)
}

// parseRules reads what the options say.
func (r *replaying) parseRules() (err error) {
	c := r.config
	speed, err := c.Factor()
	if err != nil {
		return err
	}
	r.selection = replay.Selection{All: c.All, Partial: c.Partial}
	r.rewrite = replay.Rewrite{KeepHost: c.KeepHost, Drop: c.DropHeaders}
	r.options = replay.Options{
		To: r.to, Speed: speed, Rate: c.Rate, Concurrency: c.Connections(), Timeout: c.Timeout, HTTP: c.HTTP, Insecure: c.Insecure,
		Limits: replay.Limits{MaxHead: int(c.MaxHead), MaxBody: int(c.MaxBody)},
		Rules:  replay.Rules{IgnoreHeaders: c.IgnoreHeaders, CompareHeaders: c.CompareHeaders, Secure: r.to.Scheme == "https"},
		Done:   r.done,
	}
	if r.rewrite.Set, err = parseAll(c.SetHeaders, "--set-header", replay.ParseField); err != nil {
		return err
	}
	if r.rewrite.Targets, err = parseAll(c.RewritePaths, "--rewrite-path", replay.ParseSubstitution); err != nil {
		return err
	}
	if r.rules, err = parseAll(c.Carry, "--carry", replay.ParseCarry); err != nil {
		return err
	}
	if r.options.Rules.Ignore, err = parseAll(c.Ignore, "--ignore", replay.ParseIgnore); err != nil {
		return err
	}
	for _, arg := range c.Outputs {
		name, path, _ := strings.Cut(arg, "=")
		switch {
		case !slices.ContainsFunc(kinds, func(k kind) bool { return k.name == name && k.write != nil }):
			return fmt.Errorf("-o %s: no such output; there are har, ndjson, line, console", name)
		case path == "" || path == "-":
			return fmt.Errorf("-o %s: name a file, -o %s=FILE: standard output has the report", arg, name)
		}
	}
	return nil
}

// parseAll reads the arguments of an option.
func parseAll[T any](args []string, option string, parse func(string) (T, error)) (all []T, err error) {
	for _, arg := range args {
		one, err := parse(arg)
		if err != nil {
			return nil, fmt.Errorf("%s %w", option, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// read reads the recording.
func (r *replaying) read(ctx context.Context, cmd *cobra.Command) error {
	c := r.config
	routes, err := measure.NewRoutes(c.Enrichment.Routes)
	if err != nil {
		return usage(err)
	}
	// Secrets are sent as they were, and hidden where something is shown.
	r.capturing.config = &c.Capture
	if r.comparing, err = r.newRedactor(); err != nil {
		return err
	}
	if !c.Reveal {
		r.redactor = r.comparing
	}
	r.recording = replay.NewRecording(r.selection, &r.rewrite, r.rules, routes, openSpool)
	whole := c.Recordings
	whole.Reveal = true
	if err := r.each(ctx, cmd, &whole, r.recording.Add); err != nil {
		return err
	}
	r.recording.Prepare()
	return nil
}

// openSpool makes a file that is gone once it is closed.
func openSpool() (replay.Spool, error) {
	f, err := os.CreateTemp("", "culprit-replay-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// hide hides the secrets of an exchange; nil if they are shown.
func (r *replaying) hide() func(x *exchange.Exchange) {
	if r.redactor == nil {
		return nil
	}
	return r.redactor.Exchange
}

// run sends the requests, and tells what came of it.
func (r *replaying) run(ctx context.Context) (err error) {
	c := r.config
	if err := r.openSinks(); err != nil {
		return &statusError{exitFailed, err}
	}
	r.announce()
	r.tellLeftOut()
	r.summary = replay.NewSummary(&r.options.Rules, r.hide())
	r.summary.Redact = r.comparing.Exchange
	began := time.Now()
	err = replay.Run(ctx, r.recording, &r.options)
	r.took = time.Since(began)
	if e := r.closeSinks(); err == nil {
		err = e
	}
	r.summary.Finish()
	switch {
	case errors.Is(err, replay.ErrUnreachable):
		return &statusError{exitFailed, fmt.Errorf("%s: %w", safe(c.To), err)}
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		r.interrupted = true
	case err != nil:
		return &statusError{exitFailed, err}
	}
	report := &replayReport{replaying: r}
	if err := report.print(); err != nil {
		return &statusError{exitFailed, err}
	}
	return report.verdict()
}

// openSinks opens the outputs of new exchanges.
func (r *replaying) openSinks() error {
	for _, arg := range r.config.Outputs {
		name, path, _ := strings.Cut(arg, "=")
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
		var inputs []capture.Input
		for _, in := range r.config.Inputs {
			inputs = append(inputs, capture.ParseInput(in))
		}
		f, err := createFile(path, inputs, written)
		if err != nil {
			return fmt.Errorf("-o %s: %w", name, err)
		}
		t := target{w: f, location: time.UTC}
		sink := replaySink{file: f}
		if name == "ndjson" {
			sink.Output = newReplayDocuments(f)
		} else {
			sink.Output = kinds[i].write(t, &config.Trace{})
		}
		r.sinks = append(r.sinks, sink)
	}
	return nil
}

func (r *replaying) closeSinks() (err error) {
	for _, s := range r.sinks {
		if e := s.Close(); err == nil && e != nil {
			err = fmt.Errorf("%s: %w", s.file.Name(), e)
		}
		if e := s.file.Close(); err == nil {
			err = e
		}
	}
	return err
}

// done takes what came of a request.
func (r *replaying) done(o *replay.Outcome) error {
	found := r.summary.Add(o)
	if len(r.sinks) == 0 {
		return nil
	}
	x := o.Exchange()
	if r.redactor != nil {
		r.redactor.Exchange(x)
	}
	x.Number = r.summary.Sent
	told := told{recorded: exchange.IDText(o.Item.ID), findings: found, late: o.Late}
	if x.Reason == "" {
		x.Reason = told.text()
	}
	for _, s := range r.sinks {
		if d, ok := s.Output.(*replayDocuments); ok {
			d.told = told
		}
		if err := s.Exchange(x); err != nil {
			return fmt.Errorf("%s: %w", s.file.Name(), err)
		}
	}
	return nil
}

// announce says what will be sent where.
func (r *replaying) announce() {
	rec, o := r.recording, &r.options
	var methods []string
	for _, m := range sorted(rec.Methods) {
		methods = append(methods, count(rec.Methods[m])+" "+safe(m))
	}
	pace := ""
	span := time.Duration(rec.Last - rec.First)
	switch {
	case o.Rate > 0:
		pace = fmt.Sprintf("%g a second, for about %s", o.Rate, duration(int64(float64(rec.Len())/o.Rate*1e9)))
	case o.Speed > 0:
		pace = "for about " + duration(int64(float64(span)/o.Speed))
	default:
		pace = "as fast as possible, at most " + plural(uint64(o.Concurrency), "connection") + " at a time"
	}
	r.say("sending %s on %s to %s, %s: %s", plural(uint64(rec.Len()), "request"), plural(uint64(rec.Connections()), "connection"), safe(r.config.To), pace, strings.Join(methods, ", "))
	r.warnOfEffects()
	if servers := sorted(rec.Servers); len(servers) > 1 {
		var named []string
		for _, s := range servers[:min(len(servers), 5)] {
			named = append(named, safe(s)+" ("+count(rec.Servers[s])+")")
		}
		more := ""
		if len(servers) > 5 {
			more = ", …"
		}
		r.warn("they were recorded at %s servers: %s%s; all go to one target; choose with --where 'server == \"ADDRESS\"' or a capture filter", count(uint64(len(servers))), strings.Join(named, ", "), more)
	}
}

// warnOfEffects says what the requests do at the target, and what it gets to know.
func (r *replaying) warnOfEffects() {
	rec := r.recording
	named := func(m map[string]uint64, show func(name string) bool) string {
		var all []string
		for _, name := range sorted(m) {
			if show(name) {
				all = append(all, safe(name)+" ("+count(m[name])+")")
			}
		}
		return strings.Join(all, ", ")
	}
	if text := named(rec.Methods, replay.Changing); text != "" && !r.config.All {
		r.warn("requests among them change what the target has: %s; to send only others: --where 'method == \"GET\"'", text)
	}
	if text := named(rec.Credentials, func(string) bool { return true }); text != "" {
		clear := ""
		if r.to.Scheme == "http" && !isLoopback(r.to.Hostname()) {
			clear = ", unencrypted"
		}
		r.warn("secrets of the recording go to the target as they are%s: %s; --drop-header NAME leaves them out", clear, text)
	}
}

// isLoopback reports whether a host is this one.
func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// duration shows a time in nanoseconds.
func duration(ns int64) string { return string(terminal.AppendDuration(nil, ns)) }

// lacks says for each replay.Why what is left out, and what to do; lost: it should have been sent.
var lacks = [replay.Whys]struct {
	what, advice string
	lost         bool
}{
	replay.NoRequest:   {"exchange", "whose request wasn't seen as a whole", false},
	replay.Method:      {"request", "that may have another effect each time%s: --all sends them", false},
	replay.Switching:   {"request", "for tunnels and other protocols (CONNECT, Upgrade)", false},
	replay.Endless:     {"request", "for streams of events", false},
	replay.BodyNotKept: {"request", "whose body isn't in the recording: record with --max-body, or send them without it: --partial", true},
	replay.BodyCut:     {"request", "whose body is cut: record with a larger --max-body, and give it here, too; or send what there is: --partial", true},
	replay.Hidden:      {"request", "with secrets that were redacted in the recording", true},
	replay.Unfit:       {"request", "that can't be sent: characters that no request may have", true},
	replay.TooMany:     {"request", "beyond the most that there is room for", true},
}

// tellLeftOut says which exchanges aren't sent.
func (r *replaying) tellLeftOut() {
	rec := r.recording
	for why := range lacks {
		n, l := rec.LeftOut[why], &lacks[why]
		if n == 0 || l.what == "" {
			continue
		}
		advice := l.advice
		if replay.Why(why) == replay.Method {
			var methods []string
			for _, m := range sorted(rec.Skipped) {
				methods = append(methods, count(rec.Skipped[m])+" "+safe(m))
			}
			advice = fmt.Sprintf(advice, " ("+strings.Join(methods, ", ")+")")
		}
		if l.lost {
			r.lose("left out: %s %s", plural(n, l.what), advice)
		} else {
			r.say("left out: %s %s", plural(n, l.what), advice)
		}
	}
	if len(rec.Secrets) > 0 {
		r.tellSecrets()
	}
	if n := rec.NotCarried(); n > 0 {
		r.lose("%s of answers can't be carried to later requests: there are more than %s", plural(n, "value"), count(replay.MaxCarried))
	}
	if rec.Unanswered > 0 {
		r.say("%s without an answer in the recording: sent, with nothing to compare with", plural(rec.Unanswered, "request"))
	}
	if rec.BodyUnknown > 0 {
		r.say("%s whose bodies aren't in the recording, or only in part: compared as far as they are; record with --max-body", plural(rec.BodyUnknown, "answer"))
	}
}

// tellSecrets names the secrets that are missing, and says how to give them.
func (r *replaying) tellSecrets() {
	const most = 10
	names := sorted(r.recording.Secrets)
	for _, name := range names[:min(len(names), most)] {
		kind, of, _ := strings.Cut(name, " ")
		give := "record with --reveal"
		switch kind {
		case "header":
			give = fmt.Sprintf("give it: --set-header '%s: …', or leave it out: --drop-header %[1]s", safe(of))
		case "cookie":
			give = "give the cookies: --set-header 'Cookie: …', or leave them out: --drop-header cookie"
		case "query", "path":
			give = "record with --reveal, or give it: --rewrite-path"
		}
		r.say("  %s in %s: %s", safe(name), plural(r.recording.Secrets[name], "request"), give)
	}
	if n := len(names) - most; n > 0 {
		r.say("  and %s more", count(uint64(n)))
	}
}

// dryRun prints the requests.
func (r *replaying) dryRun() error {
	r.announceDry()
	r.tellLeftOut()
	buf := make([]byte, 0, 64<<10)
	flush := func() error {
		_, err := r.stdout.w.Write(buf)
		buf = buf[:0]
		return err
	}
	first := r.recording.First
	err := r.recording.Each(r.to, func(it *replay.Item, q *replay.Request) error {
		o := &replay.Outcome{Item: it, Request: q, Local: it.Client, Remote: it.Server, Sent: it.Start, Connect: -1, TLS: -1}
		x := o.Exchange()
		if r.redactor != nil {
			r.redactor.Exchange(x)
		}
		buf = fmt.Appendf(buf, "# %s, at %s, from %s\n", exchange.IDText(it.ID), duration(it.Start-first), safe(it.Client))
		m := &x.Request
		buf = fmt.Appendf(buf, "%s %s HTTP/1.1\n", safe(string(m.Bytes(m.Method))), safe(string(m.Bytes(m.Target))))
		for i := range m.Fields {
			buf = fmt.Appendf(buf, "%s: %s\n", safe(string(m.Bytes(m.Fields[i].Name))), safe(string(m.Bytes(m.Fields[i].Value))))
		}
		if q.HasBody {
			buf = fmt.Appendf(buf, "\n%s\n", safe(bodyShown(x.RequestBody.Bytes)))
		}
		buf = append(buf, '\n')
		if len(buf) > 32<<10 {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil && !errors.Is(err, syscall.EPIPE) { // who closes the pipe has seen enough
		return &statusError{exitFailed, err}
	}
	if r.lossy {
		return errLossy
	}
	return nil
}

func (r *replaying) announceDry() {
	r.say("nothing is sent: %s would go to %s on %s", plural(uint64(r.recording.Len()), "request"), safe(r.config.To), plural(uint64(r.recording.Connections()), "connection"))
	r.warnOfEffects()
}

// maxBodyShown is how many bytes of a body a dry run shows.
const maxBodyShown = 1 << 10

func bodyShown(b []byte) string {
	if len(b) <= maxBodyShown {
		return string(b)
	}
	return string(b[:maxBodyShown]) + "… (" + count(uint64(len(b))) + " bytes)"
}
