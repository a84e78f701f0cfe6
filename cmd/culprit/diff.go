package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/compare"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
)

func newDiff() *cobra.Command {
	c := config.DefaultDiff()
	var path string
	cmd := &cobra.Command{
		Use:   "diff BEFORE AFTER [FLAGS]",
		Short: "Compare two recordings: what is slower, fails, is new or gone",
		Long: `Compare two recordings, such as one before and one after a release: routes,
outcomes, times and sizes, with tests that tell what is chance (docs/diff.md).
A recording is a capture, records of -o ndjson, an HTTP archive (HAR), or, with
--store, a period of a store.

Examples:
  culprit diff before.pcapng after.pcapng
  culprit diff monday.har tuesday.har --where 'status < 500' --expect-same
  culprit diff --before a1.ndjson --before a2.ndjson --after b.ndjson
  culprit diff --store DIR '2026-11-20..2026-11-21' '2026-11-21..'`,
		RunE:                  func(cmd *cobra.Command, args []string) error { return diff(cmd, &c, path, args) },
		DisableFlagsInUseLine: true,
	}
	in := newFlagGroup("Input")
	in.StringArrayVar(&c.Before, "before", nil, "read `FILE` as a part of the first recording; repeatable")
	in.StringArrayVar(&c.After, "after", nil, "read `FILE` as a part of the second; repeatable")
	in.StringVar(&c.Store, "store", "", "recordings named FROM..TO are of the store in `DIR`, or at a cluster's URL")
	in.StringVar(&c.Where, "where", "", "only exchanges for which `EXPR` holds (docs/filter.md)")
	in.StringVar(&c.CaptureFilter, "capture-filter", "", "only packets of captures that pass `FILTER` (docs/capture-filter.md)")
	in.StringArrayVar(&c.Keylogs, "keylog", nil, "`FILE` of TLS keys; repeatable (docs/keys.md)")
	in.StringArrayVar(&c.TLSKeys, "tls-key", nil, "RSA private key in `FILE`; repeatable")
	in.StringArrayVar(&c.DecodeAs, "decode-as", nil, "hint: `PORT=PROTOCOL`; repeatable")

	how := newFlagGroup("How to compare")
	how.BoolVar(&c.ExpectSame, "expect-same", false, "exit status 1 if something differs")
	how.BoolVar(&c.IgnoreHosts, "ignore-hosts", false, "compare routes of all hosts together")
	how.Float64Var(&c.Alpha, "alpha", c.Alpha, "`SHARE` of the differences found that may be chance")
	how.Float64Var(&c.MinChange, "min-change", c.MinChange, "least change of times and sizes that counts, in `PERCENT`")

	show := newFlagGroup("What to show")
	show.BoolVar(&c.All, "all", false, "also what doesn't differ")
	show.IntVar(&c.Rows, "rows", c.Rows, "at most `N` rows, 0 for all")
	show.BoolVar(&c.JSON, "json", false, "one JSON document, with all figures and tests")
	show.BoolVar(&c.Reveal, "reveal", false, "show secrets: no redaction (docs/redaction.md)")

	other := newFlagGroup("Other")
	other.BoolVarP(&c.Verbose, "verbose", "v", false, "say on standard error what is done")
	other.BoolP("help", "h", false, "this help")
	other.Bool(helpAll, false, "help with all options: limits")
	addFlags(cmd, in, how, show, knowledgeFlags(&c.Capture, &path), limitFlags(&c.Capture), other)
	return cmd
}

// diff runs the command.
func diff(cmd *cobra.Command, c *config.Diff, path string, words []string) error {
	if all, err := cmd.Flags().GetBool(helpAll); all && err == nil {
		return cmd.Help()
	}
	if _, err := readConfig(cmd, path, &c.Capture, keysOfTrace); err != nil {
		return usage(err)
	}
	if err := c.Name(words); err != nil {
		return usage(err)
	}
	if err := c.Validate(); err != nil {
		return usage(err)
	}
	if err := onceStdin(c.Before, c.After); err != nil {
		return usage(err)
	}
	ctx, stop := untilSignal(true)
	defer stop()
	options := compare.DefaultOptions()
	options.Hosts, options.Alpha, options.Change = !c.IgnoreHosts, c.Alpha, c.MinChange/100
	comparison := compare.New(options)
	lossy := false
	report := diffReport{config: c, zone: time.UTC}
	for side, words := range [...][]string{compare.Before: c.Before, compare.After: c.After} {
		var r recordings
		what := c.Side(words)
		err := r.each(ctx, cmd, &what, func(x *exchange.Exchange) error {
			comparison.Add(compare.Side(side), x)
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return &statusError{exitFailed, errors.New("stopped before the end: half a recording isn't compared")}
		case err != nil:
			return err
		case r.read == 0 && r.hidden > 0:
			return &statusError{exitFailed, fmt.Errorf("%s: %s found, none for which --where holds", strings.Join(words, ", "), plural(r.hidden, "exchange"))}
		case r.read == 0:
			return &statusError{exitFailed, fmt.Errorf("%s: there is no exchange in it to compare", strings.Join(words, ", "))}
		}
		lossy = lossy || r.lossy
		report.names[side] = nameOf(words)
	}
	report.result = comparison.Result()
	t := describe(cmd.OutOrStdout(), "never")
	report.terminal = t.terminal
	if t.terminal.Width > 0 {
		report.zone = t.location
	}
	var out []byte
	if c.JSON {
		var err error
		if out, err = report.json(); err != nil {
			return &statusError{exitFailed, err}
		}
	} else {
		out = report.text()
	}
	if _, err := t.w.Write(out); err != nil && !errors.Is(err, syscall.EPIPE) {
		return &statusError{exitFailed, err}
	}
	switch {
	case c.ExpectSame && report.result.Found():
		return &statusError{exitFailed, errors.New("the recordings differ")}
	case lossy:
		return errLossy
	}
	return nil
}

// onceStdin reports an error if standard input is named more than once.
func onceStdin(before, after []string) error {
	n := 0
	for _, words := range [...][]string{before, after} {
		for _, word := range words {
			if capture.ParseInput(word).Path == capture.Stdin {
				n++
			}
		}
	}
	if n > 1 {
		return errors.New("standard input can be one recording only, or a part of one")
	}
	return nil
}

// nameOf is what a recording is called.
func nameOf(words []string) string {
	in := capture.ParseInput(words[0])
	name := filepath.Base(in.Path)
	switch {
	case in.Path == capture.Stdin:
		name = "standard input"
	case strings.Contains(words[0], ".."):
		name = words[0]
	}
	if len(words) > 1 {
		name += fmt.Sprintf(" and %s", plural(uint64(len(words)-1), "other"))
	}
	return name
}
