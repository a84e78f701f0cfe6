package pcapfilter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/culprit-http/culprit/internal/capture"
)

// The oracle is libpcap, by way of "tcpdump -ddd", which prints the program that it compiles. It is
// asked not to optimise: the optimiser drops loads whose result isn't needed, and with them the effect
// of a packet that is too short.

// tcpdumpLinks are the link types that tcpdump knows too. 12 and 14 are raw
// IP as 101 is.
var tcpdumpLinks = []capture.LinkType{1, 0, 101, 108, 113, 228, 229, 276}

// tcpdump compiles expressions.
type tcpdump struct {
	path, dir string
	live      string // the interface to compile for too, if any
}

// newTcpdump skips the test if there is no tcpdump.
func newTcpdump(t *testing.T) *tcpdump {
	path, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("tcpdump isn't installed: the filters aren't compared with libpcap's")
	}
	d := &tcpdump{path: path, dir: t.TempDir()}
	for _, link := range tcpdumpLinks {
		// An empty capture file tells tcpdump the link type.
		header := make([]byte, 24)
		binary.LittleEndian.PutUint32(header, 0xa1b2c3d4)
		binary.LittleEndian.PutUint16(header[4:], 2)
		binary.LittleEndian.PutUint16(header[6:], 4)
		binary.LittleEndian.PutUint32(header[16:], DefaultSnapLen)
		binary.LittleEndian.PutUint32(header[20:], uint32(link))
		if err := os.WriteFile(d.file(link), header, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (d *tcpdump) file(link capture.LinkType) string {
	return filepath.Join(d.dir, fmt.Sprint(link, ".pcap"))
}

// compile returns libpcap's program for packets of files, or its error.
func (d *tcpdump) compile(link capture.LinkType, expr string) ([]bpf.RawInstruction, error) {
	return d.program("-r", d.file(link), "--", expr)
}

// program returns the program that tcpdump makes.
func (d *tcpdump) program(args ...string) ([]bpf.RawInstruction, error) {
	cmd := exec.Command(d.path, append([]string{"-ddd", "-O"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("tcpdump: %v: %s", err, stderr.Bytes())
	}
	rows := strings.Fields(string(out))
	if len(rows) == 0 {
		return nil, fmt.Errorf("tcpdump printed nothing")
	}
	var code []bpf.RawInstruction
	for row := range slices.Chunk(rows[1:], 4) {
		var n [4]uint64
		for i := range row {
			if n[i], err = strconv.ParseUint(row[i], 10, 32); err != nil {
				return nil, err
			}
		}
		code = append(code, bpf.RawInstruction{Op: uint16(n[0]), Jt: uint8(n[1]), Jf: uint8(n[2]), K: uint32(n[3])})
	}
	return code, nil
}

// pair is one expression compiled by both.
type pair struct {
	link         capture.LinkType
	expr         string
	theirs, ours []bpf.RawInstruction
	theirLive    []bpf.RawInstruction
	err, ourErr  error
}

// compileAll compiles by both, as many at once as there are processors.
func (d *tcpdump) compileAll(pairs []*pair) {
	work := make(chan *pair)
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			for p := range work {
				p.theirs, p.err = d.compile(p.link, p.expr)
				p.ours, p.ourErr = compileRaw(p.link, p.expr)
				if d.live != "" {
					p.theirLive, p.err = d.program("-i", d.live, "--", p.expr)
				}
			}
		})
	}
	for _, p := range pairs {
		work <- p
	}
	close(work)
	wg.Wait()
}

func compileRaw(link capture.LinkType, expr string) ([]bpf.RawInstruction, error) {
	return compileWith(link, expr, Options{})
}

func compileWith(link capture.LinkType, expr string, o Options) ([]bpf.RawInstruction, error) {
	f, err := Parse(expr)
	if err != nil {
		return nil, err
	}
	program, err := f.Compile(link, o)
	if err != nil {
		return nil, err
	}
	return bpf.Assemble(program)
}

// compare checks that both refuse the expression, or that both programs give the same verdicts. It
// returns how many packets pass.
func (p *pair) compare(t *testing.T, packets []sample) (passed int) {
	t.Helper()
	if p.err != nil && p.ourErr == nil && strings.Contains(p.err.Error(), "no VLAN support for Linux cooked") {
		return 0 // here there is
	}
	if (p.err != nil) != (p.ourErr != nil) {
		t.Errorf("link %d: %q: tcpdump says %v, we %v", p.link, p.expr, p.err, p.ourErr)
	}
	if p.err != nil || p.ourErr != nil {
		return 0
	}
	if err := kernelCheck(p.ours); err != nil {
		t.Errorf("link %d: %q: %v", p.link, p.expr, err)
	}
	for _, s := range packets {
		want, got := run(p.theirs, s.data, uint32(s.wire)), run(p.ours, s.data, uint32(s.wire))
		if want != got {
			t.Errorf("link %d: %q: tcpdump's program gives %d, ours %d, for %x", p.link, p.expr, want, got, s.data)
			return 0
		}
		if got != 0 {
			passed++
		}
	}
	return passed
}

func TestTableSameAsTcpdump(t *testing.T) {
	d := newTcpdump(t)
	var pairs []*pair
	for i, link := range tcpdumpLinks {
		for j, expr := range lines(t, "expressions.txt") {
			if link != 1 && (i+j)%2 != 0 {
				continue // half of them are enough, and halve the time
			}
			pairs = append(pairs, &pair{link: link, expr: expr})
		}
	}
	d.compileAll(pairs)
	packets := map[capture.LinkType][]sample{}
	for _, link := range tcpdumpLinks {
		packets[link] = samples(link, 600)
	}
	telling, ethernet := 0, 0
	for _, p := range pairs {
		passed := p.compare(t, packets[p.link])
		if p.link == 1 && p.err == nil {
			ethernet++
			if 0 < passed && passed < len(packets[p.link]) {
				telling++
			}
		}
	}
	// The comparison is worth something only if the packets tell expressions apart.
	if telling*100 < ethernet*85 {
		t.Errorf("%d of %d expressions pass some Ethernet packets and reject others, want 85%%", telling, ethernet)
	}
	t.Logf("%d programs compared; on Ethernet %d of %d pass some packets and reject others", len(pairs), telling, ethernet)
}

func TestRandomSameAsTcpdump(t *testing.T) {
	d := newTcpdump(t)
	g := generator{rand.New(rand.NewPCG(1, 2))}
	var pairs []*pair
	for i := range 600 {
		link := capture.LinkType(1)
		if i%3 == 0 {
			link = pick(g, tcpdumpLinks...)
		}
		pairs = append(pairs, &pair{link: link, expr: g.expression(link, 3)})
	}
	d.compileAll(pairs)
	accepted := 0
	for _, p := range pairs {
		if p.ourErr != nil && strings.Contains(p.ourErr.Error(), "beyond any packet") {
			continue // such as ip[-1], which is refused on purpose
		}
		p.compare(t, samples(p.link, 300))
		if p.err == nil {
			accepted++
		}
	}
	if accepted*10 < len(pairs)*7 {
		t.Errorf("tcpdump accepts %d of %d generated expressions, want 70%%", accepted, len(pairs))
	}
	t.Logf("%d of %d generated expressions accepted by both", accepted, len(pairs))
}

// expression makes an expression of the grammar.
func (g generator) expression(link capture.LinkType, depth int) string {
	if depth == 0 || g.IntN(4) == 0 {
		return g.term(link)
	}
	switch g.IntN(5) {
	case 0:
		return pick(g, "not ", "! ") + g.operand(link, depth-1)
	case 1:
		return "(" + g.expression(link, depth-1) + ")"
	}
	b := g.operand(link, depth-1)
	for range 1 + g.IntN(2) {
		b += pick(g, " and ", " or ", " && ", " || ") + g.operand(link, depth-1)
	}
	return b
}

func (g generator) operand(link capture.LinkType, depth int) string {
	if depth > 0 && g.IntN(2) == 0 {
		return "(" + g.expression(link, depth-1) + ")"
	}
	return g.term(link)
}

func (g generator) term(link capture.LinkType) string {
	side := pick(g, "", "", "src ", "dst ", "src or dst ", "src and dst ")
	value := func(list ...string) string {
		switch first := pick(g, list...); g.IntN(4) {
		case 0:
			return first + pick(g, " or ", " and ") + pick(g, "", "not ") + pick(g, list...)
		case 1:
			return "(" + first + " or " + pick(g, list...) + ")"
		default:
			return first
		}
	}
	port := func() string { return value("80", "443", "8000", "53", "0x50") }
	host := func() string { return value("10.1.2.3", "10.1.2.4", "192.168.1.1", "224.0.0.1", "10.1", "8.8.8.8") }
	host6 := func() string { return value("2001:db8::1", "fe80::1", "ff02::1", "2001:db8:1::5", "::") }
	switch g.IntN(14) {
	case 0, 1:
		return pick(g, "", "tcp ", "udp ", "sctp ") + side + "port " + port()
	case 2:
		return pick(g, "", "tcp ", "udp ") + side + "portrange " + value("80-443", "8000-8080", "0-1023", "443-53")
	case 3:
		return pick(g, "", "ip ", "arp ", "rarp ") + pick(g, side+"host ", "src ", "dst ") + host()
	case 4:
		return pick(g, "", "ip6 ") + pick(g, side+"host ", "src ", "dst ") + host6()
	case 5:
		return pick(g, "", "ip ", "arp ") + side + "net " + value("10.1.2.0/24", "10", "192.168", "224.0.0.0/4", "10.0.2.0 mask 255.0.255.0")
	case 6:
		return pick(g, "", "ip6 ") + side + "net " + value("2001:db8::/32", "fe80::/10", "2001:db8:1::/49")
	case 7:
		return pick(g, "ip", "ip6", "arp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "pim", "esp", "ip multicast", "ip6 multicast")
	case 8:
		return pick(g, "", "ip ", "ip6 ") + "proto " + value("6", "17", `\tcp`, `\sctp`, "58")
	case 9:
		if link == 1 {
			return pick(g, "vlan", "vlan 5", "vlan 7", "mpls", "mpls 3", "pppoes", "pppoes 5", "pppoed", "broadcast", "multicast",
				"ether "+side+"host 00:11:22:33:44:55", "ether dst ff:ff:ff:ff:ff:ff", "ether proto 0x8847")
		}
		return pick(g, "pppoes", "ether proto 0x8863", "ether[0] = 0")
	case 10:
		return pick(g, "less ", "greater ") + pick(g, "60", "80", "100", "0")
	}
	return g.arithmetic(2) + pick(g, " = ", " != ", " == ", " < ", " > ", " <= ", " >= ") + g.arithmetic(1)
}

func (g generator) arithmetic(depth int) string {
	if depth == 0 || g.IntN(4) == 0 {
		return pick(g, "len", "0", "1", "5", "6", "64", "0x45", "60", "80", "tcp-syn", "ip[0]", "ip[9]", "ip[2:2]", "tcp[2:2]", "tcp[13]",
			"udp[4:2]", "ip6[6]", "ether[12:2]", "icmp[icmptype]", "icmp6[0]", "ip[16:4]")
	}
	a, b := g.arithmetic(depth-1), g.arithmetic(depth-1)
	// No ip[0] as divisor: libpcap takes the index 0 for the divisor and calls it a division by zero.
	switch g.IntN(9) {
	case 0:
		return pick(g, "ip", "tcp", "ether", "udp", "ip6", "icmp6") + "[" + a + pick(g, "", ":2", ":4") + "]"
	case 1:
		return "(" + a + pick(g, " + ", " - ", " * ", " & ", " | ") + b + ")"
	case 2:
		return "((" + a + ")" + pick(g, " ^ ", " % ") + "(" + pick(g, "1 + len", "2", "3", "ip[9]", "len") + "))"
	case 3:
		return "(" + a + pick(g, " / ", " << ", " >> ") + pick(g, "1", "2", "3", "ip[9]", "len") + ")"
	case 4:
		return "-(" + a + ")"
	}
	return a + pick(g, " + ", " - ", " * ", " & ", " | ") + b
}
