package pcapfilter

import (
	"bufio"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
)

// lines returns the lines of a file in testdata, without comments and empty ones.
func lines(t testing.TB, name string) (list []string) {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if line := s.Text(); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	return list
}

func mustParse(t testing.TB, expr string) *Filter {
	t.Helper()
	f, err := Parse(expr)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRefusedWithPosition(t *testing.T) {
	for _, line := range lines(t, "refused.txt") {
		part := strings.Split(line, "\t")
		pos, _ := strconv.Atoi(part[1])
		_, err := Parse(part[0])
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%q: error %v, want a SyntaxError with %q", part[0], err, part[2])
			continue
		}
		if syntax.Pos != pos || !strings.Contains(syntax.Message, part[2]) {
			t.Errorf("%q: at %d %q, want at %d %q", part[0], syntax.Pos, syntax.Message, pos, part[2])
		}
	}
}

func TestErrorShowsPlace(t *testing.T) {
	long := strings.Repeat("port 1 or ", 20)
	for _, test := range []struct{ expr, want string }{
		{"tcp prot 80", "expected \"and\" or \"or\", not \"prot\" (did you mean \"port\"?)\n  tcp prot 80\n      ^"},
		{"port “80”", "this character has no meaning here\n  port “80”\n       ^"},
		{"\x1b[31m", "this character has no meaning here\n  \uFFFD[31m\n  ^"},
		{long + "host x" + strings.Repeat(" or port 1", 20), "\"x\" is a name, and names aren't looked up: give the address\n" +
			"  ..." + (long + "host ")[145:] + "x" + strings.Repeat(" or port 1", 6)[:59] + "...\n" + strings.Repeat(" ", 65) + "^"},
	} {
		_, err := Parse(test.expr)
		if err == nil || err.Error() != test.want {
			t.Errorf("%q:\n%v\nwant\n%s", test.expr, err, test.want)
		}
	}
}

func TestString(t *testing.T) {
	for _, test := range []struct{ expr, want string }{
		{"", ""},
		{" \t\n", ""},
		{"tcp dst port 80 or 443", "tcp dst port 80 or tcp dst port 443"},
		{"port (80 or not 443)", "port 80 or not port 443"},
		{"not port (80 or 443)", "not (port 80 or port 443)"},
		{"tcp and (udp or (icmp))", "tcp and (udp or icmp)"},
		{"(tcp or udp) and icmp", "tcp or udp and icmp"},
		{"src or dst net 10.1", "net 10.1.0.0/16"},
		{"net 10.0.1.0 mask 255.0.255.0", "net 10.0.1.0 mask 255.0.255.0"},
		{"net 2001:DB8::/32 and host 2001:db8::1", "net 2001:db8::/32 and host 2001:db8::1"},
		{"ether src 0:1:2:3:4:5", "ether src host 00:01:02:03:04:05"},
		{"portrange 90-http or http", "portrange 80-90 or port 80"},
		{"link multicast or ip multicast", "multicast or ip multicast"},
		{"vlan (5) and less 0x10", "vlan 5 and less 16"},
		{"tcp[tcpflags]&(tcp-syn|tcp-ack)==tcp-syn", "tcp[13] & 18 = 2"},
		{"(len+1)*(len+(2*len)) > -(len%(3+len))", "(len + 1) * (len + 2 * len) > -(len % (3 + len))"},
		{"ip[(len ^ 1):2] - (ip[1] - 1) < 1 << 4", "ip[len ^ 1:2] - (ip[1] - 1) < 16"},
	} {
		f, err := Parse(test.expr)
		if err != nil {
			t.Errorf("%q: %v", test.expr, err)
		} else if got := f.String(); strings.ReplaceAll(got, "==", "=") != test.want {
			t.Errorf("%q: %q, want %q", test.expr, got, test.want)
		}
	}
}

func TestPortNamesAreNumbers(t *testing.T) {
	for name, n := range portNames {
		if got, want := mustParse(t, "port "+name).String(), "port "+strconv.Itoa(int(n)); got != want {
			t.Errorf("port %s: %q, want %q", name, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("(", n) + "tcp" + strings.Repeat(")", n) }
	bytes := func(n int) string { return strings.Repeat("ip[", n) + "0" + strings.Repeat("]", n) + " = 0" }
	for _, test := range []struct{ name, expr, want string }{
		{"length", strings.Repeat(" ", MaxLength), ""},
		{"length", strings.Repeat(" ", MaxLength+1), "longer than 65536 bytes"},
		{"parentheses", deep(MaxDepth), ""},
		{"parentheses", deep(MaxDepth + 1), "more than 100 levels"},
		{"not", strings.Repeat("not ", MaxDepth+1) + "tcp", "more than 100 levels"},
		{"brackets", bytes(MaxDepth - 1), ""},
		{"brackets", bytes(MaxDepth), "more than 100 levels"},
		{"minus", strings.Repeat("- ", MaxDepth) + "1 = 1", "more than 100 levels"},
		{"many", "port 1" + strings.Repeat(" or 1", MaxLength/5-2), ""},
	} {
		_, err := Parse(test.expr)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func TestOneDirection(t *testing.T) {
	for _, test := range []struct {
		expr string
		want bool
	}{
		{"", false},
		{"tcp", false},
		{"port 80", false},
		{"host 10.1.2.3 and port 80", false},
		{"dst port 80", true},
		{"src host 10.1.2.3", true},
		{"ether src 00:11:22:33:44:55", true},
		{"tcp and dst portrange 80-90", true},
		{"dst port 80 or 443", true},
		{"src host 10.1.2.3 or 10.1.2.4", true},
		{"dst port 80 or src port 80", false},
		{"dst port 80 or src port 443", true}, // requests to one, answers of the other
		{"dst portrange 80-90 or src port 85", false},
		{"src host 10.1.2.3 or dst host 10.1.2.3", false},
		{"src net 10.1 or dst host 10.1.2.3", false},
		{"src host 10.1.2.3 or dst host 10.1.2.4", true},
		{"src host 10.1.2.3 or dst host 2001:db8::1", true},
		{"src host 10.1.2.3 and dst host 10.1.2.4", true},
		{"(src host 10.1.2.3 and dst port 80) or (dst host 10.1.2.3 and src port 80)", false},
		{"src host 10.1.2.3 and dst port 80 or dst host 10.1.2.4 and src port 80", true}, // "and" doesn't bind tighter
		{"src host 10.1.2.3 and dst port 80 or src port 80", false},
		{"src net 10.1 and dst net 192.168 or (src net 192.168 and dst net 10.1)", false},
		{"src and dst port 80", false},
		{"not src host 10.1.2.3", false},
		{"not (not dst port 80)", true},
		{"not (not dst port 80 and not src port 80)", false},
		{"dst port 80 or arp", false},
		{"dst port 80 and arp", true},
		{"inbound", true},
		{"inbound or outbound", false},
		{"inbound and port 80", true},
		{strings.Repeat("(src port 1 or src port 2) and ", 10) + "tcp", false}, // too many to judge
	} {
		why, ok := mustParse(t, test.expr).OneDirection()
		if ok != test.want || ok != (why != "") {
			t.Errorf("%q: %v %q, want %v", test.expr, ok, why, test.want)
		}
	}
	why, _ := mustParse(t, "tcp and dst port 80").OneDirection()
	if want := `"dst port 80" passes one direction of a connection; without "dst" it passes both`; why != want {
		t.Errorf("%q, want %q", why, want)
	}
}
