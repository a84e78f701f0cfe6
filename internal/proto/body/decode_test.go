// The invariants of decoding:
//   - no input panics or hangs, and the output has max bytes at most;
//   - whatever a sender may encode comes back whole, and each beginning of it gives a beginning of
//     the data, never a Bad one;
//   - a Decoder that has seen anything before decodes as a fresh one does.

package body

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/lzw"
	"compress/zlib"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

var encoders = map[string]func(io.Writer) io.WriteCloser{
	"gzip":    func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"deflate": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
	"raw": func(w io.Writer) io.WriteCloser {
		f, _ := flate.NewWriter(w, flate.BestCompression)
		return f
	},
	"br": func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
	"zstd": func(w io.Writer) io.WriteCloser {
		z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		return z
	},
	"compress": func(w io.Writer) io.WriteCloser { return lzw.NewWriter(w, lzw.LSB, 8) },
}

// encode applies encoders, the first one first.
func encode(data []byte, names ...string) []byte {
	for _, name := range names {
		var b bytes.Buffer
		w := encoders[name](&b)
		w.Write(data)
		w.Close()
		data = b.Bytes()
	}
	return data
}

const hello = "hello, hello, hello, world"

func TestDecode(t *testing.T) {
	gz := encode([]byte(hello), "gzip")
	badCRC := bytes.Clone(gz)
	badCRC[len(badCRC)-8] ^= 1
	badSize := bytes.Clone(gz)
	badSize[len(badSize)-1] ^= 1
	badAdler := encode([]byte(hello), "deflate")
	badAdler[len(badAdler)-1] ^= 1
	badZstd := encode([]byte(hello), "zstd")
	badZstd[len(badZstd)-1] ^= 1
	badDeflate := bytes.Clone(gz)
	badDeflate[10] |= 6 // block type 3, which is reserved
	withHeader := append([]byte("\x1f\x8b\x08\x1e\x00\x00\x00\x00\x00\x03\x04\x00ab\x00cname\x00comment\x00\xff\xff"), gz[10:]...)

	whole := Result{Decoded: int64(len(hello)), Complete: true}
	with := func(r Result, f func(*Result)) Result { f(&r); return r }
	bad := with(whole, func(r *Result) { r.Bad = true })
	trailing := with(whole, func(r *Result) { r.Trailing = true })
	undecoded := func(name string) Result { return Result{Decoded: -1, Undecoded: name} }
	notAtAll := func(name string) Result { return Result{Decoded: -1, Bad: true, Undecoded: name} }

	for _, c := range []struct {
		name    string
		codings string
		src     []byte
		max     int
		want    string
		result  Result
	}{
		{"no coding", "", []byte(hello), 100, hello, whole},
		{"identity", "identity", []byte(hello), 100, hello, whole},
		{"identity beyond max", "identity", []byte(hello), 5, "hello", Result{Decoded: -1, Limited: true}},
		{"gzip", "gzip", gz, 100, hello, whole},
		{"gzip of exactly max", "gzip", gz, len(hello), hello, whole},
		{"gzip beyond max", "gzip", gz, len(hello) - 1, hello[:len(hello)-1], Result{Decoded: -1, Limited: true}},
		{"no limit", "gzip", gz, math.MaxInt, hello, whole},
		{"nothing wanted", "gzip", gz, 0, "", Result{Decoded: -1, Limited: true}},
		{"case and space", " \tGZip ", gz, 100, hello, whole},
		{"x-gzip", "x-gzip", gz, 100, hello, whole},
		{"empty list elements", ",gzip,, ", gz, 100, hello, whole},
		{"gzip header with all its fields", "gzip", withHeader, 100, hello, whole},
		{"gzip of two members", "gzip", append(encode([]byte("hello, hello, "), "gzip"), encode([]byte("hello, world"), "gzip")...), 100, hello, whole},
		{"gzip and surplus", "gzip", append(bytes.Clone(gz), "surplus"...), 100, hello, trailing},
		{"gzip and zeros", "gzip", append(bytes.Clone(gz), 0, 0, 0), 100, hello, trailing},
		{"gzip with wrong checksum", "gzip", badCRC, 100, hello, bad},
		{"gzip whose first member has a wrong checksum", "gzip", append(bytes.Clone(badCRC), encode(nil, "gzip")...), 100, hello, bad},
		{"gzip with wrong size", "gzip", badSize, 100, hello, bad},
		{"gzip without its trailer", "gzip", gz[:len(gz)-8], 100, hello, Result{Decoded: -1}},
		{"gzip cut in its trailer", "gzip", gz[:len(gz)-1], 100, hello, Result{Decoded: -1}},
		{"gzip that holds no deflate", "gzip", badDeflate, 100, string(badDeflate), notAtAll("gzip")},
		{"gzip in name only", "gzip", []byte(hello), 100, hello, notAtAll("gzip")},
		{"gzip twice in name only", "gzip, gzip", gz, 100, hello, notAtAll("gzip")},
		{"empty body", "gzip", nil, 100, "", Result{Complete: true}},
		{"deflate", "deflate", encode([]byte(hello), "deflate"), 100, hello, whole},
		{"deflate without zlib", "deflate", encode([]byte(hello), "raw"), 100, hello, whole},
		{"x-deflate", "x-deflate", encode([]byte(hello), "raw"), 100, hello, whole},
		{"deflate with wrong checksum", "deflate", badAdler, 100, hello, bad},
		{"deflate without its checksum", "deflate", badAdler[:len(badAdler)-4], 100, hello, Result{Decoded: -1}},
		{"deflate and surplus", "deflate", append(encode([]byte(hello), "deflate"), "surplus"...), 100, hello, trailing},
		{"raw deflate and surplus", "deflate", append(encode([]byte(hello), "raw"), "surplus"...), 100, hello, trailing},
		{"raw deflate that looks like zlib", "deflate", []byte("\x78\x01\x00\xfe\xffA\x01\x00\x00\xff\xff"), 100, "A", Result{Decoded: 1, Complete: true}},
		{"br", "br", encode([]byte(hello), "br"), 100, hello, whole},
		{"br and surplus", "br", append(encode([]byte(hello), "br"), "surplus"...), 100, hello, trailing},
		{"zstd", "zstd", encode([]byte(hello), "zstd"), 100, hello, whole},
		{"zstd of two frames", "zstd", append(encode([]byte("hello, hello, "), "zstd"), encode([]byte("hello, world"), "zstd")...), 100, hello, whole},
		{"zstd with wrong checksum", "zstd", badZstd, 100, hello, bad},
		{"zstd and surplus", "zstd", append(encode([]byte(hello), "zstd"), "surplus"...), 100, hello, trailing},
		{"compress", "compress", []byte("\x1f\x9d\x90..."), 100, "\x1f\x9d\x90...", undecoded("compress")},
		{"unknown", "FOO", gz, 100, string(gz), undecoded("foo")},
		{"unknown, long", strings.Repeat("x", 1000), gz, 100, string(gz), undecoded(strings.Repeat("x", maxName))},
		{"unknown, not fit to be shown", "\x0bgzip\x00\xa0", gz, 100, string(gz), undecoded("?gzip??")},
		{"unknown, then gzip", "foo, gzip", gz, 100, hello, undecoded("foo")},
		{"gzip, then unknown", "gzip, foo", gz, 100, string(gz), undecoded("foo")},
		{"stacked", "deflate, gzip", encode([]byte(hello), "raw", "gzip"), 100, hello, whole},
		{"stacked with identity", "identity, br, identity, gzip", encode([]byte(hello), "br", "gzip"), 100, hello, whole},
		{"four layers", "gzip, zstd, br, deflate", encode([]byte(hello), "gzip", "zstd", "br", "deflate"), 100, hello, whole},
		{"five layers", "gzip, gzip, gzip, gzip, gzip", encode([]byte(hello), "gzip", "gzip", "gzip", "gzip", "gzip"), 1000, string(gz),
			Result{Decoded: -1, Limited: true, Undecoded: "gzip"}},
		{"stacked, max below the coded size", "gzip, gzip", encode([]byte("abc"), "gzip", "gzip"), 3, "abc", Result{Decoded: 3, Complete: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			for range 2 {
				out, r := d.Decode([]byte(c.codings), c.src, c.max)
				if string(out) != c.want || r != c.result {
					t.Fatalf("Decode(%q) = %q, %+v\nwant %q, %+v", c.codings, out, r, c.want, c.result)
				}
			}
		})
	}
}

// A body of which only the beginning was captured gives a beginning of the data.
func TestEveryPrefix(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var data []byte
	for len(data) < 3000 {
		data = fmt.Appendf(data, "line %d; ", random.IntN(500))
	}
	var d Decoder
	for _, names := range [][]string{{"gzip"}, {"deflate"}, {"raw"}, {"br"}, {"zstd"}, {"raw", "gzip"}, {"br", "zstd"}} {
		src := encode(data, names...)
		codings := []byte(strings.ReplaceAll(strings.Join(names, ","), "raw", "deflate"))
		for n := range len(src) {
			out, r := d.Decode(codings, src[:n], len(data))
			if !bytes.HasPrefix(data, out) || r.Bad || r.Limited || r.Complete && n > 0 {
				t.Fatalf("%s cut to %d of %d: %d bytes, %+v", codings, n, len(src), len(out), r)
			}
		}
		if out, r := d.Decode(codings, src, len(data)); !bytes.Equal(out, data) || !r.Complete {
			t.Fatalf("%s: %d bytes, %+v", codings, len(out), r)
		}
	}
}

// What is decoded before a fault isn't lost.
func TestDamage(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 32<<10)
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(data), func(i, j int) { data[i], data[j] = data[j], data[i] })
	var d Decoder
	for _, name := range []string{"gzip", "deflate", "br", "zstd"} {
		src := encode(data, name)
		for i := range 64 {
			src[len(src)/2+i] ^= 0xff
		}
		out, r := d.Decode([]byte(name), src, 2*len(data))
		if same := commonPrefix(out, data); !r.Bad || same < len(data)/3 {
			t.Errorf("%s: %d of %d bytes, %+v", name, same, len(data), r)
		}
	}
}

func commonPrefix(a, b []byte) (n int) {
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// Bombs cost what max allows, not what they hold.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 16<<20)
	emptyBlocks := encode(bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 1<<20), "gzip")
	for _, c := range []struct {
		name, codings string
		src           []byte
	}{
		{"gzip", "gzip", encode(zeros, "gzip")},
		{"br", "br", encode(zeros, "br")},
		{"zstd", "zstd", encode(zeros, "zstd")},
		{"nested", "gzip, gzip, gzip", encode(zeros, "gzip", "gzip", "gzip")},
		{"much in the middle that gives nothing", "deflate, gzip", emptyBlocks},
		{"many members", "gzip", bytes.Repeat(encode(nil, "gzip"), 1<<20/23)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			d.Decode([]byte(c.codings), c.src, 1000)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			out, r := d.Decode([]byte(c.codings), c.src, 1000)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if len(out) > 1000 || !r.Limited && c.name != "many members" {
				t.Errorf("%d bytes, %+v", len(out), r)
			}
			if took > 10*time.Second {
				t.Errorf("took %v for %d bytes", took, len(c.src))
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 20<<20 {
				t.Errorf("allocated %d bytes", n)
			}
		})
	}
}

// A frame that asks for a window beyond what HTTP allows isn't given the memory.
func TestZstdWindow(t *testing.T) {
	data := make([]byte, 300<<10)
	src := func(window int) []byte {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, zstd.WithWindowSize(window), zstd.WithSingleSegment(false), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			w.Write(data[:100<<10])
			w.Flush()
		}
		w.Close()
		return b.Bytes()
	}
	var d Decoder
	for window, want := range map[int]Result{
		1 << 20:  {Decoded: int64(len(data)), Complete: true},
		8 << 20:  {Decoded: int64(len(data)), Complete: true},
		16 << 20: {Decoded: -1, Limited: true, Undecoded: "zstd"},
	} {
		if _, r := d.Decode([]byte("zstd"), src(window), 1<<20); r != want {
			t.Errorf("window %d: %+v, want %+v", window, r, want)
		}
	}
	// One segment, whose content is said to be 4 GiB.
	huge := []byte("\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x01\x00\x00\x00\x09\x00\x00\x41")
	if _, r := d.Decode([]byte("zstd"), huge, 1<<20); !r.Limited {
		t.Errorf("one segment of 4 GiB: %+v", r)
	}
}

// Brotli's window is in the first byte, in the encoding of RFC 7932 §9.1.
func TestBrotliWindow(t *testing.T) {
	var d Decoder
	for lgwin := 10; lgwin <= 24; lgwin++ {
		var b bytes.Buffer
		w := brotli.NewWriterOptions(&b, brotli.WriterOptions{Quality: 5, LGWin: lgwin})
		w.Write([]byte(hello))
		w.Close()
		if got, want := brotliWindow(b.Bytes()[0]), max(1<<lgwin, 1<<16); lgwin > 17 && got != want {
			t.Errorf("window of 2^%d: %d", lgwin, got)
		}
		if out, r := d.Decode([]byte("br"), b.Bytes(), 100); string(out) != hello || !r.Complete {
			t.Errorf("window of 2^%d: %q, %+v", lgwin, out, r)
		}
		if lgwin == 20 {
			d = Decoder{}
		}
	}
	if d.brotli != nil {
		t.Error("a decompressor with a large window was kept")
	}
}

// What a large body needed isn't kept for the next.
func TestLargeBuffersGo(t *testing.T) {
	var d Decoder
	out, _ := d.Decode([]byte("gzip, gzip"), encode(make([]byte, 3*keepBuffer), "gzip", "gzip"), 4*keepBuffer)
	if len(out) != 3*keepBuffer {
		t.Fatalf("%d bytes", len(out))
	}
	for i := range d.buf {
		if cap(d.buf[i]) > keepBuffer {
			t.Errorf("buffer %d has %d bytes", i, cap(d.buf[i]))
		}
	}
}

func TestNoAllocation(t *testing.T) {
	data := bytes.Repeat([]byte(hello), 100)
	for _, name := range []string{"gzip", "deflate"} {
		var d Decoder
		src, codings := encode(data, name), []byte(name)
		d.Decode(codings, src, 1<<20)
		if n := testing.AllocsPerRun(100, func() { d.Decode(codings, src, 1<<20) }); n > 0 {
			t.Errorf("%s: %v allocations a body", name, n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, names := range [][]string{{"gzip"}, {"deflate"}, {"br"}, {"zstd"}, {"deflate", "gzip"}} {
		f.Add(strings.Join(names, ","), encode([]byte(hello), names...), uint16(100))
	}
	f.Add("deflate", encode([]byte(hello), "raw"), uint16(5))
	// Uses a Huffman code that the data doesn't define.
	f.Add("gzip", []byte("\x1f\x8b\b\x00000000$0\x00\x00"), uint16(7))
	f.Add("identity, x-gzip ,, foo", []byte("\x1f\x8b\x08\x1e\x00\x00\x00\x00\x00\x03\x04\x00ab\x00c"), uint16(5))
	var used Decoder
	f.Fuzz(func(t *testing.T, codings string, src []byte, max uint16) {
		start := time.Now()
		kept := bytes.Clone(src)
		out, r := used.Decode([]byte(codings), src, int(max))
		switch {
		case len(out) > int(max):
			t.Fatalf("%d bytes, max %d", len(out), max)
		case r.Complete != (r.Decoded >= 0) || r.Complete && r.Decoded != int64(len(out)):
			t.Fatalf("%d bytes, %+v", len(out), r)
		case r.Complete && (r.Limited || r.Undecoded != ""):
			t.Fatalf("%+v", r)
		case !bytes.Equal(src, kept):
			t.Fatal("the source was written to")
		case time.Since(start) > 10*time.Second:
			t.Fatalf("took %v", time.Since(start))
		}
		var fresh Decoder
		out2, r2 := fresh.Decode([]byte(codings), src, int(max))
		if r != r2 || !bytes.Equal(out, out2) {
			t.Fatalf("a used Decoder gives %q, %+v, a fresh one %q, %+v", out, r, out2, r2)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	var data []byte
	for i := range 2000 {
		data = fmt.Appendf(data, `{"id":%d,"name":"user %d","mail":"u%d@example.com"},`, i, i*7919%1000, i)
	}
	for _, name := range []string{"gzip", "deflate", "br", "zstd"} {
		b.Run(name, func(b *testing.B) {
			var d Decoder
			src, codings := encode(data, name), []byte(name)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				d.Decode(codings, src, 1<<20)
			}
		})
	}
}
