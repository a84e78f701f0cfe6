package memcached

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

// header makes the beginning of a header of the binary protocol.
func header(magic, opcode byte, key, extras, status, body int) string {
	return string([]byte{magic, opcode, byte(key >> 8), byte(key), byte(extras), 0, byte(status >> 8), byte(status), 0, 0, byte(body >> 8), byte(body)}) + "\x00\x00\x00\x01" + strings.Repeat("\x00", 8)
}

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		bytes         string
		probe, resume proto.Match
		role          proto.Role
	}{
		{"get a\r\n", proto.Yes, proto.Yes, proto.Client},
		{"gets a b\r\n", proto.Yes, proto.Yes, proto.Client},
		{"set a 0 0 1\r\nx", proto.Yes, proto.Yes, proto.Client},
		{"set a 0 -1 1 noreply\r\n", proto.Yes, proto.Yes, proto.Client},
		{"incr n 1\r\n", proto.Yes, proto.Yes, proto.Client},
		{"delete n noreply\r\n", proto.Yes, proto.Yes, proto.Client},
		{"mg foo v t Oabc\r\n", proto.Yes, proto.Yes, proto.Client},
		{"ms foo S3 T0\r\n", proto.Yes, proto.Yes, proto.Client},
		{"get a\n", proto.Yes, proto.No, proto.Client},
		{"mn\r\n", proto.Yes, proto.No, proto.Client},
		{"stats\r\n", proto.NeedMore, proto.No, proto.Client},
		{"version\r\n", proto.NeedMore, proto.No, proto.Client},
		{"version\r\nget a\r\n", proto.Yes, proto.No, proto.Client},
		{"delete a\r\ndelete b noreply\r\n", proto.Yes, proto.No, proto.Client},
		{"delete a\r\n", proto.NeedMore, proto.No, proto.Client},
		{"touch a 10\r\n", proto.NeedMore, proto.No, proto.Client},
		{"config get cluster\r\n", proto.NeedMore, proto.No, proto.Client},
		{"VALUE a 0 1\r\nx\r\n", proto.Yes, proto.Yes, proto.Server},
		{"STORED\r\n", proto.Yes, proto.Yes, proto.Server},
		{"STAT pid 1\r\n", proto.Yes, proto.No, proto.Server},
		{"SERVER_ERROR out of memory\r\n", proto.Yes, proto.Yes, proto.Server},
		{"get " + strings.Repeat("k ", 600), proto.Yes, proto.No, proto.Client},
		{header(0x80, 0x01, 1, 8, 0, 10), proto.Yes, proto.Yes, proto.Client},
		{header(0x80, 0x0a, 0, 0, 0, 0), proto.Yes, proto.Yes, proto.Client},
		{header(0x81, 0x00, 0, 4, 0, 10), proto.Yes, proto.Yes, proto.Server},

		{"", proto.NeedMore, proto.No, proto.AnyRole},
		{"ge", proto.NeedMore, proto.No, proto.Client},
		{"get a", proto.NeedMore, proto.No, proto.Client},
		{"version\r", proto.NeedMore, proto.No, proto.Client},
		{"\x80", proto.NeedMore, proto.No, proto.Client},
		{header(0x80, 0x01, 1, 8, 0, 10)[:20], proto.NeedMore, proto.No, proto.Client},

		// HTTP, Redis (inline, and its answers), SMTP, POP3, IRC, SSH, TLS, SSLv2.
		{"GET / HTTP/1.1\r\n", proto.No, proto.No, proto.AnyRole},
		{"get / HTTP/1.0\r\n", proto.No, proto.No, proto.AnyRole},
		{"get a\nb", proto.No, proto.No, proto.AnyRole},
		{"set a b\n", proto.No, proto.No, proto.AnyRole},
		{"set a b\r\n", proto.No, proto.No, proto.AnyRole},
		{"incr n\r\n", proto.No, proto.No, proto.AnyRole},
		{"touch a b\r\n", proto.No, proto.No, proto.AnyRole},
		{"delete from t where x\r\n", proto.No, proto.No, proto.AnyRole},
		{"delete 12\r\nreserve\r\n", proto.No, proto.No, proto.AnyRole},
		{"DELETED\r\n", proto.No, proto.No, proto.AnyRole},
		{"TOUCHED\r\n", proto.No, proto.No, proto.AnyRole},
		{"NOT_FOUND\r\n", proto.No, proto.No, proto.AnyRole},
		{"ping\r\n", proto.No, proto.No, proto.AnyRole},
		{"quit\r\n", proto.No, proto.No, proto.AnyRole},
		{"*1\r\n$4\r\nPING\r\n", proto.No, proto.No, proto.AnyRole},
		{"OK\r\n", proto.No, proto.No, proto.AnyRole},
		{"END\r\n", proto.No, proto.No, proto.AnyRole},
		{"VALUE of things\r\n", proto.No, proto.No, proto.AnyRole},
		{"220 mail ESMTP\r\n", proto.No, proto.No, proto.AnyRole},
		{"+OK ready\r\n", proto.No, proto.No, proto.AnyRole},
		{"NICK x\r\n", proto.No, proto.No, proto.AnyRole},
		{"SSH-2.0-x\r\n", proto.No, proto.No, proto.AnyRole},
		{"\x16\x03\x01\x02\x00\x01", proto.No, proto.No, proto.AnyRole},
		{"\x80\x2e\x01\x03\x00\x00\x15\x00\x00\x00\x10\x00\x00\x04\x00\x00\x05\x00\x00\x0a\x01\x00\x80\x07\x00\xc0", proto.No, proto.No, proto.AnyRole},
		{header(0x80, 0x01, 1, 0, 0, 10), proto.No, proto.No, proto.AnyRole},
		{header(0x80, 0x01, 9, 8, 0, 10), proto.No, proto.No, proto.AnyRole},
		{header(0x80, 0x99, 0, 0, 0, 0), proto.No, proto.No, proto.AnyRole},
		{header(0x81, 0x00, 0, 4, 0x77, 10), proto.No, proto.No, proto.AnyRole},
	} {
		match, role := Probe([]byte(c.bytes))
		if match != c.probe || match != proto.No && role != c.role {
			t.Errorf("Probe(%.40q) = %d, %d", c.bytes, match, role)
		}
		match, role = Resume([]byte(c.bytes))
		if match != c.resume || match == proto.Yes && role != c.role {
			t.Errorf("Resume(%.40q) = %d, %d", c.bytes, match, role)
		}
		if c.probe == proto.Yes {
			// Each beginning of it is undecided, or decided alike.
			for n := range len(c.bytes) {
				if match, _ := Probe([]byte(c.bytes[:n])); match == proto.No && c.role == proto.Client {
					t.Errorf("Probe(%.40q) refuses the beginning of %.40q", c.bytes[:n], c.bytes)
				}
			}
		}
	}
}

func TestProbeBoth(t *testing.T) {
	for _, c := range []struct {
		asked, answered string
		want            proto.Match
	}{
		{"version\r\n", "", proto.Yes},
		{"version\r\n", "VERSION 1.6.9\r\n", proto.Yes},
		{"version\n", "VERS", proto.NeedMore},
		{"stats\r\nversion\r\n", "STAT pid 1\r\nSTAT", proto.Yes},
		{"stats reset\r\n", "RESET\r\n", proto.Yes},
		{"stats items\r\n", "END\r\n", proto.Yes},
		{"delete a\r\n", "DELETED\r\n", proto.Yes},
		{"delete a\r\n", "NOT_FOUND\r\n", proto.Yes},
		{"touch a 10\r\n", "TOUCHED\r\n", proto.Yes},
		{"incr a 10\r\n", "11\r\n", proto.Yes},
		{"stats\r\n", "CLIENT_ERROR unauthenticated\r\n", proto.Yes},
		{"config get cluster\r\n", "CONFIG cluster 0 20\r\n1\n", proto.Yes},

		{"stats\r\n", "OK 10\r\n---\n", proto.No}, // beanstalkd
		{"stats\n", "Zookeeper version: 3\n", proto.No},
		{"version\n", "OK 1.1\r\n", proto.No}, // gearman
		{"version\r\n", "DELETED\r\n", proto.No},
		{"version\r\n", "200 x\r\n", proto.No},
		{"config get maxmemory\r\n", "*2\r\n", proto.No}, // Redis
		{"delete a\r\n", "12\r\n", proto.No},

		{"delete 12\r\n", "DELETED\r\n", proto.NeedMore}, // beanstalkd, or not
		{"delete 12\r\n", "", proto.Yes},
		{"version\r\n", "ERROR\r\n", proto.NeedMore},
		{"touch 12\r\n", "TOUCHED\r\n", proto.NeedMore},
		{"touch 12\r\n", "", proto.NeedMore},
		{"vers", "VERSION 1\r\n", proto.NeedMore},
		{"quit\r\n", "", proto.NeedMore},
	} {
		if got := ProbeBoth([]byte(c.asked), []byte(c.answered)); got != c.want {
			t.Errorf("ProbeBoth(%q, %q) = %d, want %d", c.asked, c.answered, got, c.want)
		}
	}
}

func TestProbeDatagram(t *testing.T) {
	for _, c := range []struct {
		bytes string
		match proto.Match
		role  proto.Role
	}{
		{"\x00\x01\x00\x00\x00\x01\x00\x71delete a\r\n", proto.Yes, proto.Client},
		{"\x00\x01\x00\x00\x00\x01\x00\x71NOT_FOUND\r\n", proto.Yes, proto.Server},
		{"\x00\x01\x00\x00\x00\x01\x00\x71get a\r\n", proto.Yes, proto.Client},
		{"\x00\x01\x00\x00\x00\x01\x03\x00" + header(0x80, 0x11, 3, 8, 0, 14), proto.Yes, proto.Client},
		{"\x00\x01\x00\x00\x00\x02\x00\x00VALUE a 0 2000\r\n", proto.Yes, proto.Server},
		{"\x00\x01\x00\x00\x00\x02\x00\x00get a\r\n", proto.No, proto.AnyRole},
		{"\x00\x01\x00\x01\x00\x01\x00\x00get a\r\n", proto.No, proto.AnyRole},
		{"\x00\x01\x00\x00\x00\x01\x00\x00hello\r\n", proto.No, proto.AnyRole},
		{"\x00\x01\x00\x00\x00\x01\x00\x00", proto.No, proto.AnyRole},
		{"", proto.No, proto.AnyRole},
	} {
		if match, role := ProbeDatagram([]byte(c.bytes), 11211, 11211); match != c.match || role != c.role {
			t.Errorf("ProbeDatagram(%q) = %d, %d", c.bytes, match, role)
		}
	}
}
