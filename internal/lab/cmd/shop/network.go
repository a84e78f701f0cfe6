//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// The addresses of the shop. The load balancer's is on the loopback of the host that both proxies are on.
const (
	edge4 = "10.20.0.10:80"
	edge6 = "[2001:db8:0:80::10]:80"
	lb    = "10.20.0.20:8080"
)

var appAddresses = []string{"10.30.0.11:8080", "10.30.0.12:8080"}

// tapNames are the interfaces of the proxies' host: clients to edge, edge to load balancer, load balancer to apps.
// Every packet is on one of them only.
var tapNames = []string{"wan", "lo", "dmz"}

// region is where clients are: the networks that they have their addresses of, and the link to the shop.
type region struct {
	name   string
	v4     netip.Prefix
	v6     []netip.Addr
	delay  time.Duration
	jitter time.Duration
	loss   float64
	rate   int64
	// asNumber and asOrganization are made up.
	asNumber       uint32
	asOrganization string
}

func sixes(prefix string, n int) (all []netip.Addr) {
	for i := range n {
		all = append(all, netip.MustParseAddr(fmt.Sprintf("%s::%x", prefix, 0x100*i+i+1)))
	}
	return all
}

// regions are in the documentation ranges (RFC 5737, RFC 3849).
func regions() []*region {
	return []*region{
		{name: "europe", v4: netip.MustParsePrefix("203.0.113.0/24"), v6: sixes("2001:db8:e", 8), delay: 9 * time.Millisecond, jitter: 2 * time.Millisecond,
			asNumber: 64496, asOrganization: "Example Broadband"},
		{name: "america", v4: netip.MustParsePrefix("198.51.100.0/25"), v6: sixes("2001:db8:a", 6), delay: 47 * time.Millisecond, jitter: 3 * time.Millisecond,
			asNumber: 64497, asOrganization: "Example Cable"},
		{name: "asia", v4: netip.MustParsePrefix("198.51.100.128/25"), v6: sixes("2001:db8:5", 4), delay: 92 * time.Millisecond, jitter: 5 * time.Millisecond,
			asNumber: 64498, asOrganization: "Example Fibre"},
		{name: "mobile", v4: netip.MustParsePrefix("192.0.2.0/25"), v6: sixes("2001:db8:40", 6), delay: 38 * time.Millisecond, jitter: 25 * time.Millisecond,
			loss: 0.02, rate: 150_000, asNumber: 64499, asOrganization: "Example Mobile"},
		{name: "hosting", v4: netip.MustParsePrefix("192.0.2.128/25"), v6: sixes("2001:db8:40f", 2), delay: 13 * time.Millisecond, jitter: time.Millisecond,
			asNumber: 64500, asOrganization: "Example Hosting"},
	}
}

// network is the laboratory: a namespace for each region, one for both proxies, and one for each app server.
type network struct {
	regions map[string]*region
	spaces  map[string]*lab.Namespace
	proxies *lab.Namespace
	apps    []*lab.Namespace
}

func build(l *lab.Lab, seed uint64) (*network, error) {
	n := &network{regions: map[string]*region{}, spaces: map[string]*lab.Namespace{}}
	var err error
	if n.proxies, err = l.Namespace("proxies"); err != nil {
		return nil, err
	}
	cables, err := l.Namespace("cables")
	if err != nil {
		return nil, err
	}
	var members, routes []string
	for i, r := range regions() {
		space, err := l.Namespace(r.name)
		if err != nil {
			return nil, err
		}
		var addresses []string
		for _, a := range r.v6 {
			addresses = append(addresses, a.String()+"/128")
		}
		member := fmt.Sprintf("wan%d", i)
		near, far := lab.End{Namespace: cables, Interface: fmt.Sprintf("c%d", i)}, lab.End{Namespace: cables, Interface: fmt.Sprintf("p%d", i)}
		if err := lab.Veth(lab.End{Namespace: space, Interface: "eth0", Addresses: addresses}, near); err != nil {
			return nil, err
		}
		if err := lab.Veth(far, lab.End{Namespace: n.proxies, Interface: member}); err != nil {
			return nil, err
		}
		if err := space.Offload("eth0", false); err != nil {
			return nil, err
		}
		if err := n.proxies.Offload(member, false); err != nil {
			return nil, err
		}
		link := lab.Link{A: near, B: far, Delay: r.delay, Jitter: r.jitter, Loss: r.loss, Rate: r.rate, Seed: seed + uint64(i)}
		if _, err := link.Run(); err != nil {
			return nil, err
		}
		// All addresses of the network are the client's, without being listed.
		for _, args := range []string{
			"route add local " + r.v4.String() + " dev lo",
			"route add " + host(edge4) + " dev eth0",
			"-6 route add " + host(edge6) + " dev eth0",
		} {
			if err := space.IP(args); err != nil {
				return nil, err
			}
		}
		members = append(members, member)
		routes = append(routes, "route add "+r.v4.String()+" dev wan")
		for _, a := range r.v6 {
			routes = append(routes, "-6 route add "+a.String()+" dev wan")
		}
		n.regions[r.name], n.spaces[r.name] = r, space
	}
	if err := n.proxies.Bridge("wan", members, host(edge4)+"/32", host(edge6)+"/128"); err != nil {
		return nil, err
	}
	if err := n.proxies.Offload("wan", false); err != nil {
		return nil, err
	}
	if err := n.proxies.Address("lo", host(lb)+"/32"); err != nil {
		return nil, err
	}
	for _, args := range routes {
		if err := n.proxies.IP(args); err != nil {
			return nil, err
		}
	}
	members = nil
	for i, a := range appAddresses {
		space, err := l.Namespace(fmt.Sprintf("app-%d", i+1))
		if err != nil {
			return nil, err
		}
		member := fmt.Sprintf("dmz%d", i)
		if err := lab.Veth(lab.End{Namespace: space, Interface: "eth0", Addresses: []string{host(a) + "/24"}}, lab.End{Namespace: n.proxies, Interface: member}); err != nil {
			return nil, err
		}
		members = append(members, member)
		n.apps = append(n.apps, space)
	}
	const gateway = "10.30.0.1"
	if err := n.proxies.Bridge("dmz", members, gateway+"/24"); err != nil {
		return nil, err
	}
	for _, a := range n.apps {
		if err := a.IP("route add " + host(lb) + " via " + gateway); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// clients returns the namespaces of the regions.
func (n *network) clients() (all []*lab.Namespace) {
	for _, s := range n.spaces {
		all = append(all, s)
	}
	return all
}

// retransmitted returns how many TCP segments the kernel of the proxies' host has sent again, to whomever.
func (n *network) retransmitted() (segments int, err error) {
	err = n.proxies.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		var names []string
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			switch {
			case len(f) == 0 || f[0] != "Tcp:":
			case names == nil:
				names = f
			default:
				for i, name := range names {
					if name == "RetransSegs" && i < len(f) {
						segments, err = strconv.Atoi(f[i])
						return err
					}
				}
			}
		}
		return fmt.Errorf("the kernel doesn't say how many segments it has sent again")
	})
	return segments, err
}

// host returns the address of an address and port.
func host(address string) string { return netip.MustParseAddrPort(address).Addr().String() }
