//go:build linux

package live

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/lab"
)

// read runs culprit on a file, and returns what it says.
func read(t *testing.T, n *lab.Namespace, file string, args ...string) result {
	t.Helper()
	cmd, stdout, stderr := command(t, append([]string{"-r", file}, args...)...)
	p := &tracer{must(n.Start(cmd))(t), stdout, stderr}
	return p.result(t)
}

// difference returns what only one of two runs has found of the same traffic.
func difference(a, b []exchange) (onlyA, onlyB []string) {
	count := map[string]int{}
	for i, all := range [][]exchange{a, b} {
		for _, x := range all {
			x.HTTP.Response.Headers, x.Culprit.Packets.Tap = nil, ""
			count[fmt.Sprintf("%+v", x)] += 1 - 2*i
		}
	}
	for x, n := range count {
		if n > 0 {
			onlyA = append(onlyA, x)
		} else if n < 0 {
			onlyB = append(onlyB, x)
		}
	}
	return onlyA, onlyB
}

// The kernel, with a capture filter, lets through what the same filter finds in a recording of all packets.
func TestFilterIsThatOfFiles(t *testing.T) {
	for _, c := range []struct {
		name    string
		tags    []lab.Tag
		filters []string
	}{
		{"plain", nil, []string{
			"", "tcp port 80", "host " + client4 + " and port 80", "ip6", "not ip6", "ip and not icmp and not arp", "dst port 80", "tcp[tcpflags] & tcp-syn == 0",
			"greater 400", "port 79 or portrange 80-81", "net 10.1.0.0/24 and tcp", "not vlan and tcp",
		}},
		{"one tag", []lab.Tag{{Type: lab.TagVLAN, ID: 5}}, []string{
			"", "vlan", "vlan 5 and tcp port 80", "vlan and ip and src host " + server4, "not vlan", "port 80 or (vlan and port 80)", "vlan 5 and ip proto 6",
			"vlan and tcp[13] & 2 == 0",
		}},
		{"two tags", []lab.Tag{{Type: lab.TagService, ID: 100}, {Type: lab.TagVLAN, ID: 7}}, []string{
			"", "vlan", "vlan 100 and vlan 7", "vlan 100 and vlan 7 and tcp port 80", "vlan and vlan and host " + client4, "vlan 7",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, "nginx")
			var client, server, at *lab.Namespace
			device := "m"
			if c.tags != nil {
				client, server, at, _ = wire(t, l, c.tags)
			} else {
				a, b, _ := pair(t, l)
				client, server, at, device = a.Namespace, b.Namespace, b.Namespace, "s0"
			}
			// What everyone has to have seen begins with the first request and ends with the last connection; nothing
			// else is on the wire that a filter lets through.
			var running []*tracer
			for _, f := range c.filters {
				running = append(running, start(t, at, append([]string{"-i", device, "--ring", "32MiB", "--block", "256KiB"}, strings.Fields(f)...)...))
			}
			recording := must(at.Record(device))(t)
			drive(t, client, server4+":80", 3, 39, mixed)
			if c.tags == nil {
				drive(t, client, "["+server6+"]:80", 2, 26, mixed)
			}
			check(t, lab.Settle(client, server))
			pcap, _, err := recording.Stop()
			if err != nil && !rootOutside() {
				t.Skip(err) // a large socket buffer is for root
			}
			check(t, err)
			file := filepath.Join(t.TempDir(), "all.pcap")
			check(t, os.WriteFile(file, pcap, 0o600))
			for i, f := range c.filters {
				live := running[i].stop(t)
				recorded := read(t, at, file, strings.Fields(f)...)
				if only, missing := difference(live.exchanges, recorded.exchanges); len(only)+len(missing) > 0 {
					t.Errorf("%q: %d exchanges in the file, of which %d aren't live, and %d are live only, such as %s", f, len(recorded.exchanges), len(missing), len(only), append(missing, only...)[0])
				}
				if live.packets.analysed != recorded.packets.analysed || live.bytes.analysed != recorded.bytes.analysed || live.packets.dropped > 0 {
					t.Errorf("%q: %d packets of %d bytes analysed, %d of %d in the file; standard error live:\n%s", f,
						live.packets.analysed, live.bytes.analysed, recorded.packets.analysed, recorded.bytes.analysed, live.stderr+"\nof the file:\n"+recorded.stderr)
				}
			}
		})
	}
}

// What is recorded of a live capture is what was captured.
func TestRecordingIsWhatWasCaptured(t *testing.T) {
	for _, c := range []struct {
		name string
		tags []lab.Tag
		args []string
	}{
		{"all", nil, []string{"-i", "s0"}},
		{"filter", nil, []string{"-i", "s0", "port", "80"}},
		{"snap length", nil, []string{"-i", "s0", "--snaplen", "300"}},
		{"any", nil, []string{"-i", "any"}},
		{"two interfaces", nil, []string{"-i", "s0", "-i", "lo"}},
		{"one tag", []lab.Tag{{Type: lab.TagVLAN, ID: 5}}, []string{"-i", "m"}},
		{"two tags", []lab.Tag{{Type: lab.TagService, ID: 100}, {Type: lab.TagVLAN, ID: 7}}, []string{"-i", "n"}},
		{"two tags, any", []lab.Tag{{Type: lab.TagService, ID: 100}, {Type: lab.TagVLAN, ID: 7}}, []string{"-i", "any", "vlan"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, "nginx")
			var client, at *lab.Namespace
			if c.tags != nil {
				client, _, at, _ = wire(t, l, c.tags)
			} else {
				a, b, _ := pair(t, l)
				client, at = a.Namespace, b.Namespace
			}
			file := filepath.Join(t.TempDir(), "live.pcapng")
			p := start(t, at, append([]string{"-o", "pcapng=" + file}, c.args...)...)
			drive(t, client, server4+":80", 3, 39, mixed)
			live := p.stop(t)
			if live.packets.dropped > 0 || len(live.exchanges) < 39 {
				t.Errorf("%d exchanges; standard error:\n%s", len(live.exchanges), live.stderr)
			}
			recorded := read(t, at, file)
			if only, missing := difference(live.exchanges, recorded.exchanges); len(only)+len(missing) > 0 {
				t.Errorf("of %d exchanges, %d aren't in the recording, and %d are only there, such as %s",
					len(live.exchanges), len(only), len(missing), append(only, missing...)[0])
			}
			if live.packets.received != recorded.packets.received || live.bytes.received != recorded.bytes.received {
				t.Errorf("captured:\n%s\nrecorded:\n%s", live.stderr, recorded.stderr)
			}
		})
	}
}
