package repeats

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
)

// beginning is when the tests begin.
var beginning = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).UnixNano()

// asks is an exchange of a test, from an address to another, in milliseconds since the beginning. what is the target of a
// request, or a statement when it begins with a capital.
type asks struct {
	from, to   string
	start, end float64
	what       string
	// client and server are process ids; 0: not known.
	client, server int
}

func (a asks) exchange(n int) *exchange.Exchange {
	x := outputtest.Exchange("GET "+a.what+" HTTP/1.1\nHost: shop.example\n\n", "HTTP/1.1 200 OK\n\n")
	x.Flow = outputtest.Flow(a.from+":50000", a.to+":80")
	if a.what[0] != '/' {
		x.Protocol, x.Family = "mysql", exchange.Database
		x.Statement.Template = a.what
	}
	x.Start.Time = beginning + int64(a.start*1e6)
	x.Completed.Time = beginning + int64(a.end*1e6)
	x.KnownID = &[exchange.IDSize]byte{15: byte(n), 14: byte(n >> 8), 13: byte(n >> 16)}
	x.Tap = &exchange.Tap{Observer: "h"}
	for d, pid := range [...]int{a.client, a.server} {
		if pid != 0 {
			x.Process[d] = &exchange.Process{PID: pid}
		}
	}
	return x
}

func number(id [exchange.IDSize]byte) int { return int(id[15]) | int(id[14])<<8 | int(id[13])<<16 }

// find adds exchanges in the order of their ends, and returns the findings in the order of the parents' starts.
func find(all []asks) (found []*Finding, d *Detector) {
	d = New(0, func(f *Finding) { found = append(found, f) })
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(all[i].end, all[j].end) })
	for _, i := range order {
		d.Add(all[i].exchange(i))
	}
	d.End()
	slices.SortStableFunc(found, func(a, b *Finding) int {
		return cmp.Or(cmp.Compare(number(a.Parent), number(b.Parent)), cmp.Compare(a.Template, b.Template))
	})
	return found, d
}

// queries are n statements from one host to another, each of 1 ms, every step ms.
func queries(n int, from string, start, step float64, what string) (all []asks) {
	for i := range n {
		all = append(all, asks{from: from, to: "10.0.0.9", start: start + float64(i)*step, end: start + float64(i)*step + 1, what: what})
	}
	return all
}

func processes(all []asks, client int) []asks {
	for i := range all {
		all[i].client = client
	}
	return all
}

const byID = "SELECT * FROM t WHERE id = ?"

// show is a finding in one line.
func (f *Finding) show() string {
	return fmt.Sprintf("%d %s: %s %d (%d sure) at once %d, share %.2f, confidence %.2f", number(f.Parent), f.Name, f.Template, f.Count, f.Sure, f.AtOnce, f.Share, f.Confidence)
}

var cases = []struct {
	name string
	all  []asks
	want []string
}{
	{"N+1", append([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/orders?page=2"}}, queries(10, "10.0.0.2", 1, 1.5, byID)...),
		[]string{"0 GET /orders: " + byID + " 10 (10 sure) at once 1, share 0.50, confidence 1.00"}},
	{"too few", append([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/"}}, queries(4, "10.0.0.2", 1, 1.5, byID)...), nil},
	{"in parallel", append([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/"}}, queries(10, "10.0.0.2", 1, 0.1, byID)...),
		[]string{"0 GET /: " + byID + " 10 (10 sure) at once 10, share 0.10, confidence 1.00"}},
	{"of another host", append([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/"}}, queries(10, "10.0.0.3", 1, 1.5, byID)...), nil},
	{"before and after", append([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 5, end: 6, what: "/"}}, queries(10, "10.0.0.2", 0, 1.5, byID)...), nil},
	{"other statements", slices.Concat([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 50, what: "/"}}, queries(5, "10.0.0.2", 1, 1.5, "A"), queries(4, "10.0.0.2", 10, 1.5, "B"), queries(6, "10.0.0.2", 20, 1.5, "C")),
		[]string{"0 GET /: A 5 (5 sure) at once 1, share 0.10, confidence 1.00", "0 GET /: C 6 (6 sure) at once 1, share 0.12, confidence 1.00"}},
	{"calls", append([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/"}}, queries(5, "10.0.0.2", 1, 1.5, "/prices?id=7")...),
		[]string{"0 GET /: GET shop.example/prices 5 (5 sure) at once 1, share 0.25, confidence 1.00"}},

	// Of two at a time, each gets its share; one that had enough alone is sure.
	{"two at a time", append([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/a"}, {from: "10.0.0.8", to: "10.0.0.2", start: 0, end: 20, what: "/b"}}, queries(10, "10.0.0.2", 1, 1.5, byID)...),
		[]string{"0 GET /a: " + byID + " 10 (0 sure) at once 1, share 0.25, confidence 0.50", "1 GET /b: " + byID + " 10 (0 sure) at once 1, share 0.25, confidence 0.50"}},
	{"too few for two", append([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/a"}, {from: "10.0.0.8", to: "10.0.0.2", start: 0, end: 20, what: "/b"}}, queries(9, "10.0.0.2", 1, 1.5, byID)...), nil},
	{"one alone for long", append([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/a"}, {from: "10.0.0.8", to: "10.0.0.2", start: 13, end: 20, what: "/b"}}, queries(10, "10.0.0.2", 1, 1.5, byID)...),
		[]string{"0 GET /a: " + byID + " 10 (8 sure) at once 1, share 0.45, confidence 0.90"}},
	{"one that ends much later", append([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/a"}, {from: "10.0.0.8", to: "10.0.0.2", start: 0, end: 50_000, what: "/b"}, {from: "10.0.0.8", to: "10.0.0.2", start: 49_000, end: 49_001, what: "/c"}}, queries(10, "10.0.0.2", 1, 1.5, byID)...),
		[]string{"0 GET /a: " + byID + " 10 (0 sure) at once 1, share 0.25, confidence 0.50", "1 GET /b: " + byID + " 10 (0 sure) at once 1, share 0.00, confidence 0.50"}},

	// Processes tell requests apart, and see through addresses.
	{"processes", slices.Concat([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/a", server: 1}, {from: "10.0.0.8", to: "10.0.0.2", start: 0, end: 20, what: "/b", server: 2}}, processes(queries(10, "10.0.0.2", 1, 1.5, byID), 2)),
		[]string{"1 GET /b: " + byID + " 10 (10 sure) at once 1, share 0.50, confidence 1.00"}},
	{"loopback", slices.Concat([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/a", server: 1}}, processes(queries(10, "127.0.0.1", 1, 1.5, byID), 1)),
		[]string{"0 GET /a: " + byID + " 10 (10 sure) at once 1, share 0.50, confidence 1.00"}},
	{"another process", slices.Concat([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/a", server: 1}}, processes(queries(10, "10.0.0.2", 1, 1.5, byID), 2)),
		[]string{"0 GET /a: " + byID + " 10 (0 sure) at once 1, share 0.25, confidence 0.50"}},

	// A proxy passes a request on to a server on the same host.
	{"proxy", slices.Concat([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/a"}, {from: "10.0.0.2", to: "10.0.0.2", start: 0.5, end: 19, what: "/b"}}, queries(10, "10.0.0.2", 1, 1.5, byID)),
		[]string{"1 GET /b: " + byID + " 10 (0 sure) at once 1, share 0.43, confidence 0.80"}},
	{"proxy with processes", slices.Concat([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/a", server: 1}, {from: "10.0.0.2", to: "10.0.0.2", start: 0.5, end: 19, what: "/b", client: 1, server: 2}}, processes(queries(10, "10.0.0.2", 1, 1.5, byID), 2)),
		[]string{"1 GET /b: " + byID + " 10 (10 sure) at once 1, share 0.54, confidence 1.00"}},
	{"asked by another process", slices.Concat([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/a", server: 1}, {from: "10.0.0.2", to: "10.0.0.2", start: 0.5, end: 19, what: "/b", client: 3, server: 1}}, processes(queries(10, "10.0.0.2", 1, 1.5, byID), 1)),
		[]string{"0 GET /a: " + byID + " 10 (0 sure) at once 1, share 0.25, confidence 0.50", "1 GET /b: " + byID + " 10 (0 sure) at once 1, share 0.27, confidence 0.50"}},
	{"all on one host", slices.Concat([]asks{{from: "10.0.0.2", to: "10.0.0.2", start: 0, end: 20, what: "/a"}, {from: "10.0.0.2", to: "10.0.0.2", start: 0.5, end: 19, what: "/b"}}, queries(10, "10.0.0.2", 1, 1.5, byID)),
		[]string{"0 GET /a: " + byID + " 10 (0 sure) at once 1, share 0.25, confidence 0.50", "1 GET /b: " + byID + " 10 (0 sure) at once 1, share 0.27, confidence 0.50"}},

	{"too long", append([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 60_001, what: "/"}}, queries(10, "10.0.0.2", 1, 1.5, byID)...), nil},
}

func TestFindings(t *testing.T) {
	for _, c := range cases {
		found, _ := find(c.all)
		var got []string
		for _, f := range found {
			got = append(got, f.show())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
		}
	}
}

func TestFinding(t *testing.T) {
	all := append([]asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/"}}, queries(6, "10.0.0.2", 1, 0.5, byID)...)
	found, _ := find(all)
	f := found[0]
	if number(f.First) != 1 || number(f.Last) != 6 || f.Start != beginning || f.Duration != 20e6 || f.Time != 6e6 || f.Busy != 3.5e6 || f.AtOnce != 2 || f.Expected != 6 || f.Protocol != "mysql" {
		t.Errorf("%+v", f)
	}
}

// What isn't a request with an answer of known length is neither a parent nor a child.
func TestNotCounted(t *testing.T) {
	for name, change := range map[string]func(*exchange.Exchange){
		"stream":     func(x *exchange.Exchange) { x.Stream = true },
		"message":    func(x *exchange.Exchange) { x.Message = &exchange.SessionMessage{} },
		"flow":       func(x *exchange.Exchange) { x.Period = &exchange.Period{} },
		"no request": func(x *exchange.Exchange) { x.HasRequest = false },
		"other":      func(x *exchange.Exchange) { x.Family = exchange.Other },
		"blocks":     func(x *exchange.Exchange) { x.Request.Blocks = true },
		"one way":    func(x *exchange.Exchange) { x.Request.OneWay = true },
		"none":       nil,
	} {
		found := 0
		d := New(0, func(*Finding) { found++ })
		for i, a := range queries(6, "10.0.0.2", 1, 1.5, byID) {
			x := a.exchange(i)
			if change != nil {
				change(x)
			}
			d.Add(x)
		}
		d.Add(asks{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/"}.exchange(100))
		d.End()
		if want := map[bool]int{true: 1}[change == nil]; found != want {
			t.Errorf("%s: %d findings", name, found)
		}
	}
}

// Truth is known: each request makes its own statements, up to eight requests at a time. What is said to be sure is true,
// and nothing that repeats is overlooked where requests come one after the other.
func TestTruth(t *testing.T) {
	sure, guessed := 0, 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 8))
		atOnce := 1 + r.IntN(8)
		withProcesses := r.IntN(3) == 0
		var all []asks
		owner := map[int]int{}   // of a child: its parent
		repeats := map[int]int{} // of a parent: how many it made
		until := make([]float64, atOnce)
		for range 30 {
			lane := r.IntN(atOnce)
			start := until[lane] + r.Float64()*20
			n := r.IntN(12)
			p := len(all)
			all = append(all, asks{from: "10.0.0.7", to: "10.0.0.2", start: start, what: fmt.Sprintf("/%d", p)})
			if withProcesses {
				all[p].server = 100 + lane
			}
			at := start
			for range n {
				at += 0.1 + r.Float64()
				owner[len(all)] = p
				all = append(all, asks{from: "10.0.0.2", to: "10.0.0.9", start: at, end: at + 0.5, what: byID, client: all[p].server})
				at += 0.5
			}
			repeats[p] = n
			all[p].end = at + 0.1 + r.Float64()
			until[lane] = all[p].end
		}
		found, d := find(all)
		if d.LeftOut > 0 || d.Parents != 30 || d.Children != len(all) {
			t.Fatalf("seed %d: %+v", seed, d)
		}
		expected := map[int]float64{}
		for _, f := range found {
			p := number(f.Parent)
			expected[p] = f.Expected
			if f.Sure > repeats[p] || f.Count < repeats[p] {
				t.Fatalf("seed %d: %s, and it made %d", seed, f.show(), repeats[p])
			}
			if f.Confidence == 1 {
				sure++
				if f.Count != repeats[p] || owner[number(f.First)] != p || owner[number(f.Last)] != p {
					t.Fatalf("seed %d: %s, and it made %d", seed, f.show(), repeats[p])
				}
			} else {
				guessed++
			}
		}
		for p, n := range repeats {
			if n >= Least && (atOnce == 1 || withProcesses) && expected[p] != float64(n) {
				t.Fatalf("seed %d: of %d one after the other, %v were found", seed, n, expected[p])
			}
		}
	}
	if sure < 100 || guessed < 100 {
		t.Errorf("%d findings are sure and %d aren't: the test doesn't try both", sure, guessed)
	}
}

// Each child is given away once: what all parents get of it is at most one.
func TestShares(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 3))
		var all []asks
		for range 20 {
			start := r.Float64() * 50
			all = append(all, asks{from: "10.0.0.7", to: "10.0.0.2", start: start, end: start + 30, what: "/"})
		}
		all = append(all, queries(60, "10.0.0.2", 30, 0.3, byID)...)
		total := 0.0
		d := New(1, func(f *Finding) { total += f.Expected })
		for i, a := range all {
			d.Add(a.exchange(i))
		}
		d.End()
		if total > 60.001 {
			t.Fatalf("seed %d: %v of 60 statements were given away", seed, total)
		}
	}
}

// The memory is bounded: what is over is forgotten, and beyond the limits nothing is taken.
func TestLimits(t *testing.T) {
	findings := 0
	d := New(0, func(f *Finding) { findings++ })
	at := 0.0
	for i := range 3_000 {
		d.Add(asks{from: "10.0.0.7", to: fmt.Sprintf("10.0.%d.2", i%50), start: at, end: at + 30, what: "/", server: 7}.exchange(6 * i))
		for n, q := range queries(5, fmt.Sprintf("10.0.%d.2", i%50), at+1, 2, byID) {
			q.client = 7
			d.Add(q.exchange(6*i + 1 + n))
		}
		at += 250
		if held := int(2*Settle.Milliseconds()) / 250; d.parents > held+10 || d.children > 6*(held+10) || len(d.hosts) > 52 {
			t.Fatalf("after %d: %d parents, %d children, %d hosts", i, d.parents, d.children, len(d.hosts))
		}
	}
	if findings == 0 {
		t.Error("nothing was found before the end")
	}
	d.End()
	if findings < 2_990 || d.LeftOut > 0 {
		t.Errorf("%d findings, %d left out", findings, d.LeftOut)
	}
	// Too late.
	d = New(0, nil)
	d.Add(asks{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 100_000, what: "/"}.exchange(0))
	d.Add(asks{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 1, what: "/"}.exchange(1))
	if d.LeftOut != 1 {
		t.Errorf("%d left out", d.LeftOut)
	}
	// Too many.
	d = New(0, func(*Finding) {})
	one := asks{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 1, what: "/"}.exchange(0)
	for range MaxParents + 7 {
		d.Add(one)
	}
	if d.parents != MaxParents || d.LeftOut != 7 {
		t.Errorf("%d parents, %d left out", d.parents, d.LeftOut)
	}
	q := asks{from: "10.0.0.2", to: "10.0.0.9", start: 0, end: 1, what: byID}.exchange(1)
	d = New(0, func(*Finding) {})
	for range MaxChildren + 7 {
		d.Add(q)
	}
	if d.children != MaxChildren || d.LeftOut != 7 {
		t.Errorf("%d children, %d left out", d.children, d.LeftOut)
	}
}

// Where very many requests are under way at a time, or were since one began, statements are for none.
func TestCrowd(t *testing.T) {
	for name, short := range map[string]bool{"long": false, "short": true} {
		findings := 0
		d := New(1, func(f *Finding) { findings++ })
		n, end := MaxCandidates, 200.0
		if short {
			n, end = MaxLooked, 0.5
		}
		for i := range n + 1 {
			if i == n {
				end = 200
			}
			d.Add(asks{from: "10.0.0.7", to: "10.0.0.2", start: float64(i) / float64(n+1) / 2, end: end, what: "/"}.exchange(i))
		}
		d.Add(asks{from: "10.0.0.7", to: "10.0.0.2", start: -1, end: 200, what: "/first"}.exchange(n + 1))
		for i, q := range queries(2*MaxCandidates, "10.0.0.2", 1, 1, byID) {
			d.Add(q.exchange(n + 2 + i))
		}
		d.End()
		if findings > 0 {
			t.Errorf("%s: %d findings", name, findings)
		}
	}
}

func TestManyTemplates(t *testing.T) {
	all := []asks{{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 30_000, what: "/"}}
	for i := range MaxTemplates + 20 {
		all = append(all, queries(5, "10.0.0.2", 1+float64(10*i), 1, fmt.Sprintf("Q%d", i))...)
	}
	if found, _ := find(all); len(found) != MaxTemplates {
		t.Errorf("%d findings", len(found))
	}
}

func TestNames(t *testing.T) {
	d := New(2, func(f *Finding) {
		if f.Template != "A db.example" || f.Protocol != "dns" {
			t.Errorf("%+v", f)
		}
	})
	d.Add(asks{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/"}.exchange(0))
	for i := range 3 {
		x := asks{from: "10.0.0.2", to: "10.0.0.9", start: float64(1 + i), end: float64(2 + i), what: "x"}.exchange(1 + i)
		x.Protocol, x.Family = "dns", exchange.Names
		x.Request.Say("name", []byte("db.example"))
		x.Request.Say("type", []byte("A"))
		d.Add(x)
	}
	d.End()

}

func BenchmarkAdd(b *testing.B) {
	d := New(0, func(*Finding) {})
	parent := asks{from: "10.0.0.7", to: "10.0.0.2", start: 0, end: 20, what: "/orders"}.exchange(0)
	q := asks{from: "10.0.0.2", to: "10.0.0.9", start: 0, end: 1, what: byID}.exchange(1)
	at := beginning
	b.ReportAllocs()
	for b.Loop() {
		for i := range 10 {
			q.Start.Time, q.Completed.Time = at+int64(i)*1e6, at+int64(i)*1e6+5e5
			d.Add(q)
		}
		parent.Start.Time, parent.Completed.Time = at, at+20e6
		d.Add(parent)
		at += 15e6
	}
}
