package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	runTimeout   = 20 * time.Minute     // of one run of one tool
	toolBudget   = time.Minute          // after which a tool isn't run again
	pollInterval = 5 * time.Millisecond // between looks at a process's memory
	startUpRuns  = 20
	exitLossy    = 3 // culprit's exit status when something was lost or undecodable
)

// result is what a tool did with a capture.
type result struct {
	tool   tool
	file   file
	cpu    time.Duration // user and system, the median of the runs
	memory memory        // the most of the runs
	found  int
}

// perSecond returns a rate of n things a CPU-second.
func (r *result) perSecond(n float64) float64 { return n / r.cpu.Seconds() }

func measure(ctx context.Context, t tool, c *benchCapture, runs int) (r result, err error) {
	r.tool, r.file = t, c.full
	if t.slow {
		r.file = c.part
	}
	if t.found != nil {
		if r.found, err = findings(ctx, t, r.file); err != nil {
			return r, err
		}
	}
	var cpu []time.Duration
	for begin := time.Now(); len(cpu) < runs && (len(cpu) == 0 || time.Since(begin) < toolBudget); {
		u, err := runOnce(ctx, t.command(r.file), nil)
		if err != nil {
			return r, err
		}
		cpu = append(cpu, u.cpu)
		r.memory = r.memory.with(u.memory)
	}
	r.cpu = median(cpu)
	return r, nil
}

// findings runs a tool and counts what it finds.
func findings(ctx context.Context, t tool, f file) (n int, err error) {
	in, out := io.Pipe()
	ran := make(chan error, 1)
	go func() {
		_, err := runOnce(ctx, t.command(f), out)
		out.CloseWithError(err)
		ran <- err
	}()
	n, err = count(in, t.found)
	in.CloseWithError(err)
	return n, errors.Join(err, <-ran)
}

// usage is what one run of a process cost.
type usage struct {
	wall, cpu time.Duration
	memory    memory
}

// runOnce runs a command on one core. Its output goes to out, or nowhere.
func runOnce(ctx context.Context, command []string, out io.Writer) (u usage, err error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	if taskset, err := exec.LookPath("taskset"); err == nil && runtime.GOOS == "linux" {
		command = append([]string{taskset, "-c", "0"}, command...)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &complaints
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return u, err
	}
	done, polled := make(chan struct{}), make(chan memory)
	go func() { polled <- watch(cmd.Process.Pid, done) }()
	err = cmd.Wait()
	u.wall = time.Since(begin)
	close(done)
	u.memory = <-polled
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() != exitLossy {
		return u, fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, complaints.Bytes())
	} else if err != nil && exit == nil {
		return u, err
	}
	u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return u, nil
}

// memory is the most memory that a process had, in bytes; 0 where the system doesn't tell.
type memory struct{ resident, anonymous int64 }

// watch looks at the memory of a process until done. The process's own account (ru_maxrss) won't do:
// Linux starts it with the memory of the parent.
func watch(pid int, done <-chan struct{}) (most memory) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return most
		case <-tick.C:
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // not there on other systems
			most = most.with(memory{statusBytes(status, "VmHWM:"), statusBytes(status, "RssAnon:")})
		}
	}
}

func (m memory) with(n memory) memory {
	return memory{max(m.resident, n.resident), max(m.anonymous, n.anonymous)}
}

// statusBytes returns a field of a /proc/PID/status (proc_pid_status(5)) that counts kB, in bytes.
func statusBytes(status []byte, field string) int64 {
	_, after, _ := bytes.Cut(status, []byte(field))
	value, _, _ := bytes.Cut(after, []byte(" kB"))
	n, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
	if err != nil {
		return 0
	}
	return n * 1024
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// startUp measures how long a tool takes for nothing: a capture without packets.
func startUp(ctx context.Context, tools []tool, o options) error {
	empty := filepath.Join(o.cache, "empty.pcap")
	header := make([]byte, pcapHeader)
	copy(header, "\xd4\xc3\xb2\xa1\x02\x00\x04\x00")
	header[18], header[20] = 4, 1 // snap length 262144, Ethernet
	if err := os.WriteFile(empty, header, 0o644); err != nil {
		return err
	}
	var rows [][]string
	for _, t := range tools {
		var wall []time.Duration
		for range startUpRuns {
			u, err := runOnce(ctx, t.command(file{path: empty}), nil)
			if err != nil {
				return err
			}
			wall = append(wall, u.wall)
		}
		rows = append(rows, []string{t.name, fmt.Sprintf("%.1f", median(wall).Seconds()*1000)})
	}
	fmt.Printf("\nStart-up: a capture without packets, median of %d runs\n\n", startUpRuns)
	printRows(os.Stdout, []string{"tool", "ms"}, rows, o.markdown)
	return nil
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
