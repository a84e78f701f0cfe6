// Package pcapfilter is the capture filter: tcpdump's language (pcap-filter(7)), compiled to classic
// BPF. A Matcher runs the program on the packets of files. For packet sockets there is a live program,
// which the kernel runs.
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
	// DefaultSnapLen. On a socket of type SOCK_DGRAM they count from the network header.
	SnapLen uint32
	// Live asks for the program of a packet socket (AF_PACKET of Linux) instead of one for records. The link type
	// is that of the records that are made of its packets: 1 or 101 for a socket of type SOCK_RAW on an
	// interface with Ethernet headers (lo has them too) or with nothing before IP; 276 for one of type
	// SOCK_DGRAM, on an interface of any other kind, or on all of them.
	Live bool
}

// Compile returns the program for packets of a link type. It returns 0 for a packet that the filter
// rejects and the snap length for one that it passes, and suits bpf.Assemble. The error is a
// *LinkError.
//
// A live program has the verdicts that the other has on the records, but for two things that are as in tcpdump.
// On Ethernet, what stands before the first "vlan" sees a received packet without its outermost tag, which the
// kernel has taken out: "port 80" passes tagged packets. And the length of a packet of a SOCK_DGRAM socket counts
// from the network header.
//
// Linux takes at most MaxInstructions, what the caller adds to them included, and refuses with ENOMEM a program
// that needs more memory than net.core.optmem_max. With the default of 128 KiB about 2,500 instructions fit; with
// that of older kernels, 20 KiB, about 350. For what the kernel doesn't take, whatever the reason, there is
// LiveMatcher. A Matcher on the records, with tags put back and cooked headers in front, will do too, with the
// said differences; on Ethernet and raw IP it can't tell directions and interfaces.
func (f *Filter) Compile(link capture.LinkType, o Options) ([]bpf.Instruction, error) {
	return f.program(link, o, MaxInstructions)
}

// program makes a program of at most that many instructions.
func (f *Filter) program(link capture.LinkType, o Options, most int) ([]bpf.Instruction, error) {
	if o.SnapLen == 0 {
		o.SnapLen = DefaultSnapLen
	}
	if f.root == nil {
		return []bpf.Instruction{bpf.RetConstant{Val: o.SnapLen}}, nil
	}
	layer, ok := linkLayers[link]
	var variants []variant
	if o.Live {
		layer, variants, ok = liveLayer(link)
	}
	if !ok {
		return nil, &LinkError{Link: link, Reason: fmt.Sprintf("the capture filter does not support link type %d", link)}
	}
	c := compiler{name: layer.name}
	root := c.compile(f.root, layer.layout, variants)
	if c.reason != "" {
		return nil, &LinkError{Link: link, Reason: c.reason}
	}
	program := assemble(root, o.SnapLen)
	if len(program) > most {
		return nil, &LinkError{Link: link, TooLong: true,
			Reason: fmt.Sprintf("the capture filter needs %d instructions, %d are allowed: make it shorter", len(program), most)}
	}
	return program, nil
}

// LinkError says why a filter can't be compiled for a link type.
type LinkError struct {
	Link   capture.LinkType
	Reason string
	// TooLong says that it could be, but has more instructions than are allowed. Of a live program, a
	// LiveMatcher allows more than the kernel.
	TooLong bool
}

func (e *LinkError) Error() string { return e.Reason }
