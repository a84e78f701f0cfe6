package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/culprit-http/culprit/internal/exchange"
)

// MaxListing bounds a listing on its way between processes, in bytes: some 100,000 sockets. Those that have no room,
// the last ones, are counted in Notes.Cut.
const MaxListing = 8 << 20

const (
	// maxListedAddresses, maxListedProcesses and maxListedHolders bound what comes with the sockets.
	maxListedAddresses = 1 << 16
	maxListedProcesses = 1 << 17
	maxListedHolders   = 1 << 12
	maxListedNotes     = 16
	// listingPage is how many bytes of a listing go into one reply, behind its head.
	listingHead = 4
	listingPage = MaxMessage - listingHead
)

// Listing is a snapshot of the sockets of a network namespace, and the addresses of its interfaces, to be taken again
// and again.
type Listing struct {
	// Sockets are as Snapshot returns them. Of a holder's arguments, only the first is sent to another process.
	Sockets   []Socket
	Notes     Notes
	Addresses []netip.Addr
}

// A request for a listing is an offset in 4 bytes, little endian as all numbers; 0 takes a new one. A reply is the length of
// the listing in 4 bytes, and a page of it from that offset on. A listing has, each with its number in 4 bytes: processes as in
// wire.go; sockets; addresses, each with its length in one byte; and then the notes. A socket is
//
//	kind 1, state 1, local and remote: address as above, port 2; interface 4, receive queue 4, send queue 4, inode 8, uid 4,
//	peer 8, user, path, path of the peer: texts; holders, holders of the peer: number 2, and process 4, descriptor 4 each
var errListing = errors.New("malformed listing of sockets")

// Lister answers the requests of FetchListing, which may come from a process with less rights: they are checked. Its
// method may be called from any goroutine.
type Lister struct {
	// Take takes a listing.
	Take func() (*Listing, error)

	mu      sync.Mutex
	current []byte
}

// Serve answers one request. Only one listing is kept, the latest.
func (l *Lister) Serve(request []byte) (reply []byte, err error) {
	if len(request) != listingHead {
		return nil, errListing
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := int(binary.LittleEndian.Uint32(request))
	if at == 0 {
		taken, err := l.Take()
		if err != nil {
			return nil, err
		}
		l.current = appendListing(l.current[:0], taken, MaxListing)
	}
	if at > 0 && at >= len(l.current) {
		return nil, errListing
	}
	reply = binary.LittleEndian.AppendUint32(nil, uint32(len(l.current)))
	page := l.current[at:min(at+listingPage, len(l.current))]
	if at+len(page) == len(l.current) {
		defer func() { l.current = l.current[:0] }()
	}
	return append(reply, page...), nil
}

// FetchListing has a listing taken in another process: call carries a request there, where a Lister serves it. Listings are
// fetched one at a time.
func FetchListing(call func(request []byte) (reply []byte, err error)) (*Listing, error) {
	var b []byte
	for {
		reply, err := call(binary.LittleEndian.AppendUint32(nil, uint32(len(b))))
		if err != nil {
			return nil, fmt.Errorf("listing sockets: %w", err)
		}
		if len(reply) <= listingHead {
			return nil, errListing
		}
		total := binary.LittleEndian.Uint32(reply)
		b = append(b, reply[listingHead:]...)
		switch {
		case total > MaxListing || len(b) > int(total):
			return nil, errListing
		case len(b) == int(total):
			return parseListing(b)
		}
	}
}

// appendListing encodes a listing in at most limit bytes.
func appendListing(b []byte, l *Listing, limit int) []byte {
	notes := l.Notes
	index := map[*exchange.Process]uint32{}
	var processes, sockets []byte
	addresses := l.Addresses[:min(len(l.Addresses), maxListedAddresses)]
	// What comes behind the sockets, and the numbers, at most.
	tail := 4 + 17*len(addresses) + 5*4 + 2*2 + 2*maxListedNotes*(2+maxPath) + 2*4
	n := 0
	for i := range l.Sockets {
		keep, known := len(processes), len(index)
		s := &l.Sockets[i]
		encoded := appendSocket(sockets, s, func(p *exchange.Process) uint32 {
			k, ok := index[p]
			if !ok {
				k = uint32(len(index))
				index[p] = k
				short := *p
				short.Args = p.Args[:min(len(p.Args), 1)]
				processes = appendProcess(processes, &short)
			}
			return k
		})
		if len(processes)+len(encoded)+tail > limit || len(index) > maxListedProcesses {
			processes = processes[:keep]
			n, notes.Cut = i, notes.Cut+len(l.Sockets)-i
			for p, k := range index {
				if int(k) >= known {
					delete(index, p)
				}
			}
			break
		}
		sockets, n = encoded, i+1
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(index)))
	b = append(b, processes...)
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	b = append(b, sockets...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(addresses)))
	for _, a := range addresses {
		b = appendAddr(b, a)
	}
	for _, n := range [...]int{notes.Blind.Processes, notes.Blind.Seen, notes.Unowned, notes.Cut, notes.Holds} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	b = appendTexts(b, notes.Blind.Missing[:min(len(notes.Blind.Missing), maxListedNotes)])
	return appendTexts(b, notes.Incomplete[:min(len(notes.Incomplete), maxListedNotes)])
}

func appendSocket(b []byte, s *Socket, index func(*exchange.Process) uint32) []byte {
	b = append(b, byte(s.Kind), byte(s.State))
	for _, end := range [...]netip.AddrPort{s.Local, s.Remote} {
		b = appendAddr(b, end.Addr())
		b = binary.LittleEndian.AppendUint16(b, end.Port())
	}
	for _, v := range [...]uint32{s.Interface, s.RecvQueue, s.SendQueue} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = binary.LittleEndian.AppendUint64(b, s.Inode)
	b = binary.LittleEndian.AppendUint32(b, s.UID)
	b = binary.LittleEndian.AppendUint64(b, s.Peer)
	for _, t := range [...]string{s.User, s.Path, s.PeerPath} {
		b = appendText(b, t)
	}
	for _, holders := range [...][]Holder{s.Holders, s.PeerHolders} {
		holders = holders[:min(len(holders), maxListedHolders)]
		b = binary.LittleEndian.AppendUint16(b, uint16(len(holders)))
		for _, h := range holders {
			b = binary.LittleEndian.AppendUint32(b, index(h.Process))
			b = binary.LittleEndian.AppendUint32(b, uint32(h.FD))
		}
	}
	return b
}

// appendAddr appends an address with its length, without its zone.
func appendAddr(b []byte, a netip.Addr) []byte {
	raw := a.AsSlice()
	return append(append(b, byte(len(raw))), raw...)
}

func parseListing(b []byte) (*Listing, error) {
	r := wireReader{b: b, ok: len(b) <= MaxListing}
	// No number is believed before there are bytes for as many.
	count := func(limit, size int) int {
		n := r.uint32()
		if n > uint32(limit) || int(n)*size > len(r.b) {
			r.ok = false
			return 0
		}
		return int(n)
	}
	processes := make([]*exchange.Process, count(maxListedProcesses, 18))
	for i := range processes {
		processes[i] = r.process()
	}
	l := &Listing{Sockets: make([]Socket, count(MaxListing, 50))}
	for i := range l.Sockets {
		r.socket(&l.Sockets[i], processes)
		if !r.ok {
			return nil, errListing
		}
	}
	l.Addresses = make([]netip.Addr, count(maxListedAddresses, 1))
	for i := range l.Addresses {
		l.Addresses[i] = r.addr()
	}
	n := &l.Notes
	for _, v := range [...]*int{&n.Blind.Processes, &n.Blind.Seen, &n.Unowned, &n.Cut, &n.Holds} {
		*v = int(r.uint32())
	}
	n.Blind.Missing = r.texts(maxListedNotes)
	n.Incomplete = r.texts(maxListedNotes)
	if !r.ok || len(r.b) > 0 {
		return nil, errListing
	}
	return l, nil
}

func (r *wireReader) socket(s *Socket, processes []*exchange.Process) {
	s.Kind, s.State = Kind(r.byte()), State(r.byte())
	for _, end := range [...]*netip.AddrPort{&s.Local, &s.Remote} {
		a := r.addr()
		*end = netip.AddrPortFrom(a, uint16(r.uint16()))
	}
	for _, v := range [...]*uint32{&s.Interface, &s.RecvQueue, &s.SendQueue} {
		*v = r.uint32()
	}
	s.Inode = r.uint64()
	s.UID = r.uint32()
	s.Peer = r.uint64()
	for _, t := range [...]*string{&s.User, &s.Path, &s.PeerPath} {
		*t = r.text()
	}
	for _, holders := range [...]*[]Holder{&s.Holders, &s.PeerHolders} {
		n := r.uint16()
		if n > maxListedHolders || n*8 > len(r.b) {
			r.ok = false
		}
		for range n {
			which, fd := r.uint32(), r.uint32()
			if !r.ok || which >= uint32(len(processes)) {
				r.ok = false
				return
			}
			*holders = append(*holders, Holder{processes[which], int(int32(fd))})
		}
		*holders = slices.Clip(*holders)
	}
}

func (r *wireReader) addr() netip.Addr {
	n := r.byte()
	if n != 0 && n != 4 && n != 16 {
		r.ok = false
	}
	if !r.ok || n == 0 {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(r.take(n))
	return a
}
