package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/pipeline"
)

// told is a pipeline.Follower that writes exchanges down in full, and what is told of messages.
type told struct {
	doc      *ndjson.Output
	out      bytes.Buffer
	messages bytes.Buffer
	bytes    int
}

func (f *told) Idle() error { return nil }

func (f *told) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		if err := f.doc.Exchange(x); err != nil {
			return err
		}
	}
	return nil
}

func (f *told) Chunks(list []follow.Chunk) error {
	for i := range list {
		if c := &list[i]; c.Step != follow.NoMessage {
			fmt.Fprintf(&f.messages, "%s %d %d %s %s %d %q\n", c.Flow.End(c.Dir), c.Step, c.Gap, c.Message.Method, c.Message.Target, c.Message.Status, c.Data)
			f.bytes += len(c.Data)
		}
	}
	return nil
}

// TestContents: exchanges are what they are, whether their messages are told of or not, and what is told is in one order with any number of
// workers. Heads alone come without bodies.
func TestContents(t *testing.T) {
	for _, name := range []string{"demo", "flows", "lossy"} {
		src := scenario(t, name, 1<<20)
		run := func(workers int, contents follow.Contents) *told {
			c := config()
			c.Workers, c.Exchange.MaxBody = workers, 1000
			c.Follow, c.Contents = follow.Plain, contents
			f := &told{}
			f.doc = ndjson.New(&f.out)
			if _, err := pipeline.Run(context.Background(), &memory{records: src}, c, f); err != nil {
				t.Fatal(err)
			}
			if err := f.doc.Close(); err != nil {
				t.Fatal(err)
			}
			return f
		}
		without, heads, bodies := run(1, 0), run(1, follow.Heads), run(1, follow.Bodies)
		for what, f := range map[string]*told{"heads": heads, "bodies": bodies} {
			if !bytes.Equal(f.out.Bytes(), without.out.Bytes()) {
				t.Errorf("%s: other exchanges with %s", name, what)
			}
		}
		if without.messages.Len() > 0 || heads.bytes > 0 || bodies.bytes == 0 {
			t.Errorf("%s: %d bytes are told of heads, %d of bodies", name, heads.bytes, bodies.bytes)
		}
		begun, ended := bytes.Count(heads.messages.Bytes(), fmt.Appendf(nil, " %d ", follow.Begin)), bytes.Count(heads.messages.Bytes(), fmt.Appendf(nil, " %d 0", follow.End))
		if begun == 0 || ended == 0 {
			t.Errorf("%s: %d beginnings, %d ends", name, begun, ended)
		}
		if four := run(4, follow.Bodies); !bytes.Equal(four.messages.Bytes(), bodies.messages.Bytes()) {
			t.Errorf("%s: four workers tell of other messages than one", name)
		}
	}
}
