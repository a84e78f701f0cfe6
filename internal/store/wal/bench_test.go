package wal

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// batch is as large as batches of exchanges are.
const batch = 64 << 10

func random(n int) []byte {
	b := make([]byte, n)
	for i, r := 0, rand.New(rand.NewPCG(1, 1)); i < n; i++ {
		b[i] = byte(r.Uint32())
	}
	return b
}

// BenchmarkAppend is what a record costs, on the file system of the temporary folder. Each 16 MiB are synced, outside of
// the time.
func BenchmarkAppend(b *testing.B) {
	l, err := Open(b.TempDir(), Options{})
	must(b, err)
	defer l.Close()
	p := random(batch)
	b.SetBytes(batch)
	for i := 0; b.Loop(); i++ {
		must(b, l.Append(p))
		if i%256 == 255 {
			b.StopTimer()
			must(b, l.Sync())
			if i%4096 == 4095 {
				sealed, err := l.Rotate()
				must(b, err)
				must(b, l.Remove(sealed))
			}
			b.StartTimer()
		}
	}
}

// BenchmarkChecksum is the part of it that the checksum takes.
func BenchmarkChecksum(b *testing.B) {
	p := random(batch)
	b.SetBytes(batch)
	sum := uint32(0)
	for b.Loop() {
		sum = crc32.Update(sum, castagnoli(), p)
	}
	_ = sum
}

func BenchmarkReplay(b *testing.B) {
	dir := b.TempDir()
	l, err := Open(dir, Options{})
	must(b, err)
	p := random(batch)
	for range 1024 {
		must(b, l.Append(p))
	}
	must(b, l.Close())
	b.SetBytes(1024 * batch)
	for b.Loop() {
		if r, err := Read(nil, dir, 0, func(uint64, []byte, []byte) error { return nil }); err != nil || r.Records != 1024 {
			b.Fatal(r, err)
		}
	}
}
