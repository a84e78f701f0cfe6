// Command store measures the embedded store with generated exchanges: what it costs to keep them, how much room they take,
// and how long questions take. It prints a table with the aim beside each figure.
//
//	go run ./bench/store                                  # 5 million exchanges: some minutes, 1.5 GB in a temporary folder
//	go run ./bench/store -short                           # 300,000
//	go run ./bench/store -dir /data/store -keep           # leaves the store there
//	go run ./bench/store -dir /data/store -only queries   # asks the one that is there
//	go run ./bench/store -n 100000000                     # an hour, and 25 GB
//
// Each step runs in a process of its own, so that none has the memory of another. The steps that are measured on one
// core have GOMAXPROCS=1, and their figure is the CPU time of the process, since other programs don't change it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

type options struct {
	n         int
	dir       string
	keep      bool
	only      string
	short     bool
	seed      uint64
	rate      float64
	during    time.Duration
	profile   string
	step      string
	question  string
	runs      int
	batch     int
	markdown  bool
	tailBytes int64
}

// step is one part of the measurement.
type step struct {
	name string
	run  func(ctx context.Context, o *options) error
}

// steps are in the order in which they run.
func steps() []step {
	return []step{
		{"ingest", ingest}, {"shares", shares}, {"queries", queries}, {"during", during}, {"retention", retention},
	}
}

func main() {
	var o options
	flag.IntVar(&o.n, "n", 5_000_000, "how many exchanges are stored")
	flag.StringVar(&o.dir, "dir", "", "the folder of the store; empty: a temporary one")
	flag.BoolVar(&o.keep, "keep", false, "leave the store there, and the step retention out")
	flag.StringVar(&o.only, "only", "", "only these steps: ingest, shares, queries, during, retention, with commas between")
	flag.BoolVar(&o.short, "short", false, "300,000 exchanges, and a few seconds of questions during ingest")
	flag.Uint64Var(&o.seed, "seed", 1, "what decides all exchanges")
	flag.Float64Var(&o.rate, "rate", 20_000, "exchanges a second, during which questions are asked")
	flag.DurationVar(&o.during, "during", 30*time.Second, "how long questions are asked during ingest")
	flag.StringVar(&o.profile, "profile", "", "a folder for CPU profiles: one of ingest, and one of each question")
	flag.IntVar(&o.runs, "runs", 5, "how often each question is asked; the median counts")
	flag.IntVar(&o.batch, "batch", 500, "how many exchanges are appended at once")
	flag.BoolVar(&o.markdown, "md", false, "print Markdown")
	flag.Int64Var(&o.tailBytes, "tail", 0, "bytes of the tail; 0: the default")
	flag.StringVar(&o.step, "step", "", "run one step in this process (the program does that itself)")
	flag.StringVar(&o.question, "question", "", "ask one question once, and print how long it took (the program does that itself)")
	flag.Parse()
	if o.short {
		o.n, o.during = min(o.n, 300_000), min(o.during, 5*time.Second)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, &o); err != nil {
		fmt.Fprintln(os.Stderr, "bench/store:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) error {
	if o.step != "" {
		i := slices.IndexFunc(steps(), func(s step) bool { return s.name == o.step })
		if i < 0 {
			return fmt.Errorf("no step %q", o.step)
		}
		return steps()[i].run(ctx, o)
	}
	var wanted []string
	for _, s := range steps() {
		if o.only == "" && (s.name != "retention" || !o.keep) || slices.Contains(strings.Split(o.only, ","), s.name) {
			wanted = append(wanted, s.name)
		}
	}
	if len(wanted) == 0 {
		return fmt.Errorf("no step %q", o.only)
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "culprit-bench-store-")
		if err != nil {
			return err
		}
		defer func() {
			if !o.keep {
				_ = os.RemoveAll(dir)
			}
		}()
		o.dir = filepath.Join(dir, "store")
	}
	fmt.Printf("Measured on one core of %s.\n", machine())
	if o.keep {
		fmt.Printf("The store is %s.\n", o.dir)
	}
	for _, name := range wanted {
		if err := again(ctx, os.Stdout, "-step", name); err != nil {
			return err
		}
	}
	return nil
}

// again runs this program again, with the same flags and some more.
func again(ctx context.Context, out *os.File, more ...string) error {
	cmd, err := self(ctx, more...)
	if err != nil {
		return err
	}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(more, " "), err)
	}
	return nil
}

// ask has another process ask one question, once.
func ask(ctx context.Context, name string) (a asked, err error) {
	cmd, err := self(ctx, "-step", "queries", "-question", name)
	if err != nil {
		return a, err
	}
	out, err := cmd.Output()
	return a, errors.Join(err, json.Unmarshal(out, &a))
}

func self(ctx context.Context, more ...string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var args []string
	flag.Visit(func(f *flag.Flag) { args = append(args, "-"+f.Name+"="+f.Value.String()) })
	if d := flag.Lookup("dir"); d.Value.String() != "" {
		args = append(args, "-dir="+d.Value.String())
	}
	cmd := exec.CommandContext(ctx, path, append(args, more...)...)
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// machine says what the figures were measured on.
func machine() string {
	model := runtime.GOOS + "/" + runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, ok := strings.Cut(string(info), "model name"); ok {
			name, _, _ := strings.Cut(after, "\n")
			model += ", " + strings.TrimLeft(name, "\t :")
		}
	}
	return model + ", " + runtime.Version()
}
