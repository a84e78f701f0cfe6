package tcp

import (
	"unsafe"

	"github.com/culprit-http/culprit/internal/proto"
)

// minEpisode is the shortest time that is told of windows that hold a half-stream up, in nanoseconds: what is shorter is the rhythm of a burst.
const minEpisode = int64(1e6)

const episodeSize = int(unsafe.Sizeof(proto.Episode{}))

// keepEpisodes is the longest list of episodes that a connection keeps for the next one.
const keepEpisodes = 4

// An episode that may go on is open: of each half-stream one of each window, and one of a loss. Conn.open has their places in the list, plus
// one, in this order; 0: there is none.
const (
	openWindow = iota
	openCongestion
	openLoss
	opens
)

// rhythms is how many kinds of episodes grow pause by pause: those of the two windows.
const rhythms = openLoss

// opened returns the place of d's open episode, -1 if there is none.
func (c *Conn) opened(d proto.Direction, which int) int { return int(c.open[d][which]) - 1 }

// add puts an episode into the list, and returns its place.
func (c *Conn) add(t *Table, e proto.Episode) int {
	f := &c.facts
	if len(f.Episodes) >= proto.MaxEpisodes {
		c.join(e.To)
	}
	if n := len(f.Episodes); n == cap(f.Episodes) {
		list := make([]proto.Episode, n, max(2*n, keepEpisodes))
		copy(list, f.Episodes)
		t.memory += (cap(list) - n) * episodeSize
		f.Episodes = list
	}
	f.Episodes = append(f.Episodes, e)
	return c.settle(len(f.Episodes) - 1)
}

// settle moves an episode whose end has changed to its place, which it returns.
func (c *Conn) settle(i int) int {
	list := c.facts.Episodes
	for ; i+1 < len(list) && list[i].To > list[i+1].To; i++ {
		c.swap(i, i+1)
	}
	for ; i > 0 && list[i-1].To > list[i].To; i-- {
		c.swap(i-1, i)
	}
	return i
}

func (c *Conn) swap(i, j int) {
	list := c.facts.Episodes
	list[i], list[j] = list[j], list[i]
	for d := range c.open {
		for k, at := range c.open[d] {
			switch int(at) - 1 {
			case i:
				c.open[d][k] = int8(j + 1)
			case j:
				c.open[d][k] = int8(i + 1)
			}
		}
	}
}

// remove takes an episode from the list.
func (c *Conn) remove(i int) {
	list := c.facts.Episodes
	c.facts.Episodes = append(list[:i], list[i+1:]...)
	for d := range c.open {
		for k, at := range c.open[d] {
			switch {
			case int(at)-1 == i:
				c.open[d][k] = 0
			case int(at)-1 > i:
				c.open[d][k]--
			}
		}
	}
}

// join makes one of two neighbours of a kind: of those whose distance is the smallest compared to their age, so that what has
// happened last stays apart.
func (c *Conn) join(now int64) {
	const classes = 2 * int(proto.NumHindrances) * 2
	var latest [classes]int8
	best, with, least := -1, -1, 0.0
	list := c.facts.Episodes
	for j := range list {
		e := &list[j]
		class := (int(e.Of)*int(proto.NumHindrances) + int(e.Kind)) * 2
		if e.Beyond {
			class++
		}
		if i := int(latest[class]) - 1; i >= 0 {
			distance := float64(max(e.From-list[i].To, 0)+1) / float64(max(now-e.To, 0)+1)
			if best < 0 || distance < least {
				best, with, least = i, j, distance
			}
		}
		latest[class] = int8(j + 1)
	}
	if best < 0 {
		// There are fewer classes than places: it can't be.
		best, with = 0, 1
	}
	a, b := &list[best], &list[with]
	if a.From < b.From {
		b.From, b.First = a.From, a.First
	}
	b.Held = min(b.Held+a.Held, b.To-b.From)
	b.Count += a.Count
	b.Bytes = max(b.Bytes, a.Bytes)
	if a.How != proto.Spurious && (a.How > b.How || b.How == proto.Spurious) {
		b.How = a.How
	}
	c.remove(best)
}

// pause is a time in which a half-stream was held up by a window.
type pause struct {
	kind        proto.Hindrance
	from, to    int64
	first, last uint64
	bytes       uint32
	// placed: it is known whether the tap's far side, seen from the sender, is the longer one: beyond.
	placed, beyond bool
}

// held notes a pause of what d sends. Those of a window that follow each other closely are one episode, which is told of once it
// has held up for minEpisode.
func (c *Conn) held(t *Table, d proto.Direction, p pause) {
	if p.to <= p.from {
		return
	}
	which := openWindow
	switch p.kind {
	case proto.CongestionWindow:
		which = openCongestion
	case proto.WindowFull:
	default:
		c.add(t, p.episode(d))
		return
	}
	young := &c.half[d].flight.rhythm[which]
	e, open := young, c.opened(d, which)
	if open >= 0 {
		e = &c.facts.Episodes[open]
	}
	if e.Count > 0 && (p.from <= e.To || p.from-e.To <= max(c.prompt(d), c.facts.Half[0].MinRTT+c.facts.Half[1].MinRTT)) {
		if p.from = max(p.from, e.To); p.to <= p.from {
			return
		}
		e.To, e.Last = p.to, p.last
		e.Held += p.to - p.from
		e.Count++
		e.Bytes = max(e.Bytes, int64(p.bytes))
		e.Placed, e.Beyond = p.placed, p.beyond
		if open >= 0 {
			c.settle(open)
			return
		}
	} else {
		c.open[d][which] = 0
		*young = p.episode(d)
	}
	if young.Held >= minEpisode {
		c.open[d][which] = int8(c.add(t, *young) + 1)
		young.Count = 0
	}
}

func (p *pause) episode(d proto.Direction) proto.Episode {
	return proto.Episode{
		Of: d, Kind: p.kind, Beyond: p.beyond, Placed: p.placed, From: p.from, To: p.to, First: p.first, Last: p.last,
		Held: p.to - p.from, Count: 1, Bytes: int64(p.bytes),
	}
}

// cut ends the episodes of windows of what d sends where a loss begins that has turned out since, so that each time has one cause.
func (c *Conn) cut(d proto.Direction, from int64) {
	for i := range c.half[d].flight.rhythm {
		if e := &c.half[d].flight.rhythm[i]; e.To > from {
			e.Count = 0
		}
	}
	list := c.facts.Episodes
	for i := len(list) - 1; i >= 0 && list[i].To > from; i-- {
		e := &list[i]
		if e.Of != d || e.Kind == proto.Recovery || e.Kind == proto.BlackHole {
			continue
		}
		if e.From < from {
			e.Held = min(int64(float64(e.Held)*(float64(from-e.From)/float64(e.To-e.From))), from-e.From)
			e.To = from
		}
		if e.To > from || e.Held < minEpisode {
			c.remove(i)
			list = c.facts.Episodes
		} else if c.settle(i) < i {
			i++ // another one has come here
		}
	}
	c.open[d][openWindow], c.open[d][openCongestion] = 0, 0
}
