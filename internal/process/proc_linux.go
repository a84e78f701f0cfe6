package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/exchange"
)

// procfs reads a mounted procfs. Its methods are called from one goroutine at a time, and reuse memory.
type procfs struct {
	dir   int // the mount point
	users map[uint32]string
	buf   []byte // for contents
	list  []byte // for directories
	names []int32
	cut   int // entries beyond a limit
}

// openProc opens the procfs at path. Names of users are read once, from /etc/passwd; they are the host's, also for
// processes in containers.
func openProc(path string) (*procfs, error) {
	if path == "" {
		path = "/proc"
	}
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("looking up processes: open %s: %w", path, err)
	}
	var kind unix.Statfs_t
	if err := unix.Fstatfs(dir, &kind); err != nil || kind.Type != unix.PROC_SUPER_MAGIC {
		unix.Close(dir)
		return nil, fmt.Errorf("looking up processes: %s isn't a mounted procfs", path)
	}
	p := &procfs{dir: dir, buf: make([]byte, maxGroups), list: make([]byte, 32<<10)}
	// With the host's procfs mounted in a container, the host's users are beside it: /host/proc, /host/etc.
	passwd := filepath.Join(filepath.Dir(path), "etc/passwd")
	f, err := os.Open(passwd)
	if errors.Is(err, os.ErrNotExist) {
		f, err = os.Open("/etc/passwd")
	}
	if err == nil { // without names there are numbers
		p.users = readUsers(f)
		f.Close()
	}
	return p, nil
}

func (p *procfs) close() { unix.Close(p.dir) }

// user returns the name of a user, or the number.
func (p *procfs) user(uid uint32) string {
	if name, ok := p.users[uid]; ok {
		return name
	}
	return strconv.FormatUint(uint64(uid), 10)
}

// processes lists the process ids there are. The result is valid until the next list.
func (p *procfs) processes() ([]int32, error) {
	if _, err := unix.Seek(p.dir, 0, unix.SEEK_SET); err != nil {
		return nil, os.NewSyscallError("lseek", err)
	}
	return p.numbers(p.dir, maxProcesses)
}

// descriptors lists the file descriptors of a process. The result is valid until the next list.
func (p *procfs) descriptors(process int) ([]int32, error) {
	dir, err := unix.Openat(process, "fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	return p.numbers(dir, maxDescriptors)
}

// numbers lists the entries of a directory that are numbers.
func (p *procfs) numbers(dir, limit int) ([]int32, error) {
	p.names = p.names[:0]
	for {
		n, err := unix.Getdents(dir, p.list)
		if err != nil && err != unix.EINTR {
			return nil, err
		}
		if n <= 0 && err == nil {
			return p.names, nil
		}
		const name = 19 // offset in struct linux_dirent64; before it are inode, offset, record length and type
		for b := p.list[:max(n, 0)]; len(b) > name; {
			size := int(binary.NativeEndian.Uint16(b[16:]))
			if size <= name || size > len(b) {
				break
			}
			s := b[name:size]
			for i, c := range s {
				if c == 0 {
					s = s[:i]
					break
				}
			}
			if v := parseNumber(s); (v > 0 || len(s) == 1 && s[0] == '0') && v <= 1<<31-1 {
				if len(p.names) < limit {
					p.names = append(p.names, int32(v))
				} else {
					p.cut++
				}
			}
			b = b[size:]
		}
	}
}

// open returns a descriptor of the directory of a process. It stands for this very process: when that has ended,
// nothing more can be read through it, whoever has the number then.
func (p *procfs) open(pid int32) (int, error) {
	var name [12]byte
	return unix.Openat(p.dir, string(strconv.AppendInt(name[:0], int64(pid), 10)), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// socket returns the inode of the socket that a descriptor of a process is, 0 for none.
func (p *procfs) socket(process int, fd int32) (uint64, error) {
	var name [16]byte
	n, err := unix.Readlinkat(process, string(strconv.AppendInt(append(name[:0], "fd/"...), int64(fd), 10)), p.buf[:64])
	if err != nil {
		return 0, err
	}
	return parseSocketLink(p.buf[:n]), nil
}

// read reads the beginning of a file of a process, valid until the next read.
func (p *procfs) read(process int, name string, limit int) ([]byte, error) {
	fd, err := unix.Openat(process, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	got := 0
	for got < limit {
		n, err := unix.Read(fd, p.buf[got:limit])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		got += n
	}
	return p.buf[:got], nil
}

// owner returns the effective user of a process. Unlike those of the files in it, the owner of the directory is that
// also for processes that may not be dumped.
func (p *procfs) owner(process int) (uint32, error) {
	var s unix.Stat_t
	err := unix.Fstat(process, &s)
	return s.Uid, err
}

// executable returns the path of the program that a process runs, "" when it can't be seen.
func (p *procfs) executable(process int) string {
	n, err := unix.Readlinkat(process, "exe", p.buf[:maxPath])
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(p.buf[:n]), " (deleted)")
}

// parent returns the parent of a process, 0 for none.
func (p *procfs) parent(process int) int32 {
	b, err := p.read(process, "stat", 4096)
	if err != nil {
		return 0
	}
	pid, _ := parseParent(b)
	return pid
}

// describe reads what is to be known of a process. An error means that it has ended.
func (p *procfs) describe(process int, pid int32) (*exchange.Process, error) {
	x := &exchange.Process{PID: int(pid)}
	uid, err := p.owner(process)
	if err != nil {
		return nil, err
	}
	x.User = p.user(uid)
	b, err := p.read(process, "comm", maxName)
	if err != nil {
		return nil, err
	}
	x.Name = strings.TrimSuffix(string(b), "\n")
	// What can't be read is left empty: kernel threads have no program, others' may be hidden.
	if b, err = p.read(process, "cmdline", maxCommandLine); err == nil {
		x.Args = parseArgs(b)
	}
	x.Executable = p.executable(process)
	if b, err = p.read(process, "cgroup", maxGroups); err == nil {
		g := ParseGroup(string(b))
		x.ContainerID, x.PodUID, x.Unit = g.Container, g.Pod, g.Unit
	}
	return x, nil
}

// missing returns the names of the capabilities that looking into others' processes needs and that this process
// doesn't have; none when it has them, and the system forbids it all the same.
func (p *procfs) missing() []string {
	const dacOverride, dacReadSearch, sysPtrace = 1, 2, 19 // linux/capability.h
	b, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return nil
	}
	set, _ := parseCapabilities(b)
	has := func(c int) bool { return set>>c&1 != 0 }
	var all []string
	if !has(sysPtrace) {
		all = append(all, "CAP_SYS_PTRACE")
	}
	if !has(dacReadSearch) && !has(dacOverride) {
		all = append(all, "CAP_DAC_READ_SEARCH")
	}
	if all == nil {
		// It has them, but they hold for its own user namespace only; the first one maps all users to themselves.
		const first = "0 0 4294967295"
		if b, err := os.ReadFile("/proc/self/uid_map"); err == nil && strings.Join(strings.Fields(string(b)), " ") != first {
			all = []string{"CAP_SYS_PTRACE in the first user namespace"}
		}
	}
	return all
}
