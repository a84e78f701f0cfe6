package generate

import "math"

// Source is something that an exchange tells and that follows from nothing else in it.
type Source struct {
	Name string
	// Share is the part of exchanges that have it, Bits the information in it each time.
	Share, Bits float64
}

// Bytes returns what it amounts to, on average, in bytes an exchange.
func (s Source) Bytes() float64 { return s.Share * s.Bits / 8 }

// Information lists what no compression can leave out of n exchanges: unique ids, and what was drawn by chance. It
// is an estimate from the distributions, and a lower bound: as if all columns were known to depend on each other as
// they do. What stores usually keep twice isn't counted twice, such as a request id that is a field, a header of
// the request and one of the response; nor is what is computed from the rest, but for event.id, such as
// network.community_id: 20 bytes for each connection.
func (g *Generator) Information(n int) []Source {
	r := g.routes
	var wait, size, ids, hasID, texts, etags, queries, slots, validates float64
	sum := 0.0
	weights := zipf(len(r), 1)
	share(weights)
	for i := range r {
		t, w := &r[i], weights[i]
		sum += w
		wait += w * t.duration.bits()
		size += w * t.size.bits()
		slots += w * math.Log2(float64(t.server.slots[1]-t.server.slots[0]))
		if t.query {
			queries += w * 0.5 * 0.7
		}
		seen := t.distinct(float64(n) * w)
		if t.validates {
			validates += w * 0.8
			etags += seen / float64(n)
		}
		if len(t.parts) > 1 {
			hasID += w
			// A cube of a number drawn evenly between 0 and 1.
			ids += w * (math.Log2(3*t.space) - 2/math.Ln2)
			texts += seen / float64(n) * [...]float64{number: 0, uuid: 122, hex: 48}[t.ids]
		}
	}
	opened := 1 / float64(perConnection)
	if g.number > 0 {
		opened = float64(g.opened) / float64(g.number)
	}
	between := wait - math.Log2(g.gap/12) // packets of others meanwhile
	return []Source{
		{"event.id: what isn't its time", 1, 80},
		{"when it ended", 1, math.Log2(math.E * g.gap)},
		{"how long the server worked", 1, wait},
		{"how long it took to receive, where that is more than a packet", 0.6, 20},
		{"how long it took to send, where that is more than a packet", 0.2, 11},
		{"round trips: to the client, and to the server", 1, 21 + 14},
		{"route", 1, g.route.bits},
		{"method and status", 1, 1.4},
		{"id in the path", hasID, ids / max(hasID, 1e-9)},
		{"text of ids not seen before", 1, texts},
		{"entity tag and date of versions not seen before", etags, 64 + 16},
		{"query", queries, 6.5},
		{"size of the response", 0.85, size},
		{"size of the request", 0.15, logNormal{420, 1}.bits()},
		{"which connection, of those that are open", 1 - opened, slots},
		{"a new connection: client, port, idle time, handshake, worker", opened, g.client.bits + math.Log2(28_232) + 17 + 22 + 17 + 1},
		{"request id", requestIDShare, 122},
		{"trace: a new one", traceShare * newTraceShare, 127},
		{"trace: which of those under way", traceShare * (1 - newTraceShare), 6},
		{"span", traceShare, 64},
		{"referrer", 0.6, 1 + math.Log2(referrers)/2},
		{"number of the first packet", 1, between + math.Log2(0.1)},
		{"fingerprint of a new cookie", 1.0 / 14, 16},
		{"retransmissions and the like", 1, 0.2},
	}
}

// distinct returns how many different ids of the route k requests ask for, about.
func (t *route) distinct(k float64) float64 {
	if len(t.parts) == 1 {
		return min(k, 1)
	}
	const steps = 200
	seen, before := 0.0, 0.0
	for i := 1; i <= steps; i++ {
		// Between two cubes, all ids are about equally frequent.
		u := float64(i) / steps
		n := t.space * (u*u*u - before*before*before)
		seen += n * (1 - math.Exp(-k/steps/n))
		before = u
	}
	return seen
}
