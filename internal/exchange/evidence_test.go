package exchange_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// said returns the texts of an exchange that knows all that evidence may ask for.
func said(who exchange.Who, e ...exchange.Evidence) (why string, proofs []string) {
	x := exchange.Exchange{HasRequest: true, HasResponse: true, TLS: &proto.TLS{Failure: "no"}, Abort: &proto.Abort{Name: "CANCEL"}}
	x.Timing.Total, x.Timing.Idle = 1500, 500
	x.Response.Status, x.Response.BodyBytes, x.Response.Length, x.Request.Length = 413, 100, 200, -1
	x.Conn.Error = proto.ICMPError{From: packet.Addr{10: 255, 11: 255, 12: 10, 15: 1}, Type: 3, Code: 3}
	x.Blame = exchange.Blame{Who: who, Situation: exchange.EarlyResponse, Upstream: "10.0.0.4:8000"}
	for _, fact := range e {
		x.Blame.Evidence[x.Blame.N] = fact
		x.Blame.N++
	}
	return x.Why(), x.Proofs()
}

// TestSentences: each sentence says something, and every word in braces in it is known.
func TestSentences(t *testing.T) {
	seen := map[string]uint8{}
	for s := exchange.NoSentence + 1; s < exchange.NumSentences; s++ {
		text := exchange.Sentence(s)
		if text == "" {
			t.Errorf("sentence %d is empty", s)
		}
		if other, ok := seen[text]; ok {
			t.Errorf("sentences %d and %d are the same", other, s)
		}
		seen[text] = s
		_, proofs := said(exchange.ByServer, exchange.Evidence{Sentence: s, Number: 3, First: 5, Last: 6})
		if len(proofs) != 1 || strings.ContainsAny(proofs[0], "{}?") {
			t.Errorf("sentence %d: %q of %q", s, proofs, text)
		}
	}
}

func TestWhy(t *testing.T) {
	work := exchange.Evidence{Sentence: exchange.SaysWorkAcked, Time: 412e6, Number: 3e5, First: 81, Last: 97}
	for _, c := range []struct {
		who  exchange.Who
		say  []exchange.Evidence
		want string
	}{
		{exchange.Unjudged, nil, ""},
		{exchange.Nobody, nil, ""},
		{exchange.ByServer, []exchange.Evidence{work}, "server: 412 ms of 1.00 µs between packet 81 (request complete, ACKed in 300 µs) and packet 97 (first byte)"},
		{exchange.ByServer, nil, "server: " + exchange.Situations[exchange.EarlyResponse].Meaning},
		{exchange.ByUpstream, []exchange.Evidence{{Sentence: exchange.SaysStatus, Last: 6}}, "upstream 10.0.0.4:8000: status 413, packet 6"},
		{exchange.ByUpstream, []exchange.Evidence{{Sentence: exchange.SaysUpstream, Time: 5, Number: 1}}, "upstream: 5 ns of 1.00 µs waiting for 10.0.0.4:8000, once"},
		{exchange.ByServer, []exchange.Evidence{{Sentence: exchange.SaysEarly, Last: 6}}, "server: status 413 after 0 B of the request, packet 6"},
		{exchange.ByServer, []exchange.Evidence{{Sentence: exchange.SaysICMP, Last: 6}}, "server: port unreachable, says 10.0.0.1, packet 6"},
		{exchange.ByServer, []exchange.Evidence{{Sentence: exchange.NumSentences}}, "server: "},
	} {
		if why, proofs := said(c.who, c.say...); why != c.want || len(proofs) != len(c.say) {
			t.Errorf("%q and %q, want %q", why, proofs, c.want)
		}
	}
}

// TestStoredTexts: an exchange from a store has its texts with it.
func TestStoredTexts(t *testing.T) {
	x := exchange.Exchange{Blame: exchange.Blame{Who: exchange.ByServer, Why: "because", Facts: []string{"a", "b"}}}
	if x.Why() != "because" || len(x.Proofs()) != 2 {
		t.Errorf("%q, %q", x.Why(), x.Proofs())
	}
}

// TestTimesAsPrinted: times are written as everywhere else.
func TestTimesAsPrinted(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		ns := r.Int64N(1 << (1 + i%55))
		if i%7 == 0 {
			ns = []int64{-1, 0, 999, 999_499, 999_500, 59_949_999_999, 59_950_000_000, 3_599_499_999_999, 3_599_500_000_000, 86_399e9}[i%10]
		}
		_, proofs := said(exchange.ByServer, exchange.Evidence{Sentence: exchange.SaysOwn, Time: ns})
		if want := string(terminal.AppendDuration(nil, ns)) + " of 1.00 µs were its own"; proofs[0] != want {
			t.Fatalf("%d ns: %q, want %q", ns, proofs[0], want)
		}
	}
}
