package packet

import (
	"time"

	"github.com/culprit-http/culprit/internal/capture"
)

// Limits bound what a Decoder does for one frame, and what it keeps of fragments.
type Limits struct {
	// MaxDepth is the number of encapsulations in one frame (tags, tunnels, reassembled datagrams).
	// A deeper frame is TooDeep.
	MaxDepth int
	// MaxDatagrams and MaxFragmentBytes bound the datagrams that wait for fragments, and the memory
	// that they take, in bytes. Past either, the oldest goes: FragmentStats.Evicted.
	MaxDatagrams     int
	MaxFragmentBytes int
	// MaxFragments is the number of pieces of one datagram. Past it, the datagram goes:
	// FragmentStats.TooMany.
	MaxFragments int
	// FragmentTimeout is how long, in capture time, a datagram waits for its fragments:
	// FragmentStats.Expired.
	FragmentTimeout time.Duration
}

// DefaultLimits returns the limits that are in force unless configured otherwise.
func DefaultLimits() Limits {
	return Limits{
		MaxDepth:         16,
		MaxDatagrams:     1024,
		MaxFragmentBytes: 4 << 20,
		MaxFragments:     256,
		FragmentTimeout:  30 * time.Second,
	}
}

// Count is a number of frames and of their captured bytes.
type Count struct{ Packets, Bytes uint64 }

func (c *Count) add(o Count) { c.Packets += o.Packets; c.Bytes += o.Bytes }
func (c *Count) sub(o Count) { c.Packets -= o.Packets; c.Bytes -= o.Bytes }

// Decoder takes frames apart. It isn't safe for concurrent use; the fragments of one datagram must
// come to the same Decoder.
//
// Checksums aren't verified: a host that captures its own traffic sees packets before the network
// card fills them in, so that a wrong checksum says nothing about what the receiver got.
type Decoder struct {
	limits Limits
	counts [Results]Count
	// charge is what the frame in hand stands for: itself, and the held frames of the datagrams that
	// it completed.
	charge     Count
	aggregated uint64
	fragments  fragments
}

// NewDecoder returns a Decoder that keeps to limits.
func NewDecoder(limits Limits) *Decoder {
	d := &Decoder{limits: limits}
	d.fragments.init()
	return d
}

// Decode takes the frame of r apart and fills p, all of it. p holds a whole packet only when the
// result is Decoded; its slices point into r.Data or into a reassembled datagram.
func (d *Decoder) Decode(p *Packet, r *capture.Record) Result {
	l := layer{b: r.Data, wire: max(r.WireLen, len(r.Data))}
	*p = Packet{Time: r.Time, Number: r.Number, Tap: r.Tap, Wire: uint32(l.wire), Captured: uint32(len(r.Data))}
	d.charge = Count{1, uint64(len(r.Data))}
	res := UnknownLink
	if r.Link == linkEthernet {
		res = d.ethernet(p, l)
	} else if int(r.Link) < len(linkLayers) && linkLayers[r.Link] != nil {
		res = linkLayers[r.Link](d, p, l)
	}
	d.counts[res].add(d.charge)
	return res
}

// Counts returns, by result, all frames given to Decode so far. Their sum is what was received.
// A fragment is counted as Held while it waits, and then as what became of its datagram: under the
// result of the frame that completed it, or as BadFragment. After Flush nothing is Held.
func (d *Decoder) Counts() [Results]Count { return d.counts }

// Aggregated returns how many subframes of 802.11 aggregates (A-MSDU) weren't decoded: only the
// first one of a frame is.
func (d *Decoder) Aggregated() uint64 { return d.aggregated }

// layer is the rest of a frame from some header on.
type layer struct {
	// b is what was captured of it, wire its length on the wire: at least len(b).
	b    []byte
	wire int
	// depth counts the encapsulations around it.
	depth int
}

// skip returns what follows n bytes, which must have been captured.
func (l layer) skip(n int) layer { return layer{l.b[n:], l.wire - n, l.depth} }

// inner is skip into an encapsulation.
func (l layer) inner(n int) layer { return layer{l.b[n:], l.wire - n, l.depth + 1} }

// trim cuts off what lies behind n bytes: padding, trailers, checksums.
func (l layer) trim(n int) layer {
	if n < l.wire {
		l.b, l.wire = l.b[:min(n, len(l.b))], n
	}
	return l
}

// short says why a header of n bytes isn't there.
func (l layer) short(n int) Result {
	if l.wire >= n {
		return SnapCut
	}
	return Malformed
}
