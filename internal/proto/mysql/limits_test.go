package mysql

import (
	"fmt"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

// lines of what comes out of steps after a login.
func played(t *testing.T, caps uint64, steps ...string) string {
	t.Helper()
	r, err := prototest.Play(New, prototest.Case{Script: in(caps, steps...)})
	if err != nil {
		t.Fatal(err)
	}
	return r.Text()
}

func TestMaxStatements(t *testing.T) {
	var steps []string
	for i := range MaxStatements + 1 {
		steps = append(steps, ">"+packet(0, fmt.Sprintf("\x16SELECT %d", i)), "<"+prepared(i, 0, 0, false))
	}
	steps = append(steps, ">"+execute(0, ""), ">"+execute(1, ""), ">"+execute(MaxStatements, ""))
	text := played(t, capsNew, steps...)
	for _, want := range []string{"request ? ? at", "request SELECT SELECT 1 at", fmt.Sprintf("request SELECT SELECT %d at", MaxStatements)} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing is %q", want)
		}
	}
}

func TestMaxStatementBytes(t *testing.T) {
	held := 0
	p := started(new(nowhere), &held, capsNew)
	var at clock.Mark
	for i := range MaxStatements {
		p.Data(proto.Originator, []byte(packet(0, "\x16"+strings.Repeat("x", 20<<10))), at)
		p.Data(proto.Responder, []byte(prepared(i, 0, 1, false)), at)
		if held > maxStatementBytes+100<<10 {
			t.Fatalf("%d bytes are held after %d statements", held, i+1)
		}
	}
	if held < maxStatementBytes/2 {
		t.Errorf("%d bytes are held", held)
	}
	// Parameters that are sent beforehand, and types, count as well.
	for i := range 200 {
		p.Data(proto.Originator, []byte(packet(0, "\x18"+le32(MaxStatements-1-i%50)+le16(i)+strings.Repeat("y", 16<<10))), at)
	}
	if held > maxStatementBytes+100<<10 {
		t.Errorf("%d bytes are held with parameters", held)
	}
	for d := range 2 {
		p.Close(proto.Direction(d), at, proto.Finished)
	}
	if held != 0 {
		t.Errorf("%d bytes are held at the end", held)
	}
}

func TestMaxOutstanding(t *testing.T) {
	many := strings.Repeat(query("SELECT 1"), MaxOutstanding)
	if text := played(t, capsNew, ">"+many, "<"+set(1, false, autocommit)); strings.Contains(text, "lost") || strings.Count(text, "response") != 2 {
		t.Errorf("%d commands are too many: %.2000s", MaxOutstanding, text)
	}
	text := played(t, capsNew, ">"+many+query("SELECT 1"), "<"+set(1, false, autocommit))
	if !strings.Contains(text, "< lost") || strings.Count(text, "response") != 1 || strings.Count(text, "request SELECT") != MaxOutstanding+1 {
		t.Errorf("one more isn't: %.2000s", text)
	}
}

func TestInflationIsBounded(t *testing.T) {
	held, sink := 0, new(nowhere)
	p := started(sink, &held, capsNew|capCompress)
	var at clock.Mark
	p.Data(proto.Originator, []byte(squeezed(0, "", query("SELECT 1"))), at)
	bomb := squeezed(1, "zlib", packet(1, "\x01")+column(2, "a", 253, 0)+packet(3, "\xfd\x00\x00\xf0"+strings.Repeat("x", 0xf00000))+endOK(4, autocommit))
	if len(bomb) > 20<<10 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	p.Data(proto.Responder, []byte(bomb), at)
	if held > 2*inflaterSize || sink.ends != 4 || sink.lost > 0 {
		t.Errorf("%d bytes are held; %+v", held, sink)
	}
	// One that inflates to more than it says is read as far as it says.
	p.Data(proto.Originator, []byte(squeezed(0, "", query("SELECT 1"))), at)
	lie := []byte(squeezed(1, "zlib", set(1, false, autocommit)+strings.Repeat("x", 100000)))
	said := len(set(1, false, autocommit))
	lie[4], lie[5], lie[6] = byte(said), byte(said>>8), 0
	p.Data(proto.Responder, lie, at)
	if sink.ends != 6 || sink.lost > 0 {
		t.Errorf("%+v", sink)
	}
}

// TestPacketsOfMaximalSize plays a statement and a row that are larger than one packet holds.
func TestPacketsOfMaximalSize(t *testing.T) {
	const size = maxPacket + 1000
	var got []string
	sink := &summary{lines: &got}
	held := 0
	p := started(sink, &held, capsNew)
	at := clock.Mark{Time: 1}
	offset := [2]int64{}
	send := func(d proto.Direction, s string) {
		for len(s) > 0 {
			n := min(len(s), 64<<10)
			at.Offset = offset[d]
			p.Data(d, []byte(s[:n]), at)
			offset[d] += int64(n)
			s = s[n:]
		}
	}
	send(proto.Originator, packet(0, "\x03SELECT '"+strings.Repeat("x", size)+"'"))
	send(proto.Responder, packet(2, "\x01")+column(3, "a", 253, 0)+packet(4, lenenc(size)+strings.Repeat("x", size))+endOK(6, autocommit))
	send(proto.Originator, packet(0, "\x03"+strings.Repeat("x", maxPacket-1))) // of one packet, and an empty one
	send(proto.Responder, ok(2, 0, 0, autocommit, 0))
	want := []string{
		fmt.Sprintf("request %d", size+2*headerSize+len("\x03SELECT ''")), fmt.Sprintf("response %d, 1 rows, largest %d", 0, size+len(lenenc(size))),
		fmt.Sprintf("request %d", maxPacket+2*headerSize), "response 0, 0 rows, largest 0",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || held > 64<<10 {
		t.Errorf("%q, want %q; %d bytes held", got, want, held)
	}
}

// summary is a sink that writes down the sizes of messages, after the login.
type summary struct {
	nowhere
	lines *[]string
}

func (s *summary) End(m *proto.Message) {
	s.ends++
	switch {
	case s.ends <= 2:
	case m.Kind == proto.Request:
		*s.lines = append(*s.lines, fmt.Sprintf("request %d", m.Size))
	default:
		*s.lines = append(*s.lines, fmt.Sprintf("response %d, %d rows, largest %d", m.MissingBytes, m.Parts.Count, m.Parts.Largest))
	}
}
