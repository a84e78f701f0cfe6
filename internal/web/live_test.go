package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
)

// reader is the other end of a live stream. Its Write can be made to wait, or to fail.
type reader struct {
	header http.Header
	mu     sync.Mutex
	text   bytes.Buffer
	taken  int
	// stalled: Write waits until it is closed; broken: Write fails.
	stalled chan struct{}
	broken  bool
	// done is closed when the stream is over.
	done chan struct{}
}

func (r *reader) Header() http.Header { return r.header }
func (r *reader) WriteHeader(int)     {}
func (r *reader) Flush()              {}
func (r *reader) Write(b []byte) (int, error) {
	r.mu.Lock()
	stalled := r.stalled
	r.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken {
		return 0, errors.New("broken pipe")
	}
	return r.text.Write(b)
}

func (r *reader) stall() (release func()) {
	c := make(chan struct{})
	r.mu.Lock()
	r.stalled = c
	r.mu.Unlock()
	return func() {
		r.mu.Lock()
		r.stalled = nil
		r.mu.Unlock()
		close(c)
	}
}

// new returns what came since the last call, when all is at rest.
func (r *reader) new() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.text.String()[r.taken:]
	r.taken = r.text.Len()
	return s
}

// watch begins a live stream, and returns what ends it.
func watch(t *testing.T, s *Server, target string, headers ...string) (r *reader, leave func()) {
	ctx, cancel := context.WithCancel(t.Context())
	r = &reader{header: http.Header{}, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		s.ServeHTTP(r, request(target, headers...).WithContext(ctx))
	}()
	synctest.Wait()
	return r, func() { cancel(); <-r.done }
}

// got are the last path segments of a stream's exchanges.
func got(t *testing.T, stream string) (out []string) {
	t.Helper()
	for line := range strings.Lines(stream) {
		if doc, ok := strings.CutPrefix(line, "data: "); ok {
			v := decode(t, []byte(doc))
			if n := dig(v, "left_out"); n != nil {
				out = append(out, fmt.Sprintf("-%v", n))
			} else if path, ok := dig(v, "url", "path").(string); ok {
				out = append(out, strings.TrimPrefix(path, "/"))
			} else {
				out = append(out, doc)
			}
		}
	}
	return out
}

func numbered(n int) *exchange.Exchange {
	return outputtest.Exchange(fmt.Sprintf("GET /%d HTTP/1.1\nHost: a\n\n", n), "HTTP/1.1 200 OK\n\n")
}

func lastID(stream string) string {
	i := strings.LastIndex(stream, "\nid: ")
	id, _, _ := strings.Cut(stream[i+5:], "\n")
	return id
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		s.Publish(numbered(0)) // nobody listens
		all, leaveAll := watch(t, s, "/api/live")
		odd, leaveOdd := watch(t, s, "/api/live?where=path+matches+%22[13579]$%22&fields=path")
		if h := all.header; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" {
			t.Error(h)
		}
		for n := range 3 {
			s.Publish(numbered(n + 1))
		}
		text := all.new()
		if !strings.HasPrefix(text, "retry: 1000\n\nevent: exchange\nid: ") || fmt.Sprint(got(t, text)) != "[1 2 3]" {
			t.Errorf("%q", text)
		}
		if text := odd.new(); fmt.Sprint(got(t, text)) != "[1 3]" || !strings.Contains(text, `data: {"url":{"path":"/3"}}`+"\n\n") {
			t.Errorf("%q", text)
		}
		s.Waiting(numbered(7), 10*time.Second)
		if text := all.new(); !strings.HasPrefix(text, "event: waiting\nid: ") || !strings.Contains(text, `data: {"waited":10000000000,"exchange":{"@timestamp"`) {
			t.Errorf("%q", text)
		}
		odd.new()

		// An idle stream shows that it lives.
		time.Sleep(Heartbeat)
		if a, b := all.new(), odd.new(); a != ":\n\n" || b != ":\n\n" {
			t.Errorf("%q %q", a, b)
		}
		if n := s.feed.state().Subscribers; n != 2 {
			t.Errorf("%d subscribers", n)
		}
		leaveAll()
		leaveOdd()
		time.Sleep(LiveGrace)
		synctest.Wait()
		if n := s.feed.state().Subscribers; n != 0 {
			t.Errorf("%d subscribers are left", n)
		}
	})
}

// Hostile content can't end an event, or begin another.
func TestLiveHostile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		r, leave := watch(t, s, "/api/live")
		defer leave()
		s.Publish(outputtest.Exchange("GET /\r\revent:\u2028<b> HTTP/1.1\nHost: a\x85b\x00\nX: \rdata: 1\r\n\n", ""))
		text := r.new()
		if strings.Count(text, "\n") != 2+4 || strings.ContainsAny(text, "\r\x00<>\u2028\u0085") {
			t.Errorf("%q", text)
		}
	})
}

// A reader that is too slow doesn't make the capture wait, takes bounded memory, and learns how many it missed.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		r, leave := watch(t, s, "/api/live?fields=path")
		defer leave()
		r.new()
		release := r.stall()
		const n = 3000
		for i := range n {
			s.Publish(numbered(i))
		}
		release()
		list := got(t, r.new())
		last := list[len(list)-1]
		if !strings.HasPrefix(last, "-") {
			t.Fatalf("the end is %s", last)
		}
		var missed int
		fmt.Sscan(last[1:], &missed)
		if len(list)-1+missed != n || len(list)-1 < LiveEvents || len(list)-1 > LiveEvents+liveBatch || int64(missed) != s.feed.state().LeftOut {
			t.Errorf("%d came, %d missed, %d counted", len(list)-1, missed, s.feed.state().LeftOut)
		}
		for i := range len(list) - 1 {
			if list[i] != fmt.Sprint(i) {
				t.Fatalf("event %d is %s", i, list[i])
			}
		}
		// Then it goes on, and a gap stands where it is.
		s.Publish(numbered(n))
		if list := got(t, r.new()); fmt.Sprint(list) != "[3000]" {
			t.Error(list)
		}
	})
}

// Large documents are bounded by their bytes.
func TestLiveBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		r, leave := watch(t, s, "/api/live?fields=path")
		defer leave()
		release := r.stall()
		x := outputtest.Exchange("GET /big HTTP/1.1\nX: "+strings.Repeat("a", 1<<20)+"\n\n", "")
		for range 20 {
			s.Publish(x)
		}
		u := s.feed.list()[0]
		u.mu.Lock()
		kept := 0
		for i := range u.ring {
			kept += len(u.ring[i].doc)
		}
		if kept > LiveBytes || kept != u.kept || kept == 0 {
			t.Errorf("%d bytes are kept, and %d counted", kept, u.kept)
		}
		u.mu.Unlock()
		release()
		if list := got(t, r.new()); list[len(list)-1][0] != '-' {
			t.Error(list)
		}
	})
}

// A client that comes back misses nothing; one that comes too late is told.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		r, leave := watch(t, s, "/api/live")
		s.Publish(numbered(1))
		s.Publish(numbered(2))
		text := r.new()
		first := lastID(text)[:strings.LastIndex(lastID(text), ".")] + ".0" // as if 2 had not come through
		leave()
		s.Publish(numbered(3))
		time.Sleep(LiveGrace - 1)
		s.Publish(numbered(4))
		r, leave = watch(t, s, "/api/live", "Last-Event-ID: "+first)
		s.Publish(numbered(5))
		text = r.new()
		if fmt.Sprint(got(t, text)) != "[2 3 4 5]" {
			t.Errorf("%q", text)
		}
		time.Sleep(2 * LiveGrace) // the timer of the first connection is over
		s.Publish(numbered(6))
		if list := got(t, r.new()); fmt.Sprint(list) != "[6]" {
			t.Error(list)
		}

		// A connection that nobody has noticed to be dead is taken over.
		id := lastID(text)
		second, leaveSecond := watch(t, s, "/api/live", "Last-Event-ID: "+id)
		select {
		case <-r.done:
		default:
			t.Error("the connection before goes on")
		}
		leave()
		s.Publish(numbered(7))
		if list := got(t, second.new()); fmt.Sprint(list) != "[6 7]" {
			t.Error(list)
		}
		if n := s.feed.state().Subscribers; n != 1 {
			t.Errorf("%d subscribers", n)
		}

		// Another question, another run, what never was, and what is too old: it is unknown what was missed.
		for _, c := range []struct{ target, id string }{
			{"/api/live?where=status==200", id}, {"/api/live", "x.1.1"}, {"/api/live", s.feed.run + ".1.999"}, {"/api/live", s.feed.run + ".99.1"},
			{"/api/live", s.feed.run + ".1"}, {"/api/live", "\x00"}, {"/api/live", s.feed.run + ".-1.1"}, {"/api/live", s.feed.run + ".1.18446744073709551615"},
		} {
			r, leave := watch(t, s, c.target, "Last-Event-ID: "+c.id)
			if text := r.new(); !strings.Contains(text, "event: gap\ndata: {\"left_out\":null}\n\n") {
				t.Errorf("%s: %q", c.id, text)
			}
			leave()
		}
		leaveSecond()
		time.Sleep(LiveGrace + 1)
		r, leave = watch(t, s, "/api/live", "Last-Event-ID: "+id)
		defer leave()
		if text := r.new(); !strings.Contains(text, `{"left_out":null}`) {
			t.Errorf("%q", text)
		}
	})
}

// One that comes back so late that what it missed is overwritten learns how many they were.
func TestResumeBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		r, leave := watch(t, s, "/api/live?fields=path")
		s.Publish(numbered(0))
		id := lastID(r.new())
		for i := range 2 * LiveEvents { // read by the connection, and then lost on its way
			s.Publish(numbered(i + 1))
			synctest.Wait()
		}
		leave()
		r, leave = watch(t, s, "/api/live?fields=path", "Last-Event-ID: "+id)
		defer leave()
		list := got(t, r.new())
		if len(list) != LiveEvents+1 || list[0] != fmt.Sprintf("-%d", LiveEvents) || list[1] != fmt.Sprint(LiveEvents+1) {
			t.Errorf("%d: %v", len(list), list[:3])
		}
	})
}

func TestSubscriberLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		var leaves []func()
		for range MaxSubscribers {
			_, leave := watch(t, s, "/api/live")
			leaves = append(leaves, leave)
		}
		refused(t, s, request("/api/live"), 429, "too-many", "32 live streams")
		leaves[0]() // one whose client has gone makes room
		_, leaves[0] = watch(t, s, "/api/live")
		if n := s.feed.state().Subscribers; n != MaxSubscribers {
			t.Errorf("%d subscribers", n)
		}
		// The end ends them all, and there are no more.
		s.Close()
		s.Close()
		synctest.Wait()
		refused(t, s, request("/api/live"), 503, "closing", "ending")
		for _, leave := range leaves {
			leave()
		}
		time.Sleep(LiveGrace)
		synctest.Wait()
	})
}

// A connection that breaks is a client that may come back.
func TestBrokenPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t)
		r, leave := watch(t, s, "/api/live")
		r.new()
		r.mu.Lock()
		r.broken = true
		r.mu.Unlock()
		s.Publish(numbered(1))
		synctest.Wait()
		leave()
		time.Sleep(LiveGrace)
		synctest.Wait()
		if n := s.feed.state().Subscribers; n != 0 {
			t.Errorf("%d subscribers", n)
		}
	})
}

// Publish costs nothing when nobody listens, or nobody wants the exchange.
func TestPublishAllocations(t *testing.T) {
	s, x := serve(t), numbered(1)
	if n := testing.AllocsPerRun(1000, func() { s.Publish(x) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	f, err := (&params{values: map[string][]string{"where": {"status == 500"}}}).where()
	if err != nil {
		t.Fatal(err)
	}
	u, _, _, err := s.feed.subscribe("", f, "")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { s.Publish(x) }); n > 0 || u.end > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Over a real connection: events come at once, and Shutdown ends the stream.
func TestLiveOverHTTP(t *testing.T) {
	s := serve(t)
	server := httptest.NewUnstartedServer(s)
	server.Config = s.HTTPServer()
	server.Start()
	defer server.Close()
	res, err := http.Get(server.URL + "/api/live?token=" + testToken)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for i := range 3 {
		s.Publish(numbered(i))
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") {
		}
		if !strings.Contains(lines.Text(), fmt.Sprintf(`"path":"/%d"`, i)) {
			t.Fatalf("%d: %q", i, lines.Text())
		}
	}
	if err := server.Config.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, listeners := range []int{0, 1, 8} {
		b.Run(fmt.Sprint(listeners), func(b *testing.B) {
			s, x := serve(b), numbered(1)
			var list []*subscriber
			for range listeners {
				u, _, _, _ := s.feed.subscribe("", nil, "")
				list = append(list, u)
			}
			var batch []event
			for i := 0; b.Loop(); i++ {
				s.Publish(x)
				if i%32 == 0 {
					for _, u := range list {
						batch, _, _, _ = u.take(0, batch[:0])
					}
				}
			}
		})
	}
}
