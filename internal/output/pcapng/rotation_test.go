package pcapng

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
)

func disks(n int) (all []*disk, files []File) {
	for range n {
		d := &disk{}
		all, files = append(all, d), append(files, d)
	}
	return all, files
}

// TestRotation: no file is larger than told nor spans more time, each can be read alone, and together they have
// the newest packets, in order.
func TestRotation(t *testing.T) {
	for _, c := range []struct {
		name   string
		files  int
		size   int64
		every  time.Duration
		whole  bool // nothing is overwritten
		rounds uint64
	}{
		{"by size, all fit", 8, 100 << 10, 0, true, 6},
		{"by size, wrapped", 3, 64 << 10, 0, false, 10},
		{"by time, all fit", 5, 0, 200 * time.Millisecond, true, 5},
		{"by time, wrapped", 3, 0, 100 * time.Millisecond, false, 10},
		{"by both", 10, 100 << 10, 300 * time.Millisecond, true, 6},
		{"one file", 1, 64 << 10, 0, false, 10},
		{"more files than needed", 30, 100 << 10, 0, true, 6},
	} {
		all, files := disks(c.files)
		r := New(files, Options{RotateSize: c.size, RotateEvery: c.every, Selection: "--where 'status = 500'"})
		w := &wire{r: r}
		for i := range 1000 {
			w.packet(1000, packet.ACK, uint32(500*i), 500)
		}
		if err := closeOf(t, r); err != nil {
			t.Fatal(err)
		}
		var contents [][]byte
		for i, d := range all {
			if c.size > 0 && int64(len(d.data)) > c.size {
				t.Errorf("%s: file %d has %d bytes", c.name, i, len(d.data))
			}
			bs := blocks(t, d.data)
			if bs[0].kind != blockSection || len(bs) > 1 && bs[len(bs)-1].kind != blockStatistics {
				t.Errorf("%s: file %d begins with block %d and ends with %d", c.name, i, bs[0].kind, bs[len(bs)-1].kind)
			}
			about, want := bs[0].options[optionComment][0], fmt.Sprintf("of %d files used in turn", c.files)
			if !strings.Contains(about, "--where 'status = 500'") || !strings.Contains(about, want) || strings.Contains(about, "not used yet") != (len(bs) == 1) {
				t.Errorf("%s: file %d says %q", c.name, i, about)
			}
			got, _ := read(t, d.data)
			if c.every > 0 && len(got) > 0 && got[len(got)-1].Time-got[0].Time >= int64(c.every) {
				t.Errorf("%s: file %d spans %d", c.name, i, got[len(got)-1].Time-got[0].Time)
			}
			contents = append(contents, d.data)
		}
		got, _ := read(t, contents...)
		n := numbers(t, got, w.sent)
		count := r.Counters()
		if !slices.IsSorted(n) || n[len(n)-1] != 1000 || 1000-n[0]+1 != len(n) || (len(n) == 1000) != c.whole {
			t.Errorf("%s: %d packets, from %d to %d", c.name, len(n), n[0], n[len(n)-1])
		}
		if count.Files != c.rounds || count.Overwritten != max(c.rounds, uint64(c.files))-uint64(c.files) {
			t.Errorf("%s: %d files were begun, %d used again", c.name, count.Files, count.Overwritten)
		}
	}
}

// TestInterfacesOfEachFile: each file describes the interfaces that it has packets of, and at its end all others.
func TestInterfacesOfEachFile(t *testing.T) {
	all, files := disks(2)
	taps := []capture.Tap{{Name: "eth0", Dropped: 5}, {Name: "eth1", File: "/private/b.pcap"}}
	r := New(files, Options{RotateEvery: time.Second, Taps: func() []capture.Tap { return taps }})
	for i, p := range []struct {
		tap  uint32
		link capture.LinkType
	}{{1, 1}, {0, 113}, {1, 1}, {0, 1}, {0, 1}} {
		r.Packet(&capture.Record{Time: int64(i) * 3e8, Number: uint64(i + 1), Data: []byte{1, 2, byte(i)}, WireLen: 3, Tap: p.tap, Link: p.link}, nil, nil)
	}
	if err := closeOf(t, r); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"[1 eth1 read from b.pcap] 6:0 [113 eth0 ] 6:1 6:0 [1 eth0 ] 6:2 5:0 5:1 5:2", // the third is known by then
		"[1 eth0 ] 6:0 [1 eth1 read from b.pcap] 5:1 [113 eth0 ] 5:2 5:0",
	} {
		var got []string
		dropped := 0 // interfaces that tell of drops: the first of the tap
		for _, b := range blocks(t, all[i].data)[1:] {
			switch b.kind {
			case blockInterface:
				got = append(got, fmt.Sprintf("[%d %s %s]", b.body[0], strings.Join(b.options[interfaceName], ""), strings.Join(b.options[interfaceDescription], "")))
			default:
				if b.kind == blockStatistics && b.options[statisticsOSDrop][0][0] > 0 {
					dropped++
				}
				got = append(got, fmt.Sprintf("%d:%d", b.kind, b.body[0]))
			}
		}
		if text := strings.Join(got, " "); text != want || dropped != 1 {
			t.Errorf("file %d: %s, want %s", i, text, want)
		}
	}
}

func TestFileNames(t *testing.T) {
	for path, want := range map[string]string{
		"a/b.pcapng": "a/b.0001.pcapng a/b.0002.pcapng", "a.b/c": "a.b/c.0001 a.b/c.0002", ".x": ".x.0001 .x.0002", "a.tar.x": "a.tar.0001.x a.tar.0002.x",
	} {
		if got := strings.Join(FileNames(path, 2), " "); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if n := FileNames("x.pcapng", 12345)[12344]; n != "x.12345.pcapng" {
		t.Error(n)
	}
}

// TestFiles writes to files of the operating system, over what was there.
func TestFiles(t *testing.T) {
	src := scenario(t, "flows", 1<<20)
	var files []File
	names := FileNames(t.TempDir()+"/r.pcapng", 3)
	for _, n := range names {
		if err := os.WriteFile(n, []byte(strings.Repeat("was here before ", 1<<16)), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(n, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	r := record(t, source(src), 1, files, Options{Matched: true, RotateSize: 400 << 10}, func(*exchange.Exchange) bool { return true })
	if r.Err() != nil || r.Counters().Overwritten == 0 {
		t.Errorf("%v, %+v", r.Err(), r.Counters())
	}
	var contents [][]byte
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, b)
	}
	if got, _ := read(t, contents...); len(got) < 1000 {
		t.Errorf("%d packets", len(got))
	}
}
