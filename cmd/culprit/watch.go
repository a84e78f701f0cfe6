package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/privilege"
)

const (
	// censusShare is one over the share of the time that may go into listing the sockets.
	censusShare = 10
	// maxSaid is how many warnings are kept for the end while a table is on the terminal.
	maxSaid = 16
)

// watching is one run of culprit sockets --watch.
type watching struct {
	capturing // what it has in common with others: the capture, warnings, the report at the end
	config    *config.Sockets

	// traffic begins with the first census; what is over before it isn't counted.
	traffic *traffic
	census  atomic.Pointer[taken] // the latest
	begun   atomic.Bool           // there was one
	current *taken
	display *display
	next    time.Time // when the next frame is due

	// What was known when the frame before this one was shown.
	shown    time.Time
	received pipeline.Count
	frames   int
	// said are warnings for the end; while a table is on the terminal they would tear it.
	said   []string
	unsaid int
}

// taken is a census, or why there is none.
type taken struct {
	*census
	err error
}

// watch runs the command.
func watch(cmd *cobra.Command, c *config.Sockets) error {
	settings := config.DefaultCapture()
	settings.Live, settings.CaptureFilter = c.Live(), c.CaptureFilter
	settings.Workers = 1 // so that all calls come from one goroutine
	settings.PendingAfter = waitingAfter
	w := &watching{config: c, capturing: capturing{config: &settings, stderr: cmd.ErrOrStderr()}}
	if err := w.parseCaptureFilter(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)   // a second signal ends the program at once
	signal.Ignore(syscall.SIGPIPE) // writing then fails with EPIPE, and all ends well

	capture, err := openLive(ctx, &settings.Live, captureFilter{c.CaptureFilter, w.filter}, w.warning)
	if err != nil {
		return &statusError{exitFailed, err}
	}
	defer capture.Close()
	w.capture, w.sources, w.live = capture, capture.sources, true
	w.analysis(0)
	w.pipeline.Live, w.pipeline.Progress = true, w.progressed
	if _, err := capture.drop(&settings.Live, privilege.Options{User: settings.Live.User}); err != nil {
		return &statusError{exitFailed, err}
	}
	w.display = newDisplay(cmd.OutOrStdout(), c.JSON, capture.stop)
	ended := make(chan struct{})
	listing := w.keepListing(ended)
	stats, err := pipeline.Run(context.Background(), w.sources[0], w.pipeline, w) // the source ends with ctx, or at its time
	if now := time.Now(); err == nil && w.traffic != nil && (w.frames == 0 || now.Sub(w.shown) >= c.Interval/2) {
		w.show(now, stats.Received)
	}
	close(ended)
	<-listing
	if e := w.display.close(); err == nil {
		err = e
	}
	if w.traffic == nil && err == nil {
		if latest := w.census.Load(); latest != nil {
			err = latest.err
		}
	}
	if errors.Is(err, syscall.EPIPE) {
		return nil // whoever read our output has seen enough
	}
	w.finish(&stats, err)
	switch {
	case err != nil:
		return &statusError{exitFailed, err}
	case w.lossy:
		return errLossy
	}
	return nil
}

// keepListing lists the sockets again and again until ended is closed; then, at last, it closes what it returns.
func (w *watching) keepListing(ended <-chan struct{}) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			begun := time.Now()
			n := &taken{}
			if l, err := w.capture.sockets(); err != nil {
				n.err = err
			} else {
				n.census = newCensus(l, w.config)
			}
			w.census.Store(n)
			if n.err != nil && !w.begun.Load() {
				w.capture.stop() // there is nothing to join traffic to
				return
			}
			w.begun.Store(true)
			timer := time.NewTimer(max(w.config.Interval, censusShare*time.Since(begun)))
			select {
			case <-ended:
				timer.Stop()
				return
			case <-timer.C:
			}
		}
	}()
	return done
}

// Exchanges implements pipeline.Receiver.
func (w *watching) Exchanges(done, waiting []*exchange.Exchange) error {
	if w.traffic == nil {
		return w.display.err()
	}
	for _, x := range done {
		w.traffic.add(x)
	}
	for _, x := range waiting {
		w.traffic.wait(x)
	}
	w.number = w.traffic.exchanges
	return w.display.err()
}

// Idle implements pipeline.Receiver.
func (w *watching) Idle() error { return w.display.err() }

// progressed is told of packets, and shows a frame when one is due. It is called in the goroutine of Exchanges.
func (w *watching) progressed(received pipeline.Count) {
	if w.traffic == nil && w.census.Load() == nil {
		return
	}
	now := time.Now()
	if now.Before(w.next) {
		return
	}
	w.newest(now)
	switch {
	case w.traffic == nil:
		return
	case w.next.IsZero():
		w.shown, w.received, w.next = now, received, now
		if !w.display.redraws { // whoever looks wants to see something, programs want rates
			w.next = now.Add(w.config.Interval)
			return
		}
	}
	w.next = w.next.Add(w.config.Interval)
	if w.next.Before(now) { // after a pause, or a clock that was set
		w.next = now.Add(w.config.Interval)
	}
	w.show(now, received)
}

// newest takes over the latest census.
func (w *watching) newest(now time.Time) {
	latest := w.census.Load()
	switch {
	case w.current != nil && (latest == w.current || latest.err != nil && latest.err == w.current.err):
		return
	case latest.census != nil && w.traffic == nil:
		w.traffic = newTraffic(w.config, latest.census, now.UnixNano())
	case latest.census != nil:
		w.traffic.adopt(latest.census, now.UnixNano())
	case w.current == nil:
		return
	default: // the last one goes on
		latest = &taken{w.current.census, latest.err}
	}
	w.current = latest
}

// show shows a frame.
func (w *watching) show(now time.Time, received pipeline.Count) {
	f := w.frame(now)
	if since := now.Sub(w.shown); since > 0 {
		f.packets = float64(received.Packets-w.received.Packets) / since.Seconds()
	}
	w.shown, w.received = now, received
	w.frames++
	w.display.show(f, w.config)
}

// frame is what is to be shown now.
func (w *watching) frame(now time.Time) *frame {
	at := now.UnixNano()
	t := w.traffic
	t.forget(at)
	f := &frame{
		at: now, seconds: t.span(at), elsewhere: t.elsewhere.Rates(at).Requests, links: w.current.links, unfollowed: t.unfollowed, untold: t.untold,
	}
	f.serves, f.calls = t.rows(at)
	for _, tap := range w.taps() {
		f.lost += tap.Dropped + tap.IfDropped
	}
	if n := len(w.said); n > 0 {
		f.notes = append(f.notes, "warning: "+w.said[n-1])
	}
	if w.current.err != nil {
		f.notes = append(f.notes, "the sockets are those of a while ago: "+safe(w.current.err.Error()))
	}
	f.notes = append(f.notes, w.current.shortcomings()...)
	return f
}

// shortcomings says what a census doesn't show.
func (n *census) shortcomings() (all []string) {
	blind := n.notes.Blind.String()
	for _, s := range n.notes.Lines() {
		if s != blind || n.unknown {
			all = append(all, safe(s))
		}
	}
	return all
}

// warning tells a warning: at once, or at the end while a table is on the terminal.
func (w *watching) warning(format string, args ...any) {
	switch text := fmt.Sprintf(format, args...); {
	case w.display == nil || !w.display.redraws:
		w.warn("%s", text)
	case len(w.said) < maxSaid:
		w.said = append(w.said, text)
	default:
		w.unsaid++
	}
}

// finish says on standard error what the user must know at the end.
func (w *watching) finish(stats *pipeline.Stats, failed error) {
	for _, text := range w.said {
		w.warn("%s", text)
	}
	if w.unsaid > 0 {
		w.warn("%s more", plural(uint64(w.unsaid), "warning"))
	}
	if w.current == nil {
		w.report(stats, failed)
		return
	}
	if w.current.err != nil {
		w.lose("%v", w.current.err)
	}
	for _, note := range w.current.shortcomings() {
		w.warn("%s", note)
	}
	if n := &w.current.notes; n.Cut+n.Holds+len(n.Incomplete) > 0 {
		w.lossy = true
	}
	if w.traffic.unfollowed > 0 {
		w.lose("%s not followed: there were more than %s ends at once; a capture filter helps", plural(w.traffic.unfollowed, "request"), count(maxSeries))
	}
	w.report(stats, failed)
}

// display writes frames, in a goroutine of its own: a terminal that is slow, or stopped, holds up no packet.
type display struct {
	out     target
	file    *os.File // the terminal
	redraws bool     // in place
	frames  chan []byte
	done    chan struct{}
	failure atomic.Pointer[error]
	begun   bool
}

// newDisplay begins to write to a file, tables or documents. failed is called when that fails.
func newDisplay(w io.Writer, documents bool, failed func()) *display {
	d := &display{out: describe(w, "auto"), frames: make(chan []byte, 1), done: make(chan struct{})}
	if d.out.terminal.Width > 0 && !documents {
		d.file, _ = w.(*os.File)
		d.redraws = os.Getenv("TERM") != "dumb"
	}
	go func() {
		defer close(d.done)
		for b := range d.frames {
			if d.err() != nil {
				continue
			}
			if _, err := d.out.w.Write(b); err != nil {
				d.failure.Store(&err)
				failed()
			}
		}
	}()
	return d
}

// err is what writing has failed with.
func (d *display) err() error {
	if err := d.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// The control sequences of ECMA-48 that redraw in place. The cursor is never hidden, nor any mode of the terminal
// changed: however the program ends, there is nothing to be restored.
const (
	eraseAll  = "\x1b[H\x1b[2J"
	toTheTop  = "\x1b[H"
	eraseLine = "\x1b[K\n"
	eraseRest = "\x1b[J"
)

// show has a frame written. For a program each is; on a terminal one is left out as long as the one before it
// hasn't been written.
func (d *display) show(f *frame, c *config.Sockets) {
	var b []byte
	switch {
	case c.JSON:
		var err error
		if b, err = f.appendDocument(nil); err != nil {
			d.failure.Store(&err)
			return
		}
	case d.redraws:
		b = d.redraw(f, c)
	default:
		if d.begun {
			b = append(b, '\n')
		}
		if d.out.terminal.Width > 0 {
			b = f.append(b, d.out.terminal, 0, c.UDP || c.Unix)
		} else {
			b = f.appendPlain(b)
		}
	}
	d.begun = true
	if !d.redraws {
		d.frames <- b
		return
	}
	select {
	case d.frames <- b:
	default:
	}
}

// redraw makes what shows a frame in place of the one before it.
func (d *display) redraw(f *frame, c *config.Sockets) []byte {
	t, height := d.out.terminal, 24
	if width, h, err := term.GetSize(int(d.file.Fd())); err == nil && width > 0 && h > 0 {
		t.Width, height = width, h
	}
	return inPlace(f, t, height, c.UDP || c.Unix, !d.begun)
}

// inPlace makes what shows a frame in place of the one before it, if it isn't the first.
func inPlace(f *frame, t terminal.Terminal, height int, kinds, first bool) []byte {
	b := []byte(toTheTop)
	if first {
		b = []byte(eraseAll)
	}
	for _, c := range f.append(nil, t, height, kinds) {
		if c == '\n' {
			b = append(b, eraseLine...)
		} else {
			b = append(b, c)
		}
	}
	return append(b, eraseRest...)
}

// close waits until everything is written.
func (d *display) close() error {
	close(d.frames)
	<-d.done
	return d.err()
}
