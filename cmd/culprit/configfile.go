package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/culprit-http/culprit/internal/config"
)

// configFlag names the configuration file.
const configFlag = "config"

// captureFilterKey is the key of what the command line has words for, but no flag.
const captureFilterKey = "capture_filter"

// notInFiles are the flags of serve that are no keys: they are about one run.
var notInFiles = []string{configFlag, "import-only", "help", helpAll}

// inputKeys say where packets come from: those of the command line take the place of all of the file's.
var inputKeys = []string{"interface", "read", captureFilterKey}

// chooserKeys choose exchanges by their processes, which is a reason to capture.
var chooserKeys = []string{"process", "pid", "listening"}

// keysOfTrace are those that trace takes from a file: how to read packets and what is known, not which.
var keysOfTrace = []string{
	"decode_as", "keylog", "tls_key", "proto", "messages", "geoip", "resolve", "ring", "block", "retire", "fanout", "promisc", "snaplen", "hardware_time", "user", "no_process", "include_own",
	"pending_after", "exchange_timeout", "max_head", "max_fields", "max_waiting", "max_message", "max_streams", "max_statement", "flows", "flow_period", "hop_wait", "memory", "workers",
}

func keyOf(flag string) string             { return strings.ReplaceAll(flag, "-", "_") }
func flagOf(key string) string             { return strings.ReplaceAll(key, "_", "-") }
func takes(keys []string, key string) bool { return keys == nil || slices.Contains(keys, key) }

// fileKeys are the keys of a configuration file: the flags of serve and of agent. Each of them takes its own.
func fileKeys() []config.Key {
	serve, agent := config.DefaultServe(), config.DefaultAgent()
	keys := []config.Key{{Name: captureFilterKey}}
	seen := map[string]bool{outputFlag: true} // which has more to say in a file
	for _, g := range slices.Concat(serveGroups(&serve, new(string)), agentGroups(&agent, new(string))) {
		g.VisitAll(func(f *pflag.Flag) {
			if !seen[f.Name] && !slices.Contains(notInFiles, f.Name) {
				_, list := f.Value.(pflag.SliceValue)
				keys = append(keys, config.Key{Name: keyOf(f.Name), List: list})
			}
			seen[f.Name] = true
		})
	}
	return keys
}

// outputFlag names the flag -o.
const outputFlag = "output"

// readConfig applies a configuration file to the flags that weren't given, and to c; only those of keys, unless that is
// nil. It does nothing when path is empty, and returns what it has read else. Errors are those of usage.
func readConfig(cmd *cobra.Command, path string, c *config.Capture, keys []string) (*config.File, error) {
	if path == "" {
		return nil, nil
	}
	f, err := parseConfig(path, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	return f, applyConfig(f, cmd.Flags(), c, keys)
}

// parseConfig reads a configuration file.
func parseConfig(path string, stdin io.Reader) (*config.File, error) {
	in, name := stdin, "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("the configuration: %w", err)
		}
		defer f.Close()
		in, name = f, path
	}
	text, err := io.ReadAll(io.LimitReader(in, config.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("the configuration: %w", err)
	}
	return config.ParseFile(name, text, fileKeys())
}

func applyConfig(f *config.File, flags *pflag.FlagSet, c *config.Capture, keys []string) error {
	given := map[string]bool{captureFilterKey: c.CaptureFilter != ""}
	flags.Visit(func(flag *pflag.Flag) { given[keyOf(flag.Name)] = true })
	if given["interface"] || given["read"] {
		for _, key := range inputKeys {
			given[key] = true
		}
	}
	// First where packets come from, for what is said of live captures may be meant for other runs.
	var live []string
	for _, g := range []flagGroup{liveFlags(&config.Live{}), tuningFlags(&config.Live{})} {
		g.VisitAll(func(f *pflag.Flag) { live = append(live, keyOf(f.Name)) })
	}
	for _, pass := range []func(key string) bool{
		func(key string) bool { return slices.Contains(inputKeys, key) },
		func(key string) bool { return slices.Contains(chooserKeys, key) && len(c.Inputs) == 0 },
		func(key string) bool {
			return c.Live.On() || !slices.Contains(live, key) || key == "user" && keys == nil
		},
	} {
		for i := range f.Settings {
			s := &f.Settings[i]
			if given[s.Key] || !takes(keys, s.Key) || !pass(s.Key) || s.Key != captureFilterKey && flags.Lookup(flagOf(s.Key)) == nil {
				continue
			}
			given[s.Key] = true
			if err := apply(f, s, flags, c); err != nil {
				return err
			}
		}
		c.Live.Complete(len(c.Inputs) > 0)
	}
	literals := c.Redaction.Literals // an option, not of the section
	c.Redaction = f.Redaction
	c.Redaction.Literals = literals
	c.Enrichment.Services, c.Enrichment.Hosts, c.Enrichment.Routes = f.Services, f.Hosts, f.Routes
	return nil
}

// apply sets an option.
func apply(f *config.File, s *config.Setting, flags *pflag.FlagSet, c *config.Capture) error {
	if s.Key == captureFilterKey {
		c.CaptureFilter = s.Values[0]
		return nil
	}
	for nth, value := range s.Values {
		err := flags.Set(flagOf(s.Key), value)
		var invalid *pflag.InvalidValueError
		switch {
		case errors.As(err, &invalid):
			return f.Errorf(s.Key, nth, "%q: %s", value, wanted(invalid.Unwrap().Error()))
		case err != nil:
			return f.Errorf(s.Key, nth, "%v", err)
		}
	}
	return nil
}

// wanted says what is wanted instead of a value that can't be read.
func wanted(text string) string {
	if strings.Contains(text, "strconv.ParseBool") {
		return "want true or false"
	}
	text = plain(": " + text)
	return strings.TrimPrefix(strings.TrimPrefix(text, ": "), ": ")
}

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check configuration files", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	cmd.AddCommand(&cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration file, and print what holds",
		Long: `Check a configuration file, and print what holds with it: the file's keys and the
defaults of others. docs/config.md lists the keys.

Example:
  culprit config check /etc/culprit.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("want one file to check, - for standard input, and not %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return checkConfig(cmd, args[0]) },
	})
	return cmd
}

// checkConfig does all that serve does with a file before it opens something, and opens the GeoIP files.
func checkConfig(cmd *cobra.Command, path string) error {
	f, err := parseConfig(path, cmd.InOrStdin())
	if err != nil {
		return usage(err)
	}
	c := config.DefaultServe()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, g := range serveGroups(&c, new(string)) {
		flags.AddFlagSet(g.FlagSet)
	}
	a := config.DefaultAgent()
	for _, g := range agentGroups(&a, new(string)) {
		flags.AddFlagSet(g.FlagSet) // but for those that serve has
	}
	if err := applyConfig(f, flags, &c.Capture, nil); err != nil {
		return usage(err)
	}
	about := func(err error) error {
		var s *statusError
		if errors.As(err, &s) {
			err = s.err
		}
		return usage(fmt.Errorf("%s: %w", f.Name, err))
	}
	if err := c.Validate(); err != nil {
		return about(err)
	}
	a.FileOutputs = f.Outputs
	if _, err := parseOutputs(&a, nil); err != nil {
		return about(err)
	}
	if _, err := newSampler(&a.Shipping); err != nil {
		return about(err)
	}
	t := &capturing{config: &c.Capture, stderr: cmd.ErrOrStderr()}
	if err := t.parse(); err != nil {
		return about(err)
	}
	defer t.close()
	if err := t.openEnricher(); err != nil {
		return about(err)
	}
	text, err := effective(f, flags, &c, &a)
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

// effective returns what holds, as a file that says the same.
func effective(f *config.File, flags *pflag.FlagSet, c *config.Serve, a *config.Trace) (text []byte, err error) {
	entry := func(key string, value any, note string) {
		b, e := yaml.MarshalWithOptions(yaml.MapSlice{{Key: key, Value: value}}, yaml.IndentSequence(true))
		if err = errors.Join(err, e); note != "" {
			b = append(bytes.TrimRight(b, "\n"), note...)
			b = append(b, '\n')
		}
		text = append(text, b...)
	}
	for _, k := range fileKeys() {
		note := "  # default"
		if slices.ContainsFunc(f.Settings, func(s config.Setting) bool { return s.Key == k.Name }) {
			note = ""
		}
		var value any
		switch flag := flags.Lookup(flagOf(k.Name)); {
		case flag == nil && c.CaptureFilter != "":
			value = c.CaptureFilter
		case note != "" && k.Name == "sample_slow" && a.Sample == "", flag == nil, note != "" && slices.Contains([]string{"", "0", "0s", "false"}, flag.Value.String()):
			continue // what does nothing
		case k.List:
			if list := flag.Value.(pflag.SliceValue).GetSlice(); len(list) > 0 {
				value = list
			}
		case flag.Value.Type() == "bool":
			value = flag.Value.String() == "true"
		case flag.Value.String() != "":
			value = flag.Value.String()
			if n, e := strconv.Atoi(flag.Value.String()); e == nil {
				value = n
			}
		}
		if value != nil {
			entry(k.Name, value, note)
		}
	}
	for _, s := range []struct {
		key   string
		given bool
		value any
	}{
		{"output", len(f.Outputs) > 0, outputSection(f.Outputs)},
		{"services", len(f.Services) > 0, f.Services}, {"hosts", len(f.Hosts) > 0, f.Hosts}, {"routes", len(f.Routes) > 0, f.Routes},
		{"redact", true, redactionSection(&f.Redaction)},
	} {
		if m, ok := s.value.(yaml.MapSlice); s.given && (!ok || len(m) > 0) {
			entry(s.key, s.value, "")
		}
	}
	return text, err
}

// hiddenSettings are those whose values are secret. Where they come from the environment, the reference is shown.
var hiddenSettings = []string{"password", "api_key", "bearer", "headers"}

// reference matches a value that is a variable of the environment, and nothing else.
var reference = regexp.MustCompile(`^\$\{[^}]*\}$`)

// outputSection is the section output.
func outputSection(outputs []config.Output) (all []any) {
	for _, o := range outputs {
		if o.Name == "" {
			if parsed, err := config.ParseOutput(o.Text, takesSettings); err == nil {
				o = parsed
			}
		}
		var settings yaml.MapSlice
		if o.HasTarget {
			_, target, _ := strings.Cut(o.Text, "=")
			settings = append(settings, yaml.MapItem{Key: "target", Value: target})
		}
		for _, s := range o.Settings {
			if slices.Contains(hiddenSettings, s.Key) && !reference.MatchString(s.Value) {
				s.Value = "(hidden)"
			}
			settings = append(settings, yaml.MapItem{Key: s.Key, Value: s.Value})
		}
		switch {
		case takesSettings(o.Name) && settings != nil:
			all = append(all, yaml.MapSlice{{Key: o.Name, Value: settings}})
		default:
			all = append(all, o.Text)
		}
	}
	return all
}

// redactionSection is the section redact.
func redactionSection(r *config.Redaction) (s yaml.MapSlice) {
	add := func(to yaml.MapSlice, key string, list []string) yaml.MapSlice {
		if len(list) == 0 {
			return to
		}
		return append(to, yaml.MapItem{Key: key, Value: list})
	}
	s = add(add(s, "names", r.Names), "keep", r.Keep)
	if cookies := add(nil, "keep", r.KeepCookies); cookies != nil {
		s = append(s, yaml.MapItem{Key: "cookies", Value: cookies})
	}
	return add(s, "patterns", r.Patterns)
}
