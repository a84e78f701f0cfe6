//go:build linux

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Run(m.Run)) }

// newLab returns a laboratory that is closed at the end of the test.
func newLab(t *testing.T) *Lab {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// hosts returns a client and a server that a virtual Ethernet pair joins.
func hosts(t *testing.T, l *Lab) (client, server End) {
	t.Helper()
	client = End{must(l.Namespace("client"))(t), "c0", []string{"10.1.0.1/24", "fd00:1::1/64"}}
	server = End{must(l.Namespace("server"))(t), "s0", []string{"10.1.0.2/24", "fd00:1::2/64"}}
	check(t, Veth(client, server))
	return client, server
}

// agree says where what clients got isn't what nginx has logged.
func agree(t *testing.T, answers []Answer, log []Access) {
	t.Helper()
	type key struct {
		port, nth, status int
		method, target    string
		body              int64
	}
	var got, want []key
	for _, a := range answers {
		got = append(got, key{a.Port, a.Nth, a.Status, a.Method, a.Target, a.Content})
	}
	for _, a := range log {
		want = append(want, key{a.Port, a.Nth, a.Status, a.Method, a.Target, a.Body})
	}
	order := func(a, b key) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if !slices.Equal(got, want) {
		t.Errorf("clients got %v\nnginx has logged %v", got, want)
	}
}

func TestNginxAndLoad(t *testing.T) {
	l := newLab(t)
	client, server := hosts(t, l)
	nginx := must(server.Namespace.Nginx(t.TempDir(), "10.1.0.2:80", "[fd00:1::2]:80"))(t)
	requests := []Request{
		{Target: "/echo?id=1"}, {Target: "/size/1M?id=2"}, {Method: "HEAD", Target: "/size/100K"}, {Target: "/status/404"},
		{Method: "POST", Target: "/upload?id=3", Body: 3 << 20}, {Target: "/close"}, {Target: "/size/0"}, {Target: "/status/500"},
	}
	load := Load{Address: "10.1.0.2:80", Connections: 3, Requests: 20, Request: func(i int) Request { return requests[i%len(requests)] }}
	four := must(client.Namespace.Drive(t.Context(), load))(t)
	load.Address = "[fd00:1::2]:80"
	six := must(client.Namespace.Drive(t.Context(), load))(t)
	if len(four) != 20 || len(six) != 20 {
		t.Errorf("%d and %d answers, want 20", len(four), len(six))
	}
	for _, a := range append(four, six...) {
		if a.Target == "/echo?id=1" && (a.Status != 200 || a.Beginning != "id=1 target=/echo?id=1\n") {
			t.Errorf("%+v", a)
		}
		if a.Target == "/size/1M?id=2" && a.Content != 1<<20 {
			t.Errorf("%+v", a)
		}
	}
	check(t, Settle(client.Namespace, server.Namespace))
	agree(t, append(four, six...), must(nginx.Log())(t))
}

func TestDriveFails(t *testing.T) {
	l := newLab(t)
	client, server := hosts(t, l)
	must(server.Namespace.Nginx(t.TempDir(), "10.1.0.2:80"))(t)
	if _, err := client.Namespace.Drive(t.Context(), Load{Address: "10.1.0.2:81", Requests: 1}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	answers, err := client.Namespace.Drive(t.Context(), Load{Address: "10.1.0.2:80", Requests: 2, Request: func(i int) Request {
		return Request{Target: []string{"/echo", "/silent"}[i]}
	}})
	if err == nil || !strings.Contains(err.Error(), "request 1, GET /silent") || len(answers) != 1 {
		t.Errorf("%d answers, %v", len(answers), err)
	}
}

// Namespaces are apart, have their names where ip looks for them, and go away.
func TestNamespaces(t *testing.T) {
	l := newLab(t)
	client, _ := hosts(t, l)
	if _, err := l.Namespace("client"); err == nil {
		t.Error("a namespace was made twice")
	}
	outer := must(net.Interfaces())(t)
	if len(outer) != 1 || outer[0].Name != "lo" {
		t.Errorf("the test's own namespace has %v", outer)
	}
	ip := must(Program("ip"))(t)
	out := must(exec.Command(ip, "netns").CombinedOutput())(t)
	if s := string(out); !strings.Contains(s, "client") || !strings.Contains(s, "server") {
		t.Errorf("ip netns: %q", s)
	}
	inner := must(os.Readlink("/proc/self/ns/net"))(t)
	var there string
	if err := <-client.Namespace.Go(func() (err error) { there, err = os.Readlink("/proc/thread-self/ns/net"); return err }); err != nil {
		t.Fatal(err)
	}
	if there == inner {
		t.Error("Go has called the function in the outer namespace")
	}
	check(t, l.Close())
	if entries := must(os.ReadDir(names))(t); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
	if err := client.Namespace.Do(func() error { return nil }); err == nil {
		t.Error("a closed namespace still works")
	}
}

// Processes end with the laboratory, and so do theirs.
func TestProcessesEnd(t *testing.T) {
	l := newLab(t)
	client, _ := hosts(t, l)
	cmd := exec.Command("sh", "-c", "sleep 1000 & echo begun; wait")
	r, w, err := os.Pipe()
	check(t, err)
	cmd.Stdout = w
	p := must(client.Namespace.Start(cmd))(t)
	w.Close()
	begun := make([]byte, 6)
	if _, err := r.Read(begun); err != nil || string(begun) != "begun\n" {
		t.Fatalf("%q, %v", begun, err)
	}
	children := Children(p.PID)
	if len(children) != 1 {
		t.Errorf("children: %v", children)
	}
	check(t, l.Close())
	if n, err := r.Read(begun); n > 0 || err == nil {
		t.Error("the pipe is still open: someone is left")
	}
	for _, pid := range append(children, p.PID) {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d: %v", pid, err)
		}
	}
	if left := reap(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// frames reads frames at an end until f has seen enough.
func frames(t *testing.T, e End, f func(frame []byte) (enough bool)) <-chan error {
	t.Helper()
	s := must(e.Namespace.openPacket(e.Interface, true))(t)
	done := make(chan error, 1)
	t.Cleanup(func() { s.close() })
	late := time.AfterFunc(Patience, func() { s.close() })
	go func() {
		defer late.Stop()
		buf := make([]byte, longestFrame)
		for {
			b, err := s.receive(buf)
			if err != nil {
				done <- err
				return
			}
			if f(b) {
				done <- nil
				return
			}
		}
	}()
	return done
}

func TestOffload(t *testing.T) {
	for _, on := range []bool{false, true} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			l := newLab(t)
			client, server := hosts(t, l)
			check(t, client.Namespace.Offload("c0", on), server.Namespace.Offload("s0", on))
			must(server.Namespace.Nginx(t.TempDir(), "10.1.0.2:80"))(t)
			longest, total := 0, 0
			done := frames(t, client, func(b []byte) bool {
				longest, total = max(longest, len(b)), total+len(b)
				return total > 1<<20
			})
			must(client.Namespace.Drive(t.Context(), Load{Address: "10.1.0.2:80", Requests: 4, Request: func(int) Request { return Request{Target: "/size/1M"} }}))(t)
			check(t, <-done)
			if longest > 1514 != on {
				t.Errorf("frames of up to %d bytes", longest)
			}
		})
	}
	l := newLab(t)
	client, _ := hosts(t, l)
	if err := client.Namespace.Offload("none", false); !errors.Is(err, syscall.ENODEV) {
		t.Error(err)
	}
}

// linked are two hosts with a link between them, and with the wire of virtual Ethernet in its middle that has the
// tags.
func linked(t *testing.T, l *Lab, k Link) (client, server, middle End, links [2]*RunningLink) {
	t.Helper()
	wire := must(l.Namespace("wire"))(t)
	client = End{must(l.Namespace("client"))(t), "c0", []string{"10.1.0.1/24"}}
	server = End{must(l.Namespace("server"))(t), "s0", []string{"10.1.0.2/24"}}
	a, b := End{wire, "a", nil}, End{wire, "b", nil}
	m, n := End{wire, "m", nil}, End{wire, "n", nil}
	check(t, Veth(client, a), Veth(server, b), Veth(m, n))
	check(t, client.Namespace.Offload("c0", false), server.Namespace.Offload("s0", false))
	check(t, wire.IP("link set dev m mtu 1600"), wire.IP("link set dev n mtu 1600")) // room for tags
	k.A, k.B = a, m
	links[0] = must(k.Run())(t)
	k.A = b
	k.B, k.Seed = n, k.Seed+1
	links[1] = must(k.Run())(t)
	return client, server, m, links
}

func TestLinkTags(t *testing.T) {
	for _, c := range []struct {
		name string
		tags []Tag
	}{
		{"none", nil},
		{"one", []Tag{{TagVLAN, 5}}},
		{"two", []Tag{{TagService, 100}, {TagVLAN, 0x6000 | 7}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			client, server, middle, links := linked(t, l, Link{Tags: c.tags})
			must(server.Namespace.Nginx(t.TempDir(), "10.1.0.2:80"))(t)
			want := push(nil, make([]byte, macsLen), c.tags)[macsLen:]
			seen := frames(t, middle, func(b []byte) bool {
				if len(b) < macsLen+len(want)+2 || !bytes.Equal(b[macsLen:macsLen+len(want)], want) {
					t.Errorf("a frame in the middle begins with % x", b[:min(len(b), 30)])
					return true
				}
				ip := b[macsLen+len(want)] == 8 && b[macsLen+len(want)+1] == 0
				return ip && bytes.Contains(b, []byte("HTTP/1.1 200"))
			})
			answers := must(client.Namespace.Drive(t.Context(), Load{Address: "10.1.0.2:80", Connections: 2, Requests: 10, Request: func(int) Request {
				return Request{Target: "/size/4K"} // frames of full length
			}}))(t)
			if len(answers) != 10 {
				t.Errorf("%d answers", len(answers))
			}
			check(t, <-seen)
			for _, k := range links {
				there, back := k.Close()
				if there.Delivered == 0 || back.Delivered == 0 || there.Lost+back.Lost+there.Untagged+back.Untagged > 0 {
					t.Errorf("%+v, %+v", there, back)
				}
			}
		})
	}
}

// A recording has every packet that the interface counts.
func TestRecording(t *testing.T) {
	l := newLab(t)
	client, server := hosts(t, l)
	must(server.Namespace.Nginx(t.TempDir(), "10.1.0.2:80"))(t)
	in, out, err := server.Namespace.Packets("s0")
	check(t, err)
	r := must(server.Namespace.Record("s0"))(t)
	must(client.Namespace.Drive(t.Context(), Load{Address: "10.1.0.2:80", Connections: 4, Requests: 40}))(t)
	check(t, Settle(client.Namespace, server.Namespace))
	inNow, outNow, err := server.Namespace.Packets("s0")
	check(t, err)
	pcap, packets, err := r.Stop()
	check(t, err)
	if want := int(inNow - in + outNow - out); packets < want || bytes.Count(pcap, []byte("HTTP/1.1 200 OK")) != 40 {
		t.Errorf("%d packets recorded, the interface counts %d; %d answers", packets, want, bytes.Count(pcap, []byte("HTTP/1.1 200 OK")))
	}
}

// The loopback interface shows every packet twice; a recording has it once.
func TestRecordingOfLoopback(t *testing.T) {
	l := newLab(t)
	n := must(l.Namespace("alone"))(t)
	server := must(n.Nginx(t.TempDir(), "127.0.0.1:80"))(t)
	check(t, n.Listening(80, server.Process))
	r := must(n.Record("lo"))(t)
	must(n.Drive(t.Context(), Load{Address: "127.0.0.1:80", Connections: 4, Requests: 40}))(t)
	check(t, Settle(n))
	pcap, _, err := r.Stop()
	check(t, err)
	if answers := bytes.Count(pcap, []byte("HTTP/1.1 200 OK")); answers != 40 {
		t.Errorf("%d answers, 40 requests", answers)
	}
}

// Nobody waits for a process that has ended to listen.
func TestListeningOfTheDead(t *testing.T) {
	l := newLab(t)
	n := must(l.Namespace("alone"))(t)
	p := must(n.Start(exec.Command("true")))(t)
	if err := n.Listening(80, p); err == nil || !strings.Contains(err.Error(), "ended before it listened on port 80: exit status 0") {
		t.Errorf("%v", err)
	}
}

func TestPushAndPop(t *testing.T) {
	frame := []byte("aaaaaabbbbbb\x08\x00payload")
	tags := []Tag{{TagService, 100}, {TagVLAN, 7}}
	tagged := push(nil, frame, tags)
	if want := "aaaaaabbbbbb\x88\xa8\x00\x64\x81\x00\x00\x07\x08\x00payload"; string(tagged) != want {
		t.Errorf("%q, want %q", tagged, want)
	}
	if b, ok := pop(nil, tagged, tags); !ok || !bytes.Equal(b, frame) {
		t.Errorf("%q, %v", b, ok)
	}
	for _, f := range [][]byte{frame, tagged[:macsLen+6], nil, push(nil, frame, tags[:1]), push(nil, frame, tags[1:])} {
		if b, ok := pop(nil, f, tags); ok {
			t.Errorf("%q without tags: %q", f, b)
		}
	}
}

// What a link loses is lost, nothing else is, and what is late is late.
func TestLinkLossAndDelay(t *testing.T) {
	l := newLab(t)
	// Long enough to be told from the machine's own.
	const delay = 30 * time.Millisecond
	client, server, _, links := linked(t, l, Link{Loss: 0.02, Delay: delay / 2, Jitter: time.Millisecond, Rate: 2 << 20, Seed: 1})
	must(server.Namespace.Nginx(t.TempDir(), "10.1.0.2:80"))(t)
	begin := time.Now()
	c := must(client.Namespace.Dial("tcp", "10.1.0.2:80"))(t)
	if took := time.Since(begin); took < 2*delay {
		t.Errorf("connected after %v, but each way takes %v at least", took, delay)
	}
	c.Close()
	answers := must(client.Namespace.Drive(t.Context(), Load{Address: "10.1.0.2:80", Connections: 8, Requests: 40}))(t)
	if len(answers) != 40 {
		t.Errorf("%d answers", len(answers))
	}
	var lost uint64
	for _, k := range links {
		there, back := k.Close()
		lost += there.Lost + back.Lost
		if there.Overflowed+back.Overflowed > 0 { // what other programs send while interfaces come up may be refused
			t.Errorf("%+v, %+v", there, back)
		}
	}
	if lost == 0 {
		t.Error("nothing was lost")
	}
}

func TestLinkQueueIsBounded(t *testing.T) {
	l := newLab(t)
	_, server := hosts(t, l)
	a, b := End{must(l.Namespace("wire"))(t), "a", nil}, End{must(l.Namespace("other"))(t), "b", nil}
	check(t, Veth(a, b))
	k := must(Link{A: a, B: server, Delay: time.Hour}.Run())(t)
	s := must(b.Namespace.openPacket("b", false))(t)
	defer s.close()
	const more = 100
	overflowed := func() uint64 { there, _ := k.Traffic(); return there.Overflowed }
	// The socket's own buffer may be too small for all at once, so it goes on until the queue has overflowed.
	for late := time.Now().Add(Patience); overflowed() < more; {
		check(t, s.send(make([]byte, 60)))
		if time.Now().After(late) {
			t.Fatalf("only %d frames too many", overflowed())
		}
	}
	if there, _ := k.Close(); there.Left < linkQueue || there.Left > linkQueue+2 || there.Delivered > 0 { // one is waited for, one may be about to be queued
		t.Errorf("%+v", there)
	}
}

// The kernel takes crafted segments for real, so their checksums are right.
func TestCraftedSegments(t *testing.T) {
	l := newLab(t)
	client, server := hosts(t, l)
	must(server.Namespace.Nginx(t.TempDir(), "10.1.0.2:80"))(t)
	check(t, server.Namespace.IP("neigh add 198.18.0.1 lladdr 02:00:00:00:00:01 dev s0"), server.Namespace.IP("route add default via 10.1.0.1"),
		server.Namespace.IP("route add 198.18.0.0/15 dev s0"))
	h := Hostile{From: client, Target: netip.MustParseAddrPort("10.1.0.2:80"), TargetMAC: mac(t, server)}
	g := must(h.generator())(t)
	from := netip.MustParseAddrPort("198.18.0.1:1234")
	answered := frames(t, client, func(b []byte) bool {
		// SYN+ACK of the sequence number after that of the SYN.
		return len(b) >= etherLen+ipLen+tcpLen && b[etherLen+ipLen+13] == syn|ack && bytes.Equal(b[etherLen+ipLen+8:][:4], []byte{1, 2, 3, 5})
	})
	s := must(client.Namespace.openPacket("c0", false))(t)
	defer s.close()
	check(t, s.send(g.segment(&segment{from: from, to: h.Target, seq: 0x01020304, flags: syn})))
	check(t, <-answered)
}

func mac(t *testing.T, e End) (address net.HardwareAddr) {
	t.Helper()
	check(t, e.Namespace.Do(func() error {
		i, err := net.InterfaceByName(e.Interface)
		if err == nil {
			address = i.HardwareAddr
		}
		return err
	}))
	return address
}

func TestHostile(t *testing.T) {
	l := newLab(t)
	client, server := hosts(t, l)
	must(server.Namespace.Nginx(t.TempDir(), "10.1.0.2:80"))(t)
	check(t, server.Namespace.Sink("10.1.0.2:81"))
	h := Hostile{
		From: client, Target: netip.MustParseAddrPort("10.1.0.2:80"), TargetMAC: mac(t, server),
		Rate: 20_000, Time: 500 * time.Millisecond, HalfOpen: 10, Endless: 3, Sink: "10.1.0.2:81", Seed: 1,
	}
	before, _, err := server.Namespace.Packets("s0")
	check(t, err)
	sent := must(h.Run(t.Context()))(t)
	after, _, err := server.Namespace.Packets("s0")
	check(t, err)
	total := uint64(0)
	for _, n := range sent {
		total += n
	}
	if got := after - before; got < total {
		t.Errorf("%d frames were sent, %d came", total, got)
	}
	if names := slices.Sorted(maps.Keys(sent)); !slices.Equal(names, slices.Sorted(slices.Values(HostileKinds()))) {
		t.Errorf("sent %v", names)
	}
	if limit := uint64(float64(h.Rate) * h.Time.Seconds()); total > limit || total < limit/4 {
		t.Errorf("%d frames, at most %d were to be sent", total, limit)
	}
}

func TestHostileIsTheSameAgain(t *testing.T) {
	for _, k := range hostileKinds {
		frames := func(seed uint64) (all [][]byte) {
			g := &generator{h: &Hostile{Target: netip.MustParseAddrPort("10.1.0.2:80"), TargetMAC: make(net.HardwareAddr, 6)},
				random: random(seed), mac: make(net.HardwareAddr, 6), mtu: 1500}
			for range 1000 {
				b := k.make(g)
				if len(b) < etherLen || len(b) > etherLen+1500 {
					t.Fatalf("%s: a frame of %d bytes", k.name, len(b))
				}
				all = append(all, bytes.Clone(b))
			}
			return all
		}
		if a, b := frames(1), frames(1); !slices.EqualFunc(a, b, bytes.Equal) {
			t.Errorf("%s: other frames from the same seed", k.name)
		}
		if a, b := frames(1), frames(2); slices.EqualFunc(a, b, bytes.Equal) {
			t.Errorf("%s: the same frames from another seed", k.name)
		}
	}
}

func TestHostileIsBounded(t *testing.T) {
	target := netip.MustParseAddrPort("10.1.0.2:80")
	for _, h := range []Hostile{
		{Target: target}, {Target: target, Rate: 1}, {Target: target, Time: 1}, {Target: target, Rate: maxHostileRate + 1, Time: 1},
		{Target: target, Rate: 1, Time: maxHostileTime + 1}, {Target: netip.MustParseAddrPort("[fd00::1]:80"), Rate: 1, Time: 1},
	} {
		if _, err := h.Run(t.Context()); err == nil {
			t.Errorf("%+v was begun", h)
		}
	}
}
