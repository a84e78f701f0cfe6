package gauge

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

// PeakKnown: the system tells how much memory a process had.
const PeakKnown = true

// ResetPeak gives what isn't used back to the system, begins to look for the peak again, and returns how much
// memory is resident.
func ResetPeak() int64 {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // proc(5): resets VmHWM
	return status("VmRSS:")
}

// PeakMemory returns the most memory that was resident, in bytes.
func PeakMemory() int64 { return status("VmHWM:") }

func status(field string) int64 {
	text, _ := os.ReadFile("/proc/self/status")
	_, after, _ := bytes.Cut(text, []byte(field))
	value, _, _ := bytes.Cut(after, []byte(" kB"))
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
	return n * 1024
}

// Forget drops a folder's files from the page cache.
func Forget(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		// Pages that aren't on the disk yet can't be dropped.
		if err := f.Sync(); err != nil {
			return err
		}
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			return fmt.Errorf("dropping %s from the page cache: %w", path, err)
		}
		return nil
	})
}
