package pcapfilter

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/culprit-http/culprit/internal/capture"
)

// TestSameAsReferenceMachine compares the interpreter with the virtual machine of golang.org/x/net/bpf
// on every expression of the table. That machine knows no length but that of the data, and adds the
// offsets of indirect loads without wrapping, so both are given the packet whole, and indices that
// are computed with a subtraction are left out.
func TestSameAsReferenceMachine(t *testing.T) {
	for _, link := range []capture.LinkType{1, 101, 276} {
		packets := samples(link, 200)
		for _, expr := range lines(t, "expressions.txt") {
			program, err := mustParse(t, expr).Compile(link, Options{})
			if err != nil {
				continue
			}
			code, err := bpf.Assemble(program)
			if err != nil {
				t.Fatalf("%q: %v", expr, err)
			}
			vm, err := bpf.NewVM(program)
			if err != nil {
				t.Fatalf("%q: %v", expr, err)
			}
			for _, s := range packets {
				want, err := vm.Run(s.data)
				if err != nil {
					t.Fatalf("%q: %v", expr, err)
				}
				if got := run(code, s.data, uint32(len(s.data))); got != uint32(want) && !wraps(program) {
					t.Fatalf("link %d: %q: %d, the reference machine gives %d, for %x", link, expr, got, want, s.data)
				}
			}
		}
	}
}

// wraps reports whether a program may load at an index that wrapped around.
func wraps(program []bpf.Instruction) bool {
	subtracts := false
	for _, i := range program {
		switch i := i.(type) {
		case bpf.ALUOpX:
			subtracts = subtracts || i.Op == bpf.ALUOpSub
		case bpf.ALUOpConstant:
			subtracts = subtracts || i.Op == bpf.ALUOpSub
		case bpf.LoadIndirect:
			if subtracts {
				return true
			}
		}
	}
	return false
}

// TestOperations runs what the compiler doesn't make, or what the reference machine doesn't know.
func TestOperations(t *testing.T) {
	data := []byte{0x45, 1, 2, 3, 4, 5, 6, 7}
	ret := bpf.RawInstruction{Op: retA}
	for _, test := range []struct {
		name string
		code []bpf.RawInstruction
		want uint32
	}{
		{"empty", nil, 0},
		{"wire length", []bpf.RawInstruction{{Op: ldLen}, ret}, 1500},
		{"wire length in x", []bpf.RawInstruction{{Op: ldxLen}, {Op: txa}, ret}, 1500},
		{"negate", []bpf.RawInstruction{{Op: ldImm, K: 5}, {Op: neg}, ret}, 0xfffffffb},
		{"last word", []bpf.RawInstruction{{Op: ldW, K: 4}, ret}, 0x04050607},
		{"word beyond the end", []bpf.RawInstruction{{Op: ldW, K: 5}, {Op: retK, K: 1}}, 0},
		{"half word beyond the end", []bpf.RawInstruction{{Op: ldH, K: 7}, {Op: retK, K: 1}}, 0},
		{"byte beyond the end", []bpf.RawInstruction{{Op: ldB, K: 8}, {Op: retK, K: 1}}, 0},
		{"offset near 2^32", []bpf.RawInstruction{{Op: ldW, K: 0xfffffffe}, {Op: retK, K: 1}}, 0},
		{"indirect", []bpf.RawInstruction{{Op: ldxImm, K: 2}, {Op: ldIndH, K: 3}, ret}, 0x0506},
		{"indirect wraps", []bpf.RawInstruction{{Op: ldxImm, K: 0xfffffffe}, {Op: ldIndB, K: 3}, ret}, 1},
		{"indirect beyond the end", []bpf.RawInstruction{{Op: ldxImm, K: 2}, {Op: ldIndW, K: 3}, {Op: retK, K: 1}}, 0},
		{"header length", []bpf.RawInstruction{{Op: ldxMsh}, {Op: txa}, ret}, 20},
		{"scratch", []bpf.RawInstruction{{Op: ldxImm, K: 7}, {Op: stx, K: 15}, {Op: ldMem, K: 15}, ret}, 7},
		{"division by zero", []bpf.RawInstruction{{Op: ldImm, K: 5}, {Op: divX}, {Op: retK, K: 1}}, 0},
		{"modulus by zero", []bpf.RawInstruction{{Op: ldImm, K: 5}, {Op: modX}, {Op: retK, K: 1}}, 0},
		{"constant division by zero", []bpf.RawInstruction{{Op: ldImm, K: 5}, {Op: divK}, {Op: retK, K: 1}}, 0},
		{"constant modulus by zero", []bpf.RawInstruction{{Op: ldImm, K: 5}, {Op: modK}, {Op: retK, K: 1}}, 0},
		{"shift by 32", []bpf.RawInstruction{{Op: ldImm, K: 5}, {Op: ldxImm, K: 32}, {Op: lshX}, ret}, 0},
		{"jump out", []bpf.RawInstruction{{Op: ja, K: 0xffffffff}, {Op: retK, K: 1}}, 0},
		{"unknown", []bpf.RawInstruction{{Op: 0xff}, {Op: retK, K: 1}}, 0},
	} {
		if got := run(test.code, data, 1500); got != test.want {
			t.Errorf("%s: %#x, want %#x", test.name, got, test.want)
		}
	}
}

func benchmarkPackets() []sample { return samples(1, 256) }

var benchmarkFilters = []string{"tcp port 80", "host 10.1.2.3 and tcp port 80", "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420"}

func BenchmarkMatch(b *testing.B) {
	packets := benchmarkPackets()
	for _, expr := range benchmarkFilters {
		b.Run(expr, func(b *testing.B) {
			m := mustParse(b, expr).Matcher()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s := &packets[i%len(packets)]
				m.Match(1, s.data, s.wire)
			}
		})
	}
}

func BenchmarkLiveMatch(b *testing.B) {
	_, packets := sights(256)
	for _, link := range []capture.LinkType{1, 276} {
		for _, expr := range []string{"tcp port 80", "tcp port 80 or (vlan and tcp port 80)"} {
			b.Run(fmt.Sprint(link, "/", expr), func(b *testing.B) {
				m, err := mustParse(b, expr).LiveMatcher(link)
				if err != nil {
					b.Fatal(err)
				}
				list := slices.Clone(packets)
				for i := range list {
					if link == 276 {
						list[i] = cooked(list[i])
					}
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					s := &list[i%len(list)]
					m.Match(s.data, len(s.data), &s.known)
				}
			})
		}
	}
}

func BenchmarkReferenceMachine(b *testing.B) {
	packets := benchmarkPackets()
	for _, expr := range benchmarkFilters {
		b.Run(expr, func(b *testing.B) {
			program, err := mustParse(b, expr).Compile(1, Options{})
			if err != nil {
				b.Fatal(err)
			}
			vm, err := bpf.NewVM(program)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := vm.Run(packets[i%len(packets)].data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
