// Command synth writes a made-up capture: see package synth for the scenarios.
//
//	go run ./internal/synth/cmd/synth -scenario small -size 100MB -o small.pcap
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/synth"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "synth:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	name := flag.String("scenario", "small", "one of: "+strings.Join(names(), ", "))
	size := flag.String("size", "10MB", "about how large, with KB, MB or GB")
	out := flag.String("o", "-", "the file to write, - is standard output")
	var o synth.Options
	flag.Uint64Var(&o.Seed, "seed", 1, "the same seed makes the same capture")
	flag.BoolVar(&o.Nano, "nano", false, "timestamps in nanoseconds")
	flag.Parse()

	n, err := parseSize(*size)
	if err != nil {
		return err
	}
	var f io.WriteCloser = os.Stdout
	if *out != "-" {
		if f, err = os.Create(*out); err != nil {
			return err
		}
		defer func() {
			if e := f.Close(); err == nil {
				err = e
			}
		}()
	}
	for _, s := range scenarios() {
		if s.Name == *name {
			truth, err := s.Make(f, n, o)
			if err != nil {
				return fmt.Errorf("writing %s: %w", *out, err)
			}
			fmt.Fprintf(os.Stderr, "%s: %d exchanges, %d answered, on %d connections; %d packets, %d bytes\n",
				s.Name, truth.Exchanges, truth.Answered, truth.Connections, truth.Packets, truth.Bytes)
			return nil
		}
	}
	return fmt.Errorf("no scenario %q: there are %s", *name, strings.Join(names(), ", "))
}

func scenarios() []synth.Scenario { return slices.Concat(synth.Scenarios(), synth.Services()) }

func names() (all []string) {
	for _, s := range scenarios() {
		all = append(all, s.Name)
	}
	return all
}

func parseSize(s string) (int64, error) {
	unit := int64(1)
	for _, u := range []struct {
		suffix string
		unit   int64
	}{{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}} {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			s, unit = n, u.unit
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("size %q: want a number, with KB, MB or GB", s)
	}
	return n * unit, nil
}
