package segment

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// Whatever is read first, and wherever it begins and ends: it is what was written, or an error.
func TestChecked(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		body, tail := make([]byte, r.IntN(3*blockSize)), make([]byte, 1+r.IntN(2*blockSize))
		for _, b := range [][]byte{body, tail} {
			for i := range b {
				b[i] = byte(r.Uint32())
			}
		}
		var file bytes.Buffer
		s := &summer{w: &file, table: castagnoli()}
		write := func(b []byte) {
			for len(b) > 0 {
				n := 1 + r.IntN(len(b))
				if _, err := s.Write(b[:n]); err != nil {
					t.Fatal(err)
				}
				b = b[n:]
			}
		}
		write(body)
		s.endBody()
		write(tail)
		sum := uint64(s.size-s.body)<<32 | uint64(s.sum)
		size := int64(file.Len())
		whole := file.Bytes()
		given := bytes.Clone(whole)
		wrong := r.IntN(2) == 0
		at := r.IntN(len(given))
		if wrong {
			given[at] ^= 0x10
		}
		c, err := newChecked(bytes.NewReader(given), size, sum)
		if inTail := wrong && at >= len(body); inTail != (err != nil) {
			t.Fatalf("a wrong byte at %d of %d: %v", at, len(body), err)
		} else if inTail {
			continue
		}
		if err := c.expect(base64.StdEncoding.EncodeToString(s.sums)); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			off := r.Int64N(size)
			b := make([]byte, 1+r.IntN(2*blockSize))
			n, err := c.ReadAt(b, off)
			want := whole[off:min(off+int64(len(b)), size)]
			switch {
			case errors.Is(err, errChecksum) && wrong:
			case err != nil && !errors.Is(err, io.EOF):
				t.Fatalf("%d bytes at %d of %d: %v", len(b), off, size, err)
			case !bytes.Equal(b[:n], want):
				t.Fatalf("%d bytes at %d of %d: %d others, wrong %v", len(b), off, size, n, wrong)
			}
		}
	}
}
