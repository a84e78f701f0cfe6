package packets

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/culprit-http/culprit/internal/output/pcapng"
	"github.com/culprit-http/culprit/internal/packet"
)

// ErrGone: no packet of the exchange is kept: it is older than the ring, wasn't kept, or is of a capture without a ring.
var ErrGone = errors.New("no packets of this exchange are kept (any more)")

// MaxPackets is how many packets of a connection are looked at, and so the most that are written.
const MaxPackets = 1 << 20

// maxOpen is how many files are open at once.
const maxOpen = 256

// Count says what was written.
type Count struct {
	// Packets and Bytes were written, Bytes being the length of all.
	Packets uint64
	Bytes   int64
	// First and Last: the packet with the first byte of the exchange is among them, and the one with the last.
	First, Last bool
	// Cut: there were more than MaxPackets, or they are in too many files.
	Cut bool
	// Damaged counts packets that can't be read.
	Damaged uint64
}

// Folder is a folder of kept packets to read from, even while another process writes it.
type Folder struct {
	// Dir is the folder.
	Dir string
	// Application, Hardware and OS are what written files say of the program and the machine; empty: left out.
	Application, Hardware, OS string
}

// Write writes the packets that q asks for to w as a pcapng file. Nothing has been written when it returns ErrGone.
func (f *Folder) Write(w io.Writer, q Query) (Count, error) {
	sources, err := folderSources(f.Dir)
	if err != nil {
		return Count{}, fmt.Errorf("looking for kept packets: %w", err)
	}
	return extract(w, &q, sources, pcapng.Section{Application: f.Application, Hardware: f.Hardware, OS: f.OS})
}

// Write writes the packets that q asks for to w as a pcapng file, those that wait to be written included. Nothing has
// been written when it returns ErrGone.
func (r *Ring) Write(w io.Writer, q Query) (Count, error) {
	r.sync()
	k := q.key()
	o := &r.options
	return extract(w, &q, r.files.sources(hashOf(labelHash(q.label()), &k)), pcapng.Section{Application: o.Application, Hardware: o.Hardware, OS: o.OS})
}

// finder looks for the packets of a connection.
type finder struct {
	query   *Query
	label   string
	key     packet.Flow
	hash    uint64
	sources []*source
	visited []bool
	open    int
	all     []candidate
	ifaces  []iface
	decoder decoder
	count   Count
	// opened: the packet that opens the connection was found; ended are the directions that were closed after the start
	// of the exchange, as a set.
	opened bool
	ended  uint8
	latest int64 // the time of the last datagram of UDP
}

const bothEnded = 3

// extract writes what q asks for.
func extract(w io.Writer, q *Query, sources []*source, section pcapng.Section) (Count, error) {
	q.Connection = q.Connection || q.Proto == packet.ProtoSCTP
	f := &finder{
		query: q, label: q.label(), key: q.key(), sources: sources, visited: make([]bool, len(sources)),
		decoder: decoder{decoder: packet.NewDecoder(packet.DefaultLimits())},
	}
	f.hash = hashOf(labelHash(f.label), &f.key)
	defer func() {
		for _, s := range sources {
			s.close()
		}
	}()
	if err := f.search(); err != nil {
		return f.count, err
	}
	f.sort()
	ch := q.choose(f.all)
	if !slices.Contains(ch.chosen, true) || !slices.ContainsFunc(f.all, func(c candidate) bool { return q.place(&c) == 0 }) {
		return f.count, ErrGone
	}
	f.count.First, f.count.Last = ch.first, ch.last
	return f.write(w, &ch, section)
}

// search collects candidates: first around the exchange, then back to where the connection opens, and on to where it
// closes.
func (f *finder) search() error {
	q := f.query
	for i, s := range f.sources {
		if err := gone(s.span(f.hash)); err != nil {
			return f.failed(s, err)
		}
		if s.known && s.sum.packets > 0 && s.sum.from <= q.End+slack && s.sum.to >= q.Start-slack {
			if err := f.visit(i); err != nil {
				return f.failed(s, err)
			}
		} else if !s.known || s.sum.packets == 0 {
			f.visited[i] = true
		}
	}
	if len(f.all) == 0 {
		return nil
	}
	if q.Proto == packet.ProtoUDP {
		return f.searchSilence()
	}
	for i := len(f.sources) - 1; i >= 0 && !f.opened; i-- {
		s := f.sources[i]
		if f.visited[i] || s.sum.from > q.Start || q.Opened > 0 && s.sum.to < q.Opened {
			continue
		}
		if err := f.visit(i); err != nil {
			return f.failed(s, err)
		}
	}
	for i, s := range f.sources {
		if f.ended == bothEnded {
			break
		}
		if f.visited[i] || s.sum.to < q.End {
			continue
		}
		if err := f.visit(i); err != nil {
			return f.failed(s, err)
		}
	}
	return nil
}

// searchSilence collects candidates of a flow of UDP, which nothing opens or closes: all of it if that is wanted, back to when
// it was first seen, and on to where it falls silent.
func (f *finder) searchSilence() error {
	q := f.query
	if !q.Connection {
		return nil
	}
	for i, s := range f.sources {
		if f.visited[i] || s.sum.to < min(q.Opened, q.Start) || s.sum.from > max(f.latest, q.End)+silence {
			continue
		}
		if err := f.visit(i); err != nil {
			return f.failed(s, err)
		}
	}
	return nil
}

func (f *finder) failed(s *source, err error) error {
	return fmt.Errorf("reading kept packets from %s: %w", path(s.dir, s.seq, dataName), err)
}

// gone makes nothing of a file that has been deleted meanwhile.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// visit looks at the packets of the connection in a file.
func (f *finder) visit(i int) error {
	f.visited[i] = true
	if f.open == maxOpen {
		f.count.Cut = true
		return nil
	}
	s, q, before := f.sources[i], f.query, len(f.all)
	if err := s.find(f.hash); err != nil {
		s.close()
		return gone(err)
	}
	behind := false // the packet before is one that opens or closes
	for _, c := range s.chunks {
		near := q.Connection || c.from <= q.End+slack && c.to >= q.Start-slack
		for _, r := range c.refs {
			if near || r.control || behind {
				f.look(s, uint32(i), r.at)
			}
			behind = r.control
		}
	}
	f.dropParts(before)
	if len(f.all) == before {
		s.close()
	} else {
		f.open++
	}
	return nil
}

// dropParts drops fragments at the end that nothing completes.
func (f *finder) dropParts(before int) {
	for n := len(f.all); n > before && f.all[n-1].part; n-- {
		f.all = f.all[:n-1]
	}
}

// look decodes a packet, and notes it when it is of the connection.
func (f *finder) look(s *source, source, at uint32) {
	if len(f.all) == MaxPackets {
		f.count.Cut = true
		return
	}
	p, face, ok := s.packet(at)
	if !ok {
		f.count.Damaged++
		return
	}
	if face.label != f.label {
		return
	}
	c := candidate{time: p.time, number: p.id, source: source, at: at, iface: f.iface(face)}
	d := &f.decoder
	result := d.decode(&p, face.link)
	switch result {
	case packet.Held:
		c.part = true
		f.all = append(f.all, c)
		return
	case packet.Decoded, packet.ICMPError:
	default:
		f.dropParts(0)
		return
	}
	key := d.key
	key.Tap, key.Net = 0, 0
	if key != f.key {
		f.dropParts(0)
		return
	}
	h := &d.packet
	if result == packet.ICMPError {
		c.net, c.fromLo = h.Net, d.fromLo
		f.all = append(f.all, c)
		return
	}
	c.seq, c.net, c.flags, c.fromLo, c.payload = h.Seq, h.Net, h.Flags, d.fromLo, h.PayloadLen > 0
	c.end = h.Seq + uint32(h.PayloadLen)
	switch h.Proto {
	case packet.ProtoTCP:
		c.opens = h.Flags&(packet.SYN|packet.ACK) == packet.SYN
		c.closes = h.Flags&(packet.FIN|packet.RST) != 0
	case packet.ProtoUDP:
		c.payload = true // also an empty one says something
		f.latest = max(f.latest, c.time)
	default:
		kind := firstChunk(h)
		c.payload = kind == sctpData || kind == sctpIData
		c.opens, c.closes = kind == sctpInit, control(h) && kind != sctpInit
	}
	f.all = append(f.all, c)
	f.opened = f.opened || c.opens && f.query.place(&c) <= 0
	switch after := f.query.place(&c) >= 0; {
	case after && (c.opens || h.Flags&packet.RST != 0):
		f.ended = bothEnded
	case after && c.closes && c.fromLo:
		f.ended |= 1
	case after && c.closes:
		f.ended |= 2
	}
}

// iface returns the number of an interface.
func (f *finder) iface(face *iface) uint16 {
	for i := range f.ifaces {
		if f.ifaces[i].same(face) {
			return uint16(i)
		}
	}
	if len(f.ifaces) == maxIfaces {
		return 0
	}
	f.ifaces = append(f.ifaces, *face)
	return uint16(len(f.ifaces) - 1)
}

// sort puts candidates in the order of their capture, and drops those that are kept twice, since a capture was read
// twice.
func (f *finder) sort() {
	if !slices.IsSortedFunc(f.all, order) {
		slices.SortFunc(f.all, order)
	}
	again := false // some packet may be there twice
	for i := 1; i < len(f.all) && !again; i++ {
		again = f.all[i].number <= f.all[i-1].number
	}
	if !again {
		return
	}
	type name struct {
		number uint64
		time   int64
		iface  uint16
	}
	seen := make(map[name]struct{}, len(f.all))
	f.all = slices.DeleteFunc(f.all, func(c candidate) bool {
		n := name{c.number, c.time, c.iface}
		_, again := seen[n]
		seen[n] = struct{}{}
		return again && c.number > 0
	})
}

func order(a, b candidate) int {
	if c := cmp.Compare(a.source, b.source); c != 0 {
		return c
	}
	return cmp.Compare(a.at, b.at)
}

// writeSize is how much is written at a time, in bytes.
const writeSize = 64 << 10

// write writes what is chosen.
func (f *finder) write(w io.Writer, ch *choice, section pcapng.Section) (Count, error) {
	section.Comment = "culprit: the packets of an exchange, with those that open and close its connection"
	if f.query.Connection {
		section.Comment = "culprit: the packets of the connection of an exchange"
	}
	switch {
	case f.count.Cut:
		section.Comment += "; cut off"
	case !ch.first:
		section.Comment += "; the first ones aren't kept"
	}
	b := pcapng.AppendSection(nil, section)
	ids := make(map[uint16]uint32)
	comment := []byte(f.query.Comment)
	if len(comment) > 0 && f.query.First > 0 && f.query.Last >= f.query.First {
		comment = fmt.Appendf(comment, ", packets %d to %d of the capture", f.query.First, f.query.Last)
	}
	flush := func() error {
		n, err := w.Write(b)
		f.count.Bytes += int64(n)
		if b = b[:0]; err != nil {
			return fmt.Errorf("writing packets: %w", err)
		}
		return nil
	}
	for i := range f.all {
		if !ch.chosen[i] {
			continue
		}
		c := &f.all[i]
		p, _, ok := f.sources[c.source].packet(c.at)
		if !ok {
			f.count.Damaged++ // since it was looked at
			continue
		}
		id, known := ids[c.iface]
		if !known {
			id = uint32(len(ids))
			ids[c.iface] = id
			b = append(b, f.ifaces[c.iface].block...)
		}
		out := pcapng.Packet{Interface: id, Time: p.time, Data: p.data, Wire: p.wire, ID: p.id}
		if len(comment) > 0 && f.query.place(c) == 0 {
			out.Comment, comment = comment, nil
		}
		b = pcapng.AppendPacket(b, &out)
		f.count.Packets++
		if len(b) >= writeSize {
			if err := flush(); err != nil {
				return f.count, err
			}
		}
	}
	return f.count, flush()
}
