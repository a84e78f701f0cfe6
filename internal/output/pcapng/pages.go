package pcapng

// What kept packets are cut into: pages of pageSize bytes, of which slabPages are allocated at a time. Most
// packets are either small or large, so that pages of this size waste little of either.
const (
	pageSize  = 256
	slabPages = 1024
	// pageCost is what a page takes with its head and its link.
	pageCost = pageSize + 48 + 4
)

// pages is the memory of the packets that are kept: a bounded number of pages, allocated as they are first
// needed and used again. A packet is a chain of pages; the first one has its head. Page numbers begin at 1, so
// that 0 is none.
type pages struct {
	slabs []*slab
	free  uint32 // first of the chain of free pages
	fresh int    // pages that were never used begin here
	used  int
	limit int
}

type slab struct {
	data  [slabPages * pageSize]byte
	link  [slabPages]uint32 // the next page of a chain
	heads [slabPages]head
}

// head is what is known of a kept packet, or of a comment that goes with the packet behind it.
type head struct {
	time   int64
	number uint64
	wire   uint32 // length on the wire
	size   uint32 // bytes kept
	next   uint32 // the next packet of the list that this one is in
	last   uint32 // the last page of its chain
	drops  uint32 // packets lost before it
	end    uint32 // sequence number behind its payload
	iface  uint16
	flags  flags
}

type flags uint8

const (
	isComment flags = 1 << iota
	isHandshake
	// hasPayload: it carries data; isFresh: some of that goes beyond all data seen before in its direction.
	hasPayload
	isFresh
	// fromLo is its direction: from the lower end of the flow to the higher.
	fromLo
	// hasSecrets: decryption secrets go before it.
	hasSecrets
)

// pagesOf returns how many pages n bytes take.
func pagesOf(n int) int { return max(1, (n+pageSize-1)/pageSize) }

func (p *pages) available() int { return p.limit - p.used }

// head returns the head of a packet.
func (p *pages) head(page uint32) *head {
	return &p.slabs[(page-1)/slabPages].heads[(page-1)%slabPages]
}

// store keeps b, for which there must be room, and returns the packet with an empty head.
func (p *pages) store(b []byte) uint32 {
	first := p.take()
	last, size := first, len(b)
	for {
		i := (last - 1) % slabPages * pageSize
		n := copy(p.slabs[(last-1)/slabPages].data[i:i+pageSize], b)
		if b = b[n:]; len(b) == 0 {
			break
		}
		page := p.take()
		p.slabs[(last-1)/slabPages].link[(last-1)%slabPages] = page
		last = page
	}
	*p.head(first) = head{size: uint32(size), last: last}
	return first
}

func (p *pages) take() uint32 {
	p.used++
	if page := p.free; page != 0 {
		p.free = p.slabs[(page-1)/slabPages].link[(page-1)%slabPages]
		return page
	}
	if p.fresh%slabPages == 0 {
		p.slabs = append(p.slabs, new(slab))
	}
	p.fresh++
	return uint32(p.fresh)
}

// release frees a packet.
func (p *pages) release(page uint32) {
	h := p.head(page)
	p.used -= pagesOf(int(h.size))
	p.slabs[(h.last-1)/slabPages].link[(h.last-1)%slabPages] = p.free
	p.free = page
}

// list is a list of packets in the order of their arrival.
type list struct{ first, last uint32 }

// push appends a packet.
func (p *pages) push(l *list, page uint32) {
	p.head(page).next = 0
	if l.last != 0 {
		p.head(l.last).next = page
	} else {
		l.first = page
	}
	l.last = page
}

// unlink takes the packet behind before, or the first if that is 0, out of a list.
func (p *pages) unlink(l *list, before, page uint32) {
	next := p.head(page).next
	if before != 0 {
		p.head(before).next = next
	} else {
		l.first = next
	}
	if l.last == page {
		l.last = before
	}
}

// chunks calls do with the bytes of a packet, piece by piece. slabs are those of pages, which the writer reads
// while others keep further packets.
func chunks(slabs []*slab, page uint32, do func(b []byte)) {
	n := int(slabs[(page-1)/slabPages].heads[(page-1)%slabPages].size)
	for n > 0 {
		s, i := slabs[(page-1)/slabPages], (page-1)%slabPages
		size := min(n, pageSize)
		do(s.data[i*pageSize : int(i)*pageSize+size])
		n -= size
		page = s.link[i]
	}
}
