//go:build !unix

package enrich

import (
	"io"
	"os"
)

// readFile reads a file into memory. The second result gives the memory back.
func readFile(f *os.File, size int) ([]byte, func(), error) {
	b := make([]byte, size)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, nil, err
	}
	return b, func() {}, nil
}
