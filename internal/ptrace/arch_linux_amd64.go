package ptrace

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const auditArch = unix.AUDIT_ARCH_X86_64

// Registers are those of a thread.
type Registers = unix.PtraceRegs

func getRegisters(tid int, r *Registers) error { return unix.PtraceGetRegs(tid, r) }
func setRegisters(tid int, r *Registers) error { return unix.PtraceSetRegs(tid, r) }

// breakpointCode is INT3. The program counter is then behind it.
var breakpointCode = []byte{0xcc}

const breakpointSkip = 1

func programCounter(r *Registers) uint64        { return r.Rip }
func setProgramCounter(r *Registers, pc uint64) { r.Rip = pc }

// GoArguments returns the first integer arguments of a Go function at its entry (Go's internal ABI).
func GoArguments(r *Registers) [9]uint64 {
	return [9]uint64{r.Rax, r.Rbx, r.Rcx, r.Rdi, r.Rsi, r.R8, r.R9, r.R10, r.R11}
}

// The flags that a comparison sets.
const (
	flagCarry    = 1 << 0
	flagParity   = 1 << 2
	flagAdjust   = 1 << 4
	flagZero     = 1 << 6
	flagSign     = 1 << 7
	flagOverflow = 1 << 11
	flagsAll     = flagCarry | flagParity | flagAdjust | flagZero | flagSign | flagOverflow
)

// emulate does what the instruction at the program counter does, if it is one that functions of Go begin with: the check of the stack's
// bound. So the breakpoint stays in place, and no other thread slips by.
func emulate(r *Registers, code []byte, read func(address uint64) (uint64, bool)) bool {
	switch {
	case bytes.HasPrefix(code, []byte{0x49, 0x3b, 0x66, 0x10}): // CMPQ SP, 16(R14)
		bound, ok := read(r.R14 + 16)
		if !ok {
			return false
		}
		r.Eflags = r.Eflags&^flagsAll | compareFlags(r.Rsp, bound)
		r.Rip += 4
	case bytes.HasPrefix(code, []byte{0x4c, 0x8d, 0x64, 0x24}) && len(code) >= 5: // LEAQ disp8(SP), R12
		r.R12 = r.Rsp + uint64(int64(int8(code[4])))
		r.Rip += 5
	case bytes.HasPrefix(code, []byte{0x4c, 0x8d, 0xa4, 0x24}) && len(code) >= 8: // LEAQ disp32(SP), R12
		r.R12 = r.Rsp + uint64(int64(int32(binary.LittleEndian.Uint32(code[4:]))))
		r.Rip += 8
	default:
		return false
	}
	return true
}

// compareFlags returns the flags that a comparison of two numbers sets.
func compareFlags(a, b uint64) (flags uint64) {
	d := a - b
	if a < b {
		flags |= flagCarry
	}
	ones := byte(d)
	ones ^= ones >> 4
	ones ^= ones >> 2
	if (ones^ones>>1)&1 == 0 {
		flags |= flagParity
	}
	if (a^b^d)&0x10 != 0 {
		flags |= flagAdjust
	}
	if d == 0 {
		flags |= flagZero
	}
	if int64(d) < 0 {
		flags |= flagSign
	}
	if (a^b)&(a^d)>>63 != 0 {
		flags |= flagOverflow
	}
	return flags
}
