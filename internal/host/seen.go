package host

import (
	"sync"
	"time"
)

// maxSeen bounds the processes that a Seen may tell of. At the limit one of them goes, until it is seen again.
const maxSeen = 4096

// Seen tells what processes use, and only of those that were seen to own sockets: whoever asks may be hostile, and where /proc
// hides the processes of others, this must not show them. Its methods may be called from several goroutines.
type Seen struct {
	read  func(pid int32) (Stat, bool)
	clock func() time.Duration

	mu  sync.Mutex
	all map[int32]uint64 // when it was started, in ticks; 0: not asked for yet
}

// NewSeen returns a Seen. read reads what is known of a process, false when it has ended; see ReadProcess. clock says when,
// and doesn't go back.
func NewSeen(read func(pid int32) (Stat, bool), clock func() time.Duration) *Seen {
	return &Seen{read: read, clock: clock, all: map[int32]uint64{}}
}

// See says that a process owns a socket.
func (s *Seen) See(pid int) {
	if pid <= 0 || pid >= 1<<31 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.all[int32(pid)]; ok {
		return
	}
	if len(s.all) >= maxSeen {
		for other := range s.all {
			delete(s.all, other)
			break
		}
	}
	s.all[int32(pid)] = 0
}

// Serve answers one request of Ask's, which is checked.
func (s *Seen) Serve(request []byte) (reply []byte, err error) {
	pids, err := parseRequest(request)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pid := range pids {
		started, ok := s.all[pid]
		if !ok {
			continue
		}
		stat, ok := s.read(pid)
		if !ok || started != 0 && stat.Start != started {
			delete(s.all, pid) // it has ended; another with its number has to be seen first
			continue
		}
		stat.At = s.clock()
		s.all[pid] = stat.Start
		reply = appendStat(reply, &stat)
	}
	return reply, nil
}
