package replay_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/replay"
)

// echo answers each line with itself and a word.
func echo(word string, got chan<- string) func(c net.Conn) {
	return func(c net.Conn) {
		io.WriteString(c, "hello\n")
		buf := make([]byte, 1000)
		var all bytes.Buffer
		for {
			n, err := c.Read(buf)
			all.Write(buf[:n])
			if n > 0 {
				c.Write(append(buf[:n:n], word...))
			}
			if err != nil {
				got <- all.String()
				return
			}
		}
	}
}

type kept struct {
	bytes.Buffer
	closed bool
}

func (k *kept) Close() error { k.closed = true; return nil }

// Bytes are sent as they were, a stretch once what came before it has come again, and what comes back is compared and kept.
func TestRaw(t *testing.T) {
	w := newWiretap(t, script(t, echo("A", make(chan string, 10))))
	for _, lines := range [][]string{{"one", "\x00two"}, {"three"}} {
		c, err := net.Dial("tcp", w.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		io.ReadFull(c, buf[:6])
		for _, line := range lines {
			io.WriteString(c, line)
			io.ReadFull(c, buf[:len(line)+1])
		}
		c.Close()
	}
	records := w.records(t)
	recording := func() *replay.RawRecording {
		r := replay.NewRawRecording(func() (replay.Spool, error) { return newFile(t) })
		analyse(t, records, receiver{chunks: func(c *follow.Chunk) error { return r.Add(c) }})
		r.Prepare()
		return r
	}
	if r := recording(); r.Len() != 2 || r.Bytes != int64(len("one\x00twothree")) {
		t.Fatalf("%d connections with %d bytes", r.Len(), r.Bytes)
	}
	for _, c := range []struct {
		word      string
		differsAt []int64
		back      []string
	}{
		{"A", []int64{-1, -1}, []string{"hello\noneA\x00twoA", "hello\nthreeA"}},
		{"B", []int64{9, 11}, []string{"hello\noneB\x00twoB", "hello\nthreeB"}},
	} {
		now := make(chan string, 10)
		var all []*replay.RawOutcome
		back := map[int]*kept{}
		to := script(t, echo(c.word, now))
		err := replay.RunRaw(context.Background(), recording(), &replay.RawOptions{
			To: &url.URL{Scheme: "tcp", Host: to}, Concurrency: 1, Timeout: 5 * time.Second,
			Keep: func(n int, _ string) (io.WriteCloser, error) { back[n] = &kept{}; return back[n], nil },
			Done: func(o *replay.RawOutcome) error { all = append(all, o); return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(all, func(a, b *replay.RawOutcome) int { return a.Number - b.Number })
		for i, o := range all {
			if o.Err != nil || o.Sent != o.Wanted || o.Got != o.Recorded || o.DiffersAt != c.differsAt[i] || o.Incomplete {
				t.Errorf("%s: %+v", c.word, o)
			}
			if got := back[i]; got.String() != c.back[i] || !got.closed {
				t.Errorf("%s: kept %q", c.word, got)
			}
		}
		came := []string{<-now, <-now}
		slices.Sort(came)
		if want := []string{"one\x00two", "three"}; !slices.Equal(came, want) {
			t.Errorf("%s: sent %q", c.word, came)
		}
	}
	// A server that closes early, and one that isn't there.
	for name, to := range map[string]string{"closes": script(t, func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }), "isn't there": "127.0.0.1:1"} {
		short := uint64(0)
		err := replay.RunRaw(context.Background(), recording(), &replay.RawOptions{
			To: &url.URL{Scheme: "tcp", Host: to}, Concurrency: 1, Timeout: 5 * time.Second,
			Done: func(o *replay.RawOutcome) error {
				if o.Got < o.Recorded {
					short++
				}
				if name == "isn't there" && o.Err == nil {
					t.Errorf("%s: %+v", name, o)
				}
				return nil
			},
		})
		if err != nil || short != 2 {
			t.Errorf("%s: %v, %d", name, err, short)
		}
	}
}
