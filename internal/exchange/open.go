package exchange

import "iter"

// maxFew is how many streams are looked through one after the other, before a map is worth its memory.
const maxFew = 8

// open holds the exchanges of a connection that aren't finished, by stream. As most connections have few at a time, and there may be very
// many connections, it is a list as long as it is short.
type open struct {
	few []numbered
	// many holds all once there were more than maxFew, until there are none.
	many map[uint64]*Exchange
}

type numbered struct {
	stream uint64
	x      *Exchange
}

// get returns the exchange of a stream, nil when there is none.
func (o *open) get(stream uint64) *Exchange {
	if len(o.many) > 0 {
		return o.many[stream]
	}
	for i := range o.few {
		if n := &o.few[i]; n.stream == stream {
			return n.x
		}
	}
	return nil
}

// add adds the exchange of a stream that has none.
func (o *open) add(stream uint64, x *Exchange) {
	switch {
	case len(o.many) > 0:
		o.many[stream] = x
		return
	case len(o.few) < maxFew:
		o.few = append(o.few, numbered{stream, x})
		return
	case o.many == nil:
		o.many = make(map[uint64]*Exchange, 2*maxFew)
	}
	for _, n := range o.few {
		o.many[n.stream] = n.x
	}
	o.many[stream] = x
	clear(o.few)
	o.few = o.few[:0]
}

// remove removes the exchange of a stream.
func (o *open) remove(stream uint64) {
	if len(o.many) > 0 {
		delete(o.many, stream)
		return
	}
	for i := range o.few {
		if o.few[i].stream == stream {
			last := len(o.few) - 1
			o.few[i], o.few[last] = o.few[last], numbered{}
			o.few = o.few[:last]
			return
		}
	}
}

// len returns how many there are.
func (o *open) len() int { return len(o.few) + len(o.many) }

// all returns the exchanges, in any order.
func (o *open) all() iter.Seq[*Exchange] {
	return func(yield func(*Exchange) bool) {
		for _, n := range o.few {
			if !yield(n.x) {
				return
			}
		}
		for _, x := range o.many {
			if !yield(x) {
				return
			}
		}
	}
}

// reset empties it and keeps its memory.
func (o *open) reset() {
	clear(o.few)
	o.few = o.few[:0]
	clear(o.many)
}
