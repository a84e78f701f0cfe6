package firehose

import "io"

// NewPipe returns an Output that writes to somebody who reads, and waits for them. list may be nil.
func NewPipe(w io.Writer, list File, options Options) *Output {
	o := newOutput(options)
	o.places = []*place{{sink: &direct{out: o, w: w}, list: newList(o, list)}}
	return o
}

// direct is a sink that writes each fragment at once, and waits until that is done.
type direct struct {
	out *Output
	w   io.Writer
}

func (d *direct) reserve() bool { return true }
func (d *direct) flush() error  { return nil }
func (d *direct) close() error  { return nil }

func (d *direct) put(e entry) error {
	if _, err := d.w.Write(e.text); err != nil {
		return err
	}
	return d.out.settle(&e, true)
}

// Fate is what has become of a fragment that was to be written without waiting.
type Fate uint8

// The fates.
const (
	// Taken: it was written, as a whole.
	Taken Fate = iota
	// Full: nothing of it was, since there is no room in the pipe.
	Full
	// Gone: nothing of it was, since nobody reads.
	Gone
)

// Pipe is a pipe that is written to without waiting. What it is given fits into a pipe at once (PIPE_BUF), so it takes all or nothing.
type Pipe interface {
	// Try writes b if it can do so at once. An error is none of those that a Fate stands for.
	Try(b []byte) (Fate, error)
	// Wait writes b, and waits for room a while: it returns Full when there was none until the end of the program's patience.
	Wait(b []byte) (Fate, error)
}

// NewQueue returns an Output that doesn't wait for who reads: what they don't take waits, at most size bytes, and what has no place in
// there is dropped. There is always room for the end marks of the streams that have begun. list may be nil; read: somebody reads now.
func NewQueue(p Pipe, list File, size int, read bool, options Options) *Output {
	o := newOutput(options)
	o.places = []*place{{sink: &queue{out: o, pipe: p, limit: size, gone: !read}, list: newList(o, list)}}
	return o
}

// MinQueue is the least size of a queue, in bytes.
const MinQueue = 64 << 10

// endSize is the room for an end mark: three numbers of 16 digits at most, a UUID, a direction, and what is between them.
const endSize = 3*16 + 36 + 7

// queue is a sink that drops what nobody takes.
type queue struct {
	out   *Output
	pipe  Pipe
	limit int
	// used are the bytes of entries, reserved those for the end marks of streams that are open: together at most limit.
	used, reserved int
	entries        []entry
	// gone: nobody reads, and the user knows.
	gone bool
}

// reserve implements sink.
func (q *queue) reserve() bool {
	if q.used+q.reserved+endSize > q.limit {
		return false
	}
	q.reserved += endSize
	return true
}

// put implements sink.
func (q *queue) put(e entry) error {
	if e.end {
		q.reserved -= endSize
	}
	if err := q.flush(); err != nil {
		return err
	}
	if len(q.entries) == 0 {
		if done, err := q.try(&e, q.pipe.Try); done || err != nil {
			return err
		}
	}
	if !e.end && q.used+q.reserved+len(e.text) > q.limit {
		return q.out.settle(&e, false)
	}
	e.text = append([]byte(nil), e.text...)
	q.used += len(e.text)
	q.entries = append(q.entries, e)
	return nil
}

// try writes an entry, or drops it when nobody reads, and reports whether it is done with.
func (q *queue) try(e *entry, write func([]byte) (Fate, error)) (done bool, err error) {
	fate, err := write(e.text)
	switch {
	case err != nil:
		return false, err
	case fate == Full:
		return false, nil
	case fate == Gone && !q.gone:
		q.gone = true
		q.out.tell("whoever read the firehose stream has gone: what comes is dropped until somebody reads again")
	case fate == Taken && q.gone:
		q.gone = false
		q.out.tell("somebody reads the firehose stream: what comes from now on is written")
	}
	if e.end && fate == Gone {
		q.out.stats.LostEnds++
	}
	return true, q.out.settle(e, fate == Taken)
}

// flush implements sink. It writes what there is room for.
func (q *queue) flush() error { return q.drain(q.pipe.Try) }

func (q *queue) drain(write func([]byte) (Fate, error)) error {
	n := 0
	defer func() {
		clear(q.entries[:n])
		if q.entries = q.entries[n:]; len(q.entries) == 0 {
			q.entries = nil
		}
	}()
	for n < len(q.entries) {
		e := &q.entries[n]
		done, err := q.try(e, write)
		if !done {
			return err
		}
		q.used -= len(e.text)
		n++
		if err != nil {
			return err
		}
	}
	return nil
}

// close implements sink. It waits a while for who reads.
func (q *queue) close() error {
	err := q.drain(q.pipe.Wait)
	for i := range q.entries {
		e := &q.entries[i]
		if e.end {
			q.out.stats.LostEnds++
		}
		if e := q.out.settle(e, false); err == nil {
			err = e
		}
	}
	q.entries, q.used = nil, 0
	return err
}
