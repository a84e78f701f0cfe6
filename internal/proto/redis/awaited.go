package redis

import "unsafe"

// awaited holds what must be known of commands when their replies come, and counts both.
type awaited struct {
	// asked and answered count the commands that get a reply, and the replies.
	asked, answered uint64
	// entries[first:] are those of the commands that matter, in their order.
	entries []entry
	first   int
	// unsure: messages may have gone unseen, so counting tells nothing.
	unsure bool
}

// entry is what matters of a command, or of several in a row.
type entry struct {
	// number is that of the command, from 0, and n how many there are of them, or how many replies it gets, 0: one at least.
	number, n uint64
	effect    effect
	// database is the one to go back to when the command fails, if it is still the one selected.
	database, selected int32
	// named: the command says who logs in.
	named bool
	// kind is the kind of a subscription; ends: the command ends it.
	kind uint8
	ends bool
}

const entrySize = int(unsafe.Sizeof(entry{}))

// size is what is kept, in bytes.
func (a *awaited) size() int { return (len(a.entries) - a.first) * entrySize }

// waiting is how many commands have no reply yet.
func (a *awaited) waiting() uint64 { return a.asked - a.answered }

// add notes the command that is asked next.
func (a *awaited) add(e entry) {
	e.number = a.asked
	if len(a.entries) == cap(a.entries) && a.first > 0 {
		n := copy(a.entries, a.entries[a.first:])
		a.entries, a.first = a.entries[:n], 0
	}
	a.entries = append(a.entries, e)
}

// unpaired notes that the reply to the next command belongs to nothing.
func (a *awaited) unpaired() {
	if n := len(a.entries); n > a.first {
		if e := &a.entries[n-1]; e.effect == unpaired && e.number+e.n == a.asked {
			e.n++
			return
		}
	}
	a.add(entry{effect: unpaired, n: 1})
}

// next returns what matters of the command that the next reply answers, nil when nothing does. When replies can't be counted it
// is the first that matters at all.
func (a *awaited) next() *entry {
	if a.first == len(a.entries) {
		return nil
	}
	e := &a.entries[a.first]
	if !a.unsure && (a.answered < e.number || e.effect == unpaired && a.answered >= e.number+e.n) {
		return nil
	}
	return e
}

// answer counts a reply, and lets go of what mattered of its command.
func (a *awaited) answer() {
	e := a.next()
	if a.answered < a.asked {
		a.answered++
	}
	if e == nil || a.unsure || e.effect == unpaired && a.answered < e.number+e.n {
		return
	}
	a.drop()
}

// drop lets go of the first entry.
func (a *awaited) drop() {
	if a.first++; a.first == len(a.entries) {
		a.entries, a.first = a.entries[:0], 0
	}
}

// lost gives up counting.
func (a *awaited) lost() {
	a.clear()
	a.unsure = true
}

func (a *awaited) clear() {
	if cap(a.entries)*entrySize > keepCapacity {
		a.entries = nil
	}
	a.entries, a.first = a.entries[:0], 0
}
