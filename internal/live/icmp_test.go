//go:build linux

package live

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/lab"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/udp"
)

// routed returns a client, and a router between it and a server: the router's other network takes packets of 1,300 bytes, it
// knows no way to 10.3.0.0/24 and fd00:3::/64, and may not send to 10.4.0.0/24 and fd00:4::/64.
func routed(t *testing.T, l *lab.Lab) (client lab.End) {
	t.Helper()
	end := func(name, iface string, addresses ...string) lab.End {
		return lab.End{Namespace: must(l.Namespace(name))(t), Interface: iface, Addresses: addresses}
	}
	client = end("client", "c0", "10.1.0.1/24", "fd00:1::1/64")
	near := end("router", "r0", "10.1.0.254/24", "fd00:1::254/64")
	far := lab.End{Namespace: near.Namespace, Interface: "r1", Addresses: []string{"10.2.0.254/24", "fd00:2::254/64"}}
	server := end("server", "s0", "10.2.0.2/24", "fd00:2::2/64")
	for _, s := range [][2]string{
		{"ipv4/ip_forward", "1"}, {"ipv6/conf/all/forwarding", "1"}, {"ipv4/icmp_ratelimit", "0"}, {"ipv6/icmp/ratelimit", "0"},
	} {
		check(t, near.Namespace.Sysctl(s[0], s[1]), server.Namespace.Sysctl(s[0], s[1]))
	}
	check(t, lab.Veth(client, near), lab.Veth(far, server), client.Namespace.Offload("c0", false))
	for _, route := range []struct {
		end  lab.End
		text string
	}{
		{client, "route add default via 10.1.0.254"}, {client, "-6 route add default via fd00:1::254"},
		{server, "route add default via 10.2.0.254"}, {server, "-6 route add default via fd00:2::254"},
		{near, "link set dev r1 mtu 1300"},
		{near, "route add unreachable 10.3.0.0/24"}, {near, "-6 route add unreachable fd00:3::/64"},
		{near, "route add prohibit 10.4.0.0/24"}, {near, "-6 route add prohibit fd00:4::/64"},
	} {
		check(t, route.end.Namespace.IP(route.text))
	}
	return client
}

// told is a flow, as its facts are when it is over. It takes what flows and connections carry.
type told struct {
	flow  *proto.Flow
	facts *proto.Facts
	// after is how many packets were given before it was over.
	after *int
	over  int
	end   proto.Facts
}

func (w *told) Datagram(proto.Direction, []byte, int, clock.Mark) {}
func (w *told) Close(clock.Mark, proto.CloseReason)               { w.over, w.end = *w.after, *w.facts }

// half is told of a connection.
type half struct{ *told }

func (half) Data(proto.Direction, []byte, clock.Mark) proto.Verdict          { return proto.Verdict{} }
func (half) Gap(proto.Direction, int64, clock.Mark)                          {}
func (h half) Close(_ proto.Direction, at clock.Mark, why proto.CloseReason) { h.told.Close(at, why) }

// flowsOf gives the packets of a capture to the tables, and returns the flows by the port of the server. Errors about packets of
// none of them fail the test.
func flowsOf(t *testing.T, pcap []byte) map[uint16]*told {
	t.Helper()
	src, err := capture.Open([]capture.Input{{Path: capture.Stdin}}, capture.Options{Stdin: bytes.NewReader(pcap)})
	check(t, err)
	defer src.Close()
	flows := map[uint16]*told{}
	given := 0
	open := func(f *proto.Flow, facts *proto.Facts) *told {
		w := &told{flow: f, facts: facts, after: &given}
		flows[f.Port[proto.Responder]] = w
		return w
	}
	connections := tcp.New(func(f *proto.Flow, facts *proto.Facts) proto.Parser { return half{open(f, facts)} }, tcp.DefaultLimits)
	datagrams := udp.New(func(f *proto.Flow, facts *proto.Facts, _ *packet.Packet) proto.Datagrams { return open(f, facts) }, udp.DefaultLimits)
	decoder := packet.NewDecoder(packet.DefaultLimits())
	var r capture.Record
	var p packet.Packet
	var ticks clock.Clock
	for {
		if err := src.Next(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		at := clock.Mark{Time: r.Time, Packet: r.Number}
		if ticks.Advance(r.Time) {
			connections.Tick(ticks.Elapsed(), at)
			datagrams.Tick(ticks.Elapsed(), at)
		}
		res := decoder.Decode(&p, &r)
		key, fromLo := p.Key()
		v := tcp.Analysed
		given++
		switch {
		case res == packet.Decoded && p.Proto == packet.ProtoTCP:
			v = connections.Packet(&p, &key, fromLo)
		case res == packet.Decoded:
			v = datagrams.Packet(&p, &key, fromLo)
		case res == packet.ICMPError && p.Proto == packet.ProtoTCP:
			v = connections.ICMP(&p, &key, fromLo)
		case res == packet.ICMPError:
			v = datagrams.ICMP(&p, &key, fromLo)
		}
		if v != tcp.Analysed {
			t.Errorf("packet %d: %v, %+v", r.Number, v, p)
		}
	}
	given = 1 << 20
	end := clock.Mark{Time: r.Time + int64(time.Second)}
	connections.Tick(ticks.Elapsed()+int64(time.Second), end) // for resets that are waited for
	connections.Close(end)
	datagrams.Close(end)
	return flows
}

// What routers and hosts say of packets that they couldn't deliver is found with the flows of these packets.
func TestICMPErrors(t *testing.T) {
	l := newLab(t, "ip")
	client := routed(t, l)
	const near4, near6, host4, host6 = "10.1.0.254", "fd00:1::254", "10.2.0.2", "fd00:2::2"
	cases := []struct {
		name, network, host string
		size, hops          int // of a datagram; 0: small, and as many as usual
		from                string
		want                proto.ICMPError
		why                 proto.CloseReason
	}{
		{"port unreachable", "udp4", host4, 0, 0, host4, proto.ICMPError{Type: 3, Code: 3}, proto.Reset},
		{"port unreachable", "udp6", host6, 0, 0, host6, proto.ICMPError{Type: 1, Code: 4, V6: true}, proto.Reset},
		{"host unreachable", "udp4", "10.3.0.1", 0, 0, near4, proto.ICMPError{Type: 3, Code: 1}, proto.CaptureEnded},
		{"no route", "udp6", "fd00:3::1", 0, 0, near6, proto.ICMPError{Type: 1, Code: 0, V6: true}, proto.CaptureEnded},
		{"prohibited", "udp4", "10.4.0.1", 0, 0, near4, proto.ICMPError{Type: 3, Code: 13}, proto.Reset},
		{"prohibited", "udp6", "fd00:4::1", 0, 0, near6, proto.ICMPError{Type: 1, Code: 1, V6: true}, proto.Reset},
		{"too many hops", "udp4", host4, 0, 1, near4, proto.ICMPError{Type: 11}, proto.CaptureEnded},
		{"too many hops", "udp6", host6, 0, 1, near6, proto.ICMPError{Type: 3, V6: true}, proto.CaptureEnded},
		{"too big", "udp4", host4, 1400, 0, near4, proto.ICMPError{Type: 3, Code: 4, MTU: 1300}, proto.CaptureEnded},
		{"too big", "udp6", host6, 1400, 0, near6, proto.ICMPError{Type: 2, MTU: 1300, V6: true}, proto.CaptureEnded},
		{"host unreachable", "tcp4", "10.3.0.1", 0, 0, near4, proto.ICMPError{Type: 3, Code: 1}, proto.Reset},
		{"no route", "tcp6", "fd00:3::1", 0, 0, near6, proto.ICMPError{Type: 1, Code: 0, V6: true}, proto.Reset},
		{"prohibited", "tcp4", "10.4.0.1", 0, 0, near4, proto.ICMPError{Type: 3, Code: 13}, proto.Reset},
		{"prohibited", "tcp6", "fd00:4::1", 0, 0, near6, proto.ICMPError{Type: 1, Code: 1, V6: true}, proto.Reset},
		{"refused by a reset", "tcp4", host4, 0, 0, "", proto.ICMPError{}, proto.Reset},
	}
	recording := must(client.Namespace.Record("c0"))(t)
	for i, c := range cases {
		address := net.JoinHostPort(c.host, fmt.Sprint(1000+i))
		conn, err := client.Namespace.Dial(c.network, address)
		if strings.HasPrefix(c.network, "tcp") {
			if err == nil {
				conn.Close()
				t.Errorf("%s, %s: there was a connection", c.name, c.network)
			}
			continue
		}
		check(t, err)
		defer conn.Close()
		raw, err := conn.(*net.UDPConn).SyscallConn()
		check(t, err, raw.Control(func(fd uintptr) { err = options(int(fd), c.network == "udp6", c.hops) }), err)
		check(t, conn.SetReadDeadline(time.Now().Add(lab.Patience)))
		_, err = conn.Write(make([]byte, max(c.size, 1)))
		check(t, err)
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, syscall.EAGAIN) || strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s, %s: the system was told of no error: %v", c.name, c.network, err)
		}
	}
	pcap, _, err := recording.Stop()
	check(t, err)
	flows := flowsOf(t, pcap)
	for i, c := range cases {
		f := flows[uint16(1000+i)]
		if f == nil {
			t.Errorf("%s, %s: no flow", c.name, c.network)
			continue
		}
		got := f.end.Error
		errors := uint32(1)
		if c.from == "" {
			errors = 0
		} else if got.From.String() != c.from || got.At.Time < f.flow.First.Time || got.At.Packet <= f.flow.First.Packet {
			t.Errorf("%s, %s: from %v, marked %+v", c.name, c.network, got.From, got.At)
		}
		got.From, got.At = packet.Addr{}, clock.Mark{}
		if f.end.Errors != errors || got != c.want || f.end.Why != c.why {
			t.Errorf("%s, %s: %d errors, %+v, closed %v; want %+v, %v", c.name, c.network, f.end.Errors, got, f.end.Why, c.want, c.why)
		}
		if f.flow.Addr[proto.Responder].String() != c.host || f.end.Half[proto.Originator].Packets == 0 || f.end.Half[proto.Responder].Bytes > 0 {
			t.Errorf("%s, %s: to %v, %+v", c.name, c.network, f.flow.Addr, f.end.Half)
		}
		if c.why == proto.Reset && c.network[:3] == "udp" && f.over == 1<<20 {
			t.Errorf("%s, %s: it was over with the capture only", c.name, c.network)
		}
	}
}

// options makes a socket tell all errors, and never cut a datagram up; its packets live for so many hops.
func options(fd int, v6 bool, hops int) error {
	if v6 {
		if hops > 0 {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hops); err != nil {
				return err
			}
		}
		return errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO))
	}
	if hops > 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, hops); err != nil {
			return err
		}
	}
	return errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO))
}
