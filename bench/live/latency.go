//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

const (
	// latencyRate is the requests a second while the lateness of lines is measured, and latencyWait how
	// long the last line is waited for.
	latencyRate = 100
	latencyWait = 2 * time.Second
	// golden spreads the requests evenly over the period of a captor's timer, whatever that is.
	golden = 0.6180339887
	// maxLine is how long a captor's line may be.
	maxLine = 4 << 20
)

// latencies measures for each captor how long after the last byte of an answer has come to the client, its
// line is there: both times are taken by this process.
func (b *bench) latencies(ctx context.Context, captors []*captor) error {
	fmt.Fprintf(b.tables.w, "\nLines: how long after the client has the whole answer a captor's line of it can be read; %d requests/s\n\n", latencyRate)
	var rows [][]string
	for _, c := range captors {
		if c.live == nil {
			continue
		}
		fmt.Fprintf(os.Stderr, "lines: %s...\n", c.name)
		late, asked, err := b.latency(ctx, c)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench/live: %s: %v\n", c.name, err)
		}
		slices.Sort(late)
		rows = append(rows, []string{c.name, thousands(float64(asked)), thousands(float64(len(late))),
			millis(late, 0.5), millis(late, 0.99), millis(late, 1)})
	}
	b.tables.print([]string{"captor", "requests", "lines", "p50 ms", "p99 ms", "max ms"}, rows)
	return nil
}

// millis writes a quantile of sorted durations.
func millis(sorted []time.Duration, q float64) string {
	if len(sorted) == 0 {
		return "-"
	}
	nth := max(int(math.Ceil(q*float64(len(sorted)))), 1) - 1
	return fmt.Sprintf("%.2f", float64(sorted[nth])/float64(time.Millisecond))
}

// latency measures one captor.
func (b *bench) latency(ctx context.Context, c *captor) (late []time.Duration, asked int, err error) {
	b.runs++
	dir := filepath.Join(b.dir, fmt.Sprintf("run-%d", b.runs))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(dir)
	in, out, err := os.Pipe()
	if err != nil {
		return nil, 0, err
	}
	defer in.Close()
	p, err := startCaptor(ctx, c, c.live(b.network.name), dir, out)
	out.Close() // the captor has it
	if err != nil {
		return nil, 0, err
	}
	defer p.kill()

	requests := int(b.o.time.Seconds()*latencyRate) + 1
	shown := make(chan map[int]time.Time, 1)
	last := make(chan struct{})
	go func() {
		times := readLines(in, c, requests-1, last)
		shown <- times
	}()
	answered, err := b.ask(ctx, requests)
	if err == nil {
		select {
		case <-last:
		case <-p.exited:
			err = errors.New("it ended")
		case <-time.After(latencyWait):
		}
	}
	p.stop() // so that the reading ends
	times := <-shown
	for n, at := range answered {
		if t, there := times[n]; there {
			late = append(late, t.Sub(at))
		}
	}
	return late, len(answered), err
}

// ask makes the requests on one connection, and returns when each was answered.
func (b *bench) ask(ctx context.Context, requests int) (answered []time.Time, err error) {
	var c *client
	if err := b.network.asClient(func() (err error) {
		c, err = dial(b.server.address)
		return err
	}); err != nil {
		return nil, err
	}
	defer c.Close()
	for n := range requests {
		_, part := math.Modf(float64(n) * golden)
		time.Sleep(time.Duration((0.5 + part) / latencyRate * float64(time.Second)))
		if ctx.Err() != nil {
			return answered, ctx.Err()
		}
		if err := c.get("/id/" + strconv.Itoa(n)); err != nil {
			return answered, err
		}
		answered = append(answered, time.Now())
	}
	return answered, nil
}

// readLines reads what a captor prints and notes when the line of each answer came; last is closed at that
// of the last.
func readLines(in io.Reader, c *captor, lastNumber int, last chan<- struct{}) map[int]time.Time {
	times := map[int]time.Time{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		at := time.Now()
		m := c.id.FindSubmatch(lines.Bytes())
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(string(m[1]))
		if _, again := times[n]; err != nil || again {
			continue
		}
		times[n] = at
		if n == lastNumber {
			close(last)
		}
	}
	_, _ = io.Copy(io.Discard, in) // where a line was too long, so that the captor can end
	return times
}
