package ship

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// The model that both queues follow is tested in package spool.

// A queue in memory is bounded by what it holds, also by what is being delivered, and counts what gave way.
func TestMemoryBounds(t *testing.T) {
	const size = 1000
	frame := bytes.Repeat([]byte{1}, size-frameCost)
	q := Memory(4 * size)
	for range 6 {
		if err := q.Append(frame, 2); err != nil {
			t.Fatal(err)
		}
	}
	if s := q.Stats(); s.Dropped != 4 || s.Waiting != 8 || s.Bytes != s.Limit {
		t.Errorf("%+v", s)
	}
	c, err := q.Next(t.Context(), 3*len(frame))
	if err != nil || len(c.Frames) != 3 || c.Events != 6 {
		t.Fatalf("%+v, %v", c, err)
	}
	if s := q.Stats(); s.Waiting != 8 || s.Bytes != s.Limit {
		t.Errorf("taken: %+v", s)
	}
	if err := q.Append(frame, 2); err != nil { // the one that wasn't taken gives way
		t.Error(err)
	}
	if err := q.Append(bytes.Repeat(frame, 2), 2); !errors.Is(err, ErrQueueFull) {
		t.Error("beside chunks that fill it:", err)
	}
	if s := q.Stats(); s.Dropped != 6 || s.Waiting != 8 {
		t.Errorf("%+v", s)
	}
	frame[0] = 2 // Append has borrowed it
	q.Done(c)
	if s := q.Stats(); s.Waiting != 2 || s.Bytes != size {
		t.Errorf("done: %+v", s)
	}
	if c, err = q.Next(t.Context(), 1); err != nil || c.Frames[0][0] != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	if s := q.Stats(); s.Dropped != 8 || s.Waiting != 0 || s.Bytes != 0 {
		t.Errorf("closed: %+v", s)
	}
}

// Many small frames take more than their bytes.
func TestMemorySmallFrames(t *testing.T) {
	q := Memory(100 * (frameCost + 1))
	for range 1000 {
		if err := q.Append([]byte{1}, 1); err != nil {
			t.Fatal(err)
		}
	}
	if s := q.Stats(); s.Waiting != 100 || s.Dropped != 900 {
		t.Errorf("%+v", s)
	}
	q.CloseAppend()
	c, err := q.Next(t.Context(), 1000)
	if err != nil || c.Events != 100 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := q.Next(t.Context(), 1000); err != io.EOF {
		t.Error(err)
	}
	for _, frame := range [][]byte{nil, {1}} {
		if err := Memory(0).Append(frame, 1-len(frame)); err == nil {
			t.Error("a frame without bytes or events is taken")
		}
	}
}
