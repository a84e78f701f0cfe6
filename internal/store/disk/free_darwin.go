package disk

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Free returns how many bytes a user without privileges may still write below dir. Quotas aren't in it. It returns
// ErrUnknown where the file system doesn't tell.
func Free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if st.Blocks == 0 || st.Bsize == 0 {
		return 0, ErrUnknown
	}
	if st.Bavail > math.MaxInt64/uint64(st.Bsize) {
		return math.MaxInt64, nil
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}
