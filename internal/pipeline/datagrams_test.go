package pipeline_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/udp"
)

// script makes captures of packets of IPv4, one each millisecond. Hosts are named by the last byte of their address.
type script struct {
	records []capture.Record
	now     time.Duration
}

func (s *script) add(b []byte) {
	s.now += time.Millisecond
	binary.BigEndian.PutUint16(b[4:], uint16(len(s.records)+1)) // or equal ones would be taken for one that was captured twice
	s.records = append(s.records, capture.Record{
		Time: 1_700_000_000_000_000_000 + int64(s.now), Number: uint64(len(s.records) + 1), Data: b, WireLen: len(b), Link: 101,
	})
}

func (s *script) wait(d time.Duration) { s.now += d }

// host is an end of what is sent.
type host struct {
	addr byte
	port uint16
}

// ip makes the header of an IPv4 packet.
func ip(protocol, from, to byte, n int) []byte {
	b := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, from, 10, 0, 0, to}
	binary.BigEndian.PutUint16(b[2:], uint16(20+n))
	return b
}

func (s *script) udp(from, to host, payload string) {
	b := ip(17, from.addr, to.addr, 8+len(payload))
	b = binary.BigEndian.AppendUint16(b, from.port)
	b = binary.BigEndian.AppendUint16(b, to.port)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	s.add(append(append(b, 0, 0), payload...))
}

func (s *script) tcp(from, to host, seq, ack uint32, flags byte, payload string) {
	b := ip(6, from.addr, to.addr, 20+len(payload))
	b = binary.BigEndian.AppendUint16(b, from.port)
	b = binary.BigEndian.AppendUint16(b, to.port)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	s.add(append(append(b, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0), payload...))
}

// connect shakes hands; what follows begins at 2 on both sides.
func (s *script) connect(from, to host) {
	s.tcp(from, to, 1, 0, flagSYN, "")
	s.tcp(to, from, 1, 2, flagSYN|flagACK, "")
	s.tcp(from, to, 2, 2, flagACK, "")
}

// error has a host send an ICMP error about the last packet but n to its sender.
func (s *script) error(from byte, kind, code byte, n int) {
	about := s.records[len(s.records)-1-n].Data
	quoted := about[:min(len(about), 28)]
	b := ip(1, from, about[15], 8+len(quoted))
	s.add(append(append(b, kind, code, 0, 0, 0, 0, 0, 0), quoted...))
}

// dnsQuestion asks for the address of a name of one label, dnsAnswer answers.
func dnsQuestion(id byte, label string) string {
	return string([]byte{0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, byte(len(label))}) + label + "\x00\x00\x01\x00\x01"
}

func dnsAnswer(id byte, label string) string {
	return string([]byte{0, id, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, byte(len(label))}) + label +
		"\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x02"
}

// become tells what came of a capture, one exchange or flow a line.
func become(t testing.TB, c pipeline.Config, src []capture.Record) (string, pipeline.Stats) {
	t.Helper()
	var b strings.Builder
	stats := run(t, c, src, &received{each: func(x *exchange.Exchange) error {
		fmt.Fprintf(&b, "%s %s>%s", x.Protocol, x.Flow.End(x.Client), x.Flow.End(x.Server()))
		if x.Period != nil {
			fmt.Fprintf(&b, " flow %d %v, %d and %d packets", x.Period.Number, x.Period.Final, x.During[x.Client].Packets, x.During[x.Server()].Packets)
		} else {
			fmt.Fprintf(&b, " %s %s", x.Verb(), x.Subject())
			if x.HasResponse {
				b.WriteString(" answered")
			}
		}
		if x.Retries > 0 {
			fmt.Fprintf(&b, " again %d", x.Retries)
		}
		fmt.Fprintf(&b, " %s", x.Grade)
		if x.Reason != "" {
			fmt.Fprintf(&b, ": %s", x.Reason)
		}
		b.WriteByte('\n')
		return nil
	}})
	return strings.ReplaceAll(b.String(), "10.0.0.", ""), stats
}

func trimmed(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

var client, web, name53, other = host{1, 40000}, host{2, 80}, host{3, 53}, host{4, 7000}

// TestFlowRecords: of which flows there are records, and what they say of how these ended.
func TestFlowRecords(t *testing.T) {
	s := &script{}
	port := func(n uint16) host { return host{1, 40000 + n} }
	// An exchange.
	s.connect(port(0), web)
	s.tcp(port(0), web, 2, 2, flagACK, get)
	s.tcp(web, port(0), 2, uint32(2+len(get)), flagACK, answer)
	// Nothing that anybody knows.
	s.connect(port(1), other)
	s.tcp(port(1), other, 2, 2, flagACK, "??\n")
	s.tcp(other, port(1), 2, 5, flagACK, "!!\n")
	// Something that is known, and not taken apart.
	s.connect(port(2), host{2, 22})
	s.tcp(host{2, 22}, port(2), 2, 2, flagACK, "SSH-2.0-OpenSSH_9.2\r\n")
	// Refused, unanswered once and twice, unreachable.
	s.tcp(port(3), web, 1, 0, flagSYN, "")
	s.tcp(web, port(3), 0, 2, flagRST|flagACK, "")
	s.tcp(port(4), web, 1, 0, flagSYN, "")
	s.tcp(port(5), web, 1, 0, flagSYN, "")
	s.tcp(port(5), web, 1, 0, flagSYN, "")
	s.tcp(port(6), host{9, 80}, 1, 0, flagSYN, "")
	s.error(7, 3, 1, 0)
	// Answered, but that wasn't captured.
	s.tcp(port(7), web, 1, 0, flagSYN, "")
	s.tcp(port(7), web, 2, 2, flagACK, "")
	s.tcp(port(7), web, 2, 2, flagACK, "??\n")
	// From its middle.
	s.tcp(port(8), web, 700, 800, flagACK, "??\n")
	s.tcp(web, port(8), 800, 703, flagACK, "!!\n")
	// Datagrams: names, unknown ones, some that nobody takes, and some that a filter lets through one way.
	s.udp(port(10), name53, dnsQuestion(1, "a"))
	s.udp(name53, port(10), dnsAnswer(1, "a"))
	s.udp(port(11), other, "??")
	s.udp(other, port(11), "!!")
	s.udp(port(12), other, "??")
	s.error(4, 3, 3, 0)
	s.udp(port(13), other, "one way")
	s.wait(20 * time.Second)
	s.udp(port(14), other, "late")
	const (
		exchanges = `
			dns 1:40010>3:53 A a answered complete
			http 1:40000>2:80 GET /a answered complete
		`
		failed = `
			empty 1:40006>9:80 flow 0 true, 1 and 0 packets aborted: host unreachable, says 7
			empty 1:40003>2:80 flow 0 true, 1 and 1 packets aborted: connection refused
			empty 1:40004>2:80 flow 0 true, 1 and 0 packets unanswered: nobody answered the SYN, sent once
			empty 1:40005>2:80 flow 0 true, 2 and 0 packets unanswered: nobody answered the SYN, sent 2 times
			udp 1:40012>4:7000 flow 0 true, 1 and 0 packets aborted: port unreachable, says 4
		`
		unknown = `
			unknown 1:40001>4:7000 flow 0 true, 3 and 2 packets complete
			ssh 1:40002>2:22 flow 0 true, 2 and 2 packets complete
			unknown 1:40007>2:80 flow 0 true, 3 and 0 packets onesided: the server's packets weren't captured
			unknown 1:40008>2:80 flow 0 true, 1 and 1 packets midstream: it began before the capture
			udp 1:40011>4:7000 flow 0 true, 1 and 1 packets complete
			udp 1:40013>4:7000 flow 0 true, 1 and 0 packets complete
			udp 1:40014>4:7000 flow 0 true, 1 and 0 packets complete
		`
		rest = `
			dns 1:40010>3:53 flow 0 true, 1 and 1 packets complete
			http 1:40000>2:80 flow 0 true, 3 and 2 packets complete
		`
	)
	for which, want := range map[pipeline.Flows]string{
		pipeline.NoFlows: exchanges, pipeline.FailedFlows: exchanges + failed, pipeline.UnknownFlows: exchanges + failed + unknown,
		pipeline.AllFlows: exchanges + failed + unknown + rest,
	} {
		for _, workers := range []int{1, 3} {
			c := all()
			c.Workers, c.Flows = workers, which
			got, _ := become(t, c, s.records)
			have, lines := map[string]int{}, map[string]int{}
			for line := range strings.Lines(trimmed(got)) {
				have[line]++
			}
			for line := range strings.Lines(trimmed(want)) {
				lines[line]++
			}
			for line, n := range lines {
				if have[line] != n {
					t.Errorf("flows %d: %d times %s", which, have[line], line)
				}
			}
			for line := range have {
				if lines[line] == 0 {
					t.Errorf("flows %d: not wanted: %s", which, line)
				}
			}
		}
	}
}

// TestParseFlows: each choice has a name, and nothing else has.
func TestParseFlows(t *testing.T) {
	for i, name := range []string{"none", "failed", "unknown", "all"} {
		if f, err := pipeline.ParseFlows(name); err != nil || f != pipeline.Flows(i) {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	if _, err := pipeline.ParseFlows("some"); err == nil || !strings.Contains(err.Error(), "none, failed, unknown or all") {
		t.Errorf("the error doesn't help: %v", err)
	}
}

// TestDatagrams: how flows of UDP are told apart, and how what waits in them ends.
func TestDatagrams(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(s *script)
		hints map[uint16]string
		want  string
		// ignored are the packets that were ignored by name, analysed those that weren't.
		ignored  string
		analysed int
	}{
		{"a question and its answer", func(s *script) {
			s.udp(client, name53, dnsQuestion(1, "a"))
			s.udp(name53, client, dnsAnswer(1, "a"))
		}, nil, "dns 1:40000>3:53 A a answered complete", "", 2},
		{"at another port", func(s *script) {
			s.udp(client, other, dnsQuestion(1, "a"))
			s.udp(other, client, dnsAnswer(1, "a"))
		}, nil, "dns 1:40000>4:7000 A a answered complete", "", 2},
		{"one of two answers twice, the other late", func(s *script) {
			s.udp(client, name53, dnsQuestion(1, "a"))
			s.udp(client, name53, dnsQuestion(2, "b"))
			s.udp(name53, client, dnsAnswer(1, "a"))
			s.udp(name53, client, dnsAnswer(1, "a"))
			s.wait(2 * time.Second)
			s.udp(host{9, 1}, other, "??")
			s.wait(2 * time.Second)
			s.udp(host{9, 1}, other, "??")
			s.udp(name53, client, dnsAnswer(2, "b"))
		}, nil, `dns 1:40000>3:53 A a answered complete
			dns 1:40000>3:53 A a answered complete
			dns 1:40000>3:53 A b answered complete`, "udp 2", 5},
		{"the client has closed its port", func(s *script) {
			s.udp(client, name53, dnsQuestion(1, "a"))
			s.udp(client, name53, dnsQuestion(2, "b"))
			s.udp(name53, client, dnsAnswer(1, "a"))
			s.error(1, 3, 3, 0)
		}, nil, `dns 1:40000>3:53 A a answered complete
			dns 1:40000>3:53 A b unanswered: capture ended`, "", 4},
		{"the answer alone", func(s *script) {
			s.udp(name53, client, dnsAnswer(1, "a"))
		}, nil, "dns 1:40000>3:53 A a answered midstream: the request came before the capture", "", 1},
		{"asked again", func(s *script) {
			for range 3 {
				s.udp(client, name53, dnsQuestion(1, "a"))
				s.wait(time.Second)
			}
			s.udp(name53, client, dnsAnswer(1, "a"))
		}, nil, "dns 1:40000>3:53 A a answered again 2 complete", "", 4},
		{"no answer", func(s *script) {
			s.udp(client, name53, dnsQuestion(1, "a"))
		}, nil, "dns 1:40000>3:53 A a unanswered: no answer: capture ended", "", 1},
		{"no answer for long", func(s *script) {
			s.udp(client, name53, dnsQuestion(1, "a"))
			s.wait(time.Minute)
			s.udp(host{1, 40001}, name53, dnsQuestion(1, "b"))
		}, nil, "dns 1:40000>3:53 A a unanswered: no answer: connection silent\ndns 1:40001>3:53 A b unanswered: no answer: capture ended", "", 2},
		{"nobody is there", func(s *script) {
			s.udp(client, name53, dnsQuestion(1, "a"))
			s.error(3, 3, 3, 0)
		}, nil, "dns 1:40000>3:53 A a aborted: port unreachable, says 3", "", 2},
		{"an error about another's", func(s *script) {
			s.udp(client, name53, dnsQuestion(1, "a"))
			s.udp(host{1, 40001}, name53, dnsQuestion(1, "b"))
			s.error(3, 3, 3, 1)
			s.udp(name53, host{1, 40001}, dnsAnswer(1, "b"))
		}, nil, "dns 1:40000>3:53 A a aborted: port unreachable, says 3\ndns 1:40001>3:53 A b answered complete", "", 4},
		{"an error about what nobody sent", func(s *script) {
			s.udp(client, name53, dnsQuestion(1, "a"))
			s.udp(name53, client, dnsAnswer(1, "a"))
			s.error(1, 3, 3, 0)
			s.records = append(s.records[:0:0], s.records[2])
			s.records[0].Number = 1
		}, nil, "", "icmp 1", 0},
		{"unknown", func(s *script) {
			s.udp(client, other, "??")
			s.udp(other, client, "!!")
		}, nil, "", "udp 2", 0},
		{"recognised by a port", func(s *script) {
			s.udp(client, host{4, 123}, "??")
			s.udp(client, host{4, 161}, "??")
		}, nil, "", "ntp 1, snmp 1", 0},
		{"known late", func(s *script) {
			for range 3 {
				s.udp(client, other, "??")
			}
			s.udp(client, other, dnsQuestion(1, "a"))
		}, nil, "dns 1:40000>4:7000 A a unanswered: no answer: capture ended", "udp 3", 1},
		{"known too late", func(s *script) {
			for range 4 {
				s.udp(client, other, "??")
			}
			s.udp(client, other, dnsQuestion(1, "a"))
		}, nil, "", "udp 5", 0},
		{"content is stronger than a hint", func(s *script) {
			s.udp(client, other, dnsQuestion(1, "a"))
		}, map[uint16]string{7000: "memcached"}, "dns 1:40000>4:7000 A a unanswered: no answer: capture ended", "", 1},
		{"a hint", func(s *script) {
			s.udp(client, other, "??")
		}, map[uint16]string{7000: "dns"}, "", "", 1},
	} {
		for _, workers := range []int{1, 2} {
			s := &script{}
			c.make(s)
			cfg := config()
			cfg.Workers, cfg.Hints, cfg.UDP = workers, c.hints, udp.DefaultLimits
			cfg.Parser.MaxStreams = 10
			got, stats := become(t, cfg, s.records)
			var ignored []string
			for _, name := range []string{"icmp", "ntp", "snmp", "udp"} {
				if n := stats.Ignored[name].Packets; n > 0 {
					ignored = append(ignored, fmt.Sprint(name, " ", n))
				}
			}
			if trimmed(got) != trimmed(c.want) || strings.Join(ignored, ", ") != c.ignored || stats.Analysed.Packets != uint64(c.analysed) {
				t.Errorf("%s, %d workers:\n%swant\n%s\nanalysed %d, ignored %v", c.name, workers, got, c.want, stats.Analysed.Packets, stats.Ignored)
			}
		}
	}
}

// numbers are those of the packets that are recorded.
type numbers []uint64

func (n *numbers) Packet(r *capture.Record, _ *packet.Packet, _ *packet.Flow) {
	*n = append(*n, r.Number)
}

// TestOwn: culprit's own packets are counted and not recorded, and neither is an ICMP error about them.
func TestOwn(t *testing.T) {
	s := &script{}
	s.udp(client, other, dnsQuestion(1, "a"))
	s.error(4, 3, 3, 0)
	s.udp(client, name53, dnsQuestion(1, "b"))
	for _, workers := range []int{1, 2} {
		c := config()
		c.Workers, c.UDP = workers, udp.DefaultLimits
		c.Own = func(p *packet.Packet) bool { return p.DstPort == other.port }
		var recorded numbers
		c.Recorder = &recorded
		got, stats := become(t, c, s.records)
		const want = "dns 1:40000>3:53 A b unanswered: no answer: capture ended\n"
		if got != want || stats.Ignored["own"].Packets != 1 || stats.Ignored["icmp"].Packets != 1 || stats.Analysed.Packets != 1 {
			t.Errorf("%d workers: %swant %s%v", workers, got, want, stats.Ignored)
		}
		if !slices.Equal(recorded, numbers{3}) {
			t.Errorf("%d workers: recorded %v", workers, recorded)
		}
	}
}

// TestDatagramsUsedAgain: what takes the datagrams of a flow has nothing of the flow before.
func TestDatagramsUsedAgain(t *testing.T) {
	s := &script{}
	var want strings.Builder
	for i := range 300 {
		asks := host{1, uint16(41000 + i)}
		switch i % 3 {
		case 0:
			s.udp(asks, other, "??")
		case 1:
			s.udp(asks, name53, dnsQuestion(1, "a"))
			fmt.Fprintf(&want, "dns 1:%d>3:53 A a answered complete\n", asks.port)
		default:
			s.udp(asks, host{4, 7000}, dnsQuestion(1, "b")) // the same id
			fmt.Fprintf(&want, "dns 1:%d>4:7000 A b unanswered: no answer: connection silent\n", asks.port)
		}
		s.wait(time.Second)
		if i%3 == 1 {
			s.udp(name53, asks, dnsAnswer(1, "a"))
		}
		s.wait(40 * time.Second)
	}
	s.udp(client, other, "the end")
	c := config()
	c.UDP = udp.DefaultLimits
	got, stats := become(t, c, s.records)
	if got != want.String() {
		t.Errorf("%s\nwant\n%s", got, &want)
	}
	if stats.UDP.Flows != 301 || stats.UDP.TimedOut != 300 || stats.Connections["dns"] != 200 {
		t.Errorf("%+v, %v", stats.UDP, stats.Connections)
	}
}

// TestRelieveFlows: flows of UDP make room for others when the budget is used up, and are counted then.
func TestRelieveFlows(t *testing.T) {
	const n = 60_000
	s := &script{}
	for i := range n {
		s.udp(host{byte(i >> 12), uint16(20000 + i&0xfff)}, host{200, 7000}, "??")
	}
	c := config()
	c.UDP, c.Memory = udp.DefaultLimits, 64<<20
	_, stats := become(t, c, s.records)
	if stats.UDP.Flows != n || stats.BudgetEvicted == 0 || stats.UDP.Evicted != 0 {
		t.Errorf("%d flows, %d made room for others, %d there were too many of", stats.UDP.Flows, stats.BudgetEvicted, stats.UDP.Evicted)
	}
	c.UDP.MaxFlows, c.Memory = 10, 512<<20
	_, stats = become(t, c, s.records)
	if left := stats.UDP.Flows - stats.UDP.Evicted; stats.UDP.Flows != n || stats.BudgetEvicted != 0 || left != 10*pipeline.Shards {
		t.Errorf("%d flows, %d made room for others, %d there were too many of", stats.UDP.Flows, stats.BudgetEvicted, stats.UDP.Evicted)
	}
}

// TestRelieveIdleFlows: datagrams of which nothing is known to wait make room for connections, whose requests do.
func TestRelieveIdleFlows(t *testing.T) {
	const connections, datagrams = 3000, 30_000
	s := &script{}
	asks := func(i int) host { return host{byte(1 + i>>8), uint16(20000 + i)} }
	for i := range connections {
		s.connect(asks(i), web)
		s.tcp(asks(i), web, 2, 2, flagACK, get)
	}
	for i := range datagrams {
		s.udp(host{byte(100 + i>>12), uint16(20000 + i&0xfff)}, other, "??")
	}
	for i := range connections {
		s.tcp(web, asks(i), 2, uint32(2+len(get)), flagACK, answer)
	}
	c := config()
	c.UDP, c.Memory = udp.DefaultLimits, 80<<20
	got, stats := become(t, c, s.records)
	if n := strings.Count(got, " answered complete\n"); n != connections || stats.BudgetEvicted == 0 {
		t.Errorf("%d of %d requests have their answers, %d flows made room", n, connections, stats.BudgetEvicted)
	}
}
