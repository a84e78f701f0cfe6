package files

import (
	"cmp"
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/output/pcapng"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// PacketsSuffix ends the names of the files with the packets of a connection.
const PacketsSuffix = ".pcapng"

const (
	// lateFor is how long, in capture time, packets of a connection that has ended are waited for, and idleFor of one that hasn't.
	lateFor = int64(5 * time.Second)
	idleFor = int64(15 * time.Minute)
	// maxQuiet is how many packets of a connection are kept before it carries anything: of one that never does, there is no file.
	maxQuiet = 64
)

// Packets keeps the packets of each connection that carries something, of both directions in one file. It implements pipeline.Recorder.
//
//	packet --> track --> sheet --over--> named?  --> NAME.pcapng
//	Output, once the connection has carried something, ----^
//
// The reader, which gives it packets, is ahead of the Output, which knows the names: whichever comes second gives the file its name. What
// is in a file depends on the packets and their times alone.
type Packets struct {
	// Taps, if not nil, returns the taps of the source. Live is as in Options. They are set before the first packet.
	Taps        func() []capture.Tap
	Live        bool
	application string

	mu     sync.Mutex
	folder FolderAs
	sheets *sheets
	// current are the tracks that take packets, by their flow, and first all that have no name yet, by their first packet.
	current map[packet.Flow]*track
	first   map[firstPacket]*track
	// ended are tracks that may end at a time, by that time; idle are the others, by their last packet, the oldest first.
	ended, idle *list.List
	maxTracks   int
	nth         uint64
	block       []byte
	err         error
	stats       PacketStats
}

// FolderAs is a Folder that can give a file another name than the one that it was made by.
type FolderAs interface {
	Folder
	FinishAs(name, final string, modified time.Time) error
}

// PacketStats count what was kept of packets.
type PacketStats struct {
	// Files were made, and hold Packets. Quiet are connections that carried nothing, which have no file. Refused are packets of
	// connections beyond MaxFiles.
	Files, Packets, Quiet, Refused uint64
}

// firstPacket tells connections apart.
type firstPacket struct {
	tap    uint32
	number uint64
}

// track is one connection.
type track struct {
	key   packet.Flow
	flow  *proto.Flow
	sheet sheet
	// name is the file's, as soon as the Output has told; over: no more packets come.
	name string
	over bool
	// link is the type of the link of the last description in the file, and id the number of that.
	link capture.LinkType
	id   uint32
	// syn is the sequence number of the SYN, valid iff hasSYN; loud: it has carried something. fins are the directions that have ended.
	syn    uint32
	hasSYN bool
	loud   bool
	fins   uint8
	last   int64
	quiet  int
	in     *list.Element
	of     *list.List
}

// NewPackets returns a Packets that makes files in a folder, which nobody else uses at the same time. application is what the files say
// of who made them.
func NewPackets(f FolderAs, maxOpen int, application string) *Packets {
	if maxOpen <= 0 {
		maxOpen = MaxOpen
	}
	return &Packets{
		application: application, folder: f, sheets: newSheets(f, maxOpen), current: map[packet.Flow]*track{}, first: map[firstPacket]*track{},
		ended: list.New(), idle: list.New(), maxTracks: MaxFiles,
	}
}

// Packet implements pipeline.Recorder. After an error nothing is kept; Close returns it.
func (p *Packets) Packet(r *capture.Record, d *packet.Packet, key *packet.Flow) {
	if key == nil || key.Proto != packet.ProtoTCP && key.Proto != packet.ProtoSCTP {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = p.packet(r, d, key)
	}
}

func (p *Packets) packet(r *capture.Record, d *packet.Packet, key *packet.Flow) error {
	if err := p.expire(r.Time); err != nil {
		return err
	}
	t := p.current[*key]
	switch {
	case d == nil && t == nil: // an ICMP error about nothing that is known
		return nil
	case d == nil:
	case t != nil && t.replacedBy(d):
		if err := p.end(t); err != nil {
			return err
		}
		fallthrough
	case t == nil:
		if d.Proto == packet.ProtoTCP && d.PayloadLen == 0 && d.Flags&packet.SYN == 0 {
			return nil // what is left of a connection, or not begun
		}
		if p.nth-p.stats.Quiet >= uint64(p.maxTracks) {
			p.stats.Refused++
			return nil
		}
		t = p.begin(d, key)
	}
	if d != nil {
		t.learn(d)
	}
	if !t.loud {
		if t.quiet++; t.quiet > maxQuiet {
			return nil
		}
	}
	t.last = r.Time
	p.wait(t)
	return p.write(t, r)
}

// replacedBy reports whether a packet begins another connection between the same ends.
func (t *track) replacedBy(d *packet.Packet) bool {
	return d.Proto == packet.ProtoTCP && d.Flags&(packet.SYN|packet.ACK|packet.RST) == packet.SYN && (!t.hasSYN || t.syn != d.Seq) && (t.loud || t.fins != 0)
}

// begin begins a track with its first packet.
func (p *Packets) begin(d *packet.Packet, key *packet.Flow) *track {
	p.nth++
	// As the transport has it: a SYN+ACK comes from the responder, anything else from the originator.
	from := proto.Originator
	if d.Flags&(packet.SYN|packet.ACK) == packet.SYN|packet.ACK {
		from = proto.Responder
	}
	f := &proto.Flow{Proto: d.Proto, Net: d.Net, VLAN: d.VLAN}
	f.First.Time, f.First.Packet, f.First.Tap = d.Time, d.Number, d.Tap
	f.Addr[from], f.Port[from], f.MAC[from] = d.Src, d.SrcPort, [6]byte(d.MAC[6:])
	f.Addr[from.Other()], f.Port[from.Other()], f.MAC[from.Other()] = d.Dst, d.DstPort, [6]byte(d.MAC[:6])
	t := &track{key: *key, flow: f}
	t.sheet.name = "connection-" + string(appendDigits(nil, p.nth, 7)) + PacketsSuffix
	if !p.Live {
		t.sheet.modified = time.Unix(0, d.Time)
	}
	p.current[*key] = t
	p.first[t.firstPacket()] = t
	return t
}

func (t *track) firstPacket() firstPacket { return firstPacket{t.flow.First.Tap, t.flow.First.Packet} }

// learn notes what a packet tells of the connection.
func (t *track) learn(d *packet.Packet) {
	if d.Flags&(packet.SYN|packet.ACK) == packet.SYN {
		t.syn, t.hasSYN = d.Seq, true
	}
	t.loud = t.loud || d.PayloadLen > 0
	side := uint8(1)
	if d.Src != t.flow.Addr[proto.Originator] || d.SrcPort != t.flow.Port[proto.Originator] {
		side = 2
	}
	if d.Flags&packet.FIN != 0 {
		t.fins |= side
	}
	if d.Flags&packet.RST != 0 {
		t.fins = 3
	}
}

// wait puts a track behind those that wait for their end.
func (p *Packets) wait(t *track) {
	to := p.idle
	if t.fins == 3 {
		to = p.ended
	}
	if t.of == to {
		to.MoveToBack(t.in)
		return
	}
	if t.of != nil {
		t.of.Remove(t.in)
	}
	t.of, t.in = to, to.PushBack(t)
}

// expire ends the tracks whose time has come.
func (p *Packets) expire(now int64) error {
	for _, l := range [...]struct {
		of    *list.List
		after int64
	}{{p.ended, lateFor}, {p.idle, idleFor}} {
		for e := l.of.Front(); e != nil; e = l.of.Front() {
			t := e.Value.(*track)
			if now-t.last <= l.after {
				break
			}
			if err := p.end(t); err != nil {
				return err
			}
		}
	}
	return nil
}

// write puts a packet into a track's file.
func (p *Packets) write(t *track, r *capture.Record) error {
	p.block = p.block[:0]
	begun := t.sheet.made || t.sheet.waits != nil || t.sheet.written > 0
	if !begun {
		p.block = pcapng.AppendSection(p.block, pcapng.Section{Application: p.application})
	}
	if !begun || t.link != r.Link {
		if begun {
			t.id++
		}
		t.link = r.Link
		tap := &capture.Tap{}
		if p.Taps != nil {
			if all := p.Taps(); int(r.Tap) < len(all) {
				tap = &all[r.Tap]
			}
		}
		p.block = pcapng.AppendInterface(p.block, tap, r.Link)
	}
	data := r.Data[:min(len(r.Data), pcapng.MaxData)]
	p.block = pcapng.AppendPacket(p.block, &pcapng.Packet{Interface: t.id, Time: r.Time, Data: data, Wire: r.WireLen, ID: r.Number})
	p.stats.Packets++
	return p.sheets.add(&t.sheet, p.block)
}

// end ends a track: no packet is added to it any more. One that has carried nothing is left out.
func (p *Packets) end(t *track) error {
	t.over = true
	delete(p.current, t.key)
	if t.of != nil {
		t.of.Remove(t.in)
		t.of, t.in = nil, nil
	}
	if !t.loud {
		p.stats.Quiet++
		delete(p.first, t.firstPacket())
		return p.sheets.discard(&t.sheet)
	}
	if t.name != "" {
		return p.finish(t)
	}
	if err := p.sheets.write(&t.sheet); err != nil {
		return err
	}
	return p.sheets.shut(&t.sheet)
}

// finish gives the file of a track its name.
func (p *Packets) finish(t *track) error {
	delete(p.first, t.firstPacket())
	p.stats.Files++
	s := &t.sheet
	if !s.made { // it may be made by its name at once
		s.name = t.name
	}
	if s.name == t.name {
		return p.sheets.finish(s)
	}
	if err := p.sheets.write(s); err != nil {
		return err
	}
	if err := p.sheets.shut(s); err != nil {
		return err
	}
	return wrap(t.name, p.folder.FinishAs(s.name, t.name, s.modified))
}

// named is told of the name that a connection has.
func (p *Packets) named(f *proto.Flow, name string) error {
	if name == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.first[firstPacket{f.First.Tap, f.First.Packet}]
	if p.err != nil || t == nil || t.name != "" {
		return nil // SCTP has several streams to a connection
	}
	if t.name = name + PacketsSuffix; !t.sheet.made {
		t.sheet.name = t.name
	}
	if t.over {
		p.err = p.finish(t)
	}
	return nil
}

// Stats returns what was kept so far.
func (p *Packets) Stats() PacketStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// close ends all tracks. Those that have no name get one of n.
func (p *Packets) close(n *namer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range [...]*list.List{p.ended, p.idle} {
		for e := l.Front(); e != nil && p.err == nil; e = l.Front() {
			p.err = p.end(e.Value.(*track))
		}
	}
	for _, t := range p.unnamed() {
		if p.err != nil {
			break
		}
		if name := n.pair(t.flow, t.flow.First.Packet)[0]; name != "" {
			t.name = name + PacketsSuffix
		} else {
			t.name = t.sheet.name
		}
		p.err = p.finish(t)
	}
	if err := p.sheets.close(); p.err == nil {
		p.err = err
	}
	return p.err
}

// unnamed returns the tracks that have no name, in the order in which they began.
func (p *Packets) unnamed() (all []*track) {
	for _, t := range p.first {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *track) int {
		return cmp.Or(cmp.Compare(a.flow.First.Time, b.flow.First.Time), cmp.Compare(a.flow.First.Tap, b.flow.First.Tap), cmp.Compare(a.flow.First.Packet, b.flow.First.Packet))
	})
	return all
}
