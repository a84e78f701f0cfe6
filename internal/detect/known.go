package detect

import (
	"bytes"
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/proto"
)

// Recognised are the protocols that are told apart but not parsed. A connection that speaks one is
// counted as ignored under its name.
var Recognised = []proto.Protocol{
	{Name: "ssh", Probe: prefix(proto.AnyRole, "SSH-2.0-", "SSH-1.")},
	{Name: "smtp-or-ftp", Probe: prefix(proto.Server, "220 ", "220-"), Upgrades: true},
	{Name: "pop3", Probe: prefix(proto.Server, "+OK "), Upgrades: true},
	{Name: "imap", Probe: prefix(proto.Server, "* OK ", "* PREAUTH "), Upgrades: true},
	{Name: "rtsp", Probe: startLine(" RTSP/1.0", "RTSP/1.0 ")},
	{Name: "sip", Probe: startLine(" SIP/2.0", "SIP/2.0 ")},
	{Name: "amqp", Probe: prefix(proto.Client, "AMQP")},
	{Name: "nats", Probe: prefix(proto.Server, "INFO {")},
	{Name: "xmpp", Probe: prefix(proto.AnyRole, "<?xml version='1.0'?><stream", "<stream:stream"), Upgrades: true},
	{Name: "bittorrent", Probe: prefix(proto.AnyRole, "\x13BitTorrent protocol")},
	{Name: "smb", Probe: smb},
	{Name: "rdp", Probe: rdp},
}

// prefix makes a probe for fixed beginnings.
func prefix(r proto.Role, texts ...string) func([]byte) (proto.Match, proto.Role) {
	return func(b []byte) (proto.Match, proto.Role) {
		best := proto.No
		for _, t := range texts {
			n := min(len(b), len(t))
			if string(b[:n]) != t[:n] {
				continue
			}
			if n == len(t) {
				return proto.Yes, r
			}
			best = proto.NeedMore
		}
		return best, r
	}
}

// startLine makes a probe for protocols that look like HTTP: the end of a request line, or the
// beginning of a status line.
func startLine(request, status string) func([]byte) (proto.Match, proto.Role) {
	return func(b []byte) (proto.Match, proto.Role) {
		if bytes.HasPrefix(b, []byte(status)) {
			return proto.Yes, proto.Server
		}
		line, _, ok := bytes.Cut(b, []byte("\r\n"))
		if ok && bytes.HasSuffix(line, []byte(request)) {
			return proto.Yes, proto.Client
		}
		return proto.No, proto.AnyRole
	}
}

// smb recognises SMB 1, 2 and 3 over direct TCP or NetBIOS.
func smb(b []byte) (proto.Match, proto.Role) {
	if len(b) >= 8 && b[0] == 0 && (b[4] == 0xff || b[4] == 0xfe) && string(b[5:8]) == "SMB" {
		return proto.Yes, proto.AnyRole
	}
	return proto.No, proto.AnyRole
}

// rdp recognises an X.224 connection request in a TPKT.
func rdp(b []byte) (proto.Match, proto.Role) {
	if len(b) >= 7 && b[0] == 3 && b[1] == 0 && b[5] == 0xe0 {
		return proto.Yes, proto.Client
	}
	return proto.No, proto.AnyRole
}

// datagrams are the protocols over UDP that are recognised by a port.
var datagrams = map[uint16]string{
	67: "dhcp", 68: "dhcp", 69: "tftp", 123: "ntp", 137: "netbios", 138: "netbios",
	161: "snmp", 162: "snmp", 500: "ipsec", 514: "syslog", 546: "dhcp", 547: "dhcp", 1900: "ssdp",
}

// Datagram names the protocol of a UDP payload: QUIC by its header, others by a port; "udp" when
// neither tells.
func Datagram(b []byte, src, dst uint16) string {
	if name := datagrams[dst]; name != "" {
		return name
	}
	if name := datagrams[src]; name != "" {
		return name
	}
	if isQUIC(b) || (src == 443 || dst == 443) && len(b) > 20 && b[0]&0xc0 == 0x40 {
		return "quic"
	}
	return "udp"
}

// isQUIC recognises a long header (RFC 9000 §17.2) of a version that is in use, and Google's first ones.
func isQUIC(b []byte) bool {
	if len(b) < 7 {
		return false
	}
	if b[0]&0x80 == 0 {
		return b[0]&0x09 == 0x09 && len(b) > 13 && b[9] == 'Q' && b[10] == '0'
	}
	switch v := binary.BigEndian.Uint32(b[1:]); {
	case v == 1, v == 0x6b3343cf, v>>8 == 0xff0000, v>>16 == 0xfaceb000>>16:
		return b[5] <= 20
	case v>>24 == 'Q', v>>24 == 'T':
		return true
	}
	return false
}
