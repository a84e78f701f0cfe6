package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// compressors make the files of the tests, by what a file is.
var compressors = map[string]func(t testing.TB, b []byte) []byte{
	"gzip": func(t testing.TB, b []byte) []byte {
		return written(t, b, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
	},
	"zstd": func(t testing.TB, b []byte) []byte {
		return written(t, b, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
	},
	"lz4": func(t testing.TB, b []byte) []byte {
		return written(t, b, func(w io.Writer) (io.WriteCloser, error) {
			z := lz4.NewWriter(w)
			return z, z.Apply(lz4.BlockSizeOption(lz4.Block64Kb))
		})
	},
	"xz": func(t testing.TB, b []byte) []byte {
		return written(t, b, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })
	},
}

func written(t testing.TB, b []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := open(&out)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// manyPackets returns packets of n different sizes whose content doesn't compress away.
func manyPackets(n int) []pkt {
	random := rand.New(rand.NewPCG(1, 2))
	packets := make([]pkt, n)
	for i := range packets {
		b := make([]byte, 40+random.IntN(1400))
		for j := range b[:len(b)/2] {
			b[j] = byte(random.Uint32())
		}
		packets[i] = pkt{int64(i) * 1e6, string(b), 0}
	}
	return packets
}

func TestCompressed(t *testing.T) {
	plain := simplePcap(manyPackets(1600)...) // more than one block
	want, _ := readBytes(t, plain)
	half := len(plain) / 2
	skippable := fields(binary.LittleEndian, uint32(0x184d2a53), uint32(3), "abc")
	for name, compress := range compressors {
		twice := append(compress(t, plain[:half]), compress(t, plain[half:])...)
		for form, content := range map[string][]byte{"one part": compress(t, plain), "two parts": twice} {
			t.Run(name+" of "+form, func(t *testing.T) {
				recs, s := readBytes(t, content)
				expect(t, recs, want...)
				if len(s.Warnings()) > 0 {
					t.Errorf("warnings: %q", s.Warnings())
				}
			})
		}
	}
	for name, content := range map[string][]byte{
		"zstd behind a skippable frame": append(skippable, compressors["zstd"](t, plain)...),
		"lz4, legacy": written(t, plain, func(w io.Writer) (io.WriteCloser, error) {
			z := lz4.NewWriter(w)
			return z, z.Apply(lz4.LegacyOption(true))
		}),
		"xz with padding": append(append(compressors["xz"](t, plain[:half]), make([]byte, 8)...), compressors["xz"](t, plain[half:])...),
	} {
		t.Run(name, func(t *testing.T) {
			recs, _ := readBytes(t, content)
			expect(t, recs, want...)
		})
	}
	plain = simplePcap(manyPackets(100)...)
	want = want[:100]
	for _, check := range []byte{xz.None, xz.CRC32, xz.CRC64, xz.SHA256} {
		t.Run(fmt.Sprintf("xz with check %d in blocks", check), func(t *testing.T) {
			content := written(t, plain, func(w io.Writer) (io.WriteCloser, error) {
				return xz.WriterConfig{CheckSum: check, NoCheckSum: check == xz.None, BlockSize: 30_001}.NewWriter(w)
			})
			recs, _ := readBytes(t, content)
			expect(t, recs, want...)
			if check == xz.None {
				return
			}
			const footer = 12 // holds the length of the index, before which the last block's check ends
			index := (int(binary.LittleEndian.Uint32(content[len(content)-footer+4:])) + 1) * 4
			content[len(content)-footer-index-1] ^= 1
			if _, err := drainBytes(t, content); err == nil || !strings.Contains(err.Error(), "checksum") {
				t.Errorf("a wrong checksum gives the error %v", err)
			}
		})
	}
}

func drainBytes(t testing.TB, content []byte) ([]rec, error) {
	t.Helper()
	s, err := Open([]Input{{Path: write(t, "capture", content)}}, Options{})
	if err != nil {
		return nil, err
	}
	return drain(s)
}

// Compressed data that ends early gives everything before, and one warning.
func TestCompressedCut(t *testing.T) {
	plain := simplePcap(manyPackets(600)...)
	want, _ := readBytes(t, plain)
	for name, compress := range compressors {
		whole := compress(t, plain)
		for _, missing := range []int{1, 2, 5, 9, 13, 20, 1000, len(whole) / 2} {
			recs, s := readBytes(t, whole[:len(whole)-missing])
			if len(recs) > len(want) || len(recs) < len(want)/8 && missing < 1000 {
				t.Errorf("%s without its last %d bytes: %d records of %d", name, missing, len(recs), len(want))
			}
			expect(t, recs, want[:len(recs)]...)
			if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "cut off at offset") {
				t.Errorf("%s without its last %d bytes: warnings %q", name, missing, w)
			}
		}
	}
}

func TestCompressedCorrupt(t *testing.T) {
	plain := simplePcap(manyPackets(600)...)
	want, _ := readBytes(t, plain)
	for name, compress := range compressors {
		content := compress(t, plain)
		content[len(content)/2] ^= 0x10
		recs, err := drainBytes(t, content)
		if err == nil || err == io.EOF || !strings.Contains(err.Error(), "decompressing "+name) || !strings.Contains(err.Error(), "offset") {
			t.Errorf("%s: error %v", name, err)
		}
		if len(recs) > 0 && recs[0] != want[0] {
			t.Errorf("%s: first record %v, want %v", name, recs[0], want[0])
		}
	}
}

// What a file asks for isn't allocated because it asks.
func TestDecompressionLimits(t *testing.T) {
	header := []byte{2, 0, xzLZMA2, 1, 40, 0, 0, 0} // a dictionary of 4 GiB
	flags := []byte{0, 1}
	le := binary.LittleEndian
	file := fields(le, xzMagic, flags, crc32.ChecksumIEEE(flags), header, crc32.ChecksumIEEE(header), make([]byte, 64))
	if _, err := drainBytes(t, file); err == nil || !strings.Contains(err.Error(), "exceeds the limit of 67108864") {
		t.Errorf("xz: error %v", err)
	}
	// A frame with a window of 2 GiB: exponent 21 above 1 KiB.
	file = fields(le, "\x28\xb5\x2f\xfd", []byte{0, 21 << 3, 1, 0, 0})
	if _, err := drainBytes(t, file); err == nil || !strings.Contains(err.Error(), "window size exceeded") {
		t.Errorf("zstd: error %v", err)
	}
}

func TestForeign(t *testing.T) {
	erf := fields(binary.LittleEndian, uint32(0), uint32(1700000000), uint8(2), uint8(4), []byte{0, 80}, make([]byte, 80))
	for content, want := range map[string]string{
		"":                            "it is empty",
		"snoop\x00\x00\x00\x00\x00":   "snoop",
		"GMBU\x00\x03":                "Network Monitor",
		string(erf):                   "ERF",
		`{"log":{}}`:                  "JSON",
		"CLIENT_RANDOM 00 11":         "TLS key log",
		"PK\x03\x04rest":              "zip",
		"GET / HTTP/1.1\r\n\r\n":      "looks like text",
		"\x01\x02\x03":                "begins with 01 02 03",
		strings.Repeat("\x80\x00", 9): "begins with 80 00 80 00 80 00 80 00",
		strings.Repeat("ü", 500):      "looks like text",
		string(compressors["gzip"](t, compressors["gzip"](t, simplePcap()))): "compressed twice",
		string(compressors["zstd"](t, []byte("hello, world"))):               "looks like text",
	} {
		path := write(t, "file", []byte(content))
		s, err := Open([]Input{{Path: path}}, Options{})
		if err == nil {
			t.Errorf("%.20q was opened", content)
			s.Close()
		} else if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%.20q: error %q lacks %q", content, err, want)
		}
	}
}
