// Command hopsbench decides, by timing alone, which call was made for which request, on a file of events as described in
// docs/hops.md, with the engine that culprit hops uses.
//
//	go run ./internal/correlate/hopsbench EVENTS.ndjson.gz >PREDICTED.tsv
//
// Each line of its output is a call, the request that it was made for, or -, and the confidence, separated by tabs.
package main

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/culprit-http/culprit/internal/correlate/hops/timing"
)

func main() {
	delay := flag.Duration("delay", timing.DefaultDelay, "how long a decision waits at most, in the time of the events; negative: until the end")
	warmUp := flag.Duration("warm-up", timing.DefaultWarmUp, "how long the first decision of a tap waits at most for requests to learn from")
	truth := flag.String("truth", "", "a table of the true parents (child, parent, ...): print a table of confidence against correctness")
	stats := flag.Bool("stats", false, "print the counters, and how long it took")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: hopsbench [flags] EVENTS.ndjson[.gz] >PREDICTED.tsv")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *truth, *stats, timing.Options{Delay: *delay, WarmUp: *warmUp}); err != nil {
		fmt.Fprintln(os.Stderr, "hopsbench:", err)
		os.Exit(1)
	}
}

func run(path, truth string, stats bool, opt timing.Options) error {
	events, err := read(path)
	if err != nil {
		return err
	}
	var links []timing.Link
	linker := timing.New(opt, func(l timing.Link) { links = append(links, l) })
	began := time.Now()
	events.feed(linker)
	took := time.Since(began)

	out := bufio.NewWriter(os.Stdout)
	slices.SortFunc(links, func(a, b timing.Link) int { return cmp.Compare(a.Child, b.Child) })
	for _, l := range links {
		parent := "-"
		if l.Parent != 0 {
			parent = events.name(l.Parent)
		}
		fmt.Fprintf(out, "%s\t%s\t%.3f\n", events.name(l.Child), parent, l.Confidence)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if stats {
		fmt.Fprintf(os.Stderr, "%+v\n%d events in %v: %v each\n", linker.Stats(), len(events.list), took, took/time.Duration(max(1, len(events.list))))
	}
	if truth == "" {
		return nil
	}
	return calibration(os.Stderr, truth, events, links)
}

// calibration prints how many links of each range of confidence are right.
func calibration(w io.Writer, path string, events *events, links []timing.Link) error {
	parents, err := readTruth(path)
	if err != nil {
		return err
	}
	const ranges = 10
	var sum [ranges]float64
	var right, n [ranges]int
	for _, l := range links {
		parent, ok := parents[events.name(l.Child)]
		if !ok || l.Parent == 0 {
			continue
		}
		i := min(int(l.Confidence*ranges), ranges-1)
		n[i]++
		sum[i] += l.Confidence
		if events.same(parent, events.name(l.Parent)) {
			right[i]++
		}
	}
	fmt.Fprintln(w, "confidence    links   mean  right")
	for i := range n {
		if n[i] > 0 {
			fmt.Fprintf(w, "%3d to %3d %% %7d  %5.1f  %5.1f %%\n", i*100/ranges, (i+1)*100/ranges, n[i], 100*sum[i]/float64(n[i]), 100*float64(right[i])/float64(n[i]))
		}
	}
	return nil
}
