package pcapfilter

// The invariant of FuzzParse: any text is either refused, with a position within it, or makes a filter
// whose text makes an equal filter; and whatever then compiles obeys the kernel's rules, runs to its end
// on any packet, and passes nothing else than what the reference machine passes. So does its live program, which
// has the other's verdict on a packet without a stripped tag, where there is a link header.
//
// The invariant of FuzzRun: any program ends on any packet.

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/culprit-http/culprit/internal/capture"
)

func FuzzParse(f *testing.F) {
	packet := samples(1, 20)
	for i, expr := range lines(f, "expressions.txt") {
		f.Add(expr, uint16([]capture.LinkType{1, 0, 101, 276}[i%4]), packet[i%len(packet)].data)
	}
	for _, line := range lines(f, "refused.txt") {
		f.Add(line, uint16(1), packet[0].data)
	}
	f.Fuzz(func(t *testing.T, expr string, link uint16, data []byte) {
		filter, err := Parse(expr)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Pos < 0 || syntax.Pos > len(expr) || err.Error() == "" {
				t.Fatalf("%q: bad error %v", expr, err)
			}
			return
		}
		filter.OneDirection()
		program, err := filter.Compile(capture.LinkType(link), Options{})

		text := filter.String()
		again, err2 := Parse(text)
		if err2 != nil {
			if len(text) > MaxLength {
				return // what is written out is longer
			}
			t.Fatalf("%q: its text %q doesn't parse: %v", expr, text, err2)
		}
		if again.String() != text {
			t.Fatalf("%q: its text %q parses to %q", expr, text, again)
		}
		program2, err2 := again.Compile(capture.LinkType(link), Options{})
		if (err != nil) != (err2 != nil) || !slices.Equal(program, program2) {
			t.Fatalf("%q: its text %q compiles to another program: %v, %v", expr, text, err, err2)
		}
		if err != nil {
			return
		}
		code, err := bpf.Assemble(program)
		if err != nil {
			t.Fatalf("%q: %v", expr, err)
		}
		if err := kernelCheck(code); err != nil {
			t.Fatalf("%q: %v", expr, err)
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatalf("%q: %v", expr, err)
		}
		want, err := vm.Run(data)
		if err != nil {
			t.Fatalf("%q: %v", expr, err)
		}
		got := run(code, data, uint32(len(data)))
		if got != uint32(want) && !wraps(program) {
			t.Fatalf("%q: %d, the reference machine gives %d, for %x", expr, got, want, data)
		}
		program, err = filter.Compile(capture.LinkType(link), Options{Live: true})
		if err != nil {
			return
		}
		code, err = bpf.Assemble(program)
		if err != nil {
			t.Fatalf("%q: live: %v", expr, err)
		}
		if err := kernelCheck(code); err != nil {
			t.Fatalf("%q: live: %v", expr, err)
		}
		if live := runLive(code, data, uint32(len(data)), &Ancillary{}); live != got && link != 276 && !wraps(program) {
			t.Fatalf("%q: %d, the live program gives %d, for %x", expr, got, live, data)
		}
	})
}

func FuzzRun(f *testing.F) {
	for i, s := range samples(1, 20) {
		f.Add([]byte{ldH, 0, 0, 12, jeqK, 1, 0, byte(i), retK, 0, 0, 1, retA, 0, 0, 0}, s.data)
	}
	f.Fuzz(func(t *testing.T, text, data []byte) {
		var code []bpf.RawInstruction
		for i := range slices.Chunk(text, 4) {
			if len(i) == 4 {
				code = append(code, bpf.RawInstruction{Op: uint16(i[0]), Jt: i[1], Jf: i[2], K: uint32(int32(int8(i[3])))})
			}
		}
		run(code, data, uint32(len(data)))
	})
}
