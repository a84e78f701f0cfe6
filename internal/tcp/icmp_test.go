package tcp

import (
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

var portUnreachable, hostUnreachable, tooBig = packet.ICMPHeader{Type: 3, Code: 3}, packet.ICMPHeader{Type: 3, Code: 1}, packet.ICMPHeader{Type: 3, Code: 4, MTU: 1400}

// icmp sends an error about a segment of d. seq is relative to the first data byte.
func (w *wire) icmp(h packet.ICMPHeader, d proto.Direction, seq int) Verdict {
	w.number++
	w.now += int64(time.Millisecond)
	h.From = packet.Addr{15: 9}
	client, server := packet.Addr{15: 1}, packet.Addr{15: 2}
	p := &packet.Packet{
		Time: w.now, Number: w.number, Proto: packet.ProtoTCP, Net: w.net, Src: client, Dst: server, SrcPort: 40000, DstPort: 80,
		Seq: clientISN + 1 + uint32(seq), ICMP: h,
	}
	if d == proto.Responder {
		p.Src, p.Dst, p.SrcPort, p.DstPort = server, client, 80, 40000
		p.Seq = serverISN + 1 + uint32(seq)
	}
	key, fromLo := p.Key()
	return w.table.ICMP(p, &key, fromLo)
}

// An ICMP error ends an attempt, and nothing else.
func TestICMPErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		play   func(w *wire)
		want   string
		errors uint32 // of the last connection
		opened int
	}{
		{"the port of a SYN is unreachable", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "")
			w.icmp(portUnreachable, o, -1)
			w.pass(time.Second)
		}, "<rst >rst", 1, 1},
		{"the host of a SYN is unreachable", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "")
			w.icmp(hostUnreachable, o, -1)
			w.pass(time.Second)
		}, "<rst >rst", 1, 1},
		{"a SYN is too big", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "")
			w.icmp(tooBig, o, -1)
			w.pass(time.Second)
		}, "", 1, 1},
		{"the capture ends before it is believed", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "")
			w.icmp(portUnreachable, o, -1)
			w.table.Close(clock.Mark{Time: w.now + 1})
		}, "<rst >rst", 1, 1},
		{"the SYN is sent again, at once", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "")
			w.icmp(hostUnreachable, o, -1)
			w.send(o, packet.SYN, -1, -1, "")
			w.pass(time.Second)
			w.send(r, packet.SYN, -1, 0, "")
			w.send(o, 0, 0, 0, "get")
		}, ">get", 1, 1},
		{"the SYN is sent again, later", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "")
			w.icmp(hostUnreachable, o, -1)
			w.pass(time.Second)
			w.send(o, packet.SYN, -1, -1, "")
			w.send(r, packet.SYN, -1, 0, "")
			w.send(o, 0, 0, 0, "get")
		}, "<rst >rst >get", 0, 2},
		{"the SYN is answered", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "")
			w.icmp(portUnreachable, o, -1)
			w.send(r, packet.SYN, -1, 0, "")
			w.pass(time.Second)
			w.send(o, 0, 0, 0, "get")
			w.send(o, packet.FIN, 3, 0, "")
			w.send(r, packet.FIN, 0, 4, "")
			w.send(r, packet.SYN, -1, 0, "") // late
		}, ">get >fin <fin", 1, 1},
		{"both ends begin", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "")
			w.send(r, packet.SYN, -1, -1, "")
			w.icmp(hostUnreachable, o, -1)
			w.pass(time.Second)
			w.send(r, packet.SYN, -1, 0, "")
			w.send(o, 0, 0, 0, "get")
		}, ">get", 1, 1},
		{"of bytes, where one direction was captured", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "")
			w.send(o, 0, 0, 0, "get")
			w.icmp(hostUnreachable, o, 0)
			w.pass(time.Second)
			w.send(o, 0, 3, 0, "more")
		}, ">get >more", 1, 1},
		{"a reset beside the error", func(w *wire) {
			w.send(o, packet.SYN, -1, -1, "")
			w.icmp(portUnreachable, o, -1)
			w.send(r, packet.RST, -1-serverISN, 0, "")
			w.send(o, 0, 0, 0, "") // what was on its way
			w.pass(time.Second)
		}, "<rst >rst", 1, 1},
		{"an open connection goes on", func(w *wire) {
			w.handshake()
			w.send(o, 0, 0, 0, "get")
			w.icmp(hostUnreachable, o, 0)
			w.pass(time.Second)
			w.send(r, 0, 0, 3, "ok")
		}, ">get <ok", 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t, DefaultLimits)
			c.play(w)
			w.want(c.want)
			if w.facts.Errors != c.errors || w.opened != c.opened {
				t.Errorf("%d errors, %d connections, want %d, %d", w.facts.Errors, w.opened, c.errors, c.opened)
			}
			if half := w.facts.Half[o]; half.OutOfWindow > 0 {
				t.Errorf("%d segments outside the window", half.OutOfWindow)
			}
			w.table.Close(clock.Mark{})
			if w.table.Memory() != 0 || w.table.Counters.Open != 0 {
				t.Errorf("memory %d, open %d", w.table.Memory(), w.table.Counters.Open)
			}
		})
	}
}

// The facts have the error as it was, and an attempt that it ended was ended by the other side.
func TestICMPFacts(t *testing.T) {
	w := newWire(t, DefaultLimits)
	w.send(o, packet.SYN, -1, -1, "")
	w.icmp(tooBig, o, -1)
	at := clock.Mark{Time: w.now, Packet: w.number, Peer: -1}
	if got, want := w.facts.Error, (proto.ICMPError{At: at, From: packet.Addr{15: 9}, Of: o, Type: 3, Code: 4, MTU: 1400}); got != want {
		t.Errorf("error %+v, want %+v", got, want)
	}
	w.icmp(portUnreachable, o, -1)
	at = clock.Mark{Time: w.now, Packet: w.number, Peer: -1}
	w.pass(time.Second)
	if f := w.facts; f.Why != proto.Reset || f.By != r || f.Closed != at || f.Errors != 2 || f.Error.Code != 3 {
		t.Errorf("closed %v by %v at %+v, %d errors, the last %+v", f.Why, f.By, f.Closed, f.Errors, f.Error)
	}
}

// An error about a segment that can't be on its way accuses nobody.
func TestForgedICMP(t *testing.T) {
	w := newWire(t, DefaultLimits)
	if v := w.icmp(portUnreachable, o, -1); v != Unrelated {
		t.Errorf("about no connection: %v", v)
	}
	w.send(o, packet.SYN, -1, -1, "")
	check := func(what string, d proto.Direction, seq int, want Verdict) {
		t.Helper()
		if v := w.icmp(hostUnreachable, d, seq); v != want {
			t.Errorf("%s: %v, want %v", what, v, want)
		}
	}
	check("before the SYN", o, -2, Unrelated)
	check("behind the SYN", o, 1, Unrelated)
	check("of a server that has said nothing", r, 0, Unrelated)
	check("of the SYN", o, -1, Analysed)
	w.send(r, packet.SYN, -1, 0, "")
	w.send(o, 0, 0, 0, "")
	check("of the acknowledged SYN", o, -1, Unrelated)
	check("of the ACK", o, 0, Analysed)
	w.send(o, 0, 0, 0, "abcd")
	w.send(o, 0, 4, 0, "efgh")
	w.send(r, 0, 0, 4, "")
	check("of acknowledged bytes", o, 0, Unrelated)
	check("of bytes under way", o, 4, Analysed)
	check("of bytes that weren't sent", o, 9, Unrelated)
	w.send(o, packet.FIN, 8, 0, "")
	check("of the FIN", o, 8, Analysed)
	check("of an ACK behind the FIN", o, 9, Analysed)
	check("behind all", o, 10, Unrelated)
	if w.facts.Errors != 5 {
		t.Errorf("%d errors", w.facts.Errors)
	}
}

// Where only one direction was captured, its acknowledgements and its window tell what the other has under way.
func TestICMPOfTheSideThatIsMissing(t *testing.T) {
	w := newWire(t, DefaultLimits)
	w.send(o, 0, 0, 100, "get") // window 1000
	for seq, want := range map[int]Verdict{99: Unrelated, 100: Analysed, 1100: Analysed, 1101: Unrelated} {
		if v := w.icmp(hostUnreachable, r, seq); v != want {
			t.Errorf("at %d: %v, want %v", seq, v, want)
		}
	}
	// And where none was, what has been sent since long is taken to have come.
	w = newWire(t, DefaultLimits)
	w.send(o, packet.SYN, -1, -1, "")
	block := strings.Repeat("x", 1<<16)
	for i := range 20 {
		w.send(o, 0, i<<16, -1, block)
	}
	for seq, want := range map[int]Verdict{-1: Unrelated, 0: Unrelated, 19 << 16: Analysed, 20 << 16: Analysed, 21 << 16: Unrelated} {
		if v := w.icmp(hostUnreachable, o, seq); v != want {
			t.Errorf("at %d: %v, want %v", seq, v, want)
		}
	}
}

// The error finds its connection though a mirror port tags one direction only.
func TestICMPFromAnotherNet(t *testing.T) {
	w := newWire(t, DefaultLimits)
	w.net = 42
	w.send(o, packet.SYN, -1, -1, "")
	w.net = 0
	if v := w.icmp(portUnreachable, o, -1); v != Analysed {
		t.Errorf("%v", v)
	}
}
