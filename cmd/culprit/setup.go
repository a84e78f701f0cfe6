package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/culprit-http/culprit/deploy"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/endpoint"
)

func newSetup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Prepare Elasticsearch, OpenSearch and their dashboards",
		Long: `Prepare Elasticsearch, OpenSearch and their dashboards.

Examples:
  culprit setup elastic https://es:9200 --user elastic --password-file pw
  culprit setup elastic http://127.0.0.1:9200 --keep-days 90 --dry-run
  culprit setup kibana http://127.0.0.1:5601`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(fmt.Errorf("setup %s: there are setup elastic and setup kibana", args[0]))
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cmd.AddCommand(newSetupElastic(), newSetupKibana())
	return cmd
}

// setupFlags are flags that are settings of outputs, too: --password-file is password_file.
func setupFlags() flagGroup {
	f := newFlagGroup("Access")
	f.String("user", "", "`NAME` of the user")
	f.String("password-file", "", "the password is in `FILE`")
	f.String("api-key-file", "", "the API key, encoded, is in `FILE`")
	f.String("ca", "", "certificates that sign the server's, in PEM `FILE`")
	f.Bool("insecure", false, "take any certificate")
	return f
}

func newSetupElastic() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "elastic URL[?SETTING=VALUE&...]",
		Short: "Make index templates and the lifecycle policy in Elasticsearch or OpenSearch",
		Long: `Make index templates and the lifecycle policy in Elasticsearch or OpenSearch.
The URL and its settings are those of -o elastic (docs/elasticsearch.md).`,
		Args: oneURL,
		RunE: func(cmd *cobra.Command, args []string) error {
			return setupElastic(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], cmd.Flags(), dry)
		},
		DisableFlagsInUseLine: true,
	}
	what := newFlagGroup("What to make")
	what.String("index", elastic.DefaultIndex, "for indices whose names begin with `PREFIX`")
	what.Int("keep-days", elastic.DefaultKeep, "an index is deleted `DAYS` after it was made; 0: never")
	what.BoolVar(&dry, "dry-run", false, "only show what would be put")
	other := newFlagGroup("Other")
	other.BoolP("help", "h", false, "this help")
	addFlags(cmd, what, setupFlags(), other)
	return cmd
}

func newSetupKibana() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kibana URL[?SETTING=VALUE&...]",
		Short: "Load dashboards into Kibana or OpenSearch Dashboards",
		Long: `Load dashboards into Kibana or OpenSearch Dashboards, in place of those that
were loaded before. A space is named by the URL, as in http://kibana:5601/s/ops.`,
		Args: oneURL,
		RunE: func(cmd *cobra.Command, args []string) error {
			return setupKibana(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], cmd.Flags())
		},
		DisableFlagsInUseLine: true,
	}
	what := newFlagGroup("What to load")
	what.String("index", elastic.DefaultIndex, "for indices whose names begin with `PREFIX`")
	other := newFlagGroup("Other")
	other.BoolP("help", "h", false, "this help")
	addFlags(cmd, what, setupFlags(), other)
	return cmd
}

// oneURL wants one argument.
func oneURL(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(fmt.Errorf("%s: want one URL, such as http://127.0.0.1:%d", cmd.CommandPath()[len("culprit "):], map[string]int{"elastic": 9200, "kibana": 5601}[cmd.Name()]))
	}
	return nil
}

// server is what is set up, and its settings.
type server struct {
	client *elastic.Client
	index  string
	keep   int
}

// mostKept is the longest time after which indices are deleted, in days.
const mostKept = 3650

// connect reads the settings of a server: from its URL, and from flags of the same names.
func connect(target string, port int, flags *pflag.FlagSet) (*server, error) {
	o, err := config.ParseOutput("elastic="+target, func(string) bool { return true })
	if err != nil {
		return nil, usage(err)
	}
	o.Text = o.Text[len("elastic="):]
	for _, f := range []struct{ flag, key string }{
		{"user", "user"}, {"password-file", "password_file"}, {"api-key-file", "api_key_file"}, {"ca", "ca"}, {"insecure", "insecure"},
		{"index", "index"}, {"keep-days", "keep_days"},
	} {
		if flags.Changed(f.flag) {
			if slices.ContainsFunc(o.Settings, func(s config.OutputSetting) bool { return s.Key == f.key }) {
				return nil, usage(fmt.Errorf("%s is in the URL, and --%s is there, too: leave one of them out", f.key, f.flag))
			}
			o.Settings = append(o.Settings, config.OutputSetting{Key: f.key, Value: flags.Lookup(f.flag).Value.String()})
		}
	}
	s := &settings{output: &o}
	urls, auth, err := endpoint.ParseURLs(s.target(""), elastic.Schemes(), port)
	if err != nil {
		return nil, usage(err)
	}
	to := &server{index: s.text("index", elastic.DefaultIndex)}
	if flags.Lookup("keep-days") != nil {
		to.keep = s.number("keep_days", elastic.DefaultKeep, 0, mostKept)
	}
	options := elastic.Options{URLs: urls, Endpoint: s.endpoint(nil, auth), NoCompression: true}
	if err := s.err(); err != nil {
		return nil, usage(err)
	}
	if err := elastic.CheckIndex(to.index); err != nil {
		return nil, usage(err)
	}
	to.client, err = elastic.New(options)
	if err != nil {
		return nil, usage(err)
	}
	return to, nil
}

func setupElastic(ctx context.Context, stdout, stderr io.Writer, target string, flags *pflag.FlagSet, dry bool) error {
	to, err := connect(target, elastic.Port, flags)
	if err != nil {
		return err
	}
	defer to.client.Close()
	p, err := to.client.Product(ctx)
	if err != nil {
		return &statusError{exitFailed, err}
	}
	fmt.Fprintln(stdout, p)
	steps, err := to.client.Setup(ctx, elastic.Setup{Index: to.index, Keep: to.keep, Replace: true, DryRun: dry})
	for _, step := range steps {
		switch {
		case step.Problem:
			fmt.Fprintln(stderr, "culprit: "+step.Text)
		case dry && step.Method != "":
			var body bytes.Buffer
			if err := json.Indent(&body, step.Body, "", "  "); err != nil {
				return &statusError{exitFailed, err}
			}
			fmt.Fprintf(stdout, "%s %s\n%s\n", step.Method, step.Path, &body)
		default:
			fmt.Fprintln(stdout, step.Text)
		}
	}
	if err != nil {
		return &statusError{exitFailed, err}
	}
	return nil
}

func setupKibana(ctx context.Context, stdout, stderr io.Writer, target string, flags *pflag.FlagSet) error {
	to, err := connect(target, elastic.DashboardsPort, flags)
	if err != nil {
		return err
	}
	defer to.client.Close()
	p, err := to.client.Dashboards(ctx)
	if err != nil {
		return &statusError{exitFailed, err}
	}
	product := deploy.Kibana
	if p.OpenSearch {
		product = deploy.OpenSearchDashboards
	}
	name, objects, err := deploy.SavedObjects(product, p.Version, to.index)
	if err != nil {
		return &statusError{exitFailed, err}
	}
	loaded, problems, err := to.client.Import(ctx, name, objects)
	if err != nil {
		return &statusError{exitFailed, err}
	}
	fmt.Fprintf(stdout, "%s %s: loaded %s\n", product, p.Version, plural(uint64(loaded), "object"))
	for _, problem := range problems {
		fmt.Fprintln(stderr, "culprit: "+problem)
	}
	if len(problems) > 0 {
		return &statusError{exitFailed, fmt.Errorf("%s objects weren't loaded", strconv.Itoa(len(problems)))}
	}
	return nil
}
