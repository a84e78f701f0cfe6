package capture

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"
	"testing/iotest"
)

// A retained record keeps its bytes, whatever is read after it, and its block is used again when released.
func TestRetain(t *testing.T) {
	packets := manyPackets(8000) // several blocks
	s := open(t, Options{}, Input{Path: write(t, "capture", simplePcap(packets...))})
	type kept struct {
		data  []byte
		block *Block
		index int
	}
	var keep []kept
	blocks := map[*Block]bool{}
	var r Record
	for i := range packets {
		if err := s.Next(&r); err != nil {
			t.Fatal(err)
		}
		blocks[r.Block] = true
		if i%500 == 0 {
			r.Block.Retain()
			keep = append(keep, kept{r.Data, r.Block, i})
		}
		if len(keep) > 8 {
			k := keep[0]
			if string(k.data) != packets[k.index].data {
				t.Errorf("record %d changed while it was retained", k.index)
			}
			k.block.Release()
			keep = keep[1:]
		}
	}
	size := len(simplePcap(packets...))
	if n := size/blockSize + 1; len(blocks) > n {
		t.Errorf("%d blocks for %d bytes, want at most %d", len(blocks), size, n)
	}
	for _, k := range keep {
		k.block.Release()
	}
	if n := len(s.(*source).pool.spare); n == 0 {
		t.Error("no block came back to the pool")
	}
}

// Without a holder one block serves for the whole file, and nothing is allocated for a packet.
func TestNoAllocation(t *testing.T) {
	packets := manyPackets(8000)
	for name, content := range map[string][]byte{"pcap": simplePcap(packets...), "pcapng": simplePcapng("eth0", packets...)} {
		s := open(t, Options{}, Input{Path: write(t, "capture", content)})
		var r Record
		blocks := map[*Block]bool{}
		if err := s.Next(&r); err != nil {
			t.Fatal(err)
		}
		blocks[r.Block] = true
		allocated := testing.AllocsPerRun(len(packets)-2, func() {
			if err := s.Next(&r); err != nil {
				t.Error(err)
			}
			blocks[r.Block] = true
		})
		if allocated != 0 || len(blocks) != 1 {
			t.Errorf("%s: %v allocations a packet, %d blocks", name, allocated, len(blocks))
		}
	}
}

// Reads are aligned in memory and, for a file, in the file.
func TestReadsAreAligned(t *testing.T) {
	in := &recorder{r: bytes.NewReader(simplePcap(manyPackets(8000)...))}
	w := newWindow(in, newBlockPool(blockSize))
	in.w = w
	for {
		if _, err := w.peek(1000); err != nil {
			break
		}
		w.pos += 1000
	}
	if len(in.offsets) < 3 {
		t.Fatalf("only %d reads", len(in.offsets))
	}
	for i, at := range in.offsets[:len(in.offsets)-1] {
		if at%pageSize != 0 || in.places[i]%pageSize != 0 {
			t.Errorf("read %d is of offset %d to place %d", i, at, in.places[i])
		}
	}
}

type recorder struct {
	r       *bytes.Reader
	w       *window
	offsets []int64
	places  []int
}

func (r *recorder) Read(b []byte) (int, error) {
	r.offsets = append(r.offsets, r.r.Size()-int64(r.r.Len()))
	r.places = append(r.places, len(r.w.buf))
	return r.r.Read(b)
}

// Any sequence of steps shows the stream's bytes, by small reads and in small blocks too.
func TestWindowSteps(t *testing.T) {
	content := []byte(simplePcap(manyPackets(900)...))
	for _, size := range []int{2 * pageSize, blockSize} {
		w := newWindow(iotest.HalfReader(iotest.DataErrReader(bytes.NewReader(content))), newBlockPool(size))
		at := 0
		for step := 1; at < len(content); step = step*7%40009 + 1 {
			n := min(step, len(content)-at)
			b, err := w.peek(n)
			if err != nil || !bytes.Equal(b, content[at:at+n]) {
				t.Fatalf("block size %d: %d bytes at %d: %v", size, n, at, err)
			}
			if w.offset() != int64(at) {
				t.Fatalf("offset %d, want %d", w.offset(), at)
			}
			w.pos += n
			at += n
		}
	}
}

// A reader that returns nothing for ever ends the reading.
func TestNoProgress(t *testing.T) {
	w := newWindow(stalled{}, newBlockPool(blockSize))
	if _, err := w.peek(1); err == nil {
		t.Error("no error")
	}
}

type stalled struct{}

func (stalled) Read([]byte) (int, error) { return 0, nil }

// A file that says that its packets are large takes memory only for what it holds.
func TestLengthFieldAllocatesNothing(t *testing.T) {
	content := append(pcapFile(binary.LittleEndian, 0xa1b2c3d4, 1<<31, 1), fields(binary.LittleEndian, uint32(1), uint32(1), uint32(MaxSnapLen), uint32(MaxSnapLen), make([]byte, 3<<20))...)
	path := write(t, "capture", content)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	recs, s := readAll(t, Options{}, Input{Path: path})
	runtime.ReadMemStats(&after)
	if len(recs) != 0 || len(s.Warnings()) != 1 {
		t.Errorf("%d records, warnings %q", len(recs), s.Warnings())
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d bytes were allocated for a file of %d", grown, len(content))
	}
}
