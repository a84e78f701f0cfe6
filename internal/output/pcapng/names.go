package pcapng

import (
	"fmt"
	"path/filepath"
	"strings"
)

// FileNames returns the names of the n files of a recording that rotates: a number from 1 stands before the
// extension of path. a/b.pcapng gives a/b.0001.pcapng and so on.
func FileNames(path string, n int) []string {
	extension := filepath.Ext(path)
	if extension == filepath.Base(path) {
		extension = "" // .name has none
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s.%04d%s", strings.TrimSuffix(path, extension), i+1, extension)
	}
	return names
}
