package segment

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync/atomic"
)

// Every byte of a segment is checked before it is used. Parquet has checksums of the data of pages only: a bit that
// flips in a page's header, in a bloom filter or in the footer makes other rows.
//
//	rows, bloom filters             in blocks of blockSize: their CRC-32C are in the footer, under blocksKey
//	indexes of pages, and footer    their CRC-32C and length are what Writer.Sum returns, and OpenSum is told
const (
	blockSize = 32 << 10
	blocksKey = "culprit.blocks"
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
	body int64
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
	s.tail, s.body = true, s.size
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

// newChecked returns a reader of a file whose end it has checked. It checks the rest after expect.
func newChecked(r io.ReaderAt, size int64, sum uint64) (*checked, error) {
	body := size - int64(sum>>32)
	if body < 0 {
		return nil, errors.New("it is too short")
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
	if crc != uint32(sum) {
		return nil, fmt.Errorf("%w: in its footer", errChecksum)
	}
	return c, nil
}

// expect says what the checksums are, as the footer has them.
func (c *checked) expect(text string) error {
	sums, err := base64.StdEncoding.DecodeString(text)
	if err != nil || int64(len(sums)) != 4*blocks(c.body) {
		return errors.New("it has the checksums of another file")
	}
	c.done, c.sums = make([]atomic.Bool, blocks(c.body)), sums
	return nil
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
	if c.sums == nil || off < 0 || off >= c.body {
		return c.r.ReadAt(b, off)
	}
	first, end := off/blockSize, blocks(min(off+int64(len(b)), c.body))
	for first < end && c.done[first].Load() {
		first++
	}
	if first >= end {
		return c.r.ReadAt(b, off)
	}
	// Blocks are read as a whole, and what is wanted is copied, so that it is the bytes that were checked.
	from := off / blockSize * blockSize
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
