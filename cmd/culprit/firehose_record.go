package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/culprit-http/culprit/internal/config"
)

// newFirehoseRecord makes culprit firehose record, which is culprit trace with the output firehose alone.
func newFirehoseRecord() *cobra.Command {
	c := config.DefaultTrace()
	c.Flows = "none"
	h := config.DefaultFirehose()
	var path, to string
	var block bool
	cmd := &cobra.Command{
		Use:   "record {-i IFACE | -r FILE} --to FILE [CAPTURE FILTER]",
		Short: "Record what servers read and write as mod_firehose would",
		Long: `Record connections as the stream of fragments that Apache httpd's mod_firehose
writes for the server that it runs in, from the packets of any server.

Examples:
  culprit firehose record -i eth0 --to web.firehose --party 10.0.0.2:80
  culprit firehose record -r a.pcap --to - | culprit firehose demux -d OUT
  culprit firehose record -i any --to /run/hose --nonblock --mode request`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all, err := cmd.Flags().GetBool(helpAll); all && err == nil {
				return cmd.Help()
			}
			c.CaptureFilter = strings.Join(args, " ")
			o, err := hoseOutput(to, &h, block)
			if err != nil {
				return usage(err)
			}
			c.FileOutputs = []config.Output{o}
			return trace(cmd, &c, path)
		},
		DisableFlagsInUseLine: true,
	}
	in := newFlagGroup("Input")
	in.StringArrayVarP(&c.Inputs, "read", "r", nil, "read `[TAP=]FILE`, - for stdin; repeatable")
	in.StringArrayVarP(&c.Live.Interfaces, "interface", "i", nil, "capture on `IFACE`, any for all; repeatable")
	in.BoolVar(&c.Follow, "follow", false, "wait for more at the end of the files")
	in.StringArrayVar(&c.Keylogs, "keylog", nil, "`FILE` of TLS keys; repeatable (docs/keys.md)")
	in.StringArrayVar(&c.TLSKeys, "tls-key", nil, "RSA private key in `FILE`; repeatable")
	in.StringArrayVar(&c.DecodeAs, "decode-as", nil, "hint: `PORT=PROTOCOL`; repeatable")

	what := newFlagGroup("What to record (docs/firehose.md)")
	what.StringArrayVar(&h.Parties, "party", nil, "for the server `IP:PORT`, IP or PORT; repeatable (default all)")
	what.StringVar(&h.Side, "side", h.Side, "`WHICH` of its connections: client, from its clients; proxy, to its backends")
	what.StringVar(&h.Mode, "mode", h.Mode, "a UUID for each `WHAT`: connection or request")
	what.StringVar(&h.Direction, "direction", h.Direction, "`WHAT`: in, what it reads; out, what it writes; both")
	what.BoolVar(&c.Ciphertext, "ciphertext", false, "as sent, not decrypted")

	where := newFlagGroup("Where to")
	where.StringVar(&to, "to", "", "a new `FILE`, a FIFO, or - for standard output")
	where.BoolVar(&block, "block", false, "FIFO: wait for who reads it (the default)")
	where.BoolVar(&h.NonBlock, "nonblock", false, "FIFO: don't wait; drop what isn't read, and count it")
	where.Var(&h.Queue, "queue", "nonblock: `SIZE` of what may wait to be read")
	where.BoolVar(&h.Manifest, "manifest", false, "SHA-256 of all that is recorded, in FILE.sha256")
	where.StringVar(&h.Connections, "connections", "", "addresses in `FILE`, or none (default FILE.connections.ndjson)")
	where.Var(&c.Rotate, "rotate", "`N`xSIZE, NxTIME or both, as in 10x100MB,1h")
	where.BoolVar(&c.Force, "force", false, "replace the files if they are there")

	other := newFlagGroup("Other")
	other.StringVarP(&path, configFlag, "c", "", "`FILE` with options (docs/config.md)")
	other.BoolVar(&c.Stats, "stats", false, "totals on standard error at the end")
	other.BoolVarP(&c.Verbose, "verbose", "v", false, "say on standard error what is done")
	other.BoolP("help", "h", false, "this help")
	other.Bool(helpAll, false, "help with all options: details of live captures, limits")

	live := newFlagGroup("Live capture (docs/live.md)")
	live.StringVar(&c.Live.NetNS, "netns", "", "in the network namespace `NAME`, a path, or pid:N")
	live.DurationVar(&c.Live.Duration, "duration", 0, "end after `TIME`")
	tuning := tuningFlags(&c.Live)
	tuning.Lookup("block").Hidden = true // which is something else here
	addFlags(cmd, in, what, where, live, tuning, limitFlags(&c.Capture), other)
	for name, values := range map[string][]string{"side": config.FirehoseSides(), "mode": config.FirehoseModes(), "direction": config.FirehoseDirections()} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}

// hoseOutput returns the output that does what the options say.
func hoseOutput(to string, h *config.Firehose, block bool) (config.Output, error) {
	o := config.Output{Name: hoses, Target: to, HasTarget: true, Text: hoses + "=" + to}
	switch {
	case to == "":
		return o, errors.New("name what to record to, --to FILE: a new file, a FIFO, or - for standard output")
	case block && h.NonBlock:
		return o, errors.New("--block and --nonblock exclude each other")
	}
	if err := h.Validate(); err != nil {
		return o, fmt.Errorf("--%w", err)
	}
	for _, s := range []config.OutputSetting{
		{Key: "party", Value: strings.Join(h.Parties, ",")}, {Key: "side", Value: h.Side}, {Key: "mode", Value: h.Mode}, {Key: "direction", Value: h.Direction},
		{Key: "nonblock", Value: strconv.FormatBool(h.NonBlock)}, {Key: "queue", Value: h.Queue.String()}, {Key: "manifest", Value: strconv.FormatBool(h.Manifest)},
		{Key: "connections", Value: h.Connections},
	} {
		s.Value = strings.ReplaceAll(s.Value, "$", "$$") // a dollar sign in a file's name is none of a variable
		o.Settings = append(o.Settings, s)
	}
	return o, nil
}
