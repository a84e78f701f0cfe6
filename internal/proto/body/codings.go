package body

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"hash/crc32"
	"io"

	"github.com/andybalholm/brotli"
	fast "github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

var errIdle = errors.New("body: the decompressor gives neither data nor an error")

// statusOf tells the end of the data from its being cut and from its being malformed.
func statusOf(limited bool, err error) status {
	switch {
	case limited:
		return status{limited: true}
	case err == io.EOF:
		return status{complete: true}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return status{}
	}
	return status{bad: true}
}

// longDeflate is the length of DEFLATE data, in bytes, from which a decompressor is made for them that is three times as fast as the standard
// library's, but can't be used again: its Reset keeps the Huffman tables of the body before.
const longDeflate = 2 << 10

// raw appends the data of the DEFLATE stream (RFC 1951) at the start of src to dst, and returns what
// follows the stream. first: the body has had none before; a hostile one may have thousands.
func (d *Decoder) raw(dst, src []byte, max int, first bool) (out, rest []byte, s status) {
	d.in.Reset(src)
	if first && len(src) >= longDeflate {
		out, limited, err := drain(dst, fast.NewReader(&d.in), max)
		return out, src[len(src)-d.in.Len():], statusOf(limited, err)
	}
	// The standard library's decompressor, though others are faster: its Reset forgets the Huffman
	// tables of the body before, so that malformed data can't be decoded with their remains.
	if d.flate == nil {
		d.flate = flate.NewReader(&d.in)
	} else if err := d.flate.(flate.Resetter).Reset(&d.in, nil); err != nil {
		return dst, src, status{bad: true}
	}
	out, limited, err := drain(dst, d.flate, max)
	return out, src[len(src)-d.in.Len():], statusOf(limited, err)
}

// inflate undoes "deflate", which is the zlib format (RFC 1950), though many senders leave its
// wrapping out; browsers take both.
func (d *Decoder) inflate(dst, src []byte, max int) ([]byte, status) {
	if len(src) < 2 {
		return dst, status{}
	}
	if head := binary.BigEndian.Uint16(src); src[0]&0x0f == 8 && src[0]>>4 <= 7 && head%31 == 0 {
		if out, s := d.unzlib(dst, src[2:], max); len(out) > 0 || !s.bad {
			return out, s
		}
		// Raw data may look like a zlib header.
	}
	out, rest, s := d.raw(dst, src, max, true)
	s.trailing = s.complete && len(rest) > 0
	return out, s
}

// unzlib appends the data of a zlib stream whose header was taken.
func (d *Decoder) unzlib(dst, src []byte, max int) ([]byte, status) {
	out, rest, s := d.raw(dst, src, max, true)
	if !s.complete {
		return out, s
	}
	if len(rest) < 4 {
		s.complete = false
		return out, s
	}
	s.bad = adler32.Checksum(out) != binary.BigEndian.Uint32(rest)
	s.trailing = len(rest) > 4
	return out, s
}

// gunzip undoes "gzip" (RFC 1952), of one member or several.
func (d *Decoder) gunzip(dst, src []byte, max int) (out []byte, s status) {
	out = dst
	for first := true; ; first = false {
		n, ok := gzipHeader(src)
		if !ok && !first {
			return out, status{complete: true, trailing: len(src) > 0, bad: s.bad}
		}
		if !ok || n > len(src) {
			return out, status{bad: !ok || s.bad}
		}
		bad, start := s.bad, len(out)
		var rest []byte
		out, rest, s = d.raw(out, src[n:], max, first)
		s.bad = s.bad || bad
		if !s.complete {
			return out, s
		}
		if len(rest) < 8 {
			s.complete = false
			return out, s
		}
		member := out[start:]
		if binary.LittleEndian.Uint32(rest) != crc32.ChecksumIEEE(member) || binary.LittleEndian.Uint32(rest[4:]) != uint32(len(member)) {
			s.bad = true
		}
		src = rest[8:]
	}
}

// gzipHeader returns the length of the header of a gzip member (RFC 1952 §2.3), more than len(b)
// when its end isn't there yet. The header's own checksum is ignored, as browsers do.
func gzipHeader(b []byte) (n int, ok bool) {
	const (
		size     = 10
		fHCRC    = 1 << 1
		fExtra   = 1 << 2
		fName    = 1 << 3
		fComment = 1 << 4
		reserved = 0xe0
	)
	magic := [...]byte{0x1f, 0x8b, 8}
	if k := min(len(b), len(magic)); k == 0 || !bytes.Equal(b[:k], magic[:k]) {
		return 0, false
	}
	if len(b) < size {
		return size, true
	}
	flags := b[3]
	if flags&reserved != 0 {
		return 0, false
	}
	n = size
	if flags&fExtra != 0 {
		if len(b) < n+2 {
			return n + 2, true
		}
		n += 2 + int(binary.LittleEndian.Uint16(b[n:]))
	}
	for _, f := range [...]byte{fName, fComment} {
		if flags&f == 0 {
			continue
		}
		if n >= len(b) {
			return len(b) + 1, true
		}
		end := bytes.IndexByte(b[n:], 0)
		if end < 0 {
			return len(b) + 1, true
		}
		n += end + 1
	}
	if flags&fHCRC != 0 {
		n += 2
	}
	return n, true
}

// keepWindow is the largest window, in bytes, of a brotli or zstd decompressor that is kept from one
// body to the next; larger ones are made for the body and dropped.
const keepWindow = 1 << 20

// errExcessive is how brotli.Reader says that bytes follow the stream; it exports no such error.
const errExcessive = "brotli: excessive input"

// unbrotli undoes "br" (RFC 7932), whose window is at most 16 MiB.
func (d *Decoder) unbrotli(dst, src []byte, max int) ([]byte, status) {
	d.in.Reset(src)
	r := d.brotli
	switch {
	case brotliWindow(src[0]) > keepWindow:
		r = brotli.NewReader(&d.in)
	case r == nil:
		r = brotli.NewReader(&d.in)
		d.brotli = r
	default:
		if err := r.Reset(&d.in); err != nil {
			return dst, status{bad: true}
		}
	}
	out, limited, err := drain(dst, r, max)
	if err != nil && err.Error() == errExcessive {
		return out, status{complete: true, trailing: true}
	}
	return out, statusOf(limited, err)
}

// brotliWindow returns the window that the first byte of a brotli stream asks for, in bytes
// (RFC 7932 §9.1).
func brotliWindow(b byte) int {
	switch n := b >> 1 & 7; {
	case b&1 == 0:
		return 1 << 16
	case n != 0:
		return 1 << (17 + n)
	default:
		return 1 << 17 // or less
	}
}

// MaxZstdWindow is the largest window of a zstd body, in bytes: what RFC 9659 §3 lets senders use.
const MaxZstdWindow = 8 << 20

// unzstd undoes "zstd" (RFC 8878). A decompressor made for the body takes the place of the kept one
// where a frame wants a larger window, or has a wrong checksum: the kept one holds back the last block
// of such a frame.
func (d *Decoder) unzstd(dst, src []byte, max int) (out []byte, s status) {
	if d.zstd == nil {
		d.zstd = newZstd(keepWindow, false)
	}
	r, large, wrong := d.zstd, false, false
	for {
		d.in.Reset(src)
		err := r.Reset(&d.in)
		var limited bool
		if err == nil {
			out, limited, err = drain(dst, r, max)
		}
		if r != d.zstd {
			r.Close()
		}
		// The second is for a frame that is one segment, whose window is its content's size.
		tooLarge := errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded)
		switch {
		case tooLarge && !large:
			large = true
		case errors.Is(err, zstd.ErrCRCMismatch) && !wrong:
			wrong = true
		default:
			s = statusOf(limited || tooLarge, err)
			if errors.Is(err, zstd.ErrMagicMismatch) && len(out) > len(dst) {
				s = status{complete: true, trailing: true}
			}
			s.bad = s.bad || wrong
			return out, s
		}
		r = newZstd(MaxZstdWindow, wrong)
	}
}

// newZstd makes a decompressor without goroutines.
func newZstd(window uint64, ignoreChecksum bool) *zstd.Decoder {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(window), zstd.IgnoreChecksum(ignoreChecksum))
	if err != nil {
		panic(err) // the options are constants
	}
	return r
}
