package process

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/exchange"
)

const (
	// maxProcesses bounds the processes that are looked at, maxDescriptors the file descriptors of one of them.
	maxProcesses   = 1 << 16
	maxDescriptors = 1 << 16
	// maxSockets bounds the sockets whose holders are remembered. At the limit all are forgotten.
	maxSockets = 1 << 16
	// maxPinned bounds the processes that are kept open, each of which takes a file descriptor of ours and up to
	// 10 KB. At the limit the one that wasn't needed for longest goes.
	maxPinned = 256
	// maxNobody bounds the sockets that are remembered to have no holder.
	maxNobody = 4096
	// hotDescriptors is how many of the descriptors on which a process had wanted sockets are looked at first. The
	// kernel gives the lowest free number, so that they come again.
	hotDescriptors = 16
	// recentOwners is how many of the processes that were found last are looked into before all others.
	recentOwners = 8
	// maxFamily is the largest number of siblings or of children that are asked whether they share a socket. What has
	// more is init, or starts a process for each connection.
	maxFamily = 32

	// factsFor is how long what was read of a process is believed without reading it again; that it still
	// runs the same program is checked each time.
	factsFor = time.Second
	// nobodyFor is how long it is believed that a socket has no holder.
	nobodyFor = 2 * time.Second
	// blindFor is after how long it is tried again to look into processes that couldn't be.
	blindFor = 10 * time.Second
	// familyFor is after how long a holder's family is asked again.
	familyFor = time.Second
	// newFor is how long a process is new: it may be seen before it opens its first socket.
	newFor = 2 * time.Second

	// scanShare, listShare and processShare are one over the share of a core that may go into looking at all
	// processes, into listing the new ones, and into going through all descriptors of one process that has many.
	scanShare    = 10
	listShare    = 4
	processShare = 4
	// hiddenShare is that for looking at all processes for the socket of a user who has some that can't be looked
	// into: it will be one of those.
	hiddenShare = 100
)

// Scanner finds the holders of sockets by looking into processes. It remembers what it saw, but believes it only
// after having asked the kernel again.
//
// A socket that isn't remembered is looked for where it is likely: among the holders of the listening socket that
// accepted it, in the processes found last, in those that are new, and only then in all. Each of these costs more than
// the one before it, and may take a share of the time only; what goes beyond it is answered with Later.
//
// When a socket is found, the family of its holder (parent, siblings, children) is asked whether it has it too: sockets
// come to be shared by fork. A process that was passed the socket is found when all are looked at.
type Scanner struct {
	mu     sync.Mutex
	proc   *procfs
	closed bool
	now    func() time.Time

	holds  map[uint64][]hold    // by inode
	nobody map[uint64]time.Time // sockets without a holder, as of when
	pins   map[int32]*pin
	recent []int32             // processes found last, the latest first
	known  map[int32]time.Time // processes that are there, and since when they were seen
	blind  map[int32]blindness
	ignore int32                        // a process whose blindness is no wonder
	owner  map[uint32]*exchange.Process // users, for sockets whose holder can't be seen
	uses   uint64

	list, full, hidden pace
	family             map[uint64]time.Time // when the family of a socket's holder was asked
	wanted             map[uint64]bool      // what the present search is for, and not found yet
	looked             map[int32]bool       // where the present search has been
	counters           OwnerCounters
}

// hold is a descriptor by which a process holds a socket.
type hold struct{ pid, fd int32 }

// pin is a process that is kept open.
type pin struct {
	pid  int32
	dir  int
	used uint64 // grows with use

	fds  map[int32]uint64 // what the descriptors were when last looked at; 0 for what isn't a socket
	hot  []int32          // descriptors on which wanted sockets were, the latest first
	pace pace             // for going through all descriptors

	facts   *exchange.Process
	program string
	read    time.Time
}

type blindness struct {
	uid uint32
	at  time.Time
}

// pace keeps a repeated effort to its share of the time.
type pace struct{ next time.Time }

func (p *pace) due(now time.Time) bool { return !now.Before(p.next) }

func (p *pace) spent(from, to time.Time, share time.Duration) { p.next = to.Add(to.Sub(from) * share) }

// NewScanner returns a Scanner for the procfs that is mounted at path, "/proc" when it is empty. To see others'
// processes it needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
func NewScanner(path string) (*Scanner, error) {
	p, err := openProc(path)
	if err != nil {
		return nil, err
	}
	return &Scanner{
		proc: p, now: time.Now, holds: map[uint64][]hold{}, nobody: map[uint64]time.Time{}, pins: map[int32]*pin{}, known: map[int32]time.Time{},
		blind: map[int32]blindness{}, owner: map[uint32]*exchange.Process{}, family: map[uint64]time.Time{},
		wanted: map[uint64]bool{}, looked: map[int32]bool{},
	}, nil
}

// Ignore leaves a process out of what Blind tells: the caller's worker, which nobody may look into.
func (s *Scanner) Ignore(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ignore = int32(pid)
}

// Close lets go of what is kept open. The Scanner answers nothing any more.
func (s *Scanner) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, p := range s.pins {
		unix.Close(p.dir)
	}
	s.proc.close()
	return nil
}

// Counters returns the counters.
func (s *Scanner) Counters() OwnerCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counters
}

// Blind tells how many processes couldn't be looked into when that was last tried, and what is missing to. It looks at
// all processes if that hasn't been done yet.
func (s *Scanner) Blind() (Blind, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Blind{}, errClosed
	}
	if s.counters.Scans == 0 {
		if err := s.scan(); err != nil {
			return Blind{}, err
		}
	}
	b := Blind{Processes: len(s.blind), Seen: len(s.known)}
	if _, ok := s.blind[s.ignore]; ok {
		b.Processes--
		b.Seen--
	}
	if b.Processes > 0 {
		b.Missing = s.proc.missing()
	}
	return b, nil
}

var errClosed = errors.New("looking up processes: closed")

// Owner returns who holds one socket, nil for nobody; see Answer.
func (s *Scanner) Owner(inode uint64, uid uint32) (*exchange.Process, error) {
	a, err := s.Owners([]Want{{Inode: inode, UID: uid}})
	if err != nil {
		return nil, err
	}
	return a[0].Process, nil
}

// Owners implements the interface.
func (s *Scanner) Owners(wants []Want) ([]Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	wants = wants[:min(len(wants), MaxWants)]
	answers := make([]Answer, len(wants))
	clear(s.wanted)
	now := s.now()
	for i, w := range wants {
		s.counters.Wanted++
		if w.Inode == 0 {
			continue
		}
		if answers[i].Process = s.remembered(w.Inode, now); answers[i].Process != nil {
			s.counters.Remembered++
			if !w.Listening {
				s.found(answers[i].Process)
			}
			continue
		}
		if at, ok := s.nobody[w.Inode]; ok && now.Sub(at) < nobodyFor {
			continue
		}
		s.wanted[w.Inode] = true
	}
	var reach reach
	if len(s.wanted) > 0 {
		var err error
		if reach, err = s.search(wants, now); err != nil {
			return nil, err
		}
		now = s.now()
	}
	for i, w := range wants {
		if w.Inode == 0 || answers[i].Process != nil {
			continue
		}
		if answers[i].Process = s.remembered(w.Inode, now); answers[i].Process != nil {
			s.counters.Found++
			s.found(answers[i].Process)
			continue
		}
		_, nobody := s.nobody[w.Inode]
		switch {
		case w.Recheck:
		case nobody || reach == all || reach == likely && s.isHidden(w.UID):
			s.counters.Nobody++
			if reach == all {
				if len(s.nobody) >= maxNobody {
					clear(s.nobody)
					s.counters.Forgotten++
				}
				s.nobody[w.Inode] = now
			}
			if len(s.blind) > 0 || w.Listening {
				answers[i].Process = s.user(w.UID)
			}
		default:
			s.counters.Later++
			answers[i].Later = true
		}
	}
	return answers, nil
}

// found notes that a process was found last.
func (s *Scanner) found(p *exchange.Process) {
	if p.PID > 0 {
		s.recent = toFront(s.recent, int32(p.PID), recentOwners)
	}
}

// user returns what is known of a holder that can't be seen.
func (s *Scanner) user(uid uint32) *exchange.Process {
	p := s.owner[uid]
	if p == nil {
		if len(s.owner) >= maxNobody {
			clear(s.owner)
		}
		p = &exchange.Process{User: s.proc.user(uid)}
		s.owner[uid] = p
	}
	return p
}

// isHidden reports whether there are processes of a user that can't be looked into, so that looking at all others is
// likely to be in vain.
func (s *Scanner) isHidden(uid uint32) bool {
	for _, b := range s.blind {
		if b.uid == uid {
			return true
		}
	}
	return false
}

// remembered returns who holds a socket, if those who are remembered to hold it still do.
func (s *Scanner) remembered(inode uint64, now time.Time) *exchange.Process {
	holds := s.holds[inode]
	if len(holds) == 0 {
		return nil
	}
	still := holds[:0]
	var facts [4]*exchange.Process
	them := facts[:0]
	for _, h := range holds {
		p := s.holding(h, inode)
		if p == nil {
			continue
		}
		x := s.describe(p, now)
		if x == nil {
			continue
		}
		still = append(still, h)
		them = append(them, x)
	}
	if len(still) == 0 {
		delete(s.holds, inode)
		delete(s.family, inode)
		return nil
	}
	s.holds[inode] = still
	if at, ok := s.family[inode]; !ok || now.Sub(at) >= familyFor {
		s.askFamily(inode, now)
		if len(s.holds[inode]) > len(still) {
			return s.remembered(inode, now)
		}
	}
	return Common(them)
}

// holding returns the process that holds a socket by a descriptor, open, or nil when it does no more.
func (s *Scanner) holding(h hold, inode uint64) *pin {
	for range 2 {
		p := s.pin(h.pid)
		if p == nil {
			return nil
		}
		got, err := s.proc.socket(p.dir, h.fd)
		if err == nil && got == inode {
			return p
		}
		if err == nil {
			return nil
		}
		s.unpin(p) // the process may have ended, and another one have its number
	}
	return nil
}

// pin returns the process, open, or nil when there is none. It may be one that has ended: then nothing can be read of it,
// and it is to be unpinned, for another one may have its number.
func (s *Scanner) pin(pid int32) *pin {
	s.uses++
	if p := s.pins[pid]; p != nil {
		p.used = s.uses
		return p
	}
	dir, err := s.proc.open(pid)
	if err != nil {
		return nil
	}
	if len(s.pins) >= maxPinned {
		var oldest *pin
		for _, p := range s.pins {
			if oldest == nil || p.used < oldest.used {
				oldest = p
			}
		}
		s.unpin(oldest)
		s.counters.Forgotten++
	}
	p := &pin{pid: pid, dir: dir, used: s.uses}
	s.pins[pid] = p
	return p
}

func (s *Scanner) unpin(p *pin) {
	unix.Close(p.dir)
	delete(s.pins, p.pid)
}

// describe returns the facts about a process, nil when it has ended.
func (s *Scanner) describe(p *pin, now time.Time) *exchange.Process {
	program := s.proc.executable(p.dir)
	if p.facts != nil && program == p.program && now.Sub(p.read) < factsFor {
		return p.facts
	}
	x, err := s.proc.describe(p.dir, p.pid)
	if err != nil {
		return nil
	}
	p.program, p.read = program, now
	// What is the same stays the same object, for those who compare.
	if p.facts == nil || !equal(p.facts, x) {
		p.facts = x
	}
	return p.facts
}

// reach is how far a search went.
type reach uint8

const (
	short  reach = iota // not even to the processes that are new
	likely              // to all that are likely
	all                 // to all
)

// search looks for the wanted sockets, until all are found.
func (s *Scanner) search(wants []Want, now time.Time) (reach, error) {
	clear(s.looked)
	due := &s.hidden
	seek := false // more than a recheck is wanted
	for _, w := range wants {
		if !s.wanted[w.Inode] {
			continue
		}
		if !w.Recheck {
			seek = true
			if !s.isHidden(w.UID) {
				due = &s.full
			}
		}
		if w.Listener == 0 {
			continue
		}
		for _, h := range slices.Clone(s.holds[w.Listener]) {
			if s.look(h.pid); len(s.wanted) == 0 {
				return short, nil
			}
		}
	}
	for _, pid := range slices.Clone(s.recent) {
		if s.look(pid); len(s.wanted) == 0 {
			return short, nil
		}
	}
	reached := short
	if s.list.due(now) {
		if err := s.lookAtNew(); err != nil || len(s.wanted) == 0 {
			return short, err
		}
		reached = likely
	}
	if !seek || !due.due(now) {
		return reached, nil
	}
	return all, s.scan()
}

// lookAtNew looks into the processes that weren't there before.
func (s *Scanner) lookAtNew() error {
	from := s.now()
	pids, err := s.proc.processes()
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	if len(s.known) > 0 { // the first time all are new: that is for a scan
		fresh := s.meet(pids, from)
		for i := len(fresh) - 1; i >= 0 && len(s.wanted) > 0; i-- { // the newest have the highest numbers
			s.look(fresh[i])
		}
	}
	s.list.spent(from, s.now(), listShare)
	return nil
}

// meet notes which processes there are, and returns those that are new.
func (s *Scanner) meet(pids []int32, now time.Time) (fresh []int32) {
	first := len(s.known) == 0
	for _, pid := range pids {
		since, ok := s.known[pid]
		if !ok {
			if !first {
				since = now
			}
			s.known[pid] = since
		}
		if now.Sub(since) < newFor {
			fresh = append(fresh, pid)
		}
	}
	if len(s.known) > len(pids) { // some have ended, and others may get their numbers
		here := make(map[int32]bool, len(pids))
		for _, pid := range pids {
			here[pid] = true
		}
		for pid := range s.known {
			if !here[pid] {
				delete(s.known, pid)
				delete(s.blind, pid)
				if p := s.pins[pid]; p != nil {
					s.unpin(p)
				}
			}
		}
	}
	return fresh
}

// scan looks at all processes.
func (s *Scanner) scan() error {
	from := s.now()
	pids, err := s.proc.processes()
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	pids = slices.Clone(pids)
	clear(s.holds)
	clear(s.family)
	s.meet(pids, from)
	for _, pid := range pids {
		if b, ok := s.blind[pid]; !ok || from.Sub(b.at) >= blindFor {
			s.lookAtAll(pid)
		}
	}
	to := s.now()
	s.full.spent(from, to, scanShare)
	s.hidden.spent(from, to, hiddenShare)
	s.counters.Scans++
	s.counters.ScanTime += to.Sub(from)
	return nil
}

// lookAtAll goes through all descriptors of a process and remembers its sockets.
func (s *Scanner) lookAtAll(pid int32) {
	dir, err := s.proc.open(pid)
	if err != nil {
		return
	}
	defer unix.Close(dir)
	fds, err := s.proc.descriptors(dir)
	if err != nil {
		s.unseen(pid, dir, err)
		return
	}
	for _, fd := range fds {
		inode, err := s.proc.socket(dir, fd)
		if isDenied(err) {
			s.unseen(pid, dir, err)
			return
		}
		if err == nil && inode > 0 {
			s.remember(inode, hold{pid, fd})
		}
	}
	delete(s.blind, pid)
}

func isDenied(err error) bool { return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) }

// unseen notes that a process couldn't be looked into, if that is for want of privilege.
func (s *Scanner) unseen(pid int32, dir int, err error) {
	if !isDenied(err) {
		return
	}
	uid, err := s.proc.owner(dir)
	if err != nil {
		return
	}
	s.blind[pid] = blindness{uid, s.now()}
}

// look looks for the wanted sockets in one process, where they are likely first.
func (s *Scanner) look(pid int32) {
	if s.looked[pid] {
		return
	}
	s.looked[pid] = true
	from := s.now()
	if b, ok := s.blind[pid]; ok && from.Sub(b.at) < blindFor {
		return
	}
	fresh := s.pins[pid] == nil
	p := s.pin(pid)
	if p == nil {
		return
	}
	if p.fds == nil {
		p.fds = map[int32]uint64{}
	}
	for _, fd := range slices.Clone(p.hot) {
		if s.probe(p, fd); len(s.wanted) == 0 {
			return
		}
	}
	fds, err := s.proc.descriptors(p.dir)
	if err != nil {
		s.unseen(pid, p.dir, err)
		s.unpin(p)
		if !isDenied(err) && !fresh { // it has ended: another one may have its number
			delete(s.looked, pid)
			s.look(pid)
		}
		return
	}
	again := make([]int32, 0, len(fds))
	for _, fd := range fds {
		if _, seen := p.fds[fd]; seen {
			again = append(again, fd)
			continue
		}
		if s.probe(p, fd); len(s.wanted) == 0 {
			return
		}
	}
	if !p.pace.due(from) {
		return
	}
	from = s.now()
	for _, fd := range again {
		if s.probe(p, fd); len(s.wanted) == 0 {
			break
		}
	}
	// Going through a few descriptors again costs nothing worth sparing.
	if to := s.now(); to.Sub(from) > time.Millisecond {
		p.pace.spent(from, to, processShare)
	}
}

// probe looks at one descriptor.
func (s *Scanner) probe(p *pin, fd int32) {
	inode, err := s.proc.socket(p.dir, fd)
	if err != nil {
		delete(p.fds, fd)
		return
	}
	if len(p.fds) < maxDescriptors {
		p.fds[fd] = inode
	}
	if inode == 0 {
		return
	}
	s.remember(inode, hold{p.pid, fd})
	if !s.wanted[inode] {
		return
	}
	delete(s.wanted, inode)
	p.hot = toFront(p.hot, fd, hotDescriptors)
}

// toFront moves or puts v to the front of a list of at most limit.
func toFront(list []int32, v int32, limit int) []int32 {
	if i := slices.Index(list, v); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	return slices.Insert(list, 0, v)[:min(len(list)+1, limit)]
}

func (s *Scanner) remember(inode uint64, h hold) {
	holds := s.holds[inode]
	for i := range holds {
		if holds[i].pid == h.pid { // the same socket by two descriptors is one holder
			return
		}
	}
	if len(s.holds) >= maxSockets && holds == nil {
		clear(s.holds)
		clear(s.family)
		s.counters.Forgotten++
	}
	s.holds[inode] = append(holds, h)
}

// askFamily looks whether the parent, the siblings and the children of a socket's holders have it too, on the same
// descriptor.
func (s *Scanner) askFamily(inode uint64, now time.Time) {
	if len(s.family) >= maxSockets {
		clear(s.family)
	}
	s.family[inode] = now
	for _, h := range slices.Clone(s.holds[inode]) {
		p := s.pins[h.pid]
		if p == nil {
			continue
		}
		relatives := s.children(p.dir, h.pid)
		if parent := s.proc.parent(p.dir); parent > 0 {
			relatives = append(relatives, parent)
			if dir, err := s.proc.open(parent); err == nil {
				relatives = append(relatives, s.children(dir, parent)...)
				unix.Close(dir)
			}
		}
		for _, pid := range relatives {
			if pid == h.pid || slices.ContainsFunc(s.holds[inode], func(x hold) bool { return x.pid == pid }) {
				continue
			}
			dir, err := s.proc.open(pid)
			if err != nil {
				continue
			}
			if got, err := s.proc.socket(dir, h.fd); err == nil && got == inode {
				s.remember(inode, hold{pid, h.fd})
			}
			unix.Close(dir)
		}
	}
}

// children lists the children of a process; none when there are more than maxFamily, or the kernel doesn't tell.
func (s *Scanner) children(dir int, pid int32) (pids []int32) {
	const longest = len("4194304 ")
	b, err := s.proc.read(dir, fmt.Sprintf("task/%d/children", pid), longest*(maxFamily+1))
	if err != nil {
		return nil
	}
	for f := range bytes.FieldsSeq(b) {
		if n := parseNumber(f); n > 0 && n <= 1<<31-1 {
			pids = append(pids, int32(n))
		}
	}
	if len(pids) > maxFamily {
		return nil
	}
	return pids
}
