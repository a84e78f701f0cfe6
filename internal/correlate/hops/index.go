package hops

// index finds spans by what they carry. An entry is removed in constant time, however many have the same key.
//
//	buckets: key -> entry <-> entry <-> ...   the newest first
type index struct {
	buckets []*entry
	len     int
	spare   *entry
}

// entry is a span under one of its keys.
type entry struct {
	key        key
	span       *Span
	next, prev *entry
}

// minBuckets is how many buckets there are at first; a power of two.
const minBuckets = 1 << 10

func (x *index) add(k key, s *Span) *entry {
	if x.len >= len(x.buckets) {
		x.grow()
	}
	e := x.spare
	if e == nil {
		e = &entry{}
	} else {
		x.spare = e.next
	}
	*e = entry{key: k, span: s}
	x.put(e)
	x.len++
	return e
}

func (x *index) put(e *entry) {
	b := &x.buckets[uint64(e.key)&uint64(len(x.buckets)-1)]
	e.next, e.prev = *b, nil
	if *b != nil {
		(*b).prev = e
	}
	*b = e
}

func (x *index) grow() {
	old := x.buckets
	x.buckets = make([]*entry, max(minBuckets, 2*len(old)))
	for _, first := range old {
		// The oldest first, so that the newest are in front again.
		last := first
		for last != nil && last.next != nil {
			last = last.next
		}
		for e := last; e != nil; {
			prev := e.prev
			x.put(e)
			e = prev
		}
	}
}

// remove takes an entry out, which is used again.
func (x *index) remove(e *entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		x.buckets[uint64(e.key)&uint64(len(x.buckets)-1)] = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	*e = entry{next: x.spare}
	x.spare = e
	x.len--
}

// each calls f for the spans of a key, the newest first, until f returns false, and at most limit times. whole: there weren't more.
func (x *index) each(k key, limit int, f func(s *Span) bool) (whole bool) {
	if len(x.buckets) == 0 {
		return true
	}
	for e := x.buckets[uint64(k)&uint64(len(x.buckets)-1)]; e != nil; e = e.next {
		if e.key != k {
			continue
		}
		if limit == 0 {
			return false
		}
		limit--
		if !f(e.span) {
			return true
		}
	}
	return true
}
