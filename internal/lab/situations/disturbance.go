//go:build linux

package situations

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A machine that is busy, or whose processors are taken away for a while, makes exchanges slow in ways that nobody planned. So the truth
// of exchanges that happened then isn't known, and they aren't judged.
const (
	// beat is how often each processor is looked at, and disturbing how late a look, or a frame of a link, has to be.
	beat       = 2 * time.Millisecond
	disturbing = 20 * time.Millisecond
	// usually is for how long before its end an exchange was under way, at least in the part that matters.
	usually = 500 * time.Millisecond
)

// disturbances watches the processors.
type disturbances struct {
	quit chan struct{}
	done sync.WaitGroup
	// lasts is how long exchanges take.
	lasts time.Duration
	mu    sync.Mutex
	all   []disturbance
}

// disturbance is a time in which a processor didn't work for us.
type disturbance struct{ from, to time.Time }

// watch begins to look at the processors.
func (d *disturbances) watch() {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return
	}
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			d.done.Add(1)
			go d.processor(cpu)
		}
	}
}

// add adds one. It is a lab.Link's Overdue.
func (d *disturbances) add(from, to time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, disturbance{from, to})
}

// processor looks at one.
func (d *disturbances) processor(cpu int) {
	defer d.done.Done()
	runtime.LockOSThread() // and never unlocked
	var one unix.CPUSet
	one.Set(cpu)
	if unix.SchedSetaffinity(0, &one) != nil {
		return
	}
	pause := unix.NsecToTimespec(int64(beat))
	for last := time.Now(); ; {
		select {
		case <-d.quit:
			return
		default:
		}
		_ = unix.Nanosleep(&pause, nil) // a timer of the runtime's would be another thread's
		now := time.Now()
		if now.Sub(last) > beat+disturbing {
			d.add(last, now)
		}
		last = now
	}
}

func (d *disturbances) stop() {
	close(d.quit)
	d.done.Wait()
}

// touch reports whether there was a disturbance while an exchange that ended at a time was under way, as far as is known by now.
func (d *disturbances) touch(at time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range d.all {
		if x.from.Before(at) && x.to.After(at.Add(-d.lasts)) {
			return true
		}
	}
	return false
}
