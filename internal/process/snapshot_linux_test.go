package process

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSnapshot(t *testing.T) {
	l, ino, f := listener(t)
	child := start(t, "hold", f)
	at := addrPort(l.Addr())
	var clients []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	if _, err := clients[2].Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	path := filepath.Join(t.TempDir(), "s")
	ul, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ul.Close()
	uc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer uc.Close()
	ua, err := ul.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer ua.Close()
	abstract, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "@culprit\ttest " + filepath.Base(path)})
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()

	all, notes, err := Snapshot(Options{})
	if err != nil {
		t.Fatal(err)
	}
	get := func(inode uint64) Socket {
		t.Helper()
		i := slices.IndexFunc(all, func(s Socket) bool { return s.Inode == inode })
		if i < 0 {
			t.Fatal("not in the snapshot")
		}
		return all[i]
	}
	held := func(by []Holder, pids ...int) bool {
		slices.Sort(pids)
		var got []int
		for _, h := range by {
			got = append(got, h.PID)
		}
		return slices.Equal(got, pids)
	}
	me := os.Getpid()

	s := get(ino)
	if s.Kind != TCP || s.State != Listen || s.Local != at || s.Remote.Port() != 0 || s.RecvQueue != 3 || s.SendQueue == 0 || s.User == "" || !held(s.Holders, me, child.Process.Pid) {
		t.Errorf("listener: %+v", s)
	}
	for _, h := range s.Holders {
		if h.PID == child.Process.Pid && (h.FD != 3 || h.Name == "" || h.Executable == "" || len(h.Args) == 0) {
			t.Errorf("child: %+v %+v", h, h.Process)
		}
	}
	s = get(inode(t, clients[0].(*net.TCPConn)))
	if s.State != Established || s.Remote != at || s.Local != addrPort(clients[0].LocalAddr()) || !held(s.Holders, me) {
		t.Errorf("client: %+v", s)
	}
	if i := slices.IndexFunc(all, func(s Socket) bool { return s.Local == at && s.Remote == addrPort(clients[2].LocalAddr()) }); i < 0 ||
		all[i].RecvQueue != 5 || all[i].Inode != 0 || all[i].Holders != nil {
		t.Errorf("not accepted: %d", i)
	}
	s = get(inode(t, u))
	if s.Kind != UDP || s.State != Unconnected || s.Local != addrPort(u.LocalAddr()) || !held(s.Holders, me) {
		t.Errorf("UDP: %+v", s)
	}
	s = get(inode(t, ul.(*net.UnixListener)))
	if s.Kind != UnixStream || s.State != Listen || s.Path != path || s.Peer != 0 || !held(s.Holders, me) {
		t.Errorf("unix listener: %+v", s)
	}
	s = get(inode(t, uc.(*net.UnixConn)))
	if s.State != Established || s.Path != "" || s.Peer != inode(t, ua.(*net.UnixConn)) || s.PeerPath != path || !held(s.PeerHolders, me) {
		t.Errorf("unix client: %+v", s)
	}
	s = get(inode(t, abstract))
	if s.Kind != UnixDatagram || s.Path != "@culprit\ttest "+filepath.Base(path) || s.State != Unconnected {
		t.Errorf("abstract: %+v", s)
	}
	if !slices.IsSortedFunc(all, order) || notes.Cut != 0 || notes.Blind.Seen == 0 || notes.Incomplete != nil {
		t.Errorf("%+v", notes)
	}
}

func TestSnapshotOptions(t *testing.T) {
	l, ino, f := listener(t)
	f.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client := inode(t, c.(*net.TCPConn))
	for _, x := range []struct {
		name             string
		o                Options
		listener, client bool
	}{
		{"all", Options{}, true, true},
		{"TCP", Options{TCP: true}, true, true},
		{"listening", Options{Listening: true}, true, false},
		{"established", Options{Established: true}, false, true},
		{"UDP", Options{UDP: true}, false, false},
		{"unix", Options{Unix: true}, false, false},
	} {
		all, _, err := Snapshot(x.o)
		if err != nil {
			t.Fatal(err)
		}
		has := func(inode uint64) bool {
			return slices.ContainsFunc(all, func(s Socket) bool { return s.Inode == inode })
		}
		if has(ino) != x.listener || has(client) != x.client {
			t.Errorf("%s: listener %v, client %v", x.name, has(ino), has(client))
		}
		for _, s := range all {
			if s.State == TimeWait {
				t.Errorf("%s: %+v", x.name, s)
			}
		}
	}
	all, notes, err := Snapshot(Options{TCP: true, Max: 1})
	if err != nil || len(all) != 1 || notes.Cut < 1 {
		t.Errorf("%d sockets, %+v, %v", len(all), notes, err)
	}
	if _, _, err := Snapshot(Options{Proc: "/nowhere"}); err == nil {
		t.Error("no error without procfs")
	}
}

func TestParseAddressPrefersOwn(t *testing.T) {
	// A point-to-point link: ours is 10.0.0.1, the other side's 10.0.0.2.
	b := []byte{unix.AF_INET, 32, 0, 0, 5, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 2, 8, 0, 2, 0, 10, 0, 0, 1}
	if a, iface, ok := parseAddress(b); !ok || a != netip.MustParseAddr("10.0.0.1") || iface != 5 {
		t.Error(a, iface, ok)
	}
}
