package main

// The scripts in testdata run the program as users do: each *.txtar is a list of commands and of what they
// must print (package testscript), and says in its first line what it shows. go test -update rewrites the
// expected outputs.
//
// Beside the commands of testscript they have:
//
//	status N culprit ARG...   runs it, and wants the exit status N
//	head N FILE NEW           makes NEW of the first N bytes of FILE
//	compress FORMAT FILE NEW  makes NEW of FILE: gz, zst, xz or lz4
//	mode MODE FILE            wants the permissions of FILE, in octal
//	json FILE                 wants FILE to be one JSON document
//	jsonlines FILE            wants a JSON document on each line
//	width N FILE              wants no line of FILE wider than N
//
// $DEMO is testdata/demo.pcap of the repository, $DATABASES testdata/databases/databases.pcapng. The user's configuration folder is empty at the start.

import (
	"compress/gzip"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/ulikunitz/xz"
)

var update = flag.Bool("update", false, "rewrite the expected outputs of the scripts")

// demo is the capture that the program is shown with.
var demo = filepath.Join("..", "..", "testdata", "demo.pcap")

const raceOptions = "GORACE"

func TestMain(m *testing.M) {
	// Under the race detector, every process sleeps for a second at its end unless told not to.
	os.Setenv(raceOptions, "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"culprit": main})
}

func TestScripts(t *testing.T) {
	path, err := filepath.Abs(demo)
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("DEMO", path)
			e.Setenv("DATABASES", filepath.Join(filepath.Dir(path), "databases", "databases.pcapng"))
			e.Setenv(raceOptions, os.Getenv(raceOptions))
			e.Setenv("TZ", "UTC")
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status":    status,
			"head":      head,
			"compress":  compress,
			"mode":      mode,
			"json":      jsonDocument,
			"jsonlines": jsonLines,
			"width":     width,
		},
	})
}

func status(ts *testscript.TestScript, _ bool, args []string) {
	want := number(ts, args[0])
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d; standard error:\n%s", got, want, ts.ReadFile("stderr"))
	}
}

func head(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(ts.ReadFile(args[1]))[:number(ts, args[0])], 0o644))
}

func compress(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[2]))
	ts.Check(err)
	defer f.Close()
	writers := map[string]func() (io.WriteCloser, error){
		"gz":  func() (io.WriteCloser, error) { return gzip.NewWriter(f), nil },
		"zst": func() (io.WriteCloser, error) { return zstd.NewWriter(f) },
		"xz":  func() (io.WriteCloser, error) { return xz.NewWriter(f) },
		"lz4": func() (io.WriteCloser, error) { return lz4.NewWriter(f), nil },
	}
	w, err := writers[args[0]]()
	ts.Check(err)
	_, err = io.WriteString(w, ts.ReadFile(args[1]))
	ts.Check(err)
	ts.Check(w.Close())
}

func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

func jsonDocument(ts *testscript.TestScript, _ bool, args []string) {
	if !json.Valid([]byte(ts.ReadFile(args[0]))) {
		ts.Fatalf("%s isn't JSON", args[0])
	}
}

func jsonLines(ts *testscript.TestScript, _ bool, args []string) {
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if !json.Valid([]byte(line)) {
			ts.Fatalf("no JSON: %s", line)
		}
	}
}

func width(ts *testscript.TestScript, _ bool, args []string) {
	most := number(ts, args[0])
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > most {
			ts.Fatalf("%d columns: %s", n, line)
		}
	}
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}
