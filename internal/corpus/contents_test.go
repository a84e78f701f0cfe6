package corpus

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/body"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// place is where a message stands.
type place struct {
	flow   *proto.Flow
	dir    proto.Direction
	stream uint64
	offset int64
	kind   proto.Kind
	inner  bool
}

// overheard keeps exchanges as documents, and checks what is told of messages against the rules, and against the bodies of exchanges.
type overheard struct {
	out    bytes.Buffer
	doc    *ndjson.Output
	number uint64

	open   map[*follow.Message]*bytes.Buffer
	over   map[*proto.Flow]bool
	bodies map[place][]byte
	coding map[place]string
	// holed are bodies in which something is missing.
	holed  map[place]bool
	faults []string
	// text is everything that came, for comparison.
	text     bytes.Buffer
	compared int
	decoder  body.Decoder
}

func (o *overheard) Idle() error { return nil }

func (o *overheard) fault(format string, args ...any) {
	if len(o.faults) < 10 {
		o.faults = append(o.faults, fmt.Sprintf(format, args...))
	}
}

func (o *overheard) Chunks(list []follow.Chunk) error {
	for i := range list {
		c := &list[i]
		m := c.Message
		if o.over[c.Flow] {
			o.fault("a chunk after the last of %s", c.Flow.End(0))
		}
		if c.Step == follow.NoMessage {
			o.over[c.Flow] = c.Over
			if c.Over {
				delete(o.over, c.Flow)
			}
			continue
		}
		fmt.Fprintf(&o.text, "%s %d %v %d %v %v %d %q\n", c.Flow.End(c.Dir), c.Step, c.At, m.Stream, m.First, m.Kind, c.Gap, c.Data)
		at := place{c.Flow, m.Dir, m.Stream, m.First.Offset, m.Kind, c.Inner}
		b := o.open[m]
		switch {
		case c.Dir != m.Dir:
			o.fault("direction %v, and its message's is %v", c.Dir, m.Dir)
		case c.Step == follow.Begin:
			if b != nil {
				o.fault("begun twice: %v", at)
			}
			o.open[m] = &bytes.Buffer{}
		case b == nil:
			o.fault("%v without a beginning: %v", c.Step, at)
		case c.Step == follow.Body && c.Gap != 0:
			o.holed[at] = true
		case c.Step == follow.Body:
			b.Write(c.Data)
		case c.Step == follow.End:
			if m.Ended == proto.Unfinished {
				o.fault("an end that is none: %v", at)
			}
			delete(o.open, m)
			o.bodies[at], o.coding[at] = b.Bytes(), m.Coding
			if m.Ended != proto.Whole {
				o.holed[at] = true
			}
		}
	}
	return nil
}

func (o *overheard) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		o.number++
		x.Number = o.number
		_ = o.doc.Exchange(x) // a bytes.Buffer takes everything
		if o.bodies == nil || x.Family != exchange.HTTP || x.Protocol == "websocket" {
			continue
		}
		o.compare(x, &x.Request, &x.RequestBody, x.HasRequest)
		o.compare(x, &x.Response, &x.ResponseBody, x.HasResponse)
	}
	return nil
}

// compare compares the body of a message with that of its exchange.
func (o *overheard) compare(x *exchange.Exchange, m *proto.Message, b *exchange.Body, has bool) {
	if !has || b.Cut || b.Undecoded != "" || m.BodyBytes == 0 || m.End != proto.Whole || m.MissingBytes > 0 {
		return
	}
	at := place{x.Flow, m.Dir, m.Stream, m.First.Offset, m.Kind, x.TLS != nil}
	got, ok := o.bodies[at]
	if !ok || o.holed[at] {
		o.fault("no whole body of %v %s", at, m.Bytes(m.Target))
		return
	}
	if coding := o.coding[at]; coding != "" {
		got, _ = o.decoder.Decode([]byte(coding), got, maxBody)
	}
	if o.compared++; !bytes.Equal(got, b.Bytes) {
		o.fault("the body of %v has %d bytes, and its exchange's %d", at, len(got), len(b.Bytes))
	}
}

func overhear(e *entry, workers int, contents follow.Contents) (*overheard, error) {
	o := &overheard{open: map[*follow.Message]*bytes.Buffer{}, over: map[*proto.Flow]bool{}, holed: map[place]bool{}}
	o.doc = ndjson.New(&o.out)
	store := keylog.NewStore(keylog.Options{})
	if e.keys != "" {
		log, err := os.ReadFile(e.keys)
		if err != nil {
			return nil, err
		}
		store.Add(log)
	}
	source, err := capture.Open([]capture.Input{{Path: e.file}}, capture.Options{})
	if err != nil {
		return nil, err
	}
	defer source.Close()
	config := pipeline.Config{
		Workers: workers, Memory: 512 << 20, Keys: store, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 64 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, MaxBody: maxBody, ExchangeTimeout: 5 * time.Minute, Messages: true},
	}
	if contents != 0 {
		config.Follow, config.Contents = follow.Plain, contents
		o.bodies, o.coding = map[place][]byte{}, map[place]string{}
	}
	_, err = pipeline.Run(context.Background(), &counted{Source: source}, config, o)
	_ = o.doc.Close()
	for m := range o.open {
		o.fault("never ended: %s %s", m.Method, m.Target)
	}
	return o, err
}

// TestContents: exchanges are what they are, whether their messages are told of or not; what is told holds to its rules; and the bodies
// are those of the exchanges.
func TestContents(t *testing.T) {
	entries := readIndex(t, shared(t, "corpus"))
	var compared, told atomic.Int64
	each(entries, func(e *entry) {
		off, err := overhear(e, 1, 0)
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
			return
		}
		on, err := overhear(e, 1, follow.Heads|follow.Bodies|follow.Sessions)
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
			return
		}
		if !bytes.Equal(on.out.Bytes(), off.out.Bytes()) {
			t.Errorf("%s: other exchanges:\n%s", e.name, firstDifference(off.out.Bytes(), on.out.Bytes()))
		}
		for _, f := range on.faults {
			t.Errorf("%s: %s", e.name, f)
		}
		compared.Add(int64(on.compared))
		told.Add(int64(bytes.Count(on.text.Bytes(), []byte("\n"))))
		again, err := overhear(e, 4, follow.Heads|follow.Bodies|follow.Sessions)
		if err != nil || !bytes.Equal(again.text.Bytes(), on.text.Bytes()) {
			t.Errorf("%s: four workers tell of other messages than one (%v):\n%s", e.name, err, firstDifference(on.text.Bytes(), again.text.Bytes()))
		}
	})
	t.Logf("%d chunks, %d bodies compared", told.Load(), compared.Load())
	if compared.Load() == 0 {
		t.Error("no body was compared")
	}
}
