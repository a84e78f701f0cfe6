package capture

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Every block type, in both byte orders, with a section of each in one file.
func TestPcapng(t *testing.T) {
	var file []byte
	for _, o := range []ng{{binary.LittleEndian}, {binary.BigEndian}} {
		for _, block := range [][]byte{
			o.section(),
			o.block(blockSecrets, uint32(0x544c534b), uint32(5), "keys\n"),
			o.iface(1, 0, o.option(interfaceName, "eth0"), o.option(interfaceResolution, uint8(9)), o.option(0)),
			o.iface(101, 4, o.option(interfaceName, "tun0"), o.option(interfaceOffset, int64(1000))),
			o.block(4, uint32(0), uint32(0)),                      // name resolution
			o.block(0x0bad, uint32(32473), "custom"),              // custom
			o.block(0x0a0d0a0d, "a reserved type, to be skipped"), // unknown
			o.packet(0, 7_000_000_001, "enhanced", 80, o.option(1, "a comment"), o.option(2, uint32(1)), o.option(0)),
			o.packet(1, 3_000_000, "tunnel", 6),
			o.block(blockPacket, uint16(1), uint16(5), uint32(0), uint32(4_000_000), uint32(3), uint32(30), "old", uint8(0)),
			o.block(blockPacket, uint16(1), uint16(0xffff), uint32(0), uint32(4_000_000), uint32(0), uint32(30)),
			o.block(blockSimple, uint32(6), "simple", uint16(0)),
			o.block(blockStatistics, uint32(0), uint64(0), o.option(statisticsIfDrop, uint64(3)), o.option(statisticsOSDrop, uint64(7)), o.option(0)),
			o.block(blockStatistics, uint32(0), uint64(0), o.option(statisticsIfDrop, uint64(4)), o.option(statisticsOSDrop, uint64(9))),
		} {
			file = append(file, block...)
		}
	}
	recs, s := readBytes(t, file)
	var want []rec
	for n := range uint64(2) {
		want = append(want,
			rec{7_000_000_001, 5*n + 1, "enhanced", 80, 0, 1},
			rec{1003 * second, 5*n + 2, "tunnel", 6, 1, 101},
			rec{1004 * second, 5*n + 3, "old", 30, 1, 101},
			rec{1004 * second, 5*n + 4, "", 30, 1, 101},
			rec{1004 * second, 5*n + 5, "simple", 6, 0, 1},
		)
	}
	expect(t, recs, want...)
	file0 := s.Taps()[0].File
	// The second section's counters start anew, so they add to those of the first.
	for i, want := range []Tap{
		{Name: "eth0", File: file0, Received: 4, Bytes: 28, Dropped: 18, IfDropped: 8},
		{Name: "tun0", File: file0, Received: 6, Bytes: 18, Dropped: 10},
	} {
		if got := s.Taps()[i]; got != want {
			t.Errorf("tap %d is %+v, want %+v", i, got, want)
		}
	}
	secrets := s.(SecretSource).Secrets()
	if len(secrets) != 2 || secrets[0].Type != 0x544c534b || !bytes.Equal(secrets[1].Data, []byte("keys\n")) {
		t.Errorf("secrets = %v", secrets)
	}
}

// A simple packet is cut to the interface's snap length, and belongs to the first interface.
func TestSimplePacketSnapLength(t *testing.T) {
	o := ng{binary.LittleEndian}
	file := append(o.section(), o.iface(1, 4)...)
	file = append(file, o.block(blockSimple, uint32(1500), "abcd....")...)
	recs, _ := readBytes(t, file)
	expect(t, recs, rec{0, 1, "abcd", 1500, 0, 1})
}

func TestTimestamps(t *testing.T) {
	for _, c := range []struct {
		resolution uint8
		offset     int64
		value      uint64
		want       int64
	}{
		{6, 0, 1700000000_123456, 1700000000_123456000},
		{9, 0, 1700000000_123456789, 1700000000_123456789},
		{0, 0, 1700000000, 1700000000 * second},
		{3, 0, 1500, 1_500_000_000},
		{12, 0, 1_999_999, 1999},
		{15, 0, 1_999_999, 1},
		{28, 0, math.MaxUint64, 1},
		{0x80 | 1, 0, 3, 1_500_000_000},
		{0x80 | 10, 0, 1536, 1_500_000_000},
		{0x80 | 32, 0, 1<<33 + 1<<31, 2_500_000_000},
		{0x80 | 63, 0, 1 << 62, 500_000_000},
		{6, -10, 11_000_001, 1_000_001_000},
		{6, 1700000000, 5, 1700000000_000005000},
		{6, -5, 2_000_001, -3*second + 1000},
		{6, 0, math.MaxUint64, math.MaxInt64},
		{0x80, 0, math.MaxUint64, math.MaxInt64},
		{0x80 | 1, 0, math.MaxUint64, math.MaxInt64},
		{9, 0, math.MaxUint64, math.MaxInt64},
		{9, math.MaxInt64, 1, math.MaxInt64},
		{9, math.MinInt64, 1, math.MinInt64},
	} {
		o := ng{binary.BigEndian}
		file := append(o.section(), o.iface(1, 0, o.option(interfaceResolution, c.resolution), o.option(interfaceOffset, c.offset))...)
		file = append(file, o.packet(0, c.value, "x", 1)...)
		recs, _ := readBytes(t, file)
		if len(recs) != 1 || recs[0].time != c.want {
			t.Errorf("%d at resolution %#x and offset %d: %v, want %d", c.value, c.resolution, c.offset, recs, c.want)
		}
	}
}

// Interfaces of one name in one section are different places: mergecap makes such files.
func TestInterfaceNames(t *testing.T) {
	o := ng{binary.LittleEndian}
	eth := o.iface(1, 0, o.option(interfaceName, "eth0"))
	section := append(append(append(o.section(), eth...), eth...), o.iface(1, 0)...)
	for id := range uint32(3) {
		section = append(section, o.packet(id, 0, "x", 1)...)
	}
	file := write(t, "capture", append(section, section...))
	for _, c := range []struct {
		tap  string
		want []string
	}{
		{"", []string{"eth0", "eth0", ""}},
		{"web", []string{"web", "web/eth0", "web/2"}},
	} {
		recs, s := readAll(t, Options{}, Input{Tap: c.tap, Path: file})
		if len(recs) != 6 || len(s.Taps()) != 3 {
			t.Fatalf("%d records of %d taps, want 6 of 3", len(recs), len(s.Taps()))
		}
		for i, tap := range s.Taps() {
			if tap.Name != c.want[i] || tap.Received != 2 || recs[i].tap != uint32(i) || recs[i+3].tap != uint32(i) {
				t.Errorf("tap %d is %+v, want the name %q; records %v", i, tap, c.want[i], recs)
			}
		}
	}
}

func TestInterfaceLimit(t *testing.T) {
	o := ng{binary.LittleEndian}
	file := o.section()
	for range maxInterfaces + 1 {
		file = append(file, o.iface(1, 0)...)
	}
	s, err := Open([]Input{{Path: write(t, "capture", file)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := drain(s); err == nil || !bytes.Contains([]byte(err.Error()), []byte("4096")) {
		t.Errorf("error = %v", err)
	}
}
