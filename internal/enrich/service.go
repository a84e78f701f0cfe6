package enrich

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// MaxServiceEntries is how many addresses and networks the services may have in all.
const MaxServiceEntries = 10_000

// services knows which service is at an address and a port.
type services struct {
	// networks are those that were given, by their lengths; lengths are those that occur, the longest first.
	networks [2]map[netip.Prefix]*network
	lengths  [2][]int
	// anywhere are the entries without an address.
	anywhere *network
}

// network is a network that services are in. It never changes once all are added.
type network struct {
	// wider is the smallest given network around it, nil if there is none.
	wider *network
	ports []ports
	// client is the service that a client in it belongs to, "" if that can't be told.
	client string
}

// ports are the ports of a service, first and last included.
type ports struct {
	first, last uint16
	service     string
}

func (p *ports) all() bool { return p.first == 0 && p.last == 0xffff }

// newServices takes the entries of each service: ADDRESS, NETWORK/BITS, either with :PORT or :FIRST-LAST behind it,
// or :PORT alone. IPv6 addresses and networks with a port have brackets: [2001:db8::]/64:443.
func newServices(entries map[string][]string) (*services, error) {
	s := &services{anywhere: new(network)}
	s.networks = [2]map[netip.Prefix]*network{{}, {}}
	n := 0
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names) // so that errors are the same every time
	for _, name := range names {
		if name == "" {
			return nil, fmt.Errorf("services: one of them has no name")
		}
		if n += len(entries[name]); n > MaxServiceEntries {
			return nil, fmt.Errorf("services: more than %d entries: give networks instead of addresses", MaxServiceEntries)
		}
		for _, entry := range entries[name] {
			prefix, p, err := parseService(entry)
			if err == nil {
				p.service = name
				err = s.add(prefix, p)
			}
			if err != nil {
				return nil, fmt.Errorf("services: %s: entry %q: %w", name, entry, err)
			}
		}
	}
	for f := range s.networks {
		for prefix, node := range s.networks[f] {
			if !slices.Contains(s.lengths[f], prefix.Bits()) {
				s.lengths[f] = append(s.lengths[f], prefix.Bits())
			}
			node.finish()
		}
		slices.SortFunc(s.lengths[f], func(a, b int) int { return cmp.Compare(b, a) })
		for prefix, node := range s.networks[f] {
			node.wider = s.smallest(prefix.Addr(), prefix.Bits())
		}
	}
	s.anywhere.finish()
	return s, nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// parseService parses an entry. Without an address, the prefix isn't valid.
func parseService(entry string) (prefix netip.Prefix, p ports, err error) {
	p = ports{first: 0, last: 0xffff}
	host, port, hasPort := entry, "", false
	switch colon := strings.LastIndexByte(entry, ':'); {
	case strings.HasPrefix(entry, "["):
		end := strings.IndexByte(entry, ']')
		if end < 0 {
			return prefix, p, fmt.Errorf("the ] is missing")
		}
		host = entry[1:end]
		rest := entry[end+1:]
		rest, port, hasPort = strings.Cut(rest, ":")
		if rest != "" && rest[0] != '/' {
			return prefix, p, fmt.Errorf("%q behind the ]: it may be /BITS, :PORT or /BITS:PORT", rest)
		}
		host += rest
	case colon >= 0 && colon == strings.IndexByte(entry, ':'):
		host, port, hasPort = entry[:colon], entry[colon+1:], true
	}
	if hasPort {
		if p.first, p.last, err = parsePorts(port); err != nil {
			return prefix, p, err
		}
		if host == "" {
			return prefix, p, nil
		}
	}
	const forms = "it must be an address such as 10.0.0.7, a network such as 10.0.0.0/24, either with a port such as 10.0.0.0/24:8080, or a port such as :9000"
	if address, bits, ok := strings.Cut(host, "/"); ok {
		if prefix, err = netip.ParsePrefix(host); err != nil {
			return prefix, p, fmt.Errorf("%q is no network: %s", address+"/"+bits, forms)
		}
	} else {
		a, err := netip.ParseAddr(host)
		if err != nil {
			return prefix, p, fmt.Errorf("%q is no address: %s", host, forms)
		}
		if a.Zone() != "" {
			return prefix, p, fmt.Errorf("zones such as %%%s aren't known on the wire: leave it out", a.Zone())
		}
		prefix = netip.PrefixFrom(a, a.BitLen())
	}
	if a := prefix.Addr(); a.Is4In6() {
		if prefix.Bits() < 96 {
			return prefix, p, fmt.Errorf("write IPv4 networks as such")
		}
		prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
	}
	if masked := prefix.Masked(); masked != prefix {
		return prefix, p, fmt.Errorf("the address has bits outside of the network: write %s for the network, or leave /%d out for the address", masked, prefix.Bits())
	}
	return prefix, p, nil
}

func parsePorts(s string) (first, last uint16, err error) {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	a, err1 := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || a == 0 || a > b {
		return 0, 0, fmt.Errorf("%q is no port: it must be a number from 1 to 65535, or two such as 8000-8010; an IPv6 address with a port needs brackets: [2001:db8::7]:443", s)
	}
	return uint16(a), uint16(b), nil
}

func (s *services) add(prefix netip.Prefix, p ports) error {
	node := s.anywhere
	if prefix.IsValid() {
		f := family(prefix.Addr())
		if node = s.networks[f][prefix]; node == nil {
			node = new(network)
			s.networks[f][prefix] = node
		}
	}
	for _, other := range node.ports {
		if other.first != p.first || other.last != p.last {
			continue
		}
		if other.service != p.service {
			return fmt.Errorf("service %s has it too: take it from one of them", other.service)
		}
		return nil
	}
	node.ports = append(node.ports, p)
	return nil
}

// finish sorts the ports, the fewest first, and decides whose a client is.
func (n *network) finish() {
	slices.SortFunc(n.ports, func(a, b ports) int {
		return cmp.Or(cmp.Compare(a.last-a.first, b.last-b.first), cmp.Compare(a.first, b.first))
	})
	if len(n.ports) == 0 {
		return
	}
	last := &n.ports[len(n.ports)-1]
	if n.client = last.service; last.all() {
		return // it has the whole machine, and others have ports of it
	}
	for i := range n.ports {
		if n.ports[i].service != n.client {
			n.client = ""
			return
		}
	}
}

// smallest returns the smallest network around an address that has fewer bits than below, nil if there is none.
func (s *services) smallest(a netip.Addr, below int) *network {
	f := family(a)
	for _, bits := range s.lengths[f] {
		if bits >= below {
			continue
		}
		prefix, err := a.Prefix(bits)
		if err != nil {
			continue
		}
		if n := s.networks[f][prefix]; n != nil {
			return n
		}
	}
	return nil
}

// network returns the smallest network around an address, nil if there is none.
func (s *services) network(a netip.Addr) *network { return s.smallest(a, a.BitLen()+1) }

// server returns the service that answers at a port of an address, whose network is n.
func (s *services) server(n *network, port uint16) string {
	for ; n != nil; n = n.wider {
		if name, ok := n.at(port); ok {
			return name
		}
	}
	name, _ := s.anywhere.at(port)
	return name
}

func (n *network) at(port uint16) (string, bool) {
	for i := range n.ports {
		if p := &n.ports[i]; p.first <= port && port <= p.last {
			return p.service, true
		}
	}
	return "", false
}

// clientService returns the service that asks from an address, whose network is n. Its port says nothing, since it is any.
func (n *network) clientService() string {
	if n == nil {
		return ""
	}
	return n.client
}
