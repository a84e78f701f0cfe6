package timing

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

// FuzzLinker: whatever the events, each call is decided once, with a request of its own tap that began before it and hadn't
// ended, or with none; nothing is held in the end, no more than allowed before, and the same events give the same links.
func FuzzLinker(f *testing.F) {
	f.Add([]byte{})
	one := []byte{1, 0, 0, 10, 0, 0, 200, 0, 0, 0, 0, 30, 0, 0, 40, 0}
	f.Add(slices.Repeat(one, 40))
	var many []byte
	for i := range byte(120) {
		many = append(many, i%3, i%5, i%2, i, i, 0, i*7, i%4)
	}
	f.Add(many)
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 8*400)]
		const most = 64
		run := func() []Link {
			var links []Link
			events := map[uint64]Event{}
			known := map[uint64]bool{}
			decided := map[uint64]bool{}
			l := New(Options{Delay: 40 * time.Microsecond, WarmUp: 100 * time.Microsecond, MaxSpans: most}, func(k Link) {
				c, ok := events[k.Child]
				if !ok || c.In || decided[k.Child] {
					t.Fatalf("%+v was not to be decided", k)
				}
				if k.Confidence < 0 || k.Confidence > 1 {
					t.Fatalf("confidence %v", k.Confidence)
				}
				if p := events[k.Parent]; k.Parent != 0 && (!p.In || p.Tap != c.Tap || p.Start > c.Start || p.End < c.Start) {
					t.Fatalf("call %+v is given to %+v", c, p)
				}
				decided[k.Child] = true
				links = append(links, k)
			})
			at, id := int64(0), uint64(0)
			for d := data; len(d) >= 8; d = d[8:] {
				id++
				start := at + int64(int16(binary.LittleEndian.Uint16(d[3:])))*500
				length := int64(binary.LittleEndian.Uint16(d[5:])) * 700
				if d[7]&1 != 0 {
					length <<= 40
				}
				e := Event{ID: id, Tap: uint32(d[0] >> 7), Op: uint32(d[1] % 2), Peer: uint32(d[2] % 3), In: d[0]&1 != 0,
					Start: start, End: start + length}
				events[id] = e
				if !e.In && d[7]&2 != 0 {
					known[id] = true
				}
				l.Add(e)
				if known[id] {
					l.Known(id, id/2)
				}
				if d[7]&4 != 0 {
					at = start
					l.Advance(at)
				}
				if held := l.Stats().Held; held > most {
					t.Fatalf("%d are held", held)
				}
			}
			l.Flush()
			for id, e := range events {
				if !e.In && decided[id] == known[id] {
					t.Fatalf("call %d: known %v, decided %v", id, known[id], decided[id])
				}
			}
			if held := l.Stats().Held; held != 0 {
				t.Fatalf("%d are held in the end", held)
			}
			return links
		}
		if a, b := run(), run(); !slices.Equal(a, b) {
			t.Fatalf("%v, then %v", a, b)
		}
	})
}
