package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/synth"
)

// inquirer is a source that asks a question whenever its input pauses, and waits for the answer before it goes on.
type inquirer struct {
	memory
	watch    *pipeline.Watch
	question pipeline.Question
	look     *pipeline.Look
	answered func(v *pipeline.View, read []capture.Record)
}

func (q *inquirer) Next(r *capture.Record) error {
	if q.look != nil {
		v, err := q.look.Wait(context.Background())
		if err != nil {
			return err
		}
		q.look = nil
		q.answered(v, q.records[:q.at])
	}
	err := q.memory.Next(r)
	if errors.Is(err, capture.ErrIdle) {
		q.look = q.watch.Ask(q.question)
	}
	return err
}

// paused puts a pause behind every n records.
func paused(src []capture.Record, n int) (out []capture.Record) {
	for i := range src {
		if out = append(out, src[i]); i%n == n-1 {
			out = append(out, pause)
		}
	}
	return out
}

// watching runs src with a question at each pause. answered may look at what to has got by then.
func watching(t *testing.T, c pipeline.Config, q pipeline.Question, src []capture.Record, to pipeline.Receiver, answered func(v *pipeline.View, read []capture.Record)) pipeline.Stats {
	t.Helper()
	c.Watch = new(pipeline.Watch)
	stats, err := pipeline.Run(context.Background(), &inquirer{memory: memory{records: src}, watch: c.Watch, question: q, answered: answered}, c, to)
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

// steady makes a capture of n conversations in which nothing is lost, and every head comes in one packet.
func steady(t testing.TB, seed uint64, n int) []capture.Record {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	var out bytes.Buffer
	s := synth.New(&out, synth.Options{Seed: seed, Nano: true})
	for i := range n {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), uint16(40000+i))
		c := s.Dial(time.Duration(r.IntN(300))*time.Millisecond, client, netip.MustParseAddrPort("10.0.0.2:80"),
			synth.Path{Client: time.Duration(r.IntN(20)) * time.Millisecond, Server: time.Millisecond})
		for k := range 1 + r.IntN(6) {
			up, down := strings.Repeat("u", r.IntN(2)*r.IntN(30000)), strings.Repeat("d", r.IntN(2)*r.IntN(30000))
			kind := []string{"text/plain", "text/event-stream"}[r.IntN(2)]
			c.Exchange(fmt.Appendf(nil, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", k, len(up), up), time.Duration(r.IntN(200))*time.Millisecond,
				fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, len(down), down))
			c.Wait(synth.Client, time.Duration(r.IntN(100))*time.Millisecond)
		}
		if r.IntN(2) == 0 {
			c.Reset(synth.Client)
		}
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	return records(t, out.Bytes())
}

// name tells exchanges apart.
func name(x *exchange.Exchange) string {
	return string(exchange.AppendID(nil, x.ID("")))
}

// What is under way is what has begun and isn't finished: at every pause, whatever was lost, with any number of workers.
func TestUnderWay(t *testing.T) {
	type moment struct {
		read      uint64
		under     []string
		delivered int
	}
	type begun struct {
		name  string
		first uint64
	}
	follow := func(t *testing.T, src []capture.Record, workers int) (moments []moment, all []begun, text string) {
		c := config()
		c.Workers = workers
		numbers := map[string][]uint32{} // of exchanges delivered, by connection
		to := &received{each: func(x *exchange.Exchange) error {
			all = append(all, begun{name(x), x.FirstPacket})
			numbers[x.Flow.End(0)] = append(numbers[x.Flow.End(0)], x.Index)
			return nil
		}}
		var log strings.Builder
		watching(t, c, pipeline.UnderWay, src, to, func(v *pipeline.View, read []capture.Record) {
			m := moment{delivered: len(all)}
			for i := range read {
				m.read = max(m.read, read[i].Number)
			}
			known := map[string][]uint32{}
			for i, u := range v.UnderWay {
				m.under = append(m.under, name(u.Exchange))
				known[u.Flow.End(0)] = append(known[u.Flow.End(0)], u.Index)
				if i > 0 && u.Start.Time < v.UnderWay[i-1].Start.Time {
					t.Error("not in the order of their start")
				}
				if v.Now < u.Start.Time || v.Now < v.First {
					t.Errorf("began at %d, and it is %d", u.Start.Time, v.Now)
				}
				if u.HasRequest && u.Request.BodyBytes > u.Request.Length && u.Request.Length >= 0 || u.HasResponse && u.Response.BodyBytes > max(u.Response.Length, 1<<20) {
					t.Errorf("more body than there is: %d, %d", u.Request.BodyBytes, u.Response.BodyBytes)
				}
				fmt.Fprintln(&log, m.read, m.under[i], u.State, u.Request.BodyBytes, u.Response.BodyBytes, u.Grade)
			}
			if !v.Running || v.Begun != len(v.UnderWay) || v.LeftOut != 0 {
				t.Errorf("running %v, %d under way, %d given, %d left out", v.Running, v.Begun, len(v.UnderWay), v.LeftOut)
			}
			// Of a connection, the exchanges delivered and those under way are all from its first on, each once.
			for flow, of := range known {
				of = append(of, numbers[flow]...)
				slices.Sort(of)
				for i, n := range of {
					if n != uint32(i) {
						t.Errorf("of %s, %v are delivered or under way", flow, of)
						break
					}
				}
			}
			moments = append(moments, m)
		})
		return moments, all, log.String()
	}
	for _, kind := range []string{"steady", "lossy"} {
		var texts strings.Builder
		for seed := range uint64(6) {
			t.Run(fmt.Sprint(kind, seed), func(t *testing.T) {
				src := steady(t, seed, 20)
				if kind == "lossy" {
					src = conversations(t, seed, 40)
				}
				src = paused(src, 23)
				moments, all, text := follow(t, src, 1)
				for _, workers := range []int{2, 5} {
					if _, _, got := follow(t, src, workers); got != text {
						t.Errorf("%d workers see something else than one", workers)
					}
				}
				seen := 0
				for _, m := range moments {
					seen += len(m.under)
					var want []string
					for i, x := range all {
						if i >= m.delivered && x.first <= m.read {
							want = append(want, x.name)
						}
					}
					slices.Sort(want)
					slices.Sort(m.under)
					if kind == "steady" && !slices.Equal(m.under, want) {
						t.Errorf("at packet %d: %v under way, want %v", m.read, m.under, want)
					}
				}
				if seen < 50 {
					t.Errorf("only %d were seen under way", seen)
				}
				texts.WriteString(text)
			})
		}
		for _, s := range []string{" sending ", " waiting ", " receiving ", " stream "} {
			if !strings.Contains(texts.String(), s) && (kind == "steady" || s != " stream ") {
				t.Errorf("%s: none was%s", kind, s)
			}
		}
	}
}

// At any moment, what was received is what was analysed, ignored and dropped; at the end, the totals are those of the run.
func TestTotalsWhileItRuns(t *testing.T) {
	src := paused(conversations(t, 5, 40), 50)
	src = append(src, scenario(t, "demo", 1<<20)...)
	for _, workers := range []int{1, 3} {
		c := config()
		c.Workers = workers
		to := &received{}
		var watch *pipeline.Watch
		times := 0
		c.Watch = new(pipeline.Watch)
		watch = c.Watch
		stats, err := pipeline.Run(context.Background(), &inquirer{memory: memory{records: src, tap: capture.Tap{Dropped: 3}}, watch: watch, question: pipeline.Totals, answered: func(v *pipeline.View, read []capture.Record) {
			times++
			if err := reconcile(read, &v.Stats, to); err != nil {
				t.Errorf("%d workers, record %d: %v", workers, len(read), err)
			}
			if v.Stats.Dropped != 3 || v.First != src[0].Time || v.UnderWay != nil {
				t.Errorf("dropped %d, from %d, %d under way", v.Stats.Dropped, v.First, len(v.UnderWay))
			}
		}}, c, to)
		if err != nil || times < 10 {
			t.Fatal(err, times)
		}
		v, err := watch.Ask(pipeline.Totals).Wait(context.Background())
		if err != nil || v.Running || fmt.Sprint(v.Stats) != fmt.Sprint(stats) || v.First == 0 || v.Now < v.First {
			t.Errorf("after the end: %v\n%+v, want\n%+v", err, v.Stats, stats)
		}
		if v, err := watch.Ask(pipeline.UnderWay).Wait(context.Background()); err != nil || v.Running || v.Begun != 0 {
			t.Errorf("after the end: %v, %+v", err, v)
		}
	}
}

// choosy is a receiver that shows every other snapshot, changed.
type choosy struct {
	received
	most int // that it was given at once
	// failed: it has returned an error. late: it was called after that.
	failed, late bool
}

func (c *choosy) Inspect(list []pipeline.Snapshot) (shown []pipeline.Snapshot) {
	c.most, c.late = max(c.most, len(list)), c.late || c.failed
	for i := range list {
		if list[i].Flow.Port[0]%2 == 0 {
			list[i].Reason = "inspected"
			shown = append(shown, list[i])
		}
	}
	return shown
}

// The receiver sees snapshots before those who asked. What it holds back still counts.
func TestInspect(t *testing.T) {
	hung := func(i int) []capture.Record { return hungRequests(t, i) }
	for _, workers := range []int{1, 3} {
		c := config()
		c.Workers = workers
		asked := false
		watching(t, c, pipeline.UnderWay, append(hung(10), pause, pause), &choosy{}, func(v *pipeline.View, _ []capture.Record) {
			asked = true
			if v.Begun != 10 || len(v.UnderWay) != 5 || v.LeftOut != 0 {
				t.Errorf("%d of %d, %d left out", len(v.UnderWay), v.Begun, v.LeftOut)
			}
			for _, u := range v.UnderWay {
				if u.Reason != "inspected" || u.State != exchange.Waiting || string(u.Request.Bytes(u.Request.Method)) != "GET" {
					t.Errorf("%s %s", u.Reason, u.State)
				}
			}
		})
		if !asked {
			t.Error("nothing was answered")
		}
	}
}

// hungRequests makes a capture of n connections, each with a request that has no answer, the oldest first.
func hungRequests(t testing.TB, n int) []capture.Record {
	t.Helper()
	var out bytes.Buffer
	s := synth.New(&out, synth.Options{Nano: true})
	for i := range n {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), uint16(20000+i))
		c := s.Dial(time.Duration(i)*10*time.Microsecond, client, netip.MustParseAddrPort("10.0.0.2:80"), synth.Path{})
		c.Send(synth.Client, fmt.Appendf(nil, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i))
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	return records(t, out.Bytes())
}

// There is room for the oldest exchanges; the rest is counted.
func TestUnderWayIsBounded(t *testing.T) {
	const n = pipeline.MaxUnderWay + 300
	src := append(hungRequests(t, n), pause, pause)
	for _, workers := range []int{1, 4} {
		c := config()
		c.Workers = workers
		watching(t, c, pipeline.UnderWay, src, &received{}, func(v *pipeline.View, _ []capture.Record) {
			if v.Begun != n || len(v.UnderWay) != pipeline.MaxUnderWay || v.LeftOut != 300 {
				t.Errorf("%d workers: %d of %d, %d left out", workers, len(v.UnderWay), v.Begun, v.LeftOut)
				return
			}
			for i, u := range v.UnderWay {
				if target := string(u.Request.Bytes(u.Request.Target)); target != fmt.Sprintf("/%d", i) {
					t.Fatalf("%d workers: %s is the %d. oldest", workers, target, i)
				}
			}
		})
	}
	c, to := config(), &choosy{}
	c.Workers = 4
	watching(t, c, pipeline.UnderWay, src, to, func(*pipeline.View, []capture.Record) {})
	if to.most != pipeline.MaxUnderWay {
		t.Errorf("the receiver was given %d", to.most)
	}
	// Large heads fill the room sooner, at the same place with any number of workers.
	var out bytes.Buffer
	s := synth.New(&out, synth.Options{Nano: true})
	for i := range 100 {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), uint16(20000+i))
		c := s.Dial(time.Duration(i)*time.Millisecond, client, netip.MustParseAddrPort("10.0.0.2:80"), synth.Path{})
		c.Send(synth.Client, fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", strings.Repeat("x", 200<<10)))
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	src = append(records(t, out.Bytes()), pause, pause)
	for _, workers := range []int{1, 4} {
		c := config()
		c.Workers = workers
		watching(t, c, pipeline.UnderWay, src, &received{}, func(v *pipeline.View, _ []capture.Record) {
			if got, want := len(v.UnderWay), pipeline.MaxUnderWayBytes/(203<<10); v.Begun != 100 || got < want-2 || got > want+2 || v.LeftOut != 100-got {
				t.Errorf("%d workers: %d of %d, %d left out", workers, got, v.Begun, v.LeftOut)
			}
		})
	}
}

// Many may ask at once, also when several sources are read, and when the run ends or fails: each gets an answer.
func TestAskAtAnyTime(t *testing.T) {
	src := paused(conversations(t, 9, 30), 20)
	for _, parts := range []int{1, 3} {
		for _, workers := range []int{1, 2} {
			for _, fails := range []bool{false, true} {
				c := config()
				c.Workers, c.Watch = workers, new(pipeline.Watch)
				to := &choosy{}
				if fails {
					to.each = func(*exchange.Exchange) error {
						to.failed = true
						return errors.New("full")
					}
				}
				ended := make(chan struct{})
				var asking sync.WaitGroup
				for i := range 4 {
					asking.Go(func() {
						for last := false; !last; {
							select {
							case <-ended:
								last = true
							default:
							}
							v, err := c.Watch.Ask(pipeline.Question(i % 2)).Wait(t.Context())
							if err != nil {
								t.Error(err)
								return
							}
							for _, u := range v.UnderWay {
								if name(u.Exchange) == "" || u.Reason != "inspected" { // it is ours
									t.Error("the receiver hasn't seen it")
								}
							}
							sum := v.Stats.Analysed.Packets
							for _, n := range v.Stats.Ignored {
								sum += n.Packets
							}
							if v.Stats.Received.Packets != sum {
								t.Errorf("received %d, analysed and ignored %d", v.Stats.Received.Packets, sum)
							}
						}
					})
				}
				stats, err := pipeline.RunAll(context.Background(), divide(src, parts), c, to, func() {})
				close(ended)
				asking.Wait()
				if (err != nil) != fails || to.late {
					t.Errorf("%v; called after it: %v", err, to.late)
				}
				v, err := c.Watch.Ask(pipeline.Totals).Wait(t.Context())
				if err != nil || v.Running || v.Stats.Received != stats.Received {
					t.Errorf("%v: received %v, want %v", err, v.Stats.Received, stats.Received)
				}
			}
		}
	}
}

// scripted is a source of which each call does the next step; behind them it ends.
type scripted struct {
	memory
	steps []func(r *capture.Record) error
}

func (s *scripted) Next(r *capture.Record) error {
	if len(s.steps) == 0 {
		return io.EOF
	}
	step := s.steps[0]
	s.steps = s.steps[1:]
	return step(r)
}

// A run that ends after it has answered counts once, though another one answers later.
func TestAskWhileARunEnds(t *testing.T) {
	c := config()
	c.Watch = new(pipeline.Watch)
	src := conversations(t, 3, 5)
	pauses := func(*capture.Record) error { return capture.ErrIdle }
	var look *pipeline.Look
	began, ended := make(chan struct{}), make(chan struct{})
	first := &scripted{memory: memory{records: src}}
	for range src {
		first.steps = append(first.steps, first.memory.Next)
	}
	first.steps = append(first.steps, func(*capture.Record) error {
		<-began
		look = c.Watch.Ask(pipeline.Totals)
		return capture.ErrIdle
	})
	second := &scripted{steps: []func(*capture.Record) error{func(*capture.Record) error {
		close(began)
		<-ended
		return capture.ErrIdle
	}, pauses}}
	stats, err := pipeline.RunAll(context.Background(), []capture.Source{first, second}, c, &choosy{}, sync.OnceFunc(func() { close(ended) }))
	if err != nil {
		t.Fatal(err)
	}
	v, err := look.Wait(t.Context())
	if err != nil || v.Stats.Received != stats.Received || stats.Received.Packets == 0 {
		t.Errorf("%v: received %v, want %v", err, v.Stats.Received, stats.Received)
	}
}

// Who asks what a stalled run can't answer waits no longer than it wants to; the same question isn't asked twice.
func TestAskAStalledRun(t *testing.T) {
	c := config()
	c.Watch = new(pipeline.Watch)
	asked, goOn := make(chan *pipeline.Look), make(chan struct{})
	to := &received{paused: func() {
		if l := c.Watch.Ask(pipeline.UnderWay); l == c.Watch.Ask(pipeline.UnderWay) {
			asked <- l
		}
		<-goOn
	}}
	done := make(chan error, 1)
	go func() {
		_, err := pipeline.Run(context.Background(), &memory{records: append(hungRequests(t, 3), pause)}, c, to)
		done <- err
	}()
	l := <-asked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if v, err := l.Wait(context.Background()); err != nil || v.Running || v.Begun != 0 {
		t.Errorf("the end answers: %v, %+v", err, v)
	}
}

// A receiver that has failed in the epoch of the question isn't shown what is under way; the end of the run answers.
func TestAskAFailedReceiver(t *testing.T) {
	src := append(dialogue(t, func(c *synth.Conn) {
		c.Exchange([]byte(get), 0, []byte(answer))
		c.Send(synth.Client, []byte(get))
	}), pause)
	for _, workers := range []int{1, 2} {
		c, to := config(), &choosy{}
		c.Workers, c.Watch = workers, new(pipeline.Watch)
		to.each = func(*exchange.Exchange) error {
			to.failed = true
			return errors.New("full")
		}
		asked := &asks{memory: memory{records: src}, watch: c.Watch}
		_, err := pipeline.Run(context.Background(), asked, c, to)
		if err == nil || to.late || asked.look == nil {
			t.Fatalf("%v; called after it: %v", err, to.late)
		}
		if v, err := asked.look.Wait(t.Context()); err != nil || v.Running || len(v.UnderWay) > 0 {
			t.Errorf("%d workers: %v, %+v", workers, err, v)
		}
	}
}

// asks is a source that asks what is under way when its input pauses, and doesn't wait.
type asks struct {
	memory
	watch *pipeline.Watch
	look  *pipeline.Look
}

func (a *asks) Next(r *capture.Record) error {
	err := a.memory.Next(r)
	if errors.Is(err, capture.ErrIdle) {
		a.look = a.watch.Ask(pipeline.UnderWay)
	}
	return err
}
