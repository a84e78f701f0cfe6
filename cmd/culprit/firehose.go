package main

import "github.com/spf13/cobra"

// newFirehose makes culprit firehose, which is what its commands are.
func newFirehose() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "firehose",
		Short: "Record and take apart streams of Apache httpd's mod_firehose",
		Long: `Record connections as the streams that Apache httpd's mod_firehose writes, and
take such streams apart (docs/firehose.md). culprit trace -r reads them, too.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cmd.AddCommand(newFirehoseRecord(), newFirehoseDemux(), newFirehoseConvert())
	return cmd
}
