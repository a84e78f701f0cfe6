package firehose

import "math"

// half is one direction of a conversation.
type half struct {
	uuid UUID
	dir  Dir
}

// maxKnown is how many halves are known at least; of those that nothing was heard of for longest, up to as many again.
const maxKnown = 1 << 15

// ended is the place that nothing can follow.
const ended = math.MaxUint64

// known knows which halves there are, and which place their next fragment has. Bytes that look like a fragment and go on with one of them
// are one: nobody who makes data for the server to carry knows its UUIDs, and a copy of an earlier recording doesn't go on.
type known struct {
	// recent has what was heard of lately, earlier what was heard of before.
	recent, earlier map[half]uint64
	// last and next are the entry that was used last, which isn't in the maps yet if dirty: mostly it is the one used next.
	last  half
	next  uint64
	dirty bool
}

// take takes a fragment.
func (k *known) take(h *header) {
	key := half{h.uuid, h.dir}
	if key != k.last || !k.dirty {
		k.put()
		k.last, k.dirty = key, true
	}
	k.next = h.count + 1
	if h.length == 0 {
		k.next = ended
	}
}

// put puts the last entry into the maps.
func (k *known) put() {
	if !k.dirty {
		return
	}
	if len(k.recent) >= maxKnown {
		k.recent, k.earlier = k.earlier, k.recent
		clear(k.recent)
	}
	if k.recent == nil {
		k.recent = map[half]uint64{}
	}
	k.recent[k.last], k.dirty = k.next, false
}

// continues reports whether a header goes on with a half that is known, or is the first of the other half of one.
func (k *known) continues(h *header) bool {
	k.put()
	if next, found := k.find(half{h.uuid, h.dir}); found {
		return h.count >= next && next != ended
	}
	_, found := k.find(half{h.uuid, Request + Response - h.dir})
	return found
}

func (k *known) find(key half) (next uint64, found bool) {
	if next, found = k.recent[key]; !found {
		next, found = k.earlier[key]
	}
	return next, found
}
