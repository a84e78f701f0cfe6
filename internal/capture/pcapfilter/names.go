package pcapfilter

// protocol is a protocol qualifier: what a primitive is restricted to.
type protocol uint8

const (
	anyProto protocol = iota
	link
	ip
	ip6
	arp
	rarp
	tcp
	udp
	sctp
	icmp
	icmp6
	igmp
	igrp
	pim
	vrrp
	carp
	ah
	esp
)

// EtherTypes (IEEE 802 Numbers, iana.org).
const (
	etherIP    = 0x0800
	etherARP   = 0x0806
	etherRARP  = 0x8035
	etherVLAN  = 0x8100
	etherIP6   = 0x86dd
	etherMPLS  = 0x8847
	etherPPPoD = 0x8863
	etherPPPoS = 0x8864
	etherQinQ  = 0x88a8
	etherQinQ9 = 0x9100 // in use before 802.1ad

	// maxLength8023 is the largest value of the type field that is a length instead (IEEE 802.3).
	maxLength8023 = 1500
)

// IP protocol numbers that code is generated for by number.
const (
	protoTCP      = 6
	protoUDP      = 17
	protoFragment = 44
	protoICMP6    = 58
	protoSCTP     = 132
)

// family is which versions of IP carry a protocol, for pcap-filter.
type family uint8

const (
	noFamily family = 0
	inIP     family = 1
	inIP6    family = 2
)

// protocolInfo is what the compiler knows of a protocol.
type protocolInfo struct {
	name      string
	etherType uint16 // of a network protocol
	number    uint32 // IP protocol number of a transport
	family    family // of a transport
	bytes     bool   // name[...] is supported
}

var protocolTable = [...]protocolInfo{
	link:  {name: "ether", bytes: true},
	ip:    {name: "ip", etherType: etherIP, bytes: true},
	ip6:   {name: "ip6", etherType: etherIP6, bytes: true},
	arp:   {name: "arp", etherType: etherARP, bytes: true},
	rarp:  {name: "rarp", etherType: etherRARP, bytes: true},
	tcp:   {name: "tcp", number: protoTCP, family: inIP | inIP6, bytes: true},
	udp:   {name: "udp", number: protoUDP, family: inIP | inIP6, bytes: true},
	sctp:  {name: "sctp", number: protoSCTP, family: inIP | inIP6, bytes: true},
	icmp:  {name: "icmp", number: 1, family: inIP, bytes: true},
	icmp6: {name: "icmp6", number: protoICMP6, family: inIP6, bytes: true},
	igmp:  {name: "igmp", number: 2, family: inIP, bytes: true},
	igrp:  {name: "igrp", number: 9, family: inIP, bytes: true},
	pim:   {name: "pim", number: 103, family: inIP | inIP6, bytes: true},
	vrrp:  {name: "vrrp", number: 112, family: inIP, bytes: true},
	carp:  {name: "carp", number: 112, family: inIP, bytes: true},
	ah:    {name: "ah", number: 51, family: inIP | inIP6},
	esp:   {name: "esp", number: 50, family: inIP | inIP6},
}

// protocols are the words that name a protocol.
var protocols = map[string]protocol{
	"ether": link, "link": link, "ip": ip, "ip6": ip6, "arp": arp, "rarp": rarp,
	"tcp": tcp, "udp": udp, "sctp": sctp, "icmp": icmp, "icmp6": icmp6, "igmp": igmp, "igrp": igrp,
	"pim": pim, "vrrp": vrrp, "carp": carp, "ah": ah, "esp": esp,
}

// kind is what the value of a primitive is.
type kind uint8

const (
	noKind kind = iota
	host
	network
	port
	portRange
	proto
)

var kindNames = [...]string{host: "host", network: "net", port: "port", portRange: "portrange", proto: "proto"}

// direction is which side of a packet a primitive looks at.
type direction uint8

const (
	eitherSide direction = iota
	source
	destination
	bothSides
)

var directionNames = [...]string{source: "src", destination: "dst", bothSides: "src and dst"}

// qualifiers are the words between a protocol and a value.
var qualifiers = map[string]kind{
	"src": noKind, "dst": noKind,
	"host": host, "net": network, "port": port, "portrange": portRange, "proto": proto,
}

// primitives are the words that stand for themselves, or take a number.
var primitives = map[string]primitive{
	"less": less, "greater": greater, "vlan": vlan, "mpls": mpls, "pppoed": pppoed, "pppoes": pppoes,
	"broadcast": broadcast, "multicast": multicast, "inbound": inbound, "outbound": outbound, "ifindex": ifindex,
}

type primitive uint8

const (
	less primitive = iota
	greater
	vlan
	mpls
	pppoed
	pppoes
	broadcast
	multicast
	inbound
	outbound
	ifindex
)

// primitiveTable says how each primitive is written: whether a number must or may follow, and the
// largest it can be.
var primitiveTable = [...]struct {
	name       string
	need, take bool
	max        uint32
}{
	less:      {name: "less", need: true, take: true, max: 1<<32 - 1},
	greater:   {name: "greater", need: true, take: true, max: 1<<32 - 1},
	vlan:      {name: "vlan", take: true, max: 1<<12 - 1},
	mpls:      {name: "mpls", take: true, max: 1<<20 - 1},
	pppoed:    {name: "pppoed"},
	pppoes:    {name: "pppoes", take: true, max: 1<<16 - 1},
	broadcast: {name: "broadcast"},
	multicast: {name: "multicast"},
	inbound:   {name: "inbound"},
	outbound:  {name: "outbound"},
	ifindex:   {name: "ifindex", need: true, take: true, max: 1<<32 - 1},
}

// refused are words of pcap-filter(7) that aren't supported, with what to do instead.
var refused = map[string]string{
	"gateway":    "it needs host names, and names aren't looked up: use \"ether host MAC and not host ADDRESS\"",
	"protochain": "it needs a loop: use \"proto\"",
	"geneve":     "a capture filter sees the outer headers only: use \"udp port 6081\"",
	"byte":       "use \"ether[OFFSET] = VALUE\"",
	"ppp":        "use \"ether\"", "slip": "use \"ether\"", "fddi": "use \"ether\"", "tr": "use \"ether\"", "wlan": "use \"ether\"",
	"llc": "", "iso": "", "clnp": "", "esis": "", "es-is": "", "isis": "", "is-is": "", "stp": "", "ipx": "", "netbeui": "",
	"atalk": "", "aarp": "", "decnet": "", "lat": "", "sca": "", "moprc": "", "mopdl": "", "lane": "", "metac": "", "bcc": "",
	"oam": "", "oamf4": "", "oamf4ec": "", "oamf4sc": "", "sc": "", "ilmic": "", "vpi": "", "vci": "", "connectmsg": "",
	"metaconnect": "", "type": "", "subtype": "", "dir": "", "direction": "", "addr1": "", "addr2": "", "addr3": "", "addr4": "",
	"address1": "", "address2": "", "address3": "", "address4": "", "ra": "", "ta": "", "on": "", "ifname": "", "rset": "",
	"ruleset": "", "rnr": "", "rulenum": "", "srnr": "", "subrulenum": "", "reason": "", "action": "", "radio": "",
	"l1": "", "l2": "", "iih": "", "lsp": "", "snp": "", "csnp": "", "psnp": "", "fisu": "", "lssu": "", "lsu": "", "msu": "",
	"hfisu": "", "hlssu": "", "hmsu": "", "sio": "", "opc": "", "dpc": "", "sls": "", "hsio": "", "hopc": "", "hdpc": "", "hsls": "",
}

// constants are the names of numbers in byte tests.
var constants = map[string]uint32{
	"icmptype": 0, "icmpcode": 1, "icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5,
	"icmp-echo": 8, "icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12,
	"icmp-tstamp": 13, "icmp-tstampreply": 14, "icmp-ireq": 15, "icmp-ireqreply": 16, "icmp-maskreq": 17, "icmp-maskreply": 18,

	"icmp6type": 0, "icmp6code": 1, "icmp6-destinationunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3,
	"icmp6-parameterproblem": 4, "icmp6-echo": 128, "icmp6-echoreply": 129, "icmp6-multicastlistenerquery": 130,
	"icmp6-multicastlistenerreportv1": 131, "icmp6-multicastlistenerdone": 132, "icmp6-routersolicit": 133,
	"icmp6-routeradvert": 134, "icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136, "icmp6-redirect": 137,
	"icmp6-routerrenum": 138, "icmp6-nodeinformationquery": 139, "icmp6-nodeinformationresponse": 140,
	"icmp6-ineighbordiscoverysolicit": 141, "icmp6-ineighbordiscoveryadvert": 142, "icmp6-multicastlistenerreportv2": 143,
	"icmp6-homeagentdiscoveryrequest": 144, "icmp6-homeagentdiscoveryreply": 145, "icmp6-mobileprefixsolicit": 146,
	"icmp6-mobileprefixadvert": 147, "icmp6-certpathsolicit": 148, "icmp6-certpathadvert": 149,
	"icmp6-multicastrouteradvert": 151, "icmp6-multicastroutersolicit": 152, "icmp6-multicastrouterterm": 153,

	"tcpflags": 13, "tcp-fin": 0x01, "tcp-syn": 0x02, "tcp-rst": 0x04, "tcp-push": 0x08, "tcp-ack": 0x10, "tcp-urg": 0x20,
	"tcp-ece": 0x40, "tcp-cwr": 0x80,
}

// portNames are the ports known by name (IANA's service names, and what is usual where HTTP is
// spoken). /etc/services isn't read: a filter means the same on every machine.
var portNames = map[string]uint32{
	"ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "bootps": 67, "bootpc": 68, "tftp": 69,
	"http": 80, "www": 80, "kerberos": 88, "pop3": 110, "sunrpc": 111, "ntp": 123, "imap2": 143, "imap": 143, "snmp": 161,
	"snmp-trap": 162, "bgp": 179, "ldap": 389, "https": 443, "microsoft-ds": 445, "submissions": 465, "syslog": 514,
	"submission": 587, "ldaps": 636, "domain-s": 853, "imaps": 993, "pop3s": 995, "socks": 1080, "ms-sql-s": 1433,
	"mqtt": 1883, "nfs": 2049, "mysql": 3306, "rdp": 3389, "sip": 5060, "sip-tls": 5061, "mdns": 5353, "postgresql": 5432,
	"amqps": 5671, "amqp": 5672, "redis": 6379, "http-alt": 8080, "webcache": 8080,
}

// etherNames are the protocols that "ether proto" knows by name; the backslash that the language
// wants before them is the scanner's business.
var etherNames = map[string]uint32{
	"ip": etherIP, "arp": etherARP, "rarp": etherRARP, "ip6": etherIP6,
}

// ipNames are the protocols that "proto", "ip proto" and "ip6 proto" know by name
// (iana.org/assignments/protocol-numbers).
var ipNames = map[string]uint32{
	"icmp": 1, "igmp": 2, "ipencap": 4, "ipip": 4, "tcp": protoTCP, "udp": protoUDP, "ipv6": 41, "ipv6-route": 43,
	"ipv6-frag": protoFragment, "gre": 47, "esp": 50, "ah": 51, "icmp6": protoICMP6, "ipv6-icmp": protoICMP6,
	"ipv6-nonxt": 59, "ipv6-opts": 60, "ospf": 89, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": protoSCTP,
}
