package enrich

import (
	"net/netip"
	"strings"
	"testing"
)

func TestServices(t *testing.T) {
	s, err := newServices(map[string][]string{
		"checkout": {"10.0.0.0/24:8080", "10.1.0.7", "[2001:db8::]/64:443", ":9000"},
		"payments": {"10.0.0.0/24:9090-9099", "10.0.0.0/24:9095", "2001:db8:1::/48"},
		"office":   {"10.0.0.0/8"},
		"metrics":  {"10.1.0.7:9100", "[2001:db8::5]:9100", "::ffff:192.0.2.1"},
		"special":  {"10.0.0.0/24:9097", "10.0.0.9:8080", "10.0.0.9:8081"},
		"twice":    {"192.0.2.9:80", "192.0.2.9:80"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		end            string
		server, client string
	}{
		{"10.0.0.7:8080", "checkout", ""}, // one of several services there
		{"10.0.0.7:9090", "payments", ""},
		{"10.0.0.7:9095", "payments", ""},
		{"10.0.0.7:9097", "special", ""}, // the fewest ports
		{"10.0.0.7:22", "office", ""},    // of the wider network
		{"10.0.0.9:8080", "special", "special"},
		{"10.0.0.9:9090", "payments", "special"},
		{"10.1.0.7:8080", "checkout", "checkout"}, // the machine's own
		{"10.1.0.7:9100", "metrics", "checkout"},
		{"10.2.0.1:80", "office", "office"},
		{"10.2.0.1:9000", "office", "office"}, // an address says more than a port
		{"172.16.0.1:9000", "checkout", ""},
		{"172.16.0.1:9001", "", ""},
		{"[2001:db8::7]:443", "checkout", "checkout"},
		{"[2001:db8::7]:80", "", "checkout"},
		{"[2001:db8::5]:9100", "metrics", "metrics"},
		{"[2001:db8::5]:443", "checkout", "metrics"},
		{"[2001:db8:1:2::7]:1", "payments", "payments"},
		{"192.0.2.1:5", "metrics", "metrics"},
		{"192.0.2.9:80", "twice", "twice"},
		{"[::a00:7]:8080", "", ""}, // no IPv4 address
	} {
		a := netip.MustParseAddrPort(c.end)
		n := s.network(a.Addr())
		if got := s.server(n, a.Port()); got != c.server {
			t.Errorf("%s as server: got %q, want %q", c.end, got, c.server)
		}
		if got := n.clientService(); got != c.client {
			t.Errorf("%s as client: got %q, want %q", c.end, got, c.client)
		}
	}
}

func TestServiceErrors(t *testing.T) {
	for _, c := range []struct{ entry, says string }{
		{"", "is no address"},
		{"web1", `"web1" is no address: it must be an address such as`},
		{"web1:80", "is no address"},
		{"10.0.0.0/33", "is no network"},
		{"10.0.0.7/24", "write 10.0.0.0/24"},
		{"10.0.0.7:", "is no port"},
		{"10.0.0.7:0", "is no port"},
		{"10.0.0.7:65536", "is no port"},
		{"10.0.0.7:http", "is no port"},
		{":9000-8000", "is no port"},
		{":-", "is no port"},
		{"2001:db8::7:443x", "is no address"},
		{"[2001:db8::7:443", "] is missing"},
		{"[2001:db8::7]443", "behind the ]"},
		{"[2001:db8::7]/64x:443", "is no network"},
		{"[2001:db8::7%eth0]:443", "zones"},
		{"::ffff:10.0.0.0/90", "write IPv4 networks as such"},
		{"10.9.0.1:80", "service before has it too"},
	} {
		_, err := newServices(map[string][]string{"before": {"10.9.0.1:80"}, "shop": {"10.0.0.1", c.entry}})
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "services: shop: entry \""+c.entry+"\"") {
			t.Errorf("%q: got %v, want an error that says %q", c.entry, err, c.says)
		}
	}
	if _, err := newServices(map[string][]string{"": {"10.0.0.1"}}); err == nil || !strings.Contains(err.Error(), "no name") {
		t.Error(err)
	}
	if _, err := newServices(map[string][]string{"x": make([]string, MaxServiceEntries+1)}); err == nil || !strings.Contains(err.Error(), "more than 10000") {
		t.Error(err)
	}
}

// Whatever an entry is: it is refused, or the address and port in it are found.
func FuzzService(f *testing.F) {
	for _, s := range []string{"10.0.0.0/24:8080", "[2001:db8::]/64:443", ":9000-9001", "::1", "10.0.0.1:1-2", "[::]/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		s, err := newServices(map[string][]string{"x": {entry}})
		if err != nil {
			return
		}
		prefix, p, _ := parseService(entry)
		a := prefix.Addr()
		if !prefix.IsValid() {
			a = netip.MustParseAddr("10.0.0.1")
		}
		if got := s.server(s.network(a), p.last); got != "x" {
			t.Errorf("%q: at %s port %d: %q", entry, a, p.last, got)
		}
	})
}
