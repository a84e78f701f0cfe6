package handshake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
)

// corpus returns the folder of the captures of others.
func corpus(t *testing.T) string {
	shared := os.Getenv("CULPRIT_SHARED")
	if shared == "" {
		t.Skip("CULPRIT_SHARED isn't set: the captures of others are missing")
	}
	return filepath.Join(shared, "corpus")
}

// streams collects what both sides of a connection sent.
type streams struct{ sides [2]bytes.Buffer }

func (s *streams) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	s.sides[d].Write(b)
	return proto.Verdict{}
}

func (s *streams) Gap(d proto.Direction, n int64, at clock.Mark)                 {}
func (s *streams) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {}

// connections returns what the TCP connections in a capture carried.
func connections(t *testing.T, file string) (all []*streams) {
	t.Helper()
	table := tcp.New(func(*proto.Flow, *proto.Facts) proto.Parser {
		s := new(streams)
		all = append(all, s)
		return s
	}, tcp.DefaultLimits)
	decoder := packet.NewDecoder(packet.DefaultLimits())
	source, err := capture.Open([]capture.Input{{Path: file}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var r capture.Record
	for source.Next(&r) == nil {
		var p packet.Packet
		if decoder.Decode(&p, &r) == packet.Decoded && p.Proto == packet.ProtoTCP {
			key, fromLo := p.Key()
			table.Packet(&p, &key, fromLo)
		}
	}
	table.Close(clock.Mark{Peer: -1})
	return all
}

// hellos returns the hellos of the TCP connections in a capture: those at the beginning of a stream, or, where
// another protocol comes first, at the first place that has one.
func hellos(t *testing.T, file string) (clients []*ClientHello, servers []*ServerHello) {
	t.Helper()
	for _, s := range connections(t, file) {
		for i := range s.sides {
			for _, m := range firstPlain(s.sides[i].Bytes()) {
				switch m.kind {
				case TypeClientHello:
					if h, err := ParseClientHello(m.body); err == nil {
						clients = append(clients, h)
					}
				case TypeServerHello:
					if h, err := ParseServerHello(m.body); err == nil {
						servers = append(servers, h)
					}
				}
			}
		}
	}
	return clients, servers
}

// firstPlain returns the handshake messages at the first place of a stream that has any.
func firstPlain(stream []byte) []message {
	for {
		at := bytes.Index(stream, []byte{22, 3})
		if at < 0 {
			return nil
		}
		if messages := plain(stream[at:]); len(messages) > 0 {
			return messages
		}
		stream = stream[at+1:]
	}
}

// TestArkime compares the fingerprints with those that Arkime expects of its own captures.
func TestArkime(t *testing.T) {
	root := corpus(t)
	expectations, err := filepath.Glob(filepath.Join(root, "expected/upstream/arkime/*.json"))
	if err != nil || len(expectations) == 0 {
		t.Fatal("CULPRIT_SHARED lacks Arkime's expectations: ", err)
	}
	compared := 0
	for _, e := range expectations {
		want := map[string]map[string]bool{"ja3": {}, "ja3s": {}, "ja4": {}}
		b, err := os.ReadFile(e)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(e, err)
		}
		collect(v, want)
		if len(want["ja3"])+len(want["ja3s"]) == 0 {
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(e), "arkime."), ".json")
		clients, servers := hellos(t, filepath.Join(root, "files/arkime", name+".pcap"))
		got := map[string]map[string]bool{"ja3": {}, "ja3s": {}, "ja4": {}}
		for _, h := range clients {
			got["ja3"][h.JA3()] = true
			got["ja4"][h.JA4()] = true
		}
		for _, h := range servers {
			got["ja3s"][h.JA3S()] = true
		}
		for kind := range want {
			for f := range want[kind] {
				if strings.HasPrefix(f, "q") { // over UDP
					clear(want["ja3"])
					clear(want["ja4"])
				}
			}
		}
		for kind := range want {
			for f := range want[kind] {
				compared++
				if !got[kind][f] {
					t.Errorf("%s: %s: Arkime has %s, we have %v", name, kind, f, slices.Sorted(maps.Keys(got[kind])))
				}
			}
		}
	}
	if compared < 25 {
		t.Errorf("only %d fingerprints were compared", compared)
	}
}

// collect gathers the fingerprints in an expectation.
func collect(v any, into map[string]map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if list, ok := x.([]any); ok && into[k] != nil {
				for _, f := range list {
					into[k][fmt.Sprint(f)] = true
				}
				continue
			}
			collect(x, into)
		}
	case []any:
		for _, x := range v {
			collect(x, into)
		}
	}
}

// TestTshark compares every hello of every capture that has TLS with what tshark says about it.
func TestTshark(t *testing.T) {
	if testing.Short() {
		t.Skip("the captures of others take a while: left out by -short")
	}
	root := corpus(t)
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark isn't installed: there is nothing to compare with")
	}
	index, err := os.ReadFile(filepath.Join(root, "INDEX.tsv"))
	if err != nil {
		t.Fatal("CULPRIT_SHARED holds no corpus: ", err)
	}
	total := 0
	for line := range strings.Lines(string(index)) {
		columns := strings.Split(line, "\t")
		if !strings.Contains(columns[3], "tls") || strings.Contains(columns[3], "quic") {
			continue
		}
		total += compareHellos(t, columns[0], filepath.Join(root, columns[1]))
	}
	t.Log(total, "hellos were compared")
	if total < 60 {
		t.Errorf("only %d hellos were compared", total)
	}
}

// compareHellos compares the hellos of a capture and returns how many tshark found.
func compareHellos(t *testing.T, name, file string) int {
	const unit = "\x1f"
	cmd := exec.Command("tshark", "-n", "-r", file, "-Y", "tcp && tls.handshake.type <= 2 && !tcp.analysis.retransmission", "-T", "fields",
		"-E", "separator="+unit, "-E", "occurrence=a", "-E", "aggregator=,",
		"-e", "tls.handshake.ja3", "-e", "tls.handshake.ja3s", "-e", "tls.handshake.extensions_server_name",
		"-e", "tls.handshake.extensions_alpn_str", "-e", "tls.handshake.random")
	out, err := cmd.Output()
	if err != nil {
		t.Logf("%s: tshark: %v", name, err)
	}
	clients, servers := hellos(t, file)
	ours := map[string]bool{}
	for _, h := range clients {
		ours[strings.Join([]string{h.JA3(), "", h.ServerName, strings.Join(h.ALPN, ","), fmt.Sprintf("%x", h.Random)}, "|")] = true
	}
	for _, h := range servers {
		ours[strings.Join([]string{"", h.JA3S(), "", h.ALPN, fmt.Sprintf("%x", h.Random)}, "|")] = true
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		row := strings.ReplaceAll(strings.TrimSuffix(line, "\n"), unit, "|")
		if strings.HasPrefix(row, "||") {
			continue // no fingerprint: not a hello
		}
		n++
		if !ours[row] {
			t.Errorf("%s: tshark has\n  %s\nwe have\n  %s", name, row, strings.Join(slices.Sorted(maps.Keys(ours)), "\n  "))
		}
	}
	return n
}
