package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store/remote"
)

// The arguments of -r may be files of records, too: exchanges as -o ndjson writes them, compressed or not. They are told from captures by
// their first byte, which no capture begins with.

// areRecords reports whether the inputs are files of records rather than captures; either all of them are, or none is. stdin is what - means.
func areRecords(inputs []capture.Input, stdin *bufio.Reader) (bool, error) {
	var is []bool
	for _, in := range inputs {
		one, err := isRecords(in, stdin)
		if err != nil {
			return false, err
		}
		is = append(is, one)
	}
	if slices.Contains(is, true) && slices.Contains(is, false) {
		return false, usage(errors.New("captures and records can't be read at once: make records of the captures first, with culprit trace -r CAPTURE -o ndjson=FILE"))
	}
	return len(is) > 0 && is[0], nil
}

func isRecords(in capture.Input, stdin *bufio.Reader) (bool, error) {
	if in.Path == capture.Stdin {
		begin, _ := stdin.Peek(1) // who reads it says what is wrong with it
		return string(begin) == "{", nil
	}
	info, err := os.Stat(in.Path)
	if err != nil || !info.Mode().IsRegular() { // what can be read once only is a capture
		return false, nil
	}
	f, err := os.Open(in.Path)
	if err != nil {
		return false, &statusError{exitFailed, err}
	}
	defer f.Close()
	content, err := capture.Content(f)
	if err != nil {
		return false, nil
	}
	defer content.Close()
	begin := make([]byte, 1)
	_, err = io.ReadFull(content, begin)
	return err == nil && begin[0] == '{', nil
}

// recordFile is a file of records that is being read.
type recordFile struct {
	name, tap string
	lines     *remote.Lines
	next      *exchange.Exchange // nil at the end
	close     func()
}

// readRecords reads files of records, and hands their exchanges over in the order in which they were completed, as far as each file has that
// order. They are the function's to keep. It returns how many documents weren't exchanges.
func readRecords(inputs []capture.Input, stdin io.Reader, each func(x *exchange.Exchange) error) (others int, err error) {
	files := make([]*recordFile, 0, len(inputs))
	defer func() {
		for _, f := range files {
			f.close()
		}
	}()
	for _, in := range inputs {
		f, err := openRecords(in, stdin)
		if err != nil {
			return 0, err
		}
		files = append(files, f)
		if err := f.read(); err != nil {
			return 0, err
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
				others += f.lines.Others
			}
			return others, nil
		}
		if err := each(first.next); err != nil {
			return 0, err
		}
		if err := first.read(); err != nil {
			return 0, err
		}
	}
}

func openRecords(in capture.Input, stdin io.Reader) (*recordFile, error) {
	f := &recordFile{name: in.Path, tap: in.Tap}
	content, opened := stdin, func() {}
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
	f.lines, f.close = remote.NewLines(plain), func() { plain.Close(); opened() }
	return f, nil
}

// read reads the next exchange.
func (f *recordFile) read() error {
	x, err := f.lines.Next()
	if err == io.EOF {
		f.next = nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	if f.tap != "" {
		x.Tap.Name, x.Tap.Label = f.tap, f.tap
	}
	f.next = x
	return nil
}
