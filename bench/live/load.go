//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// load is what the server is asked.
type load struct {
	name, about string
	path        string
	connections int
	rate        float64 // requests a second, from our generator
	flags       []string
	wrk         bool // flat out, from wrk with these flags
}

// driven is what became of a load.
type driven struct {
	requests int // answered in full
	errors   int
	elapsed  time.Duration
	cpu      time.Duration // of the load's process
}

const (
	// calibration is for how long the machine's rate is measured, each time.
	calibration = 2 * time.Second
	// reachable is which share of that rate is asked for at most: at more, requests would queue.
	reachable = 0.95
	// A rate of which less than kept is kept when it is tried is lowered, to lower of it, at most trials times:
	// other programs may need the machine too.
	kept, lower, trials = 0.98, 0.9, 5
)

// wanted returns the loads that the user wants.
func (b *bench) wanted(ctx context.Context) (loads []*load, err error) {
	if b.o.loads == none {
		return nil, nil
	}
	all := []*load{
		{name: "paced", about: "1 KB answers on 32 keep-alive connections at a fixed rate", path: "/small", connections: 32, rate: b.o.rate},
		{name: "flat", about: "1 KB answers on 64 keep-alive connections, wrk flat out", path: "/small", connections: 64, wrk: true},
		{name: "large", about: "1 MB answers on 8 keep-alive connections at a fixed rate", path: "/large", connections: 8, rate: b.o.large},
		{name: "short", about: "1 KB answers, a connection each, wrk flat out", path: "/small", connections: 64, wrk: true,
			flags: []string{"-H", "Connection: close"}},
	}
	if loads, err = choose(all, b.o.loads, func(l *load, w string) bool { return l.name == w }); err != nil {
		return nil, fmt.Errorf("-loads: %w", err)
	}
	for _, l := range loads {
		if _, err := exec.LookPath("wrk"); err != nil && l.wrk {
			return nil, errors.New("wrk isn't installed (Debian: apt-get install wrk), or choose -loads paced,large")
		}
		if l.rate == 0 && !l.wrk {
			if l.rate, err = b.calibrate(ctx, l); err != nil {
				return nil, err
			}
			l.about += fmt.Sprintf(": %s/s, which leaves about %.0f %% of a core idle", thousands(l.rate), b.o.idle)
		} else if !l.wrk {
			l.about += fmt.Sprintf(": %s/s", thousands(l.rate))
		}
	}
	return loads, nil
}

// choose returns those of all that the list, with commas between, asks for: all of them if it is empty.
func choose[T any](all []T, list string, is func(one T, want string) bool) ([]T, error) {
	if list == "" {
		return all, nil
	}
	want := strings.Split(list, ",")
	for _, w := range want {
		if !slices.ContainsFunc(all, func(one T) bool { return is(one, w) }) {
			return nil, fmt.Errorf("nothing is called %q", w)
		}
	}
	return slices.DeleteFunc(all, func(one T) bool {
		return !slices.ContainsFunc(want, func(w string) bool { return is(one, w) })
	}), nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// calibrate measures what a request costs the server and the generator, and returns the rate that leaves as
// much of a core idle as is wanted.
func (b *bench) calibrate(ctx context.Context, l *load) (float64, error) {
	fmt.Fprintf(os.Stderr, "%s: looking for the rate...\n", l.name)
	try := *l
	try.rate = math.MaxInt32
	before := b.server.cpu()
	d, err := b.drive(ctx, &try, calibration)
	if err != nil {
		return 0, err
	}
	if d.requests == 0 {
		return 0, errors.New("nginx answered no request of the generator")
	}
	each := (d.cpu + b.server.cpu() - before).Seconds() / float64(d.requests)
	try.rate = min((cores()-b.o.idle/100)/each, reachable*d.perSecond())
	for range trials {
		try.rate = max(math.Floor(try.rate/100)*100, 100)
		if d, err = b.drive(ctx, &try, calibration); err != nil {
			return 0, err
		}
		if d.perSecond() >= kept*try.rate {
			break
		}
		try.rate *= lower
	}
	return try.rate, nil
}

// perSecond returns the rate of answers.
func (d *driven) perSecond() float64 { return float64(d.requests) / d.elapsed.Seconds() }

// drive runs a load for a time.
func (b *bench) drive(ctx context.Context, l *load, t time.Duration) (d driven, err error) {
	ctx, cancel := context.WithTimeout(ctx, t+patience)
	defer cancel()
	var cmd *exec.Cmd
	if l.wrk {
		cmd = exec.CommandContext(ctx, "wrk", append([]string{"-t", "2", "-c", strconv.Itoa(l.connections),
			"-d", strconv.Itoa(max(int(t.Round(time.Second).Seconds()), 1)), "--timeout", "5"}, l.flags...)...)
		cmd.Args = append(cmd.Args, "http://"+b.server.address+l.path)
	} else {
		self, err := os.Executable()
		if err != nil {
			return d, err
		}
		o, err := json.Marshal(order{b.server.address, l.path, l.connections, l.rate, t})
		if err != nil {
			return d, err
		}
		cmd = exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), generatorOrder+"="+string(o))
	}
	var said, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complaints
	if err := b.network.asClient(cmd.Start); err != nil {
		return d, err
	}
	if err := cmd.Wait(); err != nil {
		return d, fmt.Errorf("%s: %w\n%s", cmd.Args[0], err, complaints.Bytes())
	}
	if l.wrk {
		d, err = wrkResult(said.String())
	} else {
		d, err = generatorResult(said.Bytes())
	}
	d.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return d, err
}

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in ([\d.]+)(us|ms|s|m),`)
	wrkErrors   = regexp.MustCompile(`connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkStatuses = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
)

// wrkResult reads what wrk says at its end.
func wrkResult(text string) (d driven, err error) {
	m := wrkRequests.FindStringSubmatch(text)
	if m == nil {
		return d, fmt.Errorf("wrk doesn't tell its requests: %q", text)
	}
	d.requests, _ = strconv.Atoi(m[1])
	if d.elapsed, err = time.ParseDuration(m[2] + m[3]); err != nil {
		return d, fmt.Errorf("wrk: %w", err)
	}
	for _, numbers := range [][]string{wrkErrors.FindStringSubmatch(text), wrkStatuses.FindStringSubmatch(text)} {
		for _, n := range numbers[min(1, len(numbers)):] {
			count, _ := strconv.Atoi(n)
			d.errors += count
		}
	}
	return d, nil
}

// generatorOrder is the variable of the environment that makes this program a generator of requests, and
// holds the order.
const generatorOrder = "CULPRIT_BENCH_GENERATOR"

type order struct {
	Address, Path string
	Connections   int
	Rate          float64 // of all connections together, a second
	Time          time.Duration
}

// account is what the generator says at its end.
type account struct {
	Requests int
	Elapsed  time.Duration
}

func generatorResult(text []byte) (d driven, err error) {
	var a account
	if err := json.Unmarshal(text, &a); err != nil {
		return d, fmt.Errorf("the generator's account: %w", err)
	}
	return driven{requests: a.Requests, elapsed: a.Elapsed}, nil
}

// generator asks at a fixed rate, each connection in its turn. A connection whose answer comes late sends its
// next request at once, so that the rate is made up for as long as the server can.
func generator(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	begin := time.Now()
	var lock sync.Mutex
	var all error
	a := account{}
	var running sync.WaitGroup
	for i := range o.Connections {
		running.Go(func() {
			n, err := o.connection(begin, i)
			lock.Lock()
			a.Requests += n
			all = errors.Join(all, err)
			lock.Unlock()
		})
	}
	running.Wait()
	a.Elapsed = time.Since(begin)
	if all != nil {
		return all
	}
	return json.NewEncoder(os.Stdout).Encode(a)
}

// connection asks on one connection until the time is over, once at least if there is a turn for it, and
// returns how many answers it got.
func (o *order) connection(begin time.Time, nth int) (answers int, err error) {
	c, err := dial(o.Address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for n := nth; ; n += o.Connections {
		at := time.Duration(float64(n) / o.Rate * float64(time.Second))
		time.Sleep(at - time.Since(begin))
		if at >= o.Time || answers > 0 && time.Since(begin) >= o.Time {
			return answers, nil
		}
		if err := c.get(o.Path); err != nil {
			return answers, err
		}
		answers++
	}
}

// client is a keep-alive connection.
type client struct {
	net.Conn
	in      *bufio.Reader
	request []byte
}

func dial(address string) (*client, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &client{Conn: c, in: bufio.NewReaderSize(c, 64<<10)}, nil
}

var (
	ok            = []byte("HTTP/1.1 200 ")
	contentLength = []byte("Content-Length: ")
)

// get asks and reads the whole answer, which must have a length.
func (c *client) get(path string) error {
	c.request = fmt.Appendf(c.request[:0], "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", path)
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write(c.request); err != nil {
		return err
	}
	body := -1
	for nth := 0; ; nth++ {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if nth == 0 && !bytes.HasPrefix(line, ok) {
			return fmt.Errorf("the answer to %s begins with %q", path, line)
		}
		if after, is := bytes.CutPrefix(line, contentLength); is {
			if body, err = strconv.Atoi(string(bytes.TrimSpace(after))); err != nil {
				return err
			}
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	if body < 0 {
		return fmt.Errorf("the answer to %s has no length", path)
	}
	_, err := c.in.Discard(body)
	return err
}
