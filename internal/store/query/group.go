package query

import (
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// grouping is one thing to group by.
type grouping struct {
	store.Group
	col      int // negative: same
	constant record.Constant
	// key makes the key of a number or a text.
	ofInt      func(n int64) store.Key
	magnitudes *magnitudes // for ByMagnitude
	ofText     func(text []byte) store.Key
}

func newGrouping(g store.Group) (*grouping, error) {
	if g.Field == nil {
		return nil, fmt.Errorf("a group has no field")
	}
	k := g.Field.Kind
	number := k == exchange.Int || k == exchange.Duration
	fits := map[By]bool{
		store.ByValue: k != exchange.Headers && k != exchange.Float, store.ByClass: k == exchange.Int, store.ByMagnitude: number, store.ByNetwork: k == exchange.IP,
	}
	if !fits[g.By] {
		return nil, fmt.Errorf("exchanges can't be grouped by %s in that way: %s", g.Field.Name,
			"classes are of whole numbers, magnitudes of numbers and durations, networks of addresses, and headers and parts of a whole can't be grouped by")
	}
	p := &grouping{Group: g}
	p.col, p.constant = record.Lookup(g.Field)
	if k == exchange.List {
		k = exchange.Text
	}
	p.ofInt = func(n int64) store.Key { return store.Key{Kind: k, Int: n} }
	p.ofText = func(text []byte) store.Key { return store.Key{Kind: k, Text: string(text)} }
	switch g.By {
	case store.ByClass:
		p.ofInt = func(n int64) store.Key {
			return store.Key{Kind: exchange.Text, Text: strconv.FormatInt(class(n), 10) + "xx"}
		}
	case store.ByMagnitude:
		p.magnitudes = newMagnitudes()
		p.ofInt = func(n int64) store.Key { return store.Key{Kind: k, Int: p.magnitudes.all[p.magnitudes.of(n)].key} }
	case store.ByNetwork:
		p.ofText = network
	}
	return p, nil
}

// By is the function of a group.
type By = store.By

// The lengths of the networks that addresses are grouped by.
const (
	networkBits4 = 24
	networkBits6 = 48
)

func network(text []byte) store.Key {
	a, err := netip.ParseAddr(string(text))
	if err != nil {
		return store.Key{Kind: exchange.Text, Text: string(text)} // it isn't an address after all
	}
	n := networkBits6
	if a.Is4() {
		n = networkBits4
	}
	return store.Key{Kind: exchange.Text, Text: netip.PrefixFrom(a, n).Masked().String()}
}

// magnitude is a bucket of numbers: from least to where the next one begins.
type magnitude struct{ least, key int64 }

// magnitudes are the buckets of ByMagnitude.
type magnitudes struct {
	all []magnitude
	// first are those of the smallest numbers with that many bits.
	first [65]int
}

// maxMagnitudes is more than there are.
const maxMagnitudes = 160

func newMagnitudes() *magnitudes {
	m := &magnitudes{all: []magnitude{{math.MinInt64, 0}}}
	for k := 0; ; k++ {
		bound := math.Pow(10, float64(k)/8)
		if bound >= math.MaxInt64 {
			break
		}
		least := int64(math.Ceil(bound))
		if last := len(m.all) - 1; m.all[last].least == least { // no whole number is between the two bounds
			m.all = m.all[:last]
		}
		m.all = append(m.all, magnitude{least, int64(math.Round(bound))})
	}
	at := 0
	for n := 1; n < 64; n++ {
		for at+1 < len(m.all) && m.all[at+1].least <= 1<<(n-1) {
			at++
		}
		m.first[n] = at
	}
	return m
}

// of returns the index of a number's bucket.
func (m *magnitudes) of(v int64) int {
	if v < 1 {
		return 0
	}
	i := m.first[bits.Len64(uint64(v))]
	for i+1 < len(m.all) && m.all[i+1].least <= v {
		i++
	}
	return i
}

// keyTable numbers the keys of one grouping, in the order in which they come.
type keyTable struct {
	numbers map[store.Key]uint32
	keys    []store.Key
	bytes   int64

	// byText are the numbers of texts themselves, which are looked up without making a key.
	byText map[string]uint32
	// small are the numbers of the keys of the integers from 0, and behind them of magnitudes, plus one; large those of
	// other integers.
	small []uint32
	large map[int64]uint32
	// texts are those of the texts of the chunk's dictionary.
	texts []uint32
}

// The sizes of the tables of numbers.
const (
	smallInts = 1024
	// maxLarge is how many numbers keep their keys at hand; beyond it the table begins anew.
	maxLarge = 1 << 16
	// keyCost is about how many bytes a key takes, besides its text.
	keyCost = 160
)

func newKeyTable() *keyTable {
	return &keyTable{numbers: map[store.Key]uint32{}, byText: map[string]uint32{}, small: make([]uint32, smallInts+maxMagnitudes), large: map[int64]uint32{}}
}

// number returns the number of a key.
func (t *keyTable) number(k store.Key) uint32 {
	n, ok := t.numbers[k]
	if !ok {
		n = uint32(len(t.keys))
		t.numbers[k] = n
		t.keys = append(t.keys, k)
		t.bytes += keyCost + int64(len(k.Text))
	}
	return n
}

func (t *keyTable) ofInt(g *grouping, v int64) uint32 {
	if 0 <= v && v < smallInts {
		n := t.small[v]
		if n == 0 {
			n = t.number(g.ofInt(v)) + 1
			t.small[v] = n
		}
		return n - 1
	}
	if v == vector.Absent {
		return t.number(store.Key{})
	}
	if g.By == store.ByMagnitude { // many values, and few keys
		i := g.magnitudes.of(v)
		n := t.small[smallInts+i]
		if n == 0 {
			n = t.number(g.ofInt(v)) + 1
			t.small[smallInts+i] = n
		}
		return n - 1
	}
	n, ok := t.large[v]
	if !ok {
		if len(t.large) >= maxLarge {
			clear(t.large)
		}
		n = t.number(g.ofInt(v))
		t.large[v] = n
	}
	return n
}

// numbersOf writes the number of the key of each row. rows nil stands for all of the chunk's n. A list has each of
// its elements once: then rows are repeated, and so are the numbers before, which belong to them.
func (t *keyTable) numbersOf(g *grouping, e *evaluator, rows []uint32, s *scratch) (numbers []uint32, more []uint32, err error) {
	count := e.n
	if rows != nil {
		count = len(rows)
	}
	numbers = slices.Grow(s.numbers[:0], count)[:count]
	switch form := formOf(g); {
	case form == record.Ints:
		column, err := e.ints(g.col)
		if err != nil {
			return nil, nil, err
		}
		first := 0
		if rows != nil {
			first = int(rows[0])
		}
		last := column[first]
		number := t.ofInt(g, last)
		for i := range numbers {
			r := i
			if rows != nil {
				r = int(rows[i])
			}
			v := column[r]
			if uint64(v) < smallInts && t.small[v] != 0 {
				numbers[i] = t.small[v] - 1
				continue
			}
			if v != last {
				last, number = v, t.ofInt(g, v)
			}
			numbers[i] = number
		}
	case form == record.Texts:
		column, err := t.textColumn(g, e)
		if err != nil {
			return nil, nil, err
		}
		t.begin(column.Dict.Len())
		for i := range numbers {
			r := i
			if rows != nil {
				r = int(rows[i])
			}
			n := column.Rows[r]
			known := t.texts[n]
			if known == 0 {
				known = t.ofText(g, &column.Dict, n)
			}
			numbers[i] = known - 1
		}
	default:
		return t.ofLists(g, e, rows, s)
	}
	s.numbers = numbers
	return numbers, rows, nil
}

// unknown is no number.
const unknown = math.MaxUint32

// formOf returns the form of the values of a grouping.
func formOf(g *grouping) record.Form {
	switch {
	case g.col >= 0:
		return record.Columns[g.col].Form
	case g.constant.List != nil:
		return record.Lists
	}
	return record.Texts
}

func (t *keyTable) textColumn(g *grouping, e *evaluator) (*vector.Texts, error) {
	if g.col < 0 {
		return e.constantTexts(g.constant.Text), nil
	}
	return e.texts(g.col)
}

// begin begins with a dictionary of n texts.
func (t *keyTable) begin(n int) {
	t.texts = slices.Grow(t.texts[:0], n+1)[:n+1]
	clear(t.texts)
}

// ofText returns the number, plus one, of the key of text n of the chunk's dictionary; 0 is none.
func (t *keyTable) ofText(g *grouping, d *vector.Dict, n uint32) uint32 {
	switch {
	case n == 0:
		t.texts[n] = t.number(store.Key{}) + 1
	case g.By != store.ByValue:
		t.texts[n] = t.number(g.ofText(d.At(n))) + 1
	default:
		text := d.At(n)
		known, ok := t.byText[string(text)]
		if !ok {
			k := g.ofText(text)
			known = t.number(k)
			t.byText[k.Text] = known
		}
		t.texts[n] = known + 1
	}
	return t.texts[n]
}

// ofLists is numbersOf for lists.
func (t *keyTable) ofLists(g *grouping, e *evaluator, rows []uint32, s *scratch) (numbers []uint32, more []uint32, err error) {
	var column *vector.Lists
	if g.col < 0 {
		column = e.constantLists(g.constant.List)
	} else if column, err = e.lists(g.col); err != nil {
		return nil, nil, err
	}
	t.begin(column.Dict.Len())
	count := e.n
	if rows != nil {
		count = len(rows)
	}
	var repeat []uint32
	for i := range count {
		r := uint32(i)
		if rows != nil {
			r = rows[i]
		}
		items := column.Items[column.Ends[r]:column.Ends[r+1]]
		if len(items) == 0 {
			items = []uint32{0}
		}
		begin := len(numbers)
		for _, n := range items {
			known := t.texts[n]
			if known == 0 {
				known = t.ofText(g, &column.Dict, n)
			}
			if !slices.Contains(numbers[begin:], known-1) {
				numbers = append(numbers, known-1)
				more = append(more, r)
				repeat = append(repeat, uint32(i))
			}
		}
	}
	s.repeat = repeat
	return numbers, more, nil
}

// pair is a group with one key more.
type pair struct{ before, key uint32 }

// level numbers the pairs of the groups before and the keys of one grouping, in the order in which they come.
type level struct {
	pairs []pair
	// slots have the numbers of pairs, plus one, at places that follow from them (open addressing with linear
	// probing). Their number is a power of two.
	slots []uint32
	flat  []uint32 // of one chunk: the number of a pair plus one
}

const (
	// maxFlat is up to how many pairs are looked up in a table of all that could be.
	maxFlat = 1 << 18
	// pairCost is about how many bytes a pair takes.
	pairCost = 24
)

// place returns the first place of a pair in the slots.
func (l *level) place(p pair) uint64 {
	h := (uint64(p.before)<<32 | uint64(p.key)) * 0x9e3779b97f4a7c15
	return (h ^ h>>32) & uint64(len(l.slots)-1)
}

func (l *level) number(p pair) uint32 {
	if len(l.pairs) >= len(l.slots)/2 {
		l.slots = make([]uint32, max(2*len(l.slots), 16))
		for n, p := range l.pairs {
			i := l.place(p)
			for l.slots[i] != 0 {
				i = (i + 1) & uint64(len(l.slots)-1)
			}
			l.slots[i] = uint32(n) + 1
		}
	}
	i := l.place(p)
	for ; l.slots[i] != 0; i = (i + 1) & uint64(len(l.slots)-1) {
		if n := l.slots[i] - 1; l.pairs[n] == p {
			return n
		}
	}
	n := uint32(len(l.pairs))
	l.slots[i] = n + 1
	l.pairs = append(l.pairs, p)
	return n
}

// join replaces the numbers of groups by those of the pairs of them and keys. There are before groups, and keys keys.
func (l *level) join(groups, numbers []uint32, before, keys int) {
	if before*keys > maxFlat {
		last, number := pair{unknown, unknown}, uint32(0)
		for i, key := range numbers {
			if p := (pair{groups[i], key}); p != last {
				last, number = p, l.number(p)
			}
			groups[i] = number
		}
		return
	}
	size := before * keys
	l.flat = slices.Grow(l.flat[:0], size)[:size]
	clear(l.flat)
	for i, key := range numbers {
		at := int(groups[i])*keys + int(key)
		n := l.flat[at]
		if n == 0 {
			n = l.number(pair{groups[i], key}) + 1
			l.flat[at] = n
		}
		groups[i] = n - 1
	}
}

// scratch is memory for the numbers of one chunk's rows.
type scratch struct {
	numbers, groups, repeat, rows []uint32
}

// class returns a number without its last two digits, rounded down.
func class(n int64) int64 {
	if n%100 < 0 {
		return n/100 - 1
	}
	return n / 100
}
