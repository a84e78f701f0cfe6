//go:build linux

package live

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

const (
	// soak, set in the environment, makes the soak last soakLong instead of soakShort.
	soak      = "CULPRIT_SOAK"
	soakShort = 5 * time.Second
	soakLong  = time.Minute
	// soakRate is in frames a second: many, but no more than a busy machine of two cores can analyse.
	soakRate = 10_000
	// soakPace is how often some real requests are made.
	soakPace = 20 * time.Millisecond
	// soakMemory is culprit's budget: the least that it takes.
	soakMemory = 64 << 20
)

// anonymous returns the memory of a process that isn't files, nor the rings that it shares with the kernel, in bytes.
func anonymous(pid int) (n int64) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range bytes.Lines(status) {
		if f := strings.Fields(string(line)); len(f) == 3 && f[0] == "RssAnon:" {
			n, _ = strconv.ParseInt(f[1], 10, 64)
		}
	}
	return n << 10
}

// Floods, garbage, half-open and endless connections: culprit stays within its memory, counts every packet, and still
// finds every exchange that is real.
func TestSoakWithHostileTraffic(t *testing.T) {
	last := soakShort
	if os.Getenv(soak) != "" {
		last = soakLong
	}
	client, server, nginx := pair(t, newLab(t, "nginx"))
	quiet(t, client, server)
	// The server answers the flood: its answers go to the client's host, which throws them away.
	check(t,
		server.Namespace.IP("route add default via "+client4),
		server.Namespace.Sink(server4+":81"),
	)
	before := packets(t, server)
	p := start(t, server.Namespace, "-i", "s0", "--memory", strconv.Itoa(soakMemory), "--ring", "32MiB", "--block", "128KiB")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := lab.Hostile{
		From: client, Target: netip.MustParseAddrPort(server4 + ":80"), TargetMAC: address(t, server),
		Rate: soakRate, Time: last, HalfOpen: 50, Endless: 4, Sink: server4 + ":81", Seed: 1,
	}
	type sending struct {
		sent map[string]uint64
		err  error
	}
	hostile := make(chan sending, 1)
	go func() {
		sent, err := h.Run(ctx)
		hostile <- sending{sent, err}
	}()
	var sent map[string]uint64
	pace := time.NewTicker(soakPace)
	defer pace.Stop()
	peak, requests := int64(0), 0
	for sent == nil {
		requests += len(drive(t, client.Namespace, server4+":80", 4, 20, numbered(fmt.Sprintf("real%d-", requests))))
		now := int64(0)
		for _, pid := range processes(p.PID) {
			now += anonymous(pid)
		}
		peak = max(peak, now)
		select {
		case s := <-hostile:
			check(t, s.err)
			sent = s.sent
		case <-pace.C:
		}
	}
	least := packets(t, server) - before
	r := p.stop(t)
	most := packets(t, server) - before // the answers to a flood go on for a while

	frames := uint64(0)
	for _, n := range sent {
		frames += n
	}
	t.Logf("%d hostile frames, %d real requests, at most %d MiB; standard error:\n%s", frames, requests, peak>>20, r.stderr)
	if want := uint64(last.Seconds() * soakRate / 2); frames < want {
		t.Errorf("only %d hostile frames were sent, want %d: the machine is too busy for this test", frames, want)
	}
	if peak > soakMemory {
		t.Errorf("culprit took %d bytes, its budget is %d", peak, soakMemory)
	}
	if n := r.packets.received; n < least || n > most {
		t.Errorf("received %d packets, the interface counts %d to %d", n, least, most)
	}
	// That hostile traffic isn't whole is worth an exit status of 3; that packets were lost isn't what it is for.
	if r.status != 0 && r.status != 3 || r.packets.dropped > 0 {
		t.Errorf("exit status %d; %d packets were dropped", r.status, r.packets.dropped)
	}
	var real []exchange
	for _, x := range r.exchanges {
		if strings.HasPrefix(id(x.URL.Original), "real") {
			real = append(real, x)
		}
	}
	var log []lab.Access
	for _, a := range must(nginx.Log())(t) {
		if strings.HasPrefix(id(a.Target), "real") {
			log = append(log, a)
		}
	}
	if len(log) != requests {
		t.Errorf("nginx has logged %d real requests, %d were made", len(log), requests)
	}
	same(t, log, real)
}

func address(t *testing.T, e lab.End) (mac net.HardwareAddr) {
	t.Helper()
	check(t, e.Namespace.Do(func() error {
		i, err := net.InterfaceByName(e.Interface)
		if err == nil {
			mac = i.HardwareAddr
		}
		return err
	}))
	return mac
}
