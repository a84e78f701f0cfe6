// Command culprit watches HTTP on the wire and says who is to blame when it is slow or fails.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/culprit-http/culprit/internal/keeper"
)

// The exit statuses. README.md documents them.
const (
	exitFailed = 1
	exitUsage  = 2
	exitLossy  = 3
)

// version is set by the linker.
var version = "dev"

func main() {
	switch k, err := keeper.Inherited(); {
	case err != nil:
		fmt.Fprintf(os.Stderr, "culprit: %v\n", err)
		os.Exit(exitUsage)
	case k != nil:
		os.Exit(keep(k, os.Stderr))
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// statusError is an error with the exit status that it means.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

func usage(err error) error { return &statusError{exitUsage, err} }

// errLossy ends a run that did its work, but has said on standard error that something was lost.
var errLossy = &statusError{exitLossy, errors.New("")}

// run is the program, but for the exit.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(stdin, stdout, stderr)
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return 0
	}
	var s *statusError
	if !errors.As(err, &s) {
		s = &statusError{exitUsage, err} // from the flag library
	}
	if text := s.Error(); text != "" {
		fmt.Fprintln(stderr, "culprit: "+plain(text))
		if s.status == exitUsage {
			fmt.Fprintln(stderr, "See culprit "+help(root, args, text)+".")
		}
	}
	return s.status
}

// help says how to get the help that an error is about, of the command that args are for.
func help(root *cobra.Command, args []string, text string) string {
	c, _, err := root.Find(args)
	if err != nil || c == root {
		return "--help"
	}
	flag := "help"
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Annotations[rareFlag] != nil && strings.Contains(text, "--"+f.Name) {
			flag = helpAll
		}
	})
	_, name, _ := strings.Cut(c.CommandPath(), " ") // without the program
	return name + " --" + flag
}

// plain replaces what the flag library says of a value that it can't read by what is wanted.
func plain(text string) string {
	for inner, want := range map[string]string{
		": strconv.ParseInt": "want a whole number", ": strconv.ParseUint": "want a whole number, not negative",
		": time: ": "want a time such as 5s, 10m or 1h30m",
	} {
		if head, _, found := strings.Cut(text, inner); found {
			return head + ": " + want
		}
	}
	return text
}

func newRoot(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "culprit",
		Short: "Who is to blame: watches HTTP on the wire, pairs, times and explains it",
		Long: `culprit watches HTTP on the wire, pairs each request with its response, and says
where the time went.

Examples:
  culprit trace -i eth0 port 8000
  culprit trace -r capture.pcapng.gz --where 'status >= 500 or duration > 1s'
  culprit sockets --watch`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(newTrace(), newBlame(), newHops(), newRoutes(), newFirehose(), newReplay(), newDiff(), newServe(), newAgent(), newSetup(), newSockets(), newQuery(openEmbedded), newConfig(), newVersion())
	return root
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			info, _ := debug.ReadBuildInfo()
			goVersion := ""
			if info != nil {
				goVersion = " (" + info.GoVersion + ")"
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), "culprit "+version+goVersion)
			return err
		},
	}
}
