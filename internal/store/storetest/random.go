package storetest

// random makes numbers from a seed: the same ones on every machine, with every version of Go (SplitMix64).
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// n returns a number from 0 to n-1.
func (r *random) n(n int) int { return int(r.next() % uint64(n)) }

// in reports true once in n times.
func (r *random) in(n int) bool { return r.n(n) == 0 }

// up returns a number from 0 to max; all magnitudes are about as frequent.
func (r *random) up(max int64) int64 { return max >> r.n(40) * int64(r.n(1024)) / 1024 }

// pick returns one of the values, the first ones more often than the last.
func pick[T any](r *random, values ...T) T { return values[r.n(r.n(len(values))+1)] }
