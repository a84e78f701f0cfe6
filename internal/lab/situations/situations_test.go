//go:build linux

package situations

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTable: every row is whole, and what it expects can be read.
func TestTable(t *testing.T) {
	names, kinds := map[string]bool{}, map[string]bool{}
	for _, s := range Table() {
		if names[s.Name] || s.What == "" || s.make == nil || len(s.Kinds) == 0 {
			t.Errorf("%+v", s)
		}
		names[s.Name] = true
		for i := range s.Kinds {
			k := &s.Kinds[i]
			if kinds[k.Name] || s.Kind(k.Name) != k {
				t.Errorf("%s: the kind %s is there twice", s.Name, k.Name)
			}
			kinds[k.Name] = true
			judged := 0
			for tap := range k.Expected {
				if !slices.Contains([]Tap{Client, Front, Back, Server}, tap) {
					t.Errorf("%s: a tap %q", k.Name, tap)
				}
				judged += len(k.At(tap).Right)
			}
			if judged == 0 {
				t.Errorf("%s: nothing is expected of it", k.Name)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want Expected
		err  bool
	}{
		{"", Expected{}, false},
		{"none", Expected{Right: []Verdict{{"none", ""}}}, false},
		{"server/slow-tls|client", Expected{Right: []Verdict{{"server", "slow-tls"}, {"client", ""}}}, false},
		{"?dns/slow-dns", Expected{Right: []Verdict{{"dns", "slow-dns"}}, Undecidable: true}, false},
		{"/slow-tls", Expected{}, true},
		{"?", Expected{}, true},
	} {
		got, err := parse(c.text)
		if (err != nil) != c.err || err == nil && (!slices.Equal(got.Right, c.want.Right) || got.Undecidable != c.want.Undecidable) {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
}

// frame is an Ethernet frame with a TCP segment.
func frame(from, to uint16, seq uint32, flags byte, payload int) []byte {
	b := make([]byte, 14+20+20+payload)
	b[12] = 8
	ip := b[14:]
	ip[0], ip[9] = 0x45, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, from)
	binary.BigEndian.PutUint16(tcp[2:], to)
	binary.BigEndian.PutUint32(tcp[4:], seq)
	tcp[12], tcp[13] = 0x50, flags
	return b
}

// TestLosses: the segment that was chosen gets lost as often as told, whatever its length when it comes again, and no other does.
func TestLosses(t *testing.T) {
	const client, server, flagSYN, flagACK = 40000, 80, 2, 16
	l := &losses{armed: map[uint16]*loss{}}
	l.arm(client, loss{skip: 1, times: 2})
	for i, c := range []struct {
		frame []byte
		lost  bool
	}{
		{frame(client, server, 100, flagACK, 0), false},        // no data
		{frame(server, client, 100, flagACK, 10), false},       // the other way
		{frame(client+1, server, 100, flagACK, 10), false},     // another connection
		{frame(client, server, 4294967290, flagACK, 5), false}, // the first
		{frame(client, server, 4294967295, flagACK, 10), true}, // the second, at the end of the numbers
		{frame(client, server, 4294967290, flagACK, 5), false}, // the first again
		{frame(client, server, 9, flagACK, 10), false},         // the third
		{frame(client, server, 4294967290, flagACK, 20), true}, // again, merged with the first
		{frame(client, server, 4294967295, flagACK, 10), false},
		{[]byte{1, 2, 3}, false},
	} {
		if got := l.lose(c.frame); got != c.lost {
			t.Errorf("frame %d: lost is %v", i, got)
		}
	}
	if n := l.done(client); n != 2 || l.done(client) != 0 {
		t.Errorf("lost %d times", n)
	}
	l.arm(client, loss{syn: true, times: 1})
	if l.lose(frame(client, server, 1, flagACK, 10)) || !l.lose(frame(client, server, 1, flagSYN, 0)) || l.lose(frame(client, server, 1, flagSYN, 0)) {
		t.Error("not the first SYN was lost")
	}
	answers := &losses{back: true, armed: map[uint16]*loss{}}
	answers.arm(client, loss{times: 1})
	if answers.lose(frame(client, server, 1, flagACK, 10)) || !answers.lose(frame(server, client, 1, flagACK, 10)) {
		t.Error("not the answer was lost")
	}
}

func TestTruthIsReadAsWritten(t *testing.T) {
	folder := t.TempDir()
	want := []Truth{{Key: "/a/1#2", Kind: "a", Note: "slept for 3 ms; 4 of 5"}, {Key: "port:7", Kind: Disturbed}}
	if err := writeTruth(filepath.Join(folder, TruthFile), want); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadTruth(folder); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(folder, TruthFile), []byte("/a/1\ta\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTruth(folder); err == nil {
		t.Error("a line with two columns was taken")
	}
}

// TestDisturbances: an exchange that ended during a disturbance, or soon after, isn't judged.
func TestDisturbances(t *testing.T) {
	at := time.Unix(1000, 0)
	d := disturbances{lasts: usually, all: []disturbance{{at, at.Add(50 * time.Millisecond)}}}
	for after, want := range map[time.Duration]bool{-time.Millisecond: false, time.Millisecond: true, usually: true, usually + 60*time.Millisecond: false} {
		if got := d.touch(at.Add(after)); got != want {
			t.Errorf("an exchange that ended %v after the disturbance began: %v", after, got)
		}
	}
}

func TestEach(t *testing.T) {
	done := make(chan int, 10)
	wrong := errors.New("wrong")
	err := each(10, 3, func(i int) error {
		done <- i
		if i == 4 {
			return wrong
		}
		return nil
	})
	if !errors.Is(err, wrong) || !strings.Contains(err.Error(), "exchange 4") {
		t.Error(err)
	}
	if err := each(0, 2, func(int) error { return wrong }); err != nil {
		t.Error(err)
	}
	if first := between(0, 5, 10); first != 5 || between(100, 0, 101) >= 101 {
		t.Error("between is outside")
	}
}

// TestDisturbedAreMadeAgain: what was disturbed is made again, under other numbers, but not forever.
func TestDisturbedAreMadeAgain(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		until time.Time
		calls int
	}{
		{now.Add(-time.Hour), 10},
		{now.Add(time.Hour), most * 10},
	} {
		s := &site{machine: &disturbances{all: []disturbance{{now.Add(-2 * time.Hour), c.until}}}}
		var mu sync.Mutex
		seen := map[int]bool{}
		if err := s.each(10, 4, func(i int) error {
			mu.Lock()
			defer mu.Unlock()
			seen[i] = true
			return nil
		}); err != nil {
			t.Error(err)
		}
		if len(seen) != c.calls || !seen[0] || !seen[c.calls-1] {
			t.Errorf("%d calls, want %d", len(seen), c.calls)
		}
	}
}
