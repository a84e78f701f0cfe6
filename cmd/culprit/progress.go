package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/pipeline"
)

// progress says on a terminal how far a long file has been read. A nil progress says nothing.
type progress struct {
	w     io.Writer
	total int64
	next  time.Time
	shown bool
}

// progressAfter is when progress is shown first, progressEvery how often then; progressFrom is the size of
// input from which it is worth it.
const (
	progressAfter = time.Second
	progressEvery = 250 * time.Millisecond
	progressFrom  = 64 << 20
)

// newProgress returns what shows the progress of reading inputs, nil if nobody wants to know: stderr is
// no terminal, results go to the terminal, or the size isn't known.
func newProgress(stderr io.Writer, inputs []capture.Input, busy bool) *progress {
	f, ok := stderr.(*os.File)
	if !ok || busy || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	p := &progress{w: stderr, next: time.Now().Add(progressAfter)}
	for _, in := range inputs {
		info, err := os.Stat(in.Path)
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		p.total += info.Size()
	}
	if p.total < progressFrom {
		return nil
	}
	return p
}

// update shows how much has been read.
func (p *progress) update(received pipeline.Count) {
	if p == nil {
		return
	}
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(progressEvery)
	p.shown = true
	line := append(terminal.AppendCount(nil, int64(received.Packets)), " packets, "...)
	line = append(terminal.AppendBytes(line, int64(received.Bytes)), " of "...)
	line = terminal.AppendBytes(line, p.total)
	fmt.Fprintf(p.w, "\r%s\x1b[K", line)
}

// clear removes what was shown.
func (p *progress) clear() {
	if p != nil && p.shown {
		p.shown = false
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
