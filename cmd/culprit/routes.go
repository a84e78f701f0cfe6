package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/correlate/routing"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
)

func newRoutes() *cobra.Command {
	c := config.DefaultRouting()
	var path string
	cmd := &cobra.Command{
		Use:   "routes -r FILE [FLAGS] [CAPTURE FILTER]",
		Short: "Show which way requests took, by host and route; check it",
		Long: `Show which way the requests of each route took: through proxies and applications
to databases. Compare it with what is written down, or write that down.

Examples:
  culprit routes -r front=a.pcap -r app=b.pcap
  culprit routes -r all.pcap --expect routes.yaml
  culprit routes -r records.ndjson --learn >routes.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.CaptureFilter = strings.Join(args, " ")
			return routes(cmd, &c, path)
		},
		DisableFlagsInUseLine: true,
	}
	in := newFlagGroup("Input")
	in.StringArrayVarP(&c.Inputs, "read", "r", nil, "read `[TAP=]FILE`, - for stdin; repeatable")
	in.StringArrayVar(&c.Keylogs, "keylog", nil, "`FILE` of TLS keys; repeatable (docs/keys.md)")
	in.StringArrayVar(&c.TLSKeys, "tls-key", nil, "RSA private key in `FILE`; repeatable")
	in.StringArrayVar(&c.DecodeAs, "decode-as", nil, "hint: `PORT=PROTOCOL`; repeatable")
	in.StringVar(&c.Where, "where", "", "only requests of clients for which `EXPR` holds (docs/filter.md)")

	do := newFlagGroup("Instead of the table")
	do.StringVar(&c.Expect, "expect", "", "compare with the routes in `FILE` (docs/routes.md); exit status 1 if one differs")
	do.BoolVar(&c.Learn, "learn", false, "write such a file")

	show := newFlagGroup("What to show")
	show.StringVarP(&c.Output, "output", "o", c.Output, "`NAME`: table csv ndjson")
	show.StringVar(&c.Quantiles, "quantiles", c.Quantiles, "percentiles from `KIND` of sketch: dd tdigest qdigest frugal (docs/quantiles.md)")
	show.IntVar(&c.Limit, "limit", c.Limit, "at most `N` routes, 0 for all")
	show.BoolVar(&c.Reveal, "reveal", false, "show secrets: no redaction (docs/redaction.md)")
	show.StringVar(&c.Color, "color", c.Color, "`WHEN`: auto, always or never")

	other := newFlagGroup("Other")
	other.BoolVar(&c.Stats, "stats", false, "totals on standard error at the end")
	other.BoolVarP(&c.Verbose, "verbose", "v", false, "say on standard error what is done")
	other.BoolP("help", "h", false, "this help")
	other.Bool(helpAll, false, "help with all options: limits")
	addFlags(cmd, in, do, show, knowledgeFlags(&c.Capture, &path), limitFlags(&c.Capture), other)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "csv", "ndjson"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("quantiles", cobra.FixedCompletions([]string{"dd", "tdigest", "qdigest", "frugal"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// routes runs the command.
func routes(cmd *cobra.Command, c *config.Routing, path string) error {
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
	r := &routesRun{config: c}
	if err := r.prepare(); err != nil {
		return err
	}
	r.treeing.tree = r.add
	r.keep = c.Where != ""
	t := config.DefaultTrace()
	t.Capture = c.Capture
	if err := r.treeing.run(ctx, cmd, &t); err != nil {
		var s *statusError
		if errors.As(err, &s) {
			return err
		}
		return &statusError{exitFailed, err}
	}
	if r.routes.Counts.Requests == 0 {
		r.explainNothing()
	}
	if err := r.show(describe(cmd.OutOrStdout(), c.Color)); err != nil {
		return err
	}
	if r.lossy {
		return errLossy
	}
	return nil
}

// routesRun is one run of culprit routes.
type routesRun struct {
	treeing
	config *config.Routing
	routes *routing.Map
	expect *routing.Expectation
	// learner is nil unless templates are learned.
	learner *routing.Learner
	// hidden are the requests for which --where doesn't hold.
	hidden uint64
}

// prepare reads everything that the user said.
func (r *routesRun) prepare() error {
	c := r.config
	kind, err := measure.ParseKind(c.Quantiles)
	if err != nil {
		return usage(fmt.Errorf("--quantiles: %w", err))
	}
	o := routing.Options{Quantiles: kind}
	rules := c.Enrichment.Routes
	if c.Expect != "" {
		var own []string
		if r.expect, own, err = readExpectation(c.Expect); err != nil {
			return usage(err)
		}
		rules = slices.Concat(own, rules)
	}
	if c.Learn {
		r.learner = routing.NewLearner()
	}
	o.Learner = r.learner
	if o.Routes, err = measure.NewRoutes(rules); err != nil {
		return usage(err)
	}
	o.Expectation = r.expect
	r.routes = routing.NewMap(o)
	return nil
}

// readExpectation reads a file of routes, and returns also its templates.
func readExpectation(path string) (*routing.Expectation, []string, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("--expect: %w", err)
	}
	f, err := config.ParseRoutes(path, text)
	if err != nil {
		return nil, nil, err
	}
	rules := f.Routes
	if _, err := measure.NewRoutes(rules); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	var all []*routing.Route
	for i := range f.Expect {
		e := &f.Expect[i]
		to := &routing.Route{Host: strings.ToLower(e.Host), Path: e.Route, Methods: e.Methods, Statuses: e.Statuses, Required: e.Required, Line: e.Line}
		if e.Route != "" {
			if _, err := measure.NewRoutes([]string{e.Route}); err != nil {
				return nil, nil, f.Errorf(e, "route", err)
			}
			rules = append(rules, e.Route)
		}
		for _, s := range e.Statuses {
			if err := routing.CheckStatus(s); err != nil {
				return nil, nil, f.Errorf(e, "statuses", err)
			}
		}
		for _, chain := range e.Chains {
			var wanted []routing.Want
			for _, text := range chain {
				w, err := routing.ParseWant(text)
				if err != nil {
					return nil, nil, f.Errorf(e, "chain", err)
				}
				wanted = append(wanted, w)
			}
			to.Chains = append(to.Chains, wanted)
		}
		all = append(all, to)
	}
	return routing.NewExpectation(all), rules, nil
}

// readFile reads a file of routes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, config.MaxFile+1))
}

// add takes what one request caused.
func (r *routesRun) add(t *hops.Tree) (err error) {
	chosen := r.where == nil
	if !chosen {
		err = r.again(t.Root, t.Root.Span, func(x *exchange.Exchange) error {
			chosen = r.where.Match(x)
			return nil
		})
	}
	if chosen {
		r.routes.Add(t)
	} else {
		r.hidden++
	}
	return err
}

// explainNothing says why there is no request.
func (r *routesRun) explainNothing() {
	switch {
	case r.taken == 0:
		r.say("no exchange was found")
	case r.hidden > 0:
		r.say("for none of %s --where holds", plural(r.hidden, "request"))
	default:
		r.say("%s found, and no request of HTTP among them", plural(r.taken, "exchange"))
	}
}

// show shows what was found.
func (r *routesRun) show(t target) error {
	var text []byte
	switch {
	case r.config.Learn:
		rules := r.routes.Learned()
		if r.routes.Counts.Requests == 0 {
			return &statusError{exitFailed, errors.New("there are no requests to learn from")}
		}
		text = routing.AppendFile(nil, rules, r.routes.Entries())
	case r.expect != nil:
		return r.compare(t)
	case r.routes.Counts.Requests == 0:
		return nil
	default:
		text = r.table(t)
	}
	if _, err := t.w.Write(text); err != nil {
		return &statusError{exitFailed, err}
	}
	r.tellCounts()
	return nil
}

// tellCounts says on standard error what isn't among what was shown.
func (r *routesRun) tellCounts() {
	c := &r.routes.Counts
	if c.Others > 0 {
		r.lose("%s of more than %s routes aren't shown by route: let rules for routes in the configuration stand for groups of them", plural(uint64(c.Others), "request"), count(routing.MaxRoutes))
	}
	if c.Cut > 0 {
		r.lose("%s are in no chain, since their routes have more than %s different hops", plural(uint64(c.Cut), "call"), count(routing.MaxSteps))
	}
	if r.learner != nil && r.learner.Lost > 0 {
		r.lose("%s nothing was learned from: there are more than %s different segments", plural(uint64(r.learner.Lost), "path"), count(routing.MaxPlaces))
	}
	if c.Apart > 0 {
		r.say("left out: %s that no request was seen for", plural(uint64(c.Apart), "exchange"))
	}
}

// compare shows how routes differ from what is expected.
func (r *routesRun) compare(t target) error {
	file, all := r.config.Expect, r.expect.Differences()
	c := r.expect.Compared
	var text []byte
	for _, d := range all {
		text = append(text, safe(file)...)
		if d.Route != nil {
			text = fmt.Appendf(text, ":%d", d.Route.Line)
		}
		text = fmt.Appendf(text, ": %s", safe(d.Host+d.Path))
		if d.Requests > 0 {
			text = fmt.Appendf(text, ": %s: %s (first: %s, packet %d of %s)\n", plural(uint64(d.Requests), "request"), safe(d.What), exchange.IDText(d.ID), d.Packet, safe(d.Tap))
		} else {
			text = fmt.Appendf(text, ": %s\n", safe(d.What))
		}
	}
	sure := max(c.Requests-c.Unseen-c.Guessed, 0)
	if len(all) == 0 && sure > 0 {
		text = fmt.Appendf(text, "%s went as %s expects\n", plural(uint64(sure), "request"), safe(file))
	}
	if _, err := t.w.Write(text); err != nil {
		return &statusError{exitFailed, err}
	}
	for _, left := range []struct {
		n          int64
		what, hint string
	}{
		{c.More, "more difference", "aren't shown: there are too many"},
		{c.Incomplete, "request", "not compared: not whole in the capture"},
		{c.Unsure, "request", "not compared: it isn't sure enough what they caused"},
		{c.Unseen, "request", "with less hops than expected went on where no packet was seen"},
		{c.Guessed, "request", "with other hops than expected: it isn't sure for which request those were called"},
	} {
		if left.n > 0 {
			r.say("%s %s", plural(uint64(left.n), left.what), left.hint)
		}
	}
	if len(all) == 0 && sure == 0 || c.Requests == 0 {
		return &statusError{exitFailed, fmt.Errorf("no request could be compared with %s", file)}
	}
	if len(all) == 0 {
		var names []string
		for _, route := range r.expect.NotSeen() {
			names = append(names, safe(route.Host+route.Path))
		}
		if n := len(names); n > 0 {
			r.say("of %s no request was seen: %s", plural(uint64(n), "route"), strings.Join(names[:min(n, 10)], ", "))
		}
		return nil
	}
	return &statusError{exitFailed, fmt.Errorf("%s from %s in %s", plural(uint64(len(all)), "difference"), file, plural(uint64(c.Requests), "request"))}
}

// table lays the routes out: for people the chains below their routes, for programs in a column of their own.
func (r *routesRun) table(t target) []byte {
	entries := r.routes.Entries()
	if n := len(entries); r.config.Limit > 0 && n > r.config.Limit {
		entries = entries[:r.config.Limit]
		r.say("%s more routes aren't shown: --limit 0 shows all", count(uint64(n-r.config.Limit)))
	}
	people := r.config.Output == "table" && t.terminal.Width > 0
	g := &grid{columns: []gridColumn{{name: "host"}, {name: "route", min: minText}, {name: "chain", min: minText, quotes: true}}}
	if people {
		g.columns = []gridColumn{{name: "route and chains", min: minText}}
	}
	texts := len(g.columns)
	g.columns = append(g.columns, gridColumn{name: "requests", numeric: true, grouped: true}, gridColumn{name: "calls", numeric: true, grouped: true, drop: 2}, gridColumn{name: "errors", numeric: true, grouped: true},
		gridColumn{name: "p50", unit: "ns", numeric: true}, gridColumn{name: "p99", unit: "ns", numeric: true}, gridColumn{name: "total", unit: "ns", numeric: true, drop: 1})
	row := func(host, route, chain string, requests int64, f *routing.Figures) {
		g.rows++
		cells := []value{{text: safe(host), present: host != ""}, {text: safe(route), present: route != ""}, {text: safe(chain), present: chain != ""}}
		if people {
			cells[0].text += cells[1].text
			if chain != "" {
				cells[0].text = "  " + cells[2].text
			}
		}
		cells = append(cells[:texts], intValue(requests), intValue(f.Count), intValue(f.Errors), quantileOf(f, 0), quantileOf(f, 1), value{})
		if f.Durations != nil {
			cells[len(cells)-1] = intValue(f.Total)
		}
		for i := range g.columns {
			g.columns[i].values = append(g.columns[i].values, cells[i])
		}
	}
	for _, e := range entries {
		row(e.Host, e.Route, "", e.Figures.Count, &e.Figures)
		for _, c := range e.Chains() {
			chain := "client → " + routing.Chain(c.Hops)
			if c.Last.Unseen != "" {
				chain += " → (unseen)"
			}
			row(e.Host, e.Route, chain, c.Last.Ended, &c.Last.Calls)
		}
	}
	switch r.config.Output {
	case "csv":
		return g.appendCSV(nil, t)
	case "ndjson":
		return g.appendJSON(nil, t)
	}
	return g.appendTable(nil, t)
}

// quantileOf is one of routing.Quantiles.
func quantileOf(f *routing.Figures, i int) value {
	if f.Durations == nil {
		return value{}
	}
	v, ok := f.Durations.Quantile(routing.Quantiles[i])
	if !ok {
		return value{}
	}
	return intValue(v)
}
