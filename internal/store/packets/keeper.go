package packets

import (
	"bytes"
	"slices"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/output/pcapng"
	"github.com/culprit-http/culprit/internal/packet"
)

// maxFragments is how many fragments wait until their datagram is whole, and fragmentTime for how long, in capture
// time: only then it is known which connection they belong to.
const (
	maxFragments = 256
	fragmentTime = int64(30 * time.Second)
	// maxFragment is the longest, in bytes: that of IP with what stands before it.
	maxFragment = 66 << 10
)

// Keeper gives the packets of one source to a ring. It implements pipeline.Recorder.
type Keeper struct {
	ring *Ring
	taps func() []capture.Tap
	live bool

	// What follows is guarded by the lock of the ring.
	ifaces    []keptIface
	recent    int // index of the interface of the last packet
	fragments []fragment
	group     []pcapng.Packet
}

// keptIface is an interface of the source.
type keptIface struct {
	tap   uint32
	link  capture.LinkType
	id    int // in the ring; -1: there are too many
	hash  uint64
	drops uint32 // packets dropped that the next one is to tell of
}

// fragment is a packet that waits.
type fragment struct {
	datagram pcapng.Datagram
	packet   pcapng.Packet
	iface    int // of the keeper
}

// Keeper returns a keeper for a source. taps are its taps, called from Packet. live: packets are dropped rather
// than waited for when writing is too slow.
func (r *Ring) Keeper(taps func() []capture.Tap, live bool) *Keeper {
	return &Keeper{ring: r, taps: taps, live: live}
}

// Packet implements pipeline.Recorder. The packet is copied. An ICMP error is kept as one of the flow that it is about.
func (k *Keeper) Packet(rec *capture.Record, p *packet.Packet, key *packet.Flow) {
	r := k.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.Received++
	at := k.see(rec)
	f := &k.ifaces[at]
	if f.id < 0 {
		r.count.Dropped++
		return
	}
	stored := pcapng.Packet{
		Interface: uint32(f.id), Time: rec.Time, Data: rec.Data[:min(len(rec.Data), pcapng.MaxData)], Wire: max(rec.WireLen, len(rec.Data)),
		ID: rec.Number,
	}
	if key == nil {
		k.hold(rec, &stored, at)
		return
	}
	hash, is := hashOf(f.hash, key), p != nil && control(p)
	k.group = k.group[:0]
	if len(k.fragments) > 0 {
		k.claim(rec)
	}
	k.group = append(k.group, stored)
	if !is && p != nil && r.over(hash, p.Src == key.Lo && p.SrcPort == key.LoPort, p.PayloadLen) {
		r.count.Cut += uint64(len(k.group))
		return
	}
	k.group[0].Drops = f.drops
	if !r.put(k.group, hash, is, !k.live) {
		r.count.Dropped += uint64(len(k.group))
		f.drops += uint32(len(k.group))
		return
	}
	f.drops = 0
}

// see returns the interface of a packet.
func (k *Keeper) see(rec *capture.Record) int {
	if at := k.recent; at < len(k.ifaces) && k.ifaces[at].tap == rec.Tap && k.ifaces[at].link == rec.Link {
		return at
	}
	at := slices.IndexFunc(k.ifaces, func(f keptIface) bool { return f.tap == rec.Tap && f.link == rec.Link })
	if at < 0 {
		if len(k.ifaces) > maxIfaces {
			return maxIfaces // all that are too many are one
		}
		at = len(k.ifaces)
		k.ifaces = append(k.ifaces, k.describe(rec))
	}
	k.recent = at
	return at
}

// describe makes an interface known to the ring, unless another source with the same one has.
func (k *Keeper) describe(rec *capture.Record) keptIface {
	var t capture.Tap
	if taps := k.taps(); int(rec.Tap) < len(taps) {
		t = taps[rec.Tap]
	}
	if len(k.ifaces) == maxIfaces {
		return keptIface{tap: rec.Tap, link: rec.Link, id: -1}
	}
	r := k.ring
	f, _ := parseInterface(pcapng.AppendInterface(nil, &t, rec.Link))
	for _, other := range k.ifaces {
		if other.id >= 0 && string(r.ifaces[other.id].block) == string(f.block) {
			f.nth++
		}
	}
	id := slices.IndexFunc(r.ifaces, func(o iface) bool { return o.same(&f) })
	switch {
	case id >= 0:
	case len(r.ifaces) < maxIfaces:
		id = len(r.ifaces)
		r.ifaces = append(r.ifaces, f)
	}
	return keptIface{tap: rec.Tap, link: rec.Link, id: id, hash: f.hash}
}

// hold keeps a fragment until its datagram is whole.
func (k *Keeper) hold(rec *capture.Record, p *pcapng.Packet, at int) {
	d, ok := pcapng.DatagramOf(rec)
	if !ok || len(p.Data) > maxFragment {
		k.ring.count.Other++
		return
	}
	for len(k.fragments) > 0 && (len(k.fragments) == maxFragments || rec.Time-k.fragments[0].packet.Time > fragmentTime) {
		k.ring.count.Other++
		k.fragments = slices.Delete(k.fragments, 0, 1)
	}
	p.Data = bytes.Clone(p.Data)
	k.fragments = append(k.fragments, fragment{d, *p, at})
}

// claim moves the fragments of the datagram that rec completes to the group.
func (k *Keeper) claim(rec *capture.Record) {
	d, ok := pcapng.DatagramOf(rec)
	if !ok {
		return
	}
	kept := k.fragments[:0]
	for _, f := range k.fragments {
		if f.datagram == d {
			k.group = append(k.group, f.packet)
		} else {
			kept = append(kept, f)
		}
	}
	clear(k.fragments[len(kept):])
	k.fragments = kept
}

// Close counts the fragments that still wait. It comes after the last packet.
func (k *Keeper) Close() {
	k.ring.mu.Lock()
	defer k.ring.mu.Unlock()
	k.ring.count.Other += uint64(len(k.fragments))
	k.fragments = nil
}
