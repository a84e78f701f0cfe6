package synthetic_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/capture/synthetic"
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
)

var (
	v4 = [2]netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:1025"), netip.MustParseAddrPort("198.51.100.1:80")}
	v6 = [2]netip.AddrPort{netip.MustParseAddrPort("[2001:db8::7]:1025"), netip.MustParseAddrPort("[2001:db8::1]:80")}
)

// now is where the conversations begin, in nanoseconds since 1970.
const now = int64(1_700_000_000_123_456_000)

// said is what the transport delivered of a conversation: the bytes of both sides, with a mark for each hole and each end.
type said [2]bytes.Buffer

func (s *said) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	s[d].Write(b)
	return proto.Verdict{}
}
func (s *said) Gap(d proto.Direction, n int64, _ clock.Mark) { fmt.Fprintf(&s[d], "[%d missing]", n) }
func (s *said) Close(d proto.Direction, _ clock.Mark, why proto.CloseReason) {
	fmt.Fprintf(&s[d], "[%v]", why)
}

// hear has the transport rebuild the conversation that the packets carry.
func hear(t *testing.T, b *synthetic.Batch) (*said, *proto.Flow, *proto.Facts) {
	t.Helper()
	var s said
	var flow *proto.Flow
	var facts *proto.Facts
	table := tcp.New(func(f *proto.Flow, of *proto.Facts) proto.Parser {
		flow, facts = f, of
		return &s
	}, tcp.DefaultLimits)
	decoder := packet.NewDecoder(packet.DefaultLimits())
	for i, p := range b.Packets {
		data := b.Bytes[p.From:p.To]
		var d packet.Packet
		r := capture.Record{Time: p.Time, Number: uint64(i + 1), Data: data, WireLen: len(data), Link: synthetic.LinkType}
		if res := decoder.Decode(&d, &r); res != packet.Decoded {
			t.Fatalf("packet %d: %v", i+1, res)
		}
		key, lo := d.Key()
		if v := table.Packet(&d, &key, lo); v != tcp.Analysed {
			t.Fatalf("packet %d: %v", i+1, v)
		}
	}
	table.Close(clock.Mark{})
	return &s, flow, facts
}

// talk is a conversation with everything in it, and what is heard of it.
func talk(b *synthetic.Batch, ends [2]netip.AddrPort) (client, server string) {
	big := strings.Repeat("0123456789abcdef", 100_000/16)
	var c synthetic.Conn
	c.Open(b, ends[0], ends[1], now)
	c.Data(b, synthetic.Client, now+1000, []byte("GET / HTTP/1.1\r\n"))
	c.Data(b, synthetic.Client, now+1000, nil)
	c.Data(b, synthetic.Client, now+2000, []byte("\r\n"))
	c.Data(b, synthetic.Server, now+3000, []byte("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"))
	for i := range int64(10) {
		c.Data(b, synthetic.Server, now+4000+i*1000, []byte(big))
	}
	c.End(b, synthetic.Server, now+1e6)
	c.End(b, synthetic.Server, now+1e6)
	c.Data(b, synthetic.Server, now+1e6, []byte("behind its end"))
	c.Data(b, synthetic.Client, now+1e6, []byte("x"))
	c.End(b, synthetic.Client, now+2e6)
	return "GET / HTTP/1.1\r\n\r\nx[fin]", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat(big, 10) + "[fin]"
}

func TestConversation(t *testing.T) {
	for _, ends := range [][2]netip.AddrPort{v4, v6, {v4[0], v6[1]}} {
		var b synthetic.Batch
		client, server := talk(&b, ends)
		s, flow, facts := hear(t, &b)
		if got := s[0].String(); got != client {
			t.Errorf("the client said %.80q, want %.80q", got, client)
		}
		if got := s[1].String(); got != server {
			t.Errorf("the server said %d bytes, want %d", len(got), len(server))
		}
		if flow.Midstream || flow.Addr[0].Netip() != ends[0].Addr() && ends[0].Addr().Is6() || flow.Port != [2]uint16{ends[0].Port(), ends[1].Port()} {
			t.Errorf("between %s and %s", flow.End(0), flow.End(1))
		}
		for d := range facts.Half {
			if h := &facts.Half[d]; h.Retransmits+h.OutOfOrder+h.DupAcks+h.ZeroWindows+h.Duplicates+h.OutOfWindow+h.Gaps > 0 {
				t.Errorf("%v sent something odd: %+v", proto.Direction(d), h)
			}
		}
		for i, p := range b.Packets {
			if p.To-p.From > synthetic.MaxPacket {
				t.Errorf("packet %d has %d bytes", i, p.To-p.From)
			}
			if i > 0 && p.Time < b.Packets[i-1].Time {
				t.Errorf("packet %d goes back in time", i)
			}
		}
	}
}

// What one side sends is acknowledged before much is under way, however long the other says nothing.
func TestAcknowledged(t *testing.T) {
	var b synthetic.Batch
	var c synthetic.Conn
	c.Open(&b, v4[0], v4[1], now)
	for range 300 {
		c.Data(&b, synthetic.Client, now, make([]byte, 4003))
	}
	sent, acked := uint32(0), uint32(0)
	for _, p := range b.Packets {
		data := b.Bytes[p.From:p.To]
		if binary.BigEndian.Uint16(data[20:]) == v4[0].Port() {
			sent = binary.BigEndian.Uint32(data[24:]) + uint32(len(data)-40)
		} else {
			acked = binary.BigEndian.Uint32(data[28:])
		}
		if sent-acked > 300<<10 && acked > 0 {
			t.Fatalf("%d bytes are under way", sent-acked)
		}
	}
}

func TestHoles(t *testing.T) {
	var b synthetic.Batch
	var c synthetic.Conn
	c.Join(v4[0], v4[1])
	c.Data(&b, synthetic.Client, now, []byte("abc"))
	c.Gap(&b, synthetic.Client, now, 5)
	c.Gap(&b, synthetic.Client, now, 0)
	c.Data(&b, synthetic.Client, now, []byte("def"))
	c.Data(&b, synthetic.Server, now, []byte("ghi"))
	c.Gap(&b, synthetic.Server, now, 7)
	c.End(&b, synthetic.Server, now)
	s, flow, _ := hear(t, &b)
	if got, want := s[0].String()+s[1].String(), "abc[5 missing]def[capture-ended]ghi[7 missing][fin]"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
	if !flow.Midstream {
		t.Error("the conversation has a beginning")
	}
}

func TestReset(t *testing.T) {
	var b synthetic.Batch
	var c synthetic.Conn
	c.Open(&b, v6[0], v6[1], now)
	c.Data(&b, synthetic.Client, now, []byte("abc"))
	c.Reset(&b, synthetic.Server, now)
	c.Reset(&b, synthetic.Client, now)
	c.Data(&b, synthetic.Client, now, []byte("def"))
	s, _, facts := hear(t, &b)
	if got := s[0].String() + s[1].String(); got != "abc[rst][rst]" || facts.By != proto.Responder {
		t.Errorf("heard %q, reset by %v", got, facts.By)
	}
}

// Who brings the memory knows how much is needed, and nothing is allocated then.
func TestRoom(t *testing.T) {
	data := make([]byte, 3_000_000)
	for _, n := range []int{0, 1, 4003, synthetic.MaxSegment, synthetic.MaxSegment + 1, 300_000, len(data)} {
		b := synthetic.Batch{Packets: make([]synthetic.Packet, 0, 1000)}
		var c synthetic.Conn
		if got := testing.AllocsPerRun(5, func() {
			b.Reset()
			if b.Bytes == nil {
				b.Bytes = slices.Grow(b.Bytes, synthetic.Room(n))
			}
			c.Open(&b, v6[0], v6[1], now)
			c.Gap(&b, synthetic.Client, now, 1)
			c.Data(&b, synthetic.Client, now, data[:n])
			c.End(&b, synthetic.Client, now)
			c.End(&b, synthetic.Server, now)
			if len(b.Bytes) > synthetic.Room(n) {
				t.Fatalf("%d bytes of data take %d bytes, more than %d", n, len(b.Bytes), synthetic.Room(n))
			}
		}); got > 0 {
			t.Errorf("%d bytes of data: %v allocations", n, got)
		}
	}
}

// Whatever is said, and however it is cut, is heard.
func TestRandom(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var b synthetic.Batch
		var c synthetic.Conn
		var want said
		c.Open(&b, v4[0], v4[1], now)
		at := now
		for range r.IntN(60) {
			side := synthetic.Side(r.IntN(2))
			data := make([]byte, r.IntN(1<<r.IntN(18)))
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			if r.IntN(20) == 0 {
				n := uint32(1 + r.IntN(9))
				c.Gap(&b, side, at, n)
				c.Data(&b, side, at, []byte("."))
				fmt.Fprintf(&want[side], "[%d missing].", n)
			}
			at += int64(r.IntN(1e6))
			c.Data(&b, side, at, data)
			want[side].Write(data)
		}
		for side := range synthetic.Side(2) {
			c.End(&b, side, at)
			want[side].WriteString("[fin]")
		}
		s, _, _ := hear(t, &b)
		for d := range want {
			if !bytes.Equal(s[d].Bytes(), want[d].Bytes()) {
				t.Fatalf("seed %d: %d bytes heard of side %d, want %d", seed, s[d].Len(), d, want[d].Len())
			}
		}
	}
}

// Wireshark has nothing to say against the packets, and follows them.
func TestWireshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark isn't installed: make deps says how to get it")
	}
	for _, ends := range [][2]netip.AddrPort{v4, v6} {
		var b synthetic.Batch
		client, server := talk(&b, ends)
		file := filepath.Join(t.TempDir(), "a.pcap")
		if err := os.WriteFile(file, pcap(&b), 0o600); err != nil {
			t.Fatal(err)
		}
		checks := []string{"-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-r", file}
		// Of chat and notes there are some: a SYN, a FIN.
		out, err := exec.Command(tshark, append(checks, "-T", "fields", "-e", "frame.number", "-e", "_ws.expert.message", "-Y", "_ws.expert.severity >= warning")...).Output()
		if err != nil || len(out) > 0 {
			t.Errorf("tshark: %v\n%s", err, out)
		}
		out, err = exec.Command(tshark, "-r", file, "-q", "-z", "follow,tcp,raw,0").Output()
		if err != nil {
			t.Fatal(err)
		}
		var got [2]strings.Builder
		for line := range strings.Lines(string(out)) {
			// Lines of the second side are indented.
			text, back := strings.CutPrefix(line, "\t")
			text = strings.TrimSpace(text)
			var raw []byte
			if _, err := fmt.Sscanf(text, "%x", &raw); err != nil || strings.Trim(text, "0123456789abcdef") != "" {
				continue
			}
			if back {
				got[1].Write(raw)
			} else {
				got[0].Write(raw)
			}
		}
		if got[0].String()+"[fin]" != client || got[1].String()+"[fin]" != server {
			t.Errorf("tshark follows %d and %d bytes, not %d and %d", got[0].Len(), got[1].Len(), len(client)-5, len(server)-5)
		}
	}
}

// pcap returns the packets as a capture file.
func pcap(b *synthetic.Batch) []byte {
	out := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)
	out = append(out, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, synthetic.LinkType, 0, 0, 0)
	for _, p := range b.Packets {
		out = binary.LittleEndian.AppendUint32(out, uint32(p.Time/1e9))
		out = binary.LittleEndian.AppendUint32(out, uint32(p.Time%1e9))
		out = binary.LittleEndian.AppendUint32(out, uint32(p.To-p.From))
		out = binary.LittleEndian.AppendUint32(out, uint32(p.To-p.From))
		out = append(out, b.Bytes[p.From:p.To]...)
	}
	return out
}
