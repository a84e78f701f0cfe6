package process

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzNetlink: whatever bytes a netlink socket delivers, messages are taken off until none is left or it is an error,
// nothing outside of them is read, and what comes of them is within its bounds.
func FuzzNetlink(f *testing.F) {
	inet := make([]byte, nlmsgHeader+inetRequestSize+40)
	inetRequest(inet, familyInet6, 6, 1, 80, 81, netip.IPv6Loopback(), netip.IPv6Loopback(), 2)
	inet[0] = byte(len(inet))
	f.Add(inet)
	f.Add([]byte{28, 0, 0, 0, 20, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, familyUnix, 1, 10, 0, 9, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{20, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 254, 255, 255, 255})
	f.Add([]byte{4, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for n := 0; len(b) > 0; n++ {
			m, rest, err := nextMessage(b)
			if err != nil {
				break
			}
			if len(m.payload)+nlmsgHeader > len(b) || len(rest) > len(b)-nlmsgHeader {
				t.Fatalf("%d bytes: payload %d, rest %d", len(b), len(m.payload), len(rest))
			}
			m.errno()
			if s, ok := parseInet(m.payload); ok && (!s.local.IsValid() || !s.remote.IsValid()) {
				t.Errorf("%+v", s)
			}
			if s, ok := parseUnix(m.payload); ok && (len(s.path) > maxUnixName || !s.kind.Unix()) {
				t.Errorf("%+v", s)
			}
			if a, _, ok := parseAddress(m.payload); ok && !a.IsValid() {
				t.Error(a)
			}
			b = rest
		}
	})
}

// FuzzProc: whatever the files of a process hold, they are read within bounds: no argument is longer than the
// command line, and what is recognised as an id consists of what ids do.
func FuzzProc(f *testing.F) {
	f.Add([]byte("12 (a) b) S 1 2 3 4"))
	f.Add([]byte("nginx\x00-g\x00daemon off;\x00\x00"))
	f.Add([]byte("0::/kubepods.slice/kubepods-burstable-podb7e0bf9a_6e1e_4b4e_9d0f_0c9a3f1d2e3f.slice/cri-containerd-" +
		strings.Repeat("0123456789abcdef", 4) + ".scope\n"))
	f.Add([]byte("CapEff:\t000001ffffffffff\n"))
	f.Add([]byte("root:x:0:0:root:/root:/bin/sh\n"))
	f.Add([]byte("socket:[123]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if pid, ok := parseParent(b); ok && pid < 0 {
			t.Error(pid)
		}
		args, size := parseArgs(b), 0
		for _, a := range args {
			size += len(a)
		}
		if len(args) > maxArgs || size > maxCommandLine || len(args) > 0 && !strings.HasPrefix(string(b), args[0]) {
			t.Errorf("%q", args)
		}
		g := ParseGroup(string(b))
		if len(g.Container) > maxGroupName || len(g.Unit) > maxGroupName || strings.ContainsAny(g.Unit, "/\n") {
			t.Errorf("%+v", g)
		}
		if g.Pod != "" && !isHex(strings.ReplaceAll(g.Pod, "-", "")) {
			t.Errorf("%+v", g)
		}
		parseCapabilities(b)
		for _, name := range readUsers(strings.NewReader(string(b))) {
			if name == "" || len(name) > maxName {
				t.Errorf("%q", name)
			}
		}
		if n := parseSocketLink(b); n > 0 && !strings.HasPrefix(string(b), "socket:[") {
			t.Error(n)
		}
	})
}
