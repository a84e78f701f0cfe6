package process

// Invariant of FuzzParseListing: whatever the bytes, there is a listing or an error; a listing is encoded to one that is
// read back the same.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
)

// listed is a listing of n connections of one process, and of some of everything else.
func listed(n int) *Listing {
	web := &exchange.Process{PID: 412, Name: "ng\xffinx", Args: []string{"nginx: master"}, Executable: "/usr/sbin/nginx", User: "root", Unit: "nginx.service"}
	app := &exchange.Process{PID: 97, Name: "puma", ContainerID: "c0ffee", PodUID: "8a1b"}
	l := &Listing{Sockets: []Socket{
		{Kind: TCP, State: Listen, Local: netip.MustParseAddrPort("[::ffff:10.0.0.2]:80"), Interface: 3, RecvQueue: 1, SendQueue: 511, Inode: 1 << 40,
			UID: 7, User: "seven", Holders: []Holder{{web, 6}, {app, 7}}},
		{Kind: UDP, State: Unconnected, Local: netip.MustParseAddrPort("127.0.0.53:53"), Remote: netip.MustParseAddrPort("0.0.0.0:0")},
		{Kind: UnixStream, State: Established, Path: "@\x00x", Peer: 9, PeerPath: "/run/a b", Inode: 8, PeerHolders: []Holder{{app, 3}}},
	}}
	for i := range n {
		l.Sockets = append(l.Sockets, Socket{Kind: TCP, State: Established, Local: netip.AddrPortFrom(netip.MustParseAddr("fd00::1"), uint16(i)),
			Remote: netip.MustParseAddrPort("[fd00::2]:80"), Inode: uint64(i + 1), User: "root", Holders: []Holder{{web, 10}}})
	}
	l.Addresses = []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::1")}
	l.Notes = Notes{Blind: Blind{1, 2, []string{"CAP_SYS_PTRACE"}}, Unowned: 3, Cut: 4, Holds: 5, Incomplete: []string{"listing udp sockets: no"}}
	return l
}

func TestListing(t *testing.T) {
	for _, n := range []int{0, 1, 5000} {
		taken := 0
		s := &Lister{Take: func() (*Listing, error) { taken++; return listed(n), nil }}
		pages := 0
		got, err := FetchListing(func(request []byte) ([]byte, error) {
			pages++
			reply, err := s.Serve(request)
			if len(reply) > MaxMessage {
				t.Errorf("a reply of %d bytes", len(reply))
			}
			return reply, err
		})
		if err != nil || !reflect.DeepEqual(got, listed(n)) {
			t.Fatalf("%d: %v\n%+v\nwant\n%+v", n, err, got, listed(n))
		}
		if taken != 1 || n == 5000 && pages < 5 {
			t.Errorf("%d: taken %d times in %d pages", n, taken, pages)
		}
		if got.Sockets[0].Holders[1].Process != got.Sockets[2].PeerHolders[0].Process {
			t.Error("one process has become two")
		}
	}
	empty, err := parseListing(appendListing(nil, &Listing{}, MaxListing))
	if err != nil || len(empty.Sockets)+len(empty.Addresses) > 0 {
		t.Errorf("%+v, %v", empty, err)
	}
}

// Arguments may hold secrets; the name that a process was started by is enough.
func TestListingArguments(t *testing.T) {
	p := &exchange.Process{PID: 1, Args: []string{"curl", "--password=hunter2"}}
	b := appendListing(nil, &Listing{Sockets: []Socket{{Kind: TCP, Holders: []Holder{{p, 1}}}}}, MaxListing)
	got, err := parseListing(b)
	if err != nil || !reflect.DeepEqual(got.Sockets[0].Holders[0].Args, []string{"curl"}) || strings.Contains(string(b), "hunter2") || len(p.Args) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

// What has no room is counted.
func TestListingLimit(t *testing.T) {
	all := listed(5000)
	const limit = 200_000
	b := appendListing(nil, all, limit)
	got, err := parseListing(b)
	if err != nil || len(b) > limit {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if n := len(got.Sockets); n < 100 || n+got.Notes.Cut-4 != len(all.Sockets) || !reflect.DeepEqual(got.Sockets, all.Sockets[:n]) {
		t.Errorf("%d of %d, cut %d", n, len(all.Sockets), got.Notes.Cut)
	}
	// A process that comes with a socket that is cut is cut too.
	for i := range all.Sockets {
		all.Sockets[i].Holders = []Holder{{&exchange.Process{PID: i, Name: strings.Repeat("x", i%7)}, 1}}
	}
	for limit := 132_000; limit < 140_000; limit += 37 {
		b := appendListing(nil, all, limit)
		if got, err := parseListing(b); err != nil || len(b) > limit || !reflect.DeepEqual(got.Sockets, all.Sockets[:len(got.Sockets)]) {
			t.Fatalf("limit %d: %d bytes, %v", limit, len(b), err)
		}
	}
}

func TestListerChecksRequests(t *testing.T) {
	s := &Lister{Take: func() (*Listing, error) { return listed(5000), nil }}
	at := func(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }
	for _, bad := range [][]byte{nil, {0}, make([]byte, 5), at(1), at(1 << 31)} {
		if _, err := s.Serve(bad); err == nil {
			t.Errorf("%x was taken", bad)
		}
	}
	first, err := s.Serve(at(0))
	if err != nil {
		t.Fatal(err)
	}
	total := int(binary.LittleEndian.Uint32(first))
	for _, n := range []int{total, total + 1, 1<<32 - 1} {
		if _, err := s.Serve(at(n)); err == nil {
			t.Errorf("offset %d of %d was taken", n, total)
		}
	}
	if last, err := s.Serve(at(total - 1)); err != nil || len(last) != 5 {
		t.Errorf("the last byte: %d bytes, %v", len(last), err)
	}
	if _, err := s.Serve(at(1)); err == nil {
		t.Error("it was kept after it was fetched")
	}
	s.Take = func() (*Listing, error) { return nil, errors.New("no sockets") }
	if _, err := FetchListing(s.Serve); err == nil || err.Error() != "listing sockets: no sockets" {
		t.Errorf("%v", err)
	}
}

// What the other process sends is checked, too.
func TestFetchListingHostile(t *testing.T) {
	for name, reply := range map[string][]byte{
		"empty": {}, "head only": {9, 0, 0, 0}, "too long": {255, 255, 255, 255, 0}, "more than it said": {1, 0, 0, 0, 7, 7}, "not a listing": {1, 0, 0, 0, 7},
	} {
		calls := 0
		l, err := FetchListing(func([]byte) ([]byte, error) {
			if calls++; calls > 2 {
				t.Fatalf("%s: it asks for more", name)
			}
			return reply, nil
		})
		if err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
	b := appendListing(nil, listed(3), MaxListing)
	for i := range b {
		if _, err := parseListing(b[:i]); err == nil {
			t.Errorf("cut at %d of %d it was taken", i, len(b))
		}
		wrong := bytes.Clone(b)
		wrong[i] ^= 0x5a
		if l, err := parseListing(wrong); err == nil { // it may say something else, but nothing that isn't there
			for _, s := range l.Sockets {
				for _, h := range append(s.Holders, s.PeerHolders...) {
					if h.Process == nil {
						t.Errorf("byte %d: a holder that is none", i)
					}
				}
			}
		}
	}
}

func FuzzParseListing(f *testing.F) {
	f.Add(appendListing(nil, listed(3), MaxListing))
	f.Add(appendListing(nil, &Listing{}, MaxListing))
	f.Add([]byte{0, 0, 0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseListing(b)
		if err != nil {
			return
		}
		again, err := parseListing(appendListing(nil, l, MaxListing))
		if err != nil {
			t.Fatal(err)
		}
		// Processes that nothing points to go, and so may arguments.
		if fmt.Sprint(len(again.Sockets), again.Notes, again.Addresses) != fmt.Sprint(len(l.Sockets), l.Notes, l.Addresses) {
			t.Fatalf("%+v\n%+v", l, again)
		}
	})
}
