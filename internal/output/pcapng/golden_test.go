package pcapng

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/synth"
)

var update = flag.Bool("update", false, "write the golden files")

// small records the second exchange of a small capture.
func small(t *testing.T) []byte {
	src := source(dialogue(t, conversation))
	src.taps[0] = capture.Tap{Name: "eth0", Observer: "web1", Filter: "tcp port 80", SnapLen: 65535, Dropped: 3, IfDropped: 1}
	var d disk
	record(t, src, 1, []File{&d}, Options{
		Application: "culprit 1.2.3", Hardware: "amd64", OS: "Linux 6.1", CaptureFilter: "tcp port 80", Selection: "--where 'status >= 400'", Matched: true,
	}, func(x *exchange.Exchange) bool { return x.Response.Status >= 400 })
	return d.data
}

func TestGolden(t *testing.T) {
	got := small(t)
	path := filepath.Join("testdata", "small.pcapng")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run the test with -update to write it)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (run the test with -update, and compare with capinfos and tshark):\n%x", path, got)
	}
}

// TestComments: what the wire says can't make comments long, or other than text.
func TestComments(t *testing.T) {
	x := outputtest.Exchange("GET /a\x1b[31m\xff?q="+strings.Repeat("é", 3000)+" HTTP/1.1\nHost: h\x07", "HTTP/1.1 500 X")
	x.Number = 7
	got := string(AppendComment(nil, x))
	if !strings.HasPrefix(got, `culprit: exchange 7: GET h\x07/a\x1b[31m\xff?q=éé`) || !strings.Contains(got, "…") ||
		len(got) > 8<<10 || strings.ToValidUTF8(got, "") != got || !strings.Contains(got, " 500 ") {
		t.Errorf("%q", got)
	}
	for _, c := range []struct {
		change func(x *exchange.Exchange)
		want   string
	}{
		{func(*exchange.Exchange) {}, "culprit: exchange 1: GET a/b 200 18.0 ms, grade complete"},
		{func(x *exchange.Exchange) { x.HasRequest = false }, "culprit: exchange 1: a request that wasn't seen, to 10.0.0.2:80 200 18.0 ms, grade complete"},
		{func(x *exchange.Exchange) {
			x.HasResponse, x.Grade, x.Reason, x.Timing.Duration = false, exchange.Unanswered, "why\n", -1
		}, `culprit: exchange 1: GET a/b, grade unanswered: why\x0a`},
	} {
		x := outputtest.Exchange("GET /b HTTP/1.1\nHost: a", "HTTP/1.1 200 OK")
		x.Number, x.Timing.Duration = 1, int64(18*time.Millisecond)
		x.Flow = outputtest.Flow("10.0.0.7:51022", "10.0.0.2:80")
		c.change(x)
		if got := string(AppendComment(nil, x)); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if b := text("a" + strings.Repeat("é", 50000)); len(b) > maxOption || len(b) < maxOption-3 || strings.ToValidUTF8(string(b), "") != string(b) {
		t.Errorf("%d bytes", len(b))
	}
}

// tool runs a program of Wireshark's, and skips the test when it isn't there.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s isn't installed: what it reads of a recording isn't tested", name)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, &stderr)
	}
	return string(out)
}

func saved(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "r.pcapng")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCapinfosReadsIt(t *testing.T) {
	out := tool(t, "capinfos", saved(t, small(t)))
	for _, want := range []string{
		"Number of packets:   12", "pcapng", "nanoseconds (9)", "Capture application: culprit 1.2.3", "Capture hardware:    amd64", "Capture oper-sys:    Linux 6.1",
		"culprit: the packets of exchanges selected by --where 'status >= 400'; capture filter: tcp port 80",
		"Name = eth0", "Description = captured on web1", "Capture length = 65535", "Filter string = tcp port 80",
		"Number of stat entries = 1", "Number of packets = 12",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("capinfos doesn't say %q:\n%s", want, out)
		}
	}
}

func TestTsharkReadsIt(t *testing.T) {
	out := tool(t, "tshark", "-r", saved(t, small(t)), "-T", "json", "-e", "frame.comment", "-e", "frame.time_epoch", "-e", "http.request.uri", "-e", "http.response.code", "-e", "frame.interface_name")
	var packets []struct {
		Source struct {
			Layers map[string][]string `json:"layers"`
		} `json:"_source"`
	}
	if err := json.Unmarshal([]byte(out), &packets); err != nil {
		t.Fatal(err)
	}
	if len(packets) != 12 {
		t.Fatalf("%d packets", len(packets))
	}
	request, response := packets[5].Source.Layers, packets[6].Source.Layers
	if request["frame.comment"][0] != "culprit: exchange 2: GET shop.example/b 404 3.00 ms, grade complete" || request["http.request.uri"][0] != "/b" ||
		request["frame.interface_name"][0] != "eth0" || response["http.response.code"][0] != "404" {
		t.Errorf("%v, %v", request, response)
	}
	// All packets of a larger capture, with several interfaces, as tshark and as culprit see them.
	src := source(scenario(t, "demo", 0))
	src.taps = append(src.taps, capture.Tap{Name: "eth1"})
	for i := range src.records {
		src.records[i].Tap = uint32(i % 2)
	}
	var d disk
	record(t, src, 1, []File{&d}, Options{}, none)
	var want strings.Builder
	for i, r := range src.records {
		fmt.Fprintf(&want, "%d.%09d\t%d\t%d\teth%d\n", r.Time/1e9, r.Time%1e9, len(r.Data), r.WireLen, i%2)
	}
	got := tool(t, "tshark", "-r", saved(t, d.data), "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.cap_len", "-e", "frame.len", "-e", "frame.interface_name")
	if got != want.String() {
		t.Errorf("tshark reads\n%s\nwant\n%s", got, want.String())
	}
}

// TestDropsAsTsharkSeesThem: the counts of lost packets are where the format wants them.
func TestDropsAsTsharkSeesThem(t *testing.T) {
	var out bytes.Buffer
	taps := []capture.Tap{{Name: "eth0"}}
	var d disk
	r := New([]File{&d}, Options{Live: true, Taps: func() []capture.Tap { return taps }})
	src := dialogue(t, func(c *synth.Conn) { c.Exchange(get("/a"), 2*time.Second, answer(200, 10)) })
	for i := range src {
		if i == 5 {
			taps[0].Dropped = 42
		}
		r.Packet(&src[i], nil, nil)
	}
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	out.WriteString(tool(t, "tshark", "-r", saved(t, d.data), "-T", "fields", "-e", "frame.drop_count"))
	if got := strings.Fields(out.String()); len(got) != 1 || got[0] != "42" {
		t.Errorf("tshark reads drop counts %q", got)
	}
}
