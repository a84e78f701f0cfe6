package process

import (
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Snapshot lists the sockets of a network namespace with the processes that hold them: by kind, then those that
// listen, then by address or path. What isn't visible for want of privilege is left empty, and the notes say so; an
// error means that nothing could be listed.
func Snapshot(o Options) ([]Socket, Notes, error) {
	if !o.TCP && !o.UDP && !o.Unix {
		o.TCP, o.UDP, o.Unix = true, true, true
	}
	if !o.Listening && !o.Established {
		o.Listening, o.Established = true, true
	}
	if o.Max <= 0 {
		o.Max = DefaultMaxSockets
	}
	var n Notes
	proc, err := openProc(o.Proc)
	if err != nil {
		return nil, n, err
	}
	defer proc.close()
	d, err := OpenDiag(o.NetNS)
	if err != nil {
		return nil, n, err
	}
	defer d.Close()
	j := joiner{o: &o, n: &n, proc: proc, named: map[uint64]string{}}
	for _, part := range []struct {
		wanted bool
		name   string
		list   func(*Diag) error
	}{{o.TCP, "tcp", j.tcp}, {o.UDP, "udp", j.udp}, {o.Unix, "unix", j.unix}} {
		if !part.wanted {
			continue
		}
		if e := part.list(d); e != nil {
			err = fmt.Errorf("listing %s sockets: %w", part.name, e)
			n.Incomplete = append(n.Incomplete, err.Error())
		}
	}
	if len(j.all) == 0 && err != nil {
		return nil, n, err
	}
	// The holders come after the sockets: whoever has one then is found, unless it was closed meanwhile.
	if err := j.join(); err != nil {
		return nil, n, err
	}
	slices.SortFunc(j.all, order)
	return j.all, n, nil
}

// joiner makes a snapshot.
type joiner struct {
	o     *Options
	n     *Notes
	proc  *procfs
	all   []Socket
	named map[uint64]string // paths of unix sockets, for their peers
}

func (j *joiner) add(s *Socket) {
	if len(j.all) >= j.o.Max {
		j.n.Cut++
		return
	}
	j.all = append(j.all, *s)
}

func (j *joiner) tcp(d *Diag) error {
	states := uint32(0)
	if j.o.Listening {
		states |= 1 << Listen
	}
	if j.o.Established {
		states |= (1<<32 - 1) &^ (1<<Listen | 1<<TimeWait | 1<<Unconnected)
	}
	return j.inet(d, TCP, unix.IPPROTO_TCP, states)
}

func (j *joiner) udp(d *Diag) error {
	states := uint32(0)
	if j.o.Listening {
		states |= 1 << Unconnected
	}
	if j.o.Established {
		states |= (1<<32 - 1) &^ (1 << Unconnected)
	}
	return j.inet(d, UDP, unix.IPPROTO_UDP, states)
}

func (j *joiner) inet(d *Diag, kind Kind, protocol uint8, states uint32) error {
	for _, family := range []uint8{familyInet, familyInet6} {
		err := d.inet(family, protocol, states, 0, func(s *inetSocket) {
			if kind == UDP && s.state == Unconnected && s.local.Port() == 0 { // bound to nothing
				return
			}
			j.add(&Socket{
				Kind: kind, State: s.state, Local: s.local, Remote: s.remote, Interface: s.iface,
				RecvQueue: s.recv, SendQueue: s.send, Inode: uint64(s.inode), UID: s.uid, User: j.proc.user(s.uid),
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *joiner) unix(d *Diag) error {
	return d.unix(func(u *unixSocket) {
		s := Socket{
			Kind: u.kind, State: u.state, Path: u.path, Peer: uint64(u.peer), RecvQueue: u.recv, SendQueue: u.send,
			Inode: uint64(u.inode), UID: u.uid,
		}
		if u.hasUID {
			s.User = j.proc.user(u.uid)
		}
		listening := u.state == Listen || u.kind == UnixDatagram && u.peer == 0 && u.path != ""
		talking := u.state != Listen && u.peer != 0
		if listening && j.o.Listening || talking && j.o.Established {
			j.add(&s)
		}
		if s.Path != "" && len(j.named) < j.o.Max {
			j.named[s.Inode] = s.Path
		}
	})
}

// join sets the holders.
func (j *joiner) join() error {
	held := make(map[uint64][]Holder, len(j.all))
	for i := range j.all {
		held[j.all[i].Inode] = nil
		held[j.all[i].Peer] = nil
	}
	delete(held, 0)
	if err := j.holders(held); err != nil {
		return err
	}
	for i := range j.all {
		s := &j.all[i]
		s.Holders = held[s.Inode]
		if s.Inode != 0 && len(s.Holders) == 0 {
			j.n.Unowned++
		}
		s.PeerPath, s.PeerHolders = j.named[s.Peer], held[s.Peer]
	}
	return nil
}

// holders looks into all processes for the sockets that are keys of held.
func (j *joiner) holders(held map[uint64][]Holder) error {
	pids, err := j.proc.processes()
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	pids = slices.Clone(pids)
	slices.Sort(pids)
	for _, pid := range pids {
		if int(pid) == j.o.Ignore {
			continue
		}
		err := j.process(pid, held)
		if isDenied(err) {
			j.n.Blind.Processes++
		}
		if err == nil || isDenied(err) { // or it has ended
			j.n.Blind.Seen++
		}
	}
	if j.n.Blind.Processes > 0 {
		j.n.Blind.Missing = j.proc.missing()
	}
	j.n.Holds = j.proc.cut
	return nil
}

// process looks for the sockets in one process.
func (j *joiner) process(pid int32, held map[uint64][]Holder) error {
	dir, err := j.proc.open(pid)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	fds, err := j.proc.descriptors(dir)
	if err != nil {
		return err
	}
	var facts *exchange.Process
	for _, fd := range fds {
		inode, err := j.proc.socket(dir, fd)
		if isDenied(err) {
			return err
		}
		holders, wanted := held[inode]
		if err != nil || !wanted || len(holders) > 0 && holders[len(holders)-1].PID == int(pid) {
			continue
		}
		if facts == nil {
			if facts, err = j.proc.describe(dir, pid); err != nil {
				return err
			}
		}
		held[inode] = append(holders, Holder{facts, int(fd)})
	}
	return nil
}

// order is that of a snapshot.
func order(a, b Socket) int {
	listening := func(s *Socket) int {
		if s.State == Listen || s.State == Unconnected {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(listening(&a), listening(&b)),
		a.Local.Compare(b.Local), a.Remote.Compare(b.Remote), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Inode, b.Inode),
	)
}
