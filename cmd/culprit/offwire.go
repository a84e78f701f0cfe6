package main

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/culprit-http/culprit/internal/process"
)

// party is one or more processes of one name.
type party struct {
	name string
	pids []int
}

// String returns the name and the process ids as tables show them, unescaped: "nginx (412 +3)".
func (p *party) String() string {
	switch {
	case len(p.pids) == 0:
		return p.name
	case len(p.pids) == 1:
		return fmt.Sprintf("%s (%d)", p.name, p.pids[0])
	}
	return fmt.Sprintf("%s (%d +%d)", p.name, p.pids[0], len(p.pids)-1)
}

func (p *party) add(holders []process.Holder) {
	for _, h := range holders {
		if i, found := slices.BinarySearch(p.pids, h.PID); h.PID > 0 && !found {
			p.pids = slices.Insert(p.pids, i, h.PID)
		}
	}
}

// link is a part of a chain that no capture shows: a process talks to another over a unix socket.
type link struct {
	from, to party
	path     string
}

// housekeeping are the unix sockets that every service talks over, and no request. The patterns are those of
// path.Match.
var housekeeping = []string{
	"/dev/log", "/run/systemd/*", "/run/systemd/*/*", "/run/dbus/*", "/var/run/dbus/*", "/run/user/*/bus", "/run/user/*/systemd/*",
	"/run/udev/*", "/run/nscd/*", "/var/run/nscd/*", "/run/containerd/*", "/run/containerd/*/*", "/tmp/.X11-unix/*", "@/tmp/.X11-unix/*",
}

// offWire returns the links of processes that also listen on TCP, the ones whose traffic a capture shows: there
// the chain goes on out of sight. Connections between the same names over the same path are one link.
func offWire(sockets []process.Socket) []link {
	onWire := map[int]bool{}
	listening := map[string]bool{}
	for i := range sockets {
		s := &sockets[i]
		switch {
		case s.State != process.Listen:
		case s.Kind == process.TCP:
			for _, h := range s.Holders {
				onWire[h.PID] = true
			}
		case s.Kind.Unix():
			listening[s.Path] = true
		}
	}
	delete(onWire, 0)
	type key struct{ from, to, path string }
	links := map[key]*link{}
	for i := range sockets {
		s := &sockets[i]
		// Of the two ends, the server's has the path.
		isServer := s.Path != "" && (s.PeerPath == "" || listening[s.Path])
		if !s.Kind.Unix() || s.State != process.Established || !isServer || len(s.Holders) == 0 || len(s.PeerHolders) == 0 {
			continue
		}
		is := func(h process.Holder) bool { return onWire[h.PID] }
		if !slices.ContainsFunc(s.Holders, is) && !slices.ContainsFunc(s.PeerHolders, is) || share(s.Holders, s.PeerHolders) {
			continue
		}
		if slices.ContainsFunc(housekeeping, func(pattern string) bool { ok, _ := path.Match(pattern, s.Path); return ok }) {
			continue
		}
		k := key{s.PeerHolders[0].Name, s.Holders[0].Name, s.Path}
		l := links[k]
		if l == nil {
			l = &link{from: party{name: k.from}, to: party{name: k.to}, path: s.Path}
			links[k] = l
		}
		l.from.add(s.PeerHolders)
		l.to.add(s.Holders)
	}
	var all []link
	for _, k := range slices.SortedFunc(maps.Keys(links), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.path, b.path), cmp.Compare(a.to, b.to))
	}) {
		all = append(all, *links[k])
	}
	return all
}

// share reports whether a process is among both.
func share(a, b []process.Holder) bool {
	return slices.ContainsFunc(a, func(x process.Holder) bool {
		return slices.ContainsFunc(b, func(y process.Holder) bool { return x.PID == y.PID })
	})
}

// text says it in one line, which is safe to show.
func (l *link) text() string {
	return fmt.Sprintf("%s talks to %s over %s: not on the wire", safe(l.from.String()), safe(l.to.String()), safe(l.path))
}
