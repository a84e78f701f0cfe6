package capture

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// pcapVariants tells the variants of the format by a file's first four bytes, read as a little-endian
// number (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html).
var pcapVariants = map[uint32]pcapVariant{
	0xa1b2c3d4: {header: 16, unit: 1000},
	0xd4c3b2a1: {header: 16, unit: 1000, swapped: true},
	0xa1b23c4d: {header: 16, unit: 1},
	0x4d3cb2a1: {header: 16, unit: 1, swapped: true},
	// Alexey Kuznetsov's "modified" pcap: 8 more bytes in a record's header.
	0xa1b2cd34: {header: 24, unit: 1000},
	0x34cdb2a1: {header: 24, unit: 1000, swapped: true},
}

type pcapVariant struct {
	header  int   // length of a record's header, in bytes
	unit    int64 // of the fraction of a second, in nanoseconds
	swapped bool  // the file is big-endian
}

const (
	pcapFileHeader = 24
	// pcapRecordHeader is the part of a record's header that all variants have.
	pcapRecordHeader = 16
)

// pcap reads the records of a pcap file.
type pcap struct {
	pcapVariant
	w     *window
	limit uint32
	tap   uint32
	link  LinkType
}

func newPcap(rd *reader) (format, error) {
	h, err := rd.w.peek(pcapFileHeader)
	if err != nil {
		return nil, err
	}
	p := &pcap{w: rd.w, pcapVariant: pcapVariants[binary.LittleEndian.Uint32(h)]}
	p.limit = rd.src.options.packetLimit(p.u32(h[16:]))
	p.link = LinkType(p.u32(h[20:])) // the upper half says how long the frame check sequence is
	if p.tap, err = rd.tap(0, "", p.link, 0); err != nil {
		return nil, err
	}
	p.w.pos += pcapFileHeader
	return p, nil
}

func (p *pcap) u32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if p.swapped {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func (p *pcap) next(r *Record) error {
	h, err := p.w.peek(p.header)
	if err != nil {
		return err
	}
	h = h[:pcapRecordHeader]
	seconds, fraction, captured, wire := p.u32(h), p.u32(h[4:]), p.u32(h[8:]), p.u32(h[12:])
	if captured > p.limit {
		return fmt.Errorf("the file is corrupt: a packet of %d captured bytes (limit %d)", captured, p.limit)
	}
	n := p.header + int(captured)
	b, err := p.w.peek(n)
	if err != nil {
		return err
	}
	r.Time = int64(seconds)*1e9 + int64(fraction)*p.unit
	r.Data = b[p.header:n:n]
	r.Block = p.w.block
	r.WireLen = int(max(wire, captured))
	r.Tap = p.tap
	r.Link = p.link
	p.w.pos += n
	return nil
}
