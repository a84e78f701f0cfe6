package hops

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
)

// shop makes the calls of so many requests of a proxy, an application and a database, so many of them at a time, and the parent of each by its place, -1
// for none. Everything runs on one host, or on one each.
type shop struct {
	requests, atOnce int
	loopback         bool
	ids              bool
	seed             uint64
}

func (s shop) calls() (calls []call, parents []int) {
	r := rand.New(rand.NewPCG(s.seed, 1))
	hosts := [...]string{"10.0.0.2", "10.0.0.4", "10.0.0.5"}
	if s.loopback {
		hosts = [...]string{"127.0.0.1", "127.0.0.1", "127.0.0.1"}
	}
	free := make([]float64, s.atOnce) // when each client is done
	took := func(mean float64) float64 { return mean * math.Exp(r.NormFloat64()/3) }
	for n := range s.requests {
		c := slices.Index(free, slices.Min(free))
		t := free[c] + took(0.2) + 1
		target := fmt.Sprintf("/products/%d", r.IntN(30))
		id, comment := "", ""
		if s.ids {
			id, comment = fmt.Sprintf("X-Request-ID: %x", n), fmt.Sprintf(" /*x-request-id='%x'*/", n)
		}
		in := call{client: fmt.Sprintf("192.0.2.%d:%d", 1+c%200, 10000+c), server: hosts[0] + ":80", host: "shop", target: target, headers: id, status: 200, start: t}
		out := call{client: fmt.Sprintf("%s:%d", hosts[0], 20000+c), server: hosts[1] + ":8000", host: "shop", target: target, headers: id, status: 200, start: t + took(0.1)}
		next := out.start
		at := len(calls)
		calls = append(calls, in, out)
		parents = append(parents, -1, at)
		for _, q := range []string{"SELECT name FROM products WHERE id = ", "SELECT COUNT(*) FROM orders WHERE product = "} {
			begin := next + took(0.5)
			next = begin + took(0.8)
			calls = append(calls, call{
				client: fmt.Sprintf("%s:%d", hosts[1], 30000+r.IntN(50)), server: hosts[2] + ":3306", protocol: "mysql", method: q, target: q + target[len("/products/"):] + comment, status: 1, start: begin, end: next,
			})
			parents = append(parents, at+1)
		}
		calls[at+1].end = next + took(0.5)
		calls[at].end = calls[at+1].end + took(0.1)
		free[c] = calls[at].end
	}
	for i := range calls {
		calls[i].index = uint32(i) // which makes ids differ
	}
	return calls, parents
}

// score returns which part of the calls has the parent that it should have.
func score(t testing.TB, calls []call, parents []int, o Options) (right float64, l *Linker) {
	t.Helper()
	order := make([]int, len(calls))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case calls[i].end < calls[j].end:
			return -1
		case calls[i].end > calls[j].end:
			return 1
		}
		return 0
	})
	ids := map[[exchange.IDSize]byte]int{}
	n := 0
	l = New(o, func(tree *Tree) {
		tree.All(func(node *Node) bool {
			want := parents[ids[node.ID]]
			if node.Parent == nil && want == -1 || node.Parent != nil && want == ids[node.Parent.ID] {
				n++
			}
			return true
		})
	})
	for _, i := range order {
		x := calls[i].exchange(t)
		ids[x.ID("")] = i
		l.Add(x)
	}
	l.Flush()
	return float64(n) / float64(len(calls)), l
}

func TestTraffic(t *testing.T) {
	for _, test := range []struct {
		shop
		least float64
	}{
		{shop{1000, 20, false, true, 1}, 1},
		{shop{1000, 20, true, true, 2}, 1},
		{shop{1000, 20, false, false, 3}, 0.98},
		{shop{1000, 20, true, false, 4}, 0.98}, // who asks whom is known by times alone
		{shop{1000, 1, true, false, 5}, 1},
	} {
		calls, parents := test.calls()
		right, l := score(t, calls, parents, Options{})
		t.Logf("%+v: %.4f right, linked %v", test.shop, right, l.Counts.Linked)
		if right < test.least {
			t.Errorf("%+v: %.4f right, want %.2f", test.shop, right, test.least)
		}
	}
}

// TestQueue: a proxy that passes on one request at a time. The delays say nothing, since each begins when another ends.
func TestQueue(t *testing.T) {
	var calls []call
	var parents []int
	for n := range 200 {
		begin := float64(n) * 100
		at := len(calls)
		in := call{client: fmt.Sprintf("192.0.2.1:%d", 1000+n), server: "10.1.0.2:80", host: "shop", target: fmt.Sprintf("/%d", n), status: 200, start: begin - 550, end: begin + 96}
		out := call{client: fmt.Sprintf("10.2.0.2:%d", 2000+n), server: "10.2.0.4:80", host: "shop", target: in.target, status: 200, start: begin, end: begin + 95}
		calls, parents = append(calls, in, out), append(parents, -1, at)
	}
	if right, l := score(t, calls, parents, Options{}); right != 1 {
		t.Errorf("%.4f right, linked %v", right, l.Counts.Linked)
	}
}

// TestOwnRequests: what a proxy asks for of its own accord while it has a long request to answer isn't for that.
func TestOwnRequests(t *testing.T) {
	calls, parents := shop{300, 5, false, false, 8}.calls()
	long := call{client: "192.0.2.250:1", server: "10.0.0.2:80", host: "shop", target: "/export", status: 504, start: 0.5, end: 400, index: 5000}
	calls, parents = append(calls, long), append(parents, -1)
	for n := range 20 {
		begin := 5 + float64(n)*15
		calls = append(calls, call{client: fmt.Sprintf("10.0.0.2:%d", 60000+n), server: "10.0.0.4:8000", host: "shop", target: "/healthz", status: 200, start: begin, end: begin + 1, index: uint32(6000 + n)})
		parents = append(parents, -1)
	}
	if right, l := score(t, calls, parents, Options{}); right < 0.99 || l.Counts.Linked[exchange.ByTiming] > 5 {
		t.Errorf("%.4f right, linked %v", right, l.Counts.Linked)
	}
}

// TestUnclear: links by timing that are hardly likelier than others are left out.
func TestUnclear(t *testing.T) {
	calls, _ := shop{400, 12, false, false, 9}.calls()
	for i := range calls {
		if calls[i].protocol == "mysql" {
			calls[i].target = "SELECT x"
		}
	}
	all, l := linked(t, Options{}, calls...)
	for _, tree := range all {
		tree.All(func(n *Node) bool {
			if n.Hop.Method == exchange.ByTiming && (n.Hop.Confidence < leastTiming || n.Hop.Confidence > sureTiming) {
				t.Errorf("linked by timing with %.2f", n.Hop.Confidence)
			}
			return true
		})
	}
	if l.Counts.Unclear == 0 || l.Counts.Linked[exchange.ByTiming] == 0 {
		t.Errorf("%d unclear, linked %v", l.Counts.Unclear, l.Counts.Linked)
	}
}

// TestOnline: with a short wait, and little room, hardly less is found, and what is kept stays within bounds.
func TestOnline(t *testing.T) {
	calls, parents := shop{3000, 20, false, false, 6}.calls()
	right, l := score(t, calls, parents, Options{Wait: 200 * time.Millisecond})
	if right < 0.98 || l.Counts.Hurried != 0 {
		t.Errorf("%.4f right, %d hurried", right, l.Counts.Hurried)
	}
	right, l = score(t, calls, parents, Options{MaxSpans: 2000})
	if right < 0.8 || l.Counts.Hurried == 0 {
		t.Errorf("%.4f right, %d hurried", right, l.Counts.Hurried)
	}
	if l.spans != 0 || l.index.len != 0 || len(l.timing.events) != 0 {
		t.Errorf("left over: %d spans, %d entries, %d events", l.spans, l.index.len, len(l.timing.events))
	}
	for k, v := range l.services {
		if len(v.spans) != 0 {
			t.Errorf("left over: %d spans of %v", len(v.spans), k)
		}
	}
}

// wild makes calls of random bytes.
func wild(b []byte) (calls []call) {
	pick := func(n int) int {
		if len(b) == 0 {
			return 0
		}
		v := int(b[0])
		b = b[1:]
		return v % n
	}
	end := func() string {
		return fmt.Sprintf("%s:%d", []string{"10.0.0.1", "10.0.0.2", "127.0.0.1", "192.0.2.1"}[pick(4)], 80+pick(3))
	}
	for len(b) > 0 && len(calls) < 300 {
		var h [2]byte
		binary.BigEndian.PutUint16(h[:], uint16(pick(4)))
		c := call{
			tap: []string{"a", "b"}[pick(2)], client: end(), server: end(), protocol: []string{"http", "mysql", "dns", "http2"}[pick(4)], method: []string{"GET", "A"}[pick(2)],
			target: []string{"/a", "/b/1", "SELECT 1 /*x-request-id='0'*/", ""}[pick(4)], status: []int{0, 200, 302, 502}[pick(4)], start: float64(pick(50)), index: uint32(pick(3)),
			headers: []string{"", "X-Request-ID: 1", "b3: a-b-1-c", "b3: a-c-1-b", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01", "X-Varnish: 3", "Forwarded: for=\"10.0.0.1:80\"", "X-Forwarded-For: \x00,"}[pick(8)],
			answers: []string{"", "X-Varnish: 2", "Location: /a", "Location: http://[::1]:80", "Via: a, b", "X-Request-ID: 1"}[pick(6)],
			pids:    [2]int{pick(3), pick(3)}, found: []string{"", "10.0.0.2"}[pick(2)], midstream: pick(2) == 0,
		}
		c.end = c.start + float64(pick(40))
		if pick(3) == 0 {
			c.syn = c.start - 1
		}
		calls = append(calls, c)
	}
	return calls
}

// checkTrees checks what holds for any calls: each exchange is in one tree, once; nobody is above itself; what is counted adds up; nothing is kept.
func checkTrees(t *testing.T, all []*Tree, l *Linker) {
	t.Helper()
	seen := map[*Span]bool{}
	linked := uint64(0)
	for _, tree := range all {
		n := 0
		tree.All(func(node *Node) bool {
			n++
			for _, s := range node.Seen {
				if seen[s] {
					t.Fatal("an exchange is in two places")
				}
				seen[s] = true
			}
			if node.Parent != nil {
				linked++
				if node.Hop.Parent != node.Parent.ID || node.Hop.Depth != node.Parent.Hop.Depth+1 || node.Hop.Method <= exchange.Root {
					t.Fatalf("%+v below %+v", node.Hop, node.Parent.Hop)
				}
			} else if node.Hop.Method != exchange.Root || node != tree.Root {
				t.Fatalf("a root with %+v", node.Hop)
			}
			if node.Hop.Trace != tree.Root.ID || node.Hop.Depth > MaxDepth || node.Self < 0 || node.Self > node.Served().End-node.Served().Start {
				t.Fatalf("%+v, itself %d of %d", node.Hop, node.Self, node.End-node.Start)
			}
			if !(node.Hop.Confidence > 0 && node.Hop.Confidence <= 1) {
				t.Fatalf("confidence %v by %s", node.Hop.Confidence, node.Hop.Method)
			}
			return true
		})
		if n != tree.Nodes {
			t.Fatalf("%d nodes, counted %d", n, tree.Nodes)
		}
	}
	c := &l.Counts
	sum := c.Roots
	for _, n := range c.Linked {
		sum += n
	}
	if uint64(len(seen)) != c.Exchanges-c.Apart || sum+c.Merged != c.Exchanges-c.Apart || linked != sum-c.Roots || uint64(len(all)) != c.Roots {
		t.Fatalf("%d exchanges in %d trees, %d linked, counted %+v", len(seen), len(all), linked, *c)
	}
	if l.spans != 0 || l.index.len != 0 || len(l.waiting)+len(l.pending)+len(l.heads) != 0 || len(l.timing.events) != 0 {
		t.Fatalf("left over: %d spans, %d entries, %d waiting, %d events", l.spans, l.index.len, len(l.waiting)+len(l.pending), len(l.timing.events))
	}
}

// FuzzLinker: whatever comes, it is linked to trees, alike each time.
func FuzzLinker(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 20 {
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, o := range []Options{{}, {Wait: 10 * time.Millisecond}, {MaxSpans: 5}} {
			calls := wild(b)
			all, l := linked(t, o, calls...)
			checkTrees(t, all, l)
			again, _ := linked(t, o, calls...)
			if a, b := outline(all), outline(again); a != b {
				t.Fatalf("first\n%sthen\n%s", a, b)
			}
		}
	})
}

func benchmark(b *testing.B, s shop) {
	calls, _ := s.calls()
	slices.SortStableFunc(calls, func(a, b call) int { return int(at(a.end) - at(b.end)) })
	all := make([]*exchange.Exchange, len(calls))
	for i := range calls {
		all[i] = calls[i].exchange(b)
	}
	b.ReportAllocs()
	b.ResetTimer()
	begun := processorTime(b)
	n := 0
	for n < b.N {
		l := New(Options{}, func(*Tree) {})
		for i := 0; i < len(all) && n < b.N; i++ {
			l.Add(all[i])
			n++
		}
		l.Flush()
	}
	b.ReportMetric(float64(processorTime(b)-begun)/float64(n), "cpu-ns/op")
}

// processorTime is what the process took of the processors, in nanoseconds: unlike the time of day, it tells little of what else runs.
func processorTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// The benchmarks link 40,000 exchanges; an op is one of them.

func BenchmarkIDs(b *testing.B) { benchmark(b, shop{10000, 50, false, true, 1}) }

func BenchmarkContent(b *testing.B) { benchmark(b, shop{10000, 50, false, false, 1}) }
