// Package compare compares two recordings, such as one before and one after a release: what was asked for, how that ended, how long it took and how much
// came back, with tests that tell what is chance.
//
// Exchanges are grouped by endpoint: method, host and route of HTTP; the template of a statement; the type and name of a lookup. For each endpoint, it is
// tested whether times and sizes differ (Ranks), whether there are more slow ones at the end of the distribution, and whether
// outcomes differ (Shares); all tests are corrected for how many they are (Adjust).
package compare

import (
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// Side is one of the two recordings.
type Side uint8

// The sides.
const (
	Before Side = iota
	After
)

// Options say how to compare; see DefaultOptions.
type Options struct {
	// Hosts tells endpoints of different hosts apart. Without it, recordings of two environments can be compared.
	Hosts bool
	// Alpha is which share of the differences that are found may be chance.
	Alpha float64
	// Change is the least relative change of a time, a size or a share of what has no rarer outcome that matters, as in 0.05: with enough values, the smallest
	// differences aren't chance.
	Change float64
	// MaxEndpoints is how many endpoints are told apart; what belongs to others is counted in Result.Others.
	MaxEndpoints int
	// MaxValues is how many values of an endpoint are kept of each side, and MaxAll of all together. Beyond either, samples of them are, which say so.
	MaxValues, MaxAll int
	// MaxOutcomes is how many outcomes of an endpoint are told apart; the rest is "other".
	MaxOutcomes int
}

// DefaultOptions are the defaults.
func DefaultOptions() Options {
	return Options{Hosts: true, Alpha: 0.05, Change: 0.05, MaxEndpoints: 10_000, MaxValues: 1 << 15, MaxAll: 1 << 21, MaxOutcomes: 32}
}

// Comparison takes the exchanges of both sides. It isn't safe for concurrent use.
type Comparison struct {
	options   Options
	endpoints map[key]*tally
	// values counts those that are kept; limit is how many a side of an endpoint may keep now.
	values, limit int
	totals        [2]Totals
	// scratch is memory for texts.
	scratch []byte
}

// key names an endpoint.
type key struct {
	protocol, host, verb, subject string
}

// tally is what is counted of an endpoint.
type tally struct {
	sides [2]half
}

// half is one side of a tally.
type half struct {
	// exchanges were seen, and stand for count.
	exchanges, count int64
	outcomes         []outcome
	// times are those that count in percentiles, request and response sizes.
	times, requests, responses sample
}

// outcome is a way in which exchanges end. weights and squares are the sums of what they stand for.
type outcome struct {
	name             string
	failed           bool
	weights, squares int64
}

// Totals are those of a side.
type Totals struct {
	// Exchanges were added, and stand for Count; From is when the first began and To when the last ended, in nanoseconds since 1970.
	Exchanges, Count int64
	From, To         int64
	// Apart are of no endpoint: records of flows, of TLS sessions that weren't read, and messages of sessions. Others belong to endpoints beyond
	// MaxEndpoints.
	Apart, Others int64
	// Untimed are left out of times, by why: their grade, or "stream".
	Untimed map[string]int64
	// Unended are left out of outcomes and sizes too, since it isn't known how they ended.
	Unended int64
}

// New returns a comparison.
func New(o Options) *Comparison {
	c := &Comparison{options: o, endpoints: map[key]*tally{}, limit: o.MaxValues}
	for i := range c.totals {
		c.totals[i].Untimed = map[string]int64{}
	}
	return c
}

// Add adds an exchange to a side. Nothing of it is kept.
func (c *Comparison) Add(side Side, x *exchange.Exchange) {
	t := &c.totals[side]
	weight := int64(max(x.Weight, 1))
	if t.Exchanges == 0 || x.Start.Time < t.From {
		t.From = x.Start.Time
	}
	t.To = max(t.To, x.Completed.Time)
	t.Exchanges++
	t.Count += weight
	k, ok := c.keyOf(x)
	if !ok {
		t.Apart++
		return
	}
	e := c.endpoints[k]
	if e == nil {
		if len(c.endpoints) >= c.options.MaxEndpoints {
			t.Others++
			return
		}
		e = &tally{}
		c.endpoints[k] = e
	}
	h := &e.sides[side]
	h.exchanges++
	h.count += weight
	if name, failed := outcomeOf(x); name != "" {
		h.ended(name, failed, weight, c.options.MaxOutcomes)
	} else {
		t.Unended++
	}
	priority := priorityOf(x)
	keep := func(s *sample, v int64) {
		if v >= 0 {
			c.values += s.add(one{value: v, order: x.Start.Time, weight: uint32(weight), priority: priority}, c.limit)
		}
	}
	switch {
	case x.Grade != exchange.Complete:
		t.Untimed[x.Grade.String()]++
	case x.Stream:
		t.Untimed["stream"]++
	default:
		if x.Request.Blocks { // what waits for an event
			t.Untimed["stream"]++
		} else {
			keep(&h.times, x.Timing.Duration)
		}
		if x.Family == exchange.HTTP || x.Family == exchange.Database {
			keep(&h.requests, sizeOf(x, &x.Request, x.HasRequest))
			keep(&h.responses, sizeOf(x, &x.Response, x.HasResponse))
		}
	}
	c.shrink()
}

// sizeOf returns what a message measures: its body, or all of it where its protocol has none; -1 where there is none.
func sizeOf(x *exchange.Exchange, m *proto.Message, has bool) int64 {
	switch {
	case !has:
		return -1
	case x.Family == exchange.HTTP:
		return m.BodyBytes
	}
	return m.Size
}

// shrink makes room when all samples together are too large.
func (c *Comparison) shrink() {
	for c.values > c.options.MaxAll && c.limit > 1 {
		c.limit /= 2
		c.values = 0
		for _, e := range c.endpoints {
			for i := range e.sides {
				for _, s := range [...]*sample{&e.sides[i].times, &e.sides[i].requests, &e.sides[i].responses} {
					s.cut(c.limit)
					c.values += len(s.values)
				}
			}
		}
	}
}

// ended counts an outcome.
func (h *half) ended(name string, failed bool, weight int64, most int) {
	i := slices.IndexFunc(h.outcomes, func(o outcome) bool { return o.name == name })
	if i < 0 && len(h.outcomes) >= most-1 {
		name = otherOutcome
		i = slices.IndexFunc(h.outcomes, func(o outcome) bool { return o.name == name })
	}
	if i < 0 {
		i = len(h.outcomes)
		h.outcomes = append(h.outcomes, outcome{name: name, failed: failed})
	}
	h.outcomes[i].weights += weight
	h.outcomes[i].squares += weight * weight
}

// otherOutcome stands for all outcomes beyond Options.MaxOutcomes.
const otherOutcome = "other"

// keyOf returns the endpoint of an exchange; ok is false when it has none.
func (c *Comparison) keyOf(x *exchange.Exchange) (k key, ok bool) {
	if x.Period != nil || x.Message != nil || !x.HasRequest && !x.HasResponse {
		return k, false
	}
	k.verb = string(x.Verb())
	switch x.Family {
	case exchange.HTTP:
		if !x.HasRequest {
			return k, false // what was asked for isn't known
		}
		k.protocol = "http"
		if x.Protocol == "websocket" {
			k.protocol = x.Protocol
		}
		u := x.URL()
		if k.subject = x.Enriched.Route; k.subject == "" {
			k.subject = string(u.Path)
		}
		if c.options.Hosts {
			k.host = c.hostOf(x, u.Host)
		}
	case exchange.Database:
		k.protocol, k.subject = x.Protocol, x.Statement.Template
		if k.subject == "" {
			k.subject = x.Statement.Collection
		}
		if c.options.Hosts {
			k.host = x.Enriched.Service[x.Server()]
		}
	case exchange.Names:
		k.protocol, k.subject = "dns", string(x.Subject())
	default:
		return k, false
	}
	for _, text := range [...]*string{&k.host, &k.verb, &k.subject} {
		if len(*text) > maxName {
			*text = (*text)[:maxName]
		}
	}
	return k, true
}

// maxName is how many bytes of a name of an endpoint tell it from others.
const maxName = 512

// hostOf returns the host that a request asks for, in lower case, or else the server's address.
func (c *Comparison) hostOf(x *exchange.Exchange, host []byte) string {
	if len(host) == 0 {
		return x.Flow.End(x.Server())
	}
	c.scratch = append(c.scratch[:0], host...)
	for i, b := range c.scratch {
		if 'A' <= b && b <= 'Z' {
			c.scratch[i] = b | 0x20
		}
	}
	return string(c.scratch)
}

// outcomeOf returns how an exchange ended: the status, the code of an error, ok, or why there is no answer; empty where that isn't known.
func outcomeOf(x *exchange.Exchange) (name string, failed bool) {
	switch {
	case x.Grade == exchange.Unanswered || x.Grade == exchange.Aborted:
		return x.Grade.String(), true
	case !x.HasResponse:
		if x.Request.OneWay {
			return "sent", false
		}
		return "", false
	case x.Family == exchange.HTTP:
		name = strconv.Itoa(x.Response.Status)
		if code, ok := x.GRPCStatus(); ok && code != 0 {
			name = exchange.GRPCStatusName(code)
		}
		return name, x.Failed()
	case !x.Failed():
		return "ok", false
	}
	if name = x.ErrorCode(); name == "" {
		name = "error"
	}
	return name, true
}

// priorityOf decides whether an exchange stays in a sample: as if drawn by lot, but always alike.
func priorityOf(x *exchange.Exchange) uint64 {
	id := x.ID(x.Tap.Observer)
	v := binary.BigEndian.Uint64(id[8:]) ^ binary.BigEndian.Uint64(id[:8])
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}
