package packet

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// quote is what both decoders say of an ICMP error.
type quote struct {
	from, kind, code           string
	src, dst, srcPort, dstPort string
	proto                      uint8
}

// tsharkQuotes returns, by packet number, the packets of TCP, UDP and SCTP that tshark finds quoted by ICMP errors.
func tsharkQuotes(t testing.TB, file string) map[uint64]quote {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark isn't installed: there is nothing to compare with")
	}
	fields := []string{"frame.number", "frame.protocols", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "icmp.type", "icmp.code", "icmpv6.type", "icmpv6.code",
		"udp.srcport", "udp.dstport", "tcp.srcport", "tcp.dstport", "sctp.srcport", "sctp.dstport"}
	args := []string{"-n", "-r", file, "-T", "fields", "-E", "occurrence=a", "-Y", "icmp.type in {3,4,11,12} or icmpv6.type in {1,2,3,4}"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	quotes := map[uint64]quote{}
	for line := range strings.Lines(string(out)) {
		c := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		number, _ := strconv.ParseUint(c[0], 10, 64)
		_, quoted, _ := strings.Cut(c[1], ":icmp") // and v6, if so
		version, inner, _ := strings.Cut(quoted, ":")
		q := quote{}
		src, dst := strings.Split(c[2], ","), strings.Split(c[3], ",")
		q.kind, q.code = c[6], c[7]
		if version == "v6" {
			src, dst = strings.Split(c[4], ","), strings.Split(c[5], ",")
			q.kind, q.code = c[8], c[9]
		}
		for i, p := range []struct {
			name  string
			proto uint8
		}{{"udp", ProtoUDP}, {"tcp", ProtoTCP}, {"sctp", ProtoSCTP}} {
			if strings.Contains(":"+inner+":", ":"+p.name+":") {
				a, b := strings.Split(c[10+2*i], ","), strings.Split(c[11+2*i], ",")
				q.proto, q.srcPort, q.dstPort = p.proto, a[len(a)-1], b[len(b)-1]
				break
			}
		}
		if q.proto == 0 || len(src) < 2 {
			continue
		}
		q.from, q.src, q.dst = src[len(src)-2], src[len(src)-1], dst[len(dst)-1]
		quotes[number] = q
	}
	return quotes
}

func (p *Packet) quote() quote {
	return quote{
		p.ICMP.From.String(), strconv.Itoa(int(p.ICMP.Type)), strconv.Itoa(int(p.ICMP.Code)),
		p.Src.String(), p.Dst.String(), strconv.Itoa(int(p.SrcPort)), strconv.Itoa(int(p.DstPort)), p.Proto,
	}
}

// TestCorpusAgreesWithTsharkOnICMP compares every ICMP error of the corpus with tshark's.
func TestCorpusAgreesWithTsharkOnICMP(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: tshark takes a while")
	}
	file := merge(t, corpusFiles(t))
	want := tsharkQuotes(t, file)
	d := NewDecoder(DefaultLimits())
	var p Packet
	got := 0
	for _, r := range records(t, file) {
		var q quote
		res := d.Decode(&p, &r)
		if res == ICMPError {
			q = p.quote()
			got++
		}
		if w := want[r.Number]; q != w {
			t.Errorf("packet %d, link %d: %v %+v, tshark says %+v", r.Number, r.Link, res, q, w)
		}
	}
	if got < 50 {
		t.Errorf("%d ICMP errors, want at least 50", got)
	}
	t.Logf("%d ICMP errors", got)
}
