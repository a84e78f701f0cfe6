package compare

// sample keeps values: all of them while they are few, and later those of the exchanges with the lowest priorities, which are as good as drawn by lot, whatever
// the order in which they come.
type sample struct {
	values []one
	// below: what has no lower priority isn't kept any more; 0: all is kept. seen counts all values.
	below uint64
	seen  int64
}

// one is a value of a sample.
type one struct {
	value, order int64
	priority     uint64
	weight       uint32
}

// add adds a value, and returns by how many values the sample has grown or, negative, shrunk.
func (s *sample) add(v one, limit int) (grown int) {
	s.seen++
	if s.below != 0 && v.priority >= s.below {
		return 0
	}
	before := len(s.values)
	s.values = append(s.values, v)
	s.cut(limit)
	return len(s.values) - before
}

// cut leaves at most limit values.
func (s *sample) cut(limit int) {
	for len(s.values) > limit {
		switch {
		case s.below == 0:
			s.below = 1 << 63
		case s.below > 1:
			s.below /= 2
		default: // one id over and over, which nobody gives but to do harm
			s.values = s.values[:limit]
			return
		}
		kept := s.values[:0]
		for _, v := range s.values {
			if v.priority < s.below {
				kept = append(kept, v)
			}
		}
		s.values = append(make([]one, 0, len(kept)+len(kept)/4), kept...)
	}
}

// sampled reports whether values are missing.
func (s *sample) sampled() bool { return s.below != 0 }

// all returns the values for tests.
func (s *sample) all() []Value {
	out := make([]Value, len(s.values))
	for i, v := range s.values {
		out[i] = Value{float64(v.value), float64(v.weight), v.order}
	}
	return out
}
