package tls

import (
	"bytes"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls/suite"
)

// closed is an opener that opens nothing but one record, and counts.
type closed struct {
	opens int
	key   []byte
	seq   uint64
}

func (c *closed) Open(dst []byte, seq uint64, typ byte, _ uint16, fragment []byte) ([]byte, byte, error) {
	c.opens++
	if c.key != nil && bytes.Equal(fragment, c.key) && seq == c.seq {
		return append(dst, "found"...), typ, nil
	}
	return dst, 0, suite.ErrAltered
}

func (c *closed) Pass([]byte) {}

func (c *closed) Plain(n int) (int, bool) { return n - 17, false }

// collected takes plaintext.
type collected struct{ text []byte }

func (c *collected) Data(_ proto.Direction, b []byte, _ clock.Mark) proto.Verdict {
	c.text = append(c.text, b...)
	return proceed
}
func (c *collected) Gap(proto.Direction, int64, clock.Mark)               {}
func (c *collected) Close(proto.Direction, clock.Mark, proto.CloseReason) {}

// nobody is a sink that takes no notice.
type nobody struct{ proto.Sink }

func (nobody) Session(*proto.TLS) {}

// After a gap, a peer can send what looks like records at every byte: how many numbers are tried is bounded, and the record that
// one of the first numbers opens is found behind them.
func TestTrialsAreBounded(t *testing.T) {
	fake := bytes.Repeat(append([]byte{typeData, 3, 3, 0, 17}, make([]byte, 17)...), 3000)
	true_ := append([]byte{typeData, 3, 3, 0, 22}, bytes.Repeat([]byte{1}, 22)...)
	for _, n := range []int64{100_000, proto.Unknown} {
		held := 0
		in := &collected{}
		e := NewEngine(nil, DefaultLimits())
		p := newParser(e, &proto.Context{Sink: nobody{}, Held: &held, Limits: &proto.Limits{}, Nest: func(proto.Nested) proto.Parser { return in }})
		o := &closed{key: true_[headerSize:], seq: uint64(100_000 / (headerSize + maxFragment))}
		if n == proto.Unknown {
			o.seq = 0
		}
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
