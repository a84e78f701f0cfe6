package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/process"
	"github.com/culprit-http/culprit/internal/redact"
)

// hostile is a name that steers terminals, passes for other text, and isn't UTF-8.
const hostile = "ev\x1b[2Jil\u202egnp\n tcp \xff\\x1b"

func holder(pid int, name string, args ...string) process.Holder {
	return process.Holder{Process: &exchange.Process{PID: pid, Name: name, Args: args, Executable: "/usr/sbin/" + name, User: "www-data"}, FD: 6}
}

// chain is a host with a proxy, an application server behind a unix socket, and odd company.
func chain() []process.Socket {
	end := netip.MustParseAddrPort
	nginx := []process.Holder{holder(412, "nginx", "nginx: master process"), holder(413, "nginx"), holder(414, "nginx")}
	nginx[0].Unit = "nginx.service"
	puma := []process.Holder{holder(97, "puma", "puma", "--control-token=hunter2")}
	puma[0].ContainerID = "c0ffee0123456789abcdef"
	odd := []process.Holder{holder(666, hostile, hostile)}
	return []process.Socket{
		{Kind: process.TCP, State: process.Listen, Local: end("0.0.0.0:8000"), RecvQueue: 129, SendQueue: 128, Inode: 1, User: "root", Holders: nginx},
		{Kind: process.TCP, State: process.Listen, Local: end("[::]:22"), SendQueue: 128, Inode: 2, User: "root"},
		{Kind: process.TCP, State: process.Established, Local: end("[::ffff:10.0.0.2]:8000"), Remote: end("[::ffff:10.0.0.7]:51022"), Inode: 3, User: "www-data", Holders: nginx[1:2]},
		{Kind: process.TCP, State: process.CloseWait, Local: end("[2001:db8:1:2:3:4:5:6]:51022"), Remote: end("[2001:db8:1:2:3:4:5:7]:8000"), RecvQueue: 17, Inode: 4, User: hostile, Holders: odd},
		{Kind: process.TCP, State: process.TimeWait, Local: end("10.0.0.2:8000"), Remote: end("10.0.0.7:51000")},
		{Kind: process.TCP, State: process.FinWait2, Local: end("10.0.0.2:8000"), Remote: end("10.0.0.7:51001")},
		{Kind: process.UDP, State: process.Unconnected, Local: end("127.0.0.53:53"), Inode: 5, UID: 101, User: "systemd-resolve", Holders: []process.Holder{holder(50, "systemd-resolve")}},
		{Kind: process.UDP, State: process.Unconnected, Local: end("0.0.0.0:0"), Inode: 6, User: "root", Holders: nginx[:1]},
		{Kind: process.UnixStream, State: process.Listen, Path: "/run/puma.sock", SendQueue: 1024, Inode: 7, User: "app", Holders: puma},
		{Kind: process.UnixStream, State: process.Established, Path: "/run/puma.sock", Peer: 9, PeerHolders: nginx[2:], Inode: 8, User: "app", Holders: puma},
		{Kind: process.UnixStream, State: process.Established, Peer: 8, PeerPath: "/run/puma.sock", PeerHolders: puma, Inode: 9, User: "www-data", Holders: nginx[2:]},
		{Kind: process.UnixStream, State: process.Established, Path: "@\x00" + hostile, Peer: 11, PeerHolders: odd, Inode: 10, Holders: nginx[:1]},
		{Kind: process.UnixStream, State: process.Established, Path: "/run/systemd/journal/stdout", Peer: 13, PeerHolders: nginx, Inode: 12, Holders: []process.Holder{holder(20, "systemd-journal")}},
		{Kind: process.UnixStream, State: process.Established, Peer: 15, PeerHolders: puma, Inode: 14, User: "app", Holders: puma},
		{Kind: process.UnixDatagram, State: process.Unconnected, Path: "/dev/log", Inode: 16, User: "root", Holders: []process.Holder{holder(20, "systemd-journal")}},
	}
}

// everything is what no option leaves out.
func everything() *config.Sockets {
	return &config.Sockets{Listening: true, Established: true, TCP: true, UDP: true, Unix: true}
}

func TestSocketTable(t *testing.T) {
	shown, _ := selectSockets(chain(), everything())
	links := offWire(chain())
	for _, width := range []int{0, 60, 80, 100, 140} {
		var b strings.Builder
		b.Write(socketTable(shown, width == 0, nil).append(nil, width))
		for i := range links {
			fmt.Fprintf(&b, "%s\n", links[i].text())
		}
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			if n := terminal.Width([]byte(line)); width > 0 && n > width && !strings.Contains(line, "on the wire") {
				t.Errorf("%d columns of %d: %s", n, width, line)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || steers(r) }) {
				t.Errorf("steers the terminal: %q", line)
			}
			if fields := strings.Split(line, " "); width == 0 && !strings.Contains(line, "on the wire") && len(fields) != len(socketColumns)+1 {
				t.Errorf("%d fields: %s", len(fields), line)
			}
		}
		goldenFile(t, fmt.Sprintf("sockets-%d.golden", width), b.String())
	}
}

// More columns stand before the process, as live traffic will.
func TestSocketTableWithMore(t *testing.T) {
	shown, _ := selectSockets(chain(), &config.Sockets{Listening: true, TCP: true})
	more := []socketColumn{{column{head: "requests/s", right: true}, func(s *process.Socket, _ bool) string {
		if s.Local.Port() == 8000 {
			return "1,250"
		}
		return ""
	}}}
	want := `
kind  state   local         requests/s  process
tcp   listen  0.0.0.0:8000       1,250  nginx (412 +2)
tcp   listen  [::]:22                   ? (root)
`
	if got := "\n" + string(socketTable(shown, false, more).append(nil, 60)); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
}

func TestSocketDocument(t *testing.T) {
	shown, _ := selectSockets(chain(), everything())
	doc, err := appendDocument(nil, shown, offWire(chain()), []string{"1 of 2 " + hostile}, redact.New([]byte("key of the tests")))
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(doc) {
		t.Errorf("no JSON: %s", doc)
	}
	if n := strings.Count(string(doc), "\n"); n != len(shown)+3+2+1 {
		t.Errorf("%d lines", n)
	}
	if strings.Contains(string(doc), "hunter2") || strings.ContainsFunc(string(doc), func(r rune) bool { return r < ' ' && r != '\n' || steers(r) }) {
		t.Errorf("a secret, or what steers a terminal: %q", doc)
	}
	goldenFile(t, "sockets.json", string(doc))
	if open, _ := appendDocument(nil, shown, nil, nil, nil); !strings.Contains(string(open), "hunter2") || !json.Valid(open) {
		t.Error("--reveal doesn't")
	}
	if empty, err := appendDocument(nil, nil, nil, nil, nil); err != nil || !json.Valid(empty) {
		t.Errorf("of nothing comes %s, %v", empty, err)
	}
}

func TestSelectSockets(t *testing.T) {
	for _, c := range []struct {
		options string
		want    string // inodes
		unknown bool
	}{
		{"", "1 2 3 4 0 5", true},
		{"-l", "1 2 5", true},
		{"--established", "3 4 0", false},
		{"--tcp -l", "1 2", true},
		{"--udp", "5", false},
		{"--unix", "7 8 9 10 12 14 16", false},
		{"--unix -l", "7 16", false},
		{"--process nginx", "1 3", true},
		{"--process nginx --unix", "9 10", false},
		{"--pid 413", "1 3", true},
		{"--pid 413 --process puma", "", true},
		{"--process systemd-resolved", "", true},
		{"--process /usr/sbin/nginx", "", true},
	} {
		var o config.Sockets
		cmd := newSockets()
		cmd.SetArgs(strings.Fields(c.options))
		if err := cmd.ParseFlags(strings.Fields(c.options)); err != nil {
			t.Fatal(err)
		}
		flag := func(name string) bool { v, _ := cmd.Flags().GetBool(name); return v }
		o.Listening, o.Established, o.TCP, o.UDP, o.Unix = flag("listening"), flag("established"), flag("tcp"), flag("udp"), flag("unix")
		o.Process, _ = cmd.Flags().GetString("process")
		o.PID, _ = cmd.Flags().GetInt("pid")
		if err := o.Validate(); err != nil {
			t.Fatal(err)
		}
		shown, unknown := selectSockets(chain(), &o)
		var got []string
		for _, s := range shown {
			got = append(got, fmt.Sprint(s.Inode))
		}
		if strings.Join(got, " ") != c.want || unknown != c.unknown {
			t.Errorf("%s: %s, unknown %v; want %s, %v", c.options, got, unknown, c.want, c.unknown)
		}
	}
	// The name of the program, and the one by which it was called, count too.
	h := holder(1, "systemd-resolve", "/lib/x/called-so", "-v")
	h.Executable = "/lib/systemd/systemd-resolved"
	for name, want := range map[string]bool{"systemd-resolve": true, "systemd-resolved": true, "called-so": true, "-v": false, "systemd": false, ".": false} {
		if ofProcess(h, &config.Sockets{Process: name}) != want {
			t.Errorf("%s: want %v", name, want)
		}
	}
	if ofProcess(process.Holder{Process: &exchange.Process{Args: []string{""}}}, &config.Sockets{Process: "."}) {
		t.Error("a process without names is called .")
	}
}

func TestOffWire(t *testing.T) {
	tcp := func(hs ...process.Holder) process.Socket {
		return process.Socket{Kind: process.TCP, State: process.Listen, Inode: 1, Holders: hs}
	}
	unix := func(path string, server, client process.Holder) []process.Socket {
		return []process.Socket{
			{Kind: process.UnixStream, State: process.Established, Path: path, Peer: 3, PeerHolders: []process.Holder{client}, Inode: 2, Holders: []process.Holder{server}},
			{Kind: process.UnixStream, State: process.Established, Peer: 2, PeerPath: path, PeerHolders: []process.Holder{server}, Inode: 3, Holders: []process.Holder{client}},
		}
	}
	web, worker, app, app2, other := holder(1, "web"), holder(2, "web"), holder(3, "app"), holder(4, "app"), holder(5, "other")
	join := func(parts ...[]process.Socket) (all []process.Socket) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	one := func(s process.Socket) []process.Socket { return []process.Socket{s} }
	named := unix("/run/a.sock", app, web)
	named[0].PeerPath, named[1].Path = "/tmp/client", "/tmp/client"
	for name, c := range map[string]struct {
		sockets []process.Socket
		want    string
	}{
		"none":               {nil, ""},
		"to an app":          {join(one(tcp(web)), unix("/run/a.sock", app, web)), "web (1) talks to app (3) over /run/a.sock"},
		"from a frontend":    {join(one(tcp(app)), unix("/run/a.sock", app, web)), "web (1) talks to app (3) over /run/a.sock"},
		"several of them":    {join(one(tcp(web, worker)), unix("/run/a.sock", app2, worker), unix("/run/a.sock", app, web), unix("/run/a.sock", app, web)), "web (1 +1) talks to app (3 +1) over /run/a.sock"},
		"two apps":           {join(one(tcp(web)), unix("/run/b.sock", other, web), unix("/run/a.sock", app, web)), "web (1) talks to app (3) over /run/a.sock; web (1) talks to other (5) over /run/b.sock"},
		"nobody is on TCP":   {unix("/run/a.sock", app, web), ""},
		"others":             {join(one(tcp(web)), unix("/run/a.sock", app, other)), ""},
		"itself":             {join(one(tcp(web)), unix("/run/a.sock", web, web)), ""},
		"its worker":         {join(one(tcp(web)), unix("/run/a.sock", worker, web)), "web (1) talks to web (2) over /run/a.sock"},
		"housekeeping":       {join(one(tcp(web)), unix("/run/systemd/journal/stdout", app, web), unix("/run/dbus/system_bus_socket", app, web), unix("/run/user/1000/bus", app, web)), ""},
		"a client with name": {join(one(tcp(web)), one(process.Socket{Kind: process.UnixStream, State: process.Listen, Path: "/run/a.sock"}), named), "web (1) talks to app (3) over /run/a.sock"},
		"unseen peers":       {join(one(tcp(web)), one(process.Socket{Kind: process.UnixStream, State: process.Established, Path: "/run/a.sock", Peer: 3, Holders: []process.Holder{web}})), ""},
		"unknown processes":  {join(one(tcp(holder(0, "web"))), unix("/run/a.sock", app, holder(0, "web"))), ""},
	} {
		var got []string
		for _, l := range offWire(c.sockets) {
			got = append(got, strings.TrimSuffix(l.text(), ": not on the wire"))
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s: %q, want %q", name, s, c.want)
		}
	}
	links := offWire(chain())
	for who, want := range map[config.Sockets]int{{}: 2, {Process: "puma"}: 1, {PID: 414}: 1, {PID: 412}: 1, {Process: "sshd"}: 0} {
		n := 0
		for i := range links {
			if links[i].wanted(chain(), &who) {
				n++
			}
		}
		if n != want {
			t.Errorf("%+v: %d links, want %d", who, n, want)
		}
	}
}

// goldenFile compares with testdata/name, which -update rewrites.
func goldenFile(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run the test with -update to write it)", err)
	}
	if string(want) != got {
		t.Errorf("%s differs (run the test with -update, and review the change):\ngot\n%s\nwant\n%s", path, got, want)
	}
}
