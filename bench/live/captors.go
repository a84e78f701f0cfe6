//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// captor is a program that captures. It is started in a folder of its own; what it writes to standard output is
// in the file "out" there.
type captor struct {
	name, program string
	// args gives the arguments to capture on an interface until SIGINT.
	args func(on string) []string
	// ready is what it says on standard error when it captures.
	ready string
	// packets, dropped and complete find numbers in what it says at its end; nil where it doesn't tell.
	packets, dropped, complete *regexp.Regexp
	// within: the dropped packets are among the packets.
	within bool
	// silent: no word of drops means none.
	silent bool
	// report is a file that it writes at its end, to look at as well.
	report string
	// found counts the exchanges in what it wrote to its folder; nil where it finds none.
	found func(dir string) (int, error)
	// live gives the arguments to print to standard output at once, and id finds the number in a line that
	// shows an answer to /id/N; nil where it can't.
	live func(on string) []string
	id   *regexp.Regexp
	// remark is for the table.
	remark string
}

// none is no captor at all: what the load reaches alone.
const none = "none"

var (
	statsPackets  = regexp.MustCompile(`(?m)^packets\s+received ([\d,]+)`)
	statsDropped  = regexp.MustCompile(`(?m)^packets .*\bdropped ([\d,]+)`)
	statsComplete = regexp.MustCompile(`(?m)^exchanges .*\bcomplete ([\d,]+)`)
	idInTarget    = regexp.MustCompile(`/id/(\d+)`)
	idInHeader    = regexp.MustCompile(`X-Id: (\d+)`)
)

// captors returns every captor that is known.
func captors(culprit string) []*captor {
	trace := func(output string) func(string) []string {
		return func(on string) []string { return []string{"trace", "-i", on, "-o", output, "--stats", "port", "80"} }
	}
	return []*captor{
		{
			name: "culprit -o line", program: culprit, args: trace("line"), ready: "capturing on",
			packets: statsPackets, dropped: statsDropped, within: true, complete: statsComplete, found: lines(""),
			live: trace("line"), id: idInTarget,
		},
		{
			name: "culprit -o ndjson", program: culprit, args: trace("ndjson"), ready: "capturing on",
			packets: statsPackets, dropped: statsDropped, within: true, complete: statsComplete, found: lines(`"status_code":`),
			live: trace("ndjson"), id: idInTarget,
		},
		{
			name: "culprit serve", program: "sh", args: serve(culprit, ""), ready: "capturing on",
			packets: statsPackets, dropped: statsDropped, within: true, complete: statsComplete, found: stored(culprit),
			remark: "into a store",
		},
		{
			name: "culprit serve, asked", program: "sh", args: serve(culprit, questions), ready: "capturing on",
			packets: statsPackets, dropped: statsDropped, within: true, complete: statsComplete, found: stored(culprit),
			remark: "the same while questions are asked without a pause; their CPU time counts, too",
		},
		{
			name: "tcpdump to culprit", program: "sh", args: pipe(culprit), ready: "listening on",
			packets: statsPackets, dropped: regexp.MustCompile(`(?m)^(\d+) packets? dropped by kernel`),
			complete: statsComplete, found: lines(""),
			live: pipe(culprit), id: idInTarget,
			remark: "-w - piped into -r -",
		},
		{
			name: "tcpdump -w", program: "tcpdump", ready: "listening on",
			args: func(on string) []string {
				return []string{"-i", on, "-Z", "root", "-w", os.DevNull, "port", "80"}
			},
			packets: regexp.MustCompile(`(?m)^(\d+) packets? captured`),
			dropped: regexp.MustCompile(`(?m)^(\d+) packets? dropped by kernel`),
			live: func(on string) []string {
				return []string{"-i", on, "-Z", "root", "-l", "-A", "--immediate-mode", "port", "80"}
			},
			id: idInHeader, remark: "captures, and no more",
		},
		{
			name: "tcpflow -o", program: "tcpflow", ready: "listening on",
			args:    func(on string) []string { return []string{"-i", on, "-o", ".", "port", "80"} },
			packets: regexp.MustCompile(`<total_packets>(\d+)<`), report: "report.xml",
			found: tcpflowResponses,
			live:  func(on string) []string { return []string{"-i", on, "-c", "port", "80"} }, id: idInHeader,
			remark: "doesn't pair, nor tell drops",
		},
		{
			name: "tshark -w", program: "tshark", ready: "Capture started",
			args:    func(on string) []string { return []string{"-i", on, "-f", "port 80", "-q", "-w", "out.pcapng"} },
			packets: regexp.MustCompile(`(?m)^(\d+) packets? captured`),
			dropped: regexp.MustCompile(`(\d+) packets? dropped`), silent: true,
			remark: "writes all packets",
		},
		{
			name: "tshark -Y http", program: "tshark", ready: "Capture started",
			args:    tshark(),
			dropped: regexp.MustCompile(`(\d+) packets? dropped`), silent: true,
			found: tsharkResponses,
			live:  tshark("-l"), id: idInTarget,
		},
	}
}

func tshark(flags ...string) func(on string) []string {
	return func(on string) []string {
		return append(flags, "-i", on, "-f", "port 80", "-Y", "http", "-T", "fields",
			"-e", "http.response_for.uri", "-e", "http.response.code", "-e", "http.time")
	}
}

// pipe is how live traffic came to a culprit that reads files only.
func pipe(culprit string) func(on string) []string {
	return func(on string) []string {
		return []string{"-c", fmt.Sprintf("tcpdump -i %s -Z root -U --immediate-mode -w - port 80 | '%s' trace -r - -o line --stats", on, culprit)}
	}
}

// questions are asked again and again: figures over everything, and a search through all targets.
const questions = `
while kill -0 $serve; do
	"$culprit" query --store store --group-by 'class(status)' --interval 1s --metric 'p50(duration),p99(duration)' -o csv
	"$culprit" query --store store --text nowhere-to-be-found -o csv
done >/dev/null 2>&1`

// serve is culprit with a store in its folder. SIGINT goes to the shell, too, which waits for culprit.
func serve(culprit, meanwhile string) func(on string) []string {
	return func(on string) []string {
		return []string{"-c", fmt.Sprintf(`trap : INT
culprit='%s'
"$culprit" serve -i %s --store store --listen 127.0.0.1:0 --user root --stats port 80 &
serve=$!
%s
while kill -0 $serve 2>/dev/null; do wait $serve; done`, culprit, on, meanwhile)}
	}
}

// stored counts the exchanges in the store of a captor's folder.
func stored(culprit string) func(dir string) (int, error) {
	return func(dir string) (int, error) {
		out, err := exec.Command(culprit, "query", "--store", filepath.Join(dir, "store"), "--group-by", "transport", "-o", "csv").Output()
		if err != nil {
			return 0, fmt.Errorf("culprit query: %w", err)
		}
		return max(number(regexp.MustCompile(`(?m)^tcp,(\d+)`), string(out)), 0), nil
	}
}

// available returns none, and the captors that the user wants and that are installed.
func available(o options) ([]*captor, error) {
	all, err := choose(captors(o.culprit), o.captors, func(c *captor, w string) bool { return strings.HasPrefix(c.name, w) })
	if err != nil {
		return nil, fmt.Errorf("-captors: %w", err)
	}
	there := []*captor{{name: none}}
	var absent []string
	for _, c := range all {
		if c.program, err = exec.LookPath(c.program); err != nil {
			absent = append(absent, c.name)
			continue
		}
		there = append(there, c)
	}
	if len(absent) > 0 {
		fmt.Fprintf(os.Stderr, "bench/live: not installed: %s\n", strings.Join(absent, ", "))
	}
	return there, nil
}

// said is what a captor told at its end; -1 what it didn't.
type said struct{ packets, dropped, complete int }

func (c *captor) said(text string) said {
	s := said{number(c.packets, text), number(c.dropped, text), number(c.complete, text)}
	if s.dropped < 0 && c.silent {
		s.dropped = 0
	}
	if c.within && s.packets >= 0 {
		s.packets -= max(s.dropped, 0)
	}
	return s
}

// number returns the number that an expression finds in a text, or -1.
func number(e *regexp.Regexp, text string) int {
	if e == nil {
		return -1
	}
	m := e.FindStringSubmatch(text)
	if m == nil {
		return -1
	}
	n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
	if err != nil {
		return -1
	}
	return n
}

// lines counts the lines of a captor's standard output that hold a mark.
func lines(mark string) func(dir string) (int, error) {
	return func(dir string) (int, error) {
		return countLines(filepath.Join(dir, "out"), func(line []byte) int { return btoi(bytes.Contains(line, []byte(mark))) })
	}
}

// tsharkResponses counts the status codes, the second field: a packet may hold several responses.
func tsharkResponses(dir string) (int, error) {
	return countLines(filepath.Join(dir, "out"), func(line []byte) int {
		fields := bytes.Split(line, []byte("\t"))
		if len(fields) < 2 || len(fields[1]) == 0 {
			return 0
		}
		return 1 + bytes.Count(fields[1], []byte(","))
	})
}

// tcpflowResponses counts status lines in the files of the flows.
func tcpflowResponses(dir string) (n int, err error) {
	return n, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "out" || d.Name() == "report.xml" {
			return err
		}
		here, err := countLines(path, func(line []byte) int { return bytes.Count(line, ok) })
		n += here
		return err
	})
}

// countLines adds up what count says of each line of a file, in pieces where a line is very long: what is
// looked for begins lines, but for bodies, which don't end with one.
func countLines(path string, count func(line []byte) int) (n int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for in := bufio.NewReaderSize(f, 4<<20); ; {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			n += count(line)
		}
		switch {
		case err == nil || errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return n, nil
		default:
			return n, err
		}
	}
}
