package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/process"
	"github.com/culprit-http/culprit/internal/proto"
)

// began is when the tests begin to watch.
var began = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).UnixNano()

func after(seconds float64) int64 { return began + int64(seconds*1e9) }

// watched returns options of culprit sockets --watch.
func watched(t *testing.T, change func(c *config.Sockets)) *config.Sockets {
	t.Helper()
	c := &config.Sockets{Watch: true}
	if change != nil {
		change(c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

func listens(local string, holders ...process.Holder) process.Socket {
	return process.Socket{Kind: process.TCP, State: process.Listen, Local: netip.MustParseAddrPort(local), SendQueue: 128, Inode: 1, User: "root", Holders: holders}
}

func connected(local, remote string, holders ...process.Holder) process.Socket {
	return process.Socket{
		Kind: process.TCP, State: process.Established, Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote),
		Inode: 2, User: "www-data", Holders: holders,
	}
}

// hostWith is a listing of sockets of a host with two addresses.
func hostWith(sockets ...process.Socket) *process.Listing {
	return &process.Listing{Sockets: sockets, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("127.0.0.1")}}
}

var packetNumber uint64

// request is an exchange that is over at a time, and took so many milliseconds.
func request(client, server string, at int64, millis int, change func(x *exchange.Exchange)) *exchange.Exchange {
	c, s := netip.MustParseAddrPort(client), netip.MustParseAddrPort(server)
	packetNumber++
	x := &exchange.Exchange{
		Flow: &proto.Flow{
			Addr: [2]packet.Addr{c.Addr().As16(), s.Addr().As16()}, Port: [2]uint16{c.Port(), s.Port()}, Proto: packet.ProtoTCP,
		},
		Client: proto.Originator, HasRequest: true, HasResponse: true, Start: clock.Mark{Time: at, Packet: packetNumber}, Completed: clock.Mark{Time: at},
	}
	x.Response.Status = 200
	x.Timing.Duration = int64(millis) * 1e6
	if change != nil {
		change(x)
	}
	return x
}

func withStatus(n int) func(x *exchange.Exchange) {
	return func(x *exchange.Exchange) { x.Response.Status = n }
}

// seen is what rows show of traffic, one a line: address, requests in the window, connections, first process.
func seen(rows []row, seconds float64) string {
	var b strings.Builder
	for _, r := range rows {
		if n := r.rates.Requests * seconds; n > 0 || r.waiting > 0 {
			fmt.Fprintf(&b, "%v %.0f", r.end, n)
			if r.connections > 0 {
				fmt.Fprintf(&b, " over %d", r.connections)
			}
			if len(r.holders) > 0 {
				fmt.Fprintf(&b, " %s", processCell(r.holders, false))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// The more specific listener gets the traffic; what isn't to an address of this host is nobody's.
func TestTrafficFindsListener(t *testing.T) {
	all := []process.Socket{
		listens("0.0.0.0:80", holder(1, "any4")), listens("[::]:80", holder(2, "any6")), listens("10.0.0.1:80", holder(3, "one4")),
		listens("[::]:81", holder(4, "both")), listens("[::ffff:10.0.0.1]:82", holder(5, "mapped")), listens("[::ffff:0.0.0.0]:83", holder(6, "anymapped")),
		listens("127.0.0.1:84", holder(7, "loop")),
	}
	for server, want := range map[string]string{
		"10.0.0.1:80": "one4", "127.0.0.1:80": "any4", "127.8.8.8:80": "any4", "[fd00::1]:80": "any6", "[::1]:80": "any6",
		"10.0.0.1:81": "both", "[fd00::1]:81": "both", "10.0.0.1:82": "mapped", "127.0.0.1:83": "anymapped", "127.0.0.1:84": "loop",
		"10.0.0.2:80": "", "[fd00::2]:80": "", "10.0.0.1:84": "", "127.0.0.1:82": "", "10.0.0.1:85": "",
	} {
		tr := newTraffic(watched(t, nil), newCensus(hostWith(all...), watched(t, nil)), began)
		tr.add(request("192.0.2.7:5000", server, after(1), 5, nil))
		serves, calls := tr.rows(after(10))
		if len(serves) != len(all) || len(calls) > 0 {
			t.Fatalf("%s: %d rows, %d", server, len(serves), len(calls))
		}
		got := ""
		if serves[0].rates.Requests > 0 {
			got = serves[0].holders[0].Name
		}
		elsewhere := tr.elsewhere.Rates(after(10)).Requests > 0
		if got != want || elsewhere != (want == "") || serves[1].rates.Requests > 0 {
			t.Errorf("%s: %q, elsewhere %v; want %q", server, got, elsewhere, want)
		}
	}
}

// Sockets that share an address are one line.
func TestTrafficReusePort(t *testing.T) {
	a, b := listens("0.0.0.0:80", holder(9, "nginx")), listens("0.0.0.0:80", holder(8, "nginx"))
	a.RecvQueue, b.RecvQueue = 1, 2
	c := newCensus(hostWith(a, b, connected("10.0.0.1:80", "192.0.2.7:1"), connected("10.0.0.1:80", "192.0.2.7:2")), watched(t, nil))
	if len(c.waits) != 1 || c.waits[0].connections != 2 {
		t.Fatalf("%d lines, %d connections", len(c.waits), c.waits[0].connections)
	}
	if s := c.waits[0].socket; s.RecvQueue != 3 || s.SendQueue != 256 || processCell(s.Holders, false) != "nginx (8 +1)" || len(a.Holders) != 1 {
		t.Errorf("%+v", s)
	}
}

// Connections to a remote end are grouped by who has them; who has had them shortly counts if there is only one.
func TestTrafficGroupsCallers(t *testing.T) {
	nginx, worker, php := holder(412, "nginx"), holder(413, "nginx"), holder(97, "php-fpm")
	other := holder(600, "nginx")
	other.ContainerID = "c0ffee"
	all := hostWith(
		listens("0.0.0.0:80", nginx, worker),
		connected("10.0.0.1:80", "192.0.2.7:5000", worker),
		connected("10.0.0.1:40001", "10.0.0.2:8000", nginx), connected("10.0.0.1:40002", "10.0.0.2:8000", worker), connected("[::ffff:10.0.0.1]:40003", "[::ffff:10.0.0.2]:8000", worker),
		connected("10.0.0.1:40004", "10.0.0.3:8000", nginx), connected("10.0.0.1:40005", "10.0.0.3:8000", php), connected("10.0.0.1:40006", "10.0.0.3:8000", other),
	)
	c := watched(t, nil)
	tr := newTraffic(c, newCensus(all, c), began)
	for _, client := range []string{"10.0.0.1:40001", "10.0.0.1:40003", "10.0.0.1:59999"} { // the last isn't in the listing
		tr.add(request(client, "10.0.0.2:8000", after(1), 5, nil))
	}
	for _, client := range []string{"10.0.0.1:40004", "10.0.0.1:40005", "10.0.0.1:40005", "10.0.0.1:40005", "10.0.0.1:40006", "10.0.0.1:40006"} {
		tr.add(request(client, "10.0.0.3:8000", after(1), 5, nil))
	}
	for range 4 { // whose of the three it is isn't known
		tr.add(request("10.0.0.1:59998", "10.0.0.3:8000", after(1), 5, nil))
	}
	_, calls := tr.rows(after(10))
	want := `10.0.0.3:8000 4
10.0.0.2:8000 3 over 3 nginx (412 +1)
10.0.0.3:8000 3 over 1 php-fpm (97)
10.0.0.3:8000 2 over 1 nginx (600)
10.0.0.3:8000 1 over 1 nginx (412)
`
	if got := seen(calls, 10); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// What was unknown is known when the next listing has it.
	tr = newTraffic(c, newCensus(hostWith(), c), began)
	tr.add(request("10.0.0.1:40001", "10.0.0.2:8000", after(1), 5, nil))
	if _, calls = tr.rows(after(2)); seen(calls, 2) != "10.0.0.2:8000 1\n" {
		t.Errorf("before: %s", seen(calls, 2))
	}
	tr.adopt(newCensus(all, c), after(2))
	if _, calls = tr.rows(after(2)); seen(calls, 2) != "10.0.0.2:8000 1 over 3 nginx (412 +1)\n" {
		t.Errorf("after: %s", seen(calls, 2))
	}
	// And it is shown for some time when they have closed.
	tr.adopt(newCensus(hostWith(), c), after(4))
	if _, calls = tr.rows(after(4)); seen(calls, 4) != "10.0.0.2:8000 1 nginx (412 +1)\n" {
		t.Errorf("closed: %s", seen(calls, 4))
	}
}

func TestTrafficSelection(t *testing.T) {
	nginx, worker, php := holder(412, "nginx"), holder(413, "nginx"), holder(97, "php-fpm")
	all := hostWith(
		listens("0.0.0.0:80", nginx, worker), listens("0.0.0.0:9000", php),
		connected("10.0.0.1:40001", "10.0.0.2:8000", nginx), connected("10.0.0.1:40002", "10.0.0.2:8000", worker), connected("10.0.0.1:40005", "10.0.0.2:8000", php),
	)
	for _, choice := range []struct {
		name   string
		change func(c *config.Sockets)
		want   string
	}{
		{"all", nil, "10.0.0.1:80 10.0.0.1:9000 413 97 412 ?"},
		{"name", func(c *config.Sockets) { c.Process = "nginx" }, "10.0.0.1:80 413 412"},
		{"pid", func(c *config.Sockets) { c.PID = 413 }, "10.0.0.1:80 413"},
		{"listening", func(c *config.Sockets) { c.Listening = true }, "10.0.0.1:80 10.0.0.1:9000"},
		{"established", func(c *config.Sockets) { c.Established = true }, "413 97 412 ?"},
		{"udp", func(c *config.Sockets) { c.UDP = true }, ""},
		{"nobody", func(c *config.Sockets) { c.Process = "x" }, ""},
	} {
		c := watched(t, choice.change)
		tr := newTraffic(c, newCensus(all, c), began)
		ports := map[string]string{"10.0.0.1:40001": "412", "10.0.0.1:40002": "413", "10.0.0.1:40005": "97", "10.0.0.1:5": "?"}
		var got []string
		for _, server := range []string{"10.0.0.1:80", "10.0.0.1:9000"} {
			tr.add(request("192.0.2.7:5000", server, after(1), 5, nil))
			serves, _ := tr.rows(after(1))
			if slices.ContainsFunc(serves, func(r row) bool {
				return r.end.Port() == netip.MustParseAddrPort(server).Port() && r.rates.Requests > 0
			}) {
				got = append(got, server)
			}
		}
		for _, client := range []string{"10.0.0.1:40002", "10.0.0.1:40005", "10.0.0.1:40001", "10.0.0.1:5"} {
			_, before := tr.rows(after(1))
			tr.add(request(client, "10.0.0.2:8000", after(1), 5, nil))
			_, now := tr.rows(after(1))
			sum := func(rows []row) (n float64) {
				for _, r := range rows {
					n += r.rates.Requests
				}
				return n
			}
			if sum(now) > sum(before) {
				got = append(got, ports[client])
			}
		}
		if strings.Join(got, " ") != choice.want {
			t.Errorf("%s: %s, want %s", choice.name, strings.Join(got, " "), choice.want)
		}
	}
}

func TestTrafficOutcomes(t *testing.T) {
	c := watched(t, nil)
	for name, o := range map[string]struct {
		change   func(x *exchange.Exchange)
		requests float64
		errors   float64
		timed    bool
	}{
		"whole":         {nil, 1, 0, true},
		"404":           {withStatus(404), 1, 0, true},
		"500":           {withStatus(500), 1, 1, true},
		"599":           {withStatus(599), 1, 1, true},
		"499":           {withStatus(499), 1, 0, true},
		"aborted":       {func(x *exchange.Exchange) { x.Grade = exchange.Aborted }, 1, 1, true},
		"unanswered":    {func(x *exchange.Exchange) { x.Grade, x.HasResponse = exchange.Unanswered, false }, 1, 1, true},
		"gap":           {func(x *exchange.Exchange) { x.Grade = exchange.Gap }, 1, 0, true},
		"answer lost":   {func(x *exchange.Exchange) { x.Grade, x.HasResponse = exchange.Gap, false }, 1, 0, false},
		"one-sided":     {func(x *exchange.Exchange) { x.Grade = exchange.OneSided }, 1, 0, false},
		"midstream":     {func(x *exchange.Exchange) { x.Grade, x.HasRequest = exchange.Midstream, false }, 1, 0, false},
		"stream":        {func(x *exchange.Exchange) { x.Stream = true }, 1, 0, false},
		"over with us":  {func(x *exchange.Exchange) { x.Grade, x.Conn.Why = exchange.Unanswered, proto.CaptureEnded }, 0, 0, false},
		"whole, at end": {func(x *exchange.Exchange) { x.Conn.Why = proto.CaptureEnded }, 1, 0, true},
		"udp":           {func(x *exchange.Exchange) { x.Flow.Proto = packet.ProtoUDP }, 0, 0, false},
		"VLAN":          {func(x *exchange.Exchange) { x.Flow.Net = 7 }, 0, 0, false},
		"reversed": {func(x *exchange.Exchange) {
			x.Client = proto.Responder
			x.Flow.Addr[0], x.Flow.Addr[1] = x.Flow.Addr[1], x.Flow.Addr[0]
			x.Flow.Port[0], x.Flow.Port[1] = x.Flow.Port[1], x.Flow.Port[0]
		}, 1, 0, true},
	} {
		tr := newTraffic(c, newCensus(hostWith(listens("0.0.0.0:80")), c), began)
		tr.add(request("192.0.2.7:5000", "10.0.0.1:80", after(0.5), 64, o.change))
		serves, _ := tr.rows(after(1))
		r := serves[0].rates
		if r.Requests != o.requests || r.Errors != o.errors || r.P99 >= 64e6 != o.timed || r.P50 >= 64e6 != o.timed {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// On one interface, what is in a VLAN comes once.
	c = watched(t, func(c *config.Sockets) { c.Interface = "eth0" })
	tr := newTraffic(c, newCensus(hostWith(listens("0.0.0.0:80")), c), began)
	tr.add(request("192.0.2.7:5000", "10.0.0.1:80", after(0.5), 64, func(x *exchange.Exchange) { x.Flow.Net = 7 }))
	if serves, _ := tr.rows(after(1)); serves[0].rates.Requests != 1 {
		t.Errorf("VLAN at eth0: %+v", serves[0].rates)
	}
}

// What is past the window goes, and its memory too.
func TestTrafficForgets(t *testing.T) {
	c := watched(t, nil)
	nginx := holder(412, "nginx")
	first := newCensus(hostWith(listens("0.0.0.0:80"), connected("10.0.0.1:40001", "10.0.0.2:8000", nginx)), c)
	tr := newTraffic(c, first, began)
	tr.add(request("192.0.2.7:5000", "10.0.0.1:80", after(1), 5, nil))
	tr.add(request("10.0.0.1:40001", "10.0.0.2:8000", after(1), 5, nil))
	tr.adopt(newCensus(hostWith(listens("0.0.0.0:80")), c), after(2))
	at := func(seconds float64) string {
		tr.forget(after(seconds))
		serves, calls := tr.rows(after(seconds))
		return fmt.Sprint(len(serves), serves[0].rates.Requests > 0, len(calls), len(tr.serves), len(tr.calls), len(tr.talks))
	}
	for _, c := range []struct {
		seconds float64
		want    string
	}{{2, "1 true 1 1 1 1"}, {10, "1 true 1 1 1 1"}, {12.5, "1 false 0 0 0 0"}} {
		if got := at(c.seconds); got != c.want {
			t.Errorf("after %v s: %s, want %s", c.seconds, got, c.want)
		}
	}
	// Of a listing that is old, since listing takes long, nothing is forgotten.
	tr.adopt(first, after(20))
	tr.forget(after(50))
	if _, calls := tr.rows(after(50)); len(calls) != 1 || calls[0].connections != 1 {
		t.Errorf("%+v", calls)
	}
}

func TestTrafficWaiting(t *testing.T) {
	c := watched(t, nil)
	tr := newTraffic(c, newCensus(hostWith(listens("127.0.0.1:80")), c), began)
	hung := func() *exchange.Exchange { return request("127.0.0.1:5000", "127.0.0.1:80", after(2), -1, nil) }
	a, b := hung(), hung()
	b.Start.Packet, b.Start.Offset = a.Start.Packet, 100 // two requests in one packet
	for _, x := range []*exchange.Exchange{a, b, a} {
		tr.wait(x)
	}
	counts := func() string {
		tr.forget(after(100))
		serves, calls := tr.rows(after(100))
		return fmt.Sprint(serves[0].waiting, calls[0].waiting, len(tr.waiting))
	}
	if got := counts(); got != "2 2 2" {
		t.Errorf("two wait: %s", got)
	}
	tr.add(a)
	if got := counts(); got != "1 1 1" {
		t.Errorf("one waits: %s", got)
	}
	b.Grade, b.Conn.Why = exchange.Unanswered, proto.CaptureEnded
	tr.add(b)
	if serves, _ := tr.rows(after(100)); serves[0].waiting != 0 || len(tr.waiting) != 0 {
		t.Errorf("none waits: %+v", serves[0])
	}
}

// Nothing grows beyond its limit, and what isn't followed is counted.
func TestTrafficLimits(t *testing.T) {
	c := watched(t, nil)
	var all []process.Socket
	for i := range maxTalks + 10 {
		all = append(all, connected(fmt.Sprintf("10.0.0.1:%d", 10000+i), fmt.Sprintf("10.1.%d.%d:80", i/250, i%250), holder(7, "crawler")))
	}
	tr := newTraffic(c, newCensus(hostWith(all...), c), began)
	if len(tr.talks) != maxTalks || tr.untold != 10 {
		t.Errorf("%d talks, %d untold", len(tr.talks), tr.untold)
	}
	for i := range maxSeries + 10 {
		tr.add(request("10.0.0.1:5", fmt.Sprintf("10.2.%d.%d:80", i/250, i%250), after(1), 5, nil))
	}
	if len(tr.calls) != maxSeries || tr.unfollowed != 10 || tr.exchanges != maxSeries+10 {
		t.Errorf("%d series, %d unfollowed", len(tr.calls), tr.unfollowed)
	}
	if _, calls := tr.rows(after(2)); len(calls) != maxTalks+maxSeries {
		t.Errorf("%d rows", len(calls))
	}
	for range maxWaiting + 5 {
		tr.wait(request("10.0.0.1:5", "10.2.0.0:80", after(2), -1, nil))
	}
	if len(tr.waiting) != maxWaiting {
		t.Errorf("%d wait", len(tr.waiting))
	}
}

func TestTrafficAllocatesNothing(t *testing.T) {
	c := watched(t, nil)
	tr := newTraffic(c, newCensus(hostWith(listens("0.0.0.0:80"), connected("10.0.0.1:40001", "10.0.0.1:80", holder(1, "wrk"))), c), began)
	x := request("10.0.0.1:40001", "10.0.0.1:80", after(1), 5, nil)
	tr.add(x)
	if n := testing.AllocsPerRun(1000, func() { tr.add(x) }); n > 0 {
		t.Errorf("%v allocations for an exchange", n)
	}
}

// night is a frame with all that can be in one.
func night() *frame {
	end := netip.MustParseAddrPort
	nginx := []process.Holder{holder(412, "nginx"), holder(413, "nginx"), holder(414, "nginx")}
	nginx[0].Unit = "nginx.service"
	puma := holder(97, "puma")
	puma.ContainerID = "c0ffee0123456789abcdef"
	odd := holder(666, hostile)
	return &frame{
		at: time.Unix(0, began).UTC(), packets: 1240.4, lost: 12, seconds: 10, elsewhere: 40, unfollowed: 7, untold: 3,
		serves: []row{
			{kind: process.TCP, end: end("0.0.0.0:80"), queue: &[2]uint32{3, 511}, connections: 120, rates: measure.Rates{Requests: 1250, Errors: 0.3, P50: 2_100_000, P99: 1_204_000_000}, waiting: 3, user: "root", holders: nginx},
			{kind: process.TCP, end: end("[2001:db8:1:2:3:4:5:6]:8443"), queue: &[2]uint32{0, 128}, connections: 1, rates: measure.Rates{Requests: 0.1, Errors: 0.1, P50: -1, P99: -1}, user: hostile, holders: []process.Holder{odd}},
			{kind: process.TCP, end: end("[::]:22"), queue: &[2]uint32{0, 128}, rates: measure.Rates{P50: -1, P99: -1}, user: "root"},
			{kind: process.UnixStream, path: "/run/" + hostile, queue: &[2]uint32{0, 1024}, rates: measure.Rates{P50: -1, P99: -1}, user: "app", holders: []process.Holder{puma}},
		},
		calls: []row{
			{kind: process.TCP, end: end("10.0.0.2:8000"), connections: 12, rates: measure.Rates{Requests: 119.8, Errors: 119.8, P50: 850, P99: 1_190_000_000}, waiting: 2, user: "www-data", holders: nginx[1:]},
			{kind: process.TCP, end: end("10.0.0.3:8000"), rates: measure.Rates{Requests: 9.96, Errors: 0.001, P50: 125e9, P99: 12e12}},
			{kind: process.TCP, end: end("10.0.0.4:8000"), connections: 1, rates: measure.Rates{P50: -1, P99: -1}, user: "app", holders: []process.Holder{puma}},
		},
		links: []link{{party{"nginx", []int{414}}, party{hostile, []int{97}}, "/run/puma.sock"}},
		notes: []string{"3 of 100 processes couldn't be looked into: that needs CAP_SYS_PTRACE"},
	}
}

func TestFrame(t *testing.T) {
	for _, width := range []int{60, 80, 100, 140} {
		got := string(night().append(nil, terminal.Terminal{Width: width}, 0, width == 140))
		for line := range strings.Lines(got) {
			line = strings.TrimSuffix(line, "\n")
			if n := terminal.Width([]byte(line)); n > width {
				t.Errorf("%d columns of %d: %s", n, width, line)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || steers(r) }) {
				t.Errorf("steers the terminal: %q", line)
			}
		}
		goldenFile(t, fmt.Sprintf("watch-%d.golden", width), got)
	}
	plain := string(night().appendPlain(nil))
	for i, line := range strings.Split(strings.TrimSuffix(plain, "\n"), "\n") {
		if n := len(strings.Split(line, " ")); i > 0 && n != len(watchColumns)+2 {
			t.Errorf("%d fields: %s", n, line)
		}
	}
	goldenFile(t, "watch-0.golden", plain)
	doc, err := night().appendDocument(nil)
	if err != nil || !json.Valid(doc) || strings.Count(string(doc), "\n") != 1 || strings.ContainsFunc(strings.TrimSpace(string(doc)), steers) {
		t.Errorf("%v: %q", err, doc)
	}
	goldenFile(t, "watch.json", string(doc))
	if empty, err := (&frame{}).appendDocument(nil); err != nil || !strings.Contains(string(empty), `"serves":[],"calls":[]`) {
		t.Errorf("%s, %v", empty, err)
	}
}

// Red is for losses, and for nothing else.
func TestFrameColour(t *testing.T) {
	f := night()
	lossy := string(f.append(nil, terminal.Terminal{Width: 80, Color: true}, 0, false))
	if n := strings.Count(lossy, "\x1b"); n != 2 || !strings.Contains(lossy, "\x1b[31m12 lost\x1b[0m") {
		t.Errorf("%d sequences: %q", n, lossy)
	}
	f.lost = 0
	if whole := f.append(nil, terminal.Terminal{Width: 80, Color: true}, 0, false); strings.ContainsRune(string(whole), '\x1b') {
		t.Errorf("colours without losses: %q", whole)
	}
}

// A frame fits whatever terminal it is shown on, and says what it leaves out.
func TestFrameFits(t *testing.T) {
	for _, n := range []int{0, 1, 3, 50} {
		for _, m := range []int{0, 1, 3, 50} {
			f := night()
			f.serves, f.calls = nil, nil
			for i := range n {
				f.serves = append(f.serves, row{kind: process.TCP, end: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1000+i))})
			}
			for i := range m {
				f.calls = append(f.calls, row{kind: process.TCP, end: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), uint16(1000+i))})
			}
			for height := 1; height < 130; height++ {
				for _, width := range []int{1, 7, 33, 80} {
					got := string(f.append(nil, terminal.Terminal{Width: width}, height, false))
					if lines := strings.Count(got, "\n"); lines > height-1 {
						t.Fatalf("%d and %d rows, height %d: %d lines:\n%s", n, m, height, lines, got)
					}
					for line := range strings.Lines(got) {
						if terminal.Width([]byte(strings.TrimSuffix(line, "\n"))) > width {
							t.Fatalf("width %d: %q", width, line)
						}
					}
					if width != 80 || height < 16 {
						continue
					}
					for _, part := range []struct {
						address string
						rows    int
					}{{"10.0.0.1:", n}, {"10.0.0.2:", m}} {
						shown := strings.Count(got, part.address)
						if shown < part.rows && !strings.Contains(got, fmt.Sprintf("… %d more", part.rows-shown)) || shown == 0 && part.rows > 0 {
							t.Fatalf("height %d: %d of %d rows %s, and no word of the rest:\n%s", height, shown, part.rows, part.address, got)
						}
					}
					if height > 2+n+m+4+9 && strings.Contains(got, " more\n") {
						t.Fatalf("cut in spite of room, height %d:\n%s", height, got)
					}
				}
			}
		}
	}
}

// On a low terminal remarks give way to rows, and parts share what there is.
func TestFrameLow(t *testing.T) {
	f := night()
	for i := range 20 {
		f.calls = append(f.calls, row{kind: process.TCP, end: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.9"), uint16(1000+i)), rates: measure.Rates{P50: -1, P99: -1}})
	}
	var b strings.Builder
	for _, height := range []int{10, 16, 24} {
		fmt.Fprintf(&b, "-- 80x%d --\n%s", height, f.append(nil, terminal.Terminal{Width: 80}, height, false))
	}
	goldenFile(t, "watch-low.golden", b.String())
}

// A frame replaces the one before it: each line is erased behind its end, and so is what was below.
func TestInPlace(t *testing.T) {
	b := string(inPlace(night(), terminal.Terminal{Width: 80}, 24, false, true))
	if !strings.HasPrefix(b, "\x1b[H\x1b[2J") || !strings.HasSuffix(b, "\x1b[K\n\x1b[J") || strings.Count(b, "\n") != strings.Count(b, "\x1b[K\n") {
		t.Errorf("%q", b)
	}
	again := string(inPlace(night(), terminal.Terminal{Width: 80}, 24, false, false))
	if again != "\x1b[H"+strings.TrimPrefix(b, "\x1b[H\x1b[2J") {
		t.Errorf("%q", again)
	}
	if strings.Contains(b, "\x1b[?") {
		t.Error("a mode of the terminal is changed, which would have to be restored")
	}
}

// failing is a file that can't be written to.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestDisplay(t *testing.T) {
	r, w := io.Pipe()
	d := newDisplay(w, false, func() { t.Error("failed") })
	go func() {
		for range 3 {
			d.show(night(), watched(t, nil))
		}
		if err := d.close(); err != nil {
			t.Error(err)
		}
		w.Close()
	}()
	all, err := io.ReadAll(r)
	if one := string(night().appendPlain(nil)); err != nil || string(all) != one+"\n"+one+"\n"+one {
		t.Errorf("%v: %q", err, all)
	}

	failed := make(chan struct{})
	d = newDisplay(failing{}, true, func() { close(failed) })
	for range 3 {
		d.show(night(), watched(t, func(c *config.Sockets) { c.JSON = true }))
	}
	<-failed
	if err := d.close(); err == nil || err.Error() != "no space left" {
		t.Errorf("%v", err)
	}
}

func TestWatchCells(t *testing.T) {
	for rate, want := range map[float64]string{0: "-", 0.01: "0.1", 0.3: "0.3", 99.94: "99.9", 99.96: "100", 1249.5: "1,250"} {
		if got := rateCell(rate, false); got != want {
			t.Errorf("%v: %s, want %s", rate, got, want)
		}
	}
	for failed, want := range map[float64]string{0: "0 %", 0.04: "<0.1 %", 0.3: "0.3 %", 9.94: "9.9 %", 12.4: "12 %", 99.8: "99 %", 100: "100 %"} {
		if got := errorsCell(&row{rates: measure.Rates{Requests: 100, Errors: failed}}, false); got != want {
			t.Errorf("%v: %s, want %s", failed, got, want)
		}
	}
}

func BenchmarkRows(b *testing.B) {
	c := &config.Sockets{Watch: true}
	_ = c.Validate()
	tr := newTraffic(c, newCensus(hostWith(), c), began)
	for i := range 1000 * 100 {
		tr.add(request("10.0.0.1:5", fmt.Sprintf("10.2.0.0:%d", 1+i%1000), after(float64(i%10)), 1+i%97, nil))
	}
	for b.Loop() {
		tr.rows(after(10))
	}
}
