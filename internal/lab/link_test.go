//go:build linux

package lab

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

// carried is a link, and what sends numbered frames into it and takes them at its other end.
type carried struct {
	t    *testing.T
	link *RunningLink
	in   *packetSocket
	out  *packetSocket
}

// marker is the EtherType of the frames (IEEE 802 local experimental): no host answers them.
const marker = 0x88b5

func carry(t *testing.T, there Conditions) *carried {
	t.Helper()
	l := newLab(t)
	wire := must(l.Namespace("wire"))(t)
	near, far := must(l.Namespace("near"))(t), must(l.Namespace("far"))(t)
	a, b := End{wire, "a", nil}, End{wire, "b", nil}
	check(t, Veth(End{near, "n", nil}, a), Veth(End{far, "f", nil}, b))
	c := &carried{t: t}
	c.link = must(Link{A: a, B: b, There: &there}.Run())(t)
	c.in, c.out = must(near.openPacket("n", false))(t), must(far.openPacket("f", true))(t)
	t.Cleanup(func() { c.in.close(); c.out.close() })
	return c
}

// send sends frames with the numbers from first to last, each with an IP packet's room of that many bytes.
func (c *carried) send(first, last, size int) {
	c.t.Helper()
	for i := first; i <= last; i++ {
		frame := binary.BigEndian.AppendUint16(bytes.Repeat([]byte{2}, macsLen), marker)
		frame = binary.BigEndian.AppendUint16(frame, uint16(i))
		check(c.t, c.in.send(append(frame, make([]byte, size-2)...)))
	}
}

// receive returns the numbers of the next n frames.
func (c *carried) receive(n int) (all []int) {
	c.t.Helper()
	buf := make([]byte, longestFrame)
	late := time.AfterFunc(Patience, func() { c.out.close() })
	defer late.Stop()
	for len(all) < n {
		b, err := c.out.receive(buf)
		if err != nil {
			c.t.Fatalf("%d of %d frames came: %v", len(all), n, err)
		}
		if binary.BigEndian.Uint16(b[macsLen:]) == marker {
			all = append(all, int(binary.BigEndian.Uint16(b[macsLen+2:])))
		}
	}
	return all
}

func numbers(from, to int, but ...int) (all []int) {
	for i := from; i <= to; i++ {
		if len(but) == 0 || i != but[0] {
			all = append(all, i)
		} else {
			but = but[1:]
		}
	}
	return all
}

// The frames that the conditions name get lost, and no others; other conditions apply from then on.
func TestLinkLosesTheChosen(t *testing.T) {
	third := func(frame []byte) bool {
		return binary.BigEndian.Uint16(frame[macsLen:]) == marker && frame[macsLen+3] == 3
	}
	c := carry(t, Conditions{Lose: third})
	c.send(1, 5, 100)
	if got := c.receive(4); !slices.Equal(got, numbers(1, 5, 3)) {
		t.Errorf("%v", got)
	}
	check(t, c.link.Set(Conditions{}, Conditions{}))
	c.send(1, 5, 100)
	if got := c.receive(5); !slices.Equal(got, numbers(1, 5)) {
		t.Errorf("%v", got)
	}
	if there, _ := c.link.Close(); there.Lost != 1 || there.Delivered < 9 {
		t.Errorf("%+v", there)
	}
}

// Long packets vanish where the MTU is smaller, short ones don't.
func TestLinkMTU(t *testing.T) {
	c := carry(t, Conditions{MTU: 500})
	c.send(1, 1, 501)
	c.send(2, 2, 500)
	c.send(3, 3, 501)
	c.send(4, 4, 100)
	if got := c.receive(2); !slices.Equal(got, []int{2, 4}) {
		t.Errorf("%v", got)
	}
	if there, _ := c.link.Close(); there.TooLong != 2 {
		t.Errorf("%+v", there)
	}
}

// Late frames are overtaken, and all arrive.
func TestLinkReorders(t *testing.T) {
	const n = 200
	c := carry(t, Conditions{Late: 0.2, LateBy: 50 * time.Millisecond})
	c.send(1, n, 60)
	got := c.receive(n)
	overtaken, seen := 0, map[int]bool{}
	for i, v := range got {
		seen[v] = true
		if i > 0 && v < got[i-1] {
			overtaken++
		}
	}
	if len(seen) != n || overtaken == 0 {
		t.Errorf("%d different frames of %d, %d overtaken", len(seen), n, overtaken)
	}
}

// What finds the queue of a slow link full gets lost.
func TestLinkQueueOverflows(t *testing.T) {
	const frame, fit = 1014, 10
	c := carry(t, Conditions{Rate: 20_000, Queue: fit * frame})
	c.send(1, 100, frame-etherLen)
	got := c.receive(fit)
	if !slices.Equal(got, numbers(1, fit)) {
		t.Errorf("%v", got)
	}
	if there, _ := c.link.Close(); there.Overflowed < 50 {
		t.Errorf("%+v", there)
	}
}

// Frames that come out later than they should are told.
func TestLinkOverdue(t *testing.T) {
	l := newLab(t)
	_, server := hosts(t, l)
	a, b := End{must(l.Namespace("wire"))(t), "a", nil}, End{must(l.Namespace("other"))(t), "b", nil}
	check(t, Veth(a, b))
	told := make(chan time.Duration, linkQueue)
	// No frame can be sent before it is due by an hour.
	must(Link{A: a, B: server, Slack: -time.Hour, Overdue: func(due, sent time.Time) { told <- sent.Sub(due) }}.Run())(t)
	s := must(b.Namespace.openPacket("b", false))(t)
	defer s.close()
	check(t, s.send(make([]byte, 60)))
	select {
	case by := <-told:
		if by < 0 {
			t.Errorf("sent %v before it was due", -by)
		}
	case <-time.After(Patience):
		t.Error("no frame was overdue")
	}
}

func TestConditionsAreChecked(t *testing.T) {
	c := carry(t, Conditions{})
	for _, bad := range []Conditions{{Loss: 1.1}, {Late: -0.1}, {Delay: -1}, {Jitter: -1}, {LateBy: -1}, {Rate: -1}, {Queue: -1}, {MTU: -1}} {
		if c.link.Set(bad, Conditions{}) == nil || c.link.Set(Conditions{}, bad) == nil {
			t.Errorf("%+v was taken", bad)
		}
		if _, err := (Link{Back: &bad}).Run(); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// Recordings get into one file in the order of time, with the names of their interfaces and the keys.
func TestPCAPNG(t *testing.T) {
	pcap := func(times ...byte) []byte {
		b := make([]byte, 24)
		for _, at := range times {
			b = append(b, 0, 0, 0, 0, at, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, at)
		}
		return b
	}
	taps := []Tapped{{"one", pcap(1, 3, 9)}, {"two", pcap(2, 4)}}
	file, packets, err := PCAPNG(taps, PCAPNGOptions{Shift: 5, Keep: func(f []byte) bool { return f[0] != 9 }, Keys: []byte("secret")})
	if err != nil || packets != 4 || !bytes.Contains(file, []byte("one")) || !bytes.Contains(file, []byte("two")) || !bytes.Contains(file, []byte("secret")) {
		t.Fatalf("%d packets, %v: %q", packets, err, file)
	}
	type packet struct{ tap, time, data byte }
	var got []packet
	for b := file; len(b) > 0; {
		n := binary.LittleEndian.Uint32(b[4:])
		if binary.LittleEndian.Uint32(b) == 6 {
			got = append(got, packet{b[8], b[16], b[28]})
		}
		b = b[n:]
	}
	if want := []packet{{0, 6, 1}, {1, 7, 2}, {0, 8, 3}, {1, 9, 4}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, _, err := PCAPNG([]Tapped{{"cut", pcap(1)[:40]}}, PCAPNGOptions{}); err == nil {
		t.Error("a recording that is cut off was taken")
	}
}
