package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/pipeline"
)

// progress says on a terminal how far files have been read. A nil progress says nothing. Its methods may be called by
// several goroutines.
type progress struct {
	w     io.Writer
	total int64
	// exchanges counts what was found, nil if that is shown elsewhere.
	exchanges func() uint64

	mu    sync.Mutex
	begun time.Time
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

// recordHeader is what a file has beside each packet, at least, in bytes.
const recordHeader = 16

// newProgress returns what shows the progress of reading inputs, nil if nobody wants to know: stderr is
// no terminal, results go to the terminal, or the size isn't known.
func newProgress(stderr io.Writer, inputs []capture.Input, busy bool) *progress {
	f, ok := stderr.(*os.File)
	if !ok || busy || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	now := time.Now()
	p := &progress{w: stderr, begun: now, next: now.Add(progressAfter)}
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
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(progressEvery)
	p.shown = true
	fmt.Fprintf(p.w, "\r%s\x1b[K", p.line(received, now.Sub(p.begun)))
}

// line says how much was read in a time, how fast, and how long the rest will take. What is read of compressed files
// is more than their size: then nobody knows.
func (p *progress) line(received pipeline.Count, elapsed time.Duration) []byte {
	read := int64(received.Bytes + recordHeader*received.Packets)
	line := append(terminal.AppendCount(nil, int64(received.Packets)), " packets, "...)
	if p.exchanges != nil {
		line = append(terminal.AppendCount(line, int64(p.exchanges())), " exchanges, "...)
	}
	line = append(terminal.AppendBytes(line, read), " of "...)
	line = terminal.AppendBytes(line, p.total)
	seconds := elapsed.Seconds()
	if seconds <= 0 || read <= 0 {
		return line
	}
	rate := float64(read) / seconds
	line = append(terminal.AppendBytes(append(line, ", "...), int64(rate)), "/s"...)
	if read <= p.total {
		left := time.Duration(float64(p.total-read) / rate * float64(time.Second))
		line = append(append(append(line, ", "...), left.Round(time.Second).String()...), " left"...)
	}
	return line
}

// clear removes what was shown.
func (p *progress) clear() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		p.shown = false
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
