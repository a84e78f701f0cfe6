package corpus

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/blame"
	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/output/pcapng"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
)

// recorded is what comes of recordings of mod_firehose.
type recorded struct {
	// lines say of each exchange what was asked and answered, and how it is graded; flows are the same lines by connection.
	lines []string
	flows map[*proto.Flow][]string
	docs  bytes.Buffer
	// halves are the bytes of half-streams, with a mark for each hole.
	halves map[string]*bytes.Buffer
	// file is a pcapng file of the packets.
	file     []byte
	warnings []string
	faults   []string
	encoder  ndjson.Encoder
}

func (r *recorded) Idle() error { return nil }

func (r *recorded) Chunks(list []follow.Chunk) error {
	for _, c := range list {
		if c.Step != 0 {
			continue
		}
		key := fmt.Sprintf("%p %v", c.Flow, c.Dir)
		b := r.halves[key]
		if b == nil {
			b = new(bytes.Buffer)
			r.halves[key] = b
		}
		if b.Write(c.Data); c.Gap != 0 {
			fmt.Fprintf(b, "[%d]", c.Gap)
		}
	}
	return nil
}

func (r *recorded) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		line := "-"
		if x.HasRequest {
			line = fmt.Sprintf("%s %s", x.Request.Bytes(x.Request.Method), x.Request.Bytes(x.Request.Target))
		}
		if x.HasResponse {
			line += fmt.Sprintf(" %d %d", x.Response.Status, x.Response.BodyBytes)
		}
		if x.Protocol != "http" {
			line = x.Protocol + " " + line
		}
		if x.Grade != exchange.Complete {
			line += " " + x.Grade.String() + ": " + x.Reason
		}
		r.lines = append(r.lines, line)
		r.flows[x.Flow] = append(r.flows[x.Flow], line)
		r.knowsNoNetwork(x, line)
		r.docs.Write(r.encoder.Append(nil, x))
		r.docs.WriteByte('\n')
	}
	return nil
}

// knowsNoNetwork notes what an exchange says of the network, which no server records.
func (r *recorded) knowsNoNetwork(x *exchange.Exchange, line string) {
	measure.Time(x)
	(&blame.Court{}).Judge(x)
	doc := r.encoder.Append(nil, x)
	t := &x.Timing
	switch who := x.Blame.Who; {
	case !bytes.Contains(doc, []byte(`"recorded":"server"`)):
		r.faults = append(r.faults, line+": it isn't said that it was recorded")
	case bytes.Contains(doc, []byte(`"net":{`)), bytes.Contains(doc, []byte(`"connect":`)), t.Connect >= 0, t.TLS >= 0, t.Idle >= 0:
		r.faults = append(r.faults, line+": there are facts of the network: "+string(doc))
	case who == exchange.ByClientNetwork, who == exchange.ByServerNetwork, who == exchange.ByClient && x.Blame.Situation != exchange.ClientError:
		r.faults = append(r.faults, line+": blamed "+x.Why())
	}
}

// record is a Source that keeps what passes as a pcapng file.
type record struct {
	capture.Source
	to   *recorded
	taps int
}

func (s *record) Next(r *capture.Record) error {
	err := s.Source.Next(r)
	if err != nil {
		return err
	}
	if s.taps == 0 {
		s.to.file = pcapng.AppendSection(nil, pcapng.Section{})
	}
	for ; s.taps < len(s.Taps()); s.taps++ {
		s.to.file = pcapng.AppendInterface(s.to.file, &s.Taps()[s.taps], r.Link)
	}
	s.to.file = pcapng.AppendPacket(s.to.file, &pcapng.Packet{Interface: r.Tap, Time: r.Time, Data: r.Data, Wire: r.WireLen})
	return nil
}

// traceRecorded traces recordings.
func traceRecorded(t *testing.T, workers int, paths ...string) *recorded {
	t.Helper()
	var inputs []capture.Input
	for _, p := range paths {
		inputs = append(inputs, capture.Input{Path: p})
	}
	source, err := capture.Open(inputs, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	r := &recorded{encoder: ndjson.NewEncoder(), flows: map[*proto.Flow][]string{}, halves: map[string]*bytes.Buffer{}}
	if _, err := pipeline.Run(context.Background(), &record{Source: source, to: r}, pipeline.Config{
		Workers: workers, Memory: 512 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits, Follow: follow.Plain,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 64 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, ExchangeTimeout: 5 * time.Minute},
	}, r); err != nil {
		t.Fatal(err)
	}
	r.warnings = source.Warnings()
	return r
}

const (
	noResponse = " onesided: no response has its UUID: it wasn't recorded, or followed an internal redirect"
	noRequest  = " onesided: no request has its UUID: it wasn't recorded, or followed an internal redirect"
)

// recordings are what real recordings hold: lines as recorded has them, in the order of their begin; and what is warned of.
var recordings = []struct {
	names    []string
	lines    []string
	warnings []string
}{
	{[]string{"h24-b-req-internal-redirect"}, redirected, nil},
	{[]string{"h25-b-req-internal-redirect"}, redirected, nil},
	{[]string{"h24-k-h2-connection"}, []string{"http2 POST /echo.cgi 200 86", "http2 POST /echo.cgi 200 86", "http2 GET /hello.txt 200 16"}, nil},
	{[]string{"h24-k-h2-proxydirectives"}, nil, nil}, // bodies of streams, without heads, and with the directions swapped
	{[]string{"h25-a-conn-keepalive"}, []string{
		"GET /hello.txt 200 16", "HEAD /hello.txt 200 0", "GET /nope 404 236", "POST /echo.cgi 200 87", "GET /chunks.cgi 200 21", "GET /inc.shtml 200 29",
		"GET /hello.txt 200 16", "GET /index.html 200 32",
	}, nil},
	{[]string{"h25-b-req-keepalive"}, []string{
		"GET /hello.txt 200 16", "POST /echo.cgi 200 88", "GET /inc.shtml 200 29", "GET /sub/ 404 236", "GET / 200 32", "GET /hello.txt 200 16",
		"GET /index.html 200 32", "GET /hello.txt 200 16",
	}, nil},
	{[]string{"h25-c-proxy-all-six"}, []string{
		"GET /b/hello.txt 200 16", "GET /b/hello.txt 200 16", "GET /hello.txt 200 16",
		"POST /b/echo.cgi 200 89", "POST /b/echo.cgi 200 89", "POST /echo.cgi 200 89",
		"GET /hello.txt 200 16", "GET /hello.txt 200 16",
		"GET /b/mid.bin 200 70000", "GET /b/mid.bin 200 70000", "GET /mid.bin 200 70000",
		"GET /b/hello.txt 200 16", "GET /b/hello.txt 200 16", "GET /hello.txt 200 16",
	}, []string{"16 recorded streams, 2 without the mark of their end"}},
	{[]string{"h25-c-proxy-backend-side"}, []string{"GET /hello.txt 200 16", "POST /echo.cgi 200 89", "GET /mid.bin 200 70000", "GET /hello.txt 200 16"},
		[]string{"2 recorded streams, 2 without the mark of their end"}},
	{[]string{"h25-c-proxy-client-side"}, []string{
		"GET /b/hello.txt 200 16", "POST /b/echo.cgi 200 89", "GET /hello.txt 200 16", "GET /b/mid.bin 200 70000", "GET /b/hello.txt 200 16"}, nil},
	{[]string{"h25-d-up-down"}, []string{
		"POST /echo.cgi 200 91", "POST /echo.cgi 200 90", "POST /echo.cgi 200 85", "GET /big.bin 200 1000059", "GET /big.bin 206 4101"}, nil},
	{[]string{"h25-f-killed"}, []string{
		"GET /hello.txt 200 16", "GET /hello.txt 200 16", "GET /dl300.bin 200 300000",
		"POST /echo.cgi gap: 1.21 KiB of 4.88 KiB of the request: the recording ends"},
		[]string{"7 recorded streams, 5 without the mark of their end"}},
	{[]string{"h25-g-fifo-nonblock-slow"}, []string{
		"GET /hello.txt 200 16", "GET /dl300.bin 200 60045 gap: 60 fragments of what the server sent are missing",
		"GET /mid.bin 200 64048 gap: 62.5 KiB of 68.4 KiB of the response: the recording ends"},
		[]string{"2 recorded streams, 1 with missing fragments, 2 without the mark of their end (60 fragments missing)"}},
	{[]string{"h25-h-tls"}, []string{"GET /hello.txt 200 16", "POST /echo.cgi 200 89", "GET /mid.bin 200 70000", "GET / 400 402"}, nil},
	{[]string{"h25-l-disk-full"}, []string{ // of another connection, only the ends are there
		"GET /hello.txt 200 16", "GET /mid.bin 200 14781 gap: a fragment of what the server sent is missing", "GET /hello.txt 200 16", "GET /index.html 200 32",
		"GET /hello.txt 200 16"},
		[]string{"damaged in 1 place: a fragment cut short at offset 16384; 0 bytes skipped",
			"6 recorded streams, 1 with missing fragments, 2 without their beginning, 1 with a fragment cut short, 2 behind damage, maybe forged (21 fragments missing)"}},
	{[]string{"h25-r-copytruncate-part1"}, []string{"GET /hello.txt 200 16", "GET /hello.txt gap: 0 B of the request: the recording ends"},
		[]string{"3 recorded streams, 3 without the mark of their end"}},
	{[]string{"h25-r-copytruncate-part1", "h25-r-copytruncate-part2"}, []string{"GET /hello.txt 200 16", "GET /hello.txt 200 16", "GET /index.html 200 32"}, nil},
	{[]string{"h25-r-copytruncate-part2", "h25-r-copytruncate-part1"}, []string{"GET /hello.txt 200 16", "GET /hello.txt 200 16", "GET /index.html 200 32"}, nil},
	{[]string{"h25-s-two-files-input", "h25-s-two-files-output"}, twoFiles, nil},
	{[]string{"h25-s-two-files-output", "h25-s-two-files-input"}, twoFiles, nil},
	{[]string{"h25-s-two-files-input"}, slices.Repeat([]string{"GET /hello.txt" + noResponse}, 6), nil},
	{[]string{"h25-s-two-files-output"}, slices.Repeat([]string{"- 200 16" + noRequest}, 6), nil},
	{[]string{"h25-w-websocket-proxy"}, []string{"GET /ws 101 0", "websocket GET /ws 101 15", "GET /ws 101 0", "websocket GET /ws 101 15"}, nil},
}

var (
	twoFiles   = slices.Repeat([]string{"GET /hello.txt 200 16"}, 6)
	redirected = []string{
		"GET /nope" + noResponse, "- 404 47" + noRequest, "POST /nope2" + noResponse, "- 404 47" + noRequest, "GET /hello.txt 200 16",
	}
)

// TestRecordings traces what Apache httpd has recorded.
func TestRecordings(t *testing.T) {
	folder := shared(t, "firehose/real")
	for _, c := range recordings {
		name := strings.Join(c.names, " + ")
		var paths []string
		for _, n := range c.names {
			paths = append(paths, filepath.Join(folder, n, "stream.firehose"))
		}
		r := traceRecorded(t, 1, paths...)
		got, want := slices.Clone(r.lines), slices.Clone(c.lines)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, fault := range r.faults {
			t.Errorf("%s: %s", name, fault)
		}
		var warnings []string
		for _, w := range r.warnings {
			_, text, _ := strings.Cut(w, ": ")
			warnings = append(warnings, text)
		}
		if !slices.Equal(warnings, c.warnings) {
			t.Errorf("%s: warnings %q, want %q", name, warnings, c.warnings)
		}
		if len(c.names) == 1 {
			clients(t, filepath.Join(folder, c.names[0]), r)
			demuxed(t, filepath.Join(folder, c.names[0]), r)
		}
		again(t, name, r, paths)
		wireshark(t, name, r)
	}
}

// spoken are the recordings of which traffic has what clients said and heard, all of which was recorded.
var spoken = []string{"h25-a-conn-keepalive", "h25-c-proxy-client-side", "h25-d-up-down"}

// clients compares exchanges with what the clients themselves said and heard, as another reader understands it.
func clients(t *testing.T, folder string, r *recorded) {
	t.Helper()
	if !slices.Contains(spoken, filepath.Base(folder)) {
		return
	}
	sent, _ := filepath.Glob(filepath.Join(folder, "traffic", "*.sent"))
	var want, got []string
	for _, path := range sent {
		ask, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := os.ReadFile(strings.TrimSuffix(path, ".sent") + ".received")
		if err != nil {
			t.Fatal(err)
		}
		if lines := dialogue(t, ask, answer); lines != "" {
			want = append(want, lines)
		}
	}
	for _, lines := range r.flows {
		got = append(got, strings.Join(lines, "\n"))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: the clients say\n%s\nand we\n%s", folder, strings.Join(want, "\n\n"), strings.Join(got, "\n\n"))
	}
}

// dialogue reads the two directions of a connection with net/http.
func dialogue(t *testing.T, ask, answer []byte) string {
	t.Helper()
	var lines []string
	asks, answers := bufio.NewReader(bytes.NewReader(ask)), bufio.NewReader(bytes.NewReader(answer))
	for {
		q, err := http.ReadRequest(asks)
		if err != nil {
			break
		}
		_, _ = io.Copy(io.Discard, q.Body)
		a, err := http.ReadResponse(answers, q)
		for err == nil && a.StatusCode < 200 {
			a, err = http.ReadResponse(answers, q)
		}
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, a.Body)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %s %d %d", q.Method, q.RequestURI, a.StatusCode, n))
	}
	return strings.Join(lines, "\n")
}

// demuxed compares half-streams with the files that Apache's own utility makes of a recording without damage.
func demuxed(t *testing.T, folder string, r *recorded) {
	t.Helper()
	if strings.Contains(folder, "disk-full") || strings.Contains(folder, "nonblock") || strings.Contains(folder, "part2") {
		return // where it throws bytes away
	}
	files, err := filepath.Glob(filepath.Join(folder, "demux", "*.re*"))
	if err != nil || len(files) == 0 {
		t.Fatal("no files in ", folder, err)
	}
	var want, got []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, string(b))
	}
	for _, b := range r.halves {
		if b.Len() > 0 {
			got = append(got, b.String())
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d half-streams, which aren't those of Apache's utility, %d", folder, len(got), len(want))
	}
}

// again traces the packets that were made of recordings, and the recordings with more workers: nothing is different.
func again(t *testing.T, name string, r *recorded, paths []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(paths[0])) // which is the tap's label
	if err := os.WriteFile(path, r.file, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, other := range map[string]*recorded{"of the packets": traceRecorded(t, 1, path), "with 4 workers": traceRecorded(t, 4, paths...)} {
		if !bytes.Equal(other.docs.Bytes(), r.docs.Bytes()) {
			t.Errorf("%s: other exchanges %s: %s", name, what, firstDifference(r.docs.Bytes(), other.docs.Bytes()))
		}
	}
}

// wireshark compares with what Wireshark finds in the packets.
func wireshark(t *testing.T, name string, r *recorded) {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Log("not compared with Wireshark: tshark isn't installed")
		return
	}
	path := filepath.Join(t.TempDir(), "a.pcapng")
	if err := os.WriteFile(path, r.file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tshark, "-r", path, "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE",
		"-T", "fields", "-e", "_ws.expert.severity", "-e", "_ws.expert.message", "-e", "http.request.method", "-e", "http2.headers.method").Output()
	if err != nil {
		t.Fatalf("%s: tshark: %v", name, err)
	}
	found := 0
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if holes := slices.ContainsFunc(r.warnings, func(w string) bool { return strings.Contains(w, "missing") }); !holes && (strings.Contains(f[0], "6291456") || strings.Contains(f[0], "8388608")) {
			t.Errorf("%s: Wireshark warns: %s", name, f[1]) // PI_WARN, PI_ERROR
		}
		if f[2]+f[3] != "" {
			found++
		}
	}
	asked := 0
	for _, line := range r.lines {
		if !strings.HasPrefix(line, "-") && !strings.HasPrefix(line, "websocket") && !strings.Contains(line, "of the request: the recording ends") {
			asked++
		}
	}
	if found != asked {
		t.Errorf("%s: Wireshark finds %d requests, not %d", name, found, asked)
	}
}
