//go:build unix

// Command quantiles compares the kinds of sketches on durations that were measured somewhere: how far their percentiles are
// off, what they take, and what it costs to add to them and to merge them.
//
//	go run ./bench/quantiles NAME=FILE...
//
// A file has a JSON object a line, and may be compressed with gzip; - is standard input. A duration is event.duration of
// culprit's own records, streams left out, or the time from start_us to end_us.
package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/culprit-http/culprit/bench/gauge"
	"github.com/culprit-http/culprit/internal/measure"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quantiles:", err)
		os.Exit(1)
	}
}

// quantiles are those that are compared.
var quantiles = []float64{0.5, 0.9, 0.99, 0.999}

// kinds are those that are compared.
var kinds = []measure.Kind{measure.DD, measure.TDigests, measure.QDigests, measure.Frugal}

// parts is how many sketches are merged into one.
const parts = 16

// enough is how many seconds of the processor's time a measurement takes.
const enough = 0.5

func run(args []string, w io.Writer) error {
	if len(args) == 0 {
		return errors.New("usage: quantiles NAME=FILE, as often as wanted")
	}
	fmt.Fprintln(w, "| durations | of | sketch | p50 | p90 | p99 | p99.9 | merged p50 | p90 | p99 | p99.9 | bytes | ns to add | ns to merge |")
	fmt.Fprintln(w, "| --- | --: | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
	for _, arg := range args {
		name, path, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%s: write NAME=FILE", arg)
		}
		values, err := read(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if len(values) < parts {
			return fmt.Errorf("%s: only %d durations", path, len(values))
		}
		sorted := slices.Sorted(slices.Values(values))
		fmt.Fprintf(w, "| %s | %d | exact | %s | | | | | %d | | |\n", name, len(values), strings.Join(exactly(sorted), " | "), 8*len(values))
		for _, k := range kinds {
			fmt.Fprintf(w, "| | | %s | %s |\n", k, strings.Join(compare(k, values, sorted), " | "))
		}
	}
	return nil
}

// read returns the durations in a file, in nanoseconds, in its order.
func read(path string) (values []int64, err error) {
	in := os.Stdin
	if path != "-" {
		if in, err = os.Open(path); err != nil {
			return nil, err
		}
		defer in.Close()
	}
	buffered := bufio.NewReader(in)
	lines := io.Reader(buffered)
	if magic, _ := buffered.Peek(2); string(magic) == "\x1f\x8b" {
		if lines, err = gzip.NewReader(buffered); err != nil {
			return nil, err
		}
	}
	for d := json.NewDecoder(lines); ; {
		var r struct {
			Event   struct{ Duration *int64 }
			Culprit struct{ Stream bool }
			Start   *int64 `json:"start_us"`
			End     *int64 `json:"end_us"`
		}
		switch err := d.Decode(&r); {
		case errors.Is(err, io.EOF):
			return values, nil
		case err != nil:
			return nil, err
		case r.Event.Duration != nil && !r.Culprit.Stream:
			values = append(values, *r.Event.Duration)
		case r.Start != nil && r.End != nil:
			values = append(values, (*r.End-*r.Start)*1000)
		}
	}
}

func exactly(sorted []int64) (cells []string) {
	for _, q := range quantiles {
		cells = append(cells, time.Duration(nearest(sorted, q)).Round(time.Microsecond).String())
	}
	return cells
}

// nearest returns the quantile by nearest rank.
func nearest(sorted []int64, q float64) int64 {
	return sorted[min(max(int(math.Ceil(q*float64(len(sorted))-1e-9))-1, 0), len(sorted)-1)]
}

// compare returns the cells of a kind.
func compare(k measure.Kind, values, sorted []int64) []string {
	m := measure.NewMaker(k, quantiles...)
	whole := m.New()
	for _, v := range values {
		whole.Add(v)
	}
	cells := errorsOf(whole, sorted)

	timer, n := gauge.NewTimer(), 0
	for timer.CPU() < enough {
		s := m.New()
		for _, v := range values {
			s.Add(v)
		}
		n += len(values)
	}
	add := int64(timer.CPU() * 1e9 / float64(n))

	if !k.Merges() {
		return append(cells, "-", "-", "-", "-", fmt.Sprint(whole.Size()), fmt.Sprint(add), "-")
	}
	some := make([]measure.Sketch, parts)
	for i := range some {
		some[i] = m.New()
		for _, v := range values[i*len(values)/parts : (i+1)*len(values)/parts] {
			some[i].Add(v)
		}
		some[i].Quantile(0.5) // so that nothing is pending
	}
	var merged measure.Sketch
	timer, n = gauge.NewTimer(), 0
	for timer.CPU() < enough {
		merged = m.New()
		for _, s := range some {
			if err := merged.Merge(s); err != nil {
				panic(err) // they are of one kind, which merges
			}
		}
		n += parts
	}
	merge := int64(timer.CPU() * 1e9 / float64(n))
	cells = append(cells, errorsOf(merged, sorted)...)
	return append(cells, fmt.Sprint(whole.Size()), fmt.Sprint(add), fmt.Sprint(merge))
}

// errorsOf says how far the percentiles of a sketch are off, as parts of the true ones.
func errorsOf(s measure.Sketch, sorted []int64) (cells []string) {
	for _, q := range quantiles {
		got, ok := s.Quantile(q)
		want := nearest(sorted, q)
		switch {
		case !ok:
			cells = append(cells, "-")
		case want == 0:
			cells = append(cells, time.Duration(got).String())
		default:
			cells = append(cells, fmt.Sprintf("%+.2f %%", 100*float64(got-want)/float64(want)))
		}
	}
	return cells
}
