package mongodb

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

func limits() *proto.Limits {
	return &proto.Limits{MaxHead: 64 << 10, MaxFields: 200, MaxStreams: 100, MaxMessage: 1 << 20, MaxStatement: 16 << 10}
}

var conversations = map[string][2]string{
	"find":   {ask(1, d{"find", "users", "filter", d{"age", d{"$gt", 30}}, "lsid", d{"id", 1}, "$db", "shop"}), reply(7, 1, d{"cursor", d{"firstBatch", a{d{"_id", 1, "n", "x"}, d{"_id", 2}}, "id", int64(0), "ns", "shop.users"}, "ok", 1.0})},
	"insert": {packet(1, 0, opMsg, le32(0)+"\x00"+bson(d{"insert", "c", "$db", "t"})+sequence("documents", d{"a", 1}, d{"a", 2})), reply(7, 1, d{"n", 2, "ok", 1.0})},
}

// The common case allocates nothing.
func TestAllocations(t *testing.T) {
	for name, c := range conversations {
		held := 0
		p := New(&proto.Context{Sink: silent{}, Limits: limits(), Held: &held})
		up, down := []byte(c[0]), []byte(c[1])
		if n := testing.AllocsPerRun(1000, func() {
			p.Data(proto.Originator, up, clock.Mark{})
			p.Data(proto.Responder, down, clock.Mark{})
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkParser(b *testing.B) {
	for name, c := range conversations {
		b.Run(name, func(b *testing.B) {
			held := 0
			p := New(&proto.Context{Sink: silent{}, Limits: limits(), Held: &held})
			up, down := []byte(c[0]), []byte(c[1])
			b.SetBytes(int64(len(up) + len(down)))
			b.ReportAllocs()
			for b.Loop() {
				p.Data(proto.Originator, up, clock.Mark{})
				p.Data(proto.Responder, down, clock.Mark{})
			}
		})
	}
}

// counter is a sink that takes bodies, and counts what comes.
type counter struct {
	silent
	body strings.Builder
	last proto.Message
}

func (c *counter) End(m *proto.Message) {
	if m.Kind == proto.Response {
		c.last = *m
	}
}
func (c *counter) WantsBody(*proto.Message) int         { return 200 - c.body.Len() }
func (c *counter) Body(_ *proto.Message, b []byte)      { c.body.Write(b) }
func (c *counter) Lost(d proto.Direction, _ clock.Mark) {}

// A batch of 4 MB is counted without being kept.
func TestLargeBatch(t *testing.T) {
	const documents = 400
	var batch a
	document := d{"_id", 1, "text", strings.Repeat("x", 10_000)}
	for range documents {
		batch = append(batch, document)
	}
	held, most := 0, 0
	var c counter
	p := New(&proto.Context{Sink: &c, Limits: limits(), Held: &held})
	p.Data(proto.Originator, []byte(ask(1, d{"find", "c", "$db", "t"})), clock.Mark{})
	response := []byte(reply(7, 1, d{"cursor", d{"firstBatch", batch, "id", int64(5)}, "ok", 1.0}))
	size := int64(len(response))
	for at := int64(0); len(response) > 0; {
		n := min(len(response), 1448)
		p.Data(proto.Responder, response[:n], clock.Mark{Offset: at, Time: 1000 + at})
		most = max(most, held)
		response, at = response[n:], at+int64(n)
	}
	parts, each := c.last.Parts, int64(len(bson(document)))
	if parts.Count != documents || parts.Bytes != documents*each || parts.Largest != each || parts.First != 1000 || c.last.Size != size || c.last.Framing != proto.Rendered {
		t.Errorf("%+v of %d bytes", c.last, size)
	}
	if most > 20_000 || held != 0 {
		t.Errorf("%d bytes were held, %d still are", most, held)
	}
	if want := `{"_id":1,"text":"xxx`; c.body.Len() != 200 || !strings.HasPrefix(c.body.String(), want) {
		t.Errorf("body %q", c.body.String())
	}
}

// Requests that nobody answers are forgotten, and cursors too.
func TestManyAsked(t *testing.T) {
	held := 0
	p := New(&proto.Context{Sink: silent{}, Limits: limits(), Held: &held}).(*Parser)
	for i := range 100 {
		p.Data(proto.Originator, []byte(ask(i, d{"find", "c", "awaitData", true, "$db", "t"})), clock.Mark{})
		p.Data(proto.Responder, []byte(reply(1000+i, i, d{"cursor", d{"firstBatch", a{}, "id", int64(i + 1)}, "ok", 1.0})), clock.Mark{})
		p.Data(proto.Originator, []byte(ask(2000+i, d{"find", "c", "$db", "t"})), clock.Mark{})
	}
	if !p.waits(100) || !p.waits(100-maxCursors+1) || p.waits(100-maxCursors) || p.waits(0) {
		t.Errorf("cursors %v", p.cursors)
	}
	if a := p.recall(2099); !a.on {
		t.Error("the last request is forgotten")
	}
	if a := p.recall(2099 - maxAsked); a.on {
		t.Error("an old request isn't")
	}
	if held != 0 {
		t.Errorf("%d bytes are held", held)
	}
}

// requests is a sink that keeps the requests as they ended.
type requests struct {
	silent
	all []proto.Message
}

func (r *requests) End(m *proto.Message) {
	if m.Kind == proto.Request {
		r.all = append(r.all, *m)
	}
}

// What reads on a cursor whose server waits for documents is told at the end, since other messages say so.
func TestAwaited(t *testing.T) {
	held := 0
	var r requests
	p := New(&proto.Context{Sink: &r, Limits: limits(), Held: &held})
	say := func(d proto.Direction, b string) { p.Data(d, []byte(b), clock.Mark{}) }
	say(proto.Originator, ask(1, d{"find", "c", "tailable", true, "awaitData", true, "$db", "t"}))
	say(proto.Responder, reply(7, 1, d{"cursor", d{"firstBatch", a{}, "id", int64(77)}, "ok", 1.0}))
	say(proto.Originator, ask(2, d{"getMore", int64(77), "collection", "c", "$db", "t"}))
	say(proto.Originator, ask(3, d{"getMore", int64(78), "collection", "c", "$db", "t"}))
	if len(r.all) != 3 || r.all[0].Blocks || !r.all[1].Blocks || r.all[2].Blocks {
		t.Errorf("%+v", r.all)
	}
}

// Of a document that is larger than the limit the beginning is kept to show it.
func TestLargeDocument(t *testing.T) {
	held, most := 0, 0
	var c counter
	p := New(&proto.Context{Sink: &c, Limits: limits(), Held: &held})
	p.Data(proto.Originator, []byte(ask(1, d{"find", "c", "$db", "t"})), clock.Mark{})
	response := []byte(reply(7, 1, d{"cursor", d{"firstBatch", a{d{"text", strings.Repeat("x", 1_000_000)}}, "id", int64(0)}, "ok", 1.0}))
	for len(response) > 0 {
		n := min(len(response), 1448)
		p.Data(proto.Responder, response[:n], clock.Mark{})
		most = max(most, held)
		response = response[n:]
	}
	if most > maxRendered || held != 0 || c.body.Len() != 200 {
		t.Errorf("%d bytes were held, %d still are; the body has %d", most, held, c.body.Len())
	}
}
