//go:build linux

package stack

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/lab"
)

// program is set in the environment to the culprit to test.
const program = "CULPRIT_TEST_BINARY"

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds culprit, unless it is there, before there is no way out of the namespaces.
func run(m *testing.M) int {
	if os.Getenv(program) == "" {
		dir, err := os.MkdirTemp("", "culprit-stack-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "culprit")
		if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../../cmd/culprit").CombinedOutput(); err != nil {
			os.Stderr.Write(out)
			return 1
		}
		os.Setenv(program, path)
	}
	return lab.Run(m.Run)
}

// programs skips a test where one of the stack's isn't installed, or namespaces can't be made.
func programs(t *testing.T) {
	t.Helper()
	if err := lab.Check(); err != nil {
		t.Skip(err)
	}
	for _, name := range []string{"haproxy", "varnishd", "nginx", "mariadbd", "mariadb-install-db", "redis-server"} {
		if _, err := lab.Program(name); err != nil {
			t.Skip(err)
		}
	}
}

// TestLinks links the exchanges of the stack: with ids as good as all rightly, without them nearly so.
func TestLinks(t *testing.T) {
	programs(t)
	folder := t.TempDir()
	requests, atOnce := 100, 20
	if os.Getenv("CULPRIT_SOAK") != "" {
		requests, atOnce = 1000, 50
	}
	if err := Record(requests, atOnce, folder); err != nil {
		t.Fatal(err)
	}
	for name, least := range Least() {
		truth, err := ReadTruth(filepath.Join(folder, name, TruthFile))
		if err != nil {
			t.Fatal(err)
		}
		if n := count(truth, HAProxyPort); n != requests {
			t.Errorf("%d requests came to HAProxy, %d were made", n, requests)
		}
		said, err := Ask(os.Getenv(program), filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		links, err := Judge(bytes.NewReader(said), truth, func(m Mislinked) { t.Logf("%s: %+v", name, m) })
		if err != nil {
			t.Fatal(err)
		}
		var table strings.Builder
		share, err := Print(&table, links)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s\n%s", name, table.String())
		if share < least {
			t.Errorf("%s: %.1f %% of the links are right, want %.0f %%", name, 100*share, 100*least)
		}
		for _, l := range links {
			if l.Missing > 0 {
				t.Errorf("%s: %d exchanges at port %d aren't shown", name, l.Missing, l.Port)
			}
		}
	}
}

func count(truth []Asked, port int) (n int) {
	for _, a := range truth {
		if a.Port == port {
			n++
		}
	}
	return n
}

// TestMask: no id is left in the second capture, which is as long as the first, and everything else is as it was.
func TestMask(t *testing.T) {
	payload := "GET / HTTP/1.1\r\nX-Request-ID: 0123456789abcdef\r\nx-varnish: 32770 3\r\nCookie: a=b\r\n\r\nSELECT 1 /*request_id='12ab'*/"
	want := "GET / HTTP/1.1\r\nx-nothing-id: 0000000000000000\r\nx-nothing: 0000000\r\nCookie: a=b\r\n\r\nSELECT 1 /*nothing_id='0000'*/"
	pcap := recording(payload, 40000, 8000)
	before := slices.Clone(pcap)
	masked, err := mask(pcap)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pcap, before) {
		t.Error("the recording was changed")
	}
	if !bytes.Equal(masked, recording(want, 40000, 8000)) {
		t.Errorf("%q", masked)
	}
}

// TestTruth: requests are found by their header, comment or place, and nothing else is.
func TestTruth(t *testing.T) {
	pcap := recording("GET / HTTP/1.1\r\nX-Request-ID: aa\r\n\r\n", 40000, HAProxyPort)
	for _, more := range [][]byte{
		recording("HTTP/1.1 200 OK\r\nX-Request-ID: aa\r\n\r\n", HAProxyPort, 40000),
		recording("\x00\x00\x00\x00\x03SELECT 1 /*request_id='bb'*/", 40001, MariaDBPort),
		recording("*1\r\n$4\r\nPING\r\n", 40002, RedisPort),
		recording("", 40002, RedisPort),
		recording("*1\r\n$4\r\nPING\r\n", 40002, RedisPort),
	} {
		pcap = append(pcap, more[24:]...)
	}
	got, err := truthOf(pcap, map[int][]string{40002: {"cc", "dd"}})
	want := []Asked{{1, HAProxyPort, "aa"}, {3, MariaDBPort, "bb"}, {4, RedisPort, "cc"}, {6, RedisPort, "dd"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if _, err := truthOf(pcap, map[int][]string{40002: {"cc"}}); err == nil {
		t.Error("a command that the app didn't make was taken")
	}
}

// recording returns a pcap file with one segment.
func recording(payload string, from, to int) []byte {
	tcp := append([]byte{byte(from >> 8), byte(from), byte(to >> 8), byte(to), 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0}, payload...)
	n := 20 + len(tcp)
	frame := append(make([]byte, 12), 8, 0)
	frame = append(frame, 0x45, 0, byte(n>>8), byte(n), 0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1)
	frame = append(frame, tcp...)
	head := append(make([]byte, 24+8), byte(len(frame)), byte(len(frame)>>8), 0, 0, byte(len(frame)), byte(len(frame)>>8), 0, 0)
	return append(head, frame...)
}

// TestJudge: a right parent, a wrong one, none, and an exchange that isn't shown.
func TestJudge(t *testing.T) {
	truth := []Asked{{1, HAProxyPort, "a"}, {2, HAProxyPort, "b"}, {3, VarnishPort, "a"}, {4, VarnishPort, "b"}, {5, NginxPort, "a"}, {6, AppPort, "a"}}
	said := `{"event":{"id":"P1"},"culprit":{"packets":{"first":1}}}
{"event":{"id":"P2"},"culprit":{"packets":{"first":2}}}
{"event":{"id":"P3"},"parent":{"id":"P1"},"culprit":{"packets":{"first":3}}}
{"event":{"id":"P4"},"parent":{"id":"P1"},"culprit":{"packets":{"first":4},"hop":{"method":"timing","confidence":0.5}}}
{"event":{"id":"F"},"parent":{"id":"P1"},"flow":{},"culprit":{"packets":{"first":4}}}
{"event":{"id":"P5"},"culprit":{"packets":{"first":5}}}
`
	var missed []Mislinked
	links, err := Judge(strings.NewReader(said), truth, func(m Mislinked) { missed = append(missed, m) })
	if err != nil {
		t.Fatal(err)
	}
	want := []Links{{HAProxyPort, 2, 2, 0, 0, 0}, {VarnishPort, 2, 1, 1, 0, 0}, {NginxPort, 1, 0, 0, 1, 0}, {AppPort, 1, 0, 0, 0, 1}, {Port: MariaDBPort}, {Port: RedisPort}}
	if !slices.Equal(links, want) {
		t.Errorf("%v, want %v", links, want)
	}
	if wrong := (Mislinked{truth[3], 2, 1, "timing", 0.5}); len(missed) != 3 || missed[0] != wrong {
		t.Errorf("%+v", missed)
	}
	var table strings.Builder
	if share, err := Print(&table, links); err != nil || share != 0.25 || !regexp.MustCompile(`8001 +2 +1 +1 +0 +0`).MatchString(table.String()) {
		t.Errorf("%v, %v\n%s", share, err, table.String())
	}
}
