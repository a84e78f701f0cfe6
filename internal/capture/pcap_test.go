package capture

import (
	"encoding/binary"
	"io"
	"strings"
	"testing"
)

func TestPcapVariants(t *testing.T) {
	le, be := binary.ByteOrder(binary.LittleEndian), binary.ByteOrder(binary.BigEndian)
	in := []pkt{{1700000000*second + 123456789, "one", 0}, {1700000000*second - 5*second, "", 60}, {4294967295*second + 999999999, "three", 1500}}
	micros := func(ns int64) int64 { return ns / 1000 * 1000 }
	nanos := func(ns int64) int64 { return ns }
	for _, c := range []struct {
		name  string
		order binary.ByteOrder
		magic uint32
		time  func(int64) int64
		link  uint32
	}{
		{"micro little-endian", le, 0xa1b2c3d4, micros, 1},
		{"micro big-endian", be, 0xa1b2c3d4, micros, 113},
		{"nano little-endian", le, 0xa1b23c4d, nanos, 101},
		{"nano big-endian", be, 0xa1b23c4d, nanos, 1},
		{"modified little-endian", le, 0xa1b2cd34, micros, 1},
		{"modified big-endian", be, 0xa1b2cd34, micros, 1},
		{"frame check sequence of 4 bytes", le, 0xa1b2c3d4, micros, 0x44000001},
	} {
		t.Run(c.name, func(t *testing.T) {
			recs, s := readBytes(t, pcapFile(c.order, c.magic, 65535, c.link, in...))
			link := LinkType(c.link & 0xffff)
			expect(t, recs,
				rec{c.time(in[0].time), 1, "one", 3, 0, link},
				rec{c.time(in[1].time), 2, "", 60, 0, link},
				rec{c.time(in[2].time), 3, "three", 1500, 0, link})
			taps := s.Taps()
			if len(taps) != 1 || taps[0].Received != 3 || taps[0].Bytes != 8 || taps[0].Name != "" || taps[0].File == "" {
				t.Errorf("taps = %+v", taps)
			}
			if len(s.Warnings()) != 0 {
				t.Errorf("warnings: %q", s.Warnings())
			}
		})
	}
}

func TestPcapOddities(t *testing.T) {
	big := strings.Repeat("x", 300<<10)
	for _, c := range []struct {
		name    string
		content []byte
		want    []rec
	}{
		{"captured more than the wire had", simplePcap(pkt{0, "abcdef", 2}), []rec{{0, 1, "abcdef", 6, 0, 1}}},
		{"a microsecond out of range", append(simplePcap(), fields(binary.LittleEndian, uint32(1), uint32(2e6), uint32(1), uint32(1), "x")...),
			[]rec{{3 * second, 1, "x", 1, 0, 1}}},
		{"a snap length of 0", pcapFile(binary.LittleEndian, 0xa1b2c3d4, 0, 1, pkt{0, "a", 0}), []rec{{0, 1, "a", 1, 0, 1}}},
		{"a packet as large as the snap length", pcapFile(binary.LittleEndian, 0xa1b2c3d4, 1<<20, 1, pkt{0, big, 0}, pkt{1000, "next", 0}),
			[]rec{{0, 1, big, len(big), 0, 1}, {1000, 2, "next", 4, 0, 1}}},
		{"no packet", simplePcap(), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			recs, _ := readBytes(t, c.content)
			expect(t, recs, c.want...)
		})
	}
}

// A file that is cut anywhere gives all that is whole, and one warning unless it is cut between packets.
func TestCutAnywhere(t *testing.T) {
	packets := []pkt{{second, "first", 0}, {2 * second, "second one", 0}, {3 * second, "3", 100}}
	for name, build := range map[string]func(...pkt) []byte{
		"pcap":   simplePcap,
		"pcapng": func(p ...pkt) []byte { return simplePcapng("eth0", p...) },
	} {
		var ends []int // of the header and of every packet
		for n := range len(packets) + 1 {
			ends = append(ends, len(build(packets[:n]...)))
		}
		whole := build(packets...)
		for cut := ends[0]; cut <= len(whole); cut++ {
			recs, s := readBytes(t, whole[:cut])
			n := 0
			for n+1 < len(ends) && ends[n+1] <= cut {
				n++
			}
			if len(recs) != n {
				t.Errorf("%s cut at %d: %d records, want %d", name, cut, len(recs), n)
			}
			warnings := s.Warnings()
			if cut == ends[n] {
				if len(warnings) != 0 {
					t.Errorf("%s cut at %d, between packets: warnings %q", name, cut, warnings)
				}
				continue
			}
			offset, missing := "offset "+itoa(ends[n]), "at least "
			if cut-ends[n] >= 16 {
				missing += itoa(ends[n+1]-cut) + " bytes"
			}
			if len(warnings) != 1 || !strings.Contains(warnings[0], offset) || !strings.Contains(warnings[0], missing) {
				t.Errorf("%s cut at %d: warnings %q, want one with %q and %q", name, cut, warnings, offset, missing)
			}
		}
	}
}

func TestCorrupt(t *testing.T) {
	le, o := binary.LittleEndian, ng{binary.LittleEndian}
	pcap := simplePcap(pkt{second, "good", 0})
	png := simplePcapng("eth0", pkt{second, "good", 0})
	good := rec{second, 1, "good", 4, 0, 1}
	join := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	for _, c := range []struct {
		name    string
		content []byte
		want    []string
		at      int
	}{
		{"captured length", join(pcap, fields(le, uint32(1), uint32(1), uint32(1<<28), uint32(1<<28)), pcap), []string{"268435456", "limit 262144"}, len(pcap)},
		{"block length", join(png, fields(le, uint32(6), uint32(8), png)), []string{"a block of 8 bytes"}, len(png)},
		{"huge block", join(png, fields(le, uint32(6), uint32(1<<31)), png), []string{"2147483648"}, len(png)},
		{"lengths differ", join(png, fields(le, uint32(6), uint32(16), uint32(0), uint32(20))), []string{"16 at its start and 20 at its end"}, len(png)},
		{"no such interface", join(png, o.packet(1, 0, "x", 1)), []string{"interface 1"}, len(png)},
		{"captured more than the block", join(png, o.block(blockEnhanced, uint32(0), uint64(0), uint32(9), uint32(9), uint64(0))), []string{"9 captured bytes", "room for 8"}, len(png)},
		{"short packet", join(png, o.block(blockEnhanced, uint32(0))), []string{"packet block of 16 bytes"}, len(png)},
		{"short interface", join(png, o.block(blockInterface, uint32(0))), []string{"interface block"}, len(png)},
		{"short statistics", join(png, o.block(blockStatistics, uint32(0))), []string{"statistics block"}, len(png)},
		{"short secrets", join(png, o.block(blockSecrets, uint32(0), uint32(99))), []string{"secrets block"}, len(png)},
		{"byte order", join(png, fields(le, uint32(blockSection), uint32(28), uint32(7))), []string{"byte order"}, len(png)},
		{"version", join(png, o.block(blockSection, uint32(byteOrderMagic), uint16(9), uint16(1), int64(-1))), []string{"version 9.1"}, len(png)},
		{"resolution", join(png, o.iface(1, 0, o.option(interfaceResolution, uint8(0x7f)))), []string{"0x7f"}, len(png)},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "capture", c.content)
			s, err := Open([]Input{{Path: path}}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			recs, err := drain(s)
			expect(t, recs, good)
			if err == io.EOF {
				t.Fatal("no error")
			}
			for _, part := range append(c.want, path, "offset "+itoa(c.at)) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}
}
