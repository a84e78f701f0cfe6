package http2

import "github.com/culprit-http/culprit/internal/proto"

// Bounds of the dynamic table.
const (
	// entryCost is what an entry counts beside its name and value (RFC 7541 §4.1).
	entryCost = 32
	// startSize is the size that a table has at first (RFC 9113 §6.5.2).
	startSize = 4096
	// maxTable is the largest table that is kept. Encoders that are allowed more and use it have their older entries shown as unknown.
	maxTable = 64 << 10
)

// facts are what is known of a field beside its text, found once however often a table is asked for it.
type facts struct {
	odd proto.Anomalies
	// flags tell whether the name isn't known.
	flags proto.FieldFlags
}

// entry is an entry of a dynamic table. Its name and value lie one after the other in the table's data.
type entry struct {
	off, name, value int
	facts
}

// table is the dynamic table of one direction (RFC 7541 §2.3.2), as far as it is known.
//
// Entries are added at one end and go at the other, and an index counts from the newest. So the newest entries are known by
// their index even when those before them were missed: an entry goes only after all that are older, and a sender doesn't
// refer to one that has gone. What is left open is which older entries there are, and that ends when those that are known
// fill the table.
//
// The size of an entry whose name isn't known is taken to be the least that it can be, and the size of a table that isn't
// known the largest: what is kept too long is never asked for, and what is let go too early can only be shown as unknown.
type table struct {
	data    []byte
	entries []entry
	// dead is how many entries have gone, that still are at the beginning of entries.
	dead int
	// size is the size of the entries, as the specification counts.
	size int
	// max is the size that the sender fills, valid iff certain. allowed is the largest that the receiver has allowed, 0 when it isn't known.
	max     int
	certain bool
	allowed int
	// older: there may be entries older than those that are kept.
	older bool
}

// reset makes the table that a connection begins with.
func (t *table) reset() {
	t.clear()
	t.max, t.certain, t.allowed, t.older = startSize, true, startSize, false
}

// forget notes that entries may have been added that weren't seen.
func (t *table) forget() {
	t.clear()
	t.certain, t.older = false, true
}

func (t *table) clear() { t.data, t.entries, t.dead, t.size = t.data[:0], t.entries[:0], 0, 0 }

// len returns the number of entries that are known.
func (t *table) len() int { return len(t.entries) - t.dead }

// limit returns the size beyond which entries go, and whether it is the sender's own.
func (t *table) limit() (size int, own bool) {
	if t.certain && t.max <= maxTable {
		return t.max, true
	}
	return maxTable, false
}

// resize takes a dynamic table size update (RFC 7541 §6.3).
func (t *table) resize(n int) {
	t.max, t.certain = n, true
	if n == 0 {
		t.older = false
	}
	t.evict()
}

// evict lets go of the oldest entries until the rest fits.
func (t *table) evict() {
	limit, own := t.limit()
	for t.size > limit {
		e := &t.entries[t.dead]
		t.size -= e.size()
		t.dead++
		t.older = !own
	}
	// What has gone is moved out of the way when it is the larger part.
	if t.dead > 32 && t.dead*2 > len(t.entries) {
		base := len(t.data)
		if t.len() > 0 {
			base = t.entries[t.dead].off
		}
		t.data = t.data[:copy(t.data, t.data[base:])]
		t.entries = t.entries[:copy(t.entries, t.entries[t.dead:])]
		t.dead = 0
		for i := range t.entries {
			t.entries[i].off -= base
		}
	}
}

func (e *entry) size() int {
	if e.flags&proto.Obscure != 0 {
		return e.value + entryCost
	}
	return e.name + e.value + entryCost
}

// add adds the newest entry (RFC 7541 §4.4). The field may be of the table itself.
func (t *table) add(f *field) {
	e := entry{name: len(f.name), value: len(f.value), facts: f.facts}
	if limit, own := t.limit(); e.size() > limit {
		t.clear()
		t.older = !own
		return
	}
	e.off = len(t.data)
	t.data = append(append(t.data, f.name...), f.value...)
	t.entries = append(t.entries, e)
	t.size += e.size()
	t.evict()
}

// unknown is what is shown of a field that can't be known.
var unknown = field{name: []byte{'?'}, value: []byte{'?'}, facts: facts{flags: proto.Obscure}}

// at returns the field of an index (RFC 7541 §2.3.3), which is borrowed until the next change; false when there is none.
func (t *table) at(i uint64) (field, bool) {
	if i == 0 {
		return field{}, false
	}
	if i < uint64(len(staticTable)) {
		return staticTable[i], true
	}
	i -= uint64(len(staticTable))
	if i < uint64(t.len()) {
		e := &t.entries[len(t.entries)-1-int(i)]
		b := t.data[e.off:]
		return field{name: b[:e.name:e.name], value: b[e.name : e.name+e.value], facts: e.facts}, true
	}
	if !t.older || t.certain && i >= uint64(t.max)/entryCost {
		return field{}, false
	}
	return unknown, true
}

// cost is what the table keeps, in bytes.
func (t *table) cost() int { return len(t.data) + len(t.entries)*entryCost }
