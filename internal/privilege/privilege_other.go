//go:build !linux

package privilege

import "errors"

// Missing returns the names of all that is asked for: there are no capabilities but on Linux.
func Missing(need ...Cap) (names []string) {
	for _, c := range need {
		names = append(names, c.String())
	}
	return names
}

// Drop returns an error: what it does needs Linux.
func Drop(Options) (Report, error) { return nil, errors.New("dropping privileges needs Linux") }

// Reduce returns an error: what it does needs Linux.
func Reduce(...Cap) (Report, error) { return nil, errors.New("dropping privileges needs Linux") }

// Explain says what doing lacks: "capturing on eth0 needs Linux".
func Explain(doing string, _ ...Cap) string { return doing + " needs Linux" }

// Becomes returns an error: what Drop does needs Linux.
func Becomes(string) (uid, gid int, change bool, err error) {
	return 0, 0, false, errors.New("dropping privileges needs Linux")
}
