package synth

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
)

// spoken returns what the sides of all connections sent.
func spoken(t *testing.T, file []byte) (sent [2][]byte) {
	t.Helper()
	frames, _ := readTCP(t, file)
	for _, f := range frames {
		side := Client
		if f.src.Port() < 10_000 {
			side = Server
		}
		sent[side] = append(sent[side], f.data...)
	}
	return sent
}

// What is counted is what is there: each command, statement and question has its mark, and each answer too.
func TestServices(t *testing.T) {
	marks := map[string][2][]string{
		"redis":    {{"\r\nSET\r\n", "\r\nGET\r\n"}, {"+OK\r\n", "$"}},
		"mysql":    {{"mysql_native_password", "\x03SELECT "}, {"\x02\x00\x00\x00\x02\x00\x00\x00", "\x08\xfe\x00\x00\x02"}},
		"postgres": {{"user\x00shop", "P\x00\x00\x00", "E\x00\x00\x00\x09"}, {"server_version", "1\x00\x00\x00\x04t", "SELECT 3\x00"}},
	}
	for _, s := range Services() {
		var once, twice bytes.Buffer
		truth, err := s.Make(&once, 300_000, Options{})
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		if _, err := s.Make(&twice, 300_000, Options{}); err != nil || !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Errorf("%s: %v, or another capture the second time", s.Name, err)
		}
		if truth.Bytes != int64(once.Len()) || truth.Bytes < 300_000 || truth.Bytes > 400_000 || truth.Answered != truth.Exchanges {
			t.Errorf("%s: %+v, %d bytes", s.Name, truth, once.Len())
		}
		if strings.HasPrefix(s.Name, "dns") {
			lookedUp(t, s.Name, once.Bytes(), truth)
			continue
		}
		sent := spoken(t, once.Bytes())
		for side, list := range marks[s.Name] {
			n := 0
			for _, mark := range list {
				n += bytes.Count(sent[side], []byte(mark))
			}
			if n != truth.Exchanges {
				t.Errorf("%s: side %d has %d marks, want %d", s.Name, side, n, truth.Exchanges)
			}
		}
	}
}

// lookedUp checks the datagrams of a capture of lookups: each answer repeats its question, to the port that it came from.
func lookedUp(t *testing.T, name string, file []byte, truth Truth) {
	t.Helper()
	asked, ports, answers := map[string]bool{}, map[netip.AddrPort]bool{}, 0
	le := binary.LittleEndian
	for file = file[24:]; len(file) > 0; {
		n := int(le.Uint32(file[8:]))
		frame := file[16 : 16+n]
		file = file[16+n:]
		ip, udp := frame[14:34], frame[34:]
		if int(binary.BigEndian.Uint16(udp[4:])) != len(udp) || onesSum(append(append(append([]byte{}, ip[12:20]...), 0, 17, udp[4], udp[5]), udp...)) != 0xffff {
			t.Fatalf("%s: length or checksum of % x", name, udp)
		}
		src, dst := ip[12:16], ip[16:20]
		sport, dport, m := binary.BigEndian.Uint16(udp), binary.BigEndian.Uint16(udp[2:]), udp[8:]
		end := 12 + bytes.IndexByte(m[12:], 0) + 5
		if m[2]&0x80 == 0 {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(src)), sport)
			asked[from.String()+string(m[:2])+string(m[12:end])] = true
			ports[from] = true
			if end != len(m) || dport != 53 {
				t.Fatalf("%s: question % x to %d", name, m, dport)
			}
			continue
		}
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(dst)), dport)
		if !asked[to.String()+string(m[:2])+string(m[12:end])] || sport != 53 || len(m) != end+16 {
			t.Fatalf("%s: answer % x to %v", name, m, to)
		}
		answers++
	}
	want := 1000
	if strings.HasSuffix(name, "-ports") {
		want = truth.Exchanges
	}
	if answers != truth.Answered || len(ports) != min(want, truth.Exchanges) {
		t.Errorf("%s: %d answers, %d ports; want %d, %d", name, answers, len(ports), truth.Answered, want)
	}
}
