package capture

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"math/bits"
)

// Block types of pcapng (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html §4). Others
// are skipped: name resolution, custom and journal blocks among them.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockPacket     = 2 // obsolete
	blockSimple     = 3
	blockStatistics = 5
	blockEnhanced   = 6
	blockSecrets    = 10
)

// byteOrderMagic stands after the length of a section header.
const byteOrderMagic = 0x1a2b3c4d

// Option codes, by the block that they stand in.
const (
	optionEnd = 0

	optionComment = 1

	interfaceName       = 2
	interfaceResolution = 9
	interfaceOffset     = 14

	statisticsIfDrop = 5
	statisticsOSDrop = 7
)

const (
	// maxBlock is the largest length of a block, in bytes, unless the snap length calls for more: as in
	// Wireshark.
	maxBlock = 16 << 20
	// blockSlack is what a packet's block may hold beside the packet: headers and options.
	blockSlack = 64 << 10
	// maxInterfaces is how many interfaces a section may have.
	maxInterfaces = 4096
)

// pcapng reads the records of a pcapng file.
type pcapng struct {
	rd       *reader
	w        *window
	swapped  bool // the section is big-endian
	limit    uint32
	ifaces   []iface
	named    map[ifaceKey]int // how many interfaces of the section have the name
	lastTime int64            // of the last record, for blocks without a time
}

// maxSeconds is the last whole second that nanoseconds in 64 bits can express.
const maxSeconds = math.MaxInt64 / 1_000_000_000

// iface is an interface of the current section. A timestamp counts mul/div nanoseconds from offset.
type iface struct {
	mul, div uint64
	offset   int64
	snaplen  uint32
	tap      uint32
	link     LinkType
}

type ifaceKey struct {
	name string
	link LinkType
}

func newPcapng(rd *reader) (format, error) {
	p := &pcapng{rd: rd, w: rd.w, named: map[ifaceKey]int{}, limit: maxBlock}
	return p, p.section()
}

func (p *pcapng) u16(b []byte) uint16 {
	v := binary.LittleEndian.Uint16(b)
	if p.swapped {
		v = bits.ReverseBytes16(v)
	}
	return v
}

func (p *pcapng) u32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if p.swapped {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func (p *pcapng) u64(b []byte) uint64 {
	v := binary.LittleEndian.Uint64(b)
	if p.swapped {
		v = bits.ReverseBytes64(v)
	}
	return v
}

// time64 reads a timestamp, which is two numbers with the higher half first in either byte order.
func (p *pcapng) time64(b []byte) uint64 {
	return uint64(p.u32(b))<<32 | uint64(p.u32(b[4:]))
}

func (p *pcapng) next(r *Record) error {
	for {
		h, err := p.w.peek(8)
		if err != nil {
			return err
		}
		kind := p.u32(h)
		if kind == blockSection {
			if err := p.section(); err != nil {
				return err
			}
			continue
		}
		body, total, err := p.block(p.u32(h[4:]))
		if err != nil {
			return err
		}
		ok := false
		switch kind {
		case blockEnhanced:
			ok, err = p.enhanced(r, body)
		case blockPacket:
			ok, err = p.obsolete(r, body)
		case blockSimple:
			ok, err = p.simple(r, body)
		case blockInterface:
			err = p.iface(body)
		case blockStatistics:
			err = p.statistics(body)
		case blockSecrets:
			err = p.secrets(body)
		}
		if err != nil {
			return err
		}
		p.w.pos += total
		if ok {
			return nil
		}
	}
}

// block returns the body and the whole length of the next block, whose header says length.
func (p *pcapng) block(length uint32) (body []byte, total int, err error) {
	if length < 12 || length > p.limit {
		return nil, 0, fmt.Errorf("the file is corrupt: a block of %d bytes (limit %d)", length, p.limit)
	}
	total = int(length+3) &^ 3 // some writers forget the padding in the length
	b, err := p.w.peek(total)
	if err != nil {
		return nil, 0, err
	}
	if again := p.u32(b[total-4:]); again != length {
		return nil, 0, fmt.Errorf("the file is corrupt: a block's length is %d at its start and %d at its end", length, again)
	}
	return b[8 : total-4], total, nil
}

// section reads a section header block, which forgets the interfaces and may change the byte order.
func (p *pcapng) section() error {
	h, err := p.w.peek(12)
	if err != nil {
		return err
	}
	switch order := binary.LittleEndian.Uint32(h[8:]); order {
	case byteOrderMagic:
		p.swapped = false
	case bits.ReverseBytes32(byteOrderMagic):
		p.swapped = true
	default:
		return fmt.Errorf("the file is corrupt: a pcapng section whose byte order is %#08x", order)
	}
	body, total, err := p.block(p.u32(h[4:]))
	if err != nil {
		return err
	}
	if len(body) < 16 {
		return short("section header", body)
	}
	if major := p.u16(body[4:]); major != 1 {
		return fmt.Errorf("pcapng version %d.%d isn't supported, only 1.x", major, p.u16(body[6:]))
	}
	p.w.pos += total
	p.ifaces = p.ifaces[:0]
	clear(p.named)
	return nil
}

func (p *pcapng) iface(body []byte) error {
	if len(body) < 8 {
		return short("interface", body)
	}
	if len(p.ifaces) == maxInterfaces {
		return fmt.Errorf("a section with more than %d interfaces", maxInterfaces)
	}
	f := iface{mul: 1000, div: 1, link: LinkType(p.u16(body)), snaplen: p.u32(body[4:])}
	name, recorded := "", ""
	for code, value := range p.options(body[8:]) {
		switch {
		case code == optionComment && recorded == "":
			recorded = recordedBy(value)
		case code == interfaceName:
			name = string(value)
		case code == interfaceResolution && len(value) > 0:
			var err error
			if f.mul, f.div, err = resolution(value[0]); err != nil {
				return err
			}
		case code == interfaceOffset && len(value) >= 8:
			f.offset = max(-maxSeconds, min(int64(p.u64(value)), maxSeconds))
		}
	}
	key := ifaceKey{name, f.link}
	var err error
	if f.tap, err = p.rd.tap(len(p.ifaces), name, f.link, p.named[key]); err != nil {
		return err
	}
	if recorded != "" {
		p.rd.src.taps[f.tap].Recorded = recorded
	}
	p.named[key]++
	p.ifaces = append(p.ifaces, f)
	p.limit = max(p.limit, p.rd.src.options.packetLimit(f.snaplen)+blockSlack)
	return nil
}

// resolution returns the nanoseconds of one unit of an if_tsresol option as a fraction.
func resolution(v byte) (mul, div uint64, err error) {
	n := uint(v & 0x7f)
	switch {
	case v&0x80 != 0 && n < 64:
		return 1e9, 1 << n, nil
	case v&0x80 == 0 && n <= 9:
		return pow10(9 - n), 1, nil
	case v&0x80 == 0 && n <= 9+19:
		return 1, pow10(n - 9), nil
	}
	return 0, 0, fmt.Errorf("the timestamp resolution %#02x of an interface isn't supported", v)
}

func pow10(n uint) uint64 {
	v := uint64(1)
	for range n {
		v *= 10
	}
	return v
}

// time returns the nanoseconds since 1970 of a timestamp; what doesn't fit becomes the largest time.
func (f *iface) time(v uint64) int64 {
	hi, lo := bits.Mul64(v, f.mul)
	if f.div != 1 {
		if hi >= f.div {
			return math.MaxInt64
		}
		lo, _ = bits.Div64(hi, lo, f.div)
		hi = 0
	}
	if hi != 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	// In whole seconds first, since the two may cancel out.
	switch seconds := int64(lo/1e9) + f.offset; {
	case seconds >= maxSeconds:
		return math.MaxInt64
	case seconds <= -maxSeconds:
		return math.MinInt64
	default:
		return seconds*1e9 + int64(lo%1e9)
	}
}

// record fills r with the packet at the start of b, of which captured bytes were kept.
func (p *pcapng) record(r *Record, f *iface, b []byte, captured, wire uint32) error {
	if uint64(captured) > uint64(len(b)) {
		return fmt.Errorf("the file is corrupt: %d captured bytes in a block that has room for %d", captured, len(b))
	}
	p.lastTime = r.Time
	r.Data = b[:captured:captured]
	r.Block = p.w.block
	r.WireLen = int(max(wire, captured))
	r.Tap = f.tap
	r.Link = f.link
	return nil
}

func (p *pcapng) enhanced(r *Record, body []byte) (bool, error) {
	if len(body) < 20 {
		return false, short("packet", body)
	}
	f, err := p.lookup(p.u32(body))
	if err != nil {
		return false, err
	}
	r.Time = f.time(p.time64(body[4:]))
	return true, p.record(r, f, body[20:], p.u32(body[12:]), p.u32(body[16:]))
}

// obsolete reads an obsolete packet block, which counts the packets dropped since the one before.
func (p *pcapng) obsolete(r *Record, body []byte) (bool, error) {
	if len(body) < 20 {
		return false, short("packet", body)
	}
	f, err := p.lookup(uint32(p.u16(body)))
	if err != nil {
		return false, err
	}
	if drops := p.u16(body[2:]); drops != math.MaxUint16 { // the largest value means unknown
		p.rd.src.taps[f.tap].Dropped += uint64(drops)
	}
	r.Time = f.time(p.time64(body[4:]))
	return true, p.record(r, f, body[20:], p.u32(body[12:]), p.u32(body[16:]))
}

// simple reads a simple packet block, which has neither a time nor a captured length: it is taken for
// as late as the record before.
func (p *pcapng) simple(r *Record, body []byte) (bool, error) {
	if len(body) < 4 {
		return false, short("packet", body)
	}
	f, err := p.lookup(0)
	if err != nil {
		return false, err
	}
	wire := p.u32(body)
	captured := min(wire, uint32(len(body)-4))
	if f.snaplen != 0 {
		captured = min(captured, f.snaplen)
	}
	r.Time = p.lastTime
	return true, p.record(r, f, body[4:], captured, wire)
}

// statistics reads what the capturing tool says it lost, counted from the start of its capture.
func (p *pcapng) statistics(body []byte) error {
	if len(body) < 12 {
		return short("interface statistics", body)
	}
	f, err := p.lookup(p.u32(body))
	if err != nil {
		return err
	}
	for code, value := range p.options(body[12:]) {
		if len(value) < 8 {
			continue
		}
		tap, seen := &p.rd.src.taps[f.tap], &p.rd.src.drops[f.tap]
		switch code {
		case statisticsOSDrop:
			tap.Dropped += seen.kernel.since(p.u64(value))
		case statisticsIfDrop:
			tap.IfDropped += seen.iface.since(p.u64(value))
		}
	}
	return nil
}

func (p *pcapng) secrets(body []byte) error {
	if len(body) < 8 {
		return short("decryption secrets", body)
	}
	kind, length := p.u32(body), p.u32(body[4:])
	if data := body[8:]; uint64(length) <= uint64(len(data)) {
		p.rd.secret(Secret{Type: kind, Data: data[:length]})
		return nil
	}
	return short("decryption secrets", body)
}

func (p *pcapng) lookup(id uint32) (*iface, error) {
	if uint64(id) >= uint64(len(p.ifaces)) {
		return nil, fmt.Errorf("the file is corrupt: a packet of interface %d, but the section has %d", id, len(p.ifaces))
	}
	return &p.ifaces[id], nil
}

// options iterates over the options at the end of a block; one that is cut ends them.
func (p *pcapng) options(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			code, n := p.u16(b), int(p.u16(b[2:]))
			if b = b[4:]; code == optionEnd || n > len(b) || !yield(code, b[:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

func short(what string, body []byte) error {
	return fmt.Errorf("the file is corrupt: a %s block of %d bytes", what, len(body)+12)
}
