package hops

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
)

// TestClocks: two taps see the same exchanges; the clock of the second is 700 ms ahead, the way takes 1 ms there and 2 ms back, and more now and then.
func TestClocks(t *testing.T) {
	for _, nearer := range []string{"client", "server"} { // which tap is seen first
		var calls []call
		for n := range 10 {
			begin, more := float64(n)*100, float64(n%3)
			c := call{tap: "near", client: client, server: proxy, target: "/a", status: 200, start: begin, end: begin + 50, answered: begin + 40, index: uint32(n)}
			far := c
			far.tap, far.start, far.answered, far.end = "far", begin+700+1+more, begin+700+38, begin+700+48
			if nearer == "server" { // so that its records come first
				far.start, far.answered, far.end = far.start-1400, far.answered-1400, far.end-1400
			}
			calls = append(calls, c, far)
		}
		all, l := linked(t, Options{}, calls...)
		if len(all) != 10 || l.Counts.Merged != 10 {
			t.Fatalf("%d trees, %d merged", len(all), l.Counts.Merged)
		}
		want := int64(700 * ms)
		if nearer == "server" {
			want = -want
		}
		clocks := l.Clocks()
		if len(clocks) != 1 || clocks[0].Samples != 10 {
			t.Fatalf("%+v", clocks)
		}
		c := clocks[0]
		if c.Tap[0] == "far" {
			c.Ahead = -c.Ahead
		}
		// The bounds are those of the fastest way: 1 ms there, 2 ms back.
		if got := c.Ahead - want; got != -ms/2 || c.Bound != 3*ms/2 {
			t.Errorf("%d ns off, bound %d", got, c.Bound)
		}
		n := all[1].Root
		if n.Tap != "near" || n.Served().Tap != "far" || !n.Network.Known || n.Network.Request+n.Network.Response != 4*ms {
			t.Errorf("from %s to %s: %+v", n.Tap, n.Served().Tap, n.Network)
		}
		if o := all[0].Offsets; len(o) != 1 || o[0].Tap != "far" || o[0].Samples == 0 || o[0].Ahead-want != -ms/2 {
			t.Errorf("%+v", o)
		}
	}
}

// TestSelf: time of children that overlap counts once, and that before and after their parent not at all.
func TestSelf(t *testing.T) {
	id := "X-Request-ID: 1"
	child := func(start, end float64) call {
		return call{client: proxyC, server: app, target: "/x", headers: id, status: 200, start: start, end: end}
	}
	second, third, late := child(30, 60), child(35, 40), child(90, 150)
	second.client, third.client, late.client = "10.0.0.2:2", "10.0.0.2:3", "10.0.0.2:4"
	all, _ := linked(t, Options{}, call{client: client, server: proxy, target: "/a", headers: id, status: 200, start: 0, end: 100}, child(10, 40), second, third, late)
	if len(all) != 1 || all[0].Nodes != 5 {
		t.Fatal(outline(all))
	}
	if got := all[0].Root.Self; got != 40*ms { // 0 to 10, 60 to 90
		t.Errorf("itself %d ns", got)
	}
}

func TestUnseen(t *testing.T) {
	base := call{client: client, server: proxy, target: "/a", status: 200, start: 0, end: 100}
	for _, test := range []struct {
		change func(c *call)
		want   string
	}{
		{func(*call) {}, ""},
		{func(c *call) { c.status = 502 }, "502"},
		{func(c *call) { c.status = 504 }, "504"},
		{func(c *call) { c.status = 500 }, ""},
		{func(c *call) { c.answers = "Server: nginx\nX-Powered-By: PHP/8.2" }, "PHP/8.2"},
		{func(c *call) { c.answers = "X-Powered-By: Express" }, ""},
		{func(c *call) { c.answers = "Via: 1.1 a" }, ""},
		{func(c *call) { c.answers = "Via: 1.1 a, 1.1 b" }, "2 proxies"},
	} {
		c := base
		test.change(&c)
		all, _ := linked(t, Options{}, c)
		if got := all[0].Root.Unseen; (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
			t.Errorf("%d %q: %q, want %q", c.status, c.answers, got, test.want)
		}
	}
	bad := base
	bad.status, bad.headers = 502, "X-Request-ID: 1"
	behind := call{client: proxyC, server: app, target: "/a", headers: bad.headers, status: 0, start: 1, end: 99}
	if all, _ := linked(t, Options{}, bad, behind); all[0].Root.Unseen != "" {
		t.Errorf("%q, though it was seen", all[0].Root.Unseen)
	}
}

// TestVerdict: what the tree tells of a slow upstream, and of a 504, names the one that took the time, or stayed silent.
func TestVerdict(t *testing.T) {
	id := "X-Request-ID: 1"
	for _, test := range []struct {
		status, behind int
		blame          exchange.Blame
		want           exchange.Situation
	}{
		{200, 200, exchange.Blame{Who: exchange.ByServer, Situation: exchange.SlowApplication, Time: 900 * ms, Confidence: 0.9}, exchange.SlowUpstream},
		{504, 0, exchange.Blame{Who: exchange.ByUpstream, Situation: exchange.ServerTimeout, Time: 900 * ms, Confidence: 0.8, Failed: true}, exchange.ServerTimeout},
	} {
		in := call{client: client, server: proxy, target: "/a", headers: id, status: test.status, start: 0, end: 1000}
		out := call{client: proxyC, server: app, target: "/a", headers: id, status: test.behind, start: 1, end: 950}
		var tree *Tree
		l := New(Options{}, func(t *Tree) { tree = t })
		child, parent := out.exchange(t), in.exchange(t)
		child.Blame, parent.Blame = test.blame, test.blame
		child.Blame.Who, child.Blame.Situation = exchange.ByServer, exchange.SlowApplication
		l.Add(child)
		l.Add(parent)
		l.Flush()
		if b := tree.Root.Blame; b.Who != exchange.ByUpstream || b.Situation != test.want || b.Upstream != app || tree.Culprit == nil || tree.Culprit == tree.Root {
			t.Errorf("%s, %s %s, culprit %v", b.Who, b.Situation, b.Upstream, tree.Culprit)
		}
	}
}

// TestTrace: the tree of one exchange, by the id of any in it.
func TestTrace(t *testing.T) {
	id := "X-Request-ID: 1"
	in := call{client: client, server: proxy, target: "/a", headers: id, status: 200, start: 0, end: 100}
	out := call{client: proxyC, server: app, target: "/a", headers: id, status: 200, start: 1, end: 95}
	x := out.exchange(t)
	each := func(add func(*exchange.Exchange)) error {
		add(x)
		add(in.exchange(t))
		return nil
	}
	tree, err := Trace(x.ID(""), each)
	if err != nil || tree == nil || tree.Nodes != 2 || tree.Find(x.ID("")) == nil || tree.Find(x.ID("")).Parent != tree.Root {
		t.Errorf("%v, %v", tree, err)
	}
	if tree, err := Trace([exchange.IDSize]byte{1}, each); tree != nil || err != nil {
		t.Errorf("%v, %v", tree, err)
	}
}
