package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/conversations"
	"github.com/culprit-http/culprit/internal/output/har"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/output/pcapng"
)

// newFirehoseConvert makes culprit firehose convert.
func newFirehoseConvert() *cobra.Command {
	c := config.DefaultConvert()
	cmd := &cobra.Command{
		Use:   "convert -r FILE -o FORMAT=FILE [FLAGS]",
		Short: "Make pcapng, HAR, NDJSON or firehose streams of recordings",
		Long: `Make pcapng, HAR, NDJSON or firehose streams of recordings: of firehose streams
and captures, of HTTP archives, of records that -o ndjson has written.

Examples:
  culprit firehose convert -r web.firehose -o pcapng=web.pcapng
  culprit firehose convert -r in.firehose -r out.firehose -o har=web.har
  culprit firehose convert -r browser.har -o firehose=browser.firehose`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.Validate(); err != nil {
				return usage(err)
			}
			ctx, stop := untilSignal(true)
			defer stop()
			return convert(ctx, cmd, &c)
		},
		DisableFlagsInUseLine: true,
	}
	g := newFlagGroup("Flags")
	g.StringArrayVarP(&c.Inputs, "read", "r", nil, "read `[TAP=]FILE`, - for stdin; repeatable")
	g.StringArrayVarP(&c.Outputs, "output", "o", nil, "make `FORMAT=FILE`: pcapng, firehose, har, ndjson; repeatable")
	g.StringVar(&c.Where, "where", "", "only exchanges for which `EXPR` holds (docs/filter.md)")
	g.Var(&c.MaxBody, "max-body", "`SIZE` to keep of bodies (default 4MiB)")
	g.BoolVar(&c.Reveal, "reveal", false, "har, ndjson: with secrets (docs/redaction.md)")
	g.BoolVar(&c.Force, "force", false, "replace the files if they are there")
	g.StringArrayVar(&c.Keylogs, "keylog", nil, "`FILE` of TLS keys; repeatable (docs/keys.md)")
	g.BoolP("help", "h", false, "this help")
	g.Lookup("max-body").DefValue = "" // which the text tells
	addFlags(cmd, g)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(config.ConvertFormats(), cobra.ShellCompDirectiveNoSpace))
	return cmd
}

// convert converts recordings. Packets and streams of captures are those that there were; of exchanges, they are made.
func convert(ctx context.Context, cmd *cobra.Command, c *config.Convert) error {
	targets, err := c.Targets()
	if err != nil {
		return usage(err)
	}
	stdin := bufio.NewReader(cmd.InOrStdin())
	cmd.SetIn(stdin)
	var inputs []capture.Input
	captures := true
	for _, arg := range c.Inputs {
		in := capture.ParseInput(arg)
		kind, err := kindOf(in, stdin)
		if err != nil {
			return err
		}
		inputs = append(inputs, in)
		captures = captures && kind == aCapture
	}
	for i := range targets {
		err := free(targets[i].Path, c.Force, inputs)
		if path := targets[i].Path; err == nil && targets[i].Format == hoses && path != capture.Stdin {
			if list := listBeside(path); list != "" {
				err = free(list, c.Force, inputs)
			}
		}
		if err != nil {
			return &statusError{exitFailed, fmt.Errorf("-o %s: %w", c.Outputs[i], err)}
		}
	}
	if captures {
		return convertCaptures(ctx, cmd, c, targets)
	}
	raw := slices.ContainsFunc(targets, func(t config.ConvertTarget) bool { return t.Raw() })
	if raw && !c.Reveal {
		if slices.ContainsFunc(targets, func(t config.ConvertTarget) bool { return !t.Raw() }) {
			return usage(errors.New("pcapng and firehose hold secrets, har and ndjson don't: make them apart, or all with --reveal"))
		}
		c.Reveal = true
	}
	return convertExchanges(ctx, cmd, c, targets, inputs)
}

// free checks that a file may be made.
func free(path string, force bool, inputs []capture.Input) error {
	if path == capture.Stdin {
		return nil
	}
	there, err := os.Stat(path)
	switch {
	case err != nil:
		return nil // who makes it says what is wrong
	case !there.Mode().IsRegular():
		return nil // a pipe, or /dev/null
	case !force:
		return fmt.Errorf("%s is there: name another file, or replace it with --force", path)
	}
	for _, in := range inputs {
		if read, err := os.Stat(in.Path); err == nil && os.SameFile(there, read) {
			return fmt.Errorf("%s is being read: name another file", path)
		}
	}
	return nil
}

// convertCaptures does what culprit trace does with such outputs.
func convertCaptures(ctx context.Context, cmd *cobra.Command, c *config.Convert, targets []config.ConvertTarget) error {
	t := config.DefaultTrace()
	t.Capture, t.Outputs = c.Capture, c.Outputs
	if !slices.ContainsFunc(targets, func(o config.ConvertTarget) bool { return !o.Raw() }) {
		t.MaxBody = 0 // nobody wants bodies
	}
	t.Force = c.Force && slices.ContainsFunc(targets, func(o config.ConvertTarget) bool { return o.Format == hoses })
	if err := t.Validate(); err != nil {
		return usage(err)
	}
	return newTracing(cmd, &t).run(ctx, cmd)
}

// convertExchanges makes files of exchanges.
func convertExchanges(ctx context.Context, cmd *cobra.Command, c *config.Convert, targets []config.ConvertTarget, inputs []capture.Input) error {
	r := &recordings{}
	var outs []output.Output
	var made []*conversations.Output
	open := func(path string) (io.Writer, error) {
		if path == capture.Stdin {
			return cmd.OutOrStdout(), nil
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if info, e := os.Stat(path); err != nil || e != nil || info.Mode().IsRegular() {
			if err == nil {
				f.Close()
			}
			f, err = createNew(path, c.Force, inputs)
		}
		if err != nil {
			return nil, &statusError{exitFailed, err}
		}
		return f, nil
	}
	var files []io.Writer
	for _, t := range targets {
		w, err := open(t.Path)
		if err != nil {
			return err
		}
		files = append(files, w)
		switch t.Format {
		case "har":
			outs = append(outs, har.New(w, version))
		case "ndjson":
			outs = append(outs, ndjson.New(w))
		case recording:
			made = append(made, conversations.NewPackets(w, "culprit "+version))
		default:
			list := io.Writer(io.Discard)
			if t.Path != capture.Stdin {
				if name := listBeside(t.Path); name != "" {
					if list, err = open(name); err != nil {
						return err
					}
					files = append(files, list)
				}
			}
			made = append(made, conversations.NewFirehose(w, list))
		}
	}
	for _, m := range made {
		outs = append(outs, m)
	}
	from := config.DefaultRecordings()
	from.Capture = c.Capture
	err := r.each(ctx, cmd, &from, func(x *exchange.Exchange) error {
		for _, o := range outs {
			if err := o.Exchange(x); err != nil {
				return err
			}
		}
		return nil
	})
	for _, o := range outs {
		if e := o.Close(); err == nil && e != nil {
			err = &statusError{exitFailed, e}
		}
	}
	for _, w := range files {
		if f, ok := w.(*os.File); ok && w != cmd.OutOrStdout() {
			if e := f.Close(); err == nil && e != nil {
				err = &statusError{exitFailed, e}
			}
		}
	}
	if err != nil {
		return err
	}
	r.accountConversations(made, outs)
	if r.lossy {
		return errLossy
	}
	return nil
}

// accountConversations says what became of the exchanges.
func (r *recordings) accountConversations(made []*conversations.Output, outs []output.Output) {
	if len(made) > 0 {
		r.warn("%s", pcapng.RawWarning)
		st := made[0].Stats()
		if st.Left > 0 {
			r.lose("%s left out: no HTTP, or nothing is known of the request", plural(st.Left, "exchange"))
		}
		if st.Incomplete > 0 {
			r.lose("%s lack something that was sent: a body that wasn't kept (--max-body), a secret that was redacted", plural(st.Incomplete, "exchange"))
		}
		if st.Late > 0 {
			r.warn("%s stand behind later ones: the exchanges weren't in order", plural(st.Late, "packet"))
		}
	}
	if r.read == 0 {
		r.say("no exchange found in %s", r.contents())
	}
}
