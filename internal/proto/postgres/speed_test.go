package postgres

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// counter is a sink that counts, and wants so much of each body.
type counter struct {
	heads, ends, lost, want int
	// ended is told of each message that ends, unless it is nil.
	ended func(m *proto.Message)
}

func (c *counter) Head(*proto.Message) proto.Answers { c.heads++; return proto.AnswersUnknown }
func (c *counter) Body(*proto.Message, []byte)       {}
func (c *counter) WantsBody(*proto.Message) int      { return c.want }
func (c *counter) End(m *proto.Message) {
	c.ends++
	if c.ended != nil {
		c.ended(m)
	}
}
func (c *counter) Lost(proto.Direction, clock.Mark) { c.lost++ }
func (c *counter) Abort(*proto.Abort)               {}
func (c *counter) Session(*proto.TLS)               {}
func (c *counter) Proxied(*proto.Proxied)           {}

// talk plays a transaction over and over.
type talk struct {
	parser     proto.Parser
	sink       counter
	held       int
	at         [2]clock.Mark
	ask, reply []byte
}

func newTalk(prepare, ask, reply string) *talk {
	t := &talk{ask: []byte(ask), reply: []byte(reply)}
	t.parser = New(&proto.Context{
		Sink: &t.sink, Held: &t.held,
		Limits: &proto.Limits{MaxFields: 100, MaxStatement: 16 << 10, MaxMessage: 1 << 20, MaxStreams: 100},
	})
	t.send(proto.Originator, []byte(startup("user", "app")))
	t.send(proto.Responder, []byte(packet("R", u32(0))+ready("I")))
	if prepare != "" {
		t.send(proto.Originator, []byte(prepare))
		t.send(proto.Responder, []byte(parsed+packet("t", u16(2), u32(oidInt4), u32(oidText))+columns(0, oidInt4, oidInt4)+ready("I")))
	}
	return t
}

func (t *talk) send(d proto.Direction, b []byte) {
	t.at[d].Peer = t.at[d.Other()].Offset
	t.parser.Data(d, b, t.at[d])
	t.at[d].Offset += int64(len(b))
}

func (t *talk) turn() {
	t.send(proto.Originator, t.ask)
	t.send(proto.Responder, t.reply)
}

const statementText = "SELECT id, name, price FROM products WHERE category = $1 AND name LIKE $2 ORDER BY price LIMIT 10"

// talks are what clients do most of the time.
var talks = []struct{ name, prepare, ask, reply string }{
	{
		"prepared", parse("s1", statementText) + describe("S", "s1") + sync,
		bind("", "s1", 1, u32(7), "abc%") + execute("") + sync,
		bound + row(u32(1), u32(2)) + complete("SELECT 1") + ready("I"),
	},
	{
		"unnamed", "",
		parse("", statementText) + bind("", "", 0, "7", "abc%") + describe("P", "") + execute("") + sync,
		parsed + bound + columns(0, oidInt4, oidText) + row("1", "abcdef") + complete("SELECT 1") + ready("I"),
	},
	{
		"simple", "", query(strings.Replace(statementText, "$1", "'7'", 1)),
		columns(0, oidInt4, oidText) + row("1", "abcdef") + complete("SELECT 1") + ready("I"),
	},
}

// TestNoAllocation holds the common case against its promise: nothing is allocated for a statement and its answer.
func TestNoAllocation(t *testing.T) {
	for _, c := range talks {
		talk := newTalk(c.prepare, c.ask, c.reply)
		before := talk.sink.ends
		talk.turn()
		if n := testing.AllocsPerRun(100, talk.turn); n != 0 {
			t.Errorf("%s: %v allocations for a transaction", c.name, n)
		}
		if n := talk.sink.ends - before; n != 2*102 || talk.sink.lost != 0 {
			t.Errorf("%s: %d messages of 102 transactions, %d losses", c.name, n, talk.sink.lost)
		}
	}
}

func BenchmarkTransactions(b *testing.B) {
	for _, c := range talks {
		b.Run(c.name, func(b *testing.B) {
			talk := newTalk(c.prepare, c.ask, c.reply)
			b.ReportAllocs()
			for b.Loop() {
				talk.turn()
			}
		})
	}
}

func BenchmarkRows(b *testing.B) {
	for _, c := range []struct {
		name string
		want int
	}{{"counted", 0}, {"shown", 1 << 30}} {
		b.Run(c.name, func(b *testing.B) {
			rows := strings.Repeat(row("12345", "some text of a row", "2026-11-22 10:00:00"), 1000)
			talk := newTalk("", query("select"), columns(0, oidInt4, oidText, oidTimestamp)+rows+complete("SELECT 1000")+ready("I"))
			talk.sink.want = c.want
			b.SetBytes(int64(len(talk.reply)))
			b.ReportAllocs()
			for b.Loop() {
				talk.turn()
			}
		})
	}
}
