package dns

import "strconv"

// types are the names of record types and of those that only questions have (IANA's registry "DNS Parameters").
var types = [...]string{
	1: "A", 2: "NS", 3: "MD", 4: "MF", 5: "CNAME", 6: "SOA", 7: "MB", 8: "MG", 9: "MR", 10: "NULL", 11: "WKS", 12: "PTR",
	13: "HINFO", 14: "MINFO", 15: "MX", 16: "TXT", 17: "RP", 18: "AFSDB", 19: "X25", 20: "ISDN", 21: "RT", 22: "NSAP",
	23: "NSAP-PTR", 24: "SIG", 25: "KEY", 26: "PX", 27: "GPOS", 28: "AAAA", 29: "LOC", 30: "NXT", 33: "SRV", 35: "NAPTR",
	36: "KX", 37: "CERT", 38: "A6", 39: "DNAME", 40: "SINK", 41: "OPT", 42: "APL", 43: "DS", 44: "SSHFP", 45: "IPSECKEY",
	46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 49: "DHCID", 50: "NSEC3", 51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 55: "HIP",
	59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY", 62: "CSYNC", 63: "ZONEMD", 64: "SVCB", 65: "HTTPS", 99: "SPF", 104: "NID",
	105: "L32", 106: "L64", 107: "LP", 108: "EUI48", 109: "EUI64", 249: "TKEY", 250: "TSIG", 251: "IXFR", 252: "AXFR",
	253: "MAILB", 254: "MAILA", 255: "ANY", 256: "URI", 257: "CAA", 258: "AVC",
}

const (
	typeA    = 1
	typeSOA  = 6
	typeAAAA = 28
	typeOPT  = 41
	typeTSIG = 250
	typeIXFR = 251
	typeAXFR = 252
)

func known(typ uint16) bool { return int(typ) < len(types) && types[typ] != "" }

// appendType appends the name of a type, TYPE and its number where it has none (RFC 3597 §5).
func appendType(dst []byte, typ uint16) []byte {
	if known(typ) {
		return append(dst, types[typ]...)
	}
	return strconv.AppendUint(append(dst, "TYPE"...), uint64(typ), 10)
}

var classes = [...]string{1: "IN", 2: "CS", 3: "CH", 4: "HS", 254: "NONE", 255: "ANY"}

const (
	classIN  = 1
	classCH  = 3
	classANY = 255
)

func appendClass(dst []byte, class uint16) []byte {
	if int(class) < len(classes) && classes[class] != "" {
		return append(dst, classes[class]...)
	}
	return strconv.AppendUint(append(dst, "CLASS"...), uint64(class), 10)
}

var opcodes = [...]string{0: "QUERY", 1: "IQUERY", 2: "STATUS", 4: "NOTIFY", 5: "UPDATE", 6: "DSO"}

const (
	opQuery  = 0
	opNotify = 4
	opUpdate = 5
	// opDSO are stateful operations, which have no question but values of their own behind the header (RFC 8490).
	opDSO = 6
)

func appendOpcode(dst []byte, opcode uint8) []byte {
	if int(opcode) < len(opcodes) && opcodes[opcode] != "" {
		return append(dst, opcodes[opcode]...)
	}
	return strconv.AppendUint(append(dst, "OPCODE"...), uint64(opcode), 10)
}

// rcodes are the names of response codes, with what they mean.
var rcodes = [...]struct{ name, meaning string }{
	0:  {"NOERROR", ""},
	1:  {"FORMERR", "the server didn't understand the question"},
	2:  {"SERVFAIL", "the server failed to find the answer"},
	3:  {"NXDOMAIN", "the name doesn't exist"},
	4:  {"NOTIMP", "the server doesn't do that"},
	5:  {"REFUSED", "the server refuses to answer"},
	6:  {"YXDOMAIN", "the name exists, and should not"},
	7:  {"YXRRSET", "the records exist, and should not"},
	8:  {"NXRRSET", "the records don't exist, and should"},
	9:  {"NOTAUTH", "the server has no authority for the zone, or wasn't asked with the right key"},
	10: {"NOTZONE", "the name isn't in the zone"},
	11: {"DSOTYPENI", "the server doesn't know the stateful operation"},
	16: {"BADVERS", "the server doesn't know the version of EDNS"},
	17: {"BADKEY", "the server doesn't know the key"},
	18: {"BADTIME", "the signature is out of its time"},
	19: {"BADMODE", "the server doesn't know the mode of TKEY"},
	20: {"BADNAME", "the name of the key exists already"},
	21: {"BADALG", "the server doesn't know the algorithm"},
	22: {"BADTRUNC", "the signature is too short"},
	23: {"BADCOOKIE", "the cookie is missing or wrong"},
}

func appendRcode(dst []byte, rcode uint16) []byte {
	if int(rcode) < len(rcodes) && rcodes[rcode].name != "" {
		return append(dst, rcodes[rcode].name...)
	}
	return strconv.AppendUint(append(dst, "RCODE"...), uint64(rcode), 10)
}

func meaning(rcode uint16) string {
	if int(rcode) < len(rcodes) {
		return rcodes[rcode].meaning
	}
	return ""
}

// extended are the reasons of errors that servers give beside the code (RFC 8914 §4, and IANA's registry).
var extended = [...]string{
	"other", "unsupported DNSKEY algorithm", "unsupported DS digest type", "stale answer", "forged answer", "DNSSEC indeterminate",
	"DNSSEC bogus", "signature expired", "signature not yet valid", "DNSKEY missing", "RRSIGs missing", "no zone key bit set",
	"NSEC missing", "cached error", "not ready", "blocked", "censored", "filtered", "prohibited", "stale NXDOMAIN answer",
	"not authoritative", "not supported", "no reachable authority", "network error", "invalid data", "signature expired before valid",
	"too early", "unsupported NSEC3 iterations value", "unable to conform to policy", "synthesized",
}

// flag is a bit of the header, by its name.
type flag struct {
	bit  uint16
	name string
}

// flags are those of DNS (RFC 1035 §4.1.1, RFC 4035 §3), linkLocal those of LLMNR (RFC 4795 §2.1.1).
var (
	flags     = [...]flag{{flagAA, "AA"}, {flagTC, "TC"}, {flagRD, "RD"}, {flagRA, "RA"}, {flagAD, "AD"}, {flagCD, "CD"}}
	linkLocal = [...]flag{{flagAA, "C"}, {flagTC, "TC"}, {flagRD, "T"}}
)

const (
	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagRA = 1 << 7
	flagZ  = 1 << 6
	flagAD = 1 << 5
	flagCD = 1 << 4
)
