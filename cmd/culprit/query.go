package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/store"
)

// storeOpener opens the store in a folder for reading.
type storeOpener func(dir string) (store.Reader, error)

func newQuery(open storeOpener) *cobra.Command {
	c := config.DefaultQuery()
	cmd := &cobra.Command{
		Use:   "query [FLAGS]",
		Short: "Ask a store: exchanges, or figures by group and time",
		Long: `Ask a store: exchanges, or figures by group and time.

Examples:
  culprit query --last 1h --where 'status >= 500'
  culprit query --group-by route --metric 'p50(duration),p99(duration),error_rate'
  culprit query --last 1d --interval 1h --metric 'rate,p99(duration)' -o csv
  culprit query --group-by template,db --metric 'sum(duration),p99(duration)' --sort 'sum(duration)'
  culprit query --trace 4bf92f3577b34da6a3ce929d0e0e4736 -o har=trace.har`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(fmt.Errorf("query takes no argument %q; choose with --where EXPR", args[0]))
			}
			return nil
		},
		RunE:                  func(cmd *cobra.Command, _ []string) error { return query(cmd, &c, open) },
		DisableFlagsInUseLine: true,
	}
	which := newFlagGroup("Which exchanges")
	which.StringVar(&c.Store, "store", "", "the store in `DIR`, or a cluster's URL (default /var/lib/culprit for root, else ~/.local/share/culprit)")
	which.StringVar(&c.Where, "where", "", "those for which `EXPR` holds (docs/filter.md)")
	which.StringVar(&c.Text, "text", "", "those with `TEXT` in target, host, route, user agent, addresses, names or ids")
	which.Var(&c.Last, "last", "those of the last `TIME`, such as 15m, 1h or 7d")
	which.StringVar(&c.From, "from", "", "those from `TIME` on, such as '2026-11-21 10:00'")
	which.StringVar(&c.To, "to", "", "those before `TIME`")
	which.StringVar(&c.ID, "id", "", "the one with the event id `ID`, in full")
	which.StringVar(&c.Trace, "trace", "", "those of the distributed trace `ID`, oldest first")

	figures := newFlagGroup("Figures instead of exchanges")
	figures.StringSliceVar(&c.GroupBy, "group-by", nil, "by `FIELDS`; also class(status), magnitude(duration), network(client)")
	figures.StringSliceVar(&c.Metrics, "metric", nil, "`METRICS`: p99(duration) sum(size) min() max() mean() distinct(client) rate errors error_rate; the count is always there")
	figures.Var(&c.Interval, "interval", "in time buckets of `TIME`")
	figures.StringVar(&c.Quantiles, "quantiles", c.Quantiles, "percentiles from `KIND` of sketch: dd tdigest qdigest (docs/quantiles.md)")

	show := newFlagGroup("What to show")
	show.StringVarP(&c.Output, "output", "o", "", "`NAME[=FILE]`: table csv ndjson line console har parquet (default table)")
	show.StringSliceVar(&c.Fields, "fields", nil, "`FIELDS` of table and csv (docs/fields.md)")
	show.StringVar(&c.Sort, "sort", "", "by `FIELD`, or groups by METRIC, largest first (default time, or count)")
	show.BoolVar(&c.Ascending, "ascending", false, "smallest first")
	show.IntVar(&c.Limit, "limit", c.Limit, "at most `N` exchanges or groups, 0 for all (default 100; all of a trace)")
	show.StringSliceVar(&c.Headers, "headers", nil, "`NAMES` of header fields for console (default all)")
	show.BoolVar(&c.NoHeaders, "no-headers", false, "no header fields on console")
	show.StringVar(&c.Color, "color", c.Color, "`WHEN`: auto, always or never")
	show.Lookup("limit").DefValue = "0" // which the text tells
	limits := newFlagGroup("Limits")
	limits.DurationVar(&c.Timeout, "timeout", 0, "`TIME` that the question may take (default 30s)")
	limits.Var(&c.Memory, "memory", "`SIZE` that the question may take (default 192MiB)")

	other := newFlagGroup("Other")
	other.BoolP("help", "h", false, "this help")
	addFlags(cmd, which, figures, show, limits, other)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(answerNames(), cobra.ShellCompDirectiveNoSpace))
	_ = cmd.RegisterFlagCompletionFunc("quantiles", cobra.FixedCompletions([]string{"dd", "tdigest", "qdigest"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	for _, flag := range []string{"group-by", "fields", "sort"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(fieldNames(), cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}

// fieldNames returns the fields by their shortest names, for completion.
func fieldNames() (names []string) {
	for i := range exchange.Fields {
		names = append(names, columnName(&exchange.Fields[i]))
	}
	return names
}

// asking is one run of culprit query.
type asking struct {
	config *config.Query
	reader store.Reader
	// dir is the folder of the store.
	dir    string
	stderr io.Writer
	target target
	answer answer
	scope  store.Scope
	fields []*exchange.Field
	// sort is the field to sort a list by, and figures the question otherwise.
	sort    *exchange.Field
	figures figures
}

// query runs the command.
func query(cmd *cobra.Command, c *config.Query, open storeOpener) (err error) {
	if c.Limit < 0 && cmd.Flags().Changed("limit") {
		return usage(fmt.Errorf("--limit %d: must not be negative; 0 is all", c.Limit))
	}
	if err := c.Validate(); err != nil {
		return usage(err)
	}
	a := &asking{config: c, stderr: cmd.ErrOrStderr(), target: describe(cmd.OutOrStdout(), c.Color)}
	if err := a.prepare(time.Now()); err != nil {
		return usage(err)
	}
	if a.reader, a.dir, err = openForQuery(c.Store, open); err != nil {
		return &statusError{exitFailed, err}
	}
	defer func() {
		if e := a.reader.Close(); err == nil && e != nil {
			err = &statusError{exitFailed, e}
		}
	}()
	ctx, stop := untilSignal(true)
	defer stop()
	switch err := a.run(ctx); {
	case errors.Is(err, syscall.EPIPE):
		return nil // whoever read our output has seen enough
	case errors.Is(err, context.Canceled):
		return &statusError{exitFailed, errors.New("stopped before the end")}
	case err != nil:
		return &statusError{exitFailed, err}
	}
	s, err := a.reader.Status(ctx)
	if err == nil && s.Damaged > 0 {
		fmt.Fprintf(a.stderr, "culprit: warning: left out as damaged: %s of the store in %s; exchanges are missing\n", plural(uint64(s.Damaged), "segment"), a.dir)
		return errLossy
	}
	return nil
}

// openForQuery opens the store in a folder, or else in the default one.
func openForQuery(dir string, open storeOpener) (r store.Reader, at string, err error) {
	if dir == "" {
		if dir, err = config.DefaultStore(os.Getenv, os.Geteuid()); err != nil {
			return nil, "", err
		}
	}
	if inCluster(dir) {
		c, err := readCluster(dir)
		if err != nil {
			return nil, "", err
		}
		r, err = c.open(context.Background())
		return r, c.name, err
	}
	const fill = "fill one with culprit serve -r FILE or -i IFACE, or name another with --store DIR"
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, dir, fmt.Errorf("there is no store in %s; %s", dir, fill)
	case err != nil:
		return nil, dir, fmt.Errorf("the store: %w", err)
	case !info.IsDir():
		return nil, dir, fmt.Errorf("%s is no folder with a store; %s", dir, fill)
	}
	if r, err = open(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, dir, fmt.Errorf("there is no store in %s; %s", dir, fill)
	} else if err != nil {
		return nil, dir, fmt.Errorf("the store in %s: %w", dir, err)
	}
	return r, dir, nil
}

// prepare reads the question. Errors are those of usage.
func (a *asking) prepare(now time.Time) (err error) {
	c := a.config
	if a.answer, err = parseAnswer(c); err != nil {
		return err
	}
	if a.scope.From, a.scope.To, err = c.Times(now); err != nil {
		return err
	}
	a.scope.Text, a.scope.Timeout, a.scope.Memory = c.Text, c.Timeout, int64(c.Memory)
	if a.scope.Where, err = a.where(); err != nil {
		return err
	}
	if c.ID != "" {
		if _, ok := exchange.ParseID(c.ID); !ok {
			return fmt.Errorf("--id %q isn't an event id, which has 26 letters and digits, such as 01JV0M8T5EW3B8Q1YQJ2Z6N4KD", c.ID)
		}
	}
	if c.Figures() {
		a.figures, err = parseFigures(c)
		return err
	}
	if c.Limit > config.MaxTable && a.answer.name == "table" {
		return fmt.Errorf("--limit %d: a table has %d rows at most; use -o csv", c.Limit, config.MaxTable)
	}
	if a.fields, err = parseFields(c.Fields); err != nil {
		return err
	}
	if c.Sort == "" {
		return nil
	}
	if a.sort = exchange.Lookup(c.Sort); a.sort == nil {
		return noField("--sort", c.Sort)
	}
	switch a.sort.Kind {
	case exchange.Text, exchange.Int, exchange.Duration, exchange.Time, exchange.Float:
		return nil
	}
	return fmt.Errorf("--sort %s: its values have no order; sort by a number, a time or a text", c.Sort)
}

// where joins the filter and the trace.
func (a *asking) where() (filter.Node, error) {
	var parts []string
	if a.config.Where != "" {
		f, err := filter.Parse(a.config.Where)
		if err != nil {
			return nil, fmt.Errorf("--where: %w", err)
		}
		if a.config.Trace == "" {
			return f.Root(), nil
		}
		parts = append(parts, "("+f.String()+")")
	}
	if a.config.Trace == "" {
		return nil, nil
	}
	trace := &filter.Compare{
		Operand: filter.Operand{Field: exchange.Lookup("trace.id")}, Value: filter.Constant{Kind: exchange.Text, Text: a.config.Trace},
	}
	f, err := filter.Parse(strings.Join(append(parts, trace.String()), " and "))
	if err != nil {
		return nil, fmt.Errorf("--where and --trace: %w", err)
	}
	return f.Root(), nil
}

func noField(option, name string) error {
	return fmt.Errorf("%s: there is no field %s; docs/fields.md lists them", option, name)
}

// run asks and shows.
func (a *asking) run(ctx context.Context) error {
	w, done, err := a.answer.open(a.target)
	if err != nil {
		return err
	}
	if a.config.Figures() {
		err = a.showFigures(ctx, w)
	} else {
		err = a.showExchanges(ctx, w)
	}
	return cmp.Or(err, done())
}

// showExchanges lists exchanges.
func (a *asking) showExchanges(ctx context.Context, t target) error {
	out := a.answer.exchanges(a, t)
	q := store.Search{Scope: a.scope, Sort: a.sort, Ascending: a.config.Ascending || a.config.Trace != "" && a.sort == nil}
	switch {
	case a.answer.name == "table" && len(a.config.Fields) == 0:
		q.Fields = needed()
	case a.answer.fields: // the others show everything
		q.Fields = a.fields
	}
	if a.answer.name == "parquet" && a.sort == nil {
		q.Ascending = true // as segments are sorted
	}
	number := uint64(0)
	each := func(x *exchange.Exchange) error {
		number++
		x.Number = number
		return out.Exchange(x)
	}
	more, err := false, error(nil)
	if a.config.ID != "" {
		id, _ := exchange.ParseID(a.config.ID)
		if err = a.reader.Exchange(ctx, id, each); errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("no exchange in %s has the id %s", a.dir, a.config.ID)
		}
	} else {
		more, err = search(ctx, a.reader, &q, a.config.Limit, each)
	}
	if err = cmp.Or(err, out.Close()); err != nil { // closing fails as writing did
		return err
	}
	switch {
	case number == 0:
		return a.explainNothing(ctx)
	case more:
		hint := ""
		if a.answer.name == "table" {
			hint = ", with -o csv if they are many"
		}
		fmt.Fprintf(a.stderr, "culprit: there are more than these %s: --limit 0 shows all%s\n", count(number), hint)
	}
	return nil
}

// search searches page by page, for limit exchanges or all of them. more: there are others.
func search(ctx context.Context, r store.Reader, q *store.Search, limit int, found func(*exchange.Exchange) error) (more bool, err error) {
	if limit == 0 {
		limit = math.MaxInt
	}
	for limit > 0 {
		q.Limit = min(limit, store.MaxLimit)
		n := 0
		page, err := r.Search(ctx, q, func(x *exchange.Exchange) error { n++; return found(x) })
		if err != nil {
			return false, err
		}
		if page.Next == "" || n == 0 {
			return false, nil
		}
		limit, q.After = limit-n, page.Next
	}
	return true, nil
}

// explainNothing says that nothing was found, and of what.
func (a *asking) explainNothing(ctx context.Context) error {
	s, err := a.reader.Status(ctx)
	if err != nil {
		return err
	}
	if s.Exchanges == 0 {
		if s.Damaged == 0 { // else that is said
			fmt.Fprintf(a.stderr, "culprit: the store in %s is empty\n", a.dir)
		}
		return nil
	}
	at := func(ns int64) string {
		return time.Unix(0, ns).In(a.target.location).Format("2006-01-02 15:04:05 -07:00")
	}
	fmt.Fprintf(a.stderr, "culprit: none of %s in %s is selected; they are from %s to %s\n", plural(uint64(s.Exchanges), "exchange"), a.dir, at(s.First), at(s.Last))
	return nil
}

// answer is a form of answers: an output of -o, and the file to write, empty for standard output.
type answer struct {
	name, path string
	// exchanges makes what shows exchanges; fields: only those of --fields.
	exchanges func(a *asking, t target) output.Output
	fields    bool
	// figures writes a table of figures; nil: it shows exchanges only.
	figures func(g *grid, dst []byte, t target) []byte
}

// answers are the forms that -o knows besides those of culprit trace.
func answers() []answer {
	all := []answer{
		{name: "table", fields: true, exchanges: func(a *asking, t target) output.Output { return newList(a.fields, len(a.config.Fields) > 0, t) }, figures: (*grid).appendTable},
		{name: "csv", fields: true, exchanges: func(a *asking, t target) output.Output { return newRows(a.fields, t.w) }, figures: (*grid).appendCSV},
	}
	for _, k := range kinds {
		if k.write == nil {
			continue // packets aren't in the store, and what is, was delivered when it was captured
		}
		shown := answer{name: k.name, exchanges: func(a *asking, t target) output.Output {
			return k.write(t, &config.Trace{Headers: a.config.Headers, NoHeaders: a.config.NoHeaders})
		}}
		if k.name == "ndjson" {
			shown.figures = (*grid).appendJSON
		}
		all = append(all, shown)
	}
	return append(all, answer{name: "parquet", exchanges: func(_ *asking, t target) output.Output { return newParquet(t.w) }})
}

func answerNames() (names []string) {
	for _, a := range answers() {
		names = append(names, a.name)
	}
	return names
}

// parseAnswer reads the argument of -o.
func parseAnswer(c *config.Query) (a answer, err error) {
	arg := c.Output
	if arg == "" {
		if arg = "table"; c.ID != "" && len(c.Fields) == 0 {
			arg = "console"
		}
	}
	name, path, hasPath := strings.Cut(arg, "=")
	all := answers()
	i := slices.IndexFunc(all, func(a answer) bool { return a.name == name })
	switch {
	case i < 0:
		return a, fmt.Errorf("-o %s: no such output; there are %s", name, strings.Join(answerNames(), ", "))
	case hasPath && path == "":
		return a, fmt.Errorf("-o %s: name a file after the equals sign, or - for standard output", arg)
	case name == "parquet" && !hasPath:
		return a, errors.New("-o parquet: name a file, -o parquet=FILE, or - for standard output")
	case c.Figures() && all[i].figures == nil:
		return a, fmt.Errorf("-o %s is for exchanges; figures are shown by table, csv and ndjson", name)
	case len(c.Fields) > 0 && !all[i].fields:
		return a, fmt.Errorf("--fields is for -o table and csv; %s shows everything", name)
	case path == "-":
		path = ""
	}
	a = all[i]
	a.path = path
	return a, nil
}

// open opens where the answer goes. done ends it.
func (a *answer) open(stdout target) (t target, done func() error, err error) {
	if a.path == "" {
		if a.name == "parquet" && stdout.terminal.Width > 0 {
			return t, nil, errors.New("-o parquet: this can't be shown on a terminal; name a file")
		}
		return stdout, func() error { return nil }, nil
	}
	f, err := createFile(a.path, nil, written)
	if err != nil {
		return t, nil, fmt.Errorf("-o %s: %w", a.name, err)
	}
	return target{w: f, location: time.UTC}, f.Close, nil
}
