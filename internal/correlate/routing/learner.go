package routing

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/measure"
)

// Limits of a Learner.
const (
	// MaxChildren is how many different segments are told apart in one place; of more of them, the seldom ones are one variable.
	MaxChildren = 200
	// MaxPlaces is how many segments of paths are remembered in all. What is beyond is in Learner.Lost.
	MaxPlaces = 50_000
)

// When different segments in one place are taken for one variable:
const (
	// fewChildren is how many there must be at least. Fewer are the names of things, or there were too few requests to tell.
	fewChildren = 20
	// A segment that has more than one in commonShare of the requests of its place is a name, whatever is beside it.
	commonShare = 20
	// Names of things come again; values are new again and again. There must be half as many again as there were after half of the requests or
	// less: see place.before.
	growth = 1.5
)

// Learner finds places of paths in which there are many different segments that the rules of measure.Routes take for words, such
// as names of users, and proposes templates for them. It is a tree of the segments that were seen, in bounded memory:
//
//	/u/alice/posts   -> u -> alice -> posts      many different below u, each of them seldom:
//	/u/bob/posts            bob   -> posts       /u/{name}/posts
//	/u/search               search               often: /u/search
//
// It proposes; a person decides. The same paths in the same order lead to the same proposals. It isn't safe for concurrent use.
type Learner struct {
	// Lost counts paths for which there was no room.
	Lost int64

	root   place
	places int
}

// place is a segment of paths.
type place struct {
	// requests went through it; ended are those whose path ends here.
	requests, ended int64
	next            map[string]*place
	// recent is how many there were below it when requests was a power of two last, before when it was one the time before that.
	recent, before int
	// values are what was put together; nil: nothing was, since there weren't MaxChildren.
	values *place
}

// variable is the segment that stands for any.
const variable = "{name}"

// NewLearner returns a Learner that has seen nothing.
func NewLearner() *Learner { return &Learner{} }

// Add shows a path, as a route.
func (l *Learner) Add(route string) {
	p := &l.root
	p.pass()
	for rest := strings.TrimPrefix(route, "/"); rest != ""; {
		var segment string
		if segment, rest, _ = strings.Cut(rest, "/"); segment == "" {
			continue // no route has such
		}
		if p = l.below(p, segment); p == nil {
			l.Lost++
			return
		}
		p.pass()
	}
	p.ended++
}

// pass counts a request that goes through a place.
func (p *place) pass() {
	p.requests++
	if p.requests&(p.requests-1) == 0 {
		p.before, p.recent = p.recent, len(p.next)
	}
}

// below returns the place of a segment, nil when there is no room for it.
func (l *Learner) below(p *place, segment string) *place {
	switch c := p.next[segment]; {
	case c != nil:
		return c
	case p.values != nil:
		return p.values
	case l.places >= MaxPlaces:
		return nil
	}
	c := &place{}
	l.put(p, segment, c)
	if p.values != nil && p.next[segment] == nil { // it was put together with the others
		return p.values
	}
	return c
}

// put puts a place below another, which may then have too many.
func (l *Learner) put(p *place, segment string, c *place) {
	if p.next == nil {
		p.next = map[string]*place{}
	}
	p.next[segment] = c
	l.places++
	if len(p.next) > MaxChildren {
		l.fold(p)
	}
}

// told reports whether a segment is variable already.
func told(segment string) bool { return strings.Contains(segment, "{") || segment == "*" }

// isName reports whether c, below p, is a name, however many others there are.
func (p *place) isName(c *place) bool { return c.requests > 1 && c.requests*commonShare > p.requests }

// fold puts the seldom segments below a place together.
func (l *Learner) fold(p *place) {
	if p.values == nil {
		p.values = &place{}
		l.places++
	}
	for _, segment := range slices.Sorted(maps.Keys(p.next)) {
		if c := p.next[segment]; !p.isName(c) {
			delete(p.next, segment)
			l.places--
			l.join(p.values, c)
		}
	}
}

// join adds what was seen in one place to another. Of from nothing is used any more.
func (l *Learner) join(into, from *place) {
	into.requests += from.requests
	into.ended += from.ended
	into.recent += from.recent
	into.before += from.before
	for _, segment := range slices.Sorted(maps.Keys(from.next)) {
		c := from.next[segment]
		l.places--
		switch {
		case into.next[segment] != nil:
			l.join(into.next[segment], c)
		case into.values != nil:
			l.join(into.values, c)
		default:
			l.put(into, segment, c)
		}
	}
	switch {
	case from.values == nil:
	case into.values == nil:
		into.values = from.values
		l.fold(into)
	default:
		l.places--
		l.join(into.values, from.values)
	}
}

// proposal is a template, how often it was seen, and how many of its segments are variable.
type proposal struct {
	rule      string
	requests  int64
	variables int
}

// Rules returns the templates that are proposed, as the configuration takes them: the more particular first. They are those that were seen most, where there
// are more than a configuration may have.
func (l *Learner) Rules() []string {
	var all []proposal
	l.root.propose("", 0, 0, false, &all)
	all = slices.DeleteFunc(all, func(p proposal) bool { // such as one with two variables in a segment
		_, err := measure.NewRoutes([]string{p.rule})
		return err != nil
	})
	slices.SortFunc(all, func(a, b proposal) int {
		return cmp.Or(cmp.Compare(b.requests, a.requests), strings.Compare(a.rule, b.rule))
	})
	all = all[:min(len(all), measure.MaxRouteRules)]
	slices.SortFunc(all, func(a, b proposal) int {
		return cmp.Or(cmp.Compare(a.variables, b.variables), strings.Compare(a.rule, b.rule))
	})
	rules := make([]string, len(all))
	for i := range all {
		rules[i] = all[i].rule
	}
	return rules
}

// propose appends what is proposed of the paths below a place. needed: the rules of measure.Routes wouldn't find the path by itself, since a variable is
// in it that they take for a word, or would find another one that is proposed, since that is less particular.
func (p *place) propose(path string, depth, variables int, needed bool, all *[]proposal) {
	if needed && p.ended > 0 {
		*all = append(*all, proposal{path, p.ended, variables})
	}
	if depth == measure.MaxRouteSegments {
		return
	}
	names, values := p.split()
	for _, segment := range slices.Sorted(maps.Keys(names)) {
		if segment == "*" { // what is behind it is known to nobody
			continue
		}
		more := 0
		if told(segment) {
			more = 1
		}
		names[segment].propose(path+"/"+segment, depth+1, variables+more, needed || values != nil, all)
	}
	if values != nil {
		values.propose(path+"/"+variable, depth+1, variables+1, true, all)
	}
}

// split tells the names below a place from the values, which are put together; nil: there are none.
func (p *place) split() (names map[string]*place, values *place) {
	if p.values != nil {
		values = p.values.clone() // p stays as it is
	} else {
		seldom := 0
		for segment, c := range p.next {
			if !told(segment) && !p.isName(c) {
				seldom++
			}
		}
		if seldom < fewChildren || float64(len(p.next)) < growth*float64(p.before) {
			return p.next, nil
		}
		values = &place{}
	}
	names = map[string]*place{}
	for _, segment := range slices.Sorted(maps.Keys(p.next)) {
		// A rule for {id} would take whatever else is in its place, too.
		whole := segment[0] == '{' && strings.IndexByte(segment, '}') == len(segment)-1
		if c := p.next[segment]; !whole && (told(segment) || p.isName(c)) {
			names[segment] = c
		} else {
			(&Learner{}).join(values, c.clone())
		}
	}
	return names, values
}

// clone copies a place, and all below it.
func (p *place) clone() *place {
	c := &place{requests: p.requests, ended: p.ended, recent: p.recent, before: p.before}
	if p.values != nil {
		c.values = p.values.clone()
	}
	if p.next != nil {
		c.next = make(map[string]*place, len(p.next))
		for segment, q := range p.next {
			c.next[segment] = q.clone()
		}
	}
	return c
}
