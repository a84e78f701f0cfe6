package host

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
)

const (
	// MaxProcesses is how many processes a sample has.
	MaxProcesses = 16
	// maxFollowed is how many are looked at each second. At the limit, the one that was noted longest ago goes.
	maxFollowed = 64
	// followedFor is for how many samples a process is looked at after it was noted.
	followedFor = 600
)

// Owners follows the processes that own captured traffic. Note may be called from any goroutine.
type Owners struct {
	// ask tells of processes, leaving out those that have ended.
	ask func(pids []int32) ([]Stat, error)
	// boot is when the machine was started, in nanoseconds since 1970.
	boot int64

	mu       sync.Mutex
	round    uint64
	followed map[int32]*followed
	err      error
}

// followed is a process that is looked at.
type followed struct {
	noted uint64 // the round in which it was noted last
	stat  Stat   // as of the last round
	known bool   // stat is known
}

// NewOwners returns Owners that ask about up to 64 processes at a time; ask leaves out those that have ended. boot is
// when the machine was started, in seconds since 1970.
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

// sample returns what the busiest processes used in so many seconds. first: what was known before doesn't count.
func (o *Owners) sample(elapsed float64, first bool) []Process {
	o.mu.Lock()
	round := o.round
	o.round++
	var pids []int32
	for pid, f := range o.followed {
		if round-f.noted > followedFor {
			delete(o.followed, pid)
			continue
		}
		pids = append(pids, pid)
	}
	failed := o.err != nil
	o.mu.Unlock()
	if len(pids) == 0 || failed {
		return nil
	}
	slices.Sort(pids)
	stats, err := o.ask(pids) // not under the lock, for which captured exchanges wait

	o.mu.Lock()
	defer o.mu.Unlock()
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
			if f.noted < round { // another process has that number now, and nobody has said that it owns anything
				delete(o.followed, s.PID)
				continue
			}
			f.known = false
		}
		if f.known && !first {
			all = append(all, Process{
				PID: s.PID, Start: o.boot + int64(min(s.Start, 1<<50))*(1e9/ticks), Name: s.Name, RSS: int64(min(s.RSS, math.MaxInt64)),
				CPU: rounded(float64(since(f.stat.Used, s.Used))/ticks/elapsed, false),
			})
		}
		f.stat, f.known = s, true
	}
	for _, pid := range pids {
		if f := o.followed[pid]; f != nil && !there[pid] && f.noted <= round {
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

// A request about processes is their number in one byte and their ids in 4 bytes each, little endian like all numbers here. A
// reply has, for each that is there: id 4, start 8, used 8, RSS 8, length of the name 1, name.
const statSize = 29

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
			PID: int32(binary.LittleEndian.Uint32(b)), Start: binary.LittleEndian.Uint64(b[4:]), Used: binary.LittleEndian.Uint64(b[12:]),
			RSS: binary.LittleEndian.Uint64(b[20:]), Name: strings.ToValidUTF8(string(b[statSize:n]), "\uFFFD"),
		})
		b = b[n:]
	}
	return all, nil
}
