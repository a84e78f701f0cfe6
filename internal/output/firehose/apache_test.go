package firehose_test

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/output/firehose"
	"github.com/culprit-http/culprit/internal/synth"
)

// TestApache: of the same traffic, the recording has what Apache's module recorded, as Apache's own utility took it apart: the same bytes of
// each connection, and the same requests with the same responses.
func TestApache(t *testing.T) {
	shared := os.Getenv("CULPRIT_SHARED")
	if shared == "" {
		t.Skip("without recordings by Apache's module: set CULPRIT_SHARED")
	}
	for name, requests := range map[string]bool{
		"h25-a-conn-keepalive": false, "h25-b-req-keepalive": true, "h25-d-up-down": false, "h25-s-two-files-input": false,
	} {
		dir := filepath.Join(shared, "firehose", "real", name)
		to := &receiver{}
		f, list := &file{}, &file{}
		o := everything()
		o.Requests, o.Output = requests, !strings.HasSuffix(name, "-input")
		to.outputs = append(to.outputs, firehose.NewFiles([]firehose.Volume{{Data: f, List: list}}, o))
		record(t, replayed(t, filepath.Join(dir, "traffic")), 1, to)
		got, want := pairs(halves(parse(t, f.b))), pairs(demuxed(t, filepath.Join(dir, "demux")))
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: %d conversations\n%.200q\nwant %d\n%.200q", name, len(got), got, len(want), want)
		}
	}
}

// replayed makes a capture of what the clients of a recording sent and received.
func replayed(t *testing.T, dir string) string {
	t.Helper()
	var out bytes.Buffer
	s := synth.New(&out, synth.Options{Nano: true})
	clients, err := filepath.Glob(filepath.Join(dir, "*.sent"))
	if err != nil || len(clients) == 0 {
		t.Fatalf("no clients in %s: %v", dir, err)
	}
	for i, name := range clients {
		sent, received := contentOf(t, name), contentOf(t, strings.TrimSuffix(name, ".sent")+".received")
		c := s.Dial(time.Duration(i)*time.Millisecond, netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(40000+i)), netip.MustParseAddrPort("10.0.0.2:80"),
			synth.Path{Client: time.Millisecond, Server: time.Millisecond})
		c.Exchange(sent, time.Millisecond, received)
		c.Close(synth.Client)
		c.RecvEnd(synth.Server)
		c.Close(synth.Server)
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "replayed.pcap")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func contentOf(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// demuxed are the files of a folder, by UUID and direction.
func demuxed(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for suffix, d := range map[string]string{".request": "<", ".response": ">"} {
		names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			all[strings.TrimSuffix(filepath.Base(name), suffix)+d] = string(contentOf(t, name))
		}
	}
	return all
}

// pairs are the conversations, each as what was asked and what was answered, in the order of their text.
func pairs(halves map[string]string) (all []string) {
	ids := map[string]bool{}
	for key := range halves {
		ids[key[:36]] = true
	}
	for id := range ids {
		all = append(all, halves[id+"<"]+"\n----\n"+halves[id+">"])
	}
	slices.Sort(all)
	return all
}
