package enrich

// recent is a map of what was used recently: of at most twice as many entries as a generation has. When the young
// generation is full it becomes the old one, and what wasn't used since the last time is forgotten. Unlike
// a list in order of use, it costs nothing but the map.
type recent[K comparable, V any] struct {
	// size is how many entries a generation has.
	size       int
	young, old map[K]V
	// forgotten counts the entries that went for new ones, used again or not.
	forgotten uint64
}

func newRecent[K comparable, V any](size int) recent[K, V] {
	return recent[K, V]{size: size, young: map[K]V{}, old: map[K]V{}}
}

func (r *recent[K, V]) get(k K) (v V, ok bool) {
	if v, ok = r.young[k]; ok {
		return v, true
	}
	if v, ok = r.old[k]; ok {
		r.put(k, v)
	}
	return v, ok
}

// text is get for texts that are at hand as bytes. It allocates only once a generation.
func text[V any](r *recent[string, V], k []byte) (v V, ok bool) {
	if v, ok = r.young[string(k)]; ok {
		return v, true
	}
	if v, ok = r.old[string(k)]; ok {
		r.put(string(k), v)
	}
	return v, ok
}

func (r *recent[K, V]) put(k K, v V) {
	if len(r.young) >= r.size {
		r.forgotten += uint64(len(r.old))
		r.young, r.old = r.old, r.young
		clear(r.young)
	}
	r.young[k] = v
}

func (r *recent[K, V]) len() int { return len(r.young) + len(r.old) }

func (r *recent[K, V]) reset() {
	clear(r.young)
	clear(r.old)
}
