package corpus

import (
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// The opcodes of data frames (RFC 6455 §5.2): a message has one of text or binary in its first frame, and ends with a
// frame that is final.
const (
	opContinuation = "0"
	opText         = "1"
	opBinary       = "2"
)

// TestWebSockets compares how many messages each end sent with the frames that the oracle lists.
func TestWebSockets(t *testing.T) {
	root := shared(t, "corpus")
	compared := 0
	for _, e := range readIndex(t, root) {
		frames := readTable(t, filepath.Join(root, "expected", e.name+".websocket.tsv"))
		if frames == nil {
			continue
		}
		compared++
		want, have := map[string]int64{}, map[string]int64{}
		for _, f := range frames {
			data := slices.Contains([]string{opContinuation, opText, opBinary}, f["opcode"])
			if data && f["fin"] == "1" {
				want[f["from"]]++
			}
		}
		if _, err := run(e.file, e.keys, 1, func(x *exchange.Exchange) {
			if x.Protocol == "websocket" {
				for _, m := range []struct {
					from  string
					count int64
				}{{x.Flow.End(x.Client), x.Request.Parts.Count}, {x.Flow.End(x.Server()), x.Response.Parts.Count}} {
					if m.count > 0 {
						have[m.from] += m.count
					}
				}
			}
		}); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		for _, end := range sortedKeys(want) {
			if have[end] != want[end] {
				t.Errorf("%s: %s sent %d messages, want %d", e.name, end, have[end], want[end])
			}
			delete(have, end)
		}
		for _, end := range sortedKeys(have) {
			t.Errorf("%s: %s sent %d messages, want none", e.name, end, have[end])
		}
	}
	t.Logf("%d captures", compared)
	if compared == 0 {
		t.Error("the corpus lists no frames")
	}
}

// session is what is compared of a TLS session: what is in the hellos.
type session struct{ serverName, ja3, ja3s, suite string }

// TestTLSFacts compares what culprit says of TLS sessions without keys with tshark.
func TestTLSFacts(t *testing.T) {
	entries := readIndex(t, shared(t, "corpus"))
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark isn't installed: make deps says how to get it")
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return !strings.HasPrefix(e.topic, "tls-") })
	connections := make(chan int, len(entries))
	each(entries, func(e *entry) {
		want := tsharkSessions(t, tshark, e.file)
		have := map[string]session{}
		if _, err := run(e.file, "", 1, func(x *exchange.Exchange) {
			if f := x.TLS; f != nil && f.HasRandom {
				have[x.Flow.End(x.Client)] = session{f.ServerName, f.JA3, f.JA3S, suiteNumber(f)}
			}
		}); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		for _, client := range sortedKeys(want) {
			if have[client] != want[client] {
				t.Errorf("%s: %s: culprit %+v\ntshark %+v", e.name, client, have[client], want[client])
			}
		}
		connections <- len(want)
	})
	close(connections)
	sum := 0
	for n := range connections {
		sum += n
	}
	t.Logf("%d sessions", sum)
	if sum == 0 {
		t.Error("tshark finds no session")
	}
}

// suiteNumber gives a cipher suite as tshark writes it.
func suiteNumber(f *proto.TLS) string {
	if f.Suite == 0 {
		return ""
	}
	const digits = "0123456789abcdef"
	s := f.Suite
	return "0x" + string([]byte{digits[s>>12], digits[s>>8&15], digits[s>>4&15], digits[s&15]})
}

// tsharkSessions asks tshark for the first ClientHello and the last ServerHello of each TCP connection, by the address of
// the client.
func tsharkSessions(t *testing.T, tshark, file string) map[string]session {
	fields := []string{"tcp.stream", "ip.src", "ipv6.src", "tcp.srcport", "tls.handshake.type", "tls.handshake.extensions_server_name", "tls.handshake.ja3", "tls.handshake.ja3s", "tls.handshake.ciphersuite"}
	args := []string{"-r", file, "-Y", "tcp and (tls.handshake.type == 1 or tls.handshake.type == 2)", "-T", "fields", "-E", "occurrence=f"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command(tshark, args...).Output()
	if err != nil {
		t.Errorf("tshark -r %s: %v", file, err)
		return nil
	}
	clients, all := map[string]string{}, map[string]session{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		stream := f[0]
		if f[4] == "1" {
			if clients[stream] == "" {
				clients[stream] = net.JoinHostPort(f[1]+f[2], f[3])
				all[clients[stream]] = session{serverName: f[5], ja3: f[6]}
			}
			continue
		}
		if c := clients[stream]; c != "" {
			s := all[c]
			s.ja3s, s.suite = f[7], f[8]
			all[c] = s
		}
	}
	return all
}
