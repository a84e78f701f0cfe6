package ptrace

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The offsets of struct seccomp_data (seccomp(2)).
const (
	dataNumber = 0
	dataArch   = 4
)

// filter returns a program of seccomp that stops at calls, and lets all others pass. Calls of another architecture that the kernel can run,
// such as 32-bit ones, pass: they aren't seen.
func filter(calls []uint64) ([]unix.SockFilter, error) {
	calls = slices.Compact(slices.Sorted(slices.Values(calls)))
	if len(calls) == 0 || len(calls) > 200 {
		return nil, fmt.Errorf("%d system calls to stop at", len(calls))
	}
	prog := []bpf.Instruction{
		bpf.LoadAbsolute{Off: dataArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
		bpf.LoadAbsolute{Off: dataNumber, Size: 4},
	}
	for i, n := range calls {
		// To the last instruction.
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(n), SkipTrue: uint8(len(calls) - i)})
	}
	prog = append(prog, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}, bpf.RetConstant{Val: unix.SECCOMP_RET_TRACE})
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return nil, err
	}
	out := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		out[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return out, nil
}

// install makes a filter that of the calling thread.
func install(prog []unix.SockFilter) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbidding new privileges: %w", err)
	}
	p := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p))); errno != 0 {
		return fmt.Errorf("installing a filter of system calls (seccomp): %w", errno)
	}
	return nil
}

// encode and decode a list of calls, for the way to the launcher.
func encode(calls []uint64) []byte {
	var b []byte
	for _, n := range calls {
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
	}
	return b
}

func decode(b []byte) (calls []uint64) {
	for ; len(b) >= 2; b = b[2:] {
		calls = append(calls, uint64(binary.LittleEndian.Uint16(b)))
	}
	return calls
}
