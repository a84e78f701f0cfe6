package pcapfilter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/capture"
)

// attach gives a program to the kernel.
func attach(fd int, code []bpf.RawInstruction) error {
	filter := make([]unix.SockFilter, len(code))
	for i, c := range code {
		filter[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// TestKernelTakesAll: the kernel checks the programs of any socket alike.
func TestKernelTakesAll(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	taken := 0
	for _, expr := range append(lines(t, "expressions.txt"), randomExpressions(300)...) {
		for _, link := range []capture.LinkType{1, 101, 276} {
			for _, live := range []bool{false, true} {
				code, err := compileWith(link, expr, Options{Live: live})
				if err != nil {
					continue
				}
				if err := attach(fd, code); err != nil {
					t.Errorf("link %d, live %v: %q: %v", link, live, expr, err)
				}
				taken++
			}
		}
	}
	if attach(fd, []bpf.RawInstruction{{Op: ldW, K: ancillaryOffset + 2}, {Op: retA}}) == nil {
		t.Error("the kernel takes anything")
	}
	t.Logf("%d programs", taken)
}

const (
	// inNamespace is set in the environment of a test's second life, within a network of its own.
	inNamespace = "CULPRIT_TEST_NAMESPACE"
	// ordinary is the user there. The capabilities let it make interfaces and capture.
	ordinary               = 1000
	capNetAdmin, capNetRaw = 12, 13 // linux/capability.h
	// patience is after how long a packet is given up, in milliseconds.
	patience = 30000
)

// alone reports whether the test runs in a network of its own, with two interfaces that are joined: near and far.
// If it doesn't, it runs there now.
func alone(t *testing.T) bool {
	ip, err := exec.LookPath("ip")
	if err != nil {
		if ip, err = exec.LookPath("/usr/sbin/ip"); err != nil {
			t.Skip("ip (iproute2) isn't installed: no interfaces to try live filters on")
		}
	}
	if os.Getenv(inNamespace) != "" {
		for _, args := range []string{"link add near type veth peer name far", "link set near addrgenmode none up", "link set far addrgenmode none up"} {
			if out, err := exec.Command(ip, strings.Fields(args)...).CombinedOutput(); err != nil {
				t.Skipf("ip %s: %v: %s: no interfaces to try live filters on", args, err, out)
			}
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: ordinary, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: ordinary, HostID: os.Getgid(), Size: 1}},
		AmbientCaps: []uintptr{capNetAdmin, capNetRaw},
		Pdeathsig:   syscall.SIGKILL,
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// Pdeathsig goes by the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		t.Skipf("no user and network namespaces here to try live filters in: %v", err)
	}
	err = cmd.Wait()
	t.Logf("in the namespace:\n%s", out.Bytes())
	switch {
	case err != nil:
		t.Fail()
	case bytes.Contains(out.Bytes(), []byte("--- SKIP")):
		t.SkipNow()
	case !bytes.Contains(out.Bytes(), []byte("--- PASS: "+t.Name())):
		t.Error("the test hasn't run in the namespace")
	}
	return false
}

// TestLiveSameAsTcpdump compares the verdicts with those of the programs that libpcap makes for an interface.
//
// One thing differs on purpose. With tcpdump, "vlan" moves what follows only when it is evaluated, so what
// follows an "or" or an "and" that spared it is looked for where it is without a tag. That contradicts its manual
// and its own programs for files, with which ours agree then.
func TestLiveSameAsTcpdump(t *testing.T) {
	if !alone(t) {
		return
	}
	d := newTcpdump(t)
	d.live = "near"
	var pairs []*pair
	for i, expr := range append(lines(t, "expressions.txt"), randomExpressions(250)...) {
		// What has nothing of live packets in it makes the program of files, which is compared elsewhere.
		if i%8 == 0 || strings.Contains(expr, "vlan") || strings.Contains(expr, "bound") || strings.Contains(expr, "ifindex") {
			pairs = append(pairs, &pair{link: 1, expr: expr})
		}
	}
	for _, expr := range []string{
		"tcp or vlan and udp", "(ip or vlan) and tcp", "ip and vlan or tcp", "not (ip and vlan) and tcp", "vlan 5 or vlan 7 or vlan 100",
		"tcp port 80 or (vlan and (tcp port 80 or (vlan and tcp port 80)))", "vlan and inbound", "vlan 5 and outbound and ifindex 3",
		"ether proto 0x8100 or vlan 5", "vlan and mpls 3", "vlan and vlan and mpls and tcp", "vlan and pppoes and pppoes 5", "vlan 5 and len > 60",
		"vlan and ether[12:2] = 0x8100", "vlan and ip[0] & 0xf > 5 and tcp[13] & 2 != 0", "vlan and tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420",
		"vlan and ip6[6] = 6 and ip6[40:2] = 80", "vlan and icmp6[0] = 128", "vlan and host 2001:db8::1", "vlan and net 10.1", "vlan and arp host 10.1.2.3",
		"vlan and (ether broadcast or multicast)", "vlan and port 80 and not vlan 5", "not vlan 5", "not (vlan 5 and ip)", "vlan and not tcp",
	} {
		pairs = append(pairs, &pair{link: 1, expr: expr})
	}
	d.compileAll(pairs)
	_, packets := sights(900)
	compared, passed, strange := 0, 0, []string(nil)
	for _, p := range pairs {
		ours, err := compileWith(1, p.expr, Options{Live: true})
		if (err != nil) != (p.err != nil) {
			if err == nil || !strings.Contains(err.Error(), "beyond any packet") {
				t.Errorf("%q: tcpdump says %v, we %v", p.expr, p.err, err)
			}
		}
		if err != nil || p.err != nil {
			continue
		}
		for _, s := range packets {
			want, got := s.pass(p.theirLive), s.pass(ours)
			if want != got && !s.known.Stripped && got == s.pass(p.theirs) && strings.Contains(p.expr, "vlan") {
				if !slices.Contains(strange, p.expr) {
					strange = append(strange, p.expr)
				}
			} else if want != got {
				t.Errorf("%q: tcpdump's program gives %v, ours %v, for %x %+v", p.expr, want, got, s.data, s.known)
				break
			}
			compared++
			if want {
				passed++
			}
		}
	}
	for _, expr := range strange {
		if !strings.Contains(expr, " or ") && !strings.Contains(expr, "||") && !strings.Contains(expr, "not") && !strings.Contains(expr, "!") {
			t.Errorf("%q: tcpdump's program differs from its own for files, though it can't spare \"vlan\"", expr)
		}
	}
	if passed*20 < compared {
		t.Errorf("%d of %d packets pass, too few to tell", passed, compared)
	}
	t.Logf("%d expressions, %d verdicts; for %d expressions tcpdump contradicts itself: %.300q", len(pairs), compared, len(strange), strange)
}

// listener is a packet socket.
type listener struct {
	fd   int
	code []bpf.RawInstruction
}

func listen(t *testing.T, kind int, iface *net.Interface, code []bpf.RawInstruction) *listener {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Skipf("packet socket: %v: live filters aren't tried on packets", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if code != nil {
		if err := attach(fd, code); err != nil {
			t.Fatalf("attaching a program: %v", err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		t.Fatalf("PACKET_AUXDATA: %v", err)
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in the network's order on a little-endian machine
	protocol := uint16(all)
	if binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}) == unix.ETH_P_ALL {
		protocol = unix.ETH_P_ALL
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: iface.Index}); err != nil {
		t.Fatalf("bind: %v", err)
	}
	return &listener{fd, code}
}

// got reads a packet that is waiting, and what the kernel says of it.
func (l *listener) got(t *testing.T) (seen, bool) {
	t.Helper()
	data, control := make([]byte, 2048), make([]byte, 256)
	n, m, _, from, err := unix.Recvmsg(l.fd, data, control, 0)
	if err == unix.EAGAIN {
		return seen{}, false
	}
	if err != nil {
		t.Fatal(err)
	}
	a := from.(*unix.SockaddrLinklayer)
	s := seen{data[:n], Ancillary{Protocol: a.Protocol>>8 | a.Protocol<<8, PacketType: a.Pkttype, HardwareType: a.Hatype, Interface: uint32(a.Ifindex)}}
	messages, err := unix.ParseSocketControlMessage(control[:m])
	if err != nil || len(messages) != 1 || len(messages[0].Data) < 20 {
		t.Fatalf("no auxiliary data: %v", err)
	}
	aux := messages[0].Data // struct tpacket_auxdata
	const vlanValid = 1 << 4
	if binary.NativeEndian.Uint32(aux)&vlanValid != 0 {
		s.known.Stripped, s.known.TCI, s.known.TPID = true, binary.NativeEndian.Uint16(aux[16:]), binary.NativeEndian.Uint16(aux[18:])
	}
	return s, true
}

// TestLiveOnInterface sends frames over a pair of interfaces and compares what sockets with programs get with what
// the programs give here, at both ends and for both types of socket; of tcpdump's programs, too. So the model of
// the kernel that the other tests go by is the kernel's.
func TestLiveOnInterface(t *testing.T) {
	if !alone(t) {
		return
	}
	near, err := net.InterfaceByName("near")
	if err != nil {
		t.Fatal(err)
	}
	far, err := net.InterfaceByName("far")
	if err != nil {
		t.Fatal(err)
	}
	list := []string{
		"tcp port 80", "not tcp", "ip6", "host 10.1.2.3", "not host 10.1.2.3", "len > 60", "ether proto 0x8100", "inbound and tcp", "outbound",
		fmt.Sprint("ifindex ", near.Index), "vlan", "vlan 5", "not vlan 5", "vlan and tcp", "vlan and vlan 7 and ip", "vlan and pppoes",
		"tcp or (vlan and (tcp or (vlan and tcp)))", "vlan and inbound and ip6", "vlan and ether proto 0x800", "vlan and tcp[13] & 2 != 0",
		"tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420", "ether[20] = 0x45", "ether[0:2] = 0x800", "not ether[1000] = 0",
	}
	d := newTcpdump(t)
	d.live = near.Name
	var theirs [][]bpf.RawInstruction
	for _, expr := range list {
		code, err := d.program("-i", near.Name, "--", expr)
		if err != nil {
			t.Fatal(err)
		}
		// What tcpdump makes of "vlan and pppoes" loads a slot before it is stored: no kernel takes it.
		if kernelCheck(code) == nil {
			theirs = append(theirs, code)
		}
	}
	if len(theirs) < len(list)-1 {
		t.Errorf("of %d programs of tcpdump's, %d are valid", len(list), len(theirs))
	}
	wire := listen(t, unix.SOCK_RAW, near, nil)
	// A post is an interface, a type of socket, and a socket for each program.
	type post struct {
		iface     *net.Interface
		kind      int
		control   *listener
		listeners []*listener
	}
	// The kernel gives a packet to near's sockets before far's, and to the newest first: to this one last.
	last := listen(t, unix.SOCK_RAW, far, nil)
	var posts []*post
	for _, iface := range []*net.Interface{near, far} {
		for _, kind := range []int{unix.SOCK_RAW, unix.SOCK_DGRAM} {
			p := &post{iface: iface, kind: kind, control: listen(t, kind, iface, nil)}
			link := capture.LinkType(1)
			if kind == unix.SOCK_DGRAM {
				link = 276
			}
			for _, expr := range list {
				code, err := compileWith(link, expr, Options{Live: true})
				if err != nil {
					t.Fatal(err)
				}
				p.listeners = append(p.listeners, listen(t, kind, iface, code))
			}
			for i := 0; link == 1 && i < len(theirs); i++ {
				p.listeners = append(p.listeners, listen(t, kind, iface, theirs[i]))
			}
			posts = append(posts, p)
		}
	}
	passed, compared := 0, 0
	for _, frame := range frames(400) {
		if len(frame) <= etherHeader+4*tags(frame) {
			continue // a cooked socket doesn't get what is empty
		}
		if _, err := unix.Write(wire.fd, frame); err != nil {
			t.Fatalf("%v: sending %x", err, frame)
		}
		poll := []unix.PollFd{{Fd: int32(last.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, patience); n != 1 {
			t.Fatalf("%x hasn't arrived: %v", frame, err)
		}
		last.got(t)
		for _, p := range posts {
			var want seen
			if p.iface == near {
				want = sent(frame, uint32(near.Index))
			} else {
				want = received(frame, uint32(far.Index), 0)
			}
			got, ok := p.control.got(t)
			if !ok {
				t.Fatalf("%s: %x isn't there", p.iface.Name, frame)
			}
			want.known.PacketType = got.known.PacketType // by the address
			if want.known.Protocol < 0x600 {
				want.known.Protocol = 4 // ETH_P_802_2: what looks like a type is a length
			}
			if p.kind == unix.SOCK_DGRAM {
				want = cooked(want)
			}
			if !bytes.Equal(got.data, want.data) {
				t.Fatalf("%s: %x comes as %x, not %x", p.iface.Name, frame, got.data, want.data)
			}
			// Newer kernels tell of a cooked socket's tags what programs aren't told.
			if p.kind == unix.SOCK_RAW && (got.known.Stripped != want.known.Stripped || got.known.TCI != want.known.TCI || got.known.TPID != want.known.TPID) {
				t.Fatalf("%s: of %x the kernel says %+v, not %+v", p.iface.Name, frame, got.known, want.known)
			}
			for _, l := range p.listeners {
				_, got := l.got(t)
				if pass := want.pass(l.code); got != pass {
					t.Fatalf("%s, socket type %d: the kernel passes %x: %v, the model %v: %v", p.iface.Name, p.kind, frame, got, pass, l.code)
				}
				compared++
				if got {
					passed++
				}
			}
		}
	}
	if passed*20 < compared {
		t.Errorf("%d of %d packets pass, too few to tell", passed, compared)
	}
	t.Logf("%d verdicts of the kernel, %d packets passed", compared, passed)
}
