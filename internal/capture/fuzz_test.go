package capture

// The invariant: any bytes, given as a file, are read without a panic, with records that lie within the
// file's limits, each within its block; and the same bytes give the same records, warnings and end when every
// read returns one byte.

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"testing/iotest"
	"unsafe"
)

func FuzzPcap(f *testing.F) {
	for _, magic := range []uint32{0xa1b2c3d4, 0xa1b23c4d, 0xa1b2cd34} {
		f.Add(pcapFile(binary.LittleEndian, magic, 65535, 1, at("a", 1, 2)...))
		f.Add(pcapFile(binary.BigEndian, magic, 0, 1<<28|1, at("a", 1, 2)...))
	}
	f.Add(simplePcap(at("a", 1)...)[:45])
	f.Add(append(bytes.Repeat([]byte("text "), foreignSize/5+1), 0)) // text only as far as one looks
	f.Fuzz(checkBytes)
}

func FuzzPcapng(f *testing.F) {
	for _, o := range []ng{{binary.LittleEndian}, {binary.BigEndian}} {
		file := append(o.section(), o.iface(1, 96, o.option(interfaceName, "eth0"), o.option(interfaceResolution, uint8(0x8a)), o.option(interfaceOffset, int64(-1)))...)
		file = append(file, o.packet(0, 1<<40, "enhanced", 80, o.option(1, "comment"), o.option(0))...)
		file = append(file, o.block(blockPacket, uint16(0), uint16(5), uint64(0), uint32(3), uint32(30), "old", uint8(0))...)
		file = append(file, o.block(blockSimple, uint32(6), "simple")...)
		file = append(file, o.block(blockStatistics, uint32(0), uint64(0), o.option(statisticsIfDrop, uint64(3)))...)
		file = append(file, o.block(blockSecrets, uint32(1), uint32(4), "keys")...)
		f.Add(file)
		f.Add(append(file, file...))
		f.Add(file[:len(file)-3])
	}
	f.Fuzz(checkBytes)
}

// FuzzCompressed: as the others, and what a file unpacks to is bounded by what the test reads.
func FuzzCompressed(f *testing.F) {
	plain := simplePcap(at("a", 1, 2)...)
	for _, compress := range compressors {
		f.Add(compress(f, plain))
	}
	f.Fuzz(checkBytes)
}

// maxFuzzRecords bounds what a fuzzed file may unpack to.
const maxFuzzRecords = 5000

func checkBytes(t *testing.T, content []byte) {
	whole, wholeWarnings, wholeErr := fuzzRead(t, bytes.NewReader(content))
	bytewise, warnings, err := fuzzRead(t, iotest.OneByteReader(bytes.NewReader(content)))
	expect(t, bytewise, whole...)
	if wholeErr != err || wholeWarnings != warnings {
		t.Errorf("byte by byte the end is %q with %q, as a whole %q with %q", err, warnings, wholeErr, wholeWarnings)
	}
}

func fuzzRead(t *testing.T, in io.Reader) (recs []rec, warnings, end string) {
	s := newSource(Options{}, 2*pageSize)
	content, err := decompress(in)
	if err != nil {
		return nil, "", err.Error()
	}
	defer content.Close()
	rd := s.newReader(&part{Input: Input{Path: "fuzz"}}, content)
	rd.closers = []io.Closer{content}
	s.heads, s.taken = []*reader{rd}, true
	defer s.Close()
	var r Record
	for err = s.Next(&r); err == nil && len(recs) < maxFuzzRecords; err = s.Next(&r) {
		if len(r.Data) > MaxSnapLen || r.WireLen < len(r.Data) || int(r.Tap) >= len(s.Taps()) || r.Number != uint64(len(recs)+1) {
			t.Fatalf("record %+v of taps %+v", r, s.Taps())
		}
		start := uintptr(unsafe.Pointer(unsafe.SliceData(r.Data))) - uintptr(unsafe.Pointer(unsafe.SliceData(r.Block.Bytes)))
		if start+uintptr(len(r.Data)) > uintptr(len(r.Block.Bytes)) {
			t.Fatalf("a record outside of its block")
		}
		recs = append(recs, rec{r.Time, r.Number, string(r.Data), r.WireLen, r.Tap, r.Link})
	}
	for _, w := range s.Warnings() {
		warnings += w + "\n"
	}
	if err != nil {
		end = err.Error()
	}
	return recs, warnings, end
}
