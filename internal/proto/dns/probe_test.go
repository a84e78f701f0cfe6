package dns

import (
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

func TestProbe(t *testing.T) {
	q, r := framed(ask(1, "www.example A")), framed(answer(1, 0, "www.example A", a("@", "192.0.2.1")))
	long := ask(1, "www.example A", opt(1232, 0, "\x00\x0c\x08\x00"+string(make([]byte, 2048))))
	for _, c := range []struct {
		name, in string
		match    proto.Match
		role     proto.Role
	}{
		{"nothing", "", proto.NeedMore, proto.AnyRole},
		{"a question", q, proto.Yes, proto.Client},
		{"an answer", r, proto.Yes, proto.Server},
		{"two questions", q + q, proto.Yes, proto.Client},
		{"a padded question, of which the beginning is there", framed(long)[:1024], proto.Yes, proto.Client},
		{"an answer, of which the beginning is there", framed(answer(1, 0, "www.example A", make([]rr, 500)...))[:1024], proto.Yes, proto.Server},
		{"HTTP", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", proto.No, proto.AnyRole},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefghijklmnopqrstuvwxyz", proto.No, proto.AnyRole},
		{"MySQL", "\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00abcdefgh", proto.No, proto.AnyRole},
		{"PostgreSQL", "\x00\x00\x00\x08\x04\xd2\x16\x2f", proto.No, proto.AnyRole},
		{"PostgreSQL's startup", "\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00", proto.No, proto.AnyRole},
		{"SMB", "\x00\x00\x00\x54\xffSMBr\x00\x00\x00\x00\x18\x53\xc8", proto.No, proto.AnyRole},
		{"FastCGI", "\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00", proto.No, proto.AnyRole},
		{"MongoDB", "\x3a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xd4\x07\x00\x00", proto.No, proto.AnyRole},
		{"zeros", string(make([]byte, 100)), proto.No, proto.AnyRole},
		{"a type that isn't asked for", framed(ask(1, "www.example OPT")), proto.No, proto.AnyRole},
		{"the beginning of a question that is longer than any", "\x40\x00" + ask(1, "www.example A"), proto.No, proto.AnyRole},
		{"a label that isn't one", framed(u16(1) + u16(flagRD) + "\x00\x01\x00\x00\x00\x00\x00\x00\x7fwww" + string(make([]byte, 50)))[:20], proto.No, proto.AnyRole},
	} {
		if match, role := Probe([]byte(c.in)); match != c.match || match == proto.Yes && role != c.role {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, match, role, c.match, c.role)
		}
	}
	for n := range len(q) { // each beginning is not enough until the question is there
		if match, _ := Probe([]byte(q[:n])); match != proto.NeedMore && n < len(q) {
			t.Errorf("the first %d bytes of a question: %v", n, match)
		}
	}
	for b, want := range map[string]proto.Match{q: proto.Yes, q[:len(q)-1]: proto.No, q + q: proto.Yes, "x" + q: proto.No, framed(ask(1, "www.example A") + "x"): proto.No} {
		if match, _ := Resume([]byte(b)); match != want {
			t.Errorf("Resume(%q): %v, want %v", b, match, want)
		}
	}
}

func TestProbeDatagram(t *testing.T) {
	query, reply := ask(1, "www.example A"), answer(1, 0, "www.example A", a("@", "192.0.2.1"))
	netbios := wire{id: 1, flags: flagRD, questions: []string{"ABCD NULL"}}.bytes()
	snmp := "0@\x02\x01\x030\x0f\x02\x03\x00\x91\xc8\x02\x02\x05\xdc\x04\x01\x04\x02\x01\x03\x04\x150\x13"
	browse := wire{questions: []string{"_ipp._tcp.local PTR", "_http._tcp.local PTR"}}.bytes()
	for _, c := range []struct {
		name, in string
		src, dst uint16
		want     string
		role     proto.Role
	}{
		{"a question", query, 40000, 53, "dns", proto.Client},
		{"an answer", reply, 53, 40000, "dns", proto.Server},
		{"a question to another port", query, 40000, 1053, "dns", proto.Client},
		{"an answer from another port", reply, 1053, 40000, "dns", proto.Server},
		{"a question with more behind it, to another port", query + "x", 40000, 1053, "", 0},
		{"a question with more behind it", query + "x", 40000, 53, "dns", proto.Client},
		{"a question that is captured in part", query[:20], 40000, 53, "dns", proto.Client},
		{"SNMP that was sent to the port of DNS", snmp, 40000, 53, "", 0},
		{"a question with an error", u16(1) + u16(flagRD|1) + query[4:], 40000, 53, "", 0},
		{"five bytes", "hello", 40000, 53, "", 0},
		{"NetBIOS", netbios, 137, 137, "", 0},
		{"mDNS", browse, 5353, 5353, "mdns", proto.Client},
		{"mDNS, asked from another port", browse, 40000, 5353, "mdns", proto.Client},
		{"a resolver that asks from the port of mDNS", query, 5353, 53, "dns", proto.Client},
		{"LLMNR", query, 40000, 5355, "llmnr", proto.Client},
		{"an answer of LLMNR", reply, 5355, 40000, "llmnr", proto.Server},
		{"an error without a question", wire{id: 1, flags: flagQR | 1}.bytes(), 53, 40000, "dns", proto.Server},
		{"QUIC", "\xc3\x00\x00\x00\x01\x08abcdefgh\x00\x00\x44\xd0" + string(make([]byte, 200)), 40000, 53, "", 0},
	} {
		got, role := "", proto.Role(0)
		for _, p := range []*proto.Protocol{&DNS, &MDNS, &LLMNR} {
			if match, r := p.ProbeDatagram([]byte(c.in), c.src, c.dst); match == proto.Yes {
				got, role = got+p.Name, r
			}
		}
		if got != c.want || role != c.role {
			t.Errorf("%s: %q, %v; want %q, %v", c.name, got, role, c.want, c.role)
		}
	}
}
