//go:build linux

package live

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/culprit-http/culprit/internal/lab"
)

// One host talks to another, and culprit watches at either.
func TestSeesEveryExchange(t *testing.T) {
	const (
		unchanged = iota
		offloadOn
		offloadOff
	)
	for _, c := range []struct {
		name        string
		atClient    bool
		fromServer  bool // the requests: over lo
		address     string
		args        []string
		offload     int
		connections int
		requests    int
		request     func(int) lab.Request
	}{
		{"server", false, false, server4, []string{"-i", "s0"}, unchanged, 4, 130, mixed},
		{"the ring of the defaults", false, false, server4, []string{"-i", "s0", "--ring", "16MiB"}, unchanged, 4, 26, mixed},
		{"client", true, false, server4, []string{"-i", "c0"}, unchanged, 4, 130, mixed},
		{"IPv6", false, false, server6, []string{"-i", "s0"}, unchanged, 4, 130, mixed},
		{"one connection", false, false, server4, []string{"-i", "s0"}, unchanged, 1, 130, mixed},
		{"many connections", false, false, server4, []string{"-i", "s0"}, unchanged, 100, 300, mixed},
		{"filter", false, false, server4, []string{"-i", "s0", "tcp", "port", "80"}, unchanged, 4, 130, mixed},
		{"filter IPv6", false, false, server6, []string{"-i", "s0", "ip6", "and", "host", server6}, unchanged, 4, 130, mixed},
		{"one worker", false, false, server4, []string{"-i", "s0", "--workers", "1"}, unchanged, 4, 130, mixed},
		{"eight workers", false, false, server4, []string{"-i", "s0", "--workers", "8"}, unchanged, 4, 130, mixed},
		{"fanout", false, false, server4, []string{"-i", "s0", "--fanout", "3", "--ring", "32MiB"}, unchanged, 20, 200, mixed},
		{"promiscuous", false, false, server4, []string{"-i", "s0", "--promisc"}, unchanged, 4, 130, mixed},
		{"late retirement", false, false, server4, []string{"-i", "s0", "--retire", "1s", "--block", "1MiB"}, unchanged, 4, 130, mixed},
		{"offload", false, false, server4, []string{"-i", "s0"}, offloadOn, 4, 130, mixed},
		{"no offload", false, false, server4, []string{"-i", "s0"}, offloadOff, 4, 130, mixed},
		{"large, offload, server", false, false, server4, []string{"-i", "s0", "--ring", "128MiB"}, offloadOn, 2, 6, large},
		{"large, offload, client", true, false, server4, []string{"-i", "c0", "--ring", "128MiB"}, offloadOn, 2, 6, large},
		{"large, no offload", false, false, server4, []string{"-i", "s0", "--ring", "128MiB"}, offloadOff, 2, 4, large},
		{"lo", false, true, "127.0.0.1", []string{"-i", "lo"}, unchanged, 4, 130, mixed},
		{"lo, IPv6", false, true, "::1", []string{"-i", "lo"}, unchanged, 4, 130, mixed},
		{"lo, the host's own address", false, true, server4, []string{"-i", "lo"}, unchanged, 4, 130, mixed},
		{"lo, large", false, true, "127.0.0.1", []string{"-i", "lo", "--ring", "128MiB"}, unchanged, 2, 6, large},
		{"any, over lo", false, true, "127.0.0.1", []string{"-i", "any"}, unchanged, 4, 130, mixed},
		{"any, over the wire", false, false, server4, []string{"-i", "any"}, unchanged, 4, 130, mixed},
		{"any, filter", false, false, server6, []string{"-i", "any", "tcp", "port", "80"}, unchanged, 4, 130, mixed},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server, nginx := pair(t, newLab(t, "nginx"))
			if c.offload != unchanged {
				check(t, client.Namespace.Offload("c0", c.offload == offloadOn), server.Namespace.Offload("s0", c.offload == offloadOn))
			}
			at, from := server.Namespace, client.Namespace
			if c.atClient {
				at = client.Namespace
			}
			if c.fromServer {
				from = server.Namespace
			}
			p := start(t, at, c.args...)
			address := c.address + ":80"
			if c.address[len(c.address)-1] == '1' && c.address[0] == ':' || c.address == server6 {
				address = "[" + c.address + "]:80"
			}
			drive(t, from, address, c.connections, c.requests, c.request)
			r := p.stop(t)
			clean(t, &r)
			same(t, must(nginx.Log())(t), r.exchanges)
			// Two acknowledgements may be the same; everything else is there once.
			if n := r.packets.reasons["duplicate"]; n > r.packets.received/10 {
				t.Errorf("%d of %d packets were captured twice", n, r.packets.received)
			}
		})
	}
}

// What an interface counts is what culprit has received: nothing is lost without being counted, and nothing is counted
// twice.
func TestPacketsAreThoseOfTheInterface(t *testing.T) {
	for _, c := range []struct {
		device, address string
		copies          uint64 // how often the interface counts a packet
	}{
		{"s0", server4, 1},
		{"lo", "127.0.0.1", 2}, // going out and coming in
	} {
		t.Run(c.device, func(t *testing.T) {
			client, server, _ := pair(t, newLab(t, "nginx"))
			quiet(t, client, server)
			from, at := client.Namespace, lab.End{Namespace: server.Namespace, Interface: c.device}
			if c.device == "lo" {
				from = server.Namespace
			}
			before := packets(t, at)
			p := start(t, server.Namespace, "-i", c.device)
			drive(t, from, c.address+":80", 4, 130, mixed)
			check(t, lab.Settle(client.Namespace, server.Namespace))
			after := packets(t, at)
			r := p.stop(t)
			clean(t, &r)
			if r.packets.received != (after-before)/c.copies {
				t.Errorf("received %d packets, the interface counts %d", r.packets.received, (after-before)/c.copies)
			}
		})
	}
}

// quiet ends IPv6 at two hosts that know each other, so that they send what they are told to, and nothing else.
func quiet(t *testing.T, client, server lab.End) {
	t.Helper()
	drive(t, client.Namespace, server4+":80", 1, 1, nil)
	for _, e := range []lab.End{client, server} {
		err := e.Namespace.Sysctl("ipv6/conf/"+e.Interface+"/disable_ipv6", "1")
		if !errors.Is(err, os.ErrNotExist) {
			check(t, err)
		}
	}
	check(t, lab.Settle(client.Namespace, server.Namespace))
}

// packets returns how many packets an interface has sent and received.
func packets(t *testing.T, e lab.End) uint64 {
	t.Helper()
	received, sent, err := e.Namespace.Packets(e.Interface)
	check(t, err)
	return received + sent
}

// wire makes a client and a server with a link between them, on which frames have tags, and nginx. The tagged
// frames cross the virtual Ethernet pair m and n, in a namespace between the two.
func wire(t *testing.T, l *lab.Lab, tags []lab.Tag) (client, server, between *lab.Namespace, nginx *lab.Nginx) {
	t.Helper()
	client, server, between = must(l.Namespace("client"))(t), must(l.Namespace("server"))(t), must(l.Namespace("between"))(t)
	c, s := lab.End{Namespace: client, Interface: "c0", Addresses: []string{client4 + "/24"}}, lab.End{Namespace: server, Interface: "s0", Addresses: []string{server4 + "/24"}}
	a, b := lab.End{Namespace: between, Interface: "a"}, lab.End{Namespace: between, Interface: "b"}
	m, n := lab.End{Namespace: between, Interface: "m"}, lab.End{Namespace: between, Interface: "n"}
	check(t, lab.Veth(c, a), lab.Veth(s, b), lab.Veth(m, n), client.Offload("c0", false), server.Offload("s0", false))
	for _, e := range []string{"m", "n"} {
		check(t, between.IP("link set dev "+e+" mtu 1600")) // room for tags beside what the hosts send
	}
	must(lab.Link{A: a, B: m, Tags: tags}.Run())(t)
	must(lab.Link{A: b, B: n, Tags: tags}.Run())(t)
	nginx = must(server.Nginx(t.TempDir(), server4+":80"))(t)
	return client, server, between, nginx
}

// Frames with VLAN tags: those that come in have the outer tag taken away by the kernel, those that go out have it.
func TestVLAN(t *testing.T) {
	var (
		none   []lab.Tag
		one    = []lab.Tag{{Type: lab.TagVLAN, ID: 5}}
		two    = []lab.Tag{{Type: lab.TagService, ID: 100}, {Type: lab.TagVLAN, ID: 7}}
		inside = []lab.Tag{{Type: lab.TagVLAN, ID: 100}, {Type: lab.TagVLAN, ID: 7}}
	)
	for _, c := range []struct {
		name   string
		tags   []lab.Tag
		device string
		filter []string
		sees   bool
	}{
		{"none", none, "m", nil, true},
		{"none, filter vlan", none, "m", []string{"vlan"}, false},
		{"none, filter not vlan", none, "n", []string{"not", "vlan"}, true},
		{"one", one, "m", nil, true},
		{"one, other end", one, "n", nil, true},
		{"one, filter vlan", one, "m", []string{"vlan"}, true},
		{"one, filter its number", one, "n", []string{"vlan", "5", "and", "tcp", "port", "80"}, true},
		{"one, filter another number", one, "n", []string{"vlan", "6"}, false},
		{"one, filter not vlan", one, "m", []string{"not", "vlan"}, false},
		{"one, filter either", one, "m", []string{"port", "80", "or", "(vlan", "and", "port", "80)"}, true},
		{"one, any", one, "any", nil, true},
		{"two", two, "m", nil, true},
		{"two, other end", two, "n", nil, true},
		{"two, filter vlan", two, "n", []string{"vlan"}, true},
		{"two, filter both", two, "m", []string{"vlan", "100", "and", "vlan", "7", "and", "port", "80"}, true},
		{"two, filter the wrong order", two, "m", []string{"vlan", "7", "and", "vlan", "100"}, false},
		{"two of a kind", inside, "m", []string{"vlan", "100", "and", "vlan", "7"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			const requests = 20
			client, _, between, nginx := wire(t, newLab(t, "nginx"), c.tags)
			p := start(t, between, append([]string{"-i", c.device}, c.filter...)...)
			drive(t, client, server4+":80", 2, requests, mixed)
			r := p.stop(t)
			log := must(nginx.Log())(t)
			switch {
			case !c.sees:
				if r.packets.received > 0 || len(r.exchanges) > 0 {
					t.Errorf("%d exchanges, standard error:\n%s", len(r.exchanges), r.stderr)
				}
			case c.device == "any" && len(c.tags) > 0:
				// The hosts' own frames have no tag: another network, and another observation.
				clean(t, &r)
				if len(r.exchanges) != 2*requests {
					t.Errorf("%d exchanges, want each with and without the tag: %d", len(r.exchanges), 2*requests)
				}
			default:
				clean(t, &r)
				same(t, log, r.exchanges)
			}
		})
	}
}

// A packet that crosses a host is seen on each of its interfaces, and is one packet.
func TestAnyCountsOnce(t *testing.T) {
	for _, c := range []struct {
		name    string
		forward bool // to a server behind the bridge, and not on it
	}{
		{"server on the bridge", false},
		{"server behind the bridge", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, "nginx")
			client, host, server := must(l.Namespace("client"))(t), must(l.Namespace("host"))(t), must(l.Namespace("server"))(t)
			serves, where, onBridge := host, "br0", []string{server4 + "/24"}
			back := lab.End{Namespace: server, Interface: "s0"}
			if c.forward {
				serves, where, onBridge = server, "s0", nil
				back.Addresses = []string{server4 + "/24"}
			}
			check(t,
				lab.Veth(lab.End{Namespace: client, Interface: "c0", Addresses: []string{client4 + "/24"}}, lab.End{Namespace: host, Interface: "p0"}),
				lab.Veth(back, lab.End{Namespace: host, Interface: "p1"}),
				host.Bridge("br0", []string{"p0", "p1"}, onBridge...),
			)
			nginx := must(serves.Nginx(t.TempDir(), server4+":80"))(t)
			p := start(t, host, "-i", "any")
			drive(t, client, server4+":80", 4, 130, mixed)
			r := p.stop(t)
			clean(t, &r)
			same(t, must(nginx.Log())(t), r.exchanges)
			if r.packets.reasons["duplicate"] == 0 {
				t.Errorf("no packet was seen twice, at %s and elsewhere: is this what it tests?\n%s", where, r.stderr)
			}
		})
	}
}

// Each interface that is named is a tap of its own.
func TestSeveralInterfaces(t *testing.T) {
	l := newLab(t, "nginx")
	server := must(l.Namespace("server"))(t)
	var clients []*lab.Namespace
	for i := range 2 {
		n := must(l.Namespace(fmt.Sprintf("client%d", i)))(t)
		check(t, lab.Veth(
			lab.End{Namespace: n, Interface: "c0", Addresses: []string{fmt.Sprintf("10.%d.0.1/24", i)}},
			lab.End{Namespace: server, Interface: fmt.Sprintf("s%d", i), Addresses: []string{fmt.Sprintf("10.%d.0.2/24", i)}}))
		clients = append(clients, n)
	}
	nginx := must(server.Nginx(t.TempDir(), "0.0.0.0:80"))(t)
	p := start(t, server, "-i", "s0", "-i", "s1", "-i", "lo")
	drive(t, clients[0], "10.0.0.2:80", 4, 130, mixed)
	drive(t, clients[1], "10.1.0.2:80", 4, 65, mixed)
	drive(t, server, "127.0.0.1:80", 1, 13, mixed)
	r := p.stop(t)
	clean(t, &r)
	same(t, must(nginx.Log())(t), r.exchanges)
	taps := map[string]int{}
	for _, x := range r.exchanges {
		taps[x.Culprit.Packets.Tap]++
	}
	if taps["s0"] != 130 || taps["s1"] != 65 || taps["lo"] != 13 {
		t.Errorf("exchanges by tap: %v", taps)
	}
}

// Both ends of a bridge see the same: two observations, none of which is a duplicate.
func TestSameExchangeAtTwoInterfaces(t *testing.T) {
	l := newLab(t, "nginx")
	client, host, server := must(l.Namespace("client"))(t), must(l.Namespace("host"))(t), must(l.Namespace("server"))(t)
	check(t,
		lab.Veth(lab.End{Namespace: client, Interface: "c0", Addresses: []string{client4 + "/24"}}, lab.End{Namespace: host, Interface: "p0"}),
		lab.Veth(lab.End{Namespace: server, Interface: "s0", Addresses: []string{server4 + "/24"}}, lab.End{Namespace: host, Interface: "p1"}),
		host.Bridge("br0", []string{"p0", "p1"}),
	)
	nginx := must(server.Nginx(t.TempDir(), server4+":80"))(t)
	p := start(t, host, "-i", "p0", "-i", "p1")
	drive(t, client, server4+":80", 4, 130, mixed)
	r := p.stop(t)
	clean(t, &r)
	log := must(nginx.Log())(t)
	for _, tap := range []string{"p0", "p1"} {
		same(t, log, slices.DeleteFunc(slices.Clone(r.exchanges), func(x exchange) bool { return x.Culprit.Packets.Tap != tap }))
	}
}

// culprit runs in one network namespace and captures in another.
func TestOtherNamespace(t *testing.T) {
	for _, c := range []struct {
		name string
		spec func(server *lab.Namespace, nginx *lab.Nginx) string
	}{
		{"name", func(n *lab.Namespace, _ *lab.Nginx) string { return n.Name }},
		{"path", func(n *lab.Namespace, _ *lab.Nginx) string { return n.Path }},
		{"process", func(_ *lab.Namespace, p *lab.Nginx) string { return fmt.Sprintf("pid:%d", p.PID) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, "nginx")
			client, server, nginx := pair(t, l)
			outside := must(l.Namespace("outside"))(t)
			p := start(t, outside, "-i", "s0", "--netns", c.spec(server.Namespace, nginx))
			drive(t, client.Namespace, server4+":80", 4, 130, mixed)
			r := p.stop(t)
			clean(t, &r)
			same(t, must(nginx.Log())(t), r.exchanges)
		})
	}
}
