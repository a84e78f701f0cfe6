package packet

import (
	"encoding/binary"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
)

// corpusFiles returns the captures of the shared corpus.
func corpusFiles(t testing.TB) []string {
	shared := os.Getenv("CULPRIT_SHARED")
	if shared == "" {
		t.Skip("CULPRIT_SHARED isn't set: the captures of others are missing")
	}
	root := filepath.Join(shared, "corpus")
	index, err := os.ReadFile(filepath.Join(root, "INDEX.tsv"))
	if err != nil {
		t.Fatal("CULPRIT_SHARED holds no corpus: ", err)
	}
	var files []string
	for i, line := range strings.Split(strings.TrimSpace(string(index)), "\n") {
		if i > 0 {
			files = append(files, filepath.Join(root, strings.Split(line, "\t")[1]))
		}
	}
	return files
}

// merge joins captures into one pcapng file, in which each packet keeps its link type. Damaged files
// are left out.
func merge(t testing.TB, files []string) string {
	if _, err := exec.LookPath("mergecap"); err != nil {
		t.Skip("mergecap isn't installed: the captures can't be read in one go")
	}
	out := filepath.Join(t.TempDir(), "all.pcapng")
	var good []string
	for _, f := range files {
		if exec.Command("capinfos", "-c", f).Run() == nil {
			good = append(good, f)
		}
	}
	t.Logf("%d captures, %d of them undamaged", len(files), len(good))
	cmd := exec.Command("mergecap", append([]string{"-a", "-I", "none", "-w", out}, good...)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mergecap: %v\n%s", err, text)
	}
	return out
}

// records reads the packets of a little-endian pcapng file as mergecap writes it.
func records(t testing.TB, file string) []capture.Record {
	const interfaceBlock, packetBlock = 1, 6
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	var links []capture.LinkType
	var all []capture.Record
	for len(b) >= 12 {
		kind, n := le.Uint32(b), int(le.Uint32(b[4:]))
		body := b[8 : n-4]
		switch kind {
		case interfaceBlock:
			links = append(links, capture.LinkType(le.Uint16(body)))
		case packetBlock:
			id, captured, wire := le.Uint32(body), le.Uint32(body[12:]), le.Uint32(body[16:])
			all = append(all, capture.Record{
				Data: body[20 : 20+captured], WireLen: int(wire), Link: links[id], Number: uint64(len(all) + 1),
			})
		}
		b = b[n:]
	}
	return all
}

// segment is what both decoders say of a TCP segment.
type segment struct {
	src, dst                      string
	srcPort, dstPort, seq, length string
}

// tsharkSegments returns, by packet number, the innermost TCP segments that tshark finds and that
// aren't quoted by an ICMP message.
func tsharkSegments(t testing.TB, file string) map[uint64]segment {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark isn't installed: there is nothing to compare with")
	}
	cmd := exec.Command("tshark", "-n", "-r", file, "-T", "fields", "-E", "occurrence=l",
		"-o", "tcp.desegment_tcp_streams:FALSE", "-o", "tcp.relative_sequence_numbers:FALSE",
		"-e", "frame.number", "-e", "frame.protocols", "-e", "ip.src", "-e", "ip.dst", "-e", "ipv6.src", "-e", "ipv6.dst",
		"-e", "tcp.srcport", "-e", "tcp.dstport", "-e", "tcp.seq_raw", "-e", "tcp.len", "-e", "tcp.hdr_len")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	segments := map[uint64]segment{}
	for line := range strings.Lines(string(out)) {
		c := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		number, _ := strconv.ParseUint(c[0], 10, 64)
		if head, _ := strconv.Atoi(c[10]); head < 20 || c[9] == "" || strings.Contains(c[1], ":icmp") {
			continue // tshark goes on after a header length below 20
		}
		src, dst := c[2], c[3]
		if strings.LastIndex(c[1], ":ipv6:") > strings.LastIndex(c[1], ":ip:") {
			src, dst = unmap(c[4]), unmap(c[5])
		}
		segments[number] = segment{src, dst, c[6], c[7], c[8], c[9]}
	}
	return segments
}

func unmap(addr string) string {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return addr
	}
	return a.Unmap().String()
}

func (p *Packet) segment() segment {
	return segment{
		p.Src.String(), p.Dst.String(), strconv.Itoa(int(p.SrcPort)), strconv.Itoa(int(p.DstPort)),
		strconv.FormatUint(uint64(p.Seq), 10), strconv.Itoa(p.PayloadLen),
	}
}

// TestCorpusAgreesWithTshark compares every innermost TCP segment of the corpus with tshark's. They
// may differ in three ways: an IP packet may be longer than its frame, of which tshark believes the
// frame; of an 802.11 aggregate only the first subframe is decoded; and tshark knows Teredo by its port
// only, not between peers on other ports.
func TestCorpusAgreesWithTshark(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: tshark takes a while")
	}
	file := merge(t, corpusFiles(t))
	want := tsharkSegments(t, file)
	d := NewDecoder(DefaultLimits())
	var p Packet
	var received Count
	got := 0
	for _, r := range records(t, file) {
		received.add(Count{1, uint64(len(r.Data))})
		var s segment
		aggregated := d.Aggregated()
		res := d.Decode(&p, &r)
		if res == Decoded && p.Proto == ProtoTCP {
			s = p.segment()
			got++
		}
		w := want[r.Number]
		if len(p.Payload) < p.PayloadLen && r.WireLen == len(r.Data) && w.length == strconv.Itoa(len(p.Payload)) {
			w.length = s.length
		}
		if teredo := strings.HasPrefix(s.src, "2001:0:") || strings.HasPrefix(s.dst, "2001:0:"); teredo && w == (segment{}) {
			continue
		}
		if s != w && d.Aggregated() == aggregated {
			t.Errorf("packet %d, link %d: %v %+v, tshark says %+v", r.Number, r.Link, res, s, w)
		}
	}
	d.Flush()
	var sum Count
	for res, c := range d.Counts() {
		sum.add(c)
		t.Logf("%-12v %7d packets %10d bytes", Result(res), c.Packets, c.Bytes)
	}
	if sum != received {
		t.Errorf("counted %+v of %+v", sum, received)
	}
	if got < 30000 {
		t.Errorf("%d TCP segments, want at least 30000", got)
	}
	t.Logf("%d TCP segments; fragments %+v", got, d.FragmentStats())
}
