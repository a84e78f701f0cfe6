package blame

import (
	"math/rand/v2"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
)

// hop returns a node that takes from one moment to another, in milliseconds, and answers when it ends. The verdict on it alone is that of a slow server, or none.
func hop(address string, from, to int64, children ...*Node) *Node {
	n := &Node{Begun: from * ms, Start: from * ms, SendEnd: from * ms, ResponseStart: to * ms, End: to * ms, Status: 200, Address: address, Link: 1, Children: children}
	n.Blame = exchange.Blame{Who: exchange.Nobody, Confidence: 1}
	if took := to - from; took >= WorkFloor/ms {
		n.Blame = exchange.Blame{Who: exchange.ByServer, Situation: exchange.SlowApplication, Time: took * ms, Confidence: 0.95}
		say(&n.Blame, exchange.Evidence{Sentence: exchange.SaysWork, Time: took * ms})
	}
	return n
}

// failed makes a node fail.
func failed(n *Node, who exchange.Who, what exchange.Situation, status int) *Node {
	n.Status, n.Failed = status, status >= 400
	n.Blame = exchange.Blame{Who: who, Situation: what, Confidence: 0.9, Failed: true}
	say(&n.Blame, exchange.Evidence{Sentence: exchange.SaysStatus})
	if status == 0 {
		n.ResponseStart = 0
	}
	return n
}

func forwards(n *Node) *Node { n.Forwards = true; return n }

func unsure(n *Node, link float64) *Node { n.Link = link; return n }

func TestJudgeTree(t *testing.T) {
	for _, c := range []struct {
		name     string
		root     *Node
		who      exchange.Who
		what     exchange.Situation
		upstream string
		time     int64 // ms
		culprit  string
	}{
		{"nobody", hop("a", 0, 20, hop("b", 5, 15)), exchange.Nobody, exchange.NoSituation, "", 0, ""},
		{"its own work", hop("a", 0, 400, hop("b", 5, 105)), exchange.ByServer, exchange.SlowApplication, "", 400, "a"},
		{"an upstream's work", hop("a", 0, 400, hop("b", 5, 395)), exchange.ByUpstream, exchange.SlowUpstream, "b", 390, "b"},
		{"the deepest", hop("a", 0, 400, hop("b", 5, 395, hop("c", 10, 390))), exchange.ByUpstream, exchange.SlowUpstream, "c", 390, "c"},
		{"many calls of one", hop("a", 0, 400, hop("db", 5, 95), hop("db", 100, 190), hop("db", 200, 290), hop("cache", 300, 310)),
			exchange.ByUpstream, exchange.SlowUpstream, "db", 270, "db"},
		{"calls at a time count once", hop("a", 0, 400, hop("db", 5, 95), hop("db", 5, 95), hop("db", 5, 95)), exchange.ByServer, exchange.SlowApplication, "", 400, "a"},
		{"work after the answer isn't waited for", hop("a", 0, 150, hop("b", 140, 900)), exchange.ByServer, exchange.SlowApplication, "", 150, "a"},
		{"connecting counts", func() *Node {
			b := hop("b", 300, 390)
			b.Begun = 5 * ms
			return hop("a", 0, 400, b)
		}(), exchange.ByUpstream, exchange.SlowUpstream, "b", 385, "b"},
		{"a link that isn't sure", hop("a", 0, 400, unsure(hop("b", 5, 395), 0.4)), exchange.ByServer, exchange.SlowApplication, "", 400, "a"},
		{"a pool", hop("a", 0, 400, forwards(hop("b", 300, 395))), exchange.ByProxy, exchange.PoolWait, "b", 300, "a"},
		{"not a proxy: its own work before it asks", hop("a", 0, 400, hop("b", 300, 395)), exchange.ByServer, exchange.SlowApplication, "", 400, "a"},
		{"502", failed(hop("a", 0, 20, failed(hop("b", 5, 15), exchange.ByServer, exchange.ResetMidResponse, 0)), exchange.ByUpstream, exchange.FailedHop, 502),
			exchange.ByUpstream, exchange.FailedHop, "b", 0, "b"},
		{"502 of a 502", failed(hop("a", 0, 20, failed(hop("b", 2, 18, failed(hop("c", 5, 15), exchange.ByServer, exchange.ConnectionRefused, 0)),
			exchange.ByUpstream, exchange.FailedHop, 502)), exchange.ByUpstream, exchange.FailedHop, 502), exchange.ByUpstream, exchange.FailedHop, "c", 0, "c"},
		{"504", failed(hop("a", 0, 2000, failed(hop("b", 5, 1990), exchange.ByClient, exchange.ClientGaveUp, 0)), exchange.ByUpstream, exchange.ServerTimeout, 504),
			exchange.ByUpstream, exchange.ServerTimeout, "b", 0, "b"},
		{"504, and nobody seen", failed(hop("a", 0, 2000), exchange.ByUpstream, exchange.ServerTimeout, 504), exchange.ByUpstream, exchange.ServerTimeout, "", 0, "a"},
		{"500 by a database", failed(hop("a", 0, 20, func() *Node {
			db := failed(hop("db", 5, 15), exchange.ByClient, exchange.ClientError, 400)
			db.Family = exchange.Database
			return db
		}()), exchange.ByServer, exchange.ServerError, 500), exchange.ByUpstream, exchange.FailedHop, "db", 0, "db"},
		{"404 of an upstream is the client's", failed(hop("a", 0, 20, failed(hop("b", 5, 15), exchange.ByClient, exchange.ClientError, 404)), exchange.ByClient, exchange.ClientError, 404),
			exchange.ByClient, exchange.ClientError, "", 0, "a"},
		{"a retry that went well", func() *Node {
			first := forwards(failed(hop("b", 5, 305), exchange.ByServer, exchange.ResetMidResponse, 0))
			again := forwards(hop("c", 310, 390))
			again.Earlier = []*Node{first}
			return hop("a", 0, 400, first, again)
		}(), exchange.ByUpstream, exchange.Retried, "b", 305, "b"},
		{"what was made good isn't why it failed", func() *Node {
			return failed(hop("a", 0, 40, forwards(failed(hop("b", 5, 15), exchange.ByServer, exchange.ResetMidResponse, 0)), forwards(hop("c", 20, 35))),
				exchange.ByServer, exchange.ServerError, 500)
		}(), exchange.ByServer, exchange.ServerError, "", 0, "a"},
		{"calls that overlap", hop("a", 0, 400, hop("db", 5, 135), hop("db", 100, 185), hop("db", 110, 120)), exchange.ByServer, exchange.SlowApplication, "", 400, "a"},
		{"the client tried again", func() *Node {
			first := failed(hop("a", 0, 300), exchange.ByServer, exchange.ResetMidResponse, 0)
			n := hop("a", 310, 330)
			n.Earlier = []*Node{first}
			return n
		}(), exchange.ByUpstream, exchange.Retried, "a", 310, "a"},
		{"redirects", func() *Node {
			n := hop("a", 310, 330)
			n.Redirects = []*Node{hop("a", 0, 90), hop("a", 100, 300)}
			return n
		}(), exchange.ByServer, exchange.Redirected, "", 310, "a"},
		{"a lookup", func() *Node {
			n := hop("a", 310, 330)
			n.Lookup = hop("resolver", 0, 300)
			return n
		}(), exchange.ByDNS, exchange.SlowDNS, "resolver", 300, "a"},
		{"an upstream's lookup", func() *Node {
			b := forwards(hop("b", 310, 390))
			b.Lookup = hop("resolver", 5, 305)
			return hop("a", 0, 400, b)
		}(), exchange.ByDNS, exchange.SlowDNS, "resolver", 300, "a"},
		{"a short lookup", func() *Node {
			n := hop("a", 100, 400)
			n.Lookup = hop("resolver", 0, 99)
			return n
		}(), exchange.ByServer, exchange.SlowApplication, "", 300, "a"},
	} {
		culprit := JudgeTree(c.root)
		b := &c.root.Blame
		if b.Who != c.who || b.Situation != c.what || b.Upstream != c.upstream || b.Time != c.time*ms {
			t.Errorf("%s: %s/%s %q %d ms, want %s/%s %q %d ms", c.name, b.Who, b.Situation, b.Upstream, b.Time/ms, c.who, c.what, c.upstream, c.time)
		}
		at := ""
		if culprit != nil {
			at = culprit.Address
		}
		if at != c.culprit {
			t.Errorf("%s: the culprit is %q, want %q", c.name, at, c.culprit)
		}
		if b.Who > exchange.Nobody && (b.Confidence < MinConfidence || b.Confidence > 1 || b.N == 0) {
			t.Errorf("%s: %+v", c.name, *b)
		}
	}
}

// TestFailedHopTells: a failure tells what the deepest hop did.
func TestFailedHopTells(t *testing.T) {
	root := failed(hop("a", 0, 20, failed(hop("b", 2, 18, failed(hop("c", 5, 15), exchange.ByServer, exchange.ConnectionRefused, 0)),
		exchange.ByUpstream, exchange.FailedHop, 502)), exchange.ByUpstream, exchange.FailedHop, 502)
	JudgeTree(root)
	x := exchange.Exchange{Blame: root.Blame}
	if why := x.Why(); why != "upstream: c failed: the server refused the connection" {
		t.Errorf("%q", why)
	}
}

// FuzzJudgeTree: any tree has an end, and its verdicts are within their bounds.
func FuzzJudgeTree(f *testing.F) {
	f.Add(uint64(1), uint8(10))
	f.Add(uint64(2), uint8(255))
	f.Fuzz(func(t *testing.T, seed uint64, size uint8) {
		r := rand.New(rand.NewPCG(seed, 0))
		all := []*Node{hop("a", 0, r.Int64N(1000))}
		for range size {
			n := hop(string(rune('a'+r.IntN(4))), r.Int64N(1000), r.Int64N(1000))
			switch r.IntN(4) {
			case 0:
				failed(n, exchange.Who(r.IntN(int(exchange.NumWho))), exchange.Situation(r.IntN(int(exchange.NumSituations))), []int{0, 200, 404, 500, 502, 504}[r.IntN(6)])
			case 1:
				forwards(n)
			}
			n.Link = r.Float64() * 1.2
			to := all[r.IntN(len(all))]
			switch r.IntN(6) {
			case 0:
				to.Lookup = n
			case 1:
				to.Earlier = append(to.Earlier, n)
			case 2:
				to.Redirects = append(to.Redirects, n)
			default:
				to.Children = append(to.Children, n)
			}
			all = append(all, n)
		}
		JudgeTree(all[0])
		for _, n := range all {
			b := &n.Blame
			if b.Time < 0 || b.Confidence < 0 || b.Confidence > 1 || int(b.N) > exchange.MaxEvidence || b.Who >= exchange.NumWho || b.Situation >= exchange.NumSituations {
				t.Fatalf("%+v", *b)
			}
		}
	})
}

// TestNoCulprit: where it isn't clear who is to blame, nobody is marked; an upstream that is blamed is, whatever it shows itself.
func TestNoCulprit(t *testing.T) {
	for _, who := range []exchange.Who{exchange.Unjudged, exchange.Nobody, exchange.Unclear} {
		if n := JudgeTree(&Node{Blame: exchange.Blame{Who: who}}); n != nil {
			t.Errorf("%v: %+v", who, n.Blame)
		}
	}
	child := &Node{Address: "10.0.0.3:80", Blame: exchange.Blame{Who: exchange.Unclear}}
	root := &Node{Children: []*Node{child}, Blame: exchange.Blame{Who: exchange.ByUpstream, Upstream: child.Address}}
	if n := JudgeTree(root); n != child {
		t.Errorf("%+v", n)
	}
}
