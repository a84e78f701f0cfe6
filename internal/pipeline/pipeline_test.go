package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/synth"
)

// scenario makes a capture of one of synth's scenarios.
func scenario(t testing.TB, name string, size int64) []capture.Record {
	t.Helper()
	for _, s := range synth.Scenarios() {
		if s.Name == name {
			var out bytes.Buffer
			if _, err := s.Make(&out, size, synth.Options{Nano: true}); err != nil {
				t.Fatal(err)
			}
			return records(t, out.Bytes())
		}
	}
	t.Fatalf("there is no scenario %q", name)
	return nil
}

// conversations makes a capture of n random conversations, side by side.
func conversations(t testing.TB, seed uint64, n int) []capture.Record {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	var out bytes.Buffer
	s := synth.New(&out, synth.Options{Seed: seed, Nano: true})
	for i := range n {
		path := synth.Path{Client: time.Duration(r.IntN(40)) * time.Millisecond, Server: time.Millisecond, Loss: 0.01, Reorder: 0.02, Duplicate: 0.01}
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), uint16(40000+i))
		c := s.Dial(time.Duration(r.IntN(1000))*time.Millisecond, client, netip.MustParseAddrPort("10.0.0.2:80"), path)
		for k := range 1 + r.IntN(8) {
			request, response := message(r, fmt.Sprint(k))
			c.Exchange(request, time.Duration(r.IntN(300))*time.Millisecond, response)
			c.Wait(synth.Client, time.Duration(r.IntN(300))*time.Millisecond)
		}
		switch r.IntN(3) {
		case 0:
			c.Reset(synth.Client)
		case 1:
			c.Close(synth.Client)
			c.RecvEnd(synth.Server)
			c.Close(synth.Server)
		}
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	return records(t, out.Bytes())
}

func TestSameWithAnyNumberOfWorkers(t *testing.T) {
	captures := map[string][]capture.Record{"conversations": conversations(t, 1, 60)}
	for _, name := range []string{"small", "flows", "lossy", "demo"} {
		captures[name] = scenario(t, name, 1<<20)
	}
	// A clock so coarse that many packets have one time.
	coarse := append([]capture.Record(nil), captures["flows"]...)
	for i := range coarse {
		coarse[i].Time -= coarse[i].Time % 20e6
	}
	captures["coarse clock"] = coarse
	for name, src := range captures {
		t.Run(name, func(t *testing.T) {
			c := config()
			c.Exchange.MaxBody = 1 << 10
			want := document(t, c, src)
			if bytes.Count(want, []byte("\n")) < 20 {
				t.Fatalf("only %d exchanges", bytes.Count(want, []byte("\n")))
			}
			for _, c.Workers = range []int{2, 3, 8} {
				if got := document(t, c, src); !bytes.Equal(got, want) {
					t.Errorf("%d workers give other output than one", c.Workers)
				}
			}
			// Nor do the ids depend on the name of the file.
			m := &memory{records: src, tap: capture.Tap{File: "elsewhere.pcap"}}
			var ids []byte
			_, err := pipeline.Run(context.Background(), m, c, &received{each: func(x *exchange.Exchange) error {
				ids = exchange.AppendID(ids[:0], x.ID(""))
				if !bytes.Contains(want, ids) {
					t.Errorf("%s isn't the id that the other file gave", ids)
				}
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestTimings: no part is negative, and the sums are exact, whatever the conversation.
func TestTimings(t *testing.T) {
	for seed := range uint64(20) {
		run(t, config(), conversations(t, seed, 20), &received{each: func(x *exchange.Exchange) error {
			g := &x.Timing
			for _, part := range []int64{g.Idle, g.Connect, g.TLS, g.Send, g.Wait, g.Receive, g.Overlap, g.Duration, g.Total} {
				if part < -1 {
					t.Errorf("seed %d: a part is negative: %+v", seed, *g)
				}
			}
			if !x.HasRequest || !x.HasResponse {
				return nil
			}
			if g.Duration != g.Send+g.Wait+g.Receive || g.Total != g.Duration+max(g.Idle, 0)+max(g.Connect, 0) {
				t.Errorf("seed %d: the sums aren't exact: %+v", seed, *g)
			}
			if end := max(x.Response.Last.Time, x.Request.Last.Time); g.Overlap == 0 && g.Duration != end-x.Start.Time {
				t.Errorf("seed %d: %v from first to last byte, the duration is %v", seed, end-x.Start.Time, g.Duration)
			}
			if (x.Index == 0) != (g.Connect >= 0 && g.Idle >= 0) {
				t.Errorf("seed %d: exchange %d has %+v", seed, x.Index, *g)
			}
			return nil
		}})
	}
}

// dialogue makes a capture of one connection.
func dialogue(t testing.TB, program func(c *synth.Conn)) []capture.Record {
	t.Helper()
	var out bytes.Buffer
	s := synth.New(&out, synth.Options{Nano: true})
	c := s.Dial(0, netip.MustParseAddrPort("10.0.0.7:51022"), netip.MustParseAddrPort("10.0.0.2:80"), synth.Path{Client: time.Millisecond, Server: time.Millisecond})
	program(c)
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	return records(t, out.Bytes())
}

const get, answer = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// TestOneConnection follows connections from their packets to what is shown of them.
func TestOneConnection(t *testing.T) {
	side := func(src []capture.Record, server bool) (out []capture.Record) {
		d := packet.NewDecoder(packet.DefaultLimits())
		for i := range src {
			var p packet.Packet
			if d.Decode(&p, &src[i]) == packet.Decoded && (p.SrcPort == 80) == server {
				out = append(out, src[i])
			}
		}
		return out
	}
	plain := func(c *synth.Conn) {
		c.Exchange([]byte(get), time.Millisecond, []byte(answer))
		c.Wait(synth.Client, time.Second)
		c.Exchange([]byte(strings.Replace(get, "/a", "/b", 1)), time.Millisecond, []byte("HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"), bytes.Repeat([]byte("x"), 3000))
		c.Close(synth.Client)
		c.RecvEnd(synth.Server)
		c.Close(synth.Server)
	}
	both := dialogue(t, plain)
	late := append([]capture.Record(nil), both...)
	late[3], late[4] = late[4], late[3]
	for _, c := range []struct {
		name string
		src  []capture.Record
		want string
	}{
		{"whole", both, "/a 200 complete, /b 200 complete"},
		{"the client's side", side(both, false), "/a - onesided, /b - onesided"},
		{"the server's side", side(both, true), "- 200 onesided, - 200 onesided"},
		{"from the middle of a response", both[len(both)-6:], ""},
		{"from the second request", both[6:], "/b 200 complete"},
		{"from the first response", both[4:], "- 200 midstream, /b 200 complete"},
		{"the response was captured before its request", late, "/a 200 complete, /b 200 complete"},
		{"an early answer and a reset", dialogue(t, func(c *synth.Conn) {
			c.Send(synth.Client, []byte("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"), bytes.Repeat([]byte("x"), 20000))
			c.Recv(synth.Server, 10000)
			c.Send(synth.Server, []byte("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"))
			c.Wait(synth.Server, 10*time.Millisecond)
			c.Reset(synth.Server)
		}), "/up 413 aborted"},
		{"408 unasked, and a request on its way", dialogue(t, func(c *synth.Conn) {
			c.Send(synth.Server, []byte("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
			c.Close(synth.Server)
			c.Send(synth.Client, []byte(get))
			c.RecvEnd(synth.Client)
			c.Close(synth.Client)
		}), "- 408 gap, /a - aborted"},
		{"a tunnel", dialogue(t, func(c *synth.Conn) {
			c.Exchange([]byte("CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n\r\n"), 0, []byte("HTTP/1.1 200 OK\r\n\r\n"))
			c.Exchange([]byte(get), 0, []byte(answer))
		}), "b:80 200 complete stream, /a 200 complete"},
		{"an upgrade to HTTP, with a request in flight", dialogue(t, func(c *synth.Conn) {
			c.Exchange([]byte(get+strings.Replace(get, "/a", "/b", 1)), 0, []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"))
			c.Exchange([]byte(strings.Replace(get, "/a", "/c", 1)), 0, []byte(answer))
		}), "/a 101 complete stream, /b - unanswered, /c 200 complete"},
		{"a hung request", dialogue(t, func(c *synth.Conn) { c.Send(synth.Client, []byte(get)) }), "/a - unanswered"},
	} {
		for _, workers := range []int{1, 2} {
			cfg := config()
			cfg.Workers = workers
			var got []string
			run(t, cfg, c.src, &received{each: func(x *exchange.Exchange) error {
				got = append(got, summary(x))
				if last := c.src[len(c.src)-1].Time; x.Completed.Time < x.Start.Time || x.Completed.Time > last {
					t.Errorf("%s: completed at %d, which isn't from %d to %d", c.name, x.Completed.Time, x.Start.Time, last)
				}
				return nil
			}})
			if text := strings.Join(got, ", "); text != c.want {
				t.Errorf("%s, %d workers: %s, want %s", c.name, workers, text, c.want)
			}
		}
	}
}

func summary(x *exchange.Exchange) string {
	target, status, stream := "-", "-", ""
	if x.HasRequest {
		target = string(x.Request.Bytes(x.Request.Target))
	}
	if x.HasResponse {
		status = fmt.Sprint(x.Response.Status)
	}
	if x.Stream {
		stream = " stream"
	}
	return target + " " + status + " " + x.Grade.String() + stream
}

func TestPortReuse(t *testing.T) {
	var out bytes.Buffer
	s := synth.New(&out, synth.Options{Nano: true})
	for i := range 3 {
		c := s.Dial(time.Duration(i)*100*time.Millisecond, netip.MustParseAddrPort("10.0.0.7:51022"), netip.MustParseAddrPort("10.0.0.2:80"), synth.Path{})
		c.Exchange(fmt.Appendf(nil, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i), 0, []byte(answer))
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	var got []string
	flows := map[*proto.Flow]bool{}
	stats := run(t, config(), records(t, out.Bytes()), &received{each: func(x *exchange.Exchange) error {
		got = append(got, summary(x))
		flows[x.Flow] = true
		if x.Index != 0 {
			t.Errorf("exchange %d of a connection that has one", x.Index)
		}
		return nil
	}})
	if text := strings.Join(got, ", "); text != "/0 200 complete, /1 200 complete, /2 200 complete" || len(flows) != 3 || stats.TCP.Connections != 3 {
		t.Errorf("%s on %d connections", text, len(flows))
	}
}

// pause stands for the input having nothing to give.
var pause capture.Record

func TestPauses(t *testing.T) {
	hung := dialogue(t, func(c *synth.Conn) {
		c.Exchange([]byte(get), 0, []byte(answer))
		c.Send(synth.Client, []byte("GET /hung HTTP/1.1\r\nHost: a\r\n\r\n"))
		c.Recv(synth.Client, 1<<30)
	})
	for _, workers := range []int{1, 2, 8} {
		src := append([]capture.Record(nil), hung...)
		for range 300 { // 30 s
			src = append(src, pause)
		}
		c := config()
		c.Workers, c.Live, c.Exchange.PendingAfter = workers, true, 10*time.Second
		var log []string
		to := &received{}
		to.each = func(x *exchange.Exchange) error {
			log = append(log, fmt.Sprintf("%s after %d pauses", summary(x), to.idles))
			return nil
		}
		to.waited = func(x *exchange.Exchange) {
			log = append(log, fmt.Sprintf("%s waiting after %d pauses", summary(x), to.idles))
		}
		run(t, c, src, to)
		want := "/a 200 complete after 0 pauses, /hung - unanswered waiting after 99 pauses, /hung - unanswered after 300 pauses"
		if got := strings.Join(log, ", "); got != want || to.idles != 300 {
			t.Errorf("%d workers, %d pauses: %s\nwant %s", workers, to.idles, got, want)
		}
	}
}

// slow is a source that ends the context when it is half read.
type slow struct {
	memory
	cancel func()
}

func (s *slow) Next(r *capture.Record) error {
	if s.at == len(s.records)/2 {
		s.cancel()
	}
	return s.memory.Next(r)
}

// TestCancel: what is complete is delivered, whether packets come fast or slowly, or not at all.
func TestCancel(t *testing.T) {
	fast := scenario(t, "small", 4<<20)
	stretched := append([]capture.Record(nil), fast...)
	for i := range stretched {
		stretched[i].Time = fast[0].Time + int64(i)*50e6 // two packets a tick
	}
	waiting := append(append([]capture.Record(nil), fast[:1000]...), make([]capture.Record, 5000)...)
	for name, src := range map[string][]capture.Record{"fast": fast, "slowly": stretched, "not at all": waiting} {
		for _, workers := range []int{1, 4} {
			ctx, cancel := context.WithCancel(context.Background())
			s := &slow{memory{records: src}, cancel}
			c := config()
			c.Workers = workers
			to := &received{}
			stats, err := pipeline.Run(ctx, s, c, to)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if s.at > len(src)/2+1000 {
				t.Errorf("%s, %d workers: went on to record %d of %d", name, workers, s.at, len(src))
			}
			taken := src[:s.at]
			if last := len(taken) - 1; taken[last].Data != nil {
				taken = taken[:last] // the packet in hand isn't looked at any more
			}
			if err := reconcile(taken, &stats, to); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if to.grades[exchange.Complete] < 100 {
				t.Errorf("%s: only %d complete exchanges were delivered", name, to.grades[exchange.Complete])
			}
		}
	}
}

// TestErrors: an error of the receiver ends the run, and it isn't called again; one of the source comes after all
// that was complete.
func TestErrors(t *testing.T) {
	src := scenario(t, "small", 4<<20)
	broken := errors.New("broken")
	for _, workers := range []int{1, 4} {
		c := config()
		c.Workers = workers
		m, calls, failed := &memory{records: src}, 0, 0
		_, err := pipeline.Run(context.Background(), m, c, &received{each: func(*exchange.Exchange) error {
			if calls++; calls > 50 {
				failed++
				return broken
			}
			return nil
		}})
		if !errors.Is(err, broken) || failed != 1 {
			t.Errorf("%d workers: %v, after %d calls with an error", workers, err, failed)
		}
		if workers == 1 && m.at > len(src)/2 {
			t.Errorf("went on to record %d of %d", m.at, len(src))
		}
		to := &received{}
		if _, err := pipeline.Run(context.Background(), &memory{records: src, end: broken}, c, to); !errors.Is(err, broken) {
			t.Errorf("%d workers: the source's error is lost: %v", workers, err)
		}
		if to.grades[exchange.Complete] < 100 {
			t.Errorf("%d workers: only %d exchanges before the source's error", workers, to.grades[exchange.Complete])
		}
	}
}

func TestCheckHints(t *testing.T) {
	if err := pipeline.CheckHints(map[uint16]string{80: "http", 3307: "mysql"}); err != nil {
		t.Error(err)
	}
	if err := pipeline.CheckHints(map[uint16]string{80: "gopher"}); err == nil || !strings.Contains(err.Error(), "gopher") || !strings.Contains(err.Error(), "mysql") {
		t.Errorf("the error doesn't help: %v", err)
	}
}
