//go:build linux

package peers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/lab/tlspeers"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/udp"
)

// zoneOrigin is the zone in testdata that the name server has.
const zoneOrigin = "peers.example"

// bigRecords are how many addresses big.peers.example has, so many that its zone goes over in several messages.
const bigRecords = 3000

const namedConfig = `
options {
	directory "DIR"; pid-file none; session-keyfile none; managed-keys-directory "DIR";
	listen-on port PORT { 127.0.0.1; }; listen-on port WEB tls none http local { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; allow-transfer { any; }; dnssec-validation no; empty-zones-enable no; notify no; querylog yes; max-udp-size 1232;
};
http local { endpoints { "/dns-query"; }; };
logging { channel queries { file "DIR/queries.log"; }; category queries { queries; }; };
controls { };
zone "peers.example" { type primary; file "DIR/zone"; check-names ignore; };
zone "big.example" { type primary; file "DIR/big"; };
`

// nameServer is a running BIND.
type nameServer struct{ dir, port, web string }

func startNamed(t *testing.T) *nameServer {
	t.Helper()
	program(t, "named")
	program(t, "dig")
	s := &nameServer{dir: t.TempDir()}
	_, s.port, _ = net.SplitHostPort(address(t))
	_, s.web, _ = net.SplitHostPort(address(t))
	zone, err := os.ReadFile("testdata/zone." + zoneOrigin)
	if err != nil {
		t.Fatal(err)
	}
	var big strings.Builder
	big.WriteString("$TTL 300\n@ IN SOA ns.peers.example. admin.peers.example. 1 7200 900 86400 60\n@ NS ns.peers.example.\n")
	for i := range bigRecords {
		fmt.Fprintf(&big, "host%d A 10.0.%d.%d\n", i, i/256, i%256)
	}
	config := strings.NewReplacer("DIR", s.dir, "PORT", s.port, "WEB", s.web).Replace(namedConfig)
	zone = append(zone, "huge TXT"+strings.Repeat(` "`+strings.Repeat("x", 250)+`"`, 8)+"\n"...) // more than a datagram takes
	for name, text := range map[string]string{"zone": string(zone), "big": big.String(), "named.conf": config} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := tlspeers.Start(s.dir, nil, program(t, "named"), "-f", "-n", "1", "-c", filepath.Join(s.dir, "named.conf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if err := tlspeers.Await(net.JoinHostPort("127.0.0.1", s.port)); err != nil {
		t.Fatalf("named: %v: %s", err, p.Stderr())
	}
	return s
}

// looked is what was said of one question: by dig, or by culprit.
type looked struct {
	id, status, flags, counts string
	answers                   []string
}

func (l *looked) String() string {
	return fmt.Sprintf("%s %s [%s] %s\n\t%s", l.id, l.status, l.flags, l.counts, strings.Join(l.answers, "\n\t"))
}

var (
	digHeader = regexp.MustCompile(`status: (\w+), id: (\d+)\n;; flags: ([a-z ]*); QUERY: \d+, ANSWER: (\d+), AUTHORITY: (\d+), ADDITIONAL: (\d+)`)
	digSize   = regexp.MustCompile(`XFR size: (\d+) records \(messages (\d+), bytes (\d+)\)`)
)

// dig asks, and returns what dig writes.
func (s *nameServer) dig(t *testing.T, port string, question ...string) string {
	t.Helper()
	out, err := tlspeers.Output(s.dir, nil, "dig", append([]string{"@127.0.0.1", "-p", port, "+nosplit", "+tries=1"}, question...)...)
	if err != nil {
		t.Fatalf("dig %v: %v\n%s", question, err, out)
	}
	return string(out)
}

// readDig takes what dig writes apart.
func readDig(t *testing.T, out string) *looked {
	t.Helper()
	m := digHeader.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("dig says\n%s", out)
	}
	edns := 0
	if strings.Contains(out, "; EDNS: version") { // which dig counts as a record
		edns = 1
	}
	var additionals int
	fmt.Sscan(m[6], &additionals)
	flags, _ := strings.CutPrefix(m[3], "qr")
	l := &looked{status: m[1], id: m[2], flags: strings.ToUpper(strings.TrimSpace(flags)), counts: fmt.Sprint(m[4], " ", m[5], " ", additionals-edns)}
	if _, section, ok := strings.Cut(out, ";; ANSWER SECTION:\n"); ok {
		section, _, _ = strings.Cut(section, "\n\n")
		l.answers = sorted(section)
	}
	return l
}

// sorted returns the lines of a text, sorted, with single spaces.
func sorted(text string) (list []string) {
	for line := range strings.Lines(text) {
		list = append(list, strings.Join(strings.Fields(line), " "))
	}
	slices.Sort(list)
	return list
}

// resolved is an exchange as the tests compare it.
type resolved struct {
	looked
	start                                          time.Time
	protocol, grade, reason, method, target, query string
	proto                                          uint8
	anomalies                                      proto.Anomalies
	retries                                        int
	oneWay                                         bool
	rows, size                                     int64
	wait                                           time.Duration
}

// resolver takes exchanges.
type resolver []*resolved

func (*resolver) Idle() error { return nil }

func (r *resolver) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		*r = append(*r, newResolved(x))
	}
	return nil
}

func newResolved(x *exchange.Exchange) *resolved {
	q, a := &x.Request, &x.Response
	r := &resolved{
		protocol: x.Protocol, grade: x.Grade.String(), reason: x.Reason, proto: x.Flow.Proto, anomalies: x.Anomalies, retries: x.Retries, oneWay: q.OneWay,
		start: time.Unix(0, x.Start.Time), rows: a.Parts.Count, size: a.Size, wait: time.Duration(x.Timing.Wait),
	}
	if x.HasRequest {
		r.method, r.target = string(q.Bytes(q.Method)), string(q.Bytes(q.Target))
		r.query = fmt.Sprintf("%s#%d %s %s %s", x.Flow.Addr[x.Client], x.Flow.Port[x.Client], q.FactText("name"), q.FactText("class"), q.FactText("type"))
		if q.Fact("edns_size") != nil {
			r.query += " edns"
		}
		if q.Fact("edns_do") != nil {
			r.query += " do"
		}
		if x.Flow.Proto == packet.ProtoTCP {
			r.query += " tcp"
		}
	}
	if !x.HasResponse {
		return r
	}
	number := func(name string) int64 {
		if f := a.Fact(name); f != nil {
			return f.Number
		}
		return -1
	}
	r.id, r.status = fmt.Sprint(number("id")), string(a.FactText("rcode"))
	r.counts = fmt.Sprint(number("answers"), " ", number("authorities"), " ", number("additionals"))
	var flags []string
	var owner, typ, ttl string
	for i := range a.Facts {
		switch f := &a.Facts[i]; f.Name {
		case "flag":
			flags = append(flags, string(a.Bytes(f.Value)))
		case "answer_name":
			owner = string(a.Bytes(f.Value))
		case "answer_type":
			typ = string(a.Bytes(f.Value))
		case "answer_ttl":
			ttl = string(a.Bytes(f.Value))
		case "answer_data":
			r.answers = append(r.answers, fmt.Sprintf("%s. %s IN %s %s", owner, ttl, typ, a.Bytes(f.Value)))
		}
	}
	slices.Sort(r.answers)
	r.flags = strings.Join(flags, " ")
	if x.Family == exchange.Names {
		r.answers = sorted(string(x.ResponseBody.Bytes))
	}
	return r
}

// resolve runs the pipeline over a capture, and returns the exchanges in the order of their beginning.
func resolve(t *testing.T, file string) (all resolver) {
	t.Helper()
	source, err := capture.Open([]capture.Input{{Path: file}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if _, err := pipeline.Run(context.Background(), source, pipeline.Config{
		Workers: 1, Memory: 1 << 30, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits, UDP: udp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 64 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, MaxBody: 1 << 20, ExchangeTimeout: 5 * time.Minute},
	}, &all); err != nil {
		t.Error(err)
	}
	slices.SortStableFunc(all, func(a, b *resolved) int { return a.start.Compare(b.start) })
	return all
}

// questions are what dig asks besides for each record of the zone, with how many exchanges that takes.
var questions = []struct {
	arguments string
	exchanges int
}{
	{"web.peers.example A +dnssec", 1},
	{"WEB.peers.EXAMPLE A +noedns", 1},
	{"web.peers.example A +norecurse +cdflag +adflag", 1},
	{"web.peers.example A +subnet=192.0.2.0/24", 1},
	{"web.peers.example A +subnet=2001:db8::/56", 1},
	{"web.peers.example A +tcp", 1},
	{"web.peers.example A +tcp +keepopen www.peers.example A +tcp +keepopen", 2}, // on one connection
	{"web.peers.example A +padding=128", 1},
	{"web.peers.example A +nsid +nocookie", 1},
	{"nothing.peers.example A", 1},                // NXDOMAIN
	{"web.peers.example MX", 1},                   // no such records
	{"elsewhere.example A", 1},                    // REFUSED
	{"web.peers.example A +edns=9 +noednsneg", 1}, // BADVERS
	{"peers.example ANY", 1},                      // which dig asks over TCP
	{"huge.peers.example TXT", 2},                 // more than a datagram takes
	{"huge.peers.example TXT +ignore", 1},         // truncated
	{"huge.peers.example TXT +bufsize=4096 +ignore", 1},
	{"version.bind CH TXT", 1},
	{". NS", 1},
}

// TestNamed has dig ask BIND for records of every type that it has, and in every way. What culprit says is what dig says, and
// the questions are those of BIND's log.
func TestNamed(t *testing.T) {
	s := startNamed(t)
	tap := startTap(t)
	zone, err := os.ReadFile(filepath.Join(s.dir, "zone"))
	if err != nil {
		t.Fatal(err)
	}
	type call struct {
		arguments []string
		exchanges int
	}
	var calls []call
	for line := range strings.Lines(string(zone)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] != "huge" {
			typ := f[1]
			if typ == "IN" {
				typ = f[2]
			}
			calls = append(calls, call{[]string{strings.TrimPrefix(f[0]+"."+zoneOrigin, "@."), typ}, 1})
		}
	}
	for _, q := range questions {
		calls = append(calls, call{strings.Fields(q.arguments), q.exchanges})
	}
	var said []string
	for _, c := range calls {
		said = append(said, s.dig(t, s.port, c.arguments...))
	}
	have := resolve(t, tap.stop(t))
	var log []string
	i := 0
	for n, c := range calls {
		if i+c.exchanges > len(have) {
			t.Fatalf("%d exchanges, and %v isn't among them", len(have), c.arguments)
		}
		last := have[i+c.exchanges-1]
		out := said[n]
		if at := strings.LastIndex(out, ";; Got answer:"); at > 0 {
			out = out[at:]
		}
		want := readDig(t, out)
		if got := last.looked; got.String() != want.String() {
			t.Errorf("%v: dig says\n%v\nnot\n%v", c.arguments, want, &got)
		}
		for _, x := range have[i : i+c.exchanges] {
			if x.protocol != "dns" || x.grade != "complete" || x.anomalies != 0 || x.retries != 0 {
				t.Errorf("%v: %s, %s (%s), %d retries, anomalies %x", c.arguments, x.protocol, x.grade, x.reason, x.retries, x.anomalies)
			}
			if x.status != "BADVERS" { // BIND doesn't come to logging it
				log = append(log, x.query)
			}
		}
		i += c.exchanges
	}
	if i != len(have) {
		t.Errorf("%d exchanges, dig had %d", len(have), i)
	}
	if want := s.log(t); !slices.Equal(log, want) {
		for i := range max(len(log), len(want)) {
			if i >= len(log) || i >= len(want) || log[i] != want[i] {
				t.Fatalf("the log and the questions differ from the %dth on:\n%v\n%v", i, want[min(i, len(want)):], log[min(i, len(log)):])
			}
		}
	}
}

var logLine = regexp.MustCompile(`client @\S+ (\S+) \(.*\): query: (\S+) (\S+) (\S+) [-+]\S*`)

// log returns the questions of BIND's log, as newResolved writes them.
func (s *nameServer) log(t *testing.T) (list []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "queries.log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		m := logLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("BIND's log has %q", line)
		}
		query := strings.Join(m[1:5], " ")
		_, flags, _ := strings.Cut(m[0], " "+m[4]+" ")
		if _, rest, ok := strings.Cut(flags, "E("); ok {
			query += " edns"
			_, flags, _ = strings.Cut(rest, ")")
		}
		if strings.Contains(flags, "D") {
			query += " do"
		}
		if strings.Contains(flags, "T") {
			query += " tcp"
		}
		list = append(list, query)
	}
	return list
}

// TestZoneTransfer has dig fetch a zone that goes over in several messages.
func TestZoneTransfer(t *testing.T) {
	s := startNamed(t)
	tap := startTap(t)
	out := s.dig(t, s.port, "big.example", "AXFR")
	refused := s.dig(t, s.port, "elsewhere.example", "AXFR")
	have := resolve(t, tap.stop(t))
	if len(have) != 2 {
		t.Fatalf("%d exchanges", len(have))
	}
	var rows, messages, size int64
	if m := digSize.FindStringSubmatch(out); m == nil {
		t.Fatalf("dig says\n%s", out)
	} else if _, err := fmt.Sscan(strings.Join(m[1:], " "), &rows, &messages, &size); err != nil {
		t.Fatal(err)
	}
	const length = 2 // bytes before each message
	if x := have[0]; messages < 2 || x.rows != rows || x.size != size+length*messages || x.grade != "complete" || x.method != "AXFR" || x.target != "big.example" {
		t.Errorf("%s %s: %d records in %d bytes, %s; dig says %d in %d, with %d messages", x.method, x.target, x.rows, x.size, x.grade, rows, size, messages)
	}
	if x := have[1]; x.status == "NOERROR" || !strings.Contains(refused, "Transfer failed") {
		t.Errorf("a zone that isn't there: %s; dig says\n%s", x.status, refused)
	}
}

// TestNamesOverHTTP has dig ask BIND over HTTP/2, by GET and by POST.
func TestNamesOverHTTP(t *testing.T) {
	s := startNamed(t)
	tap := startTap(t)
	calls := [][]string{{"+http-plain", "web.peers.example", "A"}, {"+http-plain-get", "web.peers.example", "AAAA"}, {"+http-plain", "nothing.peers.example", "A"}}
	var said []string
	for _, c := range calls {
		said = append(said, s.dig(t, s.web, c...))
	}
	have := resolve(t, tap.stop(t))
	if len(have) != len(calls) {
		t.Fatalf("%d exchanges", len(have))
	}
	for i, x := range have {
		if got, want := x.looked, readDig(t, said[i]); got.String() != want.String() || x.protocol != "http2" {
			t.Errorf("%v: dig says\n%v\nnot\n%v", calls[i], want, &got)
		}
		if want := s.log(t)[i]; x.query != want {
			t.Errorf("%v: BIND says\n%s\nnot\n%s", calls[i], want, x.query)
		}
	}
}

// TestResolver has the C library look names up with a server that is slow to answer: it doesn't answer a question that it hears
// for the first time, and one name never.
func TestResolver(t *testing.T) {
	program(t, "mount")
	program(t, "getent")
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("53"), 0); err != nil {
		t.Skipf("the port of DNS can't be used here: %v", err)
	}
	server, err := net.ListenPacket("udp4", "127.0.0.1:53")
	if err != nil {
		t.Skipf("the port of DNS can't be used here: %v", err)
	}
	defer server.Close()
	heard := make(chan map[string]int)
	go func() { heard <- hesitate(server) }()
	dir := t.TempDir()
	config := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(config, []byte("nameserver 127.0.0.1\noptions timeout:1 attempts:2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tap := startTap(t)
	for name, found := range map[string]bool{"www.example": true, "silent.example": false} {
		cmd := exec.Command("/bin/sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec getent ahosts "$1"`, config, name)
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "mount:") {
			t.Skipf("resolv.conf can't be replaced here: %s", out)
		}
		if strings.Contains(string(out), "192.0.2.1") != found {
			t.Fatalf("getent %s: %v: %s", name, err, out)
		}
	}
	have := resolve(t, tap.stop(t))
	server.Close()
	asked := <-heard
	for _, x := range have {
		key := x.target + " " + x.method
		if asked[key] -= 1 + x.retries; asked[key] == 0 {
			delete(asked, key)
		}
		want := resolved{grade: "complete", looked: looked{status: "NOERROR"}}
		if x.target == "silent.example" {
			want = resolved{grade: "unanswered"}
		}
		if x.grade != want.grade || x.status != want.status || x.retries != 1 || x.grade == "complete" && x.wait < 900*time.Millisecond || x.anomalies != 0 {
			t.Errorf("%s: %s (%s) %s after %v and %d retries, anomalies %x", key, x.grade, x.reason, x.status, x.wait, x.retries, x.anomalies)
		}
	}
	if len(asked) > 0 || len(have) != 4 {
		t.Errorf("%d exchanges; the server heard besides %v", len(have), asked)
	}
}

// hesitate answers each question when it hears it for the second time, but for those of one name, and returns how often it heard
// each, when it is closed.
func hesitate(c net.PacketConn) map[string]int {
	heard := map[string]int{}
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return heard
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		name := strings.TrimSuffix(q.Name.String(), ".")
		key := name + " " + strings.TrimPrefix(q.Type.String(), "Type")
		if heard[key]++; heard[key] < 2 || name == "silent.example" {
			continue
		}
		m.Response, m.RecursionAvailable = true, true
		if q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
			}}
		}
		if b, err := m.Pack(); err == nil {
			_, _ = c.WriteTo(b, from)
		}
	}
}
