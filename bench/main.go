// Command bench measures culprit, and its peers where they are installed, on captures of known
// content: whole processes, on one core. It prints a table for each capture.
//
//	go run ./bench            # about 1 GB each; takes a while, and 9 GB in .cache/bench
//	go run ./bench -short     # 50 MB each
//	go run ./bench -md        # the tables as Markdown
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

type options struct {
	short    bool
	size     int64
	runs     int
	cache    string
	culprit  string
	only     string
	tools    string
	markdown bool
	allocs   bool
}

func main() {
	var o options
	flag.BoolVar(&o.short, "short", false, "captures of 50 MB, one run each")
	flag.Int64Var(&o.size, "size", 1_000_000_000, "size of each capture in bytes")
	flag.IntVar(&o.runs, "runs", 5, "runs of each tool; fewer where one takes long")
	flag.StringVar(&o.cache, "cache", filepath.Join(".cache", "bench"), "where captures and programs are kept")
	flag.StringVar(&o.culprit, "culprit", "", "the culprit to measure; empty builds ./cmd/culprit")
	flag.StringVar(&o.only, "only", "", "only these captures: names with commas between")
	flag.StringVar(&o.tools, "tools", "", "only these tools: beginnings of names, with commas between")
	flag.BoolVar(&o.allocs, "allocs", true, "count culprit's allocations an exchange too")
	flag.BoolVar(&o.markdown, "md", false, "print Markdown")
	flag.Parse()
	if o.short {
		o.size, o.runs = 50_000_000, 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if err := os.MkdirAll(o.cache, 0o755); err != nil {
		return err
	}
	tools, err := available(ctx, o)
	if err != nil {
		return err
	}
	captures, err := captures(o)
	if err != nil {
		return err
	}
	fmt.Printf("Measured on one core of %s.\n", machine())
	for _, c := range captures {
		if err := c.prepare(); err != nil {
			return fmt.Errorf("preparing %s: %w", c.name, err)
		}
		var results []result
		for _, t := range tools {
			if c.inside && !t.inside {
				continue
			}
			t, ok := t.speaking(c.protocol)
			if !ok {
				continue
			}
			fmt.Fprintf(os.Stderr, "%s on %s...\n", t.name, c.name)
			r, err := measure(ctx, t, c, o.runs)
			if err != nil {
				return fmt.Errorf("%s on %s: %w", t.name, c.name, err)
			}
			results = append(results, r)
		}
		printTable(os.Stdout, c, results, o.markdown)
		if o.allocs {
			h, err := allocations(ctx, c.full)
			if err != nil {
				return fmt.Errorf("counting allocations on %s: %w", c.name, err)
			}
			n := float64(max(h.exchanges, 1))
			fmt.Printf("\nThe pipeline allocates %.2f times, %.0f bytes, an exchange.\n", float64(h.allocations)/n, float64(h.bytes)/n)
		}
	}
	if err := measureRatios(ctx, os.Stdout, o, tools, captures); err != nil {
		return err
	}
	return startUp(ctx, tools, o)
}

// captures returns the captures to measure with, those that the user wants.
func captures(o options) (all []*benchCapture, err error) {
	all = slices.Concat(generated(o), services(o), bulk(o), multiplexed(o), shared(o))
	if o.only == "" {
		return all, nil
	}
	want := strings.Split(o.only, ",")
	for _, name := range want {
		if !slices.ContainsFunc(all, func(c *benchCapture) bool { return c.name == name }) {
			return nil, fmt.Errorf("no capture %q", name)
		}
	}
	return slices.DeleteFunc(all, func(c *benchCapture) bool { return !slices.Contains(want, c.name) }), nil
}
