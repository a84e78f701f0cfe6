package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is the width that help fits: that of the narrowest terminal anybody has.
const helpWidth = 80

// flagGroup is a group of flags under one heading of a command's help. A rare one is only shown by --help-all.
type flagGroup struct {
	title string
	rare  bool
	*pflag.FlagSet
}

func newFlagGroup(title string) flagGroup {
	f := pflag.NewFlagSet(title, pflag.ContinueOnError)
	f.SortFlags = false
	return flagGroup{title: title, FlagSet: f}
}

func newRareGroup(title string) flagGroup {
	g := newFlagGroup(title)
	g.rare = true
	return g
}

// rareFlag marks the flags of rare groups.
const rareFlag = "rare"

// helpAll is the flag that shows the rare groups, too.
const helpAll = "help-all"

// addFlags gives a command its flags, and a help that shows them in their groups.
func addFlags(cmd *cobra.Command, groups ...flagGroup) {
	cmd.Flags().SortFlags = false
	for _, g := range groups {
		if g.rare {
			g.VisitAll(func(f *pflag.Flag) { f.Annotations = map[string][]string{rareFlag: {}} })
		}
		cmd.Flags().AddFlagSet(g.FlagSet)
	}
	cmd.SetUsageFunc(func(c *cobra.Command) error {
		var b strings.Builder
		fmt.Fprintf(&b, "Usage: %s\n", c.UseLine())
		all, _ := c.Flags().GetBool(helpAll) // not every command has it
		for _, g := range groups {
			if g.rare && !all {
				continue
			}
			fmt.Fprintf(&b, "\n%s:\n%s", g.title, g.FlagUsagesWrapped(helpWidth))
		}
		_, err := fmt.Fprint(c.OutOrStderr(), b.String())
		return err
	})
}
