package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// pkt is a packet that a test puts into a file or expects from one.
type pkt struct {
	time int64 // nanoseconds
	data string
	wire int // length on the wire; that of data when 0
}

func (p pkt) wireLen() int {
	if p.wire == 0 {
		return len(p.data)
	}
	return p.wire
}

const second = int64(1e9)

// fields writes numbers in the given order, and strings as they are.
func fields(order binary.ByteOrder, values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		if s, ok := v.(string); ok {
			v = []byte(s)
		}
		if err := binary.Write(&b, order, v); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func pcapFile(order binary.ByteOrder, magic, snaplen, link uint32, packets ...pkt) []byte {
	b := fields(order, magic, uint16(2), uint16(4), uint64(0), snaplen, link)
	unit := int64(1000)
	if magic == 0xa1b23c4d {
		unit = 1
	}
	for _, p := range packets {
		b = append(b, fields(order, uint32(p.time/second), uint32(p.time%second/unit), uint32(len(p.data)), uint32(p.wireLen()))...)
		if magic == 0xa1b2cd34 {
			b = append(b, make([]byte, 8)...)
		}
		b = append(b, p.data...)
	}
	return b
}

// simplePcap is the plainest file: little-endian, microseconds, Ethernet.
func simplePcap(packets ...pkt) []byte {
	return pcapFile(binary.LittleEndian, 0xa1b2c3d4, 65535, 1, packets...)
}

// ng writes pcapng blocks.
type ng struct {
	binary.ByteOrder
}

func (o ng) block(kind uint32, body ...any) []byte {
	b := fields(o, body...)
	b = append(b, make([]byte, -len(b)&3)...)
	n := uint32(len(b) + 12)
	return append(append(fields(o, kind, n), b...), fields(o, n)...)
}

func (o ng) option(code uint16, value ...any) string {
	b := fields(o, value...)
	return string(fields(o, code, uint16(len(b)))) + string(b) + string(make([]byte, -len(b)&3))
}

func (o ng) section() []byte {
	return o.block(blockSection, uint32(byteOrderMagic), uint16(1), uint16(0), int64(-1), o.option(4, "a writer"), o.option(0))
}

func (o ng) iface(link uint16, snaplen uint32, options ...string) []byte {
	body := []any{link, uint16(0), snaplen}
	for _, s := range options {
		body = append(body, s)
	}
	return o.block(blockInterface, body...)
}

func (o ng) packet(id uint32, ts uint64, data string, wire int, options ...string) []byte {
	pad := string(make([]byte, -len(data)&3))
	body := []any{id, uint32(ts >> 32), uint32(ts), uint32(len(data)), uint32(wire), data + pad}
	for _, s := range options {
		body = append(body, s)
	}
	return o.block(blockEnhanced, body...)
}

// simplePcapng is the plainest pcapng file, with one interface of that name.
func simplePcapng(name string, packets ...pkt) []byte {
	o := ng{binary.LittleEndian}
	b := append(o.section(), o.iface(1, 0, o.option(interfaceName, name))...)
	for _, p := range packets {
		b = append(b, o.packet(0, uint64(p.time/1000), p.data, p.wireLen())...)
	}
	return b
}

// write makes a file in a folder of the test.
func write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// rec is what a test compares of a record.
type rec struct {
	time   int64
	number uint64
	data   string
	wire   int
	tap    uint32
	link   LinkType
}

func (r rec) String() string {
	return fmt.Sprintf("{%d #%d %.20q/%d tap %d link %d}", r.time, r.number, r.data, r.wire, r.tap, r.link)
}

// drain reads a source to its end, which is io.EOF or an error, and closes it.
func drain(s Source) (recs []rec, err error) {
	var r Record
	for {
		err := s.Next(&r)
		if err == ErrIdle {
			continue
		}
		if err != nil {
			s.Close()
			return recs, err
		}
		recs = append(recs, rec{r.Time, r.Number, string(r.Data), r.WireLen, r.Tap, r.Link})
	}
}

// readAll opens inputs and reads them to the end, which must be io.EOF.
func readAll(t testing.TB, o Options, inputs ...Input) ([]rec, Source) {
	t.Helper()
	s, err := Open(inputs, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	recs, err := drain(s)
	if err != io.EOF {
		t.Fatalf("Next: %v", err)
	}
	return recs, s
}

// readBytes reads content as a file.
func readBytes(t testing.TB, content []byte) ([]rec, Source) {
	t.Helper()
	return readAll(t, Options{}, Input{Path: write(t, "capture", content)})
}

// expect compares records with those wanted, as one text a record.
func expect(t testing.TB, got []rec, want ...rec) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("record %d is missing: %v", i, want[i])
		case i >= len(want):
			t.Errorf("record %d is too many: %v", i, got[i])
		case got[i] != want[i]:
			t.Errorf("record %d is %v, want %v", i, got[i], want[i])
		}
	}
}
