//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestWrkResult(t *testing.T) {
	for _, c := range []struct {
		text string
		want driven
	}{
		{"  45456 requests in 1.10s, 54.79MB read\nRequests/sec: 41342.05\n", driven{requests: 45456, elapsed: 1100 * time.Millisecond}},
		{"  12 requests in 1.00m, 1MB read\n  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\n",
			driven{requests: 12, elapsed: time.Minute, errors: 15}},
	} {
		if got, err := wrkResult(c.text); got != c.want || err != nil {
			t.Errorf("%q: %+v, %v; want %+v", c.text, got, err, c.want)
		}
	}
	if _, err := wrkResult("unable to connect"); err == nil {
		t.Error("no error where there is no result")
	}
}

func TestSaid(t *testing.T) {
	byName := map[string]*captor{}
	for _, c := range captors("culprit") {
		byName[c.name] = c
	}
	const stats = "culprit: capturing on eth0\n" +
		"packets     received 1,234,567 = analysed 1,200,000 + ignored 34,500 (arp 12) + dropped 67 (kernel 60, interface 7)\n" +
		"exchanges   seen 12,000 = complete 11,998 + aborted 2\n"
	for _, c := range []struct {
		captor, text string
		want         said
	}{
		{"culprit -o line", stats, said{1234500, 67, 11998}},
		{"culprit -o line", "culprit: no permission\n", said{-1, -1, -1}},
		{"tcpdump to culprit", "5 packets captured\n3 packets dropped by kernel\n" + stats, said{1234567, 3, 11998}},
		{"tcpdump -w", "90950 packets captured\n181900 packets received by filter\n1 packet dropped by kernel\n", said{90950, 1, -1}},
		{"tshark -w", "tshark: \n7 packets captured\n", said{7, 0, -1}},
		{"tshark -w", "7 packets captured\n32 packets dropped from eth0\n", said{7, 32, -1}},
		{"tcpflow -o", "<total_packets>90948</total_packets>", said{90948, -1, -1}},
	} {
		if got := byName[c.captor].said(c.text); got != c.want {
			t.Errorf("%s says %q: %+v, want %+v", c.captor, c.text, got, c.want)
		}
	}
}

func TestFound(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, found func(string) (int, error), want int) {
		if got, err := found(dir); got != want || err != nil {
			t.Errorf("%s: %d, %v; want %d", what, got, err, want)
		}
	}
	write("out", "{\"status_code\":200}\n{}\n{\"status_code\":404}\n")
	check("lines", lines(""), 3)
	check("lines with a mark", lines(`"status_code":`), 2)
	check("tcpflow: not in its output", tcpflowResponses, 0)
	// A body without a line's end, longer than what is looked at at once, is followed by the next answer.
	write("10.0.0.1.00080-10.0.0.2.40000", "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("l", 9<<20)+"HTTP/1.1 200 OK\r\n\r\n")
	write("10.0.0.2.40000-10.0.0.1.00080", "GET / HTTP/1.1\r\n\r\n")
	write("report.xml", "HTTP/1.1 200 \n")
	check("tcpflow", tcpflowResponses, 2)
	write("out", "http://h/a\t200\t0.1\n\t\t\nhttp://h/a,http://h/b\t200,304\t0.1,0.2\n")
	check("tshark", tsharkResponses, 3)
}

func TestInterfacePackets(t *testing.T) {
	const text = "Inter-|   Receive  |  Transmit\n face |bytes    packets errs\n" +
		"    lo: 64009912   90988    0    0    0     0          0         0 64009912   90987    0    0    0     0       0          0\n" +
		"  eth0:       0       0    0    0    0     0          0         0        0       3    0    0    0     0       0          0\n"
	if received, sent, err := interfacePackets([]byte(text), "lo"); received != 90988 || sent != 90987 || err != nil {
		t.Errorf("%d, %d, %v", received, sent, err)
	}
	if _, _, err := interfacePackets([]byte(text), "eth1"); err == nil || !strings.Contains(err.Error(), "eth1") {
		t.Errorf("error %v, want one that names the interface", err)
	}
}

func TestStatField(t *testing.T) {
	stat := []byte("42 (a) b (c) S 7 42 7 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 1 0 100 1 1")
	for field, want := range map[int]int{4: 7, 14: 11, 15: 22, 16: 33, 17: 44, 99: 0} {
		if got := statField(stat, field); got != want {
			t.Errorf("field %d: %d, want %d", field, got, want)
		}
	}
	if got := statField(nil, 4); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
}

// A process and its children are one captor; others aren't.
func TestTree(t *testing.T) {
	_, us := tree(os.Getpid())
	if us.resident == 0 || us.anonymous == 0 || us.anonymous > us.resident {
		t.Errorf("our memory: %+v", us)
	}
	if cpu, m := tree(1 << 30); cpu != 0 || m != (memory{}) {
		t.Errorf("a process that isn't there: %v, %+v", cpu, m)
	}
}

func TestComplaints(t *testing.T) {
	c := &complaints{mark: "capturing on", marked: make(chan struct{})}
	for _, part := range []string{"culprit: captu", "ring on eth0\n", "capturing on\n", strings.Repeat("x", maxComplaints)} {
		if n, err := c.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		select {
		case <-c.marked:
			if part[0] == 'c' && part[1] == 'u' {
				t.Error("the mark was seen before it was whole")
			}
		default:
			if part[0] != 'c' || part[1] != 'u' {
				t.Errorf("the mark wasn't seen in %.30q", part)
			}
		}
	}
	if got := len(c.String()); got != maxComplaints {
		t.Errorf("%d bytes kept, want %d", got, maxComplaints)
	}
}

// The generator counts what it got, on as many connections as it should, and no faster than it should.
func TestGenerator(t *testing.T) {
	var requests, connections atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("Content-Length", "3")
		w.Write([]byte("abc"))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	text, err := json.Marshal(order{s.Listener.Addr().String(), "/", 4, 200, 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	defer func() { os.Stdout = stdout }()
	path := filepath.Join(t.TempDir(), "out")
	if os.Stdout, err = os.Create(path); err != nil {
		t.Fatal(err)
	}
	if err := generator(string(text)); err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := generatorResult(said)
	if err != nil {
		t.Fatal(err)
	}
	if int64(d.requests) != requests.Load() || d.requests == 0 || d.requests > 40 {
		t.Errorf("%d requests counted, %d made; want as many, and at most 40", d.requests, requests.Load())
	}
	if connections.Load() != 4 || d.elapsed <= 0 {
		t.Errorf("%d connections in %v, want 4", connections.Load(), d.elapsed)
	}
}

func TestGeneratorRefuses(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	c, err := dial(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.get("/missing"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("error %v, want one that shows the status", err)
	}
}

func TestReadLines(t *testing.T) {
	last := make(chan struct{})
	c := &captor{id: regexp.MustCompile(`/id/(\d+)`)}
	times := readLines(strings.NewReader("GET /id/0 200\nheader\nGET /id/1 200\nGET /id/1 200\n"), c, 1, last)
	if len(times) != 2 || times[0].IsZero() || times[1].IsZero() {
		t.Errorf("%v", times)
	}
	select {
	case <-last:
	default:
		t.Error("the last line wasn't noticed")
	}
}

func TestMillis(t *testing.T) {
	var late []time.Duration
	for i := range 100 {
		late = append(late, time.Duration(i+1)*time.Millisecond)
	}
	for _, c := range []struct {
		late []time.Duration
		q    float64
		want string
	}{{late, 0.5, "50.00"}, {late, 0.99, "99.00"}, {late, 1, "100.00"}, {late[:1], 0.5, "1.00"}, {nil, 0.5, "-"}} {
		if got := millis(c.late, c.q); got != c.want {
			t.Errorf("%g of %d: %s, want %s", c.q, len(c.late), got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		all  []float64
		want float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1, math.NaN(), 2, math.Inf(1)}, 2}, {[]float64{1, 2}, 1.5}} {
		if got := median(slices.Clone(c.all)); got != c.want {
			t.Errorf("%v: %g, want %g", c.all, got, c.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("of nothing: %g", got)
	}
}

func TestTables(t *testing.T) {
	measured := func(requests int, cpu time.Duration, s said, found int) *turn {
		return &turn{driven: driven{requests: requests, elapsed: time.Second}, said: s, wire: 4000, cpu: cpu,
			others: time.Second, idle: 0.3, elsewhere: 0.05, behind: 100 * time.Millisecond, memory: memory{35e6, 10e6}, found: found}
	}
	rows := []*row{
		{captor: &captor{name: none}, turns: []*turn{{driven: driven{requests: 2000, elapsed: time.Second}, others: time.Second}, nil}},
		{captor: &captor{name: "culprit -o line", found: lines("")}, turns: []*turn{
			measured(1000, 4*time.Millisecond, said{4000, 0, 999}, 1000), measured(1000, 8*time.Millisecond, said{4000, 5, 1000}, 1000)}},
		{captor: &captor{name: "peer", remark: "writes"}, failed: 1, turns: []*turn{
			measured(500, 8*time.Millisecond, said{-1, -1, -1}, 0), nil}},
	}
	var text, markdown bytes.Buffer
	tables{&text, false}.load(&load{name: "flat", about: "as fast as it can"}, rows)
	tables{&markdown, true}.load(&load{name: "flat", about: "as fast as it can"}, rows)
	const want = `
flat: as fast as it can

captor           requests/s  % of none  CPU s  µs/packet     ×  µs/exchange     ×  packets %  dropped  found %  behind s  VmHWM MB  RssAnon MB  others µs  idle %  else %
none                  2,000        100                                                                                                              500.0       0       0
culprit -o line       1,000         50   0.01       1.50  1.00         6.00  1.00      100.0        5    100.0       0.1      35.0        10.0     1000.0      30       5  exchanges not complete: 1
peer                    500         25   0.01          -     -            -     -          -        -                0.1      35.0        10.0     2000.0      30       5  writes; turns failed: 1
`
	if text.String() != want {
		t.Errorf("got %s\nwant %s", text.String(), want)
	}
	for _, line := range strings.Split(strings.TrimSpace(markdown.String()), "\n")[2:] {
		if strings.Count(line, "|") != 19 {
			t.Errorf("row %q hasn't 18 columns", line)
		}
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	if _, err := available(options{captors: "tshrak"}); err == nil || !strings.Contains(err.Error(), `"tshrak"`) {
		t.Errorf("error %v, want one that names the captor", err)
	}
	if _, err := (&bench{o: options{loads: "flatt"}}).wanted(t.Context()); err == nil || !strings.Contains(err.Error(), `"flatt"`) {
		t.Errorf("error %v, want one that names the load", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := options{time: time.Second, rounds: 1, on: "lo", large: 1}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*options){
		"-time":   func(o *options) { o.time = time.Hour },
		"-rounds": func(o *options) { o.rounds = 0 },
		"-on":     func(o *options) { o.on = "wlan0" },
		"-large":  func(o *options) { o.large = 0 },
		"-idle":   func(o *options) { o.idle = 100 * cores() },
	} {
		o := good
		spoil(&o)
		if err := o.check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v, want one that names it", name, err)
		}
	}
}
