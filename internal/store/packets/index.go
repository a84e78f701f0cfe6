package packets

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"

	"github.com/culprit-http/culprit/internal/packet"
)

// entry is a packet of a file as the index sees it.
type entry struct {
	hash  uint64 // of its connection
	time  int64
	at    uint32 // where its block begins, in units of 4 bytes
	iface uint16 // of the ring, until it is written
	// control: it opens or closes its connection, so that it is needed for exchanges far away from it.
	control bool
}

// entrySize is what an entry takes in memory, in bytes.
const entrySize = 24

// unit is what offsets of blocks are multiples of, in bytes.
const unit = 4

// ref is where a packet of a connection is.
type ref struct {
	at      uint32
	control bool
}

// chunk are packets of a connection that follow each other in a file, and the times that enclose theirs.
type chunk struct {
	from, to int64
	refs     []ref
}

// chunkSize is how many packets a chunk has at most: those of a chunk are read even if only one is wanted.
const chunkSize = 128

// hashOf is the hash by which the packets of a connection are found, label being the hash of the name of the tap. It
// is part of the format of the index.
func hashOf(label uint64, k *packet.Flow) uint64 {
	h := mix(label, uint64(k.LoPort)<<32|uint64(k.HiPort)<<16|uint64(k.Proto))
	for _, a := range [...]*packet.Addr{&k.Lo, &k.Hi} {
		h = mix(h, binary.LittleEndian.Uint64(a[:8]))
		h = mix(h, binary.LittleEndian.Uint64(a[8:]))
	}
	return h
}

func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9E3779B97F4A7C15
	return h ^ h>>32
}

// labelHash is the hash of the name of a tap (FNV-1a).
func labelHash(label string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(label) {
		h = (h ^ uint64(label[i])) * 0x100000001b3
	}
	return h
}

// The file of an index: a header, tables of interfaces and of connections sorted by their hash, their chunks, and a checksum (CRC-32C)
// of all before. The header has a checksum of its own, so that it can be read alone. Numbers are little-endian.
//
//	header: magic, length of the file that is indexed, packets, first and last time, connections, interfaces, checksum
//	interface: where its description is, in units of 4 bytes
//	connection: hash, where its chunks begin, counted from the end of the table
//	chunk: packets, from - first time, to - from, and of each packet the distance from the one before, doubled, plus
//	       one if it is a control packet; all of them varints
const (
	indexMagic   = "CPKTIDX\x01" // the last byte is the version
	indexHeader  = 8 + 8 + 8 + 8 + 8 + 4 + 4 + 4
	indexIface   = 4
	indexFlow    = 8 + 4
	indexTrailer = 4
)

// summary is what the header of an index says.
type summary struct {
	length   int64 // of the file
	packets  uint64
	from, to int64 // times of packets; from > to when there are none
	flows    uint32
	ifaces   uint32
}

func (s *summary) note(t int64) {
	if s.packets == 0 {
		s.from, s.to = t, t
	}
	s.packets++
	s.from, s.to = min(s.from, t), max(s.to, t)
}

// checksum is CRC-32C, which processors know.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// How the hashes of entries are sorted: by their first digits, which have digitBits bits each.
const (
	digitBits = 11
	digits    = 3
	prefix    = digits * digitBits
)

// sortEntries sorts entries by hash, those of one hash staying in their order. Comparing them one by one would take longer
// than all else that is done for a packet.
func sortEntries(all []entry) []entry {
	from, to := all, make([]entry, len(all))
	for digit := range digits {
		shift := 64 - prefix + digit*digitBits
		var at [1 << digitBits]int
		for i := range from {
			at[from[i].hash>>shift&(1<<digitBits-1)]++
		}
		n := 0
		for i := range at {
			at[i], n = n, n+at[i]
		}
		for i := range from {
			d := from[i].hash >> shift & (1<<digitBits - 1)
			to[at[d]] = from[i]
			at[d]++
		}
		from, to = to, from
	}
	// What agrees in the first bits is put in order by the rest. That is one connection, nearly always.
	for rest := from; len(rest) > 0; {
		n, mixed := 1, false
		for n < len(rest) && rest[n].hash>>(64-prefix) == rest[0].hash>>(64-prefix) {
			mixed = mixed || rest[n].hash != rest[0].hash
			n++
		}
		if mixed {
			slices.SortStableFunc(rest[:n], func(a, b entry) int { return cmp.Compare(a.hash, b.hash) })
		}
		rest = rest[n:]
	}
	return from
}

// encodeIndex makes the index of a file from its entries, in the order of the file. It may change their order.
func encodeIndex(s summary, ifaces []iface, all []entry) []byte {
	all = sortEntries(all)
	s.flows, s.ifaces = 0, uint32(len(ifaces))
	for i := range all {
		if i == 0 || all[i].hash != all[i-1].hash {
			s.flows++
		}
	}
	le := binary.LittleEndian
	b := make([]byte, 0, indexHeader+len(ifaces)*indexIface+int(s.flows)*indexFlow+len(all)*4+indexTrailer)
	b = append(b, indexMagic...)
	b = le.AppendUint64(b, uint64(s.length))
	b = le.AppendUint64(b, s.packets)
	b = le.AppendUint64(b, uint64(s.from))
	b = le.AppendUint64(b, uint64(s.to))
	b = le.AppendUint32(b, s.flows)
	b = le.AppendUint32(b, s.ifaces)
	b = le.AppendUint32(b, checksum(b))
	for i := range ifaces {
		b = le.AppendUint32(b, ifaces[i].at)
	}
	table := len(b)
	b = append(b, make([]byte, int(s.flows)*indexFlow)...)
	chunks := len(b)
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].hash == all[0].hash {
			n++
		}
		le.PutUint64(b[table:], all[0].hash)
		le.PutUint32(b[table+8:], uint32(len(b)-chunks))
		table += indexFlow
		before := uint32(0)
		for part := range slices.Chunk(all[:n], chunkSize) {
			from, to := part[0].time, part[0].time
			for i := range part {
				from, to = min(from, part[i].time), max(to, part[i].time)
			}
			b = binary.AppendUvarint(b, uint64(len(part)))
			b = binary.AppendUvarint(b, uint64(from-s.from))
			b = binary.AppendUvarint(b, uint64(to-from))
			for i := range part {
				v := uint64(part[i].at-before) << 1
				if part[i].control {
					v |= 1
				}
				b = binary.AppendUvarint(b, v)
				before = part[i].at
			}
		}
		all = all[n:]
	}
	return le.AppendUint32(b, checksum(b))
}

var errIndex = errors.New("the index is damaged")

// decodeSummary reads the header of an index.
func decodeSummary(b []byte) (s summary, err error) {
	le := binary.LittleEndian
	if len(b) < indexHeader || string(b[:8]) != indexMagic || checksum(b[:indexHeader-4]) != le.Uint32(b[indexHeader-4:]) {
		return s, errIndex
	}
	s.length, s.packets = int64(le.Uint64(b[8:])), le.Uint64(b[16:])
	s.from, s.to, s.flows, s.ifaces = int64(le.Uint64(b[24:])), int64(le.Uint64(b[32:])), le.Uint32(b[40:]), le.Uint32(b[44:])
	if s.length < 0 || s.from < 0 || s.ifaces > maxIfaces || s.to < s.from && s.packets > 0 {
		return s, errIndex
	}
	return s, nil
}

// findChunks returns the chunks of a connection in an index, none when it isn't there, and where interfaces are
// described.
func findChunks(b []byte, hash uint64) (chunks []chunk, ifaces []uint32, err error) {
	le := binary.LittleEndian
	s, err := decodeSummary(b)
	if err != nil {
		return nil, nil, err
	}
	tables := indexHeader + uint64(s.ifaces)*indexIface + uint64(s.flows)*indexFlow
	if tables+indexTrailer > uint64(len(b)) || checksum(b[:len(b)-indexTrailer]) != le.Uint32(b[len(b)-indexTrailer:]) {
		return nil, nil, errIndex
	}
	table, data := b[indexHeader:tables], b[tables:len(b)-indexTrailer]
	for range s.ifaces {
		ifaces = append(ifaces, le.Uint32(table))
		table = table[indexIface:]
	}
	n := int(s.flows)
	low, high := 0, n
	for low < high {
		if i := int(uint(low+high) >> 1); le.Uint64(table[i*indexFlow:]) < hash {
			low = i + 1
		} else {
			high = i
		}
	}
	if low == n || le.Uint64(table[low*indexFlow:]) != hash {
		return nil, ifaces, nil
	}
	from, to := uint64(le.Uint32(table[low*indexFlow+8:])), uint64(len(data))
	if low+1 < n {
		to = uint64(le.Uint32(table[(low+1)*indexFlow+8:]))
	}
	if from > to || to > uint64(len(data)) {
		return nil, nil, errIndex
	}
	chunks, err = decodeChunks(data[from:to], &s)
	return chunks, ifaces, err
}

func decodeChunks(b []byte, s *summary) (all []chunk, err error) {
	next := func() (v uint64) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			err, b = errIndex, nil
			return 0
		}
		b = b[n:]
		return v
	}
	at := uint64(0)
	for len(b) > 0 && err == nil {
		n, from, length := next(), next(), next()
		if n == 0 || n > chunkSize || n > uint64(len(b)) || from > uint64(s.to-s.from) || length > uint64(s.to-s.from)-from {
			return nil, errIndex
		}
		c := chunk{from: s.from + int64(from), refs: make([]ref, n)}
		c.to = c.from + int64(length)
		for i := range c.refs {
			v := next()
			if at += v >> 1; at > uint64(s.length)/unit {
				return nil, errIndex
			}
			c.refs[i] = ref{uint32(at), v&1 != 0}
		}
		all = append(all, c)
	}
	return all, err
}

// collect makes chunks of the entries of a connection.
func collect(all []entry, hash uint64) (chunks []chunk) {
	for i := range all {
		e := &all[i]
		if e.hash != hash {
			continue
		}
		if n := len(chunks); n == 0 || len(chunks[n-1].refs) == chunkSize {
			chunks = append(chunks, chunk{from: e.time, to: e.time})
		}
		c := &chunks[len(chunks)-1]
		c.from, c.to = min(c.from, e.time), max(c.to, e.time)
		c.refs = append(c.refs, ref{e.at, e.control})
	}
	return chunks
}
