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
	unit := int64(st.Frsize)
	if unit <= 0 {
		unit = int64(st.Bsize)
	}
	// A tmpfs without a limit, and some network file systems, say that they have no blocks at all.
	if st.Blocks == 0 || unit <= 0 {
		return 0, ErrUnknown
	}
	if st.Bavail > uint64(math.MaxInt64/unit) {
		return math.MaxInt64, nil
	}
	return int64(st.Bavail) * unit, nil
}
