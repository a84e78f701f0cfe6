package tls_test

import (
	stdtls "crypto/tls"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls"
)

// What a session takes counts as held from its beginning to its end, with the buffers that it keeps between records.
func TestHeld(t *testing.T) {
	c := converse(t, stdtls.VersionTLS13, 0, text(20, 1), text(100_000, 2))
	p := newPlayed(t, c, c.store(), tls.DefaultLimits())
	var at [2]clock.Mark
	for i, piece := range c.pieces {
		for b := piece.data; len(b) > 0; {
			n := min(1000, len(b))
			p.parser.Data(piece.d, p.segment(b[:n]), at[piece.d])
			at[piece.d].Offset += int64(n)
			b = b[n:]
		}
		if least := len(c.pieces[0].data) + 4<<10; i == 0 && p.held < least {
			t.Errorf("%d bytes held after the ClientHello, want %d at least", p.held, least)
		}
	}
	if p.read[1] != 100_000 || p.held < 20<<10 || p.held > 60<<10 {
		t.Errorf("%d bytes read, %d held", p.read[1], p.held)
	}
	p.parser.Close(proto.Originator, clock.Mark{}, proto.Finished)
	p.parser.Close(proto.Responder, clock.Mark{}, proto.Finished)
	if p.held != 0 {
		t.Errorf("%d bytes are held at the end", p.held)
	}

	// While it waits, all of that counts among what waits.
	keys := c.store()
	keys.SetMayGrow(true)
	l := tls.DefaultLimits()
	l.MaxWaitingAll = 14 << 10
	short := converse(t, stdtls.VersionTLS13, 0, text(20, 1))
	a := newPlayed(t, short, keys, l)
	a.play(short.pieces, whole)
	if a.held == 0 || a.engine.Counters.Overflow != 0 {
		t.Fatalf("one session: %d held, %+v", a.held, a.engine.Counters)
	}
	b := newPlayed(t, short, keys, l)
	b.parser = a.engine.Protocol().New(&proto.Context{Sink: b.sink, Held: &b.held, Limits: &proto.Limits{}})
	b.play(short.pieces, whole)
	if a.held != 0 || b.held == 0 || a.engine.Counters.Overflow != 1 {
		t.Errorf("two sessions: %d and %d held, %+v", a.held, b.held, a.engine.Counters)
	}
}
