package segment

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"sync/atomic"
)

// Every byte of a segment is checked before it is used. Parquet has checksums of the data of pages only: a bit that
// flips in a page's header, in a bloom filter or in the footer makes other rows.
//
//	rows, bloom filters             in blocks of blockSize: their CRC-32C are in the footer, under blocksKey
//	indexes of pages, and footer    from bodyKey on: their CRC-32C is what Writer.Sum returns, and Open is told
const (
	blockSize = 32 << 10
	blocksKey = "culprit.blocks"
	bodyKey   = "culprit.body"
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// summer computes the checksums of what is written through it.
type summer struct {
	w     io.Writer
	table *crc32.Table
	// sums are those of the whole blocks, sum is that of the current one, of which there are n bytes.
	sums []byte
	sum  uint32
	n    int
	size int64
	// tail: the body has ended; from here on there is one checksum.
	tail bool
}

func (s *summer) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.size += int64(n)
	for b = b[:n]; len(b) > 0; {
		part := b
		if !s.tail {
			part = b[:min(len(b), blockSize-s.n)]
		}
		s.sum = crc32.Update(s.sum, s.table, part)
		if s.n += len(part); s.n == blockSize && !s.tail {
			s.end()
		}
		b = b[len(part):]
	}
	return n, err
}

// end ends a block.
func (s *summer) end() {
	s.sums = binary.LittleEndian.AppendUint32(s.sums, s.sum)
	s.sum, s.n = 0, 0
}

// endBody ends the last block.
func (s *summer) endBody() {
	if s.n > 0 {
		s.end()
	}
	s.tail = true
}

// checked reads a file whose bytes it checks, each block once: the first time it is read.
type checked struct {
	r     io.ReaderAt
	table *crc32.Table
	body  int64
	sums  []byte
	done  []atomic.Bool // by block
}

// errChecksum is the error of bytes that aren't those that were written.
var errChecksum = errors.New("a checksum doesn't match")

// newChecked returns a reader that has checked the end of a file, after its body, and will check the rest. What the footer
// says is get's.
func newChecked(r io.ReaderAt, size int64, sum uint32, get func(key string) (string, bool)) (*checked, error) {
	text, _ := get(bodyKey)
	body, err := strconv.ParseInt(text, 10, 64)
	if err != nil || body < 0 || body > size {
		return nil, errors.New("nothing tells its checksums")
	}
	c := &checked{r: r, table: castagnoli(), body: body}
	crc, buf := uint32(0), make([]byte, min(size-body, 8*blockSize))
	for off := body; off < size; {
		part := buf[:min(int64(len(buf)), size-off)]
		if err := c.read(part, off); err != nil {
			return nil, err
		}
		crc = crc32.Update(crc, c.table, part)
		off += int64(len(part))
	}
	if crc != sum {
		return nil, fmt.Errorf("%w: in its footer", errChecksum)
	}
	// From here on the footer is what was written.
	text, _ = get(blocksKey)
	if c.sums, err = base64.StdEncoding.DecodeString(text); err != nil || int64(len(c.sums)) != 4*blocks(body) {
		return nil, fmt.Errorf("its checksums are those of another file")
	}
	c.done = make([]atomic.Bool, blocks(body))
	return c, nil
}

func blocks(bytes int64) int64 { return (bytes + blockSize - 1) / blockSize }

func (c *checked) read(b []byte, off int64) error {
	n, err := c.r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// ReadAt implements io.ReaderAt.
func (c *checked) ReadAt(b []byte, off int64) (int, error) {
	first := max(off, 0) / blockSize
	end := blocks(min(max(off, 0)+int64(len(b)), c.body))
	for first < end && c.done[first].Load() {
		first++
	}
	if first >= end {
		return c.r.ReadAt(b, off)
	}
	// Blocks are read as a whole, and what is wanted is copied, so that it is the bytes that were checked.
	from := max(off, 0) / blockSize * blockSize
	to := min(end*blockSize, c.body)
	buf := make([]byte, to-from)
	if err := c.read(buf, from); err != nil {
		return 0, err
	}
	for block := from / blockSize; block < end; block++ {
		at := block*blockSize - from
		part := buf[at:min(at+blockSize, int64(len(buf)))]
		if crc32.Checksum(part, c.table) != binary.LittleEndian.Uint32(c.sums[4*block:]) {
			return 0, fmt.Errorf("%w: at byte %d", errChecksum, block*blockSize)
		}
		c.done[block].Store(true)
	}
	n := copy(b, buf[off-from:])
	if n < len(b) { // the rest is behind the body
		more, err := c.r.ReadAt(b[n:], off+int64(n))
		return n + more, err
	}
	return n, nil
}

// switchable is what a file is read through: as it is until it is known what to check.
type switchable struct{ io.ReaderAt }
