package pcapfilter

import (
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
)

// ancillaryLoads are the offsets of ancillary data that programs may load from.
var ancillaryLoads = []uint32{adProtocol, adPacketType, adInterface, adHardwareType, adTCI, adStripped, adTPID}

// kernelCheck applies the rules by which Linux accepts a program (bpf_check_classic and
// check_load_and_stores in net/core/filter.c).
func kernelCheck(code []bpf.RawInstruction) error {
	if len(code) == 0 || len(code) > MaxInstructions {
		return fmt.Errorf("%d instructions", len(code))
	}
	// stored[i] has a bit for each scratch slot that is stored on every way to instruction i.
	stored := make([]uint16, len(code))
	for i := range stored {
		stored[i] = ^uint16(0)
	}
	valid := uint16(0)
	for pc, i := range code {
		valid &= stored[pc]
		jump := func(skip uint32) error {
			if uint64(pc)+1+uint64(skip) >= uint64(len(code)) {
				return fmt.Errorf("%d: jump out of the program", pc)
			}
			stored[pc+1+int(skip)] &= valid
			return nil
		}
		var err error
		switch i.Op {
		case st, stx, ldMem, ldxMem:
			if i.K >= scratchSlots {
				return fmt.Errorf("%d: no scratch slot %d", pc, i.K)
			}
			if i.Op == st || i.Op == stx {
				valid |= 1 << i.K
			} else if valid&(1<<i.K) == 0 {
				return fmt.Errorf("%d: scratch slot %d is loaded before it is stored", pc, i.K)
			}
		case divK, modK:
			if i.K == 0 {
				return fmt.Errorf("%d: division by zero", pc)
			}
		case lshK, rshK:
			if i.K >= 32 {
				return fmt.Errorf("%d: shift by %d", pc, i.K)
			}
		case ja:
			err = jump(i.K)
			valid = ^uint16(0)
		case jeqK, jgtK, jgeK, jsetK, jeqX, jgtX, jgeX, jsetX:
			if err = jump(uint32(i.Jt)); err == nil {
				err = jump(uint32(i.Jf))
			}
			valid = ^uint16(0)
		case ldW, ldH, ldB:
			if i.K >= 1<<31 && !slices.Contains(ancillaryLoads, i.K) && (i.K < linkOffset || i.K >= linkOffset+1<<20) {
				return fmt.Errorf("%d: load at %#x, where kernels keep what isn't meant", pc, i.K)
			}
		case ldIndW, ldIndH, ldIndB, ldImm, ldLen, ldxImm, ldxLen, ldxMsh, addK, subK, mulK, orK, andK, xorK, neg,
			addX, subX, mulX, divX, modX, orX, andX, xorX, lshX, rshX, retK, retA, tax, txa:
		default:
			return fmt.Errorf("%d: unknown operation %#x", pc, i.Op)
		}
		if err != nil {
			return err
		}
	}
	if last := code[len(code)-1].Op; last != retK && last != retA {
		return fmt.Errorf("the last instruction isn't a return")
	}
	return nil
}
