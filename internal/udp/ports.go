package udp

import (
	"net/netip"

	"github.com/culprit-http/culprit/internal/packet"
)

// answers reports whether the first datagram of a flow looks like an answer: it comes from a service's port and goes to none, and to
// one host.
func answers(p *packet.Packet) bool {
	if !servicePort(p.SrcPort) || servicePort(p.DstPort) {
		return false
	}
	to := p.Dst.Netip()
	return !to.IsMulticast() && to != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// servicePort reports whether a port is one that servers of UDP listen on (IANA's registry), and that nobody else is likely to use.
func servicePort(port uint16) bool {
	switch port {
	case 53, 853, 5353, 5355, // DNS, over QUIC, mDNS, LLMNR
		67, 547, 69, 123, 137, 138, 161, 389, // DHCP, DHCPv6, TFTP, NTP, NetBIOS, SNMP, CLDAP
		80, 443, 8443, // QUIC
		88, 464, 500, 4500, 1812, 1813, // Kerberos, IKE, RADIUS
		1900, 3478, 5060, 5061, 5683, // SSDP, STUN, SIP, CoAP
		514, 4789, 6081, 8125, 11211: // syslog, VXLAN, Geneve, StatsD, memcached
		return true
	}
	return false
}
