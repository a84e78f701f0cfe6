package pcapng

import (
	"encoding/binary"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
)

// maxFragments is how many fragments are kept until the last one of their datagram comes, and fragmentTime for
// how long, in capture time. Only with the last one is it known which flow they belong to.
const (
	maxFragments = 256
	fragmentTime = int64(30 * time.Second)
)

// fragment is a kept packet that is a fragment.
type fragment struct {
	Datagram
	page uint32
}

// Datagram names the datagram that a fragment is of: the outermost one that is cut up.
type Datagram struct {
	src, dst [16]byte
	id       uint32
	tap      uint32
	proto    uint8
}

// maxHeaders is how far into a packet the header of a fragment is looked for, in bytes: behind a link layer,
// tags, and a tunnel or two.
const maxHeaders = 160

// DatagramOf finds out which datagram a packet is a fragment of. It doesn't decode what is before the IP header:
// an IPv4 header is known by its checksum, an IPv6 header by its length and the fragment header behind it.
func DatagramOf(rec *capture.Record) (d Datagram, ok bool) {
	const (
		ipv6Header     = 40
		fragmentHeader = 44 // as next header
		moreOrOffset   = 0x3fff
		evil           = 0x8000
	)
	be := binary.BigEndian
	for i := 0; i+20 <= len(rec.Data) && i < maxHeaders; i++ {
		b := rec.Data[i:]
		switch b[0] >> 4 {
		case 4:
			n, cut := int(b[0]&15)*4, be.Uint16(b[6:])
			if cut&moreOrOffset == 0 || cut&evil != 0 || n < 20 || n > len(b) || int(be.Uint16(b[2:])) < n || checksum(b[:n]) != 0xffff {
				continue
			}
			d = Datagram{id: uint32(be.Uint16(b[4:])), proto: b[9], tap: rec.Tap}
			copy(d.src[:], b[12:16])
			copy(d.dst[:], b[16:20])
			return d, true
		case 6:
			if len(b) < ipv6Header+8 || b[6] != fragmentHeader || int(be.Uint16(b[4:])) > rec.WireLen-i-ipv6Header || b[ipv6Header+1] != 0 ||
				be.Uint16(b[ipv6Header+2:])&0xfff9 == 0 {
				continue
			}
			d = Datagram{id: be.Uint32(b[ipv6Header+4:]), proto: fragmentHeader, tap: rec.Tap}
			copy(d.src[:], b[8:24])
			copy(d.dst[:], b[24:40])
			return d, true
		}
	}
	return d, false
}

// checksum is the ones' complement sum of a header, 0xffff when the checksum in it is right (RFC 791 §3.1).
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum&0xffff)
}

// holdFragment keeps a fragment until its datagram is whole, and lets go of what is no fragment.
func (r *Recorder) holdFragment(rec *capture.Record, at int) {
	d, ok := DatagramOf(rec)
	if !ok {
		r.count.LetGo++
		return
	}
	page := r.keep(rec, at)
	if page == 0 {
		r.drop(at)
		return
	}
	for len(r.fragments) > 0 && (len(r.fragments) == maxFragments || rec.Time-r.pages.head(r.fragments[0].page).time > fragmentTime) {
		r.dropFragment(0, &r.count.LetGo)
	}
	r.fragments = append(r.fragments, fragment{d, page})
}

func (r *Recorder) dropFragment(i int, count *uint64) {
	*count++
	r.pages.release(r.fragments[i].page)
	r.fragments = append(r.fragments[:i], r.fragments[i+1:]...)
}

// claim gives the fragments of the datagram that rec completes to its flow. They count as the packet that rec
// is: what exchanges say of their packets is about that one.
func (r *Recorder) claim(rec *capture.Record, give func(page uint32)) {
	if len(r.fragments) == 0 {
		return
	}
	d, ok := DatagramOf(rec)
	if !ok {
		return
	}
	kept := r.fragments[:0]
	for _, f := range r.fragments {
		if f.Datagram != d {
			kept = append(kept, f)
			continue
		}
		r.pages.head(f.page).number = rec.Number
		give(f.page)
	}
	r.fragments = kept
}
