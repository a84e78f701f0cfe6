package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/culprit-http/culprit/internal/config"
)

func newAgent() *cobra.Command {
	c := config.DefaultAgent()
	cmd := &cobra.Command{
		Use:   "agent [-c FILE] [FLAGS] [CAPTURE FILTER]",
		Short: "Capture continuously, and deliver exchanges to other systems",
		Long: `Capture HTTP exchanges and deliver them to Logstash, Elasticsearch, OpenSearch,
Kafka, OpenTelemetry, Prometheus or files. What can't be delivered waits on
disk. SIGHUP reads the configuration again.

Examples:
  culprit agent -c /etc/culprit/agent.yaml
  culprit agent -i eth0 -o elastic=https://es:9200 port 8000
  culprit agent -i any -o metrics=0.0.0.0:9871 --sample 10%`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.CaptureFilter = strings.Join(args, " ")
			return agent(cmd, &c)
		},
		DisableFlagsInUseLine: true,
	}
	addFlags(cmd, agentGroups(&c, new(string))...)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputNames(), cobra.ShellCompDirectiveNoSpace))
	return cmd
}

// agentGroups are the flags of agent; path gets the value of --config.
func agentGroups(c *config.Trace, path *string) []flagGroup {
	what := newFlagGroup("What to deliver")
	what.StringArrayVarP(&c.Outputs, "output", "o", nil, "to `NAME[=TARGET]`: "+deliveringNames()+" ... (docs/outputs.md)")
	what.StringVar(&c.Where, "where", "", "only those for which `EXPR` holds (docs/filter.md)")
	what.Var(&c.MaxBody, "max-body", "`SIZE` to keep of bodies (default 0)")
	what.BoolVar(&c.Reveal, "reveal", false, "deliver secrets: no redaction (docs/redaction.md)")
	what.BoolVar(&c.Redaction.Literals, "literals", false, "deliver literals of statements, and results; not secrets")
	what.Var(&c.Rotate, "rotate", "files: `N`xSIZE, NxTIME or both, as in 10x100MB,1h")
	recordingFlags(what, c)

	delivery := shippingFlags(&c.Shipping)
	delivery.rare = false

	other := newFlagGroup("Other")
	other.BoolVar(&c.Stats, "stats", false, "totals on standard error at the end")
	other.BoolVarP(&c.Verbose, "verbose", "v", false, "say on standard error what is done")
	other.BoolP("help", "h", false, "this help")
	other.Bool(helpAll, false, "help with all options: details of live captures, limits")
	return []flagGroup{
		inputFlags(&c.Capture), liveFlags(&c.Live), what, delivery, knowledgeFlags(&c.Capture, path), tuningFlags(&c.Live), limitFlags(&c.Capture), other,
	}
}

// deliveringNames are the outputs that deliver over the network.
func deliveringNames() string {
	var names []string
	for _, k := range kinds {
		if k.settings() {
			names = append(names, k.name)
		}
	}
	return strings.Join(names, " ")
}

// agent runs the command.
func agent(cmd *cobra.Command, c *config.Trace) error {
	if all, err := cmd.Flags().GetBool(helpAll); all && err == nil {
		return cmd.Help()
	}
	r := newReloading() // first of all: a SIGHUP that comes early waits
	defer r.end()
	if err := readEnvironment(cmd.Flags(), &c.Capture); err != nil {
		return usage(err)
	}
	path, _ := cmd.Flags().GetString(configFlag)
	given := flagsGiven(cmd.Flags())
	words := c.CaptureFilter
	f, err := readConfig(cmd, path, &c.Capture, nil)
	if err != nil {
		return usage(err)
	}
	if f != nil {
		c.FileOutputs = f.Outputs
	}
	c.Live.Complete(len(c.Inputs) > 0)
	if err := c.Validate(); err != nil {
		return usage(err)
	}
	if len(c.Outputs)+len(c.FileOutputs) == 0 {
		return usage(errors.New("nothing to deliver to: name an output with -o, or in the configuration (docs/outputs.md)"))
	}
	ctx, stop := untilSignal(false)
	defer stop()
	t := newTracing(cmd, c)
	t.connects = true
	r.path, r.given, r.words, r.stdin, r.first = path, given, words, cmd.InOrStdin(), *c
	r.ended = func() bool { return ctx.Err() != nil }
	t.reloads = r
	if r.file() {
		t.loadKey() // now, for another configuration may want it when it can't be read any more
	}
	return t.run(ctx, cmd)
}

// givenFlag is a flag that was given on the command line or in the environment, with its values.
type givenFlag struct {
	name   string
	values []string
}

// flagsGiven returns the flags that were given until now.
func flagsGiven(flags *pflag.FlagSet) (all []givenFlag) {
	flags.Visit(func(f *pflag.Flag) {
		g := givenFlag{name: f.Name}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			g.values = list.GetSlice()
		} else {
			g.values = []string{f.Value.String()}
		}
		all = append(all, g)
	})
	return all
}

// readEnvironment applies variables of the environment, CULPRIT_ and the flag's name, to flags that weren't given. Several
// values stand with spaces between them.
func readEnvironment(flags *pflag.FlagSet, c *config.Capture) (err error) {
	if text, there := lookupEnv(captureFilterKey); there && c.CaptureFilter == "" {
		c.CaptureFilter = text
	}
	flags.VisitAll(func(f *pflag.Flag) {
		text, there := lookupEnv(keyOf(f.Name))
		if !there || f.Changed || f.Name == "help" || f.Name == helpAll {
			return
		}
		values := []string{text}
		if _, list := f.Value.(pflag.SliceValue); list {
			values = strings.Fields(text)
		}
		for _, value := range values {
			if e := flags.Set(f.Name, value); e != nil && err == nil {
				var invalid *pflag.InvalidValueError
				if errors.As(e, &invalid) {
					e = fmt.Errorf("%q: %s", value, wanted(invalid.Unwrap().Error()))
				}
				err = fmt.Errorf("%s: %w", variable(keyOf(f.Name)), e)
			}
		}
	})
	return err
}
