package ptrace

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const auditArch = unix.AUDIT_ARCH_AARCH64

// Registers are those of a thread.
type Registers = unix.PtraceRegsArm64

// statusSet is the set of general registers, NT_PRSTATUS.
const statusSet = 1

func getRegisters(tid int, r *Registers) error { return unix.PtraceGetRegSetArm64(tid, statusSet, r) }
func setRegisters(tid int, r *Registers) error { return unix.PtraceSetRegSetArm64(tid, statusSet, r) }

// breakpointCode is BRK #0. The program counter stays at it.
var breakpointCode = []byte{0x00, 0x00, 0x20, 0xd4}

const breakpointSkip = 0

func programCounter(r *Registers) uint64        { return r.Pc }
func setProgramCounter(r *Registers, pc uint64) { r.Pc = pc }

// GoArguments returns the first integer arguments of a Go function at its entry (Go's internal ABI).
func GoArguments(r *Registers) (args [9]uint64) {
	copy(args[:], r.Regs[:])
	return args
}

// emulate does what the instruction at the program counter does, if it is the one that functions of Go begin with: the stack's bound is
// loaded. So the breakpoint stays in place, and no other thread slips by.
func emulate(r *Registers, code []byte, read func(address uint64) (uint64, bool)) bool {
	if len(code) < 4 || binary.LittleEndian.Uint32(code) != 0xf9400b90 { // MOVD 16(R28), R16
		return false
	}
	bound, ok := read(r.Regs[28] + 16)
	if !ok {
		return false
	}
	r.Regs[16] = bound
	r.Pc += 4
	return true
}
