// Package pcapfilter is the capture filter: tcpdump's language (pcap-filter(7)), compiled to classic
// BPF. The program is the same for the kernel, which wants it assembled, and for files, where a
// Matcher runs it.
//
// A filter passes through three forms. Parse makes a syntax tree in which every primitive has the
// qualifiers that it took over from the one before it. Compile turns the tree into conditions on a
// link type's layout, the conditions into blocks (load, compare, branch), and the blocks into
// instructions. What a primitive tests, and in which order, is libpcap's, because the order shows: a
// load beyond the end of a packet ends the program, and the packet isn't passed, not even by "not".
//
// What isn't supported is refused where it stands in the text. Nothing is guessed.
package pcapfilter

import (
	"fmt"

	"golang.org/x/net/bpf"

	"github.com/culprit-http/culprit/internal/capture"
)

// The limits on a filter. Exceeding one is an error of Parse or Compile that says so.
const (
	// MaxLength is the longest expression in bytes.
	MaxLength = 64 << 10
	// MaxDepth is how deep parentheses, brackets and negations may nest.
	MaxDepth = 100
	// MaxInstructions is the longest program, which is what kernels accept (BPF_MAXINSNS of Linux).
	MaxInstructions = 4096
)

// DefaultSnapLen is how many bytes of a packet a program passes unless Options say otherwise. It is
// tcpdump's.
const DefaultSnapLen = 262144

// Filter is a parsed filter. It doesn't change, and is safe for concurrent use.
type Filter struct {
	root node // nil passes everything
}

// Parse parses an expression. The error is a *SyntaxError. An expression of nothing but white space
// passes every packet.
func Parse(expr string) (*Filter, error) {
	root, err := parse(expr)
	if err != nil {
		return nil, err
	}
	return &Filter{root}, nil
}

// String returns the filter with every qualifier written out. It parses to an equal filter.
func (f *Filter) String() string {
	if f.root == nil {
		return ""
	}
	return string(f.root.append(nil))
}

// Options are choices of Compile. The zero value has the defaults.
type Options struct {
	// SnapLen is how many bytes of a passed packet the program tells the kernel to deliver; 0 means
	// DefaultSnapLen.
	SnapLen uint32
}

// Compile returns the program for packets of a link type. It returns 0 for a packet that the filter
// rejects and the snap length for one that it passes, and suits bpf.Assemble. The error is a
// *LinkError.
func (f *Filter) Compile(link capture.LinkType, o Options) ([]bpf.Instruction, error) {
	if o.SnapLen == 0 {
		o.SnapLen = DefaultSnapLen
	}
	if f.root == nil {
		return []bpf.Instruction{bpf.RetConstant{Val: o.SnapLen}}, nil
	}
	layer, ok := linkLayers[link]
	if !ok {
		return nil, &LinkError{Link: link, Reason: fmt.Sprintf("the capture filter does not support link type %d", link)}
	}
	c := compiler{layout: layer.layout, name: layer.name}
	root := c.condition(f.root)
	if c.reason == "" {
		program := assemble(root, o.SnapLen)
		if len(program) <= MaxInstructions {
			return program, nil
		}
		c.fail("the capture filter needs %d instructions, %d are allowed: make it shorter", len(program), MaxInstructions)
	}
	return nil, &LinkError{Link: link, Reason: c.reason}
}

// LinkError says why a filter can't be compiled for a link type.
type LinkError struct {
	Link   capture.LinkType
	Reason string
}

func (e *LinkError) Error() string { return e.Reason }
