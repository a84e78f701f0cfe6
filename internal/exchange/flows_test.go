package exchange_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// unreachable makes an ICMP error that came at a time of the table.
func unreachable(at int64, v6 bool, typ, code uint8) proto.ICMPError {
	return proto.ICMPError{
		At: clock.Mark{Time: epoch + at}, From: netip.MustParseAddr("10.0.0.1").As16(), V6: v6, Type: typ, Code: code,
	}
}

// TestKilled: an ICMP error is blamed for what wasn't answered since, if it says that packets don't get there.
func TestKilled(t *testing.T) {
	for _, c := range []struct {
		name  string
		error func(asked int64) proto.ICMPError
		count uint32
		want  string
	}{
		{"none", func(int64) proto.ICMPError { return proto.ICMPError{} }, 0, "unanswered: the client closed before an answer"},
		{"port", func(at int64) proto.ICMPError { return unreachable(at+1, false, 3, 3) }, 1, "aborted: port unreachable, says 10.0.0.1"},
		{"with the question", func(at int64) proto.ICMPError { return unreachable(at, false, 3, 1) }, 2, "aborted: host unreachable, says 10.0.0.1"},
		{"before it", func(at int64) proto.ICMPError { return unreachable(at-1, false, 3, 3) }, 1, "unanswered: the client closed before an answer"},
		{"too big", func(at int64) proto.ICMPError { return unreachable(at+1, false, 3, 4) }, 1, "unanswered: the client closed before an answer"},
		{"source quench", func(at int64) proto.ICMPError { return unreachable(at+1, false, 4, 0) }, 1, "unanswered: the client closed before an answer"},
		{"hop limit", func(at int64) proto.ICMPError { return unreachable(at+1, false, 11, 0) }, 1, "aborted: hop limit exceeded, says 10.0.0.1"},
		{"a code that nobody has named", func(at int64) proto.ICMPError { return unreachable(at+1, false, 12, 9) }, 1, "aborted: parameter problem, says 10.0.0.1"},
		{"ICMPv6", func(at int64) proto.ICMPError { return unreachable(at+1, true, 1, 4) }, 1, "aborted: port unreachable, says 10.0.0.1"},
		{"ICMPv6, too big", func(at int64) proto.ICMPError { return unreachable(at+1, true, 2, 0) }, 1, "unanswered: the client closed before an answer"},
		{"ICMPv6, of a type that ICMP has", func(at int64) proto.ICMPError { return unreachable(at+1, true, 11, 0) }, 1, "unanswered: the client closed before an answer"},
	} {
		b := newTable(defaults())
		for name, conn := range b.pairers("redis") {
			conn.whole(proto.Request, 1, "GET answered", nil)
			conn.whole(proto.Response, 1, "", nil)
			m := conn.whole(proto.Request, 2, "GET a", nil)
			conn.facts.Error, conn.facts.Errors = c.error(m.First.Time-epoch), c.count
			conn.close()
			compare(t, b.saying(), "0 GET answered answered complete\n1 GET a "+c.want)
			if t.Failed() {
				t.Fatalf("%s, %s", c.name, name)
			}
		}
	}
}

// TestAnsweredInSpite: an error doesn't matter to what was answered all the same.
func TestAnsweredInSpite(t *testing.T) {
	b := newTable(defaults())
	c := b.pairers("redis")["in order"]
	c.whole(proto.Request, 1, "GET a", nil)
	c.facts.Error, c.facts.Errors = unreachable(c.now, false, 3, 1), 1
	c.whole(proto.Response, 1, "", nil)
	c.close()
	compare(t, b.saying(), "0 GET a answered complete")
}

// TestErrorOfOthers: an error about what the server sent isn't why the client has no answer, nor is one after which the server spoke.
func TestErrorOfOthers(t *testing.T) {
	for _, c := range []struct {
		name  string
		of    proto.Direction
		after int64 // when the server spoke last
		want  string
	}{
		{"of the client's", proto.Originator, -1, "aborted: port unreachable, says 10.0.0.1"},
		{"at the same time", proto.Originator, 0, "aborted: port unreachable, says 10.0.0.1"},
		{"of the server's", proto.Responder, -1, "unanswered: the client closed before an answer"},
		{"the server goes on", proto.Originator, 1, "unanswered: the client closed before an answer"},
	} {
		b := newTable(defaults())
		for name, conn := range b.pairers("redis") {
			m := conn.whole(proto.Request, 1, "GET a", nil)
			conn.facts.Error, conn.facts.Errors = unreachable(m.First.Time-epoch+2, false, 3, 3), 1
			conn.facts.Error.Of = c.of
			conn.facts.Half[proto.Responder].Last = conn.facts.Error.At.Time + c.after
			conn.close()
			compare(t, b.saying(), "0 GET a "+c.want)
			if t.Failed() {
				t.Fatalf("%s, %s", c.name, name)
			}
		}
	}
}

// TestICMPNames: every name that is told leads back to an error of that name.
func TestICMPNames(t *testing.T) {
	named := map[string]bool{}
	for _, v6 := range []bool{false, true} {
		for typ := range uint8(20) {
			for code := range uint8(20) {
				e := proto.ICMPError{V6: v6, Type: typ, Code: code}
				named[exchange.ICMPName(&e)] = true
			}
		}
	}
	for name := range named {
		e := proto.ICMPError{}
		if e.V6, e.Type, e.Code = exchange.ICMPNamed(name); name != "ICMP error" && exchange.ICMPName(&e) != name {
			t.Errorf("%s leads to %s", name, exchange.ICMPName(&e))
		}
	}
	if len(named) < 20 {
		t.Errorf("only %d names", len(named))
	}
}

// TestUDPUnanswered: a question over UDP of whose answer nothing was captured wasn't answered, where TCP's acknowledgements would tell
// that the other direction wasn't captured.
func TestUDPUnanswered(t *testing.T) {
	for protocol, want := range map[uint8]string{
		6:  "0 Q a onesided: the server's packets weren't captured",
		17: "0 Q a unanswered: no answer: connection silent",
	} {
		b := newTable(defaults())
		c := b.pairers("dns")["by stream"]
		c.flow.Proto = protocol
		m := c.begin(proto.Request, 1, "Q a", func(m *proto.Message) {
			m.Say("type", []byte("Q"))
			m.Say("name", []byte("a"))
		})
		c.end(m, proto.Whole, proto.Open)
		c.facts.Half[proto.Responder].Packets, c.facts.Why = 0, proto.TimedOut
		c.sink.Closed(proto.Originator, c.mark(), true)
		compare(t, b.saying(), want)
	}
}

// TestFlowReporter: each record counts what was sent since the one before.
func TestFlowReporter(t *testing.T) {
	b := newTable(defaults())
	c := b.connect()
	c.facts = proto.Facts{}
	var r exchange.FlowReporter
	r.Open(c.flow.First)
	if r.Since() != epoch {
		t.Errorf("since %d", r.Since())
	}
	send := func(d proto.Direction, packets, bytes uint64) {
		h := &c.facts.Half[d]
		h.Packets, h.Bytes, h.Last = h.Packets+packets, h.Bytes+bytes, epoch+c.now
	}
	at := func(ms int64) clock.Mark {
		c.now = ms * 1e6
		return clock.Mark{Time: epoch + ms*1e6, Packet: uint64(ms)}
	}
	at(5)
	send(proto.Originator, 3, 100)
	r.Report(&c.layer, "ssh", proto.Originator, at(10), false)
	send(proto.Originator, 1, 7)
	send(proto.Responder, 2, 50)
	r.Report(&c.layer, "ssh", proto.Originator, at(20), false)
	r.Report(&c.layer, "ssh", proto.Originator, at(30), false) // nothing was sent
	at(35)
	send(proto.Responder, 1, 0)
	c.facts.Why = proto.TimedOut
	r.Report(&c.layer, "ssh", proto.Originator, at(900), true)
	var got []string
	for _, x := range b.out.Done {
		got = append(got, fmt.Sprintf("%d %v %d-%d: %d/%d %d/%d", x.Period.Number, x.Period.Final, (x.Start.Time-epoch)/1e6, (x.Completed.Time-epoch)/1e6,
			x.During[0].Packets, x.During[0].Bytes, x.During[1].Packets, x.During[1].Bytes))
		if x.Family != exchange.Other || x.Protocol != "ssh" || x.HasRequest || x.HasResponse || !x.Stream || x.Period.Since != epoch {
			t.Errorf("%+v", x)
		}
	}
	want := "[0 false 0-10: 3/100 0/0 1 false 10-20: 1/7 2/50 2 false 20-30: 0/0 0/0 3 true 30-35: 0/0 1/0]"
	if fmt.Sprint(got) != want {
		t.Errorf("%v\nwant %s", got, want)
	}
	if c.layer.Begun() {
		t.Error("records of flows are taken for exchanges")
	}
	if b.engine.Memory() != 0 {
		t.Errorf("%d bytes are still charged", b.engine.Memory())
	}
	ids := map[[exchange.IDSize]byte]bool{}
	for _, x := range b.out.Done {
		ids[x.ID("")] = true
	}
	if len(ids) != 4 {
		t.Errorf("4 records have %d ids", len(ids))
	}
}

// TestFlowReporterAfterAReset: a reset is believed later than it came; the record doesn't end before it begins.
func TestFlowReporterAfterAReset(t *testing.T) {
	b := newTable(defaults())
	c := b.connect()
	var r exchange.FlowReporter
	r.Open(c.flow.First)
	at := func(ms int64) clock.Mark { return clock.Mark{Time: epoch + ms*1e6, Packet: uint64(ms)} }
	r.Report(&c.layer, "ssh", proto.Originator, at(100), false)
	c.facts.Why = proto.Reset
	r.Report(&c.layer, "ssh", proto.Originator, at(95), true)
	if x := b.out.Done[1]; x.Start.Time != epoch+100e6 || x.Completed.Time != x.Start.Time {
		t.Errorf("from %d to %d", x.Start.Time-epoch, x.Completed.Time-epoch)
	}
}

// TestRefused: a connection of which nothing came, by what was captured of it.
func TestRefused(t *testing.T) {
	facts := func(packets [2]uint64, syns uint16, change func(f *proto.Facts)) proto.Facts {
		f := proto.Facts{SYNs: syns, Why: proto.CaptureEnded}
		if syns > 0 {
			f.SYN = epoch
		}
		f.Half[0].Packets, f.Half[1].Packets = packets[0], packets[1]
		change(&f)
		return f
	}
	same := func(*proto.Facts) {}
	reset := func(f *proto.Facts) { f.Why, f.By = proto.Reset, proto.Responder }
	for _, c := range []struct {
		name      string
		facts     proto.Facts
		midstream bool
		refused   bool
		grade     string
	}{
		{"reset", facts([2]uint64{1, 1}, 1, reset), false, true, "aborted: connection refused"},
		{"silence", facts([2]uint64{1, 0}, 1, same), false, true, "unanswered: nobody answered the SYN, sent once"},
		{"long silence", facts([2]uint64{4, 0}, 4, same), false, true, "unanswered: nobody answered the SYN, sent 4 times"},
		{"unreachable", facts([2]uint64{1, 0}, 1, func(f *proto.Facts) {
			reset(f)
			f.Error, f.Errors = unreachable(5, false, 3, 1), 1
		}), false, true, "aborted: host unreachable, says 10.0.0.1"},
		{"answered", facts([2]uint64{2, 1}, 1, func(f *proto.Facts) { f.SYNACK = epoch + 1 }), false, false, "complete"},
		{"answered, and reset later", facts([2]uint64{3, 2}, 1, func(f *proto.Facts) {
			reset(f)
			f.SYNACK = epoch + 1
		}), false, false, "complete"},
		{"answered, which wasn't captured", facts([2]uint64{2, 0}, 1, same), false, false, "onesided: the server's packets weren't captured"},
		{"answered, of which the reset alone was captured", facts([2]uint64{3, 1}, 1, reset), false, false, "complete"},
		{"from its middle", facts([2]uint64{3, 0}, 0, same), true, false, "midstream: it began before the capture"},
		{"of UDP", facts([2]uint64{3, 0}, 0, same), false, false, "complete"},
		{"of UDP, nobody there", facts([2]uint64{3, 0}, 0, func(f *proto.Facts) { f.Error, f.Errors = unreachable(5, false, 3, 3), 3 }), false, true, "aborted: port unreachable, says 10.0.0.1"},
		{"of UDP, a packet was too big", facts([2]uint64{3, 0}, 0, func(f *proto.Facts) { f.Error, f.Errors = unreachable(5, false, 3, 4), 3 }), false, false, "complete"},
		{"of UDP, nobody there any more", facts([2]uint64{3, 1}, 0, func(f *proto.Facts) { f.Error, f.Errors = unreachable(5, false, 3, 3), 3 }), false, false, "complete"},
	} {
		b := newTable(defaults())
		conn := b.connect()
		conn.facts, conn.flow.Midstream = c.facts, c.midstream
		if got := conn.layer.Refused(); got != c.refused {
			t.Errorf("%s: refused %v", c.name, got)
		}
		var r exchange.FlowReporter
		r.Open(conn.flow.First)
		r.Report(&conn.layer, "unknown", proto.Originator, clock.Mark{Time: epoch + 9e6, Packet: 9}, true)
		x := b.out.Done[0]
		got := x.Grade.String()
		if x.Reason != "" {
			got += ": " + x.Reason
		}
		if got != c.grade {
			t.Errorf("%s: %s, want %s", c.name, got, c.grade)
		}
	}
}
