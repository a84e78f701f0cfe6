package afpacket

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

const (
	ip4      = "4500003c0001400040060000" + "0a000001" + "0a000002"
	ip4Long  = "4600003c0001400040060000" + "0a000001" + "0a000002" + "00000000"
	ip6      = "60000000001406400000000000000000" + "0000000000000001" + "0000000000000000" + "0000000000000002"
	ports    = "c3501f90" + "00000001" + "00000000"
	fragment = "4500003c0001200140060000" + "0a000001" + "0a000002"
)

func TestHandshake(t *testing.T) {
	four := [2]string{"10.0.0.1:50000", "10.0.0.2:8080"}
	for _, c := range []struct {
		name, packet string
		want         [2]string
	}{
		{"IPv4", ip4 + ports + "5002", four},
		{"IPv4 with options", ip4Long + ports + "5002", four},
		{"with ECN flags", ip4 + ports + "50c2", four},
		{"IPv6", ip6 + ports + "5002", [2]string{"[::1]:50000", "[::2]:8080"}},
		{"SYN and ACK", ip4 + ports + "5012", [2]string{}},
		{"ACK", ip4 + ports + "5010", [2]string{}},
		{"a later fragment", fragment + ports + "5002", [2]string{}},
		{"UDP", "4500003c0001400040110000" + "0a000001" + "0a000002" + ports + "5002", [2]string{}},
		{"cut", ip4 + ports, [2]string{}},
		{"no header", "4f00", [2]string{}},
		{"a header of no length", "4000003c0001400040060000" + "0a000001" + "0a000002" + ports + "5002", [2]string{}},
		{"nothing", "", [2]string{}},
		{"another version", "70", [2]string{}},
	} {
		from, to, ok := handshake(bytesOf(t, c.packet))
		switch {
		case ok != (c.want[0] != ""):
			t.Errorf("%s: %v", c.name, ok)
		case ok && (from != netip.MustParseAddrPort(c.want[0]) || to != netip.MustParseAddrPort(c.want[1])):
			t.Errorf("%s: %v, %v", c.name, from, to)
		}
	}
}

// No packet makes it panic.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte("\x45"))
	f.Fuzz(func(_ *testing.T, b []byte) { handshake(b) })
}

func bytesOf(t *testing.T, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
