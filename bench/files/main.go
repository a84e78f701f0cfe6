// Command files measures what it costs to write half-streams and the bodies of HTTP to files: culprit beside tcpflow, on the same captures,
// in turn. It makes the captures, so that they are the same anywhere.
//
//	go build -o culprit ./cmd/culprit && go run ./bench/files -culprit ./culprit
//
// Beside them, "least" is what it takes to read the capture and to write such files, with no work between: no program can be faster.
//
// CPU time is what is compared: user and system, of the process alone. The machine needn't be quiet for that, but it helps.
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/culprit-http/culprit/internal/synth"
)

// lossy is culprit's exit status when something was lost.
const lossy = 3

// reuse is for how long ext4 looks for other inodes than those of files that were just removed, which takes longer than all else: files are
// removed when a capture is done with, and then that time passes.
const reuse = 6 * time.Second

// load is a capture that is made for the measurement.
type load struct {
	name, about string
	// connections, each with exchanges, whose answers have bodies of about size bytes before they are compressed.
	connections, exchanges, size int
	gzip                         bool
}

var loads = []load{
	{"flows", "10,000 connections of one exchange, bodies of 1 KB", 10_000, 1, 1 << 10, false},
	{"small", "500 connections of 40 exchanges, bodies of 1 KB", 500, 40, 1 << 10, false},
	{"middle", "200 connections of 20 exchanges, bodies of 64 KB", 200, 20, 64 << 10, false},
	{"large", "10 connections of 4 exchanges, bodies of 10 MB", 10, 4, 10 << 20, false},
	{"gzip", "500 connections of 20 exchanges, bodies of 30 KB, compressed", 500, 20, 30 << 10, true},
	{"gzip-large", "10 connections of 4 exchanges, bodies of 10 MB, compressed", 10, 4, 10 << 20, true},
}

// program is what is measured.
type program struct {
	name string
	args func(capture, folder string) []string
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "files:", err)
		os.Exit(1)
	}
}

func run() error {
	culprit := flag.String("culprit", "culprit", "the program to measure")
	cache := flag.String("cache", filepath.Join(os.TempDir(), "culprit-bench-files"), "the folder for captures")
	folders := flag.String("to", "/dev/shm,"+os.TempDir(), "the folders to write in, one after the other")
	workers := flag.String("workers", "1", "culprit's --workers: with more, it is sooner done, and takes more CPU time")
	pairs := flag.Int("pairs", 5, "how often each program runs")
	only := flag.String("only", "", "the names of the captures, with commas between them; empty for all")
	more := flag.String("options", "", "options of -o files, as in 'report=no'")
	floor := flag.String("floor", "", "write files of the sizes in this list to the folder that follows, after reading the capture behind it (the program does that itself)")
	keep := flag.String("keep", "", "write what culprit makes here, once, and measure nothing")
	flag.Parse()
	if *floor != "" {
		return least(*floor, flag.Arg(0), flag.Arg(1))
	}
	if err := os.MkdirAll(*cache, 0o700); err != nil {
		return err
	}
	target := func(folder string) string {
		if *more != "" {
			return "files=" + folder + "?" + *more
		}
		return "files=" + folder
	}
	programs := []program{
		{"tcpflow", func(capture, folder string) []string {
			return []string{"tcpflow", "-q", "-e", "http", "-r", capture, "-o", folder}
		}},
		{"culprit", func(capture, folder string) []string {
			return []string{*culprit, "trace", "--workers", *workers, "-r", capture, "-o", target(folder)}
		}},
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "capture\tMB\tto\ttcpflow CPU s\tculprit CPU s\tratio\ttcpflow wall s\tculprit wall s\ttcpflow MiB\tculprit MiB\tbodies\tours\tleast CPU s\t")
	for _, l := range loads {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), l.name) {
			continue
		}
		capture, size, err := l.capture(*cache)
		if err != nil {
			return err
		}
		if *keep != "" {
			_, err := once(programs[1].args(capture, filepath.Join(*keep, l.name)))
			return err
		}
		for _, parent := range strings.Split(*folders, ",") {
			var all [2][]usage
			var made [2]int
			var bare []usage
			var done []string
			for range *pairs {
				for i, p := range programs {
					folder, err := os.MkdirTemp(parent, "files-*")
					if err != nil {
						return err
					}
					u, err := once(p.args(capture, folder))
					if err == nil {
						made[i], err = count(folder)
					}
					if err == nil && i == 1 {
						var f usage
						var like string
						f, like, err = l.bare(*cache, capture, folder, parent)
						bare, done = append(bare, f), append(done, like)
					}
					done = append(done, folder)
					if err != nil {
						return fmt.Errorf("%s: %w", p.name, err)
					}
					all[i] = append(all[i], u)
				}
			}
			for _, folder := range done {
				if err := os.RemoveAll(folder); err != nil {
					return err
				}
			}
			time.Sleep(reuse)
			a, b := middle(all[0]), middle(all[1])
			fmt.Fprintf(table, "%s\t%.0f\t%s\t%.2f\t%.2f\t%.1f\t%.2f\t%.2f\t%d\t%d\t%d\t%d\t%.2f\t\n", l.name, float64(size)/1e6, parent, a.cpu.Seconds(), b.cpu.Seconds(),
				a.cpu.Seconds()/b.cpu.Seconds(), a.wall.Seconds(), b.wall.Seconds(), a.memory>>20, b.memory>>20, made[0], made[1], middle(bare).cpu.Seconds())
			table.Flush()
		}
	}
	return nil
}

// bare measures what it takes to read the capture and to write files of the same sizes as those in a folder, and nothing else: what any program
// needs that makes them.
func (l *load) bare(cache, capture, like, parent string) (u usage, folder string, err error) {
	var sizes bytes.Buffer
	err = filepath.WalkDir(like, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintf(&sizes, "%s %d\n", d.Name(), info.Size())
		}
		return err
	})
	if err != nil {
		return u, "", err
	}
	list := filepath.Join(cache, l.name+".sizes")
	if err := os.WriteFile(list, sizes.Bytes(), 0o600); err != nil {
		return u, "", err
	}
	folder, err = os.MkdirTemp(parent, "files-*")
	if err != nil {
		return u, "", err
	}
	self, err := os.Executable()
	if err == nil {
		u, err = once([]string{self, "-floor", list, folder, capture})
	}
	return u, folder, err
}

// piece is how much is read and written at a time, in bytes.
const piece = 256 << 10

// least reads a capture and writes files, with the fewest system calls.
func least(list, folder, capture string) error {
	in, err := os.Open(capture)
	if err != nil {
		return err
	}
	defer in.Close()
	b := make([]byte, piece)
	for err == nil {
		_, err = in.Read(b)
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	if err := syscall.Chdir(folder); err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		name, length, _ := strings.Cut(strings.TrimSpace(line), " ")
		left, err := strconv.Atoi(length)
		if err != nil {
			return err
		}
		fd, err := syscall.Open(name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		for left > 0 && err == nil {
			var n int
			n, err = syscall.Write(fd, b[:min(left, len(b))])
			left -= n
		}
		if err := errors.Join(err, syscall.Close(fd)); err != nil {
			return err
		}
	}
	return nil
}

// usage is what one run cost: times, and the largest resident size in bytes.
type usage struct {
	cpu, wall time.Duration
	memory    int64
}

// once runs a program.
func once(command []string) (u usage, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	begin := time.Now()
	err = cmd.Run()
	u.wall = time.Since(begin)
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != lossy) {
		return u, fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, complaints.Bytes())
	}
	u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.memory = r.Maxrss << 10
	}
	return u, nil
}

// middle returns the median of each figure.
func middle(all []usage) (m usage) {
	cpu, wall := make([]time.Duration, 0, len(all)), make([]time.Duration, 0, len(all))
	for _, u := range all {
		cpu, wall = append(cpu, u.cpu), append(wall, u.wall)
		m.memory = max(m.memory, u.memory)
	}
	slices.Sort(cpu)
	slices.Sort(wall)
	m.cpu, m.wall = cpu[len(cpu)/2], wall[len(wall)/2]
	return m
}

// count counts the files of a folder that hold bodies.
func count(folder string) (n int, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), "-HTTPBODY-") {
			n++
		}
		return err
	})
	return n, err
}

// capture makes the capture, if it isn't there, and returns its path and size.
func (l *load) capture(cache string) (path string, size int64, err error) {
	path = filepath.Join(cache, fmt.Sprintf("%s-%d-%d-%d.pcap", l.name, l.connections, l.exchanges, l.size))
	if info, err := os.Stat(path); err == nil {
		return path, info.Size(), nil
	}
	f, err := os.Create(path + ".part")
	if err != nil {
		return "", 0, err
	}
	if err := errors.Join(l.write(f), f.Close()); err != nil {
		return "", 0, err
	}
	if err := os.Rename(path+".part", path); err != nil {
		return "", 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", 0, err
	}
	return path, info.Size(), nil
}

// write makes the capture. No two bodies are the same, since tcpflow leaves out what it has seen before.
func (l *load) write(w io.Writer) error {
	r := rand.New(rand.NewPCG(7, 7))
	s := synth.New(w, synth.Options{Seed: 7, Nano: true})
	server := netip.MustParseAddrPort("10.0.0.2:80")
	path := synth.Path{Client: 2 * time.Millisecond, Server: 200 * time.Microsecond}
	for i := range l.connections {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 13), byte(i >> 5)}), uint16(40000+i))
		c := s.Dial(time.Duration(i)*time.Millisecond, client, server, path)
		for k := range l.exchanges {
			request := fmt.Appendf(nil, "GET /%d/%d HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", i, k)
			head, body, err := l.answer(r)
			if err != nil {
				return err
			}
			c.Exchange(request, time.Millisecond, head, body)
		}
		c.Close(synth.Client)
		c.RecvEnd(synth.Server)
		c.Close(synth.Server)
	}
	return s.Run()
}

// words are what texts are made of.
var words = strings.Fields("the quick brown fox jumps over a lazy dog while {\"id\": 17, \"name\": \"Bell, brass\"}, orders are <b>shipped</b> to Zürich and Genève")

// answer makes a response.
func (l *load) answer(r *rand.Rand) (head, body []byte, err error) {
	n := l.size/2 + r.IntN(l.size)
	text := make([]byte, 0, n+32)
	for len(text) < n {
		text = append(append(text, words[r.IntN(len(words))]...), ' ')
		if r.IntN(8) == 0 {
			text = fmt.Appendf(text, "%d ", r.Uint32())
		}
	}
	more := ""
	if l.gzip {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(text); err != nil {
			return nil, nil, err
		}
		if err := z.Close(); err != nil {
			return nil, nil, err
		}
		text, more = b.Bytes(), "Content-Encoding: gzip\r\n"
	}
	head = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/html; charset=utf-8\r\n%sContent-Length: %d\r\n\r\n", more, len(text))
	return head, text, nil
}
