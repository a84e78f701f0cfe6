package ship

// Invariant of FuzzFrame: whatever the bytes, events come out as long as they are whole, and each of them is made into the
// same event again.

import (
	"bytes"
	"reflect"
	"testing"
)

func events() []Event {
	return []Event{
		{Kind: Exchange, ID: [16]byte{1, 2, 15: 3}, Time: -5, Weight: 1, Key: []byte("1:abc"), Body: []byte(`{"a":1}`)},
		{Kind: Rollup, Time: 1 << 62, Weight: 1<<32 - 1, Key: []byte{}, Body: bytes.Repeat([]byte{7}, 300)},
	}
}

func frameOf(events []Event) (frame []byte) {
	for i := range events {
		frame, _ = appendEvent(frame, &events[i], string(events[i].Key), func(dst []byte) []byte { return append(dst, events[i].Body...) })
	}
	return frame
}

func TestFrame(t *testing.T) {
	want := events()
	frame := frameOf(want)
	got, err := appendEvents(nil, frame)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if same, added := appendEvent(frame, &want[0], "k", func(dst []byte) []byte { return dst }); added || !bytes.Equal(same, frame) {
		t.Error("an event without a body was added")
	}
	for n := range len(frame) {
		got, err := appendEvents(nil, frame[:n])
		if whole := n == 0 || len(got) == 1 && err == nil; !whole && err == nil {
			t.Errorf("%d bytes of a frame are one with %d events", n, len(got))
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(frameOf(events()))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _ := appendEvents(nil, b)
		again, err := appendEvents(nil, frameOf(got))
		if err != nil || len(again) != len(got) || len(got) > 0 && !reflect.DeepEqual(again, got) {
			t.Errorf("%+v became %+v, %v", got, again, err)
		}
	})
}
