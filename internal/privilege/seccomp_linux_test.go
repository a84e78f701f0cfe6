package privilege

import (
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// seccompData is what the kernel shows to a filter.
type seccompData struct {
	number, arch uint32
	args         [6]uint64
}

// judge runs a filter as the kernel would.
func judge(t *testing.T, vm *bpf.VM, d seccompData) uint32 {
	t.Helper()
	// The virtual machine reads big-endian words, where the kernel gives them to the filter as the processor has them.
	b := binary.BigEndian.AppendUint32(nil, d.number)
	b = binary.BigEndian.AppendUint32(b, d.arch)
	b = append(b, make([]byte, 8)...) // the instruction pointer
	for _, a := range d.args {
		b = binary.BigEndian.AppendUint32(b, uint32(a))
		b = binary.BigEndian.AppendUint32(b, uint32(a>>32))
	}
	verdict, err := vm.Run(b)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(verdict)
}

func TestFilter(t *testing.T) {
	if auditArch == 0 {
		t.Skip("there is no filter for this processor")
	}
	const (
		yes = unix.SECCOMP_RET_ALLOW
		no  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	)
	self := uint64(os.Getpid())
	thread := uint64(unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD)
	plain, full := Options{}, Options{WritePaths: []string{"/"}, Network: true, Keep: []Cap{CapNetRaw, CapSysAdmin}}
	type verdict struct {
		o      Options
		number uint32
		args   [6]uint64
		want   uint32
	}
	cases := []verdict{
		{plain, unix.SYS_READ, [6]uint64{}, yes},
		{plain, unix.SYS_FUTEX, [6]uint64{1, 2, 3, 4, 5, 6}, yes},
		{plain, unix.SYS_EXECVE, [6]uint64{}, no},
		{plain, unix.SYS_EXECVEAT, [6]uint64{}, no},
		{plain, unix.SYS_PTRACE, [6]uint64{}, no},
		{plain, unix.SYS_BPF, [6]uint64{}, no},
		{plain, unix.SYS_UNSHARE, [6]uint64{unix.CLONE_NEWUSER}, no},
		{plain, unix.SYS_IO_URING_SETUP, [6]uint64{}, no},
		{plain, 100_000, [6]uint64{}, no},
		{plain, unix.SYS_CLONE3, [6]uint64{}, unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{plain, unix.SYS_CLONE, [6]uint64{thread}, yes},
		{plain, unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD)}, no},
		{plain, unix.SYS_CLONE, [6]uint64{unix.CLONE_VM | unix.CLONE_VFORK | uint64(unix.SIGCHLD)}, no},
		{plain, unix.SYS_CLONE, [6]uint64{thread | unix.CLONE_NEWNET}, no},
		{plain, unix.SYS_MMAP, [6]uint64{0, 4096, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_ANON}, yes},
		{plain, unix.SYS_MMAP, [6]uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC, unix.MAP_ANON}, no},
		{plain, unix.SYS_MPROTECT, [6]uint64{0, 4096, unix.PROT_NONE}, yes},
		{plain, unix.SYS_MPROTECT, [6]uint64{0, 4096, unix.PROT_EXEC}, no},
		{plain, unix.SYS_KILL, [6]uint64{self, 2}, yes},
		{plain, unix.SYS_KILL, [6]uint64{self + 1, 2}, no},
		{plain, unix.SYS_KILL, [6]uint64{1<<64 - 1, 9}, no},
		{plain, unix.SYS_TGKILL, [6]uint64{self, 99, 23}, yes},
		{plain, unix.SYS_TGKILL, [6]uint64{1, 1, 23}, no},
		{plain, unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_NOFILE, 0, 0xc000123450}, yes},
		{plain, unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_NOFILE, 0xc000123450, 0}, no},
		{plain, unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_NOFILE, 0xc000000000, 0}, no},
		{plain, unix.SYS_PRLIMIT64, [6]uint64{1, unix.RLIMIT_NOFILE, 0, 0xc000123450}, no},
		{plain, unix.SYS_PRCTL, [6]uint64{unix.PR_SET_VMA}, yes},
		{plain, unix.SYS_PRCTL, [6]uint64{unix.PR_SET_DUMPABLE, 1}, no},
		{plain, unix.SYS_IOCTL, [6]uint64{1, unix.TIOCGWINSZ}, yes},
		{plain, unix.SYS_IOCTL, [6]uint64{1, unix.TIOCSTI}, no},
		{plain, unix.SYS_IOCTL, [6]uint64{3, unix.SIOCGIFINDEX}, no},
		{full, unix.SYS_IOCTL, [6]uint64{3, unix.SIOCGIFINDEX}, yes},
		{full, unix.SYS_IOCTL, [6]uint64{1, unix.TIOCSTI}, no},
		{plain, unix.SYS_IOCTL, [6]uint64{3, unix.NS_GET_NSTYPE}, no},
		{full, unix.SYS_IOCTL, [6]uint64{3, unix.NS_GET_NSTYPE}, yes},
		{plain, unix.SYS_SETNS, [6]uint64{3, unix.CLONE_NEWNET}, no},
		{full, unix.SYS_SETNS, [6]uint64{3, unix.CLONE_NEWNET}, yes},
		{full, unix.SYS_SETNS, [6]uint64{3, unix.CLONE_NEWNS}, no},
		{plain, unix.SYS_UNLINKAT, [6]uint64{}, no},
		{full, unix.SYS_UNLINKAT, [6]uint64{}, yes},
		{plain, unix.SYS_CONNECT, [6]uint64{}, no},
		{full, unix.SYS_CONNECT, [6]uint64{}, yes},
		{plain, unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW | unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE}, yes},
		{plain, unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG}, yes},
		{full, unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, no},
		{full, unix.SYS_SOCKET, [6]uint64{unix.AF_VSOCK, unix.SOCK_STREAM}, no},
		{full, unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, no},
	}
	for _, domain := range []uint64{unix.AF_INET, unix.AF_INET6} {
		for _, kind := range []uint64{unix.SOCK_STREAM, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK} {
			cases = append(cases, verdict{plain, unix.SYS_SOCKET, [6]uint64{domain, kind}, no}, verdict{full, unix.SYS_SOCKET, [6]uint64{domain, kind}, yes})
		}
	}
	for _, c := range []struct{ domain, kind uint64 }{{unix.AF_PACKET, unix.SOCK_RAW}, {unix.AF_UNIX, unix.SOCK_DGRAM}} {
		cases = append(cases, verdict{plain, unix.SYS_SOCKET, [6]uint64{c.domain, c.kind}, no}, verdict{full, unix.SYS_SOCKET, [6]uint64{c.domain, c.kind}, yes})
	}
	cases = append(cases, verdict{full, unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX, unix.SOCK_STREAM}, no})

	for _, c := range cases {
		raw, err := filter(callsFor(c.o))
		if err != nil {
			t.Fatal(err)
		}
		program, ok := bpf.Disassemble(raw)
		if !ok {
			t.Fatal("the filter has instructions that there aren't")
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatal(err)
		}
		if got := judge(t, vm, seccompData{c.number, auditArch, c.args}); got != c.want {
			t.Errorf("%+v: call %d with %#x: %#x, want %#x", c.o, c.number, c.args, got, c.want)
		}
		// The same numbers are other calls in a program of another kind.
		if got := judge(t, vm, seccompData{c.number, unix.AUDIT_ARCH_I386, c.args}); got != no {
			t.Errorf("call %d of a 32-bit program: %#x", c.number, got)
		}
		if got := judge(t, vm, seccompData{c.number | 1<<30, auditArch, c.args}); got != no {
			t.Errorf("call %d of an x32 program: %#x", c.number, got)
		}
	}
}

// No call is in the list twice: the first would hide the conditions of the second, or the other way round.
func TestCallsAreListedOnce(t *testing.T) {
	seen := make(map[uint32]bool)
	for _, c := range callsFor(Options{WritePaths: []string{"/"}, Network: true, Keep: []Cap{CapNetRaw, CapSysAdmin}}) {
		if seen[c.number] {
			t.Errorf("call %d is listed twice", c.number)
		}
		seen[c.number] = true
	}
}
