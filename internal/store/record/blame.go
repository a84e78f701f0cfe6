package record

import (
	"math"

	"github.com/culprit-http/culprit/internal/exchange"
)

// failures are the situations that are about what failed, rather than about time; some are about either.
var failures = [exchange.NumSituations]bool{
	exchange.AcceptQueueFull: true, exchange.ConnectionRefused: true, exchange.Unreachable: true, exchange.ResetMidResponse: true, exchange.KeepAliveRace: true,
	exchange.EarlyResponse: true, exchange.ServerTimeout: true, exchange.ClientGaveUp: true, exchange.Retried: true, exchange.BlackHole: true, exchange.FailedHop: true,
	exchange.ServerError: true, exchange.ClientError: true, exchange.TLSFailed: true,
}

// blameSetters are the columns from which the verdict is made again, with the causes of each phase's time and the place among the hops.
// The evidence is kept as texts.
func blameSetters() map[string]setter {
	blame := func(k *Maker) *exchange.Blame { return &k.x.Blame }
	hop := func(k *Maker) *exchange.Hop { return &k.x.Hop }
	m := map[string]setter{
		"culprit.blame.who":        named(exchange.NumWho, func(k *Maker) *exchange.Who { return &blame(k).Who }),
		"culprit.blame.situation":  named(exchange.NumSituations, func(k *Maker) *exchange.Situation { return &blame(k).Situation }),
		"culprit.blame.time":       func(k *Maker, c *Cell) { blame(k).Time = c.Int },
		"culprit.blame.confidence": float(func(k *Maker) *float64 { return &blame(k).Confidence }),
		"culprit.blame.upstream":   text(func(k *Maker) *string { return &blame(k).Upstream }),
		"culprit.blame.why":        text(func(k *Maker) *string { return &blame(k).Why }),
		"culprit.blame.evidence":   func(k *Maker, c *Cell) { blame(k).Facts = texts(c.List) },

		"parent.id":              id(func(k *Maker) *[exchange.IDSize]byte { return &hop(k).Parent }),
		"culprit.hop.trace":      id(func(k *Maker) *[exchange.IDSize]byte { return &hop(k).Trace }),
		"culprit.hop.method":     named(exchange.NumHopMethods, func(k *Maker) *exchange.HopMethod { return &hop(k).Method }),
		"culprit.hop.confidence": float(func(k *Maker) *float64 { return &hop(k).Confidence }),
		"culprit.hop.depth":      func(k *Maker, c *Cell) { hop(k).Depth = int(c.Int) },
	}
	for p := range exchange.Phases {
		for name, of := range map[string]func(c *exchange.Causes) *int64{
			"client":         func(c *exchange.Causes) *int64 { return &c.Client },
			"client_network": func(c *exchange.Causes) *int64 { return &c.ClientNetwork },
			"server_network": func(c *exchange.Causes) *int64 { return &c.ServerNetwork },
			"server":         func(c *exchange.Causes) *int64 { return &c.Server },
		} {
			m["culprit.split."+p.String()+"."+name] = func(k *Maker, c *Cell) {
				causes := &k.x.Timing.Causes[p]
				*of(causes), causes.Known = c.Int, true
			}
		}
	}
	return m
}

// named sets what is stored by its name; before end comes the last one that there is. A name that isn't known is passed over: a later version of
// the program may have more.
func named[T interface {
	~uint8
	String() string
}](end T, at func(k *Maker) *T) setter {
	return func(k *Maker, c *Cell) {
		for n := range end {
			if n.String() == string(c.Text) {
				*at(k) = n
			}
		}
	}
}

func float(at func(k *Maker) *float64) setter {
	return func(k *Maker, c *Cell) { *at(k) = math.Float64frombits(uint64(c.Int)) }
}

func id(at func(k *Maker) *[exchange.IDSize]byte) setter {
	return func(k *Maker, c *Cell) {
		if id, ok := exchange.ParseID(string(c.Text)); ok {
			*at(k) = id
		}
	}
}
