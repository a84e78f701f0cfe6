package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/har"
	"github.com/culprit-http/culprit/internal/store/remote"
)

// The arguments of -r may be files of records, too: exchanges as -o ndjson writes them, and HTTP archives, compressed or not. They are told from
// captures by their first bytes, which no capture begins with.

// inputKind is what an argument of -r is.
type inputKind uint8

const (
	// aCapture is packets, or what they are made of.
	aCapture inputKind = iota
	// aRecord is a file of records, anArchive an HTTP archive.
	aRecord
	anArchive
)

var inputKinds = [...]string{"capture", "records", "HTTP archive"}

func (k inputKind) String() string { return inputKinds[k] }

// areRecords reports whether the inputs are files of records or archives rather than captures; either all of them are, or none is. stdin is what
// - means.
func areRecords(inputs []capture.Input, stdin *bufio.Reader) (bool, error) {
	var is []bool
	for _, in := range inputs {
		kind, err := kindOf(in, stdin)
		if err != nil {
			return false, err
		}
		is = append(is, kind != aCapture)
	}
	if slices.Contains(is, true) && slices.Contains(is, false) {
		return false, usage(errors.New("captures and records can't be read at once: make records of the captures first, with culprit trace -r CAPTURE -o ndjson=FILE"))
	}
	return len(is) > 0 && is[0], nil
}

// peeked is how much of an input is looked at, in bytes, to tell what it is.
const peeked = 512

// kindOf tells what an input is. What isn't there, or can't be read twice, is left to whoever reads captures.
func kindOf(in capture.Input, stdin *bufio.Reader) (inputKind, error) {
	if in.Path == capture.Stdin {
		begin, err := stdin.Peek(1) // who reads it says what is wrong with it
		if err == nil && (begin[0] == '{' || begin[0] == bom[0]) {
			for n := 2; n <= peeked && !decided(begin); n++ { // what comes slowly isn't waited for longer than needed
				if begin, err = stdin.Peek(n); err != nil {
					break
				}
			}
		}
		return kindOfBytes(begin, ""), nil
	}
	info, err := os.Stat(in.Path)
	if err != nil || !info.Mode().IsRegular() { // what can be read once only is a capture
		return aCapture, nil
	}
	f, err := os.Open(in.Path)
	if err != nil {
		return aCapture, &statusError{exitFailed, err}
	}
	defer f.Close()
	content, err := capture.Content(f)
	if err != nil {
		return aCapture, nil
	}
	defer content.Close()
	begin := make([]byte, peeked)
	n, _ := io.ReadFull(content, begin)
	return kindOfBytes(begin[:n], in.Path), nil
}

// bom is the byte order mark with which some programs begin files.
const bom = "\xef\xbb\xbf"

// decided reports whether the begin of a JSON document has its first key.
func decided(begin []byte) bool { return bytes.Count(begin, []byte(`"`)) >= 2 }

// kindOfBytes tells what a file is by its first bytes, and its name where these leave it open. An archive is one object that has a log.
func kindOfBytes(begin []byte, path string) inputKind {
	text := bytes.TrimLeft(bytes.TrimPrefix(begin, []byte(bom)), " \t\r\n")
	if len(text) == 0 || text[0] != '{' {
		return aCapture
	}
	name := strings.ToLower(filepath.Base(path))
	if bytes.HasPrefix(bytes.TrimLeft(text[1:], " \t\r\n"), []byte(`"log"`)) || strings.HasSuffix(name, ".har") || strings.Contains(name, ".har.") {
		return anArchive
	}
	return aRecord
}

// recordFile is a file of records, or an archive, that is being read.
type recordFile struct {
	name, tap string
	kind      inputKind
	// lines or archive is what reads it.
	lines   *remote.Lines
	archive *har.Reader
	next    *exchange.Exchange // nil at the end
	cut     bool
	close   func()
}

// recordCounts are what was left out of files of records.
type recordCounts struct {
	// others are documents that aren't exchanges.
	others int
	// archives are the counts of all archives together. cut are the names of those that end too early.
	archives har.Counts
	cut      []string
}

// readRecords reads files of records and archives, and hands their exchanges over in the order in which they were completed, as far as each file
// has that order. They are the function's to keep; of archives, as much of the bodies is kept as maxBody says, negative: all of it.
func readRecords(inputs []capture.Input, stdin *bufio.Reader, maxBody int, each func(x *exchange.Exchange, kind inputKind) error) (counts recordCounts, err error) {
	files := make([]*recordFile, 0, len(inputs))
	defer func() {
		for _, f := range files {
			f.close()
		}
	}()
	for _, in := range inputs {
		f, err := openRecords(in, stdin, maxBody)
		if err != nil {
			return counts, err
		}
		files = append(files, f)
		if err := f.read(); err != nil {
			return counts, err
		}
	}
	for {
		var first *recordFile
		for _, f := range files {
			if f.next != nil && (first == nil || f.next.Completed.Time < first.next.Completed.Time) {
				first = f
			}
		}
		if first == nil {
			for _, f := range files {
				counts.add(f)
			}
			return counts, nil
		}
		if err := each(first.next, first.kind); err != nil {
			return counts, err
		}
		if err := first.read(); err != nil {
			return counts, err
		}
	}
}

// add adds what was left out of a file.
func (c *recordCounts) add(f *recordFile) {
	if f.archive == nil {
		c.others += f.lines.Others
		return
	}
	a, n := &c.archives, &f.archive.Counts
	a.Entries, a.Cached, a.Foreign, a.Undated, a.Odd = a.Entries+n.Entries, a.Cached+n.Cached, a.Foreign+n.Foreign, a.Undated+n.Undated, a.Odd+n.Odd
	if f.cut {
		c.cut = append(c.cut, f.name)
	}
}

// tell says what was left out.
func (c *recordCounts) tell(t *capturing) {
	if c.others > 0 {
		t.warn("left out: %s that aren't exchanges", plural(uint64(c.others), "record"))
	}
	a := &c.archives
	for _, left := range []struct {
		n   int
		why string
	}{
		{a.Cached, "came from the browser's cache, and never were on the wire"},
		{a.Foreign, "aren't HTTP"},
	} {
		if left.n > 0 {
			t.say("left out: %s that %s", plural(uint64(left.n), "request"), left.why)
		}
	}
	if a.Undated > 0 {
		t.warn("%s of an archive without a time that can be read; each got that of the one before", plural(uint64(a.Undated), "request"))
	}
	if a.Odd > 0 {
		t.warn("%s of an archive with a value that isn't as the format says, and was left out", plural(uint64(a.Odd), "request"))
	}
	for _, name := range c.cut {
		t.lose("%s: %v; what comes before was read", name, har.ErrCut)
	}
}

func openRecords(in capture.Input, stdin *bufio.Reader, maxBody int) (*recordFile, error) {
	kind, err := kindOf(in, stdin)
	if err != nil {
		return nil, err
	}
	f := &recordFile{name: in.Path, tap: in.Tap, kind: kind}
	content, opened := io.Reader(stdin), func() {}
	if in.Path == capture.Stdin {
		f.name = "standard input"
	} else {
		file, err := os.Open(in.Path)
		if err != nil {
			return nil, err
		}
		content, opened = file, func() { file.Close() }
	}
	plain, err := capture.Content(content)
	if err != nil {
		opened()
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	if kind == anArchive {
		f.archive = har.NewReader(plain, har.Options{MaxBody: maxBody})
	} else {
		f.lines = remote.NewLines(plain)
	}
	f.close = func() { plain.Close(); opened() }
	return f, nil
}

// read reads the next exchange.
func (f *recordFile) read() error {
	var x *exchange.Exchange
	var err error
	if f.archive != nil {
		x, err = f.archive.Next()
		f.cut = errors.Is(err, har.ErrCut)
	} else {
		x, err = f.lines.Next()
	}
	switch {
	case err == io.EOF, f.cut:
		f.next = nil
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", f.name, err)
	}
	switch {
	case f.tap != "":
		x.Tap.Name, x.Tap.Label = f.tap, f.tap
	case f.archive != nil && f.name != "standard input":
		x.Tap.Label = filepath.Base(f.name)
	}
	f.next = x
	return nil
}
