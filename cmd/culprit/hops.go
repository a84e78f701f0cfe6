package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
)

func newHops() *cobra.Command {
	c := config.DefaultTrace()
	var path, from, out string
	cmd := &cobra.Command{
		Use:   "hops -r FILE [FLAGS] [CAPTURE FILTER]",
		Short: "Link the hops of each request: who caused what, and the culprit",
		Long: `Link the hops of each request to trees: which request caused which others, at
proxies, services, databases; how long each took itself; and who is to blame.

Examples:
  culprit hops -r capture.pcapng --where 'status >= 500 or duration > 1s'
  culprit hops -r proxy=a.pcap -r app=b.pcap --from 06F79KQ1
  culprit hops -r agent-1.ndjson -r agent-2.ndjson -o ndjson=linked.ndjson`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.CaptureFilter = strings.Join(args, " ")
			return linkHops(cmd, &c, path, from, out)
		},
		DisableFlagsInUseLine: true,
	}
	in := newFlagGroup("Input")
	in.StringArrayVarP(&c.Inputs, "read", "r", nil, "read `[TAP=]FILE`, a capture or records of -o ndjson, - for stdin; repeatable")
	in.StringArrayVar(&c.Keylogs, "keylog", nil, "`FILE` of TLS keys; repeatable (docs/keys.md)")
	in.StringArrayVar(&c.TLSKeys, "tls-key", nil, "RSA private key in `FILE`; repeatable")
	in.StringArrayVar(&c.DecodeAs, "decode-as", nil, "hint: `PORT=PROTOCOL`; repeatable")

	show := newFlagGroup("What to show")
	show.StringVar(&from, "from", "", "the tree that has the exchange with the event id `ID`, or an id that begins so")
	show.StringVar(&c.Where, "where", "", "trees with an exchange for which `EXPR` holds (docs/filter.md)")
	show.StringVarP(&out, "output", "o", "tree", "`NAME[=FILE]`: tree, ndjson: the exchanges with their place in the tree")
	show.BoolVar(&c.Reveal, "reveal", false, "show secrets: no redaction (docs/redaction.md)")
	show.BoolVar(&c.Redaction.Literals, "literals", false, "show literals of statements; not secrets")
	show.StringVar(&c.Color, "color", c.Color, "`WHEN`: auto, always or never")
	show.BoolVar(&c.Stats, "stats", false, "totals on standard error at the end")
	show.Lookup("output").DefValue = "" // which the text tells

	other := newFlagGroup("Other")
	other.BoolVarP(&c.Verbose, "verbose", "v", false, "say on standard error what is done")
	other.BoolP("help", "h", false, "this help")
	other.Bool(helpAll, false, "help with all options: limits")
	addFlags(cmd, in, show, knowledgeFlags(&c.Capture, &path), limitFlags(&c.Capture), other)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"tree", "ndjson"}, cobra.ShellCompDirectiveNoSpace))
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// linkHops runs the command.
func linkHops(cmd *cobra.Command, c *config.Trace, path, from, out string) error {
	if all, err := cmd.Flags().GetBool(helpAll); all && err == nil {
		return cmd.Help()
	}
	if _, err := readConfig(cmd, path, &c.Capture, keysOfTrace); err != nil {
		return usage(err)
	}
	if err := c.Validate(); err != nil {
		return usage(err)
	}
	name, file, named := strings.Cut(out, "=")
	switch {
	case name != "tree" && name != "ndjson":
		return usage(fmt.Errorf("-o %s: no such output; there are tree and ndjson", name))
	case named && file == "":
		return usage(fmt.Errorf("-o %s: name a file after the equals sign, or - for standard output", out))
	case file == "-":
		file = ""
	}
	from = strings.ToUpper(from)
	if !isIDPrefix(from) {
		return usage(fmt.Errorf("--from %q isn't the begin of an event id, such as 01JV0M8T5EW3B8Q1YQJ2Z6N4KD", from))
	}
	ctx, stop := untilSignal(true)
	defer stop()
	where := answer{name: name, path: file}
	to, done, err := where.open(describe(cmd.OutOrStdout(), c.Color))
	if err != nil {
		return &statusError{exitFailed, err}
	}
	h := &hopsShown{from: from}
	h.tree = h.show
	h.keep = name == "ndjson" || c.Where != ""
	if name == "ndjson" {
		h.records = ndjson.New(to.w)
		h.apart = h.showApart
	} else {
		h.layout = newTreeLayout(bufio.NewWriterSize(to.w, 64<<10), to)
	}
	err = h.run(ctx, cmd, c)
	if err == nil {
		err = h.end()
	}
	if e := done(); err == nil {
		err = e
	}
	var s *statusError
	switch {
	case errors.Is(err, syscall.EPIPE):
		return nil // whoever read our output has seen enough
	case errors.As(err, &s):
		return err
	case err != nil:
		return &statusError{exitFailed, err}
	case h.lossy:
		return errLossy
	}
	return nil
}

// isIDPrefix reports whether an event id may begin so.
func isIDPrefix(text string) bool {
	const zero = "00000000000000000000000000"
	if len(text) > len(zero) {
		return false
	}
	_, ok := exchange.ParseID(text + zero[len(text):])
	return ok
}

// hopsShown is a run of culprit hops.
type hopsShown struct {
	treeing
	from    string
	records *ndjson.Output
	layout  *treeLayout
	trees   uint64
	shown   uint64
}

// show shows a tree, if it is wanted.
func (h *hopsShown) show(t *hops.Tree) error {
	h.trees++
	if ok, err := h.wanted(t); !ok || err != nil {
		return err
	}
	h.shown++
	if h.records == nil {
		return h.layout.tree(t, h.from)
	}
	var err error
	t.All(func(n *hops.Node) bool {
		for _, s := range n.Seen {
			if err = h.again(n, s, h.records.Exchange); err != nil {
				return false
			}
		}
		return true
	})
	return err
}

// wanted reports whether a tree is to be shown.
func (h *hopsShown) wanted(t *hops.Tree) (ok bool, err error) {
	ok = h.from == "" && h.where == nil
	t.All(func(n *hops.Node) bool {
		for _, s := range n.Seen {
			if h.from != "" && !strings.HasPrefix(exchange.IDText(s.ID), h.from) {
				continue
			}
			if h.where == nil {
				ok = true
				continue
			}
			err = h.again(n, s, func(x *exchange.Exchange) error {
				ok = ok || h.where.Match(x)
				return nil
			})
		}
		return !ok && err == nil
	})
	return ok, err
}

// showApart shows what is in no tree.
func (h *hopsShown) showApart(x *exchange.Exchange) error {
	if h.from != "" || h.where != nil && !h.where.Match(x) {
		return nil
	}
	return h.records.Exchange(x)
}

// end ends the output, and says what there was.
func (h *hopsShown) end() error {
	n := &h.linker.Counts
	switch {
	case h.trees == 0 && h.taken == 0:
		h.say("no exchange found")
	case h.shown == 0 && h.from != "":
		return fmt.Errorf("no exchange among %s has an id that begins with %s", count(n.Exchanges), h.from)
	case h.shown == 0 && h.where != nil:
		h.say("%s found, none with an exchange for which --where holds", plural(h.trees, "tree"))
	}
	if h.config.Stats {
		fmt.Fprint(h.stderr, linkTotals(n, h.trees))
	}
	if h.records != nil {
		return h.records.Close()
	}
	return h.layout.end(h.linker.Clocks())
}

// linkTotals returns how exchanges were linked.
func linkTotals(n *hops.Counts, trees uint64) string {
	b := fmt.Appendf(nil, "linking     exchanges %s = trees' %s + apart %s\n", count(n.Exchanges), count(n.Exchanges-n.Apart), count(n.Apart))
	b = fmt.Appendf(b, "            of %s, roots %s", plural(trees, "tree"), count(n.Roots))
	for m := exchange.ByID; m < exchange.NumHopMethods; m++ {
		b = fmt.Appendf(b, ", by %s %s", m, count(n.Linked[m]))
	}
	b = fmt.Appendf(b, ", seen again %s\n", count(n.Merged))
	if n.Unclear > 0 {
		b = fmt.Appendf(b, "            unclear %s, which are among the roots\n", count(n.Unclear))
	}
	return string(b)
}
