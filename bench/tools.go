package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tool is a program to measure.
type tool struct {
	name string
	// program is the program's name or path; source is the package that it is built from, if it is
	// one of ours.
	program, source string
	// args gives the arguments for a capture.
	args func(f file) []string
	// inside: it looks inside TLS and HTTP/2.
	inside bool
	// found returns how many exchanges a line of output tells of; nil when the tool finds none.
	found func(line []byte) int
	// requests tells that unanswered requests are among them.
	requests bool
	// slow tools get the small captures.
	slow bool
	// remark is for the table.
	remark string
	// everything: it knows all protocols. speaks is what it finds of those that it knows beside HTTP.
	everything bool
	speaks     map[string]dissection
}

func (t *tool) command(f file) []string { return append([]string{t.program}, t.args(f)...) }

// tools returns every tool that is known.
func tools(culprit string) []tool {
	source := "./cmd/culprit"
	if culprit != "" {
		source = ""
	}
	return []tool{
		{
			name: "culprit -o line", program: culprit, source: source, requests: true, found: readable, inside: true, everything: true,
			args: func(f file) []string {
				return withKeys(f, []string{"trace", "-r", f.path, "-o", "line"}, "--keylog", "")
			},
		},
		{
			name: "culprit -o ndjson", program: culprit, source: source, found: with(`"status_code":`), inside: true, everything: true,
			args: func(f file) []string {
				return withKeys(f, []string{"trace", "-r", f.path, "-o", "ndjson"}, "--keylog", "")
			},
		},
		{
			name: "packet loop", source: "./bench/loop", remark: "only reads packets", inside: true, everything: true,
			args: func(f file) []string { return []string{f.path} },
		},
		{
			name: "justniffer", program: "justniffer", found: anyLine,
			args: func(f file) []string {
				return []string{"-l", "%request.timestamp %source.ip %request.method %request.url " +
					"%response.code %response.time %response.size", "-f", f.path}
			},
		},
		{
			name: "tcpflow -c", program: "tcpflow", found: with(": HTTP/1."), remark: "doesn't pair",
			args: func(f file) []string { return []string{"-c", "-X", os.DevNull, "-r", f.path} },
		},
		{
			name: "httpry", program: "httpry", found: with("\t<\t"), remark: "neither reassembles nor pairs",
			args: func(f file) []string { return []string{"-q", "-r", f.path} },
		},
		{
			name: "tshark", program: "tshark", slow: true, found: tsharkResponses, inside: true, speaks: dissections,
			args: func(f file) []string {
				return withKeys(f, []string{"-r", f.path, "-Y", "http || http2", "-T", "fields",
					"-e", "http.request.uri", "-e", "http.response.code", "-e", "http.time", "-e", "http2.headers.status"}, "-o", "tls.keylog_file:")
			},
		},
	}
}

// peer tells whether the tool is somebody else's.
func (t *tool) peer() bool { return t.found != nil && !strings.HasPrefix(t.name, "culprit") }

// available returns the tools that the user wants: ours are built, the others must be installed.
func available(ctx context.Context, o options) (there []tool, err error) {
	all := tools(o.culprit)
	wanted := map[string]bool{}
	for _, w := range strings.Split(o.tools, ",") {
		known := false
		for _, t := range all {
			if strings.HasPrefix(t.name, w) {
				wanted[t.name], known = true, true
			}
		}
		if !known {
			return nil, fmt.Errorf("no tool %q", w)
		}
	}
	var absent []string
	for _, t := range all {
		if !wanted[t.name] {
			continue
		}
		if t.source != "" {
			if t.program, err = build(ctx, t.source, o.cache); err != nil {
				return nil, err
			}
		} else if _, err := exec.LookPath(t.program); err != nil {
			absent = append(absent, t.name)
			continue
		}
		there = append(there, t)
	}
	if len(absent) > 0 {
		fmt.Fprintf(os.Stderr, "bench: not installed: %s\n", strings.Join(absent, ", "))
	}
	return there, nil
}

// build builds a package of this module as it is released, and returns the program's path.
func build(ctx context.Context, source, cache string) (path string, err error) {
	if path, err = filepath.Abs(filepath.Join(cache, filepath.Base(source))); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w (run this from the root of the checkout)\n%s", source, err, out)
	}
	return path, nil
}

func anyLine([]byte) int { return 1 }

// readable counts lines but those of connections that couldn't be decrypted.
func readable(line []byte) int { return 1 - with(" undecryptable: ")(line) }

func with(mark string) func([]byte) int {
	return func(line []byte) int {
		if bytes.Contains(line, []byte(mark)) {
			return 1
		}
		return 0
	}
}

// tsharkResponses counts the status codes of a line, of either version of HTTP: a packet may hold several responses.
func tsharkResponses(line []byte) (n int) {
	fields := bytes.Split(bytes.TrimRight(line, "\n"), []byte("\t"))
	for i, f := range fields {
		if (i == 1 || i == 3) && len(f) > 0 {
			n += 1 + bytes.Count(f, []byte(","))
		}
	}
	return n
}

// dissection is how a tool that knows a protocol is used on it.
type dissection struct {
	args  func(f file) []string
	found func(line []byte) int
}

// speaking returns the tool as it is used on captures of a protocol, empty for HTTP, and whether it knows that.
func (t tool) speaking(protocol string) (tool, bool) {
	if protocol == "" {
		return t, true
	}
	d, ok := t.speaks[protocol]
	switch {
	case ok:
		t.args, t.found = d.args, d.found
	case t.everything && t.found != nil:
		t.found = anyLine
	}
	return t, ok || t.everything
}

// dissections are the ways of tshark to tell of each answer of a protocol, or of what is asked. It tells of packets, some of which hold
// several; of logins it doesn't tell.
var dissections = map[string]dissection{
	"redis":    {dissected("resp && tcp.srcport == 6379", "resp.string", "resp.bulk_string.length"), values},
	"mysql":    {dissected("mysql.query", "mysql.query"), anyLine},
	"postgres": {dissected("pgsql.tag", "pgsql.tag"), values},
	"dns":      {dissected("dns.flags.response == 1", "dns.qry.name", "dns.a", "dns.time"), anyLine},
}

// dissected returns arguments with which tshark shows fields of the packets that a filter passes.
func dissected(filter string, fields ...string) func(f file) []string {
	return func(f file) []string {
		args := []string{"-r", f.path, "-Y", filter, "-T", "fields"}
		for _, field := range fields {
			args = append(args, "-e", field)
		}
		return args
	}
}

// values counts the values of all fields of a line.
func values(line []byte) (n int) {
	for _, f := range bytes.Split(bytes.TrimRight(line, "\n"), []byte("\t")) {
		if len(f) > 0 {
			n += 1 + bytes.Count(f, []byte(","))
		}
	}
	return n
}

// withKeys appends an option with the key log of a capture to the arguments, if there is one.
func withKeys(f file, args []string, option ...string) []string {
	if f.keys == "" {
		return args
	}
	option[len(option)-1] += f.keys
	return append(args, option...)
}

// count adds up what found says of each line. Of a very long line only the beginning is looked at.
func count(r io.Reader, found func([]byte) int) (n int, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	for begins := true; ; {
		line, err := in.ReadSlice('\n')
		if begins && len(line) > 0 {
			n += found(line)
		}
		begins = err == nil
		switch err {
		case nil, bufio.ErrBufferFull:
		case io.EOF:
			return n, nil
		default:
			return n, err
		}
	}
}
