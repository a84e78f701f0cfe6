package host

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// MaxProcesses is how many processes a sample has.
	MaxProcesses = 16
	// maxFollowed is how many are looked at each second. At the limit, the one that was noted longest ago goes.
	maxFollowed = 64
	// followedFor is for how many samples a process is looked at after it was noted.
	followedFor = 600
	// minApart is the least time between two readings of a process that are compared: over less, ticks are too coarse.
	minApart = 100 * time.Millisecond
)

// ErrLate is the error of an answer about processes that hasn't come yet.
var ErrLate = errors.New("not answered yet")

// Owners follows the processes that own captured traffic. Note may be called from any goroutine.
type Owners struct {
	// ask tells of processes, leaving out those that have ended.
	ask func(pids []int32) ([]Stat, error)
	// boot is when the machine was started, in nanoseconds since 1970.
	boot int64

	mu       sync.Mutex
	round    uint64
	followed map[int32]*followed
	asked    *question // that isn't answered yet; nil: there is none
	err      error
}

// question asks about processes.
type question struct {
	pids  []int32
	round uint64 // in which it was asked
}

// followed is a process that is looked at.
type followed struct {
	noted uint64  // the round in which it was noted last
	stat  Stat    // what the next reading is compared with
	known bool    // stat is known
	cpu   float64 // what it used of a processor until stat, NaN: not known
}

// NewOwners returns Owners that ask about up to 64 processes at a time; ask leaves out those that have ended. When it returns
// ErrLate, a sample has no processes, and the next one asks the same again. boot is when the machine was started, in seconds
// since 1970.
func NewOwners(boot int64, ask func(pids []int32) ([]Stat, error)) *Owners {
	return &Owners{ask: ask, boot: boot * 1e9, followed: map[int32]*followed{}}
}

// Note says that a process owns captured traffic.
func (o *Owners) Note(pid int) {
	if pid <= 0 || pid > math.MaxInt32 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if f := o.followed[int32(pid)]; f != nil {
		f.noted = o.round
		return
	}
	if len(o.followed) >= maxFollowed {
		oldest, at := int32(0), uint64(math.MaxUint64)
		for pid, f := range o.followed {
			if f.noted < at || f.noted == at && pid < oldest {
				oldest, at = pid, f.noted
			}
		}
		delete(o.followed, oldest)
	}
	o.followed[int32(pid)] = &followed{noted: o.round}
}

// Err is why processes can't be looked at any more; nil: they can.
func (o *Owners) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// sample returns what the busiest processes used of a processor between the last two readings of each.
func (o *Owners) sample() []Process {
	o.mu.Lock()
	q := o.question()
	o.mu.Unlock()
	if q == nil {
		return nil
	}
	stats, err := o.ask(q.pids) // not under the lock, for which captured exchanges wait

	o.mu.Lock()
	defer o.mu.Unlock()
	if errors.Is(err, ErrLate) {
		o.asked = q
		return nil
	}
	o.asked = nil
	if err != nil {
		o.err = err
		return nil
	}
	var all []Process
	there := map[int32]bool{}
	for _, s := range stats {
		f := o.followed[s.PID]
		if f == nil || there[s.PID] {
			continue
		}
		there[s.PID] = true
		if f.known && f.stat.Start != s.Start {
			if f.noted < q.round { // another process has that number now, and nobody has said that it owns anything
				delete(o.followed, s.PID)
				continue
			}
			f.known = false
		}
		if f.read(&s); !math.IsNaN(f.cpu) {
			all = append(all, Process{
				PID: s.PID, Start: o.boot + int64(min(s.Start, 1<<50))*(1e9/ticks), Name: s.Name, RSS: int64(min(s.RSS, math.MaxInt64)), CPU: f.cpu,
			})
		}
	}
	for _, pid := range q.pids {
		if f := o.followed[pid]; f != nil && !there[pid] && f.noted <= q.round {
			delete(o.followed, pid) // it has ended
		}
	}
	slices.SortFunc(all, func(a, b Process) int {
		switch {
		case a.CPU > b.CPU:
			return -1
		case a.CPU < b.CPU:
			return 1
		}
		return int(a.PID) - int(b.PID)
	})
	return all[:min(len(all), MaxProcesses)]
}

// question begins a round, and returns what is asked: what was asked before, until it is answered; nil: nothing.
func (o *Owners) question() *question {
	q := &question{round: o.round}
	o.round++
	for pid, f := range o.followed {
		if q.round-f.noted > followedFor {
			delete(o.followed, pid)
			continue
		}
		q.pids = append(q.pids, pid)
	}
	switch {
	case o.err != nil:
		return nil
	case o.asked != nil:
		return o.asked
	case len(q.pids) == 0:
		return nil
	}
	slices.Sort(q.pids)
	return q
}

// read takes a new reading. It is divided by the time between two readings, not between two samples: answers may be late.
func (f *followed) read(s *Stat) {
	switch apart := s.At - f.stat.At; {
	case !f.known, apart < 0, apart > maxElapsed: // it belongs to no second
		f.cpu = math.NaN()
	case apart < minApart:
		return // what it used before holds; the next reading has it all
	default:
		f.cpu = rounded(float64(since(f.stat.Used, s.Used))/ticks/apart.Seconds(), false)
	}
	f.stat, f.known = *s, true
}

// A request about processes is their number in one byte and their ids in 4 bytes each, little endian like all numbers here. A
// reply has, for each that is there: id 4, when it was read 8, start 8, used 8, RSS 8, length of the name 1, name.
const statSize = 37

var errMessage = errors.New("malformed message about processes")

// Ask asks about processes of another process, where Seen.Serve answers; call carries a request there.
func Ask(call func(request []byte) (reply []byte, err error)) func(pids []int32) ([]Stat, error) {
	return func(pids []int32) ([]Stat, error) {
		pids = pids[:min(len(pids), maxFollowed)]
		b := []byte{byte(len(pids))}
		for _, pid := range pids {
			b = binary.LittleEndian.AppendUint32(b, uint32(pid))
		}
		reply, err := call(b)
		if err != nil {
			return nil, err
		}
		return parseStats(reply)
	}
}

// parseRequest reads the ids of a request.
func parseRequest(b []byte) ([]int32, error) {
	if len(b) == 0 || b[0] > maxFollowed || len(b) != 1+4*int(b[0]) {
		return nil, errMessage
	}
	pids := make([]int32, b[0])
	for i := range pids {
		pids[i] = int32(binary.LittleEndian.Uint32(b[1+4*i:]))
		if pids[i] <= 0 {
			return nil, errMessage
		}
	}
	return pids, nil
}

func appendStat(b []byte, s *Stat) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(s.PID))
	b = binary.LittleEndian.AppendUint64(b, uint64(s.At))
	b = binary.LittleEndian.AppendUint64(b, s.Start)
	b = binary.LittleEndian.AppendUint64(b, s.Used)
	b = binary.LittleEndian.AppendUint64(b, s.RSS)
	name := s.Name[:min(len(s.Name), math.MaxUint8)]
	b = append(b, byte(len(name)))
	return append(b, name...)
}

func parseStats(b []byte) (all []Stat, err error) {
	for len(b) > 0 {
		if len(b) < statSize || len(b) < statSize+int(b[statSize-1]) || len(all) == maxFollowed {
			return nil, errMessage
		}
		n := statSize + int(b[statSize-1])
		all = append(all, Stat{
			PID: int32(binary.LittleEndian.Uint32(b)), At: time.Duration(binary.LittleEndian.Uint64(b[4:])),
			Start: binary.LittleEndian.Uint64(b[12:]), Used: binary.LittleEndian.Uint64(b[20:]), RSS: binary.LittleEndian.Uint64(b[28:]), Name: strings.ToValidUTF8(string(b[statSize:n]), "\uFFFD"),
		})
		b = b[n:]
	}
	return all, nil
}
