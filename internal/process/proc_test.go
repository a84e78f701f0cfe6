package process

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseProc(t *testing.T) {
	for _, c := range []struct {
		text string
		pid  int32
		ok   bool
	}{
		{"412 (nginx) S 1 412 412 0 -1", 1, true},
		{"412 (a) R 9 (b) S 77 1", 77, true},
		{"412 (nginx", 0, false},
		{"412 (nginx) S", 0, false},
		{"412 (nginx) S x 1", 0, false},
		{"", 0, false},
	} {
		if pid, ok := parseParent([]byte(c.text)); pid != c.pid || ok != c.ok {
			t.Errorf("%q: %d %v", c.text, pid, ok)
		}
	}
	for _, c := range []struct {
		text string
		want []string
	}{
		{"nginx\x00-g\x00\x00x\x00", []string{"nginx", "-g", "", "x"}},
		{"postgres: walwriter\x00\x00\x00\x00", []string{"postgres: walwriter"}},
		{"", nil},
		{"\x00\x00", nil},
		{"cut", []string{"cut"}},
	} {
		if got := parseArgs([]byte(c.text)); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q", c.text, got)
		}
	}
	if got := parseArgs([]byte(strings.Repeat("a\x00", 10000))); len(got) != maxArgs || got[maxArgs-1] != "a" {
		t.Errorf("%d arguments, the last %q", len(got), got[len(got)-1])
	}
	if set, ok := parseCapabilities([]byte("Name:\tx\nCapPrm:\t0000000000000001\nCapEff:\t0000000000080004\n")); set != 1<<19|1<<2 || !ok {
		t.Errorf("%x %v", set, ok)
	}
	users := readUsers(strings.NewReader("root:x:0:0::/:\n#c:x:1:1:\nbad\ntoor:x:0:0::/:\n+nis:x:5:5::\nwww-data:x:33:33::/:\nbig:x:4294967296:1::\n"))
	if !reflect.DeepEqual(users, map[uint32]string{0: "root", 33: "www-data"}) {
		t.Errorf("%v", users)
	}
	for text, want := range map[string]uint64{
		"socket:[123]": 123, "socket:[0]": 0, "socket:[]": 0, "socket:[12": 0, "pipe:[123]": 0, "socket:[99999999999999999999]": 0, "/socket:[1]": 0,
	} {
		if got := parseSocketLink([]byte(text)); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestNames(t *testing.T) {
	for k, want := range map[Kind]string{TCP: "tcp", UnixSeqPacket: "unix-seqpacket", 0: "unknown 0", 99: "unknown 99"} {
		if got := k.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for s, want := range map[State]string{Listen: "listen", Established: "established", newSynReceived: "syn-received", 0: "unknown 0"} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	n := Notes{Blind: Blind{Processes: 2, Seen: 9}, Cut: 3, Incomplete: []string{"x"}}
	if got := n.Lines(); !slices.Equal(got, []string{"2 of 9 processes couldn't be looked into: the system forbids it", "x", "3 sockets more aren't shown"}) {
		t.Errorf("%q", got)
	}
}
