// Command ship measures what it costs to deliver exchanges: to receivers that take everything and keep nothing, each in a
// process of its own, and to one that is away.
//
//	go run ./bench/ship            # 400,000 exchanges an output: some minutes
//	go run ./bench/ship -short     # 40,000
//	go run ./bench/ship -only elastic -profile /tmp/profiles
//
// The figure is the CPU time of the process that delivers, on one core (GOMAXPROCS=1), with what it takes to make up the
// exchanges taken off: encoding, queueing, compressing and sending.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/culprit-http/culprit/bench/gauge"
	"github.com/culprit-http/culprit/bench/store/generate"
	"github.com/culprit-http/culprit/internal/ship"
	"github.com/culprit-http/culprit/internal/ship/spool"
)

type options struct {
	n        int
	short    bool
	only     string
	profile  string
	markdown bool
	// Of the processes that the program starts itself.
	receive, deliver, target string
	disk                     bool
	dead                     time.Duration
}

func main() {
	var o options
	flag.IntVar(&o.n, "n", 400_000, "how many exchanges each output gets")
	flag.BoolVar(&o.short, "short", false, "40,000 exchanges, and a receiver that is away for seconds")
	flag.StringVar(&o.only, "only", "", "only these outputs, with commas between")
	flag.StringVar(&o.profile, "profile", "", "a folder for CPU profiles")
	flag.BoolVar(&o.markdown, "md", false, "print Markdown")
	flag.StringVar(&o.receive, "receive", "", "be a receiver (the program does that itself)")
	flag.StringVar(&o.deliver, "deliver", "", "deliver to one (the program does that itself)")
	flag.StringVar(&o.target, "target", "", "where it is")
	flag.BoolVar(&o.disk, "disk", false, "with a spool")
	flag.DurationVar(&o.dead, "dead", 0, "deliver for so long to a receiver that is away")
	flag.Parse()
	if o.short {
		o.n = min(o.n, 40_000)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case o.receive != "":
		err = receive(o.receive)
	case o.deliver != "":
		err = deliver(&o)
	default:
		err = measure(ctx, &o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ship:", err)
		os.Exit(1)
	}
}

// figures are what one process that delivers has measured. Times are in seconds, sizes in bytes.
type figures struct {
	Output     string
	Disk       bool
	Exchanges  int
	CPU, Wall  float64
	Generating float64
	Peak       int64
	Stats      ship.Stats
}

// rate returns how many exchanges one core delivers in a second.
func (f *figures) rate() float64 { return float64(f.Exchanges) / max(f.CPU-f.Generating, 1e-9) }

// outputs are what is measured, in their order.
var outputs = []string{"elastic", "logstash", "beats", "kafka", "otlp"}

// measure runs all measurements.
func measure(ctx context.Context, o *options) error {
	rows := [][]string{{"output", "queue", "exchanges/s a core", "us each", "wall s", "bytes each", "peak MiB"}}
	for _, name := range outputs {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), name) {
			continue
		}
		for _, disk := range []bool{false, true} {
			f, err := against(ctx, o, name, disk)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if f.Stats.Delivered != uint64(f.Exchanges) {
				return fmt.Errorf("%s: %d of %d exchanges were delivered: %+v", name, f.Stats.Delivered, f.Exchanges, f.Stats)
			}
			rows = append(rows, []string{name, queueName(disk), fmt.Sprintf("%.0f", f.rate()), fmt.Sprintf("%.1f", 1e6/f.rate()), fmt.Sprintf("%.1f", f.Wall),
				fmt.Sprintf("%.0f", float64(f.Stats.Bytes)/float64(f.Exchanges)), fmt.Sprintf("%.0f", float64(f.Peak)/(1<<20))})
		}
	}
	gauge.PrintRows(os.Stdout, fmt.Sprintf("Delivering %d exchanges on one core", o.n), rows, o.markdown)
	rows = [][]string{{"output", "queue", "exchanges", "peak MiB", "waiting", "dropped", "queue MiB", "bytes each in it"}}
	during := 30 * time.Second
	if o.short {
		during = 5 * time.Second
	}
	for _, disk := range []bool{false, true} {
		f, err := run(ctx, o, "elastic", "http://127.0.0.1:1", disk, "-dead", during.String())
		if err != nil {
			return err
		}
		q := f.Stats.Queue
		rows = append(rows, []string{"elastic", queueName(disk), fmt.Sprint(f.Exchanges), fmt.Sprintf("%.0f", float64(f.Peak)/(1<<20)), fmt.Sprint(f.Stats.Waiting),
			fmt.Sprint(f.Stats.Lost + uint64(q.Dropped)), fmt.Sprintf("%.0f", float64(q.Bytes)/(1<<20)), fmt.Sprintf("%.0f", float64(q.Bytes)/float64(max(f.Stats.Waiting, 1)))})
	}
	gauge.PrintRows(os.Stdout, "The receiver is away for "+during.String(), rows, o.markdown)
	return nil
}

func queueName(disk bool) string {
	if disk {
		return "disk"
	}
	return "memory"
}

// against delivers to a receiver that is started for it.
func against(ctx context.Context, o *options, name string, disk bool) (*figures, error) {
	c := exec.CommandContext(ctx, os.Args[0], "-receive", name) // what it says of connections is of no interest
	in, err := c.StdinPipe()                                    // at whose end the receiver ends
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	defer c.Wait()
	defer in.Close()
	target, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the receiver didn't start: %w", err)
	}
	return run(ctx, o, name, strings.TrimSpace(target), disk)
}

// run delivers in a process of its own.
func run(ctx context.Context, o *options, name, target string, disk bool, more ...string) (*figures, error) {
	args := append([]string{"-deliver", name, "-target", target, "-n", fmt.Sprint(o.n), fmt.Sprintf("-disk=%v", disk), "-profile", o.profile}, more...)
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append(os.Environ(), "GOMAXPROCS=1")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, err
	}
	f := &figures{}
	return f, json.Unmarshal(out, f)
}

// deliver delivers made-up exchanges, and prints what that took.
func deliver(o *options) error {
	f := figures{Output: o.deliver, Disk: o.disk, Exchanges: o.n}
	g := generate.New(generate.Options{Seed: 1, Start: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixNano()})
	t := gauge.NewTimer()
	for range o.n {
		g.Next()
	}
	f.Generating = t.CPU()

	k, ok := kinds[o.deliver]
	if !ok {
		return errors.New("there is no such output")
	}
	made, err := k.deliver(o.target)
	if err != nil {
		return err
	}
	queue := ship.Memory(64 << 20)
	if o.disk {
		dir, err := os.MkdirTemp("", "ship")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if queue, err = spool.Open(dir, spool.Options{MaxBytes: 8 << 30}); err != nil {
			return err
		}
	}
	out, err := ship.New(ship.Options{Name: o.deliver, Encoder: made.encoder, Queue: queue, Sender: made.sender, Waits: o.dead == 0,
		Say: func(format string, args ...any) {
			if o.dead == 0 {
				fmt.Fprintf(os.Stderr, format+"\n", args...)
			}
		}})
	if err != nil {
		return err
	}
	if o.profile != "" && o.dead == 0 {
		p, err := os.Create(fmt.Sprintf("%s/%s-%s.prof", o.profile, o.deliver, queueName(o.disk)))
		if err != nil {
			return err
		}
		defer p.Close()
		if err := pprof.StartCPUProfile(p); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	g = generate.New(generate.Options{Seed: 1, Start: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixNano()})
	gauge.ResetPeak()
	t = gauge.NewTimer()
	if o.dead > 0 {
		f.Exchanges = 0
		for until := time.Now().Add(o.dead); time.Now().Before(until); f.Exchanges++ {
			if err := out.Exchange(g.Next()); err != nil {
				return err
			}
		}
		f.Stats = out.Stats()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err = out.End(ctx)
	} else {
		for range o.n {
			if err := out.Exchange(g.Next()); err != nil {
				return err
			}
		}
		err = out.Close()
		f.Stats = out.Stats()
	}
	f.CPU, f.Wall, f.Peak = t.CPU(), t.Wall(), gauge.PeakMemory()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(&f)
}

// receive is a receiver until standard input ends.
func receive(name string) error {
	k, ok := kinds[name]
	if !ok {
		return errors.New("there is no such output")
	}
	target, err := k.receive()
	if err != nil {
		return err
	}
	fmt.Println(target)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
