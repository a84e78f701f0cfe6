//go:build linux

// Command live measures culprit beside other programs that capture, live and under the same load: nginx
// answers in a network namespace of its own, wrk or a generator of ours asks it over a pair of virtual
// interfaces or over the loopback, and one captor after the other watches. It prints a table for each load,
// and how long after an answer its line is there. It asserts nothing.
//
//	go run ./bench/live                         # every load and captor, 3 rounds of 5 s: a quarter of an hour
//	go run ./bench/live -time 2s -rounds 1      # a quick look
//	go run ./bench/live -on lo -loads flat,short -captors culprit,tcpdump
//	go run ./bench/live -md                     # tables as Markdown
//
// As root it makes network, process and mount namespaces; as anybody else it makes them in a user namespace,
// where the system allows that. All processes are in the process namespace, so that none outlives it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

type options struct {
	time    time.Duration
	rounds  int
	on      string
	loads   string
	captors string
	rate    float64
	idle    float64
	large   float64
	quiet   float64
	latency bool
	culprit string
	md      bool
}

const (
	// inNamespace is set in the environment of this program's second life, within the namespaces, to the
	// folder that is this run's.
	inNamespace = "CULPRIT_BENCH_NAMESPACE"
	// ordinary is the user in a user namespace: one that isn't root, or tcpdump and nginx would want to become
	// others, of which there are none.
	ordinary = 1000
)

// needed are the capabilities (linux/capability.h) of that user: to bind port 80, to make interfaces, to
// capture, to look into processes, to make namespaces and to mount.
var needed = []uintptr{10, 12, 13, 19, 21}

func main() {
	if order := os.Getenv(generatorOrder); order != "" {
		if err := generator(order); err != nil {
			fmt.Fprintln(os.Stderr, "bench/live: generator:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.DurationVar(&o.time, "time", 5*time.Second, "how long each load lasts; at most 1m")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each captor has its turn under each load")
	flag.StringVar(&o.on, "on", "veth", "where to capture: veth (server's end of a pair) or lo")
	flag.StringVar(&o.loads, "loads", "", "only these loads: paced, flat, large, short, with commas between, or none")
	flag.StringVar(&o.captors, "captors", "", "only these captors: beginnings of names, with commas between")
	flag.Float64Var(&o.rate, "rate", 0, "requests a second of the paced load; 0 measures which leaves -idle")
	flag.Float64Var(&o.idle, "idle", 30, "percent of one core that the paced load leaves idle, all others busy")
	flag.Float64Var(&o.large, "large", 200, "requests a second of the load with large answers")
	flag.Float64Var(&o.quiet, "quiet", 0, "repeat turns during which other programs had more than this percent of a core, twice at most; 0 never")
	flag.BoolVar(&o.latency, "latency", true, "measure too how late the captors' lines are")
	flag.StringVar(&o.culprit, "culprit", "", "the culprit to measure; empty builds ./cmd/culprit")
	flag.BoolVar(&o.md, "md", false, "print Markdown")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	status, err := start(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/live:", err)
	}
	os.Exit(status)
}

// start runs the measurements in namespaces of their own, and returns the exit status.
func start(ctx context.Context, o options) (int, error) {
	if err := o.check(); err != nil {
		return 2, err
	}
	if dir := os.Getenv(inNamespace); dir != "" {
		if err := run(ctx, o, dir); err != nil {
			return 1, err
		}
		return 0, nil
	}
	dir, err := os.MkdirTemp("", "culprit-bench-live-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	args := os.Args[1:]
	if o.culprit == "" {
		o.culprit = filepath.Join(dir, "culprit")
		if err := build(ctx, o.culprit); err != nil {
			return 1, err
		}
		args = append([]string{"-culprit", o.culprit}, args...)
	}
	return again(ctx, dir, args)
}

func (o *options) check() error {
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	case o.time <= 0 || o.time > time.Minute:
		return fmt.Errorf("-time %v: must be more than 0 and at most 1m", o.time)
	case o.rounds < 1 || o.rounds > 100:
		return fmt.Errorf("-rounds %d: must be from 1 to 100", o.rounds)
	case o.on != "veth" && o.on != "lo":
		return fmt.Errorf("-on %q: must be veth or lo", o.on)
	case o.rate < 0 || o.large <= 0 || o.idle < 0 || o.quiet < 0:
		return errors.New("-rate, -large, -idle and -quiet mustn't be negative, nor -large 0")
	case o.idle >= 100*cores():
		return fmt.Errorf("-idle %g: there are %g cores", o.idle, cores())
	}
	return nil
}

// build builds culprit as it is released.
func build(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", path, "./cmd/culprit")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./cmd/culprit: %w (run this from the root of the checkout)\n%s", err, out)
	}
	return nil
}

// again runs this program in new namespaces. It is the first process there: when it ends, or when we do,
// the kernel ends all others.
func again(ctx context.Context, dir string, args []string) (int, error) {
	runtime.LockOSThread() // the child is told of the death of the thread that made it
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), inNamespace+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: ordinary, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: ordinary, HostID: os.Getegid(), Size: 1}}
		cmd.SysProcAttr.AmbientCaps = needed
	}
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("making namespaces: %w (run this as root, or allow user namespaces)", err)
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Signal(os.Interrupt) })()
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return 1, err
	}
	if !cmd.ProcessState.Exited() {
		return 1, fmt.Errorf("the measurements ended: %v", cmd.ProcessState)
	}
	return cmd.ProcessState.ExitCode(), nil
}

// run sets everything up within the namespaces, and measures.
func run(ctx context.Context, o options, dir string) error {
	// Files of the captors must open for them when they are nobody.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	n, err := newNetwork(o.on)
	if err != nil {
		return err
	}
	server, err := startServer(ctx, n, dir)
	if err != nil {
		return err
	}
	b := &bench{o: o, dir: dir, network: n, server: server, tables: tables{os.Stdout, o.md}}
	captors, err := available(o)
	if err != nil {
		return err
	}
	loads, err := b.wanted(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("Measured on %s of %s; nginx on port 80 and the load in the same machine.\n", n.about, machine())
	if len(loads) > 0 {
		fmt.Print(legend)
	}
	for _, l := range loads {
		if err := b.load(ctx, l, captors); err != nil {
			return err
		}
	}
	if o.latency {
		return b.latencies(ctx, captors)
	}
	return nil
}

// machine says what the figures were measured on.
func machine() string {
	text := fmt.Sprintf("%d cores, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, ok := strings.Cut(string(info), "model name"); ok {
			name, _, _ := strings.Cut(after, "\n")
			text += ", " + strings.TrimLeft(name, "\t :")
		}
	}
	return text
}
