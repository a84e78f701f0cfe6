package sample

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/output/outputtest"
)

// made makes an exchange; each number has an id of its own. headers are further lines of the request.
func made(number int, headers string) *exchange.Exchange {
	x := outputtest.Exchange("GET /a HTTP/1.1\nHost: shop.example\n"+headers+"\n", "HTTP/1.1 200 OK\n\nhello")
	x.Flow.First.Time += int64(number)
	return x
}

// inTrace makes an exchange of a trace.
func inTrace(number int, trace string) *exchange.Exchange {
	return made(number, "traceparent: 00-"+trace+"-b7ad6b7169203331-01\n")
}

// within reports whether a count is one that n trials of probability p plausibly have: five standard deviations.
func within(count, n int, p float64) bool {
	return math.Abs(float64(count)-float64(n)*p) <= 5*math.Sqrt(float64(n)*p*(1-p))
}

// Of exchanges without a trace, and of traces, one in n is kept, and the weights add up to all.
func TestShare(t *testing.T) {
	const trials = 20_000
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []uint32{2, 3, 10, 100} {
		s := New(Options{N: n})
		var kept, traces, weights int
		for i := range trials {
			x := made(i, "")
			if s.Keep(x) {
				kept++
				weights += int(x.Weight)
			} else if x.Weight != 0 {
				t.Fatal("what is left out has a weight")
			}
			if s.Keep(inTrace(i, fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64()))) {
				traces++
			}
		}
		if p := 1 / float64(n); !within(kept, trials, p) || !within(traces, trials, p) {
			t.Errorf("one in %d of %d: %d without a trace, %d traces", n, trials, kept, traces)
		}
		if weights != kept*int(n) {
			t.Errorf("one in %d: %d kept weigh %d", n, kept, weights)
		}
	}
}

// The weights of what is kept add up to about what there was, of each kind.
func TestWeightsAreUnbiased(t *testing.T) {
	const trials = 30_000
	random := rand.New(rand.NewPCG(3, 4))
	s := New(Options{N: 20, Slow: time.Second})
	var there, weights [2]int // what is fast and well, and what isn't
	for i := range trials {
		x := made(i, "")
		kind := 0
		switch random.IntN(10) {
		case 0:
			x.Response.Status, kind = 500, 1
		case 1:
			x.Timing.Duration, kind = int64(time.Second), 1
		}
		there[kind]++
		if s.Keep(x) {
			weights[kind] += int(x.Weight)
		}
	}
	if weights[1] != there[1] {
		t.Errorf("%d failed or were slow, the weights say %d", there[1], weights[1])
	}
	if weights[0]%20 != 0 || !within(weights[0]/20, there[0], 1.0/20) {
		t.Errorf("%d others, the weights say %d", there[0], weights[0])
	}
}

// The exchanges of a trace are kept or left together, whoever sees them and in whatever form the id comes; a larger share has
// all of a smaller one.
func TestTracesStayTogether(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	s, more := New(Options{N: 10}), New(Options{N: 4})
	kept := 0
	for i := range 3000 {
		low := random.Uint64() | 1
		id := fmt.Sprintf("%016x%016x", random.Uint64(), low)
		first := inTrace(i, id)
		want := s.Keep(first)
		if want {
			kept++
			if !more.Keep(inTrace(i, id)) {
				t.Errorf("%s is among one in 10, but not among one in 4", id)
			}
		}
		seen := inTrace(i+1_000_000, id)
		seen.Tap.Observer, seen.Tap.Name = "host2", "eth1"
		for name, x := range map[string]*exchange.Exchange{
			"another observer": seen,
			"b3":               made(i, "b3: "+strings.ToUpper(id)+"-b7ad6b7169203331-1\n"),
			"64 bits":          made(i, fmt.Sprintf("X-B3-TraceId: %016x\n", low)),
		} {
			if s.Keep(x) != want {
				t.Errorf("%s: %s is kept %v by one, not by the other", name, id, want)
			}
		}
	}
	if kept == 0 {
		t.Error("nothing was kept")
	}
}

// The decision is that of OpenTelemetry's consistent probability sampling: the last 56 bits against the rejection threshold.
func TestThreshold(t *testing.T) {
	for n, want := range map[uint64]uint64{0: 0, 1: 0, 2: 0x80000000000000, 4: 0xc0000000000000, 10: 0xe6666666666667, 16: 0xf0000000000000} {
		if got := Threshold(uint32(n)); got != want {
			t.Errorf("the threshold of one in %d is %014x, want %014x", n, got, want)
		}
	}
	s := New(Options{N: 16})
	for trace, want := range map[string]bool{
		"ffffffffffffffffff" + "f0000000000000": true,
		"ffffffffffffffffff" + "efffffffffffff": false,
		"000000000000000001" + "ffffffffffffff": true,
		"000000000000000001" + "00000000000000": false,
	} {
		if got := s.Keep(inTrace(1, trace)); got != want {
			t.Errorf("%s: kept %v", trace, got)
		}
	}
}

// Without a trace, the end of the event's id decides.
func TestByID(t *testing.T) {
	x := made(1, "")
	x.KnownID = &[exchange.IDSize]byte{}
	binary.BigEndian.PutUint64(x.KnownID[8:], 0xabf0000000000000)
	if Randomness(x) != 0xf0000000000000 {
		t.Errorf("%x", Randomness(x))
	}
	broken := made(1, "traceparent: 00-zz-1-01\n")
	broken.KnownID = x.KnownID
	if Randomness(broken) != 0xf0000000000000 {
		t.Error("a trace id that is none decides")
	}
	reply := outputtest.Exchange("", "HTTP/1.1 200 OK\n\n")
	reply.KnownID = x.KnownID
	reply.Request = inTrace(1, "0af7651916cd43dd8448eb211c80319c").Request // which isn't valid
	if Randomness(reply) != 0xf0000000000000 {
		t.Error("a response without a request")
	}
}

// What matters is kept whatever the share, with the weight 1; what was seen in part isn't.
func TestAlwaysKept(t *testing.T) {
	keep, err := filter.Parse(`path == "/a" and user_agent == "vip"`)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(x *exchange.Exchange)
		want   bool
	}{
		"nothing":      {func(*exchange.Exchange) {}, false},
		"404":          {func(x *exchange.Exchange) { x.Response.Status = 404 }, true},
		"503":          {func(x *exchange.Exchange) { x.Response.Status = 503 }, true},
		"aborted":      {func(x *exchange.Exchange) { x.Grade = exchange.Aborted }, true},
		"unanswered":   {func(x *exchange.Exchange) { x.HasResponse, x.Grade = false, exchange.Unanswered }, true},
		"slow":         {func(x *exchange.Exchange) { x.Timing.Duration = int64(2 * time.Second) }, true},
		"not yet slow": {func(x *exchange.Exchange) { x.Timing.Duration = int64(2*time.Second) - 1 }, false},
		"stream":       {func(x *exchange.Exchange) { x.Timing.Duration, x.Stream = int64(time.Hour), true }, false},
		"gap":          {func(x *exchange.Exchange) { x.Grade = exchange.Gap }, false},
		"onesided":     {func(x *exchange.Exchange) { x.HasResponse, x.Grade = false, exchange.OneSided }, false},
		"midstream":    {func(x *exchange.Exchange) { x.HasRequest, x.Grade = false, exchange.Midstream }, false},
	} {
		s := New(Options{N: MaxN, Slow: 2 * time.Second, Keep: keep})
		x := made(1, "")
		c.change(x)
		if got := s.Keep(x); got != c.want || got && x.Weight != 1 {
			t.Errorf("%s: kept %v with the weight %d", what, got, x.Weight)
		}
	}
	s := New(Options{N: MaxN, Keep: keep})
	if x := made(1, "User-Agent: vip\n"); !s.Keep(x) || x.Weight != 1 {
		t.Errorf("what is asked for isn't kept, or weighs %d", x.Weight)
	}
	x := made(1, "")
	x.Timing.Duration = int64(time.Hour)
	if s.Keep(x) {
		t.Error("what is slow is kept, though that is no reason")
	}
}

// A share of all leaves the weight alone.
func TestOff(t *testing.T) {
	for _, n := range []uint32{0, 1} {
		s := New(Options{N: n, Slow: 1})
		if x := made(1, ""); !s.Keep(x) || x.Weight != 0 {
			t.Errorf("one in %d: weight %d", n, x.Weight)
		}
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]uint32{
		"100%": 1, "1": 1, "1/1": 1, "1.0": 1, "50%": 2, "0.5": 2, "10%": 10, " 10 % ": 10, "1/10": 10, "0.1": 10, ".1": 10, "2/20": 10,
		"1/3": 3, "0.1%": 1000, "1/1000000": MaxN, "0.000001": MaxN, "12.5%": 8,
	} {
		if n, err := ParseRate(text); err != nil || n != want {
			t.Errorf("%s: one in %d, %v; want %d", text, n, err, want)
		}
	}
	for text, want := range map[string]string{
		"30%": "instead of 30% write 1/3 (33.3%) or 1/4 (25%)", "0.7": "1/1 (100%) or 1/2 (50%)", "33%": "1/3 (33.3%) or 1/4", "2/3": "1/1 (100%) or 1/2",
		"0": "would keep nothing", "0%": "would keep nothing", "101%": "more than everything", "10": "more than everything",
		"1/1000001": "too small", "0.0000001": "too small",
		"": "is no share", "%": "is no share", "ten": "is no share", "-10%": "is no share", "1/0": "is no share", "1e-9": "is no share", "0x1/2": "is no share",
		"1/2/3": "is no share", "1..2": "is no share", "10%%": "is no share", "0.00000000000000000000000000000000000000001": "is no share",
	} {
		if n, err := ParseRate(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: one in %d, %v; want %q", text, n, err, want)
		}
	}
}

// Invariant: a text is refused, or its rate is one that Threshold has.
func FuzzParseRate(f *testing.F) {
	f.Add("30%")
	f.Add("1/10")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := ParseRate(text); err == nil && (n < 1 || n > MaxN) {
			t.Errorf("%q: %d", text, n)
		}
	})
}

func TestKeepDoesNotAllocate(t *testing.T) {
	s := New(Options{N: 10, Slow: DefaultSlow})
	plain, traced := made(1, ""), inTrace(1, "0af7651916cd43dd8448eb211c80319c")
	if n := testing.AllocsPerRun(100, func() { s.Keep(plain); s.Keep(traced) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkKeep(b *testing.B) {
	s := New(Options{N: 10, Slow: DefaultSlow})
	for name, x := range map[string]*exchange.Exchange{"id": made(1, ""), "trace": inTrace(1, "0af7651916cd43dd8448eb211c80319c")} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s.Keep(x)
			}
		})
	}
}
