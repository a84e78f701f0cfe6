package mysql

import (
	"bytes"
	"compress/zlib"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/culprit-http/culprit/internal/clock"
)

// In a compressed session (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_compression.html and
// https://mariadb.com/kb/en/0-packet/#compressed-packet) packets lie within outer packets, any number of them or a part of one:
//
//	outer = length (3 bytes) sequence (1 byte) length before compression (3 bytes, 0 when it isn't compressed) payload
//
// What is compressed has its algorithm in its first bytes.

const outerHeader = 7

// outer is where a direction is in an outer packet.
type outer struct {
	// header collects the header, of which n bytes are there, and kept the payload; first marks its first byte.
	header [outerHeader]byte
	n      int
	kept   []byte
	first  clock.Mark
	// skip is how many bytes are left of a payload that is too large to be kept.
	skip int
}

func (o *outer) release(held *int) {
	*held -= len(o.kept)
	*o = outer{}
}

// outer takes bytes of an outer packet. It returns how many it took.
func (p *Parser) outer(h *half, b []byte, at clock.Mark) int {
	o := &h.outerState
	if o.n == 0 && len(b) >= outerHeader {
		if n := outerHeader + length24(b); len(b) >= n && n-outerHeader <= p.limits.MaxMessage {
			// The common case: it lies within b.
			p.unpack(h, b[outerHeader:n], length24(b[headerSize:]), at, at.After(n-1))
			return n
		}
	}
	if o.n < outerHeader {
		if o.n == 0 {
			o.first = at
		}
		n := copy(o.header[o.n:], b)
		if o.n += n; o.n < outerHeader {
			return n
		}
		switch size := length24(o.header[:]); {
		case size > p.limits.MaxMessage:
			o.skip = size
		case size == 0:
			plain, first := length24(o.header[headerSize:]), o.first
			o.release(p.held)
			p.unpack(h, nil, plain, first, at.After(n-1))
		}
		return n
	}
	size := length24(o.header[:])
	plain := length24(o.header[headerSize:])
	if o.skip > 0 {
		n := min(len(b), o.skip)
		if o.skip -= n; o.skip == 0 {
			p.missing(h, size, plain, at.After(n-1))
		}
		return n
	}
	n := min(len(b), size-len(o.kept))
	o.kept = append(o.kept, b[:n]...)
	*p.held += n
	if len(o.kept) == size {
		kept, first := o.kept, o.first
		o.release(p.held)
		p.unpack(h, kept, plain, first, at.After(n-1))
	}
	return n
}

// missing goes over an outer packet that is larger than may be kept.
func (p *Parser) missing(h *half, size, plain int, last clock.Mark) {
	h.outerState.release(p.held)
	if plain == 0 {
		plain = size
	}
	if !p.skip(h, int64(plain), last) {
		p.lose(h, last)
		return
	}
	if h.open {
		h.msg.Last = last
	}
}

// unpack hands on what is in an outer packet, which has plain bytes when it is decompressed. first and last mark its ends.
func (p *Parser) unpack(h *half, b []byte, plain int, first, last clock.Mark) {
	at := mark{at: first, end: last, squeezed: true}
	if plain == 0 {
		p.packets(h, b, at)
		return
	}
	p.unzip.begin(b, p.held)
	left := plain
	for left > 0 {
		piece, err := p.unzip.next(left)
		if left -= len(piece); len(piece) > 0 {
			p.packets(h, piece, at)
		}
		if err != nil && left > 0 {
			p.lose(h, first)
		}
		if h.lost {
			break
		}
	}
	p.unzip.done(plain, p.held)
}

const (
	// unzipPiece is how many bytes are decompressed at a time, and inflaterSize what a decompressor is estimated to take.
	unzipPiece   = 16 << 10
	inflaterSize = 64 << 10
	// maxWindow is the largest window of zstd that is taken, and keptWindow that of a decompressor that is kept.
	maxWindow  = 8 << 20
	keptWindow = 128 << 10
)

// inflater undoes the compression of one outer packet after the other.
type inflater struct {
	in     bytes.Reader
	zlib   io.ReadCloser
	zstd   *zstd.Decoder
	reader io.Reader
	piece  []byte
	held   int
}

// zstdMagic is what every frame of zstd begins with (RFC 8878 §3.1.1).
const zstdMagic = "\x28\xb5\x2f\xfd"

// begin takes the next packet.
func (f *inflater) begin(b []byte, held *int) {
	f.in.Reset(b)
	if f.piece == nil {
		f.piece = make([]byte, unzipPiece)
	}
	f.reader = nil
	if bytes.HasPrefix(b, []byte(zstdMagic)) {
		if f.zstd == nil {
			// The options are constants, and right.
			f.zstd, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		}
		if f.zstd.Reset(&f.in) == nil {
			f.reader = f.zstd
		}
	} else if f.zlib != nil {
		if f.zlib.(zlib.Resetter).Reset(&f.in, nil) == nil {
			f.reader = f.zlib
		}
	} else if r, err := zlib.NewReader(&f.in); err == nil {
		f.zlib, f.reader = r, r
	}
	*held += inflaterSize - f.held
	f.held = inflaterSize
}

// next returns the next piece, of at most n bytes; it is good until the next call.
func (f *inflater) next(n int) ([]byte, error) {
	if f.reader == nil {
		return nil, io.ErrUnexpectedEOF
	}
	k, err := io.ReadFull(f.reader, f.piece[:min(n, len(f.piece))])
	return f.piece[:k], err
}

// done lets go of the packet, and of a decompressor that has grown.
func (f *inflater) done(plain int, held *int) {
	f.in.Reset(nil)
	if f.zstd != nil && plain > keptWindow {
		f.free(held)
	}
}

// free lets go of everything.
func (f *inflater) free(held *int) {
	if f.zstd != nil {
		f.zstd.Close()
	}
	*held -= f.held
	*f = inflater{}
}
