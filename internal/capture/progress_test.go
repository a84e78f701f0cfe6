package capture

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// How far files are read is told in bytes as they are stored, compressed or not.
func TestProgress(t *testing.T) {
	dir := t.TempDir()
	plain := simplePcap(manyPackets(2000)...)
	contents := map[string][]byte{"plain": plain}
	for name, compress := range compressors {
		contents[name] = compress(t, plain)
	}
	for name, b := range contents {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, inputs := range [][]Input{{{Path: path}}, {{Path: path, Tap: "a"}, {Path: path, Tap: "b"}}} {
			src, err := Open(inputs, Options{})
			if err != nil {
				t.Fatal(err)
			}
			whole := int64(len(b) * len(inputs))
			before, between, n := int64(0), false, 0
			for {
				var r Record
				err := src.Next(&r)
				read, size := src.(Measured).Progress()
				if read < before || read > whole || size != whole {
					t.Fatalf("%s: read %d of %d, %d before; there are %d", name, read, size, before, whole)
				}
				between = between || read > 0 && read < whole
				if before = read; err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if before != whole || !between || n != 2000*len(inputs) {
				t.Errorf("%s: in the end %d of %d, after %d packets; on the way: %v", name, before, whole, n, between)
			}
			src.Close()
		}
	}
	// What is no file has no size.
	src, err := Open([]Input{{Path: Stdin}}, Options{Stdin: bytes.NewReader(plain)})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for err == nil || err == ErrIdle {
		var r Record
		err = src.Next(&r)
	}
	if read, size := src.(Measured).Progress(); err != io.EOF || read != int64(len(plain)) || size != -1 {
		t.Errorf("%v: read %d of %d, want %d", err, read, size, len(plain))
	}
}
