//go:build linux

package situations

import "time"

// Classes of what a tap can't tell apart.
const (
	// lostBefore: the last segment of an answer was lost before it came to the tap: a server that is slow to send it looks the same.
	lostBefore = "?server/slow-application|server-network/loss-server-side"
	// lostBehind: segments were lost after the tap had seen the last byte of the answer, and with it the end of the exchange.
	lostBehind = "none|client-network/loss-client-side"
	// queueOrLoss: a SYN that a full queue drops looks lost, and so does the last ACK of a handshake.
	queueOrLoss = "server-network/syn-lost|server/syn-lost|server/accept-queue-full|server-network/loss-server-side"
)

// For how long before its end a disturbance matters to an exchange, where that isn't usual.
const (
	short = 100 * time.Millisecond
	long  = 1300 * time.Millisecond
)

// Table returns all situations, in the order in which they are shown.
func Table() []Situation {
	return []Situation{
		{Name: "healthy", What: "nothing is slow", make: healthy, lasts: short, Kinds: []Kind{
			{"healthy", everywhere("none")},
		}},
		{Name: "healthy-elsewhere", What: "nothing is slow, over TLS, over HTTP/2, and through a proxy", make: healthyElsewhere, lasts: short, Kinds: []Kind{
			{"healthy-tls", everywhere("none")},
			{"healthy-h2", everywhere("none")},
			{"healthy-proxied", proxied("none", "none", "none")},
		}},
		{Name: "slow-app", What: "the app thinks for 150 to 450 ms, before its answer or in the middle of it", make: slowApplication, Kinds: []Kind{
			{"slow-app", everywhere("server/slow-application")},
			{"slow-answer", everywhere("server/slow-application")},
		}},
		{Name: "slow-reader", What: "the client doesn't read for 300 to 700 ms, with a small buffer", make: slowReader, Kinds: []Kind{
			{"slow-reader", everywhere("client/slow-reader")},
		}},
		{Name: "slow-sender", What: "the client sends its body in pieces", make: slowSender, Kinds: []Kind{
			{"slow-sender", everywhere("client/slow-sender")},
		}},
		{Name: "loss-near", What: "the link to the client loses a segment, once or twice", make: losing("near", nearLink), Kinds: []Kind{
			{"near-request", at("server-network/loss-server-side", "?client-network/loss-client-side|none", "?client-network/loss-client-side|none")},
			{"near-upload", at("server-network/loss-server-side", "client-network/loss-client-side", "client-network/loss-client-side")},
			{"near-answer", at("server-network/loss-server-side", "client-network/loss-client-side", "client-network/loss-client-side")},
			{"near-tail", at(lostBefore, lostBehind, lostBehind)},
		}},
		{Name: "loss-far", What: "the link to the server loses a segment, once or twice", make: losing("far", farLink), Kinds: []Kind{
			{"far-request", at("server-network/loss-server-side", "server-network/loss-server-side", "?client-network/loss-client-side|none")},
			{"far-upload", at("server-network/loss-server-side", "server-network/loss-server-side", "client-network/loss-client-side")},
			{"far-answer", at("server-network/loss-server-side", "server-network/loss-server-side", "client-network/loss-client-side")},
			{"far-tail", at(lostBefore, lostBefore, lostBehind)},
		}},
		{Name: "refused", What: "nobody listens", make: connectionRefused, Kinds: []Kind{
			{"refused", everywhere("server/connection-refused")},
		}},
		{Name: "reset", What: "the server resets the connection in the middle of its answer", make: resetMidResponse, Kinds: []Kind{
			{"reset", everywhere("server/reset-mid-response")},
		}},
		{Name: "early-response", What: "nginx (413) and the app (401, 400) refuse an upload under way, and close", make: earlyResponse, Kinds: []Kind{
			{"early-413", everywhere("server/early-response|protocol/early-response")},
			{"early-401", everywhere("server/early-response|protocol/early-response")},
			{"early-400", everywhere("server/early-response|protocol/early-response")},
		}},
		{Name: "syn-lost", What: "the link to the server loses a SYN or its answer", make: synLost, Kinds: []Kind{
			{"syn-lost", at("server-network/syn-lost|server/syn-lost", "server-network/syn-lost|server/syn-lost", "?none|client-network/syn-lost")},
			{"syn-answer-lost", at("server-network/syn-lost|server/syn-lost", "server-network/syn-lost|server/syn-lost", "client-network/syn-lost")},
		}},
		{Name: "accept-queue", What: "the server's accept queue is full for 600 ms", make: acceptQueueFull, Kinds: []Kind{
			{"accept-queue", at(queueOrLoss, queueOrLoss, "server/accept-queue-full|server/syn-lost")},
			{"accepted-late", everywhere("server")},
		}},
		{Name: "keepalive-race", What: "the server closes an idle connection while a request is on its way", make: keepAliveRace, Kinds: []Kind{
			{"before-race", everywhere("none")},
			{"keepalive-race", everywhere("protocol/keep-alive-race|server/keep-alive-race")},
		}},
		{Name: "client-gave-up", What: "the client closes after 150 to 400 ms, or after 1.2 to 1.5 s; the app would have taken 2 s", make: clientGaveUp, Kinds: []Kind{
			{"gave-up-soon", everywhere("client/client-gave-up")},
			{"gave-up-late", everywhere("server/client-gave-up")},
		}},
		{Name: "request-timeout", What: "HAProxy (408) and nginx (without a word) give up on a client that doesn't go on with its body", make: requestTimeout, Kinds: []Kind{
			{"timeout-408", at("client/server-timeout", "client/server-timeout", "")},
			{"timeout-closed", everywhere("client/server-timeout|client/slow-sender")},
		}},
		{Name: "unreachable", What: "no SYN is answered", make: unreachable, Kinds: []Kind{
			{"unreachable", at("server-network/unreachable|server-network/syn-lost|server/syn-lost", "server-network/unreachable|server-network/syn-lost|server/syn-lost", "")},
		}},
		{Name: "reordered", What: "segments of answers are overtaken by others", make: reordered, lasts: short, conditions: shuffled, Kinds: []Kind{
			{"reordered", everywhere("none")},
		}},
		{Name: "small-window", What: "a buffer of 4 KiB on a path of 54 ms", make: smallWindow, conditions: far, lasts: long, Kinds: []Kind{
			{"small-window", everywhere("client/small-window")},
		}},
		{Name: "narrow-path", What: "200 kB a second on the far link", make: slowPath, conditions: narrow, Kinds: []Kind{
			{"narrow-path", at("server-network/slow-path", "server-network/slow-path", "client-network/slow-path")},
		}},
		{Name: "retries", What: "the first attempt gets a reset, the second an answer", make: retries, Kinds: []Kind{
			{"retry-failed", everywhere("server")},
			{"retry", everywhere("server/retried|protocol/retried|none")},
		}},
		{Name: "redirects", What: "two redirects, and the answer", make: redirects, Kinds: []Kind{
			{"redirect", everywhere("protocol/redirected|server/redirected")},
			{"redirected", everywhere("protocol/redirected|server/redirected|none")},
		}},
		{Name: "mtu-black-hole", What: "the link to the server loses what is above 1,300 bytes", make: blackHole, conditions: holed, Kinds: []Kind{
			{"black-hole-answer", at("server-network/mtu-black-hole", "server-network/mtu-black-hole", "client-network/mtu-black-hole")},
			{"black-hole-upload", at("server-network/mtu-black-hole", "server-network/mtu-black-hole", "")},
		}},
		{Name: "delayed-ack", What: "messages in two small segments with Nagle's algorithm, answered by delayed acknowledgements", make: delayedAck, Kinds: []Kind{
			{"stalled", everywhere("protocol/delayed-ack")},
			{"not-stalled", everywhere("none")},
		}},
		{Name: "pipelining", What: "two requests at once, the first answered slowly", make: pipelining, Kinds: []Kind{
			{"pipeline-first", everywhere("server/slow-application")},
			{"pipelined", everywhere("protocol/pipelined")},
		}},
		{Name: "slow-tls", What: "the server, or the client, takes its time in the handshake", make: slowTLS, Kinds: []Kind{
			{"slow-tls-server", everywhere("server/slow-tls")},
			{"slow-tls-client", everywhere("client/slow-tls")},
		}},
		{Name: "slow-dns", What: "the resolver, in the middle, takes its time", make: slowDNS, Kinds: []Kind{
			{"slow-dns", at("dns/slow-dns", "dns/slow-dns", "none")},
		}},
		{Name: "h2-flow-control", What: "a stream's window of 16 KiB stays closed, by the client or the server", make: flowControl, Kinds: []Kind{
			{"h2-window-client", everywhere("client/flow-control")},
			{"h2-window-server", everywhere("server/flow-control")},
		}},
		{Name: "h2-head-of-line", What: "a short answer behind a long one on 200 kB a second", make: headOfLine, conditions: narrow, Kinds: []Kind{
			{"h2-long", at("server-network/slow-path", "server-network/slow-path", "client-network/slow-path")},
			{"h2-behind", everywhere("protocol/head-of-line")},
		}},
		{Name: "slow-upstream", What: "the app behind HAProxy, nginx and Varnish thinks for 150 to 400 ms", make: slowUpstream, Kinds: []Kind{
			{"behind-haproxy", proxied("server/slow-application", "upstream/slow-upstream", "server/slow-application")},
			{"behind-nginx", proxied("server/slow-application", "upstream/slow-upstream", "server/slow-application")},
			{"behind-varnish", proxied("server/slow-application", "upstream/slow-upstream", "server/slow-application")},
		}},
		{Name: "pool-wait", What: "a proxy that makes one request at a time, and six at once", make: poolWait, Kinds: []Kind{
			{"pool-first", proxied("server/slow-application", "upstream/slow-upstream", "server/slow-application")},
			{"pool-second", proxied("server/slow-application", "upstream/slow-upstream|proxy/pool-wait", "server/slow-application")},
			{"pool-wait", proxied("server/slow-application", "proxy/pool-wait", "server/slow-application")},
		}},
		{Name: "failing-upstreams", What: "a proxy whose upstreams are silent (504 after 300 ms), refuse (503), or close without an answer (502)", make: failingUpstreams, Kinds: []Kind{
			{"upstream-silent", proxied("upstream/server-timeout|server/server-timeout", "upstream/server-timeout|upstream/failed-hop", "server/client-gave-up|client/client-gave-up")},
			{"upstream-refused", proxied("server/server-error", "upstream/connection-refused|upstream/failed-hop", "")},
			{"upstream-reset", proxied("upstream/failed-hop|server/server-error", "upstream/failed-hop", "server")},
		}},
		{Name: "proxy-retries", What: "nginx asks another server when the first resets", make: proxyRetries, Kinds: []Kind{
			{"proxy-retry", proxied("server", "upstream", "server")},
			{"proxy-retried", proxied("", "", "none|server/retried|protocol/retried|proxy/retried|upstream/retried")},
		}},
		{Name: "app+loss", What: "the app thinks, and the far link loses a segment of its answer again and again", Pair: true, lasts: long, make: slowAppAndLoss, Kinds: []Kind{
			{"app-over-loss", everywhere("server/slow-application")},
			{"loss-over-app", at("server-network/loss-server-side", "server-network/loss-server-side", lostBehind)},
		}},
		{Name: "app+reader", What: "the app thinks, and then the client doesn't read", Pair: true, lasts: long, make: slowAppAndReader, Kinds: []Kind{
			{"app-over-reader", everywhere("server/slow-application")},
			{"reader-over-app", everywhere("client/slow-reader")},
		}},
		{Name: "app+sender", What: "the client sends in pieces, and then the app thinks", Pair: true, lasts: long, make: slowAppAndSender, Kinds: []Kind{
			{"app-over-sender", everywhere("server/slow-application")},
			{"sender-over-app", everywhere("client/slow-sender")},
		}},
		{Name: "sender+loss", What: "the client sends in pieces, and the far link loses one", Pair: true, lasts: long, make: senderAndLoss, Kinds: []Kind{
			{"sender-over-loss", everywhere("client/slow-sender")},
			{"loss-over-sender", at("server-network/loss-server-side", "server-network/loss-server-side", "client-network/loss-client-side")},
		}},
		{Name: "reader+loss", What: "the client doesn't read for a while, and the far link loses a segment near the end", Pair: true, lasts: long, make: readerAndLoss, Kinds: []Kind{
			{"reader-over-loss", everywhere("client/slow-reader")},
			{"loss-over-reader", at("server-network/loss-server-side", "server-network/loss-server-side", lostBehind+"|client/slow-reader")},
		}},
		{Name: "dns+app", What: "the resolver takes its time, and then the app does", Pair: true, lasts: long, make: dnsAndApp, Kinds: []Kind{
			{"dns-over-app", at("dns/slow-dns", "dns/slow-dns", "server/slow-application")},
			{"app-over-dns", everywhere("server/slow-application")},
		}},
	}
}
