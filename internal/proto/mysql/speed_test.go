package mysql

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

// nowhere is a sink that counts what it is told and wants nothing of it.
type nowhere struct{ heads, ends, lost int }

func (n *nowhere) Head(*proto.Message) proto.Answers { n.heads++; return proto.AnswersUnknown }
func (n *nowhere) Body(*proto.Message, []byte)       {}
func (n *nowhere) WantsBody(*proto.Message) int      { return 0 }
func (n *nowhere) End(*proto.Message)                { n.ends++ }
func (n *nowhere) Lost(proto.Direction, clock.Mark)  { n.lost++ }
func (n *nowhere) Abort(*proto.Abort)                {}
func (n *nowhere) Session(*proto.TLS)                {}
func (n *nowhere) Proxied(*proto.Proxied)            {}

// started returns a parser of a session that has logged in.
func started(sink proto.Sink, held *int, caps uint64) proto.Parser {
	p := New(&proto.Context{Sink: sink, Limits: prototest.DefaultLimits(), Held: held})
	var at clock.Mark
	for _, step := range enter(caps) {
		d := proto.Originator
		if step[0] == '<' {
			d = proto.Responder
		}
		p.Data(d, []byte(step[1:]), at)
	}
	return p
}

// pairs are commands and their answers, each in one segment.
var pairs = map[string][2]string{
	"ok":    {query("UPDATE accounts SET balance = balance - 5 WHERE id = 4711"), ok(1, 1, 0, autocommit, 0)},
	"row":   {query("SELECT id, name, email, created FROM users WHERE id = 4711"), set(1, false, autocommit)},
	"rows":  {query("SELECT name, n FROM t"), packet(1, "\x02") + column(2, "name", 253, 0) + column(3, "n", 3, 0) + strings.Repeat(row(4, "somebody's name", "4711"), 100) + endOK(104, autocommit)},
	"empty": {query("select id from t where false"), packet(1, "\x01") + column(2, "id", 3, 0) + endOK(3, autocommit)},
}

func TestCommonCaseAllocatesNothing(t *testing.T) {
	for name, pair := range pairs {
		held, sink := 0, new(nowhere)
		p := started(sink, &held, capsNew)
		var at clock.Mark
		ask, answer := []byte(pair[0]), []byte(pair[1])
		const runs = 100
		allocs := testing.AllocsPerRun(runs, func() {
			p.Data(proto.Originator, ask, at)
			p.Data(proto.Responder, answer, at)
		})
		if want := 2 + 2*(runs+1); sink.heads != want || sink.ends != want || sink.lost > 0 {
			t.Errorf("%s: %d heads, %d ends, %d losses, want %d", name, sink.heads, sink.ends, sink.lost, want)
		}
		if allocs != 0 {
			t.Errorf("%s: a query allocates %v times", name, allocs)
		}
	}
}

func TestExecutionAllocatesNothing(t *testing.T) {
	held, sink := 0, new(nowhere)
	p := started(sink, &held, capsNew)
	var at clock.Mark
	p.Data(proto.Originator, []byte(packet(0, "\x16"+"SELECT id, name FROM t WHERE id = ?")), at)
	p.Data(proto.Responder, []byte(prepared(3, 2, 1, false)), at)
	ask, answer := []byte(execute(3, "\x00\x01"+"\x03\x80"+le32(7))), []byte(binarySet(false))
	allocs := testing.AllocsPerRun(100, func() {
		p.Data(proto.Originator, ask, at)
		p.Data(proto.Responder, answer, at)
	})
	if allocs != 0 || sink.lost > 0 || sink.ends != 4+2*101 {
		t.Errorf("an execution allocates %v times; %+v", allocs, sink)
	}
}

func BenchmarkQuery(b *testing.B) {
	for name, pair := range pairs {
		b.Run(name, func(b *testing.B) {
			held, sink := 0, new(nowhere)
			p := started(sink, &held, capsNew)
			var at clock.Mark
			ask, answer := []byte(pair[0]), []byte(pair[1])
			b.SetBytes(int64(len(ask) + len(answer)))
			b.ReportAllocs()
			for b.Loop() {
				p.Data(proto.Originator, ask, at)
				p.Data(proto.Responder, answer, at)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "queries/s")
		})
	}
}
