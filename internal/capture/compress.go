package capture

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const (
	// maxZstdWindow is the largest window of a zstd frame, in bytes, that is decoded: as zstd -d does
	// without --long.
	maxZstdWindow = 128 << 20
	// compressedBuffer is the size of reads of compressed data, in bytes.
	compressedBuffer = 64 << 10
	// maxMagic is the length of the longest magic of a compression.
	maxMagic = len(xzMagic)
)

// compressions are recognised by their content, never by a file's name. A mask says which bits of the
// first byte count.
var compressions = []struct {
	name  string
	magic string
	mask  byte
	open  func(*bufio.Reader) (io.ReadCloser, error)
}{
	{"gzip", "\x1f\x8b", 0xff, func(r *bufio.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }},
	{"zstd", "\x28\xb5\x2f\xfd", 0xff, openZstd},
	{"zstd", "\x50\x2a\x4d\x18", 0xf0, openZstd}, // a skippable frame, with which pzstd begins
	{"lz4", "\x04\x22\x4d\x18", 0xff, openLZ4},
	{"lz4", "\x02\x21\x4c\x18", 0xff, openLZ4}, // the legacy format of lz4 -l
	{"xz", xzMagic, 0xff, openXZ},
}

func openZstd(r *bufio.Reader) (io.ReadCloser, error) {
	// Without concurrency it starts no goroutines, and costs less in all.
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

func openLZ4(r *bufio.Reader) (io.ReadCloser, error) { return io.NopCloser(lz4.NewReader(r)), nil }

func openXZ(r *bufio.Reader) (io.ReadCloser, error) { return io.NopCloser(newXZReader(r)), nil }

// Content returns the content of in, which may be compressed as captures may be. Closing the result doesn't close in.
func Content(in io.Reader) (io.ReadCloser, error) { return decompress(in) }

// decompress returns the content of in, which is in itself when that isn't compressed. Closing the
// result doesn't close in.
func decompress(in io.Reader) (io.ReadCloser, error) {
	begin := make([]byte, maxMagic)
	n, err := io.ReadFull(in, begin)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	begin = begin[:n]
	whole := io.MultiReader(bytes.NewReader(begin), in)
	for _, c := range compressions {
		if len(begin) < len(c.magic) || begin[0]&c.mask != c.magic[0] || string(begin[1:len(c.magic)]) != c.magic[1:] {
			continue
		}
		r, err := c.open(bufio.NewReaderSize(whole, compressedBuffer))
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = fmt.Errorf("the %s data ends within its header", c.name)
		}
		if err != nil {
			return nil, err
		}
		return &decompressor{r, c.name}, nil
	}
	return io.NopCloser(whole), nil
}

// decompressor names the compression in errors, but for those that say that the data ends.
type decompressor struct {
	io.ReadCloser
	name string
}

func (d *decompressor) Read(b []byte) (int, error) {
	n, err := d.ReadCloser.Read(b)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		err = fmt.Errorf("decompressing %s: %w", d.name, err)
	}
	return n, err
}
