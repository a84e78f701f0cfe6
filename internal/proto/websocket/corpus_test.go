package websocket

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// captures are those of others, with what an independent tool says of their frames. text is something that a body says.
var captures = []struct {
	name, file, text string
	anomalies        []proto.Anomaly
}{
	{name: "arkime.websocket", file: "arkime/websocket.pcap"},
	{name: "suricata-verify.websocket-ping.input", file: "suricata-verify/websocket-ping/input.pcap", anomalies: []proto.Anomaly{proto.UnmaskedClient}},
	{name: "suricata-verify.websocket.basic_websockets", file: "suricata-verify/websocket/basic_websockets.pcap"},
	{name: "wireshark.websocket", file: "wireshark/websocket.pcapng.gz"},
	{name: "wireshark.websocket-compressed", file: "wireshark/websocket-compressed.pcapng.gz",
		text: `{"type":"response","data":"3857445435837297307387153225287940442860386140830363866487096319602634968076413035590070766033152346234039594750691594844576798840034469258626309442562`},
	{name: "wireshark.websocket-compressed-fragmented", file: "wireshark/websocket-compressed-fragmented.pcapng.gz"},
	{name: "wireshark.websocket-compressed-server-only", file: "wireshark/websocket-compressed-server-only.pcap", text: "from client.. 9"},
	{name: "zeek.websocket.broker-websocket", file: "zeek/websocket/broker-websocket.pcap"},
	{name: "zeek.websocket.jupyter-websocket", file: "zeek/websocket/jupyter-websocket.pcap"},
	{name: "zeek.websocket.oversized-close-frame", file: "zeek/websocket/oversized-close-frame.pcapng", anomalies: []proto.Anomaly{proto.BadFrame}},
	{name: "zeek.websocket.reply-ping-coalesced", file: "zeek/websocket/reply-ping-coalesced.pcap"},
	{name: "zeek.websocket.reply-ping-separate", file: "zeek/websocket/reply-ping-separate.pcap"},
	{name: "zeek.websocket.two-binary-fragments", file: "zeek/websocket/two-binary-fragments.pcap"},
}

func TestCorpus(t *testing.T) {
	root := os.Getenv("CULPRIT_SHARED")
	if root == "" {
		t.Skip("CULPRIT_SHARED isn't set: it names the folder that holds corpus")
	}
	for _, c := range captures {
		t.Run(c.name, func(t *testing.T) {
			k := newTranscript(t)
			client := replay(t, k, filepath.Join(root, "corpus", "files", c.file))
			k.close()
			expected := frames(t, filepath.Join(root, "corpus", "expected", c.name+".websocket.tsv"), client)
			found := c.text == ""
			var anomalies proto.Anomalies
			for d := range k.of {
				var got []string
				for _, s := range k.of[d] {
					got = append(got, s.frames()...)
					found = found || strings.Contains(string(s.body), c.text)
					anomalies |= s.m.Anomalies
					if s.m.Parts.Compressed > 0 && (s.m.BodyBytes != int64(len(s.body)) || len(s.body) == 0) {
						t.Errorf("a compressed message of %d bytes was inflated to %d of %d", s.m.Parts.Bytes, len(s.body), s.m.BodyBytes)
					}
				}
				if !slices.Equal(got, expected[d]) {
					t.Errorf("%s:\ngot  %v\nwant %v", proto.Direction(d), got, expected[d])
				}
			}
			var want proto.Anomalies
			for _, a := range c.anomalies {
				want.Set(a)
			}
			if anomalies != want {
				t.Errorf("anomalies %b instead of %b", anomalies, want)
			}
			if !found {
				t.Errorf("no message says %q", c.text)
			}
			if k.lost > 0 {
				t.Errorf("lost %d times", k.lost)
			}
		})
	}
}

// frames returns what a message says of its frames: of a message of several frames their number, and the length together.
func (s *said) frames() []string {
	length := s.m.Parts.Bytes
	if s.m.Stream == Control {
		length = s.m.BodyBytes
	}
	if s.kind == "close" {
		length = s.m.Size - 2
		if s.m.Dir == proto.Originator {
			length -= 4
		}
	}
	return []string{describe(s.kind, max(s.m.Chunks, 1), length)}
}

func describe(kind string, frames, length int64) string {
	if length >= length16 {
		return fmt.Sprint(kind, "×", frames, " long")
	}
	return fmt.Sprint(kind, "×", frames, " ", length)
}

// frames reads the frames that tshark found, as messages. Its lengths from 126 on are those of the frame's second byte.
func frames(t *testing.T, path, client string) (of [2][]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	type message struct {
		kind           string
		frames, length int64
	}
	var open [2]message
	for lines := bufio.NewScanner(f); lines.Scan(); {
		cells := strings.Split(lines.Text(), "\t")
		if len(cells) != 6 || cells[0] == "stream" {
			continue
		}
		d := proto.Responder
		if cells[2] == client {
			d = proto.Originator
		}
		opcode, err := strconv.Atoi(cells[3])
		if err != nil {
			t.Fatal(err)
		}
		length, err := strconv.ParseInt(cells[5], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		m := &open[d]
		if opcode >= opClose {
			m = new(message)
		}
		if opcode != opContinuation {
			*m = message{kind: kinds[opcode]}
		}
		m.frames++
		m.length += length
		if cells[4] == "1" {
			of[d] = append(of[d], describe(m.kind, m.frames, m.length))
		}
	}
	return of
}

// replay plays the one connection of a small capture. It returns its client.
func replay(t *testing.T, k *transcript, path string) (client string) {
	t.Helper()
	src, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	decoder := packet.NewDecoder(packet.DefaultLimits())
	var next [2]uint32
	var known [2]bool
	for {
		var r capture.Record
		var p packet.Packet
		if err := src.Next(&r); errors.Is(err, io.EOF) {
			return client
		} else if err != nil {
			t.Fatal(err)
		}
		if decoder.Decode(&p, &r) != packet.Decoded || p.Proto != packet.ProtoTCP {
			continue
		}
		from := netip.AddrPortFrom(p.Src.Netip(), p.SrcPort).String()
		if client == "" {
			client = from
		}
		d := proto.Responder
		if from == client {
			d = proto.Originator
		}
		if !known[d] {
			next[d], known[d] = p.Seq, true
			if p.Flags&packet.SYN != 0 {
				next[d]++
			}
		}
		skip := int(int32(next[d] - p.Seq))
		if skip < 0 {
			if len(p.Payload) > 0 {
				t.Fatal("a segment is missing or out of order, which this doesn't put right")
			}
			continue
		}
		if skip >= len(p.Payload) {
			continue
		}
		k.data(d, p.Payload[skip:])
		next[d] += uint32(len(p.Payload) - skip)
	}
}
