package packets

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/output/pcapng"
)

// RawWarning is what a user is to be told once when packets are kept.
const RawWarning = "packets are kept as they were captured: secrets in them aren't redacted"

// The defaults of Options.
const (
	DefaultMemory      = 64 << 20
	DefaultIndexMemory = 64 << 20
	DefaultFlushEvery  = time.Second
)

const (
	// MinLimit is the least that a ring may hold, in bytes.
	MinLimit = 1 << 20
	// A file takes one of fileShare parts of the limit, within bounds: many small files are slow to look through, and
	// with a large one much goes at once.
	fileShare   = 64
	minFileSize = 16 << 20
	maxFileSize = 1 << 30
	// burstShare is which part of the limit one side of a connection may send in one go.
	burstShare = 16
	// bufferSize is how much is written at a time, in bytes.
	bufferSize = 256 << 10
	minMemory  = 4 * bufferSize
)

// Options say how much is kept.
type Options struct {
	// Limit is how many bytes the files and their indexes may have together; at least MinLimit.
	Limit int64
	// FileSize is how many bytes a file gets; 0: a 64th of Limit, but 16 MiB to 1 GiB, and at most a quarter of it.
	FileSize int64
	// Burst is how many bytes of payload of one side of a connection are kept until the other side sends some, so
	// that a large transfer doesn't push out everything else; 0: a 16th of Limit, negative: any number.
	Burst int64
	// Memory bounds the packets that wait to be written, IndexMemory what is known of the packets of the newest
	// file until it is indexed, both in bytes; 0: the defaults. A file ends early when its index needs more.
	Memory, IndexMemory int
	// FlushEvery is how long a packet waits to be written at most; 0: DefaultFlushEvery, negative: until Flush.
	FlushEvery time.Duration
	// Application, Hardware and OS name the program and the machine in the files; empty: left out.
	Application, Hardware, OS string
}

// fill puts the defaults in.
func (o *Options) fill() {
	if o.FileSize == 0 {
		o.FileSize = min(max(minFileSize, min(o.Limit/fileShare, maxFileSize)), o.Limit/4)
	}
	o.FileSize = min(o.FileSize, maxFileSize)
	if o.Burst == 0 {
		o.Burst = o.Limit / burstShare
	}
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	o.Memory = max(o.Memory, minMemory)
	if o.IndexMemory == 0 {
		o.IndexMemory = DefaultIndexMemory
	}
	if o.FlushEvery == 0 {
		o.FlushEvery = DefaultFlushEvery
	}
}

// Counters count what became of packets. After Close, Received is Written + Other + Cut + Dropped + Failed.
type Counters struct {
	// Received packets were given to keepers; Written ones came to files, of which Deleted are gone since.
	Received, Written, Deleted uint64
	// Other packets can't belong to an exchange: neither of TCP, UDP or SCTP nor an error about one, or fragments of no whole datagram. Cut ones
	// were beyond Options.Burst.
	Other, Cut uint64
	// Dropped packets came faster than they could be written, or from too many interfaces. Failed ones couldn't be
	// written.
	Dropped, Failed uint64
	// Files and Bytes are what the ring holds now, Oldest is the time of the oldest packet in it in nanoseconds
	// since 1970, 0 when it is empty.
	Files  int
	Bytes  int64
	Oldest int64
}

// Ring is a folder of kept packets, and the one who writes it. All methods may be called at any time from any
// goroutine; Close comes after the last call of a keeper.
type Ring struct {
	options Options
	files   writer
	done    chan struct{} // the writer's goroutine has ended
	stop    chan struct{} // closed to end the other one

	mu sync.Mutex
	// work tells the writer that there is something to do; space tells others that it has done something.
	work, space sync.Cond
	current     *buffer   // being filled, or nil
	queue       []*buffer // full
	spare       []*buffer
	memory      int    // that buffers in use take
	given, gone uint64 // buffers that were given to the writer, and that it is done with
	before      int64  // what is older is to be deleted; 0: nothing
	closed      bool
	err         error
	count       Counters
	ifaces      []iface
	bursts      [burstSlots]burst
}

// buffer is a part of a file, made of whole packet blocks. Offsets in entries are relative to it.
type buffer struct {
	data    []byte
	entries []entry
}

// Open opens a folder for writing, and makes it when it isn't there. The caller makes sure that nobody else writes
// it. What a crash has left is put in order: a torn end is cut off, missing indexes are made.
func Open(dir string, o Options) (*Ring, error) {
	if o.Limit < MinLimit {
		return nil, fmt.Errorf("packets can't be kept in %d bytes: at least %d are needed", o.Limit, MinLimit)
	}
	o.fill()
	r := &Ring{options: o, done: make(chan struct{}), stop: make(chan struct{})}
	r.work.L, r.space.L = &r.mu, &r.mu
	if err := r.files.open(dir, &r.options); err != nil {
		return nil, err
	}
	go r.write()
	if o.FlushEvery > 0 {
		go r.tick()
	}
	return r, nil
}

// take returns a buffer with room for n bytes, nil when there is no memory for it.
func (r *Ring) take(n int) *buffer {
	size := max(n, bufferSize)
	if r.memory+size > r.options.Memory && (n <= bufferSize || r.memory > 0) {
		return nil
	}
	r.memory += size
	if size > bufferSize {
		r.spare = nil // they would come on top of it
	} else if k := len(r.spare); k > 0 {
		b := r.spare[k-1]
		r.spare = r.spare[:k-1]
		return b
	}
	return &buffer{data: make([]byte, 0, size)}
}

// release takes a buffer back.
func (r *Ring) release(b *buffer) {
	r.memory -= cap(b.data)
	if cap(b.data) == bufferSize {
		b.data, b.entries = b.data[:0], b.entries[:0]
		r.spare = append(r.spare, b)
	}
}

// room returns the buffer to append n bytes to, nil when there is no memory. It waits for that if wait.
func (r *Ring) room(n int, wait bool) *buffer {
	if b := r.current; b != nil && len(b.data)+n <= cap(b.data) {
		return b
	}
	r.seal()
	for {
		if r.current = r.take(n); r.current != nil || !wait || r.memory == 0 {
			return r.current
		}
		r.space.Wait()
		if b := r.current; b != nil { // another keeper's
			if len(b.data)+n <= cap(b.data) {
				return b
			}
			r.seal()
		}
	}
}

// seal gives the current buffer to the writer.
func (r *Ring) seal() {
	if r.current == nil || len(r.current.data) == 0 {
		return
	}
	r.queue = append(r.queue, r.current)
	r.current = nil
	r.given++
	r.work.Signal()
}

// Flush has the writer write what it has, and doesn't wait for it.
func (r *Ring) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seal()
}

// sync waits until all that keepers were given before is in files, or was given up.
func (r *Ring) sync() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seal()
	for given := r.given; r.gone < given; {
		r.space.Wait()
	}
}

// tick flushes from time to time.
func (r *Ring) tick() {
	t := time.NewTicker(r.options.FlushEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			r.Flush()
		case <-r.stop:
			return
		}
	}
}

// write is the writer's goroutine.
func (r *Ring) write() {
	defer close(r.done)
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		for len(r.queue) == 0 && !r.closed && r.before == 0 {
			r.work.Wait()
		}
		if before := r.before; len(r.queue) == 0 && before != 0 {
			r.mu.Unlock()
			r.files.deleteBefore(before)
			r.mu.Lock()
			if r.before == before {
				r.before = 0
			}
			r.space.Broadcast()
			continue
		}
		if len(r.queue) == 0 {
			return
		}
		b := r.queue[0]
		r.queue[0] = nil
		if r.queue = r.queue[1:]; len(r.queue) == 0 {
			r.queue = nil // so that it doesn't wander through memory
		}
		ifaces := r.ifaces
		r.mu.Unlock()
		err := r.files.write(b, ifaces)
		r.mu.Lock()
		if r.err = err; err == nil {
			r.count.Written += uint64(len(b.entries))
		} else {
			r.count.Failed += uint64(len(b.entries))
		}
		r.release(b)
		r.gone++
		r.space.Broadcast()
	}
}

// DeleteBefore deletes the packets before t, in nanoseconds since 1970, by whole files: what is in one file with younger
// packets goes with these.
func (r *Ring) DeleteBefore(t int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seal()
	r.before = max(r.before, t)
	r.work.Signal()
	for r.before != 0 && !r.closed {
		r.space.Wait()
	}
}

// Close writes what remains, and indexes the newest file. It returns what kept packets from being written.
func (r *Ring) Close() error {
	r.mu.Lock()
	if !r.closed {
		r.seal()
		r.closed = true
		close(r.stop)
		r.work.Signal()
		r.space.Broadcast()
	}
	r.mu.Unlock()
	<-r.done
	r.files.close()
	return r.Err()
}

// Err says why packets can't be written at the moment, nil when they can.
func (r *Ring) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Counters returns the counters.
func (r *Ring) Counters() Counters {
	r.mu.Lock()
	c := r.count
	r.mu.Unlock()
	r.files.count(&c)
	return c
}

// Lost says what the ring lacks of what it should have, empty when that is nothing.
func (r *Ring) Lost() string {
	c := r.Counters()
	var parts []string
	for _, part := range []struct {
		n    uint64
		text string
	}{
		{c.Dropped, "%d packets that came faster than they could be written"},
		{c.Failed, "%d packets that couldn't be written"},
		{c.Cut, "%d packets of large transfers"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf(part.text, part.n))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "the kept packets lack " + strings.Join(parts, ", and ")
}

// burst is how much one side of a connection has sent since the other side did.
type burst struct {
	hash   uint64
	bytes  int64
	fromLo bool
}

// burstBits say how many connections are watched for large transfers at once. One whose place is taken is watched
// when the one that has it has sent less than the others there.
const (
	burstBits  = 13
	burstSlots = 1 << burstBits
)

// over reports whether n bytes of payload are beyond what is kept in one go.
func (r *Ring) over(hash uint64, fromLo bool, n int) bool {
	if r.options.Burst < 0 || n == 0 {
		return false
	}
	s := &r.bursts[hash>>(64-burstBits)]
	switch {
	case s.hash != hash:
		if s.bytes -= int64(n); s.bytes <= 0 {
			*s = burst{hash, int64(n), fromLo}
		}
		return false
	case s.fromLo != fromLo:
		s.fromLo, s.bytes = fromLo, 0
	}
	s.bytes = min(s.bytes+int64(n), 2*r.options.Burst+int64(n))
	return s.bytes > r.options.Burst
}

// put appends packets that belong together to the buffer, and returns whether there was room.
func (r *Ring) put(all []pcapng.Packet, hash uint64, control, wait bool) bool {
	n := 0
	for i := range all {
		n += all[i].Size()
	}
	b := r.room(n, wait)
	if b == nil {
		return false
	}
	for i := range all {
		p := &all[i]
		b.entries = append(b.entries, entry{
			hash: hash, time: max(p.Time, 0), at: uint32(len(b.data) / unit), iface: uint16(p.Interface), control: control,
		})
		b.data = pcapng.AppendPacket(b.data, p)
	}
	return true
}
