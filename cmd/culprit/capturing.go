package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/blame"
	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/capture/pcapfilter"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/enrich"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/own"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/privilege"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/redact"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/tls/keylog"
	"github.com/culprit-http/culprit/internal/udp"
)

// capturing is one run of packets through the pipeline: what trace, sockets --watch and serve have in common.
type capturing struct {
	config   *config.Capture
	stderr   io.Writer
	sources  []capture.Source
	capture  *liveCapture // sources, if they are live
	owners   finder       // of the processes at the ends of connections, or nil
	pipeline pipeline.Config
	filter   *pcapfilter.Filter
	matcher  *pcapfilter.Matcher
	where    *filter.Filter
	redactor *redact.Redactor
	// key is that of the redactor, once it was loaded: as long as the program runs, it is the same.
	key []byte
	// enricher is nil when nobody wants to know what it finds.
	enricher *enrich.Enricher
	// keylogs are the key logs that may grow, nil when there are none.
	keylogs  *keylog.Follower
	recent   recentOwners
	progress *progress
	// own are the connections of culprit itself; serve adds its own to those that are open at the start.
	own *own.Connections
	// connects: outputs make connections of their own.
	connects bool
	live     bool
	// headlines: nothing but the target of an exchange is shown that may hold a secret.
	headlines bool

	// did is what is done with exchanges that are chosen, where that isn't showing them.
	did string

	// number counts the exchanges that were chosen, at most most of them if that isn't 0; hidden those for which --where
	// doesn't hold, others those of other processes than the chosen ones; unowned are those of the latter whose processes
	// aren't known. nameless are those with an end of which only the user is known.
	number, most, hidden, others, unowned, nameless uint64
	lossy                                           bool
	// followed: half-streams were shown or kept.
	followed bool
	// bereft: the keeper has ended.
	bereft bool
	// wantsOwner, wantsSecrets and wantsEnriched: --where asks for processes, for fingerprints, for what the
	// enricher finds.
	wantsOwner, wantsSecrets, wantsEnriched bool
}

// parse reads the hints, the filters and the rules of redaction.
func (t *capturing) parse() error {
	c := t.config
	hints, err := c.Hints()
	if err != nil {
		return usage(err)
	}
	if err := pipeline.CheckHints(hints); err != nil {
		return usage(fmt.Errorf("--decode-as: %w", err))
	}
	t.pipeline.Hints = hints
	if err := t.parseCaptureFilter(); err != nil {
		return err
	}
	if err := t.parseWhere(); err != nil {
		return err
	}
	return t.openRedactor()
}

func (t *capturing) parseCaptureFilter() error {
	if t.config.CaptureFilter == "" {
		return nil
	}
	f, err := pcapfilter.Parse(t.config.CaptureFilter)
	if err != nil {
		return usage(fmt.Errorf("capture filter: %w", err))
	}
	if why, one := f.OneDirection(); one {
		t.warn("the capture filter: %s", why)
	}
	t.filter, t.matcher = f, f.Matcher()
	return nil
}

func (t *capturing) parseWhere() (err error) {
	c := t.config
	if c.Where == "" {
		return nil
	}
	if t.where, err = filter.Parse(c.Where); err != nil {
		return usage(fmt.Errorf("--where: %w", err))
	}
	for _, f := range t.where.Fields() {
		t.wantsOwner = t.wantsOwner || f.OfProcess()
		t.wantsSecrets = t.wantsSecrets || f.Name == "culprit.secrets"
		t.wantsEnriched = t.wantsEnriched || enriched(f)
	}
	if t.wantsOwner && (!c.Live.On() || c.Live.NoProcess) {
		t.warn("--where asks for processes, which are known of live captures only, without --no-process")
	}
	if t.wantsSecrets && c.Reveal {
		t.warn("--where asks for culprit.secrets, the fingerprints of what is redacted, and with --reveal nothing is")
	}
	return nil
}

// enriched reports whether a field is filled in by the enricher.
func enriched(f *exchange.Field) bool {
	for _, prefix := range [...]string{"client.geo.", "client.as.", "server.geo.", "server.as.", "service.", "user_agent."} {
		if strings.HasPrefix(f.Name, prefix) {
			return f.Name != "user_agent.original"
		}
	}
	return slices.Contains([]string{"client.domain", "server.domain", "culprit.route", "culprit.device"}, f.Name)
}

// openRedactor makes what hides secrets, unless they are to be shown.
func (t *capturing) openRedactor() error {
	c := t.config
	rules := redact.Rules(c.Redaction)
	if c.Reveal {
		if err := rules.Check(); err != nil {
			return usage(fmt.Errorf("redact: %w", err))
		}
		return nil
	}
	var err error
	t.redactor, err = t.newRedactor()
	return err
}

// newRedactor makes what hides secrets.
func (t *capturing) newRedactor() (*redact.Redactor, error) {
	t.loadKey()
	r, err := redact.NewWithRules(t.key, redact.Rules(t.config.Redaction))
	if err != nil {
		return nil, usage(fmt.Errorf("redact: %w", err))
	}
	return r, nil
}

// loadKey loads the key of the redactor, unless it is there.
func (t *capturing) loadKey() {
	if t.key != nil {
		return
	}
	var err error
	if t.key, err = redactionKey(); err != nil {
		t.tell("%v: fingerprints of secrets will not be the same in the next run", err)
	}
}

// openEnricher makes what fills in what is known beyond the packets.
func (t *capturing) openEnricher() (err error) {
	c := &t.config.Enrichment
	t.enricher, err = enrich.New(enrich.Options{GeoIP: c.GeoIP, Hosts: c.Hosts, Services: c.Services, Routes: c.Routes, Resolve: c.Resolve})
	if err != nil {
		return usage(err)
	}
	return nil
}

// open opens the interfaces or files. A live capture ends when ctx is done.
func (t *capturing) open(ctx context.Context, stdin io.Reader) (inputs []capture.Input, err error) {
	c := t.config
	inputs = make([]capture.Input, len(c.Inputs))
	for i, arg := range c.Inputs {
		inputs[i] = capture.ParseInput(arg)
	}
	t.live = c.Live.On() || c.Follow || slices.ContainsFunc(inputs, func(in capture.Input) bool { return !regular(in, stdin) })
	if c.Live.On() {
		if t.capture, err = openLive(ctx, &c.Live, captureFilter{c.CaptureFilter, t.filter}, t.warn); err == nil {
			t.sources, t.owners = t.capture.sources, t.capture.owners
		}
	} else {
		var source capture.Source
		if source, err = capture.Open(inputs, capture.Options{Follow: c.Follow, Stdin: stdin}); err == nil {
			t.sources = []capture.Source{source}
		}
	}
	var said *statusError
	switch {
	case errors.As(err, &said):
		return nil, said
	case err != nil:
		return nil, &statusError{exitFailed, err}
	}
	if t.pipeline.Keys, t.keylogs, err = openKeys(c, t.live, t.warn); err != nil {
		t.close()
		return nil, err
	}
	if t.keylogs != nil {
		t.pipeline.MoreKeys = t.keylogs.Poll
	}
	return inputs, nil
}

// analysis says how packets are analysed, once the sources are open. beside is what else the process may take, in
// bytes.
func (t *capturing) analysis(beside config.Size) {
	c := t.config
	// Half of the budget is for connections and exchanges; the collector keeps the rest in bounds.
	memory := c.Memory - c.Live.Memory()
	t.limitMemory(beside)
	debug.SetGCPercent(gcPercent)
	p := &t.pipeline
	p.Workers = c.WorkerCount()
	p.Memory = int(memory)
	p.Packet = packet.DefaultLimits()
	p.TCP = tcp.DefaultLimits
	p.Parser = proto.Limits{MaxHead: int(c.MaxHead), MaxFields: c.MaxFields, MaxStreams: c.MaxStreams, MaxMessage: int(c.MaxMessage), MaxStatement: int(c.MaxStatement)}
	p.Flows, _ = pipeline.ParseFlows(c.Flows) // which was checked
	p.FlowPeriod = c.FlowPeriod
	p.UDP = udp.DefaultLimits
	p.Exchange = exchange.Limits{
		MaxWaiting: c.MaxWaiting, MaxBody: int(max(c.MaxBody, 0)), ExchangeTimeout: c.ExchangeTimeout, Messages: c.Messages,
	}
	p.TLS = tls.DefaultLimits()
	p.TLS.MaxWaitingAll = p.Memory / 2 / pipeline.Shards / 4
	p.TLS.MaxWaiting = min(p.TLS.MaxWaiting, p.TLS.MaxWaitingAll)
	p.Progress = t.progress.update
	if c.Live.On() && !c.Live.IncludeOwn && c.Live.NetNS == "" {
		if t.own == nil {
			t.own = own.Open()
		}
		if t.connects {
			t.own.Addresses(hostAddresses())
		}
		if t.own.Any() || t.connects {
			p.Own = t.own.Packet
		}
	}
	if t.owners != nil {
		p.Opened = t.owners.Opened
		p.Host, _ = t.owners.(blame.Host)
	}
	if t.live {
		p.Exchange.PendingAfter = c.PendingAfter
	}
	if t.matcher != nil && !c.Live.On() { // a live source applies it
		p.Filter = t.matcher
	}
}

// limitMemory tells the collector what the process may take, with what it may take beside --memory, in bytes.
func (t *capturing) limitMemory(beside config.Size) {
	debug.SetMemoryLimit(int64(t.config.Memory-t.config.Live.Memory()+beside) / 10 * 9)
}

// drop gives up what the process doesn't need any more, once all is open.
func (t *capturing) drop(o privilege.Options) error {
	o.Network = o.Network || t.config.Enrichment.Resolve && t.enricher != nil
	o.ReadPaths = append(o.ReadPaths, keyFolders(t.config)...)
	var done []string
	var err error
	if t.capture != nil {
		done, err = t.capture.drop(&t.config.Live, o)
	} else {
		done, err = dropWithoutCapture(o)
	}
	if err != nil {
		return &statusError{exitFailed, err}
	}
	for _, what := range done {
		t.tell("privileges: %s", what)
	}
	return nil
}

// run reads the sources to their end.
func (t *capturing) run(ctx context.Context, to pipeline.Receiver) (pipeline.Stats, error) {
	if t.capture == nil {
		return pipeline.Run(ctx, t.sources[0], t.pipeline, to)
	}
	defer t.capture.end()
	return pipeline.RunAll(ctx, t.sources, t.pipeline, to, t.capture.stop)
}

// close ends what the run has opened, but for the outputs.
func (t *capturing) close() {
	switch {
	case t.capture != nil:
		t.capture.Close()
	case t.sources != nil:
		t.sources[0].Close()
	}
	if t.enricher != nil {
		t.enricher.Close()
	}
	if t.keylogs != nil {
		t.keylogs.Close()
	}
}

// taps returns the taps of the sources.
func (t *capturing) taps() []capture.Tap {
	if t.capture != nil {
		return t.capture.taps()
	}
	return t.sources[0].Taps()
}

// choice says what became of an exchange.
type choice struct {
	// hidden: --where doesn't hold. other: it is one of other processes, unowned: of which it isn't known. nameless: of
	// the process at one end only the user is known.
	hidden, other, unowned, nameless bool
}

func (c choice) chosen() bool { return !c.hidden && !c.other }

// count counts an exchange, and reports whether it was chosen.
func (t *capturing) count(c choice) bool {
	for _, n := range [...]struct {
		is bool
		to *uint64
	}{{c.chosen(), &t.number}, {c.hidden, &t.hidden}, {c.other, &t.others}, {c.unowned, &t.unowned}, {c.nameless, &t.nameless}} {
		if n.is {
			*n.to++
		}
	}
	return c.chosen()
}

// choose finds out whether an exchange is to be shown. finish comes after it for those that are.
func (t *capturing) choose(x *exchange.Exchange) (c choice) {
	if t.owners != nil {
		t.owned(x)
		for _, p := range x.Process {
			if p != nil && p.PID == 0 && p.Name == "" && p.Executable == "" {
				c.nameless = true // only the user is known
				break
			}
		}
	}
	if t.config.Live.Owner() {
		var chosen bool
		if chosen, c.unowned = ownedBy(x, &t.config.Live); !chosen {
			c.other = true
			return c
		}
		c.unowned = false
	}
	if t.where == nil {
		return c
	}
	if t.wantsSecrets && t.redactor != nil { // they are known when they are hidden
		t.redactor.Exchange(x)
	}
	if t.wantsEnriched {
		t.enricher.Exchange(x)
	}
	c.hidden = !t.where.Match(x)
	return c
}

// learn takes note of the names that DNS gives, whether the exchange is shown or not, and before its secrets are hidden.
func (t *capturing) learn(x *exchange.Exchange) {
	if t.enricher != nil {
		t.enricher.LearnFrom(x)
	}
}

// finish hides the secrets of what is shown, and fills in what is known beyond the packets: of what isn't secret.
func (t *capturing) finish(x *exchange.Exchange) {
	switch {
	case t.redactor == nil:
	case t.headlines:
		t.redactor.Target(x)
	default:
		t.redactor.Exchange(x)
	}
	if t.enricher != nil && !t.headlines {
		t.enricher.Exchange(x)
	}
}

// waited is how long a request has been waiting.
func waited(x *exchange.Exchange) time.Duration {
	return time.Duration(min(max(x.Completed.Time-x.Start.Time, 0), math.MaxInt64))
}

// lookAfterKeeper says once that the process which keeps the privileges has ended.
func (t *capturing) lookAfterKeeper() {
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

func (t *capturing) warn(format string, args ...any) {
	t.progress.clear()
	fmt.Fprintf(t.stderr, "culprit: warning: "+format+"\n", args...)
}

// say says what is no reason to worry.
func (t *capturing) say(format string, args ...any) {
	t.progress.clear()
	fmt.Fprintf(t.stderr, "culprit: "+format+"\n", args...)
}

// tell says what only those want to know who asked for it.
func (t *capturing) tell(format string, args ...any) {
	if t.config.Verbose {
		t.say(format, args...)
	}
}

// selection says by what exchanges are selected, as it was typed.
func selection(c *config.Capture) string {
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
