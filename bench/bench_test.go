package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/synth"
)

// Each copy must hold other connections than the rest, later, with checksums that are right.
func TestRepeat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "once.pcap")
	var once bytes.Buffer
	truth, err := synth.Small(&once, 100_000, synth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, once.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	var thrice bytes.Buffer
	if err := repeat(&thrice, path, 3); err != nil {
		t.Fatal(err)
	}
	if got, want := thrice.Len()-pcapHeader, 3*(once.Len()-pcapHeader); got != want {
		t.Fatalf("%d bytes, want %d", got, want)
	}
	if !bytes.HasPrefix(thrice.Bytes(), once.Bytes()) {
		t.Error("the first copy isn't the capture itself")
	}
	packets, syns, last := 0, map[string]int{}, uint64(0)
	records(thrice.Bytes()[pcapHeader:], func(header, frame []byte) error {
		packets++
		at := uint64(binary.LittleEndian.Uint32(header))<<32 | uint64(binary.LittleEndian.Uint32(header[4:]))
		if at < last {
			t.Fatalf("packet %d is earlier than the one before", packets)
		}
		last = at
		ip := frame[ethernet:]
		if sum(ip[:20]) != 0xffff {
			t.Fatalf("packet %d: IP checksum is wrong", packets)
		}
		pseudo := append(slices.Clone(ip[12:20]), 0, 6, byte((len(ip)-20)>>8), byte(len(ip)-20))
		if sum(append(pseudo, ip[20:]...)) != 0xffff {
			t.Fatalf("packet %d: TCP checksum is wrong", packets)
		}
		if ip[33]&0x12 == 2 {
			syns[string(ip[12:24])]++
		}
		return nil
	})
	if packets != 3*truth.Packets || len(syns) != 3*truth.Connections {
		t.Errorf("%d packets, %d connections; want three times %d, %d", packets, len(syns), truth.Packets, truth.Connections)
	}
}

func sum(b []byte) uint16 {
	if len(b)%2 == 1 {
		b = append(slices.Clone(b), 0)
	}
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func TestRepeatRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.pcap")
	for name, content := range map[string]string{
		"no capture": "not a capture, though it is long enough",
		"cut":        "\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + strings.Repeat("\x00", 16) + strings.Repeat("\x01", 20),
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := repeat(&bytes.Buffer{}, path, 2); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one that names the file", name, err)
		}
	}
}

func TestCacheIsUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kept")
	calls := 0
	write := func(f *os.File) (truth, error) {
		calls++
		_, err := f.WriteString("1234")
		return truth{2, 1}, err
	}
	for range 2 {
		f, err := cached(path, write)
		if err != nil {
			t.Fatal(err)
		}
		if want := (file{path: path, bytes: 4, truth: truth{2, 1}}); f != want {
			t.Errorf("%+v, want %+v", f, want)
		}
	}
	if calls != 1 {
		t.Errorf("made %d times, want once", calls)
	}
}

func TestAllocationsSeesEveryExchange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "small.pcap")
	var b bytes.Buffer
	truth, err := synth.Small(&b, 500_000, synth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := allocations(context.Background(), file{path: path})
	if err != nil || h.exchanges != truth.Exchanges || h.allocations == 0 {
		t.Errorf("%+v, %v; want %d exchanges", h, err, truth.Exchanges)
	}
}

func TestCount(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		output string
		found  func([]byte) int
		want   int
	}{
		{"a\nb\nc\n", anyLine, 3},
		{"GET / 200\n- - 1ms undecryptable: no keys were given\n", readable, 1},
		{"a\n" + long + "\nb", anyLine, 3},
		{"1-2: HTTP/1.1 200 OK\n" + long + ": HTTP/1.1 in a body\nServer: x\n", with(": HTTP/1."), 1},
		{"/a\t\t\t\n\t200\t0.1\t\n\t200,304\t0.1,0.2\t\n\t\t\t200,404\n\n", tsharkResponses, 5},
	} {
		if got, err := count(strings.NewReader(c.output), c.found); got != c.want || err != nil {
			t.Errorf("%.20q...: %d, %v; want %d", c.output, got, err, c.want)
		}
	}
}

func TestRunOnce(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("needs /bin/sh")
	}
	run := func(script string) (string, error) {
		var out bytes.Buffer
		_, err := runOnce(context.Background(), []string{"/bin/sh", "-c", script}, &out)
		return out.String(), err
	}
	if out, err := run("echo hello"); out != "hello\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := run("exit 3"); err != nil {
		t.Errorf("exit status 3, something lost, is an error: %v", err)
	}
	if _, err := run("echo sorry >&2; exit 1"); err == nil || !strings.Contains(err.Error(), "sorry") {
		t.Errorf("error %v, want what the program said", err)
	}
}

func TestStatusBytes(t *testing.T) {
	const status = "Name:\tx\nVmHWM:\t    2048 kB\nRssAnon:\t     512 kB\nRssFile:\t 9 kB\n"
	if got := statusBytes([]byte(status), "RssAnon:"); got != 512*1024 {
		t.Errorf("RssAnon %d", got)
	}
	if got := statusBytes([]byte(status), "VmHWM:"); got != 2048*1024 {
		t.Errorf("VmHWM %d", got)
	}
	if got := statusBytes(nil, "RssAnon:"); got != 0 {
		t.Errorf("without a status: %d", got)
	}
}

func TestTable(t *testing.T) {
	c := &benchCapture{name: "small", about: "few", full: file{bytes: 1e9, truth: truth{2000, 1000}}}
	results := []result{
		{tool: tool{name: "culprit", found: anyLine, requests: true}, file: c.full, cpu: time.Second, found: 2000, memory: memory{5e6, 1e6}},
		{tool: tool{name: "loop", remark: "only reads"}, file: c.full, cpu: time.Second / 2},
		{tool: tool{name: "peer", found: anyLine}, file: c.full, cpu: 2 * time.Second, found: 1000},
	}
	var text, markdown bytes.Buffer
	printTable(&text, c, results, false)
	printTable(&markdown, c, results, true)
	const want = `
small: few; 1,000 MB, 2,000 requests, 1,000 answered

tool        MB  MB/CPU-s  exchanges/CPU-s  found  % of truth  × best peer  peak RSS MB  RssAnon MB
culprit  1,000     1,000            2,000  2,000       100.0          4.0          5.0         1.0
loop     1,000     2,000                -      -           -            -            -           -  only reads
peer     1,000       500              500  1,000       100.0          1.0            -           -
`
	if text.String() != want {
		t.Errorf("got %s\nwant %s", text.String(), want)
	}
	lines := strings.Split(markdown.String(), "\n")
	if want := "| ------- | ----: | -------: |"; !strings.HasPrefix(lines[4], want) {
		t.Errorf("rule %q, want it to begin %q", lines[4], want)
	}
	for _, line := range lines[3:8] {
		if len(line) > 0 && strings.Count(line, "|") != 11 {
			t.Errorf("row %q hasn't 10 columns", line)
		}
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	if _, err := captures(options{only: "smal"}); err == nil || !strings.Contains(err.Error(), `"smal"`) {
		t.Errorf("error %v, want one that names the capture", err)
	}
	if _, err := available(context.Background(), options{tools: "tshrak"}); err == nil || !strings.Contains(err.Error(), `"tshrak"`) {
		t.Errorf("error %v, want one that names the tool", err)
	}
}
