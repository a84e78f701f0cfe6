package synth

import (
	"bufio"
	"encoding/binary"
	"io"
)

// The link types that can be written (https://www.tcpdump.org/linktypes.html).
const (
	LinkEthernet = 1
	LinkRaw      = 101
)

const (
	defaultSnapLen = 262144
	magicMicro     = 0xa1b2c3d4
	magicNano      = 0xa1b23c4d
)

// pcapWriter writes a little-endian pcap file
// (https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/). The first error stays in err.
type pcapWriter struct {
	w       *bufio.Writer
	unit    int64 // nanoseconds a timestamp unit
	snapLen int
	written int64
	packets int
	err     error
}

func newPcapWriter(w io.Writer, o Options) *pcapWriter {
	p := &pcapWriter{w: bufio.NewWriterSize(w, 1<<20), unit: 1000, snapLen: o.SnapLen}
	magic := uint32(magicMicro)
	if o.Nano {
		magic, p.unit = magicNano, 1
	}
	var h [24]byte
	binary.LittleEndian.PutUint32(h[0:], magic)
	binary.LittleEndian.PutUint16(h[4:], 2) // version 2.4
	binary.LittleEndian.PutUint16(h[6:], 4)
	binary.LittleEndian.PutUint32(h[16:], uint32(o.SnapLen))
	binary.LittleEndian.PutUint32(h[20:], o.Link)
	p.write(h[:])
	return p
}

// record writes one packet seen at t, in nanoseconds since 1970.
func (p *pcapWriter) record(t int64, frame []byte) {
	captured := min(len(frame), p.snapLen)
	var h [16]byte
	binary.LittleEndian.PutUint32(h[0:], uint32(t/1e9))
	binary.LittleEndian.PutUint32(h[4:], uint32(t%1e9/p.unit))
	binary.LittleEndian.PutUint32(h[8:], uint32(captured))
	binary.LittleEndian.PutUint32(h[12:], uint32(len(frame)))
	p.write(h[:])
	p.write(frame[:captured])
	p.packets++
}

func (p *pcapWriter) write(b []byte) {
	if p.err == nil {
		_, p.err = p.w.Write(b)
		p.written += int64(len(b))
	}
}

func (p *pcapWriter) flush() error {
	if p.err == nil {
		p.err = p.w.Flush()
	}
	return p.err
}
