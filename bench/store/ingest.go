package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/culprit-http/culprit/bench/gauge"
	"github.com/culprit-http/culprit/bench/store/generate"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/embedded"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/segment"
	"github.com/culprit-http/culprit/internal/store/vector"
	"github.com/culprit-http/culprit/internal/store/wal"
)

// begin is when the first exchange ends.
func begin() time.Time { return time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC) }

func (o *options) generator() *generate.Generator {
	return generate.New(generate.Options{Seed: o.seed, Start: begin().UnixNano()})
}

// open opens the store. Time is that of the exchanges, so that nothing depends on the day of the measurement.
func (o *options) open() (*embedded.Engine, error) {
	return embedded.Open(o.dir, embedded.Options{
		TailBytes: o.tailBytes, Writer: "bench/store", Warn: func(text string) { fmt.Fprintln(os.Stderr, "bench/store:", text) },
	})
}

// profiled writes a CPU profile of f, if one is wanted.
func (o *options) profiled(name string, f func() error) error {
	if o.profile == "" {
		return f()
	}
	if err := os.MkdirAll(o.profile, 0o755); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(o.profile, name+".pprof"))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}

// ingest fills the store on one core.
func ingest(ctx context.Context, o *options) error {
	runtime.GOMAXPROCS(1)
	if entries, _ := os.ReadDir(o.dir); len(entries) > 0 {
		return fmt.Errorf("%s isn't empty: choose another folder, or measure with what is there by -only queries", o.dir)
	}
	e, err := o.open()
	if err != nil {
		return err
	}
	generated := gauge.NewTimer()
	g := o.generator()
	alone := min(o.n, 500_000)
	for range alone {
		g.Next()
	}
	perEvent := generated.CPU() / float64(alone)

	g = o.generator()
	var logged int64
	t := gauge.NewTimer()
	err = o.profiled("ingest", func() error {
		var b record.Batch
		for n := 0; n < o.n; {
			b.Reset()
			for ; n < o.n && b.Len() < o.batch; n++ {
				b.Add(g.Next())
			}
			logged += int64(len(b.Bytes()))
			if stored, err := e.Append(&b); err != nil || stored != b.Len() {
				return fmt.Errorf("stored %d of %d exchanges: %w", stored, b.Len(), err)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		return e.Flush()
	})
	if err != nil {
		return err
	}
	n := float64(o.n)
	cpu, wall := t.CPU()/n-perEvent, t.Wall()/n
	resident := gauge.PeakMemory()
	s, err := e.Status(ctx)
	if err != nil {
		return err
	}
	if err := e.Close(); err != nil {
		return err
	}
	if s.Exchanges != int64(o.n) {
		return fmt.Errorf("%d exchanges were stored, and there are %d", o.n, s.Exchanges)
	}
	opened := gauge.NewTimer()
	if e, err = o.open(); err != nil {
		return err
	}
	opening := opened.Wall()
	if err := e.Close(); err != nil {
		return err
	}
	bits := 0.0
	for _, source := range g.Information(o.n) {
		bits += source.Bytes()
	}
	printFigures(os.Stdout, fmt.Sprintf("Ingest of %s exchanges, %d at a time, with log and bloom filters", thousands(int64(o.n)), o.batch), []figure{
		{"exchanges a second, per core", thousands(int64(1 / cpu)), "35,000", fmt.Sprintf("%.1f µs CPU each, besides %.1f of the generator", cpu*1e6, perEvent*1e6)},
		{"exchanges a second, as it went", thousands(int64(1 / wall)), "", "with the generator on the same core, and what else ran there"},
		{"bytes an exchange, in segments", fmt.Sprintf("%.1f", float64(s.Bytes-s.LogBytes)/n), "200", fmt.Sprintf("%d segments; %.0f bytes are information (see bench/store/generate)", s.Segments, bits)},
		{"bytes an exchange, through the log", fmt.Sprintf("%.0f", float64(logged)/n), "", "deleted when they are in segments"},
		{"most memory, MB", megabytes(resident), "", "resident, of the whole process"},
		{"opening it again, ms", fmt.Sprintf("%.1f", opening*1e3), "", ""},
	}, o.markdown)
	return nil
}

// shares measures the parts of ingest one by one, with the same exchanges.
func shares(ctx context.Context, o *options) error {
	runtime.GOMAXPROCS(1)
	n := min(o.n, segment.MaxRows)
	dir, err := os.MkdirTemp(filepath.Dir(o.dir), "shares-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	costs := map[string][]float64{}
	measure := func(what string, f func() error) error {
		runtime.GC()
		t := gauge.NewTimer()
		err := f()
		costs[what] = append(costs[what], t.CPU()/float64(n))
		return err
	}
	for range 3 {
		if err := o.shares(ctx, n, dir, measure); err != nil {
			return err
		}
	}
	// What else runs on the machine only adds: the least counts.
	cost := func(what string) float64 { return slices.Min(costs[what]) }
	generator := cost("generator")
	with, without := cost("segment"), cost("plain")
	parts := []figure{
		{what: "exchanges into rows", remark: "record.Batch.Add"},
		{what: "log", remark: "append, and a sync for each 10,000"},
		{what: "columns", remark: "decoding rows, dictionaries"},
		{what: "segments, without bloom filters", remark: "sorting, encoding, compressing, and a sync"},
		{what: "bloom filters", remark: ""},
	}
	values := []float64{cost("rows") - generator, cost("log"), cost("columns"), without, with - without}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	for i, v := range values {
		parts[i].value = fmt.Sprintf("%.2f µs, %2.0f %%", v*1e6, 100*v/sum)
	}
	parts = append(parts, figure{what: "together", value: fmt.Sprintf("%.2f µs      ", sum*1e6), aim: "28.5 µs"})
	printFigures(os.Stdout, fmt.Sprintf("CPU time an exchange, of the parts one by one: %s exchanges, the least of %d", thousands(int64(n)), len(costs["log"])), parts, o.markdown)
	return nil
}

func (o *options) shares(ctx context.Context, n int, dir string, measure func(string, func() error) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g := o.generator()
	if err := measure("generator", func() error {
		for range n {
			g.Next()
		}
		return nil
	}); err != nil {
		return err
	}
	g = o.generator()
	var batches [][]byte
	if err := measure("rows", func() error {
		var b record.Batch
		for i := 0; i < n; {
			b.Reset()
			for ; i < n && b.Len() < o.batch; i++ {
				b.Add(g.Next())
			}
			batches = append(batches, slices.Clone(b.Bytes()))
		}
		return nil
	}); err != nil {
		return err
	}
	logDir := filepath.Join(dir, "log")
	if err := measure("log", func() error {
		l, err := wal.Open(logDir, wal.Options{Header: record.Header()})
		if err != nil {
			return err
		}
		for i, b := range batches {
			if err := l.Append(b); err != nil {
				return err
			}
			if i%20 == 19 {
				if err := l.Sync(); err != nil {
					return err
				}
			}
		}
		return l.Close()
	}); err != nil {
		return err
	}
	if err := os.RemoveAll(logDir); err != nil {
		return err
	}
	builder := vector.NewBuilder()
	d, err := record.NewDecoder(record.Header())
	if err != nil {
		return err
	}
	if err := measure("columns", func() error {
		for _, b := range batches {
			if err := d.Each(b, func(r *record.Row) error { builder.Append(r); return nil }); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	batches = nil
	chunk := builder.Chunk()
	for what, options := range map[string][]segment.Option{"segment": nil, "plain": {segment.WithoutBloomFilters}} {
		path := filepath.Join(dir, what)
		if err := measure(what, func() error {
			f, err := os.Create(path)
			if err != nil {
				return err
			}
			w := segment.NewWriter(f, options...)
			return errors.Join(w.Write(chunk, chunk.Order()), w.Close(), f.Sync(), f.Close())
		}); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// retention deletes the older half of the store.
func retention(ctx context.Context, o *options) error {
	e, err := o.open()
	if err != nil {
		return err
	}
	before, err := e.Status(ctx)
	if err != nil {
		return err
	}
	t := gauge.NewTimer()
	d, err := e.Delete(ctx, store.Retention{MaxBytes: before.Bytes / 2})
	if err != nil {
		return err
	}
	took := t.Wall()
	after, err := e.Status(ctx)
	if err != nil {
		return err
	}
	if after.Exchanges+d.Exchanges != before.Exchanges {
		return fmt.Errorf("of %d exchanges %d were deleted, and %d are left", before.Exchanges, d.Exchanges, after.Exchanges)
	}
	printFigures(os.Stdout, "Retention: the older half by size", []figure{
		{"deleting, ms", fmt.Sprintf("%.1f", took*1e3), "", fmt.Sprintf("%s exchanges, %s MB, %d segments", thousands(d.Exchanges), megabytes(d.Bytes), before.Segments-after.Segments)},
	}, o.markdown)
	debug.FreeOSMemory()
	return e.Close()
}
