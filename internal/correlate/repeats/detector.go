package repeats

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// Detector finds repetitions. It isn't safe for concurrent use.
//
// Theory of operation. A request of HTTP is a parent of the host that answers it; what a host asks is a child. Both are
// held by the host's address, and, where it is known, by the process, since a process may speak from another address than
// it is spoken to. A child may be for each parent of its host that was under way all the time that it took. Of these,
// those of the child's own process are preferred; and a parent that had the request of another as its child, as a proxy
// has that of the server behind it on the same host, leaves the child to that one.
//
// Time is that of the exchanges. What was under way with a parent is known once Settle has passed after its end; then the
// parent's findings are made. It is held for as long again, since it may be the parent of what others ask.
type Detector struct {
	// Parents and Children count what was added, LeftOut what found no room, or came too late.
	Parents, Children, LeftOut int

	least int
	found func(*Finding)
	hosts map[host]*asked
	// now is the latest end, swept when what is settled was looked for.
	now, swept        int64
	parents, children int
	// round is a mark for what was seen in a walk.
	round uint64
	// candidates to byGroup are scratch memory.
	candidates []*parent
	members    []member
	groups     map[group]int
	byGroup    [][]member
}

// host is who answers and asks: an address, or a process where its number is known. Loopback addresses and processes are
// those of an observer.
type host struct {
	addr     packet.Addr
	pid      int
	observer string
}

// asked is what a host was asked, and what it asked.
type asked struct {
	parents  []*parent
	children []*child
	// ends are the latest ends of the parents up to each, once they are in the order of their start.
	ends []int64
}

type parent struct {
	id         [exchange.IDSize]byte
	name       string
	start, end int64
	at, from   host // who answered, and who asked
	// process is who answered, asker who asked, where that is known.
	process, asker host
	done           bool
	round          uint64
}

func (p *parent) hosts() [2]host { return [...]host{p.at, p.process} }

type child struct {
	id         [exchange.IDSize]byte
	start, end int64
	group      group
	at         host
	process    host
	failed     bool
	round      uint64
}

func (c *child) hosts() [2]host { return [...]host{c.at, c.process} }

// group is what children have in common.
type group struct{ protocol, template string }

// member is a child that may be for a parent, with how likely that is.
type member struct {
	*child
	weight float64
}

// New returns a Detector that tells found of what was asked at least so many times, and of nothing else; 0: Least. A
// finding is the called function's own.
func New(least int, found func(*Finding)) *Detector {
	if least <= 0 {
		least = Least
	}
	return &Detector{least: least, found: found, hosts: map[host]*asked{}, groups: map[group]int{}}
}

// Add takes an exchange that is over, in about the order of their ends: one that ends more than Settle before another
// that came before is left out. It is borrowed until Add returns.
func (d *Detector) Add(x *exchange.Exchange) {
	if !x.HasRequest || x.Stream || x.Message != nil || x.Period != nil {
		return
	}
	start, end := x.Start.Time, max(x.Completed.Time, x.Start.Time)
	if end < d.now-Settle.Nanoseconds() {
		d.LeftOut++
		return
	}
	if x.Family == exchange.HTTP {
		d.parent(x, start, end)
	}
	d.child(x, start, end)
	if end > d.now {
		d.now = end
		if d.now-d.swept >= sweepPeriod {
			d.sweep()
		}
	}
}

// sweepPeriod is how often what is settled is looked for.
const sweepPeriod = 1_000_000_000

// End makes all findings that are left. Nothing is added afterwards.
func (d *Detector) End() {
	d.order()
	for _, a := range d.hosts {
		for _, p := range a.parents {
			d.settle(p)
		}
	}
	clear(d.hosts)
}

func (d *Detector) parent(x *exchange.Exchange, start, end int64) {
	if d.parents >= MaxParents {
		d.LeftOut++
		return
	}
	d.Parents++
	p := &parent{id: x.ID(observer(x)), name: name(x, false), start: start, end: end, at: hostOf(x, x.Server()), from: hostOf(x, x.Client), process: processOf(x, x.Server()), asker: processOf(x, x.Client)}
	d.asked(p.at).parents = append(d.asked(p.at).parents, p)
	if p.process.pid != 0 {
		a := d.asked(p.process)
		a.parents = append(a.parents, p)
	}
	d.parents++
}

func (d *Detector) child(x *exchange.Exchange, start, end int64) {
	if x.Request.Blocks || x.Request.OneWay {
		return
	}
	g := group{x.Protocol, ""}
	switch x.Family {
	case exchange.Database:
		g.template = x.Statement.Template
	case exchange.HTTP:
		g.template = name(x, true)
	case exchange.Names:
		m := &x.Request
		g.template = string(m.FactText("type")) + " " + string(m.FactText("name"))
	default:
		return
	}
	if d.children >= MaxChildren {
		d.LeftOut++
		return
	}
	d.Children++
	c := &child{id: x.ID(observer(x)), start: start, end: end, group: g, at: hostOf(x, x.Client), process: processOf(x, x.Client), failed: x.Outcome() == "failure"}
	d.asked(c.at).children = append(d.asked(c.at).children, c)
	if c.process.pid != 0 {
		a := d.asked(c.process)
		a.children = append(a.children, c)
	}
	d.children++
}

func (d *Detector) asked(h host) *asked {
	a := d.hosts[h]
	if a == nil {
		a = &asked{}
		d.hosts[h] = a
	}
	return a
}

func observer(x *exchange.Exchange) string {
	if x.Tap == nil {
		return ""
	}
	return x.Tap.Observer
}

func hostOf(x *exchange.Exchange, dir proto.Direction) host {
	h := host{addr: x.Flow.Addr[dir]}
	if h.addr.Netip().IsLoopback() {
		h.observer = observer(x)
	}
	return h
}

// processOf returns the process of an end as a host, with the number 0 when it isn't known.
func processOf(x *exchange.Exchange, dir proto.Direction) host {
	if p := x.Process[dir]; p != nil && p.PID != 0 {
		return host{pid: p.PID, observer: observer(x)}
	}
	return host{}
}

// name returns what a request is for: its method, with the authority if that is wanted, and its route, or else its path.
func name(x *exchange.Exchange, authority bool) string {
	m := &x.Request
	path := m.Bytes(m.Target)
	if n := bytes.IndexAny(path, "?#"); n >= 0 {
		path = path[:n]
	}
	if x.Enriched.Route != "" {
		path = []byte(x.Enriched.Route)
	}
	b := append(bytes.Clone(m.Bytes(m.Method)), ' ')
	if authority {
		b = append(b, m.Field("host")...)
	}
	b = append(b, path...)
	return string(b[:min(len(b), MaxText)])
}

// sweep makes the findings of the parents that are settled, and forgets what no parent needs any more.
func (d *Detector) sweep() {
	d.swept = d.now
	d.order()
	settled, over := d.now-Settle.Nanoseconds(), d.now-2*Settle.Nanoseconds()
	for _, a := range d.hosts {
		for _, p := range a.parents {
			if p.end < settled {
				d.settle(p)
			}
		}
	}
	for h, a := range d.hosts {
		own := h.pid == 0 // each is counted where its address is
		kept := len(a.parents) + len(a.children)
		n := len(a.parents)
		a.parents = slices.DeleteFunc(a.parents, func(p *parent) bool { return p.end < over })
		if own {
			d.parents -= n - len(a.parents)
		}
		n = len(a.children)
		a.children = slices.DeleteFunc(a.children, func(c *child) bool { return c.end < over })
		if own {
			d.children -= n - len(a.children)
		}
		switch left := len(a.parents) + len(a.children); {
		case left == 0:
			delete(d.hosts, h)
		case left < kept/2:
			a.parents, a.children = slices.Clip(a.parents), slices.Clip(a.children)
		}
	}
}

// order puts all into the order of their start.
func (d *Detector) order() {
	for _, a := range d.hosts {
		slices.SortStableFunc(a.parents, func(p, q *parent) int { return cmp.Compare(p.start, q.start) })
		slices.SortStableFunc(a.children, func(b, c *child) int { return cmp.Compare(b.start, c.start) })
		a.ends = a.ends[:0]
		latest := int64(0)
		for _, p := range a.parents {
			latest = max(latest, p.end)
			a.ends = append(a.ends, latest)
		}
	}
}

// settle makes the findings of a parent.
func (d *Detector) settle(p *parent) {
	if p.done {
		return
	}
	p.done = true
	if p.end-p.start > Settle.Nanoseconds() {
		return
	}
	d.gather(p)
	clear(d.groups)
	for i := range d.byGroup {
		d.byGroup[i] = d.byGroup[i][:0]
	}
	n := 0
	for _, m := range d.members {
		i, ok := d.groups[m.group]
		if !ok {
			if n == MaxTemplates {
				continue
			}
			i = n
			n++
			d.groups[m.group] = i
			if i == len(d.byGroup) {
				d.byGroup = append(d.byGroup, nil)
			}
		}
		d.byGroup[i] = append(d.byGroup[i], m)
	}
	for _, members := range d.byGroup[:n] {
		if f := p.finding(members); f.Sure >= d.least || f.Expected >= float64(d.least) {
			d.found(f)
		}
	}
}

// gather finds the children that may be for a parent, in the order of their start.
func (d *Detector) gather(p *parent) {
	d.members = d.members[:0]
	d.round++
	mark := d.round
	for _, h := range p.hosts() {
		a := d.hosts[h]
		if a == nil {
			continue
		}
		from, _ := slices.BinarySearchFunc(a.children, p.start, func(c *child, at int64) int { return cmp.Compare(c.start, at) })
		for _, c := range a.children[from:] {
			if c.start > p.end {
				break
			}
			if c.round == mark || c.id == p.id {
				continue
			}
			c.round = mark
			if w := d.weight(p, c); w > 0 {
				d.members = append(d.members, member{c, w})
			}
		}
	}
	slices.SortStableFunc(d.members, func(a, b member) int { return cmp.Compare(a.start, b.start) })
}

// otherProcess is how sure it is that a child is for a parent that another process answered, when that is the only
// parent: a server hands work to its workers, but there may be requests that weren't seen.
const otherProcess = 0.5

// throughProxy is how sure it is that a request of a host to itself was made for one that it was answering.
const throughProxy = 0.8

// weight returns how likely it is that a child is for a parent rather than for another one.
func (d *Detector) weight(p *parent, c *child) float64 {
	if !d.parentsOf(c) {
		return 0
	}
	own := false // a parent is of the child's process
	for _, q := range d.candidates {
		own = own || c.process.pid != 0 && q.process == c.process
	}
	n, is, sure := 0, false, 1.0
	for _, q := range d.candidates {
		if own && q.process != c.process {
			continue
		}
		if by := d.passedOn(q); by > 0 {
			sure = min(sure, by)
			continue
		}
		n++
		is = is || q == p
	}
	switch {
	case !is:
		return 0
	case !own && c.process.pid != 0 && p.process.pid != 0:
		sure = min(sure, otherProcess)
	}
	return sure / float64(n)
}

// passedOn returns how sure it is that a candidate had another one as its child: 0 when none was.
func (d *Detector) passedOn(p *parent) (sure float64) {
	for _, q := range d.candidates {
		switch {
		case q == p, q.start < p.start, q.end > p.end, q.start == p.start && q.end == p.end:
		case p.process.pid != 0 && q.asker.pid != 0:
			if p.process == q.asker {
				return 1
			}
		case q.from == p.at && p.from != p.at: // the one came from outside, and the other from the host itself
			sure = throughProxy
		}
	}
	return sure
}

// parentsOf puts the parents that a child may be for into d.candidates. It returns false when there are too many.
func (d *Detector) parentsOf(c *child) bool {
	d.candidates = d.candidates[:0]
	d.round++
	looked := 0
	for _, h := range c.hosts() {
		a := d.hosts[h]
		if a == nil {
			continue
		}
		behind, _ := slices.BinarySearchFunc(a.parents, c.start, func(p *parent, at int64) int { return cmp.Compare(p.start, at+1) })
		for i := behind - 1; i >= 0 && a.ends[i] >= c.end; i-- {
			if looked++; looked > MaxLooked {
				return false
			}
			if p := a.parents[i]; p.end >= c.end && p.round != d.round && p.id != c.id {
				p.round = d.round
				d.candidates = append(d.candidates, p)
			}
		}
	}
	return len(d.candidates) <= MaxCandidates
}

// finding sums up children of one group, in the order of their start. There is at least one.
func (p *parent) finding(members []member) *Finding {
	first, last := members[0], members[len(members)-1]
	f := &Finding{
		Parent: p.id, Name: p.name, Start: p.start, Duration: p.end - p.start, Protocol: first.group.protocol, Template: first.group.template,
		Count: len(members), First: first.id, Last: last.id,
	}
	var busyUntil int64
	var took float64
	var ends []int64 // of those under way
	for _, m := range members {
		f.Expected += m.weight
		took += m.weight * float64(m.end-m.start)
		if m.weight == 1 {
			f.Sure++
		}
		if m.failed {
			f.Failed++
		}
		f.Busy += max(m.end-max(m.start, busyUntil), 0)
		busyUntil = max(busyUntil, m.end)
		ends = slices.DeleteFunc(ends, func(end int64) bool { return end <= m.start })
		ends = append(ends, m.end)
		f.AtOnce = max(f.AtOnce, len(ends))
	}
	f.Time = int64(took)
	f.Confidence = f.Expected / float64(f.Count)
	if f.Duration > 0 {
		f.Share = min(float64(f.Busy)/float64(f.Duration), 1) * f.Confidence
	}
	return f
}
