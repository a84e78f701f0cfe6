//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	pollInterval = 100 * time.Millisecond // between looks at a captor's processes
	// settled is for how long a captor must have done nothing to have caught up, and settling how long it may
	// need to begin, after it said that it captures.
	settled, settling = 300 * time.Millisecond, 300 * time.Millisecond
	// catchUp is how long a captor gets after a load, and as long again to end.
	catchUp = 10 * time.Second
	// tick is the unit of CPU times in /proc: USER_HZ is 100 for all programs.
	tick = 10 * time.Millisecond
	// attempts is how many turns a captor gets where other programs disturb.
	attempts = 3
	// maxComplaints is how much of a captor's standard error is kept.
	maxComplaints = 1 << 20
)

func cores() float64 { return float64(runtime.NumCPU()) }

// bench is where everything is measured.
type bench struct {
	o       options
	dir     string
	network *network
	server  *server
	tables  tables
	runs    int
}

// turn is one captor's turn under one load.
type turn struct {
	driven
	said
	wire   int           // packets that passed the interface
	cpu    time.Duration // user and system of the captor and its children
	others time.Duration // of the server and the load
	// idle is how much of the cores was, and elsewhere how much other programs and the kernel's own threads had,
	// during the load.
	idle, elsewhere float64
	behind          time.Duration // how long the captor was busy after the load
	memory          memory
	found           int
	killed          bool
}

// load gives each captor its turns under a load, and prints the table.
func (b *bench) load(ctx context.Context, l *load, captors []*captor) error {
	rows := make([]*row, len(captors))
	for i, c := range captors {
		rows[i] = &row{captor: c}
	}
	for round := range b.o.rounds {
		for i := range captors {
			r := rows[(i+round)%len(captors)] // nobody always comes after the same
			fmt.Fprintf(os.Stderr, "%s, round %d: %s...\n", l.name, round+1, r.captor.name)
			t, err := b.quiet(ctx, r.captor, l)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				fmt.Fprintf(os.Stderr, "bench/live: %s: %v\n", r.captor.name, err)
				r.failed++
			}
			r.turns = append(r.turns, t)
		}
	}
	b.tables.load(l, rows)
	return nil
}

// quiet measures one captor under one load, again if other programs kept the machine busy, as long as the user
// wants that. It returns the turn with the least of that.
func (b *bench) quiet(ctx context.Context, c *captor, l *load) (best *turn, err error) {
	for range attempts {
		t, err := b.turn(ctx, c, l)
		if err != nil {
			return nil, err
		}
		if best == nil || t.elsewhere < best.elsewhere {
			best = t
		}
		if b.o.quiet == 0 || 100*best.elsewhere <= b.o.quiet {
			break
		}
	}
	return best, nil
}

// turn measures one captor under one load.
func (b *bench) turn(ctx context.Context, c *captor, l *load) (*turn, error) {
	b.runs++
	dir := filepath.Join(b.dir, fmt.Sprintf("run-%d", b.runs))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var p *process
	if c.name != none {
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			return nil, err
		}
		defer out.Close()
		if p, err = startCaptor(ctx, c, c.args(b.network.name), dir, out); err != nil {
			return nil, err
		}
		defer p.kill()
	}
	packets, err := b.network.packets()
	if err != nil {
		return nil, err
	}
	var t turn
	others, own, idle, begin := b.server.cpu(), p.used(), idleTime(), time.Now()
	if t.driven, err = b.drive(ctx, l, b.o.time); err != nil {
		return nil, err
	}
	wall := time.Since(begin).Seconds()
	t.others = t.driven.cpu + b.server.cpu() - others
	t.idle = (idleTime() - idle).Seconds() / wall
	t.elsewhere = max(cores()-t.idle-(t.others+p.used()-own).Seconds()/wall, 0)
	after, err := b.network.packets()
	if err != nil {
		return nil, err
	}
	t.wire = int(after - packets)
	if p == nil {
		return &t, nil
	}
	t.behind = p.catchUp(ctx)
	t.cpu, t.memory, t.killed = p.stop()
	text := p.complaints.String()
	if c.report != "" {
		report, err := os.ReadFile(filepath.Join(dir, c.report))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		text += string(report)
	}
	t.said = c.said(text)
	if c.found != nil {
		if t.found, err = c.found(dir); err != nil {
			return nil, err
		}
	}
	return &t, nil
}

// process is a captor that runs.
type process struct {
	cmd        *exec.Cmd
	complaints *complaints
	exited     chan struct{} // closed when it has

	lock   sync.Mutex
	memory memory
	cpu    time.Duration
	active time.Time // when it was last seen to use CPU time
}

// startCaptor starts a captor and returns when it captures. Its standard output is out.
func startCaptor(ctx context.Context, c *captor, args []string, dir string, out *os.File) (*process, error) {
	p := &process{complaints: &complaints{mark: c.ready, marked: make(chan struct{})}, exited: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, c.program, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, p.complaints
	p.cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+dir, "LC_ALL=C")
	p.cmd.WaitDelay = patience
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // for signals to all of it, as a terminal sends them
	p.cmd.Cancel = func() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait() // how it ended is in its ProcessState
		close(p.exited)
	}()
	go p.watch()
	select {
	case <-p.complaints.marked:
	case <-p.exited:
		return nil, fmt.Errorf("it ended at once: %v\n%s", p.cmd.ProcessState, p.complaints)
	case <-time.After(patience):
		p.kill()
		return nil, fmt.Errorf("it doesn't say %q\n%s", c.ready, p.complaints)
	}
	time.Sleep(settling)
	return p, nil
}

// used returns the CPU time that the captor has used so far; nothing if there is none.
func (p *process) used() time.Duration {
	if p == nil {
		return 0
	}
	cpu, _ := tree(p.cmd.Process.Pid)
	return cpu
}

// watch looks at the captor's processes until it has exited. What a process says of itself at its end won't
// do: Linux starts its peak of memory with that of its parent, and of killed children it hears nothing.
func (p *process) watch() {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		select {
		case <-p.exited:
			return
		case <-poll.C:
			cpu, m := tree(p.cmd.Process.Pid)
			p.lock.Lock()
			if cpu > p.cpu+tick { // an idle program's timers take some
				p.active, p.cpu = time.Now(), cpu
			}
			p.memory = p.memory.with(m)
			p.lock.Unlock()
		}
	}
}

// catchUp waits until the captor has nothing to do any more, and returns how long that took.
func (p *process) catchUp(ctx context.Context) time.Duration {
	begin := time.Now()
	for time.Since(begin) < catchUp && ctx.Err() == nil {
		time.Sleep(pollInterval)
		p.lock.Lock()
		active := p.active
		p.lock.Unlock()
		if last := max(active.Sub(begin), 0); time.Since(begin) >= last+settled {
			return last
		}
	}
	return time.Since(begin)
}

// stop ends the captor as Ctrl-C does.
func (p *process) stop() (cpu time.Duration, m memory, killed bool) {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT) // fails if it has ended by itself
	select {
	case <-p.exited:
	case <-time.After(catchUp):
		killed = true
		p.kill()
	}
	p.lock.Lock()
	defer p.lock.Unlock()
	if s := p.cmd.ProcessState; s != nil {
		cpu = s.UserTime() + s.SystemTime()
	}
	return max(cpu, p.cpu), p.memory, killed
}

// kill ends the captor at once.
func (p *process) kill() {
	select {
	case <-p.exited:
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // fails if it has ended in between
		<-p.exited
	}
}

// complaints keeps the beginning of what is written to it, and tells when a mark is in it.
type complaints struct {
	mark   string
	marked chan struct{} // closed when the mark has come

	lock sync.Mutex
	text bytes.Buffer
	seen bool
}

func (c *complaints) Write(b []byte) (int, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.text.Write(b[:min(len(b), maxComplaints-c.text.Len())])
	if !c.seen && bytes.Contains(c.text.Bytes(), []byte(c.mark)) {
		c.seen = true
		close(c.marked)
	}
	return len(b), nil
}

func (c *complaints) String() string {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.text.String()
}

// memory is the most memory that processes had, in bytes, each its own most.
type memory struct{ resident, anonymous int64 }

func (m memory) with(n memory) memory {
	return memory{max(m.resident, n.resident), max(m.anonymous, n.anonymous)}
}

// tree adds up the CPU time and the memory of a process and its descendants.
func tree(root int) (cpu time.Duration, m memory) {
	parents := map[int]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			parents[pid] = statField(readStat(pid), 4)
		}
	}
	for pid := range parents {
		for up := pid; up > 1; up = parents[up] {
			if up != root {
				continue
			}
			stat := readStat(pid)
			for field := 14; field <= 17; field++ { // utime, stime, and those of children that ended
				cpu += time.Duration(statField(stat, field)) * tick
			}
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // gone, if it has ended
			m.resident += statusBytes(status, "VmHWM:")
			m.anonymous += statusBytes(status, "RssAnon:")
			break
		}
	}
	return cpu, m
}

func readStat(pid int) []byte {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // gone, if it has ended
	return stat
}

// statField returns a numeric field of /proc/PID/stat, numbered from 1 as in proc_pid_stat(5), after the
// second; 0 if it isn't there.
func statField(stat []byte, field int) int {
	_, after, _ := strings.Cut(string(stat[max(bytes.LastIndexByte(stat, ')'), 0):]), ") ")
	fields := strings.Fields(after)
	if field-3 >= len(fields) {
		return 0
	}
	n, _ := strconv.Atoi(fields[field-3])
	return n
}

// idleTime returns for how long the machine's cores have been idle, added up.
func idleTime() time.Duration {
	b, _ := os.ReadFile("/proc/stat")
	first, _, _ := bytes.Cut(b, []byte("\n"))
	fields := strings.Fields(string(first))
	if len(fields) < 6 {
		return 0
	}
	idle, _ := strconv.Atoi(fields[4])
	waiting, _ := strconv.Atoi(fields[5])
	return time.Duration(idle+waiting) * tick
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
