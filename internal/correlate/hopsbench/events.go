package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/correlate/hops/timing"
)

// record is one line of a file of events: one end of an exchange.
type record struct {
	ID, Tap, Dir, Peer, Op string
	Start                  int64 `json:"start_us"`
	End                    int64 `json:"end_us"`
}

// events are the records of a file, in order of their start; the one at i has the number i+1.
type events struct {
	list    []record
	numbers map[string]uint64
}

// open reads a file, decompressed if it is compressed.
func open(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return b, err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if b, err = io.ReadAll(z); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

func read(path string) (*events, error) {
	b, err := open(path)
	if err != nil {
		return nil, err
	}
	e := &events{numbers: map[string]uint64{}}
	for d := json.NewDecoder(bytes.NewReader(b)); ; {
		var r record
		if err := d.Decode(&r); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("%s, record %d: %w", path, len(e.list)+1, err)
		}
		if r.Dir != "in" && r.Dir != "out" {
			return nil, fmt.Errorf("%s, record %d: dir is %q; it must be in or out", path, len(e.list)+1, r.Dir)
		}
		e.list = append(e.list, r)
	}
	slices.SortStableFunc(e.list, func(a, b record) int { return int(a.Start - b.Start) })
	for i, r := range e.list {
		if e.numbers[r.ID] != 0 {
			return nil, fmt.Errorf("%s: two records have the id %q", path, r.ID)
		}
		e.numbers[r.ID] = uint64(i + 1)
	}
	return e, nil
}

func (e *events) name(n uint64) string { return e.list[n-1].ID }

// same says that no time could tell two requests apart.
func (e *events) same(a, b string) bool {
	if a == b {
		return true
	}
	if e.numbers[a] == 0 || e.numbers[b] == 0 {
		return false
	}
	x, y := e.list[e.numbers[a]-1], e.list[e.numbers[b]-1]
	x.ID, y.ID = "", ""
	return x == y
}

// feed gives the events to a linker as they would come.
func (e *events) feed(l *timing.Linker) {
	numbers := map[string]uint32{}
	number := func(kind, name string) uint32 {
		name = kind + name
		n, ok := numbers[name]
		if !ok {
			n = uint32(len(numbers))
			numbers[name] = n
		}
		return n
	}
	for i, r := range e.list {
		start := r.Start * 1000
		l.Advance(start)
		l.Add(timing.Event{ID: uint64(i + 1), Tap: number("tap ", r.Tap), Peer: number("peer ", r.Peer), Op: number("op ", r.Op),
			In: r.Dir == "in", Start: start, End: r.End * 1000})
	}
	l.Flush()
}

// readTruth reads the parents of children.
func readTruth(path string) (map[string]string, error) {
	b, err := open(path)
	if err != nil {
		return nil, err
	}
	parents := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if f := strings.Split(s.Text(), "\t"); len(f) >= 2 {
			parents[f[0]] = f[1]
		}
	}
	return parents, nil
}
