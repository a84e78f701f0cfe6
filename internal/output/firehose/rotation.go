package firehose

import (
	"fmt"
	"time"
)

// Volume is what one file of a recording consists of: the fragments, the list of their connections, and the manifest with the digests
// of both. The latter two may be missing, and without Options.Digests there is nothing in the last.
type Volume struct{ Data, List, Manifest File }

// rotation is which files are used in turn. A file ends at a border of connections: new ones go to another, and those that are in it
// stay to their end. Then it is complete.
//
//	free --new connections--> current --size, time--> ending --the last connection ends--> complete --its turn again--> current
type rotation struct {
	volumes []*volume
	names   []Volume
	current int
	// used: there was something in it; began is when the first connection of the current one did.
	used  []bool
	begun bool
	began int64
	// manifests are those that are to be written, by volume.
	manifests []tail
}

// NewFiles returns an Output that records in files: one, or several in turn. They stay the caller's to close.
func NewFiles(all []Volume, options Options) *Output {
	o := newOutput(options)
	r := &o.rotate
	r.names = all
	r.used = make([]bool, len(all))
	r.manifests = make([]tail, len(all))
	for i, f := range all {
		v := &volume{out: o, file: newTail(f.Data, options.Digests)}
		r.volumes = append(r.volumes, v)
		p := &place{sink: v, list: newList(o, f.List)}
		o.places = append(o.places, p)
		if f.Manifest != nil && options.Digests {
			r.manifests[i] = newTail(f.Manifest, false)
			p.done = func() error {
				if i == r.current {
					return nil
				}
				return o.complete(i)
			}
		}
	}
	return o
}

// placeAt returns where a connection is recorded that begins at a time in nanoseconds since 1970.
func (o *Output) placeAt(at int64) (*place, error) {
	r := &o.rotate
	if len(r.volumes) == 0 {
		return o.places[0], nil
	}
	if r.due(at, &o.o) {
		if err := o.turn(); err != nil {
			return nil, err
		}
	}
	if !r.begun {
		r.begun, r.began = true, at
	}
	r.used[r.current] = true
	return o.places[r.current], nil
}

// due reports whether the current file is to end before a connection that begins at a time.
func (r *rotation) due(at int64, o *Options) bool {
	return o.RotateSize > 0 && r.volumes[r.current].file.size >= o.RotateSize ||
		o.RotateEvery > 0 && r.begun && at-r.began >= int64(o.RotateEvery/time.Nanosecond)
}

// turn goes to the next file in which no connection is open. If there is none, the current one goes on.
func (o *Output) turn() error {
	r := &o.rotate
	for i := 1; i <= len(r.volumes); i++ {
		next := (r.current + i) % len(r.volumes)
		if o.places[next].connections > 0 || len(r.volumes[next].owed) > 0 {
			continue
		}
		old := r.current
		r.current, r.begun = next, false
		if next != old && o.places[old].connections == 0 && o.places[old].done != nil {
			if err := o.places[old].done(); err != nil {
				return err
			}
		}
		if !r.used[next] {
			return nil
		}
		if err := r.volumes[next].file.restart(); err != nil {
			return err
		}
		return o.places[next].list.restart()
	}
	o.stats.Late++
	return nil
}

// complete writes the manifest of a file that nothing more comes to.
func (o *Output) complete(i int) error {
	r := &o.rotate
	m := &r.manifests[i]
	if m.file == nil {
		return nil
	}
	text := manifestLine(&r.volumes[i].file)
	if l := &o.places[i].list.file; l.file != nil {
		text += manifestLine(l)
	}
	if err := m.restart(); err != nil {
		return fmt.Errorf("the manifest: %w", err)
	}
	if err := m.write([]byte(text)); err != nil {
		return fmt.Errorf("the manifest: %w", err)
	}
	return nil
}

// close writes the manifests of all files, those that weren't used among them.
func (r *rotation) close(o *Output) (first error) {
	for i := range r.volumes {
		if err := o.complete(i); first == nil {
			first = err
		}
	}
	return first
}
