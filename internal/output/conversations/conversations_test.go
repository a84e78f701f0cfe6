package conversations_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/conversations"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/body"
	"github.com/culprit-http/culprit/internal/tcp"
)

var _ output.Output = (*conversations.Output)(nil)

// later moves an exchange in time.
func later(x *exchange.Exchange, by time.Duration) *exchange.Exchange {
	for _, m := range []*int64{&x.Request.First.Time, &x.Request.Last.Time, &x.Response.First.Time, &x.Response.Last.Time, &x.Start.Time, &x.Completed.Time} {
		*m += int64(by)
	}
	return x
}

// samples overlap, come in the order of their ends, and hold what can't be written.
func samples() []*exchange.Exchange {
	big := strings.Repeat("0123456789abcdef", 10_000)
	unanswered := outputtest.Exchange("GET /slow HTTP/1.1\nHost: a\n\n", "")
	unanswered.Completed.Time += int64(time.Second)
	cut := outputtest.Exchange("POST /cut HTTP/1.1\nHost: a\nContent-Length: 9\n\nabc", "HTTP/1.1 200 OK\n\n")
	cut.RequestBody.Cut = true
	return []*exchange.Exchange{
		outputtest.Exchange("POST /login HTTP/1.1\nHost: shop\n\nuser=a", "HTTP/1.1 302 Found\nLocation: /\n\nmoved"),
		later(outputtest.HTTP2(":method: GET\n:scheme: https\n:path: /a?b\n:authority: shop\n\n", ":status: 200\ncontent-type: text/plain\n\n"+big), 3*time.Millisecond),
		later(outputtest.Exchange("HEAD / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 200 OK\nContent-Length: 7\n\n"), -40*time.Millisecond),
		outputtest.Query("mysql", "SELECT", "SELECT 1"),
		outputtest.Exchange("", "HTTP/1.1 200 OK\n\nno request"),
		unanswered,
		later(cut, time.Hour),
	}
}

// seen are the exchanges that a recording holds, in words.
type seen struct {
	lines   []string
	decoder body.Decoder
}

func (s *seen) Idle() error { return nil }

func (s *seen) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		measure.Time(x)
		x.Decode(&s.decoder, 1<<20)
		s.lines = append(s.lines, describe(x))
	}
	return nil
}

// describe says what is to be the same of an exchange. Times are in microseconds, as fragments have them.
func describe(x *exchange.Exchange) string {
	text := fmt.Sprintf("%s %s %s %d+%d", x.Request.Bytes(x.Request.Method), x.Request.Bytes(x.Request.Target), x.RequestBody.Bytes,
		x.Request.First.Time/1000, (x.Request.Last.Time-x.Request.First.Time)/1000)
	if x.HasResponse {
		text += fmt.Sprintf(" -> %d %d bytes %.20q %d+%d", x.Response.Status, len(x.ResponseBody.Bytes), x.ResponseBody.Bytes,
			(x.Response.First.Time-x.Request.First.Time)/1000, (x.Response.Last.Time-x.Response.First.Time)/1000)
	}
	return text
}

func trace(t *testing.T, file []byte, list []byte) (*seen, []string, []capture.Tap) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a")
	if err := errors.Join(os.WriteFile(path, file, 0o600), os.WriteFile(path+capture.SideFile, list, 0o600)); err != nil {
		t.Fatal(err)
	}
	src, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	s := &seen{}
	if _, err := pipeline.Run(context.Background(), src, pipeline.Config{
		Workers: 1, Memory: 512 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 64 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, MaxBody: 1 << 20, ExchangeTimeout: 5 * time.Minute},
	}, s); err != nil {
		t.Fatal(err)
	}
	return s, src.Warnings(), src.Taps()
}

func write(t *testing.T, o *conversations.Output, xs []*exchange.Exchange) conversations.Stats {
	t.Helper()
	for _, x := range xs {
		if err := errors.Join(o.Exchange(x), o.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return o.Stats()
}

// What was written is read again as what it was.
func TestThereAndBack(t *testing.T) {
	var want []string
	for i, x := range samples() {
		if i != 3 && i != 4 {
			want = append(want, describe(x))
		}
	}
	slices.Sort(want)
	var file, list bytes.Buffer
	for name, o := range map[string]*conversations.Output{"packets": conversations.NewPackets(&file, "test"), "fragments": conversations.NewFirehose(&file, &list)} {
		file.Reset()
		if name == "packets" {
			o = conversations.NewPackets(&file, "test")
		}
		st := write(t, o, samples())
		if st != (conversations.Stats{Exchanges: 5, Incomplete: 1, Left: 2}) {
			t.Errorf("%s: %+v", name, st)
		}
		s, warnings, taps := trace(t, file.Bytes(), list.Bytes())
		slices.Sort(s.lines)
		if !slices.Equal(s.lines, want) || len(warnings) > 0 {
			t.Errorf("%s: read\n%s\nwant\n%s\nwarnings %q", name, strings.Join(s.lines, "\n"), strings.Join(want, "\n"), warnings)
		}
		if len(taps) != 1 || (taps[0].Recorded == "exchanges") != (name == "packets") || taps[0].Recorded == "" {
			t.Errorf("%s: taps %+v", name, taps)
		}
	}
	if n := strings.Count(list.String(), `"client":"10.0.0.7:10`); n != 5 {
		t.Errorf("the list of connections has %d lines:\n%s", n, list.String())
	}
}

// Pieces are in the order of time, and two exchanges with one id are two conversations.
func TestOrder(t *testing.T) {
	var file bytes.Buffer
	var xs []*exchange.Exchange
	for i := range 200 {
		xs = append(xs, later(outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 200 OK\n\n"), time.Duration(i*7919%200)*time.Millisecond))
	}
	xs = append(xs, xs[0])
	if st := write(t, conversations.NewFirehose(&file, io.Discard), xs); st.Exchanges != 201 || st.Late != 0 {
		t.Errorf("%+v", st)
	}
	s, warnings, _ := trace(t, file.Bytes(), nil)
	if len(s.lines) != 201 || len(warnings) > 0 {
		t.Errorf("%d exchanges, %q", len(s.lines), warnings)
	}
	last, times := "", 0
	for line := range strings.Lines(file.String()) {
		if f := strings.Fields(line); len(f) == 5 && (f[2] == "<" || f[2] == ">") {
			if f[1] < last {
				t.Fatalf("%s comes after %s", f[1], last)
			}
			last = f[1]
			times++
		}
	}
	if times < 800 {
		t.Errorf("%d fragments", times)
	}
}

// failing fails.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestFailure(t *testing.T) {
	for _, o := range []*conversations.Output{conversations.NewPackets(failing{}, ""), conversations.NewFirehose(failing{}, io.Discard), conversations.NewFirehose(io.Discard, failing{})} {
		_ = o.Exchange(samples()[0])
		if err := o.Close(); err == nil || !strings.Contains(err.Error(), "full") {
			t.Errorf("error %v", err)
		}
	}
}
