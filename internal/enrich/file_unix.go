//go:build unix

package enrich

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// readFile reads a file into memory of its own, which the garbage collector doesn't count: a file of 100 MiB is no
// reason to collect garbage all the time. It isn't the file that is mapped, since one that is overwritten or cut off
// while it is mapped ends the program. The second result gives the memory back.
func readFile(f *os.File, size int) ([]byte, func(), error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("no memory for its %d bytes: %w", size, err)
	}
	free := func() { _ = unix.Munmap(b) } // fails only for what isn't mapped
	if _, err := io.ReadFull(f, b); err != nil {
		free()
		return nil, nil, err
	}
	return b, free, nil
}
