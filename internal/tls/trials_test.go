package tls

import (
	"bytes"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls/suite"
)

// closed is an opener that opens nothing, and counts.
type closed struct{ opens int }

func (c *closed) Open(dst []byte, _ uint64, _ byte, _ uint16, _ []byte) ([]byte, byte, error) {
	c.opens++
	return dst, 0, suite.ErrAltered
}

func (c *closed) Pass([]byte) {}

func (c *closed) Plain(n int) (int, bool) { return n - 17, false }

// nobody is a sink that takes no notice.
type nobody struct{ proto.Sink }

func (nobody) Session(*proto.TLS)     {}
func (nobody) Proxied(*proto.Proxied) {}

// After a gap, a peer can send nothing but what looks like records: how many numbers are tried for them is bounded.
func TestTrialsAreBounded(t *testing.T) {
	fake := bytes.Repeat(append([]byte{typeData, 3, 3, 0, 17}, make([]byte, 17)...), 3000)
	for _, n := range []int64{100_000, proto.Unknown} {
		held := 0
		e := NewEngine(nil, DefaultLimits(), nil)
		p := newParser(e, &proto.Context{Sink: nobody{}, Held: &held, Limits: &proto.Limits{}})
		o := &closed{}
		p.version, p.suite = tls13, suite.Lookup(0x1301)
		p.half[0].epoch, p.half[0].opener, p.half[0].opened = epochData, o, true
		p.Gap(0, n, clock.Mark{})
		p.Data(0, fake, clock.Mark{Offset: 100_000})
		const least, most = maxTries, maxTrials + maxTries + 2*3000
		if o.opens < least || o.opens > most {
			t.Errorf("a gap of %d: %d tries for %d bytes, want %d to %d", n, o.opens, len(fake), least, most)
		}
		before := o.opens
		p.Data(0, fake, clock.Mark{Offset: 100_000 + int64(len(fake))})
		if again := o.opens - before; again > 2*3000+2 {
			t.Errorf("a gap of %d: %d tries more", n, again)
		}
	}
}
