package outputtest

import (
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// Slow makes an exchange for which the server took 412 ms of 430 ms, with the verdict on it and whom each part was due to.
func Slow() *exchange.Exchange {
	x := Exchange("GET /api/cart HTTP/1.1\nHost: shop.example\n\n", "HTTP/1.1 200 OK\nContent-Type: text/plain\n\nhello")
	t := &x.Timing
	t.Connect, t.Send, t.Wait, t.Receive = 10_000_000, 100_000, 412_300_000, 7_600_000
	t.Duration = t.Send + t.Wait + t.Receive
	t.Total = t.Duration + t.Connect
	t.Causes[exchange.PhaseConnect] = exchange.Causes{ServerNetwork: 10_000_000, Known: true}
	t.Causes[exchange.PhaseSend] = exchange.Causes{Client: 100_000, Known: true}
	t.Causes[exchange.PhaseWait] = exchange.Causes{Server: 412_000_000, ServerNetwork: 300_000, Known: true}
	t.Causes[exchange.PhaseReceive] = exchange.Causes{Client: 30_000, ClientNetwork: 5_000_000, Server: 2_570_000, Known: true}
	x.Blame = exchange.Blame{Who: exchange.ByServer, Situation: exchange.SlowApplication, Time: 412_000_000, Confidence: 0.95, N: 1}
	x.Blame.Evidence[0] = exchange.Evidence{Sentence: exchange.SaysWorkAcked, Of: proto.Responder, Time: 412_000_000, Number: 300_000, First: 81, Last: 97}
	return x
}

// Verdicts makes exchanges with verdicts of all kinds: slow and failed, sure and unclear, of those whose texts come from a store, and of some
// that say what the exchange shows anyway.
func Verdicts() []*exchange.Exchange {
	get := func(target, response string, b exchange.Blame) *exchange.Exchange {
		x := Exchange("GET "+target+" HTTP/1.1\nHost: shop.example\n\n", response)
		x.Blame = b
		return x
	}
	const ok = "HTTP/1.1 200 OK\n\n"
	refused := FlowRecord("empty")
	refused.Grade, refused.Reason = exchange.Aborted, "connection refused"
	refused.Blame = exchange.Blame{Who: exchange.ByServer, Situation: exchange.ConnectionRefused, Confidence: 0.98, Failed: true}
	raced := get("/raced", "", exchange.Blame{
		Who: exchange.ByProtocol, Situation: exchange.KeepAliveRace, Confidence: 0.95, Failed: true,
		Why:   "protocol: the server had closed the connection 7.86 ms before packet 63 (request)",
		Facts: []string{"the server had closed the connection 7.86 ms before packet 63 (request)"},
	})
	raced.Grade, raced.Reason = exchange.Aborted, "reset by the server before an answer"
	query := Failed(Query("mysql", "SELECT", "SELECT 1"), "1205", "Lock wait timeout exceeded")
	query.Blame = exchange.Blame{Who: exchange.ByServer, Situation: exchange.SlowApplication, Time: 50_000_000_000, Confidence: 0.9}
	return []*exchange.Exchange{
		Slow(),
		get("/unclear", ok, exchange.Blame{
			Who: exchange.Unclear, Situation: exchange.SlowPath, Time: 900_000_000, Confidence: 0.4,
			Why:   "unclear: how far the tap is from the server isn't known",
			Facts: []string{"how far the tap is from the server isn't known", "900 ms of 918 ms on the way between the tap and the server (round trip 0 ns)"},
		}),
		get("/upstream", ok, exchange.Blame{Who: exchange.ByUpstream, Situation: exchange.SlowUpstream, Time: 3_000_000_000, Confidence: 1, Upstream: "10.0.0.9:3306"}),
		get("/gateway", "HTTP/1.1 502 Bad Gateway\n\n", exchange.Blame{Who: exchange.ByUpstream, Situation: exchange.FailedHop, Confidence: 0.9, Upstream: "10.0.0.9:80", Failed: true}),
		get("/nameless", "HTTP/1.1 504 Gateway Timeout\n\n", exchange.Blame{Who: exchange.ByUpstream, Situation: exchange.ServerTimeout, Confidence: 0.8, Failed: true}),
		get("/missing", "HTTP/1.1 404 Not Found\n\n", exchange.Blame{Who: exchange.ByClient, Situation: exchange.ClientError, Confidence: 0.8, Failed: true}),
		get("/fast", ok, exchange.Blame{Who: exchange.Nobody, Confidence: 1}),
		get("/hostile", ok, exchange.Blame{Who: exchange.ByClient, Situation: exchange.SlowSender, Time: 1_500_000_000, Confidence: 0.5,
			Upstream: "\x1b[2J\xff", Why: "client: \x1b]0;owned\x07\u202e", Facts: []string{"\xff\x00"}}),
		raced, refused, query,
	}
}
