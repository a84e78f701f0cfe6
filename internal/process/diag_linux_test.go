package process

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func openDiag(t testing.TB) *Diag {
	t.Helper()
	d, err := OpenDiag(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func addrPort(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }

func TestFindTCP(t *testing.T) {
	d := openDiag(t)
	for _, c := range []struct{ name, network, listen, dial string }{
		{"IPv4", "tcp4", "127.0.0.1:0", "127.0.0.1"},
		{"IPv6", "tcp6", "[::1]:0", "::1"},
		{"IPv4 at an IPv6 socket", "tcp", "[::]:0", "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen(c.network, c.listen)
			if err != nil {
				t.Skip("no such addresses here: ", err)
			}
			defer l.Close()
			server := netip.AddrPortFrom(netip.MustParseAddr(c.dial), addrPort(l.Addr()).Port())
			conn, err := net.Dial("tcp", server.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			client := addrPort(conn.LocalAddr())
			find := func(local, remote netip.AddrPort) Found {
				t.Helper()
				f, err := d.Find(unix.IPPROTO_TCP, local, remote, 1)
				if err != nil {
					t.Fatal(err)
				}
				return f
			}

			f := find(client, server)
			if f.State != Established || f.Inode != inode(t, conn.(*net.TCPConn)) || f.UID != uint32(os.Getuid()) || f.Cookie == 0 {
				t.Errorf("client: %+v", f)
			}
			mapped := netip.AddrPortFrom(netip.AddrFrom16(client.Addr().As16()), client.Port())
			if g := find(mapped, server); g != f {
				t.Errorf("client, mapped: %+v", g)
			}
			if f := find(server, client); f.State != Established || f.Inode != 0 {
				t.Errorf("server, not accepted: %+v", f)
			}
			accepted, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if f := find(server, client); f.State != Established || f.Inode != inode(t, accepted.(*net.TCPConn)) {
				t.Errorf("server: %+v", f)
			}
			other := netip.AddrPortFrom(client.Addr(), client.Port()^1)
			if f := find(server, other); f.State != Listen || f.Inode != inode(t, l.(*net.TCPListener)) {
				t.Errorf("a connection that isn't: %+v", f)
			}
			l.Close()
			if f := find(server, other); f.State != 0 {
				t.Errorf("no socket: %+v", f)
			}
			if f := find(server, client); f.Inode == 0 {
				t.Errorf("the connection outlives the listener: %+v", f)
			}
			accepted.Close()
			conn.Close()
			if f := find(client, server); f.Inode != 0 {
				t.Errorf("closed: %+v", f)
			}
		})
	}
	if f, err := d.Find(unix.IPPROTO_TCP, netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("[::1]:1"), 0); f.State != 0 || err != nil {
		t.Errorf("mixed families: %+v %v", f, err)
	}
}

func TestFindUDP(t *testing.T) {
	d := openDiag(t)
	l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.DialUDP("udp4", nil, l.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server, client := addrPort(l.LocalAddr()), addrPort(c.LocalAddr())
	if f, err := d.Find(unix.IPPROTO_UDP, client, server, 1); err != nil || f.State != Established || f.Inode != inode(t, c) {
		t.Errorf("client: %+v %v", f, err)
	}
	if f, err := d.Find(unix.IPPROTO_UDP, server, client, 1); err != nil || f.State != Unconnected || f.Inode != inode(t, l) {
		t.Errorf("server: %+v %v", f, err)
	}
	all, err := d.Listeners(unix.IPPROTO_UDP, server.Port())
	if err != nil || len(all) != 1 || all[0].Local != server || all[0].Inode != inode(t, l) {
		t.Errorf("listeners: %+v %v", all, err)
	}
}

func TestListeners(t *testing.T) {
	d := openDiag(t)
	for _, c := range []struct {
		network, address string
		v6only           bool
	}{{"tcp4", "127.0.0.1:0", false}, {"tcp", "[::]:0", false}, {"tcp6", "[::]:0", true}} {
		l, err := net.Listen(c.network, c.address)
		if err != nil {
			t.Skip("no such addresses here: ", err)
		}
		defer l.Close()
		at := addrPort(l.Addr())
		all, err := d.Listeners(unix.IPPROTO_TCP, at.Port())
		i := slices.IndexFunc(all, func(x Listener) bool { return x.Inode == inode(t, l.(*net.TCPListener)) })
		if err != nil || i < 0 || all[i].Local != at || all[i].V6Only != c.v6only || all[i].UID != uint32(os.Getuid()) {
			t.Errorf("%s %s: %+v %v", c.network, c.address, all, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	all, err := openDiag(t).Addresses()
	if err != nil {
		t.Fatal(err)
	}
	want, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, i := range want {
		addrs, err := i.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			n++
			p := netip.MustParsePrefix(a.String())
			if got, ok := all[p.Addr()]; !ok || got != uint32(i.Index) && !p.Addr().IsLinkLocalUnicast() {
				t.Errorf("%v of %s: %d %v", p.Addr(), i.Name, got, ok)
			}
		}
	}
	if len(all) > n {
		t.Errorf("%d addresses, there are %d: %v", len(all), n, all)
	}
}

// The sockets of OpenSockets go on answering for the namespace in which they were opened, and a namespace can be
// opened by a process's id and by path.
func TestNetworkNamespaces(t *testing.T) {
	if !inNamespace(t, 0) {
		return
	}
	if err := upLoopback(); err != nil {
		t.Fatal(err)
	}
	outside, err := net.Listen("tcp4", "127.0.0.1:7001")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	// Another namespace, with a socket in it.
	type made struct {
		ns  *os.File
		l   net.Listener
		err error
	}
	c := make(chan made)
	var open func()
	open = func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // whose namespace counts as that of the process
			go open()
			select {}
		}
		var m made
		defer func() { c <- m }()
		if m.err = unix.Unshare(unix.CLONE_NEWNET); m.err != nil {
			return
		}
		if m.err = upLoopback(); m.err != nil {
			return
		}
		if m.ns, m.err = OpenNetNS("/proc/thread-self/ns/net"); m.err != nil {
			return
		}
		m.l, m.err = net.Listen("tcp4", "127.0.0.1:7002")
	}
	go open()
	m := <-c
	if m.err != nil {
		t.Fatal(m.err)
	}
	defer m.l.Close()

	ports := func(ns *os.File) (all []uint16) {
		t.Helper()
		sockets, _, err := Snapshot(Options{NetNS: ns, TCP: true, Listening: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sockets {
			all = append(all, s.Local.Port())
			if len(s.Holders) != 1 || s.Holders[0].PID != os.Getpid() {
				t.Errorf("%v: %v", s.Local, s.Holders)
			}
		}
		return all
	}
	if got := ports(nil); !slices.Equal(got, []uint16{7001}) {
		t.Error("here: ", got)
	}
	if got := ports(m.ns); !slices.Equal(got, []uint16{7002}) {
		t.Error("there: ", got)
	}
	own, err := OpenNetNS("pid:self")
	if err == nil {
		t.Error("pid:self was taken: ", own.Name())
	}
	if own, err = OpenNetNS("pid:" + strconv.Itoa(os.Getpid())); err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if got := ports(own); !slices.Equal(got, []uint16{7001}) {
		t.Error("by pid: ", got)
	}

	// Enter leaves no thread behind in the namespace, and passes errors on.
	here := func() (s syscall.Stat_t) {
		if err := syscall.Stat("/proc/thread-self/ns/net", &s); err != nil {
			t.Error(err)
		}
		return s
	}
	home := here()
	for range 20 {
		if err := Enter(m.ns, func() error {
			if here().Ino == home.Ino {
				t.Error("still at home")
			}
			return os.ErrClosed
		}); err != os.ErrClosed {
			t.Fatal(err)
		}
		if here().Ino != home.Ino {
			t.Fatal("not back home")
		}
	}
}

func TestOpenNetNSErrors(t *testing.T) {
	for _, c := range []struct{ spec, says string }{
		{"pid:1x", "after pid:"},
		{"pid:-1", "after pid:"},
		{"pid:4194304999", "no process"},
		{"nobody-has-this-name", "ip netns list"},
		{"", "neither"},
		{"..", "neither"},
		{"/nowhere/at/all", "no such file"},
		{"/proc/self/ns/uts", "isn't one"},
		{"/dev/null", "isn't one"},
	} {
		if f, err := OpenNetNS(c.spec); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, %v; want %q", c.spec, f, err, c.says)
		}
	}
}

func TestNewDiagRefusesOthers(t *testing.T) {
	files, err := OpenSockets(nil)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := NewDiag([]*os.File{files[1], files[0]}); err == nil {
		t.Error("the wrong way round: ", d)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if d, err := NewDiag([]*os.File{r, w}); err == nil {
		t.Error("pipes: ", d)
	}
	if _, err := NewDiag(nil); err == nil {
		t.Error("nothing")
	}
}

func TestDiagClosed(t *testing.T) {
	d := openDiag(t)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	a := netip.MustParseAddrPort("127.0.0.1:1")
	if _, err := d.Find(unix.IPPROTO_TCP, a, a, 0); err == nil {
		t.Error("a closed one answers")
	}
	if _, err := d.Addresses(); err == nil {
		t.Error("a closed one answers")
	}
}

func BenchmarkFind(b *testing.B) {
	d := openDiag(b)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	local, remote := addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
	b.ReportAllocs()
	for b.Loop() {
		if f, err := d.Find(unix.IPPROTO_TCP, local, remote, 1); err != nil || f.Inode == 0 {
			b.Fatal(f, err)
		}
	}
}

func BenchmarkListeners(b *testing.B) {
	d := openDiag(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Listeners(unix.IPPROTO_TCP, 8080); err != nil {
			b.Fatal(err)
		}
	}
}
