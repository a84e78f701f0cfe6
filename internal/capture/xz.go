package capture

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"slices"

	"github.com/ulikunitz/xz/lzma"
)

// maxXZDict is the largest dictionary of an xz file, in bytes, that is decoded: that of xz -9.
const maxXZDict = 64 << 20

// xzReader decodes an xz file (https://tukaani.org/xz/xz-file-format.txt): its container here, the LZMA2
// data by the library. The library's own reader of the container allocates whatever dictionary a file
// asks for, up to 4 GiB.
//
//	file   = stream { stream | padding }
//	stream = header { block } index footer
//	block  = header LZMA2-data padding check
type xzReader struct {
	in       *bufio.Reader
	taken    int64 // bytes read from in
	inStream bool
	check    byte          // id of the stream's integrity check
	block    *lzma.Reader2 // nil between blocks
	started  int64         // where the block's data began
	sum      hash.Hash     // of the block's content; nil when the check is unknown or none
	err      error
}

// xzChecks are the integrity checks by their id: those that are known, and the lengths of all (§2.1.1.2).
var (
	xzChecks = map[byte]func() hash.Hash{
		1:        func() hash.Hash { return crc32.NewIEEE() },
		4:        func() hash.Hash { return crc64.New(crc64.MakeTable(crc64.ECMA)) },
		xzSHA256: sha256.New,
	}
	xzCheckLen = [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}
)

const (
	xzMagic       = "\xfd7zXZ\x00"
	xzFooterMagic = "YZ"
	xzLZMA2       = 0x21 // id of the filter
	xzSHA256      = 10   // id of the check
)

var errXZ = errors.New("the data is corrupt")

func newXZReader(r *bufio.Reader) *xzReader { return &xzReader{in: r} }

func (x *xzReader) Read(p []byte) (int, error) {
	for x.err == nil {
		if x.block == nil {
			x.err = x.nextBlock()
			continue
		}
		n, err := x.block.Read(p)
		if x.sum != nil {
			x.sum.Write(p[:n])
		}
		if err == io.EOF {
			err = x.endBlock()
		}
		x.err = err
		if n > 0 {
			return n, nil
		}
	}
	return 0, x.err
}

// xzSource is what the LZMA2 decoder reads: the file, counted.
type xzSource struct{ *xzReader }

func (s xzSource) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	s.taken += int64(n)
	return n, err
}

func (s xzSource) ReadByte() (byte, error) {
	b, err := s.in.ReadByte()
	if err == nil {
		s.taken++
	}
	return b, err
}

// take reads the next n bytes; within something, so that an end is unexpected.
func (x *xzReader) take(n int) ([]byte, error) {
	b := make([]byte, n)
	k, err := io.ReadFull(x.in, b)
	x.taken += int64(k)
	if err == io.EOF && n > 0 {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// nextBlock comes nearer to the next block: it opens it, or a stream. It returns io.EOF at the end of the file.
func (x *xzReader) nextBlock() error {
	if !x.inStream {
		return x.startStream()
	}
	size, err := x.take(1)
	if err != nil {
		return err
	}
	if size[0] == 0 {
		return x.endStream()
	}
	rest, err := x.take(int(size[0])*4 + 3)
	if err != nil {
		return err
	}
	header := append(size, rest...)
	fields, crc := header[1:len(header)-4], header[len(header)-4:]
	if crc32.ChecksumIEEE(header[:len(header)-4]) != binary.LittleEndian.Uint32(crc) {
		return errXZ
	}
	flags := fields[0]
	fields = fields[1:]
	for _, sizePresent := range []byte{0x40, 0x80} {
		if flags&sizePresent != 0 {
			_, n := binary.Uvarint(fields)
			if n <= 0 {
				return errXZ
			}
			fields = fields[n:]
		}
	}
	if flags&0x3f != 0 || len(fields) < 3 || fields[0] != xzLZMA2 || fields[1] != 1 {
		return errors.New("a filter other than LZMA2 isn't supported: unpack the file with xz -d")
	}
	dict, err := lzma.DecodeDictCap(fields[2])
	if err != nil {
		return err
	}
	if dict > maxXZDict {
		return fmt.Errorf("its dictionary of %d bytes exceeds the limit of %d: unpack the file with xz -d", dict, maxXZDict)
	}
	x.started, x.sum = x.taken, nil
	if newSum := xzChecks[x.check]; newSum != nil {
		x.sum = newSum()
	}
	x.block, err = lzma.Reader2Config{DictCap: max(int(dict), lzma.MinDictCap)}.NewReader2(xzSource{x})
	return err
}

// startStream reads a stream's header, or four bytes of the padding before it.
func (x *xzReader) startStream() error {
	if _, err := x.in.Peek(1); err != nil {
		return err
	}
	h, err := x.take(4)
	if err != nil {
		return err
	}
	if x.taken > 4 && binary.LittleEndian.Uint32(h) == 0 {
		return nil
	}
	rest, err := x.take(8)
	if err != nil {
		return err
	}
	h = append(h, rest...)
	flags := h[len(xzMagic):8]
	if string(h[:len(xzMagic)]) != xzMagic || crc32.ChecksumIEEE(flags) != binary.LittleEndian.Uint32(h[8:]) ||
		flags[0] != 0 || flags[1] > 0x0f {
		return errXZ
	}
	x.check, x.inStream = flags[1], true
	return nil
}

func (x *xzReader) endBlock() error {
	x.block = nil
	if _, err := x.take(int(-(x.taken - x.started) & 3)); err != nil {
		return err
	}
	check, err := x.take(xzCheckLen[x.check])
	if err != nil {
		return err
	}
	if x.sum == nil {
		return nil
	}
	sum := x.sum.Sum(nil)
	if x.check != xzSHA256 { // the CRCs are stored with the lowest byte first
		slices.Reverse(sum)
	}
	if !bytes.Equal(sum, check) {
		return errors.New("a block's content doesn't fit its checksum")
	}
	return nil
}

// endStream skips the index, which is of use only for random access, and the footer.
func (x *xzReader) endStream() error {
	x.inStream = false
	start := x.taken - 1
	count, err := binary.ReadUvarint(xzSource{x})
	for n := uint64(0); err == nil && n < count; n++ {
		if _, err = binary.ReadUvarint(xzSource{x}); err == nil {
			_, err = binary.ReadUvarint(xzSource{x})
		}
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	tail, err := x.take(int(-(x.taken-start)&3) + 4 + 12)
	if err == nil && string(tail[len(tail)-2:]) != xzFooterMagic {
		err = errXZ
	}
	return err
}
