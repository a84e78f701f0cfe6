//go:build linux

package peers

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
)

// cacheServer is memcached, which writes down what it reads and answers.
type cacheServer struct {
	address string
	log     string
	cmd     *exec.Cmd
}

func startMemcached(t *testing.T) *cacheServer {
	t.Helper()
	name := program(t, "memcached")
	s := &cacheServer{address: address(t), log: filepath.Join(t.TempDir(), "log")}
	_, port, _ := net.SplitHostPort(s.address)
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args := []string{"-vv", "-l", "127.0.0.1", "-p", port, "-U", port, "-m", "16", "-t", "1"}
	if os.Getuid() == 0 {
		args = append(args, "-u", "root")
	}
	s.cmd = exec.Command(name, args...)
	s.cmd.Stderr = log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); ; {
		if c, err := net.Dial("tcp", s.address); err == nil {
			c.Close()
			return s
		}
		select {
		case <-poll.C:
		case <-deadline:
			said, _ := os.ReadFile(s.log)
			t.Fatalf("memcached doesn't answer:\n%s", said)
		}
	}
}

var (
	cacheLine = regexp.MustCompile(`^<\d+ ([a-z_]+( .*)?)$`)
	// cacheOwn are the lines that tell of connections.
	cacheOwn    = regexp.MustCompile(`^(connection closed|new |server listening|send buffer was)`)
	cacheHeader = regexp.MustCompile(`^([<>])(\d+) +((0x[0-9a-f]{2} ?){4})$`)
)

// said ends the server, and returns what it has logged: the lines of the text protocol that it read, and the headers of the binary
// protocol that it read and wrote, as opcode, opaque and, of responses, status. Hits and misses that quiet requests leave out aren't
// among them.
func (s *cacheServer) said(t *testing.T) (lines, requests, responses []string) {
	t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	s.cmd.Wait()
	b, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	headers := map[string][]byte{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if m := cacheHeader.FindStringSubmatch(line); m != nil {
			who := m[1] + m[2]
			for _, f := range strings.Fields(m[3]) {
				n, _ := strconv.ParseUint(f, 0, 8)
				headers[who] = append(headers[who], byte(n))
			}
			if h := headers[who]; len(h) == 24 {
				headers[who] = nil
				what := fmt.Sprintf("%#02x %d", h[1], binary.BigEndian.Uint32(h[12:]))
				if m[1] == "<" {
					requests = append(requests, what)
				} else {
					responses = append(responses, fmt.Sprintf("%s %d", what, binary.BigEndian.Uint16(h[6:])))
				}
			}
		} else if m := cacheLine.FindStringSubmatch(line); m != nil && !cacheOwn.MatchString(m[1]) {
			lines = append(lines, m[1])
		}
	}
	return lines, requests, responses
}

// cacheExchange is an exchange as these tests compare it.
type cacheExchange struct {
	target, protocol, opcode, status, failure, value, client string
	opaque, hits, misses                                     int64
	oneWay, answered                                         bool
	size                                                     int64
	grade                                                    exchange.Grade
	anomalies                                                proto.Anomalies
}

type cacheReceiver struct{ all []cacheExchange }

func (*cacheReceiver) Idle() error { return nil }

func (r *cacheReceiver) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		if x.Protocol != "memcached" {
			continue
		}
		q, a := &x.Request, &x.Response
		number := func(m *proto.Message, name string) int64 {
			if f := m.Fact(name); f != nil {
				return f.Number
			}
			return -1
		}
		r.all = append(r.all, cacheExchange{
			target: string(q.Bytes(q.Target)), protocol: string(q.FactText("protocol_type")), opcode: string(q.FactText("opcode")),
			status: string(a.FactText("status")), failure: string(a.FactText(proto.FactError)), value: string(x.ResponseBody.Bytes),
			client: x.Flow.End(x.Client), opaque: number(q, "opaque"), hits: number(a, "hits"), misses: number(a, "misses"),
			oneWay: q.OneWay, answered: x.HasResponse, size: a.Size, grade: x.Grade, anomalies: x.Anomalies,
		})
	}
	return nil
}

// observeMemcached runs the pipeline over a capture.
func observeMemcached(t *testing.T, path string) []cacheExchange {
	t.Helper()
	source, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var r cacheReceiver
	if _, err = pipeline.Run(context.Background(), source, pipeline.Config{
		Workers: 1, Memory: 1 << 30, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 64 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, MaxBody: 2 << 20, ExchangeTimeout: 5 * time.Minute},
	}, &r); err != nil {
		t.Error(err)
	}
	return r.all
}

// cacheTalk is what is said to memcached in the text protocol, with what must come of it: the outcome of each line, and the value
// of its response.
var cacheTalk = []struct {
	send string
	want []cacheExchange
}{
	{"set a 5 60 3\r\nabc\r\n", []cacheExchange{{target: "set a 5 60 3", status: "STORED"}}},
	{"get a\r\n", []cacheExchange{{target: "get a", status: "END", value: "a\tabc\n", hits: 1, misses: 0}}},
	{"gets a nothing\r\n", []cacheExchange{{target: "gets a nothing", status: "END", value: "a\tabc\n", hits: 1, misses: 1}}},
	// Pipelined, with and without answers.
	{"add a 0 0 1\r\nx\r\nset n 0 0 1 noreply\r\n7\r\nincr n 5\r\ndecr n 2 noreply\r\nget n a\r\n", []cacheExchange{
		{target: "add a 0 0 1", status: "NOT_STORED"}, {target: "set n 0 0 1 noreply", oneWay: true},
		{target: "incr n 5", value: "12\n", hits: 1}, {target: "decr n 2 noreply", oneWay: true},
		{target: "get n a", status: "END", value: "n\t10\na\tabc\n", hits: 2, misses: 0},
	}},
	{"incr a 1\r\n", []cacheExchange{{target: "incr a 1", status: "CLIENT_ERROR", failure: "CLIENT_ERROR"}}},
	{"incr nothing 1\r\ntouch nothing 1\r\ndelete nothing\r\n", []cacheExchange{
		{target: "incr nothing 1", status: "NOT_FOUND", misses: 1}, {target: "touch nothing 1", status: "NOT_FOUND", misses: 1},
		{target: "delete nothing", status: "NOT_FOUND", misses: 1},
	}},
	{"nonsense\r\n", []cacheExchange{{target: "nonsense", status: "ERROR", failure: "ERROR"}}},
	{"gat 100 a\r\nappend a 0 0 1\r\n!\r\ntouch a 10\r\n", []cacheExchange{
		{target: "gat 100 a", status: "END", value: "a\tabc\n", hits: 1, misses: 0}, {target: "append a 0 0 1", status: "STORED"},
		{target: "touch a 10", status: "TOUCHED", hits: 1},
	}},
	{"cas a 0 0 1 1\r\nx\r\n", []cacheExchange{{target: "cas a 0 0 1 1", status: "EXISTS"}}},
	// Meta commands, some of which leave their ordinary answer out.
	{"ms m 3 T60\r\nxyz\r\nmg m v t\r\nmg nothing v\r\nma n\r\nmd nothing\r\nmn\r\n", []cacheExchange{
		{target: "ms m 3 T60", status: "HD"}, {target: "mg m v t", status: "VA", value: "xyz\n", hits: 1},
		{target: "mg nothing v", status: "EN", misses: 1}, {target: "ma n", status: "HD", hits: 1},
		{target: "md nothing", status: "NF", misses: 1}, {target: "mn", status: "MN"},
	}},
	{"mg x v q O1\r\nmg m v q O2\r\nms q 1 q\r\n1\r\nmd q q\r\nmg y v q O3\r\nmn\r\n", []cacheExchange{
		{target: "mg x v q O1", misses: 1}, {target: "mg m v q O2", status: "VA", value: "xyz\n", hits: 1}, {target: "ms q 1 q"},
		{target: "md q q"}, {target: "mg y v q O3", misses: 1}, {target: "mn", status: "MN"},
	}},
	{"flush_all 1000\r\nverbosity 2\r\nlru_crawler enable\r\n", []cacheExchange{
		{target: "flush_all 1000", status: "OK"}, {target: "verbosity 2", status: "OK"}, {target: "lru_crawler enable", status: "ERROR", failure: "ERROR"},
	}},
}

// TestMemcachedText compares what is said in the text protocol with what came of it, and with the server's log.
func TestMemcachedText(t *testing.T) {
	p := startTap(t)
	s := startMemcached(t)
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var want []cacheExchange
	buf := make([]byte, 64<<10)
	for _, said := range cacheTalk {
		if _, err := io.WriteString(conn, said.send); err != nil {
			t.Fatal(err)
		}
		last := said.want[len(said.want)-1]
		if last.oneWay {
			t.Fatal("the last of a round must be answered")
		}
		var answer []byte
		answers := 0
		for _, w := range said.want {
			if !w.oneWay && (w.status != "" || w.value != "") {
				answers++
			}
		}
		for countAnswers(answer) < answers {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%q: %v, heard %q", said.send, err, answer)
			}
			answer = append(answer, buf[:n]...)
		}
		want = append(want, said.want...)
	}
	// A large value, which comes in many segments.
	large := strings.Repeat("0123456789abcdef", 50_000)
	if _, err := io.WriteString(conn, fmt.Sprintf("set large 0 0 %d\r\n%s\r\nget large\r\nquit\r\n", len(large), large)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	want = append(want, cacheExchange{target: fmt.Sprintf("set large 0 0 %d", len(large)), status: "STORED"},
		cacheExchange{target: "get large", status: "END", value: "large\t" + large + "\n", hits: 1}, cacheExchange{target: "quit", oneWay: true})

	have := observeMemcached(t, p.stop(t))
	lines, _, _ := s.said(t)
	// They complete in another order than they were asked.
	byTarget := func(a, b cacheExchange) int { return strings.Compare(a.target, b.target) }
	slices.SortStableFunc(want, byTarget)
	slices.SortStableFunc(have, byTarget)
	if len(have) != len(want) {
		t.Errorf("%d exchanges, want %d", len(have), len(want))
	}
	for i := range min(len(have), len(want)) {
		h, w := have[i], want[i]
		if w.hits == 0 && w.misses == 0 {
			h.hits, h.misses = 0, 0 // where it isn't about a key
		}
		if h.target != w.target || h.status != w.status || h.failure != w.failure || h.value != w.value || max(h.hits, 0) != w.hits || max(h.misses, 0) != w.misses ||
			h.oneWay != w.oneWay || h.answered == w.oneWay || h.grade != exchange.Complete || h.anomalies&^unknownCommand != 0 {
			h.value, w.value = h.value[:min(len(h.value), 100)], w.value[:min(len(w.value), 100)]
			t.Errorf("got\n%+v\nwant\n%+v", h, w)
		}
	}
	var ours []string
	for _, h := range have {
		ours = append(ours, h.target)
	}
	slices.Sort(ours)
	slices.Sort(lines)
	if !slices.Equal(ours, lines) {
		t.Errorf("culprit: %q\nmemcached: %q", ours, lines)
	}
}

// unknownCommand is what an exchange has whose command nobody knows.
const unknownCommand = proto.Anomalies(1) << proto.BadStartLine

// countAnswers counts the responses of the text protocol in what was heard. Values are one line each.
func countAnswers(b []byte) (n int) {
	value, alone := false, 0
	for line := range bytes.Lines(b) {
		if !bytes.HasSuffix(line, []byte("\r\n")) {
			break
		}
		switch {
		case value:
			value = false
			n += alone
		case bytes.HasPrefix(line, []byte("VALUE ")):
			value, alone = true, 0
		case bytes.HasPrefix(line, []byte("VA ")):
			value, alone = true, 1
		default:
			n++
		}
	}
	return n
}

// TestMemcachedClients lets clients talk: pymemcache in the text protocol, pylibmc in the binary one, and the tools of libmemcached.
func TestMemcachedClients(t *testing.T) {
	p := startTap(t)
	s := startMemcached(t)
	host, port, _ := net.SplitHostPort(s.address)
	for _, module := range []string{"pymemcache", "pylibmc"} {
		if err := exec.Command(debianPython, "-c", "import "+module).Run(); err != nil {
			t.Skipf("%s has no %s: make deps says how to get it", debianPython, module)
		}
	}
	script := filepath.Join("testdata", "memcached.py")
	if out, err := exec.Command(debianPython, script, host, port).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	stat := program(t, "memcstat")
	if out, err := exec.Command(stat, "--servers="+s.address).CombinedOutput(); err != nil {
		t.Fatalf("memcstat: %v\n%s", err, out)
	}
	have := observeMemcached(t, p.stop(t))
	lines, requests, responses := s.said(t)
	var text, asked, answered []string
	for _, x := range have {
		if x.grade != exchange.Complete {
			t.Errorf("%+v is %s", x, x.grade)
		}
		if x.anomalies != 0 {
			t.Errorf("%+v has anomalies", x)
		}
		if x.protocol != "binary" {
			text = append(text, x.target)
			continue
		}
		code, known := cacheOpcodes[x.opcode]
		if !known {
			t.Errorf("opcode %q", x.opcode)
		}
		asked = append(asked, fmt.Sprintf("%#02x %d", code, x.opaque))
		if x.size > 0 && x.opcode != "Stat" { // silence takes no bytes, and the log has nothing of answers to Stat
			answered = append(answered, fmt.Sprintf("%#02x %d %d", code, x.opaque, cacheStatus[x.status]))
		}
	}
	for _, c := range []struct {
		name         string
		ours, theirs []string
	}{{"lines", text, lines}, {"requests", asked, requests}, {"responses", answered, responses}} {
		slices.Sort(c.ours)
		slices.Sort(c.theirs)
		if !slices.Equal(c.ours, c.theirs) || len(c.ours) < 5 {
			t.Errorf("%s: culprit has %d: %q\nmemcached %d: %q", c.name, len(c.ours), c.ours, len(c.theirs), c.theirs)
		}
	}
}

// debianPython is the interpreter that Debian's modules are for.
const debianPython = "/usr/bin/python3"

// cacheOpcodes and cacheStatus are what the script makes use of.
var (
	cacheOpcodes = map[string]byte{
		"Get": 0, "Set": 1, "Add": 2, "Replace": 3, "Delete": 4, "Increment": 5, "Decrement": 6, "Quit": 7, "Flush": 8, "GetQ": 9, "NoOp": 10,
		"Version": 11, "GetK": 12, "GetKQ": 13, "Append": 14, "Prepend": 15, "Stat": 16, "SetQ": 17, "Touch": 28,
	}
	cacheStatus = map[string]int{"No error": 0, "Key not found": 1, "Key exists": 2, "Item not stored": 5, "Incr/Decr on non-numeric value": 6}
)

// TestMemcachedUDP asks over UDP, in the text protocol and in the binary one.
func TestMemcachedUDP(t *testing.T) {
	p := startTap(t)
	s := startMemcached(t)
	conn, err := net.Dial("udp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	// ask waits for a datagram that ends so, if an answer is to come.
	ask := func(id uint16, request, until string) {
		t.Helper()
		frame := binary.BigEndian.AppendUint16(nil, id)
		frame = append(frame, 0, 0, 0, 1, 0, 0)
		if _, err := conn.Write(append(frame, request...)); err != nil {
			t.Fatal(err)
		}
		for n := 0; !bytes.HasSuffix(buf[:n], []byte(until)); {
			if n, err = conn.Read(buf); err != nil {
				t.Fatalf("%q: %v", request, err)
			}
		}
	}
	value := strings.Repeat("x", 1000)
	ask(1, "set a 0 0 1000\r\n"+value+"\r\n", "STORED\r\n")
	ask(2, "append a 0 0 1000\r\n"+value+"\r\n", "STORED\r\n")
	ask(3, "set b 0 0 1 noreply\r\ny\r\n", "")
	ask(4, "get a b c\r\n", "END\r\n") // in several datagrams
	ask(5, "\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x2a\x00\x00\x00\x00\x00\x00\x00\x00b", "y")
	ask(6, "incr a 1\r\n", "value\r\n")
	have := observeMemcached(t, p.stop(t))
	lines, _, _ := s.said(t)
	want := []cacheExchange{
		{target: "set a 0 0 1000", protocol: "text", status: "STORED"}, {target: "append a 0 0 1000", protocol: "text", status: "STORED"},
		{target: "set b 0 0 1 noreply", protocol: "text", oneWay: true},
		{target: "get a b c", protocol: "text", status: "END", value: "a\t" + value + value + "\nb\ty\n", hits: 2, misses: 1},
		{target: "get b", protocol: "binary", status: "No error", value: "y\n", hits: 1},
		{target: "incr a 1", protocol: "text", status: "CLIENT_ERROR", failure: "CLIENT_ERROR"},
	}
	if len(have) != len(want) {
		t.Fatalf("%d exchanges, want %d: %+v", len(have), len(want), have)
	}
	var ours []string
	for i, h := range have {
		w := want[i]
		if h.target != w.target || h.protocol != w.protocol || h.status != w.status || h.failure != w.failure || h.value != w.value ||
			max(h.hits, 0) != w.hits || max(h.misses, 0) != w.misses || h.oneWay != w.oneWay || h.grade != exchange.Complete || h.anomalies != 0 {
			t.Errorf("got\n%+v\nwant\n%+v", h, w)
		}
		if h.protocol == "text" {
			ours = append(ours, h.target)
		}
	}
	if !slices.Equal(ours, lines) {
		t.Errorf("culprit: %q\nmemcached: %q", ours, lines)
	}
}
