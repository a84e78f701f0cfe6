package timing

import (
	"math"
	"slices"
)

// counted is up to how many calls of one label are told apart by number.
const counted = 8

// untold is the score of a call of a request whose plan knows nothing yet: better than none, but not by far.
const untold = -4

// solitude is how many calls of a class belong to none of the requests, of how many.
type solitude struct{ nobodys, all, score float64 }

// leastAlone and mostAlone bound the score of a call that belongs to none of the requests: of a class of which none was seen
// to be so, and of one that is always so.
const leastAlone, mostAlone = -6, -2

// count counts one more.
func (s *solitude) count(nobodys bool) {
	if s.all++; nobodys {
		s.nobodys++
	}
	s.score = min(max(math.Log((s.nobodys+0.1)/(s.all+40)), leastAlone), mostAlone)
}

// plan is what a tap does to answer requests of one op: which calls, in which order, how far apart.
type plan struct {
	// labels of the tap's classes of calls; 0 for none yet, otherwise one more than the label.
	labels  []uint8
	nlabels int
	// evidence is, for each measure and bin, the weighted logarithm of how much likelier the gap is among calls of one
	// request than by chance; nil where nothing is known, or of no use.
	evidence [measures]*[bins]float32
	weight   [measures]float32
	number   [maxLabels][counted + 1]float32
	// mixes are the usual numbers of calls of all labels together, with how much more often they are seen than their
	// numbers one by one would make them.
	mixes []mix
	order [maxLabels]order
	// rare is the same for all others.
	rare float32
	fits int

	examples []example
	next     int // of the examples to be replaced, once there are maxExamples
	since    int // examples since the last fit
	due      int // examples that make the next fit
}

// mix is the numbers of calls of all labels, mixBits of each.
type mix struct {
	numbers uint64
	n       int
	more    float32
}

const (
	mixBits = 2
	// maxMixes is how many a plan knows.
	maxMixes = 12
)

// maxExamples is how many of its latest requests a plan learns from.
const maxExamples = 1024

// example is a request whose calls are decided, for now or for good; times are relative to its start.
type example struct {
	end   int64
	calls []span
}

// A plan is fitted when it has firstFit examples, then each time that as many again have come, and at last each time that
// there were lastFit. What was learned at the beginning of all is fitted again after secondFit.
const (
	firstFit  = 32
	secondFit = 256
	lastFit   = 4096
)

func newPlan() *plan { return &plan{due: firstFit} }

// label is that of a class of calls.
func (p *plan) label(class int) int {
	for class >= len(p.labels) {
		p.labels = append(p.labels, 0)
	}
	if p.labels[class] == 0 {
		p.nlabels = min(p.nlabels+1, maxLabels)
		p.labels[class] = uint8(p.nlabels)
	}
	return int(p.labels[class]) - 1
}

// score is how much likelier it is that these calls, with these gaps, belong to one request than to nobody in particular.
func (p *plan) score(cells []cell, calls []span) float64 {
	if p.fits == 0 {
		return untold * float64(len(calls))
	}
	s := float32(0)
	for _, c := range cells {
		if e := p.evidence[c.measure]; e != nil {
			s += e[c.bin]
		}
	}
	n, numbers := numbersOf(calls)
	for l := range p.nlabels {
		s += p.number[l][n[l]]
	}
	more := p.rare
	for i := range p.mixes {
		if p.mixes[i].numbers == numbers {
			more = p.mixes[i].more
			break
		}
	}
	s += more
	return float64(s)
}

// learn keeps an example, and says whether it is time for a fit.
func (p *plan) learn(e example) bool {
	if len(p.examples) < maxExamples {
		p.examples = append(p.examples, e)
	} else {
		p.examples[p.next] = e
		p.next = (p.next + 1) % maxExamples
	}
	p.since++
	return p.since >= p.due
}

// numbersOf counts the calls of each label, up to counted, and all together as a mix.
func numbersOf(calls []span) (n [maxLabels]uint8, numbers uint64) {
	for _, c := range calls {
		if n[c.label] < counted {
			if n[c.label] < 1<<mixBits-1 {
				numbers += 1 << (mixBits * c.label)
			}
			n[c.label]++
		}
	}
	return n, numbers
}

// suppose sets what is to be expected of the numbers of calls.
func (p *plan) suppose(examples []example) {
	var number [maxLabels][counted + 1]float64
	p.mixes = p.mixes[:0]
	others := 0
	for _, e := range examples {
		n, numbers := numbersOf(e.calls)
		for l := range p.nlabels {
			number[l][n[l]]++
		}
		i := slices.IndexFunc(p.mixes, func(m mix) bool { return m.numbers == numbers })
		switch {
		case i >= 0:
			p.mixes[i].n++
		case len(p.mixes) < maxMixes:
			p.mixes = append(p.mixes, mix{numbers: numbers, n: 1})
		default:
			others++
		}
	}
	all := float64(len(examples))
	for l := range p.nlabels {
		for n := range number[l] {
			p.number[l][n] = float32(math.Log((number[l][n] + 0.25) / (all + 0.25*(counted+1))))
		}
	}
	left, free := float64(others)+1, 1.0
	for i := range p.mixes {
		m := &p.mixes[i]
		alone := 0.0
		for l := range p.nlabels {
			alone += float64(p.number[l][m.numbers>>(mixBits*l)&(1<<mixBits-1)])
		}
		free -= math.Exp(alone)
		m.more = float32(math.Log((float64(m.n)+math.Exp(alone))/(all+1)) - alone)
	}
	p.rare = min(0, float32(math.Log(left/(all+1)/max(free, 0.01))))
}
