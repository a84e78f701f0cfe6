package pcapfilter

import (
	"slices"

	"golang.org/x/net/bpf"
)

// block is a piece of program without branches: load, then compare and go on at yes or no. The blocks
// yes and no come after it in the program, so every jump is forward.
type block struct {
	*condition
	yes, no *block
	result  uint32 // of a block without a condition, which ends the program

	reached bool
	known   int // how many instructions of load every block before has just done
	pos     int // of the first instruction, counted from the end of the program
}

// builder makes blocks of conditions, the last of the program first.
type builder struct {
	blocks []*block
}

// assemble makes a program that returns pass or 0. Its length is not limited.
func assemble(root *condition, pass uint32) []bpf.Instruction {
	var b builder
	reject := b.add(&block{})
	accept := b.add(&block{result: pass})
	start := b.build(root, accept, reject)
	b.findKnown(start)
	return b.emit()
}

func (b *builder) add(n *block) *block {
	b.blocks = append(b.blocks, n)
	return n
}

// build returns the block at which to evaluate c.
func (b *builder) build(c *condition, yes, no *block) *block {
	switch c.kind {
	case isAnd:
		return b.build(c.a, b.build(c.b, yes, no), no)
	case isOr:
		return b.build(c.a, yes, b.build(c.b, yes, no))
	case isNot:
		return b.build(c.a, no, yes)
	case isChoice:
		return b.build(c.when, b.build(c.a, yes, no), b.build(c.b, yes, no))
	case isAlways:
		return yes
	case isNever:
		return no
	}
	return b.add(&block{condition: c, yes: thread(c, true, yes), no: thread(c, false, no)})
}

// thread follows the blocks whose outcome is known from that of c: where an EtherType isn't IPv6, the
// next comparison with IPv6 needs no asking.
func thread(c *condition, outcome bool, to *block) *block {
	for to.condition != nil && !c.x && !to.x && slices.Equal(c.load, to.load) {
		result, ok := implied(c, outcome, to.condition)
		switch {
		case !ok:
			return to
		case result:
			to = to.yes
		default:
			to = to.no
		}
	}
	return to
}

// implied returns the result of a second test of the value that c was tested with, where it follows
// from the first.
func implied(c *condition, outcome bool, second *condition) (result, ok bool) {
	switch {
	case c.test != bpf.JumpEqual:
		return false, false
	case !outcome:
		return false, second.test == bpf.JumpEqual && second.k == c.k
	}
	switch second.test {
	case bpf.JumpEqual:
		return c.k == second.k, true
	case bpf.JumpGreaterThan:
		return c.k > second.k, true
	case bpf.JumpGreaterOrEqual:
		return c.k >= second.k, true
	}
	return c.k&second.k != 0, true
}

// findKnown marks what can be reached, and what needn't be loaded again.
func (b *builder) findKnown(start *block) {
	start.reached = true
	for i := len(b.blocks) - 1; i >= 0; i-- {
		from := b.blocks[i]
		if !from.reached || from.condition == nil {
			continue
		}
		for _, to := range []*block{from.yes, from.no} {
			if to.condition == nil {
				to.reached = true
				continue
			}
			known := carried(from.load, to.load)
			if to.reached {
				known = min(known, to.known)
			}
			to.known, to.reached = known, true
		}
	}
}

// carried returns how many of the next instructions a block can leave out after one that did those of
// load: all, if they are the same, or the first, if it has put the length of the IP header into X.
func carried(load, next []bpf.Instruction) int {
	if slices.Equal(load, next) {
		return len(load)
	}
	if len(load) == 2 && len(next) == 2 && load[0] == next[0] {
		if _, ok := load[0].(bpf.LoadMemShift); ok {
			return 1
		}
	}
	return 0
}

// maxSkip is how far a conditional jump reaches.
const maxSkip = 255

// emit writes the program from its end to its start, so that the distance of every jump is known.
func (b *builder) emit() []bpf.Instruction {
	var code []bpf.Instruction
	put := func(i bpf.Instruction) { code = append(code, i) }
	skip := func(pos int) int { return len(code) - 1 - pos }
	// near returns a position that a conditional jump can reach from close by and that leads to pos.
	near := func(pos int) int {
		if skip(pos) < maxSkip {
			return pos
		}
		put(bpf.Jump{Skip: uint32(skip(pos))})
		return len(code) - 1
	}
	for _, n := range b.blocks {
		if !n.reached {
			continue
		}
		if n.condition == nil {
			put(bpf.RetConstant{Val: n.result})
			n.pos = len(code) - 1
			continue
		}
		no := near(n.no.pos)
		yes := near(n.yes.pos)
		skipYes, skipNo := uint8(skip(yes)), uint8(skip(no))
		if n.x {
			put(bpf.JumpIfX{Cond: n.test, SkipTrue: skipYes, SkipFalse: skipNo})
		} else {
			put(bpf.JumpIf{Cond: n.test, Val: n.k, SkipTrue: skipYes, SkipFalse: skipNo})
		}
		for _, i := range slices.Backward(n.load[n.known:]) {
			put(i)
		}
		n.pos = len(code) - 1
	}
	slices.Reverse(code)
	return code
}
