package pcapfilter

import (
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
)

// corpusExpressions are what people ask of real traffic.
var corpusExpressions = []string{
	"tcp port 80", "port 80 or 443", "host 10.0.0.1", "net 192.168.0.0/16 and not port 53", "tcp and not port 80",
	"tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0", "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420",
	"tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)", "ip6 and tcp", "udp portrange 1-1023",
	"ip[6:2] & 0x3fff != 0", "not (tcp or udp)", "len > 1000", "src net 10.0.0.0/8 or dst net 172.16.0.0/12", "ip multicast",
	"ether multicast or arp", "vlan and tcp", "vlan and vlan and ip", "mpls and ip", "pppoes and tcp",
}

// TestCorpusSameAsTcpdump compares the verdicts on captured traffic.
func TestCorpusSameAsTcpdump(t *testing.T) {
	shared := os.Getenv("CULPRIT_SHARED")
	if shared == "" {
		t.Skip("CULPRIT_SHARED isn't set: no captures by others to compare on")
	}
	d := newTcpdump(t)
	packets := map[capture.LinkType][]sample{}
	err := filepath.WalkDir(filepath.Join(shared, "corpus", "files"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		link, list := classicPcap(data)
		packets[link] = append(packets[link], list...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var pairs []*pair
	for _, link := range tcpdumpLinks {
		for _, expr := range corpusExpressions {
			if len(packets[link]) > 0 {
				pairs = append(pairs, &pair{link: link, expr: expr})
			}
		}
	}
	d.compileAll(pairs)
	passed, judged := 0, 0
	for _, p := range pairs {
		passed += p.compare(t, packets[p.link])
		judged += len(packets[p.link])
	}
	if passed == 0 {
		t.Error("no packet passes any filter")
	}
	t.Logf("%d verdicts compared, %d packets passed", judged, passed)
}

// classicPcap returns the packets of a little-endian pcap file, as far as it is one.
func classicPcap(data []byte) (link capture.LinkType, list []sample) {
	le := binary.LittleEndian
	if len(data) < 24 || !slices.Contains([]uint32{0xa1b2c3d4, 0xa1b23c4d}, le.Uint32(data)) {
		return 0, nil
	}
	link = capture.LinkType(le.Uint32(data[20:]))
	for data = data[24:]; len(data) >= 16; {
		captured, wire := int(le.Uint32(data[8:])), int(le.Uint32(data[12:]))
		if captured > len(data)-16 {
			break
		}
		list = append(list, sample{data[16 : 16+captured], wire})
		data = data[16+captured:]
	}
	return link, list
}
